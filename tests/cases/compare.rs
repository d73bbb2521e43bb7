//! `harness compare` and `harness diagnose` on real run folders: a planted difference is found, a planted null is not.

use std::collections::BTreeSet;

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

/// The kinds of the notes of a comparison.
fn kinds(comparison: &Value) -> Vec<String> {
    comparison["notes"].as_array().unwrap().iter().map(|note| note["kind"].as_str().unwrap().to_owned()).collect()
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
    // One run a side says nothing of training: never "better".
    let differ = Value::from("models_differ");
    assert_eq!((&bits["verdict"], &group["verdict"]), (&differ, &differ));
    assert_eq!((&bits["test"], &group["test"]), (&"t_over_documents".into(), &"mcnemar_over_tasks".into()));
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
    assert_eq!(turned["verdict"], "models_differ");
    let close = |a: &Value, b: f64| assert!((a.as_f64().unwrap() - b).abs() < 1e-12, "{a} {b}");
    close(&turned["interval"][0], -bits["interval"][1].as_f64().unwrap());
    close(&turned["p_holm"], bits["p_holm"].as_f64().unwrap());
    assert_eq!(project.harness(&["compare", "tiny", "change", "--json"]).stdout, {
        project.harness(&["compare", "tiny", "change", "--json"]).stdout
    });
}

#[test]
fn items_of_one_passage_are_tested_as_one() {
    let project = two_experiments();
    let questions = |passages: usize| -> String {
        let record = |i: usize| {
            let passage = i % passages;
            format!(
                "{{\"passage\": \"Passage {passage}.\", \"question\": \"is {i} so\", \"answer\": {}}}\n",
                i.is_multiple_of(3)
            )
        };
        (0..120).map(record).collect()
    };
    for (name, passages) in [("many", 12), ("few", 4)] {
        project.write(&format!("{name}.jsonl"), &questions(passages));
        project.harness(&["task", "new", name, &format!("{name}.jsonl")]).expect(0);
    }
    for (experiment, title) in [("tiny", "Tiny"), ("change", "Change")] {
        let config = TINY.replace("Tiny", title).replace("[\"grammar-agreement\"]", "[\"many\", \"few\"]");
        project.write(&format!("experiments/{experiment}/experiment.toml"), &config);
    }
    project.commit("Ask about passages");
    let checked = project.harness(&["task", "check", "few"]).expect(1).stdout;
    assert!(
        checked.contains("120 in 4 clusters") && checked.contains("with fewer than 5 nothing is tested"),
        "{checked}"
    );

    run(&project, "tiny", 3, "");
    run(&project, "change", 3, "better:60");
    let scores = project.latest("tiny").join("evaluations/step-00000020/many.csv");
    let scores = std::fs::read_to_string(scores).unwrap();
    assert!(scores.lines().next().unwrap().ends_with(",cluster") && scores.lines().nth(3).unwrap().ends_with(",1"));
    let report = json(&project, &["compare", "tiny", "change"]);
    let many = effect(&report, "tasks.many.accuracy");
    assert_eq!((&many["test"], &many["units"]), (&"t_over_item_clusters".into(), &120.into()), "{many:#}");
    let df = many["degrees_of_freedom"].as_f64().unwrap();
    assert!((df - 11.0).abs() < 1e-9, "twelve passages of ten questions: {df}");
    let few = effect(&report, "tasks.few.accuracy");
    assert_eq!(few["not_judged"], serde_json::json!({ "because": "few_clusters", "clusters": 4 }));
    assert!(few["p_value"].is_null() && few["interval"].is_null(), "{few:#}");

    // Over seeds the passages are what a value rests on, too.
    run(&project, "tiny", 4, "");
    run(&project, "change", 4, "better:60");
    let report = json(&project, &["compare", "tiny", "change"]);
    let many = effect(&report, "tasks.many.accuracy");
    assert_eq!(many["test"], "blocks_over_seeds");
    assert!(many["interval_over_seeds_and_units"][0].is_number(), "{many:#}");
}

#[test]
fn two_evaluations_are_compared_for_what_they_measured() {
    let project = two_experiments();
    let evaluated = |experiment: &str, arguments: &[&str]| {
        project.harness(&[&["evaluate", experiment, "--checkpoint", "20"], arguments].concat()).expect(0);
        project.latest(experiment).file_name().unwrap().to_str().unwrap().to_owned()
    };
    run(&project, "tiny", 3, "");
    run(&project, "change", 3, "");
    let tasks_alone = [evaluated("tiny", &["--without-validation"]), evaluated("change", &["--without-validation"])];
    let report = json(&project, &["compare", &tasks_alone[0], &tasks_alone[1]]);
    let kinds = kinds(&report["comparisons"][0]);
    assert!(kinds.contains(&"not_validated".to_owned()), "{kinds:?}");
    assert!(!kinds.contains(&"validation_texts_differ".to_owned()), "{kinds:?}");
    assert_eq!(effect(&report, GROUP)["difference"], 0.0);
    let whole = [evaluated("tiny", &[]), evaluated("change", &[])];
    let report = json(&project, &["compare", &whole[0], &whole[1]]);
    assert_eq!(effect(&report, BITS)["difference"], 0.0);
}

#[test]
fn seeds_that_one_side_lacks_leave_the_others_unpaired_and_the_claim_says_so() {
    let project = two_experiments();
    (1..=5).for_each(|seed| run(&project, "tiny", seed, ""));
    (2..=4).for_each(|seed| run(&project, "change", seed, ""));
    let report = json(&project, &["compare", "tiny", "change"]);
    let bits = effect(&report, BITS);
    assert!(["pooled_t_over_seeds", "welch_over_seeds"].contains(&bits["test"].as_str().unwrap()), "{bits:#}");
    assert_eq!(bits["reference_runs"].as_array().unwrap().len(), 5, "every run counts");
    let claim = report["comparisons"][0]["claim"].as_str().unwrap().to_owned();
    assert!(claim.starts_with("5 against 3 seeds, 3 of them the same") && claim.contains("pair none"), "{claim}");
    // With the seeds that are missing, they are pairs.
    [1, 5].into_iter().for_each(|seed| run(&project, "change", seed, "better:60"));
    assert_eq!(effect(&json(&project, &["compare", "tiny", "change"]), BITS)["test"], "blocks_over_seeds");
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
    assert_eq!(comparison["basis"], "seeds");
    // How long the stand-in takes is not the same each time.
    assert!(kinds(comparison).iter().all(|kind| kind == "budgets_differ"), "{comparison:#}");
    for metric in [BITS, GROUP] {
        let effect = effect(&null, metric);
        assert_eq!(effect["verdict"], "not_distinguishable", "{effect:#}");
        assert_eq!(effect["test"], "pooled_t_over_seeds");
        let (smallest, range) = (&effect["smallest_detectable"], &effect["smallest_detectable_range"]);
        assert!(range[0].as_f64() < smallest.as_f64() && smallest.as_f64() < range[1].as_f64(), "{effect:#}");
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
    let bits = effect(&single, BITS);
    assert_eq!((&bits["verdict"], &bits["not_judged"]["because"]), (&"not_judged".into(), &"one_run_on_a_side".into()));
    assert!(bits["p_value"].is_null() && bits["interval"].is_null() && bits["test"].is_null(), "{bits:#}");

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
    for words in [
        "these two models differ",
        "One run a side",
        "training tokens",
        "equal",
        "documents",
        "only for `change`",
        "nats",
    ] {
        assert!(ran.stdout.contains(words), "no `{words}` in\n{}", ran.stdout);
    }
    let tables = ran.stdout.lines().filter(|line| line.starts_with("validation.") || line.starts_with("tasks."));
    assert!(tables.clone().count() > 3 && tables.clone().all(|line| line.chars().count() <= 100), "{}", ran.stdout);
    assert!(!tables.clone().any(|line| line.contains("better") || line.contains("worse")), "{}", ran.stdout);
    let texts = ran.stdout.lines().filter(|line| line.starts_with("    + ")).count();
    assert!(texts > 0 && ran.stderr.is_empty(), "{}", ran.all());

    let markdown = project.harness(&["compare", "tiny", "change", "--md", "--tasks"]).expect(0).stdout;
    assert!(markdown.contains("| --- |") && markdown.contains("grammar-agreement.simple"), "{markdown}");
    let csv = project.harness(&["compare", "tiny", "change", "--csv"]).expect(0).stdout;
    let mut lines = csv.lines();
    let columns = lines.next().unwrap().split(',').count();
    assert!(columns == 25 && csv.lines().count() == 8, "{csv}");

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
    assert_eq!((&found["test"], &found["units"]), (&Value::from("t_over_documents"), &Value::from(30)));
    let differ = (&Value::from("primary"), &Value::from("models_differ"));
    assert_eq!((&found["family"], &found["verdict"]), differ, "{found:#}");
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

/// The stand-in's right answers are more probable by 0.6 nats: in each run, and apart from what the claim rests on.
#[test]
fn how_probable_right_answers_are_is_compared_in_a_family_of_its_own() {
    const BITS_OF_RIGHT: &str = "tasks.grammar-agreement.gold_bits_per_byte";
    const PROBABILITY: &str = "tasks.grammar-agreement.gold_probability";
    let project = two_experiments();
    run(&project, "tiny", 3, "");
    run(&project, "change", 3, "better:60");
    let found = json(&project, &["compare", "tiny", "change"]);
    for (metric, sign, lower) in [(BITS_OF_RIGHT, -1.0, true), (PROBABILITY, 1.0, false)] {
        let judged = effect(&found, metric);
        assert_eq!((&judged["family"], &judged["test"]), (&"likelihood".into(), &"t_over_items".into()), "{judged:#}");
        assert_eq!((&judged["verdict"], &judged["lower_is_better"]), (&"models_differ".into(), &lower.into()));
        assert!(sign * judged["difference"].as_f64().unwrap() > 0.0, "{judged:#}");
        let [low, high] = [0, 1].map(|end| judged["interval"][end].as_f64().unwrap());
        assert!(low * high > 0.0 && judged["p_holm"].as_f64().unwrap() <= 2.0 * judged["p_value"].as_f64().unwrap());
        assert_eq!(judged["units"], effect(&found, GROUP)["units"]);
    }
    // Two metrics are primary, as without these: the smaller p-value is doubled, not more.
    let (bits, group) = (effect(&found, BITS), effect(&found, GROUP));
    let p = |effect: &Value, of: &str| effect[of].as_f64().unwrap();
    let least = p(bits, "p_value").min(p(group, "p_value"));
    assert!((p(bits, "p_holm").min(p(group, "p_holm")) - 2.0 * least).abs() <= 1e-15 * least, "{found:#}");

    // Each is a value with its error; a group is the mean of its tasks. One of them can be named as what the claim rests on.
    let values = json(&project, &["show", "change", "--values"])["values"].clone();
    for score in ["gold_bits_per_byte", "gold_probability"] {
        let of_tasks: Vec<(&String, &Value)> =
            values.as_object().unwrap().iter().filter(|(key, _)| key.ends_with(score)).collect();
        let (group, parts): (Vec<_>, Vec<_>) =
            of_tasks.into_iter().partition(|(key, _)| **key == format!("tasks.grammar-agreement.{score}"));
        assert!(parts.len() > 1 && parts.iter().all(|(_, value)| value["standard_error"].as_f64() > Some(0.0)));
        let mean = parts.iter().map(|(_, value)| p(value, "number")).sum::<f64>() / parts.len() as f64;
        assert!((p(group[0].1, "number") - mean).abs() < 1e-12, "{values:#}");
    }
    let named = json(&project, &["compare", "tiny", "change", "--family", PROBABILITY]);
    assert_eq!(effect(&named, PROBABILITY)["family"], "primary");
    assert_eq!(effect(&named, BITS_OF_RIGHT)["family"], "likelihood");
    let forest = project.harness(&["plot", "forest", "tiny", "change"]).expect(0).stdout;
    assert!(!forest.contains("right answers"), "{forest}");
    let text = project.harness(&["compare", "tiny", "change"]).expect(0).stdout;
    assert!(text.contains("tasks.grammar-agreement.gold_bpb") && text.contains("t, items"), "{text}");

    for seed in [4, 5] {
        run(&project, "tiny", seed, "");
        run(&project, "change", seed, &format!("better:{}", 50 + 5 * seed));
    }
    let seeds = json(&project, &["compare", "tiny", "change"]);
    for metric in [BITS_OF_RIGHT, PROBABILITY] {
        let effect = effect(&seeds, metric);
        assert_eq!(
            (&effect["test"], &effect["verdict"]),
            (&"blocks_over_seeds".into(), &"better".into()),
            "{effect:#}"
        );
        let [inner, outer] = ["interval", "interval_over_seeds_and_units"].map(|of| effect[of][0].as_f64().unwrap());
        assert!(outer <= inner, "{effect:#}");
    }
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
    assert!(kinds(comparison).contains(&"budgets_differ".to_owned()), "{report:#}");
    let text = comparison["notes"].to_string();
    assert!(text.contains("the other side spent 1.50 times the training tokens"), "{text}");
    for (quantity, ratio) in [("bytes of text read", 1.5), ("epochs", 1.5)] {
        let line = comparison["budget"].as_array().unwrap().iter().find(|line| line["quantity"] == quantity).unwrap();
        assert!((line["ratio"].as_f64().unwrap() - ratio).abs() < 1e-9, "{line}");
    }
    assert_eq!(comparison["effects"].as_array().unwrap().len(), 1);

    // A changed record is refused, not skipped.
    crate::common::flip(&project.latest("tiny").join("steps.csv"), 60);
    let refused = project.harness(&["compare", "tiny", "longer"]).expect(1);
    assert!(refused.stderr.contains("was changed after it was sealed"), "{}", refused.stderr);
}

#[test]
fn seeds_that_both_sides_share_are_blocks_and_several_comparisons_are_corrected_together() {
    let project = two_experiments();
    project.write("experiments/other/experiment.toml", &TINY.replace("Tiny", "Other"));
    project.commit("Propose another");
    for seed in 1..=3 {
        run(&project, "tiny", seed, "");
        run(&project, "change", seed, &format!("better:{}", 50 + 10 * seed));
        run(&project, "other", seed, &format!("better:{seed}"));
    }
    let alone = json(&project, &["compare", "tiny", "change"]);
    let comparison = &alone["comparisons"][0];
    assert_eq!((&comparison["basis"], &comparison["corrected_over"]), (&"shared_seeds".into(), &1.into()));
    let bits = effect(&alone, BITS);
    assert_eq!((&bits["test"], bits["degrees_of_freedom"].as_f64()), (&"blocks_over_seeds".into(), Some(2.0)));
    assert_eq!(bits["verdict"], "better", "{bits:#}");
    // Eight tries find something by chance in a fifth of the cases, so both changes are one family.
    let both = json(&project, &["compare", "tiny", "change", "other"]);
    assert_eq!(both["comparisons"][1]["corrected_over"], 2);
    let (one, two) = (bits["p_holm"].as_f64().unwrap(), effect(&both, BITS)["p_holm"].as_f64().unwrap());
    assert!(two > one && bits["p_value"] == effect(&both, BITS)["p_value"], "{one} {two}");
}

#[test]
fn what_was_declared_after_some_runs_is_told_and_so_is_a_side_that_was_better_before() {
    let project = two_experiments();
    run(&project, "tiny", 1, "");
    run(&project, "tiny", 2, "");
    run(&project, "change", 1, "overfit:100");
    project
        .write("experiments/change/experiment.toml", &TINY.replace("Tiny", "Change").replace("It runs.", "It was so."));
    project.commit("Say afterwards what was expected");
    run(&project, "change", 2, "overfit:100");
    let report = json(&project, &["compare", "tiny", "change"]);
    let notes = report["comparisons"][0]["notes"].as_array().unwrap();
    let late = notes.iter().find(|note| note["kind"] == "declared_late").unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!((&late["side"], &late["after"], &late["of"]), (&"change".into(), &1.into(), &2.into()));
    assert_eq!(late["what"], serde_json::json!(["hypothesis"]));
    assert!(late["text"].as_str().unwrap().contains("changed after 1 of 2 runs"), "{late}");
    let best = notes.iter().find(|note| note["kind"] == "best_is_not_last").unwrap_or_else(|| panic!("{report:#}"));
    assert!(best["best"].as_f64() < best["last"].as_f64() && best["side"] == "change", "{best}");
}

#[test]
fn what_is_no_number_is_no_score_no_verdict_and_no_finding() {
    let project = two_experiments();
    run(&project, "tiny", 3, "");
    run(&project, "change", 3, "nan:5");
    let values = json(&project, &["show", "change", "--values"]);
    for key in [BITS, "validation.loss", "validation.perplexity"] {
        assert!(values["values"][key].is_null(), "{key}: {values:#}");
    }
    let task = "tasks.grammar-agreement.simple";
    let items = &values["values"][format!("{task}.items")]["number"];
    assert_eq!(&values["values"][format!("{task}.unanswered")]["number"], items);
    assert_eq!(values["values"][format!("{task}.accuracy")]["number"], 0.0);
    assert_eq!(values["values"][format!("{task}.accuracy_if_guessed")]["number"], 0.5);
    for names in [["tiny", "change"], ["change", "tiny"]] {
        let report = json(&project, &["compare", names[0], names[1]]);
        let comparison = &report["comparisons"][0];
        for effect in comparison["effects"].as_array().unwrap() {
            assert!(
                effect["p_value"].is_null() && effect["interval"].is_null() && effect["p_holm"].is_null(),
                "{effect:#}"
            );
            let why = (&effect["verdict"], &effect["not_judged"]["because"]);
            assert_eq!(why, (&"not_judged".into(), &"not_finite".into()), "{effect:#}");
        }
        assert!(comparison["notes"].to_string().contains("is not a finite number in"), "{report:#}");
    }
    let diagnosis = json(&project, &["diagnose", "change"]);
    assert_eq!(finding(&diagnosis, "non_finite")["outcome"], "found");
    for check in ["still_improving", "overfitting", "saturated_early", "underfitting", "generalization_gap"] {
        let finding = finding(&diagnosis, check);
        assert_eq!(finding["outcome"], "not_judged", "{finding:#}");
        assert!(finding["statement"].as_str().unwrap().contains("not a finite number"), "{finding:#}");
    }
    assert!(!diagnosis.to_string().contains("NaN"), "{diagnosis:#}");
    let figure = project.harness(&["plot", "validation", "tiny", "change"]).expect(0);
    assert!(figure.all().contains("no finite value from"), "{}", figure.all());
}

#[test]
fn a_tie_is_no_answer() {
    let project = two_experiments();
    run(&project, "tiny", 3, "");
    run(&project, "change", 3, "tie:1");
    let values = json(&project, &["show", "change", "--values"]);
    assert_eq!(values["values"]["tasks.grammar-agreement.accuracy"]["number"], 0.0);
    assert_eq!(values["values"]["tasks.grammar-agreement.accuracy_if_guessed"]["number"], 0.5);
    let report = json(&project, &["compare", "tiny", "change"]);
    assert_eq!(effect(&report, GROUP)["not_judged"]["because"], "unanswered");
    assert!(kinds(&report["comparisons"][0]).contains(&"items_unanswered".to_owned()));
    assert_eq!(effect(&report, BITS)["not_judged"], Value::Null);
    // Of more seeds it is said once.
    run(&project, "tiny", 4, "");
    run(&project, "change", 4, "tie:1");
    let more = json(&project, &["compare", "tiny", "change"]);
    let notes = more["comparisons"][0]["notes"].as_array().unwrap().iter();
    let unanswered: Vec<&Value> = notes.filter(|note| note["kind"] == "items_unanswered").collect();
    let tasks: BTreeSet<String> = unanswered.iter().map(|note| note["task"].to_string()).collect();
    assert!(
        unanswered.iter().all(|note| note["runs"].as_array().unwrap().len() == 2) && tasks.len() == unanswered.len(),
        "{unanswered:?}"
    );
    let diagnosis = json(&project, &["diagnose", "change"]);
    assert_eq!(finding(&diagnosis, "task_unanswered")["outcome"], "found");
    assert_eq!(finding(&diagnosis, "task_at_chance")["outcome"], "not_judged");
}

/// Two seeds of two experiments: without a difference nothing is told apart, with a planted one it is.
#[test]
fn tasks_that_tell_experiments_apart_are_told_from_those_that_do_not() {
    let project = two_experiments();
    let diagnosed = |project: &Project| json(project, &["diagnose", "tiny"]);
    let checked = |project: &Project| -> Value {
        serde_json::from_str(&project.harness(&["task", "check", "grammar-agreement", "--json"]).stdout).unwrap()
    };
    for seed in [1, 2] {
        run(&project, "tiny", seed, "");
    }
    run(&project, "change", 1, "");
    let silent = diagnosed(&project);
    assert!(
        silent["findings"].as_array().unwrap().iter().all(|finding| finding["check"] != "task_signal"),
        "{silent:#}"
    );
    assert_eq!(checked(&project)["signal"], serde_json::json!([]));

    run(&project, "change", 2, "");
    let null = finding(&diagnosed(&project), "task_signal").clone();
    assert_eq!((&null["outcome"], &null["subject"]), (&"found".into(), &"grammar-agreement".into()), "{null:#}");
    assert!(null["changes"][0]["what"].as_str().unwrap().contains("expect no verdict"), "{null:#}");

    for seed in [1, 2] {
        run(&project, "change", seed, "better:200");
    }
    let told = finding(&diagnosed(&project), "task_signal").clone();
    assert_eq!(told["outcome"], "clear", "{told:#}");
    let signals = checked(&project)["signal"].as_array().unwrap().clone();
    assert_eq!(signals.len(), 3, "{signals:#?}");
    for signal in &signals {
        let number = |of: &str| signal[of].as_f64().unwrap();
        assert_eq!((&signal["experiments"], &signal["runs"]), (&2.into(), &4.into()));
        assert_eq!((&signal["tells_apart"], &signal["noise_over_evaluations"]), (&true.into(), &Value::Null));
        assert!((number("ratio") - number("signal") / number("noise_over_seeds")).abs() < 1e-9, "{signal:#}");
    }
    let text = project.harness(&["task", "check", "grammar-agreement"]).stdout;
    assert!(text.contains("tells these experiments apart") && text.contains("by accuracy: 3 of 3: simple, "), "{text}");
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
