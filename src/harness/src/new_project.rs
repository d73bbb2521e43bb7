//! A project of one's own in a new folder, made from a commit of another one.
//!
//! Comes in: a repository that holds the sources, who begins, an empty folder. Goes out: that folder with everything that
//! is nobody's own work, the few files that say whose project it is, and one commit of git. It shares nothing with the
//! repository it comes from. It is made under another name and gets its own when it is whole.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness_core::config::Limits;
use harness_core::files::{self, FileError};
use harness_core::names::{ExperimentName, Project};
use harness_core::project_file::ProjectFile;
use harness_record::git::{Git, GitError};
use harness_report::Author;

/// The experiment that every new project begins with.
pub const BASELINE: &str = "baseline";
/// The project that the program itself is developed in.
const PROGRAM: &str = "harness";
/// The folders of `experiments/` that hold recipes for everybody; every other one is an experiment.
const RECIPES: [&str; 4] = ["corpora", "library", "schema", "tasks"];

/// Why there is no new project.
#[derive(Debug, thiserror::Error)]
pub enum NewProjectError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The repository could not answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The folder cannot be one.
    #[error("`{}` {problem}\nhint: {hint}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What can be done.
        hint: String,
    },
    /// The working tree is not the commit.
    #[error(
        "{path} differs from commit {commit}, and a project begins with what a commit holds\nhint: commit it, or put it \
         aside with `git stash --include-untracked`"
    )]
    Uncommitted {
        /// The first such file.
        path: String,
        /// The commit.
        commit: String,
    },
    /// The project has experiments only.
    #[error(
        "commit {commit} holds no sources of harness, so nothing could be built in the new project\nhint: begin from a \
         clone of harness: `harness -C CLONE init FOLDER`"
    )]
    NoSources {
        /// The commit.
        commit: String,
    },
    /// The experiment to begin with cannot be one.
    #[error("`{name}` cannot be the baseline: {problem}\nhint: --baseline {}", roots.join(", or --baseline "))]
    Baseline {
        /// The experiment that was named.
        name: ExperimentName,
        /// Why not.
        problem: String,
        /// Those that can.
        roots: Vec<String>,
    },
    /// Git does not know the user.
    #[error(
        "git does not know your name, which the first commit needs\nhint: git config --global user.name \"Your Name\" && \
         git config --global user.email you@example.org"
    )]
    NoIdentity,
    /// A command of git failed.
    #[error("`git {command}` failed: {said}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
}

type Result<T> = std::result::Result<T, NewProjectError>;

/// Who begins, and with what.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// From which seeds are derived.
    pub id: String,
    /// Of the paper.
    pub authors: Vec<Author>,
    /// Of what they add: identifiers of SPDX, each of which may be chosen.
    pub licences: Vec<String>,
    /// What runs on a GPU may take; no limit where there is none.
    pub gpu_hours: Option<f64>,
    /// What runs on a processor may take.
    pub cpu_hours: Option<f64>,
    /// The experiment whose config becomes `experiments/baseline/`.
    pub baseline: ExperimentName,
}

/// Where a project comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// The id of the project it was made from.
    pub project: String,
    /// The version of harness there.
    pub version: String,
    /// The commit.
    pub commit: String,
    /// The address of its repository, where it has one that others can reach.
    pub remote: Option<String>,
}

impl Origin {
    /// In words: another project, and the program.
    pub fn named(&self) -> String {
        let Origin { project, version, .. } = self;
        if project == PROGRAM { format!("{PROGRAM} {version}") } else { format!("{project}, {PROGRAM} {version}") }
    }
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its folder.
    pub folder: PathBuf,
    /// Its first commit.
    pub commit: String,
    /// What it was made from.
    pub origin: Origin,
    /// How many files it has.
    pub files: usize,
}

/// Looks whether a project can be made in a folder, before anything is asked or written. Gives the folder as a whole path, and
/// who commits there: the author unless others are named.
pub fn prepare(git: &Git, folder: &Path) -> Result<(PathBuf, Author)> {
    let wrong = |problem: &str, hint: String| NewProjectError::Folder {
        path: folder.to_owned(),
        problem: problem.to_owned(),
        hint,
    };
    let absolute = std::path::absolute(folder).map_err(|error| FileError::new("find", folder, error))?;
    // The part that is there may be reached through links.
    let there = absolute.ancestors().find_map(|part| Some((part.canonicalize().ok()?, part)));
    let (real, part) = there.ok_or_else(|| wrong("has no folder above it", "name another folder".to_owned()))?;
    let rest = absolute.strip_prefix(part).unwrap_or(Path::new(""));
    let absolute = if rest.as_os_str().is_empty() { real.clone() } else { real.join(rest) };
    if !real.is_dir() {
        return Err(wrong("lies below a file, or is one", "name a folder that does not exist yet".to_owned()));
    }
    let Some(name) = absolute.file_name().map(|name| name.to_string_lossy().into_owned()) else {
        return Err(wrong("has no name", "name a folder that does not exist yet".to_owned()));
    };
    if absolute.starts_with(git.root().canonicalize().unwrap_or_else(|_| git.root().to_owned())) {
        return Err(wrong("lies in the project that it would be made from", format!("name one beside it: ../{name}")));
    }
    if !files::list(&absolute)?.is_empty() {
        return Err(wrong("is not empty", "name a folder that does not exist yet".to_owned()));
    }
    let state = git.state()?;
    if let Some(path) = state.changed.iter().chain(&state.untracked).next() {
        return Err(NewProjectError::Uncommitted { path: path.clone(), commit: short(&state.commit).to_owned() });
    }
    Ok((absolute, committer(&real)?))
}

/// Makes it.
pub fn make(git: &Git, folder: &Path, wanted: &Wanted) -> Result<Begun> {
    let origin = origin(git)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = folder.with_file_name(format!(".{name}.partial"));
    files::remove_folder(&unfinished)?;
    let made = fill(git, &Project::at(&unfinished), wanted, &origin)
        .and_then(|made| Ok(files::rename(&unfinished, folder).map(|()| made)?));
    let (files, commit) = made.inspect_err(|_| drop(files::remove_folder(&unfinished)))?;
    Ok(Begun { folder: folder.to_owned(), commit, origin, files })
}

fn origin(git: &Git) -> Result<Origin> {
    let state = git.state()?;
    let text = |path: &str| -> Result<String> {
        Ok(String::from_utf8(git.file_at(&state.commit, path)?.unwrap_or_default()).unwrap_or_default())
    };
    let manifest: toml::Table = text("Cargo.toml")?.parse().unwrap_or_default();
    let version = manifest.get("workspace").and_then(|table| table.get("package")?.get("version")?.as_str());
    let (Some(version), Some(_)) = (version, git.sources_at(&state.commit)?) else {
        return Err(NewProjectError::NoSources { commit: short(&state.commit).to_owned() });
    };
    let project = toml::from_str::<ProjectFile>(&text("experiments/project.toml")?).unwrap_or_default().id;
    let project = if project.is_empty() { PROGRAM.to_owned() } else { project };
    let remote = state.remote.filter(|remote| remote != "local");
    Ok(Origin { project, version: version.to_owned(), commit: state.commit, remote })
}

/// Whether a file of the project is nobody's own work. Runs, decisions and studies lie with their experiments; what a paper
/// consists of lies in `report/`.
fn is_shared(path: &str) -> bool {
    let mut parts = path.split('/');
    match (parts.next(), parts.next()) {
        (Some("experiments"), Some(folder)) => parts.next().is_some() && RECIPES.contains(&folder),
        (Some("report"), file) => file == Some("README.md"),
        (Some("docs"), folder) => folder != Some("example"),
        (Some(file), None) => !["cluster.toml", "CITATION.cff", "LICENSE"].contains(&file),
        _ => true,
    }
}

/// Writes and commits everything. Gives the number of files and the commit.
fn fill(git: &Git, project: &Project, wanted: &Wanted, origin: &Origin) -> Result<(usize, String)> {
    let baseline = baseline(git, &origin.commit, &wanted.baseline)?;
    let write = |path: &str, text: &str| files::write(&project.root().join(path), text.as_bytes());
    for file in git.files_at(&origin.commit, is_shared)? {
        let path = project.root().join(&file.path);
        files::write(&path, &file.content)?;
        if file.is_executable {
            files::make_executable(&path)?;
        }
    }
    files::write(&project.root().join(format!("experiments/{BASELINE}/experiment.toml")), &baseline)?;
    write("experiments/project.toml", &ProjectFile::draft(&wanted.id, &wanted.licences.join(" OR ")))?;
    write("experiments/budget.toml", &Limits::draft(wanted.gpu_hours, wanted.cpu_hours))?;
    write("CITATION.cff", &citation(wanted, origin))?;
    write("LICENSE", &licence(wanted))?;
    harness_report::begin(project, &wanted.authors)?;

    let root = project.root();
    let place = origin.remote.as_ref().map_or_else(String::new, |remote| format!(" of {remote}"));
    let message = format!(
        "Begin {} from {}\n\nSources, set-up, templates, recipes and the library of changes are as in \
         commit\n{}{place}.",
        wanted.id,
        origin.named(),
        origin.commit
    );
    run_git(root, &["init", "--quiet", "--initial-branch=main"])?;
    run_git(root, &["add", "--all", "--force"])?;
    run_git(root, &["commit", "--quiet", "--message", &message])?;
    let files = run_git(root, &["ls-files", "-z"])?.matches('\0').count();
    Ok((files, run_git(root, &["rev-parse", "HEAD"])?.trim().to_owned()))
}

/// The config of an experiment that extends none, and so is whole by itself.
fn baseline(git: &Git, commit: &str, name: &ExperimentName) -> Result<Vec<u8>> {
    let configs = git.files_at(commit, |path| {
        let folder = path.strip_prefix("experiments/").and_then(|path| path.strip_suffix("/experiment.toml"));
        folder.is_some_and(|folder| folder.parse::<ExperimentName>().is_ok())
    })?;
    let path = format!("experiments/{name}/experiment.toml");
    let parent = |content: &[u8]| -> Option<String> {
        let table: toml::Table = String::from_utf8_lossy(content).parse().ok()?;
        table.get("extends")?.as_str().map(str::to_owned)
    };
    let found = configs.iter().find(|config| config.path == path);
    let problem = match found.map(|config| parent(&config.content)) {
        Some(None) => return Ok(found.map(|config| config.content.clone()).unwrap_or_default()),
        Some(Some(parent)) => format!("it extends `{parent}`"),
        None => "there is no such experiment".to_owned(),
    };
    let roots = configs.iter().filter(|config| parent(&config.content).is_none());
    let roots = roots.filter_map(|config| config.path.split('/').nth(1).map(str::to_owned)).collect();
    Err(NewProjectError::Baseline { name: name.clone(), problem, roots })
}

fn citation(wanted: &Wanted, origin: &Origin) -> String {
    // A string of JSON is one of YAML.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let authors = wanted.authors.iter().map(|author| {
        let mut entry = format!("  - name: {}\n", quoted(&author.name));
        if !author.email.is_empty() {
            entry.push_str(&format!("    email: {}\n", quoted(&author.email)));
        }
        entry
    });
    let licences: String = wanted.licences.iter().map(|licence| format!("  - {licence}\n")).collect();
    let address = origin.remote.as_ref().filter(|remote| remote.starts_with("http"));
    let address = address.map_or_else(String::new, |remote| format!("    repository-code: {}\n", quoted(remote)));
    format!(
        "cff-version: 1.2.0\ntitle: {}\n\
         message: If you use this project, please cite it with the commit that its records name.\ntype: software\n\
         authors:\n{}license:\n{licences}references:\n  - type: software\n    title: harness\n    version: {}\n    commit: {}\n\
         {address}    authors:\n      - name: The harness developers\n    license:\n      - MIT\n      - Apache-2.0\n",
        quoted(&wanted.id),
        authors.collect::<String>(),
        origin.version,
        origin.commit
    )
}

fn licence(wanted: &Wanted) -> String {
    let names: Vec<&str> = wanted.authors.iter().map(|author| author.name.as_str()).collect();
    let addresses = wanted.licences.iter().map(|licence| format!("https://spdx.org/licenses/{licence}.html\n"));
    format!(
        "Experiments, run records and paper of this project are by {}, and are licensed under {}:\n\n{}\n\
         What the project began with, harness, is by the harness developers, and is licensed under MIT or Apache-2.0, at your\n\
         choice: LICENSE-MIT, LICENSE-APACHE.\n",
        names.join(", "),
        wanted.licences.join(" or "),
        addresses.collect::<String>()
    )
}

/// Who commits in a folder, as git itself says.
fn committer(folder: &Path) -> Result<Author> {
    let ident = run_git(folder, &["var", "GIT_COMMITTER_IDENT"]).map_err(|_| NewProjectError::NoIdentity)?;
    let (name, rest) = ident.split_once(" <").ok_or(NewProjectError::NoIdentity)?;
    let email = rest.split('>').next().unwrap_or_default();
    Ok(Author { name: name.to_owned(), email: email.to_owned(), ..Author::default() })
}

fn run_git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let failed = |said: String| NewProjectError::Command { command: arguments[0].to_owned(), said };
    let mut command = Command::new("git");
    // What a hook of another repository has set is not about this one.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    let output = command.args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| failed(format!("it did not start: {error}")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
