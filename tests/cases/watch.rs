//! `harness watch`: what is seen of a run that goes on, that ended, and whose last lines are half written.

use std::fs;

use crate::common::{Project, TINY};
use harness::watch::view::{Surroundings, draw, summary};
use harness::watch::{State, Watcher};
use harness_core::scores::StepLine;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

/// The state of a finished run of the stand-in.
fn finished(project: &Project) -> State {
    project.harness(&["run", "tiny"]).expect(0);
    Watcher::open(&project.latest("tiny")).unwrap().look().unwrap().clone()
}

/// The same run half way, with numbers and times that are the same on every machine.
fn half_way(project: &Project) -> State {
    let mut state = finished(project);
    state.open.run = "20261123T081500Z-00ab12cd".parse().unwrap();
    state.record = None;
    state.changed_ns = 1_000_000_000_000;
    let line = |step: u64| StepLine {
        step,
        tokens: 64 * step,
        loss_nats: 1.5 + 4.0 / step as f64,
        learning_rate: 1e-3,
        gradient_norm: 0.8,
        wall_time_s: 30.0 * step as f64,
        tokens_per_s: 21_000.0 + 500.0 * (step % 3) as f64,
        memory_bytes: 3 << 29,
        power_w: Some(540.2),
        model_flops_utilization: Some(0.41),
        ..StepLine::default()
    };
    state.steps = (1..=10).map(line).collect();
    state.validation = vec![(0, 3.1), (5, 2.2), (10, 1.9)];
    state.evaluations = vec![(0, 60.0), (5, 60.0), (10, 90.0)];
    state.events = vec![("2026-11-23T08:15:00Z".to_owned(), "evaluated at step 10: 1.900 bits/byte".to_owned())];
    if let Some(started) = &mut state.started {
        started.parameters = 1_300_000;
        started.flops_per_token = 8e6;
    }
    state
}

fn screen(state: &State, around: &Surroundings, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, around)).unwrap();
    terminal.backend().to_string()
}

fn soon() -> Surroundings {
    Surroundings { now_ns: 1_002_000_000_000, gpu: Some("97 %, 61000 MiB, 81559 MiB, 540 W".to_owned()) }
}

#[test]
fn early_stages_of_a_smaller_batch_leave_fewer_tokens() {
    let project = Project::new();
    let staged = "batch_size = 2\nbatch_size_stages = [{ steps = 10, batch_size = 1 }]";
    project.write("experiments/tiny/experiment.toml", &TINY.replace("batch_size = 2", staged));
    project.commit("Begin with a smaller batch");
    let mut state = finished(&project);
    state.steps.truncate(10);
    assert_eq!(state.tokens_left(), 10 * 2 * 32);
    state.steps.clear();
    assert_eq!(state.tokens_left(), (10 + 10 * 2) * 32);
}

#[test]
fn a_run_that_goes_on_shows_curves_speed_and_what_is_left() {
    let project = Project::new();
    let state = half_way(&project);
    let seen = screen(&state, &soon(), 100, 32);
    for part in ["running", "step 10 of 20, about 6 min 23 s left", "GPU 97 %", "640 tokens done, 640 left"] {
        assert!(seen.contains(part), "{part}\n{seen}");
    }
    insta::assert_snapshot!("half_way", seen);
    insta::assert_snapshot!("half_way_in_words", summary(&state, &soon()));
    // Small and large screens hold it too.
    for (width, height) in [(1, 1), (20, 5), (60, 20), (300, 100)] {
        screen(&state, &soon(), width, height);
    }
    let silent = Surroundings { now_ns: 2_000_000_000_000, gpu: None };
    assert!(summary(&state, &silent).contains("silent for 16 min"));
}

#[test]
fn of_a_job_of_another_version_the_config_says_what_was_to_be_done() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    fs::write(run.join("plan/job.json"), "{\"version\": 1}").unwrap();
    let mut watcher = Watcher::open(&run).unwrap();
    let state = watcher.look().unwrap();
    assert_eq!((state.planned_steps(), state.tokens_left()), (20, 0));
    assert!(state.workload.evaluations.is_empty());
}

#[test]
fn an_evaluation_of_an_early_checkpoint_has_no_training_left() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["evaluate", "tiny", "--checkpoint", "8"]).expect(0);
    let mut watcher = Watcher::open(&project.latest("tiny")).unwrap();
    let state = watcher.look().unwrap();
    assert_eq!((state.planned_steps(), state.tokens_left()), (8, 0));
    assert_eq!(state.left().unwrap().seconds, 0.0);
}

#[test]
fn a_run_without_steps_and_with_broken_numbers_is_shown() {
    let project = Project::new();
    let mut state = half_way(&project);
    state.steps[3].loss_nats = f64::NAN;
    state.steps[4].loss_nats = f64::INFINITY;
    screen(&state, &soon(), 100, 32);
    state.steps.clear();
    state.validation.clear();
    state.started = None;
    let seen = screen(&state, &soon(), 100, 32);
    assert!(seen.contains("preparing") && seen.contains("nothing yet"), "{seen}");
}

#[test]
fn half_written_lines_wait_and_the_end_is_seen() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let whole = project.latest("tiny");
    let growing = project.path("growing");
    fs::create_dir_all(growing.join("plan")).unwrap();
    for file in ["open.json", "plan/config.toml", "plan/job.json"] {
        fs::copy(whole.join(file), growing.join(file)).unwrap();
    }
    let mut watcher = Watcher::open(&growing).unwrap();
    assert!(watcher.look().unwrap().steps.is_empty(), "the files are not there yet");
    let steps = fs::read_to_string(whole.join("steps.csv")).unwrap();
    let log = fs::read_to_string(whole.join("log.jsonl")).unwrap();
    for cut in 0..=steps.len() {
        fs::write(growing.join("steps.csv"), &steps[..cut]).unwrap();
        let rows = steps[..cut].matches('\n').count().saturating_sub(1);
        assert_eq!(watcher.look().unwrap().steps.len(), rows, "after {cut} bytes");
    }
    fs::write(growing.join("log.jsonl"), &log[..log.len() - 3]).unwrap();
    let state = watcher.look().unwrap();
    assert!(state.started.is_some() && state.record.is_none());
    assert_eq!(state.last().unwrap().step, state.planned_steps());
    assert_eq!(state.left().unwrap().untimed_evaluations, 0);

    // The real folder, through the command, in a pipe.
    let ran = project.harness(&["watch", "tiny"]).expect(0);
    for part in ["tiny run ", "completed", "step 20 of 20", "bits/byte"] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    let ran = project.harness(&["watch", "tinny"]).expect(2);
    assert!(ran.stderr.contains("tiny"), "{}", ran.stderr);
}
