//! Who opened the test side of a corpus. It is held out from every decision, so each time that it is scored is counted:
//! what was chosen among its scores is no longer judged by it.

use harness_core::Digest;
use harness_core::files::{self, FileError};
use harness_core::names::{Project, RunId};
use harness_core::task_kind::TEST_SIDE;
use serde::Deserialize;

use crate::all_runs;
use crate::format::file;

/// One time that a test side was scored, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The run that scored it.
    pub run: RunId,
    /// The run whose weights were scored.
    pub of: RunId,
    /// Digests of the text.
    pub data_sha256: Vec<Digest>,
}

/// Every opening of a test side by the runs of a project, oldest first, as their `open.json` says. What is not finished
/// counts too: its scores may have been seen.
pub fn openings(project: &Project) -> Result<Vec<Opening>, FileError> {
    #[derive(Deserialize)]
    struct Of {
        run: RunId,
    }
    #[derive(Deserialize)]
    struct Task {
        id: String,
        data_sha256: Vec<Digest>,
    }
    #[derive(Deserialize)]
    struct Peek {
        evaluates: Option<Of>,
        tasks: Vec<Task>,
    }
    let mut found = Vec::new();
    for (experiment, run) in all_runs(project)? {
        let open = files::read(&project.run(&experiment, &run).join(file::OPEN)).ok();
        let Some(peek) = open.and_then(|json| serde_json::from_slice::<Peek>(&json).ok()) else { continue };
        let test_side = peek.tasks.into_iter().find(|task| task.id == TEST_SIDE);
        if let (Some(of), Some(Task { data_sha256, .. })) = (peek.evaluates, test_side) {
            found.push(Opening { run, of: of.run, data_sha256 });
        }
    }
    found.sort_by(|a, b| a.run.cmp(&b.run));
    Ok(found)
}
