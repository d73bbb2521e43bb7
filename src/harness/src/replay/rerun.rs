//! A job that is run once more, beside the records: what it writes goes into a folder of the store that is removed again.

use std::path::{Path, PathBuf};

use harness_core::contract::{Checkpoint, Closing, Evaluation, Failure, Job, Message, Skipped, Started};
use harness_core::files;
use harness_core::scores::StepLine;
use harness_corpus::{Progress, Unit};
use harness_record::{environment, pretty};

use super::ReplayError;
use crate::run::launch::Start;
use crate::run::{Interrupts, RunContext, RunError};

/// What a trainer told of a job.
#[derive(Default)]
pub(super) struct Told {
    pub started: Option<Started>,
    pub steps: Vec<StepLine>,
    pub skipped: Vec<Skipped>,
    pub checkpoints: Vec<Checkpoint>,
    pub evaluations: Vec<Evaluation>,
    pub closing: Option<Closing>,
    pub failure: Option<Failure>,
}

/// A folder for what is computed again, removed when it is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(context: &RunContext) -> Result<Self, ReplayError> {
        let name = format!("replay-{}-{:08x}", environment::now_compact(), environment::entropy());
        let folder = context.project.store().join("drafts").join(name);
        files::create_folder(&folder)?;
        Ok(Scratch(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is a draft like others, which the store clears.
        let _ = files::remove_folder(&self.0);
    }
}

/// Runs a job in `scratch` with so many ranks, at most to the checkpoint after step `until`: there the trainer is ended.
pub(super) fn rerun(
    context: &RunContext,
    (job, ranks): (Job, u32),
    scratch: &Scratch,
    until: Option<u64>,
    interrupts: &Interrupts,
    progress: &mut dyn Progress,
) -> Result<Told, ReplayError> {
    let job = Job { output: scratch.path().to_owned(), ..job };
    let path = scratch.path().join("job.json");
    files::write(&path, pretty(&job).as_bytes())?;
    let start = Start {
        root: context.project.home(),
        job: path,
        folder: scratch.path(),
        ranks,
        threads: job.training.threads,
        deterministic: job.training.deterministic,
        follows: false,
    };
    let (mut told, mut is_there) = (Told::default(), false);
    let ended = context.launcher.launch(&start, interrupts, &mut |message| {
        if is_there {
            return Ok(());
        }
        match message {
            Message::Started(started) => {
                let first = started.first_step;
                let steps = if job.train_shards.is_empty() { 0 } else { until.unwrap_or(job.training.steps) - first };
                progress.begin("computing again", Some(steps), Unit::Items);
                told.started = Some((**started).clone());
            }
            Message::Step(line) => {
                told.steps.push(line.clone());
                progress.advance(1);
            }
            Message::Skipped(skipped) => told.skipped.push(skipped.clone()),
            Message::Checkpoint(checkpoint) => {
                told.checkpoints.push(checkpoint.clone());
                if until == Some(checkpoint.step) {
                    is_there = true;
                    // What comes after it is not asked for.
                    interrupts.force();
                }
            }
            Message::Evaluation(evaluation) => told.evaluations.push(evaluation.clone()),
            Message::Finished(closing) => told.closing = Some(closing.clone()),
            Message::Stopped(_) | Message::Failed(_) | Message::TensorNorms { .. } | Message::Activations { .. } => {}
        }
        Ok(())
    })?;
    progress.end();
    if is_there {
        interrupts.reset();
    } else if interrupts.is_asked() {
        return Err(RunError::Interrupted.into());
    } else {
        told.failure = ended.failure;
    }
    Ok(told)
}
