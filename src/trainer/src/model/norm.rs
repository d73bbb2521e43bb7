//! Normalization over the channels: layer norm (Ba et al. 2016) or RMS norm (Zhang and Sennrich 2019).

use harness_core::config::{ModelConfig, Norm as Form};
use tch::Tensor;

use super::weights::{Initial, Weights};

/// Added to the variance or mean square, as in GPT-2.
const EPSILON: f64 = 1e-5;

/// A norm with a learned gain, and a bias where the form and the config have one.
pub struct Norm {
    form: Form,
    weight: Tensor, // (channels)
    bias: Option<Tensor>,
}

impl Norm {
    /// Over the width of the model, in the form that the config names.
    pub fn new(config: &ModelConfig, name: &str, weights: &mut dyn Weights) -> Self {
        let c = i64::from(config.width);
        let bias = config.bias && config.norm == Form::Layer;
        Norm {
            form: config.norm,
            weight: weights.get(&format!("{name}.weight"), &[c], Initial::Ones),
            bias: bias.then(|| weights.get(&format!("{name}.bias"), &[c], Initial::Zeros)),
        }
    }

    /// RMS norm over the channels of a head.
    pub fn of_head(config: &ModelConfig, name: &str, weights: &mut dyn Weights) -> Self {
        let d = i64::from(config.width / config.heads);
        Norm { form: Form::Rms, weight: weights.get(&format!("{name}.weight"), &[d], Initial::Ones), bias: None }
    }

    /// Normalizes the last dimension.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self.form {
            Form::Layer => x.layer_norm(self.weight.size(), Some(&self.weight), self.bias.as_ref(), EPSILON, false),
            Form::Rms => x.rms_norm(self.weight.size(), Some(&self.weight), EPSILON),
        }
    }
}
