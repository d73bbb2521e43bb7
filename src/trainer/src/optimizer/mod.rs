//! From gradients to updates. Each rule owns its state as plain tensors, so that a checkpoint can hold them.

mod adamw;
mod momentum;
mod muon;

use harness_core::config::{ModelConfig, OptimizerConfig, OptimizerKind, UpdateRule};
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

/// The rule that the config names, over the `parameters` of `model`, with fresh state as after `steps` updates.
pub fn build(config: &OptimizerConfig, model: &ModelConfig, parameters: &Parameters, steps: u64) -> Box<dyn Optimizer> {
    let all: Vec<usize> = (0..parameters.tensors().len()).collect();
    let rules = rules(config, model, parameters);
    match config.kind {
        OptimizerKind::Adamw => Box::new(adamw::Adamw::new(config, parameters, &rules, &all, steps)),
        OptimizerKind::Lion => Box::new(momentum::Momentum::new(momentum::Rule::Lion, config, parameters, rules)),
        OptimizerKind::Sgd => Box::new(momentum::Momentum::new(momentum::Rule::Sgd, config, parameters, rules)),
        OptimizerKind::Muon => Box::new(muon::Muon::new(config, parameters, &rules, steps)),
    }
}

/// How each parameter is updated, in the order of the parameters.
fn rules(config: &OptimizerConfig, model: &ModelConfig, parameters: &Parameters) -> Vec<UpdateRule> {
    parameters.specs().iter().map(|tensor| config.update_rule(model, tensor)).collect()
}
