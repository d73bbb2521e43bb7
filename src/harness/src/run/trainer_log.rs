//! What the trainer has told of a run, and the closing record that follows from it.

use harness_core::contract::{Checkpoint, Closing, Evaluation, Failure, Message, Skipped, Started};
use harness_core::names::RunId;
use harness_record::environment;
use harness_record::format::{self, Record, Resources, Retention, Status};

use super::launch::Ended;

/// What the trainer has told so far.
#[derive(Default)]
pub(super) struct TrainerLog {
    started: Option<Started>,
    evaluations: Vec<Evaluation>,
    checkpoints: Vec<Checkpoint>,
    pub finished: bool,
    pub retention: Option<Retention>,
    skipped: Vec<Skipped>,
    closing: Option<Closing>,
    pub failure: Option<Failure>,
    /// Why it was asked to stop, where that was no person's wish.
    pub stopped_because: Option<Failure>,
    tokens_per_s: Vec<f64>,
}

impl TrainerLog {
    /// Takes in a message.
    pub(super) fn take(&mut self, message: &Message) {
        match message {
            Message::Started(started) => (self.started, self.finished) = (Some((**started).clone()), false),
            Message::Step(line) => self.tokens_per_s.push(line.tokens_per_s),
            Message::Skipped(skipped) => self.skipped.push(skipped.clone()),
            Message::TensorNorms { .. } | Message::Activations { .. } => {}
            Message::Evaluation(evaluation) => self.evaluations.push(evaluation.clone()),
            Message::Checkpoint(checkpoint) => self.checkpoints.push(checkpoint.clone()),
            Message::Finished(closing) => (self.finished, self.closing) = (true, Some(closing.clone())),
            Message::Stopped(closing) => self.closing = Some(closing.clone()),
            Message::Failed(failure) => self.failure = Some(failure.clone()),
        }
    }

    /// The closing record. Without `ended` the trainer's end was not seen.
    pub(super) fn record(self, run: &RunId, ended: Option<&Ended>) -> Record {
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
            failure: self.failure.or(self.stopped_because.filter(|_| status == Status::Interrupted)),
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
