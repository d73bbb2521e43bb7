//! Which tasks tell the experiments of this project apart, and by which of their scores: signal and noise from its own seeds
//! and evaluations.

use harness_core::files::FileError;
use harness_core::names::Project;
use harness_record::select::Traces;
use harness_record::{self as record, RunSet};
use harness_statistics::signal::{SignalToNoise, TELLS_APART};
use serde::Serialize;

use crate::likelihood::Likelihood;
use crate::rows::planned_alike;
use crate::{CurvePoint, RunAnalysis, TaskResult, Unit, accuracy_key};

/// How far a score of a task or group tells experiments apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskSignal {
    /// Key of the value.
    pub metric: String,
    /// Its unit.
    pub unit: Unit,
    /// Experiments with two seeds or more that were asked the same.
    pub experiments: usize,
    /// Their runs.
    pub runs: usize,
    /// Standard deviation of the experiments' means.
    pub signal: f64,
    /// Standard deviation over the seeds of one experiment.
    pub noise_over_seeds: f64,
    /// Standard deviation of the last evaluations of a run around their line; null where no run has four in its second half.
    pub noise_over_evaluations: Option<f64>,
    /// Signal over the larger noise; null where nothing varies from run to run.
    pub ratio: Option<f64>,
    /// Whether that is at least 2.
    pub tells_apart: bool,
}

impl TaskSignal {
    /// What it comes to, in words.
    pub fn words(&self) -> String {
        match self.ratio {
            None => "no run of an experiment differs from another".to_owned(),
            Some(_) if self.tells_apart => "tells these experiments apart".to_owned(),
            Some(_) => format!("below {TELLS_APART}: does not tell these experiments apart"),
        }
    }
}

/// The scores of a task or group of `latest` over experiments, each the runs of one plan: the quoted accuracy, then how probable
/// its right answers are. Empty unless two experiments with two seeds each were asked the same.
pub fn task_signals(latest: &RunAnalysis, task: &TaskResult, experiments: &[Vec<&RunAnalysis>]) -> Vec<TaskSignal> {
    fn members<'a>(run: &'a RunAnalysis, id: &str) -> impl Iterator<Item = &'a TaskResult> {
        run.tasks.iter().filter(move |member| member.id == id || member.group.as_deref() == Some(id))
    }
    let asked_alike = |run: &&RunAnalysis| {
        members(latest, &task.id).all(|member| planned_alike(latest, run, &member.id))
            && members(latest, &task.id).count() == members(run, &task.id).count()
    };
    let alike: Vec<Vec<&RunAnalysis>> =
        experiments.iter().map(|runs| runs.iter().copied().filter(asked_alike).collect()).collect();
    let over = |metric: String, unit: Unit, curve: &dyn Fn(&RunAnalysis, &str) -> Option<Vec<CurvePoint>>| {
        let points = |run: &&RunAnalysis| {
            let curve = curve(run, &metric).filter(|curve| !curve.is_empty())?;
            Some(curve.iter().map(|point| (point.step as f64, point.value)).collect::<Vec<_>>())
        };
        let curves: Vec<_> = alike.iter().map(|runs| runs.iter().filter_map(points).collect()).collect();
        let found = SignalToNoise::of(&curves)?;
        Some(TaskSignal {
            metric,
            unit,
            experiments: found.experiments,
            runs: found.runs,
            signal: found.signal,
            noise_over_seeds: found.over_seeds,
            noise_over_evaluations: found.over_evaluations,
            ratio: found.ratio(),
            tells_apart: found.tells_apart(),
        })
    };
    let accuracy =
        over(accuracy_key(&task.id, task.metric), Unit::Share, &|run, _| run.task_curves.get(&task.id).cloned());
    let likelihoods = Likelihood::ALL.into_iter().filter_map(|score| {
        over(score.key(&task.id), score.into(), &|run, key| run.likelihood_curves.get(key).cloned())
    });
    accuracy.into_iter().chain(likelihoods).collect()
}

/// The runs that count of every experiment that has two seeds or more. One with a run that is not as it was sealed is left out:
/// what is asked here is of the others too.
pub fn repeated_experiments(project: &Project) -> Result<Vec<Vec<RunAnalysis>>, FileError> {
    let traces = Traces::of(project)?;
    let names = record::experiments_with_runs(project)?;
    let sets = names.iter().filter_map(|name| RunSet::of_traced(project, name, &traces).ok());
    let repeated = sets.filter(|set| set.runs.len() > 1);
    Ok(repeated.filter_map(|set| set.runs.into_iter().map(RunAnalysis::of).collect::<Result<_, _>>().ok()).collect())
}
