//! Runs that somebody took out of what counts. The record stays as it was sealed; a file beside its folder says who is
//! left out and why, is committed with the runs, and stays when the folder is deleted.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use harness_core::Digest;
use harness_core::files::{self, FileError};
use harness_core::names::{ExperimentName, Project, RunId};
use serde::{Deserialize, Serialize};

use crate::environment;
use crate::format::{Open, Status, file};
use crate::{RecordError, SealedRun, pretty};

/// The version of the file.
const VERSION: u32 = 1;
/// What its name has after the run id.
const ENDING: &str = ".dropped.json";

/// `experiments/<experiment>/runs/<run>.dropped.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// The version of this file.
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// Its root; none of a run that was never sealed.
    pub root: Option<Digest>,
    /// How it ended, likewise.
    pub status: Option<Status>,
    /// Its seed, where its record could be read.
    pub seed: Option<u64>,
    /// Why it does not count.
    pub because: String,
    /// When it was dropped, UTC.
    pub dropped_at: String,
}

/// Takes a run out of what counts. Gives the file that says so.
pub fn drop_run(
    project: &Project,
    experiment: &ExperimentName,
    run: &RunId,
    because: &str,
) -> Result<PathBuf, RecordError> {
    let (root, status, seed) = match SealedRun::open(project, experiment, run) {
        Ok(sealed) => (Some(sealed.root), Some(sealed.record.status), Some(sealed.open.plan.seed)),
        Err(RecordError::NotSealed { .. }) => {
            let open = opened(project, experiment, run);
            (None, None, open.map(|open| open.plan.seed))
        }
        Err(error) => return Err(error),
    };
    let (run, because) = (run.clone(), because.to_owned());
    let path = path_of(project, experiment, &run);
    let dropped_at = environment::now().to_string();
    let dropped = Dropped { format: VERSION, run, root, status, seed, because, dropped_at };
    files::write(&path, pretty(&dropped).as_bytes())?;
    Ok(path)
}

/// The runs of an experiment that were dropped, whether their folders are here or not.
pub fn dropped(project: &Project, experiment: &ExperimentName) -> Result<BTreeMap<RunId, Dropped>, FileError> {
    let mut dropped = BTreeMap::new();
    for name in files::list(&project.runs(experiment))? {
        let Some(run) = run_of(&name) else { continue };
        let path = path_of(project, experiment, &run);
        let found: Dropped = serde_json::from_slice(&files::read(&path)?)
            .map_err(|error| FileError::new("read", &path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
        dropped.insert(run, found);
    }
    Ok(dropped)
}

/// The run that a file of this name drops.
pub(crate) fn run_of(name: &str) -> Option<RunId> {
    name.strip_suffix(ENDING)?.parse().ok()
}

/// `open.json` of a run that nothing has verified, as far as it can be read.
pub fn opened(project: &Project, experiment: &ExperimentName, run: &RunId) -> Option<Open> {
    let bytes = files::read(&project.run(experiment, run).join(file::OPEN)).ok()?;
    crate::format::read_open(&bytes).ok()
}

pub(crate) fn path_of(project: &Project, experiment: &ExperimentName, run: &RunId) -> PathBuf {
    project.runs(experiment).join(format!("{run}{ENDING}"))
}
