//! The files of a run folder that people and programs read: `open.json`, written and synced before the first step,
//! and `record.json`, written when the run has ended. Field by field in `docs/formats/run-records.md`.
//!
//! Neither holds a secret, a user name or an absolute path; the host name only as a digest.
//!
//! The structs are those of the present version. [`read_open`] and [`read_record`] read every version since 2: an older
//! one has a module of its own, which says what has changed since.

mod v2;
mod v3;

use harness_core::Digest;
use harness_core::config::Experiment;
use harness_core::contract;
use harness_core::names::{ExperimentName, RunId};
use harness_core::task_kind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of both files. Raised with every change, new fields too: an older program refuses what it does not know,
/// and has to be able to say that the record is newer.
pub const VERSION: u32 = 7;
/// The first version whose programs count as today's do: what an older one counted otherwise is not held against it.
pub const SINCE: u32 = 4;
/// The oldest version that is read.
pub const OLDEST: u32 = 2;

/// Why a file of a record was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Another version of this program wrote it.
    #[error("{0}")]
    OtherVersion(String),
    /// It is not what such a file holds.
    #[error("{0}")]
    Wrong(String),
}

/// Reads `open.json` of any version; versions 3 to 7 differ in what need not be there.
pub fn read_open(bytes: &[u8]) -> Result<Open, Unread> {
    match version(bytes)? {
        2 => parse::<v2::Open>(bytes).map(Open::from),
        _ => parse(bytes),
    }
}

/// Reads `record.json` of any version; versions 2 and 3 have the same fields, and so have 4 to 7.
pub fn read_record(bytes: &[u8]) -> Result<Record, Unread> {
    match version(bytes)? {
        2 | 3 => parse::<v3::Record>(bytes).map(Record::from),
        _ => parse(bytes),
    }
}

fn version(bytes: &[u8]) -> Result<u32, Unread> {
    #[derive(Deserialize)]
    struct Peek {
        format: u32,
    }
    let Peek { format } = parse(bytes)?;
    if (OLDEST..=VERSION).contains(&format) {
        return Ok(format);
    }
    Err(Unread::OtherVersion(format!("has format {format}; this program reads {OLDEST} to {VERSION}")))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unread> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // What a program does not know, another one wrote.
        let unknown = text.starts_with("unknown field") || text.starts_with("unknown variant");
        if unknown { Unread::OtherVersion(text) } else { Unread::Wrong(text) }
    })
}

/// Names of the files in a run folder.
pub mod file {
    /// What was planned, with which code, data and machine.
    pub const OPEN: &str = "open.json";
    /// What became of it.
    pub const RECORD: &str = "record.json";
    /// Hash-linked events.
    pub const LOG: &str = "log.jsonl";
    /// One row for each optimizer step.
    pub const STEPS: &str = "steps.csv";
    /// Norms of each parameter tensor, at intervals.
    pub const TENSOR_NORMS: &str = "tensor_norms.csv";
    /// What runs of earlier programs call the same.
    pub const TENSOR_NORMS_BEFORE: &str = "layers.csv";
    /// Statistics of the activations on the probe batch, at intervals.
    pub const ACTIVATIONS: &str = "activations.csv";
    /// The resolved config.
    pub const CONFIG: &str = "plan/config.toml";
    /// The manifest of the corpus.
    pub const CORPUS_MANIFEST: &str = "plan/corpus-manifest.json";
    /// The job as given to the trainer.
    pub const JOB: &str = "plan/job.json";
    /// The job of an evaluation, by the step of the checkpoint that it evaluates.
    pub fn job_of(step: u64) -> String {
        format!("plan/job-{step:08}.json")
    }
    /// Copies of the files the plan was made from.
    pub const PLAN_FILES: &str = "plan/files";
    /// Copies of files git does not know.
    pub const UNTRACKED: &str = "code/untracked";
    /// What the working tree had beyond its commit, as a patch.
    pub const PATCH: &str = "code/dirty.patch";
    /// Texts that the model went on to, where a run keeps them.
    pub const SAMPLES: &str = "samples.jsonl";
    /// What the trainer wrote for people.
    pub const TRAINER_OUTPUT: &str = "trainer.log";
    /// Digest and path of every other file; its own digest is the run's root.
    pub const MANIFEST: &str = "MANIFEST";
    /// What becomes MANIFEST, until `record.json` is there.
    pub const STAGED_MANIFEST: &str = ".MANIFEST.tmp";
    /// While the run is open: git takes up none of it, so that no commit holds half of a run, which a later checkout would put over
    /// the sealed one.
    pub const IGNORED: &str = ".gitignore";
    /// Large files: recorded by digest, ignored by git.
    pub const CHECKPOINTS: &str = "checkpoints/";
}

/// `open.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// [`VERSION`]
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// The experiment it is a run of.
    pub experiment: ExperimentName,
    /// When it was opened, UTC, `2026-11-23T08:15:00Z`.
    pub opened_at: String,
    /// The run and checkpoint it goes on from.
    pub resumed_from: Option<Continuation>,
    /// The run whose checkpoints it evaluates, if it trains nothing itself.
    pub evaluates: Option<Evaluated>,
    /// The runs of the project that were here and that no other run named as they were: a run that is deleted leaves its name
    /// behind, and one that is sealed again its root.
    pub heads: Vec<Head>,
    /// Whether the paper may use it, and if not, why.
    pub not_citable_because: Option<String>,
    /// The choices made before the run.
    pub plan: Plan,
    /// The source code.
    pub code: Code,
    /// The programs that ran.
    pub binaries: Binaries,
    /// How the trainer was started.
    pub launch: Launch,
    /// The machine.
    pub host: Host,
    /// The corpus and tokenizer.
    pub data: Data,
    /// The tasks that will be scored.
    pub tasks: Vec<Task>,
}

/// Where a continued run came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// The experiment of the earlier run, where that is another one: the trunk of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentName>,
    /// The earlier run.
    pub run: RunId,
    /// Its root.
    pub root: Digest,
    /// The step of its checkpoint.
    pub step: u64,
    /// Digest of the checkpoint file.
    pub checkpoint_sha256: Digest,
    /// Digest of its weights.
    pub weights_sha256: Digest,
    /// The runs that the training up to this step consists of, oldest first, `run` the last; empty where version 2 did not
    /// say.
    pub segments: Vec<Segment>,
    /// What all earlier segments cost together, the work after their last checkpoints included; of a trunk, which others may begin
    /// from too, [`Continuation::share_of`].
    pub spent: Spent,
    /// Later checkpoints that could not be used, latest first.
    pub passed_over: Vec<PassedOver>,
}

impl Continuation {
    /// What a run and those that it goes on from cost.
    pub fn cost_of(open: &Open, record: &Record) -> Spent {
        Self::with_share(open, record, 1.0)
    }

    /// What of that the steps up to a checkpoint took, of a trunk: all that came before it, and of its own cost the share that these
    /// steps have of its training tokens.
    pub fn share_of(open: &Open, record: &Record, experiment: &Experiment, step: u64) -> Spent {
        let (training, context_length) = (&experiment.training, experiment.model.context_length);
        let first = open.resumed_from.as_ref().map_or(0, |from| from.step);
        let last = record.closing.as_ref().map(|closing| closing.step);
        let last = last.or(record.checkpoints.last().map(|checkpoint| checkpoint.step)).unwrap_or(step);
        let tokens =
            |to: u64| training.tokens(to, context_length).saturating_sub(training.tokens(first, context_length));
        Self::with_share(open, record, tokens(step) as f64 / tokens(last).max(1) as f64)
    }

    fn with_share(open: &Open, record: &Record, share: f64) -> Spent {
        let before = open.resumed_from.as_ref().map(|from| from.spent.clone()).unwrap_or_default();
        let training_time_s = record.closing.as_ref().map_or(0.0, |closing| closing.training_time_s);
        let resources = &record.resources;
        Spent {
            wall_time_s: before.wall_time_s + share * resources.wall_time_s,
            gpu_time_s: before.gpu_time_s + share * resources.gpu_time_s,
            cpu_time_s: before.cpu_time_s + share * resources.cpu_time_s,
            training_time_s: before.training_time_s + share * training_time_s,
        }
    }
}

/// A run of which a later one takes over the first steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its experiment, where that is not the one that names it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentName>,
    /// The run.
    pub run: RunId,
    /// Its root.
    pub root: Digest,
    /// The last step that is taken over from it.
    pub to_step: u64,
}

impl Segment {
    /// The same as a run of another experiment names it that begins from a run of `trunk`.
    pub fn below(self, trunk: &ExperimentName) -> Self {
        Segment { experiment: self.experiment.or_else(|| Some(trunk.clone())), ..self }
    }
}

/// An earlier run, as it was when a later one was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The run.
    pub run: RunId,
    /// Its root; none while it was open.
    pub root: Option<Digest>,
    /// Its experiment, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentName>,
}

/// How the trainer was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// By what.
    pub launcher: Launcher,
    /// Processes that train together, the ranks. What each of them found is in `started.ranks` of the record.
    pub world_size: u32,
    /// The queue of a cluster that started the run, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
}

/// What starts the trainer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Launcher {
    /// This program, on its own machine.
    Local,
    /// Slurm's `srun`, which starts every rank; this program is the first.
    Srun,
    /// Somebody who sets `RANK` and `WORLD_SIZE` as torchrun does; this program is rank 0.
    Torchrun,
}

/// The queue of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheduler {
    /// Which: `slurm`.
    pub name: String,
    /// Its id of the job; of a task of an array with the index, `4711_3`.
    pub job: String,
    /// How often it has started the job again.
    pub restarts: u32,
    /// GPUs that it has lent the job, on all its nodes, whether they are used or not; absent where there are none, or nothing says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
}

/// The run whose weights an evaluation reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluated {
    /// The earlier run of the same experiment.
    pub run: RunId,
    /// Its root.
    pub root: Digest,
    /// Its checkpoints that are evaluated, ascending by step.
    pub checkpoints: Vec<EvaluatedCheckpoint>,
}

/// A checkpoint that is evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluatedCheckpoint {
    /// Its step.
    pub step: u64,
    /// Digest of the checkpoint file.
    pub checkpoint_sha256: Digest,
    /// Digest of its weights.
    pub weights_sha256: Digest,
}

/// What segments of a run cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Seconds from the start of the trainer to its end.
    pub wall_time_s: f64,
    /// GPU seconds.
    pub gpu_time_s: f64,
    /// Processor seconds.
    pub cpu_time_s: f64,
    /// Seconds in optimizer steps alone.
    pub training_time_s: f64,
}

/// The choices made before the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the run is for.
    pub purpose: Purpose,
    /// The study that it is a trial of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<Trial>,
    /// Seed of weights, dropout and order.
    pub seed: u64,
    /// Who chose the seed; version 2 did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_rule: Option<SeedRule>,
    /// Why it is run although the budget does not pay for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_budget: Option<String>,
    /// Digest of the resolved config, `plan/config.toml`.
    pub config_sha256: Digest,
    /// Digest of what decides the numbers: the resolved config without its prose.
    pub plan_sha256: Digest,
    /// The files the plan was made from, as they were in the working tree: configs, recipes. Copies in `plan/`.
    pub files: Vec<PlanFile>,
    /// Algorithm of the data order.
    pub order: String,
}

/// What a run is for: runs of one purpose are evidence of one kind, and are not mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To choose a value by: such a run is no evidence for the value that was chosen.
    Tune,
    /// Nothing was stated.
    #[default]
    Explore,
    /// To decide a claim that was stated before the run.
    Confirm,
    /// To report what was decided, on seeds that decided nothing.
    Final,
}

impl Purpose {
    /// The word in records and tables.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Tune => "tune",
            Purpose::Explore => "explore",
            Purpose::Confirm => "confirm",
            Purpose::Final => "final",
        }
    }

    /// What such a run does.
    pub fn verb(self) -> &'static str {
        match self {
            Purpose::Final => "report",
            other => other.word(),
        }
    }
}

/// The place of a run in a study.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The study.
    pub name: String,
    /// Which of its trials, from 0.
    pub trial: u64,
}

/// Who chose a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedRule {
    /// The config.
    Config,
    /// Whoever started the run (`--seed`).
    CommandLine,
    /// Nobody: it follows from the project's id, the purpose and a number that is counted up (`harness_core::seeds`).
    Derived,
    /// The run that this one continues or evaluates.
    EarlierRun,
}

/// A file of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Path in the repository.
    pub path: String,
    /// Path of the copy in the run folder.
    pub copy: String,
    /// Digest of its content.
    pub sha256: Digest,
    /// Whether the commit holds exactly this content.
    pub committed: bool,
}

/// The source code at the start of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// The commit checked out.
    pub commit: String,
    /// Its tree.
    pub tree: String,
    /// The branch, if any.
    pub branch: Option<String>,
    /// Whether files differed from the commit (run folders not counted).
    pub dirty: bool,
    /// Files git does not know, with their digests; copies in `code/untracked/`.
    pub untracked: Vec<contract::OutputFile>,
    /// Where the repository is published, without user or password.
    pub remote: Option<String>,
}

/// The programs that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binaries {
    /// Digest of `harness`.
    pub harness_sha256: Digest,
    /// Digest of `harness-trainer`.
    pub trainer_sha256: Digest,
    /// Digest of `Cargo.lock` in the working tree, if there is one.
    pub cargo_lock_sha256: Option<Digest>,
    /// Version of `harness`.
    pub harness_version: String,
    /// Digest of the sources `harness` was built from (see `harness_core::build`).
    pub built_from_sha256: String,
    /// Digest of the sources `harness-trainer` was built from, as it says itself.
    pub trainer_built_from_sha256: String,
    /// Digest of the same files at the run's commit; equal if the code that ran is the code of the commit.
    pub committed_sources_sha256: Option<Digest>,
    /// Compiler that built `harness`.
    pub rustc: String,
    /// `debug` or `release`.
    pub profile: String,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Name and version of the system.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// C library.
    pub libc: String,
    /// Processor model.
    pub cpu: String,
    /// Processors usable by this process.
    pub cores: u64,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// Digest of the host name: tells machines apart without naming them.
    pub hostname_sha256: Digest,
    /// Job id of the cluster's queue, if there is one.
    pub slurm_job_id: Option<String>,
}

/// The corpus and tokenizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Name of the corpus recipe.
    pub corpus: String,
    /// Digest of its manifest, whose copy is in `plan/`: one number for all that was trained on.
    pub root: Digest,
    /// Token shards, training then validation, as the trainer read them.
    pub shards: Vec<Shard>,
    /// Digest of `tokenizer.json`.
    pub tokenizer_sha256: Digest,
    /// Its path relative to the project, in the ignored store.
    pub tokenizer: String,
    /// Token ids it can give.
    pub vocabulary_size: u32,
    /// Bytes of validation text: the denominator of bits per byte.
    pub validation_bytes: u64,
}

/// One token shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// `train` or `validation`.
    pub split: String,
    /// Path relative to the project, in the ignored store.
    pub path: String,
    /// Digest of its content.
    pub sha256: Digest,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Tokens, separators included.
    pub tokens: u64,
    /// Documents.
    pub documents: u64,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its name, such as `blimp.causative`; also the name of its score files.
    pub id: String,
    /// The group whose mean it counts in, such as `blimp`.
    pub group: Option<String>,
    /// Its title, for tables.
    pub title: String,
    /// The linguistic phenomenon it asks about, where there is one.
    pub phenomenon: String,
    /// The field of linguistics that the phenomenon belongs to, such as `syntax`, where there is one.
    pub field: String,
    /// What an item asks.
    pub kind: task_kind::Kind,
    /// The metric usually quoted.
    pub metric: task_kind::Metric,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Items scored.
    pub items: u64,
    /// For documents: tokens predicted in each window after the first, 0 for the context length.
    pub rolling_stride: Option<u32>,
    /// Version of the task's rules.
    pub version: u32,
    /// Digests of the task's source data.
    pub data_sha256: Vec<Digest>,
    /// Digest of the requests (token ids) given to the trainer.
    pub requests_sha256: Digest,
    /// Their path relative to the project, in the ignored store.
    pub requests: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All steps were done.
    Completed,
    /// Ended early on request, in order.
    Interrupted,
    /// Ended by an error, a crash or a kill.
    Failed,
}

impl Status {
    /// The word in records and tables.
    pub fn word(self) -> &'static str {
        match self {
            Status::Completed => "completed",
            Status::Interrupted => "interrupted",
            Status::Failed => "failed",
        }
    }
}

/// The kind of failure of a run that was stopped because the time ends that its machine is lent for; its status is `interrupted`,
/// or `failed` where its trainer had not come so far as to stop in order.
pub const TIME_LIMIT: &str = "time_limit";
/// The same of one that was stopped because the system takes the machine back before that, or asked for it without saying why.
pub const PREEMPTED: &str = "preempted";

/// `record.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`VERSION`]
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub status: Status,
    /// Why it did not complete.
    pub failure: Option<contract::Failure>,
    /// Exit code of the trainer, if it ended by itself.
    pub exit_code: Option<i32>,
    /// Signal that ended the trainer.
    pub signal: Option<i32>,
    /// When it ended, UTC.
    pub ended_at: String,
    /// What ran and how, as the trainer read it back; absent if it never got so far.
    pub started: Option<contract::Started>,
    /// Evaluations, ascending by step. Those up to `resumed_from.step` were copied from the earlier run.
    pub evaluations: Vec<contract::Evaluation>,
    /// Checkpoints written by this run, ascending by step. Their digests stay when the files are pruned.
    pub checkpoints: Vec<contract::Checkpoint>,
    /// Which of them stayed, and why.
    pub retention: Option<Retention>,
    /// Steps of this run that left weights and moments as they were.
    pub skipped: Vec<contract::Skipped>,
    /// The trainer's closing figures; absent after a crash.
    pub closing: Option<contract::Closing>,
    /// What the run cost.
    pub resources: Resources,
    /// Every file of the folder that neither `open.json` nor an evaluation nor a checkpoint names; versions before 4 did not
    /// say.
    pub files: Vec<contract::OutputFile>,
}

impl Record {
    /// Whether the system had the run stopped, so that nobody decided anything about it.
    pub fn is_stopped_by_system(&self) -> bool {
        let kind = self.failure.as_ref().map(|failure| failure.kind.as_str());
        matches!(kind, Some(TIME_LIMIT | PREEMPTED))
    }
}

/// The body of the last line of the log: how the run ended, and whatever else of `record.json` no line before it tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// [`Record::status`]
    pub status: Status,
    /// [`Record::failure`]
    pub failure: Option<contract::Failure>,
    /// [`Record::exit_code`]
    pub exit_code: Option<i32>,
    /// [`Record::signal`]
    pub signal: Option<i32>,
    /// [`Record::ended_at`]
    pub ended_at: String,
    /// [`Record::retention`]
    pub retention: Option<Retention>,
    /// [`Record::resources`]
    pub resources: Resources,
    /// [`Record::files`]
    pub files: Vec<contract::OutputFile>,
}

/// Which checkpoints stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The rule in words.
    pub rule: String,
    /// Those kept for their validation loss, best first.
    pub best: Vec<Scored>,
    /// Steps of those that were removed, in the order of removal.
    pub pruned: Vec<u64>,
}

/// A checkpoint with its validation loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// Optimizer steps done.
    pub step: u64,
    /// Mean over the tokens of the validation text.
    pub validation_loss_nats: f64,
}

/// A checkpoint that a continuation could not use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedOver {
    /// The run that wrote it.
    pub run: RunId,
    /// Optimizer steps done.
    pub step: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// What a run cost. Earlier segments of a resumed run are not counted here; their own records hold them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Seconds from the start of the trainer to its end.
    pub wall_time_s: f64,
    /// GPU seconds: wall time times the GPUs, 0 on CPU.
    pub gpu_time_s: f64,
    /// Processor seconds of the trainer, user and system, of all ranks together.
    pub cpu_time_s: f64,
    /// Median tokens per second over the steps.
    pub tokens_per_s: Option<f64>,
    /// Energy in joules, where it was measured.
    pub energy_j: Option<f64>,
    /// Where `energy_j` comes from, or why there is none.
    pub energy_source: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_no_record_is_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..400), format in 0u32..9, key in "[a-z_]{0,12}", number: u64,
        ) {
            let fields = format!("{{\"format\":{format},\"{key}\":{number}}}");
            for json in [bytes.as_slice(), fields.as_bytes()] {
                prop_assert!(read_open(json).is_err() && read_record(json).is_err());
            }
        }
    }

    #[test]
    fn another_version_is_said_to_be_one() {
        for json in [&b"{\"format\":1}"[..], b"{\"format\":99}", b"{\"format\":6,\"tails\":1}"] {
            assert!(matches!(read_open(json), Err(Unread::OtherVersion(_))));
            assert!(matches!(read_record(json), Err(Unread::OtherVersion(_))));
        }
        assert!(matches!(read_record(b"{\"format\":6}"), Err(Unread::Wrong(_))));
    }
}
