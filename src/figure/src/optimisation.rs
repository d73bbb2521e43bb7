//! How the optimizer went: the learning rate above, the gradient norm before clipping below.

use plotters::style::Color;
use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::band::{Band, scaled, smooth_band};
use super::canvas::{self, Panel, left_margin};
use super::{COLUMN_WIDTH, Curve, Figure, Progress, Subject, looks, range, remarks, thinned};

/// One subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// Whose.
    pub subject: Subject,
    /// (progress, learning rate): the same for every seed.
    #[serde(serialize_with = "super::data::points")]
    pub learning_rate: Vec<(f64, f64)>,
    /// For each seed: (progress, gradient norm before clipping).
    #[serde(serialize_with = "super::data::seeds")]
    pub gradient_norm: Vec<Vec<(f64, f64)>>,
    /// The norm above which gradients are scaled down; `None` where they never are.
    pub clip_norm: Option<f64>,
}

/// Draws both panels.
pub fn draw(traces: &[Trace], progress: Progress) -> Figure {
    let rates = || traces.iter().flat_map(|t| t.learning_rate.iter().copied());
    let most = range(rates().map(|p| p.0)).map_or(1.0, |r| r.1);
    let most_rate = range(rates().map(|p| p.1)).map_or(1.0, |r| r.1).max(1e-12);
    let exponent = libm::floor(libm::log10(most_rate) + 1e-9) as i32;
    let unit = libm::pow(10.0, f64::from(exponent));
    let label = format!("Rate (1e{exponent})").replace('-', "\u{2212}");
    let rate_axis = Axis::linear((0.0, 1.08 * most_rate / unit), 3, label);
    let norms = traces.iter().flat_map(|t| t.gradient_norm.iter().flatten()).map(|p| p.1);
    let norms = range(norms.filter(|n| *n > 0.0)).unwrap_or((0.1, 1.0));
    let norm_axis = Axis::logarithmic(norms, "Gradient norm");
    let (x, factor) = progress.axis(most, 5);
    let names = looks(traces.iter().map(|t| &t.subject));
    let curve = |t: &Trace| Curve { subject: t.subject.clone(), seeds: t.gradient_norm.clone() };
    let curves: Vec<Curve> = traces.iter().map(curve).collect();
    let smooth: Vec<Band> = curves.iter().map(|curve| smooth_band(curve, 400)).collect();
    let lines: Vec<Vec<(f64, f64)>> = traces
        .iter()
        .map(|t| scaled(&thinned(&t.learning_rate, 400), factor).iter().map(|p| (p.0, p.1 / unit)).collect())
        .collect();
    let height = 1560;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let (left, right) = (left_margin(&rate_axis).max(left_margin(&norm_axis)), COLUMN_WIDTH - 85);
        let top = canvas.legend(&names, left, right, 0, true);
        let (bottom, gap) = (height - 235, 90);
        let middle = top + (bottom - top - gap) * 43 / 100;
        let above = Panel { left, top, right, bottom: middle, x: x.clone(), y: rate_axis };
        let below = Panel { left, top: middle + gap, right, bottom, x, y: norm_axis };
        above.draw(canvas, false);
        below.draw(canvas, true);
        for ((trace, line), (_, look)) in traces.iter().zip(&lines).zip(&names) {
            above.curve(canvas, line, look.color, 14, look.dash);
            if let [only] = trace.gradient_norm.as_slice() {
                below.curve(canvas, &scaled(&thinned(only, 700), factor), look.color.mix(0.28), 5, &[]);
            }
        }
        for ((band, (_, look)), curve) in smooth.iter().zip(&names).zip(&curves) {
            below.band(canvas, &scaled(&band.low, factor), &scaled(&band.high, factor), look.color);
            let line = scaled(&band.mean, factor);
            below.curve(canvas, &line, look.color, 14, look.dash);
            if curve.ends_early() {
                below.early_end(canvas, &line);
            }
        }
        let mut limits: Vec<f64> = traces.iter().filter_map(|t| t.clip_norm).collect();
        limits.sort_by(f64::total_cmp);
        limits.dedup();
        for limit in limits.iter().filter(|l| **l > below.y.low() && **l < below.y.high()) {
            below.reference(canvas, *limit, "clipping norm", &[]);
        }
    });
    let peaks: Vec<String> = traces
        .iter()
        .filter_map(|t| {
            let rate = range(t.learning_rate.iter().map(|p| p.1))?.1;
            let norm = range(t.gradient_norm.iter().flatten().map(|p| p.1))?.1;
            Some(format!("{}: peak learning rate {rate:.1e}, largest gradient norm {norm:.2}", t.subject.name))
        })
        .collect();
    let along = progress.words();
    let remarks = remarks(&curves, progress);
    let alt = format!("Learning rate and gradient norm over {most:.0} {along}. {}.{remarks}", peaks.join("; "));
    Figure::of(svg, alt, &json!({ "over": progress.word(), "curves": traces }))
}
