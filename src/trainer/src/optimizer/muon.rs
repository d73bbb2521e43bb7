//! Muon (Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks): the momentum of a matrix is
//! replaced by the nearest matrix with orthogonal rows or columns, so that all directions learn at one rate.
//! Embeddings, head, norms and biases are left to AdamW.
//!
//! The update is scaled by 0.2 sqrt(max(rows, columns)), which gives it the root mean square of an AdamW update, so
//! that both share the learning rate and the weight decay (Liu et al. 2025, Muon is Scalable for LLM Training, 2.2).

use harness_core::config::{OptimizerConfig, Role, UpdateRule};
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
    /// How each matrix is updated.
    updates: Vec<UpdateRule>,
    rest: Adamw,
}

impl Muon {
    /// Moments of 0; `steps` is for AdamW's bias correction.
    pub fn new(config: &OptimizerConfig, parameters: &Parameters, rules: &[UpdateRule], steps: u64) -> Self {
        let inside = |i: &usize| parameters.specs()[*i].role == Role::Hidden;
        let (places, rest): (Vec<usize>, Vec<usize>) = (0..parameters.tensors().len()).partition(inside);
        let members: Vec<Tensor> = places.iter().map(|&i| parameters.tensors()[i].shallow_clone()).collect();
        Muon {
            config: config.clone(),
            names: places.iter().map(|&i| parameters.specs()[i].name.clone()).collect(),
            moments: members.iter().map(|p| p.detach().zeros_like()).collect(),
            parameters: members,
            updates: places.iter().map(|&i| rules[i]).collect(),
            rest: Adamw::new(config, parameters, rules, &rest, steps),
            places,
        }
    }
}

impl Optimizer for Muon {
    fn step(&mut self, gradients: &[Tensor], divisor: &Tensor, learning_rate: f64) -> Result<(), Error> {
        let momentum = self.config.momentum;
        tch::no_grad(|| {
            let matrices = self.parameters.iter_mut().zip(&mut self.moments).zip(&self.places).zip(&self.updates);
            for (((parameter, moment), &place), rule) in matrices {
                let rate = learning_rate * rule.learning_rate_ratio;
                let gradient = &gradients[place] / divisor;
                *moment *= momentum;
                *moment += &gradient;
                let ahead = gradient + &*moment * momentum; // Nesterov's
                let longer = parameter.size().into_iter().max().unwrap_or(1) as f64;
                *parameter *= 1.0 - rate * rule.weight_decay;
                *parameter -= orthogonalized(&ahead) * (0.2 * longer.sqrt() * rate);
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
    use harness_core::config::{ModelConfig, OptimizerKind};
    use tch::Device;

    use super::*;
    use crate::optimizer::build;

    /// Three steps against the algorithm of Jordan et al. 2024 with the scale of Liu et al. 2025, written with the
    /// exact iteration in float64; what is left to AdamW moves by the learning rate in the first step.
    #[test]
    fn matrices_follow_the_published_update_and_the_rest_adamw() {
        let config = ModelConfig { layers: 1, heads: 1, width: 16, context_length: 4, ..ModelConfig::default() };
        let parameters = Parameters::initialize(&config, 10, 1, Device::Cpu);
        let rule = OptimizerConfig { kind: OptimizerKind::Muon, weight_decay: 0.2, ..OptimizerConfig::default() };
        let mut muon = build(&rule, &config, &parameters, 0);
        let double = |t: &Tensor| t.detach().to_kind(Kind::Double);
        let polynomial = |matrix: &Tensor| {
            let wide = matrix.size()[0] <= matrix.size()[1];
            let mut x = if wide { matrix.copy() } else { matrix.tr().copy() };
            x = &x / x.norm();
            for _ in 0..5 {
                let a = x.matmul(&x.tr());
                x = &x * 3.4445 + (&a * -4.7750 + a.matmul(&a) * 2.0315).matmul(&x);
            }
            if wide { x } else { x.tr() }
        };
        let mut expected: Vec<Tensor> = parameters.tensors().iter().map(|p| double(p).copy()).collect();
        let mut moments: Vec<Tensor> = expected.iter().map(Tensor::zeros_like).collect();
        for step in 0..3 {
            let gradients: Vec<Tensor> = parameters.tensors().iter().map(|p| p.detach().randn_like()).collect();
            let before: Vec<Tensor> = parameters.tensors().iter().map(|p| double(p).copy()).collect();
            for (i, gradient) in gradients.iter().map(double).enumerate() {
                moments[i] = &moments[i] * 0.95 + &gradient;
                if parameters.specs()[i].name.starts_with("blocks.") && gradient.dim() == 2 {
                    let longer = gradient.size().into_iter().max().unwrap() as f64;
                    let update = polynomial(&(gradient + &moments[i] * 0.95)) * (0.2 * longer.sqrt());
                    expected[i] = &expected[i] * (1.0 - 0.01 * 0.2) - update * 0.01;
                }
            }
            let one = Tensor::full([], 1.0, (Kind::Float, Device::Cpu));
            muon.step(&gradients, &one, 0.01).unwrap();
            for (i, (name, ours)) in parameters.named().enumerate() {
                if name.starts_with("blocks.") && ours.dim() == 2 {
                    // The iteration runs in bfloat16: an update of 0.01 is exact to some percent.
                    let difference = (double(ours) - &expected[i]).abs().max().double_value(&[]);
                    assert!(difference < 1e-3 * f64::from(step + 1), "{name}, step {step}: {difference}");
                } else if step == 0 {
                    let moved = (double(ours) - &before[i] * (1.0 - if ours.dim() == 2 { 0.002 } else { 0.0 })).abs();
                    assert!((moved - 0.01).abs().max().double_value(&[]) < 1e-5, "{name}");
                }
            }
        }
    }

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
