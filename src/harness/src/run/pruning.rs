//! Stopping a trial of a study that falls behind the others of its value. What is compared is never touched: a trial that was
//! stopped is never the best, and one that is at least as good as half of the others is not stopped.

use std::f64::consts::LN_2;
use std::path::Path;

use harness_core::config::Pruning;
use harness_core::contract::{Evaluation, Failure};
use harness_core::names::Project;
use harness_core::scores::{WindowLoss, read_csv};
use harness_study::points::{Opened, Planned};
use harness_study::trials::{PRUNED, State, Survey, falls_behind};

use super::error::RunError;

/// Looks at a trial once, at one step.
pub(super) struct Pruner {
    project: Project,
    study: Opened,
    trial: Planned,
    rule: Pruning,
    step: u64,
    validation_bytes: u64,
}

impl Pruner {
    /// Of a trial of so many steps; none where its study stops no trials.
    pub(super) fn of(
        project: &Project,
        study: &Opened,
        trial: &Planned,
        steps: u64,
        validation_bytes: u64,
    ) -> Option<Self> {
        let rule = study.study.pruning?;
        let (project, study, trial) = (project.clone(), study.clone(), trial.clone());
        let step = u64::from(rule.after_percent) * steps / 100;
        Some(Pruner { project, study, trial, rule, step, validation_bytes })
    }

    /// Why the trial is to be stopped after an evaluation, if it is.
    pub(super) fn look(&self, evaluation: &Evaluation, folder: &Path) -> Result<Option<Failure>, RunError> {
        let file = evaluation.files.iter().find(|file| file.path.ends_with("/validation.csv"));
        let Some(file) = file.filter(|_| evaluation.step == self.step) else { return Ok(None) };
        let rows: Vec<WindowLoss> = read_csv(&folder.join(&file.path))?;
        let own = rows.iter().map(|row| row.loss_nats).sum::<f64>() / LN_2 / self.validation_bytes as f64;
        let survey = Survey::of(&self.project, &self.study)?;
        let of_value = |trial: &&harness_study::trials::Trial| {
            trial.planned.value == self.trial.value && trial.planned.trial != self.trial.trial && trial.inside
        };
        let others: Vec<_> = survey.trials.iter().filter(of_value).collect();
        let complete = others.iter().filter(|trial| trial.state == State::Completed).count();
        let theirs: Vec<f64> = others.iter().filter_map(|trial| trial.course.as_ref()?.at(self.step)).collect();
        Ok(falls_behind(own, &theirs, complete, &self.rule).map(|median| Failure {
            kind: PRUNED.to_owned(),
            message: format!(
                "stopped by the median rule of its study: {own:.4} bits per byte, the median of {} other trials of its value \
                 is {median:.4}",
                theirs.len()
            ),
            hint: None,
            step: self.step,
        }))
    }
}
