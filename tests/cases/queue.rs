//! `harness queue`: every item is run once, from the commit that it was added at, whatever ends its worker.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Project, TINY, signal, until};

/// A project with a store of its own, since the queue lies there, and a second experiment.
fn project() -> Project {
    let project = Project::new();
    fs::remove_file(project.path(".harness")).unwrap();
    fs::create_dir(project.path(".harness")).unwrap();
    project.write("experiments/other/experiment.toml", &TINY.replace("seed = 3", "seed = 5"));
    project.commit("Have another experiment");
    project
}

fn json(project: &Project, arguments: &[&str]) -> Value {
    serde_json::from_str(&project.harness(arguments).expect(0).stdout).unwrap()
}

/// Number, state and number of runs of each item.
fn items(project: &Project) -> Vec<(u64, String, usize)> {
    let of = |item: &Value| {
        let runs = item["runs"].as_array().unwrap().len();
        (item["id"].as_u64().unwrap(), item["state"].as_str().unwrap().to_owned(), runs)
    };
    json(project, &["queue", "list", "--json"])["items"].as_array().unwrap().iter().map(of).collect()
}

fn states(project: &Project) -> Vec<String> {
    items(project).into_iter().map(|(_, state, _)| state).collect()
}

/// How many complete runs there are of each seed.
fn complete(project: &Project, experiment: &str) -> BTreeMap<u64, u32> {
    let mut complete = BTreeMap::new();
    for run in project.runs(experiment) {
        let seed = Project::json(&run.join("open.json"))["plan"]["seed"].as_u64().unwrap();
        let is_complete =
            run.join("MANIFEST").is_file() && Project::json(&run.join("record.json"))["status"] == "completed";
        *complete.entry(seed).or_default() += u32::from(is_complete);
    }
    complete
}

/// Waits until the latest of so many runs has a checkpoint.
#[track_caller]
pub(super) fn until_checkpoint(project: &Project, runs: usize) {
    until("a checkpoint", || {
        let all = project.runs("tiny");
        let log = all.get(runs - 1).and_then(|run| fs::read_to_string(run.join("log.jsonl")).ok());
        log.is_some_and(|log| log.contains("\"event\":\"checkpoint\""))
    });
}

#[test]
fn items_run_in_their_order_and_from_the_commit_that_they_were_added_at() {
    let project = project();
    let commit = project.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let added =
        project.harness(&["queue", "add", "tiny", "--seed", "1", "--seed", "2", "--purpose", "confirm"]).expect(0);
    assert_eq!(added.stdout, "added: item 1 (`tiny`, seed 1)\nadded: item 2 (`tiny`, seed 2)\n");
    project.harness(&["queue", "add", "other"]).expect(0);

    // The tree is edited on: what is queued does not see it, and nothing more is added of it.
    project.write("experiments/tiny/experiment.toml", &TINY.replace("steps = 20", "steps = 24"));
    project.write("notes.txt", "an idea\n");
    let refused = project.harness(&["queue", "add", "tiny"]).expect(2);
    assert!(
        refused.stderr.contains("notes.txt") && refused.stderr.contains("hint: commit these files"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("--allow"), "no such option: {}", refused.stderr);
    let listed = project.harness(&["queue", "list"]).expect(0);
    assert!(listed.stdout.contains("`harness queue start` does"), "{}", listed.stdout);

    let ended = project.harness(&["queue", "start"]).expect(0);
    assert!(ended.stderr.contains("queue: 3 completed"), "{}", ended.stderr);
    assert_eq!(states(&project), ["completed"; 3]);
    assert_eq!(complete(&project, "tiny"), BTreeMap::from([(1, 1), (2, 1)]));
    let runs = [project.runs("tiny"), project.runs("other")].concat();
    let mut names: Vec<_> = runs.iter().map(|run| run.file_name().unwrap()).collect();
    assert!(names.is_sorted(), "{names:?}");
    names.dedup();
    assert_eq!(names.len(), 3);
    for (run, (seed, purpose)) in runs.iter().zip([(1, "confirm"), (2, "confirm"), (5, "explore")]) {
        let open = Project::json(&run.join("open.json"));
        assert_eq!((open["plan"]["seed"].as_u64(), open["plan"]["purpose"].as_str()), (Some(seed), Some(purpose)));
        assert_eq!((open["code"]["commit"].as_str(), &open["code"]["dirty"]), (Some(&*commit), &Value::Bool(false)));
        assert!(open["not_citable_because"].is_null(), "{open}");
        assert!(!open.to_string().contains("worktrees"), "records name no checkout: {open}");
        assert_eq!(fs::read_to_string(run.join("steps.csv")).unwrap().lines().count(), 21);
    }

    // Nothing of the checkouts stays.
    assert_eq!(fs::read_dir(project.path(".harness/worktrees")).unwrap().count(), 0);
    assert_eq!(project.git(&["worktree", "list"]).lines().count(), 1);
    project.git(&["checkout", "-q", "experiments/tiny/experiment.toml"]);
    fs::remove_file(project.path("notes.txt")).unwrap();
    project.harness(&["audit"]).expect(0);
    let again = project.harness(&["queue", "add", "other"]).expect(0);
    assert_eq!(again.stdout, "complete already: item 3 (`other`, seed 5)\n");
    project.harness(&["queue", "start"]).expect(0);
    assert_eq!(project.runs("other").len(), 1);

    let removed = json(&project, &["queue", "remove", "--ended", "--json"]);
    assert_eq!(removed["removed"].as_array().unwrap().len(), 3);
    project.harness(&["queue", "remove", "1"]).expect(2);
    // Numbers are never given again.
    project.harness(&["queue", "add", "other", "--seed", "9"]).expect(0);
    assert_eq!(items(&project), [(4, "waiting".to_owned(), 0)]);
}

#[test]
fn times_are_those_of_the_plan_or_else_flops_at_the_pace_of_the_latest_run() {
    let project = project();
    project.write("experiments/double/experiment.toml", &TINY.replace("steps = 20", "steps = 40"));
    project.commit("Train twice as long");
    project.harness(&["queue", "add", "tiny", "double"]).expect(0);
    let unknown = json(&project, &["queue", "list", "--json"])["estimates"].clone();
    assert_eq!((unknown["unknown"].as_u64(), &unknown["items"][0]["expected"]), (Some(2), &Value::Null));

    project.harness(&["run", "tiny", "--seed", "8"]).expect(0);
    let wall_time_s = Project::json(&project.latest("tiny").join("record.json"))["resources"]["wall_time_s"].as_f64();
    let known = json(&project, &["queue", "list", "--json"])["estimates"].clone();
    assert_eq!(known["items"][0]["expected"]["seconds"].as_f64(), wall_time_s);
    assert_eq!(known["items"][0]["expected"]["runs_of_the_plan"], 1);
    assert_eq!(known["items"][1]["expected"]["runs_of_the_plan"], 0);
    let [tiny, double] = [0, 1].map(|at| known["items"][at]["expected"]["seconds"].as_f64().unwrap());
    assert!(double > 1.5 * tiny && double < 2.1 * tiny, "{tiny} {double}");
    assert!((known["seconds_left"].as_f64().unwrap() - tiny - double).abs() < 1e-9);
    assert!(known["items"][0]["done_at"].as_str().unwrap() <= known["items"][1]["done_at"].as_str().unwrap());
}

#[test]
fn an_interrupted_item_is_resumed_at_the_next_start() {
    let project = project();
    project.harness(&["queue", "add", "tiny", "--seed", "1", "--seed", "2"]).expect(0);
    let worker = project.start("slow", &["queue", "start"]);
    until_checkpoint(&project, 1);
    signal(worker.id(), Signal::INT);
    project.wait(worker).expect(130);
    assert_eq!(items(&project), [(1, "waiting".to_owned(), 1), (2, "waiting".to_owned(), 0)]);

    // By the other command, and then to the end.
    let worker = project.start("slow", &["queue", "start"]);
    until("a second run", || project.runs("tiny").len() == 2);
    project.harness(&["queue", "stop", "--now"]).expect(0);
    let ended = project.wait(worker);
    assert!(ended.code == 130 || ended.code == -1, "{}: {}", ended.code, ended.stderr);
    project.harness(&["queue", "stop"]).expect(2);
    project.harness(&["queue", "start"]).expect(0);
    assert_eq!(states(&project), ["completed"; 2]);
    assert_eq!(complete(&project, "tiny"), BTreeMap::from([(1, 1), (2, 1)]));
    let resumed = project
        .runs("tiny")
        .iter()
        .filter(|run| !Project::json(&run.join("open.json"))["resumed_from"].is_null())
        .count();
    assert!(resumed >= 1);
    project.harness(&["audit"]).expect(0);
}

#[test]
fn a_killed_worker_loses_no_item_and_runs_none_twice() {
    let project = project();
    project.harness(&["queue", "add", "tiny", "--seed", "1", "--seed", "2", "--seed", "3"]).expect(0);
    let mut runs = 0;
    for _ in 0..3 {
        let mut worker = project.start("slow", &["queue", "start"]);
        until_checkpoint(&project, runs + 1);
        worker.kill().unwrap();
        worker.wait().unwrap();
        runs = project.runs("tiny").len();
    }
    assert_eq!(
        states(&project).iter().filter(|state| *state == "waiting").count()
            + complete(&project, "tiny").values().sum::<u32>() as usize,
        3
    );
    project.harness(&["queue", "start"]).expect(0);
    assert_eq!(states(&project), ["completed"; 3]);
    assert_eq!(complete(&project, "tiny"), BTreeMap::from([(1, 1), (2, 1), (3, 1)]));
    let first = Project::json(&project.runs("tiny")[1].join("open.json"));
    assert_eq!(first["resumed_from"]["run"].as_str(), project.runs("tiny")[0].file_name().unwrap().to_str());
    project.harness(&["audit"]).expect(0);
}

#[test]
fn programs_that_are_built_anew_do_not_disturb_a_worker() {
    let project = project();
    project.harness(&["queue", "add", "tiny", "--seed", "1", "--seed", "2"]).expect(0);
    let [harness, trainer] = ["harness", "harness-trainer"].map(|name| project.path(&format!(".tools/{name}")));
    fs::create_dir(project.path(".tools")).unwrap();
    let command = project.command(&[]);
    fs::copy(command.get_program(), &harness).unwrap();
    let stand_in = command.get_envs().find(|(name, _)| *name == "HARNESS_TRAINER").unwrap().1.unwrap();
    fs::copy(stand_in, &trainer).unwrap();
    let mut worker = Command::new(&harness);
    worker.args(["queue", "start"]).current_dir(project.path(".")).env_clear().env("STAND_IN", "slow");
    worker.env("PATH", std::env::var_os("PATH").unwrap()).env("TMPDIR", project.path("report/build"));
    let worker = worker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until_checkpoint(&project, 1);
    for program in [&harness, &trainer] {
        fs::remove_file(program).unwrap();
        fs::write(program, "another build\n").unwrap();
    }
    project.wait(worker).expect(0);
    assert_eq!(complete(&project, "tiny"), BTreeMap::from([(1, 1), (2, 1)]));
    let digests = project.runs("tiny").into_iter().map(|run| Project::json(&run.join("open.json"))["binaries"].clone());
    let digests: Vec<Value> = digests.collect();
    assert_eq!(digests[0], digests[1]);
    project.harness(&["queue", "list"]).expect(0);
}

#[test]
fn a_run_that_was_killed_while_it_was_sealed_is_made_again() {
    let project = project();
    project.harness(&["queue", "add", "tiny"]).expect(0);
    let mut worker = project.start("slow", &["queue", "start"]);
    until_checkpoint(&project, 1);
    worker.kill().unwrap();
    worker.wait().unwrap();
    fs::write(project.latest("tiny").join("record.json"), "{}").unwrap();
    project.harness(&["queue", "start"]).expect(0);
    assert_eq!(states(&project), ["completed"]);
    assert!(Project::json(&project.latest("tiny").join("open.json"))["resumed_from"].is_null());
}

#[test]
fn a_project_may_be_a_folder_of_a_larger_repository() {
    let project = project();
    fs::create_dir(project.path("thesis")).unwrap();
    for name in ["experiments", ".gitignore"] {
        project.git(&["mv", name, "thesis/"]);
    }
    fs::rename(project.path(".harness"), project.path("thesis/.harness")).unwrap();
    project.commit("Keep the thesis beside other work");
    project.harness(&["-C", "thesis", "queue", "add", "tiny"]).expect(0);
    project.write("thesis/experiments/tiny/experiment.toml", "not a config\n");
    project.harness(&["-C", "thesis", "queue", "start"]).expect(0);
    let runs: Vec<_> = fs::read_dir(project.path("thesis/experiments/tiny/runs")).unwrap().collect();
    let open = Project::json(&runs[0].as_ref().unwrap().path().join("open.json"));
    assert!(runs.len() == 1 && open["not_citable_because"].is_null(), "{open}");
    assert_eq!(open["plan"]["files"][0]["path"], "experiments/tiny/experiment.toml");
}

#[test]
fn a_detached_worker_has_a_session_of_its_own() {
    let project = project();
    project.harness(&["queue", "add", "tiny"]).expect(0);
    let said = project.harness_with("slow", &["queue", "start", "--detach"]).expect(0).stdout;
    let pid = said.split(' ').nth(1).unwrap().to_owned();
    until("a run", || !project.runs("tiny").is_empty());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap();
    assert_eq!(session, pid);
    until("the end", || states(&project) == ["completed"]);
    until("its last words", || {
        fs::read_to_string(project.path(".harness/queue/worker.log")).unwrap().contains("queue: 1 completed")
    });
}

#[test]
fn of_the_derived_seeds_those_that_are_missing_are_added() {
    let project = project();
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.commit("Name the project");
    let derived = harness_core::seeds::first("test", "confirm", 3);
    project.harness(&["queue", "add", "tiny", "--seeds", "2"]).expect(0);
    project.harness(&["queue", "start"]).expect(0);
    let open = Project::json(&project.latest("tiny").join("open.json"));
    assert_eq!(
        (open["plan"]["seed_rule"].as_str(), open["plan"]["purpose"].as_str()),
        (Some("derived"), Some("confirm"))
    );
    let none = project.harness(&["queue", "add", "tiny", "--seeds", "2"]).expect(0);
    assert_eq!(none.stdout, "nothing is missing\n");
    let third = project.harness(&["queue", "add", "tiny", "--seeds", "3"]).expect(0);
    assert_eq!(third.stdout, format!("added: item 3 (`tiny`, seed {})\n", derived[2]));
    project.harness(&["queue", "start"]).expect(0);
    assert_eq!(complete(&project, "tiny"), derived.iter().map(|seed| (*seed, 1)).collect());
}

/// A worker that may use this GPU.
fn worker_on(project: &Project, gpu: &str) -> Child {
    let mut command = project.command(&["queue", "start"]);
    command.env("CUDA_VISIBLE_DEVICES", gpu).env("STAND_IN", "slow");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_workers_share_the_items_and_never_a_device() {
    let project = project();
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    project.harness(&["queue", "add", "tiny", "--seed", "1", "--seed", "2", "--seed", "3", "--seed", "4"]).expect(0);
    let one = worker_on(&project, "0");
    until("a run", || !project.runs("tiny").is_empty());
    let refused = project.wait(worker_on(&project, "0,2")).expect(2);
    let said = format!("process {} is working this queue off", one.id());
    assert!(refused.stderr.contains(&said) && refused.stderr.contains("CUDA_VISIBLE_DEVICES=1"), "{}", refused.stderr);
    let other = worker_on(&project, "1");
    until("two runs at once", || states(&project).iter().filter(|state| *state == "running").count() == 2);
    project.harness(&["queue", "remove", "1"]).expect(2);
    project.wait(one).expect(0);
    project.wait(other).expect(0);
    assert_eq!(states(&project), ["completed"; 4]);
    assert_eq!(project.runs("tiny").len(), 4);
    assert_eq!(complete(&project, "tiny"), BTreeMap::from([(1, 1), (2, 1), (3, 1), (4, 1)]));
}

#[test]
fn no_worker_takes_what_begins_from_a_run_that_another_is_at() {
    let project = project();
    project.write("experiments/long/experiment.toml", &format!("{TINY}\n[schedule]\nkind = \"constant\"\n"));
    let cool = "extends = \"long\"\ntrunk = { experiment = \"long\", step = 12 }\n\n[training]\nsteps = 16\n";
    project.write("experiments/cool/experiment.toml", cool);
    project.commit("A trunk and what begins from it");
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    project.harness(&["queue", "add", "long", "cool", "other"]).expect(0);
    let one = worker_on(&project, "0");
    until("the trunk", || !project.runs("long").is_empty());
    // The other has the item after it, and leaves the one between.
    let other = project.wait(worker_on(&project, "1")).expect(0);
    assert!(other.stderr.contains("(`other`, seed 5): completed"), "{}", other.stderr);
    project.wait(one).expect(0);
    assert_eq!(states(&project), ["completed"; 3]);
    assert_eq!(Project::json(&project.latest("cool").join("open.json"))["resumed_from"]["experiment"], "long");
}

#[test]
fn after_three_failures_the_rest_of_an_experiment_is_held_and_the_others_have_their_turn() {
    let project = project();
    let seeds = ["--seed", "1", "--seed", "2", "--seed", "3", "--seed", "4"];
    project.harness(&[&["queue", "add", "tiny"], &seeds[..]].concat()).expect(0);
    project.harness(&["queue", "add", "other"]).expect(0);
    let failed = project.harness_with("fail:5", &["queue", "start"]).expect(1);
    assert!(
        failed.stderr.contains("1 more are held") && failed.stderr.contains("queue: 4 failed, 1 held"),
        "{}",
        failed.stderr
    );
    assert_eq!(states(&project), ["failed", "failed", "failed", "held", "failed"]);
    let listed = project.harness(&["queue", "list"]).expect(0);
    assert!(listed.stdout.contains("loss is not finite"), "{}", listed.stdout);

    let again = project.harness(&["queue", "add", "tiny", "--seed", "3", "--seed", "4"]).expect(0);
    assert_eq!(again.stdout, "waits again: item 3 (`tiny`, seed 3)\nwaits again: item 4 (`tiny`, seed 4)\n");
    project.harness(&["queue", "start"]).expect(1);
    assert_eq!(states(&project), ["failed", "failed", "completed", "completed", "failed"]);
}

#[test]
fn a_full_disk_stops_the_queue_and_keeps_the_item() {
    let project = project();
    project.harness(&["queue", "add", "tiny", "other"]).expect(0);
    let full = project.harness_with("full:9", &["queue", "start"]).expect(1);
    assert!(
        full.stderr.contains("the queue stops at item 1, which is kept: could not write the checkpoint"),
        "{}",
        full.stderr
    );
    assert_eq!(items(&project), [(1, "waiting".to_owned(), 1), (2, "waiting".to_owned(), 0)]);
    assert!(project.runs("other").is_empty());
    project.harness(&["queue", "start"]).expect(0);
    assert_eq!(Project::json(&project.latest("tiny").join("open.json"))["resumed_from"]["step"], 8);

    // What would fill the disk does not begin.
    let large = TINY.replace("layers = 1", "layers = 900").replace("width = 16", "width = 32768");
    project.write("experiments/large/experiment.toml", &large);
    project.commit("Ask for more than there is");
    project.harness(&["queue", "add", "large", "tiny"]).expect(0);
    let refused = project.harness(&["queue", "start"]).expect(1);
    assert!(refused.stderr.contains("which is kept: the checkpoints of this run need"), "{}", refused.stderr);
    assert_eq!(states(&project)[2..], ["waiting", "waiting"]);
    assert!(project.runs("large").is_empty());
}

#[test]
fn a_queue_that_is_not_ours_to_read_is_left_alone() {
    let project = project();
    project.harness(&["queue", "add", "tiny"]).expect(0);
    let path = project.path(".harness/queue/queue.json");
    let later = fs::read_to_string(&path).unwrap().replace("\"format\": 1", "\"format\": 2");
    for (text, hint) in [(later.as_str(), "update harness"), ("{", "restore or delete the file")] {
        fs::write(&path, text).unwrap();
        let refused = project.harness(&["queue", "add", "other"]).expect(2);
        assert!(refused.stderr.contains(hint), "{}", refused.stderr);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
