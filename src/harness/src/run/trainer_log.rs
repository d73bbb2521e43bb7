//! What the trainer has told of a run, and how the run ended by that.

use harness_core::contract::{Failure, Message, Started};
use harness_record::Told;
use harness_record::format::{self, Resources, Retention, Status};

use super::launch::Ended;

/// What the trainer has told so far.
#[derive(Default)]
pub(super) struct TrainerLog {
    pub told: Told,
    pub retention: Option<Retention>,
    pub failure: Option<Failure>,
    /// Why it was asked to stop, where that was no person's wish.
    pub stopped_because: Option<Failure>,
    /// Steps that it had done when it was last heard of.
    pub step: u64,
    tokens_per_s: Vec<f64>,
}

impl TrainerLog {
    /// What a log has told.
    pub(super) fn of(told: Told) -> Self {
        TrainerLog { told, ..TrainerLog::default() }
    }

    /// Takes in a message.
    pub(super) fn take(&mut self, message: &Message) {
        match message {
            Message::Step(line) => {
                self.step = line.step;
                self.tokens_per_s.push(line.tokens_per_s);
            }
            Message::Failed(failure) => self.failure = Some(failure.clone()),
            other => self.told.take(other),
        }
    }

    /// What the trainer told, and how the run ended. Without `ended` the trainer's end was not seen.
    pub(super) fn close(self, ended: Option<&Ended>) -> (Told, format::Ended) {
        let status = self.told.status(self.failure.as_ref());
        let wall_time_s = ended.map_or(0.0, |e| e.wall_time_s);
        let gpus = self.told.started.as_ref().map_or(0, Started::gpus);
        let closing = self.told.closing.as_ref();
        let energy_j = closing.and_then(|c| c.gpu_energy_j);
        let resources = Resources {
            wall_time_s,
            gpu_time_s: wall_time_s * gpus as f64,
            // Of ranks on other machines the trainer alone knows.
            cpu_time_s: ended.map_or(0.0, |e| e.cpu_time_s).max(closing.and_then(|c| c.cpu_time_s).unwrap_or(0.0)),
            tokens_per_s: (!self.tokens_per_s.is_empty())
                .then(|| harness_statistics::quantile(&self.tokens_per_s, 0.5)),
            energy_j,
            energy_source: match (energy_j, gpus > 0) {
                (Some(_), _) => "counter of the GPU, read by NVML".to_owned(),
                (None, true) => "not measured: the GPU's energy counter could not be read".to_owned(),
                (None, false) => "not measured: this processor's energy was not read".to_owned(),
            },
        };
        let ended = format::Ended {
            status,
            failure: self.failure.or(self.stopped_because.filter(|_| status == Status::Interrupted)),
            exit_code: ended.and_then(|e| e.exit_code),
            signal: ended.and_then(|e| e.signal),
            // These two are known when it is sealed.
            ended_at: String::new(),
            files: Vec::new(),
            retention: self.retention,
            resources,
        };
        (self.told, ended)
    }
}
