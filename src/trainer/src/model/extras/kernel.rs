//! Which kernel attention takes, found out without a pass.

use harness_core::config::ModelConfig;
use tch::{Kind, Tensor};

use crate::error::Error;
use crate::model::Transformer;
use crate::model::mask::Packing;
use crate::native;

/// The kernel of attention in training over token ids (B, T), see [`native::attention_kernel`]; `written_out` where none
/// knows the formula.
pub fn of_training(
    model: &Transformer,
    config: &ModelConfig,
    tokens: &Tensor,
    packing: Option<&Packing>,
) -> Result<&'static str, Error> {
    if config.attention_soft_cap > 0.0 {
        return Ok("written_out");
    }
    let (_, t) = tokens.size2().expect("token ids are (B, T)");
    let of: (Kind, _) = (model.compute, tokens.device());
    let seen = model.positions.in_attention(t, packing, of.0, of.1);
    let shape = [1, i64::from(config.heads), t, i64::from(config.width / config.heads)]; // (1, H, T, D)
    let [query, key, value] = [(); 3].map(|()| Tensor::zeros(shape, of).set_requires_grad(true));
    native::attention_kernel([&query, &key, &value], seen.mask(), config.dropout)
}
