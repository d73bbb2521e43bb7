//! The language model, from token ids to logits: read it from top to bottom.
//!
//! A decoder-only transformer as GPT-2 has it (Radford et al. 2019, Language Models are Unsupervised Multitask
//! Learners): learned positions, layer norm before each branch, GELU, one matrix for embedding and output. To
//! change the architecture, change it here: `new` names every weight with its shape and initial value, and
//! `hidden` is the computation. The loss is in [`loss`], where the weights come from in [`weights`].
//!
//! Letters in the comments on shapes: B sequences, T positions, C width, H heads, D = C / H width of a head,
//! F width of the feed-forward layer, V vocabulary.

pub mod loss;
pub mod weights;

use harness_core::config::ModelConfig;
use tch::{Kind, Tensor};

use weights::{Initial, Weights};

/// Added to the variance in layer norms, as in GPT-2.
const NORM_EPSILON: f64 = 1e-5;

/// The whole model.
pub struct Transformer {
    token_embedding: Tensor,    // (V, C), float32
    position_embedding: Tensor, // (context, C), float32
    blocks: Vec<Block>,
    final_norm: LayerNorm,
    head: Head,
    compute: Kind,
}

struct Block {
    attention_norm: LayerNorm,
    attention: Attention,
    feed_forward_norm: LayerNorm,
    feed_forward: FeedForward,
}

/// The map from hidden states to logits.
pub struct Head {
    /// (V, C), in the data type of the products, outside of autograd: the loss forms its gradient itself.
    weight: Tensor,
    /// The float32 parameter behind it, which gets the gradient.
    master: Tensor,
}

impl Transformer {
    /// Names every weight, with its shape and initial value (Radford et al. 2019, section 2.3: projections into
    /// the residual stream are scaled by 1/sqrt(2 L), because 2 L of them add up).
    pub fn new(config: &ModelConfig, vocabulary_size: u32, weights: &mut dyn Weights) -> Self {
        let (c, v) = (i64::from(config.width), i64::from(vocabulary_size));
        let normal = Initial::Normal(config.initialization_deviation);
        let token_embedding = weights.float32("token_embedding", &[v, c], normal);
        let position_embedding = weights.float32("position_embedding", &[i64::from(config.context_length), c], normal);
        let blocks = (0..config.layers).map(|i| Block::new(config, &format!("blocks.{i}"), weights)).collect();
        let final_norm = LayerNorm::new(config, "final_norm", weights);
        let head = if config.tied_embeddings { "token_embedding" } else { "head" };
        let head = Head {
            weight: weights.get(head, &[v, c], normal).detach(),
            master: weights.float32(head, &[v, c], normal),
        };
        Transformer { token_embedding, position_embedding, blocks, final_norm, head, compute: weights.compute() }
    }

    /// Hidden states after the last norm, (B, T, C), for token ids (B, T). The same positions with the same
    /// tokens before them get the same states, whatever comes after. `dropout` is 0 in evaluation.
    pub fn hidden(&self, tokens: &Tensor, dropout: f64) -> Tensor {
        let (_, t) = tokens.size2().expect("token ids are (B, T)");
        let positions = self.position_embedding.narrow(0, 0, t); // (T, C)
        let x = Tensor::embedding(&self.token_embedding, tokens, -1, false, false) + positions; // (B, T, C)
        let mut x = drop_out(x.to_kind(self.compute), dropout);
        for block in &self.blocks {
            x = &x + drop_out(block.attention.forward(&block.attention_norm.forward(&x), dropout), dropout);
            x = &x + drop_out(block.feed_forward.forward(&block.feed_forward_norm.forward(&x)), dropout);
        }
        self.final_norm.forward(&x) // (B, T, C)
    }

    /// The output head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// All logits in float32, (B, T, V). Training never holds them; see [`loss`].
    pub fn logits(&self, tokens: &Tensor) -> Tensor {
        self.head.logits(&self.hidden(tokens, 0.0)).to_kind(Kind::Float)
    }
}

impl Head {
    /// Logits (.., V) of hidden states (.., C), in the data type of the products.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.matmul(&self.weight.tr())
    }
}

impl Block {
    fn new(config: &ModelConfig, name: &str, weights: &mut dyn Weights) -> Self {
        Block {
            attention_norm: LayerNorm::new(config, &format!("{name}.attention_norm"), weights),
            attention: Attention::new(config, &format!("{name}.attention"), weights),
            feed_forward_norm: LayerNorm::new(config, &format!("{name}.feed_forward_norm"), weights),
            feed_forward: FeedForward::new(config, &format!("{name}.feed_forward"), weights),
        }
    }
}

/// Causal self-attention with several heads (Vaswani et al. 2017, section 3.2).
struct Attention {
    query_key_value: Linear, // C -> 3 C
    output: Linear,          // C -> C
    heads: i64,
}

impl Attention {
    fn new(config: &ModelConfig, name: &str, weights: &mut dyn Weights) -> Self {
        let c = i64::from(config.width);
        Attention {
            query_key_value: Linear::new(config, &format!("{name}.query_key_value"), c, 3 * c, 1.0, weights),
            output: Linear::new(config, &format!("{name}.output"), c, c, residual_scale(config), weights),
            heads: i64::from(config.heads),
        }
    }

    fn forward(&self, x: &Tensor, dropout: f64) -> Tensor {
        let (b, t, c) = x.size3().expect("hidden states are (B, T, C)");
        let (h, d) = (self.heads, c / self.heads);
        let split = self.query_key_value.forward(x).view([b, t, 3, h, d]).unbind(2); // 3 of (B, T, H, D)
        let [q, k, v] = [0, 1, 2].map(|i| split[i].transpose(1, 2)); // (B, H, T, D)
        let y = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, dropout, true, None, false);
        self.output.forward(&y.transpose(1, 2).reshape([b, t, c])) // (B, T, C)
    }
}

/// Two layers with GELU between them (Hendrycks and Gimpel 2016), in the tanh form that GPT-2 uses.
struct FeedForward {
    input: Linear,  // C -> F
    output: Linear, // F -> C
}

impl FeedForward {
    fn new(config: &ModelConfig, name: &str, weights: &mut dyn Weights) -> Self {
        let c = i64::from(config.width);
        let f = c * i64::from(config.feed_forward_ratio);
        FeedForward {
            input: Linear::new(config, &format!("{name}.input"), c, f, 1.0, weights),
            output: Linear::new(config, &format!("{name}.output"), f, c, residual_scale(config), weights),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.output.forward(&self.input.forward(x).gelu("tanh")) // (B, T, C)
    }
}

/// An affine map.
struct Linear {
    weight: Tensor, // (out, in)
    bias: Option<Tensor>,
}

impl Linear {
    fn new(config: &ModelConfig, name: &str, from: i64, to: i64, scale: f64, weights: &mut dyn Weights) -> Self {
        let normal = Initial::Normal(config.initialization_deviation * scale);
        Linear {
            weight: weights.get(&format!("{name}.weight"), &[to, from], normal),
            bias: config.bias.then(|| weights.get(&format!("{name}.bias"), &[to], Initial::Zeros)),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// Layer normalization (Ba et al. 2016).
struct LayerNorm {
    weight: Tensor, // (C)
    bias: Option<Tensor>,
}

impl LayerNorm {
    fn new(config: &ModelConfig, name: &str, weights: &mut dyn Weights) -> Self {
        let c = i64::from(config.width);
        LayerNorm {
            weight: weights.get(&format!("{name}.weight"), &[c], Initial::Ones),
            bias: config.bias.then(|| weights.get(&format!("{name}.bias"), &[c], Initial::Zeros)),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), self.bias.as_ref(), NORM_EPSILON, false)
    }
}

fn residual_scale(config: &ModelConfig) -> f64 {
    1.0 / f64::from(2 * config.layers).sqrt()
}

fn drop_out(x: Tensor, probability: f64) -> Tensor {
    if probability > 0.0 { x.dropout(probability, true) } else { x }
}

#[cfg(test)]
mod tests;
