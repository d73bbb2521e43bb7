//! `harness run --go-on`: the same command, again and again and by several at a time, makes one training of many segments.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::cases::paper::with_templates;
use crate::common::{Project, Ran, TINY, signal, until};

const GO_ON: [&str; 3] = ["run", "tiny", "--go-on"];

/// A project with a store of its own, since the leases lie there, and a run of so many steps of 50 ms.
fn project(steps: u64) -> Project {
    let project = Project::new();
    fs::remove_file(project.path(".harness")).unwrap();
    fs::create_dir(project.path(".harness")).unwrap();
    let config = TINY.replace("steps = 20", &format!("steps = {steps}"));
    project.write("experiments/tiny/experiment.toml", &config);
    project.git(&["add", "-A"]);
    project.git(&["commit", "-q", "--allow-empty", "-m", "Train longer"]);
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    project
}

fn open(project: &Project, at: usize) -> Value {
    Project::json(&project.runs("tiny")[at].join("open.json"))
}

fn record(project: &Project, at: usize) -> Value {
    Project::json(&project.runs("tiny")[at].join("record.json"))
}

/// Waits until the run of this number has written a checkpoint after this step.
fn until_checkpoint(project: &Project, at: usize, step: u64) {
    let path = format!("step-{step:08}.safetensors");
    until("a checkpoint", || {
        let log = project.runs("tiny").get(at).and_then(|run| fs::read_to_string(run.join("log.jsonl")).ok());
        log.is_some_and(|log| log.contains(&path))
    });
}

/// `--go-on` on a machine that is lent for so many seconds more, by a trainer that behaves so.
fn lent_for(project: &Project, seconds: u64, behaviour: &str) -> Ran {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut command = project.command(&GO_ON);
    command.env("STAND_IN", behaviour).env("HARNESS_END_TIME", (now + seconds).to_string());
    Ran::of(command.output().unwrap())
}

#[test]
fn the_same_command_starts_goes_on_and_then_finds_nothing_to_do() {
    let project = project(60);
    let child = project.start("slow", &GO_ON);
    until_checkpoint(&project, 0, 4);
    // Queues ask more than once, and by more than one signal; of those that wait together the kernel hands over USR1 first.
    signal(child.id(), Signal::TERM);
    std::thread::sleep(Duration::from_millis(50));
    for again in [Signal::TERM, Signal::USR1, Signal::TERM] {
        signal(child.id(), again);
    }
    let ran = project.wait(child).expect(75);
    assert_eq!(ran.stderr.matches("the system asks to stop").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: `harness run tiny --go-on`"), "{}", ran.stderr);
    let first = record(&project, 0);
    assert_eq!((&first["status"], &first["failure"]["kind"]), (&"interrupted".into(), &"preempted".into()));
    let stopped_at = first["closing"]["step"].as_u64().unwrap();
    assert_eq!(first["checkpoints"].as_array().unwrap().last().unwrap()["step"], stopped_at);
    assert_eq!(first["failure"]["step"], stopped_at);

    // Where every process of a job is told, the trainer stops by itself.
    let child = project.start("slow", &GO_ON);
    until_checkpoint(&project, 1, stopped_at.div_ceil(4).max(2) * 4 + 4);
    let parent = child.id();
    let trainer = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    signal(trainer.trim().parse().unwrap(), Signal::USR1);
    project.wait(child).expect(75);
    assert_eq!(open(&project, 1)["resumed_from"]["step"], stopped_at);

    project.harness(&GO_ON).expect(0);
    let done = project.harness(&GO_ON).expect(0);
    let run = project.latest("tiny").file_name().unwrap().to_str().unwrap().to_owned();
    assert!(done.stderr.contains(&format!("nothing to do: run {run}")) && done.stdout.contains(&run), "{}", done.all());
    assert_eq!(project.runs("tiny").len(), 3);
    project.harness(&["audit"]).expect(0);

    // Another seed, other data and another purpose are other runs.
    project.harness(&["run", "tiny", "--go-on", "--seed", "4"]).expect(0);
    assert!(project.harness(&["run", "tiny", "--go-on", "--purpose", "final"]).expect(2).stderr.contains("--seed"));
    let corpus = fs::read_to_string(project.path("experiments/corpora/tiny.toml")).unwrap();
    project.write("experiments/corpora/tiny.toml", &corpus.replace("documents = 400", "documents = 410"));
    project.commit("Train on more");
    project.harness(&GO_ON).expect(0);
    project.harness(&["run", "tiny", "--go-on", "--seed", "3", "--purpose", "tune"]).expect(0);
    assert_eq!(project.runs("tiny").len(), 6);
    assert!((3..6).all(|at| open(&project, at)["resumed_from"].is_null()));
}

/// A queue stopped it twice; of the training that came of it there is one number, with what all of its segments took.
#[test]
fn what_was_stopped_and_gone_on_with_is_one_run_of_a_comparison_and_of_the_paper() {
    let Some(project) = with_templates(|| project(60)) else { return };
    let change = "extends = \"tiny\"\ntitle = \"Change\"\nhypothesis = \"It is better.\"\n\n[model]\nwidth = 32\n";
    project.write("experiments/change/experiment.toml", change);
    project.commit("Propose a change");
    for (at, step) in [(0, 4), (1, 24)] {
        let child = project.start("slow", &GO_ON);
        until_checkpoint(&project, at, step);
        signal(child.id(), Signal::TERM);
        project.wait(child).expect(75);
    }
    project.harness(&GO_ON).expect(0);
    project.harness(&["run", "change"]).expect(0);

    let told = project.harness(&["compare", "tiny", "change", "--json"]).expect(0).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    let compared = &told["comparisons"][0];
    assert_eq!(compared["reference"]["runs"].as_array().unwrap().len(), 1, "{compared:#}");
    let note = compared["notes"].as_array().unwrap().iter().find(|note| note["kind"] == "gone_on").expect("it is said");
    assert_eq!(
        (&note["side"], &note["runs"], &note["of"], &note["segments"]),
        (&"tiny".into(), &1.into(), &1.into(), &3.into())
    );
    let text = "`tiny`: 1 of 1 runs was stopped and gone on with, 3 segments in all; \
                what is compared, and what it cost, is of all segments together";
    assert_eq!(note["text"], text);
    let line = |quantity: &str| {
        let lines = compared["budget"].as_array().unwrap();
        lines.iter().find(|line| line["quantity"] == quantity).unwrap()["reference"].as_f64().unwrap()
    };
    let took: f64 = (0..3).map(|at| record(&project, at)["resources"]["wall_time_s"].as_f64().unwrap()).sum();
    assert!((line("wall time") - took).abs() < 1e-6, "{} {took}", line("wall time"));

    project.harness(&["report"]).expect(0);
    let step = open(&project, 2)["resumed_from"]["step"].as_u64().unwrap();
    let listed = fs::read_to_string(project.path("report/build/tables.json")).unwrap();
    assert!(listed.contains(&format!("goes on from step {step}")), "{listed}");
    project.harness(&["audit"]).expect(0);
    let (first, last) = (project.runs("tiny")[0].clone(), project.runs("tiny")[2].clone());
    let name = |run: &Path| run.file_name().unwrap().to_str().unwrap().to_owned();
    let traced =
        project.harness(&["audit", "--json", &format!("{}:validation.bits_per_byte", name(&last))]).expect(0).stdout;
    assert!(traced.contains(&name(&first)), "{traced}");
}

#[test]
fn of_two_who_want_the_same_run_one_makes_it() {
    let project = project(60);
    let first = project.start("slow", &GO_ON);
    until_checkpoint(&project, 0, 4);
    let [mut second, third] = [(); 2].map(|()| project.start("slow", &GO_ON));
    std::thread::sleep(Duration::from_millis(1500));
    // Who waits leaves when the system asks, and has written nothing.
    signal(third.id(), Signal::TERM);
    assert!(project.wait(third).expect(75).stderr.contains("another process is at this run"));
    assert!(second.try_wait().unwrap().is_none() && project.runs("tiny").len() == 1);
    // The first dies: the second seals what it left, and goes on.
    signal(first.id(), Signal::KILL);
    project.wait(first);
    let told = project.wait(second).expect(0);
    assert_eq!(record(&project, 0)["failure"]["kind"], "abandoned");
    assert_eq!(record(&project, 1)["status"], "completed", "{}", told.stderr);
    assert!(open(&project, 1)["resumed_from"]["step"].as_u64().unwrap() >= 4);

    let both = [(); 2].map(|()| project.start("", &["run", "tiny", "--go-on", "--seed", "5"]));
    let told: String = both.map(|child| project.wait(child).expect(0).stderr).concat();
    assert_eq!((project.runs("tiny").len(), told.matches("nothing to do").count()), (3, 1), "{told}");
    project.harness(&["audit"]).expect(0);
}

#[test]
fn what_failed_by_itself_is_not_gone_on_with() {
    let project = project(20);
    project.harness_with("die:11", &GO_ON).expect(1);
    project.harness_with("fail:15", &GO_ON).expect(1);
    assert_eq!(open(&project, 1)["resumed_from"]["step"], 8, "a kill says nothing of the plan");
    project.harness(&GO_ON).expect(0);
    assert!(open(&project, 2)["resumed_from"].is_null());
    assert_eq!(record(&project, 2)["status"], "completed");
}

#[test]
fn a_node_that_dies_loses_at_most_one_interval() {
    let project = project(100);
    let mut child = project.start("slow", &GO_ON);
    until_checkpoint(&project, 0, 12);
    let parent = child.id();
    let trainer = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    for pid in [parent, trainer.trim().parse().unwrap()] {
        signal(pid, Signal::KILL);
    }
    child.wait().unwrap();
    // What was synced last is torn, and of what was not synced any part is missing.
    let run = project.latest("tiny");
    let path = |name: &str| run.join(name);
    let log = fs::read_to_string(path("log.jsonl")).unwrap();
    let (_, last) = log.rsplit_once("checkpoints/step-").unwrap();
    let step: u64 = last[..8].parse().unwrap();
    let last = path(&format!("checkpoints/step-{step:08}.safetensors"));
    let whole = fs::read(&last).unwrap();
    fs::write(&last, &whole[..whole.len() - 3]).unwrap();
    let half = path(&format!("checkpoints/.step-{:08}.safetensors.7.tmp", step + 4));
    fs::write(&half, "half").unwrap();
    let steps = fs::read_to_string(path("steps.csv")).unwrap();
    fs::write(path("steps.csv"), format!("{steps}\0\0\0\0\n{},7", step + 3)).unwrap();
    fs::write(path("log.jsonl"), format!("{log}\0\0\0,\"event\":\"checkpoint\"}}\n{{\"at\":")).unwrap();

    project.harness(&GO_ON).expect(0);
    let dead = record(&project, 0);
    let lost = format!("the checkpoint of step {step} is damaged");
    assert!(dead["failure"]["kind"] == "abandoned" && dead["failure"]["message"].to_string().contains(&lost), "{dead}");
    assert!(dead["resources"]["wall_time_s"].as_f64().unwrap() > 0.0, "it has cost what it took: {dead}");
    assert!(!half.exists() && !last.exists(), "nothing torn is left");
    assert_eq!(open(&project, 1)["resumed_from"]["step"], step - 4);
    assert_eq!(record(&project, 1)["status"], "completed");
    project.harness(&["audit"]).expect(0);
}

#[test]
fn a_run_stops_by_itself_before_its_time_ends() {
    // Of the 20 s ten are kept for the end; the steps would take 30, and a busy machine may need some before the first.
    let project = project(600);
    let ran = lent_for(&project, 20, "slow").expect(75);
    let first = record(&project, 0);
    assert_eq!((&first["status"], &first["failure"]["kind"]), (&"interrupted".into(), &"time_limit".into()));
    assert!(ran.stderr.contains("the time that the machine is lent for ends"), "{}", ran.stderr);
    let step = first["closing"]["step"].as_u64().unwrap();
    assert!((1..600).contains(&step), "{step}");
    let ran = lent_for(&project, 600, "").expect(0);
    assert!(!ran.stderr.contains("the time ends in"), "{}", ran.stderr);
    assert_eq!(open(&project, 1)["resumed_from"]["step"], step);
    project.harness(&["audit"]).expect(0);
    // How long it takes is known now.
    let mut command = project.command(&["run", "tiny", "--seed", "4", "--go-on"]);
    let late = Ran::of(command.env("HARNESS_END_TIME", "1000000000").output().unwrap()).expect(75);
    assert!(late.stderr.contains("warning: this takes about"), "{}", late.stderr);
    let wrong =
        Ran::of(project.command(&["run", "tiny", "--seed", "5"]).env("HARNESS_END_TIME", "tomorrow").output().unwrap());
    assert!(wrong.expect(2).stderr.contains("HARNESS_END_TIME is `tomorrow`"));
}

#[test]
fn a_run_that_never_comes_to_a_checkpoint_is_not_started_for_ever() {
    let project = project(20);
    for _ in 0..2 {
        project.harness_with("die:3", &GO_ON).expect(1);
    }
    let refused = project.harness(&GO_ON).expect(1);
    let said = "the last 2 runs of `tiny` ended before they wrote a checkpoint";
    assert!(refused.stderr.contains(said) && refused.stderr.contains("checkpoint_every` is 4"), "{}", refused.stderr);
    assert_eq!(project.runs("tiny").len(), 2);
    // Another job of a queue may have more time.
    let mut again = project.command(&GO_ON);
    Ran::of(again.env("SLURM_JOB_ID", "7").output().unwrap()).expect(0);
    let scheduler = serde_json::json!({ "name": "slurm", "job": "7", "restarts": 0 });
    assert_eq!(open(&project, 2)["launch"]["scheduler"], scheduler);
}

#[test]
fn a_queue_that_the_system_stops_says_so_and_keeps_the_item() {
    let project = project(40);
    project.harness(&["queue", "add", "tiny"]).expect(0);
    let worker = project.start("slow", &["queue", "start"]);
    until_checkpoint(&project, 0, 4);
    signal(worker.id(), Signal::TERM);
    project.wait(worker).expect(75);
    assert_eq!(record(&project, 0)["failure"]["kind"], "preempted");
    project.harness(&["queue", "start"]).expect(0);
    assert_eq!(record(&project, 1)["status"], "completed");
}
