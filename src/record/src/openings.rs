//! Who opened the test side of a corpus. It is held out from every decision, so each time that it is scored is counted:
//! what was chosen among its scores is no longer judged by it.

use harness_core::Digest;
use harness_core::files::{self, FileError};
use harness_core::names::{Project, RunId};
use harness_core::task_kind::TEST_SIDE;
use serde::Deserialize;

use crate::format::file;
use crate::{SealedRun, all_runs};

/// One time that a test side was scored, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The run that scored it.
    pub run: RunId,
    /// The run whose weights were scored.
    pub of: RunId,
    /// Digests of the text.
    pub data_sha256: Vec<Digest>,
    /// How often this text had been opened by then, this time counted: 1 is the first.
    pub count: usize,
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
            found.push(Opening { run, of: of.run, data_sha256, count: 0 });
        }
    }
    found.sort_by(|a, b| a.run.cmp(&b.run));
    for at in 0..found.len() {
        found[at].count = found[..=at].iter().filter(|earlier| earlier.data_sha256 == found[at].data_sha256).count();
    }
    Ok(found)
}

/// The last opening of a test side by which some of these runs were scored, or which they are: its count says how often
/// what is known of them may have been chosen by it.
pub fn last_opening<'a>(openings: &'a [Opening], runs: &[SealedRun]) -> Option<&'a Opening> {
    let of_these =
        |opening: &&Opening| runs.iter().any(|run| run.open.run == opening.run || run.open.run == opening.of);
    let text = &openings.iter().rfind(of_these)?.data_sha256;
    openings.iter().rfind(|opening| opening.data_sha256 == *text)
}
