//! How large the initial weights of a block are: the config names the rule, its documentation the sources.

use harness_core::config::{Initialization, ModelConfig};

/// Standard deviations of the initial matrices of one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviations {
    /// Of those that read the residual stream.
    pub reading: f64,
    /// Of the projections back into it.
    pub projecting: f64,
}

impl Deviations {
    /// Of block `number`, counted from 1.
    pub fn of_block(config: &ModelConfig, number: u32) -> Self {
        let deviation = config.initialization_deviation * config.hidden_deviation_ratio();
        let (reading, projecting) = match config.initialization {
            Initialization::Gpt2 => (1.0, 1.0 / f64::from(2 * config.layers).sqrt()),
            Initialization::DepthScaled => {
                let share = 1.0 / f64::from(number).sqrt();
                (share, share)
            }
            Initialization::Plain => (1.0, 1.0),
        };
        Deviations { reading: deviation * reading, projecting: deviation * projecting }
    }
}
