//! What a trainer has told of a run, and the record that follows from it: while the run goes on from its messages, and ever
//! after from its log.

use harness_core::contract::{Checkpoint, Closing, Evaluation, Failure, Message, Skipped, Started};
use harness_core::names::RunId;

use crate::format::{Ended, Record, Status, VERSION};

/// What the trainer has told so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// What runs and how.
    pub started: Option<Started>,
    /// Evaluations, in the order they were told.
    pub evaluations: Vec<Evaluation>,
    /// Checkpoints, likewise.
    pub checkpoints: Vec<Checkpoint>,
    /// Steps that changed nothing.
    pub skipped: Vec<Skipped>,
    /// The closing figures of the last job that closed in order.
    pub closing: Option<Closing>,
    /// Whether the last job that was started did all of its steps.
    pub finished: bool,
}

impl Told {
    /// Takes in a message.
    pub fn take(&mut self, message: &Message) {
        match message {
            Message::Started(started) => (self.started, self.finished) = (Some((**started).clone()), false),
            Message::Skipped(skipped) => self.skipped.push(skipped.clone()),
            Message::Evaluation(evaluation) => self.evaluations.push(evaluation.clone()),
            Message::Checkpoint(checkpoint) => self.checkpoints.push(checkpoint.clone()),
            Message::Finished(closing) => (self.finished, self.closing) = (true, Some(closing.clone())),
            Message::Stopped(closing) => self.closing = Some(closing.clone()),
            Message::Step(_) | Message::TensorNorms { .. } | Message::Activations { .. } | Message::Failed(_) => {}
        }
    }

    /// How a run has ended that has told this, with or without a failure.
    pub fn status(&self, failure: Option<&Failure>) -> Status {
        match (failure, self.finished, &self.closing) {
            (None, true, _) => Status::Completed,
            (None, false, Some(_)) => Status::Interrupted,
            _ => Status::Failed,
        }
    }

    /// The record of a run that has told this and ended so.
    pub fn record(self, run: RunId, ended: Ended) -> Record {
        Record {
            format: VERSION,
            run,
            status: ended.status,
            failure: ended.failure,
            exit_code: ended.exit_code,
            signal: ended.signal,
            ended_at: ended.ended_at,
            started: self.started,
            evaluations: self.evaluations,
            checkpoints: self.checkpoints,
            retention: ended.retention,
            skipped: self.skipped,
            closing: self.closing,
            resources: ended.resources,
            files: ended.files,
        }
    }
}
