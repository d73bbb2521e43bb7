//! From gradients to updates. Each rule owns its state as plain tensors, so that a checkpoint can hold them.

mod adamw;
mod momentum;
mod muon;

use harness_core::config::{OptimizerConfig, OptimizerKind};
use tch::Tensor;

use crate::error::Error;
use crate::model::weights::Parameters;

/// An update rule.
pub trait Optimizer {
    /// Updates every parameter in place from its gradient divided by `divisor` (shape ()).
    fn step(&mut self, gradients: &[Tensor], divisor: &Tensor, learning_rate: f64) -> Result<(), Error>;

    /// The state by name, for checkpoints: names end in the parameter's.
    fn state(&self) -> Vec<(String, Tensor)>;
}

/// The rule that the config names, over `parameters`, with fresh state as after `steps` updates.
pub fn build(config: &OptimizerConfig, parameters: &Parameters, steps: u64) -> Box<dyn Optimizer> {
    let all: Vec<usize> = (0..parameters.tensors().len()).collect();
    match config.kind {
        OptimizerKind::Adamw => Box::new(adamw::Adamw::new(config, parameters, &all, steps)),
        OptimizerKind::Lion => Box::new(momentum::Momentum::new(momentum::Rule::Lion, config, parameters)),
        OptimizerKind::Sgd => Box::new(momentum::Momentum::new(momentum::Rule::Sgd, config, parameters)),
        OptimizerKind::Muon => Box::new(muon::Muon::new(config, parameters, steps)),
    }
}
