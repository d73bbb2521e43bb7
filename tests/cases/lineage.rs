//! What grew from what, through the program: the tree of experiments, in what two differ, and how much seeds differ.

use serde_json::Value;

use crate::common::Project;

/// A project with three seeds of `tiny`, of `warm`, which extends it and expects less loss, and of `wide`, which expects
/// nothing, and with `warmer`, which extends `warm` and was not run.
pub(super) fn project() -> Project {
    let project = Project::new();
    let warm = "extends = \"tiny\"\nhypothesis = \"Less loss.\"\nseeds = 3\n\n[expect]\nmetric = \
                \"validation.bits_per_byte\"\ndirection = \"lower\"\nat_least = 0.01\n\n[schedule]\nwarmup_steps = 2\n";
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/warm/experiment.toml", warm);
    project.write("experiments/wide/experiment.toml", "extends = \"tiny\"\n[model]\nwidth = 32\n");
    project.write("experiments/warmer/experiment.toml", &warm.replace("tiny", "warm").replace("= 2", "= 3"));
    project.write("src/trainer/src/model.rs", "// one\n");
    project.commit("Propose");
    project.harness(&["seeds", "tiny", "--seeds", "3"]).expect(0);
    for (count, better) in [("1", "better:200"), ("2", "better:220"), ("3", "better:210")] {
        project.harness_with(better, &["seeds", "warm", "--seeds", count]).expect(0);
    }
    project
}

pub(super) fn json(project: &Project, arguments: &[&str]) -> Value {
    serde_json::from_str(&project.harness(&[arguments, &["--json"]].concat()).expect(0).stdout).unwrap()
}

pub(super) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn every_experiment_stands_under_the_one_that_it_extends() {
    let project = project();
    project.write("src/trainer/src/model.rs", "// two\n");
    project.commit("Change the model");
    for (count, better) in [("1", "better:20"), ("2", "better:90"), ("3", "better:10")] {
        project.harness_with(better, &["seeds", "wide", "--seeds", count]).expect(0);
    }

    let tree = json(&project, &["tree"]);
    let experiments = tree["experiments"].as_array().unwrap();
    let names: Vec<&str> = experiments.iter().map(|branch| branch["experiment"].as_str().unwrap()).collect();
    assert_eq!(names, ["tiny", "warm", "warmer", "wide"]);
    let decided = json(&project, &["decide", "warm"]);
    assert_eq!(experiments[1]["effect"]["interval"], decided["estimate"]["interval"], "that of the rule");
    assert_eq!((&experiments[1]["verdict"], &experiments[1]["registered"][0]), (&decided["verdict"], &3.into()));
    assert!(experiments[2]["effect"].is_null() && experiments[2]["verdict"] == "INADMISSIBLE");
    let compared = &json(&project, &["compare", "tiny", "wide"])["comparisons"][0]["effects"][0];
    let near = |a: &Value, b: &Value| assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-12, "{a} {b}");
    near(&experiments[3]["effect"]["difference"], &compared["difference"]);
    near(&experiments[3]["effect"]["interval"][0], &compared["interval"][0]);
    assert!(experiments[3]["verdict"].is_null(), "what expected nothing has no verdict");

    let text = project.harness(&["tree"]).expect(0).stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.contains("├─ warm ") && text.contains("│  └─ warmer") && text.contains("└─ wide"), "{text}");

    let diff = json(&project, &["diff", "tiny", "wide"]);
    let keys: Vec<&str> = diff["config"].as_array().unwrap().iter().map(|c| c["key"].as_str().unwrap()).collect();
    assert!(keys.contains(&"model.width") && !keys.contains(&"model.layers"), "{keys:?}");
    assert_eq!(diff["code"]["trainer"]["files"][0], "src/trainer/src/model.rs");
    assert_eq!(diff["code"]["trainer"]["only_second"][0]["title"], "Change the model");
    assert_eq!(diff["code"]["trainer"]["only_first"].as_array().unwrap().len(), 0);
    assert!(diff["data"].as_array().unwrap().is_empty() && diff["environment"].as_array().unwrap().is_empty());
    assert_eq!(diff["results"]["effects"][0], *compared);
    let text = project.harness(&["diff", "tiny", "wide"]).expect(0).stdout;
    for part in
        ["model.width", "16", "32", "only in wide", "Change the model", "data: the same", "validation.bits_per_byte"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let runs: Vec<String> =
        project.runs("tiny").iter().map(|run| run.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let seeds = json(&project, &["diff", &runs[0], &runs[1]]);
    assert_eq!(seeds["config"].as_array().unwrap().len(), 1, "two runs of a plan differ in their seed");
    let without = project.harness(&["diff", "warm", "warmer"]).expect(0).stdout;
    assert!(without.contains("schedule.warmup_steps") && without.contains("`warmer` has no run"), "{without}");
    let refused = project.harness(&["diff", "warm", "warmest"]).expect(2);
    assert!(refused.stderr.contains("no run `warmest`") && refused.stderr.contains("hint:"), "{}", refused.stderr);
}

#[test]
fn the_spread_over_seeds_is_told_with_what_it_lets_be_found() {
    let project = project();
    let variance = json(&project, &["variance"]);
    let metric = &variance["metrics"][0];
    assert_eq!(
        (metric["metric"].as_str(), metric["baseline"].as_str()),
        (Some("validation.bits_per_byte"), Some("tiny"))
    );
    let [tiny, warm] = &metric["experiments"].as_array().unwrap()[..] else { panic!("{metric}") };
    let sides = [numbers(&tiny["values"]), numbers(&warm["values"])];
    let compared = &json(&project, &["compare", "tiny", "warm"])["comparisons"][0]["effects"][0];
    for (side, of) in sides.iter().zip(["reference_runs", "other_runs"]) {
        assert!(side.iter().zip(numbers(&compared[of])).all(|(a, b)| (a - b).abs() < 1e-12), "{side:?} {compared}");
    }
    let ways = [
        ("blocks", harness_statistics::hypothesis::blocks(&sides[0], &sides[1])),
        ("pooled", harness_statistics::hypothesis::pooled_t(&sides[0], &sides[1])),
        ("welch", harness_statistics::hypothesis::welch(&sides[0], &sides[1])),
    ];
    for (way, test) in ways {
        let found = numbers(&warm["against_baseline"][way]["interval"]);
        assert!((found[0] - test.unwrap().low).abs() < 1e-12, "{way}: {found:?}");
    }
    assert_eq!(warm["against_baseline"]["shared_seeds"], 3);
    let detectable = metric["detectable"].as_array().unwrap();
    assert_eq!((detectable.len(), &detectable[0]["seeds"]), (9, &2.into()));
    let pooled = metric["pooled"]["deviation"].as_f64().unwrap();
    let expected = pooled * harness_statistics::power::detectable_over_seeds(3, 3, 0.05).unwrap();
    assert!((detectable[1]["pooled"].as_f64().unwrap() - expected).abs() < 1e-12);
    // Two treatments in blocks: the deviation of a difference is the root of two of that within a seed.
    let differences: Vec<f64> = sides[0].iter().zip(&sides[1]).map(|(a, b)| b - a).collect();
    let within = harness_statistics::variance(&differences).sqrt() / std::f64::consts::SQRT_2;
    assert!((metric["within_seeds"]["deviation"].as_f64().unwrap() - within).abs() < 1e-12);

    let text = project.harness(&["variance"]).expect(0).stdout;
    for part in ["by blocks", "one variance", "Welch", "Bartlett", "Brown and Forsythe"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let one = project.harness(&["variance", "warmer"]).expect(2);
    assert!(one.stderr.contains("no run that counts") && one.stderr.contains("hint:"), "{}", one.stderr);
    let unknown = project.harness(&["variance", "tiny", "warm", "--metric", "no.such"]).expect(2);
    assert!(unknown.stderr.contains("do not have the metric"), "{}", unknown.stderr);
    let all = json(&project, &["variance", "tiny", "warmer"]);
    assert_eq!(all["metrics"][0]["left_out"][0]["experiment"], "warmer");
}
