//! What the trials of a study take together, before anything is spent.

use harness_core::names::Project;
use harness_study::StudyError;
use harness_study::points::{Opened, Planned};
use serde::Serialize;

use crate::run::RunError;
use crate::run::forecast::{Corpus, Forecast, Rate};

/// The sum over trials.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// How many trials it is the sum over.
    pub trials: usize,
    /// Training tokens.
    pub tokens: u64,
    /// FLOPs of training, and of the evaluations as far as the data are prepared.
    pub flops: f64,
    /// Seconds, at the rate of a GPU.
    pub time_s: Option<f64>,
    /// GPU hours, likewise.
    pub gpu_hours: Option<f64>,
    /// Energy, likewise: the most that it can be.
    pub energy_kwh: Option<f64>,
    /// The largest predicted memory of a step.
    pub memory_bytes: u64,
}

impl Cost {
    /// Of `trials` of a study. Each is checked as it will be run, so a combination that cannot be is found here.
    pub fn of(project: &Project, study: &Opened, trials: &[&Planned], rate: Option<&Rate>) -> Result<Self, RunError> {
        let mut cost = Cost { trials: trials.len(), ..Cost::default() };
        let mut corpus: Option<Corpus> = None;
        for trial in trials {
            let config = study.config(project, trial)?;
            let corpus = match corpus {
                Some(corpus) => corpus,
                // Corpus and tasks are the same for all.
                None => *corpus.insert(Corpus::of(project, &config.corpus)?.with_tasks(project, &config)),
            };
            let tokens_per_s = rate.map(|rate| rate.tokens_per_s(&config, corpus.vocabulary_size));
            let forecast = Forecast::of(&config.resolved(corpus.vocabulary_size, tokens_per_s)?, corpus, rate.cloned());
            let evaluations = forecast.validation_flops.unwrap_or(0.0) + forecast.task_flops.unwrap_or(0.0);
            cost.tokens += forecast.tokens;
            cost.flops += forecast.training_flops + evaluations;
            cost.memory_bytes = cost.memory_bytes.max(forecast.memory_bytes);
            let add = |sum: Option<f64>, part: Option<f64>| part.map(|part| sum.unwrap_or(0.0) + part);
            cost.time_s = add(cost.time_s, forecast.time_s);
            cost.gpu_hours = add(cost.gpu_hours, forecast.gpu_hours);
            cost.energy_kwh = add(cost.energy_kwh, forecast.energy_kwh);
        }
        Ok(cost)
    }
}

/// Looks at the config of every trial; the first that cannot be run is named.
pub fn check_all(project: &Project, study: &Opened) -> Result<(), StudyError> {
    for trial in &study.trials {
        study
            .config(project, trial)
            .map_err(|error| StudyError::Trial { trial: trial.trial, error: Box::new(error) })?;
    }
    Ok(())
}
