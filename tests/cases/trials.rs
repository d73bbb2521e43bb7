//! Studies through the program: what is planned, run and said of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use harness_core::files::list_recursive;
use harness_core::random::Random;
use harness_core::seeds::derived;
use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Project, signal, until};

const STUDY: &str = r#"goal = "Does weight decay help?"
metric = "validation.bits_per_byte"
direction = "lower"
compare_at = "steps"
trials = 3

[[scientific]]
key = "optimizer.weight_decay"
values = [0.0, 0.1]

[[nuisance]]
key = "optimizer.learning_rate"
low = 1e-4
high = 1e-2
scale = "log"

[[fixed]]
key = "optimizer.beta2"
because = "three trials are too few"
"#;

/// A project with a study, committed, and a store of its own, since the leases lie there.
fn project(study: &str) -> Project {
    let project = Project::new();
    fs::remove_file(project.path(".harness")).unwrap();
    fs::create_dir(project.path(".harness")).unwrap();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/tiny/study.toml", study);
    project.commit("Plan a study");
    project
}

fn json(project: &Project, arguments: &[&str]) -> Value {
    serde_json::from_str(&project.harness(arguments).expect(0).stdout).unwrap()
}

#[test]
fn an_open_study_is_suggested_until_it_is_closed() {
    let project = project(STUDY);
    let suggested = || {
        let next = json(&project, &["next", "--json"]);
        let all = next["suggestions"].as_array().unwrap().iter();
        let of_study = all.filter(|s| s["command"][0] == "study").map(|s| (s["kind"].clone(), s["command"].clone()));
        of_study.collect::<Vec<_>>()
    };
    assert_eq!(suggested(), [("trials".into(), serde_json::json!(["study", "run", "tiny"]))]);
    project.harness(&["study", "run", "tiny"]).expect(0);
    let done = suggested();
    assert!(done.len() == 1 && done[0].0 == "study_done", "{done:?}");
    let command: Vec<&str> = done[0].1.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    project.harness(&command).expect(0);
    if command[1] != "close" {
        project.harness(&["study", "close", "tiny"]).expect(0);
    }
    assert!(suggested().is_empty());
}

#[test]
fn a_study_is_written_and_planned_before_anything_is_spent() {
    let project = Project::new();
    project.write("experiments/project.toml", "id = \"test\"\n");
    let new = ["study", "new", "decay", "--over", "tiny", "--vary", "optimizer.weight_decay=0.0,0.1", "--trials", "12"];
    let written = project.harness(&new).expect(0);
    assert_eq!(written.stdout, "experiments/decay/experiment.toml\nexperiments/decay/study.toml\n");
    project.harness(&new).expect(2);
    let plan = json(&project, &["study", "plan", "decay", "--json", "--gpu", "l4"]);
    assert_eq!(plan["trials"].as_array().unwrap().len(), 24);
    let settings = plan["trials"][5]["settings"].as_object().unwrap();
    assert_eq!(
        settings.keys().collect::<Vec<_>>(),
        ["optimizer.weight_decay", "optimizer.learning_rate", "optimizer.beta1"]
    );
    assert!(plan["cost"]["gpu_hours"].as_f64().unwrap() > 0.0);
    let text = project.harness(&["study", "plan", "decay"]).expect(0).stdout;
    assert!(
        text.contains("24 trials: 12 of each value") && text.contains("caveat: `optimizer.beta2` is 0.95"),
        "{text}"
    );
    // The same points in any process; others under another name.
    assert_eq!(json(&project, &["study", "plan", "decay", "--json"])["plan_sha256"], plan["plan_sha256"]);
    project.harness(&["rename", "decay", "decays"]).expect(0);
    assert_ne!(json(&project, &["study", "plan", "decays", "--json"])["plan_sha256"], plan["plan_sha256"]);
}

#[test]
fn a_mistake_in_a_study_is_shown_at_its_place() {
    let project = project(&STUDY.replace("optimizer.learning_rate", "training.batch_size"));
    let refused = project.harness(&["study", "plan", "tiny"]).expect(2);
    assert!(refused.stderr.contains("--> experiments/tiny/study.toml:12:7"), "{}", refused.stderr);
    let refused = project.harness(&["study", "plan", "tinny"]).expect(2);
    assert!(refused.stderr.contains("has no study.toml") && refused.stderr.contains("hint:"), "{}", refused.stderr);
    // Each value can be run, but not with each other.
    let together = STUDY.replace("optimizer.weight_decay", "schedule.warmup_steps").replace("[0.0, 0.1]", "[0, 15]");
    let together = together.replace("optimizer.learning_rate", "schedule.cooldown_steps");
    let together = together.replace("low = 1e-4\nhigh = 1e-2\nscale = \"log\"", "low = 0\nhigh = 10\nscale = \"int\"");
    project.write("experiments/tiny/study.toml", &together);
    let refused = project.harness(&["study", "plan", "tiny"]).expect(2);
    assert!(
        refused.stderr.contains("10 cannot be run") && refused.stderr.contains("study.toml:14"),
        "{}",
        refused.stderr
    );
}

/// The runs of each trial that ended so.
fn ended(project: &Project, status: &str) -> BTreeMap<u64, Vec<PathBuf>> {
    let mut trials: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for run in project.runs("tiny").into_iter().filter(|run| run.join("MANIFEST").is_file()) {
        if Project::json(&run.join("record.json"))["status"] == status {
            let trial = Project::json(&run.join("open.json"))["plan"]["study"]["trial"].as_u64();
            trials.entry(trial.expect("only trials are run")).or_default().push(run);
        }
    }
    trials
}

fn size_bytes(folder: &Path) -> u64 {
    list_recursive(folder).unwrap().iter().map(|file| fs::metadata(folder.join(file)).unwrap().len()).sum()
}

#[test]
fn a_study_goes_from_its_plan_to_a_proposed_experiment() {
    let project = project(STUDY);
    let plan = json(&project, &["study", "plan", "tiny", "--json"]);
    let ran = project.harness(&["study", "run", "tiny"]).expect(0);
    assert!(ran.stderr.contains("study `tiny`: 6 completed"), "{}", ran.stderr);
    let completed = ended(&project, "completed");
    assert_eq!(completed.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    for (trial, runs) in &completed {
        let [run] = &runs[..] else { panic!("{runs:?}") };
        let (open, planned) = (Project::json(&run.join("open.json")), &plan["trials"][*trial as usize]);
        assert_eq!(
            (open["plan"]["purpose"].as_str(), open["plan"]["study"]["name"].as_str()),
            (Some("tune"), Some("tiny"))
        );
        assert_eq!(open["plan"]["seed"], derived("test", "tune", trial / 2));
        assert_eq!((&open["plan"]["seed_rule"], &planned["seed"]), (&Value::from("derived"), &open["plan"]["seed"]));
        let config: toml::Table = toml::from_str(&fs::read_to_string(run.join("plan/config.toml")).unwrap()).unwrap();
        let rate = planned["settings"]["optimizer.learning_rate"].as_f64();
        assert_eq!(config["optimizer"]["learning_rate"].as_float(), rate);
        // 50 trials of this size are far below 10 MB.
        assert!(size_bytes(run) < 60_000, "{}", size_bytes(run));
        assert!(!run.join("layers.csv").exists() && !run.join("checkpoints/step-00000020.safetensors").exists());
        assert_eq!(Project::json(&run.join("record.json"))["retention"]["pruned"][0], 20);
    }

    // A trial follows from the copies in its record.
    project.harness(&["audit"]).expect(0);
    let edited = completed[&0][0].join("plan/files/experiments/tiny/study.toml");
    let text = fs::read_to_string(&edited).unwrap();
    fs::write(&edited, text.replace("1e-4", "2e-4")).unwrap();
    project.harness(&["audit"]).expect(1);
    fs::write(&edited, text).unwrap();
    // What is done is not run again, and nothing else takes a trial for a run of the experiment.
    project.harness(&["study", "run", "tiny"]).expect(0);
    assert_eq!(project.runs("tiny").len(), 6);
    assert!(project.harness(&["run", "tiny", "--resume"]).expect(2).stderr.contains("`tiny` has no run"));
    let listed = json(&project, &["runs", "--json"]);
    assert!(listed["runs"].as_array().unwrap_or(&vec![]).iter().all(|run| !run["left_out"].is_null()), "{listed}");

    // The stand-in does as well with either value.
    let checked = project.harness(&["study", "check", "tiny"]).expect(1);
    assert!(
        checked.stdout.contains("density: ") && checked.stdout.contains("caveat: `optimizer.beta2`"),
        "{}",
        checked.stdout
    );
    let shown = project.harness(&["study", "show", "tiny"]).expect(0).stdout;
    assert!(shown.contains("does not confirm") && shown.contains("harness study close tiny"), "{shown}");
    let closed = project.harness(&["study", "close", "tiny", "--write", "best"]).expect(0).stdout;
    assert_eq!(closed, "experiments/best/experiment.toml\nexperiments/tiny/close.toml\n");
    let evidence: toml::Table =
        toml::from_str(&fs::read_to_string(project.path("experiments/tiny/close.toml")).unwrap()).unwrap();
    assert_eq!(evidence["trial"].as_array().unwrap().len(), 6);
    assert_eq!(evidence["plan_sha256"].as_str(), plan["plan_sha256"].as_str());
    project.commit("Close the study");
    project.harness(&["plan", "best"]).expect(0);
    assert!(project.harness(&["study", "run", "tiny"]).expect(2).stderr.contains("was closed"));
    project.harness(&["study", "close", "tiny"]).expect(2);
    let changed = STUDY.replace("Does weight decay help?", "Does it?");
    project.write("experiments/tiny/study.toml", &changed);
    assert!(project.harness(&["study", "check", "tiny"]).expect(1).stdout.contains("closed: study.toml has changed"));
}

#[test]
fn the_best_of_a_study_over_an_experiment_is_held_against_that_experiment() {
    let project = project(STUDY);
    project.harness(&["study", "new", "decay", "--over", "tiny", "--vary", "optimizer.weight_decay=0.0,0.1"]).expect(0);
    project.write("experiments/decay/study.toml", STUDY);
    project.commit("Plan another");
    project.harness(&["study", "run", "decay"]).expect(0);
    project.harness(&["study", "close", "decay", "--write", "best"]).expect(0);
    let best = fs::read_to_string(project.path("experiments/best/experiment.toml")).unwrap();
    assert!(best.contains("extends = \"tiny\"\n"), "{best}");
    project.commit("Propose the best");

    // Where the experiment of the study is another plan, it has its own baseline.
    project.harness(&["study", "run", "tiny"]).expect(0);
    project.harness(&["study", "close", "tiny", "--write", "other"]).expect(0);
    let other = fs::read_to_string(project.path("experiments/other/experiment.toml")).unwrap();
    assert!(other.contains("extends = \"tiny\"\n"), "{other}");
}

#[test]
fn trials_that_cannot_be_trained_are_kept_and_counted() {
    let project = project(STUDY);
    project.harness_with("fail:5", &["study", "run", "tiny"]).expect(0);
    assert_eq!(ended(&project, "failed").len(), 6);
    project.harness(&["study", "run", "tiny"]).expect(0);
    assert_eq!(project.runs("tiny").len(), 6, "the same values would fail again");
    let checked = project.harness(&["study", "check", "tiny"]).expect(1).stdout;
    assert!(checked.contains("infeasible: 6 of 6 trials"), "{checked}");
    project.harness(&["study", "close", "tiny", "--write", "best"]).expect(2);
}

#[test]
fn trials_take_their_turn_in_the_queue() {
    let project = project(STUDY);
    let states = || -> Vec<(u64, String)> {
        let items = json(&project, &["queue", "list", "--json"])["items"].clone();
        let of = |item: &Value| (item["trial"].as_u64().unwrap(), item["state"].as_str().unwrap().to_owned());
        items.as_array().unwrap().iter().map(of).collect()
    };
    let added = project.harness(&["queue", "add", "tiny", "--trials"]).expect(0).stdout;
    assert!(added.contains("added: item 6 (`tiny`, trial 5)"), "{added}");
    let again = project.harness(&["queue", "add", "tiny", "--trials"]).expect(0).stdout;
    assert_eq!(again.matches("in the queue already").count(), 6, "{again}");
    // What is interrupted waits; what the study has run by itself meanwhile is not run again.
    let worker = project.start("slow", &["queue", "start"]);
    until("a step", || project.runs("tiny").first().is_some_and(|run| run.join("log.jsonl").is_file()));
    std::thread::sleep(Duration::from_millis(300));
    signal(worker.id(), Signal::INT);
    project.wait(worker).expect(130);
    assert_eq!(states()[0], (0, "waiting".to_owned()));
    project.harness(&["study", "run", "tiny", "--share", "1/3"]).expect(0);
    // The values of the other four cannot be trained with: that is their result.
    let before = project.runs("tiny").len();
    project.harness_with("fail:5", &["queue", "start"]).expect(0);
    assert_eq!(states(), (0..6).map(|trial| (trial, "completed".to_owned())).collect::<Vec<_>>());
    assert_eq!(project.runs("tiny").len(), before + 4);
    let study = json(&project, &["study", "show", "tiny", "--json"]);
    let of = |state: &str| study["trials"].as_array().unwrap().iter().filter(|t| t["state"] == state).count();
    assert_eq!((of("completed"), of("infeasible")), (2, 4), "{study:#}");
    let none = project.harness(&["queue", "add", "tiny", "--trials"]).expect(0).stdout;
    assert_eq!(none, "nothing is missing\n");
    project.harness(&["queue", "add", "tiny", "--trials", "--seeds", "2"]).expect(2);
    project.harness(&["audit"]).expect(0);
}

#[test]
fn a_study_that_the_budget_does_not_pay_for_is_refused_as_a_whole() {
    let project = project(STUDY);
    project.harness(&["study", "run", "tiny", "--share", "1/3"]).expect(0);
    let ran = project.runs("tiny").len();
    let spent: Value = json(&project, &["budget", "--json"]);
    let hours = spent["spent"]["spent"]["cpu_time_s"].as_f64().unwrap() / 3600.0;
    // Enough for one more trial, not for the four that are left.
    project.write("experiments/budget.toml", &format!("cpu_hours = {}\n", hours * 1.6));
    project.commit("Limit the budget");
    for command in [&["study", "run", "tiny"][..], &["queue", "add", "tiny", "--trials"]] {
        let refused = project.harness(command).expect(2);
        assert!(refused.stderr.contains("4 runs of `tiny` take about"), "{}", refused.stderr);
        assert!(refused.stderr.contains("--over-budget"), "{}", refused.stderr);
    }
    assert_eq!(project.runs("tiny").len(), ran);
    project.harness(&["study", "run", "tiny", "--over-budget", "the last study"]).expect(0);
    assert_eq!(ended(&project, "completed").len(), 6);
    let reasons: Vec<Value> = project
        .runs("tiny")
        .iter()
        .map(|r| Project::json(&r.join("open.json"))["plan"]["over_budget"].clone())
        .collect();
    assert!(reasons.contains(&Value::from("the last study")), "{reasons:?}");
}

#[test]
fn an_interrupted_study_goes_on_with_the_trial_that_it_was_at() {
    let project = project(STUDY);
    let child = project.start("slow", &["study", "run", "tiny"]);
    let log = |run: &PathBuf| fs::read_to_string(run.join("log.jsonl")).unwrap_or_default();
    let is_evaluated = |run: &PathBuf| log(run).contains("\"event\":\"evaluation\"");
    until("an evaluation, in the middle of it", || project.runs("tiny").first().is_some_and(is_evaluated));
    signal(child.id(), Signal::INT);
    project.wait(child).expect(130);
    assert_eq!(ended(&project, "interrupted").keys().copied().collect::<Vec<_>>(), [0]);
    let next = json(&project, &["next", "--json"]);
    let of_a_run = |suggestion: &&Value| ["resume", "failed"].contains(&suggestion["kind"].as_str().unwrap());
    let found = next["suggestions"].as_array().unwrap().iter().find(of_a_run);
    assert!(found.is_none(), "a trial is its study's to go on with: {found:?}");
    assert!(project.harness(&["study", "close", "tiny"]).expect(2).stderr.contains("6 of its trials are not run"));
    project.harness(&["study", "run", "tiny", "--share", "1/2"]).expect(0);
    assert_eq!(ended(&project, "completed").keys().copied().collect::<Vec<_>>(), [0, 2, 4], "every second trial");
    project.harness(&["study", "run", "tiny"]).expect(0);
    let completed = ended(&project, "completed");
    assert!(completed.len() == 6 && completed.values().all(|runs| runs.len() == 1), "{completed:?}");
    let continued = Project::json(&completed[&0][0].join("open.json"));
    assert!(continued["resumed_from"]["step"].as_u64().is_some_and(|step| step > 0), "{continued}");
}

#[test]
fn a_trial_that_falls_behind_is_stopped_and_never_the_best() {
    let study = STUDY.replace("trials = 3", "trials = 6") + "\n[pruning]\nafter_percent = 50\ncomplete_before = 3\n";
    let project = project(&study);
    project.harness_with("slow", &["study", "run", "tiny"]).expect(0);
    let (pruned, completed) = (ended(&project, "interrupted"), ended(&project, "completed"));
    assert!(!pruned.is_empty() && pruned.len() + completed.len() == 12, "{pruned:?}");
    for (trial, runs) in &pruned {
        let record = Project::json(&runs[0].join("record.json"));
        assert_eq!(record["failure"]["kind"], "pruned");
        assert!(*trial >= 6, "three of each value are complete before one is stopped");
        assert!(fs::read_to_string(runs[0].join("log.jsonl")).unwrap().contains("\"event\":\"fallen_behind\""));
    }
    let shown = json(&project, &["study", "show", "tiny", "--json"]);
    for value in shown["values"].as_array().unwrap() {
        assert!(completed.contains_key(&value["best"]["trial"].as_u64().unwrap()), "{value}");
    }
    project.harness(&["study", "run", "tiny"]).expect(0);
    assert_eq!(project.runs("tiny").len(), 12, "what was stopped is not run again");
}

#[test]
fn a_study_is_drawn_with_every_trial_and_claims_no_noise_that_nobody_measured() {
    let project = project(STUDY);
    let refused = |arguments: &[&str]| project.harness(&[&["plot", "study"], arguments].concat()).expect(2).stderr;
    assert!(
        refused(&["tiny"]).contains("no trial in the ranges of the last round has completed"),
        "{}",
        refused(&["tiny"])
    );
    assert!(refused(&[]).contains("the trials of one study"));
    assert!(refused(&["tiny", "--x", "flops"]).contains("cannot be drawn over"));
    project.write("experiments/other/experiment.toml", "extends = \"tiny\"\n");
    project.commit("An experiment without a study");
    assert!(refused(&["other"]).contains("no study.toml"));

    project.harness_with("fail:5", &["study", "run", "tiny", "--share", "6/6"]).expect(0);
    project.harness(&["study", "run", "tiny", "--share", "1/2"]).expect(0);
    let draw = || {
        let told = project.harness(&["plot", "study", "tiny"]).expect(0).stdout;
        (fs::read_to_string(project.path("report/build/plots/study.tiny.svg")).unwrap(), told)
    };
    let (svg, told) = draw();
    assert!(svg.contains("2 trials are not run yet") && told.contains("2 trials are not run yet"), "{told}");
    assert!(svg.contains("infeasible") && told.contains("0.1: none completed, 1 infeasible"), "{told}");
    assert!(told.contains("How far seeds lie apart is not known.") && !svg.contains("1 SD over"), "{told}");

    project.harness(&["study", "run", "tiny"]).expect(0);
    for (seed, better) in [("3", "better:200"), ("4", "better:220")] {
        project.harness_with(better, &["run", "tiny", "--seed", seed]).expect(0);
    }
    let (svg, told) = draw();
    assert!(
        !svg.contains("not run yet") && told.contains("; 0.1: best ") && !told.contains("none completed"),
        "{told}"
    );
    assert!(svg.contains("1 SD over 2 seeds of tiny") && told.contains("2 seeds of tiny on each side"), "{told}");
    assert_eq!(draw().0, svg, "the same bytes each time");
}

/// Two processes run one study, and one of them is killed at a random moment, again and again.
fn no_trial_is_lost_and_none_twice(kills: u32) {
    let trials = 3 + kills / 2;
    let project = project(&STUDY.replace("trials = 3", &format!("trials = {trials}")));
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    let start = || project.start("slow", &["study", "run", "tiny"]);
    let mut random = Random::new(u64::from(kills));
    let mut processes: [Child; 2] = [start(), start()];
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(200 + random.below(900)));
        let victim = random.below(2) as usize;
        processes[victim].kill().unwrap();
        processes[victim].wait().unwrap();
        processes[victim] = start();
    }
    for process in processes {
        project.wait(process).expect(0);
    }
    let completed = ended(&project, "completed");
    assert_eq!(completed.len() as u32, 2 * trials);
    assert!(completed.values().all(|runs| runs.len() == 1), "{completed:?}");
    let shown = json(&project, &["study", "show", "tiny", "--json"]);
    assert!(shown["trials"].as_array().unwrap().iter().all(|trial| trial["state"] == "completed"), "{shown}");
}

#[test]
fn two_processes_share_a_study_and_take_over_what_the_other_left() {
    no_trial_is_lost_and_none_twice(3);
}

/// `make test-studies`
#[test]
#[ignore = "takes a minute"]
fn two_processes_share_a_study_of_which_one_is_killed_twenty_times() {
    no_trial_is_lost_and_none_twice(20);
}
