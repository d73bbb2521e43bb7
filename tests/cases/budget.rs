//! `harness budget`: everything that was spent, exact to the second, whatever became of it.

use std::fs;

use serde_json::Value;

use crate::common::{Project, Ran};

fn budget(project: &Project) -> Value {
    serde_json::from_str(&project.harness(&["budget", "--json"]).expect(0).stdout).unwrap()
}

fn entry<'a>(budget: &'a Value, name: &str) -> &'a Value {
    budget["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == name).expect("there is such an entry")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The project with an experiment that changes another and a store of its own, since the queue lies there.
fn project() -> Project {
    let project = Project::new();
    fs::remove_file(project.path(".harness")).unwrap();
    fs::create_dir(project.path(".harness")).unwrap();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/warm/experiment.toml", "extends = \"tiny\"\n[schedule]\nwarmup_steps = 2\n");
    project.commit("Change the warm-up");
    project
}

fn name_of(run: &std::path::Path) -> String {
    run.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn every_run_is_in_the_ledger_however_it_ended() {
    let project = project();
    let empty = budget(&project);
    assert_eq!((empty["spent"]["entries"].as_u64(), empty["lines"].as_array().unwrap().len()), (Some(0), 0));
    project.harness(&["run", "tiny"]).expect(0);
    project.harness_with("fail:5", &["run", "tiny", "--seed", "4"]).expect(1);
    project.harness(&["run", "warm", "--purpose", "confirm"]).expect(0);
    project.harness(&["run", "warm", "--purpose", "tune", "--seed", "9"]).expect(0);
    let warm = project.runs("warm");
    project.harness(&["drop", &name_of(&warm[1]), "--because", "the wrong seed"]).expect(0);
    project.harness(&["evaluate", &name_of(&project.runs("tiny")[0]), "--without-validation"]).expect(0);
    project.harness(&["probe", "clip", "tiny", "--steps", "2"]).expect(0);

    let found = budget(&project);
    let mut wall_time_s = 0.0;
    let runs = [project.runs("tiny"), project.runs("warm")].concat();
    for run in runs.iter().filter(|run| run.is_dir()) {
        let record = Project::json(&run.join("record.json"));
        let entry = entry(&found, &name_of(run));
        assert_eq!(entry["spent"]["cpu_time_s"], record["resources"]["wall_time_s"]);
        assert_eq!((&entry["state"], &entry["ended_at"]), (&record["status"], &record["ended_at"]));
        assert_eq!((entry["person"].as_str(), entry["known"].as_str()), (Some("Test"), Some("measured")));
        wall_time_s += number(&record["resources"]["wall_time_s"]);
    }
    let probes = project.path("experiments/tiny/probes");
    let probe = fs::read_dir(probes).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().unwrap() == "json");
    let probe = Project::json(&probe.unwrap());
    wall_time_s += number(&probe["wall_time_s"]);
    assert!((number(&found["spent"]["spent"]["cpu_time_s"]) - wall_time_s).abs() < 1e-6);
    assert_eq!(found["spent"]["spent"]["gpu_time_s"], 0.0);

    let entries = |part: &str, name: &str| found[part][name]["entries"].as_u64();
    assert_eq!((entries("by_phase", "baseline"), entries("by_phase", "confirm")), (Some(2), Some(1)));
    assert_eq!(entries("by_phase", "tune"), Some(2), "a dropped run and a probe");
    assert_eq!(entries("by_phase", "evaluate"), Some(1));
    assert_eq!(entries("by_person", "Test"), found["spent"]["entries"].as_u64());
    assert_eq!(entry(&found, &name_of(&warm[1]))["is_dropped"], true);
    let shown = project.harness(&["budget"]).expect(0).stdout;
    assert!(shown.contains("no limits") && shown.contains("1 failed") && shown.contains("1 dropped"), "{shown}");

    // What was copied was paid for once.
    let copy = project.path("experiments/warm/runs").join(name_of(&project.runs("tiny")[0]));
    fs::create_dir(&copy).unwrap();
    for file in ["open.json", "record.json"] {
        fs::copy(project.runs("tiny")[0].join(file), copy.join(file)).unwrap();
    }
    assert_eq!(budget(&project)["spent"], found["spent"]);
}

#[test]
fn what_was_deleted_or_killed_has_cost_its_time_all_the_same() {
    let project = project();
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    project.commit("Keep the runs");
    project.harness(&["run", "tiny", "--seed", "5"]).expect(0);
    project.harness(&["run", "tiny", "--seed", "6"]).expect(0);
    let before = budget(&project);
    let runs = project.runs("tiny");
    // The first was committed, the third is named by the fourth only.
    for run in [&runs[0], &runs[2]] {
        fs::remove_dir_all(run).unwrap();
    }
    // The supervisor of the last was killed.
    fs::remove_file(runs[3].join("MANIFEST")).unwrap();
    fs::remove_file(runs[3].join("record.json")).unwrap();
    let after = budget(&project);
    let first = entry(&after, &name_of(&runs[0]));
    assert_eq!(first["is_deleted"], true);
    assert_eq!(first["spent"], entry(&before, &name_of(&runs[0]))["spent"], "history still holds what it cost");
    let third = entry(&after, &name_of(&runs[2]));
    assert_eq!((&third["is_deleted"], third["known"].as_str()), (&Value::Bool(true), Some("unknown")));
    let fourth = entry(&after, &name_of(&runs[3]));
    assert_eq!((fourth["state"].as_str(), fourth["known"].as_str()), (Some("open"), Some("at_least")));
    assert!(number(&fourth["spent"]["cpu_time_s"]) >= 0.19, "the clock of the last step: {fourth}");
    let shown = project.harness(&["budget"]).expect(0).stdout;
    for run in [&runs[0], &runs[2]] {
        assert!(shown.contains("note: deleted:") && shown.contains(&name_of(run)), "{shown}");
    }
    assert!(shown.contains("the end of 1 run was not seen"), "{shown}");
}

#[test]
fn limits_are_held_against_what_is_spent_and_what_is_promised() {
    let project = project();
    let text = "cpu_hours = 1.0\nmoney = 4\ncurrency = \"EUR\"\nprice_per_cpu_hour = 2\n[shares]\nconfirm = 0.5\n";
    project.write("experiments/budget.toml", text);
    let proposal = "extends = \"tiny\"\nseeds = 2\n[expect]\nmetric = \"validation.bits_per_byte\"\ndirection = \
                    \"lower\"\nat_least = 0.01\n[schedule]\nwarmup_steps = 2\n";
    project.write("experiments/warm/experiment.toml", proposal);
    project.commit("Propose");
    // Who changes the limits changes no run.
    project.write("experiments/budget.toml", &text.replace("1.0", "2.0"));
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["queue", "add", "tiny", "--seed", "7"]).expect(0);
    let found = budget(&project);
    let promised = found["promised"].as_array().unwrap();
    let queued = promised.iter().filter(|promise| promise["is_queued"] == true).count();
    assert_eq!((promised.len(), queued), (5, 1), "two registered seeds a side, and one that is queued");
    let wall_time_s = number(&found["spent"]["spent"]["cpu_time_s"]);
    let costs: f64 = promised.iter().map(|promise| number(&promise["cost"]["cpu_time_s"])).sum();
    let [hours, share, money] = [0, 1, 2].map(|at| found["lines"][at].clone());
    assert!((number(&hours["spent"]) - wall_time_s / 3600.0).abs() < 1e-12);
    assert!((number(&hours["left"]) - (2.0 - (wall_time_s + costs) / 3600.0)).abs() < 1e-12);
    assert_eq!((share["phase"].as_str(), number(&share["limit"])), (Some("confirm"), 1.0));
    assert!(number(&share["committed"]) < number(&hours["committed"]), "the queued run is no part of the share");
    assert!((number(&money["spent"]) - 2.0 * number(&hours["spent"])).abs() < 1e-12);
    assert!(hours["used_up_at"].as_str().unwrap().ends_with('Z'));
    let shown = project.harness(&["budget"]).expect(0).stdout;
    assert!(shown.contains("promised: 1 queued, 4 registered seeds"), "{shown}");

    // A seed that is queued is promised once.
    let seed = promised.iter().find(|promise| promise["is_queued"] == false).unwrap()["seed"].to_string();
    project.harness(&["queue", "add", "tiny", "--seed", &seed, "--purpose", "confirm"]).expect(0);
    assert_eq!(budget(&project)["promised"].as_array().unwrap().len(), 5);

    project.write("experiments/budget.toml", "gpu_hour = 3\n");
    let refused = project.harness(&["budget"]).expect(2);
    assert!(
        refused.stderr.contains("experiments/budget.toml:1:12") && refused.stderr.contains("did you mean `gpu_hours`?"),
        "{}",
        refused.stderr
    );
}

/// Limits hours on the processor so that so many runs of `tiny` can still be paid.
fn leave(project: &Project, runs: f64) {
    let found = budget(project);
    let completed = found["entries"].as_array().unwrap().iter().filter(|entry| entry["state"] == "completed");
    let times: Vec<f64> = completed.map(|entry| number(&entry["spent"]["cpu_time_s"])).collect();
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let limit = (number(&found["spent"]["spent"]["cpu_time_s"]) + runs * mean) / 3600.0;
    project.write("experiments/budget.toml", &format!("cpu_hours = {limit}\n"));
}

fn reasons(project: &Project, experiment: &str) -> Vec<Option<String>> {
    let open = |run: &std::path::PathBuf| Project::json(&run.join("open.json"));
    let reason = |run| open(run)["plan"]["over_budget"].as_str().map(str::to_owned);
    project.runs(experiment).iter().map(reason).collect()
}

#[test]
fn what_cannot_be_paid_is_refused_before_it_starts_with_what_could_be() {
    let project = project();
    project.harness(&["run", "tiny"]).expect(0);
    leave(&project, 2.5);
    let refused = project.harness(&["seeds", "tiny", "--seeds", "4"]).expect(2).stderr;
    assert!(refused.contains("error: 4 runs of `tiny` take about") && refused.contains("CPU hours"), "{refused}");
    assert!(refused.contains("hint: 2 of them can be paid; what they find is known once"), "{refused}");
    assert!(refused.contains("all 4 of 12 steps in place of 20 can be paid"), "{refused}");
    assert_eq!(project.runs("tiny").len(), 1, "nothing has started");

    // Half a run and a little is left: the reason is in the record, and in the ledger.
    leave(&project, 0.52);
    let refused = project.harness(&["run", "tiny", "--seed", "4"]).expect(2).stderr;
    assert!(refused.contains("a run of `tiny` takes about") && refused.contains("a run of 10 steps"), "{refused}");
    project.harness(&["run", "tiny", "--seed", "4", "--over-budget", ""]).expect(2);
    project.harness(&["run", "tiny", "--seed", "4", "--over-budget", "the deadline is near"]).expect(0);
    assert_eq!(reasons(&project, "tiny"), [None, Some("the deadline is near".to_owned())]);
    let shown = project.harness(&["budget"]).expect(0).stdout;
    assert!(shown.contains("over budget: ") && shown.contains("the deadline is near"), "{shown}");

    // With two seeds it is known what fewer seeds find. A reason that is not needed is not recorded.
    leave(&project, 3.5);
    let refused = project.harness(&["seeds", "tiny", "--seeds", "4"]).expect(2).stderr;
    assert!(refused.contains("3 of them can be paid: 3 seeds a side find "), "{refused}");
    assert!(refused.contains("of `validation.bits_per_byte` in four of five studies, 4 find "), "{refused}");
    assert!(refused.contains("(by 2 seeds of `tiny`)"), "{refused}");
    leave(&project, 30.0);
    project.harness(&["seeds", "tiny", "--seeds", "1", "--over-budget", "to be sure"]).expect(0);
    assert_eq!(reasons(&project, "tiny").last(), Some(&None));

    // Of a run of which nothing is known only an empty budget is the end.
    project.write("experiments/budget.toml", "end_date = \"2026-01-31\"\n");
    let refused = project.harness(&["run", "warm"]).expect(2).stderr;
    assert!(refused.contains("the last day was 2026-01-31"), "{refused}");
    project.write("experiments/budget.toml", "# no limits\n");
    project.harness(&["run", "warm"]).expect(0);
    project.harness(&["audit"]).expect(0);
}

#[test]
fn the_queue_takes_what_can_be_paid_and_stops_where_it_cannot() {
    let project = project();
    project.harness(&["run", "tiny"]).expect(0);
    leave(&project, 2.5);
    let seeds =
        |count: u32| -> Vec<String> { (10..10 + count).flat_map(|n| ["--seed".into(), n.to_string()]).collect() };
    let add = |count: u32, more: &[&str]| {
        let seeds = seeds(count);
        let words = ["queue", "add", "tiny"].into_iter().chain(seeds.iter().map(String::as_str));
        project.harness(&words.chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let refused = add(3, &[]).expect(2).stderr;
    assert!(refused.contains("3 runs of `tiny` take") && refused.contains("2 of them can be paid"), "{refused}");
    add(2, &[]).expect(0);
    // What is promised to the queue is not left for others; what is in it already is not asked for again.
    project.harness(&["run", "tiny", "--seed", "30"]).expect(2);
    add(2, &[]).expect(0);
    add(3, &[]).expect(2);

    leave(&project, 0.5);
    let stopped = project.harness(&["queue", "start"]).expect(1).stderr;
    assert!(stopped.contains("item 1, which is kept") && stopped.contains("a run of `tiny` takes"), "{stopped}");
    assert_eq!(project.runs("tiny").len(), 1);
    add(1, &["--over-budget", "one more"]).expect(0);
    let stopped = project.harness(&["queue", "start"]).expect(1).stderr;
    assert!(stopped.contains("item 2, which is kept"), "{stopped}");
    assert_eq!(reasons(&project, "tiny"), [None, Some("one more".to_owned())]);
}

#[test]
fn all_gpus_that_a_queue_has_lent_are_paid_for() {
    let project = Project::new();
    let mut command = project.command(&["run", "tiny"]);
    command.env("SLURM_JOB_ID", "7").env("SLURM_GPUS_ON_NODE", "2").env("SLURM_JOB_NUM_NODES", "3");
    Ran::of(command.output().unwrap()).expect(0);
    let run = project.latest("tiny");
    assert_eq!(Project::json(&run.join("open.json"))["launch"]["scheduler"]["gpus"], 6);
    let wall_time_s = Project::json(&run.join("record.json"))["resources"]["wall_time_s"].as_f64().unwrap();
    let spent = || -> Value {
        let told = project.harness(&["budget", "--json"]).expect(0).stdout;
        serde_json::from_str::<Value>(&told).unwrap()["entries"][0].clone()
    };
    // The stand-in computed on the processor: they stood idle all that time.
    assert_eq!(spent()["spent"]["gpu_time_s"].as_f64(), Some(6.0 * wall_time_s));
    assert_eq!(spent()["spent"]["cpu_time_s"], 0.0);
    project.harness(&["audit", "tiny"]).expect(0);
    // Of one whose end nobody saw, as long as it gave signs of life.
    fs::remove_file(run.join("record.json")).unwrap();
    let entry = spent();
    assert_eq!(entry["known"], "at_least", "{entry}");
    assert!(entry["spent"]["cpu_time_s"] == 0.0 && entry["spent"]["gpu_time_s"].as_f64() > Some(0.0), "{entry}");
}
