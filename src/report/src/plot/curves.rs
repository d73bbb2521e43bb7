//! Curves over training: from the rows of each step and evaluation to points along the chosen axis.

use super::{PlotError, Request, Shown};
use harness_analyse::{CurvePoint, RunAnalysis};
use harness_figure::{Curve, Figure, Progress, optimisation, throughput, training_loss, validation};

/// For each step of a run its place along `progress`. Wall time of a resumed run goes on where the segment before it
/// ended.
pub fn progress_of_steps(run: &RunAnalysis, progress: Progress) -> Vec<f64> {
    let flops = run.values.get("model.training_flops_per_token").map_or(0.0, |v| v.number);
    let (mut before, mut last) = (0.0, 0.0);
    let place = |line: &harness_core::scores::StepLine| match progress {
        Progress::Steps => line.step as f64,
        Progress::Tokens => line.tokens as f64,
        Progress::Flops => flops * line.tokens as f64,
        Progress::WallTime => {
            if line.wall_time_s < last {
                before += last;
            }
            last = line.wall_time_s;
            before + last
        }
    };
    run.steps.iter().map(place).collect()
}

/// The points of a curve over evaluations along `progress`; the evaluation before the first step lies at zero.
pub(super) fn evaluations(run: &RunAnalysis, curve: &[CurvePoint], progress: Progress) -> Vec<(f64, f64)> {
    let places = progress_of_steps(run, progress);
    let at = |point: &CurvePoint| match point.step {
        0 => Some(0.0),
        step => run.steps.binary_search_by_key(&step, |line| line.step).ok().map(|index| places[index]),
    };
    curve.iter().filter_map(|point| Some((at(point)?, point.value))).collect()
}

fn steps(run: &RunAnalysis, progress: Progress, value: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
    progress_of_steps(run, progress).into_iter().enumerate().map(|(index, x)| (x, value(index))).collect()
}

pub(super) fn training_loss(shown: &[Shown], progress: Progress) -> Figure {
    let seed = |run: &&RunAnalysis| steps(run, progress, |i| run.steps[i].loss_nats);
    let curve = |s: &Shown| Curve { subject: s.subject.clone(), seeds: s.runs.iter().map(seed).collect() };
    training_loss::draw(&shown.iter().map(curve).collect::<Vec<_>>(), progress)
}

pub(super) fn throughput(shown: &[Shown], progress: Progress) -> Figure {
    let seed = |run: &&RunAnalysis| steps(run, progress, |i| run.steps[i].tokens_per_s);
    let curve = |s: &Shown| Curve { subject: s.subject.clone(), seeds: s.runs.iter().map(seed).collect() };
    throughput::draw(&shown.iter().map(curve).collect::<Vec<_>>(), progress)
}

pub(super) fn optimisation(shown: &[Shown], progress: Progress) -> Figure {
    let trace = |s: &Shown| {
        let latest = s.latest();
        let limit = latest.run.experiment.optimizer.gradient_clip_norm;
        optimisation::Trace {
            subject: s.subject.clone(),
            learning_rate: steps(latest, progress, |i| latest.steps[i].learning_rate),
            gradient_norm: s.runs.iter().map(|run| steps(run, progress, |i| run.steps[i].gradient_norm)).collect(),
            clip_norm: (limit > 0.0).then_some(limit),
        }
    };
    optimisation::draw(&shown.iter().map(trace).collect::<Vec<_>>(), progress)
}

pub(super) fn validation(request: &Request, progress: Progress) -> Result<Figure, PlotError> {
    let seed = |run: &&RunAnalysis| evaluations(run, &run.validation_curve, progress);
    let curve = |s: &Shown| Curve { subject: s.subject.clone(), seeds: s.runs.iter().map(seed).collect() };
    let curves: Vec<Curve> = request.shown.iter().map(curve).collect();
    if curves.iter().all(|c| c.seeds.iter().all(Vec::is_empty)) {
        return Err(request.nothing("nothing was evaluated", "set `evaluation.validation_at`"));
    }
    // What simpler models reach is the same for all runs on the same text, and means nothing beside another text.
    let corpus = |s: &Shown| s.latest().run.open.data.root;
    let same_text = request.shown.iter().all(|s| corpus(s) == corpus(&request.shown[0]));
    let baselines = request.shown[0].latest().run.corpus.baselines.iter().filter(|_| same_text);
    let references: Vec<(String, f64)> = baselines.map(|b| (b.model.clone(), b.bits_per_byte)).collect();
    Ok(validation::draw(&curves, &references, progress))
}
