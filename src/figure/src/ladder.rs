//! A scaling ladder: the runs of small sizes, the law through them, what it predicts for the full size, and what came of it.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, Anchor, GREY, INK, Panel, left_margin, look};
use super::{COLUMN_WIDTH, Figure, Subject, range};

/// What was predicted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ladder {
    /// Runs of the rungs: FLOPs and value.
    #[serde(serialize_with = "super::data::points")]
    pub rungs: Vec<(f64, f64)>,
    /// The law, as points from the smallest size to the full one.
    #[serde(serialize_with = "super::data::points")]
    pub law: Vec<(f64, f64)>,
    /// The experiment of the full size.
    pub target: Subject,
    /// Its FLOPs, its predicted value and the interval of one run.
    #[serde(serialize_with = "prediction")]
    pub predicted: (f64, f64, [f64; 2]),
    /// Values of its runs; empty while it was not run.
    pub found: Vec<f64>,
    /// The vertical axis.
    pub label: String,
}

fn prediction<S: serde::Serializer>(
    &(flops, value, [low, high]): &(f64, f64, [f64; 2]),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    json!({ "flops": flops, "value": value, "low": low, "high": high }).serialize(serializer)
}

/// Draws it over FLOPs.
pub fn draw(ladder: &Ladder) -> Figure {
    let (flops, value, [low, high]) = ladder.predicted;
    let sizes = ladder.rungs.iter().chain(&ladder.law).map(|point| point.0).chain([flops]);
    let x = Axis::logarithmic(range(sizes).unwrap_or((1.0, 10.0)), "Training FLOPs");
    let x = x.with_texts(|size| format!("{size:.0e}"));
    let values = ladder.rungs.iter().chain(&ladder.law).map(|point| point.1);
    let values = values.chain([value, low, high]).chain(ladder.found.iter().copied());
    // Below the interval the name has room, since the law comes from above.
    let (least, most) = range(values).unwrap_or((0.0, 1.0));
    let y = Axis::around((least - 0.1 * (most - least), most), 5, ladder.label.clone());
    let height = 1330;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let panel = Panel { left: left_margin(&y), top: 40, right: COLUMN_WIDTH - 85, bottom: height - 235, x, y };
        panel.draw(canvas, true);
        panel.curve(canvas, &ladder.law, GREY, 9, &[60.0, 36.0]);
        let own = look(ladder.target.look);
        let at = panel.x_at(flops);
        canvas.line(&[(at, panel.y_at(low)), (at, panel.y_at(high))], GREY, 12, &[]);
        for end in [low, high] {
            canvas.line(&[(at - 26, panel.y_at(end)), (at + 26, panel.y_at(end))], GREY, 12, &[]);
        }
        for &(size, value) in ladder.rungs.iter().filter(|point| point.1.is_finite()) {
            canvas.marker(panel.point(size, value), canvas::Marker::Ring, INK, 24);
        }
        for &value in ladder.found.iter().filter(|value| value.is_finite()) {
            canvas.marker(panel.point(flops, value), own.marker.filled(), own.color, 28);
        }
        canvas.text(&ladder.target.name, (at + 40, panel.y_at(low) + 70), Anchor::Right, INK);
    });
    let found = match ladder.found.len() {
        0 => "not run yet".to_owned(),
        _ => format!("found {}", ladder.found.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(", ")),
    };
    let alt = format!(
        "{} of {} runs of smaller sizes and the law through them, which predicts {value:.4} [{low:.4}, {high:.4}] for {} at \
         {flops:.2e} FLOPs: {found}.",
        ladder.label,
        ladder.rungs.len(),
        ladder.target.name,
    );
    Figure::of(svg, alt, &json!(ladder))
}
