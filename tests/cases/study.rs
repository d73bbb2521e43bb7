//! Changes as proposals, through the program: seeds that nobody chooses, and decisions by what was registered.

use std::fs;

use harness_core::seeds::first;
use serde_json::Value;

use crate::cases::queue::until_checkpoint;
use crate::common::Project;

const WARM: &str = "extends = \"tiny\"\nhypothesis = \"Less loss.\"\nseeds = 3\n\n[expect]\nmetric = \
                    \"validation.bits_per_byte\"\ndirection = \"lower\"\nat_least = 0.01\n\n[schedule]\nwarmup_steps = 2\n";

fn decided(project: &Project, name: &str) -> Value {
    serde_json::from_str(&project.harness(&["decide", name, "--json"]).expect(0).stdout).unwrap()
}

fn seeds_of(project: &Project, experiment: &str) -> Vec<u64> {
    let open = |run: &std::path::PathBuf| Project::json(&run.join("open.json"));
    project.runs(experiment).iter().map(|run| open(run)["plan"]["seed"].as_u64().unwrap()).collect()
}

#[test]
fn a_proposal_goes_from_its_seeds_to_a_decision() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/warm/experiment.toml", WARM);
    project.commit("Propose");
    let before = decided(&project, "warm");
    assert_eq!((before["verdict"].as_str(), before["action"].as_str()), (Some("INADMISSIBLE"), Some("HOLD")));
    assert!(before["estimate"].is_null() && before["because"][0].as_str().unwrap().contains("harness seeds warm"));

    // A run to explore decides nothing.
    project.harness(&["run", "warm"]).expect(0);
    project.harness(&["seeds", "tiny", "--seeds", "3"]).expect(0);
    for (count, better) in [("1", "better:200"), ("2", "better:220"), ("3", "better:210")] {
        assert_eq!(decided(&project, "warm")["verdict"], "INADMISSIBLE");
        project.harness_with(better, &["seeds", "warm", "--seeds", count]).expect(0);
    }
    let derived = first("test", "confirm", 3);
    assert_eq!(seeds_of(&project, "tiny"), derived);
    assert_eq!(seeds_of(&project, "warm")[1..], derived);
    let open = Project::json(&project.latest("warm").join("open.json"));
    assert_eq!(
        (open["plan"]["seed_rule"].as_str(), open["plan"]["purpose"].as_str()),
        (Some("derived"), Some("confirm"))
    );
    project.harness(&["seeds", "warm"]).expect(0);
    assert_eq!(project.runs("warm").len(), 4, "what is completed is not run again");
    let listed = project.harness(&["seeds", "warm", "--seeds", "4", "--list", "--json"]).expect(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()["missing"].as_array().unwrap().len(), 1);

    let decision = decided(&project, "warm");
    assert_eq!((decision["verdict"].as_str(), decision["action"].as_str()), (Some("CONFIRMED"), Some("ADOPT")));
    let compared: Value =
        serde_json::from_str(&project.harness(&["compare", "tiny", "warm", "--json"]).expect(0).stdout).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let (alone, effect) = (number(&decision["estimate"]["p_adjusted"]), &compared["comparisons"][0]["effects"][0]);
    let runs = |side: &str| effect[side].as_array().unwrap().iter().map(number).collect::<Vec<f64>>();
    let paired = harness_statistics::hypothesis::blocks(&runs("reference_runs"), &runs("other_runs")).unwrap();
    assert!((alone - paired.p_value).abs() < 1e-5, "a family of one is the paired test");
    assert!((number(&decision["estimate"]["difference"]) - number(&effect["difference"])).abs() < 1e-12);
    let text = project.harness(&["decide", "warm"]).expect(0).stdout;
    assert!(text.starts_with("CONFIRMED  ADOPT"), "{text}");

    // A second proposal against the same baseline makes the family larger before it has any run.
    project.write("experiments/other/experiment.toml", &WARM.replace("steps = 2", "steps = 3"));
    project.commit("Propose another");
    let among = decided(&project, "warm");
    assert_eq!(among["family"].as_array().unwrap().len(), 2);
    assert!(number(&among["estimate"]["p_adjusted"]) > alone);

    // What is changed after the runs is no registration.
    project.write("experiments/warm/experiment.toml", &WARM.replace("0.01", "0.2"));
    project.commit("Change the expectation");
    let deviated = decided(&project, "warm");
    assert_eq!((deviated["verdict"].as_str(), deviated["action"].as_str()), (Some("DEVIATED"), Some("HOLD")));
    assert_eq!(deviated["changed_since"][0], "expect");
    assert_eq!(deviated["proposal"]["expect"]["at_least"], 0.01, "what was registered is shown");
}

/// Bits per byte of another text are others whatever was changed: they decide nothing, and lend no other change their variance.
#[test]
fn a_change_that_is_validated_on_another_text_decides_nothing() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    let corpus = fs::read_to_string(project.path("experiments/corpora/tiny.toml")).unwrap();
    project.write("experiments/corpora/other.toml", &corpus.replace("seed = 5", "seed = 6"));
    let of_data = format!("corpus = \"other\"\n{}", WARM.split("\n[schedule]").next().unwrap());
    project.write("experiments/data/experiment.toml", &of_data);
    project.write("experiments/warm/experiment.toml", WARM);
    project.commit("Propose");
    project.harness(&["seeds", "tiny", "--seeds", "3"]).expect(0);
    for (count, better) in [("1", "better:200"), ("2", "better:220"), ("3", "better:210")] {
        project.harness_with(better, &["seeds", "warm", "--seeds", count]).expect(0);
    }
    let alone = decided(&project, "warm");
    project.harness(&["seeds", "data", "--seeds", "3"]).expect(0);
    let decision = decided(&project, "data");
    assert_eq!((decision["verdict"].as_str(), decision["action"].as_str()), (Some("INADMISSIBLE"), Some("HOLD")));
    assert!(decision["estimate"].is_null());
    let because = decision["because"][0].as_str().unwrap();
    assert!(because.starts_with("`data` was validated on other documents than `tiny`"), "{because}");
    assert_eq!(decided(&project, "warm")["estimate"], alone["estimate"]);
}

#[test]
fn seeds_that_somebody_chose_and_files_in_no_commit_decide_nothing() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/warm/experiment.toml", &WARM.replace("seeds = 3", "seeds = 2"));
    project.commit("Propose");
    for name in ["tiny", "warm"] {
        for seed in ["1", "2"] {
            project.harness(&["run", name, "--seed", seed, "--purpose", "confirm"]).expect(0);
        }
    }
    assert_eq!(decided(&project, "warm")["verdict"], "INADMISSIBLE");
    let refused = project.harness(&["decide", "tiny"]).expect(2);
    assert!(refused.stderr.contains("states no expectation") && refused.stderr.contains("hint:"), "{}", refused.stderr);
    let refused = project.harness(&["seeds", "tiny"]).expect(2);
    assert!(refused.stderr.contains("--seeds"), "{}", refused.stderr);
    // A run of a file that differs from its commit is not citable, so it is no seed either.
    fs::write(project.path("experiments/warm/experiment.toml"), WARM).unwrap();
    project.harness(&["seeds", "warm"]).expect(2);
}

#[test]
fn how_probable_right_answers_are_can_be_expected_and_guarded() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    let config = WARM.replace("validation.bits_per_byte", "tasks.grammar-agreement.gold_bits_per_byte").replace(
        "[schedule]",
        "[[decide.guardrails]]\nmetric = \"tasks.grammar-agreement.gold_probability\"\nmargin = 0.01\n\n[schedule]",
    );
    project.write("experiments/warm/experiment.toml", &config);
    project.commit("Propose");
    project.harness(&["seeds", "tiny", "--seeds", "3"]).expect(0);
    for (count, better) in [("1", "better:200"), ("2", "better:220"), ("3", "better:210")] {
        project.harness_with(better, &["seeds", "warm", "--seeds", count]).expect(0);
    }
    let decision = decided(&project, "warm");
    assert_eq!((decision["verdict"].as_str(), decision["action"].as_str()), (Some("CONFIRMED"), Some("ADOPT")));
    // The probability rose, which is no worsening.
    let worsening = &decision["guardrails"][0]["worsening"];
    assert!(worsening[1].as_f64().unwrap() < 0.0, "{decision:#}");
}

#[test]
fn a_run_that_was_killed_outright_goes_on_from_its_checkpoint() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.commit("Name the project");
    let mut killed = project.start("slow", &["seeds", "tiny", "--seeds", "1"]);
    until_checkpoint(&project, 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Its trainer ends by itself when nobody listens any more.
    let ended = (0..50).any(|_| {
        let ran = project.harness(&["seeds", "tiny", "--seeds", "1"]);
        assert!(ran.code == 0 || ran.stderr.contains("still running"), "{}", ran.stderr);
        if ran.code != 0 {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        ran.code == 0
    });
    assert!(ended);
    let [first, second] = project.runs("tiny").try_into().unwrap();
    let open = Project::json(&second.join("open.json"));
    assert_eq!(open["resumed_from"]["run"].as_str(), first.file_name().unwrap().to_str());
    assert_eq!(open["plan"]["seed"].as_u64(), Some(seeds_of(&project, "tiny")[0]));
    project.harness(&["seeds", "tiny", "--seeds", "1"]).expect(0);
    assert_eq!(project.runs("tiny").len(), 2, "it is complete");
}

#[test]
fn whatever_is_not_exploring_takes_the_next_seed_that_nobody_chose() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.commit("Name the project");
    for purpose in ["tune", "tune", "final"] {
        project.harness(&["run", "tiny", "--purpose", purpose]).expect(0);
    }
    project.harness(&["run", "tiny"]).expect(0);
    let tuned = first("test", "tune", 2);
    assert_eq!(seeds_of(&project, "tiny"), [tuned[0], tuned[1], first("test", "final", 1)[0], 3]);
    let open = Project::json(&project.runs("tiny")[0].join("open.json"));
    assert_eq!(open["plan"]["seed_rule"], "derived");
}

#[test]
fn what_was_changed_before_the_first_run_is_listed_with_its_reason() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/warm/experiment.toml", "extends = \"tiny\"\n");
    project.commit("An idea");
    let file = |text: &str, message: &str| {
        project.write("experiments/warm/experiment.toml", text);
        project.commit(message);
    };
    file(WARM, "Propose");
    file(&WARM.replace("steps = 2", "steps = 3"), "Another plan is no amendment");
    file(&WARM.replace("0.01", "0.02"), "The baseline was noisier than thought");
    let decision = decided(&project, "warm");
    let amendments = decision["amendments"].as_array().unwrap();
    assert_eq!(amendments.len(), 1, "{amendments:?}");
    assert_eq!(amendments[0]["changed"], serde_json::json!(["expect"]));
    assert_eq!(amendments[0]["title"], "The baseline was noisier than thought");
    project.harness(&["seeds", "warm", "--seeds", "1"]).expect(0);
    file(&WARM.replace("0.01", "0.03"), "Too late");
    let decision = decided(&project, "warm");
    assert_eq!(decision["amendments"].as_array().unwrap().len(), 1, "what came after the first run is no amendment");
    assert_eq!(decision["changed_since"], serde_json::json!(["expect"]));
    let text = project.harness(&["decide", "warm"]).expect(0).stdout;
    assert!(text.contains("amended    expect before the first run, "), "{text}");
}

#[test]
fn what_was_expected_only_after_the_runs_was_not_registered() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    let bare = "extends = \"tiny\"\nseeds = 2\n[schedule]\nwarmup_steps = 2\n";
    project.write("experiments/warm/experiment.toml", bare);
    project.commit("Add");
    for name in ["tiny", "warm"] {
        project.harness(&["seeds", name, "--seeds", "2"]).expect(0);
    }
    let expect = "[expect]\nmetric = \"validation.bits_per_byte\"\ndirection = \"lower\"\nat_least = 0.01\n";
    project.write("experiments/warm/experiment.toml", &bare.replace("[schedule]", &format!("{expect}[schedule]")));
    project.commit("Expect");
    let refused = project.harness(&["decide", "warm"]).expect(2).stderr;
    assert!(
        refused.contains("its first run to confirm did not have") && refused.contains("a new experiment"),
        "{refused}"
    );
    assert!(project.harness(&["tree"]).expect(0).stdout.contains("warm"));
}

#[test]
fn the_date_of_a_commit_is_held_against_what_it_builds_on_and_what_it_holds() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/warm/experiment.toml", WARM);
    // A date before that of the commit before: nothing contradicts, and it shows nothing.
    project.commit_at("2020-01-01T00:00:00Z", "Propose");
    project.harness(&["seeds", "warm", "--seeds", "1"]).expect(0);
    let ran = project.harness(&["audit"]).expect(0);
    assert!(ran.stdout.contains("its date proves nothing"), "{}", ran.stdout);
    let dates = |at: usize| decided(&project, "warm")["dates"][at].clone();
    assert_eq!(dates(0)["contradicts"], false);
    let text = project.harness(&["decide", "warm"]).expect(0).stdout;
    assert!(text.contains("dates      the commit of run") && !text.contains("CONTRADICTION"), "{text}");

    // Words that were committed after the run, with a date before it, and a record that names that commit.
    project.write("experiments/warm/experiment.toml", &WARM.replace("Less loss.", "More loss."));
    project.commit_at("2020-01-01T00:00:00Z", "Change the words, and commit the run");
    project.harness(&["seeds", "warm", "--seeds", "2"]).expect(0);
    assert!(dates(1)["contradicts"] == false && dates(2).is_null(), "the run is later than the one it holds");
    project.commit_at("2038-01-01T00:00:00Z", "From a clock that is ahead");
    project.commit_at("2020-01-01T00:00:00Z", "With a date that somebody set");
    project.harness(&["seeds", "warm", "--seeds", "3"]).expect(0);
    assert_eq!(dates(2)["contradicts"], true);
    let text = project.harness(&["decide", "warm"]).expect(0).stdout;
    assert!(
        text.contains("CONTRADICTION: the commit of run") && text.contains("which says that it was made at 2038-"),
        "{text}"
    );
    let ran = project.harness(&["audit"]).expect(1);
    assert!(ran.stdout.contains("after the run was opened"), "{}", ran.stdout);
}
