//! How a branch joins the residual stream: where it is normalized, by what it is multiplied, and how two streams
//! are mixed. The config names the variants, its documentation the sources.

use harness_core::config::{ModelConfig, NormPlacement, ResidualScaling};
use tch::Tensor;

use super::norm::Norm;
use super::weights::Weights;

/// The way of one branch out of the residual stream and back. What is not there does nothing.
pub struct Branch {
    input_norm: Option<Norm>,
    output_norm: Option<Norm>,
    gain: Gain,
    sum_norm: Option<Norm>,
}

/// By what a branch is multiplied.
enum Gain {
    One,
    Fixed(f64),
    Learned(Tensor), // (C)
}

impl Branch {
    /// The weights around the branch `name`.
    pub fn new(config: &ModelConfig, name: &str, weights: &Weights<'_>) -> Self {
        let norm = Norm::new(config.norm, &format!("{name}_norm"), weights);
        let (input_norm, sum_norm) = match config.norm_placement {
            NormPlacement::Pre | NormPlacement::Sandwich => (Some(norm), None),
            NormPlacement::Post => (None, Some(norm)),
        };
        Branch {
            input_norm,
            output_norm: Norm::find(config.norm, &format!("{name}_output_norm"), weights),
            gain: match config.residual_scaling {
                ResidualScaling::None if config.mup_base_layers > 0 => Gain::Fixed(1.0 / config.depth_ratio()),
                ResidualScaling::None => Gain::One,
                ResidualScaling::Depth => Gain::Fixed(1.0 / f64::from(2 * config.layers).sqrt()),
                ResidualScaling::Learned => Gain::Learned(weights.get(&format!("{name}_gain"))),
            },
            sum_norm,
        }
    }

    /// What the branch reads of the stream, (B, T, C).
    pub fn input(&self, x: &Tensor) -> Tensor {
        normed(&self.input_norm, x.shallow_clone())
    }

    /// What it adds to the stream, from its output (B, T, C).
    pub fn output(&self, y: Tensor) -> Tensor {
        let y = normed(&self.output_norm, y);
        match &self.gain {
            Gain::One => y,
            Gain::Fixed(factor) => y * *factor,
            Gain::Learned(gain) => y * gain,
        }
    }

    /// What becomes of the sum, (B, T, C).
    pub fn sum(&self, x: Tensor) -> Tensor {
        normed(&self.sum_norm, x)
    }
}

fn normed(norm: &Option<Norm>, x: Tensor) -> Tensor {
    match norm {
        Some(norm) => norm.forward(&x),
        None => x,
    }
}

/// A learned mixture of two tensors of one shape: the first and second weight times the first and second of them.
pub struct Mixture {
    weights: Tensor, // (2)
}

impl Mixture {
    /// The mixture `name`, if the model has it.
    pub fn find(name: &str, weights: &Weights<'_>) -> Option<Self> {
        weights.find(name).map(|weights| Mixture { weights })
    }

    /// The mixture.
    pub fn of(&self, first: &Tensor, second: &Tensor) -> Tensor {
        first * self.weights.get(0) + second * self.weights.get(1)
    }
}
