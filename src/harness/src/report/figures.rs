//! Which figures the paper can ask for, drawn from the analyses.

use std::collections::BTreeMap;

use super::study::{Entry, Study};
use super::tables::title_of_task;
use super::values::{headline_tasks, task_differences};
use crate::figure::{Curve, Estimate, Figure, delta, lengths, optimisation, tasks, training_loss, validation};

/// More curves than this cannot be told apart: the baseline and the latest experiments are drawn.
const MOST_CURVES: usize = 6;

/// A figure with the runs whose data it shows.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub figure: Figure,
    pub runs: Vec<String>,
}

/// All figures, by `kind name`.
pub(super) fn all(study: &Study) -> BTreeMap<String, Drawn> {
    let mut figures = BTreeMap::new();
    for family in &study.families {
        let mut members: Vec<&Entry> = family.iter().map(|i| &study.entries[*i]).collect();
        if members.len() > MOST_CURVES {
            let later = members.len() - (MOST_CURVES - 1);
            members.drain(1..later);
        }
        let base = members[0];
        let mut add = |kind: &str, name: &str, shown: &[&Entry], figure: Figure| {
            let runs = shown.iter().map(|e| e.quoted.run.open.run.to_string()).collect();
            figures.insert(format!("{kind} {name}"), Drawn { figure, runs });
        };
        // Each experiment's own figures show it beside its family's baseline.
        let mut panels: Vec<(&str, Vec<&Entry>)> = vec![(base.name(), members.clone())];
        panels.extend(members[1..].iter().map(|e| (e.name(), vec![base, *e])));
        for (name, shown) in panels {
            add("training-loss", name, &shown, training_loss::draw(&loss_curves(&shown)));
            add("validation", name, &shown, validation::draw(&validation_curves(&shown), &references(base)));
            add("optimisation", name, &shown, optimisation::draw(&traces(&shown)));
            if !headline_tasks(base.quoted).is_empty() {
                add("tasks", name, &shown, task_figure(&shown));
            }
        }
        add("lengths", base.name(), &[base], length_figure(base));
        add("training-loss-alone", base.name(), &[base], training_loss::draw(&loss_curves(&[base])));
        add("validation-alone", base.name(), &[base], validation::draw(&validation_curves(&[base]), &references(base)));
        add("optimisation-alone", base.name(), &[base], optimisation::draw(&traces(&[base])));
        if !headline_tasks(base.quoted).is_empty() {
            add("tasks-alone", base.name(), &[base], task_figure(&[base]));
        }
    }
    for entry in &study.entries {
        if let Some(reference) = study.reference(entry) {
            let rows = delta_rows(entry, reference);
            if !rows.is_empty() {
                let figure = delta::draw(entry.name(), reference.name(), &rows);
                let runs = [entry, reference].map(|e| e.quoted.run.open.run.to_string()).to_vec();
                figures.insert(format!("delta {}", entry.name()), Drawn { figure, runs });
            }
        }
    }
    figures
}

fn length_figure(base: &Entry) -> Figure {
    let lengths = &base.quoted.run.corpus.lengths;
    let side = |(name, lengths): (&str, &harness_corpus::TextLengths)| lengths::Side {
        name: name.to_owned(),
        median_bytes: lengths.bytes.median,
        by_power_of_two: lengths.bytes.by_power_of_two.clone(),
    };
    lengths::draw(&[("training", &lengths.train), ("validation", &lengths.validation)].map(side))
}

fn loss_curves(members: &[&Entry]) -> Vec<Curve> {
    let curve = |e: &&Entry| Curve {
        name: e.name().to_owned(),
        points: e.quoted.steps.iter().map(|s| (s.tokens as f64, s.loss_nats)).collect(),
    };
    members.iter().map(curve).collect()
}

fn validation_curves(members: &[&Entry]) -> Vec<Curve> {
    let curve = |e: &&Entry| Curve {
        name: e.name().to_owned(),
        points: e.quoted.validation_curve.iter().map(|p| (p.tokens as f64, p.value)).collect(),
    };
    members.iter().map(curve).collect()
}

fn references(base: &Entry) -> Vec<(String, f64)> {
    base.quoted.run.corpus.baselines.iter().map(|b| (b.model.clone(), b.bits_per_byte)).collect()
}

fn traces(members: &[&Entry]) -> Vec<optimisation::Trace> {
    let trace = |e: &&Entry| {
        let limit = e.quoted.run.experiment.optimizer.gradient_clip_norm;
        optimisation::Trace {
            name: e.name().to_owned(),
            learning_rate: e.quoted.steps.iter().map(|s| (s.step as f64, s.learning_rate)).collect(),
            gradient_norm: e.quoted.steps.iter().map(|s| (s.step as f64, s.gradient_norm)).collect(),
            clip_norm: (limit > 0.0).then_some(limit),
        }
    };
    members.iter().map(trace).collect()
}

fn task_figure(members: &[&Entry]) -> Figure {
    let names: Vec<String> = members.iter().map(|e| e.name().to_owned()).collect();
    let row = |task: &crate::analyse::TaskResult| tasks::Row {
        name: title_of_task(task),
        chance: task.chance,
        scores: members
            .iter()
            .map(|e| {
                let own = headline_tasks(e.quoted).into_iter().find(|t| t.id == task.id)?.quoted_accuracy();
                Some(Estimate { mean: own.mean, standard_error: own.standard_error })
            })
            .collect(),
    };
    let rows: Vec<tasks::Row> = headline_tasks(members[0].quoted).into_iter().map(row).collect();
    tasks::draw(&names, &rows)
}

/// One row for each headline task.
fn delta_rows(entry: &Entry, reference: &Entry) -> Vec<delta::Row> {
    let title = |id: &str| {
        let task = headline_tasks(entry.quoted).into_iter().find(|t| t.id == id);
        task.map_or_else(|| id.to_owned(), title_of_task)
    };
    let row = |(id, d): (String, super::values::Difference)| delta::Row {
        name: title(&id),
        difference: Estimate { mean: d.number, standard_error: d.standard_error.unwrap_or(0.0) },
    };
    task_differences(entry, reference).into_iter().map(row).collect()
}
