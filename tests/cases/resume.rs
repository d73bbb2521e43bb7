//! The promise of `--resume`, kept by both real programs: a trainer killed in the middle and gone on with gives the
//! weights of an undisturbed run, bit for bit.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Project, signal, trainer, until};
use harness_core::files::list_recursive;
use rustix::process::Signal;

fn start(project: &Project, trainer: &Path, arguments: &[&str]) -> Child {
    let mut command = project.command(arguments);
    command.env("HARNESS_TRAINER", trainer).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn final_weights(project: &Project) -> String {
    let record = Project::json(&project.latest("tiny").join("record.json"));
    assert_eq!(record["status"], "completed", "{}", record["failure"]);
    record["closing"]["weights_sha256"].as_str().unwrap().to_owned()
}

/// Kills the trainer of a run some time after it has written a checkpoint. `false` if it has ended before.
fn kill_after_a_checkpoint(project: &Project, harness: &mut Child, earlier_runs: usize, wait: Duration) -> bool {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(300), "no checkpoint appeared");
        // Earlier runs have checkpoints of their own; one of this run counts when its record names it.
        let log = project.runs("tiny").get(earlier_runs).and_then(|run| fs::read_to_string(run.join("log.jsonl")).ok());
        if log.is_some_and(|log| log.contains("\"event\":\"checkpoint\"")) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(wait);
    let parent = harness.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    match children.split_whitespace().next() {
        Some(trainer) if harness.try_wait().unwrap().is_none() => {
            signal(trainer.parse().unwrap(), Signal::KILL);
            true
        }
        _ => false,
    }
}

/// An experiment that is long enough to be killed in the middle, with everything that a resumption has to bring back:
/// random masks, moments, an average, stages, and documents that do not see each other.
fn project(checkpoint_every: u64) -> Project {
    let training = "steps = 1500\nema_decay = 0.99\ndocument_mask = true\n\
                    batch_size_stages = [{ steps = 300, batch_size = 1 }]\n\
                    sequence_length_stages = [{ steps = 500, sequence_length = 8 }]";
    let config = crate::common::TINY
        .replace("steps = 20", training)
        .replace("context_length = 32", "context_length = 32\ndropout = 0.1")
        .replace(
            "checkpoint_every = 4",
            &format!("checkpoint_every = {checkpoint_every}\nkeep = {{ last = 2, best = 1 }}"),
        )
        .replace("validation_at = { every = 5 }", "validation_at = { every = 500 }")
        .replace("tasks_at = { every = 10 }\ntasks = [\"grammar-agreement\"]", "");
    let project = Project::new();
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Train for real");
    project
}

#[test]
fn a_killed_run_that_is_resumed_ends_with_the_same_weights() {
    let Some(trainer) = trainer() else { return };
    let project = project(50);
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    let undisturbed = final_weights(&project);

    let mut harness = start(&project, &trainer, &["run", "tiny"]);
    assert!(kill_after_a_checkpoint(&project, &mut harness, 1, Duration::ZERO), "the run ended before it was killed");
    assert_eq!(harness.wait().unwrap().code(), Some(1));
    let killed = Project::json(&project.latest("tiny").join("record.json"));
    assert_eq!((killed["status"].as_str(), killed["signal"].as_i64()), (Some("failed"), Some(9)));

    project.harness_with_trainer(&trainer, &["run", "tiny", "--resume"]).expect(0);
    let open = Project::json(&project.latest("tiny").join("open.json"));
    assert!(open["resumed_from"]["step"].as_u64().unwrap() >= 50);
    assert_eq!(final_weights(&project), undisturbed);
    project.harness(&["audit"]).expect(0);
}

/// `make test-resume`: 20 runs, each killed at a random moment and gone on with until it is complete.
#[test]
#[ignore = "takes minutes; `make test-resume` runs it"]
fn twenty_runs_killed_at_random_moments_end_with_the_same_weights() {
    let trainer = trainer().expect("`make test-resume` builds the trainer");
    let project = project(50);
    let begun = Instant::now();
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    let (undisturbed, whole) = (final_weights(&project), begun.elapsed());

    let mut random = harness_core::random::Random::new(20);
    let (mut killed, mut same) = (0, 0);
    while killed < 20 {
        let runs = project.runs("tiny").len();
        let mut harness = start(&project, &trainer, &["run", "tiny"]);
        let was_killed = kill_after_a_checkpoint(&project, &mut harness, runs, whole.mul_f64(random.uniform()));
        let code = harness.wait().unwrap().code();
        if !was_killed || code == Some(0) {
            continue;
        }
        killed += 1;
        project.harness_with_trainer(&trainer, &["run", "tiny", "--resume"]).expect(0);
        let from = Project::json(&project.latest("tiny").join("open.json"))["resumed_from"]["step"].clone();
        let equal = final_weights(&project) == undisturbed;
        same += u32::from(equal);
        eprintln!("kill {killed}: resumed from step {from}, {}", if equal { "bit-identical" } else { "DIFFERENT" });
    }
    let (took, whole) = (begun.elapsed().as_secs_f64(), whole.as_secs_f64());
    eprintln!("{same} of {killed} bit-identical; {took:.0} s, of which the undisturbed run took {whole:.1} s");
    assert_eq!(same, killed);
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Of a sealed run the last step that its rows know, and that of the last checkpoint that its record names.
fn known_of(run: &Path) -> (u64, u64) {
    let rows = fs::read_to_string(run.join("steps.csv")).unwrap();
    let last = rows.lines().last().and_then(|row| row.split(',').next()?.parse().ok());
    let record = Project::json(&run.join("record.json"));
    let named = record["checkpoints"].as_array().unwrap().last().map(|checkpoint| checkpoint["step"].as_u64().unwrap());
    (last.unwrap_or(0), named.unwrap_or(0))
}

/// `make test-resume`: both programs die in the middle of a checkpoint, as they do with their machine.
#[test]
#[ignore = "takes minutes; `make test-resume` runs it"]
fn ten_runs_that_die_while_a_checkpoint_is_written_lose_at_most_one_interval() {
    const INTERVAL: u64 = 10;
    let trainer = trainer().expect("`make test-resume` builds the trainer");
    let project = project(INTERVAL);
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    let undisturbed = final_weights(&project);

    let begun = Instant::now();
    let mut random = harness_core::random::Random::new(10);
    let (mut killed, mut in_vain, mut lost) = (0, 0, Vec::new());
    while killed < 10 {
        let runs = project.runs("tiny").len();
        let mut harness = start(&project, &trainer, &["run", "tiny"]);
        let after = INTERVAL * (2 + random.below(100));
        let half_written = || -> Option<u64> {
            let names = fs::read_dir(project.runs("tiny").get(runs)?.join("checkpoints")).ok()?;
            let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let steps = names.filter_map(|name| name.strip_prefix(".step-")?.get(..8)?.parse().ok());
            steps.into_iter().find(|step| *step >= after)
        };
        let written = loop {
            match half_written() {
                None if harness.try_wait().unwrap().is_none() => {}
                found => break found,
            }
        };
        let Some(step) = written else {
            // All of its checkpoints were whole whenever they were looked at.
            in_vain += 1;
            continue;
        };
        let trainers = children(harness.id());
        trainers.iter().chain([&harness.id()]).for_each(|process| signal(*process, Signal::KILL));
        harness.wait().unwrap();
        // One that waits for the disk is gone only when that has answered.
        until("they are gone", || trainers.iter().all(|trainer| !Path::new(&format!("/proc/{trainer}")).exists()));
        killed += 1;
        project.harness_with_trainer(&trainer, &["run", "tiny", "--resume"]).expect(0);
        let from = Project::json(&project.latest("tiny").join("open.json"))["resumed_from"]["step"].as_u64().unwrap();
        eprintln!("kill {killed}: in the checkpoint of step {step}, resumed from step {from}");
        lost.push(step - from);
        // What the trainer was ahead of the record is lost as well: a message takes longer than some of these steps.
        let (known, named) = known_of(&project.runs("tiny")[runs]);
        assert!(from == named && from <= step && known - from <= INTERVAL, "step {known} known, {named} named");
        assert_eq!(final_weights(&project), undisturbed);
        let left = list_recursive(&project.runs("tiny")[runs]).unwrap();
        assert!(left.iter().all(|path| !path.ends_with(".tmp")), "{left:?}");
    }
    eprintln!(
        "{killed} of {killed} killed in a checkpoint are bit-identical; they went on {} steps before it at most, checkpoints lie {INTERVAL} apart; \
         {in_vain} runs ended first; {:.0} s",
        lost.iter().max().unwrap_or(&0),
        begun.elapsed().as_secs_f64()
    );
    project.harness(&["audit"]).expect(0);
}
