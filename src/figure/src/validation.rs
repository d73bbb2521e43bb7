//! Validation bits per byte over training, with what simpler models reach on the same text as reference lines. With
//! more than one subject, a second panel shows the difference of each from the first, which the curves themselves hide.

use serde_json::{Value, json};

use super::axis::Axis;
use super::band::{Band, band, scaled};
use super::canvas::{self, Canvas, GREY, Look, Panel, left_margin};
use super::{COLUMN_WIDTH, Curve, Figure, Progress, looks, range, remarks};

/// Draws validation curves. `references` are (name, bits per byte) of models without training steps, such as a
/// unigram model.
pub fn draw(curves: &[Curve], references: &[(String, f64)], progress: Progress) -> Figure {
    let bands: Vec<Band> = curves.iter().map(|c| band(&c.seeds)).collect();
    let most = range(bands.iter().flat_map(|b| b.mean.iter().map(|p| p.0))).map_or(1.0, |r| r.1);
    let values = bands.iter().flat_map(|b| [&b.mean, &b.low, &b.high]).flatten().map(|p| p.1);
    let values = values.chain(references.iter().map(|r| r.1));
    let y = Axis::around(range(values).unwrap_or((0.0, 1.0)), 5, "Validation bits per byte");
    let (x, factor) = progress.axis(most, 5);
    let lines: Vec<Vec<(f64, f64)>> = bands.iter().map(|band| scaled(&band.mean, factor)).collect();
    let differences = differences(&lines);
    let reach = range(differences.iter().flat_map(|c| c.iter().map(|p| p.1)).chain([0.0])).unwrap_or((0.0, 1.0));
    let y_below = Axis::around(reach, 4, "Difference");
    let names = looks(curves.iter().map(|c| &c.subject));
    let two = differences.iter().any(|d| !d.is_empty());
    let height = if two { 1750 } else { 1330 };
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let left = if two { left_margin(&y).max(left_margin(&y_below)) } else { left_margin(&y) };
        let right = COLUMN_WIDTH - 85;
        let bottom = height - 235;
        let middle = if two { bottom * 64 / 100 } else { bottom };
        let (panel, heading) = Panel { left, top: 0, right, bottom: middle, x: x.clone(), y }.headed(&names, &lines);
        panel.draw(canvas, !two);
        for (name, value) in references {
            panel.reference(canvas, *value, name, &lines);
        }
        for (((band, line), (_, look)), curve) in bands.iter().zip(&lines).zip(&names).zip(curves) {
            panel.band(canvas, &scaled(&band.low, factor), &scaled(&band.high, factor), look.color);
            draw_curve(canvas, &panel, line, *look);
            if curve.ends_early() {
                panel.early_end(canvas, line);
            }
        }
        panel.draw_names(canvas, &names, &heading);
        if two {
            let panel = Panel { left, top: middle + 90, right, bottom, x, y: y_below };
            panel.draw(canvas, true);
            let zero = panel.y_at(0.0);
            canvas.line(&[(left, zero), (right, zero)], GREY, 8, &[]);
            for (points, (_, look)) in differences.iter().zip(&names[1..]) {
                draw_curve(canvas, &panel, points, *look);
            }
        }
    });
    let end = |(name, band): (&str, &Band)| {
        Some(format!("{name} from {:.3} to {:.3}", band.mean.first()?.1, band.mean.last()?.1))
    };
    let ends: Vec<String> = names
        .iter()
        .map(|n| n.0)
        .zip(&bands)
        .filter_map(end)
        .chain(references.iter().map(|(name, value)| format!("{name} at {value:.3}")))
        .collect();
    let along = progress.words();
    let alt =
        format!("Validation bits per byte over {most:.0} {along}: {}.{}", ends.join("; "), remarks(curves, progress));
    let references = references.iter().map(|(name, bits)| json!({ "reference": name, "bits_per_byte": bits }));
    let references: Vec<Value> = references.collect();
    Figure::of(svg, alt, &json!({ "over": progress.word(), "curves": curves, "references": references }))
}

/// A curve with a marker at about each twelfth of its points.
pub(super) fn draw_curve(canvas: &Canvas, panel: &Panel, points: &[(f64, f64)], look: Look) {
    panel.curve(canvas, points, look.color, 14, look.dash);
    let every = points.len().div_ceil(12).max(1);
    let marked = points.iter().enumerate().filter(|(i, _)| i % every == 0 || i + 1 == points.len());
    for (_, (x, value)) in marked {
        canvas.marker(panel.point(*x, *value), look.marker, look.color, 22);
    }
}

/// For each line but the first, its difference from the first at the places that both have.
fn differences(lines: &[Vec<(f64, f64)>]) -> Vec<Vec<(f64, f64)>> {
    let Some((first, others)) = lines.split_first() else { return Vec::new() };
    let of = |line: &Vec<(f64, f64)>| {
        let at = |x: f64| first.iter().find(|p| p.0 == x).map(|p| p.1);
        line.iter().filter_map(|p| Some((p.0, p.1 - at(p.0)?))).collect()
    };
    others.iter().map(of).collect()
}
