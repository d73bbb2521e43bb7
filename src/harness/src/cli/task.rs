//! `harness task`: begin, check and look at recipes of validation tasks.

use std::path::{Path, PathBuf};

use harness_core::scores::Request;
use harness_core::task_kind::Kind;
use harness_core::{Digest, files};
use harness_corpus::tasks::{self, Item, SubtaskCheck, TaskRecipe, encoded, load_items};
use harness_corpus::{PreparedCorpus, Recipe, Store, Tokenizer};

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::run::load_config;
use harness_record as record;

/// Begin, check and look at validation tasks.
///
/// A task is one file in experiments/tasks/ and needs no program: which data, how an item is made of a record, what is
/// scored. docs/formats/tasks.md lists every key.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write a recipe for a data file: format, fields, digest and size are filled in, the rest has comments.
    New {
        /// The name of the task.
        name: String,
        /// The data: .jsonl, .csv, .tsv or .txt. Its bytes are taken into the store.
        file: PathBuf,
        /// What an item asks, where the fields do not show it.
        #[arg(long, value_enum)]
        kind: Option<KindName>,
    },
    /// Look for what is wrong with a task: unusable records, answers out of balance, repetitions, ties, items that do
    /// not fit the context, items that stand in a training corpus. Exit code 1 if there is something.
    Check {
        /// The task.
        name: String,
        #[command(flatten)]
        with: With,
        /// Tokens that the model reads [default: that of an experiment with this task].
        #[arg(long, value_name = "TOKENS")]
        context_length: Option<u32>,
    },
    /// Print items as they will be scored, `|` between context and continuation, the right choice marked `+`.
    Show {
        /// The task, or one of its parts: `blimp` or `blimp.causative`.
        name: String,
        #[command(flatten)]
        with: With,
        /// Items of each part.
        #[arg(long, default_value_t = 3, value_name = "N")]
        items: usize,
    },
}

/// Where the tokens come from.
#[derive(clap::Args)]
struct With {
    /// The prepared corpus whose tokenizer and training text are used [default: that of an experiment with this task].
    #[arg(long)]
    corpus: Option<String>,
}

/// The kinds of tasks, as the command line names them.
#[derive(Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum KindName {
    MinimalPairs,
    MultipleChoice,
    TwoContexts,
    LastWord,
    Documents,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::MinimalPairs => Kind::MinimalPairs,
            KindName::MultipleChoice => Kind::MultipleChoice,
            KindName::TwoContexts => Kind::TwoContexts,
            KindName::LastWord => Kind::LastWord,
            KindName::Documents => Kind::Documents,
        }
    }
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::New { name, file, kind } => new(workplace, name, file, kind.map(Kind::from)),
        Command::Check { name, with, context_length } => check(workplace, name, with, *context_length),
        Command::Show { name, with, items } => show(workplace, name, with, *items),
    }
}

fn new(workplace: &Workplace, name: &str, file: &Path, kind: Option<Kind>) -> Outcome {
    let well_named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !well_named {
        return Err(Failure::usage(format!("`{name}` is not a name of letters, digits, `-` and `_`")));
    }
    let recipe = workplace.project.task_recipe(name);
    if files::is_file(&recipe) {
        let hint = "hint: take another name, or edit it: `harness task check` says what is wrong with it";
        return Err(Failure::usage(format!("there is a task `{name}` already\n{hint}")));
    }
    let content = files::read(file)?;
    let content = String::from_utf8(content)
        .map_err(|_| Failure::usage(format!("`{}` is not UTF-8 text\nhint: unpack it first", file.display())))?;
    let file_name = file.file_name().unwrap_or_default().to_string_lossy();
    let text = tasks::draft(name, &file_name, &content, kind).map_err(Failure::usage)?;
    let store = Store::of(&workplace.project);
    files::write(&store.download(&Digest::of(content.as_bytes())), content.as_bytes())?;
    files::write(&recipe, text.as_bytes())?;
    terminal::tell(&format!(
        "wrote experiments/tasks/{name}.toml; fill in what is empty, then `harness task check {name}`"
    ));
    terminal::say(text.trim_end());
    Ok(exit_code::SUCCESS)
}

/// The tokenizer and model that a task is looked at with.
struct Setting {
    corpus: PreparedCorpus,
    tokenizer: Tokenizer,
    context_length: Option<u32>,
}

/// The prepared corpus that was named, else that of the first experiment with the task whose corpus is prepared.
fn setting(workplace: &Workplace, store: &Store, task: &str, with: &With) -> Result<Option<Setting>, Failure> {
    let project = &workplace.project;
    let open = |name: &str| -> Result<PreparedCorpus, Failure> {
        Ok(PreparedCorpus::open(store, &Recipe::load(project, name)?)?)
    };
    let of = |corpus: PreparedCorpus, context_length| -> Result<Option<Setting>, Failure> {
        let tokenizer = corpus.tokenizer().map_err(harness_corpus::CorpusError::from)?;
        Ok(Some(Setting { corpus, tokenizer, context_length }))
    };
    if let Some(name) = &with.corpus {
        return of(open(name)?, None);
    }
    for name in record::experiments(project)? {
        let Ok(loaded) = load_config(project, &name) else { continue };
        let asked = loaded.experiment.evaluation.tasks.iter().any(|named| named == task);
        if let (true, Ok(corpus)) = (asked, open(&loaded.experiment.corpus)) {
            return of(corpus, Some(loaded.experiment.model.context_length));
        }
    }
    Ok(None)
}

fn fetched(workplace: &Workplace, name: &str) -> Result<TaskRecipe, Failure> {
    let recipe = TaskRecipe::load(&workplace.project, name)?;
    workplace.fetcher().fetch(&recipe.remotes(), &mut terminal::Screen::new())?;
    Ok(recipe)
}

fn check(workplace: &Workplace, name: &str, with: &With, context_length: Option<u32>) -> Outcome {
    let store = Store::of(&workplace.project);
    let recipe = fetched(workplace, name)?;
    let setting = setting(workplace, &store, name, with)?;
    let context_length = context_length.or(setting.as_ref().and_then(|setting| setting.context_length));
    let checks = tasks::check(&recipe, setting.as_ref().map(|s| &s.tokenizer), context_length, &store)?;
    let mut warnings = Vec::new();
    for (key, value) in
        [("description", &recipe.description), ("licence", &recipe.licence), ("citation", &recipe.citation)]
    {
        if value.trim().is_empty() {
            warnings.push(format!("{name}: `{key}` is empty, and the paper will show it"));
        }
    }
    warnings.extend(checks.iter().flat_map(|check| findings(check, &recipe, context_length)));
    terminal::say(&summary(&checks));
    match &setting {
        Some(setting) => warnings.extend(overlap(&recipe, &checks, setting, &store)?),
        None => terminal::tell(
            "not looked at: tokens, and overlap with training text\nhint: name a prepared corpus with --corpus",
        ),
    }
    for warning in &warnings {
        terminal::say(&format!("! {warning}"));
    }
    if warnings.is_empty() {
        terminal::say("nothing wrong was found");
    }
    Ok(if warnings.is_empty() { exit_code::SUCCESS } else { exit_code::CONTRADICTION })
}

fn summary(checks: &[SubtaskCheck]) -> String {
    let row = |check: &SubtaskCheck| {
        let gold = check.gold.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let tokens =
            check.tokens.map_or_else(String::new, |[least, median, most]| format!("{least} / {median} / {most}"));
        let longest = check.longest_is_right.map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share));
        vec![check.id.clone(), check.items.to_string(), gold, longest, tokens]
    };
    let rows: Vec<Vec<String>> = checks.iter().map(row).collect();
    let header = ["task", "items", "right choice at 0, 1, ...", "longest is right", "tokens: least / median / most"];
    terminal::table(&header, &rows)
}

/// What is wrong with a subtask, one line each.
fn findings(check: &SubtaskCheck, recipe: &TaskRecipe, context_length: Option<u32>) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |what: String| found.push(format!("{}: {what}", check.id));
    if let Some(first) = check.unusable.first() {
        say(format!(
            "{} records cannot be used, the first: record {}: {}",
            check.unusable.len(),
            first.record,
            first.problem
        ));
    }
    if check.items == 0 {
        say("there is no item".to_owned());
    }
    if let Some(place) = lopsided(&check.gold) {
        let share = 100.0 * check.gold[place] as f64 / check.items as f64;
        say(format!(
            "the right choice is choice {place} in {share:.0} % of the items: always saying so beats guessing"
        ));
    }
    if let Some((first, again)) = check.duplicates.first() {
        say(format!("{} items repeat an earlier one, such as {again} item {first}", check.duplicates.len()));
    }
    if let Some(first) = check.ties.first() {
        let what =
            "items have a right and a wrong choice of the same tokens: the first of them is taken, whatever the model";
        say(format!("{} {what}; item {first}", check.ties.len()));
    }
    if let (Some(first), Some(most)) = (check.too_long.first(), context_length) {
        say(format!("{} items are cut from the left to {most} tokens, such as item {first}", check.too_long.len()));
    }
    let best = check.gold.len().max(if recipe.kind == Kind::MinimalPairs { 2 } else { 0 });
    if best > 1 && recipe.chance > 0.0 && (recipe.chance - 1.0 / best as f64).abs() > 0.05 {
        say(format!("chance = {} does not look like that of {best} choices", recipe.chance));
    }
    found
}

/// The place of the right choice that is so frequent that chance is no explanation (five standard errors).
fn lopsided(gold: &[u64]) -> Option<usize> {
    let items = gold.iter().sum::<u64>() as f64;
    let (p, choices) = (1.0 / gold.len().max(1) as f64, gold.len());
    let limit = items * p + 5.0 * libm::sqrt(items * p * (1.0 - p));
    (choices > 1).then(|| gold.iter().position(|&count| count as f64 > limit)).flatten()
}

fn overlap(
    recipe: &TaskRecipe,
    checks: &[SubtaskCheck],
    setting: &Setting,
    store: &Store,
) -> Result<Vec<String>, Failure> {
    // A record that cannot be used is told already; without it there is nothing to look for.
    if checks.iter().any(|check| !check.unusable.is_empty()) {
        return Ok(Vec::new());
    }
    let corpus = &setting.corpus.manifest().name;
    let found = harness_corpus::overlap(recipe, &setting.corpus, store, &mut terminal::Screen::new())?;
    let mut warnings = Vec::new();
    for task in found {
        if task.items_found > 0 {
            let examples: Vec<String> = task.examples.iter().take(5).map(u64::to_string).collect();
            warnings.push(format!(
                "{}: {} of {} items share 13 words in a row, or all their words, with {} training documents of `{corpus}`: \
                 items {}; name the task under [decontaminate] in its recipe",
                task.task,
                task.items_found,
                task.items,
                task.documents,
                examples.join(", ")
            ));
        }
        if task.items_too_short > 0 {
            let (short, all) = (task.items_too_short, task.items);
            terminal::tell(&format!(
                "{}: {short} of {all} items are too short to be looked for in `{corpus}`",
                task.task
            ));
        }
    }
    Ok(warnings)
}

fn show(workplace: &Workplace, name: &str, with: &With, count: usize) -> Outcome {
    let store = Store::of(&workplace.project);
    let recipe_name = name.split('.').next().unwrap_or(name);
    let recipe = fetched(workplace, recipe_name)?;
    let setting = setting(workplace, &store, recipe_name, with)?;
    let wanted = |id: &str| name == recipe_name || id == name;
    let ids: Vec<String> = recipe.subtasks.iter().map(|subtask| recipe.id(subtask)).collect();
    if !ids.iter().any(|id| wanted(id)) {
        return Err(Failure::usage(format!("there is no `{name}`\nhint: its parts are {}", ids.join(", "))));
    }
    for (subtask, id) in recipe.subtasks.iter().zip(&ids).filter(|(_, id)| wanted(id)) {
        let items = load_items(&recipe, subtask, &store)?.0;
        let shown = &items[..count.min(items.len())];
        terminal::say(&format!("{id}: {} of {} items", shown.len(), items.len()));
        let requests = match &setting {
            Some(setting) => Some(encoded(id, &recipe, shown, &setting.tokenizer)?),
            None => None,
        };
        for (index, item) in shown.iter().enumerate() {
            terminal::say(&format!("item {index}"));
            let of_item = requests.as_ref().map(|all| &all[index]);
            for choice in 0..item.choices.len() {
                let mark = if choice == item.gold { "+" } else { "-" };
                let line = match (of_item, &setting) {
                    (Some(requests), Some(setting)) => as_tokens(&requests[choice], &setting.tokenizer)?,
                    _ => as_text(item, choice),
                };
                terminal::say(&format!("  {mark} {line}"));
            }
        }
    }
    if setting.is_none() {
        terminal::tell("as text only\nhint: name a prepared corpus with --corpus to see tokens");
    }
    Ok(exit_code::SUCCESS)
}

fn as_text(item: &Item, choice: usize) -> String {
    let (context, scored) = if item.continuation.is_empty() {
        (item.context.clone(), item.choices[choice].as_str())
    } else {
        (format!("{}{}", item.context, item.choices[choice]), item.continuation.as_str())
    };
    format!("{context:?} | {:?}", format!(" {scored}"))
}

/// Context as text, then each token that is scored.
fn as_tokens(request: &Request, tokenizer: &Tokenizer) -> Result<String, Failure> {
    /// A document is not printed whole.
    const SHOWN: usize = 40;
    let decoded = |tokens: &[u32]| tokenizer.decode(tokens).map_err(Failure::failed);
    let context = if request.context == [tokenizer.separator()] {
        "<separator>".to_owned()
    } else {
        format!("{:?}", decoded(&request.context)?)
    };
    let pieces: Result<Vec<String>, Failure> =
        request.continuation.iter().take(SHOWN).map(|&token| Ok(format!("{:?}", decoded(&[token])?))).collect();
    let more = request.continuation.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" ... and {more} more") } else { String::new() };
    let counts = format!("{} + {} tokens", request.context.len(), request.continuation.len());
    Ok(format!("{context} | {}{rest}   ({counts})", pieces?.join(" ")))
}
