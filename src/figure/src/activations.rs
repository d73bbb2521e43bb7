//! What flows through the model over training: size of the residual stream, entropy of attention, silent units.

use serde::Serialize;
use serde_json::json;

use super::heat_map::{self, Map};
use super::{Figure, range};

/// One subject's statistics. Each table has a row for each of its places and a column for each step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Activations {
    /// Whose.
    pub name: String,
    /// Optimizer steps, ascending.
    pub steps: Vec<f64>,
    /// What was measured.
    pub quantities: Vec<Quantity>,
}

/// One statistic at several places.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantity {
    /// What it is, with its unit.
    pub title: String,
    /// Places, from the input of the model to its output.
    pub places: Vec<String>,
    /// For each place, for each step.
    pub values: Vec<Vec<Option<f64>>>,
    /// Whether it reaches over orders of magnitude.
    pub logarithmic: bool,
}

/// Draws one map for each quantity of each subject.
pub fn draw(subjects: &[Activations]) -> Figure {
    let several = subjects.len() > 1;
    let title = |s: &Activations, q: &Quantity| {
        if several { format!("{}, {}", q.title, s.name) } else { q.title.clone() }
    };
    let pairs: Vec<(&Activations, &Quantity)> =
        subjects.iter().flat_map(|s| s.quantities.iter().map(move |q| (s, q))).collect();
    let maps: Vec<Map> = pairs
        .iter()
        .map(|(s, q)| Map {
            title: title(s, q),
            places: &q.places,
            steps: &s.steps,
            values: q.values.clone(),
            logarithmic: q.logarithmic,
        })
        .collect();
    let about = |(s, q): &(&Activations, &Quantity)| {
        let (low, high) = range(q.values.iter().flatten().flatten().copied()).unwrap_or((0.0, 0.0));
        format!("{}: {} from {low:.3} to {high:.3}", s.name, q.title)
    };
    let texts: Vec<String> = pairs.iter().map(about).collect();
    let alt = format!("Heat maps of activations by place in the model and training step. {}.", texts.join("; "));
    Figure::of(heat_map::draw(&maps), alt, &json!({ "subjects": subjects }))
}
