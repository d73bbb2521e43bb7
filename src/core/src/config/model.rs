//! `[model]`: the architecture.

use serde::{Deserialize, Serialize};

/// How the model knows where a token stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// To mean 0 and variance 1 (Ba et al. 2016, Layer Normalization).
    #[default]
    Layer,
    /// To root mean square 1, without mean and bias (Zhang and Sennrich 2019, RMSNorm).
    Rms,
}

/// Where a block normalizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// A decoder-only transformer; the defaults are those of GPT-2 (Radford et al. 2019).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Standard deviation of the initial weights; residual projections are scaled by 1/sqrt(2 layers).
    pub initialization_deviation: f64,
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
    /// Logits are squashed into (-cap, cap) by tanh (Gemma Team 2024, Gemma 2, section 2); 0 means not at all.
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
            initialization_deviation: 0.02,
            positions: Positions::Learned,
            norm: Norm::Layer,
            norm_placement: NormPlacement::Pre,
            feed_forward: FeedForward::Gelu,
            key_value_heads: 0,
            query_key_norm: false,
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

    /// Every trainable tensor with its shape, in the order of the computation, under the names that the trainer
    /// and its checkpoints use. B, T, ... as in the model: C width, D width of a head, F feed-forward width,
    /// V vocabulary.
    pub fn tensors(&self, vocabulary_size: u32) -> Vec<(String, Vec<u64>)> {
        let (c, v, t) = (u64::from(self.width), u64::from(vocabulary_size), u64::from(self.context_length));
        let (d, f) = (c / u64::from(self.heads), u64::from(self.feed_forward_width()));
        let key_value = u64::from(self.resolved_key_value_heads()) * d;
        let mut tensors = vec![("token_embedding".to_owned(), vec![v, c])];
        if self.positions == Positions::Learned {
            tensors.push(("position_embedding".to_owned(), vec![t, c]));
        }
        let mut add = |name: String, weight: Vec<u64>, bias: bool| {
            let bias = bias.then(|| (format!("{name}.bias"), vec![weight[0]]));
            tensors.push((format!("{name}.weight"), weight));
            tensors.extend(bias);
        };
        let norm_bias = self.bias && self.norm == Norm::Layer;
        for block in (0..self.layers).map(|i| format!("blocks.{i}")) {
            add(format!("{block}.attention_norm"), vec![c], norm_bias);
            add(format!("{block}.attention.query_key_value"), vec![c + 2 * key_value, c], self.bias);
            if self.query_key_norm {
                add(format!("{block}.attention.query_norm"), vec![d], false);
                add(format!("{block}.attention.key_norm"), vec![d], false);
            }
            add(format!("{block}.attention.output"), vec![c, c], self.bias);
            if self.norm_placement == NormPlacement::Sandwich {
                add(format!("{block}.attention_output_norm"), vec![c], norm_bias);
            }
            add(format!("{block}.feed_forward_norm"), vec![c], norm_bias);
            let gates = if self.feed_forward == FeedForward::Swiglu { 2 } else { 1 };
            add(format!("{block}.feed_forward.input"), vec![gates * f, c], self.bias);
            add(format!("{block}.feed_forward.output"), vec![c, f], self.bias);
            if self.norm_placement == NormPlacement::Sandwich {
                add(format!("{block}.feed_forward_output_norm"), vec![c], norm_bias);
            }
        }
        if self.norm_placement != NormPlacement::Post {
            add("final_norm".to_owned(), vec![c], norm_bias);
        }
        if !self.tied_embeddings {
            tensors.push(("head".to_owned(), vec![v, c]));
        }
        tensors
    }

    /// Trainable parameters: (all, all without token and position embeddings). A tied head is counted once,
    /// with the embedding; an untied one counts as no embedding.
    pub fn parameters(&self, vocabulary_size: u32) -> (u64, u64) {
        let count = |(name, shape): &(String, Vec<u64>)| {
            let parameters: u64 = shape.iter().product();
            (parameters, if name.ends_with("_embedding") { 0 } else { parameters })
        };
        self.tensors(vocabulary_size).iter().map(count).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Floating-point operations to train on one token, forward and backward: 6 for each weight of a matrix
    /// product (the head included) and the causal half of the attention products, 6 L T C
    /// (Kaplan et al. 2020, section 2.1; the causal half as FlashAttention counts it).
    pub fn training_flops_per_token(&self, vocabulary_size: u32) -> f64 {
        let in_product = |name: &str, shape: &[u64]| shape.len() == 2 && !name.ends_with("_embedding");
        let tensors = self.tensors(vocabulary_size);
        let body = tensors.iter().filter(|(name, shape)| name != "head" && in_product(name, shape));
        let body: u64 = body.map(|(_, shape)| shape[0] * shape[1]).sum();
        let head = u64::from(vocabulary_size) * u64::from(self.width);
        let attention = f64::from(self.layers) * f64::from(self.context_length) * f64::from(self.width);
        6.0 * (body + head) as f64 + 6.0 * attention
    }
}
