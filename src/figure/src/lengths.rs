//! How long documents are: the share of each side's documents in each power of two of bytes. Shares, because the
//! sides differ in size; outlines of steps, because a count is about a range of lengths, not about one.

use serde::Serialize;
use serde_json::json;

use super::axis::{Axis, with_prefix};
use super::canvas::{self, Look, Panel, left_margin, look};
use super::{COLUMN_WIDTH, Figure, range};

/// One side of the split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Shown in the legend.
    pub name: String,
    /// Length in bytes that half of the documents do not exceed.
    pub median_bytes: u64,
    /// At place `k`, documents of `2^k` bytes or more and fewer than `2^(k+1)`.
    pub by_power_of_two: Vec<u64>,
}

/// Draws the histogram of all sides in one panel.
pub fn draw(sides: &[Side]) -> Figure {
    let outlines: Vec<Vec<(f64, f64)>> = sides.iter().map(outline).collect();
    let (low, high) = range(outlines.iter().flatten().map(|p| p.0)).unwrap_or((1.0, 2.0));
    let (_, most) = range(outlines.iter().flatten().map(|p| p.1)).unwrap_or((0.0, 1.0));
    let x = Axis::logarithmic((low, high), "Length of a document (bytes)").with_texts(with_prefix);
    let y = Axis::linear((0.0, 1.05 * most), 5, "Documents (%)");
    let looks: Vec<(&str, Look)> = sides.iter().enumerate().map(|(i, s)| (s.name.as_str(), look(i))).collect();
    let height = 1130;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let (left, right) = (left_margin(&y), COLUMN_WIDTH - 85);
        let top = canvas.legend(&looks, left, right, 0, true);
        let panel = Panel { left, top, right, bottom: height - 235, x, y };
        panel.draw(canvas, true);
        for (index, (points, (_, look))) in outlines.iter().zip(&looks).enumerate() {
            panel.curve(canvas, points, look.color, 14, look.dash);
            // One marker in each second range, not at the same ones for all sides, so that none hides another.
            for step in points.windows(2).filter(|step| step[0].1 == step[1].1 && step[0].1 > 0.0) {
                if (libm::log2(step[0].0) as usize + index).is_multiple_of(2) {
                    let middle = libm::sqrt(step[0].0 * step[1].0);
                    canvas.marker(panel.point(middle, step[0].1), look.marker, look.color, 22);
                }
            }
        }
    });
    let of = |side: &Side| format!("{}, half of them up to {} bytes", side.name, side.median_bytes);
    let named: Vec<String> = sides.iter().map(of).collect();
    let ends = if outlines.iter().all(Vec::is_empty) { String::new() } else { format!(", from {low} to {high}") };
    let alt = format!("Share of documents by length in bytes{ends}: {}.", named.join("; "));
    Figure::of(svg, alt, &json!({ "sides": sides }))
}

/// The outline of a side's steps: (bytes, percent of its documents), from zero to zero.
fn outline(side: &Side) -> Vec<(f64, f64)> {
    let whole: u64 = side.by_power_of_two.iter().sum();
    let Some(first) = side.by_power_of_two.iter().position(|n| *n > 0) else { return Vec::new() };
    let edge = |place: usize| libm::exp2(place as f64);
    let mut points = vec![(edge(first), 0.0)];
    for (place, count) in side.by_power_of_two.iter().enumerate().skip(first) {
        let share = 100.0 * *count as f64 / whole as f64;
        points.extend([(edge(place), share), (edge(place + 1), share)]);
    }
    points.push((edge(side.by_power_of_two.len()), 0.0));
    points
}
