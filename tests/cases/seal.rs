//! What is cut short between the end of a run and its seal is finished, as it would have been.

use std::fs;
use std::path::Path;

use crate::common::{Project, TINY};

/// Leaves a run as it is before its record is written.
fn rob(run: &Path) {
    for name in ["MANIFEST", "record.json"] {
        fs::remove_file(run.join(name)).unwrap();
    }
}

#[test]
fn a_seal_that_was_cut_short_is_finished_as_it_would_have_been() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    let id = run.file_name().unwrap().to_str().unwrap();
    let files = || ["MANIFEST", "record.json", "log.jsonl"].map(|name| fs::read(run.join(name)).unwrap());
    let before = files();
    let refused = project.harness(&["seal", id]).expect(2);
    assert!(refused.stderr.contains("is sealed already"), "{}", refused.stderr);
    for (finish, staged) in [(vec!["seal", id, "--json"], false), (vec!["seal", id], true)] {
        if staged {
            fs::rename(run.join("MANIFEST"), run.join(".MANIFEST.tmp")).unwrap();
        } else {
            rob(&run);
        }
        let ran = project.harness(&["audit", "tiny"]).expect(3);
        assert!(ran.stdout.contains(&format!("`harness seal {id}`")), "{}", ran.stdout);
        let ran = project.harness(&finish).expect(0);
        assert!(ran.stdout.contains("completed"), "{}", ran.stdout);
        assert_eq!(files(), before);
        project.harness(&["audit", "tiny"]).expect(0);
    }
    // Whoever resumes finishes it too, and is told that there is nothing to go on from.
    rob(&run);
    let ran = project.harness(&["run", "tiny", "--resume"]).expect(2);
    assert!(ran.stderr.contains("is complete"), "{}", ran.stderr);
    assert_eq!(files(), before);
    // A record without MANIFEST, and nothing that would become one, was robbed of it.
    fs::remove_file(run.join("MANIFEST")).unwrap();
    let ran = project.harness(&["audit", "tiny"]).expect(1);
    assert!(ran.stdout.contains("taken away"), "{}", ran.stdout);
}

#[test]
fn a_run_that_cannot_be_sealed_says_how_it_will_be() {
    let project = Project::new();
    // A folder in the place of the record is as much in the way as a full disk.
    let child = project.start("slow", &["run", "tiny"]);
    crate::common::until("a run", || !project.runs("tiny").is_empty());
    let run = project.latest("tiny");
    fs::create_dir_all(run.join("record.json/x")).unwrap();
    let ran = project.wait(child).expect(1);
    let seal = format!("harness seal {}", run.file_name().unwrap().to_str().unwrap());
    assert!(ran.stderr.contains("could not be sealed") && ran.stderr.contains(&seal), "{}", ran.stderr);
    fs::remove_dir_all(run.join("record.json")).unwrap();
    let ran = project.harness(&["seal", "tiny"]).expect(0);
    assert!(ran.stdout.contains("(completed)"), "{}", ran.stdout);
    project.harness(&["audit", "tiny"]).expect(0);
}

#[test]
fn git_takes_up_a_run_when_it_is_sealed() {
    let project = Project::new();
    let child = project.start("slow", &["run", "tiny"]);
    crate::common::until("a step", || {
        !project.runs("tiny").is_empty() && project.latest("tiny").join("steps.csv").exists()
    });
    project.git(&["add", "--all"]);
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    project.wait(child).expect(0);
    let run = project.latest("tiny");
    assert!(!run.join(".gitignore").exists());
    project.git(&["add", "--all"]);
    assert!(project.git(&["status", "--porcelain"]).contains("MANIFEST"));
    // Whatever takes a sealed run out of git's sight is found.
    fs::write(run.join(".gitignore"), "*\n").unwrap();
    let ran = project.harness(&["audit", "tiny"]).expect(1);
    assert!(ran.stdout.contains("`.gitignore` was not there"), "{}", ran.stdout);
}

#[test]
fn a_run_whose_supervisor_is_gone_is_sealed_as_failed() {
    let project = Project::new();
    project.harness_with("die:11", &["run", "tiny"]).expect(1);
    let run = project.latest("tiny");
    let log = fs::read_to_string(run.join("log.jsonl")).unwrap();
    let whole = log.trim_end().rfind('\n').unwrap() + 1;
    // Its supervisor was killed in the middle of the last line.
    fs::write(run.join("log.jsonl"), &log[..whole + 30]).unwrap();
    rob(&run);
    let ran = project.harness(&["seal", "tiny", "--json"]).expect(0);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&told["status"], &told["experiment"]), (&"failed".into(), &"tiny".into()));
    assert_eq!(Project::json(&run.join("record.json"))["failure"]["kind"], "abandoned");
    project.harness(&["audit", "tiny"]).expect(0);
    project.harness(&["run", "tiny", "--resume"]).expect(0);
    project.harness(&["audit", "tiny"]).expect(0);
}

#[test]
fn a_budget_that_was_turned_into_steps_contradicts_nothing() {
    let project = Project::new();
    for budget in ["{ flops = 1e9 }", "{ wall_time_s = 1.0 }", "{ tokens = 1000 }"] {
        project.write(
            "experiments/tiny/experiment.toml",
            &TINY.replace("steps = 20", &format!("budget = {budget}")).replace("checkpoint_every = 4\n", ""),
        );
        project.commit("A budget");
        project.harness(&["run", "tiny"]).expect(0);
        project.harness(&["audit", "tiny"]).expect(0);
    }
}
