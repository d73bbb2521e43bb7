//! One run of an experiment, from the plan to the seal: look at code and config, make the data ready, open the
//! record, watch over the trainer, seal. Whatever happens after the record is opened, it is sealed.

mod evaluate;
pub mod forecast;
mod plan;
pub mod probe;
pub mod processors;
mod resume;
mod retention;
mod supervise;
pub mod trial;

use std::io;
use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::config::ConfigError;
use harness_core::contract::{Checkpoint, Closing, Evaluation, Failure, Message, Skipped, Started};
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::scores::TableError;
use harness_core::shards::ShardError;
use harness_corpus::{HubAccess, Progress};

pub use evaluate::{Question, evaluate};
pub use plan::{about, load_config, trainer_beside};
pub use supervise::Interrupts;

use harness_analyse::spikes::{Detector, Spike};
use harness_record::format::{self, Open, Record, Resources, Retention, Status};
use harness_record::git::{Git, GitError};
use harness_record::{Inherited, RecordError, Recorder, SealError, environment};

/// What the user may ask of a run beyond its config.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another seed than the config's.
    pub seed: Option<u64>,
    /// Run on a tree that differs from its commit; the run is then not citable.
    pub allow_dirty: bool,
    /// Go on from the last checkpoint of the latest run that did not complete.
    pub resume: bool,
    /// A folder with copies of files that recipes name by URL.
    pub mirror: Option<PathBuf>,
    /// The hub that data sets come from.
    pub hub: HubAccess,
    /// The trainer program.
    pub trainer: PathBuf,
}

/// Who is told what happens. The command line draws it.
pub trait Watcher {
    /// Draws the making of the data.
    fn progress(&mut self) -> &mut dyn Progress;
    /// The record is being opened; training begins with `steps` steps to do in all. From now on a wish to stop is
    /// counted in what this gives back instead of ending the program.
    fn opened(&mut self, open: &Open, steps: u64) -> Interrupts;
    /// A message of the trainer.
    fn message(&mut self, message: &Message);
    /// The trainer has ended: a wish to stop ends the program again.
    fn closed(&mut self);
}

/// A sealed run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub record: Record,
    /// Digest of its MANIFEST.
    pub root: Digest,
}

/// Why a run could not be opened or sealed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    #[error("`{name}` begins with imported weights, and `{}` is not here\nhint: `harness import hf FOLDER --name {name}` with the folder of the {class} puts them there", path.display())]
    NoImportedWeights {
        /// The experiment.
        name: ExperimentName,
        /// Where they should be.
        path: PathBuf,
        /// The class they came from.
        class: String,
    },
    /// The trainer does not answer as one.
    #[error("`{}` is not a trainer that this program can use: {problem}\nhint: `make build` builds both programs from the same sources", path.display())]
    NoTrainer {
        /// The program.
        path: PathBuf,
        /// What it said.
        problem: String,
    },
    /// The trainer could not be started.
    #[error("could not start the trainer `{}`: {source}\nhint: `make build` builds it; `harness doctor` says what is missing", path.display())]
    Trainer {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The checkpoints will not fit on the disk.
    #[error(
        "the checkpoints of this run need {} MiB ({count} of {} MiB), and {} MiB are free\nhint: keep fewer with `training.keep`, write fewer with `training.checkpoint_every`, or free some space",
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
    /// A short run that measures something could not be set up.
    #[error("the short run cannot work: {0}")]
    Trial(String),
    /// A budget cannot be turned into steps.
    #[error("{0}")]
    Budget(String),
    /// A short run gave no measurement.
    #[error("the short run ended early: {problem}\nhint: {hint}")]
    NothingMeasured {
        /// What happened.
        problem: String,
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
        "`{path}` is not here as the run read it\nhint: `harness data prepare {corpus}` makes it again, if the recipe is as it was"
    )]
    DataGone {
        /// The file.
        path: String,
        /// Its corpus.
        corpus: String,
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

fn list(files: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut lines: Vec<String> = files.iter().take(SHOWN).map(|file| format!("  {file}")).collect();
    if files.len() > SHOWN {
        lines.push(format!("  ... and {} more", files.len() - SHOWN));
    }
    lines.join("\n")
}

/// Runs an experiment to its seal.
pub fn run(
    project: &Project,
    git: &Git,
    name: &ExperimentName,
    options: &Options,
    watcher: &mut dyn Watcher,
) -> Result<Outcome, RunError> {
    let origin = if options.resume { Some(resume::origin(project, name, options.seed)?) } else { None };
    let plan = plan::plan(project, git, name, options, origin.as_ref(), watcher.progress())?;
    for lost in origin.iter().flat_map(|origin| &origin.passed_over) {
        let used = plan.open.resumed_from.as_ref().map_or(0, |origin| origin.step);
        let (run, step, problem) = (&lost.run, lost.step, &lost.problem);
        let text =
            format!("the checkpoint of step {step} of run {run} is not used: {problem}; going on from step {used}");
        watcher.progress().note(&text);
    }
    watcher.progress().note(&check_disk(project, &plan)?);
    let earlier = origin.as_ref().map(|o| o.inherited()).transpose()?.unwrap_or_default();
    carry_out(project, options, plan, origin.as_ref(), &earlier, watcher)
}

/// Opens the record of a plan, watches over the trainer, and seals.
fn carry_out(
    project: &Project,
    options: &Options,
    plan: plan::Ready,
    origin: Option<&resume::Origin>,
    earlier: &Inherited,
    watcher: &mut dyn Watcher,
) -> Result<Outcome, RunError> {
    let folder = project.run(&plan.open.experiment, &plan.open.run);
    let interrupts = watcher.opened(&plan.open, plan.steps);
    let mut recorder = Recorder::open(&folder, &plan.open, &plan.files, earlier)?;
    let spikes = Detector::after(&earlier.steps);
    let mut story = Story::default();
    let ended =
        train(project, &folder, options, &plan, origin, spikes, &interrupts, &mut recorder, &mut story, watcher);
    watcher.closed();
    // The trainer never ran, or the record could not be written: what there is gets sealed, then the error told.
    story.failure = match &ended {
        Ok(ended) => ended.failure.clone().map(|failure| plan.explain(failure)),
        Err(error) => Some(Failure {
            kind: "supervisor".to_owned(),
            message: environment::scrub(&error.to_string(), project.root()),
            hint: None,
            step: 0,
        }),
    };
    let record = story.record(&plan.open.run, ended.as_ref().ok());
    let root = recorder.seal(&record)?;
    ended.map(|_| Outcome { run: plan.open.run, record, root })
}

/// What lies between the opened record and its seal.
#[expect(clippy::too_many_arguments, reason = "it is the middle of `run`, apart so that every error of it is sealed")]
fn train(
    project: &Project,
    folder: &Path,
    options: &Options,
    plan: &plan::Ready,
    origin: Option<&resume::Origin>,
    mut spikes: Detector,
    interrupts: &Interrupts,
    recorder: &mut Recorder,
    story: &mut Story,
    watcher: &mut dyn Watcher,
) -> Result<supervise::Ended, RunError> {
    let _lock = resume::hold(folder)?;
    if let Some(origin) = origin {
        for evaluation in origin.copy_evaluations(folder)? {
            let message = Message::Evaluation(evaluation);
            recorder.message(&message)?;
            story.take(&message);
        }
    }
    let mut keeper = retention::Keeper::new(plan.keep, plan.steps);
    let mut all: Option<supervise::Ended> = None;
    for job in &plan.jobs {
        let job = folder.join(job);
        let start = supervise::Start {
            trainer: &options.trainer,
            root: project.root(),
            job: job.strip_prefix(project.root()).unwrap_or(&job),
            folder,
            threads: plan.threads,
            deterministic: plan.deterministic,
        };
        let ended = supervise::supervise(&start, interrupts, &mut |message| {
            recorder.message(message)?;
            story.take(message);
            watcher.message(message);
            if let Message::Started(started) = message
                && let Some(note) = slow_precision(started)
            {
                watcher.progress().note(note);
            }
            if let Message::Step(line) = message
                && let Some(spike) = spikes.take(line)
            {
                let Spike { step, loss_nats, loss_before_nats } = spike;
                let text =
                    format!("step {step}: the loss spikes: {loss_nats:.3} nats/token after {loss_before_nats:.3}");
                watcher.progress().note(&text);
                recorder.event("spike", serde_json::json!(spike))?;
            }
            for removed in keeper.take(message, folder)? {
                let body = serde_json::json!({ "step": removed.step, "path": removed.file.path });
                recorder.event("pruned", body)?;
            }
            Ok(())
        });
        story.retention = Some(keeper.retention());
        let ended = ended?;
        let goes_on = ended.failure.is_none() && story.finished;
        let ended = match all.take() {
            Some(before) => before.then(ended),
            None => ended,
        };
        if !goes_on {
            return Ok(ended);
        }
        all = Some(ended);
    }
    Ok(all.expect("a plan has a job"))
}

/// What to say of a precision that the processor has no instructions for.
fn slow_precision(started: &Started) -> Option<&'static str> {
    let determinism = &started.determinism;
    let emulated = started.device == "cpu" && determinism.compute_dtype == "bfloat16" && !determinism.cpu_kernels;
    emulated
        .then_some("bf16 is slow on this processor (no avx512_bf16): `training.precision = \"f32\"` is likely faster")
}

/// Refuses a run whose checkpoints will not fit; says what they need.
fn check_disk(project: &Project, plan: &plan::Ready) -> Result<String, RunError> {
    let (need, count) = (plan.disk.bytes(), plan.disk.checkpoints);
    // A file system that does not tell is taken to have room.
    let free = rustix::fs::statvfs(project.root()).map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    if need > free {
        return Err(RunError::Disk { need_bytes: need, count, free_bytes: free });
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "checkpoints need {:.1} MiB of disk at most ({count} of {:.1} MiB); {:.0} MiB are free",
        mib(need),
        mib(plan.disk.checkpoint_bytes),
        mib(free)
    ))
}

/// What the trainer has told so far.
#[derive(Default)]
struct Story {
    started: Option<Started>,
    evaluations: Vec<Evaluation>,
    checkpoints: Vec<Checkpoint>,
    finished: bool,
    retention: Option<Retention>,
    skipped: Vec<Skipped>,
    closing: Option<Closing>,
    failure: Option<Failure>,
    tokens_per_s: Vec<f64>,
}

impl Story {
    fn take(&mut self, message: &Message) {
        match message {
            Message::Started(started) => (self.started, self.finished) = (Some((**started).clone()), false),
            Message::Step(line) => self.tokens_per_s.push(line.tokens_per_s),
            Message::Skipped(skipped) => self.skipped.push(skipped.clone()),
            Message::Layers { .. } | Message::Activations { .. } => {}
            Message::Evaluation(evaluation) => self.evaluations.push(evaluation.clone()),
            Message::Checkpoint(checkpoint) => self.checkpoints.push(checkpoint.clone()),
            Message::Finished(closing) => (self.finished, self.closing) = (true, Some(closing.clone())),
            Message::Stopped(closing) => self.closing = Some(closing.clone()),
            Message::Failed(failure) => self.failure = Some(failure.clone()),
        }
    }

    /// The closing record. Without `ended` the trainer's end was not seen.
    fn record(self, run: &RunId, ended: Option<&supervise::Ended>) -> Record {
        let status = match (&self.failure, self.finished, &self.closing) {
            (None, true, _) => Status::Completed,
            (None, false, Some(_)) => Status::Interrupted,
            _ => Status::Failed,
        };
        let wall_time_s = ended.map_or(0.0, |e| e.wall_time_s);
        let on_gpu = self.started.as_ref().is_some_and(|s| s.device.starts_with("cuda"));
        let energy_j = self.closing.as_ref().and_then(|c| c.gpu_energy_j);
        let resources = Resources {
            wall_time_s,
            gpu_time_s: if on_gpu { wall_time_s } else { 0.0 },
            cpu_time_s: ended.map_or(0.0, |e| e.cpu_time_s),
            tokens_per_s: (!self.tokens_per_s.is_empty())
                .then(|| harness_statistics::quantile(&self.tokens_per_s, 0.5)),
            energy_j,
            energy_source: match (energy_j, on_gpu) {
                (Some(_), _) => "counter of the GPU, read by NVML".to_owned(),
                (None, true) => "not measured: the GPU's energy counter could not be read".to_owned(),
                (None, false) => "not measured: this processor's energy was not read".to_owned(),
            },
        };
        Record {
            format: format::VERSION,
            run: run.clone(),
            status,
            failure: self.failure,
            exit_code: ended.and_then(|e| e.exit_code),
            signal: ended.and_then(|e| e.signal),
            ended_at: environment::now().to_string(),
            started: self.started,
            evaluations: self.evaluations,
            checkpoints: self.checkpoints,
            retention: self.retention,
            skipped: self.skipped,
            closing: self.closing,
            resources,
        }
    }
}

/// A path as it stands in records: relative to the project, with `/`.
fn relative(project: &Project, path: &Path) -> String {
    let path = path.strip_prefix(project.root()).unwrap_or(path);
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
