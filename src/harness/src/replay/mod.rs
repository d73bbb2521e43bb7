//! What was computed, computed again, and held against the record: windows of the training ([`replay`], level L5), the last
//! evaluation ([`evaluate_again`], L4), or the whole run from its commit ([`reproduce`]).
//!
//! Comes in: a [`harness_record::SealedRun`] and a trainer of the auditor's own. Goes out: what is equal to the bit, what is close, what
//! differs, and what of the machine could be the cause. Run folders are only read; what is computed goes into a folder of the store that
//! is removed again.
//!
//! The same job gives the same bits on the same kind of machine (docs/formats/trainer.md). So where nothing that is recorded of programs,
//! libraries, processor and threads differs, bits are asked for; elsewhere numbers have to be close.

mod build;
mod evaluation;
mod machine;
mod reproduction;
mod rerun;
mod tables;
mod windows;

use harness_core::files::FileError;
use harness_core::scores::TableError;
use harness_record::git::GitError;
use serde::Serialize;

use crate::exit_code;
use crate::run::RunError;

pub use build::{Recipe, build_trainer};
pub use evaluation::{EvaluatedAgain, Part, evaluate_again};
pub use machine::{Setting, Trainer};
pub use reproduction::{Reproduction, reproduce};
pub use windows::{Chosen, Question, Replay, Window, choose, replay};

/// How far numbers of float32 may lie apart where something of the machine differs, as a share of them (of 1, where they are smaller).
const CLOSE: f64 = 1e-3;
/// The same for bfloat16, which has 8 bits of mantissa.
const CLOSE_BF16: f64 = 1e-2;

/// What came of computing something again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every number that was compared has the same bits.
    Identical,
    /// Something of the machine differs, and all numbers are close.
    Close,
    /// They are not what the record says.
    Differs,
    /// It could not be computed.
    NotDone,
}

/// The exit code of an audit that came to these verdicts.
pub fn exit_code_of(verdicts: impl IntoIterator<Item = Verdict>) -> u8 {
    verdicts.into_iter().fold(exit_code::SUCCESS, |code, verdict| match (code, verdict) {
        (exit_code::CONTRADICTION, _) | (_, Verdict::Differs) => exit_code::CONTRADICTION,
        (_, Verdict::NotDone) => exit_code::INCOMPLETE,
        (code, Verdict::Identical | Verdict::Close) => code,
    })
}

/// Why nothing could be computed again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The trainer, its data or its job.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A table of the run could not be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Git could not answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Something that is needed is not here.
    #[error("{problem}\nhint: {hint}")]
    Missing {
        /// What.
        problem: String,
        /// What can be done.
        hint: String,
    },
}

impl ReplayError {
    /// Whether something is missing that could be brought here.
    pub fn is_missing(&self) -> bool {
        matches!(self, ReplayError::Missing { .. } | ReplayError::Run(RunError::DataGone { .. }))
    }
}
