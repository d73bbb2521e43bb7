//! The language model, from token ids to logits: read it from top to bottom.
//!
//! A decoder-only transformer; with the default config it is GPT-2 (Radford et al. 2019, Language Models are
//! Unsupervised Multitask Learners). Each part that the config can vary is a small file of its own, with its
//! sources: [`positions`], [`mask`], [`norm`], [`attention`], [`feed_forward`], [`residual`], [`initial`]; the loss is in [`loss`]
//! and [`future`], and [`weights`] says where the weights come from. `new` names every weight with its shape and initial value; `hidden` computes.
//! `ModelConfig::tensors` in `harness-core` lists the same weights for those who have no libtorch; a test holds
//! the two together.
//!
//! Letters in the comments on shapes: B sequences, T positions, C width, H heads, K heads of keys and values,
//! D = C / H width of a head, F width of the feed-forward layer, V vocabulary.

pub mod attention;
pub mod feed_forward;
pub mod future;
pub mod initial;
pub mod loss;
pub mod mask;
pub mod norm;
pub mod observe;
pub mod positions;
pub mod residual;
pub mod weights;

use harness_core::config::{ModelConfig, NormPlacement, Values};
use tch::{Kind, Tensor};

use crate::error::Error;
use crate::native;
use attention::Attention;
use feed_forward::FeedForward;
use initial::Deviations;
use loss::Head;
use mask::Packing;
use norm::Norm;
use positions::{InAttention, Positions};
use residual::{Branch, Mixture};
use weights::{Initial, Weights};

/// The whole model.
pub struct Transformer {
    token_embedding: Tensor,         // (V, C), float32
    value_embedding: Option<Tensor>, // (V, K D), float32
    positions: Positions,
    blocks: Vec<Block>,
    /// In training, blocks beside the last one that predict the tokens after the next.
    future: Vec<Block>,
    final_norm: Option<Norm>,
    head: Head,
    logit_scale: f64,
    future_loss_weight: f64,
    compute: Kind,
    context_length: usize,
    key_value_heads: i64,
}

/// One layer: attention, then a feed-forward layer, each added to the residual stream.
struct Block {
    embedding_mix: Option<Mixture>,
    attention_branch: Branch,
    attention: Attention,
    feed_forward_branch: Branch,
    feed_forward: FeedForward,
}

/// What the blocks of a pass read besides the residual stream.
struct Shared {
    seen: InAttention,
    /// The embedded tokens, (B, T, C).
    embedded: Tensor,
    /// Values that attention mixes with its own, (B, K, T, D): those of a table, or of the first block.
    values: Option<Tensor>,
}

impl Transformer {
    /// Names every weight, with its shape and initial value.
    pub fn new(config: &ModelConfig, vocabulary_size: u32, weights: &mut dyn Weights) -> Self {
        let (c, v) = (i64::from(config.width), i64::from(vocabulary_size));
        let (layers, key_value_heads) = (config.layers, i64::from(config.resolved_key_value_heads()));
        let normal = Initial::Normal(config.initialization_deviation);
        let token_embedding = weights.float32("token_embedding", &[v, c], normal);
        let positions = Positions::new(config, weights);
        let value_width = key_value_heads * i64::from(config.width / config.heads);
        let value_embedding =
            (config.values == Values::Embedding).then(|| weights.float32("value_embedding", &[v, value_width], normal));
        let blocks = (0..layers).map(|i| Block::new(config, i + 1, &format!("blocks.{i}"), weights)).collect();
        let future =
            (0..config.future_tokens).map(|i| Block::new(config, layers, &format!("future.{i}"), weights)).collect();
        let has_final_norm = config.norm_placement != NormPlacement::Post;
        let final_norm = has_final_norm.then(|| Norm::new(config, "final_norm", weights));
        let head = Head::new(config, if config.tied_embeddings { "token_embedding" } else { "head" }, &[v, c], weights);
        Transformer {
            token_embedding,
            value_embedding,
            positions,
            blocks,
            future,
            final_norm,
            head,
            logit_scale: config.logit_scale(),
            future_loss_weight: config.future_loss_weight,
            compute: weights.compute(),
            context_length: config.context_length as usize,
            key_value_heads,
        }
    }

    /// Hidden states after the last norm, (B, T, C), for token ids (B, T). The same positions with the same
    /// tokens before them get the same states, whatever comes after; with a `packing`, only tokens of the same
    /// text count. `dropout` is 0 in evaluation.
    pub fn hidden(&self, tokens: &Tensor, packing: Option<&Packing>, dropout: f64) -> Tensor {
        self.states(tokens, packing, dropout, &[]).swap_remove(0)
    }

    /// Hidden states of the next token, then those of the `future` blocks; (B, T, C) each.
    fn states(&self, tokens: &Tensor, packing: Option<&Packing>, dropout: f64, future: &[Block]) -> Vec<Tensor> {
        let (b, t) = tokens.size2().expect("token ids are (B, T)");
        let embedded = Tensor::embedding(&self.token_embedding, tokens, -1, false, false); // (B, T, C)
        let x = self.positions.add_to(embedded, packing); // (B, T, C)
        let mut x = drop_out(x.to_kind(self.compute), dropout);
        let values = self.value_embedding.as_ref().map(|table| {
            let values = Tensor::embedding(table, tokens, -1, false, false).to_kind(self.compute); // (B, T, K D)
            values.view([b, t, self.key_value_heads, -1]).transpose(1, 2) // (B, K, T, D)
        });
        let mut shared = Shared {
            seen: self.positions.in_attention(t, packing, self.compute, tokens.device()),
            embedded: x.shallow_clone(),
            values,
        };
        let (last, trunk) = self.blocks.split_last().expect("a model has a block");
        observe::embedding(&x);
        for (index, block) in trunk.iter().enumerate() {
            observe::begin_block(index);
            x = block.forward(&x, &mut shared, dropout); // (B, T, C)
        }
        observe::begin_block(trunk.len());
        let blocks = std::iter::once(last).chain(future);
        blocks.map(|block| self.finish(block.forward(&x, &mut shared, dropout))).collect()
    }

    /// What is done to the residual stream before the head; (B, T, C).
    fn finish(&self, x: Tensor) -> Tensor {
        let x = self.final_norm.as_ref().map_or(x.shallow_clone(), |norm| norm.forward(&x));
        // To scale the states is to scale the logits.
        if self.logit_scale == 1.0 { x } else { x * self.logit_scale }
    }

    /// One pass of training over inputs and targets (B, T): forward, loss and backward for `scale` times the sum of
    /// the losses. Gradients add up in the parameters. Returns the unscaled sum of the next-token losses in nats,
    /// shape ().
    pub fn backward(
        &self,
        inputs: &Tensor,
        targets: &Tensor,
        packing: Option<&Packing>,
        scale: f64,
        dropout: f64,
    ) -> Result<Tensor, Error> {
        let states = self.states(inputs, packing, dropout, &self.future); // (B, T, C) each
        match states.as_slice() {
            [hidden] => loss::backward(&self.head, hidden, targets, scale),
            states => future::backward(&self.head, states, targets, scale, self.future_loss_weight),
        }
    }

    /// The kernel that attention takes in training over token ids (B, T), see [`native::attention_kernel`].
    pub fn attention_kernel(
        &self,
        tokens: &Tensor,
        packing: Option<&Packing>,
        dropout: f64,
    ) -> Result<&'static str, Error> {
        let (_, t) = tokens.size2().expect("token ids are (B, T)");
        let seen = self.positions.in_attention(t, packing, self.compute, tokens.device());
        self.blocks[0].attention.kernel(t, &seen, dropout, (self.compute, tokens.device()))
    }

    /// The output head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Channels of the residual stream.
    pub fn width(&self) -> usize {
        self.token_embedding.size()[1] as usize
    }

    /// Most tokens that can be read at once.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// All logits in float32, (B, T, V). Training never holds them; see [`loss`].
    pub fn logits(&self, tokens: &Tensor) -> Tensor {
        self.head.logits(&self.hidden(tokens, None, 0.0)).to_kind(Kind::Float)
    }
}

impl Block {
    /// Block `number`, counted from 1.
    fn new(config: &ModelConfig, number: u32, name: &str, weights: &mut dyn Weights) -> Self {
        let deviations = Deviations::of_block(config, number);
        let mixture = |name: &str, weights: &mut dyn Weights| Mixture::new(name, 1.0, 0.0, weights);
        Block {
            embedding_mix: config.embedding_skip.then(|| mixture(&format!("{name}.embedding_mix"), weights)),
            attention_branch: Branch::new(config, &format!("{name}.attention"), weights),
            attention: Attention::new(config, deviations, number > 1, &format!("{name}.attention"), weights),
            feed_forward_branch: Branch::new(config, &format!("{name}.feed_forward"), weights),
            feed_forward: FeedForward::new(config, deviations, &format!("{name}.feed_forward"), weights),
        }
    }

    /// (B, T, C) to (B, T, C).
    fn forward(&self, x: &Tensor, shared: &mut Shared, dropout: f64) -> Tensor {
        let x = self.embedding_mix.as_ref().map_or(x.shallow_clone(), |mix| mix.of(x, &shared.embedded));
        let attention = |x: &Tensor| {
            let y = self.attention.forward(x, &shared.seen, &mut shared.values, dropout);
            observe::output("attention", y)
        };
        let x = self.attention_branch.add_to(&x, attention, dropout);
        let feed_forward = |x: &Tensor| observe::output("feed_forward", self.feed_forward.forward(x));
        observe::output("", self.feed_forward_branch.add_to(&x, feed_forward, dropout))
    }
}

/// An affine map.
pub struct Linear {
    weight: Tensor, // (out, in)
    bias: Option<Tensor>,
}

impl Linear {
    /// `from` channels to `to`; `deviation` is that of the initial weights.
    fn new(config: &ModelConfig, name: &str, from: i64, to: i64, deviation: f64, weights: &mut dyn Weights) -> Self {
        let normal = Initial::Normal(deviation);
        Linear {
            weight: weights.get(&format!("{name}.weight"), &[to, from], normal),
            bias: config.bias.then(|| weights.get(&format!("{name}.bias"), &[to], Initial::Zeros)),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }

    /// `forward` of GELU(x), of which the backward pass keeps x alone.
    fn forward_gelu(&self, x: &Tensor) -> Tensor {
        native::gelu_linear(x, &self.weight, self.bias.as_ref())
    }
}

/// Numbers squashed into (-cap, cap): Gemma Team 2024, Gemma 2, section 2. A cap of 0 means none.
fn soft_capped(x: Tensor, cap: f64) -> Tensor {
    if cap > 0.0 { (x / cap).tanh() * cap } else { x }
}

fn drop_out(x: Tensor, probability: f64) -> Tensor {
    if probability > 0.0 { x.dropout(probability, true) } else { x }
}

#[cfg(test)]
mod tests;
