//! `[optimizer]`: how gradients become updates.

use serde::{Deserialize, Serialize};

/// Which update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// AdamW (Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization).
    #[default]
    Adamw,
    /// The sign of interpolated momentum (Chen et al. 2023, Symbolic Discovery of Optimization Algorithms). Wants a
    /// learning rate 3 to 10 times smaller than AdamW's.
    Lion,
    /// Gradient descent with momentum and decoupled weight decay (Loshchilov and Hutter 2019, algorithm 1).
    Sgd,
    /// Orthogonalized momentum for the matrices inside the blocks (Jordan et al. 2024, Muon), scaled so that it takes
    /// AdamW's learning rate and weight decay (Liu et al. 2025, Muon is Scalable for LLM Training); AdamW for the
    /// rest.
    Muon,
}

/// The update rule and its constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Which update rule.
    pub kind: OptimizerKind,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decay of the momentum of SGD and Muon.
    pub momentum: f64,
    /// Decoupled decay of matrices and embeddings; biases and norms are not decayed.
    pub weight_decay: f64,
    /// The gradient is scaled down to this L2 norm if it is larger; 0 never clips.
    pub gradient_clip_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig {
            kind: OptimizerKind::Adamw,
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            momentum: 0.95,
            weight_decay: 0.1,
            gradient_clip_norm: 1.0,
        }
    }
}
