//! What training will hold in memory, predicted from the config alone: no GPU, no libtorch, nothing is run.
//!
//! Parameters, gradients and moments are counted exactly. Activations are what autograd keeps for the backward pass
//! of `src/trainer/src/model/`, tensor by tensor; what lives for one operation only is left out, except around the
//! loss, where it is largest. On a CPU the peak of the whole process was 3 to 31 % above the prediction plus 134 MiB for
//! libtorch itself: what lives for one operation only, and what the allocator keeps. The table for models of 0.6 to 92 million
//! parameters is in docs/benchmarks.md.

use crate::config::{AttentionGate, FeedForward, ModelConfig, Norm, NormPlacement, OptimizerConfig, Positions};
use crate::config::{Precision, ResidualScaling, Role, TensorSpec, TrainingConfig, Values};
use crate::ranks::owners;

/// Positions whose logits exist at a time in the trainer's loss, large enough to keep the matrix products efficient. The
/// head's gradient is read and written once for each such piece, which a GPU notices.
pub fn logit_rows(gpu: bool) -> u32 {
    if gpu { 4096 } else { 512 }
}

/// The rows of the head in the trainer's products are a multiple of this.
pub const HEAD_ROWS: u32 = 64;
/// Of master weights, gradients and moments.
const FLOAT32_BYTES: u64 = 4;

/// Predicted memory of a training step, in bytes, by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// Float32 master weights, their moving average if there is one, and their copies in the data type of the products,
    /// if that is another.
    pub weights_bytes: u64,
    /// One float32 gradient for each weight.
    pub gradients_bytes: u64,
    /// Moments of the optimizer; with `training.shard_optimizer` those of the process that keeps most of them, of as many as
    /// `training.devices` says there are at least.
    pub moments_bytes: u64,
    /// What the blocks keep for the backward pass of one pass of `sequences_per_pass` sequences.
    pub activations_bytes: u64,
    /// Logits of some positions, their gradient, and the gradient of the head.
    pub loss_bytes: u64,
}

impl Memory {
    /// The prediction for a model with `vocabulary_size` tokens, on a GPU or on a CPU.
    pub fn of(
        model: &ModelConfig,
        optimizer: &OptimizerConfig,
        training: &TrainingConfig,
        vocabulary_size: u32,
        gpu: bool,
    ) -> Self {
        let tensors = model.tensors(vocabulary_size);
        let count = |holds: &dyn Fn(&TensorSpec) -> bool| -> u64 {
            tensors.iter().filter(|tensor| holds(tensor)).map(TensorSpec::parameters).sum()
        };
        let all = count(&|_| true);
        let element = if training.precision == Precision::Bf16 { 2 } else { 4 };
        // Bytes of a copy in the data type of the products, where that is another than float32.
        let short = if element == 4 { 0 } else { element };
        // Tables that are looked up stay in float32; a tied one is read by the head as well.
        let read_by_head = |tensor: &TensorSpec| tensor.name == "token_embedding" && model.tied_embeddings;
        let copied = count(&|tensor| tensor.role != Role::Table || read_by_head(tensor));
        let moments: Vec<u64> = tensors.iter().map(|tensor| optimizer.moments(tensor)).collect();
        let ranks = if training.shard_optimizer { training.devices.at_least() } else { 1 };
        let owners = owners(&moments, ranks);
        let kept_by = |rank| moments.iter().zip(&owners).filter(|(_, of)| **of == rank).map(|(count, _)| count).sum();
        let moments = (0..ranks).map(kept_by).max().unwrap_or(0);
        let averaged = if training.ema_decay > 0.0 { 2 } else { 1 };
        let rows = u64::from(training.sequences_per_pass()) * u64::from(model.context_length);
        let head = u64::from(vocabulary_size) * u64::from(model.width);
        // The copy of the head with rows of zeros.
        let padded = if vocabulary_size.is_multiple_of(HEAD_ROWS) { 0 } else { head * element };
        let logits = u64::from(logit_rows(gpu)).min(rows) * u64::from(vocabulary_size);
        Memory {
            weights_bytes: averaged * all * FLOAT32_BYTES + copied * short + padded,
            gradients_bytes: all * FLOAT32_BYTES,
            moments_bytes: moments * FLOAT32_BYTES,
            activations_bytes: rows * activation_bytes_per_token(model, element),
            // Logits, log-probabilities that become the gradient, and that gradient in the data type of the products;
            // the head's gradient as it is summed and, in bfloat16, the summand.
            loss_bytes: logits * (element + FLOAT32_BYTES + short) + head * (FLOAT32_BYTES + short),
        }
    }

    /// All parts together.
    pub fn total_bytes(&self) -> u64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Each part with its name.
    pub fn parts(&self) -> [(&'static str, u64); 5] {
        [
            ("weights", self.weights_bytes),
            ("gradients", self.gradients_bytes),
            ("moments", self.moments_bytes),
            ("activations", self.activations_bytes),
            ("logits and loss", self.loss_bytes),
        ]
    }
}

/// What is kept for the backward pass for each token of a pass; `e` is the size of an activation in bytes.
/// C width, K width of all heads of keys, F feed-forward width, T context.
fn activation_bytes_per_token(model: &ModelConfig, e: u64) -> u64 {
    let c = u64::from(model.width);
    let blocks = u64::from(model.layers + model.multi_token_prediction);
    // The last norm with its input and gradient, for each predicted token.
    let ends = 3 * c * e * u64::from(1 + model.multi_token_prediction);
    // The embedding of the token before, in float32.
    let smear = if model.smear { c * FLOAT32_BYTES } else { 0 };
    blocks * block_bytes_per_token(model, e) + ends + smear
}

fn block_bytes_per_token(model: &ModelConfig, e: u64) -> u64 {
    let (c, f) = (u64::from(model.width), u64::from(model.feed_forward_width()));
    let (h, t) = (u64::from(model.heads), u64::from(model.context_length));
    let k = u64::from(model.resolved_key_value_heads()) * u64::from(model.width / model.heads);
    let dropout = model.dropout > 0.0;
    // Two branches: each keeps the stream it reads and its norm's output; RMS norm its scaled input as well.
    let norm = if model.norm == Norm::Rms { 2 * c } else { c };
    let mut elements = 2 * (c + norm);
    if model.norm_placement == NormPlacement::Sandwich {
        elements += 2 * (c + norm);
    }
    if model.residual_scaling == ResidualScaling::Learned {
        elements += 2 * c;
    }
    if model.embedding_skip {
        elements += c;
    }
    // Queries, keys and values; turned or normalized ones are kept beside the first; shared ones are written out.
    elements += c + 2 * k;
    if model.positions == Positions::Rotary {
        elements += c + k;
    }
    if model.query_key_norm {
        elements += 2 * (c + k);
    }
    if model.values != Values::Own {
        elements += k;
    }
    if k != c {
        elements += 2 * c;
    }
    // What attention gives to its output projection; with a gate that is its product, kept beside its factors.
    elements += c;
    elements += match model.attention_gate {
        AttentionGate::None => 0,
        AttentionGate::Head => c + h,
        AttentionGate::Channel => 2 * c,
    };
    elements += match model.feed_forward {
        // The activation is computed again in the backward pass.
        FeedForward::Gelu | FeedForward::ReluSquared => f,
        FeedForward::Swiglu => 2 * f,
    };
    let mut bytes = elements * e;
    if model.attention_soft_cap > 0.0 || dropout {
        // Without a fused kernel the shares of attention are kept, in float32 and as they are multiplied.
        let capped = if model.attention_soft_cap > 0.0 { e } else { 0 };
        let dropped = if dropout { e + 1 } else { 0 };
        bytes += h * t * (FLOAT32_BYTES + e + capped + dropped);
    }
    if dropout {
        bytes += 2 * c;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Devices, OptimizerKind};

    fn predicted(change: impl Fn(&mut ModelConfig, &mut TrainingConfig, &mut OptimizerConfig)) -> Memory {
        let mut model =
            ModelConfig { layers: 12, heads: 12, width: 768, context_length: 1024, ..ModelConfig::default() };
        let mut training = TrainingConfig { batch_size: 8, ..TrainingConfig::default() };
        let mut optimizer = OptimizerConfig::default();
        change(&mut model, &mut training, &mut optimizer);
        Memory::of(&model, &optimizer, &training, 50_257, false)
    }

    #[test]
    fn gpt2_has_the_memory_that_can_be_counted_by_hand() {
        let memory = predicted(|_, _, _| {});
        // 50,257 is no multiple of 64, so the head is copied.
        assert_eq!(memory.weights_bytes, 4 * (124_439_808 + 50_257 * 768));
        assert_eq!((memory.gradients_bytes, memory.moments_bytes), (4 * 124_439_808, 8 * 124_439_808));
        // Each block: the stream twice, two norms, queries, keys, values, attention's output, and 4 C before GELU: 12 C;
        // then the last stream, its norm and gradient: 3 C.
        assert_eq!(memory.activations_bytes, 8 * 1024 * 4 * 768 * (12 * 12 + 3));
        assert_eq!(memory.loss_bytes, 512 * 50_257 * 8 + 50_257 * 768 * 4);
    }

    #[test]
    fn choices_move_the_part_that_they_are_about() {
        let base = predicted(|_, _, _| {});
        let halved = predicted(|_, training, _| training.micro_batch_size = 4);
        assert_eq!(halved.activations_bytes * 2, base.activations_bytes);
        let short = predicted(|_, training, _| training.precision = Precision::Bf16);
        assert!(short.activations_bytes < base.activations_bytes && short.weights_bytes > base.weights_bytes);
        let lion = predicted(|_, _, optimizer| optimizer.kind = OptimizerKind::Lion);
        assert_eq!(lion.moments_bytes * 2, base.moments_bytes);
        let muon = predicted(|_, _, optimizer| optimizer.kind = OptimizerKind::Muon);
        assert!(muon.moments_bytes > lion.moments_bytes && muon.moments_bytes < base.moments_bytes);
        let normuon = predicted(|_, _, optimizer| optimizer.kind = OptimizerKind::Normuon);
        let rows = 12 * (3 + 1 + 4 + 1) * 768;
        assert_eq!(
            normuon.moments_bytes - muon.moments_bytes,
            4 * rows,
            "a number for each row of the blocks' matrices"
        );
        let sharded = predicted(|_, training, _| {
            (training.shard_optimizer, training.devices) = (true, Devices::Count(4.try_into().unwrap()));
        });
        // The embedding alone, of which no part can be another's, is 31 % of this model.
        assert_eq!(sharded.moments_bytes, 8 * 50_257 * 768);
        let alone = predicted(|_, training, _| training.shard_optimizer = true);
        assert_eq!(alone, base);
        let gated = predicted(|model, _, _| model.attention_gate = AttentionGate::Channel);
        assert_eq!(gated.activations_bytes - base.activations_bytes, 8 * 1024 * 12 * 2 * 768 * 4);
        let capped = predicted(|model, _, _| model.attention_soft_cap = 50.0);
        assert!(capped.activations_bytes > 2 * base.activations_bytes, "scores of 1,024 positions are kept");
        assert_eq!(base.total_bytes(), base.parts().iter().map(|part| part.1).sum::<u64>());
    }
}
