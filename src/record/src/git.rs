//! The repository: which commit is checked out, what differs from it, and what a commit holds.
//!
//! A project is a folder with `experiments/` in it: the repository itself, or a folder of a larger one. Paths that go in
//! and out are relative to the project, and what changes elsewhere in a larger repository is not looked at.
//!
//! Run folders, notes, the budget and the paper never count as changes: a run must not make the next one dirty, and neither
//! prose nor limits change what a run computes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use git2::{
    AttrCheckFlags, DiffFormat, DiffOptions, ErrorCode, FileMode, IndexEntryExtendedFlag, Oid, Repository, Sort,
    Status, StatusOptions, Tree,
};
use harness_core::Digest;
use harness_core::build;
use harness_core::files;
use harness_core::names::{ExperimentName, RunId};
use serde::Serialize;

pub use crate::git_error::GitError;
use crate::objects::{self, Blob, Objects};

pub(crate) type Result<T> = std::result::Result<T, GitError>;

/// The repository that holds the project.
pub struct Git {
    repository: Repository,
    objects: Objects,
    project: PathBuf,
    /// The project's folder in the repository: empty, or a path that ends in `/`.
    prefix: String,
    /// What [`Git::latest_until`] found: seconds, and the commit.
    latest: RefCell<BTreeMap<Oid, (i64, Oid)>>,
    /// What [`Git::last_run_at`] found, by folders of experiments.
    last_runs: RefCell<BTreeMap<Oid, Option<RunId>>>,
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

/// How to get from one commit to another, as far as some folders go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Files that differ, sorted.
    pub files: Vec<String>,
    /// Commits that changed them and that only the first commit has behind it, latest first.
    pub only_first: Vec<Titled>,
    /// Those that only the second has.
    pub only_second: Vec<Titled>,
}

/// A commit with its title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Titled {
    /// Its id.
    pub commit: String,
    /// The first line of its message.
    pub title: String,
}

/// A file as a commit left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The commit.
    pub commit: String,
    /// When it was committed, as its author's machine says.
    pub at: jiff::Timestamp,
    /// The first line of its message.
    pub title: String,
    /// The content.
    pub content: Vec<u8>,
}

/// A file as a commit holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFile {
    /// Relative to the project.
    pub path: String,
    /// The content.
    pub content: Vec<u8>,
    /// Whether it is a program.
    pub is_executable: bool,
}

/// What a commit holds of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The same content, or the same text with other line ends, which is what `core.autocrlf` makes of it.
    Same,
    /// Other content.
    Other,
    /// A filter of git (`filter=` in `.gitattributes`, such as Git LFS) stands between the file and the commit.
    Filtered,
    /// Nothing.
    Nothing,
}

/// Whether changes below this path say nothing about what a run computes.
fn is_apart(path: &str) -> bool {
    let mut parts = path.split('/');
    matches!(
        (parts.next(), parts.next(), parts.next()),
        (Some("report"), _, _)
            | (Some("cluster.toml"), None, None)
            | (Some("experiments"), Some("budget.toml"), None)
            | (Some("experiments"), Some(_), Some("runs" | "probes" | "notes.md"))
    )
}

impl Git {
    /// The repository around `path`, and in it the nearest folder from `path` upwards that holds `experiments/`; if there
    /// is none, the repository as a whole.
    pub fn discover(path: &Path) -> Result<Self> {
        let start = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        objects::check_files(&start)?;
        let repository = Repository::discover(path).map_err(|error| match error.code() {
            ErrorCode::NotFound => GitError::NoRepository { path: path.to_owned() },
            _ => refusal(path, error),
        })?;
        let Some(root) = repository.workdir().map(|root| root.components().as_path().to_owned()) else {
            return Err(GitError::Bare { path: repository.path().to_owned() });
        };
        let within = start.ancestors().take_while(|folder| folder.starts_with(&root));
        let project = within.filter(|folder| folder.join("experiments").is_dir()).map(Path::to_owned).next();
        let project = project.unwrap_or_else(|| root.clone());
        let below = project.strip_prefix(&root).unwrap_or(Path::new(""));
        let prefix = below.components().map(|part| format!("{}/", part.as_os_str().to_string_lossy())).collect();
        let objects = Objects::of(&repository)?;
        Ok(Git { repository, objects, project, prefix, latest: RefCell::default(), last_runs: RefCell::default() })
    }

    /// The folder of the project.
    pub fn root(&self) -> &Path {
        &self.project
    }

    /// The repository with `commit` checked out at `folder`, beside the working tree. What is there already is taken if it is
    /// still as the commit holds it, and made anew otherwise.
    pub fn snapshot(&self, commit: &str, folder: &Path) -> Result<Self> {
        let project = self.project_in(folder);
        let is_ours = |git: &Git| {
            let same = |one: Option<&Path>, other: &Path| {
                one.and_then(|one| one.canonicalize().ok())
                    .is_some_and(|one| other.canonicalize().is_ok_and(|o| o == one))
            };
            same(git.repository.workdir(), folder)
                && same(Some(git.repository.commondir()), self.repository.commondir())
                && git.state().is_ok_and(|state| state.commit == commit && !state.is_dirty())
        };
        if let Some(git) = Git::discover(&project).ok().filter(is_ours) {
            return Ok(git);
        }
        self.remove_snapshot(folder);
        let failed =
            |problem: String| GitError::Snapshot { commit: commit.to_owned(), path: folder.to_owned(), problem };
        let mut add = self.worktree_command(&["add", "--quiet", "--force", "--detach"]);
        let output = add.arg(folder).arg(commit).output().map_err(|e| failed(format!("`git` did not start: {e}")))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Git::discover(&project)
    }

    /// The folder of the project in a checkout at `folder`.
    pub fn project_in(&self, folder: &Path) -> PathBuf {
        folder.join(&self.prefix)
    }

    /// Removes what [`Self::snapshot`] checked out, whatever state it is in.
    pub fn remove_snapshot(&self, folder: &Path) {
        let _ = self.worktree_command(&["remove", "--force", "--force"]).arg(folder).output();
        let _ = files::remove_folder(folder);
        let _ = self.worktree_command(&["prune"]).output();
    }

    /// `git worktree`, which libgit2 cannot do without making a branch; no hook of the repository runs.
    fn worktree_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(["-c", "core.hooksPath=/dev/null", "worktree"]).args(arguments).current_dir(&self.project);
        command
    }

    /// Whether this is the folder of its project.
    pub fn is_at(&self, folder: &Path) -> bool {
        folder.canonicalize().is_ok_and(|folder| folder == self.project)
    }

    /// What is checked out now.
    pub fn state(&self) -> Result<State> {
        let head = self.head()?;
        let commit = self.tip_of(&head)?;
        let mut options = StatusOptions::new();
        options.include_untracked(true).recurse_untracked_dirs(true).include_ignored(false).exclude_submodules(true);
        if !self.prefix.is_empty() {
            options.pathspec(&self.prefix).disable_pathspec_match(true);
        }
        let index = self.repository.index().map_err(|e| refusal(&self.project, e))?;
        // A sparse checkout leaves files out; to git that is no change.
        let is_left_out = |path: &str| {
            let entry = index.get_path(Path::new(path), 0);
            entry.is_some_and(|entry| {
                IndexEntryExtendedFlag::from_bits_truncate(entry.flags_extended).is_skip_worktree()
            })
        };
        let (mut changed, mut untracked) = (Vec::new(), Vec::new());
        for entry in self.repository.statuses(Some(&mut options)).map_err(|e| refusal(&self.project, e))?.iter() {
            let path = String::from_utf8_lossy(entry.path_bytes()).into_owned();
            if entry.status() == Status::WT_DELETED && is_left_out(&path) {
                continue;
            }
            let Some(path) = path.strip_prefix(&self.prefix).filter(|path| !is_apart(path)) else { continue };
            let list = if entry.status().contains(Status::WT_NEW) { &mut untracked } else { &mut changed };
            list.push(path.to_owned());
        }
        self.drop_clean_by_filter(&mut changed);
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

    /// Takes out what git itself calls clean: libgit2 runs no filters, so that a file which goes through one (Git LFS)
    /// looks changed to it as soon as its time is another.
    fn drop_clean_by_filter(&self, changed: &mut Vec<String>) {
        let filtered: Vec<String> = changed.iter().filter(|path| self.has_filter(path)).cloned().collect();
        if filtered.is_empty() {
            return;
        }
        let mut status = Command::new("git");
        status.args([
            "--no-optional-locks",
            "--literal-pathspecs",
            "status",
            "--porcelain",
            "-z",
            "--no-renames",
            "--",
        ]);
        let output = status.args(&filtered).current_dir(&self.project).output();
        let Ok(output) =
            output.map_err(drop).and_then(|output| if output.status.success() { Ok(output) } else { Err(()) })
        else {
            return;
        };
        let listed = String::from_utf8_lossy(&output.stdout);
        let dirty: BTreeSet<&str> =
            listed.split('\0').filter_map(|line| line.get(3..)?.strip_prefix(&self.prefix)).collect();
        changed.retain(|path| dirty.contains(path.as_str()) || !filtered.contains(path));
    }

    fn has_filter(&self, path: &str) -> bool {
        let path = format!("{}{path}", self.prefix);
        let filter = self.repository.get_attr(Path::new(&path), "filter", AttrCheckFlags::FILE_THEN_INDEX);
        filter.is_ok_and(|filter| filter.is_some())
    }

    /// What tracked files have beyond the commit, as a patch that `git apply` takes, whatever git's configuration says
    /// about patches for people.
    pub fn patch(&self) -> Result<Vec<u8>> {
        let tree = self.head()?.peel_to_tree()?;
        let mut options = DiffOptions::new();
        options.show_binary(true).id_abbrev(40).context_lines(3).old_prefix("a").new_prefix("b");
        if !self.prefix.is_empty() {
            options.pathspec(&self.prefix).disable_pathspec_match(true);
        }
        let diff = self.repository.diff_tree_to_workdir_with_index(Some(&tree), Some(&mut options))?;
        let mut patch = Vec::new();
        diff.print(DiffFormat::Patch, |delta, _, line| {
            let path = delta.new_file().path().or(delta.old_file().path());
            let apart = path.is_some_and(|p| p.to_string_lossy().strip_prefix(&self.prefix).is_none_or(is_apart));
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

    /// The commit that a name stands for: a branch, a tag, the first digits of a commit, `HEAD~2`.
    pub fn resolve(&self, name: &str) -> Result<String> {
        let unknown = |_| GitError::UnknownCommit { commit: name.to_owned() };
        let object = self.repository.revparse_single(name).map_err(unknown)?;
        Ok(object.peel_to_commit().map_err(unknown)?.id().to_string())
    }

    /// The content of a file at a commit; `None` if the commit does not hold it.
    pub fn file_at(&self, commit: &str, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(&self.commit(commit)?, path)? else { return Ok(None) };
        Ok(Some(self.objects.content(&self.repository, entry)?))
    }

    /// Whether a commit holds this content of a file. No filter is run: that would execute what the repository names.
    pub fn held_at(&self, commit: &str, path: &str, content: &[u8]) -> Result<Held> {
        Ok(match self.file_at(commit, path)? {
            None => Held::Nothing,
            Some(held) if is_same_text(&held, content) => Held::Same,
            Some(_) => {
                objects::check_attributes(&self.project, path)?;
                if self.has_filter(path) { Held::Filtered } else { Held::Other }
            }
        })
    }

    /// Every content that a file had on the way to a commit, oldest first. What a merge brought counts as of the merge.
    pub fn versions_of(&self, tip: &str, path: &str) -> Result<Vec<Version>> {
        let mut walk = self.repository.revwalk()?;
        walk.simplify_first_parent()?;
        let tip = self.commit(tip)?.id();
        self.objects.history(&self.repository, tip)?;
        walk.push(tip)?;
        let mut versions: Vec<(Oid, Version)> = Vec::new();
        for id in walk {
            let commit = self.repository.find_commit(id?)?;
            let Some(blob) = self.entry(&commit, path)? else { continue };
            // The oldest commit with a content is the one that made it.
            versions.pop_if(|(later, _)| *later == blob);
            let version = Version {
                commit: commit.id().to_string(),
                at: timestamp(commit.time().seconds()),
                title: commit.summary().unwrap_or_default().to_owned(),
                content: self.objects.content(&self.repository, blob)?,
            };
            versions.push((blob, version));
        }
        Ok(versions.into_iter().rev().map(|(_, version)| version).collect())
    }

    /// What lies between two commits in these folders and files of the project.
    pub fn way(&self, first: &str, second: &str, paths: &[&str]) -> Result<Way> {
        let commits = [self.commit(first)?, self.commit(second)?];
        let diff = self.diff_in(Some(&commits[0].tree()?), &commits[1].tree()?, paths)?;
        let mut files: Vec<String> = diff
            .deltas()
            .filter_map(|delta| delta.new_file().path().or(delta.old_file().path()).map(|p| p.display().to_string()))
            .map(|path| path.strip_prefix(&self.prefix).unwrap_or(&path).to_owned())
            .collect();
        files.sort();
        let [only_first, only_second] =
            [(&commits[0], &commits[1]), (&commits[1], &commits[0])].map(|(of, without)| -> Result<Vec<Titled>> {
                self.objects.history(&self.repository, of.id())?;
                let mut walk = self.repository.revwalk()?;
                walk.set_sorting(Sort::TIME | Sort::TOPOLOGICAL)?;
                walk.push(of.id())?;
                walk.hide(without.id())?;
                let mut titled = Vec::new();
                for id in walk {
                    let commit = self.repository.find_commit(id?)?;
                    // A merge is told by the commits that it brings.
                    let parent = commit.parents().next().map(|parent| parent.tree()).transpose()?;
                    let is_merge = commit.parent_count() > 1;
                    if !is_merge && self.diff_in(parent.as_ref(), &commit.tree()?, paths)?.deltas().len() > 0 {
                        let title = commit.summary().unwrap_or_default().to_owned();
                        titled.push(Titled { commit: commit.id().to_string(), title });
                    }
                }
                Ok(titled)
            });
        Ok(Way { files, only_first: only_first?, only_second: only_second? })
    }

    fn diff_in(&self, old: Option<&Tree>, new: &Tree, paths: &[&str]) -> Result<git2::Diff<'_>> {
        let mut options = DiffOptions::new();
        options.disable_pathspec_match(true);
        for path in paths {
            options.pathspec(format!("{}{path}", self.prefix));
        }
        Ok(self.repository.diff_tree_to_tree(old, Some(new), Some(&mut options))?)
    }

    /// The tree id of a commit.
    pub fn tree_of(&self, commit: &str) -> Result<String> {
        Ok(self.commit(commit)?.tree_id().to_string())
    }

    /// Whether a commit is another one or comes after it.
    pub fn descends(&self, commit: &str, from: &str) -> Result<bool> {
        let (commit, from) = (self.commit(commit)?.id(), self.commit(from)?.id());
        Ok(commit == from || self.repository.graph_descendant_of(commit, from)?)
    }

    /// The branches and tags of a remote, each with its commit, as it answers now. `git` asks, with the user's own keys; it never waits
    /// for a password.
    pub fn references(&self, remote: &str) -> Result<Vec<(String, String)>> {
        let failed = |problem: String| GitError::Remote { remote: remote.to_owned(), problem };
        let mut command = Command::new("git");
        command.args(["ls-remote", "--quiet", "--refs", "--", remote]).current_dir(&self.project);
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        let output = command.output().map_err(|error| failed(format!("`git` did not start: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(failed(said.lines().next().unwrap_or("it did not say why").to_owned()));
        }
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        let rows = listed.lines().filter_map(|line| line.split_once('\t'));
        Ok(rows.map(|(commit, reference)| (reference.to_owned(), commit.to_owned())).collect())
    }

    /// When a commit was made, as it says itself: the later of when it was written and when it was committed.
    pub fn time_of(&self, commit: &str) -> Result<jiff::Timestamp> {
        let commit = self.commit(commit)?;
        Ok(timestamp(commit.time().seconds().max(commit.author().when().seconds())))
    }

    /// The latest time at which one of the commits up to `commit` says that it was committed, and which.
    pub fn latest_until(&self, commit: &str) -> Result<(jiff::Timestamp, String)> {
        let tip = self.commit(commit)?.id();
        let mut latest = self.latest.borrow_mut();
        let mut left = vec![tip];
        while let Some(&id) = left.last() {
            objects::check_count(latest.len() + left.len())?;
            let commit = if latest.contains_key(&id) { None } else { self.objects.commit(&self.repository, id)? };
            let Some(commit) = commit else {
                // A shallow clone ends before the first commit.
                latest.entry(id).or_insert((i64::MIN, id));
                left.pop();
                continue;
            };
            let waiting: Vec<Oid> = commit.parent_ids().filter(|parent| !latest.contains_key(parent)).collect();
            if waiting.is_empty() {
                let before = commit.parent_ids().map(|parent| latest[&parent]);
                let own = (commit.time().seconds(), id);
                let last = before.fold(own, |last, other| if other.0 > last.0 { other } else { last });
                latest.insert(id, last);
                left.pop();
            }
            left.extend(waiting);
        }
        let (seconds, of) = latest[&tip];
        Ok((timestamp(seconds), of.to_string()))
    }

    /// The last run, by its name, of all that a commit holds.
    pub fn last_run_at(&self, commit: &str) -> Result<Option<RunId>> {
        let Some(experiments) = self.entry(&self.commit(commit)?, "experiments")? else { return Ok(None) };
        // What is no folder holds no run.
        let folder = |id: Oid| self.objects.tree(&self.repository, id).ok();
        let mut last_runs = self.last_runs.borrow_mut();
        let mut last = None;
        for experiment in folder(experiments).iter().flat_map(|folder| folder.iter()) {
            let of_experiment = last_runs.entry(experiment.id()).or_insert_with(|| {
                let runs = folder(experiment.id())?.get_name("runs").and_then(|runs| folder(runs.id()))?;
                runs.iter().filter_map(|run| run.name()?.parse::<RunId>().ok()).max()
            });
            last = last.max(of_experiment.clone());
        }
        Ok(last)
    }

    /// Whether a commit holds a run.
    pub fn holds_run(&self, commit: &str, experiment: &ExperimentName, run: &RunId) -> Result<bool> {
        Ok(self.entry(&self.commit(commit)?, &format!("experiments/{experiment}/runs/{run}"))?.is_some())
    }

    /// Who wrote a commit.
    pub fn author_of(&self, commit: &str) -> Result<String> {
        let commit = self.commit(commit)?;
        Ok(String::from_utf8_lossy(commit.author().name_bytes()).into_owned())
    }

    /// Every run that a commit of the current branch ever held, with the experiment that held it and the last such commit.
    pub fn runs_ever(&self) -> Result<BTreeMap<RunId, (ExperimentName, String)>> {
        let tip = self.tip_of(&self.head()?)?.id();
        self.objects.history(&self.repository, tip)?;
        let mut walk = self.repository.revwalk()?;
        walk.set_sorting(Sort::TIME | Sort::TOPOLOGICAL)?;
        walk.push(tip)?;
        let folder = |id: Oid| self.objects.tree(&self.repository, id);
        let (mut seen, mut ever) = (BTreeSet::new(), BTreeMap::new());
        for commit in walk {
            let commit = self.repository.find_commit(commit?)?;
            let Some(experiments) = self.entry(&commit, "experiments")? else { continue };
            if !seen.insert(experiments) {
                continue;
            }
            let Ok(experiments) = folder(experiments) else { continue };
            for experiment in &experiments {
                let Some(name) = experiment.name().and_then(|name| name.parse::<ExperimentName>().ok()) else {
                    continue;
                };
                // Most folders are as another commit held them.
                if !seen.insert(experiment.id()) {
                    continue;
                }
                let Ok(held) = folder(experiment.id()) else { continue };
                let Some(runs) = held.get_name("runs").map(|runs| runs.id()) else { continue };
                let (true, Ok(runs)) = (seen.insert(runs), folder(runs)) else { continue };
                for run in runs.iter().filter_map(|run| run.name()?.parse::<RunId>().ok()) {
                    ever.entry(run).or_insert_with(|| (name.clone(), commit.id().to_string()));
                }
            }
        }
        Ok(ever)
    }

    /// Digest of the programs' sources at a commit, comparable with `harness_core::build::Build::source_sha256`; `None` if
    /// the project holds experiments only.
    pub fn sources_at(&self, commit: &str) -> Result<Option<Digest>> {
        let commit = self.commit(commit)?;
        let mut blobs: Vec<(String, Oid)> = Vec::new();
        for file in ["Cargo.toml", "Cargo.lock"] {
            blobs.extend(self.entry(&commit, file)?.map(|id| (file.to_owned(), id)));
        }
        if let Some(sources) = self.entry(&commit, "src")? {
            let below = self.objects.files_below(&self.repository, sources, "src/")?;
            blobs.extend(below.into_iter().map(|blob| (blob.path, blob.id)));
        }
        blobs.retain(|(path, _)| build::is_source(path));
        if !blobs.iter().any(|(path, _)| path == "src/trainer/Cargo.toml") {
            return Ok(None);
        }
        let mut files = Vec::new();
        for (path, id) in blobs {
            files.push((path, Digest::of(&self.objects.content(&self.repository, id)?)));
        }
        Ok(Some(build::source_digest(files)))
    }

    /// The wanted files of the project at a commit, sorted by path. A link is none.
    pub fn files_at(&self, commit: &str, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<HeldFile>> {
        let commit = self.commit(commit)?;
        let mut root = Some(commit.tree_id());
        if let Some(folder) = self.prefix.strip_suffix('/') {
            root = self.objects.entry(&self.repository, commit.tree_id(), folder)?;
        }
        let Some(root) = root else { return Ok(Vec::new()) };
        let mut held = Vec::new();
        for Blob { path, id, mode } in self.objects.files_below(&self.repository, root, "")? {
            if mode != i32::from(FileMode::Link) && is_wanted(&path) {
                let content = self.objects.content(&self.repository, id)?;
                held.push(HeldFile { path, content, is_executable: mode == i32::from(FileMode::BlobExecutable) });
            }
        }
        held.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(held)
    }

    /// The commit that is checked out.
    pub fn head_commit(&self) -> Result<String> {
        Ok(self.tip_of(&self.head()?)?.id().to_string())
    }

    fn head(&self) -> Result<git2::Reference<'_>> {
        self.repository.head().map_err(|error| match error.code() {
            ErrorCode::UnbornBranch | ErrorCode::NotFound => GitError::NoCommit,
            _ => refusal(&self.project, error),
        })
    }

    fn tip_of(&self, head: &git2::Reference) -> Result<git2::Commit<'_>> {
        let id = head.target().ok_or(GitError::NoCommit)?;
        self.objects.commit(&self.repository, id)?.ok_or_else(|| GitError::UnknownCommit { commit: id.to_string() })
    }

    fn commit(&self, commit: &str) -> Result<git2::Commit<'_>> {
        let unknown = || GitError::UnknownCommit { commit: commit.to_owned() };
        let id = Oid::from_str(commit).map_err(|_| unknown())?;
        self.objects.commit(&self.repository, id)?.ok_or_else(unknown)
    }

    /// The id of what a commit holds at a path of the project.
    fn entry(&self, commit: &git2::Commit, path: &str) -> Result<Option<Oid>> {
        self.objects.entry(&self.repository, commit.tree_id(), &format!("{}{path}", self.prefix))
    }
}

fn timestamp(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap_or(if seconds < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    })
}

/// What libgit2 refuses, with what can be done about it. There is a repository, so `git init` would be no help.
fn refusal(path: &Path, error: git2::Error) -> GitError {
    let start = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let root = start.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&start).to_owned();
    let problem = error.message().to_owned();
    let says = |word: &str| problem.to_lowercase().contains(word);
    let hint = if error.code() == ErrorCode::Owner {
        format!("if you trust it, `git config --global --add safe.directory {}`", root.display())
    } else if says("partialclone") {
        "it is a partial clone: clone it again without `--filter`".to_owned()
    } else if says("objectformat") || says("object format") {
        "its objects are named by SHA-256; clone it into a repository made with `git init --object-format=sha1`"
            .to_owned()
    } else if says("refstorage") || says("ref storage") {
        "`git refs migrate --ref-format=files` (git 2.48 or later) gives it the references that harness reads"
            .to_owned()
    } else if says("'link'") {
        "its index is split; `git update-index --no-split-index` makes it one file".to_owned()
    } else if says("'sdir'") {
        "its index is sparse; `git sparse-checkout reapply --no-sparse-index` lists every file again".to_owned()
    } else {
        format!("`git -C {} status` may say more", root.display())
    };
    GitError::Refused { path: root, problem, hint }
}

/// Whether two contents are the same, or the same text with other line ends.
pub fn is_same_text(first: &[u8], second: &[u8]) -> bool {
    // A NUL byte makes it binary for git, which then leaves it as it is.
    first == second || (!first.contains(&0) && unix_line_ends(first) == unix_line_ends(second))
}

/// A text with LF in place of CRLF.
pub(crate) fn unix_line_ends(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (at, &byte) in text.iter().enumerate() {
        if !(byte == b'\r' && text.get(at + 1) == Some(&b'\n')) {
            out.push(byte);
        }
    }
    out
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
    use git2::ErrorClass;

    use super::*;

    #[test]
    fn whoever_does_not_own_a_repository_is_told_how_to_trust_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let problem = "repository path '/x' is not owned by current user";
        let told = refusal(folder, git2::Error::new(ErrorCode::Owner, ErrorClass::Config, problem)).to_string();
        assert!(told.contains(problem) && told.contains("git config --global --add safe.directory /"), "{told}");
        assert!(!told.contains("git init"), "{told}");
    }

    #[test]
    fn remotes_are_recorded_without_secrets_or_local_paths() {
        assert_eq!(without_credentials("https://me:token@example.org/a/b.git"), "https://example.org/a/b.git");
        assert_eq!(without_credentials("git@example.org:a/b.git"), "git@example.org:a/b.git");
        assert_eq!(without_credentials("/home/someone/thesis"), "local");
        assert_eq!(without_credentials("file:///home/someone/thesis"), "local");
    }

    #[test]
    fn only_run_folders_and_prose_are_apart() {
        assert!(is_apart("experiments/baseline/runs/x/open.json"));
        assert!(is_apart("experiments/baseline/probes/lr-20261123T081500.json"));
        assert!(is_apart("report/sections/data.typ"));
        assert!(is_apart("experiments/baseline/notes.md"));
        assert!(is_apart("experiments/budget.toml"));
        assert!(is_apart("cluster.toml") && !is_apart("src/cluster.toml"));
        assert!(!is_apart("experiments/project.toml"));
        assert!(!is_apart("experiments/baseline/experiment.toml"));
        assert!(!is_apart("src/core/src/lib.rs"));
    }
}
