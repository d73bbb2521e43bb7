//! The run folder: opened before the first step, written line by line, sealed when the run has ended, verified
//! before anything is computed from it. A sealed record is never edited.
//!
//! Comes in: the repository and a run folder. Goes out: a [`SealedRun`]. It must never have: tokenizers, Parquet, TLS,
//! clap, a terminal or resvg, so that whoever only audits builds little.
//!
//! [`git`] answers for the repository, `environment` looks at the machine, `seal` writes, `verify` reads. Only [`SealedRun::open`] makes a
//! [`SealedRun`], so whatever takes one works on files that are what they were when the run was sealed.

pub mod environment;
pub mod format;
pub mod git;
mod seal;
mod verify;

use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::config::{Experiment, parse_resolved};
use harness_core::corpus_manifest::Manifest;
use harness_core::files::{self, FileError};
use harness_core::names::{ExperimentName, Project, RunId};

pub use seal::{Inherited, Recorder, SealError, pretty};
pub use verify::{Checkpoints, Finding, Problem, Verified, parse_manifest, verify};

use format::{Open, Record, Status, file};

/// A run whose files are what they were when it was sealed (checkpoints aside, which no number is computed from).
#[derive(Clone, Debug)]
pub struct SealedRun {
    /// What was planned, with which code, data and machine.
    pub open: Open,
    /// What became of it.
    pub record: Record,
    /// The resolved config.
    pub experiment: Experiment,
    /// The manifest of its corpus.
    pub corpus: Manifest,
    /// Digest of its MANIFEST: one number for the whole run.
    pub root: Digest,
    folder: PathBuf,
}

/// Why a run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such run.
    #[error("there is no run `{run}`{}\nhint: `harness runs` lists the runs", nearest.as_ref().map_or(String::new(), |n| format!("; did you mean `{n}`?")))]
    Unknown {
        /// What was asked for.
        run: String,
        /// A name close to it.
        nearest: Option<String>,
    },
    /// The run was never sealed.
    #[error(
        "run `{run}` of `{experiment}` is not sealed: it is still going on, or its supervisor was killed\nhint: `harness run {experiment} --resume` goes on from its last checkpoint"
    )]
    NotSealed {
        /// The run.
        run: RunId,
        /// Its experiment.
        experiment: ExperimentName,
    },
    /// A file is not what it was when the run was sealed.
    #[error(
        "run `{run}` of `{experiment}` was changed after it was sealed: {finding}\nhint: `harness audit {run}` lists everything that is wrong with it"
    )]
    Changed {
        /// The run.
        run: RunId,
        /// Its experiment.
        experiment: ExperimentName,
        /// The first difference.
        finding: String,
    },
}

impl SealedRun {
    /// Verifies a run folder and reads it.
    pub fn open(project: &Project, experiment: &ExperimentName, run: &RunId) -> Result<Self, RecordError> {
        let verified = verify(&project.run(experiment, run), Checkpoints::Skip)?;
        Self::of_verified(project, experiment, run, verified)
    }

    /// Reads a run folder that was just verified.
    pub fn of_verified(
        project: &Project,
        experiment: &ExperimentName,
        run: &RunId,
        verified: Verified,
    ) -> Result<Self, RecordError> {
        let folder = project.run(experiment, run);
        let changed =
            |finding: String| RecordError::Changed { run: run.clone(), experiment: experiment.clone(), finding };
        if verified.seal_is_missing {
            return Err(changed(format!("`{}` is missing", file::MANIFEST)));
        }
        let Some(root) = verified.root else {
            return Err(RecordError::NotSealed { run: run.clone(), experiment: experiment.clone() });
        };
        if let Some(finding) = verified.findings.iter().find(|f| f.is_contradiction()) {
            return Err(changed(finding.to_string()));
        }
        let (open, record) = (verified.open, verified.record);
        let (Some(open), Some(record)) = (open, record) else {
            return Err(changed("its records cannot be read".to_owned()));
        };
        let config = files::read_to_string(&folder.join(file::CONFIG))?;
        let config = parse_resolved(&config).map_err(|e| changed(format!("`{}`: {e}", file::CONFIG)))?;
        let manifest = files::read(&folder.join(file::CORPUS_MANIFEST))?;
        let corpus: Manifest =
            serde_json::from_slice(&manifest).map_err(|e| changed(format!("`{}`: {e}", file::CORPUS_MANIFEST)))?;
        Ok(SealedRun { open, record, experiment: config, corpus, root, folder })
    }

    /// A file of the run by its path relative to the run folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    /// The run folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the paper may use it: it completed, on committed code.
    pub fn is_citable(&self) -> bool {
        self.record.status == Status::Completed && self.open.not_citable_because.is_none()
    }
}

/// The experiments of a project, sorted.
pub fn experiments(project: &Project) -> Result<Vec<ExperimentName>, FileError> {
    let names = files::list(&project.experiments())?;
    let is_experiment = |name: &ExperimentName| project.experiment(name).join("experiment.toml").is_file();
    Ok(names.iter().filter_map(|name| name.parse().ok()).filter(is_experiment).collect())
}

/// The runs of an experiment that trained, oldest first, sealed or not: what the experiment's name stands for.
pub fn runs(project: &Project, experiment: &ExperimentName) -> Result<Vec<RunId>, FileError> {
    let trained = |run: &RunId| evaluates(&project.run(experiment, run)).is_none();
    Ok(runs_of_every_kind(project, experiment)?.into_iter().filter(trained).collect())
}

/// The run whose checkpoints a run only evaluates, as far as its unverified `open.json` says; none of one that trained.
pub fn evaluates(folder: &Path) -> Option<RunId> {
    #[derive(serde::Deserialize)]
    struct Peek {
        evaluates: Option<Of>,
    }
    #[derive(serde::Deserialize)]
    struct Of {
        run: RunId,
    }
    let open = files::read(&folder.join(file::OPEN)).ok()?;
    Some(serde_json::from_slice::<Peek>(&open).ok()?.evaluates?.run)
}

/// The runs of an experiment, those that evaluate too, oldest first, sealed or not.
pub fn runs_of_every_kind(project: &Project, experiment: &ExperimentName) -> Result<Vec<RunId>, FileError> {
    let names = files::list(&project.runs(experiment))?;
    let has_folder = |run: &RunId| project.run(experiment, run).is_dir();
    Ok(names.iter().filter_map(|name| name.parse().ok()).filter(has_folder).collect())
}

/// Every run of every experiment, by experiment and then by age; also of experiments whose config is gone.
pub fn all_runs(project: &Project) -> Result<Vec<(ExperimentName, RunId)>, FileError> {
    let mut all = Vec::new();
    for name in files::list(&project.experiments())? {
        let Ok(experiment) = name.parse::<ExperimentName>() else { continue };
        all.extend(runs_of_every_kind(project, &experiment)?.into_iter().map(|run| (experiment.clone(), run)));
    }
    Ok(all)
}

/// What lies where runs lie but has no name of one, relative to the project: an audit must not pass it over.
pub fn strays(project: &Project) -> Result<Vec<String>, FileError> {
    let mut strays = Vec::new();
    for name in files::list(&project.experiments())? {
        for entry in files::list(&project.experiments().join(&name).join("runs"))? {
            if name.parse::<ExperimentName>().is_err() || entry.parse::<RunId>().is_err() {
                strays.push(format!("experiments/{name}/runs/{entry}"));
            }
        }
    }
    Ok(strays)
}

/// The run of that name, or the latest run of the experiment of that name.
pub fn find(project: &Project, name: &str) -> Result<(ExperimentName, RunId), RecordError> {
    let all = all_runs(project)?;
    let exact = all.iter().find(|(_, run)| run.as_str() == name);
    let trained = |(experiment, run): &&(ExperimentName, RunId)| evaluates(&project.run(experiment, run)).is_none();
    let latest = all.iter().rev().filter(|(experiment, _)| experiment.as_str() == name).find(trained);
    if let Some(found) = exact.or(latest) {
        return Ok(found.clone());
    }
    let known: Vec<&str> = all.iter().flat_map(|(experiment, run)| [experiment.as_str(), run.as_str()]).collect();
    let nearest = harness_core::config::nearest(name, &known).map(str::to_owned);
    Err(RecordError::Unknown { run: name.to_owned(), nearest })
}

/// The run that a person names by its id, by its folder, or by its experiment, of which the latest citable one is meant.
pub fn choose(project: &Project, name: &str) -> Result<SealedRun, RecordError> {
    let last = Path::new(name).file_name().map_or(name.into(), |last| last.to_string_lossy());
    if let Ok(experiment) = name.parse::<ExperimentName>()
        && let Some(run) = latest_citable(project, &experiment)?
    {
        return Ok(run);
    }
    let (experiment, run) = find(project, &last)?;
    SealedRun::open(project, &experiment, &run)
}

/// The latest citable run of an experiment: the one the paper uses. Runs that were changed after they were sealed
/// are an error, not skipped: otherwise an edit would silently choose another run.
pub fn latest_citable(project: &Project, experiment: &ExperimentName) -> Result<Option<SealedRun>, RecordError> {
    for run in runs(project, experiment)?.iter().rev() {
        match SealedRun::open(project, experiment, run) {
            Ok(sealed) if sealed.is_citable() => return Ok(Some(sealed)),
            Ok(_) | Err(RecordError::NotSealed { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(None)
}
