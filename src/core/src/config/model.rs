//! `[model]`: the architecture.

use serde::{Deserialize, Serialize};

/// A decoder-only transformer in the way of GPT-2 (Radford et al. 2019).
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
        }
    }
}

impl ModelConfig {
    /// Every trainable tensor with its shape, in the order of the computation, under the names that the trainer
    /// and its checkpoints use. B, T, ... as in the model: C width, F feed-forward width, V vocabulary.
    pub fn tensors(&self, vocabulary_size: u32) -> Vec<(String, Vec<u64>)> {
        let (c, v, t) = (u64::from(self.width), u64::from(vocabulary_size), u64::from(self.context_length));
        let f = c * u64::from(self.feed_forward_ratio);
        let mut tensors = vec![("token_embedding".to_owned(), vec![v, c]), ("position_embedding".to_owned(), vec![t, c])];
        let mut add = |name: String, weight: Vec<u64>| {
            let bias = vec![weight[0]];
            tensors.push((format!("{name}.weight"), weight));
            if self.bias {
                tensors.push((format!("{name}.bias"), bias));
            }
        };
        for block in (0..self.layers).map(|i| format!("blocks.{i}")) {
            add(format!("{block}.attention_norm"), vec![c]);
            add(format!("{block}.attention.query_key_value"), vec![3 * c, c]);
            add(format!("{block}.attention.output"), vec![c, c]);
            add(format!("{block}.feed_forward_norm"), vec![c]);
            add(format!("{block}.feed_forward.input"), vec![f, c]);
            add(format!("{block}.feed_forward.output"), vec![c, f]);
        }
        add("final_norm".to_owned(), vec![c]);
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
        let (c, l) = (f64::from(self.width), f64::from(self.layers));
        let matrices = l * (4.0 + 2.0 * f64::from(self.feed_forward_ratio)) * c * c + f64::from(vocabulary_size) * c;
        6.0 * matrices + 6.0 * l * f64::from(self.context_length) * c
    }
}
