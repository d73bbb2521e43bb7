//! What a probe measured over the settings that it tried, with the recommended one marked.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, GREY, Panel, left_margin, look};
use super::{COLUMN_WIDTH, Figure, range};

/// The points of a probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// (setting, measured), ascending.
    #[serde(serialize_with = "super::data::points")]
    pub points: Vec<(f64, f64)>,
    /// What was varied.
    pub x_label: &'static str,
    /// What was measured, with its unit.
    pub y_label: &'static str,
    /// Settings lie on a logarithmic axis, 0 at 1.
    pub logarithmic: bool,
    /// The recommended setting.
    pub marked_x: Option<f64>,
    /// The recommended value of what was measured.
    pub marked_y: Option<f64>,
}

/// Draws the points as a curve.
pub fn draw(measured: &Measured) -> Figure {
    let at = |setting: f64| if measured.logarithmic && setting == 0.0 { 1.0 } else { setting };
    let points: Vec<(f64, f64)> = measured.points.iter().map(|p| (at(p.0), p.1)).collect();
    let settings = range(points.iter().map(|p| p.0)).unwrap_or((1.0, 10.0));
    let x = if measured.logarithmic {
        Axis::logarithmic(settings, measured.x_label)
    } else {
        Axis::linear((0.0, settings.1), 5, measured.x_label)
    };
    let values = points.iter().map(|p| p.1).chain(measured.marked_y);
    let y = Axis::around(range(values).unwrap_or((0.0, 1.0)), 5, measured.y_label);
    let (look, height) = (look(0), 1330);
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let panel = Panel { left: left_margin(&y), top: 60, right: COLUMN_WIDTH - 85, bottom: height - 235, x, y };
        panel.draw(canvas, true);
        if let Some(setting) = measured.marked_x {
            let place = panel.x_at(at(setting));
            canvas.line(&[(place, panel.top), (place, panel.bottom)], GREY, 10, &[40.0, 24.0]);
        }
        if let Some(value) = measured.marked_y {
            panel.reference(canvas, value, "recommended", std::slice::from_ref(&points));
        }
        panel.curve(canvas, &points, look.color, 14, look.dash);
        if points.len() <= 24 {
            points.iter().for_each(|p| canvas.marker(panel.point(p.0, p.1), look.marker, look.color, 24));
        }
    });
    let told: Vec<String> = measured.points.iter().take(24).map(|p| format!("{} at {}", p.1, p.0)).collect();
    let alt = format!("{} over {}: {}.", measured.y_label, measured.x_label, told.join("; "));
    Figure::of(svg, alt, &json!(measured))
}
