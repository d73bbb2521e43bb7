//! `documents.jsonl` of a corpus: every document that was read, and what became of it.

use std::borrow::Cow;
use std::path::Path;

use harness_core::digest::Digest;
use serde::Serialize;

use crate::documents::LineWriter;
use crate::error::CorpusError;
use crate::recipe::Recipe;
use crate::select::{Candidate, Fate};
use crate::stages::{CleanStage, Removed};

/// One line of `documents.jsonl`: a document that was read, and what became of it.
#[derive(Serialize)]
struct LedgerLine<'a> {
    id: String,
    raw_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    /// `train`, `validation`, `duplicate`, `near_duplicate`, `contaminated` or `removed`.
    fate: &'static str,
    /// The step that removed it, the document it repeats, or the task it holds an item of.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<Cow<'a, str>>,
}

/// Writes what became of each document that was read.
pub(crate) fn write_ledger(
    path: &Path,
    recipe: &Recipe,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
    removed: &Removed,
) -> Result<(), CorpusError> {
    let id = |source: usize, index: u64| format!("{}#{index}", stages[source].name());
    let document = |of: &usize| Cow::from(id(candidates[*of].source, candidates[*of].index));
    let tasks = recipe.tasks().iter().flat_map(|task| task.subtasks.iter().map(|subtask| task.id(subtask)));
    let tasks: Vec<String> = tasks.collect();
    let mut lines = LineWriter::create(path.to_owned())?;
    let mut removed = removed.iter().peekable();
    let mut write_removed_before = |lines: &mut LineWriter, place: (usize, u64)| -> Result<(), CorpusError> {
        while let Some((source, document)) = removed.next_if(|(source, document)| (*source, document.index) < place) {
            lines.push(&LedgerLine {
                id: id(*source, document.index),
                raw_bytes: document.raw_bytes,
                bytes: None,
                sha256: None,
                fate: "removed",
                because: Some(document.step.as_str().into()),
            })?;
        }
        Ok(())
    };
    for (candidate, fate) in candidates.iter().zip(fates) {
        write_removed_before(&mut lines, (candidate.source, candidate.index))?;
        let (fate, because) = match fate {
            Fate::Train => ("train", None),
            Fate::Validation => ("validation", None),
            Fate::Duplicate(of) => ("duplicate", Some(document(of))),
            Fate::NearDuplicate(of) => ("near_duplicate", Some(document(of))),
            Fate::Contaminated(task) => ("contaminated", tasks.get(*task).map(|name| name.as_str().into())),
        };
        lines.push(&LedgerLine {
            id: id(candidate.source, candidate.index),
            raw_bytes: candidate.raw_bytes,
            bytes: Some(candidate.bytes),
            sha256: Some(candidate.sha256),
            fate,
            because,
        })?;
    }
    write_removed_before(&mut lines, (usize::MAX, u64::MAX))?;
    Ok(lines.finish()?)
}
