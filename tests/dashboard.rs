//! `harness dashboard` on real run folders, and its size with many long ones.
#![allow(clippy::disallowed_methods, reason = "tests set up and read files as they like")]

mod common;

use std::fs;
use std::path::Path;

use common::{Project, TINY, repository};
use harness::dashboard::{Curve, Data, Experiment, FORMAT, Results, Run, Task, page, points_for};
use harness_core::Digest;
use harness_core::scores::StepLine;
use serde_json::Value;

fn template() -> String {
    fs::read_to_string(repository().join("templates/dashboard.html")).unwrap()
}

/// The data in a page.
fn data_of(page: &str) -> Value {
    let inside = page.split("<script id=\"data\" type=\"application/json\">").nth(1).unwrap();
    serde_json::from_str(inside.split("</script>").next().unwrap()).unwrap()
}

#[test]
fn it_shows_sealed_open_and_changed_runs_of_every_experiment() {
    let project = Project::new();
    project.write("templates/dashboard.html", &template());
    let change = TINY.replace("Tiny", "</script>").replacen("title", "extends = \"tiny\"\ntitle", 1);
    project.write("experiments/change/experiment.toml", &change);
    project.commit("Propose a change");
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["run", "change"]).expect(0);
    project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    common::flip(&project.latest("tiny").join("steps.csv"), 200);

    let ran = project.harness(&["dashboard"]).expect(0);
    assert!(ran.stdout.contains("report/build/dashboard.html: 3 runs"), "{}", ran.stdout);
    assert!(ran.stderr.contains("without curves"), "{}", ran.stderr);
    let page = fs::read_to_string(project.path("report/build/dashboard.html")).unwrap();
    let data = data_of(&page);
    let names: Vec<&str> =
        data["experiments"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tiny", "change"], "the child follows what it extends");
    assert_eq!(data["experiments"][1]["title"], "</script>");
    assert_eq!(data["project"], "../../");
    let states: Vec<&str> = data["runs"].as_array().unwrap().iter().map(|r| r["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["completed", "completed", "changed"]);
    let run = &data["runs"][0];
    assert_eq!(run["curve"]["step"].as_array().unwrap().len(), 20);
    assert_eq!(run["validation"].as_array().unwrap().len(), 5);
    assert!(run["tasks"][0]["mean"].is_number() && run["findings"].is_array());
    // The table's numbers are those of `harness show --values`.
    let values = project.harness(&["show", "change", "--values", "--json"]).expect(0);
    let values: Value = serde_json::from_str(&values.stdout).unwrap();
    let key = "validation.bits_per_byte";
    assert_eq!(data["runs"][1]["values"][key], values["values"][key]["number"]);

    let again = project.harness(&["dashboard", "--out", "again.html"]).expect(0);
    assert!(again.stdout.contains("again.html"));
    let moved = fs::read_to_string(project.path("again.html")).unwrap();
    assert_eq!(data_of(&moved)["runs"], data["runs"], "the same runs give the same page");
    assert_eq!(data_of(&moved)["project"], "");
    // What a browser is driven on, in `make test-dashboard`.
    keep("dashboard-small.html", &page);
}

/// Keeps a page for the test in a browser.
fn keep(name: &str, page: &str) {
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), page).unwrap();
}

fn long_run(index: usize, points: usize) -> Run {
    let noise = |step: u64, salt: u64| {
        let x = (step ^ (index as u64) << 20 ^ salt << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) as f64 / u64::MAX as f64 - 0.5
    };
    let line = |step: u64| StepLine {
        step,
        tokens: step * 8192,
        loss_nats: 2.0 + 7.0 / (1.0 + step as f64 / (200.0 + index as f64)) + 0.2 * noise(step, 1),
        learning_rate: 1e-3 * (1.0 - step as f64 / 10_001.0),
        gradient_norm: 0.7 + 0.3 * noise(step, 2),
        wall_time_s: 0.1 * step as f64,
        tokens_per_s: 81_920.0 * (1.0 + 0.1 * noise(step, 3)),
        ..StepLine::default()
    };
    let steps: Vec<StepLine> = (1..=10_000).map(line).collect();
    let times: Vec<f64> = steps.iter().map(|s| s.wall_time_s).collect();
    let bits = 1.2 + 0.3 * noise(7, 4);
    let results = Results {
        root: Digest::of(&index.to_le_bytes()),
        commit: "0".repeat(40),
        seed: (index % 3) as u64,
        values: [("validation.bits_per_byte", bits), ("training.steps", 10_000.0), ("model.parameters", 1e6)].into(),
        tasks: vec![Task {
            title: "BLiMP".to_owned(),
            chance: 0.5,
            mean: 0.6 + 0.1 * noise(9, 5),
            standard_error: 0.01,
        }],
        curve: Curve::of(&steps, &times, points),
        validation: (0..=20).map(|k| (500 * k, 500 * 8192 * k, bits + 2.0 / (1.0 + k as f64))).collect(),
        flops_per_token: 6e6,
        findings: Vec::new(),
    };
    Run {
        run: format!("20261123T{:06}Z-{index:08x}", 80_000 + index),
        experiment: format!("experiment-{:02}", index / 3),
        state: "completed".to_owned(),
        not_citable_because: None,
        results: Some(results),
    }
}

#[test]
fn two_hundred_runs_of_ten_thousand_steps_stay_under_five_megabytes() {
    const RUNS: usize = 200;
    let parent = |k: usize| (k > 0).then(|| format!("experiment-{:02}", (k - 1) / 3));
    let experiment =
        |k: usize| Experiment::new(format!("experiment-{k:02}"), format!("Change {k}"), String::new(), parent(k), k);
    let data = Data {
        format: FORMAT,
        project: "../../".to_owned(),
        experiments: (0..RUNS.div_ceil(3)).map(experiment).collect(),
        runs: (0..RUNS).map(|index| long_run(index, points_for(RUNS))).collect(),
    };
    let page = page(&template(), &data).unwrap();
    keep("dashboard-large.html", &page);
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    let data = data_of(&page);
    let curve = &data["runs"][199]["curve"];
    assert_eq!(curve["of_steps"], 10_000);
    assert_eq!(curve["step"].as_array().unwrap().last().unwrap(), 10_000);
}
