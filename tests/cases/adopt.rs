//! What becomes of a change, through the program: adopted or rejected with its evidence, in sequence, and left out again.

use std::fs;

use serde_json::Value;

use crate::cases::lineage::{json, numbers, project};
use crate::common::Project;

const DECAY: &str = "extends = \"tiny\"\nhypothesis = \"Less loss.\"\nseeds = 3\n\n[expect]\nmetric = \
                     \"validation.bits_per_byte\"\ndirection = \"lower\"\nat_least = 0.01\n\n[optimizer]\nweight_decay = 0.3\n";

/// Runs seeds 1, 2 and 3 of an experiment, each as much better in thousandths of a nat as told.
fn run(project: &Project, name: &str, better: [u32; 3], more: &[&str]) {
    for (count, better) in ["1", "2", "3"].iter().zip(better) {
        let arguments = [&["seeds", name, "--seeds", count], more].concat();
        project.harness_with(&format!("better:{better}"), &arguments).expect(0);
    }
}

#[test]
fn a_change_is_adopted_with_its_evidence_or_against_the_advice_for_a_reason() {
    let project = project();
    let elsewhere = project.harness(&["adopt", "warm", "--over", "warmer"]).expect(2);
    assert!(elsewhere.stderr.contains("held against `tiny`") && elsewhere.stderr.contains("--over tiny"));
    let needless = project.harness(&["adopt", "warm", "--over", "tiny", "--override", "I like it"]).expect(2);
    assert!(needless.stderr.contains("leave out `--override`"), "{}", needless.stderr);
    let against = project.harness(&["adopt", "warm", "--over", "tiny", "--reject"]).expect(2);
    assert!(against.stderr.contains("the advice is ADOPT"), "{}", against.stderr);
    project.harness(&["adopt", "warm", "--over", "tiny"]).expect(0);

    let decided = json(&project, &["decide", "warm"]);
    let file: toml::Table =
        toml::from_str(&fs::read_to_string(project.path("experiments/warm/decision.toml")).unwrap()).unwrap();
    assert_eq!((file["outcome"].as_str(), file["advice"].as_str()), (Some("adopted"), Some("ADOPT")));
    assert_eq!(file["effect"]["p_adjusted"].as_float(), decided["estimate"]["p_adjusted"].as_f64());
    let roots = |side: usize| decided["runs"][side].as_array().unwrap().iter().map(|run| run["root"].as_str().unwrap());
    let evidence = file["evidence"].as_array().unwrap().iter().map(|run| run["root"].as_str().unwrap());
    assert!(evidence.eq(roots(0).chain(roots(1))), "the runs of both sides by their digests");
    assert_eq!(
        (decided["decided"]["outcome"].as_str(), decided["changed_evidence"].as_array().unwrap().len()),
        (Some("adopted"), 0)
    );
    assert_eq!(json(&project, &["tree"])["experiments"][1]["outcome"], "adopted");
    let again = project.harness(&["adopt", "warm", "--over", "tiny"]).expect(2);
    assert!(again.stderr.contains("was adopted on") && again.stderr.contains("hint:"), "{}", again.stderr);

    // Nothing was run of it, so that nothing is adopted without a reason, and with one the reason stands everywhere.
    let refused = project.harness(&["adopt", "warmer", "--over", "warm"]).expect(2);
    assert!(refused.stderr.contains("INADMISSIBLE") && refused.stderr.contains("--override"), "{}", refused.stderr);
    project.harness(&["adopt", "warmer", "--over", "warm", "--override", "  "]).expect(2);
    project.harness(&["adopt", "warmer", "--over", "warm", "--override", "It costs nothing"]).expect(0);
    assert!(project.harness(&["decide", "warmer"]).expect(0).stdout.contains("override   It costs nothing"));
    let tree = project.harness(&["tree"]).expect(0).stdout;
    assert!(tree.contains("adopted!") && tree.contains("against the advice: It costs nothing"), "{tree}");
    assert!(tree.lines().all(|line| line.chars().count() <= 100), "{tree}");

    // Evidence that is gone, or other than it was, is told.
    fs::remove_dir_all(&project.runs("tiny")[0]).unwrap();
    let changed = project.harness(&["decide", "warm"]).expect(0).stdout;
    assert!(changed.contains("evidence   CHANGED: run") && changed.contains("is not here"), "{changed}");
    fs::write(project.path("experiments/warm/decision.toml"), "format = 1\n").unwrap();
    let broken = project.harness(&["decide", "warm"]).expect(2);
    assert!(broken.stderr.contains("experiments/warm/decision.toml"), "{}", broken.stderr);
}

#[test]
fn a_change_that_was_held_against_an_ancestor_is_made_to_its_descendant_under_a_name() {
    let project = project();
    project.write("experiments/decay/experiment.toml", DECAY);
    let warmest = DECAY.replace("[optimizer]\nweight_decay = 0.3", "[schedule]\nwarmup_steps = 5");
    project.write("experiments/warmest/experiment.toml", &warmest);
    project.commit("Propose two");
    run(&project, "decay", [300, 310, 305], &[]);
    project.harness(&["adopt", "decay", "--over", "warm", "--as", "both"]).expect(0);
    assert_eq!(json(&project, &["decide", "decay"])["decided"]["over"], "tiny", "what was shown");
    let both = json(&project, &["show", "both"]);
    assert_eq!((&both["extends"], &both["optimizer"]["weight_decay"]), (&"warm".into(), &0.3.into()));
    assert_eq!((&both["schedule"]["warmup_steps"], &both["seeds"]), (&2.into(), &3.into()));
    assert_eq!(json(&project, &["decide", "both"])["against"], "warm");
    let conflict = project
        .harness(&["adopt", "warmest", "--over", "warm", "--as", "warm-warmest", "--override", "It is warmer"])
        .expect(2);
    assert!(conflict.stderr.contains("both change `schedule.warmup_steps`"), "{}", conflict.stderr);
    assert!(!project.path("experiments/warmest/decision.toml").exists(), "nothing is written by halves");
}

#[test]
fn what_was_adopted_in_sequence_is_corrected_together_and_what_no_longer_helps_is_told() {
    let project = project();
    project.harness(&["adopt", "warm", "--over", "tiny"]).expect(0);
    project.write("experiments/decay/experiment.toml", &DECAY.replace("tiny", "warm"));
    project.commit("Adopt, and propose");
    run(&project, "decay", [400, 420, 415], &[]);
    let alone = json(&project, &["decide", "decay"]);
    project.harness(&["adopt", "decay", "--over", "warm"]).expect(0);
    let tree = json(&project, &["tree"]);
    let branch = |name: &str| {
        let branches = tree["experiments"].as_array().unwrap();
        branches.iter().find(|branch| branch["experiment"] == name).unwrap().clone()
    };
    let single = [json(&project, &["decide", "warm"]), alone].map(|d| d["estimate"]["p_adjusted"].as_f64().unwrap());
    let corrected = harness_statistics::hypothesis::holm(&single);
    for (name, p) in ["warm", "decay"].iter().zip(corrected) {
        assert!((branch(name)["p_in_sequence"].as_f64().unwrap() - p).abs() < 1e-12, "{name}");
        assert!((json(&project, &["decide", name])["p_in_sequence"].as_f64().unwrap() - p).abs() < 1e-12, "{name}");
    }

    let nothing = project.harness(&["leave-one-out", "tiny"]).expect(2);
    assert!(nothing.stderr.contains("no change that `tiny` descends from was adopted"), "{}", nothing.stderr);
    let planned = json(&project, &["leave-one-out", "decay", "--seeds", "3"]);
    let names: Vec<&str> =
        planned["without"].as_array().unwrap().iter().map(|one| one["experiment"].as_str().unwrap()).collect();
    assert_eq!(names, ["decay-without-decay", "decay-without-warm"]);
    let without = json(&project, &["show", "decay-without-warm"]);
    assert_eq!((&without["schedule"]["warmup_steps"], &without["optimizer"]["weight_decay"]), (&0.into(), &0.3.into()));
    assert_eq!((&without["decide"]["purpose"], &without["expect"]["direction"]), (&"final".into(), &"same".into()));
    project.commit("Leave each out");
    run(&project, "decay", [500, 501, 500], &["--purpose", "final"]);
    run(&project, "decay-without-decay", [250, 252, 251], &[]);
    run(&project, "decay-without-warm", [500, 500, 501], &[]);
    let open = Project::json(&project.latest("decay-without-warm").join("open.json"));
    assert_eq!(open["plan"]["purpose"], "final");
    assert!(!harness_core::seeds::first("test", "confirm", 3).contains(&open["plan"]["seed"].as_u64().unwrap()));
    let found = json(&project, &["leave-one-out", "decay"]);
    let findings: Vec<&Value> = found["without"].as_array().unwrap().iter().map(|one| &one["finding"]).collect();
    assert_eq!(findings, ["helps", "no_longer_helps"], "{found}");
    assert_eq!(numbers(&found["without"][0]["decision"]["estimate"]["interval"]).len(), 2);
    let text = project.harness(&["leave-one-out", "decay"]).expect(0).stdout;
    assert!(text.contains("still helps") && text.contains("no longer helps"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn a_change_whose_key_a_later_one_states_cannot_be_left_out() {
    let project = project();
    project.harness(&["adopt", "warm", "--over", "tiny"]).expect(0);
    let refused = project.harness(&["leave-one-out", "warmer"]).expect(2);
    assert!(refused.stderr.contains("`warmer` states `schedule.warmup_steps` too"), "{}", refused.stderr);
    assert!(!project.path("experiments/warmer-without-warm").exists());
}
