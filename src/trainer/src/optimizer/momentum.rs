//! Rules with one moment: SGD with momentum, and Lion.

use harness_core::config::{OptimizerConfig, UpdateRule};
use tch::Tensor;

use super::{Optimizer, decay};
use crate::error::Error;
use crate::model::weights::Parameters;

/// What is done with the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Loshchilov and Hutter 2019, algorithm 1 (SGDW), without dampening.
    Sgd,
    /// Chen et al. 2023, algorithm 2.
    Lion,
}

/// One moment per parameter.
pub(super) struct Momentum {
    rule: Rule,
    config: OptimizerConfig,
    /// Places of its parameters in the list of all.
    places: Vec<usize>,
    /// How each of them is updated.
    updates: Vec<UpdateRule>,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    moments: Vec<Tensor>,
}

impl Momentum {
    /// Moments of 0.
    pub(super) fn new(
        rule: Rule,
        config: &OptimizerConfig,
        parameters: &Parameters,
        rules: &[UpdateRule],
        places: &[usize],
    ) -> Self {
        let members: Vec<Tensor> = places.iter().map(|&i| parameters.tensors()[i].shallow_clone()).collect();
        Momentum {
            rule,
            config: config.clone(),
            updates: places.iter().map(|&i| rules[i]).collect(),
            names: places.iter().map(|&i| parameters.specs()[i].name.clone()).collect(),
            moments: members.iter().map(|p| p.detach().zeros_like()).collect(),
            parameters: members,
            places: places.to_vec(),
        }
    }
}

impl Optimizer for Momentum {
    fn step(&mut self, gradients: &[Tensor], divisor: &Tensor, learning_rate: f64) -> Result<(), Error> {
        let OptimizerConfig { beta1, beta2, momentum, .. } = self.config;
        tch::no_grad(|| {
            let with_moments = self.parameters.iter_mut().zip(&mut self.moments);
            for (((parameter, moment), &place), rule) in with_moments.zip(&self.places).zip(&self.updates) {
                let rate = learning_rate * rule.learning_rate_ratio;
                let gradient = &gradients[place] / divisor;
                let update = match self.rule {
                    Rule::Sgd => {
                        *moment *= momentum;
                        *moment += &gradient;
                        moment.shallow_clone()
                    }
                    Rule::Lion => {
                        let update = (&*moment * beta1 + &gradient * (1.0 - beta1)).sign();
                        *moment *= beta2;
                        *moment += gradient * (1.0 - beta2);
                        update
                    }
                };
                decay(parameter, &update, rate * rule.weight_decay, self.config.cautious_weight_decay);
                *parameter -= update * rate;
            }
        });
        Ok(())
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let named = self.names.iter().zip(&self.moments);
        named.map(|(name, moment)| (format!("first_moment.{name}"), moment.shallow_clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use harness_core::config::{ModelConfig, OptimizerKind, ParameterGroup};
    use tch::{Device, Kind};

    use super::*;
    use crate::optimizer::build_all;

    /// Two steps of each rule against the published algorithm, in float64 and value by value.
    #[test]
    fn updates_are_the_published_ones() {
        let config = ModelConfig { layers: 1, heads: 1, width: 4, context_length: 4, ..ModelConfig::default() };
        for rule in [Rule::Sgd, Rule::Lion] {
            let parameters = Parameters::initialize(&config, 10, 1, Device::Cpu);
            let kind = if rule == Rule::Sgd { OptimizerKind::Sgd } else { OptimizerKind::Lion };
            let group = ParameterGroup {
                pattern: "blocks.*.attention.*".to_owned(),
                learning_rate_ratio: 3.0,
                weight_decay: None,
            };
            let constants =
                OptimizerConfig { kind, weight_decay: 0.2, group: vec![group], ..OptimizerConfig::default() };
            let mut optimizer = build_all(&constants, &config, &parameters);
            let values = |t: &Tensor| Vec::<f64>::try_from(t.detach().to_kind(Kind::Double).view([-1])).unwrap();
            let mut expected: Vec<Vec<f64>> = parameters.tensors().iter().map(values).collect();
            let mut moments: Vec<Vec<f64>> = expected.iter().map(|p| vec![0.0; p.len()]).collect();
            for _ in 0..2 {
                let gradients: Vec<Tensor> = parameters.tensors().iter().map(|p| p.detach().randn_like()).collect();
                for (i, gradient) in gradients.iter().enumerate() {
                    let rate = if parameters.specs()[i].name.contains(".attention.") { 0.03 } else { 0.01 };
                    let decay = if gradient.dim() >= 2 { 0.2 } else { 0.0 };
                    for (j, g) in values(gradient).into_iter().map(|g| g / 2.0).enumerate() {
                        let (p, m) = (&mut expected[i][j], &mut moments[i][j]);
                        let update = match rule {
                            Rule::Sgd => {
                                *m = 0.95 * *m + g;
                                *m
                            }
                            Rule::Lion => {
                                let update = (0.9 * *m + 0.1 * g).signum();
                                *m = 0.95 * *m + 0.05 * g;
                                update
                            }
                        };
                        *p -= rate * (update + decay * *p);
                    }
                }
                let two = Tensor::full([], 2.0, (Kind::Float, Device::Cpu));
                optimizer.step(&gradients, &two, 0.01).unwrap();
            }
            for ((name, ours), theirs) in parameters.named().zip(&expected) {
                let largest = values(ours).iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(largest < 1e-6, "{rule:?}, {name}: {largest}");
            }
        }
    }
}
