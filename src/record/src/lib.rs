//! The run folder: opened before the first step, written line by line, sealed when the run has ended, verified
//! before anything is computed from it. A sealed record is never edited.
//!
//! Comes in: the repository and a run folder. Goes out: a [`SealedRun`]. It must never have: tokenizers, Parquet, TLS,
//! clap, a terminal or resvg, so that whoever only audits builds little.
//!
//! [`git`] answers for the repository, `environment` looks at the machine, `seal` writes, `verify` reads, [`fit()`] holds a record
//! against itself. Only [`SealedRun::open`] makes a
//! [`SealedRun`], so whatever takes one works on files that are what they were when the run was sealed.

pub mod anchors;
mod bundled;
pub mod dates;
mod dropped;
pub mod environment;
mod fit;
pub mod format;
pub mod git;
mod git_error;
mod history;
pub mod job;
mod log;
mod objects;
mod openings;
mod seal;
pub mod select;
mod told;
mod verify;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::config::{ConfigError, Experiment, Loaded, Table, load, parse_resolved};
use harness_core::corpus_manifest::Manifest;
use harness_core::files::{self, FileError};
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::samples::SampleText;
use harness_core::scores::{TableError, read_json_lines};
use harness_core::task_kind::TEST_SIDE;

pub use bundled::{Bundled, Deleted};
pub use dropped::{Dropped, drop_run, dropped, opened};
pub use fit::fit;
pub use history::{Fate, history};
pub use log::{Log, lived_s};
pub use openings::{Opening, last_opening, openings};
pub use seal::{Inherited, Recorder, SealError, pretty};
pub use select::{LeftOut, Reason, RunSet, Seen};
pub use told::Told;
pub use verify::{Checkpoints, Finding, Problem, Verified, parse_manifest, verify};

use format::{Head, Open, Record, Status, file};

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
    /// The name that its experiment had when it ran, if it was renamed since; `open.experiment` is the name of today.
    pub renamed_from: Option<ExperimentName>,
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
        "run `{run}` of `{experiment}` is not sealed: it is still running, or its supervisor was killed\nhint: {}",
        match evaluates {
            None => format!("`harness run {experiment} --resume` continues it from its last checkpoint"),
            Some(of) => format!("`harness evaluate {of}` starts the evaluation again"),
        }
    )]
    NotSealed {
        /// The run.
        run: RunId,
        /// Its experiment.
        experiment: ExperimentName,
        /// The run whose checkpoints it evaluates, if it does not train.
        evaluates: Option<RunId>,
    },
    /// Another version of this program wrote it.
    #[error(
        "run `{run}` of `{experiment}` was written by another version of harness: {problem}\nhint: update harness: `git pull`, then `make build`"
    )]
    OtherVersion {
        /// The run.
        run: RunId,
        /// Its experiment.
        experiment: ExperimentName,
        /// What this one does not know.
        problem: String,
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
            let (run, experiment) = (run.clone(), experiment.clone());
            return Err(RecordError::NotSealed { run, experiment, evaluates: evaluates(&folder) });
        };
        if let Some(finding) = verified.findings.iter().find(|f| f.is_contradiction()) {
            return Err(changed(finding.to_string()));
        }
        let other_version =
            |problem: String| RecordError::OtherVersion { run: run.clone(), experiment: experiment.clone(), problem };
        if let Some(finding) = verified.findings.iter().find(|f| matches!(f.problem, Problem::OtherVersion(_))) {
            return Err(other_version(finding.to_string()));
        }
        let (Some(mut open), Some(record)) = (verified.open, verified.record) else {
            return Err(changed("its records cannot be read".to_owned()));
        };
        if open.run != *run {
            return Err(changed(format!("its folder holds the record of run `{}`", open.run)));
        }
        // What follows is as it was sealed, so that what cannot be read here another version wrote.
        let config = files::read_to_string(&folder.join(file::CONFIG))?;
        let config = parse_resolved(&config).map_err(|e| other_version(format!("`{}`: {e}", file::CONFIG)))?;
        let manifest = files::read(&folder.join(file::CORPUS_MANIFEST))?;
        let corpus: Manifest = serde_json::from_slice(&manifest)
            .map_err(|e| other_version(format!("`{}`: {e}", file::CORPUS_MANIFEST)))?;
        let renamed_from = (open.experiment != *experiment).then(|| open.experiment.clone());
        open.experiment = experiment.clone();
        Ok(SealedRun { open, record, experiment: config, corpus, root, renamed_from, folder })
    }

    /// A file of the run by its path relative to the run folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    /// The norms of its parameter tensors, if they were recorded: under the name that the file has now, or had.
    pub fn tensor_norms(&self) -> Option<PathBuf> {
        [file::TENSOR_NORMS, file::TENSOR_NORMS_BEFORE]
            .map(|name| self.path(name))
            .into_iter()
            .find(|path| files::is_file(path))
    }

    /// The run folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the paper may use it: it completed, on committed code.
    pub fn is_citable(&self) -> bool {
        self.record.status == Status::Completed && self.open.not_citable_because.is_none()
    }

    /// Texts that the model went on to, if the run keeps them.
    pub fn samples(&self) -> Result<Vec<SampleText>, TableError> {
        if self.keeps_samples() { read_json_lines(&self.path(file::SAMPLES)) } else { Ok(Vec::new()) }
    }

    /// Whether it keeps texts that the paper may show.
    pub fn shows_samples(&self) -> bool {
        self.is_citable() && self.keeps_samples()
    }

    /// Whether it scored the test side of its corpus, and the paper may say what came of it.
    pub fn shows_test_side(&self) -> bool {
        let is_opening = self.open.evaluates.is_some() && self.open.tasks.iter().any(|task| task.id == TEST_SIDE);
        self.is_citable() && is_opening
    }

    fn keeps_samples(&self) -> bool {
        self.record.files.iter().any(|listed| listed.path == file::SAMPLES)
    }

    /// Digest of all that decides the numbers of the run but its seed: plan, data, requests. Runs in which it is the same
    /// are seeds of one plan.
    pub fn plan_but_seed(&self) -> Digest {
        plan_but_seed(&self.experiment, &self.open)
    }
}

/// [`SealedRun::plan_but_seed`] of a config and its record.
fn plan_but_seed(experiment: &Experiment, open: &Open) -> Digest {
    let plan = experiment.plan_digest_but_seed();
    let requests = open.tasks.iter().map(|task| task.requests_sha256);
    let parts: Vec<String> = [plan, open.data.root].into_iter().chain(requests).map(|part| part.to_string()).collect();
    Digest::of(parts.join("\n").as_bytes())
}

/// The experiments of a project, sorted.
pub fn experiments(project: &Project) -> Result<Vec<ExperimentName>, FileError> {
    let names = files::list(&project.experiments())?;
    let is_experiment = |name: &ExperimentName| project.experiment(name).join("experiment.toml").is_file();
    Ok(names.iter().filter_map(|name| name.parse().ok()).filter(is_experiment).collect())
}

/// Loads an experiment of the working tree with all it extends.
pub fn load_config(project: &Project, name: &ExperimentName) -> Result<Loaded, ConfigError> {
    load_config_with(project, name, &Table::new())
}

/// The same under settings that none of its files states: a trial of its study.
pub fn load_config_with(project: &Project, name: &ExperimentName, settings: &Table) -> Result<Loaded, ConfigError> {
    let known: Vec<String> = experiments(project)?.iter().map(ToString::to_string).collect();
    let text_of = |name: &ExperimentName| match files::read_to_string(&project.experiment(name).join("experiment.toml"))
    {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    };
    load(name, &known, &text_of, settings)
}

/// The runs of an experiment that trained and were not dropped, oldest first, sealed or not: what the experiment's name
/// stands for.
pub fn runs(project: &Project, experiment: &ExperimentName) -> Result<Vec<RunId>, FileError> {
    let stands = |run: &RunId| stands_for_experiment(project, experiment, run);
    Ok(runs_of_every_kind(project, experiment)?.into_iter().filter(stands).collect())
}

fn stands_for_experiment(project: &Project, experiment: &ExperimentName, run: &RunId) -> bool {
    let is_dropped = files::is_file(&dropped::path_of(project, experiment, run));
    !is_dropped && evaluates(&project.run(experiment, run)).is_none()
}

/// The runs of the project that no other run names as they are: what a run of `experiment` that is opened now names, so that none of
/// them can be deleted, or sealed again, unseen. One that was open when it was named is named once more when it is sealed.
pub fn heads(project: &Project, experiment: &ExperimentName) -> Result<Vec<Head>, FileError> {
    let all = all_runs(project)?;
    let opens = all.iter().filter_map(|(experiment, run)| opened(project, experiment, run));
    let named: BTreeSet<(RunId, Option<Digest>)> =
        opens.flat_map(|open| open.heads).map(|head| (head.run, head.root)).collect();
    let heads = all.into_iter().map(|(of, run)| {
        let root = anchors::Moment::Seal.digest(&project.run(&of, &run));
        Head { run, root, experiment: (of != *experiment).then_some(of) }
    });
    Ok(heads.filter(|head| !named.contains(&(head.run.clone(), head.root))).collect())
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

/// The experiments that have runs, sorted; also those whose config is gone.
pub fn experiments_with_runs(project: &Project) -> Result<Vec<ExperimentName>, FileError> {
    let names = files::list(&project.experiments())?;
    let names = names.iter().filter_map(|name| name.parse().ok());
    Ok(names.filter(|name| files::is_folder(&project.runs(name))).collect())
}

/// Every run of every experiment, by experiment and then by age; also of experiments whose config is gone.
pub fn all_runs(project: &Project) -> Result<Vec<(ExperimentName, RunId)>, FileError> {
    let mut all = Vec::new();
    for experiment in experiments_with_runs(project)? {
        all.extend(runs_of_every_kind(project, &experiment)?.into_iter().map(|run| (experiment.clone(), run)));
    }
    Ok(all)
}

/// What is in a runs folder and is not named by a run id, relative to the project: an audit must not pass it over.
pub fn strays(project: &Project) -> Result<Vec<String>, FileError> {
    let mut strays = Vec::new();
    for name in files::list(&project.experiments())? {
        let runs = project.experiments().join(&name).join("runs");
        let entries = if files::is_folder(&runs) { files::list(&runs)? } else { Vec::new() };
        for entry in entries.into_iter().filter(|entry| !seal::is_litter(entry)) {
            let is_known = entry.parse::<RunId>().is_ok() || dropped::run_of(&entry).is_some();
            if name.parse::<ExperimentName>().is_err() || !is_known {
                strays.push(format!("experiments/{name}/runs/{entry}"));
            }
        }
    }
    Ok(strays)
}

/// The run of that name (its folder will do), or the latest run of the experiment of that name.
pub fn find(project: &Project, name: &str) -> Result<(ExperimentName, RunId), RecordError> {
    let all = all_runs(project)?;
    let name = &*last_part(name);
    let exact = all.iter().find(|(_, run)| run.as_str() == name);
    let stands = |(experiment, run): &&(ExperimentName, RunId)| stands_for_experiment(project, experiment, run);
    let latest = all.iter().rev().filter(|(experiment, _)| experiment.as_str() == name).find(stands);
    if let Some(found) = exact.or(latest) {
        return Ok(found.clone());
    }
    let known: Vec<&str> = all.iter().flat_map(|(experiment, run)| [experiment.as_str(), run.as_str()]).collect();
    let nearest = harness_core::config::nearest(name, &known).map(str::to_owned);
    Err(RecordError::Unknown { run: name.to_owned(), nearest })
}

/// The run that a person names by its id, by its folder, or by its experiment, of which the latest that counts is meant,
/// or else the latest.
pub fn choose(project: &Project, name: &str) -> Result<SealedRun, RecordError> {
    let (experiment, run) = find(project, name)?;
    if run.as_str() == last_part(name) {
        return SealedRun::open(project, &experiment, &run);
    }
    match RunSet::of(project, &experiment)?.into_latest() {
        Some(latest) => Ok(latest),
        None => SealedRun::open(project, &experiment, &run),
    }
}

/// A name without the folders before it.
fn last_part(name: &str) -> Cow<'_, str> {
    Path::new(name).file_name().map_or(name.into(), |last| last.to_string_lossy())
}
