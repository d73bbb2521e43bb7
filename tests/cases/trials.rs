//! Studies through the program: what is planned, run and said of it.

use serde_json::Value;

use crate::common::Project;

const STUDY: &str = r#"goal = "Does weight decay help?"
metric = "validation.bits_per_byte"
direction = "lower"
compare_at = "steps"
trials = 3

[[scientific]]
key = "optimizer.weight_decay"
values = [0.0, 0.1]

[[nuisance]]
key = "optimizer.learning_rate"
low = 1e-4
high = 1e-2
scale = "log"

[[fixed]]
key = "optimizer.beta2"
because = "three trials are too few"
"#;

/// A project with a study, committed.
fn project(study: &str) -> Project {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/tiny/study.toml", study);
    project.commit("Plan a study");
    project
}

fn json(project: &Project, arguments: &[&str]) -> Value {
    serde_json::from_str(&project.harness(arguments).expect(0).stdout).unwrap()
}

#[test]
fn a_study_is_written_and_planned_before_anything_is_spent() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    let new = ["study", "new", "decay", "--over", "tiny", "--vary", "optimizer.weight_decay=0.0,0.1", "--trials", "12"];
    let written = project.harness(&new).expect(0);
    assert_eq!(written.stdout, "experiments/decay/experiment.toml\nexperiments/decay/study.toml\n");
    project.harness(&new).expect(2);
    let plan = json(&project, &["study", "plan", "decay", "--json", "--gpu", "l4"]);
    assert_eq!(plan["trials"].as_array().unwrap().len(), 24);
    let settings = plan["trials"][5]["settings"].as_object().unwrap();
    assert_eq!(
        settings.keys().collect::<Vec<_>>(),
        ["optimizer.weight_decay", "optimizer.learning_rate", "optimizer.beta1"]
    );
    assert!(plan["cost"]["gpu_hours"].as_f64().unwrap() > 0.0);
    let text = project.harness(&["study", "plan", "decay"]).expect(0).stdout;
    assert!(
        text.contains("24 trials: 12 of each value") && text.contains("caveat: `optimizer.beta2` is 0.95"),
        "{text}"
    );
    // The same points in any process; others under another name.
    assert_eq!(json(&project, &["study", "plan", "decay", "--json"])["plan_sha256"], plan["plan_sha256"]);
    project.harness(&["rename", "decay", "decays"]).expect(0);
    assert_ne!(json(&project, &["study", "plan", "decays", "--json"])["plan_sha256"], plan["plan_sha256"]);
}

#[test]
fn a_mistake_in_a_study_is_shown_at_its_place() {
    let project = project(&STUDY.replace("optimizer.learning_rate", "training.batch_size"));
    let refused = project.harness(&["study", "plan", "tiny"]).expect(2);
    assert!(refused.stderr.contains("--> experiments/tiny/study.toml:12:7"), "{}", refused.stderr);
    let refused = project.harness(&["study", "plan", "tinny"]).expect(2);
    assert!(refused.stderr.contains("has no study.toml") && refused.stderr.contains("hint:"), "{}", refused.stderr);
    // Each value can be run, but not with each other.
    let together = STUDY.replace("optimizer.weight_decay", "schedule.warmup_steps").replace("[0.0, 0.1]", "[0, 15]");
    let together = together.replace("optimizer.learning_rate", "schedule.cooldown_steps");
    let together = together.replace("low = 1e-4\nhigh = 1e-2\nscale = \"log\"", "low = 0\nhigh = 10\nscale = \"int\"");
    project.write("experiments/tiny/study.toml", &together);
    let refused = project.harness(&["study", "plan", "tiny"]).expect(2);
    assert!(
        refused.stderr.contains("10 cannot be run") && refused.stderr.contains("study.toml:14"),
        "{}",
        refused.stderr
    );
}
