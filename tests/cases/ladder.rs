//! A scaling ladder through the program: rungs, a law, a prediction that is registered before the full size is run, and its score.

use std::fs;

use harness_statistics::power_law;
use serde_json::Value;

use crate::cases::lineage::{json, numbers};
use crate::common::{Project, TINY};

const LARGE: &str = "extends = \"tiny\"\ntitle = \"Large\"\n\n[model]\nlayers = 8\nheads = 4\nwidth = 256\n\n[training]\nsteps = 400\n\n\
                     [schedule]\nwarmup_steps = 40\n\n[evaluation]\nvalidation_at = { every = 400 }\ntasks_at = { every = 400 }\n";

fn project() -> Project {
    let project = Project::new();
    project.write("experiments/large/experiment.toml", LARGE);
    project.commit("Begin");
    project
}

#[test]
fn small_sizes_predict_the_full_one_before_it_is_run() {
    let project = project();
    let none = project.harness(&["ladder", "fit", "large"]).expect(2);
    assert!(
        none.stderr.contains("no ladder.toml") && none.stderr.contains("harness ladder new large"),
        "{}",
        none.stderr
    );
    let made = json(&project, &["ladder", "new", "large"]);
    let rungs = made["rungs"].as_array().unwrap();
    assert_eq!(rungs.len(), 4);
    let large = json(&project, &["show", "large", "--model"]);
    let full = large["parameters_without_embeddings"].as_f64().unwrap();
    for rung in rungs {
        let name = rung["experiment"].as_str().unwrap();
        let shown = json(&project, &["show", name, "--model"]);
        assert_eq!(shown["parameters_without_embeddings"], rung["parameters"], "{name}");
        let config = json(&project, &["show", name]);
        let share = rung["parameters"].as_f64().unwrap() / full;
        assert_eq!(config["training"]["steps"].as_f64().unwrap(), (400.0 * share).round().max(1.0), "{name}");
        assert_eq!(config["model"]["heads"], 4);
        assert_eq!(config["schedule"]["warmup_steps"].as_f64().unwrap(), (40.0 * share).round().max(1.0), "{name}");
    }
    let again = project.harness(&["ladder", "new", "large"]).expect(2);
    assert!(again.stderr.contains("experiments/large/ladder.toml is there already"), "{}", again.stderr);

    project.commit("Make a ladder");
    let early = project.harness(&["ladder", "fit", "large"]).expect(2);
    assert!(early.stderr.contains("no run that counts of `large-rung-1`"), "{}", early.stderr);
    for number in 1..=4 {
        for seed in ["1", "2"] {
            project.harness(&["run", &format!("large-rung-{number}"), "--seed", seed]).expect(0);
        }
    }
    let prediction = json(&project, &["ladder", "fit", "large"]);
    let points = prediction["points"].as_array().unwrap();
    assert_eq!(points.len(), 8);
    let number = |value: &Value| value.as_f64().unwrap();
    let sizes: Vec<(f64, f64)> =
        points.iter().map(|point| (number(&point["flops"]), number(&point["value"]))).collect();
    let law = power_law::fit(&sizes, None).unwrap();
    let near = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} is not {b}");
    near(number(&prediction["value"]), law.law.at(number(&prediction["flops"])));
    let rung = project.latest("large-rung-4");
    let run = rung.file_name().unwrap().to_str().unwrap();
    assert!(points.iter().any(|point| point["run"] == run));

    // The full size costs what was said that it would.
    project.commit("Predict");
    project.harness(&["run", "large", "--seed", "1"]).expect(0);
    let score = json(&project, &["ladder", "score", "large"]);
    near(
        number(&prediction["flops"]),
        number(&json(&project, &["show", "large", "--values"])["values"]["training.flops"]["number"]),
    );
    assert_eq!((&score["registered"], score["runs"].as_array().unwrap().len()), (&true.into(), 1));
    let interval = numbers(&prediction["interval"]);
    let inside = (interval[0]..=interval[1]).contains(&number(&score["value"]));
    assert_eq!(score["inside"], u64::from(inside));
    near(number(&score["error"]), number(&score["value"]) - number(&prediction["value"]));
    let text = project.harness(&["ladder", "score", "large"]).expect(0).stdout;
    assert!(text.contains("registered before every run") && text.lines().all(|l| l.chars().count() <= 110), "{text}");

    // Of a commit that builds on a later one its date does not show that it was there.
    project.commit_at("2038-01-01T00:00:00Z", "From a clock that is ahead");
    project.commit_at("2026-01-01T00:00:00Z", "With a date that somebody set");
    project.harness(&["run", "large", "--seed", "2"]).expect(0);
    let score = json(&project, &["ladder", "score", "large"]);
    assert_eq!((&score["registered"], &score["runs"][0]["registered"]), (&false.into(), &true.into()));
    assert_eq!(score["runs"][1]["dates"]["contradicts"], true, "{score}");
    let text = project.harness(&["ladder", "score", "large"]).expect(0).stdout;
    assert!(text.contains("not by its dates") && text.contains("says that it was made at 2038-"), "{text}");

    let drawn = project.harness(&["plot", "ladder", "large"]).expect(0).stdout;
    assert!(drawn.contains("8 runs of smaller sizes") && drawn.contains("found"), "{drawn}");
    let before = project.harness(&["plot", "ladder", "large-rung-1"]).expect(0).stdout;
    assert!(before.contains("not run yet"), "a rung shows the ladder that it is of: {before}");

    // What is fitted again when the full size was run is no prediction.
    fs::remove_file(project.path("experiments/large/prediction.toml")).unwrap();
    project.harness(&["ladder", "fit", "large"]).expect(0);
    let late = json(&project, &["ladder", "score", "large"]);
    assert_eq!(late["runs"][0]["registered"], false, "it is another file: it says when it was made");
    project.write("experiments/large/experiment.toml", &LARGE.replace("steps = 400", "steps = 800"));
    project.commit("Train longer");
    project.harness(&["run", "large", "--seed", "1"]).expect(0);
    let other = project.harness(&["ladder", "score", "large"]).expect(2);
    assert!(other.stderr.contains("another plan"), "{}", other.stderr);
}

#[test]
fn what_makes_no_ladder_is_refused_and_writes_nothing() {
    let project = project();
    let small = project.harness(&["ladder", "new", "tiny"]).expect(2);
    assert!(small.stderr.contains("two rungs would be the same") && small.stderr.contains("hint:"), "{}", small.stderr);
    assert!(
        !project.path("experiments/tiny-rung-1").exists() && !project.path("experiments/tiny/ladder.toml").exists()
    );
    project.write("experiments/timed/experiment.toml", &TINY.replace("steps = 20", "budget = { wall_time_s = 5.0 }"));
    let timed = project.harness(&["ladder", "new", "timed"]).expect(2);
    assert!(timed.stderr.contains("not known before it is run"), "{}", timed.stderr);
    let three = json(&project, &["ladder", "new", "large", "--sizes", "3"]);
    assert_eq!(three["rungs"].as_array().unwrap().len(), 3);
    let file = fs::read_to_string(project.path("experiments/large/ladder.toml")).unwrap();
    assert!(file.contains("irreducible = 0.0"), "three sizes cannot tell it: {file}");
}
