//! What the two sides have in common: the losses of the same documents, the tasks that were asked alike.

use std::f64::consts::LN_2;

use harness_core::scores::{ChoiceScore, read_csv};
use harness_core::task_kind::Kind;

use super::{CompareError, Note, Side};
use crate::RunAnalysis;
use crate::rows::{by_document, last_scores, planned_alike, windows};
use harness_record::format::Task;

/// Bits of each document for each run of both sides, and the documents' bytes.
pub(super) struct Losses {
    /// Reference, then other.
    pub bits: [Vec<Vec<f64>>; 2],
    pub bytes: Vec<f64>,
}

/// Losses of the validation text by document. A note if the sides were not validated on the same text, or not all of their
/// runs were.
pub(super) fn losses(reference: &Side, other: &Side) -> Result<Result<Losses, Note>, CompareError> {
    let documents = &reference.runs[0].run.corpus.validation_documents;
    let sides = [reference, other];
    let mut paths = Vec::new();
    for run in sides.iter().flat_map(|side| &side.runs) {
        match last_scores(run, "validation") {
            Some(path) => paths.push((run, path)),
            None => return Ok(Err(Note::NotValidated { run: run.run.open.run.clone() })),
        }
    }
    if !paths.iter().all(|(run, _)| run.run.corpus.has_validation_text_of(&reference.runs[0].run.corpus)) {
        return Ok(Err(Note::ValidationTextsDiffer));
    }
    let side = |side: &Side| -> Result<Vec<Vec<f64>>, CompareError> {
        let bits = |run: &&RunAnalysis| {
            let path = last_scores(run, "validation").expect("every run was validated");
            let rows = windows(&run.run, path)?;
            Ok(by_document(&rows, documents.len(), |row| row.loss_nats / LN_2))
        };
        side.by_seed().iter().map(bits).collect()
    };
    let bytes = documents.iter().map(|document| document.bytes as f64).collect();
    Ok(Ok(Losses { bits: [side(reference)?, side(other)?], bytes }))
}

/// Losses of each document of a task, in the last evaluation that has it.
pub(super) fn document_losses(reference: &Side, other: &Side, task: &Task) -> Result<Losses, CompareError> {
    let mut bits: [Vec<Vec<f64>>; 2] = [Vec::new(), Vec::new()];
    let mut bytes = Vec::new();
    for (side, bits) in [reference, other].iter().zip(&mut bits) {
        for run in side.by_seed() {
            let path = last_scores(run, &task.id).expect("a shared task was scored in every run");
            let rows: Vec<ChoiceScore> = read_csv(&run.run.path(path))?;
            bits.push(rows.iter().map(|row| -row.nats() / LN_2).collect());
            bytes = rows.iter().map(|row| row.bytes as f64).collect();
        }
    }
    Ok(Losses { bits, bytes })
}

/// The tasks that both sides scored alike in every run: same rules, same data, same number of items.
pub(super) fn shared_tasks<'a>(reference: &'a Side, other: &Side, notes: &mut Vec<Note>) -> Vec<&'a Task> {
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
    let mut left: Vec<String> = left.iter().map(|t| t.id.clone()).collect();
    let only_there = runs.flat_map(|run| &run.run.open.tasks).filter(|t| tasks.iter().all(|own| own.id != t.id));
    left.extend(only_there.map(|t| t.id.clone()));
    left.sort_unstable();
    left.dedup();
    if !left.is_empty() {
        notes.push(Note::TasksNotShared { tasks: left });
    }
    shared
}
