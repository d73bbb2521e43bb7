//! From gradients to updates. Each rule owns its state as plain tensors, so that a checkpoint can hold them.

mod adamw;
mod momentum;
mod muon;

use harness_core::config::{ModelConfig, OptimizerConfig, OptimizerKind, UpdateRule};
use tch::{Kind, Tensor};

use crate::error::Error;
use crate::model::weights::Parameters;

/// An update rule.
pub trait Optimizer {
    /// Updates its parameters in place, each from its gradient divided by `divisor` (shape ()); `gradients` are those of all.
    fn step(&mut self, gradients: &[Tensor], divisor: &Tensor, learning_rate: f64) -> Result<(), Error>;

    /// The state by name, for checkpoints: names end in the parameter's.
    fn state(&self) -> Vec<(String, Tensor)>;
}

/// The rule that the config names, over those of the `parameters` of `model` at these places in their list, with fresh state
/// as after `steps` updates.
pub fn build(
    config: &OptimizerConfig,
    model: &ModelConfig,
    parameters: &Parameters,
    places: &[usize],
    steps: u64,
) -> Box<dyn Optimizer> {
    let rules = rules(config, model, parameters);
    let momentum = |rule| Box::new(momentum::Momentum::new(rule, config, parameters, &rules, places));
    match config.kind {
        OptimizerKind::Adamw => Box::new(adamw::Adamw::new(config, parameters, &rules, places, steps)),
        OptimizerKind::Lion => momentum(momentum::Rule::Lion),
        OptimizerKind::Sgd => momentum(momentum::Rule::Sgd),
        OptimizerKind::Muon | OptimizerKind::Normuon => {
            Box::new(muon::Muon::new(config, parameters, &rules, places, steps))
        }
    }
}

/// Takes the share `share` off a parameter (outside of autograd) that `update` will be subtracted from. With `cautious`, only
/// off the weights that the update moves towards zero too: Chen et al. 2025, Cautious Weight Decay, algorithm 1.
fn decay(parameter: &mut Tensor, update: &Tensor, share: f64, cautious: bool) {
    if cautious {
        *parameter *= agreeing(update, parameter) * -share + 1.0;
    } else {
        *parameter *= 1.0 - share;
    }
}

/// 1 where an update that will be subtracted moves a weight towards zero, else 0.
fn agreeing(update: &Tensor, parameter: &Tensor) -> Tensor {
    (update * parameter).ge(0.0).to_kind(Kind::Float)
}

/// How each parameter is updated, in the order of the parameters.
fn rules(config: &OptimizerConfig, model: &ModelConfig, parameters: &Parameters) -> Vec<UpdateRule> {
    parameters.specs().iter().map(|tensor| config.update_rule(model, tensor)).collect()
}

/// The same over all parameters, with fresh state.
#[cfg(test)]
pub(crate) fn build_all(config: &OptimizerConfig, model: &ModelConfig, parameters: &Parameters) -> Box<dyn Optimizer> {
    let all: Vec<usize> = (0..parameters.tensors().len()).collect();
    build(config, model, parameters, &all, 0)
}

#[cfg(test)]
mod tests {
    use harness_core::config::Orthogonalization;
    use tch::Device;

    use super::*;

    /// All parameters' updates together are those of two optimizers that have some each, bit by bit, for every rule.
    #[test]
    fn parameters_are_updated_alike_whatever_else_the_optimizer_updates() {
        let model = ModelConfig { layers: 2, heads: 2, width: 16, context_length: 4, ..ModelConfig::default() };
        use OptimizerKind as K;
        for kind in [K::Adamw, K::Lion, K::Sgd, K::Muon, K::Normuon] {
            let config = OptimizerConfig { kind, weight_decay: 0.5, ..OptimizerConfig::default() };
            let updated = |shares: &[&dyn Fn(usize) -> bool]| {
                let parameters = Parameters::initialize(&model, 10, 1, Device::Cpu);
                let count = parameters.tensors().len();
                let places = |has: &&dyn Fn(usize) -> bool| (0..count).filter(|&i| has(i)).collect::<Vec<_>>();
                let mut all: Vec<_> =
                    shares.iter().map(|has| build(&config, &model, &parameters, &places(has), 0)).collect();
                tch::manual_seed(3);
                let divisor = Tensor::full([], 3.0, (Kind::Float, Device::Cpu));
                for _ in 0..3 {
                    let gradients: Vec<Tensor> = parameters.tensors().iter().map(|p| p.detach().randn_like()).collect();
                    all.iter_mut().for_each(|one| one.step(&gradients, &divisor, 0.01).unwrap());
                }
                let mut state: Vec<_> = all.iter().flat_map(|one| one.state()).collect();
                state.sort_by(|a, b| a.0.cmp(&b.0));
                (parameters, state)
            };
            let (whole, state) = updated(&[&|_| true]);
            let (shared, state_of_shares) = updated(&[&|i| i % 3 == 1, &|i| i % 3 != 1]);
            for ((name, one), (_, other)) in whole.named().zip(shared.named()) {
                assert!(one.equal(other), "{kind:?}, {name}");
            }
            assert_eq!(state, state_of_shares, "{kind:?}");
            // What the memory of a run is predicted by.
            let moments: u64 = whole.specs().iter().map(|tensor| config.moments(tensor)).sum();
            assert_eq!(state.iter().map(|(_, t)| t.numel() as u64).sum::<u64>(), moments, "{kind:?}");
        }
    }

    /// With cautious decay each weight ends where it would without decay, less its share where the update moved it towards
    /// zero, for every rule.
    #[test]
    fn cautious_decay_takes_off_what_the_update_takes_off_too() {
        let model = ModelConfig { layers: 1, heads: 2, width: 16, context_length: 4, ..ModelConfig::default() };
        use OptimizerKind as K;
        for kind in [K::Adamw, K::Lion, K::Sgd, K::Muon, K::Normuon] {
            let orthogonalization = Orthogonalization::default();
            let after = |weight_decay, cautious_weight_decay| {
                let parameters = Parameters::initialize(&model, 10, 1, Device::Cpu);
                let config = OptimizerConfig {
                    kind,
                    weight_decay,
                    cautious_weight_decay,
                    orthogonalization,
                    ..OptimizerConfig::default()
                };
                let before: Vec<Tensor> = parameters.tensors().iter().map(|p| p.detach().copy()).collect();
                let mut optimizer = build_all(&config, &model, &parameters);
                tch::manual_seed(3);
                let gradients: Vec<Tensor> = before.iter().map(Tensor::randn_like).collect();
                let one = Tensor::full([], 1.0, (Kind::Float, Device::Cpu));
                optimizer.step(&gradients, &one, 0.01).unwrap();
                let specs = parameters.specs().to_vec();
                (specs, before, parameters.copy())
            };
            let ((specs, before, plain), (_, _, cautious), (_, _, full)) =
                (after(0.0, false), after(0.5, true), after(0.5, false));
            for (i, spec) in specs.iter().enumerate() {
                let update = &before[i] - &plain.tensors()[i];
                let decayed = (&update * &before[i]).ge(0.0).to_kind(Kind::Float);
                let share = if spec.shape.len() > 1 { 0.005 } else { 0.0 };
                let expected = &plain.tensors()[i] - &before[i] * &decayed * share;
                let difference = (&cautious.tensors()[i] - expected).abs().max().double_value(&[]);
                assert!(difference < 1e-6, "{kind:?}, {}: {difference}", spec.name);
                if share > 0.0 {
                    let part = decayed.mean(Kind::Float).double_value(&[]);
                    assert!(part > 0.2 && part < 0.8, "{kind:?}, {}: {part}", spec.name);
                    assert!(!cautious.tensors()[i].equal(&full.tensors()[i]), "{kind:?}, {}", spec.name);
                }
            }
        }
    }
}
