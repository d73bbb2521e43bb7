//! `[optimizer]`: how gradients become updates.

use globset::Glob;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ModelConfig, Role, TensorSpec};

/// Which update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Muon with each row of its update, the weights of one neuron, divided by the root of a running mean of its squares
    /// (Li et al. 2025, NorMuon, algorithm 1); `beta2` is the decay of that mean.
    Normuon,
}

impl OptimizerKind {
    /// Whether it orthogonalizes the updates of matrices.
    pub fn orthogonalizes(self) -> bool {
        matches!(self, OptimizerKind::Muon | OptimizerKind::Normuon)
    }
}

/// The polynomials by which Muon orthogonalizes, five in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Orthogonalization {
    /// One polynomial that lifts small singular values fast and does not converge (Jordan et al. 2024, Muon).
    #[default]
    NewtonSchulz,
    /// In each iteration the polynomial that is best for what the ones before have left (Amsel et al. 2025, The Polar
    /// Express, algorithm 1).
    PolarExpress,
}

/// The update rule and its constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Decay of the momentum of SGD, Muon and NorMuon.
    pub momentum: f64,
    /// Decoupled decay of matrices and embeddings; biases and norms are not decayed.
    pub weight_decay: f64,
    /// Weights are decayed only where the update, too, moves them towards zero (Chen et al. 2025, Cautious Weight Decay,
    /// algorithm 1).
    pub cautious_weight_decay: bool,
    /// How Muon and NorMuon orthogonalize.
    pub orthogonalization: Orthogonalization,
    /// The gradient is scaled down to this L2 norm if it is larger; 0 never clips.
    pub gradient_clip_norm: f64,
    /// Tensors that are updated otherwise: `[[optimizer.group]]`. The first group that matches a tensor decides.
    pub group: Vec<ParameterGroup>,
}

/// Tensors with a learning rate or weight decay of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    /// Which tensors, by name (`harness show EXPERIMENT --model` lists them); `*` stands for any characters, `?` for
    /// one, `{a,b}` for either.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Learning rate as a share of the schedule's.
    #[serde(default = "one")]
    pub learning_rate_ratio: f64,
    /// Weight decay; that of `[optimizer]` if it is not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

fn one() -> f64 {
    1.0
}

/// How one tensor is updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateRule {
    /// Learning rate as a share of the schedule's.
    pub learning_rate_ratio: f64,
    /// Decoupled weight decay, multiplied by that learning rate.
    pub weight_decay: f64,
    /// AdamW's epsilon as a share of the config's.
    pub epsilon_ratio: f64,
}

impl ParameterGroup {
    /// Whether the group holds the tensor `name`; a pattern that is none matches nothing.
    pub fn matches(&self, name: &str) -> bool {
        Glob::new(&self.pattern).is_ok_and(|glob| glob.compile_matcher().is_match(name))
    }
}

impl OptimizerConfig {
    /// How a tensor is updated: by its group, by the rules of width transfer, and without decay if it is no matrix and
    /// no group says otherwise.
    pub fn update_rule(&self, model: &ModelConfig, tensor: &TensorSpec) -> UpdateRule {
        let group = self.group.iter().find(|group| group.matches(&tensor.name));
        let decay = if tensor.role == Role::Vector { 0.0 } else { self.weight_decay };
        let transfer = model.learning_rate_ratio(tensor.role, self.kind);
        UpdateRule {
            learning_rate_ratio: transfer * group.map_or(1.0, |group| group.learning_rate_ratio),
            // What a step takes off a weight, rate times decay, stays the same over widths.
            weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(decay) / transfer,
            epsilon_ratio: model.epsilon_ratio(tensor),
        }
    }

    /// Numbers that are kept of a tensor from step to step.
    pub fn moments(&self, tensor: &TensorSpec) -> u64 {
        let all = tensor.parameters();
        match self.kind {
            OptimizerKind::Lion | OptimizerKind::Sgd => all,
            OptimizerKind::Muon if tensor.role == Role::Hidden => all,
            // One second moment for each row.
            OptimizerKind::Normuon if tensor.role == Role::Hidden => all + tensor.shape[0],
            OptimizerKind::Adamw | OptimizerKind::Muon | OptimizerKind::Normuon => 2 * all,
        }
    }
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
            cautious_weight_decay: false,
            orthogonalization: Orthogonalization::NewtonSchulz,
            gradient_clip_norm: 1.0,
            group: Vec::new(),
        }
    }
}
