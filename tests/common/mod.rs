//! A project in a fresh git repository, and the real `harness` run in it with an empty environment.

pub(crate) mod hub;
mod skip;
pub(crate) mod slurm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

pub(crate) use skip::skip;

/// The experiment that every test project has: it trains in no time, because the stand-in computes nothing.
pub(crate) const TINY: &str = r#"title = "Tiny"
hypothesis = "It runs."
corpus = "tiny"
seed = 3

[model]
layers = 1
heads = 2
width = 16
context_length = 32

[training]
steps = 20
batch_size = 2
device = "cpu"
threads = 1
checkpoint_every = 4

[evaluation]
validation_at = { every = 5 }
tasks_at = { every = 10 }
tasks = ["grammar-agreement"]
"#;

const TINY_CORPUS: &str = r#"title = "Tiny"
language = "en"
licence = "CC0-1.0"
citation = "none"

[generate]
kind = "grammar"
seed = 5
documents = 400

[split]
validation = 0.1

[tokenizer]
kind = "bpe"
vocabulary_size = 300
"#;

/// A project.
pub(crate) struct Project {
    folder: TempDir,
    /// Prepared data are the same for every test: one store serves all.
    store: PathBuf,
}

/// What a command did.
pub(crate) struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// What a command did that has ended.
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        let code = output.status.code().unwrap_or(-1);
        Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Panics with everything the command printed if its exit code is another one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Both outputs.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Project {
    /// A project with one commit.
    pub(crate) fn new() -> Self {
        let project = Project { folder: tempfile::tempdir().unwrap(), store: shared_store() };
        fs::create_dir_all(&project.store).unwrap();
        std::os::unix::fs::symlink(&project.store, project.path(".harness")).unwrap();
        project.write("experiments/tiny/experiment.toml", TINY);
        project.write("experiments/corpora/tiny.toml", TINY_CORPUS);
        let task = fs::read_to_string(repository().join("experiments/tasks/grammar-agreement.toml")).unwrap();
        project.write("experiments/tasks/grammar-agreement.toml", &task);
        project.write(".gitignore", "/.harness\n/.tools\nexperiments/*/runs/*/checkpoints/\nreport/build/\n");
        project.git(&["init", "-q", "-b", "main"]);
        project.commit("Begin");
        project
    }

    /// A project as it was put into a bundle of git, without a data store.
    pub(crate) fn cloned_from(bundle: &Path) -> Self {
        let project = Project { folder: tempfile::tempdir().unwrap(), store: shared_store() };
        project.git(&["clone", "-q", "-b", "main", bundle.to_str().unwrap(), "."]);
        project
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub(crate) fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_at(None, arguments)
    }

    /// `git`, whose commits say that they were made at a time.
    pub(crate) fn git_at(&self, time: Option<&str>, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"])
            .args(["-c", "core.fsync=none", "-c", "gc.auto=0"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path());
        git.envs(time.iter().flat_map(|time| [("GIT_AUTHOR_DATE", time), ("GIT_COMMITTER_DATE", time)]));
        let output = git.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    /// A commit that says that it was made at a time, whether there is anything to commit or not.
    pub(crate) fn commit_at(&self, time: &str, message: &str) {
        self.git(&["add", "-A"]);
        self.git_at(Some(time), &["commit", "-q", "--allow-empty", "-m", message]);
    }

    /// `harness` with an empty environment but PATH.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HARNESS_TRAINER", stand_in());
        // Claims to devices are made in the temporary folder: those of other tests must not be seen.
        command.env("TMPDIR", self.path("report/build"));
        // The auditor's Typst is that of this checkout, wherever the program was built.
        command.env("HARNESS_TOOLS", repository().join(".tools"));
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn harness(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// `harness` with the stand-in told how to behave.
    pub(crate) fn harness_with(&self, behaviour: &str, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).env("STAND_IN", behaviour).output().unwrap())
    }

    /// `harness` with the real trainer.
    pub(crate) fn harness_with_trainer(&self, trainer: &Path, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).env("HARNESS_TRAINER", trainer).output().unwrap())
    }

    /// Starts `harness` and gives it back running.
    pub(crate) fn start(&self, behaviour: &str, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.env("STAND_IN", behaviour).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Waits for a started `harness`.
    pub(crate) fn wait(&self, child: Child) -> Ran {
        Ran::of(child.wait_with_output().unwrap())
    }

    /// The run folders of an experiment, oldest first.
    pub(crate) fn runs(&self, experiment: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path(&format!("experiments/{experiment}/runs"))) else { return Vec::new() };
        let entries = entries.map(|entry| entry.unwrap());
        // One that was being opened when its supervisor was killed has no name yet.
        let named = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
        let mut runs: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
        runs.sort();
        runs
    }

    /// The latest run folder.
    pub(crate) fn latest(&self, experiment: &str) -> PathBuf {
        self.runs(experiment).pop().expect("there is a run")
    }

    /// A JSON file.
    pub(crate) fn json(path: &Path) -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }
}

/// Whether papers can be set here.
pub(crate) fn has_typst() -> bool {
    let own = repository().join(".tools/bin/typst");
    let on_path = Command::new("typst").arg("--version").output().is_ok_and(|o| o.status.success());
    let found = own.is_file() || on_path;
    if !found {
        skip("typst", "`make setup` installs it");
    }
    found
}

/// The real trainer, which `make test` builds beside `harness`; `None` where it was not built.
pub(crate) fn trainer() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_harness")).with_file_name("harness-trainer");
    if !path.is_file() {
        skip("trainer", "`make test` builds it");
        return None;
    }
    Some(path)
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Writes MANIFEST anew, as a program that sealed these files would have.
pub(crate) fn seal_again(run: &Path) {
    let files = harness_core::files::list_recursive(run).unwrap();
    let digest = |file: &String| harness_core::Digest::of(&fs::read(run.join(file)).unwrap());
    let lines = files.iter().filter(|file| *file != "MANIFEST").map(|file| format!("{}  {file}\n", digest(file)));
    fs::write(run.join("MANIFEST"), lines.collect::<String>()).unwrap();
}

/// Changes one byte of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The repository these tests belong to.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Whether these are the sources of harness itself, on whose experiments a test may rely; a project of one's own has others.
pub(crate) fn is_harness_itself() -> bool {
    let project = fs::read_to_string(repository().join("experiments/project.toml")).unwrap();
    let is_harness = project.lines().any(|line| line == "id = \"harness\"");
    if !is_harness {
        skip("demonstration", "it is tested in a clone of harness");
    }
    is_harness
}

fn shared_store() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("store")
}

/// The stand-in, which cargo builds beside the other examples.
pub(crate) fn stand_in() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_harness")).parent().unwrap();
    target.join("examples/stand-in-trainer")
}
