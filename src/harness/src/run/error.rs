//! Why a run could not be opened or sealed, with what to do about it.

use std::io;
use std::path::PathBuf;

use harness_core::config::{BudgetError, ConfigError};
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, RunId};
use harness_core::scores::TableError;
use harness_core::shards::ShardError;
use harness_record::environment::EndTimeError;
use harness_record::git::GitError;
use harness_record::{RecordError, SealError};
use harness_study::StudyError;

use super::afford::OverBudget;

/// Why a run could not be opened or sealed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The study was refused.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// There is no such trial.
    #[error(
        "the study of `{study}` has {trials} trials, from 0 on, and no trial {trial}\nhint: `harness study plan {study}` lists them"
    )]
    NoTrial {
        /// The study.
        study: ExperimentName,
        /// How many it has.
        trials: usize,
        /// What was asked for.
        trial: u64,
    },
    /// Git could not answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The corpus could not be made ready.
    #[error(transparent)]
    Corpus(#[from] harness_corpus::CorpusError),
    /// A file could not be fetched.
    #[error(transparent)]
    Fetch(#[from] harness_corpus::FetchError),
    /// The corpus recipe was refused.
    #[error(transparent)]
    Recipe(#[from] harness_corpus::RecipeError),
    /// A task could not be made ready.
    #[error(transparent)]
    Task(#[from] harness_corpus::tasks::TaskError),
    /// A shard cannot be used.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The record could not be written.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A run has ended, and its seal was cut short.
    #[error(
        "run `{run}` has ended, but could not be sealed: {source}\nhint: `harness seal {run}` seals it once that is mended"
    )]
    NotSealed {
        /// The run.
        run: RunId,
        /// What was in the way.
        source: Box<SealError>,
    },
    /// An earlier run could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// An earlier table could not be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The tree differs from its commit.
    #[error(
        "the working tree differs from its commit, so the record could not say which code ran:\n{}\nhint: commit these files, or pass --allow-dirty to record a patch (the paper cannot cite such a run)",
        list(files)
    )]
    Dirty {
        /// The files that differ.
        files: Vec<String>,
    },
    /// The weights of an imported model are not in the store.
    #[error("`{name}` starts from imported weights, but `{}` is missing\nhint: import the {class} again: `harness import hf FOLDER --name {name} --corpus {corpus}`", path.display())]
    NoImportedWeights {
        /// The experiment.
        name: ExperimentName,
        /// Its corpus.
        corpus: String,
        /// Where they should be.
        path: PathBuf,
        /// The class they came from.
        class: String,
    },
    /// The trainer does not answer as one.
    #[error("`{}` cannot be used as the trainer: {problem}\nhint: `{}` builds both programs from the same sources", path.display(), harness_build::MAKE)]
    NoTrainer {
        /// The program.
        path: PathBuf,
        /// What it said.
        problem: String,
    },
    /// The trainer could not be started.
    #[error("could not start the trainer `{}`: {source}\nhint: `{}` builds it; `harness doctor` says what is missing", path.display(), harness_build::MAKE)]
    Trainer {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There are fewer GPUs than processes that want one.
    #[error(
        "`training.devices` asks for {wanted} GPUs, and this machine has {gpus}\nhint: set it to \"all\" or to a number up to {gpus}"
    )]
    TooFewGpus {
        /// Processes.
        wanted: u32,
        /// GPUs that CUDA sees.
        gpus: u32,
    },
    /// A batch cannot be shared out among the ranks.
    #[error(
        "{problem}\nhint: make `training.batch_size` (and each of `training.batch_size_stages`) a multiple of {ranks} times the sequences of a pass (`training.micro_batch_size`), or start fewer processes (`training.devices`; on a cluster `gpus`, `nodes` and `tasks_per_node`)"
    )]
    NotSharedOut {
        /// Which batch.
        problem: String,
        /// Processes.
        ranks: u32,
    },
    /// The processes that train together have no place to meet.
    #[error(
        "the processes that train together cannot meet on this machine: {source}\nhint: `training.devices = 1` needs no meeting"
    )]
    NoMeeting {
        /// What the system said.
        source: io::Error,
    },
    /// The variables that tell ranks apart contradict each other.
    #[error(
        "this program seems to be one of several ranks, but {problem}\nhint: `srun` and torchrun set these variables; for one process alone unset `WORLD_SIZE`"
    )]
    Ranks {
        /// What is wrong with them.
        problem: String,
    },
    /// The checkpoints will not fit on the disk.
    #[error(
        "the checkpoints of this run need {} MiB ({count} × {} MiB), but only {} MiB are free\nhint: keep fewer (`training.keep`), write fewer (`training.checkpoint_every`), or free up disk space",
        need_bytes >> 20, (need_bytes / count.max(&1)) >> 20, free_bytes >> 20
    )]
    Disk {
        /// All that are there at a time.
        need_bytes: u64,
        /// How many.
        count: u64,
        /// What is free where the run folder lies.
        free_bytes: u64,
    },
    /// The budget does not pay for it.
    #[error("{0}")]
    OverBudget(Box<OverBudget>),
    /// The programs were built from other sources than those of the commit.
    #[error(
        "{} built from other sources than those of the commit, so the record could not say which code ran\nhint: rebuild both programs with `{}`, or pass --allow-stale (the paper cannot cite such a run)",
        was_or_were(programs),
        harness_build::MAKE
    )]
    Stale {
        /// The programs.
        programs: Vec<&'static str>,
    },
    /// A short run that measures something could not be set up.
    #[error("the short run could not be set up: {0}")]
    ShortRun(String),
    /// A budget cannot be turned into steps.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A short run gave no measurement.
    #[error("the short run ended early: {problem}\nhint: {hint}")]
    NothingMeasured {
        /// What happened.
        problem: String,
        /// What can be done.
        hint: String,
    },
    /// It is not known until when the machine is lent.
    #[error(transparent)]
    EndTime(#[from] EndTimeError),
    /// Run after run ended before its first checkpoint.
    #[error(
        "the last {} runs of `{name}` ended before they wrote a checkpoint, the latest {}, so that going on would end so again: {}\nhint: {hint}",
        runs.len(), last, list_of(runs)
    )]
    NoProgress {
        /// The experiment.
        name: ExperimentName,
        /// The runs, latest first.
        runs: Vec<RunId>,
        /// How the latest ended.
        last: String,
        /// What can be done.
        hint: String,
    },
    /// The user wished to stop.
    #[error("interrupted; nothing was written")]
    Interrupted,
    /// There is nothing to evaluate.
    #[error("run `{run}` cannot be evaluated: {problem}\nhint: {hint}")]
    NothingToEvaluate {
        /// The run.
        run: RunId,
        /// Why.
        problem: String,
        /// What can be done, or what there is.
        hint: String,
    },
    /// A file of the run's data is not here as it was.
    #[error(
        "`{path}` is missing or has changed since the run\nhint: `harness data prepare {corpus}` restores it; if the recipe has changed since, check out the commit of the run first"
    )]
    DataGone {
        /// The file.
        path: String,
        /// Its corpus.
        corpus: String,
    },
    /// The run to go on from goes on itself.
    #[error(
        "there is nothing to resume: run `{run}` is still running\nhint: wait for it, or stop it with Ctrl-C in its terminal"
    )]
    StillRunning {
        /// The run.
        run: RunId,
    },
    /// Whoever was told of the run would not have it opened.
    #[error(transparent)]
    Unwelcome(Box<dyn std::error::Error + Send + Sync>),
    /// A run cannot begin from a trunk.
    #[error("`{branch}` cannot begin from step {step} of `{trunk}`: {problem}\nhint: {hint}")]
    NoTrunk {
        /// The experiment.
        branch: ExperimentName,
        /// The one that it is to begin from.
        trunk: ExperimentName,
        /// After which step.
        step: u64,
        /// Why.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// There is nothing to go on from.
    #[error("there is nothing to resume: {problem}\nhint: {hint}")]
    NothingToResume {
        /// Why.
        problem: String,
        /// What to do instead.
        hint: String,
    },
}

impl RunError {
    /// What it says where no option allows a tree or programs that differ from the commit.
    pub fn without_allowances(&self) -> String {
        let whole = self.to_string();
        match self {
            RunError::Dirty { .. } | RunError::Stale { .. } => {
                whole.split_once(", or pass --allow-").map_or(whole.clone(), |(before, _)| before.to_owned())
            }
            _ => whole,
        }
    }

    /// Whether the disk is full, or would be before the end.
    pub fn is_disk_full(&self) -> bool {
        let mut cause: Option<&dyn std::error::Error> = Some(self);
        while let Some(error) = cause {
            if let Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =
                error.downcast_ref::<io::Error>().map(io::Error::kind)
            {
                return true;
            }
            cause = error.source();
        }
        matches!(self, RunError::Disk { .. })
    }
}

fn list_of(runs: &[RunId]) -> String {
    runs.iter().map(|run| format!("`{run}`")).collect::<Vec<_>>().join(", ")
}

fn was_or_were(programs: &[&str]) -> String {
    let names: Vec<String> = programs.iter().map(|name| format!("`{name}`")).collect();
    format!("{} {}", names.join(" and "), if names.len() == 1 { "was" } else { "were" })
}

fn list(files: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut lines: Vec<String> = files.iter().take(SHOWN).map(|file| format!("  {file}")).collect();
    if files.len() > SHOWN {
        lines.push(format!("  ... and {} more", files.len() - SHOWN));
    }
    lines.join("\n")
}
