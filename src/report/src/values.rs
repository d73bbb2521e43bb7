//! `values.json`: every number the paper can ask for, with the text that shows it, and the texts of the records
//! (hypotheses, machine) as data, so that nothing a record holds can become markup.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::differences::Differences;
use super::study::{Entry, Study};
use crate::plot::headline_tasks;
use harness_analyse::compare::Verdict;
use harness_analyse::{self as analyse, RunAnalysis, TaskResult, Unit, Value};

/// Version of `values.json` and of the other data files of a paper.
pub const VERSION: u32 = 1;

/// The unit as it is written after a number; differences of shares are in points.
fn unit_text(unit: Unit) -> &'static str {
    match unit {
        Unit::BitsPerByte => "bits per byte",
        Unit::NatsPerToken => "nats per token",
        Unit::Share => "%",
        Unit::Seconds => "s",
        Unit::Bytes => "MiB",
        Unit::Flops => "FLOPs",
        Unit::Count | Unit::Perplexity | Unit::Number | Unit::Decimal => "",
    }
}

/// The key of the accuracy that is quoted for a task.
pub(super) fn accuracy_key(task: &TaskResult) -> String {
    analyse::accuracy_key(&task.id, task.metric)
}

/// Beyond this many standard errors an accuracy is told from guessing (95 %, normal approximation).
const DECIDED: f64 = 1.96;

/// Whether an accuracy cannot be told from guessing.
pub(super) fn at_chance(task: &TaskResult) -> bool {
    let share = task.quoted_accuracy();
    (share.mean - task.chance).abs() <= DECIDED * share.standard_error
}

/// Counts by name: of the whole paper (`runs`) and of an experiment (`tasks@baseline`).
pub(super) fn counts(study: &Study, differences: &Differences) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut add = |name: String, count: usize| counts.insert(name, count as u64);
    add("experiments".into(), study.entries.len());
    add("runs".into(), study.entries.iter().map(|e| e.runs.len()).sum());
    let mut corpora: Vec<_> = study.entries.iter().map(|e| e.quoted.run.open.data.root).collect();
    corpora.sort_unstable();
    corpora.dedup();
    add("corpora".into(), corpora.len());
    for entry in &study.entries {
        let at = |what: &str| format!("{what}@{}", entry.name());
        let headline = headline_tasks(entry.quoted);
        add(at("runs"), entry.runs.len());
        add(at("seeds"), entry.seeds());
        add(at("tasks"), headline.len());
        add(at("all-tasks"), entry.quoted.tasks.len());
        add(at("sources"), entry.quoted.run.corpus.sources.len());
        add(at("tasks-at-chance"), headline.iter().filter(|t| at_chance(t)).count());
        add(
            at("tasks-above-chance"),
            headline.iter().filter(|t| !at_chance(t) && t.quoted_accuracy().mean > t.chance).count(),
        );
        add(at("family"), study.family_of(entry.name()).len());
        add(at("changes"), study.family_of(entry.name()).len() - 1);
        if entry.reference.is_some() {
            let verdict = |task: &&TaskResult| differences.verdict(study, entry, &accuracy_key(task));
            let verdicts: Vec<Option<Verdict>> = headline.iter().map(verdict).collect();
            let of = |wanted: Verdict| verdicts.iter().filter(|found| **found == Some(wanted)).count();
            let (better, worse) = (of(Verdict::Better), of(Verdict::Worse));
            add(at("tasks-better"), better);
            add(at("tasks-worse"), worse);
            add(at("tasks-undecided"), verdicts.len() - better - worse);
        }
    }
    counts
}

/// Facts of a run that are not numbers, by name.
pub(super) fn facts(analysis: &RunAnalysis) -> BTreeMap<&'static str, String> {
    let (open, record) = (&analysis.run.open, &analysis.run.record);
    let mut facts = BTreeMap::from([
        ("corpus", open.data.corpus.clone()),
        ("commit", open.code.commit.clone()),
        ("cpu", open.host.cpu.clone()),
        ("os", open.host.os.clone()),
        ("order", open.plan.order.clone()),
        ("harness-version", open.binaries.harness_version.clone()),
        ("rustc", open.binaries.rustc.clone()),
        ("date", open.opened_at.chars().take(10).collect()),
    ]);
    let corpus = &analysis.run.corpus;
    for (name, text) in [
        ("corpus-title", &corpus.title),
        ("corpus-description", &corpus.description),
        ("corpus-language", &corpus.language),
        ("corpus-licence", &corpus.licence),
        ("corpus-citation", &corpus.citation),
        ("corpus-limitations", &corpus.limitations),
        ("split-rule", &corpus.split_rule),
    ] {
        // What a recipe leaves empty is no fact. The full stop is the sentence's in which it is shown.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = text.trim_end_matches('.');
        if !text.is_empty() {
            facts.insert(name, text.to_owned());
        }
    }
    if let Some(started) = &record.started {
        let gpu = started.about.gpus.first().filter(|_| started.device.starts_with("cuda"));
        facts.insert("device", gpu.map_or_else(|| open.host.cpu.clone(), |gpu| gpu.name.clone()));
        facts.insert("device-kind", if gpu.is_some() { "GPU".into() } else { "CPU".into() });
        facts.insert("libtorch", started.about.libtorch.clone());
        facts.insert("dtype", started.determinism.compute_dtype.clone());
        facts.insert("threads", started.determinism.intra_op_threads.to_string());
    }
    facts
}

/// The run as the paper names it.
fn identity(analysis: &RunAnalysis) -> Json {
    let (open, record) = (&analysis.run.open, &analysis.run.record);
    json!({
        "experiment": open.experiment,
        "run": open.run,
        "root": analysis.run.root,
        "commit": open.code.commit,
        "data_root": open.data.root,
        "plan": open.plan.plan_sha256,
        "seed": open.plan.seed,
        "opened_at": open.opened_at,
        "ended_at": record.ended_at,
        "status": record.status,
        "not_citable_because": open.not_citable_because,
    })
}

/// One value as data.
fn value(value: &Value) -> Json {
    json!({
        "shown": value.shown(),
        "number": value.number,
        "unit": value.unit,
        "unit_text": unit_text(value.unit),
        "shown_error": value.shown_standard_error(),
        "standard_error": value.standard_error,
        "files": value.files,
    })
}

/// `values.json`
pub(super) fn document(study: &Study, prose: &Json, differences: &Differences, counts: &BTreeMap<String, u64>) -> Json {
    let mut experiments = serde_json::Map::new();
    for entry in &study.entries {
        let mut described = identity(entry.quoted);
        let values: BTreeMap<&String, Json> = entry.quoted.values.iter().map(|(k, v)| (k, value(v))).collect();
        described["title"] = json!(title_of(entry));
        described["reference"] = json!(study.reference(entry).map(Entry::name));
        described["facts"] = json!(facts(entry.quoted));
        described["prose"] = prose[entry.name()].clone();
        described["values"] = json!(values);
        experiments.insert(entry.name().to_owned(), described);
    }
    let by_pair: BTreeMap<String, Json> =
        differences.pairs().map(|((first, second), by_key)| (format!("{first} {second}"), json!(by_key))).collect();
    let runs: Vec<Json> = study.entries.iter().flat_map(|e| &e.runs).map(|a| identity(a)).collect();
    json!({
        "format": VERSION,
        "experiments": experiments,
        "differences": by_pair,
        "counts": counts,
        "runs": runs,
    })
}

/// The title of an experiment, or its name.
pub(super) fn title_of(entry: &Entry) -> String {
    let title = entry.quoted.run.experiment.title.trim();
    if title.is_empty() { entry.name().to_owned() } else { title.to_owned() }
}
