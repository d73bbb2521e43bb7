//! Changes as proposals: with which seeds they are run, and what may be said of them afterwards.
//!
//! Comes in: experiments as they were registered, and their sealed runs. Goes out: the seeds that are still to be run, and a
//! [`Decision`]. It must never have: the same as `analyse`.
//!
//! [`seeds`] says which seeds, [`family`] tests all changes of one baseline together, [`mod@decide`] holds a change against what
//! it was expected to do.

pub mod decide;
pub mod family;
pub mod seeds;

use harness_core::config::ConfigError;
use harness_core::files::FileError;
use harness_core::names::ExperimentName;
use harness_record::RecordError;

pub use decide::{Action, Decision, Verdict, decide};

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// An experiment cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A run cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A run cannot be analysed.
    #[error(transparent)]
    Analyse(#[from] harness_analyse::AnalyseError),
    /// The experiment claims nothing.
    #[error(
        "`{0}` states no expectation, so there is nothing to decide\nhint: state `[expect]` (metric, direction, at_least) and `seeds` in experiments/{0}/experiment.toml and commit it before its runs; `harness compare` holds any two experiments against each other"
    )]
    NothingExpected(ExperimentName),
}
