//! What became of the trials of a study: read from the runs that name it, whoever ran them.

use std::collections::BTreeMap;

use harness_analyse::RunAnalysis;
use harness_core::Digest;
use harness_core::config::{Choices, Pruning};
use harness_core::names::{Project, RunId};
use harness_record::format::{Record, Status};
use harness_record::select::Read;
use harness_record::{RecordError, SealedRun, dropped, opened, runs_of_every_kind};
use harness_statistics::{mean, quantile};
use serde::Serialize;

use crate::StudyError;
use crate::points::{Opened, Planned};
use crate::seeds::plan_but_seed_and_measured_steps;

/// The kind of failure of a trial that was stopped because it fell behind; its status is `interrupted`.
pub const PRUNED: &str = "pruned";
/// Kinds of failure that are a result: these values cannot be trained with here.
const INFEASIBLE: [&str; 2] = ["non_finite", "out_of_memory"];
/// Kinds that may have another cause, such as a person; a trial that ends so twice is not tried again.
const PERHAPS: [&str; 2] = ["killed", "crashed"];

/// How far a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was run, or what was run ended by chance: its turn will come.
    Waiting,
    /// It is running, or whoever ran it died.
    Open,
    /// It has its metric.
    Completed,
    /// It cannot be trained with these values: the loss is not finite, or the memory is not enough.
    Infeasible,
    /// It was stopped because it fell behind.
    Pruned,
}

impl State {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Open => "open",
            State::Completed => "completed",
            State::Infeasible => "infeasible",
            State::Pruned => "pruned",
        }
    }

    /// Whether nothing is left to be run of it.
    pub fn is_done(self) -> bool {
        matches!(self, State::Completed | State::Infeasible | State::Pruned)
    }
}

/// What one run decides of its trial, if it does.
pub fn decided(record: &Record) -> Option<State> {
    let kind = record.failure.as_ref().map_or("", |failure| failure.kind.as_str());
    match record.status {
        Status::Completed => Some(State::Completed),
        Status::Interrupted if kind == PRUNED => Some(State::Pruned),
        Status::Failed if INFEASIBLE.contains(&kind) => Some(State::Infeasible),
        Status::Failed | Status::Interrupted => None,
    }
}

/// A trial with what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// What was planned.
    #[serde(flatten)]
    pub planned: Planned,
    /// How far it is.
    pub state: State,
    /// Whether its values lie in the ranges of the last round: only then it counts.
    pub inside: bool,
    /// Its runs, oldest first; each goes on from one before it or starts anew.
    pub runs: Vec<RunId>,
    /// The run that decided its state, with the digest of its MANIFEST.
    pub decided_by: Option<(RunId, Digest)>,
    /// The metric, if it is finite.
    pub metric: Option<f64>,
    /// Why it did not complete.
    pub failure: Option<String>,
    /// What its training looked like.
    pub course: Option<Course>,
    /// How often its trainer crashed or was killed.
    pub crashes: u32,
    /// Seconds that all its runs took.
    pub wall_time_s: f64,
}

/// The course of a training, as far as the checks look at it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Course {
    /// Step and validation bits per byte, ascending; a finite one each.
    pub validation: Vec<(u64, f64)>,
    /// The last validation loss, in nats per token.
    pub validation_loss_nats: Option<f64>,
    /// Mean training loss over the last tenth of the steps that were recorded, in nats per token.
    pub late_training_loss_nats: f64,
}

/// The trials of a study, in the order of their numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// One for each that is planned.
    pub trials: Vec<Trial>,
    /// Runs that name the study and have other values than are planned now: of a study.toml that was changed.
    pub of_another_plan: Vec<RunId>,
    /// Runs that cannot be read as they were sealed.
    pub unreadable: Vec<RunId>,
    /// Completed runs of a trial that had one already.
    pub repeated: Vec<RunId>,
}

impl Survey {
    /// Reads all runs of a study.
    pub fn of(project: &Project, study: &Opened) -> Result<Self, StudyError> {
        Self::only(project, study, |_| true)
    }

    /// Reads the runs of one trial.
    pub fn one(project: &Project, study: &Opened, trial: u64) -> Result<Trial, StudyError> {
        let mut survey = Self::only(project, study, |number| number == trial)?;
        Ok(survey.trials.swap_remove(usize::try_from(trial).expect("trials are counted in memory")))
    }

    fn only(project: &Project, study: &Opened, wanted: impl Fn(u64) -> bool) -> Result<Self, StudyError> {
        let mut survey =
            Survey { trials: Vec::new(), of_another_plan: Vec::new(), unreadable: Vec::new(), repeated: Vec::new() };
        let dropped = dropped(project, &study.name)?;
        let mut runs: BTreeMap<u64, Vec<Read>> = BTreeMap::new();
        for run in runs_of_every_kind(project, &study.name)?.into_iter().filter(|run| !dropped.contains_key(run)) {
            let of = opened(project, &study.name, &run).and_then(|open| open.plan.study);
            if let Some(of) = of.filter(|of| of.name == study.name.as_str() && wanted(of.trial)) {
                let read = SealedRun::open(project, &study.name, &run);
                runs.entry(of.trial).or_default().push((run, read));
            }
        }
        let spaces = study.study.present().spaces;
        for planned in &study.trials {
            let inside = planned.nuisance.iter().all(|(at, (_, value))| spaces[*at].holds(value));
            let mut trial = Trial {
                planned: planned.clone(),
                state: State::Waiting,
                inside,
                runs: Vec::new(),
                decided_by: None,
                metric: None,
                failure: None,
                course: None,
                crashes: 0,
                wall_time_s: 0.0,
            };
            if let Some(runs) = runs.remove(&planned.trial) {
                let config = study.config(project, planned)?;
                for (run, read) in runs {
                    survey.take(&mut trial, &config, study, run, read)?;
                }
            }
            survey.trials.push(trial);
        }
        survey.of_another_plan.extend(runs.into_values().flatten().map(|(run, _)| run));
        Ok(survey)
    }

    fn take(
        &mut self,
        trial: &mut Trial,
        config: &Choices,
        study: &Opened,
        id: RunId,
        read: Result<SealedRun, RecordError>,
    ) -> Result<(), StudyError> {
        let run = match read {
            Ok(run) => run,
            Err(RecordError::NotSealed { .. }) => {
                trial.runs.push(id);
                if !trial.state.is_done() {
                    trial.state = State::Open;
                }
                return Ok(());
            }
            Err(_) => {
                self.unreadable.push(id);
                return Ok(());
            }
        };
        let plan = plan_but_seed_and_measured_steps;
        if plan(config) != plan(&run.experiment) || run.open.plan.seed != trial.planned.seed {
            self.of_another_plan.push(id);
            return Ok(());
        }
        trial.wall_time_s += run.record.resources.wall_time_s;
        if trial.state == State::Completed && run.record.status == Status::Completed {
            self.repeated.push(id);
            return Ok(());
        }
        trial.runs.push(id.clone());
        let failure = run.record.failure.clone();
        let kind = failure.as_ref().map_or("", |failure| failure.kind.as_str());
        trial.crashes += u32::from(run.record.status == Status::Failed && PERHAPS.contains(&kind));
        let state = match decided(&run.record) {
            Some(state) => state,
            None if trial.crashes > 1 && PERHAPS.contains(&kind) => State::Infeasible,
            None => State::Waiting,
        };
        if trial.state.is_done() {
            return Ok(());
        }
        trial.failure = failure.map(|failure| failure.message);
        trial.state = state;
        if state.is_done() {
            trial.decided_by = Some((id, run.root));
        }
        if matches!(state, State::Completed | State::Pruned) {
            let analysis = RunAnalysis::of(run)?;
            trial.course = Some(Course::of(&analysis));
            if state == State::Completed {
                let value = analysis.values.get(&study.study.metric).map(|value| value.number);
                trial.metric = value.filter(|value| value.is_finite());
                if trial.metric.is_none() {
                    trial.state = State::Infeasible;
                    trial.failure = Some(format!("`{}` is not finite", study.study.metric));
                }
            }
        }
        Ok(())
    }

    /// Those that are left to be run.
    pub fn missing(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|trial| !trial.state.is_done())
    }

    /// How many are in a state.
    pub fn count(&self, state: State) -> usize {
        self.trials.iter().filter(|trial| trial.state == state).count()
    }
}

impl Course {
    fn of(analysis: &RunAnalysis) -> Self {
        let points = analysis.validation_curve.iter().filter(|point| point.value.is_finite());
        let losses: Vec<f64> = analysis.steps.iter().map(|row| row.loss_nats).collect();
        let late = (losses.len() / 10).max(1).min(losses.len());
        Course {
            validation: points.map(|point| (point.step, point.value)).collect(),
            validation_loss_nats: analysis.values.get("validation.loss").map(|value| value.number),
            late_training_loss_nats: mean(&losses[losses.len() - late..]),
        }
    }

    /// Validation bits per byte after a step.
    pub fn at(&self, step: u64) -> Option<f64> {
        self.validation.iter().find(|(at, _)| *at == step).map(|(_, value)| *value)
    }
}

/// The median that a trial has fallen behind, if it has: at the same step its validation loss is higher than that of half of
/// the other trials of its value, of which enough are complete. Nothing that is not finite is compared.
pub fn falls_behind(own: f64, others: &[f64], complete: usize, rule: &Pruning) -> Option<f64> {
    if complete < rule.complete_before as usize || others.is_empty() {
        return None;
    }
    let median = quantile(others, 0.5);
    (own.is_finite() && own > median).then_some(median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_behind_enough_others_is_stopped() {
        let rule = Pruning { after_percent: 30, complete_before: 3 };
        assert_eq!(falls_behind(2.1, &[1.0, 2.0, 3.0], 3, &rule), Some(2.0));
        assert_eq!(falls_behind(2.0, &[1.0, 2.0, 3.0], 3, &rule), None, "the median itself is not behind");
        assert_eq!(falls_behind(9.0, &[1.0, 2.0, 3.0], 2, &rule), None, "too few are complete");
        assert_eq!(falls_behind(f64::NAN, &[1.0, 2.0, 3.0], 3, &rule), None, "that is infeasible, not behind");
    }
}
