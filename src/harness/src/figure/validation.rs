//! Validation bits per byte over tokens, with what simpler models reach on the same text as reference lines. With
//! more than one run, a second panel shows the difference of each from the first, which the curves themselves hide.

use super::axis::{Axis, tokens_axis};
use super::canvas::{self, Canvas, GREY, Look, Panel, left_margin, look};
use super::{COLUMN_WIDTH, Curve, Figure, range};

/// Draws validation curves. `references` are (name, bits per byte) of models without training steps, such as a
/// unigram model.
pub fn draw(curves: &[Curve], references: &[(String, f64)]) -> Figure {
    let most_tokens = range(curves.iter().flat_map(|c| c.points.iter().map(|p| p.0))).map_or(1.0, |r| r.1);
    let values = curves.iter().flat_map(|c| c.points.iter().map(|p| p.1)).chain(references.iter().map(|r| r.1));
    let y = Axis::around(range(values).unwrap_or((0.0, 1.0)), 5, "Validation bits per byte");
    let (x, factor) = tokens_axis(most_tokens, 5);
    let differences = differences(curves);
    let reach = range(differences.iter().flat_map(|c| c.iter().map(|p| p.1)).chain([0.0])).unwrap_or((0.0, 1.0));
    let y_below = Axis::around(reach, 4, "Difference");
    let looks: Vec<(&str, Look)> = curves.iter().enumerate().map(|(i, c)| (c.name.as_str(), look(i))).collect();
    let two = !differences.is_empty();
    let height = if two { 1750 } else { 1330 };
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let left = if two { left_margin(&y).max(left_margin(&y_below)) } else { left_margin(&y) };
        let right = COLUMN_WIDTH - 85;
        let top = canvas.legend(&looks, left, right, 0, true);
        let bottom = height - 235;
        let middle = if two { top + (bottom - top) * 63 / 100 } else { bottom };
        let panel = Panel { left, top, right, bottom: middle, x: x.clone(), y };
        panel.draw(canvas, !two);
        let placed = |c: &Curve| c.points.iter().map(|p| (p.0 / factor, p.1)).collect::<Vec<_>>();
        let drawn: Vec<Vec<(f64, f64)>> = curves.iter().map(placed).collect();
        for (name, value) in references {
            panel.reference(canvas, *value, name, &drawn);
        }
        for (curve, (_, look)) in curves.iter().zip(&looks) {
            draw_curve(canvas, &panel, &curve.points, factor, *look);
        }
        if two {
            let panel = Panel { left, top: middle + 90, right, bottom, x, y: y_below };
            panel.draw(canvas, true);
            let zero = panel.y_at(0.0);
            canvas.line(&[(left, zero), (right, zero)], GREY, 8, &[]);
            for (points, (_, look)) in differences.iter().zip(&looks[1..]) {
                draw_curve(canvas, &panel, points, factor, *look);
            }
        }
    });
    let ends: Vec<String> = curves
        .iter()
        .filter_map(|c| Some(format!("{} from {:.3} to {:.3}", c.name, c.points.first()?.1, c.points.last()?.1)))
        .chain(references.iter().map(|(name, value)| format!("{name} at {value:.3}")))
        .collect();
    let alt = format!("Validation bits per byte over {most_tokens:.0} training tokens: {}.", ends.join("; "));
    Figure { svg, alt }
}

fn draw_curve(canvas: &Canvas, panel: &Panel, points: &[(f64, f64)], factor: f64, look: Look) {
    let points: Vec<(f64, f64)> = points.iter().map(|p| (p.0 / factor, p.1)).collect();
    panel.curve(canvas, &points, look.color, 14, look.dash);
    let every = points.len().div_ceil(12).max(1);
    let marked = points.iter().enumerate().filter(|(i, _)| i % every == 0 || i + 1 == points.len());
    for (_, (tokens, value)) in marked {
        canvas.marker(panel.point(*tokens, *value), look.marker, look.color, 22);
    }
}

/// For each curve but the first, its difference from the first at the tokens that both have.
fn differences(curves: &[Curve]) -> Vec<Vec<(f64, f64)>> {
    let Some((first, others)) = curves.split_first() else { return Vec::new() };
    let of = |curve: &Curve| {
        let at = |tokens: f64| first.points.iter().find(|p| p.0 == tokens).map(|p| p.1);
        curve.points.iter().filter_map(|p| Some((p.0, p.1 - at(p.0)?))).collect()
    };
    others.iter().map(of).collect()
}
