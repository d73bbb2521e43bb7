//! Which numbers a damaged file reaches, known without reading the file: an auditor has to say it of a run whose
//! rows can no longer be trusted. A test holds it against the files that each value really came from.

use harness_core::samples::GENERATED;
use harness_record::format::{Open, file};

/// Keys of the values computed from a file of the run folder. A `*` stands for the rest of a key.
pub fn numbers_from(path: &str, open: Option<&Open>) -> Vec<String> {
    let some = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    if let Some(name) = path.strip_prefix("evaluations/").and_then(|rest| rest.split('/').nth(1)) {
        return match name.trim_end_matches(".csv") {
            "validation" => some(&[&VALIDATION[..], &TOKENS].concat()),
            "validation.tokens" => some(&TOKENS),
            GENERATED => Vec::new(),
            task => task_numbers(task, open),
        };
    }
    match path {
        file::STEPS => some(&["training.*", "resources.tokens_per_s"]),
        file::CONFIG => some(&["config.*", "model.*", "training.flops", "training.clipped_share"]),
        file::CORPUS_MANIFEST => some(&["data.*", "validation.source.*"]),
        file::OPEN => {
            let mut keys = some(&["data.*", "model.*", "training.epochs", "training.flops", "resources.*"]);
            keys.extend(all_measured_results(open));
            keys
        }
        file::RECORD => {
            let mut keys = some(&["resources.*"]);
            keys.extend(all_measured_results(open));
            keys
        }
        file::MANIFEST => some(&["*"]),
        _ => Vec::new(),
    }
}

const VALIDATION: [&str; 6] = [
    "validation.bits_per_byte",
    "validation.best_bits_per_byte",
    "validation.byte_perplexity",
    "validation.initial_bits_per_byte",
    "validation.loss",
    "validation.perplexity",
];

/// What is computed from the losses of single tokens.
const TOKENS: [&str; 6] = [
    "validation.calibration_error",
    "validation.calibration_error_equal_mass",
    "validation.first_choice_*",
    "validation.length.*",
    "validation.position.*",
    "validation.source.*",
];

/// What is computed from the rows of a task.
const TASK: [&str; 14] = [
    "accuracy",
    "accuracy_if_guessed",
    "accuracy_mutual_information",
    "accuracy_normalized",
    "accuracy_per_token",
    "bits_per_byte",
    "byte_perplexity",
    "gold_bits_per_byte",
    "gold_probability",
    "items",
    "loss",
    "perplexity",
    "unanswered",
    "word_perplexity",
];

fn task_numbers(task: &str, open: Option<&Open>) -> Vec<String> {
    let group = open.and_then(|o| o.tasks.iter().find(|t| t.id == task)).and_then(|t| t.group.as_ref());
    let ids = std::iter::once(task).chain(group.map(String::as_str));
    let measured = ids.flat_map(|id| TASK.map(|metric| format!("tasks.{id}.{metric}")));
    let sliced = group.into_iter().flat_map(|group| ["phenomenon", "field"].map(|by| format!("tasks.{group}.{by}.*")));
    measured.chain(sliced).collect()
}

fn all_measured_results(open: Option<&Open>) -> Vec<String> {
    let mut keys: Vec<String> = VALIDATION.iter().chain(&TOKENS).map(|key| (*key).to_owned()).collect();
    keys.push("tasks.*".to_owned());
    if open.is_some_and(|o| o.tasks.is_empty()) {
        keys.pop();
    }
    keys
}

/// Keys of everything that was measured with the model: what a changed shard or tokenizer reaches.
pub fn all_measured(open: &Open) -> Vec<String> {
    let mut keys = vec!["training.*".to_owned(), "data.*".to_owned()];
    keys.extend(all_measured_results(Some(open)));
    keys
}

/// Whether a key is among the dependents, `*` standing for any text.
pub fn is_among(key: &str, dependents: &[String]) -> bool {
    dependents.iter().any(|pattern| match pattern.split_once('*') {
        None => pattern == key,
        Some((before, after)) => {
            key.len() >= before.len() + after.len() && key.starts_with(before) && key.ends_with(after)
        }
    })
}
