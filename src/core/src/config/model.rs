//! `[model]`: the architecture.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tensors::{Role, TensorSpec};

/// How the model knows where a token stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// One learned vector per position, added to the token's (Radford et al. 2019, GPT-2).
    #[default]
    Learned,
    /// Fixed sines and cosines, added to the token's vector (Vaswani et al. 2017, section 3.5).
    Sinusoidal,
    /// Queries and keys are turned by an angle that grows with the position (Su et al. 2021, RoFormer).
    Rotary,
    /// Attention falls off linearly with distance (Press et al. 2022, ALiBi).
    Alibi,
    /// Nothing: causal attention alone tells order (Haviv et al. 2022; Kazemnejad et al. 2023, NoPE).
    None,
}

/// How activations are normalized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// To mean 0 and variance 1 (Ba et al. 2016, Layer Normalization).
    #[default]
    Layer,
    /// To root mean square 1, without mean and bias (Zhang and Sennrich 2019, RMSNorm).
    Rms,
}

/// Where a block normalizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormPlacement {
    /// Before each branch, and once at the end (Xiong et al. 2020; GPT-2).
    #[default]
    Pre,
    /// After each residual sum (Vaswani et al. 2017).
    Post,
    /// Before and after each branch, inside the residual, and once at the end (Ding et al. 2021, sandwich norm).
    Sandwich,
}

/// The layer between attention layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedForward {
    /// GELU in its tanh form (Hendrycks and Gimpel 2016; GPT-2).
    #[default]
    Gelu,
    /// SiLU times a gate (Shazeer 2020, GLU Variants Improve Transformer). The layer is two thirds as wide, which
    /// keeps the number of parameters.
    Swiglu,
    /// The square of ReLU (So et al. 2021, Primer).
    ReluSquared,
}

/// How the standard deviation of the initial weights depends on where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Initialization {
    /// Projections into the residual stream are smaller by 1/sqrt(2 layers), because so many of them add up
    /// (Radford et al. 2019, section 2.3).
    #[default]
    Gpt2,
    /// Every matrix of block l, counted from 1, is smaller by 1/sqrt(l) (Zhang et al. 2019, Improving Deep Transformer
    /// with Depth-Scaled Initialization and Merged Attention, section 4.1).
    DepthScaled,
    /// The same deviation everywhere.
    Plain,
}

/// By what a branch is multiplied before it is added to the residual stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResidualScaling {
    /// By 1.
    #[default]
    None,
    /// By 1/sqrt(2 layers), which keeps the size of the stream and of its updates over depths (Yang et al. 2024,
    /// Tensor Programs VI, Depth-muP; Bordelon et al. 2024).
    Depth,
    /// By a learned gain for each channel, which begins at 0.1 (Touvron et al. 2021, Going deeper with Image
    /// Transformers, section 2, LayerScale).
    Learned,
}

/// What attention takes the mean of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// The block's own projection.
    #[default]
    Own,
    /// From the second block on, a learned mixture of its own values and those of the first block (Zhou et al. 2024,
    /// Value Residual Learning, section 3, with learned weights).
    FirstBlock,
    /// A learned mixture of its own values and a vector that the token looks up in a table, which all blocks share
    /// (Jordan et al. 2024, modded-nanogpt, value embeddings; there with several tables).
    Embedding,
}

/// What the heads of attention are multiplied by before their output projection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionGate {
    /// By 1.
    #[default]
    None,
    /// Each head by a sigmoid of a projection of what the layer reads, without bias, which begins as one half (Qiu et al.
    /// 2025, Gated Attention for Large Language Models, section 2.2, after the mean of the values, headwise).
    Head,
    /// Each channel of each head by one of its own (the same section, elementwise).
    Channel,
}

/// A decoder-only transformer; the defaults are those of GPT-2 (Radford et al. 2019).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Transformer blocks.
    pub layers: u32,
    /// Attention heads; must divide `width`.
    pub heads: u32,
    /// Width of the residual stream.
    pub width: u32,
    /// Longest context, in tokens.
    pub context_length: u32,
    /// Width of the feed-forward layer divided by `width`.
    pub feed_forward_ratio: u32,
    /// Biases in linear layers and layer norms.
    pub bias: bool,
    /// The output head shares the token embedding.
    pub tied_embeddings: bool,
    /// Dropout probability on embeddings, attention and residual branches.
    pub dropout: f64,
    /// Standard deviation of the initial weights.
    pub init_std: f64,
    /// How it depends on where they stand.
    pub initialization: Initialization,
    /// Width at which learning rate and initial deviation were chosen: they are transferred to `width` by the rules
    /// of maximal update parametrization (Yang et al. 2022, Tensor Programs V; see `mup.rs`). 0 means no transfer.
    pub mup_base_width: u32,
    /// Heads at that width; 0 means as many as `heads`.
    pub mup_base_heads: u32,
    /// Layers at which learning rate and initial deviation were chosen: they are transferred to `layers` by the rules of
    /// CompleteP (Dey et al. 2025, Don't be lazy: CompleteP enables compute-efficient deep transformers; see `mup.rs`).
    /// 0 means no transfer.
    pub mup_base_layers: u32,
    /// By what a branch is multiplied before it is added to the residual stream.
    pub residual_scaling: ResidualScaling,
    /// What attention takes the mean of.
    pub values: Values,
    /// By what the heads of attention are multiplied.
    pub attention_gate: AttentionGate,
    /// The token before, in the same document, is added to a token: its embedding times a learned gain, which begins at
    /// 0, and a sigmoid of a projection of the token's first 12 channels (Jordan et al. 2024, modded-nanogpt, smear).
    pub smear: bool,
    /// Rows of a table of pairs of tokens: each token has the row of itself and the token before in the same document
    /// added to it. Row 0 is for tokens without one before; the others are shared out by the hash
    /// `1 + (36313 token xor 27191 before) mod (rows - 1)`. All begin at 0 (Jordan et al. 2024, modded-nanogpt, bigram hash
    /// embedding; there added again in each layer). 0 means no such table.
    pub bigram_rows: u32,
    /// Each block reads a learned mixture of the residual stream and the embedded tokens, which begins as the stream
    /// alone (Jordan et al. 2024, modded-nanogpt, embedding skip connections).
    pub embedding_skip: bool,
    /// Tokens after the next one that are predicted as well in training, each by a block of its own that reads what
    /// the last block reads, through the same norm and head (Gloeckle et al. 2024, Better & Faster Large Language
    /// Models via Multi-token Prediction, section 2). Left out in evaluation and of any reported loss.
    pub multi_token_prediction: u32,
    /// Weight of each of them in the objective; the next token has 1.
    pub multi_token_loss_weight: f64,
    /// How the model knows where a token stands.
    pub positions: Positions,
    /// How activations are normalized.
    pub norm: Norm,
    /// Where a block normalizes.
    pub norm_placement: NormPlacement,
    /// The layer between attention layers.
    pub feed_forward: FeedForward,
    /// Heads of keys and values; each serves `heads / key_value_heads` query heads (Ainslie et al. 2023, GQA; 1 is
    /// Shazeer 2019, multi-query attention). 0 means as many as `heads`.
    pub key_value_heads: u32,
    /// Queries and keys are normalized per head (Henry et al. 2020, Query-Key Normalization; RMS form).
    pub query_key_norm: bool,
    /// Positions that a position attends to: itself and the `attention_window - 1` before it (Beltagy et al. 2020,
    /// Longformer, section 3.1; Jiang et al. 2023, Mistral 7B, section 2). 0 means the whole context.
    pub attention_window: u32,
    /// Attention scores, before their softmax, are squashed into (-cap, cap) by tanh, which keeps any one position
    /// from taking all the attention (Gemma Team 2024, Gemma 2, section 2, with 50); 0 means not at all. Computed
    /// without a fused kernel, so it costs memory for all scores.
    pub attention_soft_cap: f64,
    /// The logits over the vocabulary, the model's output, are squashed into (-cap, cap) by tanh, which bounds how
    /// sure the model can be of a token (the same section, with 30); 0 means not at all. Has nothing to do with
    /// attention.
    pub logit_soft_cap: f64,
    /// Weight of the squared log-partition of the softmax in the objective, which keeps logits from drifting
    /// (Chowdhery et al. 2022, PaLM, section 5: 1e-4). Not part of any reported loss.
    pub z_loss: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            layers: 4,
            heads: 4,
            width: 128,
            context_length: 128,
            feed_forward_ratio: 4,
            bias: true,
            tied_embeddings: true,
            dropout: 0.0,
            init_std: 0.02,
            initialization: Initialization::Gpt2,
            mup_base_width: 0,
            mup_base_heads: 0,
            mup_base_layers: 0,
            residual_scaling: ResidualScaling::None,
            values: Values::Own,
            attention_gate: AttentionGate::None,
            smear: false,
            bigram_rows: 0,
            embedding_skip: false,
            multi_token_prediction: 0,
            multi_token_loss_weight: 1.0,
            positions: Positions::Learned,
            norm: Norm::Layer,
            norm_placement: NormPlacement::Pre,
            feed_forward: FeedForward::Gelu,
            key_value_heads: 0,
            query_key_norm: false,
            attention_window: 0,
            attention_soft_cap: 0.0,
            logit_soft_cap: 0.0,
            z_loss: 0.0,
        }
    }
}

impl ModelConfig {
    /// Heads of keys and values, with 0 resolved.
    pub fn resolved_key_value_heads(&self) -> u32 {
        if self.key_value_heads == 0 { self.heads } else { self.key_value_heads }
    }

    /// Width of the feed-forward layer.
    pub fn feed_forward_width(&self) -> u32 {
        let full = self.feed_forward_ratio * self.width;
        match self.feed_forward {
            // A multiple of 8 suits the matrix units.
            FeedForward::Swiglu => (full * 2).div_ceil(3).next_multiple_of(8),
            FeedForward::Gelu | FeedForward::ReluSquared => full,
        }
    }

    /// Trainable parameters: (all, all without what is looked up: embeddings of tokens, pairs, positions and values). A tied
    /// head is counted once, with the embedding; an untied one counts as no embedding. Blocks that predict later
    /// tokens count, though they are there in training only.
    pub fn parameters(&self, vocabulary_size: u32) -> (u64, u64) {
        let count = |tensor: &TensorSpec| {
            (tensor.parameters(), if tensor.role == Role::Table { 0 } else { tensor.parameters() })
        };
        self.tensors(vocabulary_size).iter().map(count).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Floating-point operations to train on one token, forward and backward: 6 for each weight of a matrix
    /// product (the head included) and 12 C for each position that one attends to, in each layer, on average
    /// (Kaplan et al. 2020, section 2.1; only what causality and the window leave, as FlashAttention counts it).
    /// What a document mask saves is not counted, because it depends on the text.
    pub fn training_flops_per_token(&self, vocabulary_size: u32) -> f64 {
        let tensors = self.tensors(vocabulary_size);
        let body: u64 = tensors.iter().filter(|t| t.role == Role::Hidden).map(TensorSpec::parameters).sum();
        let heads = 1 + u64::from(self.multi_token_prediction);
        let head = heads * u64::from(vocabulary_size) * u64::from(self.width);
        let attention =
            f64::from(self.layers + self.multi_token_prediction) * self.attended_positions() * f64::from(self.width);
        6.0 * (body + head) as f64 + 12.0 * attention
    }

    /// Positions that one attends to, on average over a full context: half of it without a window.
    fn attended_positions(&self) -> f64 {
        let context = f64::from(self.context_length);
        let window = if self.attention_window == 0 { context } else { f64::from(self.attention_window).min(context) };
        // Of a triangle with side T, the part within W of its long side.
        window * (1.0 - window / (2.0 * context))
    }
}
