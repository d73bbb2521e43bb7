//! AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), in one fused pass over each
//! group. Matrices and embeddings are decayed; biases and norms, which have one dimension, are not.

use harness_core::config::OptimizerConfig;
use tch::{Kind, Tensor};

use super::Optimizer;
use crate::error::Error;
use crate::model::weights::Parameters;
use crate::native::{self, AdamwConstants};

/// Moments and constants.
pub struct Adamw {
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
    weight_decay: f64,
}

impl Adamw {
    /// Moments of 0, with the bias correction of `steps` updates done.
    pub fn new(config: &OptimizerConfig, parameters: &Parameters, steps: u64) -> Self {
        let group = |weight_decay: f64, belongs: fn(&Tensor) -> bool| {
            let places: Vec<usize> =
                (0..parameters.tensors().len()).filter(|&i| belongs(&parameters.tensors()[i])).collect();
            let members: Vec<Tensor> = places.iter().map(|&i| parameters.tensors()[i].shallow_clone()).collect();
            let zeros = || members.iter().map(|p| p.detach().zeros_like()).collect();
            let count = |p: &Tensor| Tensor::full([], steps as f64, (Kind::Float, p.device()));
            Group {
                names: places.iter().map(|&i| parameters.names()[i].clone()).collect(),
                first_moments: zeros(),
                second_moments: zeros(),
                steps: members.iter().map(count).collect(),
                parameters: members,
                places,
                weight_decay,
            }
        };
        let groups = vec![group(config.weight_decay, |p| p.dim() >= 2), group(0.0, |p| p.dim() < 2)];
        Adamw { config: config.clone(), groups }
    }
}

impl Optimizer for Adamw {
    fn step(&mut self, gradients: &[Tensor], divisor: &Tensor, learning_rate: f64) -> Result<(), Error> {
        for group in &self.groups {
            let gradients: Vec<Tensor> = group.places.iter().map(|&i| gradients[i].shallow_clone()).collect();
            let constants = AdamwConstants {
                learning_rate,
                beta1: self.config.beta1,
                beta2: self.config.beta2,
                weight_decay: group.weight_decay,
                epsilon: self.config.epsilon,
            };
            let (first, second) = (&group.first_moments, &group.second_moments);
            native::adamw(&group.parameters, &gradients, first, second, &group.steps, divisor, constants)?;
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
