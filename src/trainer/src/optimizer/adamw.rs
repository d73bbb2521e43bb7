//! AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), in one fused pass over each
//! group of parameters that share learning rate and decay.

use harness_core::config::{OptimizerConfig, UpdateRule};
use tch::{Kind, Tensor};

use super::{Optimizer, agreeing};
use crate::error::Error;
use crate::model::weights::Parameters;
use crate::native::{self, AdamwConstants};

/// Moments and constants.
pub(super) struct Adamw {
    config: OptimizerConfig,
    groups: Vec<Group>,
}

struct Group {
    /// Places of the group's parameters in the list of all.
    places: Vec<usize>,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    first_moments: Vec<Tensor>,
    second_moments: Vec<Tensor>,
    /// Updates so far, as the fused kernel wants them: one float32 scalar per parameter.
    steps: Vec<Tensor>,
    rule: UpdateRule,
}

impl Adamw {
    /// Moments of 0 for the parameters at `places`, with the bias correction of `steps` updates done.
    pub(super) fn new(
        config: &OptimizerConfig,
        parameters: &Parameters,
        rules: &[UpdateRule],
        places: &[usize],
        steps: u64,
    ) -> Self {
        let group = |rule: UpdateRule| {
            let places: Vec<usize> = places.iter().copied().filter(|&i| rules[i] == rule).collect();
            let members = parameters.at(&places);
            let zeros = || members.iter().map(|p| p.detach().zeros_like()).collect();
            let count = |p: &Tensor| Tensor::full([], steps as f64, (Kind::Float, p.device()));
            Group {
                names: places.iter().map(|&i| parameters.specs()[i].name.clone()).collect(),
                first_moments: zeros(),
                second_moments: zeros(),
                steps: members.iter().map(count).collect(),
                parameters: members,
                places,
                rule,
            }
        };
        let mut different: Vec<UpdateRule> = Vec::new();
        for &i in places {
            if !different.contains(&rules[i]) {
                different.push(rules[i]);
            }
        }
        Adamw { config: config.clone(), groups: different.into_iter().map(group).collect() }
    }
}

impl Optimizer for Adamw {
    fn step(&mut self, gradients: &[Tensor], divisor: &Tensor, learning_rate: f64) -> Result<(), Error> {
        for group in &self.groups {
            let gradients: Vec<Tensor> = group.places.iter().map(|&i| gradients[i].shallow_clone()).collect();
            // The sign of the update, that of its first moment, is known only when the fused pass is over.
            let late = self.config.cautious_weight_decay && group.rule.weight_decay > 0.0;
            let before: Vec<Tensor> = group.parameters.iter().filter(|_| late).map(|p| p.detach().copy()).collect();
            let constants = AdamwConstants {
                learning_rate: learning_rate * group.rule.learning_rate_ratio,
                beta1: self.config.beta1,
                beta2: self.config.beta2,
                weight_decay: if late { 0.0 } else { group.rule.weight_decay },
                epsilon: self.config.epsilon * group.rule.epsilon_ratio,
            };
            let (first, second) = (&group.first_moments, &group.second_moments);
            native::adamw(&group.parameters, &gradients, first, second, &group.steps, divisor, constants)?;
            let share = constants.learning_rate * group.rule.weight_decay;
            tch::no_grad(|| {
                for ((parameter, moment), before) in group.parameters.iter().zip(first).zip(before) {
                    let mut parameter = parameter.shallow_clone();
                    parameter -= agreeing(moment, &before) * before * share;
                }
            });
        }
        Ok(())
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = Vec::new();
        for group in &self.groups {
            for (i, name) in group.names.iter().enumerate() {
                state.push((format!("first_moment.{name}"), group.first_moments[i].shallow_clone()));
                state.push((format!("second_moment.{name}"), group.second_moments[i].shallow_clone()));
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use harness_core::config::{ModelConfig, ParameterGroup};
    use tch::Device;

    use super::*;
    use crate::optimizer::build_all;

    /// Algorithm 2 of the paper in float64, with the gradient clipped as torch does.
    #[test]
    fn the_fused_update_is_the_textbook_update() {
        let config = ModelConfig { layers: 1, heads: 1, width: 8, context_length: 4, ..ModelConfig::default() };
        let parameters = Parameters::initialize(&config, 10, 1, Device::Cpu);
        let group = |pattern: &str, learning_rate_ratio, weight_decay| ParameterGroup {
            pattern: pattern.to_owned(),
            learning_rate_ratio,
            weight_decay,
        };
        let rule = OptimizerConfig {
            gradient_clip_norm: 0.5,
            weight_decay: 0.3,
            group: vec![group("*_embedding", 0.5, None), group("*.bias", 2.0, Some(0.1))],
            ..OptimizerConfig::default()
        };
        let mut adamw = build_all(&rule, &config, &parameters);
        let double = |t: &Tensor| t.detach().to_kind(Kind::Double);
        let mut expected: Vec<Tensor> = parameters.tensors().iter().map(|p| double(p).copy()).collect();
        let mut first: Vec<Tensor> = expected.iter().map(Tensor::zeros_like).collect();
        let mut second: Vec<Tensor> = expected.iter().map(Tensor::zeros_like).collect();
        for t in 1..=5 {
            let gradients: Vec<Tensor> = parameters.tensors().iter().map(|p| p.detach().randn_like()).collect();
            let rate = 0.01 * f64::from(t);
            let norm =
                gradients.iter().map(|g| double(g).square().sum(Kind::Double).double_value(&[])).sum::<f64>().sqrt();
            let scaled = native::gradient_norm(&gradients, rule.gradient_clip_norm).unwrap();
            assert!((scaled.norm.double_value(&[]) - norm).abs() < 1e-5 * norm);
            for (i, gradient) in gradients.iter().enumerate() {
                let name = &parameters.specs()[i].name;
                let (ratio, own_decay) = match name {
                    _ if name.ends_with("_embedding") => (0.5, None),
                    _ if name.ends_with(".bias") => (2.0, Some(0.1)),
                    _ => (1.0, None),
                };
                let g = double(gradient) * (rule.gradient_clip_norm / norm).min(1.0);
                first[i] = &first[i] * rule.beta1 + &g * (1.0 - rule.beta1);
                second[i] = &second[i] * rule.beta2 + &g * &g * (1.0 - rule.beta2);
                let corrected_first = &first[i] / (1.0 - libm::pow(rule.beta1, f64::from(t)));
                let corrected_second = &second[i] / (1.0 - libm::pow(rule.beta2, f64::from(t)));
                let decay = own_decay.unwrap_or(if gradient.dim() >= 2 { rule.weight_decay } else { 0.0 });
                let update = corrected_first / (corrected_second.sqrt() + rule.epsilon) + &expected[i] * decay;
                expected[i] = &expected[i] - update * (rate * ratio);
            }
            adamw.step(&gradients, &scaled.divisor, rate).unwrap();
        }
        for ((name, ours), theirs) in parameters.named().zip(&expected) {
            let difference = (double(ours) - theirs).abs().max().double_value(&[]);
            assert!(difference < 2e-6, "{name}: {difference}");
        }
    }

    #[test]
    fn a_clip_norm_of_zero_never_clips() {
        let gradients = [Tensor::from_slice(&[300.0f32, 400.0])];
        let found = native::gradient_norm(&gradients, 0.0).unwrap();
        assert_eq!((found.norm.double_value(&[]), found.divisor.double_value(&[])), (500.0, 1.0));
    }
}
