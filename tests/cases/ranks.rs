//! Several processes that train together: the record of such a run, the end of one of them, and who starts them.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::{Project, Ran, TINY, signal, trainer, until};

/// The experiment `tiny` with another section `[training]`.
fn with_training(project: &Project, keys: &str) {
    let config = TINY.replace("layers = 1\n", "layers = 1\ndropout = 0.1\n").replace("steps = 20\n", keys);
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Share the work");
}

fn open(run: &Path) -> serde_json::Value {
    Project::json(&run.join("open.json"))
}

fn record(run: &Path) -> serde_json::Value {
    Project::json(&run.join("record.json"))
}

#[test]
fn a_run_of_two_processes_is_recorded_audited_and_replayed() {
    let Some(trainer) = trainer() else { return };
    let project = Project::new();
    with_training(&project, "steps = 20\n");
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    let alone = project.latest("tiny");
    with_training(&project, "steps = 20\ndevices = 2\n");
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    let (open, one) = (open(&run), open(&alone));
    assert_eq!((open["launch"]["launcher"].as_str(), open["launch"]["world_size"].as_u64()), (Some("local"), Some(2)));
    // Who shares the work is no part of the plan.
    assert_eq!(open["plan"]["plan_sha256"], one["plan"]["plan_sha256"]);
    assert_ne!(open["plan"]["config_sha256"], one["plan"]["config_sha256"]);
    let (record, of_one) = (record(&run), record(&alone));
    let ranks = &record["started"]["ranks"];
    assert_eq!((ranks["backend"].as_str(), ranks["each"].as_array().unwrap().len()), (Some("gloo"), 2));
    assert_eq!(ranks["each"][1]["host_sha256"], open["host"]["hostname_sha256"]);
    assert!(of_one["started"].get("ranks").is_none());
    assert_eq!(record["closing"]["order_sha256"], of_one["closing"]["order_sha256"]);
    let cpu = |record: &serde_json::Value| record["resources"]["cpu_time_s"].as_f64().unwrap();
    assert!(cpu(&record) >= record["closing"]["cpu_time_s"].as_f64().unwrap());
    project.harness(&["audit", "tiny"]).expect(0);
    let id = run.file_name().unwrap().to_str().unwrap();
    let replay = project.harness_with_trainer(&trainer, &["replay", id, "--windows", "1", "--nonce", "1"]).expect(0);
    assert!(replay.stdout.contains("are the same to the bit"), "{}", replay.stdout);
}

#[test]
fn a_killed_process_ends_the_run_within_seconds_and_a_resumption_gives_the_same_bits() {
    let Some(trainer) = trainer() else { return };
    let project = Project::new();
    with_training(&project, "steps = 400\ndevices = 2\nkeep = { last = 2 }\n");
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    let undisturbed = record(&project.latest("tiny"));
    let mut command = project.command(&["run", "tiny"]);
    command.env("HARNESS_TRAINER", &trainer).stdout(Stdio::piped()).stderr(Stdio::piped());
    let harness = command.spawn().unwrap();
    until("a checkpoint is written", || {
        project.runs("tiny").len() == 2
            && fs::read_dir(project.latest("tiny").join("checkpoints")).is_ok_and(|c| c.count() > 1)
    });
    let children = format!("/proc/{0}/task/{0}/children", harness.id());
    let children = fs::read_to_string(children).unwrap();
    let second = children.split_whitespace().nth(1).unwrap().parse().unwrap();
    signal(second, Signal::KILL);
    let since = Instant::now();
    let ran = Ran::of(harness.wait_with_output().unwrap()).expect(1);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert!(ran.stderr.contains("rank 1 was killed (signal 9) after step"), "{}", ran.stderr);
    assert_eq!(record(&project.latest("tiny"))["failure"]["kind"], "killed");
    project.harness_with_trainer(&trainer, &["run", "tiny", "--resume"]).expect(0);
    let resumed = record(&project.latest("tiny"));
    assert_eq!(resumed["closing"]["weights_sha256"], undisturbed["closing"]["weights_sha256"]);
    project.harness(&["audit", "tiny"]).expect(0);
}

#[test]
fn a_run_goes_on_with_another_number_of_processes_and_its_record_says_so() {
    let Some(trainer) = trainer() else { return };
    let project = Project::new();
    with_training(&project, "steps = 500\ndevices = 2\nkeep = { last = 2 }\n");
    let mut command = project.command(&["run", "tiny"]);
    command.env("HARNESS_TRAINER", &trainer).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stopped = command.spawn().unwrap();
    until("a checkpoint is written", || {
        !project.runs("tiny").is_empty()
            && fs::read_dir(project.latest("tiny").join("checkpoints")).is_ok_and(|c| c.count() > 0)
    });
    signal(stopped.id(), Signal::INT);
    Ran::of(stopped.wait_with_output().unwrap()).expect(130);
    let step = record(&project.latest("tiny"))["closing"]["step"].as_u64().unwrap();
    with_training(&project, "steps = 500\ndevices = 1\nkeep = { last = 2 }\n");
    project.harness_with_trainer(&trainer, &["run", "tiny", "--resume"]).expect(0);
    let run = project.latest("tiny");
    assert_eq!(open(&run)["launch"]["world_size"], 1);
    assert_eq!(open(&run)["resumed_from"]["step"], step);
    project.harness(&["audit", "tiny"]).expect(0);
}

#[test]
fn a_batch_that_cannot_be_shared_out_is_refused_before_the_run() {
    let project = Project::new();
    with_training(&project, "steps = 20\ndevices = 4\n");
    let refused = project.harness(&["run", "tiny"]).expect(2).stderr;
    assert!(refused.contains("a batch of 2 sequences cannot be shared out equally among 4 processes"), "{refused}");
    assert!(refused.contains("hint: make `training.batch_size`"), "{refused}");
    assert!(project.runs("tiny").is_empty());
    // On a machine without a GPU all of them are one process.
    with_training(&project, "steps = 20\ndevices = \"all\"\n");
    project.harness(&["run", "tiny"]).expect(0);
    assert_eq!(open(&project.latest("tiny"))["launch"]["world_size"], 1);
}

#[test]
fn what_a_run_takes_is_foretold_by_runs_of_as_many_processes_or_it_is_said_that_it_is_not() {
    let Some(trainer) = trainer() else { return };
    let project = Project::new();
    // A store of its own, since the queue lies there.
    fs::remove_file(project.path(".harness")).unwrap();
    fs::create_dir(project.path(".harness")).unwrap();
    let foretold = || -> serde_json::Value {
        let listed = project.harness(&["queue", "list", "--json"]).expect(0).stdout;
        serde_json::from_str::<serde_json::Value>(&listed).unwrap()["estimates"]["items"][0]["expected"].clone()
    };
    with_training(&project, "steps = 20\n");
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    let seconds = |run: &Path| record(run)["resources"]["wall_time_s"].as_f64().unwrap();
    let of_one = seconds(&project.latest("tiny"));
    with_training(&project, "steps = 20\ndevices = 2\n");
    project.harness(&["queue", "add", "tiny", "--seed", "9"]).expect(0);
    // The same plan, and another number of processes: its time is told as it was, and how it was.
    let expected = foretold();
    assert_eq!((expected["seconds"].as_f64(), expected["ranks"].as_u64()), (Some(of_one), Some(1)), "{expected}");
    let caveat = "computed from runs with 1 process on cpu; there is none with 2 processes on cpu";
    assert_eq!(expected["caveat"], caveat);
    let listed = project.harness(&["queue", "list"]).expect(0).stdout;
    assert!(listed.contains(&format!("note: what `tiny` takes is {caveat}")), "{listed}");
    project.write("experiments/budget.toml", "cpu_hours = 0.0001\n");
    let budget = project.harness(&["budget"]).expect(0).stdout;
    assert!(budget.contains(&format!("note: what is promised of `tiny` is {caveat}")), "{budget}");
    let refused = project.harness(&["seeds", "tiny", "--seeds", "3"]).expect(2).stderr;
    assert!(refused.contains(&format!("note: what each takes is {caveat}")), "{refused}");
    fs::remove_file(project.path("experiments/budget.toml")).unwrap();
    // From the first run of two processes on it is the time of these, whatever others took.
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    let of_two = seconds(&project.latest("tiny"));
    let expected = foretold();
    assert_eq!((expected["seconds"].as_f64(), expected["ranks"].as_u64()), (Some(of_two), Some(2)), "{expected}");
    assert_eq!((expected["runs_of_the_plan"].as_u64(), expected["device"].as_str()), (Some(1), Some("cpu")));
    assert!(expected["caveat"].is_null(), "{expected}");
    // Of another plan their pace is taken, not that of the one process.
    with_training(&project, "steps = 40\ndevices = 2\n");
    project.harness(&["queue", "add", "tiny", "--seed", "8"]).expect(0);
    let listed = project.harness(&["queue", "list", "--json"]).expect(0).stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let expected = &listed["estimates"]["items"][1]["expected"];
    assert_eq!((expected["runs_of_the_plan"].as_u64(), expected["ranks"].as_u64()), (Some(0), Some(2)), "{expected}");
    assert!(expected["caveat"].is_null() && expected["seconds"].as_f64() > Some(of_two), "{expected}");
}

#[test]
fn ranks_that_somebody_else_starts_are_one_run() {
    let Some(trainer) = trainer() else { return };
    let project = Project::new();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let start = |rank: &str| {
        let mut command = project.command(&["run", "tiny", "--go-on"]);
        command.env("HARNESS_TRAINER", &trainer).env("RANK", rank).env("WORLD_SIZE", "2").env("LOCAL_RANK", rank);
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // The second waits for the first.
    let [second, first] = [start("1"), start("0")];
    Ran::of(first.wait_with_output().unwrap()).expect(0);
    let second = Ran::of(second.wait_with_output().unwrap()).expect(0);
    assert_eq!(second.stdout, "");
    assert_eq!(project.runs("tiny").len(), 1);
    let run = project.latest("tiny");
    let launch = &open(&run)["launch"];
    assert_eq!((launch["launcher"].as_str(), launch["world_size"].as_u64()), (Some("torchrun"), Some(2)));
    assert_eq!(record(&run)["started"]["ranks"]["each"].as_array().unwrap().len(), 2);
    project.harness(&["audit", "tiny"]).expect(0);
    // There is nothing left to do: who waits for a job is sent home.
    let [second, first] = [start("1"), start("0")];
    let first = Ran::of(first.wait_with_output().unwrap()).expect(0);
    assert!(first.stderr.contains("nothing to do"), "{}", first.stderr);
    Ran::of(second.wait_with_output().unwrap()).expect(0);
    assert_eq!(project.runs("tiny").len(), 1);
}
