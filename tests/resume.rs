//! The promise of `--resume`, kept by both real programs: a trainer killed in the middle and gone on with gives the
//! weights of an undisturbed run, bit for bit.
#![allow(clippy::disallowed_methods, reason = "tests look for programs as they like")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use common::{Project, signal};
use rustix::process::Signal;

/// The real trainer, which `make test` builds beside `harness`; `None` where it was not built.
fn trainer() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_harness")).with_file_name("harness-trainer");
    if !path.is_file() {
        eprintln!("skipped: `{}` is not built; `make test` builds it", path.display());
        return None;
    }
    Some(path)
}

fn start(project: &Project, trainer: &Path, arguments: &[&str]) -> Child {
    let mut command = project.command(arguments);
    command.env("HARNESS_TRAINER", trainer).spawn().unwrap()
}

fn final_weights(project: &Project) -> String {
    let record = Project::json(&project.latest("tiny").join("record.json"));
    assert_eq!(record["status"], "completed", "{}", record["failure"]);
    record["closing"]["weights_sha256"].as_str().unwrap().to_owned()
}

/// Kills the trainer of a run once it has written a checkpoint.
fn kill_after_a_checkpoint(project: &Project, harness: &Child) {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint appeared");
        // The run before this one has checkpoints of its own; one of this run counts when its record names it.
        let log = project.runs("tiny").get(1).and_then(|run| std::fs::read_to_string(run.join("log.jsonl")).ok());
        if log.is_some_and(|log| log.contains("\"event\":\"checkpoint\"")) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let parent = harness.id();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let trainer = children.split_whitespace().next().expect("the trainer is running").parse().unwrap();
    signal(trainer, Signal::KILL);
}

#[test]
fn a_killed_run_that_is_resumed_ends_with_the_same_weights() {
    let Some(trainer) = trainer() else { return };
    // Long enough to be killed in the middle; dropout, so that the random masks have to be the same again.
    let config = common::TINY
        .replace("steps = 20", "steps = 1500")
        .replace("context_length = 32", "context_length = 32\ndropout = 0.1")
        .replace("checkpoint_every = 4", "checkpoint_every = 50")
        .replace("validation_at = { every = 5 }", "validation_at = { every = 500 }")
        .replace("tasks_at = { every = 10 }\ntasks = [\"grammar-agreement\"]", "");
    let project = Project::new();
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Train for real");

    assert!(start(&project, &trainer, &["run", "tiny"]).wait().unwrap().success());
    let undisturbed = final_weights(&project);

    let mut harness = start(&project, &trainer, &["run", "tiny"]);
    kill_after_a_checkpoint(&project, &harness);
    assert_eq!(harness.wait().unwrap().code(), Some(1));
    let killed = Project::json(&project.latest("tiny").join("record.json"));
    assert_eq!((killed["status"].as_str(), killed["signal"].as_i64()), (Some("failed"), Some(9)));

    assert!(start(&project, &trainer, &["run", "tiny", "--resume"]).wait().unwrap().success());
    let open = Project::json(&project.latest("tiny").join("open.json"));
    assert!(open["resumed_from"]["step"].as_u64().unwrap() >= 50);
    assert_eq!(final_weights(&project), undisturbed);
    project.harness(&["audit"]).expect(0);
}
