//! Why runs could not be handed to a cluster, looked at there or brought back, with what to do about it.

use std::path::PathBuf;

use harness_core::config::ConfigError;
use harness_core::files::FileError;
use harness_record::RecordError;
use harness_record::git::GitError;

use crate::run::RunError;

/// Why runs could not be handed to a cluster, looked at there or brought back.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A recipe was refused.
    #[error(transparent)]
    Recipe(#[from] harness_corpus::RecipeError),
    /// Git could not answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A run was refused.
    #[error("{}", .0.without_allowances())]
    Run(#[from] RunError),
    /// A record could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no `cluster.toml`.
    #[error(
        "nothing says what cluster there is: the project has no `cluster.toml`\nhint: `harness submit --init` writes one, with a comment for every key"
    )]
    NoCluster,
    /// Something that is asked for does not go with the cluster.
    #[error("{problem}\nhint: {hint}")]
    Unfit {
        /// What.
        problem: String,
        /// What can be done.
        hint: String,
    },
    /// What a run reads is not ready.
    #[error("{what} `{name}` is not ready, and a node of the cluster makes nothing ready\nhint: {hint}")]
    NotReady {
        /// `corpus` or `task`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The command that makes it ready.
        hint: String,
    },
    /// A program outside is not there.
    #[error("there is no `{program}` on this machine\nhint: {hint}")]
    NoProgram {
        /// The program.
        program: String,
        /// What can be done.
        hint: String,
    },
    /// A program outside failed.
    #[error("`{program}` failed: {said}\nhint: {hint}")]
    Outside {
        /// The program.
        program: String,
        /// The last that it said.
        said: String,
        /// What can be done.
        hint: String,
    },
    /// `harness` on the login node refused or failed.
    #[error("on {host}: {said}")]
    There {
        /// The login node.
        host: String,
        /// What it said, with its hint.
        said: String,
        /// Its exit code.
        exit_code: i32,
    },
    /// A file of a submission is not one that this program reads.
    #[error("`{}` cannot be read: {problem}\nhint: {hint}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
        /// What can be done.
        hint: &'static str,
    },
    /// Nothing was submitted by that name.
    #[error("nothing that was submitted is `{asked}`\nhint: `harness jobs` lists submissions and their tasks")]
    Unknown {
        /// What was asked for.
        asked: String,
    },
}
