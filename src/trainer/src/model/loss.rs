//! Next-token cross-entropy without the full logits: they exist for one chunk of positions at a time, and the
//! gradient is formed in the forward pass, where the probabilities are at hand.
//!
//! For logits z = x W^T, softmax p and targets y: d loss / d z = p - onehot(y), so d loss / d x = (p - onehot(y)) W
//! and d loss / d W = (p - onehot(y))^T x (as in Wijmans et al. 2025, Cut Your Losses in Large-Vocabulary Language
//! Models, section 4, without its kernels).

use tch::{Kind, Tensor};

use super::Head;
use crate::error::Error;
use crate::native;

/// Positions whose logits exist at a time. Large enough to keep matrix products efficient.
const CHUNK: i64 = 512;

/// Computes the loss of hidden states (B, T, C) against targets (B, T), and runs the whole backward pass for `scale`
/// times the sum of the losses. Gradients add up in the parameters. Returns the unscaled sum in nats, shape ().
pub fn backward(head: &Head, hidden: &Tensor, targets: &Tensor, scale: f64) -> Result<Tensor, Error> {
    let (b, t, c) = hidden.size3().expect("hidden states are (B, T, C)");
    let hidden = hidden.view([b * t, c]); // (N, C) with N = B T
    let targets = targets.reshape([b * t, 1]); // (N, 1)
    let (loss, hidden_gradient) = tch::no_grad(|| {
        let x = hidden.detach(); // (N, C)
        let hidden_gradient = x.empty_like();
        let mut weight_gradient = head.weight.zeros_like().to_kind(Kind::Float); // (V, C)
        let mut loss = Tensor::zeros([], (Kind::Double, x.device()));
        for start in (0..b * t).step_by(CHUNK as usize) {
            let rows = CHUNK.min(b * t - start);
            let (x, targets) = (x.narrow(0, start, rows), targets.narrow(0, start, rows));
            let mut log_p = head.logits(&x).log_softmax(-1, Kind::Float); // (rows, V)
            loss -= log_p.gather(1, &targets, false).sum(Kind::Double);
            let mut p = log_p.exp_();
            let minus_one = Tensor::full([rows, 1], -1.0, (Kind::Float, x.device()));
            let p = (p.scatter_add_(1, &targets, &minus_one) * scale).to_kind(x.kind()); // (rows, V)
            hidden_gradient.narrow(0, start, rows).copy_(&p.matmul(&head.weight)); // (rows, C)
            weight_gradient += p.tr().matmul(&x); // (V, C)
        }
        native::add_gradient(&head.master, &weight_gradient);
        (loss, hidden_gradient)
    });
    native::backward(&hidden, &hidden_gradient)?;
    Ok(loss)
}

/// Log-probabilities of targets (N) given hidden states (N, C), in nats, and whether each target is the most
/// probable token (the lowest id wins a tie): float32 (N) and boolean (N). For evaluation: no gradients, and the
/// logits are computed in float32 whatever the data type of the hidden states.
pub fn log_probabilities(head: &Head, hidden: &Tensor, targets: &Tensor) -> (Tensor, Tensor) {
    let (n, _) = hidden.size2().expect("hidden states are (N, C)");
    let weight = head.master.detach().tr(); // (C, V)
    let (mut values, mut greedy) = (Vec::new(), Vec::new());
    for start in (0..n).step_by(CHUNK as usize) {
        let rows = CHUNK.min(n - start);
        let targets = targets.narrow(0, start, rows);
        let logits = hidden.narrow(0, start, rows).to_kind(Kind::Float).matmul(&weight); // (rows, V)
        let log_p = logits.log_softmax(-1, Kind::Float);
        values.push(log_p.gather(1, &targets.unsqueeze(1), false).squeeze_dim(1)); // (rows)
        greedy.push(logits.argmax(-1, false).eq_tensor(&targets)); // (rows)
    }
    (Tensor::cat(&values, 0), Tensor::cat(&greedy, 0))
}
