//! Training loss over tokens: each step faint, a moving average bold.

use plotters::style::Color;

use super::axis::{Axis, tokens_axis};
use super::canvas::{self, Look, Panel, left_margin, look};
use super::{COLUMN_WIDTH, Curve, Figure, range, smoothed, thinned, window};

/// Draws the training loss (nats per token) of each run. Single steps above the average's range are cut off at the
/// top, so that the late part can be read.
pub fn draw(curves: &[Curve]) -> Figure {
    let most_tokens = range(curves.iter().flat_map(|c| c.points.iter().map(|p| p.0))).map_or(1.0, |r| r.1);
    let smooth: Vec<Vec<(f64, f64)>> = curves.iter().map(|c| smoothed(&c.points, window(c.points.len()))).collect();
    let (low, _) = range(curves.iter().flat_map(|c| c.points.iter().map(|p| p.1))).unwrap_or((0.0, 1.0));
    let (_, high) = range(smooth.iter().flatten().map(|p| p.1)).unwrap_or((0.0, 1.0));
    let y = Axis::around((low, high.max(low)), 5, "Training loss (nats per token)");
    let (x, factor) = tokens_axis(most_tokens, 5);
    let looks: Vec<(&str, Look)> = curves.iter().enumerate().map(|(i, c)| (c.name.as_str(), look(i))).collect();
    let height = 1330;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let (left, right) = (left_margin(&y), COLUMN_WIDTH - 85);
        let top = canvas.legend(&looks, left, right, 0, true);
        let panel = Panel { left, top, right, bottom: height - 235, x, y };
        panel.draw(canvas, true);
        let placed = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            thinned(points, 700).iter().map(|p| (p.0 / factor, p.1)).collect()
        };
        for (curve, (_, look)) in curves.iter().zip(&looks) {
            panel.curve(canvas, &placed(&curve.points), look.color.mix(0.28), 5, &[]);
        }
        for (curve, (_, look)) in smooth.iter().zip(&looks) {
            panel.curve(canvas, &placed(curve), look.color, 14, look.dash);
        }
    });
    let ends: Vec<String> = curves
        .iter()
        .zip(&smooth)
        .filter_map(|(c, s)| Some(format!("{} from {:.2} to {:.2}", c.name, s.first()?.1, s.last()?.1)))
        .collect();
    let alt = format!("Training loss in nats per token over {most_tokens:.0} tokens, smoothed: {}.", ends.join("; "));
    Figure { svg, alt }
}
