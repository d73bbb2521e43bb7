//! What each side cost, and whether they cost the same: a difference in a metric means little beside a difference in
//! tokens or FLOPs that nobody mentions.

use serde::Serialize;

use super::Side;
use crate::{RunAnalysis, Unit};

/// Times of the same work differ this much from run to run on a quiet machine; a convention of this project.
const TIME_TOLERANCE: f64 = 0.05;

/// What a run spent of a quantity.
type Spent = fn(&RunAnalysis) -> f64;

/// One quantity, for one run of each side (the mean over the runs).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetLine {
    /// What was spent.
    pub quantity: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Of the reference.
    pub reference: f64,
    /// Of the other side.
    pub other: f64,
    /// Other over reference; none if the reference spent nothing.
    pub ratio: Option<f64>,
    /// Whether they are equal: counts exactly, times within 5 %.
    pub equal: bool,
    /// Whether it is a price, so that a difference in a metric is to be read beside a difference in it.
    pub is_price: bool,
}

pub(super) fn budget(reference: &Side, other: &Side) -> Vec<BudgetLine> {
    let lines: [(&str, Unit, f64, bool, Spent); 8] = [
        ("training tokens", Unit::Count, 0.0, true, |run| value(run, "training.tokens")),
        ("bytes of text read", Unit::Count, 1e-9, false, bytes_read),
        ("epochs", Unit::Decimal, 1e-9, false, |run| value(run, "training.epochs")),
        ("training FLOPs", Unit::Flops, 1e-9, true, |run| value(run, "training.flops")),
        ("optimizer steps", Unit::Count, 0.0, false, |run| value(run, "training.steps")),
        ("parameters", Unit::Count, 0.0, true, |run| value(run, "model.parameters")),
        ("wall time", Unit::Seconds, TIME_TOLERANCE, true, |run| value(run, "resources.wall_time_s")),
        ("GPU time", Unit::Seconds, TIME_TOLERANCE, true, |run| value(run, "resources.gpu_time_s")),
    ];
    let line = |(quantity, unit, tolerance, is_price, of): (&'static str, Unit, f64, bool, Spent)| {
        let mean = |side: &Side| side.runs.iter().map(of).sum::<f64>() / side.runs.len() as f64;
        let (reference, other) = (mean(reference), mean(other));
        let equal = (reference - other).abs() <= tolerance * reference.abs().max(other.abs());
        let ratio = (reference > 0.0).then(|| other / reference);
        BudgetLine { quantity, unit, reference, other, ratio, equal, is_price }
    };
    lines.into_iter().map(line).collect()
}

/// Text behind the training tokens: under another tokenizer as many tokens are more or less of it.
fn bytes_read(run: &RunAnalysis) -> f64 {
    value(run, "training.tokens") * value(run, "data.train_bytes_per_token")
}

fn value(run: &RunAnalysis, key: &str) -> f64 {
    run.values.get(key).map_or(0.0, |value| value.number)
}
