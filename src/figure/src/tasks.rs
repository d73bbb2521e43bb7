//! Accuracy on each task after training: a dot for each subject with its 95 % interval, and the chance level.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, Anchor, GREY, INK, LINE, RowPanel};
use super::{COLUMN_WIDTH, Estimate, Figure, Subject, looks};

/// One task or group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Accuracy of guessing, from 0 to 1.
    pub chance: f64,
    /// For each subject, in their order: accuracy from 0 to 1, where it was scored.
    pub scores: Vec<Option<Estimate>>,
}

/// The half width of a 95 % interval in standard errors (normal approximation).
pub(super) const INTERVAL: f64 = 1.96;

/// Draws the dot plot.
pub fn draw(subjects: &[Subject], rows: &[Row]) -> Figure {
    let names = looks(subjects);
    let ends = rows.iter().flat_map(|row| {
        let sides = |s: &Estimate| [s.mean - INTERVAL * s.standard_error, s.mean + INTERVAL * s.standard_error];
        row.scores.iter().flatten().flat_map(sides).chain([row.chance]).map(|v| 100.0 * v.clamp(0.0, 1.0))
    });
    let (low, high) = super::range(ends).unwrap_or((0.0, 100.0));
    let x = Axis::linear(((low - 4.0).max(0.0), (high + 4.0).min(100.0)), 5, "Accuracy (%)");
    let pitch = LINE.max(46 * names.len() as i32 + 40);
    let labels: Vec<&str> = rows.iter().map(|r| r.name.as_str()).collect();
    let legend = canvas::legend_height(&names, 30, COLUMN_WIDTH - 60, false);
    let panel = RowPanel::new(&labels, legend + LINE, pitch, x);
    let svg = canvas::svg(COLUMN_WIDTH, panel.height(), |canvas| {
        canvas.legend(&names, 30, COLUMN_WIDTH - 60, 0, false);
        let y = legend + LINE / 2 - 10;
        canvas.line(&[(60, y - 38), (60, y + 38)], GREY, 14, &[]);
        canvas.text("chance", (125, y), Anchor::Left, INK);
        panel.draw(canvas);
        for (index, row) in rows.iter().enumerate() {
            let middle = panel.middle(index);
            let chance = panel.x_at(100.0 * row.chance);
            canvas.line(&[(chance, middle - pitch / 2 + 8), (chance, middle + pitch / 2 - 8)], GREY, 14, &[]);
            for (run, score) in row.scores.iter().enumerate() {
                let Some(score) = score else { continue };
                let y = middle + 46 * run as i32 - 23 * (names.len() as i32 - 1);
                let at = |value: f64| panel.x_at(100.0 * value);
                let (half, look) = (INTERVAL * score.standard_error, names[run].1);
                canvas.line(&[(at(score.mean - half), y), (at(score.mean + half), y)], look.color, 10, &[]);
                canvas.marker((at(score.mean), y), look.marker, look.color, 23);
            }
        }
    });
    Figure::of(svg, alt(subjects, rows), &json!({ "subjects": subjects, "tasks": rows }))
}

fn alt(subjects: &[Subject], rows: &[Row]) -> String {
    let row = |row: &Row| {
        let scores: Vec<String> = subjects
            .iter()
            .zip(&row.scores)
            .filter_map(|(subject, score)| score.map(|s| format!("{} {:.1}", subject.name, 100.0 * s.mean)))
            .collect();
        format!("{} (chance {:.1}): {}", row.name, 100.0 * row.chance, scores.join(", "))
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!("Accuracy in percent with 95 percent intervals. {}.", rows.join("; "))
}
