//! A score of each task over training: one small panel a task, all with the same axes, so that what is learnt early
//! and what is learnt late stand beside each other.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::band::{Band, band, scaled};
use super::canvas::{self, Anchor, GREY, INK, LINE, Panel, fitted, left_margin};
use super::validation::draw_curve;
use super::{COLUMN_WIDTH, Curve, Figure, Progress, looks, range, remarks};

/// What the curves are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Accuracy, from 0 to 1.
    Accuracy,
    /// Bits per byte of the right answers.
    GoldBitsPerByte,
}

impl Score {
    /// What stands above the panels, and the same in the description.
    fn words(self) -> [&'static str; 2] {
        match self {
            Score::Accuracy => ["Accuracy (%), grey line: chance", "Accuracy in percent"],
            Score::GoldBitsPerByte => ["Bits per byte of the right answers", "Bits per byte of the right answers"],
        }
    }

    /// What values are multiplied by, the most they can come to, the room left beyond them, and digits after the point.
    fn scale(self) -> (f64, f64, f64, usize) {
        match self {
            Score::Accuracy => (100.0, 100.0, 4.0, 1),
            Score::GoldBitsPerByte => (1.0, f64::INFINITY, 0.1, 3),
        }
    }
}

/// One task or group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What guessing gives, where that is known.
    pub chance: Option<f64>,
    /// The score over training for each subject that has it; always in the same order.
    pub curves: Vec<Curve>,
}

/// Draws a grid of panels, two in a row.
pub fn draw(tasks: &[Task], score: Score, progress: Progress) -> Figure {
    let [title, about] = score.words();
    let (times, largest, room, digits) = score.scale();
    let bands: Vec<Vec<Band>> = tasks.iter().map(|t| t.curves.iter().map(|c| band(&c.seeds)).collect()).collect();
    let points = || bands.iter().flatten().flat_map(|b| [&b.mean, &b.low, &b.high]).flatten();
    let most = range(points().map(|p| p.0)).map_or(1.0, |r| r.1);
    let values = points().map(|p| p.1).chain(tasks.iter().filter_map(|t| t.chance));
    let (low, high) = range(values.map(|value| times * value)).unwrap_or((0.0, 100.0));
    let y = Axis::linear(((low - room).max(0.0), (high + room).min(largest)), 4, "");
    let (x, factor) = progress.axis(most, 3);
    let label = x.label.clone();
    // Every subject once, also if the first task lacks one.
    let mut subjects: Vec<_> = tasks.iter().flat_map(|t| t.curves.iter().map(|c| &c.subject)).collect();
    subjects.sort_by_key(|s| s.look);
    subjects.dedup();
    let names = looks(subjects);
    let rows = tasks.len().div_ceil(2) as i32;
    let (pitch, frame) = (700, 440);
    let top = canvas::legend_height(&names, 60, COLUMN_WIDTH - 60, true) + LINE;
    let height = top + rows * pitch + 60;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        canvas.legend(&names, 60, COLUMN_WIDTH - 60, 0, true);
        canvas.text(title, (60, top - LINE / 2 - 8), Anchor::Left, INK);
        let left = left_margin(&y) - 90;
        let width = (COLUMN_WIDTH - 2 * left - 60) / 2;
        for (index, (task, bands)) in tasks.iter().zip(&bands).enumerate() {
            let (row, column) = (index as i32 / 2, index as i32 % 2);
            let from = left + column * (left + width);
            let above = top + row * pitch + LINE;
            let (x, y) = (x.clone().unlabelled(), y.clone());
            let panel = Panel { left: from, top: above, right: from + width, bottom: above + frame, x, y };
            panel.draw(canvas, true);
            canvas.text(&fitted(&task.name, width), (from, above - LINE / 2 - 4), Anchor::Left, INK);
            if let Some(chance) = task.chance.map(|chance| panel.y_at(times * chance)) {
                canvas.line(&[(panel.left, chance), (panel.right, chance)], GREY, 8, &[24.0, 24.0]);
            }
            let shown = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
                scaled(points, factor).iter().map(|p| (p.0, times * p.1)).collect()
            };
            for (curve, band) in task.curves.iter().zip(bands) {
                let look = canvas::look(curve.subject.look);
                panel.band(canvas, &shown(&band.low), &shown(&band.high), look.color);
                draw_curve(canvas, &panel, &shown(&band.mean), look);
            }
        }
        canvas.text(&label, (COLUMN_WIDTH / 2, height - LINE / 2), Anchor::Middle, INK);
    });
    let of = |(task, bands): (&Task, &Vec<Band>)| {
        let ends: Vec<String> = task
            .curves
            .iter()
            .zip(bands)
            .filter_map(|(c, b)| Some(format!("{} {:.digits$}", c.subject.name, times * b.mean.last()?.1)))
            .collect();
        let chance = task.chance.map_or(String::new(), |chance| format!(" (chance {:.digits$})", times * chance));
        format!("{}{chance}: {}", task.name, ends.join(", "))
    };
    let ends: Vec<String> = tasks.iter().zip(&bands).map(of).collect();
    let along = progress.words();
    let curves = tasks.first().map_or(&[][..], |task| &task.curves);
    let alt = format!("{about} over {most:.0} {along}, at the end: {}.{}", ends.join("; "), remarks(curves, progress));
    Figure::of(svg, alt, &json!({ "over": progress.word(), "tasks": tasks }))
}
