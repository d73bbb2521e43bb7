//! Width transfer by maximal update parametrization, muP (Yang et al. 2022, Tensor Programs V: Tuning Large Neural
//! Networks via Zero-Shot Hyperparameter Transfer): what was chosen at the base width holds at any other.
//!
//! The form is that of table 8, with m = width / base width. Everything is 1 at the base width, so that a model of that
//! width is the same with and without.
//!
//! | | initial deviation | multiplier | rate of AdamW, Lion | of SGD | of Muon |
//! | --- | --- | --- | --- | --- | --- |
//! | matrices inside the blocks | 1/sqrt(m) | 1 | 1/m | 1 | 1/sqrt(m) |
//! | embeddings, biases, norms and gains | 1 | 1 | 1 | m | as AdamW |
//! | head, tied or not | 1 | 1/m | 1 | m | as AdamW |
//!
//! Attention scores are divided by D instead of sqrt(D) (definition 4.1), in units of the head at the base width. The
//! column for Muon follows from its update, whose spectral norm is 0.2 sqrt(longer side) and would have to be
//! sqrt(rows / columns) (Yang et al. 2023, A Spectral Condition for Feature Learning, condition 1).
//!
//! Depth transfer by CompleteP (Dey et al. 2025, Don't be lazy: CompleteP enables compute-efficient deep transformers, table
//! 1, with alpha = 1) goes with it, with l = layers / base layers. Branches are multiplied by 1/l and nothing else depends on
//! the depth: not the initial deviations (those of `gpt2` are of the base depth) and not the learning rates, whose factor
//! l^(alpha - 1) is 1. AdamW's epsilon, which width transfer alone leaves as it is, follows the gradient: it is multiplied
//! by 1/m, inside the blocks by 1/(m l).

use super::{ModelConfig, OptimizerKind, Role, TensorSpec};

impl ModelConfig {
    /// m: the width over the base width, 1 without transfer.
    pub fn width_ratio(&self) -> f64 {
        if self.mup_base_width == 0 { 1.0 } else { f64::from(self.width) / f64::from(self.mup_base_width) }
    }

    /// l: the layers over the base layers, 1 without transfer.
    pub fn depth_ratio(&self) -> f64 {
        if self.mup_base_layers == 0 { 1.0 } else { f64::from(self.layers) / f64::from(self.mup_base_layers) }
    }

    /// By what AdamW's epsilon of a tensor is multiplied.
    pub fn epsilon_ratio(&self, tensor: &TensorSpec) -> f64 {
        let inside = tensor.name.starts_with("blocks.") || tensor.name.starts_with("future.");
        match self.mup_base_layers {
            0 => 1.0,
            _ if inside => 1.0 / (self.width_ratio() * self.depth_ratio()),
            _ => 1.0 / self.width_ratio(),
        }
    }

    /// By what the initial deviation of matrices inside the blocks is multiplied.
    pub fn hidden_deviation_ratio(&self) -> f64 {
        1.0 / self.width_ratio().sqrt()
    }

    /// By what attention scores are multiplied: 1 / sqrt(D), or sqrt(D at the base width) / D.
    pub fn attention_scale(&self) -> f64 {
        let d = f64::from(self.width / self.heads);
        if self.mup_base_width == 0 {
            return 1.0 / d.sqrt();
        }
        let heads = if self.mup_base_heads == 0 { self.heads } else { self.mup_base_heads };
        (f64::from(self.mup_base_width) / f64::from(heads)).sqrt() / d
    }

    /// By what the logits are multiplied.
    pub fn logit_scale(&self) -> f64 {
        1.0 / self.width_ratio()
    }

    /// By what the learning rate of a tensor is multiplied.
    pub fn learning_rate_ratio(&self, role: Role, kind: OptimizerKind) -> f64 {
        let ratio = self.width_ratio();
        match (role, kind) {
            (Role::Hidden, OptimizerKind::Adamw | OptimizerKind::Lion) => 1.0 / ratio,
            (Role::Hidden, OptimizerKind::Muon | OptimizerKind::Normuon) => 1.0 / ratio.sqrt(),
            (Role::Hidden, OptimizerKind::Sgd) => 1.0,
            (Role::Table | Role::Head | Role::Vector, OptimizerKind::Sgd) => ratio,
            (Role::Table | Role::Head | Role::Vector, _) => 1.0,
        }
    }
}
