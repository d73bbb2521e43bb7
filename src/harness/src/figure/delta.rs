//! What a change did to each task: the difference in accuracy from the reference, with its 95 % interval.

use super::axis::Axis;
use super::canvas::{self, GREY, LINE, RowPanel, look};
use super::tasks::INTERVAL;
use super::{COLUMN_WIDTH, Estimate, Figure};

/// One task or group.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The difference in accuracy, as a share, with the standard error of the difference.
    pub difference: Estimate,
}

/// Draws the differences of `experiment` from `reference`. A row whose interval holds zero is drawn hollow.
pub fn draw(experiment: &str, reference: &str, rows: &[Row]) -> Figure {
    let reach = rows
        .iter()
        .map(|r| 100.0 * (r.difference.mean.abs() + INTERVAL * r.difference.standard_error))
        .fold(1.0, f64::max)
        * 1.08;
    let label = format!("Difference in accuracy (points), {}", canvas::shortened(experiment, 24));
    let x = Axis::linear((-reach, reach), 5, label);
    let labels: Vec<&str> = rows.iter().map(|r| r.name.as_str()).collect();
    let panel = RowPanel::new(&labels, 15, LINE, x);
    let svg = canvas::svg(COLUMN_WIDTH, panel.height(), |canvas| {
        panel.draw(canvas);
        let zero = panel.x_at(0.0);
        canvas.line(&[(zero, panel.middle(0) - LINE / 2), (zero, panel.bottom())], GREY, 10, &[]);
        for (index, row) in rows.iter().enumerate() {
            let (y, mean) = (panel.middle(index), row.difference.mean);
            let half = INTERVAL * row.difference.standard_error;
            let at = |value: f64| panel.x_at(100.0 * value);
            let color = look(usize::from(mean < 0.0)).color;
            canvas.line(&[(at(mean - half), y), (at(mean + half), y)], color, 10, &[]);
            let marker = if mean.abs() > half { canvas::Marker::Circle } else { canvas::Marker::Ring };
            canvas.marker((at(mean), y), marker, color, 25);
        }
    });
    let texts: Vec<String> = rows.iter().map(|r| format!("{} {:+.1}", r.name, 100.0 * r.difference.mean)).collect();
    let alt =
        format!("Difference in accuracy of {experiment} from {reference} in percentage points: {}.", texts.join("; "));
    Figure { svg, alt }
}
