//! `[training]`: batch, steps, precision, device.

use serde::{Deserialize, Serialize};

/// Data type of the matrix products. Master weights, moments and losses are float32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// float32 throughout.
    #[default]
    F32,
    /// bfloat16 products and activations.
    Bf16,
}

/// Where to train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The first GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first GPU; an error without one.
    Cuda,
}

/// How much to train, in which pieces, on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Optimizer steps.
    pub steps: u64,
    /// Sequences of `context_length` tokens per optimizer step.
    pub batch_size: u32,
    /// Sequences per forward and backward pass; gradients accumulate over `batch_size / micro_batch_size`
    /// passes. 0 means the whole batch at once.
    pub micro_batch_size: u32,
    /// Data type of the matrix products.
    pub precision: Precision,
    /// Where to train.
    pub device: Device,
    /// CPU threads of libtorch. Part of the plan, because another number gives other last bits.
    pub threads: u32,
    /// Deterministic algorithms only: the same bits again on the same kind of machine.
    pub deterministic: bool,
    /// A checkpoint after every so many steps; the last step always has one. 0 means only the last.
    pub checkpoint_every: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        TrainingConfig {
            steps: 200,
            batch_size: 16,
            micro_batch_size: 0,
            precision: Precision::F32,
            device: Device::Auto,
            threads: 2,
            deterministic: true,
            checkpoint_every: 0,
        }
    }
}

impl TrainingConfig {
    /// Sequences per pass, with 0 resolved to the whole batch.
    pub fn sequences_per_pass(&self) -> u32 {
        if self.micro_batch_size == 0 { self.batch_size } else { self.micro_batch_size }
    }

    /// Passes per optimizer step.
    pub fn passes(&self) -> u32 {
        self.batch_size / self.sequences_per_pass()
    }
}
