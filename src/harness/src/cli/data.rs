//! `harness data`: fetch, prepare and look at corpora and tasks.

use std::collections::BTreeSet;

use harness_corpus::pin::{self, Pinned, Unpinned};
use harness_corpus::tasks::TaskRecipe;
use harness_corpus::{
    Fetcher, LockFile, Origin, PreparedCorpus, Progress, Recipe, RecipeError, Store, UnlockedRecipe, known_recipes,
};

use harness_record::load_config;

use super::data_show::{self, Extent};
use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;

/// Fetch, prepare and look at corpora and tasks.
///
/// A corpus is a recipe in experiments/corpora/, a task one in experiments/tasks/. Files come from the folder
/// $HARNESS_MIRROR, looked up by digest, from the project, or from their URLs, and are refused if their digest is wrong.
/// Data sets of the Hugging Face hub come from $HF_ENDPOINT, if it is set, with the token $HF_TOKEN.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the recipes.
    List,
    /// Fetch the files of corpora and tasks; of those that experiments use, if none is named.
    ///
    /// Which files the patterns of a corpus recipe stand for is looked up once and kept beside it, in
    /// `experiments/corpora/<name>.lock.json`, to be committed with it.
    Fetch {
        /// Names of corpora or tasks.
        names: Vec<String>,
        /// Look up again which files the patterns of the named corpora stand for.
        #[arg(long, requires = "names")]
        update: bool,
    },
    /// Fetch the files that a recipe names by their address alone, and say what it has to state of each: digest and size.
    ///
    /// From then on these bytes and no others are meant, whoever fetches them, so look first whether they are what you want. They stay
    /// in the data store. A data set of the hub needs no pin: `data fetch` writes its revision and digests into the lock file.
    Pin {
        /// The corpus or task.
        name: String,
        /// Put the lines into the recipe, below each url.
        #[arg(long)]
        write: bool,
    },
    /// Make a corpus ready: clean, de-duplicate, split, learn the tokenizer, write shards. Done once.
    Prepare {
        /// The corpus.
        name: String,
        /// What sorting and searching may hold of the corpus in memory; the rest goes to disk. Changes no result.
        #[arg(long, default_value_t = 512, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
        memory_mib: u32,
    },
    /// Show what a prepared corpus is made of, from raw text to tokens, with samples of its texts.
    Show {
        /// The corpus.
        name: String,
        /// Every source and every group of repeated documents that the manifest names.
        #[arg(long)]
        all: bool,
        /// Documents shown of those that a step removed, and of those it changed.
        #[arg(long, value_name = "N")]
        samples: Option<usize>,
        /// Manifest and samples as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Digest every file of a prepared corpus again and compare with its manifest.
    Verify {
        /// The corpus.
        name: String,
    },
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let store = Store::of(&workplace.project);
    match &arguments.command {
        Command::List => list(workplace),
        Command::Fetch { names, update } => fetch(workplace, names, *update),
        Command::Pin { name, write } => pin(workplace, name, *write),
        Command::Prepare { name, memory_mib } => {
            prepare(workplace, &store.with_memory_bytes((*memory_mib as usize) << 20), name)
        }
        Command::Show { name, all, samples, json } => {
            let corpus = opened(workplace, &store, name)?;
            let extent = Extent { all: *all, samples: *samples };
            if *json {
                terminal::say_json(&data_show::as_json(&corpus, &store, extent)?);
            } else {
                terminal::say(&data_show::as_text(&corpus, &store, extent)?);
            }
            Ok(exit_code::SUCCESS)
        }
        Command::Verify { name } => verify(workplace, &store, name),
    }
}

/// The recipe with the files that its patterns stand for. What is looked up now is written to its lock file.
fn locked(
    workplace: &Workplace,
    fetcher: &Fetcher,
    name: &str,
    update: bool,
    progress: &mut dyn Progress,
) -> Result<Recipe, Failure> {
    let recipe = UnlockedRecipe::load(&workplace.project, name)?;
    let before = LockFile::load(&workplace.project, name)?;
    let lock = fetcher.look_up(&recipe, &before, update, progress)?;
    if lock != before {
        let path = workplace.project.corpus_lock(name);
        lock.write(&path)?;
        let files: usize = lock.sources.values().map(|source| source.files.len()).sum();
        progress.note(&format!("{files} files in {}: commit it with the recipe", path.display()));
    }
    Ok(recipe.locked(&lock)?)
}

/// Lists what can be read; a recipe that is wrong is complained of and does not hide the others.
fn list(workplace: &Workplace) -> Outcome {
    let project = &workplace.project;
    let mut rows = Vec::new();
    let mut all_right = true;
    let mut add = |name: &str, what: &str, described: Result<(String, String), RecipeError>| match described {
        Ok((title, licence)) => rows.push(vec![name.to_owned(), what.to_owned(), title, licence]),
        Err(error) => {
            terminal::complain(&error.to_string());
            all_right = false;
        }
    };
    for name in known_recipes(project, "corpora")? {
        let recipe = UnlockedRecipe::load(project, &name);
        add(&name, "corpus", recipe.map(|r| (r.text().title.clone(), r.text().licence.clone())));
    }
    for name in known_recipes(project, "tasks")? {
        add(&name, "task", TaskRecipe::load(project, &name).map(|r| (r.title.clone(), r.licence.clone())));
    }
    terminal::say(&terminal::table(&["name", "kind", "title", "licence"], &rows));
    Ok(if all_right { exit_code::SUCCESS } else { exit_code::USAGE })
}

/// The corpora and tasks of all experiments. What another command would say of an experiment that cannot be read is left to it.
fn in_use(workplace: &Workplace) -> Result<Vec<String>, Failure> {
    let project = &workplace.project;
    let (mut corpora, mut tasks) = (BTreeSet::new(), BTreeSet::new());
    for name in harness_record::experiments(project)? {
        let Ok(loaded) = load_config(project, &name) else { continue };
        corpora.insert(loaded.experiment.corpus.clone());
        tasks.extend(loaded.experiment.evaluation.tasks.iter().cloned());
    }
    Ok(corpora.into_iter().chain(tasks).collect())
}

/// Fetches what is named. Where nothing is, a recipe that is wrong is complained of, and the others are fetched.
fn fetch(workplace: &Workplace, names: &[String], update: bool) -> Outcome {
    let project = &workplace.project;
    let tasks = known_recipes(project, "tasks")?;
    let (fetcher, mut screen) = (workplace.fetcher(), terminal::Screen::new());
    let mut remotes = Vec::new();
    let mut all_right = true;
    for name in if names.is_empty() { in_use(workplace)? } else { names.to_vec() } {
        let wanted = if tasks.contains(&name) {
            TaskRecipe::load(project, &name).map(|recipe| recipe.remotes()).map_err(Failure::from)
        } else {
            locked(workplace, &fetcher, &name, update, &mut screen).map(|recipe| recipe.remotes())
        };
        match wanted {
            Ok(files) => remotes.extend(files),
            Err(failure) if names.is_empty() && failure.exit_code == exit_code::USAGE => {
                terminal::complain(&failure.message);
                all_right = false;
            }
            Err(failure) => return Err(failure),
        }
    }
    let fetched = fetcher.fetch(&remotes, &mut screen)?;
    let count = |origin: fn(&Origin) -> bool| fetched.iter().filter(|f| origin(&f.origin)).count();
    terminal::say(&format!(
        "{} files: {} were there, {} from the project, {} from the mirror, {} from their URLs",
        fetched.len(),
        count(|o| matches!(o, Origin::Store)),
        count(|o| matches!(o, Origin::File(..))),
        count(|o| matches!(o, Origin::Mirror(..))),
        count(|o| matches!(o, Origin::Url(..))),
    ));
    Ok(if all_right { exit_code::SUCCESS } else { exit_code::USAGE })
}

/// Says, or writes, what a recipe lacks of files that nobody has fetched yet.
fn pin(workplace: &Workplace, name: &str, write: bool) -> Outcome {
    let project = &workplace.project;
    let is_task = known_recipes(project, "tasks")?.iter().any(|task| task == name);
    let folder = if is_task { "tasks" } else { "corpora" };
    let recipe = Unpinned::load(project, folder, name)?;
    let pinned = recipe.pin(&workplace.fetcher(), &mut terminal::Screen::new())?;
    if pinned.is_empty() {
        terminal::say("every file with a url has its digest");
        return Ok(exit_code::SUCCESS);
    }
    for found in &pinned {
        let place = if found.is_inline { "in the braces of" } else { "below" };
        terminal::say(&format!("{} from {}; {place} line {}:", found.name, found.url, found.line));
        terminal::say(&found.lines.join("\n"));
    }
    let (inline, lines): (Vec<&Pinned>, Vec<&Pinned>) = pinned.iter().partition(|found| found.is_inline);
    if write && !lines.is_empty() {
        pin::write(project, folder, name, &recipe.with(&pinned))?;
        terminal::tell(&format!("written: experiments/{folder}/{name}.toml; commit it"));
    }
    if !inline.is_empty() {
        terminal::tell(
            "hint: what stands in braces is to be written by hand: `{ url = \"...\", sha256 = \"...\", bytes = ... }`",
        );
    } else if !write {
        terminal::tell(&format!("hint: `harness data pin {name} --write` puts them there"));
    }
    Ok(exit_code::SUCCESS)
}

fn prepare(workplace: &Workplace, store: &Store, name: &str) -> Outcome {
    let (fetcher, mut screen) = (workplace.fetcher(), terminal::Screen::new());
    let recipe = locked(workplace, &fetcher, name, false, &mut screen)?;
    fetcher.fetch(&recipe.remotes(), &mut screen)?;
    let corpus = harness_corpus::prepare(&recipe, store, &mut screen)?;
    summary(&corpus);
    Ok(exit_code::SUCCESS)
}

fn opened(workplace: &Workplace, store: &Store, name: &str) -> Result<PreparedCorpus, Failure> {
    let recipe = Recipe::load(&workplace.project, name)?;
    Ok(PreparedCorpus::open(store, &recipe)?)
}

fn summary(corpus: &PreparedCorpus) {
    let manifest = corpus.manifest();
    let (documents, tokenizer) = (&manifest.documents, &manifest.tokenizer);
    terminal::say(&format!(
        "{} documents read, {} removed by steps, {} exact duplicates, {} for training, {} for validation",
        documents.read, documents.removed_by_steps, documents.exact_duplicates, documents.train, documents.validation
    ));
    terminal::say(&format!(
        "{} training tokens, {} validation tokens, vocabulary {}, {:.2} bytes per token",
        manifest.train.tokens,
        manifest.validation.tokens,
        tokenizer.vocabulary_size,
        tokenizer.validation_bytes_per_token
    ));
    for baseline in &manifest.baselines {
        terminal::say(&format!("{}: {:.3} bits per byte on validation", baseline.model, baseline.bits_per_byte));
    }
    manifest.cautions().iter().for_each(|caution| terminal::say(caution));
    terminal::say(&format!("root {}", corpus.root()));
}

fn verify(workplace: &Workplace, store: &Store, name: &str) -> Outcome {
    let corpus = opened(workplace, store, name)?;
    let damages = corpus.damages();
    damages.iter().for_each(|damage| terminal::complain(&damage.to_string()));
    if damages.is_empty() {
        terminal::say(&format!("{} files hold; root {}", corpus.manifest().files.len(), corpus.root()));
        return Ok(exit_code::SUCCESS);
    }
    Ok(exit_code::CONTRADICTION)
}
