//! What a larger model buys: validation bits per byte of each experiment over its parameters, or over its training
//! FLOPs (Kaplan et al. 2020, Scaling Laws for Neural Language Models, draws both).

use serde::Serialize;
use serde_json::json;

use super::axis::{Axis, with_prefix};
use super::canvas::{self, Anchor, INK, Panel, estimated_width, fitted, left_margin, look};
use super::{COLUMN_WIDTH, Figure, Subject, range};

/// What the horizontal axis shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// Parameters without token and position embeddings.
    #[default]
    Parameters,
    /// Training FLOPs.
    Flops,
}

/// One experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Which.
    pub subject: Subject,
    /// Its parameters or FLOPs.
    pub size: f64,
    /// Validation bits per byte of each seed.
    pub bits_per_byte: Vec<f64>,
}

/// Draws each experiment as the mean of its seeds, with a line from the best seed to the worst, and its name beside it.
pub fn draw(points: &[Point], size: Size) -> Figure {
    let label = match size {
        Size::Parameters => "Parameters without embeddings",
        Size::Flops => "Training FLOPs",
    };
    let x = Axis::logarithmic(range(points.iter().map(|p| p.size)).unwrap_or((1.0, 10.0)), label);
    let x = match size {
        Size::Parameters => x.with_texts(with_prefix),
        Size::Flops => x.with_texts(|v| format!("{v:.0e}")),
    };
    let values = range(points.iter().flat_map(|p| p.bits_per_byte.iter().copied())).unwrap_or((0.0, 1.0));
    let y = Axis::around(values, 5, "Validation bits per byte");
    let height = 1330;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let panel = Panel { left: left_margin(&y), top: 40, right: COLUMN_WIDTH - 85, bottom: height - 235, x, y };
        panel.draw(canvas, true);
        let mut taken: Vec<(i32, i32, i32)> = Vec::new();
        for point in points {
            let Some((best, worst)) = range(point.bits_per_byte.iter().copied()) else { continue };
            let look = look(point.subject.look);
            let mean = point.bits_per_byte.iter().sum::<f64>() / point.bits_per_byte.len() as f64;
            let (x, y) = panel.point(point.size, mean);
            canvas.line(&[(x, panel.y_at(best)), (x, panel.y_at(worst))], look.color, 10, &[]);
            canvas.marker((x, y), look.marker, look.color, 28);
            // Right of the point, or left of it where the frame ends; moved down past names that stand there.
            let name = fitted(&point.subject.name, (panel.right - panel.left) / 2);
            let width = estimated_width(&name);
            let right_fits = x + 55 + width < panel.right;
            let (from, anchor) = if right_fits { (x + 50, Anchor::Left) } else { (x - 50 - width, Anchor::Right) };
            let clear = |y: i32| taken.iter().all(|(l, r, t)| from > *r || from + width < *l || (y - t).abs() >= 88);
            let tries = [0, -90, 90, -180, 180, -270, 270].map(|shift| y + shift);
            let fits = |y: &i32| *y > panel.top && *y < panel.bottom - 40 && clear(*y);
            let Some(at) = tries.into_iter().find(fits) else { continue };
            taken.push((from, from + width, at));
            let text_x = if right_fits { from } else { from + width };
            canvas.text(&name, (text_x, at), anchor, INK);
        }
    });
    let of = |p: &Point| {
        let mean = p.bits_per_byte.iter().sum::<f64>() / p.bits_per_byte.len().max(1) as f64;
        format!("{} {:.3} at {:.2e}", p.subject.name, mean, p.size)
    };
    let texts: Vec<String> = points.iter().map(of).collect();
    let alt = format!("Validation bits per byte by {}: {}.", label.to_lowercase(), texts.join("; "));
    Figure::of(svg, alt, &json!({ "over": label, "experiments": points }))
}
