//! `harness runs`: every run with its state, one a line.

use super::{Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::RunAnalysis;
use harness_record::{self as record, RecordError, SealedRun};

/// List the runs: state, commit, steps, validation bits per byte.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the runs of this experiment.
    name: Option<String>,
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    if let Some(name) = &arguments.name {
        record::find(project, name)?;
    }
    let mut rows = Vec::new();
    for (experiment, run) in record::all_runs(project)? {
        if arguments.name.as_ref().is_some_and(|name| name != experiment.as_str()) {
            continue;
        }
        let mut row = vec![run.to_string(), experiment.to_string()];
        match SealedRun::open(project, &experiment, &run) {
            Ok(sealed) => {
                let mut state = sealed.record.status.word().to_owned();
                if sealed.open.not_citable_because.is_some() {
                    state.push_str(", not citable");
                }
                if let Some(earlier) = &sealed.open.evaluates {
                    state.push_str(&format!(", evaluates {}", earlier.run));
                }
                let (commit, seed) =
                    (sealed.open.code.commit.get(..8).unwrap_or("-").to_owned(), sealed.open.plan.seed.to_string());
                let analysis = RunAnalysis::of(sealed).ok();
                let shown = |key: &str| {
                    let value = analysis.as_ref().and_then(|a| a.values.get(key));
                    value.map_or_else(|| "-".to_owned(), harness_analyse::Value::shown)
                };
                row.extend([state, commit, seed, shown("training.steps"), shown("validation.bits_per_byte")]);
            }
            Err(RecordError::NotSealed { .. }) => row.push("open".to_owned()),
            Err(_) => row.push("CHANGED: see harness audit".to_owned()),
        }
        row.resize(7, "-".to_owned());
        rows.push(row);
    }
    if rows.is_empty() {
        terminal::tell("no runs yet\nhint: make exp NAME=baseline");
        return Ok(exit_code::SUCCESS);
    }
    terminal::say(&terminal::table(&["run", "experiment", "state", "commit", "seed", "steps", "bits/byte"], &rows));
    Ok(exit_code::SUCCESS)
}
