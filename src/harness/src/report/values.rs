//! `values.json`: every number the paper can ask for, with the text that shows it, and the texts of the records
//! (hypotheses, machine) as data, so that nothing a record holds can become markup.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::study::{Entry, Study};
use crate::analyse::{RunAnalysis, Unit, Value, accuracy_name, show};
use crate::plot::headline_tasks;

/// Version of `values.json` and of the other data files of a paper.
pub const VERSION: u32 = 1;

/// The text that shows a difference: signed, under the rounding rule of its unit. What rounds to zero has no sign.
pub fn shown_difference(difference: f64, unit: Unit) -> String {
    let text = show(difference.abs(), unit);
    let zero = text.bytes().all(|b| !b.is_ascii_digit() || b == b'0');
    match difference {
        d if zero || d == 0.0 => text,
        d if d < 0.0 => format!("-{text}"),
        _ => format!("+{text}"),
    }
}

/// A difference between two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The exact difference.
    pub number: f64,
    /// The text that shows it.
    pub shown: String,
    /// Standard error of the difference where both numbers have one, taking them as independent (which overstates
    /// it where both runs answered the same items).
    pub standard_error: Option<f64>,
    /// The text that shows it.
    pub shown_error: Option<String>,
    /// The unit of both numbers.
    pub unit: Unit,
}

/// The difference `a - b` of two values of one key.
pub fn difference(a: &Value, b: &Value) -> Difference {
    let number = a.number - b.number;
    let standard_error = match (a.standard_error, b.standard_error) {
        (Some(a), Some(b)) => Some(libm::hypot(a, b)),
        _ => None,
    };
    Difference {
        number,
        shown: shown_difference(number, a.unit),
        standard_error,
        shown_error: standard_error.map(|e| show(e, a.unit)),
        unit: a.unit,
    }
}

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

/// How the difference of two tasks' accuracies stands to its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Above,
    Below,
    Undecided,
}

/// Beyond this many standard errors a difference is called one (95 %, normal approximation).
pub(super) const DECIDED: f64 = 1.96;

pub(super) fn verdict(difference: &Difference) -> Verdict {
    match difference.standard_error {
        Some(error) if difference.number > DECIDED * error => Verdict::Above,
        Some(error) if difference.number < -DECIDED * error => Verdict::Below,
        _ => Verdict::Undecided,
    }
}

/// The key of the accuracy that is quoted for a task.
pub(super) fn accuracy_key(task: &crate::analyse::TaskResult) -> String {
    format!("tasks.{}.{}", task.id, accuracy_name(task.metric))
}

/// Differences of the headline accuracies from the reference, in order.
pub(super) fn task_differences(entry: &Entry, reference: &Entry) -> Vec<(String, Difference)> {
    let pair = |task: &&crate::analyse::TaskResult| {
        let key = accuracy_key(task);
        let (a, b) = (entry.quoted.values.get(&key)?, reference.quoted.values.get(&key)?);
        Some((task.id.clone(), difference(a, b)))
    };
    headline_tasks(entry.quoted).iter().filter_map(pair).collect()
}

/// Whether an accuracy cannot be told from guessing.
pub(super) fn at_chance(task: &crate::analyse::TaskResult) -> bool {
    let share = task.quoted_accuracy();
    (share.mean - task.chance).abs() <= DECIDED * share.standard_error
}

/// Counts by name: of the whole paper (`runs`) and of an experiment (`tasks@baseline`).
pub(super) fn counts(study: &Study) -> BTreeMap<String, u64> {
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
        if let Some(reference) = study.reference(entry) {
            let verdicts: Vec<Verdict> = task_differences(entry, reference).iter().map(|(_, d)| verdict(d)).collect();
            let of = |wanted: Verdict| verdicts.iter().filter(|v| **v == wanted).count();
            add(at("tasks-better"), of(Verdict::Above));
            add(at("tasks-worse"), of(Verdict::Below));
            add(at("tasks-undecided"), of(Verdict::Undecided));
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

/// `values.json`. `pairs` are the differences asked for beyond those from each experiment to its reference.
pub(super) fn document(study: &Study, prose: &Json, pairs: &[(String, String)]) -> Json {
    let mut experiments = serde_json::Map::new();
    let mut differences = serde_json::Map::new();
    let mut wanted: Vec<(String, String)> = pairs.to_vec();
    for entry in &study.entries {
        let mut described = identity(entry.quoted);
        let values: BTreeMap<&String, Json> = entry.quoted.values.iter().map(|(k, v)| (k, value(v))).collect();
        described["title"] = json!(title_of(entry));
        described["reference"] = json!(study.reference(entry).map(Entry::name));
        described["facts"] = json!(facts(entry.quoted));
        described["prose"] = prose[entry.name()].clone();
        described["values"] = json!(values);
        experiments.insert(entry.name().to_owned(), described);
        wanted.extend(study.reference(entry).map(|r| (entry.name().to_owned(), r.name().to_owned())));
    }
    wanted.sort();
    wanted.dedup();
    for (a, b) in wanted {
        let (Some(first), Some(second)) = (study.entry(&a), study.entry(&b)) else { continue };
        let mut rows = BTreeMap::new();
        for (key, value) in &first.quoted.values {
            if let Some(other) = second.quoted.values.get(key) {
                rows.insert(key.clone(), difference(value, other));
            }
        }
        differences.insert(format!("{a} {b}"), json!(rows));
    }
    let runs: Vec<Json> = study.entries.iter().flat_map(|e| &e.runs).map(|a| identity(a)).collect();
    json!({
        "format": VERSION,
        "experiments": experiments,
        "differences": differences,
        "counts": counts(study),
        "runs": runs,
    })
}

/// The title of an experiment, or its name.
pub(super) fn title_of(entry: &Entry) -> String {
    let title = entry.quoted.run.experiment.title.trim();
    if title.is_empty() { entry.name().to_owned() } else { title.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_signed_and_zero_is_not() {
        let cases = [
            (0.012_3, Unit::BitsPerByte, "+0.012"),
            (-0.012_3, Unit::BitsPerByte, "-0.012"),
            (-0.000_1, Unit::BitsPerByte, "0.000"),
            (0.031, Unit::Share, "+3.1"),
            (-1200.0, Unit::Count, "-1,200"),
            (0.0, Unit::Count, "0"),
        ];
        for (number, unit, expected) in cases {
            assert_eq!(shown_difference(number, unit), expected);
        }
    }
}
