//! The time that a machine is lent for. A run stops by itself early enough before its end that its last checkpoint and its
//! seal are in time, by what a step and a checkpoint took in this run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use harness_core::contract::Message;
use harness_record::environment;
use jiff::{SignedDuration, Timestamp};

/// Steps that the longest is taken of: the first ones, which fill caches and compile kernels, say little of later ones.
const LATE_STEPS: usize = 32;
/// Taken for the rate of a checkpoint before there is one: a slow shared file system.
const BYTES_PER_S: f64 = 50e6;
/// What is left over for all else: the end of the trainer, the record, the exit of a script around the program.
const MARGIN: Duration = Duration::from_secs(10);
/// SIGUSR1 so short before the end is taken for its warning: queues signal minutes ahead where they are asked to.
pub(super) const NEAR: SignedDuration = SignedDuration::from_mins(10);

/// Follows a run's messages and says when it has to be asked to stop.
pub(super) struct Deadline {
    ends_at: Timestamp,
    /// When the last message came.
    last: Instant,
    steps: VecDeque<Duration>,
    /// The longest that a checkpoint took.
    checkpoint: Option<Duration>,
    checkpoint_bytes: u64,
    /// Checkpoints that are kept, which the seal reads again.
    kept: u32,
}

impl Deadline {
    /// Of a run whose machine is lent until `ends_at`, and whose checkpoints have so many bytes.
    pub(super) fn new(ends_at: Timestamp, checkpoint_bytes: u64) -> Self {
        let (last, steps) = (Instant::now(), VecDeque::new());
        Deadline { ends_at, last, steps, checkpoint: None, checkpoint_bytes, kept: 0 }
    }

    /// Takes in a message, after which so many checkpoints are kept.
    pub(super) fn take(&mut self, message: &Message, kept: usize) {
        self.took(message, self.last.elapsed());
        self.kept = u32::try_from(kept).unwrap_or(u32::MAX - 1);
        self.last = Instant::now();
    }

    /// Takes in a message that came so long after the one before it.
    fn took(&mut self, message: &Message, duration: Duration) {
        match message {
            Message::Step(_) => {
                self.steps.push_back(duration);
                if self.steps.len() > LATE_STEPS {
                    self.steps.pop_front();
                }
            }
            Message::Checkpoint(_) => self.checkpoint = Some(self.checkpoint.unwrap_or_default().max(duration)),
            _ => {}
        }
    }

    /// When the trainer has to be asked at the latest.
    pub(super) fn stops_at(&self) -> Timestamp {
        let reserve = SignedDuration::try_from(self.reserve()).unwrap_or(SignedDuration::MAX);
        self.ends_at.checked_sub(reserve).unwrap_or(Timestamp::MIN)
    }

    /// The step under way and the next, a checkpoint that takes twice as long as any did, and the seal, which reads back what
    /// was written in half the time.
    fn reserve(&self) -> Duration {
        let step = self.steps.iter().max().copied().unwrap_or_default();
        let guessed = || Duration::from_secs_f64(self.checkpoint_bytes as f64 / BYTES_PER_S);
        let checkpoint = self.checkpoint.unwrap_or_else(guessed);
        step * 2 + checkpoint * 2 + checkpoint * (self.kept + 1) / 2 + MARGIN
    }
}

/// What to say at the start of a run that takes so many seconds, with what is to be said of these, where the machine is not lent for so long.
pub(super) fn too_late(ends_at: Timestamp, seconds: f64, caveat: Option<&str>) -> Option<String> {
    let left_s = ends_at.duration_since(environment::now()).as_secs_f64().max(0.0);
    let hours = |seconds: f64| format!("{:.1} h", seconds / 3600.0);
    (seconds > left_s).then(|| {
        format!(
            "warning: this takes about {}{}, and the time ends in {} (at {ends_at}): the run will stop with a checkpoint before that, \
             and has to be gone on with (`--go-on`)",
            hours(seconds),
            caveat.map_or(String::new(), |caveat| format!(" ({caveat})")),
            hours(left_s)
        )
    })
}

#[cfg(test)]
mod tests {
    use harness_core::Digest;
    use harness_core::contract::{Checkpoint, OutputFile};
    use harness_core::scores::StepLine;

    use super::*;

    #[test]
    fn room_is_left_for_what_this_run_was_seen_to_need() {
        let ends_at: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let mut deadline = Deadline::new(ends_at, 500_000_000);
        let left = |deadline: &Deadline| ends_at.duration_since(deadline.stops_at()).as_secs();
        assert_eq!(left(&deadline), 10 + 25, "a checkpoint is guessed to take 10 s");
        let step = Message::Step(StepLine::default());
        deadline.took(&step, Duration::from_secs(60));
        for _ in 0..LATE_STEPS {
            deadline.took(&step, Duration::from_secs(3));
        }
        assert_eq!(left(&deadline), 10 + 25 + 6, "the first step is forgotten");
        let (digest, path) = (Digest::of(b""), String::new());
        let checkpoint = Message::Checkpoint(Checkpoint {
            step: 1,
            tokens: 1,
            file: OutputFile { path, sha256: digest, size_bytes: 0 },
            weights_sha256: digest,
            order_sha256: digest,
        });
        deadline.took(&checkpoint, Duration::from_secs(4));
        deadline.took(&checkpoint, Duration::from_secs(2));
        deadline.kept = 2;
        assert_eq!(left(&deadline), 10 + 6 + 8 + 6, "the longest of two, twice, and a seal of three");
    }
}
