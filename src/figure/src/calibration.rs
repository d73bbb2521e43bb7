//! A reliability diagram: how often the model's first choice is right, by the probability the model gave it (Guo et al.
//! 2017, On Calibration of Modern Neural Networks, figure 1), and how the probabilities are spread, below.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, Anchor, GREY, INK, LINE, Panel, left_margin};
use super::validation::draw_curve;
use super::{COLUMN_WIDTH, Figure, Subject, looks, range};

/// One subject's diagram.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reliability {
    /// Whose.
    pub subject: Subject,
    /// Bins with tokens, from the lowest probability to the highest.
    pub bins: Vec<Bin>,
    /// Expected calibration error, from 0 to 1.
    pub expected_calibration_error: f64,
}

/// Tokens whose first choice has about the same probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Lower end of the bin.
    pub low: f64,
    /// Upper end of the bin.
    pub high: f64,
    /// Mean probability of the first choice.
    pub confidence: f64,
    /// Share of tokens whose first choice is right.
    pub accuracy: f64,
    /// Tokens.
    pub tokens: u64,
}

/// Draws both panels. On the diagonal, probabilities are what they claim to be; below it the model is too sure.
pub fn draw(subjects: &[Reliability]) -> Figure {
    let names = looks(subjects.iter().map(|s| &s.subject));
    let lines: Vec<Vec<(f64, f64)>> =
        subjects.iter().map(|s| s.bins.iter().map(|b| (b.confidence, b.accuracy)).collect()).collect();
    let shares: Vec<Vec<(f64, f64)>> = subjects.iter().map(outline).collect();
    let most = range(shares.iter().flatten().map(|p| p.1)).map_or(1.0, |r| r.1);
    let x = Axis::linear((0.0, 1.0), 5, "Probability of the top-1 token");
    let y = Axis::linear((0.0, 1.0), 5, "Top-1 accuracy");
    let y_below = Axis::linear((0.0, 1.1 * most), 2, "Tokens (%)");
    let height = 1900;
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        let (left, right) = (left_margin(&y).max(left_margin(&y_below)), COLUMN_WIDTH - 85);
        let bottom = height - 235;
        let middle = 1240;
        let mut curves = lines.clone();
        // Names keep clear of the diagonal too.
        curves.push(vec![(0.0, 0.0), (1.0, 1.0)]);
        let panel = Panel { left, top: 0, right, bottom: middle, x: x.clone(), y };
        let (panel, heading) = panel.headed(&names, &curves);
        panel.draw(canvas, false);
        canvas.line(&[panel.point(0.0, 0.0), panel.point(1.0, 1.0)], GREY, 8, &[24.0, 24.0]);
        for (line, (_, look)) in lines.iter().zip(&names) {
            draw_curve(canvas, &panel, line, *look);
        }
        panel.draw_names(canvas, &names, &heading);
        for (index, subject) in subjects.iter().rev().enumerate() {
            let error = 100.0 * subject.expected_calibration_error;
            let of = if subjects.len() > 1 {
                format!(", {}", canvas::fitted(&subject.subject.name, (right - left) / 2))
            } else {
                String::new()
            };
            let y = middle - 60 - LINE * index as i32;
            canvas.text(&format!("ECE {error:.1} %{of}"), (right - 20, y), Anchor::Right, INK);
        }
        let panel = Panel { left, top: middle + 90, right, bottom, x, y: y_below };
        panel.draw(canvas, true);
        for (points, (_, look)) in shares.iter().zip(&names) {
            panel.curve(canvas, points, look.color, 14, look.dash);
        }
    });
    let of = |s: &Reliability| {
        format!("{}: expected calibration error {:.1} percent", s.subject.name, 100.0 * s.expected_calibration_error)
    };
    let texts: Vec<String> = subjects.iter().map(of).collect();
    let alt = format!("Accuracy of the top-1 token by its probability. {}.", texts.join("; "));
    Figure::of(svg, alt, &json!({ "models": subjects }))
}

/// The outline of the histogram of tokens: (probability, percent).
fn outline(subject: &Reliability) -> Vec<(f64, f64)> {
    let whole = subject.bins.iter().map(|b| b.tokens).sum::<u64>().max(1) as f64;
    let (Some(first), Some(last)) = (subject.bins.first(), subject.bins.last()) else { return Vec::new() };
    let mut points = vec![(first.low, 0.0)];
    for bin in &subject.bins {
        let share = 100.0 * bin.tokens as f64 / whole;
        points.extend([(bin.low, share), (bin.high, share)]);
    }
    points.push((last.high, 0.0));
    points
}
