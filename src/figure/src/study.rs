//! The trials of a study: the metric over each nuisance parameter, the best of so many trials, and each scientific value at its
//! best beside what seeds alone do.

use plotters::style::Color;
use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{
    self, Anchor, Canvas, GREY, INK, LINE, Look, Marker, Panel, RowPanel, estimated_width, fitted, left_margin,
};
use super::{COLUMN_WIDTH, Figure, Subject, looks, range};

/// A study with its trials.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Study {
    /// The metric.
    pub label: String,
    /// Where it goes when it is better.
    pub lower_is_better: bool,
    /// What the scientific values are of.
    pub scientific: String,
    /// The scientific values.
    pub values: Vec<Value>,
    /// The nuisance parameters.
    pub parameters: Vec<Parameter>,
    /// Trials that are left to be run.
    pub missing: usize,
    /// How far seeds lie apart, if that is known.
    pub noise: Option<Noise>,
}

/// A scientific value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Value {
    /// Its name and look.
    pub subject: Subject,
    /// The expected best of so many of its trials that completed, from 1 on; the last is the best.
    pub best_of: Vec<f64>,
}

/// A nuisance parameter with the trials that have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// How its values are spread.
    pub spread: Spread,
    /// The trials.
    pub trials: Vec<Trial>,
}

/// How the values of a parameter are spread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Spread {
    /// Between the ends of the last round's range.
    #[serde(serialize_with = "super::data::ends")]
    Linear([f64; 2]),
    /// Likewise, as logarithms.
    #[serde(serialize_with = "super::data::ends")]
    Logarithmic([f64; 2]),
    /// Likewise, whole numbers.
    #[serde(serialize_with = "super::data::ends")]
    Whole([f64; 2]),
    /// Among choices: a trial is at the index of its own.
    Among(Vec<String>),
}

/// A trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The index of its scientific value.
    pub value: usize,
    /// What the parameter is.
    pub at: f64,
    /// What became of it.
    pub end: End,
    /// Whether it lies in the ranges of the last round.
    pub inside: bool,
}

/// What became of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum End {
    /// It has its metric.
    Completed(f64),
    /// It cannot be trained.
    Infeasible,
    /// It was stopped because it fell behind.
    Pruned,
}

/// How far seeds of an experiment lie apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Noise {
    /// Of which.
    pub experiment: String,
    /// Their number.
    pub seeds: usize,
    /// Standard deviation over them.
    pub deviation: f64,
}

/// Height of the part of a panel in which the metric is read.
const FRAME: i32 = 470;
/// Height of the row for trials of one scientific value that have no metric.
const LANE: i32 = 62;

/// Draws a panel for each parameter, two in a row, then the best of so many trials and each value at its best.
pub fn draw(study: &Study) -> Figure {
    let filled = |look: Look| Look { marker: look.marker.filled(), ..look };
    let names: Vec<(&str, Look)> =
        looks(study.values.iter().map(|value| &value.subject)).into_iter().map(|(n, l)| (n, filled(l))).collect();
    let trials = || study.parameters.iter().flat_map(|parameter| &parameter.trials);
    let has = |end: End| trials().any(|trial| trial.end == end);
    let mark = |marker: Marker| Look { color: INK, dash: &[], marker };
    let marks = [("infeasible", End::Infeasible, Marker::Cross), ("stopped: fell behind", End::Pruned, Marker::Ring)];
    let mut legend = names.clone();
    legend.extend(marks.iter().filter(|mark| has(mark.1)).map(|(name, _, marker)| (*name, mark(*marker))));
    let outside = trials().any(|trial| !trial.inside);

    let mut heading = vec![study.label.clone(), format!("by {} (colours)", study.scientific)];
    let ranged = study.parameters.iter().any(|parameter| !matches!(parameter.spread, Spread::Among(_)));
    heading.extend(ranged.then(|| "dashed: ends of the range".to_owned()));
    heading.extend(outside.then(|| "small: outside the ranges of the last round".to_owned()));
    heading.extend((study.missing > 0).then(|| format!("{} trials are not run yet", study.missing)));
    let top = LINE * heading.len() as i32;
    let (left, right) = (40, COLUMN_WIDTH - 85);
    let top_of_axes = top + canvas::legend_height(&legend, left, right, false);

    let y = metric_axis(study, trials().filter_map(|trial| metric(trial.end)));
    let columns = study.parameters.len().clamp(1, 2) as i32;
    let lanes = if has(End::Infeasible) || has(End::Pruned) { LANE * study.values.len() as i32 } else { 0 };
    let pitch = LINE + FRAME + lanes + 150;
    let top_of_best = top_of_axes + pitch * study.parameters.len().div_ceil(columns as usize) as i32;
    let bests = metric_axis(study, study.values.iter().flat_map(|value| value.best_of.iter().copied()));
    let most = study.values.iter().map(|value| value.best_of.len()).max().unwrap_or(0).max(2) as f64;
    let of_best = Panel {
        left: left_margin(&bests) - 90,
        top: top_of_best + LINE,
        right,
        bottom: top_of_best + LINE + FRAME,
        x: Axis::linear((0.5, most + 0.5), 8, "Completed trials, drawn at random").whole(),
        y: bests,
    };

    let best = |value: &Value| value.best_of.last().copied().filter(|best| best.is_finite());
    let reach = study.noise.as_ref().map_or(0.0, |noise| noise.deviation);
    let all = || study.values.iter().filter_map(best);
    let overall = range(all()).map(|(low, high)| if study.lower_is_better { low } else { high });
    let ends = all().chain(overall.iter().flat_map(|best| [best - reach, best + reach]));
    let labels: Vec<&str> = study.values.iter().map(|value| value.subject.name.as_str()).collect();
    let band = study
        .noise
        .as_ref()
        .map(|noise| format!("grey: \u{b1} 1 SD over {} seeds of {}", noise.seeds, noise.experiment));
    let better = if study.lower_is_better { "lower" } else { "higher" };
    let title_of_values = format!("Each value at its best ({better} is better)");
    let titles: Vec<&str> = [title_of_values.as_str()].into_iter().chain(band.as_deref()).collect();
    let top_of_values = of_best.bottom + 235 + LINE * titles.len() as i32;
    let x = Axis::around(range(ends).unwrap_or((0.0, 1.0)), 4, study.label.clone());
    // A text at the very end would be cut off.
    let x_end = x.low() + 0.96 * (x.high() - x.low());
    let x = x.with_ticks_up_to(x_end);
    let isolation = RowPanel::new(&labels, top_of_values, LINE, spaced(x, COLUMN_WIDTH / 2));

    let svg = canvas::svg(COLUMN_WIDTH, isolation.height(), |canvas| {
        for (line, at) in heading.iter().zip(0..) {
            canvas.text(&fitted(line, right - left), (left, LINE / 2 + LINE * at), Anchor::Left, INK);
        }
        canvas.legend(&legend, left, right, top, false);
        let margin = left_margin(&y) - 90;
        let width = (right - margin * columns) / columns - 30 * (columns - 1);
        for (parameter, index) in study.parameters.iter().zip(0..) {
            let from = margin + (index % columns) * (margin + width + 60);
            let above = top_of_axes + (index / columns) * pitch + LINE;
            let panel = Panel {
                left: from,
                top: above + lanes,
                right: from + width,
                bottom: above + lanes + FRAME,
                x: axis_of(parameter, width),
                y: y.clone(),
            };
            let title_at = (from, above - LINE / 2 - 4);
            canvas.text(&title(&parameter.name, width + 75), title_at, Anchor::Left, INK);
            draw_parameter(canvas, &panel, parameter, &names);
        }

        let title_at = (of_best.left, top_of_best + LINE / 2 - 4);
        canvas.text("Expected best of so many trials", title_at, Anchor::Left, INK);
        of_best.draw(canvas, true);
        for (value, (_, look)) in study.values.iter().zip(&names) {
            let points: Vec<(f64, f64)> = (1..).map(f64::from).zip(value.best_of.iter().copied()).collect();
            of_best.curve(canvas, &points, look.color, 12, look.dash);
            points.iter().for_each(|p| canvas.marker(of_best.point(p.0, p.1), look.marker, look.color, 18));
        }

        for (line, at) in titles.iter().rev().zip(1..) {
            let y = top_of_values - LINE * at + LINE / 2 - 8;
            canvas.text(&fitted(line, right - left), (left, y), Anchor::Left, INK);
        }
        isolation.draw(canvas);
        if let Some(overall) = overall.filter(|_| reach > 0.0) {
            let (from, to) = (isolation.x_at(overall - reach), isolation.x_at(overall + reach));
            canvas.fill((from, isolation.top()), (to, isolation.bottom()), GREY.mix(0.25));
        }
        for ((value, (_, look)), row) in study.values.iter().zip(&names).zip(0..) {
            let y = isolation.middle(row);
            match best(value) {
                Some(best) => canvas.marker((isolation.x_at(best), y), look.marker, look.color, 26),
                None => canvas.text("none completed", (isolation.x_at(f64::NEG_INFINITY) + 40, y), Anchor::Left, GREY),
            }
        }
    });
    Figure::of(svg, words(study, best), &json!(study))
}

/// The marks of the trials over one parameter, and the ends of its range.
fn draw_parameter(canvas: &Canvas, panel: &Panel, parameter: &Parameter, names: &[(&str, Look)]) {
    panel.draw(canvas, true);
    let lanes = parameter.trials.iter().any(|trial| metric(trial.end).is_none());
    let above = if lanes { panel.top - LANE * names.len() as i32 } else { panel.top };
    if let Spread::Linear(ends) | Spread::Logarithmic(ends) | Spread::Whole(ends) = parameter.spread {
        for end in ends {
            let x = panel.x_at(end);
            canvas.line(&[(x, above), (x, panel.bottom)], GREY, 8, &[24.0, 24.0]);
        }
    }
    // What would be hidden comes last.
    let mut trials: Vec<(usize, &Trial)> = parameter.trials.iter().enumerate().collect();
    trials.sort_by_key(|(_, trial)| (!trial.inside, trial.end == End::Infeasible));
    for (number, trial) in trials {
        // Trials of one choice stand beside each other.
        let aside = if matches!(parameter.spread, Spread::Among(_)) { 0.07 * ((number % 7) as f64 - 3.0) } else { 0.0 };
        let (look, radius) = (names[trial.value].1, if trial.inside { 24 } else { 14 });
        let lane = panel.top - LANE / 2 - 8 - LANE * trial.value as i32;
        let x = panel.x_at(trial.at + aside);
        match trial.end {
            End::Completed(metric) if metric.is_finite() => {
                canvas.marker((x, panel.y_at(metric)), look.marker, look.color, radius);
            }
            End::Completed(_) | End::Infeasible => canvas.marker((x, lane), Marker::Cross, look.color, radius),
            End::Pruned => canvas.marker((x, lane), Marker::Ring, look.color, radius),
        }
    }
}

fn metric(end: End) -> Option<f64> {
    match end {
        End::Completed(metric) => Some(metric).filter(|metric| metric.is_finite()),
        End::Infeasible | End::Pruned => None,
    }
}

/// A vertical axis over these values; panels have no room for its label.
fn metric_axis(study: &Study, values: impl Iterator<Item = f64>) -> Axis {
    Axis::around(range(values).unwrap_or((0.0, 1.0)), 4, study.label.clone()).unlabelled()
}

/// The name of a parameter, without the section of the config where that is too wide.
fn title(name: &str, width: i32) -> String {
    let own = if estimated_width(name) > width { name.split_once('.').map_or(name, |(_, own)| own) } else { name };
    fitted(own, width)
}

/// The horizontal axis of a parameter, over its range and all its trials.
fn axis_of(parameter: &Parameter, width: i32) -> Axis {
    let over = |ends: &[f64; 2]| {
        let at = parameter.trials.iter().map(|trial| trial.at);
        range(at.chain(*ends)).unwrap_or((0.0, 1.0))
    };
    let axis = match &parameter.spread {
        Spread::Linear(ends) => Axis::around(over(ends), 3, ""),
        Spread::Whole(ends) => Axis::around(over(ends), 4, "").whole(),
        Spread::Logarithmic(ends) => Axis::logarithmic(over(ends), "").with_texts(|value| format!("{value:.0e}")),
        Spread::Among(choices) => {
            let room = width / choices.len().max(1) as i32 - 20;
            let mut axis = Axis::linear((-0.5, choices.len() as f64 - 0.5), 1, "");
            axis.ticks = (0..).map(f64::from).zip(choices.iter().map(|choice| fitted(choice, room))).collect();
            return axis;
        }
    };
    spaced(axis, width)
}

/// The axis without the ticks whose texts would touch others in a frame of that width. Powers of ten stay first.
fn spaced(mut axis: Axis, width: i32) -> Axis {
    let mut order = axis.ticks.clone();
    order.sort_by_key(|(_, text)| !text.starts_with("1e"));
    let place = |value: f64| axis.position(value) * f64::from(width);
    let mut kept: Vec<(f64, String)> = Vec::new();
    for (value, text) in order {
        let half = |text: &str| f64::from(estimated_width(text) / 2 + 20);
        let clear = |other: &(f64, String)| (place(value) - place(other.0)).abs() > half(&text) + half(&other.1);
        if kept.iter().all(clear) {
            kept.push((value, text));
        }
    }
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    axis.ticks = kept;
    axis
}

/// What is seen, in words.
fn words(study: &Study, best: impl Fn(&Value) -> Option<f64>) -> String {
    let of = |(index, value): (usize, &Value)| {
        let count = |end: End| {
            let lost = |parameter: &Parameter| {
                parameter.trials.iter().filter(|trial| trial.value == index && trial.end == end).count()
            };
            study.parameters.iter().map(lost).max().unwrap_or(0)
        };
        let ends = [(count(End::Infeasible), "infeasible"), (count(End::Pruned), "stopped because they fell behind")];
        let ends: String =
            ends.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}")).collect();
        let best = best(value)
            .map_or("none completed".to_owned(), |best| format!("best {best:.4} of {} completed", value.best_of.len()));
        format!("{}: {best}{ends}", value.subject.name)
    };
    let values: Vec<String> = study.values.iter().enumerate().map(of).collect();
    let parameters: Vec<&str> = study.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let over = if parameters.is_empty() { String::new() } else { format!(" over {}", parameters.join(", ")) };
    let band = match &study.noise {
        Some(noise) => format!(
            " The band around the best is one standard deviation over {} seeds of {} on each side.",
            noise.seeds, noise.experiment
        ),
        None => " How far seeds lie apart is not known.".to_owned(),
    };
    let missing = if study.missing > 0 { format!(" {} trials are not run yet.", study.missing) } else { String::new() };
    format!(
        "{} of the trials{over}, by {}, the expected best of so many, and each value at its best: {}.{band}{missing} Trials that \
         chose the best values are no evidence for them.",
        study.label,
        study.scientific,
        values.join("; ")
    )
}
