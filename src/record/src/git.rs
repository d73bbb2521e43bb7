//! The repository: which commit is checked out, what differs from it, and what a commit holds.
//!
//! Run folders and the paper never count as changes: a run must not make the next one dirty, and prose does not
//! change what a run computes.

use std::path::{Path, PathBuf};

use git2::{DiffFormat, DiffOptions, ObjectType, Oid, Repository, Status, StatusOptions, TreeWalkMode, TreeWalkResult};
use harness_core::Digest;
use harness_core::build;

/// Why git could not answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no repository.
    #[error("`{}` is not inside a git repository\nhint: run `git init`, add the project's files and commit them; each run records its commit", path.display())]
    NoRepository {
        /// Where it was looked for.
        path: PathBuf,
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
    /// Anything else.
    #[error("git: {0}")]
    Git(#[from] git2::Error),
}

type Result<T> = std::result::Result<T, GitError>;

/// The repository that holds the project.
pub struct Git {
    repository: Repository,
}

/// What is checked out, and what differs from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Commit id.
    pub commit: String,
    /// Tree id.
    pub tree: String,
    /// Branch, unless detached.
    pub branch: Option<String>,
    /// Tracked files that differ, sorted.
    pub changed: Vec<String>,
    /// Files git neither tracks nor ignores, sorted.
    pub untracked: Vec<String>,
    /// URL of `origin` without user or password.
    pub remote: Option<String>,
}

impl State {
    /// Whether anything differs from the commit.
    pub fn is_dirty(&self) -> bool {
        !self.changed.is_empty() || !self.untracked.is_empty()
    }
}

/// Whether changes below this path say nothing about what a run computes.
fn is_apart(path: &str) -> bool {
    let mut parts = path.split('/');
    matches!(
        (parts.next(), parts.next(), parts.next()),
        (Some("report"), _, _) | (Some("experiments"), Some(_), Some("runs" | "probes"))
    )
}

impl Git {
    /// The repository around `path`.
    pub fn discover(path: &Path) -> Result<Self> {
        let no_repository = |_| GitError::NoRepository { path: path.to_owned() };
        let repository = Repository::discover(path).map_err(no_repository)?;
        if repository.is_bare() {
            return Err(GitError::NoRepository { path: path.to_owned() });
        }
        Ok(Git { repository })
    }

    /// The root of the working tree.
    pub fn root(&self) -> &Path {
        self.repository.workdir().expect("bare repositories are refused by `discover`")
    }

    /// What is checked out now.
    pub fn state(&self) -> Result<State> {
        let head = self.repository.head().map_err(|_| GitError::NoCommit)?;
        let commit = head.peel_to_commit()?;
        let mut options = StatusOptions::new();
        options.include_untracked(true).recurse_untracked_dirs(true).include_ignored(false).exclude_submodules(true);
        let (mut changed, mut untracked) = (Vec::new(), Vec::new());
        for entry in self.repository.statuses(Some(&mut options))?.iter() {
            let path = String::from_utf8_lossy(entry.path_bytes()).into_owned();
            if is_apart(&path) {
                continue;
            }
            if entry.status().contains(Status::WT_NEW) { untracked.push(path) } else { changed.push(path) }
        }
        changed.sort();
        untracked.sort();
        let remote = self.repository.find_remote("origin").ok();
        Ok(State {
            commit: commit.id().to_string(),
            tree: commit.tree_id().to_string(),
            branch: if head.is_branch() { head.shorthand().map(str::to_owned) } else { None },
            changed,
            untracked,
            remote: remote.and_then(|r| r.url().map(without_credentials)),
        })
    }

    /// What tracked files have beyond the commit, as a patch that `git apply` takes.
    pub fn patch(&self) -> Result<Vec<u8>> {
        let tree = self.repository.head().map_err(|_| GitError::NoCommit)?.peel_to_tree()?;
        let mut options = DiffOptions::new();
        options.show_binary(true);
        let diff = self.repository.diff_tree_to_workdir_with_index(Some(&tree), Some(&mut options))?;
        let mut patch = Vec::new();
        diff.print(DiffFormat::Patch, |delta, _, line| {
            let path = delta.new_file().path().or(delta.old_file().path());
            let apart = path.is_some_and(|p| is_apart(&p.to_string_lossy()));
            if !apart {
                if matches!(line.origin(), '+' | '-' | ' ') {
                    patch.push(line.origin() as u8);
                }
                patch.extend_from_slice(line.content());
            }
            true
        })?;
        Ok(patch)
    }

    /// The content of a file at a commit; `None` if the commit does not hold it.
    pub fn file_at(&self, commit: &str, path: &str) -> Result<Option<Vec<u8>>> {
        let tree = self.commit(commit)?.tree()?;
        let entry = match tree.get_path(Path::new(path)) {
            Err(e) if e.code() == git2::ErrorCode::NotFound => return Ok(None),
            other => other?,
        };
        Ok(Some(self.repository.find_blob(entry.id())?.content().to_vec()))
    }

    /// The tree id of a commit.
    pub fn tree_of(&self, commit: &str) -> Result<String> {
        Ok(self.commit(commit)?.tree_id().to_string())
    }

    /// Digest of the programs' sources at a commit, comparable with `harness_core::build::Build::source_sha256`; `None` if
    /// the repository holds experiments only.
    pub fn sources_at(&self, commit: &str) -> Result<Option<Digest>> {
        let tree = self.commit(commit)?.tree()?;
        let mut blobs: Vec<(String, Oid)> = Vec::new();
        tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
            let path = format!("{folder}{}", String::from_utf8_lossy(entry.name_bytes()));
            if entry.kind() == Some(ObjectType::Blob) && build::is_source(&path) {
                blobs.push((path, entry.id()));
            }
            TreeWalkResult::Ok
        })?;
        if !blobs.iter().any(|(path, _)| path == "src/trainer/Cargo.toml") {
            return Ok(None);
        }
        let mut files = Vec::new();
        for (path, id) in blobs {
            files.push((path, Digest::of(self.repository.find_blob(id)?.content())));
        }
        Ok(Some(build::source_digest(files)))
    }

    fn commit(&self, commit: &str) -> Result<git2::Commit<'_>> {
        let unknown = || GitError::UnknownCommit { commit: commit.to_owned() };
        let id = Oid::from_str(commit).map_err(|_| unknown())?;
        self.repository.find_commit(id).map_err(|_| unknown())
    }
}

/// `https://user:secret@host/path` becomes `https://host/path`; local paths are not published.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some(("file", _)) => "local".to_owned(),
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or(host);
            format!("{scheme}://{host}/{path}")
        }
        None if url.contains('@') && url.contains(':') => url.to_owned(),
        None => "local".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_are_recorded_without_secrets_or_local_paths() {
        assert_eq!(without_credentials("https://me:token@example.org/a/b.git"), "https://example.org/a/b.git");
        assert_eq!(without_credentials("git@example.org:a/b.git"), "git@example.org:a/b.git");
        assert_eq!(without_credentials("/home/someone/thesis"), "local");
        assert_eq!(without_credentials("file:///home/someone/thesis"), "local");
    }

    #[test]
    fn only_run_folders_and_the_paper_are_apart() {
        assert!(is_apart("experiments/baseline/runs/x/open.json"));
        assert!(is_apart("experiments/baseline/probes/lr-20261123T081500.json"));
        assert!(is_apart("report/sections/data.typ"));
        assert!(!is_apart("experiments/baseline/experiment.toml"));
        assert!(!is_apart("src/core/src/lib.rs"));
    }
}
