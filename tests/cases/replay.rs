//! What was computed, computed again: windows, evaluations and whole runs, by the stand-in where only the bookkeeping matters and by
//! the real trainer where bits do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::{Project, Ran, TINY, repository, trainer};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.all()))
}

fn windows(replay: &Value) -> Vec<(u64, u64, String)> {
    let of =
        |w: &Value| (w["from"].as_u64().unwrap(), w["to"].as_u64().unwrap(), w["verdict"].as_str().unwrap().to_owned());
    replay["windows"].as_array().unwrap().iter().map(of).collect()
}

/// Every file of a run with its content.
fn content(run: &Path) -> Vec<(String, Vec<u8>)> {
    let files = harness_core::files::list_recursive(run).unwrap();
    files.into_iter().map(|file| (file.clone(), fs::read(run.join(&file)).unwrap())).collect()
}

#[test]
fn windows_are_drawn_by_root_and_nonce_and_leave_the_run_as_it_is() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    let before = content(&run);
    let all = project.harness(&["replay", "tiny", "--windows", "9", "--nonce", "n", "--json"]).expect(0);
    let identical = |from: u64, to: u64| (from, to, "identical".to_owned());
    let every = [identical(0, 4), identical(4, 8), identical(8, 12), identical(12, 16), identical(16, 20)];
    assert_eq!(windows(&json(&all)), every, "{}", all.all());
    assert_eq!(content(&run), before, "a replay writes nothing into the run");

    let one = |nonce: &str| {
        let ran = project.harness(&["replay", "tiny", "--nonce", nonce, "--json"]).expect(0);
        windows(&json(&ran)).remove(0)
    };
    let drawn: Vec<_> = (0..12).map(|nonce| one(&nonce.to_string())).collect();
    assert_eq!(drawn[0], one("0"), "the same nonce draws the same window");
    assert!(drawn.iter().any(|window| *window != drawn[0]), "another nonce draws others: {drawn:?}");
    let shown = project.harness(&["replay", "tiny", "--nonce", "0"]).expect(0);
    assert!(
        shown.stdout.contains("the same to the bit") && shown.stdout.contains("4 other windows"),
        "{}",
        shown.all()
    );
    assert!(shown.stdout.contains("the trainer is the program that ran"), "{}", shown.all());
}

#[test]
fn a_window_whose_checkpoint_was_pruned_is_computed_from_the_one_before() {
    let project = Project::new();
    let config = TINY.replace("checkpoint_every = 4", "checkpoint_every = 4\nkeep = { every = 8 }");
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Keep every second checkpoint");
    project.harness(&["run", "tiny"]).expect(0);
    let ran = project.harness(&["replay", "tiny", "--windows", "9", "--nonce", "n", "--json"]).expect(0);
    let replay = json(&ran);
    let begun: Vec<u64> =
        replay["windows"].as_array().unwrap().iter().map(|w| w["begun_from"].as_u64().unwrap()).collect();
    assert_eq!(begun, [0, 0, 8, 8, 16], "{replay}");
}

#[test]
fn losses_that_were_not_computed_are_contradicted() {
    let project = Project::new();
    project.harness_with("better:30", &["run", "tiny"]).expect(0);
    project.harness(&["audit"]).expect(0);
    let ran = project.harness(&["replay", "tiny", "--nonce", "7"]).expect(1);
    assert!(ran.stdout.contains("CONTRADICTION steps") && ran.stdout.contains("loss_nats"), "{}", ran.all());
    assert!(ran.stdout.contains("they were changed"), "the weights are the recorded ones: {}", ran.all());

    let ran = project.harness(&["evaluate", "tiny", "--verify"]).expect(1);
    assert!(
        ran.stdout.contains("CONTRADICTION evaluations/step-00000020/validation.csv: worst document"),
        "{}",
        ran.all()
    );
    let again = json(&project.harness(&["evaluate", "tiny", "--verify", "--json"]).expect(1));
    let rows = &again["parts"][0]["rows"];
    assert_eq!((rows["worst"]["column"].as_str(), rows["is_close"].as_bool()), (Some("loss_nats"), Some(false)));

    let ran = project.harness(&["reproduce", "tiny"]).expect(1);
    assert!(ran.stdout.contains("CONTRADICTION steps.csv: first step 1: loss_nats"), "{}", ran.all());
    assert!(ran.stdout.contains("holds plan/config.toml"), "{}", ran.all());
}

#[test]
fn what_is_not_here_is_told_and_is_no_contradiction() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let ran = project.harness(&["evaluate", "tiny", "--verify"]).expect(3);
    assert!(ran.stderr.contains("the checkpoint of step 20 is not here"), "{}", ran.all());
    // A clone without checkpoints can still be replayed, from the start.
    let replay = json(&project.harness(&["replay", "tiny", "--windows", "9", "--json"]).expect(0));
    assert!(windows(&replay).iter().all(|(_, _, verdict)| verdict == "identical"), "{replay}");

    let ran = project.harness(&["replay", "tiny", "--build"]).expect(3);
    assert!(ran.stderr.contains("does not hold the sources of the trainer"), "{}", ran.all());
    assert_eq!(project.git(&["worktree", "list"]).lines().count(), 1, "the checkout is gone");

    project.harness_with("fail:2", &["run", "tiny", "--seed", "4"]).expect(1);
    let failed = project.latest("tiny");
    let ran = project.harness(&["replay", failed.file_name().unwrap().to_str().unwrap()]).expect(3);
    assert!(ran.stderr.contains("no checkpoint after step 0"), "{}", ran.all());
}

#[test]
fn a_run_is_made_again_from_its_commit_whatever_the_working_tree_holds_now() {
    let project = Project::new();
    project.harness(&["run", "tiny", "--seed", "8"]).expect(0);
    project.write("experiments/tiny/experiment.toml", &TINY.replace("steps = 20", "steps = 24"));
    project.commit("Train longer");
    let ran = project.harness(&["reproduce", "tiny", "--json"]).expect(0);
    let parts = json(&ran)["parts"].as_array().unwrap().clone();
    assert!(parts.iter().all(|part| part["verdict"] == "identical"), "{parts:?}");
    let names: Vec<&str> = parts.iter().map(|part| part["what"].as_str().unwrap()).collect();
    for name in ["plan/config.toml", "data", "tasks", "plan/job.json", "steps.csv", "weights after the last step"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(names.contains(&"evaluations/step-00000020/grammar-agreement.simple.csv"), "{names:?}");
    assert_eq!(project.runs("tiny").len(), 1, "no run is opened");
    let drafts = fs::read_dir(project.path(".harness/drafts")).unwrap();
    let own = drafts.filter(|draft| draft.as_ref().unwrap().file_name().to_string_lossy().contains("checkout")).count();
    assert_eq!(own, 0);
    assert_eq!(project.git(&["worktree", "list"]).lines().count(), 1, "the checkout is gone");
}

/// A trainer that lies: what it wraps computes, and it scales the losses after step 20.
fn liar(project: &Project, trainer: &Path) -> PathBuf {
    let script = format!(
        r#"#!/bin/sh
[ "$1" = run ] || exec "{trainer}" "$@"
"{trainer}" "$@" | awk '
/"event":"step"/ {{
  match($0, /"step":[0-9]+/); step = substr($0, RSTART + 7, RLENGTH - 7) + 0
  if (step > 20 && match($0, /"loss_nats":[0-9.]+/)) {{
    loss = substr($0, RSTART + 12, RLENGTH - 12)
    $0 = substr($0, 1, RSTART + 11) sprintf("%.15f", loss * 0.98) substr($0, RSTART + RLENGTH)
  }}
}}
{{ print; fflush() }}'
"#,
        trainer = trainer.display()
    );
    let path = project.path(".git/liar");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_real_trainer_gives_every_bit_again_and_a_wrapper_that_scales_losses_is_caught() {
    let Some(trainer) = trainer() else { return };
    let project = Project::new();
    let config = TINY
        .replace("layers = 1", "layers = 2\ndropout = 0.1")
        .replace("width = 16", "width = 64")
        .replace("context_length = 32", "context_length = 64")
        .replace("steps = 20", "steps = 40\nema_decay = 0.9")
        .replace("batch_size = 2", "batch_size = 8")
        .replace("checkpoint_every = 4", "checkpoint_every = 10");
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Train for real");
    let ran = |code: i32, arguments: &[&str]| project.harness_with_trainer(&trainer, arguments).expect(code);

    ran(0, &["run", "tiny"]);
    let all = json(&ran(0, &["replay", "tiny", "--windows", "9", "--nonce", "n", "--json"]));
    let found = windows(&all);
    assert!(found.len() == 4 && found.iter().all(|(_, _, verdict)| verdict == "identical"), "{all}");
    assert_eq!(all["differences"], serde_json::json!([]));
    ran(0, &["evaluate", "tiny", "--verify"]);
    let whole = ran(0, &["reproduce", "tiny"]);
    assert!(whole.stdout.contains("holds weights after the last step"), "{}", whole.all());

    // Another number of threads may give other last bits, and is named.
    let threads = ran(0, &["replay", "tiny", "--nonce", "n", "--threads", "2"]);
    assert!(threads.stdout.contains("threads: 1 recorded, 2 here"), "{}", threads.all());
    // Other instructions do, and are the cause.
    let mut other = project.command(&["replay", "tiny", "--nonce", "n"]);
    other.env("HARNESS_TRAINER", &trainer).env("ATEN_CPU_CAPABILITY", "default");
    let other = Ran::of(other.output().unwrap()).expect(0);
    assert!(other.stdout.contains("the cause: instructions of the processor"), "{}", other.all());
    assert!(other.stdout.contains("close steps") && other.stdout.contains("first step"), "{}", other.all());

    let liar = liar(&project, &trainer);
    ran(0, &["run", "tiny", "--seed", "5", "--trainer", liar.to_str().unwrap()]);
    ran(0, &["audit"]);
    // Every nonce draws some of these.
    let all = json(&ran(1, &["replay", "tiny", "--windows", "9", "--json"]));
    let verdicts: Vec<String> = windows(&all).into_iter().map(|(_, _, verdict)| verdict).collect();
    assert_eq!(verdicts, ["identical", "identical", "differs", "differs"], "{all}");
}

#[test]
#[ignore = "it builds the trainer: `make test-rebuild`"]
fn a_trainer_that_is_built_from_the_commit_of_a_run_gives_its_bits_again() {
    let Some(trainer) = trainer() else { return };
    let project = Project::new();
    let sources = Command::new("git")
        .args(["ls-files", "-z", "--", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", ".cargo", "src", "tests"])
        .current_dir(repository())
        .output()
        .unwrap();
    for file in String::from_utf8(sources.stdout).unwrap().split_terminator('\0') {
        fs::create_dir_all(project.path(file).parent().unwrap()).unwrap();
        fs::copy(repository().join(file), project.path(file)).unwrap();
    }
    project.commit("Take the sources of the programs");
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    // The installed trainer computes nothing, and is not the one that is asked.
    let mut command = project.command(&["replay", "tiny", "--build", "--windows", "9", "--nonce", "n", "--json"]);
    for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "LIBTORCH"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let target = trainer.ancestors().nth(2).unwrap();
    let ran = Ran::of(command.env("CARGO_TARGET_DIR", target).output().unwrap()).expect(0);
    let found = windows(&json(&ran));
    assert!(found.len() == 5 && found.iter().all(|(_, _, verdict)| verdict == "identical"), "{}", ran.all());
    let commit = project.git(&["rev-parse", "HEAD"]);
    let built = target.join("replay").join(&commit[..12]);
    assert!(built.join("debug/harness-trainer").is_file(), "{}", ran.all());
    assert_eq!(project.git(&["worktree", "list"]).lines().count(), 1, "the checkout is gone");
    fs::remove_dir_all(built).unwrap();
}
