//! `harness watch`: a run while it goes on.

use std::io::{IsTerminal, stdout};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::watch::view::{self, Surroundings};
use crate::watch::{State, WatchError, Watcher};
use harness_record as record;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How often the GPU is asked.
const GPU_EVERY: Duration = Duration::from_secs(2);

/// Watch a run: curves, speed, GPU, time and budget left. Works on a finished run too.
///
/// Reads the run's growing files and writes nothing; q, Esc or Ctrl-C ends the view, not the run. Without a terminal
/// (in a pipe, say) it prints the state of the run and exits.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run id, or an experiment (its latest run).
    name: String,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let (experiment, run) = record::find(&workplace.project, &arguments.name)?;
    let mut watcher = Watcher::open(&workplace.project.run(&experiment, &run))?;
    if !stdout().is_terminal() {
        let state = watcher.look()?;
        let around = Surroundings { now_ns: now_ns(), gpu: gpu_of(state) };
        terminal::say(&view::summary(state, &around));
        return Ok(exit_code::SUCCESS);
    }
    // Also puts a hook before panics that gives the terminal back.
    let mut screen = ratatui::try_init().map_err(|e| Failure::failed(format!("could not use the terminal: {e}")))?;
    let outcome = show(&mut screen, &mut watcher);
    // Where the terminal is gone there is nothing to give back, and nobody to tell.
    let _ = ratatui::try_restore();
    outcome
}

fn show(screen: &mut ratatui::DefaultTerminal, watcher: &mut Watcher) -> Outcome {
    let lost = |e: std::io::Error| Failure::failed(format!("the terminal was lost: {e}"));
    let (mut gpu, mut asked): (Option<String>, Option<Instant>) = (None, None);
    loop {
        let state = watcher.look()?;
        if asked.is_none_or(|at| at.elapsed() >= GPU_EVERY) {
            (gpu, asked) = (gpu_of(state), Some(Instant::now()));
        }
        let around = Surroundings { now_ns: now_ns(), gpu: gpu.clone() };
        screen.draw(|frame| view::draw(frame, state, &around)).map_err(lost)?;
        let until = Instant::now() + EVERY;
        while event::poll(until.saturating_duration_since(Instant::now())).map_err(lost)? {
            match event::read().map_err(lost)? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    if interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                        return Ok(exit_code::SUCCESS);
                    }
                }
                Event::Resize(..) => break,
                _ => {}
            }
        }
    }
}

fn now_ns() -> u128 {
    record::environment::now().as_nanosecond().unsigned_abs()
}

/// What nvidia-smi says of the GPU of a run that is still going on one; nothing without it.
fn gpu_of(state: &State) -> Option<String> {
    let device = &state.started.as_ref()?.device;
    let index = device.strip_prefix("cuda")?.trim_start_matches(':');
    if state.record.is_some() {
        return None;
    }
    let output = Command::new("nvidia-smi")
        .args(["--query-gpu=utilization.gpu,memory.used,memory.total,power.draw", "--format=csv,noheader"])
        .args(["--id", if index.is_empty() { "0" } else { index }])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        Failure::failed(error)
    }
}
