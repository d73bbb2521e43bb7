//! Muon (Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks): the momentum of a matrix is
//! replaced by the nearest matrix with orthogonal rows or columns, so that all directions learn at one rate.
//! Embeddings, head, norms and biases are left to AdamW.
//!
//! The update is scaled by 0.2 sqrt(max(rows, columns)), which gives it the root mean square of an AdamW update, so
//! that both share the learning rate and the weight decay (Liu et al. 2025, Muon is Scalable for LLM Training, 2.2).

use harness_core::config::OptimizerConfig;
use tch::{Kind, Tensor};

use super::Optimizer;
use super::adamw::Adamw;
use crate::error::Error;
use crate::model::weights::Parameters;

/// Newton-Schulz iterations, and the coefficients of their polynomial, from Jordan et al. 2024.
const ITERATIONS: usize = 5;
const COEFFICIENTS: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);

/// Momentum for matrices, AdamW for the rest.
pub struct Muon {
    config: OptimizerConfig,
    /// Places of the matrices in the list of all parameters.
    places: Vec<usize>,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    moments: Vec<Tensor>,
    rest: Adamw,
}

impl Muon {
    /// Moments of 0; `steps` is for AdamW's bias correction.
    pub fn new(config: &OptimizerConfig, parameters: &Parameters, steps: u64) -> Self {
        let inside = |i: &usize| parameters.names()[*i].starts_with("blocks.") && parameters.tensors()[*i].dim() == 2;
        let (places, rest): (Vec<usize>, Vec<usize>) = (0..parameters.tensors().len()).partition(inside);
        let members: Vec<Tensor> = places.iter().map(|&i| parameters.tensors()[i].shallow_clone()).collect();
        Muon {
            config: config.clone(),
            names: places.iter().map(|&i| parameters.names()[i].clone()).collect(),
            moments: members.iter().map(|p| p.detach().zeros_like()).collect(),
            parameters: members,
            rest: Adamw::new(config, parameters, &rest, steps),
            places,
        }
    }
}

impl Optimizer for Muon {
    fn step(&mut self, gradients: &[Tensor], divisor: &Tensor, learning_rate: f64) -> Result<(), Error> {
        let momentum = self.config.momentum;
        tch::no_grad(|| {
            let matrices = self.parameters.iter_mut().zip(&mut self.moments).zip(&self.places);
            for ((parameter, moment), &place) in matrices {
                let gradient = &gradients[place] / divisor;
                *moment *= momentum;
                *moment += &gradient;
                let ahead = gradient + &*moment * momentum; // Nesterov's
                let longer = parameter.size().into_iter().max().unwrap_or(1) as f64;
                *parameter *= 1.0 - learning_rate * self.config.weight_decay;
                *parameter -= orthogonalized(&ahead) * (0.2 * longer.sqrt() * learning_rate);
            }
        });
        self.rest.step(gradients, divisor, learning_rate)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let named = self.names.iter().zip(&self.moments);
        let moments = named.map(|(name, moment)| (format!("first_moment.{name}"), moment.shallow_clone()));
        moments.chain(self.rest.state()).collect()
    }
}

/// U V^T of a matrix U S V^T, nearly: singular values end between about 0.7 and 1.2. Products in bfloat16, as in
/// the reference; float32 out.
fn orthogonalized(matrix: &Tensor) -> Tensor {
    let (rows, columns) = matrix.size2().expect("a matrix");
    let wide = if rows > columns { matrix.tr() } else { matrix.shallow_clone() };
    let mut x = (&wide / (wide.norm() + 1e-7)).to_kind(Kind::BFloat16);
    let (a, b, c) = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        let square = x.matmul(&x.tr()); // (small, small)
        let polynomial = &square * b + square.matmul(&square) * c;
        x = &x * a + polynomial.matmul(&x); // (small, large)
    }
    let x = x.to_kind(Kind::Float);
    if rows > columns { x.tr() } else { x }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn singular_values_become_about_one_and_directions_stay() {
        // Clearly rectangular, so that no random singular value lies near zero, where the iteration leaves it.
        for size in [[24, 60], [60, 24], [20, 80]] {
            let matrix = Tensor::randn(size, (Kind::Float, Device::Cpu));
            let (u, _, v) = matrix.svd(true, true);
            let exact = u.matmul(&v.tr());
            let ours = orthogonalized(&matrix);
            let (_, values, _) = ours.svd(true, true);
            let (least, most) = (values.min().double_value(&[]), values.max().double_value(&[]));
            assert!(least > 0.3 && most < 1.4, "{size:?}: {least} to {most}");
            let cosine = (&exact * &ours).sum(Kind::Float) / (exact.norm() * ours.norm());
            assert!(cosine.double_value(&[]) > 0.95, "{size:?}: {cosine:?}");
        }
    }
}
