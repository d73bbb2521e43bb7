//! Runs under a throwaway Slurm: what its queue does to them, they come through, each to the weights of an undisturbed run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::slurm::Slurm;
use crate::common::{Project, Ran, TINY, signal, trainer, until};

/// What `harness submit` writes has this shape: one run a task, started again by the queue as long as it says so by its code.
const JOB: &str = r#"#!/bin/bash
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=1 --time=1 --requeue --open-mode=append --output=%a.log
export HOME=/nonexistent HARNESS_TRAINER='@trainer@' STAND_IN=slow
# As a step of its own it is told when the job is preempted, which a script is not.
srun --quiet '@harness@' run tiny --seed "$SLURM_ARRAY_TASK_ID" --go-on
code=$?
[ $code = 75 ] && scontrol requeue "$SLURM_JOB_ID" && exit 0
exit $code
"#;

/// A job of others that takes a node for a moment.
const URGENT: &str = "#!/bin/bash\n#SBATCH --partition=urgent --exclusive --time=1 --output=/dev/null\nsleep 1\n";

/// A project whose runs are tasks of an array.
struct Array<'a> {
    slurm: &'a Slurm,
    project: &'a Project,
    job: String,
}

impl<'a> Array<'a> {
    /// Hands over `tasks` (`1-8%2`) of runs by this trainer.
    fn submit(slurm: &'a Slurm, project: &'a Project, trainer: &Path, tasks: &str) -> Self {
        let script =
            JOB.replace("@trainer@", trainer.to_str().unwrap()).replace("@harness@", env!("CARGO_BIN_EXE_harness"));
        project.write(".harness/job.sh", &script);
        project.write(".harness/urgent.sh", URGENT);
        let job = slurm.call(&project.path("."), "sbatch", &["--parsable", "--array", tasks, ".harness/job.sh"]);
        Array { slurm, project, job }
    }

    /// The fields that `squeue` tells of a task.
    fn field(&self, task: u64, format: &str) -> String {
        let id = format!("{}_{task}", self.job);
        self.slurm.call(&self.project.path("."), "squeue", &["--noheader", "--states=all", "--jobs", &id, "-o", format])
    }

    /// The node that a task runs on.
    fn node(&self, task: u64) -> String {
        self.field(task, "%N")
    }

    /// The runs of a task, oldest first.
    fn runs(&self, task: u64) -> Vec<PathBuf> {
        let of_task = |run: &PathBuf| Project::json(&run.join("open.json"))["plan"]["seed"] == task;
        self.project.runs("tiny").into_iter().filter(of_task).collect()
    }

    /// Waits until the first run of a task has a checkpoint.
    fn until_checkpoint(&self, task: u64) {
        until("a checkpoint", || {
            let log = self.runs(task).first().and_then(|run| fs::read_to_string(run.join("log.jsonl")).ok());
            log.is_some_and(|log| log.contains("\"event\":\"checkpoint\""))
        });
    }

    /// Lets another job take the node of a task.
    fn preempt(&self, task: u64) {
        self.slurm.call(&self.project.path("."), "sbatch", &["-w", &self.node(task), ".harness/urgent.sh"]);
    }

    /// Waits until nothing is queued any more. Gives what the tasks wrote.
    fn wait(&self) -> String {
        let begun = Instant::now();
        while !self.slurm.call(&self.project.path("."), "squeue", &["--noheader"]).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(600), "the queue does not end: {}", self.logs());
            std::thread::sleep(Duration::from_millis(500));
        }
        self.logs()
    }

    fn logs(&self) -> String {
        let logs = (1..9).map(|task| self.project.path(&format!("{task}.log")));
        logs.filter_map(|log| Some(format!("{}:\n{}", log.display(), fs::read_to_string(&log).ok()?))).collect()
    }

    /// How the runs of a task ended, oldest first: the kind of failure, or else the status.
    fn ends(&self, task: u64) -> Vec<String> {
        let end = |run: PathBuf| {
            let record = Project::json(&run.join("record.json"));
            let kind = record["failure"]["kind"].as_str().or(record["status"].as_str());
            kind.unwrap().to_owned()
        };
        self.runs(task).into_iter().map(end).collect()
    }
}

/// The last weights of each seed that has completed.
fn weights(project: &Project) -> BTreeMap<u64, String> {
    let mut weights = BTreeMap::new();
    for run in project.runs("tiny") {
        let (open, record) = (Project::json(&run.join("open.json")), Project::json(&run.join("record.json")));
        if record["status"] == "completed" {
            let closing = record["closing"]["weights_sha256"].as_str().unwrap().to_owned();
            let before = weights.insert(open["plan"]["seed"].as_u64().unwrap(), closing);
            assert_eq!(before, None, "a seed is completed once");
        }
    }
    weights
}

/// Every run is one entry of the ledger, which costs what its record says.
fn check_ledger(project: &Project) {
    let told: Value = serde_json::from_str(&project.harness(&["budget", "--json"]).expect(0).stdout).unwrap();
    let entries = told["entries"].as_array().unwrap();
    let runs = project.runs("tiny");
    let name = |run: &PathBuf| run.file_name().unwrap().to_str().unwrap().to_owned();
    let names: BTreeSet<String> = entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, runs.iter().map(name).collect());
    assert_eq!(entries.len(), runs.len());
    let seconds = |value: &Value| value["cpu_time_s"].as_f64().unwrap();
    for (entry, run) in entries.iter().zip(&runs) {
        let record = Project::json(&run.join("record.json"));
        assert_eq!(entry["spent"]["cpu_time_s"], record["resources"]["wall_time_s"]);
        let known = if record["failure"]["kind"] == "abandoned" { "at_least" } else { "measured" };
        assert!(entry["known"] == known && seconds(&entry["spent"]) > 0.0, "{entry}");
    }
    let sum: f64 = entries.iter().map(|entry| seconds(&entry["spent"])).sum();
    assert!((sum - seconds(&told["spent"]["spent"])).abs() < 1e-6, "{sum}: {}", told["spent"]);
}

/// A project with a store of its own, since leases lie there, whose data are ready.
fn project(config: &str) -> Project {
    let project = Project::new();
    fs::remove_file(project.path(".harness")).unwrap();
    fs::create_dir(project.path(".harness")).unwrap();
    project.write("experiments/tiny/experiment.toml", config);
    project.write(".gitignore", "/.harness\n/.tools\n/*.log\nexperiments/*/runs/*/checkpoints/\nreport/build/\n");
    project.commit("Train on a cluster");
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    project
}

#[test]
fn a_preempted_job_goes_on_and_the_queue_ends_with_every_run_complete() {
    let Some(slurm) = Slurm::start() else { return };
    let project = project(&TINY.replace("steps = 20", "steps = 150"));
    let stand_in = Path::new(env!("CARGO_BIN_EXE_harness")).with_file_name("examples/stand-in-trainer");
    let array = Array::submit(&slurm, &project, &stand_in, "1-2%2");
    array.until_checkpoint(1);
    array.preempt(1);
    let logs = array.wait();
    assert_eq!(
        (array.ends(1), array.ends(2)),
        (vec!["preempted".into(), "completed".into()], vec!["completed".to_owned()]),
        "{logs}"
    );
    let open = Project::json(&array.runs(1)[1].join("open.json"));
    assert!(open["resumed_from"]["step"].as_u64().unwrap() >= 4, "{open}");
    let scheduler = serde_json::json!({ "name": "slurm", "job": format!("{}_1", array.job), "restarts": 1 });
    assert_eq!(open["launch"]["scheduler"], scheduler);
    check_ledger(&project);
    project.harness(&["audit"]).expect(0);
}

/// `make test-cluster`
#[test]
#[ignore = "takes minutes; `make test-cluster` runs it"]
fn an_array_of_eight_comes_through_a_killed_node_a_preemption_and_a_time_limit() {
    let trainer = trainer().expect("`make test-cluster` builds the trainer");
    let slurm = Slurm::start().expect("`make test-cluster` needs Slurm");
    let config = TINY
        .replace("steps = 20", "steps = 3000\nema_decay = 0.99")
        .replace("context_length = 32", "context_length = 32\ndropout = 0.1")
        .replace("checkpoint_every = 4", "checkpoint_every = 100\nkeep = { last = 2 }")
        .replace("validation_at = { every = 5 }", "validation_at = { every = 1000 }")
        .replace("tasks_at = { every = 10 }", "tasks_at = \"last\"");
    let undisturbed = project(&config);
    let begun = Instant::now();
    for seed in 1..9 {
        undisturbed.harness_with_trainer(&trainer, &["run", "tiny", "--seed", &seed.to_string()]).expect(0);
    }
    eprintln!("8 undisturbed runs, one after the other: {:.0} s", begun.elapsed().as_secs_f64());

    let project = project(&config);
    let begun = Instant::now();
    let array = Array::submit(&slurm, &project, &trainer, "1-8%2");
    array.until_checkpoint(1);
    let node = array.node(1);
    slurm.kill_node(&node);
    eprintln!("{:.0} s: node {node} killed", begun.elapsed().as_secs_f64());
    array.until_checkpoint(3);
    array.preempt(3);
    eprintln!("{:.0} s: task 3 preempted", begun.elapsed().as_secs_f64());
    until("the queue misses the node", || {
        slurm.call(&project.path("."), "sinfo", &["--noheader", "-n", &node, "-p", "main", "-o", "%T"]).contains("down")
    });
    slurm.start_node(&node);
    eprintln!("{:.0} s: node {node} is back", begun.elapsed().as_secs_f64());
    // A node that is slow for a while: what it has computed when the time ends is kept.
    array.until_checkpoint(8);
    let run = array.runs(8).pop().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let (name, value) = slurm.variable();
    let mut asked = std::process::Command::new("squeue");
    asked.args(["--noheader", "--jobs", &format!("{}_8", array.job), "-o", "%e"]).env(name, value);
    let ends_at = String::from_utf8(asked.env("SLURM_TIME_FORMAT", "%s").output().unwrap().stdout).unwrap();
    let ends_at = SystemTime::UNIX_EPOCH + Duration::from_secs(ends_at.trim().parse().unwrap());
    let found =
        std::process::Command::new("pgrep").args(["-f", &format!("run .*{run}/plan/job.json")]).output().unwrap();
    let slow: u32 = String::from_utf8(found.stdout).unwrap().lines().next().unwrap().parse().unwrap();
    signal(slow, Signal::STOP);
    std::thread::sleep(ends_at.duration_since(SystemTime::now()).unwrap() - Duration::from_secs(9));
    signal(slow, Signal::CONT);
    eprintln!("{:.0} s: task 8 was held up until its time was over", begun.elapsed().as_secs_f64());
    let logs = array.wait();
    eprintln!("{:.0} s: the queue is empty", begun.elapsed().as_secs_f64());

    for (task, ended) in [(1, "abandoned"), (3, "preempted"), (8, "time_limit")] {
        assert_eq!(array.ends(task).first().unwrap(), ended, "task {task}: {logs}");
    }
    assert_eq!(weights(&project), weights(&undisturbed), "{logs}");
    for run in project.runs("tiny") {
        let (open, record) = (Project::json(&run.join("open.json")), Project::json(&run.join("record.json")));
        let from = open["resumed_from"]["step"].as_u64();
        eprintln!(
            "seed {}: {} from step {from:?}",
            open["plan"]["seed"],
            record["failure"]["kind"].as_str().unwrap_or("completed")
        );
    }
    check_ledger(&project);
    project.harness(&["audit"]).expect(0);
    let listed: Value = serde_json::from_str(&project.harness(&["runs", "tiny", "--json"]).expect(0).stdout).unwrap();
    let counted = listed.as_array().unwrap().iter().filter(|run| run["left_out"].is_null()).count();
    assert_eq!(counted, 8, "a chain of runs is one training: {listed}");
}

/// Runs that `harness submit` hands to a Slurm, of which each is shared out among several processes.
struct Submitted<'a> {
    slurm: &'a Slurm,
    project: &'a Project,
    trainer: &'a Path,
}

impl Submitted<'_> {
    /// Hands a run over.
    fn submit(&self, seed: u64) {
        let (name, value) = self.slurm.variable();
        let seed = seed.to_string();
        let mut command = self.project.command(&["submit", "tiny", "--seed", &seed]);
        command.env(name, value).env("HARNESS_TRAINER", self.trainer).env("HOME", "/nonexistent");
        Ran::of(command.output().unwrap()).expect(0);
    }

    /// The runs of a seed, oldest first: what was opened and, once it is sealed, recorded.
    fn runs(&self, seed: u64) -> Vec<(Value, Option<Value>)> {
        let of_seed = |run: PathBuf| {
            let open = Project::json(&run.join("open.json"));
            let record = run.join("record.json");
            (open["plan"]["seed"] == seed).then(|| (open, record.is_file().then(|| Project::json(&record))))
        };
        self.project.runs("tiny").into_iter().filter_map(of_seed).collect()
    }

    /// Waits until the run of a seed has a checkpoint.
    fn until_checkpoint(&self, seed: u64) {
        until("a checkpoint", || {
            let run = self
                .project
                .runs("tiny")
                .into_iter()
                .find(|run| Project::json(&run.join("open.json"))["plan"]["seed"] == seed);
            let log = run.and_then(|run| fs::read_to_string(run.join("log.jsonl")).ok());
            log.is_some_and(|log| log.contains("\"event\":\"checkpoint\""))
        });
    }

    /// Waits until nothing is queued or runs any more.
    fn wait(&self) {
        let begun = Instant::now();
        while !self.slurm.call(&self.project.path("."), "squeue", &["--noheader"]).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(300), "the queue does not end: {}", self.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What the tasks wrote.
    fn logs(&self) -> String {
        let Ok(folders) = fs::read_dir(self.project.path(".harness/cluster")) else { return String::new() };
        folders.filter_map(|folder| fs::read_to_string(folder.ok()?.path().join("0.log")).ok()).collect()
    }

    /// The process of the trainer that is a rank after the first: the one in the project's folder that has joined.
    fn second_rank(&self) -> u32 {
        let folder = self.project.path(".").canonicalize().unwrap();
        let joined = |process: &PathBuf| {
            let words = fs::read(process.join("cmdline")).unwrap_or_default();
            let is_here = fs::read_link(process.join("cwd")).is_ok_and(|there| there == folder);
            is_here && words.split(|byte| *byte == 0).nth(1) == Some(b"join")
        };
        let found = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).find(joined);
        found.and_then(|path| path.file_name()?.to_str()?.parse().ok()).expect("a rank has joined")
    }
}

/// `make test-cluster`
#[test]
#[ignore = "takes minutes; `make test-cluster` runs it"]
fn a_run_that_slurm_shares_out_over_tasks_and_nodes_has_the_bits_of_one_machine() {
    let trainer = trainer().expect("`make test-cluster` builds the trainer");
    let slurm = Slurm::with_processors(2).expect("`make test-cluster` needs Slurm");
    let config = TINY
        .replace("steps = 20", "steps = 1500\ndevices = 2\nema_decay = 0.99\nshard_optimizer = true")
        .replace("context_length = 32", "context_length = 32\ndropout = 0.1")
        .replace("checkpoint_every = 4", "checkpoint_every = 100\nkeep = { last = 2 }")
        .replace("validation_at = { every = 5 }", "validation_at = { every = 500 }")
        .replace("tasks_at = { every = 10 }", "tasks_at = \"last\"");
    let undisturbed = project(&config);
    for seed in 1..4 {
        undisturbed.harness_with_trainer(&trainer, &["run", "tiny", "--seed", &seed.to_string()]).expect(0);
    }
    let project = project(&config);
    let submitted = Submitted { slurm: &slurm, project: &project, trainer: &trainer };
    let cluster = |keys: &str| project.write("cluster.toml", &format!("time = \"00:05:00\"\n{keys}"));

    // Two tasks of one node.
    cluster("tasks_per_node = 2\ncpus = 2\n");
    submitted.submit(1);
    submitted.wait();
    let runs = submitted.runs(1);
    let (open, record) = (&runs[0].0, runs[0].1.as_ref().expect("it is sealed"));
    assert_eq!(record["status"], "completed", "{} {}", record["failure"], submitted.logs());
    let launch = |open: &Value| (open["launch"]["launcher"].clone(), open["launch"]["world_size"].clone());
    assert_eq!(launch(open), ("srun".into(), 2.into()));
    assert_eq!(record["started"]["ranks"]["each"].as_array().unwrap().len(), 2);

    // One task on each of two nodes, of which the second is taken for others.
    cluster("nodes = 2\n");
    submitted.submit(2);
    submitted.until_checkpoint(2);
    project.write(".harness/urgent.sh", URGENT);
    slurm.call(&project.path("."), "sbatch", &["-w", "n2", ".harness/urgent.sh"]);
    submitted.wait();
    let runs = submitted.runs(2);
    let ends: Vec<&Value> =
        runs.iter().map(|(_, record)| &record.as_ref().expect("it is sealed")["failure"]["kind"]).collect();
    assert_eq!(ends, [&Value::from("preempted"), &Value::Null], "{}", submitted.logs());
    assert_eq!(launch(&runs[1].0), ("srun".into(), 2.into()));
    eprintln!("preempted on its second node, and gone on with from step {}", runs[1].0["resumed_from"]["step"]);

    // One whose second rank dies ends, says why, and goes on when it is submitted again.
    submitted.submit(3);
    submitted.until_checkpoint(3);
    signal(submitted.second_rank(), Signal::KILL);
    let killed = Instant::now();
    submitted.wait();
    let took = killed.elapsed();
    let runs = submitted.runs(3);
    let failure = &runs[0].1.as_ref().expect("it is sealed")["failure"];
    eprintln!("a killed rank ended the job in {:.1} s: {}", took.as_secs_f64(), failure["message"]);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(failure["kind"], "rank", "{failure} {}", submitted.logs());
    submitted.submit(3);
    submitted.wait();
    assert_eq!(submitted.runs(3).len(), 2, "{}", submitted.logs());

    assert_eq!(weights(&project), weights(&undisturbed), "{}", submitted.logs());
    project.harness(&["audit"]).expect(0);
}
