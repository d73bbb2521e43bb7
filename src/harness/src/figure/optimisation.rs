//! How the optimizer went: the learning rate above, the gradient norm before clipping below, over the steps.

use plotters::style::Color;

use super::axis::Axis;
use super::canvas::{self, Look, Panel, left_margin, look};
use super::{COLUMN_WIDTH, Figure, range, smoothed, thinned, window};

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Shown in the legend.
    pub name: String,
    /// (step, learning rate)
    pub learning_rate: Vec<(f64, f64)>,
    /// (step, gradient norm before clipping)
    pub gradient_norm: Vec<(f64, f64)>,
    /// The norm above which gradients are scaled down; `None` where they never are.
    pub clip_norm: Option<f64>,
}

/// Draws both panels.
pub fn draw(traces: &[Trace]) -> Figure {
    let all = |of: fn(&Trace) -> &Vec<(f64, f64)>| traces.iter().flat_map(move |t| of(t).iter().copied());
    let steps = range(all(|t| &t.learning_rate).map(|p| p.0)).map_or(1.0, |r| r.1);
    let most_rate = range(all(|t| &t.learning_rate).map(|p| p.1)).map_or(1.0, |r| r.1).max(1e-12);
    let exponent = libm::floor(libm::log10(most_rate) + 1e-9) as i32;
    let factor = libm::pow(10.0, f64::from(exponent));
    let rates =
        Axis::linear((0.0, 1.08 * most_rate / factor), 3, format!("Rate (1e{exponent})").replace('-', "\u{2212}"));
    let norms = range(all(|t| &t.gradient_norm).map(|p| p.1).filter(|n| *n > 0.0)).unwrap_or((0.1, 1.0));
    let norms = Axis::logarithmic(norms, "Gradient norm");
    let x = Axis::linear((0.0, steps), 5, "Optimizer step");
    let looks: Vec<(&str, Look)> = traces.iter().enumerate().map(|(i, t)| (t.name.as_str(), look(i))).collect();
    let height = 1560;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let (left, right) = (left_margin(&rates).max(left_margin(&norms)), COLUMN_WIDTH - 85);
        let top = canvas.legend(&looks, left, right, 0, true);
        let (bottom, gap) = (height - 235, 90);
        let middle = top + (bottom - top - gap) * 43 / 100;
        let above = Panel { left, top, right, bottom: middle, x: x.clone(), y: rates };
        let below = Panel { left, top: middle + gap, right, bottom, x, y: norms };
        above.draw(canvas, false);
        below.draw(canvas, true);
        for (trace, (_, look)) in traces.iter().zip(&looks) {
            let rate: Vec<(f64, f64)> =
                thinned(&trace.learning_rate, 400).iter().map(|p| (p.0, p.1 / factor)).collect();
            above.curve(canvas, &rate, look.color, 14, look.dash);
            below.curve(canvas, &thinned(&trace.gradient_norm, 700), look.color.mix(0.28), 5, &[]);
        }
        for (trace, (_, look)) in traces.iter().zip(&looks) {
            let smooth = smoothed(&trace.gradient_norm, window(trace.gradient_norm.len()));
            let smooth = thinned(&smooth, 400);
            below.curve(canvas, &smooth, look.color, 14, look.dash);
        }
        let mut limits: Vec<f64> = traces.iter().filter_map(|t| t.clip_norm).collect();
        limits.sort_by(f64::total_cmp);
        limits.dedup();
        for limit in limits.iter().filter(|l| **l > below.y.low() && **l < below.y.high()) {
            below.reference(canvas, *limit, "clipped above", &[]);
        }
    });
    let peaks: Vec<String> = traces
        .iter()
        .filter_map(|t| {
            let rate = range(t.learning_rate.iter().map(|p| p.1))?.1;
            let norm = range(t.gradient_norm.iter().map(|p| p.1))?.1;
            Some(format!("{}: peak learning rate {rate:.1e}, largest gradient norm {norm:.2}", t.name))
        })
        .collect();
    Figure { svg, alt: format!("Learning rate and gradient norm over {steps:.0} steps. {}.", peaks.join("; ")) }
}
