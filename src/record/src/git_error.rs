//! Why git could not answer.

use std::path::PathBuf;

/// Why git could not answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no repository.
    #[error("`{}` is not inside a git repository\nhint: run `git init`, add the project's files and commit them; each run records its commit", path.display())]
    NoRepository {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is a repository without working files.
    #[error("`{}` is a bare repository: it has no working files\nhint: clone it, and work in the clone", path.display())]
    Bare {
        /// The repository.
        path: PathBuf,
    },
    /// There is a repository, and it is not read.
    #[error("the repository at `{}` cannot be read: {problem}\nhint: {hint}", path.display())]
    Refused {
        /// The repository.
        path: PathBuf,
        /// What libgit2 says.
        problem: String,
        /// What can be done.
        hint: String,
    },
    /// Nothing has been committed.
    #[error("the repository has no commit yet\nhint: commit the project's files first; each run records its commit")]
    NoCommit,
    /// A commit that is not here.
    #[error(
        "commit `{commit}` is not in this repository\nhint: `git fetch --unshallow` or fetch the branch that holds it"
    )]
    UnknownCommit {
        /// The commit.
        commit: String,
    },
    /// A commit that could not be checked out beside the working tree.
    #[error("commit `{commit}` could not be checked out at `{}`: {problem}", path.display())]
    Snapshot {
        /// The commit.
        commit: String,
        /// Where.
        path: PathBuf,
        /// What git says.
        problem: String,
    },
    /// A remote did not say what it holds.
    #[error("the remote `{remote}` could not be asked: {problem}\nhint: look at `git ls-remote {remote}`")]
    Remote {
        /// The remote.
        remote: String,
        /// What git says.
        problem: String,
    },
    /// Something in the repository is damaged, or made to be more than can be read.
    #[error("{what} of the repository: {problem}\nhint: `git fsck` names what is damaged; a fresh clone has it whole")]
    Broken {
        /// What.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Anything else.
    #[error("git: {0}")]
    Git(#[from] git2::Error),
}
