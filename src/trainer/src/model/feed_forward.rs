//! The layer between attention layers: each position on its own, through a wider layer and back.

use harness_core::config::{FeedForward as Form, ModelConfig};
use tch::Tensor;

use super::Linear;
use super::extras::observe;
use super::weights::Weights;
use crate::native::{self, Activation};

/// The feed-forward layer of one block.
pub struct FeedForward {
    form: Form,
    input: Linear,  // C -> F, or C -> 2 F with a gate
    output: Linear, // F -> C
}

impl FeedForward {
    /// The layer `name`.
    pub fn new(config: &ModelConfig, name: &str, weights: &Weights<'_>) -> Self {
        FeedForward {
            form: config.feed_forward,
            input: Linear::new(&format!("{name}.input"), weights),
            output: Linear::new(&format!("{name}.output"), weights),
        }
    }

    /// (B, T, C) to (B, T, C).
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let wide = self.input.forward(x); // (B, T, F or 2 F)
        match self.form {
            // Hendrycks and Gimpel 2016, in the tanh form that GPT-2 uses.
            Form::Gelu => self.narrow(Activation::Gelu, &wide),
            // Shazeer 2020, equation 6: the first half is the gate.
            Form::Swiglu => self.narrow(Activation::Swiglu, &wide),
            // So et al. 2021, Primer, section 4.
            Form::ReluSquared => self.narrow(Activation::ReluSquared, &wide),
        }
    }

    /// From wide rows (B, T, F or 2 F) to (B, T, C). Activation and output are one step, to save memory.
    fn narrow(&self, activation: Activation, wide: &Tensor) -> Tensor {
        observe::units(|| native::activated(activation, wide)); // (B, T, F)
        self.output.forward_activated(activation, wide)
    }
}
