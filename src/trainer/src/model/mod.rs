//! The language model, from token ids to logits: read it from top to bottom.
//!
//! A decoder-only transformer; with the default config it is GPT-2 (Radford et al. 2019, Language Models are
//! Unsupervised Multitask Learners). Each part that the config can vary is a small file of its own, with its
//! sources: [`positions`], [`norm`], [`attention`], [`feed_forward`]; the loss is in [`loss`], and [`weights`] says
//! where the weights come from. `new` names every weight with its shape and initial value; `hidden` computes.
//! `ModelConfig::tensors` in `harness-core` lists the same weights for those who have no libtorch; a test holds
//! the two together.
//!
//! Letters in the comments on shapes: B sequences, T positions, C width, H heads, K heads of keys and values,
//! D = C / H width of a head, F width of the feed-forward layer, V vocabulary.

pub mod attention;
pub mod feed_forward;
pub mod loss;
pub mod norm;
pub mod positions;
pub mod weights;

use harness_core::config::{ModelConfig, NormPlacement};
use tch::{Kind, Tensor};

use attention::Attention;
use feed_forward::FeedForward;
use loss::Head;
use norm::Norm;
use positions::Positions;
use weights::{Initial, Weights};

/// The whole model.
pub struct Transformer {
    token_embedding: Tensor, // (V, C), float32
    positions: Positions,
    blocks: Vec<Block>,
    final_norm: Option<Norm>,
    head: Head,
    compute: Kind,
    context_length: usize,
}

/// One layer: attention, then a feed-forward layer, each added to the residual stream.
struct Block {
    attention_norm: Norm,
    attention: Attention,
    attention_output_norm: Option<Norm>,
    feed_forward_norm: Norm,
    feed_forward: FeedForward,
    feed_forward_output_norm: Option<Norm>,
    placement: NormPlacement,
}

impl Transformer {
    /// Names every weight, with its shape and initial value.
    pub fn new(config: &ModelConfig, vocabulary_size: u32, weights: &mut dyn Weights) -> Self {
        let (c, v) = (i64::from(config.width), i64::from(vocabulary_size));
        let normal = Initial::Normal(config.initialization_deviation);
        let token_embedding = weights.float32("token_embedding", &[v, c], normal);
        let positions = Positions::new(config, weights);
        let blocks = (0..config.layers).map(|i| Block::new(config, &format!("blocks.{i}"), weights)).collect();
        let has_final_norm = config.norm_placement != NormPlacement::Post;
        let final_norm = has_final_norm.then(|| Norm::new(config, "final_norm", weights));
        let head = Head::new(config, if config.tied_embeddings { "token_embedding" } else { "head" }, &[v, c], weights);
        let (compute, context_length) = (weights.compute(), config.context_length as usize);
        Transformer { token_embedding, positions, blocks, final_norm, head, compute, context_length }
    }

    /// Hidden states after the last norm, (B, T, C), for token ids (B, T). The same positions with the same
    /// tokens before them get the same states, whatever comes after. `dropout` is 0 in evaluation.
    pub fn hidden(&self, tokens: &Tensor, dropout: f64) -> Tensor {
        let (_, t) = tokens.size2().expect("token ids are (B, T)");
        let embedded = Tensor::embedding(&self.token_embedding, tokens, -1, false, false); // (B, T, C)
        let x = self.positions.add_to(embedded); // (B, T, C)
        let seen = self.positions.in_attention(t, self.compute, tokens.device());
        let mut x = drop_out(x.to_kind(self.compute), dropout);
        for block in &self.blocks {
            x = block.forward(&x, &seen, dropout); // (B, T, C)
        }
        match &self.final_norm {
            Some(norm) => norm.forward(&x), // (B, T, C)
            None => x,
        }
    }

    /// The output head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Most tokens that can be read at once.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// All logits in float32, (B, T, V). Training never holds them; see [`loss`].
    pub fn logits(&self, tokens: &Tensor) -> Tensor {
        self.head.logits(&self.hidden(tokens, 0.0)).to_kind(Kind::Float)
    }
}

impl Block {
    fn new(config: &ModelConfig, name: &str, weights: &mut dyn Weights) -> Self {
        let sandwich = config.norm_placement == NormPlacement::Sandwich;
        Block {
            attention_norm: Norm::new(config, &format!("{name}.attention_norm"), weights),
            attention: Attention::new(config, &format!("{name}.attention"), weights),
            attention_output_norm: sandwich
                .then(|| Norm::new(config, &format!("{name}.attention_output_norm"), weights)),
            feed_forward_norm: Norm::new(config, &format!("{name}.feed_forward_norm"), weights),
            feed_forward: FeedForward::new(config, &format!("{name}.feed_forward"), weights),
            feed_forward_output_norm: sandwich
                .then(|| Norm::new(config, &format!("{name}.feed_forward_output_norm"), weights)),
            placement: config.norm_placement,
        }
    }

    fn forward(&self, x: &Tensor, seen: &positions::InAttention, dropout: f64) -> Tensor {
        let attention = |x: &Tensor| self.attention.forward(x, seen, dropout);
        let x = self.branch(x, &self.attention_norm, attention, self.attention_output_norm.as_ref(), dropout);
        let feed_forward = |x: &Tensor| self.feed_forward.forward(x);
        self.branch(&x, &self.feed_forward_norm, feed_forward, self.feed_forward_output_norm.as_ref(), dropout)
    }

    /// A branch added to the residual stream, normalized where the config says; (B, T, C) all the way.
    fn branch(
        &self,
        x: &Tensor,
        norm: &Norm,
        compute: impl Fn(&Tensor) -> Tensor,
        output_norm: Option<&Norm>,
        dropout: f64,
    ) -> Tensor {
        match self.placement {
            NormPlacement::Pre => x + drop_out(compute(&norm.forward(x)), dropout),
            NormPlacement::Post => norm.forward(&(x + drop_out(compute(x), dropout))),
            NormPlacement::Sandwich => {
                let y = compute(&norm.forward(x));
                let y = output_norm.map_or(y.shallow_clone(), |norm| norm.forward(&y));
                x + drop_out(y, dropout)
            }
        }
    }
}

/// An affine map.
pub struct Linear {
    weight: Tensor, // (out, in)
    bias: Option<Tensor>,
}

impl Linear {
    /// `from` channels to `to`; `scale` multiplies the standard deviation of the initial weights.
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

/// Initial projections into the residual stream are this much smaller, because 2 L of them add up
/// (Radford et al. 2019, section 2.3).
fn residual_scale(config: &ModelConfig) -> f64 {
    1.0 / f64::from(2 * config.layers).sqrt()
}

fn drop_out(x: Tensor, probability: f64) -> Tensor {
    if probability > 0.0 { x.dropout(probability, true) } else { x }
}

#[cfg(test)]
mod tests;
