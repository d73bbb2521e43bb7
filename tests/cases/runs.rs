//! Runs from the command line to the sealed record, however they end.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Project, Ran, signal};
use rustix::process::Signal;

#[test]
fn a_run_is_sealed_and_leaves_the_tree_clean() {
    let project = Project::new();
    let ran = project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    let id = run.file_name().unwrap().to_str().unwrap();
    assert!(ran.stdout.contains(id), "{}", ran.stdout);

    let (open, record) = (Project::json(&run.join("open.json")), Project::json(&run.join("record.json")));
    assert_eq!(record["status"], "completed");
    assert_eq!(open["not_citable_because"], serde_json::Value::Null);
    assert_eq!(open["code"]["commit"].as_str().unwrap().len(), 40);
    let sealed = Command::new("sha256sum").args(["--check", "--quiet", "MANIFEST"]).current_dir(&run).status().unwrap();
    assert!(sealed.success(), "the MANIFEST is checked by sha256sum itself");
    for entry in ["open.json", "record.json", "log.jsonl", "steps.csv", "plan/config.toml", "plan/job.json"] {
        let text = fs::read_to_string(run.join(entry)).unwrap();
        assert!(!text.contains(project.path("").to_str().unwrap()), "{entry} holds a path of this machine");
    }
    let evaluations = record["evaluations"].as_array().unwrap();
    let steps: Vec<u64> = evaluations.iter().map(|e| e["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 5, 10, 15, 20]);

    let status = project.git(&["status", "--porcelain", "--untracked-files=all"]);
    assert!(status.lines().all(|line| line.starts_with("?? experiments/tiny/runs/")), "{status}");
    assert!(!status.contains("checkpoints"), "{status}");
    project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    assert_eq!(project.runs("tiny").len(), 2);
    assert_eq!(Project::json(&project.latest("tiny").join("open.json"))["plan"]["seed"], 4);
}

#[test]
fn a_dirty_tree_is_refused_or_recorded() {
    let project = Project::new();
    project.write("experiments/tiny/experiment.toml", &crate::common::TINY.replace("seed = 3", "seed = 4"));
    project.write("notes.txt", "an idea\n");
    let refused = project.harness(&["run", "tiny"]).expect(2);
    assert!(refused.stderr.contains("experiments/tiny/experiment.toml"), "{}", refused.stderr);
    assert!(refused.stderr.contains("notes.txt") && refused.stderr.contains("--allow-dirty"), "{}", refused.stderr);
    assert!(project.runs("tiny").is_empty());

    project.harness(&["run", "tiny", "--allow-dirty"]).expect(0);
    let run = project.latest("tiny");
    let open = Project::json(&run.join("open.json"));
    assert!(open["not_citable_because"].is_string() && open["code"]["dirty"] == true);
    assert_eq!(fs::read_to_string(run.join("code/untracked/notes.txt")).unwrap(), "an idea\n");
    let patch = run.join("code/dirty.patch");
    project.git(&["stash", "-q"]);
    project.git(&["apply", patch.to_str().unwrap()]);
    assert!(fs::read_to_string(project.path("experiments/tiny/experiment.toml")).unwrap().contains("seed = 4"));
}

#[test]
fn a_killed_trainer_leaves_a_failed_record_that_can_be_resumed() {
    let project = Project::new();
    let metrics = format!("{}\n[metrics]\ntensor_norms_every = 4\nactivations_every = 2\n", crate::common::TINY);
    project.write("experiments/tiny/experiment.toml", &metrics);
    project.commit("Measure inside the model");
    let killed = project.harness_with("die:11", &["run", "tiny"]).expect(1);
    assert!(killed.stderr.contains("signal 9") && killed.stderr.contains("--resume"), "{}", killed.stderr);
    let first = project.latest("tiny");
    let record = Project::json(&first.join("record.json"));
    assert_eq!((record["status"].as_str(), record["signal"].as_i64()), (Some("failed"), Some(9)));
    project.harness(&["audit"]).expect(0);

    project.harness(&["run", "tiny", "--resume"]).expect(0);
    let second = project.latest("tiny");
    let open = Project::json(&second.join("open.json"));
    assert_eq!(open["resumed_from"]["step"], 8, "the last checkpoint before step 11");
    let steps = fs::read_to_string(second.join("steps.csv")).unwrap();
    let numbers: Vec<&str> = steps.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(numbers, (1..=20).map(|n| n.to_string()).collect::<Vec<_>>());
    // What was measured inside the model is taken over up to the checkpoint, and nothing stands there twice.
    let measured = |table: &str, place: &str| {
        let rows = fs::read_to_string(second.join(table)).unwrap();
        let of_place = rows.lines().filter_map(|row| row.split_once(&format!(",{place},")));
        of_place.map(|(step, _)| step.parse().unwrap()).collect::<Vec<u64>>()
    };
    assert_eq!(measured("tensor_norms.csv", "blocks.0.attention.output.weight"), [1, 4, 8, 12, 16, 20]);
    assert_eq!(measured("activations.csv", "blocks.0"), (0..=10).map(|k| 2 * k).collect::<Vec<u64>>());
    let exported = project.harness(&["export", "tensorboard", "tiny", "curves"]).expect(0);
    let events = fs::read(project.path(exported.stdout.trim())).unwrap();
    for tag in [
        "training/loss_nats",
        "tensor_norms/token_embedding/update_norm",
        "activations/blocks.0/rms",
        "validation/loss_nats",
    ] {
        let times = events.windows(tag.len()).filter(|bytes| *bytes == tag.as_bytes()).count();
        assert!(times >= 5, "{tag}: {times}");
    }
    let evaluations = Project::json(&second.join("record.json"))["evaluations"].clone();
    let evaluated: Vec<u64> = evaluations.as_array().unwrap().iter().map(|e| e["step"].as_u64().unwrap()).collect();
    assert_eq!(evaluated, [0, 5, 10, 15, 20]);
    project.harness(&["audit"]).expect(0);

    let done = project.harness(&["run", "tiny", "--resume"]).expect(2);
    assert!(done.stderr.contains("is complete"), "{}", done.stderr);
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_that_is_said() {
    let project = Project::new();
    project.harness_with("die:14", &["run", "tiny"]).expect(1);
    let first = project.latest("tiny");
    crate::common::flip(&first.join("checkpoints/step-00000012.safetensors"), 4);
    let resumed = project.harness(&["run", "tiny", "--resume"]).expect(0);
    let said = "the checkpoint of step 12 of run ";
    assert!(resumed.stderr.contains(said) && resumed.stderr.contains("resuming from step 8"), "{}", resumed.stderr);
    let open = Project::json(&project.latest("tiny").join("open.json"));
    assert_eq!(open["resumed_from"]["step"], 8);
    let lost = &open["resumed_from"]["passed_over"][0];
    assert_eq!((lost["step"].as_u64(), lost["run"].as_str()), (Some(12), first.file_name().unwrap().to_str()));
    assert!(lost["problem"].as_str().unwrap().contains("have changed since it was written"), "{lost}");
}

#[test]
fn checkpoints_that_no_rule_keeps_are_removed_and_the_record_says_so() {
    let project = Project::new();
    let config = crate::common::TINY
        .replace("checkpoint_every = 4", "checkpoint_every = 1\nkeep = { every = 8, last = 2, best = 1 }")
        .replace("validation_at = { every = 5 }", "validation_at = { every = 1 }");
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Keep few checkpoints");
    // Validation rises in the second half, so the best is in the middle.
    let ran = project.harness_with("overfit:500", &["run", "tiny"]).expect(0);
    assert!(ran.stderr.contains("checkpoints need") && ran.stderr.contains("MiB are free"), "{}", ran.stderr);
    let run = project.latest("tiny");
    let record = Project::json(&run.join("record.json"));
    let best = record["retention"]["best"][0]["step"].as_u64().unwrap();
    assert!((5..16).contains(&best), "{}", record["retention"]);
    let mut expected: Vec<u64> = vec![8, 16, 19, 20, best];
    expected.sort_unstable();
    expected.dedup();
    let mut kept: Vec<String> = fs::read_dir(run.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, expected.iter().map(|step| format!("step-{step:08}.safetensors")).collect::<Vec<_>>());
    assert_eq!(record["retention"]["pruned"].as_array().unwrap().len(), 20 - expected.len());
    assert_eq!(record["checkpoints"].as_array().unwrap().len(), 20, "digests stay");
    assert!(record["retention"]["rule"].as_str().unwrap().contains("lowest mean loss"));
    project.harness(&["audit"]).expect(0);
}

#[test]
fn tokens_are_counted_over_the_stages_of_the_batch_size() {
    let project = Project::new();
    let stages = "batch_size = 2\nbatch_size_stages = [{ steps = 5, batch_size = 1 }, { steps = 5, batch_size = 3 }]";
    project.write("experiments/tiny/experiment.toml", &crate::common::TINY.replace("batch_size = 2", stages));
    project.commit("Warm the batch size up");
    project.harness(&["run", "tiny"]).expect(0);
    let tokens = (5 + 5 * 3 + 10 * 2) * 32;
    let record = Project::json(&project.latest("tiny").join("record.json"));
    assert_eq!(record["closing"]["tokens"].as_u64(), Some(tokens));
    let shown = project.harness(&["show", "tiny", "--model", "--json"]).expect(0);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["training_tokens"].as_u64(), Some(tokens));
    project.harness(&["audit"]).expect(0);

    project.write(
        "experiments/tiny/experiment.toml",
        &crate::common::TINY.replace("batch_size = 2", &stages.replace("= 3", "= 0")),
    );
    let refused = project.harness(&["show", "tiny"]).expect(2);
    assert!(
        refused.stderr.contains("batch_size_stages") && refused.stderr.contains("at least 1"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_resumed_run_must_follow_the_same_plan() {
    let project = Project::new();
    project.harness_with("die:11", &["run", "tiny"]).expect(1);
    project.write("experiments/tiny/experiment.toml", &crate::common::TINY.replace("width = 16", "width = 32"));
    project.commit("Change the width");
    let refused = project.harness(&["run", "tiny", "--resume"]).expect(2);
    assert!(refused.stderr.contains("the config has changed"), "{}", refused.stderr);
}

fn wait_for_step(project: &Project, step: &str) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        let log = project.runs("tiny").pop().and_then(|run| fs::read_to_string(run.join("log.jsonl")).ok());
        if log.is_some_and(|log| log.contains(step)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the run did not get to {step}");
}

#[test]
fn an_interrupt_ends_the_run_in_order() {
    let project = Project::new();
    let child = project.start("slow", &["run", "tiny"]);
    wait_for_step(&project, "step-00000004");
    signal(child.id(), Signal::INT);
    let ran: Ran = project.wait(child).expect(130);
    assert!(ran.stderr.contains("interrupted: run"), "{}", ran.stderr);
    let record = Project::json(&project.latest("tiny").join("record.json"));
    assert_eq!(record["status"], "interrupted");
    project.harness(&["audit"]).expect(0);
    project.harness(&["run", "tiny", "--resume"]).expect(0);
    assert_eq!(Project::json(&project.latest("tiny").join("record.json"))["status"], "completed");
}

#[test]
fn a_second_run_on_the_same_device_is_told_of_the_first() {
    let project = Project::new();
    project.write("experiments/tiny/experiment.toml", &crate::common::TINY.replace("threads = 1", "threads = 512"));
    project.commit("Want more threads than any machine has cores");
    let mut first = project.start("slow", &["run", "tiny"]);
    wait_for_step(&project, "step-00000004");
    let run = project.latest("tiny").file_name().unwrap().to_str().unwrap().to_owned();
    let second = project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    let told = "warning: another run is using the processors of this machine";
    assert!(second.stderr.contains(told) && second.stderr.contains(&format!("run {run} of tiny")), "{}", second.stderr);
    signal(first.id(), Signal::KILL);
    first.wait().unwrap();
    // Whoever died claims nothing.
    let third = project.harness(&["run", "tiny", "--seed", "5"]).expect(0);
    assert!(!third.stderr.contains("warning"), "{}", third.stderr);
}

#[test]
fn programs_of_other_sources_than_the_commit_are_refused_or_recorded() {
    let project = Project::new();
    project.write("src/trainer/Cargo.toml", "[package]\nname = \"other\"\n");
    project.commit("Hold sources of programs that nobody built");
    let refused = project.harness(&["run", "tiny"]).expect(2);
    let said = "`harness` and `harness-trainer` were built from other sources than those of the commit";
    assert!(refused.stderr.contains(said) && refused.stderr.contains("--allow-stale"), "{}", refused.stderr);
    assert!(project.runs("tiny").is_empty());
    let reason = || Project::json(&project.latest("tiny").join("open.json"))["not_citable_because"].to_string();
    let ran = project.harness(&["run", "tiny", "--allow-stale"]).expect(0);
    assert!(ran.stderr.contains("the paper cannot cite this run"), "{}", ran.stderr);
    assert!(reason().contains("built from other sources"), "{}", reason());
    let run = project.latest("tiny").file_name().unwrap().to_str().unwrap().to_owned();
    let refused = project.harness(&["evaluate", &run]).expect(2);
    assert!(refused.stderr.contains("--allow-stale"), "{}", refused.stderr);
    project.harness(&["evaluate", &run, "--allow-stale"]).expect(0);
    // Programs of sources that are not committed yet are what --allow-dirty is for.
    project.write("src/trainer/src/main.rs", "fn main() {}\n");
    project.harness(&["run", "tiny", "--allow-dirty"]).expect(0);
    assert!(reason().contains("working tree differed"), "{}", reason());
}

#[test]
fn an_evaluation_whose_supervisor_died_is_started_again() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let name = |run: PathBuf| run.file_name().unwrap().to_str().unwrap().to_owned();
    let trained = name(project.latest("tiny"));
    project.harness(&["evaluate", "tiny"]).expect(0);
    let evaluation = project.latest("tiny");
    for file in ["MANIFEST", "record.json"] {
        fs::remove_file(evaluation.join(file)).unwrap();
    }
    let log = fs::read_to_string(evaluation.join("log.jsonl")).unwrap();
    fs::write(evaluation.join("log.jsonl"), log.split_inclusive('\n').next().unwrap()).unwrap();
    let open = project.harness(&["export", "tensorboard", &name(evaluation), "out"]).expect(1);
    let hint = format!("hint: `harness evaluate {trained}` starts the evaluation again");
    assert!(open.stderr.contains(&hint), "{}", open.stderr);
    project.harness(&["evaluate", &trained]).expect(0);
}

#[test]
fn a_killed_supervisor_is_sealed_by_the_next_who_comes() {
    let project = Project::new();
    let mut child = project.start("slow", &["run", "tiny"]);
    wait_for_step(&project, "step-00000008");
    let busy = project.harness(&["run", "tiny", "--resume"]).expect(2);
    assert!(busy.stderr.contains("still running"), "{}", busy.stderr);
    signal(child.id(), Signal::KILL);
    child.wait().unwrap();
    let open = project.harness(&["audit"]).expect(3);
    assert!(open.stdout.contains("never sealed"), "{}", open.stdout);

    // The trainer notices that it is alone, and holds the folder until it has ended.
    let begun = Instant::now();
    let mut resumed = project.harness(&["run", "tiny", "--resume"]);
    while resumed.stderr.contains("still running") && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
        resumed = project.harness(&["run", "tiny", "--resume"]);
    }
    resumed.expect(0);
    let runs = project.runs("tiny");
    assert_eq!(Project::json(&runs[0].join("record.json"))["failure"]["kind"], "abandoned");
    assert_eq!(Project::json(&runs[1].join("record.json"))["status"], "completed");
    project.harness(&["audit"]).expect(0);
}

#[test]
fn whatever_the_trainer_says_is_recorded() {
    let cases = [
        ("fail:5", "non_finite", "not finite"),
        ("leak:5", "self_test", "sees what it is to predict"),
        ("garbage:5", "contract", "cannot read"),
        ("old", "contract", "version"),
    ];
    let project = Project::new();
    for (behaviour, kind, words) in cases {
        let ran = project.harness_with(behaviour, &["run", "tiny"]).expect(1);
        assert!(ran.stderr.contains(words), "{behaviour}: {}", ran.stderr);
        let record = Project::json(&project.latest("tiny").join("record.json"));
        assert_eq!((record["status"].as_str(), record["failure"]["kind"].as_str()), (Some("failed"), Some(kind)));
    }
    let missing = project.harness(&["run", "tiny", "--trainer", "no-such-program"]).expect(2);
    assert!(missing.stderr.contains("make build"), "{}", missing.stderr);
}

#[test]
fn the_self_test_of_the_evaluations_is_recorded_and_shown() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let record = Project::json(&project.latest("tiny").join("record.json"));
    let evaluations = record["evaluations"].as_array().unwrap();
    assert!(evaluations.len() > 1 && evaluations.iter().all(|e| e["self_test"]["tokens"].as_u64() > Some(99)));
    let shown = project.harness(&["show", "tiny", "--values"]).expect(0).stdout;
    let count = evaluations.len();
    let last = evaluations[count - 1]["step"].as_f64().unwrap();
    for words in [
        format!("self-test before {count} of {count} evaluations"),
        format!("other sequences in the batch by {:.1e} (rounding explains up to 1.0e-3)", last * 1e-7),
    ] {
        assert!(shown.contains(&words), "{words}\n{shown}");
    }
    let json = project.harness(&["show", "tiny", "--values", "--json"]).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["self_tests"][count - 1], evaluations[count - 1]["self_test"]);
    // A record of a trainer without it reads and passes an audit all the same.
    project.harness_with("untested:1", &["run", "tiny", "--seed", "9"]).expect(0);
    let record = Project::json(&project.latest("tiny").join("record.json"));
    assert_eq!(record["evaluations"][0].get("self_test"), None);
    let untested = project.harness(&["show", record["run"].as_str().unwrap(), "--values"]).expect(0).stdout;
    assert!(untested.contains("self-test before evaluation: none in this record"), "{untested}");
    assert_eq!(project.harness(&["show", "tiny", "--values"]).expect(0).stdout, untested, "it is the latest");
    let unknown = project.harness(&["show", "20200101T000000000Z-00000000", "--values"]).expect(2).stderr;
    assert!(unknown.contains("there is no run `20200101T000000000Z-00000000`"), "{unknown}");
    project.harness(&["audit"]).expect(0);
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let project = Project::new();
    project.write("experiments/child/experiment.toml", "extends = \"tiny\"\n[model]\nlayres = 3\n");
    let ran = project.harness(&["show", "child"]).expect(2);
    let expected = "error: `model.layres`: unknown key `layres`\n \
                    --> experiments/child/experiment.toml:3:10\n  |\n3 | layres = 3\n  |          ^\n\
                    hint: did you mean `layers`?";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
    let ran = project.harness(&["run", "tinny"]).expect(2);
    assert!(ran.stderr.contains("did you mean `tiny`?"), "{}", ran.stderr);
    project.write("experiments/child/experiment.toml", "extends = \"tiny\"\ncorpus = \"tinyy\"\n");
    project.commit("Name another corpus");
    let ran = project.harness(&["run", "child"]).expect(2);
    assert!(ran.stderr.contains("tinyy") && ran.stderr.contains("`tiny`"), "{}", ran.stderr);
}
