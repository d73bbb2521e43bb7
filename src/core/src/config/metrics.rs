//! `[metrics]`: what is measured inside the model during training, beyond loss and gradient norm.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often the inside of the model is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Norms of gradient, weights and update of every parameter tensor are written after the first step and after
    /// every so many steps (`tensor_norms.csv`). 0 means never.
    pub tensor_norms_every: u64,
    /// Statistics of the activations on the probe batch are written before the first step, after every so many steps
    /// and after the last (`activations.csv`). 0 means never.
    pub activations_every: u64,
    /// Sequences of the probe batch: windows of the validation text, the same at every step.
    pub probe_sequences: u32,
    /// About how many rows `steps.csv` has at most, the first step and the last among them. 0 means one for every step.
    pub step_rows: u64,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        MetricsConfig { tensor_norms_every: 50, activations_every: 100, probe_sequences: 2, step_rows: 0 }
    }
}

impl MetricsConfig {
    /// Whether the norms of the tensors are measured in step `step` (from 1).
    pub fn tensor_norms_at(&self, step: u64) -> bool {
        self.tensor_norms_every > 0 && (step == 1 || step.is_multiple_of(self.tensor_norms_every))
    }

    /// Whether step `step` (from 1) of `steps` steps has a row in `steps.csv`.
    pub fn has_row(&self, step: u64, steps: u64) -> bool {
        let stride = if self.step_rows == 0 { 1 } else { steps.div_ceil(self.step_rows).max(1) };
        step == 1 || step == steps || step.is_multiple_of(stride)
    }

    /// Whether the activations are measured after `step` of `steps` steps.
    pub fn activations_at(&self, step: u64, steps: u64) -> bool {
        self.activations_every > 0 && (step == steps || step.is_multiple_of(self.activations_every))
    }
}
