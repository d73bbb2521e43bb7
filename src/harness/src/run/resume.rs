//! Going on from a checkpoint of an earlier run: the last one of a run that did not complete, or one of a trunk. The earlier record
//! stays as it was sealed; the continuation is a run of its own that names it, and takes over its steps and evaluations up to the
//! checkpoint.

use std::fs::File;
use std::path::Path;

use harness_core::Digest;
use harness_core::config::Experiment;
use harness_core::contract::{Checkpoint, Evaluation, Failure, OutputFile};
use harness_core::files;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::scores::{StepLine, read_csv};
use rustix::fs::FlockOperation;

use super::code_state::{Options, Resume};
use super::error::RunError;
use super::launch::Ended;
use super::trainer_log::TrainerLog;
use harness_record::format::{self, Continuation, Open, PassedOver, Record, Retention, Segment, Task, file};
use harness_record::job::evaluated_after;
use harness_record::{self as record, Inherited, Log, RecordError, Recorder, SealedRun};

/// The run and checkpoint to go on from.
pub(super) struct Origin {
    run: SealedRun,
    pub checkpoint: Checkpoint,
    /// Later checkpoints that cannot be used, latest first.
    pub passed_over: Vec<PassedOver>,
    /// Whether the run is one of another experiment, from which this one begins.
    is_trunk: bool,
}

/// The latest checkpoint that is intact among the runs that `resume` allows since the last complete one (of one seed, if
/// `options` give it; of one trial of a study, or of none).
pub(super) fn origin(
    project: &Project,
    name: &ExperimentName,
    options: &Options,
    resume: &Resume,
) -> Result<Origin, RunError> {
    let nothing =
        |problem: String| RunError::NothingToResume { problem, hint: format!("start a new run: `harness run {name}`") };
    let (mut tried, mut passed_over) = (Vec::new(), Vec::new());
    for id in record::runs(project, name)?.into_iter().rev().filter(|run| resume.allows(run)) {
        let of = record::opened(project, name, &id).and_then(|open| open.plan.study);
        if of.map(|of| of.trial) != options.trial {
            continue;
        }
        let run = sealed(project, name, &id)?;
        if options.seed.is_some_and(|seed| seed != run.open.plan.seed) {
            continue;
        }
        if run.record.status == format::Status::Completed {
            if tried.is_empty() {
                return Err(nothing(format!("the latest run of `{name}`, `{id}`, is complete")));
            }
            break;
        }
        let pruned = run.record.retention.as_ref().map(|r| r.pruned.clone()).unwrap_or_default();
        for checkpoint in run.record.checkpoints.iter().rev().filter(|c| !pruned.contains(&c.step)) {
            let Some(problem) = problem_of(&run, checkpoint)? else {
                let checkpoint = checkpoint.clone();
                return Ok(Origin { run, checkpoint, passed_over, is_trunk: false });
            };
            passed_over.push(PassedOver { run: id.clone(), step: checkpoint.step, problem });
        }
        tried.push(id.to_string());
    }
    Err(nothing(match tried.as_slice() {
        [] => format!("`{name}` has no run"),
        tried => format!("no intact checkpoint in {}", tried.join(", ")),
    }))
}

/// Why a checkpoint cannot be gone on from; nothing where it can.
pub(super) fn problem_of(run: &SealedRun, checkpoint: &Checkpoint) -> Result<Option<String>, RunError> {
    Ok(match Digest::of_file(&run.path(&checkpoint.file.path)) {
        Ok(found) if found != checkpoint.file.sha256 => {
            Some("its contents have changed since it was written".to_owned())
        }
        Ok(_) => {
            let rows: Vec<StepLine> = read_csv(&run.path(file::STEPS))?;
            let lacks = lacks_rows(run, checkpoint, &rows);
            lacks.then(|| format!("rows of steps before it are missing in `{}`", file::STEPS))
        }
        Err(error) if error.is_not_found() => Some("the file is missing".to_owned()),
        Err(error) => Some(format!("it cannot be read: {}", error.source)),
    })
}

/// Whether rows of steps before a checkpoint are not there, which a machine that died may have lost though the file is whole.
fn lacks_rows(run: &SealedRun, checkpoint: &Checkpoint, rows: &[StepLine]) -> bool {
    let (metrics, steps) = (&run.experiment.metrics, run.experiment.training.steps);
    let is_skipped = |step: u64| run.record.skipped.iter().any(|skipped| skipped.step == step);
    let last = (1..=checkpoint.step).rev().find(|&step| metrics.has_row(step, steps) && !is_skipped(step));
    last > rows.last().map(|row| row.step)
}

impl Origin {
    /// A checkpoint of the run of another experiment.
    pub(super) fn of_trunk(run: SealedRun, checkpoint: Checkpoint) -> Self {
        Origin { run, checkpoint, passed_over: Vec::new(), is_trunk: true }
    }

    /// Whether it is one of another experiment.
    pub(super) fn is_trunk(&self) -> bool {
        self.is_trunk
    }

    /// The experiment that it is a run of, where that is another one.
    fn trunk(&self) -> Option<&ExperimentName> {
        self.is_trunk.then_some(&self.run.open.experiment)
    }

    /// How the continuation names it.
    pub(super) fn continuation(&self) -> Continuation {
        let SealedRun { open, record, experiment, root, .. } = &self.run;
        Continuation {
            experiment: self.trunk().cloned(),
            run: open.run.clone(),
            root: *root,
            step: self.checkpoint.step,
            checkpoint_sha256: self.checkpoint.file.sha256,
            weights_sha256: self.checkpoint.weights_sha256,
            passed_over: self.passed_over.clone(),
            segments: self.segments(),
            spent: match self.is_trunk {
                true => Continuation::share_of(open, record, experiment, self.checkpoint.step),
                false => Continuation::cost_of(open, record),
            },
        }
    }

    /// The runs that the training up to the checkpoint consists of. Of a run of version 2 that goes on from another itself
    /// they are not known.
    fn segments(&self) -> Vec<Segment> {
        let mut segments = match &self.run.open.resumed_from {
            Some(from) if from.segments.is_empty() => return Vec::new(),
            Some(from) => from.segments.clone(),
            None => Vec::new(),
        };
        let (run, root, to_step) = (self.run.open.run.clone(), self.run.root, self.checkpoint.step);
        segments.push(Segment { experiment: None, run, root, to_step });
        match self.trunk() {
            Some(trunk) => segments.into_iter().map(|segment| segment.below(trunk)).collect(),
            None => segments,
        }
    }

    /// The earlier run.
    pub(super) fn run(&self) -> &SealedRun {
        &self.run
    }

    /// Refuses a plan that would not go on with the same run.
    pub(super) fn check_same_plan(&self, open: &Open) -> Result<(), RunError> {
        let digests = |open: &Open| open.data.shards.iter().map(|s| (s.split.clone(), s.sha256)).collect::<Vec<_>>();
        let requests = |open: &Open| open.tasks.iter().map(|t| (t.id.clone(), t.requests_sha256)).collect::<Vec<_>>();
        let earlier = &self.run.open;
        let problem = if requests(open) != requests(earlier) {
            "a task has changed since"
        } else if open.data.tokenizer_sha256 != earlier.data.tokenizer_sha256 {
            "the tokenizer has changed since"
        } else if open.plan.plan_sha256 != self.run.experiment.plan_digest() {
            "the config has changed since"
        } else if digests(open) != digests(earlier) {
            "the corpus has changed since"
        } else {
            return Ok(());
        };
        Err(RunError::NothingToResume {
            problem: format!("run `{}` cannot be resumed: {problem}", self.run.open.run),
            hint: format!("undo the change, or start a new run: `harness run {}`", open.experiment),
        })
    }

    /// The number of steps it was to take.
    pub(super) fn steps(&self) -> u64 {
        self.run.experiment.training.steps
    }

    /// Rows of the tables up to the checkpoint, as far as `experiment` asks for them.
    pub(super) fn inherited(&self, experiment: &Experiment) -> Result<Inherited, RunError> {
        let (last, steps, metrics) = (self.checkpoint.step, experiment.training.steps, &experiment.metrics);
        let mut inherited = Inherited { steps: read_csv(&self.run.path(file::STEPS))?, ..Inherited::default() };
        // The other two exist where they were asked for.
        let activations = self.run.path(file::ACTIVATIONS);
        if let Some(path) = self.run.tensor_norms() {
            inherited.tensor_norms = read_csv(&path)?;
        }
        if files::is_file(&activations) {
            inherited.activations = read_csv(&activations)?;
        }
        inherited.steps.retain(|row| row.step <= last && metrics.has_row(row.step, steps));
        inherited.tensor_norms.retain(|row| row.step <= last && metrics.tensor_norms_at(row.step));
        // The continuation measures where it starts, because the run before may have ended before it did.
        inherited.activations.retain(|row| row.step < last && metrics.activations_at(row.step, steps));
        Ok(inherited)
    }

    /// Evaluations up to the checkpoint, as far as `experiment` with these tasks asks for them. One of the checkpoint itself that
    /// was not finite, or lacks something, is made again, so that the continuation fails where this run did.
    pub(super) fn evaluations(&self, experiment: &Experiment, tasks: &[Task]) -> Vec<Evaluation> {
        let last = self.checkpoint.step;
        let finite = |e: &Evaluation| e.unanswered.iter().all(|file| file.not_finite == 0);
        let asked = |e: &Evaluation| {
            let paths = evaluated_after(experiment, tasks, e.step);
            let mut kept = e.clone();
            kept.files.retain(|file| paths.contains(&file.path));
            kept.unanswered.retain(|file| paths.contains(&file.path));
            let is_whole = kept.files.len() == paths.len();
            let holds = e.step < last || (e.step == last && is_whole && finite(&kept));
            (holds && !kept.files.is_empty()).then_some(kept)
        };
        self.run.record.evaluations.iter().filter_map(asked).collect()
    }

    /// Copies their files into the new run folder.
    pub(super) fn copy_evaluations(
        &self,
        folder: &Path,
        experiment: &Experiment,
        tasks: &[Task],
    ) -> Result<Vec<Evaluation>, RunError> {
        let evaluations = self.evaluations(experiment, tasks);
        for output in evaluations.iter().flat_map(|e| &e.files) {
            files::copy(&self.run.path(&output.path), &folder.join(&output.path))?;
        }
        Ok(evaluations)
    }
}

/// Holds a run folder for as long as the file lives, so that nobody takes it for abandoned. The trainer inherits it:
/// should the supervisor be killed, the folder is held until the trainer has ended too.
pub(super) fn hold(folder: &Path) -> Result<File, RunError> {
    let file = files::open(&folder.join(file::OPEN))?;
    // A file system without locks only loses this protection.
    let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    let _ = rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty());
    Ok(file)
}

/// A run, which is sealed before if nobody seals it any more.
pub(super) fn sealed(project: &Project, name: &ExperimentName, run: &RunId) -> Result<SealedRun, RunError> {
    match SealedRun::open(project, name, run) {
        Err(RecordError::NotSealed { .. }) => {
            seal(project, name, run)?;
            Ok(SealedRun::open(project, name, run)?)
        }
        other => Ok(other?),
    }
}

/// Seals a run that nobody seals any more, from what its log tells: as it ended, where only its seal was cut short, and else as
/// failed, because its supervisor died.
pub fn seal(project: &Project, name: &ExperimentName, run: &RunId) -> Result<(Record, Digest), RunError> {
    let folder = project.run(name, run);
    let lock = files::open(&folder.join(file::OPEN))?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK) {
        return Err(RunError::StillRunning { run: run.clone() });
    }
    let mut recorder = Recorder::reopen(&folder)?;
    if let Some(sealed) = recorder.finish()? {
        return Ok(sealed);
    }
    let log = Log::read(&folder)?.map_err(|problem| RunError::NothingToResume {
        problem: format!("`{}` of run `{run}` cannot be read: {problem}", file::LOG),
        hint: format!("start a new run: `harness run {name}`"),
    })?;
    let rows: Vec<StepLine> = read_csv(&folder.join(file::STEPS))?;
    let step = rows.last().map_or(0, |row| row.step);
    let first_step = log.told.started.as_ref().map_or(0, |started| started.first_step);
    let wall_time_s = record::lived_s(&log.times, first_step, &rows);
    let lived = Ended { exit_code: None, signal: None, failure: None, wall_time_s, cpu_time_s: 0.0 };
    recorder.event("abandoned", serde_json::json!({ "step": step }))?;
    let (mut pruned, mut lost) = (log.pruned, Vec::new());
    for checkpoint in log.told.checkpoints.iter().filter(|checkpoint| !pruned.contains(&checkpoint.step)) {
        let OutputFile { path, sha256, .. } = &checkpoint.file;
        if !Digest::of_file(&folder.join(path)).is_ok_and(|found| found == *sha256) {
            // What is left of it helps nobody, and would not be what the log names.
            files::remove(&folder.join(path))?;
            recorder.event("pruned", serde_json::json!({ "step": checkpoint.step, "path": path }))?;
            lost.push(checkpoint.step);
        }
    }
    pruned.extend(&lost);
    let damage = lost.iter().map(|step| format!("; the checkpoint of step {step} is damaged or missing"));
    let damage: String = damage.collect();
    let message = format!("the supervisor died after step {step}; sealed afterwards, from the log{damage}");
    let mut trainer_log = TrainerLog::of(log.told);
    trainer_log.failure = Some(Failure { kind: "abandoned".to_owned(), message, hint: None, step });
    let rule = "the supervisor died; `training.keep` of the config says what it followed".to_owned();
    trainer_log.retention = Some(Retention { rule, best: Vec::new(), pruned });
    let (told, ended) = trainer_log.close(Some(&lived));
    Ok(recorder.seal(told, ended)?)
}
