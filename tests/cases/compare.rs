//! `harness compare` and `harness diagnose` on real run folders: a planted difference is found, a planted null is not.

use crate::common::{Project, TINY};
use serde_json::Value;

/// A project with a second experiment of the same plan: only the name tells them apart.
fn two_experiments() -> Project {
    let project = Project::new();
    project.write("experiments/change/experiment.toml", &TINY.replace("Tiny", "Change"));
    project.commit("Propose a change");
    project
}

fn run(project: &Project, experiment: &str, seed: u64, behaviour: &str) {
    project.harness_with(behaviour, &["run", experiment, "--seed", &seed.to_string()]).expect(0);
}

fn json(project: &Project, arguments: &[&str]) -> Value {
    let ran = project.harness(&[arguments, &["--json"]].concat()).expect(0);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn effect<'a>(report: &'a Value, metric: &str) -> &'a Value {
    let effects = report["comparisons"][0]["effects"].as_array().unwrap();
    effects.iter().find(|e| e["metric"] == metric).unwrap_or_else(|| panic!("no {metric} in {report:#}"))
}

const BITS: &str = "validation.bits_per_byte";
const GROUP: &str = "tasks.grammar-agreement.accuracy";

#[test]
fn between_two_runs_a_difference_is_found_and_a_null_is_not() {
    let project = two_experiments();
    run(&project, "tiny", 3, "");
    run(&project, "change", 3, "");
    let null = json(&project, &["compare", "tiny", "change"]);
    for metric in [BITS, GROUP, "tasks.grammar-agreement.simple.accuracy"] {
        let effect = effect(&null, metric);
        assert_eq!((effect["difference"].as_f64(), effect["p_value"].as_f64()), (Some(0.0), Some(1.0)), "{effect:#}");
        assert_eq!(effect["verdict"], "not_distinguishable");
    }

    run(&project, "change", 3, "better:60");
    let found = json(&project, &["compare", "tiny", "change"]);
    let comparison = &found["comparisons"][0];
    assert_eq!(comparison["basis"], "one_run_each");
    assert!(comparison["claim"].as_str().unwrap().contains("these two trained models"));
    assert!(
        comparison["notes"].to_string().contains("1 run left out: of a seed that a later run repeats"),
        "{found:#}"
    );
    let (bits, group) = (effect(&found, BITS), effect(&found, GROUP));
    assert!(bits["difference"].as_f64().unwrap() < 0.0 && group["difference"].as_f64().unwrap() > 0.0);
    assert_eq!((&bits["verdict"], &group["verdict"]), (&Value::from("better"), &Value::from("better")));
    assert_eq!(bits["test"], "bootstrap_over_documents");
    assert_eq!(
        bits["units"],
        Project::json(&project.latest("tiny").join("plan/corpus-manifest.json"))["documents"]["validation"]
    );
    let single = effect(&found, "tasks.grammar-agreement.simple.accuracy");
    assert_eq!(
        (&single["test"], &single["family"]),
        (&Value::from("exact_mcnemar"), &Value::from("grammar-agreement"))
    );
    let tokens = comparison["budget"].as_array().unwrap().iter().find(|line| line["quantity"] == "training tokens");
    assert_eq!(tokens.unwrap()["equal"], true);

    // The other way round the same, with the sign turned.
    let back = json(&project, &["compare", "change", "tiny"]);
    let turned = effect(&back, BITS);
    assert_eq!(turned["verdict"], "worse");
    let close = |a: &Value, b: f64| assert!((a.as_f64().unwrap() - b).abs() < 1e-12, "{a} {b}");
    close(&turned["interval"][0], -bits["interval"][1].as_f64().unwrap());
    close(&turned["p_holm"], bits["p_holm"].as_f64().unwrap());
    assert_eq!(project.harness(&["compare", "tiny", "change", "--json"]).stdout, {
        project.harness(&["compare", "tiny", "change", "--json"]).stdout
    });
}

#[test]
fn over_seeds_a_difference_is_found_and_a_null_is_not() {
    let project = two_experiments();
    for seed in 1..=4 {
        run(&project, "tiny", seed, "");
    }
    for seed in 5..=8 {
        run(&project, "change", seed, "");
    }
    let null = json(&project, &["compare", "tiny", "change"]);
    let comparison = &null["comparisons"][0];
    assert_eq!((&comparison["basis"], &comparison["notes"]), (&Value::from("seeds"), &Value::Array(Vec::new())));
    for metric in [BITS, GROUP] {
        let effect = effect(&null, metric);
        assert_eq!(effect["verdict"], "not_distinguishable", "{effect:#}");
        assert_eq!(effect["test"], "welch_over_seeds");
        assert_eq!(effect["reference_runs"].as_array().unwrap().len(), 4);
        let low = effect["interval_over_seeds_and_units"][0].as_f64().unwrap();
        assert!(low < effect["difference"].as_f64().unwrap());
    }

    for seed in 5..=8 {
        run(&project, "change", seed, "better:60");
    }
    let found = json(&project, &["compare", "tiny", "change"]);
    for metric in [BITS, GROUP] {
        assert_eq!(effect(&found, metric)["verdict"], "better", "{found:#}");
    }
    // One run against the four seeds.
    let runs = project.runs("change");
    let one = runs.last().unwrap().file_name().unwrap().to_str().unwrap();
    let single = json(&project, &["compare", "tiny", one]);
    assert_eq!(single["comparisons"][0]["basis"], "one_run_against_seeds");
    assert_eq!(effect(&single, BITS)["test"], "pooled_t_over_seeds");
    assert_eq!(effect(&single, BITS)["degrees_of_freedom"], 3.0);

    let diagnosis = json(&project, &["diagnose", "tiny"]);
    assert_eq!(diagnosis["seeds"], serde_json::json!([1, 2, 3, 4]));
    let seeds = finding(&diagnosis, "seed_noise");
    assert_eq!(seeds["evidence"][0]["number"], 4.0, "{seeds:#}");
}

#[test]
fn tables_say_what_the_numbers_mean() {
    let project = two_experiments();
    run(&project, "tiny", 3, "");
    run(&project, "change", 4, "better:60");
    let ran = project.harness(&["compare", "tiny", "change", "--flips", "grammar-agreement.simple"]).expect(0);
    for words in ["better", "One run a side", "training tokens", "equal", "documents", "only by `change`", "nats"] {
        assert!(ran.stdout.contains(words), "no `{words}` in\n{}", ran.stdout);
    }
    let texts = ran.stdout.lines().filter(|line| line.starts_with("    + ")).count();
    assert!(texts > 0 && ran.stderr.is_empty(), "{}", ran.all());

    let markdown = project.harness(&["compare", "tiny", "change", "--md", "--tasks"]).expect(0).stdout;
    assert!(markdown.contains("| --- |") && markdown.contains("grammar-agreement.simple"), "{markdown}");
    let csv = project.harness(&["compare", "tiny", "change", "--csv"]).expect(0).stdout;
    let mut lines = csv.lines();
    let columns = lines.next().unwrap().split(',').count();
    assert!(columns == 23 && csv.lines().count() == 6, "{csv}");

    let unknown = project.harness(&["compare", "tiny", "change", "--flips", "blimp"]).expect(2);
    assert!(unknown.stderr.contains("grammar-agreement.simple"), "{}", unknown.stderr);
    let unknown = project.harness(&["compare", "tiny", "chnge"]).expect(2);
    assert!(unknown.stderr.contains("did you mean `change`?"), "{}", unknown.stderr);
    project.write("experiments/never/experiment.toml", "extends = \"tiny\"\n");
    let never = project.harness(&["compare", "tiny", "never"]).expect(2);
    assert!(never.stderr.contains("no completed, citable run"), "{}", never.stderr);
}

/// Thirty documents, read in windows: they are the units, and fewer bits are better.
#[test]
fn documents_of_a_task_are_compared_like_the_validation_text() {
    let project = Project::new();
    let text: String =
        (0..30).map(|n| format!("= {n} =\nThe old dogs see the cat, and it sees {n} of them.\n")).collect();
    let digest = harness_core::Digest::of(text.as_bytes());
    project.write(&format!(".harness/downloads/{digest}"), &text);
    let recipe = format!(
        "title = \"Articles\"\nversion = 1\nlicence = \"CC0-1.0\"\ncitation = \"none\"\nkind = \"documents\"\n\
         metric = \"bits_per_byte\"\nchance = 0.0\n[items]\nformat = \"text\"\n\
         records = {{ begin_with = '^= .* =$' }}\nchoices = [\"{{{{ text }}}}\"]\n\
         [[subtask]]\nfile.sha256 = \"{digest}\"\nfile.bytes = {}\n",
        text.len()
    );
    project.write("experiments/tasks/articles.toml", &recipe);
    let tiny = TINY.replace("\"grammar-agreement\"", "\"grammar-agreement\", \"articles\"");
    project.write("experiments/tiny/experiment.toml", &tiny);
    project.write("experiments/change/experiment.toml", &tiny.replace("Tiny", "Change"));
    project.commit("Ask about articles");
    run(&project, "tiny", 3, "");
    run(&project, "change", 3, "");
    let null = json(&project, &["compare", "tiny", "change"]);
    let metric = "tasks.articles.bits_per_byte";
    assert_eq!(effect(&null, metric)["verdict"], "not_distinguishable");

    run(&project, "change", 3, "better:60");
    let report = json(&project, &["compare", "tiny", "change"]);
    let found = effect(&report, metric);
    assert_eq!((&found["test"], &found["units"]), (&Value::from("bootstrap_over_documents"), &Value::from(30)));
    assert_eq!((&found["family"], &found["verdict"]), (&Value::from("primary"), &Value::from("better")), "{found:#}");
    assert!(found["difference"].as_f64().unwrap() < 0.0 && found["p_holm"].as_f64() >= found["p_value"].as_f64());
    // Every number over documents has the spread of the documents as its error.
    let values = json(&project, &["show", "change", "--values"]);
    for key in [metric, "tasks.articles.word_perplexity", BITS, "validation.perplexity"] {
        assert!(values["values"][key]["standard_error"].as_f64().unwrap() > 0.0, "{key}: {values:#}");
    }
    // No item of them is right or wrong.
    let refused = project.harness(&["compare", "tiny", "change", "--flips", "articles"]).expect(2);
    assert!(refused.stderr.contains("grammar-agreement.simple"), "{}", refused.stderr);
}

#[test]
fn what_is_not_the_same_is_said() {
    let project = two_experiments();
    let longer = TINY.replace("steps = 20", "steps = 30").replace("tasks = [\"grammar-agreement\"]", "tasks = []");
    project.write("experiments/longer/experiment.toml", &longer);
    project.commit("Propose more steps");
    run(&project, "tiny", 3, "");
    run(&project, "longer", 3, "");
    let report = json(&project, &["compare", "tiny", "longer"]);
    let comparison = &report["comparisons"][0];
    assert!(comparison["notes"].to_string().contains("grammar-agreement.simple"), "{report:#}");
    let tokens = &comparison["budget"][0];
    assert_eq!((&tokens["equal"], tokens["ratio"].as_f64()), (&Value::from(false), Some(1.5)));
    assert_eq!(comparison["effects"].as_array().unwrap().len(), 1);

    // A changed record is refused, not skipped.
    crate::common::flip(&project.latest("tiny").join("steps.csv"), 60);
    let refused = project.harness(&["compare", "tiny", "longer"]).expect(1);
    assert!(refused.stderr.contains("was changed after it was sealed"), "{}", refused.stderr);
}

fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    report["findings"].as_array().unwrap().iter().find(|f| f["check"] == check).unwrap()
}

#[test]
fn a_diagnosis_finds_what_was_planted_and_nothing_else() {
    let project = Project::new();
    let config = TINY.replace("steps = 20", "steps = 200").replace("checkpoint_every = 4", "checkpoint_every = 0");
    let config = config.replace("validation_at = { every = 5 }", "validation_at = { every = 20 }");
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Train longer");
    run(&project, "tiny", 3, "");
    let sound = json(&project, &["diagnose", "tiny"]);
    for check in ["non_finite", "loss_spikes", "late_rise", "warm_up", "throughput", "overfitting", "repeated_data"] {
        assert_eq!(finding(&sound, check)["outcome"], "clear", "{:#}", finding(&sound, check));
    }
    // The stand-in's gradient norm is above 1, its clipping norm, at every step.
    let clipping = finding(&sound, "clipping");
    assert_eq!((&clipping["outcome"], &clipping["evidence"][0]["number"]), (&Value::from("found"), &Value::from(1.0)));
    assert_eq!(clipping["changes"][0]["cost"]["runs"], 1.0);
    assert_eq!(finding(&sound, "still_improving")["outcome"], "found");
    assert_eq!(finding(&sound, "seed_noise")["outcome"], "not_judged");

    let ran = project.harness_with("spike:9", &["run", "tiny", "--seed", "3"]).expect(0);
    assert_eq!(ran.stderr.matches("the loss spikes").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("step 199: the loss spikes: 9.000 nats/token after"), "{}", ran.stderr);
    let log = harness_core::files::read_to_string(&project.latest("tiny").join("log.jsonl")).unwrap();
    assert!(log.contains(r#""event":"spike","body":{"step":199,"loss_nats":9.0,"#), "{log}");
    let spiked = json(&project, &["diagnose", "tiny"]);
    let spikes = finding(&spiked, "loss_spikes");
    assert!(spikes["outcome"] == "found" && spikes["statement"].as_str().unwrap().contains("step 199"), "{spikes:#}");

    run(&project, "tiny", 3, "overfit:2");
    let overfit = json(&project, &["diagnose", "tiny"]);
    assert_eq!(finding(&overfit, "overfitting")["outcome"], "found", "{:#}", finding(&overfit, "overfitting"));
    let text = project.harness(&["diagnose", "tiny"]).expect(0).stdout;
    assert!(text.contains("FOUND") && text.contains("rule:") && text.contains("runs like this one"), "{text}");

    project.harness_with("fail:5", &["run", "tiny"]).expect(1);
    let run = project.latest("tiny");
    let failed = json(&project, &["diagnose", run.file_name().unwrap().to_str().unwrap()]);
    assert_eq!(finding(&failed, "non_finite")["outcome"], "found");
    assert_eq!(finding(&failed, "loss_spikes")["outcome"], "not_judged");
}

#[test]
fn the_metrics_that_a_claim_rests_on_are_declared() {
    let project = two_experiments();
    let declared =
        TINY.replace("Tiny", "Change").replace("corpus =", &format!("primary_metrics = [\"{BITS}\"]\ncorpus ="));
    project.write("experiments/change/experiment.toml", &declared);
    project.commit("Declare the metric");
    run(&project, "tiny", 3, "");
    run(&project, "change", 3, "better:60");
    let report = json(&project, &["compare", "tiny", "change"]);
    let family = &report["comparisons"][0]["family"];
    assert_eq!((&family["declared_by"], &family["metrics"]), (&Value::from("config"), &serde_json::json!([BITS])));
    let bits = effect(&report, BITS);
    // A family of one leaves nothing to correct.
    assert_eq!((&bits["family"], &bits["p_holm"]), (&Value::from("primary"), &bits["p_value"]));
    assert_eq!(effect(&report, GROUP)["family"], "secondary");
    let text = project.harness(&["compare", "tiny", "change"]).expect(0).stdout;
    assert!(text.contains("as the config declares") && text.contains(GROUP), "{text}");

    let other = json(&project, &["compare", "tiny", "change", "--family", GROUP]);
    assert_eq!(other["comparisons"][0]["family"]["declared_by"], "command_line");
    assert_eq!(
        (&effect(&other, GROUP)["family"], &effect(&other, BITS)["family"]),
        (&"primary".into(), &"secondary".into())
    );
    let text = project.harness(&["compare", "tiny", "change", "--family", GROUP]).expect(0).stdout;
    assert!(text.contains("not declared before the runs"), "{text}");
    let unknown = project.harness(&["compare", "tiny", "change", "--family", "validation.loss"]).expect(2);
    assert!(unknown.stderr.contains(BITS) && unknown.stderr.contains("hint:"), "{}", unknown.stderr);

    project.write("experiments/change/experiment.toml", &declared.replace(&format!("\"{BITS}\""), "\"a\", \"a\""));
    let twice = project.harness(&["show", "change"]).expect(2);
    assert!(twice.stderr.contains("`a` is named twice"), "{}", twice.stderr);
}
