//! `harness data`: fetch, prepare and look at corpora and tasks.

use harness_corpus::tasks::TaskRecipe;
use harness_corpus::{Fetcher, Origin, PreparedCorpus, Recipe, Store, known_recipes};

use super::data_show::{self, Extent};
use super::{Failure, Outcome, Workplace, run, terminal};
use crate::exit_code;

/// Fetch, prepare and look at corpora and tasks.
///
/// A corpus is a recipe in experiments/corpora/, a task one in experiments/tasks/. Files come from the folder
/// $HARNESS_MIRROR, looked up by digest, or from their URLs, and are refused if their digest is wrong.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the recipes.
    List,
    /// Fetch the files of corpora and tasks; of all, if none is named.
    Fetch {
        /// Names of corpora or tasks.
        names: Vec<String>,
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

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let store = Store::of(&workplace.project);
    match &arguments.command {
        Command::List => list(workplace),
        Command::Fetch { names } => fetch(workplace, &store, names),
        Command::Prepare { name, memory_mib } => {
            prepare(workplace, &store.with_memory_bytes((*memory_mib as usize) << 20), name)
        }
        Command::Show { name, all, samples, json } => {
            let corpus = opened(workplace, &store, name)?;
            let extent = Extent { all: *all, samples: *samples };
            let text = if *json {
                data_show::as_json(&corpus, &store, extent)
            } else {
                data_show::as_text(&corpus, &store, extent)
            };
            terminal::say(&text?);
            Ok(exit_code::SUCCESS)
        }
        Command::Verify { name } => verify(workplace, &store, name),
    }
}

fn fetcher(store: &Store) -> Fetcher {
    Fetcher::new(store).with_mirror(run::mirror())
}

fn list(workplace: &Workplace) -> Outcome {
    let project = &workplace.project;
    let mut rows = Vec::new();
    for name in known_recipes(project, "corpora")? {
        let recipe = Recipe::load(project, &name)?;
        rows.push(vec![name, "corpus".to_owned(), recipe.title.clone(), recipe.licence.clone()]);
    }
    for name in known_recipes(project, "tasks")? {
        let recipe = TaskRecipe::load(project, &name)?;
        rows.push(vec![name, "task".to_owned(), recipe.title.clone(), recipe.licence.clone()]);
    }
    terminal::say(&terminal::table(&["name", "kind", "title", "licence"], &rows));
    Ok(exit_code::SUCCESS)
}

fn fetch(workplace: &Workplace, store: &Store, names: &[String]) -> Outcome {
    let project = &workplace.project;
    let (corpora, tasks) = (known_recipes(project, "corpora")?, known_recipes(project, "tasks")?);
    let names: Vec<&String> =
        if names.is_empty() { corpora.iter().chain(&tasks).collect() } else { names.iter().collect() };
    let mut remotes = Vec::new();
    for name in names {
        if tasks.contains(name) {
            remotes.extend(TaskRecipe::load(project, name)?.remotes());
        } else {
            remotes.extend(Recipe::load(project, name)?.remotes());
        }
    }
    let fetched = fetcher(store).fetch(&remotes, &mut terminal::Screen::new())?;
    let count = |origin: fn(&Origin) -> bool| fetched.iter().filter(|f| origin(&f.origin)).count();
    terminal::say(&format!(
        "{} files: {} were there, {} from the mirror, {} from their URLs",
        fetched.len(),
        count(|o| matches!(o, Origin::Store)),
        count(|o| matches!(o, Origin::Mirror(..))),
        count(|o| matches!(o, Origin::Url(..))),
    ));
    Ok(exit_code::SUCCESS)
}

fn prepare(workplace: &Workplace, store: &Store, name: &str) -> Outcome {
    let recipe = Recipe::load(&workplace.project, name)?;
    let mut screen = terminal::Screen::new();
    fetcher(store).fetch(&recipe.remotes(), &mut screen)?;
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
