//! Multi-token prediction (Gloeckle et al. 2024, Better & Faster Large Language Models via Multi-token Prediction,
//! section 2): in training, further blocks read what the last block reads and predict the tokens after the next one,
//! through the same norm and head. The full logits of no prediction exist at once, as with the next token alone.

use tch::Tensor;

use crate::error::Error;
use crate::model::Transformer;
use crate::model::loss::{self, Head};
use crate::model::mask::Packing;
use crate::native;

/// Hidden states after the last norm of the next token, then those of each token after it; (B, T, C) each.
pub fn states(model: &Transformer, tokens: &Tensor, packing: Option<&Packing>, dropout: f64) -> Vec<Tensor> {
    let (mut x, mut values, pass) = model.embed(tokens, packing, dropout);
    let (last, trunk) = model.blocks.split_last().expect("a model has a block");
    for block in trunk {
        (x, values) = block.forward(&x, values, &pass); // (B, T, C)
    }
    let (next, values) = last.forward(&x, values, &pass);
    let further = model.future.iter().map(|block| {
        let values = values.as_ref().map(Tensor::shallow_clone);
        block.forward(&x, values, &pass).0
    });
    std::iter::once(next).chain(further).map(|x| model.finish(x)).collect()
}

/// The losses of [`states`] against the next tokens (B, T), and the backward pass for `scale` times the next token's sum
/// of losses plus `scale * weight` times each other. Positions whose token lies beyond the sequence are left out. Returns
/// the sum of the next token's losses in nats, shape ().
pub fn backward(head: &Head, states: &[Tensor], targets: &Tensor, scale: f64, weight: f64) -> Result<Tensor, Error> {
    let (_, t) = targets.size2().expect("targets are (B, T)");
    let (mut sums, mut outputs, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
    for (ahead, state) in (0..).zip(states) {
        let state = state.narrow(1, 0, t - ahead).contiguous().flatten(0, 1); // (B (T - ahead), C)
        let scale = if ahead == 0 { scale } else { scale * weight };
        let (sum, gradient) = loss::gradients(head, &state, &targets.narrow(1, ahead, t - ahead), scale)?;
        sums.push(sum);
        outputs.push(state);
        gradients.push(gradient);
    }
    head.is_complete()?;
    // The blocks share their input, so all states go back in one pass.
    native::backward(&Tensor::cat(&outputs, 0), &Tensor::cat(&gradients, 0))?;
    Ok(sums.swap_remove(0))
}
