//! What a change did to each task: the difference in accuracy from the reference, with its 95 % interval.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, GREY, LINE, Marker, RowPanel};
use super::{COLUMN_WIDTH, Figure, Subject};

/// One task or group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The difference in accuracy, as a share.
    pub difference: f64,
    /// Ends of its 95 % interval, as shares.
    #[serde(serialize_with = "super::data::interval")]
    pub interval: Option<[f64; 2]>,
    /// Whether a test tells it from zero.
    pub decided: bool,
}

impl Row {
    fn ends(&self) -> [f64; 2] {
        self.interval.unwrap_or([self.difference; 2])
    }
}

/// Draws the differences of `subject` from `reference`. What a test decides is drawn filled, what could be noise hollow.
pub fn draw(subject: &Subject, reference: &str, rows: &[Row]) -> Figure {
    let (experiment, look) = (subject.name.as_str(), canvas::look(subject.look));
    let reach = rows.iter().flat_map(Row::ends).map(|end| 100.0 * end.abs()).fold(1.0, f64::max) * 1.08;
    let label = "Difference in accuracy (points), ";
    let label = format!("{label}{}", canvas::fitted(experiment, COLUMN_WIDTH - canvas::estimated_width(label) - 60));
    let x = Axis::linear((-reach, reach), 5, label);
    let labels: Vec<&str> = rows.iter().map(|r| r.name.as_str()).collect();
    let panel = RowPanel::new(&labels, 15, LINE, x);
    let svg = canvas::svg(COLUMN_WIDTH, panel.height(), |canvas| {
        panel.draw(canvas);
        let zero = panel.x_at(0.0);
        canvas.line(&[(zero, panel.top()), (zero, panel.bottom())], GREY, 10, &[]);
        for (index, row) in rows.iter().enumerate() {
            let (y, [low, high]) = (panel.middle(index), row.ends());
            let at = |value: f64| panel.x_at(100.0 * value);
            canvas.line(&[(at(low), y), (at(high), y)], look.color, 10, &[]);
            let marker = if row.decided { look.marker.filled() } else { Marker::Ring };
            canvas.marker((at(row.difference), y), marker, look.color, 25);
        }
    });
    let texts: Vec<String> = rows.iter().map(|r| format!("{} {:+.1}", r.name, 100.0 * r.difference)).collect();
    let alt =
        format!("Difference in accuracy of {experiment} from {reference} in percentage points: {}.", texts.join("; "));
    Figure::of(svg, alt, &json!({ "experiment": subject, "reference": reference, "tasks": rows }))
}
