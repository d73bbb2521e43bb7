//! Accuracy on each task over training: one small panel a task, all with the same axes, so that what is learnt early
//! and what is learnt late stand beside each other.

use super::axis::Axis;
use super::band::{Band, band, scaled};
use super::canvas::{self, Anchor, GREY, INK, LINE, Panel, fitted, left_margin};
use super::validation::draw_curve;
use super::{COLUMN_WIDTH, Curve, Figure, Progress, looks, range, remarks};

/// One task or group.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Accuracy of guessing, from 0 to 1.
    pub chance: f64,
    /// Accuracy over training, from 0 to 1, for each subject that was scored on it; always in the same order.
    pub curves: Vec<Curve>,
}

/// Draws a grid of panels, two in a row.
pub fn draw(tasks: &[Task], progress: Progress) -> Figure {
    let bands: Vec<Vec<Band>> = tasks.iter().map(|t| t.curves.iter().map(|c| band(&c.seeds)).collect()).collect();
    let points = || bands.iter().flatten().flat_map(|b| [&b.mean, &b.low, &b.high]).flatten();
    let most = range(points().map(|p| p.0)).map_or(1.0, |r| r.1);
    let shares = points().map(|p| 100.0 * p.1).chain(tasks.iter().map(|t| 100.0 * t.chance));
    let (low, high) = range(shares).unwrap_or((0.0, 100.0));
    let y = Axis::linear(((low - 4.0).max(0.0), (high + 4.0).min(100.0)), 4, "");
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
        canvas.text("Accuracy (%), grey line: chance", (60, top - LINE / 2 - 8), Anchor::Left, INK);
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
            let chance = panel.y_at(100.0 * task.chance);
            canvas.line(&[(panel.left, chance), (panel.right, chance)], GREY, 8, &[24.0, 24.0]);
            let percent = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
                scaled(points, factor).iter().map(|p| (p.0, 100.0 * p.1)).collect()
            };
            for (curve, band) in task.curves.iter().zip(bands) {
                let look = canvas::look(curve.subject.look);
                panel.band(canvas, &percent(&band.low), &percent(&band.high), look.color);
                draw_curve(canvas, &panel, &percent(&band.mean), look);
            }
        }
        canvas.text(&label, (COLUMN_WIDTH / 2, height - LINE / 2), Anchor::Middle, INK);
    });
    let of = |(task, bands): (&Task, &Vec<Band>)| {
        let ends: Vec<String> = task
            .curves
            .iter()
            .zip(bands)
            .filter_map(|(c, b)| Some(format!("{} {:.1}", c.subject.name, 100.0 * b.mean.last()?.1)))
            .collect();
        format!("{} (chance {:.1}): {}", task.name, 100.0 * task.chance, ends.join(", "))
    };
    let ends: Vec<String> = tasks.iter().zip(&bands).map(of).collect();
    let along = progress.words();
    let curves = tasks.first().map_or(&[][..], |task| &task.curves);
    let alt = format!(
        "Accuracy in percent over {most:.0} {along}, at the end: {}.{}",
        ends.join("; "),
        remarks(curves, progress)
    );
    Figure { svg, alt }
}
