//! What was spent as the days went by: a staircase for each phase and one for all of it, and the limit.

use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, Anchor, GREY, INK, Panel, left_margin};
use super::{COLUMN_WIDTH, Curve, Figure, looks, range};

/// What may be spent, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Limit {
    /// Hours.
    pub hours: Option<f64>,
    /// Days since the first run began.
    pub end_day: Option<f64>,
}

/// Draws hours (of `unit`, such as `GPU`) over days since the first run began. Each curve is what its subject had spent after
/// so many days, in one seed; the first is all of it.
pub fn draw(curves: &[Curve], limit: Limit, unit: &str) -> Figure {
    let points = || curves.iter().flat_map(|c| c.seeds.iter().flatten());
    let last_day = range(points().map(|p| p.0)).map_or(1.0, |r| r.1);
    let spent = range(points().map(|p| p.1)).map_or(0.0, |r| r.1);
    // A limit that is far off would press what was spent onto the axis.
    let shown = limit.hours.filter(|hours| *hours <= 4.0 * spent);
    let most = shown.unwrap_or(0.0).max(spent).max(1e-9);
    let (factor, word) = if most < 2.0 { (60.0, "minutes") } else { (1.0, "hours") };
    let end_day = limit.end_day.filter(|day| *day > 0.0 && *day <= 4.0 * last_day);
    let days = end_day.unwrap_or(0.0).max(last_day).max(1e-9);
    let (day_factor, day_word) = if days < 2.0 { (24.0, "Hours") } else { (1.0, "Days") };
    let x = Axis::linear((0.0, days * day_factor), 5, format!("{day_word} since the first run"));
    let y = Axis::linear((0.0, 1.08 * most * factor), 5, format!("Spent ({unit} {word})"));
    let names = looks(curves.iter().map(|c| &c.subject));
    let scaled = |curve: &Curve| -> Vec<(f64, f64)> {
        curve.seeds.iter().flatten().map(|(day, hours)| (day * day_factor, hours * factor)).collect()
    };
    let lines: Vec<Vec<(f64, f64)>> = curves.iter().map(scaled).collect();
    let height = 1330;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let (left, right) = (left_margin(&y), COLUMN_WIDTH - 85);
        let (panel, heading) = Panel { left, top: 0, right, bottom: height - 235, x, y }.headed(&names, &lines);
        panel.draw(canvas, true);
        if let Some(hours) = shown {
            panel.reference(canvas, hours * factor, "limit", &lines);
        }
        if let Some(day) = end_day {
            let at = panel.x_at(day * day_factor);
            canvas.line(&[(at, panel.top), (at, panel.bottom)], GREY, 6, &[40.0, 25.0]);
            canvas.text("last day", (at - 20, panel.bottom - 60), Anchor::Right, INK);
        }
        for (line, (_, look)) in lines.iter().zip(&names).rev() {
            panel.curve(canvas, line, look.color, 14, look.dash);
        }
        panel.draw_names(canvas, &names, &heading);
    });
    let last = |c: &Curve| c.seeds.iter().flatten().last().map_or(0.0, |p| p.1) * factor;
    let sums: Vec<String> = curves.iter().map(|c| format!("{} {:.2}", c.subject.name, last(c))).collect();
    let of_limit = limit.hours.map_or(String::new(), |hours| format!(" The limit is {:.2}.", hours * factor));
    let alt = format!("{unit} {word} spent over {last_day:.1} days: {}.{of_limit}", sums.join("; "));
    Figure::of(svg, alt, &json!({ "unit": format!("{unit} hours"), "limit": limit, "curves": curves }))
}
