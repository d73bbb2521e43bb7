//! Training loss over training: each step faint, a moving average bold, the range over seeds as a band.

use plotters::style::Color;
use serde_json::json;

use super::axis::Axis;
use super::band::{Band, scaled, smooth_band};
use super::canvas::{self, Panel, left_margin};
use super::{COLUMN_WIDTH, Curve, Figure, Progress, looks, range, remarks, thinned};

/// Draws the training loss (nats per token) of each subject. Single steps above the average's range are cut off at the
/// top, so that the late part can be read; with several seeds only their averages are drawn.
pub fn draw(curves: &[Curve], progress: Progress) -> Figure {
    let points = || curves.iter().flat_map(|c| c.seeds.iter().flatten());
    let most = range(points().map(|p| p.0)).map_or(1.0, |r| r.1);
    let smooth: Vec<Band> = curves.iter().map(|c| smooth_band(c, 700)).collect();
    let single = || curves.iter().filter(|c| c.seeds.len() == 1);
    let lows = single().flat_map(|c| c.seeds.iter().flatten().map(|p| p.1)).chain(averages(&smooth));
    let (low, _) = range(lows).unwrap_or((0.0, 1.0));
    let (_, high) = range(averages(&smooth)).unwrap_or((0.0, 1.0));
    let y = Axis::around((low, high.max(low)), 5, "Training loss (nats per token)");
    let (x, factor) = progress.axis(most, 5);
    let names = looks(curves.iter().map(|c| &c.subject));
    let lines: Vec<Vec<(f64, f64)>> = smooth.iter().map(|band| scaled(&band.mean, factor)).collect();
    let height = 1330;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let (left, right) = (left_margin(&y), COLUMN_WIDTH - 85);
        let (panel, heading) = Panel { left, top: 0, right, bottom: height - 235, x, y }.headed(&names, &lines);
        panel.draw(canvas, true);
        for (curve, (_, look)) in curves.iter().zip(&names).filter(|(c, _)| c.seeds.len() == 1) {
            let steps = scaled(&thinned(&curve.seeds[0], 700), factor);
            panel.curve(canvas, &steps, look.color.mix(0.28), 5, &[]);
        }
        for (band, (_, look)) in smooth.iter().zip(&names) {
            panel.band(canvas, &scaled(&band.low, factor), &scaled(&band.high, factor), look.color);
        }
        for ((line, (_, look)), curve) in lines.iter().zip(&names).zip(curves) {
            panel.curve(canvas, line, look.color, 14, look.dash);
            if curve.ends_early() {
                panel.early_end(canvas, line);
            }
        }
        panel.draw_names(canvas, &names, &heading);
    });
    let end = |(name, band): (&str, &Band)| {
        Some(format!("{name} from {:.2} to {:.2}", band.mean.first()?.1, band.mean.last()?.1))
    };
    let ends: Vec<String> = names.iter().map(|n| n.0).zip(&smooth).filter_map(end).collect();
    let along = progress.words();
    let alt = format!(
        "Training loss in nats per token over {most:.0} {along}, smoothed: {}.{}",
        ends.join("; "),
        remarks(curves, progress)
    );
    Figure::of(svg, alt, &json!({ "over": progress.word(), "curves": curves }))
}

fn averages(bands: &[Band]) -> impl Iterator<Item = f64> {
    bands.iter().flat_map(|b| [&b.mean, &b.low, &b.high]).flatten().map(|p| p.1)
}
