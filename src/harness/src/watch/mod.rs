//! A running experiment as it is seen from outside: what its growing files say so far.
//!
//! Comes in: a run folder, which is only read. Goes out: a [`State`], for [`view`] to draw. The last line of a growing
//! file may be half written and is left for the next look. Nothing here is a number of the paper: those come from sealed
//! runs alone.

mod tail;
pub mod view;

use std::f64::consts::LN_2;
use std::path::{Path, PathBuf};

use harness_core::config::{Experiment, parse_resolved};
use harness_core::contract::{Evaluation, Job, Started};
use harness_core::files::{self, FileError};
use harness_core::scores::{StepLine, WindowLoss, read_csv};
use serde_json::Value as Json;

use crate::run::{Left, Workload, timed};
use harness_record::format::{Open, Record, file, read_open, read_record};
use tail::Tail;

/// Why a run cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The run did not write its plan, or another version of harness did.
    #[error("could not read `{path}`: {problem}\nhint: `harness audit RUN` says what is wrong with the run")]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// What is known of a run at a moment.
#[derive(Clone, Debug)]
pub struct State {
    /// Its plan.
    pub open: Open,
    /// What it trains.
    pub experiment: Experiment,
    /// What it is to do.
    pub workload: Workload,
    /// The trainer's account of itself, once it has begun.
    pub started: Option<Started>,
    /// Rows of `steps.csv` so far.
    pub steps: Vec<StepLine>,
    /// Bits per byte of each evaluation so far: (step, bits per byte).
    pub validation: Vec<(u64, f64)>,
    /// The step and the seconds of each evaluation so far.
    pub evaluations: Vec<(u64, f64)>,
    /// The last events of the log, oldest first: (time, what).
    pub events: Vec<(String, String)>,
    /// How it ended, once it has.
    pub record: Option<Record>,
    /// Nanoseconds since 1970 at which `steps.csv` last changed.
    pub changed_ns: u128,
}

/// Looks at a run folder again and again.
pub struct Watcher {
    folder: PathBuf,
    steps: Tail,
    log: Tail,
    state: State,
}

/// Events that are kept.
const EVENTS: usize = 6;

impl Watcher {
    /// Reads the plan of a run.
    pub fn open(folder: &Path) -> Result<Self, WatchError> {
        let plan = |name: &str, problem: String| WatchError::Plan { path: folder.join(name), problem };
        let open = read_open(&files::read(&folder.join(file::OPEN))?).map_err(|e| plan(file::OPEN, e.to_string()))?;
        let config = files::read_to_string(&folder.join(file::CONFIG))?;
        let experiment = parse_resolved(&config).map_err(|problem| plan(file::CONFIG, problem))?;
        let workload = workload(folder, &experiment)?;
        let state = State {
            open,
            experiment,
            workload,
            started: None,
            steps: Vec::new(),
            validation: Vec::new(),
            evaluations: Vec::new(),
            events: Vec::new(),
            record: None,
            changed_ns: 0,
        };
        let tail = |name: &str| Tail::of(folder.join(name));
        Ok(Watcher { folder: folder.to_owned(), steps: tail(file::STEPS), log: tail(file::LOG), state })
    }

    /// Reads what has been added since the last look.
    pub fn look(&mut self) -> Result<&State, WatchError> {
        for line in self.steps.new_lines()? {
            // The header, and what another version may have written, is no row.
            self.state.steps.extend(step_of(&line));
        }
        for line in self.log.new_lines()? {
            if let Ok(event) = serde_json::from_str::<Json>(&line) {
                self.take_in(&event);
            }
        }
        let steps = self.folder.join(file::STEPS);
        if files::is_file(&steps) {
            self.state.changed_ns = files::size_and_change_time(&steps)?.1;
        }
        // MANIFEST comes last, so with it the record is whole.
        if self.state.record.is_none() && files::is_file(&self.folder.join(file::MANIFEST)) {
            let path = self.folder.join(file::RECORD);
            let record = read_record(&files::read(&path)?);
            self.state.record = Some(record.map_err(|e| WatchError::Plan { path, problem: e.to_string() })?);
        }
        Ok(&self.state)
    }

    fn take_in(&mut self, event: &Json) {
        let (at, name, body) = (&event["at"], event["event"].as_str().unwrap_or_default(), &event["body"]);
        let mut words = name.to_owned();
        match name {
            "started" => self.state.started = serde_json::from_value(body.clone()).ok(),
            "evaluation" => {
                if let Ok(evaluation) = serde_json::from_value::<Evaluation>(body.clone()) {
                    self.state.evaluations.push(timed(&evaluation));
                    words = format!("evaluated at step {}", evaluation.step);
                    if let Some(bits) = self.bits_per_byte(&evaluation) {
                        self.state.validation.push((evaluation.step, bits));
                        words.push_str(&format!(": {bits:.3} bits/byte"));
                    }
                }
            }
            "checkpoint" => words = format!("checkpoint at step {}", body["step"]),
            "spike" => {
                let loss_nats = body["loss_nats"].as_f64().unwrap_or(f64::NAN);
                words = format!("the loss spiked at step {}: {loss_nats:.3} nats/token", body["step"]);
            }
            "failed" => words = format!("failed: {}", body["message"].as_str().unwrap_or_default()),
            _ => {}
        }
        self.state.events.push((at.as_str().unwrap_or_default().to_owned(), words));
        let beyond = self.state.events.len().saturating_sub(EVENTS);
        self.state.events.drain(..beyond);
    }

    /// From the rows of an evaluation, which are whole before the log names them.
    fn bits_per_byte(&self, evaluation: &Evaluation) -> Option<f64> {
        let file = evaluation.files.iter().find(|f| f.path.ends_with("/validation.csv"))?;
        let rows: Vec<WindowLoss> = read_csv(&self.folder.join(&file.path)).ok()?;
        let bytes = self.state.open.data.validation_bytes;
        let bits = rows.iter().map(|row| row.loss_nats).sum::<f64>() / LN_2;
        Some(bits / bytes as f64).filter(|bits_per_byte| bits_per_byte.is_finite())
    }
}

/// What the jobs of a run are to do. Those of another version of the contract cannot be read: then what the config says,
/// without evaluations.
fn workload(folder: &Path, experiment: &Experiment) -> Result<Workload, WatchError> {
    let plan = folder.join("plan");
    let is_job = |name: &String| name.starts_with("job") && name.ends_with(".json");
    let mut jobs: Vec<Job> = Vec::new();
    for name in files::list(&plan)?.into_iter().filter(is_job) {
        let Ok(job) = serde_json::from_slice(&files::read(&plan.join(name))?) else {
            let training = &experiment.training;
            let tokens = training.tokens(training.steps, experiment.model.context_length);
            return Ok(Workload { steps: training.steps, tokens, ..Workload::default() });
        };
        jobs.push(job);
    }
    Ok(Workload::of(&jobs))
}

/// A row of `steps.csv`; the columns are those of [`StepLine`], in their order.
fn step_of(line: &str) -> Option<StepLine> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    reader.deserialize().next()?.ok()
}

impl State {
    /// Steps of the plan.
    pub fn planned_steps(&self) -> u64 {
        self.workload.steps
    }

    /// The last row.
    pub fn last(&self) -> Option<&StepLine> {
        self.steps.last()
    }

    /// How long it goes on at the pace of late; nothing while that would be a guess.
    pub fn left(&self) -> Option<Left> {
        self.workload.left(&self.steps, &self.evaluations)
    }

    /// Tokens that the plan still holds.
    pub fn tokens_left(&self) -> u64 {
        self.workload.tokens.saturating_sub(self.last().map_or(0, |line| line.tokens))
    }
}
