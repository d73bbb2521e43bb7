//! The rows of a run's last evaluation as numbers for each document, window or item.

use harness_core::scores::{ChoiceScore, WindowLoss, read_csv};
use harness_core::task_kind::Kind;

use super::{CompareError, Side};
use crate::choices::right_choices;
use crate::slices::FEWEST_DOCUMENTS;
use crate::{AnalyseError, RunAnalysis, TaskResult, bytes_of_window, choice_score};
use harness_record::format::Task;

/// The unit that losses are resampled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextUnit {
    Document,
    Window,
}

/// Losses of each unit of the validation text, for each run of both sides, and the bytes of each unit.
pub(super) struct Losses {
    pub unit: TextUnit,
    /// Reference, then other: for each run the nats of each unit.
    pub nats: [Vec<Vec<f64>>; 2],
    pub bytes: Vec<f64>,
}

/// Losses by document, or by window where there are few documents. `None` if the sides were not validated on the same
/// text.
pub(super) fn losses(reference: &Side, other: &Side) -> Result<Option<Losses>, CompareError> {
    let documents = &reference.runs[0].run.corpus.validation_documents;
    let same_text = |run: &RunAnalysis| {
        let theirs = run.run.corpus.validation_documents.iter().map(|d| d.sha256);
        theirs.eq(documents.iter().map(|d| d.sha256))
    };
    let sides = [reference, other];
    if !sides.iter().all(|side| side.runs.iter().all(same_text)) {
        return Ok(None);
    }
    let mut rows: [Vec<Vec<WindowLoss>>; 2] = [Vec::new(), Vec::new()];
    for (side, rows) in sides.iter().zip(&mut rows) {
        for run in &side.runs {
            let Some(found) = windows(run)? else { return Ok(None) };
            rows.push(found);
        }
    }
    let place = |row: &WindowLoss| (row.document, row.first_token, row.tokens);
    let first = &rows[0][0];
    let aligned = rows.iter().flatten().all(|run| run.iter().map(place).eq(first.iter().map(place)));
    if documents.len() < FEWEST_DOCUMENTS && aligned && first.len() > documents.len() {
        let bytes = first.iter().map(|row| bytes_of_window(&reference.runs[0].run.corpus, row)).collect();
        let nats = rows.map(|runs| runs.iter().map(|run| run.iter().map(|row| row.loss_nats).collect()).collect());
        return Ok(Some(Losses { unit: TextUnit::Window, nats, bytes }));
    }
    let by_document = |run: &Vec<WindowLoss>| {
        let mut nats = vec![0.0; documents.len()];
        run.iter().for_each(|row| nats[row.document as usize] += row.loss_nats);
        nats
    };
    let nats = rows.map(|runs| runs.iter().map(by_document).collect());
    let bytes = documents.iter().map(|document| document.bytes as f64).collect();
    Ok(Some(Losses { unit: TextUnit::Document, nats, bytes }))
}

/// Losses of each document of a task, in the last evaluation that has it.
pub(super) fn document_losses(reference: &Side, other: &Side, task: &Task) -> Result<Losses, CompareError> {
    let mut nats: [Vec<Vec<f64>>; 2] = [Vec::new(), Vec::new()];
    let mut bytes = Vec::new();
    for (side, nats) in [reference, other].iter().zip(&mut nats) {
        for run in &side.runs {
            let path = last_scores(run, &task.id).expect("a shared task was scored in every run");
            let rows: Vec<ChoiceScore> = read_csv(&run.run.path(path))?;
            nats.push(rows.iter().map(|row| -row.nats()).collect());
            bytes = rows.iter().map(|row| row.bytes as f64).collect();
        }
    }
    Ok(Losses { unit: TextUnit::Document, nats, bytes })
}

/// The scores of a task, or of `validation`, in the last evaluation that has them.
fn last_scores<'a>(run: &'a RunAnalysis, of: &str) -> Option<&'a str> {
    let name = format!("/{of}.csv");
    let files = run.run.record.evaluations.iter().rev().flat_map(|evaluation| &evaluation.files);
    files.map(|file| file.path.as_str()).find(|path| path.ends_with(&name))
}

/// The windows of the last validation; `None` if there was none.
fn windows(run: &RunAnalysis) -> Result<Option<Vec<WindowLoss>>, CompareError> {
    let Some(file) = last_scores(run, "validation") else { return Ok(None) };
    let rows: Vec<WindowLoss> = read_csv(&run.run.path(file))?;
    let documents = run.run.corpus.validation_documents.len() as u64;
    if let Some(row) = rows.iter().find(|row| row.document >= documents) {
        let problem = format!("`{file}` names document {}, but its corpus has {documents}", row.document);
        return Err(AnalyseError::Inconsistent { run: run.run.open.run.to_string(), problem }.into());
    }
    Ok(Some(rows))
}

/// The items of a task in one run.
pub(super) struct Items {
    /// Index of each item in its task.
    pub index: Vec<u64>,
    /// Whether it was answered right, by the quoted metric.
    pub right: Vec<bool>,
    /// By how many nats the right answer leads the best wrong one, under the score of the quoted metric; for last words
    /// their log-probability.
    pub margin_nats: Vec<f64>,
}

pub(super) fn items(run: &RunAnalysis, task: &Task, result: &TaskResult) -> Result<Items, CompareError> {
    let rows: Vec<ChoiceScore> = read_csv(&run.run.path(&result.file))?;
    let by_item: Vec<&[ChoiceScore]> = rows.chunk_by(|a, b| a.item == b.item).collect();
    let index = by_item.iter().map(|choices| choices[0].item).collect();
    if task.kind == Kind::LastWord {
        let right = rows.iter().map(|row| row.greedy).collect();
        return Ok(Items { index, right, margin_nats: rows.iter().map(|row| row.nats()).collect() });
    }
    let score = |row: &ChoiceScore| choice_score(task.metric, row);
    let best = |choices: &[ChoiceScore], gold: bool| {
        choices.iter().filter(|c| c.gold == gold).map(score).fold(f64::NEG_INFINITY, f64::max)
    };
    let margin_nats = by_item.iter().map(|choices| best(choices, true) - best(choices, false)).collect();
    Ok(Items { index, right: right_choices(&rows, score), margin_nats })
}

/// Whether each item of a task was answered right, by the quoted metric.
pub fn quoted_items(run: &RunAnalysis, task: &Task, result: &TaskResult) -> Result<Vec<bool>, CompareError> {
    Ok(items(run, task, result)?.right)
}

/// Whether two runs were asked the same of a task: same rules, same data, same number of items. Under one tokenizer the
/// same items in the same form are also the same requests, whatever version they claim.
pub fn planned_alike(one: &RunAnalysis, other: &RunAnalysis, task: &str) -> bool {
    let (one, other) = (&one.run.open, &other.run.open);
    let [a, b] = [one, other].map(|open| open.tasks.iter().find(|planned| planned.id == task));
    let (Some(a), Some(b)) = (a, b) else { return false };
    let same_rules = a.version == b.version && a.kind == b.kind && a.metric == b.metric && a.group == b.group;
    let other_tokens = one.data.tokenizer_sha256 != other.data.tokenizer_sha256;
    let same_form = a.requests_sha256 == b.requests_sha256 || other_tokens;
    same_rules && same_form && a.data_sha256 == b.data_sha256 && a.items == b.items
}

/// The tasks that both sides scored alike in every run: same rules, same data, same number of items.
pub(super) fn shared_tasks<'a>(reference: &'a Side, other: &Side, notes: &mut Vec<String>) -> Vec<&'a Task> {
    let scored = |run: &RunAnalysis, task: &Task| {
        let has_scores = match task.kind {
            Kind::Documents => run.document_curves.contains_key(&task.id),
            _ => run.tasks.iter().any(|t| t.id == task.id),
        };
        has_scores && planned_alike(&reference.runs[0], run, &task.id)
    };
    let tasks = &reference.runs[0].run.open.tasks;
    let runs = reference.runs.iter().chain(&other.runs);
    let (shared, left): (Vec<&Task>, Vec<&Task>) =
        tasks.iter().partition(|task| runs.clone().all(|run| scored(run, task)));
    let mut left: Vec<&str> = left.iter().map(|t| t.id.as_str()).collect();
    let only_there = runs.flat_map(|run| &run.run.open.tasks).filter(|t| tasks.iter().all(|own| own.id != t.id));
    left.extend(only_there.map(|t| t.id.as_str()));
    left.sort_unstable();
    left.dedup();
    if !left.is_empty() {
        notes.push(format!("not compared, because not scored alike in every run: {}", left.join(", ")));
    }
    shared
}
