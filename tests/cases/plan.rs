//! What is known and measured before a run: budgets, `harness plan`, `harness probe`, `harness show --model`.

use crate::common::{Project, TINY};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// TINY without its number of steps, with something else in its place.
fn instead_of_steps(line: &str) -> String {
    TINY.replace("steps = 20\n", &format!("{line}\n")).replace("checkpoint_every = 4\n", "")
}

/// The experiment of the latest run, as resolved.
fn resolved(project: &Project, experiment: &str) -> toml::Table {
    let run = project.runs(experiment).last().unwrap().clone();
    std::fs::read_to_string(run.join("plan/config.toml")).unwrap().parse().unwrap()
}

#[test]
fn a_budget_is_turned_into_steps_before_the_run() {
    let project = Project::new();
    // 64 tokens a step; the stand-in claims 1,000 tokens a second.
    for (name, budget, steps) in
        [("tokens", "budget = { tokens = 700 }", 10), ("timed", "budget = { wall_time_s = 0.5 }", 7)]
    {
        project.write(&format!("experiments/{name}/experiment.toml"), &instead_of_steps(budget));
        project.commit(name);
        project.harness(&["run", name]).expect(0);
        let config = resolved(&project, name);
        assert_eq!(config["training"]["steps"].as_integer(), Some(steps), "{name}");
        assert!(config["training"]["budget"].is_table(), "{name}: the record says where the steps came from");
    }
    let model = json(&project.harness(&["show", "tiny", "--model", "--json"]).expect(0).stdout);
    let flops = model["training_flops_per_token"].as_f64().unwrap() * 64.0 * 5.5;
    project.write("experiments/flops/experiment.toml", &instead_of_steps(&format!("budget = {{ flops = {flops:e} }}")));
    project.commit("flops");
    project.harness(&["run", "flops"]).expect(0);
    assert_eq!(resolved(&project, "flops")["training"]["steps"].as_integer(), Some(5));
    // The audit turns the budget into steps once more.
    for name in ["flops", "timed"] {
        let audit = project.harness(&["audit", project.latest(name).file_name().unwrap().to_str().unwrap()]).expect(0);
        assert!(!audit.all().contains("does not follow"), "{}", audit.all());
    }
    let timed = json(&project.harness(&["show", "timed", "--model", "--json"]).expect(0).stdout);
    assert_eq!(timed["training_tokens"], Value::Null, "no rate is known");

    project.write("experiments/small/experiment.toml", &instead_of_steps("budget = { wall_time_s = 0.01 }"));
    project.commit("small");
    let ran = project.harness(&["run", "small"]).expect(2);
    assert!(ran.stderr.contains("does not pay for one step of 64 tokens\nhint: "), "{}", ran.stderr);
}

#[test]
fn a_timed_run_that_was_stopped_goes_on_with_the_steps_it_had() {
    let project = Project::new();
    let text = instead_of_steps("budget = { wall_time_s = 1.0 }\ncheckpoint_every = 2");
    project.write("experiments/timed/experiment.toml", &text);
    project.commit("timed");
    // The short run before has eight steps and stays alive.
    project.harness_with("die:12", &["run", "timed"]).expect(1);
    project.harness(&["run", "timed", "--resume"]).expect(0);
    assert_eq!(resolved(&project, "timed")["training"]["steps"].as_integer(), Some(15));
}

#[test]
fn a_plan_needs_no_gpu_and_says_what_a_run_takes() {
    let project = Project::new();
    let text = project.harness(&["plan", "tiny"]).expect(0).stdout;
    for part in
        ["tokens in 20 steps", "compute-optimal", "memory: activations", "5 checkpoints", "h100-sxm", "GPU hours"]
    {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let plan = json(&project.harness(&["plan", "tiny", "--gpu", "a100-80gb", "--json"]).expect(0).stdout);
    let forecast = &plan["forecast"];
    assert_eq!((forecast["tokens"].as_u64(), forecast["steps"].as_u64()), (Some(20 * 64), Some(20)));
    let rate = forecast["tokens_per_s"].as_f64().unwrap();
    assert!(rate > 0.0 && forecast["time_s"].as_f64().unwrap() * rate >= 20.0 * 64.0);
    assert_eq!(plan["on_gpus"].as_array().unwrap().len(), 1);

    let probed = json(&project.harness(&["plan", "tiny", "--probe", "--json"]).expect(0).stdout);
    assert_eq!(probed["forecast"]["tokens_per_s"].as_f64(), Some(1000.0), "what the stand-in claims");
    assert_eq!(probed["forecast"]["rate"]["peak_memory_bytes"].as_u64(), Some(1 << 27));
    assert!(project.runs("tiny").is_empty(), "a probe is no run");
    // The corpus is prepared now: five validations and two scorings of the task, a third of training for each token.
    let forecast = &probed["forecast"];
    let number = |key: &str| forecast[key].as_f64().unwrap_or_else(|| panic!("{key}: {forecast:#}"));
    let flops_per_token = number("training_flops") / number("tokens");
    let evaluation = number("validation_flops") + number("task_flops");
    assert!(number("validation_flops") > 0.0 && number("task_flops") > 0.0);
    assert!((number("evaluation_time_s") / (evaluation / flops_per_token / 1000.0) - 1.0).abs() < 1e-9);
    assert!((number("time_s") - number("evaluation_time_s") - 20.0 * 64.0 / 1000.0).abs() < 1e-9);
    let text = project.harness(&["plan", "tiny"]).expect(0).stdout;
    assert!(text.contains("the model is small for a10, ") && text.contains("evaluations"), "{text}");

    let ran = project.harness(&["plan", "tiny", "--gpu", "h1000"]).expect(2);
    assert!(ran.stderr.contains("h100-sxm"), "{}", ran.stderr);
    project.harness(&["plan", "tiny", "--utilization", "2"]).expect(2);
    let failed = project.harness_with("fail:3", &["plan", "tiny", "--probe"]).expect(1);
    assert!(failed.stderr.contains("the short run ended early: loss is not finite"), "{}", failed.stderr);
}

#[test]
fn a_probe_is_recorded_with_a_figure_and_leaves_the_tree_clean() {
    let project = Project::new();
    for (kind, key) in [
        ("batch", "training.micro_batch_size"),
        ("lr", "optimizer.learning_rate"),
        ("warmup", "schedule.warmup_steps"),
        ("clip", "optimizer.gradient_clip_norm"),
    ] {
        let ran = project.harness(&["probe", kind, "tiny", "--steps", "20", "--most", "4"]).expect(0);
        assert!(ran.stdout.contains(&format!("recommended: {key} = ")), "{kind}\n{}", ran.all());
        let files: Vec<String> = std::fs::read_dir(project.path("experiments/tiny/probes"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(kind))
            .collect();
        assert_eq!(files.len(), 2, "{files:?}");
        let read = |end: &str| {
            let name = files.iter().find(|name| name.ends_with(end)).unwrap();
            std::fs::read_to_string(project.path(&format!("experiments/tiny/probes/{name}"))).unwrap()
        };
        let probe = json(&read(".json"));
        assert_eq!((probe["format"].as_u64(), probe["key"].as_str()), (Some(2), Some(key)));
        let points = probe["points"].as_array().unwrap().len();
        let expected = match kind {
            "batch" => 3,  // 1, 2, 4
            "lr" => 7,     // three factors of two each way
            "warmup" => 1, // a tenth of 20 steps leaves no room for 10
            _ => 20,       // each step
        };
        assert_eq!(points, expected, "{kind}");
        assert!(read(".svg").starts_with("<svg"));
    }
    // The tree is not dirty: a run is not refused.
    project.harness(&["run", "tiny"]).expect(0);

    let ran = project.harness_with("fail:3", &["probe", "lr", "tiny", "--steps", "20"]).expect(1);
    assert!(ran.stdout.contains("no setting trained to the end"), "{}", ran.all());
}
