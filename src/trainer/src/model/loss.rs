//! Next-token cross-entropy without the full logits: they exist for one chunk of positions at a time, and the
//! gradient is formed in the forward pass, where the probabilities are at hand.
//!
//! For logits z = x W^T, softmax p and targets y: d loss / d z = p - onehot(y), so d loss / d x = (p - onehot(y)) W
//! and d loss / d W = (p - onehot(y))^T x (as in Wijmans et al. 2025, Cut Your Losses in Large-Vocabulary Language
//! Models, section 4, without its kernels). The z-loss c (log Z)^2, with Z the sum of exp z, adds 2 c log(Z) p to
//! d loss / d z; a soft cap a tanh(z / a) multiplies it by 1 - (capped z / a)^2.
//!
//! Matrix units want sizes that are multiples of a power of two (GPT-2's 50,257 tokens are prime), so the products here
//! read a copy of the head with rows of zeros appended, V' in the comments. No loss, gradient or prediction sees their
//! logits, and they are not parameters: checkpoints, counts and digests have V rows.

use harness_core::config::ModelConfig;
use harness_core::memory::{HEAD_ROWS, logit_rows};
use tch::{Device, Kind, Tensor};

use super::soft_capped;
use super::weights::Weights;
use crate::error::Error;
use crate::native;
use crate::native::collectives::gradient_complete;

/// The rows of the head in products are a multiple of this.
const ROWS: i64 = HEAD_ROWS as i64;

/// The map from hidden states to logits.
pub struct Head {
    /// (V', C), in the data type of the products, outside of autograd: the loss forms its gradient itself.
    weight: Tensor,
    vocabulary_size: i64,
    /// The float32 parameter behind it, which gets the gradient.
    master: Tensor,
    /// It is the token embedding, to which the backward pass comes last.
    is_tied: bool,
    soft_cap: f64,
    z_loss: f64,
}

impl Head {
    /// A head of its own, or the token embedding, (V, C).
    pub fn new(config: &ModelConfig, weights: &Weights<'_>) -> Self {
        let name = if config.tied_embeddings { "token_embedding" } else { "head" };
        let (weight, master) = (weights.get(name).detach(), weights.float32(name)); // (V, C)
        let vocabulary_size = master.size()[0];
        let missing = (ROWS - vocabulary_size % ROWS) % ROWS;
        Head {
            weight: if missing == 0 { weight } else { weight.constant_pad_nd([0, 0, 0, missing]) }, // (V', C)
            vocabulary_size,
            master,
            is_tied: config.tied_embeddings,
            soft_cap: config.logit_soft_cap,
            z_loss: config.z_loss,
        }
    }

    /// Nothing more comes to its gradient in this pass but what the backward pass may bring.
    pub fn is_complete(&self) -> Result<(), Error> {
        if self.is_tied { Ok(()) } else { gradient_complete(&self.master) }
    }

    /// Logits (.., V) of hidden states (.., C), in the data type of the products.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        self.padded_logits(hidden).narrow(-1, 0, self.vocabulary_size)
    }

    /// Logits (.., V) of hidden states (.., C) for what is told of a model: products in float32, whatever the data type of
    /// training.
    pub fn float32_logits(&self, hidden: &Tensor) -> Tensor {
        self.padded_float32_logits(hidden).narrow(-1, 0, self.vocabulary_size)
    }

    /// Logits (.., V' or V), of which those beyond V mean nothing.
    fn padded_float32_logits(&self, hidden: &Tensor) -> Tensor {
        let weight = if self.weight.kind() == Kind::Float { &self.weight } else { &self.master }; // (V' or V, C)
        soft_capped(hidden.to_kind(Kind::Float).matmul(&weight.detach().tr()), self.soft_cap)
    }

    /// Logits (.., V'), of which the last V' - V mean nothing.
    fn padded_logits(&self, hidden: &Tensor) -> Tensor {
        soft_capped(hidden.matmul(&self.weight.tr()), self.soft_cap)
    }
}

/// Positions whose logits exist at a time.
fn chunk(device: Device) -> i64 {
    i64::from(logit_rows(device.is_cuda()))
}

/// Computes the loss of hidden states (B, T, C) against targets (B, T), and runs the whole backward pass for `scale`
/// times the sum of the losses. Gradients add up in the parameters. Returns the unscaled sum in nats, shape (),
/// without the z-loss.
pub fn backward(head: &Head, hidden: &Tensor, targets: &Tensor, scale: f64) -> Result<Tensor, Error> {
    let hidden = hidden.flatten(0, 1); // (N, C) with N = B T
    let (loss, gradient) = gradients(head, &hidden, targets, scale)?; // (), (N, C)
    head.is_complete()?;
    native::backward(&hidden, &gradient)?;
    Ok(loss)
}

/// The loss of hidden states (N, C) against targets of as many positions, as [`backward`] gives it, and the gradient with
/// respect to the hidden states, (N, C). That of the head is added up in its parameter.
pub fn gradients(head: &Head, hidden: &Tensor, targets: &Tensor, scale: f64) -> Result<(Tensor, Tensor), Error> {
    let n = hidden.size()[0];
    let targets = targets.reshape([n, 1]); // (N, 1)
    tch::no_grad(|| {
        let x = hidden.detach(); // (N, C)
        let mut hidden_gradient = x.empty_like();
        let mut weight_gradient = Tensor::zeros(head.weight.size(), (Kind::Float, x.device())); // (V', C)
        let mut loss = Tensor::zeros([], (Kind::Double, x.device()));
        let (chunk, weight) = (chunk(x.device()), native::Factor::new(&head.weight));
        for start in (0..n).step_by(chunk as usize) {
            let rows = chunk.min(n - start);
            let (x, targets) = (x.narrow(0, start, rows), targets.narrow(0, start, rows));
            let logits = soft_capped(weight.times_transposed(&x), head.soft_cap); // (rows, V')
            let (target_sum, gradient) = logits_gradient(head, logits, &targets)?; // (), (rows, V')
            loss -= target_sum;
            hidden_gradient.narrow(0, start, rows).copy_(&weight.times(&gradient)); // (rows, C)
            native::add_product(&mut weight_gradient, &gradient, &x); // (V', C)
        }
        hidden_gradient *= scale;
        weight_gradient *= scale;
        native::add_gradient(&head.master, &weight_gradient.narrow(0, 0, head.vocabulary_size))?;
        Ok((loss, hidden_gradient))
    })
}

/// For logits (rows, V') and targets (rows, 1): the sum of the targets' log-probabilities, and the gradient of the summed
/// loss with respect to the logits before the cap, (rows, V'), in the data type of the products.
fn logits_gradient(head: &Head, padded: Tensor, targets: &Tensor) -> Result<(Tensor, Tensor), Error> {
    let v = head.vocabulary_size;
    if let Some(sum) = native::cross_entropy(&padded, v, targets, head.z_loss, head.soft_cap)? {
        return Ok((Tensor::from(sum), padded));
    }
    let mut logits = padded.narrow(1, 0, v); // (rows, V)
    let mut log_p = logits.log_softmax(-1, Kind::Float); // (rows, V)
    let target_log_p = log_p.gather(1, targets, false); // (rows, 1)
    let mut p = log_p.exp_();
    if head.z_loss > 0.0 {
        let log_z = logits.gather(1, targets, false).to_kind(Kind::Float) - &target_log_p; // (rows, 1)
        p *= log_z * (2.0 * head.z_loss) + 1.0;
    }
    let minus_one = Tensor::full(targets.size(), -1.0, (Kind::Float, padded.device()));
    let mut gradient = p.scatter_add_(1, targets, &minus_one); // (rows, V)
    if head.soft_cap > 0.0 {
        gradient *= 1.0 - (logits.to_kind(Kind::Float) / head.soft_cap).square();
    }
    logits.copy_(&gradient);
    let _zeros = padded.narrow(1, v, padded.size()[1] - v).zero_();
    Ok((target_log_p.sum(Kind::Double), padded))
}

/// What a model says of a target.
#[derive(Clone, Copy, Debug)]
pub struct Prediction {
    /// Log-probability of the target.
    pub log_probability_nats: f64,
    /// Probability of the most probable token.
    pub first_choice_probability: f32,
    /// Whether the target is the most probable token (the lowest id wins a tie).
    pub first_choice_right: bool,
}

/// How probable targets are, given hidden states (N, C): for each question its state, ascending, and its target. For
/// evaluation: no gradients, and the logits are computed in float32 whatever the data type of the hidden states.
pub fn predictions(head: &Head, hidden: &Tensor, questions: &[(usize, i64)]) -> Vec<Prediction> {
    let (n, _) = hidden.size2().expect("hidden states are (N, C)");
    let chunk = chunk(hidden.device());
    let mut found = Vec::with_capacity(questions.len());
    let mut rest = questions;
    for start in (0..n).step_by(chunk as usize) {
        let rows = chunk.min(n - start);
        let (here, later) = rest.split_at(rest.partition_point(|&(state, _)| (state as i64) < start + rows));
        rest = later;
        let logits = head.padded_float32_logits(&hidden.narrow(0, start, rows)); // (rows, V' or V)
        let width = logits.size()[1];
        let first = native::first_choices(&logits, head.vocabulary_size);
        let row = |state: usize| state - start as usize;
        let places: Vec<i64> = here.iter().map(|&(state, target)| row(state) as i64 * width + target).collect();
        let places = Tensor::from_slice(&places).to_device(logits.device());
        let target_logits =
            Vec::<f32>::try_from(logits.take(&places).to_device(Device::Cpu)).expect("a vector of float32");
        found.extend(here.iter().zip(target_logits).map(|(&(state, target), logit)| {
            let (log_z, which) = (first.log_z[row(state)], first.which[row(state)]);
            let log_probability_nats = f64::from(logit) - log_z;
            Prediction {
                log_probability_nats,
                first_choice_probability: libm::exp(f64::from(first.logits[row(state)]) - log_z) as f32,
                // Among logits that are no numbers there is no first choice.
                first_choice_right: log_probability_nats.is_finite() && which == target,
            }
        }));
    }
    found
}
