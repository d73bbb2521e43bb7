//! A repository becomes a project of one's own: its id, and no experiments of the demonstration.

use std::fs;

use crate::common::Project;

/// A project with the experiments of the demonstration, small enough to run.
fn with_demo() -> Project {
    let project = Project::new();
    let tiny = fs::read_to_string(project.path("experiments/tiny/experiment.toml")).unwrap();
    project.write("experiments/baseline/experiment.toml", &tiny.replace("\"Tiny\"", "\"Baseline\""));
    let child = "extends = \"baseline\"\ntitle = \"Warm-up\"\n[schedule]\nwarmup_steps = 2\n";
    project.write("experiments/lr-warmup/experiment.toml", child);
    project.write("experiments/project.toml", "# What holds.\nid = \"harness\"\n");
    project.commit("Begin");
    project
}

#[test]
fn a_project_gets_its_id_and_loses_the_demonstration() {
    let project = with_demo();
    let ran = project.harness(&["init", "--id", "group 7 \"x\"", "--drop-demo", "--json"]).expect(0);
    let done: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(done["removed"], serde_json::json!(["experiments/lr-warmup", "experiments/baseline"]));
    let text = fs::read_to_string(project.path("experiments/project.toml")).unwrap();
    assert_eq!(text, "# What holds.\nid = 'group 7 \"x\"'\n");
    assert!(!project.path("experiments/baseline").exists() && project.path("experiments/tiny").exists());
    project.commit("A project of our own");
    project.harness(&["run", "tiny"]).expect(0);
    // From the first run on, seeds rest on the id.
    let ran = project.harness(&["init", "--id", "another"]).expect(2);
    assert!(ran.stderr.contains("there are runs") && ran.stderr.contains("--id"), "{}", ran.stderr);
    project.harness(&["init"]).expect(0);
    assert_eq!(fs::read_to_string(project.path("experiments/project.toml")).unwrap(), text);
}

#[test]
fn what_may_be_needed_is_not_removed() {
    let project = with_demo();
    let refused = |arguments: &[&str], words: &[&str]| {
        let ran = project.harness(arguments).expect(2);
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{words:?}: {}", ran.stderr);
        assert!(project.path("experiments/baseline").exists() && project.path("experiments/lr-warmup").exists());
        assert_eq!(
            fs::read_to_string(project.path("experiments/project.toml")).unwrap(),
            "# What holds.\nid = \"harness\"\n"
        );
    };
    let drop: &[&str] = &["init", "--drop-demo"];
    project.write("experiments/baseline/experiment.toml", "title = \"Ours\"\n");
    refused(drop, &["experiments/baseline/experiment.toml differs from the commit"]);
    project.git(&["checkout", "-q", "experiments"]);
    project.write("experiments/own/experiment.toml", "extends = \"baseline\"\n");
    project.commit("Propose own");
    refused(drop, &["`own` extends `baseline`"]);
    project.git(&["rm", "-rq", "experiments/own"]);
    project.commit("Withdraw own");
    project.harness(&["run", "baseline"]).expect(0);
    refused(drop, &["`baseline` has 1 run", "--with-runs"]);
    project.harness(&["init", "--drop-demo", "--with-runs"]).expect(0);
    assert!(!project.path("experiments/baseline").exists());
}
