//! `harness dashboard` on real run folders, and its size with many long ones.

use std::fs;
use std::path::Path;

use crate::common::{Project, TINY, repository};
use harness::dashboard::{
    Curve, Data, Documents, Experiment, FORMAT, Found, Results, Run, Spending, Task, page, points_for, short,
};
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
    project.harness(&["run", "tiny", "--seed", "5"]).expect(0);
    project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    crate::common::flip(&project.latest("tiny").join("steps.csv"), 200);

    let ran = project.harness(&["dashboard"]).expect(0);
    assert!(ran.stdout.contains("report/build/dashboard.html: 4 runs"), "{}", ran.stdout);
    assert!(ran.stderr.contains("without curves"), "{}", ran.stderr);
    let page = fs::read_to_string(project.path("report/build/dashboard.html")).unwrap();
    let data = data_of(&page);
    let names: Vec<&str> =
        data["experiments"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tiny", "change"], "the child follows what it extends");
    assert_eq!(data["experiments"][1]["title"], "</script>");
    assert_eq!(data["project"], "../../");
    let states: Vec<&str> = data["runs"].as_array().unwrap().iter().map(|r| r["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["completed", "completed", "completed", "changed"]);
    // All that was spent, also on the run that was changed since; no limits, no names of people.
    let parts = data["budget"]["parts"].as_array().unwrap();
    let names: Vec<&str> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["baseline", "explore", "change", "tiny", "all"]);
    assert_eq!((parts[4]["entries"].as_u64(), data["budget"]["limits"].as_array().unwrap().len()), (Some(4), 0));
    assert!(!data["budget"].to_string().contains("Test"), "{}", data["budget"]);
    let run = &data["runs"][0];
    assert_eq!(run["curve"]["step"].as_array().unwrap().len(), 20);
    assert_eq!(run["validation"].as_array().unwrap().len(), 5);
    // A group with its tasks and its curve; a finding with what `harness diagnose` says of it.
    let group = &run["tasks"][0];
    assert!(group["mean"].is_number() && group["curve"].as_array().unwrap().len() == 2, "{group:#}");
    for score in ["gold_bits_per_byte", "gold_probability"] {
        let points = group[score].as_array().unwrap();
        assert!(points.len() == 2 && points.iter().all(|point| point[2].as_f64().unwrap() > 0.0), "{group:#}");
    }
    let members: Vec<&str> =
        group["members"].as_array().unwrap().iter().map(|t| t["title"].as_str().unwrap()).collect();
    assert!(members.len() > 1 && members.contains(&"simple"), "{members:?}");
    let found = &run["findings"][0];
    let said = project.harness(&["diagnose", run["run"].as_str().unwrap()]).expect(0).stdout;
    for part in [&found["statement"], &found["evidence"][0], &found["figure"], &found["changes"][0]] {
        assert!(said.contains(part.as_str().unwrap()), "{part} in\n{said}");
    }
    let noise = &data["experiments"][0]["seed_noise"];
    assert_eq!(noise["evidence"][0], "seeds 2", "{noise:#}");
    assert_eq!(data["experiments"][1]["seed_noise"], Value::Null, "one seed");
    // The two seeds of the plan that can be read, not the best of all runs.
    let bits = |index: usize| data["runs"][index]["values"]["validation.bits_per_byte"].as_f64().unwrap();
    let seeds: Vec<usize> =
        (0..4).filter(|&i| data["runs"][i]["experiment"] == "tiny" && data["runs"][i]["values"].is_object()).collect();
    let mean = seeds.iter().map(|&i| bits(i)).sum::<f64>() / seeds.len() as f64;
    assert_eq!(data["experiments"][0]["latest_plan"]["seeds"], 2);
    assert!((data["experiments"][0]["latest_plan"]["bits_per_byte"].as_f64().unwrap() - mean).abs() < 1e-12);
    // The table's numbers are those of `harness show --values`.
    let values = project.harness(&["show", "change", "--values", "--json"]).expect(0);
    let values: Value = serde_json::from_str(&values.stdout).unwrap();
    let key = "validation.bits_per_byte";
    let change = &data["runs"].as_array().unwrap().iter().find(|r| r["experiment"] == "change").unwrap();
    assert_eq!(change["values"][key], values["values"][key]["number"]);

    let again = project.harness(&["dashboard", "--out", "again.html"]).expect(0);
    assert!(again.stdout.contains("again.html"));
    let moved = fs::read_to_string(project.path("again.html")).unwrap();
    assert_eq!(data_of(&moved)["runs"], data["runs"], "the same runs give the same page");
    assert_eq!(data_of(&moved)["project"], "");
    // What a browser is driven on, in `make test-dashboard`.
    keep("dashboard-small.html", &page);
}

#[test]
fn what_stops_being_finite_keeps_its_mark() {
    let project = Project::new();
    project.write("templates/dashboard.html", &template());
    project.commit("Add the page");
    project.harness_with("nan:12", &["run", "tiny"]);
    project.harness(&["dashboard"]).expect(0);
    let page = fs::read_to_string(project.path("report/build/dashboard.html")).unwrap();
    let run = &data_of(&page)["runs"][0];
    let points: Vec<(u64, bool)> = run["validation"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (point[0].as_u64().unwrap(), point[2].is_number()))
        .collect();
    assert_eq!(points[..3], [(0, true), (5, true), (10, true)], "{run:#}");
    assert!(points.len() > 3 && points[3..].iter().all(|(_, finite)| !finite), "kept, as no number: {points:?}");
    assert!(page.contains("is not finite by step"), "the page says so");
}

#[test]
fn a_later_evaluation_stands_beside_the_run_it_evaluates() {
    let project = Project::new();
    project.write("templates/dashboard.html", &template());
    project.commit("Take the template of the page");
    project.harness(&["run", "tiny"]).expect(0);
    let trained = project.latest("tiny");
    project.harness(&["evaluate", "tiny"]).expect(0);
    let ran = project.harness(&["dashboard", "--out", "page.html"]).expect(0);
    assert!(ran.stdout.contains("page.html: 1 runs"), "{}", ran.stdout);
    let data = data_of(&fs::read_to_string(project.path("page.html")).unwrap());
    let [run, evaluation] = data["runs"].as_array().unwrap().as_slice() else { panic!("{data:#}") };
    assert_eq!((&run["evaluates"], &evaluation["evaluates"]), (&Value::Null, &run["run"]));
    assert_eq!(run["run"], trained.file_name().unwrap().to_str().unwrap());
    assert!(evaluation["tasks"][0]["mean"].is_number(), "{evaluation:#}");
    // The training is that of the other run, and is not shown twice.
    assert!(
        evaluation["curve"]["step"].as_array().unwrap().is_empty() && evaluation["findings"] == Value::Array(vec![])
    );
    // So it is where it was changed after it was sealed.
    crate::common::flip(&project.latest("tiny").join("MANIFEST"), 3);
    project.harness(&["dashboard", "--out", "page.html"]).expect(0);
    let data = data_of(&fs::read_to_string(project.path("page.html")).unwrap());
    assert_eq!((&data["runs"][1]["state"], &data["runs"][1]["evaluates"]), (&"changed".into(), &run["run"]));
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
    let task = |title: &str, salt: u64| Task {
        title: title.to_owned(),
        chance: 0.5,
        mean: short(0.6 + 0.1 * noise(salt, 5)),
        standard_error: 0.0123,
        ..Task::default()
    };
    let evaluations = |every: u64, end: f64| -> Vec<(u64, u64, f64)> {
        (0..=20).map(|k| (every * k, every * 8192 * k, short(end + 2.0 / (1.0 + k as f64)))).collect()
    };
    // As long as those of a real diagnosis.
    let found = |_| Found {
        check: "generalization_gap",
        subject: None,
        statement: "held-out text costs 11.0 % more than training text".to_owned(),
        evidence: vec!["training loss, last tenth of the steps 2.345 nats/token".to_owned(); 4],
        figure: "training_loss",
        changes: vec![
                "more text, or dropout, or more weight decay (1.00 runs like this one: 4.1e15 FLOPs, about 1000 s)"
                    .to_owned();
                2
            ],
    };
    let results = Results {
        root: Digest::of(&index.to_le_bytes()),
        commit: "0".repeat(40),
        seed: (index % 3) as u64,
        values: [("validation.bits_per_byte", bits), ("training.steps", 10_000.0), ("model.parameters", 1e6)].into(),
        tasks: vec![
            Task {
                curve: evaluations(500, 0.6),
                members: (0..16).map(|k| task(&format!("a paradigm with a long name {k}"), k)).collect(),
                ..task("BLiMP", 9)
            },
            Task { curve: evaluations(500, 0.3), ..task("LAMBADA", 10) },
            Task { curve: evaluations(500, 0.5), ..task("PIQA", 11) },
        ],
        documents: vec![Documents { title: "WikiText-2".to_owned(), curve: evaluations(500, 1.3) }],
        curve: Curve::of(&steps, &times, points),
        validation: evaluations(500, bits),
        flops_per_token: 6e6,
        findings: (0..8).map(found).collect(),
    };
    Run {
        run: format!("20261123T{:06}Z-{index:08x}", 80_000 + index),
        experiment: format!("experiment-{:02}", index / 3),
        state: "completed".to_owned(),
        not_citable_because: None,
        evaluates: None,
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
        budget: Spending::default(),
    };
    let page = page(&template(), &data).unwrap();
    keep("dashboard-large.html", &page);
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    let data = data_of(&page);
    let curve = &data["runs"][199]["curve"];
    assert_eq!(curve["of_steps"], 10_000);
    assert_eq!(curve["step"].as_array().unwrap().last().unwrap(), 10_000);
}
