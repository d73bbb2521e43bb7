//! Norms of each part of the model over training: of the gradient, and of the update relative to the weights, which
//! says where the learning rate is too high or too low (about 1e-3 is common: Karpathy 2015, CS231n notes, "Ratio of
//! weights:updates").

use serde::Serialize;
use serde_json::json;

use super::heat_map::{self, Map};
use super::{Figure, range};

/// One subject's norms. Rows and columns of both tables are places and steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Norms {
    /// Whose.
    pub name: String,
    /// Parts of the model, from its input to its output.
    pub places: Vec<String>,
    /// Optimizer steps, ascending.
    pub steps: Vec<f64>,
    /// L2 norm of the gradient of each part, before clipping.
    pub gradient_norms: Vec<Vec<Option<f64>>>,
    /// L2 norm of the update over that of the weights.
    pub update_ratios: Vec<Vec<Option<f64>>>,
}

/// Draws both maps of each subject.
pub fn draw(subjects: &[Norms]) -> Figure {
    let of = |s: &Norms| if subjects.len() > 1 { format!(", {}", s.name) } else { String::new() };
    let both = |s| {
        let map = |title: &str, values: &Vec<Vec<Option<f64>>>| Map {
            title: format!("{title}{}", of(s)),
            places: &s.places,
            steps: &s.steps,
            values: values.clone(),
            logarithmic: true,
        };
        [map("Gradient norm", &s.gradient_norms), map("Update norm / weight norm", &s.update_ratios)]
    };
    let maps: Vec<Map> = subjects.iter().flat_map(both).collect();
    let about = |s: &Norms| {
        let ends = |values: &[Vec<Option<f64>>]| range(values.iter().flatten().flatten().copied());
        let (low, high) = ends(&s.gradient_norms).unwrap_or((0.0, 0.0));
        let (least, most) = ends(&s.update_ratios).unwrap_or((0.0, 0.0));
        format!(
            "{}: gradient norms from {low:.1e} to {high:.1e}, update to weight ratios from {least:.1e} to {most:.1e}",
            s.name
        )
    };
    let texts: Vec<String> = subjects.iter().map(about).collect();
    let alt = format!("Heat maps of norms by part of the model and training step. {}.", texts.join("; "));
    Figure::of(heat_map::draw(&maps), alt, &json!({ "subjects": subjects }))
}
