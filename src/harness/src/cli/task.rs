//! `harness task`: begin, check and look at recipes of validation tasks.

use std::path::{Path, PathBuf};

use harness_core::scores::Request;
use harness_core::task_kind::{Kind, TEST_SIDE};
use harness_core::{Digest, files};
use harness_corpus::tasks::{self, DataFile, Item, PreparedTask, SubtaskCheck, TaskRecipe, encoded, load_items};
use harness_corpus::{PreparedCorpus, Recipe, Store, Tokenizer};
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::compare::show_difference;
use harness_analyse::{RunAnalysis, TaskSignal, Unit, repeated_experiments, task_signals};
use harness_record::{self as record, load_config};
use harness_statistics::cluster::FEWEST_CLUSTERS;

/// Version of the JSON form of a check. Raised with every change that an older reader would misread.
const FORMAT: u32 = 1;

/// Begin, check and look at validation tasks.
///
/// A task is one file in experiments/tasks/ and needs no program: which data, how an item is made of a record, what is
/// scored. docs/formats/tasks.md lists every key.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write a recipe for a data file: format, fields, digest and size are filled in, the rest has comments.
    ///
    /// Records in the form of BLiMP, EWoK, COMPS, WSC273, WinoGrande, PIQA, ARC, OpenBookQA, CommonsenseQA, HellaSwag, COPA,
    /// BoolQ, SciQ, LAMBADA, and those of MosaicML, are scored as these are. Of others the fields have to leave one reading;
    /// else there is no draft, and the reason is said.
    New {
        /// The name of the task.
        name: String,
        /// The data: .jsonl, .csv, .tsv or .txt, plain or packed (.gz, .bz2, .zst, .xz). Each of several files becomes a part
        /// of the task. Their bytes are taken into the store.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The file with the right choices, one a line, where they are not in the data.
        #[arg(long, value_name = "FILE")]
        answers: Option<PathBuf>,
        /// What an item asks, where the fields do not show it.
        #[arg(long, value_enum)]
        kind: Option<KindName>,
    },
    /// Look for what is wrong with a task. Exit code 1 if there is something.
    ///
    /// Looked for are unusable records, answers out of balance, choices whose length gives them away, repetitions, ties, items
    /// that do not fit the context, and items that stand in a training corpus. The table says what is right without a model:
    /// by guessing, and by always taking the first, longest or shortest choice. `+ reversed` is what the accuracy on
    /// items of two choices and on the same items with right and wrong exchanged add to, whatever the model: 1, or less where items
    /// cannot be answered. Where two experiments have two seeds, it is also shown how far the task told them apart.
    Check {
        /// The task.
        name: String,
        #[command(flatten)]
        with: With,
        /// Tokens that the model reads [default: that of an experiment with this task].
        #[arg(long, value_name = "TOKENS")]
        context_length: Option<u32>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the requests of a task, as a run does before it trains: what an audit compares with the record of the run.
    Prepare {
        /// The task.
        name: String,
        #[command(flatten)]
        with: With,
        /// Items of each part at most, spread evenly; 0 for all [default: as the experiment with this task says].
        #[arg(long, value_name = "N")]
        items: Option<u64>,
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

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::New { name, files, answers, kind } => {
            new(workplace, name, files, answers.as_deref(), kind.map(Kind::from))
        }
        Command::Check { name, with, context_length, json } => check(workplace, name, with, *context_length, *json),
        Command::Prepare { name, with, items } => prepare(workplace, name, with, *items),
        Command::Show { name, with, items } => show(workplace, name, with, *items),
    }
}

fn new(workplace: &Workplace, name: &str, paths: &[PathBuf], answers: Option<&Path>, kind: Option<Kind>) -> Outcome {
    let well_named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !well_named {
        return Err(Failure::usage(format!("`{name}` is not a name of letters, digits, `-` and `_`")));
    }
    let project = &workplace.project;
    let recipe = project.task_recipe(name);
    if files::is_file(&recipe) {
        let hint = "hint: take another name, or edit it: `harness task check` says what is wrong with it";
        return Err(Failure::usage(format!("there is a task `{name}` already\n{hint}")));
    }
    let read = |path: &Path| DataFile::read(project, path).map_err(Failure::usage);
    let data = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let answers = answers.map(read).transpose()?;
    let text = tasks::draft(name, &data, answers.as_ref(), kind).map_err(Failure::usage)?;
    let store = Store::of(project);
    for file in data.iter().chain(&answers) {
        files::write(&store.download(&Digest::of(file.content.as_bytes())), file.content.as_bytes())?;
    }
    files::write(&recipe, text.as_bytes())?;
    terminal::tell(&format!(
        "wrote experiments/tasks/{name}.toml; fill in what is empty, then `harness task check {name}`"
    ));
    terminal::say_exactly(text.trim_end());
    Ok(exit_code::SUCCESS)
}

/// The tokenizer and model that a task is looked at with.
struct Setting {
    corpus: PreparedCorpus,
    tokenizer: Tokenizer,
    context_length: Option<u32>,
    items_per_task: u64,
}

/// That of the first experiment with the task whose corpus is prepared, and is the named one if one is named; else the
/// named corpus alone.
fn setting(workplace: &Workplace, store: &Store, task: &str, with: &With) -> Result<Option<Setting>, Failure> {
    let project = &workplace.project;
    let open = |name: &str| -> Result<PreparedCorpus, Failure> {
        Ok(PreparedCorpus::open(store, &Recipe::load(project, name)?)?)
    };
    let of = |corpus: PreparedCorpus, context_length, items_per_task| -> Result<Option<Setting>, Failure> {
        let tokenizer = corpus.tokenizer().map_err(harness_corpus::CorpusError::from)?;
        Ok(Some(Setting { corpus, tokenizer, context_length, items_per_task }))
    };
    for name in record::experiments(project)? {
        let Ok(loaded) = load_config(project, &name) else { continue };
        let experiment = &loaded.experiment;
        let asked = experiment.evaluation.tasks.iter().any(|named| named == task)
            && with.corpus.as_ref().is_none_or(|corpus| *corpus == experiment.corpus);
        if let (true, Ok(corpus)) = (asked, open(&experiment.corpus)) {
            return of(corpus, Some(experiment.model.context_length), experiment.evaluation.items_per_task);
        }
    }
    with.corpus.as_ref().map_or(Ok(None), |name| of(open(name)?, None, 0))
}

fn fetched(workplace: &Workplace, name: &str) -> Result<TaskRecipe, Failure> {
    let recipe = TaskRecipe::load(&workplace.project, name)?;
    workplace.fetcher().fetch(&recipe.remotes(), &mut terminal::Screen::new())?;
    Ok(recipe)
}

fn check(workplace: &Workplace, name: &str, with: &With, context_length: Option<u32>, as_json: bool) -> Outcome {
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
    match &setting {
        Some(setting) => warnings.extend(overlap(&recipe, &checks, setting, &store)?),
        None => terminal::tell(
            "not looked at: tokens, and overlap with training text\nhint: name a prepared corpus with --corpus",
        ),
    }
    let (signals, parts) = signals(workplace, name)?;
    if as_json {
        let text = json!({
            "format": FORMAT, "task": name, "parts": checks.iter().map(as_value).collect::<Vec<_>>(), "warnings": warnings,
            "signal": signals, "signal_of_parts": parts,
        });
        terminal::say_json(&text);
    } else {
        terminal::say(&summary(&checks));
        warnings.iter().for_each(|warning| terminal::say(&format!("! {warning}")));
        if warnings.is_empty() {
            terminal::say("nothing wrong was found");
        }
        if !signals.is_empty() {
            terminal::say(&told_apart(&signals, &parts));
        }
    }
    Ok(if warnings.is_empty() { exit_code::SUCCESS } else { exit_code::CONTRADICTION })
}

/// A part as JSON: counts, but for the items that are wrong.
fn as_value(check: &SubtaskCheck) -> serde_json::Value {
    let blind = check.blind.as_ref();
    json!({
        "id": check.id, "items": check.items, "unusable": check.unusable.len(), "right_at": check.gold,
        "guessing": blind.map(|blind| blind.guessing), "first": blind.and_then(|blind| blind.first),
        "longest": blind.map(|blind| blind.longest), "shortest": blind.map(|blind| blind.shortest),
        "with_reversed": check.with_reversed, "tokens": check.tokens, "duplicates": check.duplicates, "ties": check.ties,
        "too_long": check.too_long, "cut": check.cut,
    })
}

/// How far the task told the experiments here apart, and its parts by their accuracy; nothing unless two of them have two seeds.
fn signals(workplace: &Workplace, name: &str) -> Result<(Vec<TaskSignal>, Vec<TaskSignal>), Failure> {
    let experiments = repeated_experiments(&workplace.project)?;
    let experiments: Vec<Vec<&RunAnalysis>> = experiments.iter().map(|runs| runs.iter().collect()).collect();
    let result = |run: &&RunAnalysis| run.groups.iter().chain(&run.tasks).any(|task| task.id == name);
    let latest = experiments.iter().flatten().copied().filter(result).max_by_key(|run| run.run.open.run.clone());
    let Some(latest) = latest else { return Ok((Vec::new(), Vec::new())) };
    let of = |task| task_signals(latest, task, &experiments);
    let whole = latest.groups.iter().chain(&latest.tasks).find(|task| task.id == name).map(of).unwrap_or_default();
    let parts = latest.tasks.iter().filter(|task| task.group.as_deref() == Some(name));
    Ok((whole, parts.filter_map(|part| of(part).into_iter().next()).collect()))
}

fn told_apart(signals: &[TaskSignal], parts: &[TaskSignal]) -> String {
    let size = |size: f64, unit: Unit| show_difference(size, unit).trim_start_matches('+').to_owned();
    let row = |signal: &TaskSignal| {
        vec![
            signal.metric.rsplit('.').next().unwrap_or_default().to_owned(),
            size(signal.signal, signal.unit),
            size(signal.noise_over_seeds, signal.unit),
            signal.noise_over_evaluations.map_or_else(|| "-".to_owned(), |noise| size(noise, signal.unit)),
            signal.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}")),
            signal.words(),
        ]
    };
    let header = ["score", "signal", "over seeds", "over evaluations", "ratio", ""];
    let rows: Vec<Vec<String>> = signals.iter().map(row).collect();
    let mut text = format!(
        "\nsignal is the spread of {} experiments, noise that of their {} runs over seeds and over late evaluations\n{}",
        signals[0].experiments,
        signals[0].runs,
        terminal::table(&header, &rows)
    );
    let telling: Vec<&str> =
        parts.iter().filter(|part| part.tells_apart).filter_map(|part| part.metric.split('.').nth(2)).collect();
    if !parts.is_empty() {
        let named = if telling.is_empty() { String::new() } else { format!(": {}", telling.join(", ")) };
        text.push_str(&format!(
            "\nparts that tell them apart by accuracy: {} of {}{named}",
            telling.len(),
            parts.len()
        ));
    }
    text
}

fn summary(checks: &[SubtaskCheck]) -> String {
    let percent = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    let row = |check: &SubtaskCheck| {
        let gold = check.gold.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let tokens =
            check.tokens.map_or_else(String::new, |[least, median, most]| format!("{least} / {median} / {most}"));
        let blind = check.blind.as_ref();
        vec![
            check.id.clone(),
            check.clusters.map_or_else(|| check.items.to_string(), |n| format!("{} in {n} clusters", check.items)),
            percent(blind.map(|blind| blind.guessing)),
            percent(blind.and_then(|blind| blind.first)),
            percent(blind.map(|blind| blind.longest)),
            percent(blind.map(|blind| blind.shortest)),
            check.with_reversed.map_or_else(|| "-".to_owned(), |sum| format!("{sum:.2}")),
            gold,
            tokens,
        ]
    };
    let rows: Vec<Vec<String>> = checks.iter().map(row).collect();
    let header = [
        "task",
        "items",
        "guessing",
        "first",
        "longest",
        "shortest",
        "+ reversed",
        "right at 0, 1, ...",
        "tokens: least / median / most",
    ];
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
    if let Some(clusters) = check.clusters.filter(|&clusters| clusters < FEWEST_CLUSTERS as u64) {
        say(format!("its items belong to {clusters} clusters; with fewer than {FEWEST_CLUSTERS} nothing is tested"));
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
    if let Some(blind) = &check.blind {
        let (items, guessing) = (check.items as f64, blind.guessing);
        for (share, which) in [(blind.longest, "longest"), (blind.shortest, "shortest")] {
            if share > guessing + unlikely(items, guessing) {
                let (share, guessing) = (100.0 * share, 100.0 * guessing);
                say(format!("the {which} choice is right in {share:.0} % of the items, a guess in {guessing:.0} %"));
            }
        }
        if (recipe.chance - guessing).abs() > 0.005 {
            say(format!("chance = {}, but guessing is right in {:.1} % of its items", recipe.chance, 100.0 * guessing));
        }
    }
    if let Some(first) = check.ties.first() {
        let what = "items give a model the same to read for a right and a wrong choice: it cannot tell them apart";
        say(format!("{} {what}; item {first}", check.ties.len()));
    }
    if let (Some(first), Some(most)) = (check.too_long.first(), context_length) {
        let what = format!(
            "items have a choice that does not fit the {most} tokens that the model reads, and stay unanswered"
        );
        say(format!("{} {what}; item {first}", check.too_long.len()));
    }
    if let (Some(first), Some(most)) = (check.cut.first(), context_length) {
        let what = format!("items lose the beginning of their context, which does not fit {most} tokens");
        say(format!("{} {what}; item {first}", check.cut.len()));
    }
    found
}

/// How far above its share something has to be, in so many items, that chance is no explanation: five standard errors.
fn unlikely(items: f64, share: f64) -> f64 {
    5.0 * libm::sqrt(share * (1.0 - share) / items)
}

/// The place of the right choice that is so frequent that chance is no explanation.
fn lopsided(gold: &[u64]) -> Option<usize> {
    let (items, share) = (gold.iter().sum::<u64>() as f64, 1.0 / gold.len().max(1) as f64);
    let limit = items * (share + unlikely(items, share));
    (gold.len() > 1).then(|| gold.iter().position(|&count| count as f64 > limit)).flatten()
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

fn prepare(workplace: &Workplace, name: &str, with: &With, items: Option<u64>) -> Outcome {
    let store = Store::of(&workplace.project);
    let Some(setting) = setting(workplace, &store, name, with)? else {
        let hint = "hint: name a prepared corpus with --corpus";
        return Err(Failure::usage(format!("no experiment with the task `{name}` has a prepared corpus\n{hint}")));
    };
    let recipe = if name == TEST_SIDE {
        harness_corpus::test_side(&setting.corpus, &store)?
    } else {
        Some(fetched(workplace, name)?)
    };
    let Some(recipe) = recipe else {
        return Err(Failure::usage(format!("the corpus `{}` has no test side", setting.corpus.manifest().name)));
    };
    let limit = items.unwrap_or(setting.items_per_task);
    let prepared = tasks::prepare(&recipe, &setting.tokenizer, limit, &store, &mut terminal::Screen::new())?;
    let row = |task: &PreparedTask| {
        let items = format!("{} of {}", task.items, task.items_available);
        vec![task.id.clone(), items, task.requests.sha256.short(), prepared.requests_path(task).display().to_string()]
    };
    let rows: Vec<Vec<String>> = prepared.tasks().iter().map(row).collect();
    terminal::say(&terminal::columns(&["task", "items", "digest", "requests"], &rows));
    Ok(exit_code::SUCCESS)
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
