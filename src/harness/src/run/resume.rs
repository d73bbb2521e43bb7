//! Going on from the last checkpoint of a run that did not complete. The earlier record stays as it was sealed; the
//! continuation is a run of its own that names it, and takes over its steps and evaluations up to the checkpoint.

use std::fs::File;
use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::contract::{Checkpoint, Evaluation, Failure, Message};
use harness_core::files;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::scores::{StepLine, read_csv};
use rustix::fs::FlockOperation;

use super::{RunError, Story};
use crate::record::format::{self, Continuation, Open, file};
use crate::record::{self, RecordError, Recorder, SealedRun};

/// The run and checkpoint to go on from.
pub(super) struct Origin {
    run: SealedRun,
    pub checkpoint: Checkpoint,
}

/// The latest run of the experiment, if it did not complete and has a checkpoint that is intact.
pub(super) fn origin(project: &Project, name: &ExperimentName) -> Result<Origin, RunError> {
    let nothing =
        |problem: String| RunError::NothingToResume { problem, hint: format!("start anew: `harness run {name}`") };
    let Some(latest) = record::runs(project, name)?.pop() else {
        return Err(nothing(format!("`{name}` has no run")));
    };
    let run = match SealedRun::open(project, name, &latest) {
        Err(RecordError::NotSealed { .. }) => {
            seal_abandoned(project, name, &latest)?;
            SealedRun::open(project, name, &latest)?
        }
        other => other?,
    };
    if run.record.status == format::Status::Completed {
        return Err(nothing(format!("the latest run of `{name}`, `{latest}`, is complete")));
    }
    let intact = |c: &&Checkpoint| Digest::of_file(&run.path(&c.file.path)).is_ok_and(|found| found == c.file.sha256);
    match run.record.checkpoints.iter().rev().find(intact).cloned() {
        Some(checkpoint) => Ok(Origin { run, checkpoint }),
        None => Err(nothing(format!("run `{latest}` has no intact checkpoint"))),
    }
}

impl Origin {
    /// How the continuation names it.
    pub fn continuation(&self) -> Result<Continuation, RunError> {
        let before = self.inherited_steps()?.last().map_or(0.0, |line| line.wall_time_s);
        let earlier = self.run.open.resumed_from.as_ref().map_or(0, |c| c.wall_time_s);
        Ok(Continuation {
            run: self.run.open.run.clone(),
            root: self.run.root,
            step: self.checkpoint.step,
            checkpoint_sha256: self.checkpoint.file.sha256,
            weights_sha256: self.checkpoint.weights_sha256,
            wall_time_s: earlier + before as u64,
        })
    }

    /// The plan the earlier run followed.
    pub fn open(&self) -> &Open {
        &self.run.open
    }

    /// Refuses a plan that would not go on with the same run.
    pub fn check_same_plan(&self, open: &Open) -> Result<(), RunError> {
        let digests = |open: &Open| open.data.shards.iter().map(|s| (s.split.clone(), s.sha256)).collect::<Vec<_>>();
        let problem = if open.plan.plan_sha256 != self.run.open.plan.plan_sha256 {
            "the config has changed since"
        } else if digests(open) != digests(&self.run.open) {
            "the corpus has changed since"
        } else {
            return Ok(());
        };
        Err(RunError::NothingToResume {
            problem: format!("run `{}` cannot be gone on with: {problem}", self.run.open.run),
            hint: format!("take the change back, or start anew: `harness run {}`", open.experiment),
        })
    }

    /// The checkpoint file.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.run.path(&self.checkpoint.file.path)
    }

    /// Rows of `steps.csv` up to the checkpoint.
    pub fn inherited_steps(&self) -> Result<Vec<StepLine>, RunError> {
        let rows: Vec<StepLine> = read_csv(&self.run.path(file::STEPS))?;
        Ok(rows.into_iter().take_while(|row| row.step <= self.checkpoint.step).collect())
    }

    /// Evaluations up to the checkpoint.
    pub fn evaluations(&self) -> Vec<Evaluation> {
        self.run.record.evaluations.iter().filter(|e| e.step <= self.checkpoint.step).cloned().collect()
    }

    /// Copies their files into the new run folder.
    pub fn copy_evaluations(&self, folder: &Path) -> Result<Vec<Evaluation>, RunError> {
        let evaluations = self.evaluations();
        for output in evaluations.iter().flat_map(|e| &e.files) {
            files::copy(&self.run.path(&output.path), &folder.join(&output.path))?;
        }
        Ok(evaluations)
    }
}

/// Holds a run folder for as long as the file lives, so that nobody takes it for abandoned.
pub(super) fn hold(folder: &Path) -> Result<File, RunError> {
    let file = files::open(&folder.join(file::OPEN))?;
    // A file system without locks only loses this protection.
    let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    Ok(file)
}

/// Seals a run whose supervisor died, as failed, from what its log tells.
fn seal_abandoned(project: &Project, name: &ExperimentName, run: &RunId) -> Result<(), RunError> {
    let folder = project.run(name, run);
    let running = || RunError::NothingToResume {
        problem: format!("run `{run}` is still going on"),
        hint: "wait for it, or stop it with Ctrl-C where it runs".to_owned(),
    };
    let lock = files::open(&folder.join(file::OPEN))?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| running())?;

    let mut recorder = Recorder::reopen(&folder)?;
    let mut story = Story::default();
    let log = files::read_to_string(&folder.join(file::LOG))?;
    for line in log.lines() {
        let Ok(mut event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let mut body = event["body"].take();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("event".to_owned(), event["event"].take());
            if let Ok(message) = serde_json::from_value::<Message>(body) {
                story.take(&message);
            }
        }
    }
    let rows: Vec<StepLine> = read_csv(&folder.join(file::STEPS))?;
    let step = rows.last().map_or(0, |row| row.step);
    let message = format!("the supervisor died after step {step}; sealed when the run was taken up again");
    story.failure = Some(Failure { kind: "abandoned".to_owned(), message, hint: None, step });
    recorder.event("abandoned", serde_json::json!({ "step": step }))?;
    recorder.seal(&story.record(run, None))?;
    Ok(())
}
