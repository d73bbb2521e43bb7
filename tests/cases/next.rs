//! `harness next` and `harness status`: every command that is suggested works when it is followed, and leads on.

use std::fs;

use harness_core::seeds::derived;
use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Project, signal};

const PROPOSAL: &str = "extends = \"tiny\"\nseeds = 2\n[expect]\nmetric = \"validation.bits_per_byte\"\ndirection = \
                        \"lower\"\nat_least = 0.01\n[schedule]\nwarmup_steps = 2\n";

/// A baseline, a change of it and a proposal, with a store of its own, since the queue lies there.
fn project() -> Project {
    let project = Project::new();
    fs::remove_file(project.path(".harness")).unwrap();
    fs::create_dir(project.path(".harness")).unwrap();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/warm/experiment.toml", PROPOSAL);
    project.write("experiments/cool/experiment.toml", "extends = \"tiny\"\n[schedule]\ncooldown_steps = 5\n");
    project.commit("Propose");
    project
}

fn suggestions(project: &Project) -> Vec<Value> {
    let text = project.harness(&["next", "--json"]).expect(0).stdout;
    serde_json::from_str::<Value>(&text).unwrap()["suggestions"].as_array().unwrap().clone()
}

fn command(suggestion: &Value) -> Vec<String> {
    let words = suggestion["command"].as_array().unwrap();
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn follow(project: &Project, command: &[String]) {
    project.harness(&command.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
}

fn kind(suggestion: &Value) -> &str {
    suggestion["kind"].as_str().unwrap()
}

fn of_kind<'a>(all: &'a [Value], wanted: &str) -> Option<&'a Value> {
    all.iter().find(|suggestion| kind(suggestion) == wanted)
}

/// The screen, which is one.
fn status(project: &Project) -> String {
    let text = project.harness(&["status"]).expect(0).stdout;
    assert!(text.lines().count() <= 24 && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    text
}

#[test]
fn whoever_follows_the_suggestions_comes_to_their_end() {
    let project = project();
    let first = suggestions(&project);
    assert_eq!((kind(&first[0]), command(&first[0])), ("first_run", vec!["run".to_owned(), "tiny".to_owned()]));
    assert!(first[0]["cost"].is_null(), "nothing has run here");
    assert!(status(&project).contains("phase      nothing has been run yet"));

    let mut followed = Vec::new();
    loop {
        let all = suggestions(&project);
        // What only asks for a look stays; it is followed once at the end.
        let looks = ["finding", "undecided", "failed"];
        let Some(next) = all.iter().find(|suggestion| !looks.contains(&kind(suggestion))) else { break };
        let command = command(next);
        assert!(!followed.contains(&command), "it leads nowhere: {next}");
        follow(&project, &command);
        // What becomes of a change is written down to be committed.
        project.git(&["add", "-A"]);
        project.git(&["commit", "-q", "--allow-empty", "-m", "Follow"]);
        followed.push(command);
        status(&project);
    }
    let texts: Vec<String> = followed.iter().map(|command| command.join(" ")).collect();
    for wanted in ["run tiny", "run cool", "probe lr tiny", "seeds tiny --seeds 3", "seeds warm --seeds 2"] {
        assert!(texts.iter().any(|text| text == wanted), "{texts:?}");
    }
    let left = suggestions(&project);
    assert!(left.iter().all(|suggestion| kind(suggestion) != "missing_seeds"), "{left:?}");
    for suggestion in &left {
        follow(&project, &command(suggestion));
    }
    let text = status(&project);
    assert!(
        text.contains("noise      validation.bits_per_byte of `tiny`: ") && text.contains("over 3 seeds"),
        "{text}"
    );
    assert!(text.contains("warm: 2 of 2 seeds") && text.contains("queue      empty"), "{text}");
}

#[test]
fn seeds_are_suggested_with_what_they_cost_and_find() {
    let project = project();
    let seed = |index: u64| derived("test", "confirm", index).to_string();
    project.harness(&["seeds", "tiny", "--seeds", "2"]).expect(0);
    let all = suggestions(&project);
    let seeds = of_kind(&all, "missing_seeds").unwrap();
    assert_eq!(command(seeds), ["seeds", "warm", "--seeds", "2"]);
    assert!(seeds["why"].as_str().unwrap().contains("lower by at least 0.01 than `tiny`"), "{seeds}");
    assert!(seeds["cost"]["cpu_time_s"].as_f64().unwrap() > 0.0);
    let found = &seeds["smallest_detectable"];
    assert_eq!((found["seeds"].as_u64(), found["metric"].as_str()), (Some(2), Some("validation.bits_per_byte")));
    // Two blocks and one change: 16.3 standard errors of a difference of two means of two.
    let noise: Value = serde_json::from_str(&project.harness(&["status", "--json"]).expect(0).stdout).unwrap();
    let deviation = noise["noise"][0]["noise"]["deviation"].as_f64().unwrap();
    let ratio = found["difference"].as_f64().unwrap() / deviation;
    assert!((ratio - 16.334).abs() < 1e-2, "{ratio}");

    // What waits in the queue is not suggested again, but the queue is.
    project
        .harness(&["queue", "add", "warm", "--seed", &seed(0), "--seed", &seed(1), "--purpose", "confirm"])
        .expect(0);
    let queued = suggestions(&project);
    assert!(of_kind(&queued, "missing_seeds").is_none(), "{queued:?}");
    follow(&project, &command(of_kind(&queued, "queue").unwrap()));
    assert!(of_kind(&suggestions(&project), "queue").is_none());

    // What the budget does not pay for comes last, and says so.
    project.write("experiments/budget.toml", "cpu_hours = 0.0\n");
    let poor = suggestions(&project);
    let places: Vec<bool> = poor.iter().map(|suggestion| suggestion["affordable"].as_bool().unwrap()).collect();
    assert!(places.contains(&false) && places.is_sorted_by(|a, b| a >= b), "{places:?}");
    let shown = project.harness(&["next", "--most", "20"]).expect(0).stdout;
    assert!(shown.contains("budget does not pay for it"), "{shown}");
    assert!(status(&project).contains("budget     "));
}

#[test]
fn a_run_that_did_not_complete_is_finished_or_looked_at() {
    let project = project();
    project.harness(&["run", "tiny", "--seed", "9"]).expect(0);
    let child = project.start("slow", &["run", "tiny"]);
    let log = || fs::read_to_string(project.latest("tiny").join("log.jsonl")).unwrap_or_default();
    while project.runs("tiny").len() < 2 || !log().contains("\"event\":\"checkpoint\"") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    signal(child.id(), Signal::INT);
    project.wait(child).expect(130);
    let all = suggestions(&project);
    let resume = of_kind(&all, "resume").unwrap();
    assert_eq!(command(resume), ["run", "tiny", "--resume"]);
    assert!(resume["cost"]["cpu_time_s"].as_f64().unwrap() > 0.0, "{resume}");
    follow(&project, &command(resume));
    assert!(of_kind(&suggestions(&project), "resume").is_none());

    project.harness_with("fail:5", &["run", "cool"]).expect(1);
    let all = suggestions(&project);
    let failed = of_kind(&all, "failed").unwrap();
    assert!(failed["why"].as_str().unwrap().starts_with("loss is not finite; experiments/cool/runs/"), "{failed}");
    follow(&project, &command(failed));
    project.harness(&["run", "cool"]).expect(0);
    assert!(of_kind(&suggestions(&project), "failed").is_none());

    // What is expected only after the runs is decided by none of them, and no error.
    project.harness(&["seeds", "cool", "--seeds", "1"]).expect(0);
    project.write("experiments/cool/experiment.toml", &PROPOSAL.replace("warmup_steps = 2", "cooldown_steps = 5"));
    project.commit("Expect something");
    assert!(of_kind(&suggestions(&project), "undecided").is_none());
    assert!(!status(&project).contains("cool:"), "no proposal of its runs");

    // Who changes a config after its runs is told that no run is of it.
    let changed = "extends = \"tiny\"\n[schedule]\ncooldown_steps = 6\n";
    project.write("experiments/cool/experiment.toml", changed);
    project.commit("Cool down later");
    let all = suggestions(&project);
    let stale = of_kind(&all, "stale").unwrap();
    assert_eq!(command(stale), ["run", "cool"]);
    follow(&project, &command(stale));
    assert!(of_kind(&suggestions(&project), "stale").is_none());
}

#[test]
fn what_is_decided_is_to_be_adopted_or_rejected() {
    let project = project();
    let harmful = PROPOSAL.replace("warmup_steps = 2", "cooldown_steps = 5").replace("lower", "higher");
    project.write("experiments/cool/experiment.toml", &harmful);
    project.commit("Expect harm of a cool-down");
    for (name, sizes) in [("tiny", [400, 400]), ("warm", [800, 801]), ("cool", [0, 1])] {
        for (size, seeds) in sizes.iter().zip(["1", "2"]) {
            project.harness_with(&format!("better:{size}"), &["seeds", name, "--seeds", seeds]).expect(0);
        }
    }
    let all = suggestions(&project);
    let mut decided: Vec<Vec<String>> = all.iter().filter(|found| kind(found) == "decided").map(command).collect();
    decided.sort();
    assert_eq!(decided.len(), 2, "{all:?}");
    assert_eq!(decided[0].join(" "), "adopt cool --over tiny --reject");
    assert_eq!(decided[1].join(" "), "adopt warm --over tiny");
    assert!(status(&project).contains("proposals  2, 0 undecided"));
    decided.iter().for_each(|command| follow(&project, command));
    let all = suggestions(&project);
    assert!(of_kind(&all, "decided").is_none() && of_kind(&all, "missing_seeds").is_none(), "{all:?}");
}

#[test]
fn a_tree_that_was_laid_aside_comes_last_and_what_was_left_behind_is_not_tuned() {
    let project = project();
    // Two trees: nothing was run, so that the root that most is held against is first.
    project.write("experiments/aside/experiment.toml", &crate::common::TINY.replace("seed = 3", "seed = 4"));
    project.write("experiments/aside-warm/experiment.toml", &PROPOSAL.replace("\"tiny\"", "\"aside\""));
    project.commit("Begin something else");
    let place = |all: &[Value], wanted: &str| all.iter().position(|it| command(it).join(" ") == wanted);
    let all = suggestions(&project);
    assert!(place(&all, "run aside").unwrap() < 2 && place(&all, "run tiny").unwrap() < 2, "{all:?}");

    // The work is in one of them: the other waits, however much is held against its root.
    project.harness(&["run", "tiny"]).expect(0);
    let all = suggestions(&project);
    let aside = place(&all, "run aside").unwrap();
    assert!(
        all[aside]["why"].as_str().unwrap().contains("nothing that goes back to the same root was ever run"),
        "{all:?}"
    );
    for wanted in ["seeds warm --seeds 2", "run cool", "probe lr tiny"] {
        assert!(place(&all, wanted).unwrap() < aside, "{wanted}: {all:?}");
    }

    // What a change was adopted over is not tuned any more; the change is, once something is built on it.
    for (name, sizes) in [("tiny", [400, 400]), ("warm", [800, 801])] {
        for (size, seeds) in sizes.iter().zip(["1", "2"]) {
            project.harness_with(&format!("better:{size}"), &["seeds", name, "--seeds", seeds]).expect(0);
        }
    }
    project.harness(&["adopt", "warm", "--over", "tiny"]).expect(0);
    assert!(place(&suggestions(&project), "probe lr tiny").is_some(), "nothing else is built on yet");
    project.write("experiments/later/experiment.toml", "extends = \"warm\"\n[schedule]\ncooldown_steps = 4\n");
    project.commit("Adopt it, and build on it");
    let all = suggestions(&project);
    assert!(place(&all, "probe lr tiny").is_none() && place(&all, "probe lr warm").is_some(), "{all:?}");
}
