//! `tables.json`: the tables as data. A cell is text, or names a value that `values.typ` looks up and sets; so each
//! number of a table is bound as those of the prose are.

use std::collections::BTreeMap;

use harness_analyse::compare::Verdict;
use harness_analyse::{Likelihood, TaskResult, Unit, recipe_sources, show};
use harness_core::config::{flat, is_of_the_plan, is_off_as_ever, listed};
use harness_core::corpus_manifest::{FunnelStage, SourceRecord, TaskContamination};
use harness_core::task_kind::{Kind, Metric};
use harness_study::adoption::Adoption;
use harness_study::ledger::{self, Total};
use serde::Serialize;

use super::differences::Difference;
use super::emphasis;
use super::families::Entry;
use super::logbook::{self, Logbook};
use super::model::Align::{Left, Right};
use super::model::{Align, Cell, Row, Table};
use super::plot::{headline_tasks, task_title, title_in_group, title_of_task};
use super::samples::Samples;
use super::section::literal;
use super::values::{Numbers, VERSION, accuracy_key, title_of};

/// More columns of experiments than this do not fit one column of the page.
const NARROW: usize = 3;

fn text(text: impl Into<String>) -> Cell {
    Cell::Text { text: text.into() }
}

fn code(text: impl Into<String>) -> Cell {
    Cell::Code { text: text.into() }
}

fn value(experiment: &str, key: &str, error: bool, bold: bool) -> Cell {
    Cell::Value { experiment: experiment.to_owned(), key: key.to_owned(), error, bold }
}

fn table(wide: bool, columns: &[Align], header: Row, rows: Vec<Row>) -> Table {
    Table { wide, columns: columns.to_vec(), header, rows, rules: Vec::new() }
}

/// `tables.json`
#[derive(Debug, Serialize)]
pub(super) struct Tables {
    format: u32,
    /// Of the whole paper, by kind.
    pub paper: BTreeMap<&'static str, Table>,
    /// By experiment and kind; what shows a family is under its baseline.
    pub experiments: BTreeMap<String, BTreeMap<&'static str, Table>>,
    /// By experiment, the texts that its models went on to, where a run keeps some.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub samples: BTreeMap<String, Samples>,
}

impl Tables {
    pub(crate) fn of(numbers: &Numbers, logbook: &Logbook) -> Self {
        let families = &numbers.families;
        let is_better =
            |entry: &Entry, key: &str| numbers.differences.verdict(families, entry, key) == Some(Verdict::Better);
        let paper = of_logbook(logbook).chain([("runs", runs(numbers, logbook))]).collect();
        let of_entry = |entry: &Entry| Some((entry.name().to_owned(), Samples::of(entry)?));
        let samples = families.entries.iter().filter_map(of_entry).collect();
        let mut tables = Tables { format: VERSION, paper, experiments: BTreeMap::new(), samples };
        for family in &families.families {
            let members: Vec<&Entry> = family.iter().map(|i| &families.entries[*i]).collect();
            let base = members[0];
            let of_family = BTreeMap::from([
                ("data", data(base)),
                ("sources", sources(base)),
                ("cleaning", cleaning(base)),
                ("funnel", funnel(base)),
                ("lengths", lengths(base)),
                ("statement", statement(base)),
                ("contamination", contamination(base)),
                ("config", config(base)),
                ("changes", changes(&members, numbers)),
                ("full-config", full_config(&members)),
                ("tasks", tasks(base)),
                ("results", results(&members, &is_better)),
                ("all-tasks", all_tasks(&members, &is_better)),
                ("resources", resources(&members)),
            ]);
            tables.experiments.insert(base.name().to_owned(), of_family);
            for entry in &members[1..] {
                if let Some(reference) = families.reference(entry) {
                    let of_change = BTreeMap::from([("change", change(entry, reference))]);
                    tables.experiments.insert(entry.name().to_owned(), of_change);
                }
            }
        }
        tables
    }

    /// Takes the commits out of the table of runs: anyone can look them up on a public host, and so find the authors.
    pub(crate) fn withhold_commits(&mut self) {
        let Some(runs) = self.paper.get_mut("runs") else { return };
        if let Some(column) = runs.header.iter().position(|head| *head == text("Commit")) {
            runs.rows.iter_mut().for_each(|row| row[column] = text("withheld"));
        }
    }
}

/// What was trained and validated on.
fn data(base: &Entry) -> Table {
    let name = base.name();
    let row = |label: &str, train: &str, validation: &str| {
        vec![text(label), value(name, train, false, false), value(name, validation, false, false)]
    };
    let mut rows = vec![row("Documents", "data.train_documents", "data.validation_documents")];
    rows.push(row("Bytes of text", "data.train_bytes", "data.validation_bytes"));
    rows.push(row("Tokens", "data.train_tokens", "data.validation_tokens"));
    table(false, &[Left, Right, Right], vec![text(""), text("Training"), text("Validation")], rows)
}

/// Every source of the corpus; the files of a pattern are one.
fn sources(base: &Entry) -> Table {
    let row = |(name, of): (&str, &[SourceRecord])| {
        let title = if of[0].title.is_empty() { name } else { &of[0].title };
        let title = match of {
            [SourceRecord { url: Some(url), .. }] => Cell::Link { text: title.to_owned(), url: url.clone() },
            [_] => text(title),
            several => text(format!("{title} ({} files)", several.len())),
        };
        let number = |what: &str| value(base.name(), &format!("data.sources.{name}.{what}"), false, false);
        vec![title, text(of[0].licence.clone()), number("documents"), number("bytes"), number("tokens")]
    };
    let header = ["Source", "Licence", "Documents", "Bytes", "Tokens"].map(text).to_vec();
    let rows = recipe_sources(&base.latest.run.corpus).into_iter().map(row).collect();
    table(true, &[Left, Left, Right, Right, Right], header, rows)
}

/// What each cleaning step did, and what is left once duplicates and the like are out.
fn cleaning(base: &Entry) -> Table {
    let manifest = &base.latest.run.corpus;
    let cell = |stage: &str, what: &str| value(base.name(), &format!("data.funnel.{stage}.{what}"), false, false);
    // The first stage is reading, then every step has one.
    let row = |stage: &FunnelStage| {
        let of = |what: &str| cell(&stage.stage, what);
        vec![text(stage.stage.replace('_', " ")), of("documents"), of("changed"), of("bytes")]
    };
    let mut rows: Vec<_> = manifest.funnel.iter().skip(1).take(manifest.steps.len()).map(row).collect();
    if let Some(last) = manifest.funnel.last() {
        rows.push(vec![text("after selection"), cell(&last.stage, "documents"), text("–"), cell(&last.stage, "bytes")]);
    }
    let header = ["Step", "Documents", "Changed", "Bytes"].map(text).to_vec();
    table(false, &[Left, Right, Right, Right], header, rows)
}

/// From what was read to both sides: what each stage leaves.
fn funnel(base: &Entry) -> Table {
    let manifest = &base.latest.run.corpus;
    let cell = |key: String| value(base.name(), &key, false, false);
    let mut rows = Vec::new();
    for (at, stage) in manifest.funnel.iter().enumerate() {
        // A stage that left everything as it was would only fill a line.
        let before = at.checked_sub(1).map(|before| &manifest.funnel[before]);
        if before.is_some_and(|b| (b.documents, b.bytes) == (stage.documents, stage.bytes)) {
            continue;
        }
        let label = match stage.stage.as_str() {
            "exact_duplicates" | "near_duplicates" => format!("no {}", stage.stage.replace('_', " ")),
            "contaminated" => "no task items".to_owned(),
            "leaked" => "no leaks across sides".to_owned(),
            step => step.replace('_', " "),
        };
        let of_stage = |what: &str| cell(format!("data.funnel.{}.{what}", stage.stage));
        rows.push(vec![text(label), of_stage("documents"), of_stage("bytes"), of_stage("bytes_share")]);
    }
    let rule = rows.len();
    for (side, label) in [("train", "training side"), ("validation", "validation side"), ("test", "test side")] {
        let of_side = |what: &str| format!("data.funnel.{side}.{what}");
        if base.values.contains_key(&of_side("documents")) {
            let cells = ["documents", "bytes", "bytes_share"].map(|what| cell(of_side(what)));
            rows.push(std::iter::once(text(label)).chain(cells).collect());
        }
    }
    let header = ["Stage", "Documents", "Bytes", "%"].map(text).to_vec();
    let mut table = table(false, &[Left, Right, Right, Right], header, rows);
    table.rules = vec![rule];
    table
}

/// Quartiles of the lengths of documents, by side.
fn lengths(base: &Entry) -> Table {
    let row = |(label, what): (&str, &str)| {
        let of = |key: &str| value(base.name(), &format!("data.{key}.{what}"), false, false);
        let keys = ["train_document_bytes", "train_document_tokens", "validation_document_bytes"];
        let all = keys.map(of).into_iter().chain([of("validation_document_tokens")]);
        std::iter::once(text(label)).chain(all).collect()
    };
    let rows = [
        ("smallest", "smallest"),
        ("lower quartile", "lower_quartile"),
        ("median", "median"),
        ("upper quartile", "upper_quartile"),
        ("largest", "largest"),
    ];
    let header = ["", "Train. bytes", "tokens", "Val. bytes", "tokens"].map(text).to_vec();
    table(false, &[Left, Right, Right, Right, Right], header, rows.into_iter().map(row).collect())
}

/// What a data statement says in numbers, but for the sizes of both sides.
fn statement(base: &Entry) -> Table {
    let cell = |key: &str| value(base.name(), key, false, false);
    let recipe = &base.latest.run.corpus.recipe;
    // A zero would say that it was looked for.
    let looked_for = |key: &str| match key {
        "data.exact_duplicates" => recipe["duplicates"]["exact"] == true,
        "data.near_duplicates" => recipe["duplicates"]["near"].is_object(),
        "data.contaminated_documents" => recipe["decontaminate"]["action"] == "leave_out",
        _ => true,
    };
    let rows = [
        ("Bytes of the sources", "data.source_bytes"),
        ("Documents read", "data.documents_read"),
        ("Exact duplicates", "data.exact_duplicates"),
        ("Near duplicates", "data.near_duplicates"),
        ("Groups of duplicates", "data.duplicate_groups"),
        ("Left out for task items", "data.contaminated_documents"),
        ("Token ids", "data.vocabulary_size"),
        ("  not in training text", "data.unused_token_ids"),
        ("Bytes per training token", "data.train_bytes_per_token"),
        ("Bytes per validation token", "data.bytes_per_token"),
    ];
    let rows = rows.iter().filter(|(_, key)| looked_for(key)).map(|(label, key)| vec![text(*label), cell(key)]);
    table(false, &[Left, Right], vec![text("Property"), text("Value")], rows.collect())
}

/// How many items share text with the corpus, of the tasks of which one does: a group like BLiMP has dozens without.
fn contamination(base: &Entry) -> Table {
    let row = |found: &TaskContamination| {
        let number =
            |what: &str| value(base.name(), &format!("data.contamination.{}.{what}", found.task), false, false);
        let counts = ["items", "items_too_short", "items_found", "documents"].map(number);
        std::iter::once(text(task_title(&found.task))).chain(counts).collect()
    };
    let header = ["Task", "Items", "Too short", "Found", "Documents"].map(text).to_vec();
    let found = base.latest.run.corpus.contamination.iter().filter(|task| task.items_found > 0);
    table(false, &[Left, Right, Right, Right, Right], header, found.map(row).collect())
}

/// What the claims rest on; no choice of the training.
const PRIMARY_METRICS: &str = "primary_metrics";

/// Keys that say who and why, not what; keys of the paper's own machinery.
fn is_choice(key: &str) -> bool {
    is_of_the_plan(key) && !["evaluation.tasks", "corpus"].contains(&key)
}

fn config_cell(entry: &Entry, key: &str, shown: &str) -> Cell {
    let key = format!("config.{key}");
    if entry.values.contains_key(&key) {
        value(entry.name(), &key, false, false)
    } else {
        code(shown.trim_matches('"'))
    }
}

fn in_words(key: &str) -> String {
    key.rsplit('.').next().unwrap_or(key).replace('_', " ")
}

/// Choices that say how the program runs rather than what is learned: in the appendix only.
fn is_running(key: &str) -> bool {
    ["evaluation.", "metrics.", "training.keep."].iter().any(|section| key.starts_with(section))
        || [
            PRIMARY_METRICS,
            "training.attention_kernel",
            "training.on_non_finite",
            "training.skip_at_most",
            "training.device",
            "training.threads",
            "training.deterministic",
            "training.checkpoint_every",
            "training.micro_batch_size",
        ]
        .contains(&key)
}

/// The choices of the baseline that decide what is learned, by section.
fn config(base: &Entry) -> Table {
    let mut choices: Vec<(String, String)> = choices(base).into_iter().collect();
    // A schedule without warm-up is a choice; a model or a training without one of the many pieces there are is not.
    let is_off = |key: &str, shown: &str| {
        shown == "[]"
            || is_off_as_ever(key, shown)
            || ["model.", "training."].iter().any(|section| key.starts_with(section))
                && ["0", "0.0", "false"].contains(&shown)
    };
    choices.retain(|(key, shown)| is_choice(key) && !is_running(key) && !is_off(key, shown));
    choices.sort_by_key(|(key, _)| !key.contains('.'));
    let mut rows = Vec::new();
    let mut rules = Vec::new();
    let mut section = "";
    for (key, shown) in &choices {
        let own = key.split_once('.').map_or("order and weights", |(section, _)| section);
        let first = own != section;
        if first && !rows.is_empty() {
            rules.push(rows.len());
        }
        section = own;
        rows.push(vec![text(if first { own } else { "" }), text(in_words(key)), config_cell(base, key, shown)]);
    }
    let header = ["Part", "Choice", "Value"].map(text).to_vec();
    let mut table = table(false, &[Left, Left, Right], header, rows);
    table.rules = rules;
    table
}

/// The config as it is written, by key. What differs between the seeds, as the seed does, is listed.
fn choices(entry: &Entry) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (at, run) in entry.seeds.iter().enumerate() {
        for (key, shown) in flat(&run.run.experiment) {
            let listed = all.entry(key).or_default();
            if at == 0 || !listed.split(", ").any(|own| own == shown) {
                let comma = if at == 0 { "" } else { ", " };
                *listed = format!("{listed}{comma}{shown}");
            }
        }
    }
    all
}

/// What two configs have different: key, reference, experiment. Which metrics are primary, and what is written down on the way, is no
/// part of the training.
fn differing(entry: &Entry, reference: &Entry) -> Vec<(String, Option<String>, Option<String>)> {
    let (before, after) = (choices(reference), choices(entry));
    let is_written_down = |key: &str| key == "evaluation.token_losses_at" || key.starts_with("metrics.");
    // How many seeds a side has is no choice of the training.
    let is_number_of_seeds = |key: &str| key == "seed" && entry.seeds.len() != reference.seeds.len();
    let is_compared = |key: &&String| {
        *key == "corpus"
            || is_choice(key) && *key != PRIMARY_METRICS && !is_written_down(key) && !is_number_of_seeds(key)
    };
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).filter(is_compared).collect();
    keys.sort();
    keys.dedup();
    let row = |key: &&String| {
        (before.get(*key) != after.get(*key))
            .then(|| ((*key).clone(), before.get(*key).cloned(), after.get(*key).cloned()))
    };
    keys.iter().filter_map(row).collect()
}

/// The choices that an experiment makes differently from its reference.
pub(super) fn changed_keys(entry: &Entry, reference: &Entry) -> Vec<String> {
    differing(entry, reference).into_iter().map(|(key, _, _)| key).collect()
}

/// The same in words, with both settings as source: a number is bound, all else stands as it is written.
pub(super) fn changed_settings(entry: &Entry, reference: &Entry) -> Vec<[String; 3]> {
    let source = |e: &Entry, key: &str, shown: Option<String>| match shown.map(|shown| config_cell(e, key, &shown)) {
        Some(Cell::Value { experiment, key, .. }) => format!("#value({}, {})", literal(&experiment), literal(&key)),
        Some(Cell::Code { text }) => format!("#raw({})", literal(&text)),
        _ => "nothing".to_owned(),
    };
    let row = |(key, before, after): (String, Option<String>, Option<String>)| {
        let settings = [source(reference, &key, before), source(entry, &key, after)];
        let [before, after] = settings;
        [key.replace(['.', '_'], " "), before, after]
    };
    differing(entry, reference).into_iter().map(row).collect()
}

fn change(entry: &Entry, reference: &Entry) -> Table {
    let cell =
        |e: &Entry, key: &str, shown: Option<String>| shown.map_or_else(|| text("–"), |s| config_cell(e, key, &s));
    let rows = differing(entry, reference)
        .into_iter()
        .map(|(key, before, after)| vec![code(&*key), cell(reference, &key, before), cell(entry, &key, after)])
        .collect();
    table(false, &[Left, Right, Right], vec![text("Choice"), code(reference.name()), code(entry.name())], rows)
}

/// One row for each change: what was expected, what was found, and what a run of it cost.
fn changes(members: &[&Entry], numbers: &Numbers) -> Table {
    let families = &numbers.families;
    let on_gpu = members.iter().any(|entry| entry.values.get("resources.gpu_h").is_some_and(|v| v.number > 0.0));
    let (cost, hours) = if on_gpu { ("resources.gpu_h", "GPU h") } else { ("resources.cpu_h", "CPU h") };
    let found: Vec<_> =
        members[1..].iter().map(|entry| emphasis::difference(families, &numbers.differences, entry)).collect();
    let mut metrics: Vec<&str> = found.iter().flatten().map(|(key, _)| key.as_str()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let one_metric = metrics.len() <= 1;
    let row = |(entry, found): (&&Entry, &Option<(String, &Difference)>)| {
        let (name, config) = (entry.name(), &entry.latest.run.experiment);
        let expected = config.expect.as_ref().map_or_else(|| title_of(entry), |expect| expect.size(None));
        let mut row = vec![code(name), text(expected)];
        match (found, families.reference(entry)) {
            (Some((key, found)), Some(reference)) => {
                let pair = || (name.to_owned(), reference.name().to_owned(), key.clone());
                if !one_metric {
                    row.push(text(match key.as_str() {
                        "validation.bits_per_byte" => "bits per byte",
                        key => key.trim_start_matches("tasks."),
                    }));
                }
                let (experiment, minus, key) = pair();
                row.push(Cell::Difference { experiment, minus, key });
                let (experiment, minus, key) = pair();
                row.push(Cell::Interval { experiment, minus, key });
                let (experiment, against, key) = pair();
                row.push(Cell::Verdict { experiment, against, key, text: in_a_word(found.verdict).to_owned() });
            }
            _ => row.extend((usize::from(one_metric)..4).map(|_| text("–"))),
        }
        row.push(if entry.values.contains_key(cost) { value(name, cost, false, false) } else { text("–") });
        row
    };
    let mut header = ["Change", "Expected", "Metric", "Difference", "95% interval", "Found", hours].map(text).to_vec();
    let mut columns = vec![Left, Left, Left, Right, Right, Left, Right];
    if one_metric {
        header.remove(2);
        columns.remove(2);
    }
    table(true, &columns, header, members[1..].iter().zip(&found).map(row).collect())
}

fn in_a_word(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Better) => "better",
        Some(Verdict::Worse) => "worse",
        Some(Verdict::ModelsDiffer) => "models differ",
        Some(Verdict::NotDistinguishable) => "not told apart",
        Some(Verdict::NotJudged) | None => "not tested",
    }
}

/// The tables of what stands beside the runs, where there is anything to show.
fn of_logbook(logbook: &Logbook) -> impl Iterator<Item = (&'static str, Table)> {
    let has = |holds: bool, kind: &'static str, table: fn(&Logbook) -> Table| holds.then(|| (kind, table(logbook)));
    let decisions = has(!logbook.decisions.is_empty(), "decisions", decisions);
    let spent = has(!logbook.ledger.entries.is_empty(), "spent", spent);
    [decisions, spent, has(!logbook.studies.is_empty(), "search", search)].into_iter().flatten()
}

/// The kinds of tables of the whole paper that there are.
pub(super) fn of_paper(logbook: &Logbook) -> Vec<&'static str> {
    of_logbook(logbook).map(|(kind, _)| kind).chain(["runs"]).collect()
}

/// What was decided of each change, and how often what was registered of it was changed before its first run.
fn decisions(logbook: &Logbook) -> Table {
    let row = |(name, decision): (&String, &Adoption)| {
        let amendments = logbook.amendments.get(name).map_or(0, Vec::len);
        vec![
            code(&**name),
            code(decision.over.as_str()),
            text(decision.decided_at.chars().take(10).collect::<String>()),
            text(decision.verdict.word().to_lowercase()),
            text(decision.outcome.word()),
            text(amendments.to_string()),
            text(decision.override_reason.clone().unwrap_or_default()),
        ]
    };
    let header = ["Change", "Over", "Decided", "Hypothesis", "Outcome", "Amended", "Why not as advised"];
    let rows = logbook.decisions.iter().map(row).collect();
    table(true, &[Left, Left, Left, Left, Left, Right, Left], header.map(text).to_vec(), rows)
}

/// What was spent on what, runs that failed, were interrupted or left out included.
fn spent(logbook: &Logbook) -> Table {
    let hours = |seconds: f64| text(show(seconds / 3600.0, Unit::Decimal));
    let row = |name: String, total: Total, failed: usize| {
        let number = |count: usize| text(count.to_string());
        let Total { entries, spent, .. } = total;
        vec![text(name), number(entries), number(failed), hours(spent.gpu_time_s), hours(spent.cpu_time_s)]
    };
    let failed = |phase: Option<&str>| {
        let of = |entry: &&ledger::Entry| phase.is_none_or(|phase| entry.phase.word() == phase);
        logbook.ledger.entries.iter().filter(of).filter(|entry| entry.state != ledger::State::Completed).count()
    };
    let by = logbook.ledger.by(|entry| entry.phase.word().to_owned());
    let mut rows: Vec<Row> = by
        .into_iter()
        .map(|(phase, total)| {
            let failed = failed(Some(&phase));
            row(phase, total, failed)
        })
        .collect();
    let rule = rows.len();
    rows.push(row("all".to_owned(), logbook.ledger.total(), failed(None)));
    let header = ["Phase", "Runs", "not completed", "GPU h", "CPU h"].map(text).to_vec();
    let mut table = table(false, &[Left, Right, Right, Right, Right], header, rows);
    table.rules = vec![rule];
    table
}

/// Which spaces the studies searched.
fn search(logbook: &Logbook) -> Table {
    let mut table =
        table(true, &[Left, Left, Left, Left], ["Study", "Parameter", "Role", "Values"].map(text).to_vec(), Vec::new());
    for (name, study) in &logbook.studies {
        if !table.rows.is_empty() {
            table.rules.push(table.rows.len());
        }
        let first = table.rows.len();
        let mut add = |key: String, role: &str, values: String| {
            let name = if table.rows.len() == first { code(&**name) } else { text("") };
            table.rows.push(vec![name, code(key), text(role), text(values)]);
        };
        study.scientific.iter().for_each(|p| add(p.key.clone(), "compared", listed(&p.values)));
        let spaces = &study.present().spaces;
        study.nuisance.iter().zip(spaces).for_each(|(p, space)| add(p.label(), "tuned", logbook::in_words(space)));
        study.fixed.iter().for_each(|fixed| add(fixed.key.clone(), "fixed", String::new()));
    }
    table
}

/// Every key of every config of the family; experiments that agree with the baseline show a dot. Where there are many, the
/// baseline has all keys and each other what it changes.
fn full_config(members: &[&Entry]) -> Table {
    let maps: Vec<BTreeMap<String, String>> = members.iter().map(|e| choices(e)).collect();
    let mut keys: Vec<&String> = maps.iter().flat_map(BTreeMap::keys).filter(|k| is_choice(k)).collect();
    keys.sort_by_key(|k| (k.contains('.'), *k));
    keys.dedup();
    let shown = |at: usize, key: &str| match maps[at].get(key) {
        None => text("–"),
        Some(shown) => config_cell(members[at], key, shown),
    };
    if members.len() > NARROW {
        let mut rows: Vec<Row> = keys.iter().map(|key| vec![code(&***key), shown(0, key)]).collect();
        let mut rules = Vec::new();
        for (at, entry) in members.iter().enumerate().skip(1) {
            rules.push(rows.len());
            rows.push(vec![Cell::Heading { text: entry.name().to_owned() }, text("")]);
            let differs = |key: &&&String| maps[at].get(**key) != maps[0].get(**key);
            rows.extend(keys.iter().filter(differs).map(|key| vec![code(&***key), shown(at, key)]));
        }
        let mut table = table(false, &[Left, Right], vec![text("Key"), code(members[0].name())], rows);
        table.rules = rules;
        return table;
    }
    let row = |key: &&String| {
        let first = maps[0].get(*key);
        let cell = |at: usize| if at > 0 && maps[at].get(*key) == first { text("·") } else { shown(at, key) };
        std::iter::once(code((*key).clone())).chain((0..members.len()).map(cell)).collect()
    };
    let rows = keys.iter().map(row).collect();
    let header = std::iter::once(text("Key")).chain(members.iter().map(|e| code(e.name()))).collect();
    let columns: Vec<Align> = std::iter::once(Left).chain(members.iter().map(|_| Right)).collect();
    table(false, &columns, header, rows)
}

/// What the tasks are.
fn tasks(base: &Entry) -> Table {
    let row = |task: &&TaskResult| {
        let of_task = |t: &&harness_record::format::Task| t.id == task.id || t.group.as_ref() == Some(&task.id);
        let kind = base.latest.run.open.tasks.iter().find(of_task).map_or("", |t| kind_in_words(t.kind));
        let key = |name: &str| format!("tasks.{}.{name}", task.id);
        vec![
            text(title_of_task(task)),
            text(kind),
            value(base.name(), &key("items"), false, false),
            text(metric_in_words(task.metric)),
            value(base.name(), &key("chance"), false, false),
        ]
    };
    let rows = headline_tasks(base.latest).iter().map(row).collect();
    let header = ["Task", "Kind", "Items", "Metric", "Chance"].map(text).to_vec();
    table(false, &[Left, Left, Right, Left, Right], header, rows)
}

fn kind_in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::MinimalPairs => "pairs",
        Kind::MultipleChoice => "choice",
        Kind::TwoContexts => "contexts",
        Kind::LastWord => "last word",
        Kind::Documents => "documents",
    }
}

fn metric_in_words(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "acc.",
        Metric::AccuracyPerCharacter => "acc. norm.",
        Metric::AccuracyPerToken => "acc. per token",
        Metric::AccuracyMutualInformation => "acc. by mutual information",
        Metric::BitsPerByte => "bits per byte",
        Metric::WordPerplexity => "ppl. per word",
        Metric::GreedyAccuracy => "acc., ppl.",
    }
}

/// A measure of the results table.
struct Measure {
    key: String,
    title: String,
}

fn metrics(members: &[&Entry]) -> Vec<Measure> {
    let mut metrics =
        vec![Measure { key: "validation.bits_per_byte".to_owned(), title: "Bits per byte ↓".to_owned() }];
    for task in headline_tasks(members[0].latest) {
        let title = title_of_task(task);
        metrics.push(Measure { key: accuracy_key(task), title: format!("{title} ↑") });
        if task.perplexity.is_some() {
            let key = format!("tasks.{}.perplexity", task.id);
            metrics.push(Measure { key, title: format!("{title}, ppl. ↓") });
        }
    }
    // How probable right answers are is shown where a claim rests on it.
    for key in members.iter().flat_map(|entry| claimed(entry)) {
        let Some((id, score)) = Likelihood::of_key(key) else { continue };
        let latest = members[0].latest;
        let task = latest.groups.iter().chain(&latest.tasks).find(|task| task.id == id);
        if let (Some(task), true) = (task, metrics.iter().all(|metric| metric.key != *key)) {
            let what = match score {
                Likelihood::GoldBitsPerByte => "right answers, bits per byte ↓",
                Likelihood::GoldProbability => "probability of right answers ↑",
            };
            metrics.push(Measure { key: key.clone(), title: format!("{}, {what}", title_in_group(task)) });
        }
    }
    metrics
}

/// Keys of the metrics that the claim of an experiment rests on.
fn claimed<'a>(entry: &&'a Entry) -> impl Iterator<Item = &'a String> {
    let config = &entry.latest.run.experiment;
    config.primary_metrics.iter().chain(config.expect.iter().map(|expect| &expect.metric))
}

/// Bold is what the tests call better than the experiment that it changes.
fn results(members: &[&Entry], is_better: &dyn Fn(&Entry, &str) -> bool) -> Table {
    let metrics = metrics(members);
    let cell = |entry: &Entry, metric: &Measure| match entry.values.get(&metric.key) {
        None => text("–"),
        Some(v) => value(entry.name(), &metric.key, v.standard_error.is_some(), is_better(entry, &metric.key)),
    };
    if members.len() <= NARROW {
        let row = |metric: &Measure| {
            let cells = members.iter().map(|entry| cell(entry, metric));
            std::iter::once(text(metric.title.clone())).chain(cells).collect()
        };
        let header = std::iter::once(text("Metric")).chain(members.iter().map(|e| code(e.name()))).collect();
        let columns: Vec<Align> = std::iter::once(Left).chain(members.iter().map(|_| Right)).collect();
        let mut table = table(false, &columns, header, metrics.iter().map(row).collect());
        table.rules = vec![1];
        return table;
    }
    let row = |entry: &&Entry| {
        let cells = metrics.iter().map(|metric| cell(entry, metric));
        std::iter::once(code(entry.name())).chain(cells).collect()
    };
    let header = std::iter::once(text("Experiment")).chain(metrics.iter().map(|m| text(m.title.clone()))).collect();
    let columns: Vec<Align> = std::iter::once(Left).chain(metrics.iter().map(|_| Right)).collect();
    table(true, &columns, header, members.iter().map(row).collect())
}

/// Every task, members of groups included: of two experiments, and of more the baseline alone.
fn all_tasks(members: &[&Entry], is_better: &dyn Fn(&Entry, &str) -> bool) -> Table {
    let members = if members.len() < NARROW { members } else { &members[..1] };
    let row = |task: &TaskResult| {
        let key = accuracy_key(task);
        let cell = |entry: &&Entry| match entry.values.get(&key) {
            None => text("–"),
            Some(_) => value(entry.name(), &key, true, is_better(entry, &key)),
        };
        let chance = value(members[0].name(), &format!("tasks.{}.chance", task.id), false, false);
        [text(title_in_group(task)), chance].into_iter().chain(members.iter().map(cell)).collect()
    };
    let rows = members[0].latest.tasks.iter().map(row).collect();
    let header = [text("Task"), text("Chance")].into_iter().chain(members.iter().map(|e| code(e.name()))).collect();
    let columns: Vec<Align> = [Left, Right].into_iter().chain(members.iter().map(|_| Right)).collect();
    table(false, &columns, header, rows)
}

fn resources(members: &[&Entry]) -> Table {
    const ROWS: [(&str, &str); 8] = [
        ("model.parameters", "Parameters"),
        ("model.parameters_without_embeddings", "  without embeddings"),
        ("training.steps", "Optimizer steps"),
        ("training.tokens", "Training tokens"),
        ("training.flops", "Training FLOPs"),
        ("resources.tokens_per_s", "Tokens per second"),
        ("resources.wall_time_s", "Wall time (s)"),
        ("resources.peak_memory_bytes", "Peak memory (MiB)"),
    ];
    let cell = |entry: &Entry, key: &str| {
        if entry.values.contains_key(key) { value(entry.name(), key, false, false) } else { text("–") }
    };
    if members.len() <= NARROW {
        let row = |(key, title): (&str, &str)| {
            let cells = members.iter().map(|entry| cell(entry, key));
            std::iter::once(text(title)).chain(cells).collect()
        };
        let header = std::iter::once(text("")).chain(members.iter().map(|e| code(e.name()))).collect();
        let columns: Vec<Align> = std::iter::once(Left).chain(members.iter().map(|_| Right)).collect();
        return table(false, &columns, header, ROWS.into_iter().map(row).collect());
    }
    let kept = [ROWS[0], ROWS[3], ROWS[4], ROWS[5], ROWS[6]];
    let row = |entry: &&Entry| {
        std::iter::once(code(entry.name())).chain(kept.iter().map(|(key, _)| cell(entry, key))).collect()
    };
    let header = std::iter::once(text("Experiment")).chain(kept.iter().map(|(_, title)| text(*title))).collect();
    let columns: Vec<Align> = std::iter::once(Left).chain(kept.iter().map(|_| Right)).collect();
    table(true, &columns, header, members.iter().map(row).collect())
}

/// More runs than this are listed in one line each below their experiment, with the first digits of their digests.
const RUNS_IN_FULL: usize = 12;
/// Digits of a digest where it is cut.
const DIGITS: usize = 7;

/// Every run with its digests: where each number of the paper leads. Of runs that do not count the reader learns what became
/// of them.
fn runs(numbers: &Numbers, logbook: &Logbook) -> Table {
    let all = || numbers.families.entries.iter().flat_map(|entry| entry.listed());
    let is_listed = |name: &str| all().any(|analysis| analysis.run.open.run.as_str() == name);
    let others = logbook.ledger.entries.iter().filter(|entry| !entry.is_probe && !is_listed(&entry.name));
    let short = all().count() + others.clone().count() > RUNS_IN_FULL;
    let digest = |text: String| Cell::Digest { text: if short { text.chars().take(DIGITS).collect() } else { text } };
    // By experiment: a run with what is said below it where there is room, and what stands beside it.
    type Listed = (String, Vec<String>, [Cell; 3]);
    let mut rows: BTreeMap<&str, Vec<Listed>> = BTreeMap::new();
    for analysis in all() {
        let open = &analysis.run.open;
        let seed = format!("seed {}", open.plan.seed);
        let own = open.resumed_from.iter().filter(|from| from.experiment.is_none());
        let goes_on = own.map(|from| format!("goes on from step {}", from.step));
        let beside = match (&open.evaluates, numbers.opening(&open.run)) {
            (None, _) if short => goes_on.collect(),
            (None, _) => [seed, analysis.run.record.status.word().to_owned()].into_iter().chain(goes_on).collect(),
            (Some(_), None) => vec![seed, "samples of text".to_owned()],
            (Some(_), Some(count)) => vec![seed, format!("opening {count} of the test side")],
        };
        let digests = [open.code.commit.clone(), open.data.root.to_string(), analysis.run.root.to_string()];
        rows.entry(open.experiment.as_str()).or_default().push((open.run.to_string(), beside, digests.map(digest)));
    }
    for entry in others {
        let fate = match (entry.is_deleted, entry.is_dropped) {
            (true, _) => "deleted",
            (_, true) => "dropped",
            _ => entry.state.word(),
        };
        let (below, beside) = if short { (vec![], fate) } else { (vec![fate.to_owned()], "") };
        // The commits are withheld from a review copy.
        let cells = [text(""), text(beside), text("")];
        rows.entry(entry.experiment.as_str()).or_default().push((entry.name.clone(), below, cells));
    }
    let mut table =
        table(!short, &[Left; 4], ["Run", "Commit", "Data root", "Run root"].map(text).to_vec(), Vec::new());
    for (experiment, mut runs) in rows {
        runs.sort_by(|a, b| a.0.cmp(&b.0));
        if short {
            table.rules.extend((!table.rows.is_empty()).then_some(table.rows.len()));
            let name = Cell::Heading { text: experiment.to_owned() };
            table.rows.push(std::iter::once(name).chain([text(""), text(""), text("")]).collect());
        }
        for (run, beside, cells) in runs {
            let name = (!short).then(|| code(experiment));
            let lines = name.into_iter().chain([text(&*run)]).chain(beside.into_iter().map(text)).collect();
            table.rows.push(std::iter::once(Cell::Run { run, lines }).chain(cells).collect());
        }
    }
    table
}
