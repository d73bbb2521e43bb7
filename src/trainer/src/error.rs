//! Why a job ended early, and how that is told: kind, message, hint. One place turns every error of the crate,
//! and every panic of tch (whose plain operators panic on an error of libtorch), into a [`Failure`].

use std::any::Any;

use harness_core::contract::{Failure, VERSION};
use harness_core::files::FileError;
use harness_core::scores::TableError;
use harness_core::shards::ShardError;

/// Everything that can go wrong in the trainer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job asks for something impossible.
    #[error("{problem}")]
    Job {
        /// What is wrong.
        problem: String,
        /// What would work.
        hint: Option<String>,
    },
    /// The tokens or requests cannot be used.
    #[error("{0}")]
    Data(String),
    /// A token shard cannot be used.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A table of requests is malformed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A checkpoint cannot be used.
    #[error("checkpoint `{path}` {problem}")]
    Checkpoint {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
        /// What can be done.
        hint: String,
    },
    /// The loss or the gradient is not a number any more.
    #[error("the {what} of step {step} is {value}; {diagnosis}; {last_checkpoint}")]
    NonFinite {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// The step, from 1.
        step: u64,
        /// `NaN` or `inf`.
        value: f64,
        /// Where numbers were not finite, and what was large before.
        diagnosis: String,
        /// Which checkpoint is the last good one.
        last_checkpoint: String,
    },
    /// What was to be measured, or written, came out as numbers that are not finite.
    #[error("{problem}")]
    NotMeasured {
        /// What is not finite, where, and how much of it.
        problem: String,
        /// What can be done.
        hint: &'static str,
    },
    /// The scores of the model would measure nothing ([`crate::self_test`]).
    #[error("before the evaluation after step {step}: {problem}; nothing was scored")]
    SelfTest {
        /// Optimizer steps done.
        step: u64,
        /// Which test failed, and by how much.
        problem: String,
    },
    /// The device asked for is not usable.
    #[error("{problem}")]
    Device {
        /// What is missing.
        problem: String,
        /// What can be done.
        hint: String,
    },
    /// Another of the ranks that train together does not answer any more.
    #[error("another rank was lost: {0}")]
    Rank(String),
    /// libtorch could not get memory.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// A training pass could not get memory.
    #[error(
        "out of memory in a pass of {sequences} sequences: {problem}; {}",
        fits.map_or("not even a pass of one sequence fits".to_owned(), |most| format!("a pass of {most} fits (tried)"))
    )]
    PassTooLarge {
        /// Sequences of `context_length` tokens of the pass.
        sequences: u32,
        /// What libtorch said.
        problem: String,
        /// The largest divisor of the batch that got through forward and backward.
        fits: Option<u32>,
    },
    /// An evaluation could not get memory.
    #[error("out of memory in an evaluation: {0}")]
    EvaluationTooLarge(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// A mistake in the trainer itself.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The error for a job of another contract version.
    pub fn wrong_version(version: u64) -> Self {
        Error::Job {
            problem: format!("the job has contract version {version}, and this trainer speaks {VERSION}"),
            hint: Some("build `harness` and `harness-trainer` from the same commit".to_owned()),
        }
    }

    /// Sorts an error text of libtorch.
    pub fn from_libtorch(message: String) -> Self {
        let memory = ["out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad_alloc"];
        if memory.iter().any(|sign| message.contains(sign)) {
            Error::OutOfMemory(message)
        } else if ["/gloo/", "NCCL"].iter().any(|sign| message.contains(sign)) {
            Error::Rank(message)
        } else {
            Error::Libtorch(message)
        }
    }

    /// Understands a caught panic: an error of ours ([`crate::native`]), or `tch`'s `unwrap` of an error of libtorch.
    pub fn from_panic(payload: Box<dyn Any + Send>) -> Self {
        let payload = match payload.downcast::<Error>() {
            Ok(error) => return *error,
            Err(payload) => payload,
        };
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic without a message");
        // `Torch("...")` inside is a debug-formatted string: newlines and quotes are escaped.
        match text.split_once("Torch(\"") {
            Some((_, message)) => Error::from_libtorch(first_line(&message.replace("\\n", "\n").replace("\\\"", "\""))),
            None => Error::Internal(first_line(text)),
        }
    }

    /// The short stable word of [`Failure::kind`].
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Job { .. } => "job",
            Error::Data(_) | Error::Shard(_) | Error::Table(TableError::Row { .. }) => "data",
            Error::File(e) | Error::Table(TableError::File(e)) if e.is_disk_full() => "disk_full",
            Error::File(_) | Error::Table(TableError::File(_)) => "data",
            Error::Checkpoint { .. } => "checkpoint",
            Error::NonFinite { .. } | Error::NotMeasured { .. } => "non_finite",
            Error::SelfTest { .. } => "self_test",
            Error::Device { .. } => "device",
            Error::Rank(_) => "rank",
            Error::OutOfMemory(_) | Error::PassTooLarge { .. } | Error::EvaluationTooLarge(_) => "out_of_memory",
            Error::Libtorch(_) | Error::Internal(_) => "internal",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Job { hint, .. } => return hint.clone(),
            Error::Checkpoint { hint, .. } | Error::Device { hint, .. } => hint.as_str(),
            Error::NotMeasured { hint, .. } => hint,
            Error::NonFinite { .. } => {
                "lower `optimizer.learning_rate`, lengthen `schedule.warmup_steps`, or clip harder with \
                 `optimizer.gradient_clip_norm`"
            }
            Error::PassTooLarge { fits: Some(most), .. } => {
                return Some(format!(
                    "set `training.micro_batch_size = {most}`: the result stays the same but for rounding; leave some \
                     room for what else uses the memory"
                ));
            }
            Error::PassTooLarge { fits: None, .. } => "make the model or its context smaller, or find more memory",
            Error::SelfTest { .. } => {
                "the mistake is in the trainer, not in data or config: look at what was changed last in `src/trainer/src/model`, \
                 first at masks, shifts along the positions, and norms over more than the width"
            }
            Error::EvaluationTooLarge(_) => {
                "set `evaluation.batch_size` to fewer sequences at a time: no score changes but for rounding"
            }
            Error::OutOfMemory(_) => {
                "set `training.micro_batch_size` to a smaller divisor of `training.batch_size`: the result stays \
                 the same but for rounding, and the memory for activations shrinks in proportion"
            }
            _ if self.kind() == "disk_full" => {
                "free some space, or write fewer checkpoints with `training.checkpoint_every`; the last checkpoint \
                 is intact"
            }
            Error::Rank(_) => "see what that rank wrote last; `--resume` continues the run from its last checkpoint",
            Error::Internal(_) => "this is a mistake in the trainer; please report it with the job file",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// The closing message of a run that ended by this error after `step` optimizer steps.
    pub fn to_failure(&self, step: u64) -> Failure {
        Failure { kind: self.kind().to_owned(), message: self.to_string(), hint: self.hint(), step }
    }
}

/// The first line: the rest of an error of libtorch is a C++ stack trace.
pub fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
    line.split(" (function ").next().unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::{self, Activation};

    #[test]
    fn a_panic_of_tch_becomes_the_first_line_of_its_cause() {
        let wrong = || tch::Tensor::zeros([2], (tch::Kind::Float, tch::Device::Cpu)).view([3]);
        let payload = std::panic::catch_unwind(wrong).unwrap_err();
        let failure = Error::from_panic(payload).to_failure(7);
        assert_eq!(failure.message, "libtorch: shape '[3]' is invalid for input of size 2");
        assert_eq!((failure.kind.as_str(), failure.step), ("internal", 7));
    }

    #[test]
    fn out_of_memory_is_recognized_and_has_a_way_out() {
        let float = (tch::Kind::Float, tch::Device::Cpu);
        let of_tch = || tch::Tensor::zeros([1 << 46], float);
        // No number is read: one of them stands for all.
        let of_ours = || native::activated(Activation::Gelu, &tch::Tensor::zeros([1], float).expand([1 << 46], false));
        for payload in [std::panic::catch_unwind(of_tch).unwrap_err(), std::panic::catch_unwind(of_ours).unwrap_err()] {
            let failure = Error::from_panic(payload).to_failure(0);
            assert_eq!(failure.kind, "out_of_memory", "{}", failure.message);
            assert!(failure.hint.unwrap().contains("micro_batch_size"));
        }
    }
}
