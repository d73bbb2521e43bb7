//! How a branch joins the residual stream: where it is normalized, by what it is multiplied, and how two streams
//! are mixed. The config names the variants, its documentation the sources.

use harness_core::config::{ModelConfig, NormPlacement, ResidualScaling};
use tch::Tensor;

use super::drop_out;
use super::norm::Norm;
use super::weights::{Initial, Weights};

/// A learned gain of a branch begins here (Touvron et al. 2021, Going deeper with Image Transformers, section 2: 0.1
/// for up to 18 layers).
const FIRST_GAIN: f64 = 0.1;

/// The way of one branch out of the residual stream and back.
pub struct Branch {
    placement: NormPlacement,
    norm: Norm,
    output_norm: Option<Norm>,
    gain: Gain,
}

/// By what a branch is multiplied.
enum Gain {
    One,
    Fixed(f64),
    Learned(Tensor), // (C)
}

impl Branch {
    /// Names the weights; `name` is that of the branch.
    pub fn new(config: &ModelConfig, name: &str, weights: &mut dyn Weights) -> Self {
        let sandwich = config.norm_placement == NormPlacement::Sandwich;
        Branch {
            placement: config.norm_placement,
            norm: Norm::new(config, &format!("{name}_norm"), weights),
            output_norm: sandwich.then(|| Norm::new(config, &format!("{name}_output_norm"), weights)),
            gain: match config.residual_scaling {
                ResidualScaling::None => Gain::One,
                ResidualScaling::Depth => Gain::Fixed(1.0 / f64::from(2 * config.layers).sqrt()),
                ResidualScaling::Learned => {
                    let first = Initial::Constant(FIRST_GAIN);
                    Gain::Learned(weights.get(&format!("{name}_gain"), &[i64::from(config.width)], first))
                }
            },
        }
    }

    /// The residual stream with the branch added; (B, T, C) all the way.
    pub fn add_to(&self, x: &Tensor, compute: impl FnOnce(&Tensor) -> Tensor, dropout: f64) -> Tensor {
        let scaled = |y: Tensor| match &self.gain {
            Gain::One => y,
            Gain::Fixed(factor) => y * *factor,
            Gain::Learned(gain) => y * gain,
        };
        match self.placement {
            NormPlacement::Pre => x + drop_out(scaled(compute(&self.norm.forward(x))), dropout),
            NormPlacement::Post => self.norm.forward(&(x + drop_out(scaled(compute(x)), dropout))),
            NormPlacement::Sandwich => {
                let y = compute(&self.norm.forward(x));
                let y = self.output_norm.as_ref().map_or(y.shallow_clone(), |norm| norm.forward(&y));
                x + drop_out(scaled(y), dropout)
            }
        }
    }
}

/// A learned mixture of two tensors of one shape: the first and second weight times the first and second of them.
pub struct Mixture {
    weights: Tensor, // (2)
}

impl Mixture {
    /// Names the weights, which begin as `first` and `second`.
    pub fn new(name: &str, first: f64, second: f64, weights: &mut dyn Weights) -> Self {
        Mixture { weights: weights.get(name, &[2], Initial::Pair(first, second)) }
    }

    /// The mixture.
    pub fn of(&self, first: &Tensor, second: &Tensor) -> Tensor {
        first * self.weights.get(0) + second * self.weights.get(1)
    }
}
