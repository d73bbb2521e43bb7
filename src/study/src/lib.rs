//! Changes as proposals: with which seeds they are run, and what may be said of them afterwards.
//!
//! Comes in: experiments as they were registered, and their sealed runs. Goes out: the seeds that are still to be run, and a
//! [`Decision`]. It must never have: the same as `analyse`.
//!
//! [`seeds`] says which seeds, [`family`] tests all changes of one baseline together, [`mod@decide`] holds a change against what
//! it was expected to do; [`evidence`] reads each run once for all of them. [`mod@tree`] shows every experiment under the one that
//! it extends ([`lineage`] orders them); [`adoption`] keeps what was adopted or rejected and why, [`mod@leave_one_out`] asks what of
//! it still helps, [`mod@diff`] in what two differ, [`mod@variance`] how much seeds differ. [`ladder`] predicts a full size from
//! small ones. [`ledger`] adds up what was spent, [`budget`] holds it against limits, [`design`] says what so many seeds can find,
//! [`next`] what is worth doing now, [`mod@outstanding`] which registered seeds nobody has run. [`points`] says which trials a
//! study has, [`trials`] what became of them, [`checks`] what that shows and what speaks against it, [`close`] what stays of a
//! study that is over.

pub mod adoption;
pub mod amendments;
pub mod budget;
pub mod checks;
pub mod close;
pub mod decide;
pub mod design;
pub mod diff;
pub mod evidence;
pub mod family;
pub mod ladder;
pub mod leave_one_out;
pub mod ledger;
pub mod lineage;
pub mod next;
pub mod outstanding;
pub mod points;
pub mod seeds;
pub mod tree;
pub mod trials;
pub mod variance;

use harness_core::config::ConfigError;
use harness_core::files::FileError;
use harness_core::names::ExperimentName;
use harness_record::RecordError;

pub use adoption::{Adoption, adoptions};
pub use decide::{Action, Decision, Verdict, decide, decide_by, doubts};
pub use diff::{Diff, diff};
pub use evidence::Evidence;
pub use tree::{Branch, tree};
pub use variance::{Variance, variance};

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
    /// Two experiments cannot be compared.
    #[error(transparent)]
    Compare(#[from] harness_analyse::CompareError),
    /// Git cannot answer.
    #[error(transparent)]
    Git(#[from] harness_record::git::GitError),
    /// Nothing is known of how a metric varies.
    #[error(
        "the spread of `{metric}` over the seeds of `{experiment}` is not known: {why}\nhint: `harness seeds {experiment} --seeds 3` runs it with three seeds; `harness show {experiment} --values` lists its metrics"
    )]
    NoSpread {
        /// The metric.
        metric: String,
        /// The baseline.
        experiment: ExperimentName,
        /// Why.
        why: &'static str,
    },
    /// The experiment has no study.
    #[error(
        "experiments/{0} has no study.toml\nhint: `harness study new {0} --vary KEY=VALUE,VALUE` writes one, with the nuisance parameters that so many trials can tune"
    )]
    NoStudy(ExperimentName),
    /// What a study found cannot be read.
    #[error(
        "experiments/{name}/close.toml cannot be read: {problem}\nhint: `git checkout` restores it, if a commit has it"
    )]
    Close {
        /// The study.
        name: ExperimentName,
        /// Why.
        problem: String,
    },
    /// The values of a trial do not go together.
    #[error(
        "trial {trial} cannot be run: {error}\nhint: narrow a range in study.toml so that all combinations can be run"
    )]
    Trial {
        /// Its number.
        trial: u64,
        /// Why.
        error: Box<ConfigError>,
    },
    /// A file of ours cannot be read.
    #[error("`{path}` cannot be read: {problem}\nhint: `git log -p {path}` shows how it was written")]
    Unreadable {
        /// Its path relative to the project.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no stack.
    #[error(
        "no change that `{0}` descends from was adopted\nhint: `harness adopt CHANGE --over BASE` adopts one; `harness tree` shows what was"
    )]
    NothingAdopted(ExperimentName),
    /// A change cannot be taken out of a stack.
    #[error("`{change}` cannot be left out of `{name}`: {why}\nhint: write that experiment by hand")]
    CannotLeaveOut {
        /// The stack.
        name: ExperimentName,
        /// The change.
        change: ExperimentName,
        /// Why.
        why: String,
    },
    /// The experiment claims nothing.
    #[error(
        "`{0}` states no expectation, so there is nothing to decide\nhint: state `[expect]` (metric, direction, at_least) and `seeds` in experiments/{0}/experiment.toml and commit it before its runs; `harness compare` holds any two experiments against each other"
    )]
    NothingExpected(ExperimentName),
    /// The experiment claims something that its runs did not have before them.
    #[error(
        "`{0}` states an expectation that its first run to confirm did not have, so its runs decide nothing of it\nhint: state it in a new experiment with `extends = \"{0}\"`, commit it, and run that"
    )]
    ExpectedAfterwards(ExperimentName),
}

impl StudyError {
    /// Whether nothing was registered that could be decided.
    pub fn is_undecidable(&self) -> bool {
        matches!(self, StudyError::NothingExpected(_) | StudyError::ExpectedAfterwards(_))
    }
}
