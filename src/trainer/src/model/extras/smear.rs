//! Smear (Jordan et al. 2024, modded-nanogpt): each token is added a share of the one before it, so that the first layer can
//! already compare two tokens. The share is a learned gain, 0 at first, times a sigmoid of a few channels of the token.

use tch::Tensor;

use crate::model::weights::Weights;

/// What decides the share.
pub struct Smear {
    gate: Tensor, // (channels), float32
    gain: Tensor, // (1), float32
}

impl Smear {
    /// The weights, if the model has them.
    pub fn find(weights: &Weights<'_>) -> Option<Self> {
        let (gate, gain) = (weights.find_float32("smear_gate")?, weights.find_float32("smear_gain")?);
        Some(Smear { gate, gain })
    }

    /// Adds to embedded tokens (B, T, C) those `before` them, (B, T), of the table (V, C).
    pub fn add_to(&self, tokens: Tensor, before: &Tensor, table: &Tensor) -> Tensor {
        let channels = self.gate.size()[0];
        let share = tokens.narrow(-1, 0, channels).matmul(&self.gate).sigmoid() * &self.gain; // (B, T)
        let share = share * before.ge(0); // nothing where there is none
        let before = Tensor::embedding(table, &before.clamp_min(0), -1, false, false); // (B, T, C)
        tokens + before * share.unsqueeze(-1)
    }
}
