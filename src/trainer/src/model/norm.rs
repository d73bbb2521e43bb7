//! Normalization over the channels: layer norm (Ba et al. 2016) or RMS norm (Zhang and Sennrich 2019).

use harness_core::config::Norm as Form;
use tch::Tensor;

use super::weights::Weights;
use crate::native;

/// Added to the variance or mean square, as in GPT-2.
const EPSILON: f64 = 1e-5;

/// A norm with a learned gain, and a bias where it has one.
pub struct Norm {
    form: Form,
    weight: Tensor, // (channels)
    bias: Option<Tensor>,
}

impl Norm {
    /// The norm `name`.
    pub fn new(form: Form, name: &str, weights: &Weights<'_>) -> Self {
        Self::find(form, name, weights).unwrap_or_else(|| panic!("the model has no norm `{name}`"))
    }

    /// The norm `name`, if the model has it.
    pub fn find(form: Form, name: &str, weights: &Weights<'_>) -> Option<Self> {
        let find = |which: &str| weights.find_for(&format!("{name}.{which}"), native::own_norm);
        Some(Norm { form, weight: find("weight")?, bias: find("bias") })
    }

    /// Normalizes the last dimension.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        native::norm(x, &self.weight, self.bias.as_ref(), self.form == Form::Layer, EPSILON)
    }
}
