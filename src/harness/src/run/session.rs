//! One open run: its record is written while a launcher runs its jobs, and sealed whatever happens.

use std::path::PathBuf;

use harness_analyse::spikes::{Detector, Spike};
use harness_core::Digest;
use harness_core::config::Experiment;
use harness_core::contract::{Failure, Message, Started};
use harness_core::names::RunId;
use harness_corpus::Progress;
use harness_record::format::{Open, PREEMPTED, Record, TIME_LIMIT};
use harness_record::{Inherited, Recorder, environment, pretty};
use rustix::process::Signal;

use super::context::RunContext;
use super::device::{self, Claim};
use super::end_time::{Deadline, NEAR};
use super::error::RunError;
use super::launch::{Asker, Ended, Interrupts, Launcher, Start};
use super::plan::Ready;
use super::resume::{self, Origin};
use super::retention::Keeper;
use super::trainer_log::TrainerLog;
use super::workload::Workload;
use crate::anchor::Anchored;

/// Who is told what happens. The command line draws it.
pub trait Watcher {
    /// Draws the making of the data.
    fn progress(&mut self) -> &mut dyn Progress;
    /// The record is about to be opened, unless this gives an error, and `workload` is what is to be done. From now on a
    /// wish to stop is counted in what this gives back instead of ending the program.
    fn opened(&mut self, open: &Open, workload: &Workload) -> Result<Interrupts, RunError>;
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

/// Opens the record of a plan, runs its jobs, and seals.
pub(super) fn carry_out(
    context: &RunContext,
    plan: Ready,
    origin: Option<(&Origin, &Experiment)>,
    earlier: &Inherited,
    watcher: &mut dyn Watcher,
) -> Result<Outcome, RunError> {
    let interrupts = watcher.opened(&plan.open, &Workload::of(plan.jobs.iter().map(|(_, job)| job)))?;
    let (experiment, run) = (plan.open.experiment.clone(), plan.open.run.clone());
    let session = Session::open(context, plan, earlier);
    let anchored = Anchored {
        project: context.project,
        git: context.git,
        fetcher: &context.fetcher,
        experiment: &experiment,
        run: &run,
    };
    if session.is_ok() {
        anchored.by_project(watcher.progress());
    }
    let ended = session.map(|mut session| {
        let ended = session.run(context.launcher.as_ref(), origin, &interrupts, watcher);
        session.note_asker(&interrupts);
        (session, ended)
    });
    watcher.closed();
    let (session, ended) = ended?;
    let outcome = session.seal(ended);
    anchored.by_project(watcher.progress());
    outcome
}

/// An open run.
struct Session {
    /// The folder of the project's runs and data, which paths of jobs are relative to.
    root: PathBuf,
    /// The run folder.
    folder: PathBuf,
    plan: Ready,
    recorder: Recorder,
    trainer_log: TrainerLog,
    spikes: Detector,
    keeper: Keeper,
    /// Held while the trainer runs.
    claim: Option<Claim>,
    /// Where the machine is lent for a time.
    deadline: Option<Deadline>,
}

impl Session {
    fn open(context: &RunContext, mut plan: Ready, earlier: &Inherited) -> Result<Self, RunError> {
        let folder = context.project.run(&plan.open.experiment, &plan.open.run);
        plan.files.extend(plan.jobs.iter().map(|(path, job)| (path.clone(), pretty(job).into_bytes())));
        let recorder = Recorder::open(&folder, &plan.open, &plan.files, earlier)?;
        let steps = plan.jobs.last().map_or(0, |(_, job)| job.training.steps);
        Ok(Session {
            root: context.project.home().to_owned(),
            folder,
            recorder,
            trainer_log: TrainerLog::default(),
            spikes: Detector::after(&earlier.steps),
            keeper: Keeper::new(plan.keep, steps),
            claim: None,
            deadline: plan.ends_at.map(|ends_at| Deadline::new(ends_at, plan.disk.checkpoint_bytes)),
            plan,
        })
    }

    /// What lies between the opened record and its seal: the jobs, one after the other.
    fn run(
        &mut self,
        launcher: &dyn Launcher,
        origin: Option<(&Origin, &Experiment)>,
        interrupts: &Interrupts,
        watcher: &mut dyn Watcher,
    ) -> Result<Ended, RunError> {
        let folder = self.folder.clone();
        let root = self.root.clone();
        let _lock = resume::hold(&folder)?;
        self.deadline.iter().for_each(|deadline| interrupts.ask_at(deadline.stops_at()));
        if let Some((origin, experiment)) = origin {
            for evaluation in origin.copy_evaluations(&folder, experiment, &self.plan.open.tasks)? {
                let message = Message::Evaluation(evaluation);
                self.recorder.message(&message)?;
                self.trainer_log.take(&message);
            }
        }
        let jobs: Vec<PathBuf> = self.plan.jobs.iter().map(|(path, _)| folder.join(path)).collect();
        let mut all: Option<Ended> = None;
        for job in jobs {
            let start = Start {
                root: &root,
                job: job.strip_prefix(&root).unwrap_or(&job).to_owned(),
                folder: &folder,
                ranks: self.plan.ranks,
                threads: self.plan.threads,
                deterministic: self.plan.deterministic,
                follows: false,
            };
            let ended = launcher.launch(&start, interrupts, &mut |message| self.take(message, interrupts, watcher));
            if self.plan.open.plan.study.is_some()
                && (self.trainer_log.told.finished || self.trainer_log.stopped_because.is_some())
            {
                self.keeper.remove_all(&self.folder)?;
            }
            self.trainer_log.retention = Some(self.keeper.retention());
            let ended = ended?;
            let goes_on = ended.failure.is_none() && self.trainer_log.told.finished;
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

    /// Takes in a message of the trainer: into the record first.
    fn take(&mut self, message: &Message, interrupts: &Interrupts, watcher: &mut dyn Watcher) -> Result<(), RunError> {
        if self.has_place(message) {
            self.recorder.message(message)?;
        }
        self.trainer_log.take(message);
        if let (Message::Evaluation(evaluation), Some(texts)) = (message, &self.plan.texts) {
            texts.keep(evaluation, &self.folder)?;
        }
        watcher.message(message);
        match message {
            Message::Started(started) => self.started(started, watcher.progress()),
            Message::Step(line) => {
                if let Some(spike) = self.spikes.take(line) {
                    let Spike { step, loss_nats, loss_before_nats } = spike;
                    let text =
                        format!("step {step}: the loss spikes: {loss_nats:.3} nats/token after {loss_before_nats:.3}");
                    watcher.progress().note(&text);
                    self.recorder.event("spike", serde_json::json!(spike))?;
                }
            }
            _ => {}
        }
        if let (Message::Evaluation(evaluation), Some(pruner)) = (message, &self.plan.pruner)
            && let Some(behind) = pruner.look(evaluation, &self.folder)?
        {
            watcher.progress().note(&behind.message);
            self.recorder.event("fallen_behind", serde_json::json!(behind))?;
            self.trainer_log.stopped_because = Some(behind);
            interrupts.ask();
        }
        for removed in self.keeper.take(message, &self.folder)? {
            let body = serde_json::json!({ "step": removed.step, "path": removed.file.path });
            self.recorder.event("pruned", body)?;
        }
        if let Some(deadline) = &mut self.deadline {
            deadline.take(message, self.keeper.count());
            interrupts.ask_at(deadline.stops_at());
        }
        Ok(())
    }

    /// Keeps why the trainer was asked to stop, where that was the system's wish. A signal may also have come to the trainer
    /// alone, which then stopped without being asked from here.
    fn note_asker(&mut self, interrupts: &Interrupts) {
        // A known end asks by itself before the system does by SIGTERM; SIGUSR1 is what queues are told to warn by.
        let is_near = || self.plan.ends_at.is_none_or(|ends_at| ends_at.duration_since(environment::now()) <= NEAR);
        let (kind, why) = match interrupts.asker() {
            Some(Asker::Person) => return,
            Some(Asker::Program) => (PREEMPTED, "another process has taken the run over".to_owned()),
            Some(Asker::EndTime) => (TIME_LIMIT, "the time that the machine is lent for ends".to_owned()),
            Some(Asker::System { signal }) if signal == Signal::USR1.as_raw() && is_near() => {
                (TIME_LIMIT, format!("the system said by signal {signal} that the time ends"))
            }
            Some(Asker::System { signal }) => (PREEMPTED, format!("the system asked for it by signal {signal}")),
            None => (PREEMPTED, "the system asked the trainer for it".to_owned()),
        };
        let step = self.trainer_log.step;
        let Open { experiment, plan, evaluates, .. } = &self.plan.open;
        let hint = match (evaluates, &plan.study) {
            (Some(earlier), _) => format!("`harness evaluate {}` starts it again", earlier.run),
            (None, Some(study)) => format!("`harness study run {}` goes on from its checkpoint", study.name),
            (None, None) => format!("`harness run {experiment} --go-on`, with the same seed and purpose, goes on"),
        };
        let (kind, message, hint) = (kind.to_owned(), format!("stopped after step {step}: {why}"), Some(hint));
        self.trainer_log.stopped_because.get_or_insert(Failure { kind, message, hint, step });
    }

    /// Whether the record has a place for a message: with `metrics.step_rows`, not for every step.
    fn has_place(&self, message: &Message) -> bool {
        let (Message::Step(line), Some((_, job))) = (message, self.plan.jobs.last()) else { return true };
        job.metrics.has_row(line.step, job.training.steps)
    }

    /// What is to be said of the device that the trainer found.
    fn started(&mut self, started: &Started, progress: &mut dyn Progress) {
        if let Some(note) = slow_precision(started) {
            progress.note(note);
        }
        let shards = self.plan.jobs.last().is_some_and(|(_, job)| job.training.shard_optimizer);
        if shards && self.plan.ranks == 1 {
            progress
                .note("`training.shard_optimizer` changes nothing here: one process alone keeps the whole optimizer");
        }
        if self.claim.is_some() {
            return;
        }
        let Open { run, experiment, .. } = &self.plan.open;
        let (claim, others) =
            device::claim(started, self.plan.threads * self.plan.ranks, &format!("run {run} of {experiment}"));
        self.claim = claim;
        if !others.is_empty() {
            progress.note(&format!(
                "warning: another run is using {} of this machine, so both will be slow and their times say little: {}",
                if started.device == "cpu" { "the processors" } else { started.device.as_str() },
                others.join(", ")
            ));
        }
    }

    /// Seals the run as it ended. Where the trainer never ran, or the record could not be written, what there is gets
    /// sealed, then the error told.
    fn seal(mut self, ended: Result<Ended, RunError>) -> Result<Outcome, RunError> {
        self.trainer_log.failure = match &ended {
            Ok(ended) if ended.signal.is_some_and(is_of_system) && self.trainer_log.stopped_because.is_some() => {
                self.trainer_log.stopped_because.take()
            }
            Ok(ended) => ended.failure.clone().map(|failure| self.plan.explain(failure)),
            Err(error) => Some(Failure {
                kind: "supervisor".to_owned(),
                message: environment::scrub(&error.to_string(), &self.root),
                hint: None,
                step: 0,
            }),
        };
        let run = self.plan.open.run;
        let (told, how) = self.trainer_log.close(ended.as_ref().ok());
        let (record, root) = self
            .recorder
            .seal(told, how)
            .map_err(|source| RunError::NotSealed { run: run.clone(), source: Box::new(source) })?;
        ended.map(|_| Outcome { run, record, root })
    }
}

/// Whether the system stops programs by this signal. A trainer dies of it that has not come so far as to listen.
fn is_of_system(signal: i32) -> bool {
    [Signal::TERM, Signal::USR1].iter().any(|known| known.as_raw() == signal)
}

/// What to say of a precision that the processor has no instructions for.
fn slow_precision(started: &Started) -> Option<&'static str> {
    let determinism = &started.determinism;
    let emulated = started.device == "cpu" && determinism.compute_dtype == "bfloat16" && !determinism.cpu_kernels;
    emulated
        .then_some("bf16 is slow on this processor (no avx512_bf16): `training.precision = \"f32\"` is likely faster")
}
