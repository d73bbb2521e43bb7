//! Muon (Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks): the momentum of a matrix is
//! replaced by the nearest matrix with orthogonal rows or columns, so that all directions learn at one rate.
//! Embeddings, head, norms and biases are left to AdamW.
//!
//! NorMuon (Li et al. 2025, NorMuon: Making Muon more efficient and scalable, algorithm 1) divides each row of the result, the
//! weights of one neuron, by the root of a running mean of its squares, so that no neuron learns much faster than others.
//!
//! The update is scaled by 0.2 sqrt(max(rows, columns)), which gives it the root mean square of an AdamW update, so
//! that both share the learning rate and the weight decay (Liu et al. 2025, Muon is Scalable for LLM Training, 2.2).

use harness_core::config::{OptimizerConfig, OptimizerKind, Orthogonalization, Role, UpdateRule};
use tch::{Kind, Tensor};

use super::adamw::Adamw;
use super::{Optimizer, decay};
use crate::error::Error;
use crate::model::weights::Parameters;

/// The coefficients a, b, c of the polynomials a x + b x^3 + c x^5, one for each iteration.
type Polynomials = [(f64, f64, f64); 5];
/// From Jordan et al. 2024.
const NEWTON_SCHULZ: Polynomials = [(3.4445, -4.7750, 2.0315); 5];
/// From Amsel et al. 2025, algorithm 1: the first five, each best for singular values that the ones before have brought
/// closer to 1, from 0.001 on.
const POLAR_EXPRESS: Polynomials = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
];
/// By so much a matrix is made smaller for each polynomial of Polar Express, so that rounding in bfloat16 does not carry a
/// singular value out of its range (the same algorithm).
const SAFETY: f64 = 1.01;
/// Added to what NorMuon divides by.
const EPSILON: f64 = 1e-10;

/// Momentum for matrices, AdamW for the rest.
pub(super) struct Muon {
    config: OptimizerConfig,
    /// Places of the matrices in the list of all parameters.
    places: Vec<usize>,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    moments: Vec<Tensor>,
    /// Mean squares of the rows, (rows, 1): of NorMuon alone.
    row_moments: Vec<Tensor>,
    /// How each matrix is updated.
    updates: Vec<UpdateRule>,
    rest: Adamw,
}

impl Muon {
    /// Moments of 0 for the parameters at `places`; `steps` is for AdamW's bias correction.
    pub(super) fn new(
        config: &OptimizerConfig,
        parameters: &Parameters,
        rules: &[UpdateRule],
        places: &[usize],
        steps: u64,
    ) -> Self {
        let inside = |i: &usize| parameters.specs()[*i].role == Role::Hidden;
        let (places, rest): (Vec<usize>, Vec<usize>) = places.iter().copied().partition(inside);
        let members = parameters.at(&places);
        let by_neuron = config.kind == OptimizerKind::Normuon;
        Muon {
            config: config.clone(),
            row_moments: members
                .iter()
                .filter(|_| by_neuron)
                .map(|p| p.detach().narrow(1, 0, 1).zeros_like())
                .collect(),
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
        let OptimizerConfig { momentum, beta2, orthogonalization, cautious_weight_decay, .. } = self.config;
        tch::no_grad(|| {
            let matrices = self.parameters.iter_mut().zip(&mut self.moments).zip(&self.places).zip(&self.updates);
            for (i, (((parameter, moment), &place), rule)) in matrices.enumerate() {
                let rate = learning_rate * rule.learning_rate_ratio;
                let gradient = &gradients[place] / divisor;
                *moment *= momentum;
                *moment += &gradient;
                let ahead = gradient + &*moment * momentum; // Nesterov's
                let update = orthogonalized(&ahead, orthogonalization);
                let (update, size) = match self.row_moments.get_mut(i) {
                    Some(row_moment) => (normalized(update, row_moment, beta2), 0.2),
                    None => {
                        let longer = parameter.size().into_iter().max().unwrap_or(1) as f64;
                        (update, 0.2 * longer.sqrt())
                    }
                };
                decay(parameter, &update, rate * rule.weight_decay, cautious_weight_decay);
                *parameter -= update * (size * rate);
            }
        });
        self.rest.step(gradients, divisor, learning_rate)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let named = self.names.iter().zip(&self.moments);
        let moments = named.map(|(name, moment)| (format!("first_moment.{name}"), moment.shallow_clone()));
        let named = self.names.iter().zip(&self.row_moments);
        let rows = named.map(|(name, moment)| (format!("second_moment.{name}"), moment.shallow_clone()));
        moments.chain(rows).chain(self.rest.state()).collect()
    }
}

/// The step of NorMuon from an orthogonalized update: each row over the root of its running mean square, with a root mean
/// square of 1 altogether.
fn normalized(update: Tensor, row_moment: &mut Tensor, beta2: f64) -> Tensor {
    let squares = update.square().mean_dim(1, true, Kind::Float); // (rows, 1)
    *row_moment *= beta2;
    *row_moment += squares * (1.0 - beta2);
    let step = update / (row_moment.sqrt() + EPSILON);
    let size = step.square().mean(Kind::Float).sqrt() + EPSILON;
    step / size
}

/// U V^T of a matrix U S V^T, nearly: with the polynomial of Newton-Schulz, singular values end between about 0.7 and 1.2.
/// Products in bfloat16, as in the references; float32 out.
fn orthogonalized(matrix: &Tensor, how: Orthogonalization) -> Tensor {
    let (rows, columns) = matrix.size2().expect("a matrix");
    let wide = if rows > columns { matrix.tr() } else { matrix.shallow_clone() };
    let x = &wide / (wide.norm() * safety(how) + 1e-7);
    let x = iterated(x.to_kind(Kind::BFloat16), how).to_kind(Kind::Float);
    if rows > columns { x.tr() } else { x }
}

/// By what a matrix is made smaller before each polynomial.
fn safety(how: Orthogonalization) -> f64 {
    match how {
        Orthogonalization::NewtonSchulz => 1.0,
        Orthogonalization::PolarExpress => SAFETY,
    }
}

/// The polynomials of a matrix (small, large), one after the other, in its data type.
fn iterated(mut x: Tensor, how: Orthogonalization) -> Tensor {
    let polynomials = match how {
        Orthogonalization::NewtonSchulz => NEWTON_SCHULZ,
        Orthogonalization::PolarExpress => POLAR_EXPRESS,
    };
    let safety = safety(how);
    for (a, b, c) in polynomials {
        let (a, b, c) = (a / safety, b / libm::pow(safety, 3.0), c / libm::pow(safety, 5.0));
        let square = x.matmul(&x.tr()); // (small, small)
        let polynomial = &square * b + square.matmul(&square) * c;
        x = &x * a + polynomial.matmul(&x); // (small, large)
    }
    x
}

#[cfg(test)]
mod tests {
    use harness_core::config::{ModelConfig, OptimizerKind};
    use tch::Device;

    use super::*;
    use crate::optimizer::build_all;

    /// Three steps against the algorithm of Jordan et al. 2024 with the scale of Liu et al. 2025, written with the
    /// exact iteration in float64; what is left to AdamW moves by the learning rate in the first step.
    #[test]
    fn matrices_follow_the_published_update_and_the_rest_adamw() {
        let config = ModelConfig { layers: 1, heads: 1, width: 16, context_length: 4, ..ModelConfig::default() };
        let parameters = Parameters::initialize(&config, 10, 1, Device::Cpu);
        let rule = OptimizerConfig { kind: OptimizerKind::Muon, weight_decay: 0.2, ..OptimizerConfig::default() };
        let mut muon = build_all(&rule, &config, &parameters);
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
        tch::manual_seed(1);
        // Clearly rectangular, so that no random singular value lies near zero, where the iteration leaves it.
        for size in [[24, 60], [60, 24], [20, 80]] {
            let matrix = Tensor::randn(size, (Kind::Float, Device::Cpu));
            let (u, _, v) = matrix.svd(true, true);
            let exact = u.matmul(&v.tr());
            let ours = orthogonalized(&matrix, Orthogonalization::NewtonSchulz);
            let (_, values, _) = ours.svd(true, true);
            let (least, most) = (values.min().double_value(&[]), values.max().double_value(&[]));
            assert!(least > 0.3 && most < 1.4, "{size:?}: {least} to {most}");
            let cosine = (&exact * &ours).sum(Kind::Float) / (exact.norm() * ours.norm());
            assert!(cosine.double_value(&[]) > 0.95, "{size:?}: {cosine:?}");
            let polar = orthogonalized(&matrix, Orthogonalization::PolarExpress);
            let far = |x: &Tensor| (x - &exact).norm().double_value(&[]);
            // The rest is rounding in bfloat16.
            assert!(far(&polar) < 0.7 * far(&ours), "{size:?}: {} and {}", far(&polar), far(&ours));
        }
    }

    /// Algorithm 1 of Amsel et al. 2025 on single singular values in float64: what is above 0.003 ends within 0.2 of 1, where
    /// the polynomial of Jordan et al. leaves errors of 0.3; and the matrix form does to a diagonal what it says.
    #[test]
    fn polar_express_brings_singular_values_close_to_one() {
        let follow = |how: Orthogonalization, value: f64| {
            let (polynomials, safety) = match how {
                Orthogonalization::NewtonSchulz => (NEWTON_SCHULZ, 1.0),
                Orthogonalization::PolarExpress => (POLAR_EXPRESS, 1.01),
            };
            polynomials.into_iter().fold(value / safety, |x, (a, b, c)| {
                let x = x / safety;
                a * x + b * libm::pow(x, 3.0) + c * libm::pow(x, 5.0)
            })
        };
        let worst = |how| {
            let error = |i: u32| (follow(how, 0.003 + 0.997 * f64::from(i) / 4000.0) - 1.0).abs();
            (0..=4000).map(error).fold(0.0, f64::max)
        };
        let (ours, before) = (worst(Orthogonalization::PolarExpress), worst(Orthogonalization::NewtonSchulz));
        assert!(ours < 0.2 && before > 0.25, "{ours} and {before}");

        let values = [0.9, 0.4, 0.15, 0.05, 0.01];
        for how in [Orthogonalization::NewtonSchulz, Orthogonalization::PolarExpress] {
            let diagonal = Tensor::from_slice(&values).diag(0); // (5, 5), float64
            let found = iterated(diagonal / safety(how), how);
            for (i, value) in (0..).zip(values) {
                let (found, expected) = (found.double_value(&[i, i]), follow(how, value));
                assert!((found - expected).abs() < 1e-9, "{how:?}, {value}: {found}, not {expected}");
            }
        }
    }

    /// Three steps of algorithm 1 of Li et al. 2025 in float64, from the update that Muon orthogonalized.
    #[test]
    fn neurons_are_normalized_as_published() {
        let mut moment = Tensor::zeros([4, 1], (Kind::Float, Device::Cpu));
        let mut expected_moment = [0.0f64; 4];
        for _ in 0..3 {
            let update = Tensor::randn([4, 6], (Kind::Float, Device::Cpu))
                * Tensor::from_slice(&[1f32, 2.0, 0.1, 5.0]).unsqueeze(1);
            let value = |row: usize, column: i64| update.double_value(&[row as i64, column]);
            for (row, moment) in expected_moment.iter_mut().enumerate() {
                *moment =
                    0.95 * *moment + 0.05 * (0..6).map(|column| libm::pow(value(row, column), 2.0)).sum::<f64>() / 6.0;
            }
            let divided = |row: usize, column| value(row, column) / (expected_moment[row].sqrt() + EPSILON);
            let norm = (0..4)
                .flat_map(|r| (0..6).map(move |c| (r, c)))
                .map(|(r, c)| libm::pow(divided(r, c), 2.0))
                .sum::<f64>()
                .sqrt();
            let ours = normalized(update.copy(), &mut moment, 0.95);
            for (row, column) in (0..4).flat_map(|row| (0..6).map(move |column| (row, column))) {
                let expected = 24f64.sqrt() / norm * divided(row, column);
                assert!((ours.double_value(&[row as i64, column]) - expected).abs() < 1e-5, "{row} {column}");
            }
        }
    }
}
