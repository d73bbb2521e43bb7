//! `documents.jsonl` of a corpus: every document that was read, and what became of it.

use std::borrow::Cow;
use std::path::Path;

use harness_core::digest::Digest;
use serde::Serialize;

use crate::candidate::{Candidate, Fate};
use crate::clean::CleanStage;
use crate::documents::{LineReader, LineWriter, RemovedDocument};
use crate::error::CorpusError;
use crate::recipe::Recipe;

/// One line of `documents.jsonl`: a document that was read, and what became of it.
#[derive(Serialize)]
struct LedgerLine<'a> {
    id: String,
    raw_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    /// `train`, `validation`, `test`, `duplicate`, `near_duplicate`, `contaminated`, `leaked` or `removed`.
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
) -> Result<(), CorpusError> {
    let id = |source: usize, index: u64| format!("{}#{index}", stages[source].name());
    let other = |of: u32| {
        let other = &candidates[of as usize];
        Cow::from(id(other.source as usize, u64::from(other.index)))
    };
    let tasks = recipe.tasks().iter().flat_map(|task| task.subtasks.iter().map(|subtask| task.id(subtask)));
    let tasks: Vec<String> = tasks.collect();
    let mut lines = LineWriter::create(path.to_owned())?;
    let mut left = candidates.iter().zip(fates).peekable();
    for (source, stage) in stages.iter().enumerate() {
        let mut removed = LineReader::open(&stage.removed())?;
        let mut next_removed = removed.next::<RemovedDocument>()?;
        loop {
            let kept = left.next_if(|(candidate, _)| {
                let before = |removed: &RemovedDocument| u64::from(candidate.index) < removed.index;
                candidate.source as usize == source && next_removed.as_ref().is_none_or(before)
            });
            if let Some((candidate, fate)) = kept {
                let (fate, because) = match fate {
                    Fate::Train => ("train", None),
                    Fate::Validation => ("validation", None),
                    Fate::Test => ("test", None),
                    Fate::Duplicate(of) => ("duplicate", Some(other(*of))),
                    Fate::NearDuplicate(of) => ("near_duplicate", Some(other(*of))),
                    Fate::Leaked(of) => ("leaked", Some(other(*of))),
                    Fate::Contaminated(task) => {
                        ("contaminated", tasks.get(*task as usize).map(|name| name.as_str().into()))
                    }
                };
                lines.push(&LedgerLine {
                    id: id(source, u64::from(candidate.index)),
                    raw_bytes: u64::from(candidate.raw_bytes),
                    bytes: Some(u64::from(candidate.bytes)),
                    sha256: Some(candidate.sha256),
                    fate,
                    because,
                })?;
            } else if let Some(document) = next_removed.take() {
                lines.push(&LedgerLine {
                    id: id(source, document.index),
                    raw_bytes: document.raw_bytes,
                    bytes: None,
                    sha256: None,
                    fate: "removed",
                    because: Some(document.step.as_str().into()),
                })?;
                next_removed = removed.next()?;
            } else {
                break;
            }
        }
    }
    Ok(lines.finish()?)
}
