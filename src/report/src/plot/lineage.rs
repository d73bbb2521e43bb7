//! What grew from what, and what small sizes predict: figures of a project's files, not of runs alone.

use std::collections::BTreeMap;

use super::titles::metric_title;
use super::{PlotError, Request};
use harness_analyse::{Unit, Value, lower_is_better};
use harness_core::names::Project;
use harness_figure::{Figure, Subject, ladder, tree};
use harness_study::ladder::{LadderError, Prediction};
use harness_study::{Branch, Evidence};

/// The axis of a difference, and by what its values are multiplied.
fn axis(unit: Unit, metric: &str) -> (String, f64) {
    match unit {
        Unit::Share => ("Difference in accuracy (points)".to_owned(), 100.0),
        Unit::BitsPerByte => ("Difference in bits per byte".to_owned(), 1.0),
        Unit::NatsPerToken => ("Difference in nats per token".to_owned(), 1.0),
        _ => (format!("Difference in {metric}"), 1.0),
    }
}

/// The named experiments below each other, with what each does to the metric that most of them are about.
pub(super) fn tree_of(project: &Project, request: &Request) -> Result<Figure, PlotError> {
    let evidence = Evidence::of(project)?;
    let all = harness_study::tree(&evidence)?;
    let shown = |branch: &Branch| {
        request.shown.iter().find(|s| s.latest().run.open.experiment == branch.experiment).map(|s| &s.subject)
    };
    let named: Vec<&Branch> = all.iter().filter(|branch| shown(branch).is_some()).collect();
    let effects = || named.iter().filter_map(|branch| branch.effect.as_ref());
    let count = |metric: &str| effects().filter(|effect| effect.metric == metric).count();
    let Some(main) = effects().max_by_key(|effect| count(&effect.metric)) else {
        return Err(request.nothing("none differs from what it extends", "name experiments that extend each other"));
    };
    let (label, scale) = axis(main.unit, &main.metric);
    let mut rows: Vec<tree::Row> = Vec::new();
    let mut path: Vec<&Branch> = Vec::new();
    for branch in &named {
        // An ancestor that is not shown is passed over.
        path.retain(|above| is_ancestor(&all, above, branch));
        let effect = branch.effect.as_ref().filter(|effect| effect.metric == main.metric);
        let outcome = match (branch.outcome, branch.verdict) {
            (Some(outcome), _) => outcome.word(),
            (None, Some(_)) => "open",
            (None, None) => "",
        };
        let subject = shown(branch).expect("it is shown").clone();
        rows.push(tree::Row {
            subject,
            depth: path.len(),
            effect: effect.map(|e| (scale * e.difference, e.interval.map(|ends| ends.map(|end| scale * end)))),
            registered: effect.is_some_and(|effect| effect.registered),
            outcome: outcome.to_owned(),
        });
        path.push(branch);
    }
    Ok(tree::draw(&rows, &label, lower_is_better(&main.metric)))
}

fn is_ancestor(all: &[Branch], above: &Branch, branch: &Branch) -> bool {
    let parent = |of: &Branch| all.iter().find(|other| Some(&other.experiment) == of.extends.as_ref());
    let mut at = parent(branch);
    while let Some(ancestor) = at {
        if ancestor.experiment == above.experiment {
            return true;
        }
        at = parent(ancestor);
    }
    false
}

/// The ladder of the first name that has a prediction, or that extends what has one.
pub(super) fn ladder_of(project: &Project, request: &Request) -> Result<Figure, PlotError> {
    const POINTS: u32 = 60;
    let mut found = None;
    for shown in request.shown {
        let run = &shown.latest().run;
        let names = [Some(&run.open.experiment), run.experiment.extends.as_ref()];
        for name in names.into_iter().flatten() {
            match Prediction::of(project, name) {
                Ok(prediction) => found = found.or(Some(prediction)),
                Err(LadderError::None(..)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let Some(prediction) = found else {
        return Err(request.nothing("there is no prediction", "`harness ladder new` and `fit` make one"));
    };
    let own = request.shown.iter().find(|shown| shown.latest().run.open.experiment == prediction.target);
    let number = |values: &BTreeMap<String, Value>| values.get(&prediction.metric).map(|value| value.number);
    let smallest = prediction.points.iter().map(|point| point.flops).fold(prediction.flops, f64::min);
    let at = |k: u32| smallest * libm::pow(prediction.flops / smallest, f64::from(k) / f64::from(POINTS));
    Ok(ladder::draw(&ladder::Ladder {
        rungs: prediction.points.iter().map(|point| (point.flops, point.value)).collect(),
        law: (0..=POINTS).map(|k| (at(k), prediction.law.at(at(k)))).collect(),
        target: own
            .map_or_else(|| Subject { name: prediction.target.to_string(), look: 0 }, |shown| shown.subject.clone()),
        predicted: (prediction.flops, prediction.value, prediction.interval),
        found: own.map_or(Vec::new(), |shown| shown.runs.iter().filter_map(|run| number(&run.values)).collect()),
        label: metric_title(&prediction.metric),
    }))
}
