//! What models score at the end and on the way: tasks, and bits per byte by size.

use super::curves::evaluations;
use super::{PlotError, Request, Shown, headline_tasks, title_of_task};
use crate::families::over_seeds;
use harness_analyse::{Likelihood, RunAnalysis, TaskResult};
use harness_figure::task_curves::{self, Score};
use harness_figure::{Curve, Estimate, Figure, Progress, Subject, parameters_loss, tasks};

const NO_TASKS: (&str, &str) = ("no task was scored", "set `evaluation.tasks`");

/// Headline tasks of all that is shown, in the order of the first that has each.
fn headlines<'a>(shown: &[Shown<'a>]) -> Vec<&'a TaskResult> {
    let mut all: Vec<&TaskResult> = Vec::new();
    for task in shown.iter().flat_map(|s| headline_tasks(s.latest())) {
        if all.iter().all(|seen| seen.id != task.id) {
            all.push(task);
        }
    }
    all
}

pub(super) fn tasks(request: &Request) -> Result<Figure, PlotError> {
    let shown = request.shown;
    let subjects: Vec<Subject> = shown.iter().map(|s| s.subject.clone()).collect();
    let row = |task: &TaskResult| tasks::Row {
        name: title_of_task(task),
        chance: task.chance,
        scores: shown.iter().map(|s| estimate(s, &task.id)).collect(),
    };
    let rows: Vec<tasks::Row> = headlines(shown).into_iter().map(row).collect();
    if rows.is_empty() { Err(request.nothing(NO_TASKS.0, NO_TASKS.1)) } else { Ok(tasks::draw(&subjects, &rows)) }
}

/// The accuracy over the seeds.
fn estimate(shown: &Shown, id: &str) -> Option<Estimate> {
    let own = |run: &&RunAnalysis| {
        let task = headline_tasks(run).into_iter().find(|t| t.id == id)?.quoted_accuracy();
        Some((task.mean, Some(task.standard_error)))
    };
    let seeds: Vec<(f64, Option<f64>)> = shown.runs.iter().filter_map(own).collect();
    let (mean, standard_error) = (!seeds.is_empty()).then(|| over_seeds(&seeds))?;
    Some(Estimate { mean, standard_error: standard_error? })
}

pub(super) fn task_curves(request: &Request, score: Score, progress: Progress) -> Result<Figure, PlotError> {
    let points = |run: &'_ RunAnalysis, id: &str| match score {
        Score::Accuracy => run.task_curves.get(id).cloned(),
        Score::GoldBitsPerByte => run.likelihood_curves.get(&Likelihood::GoldBitsPerByte.key(id)).cloned(),
    };
    let curve = |s: &Shown, id: &str| {
        let seed = |run: &&RunAnalysis| Some(evaluations(run, &points(run, id)?, progress));
        let seeds: Vec<Vec<(f64, f64)>> = s.runs.iter().filter_map(seed).collect();
        (!seeds.is_empty()).then(|| Curve { subject: s.subject.clone(), seeds })
    };
    let of = |task: &TaskResult| task_curves::Task {
        name: title_of_task(task),
        chance: (score == Score::Accuracy).then_some(task.chance),
        curves: request.shown.iter().filter_map(|s| curve(s, &task.id)).collect(),
    };
    let all: Vec<task_curves::Task> =
        headlines(request.shown).into_iter().map(of).filter(|task| !task.curves.is_empty()).collect();
    if all.is_empty() {
        return Err(request.nothing(NO_TASKS.0, NO_TASKS.1));
    }
    Ok(task_curves::draw(&all, score, progress))
}

pub(super) fn parameters_loss(shown: &[Shown], size: parameters_loss::Size) -> Figure {
    let key = match size {
        parameters_loss::Size::Parameters => "model.parameters_without_embeddings",
        parameters_loss::Size::Flops => "training.flops",
    };
    let point = |s: &Shown| {
        let number = |run: &RunAnalysis, key: &str| run.values.get(key).map(|v| v.number);
        let bits: Vec<f64> = s.runs.iter().filter_map(|run| number(run, "validation.bits_per_byte")).collect();
        let size = number(s.latest(), key)?;
        (!bits.is_empty()).then(|| parameters_loss::Point { subject: s.subject.clone(), size, bits_per_byte: bits })
    };
    parameters_loss::draw(&shown.iter().filter_map(point).collect::<Vec<_>>(), size)
}
