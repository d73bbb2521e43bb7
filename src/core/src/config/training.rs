//! `[training]`: batch, steps, precision, device.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Budget;

/// Data type of the matrix products. Master weights, moments and losses are float32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// float32 throughout.
    #[default]
    F32,
    /// bfloat16 products and activations.
    Bf16,
}

/// Where to train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Processes that train together on this machine, each on its share of every batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Devices {
    /// So many: each on a GPU of its own, or all on the CPU.
    Count(NonZeroU32),
    /// One for each GPU; one where there is none.
    All(AllDevices),
}

/// The word of [`Devices::All`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllDevices {
    /// `"all"`
    All,
}

impl Default for Devices {
    fn default() -> Self {
        Devices::Count(NonZeroU32::MIN)
    }
}

impl Devices {
    /// One process, as where nothing is stated.
    pub fn is_one(&self) -> bool {
        *self == Devices::default()
    }

    /// Processes that there are at least: all GPUs of a machine are one that is not known here.
    pub fn at_least(&self) -> u32 {
        match self {
            Devices::Count(count) => count.get(),
            Devices::All(AllDevices::All) => 1,
        }
    }
}

/// Which kernel computes attention. Another kernel gives other last bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionKernel {
    /// libtorch chooses the fastest that can do what is asked.
    #[default]
    Auto,
    /// FlashAttention (Dao 2024, FlashAttention-2); on a GPU bfloat16 only and without masks.
    Flash,
    /// Memory-efficient attention (Rabe and Staats 2021); GPU only.
    MemoryEfficient,
    /// Written out, with all scores in memory.
    Math,
    /// cuDNN's; GPU only.
    Cudnn,
}

/// What to do when the loss or the gradient is not a finite number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnNonFinite {
    /// The run ends with a diagnosis.
    #[default]
    Stop,
    /// The step leaves weights and moments as they are, and the run goes on with the next batch, up to
    /// [`TrainingConfig::skip_at_most`] times. On a GPU each step then waits for its loss.
    Skip,
}

/// A stage at the beginning of training with another batch size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchSizeStage {
    /// Optimizer steps it lasts.
    pub steps: u64,
    /// Sequences of `context_length` tokens per optimizer step in it.
    pub batch_size: u32,
}

/// A stage at the beginning of training with shorter sequences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SequenceLengthStage {
    /// Optimizer steps it lasts.
    pub steps: u64,
    /// Tokens of a sequence in it: a divisor of `model.context_length`.
    pub sequence_length: u32,
}

/// Which checkpoints stay. One that any rule keeps stays; all of them if no rule is given. The latest always stays,
/// and so does the one after the last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Those after every so many steps; 0 is no rule.
    pub every: u64,
    /// The latest so many; 0 is no rule. With 2, a damaged latest one costs no more than one interval.
    pub last: u32,
    /// The so many with the lowest validation loss, of those after whose step it was computed; of equal ones the
    /// earliest. 0 is no rule.
    pub best: u32,
}

impl Keep {
    /// Whether nothing is ever removed.
    pub fn is_all(&self) -> bool {
        *self == Keep::default()
    }
}

/// How much to train, in which pieces, on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Optimizer steps. With a budget they follow from it: leave them out.
    pub steps: u64,
    /// What may be spent instead of a number of steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Sequences of `context_length` tokens per optimizer step.
    pub batch_size: u32,
    /// Batch-size warm-up (McCandlish et al. 2018, An Empirical Model of Large-Batch Training; Brown et al. 2020,
    /// GPT-3, appendix B): stages before the batch size is `batch_size`, one after the other from the first step.
    pub batch_size_stages: Vec<BatchSizeStage>,
    /// Sequence-length curriculum (Press et al. 2021, Shortformer, section 4): stages before a sequence is
    /// `context_length` long. Each window of the data is then cut into shorter sequences, so that a step reads the
    /// same tokens, in the same order, as without the stage.
    pub sequence_length_stages: Vec<SequenceLengthStage>,
    /// Tokens attend to their own document only, not to others packed into the same sequence. Every document begins
    /// with the separator; the separator is still predicted after the last token of a document, and the first token
    /// of a document is predicted from its separator alone, as in evaluation.
    pub document_mask: bool,
    /// With `document_mask`, positions are counted from the beginning of each document.
    pub reset_position_ids: bool,
    /// Decay of an exponential moving average of the weights over the steps (Polyak and Juditsky 1992; Izmailov et
    /// al. 2018), at most (1 + step) / (10 + step) so that it forgets the initial weights. Evaluations then read the
    /// average. 0 means none.
    pub ema_decay: f64,
    /// Sequences per forward and backward pass; gradients accumulate over `batch_size / micro_batch_size`
    /// passes. 0 means the whole batch at once.
    pub micro_batch_size: u32,
    /// Data type of the matrix products.
    pub precision: Precision,
    /// Where to train.
    pub device: Device,
    /// Processes that train together: a number, or `"all"` for one on each GPU. No part of the plan: a batch is the same
    /// sequences however many share it, and the record says how many did. `srun` and torchrun decide it themselves.
    #[serde(skip_serializing_if = "Devices::is_one")]
    pub devices: Devices,
    /// Each of several processes keeps the moments of its share of the parameters only, updates these, and sends them to the
    /// others (ZeRO, stage 1: Rajbhandari et al. 2020, ZeRO: Memory Optimizations Toward Training Trillion Parameter Models).
    /// No part of the plan: the bits are the same without it. One process alone keeps all of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shard_optimizer: bool,
    /// CPU threads of libtorch in each process. Part of the plan, because another number gives other last bits.
    pub threads: u32,
    /// Matrix products of float32 may round their factors to TF32 on a GPU (10 bits of mantissa instead of 23).
    pub tf32: bool,
    /// Which kernel computes attention.
    pub attention_kernel: AttentionKernel,
    /// What to do when the loss or the gradient is not finite.
    pub on_non_finite: OnNonFinite,
    /// With `on_non_finite = "skip"`: more skipped steps than this end the run.
    pub skip_at_most: u32,
    /// Deterministic algorithms only: the same bits again on the same kind of machine.
    pub deterministic: bool,
    /// A checkpoint after every so many steps; the last step always has one. 0 means only the last.
    pub checkpoint_every: u64,
    /// Which of them stay.
    pub keep: Keep,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        TrainingConfig {
            steps: 200,
            budget: None,
            batch_size: 16,
            batch_size_stages: Vec::new(),
            sequence_length_stages: Vec::new(),
            document_mask: false,
            reset_position_ids: false,
            ema_decay: 0.0,
            micro_batch_size: 0,
            precision: Precision::F32,
            device: Device::Auto,
            devices: Devices::default(),
            shard_optimizer: false,
            threads: 2,
            tf32: false,
            attention_kernel: AttentionKernel::Auto,
            on_non_finite: OnNonFinite::Stop,
            skip_at_most: 10,
            deterministic: true,
            checkpoint_every: 0,
            keep: Keep::default(),
        }
    }
}

impl TrainingConfig {
    /// Sequences per pass, with 0 resolved to the whole batch.
    pub fn sequences_per_pass(&self) -> u32 {
        if self.micro_batch_size == 0 { self.batch_size } else { self.micro_batch_size }
    }

    /// Tokens of the first `steps` steps, each predicted once.
    pub fn tokens(&self, steps: u64, context_length: u32) -> u64 {
        self.sequences_before(steps).saturating_mul(u64::from(context_length))
    }

    /// Sequences of `context_length` tokens that a pass of step `step` (from 0) reads: a smaller batch is one pass.
    pub fn sequences_per_pass_at(&self, step: u64) -> u32 {
        let batch_size = self.batch_size_at(step);
        if self.micro_batch_size == 0 { batch_size } else { self.micro_batch_size.min(batch_size) }
    }

    /// Whether every batch, those of the stages too, could be split into passes of so many sequences, or be one pass where
    /// it is smaller.
    pub fn can_have_passes_of(&self, sequences: u32) -> bool {
        let stages = self.batch_size_stages.iter().map(|stage| stage.batch_size);
        let splits = |batch_size: u32| batch_size.is_multiple_of(sequences.min(batch_size));
        sequences > 0 && stages.chain([self.batch_size]).filter(|&size| size > 0).all(splits)
    }

    /// Why so many ranks cannot each take an equal share of every batch, those of the stages too, in whole passes; nothing
    /// where they can.
    pub fn not_shared_out(&self, ranks: u32) -> Option<String> {
        let sizes = self.batch_size_stages.iter().filter(|stage| stage.steps > 0).map(|stage| stage.batch_size);
        let cannot = |size: &u32| {
            let share = size / ranks;
            let pass = if self.micro_batch_size == 0 { share } else { self.micro_batch_size.min(share) };
            !size.is_multiple_of(ranks) || pass == 0 || !share.is_multiple_of(pass)
        };
        let size = sizes.chain([self.batch_size]).find(cannot)?;
        let passes = match self.micro_batch_size {
            0 => String::new(),
            pass => format!(" in passes of {pass}"),
        };
        Some(format!("a batch of {size} sequences cannot be shared out equally among {ranks} processes{passes}"))
    }

    /// Sequences of `context_length` tokens of step `step` (from 0).
    pub fn batch_size_at(&self, step: u64) -> u32 {
        let mut first = 0u64;
        for stage in &self.batch_size_stages {
            first = first.saturating_add(stage.steps);
            if step < first {
                return stage.batch_size;
            }
        }
        self.batch_size
    }

    /// Sequences of `context_length` tokens of all steps before step `step` (from 0). Times `context_length`, the
    /// tokens that training has consumed by then.
    pub fn sequences_before(&self, step: u64) -> u64 {
        let (mut sequences, mut rest) = (0, step);
        for stage in &self.batch_size_stages {
            let steps = stage.steps.min(rest);
            (sequences, rest) = (sequences + steps * u64::from(stage.batch_size), rest - steps);
        }
        sequences + rest * u64::from(self.batch_size)
    }

    /// Tokens of a sequence in step `step` (from 0).
    pub fn sequence_length_at(&self, step: u64, context_length: u32) -> u32 {
        let mut first = 0u64;
        for stage in &self.sequence_length_stages {
            first = first.saturating_add(stage.steps);
            if step < first {
                return stage.sequence_length;
            }
        }
        context_length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sequences_are_counted_over_the_stages(
            stages in prop::collection::vec((0u64..20, 1u32..9), 0..4), batch_size in 1u32..9, steps in 0u64..100,
        ) {
            let batch_size_stages = stages.iter().map(|&(steps, batch_size)| BatchSizeStage { steps, batch_size });
            let training = TrainingConfig {
                batch_size, batch_size_stages: batch_size_stages.collect(), ..TrainingConfig::default()
            };
            let one_by_one: u64 = (0..steps).map(|step| u64::from(training.batch_size_at(step))).sum();
            prop_assert_eq!(training.sequences_before(steps), one_by_one);
        }
    }

    #[test]
    fn stages_follow_each_other_and_then_comes_the_rest() {
        let stage = |steps, sequence_length| SequenceLengthStage { steps, sequence_length };
        let training =
            TrainingConfig { sequence_length_stages: vec![stage(2, 8), stage(1, 16)], ..TrainingConfig::default() };
        let lengths: Vec<u32> = (0..5).map(|step| training.sequence_length_at(step, 32)).collect();
        assert_eq!(lengths, [8, 8, 16, 32, 32]);
    }
}
