//! Training tokens per second over training: each step faint, a moving average bold.

use plotters::style::Color;
use serde_json::json;

use super::axis::{Axis, with_prefix};
use super::band::{Band, scaled, smooth_band};
use super::canvas::{self, Panel, left_margin};
use super::{COLUMN_WIDTH, Curve, Figure, Progress, looks, range, remarks, thinned};

/// Draws the throughput of each subject, on an axis from zero: a tenth more or less should look like a tenth.
pub fn draw(curves: &[Curve], progress: Progress) -> Figure {
    let points = || curves.iter().flat_map(|c| c.seeds.iter().flatten());
    let most = range(points().map(|p| p.0)).map_or(1.0, |r| r.1);
    let smooth: Vec<Band> = curves.iter().map(|c| smooth_band(c, 500)).collect();
    let averages = smooth.iter().flat_map(|b| [&b.mean, &b.high]).flatten().map(|p| p.1);
    let fastest = range(averages).map_or(1.0, |r| r.1).max(1e-9);
    let y = Axis::linear((0.0, 1.15 * fastest), 4, "Tokens per second").with_texts(with_prefix);
    let (x, factor) = progress.axis(most, 5);
    let names = looks(curves.iter().map(|c| &c.subject));
    let lines: Vec<Vec<(f64, f64)>> = smooth.iter().map(|band| scaled(&band.mean, factor)).collect();
    let height = 1000;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let (left, right) = (left_margin(&y), COLUMN_WIDTH - 85);
        let (panel, heading) = Panel { left, top: 0, right, bottom: height - 235, x, y }.headed(&names, &lines);
        panel.draw(canvas, true);
        for (curve, (_, look)) in curves.iter().zip(&names).filter(|(c, _)| c.seeds.len() == 1) {
            panel.curve(canvas, &scaled(&thinned(&curve.seeds[0], 700), factor), look.color.mix(0.28), 5, &[]);
        }
        for ((band, line), (_, look)) in smooth.iter().zip(&lines).zip(&names) {
            panel.band(canvas, &scaled(&band.low, factor), &scaled(&band.high, factor), look.color);
            panel.curve(canvas, line, look.color, 14, look.dash);
        }
        panel.draw_names(canvas, &names, &heading);
    });
    let of = |(name, band): (&str, &Band)| {
        let mean = band.mean.iter().map(|p| p.1).sum::<f64>() / band.mean.len().max(1) as f64;
        format!("{name} {mean:.0} on average")
    };
    let rates: Vec<String> = names.iter().map(|n| n.0).zip(&smooth).map(of).collect();
    let alt = format!(
        "Training tokens per second over {most:.0} {}: {}.{}",
        progress.words(),
        rates.join("; "),
        remarks(curves, progress)
    );
    Figure::of(svg, alt, &json!({ "over": progress.word(), "curves": curves }))
}
