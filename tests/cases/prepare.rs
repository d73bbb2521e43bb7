//! `harness data prepare` when it is killed, when it is not alone, and when the disk is full: the real program.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Project, Ran, signal, skip};
use harness_core::files;
use harness_core::random::Random;
use rustix::process::Signal;

/// A corpus that goes through every stage, and takes some tenths of a second.
const RECIPE: &str = r#"title = "Some"
language = "en"
licence = "CC0-1.0"
citation = "none"
steps = ["unicode_nfc", "whitespace", { shorter_than_characters = 64 }]
duplicates = { near = { jaccard = 0.8 } }

[generate]
kind = "grammar"
seed = 7
documents = 4000

[decontaminate]
tasks = ["grammar-agreement"]

[split]
validation = 0.05
leakage = { jaccard = 0.6 }

[tokenizer]
kind = "bpe"
vocabulary_size = 400

[output]
shard_tokens = 40000
"#;

const PREPARE: [&str; 3] = ["data", "prepare", "some"];

/// A project with a store of its own.
fn project() -> Project {
    let project = Project::new();
    std::fs::remove_file(project.path(".harness")).unwrap();
    project.write("experiments/corpora/some.toml", RECIPE);
    project
}

fn root(ran: &Ran) -> String {
    ran.stdout.lines().find_map(|line| line.strip_prefix("root ")).expect("a root is printed").to_owned()
}

fn start(project: &Project) -> Child {
    project.command(&PREPARE).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a whole run in another folder prints, and how long it took.
fn whole() -> (String, Duration) {
    let begun = Instant::now();
    let ran = project().harness(&PREPARE).expect(0);
    (root(&ran), begun.elapsed())
}

fn drafts(project: &Project) -> Vec<String> {
    files::list(&project.path(".harness/drafts")).unwrap()
}

#[test]
fn killed_at_any_moment_it_goes_on_to_the_same_bytes() {
    let (expected, wall_time) = whole();
    let project = project();
    let mut moments = Random::new(5);
    for _ in 0..12 {
        let child = start(&project);
        std::thread::sleep(wall_time.mul_f64(moments.uniform()));
        signal(child.id(), Signal::KILL);
        project.wait(child);
    }
    let ran = project.harness(&PREPARE).expect(0);
    assert_eq!(root(&ran), expected);
    project.harness(&["data", "verify", "some"]).expect(0);
    // If it was whole before the last kill there was nothing left to do, and nobody swept.
    files::remove_folder(&project.path(".harness/corpora")).unwrap();
    assert_eq!(root(&project.harness(&PREPARE).expect(0)), expected);
    assert_eq!(drafts(&project), [""; 0], "what was half made is gone");
}

#[test]
fn two_at_once_make_one_corpus_even_if_one_is_killed() {
    let (expected, wall_time) = whole();
    let project = project();
    let [one, other] = [(); 2].map(|()| start(&project));
    let ran = [one, other].map(|child| project.wait(child).expect(0));
    assert_eq!(ran.each_ref().map(root), [expected.clone(), expected.clone()]);

    files::remove_folder(&project.path(".harness")).unwrap();
    let [one, other] = [(); 2].map(|()| start(&project));
    std::thread::sleep(wall_time.mul_f64(0.3));
    signal(one.id(), Signal::KILL);
    project.wait(one);
    assert_eq!(root(&project.wait(other).expect(0)), expected);
    project.harness(&["data", "verify", "some"]).expect(0);
}

/// Every file of a folder of the store that has its name is whole: stages say what they hold, corpora too.
fn nothing_half_written(project: &Project) {
    assert_eq!(drafts(project), [""; 0]);
    let corpora = files::list_recursive(&project.path(".harness/corpora")).unwrap();
    assert!(corpora.is_empty(), "{corpora:?}");
    let all = files::list_recursive(&project.path(".harness")).unwrap();
    assert!(all.iter().all(|path| !path.ends_with(".tmp")), "{all:?}");
}

#[test]
fn a_full_disk_is_told_and_leaves_no_half_of_a_file() {
    let project = project();
    let store = project.path(".harness");
    std::fs::create_dir(&store).unwrap();
    // A file system of its own, that only this command and its children see.
    let script = r#"mount -t tmpfs -o size="$1" tmpfs "$2" || exit 77
        shift 2; "$@"; code=$?; cp -a .harness seen; exit $code"#;
    let harness = env!("CARGO_BIN_EXE_harness");
    let limited = |size: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", size]).arg(&store);
        command.arg(harness).args(PREPARE).current_dir(project.path(".")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.output()
    };
    for size in ["200k", "1m", "2m"] {
        let output = limited(size);
        let Some(output) = output.ok().filter(|o| o.status.code() != Some(77) && !o.stderr.starts_with(b"unshare:"))
        else {
            return skip("mounts", "the system must let `unshare --user --mount` mount a file system");
        };
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{size}: {stderr}");
        assert!(
            stderr.contains("No space left on device") && stderr.contains("hint: make room on the disk"),
            "{stderr}"
        );
        let seen = project.path("seen");
        let left = files::list_recursive(&seen).unwrap();
        assert!(left.iter().all(|path| !path.starts_with("drafts/") && !path.starts_with("corpora/")), "{left:?}");
        std::fs::remove_dir_all(seen).unwrap();
    }
}

#[test]
fn a_limit_on_file_sizes_is_told_too_and_lifting_it_is_enough() {
    let (expected, _) = whole();
    let project = project();
    // In units of 1024 bytes; without the signal, a write beyond the limit is an error (EFBIG).
    let script = "trap '' XFSZ; ulimit -f 300; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_harness")]).args(PREPARE);
    command.current_dir(project.path(".")).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("error: could not write `") && stderr.contains("File too large"), "{stderr}");
    nothing_half_written(&project);
    assert!(Path::new(&project.path(".harness/locks")).is_dir());
    assert_eq!(root(&project.harness(&PREPARE).expect(0)), expected);
}
