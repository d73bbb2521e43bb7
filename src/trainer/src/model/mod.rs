//! The language model, from token ids to logits: read it from top to bottom.
//!
//! A decoder-only transformer; with the default config it is GPT-2 (Radford et al. 2019, Language Models are
//! Unsupervised Multitask Learners). [`Transformer::hidden`] and `Block::forward` are the whole computation. Each part that
//! the config can vary is a small file of its own, with its sources: [`positions`], [`mask`], [`norm`], [`attention`],
//! [`feed_forward`], [`residual`]; the loss is in [`loss`]. What the default model does without is in [`extras`].
//!
//! Every weight stands with shape and initial value in one list, `ModelConfig::tensors` in `harness-core`; the model
//! asks for it by name ([`weights`]), and has the part that needs it where the list has the weight.
//!
//! Letters in the comments on shapes: B sequences, T positions, C width, H heads, K heads of keys and values,
//! D = C / H width of a head, F width of the feed-forward layer, V vocabulary.

pub mod attention;
pub mod extras;
pub mod feed_forward;
pub mod loss;
pub mod mask;
pub mod norm;
pub mod positions;
pub mod residual;
pub mod weights;

use harness_core::config::ModelConfig;
use tch::{Kind, Tensor};

use crate::error::Error;
use crate::native::{self, Activation};
use attention::Attention;
use extras::smear::Smear;
use extras::{bigram, multi_token, observe};
use feed_forward::FeedForward;
use loss::Head;
use mask::Packing;
use norm::Norm;
use positions::{InAttention, Positions};
use residual::{Branch, Mixture};
use weights::Weights;

/// The whole model.
pub struct Transformer {
    token_embedding: Tensor,         // (V, C), float32
    value_embedding: Option<Tensor>, // (V, K D), float32
    smear: Option<Smear>,
    bigram_embedding: Option<Tensor>, // (rows, C), float32
    positions: Positions,
    blocks: Vec<Block>,
    /// In training, blocks beside the last one that predict the tokens after the next: see [`multi_token`].
    future: Vec<Block>,
    final_norm: Option<Norm>,
    head: Head,
    logit_scale: f64,
    multi_token_loss_weight: f64,
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

/// What all blocks of a pass read besides the residual stream.
struct Pass {
    seen: InAttention,
    /// The embedded tokens, (B, T, C).
    embedded: Tensor,
    dropout: f64,
}

impl Transformer {
    /// The model that the config describes, over these weights.
    pub fn new(config: &ModelConfig, weights: &Weights<'_>) -> Self {
        let block = |name: String| Block::new(config, &name, weights);
        Transformer {
            token_embedding: weights.float32("token_embedding"),
            value_embedding: weights.find_float32("value_embedding"),
            smear: Smear::find(weights),
            bigram_embedding: weights.find_float32("bigram_embedding"),
            positions: Positions::new(config, weights),
            blocks: (0..config.layers).map(|i| block(format!("blocks.{i}"))).collect(),
            future: (0..config.multi_token_prediction).map(|i| block(format!("future.{i}"))).collect(),
            final_norm: Norm::find(config.norm, "final_norm", weights),
            head: Head::new(config, weights),
            logit_scale: config.logit_scale(),
            multi_token_loss_weight: config.multi_token_loss_weight,
            compute: weights.compute(),
            context_length: config.context_length as usize,
            key_value_heads: i64::from(config.resolved_key_value_heads()),
        }
    }

    /// Hidden states after the last norm, (B, T, C), for token ids (B, T). The same positions with the same
    /// tokens before them get the same states, whatever comes after; with a `packing`, only tokens of the same
    /// text count. `dropout` is 0 in evaluation.
    pub fn hidden(&self, tokens: &Tensor, packing: Option<&Packing>, dropout: f64) -> Tensor {
        let (mut x, mut values, pass) = self.embed(tokens, packing, dropout);
        observe::embedding(&x);
        for (index, block) in self.blocks.iter().enumerate() {
            observe::begin_block(index);
            (x, values) = block.forward(&x, values, &pass); // (B, T, C)
        }
        self.finish(x)
    }

    /// The residual stream before the first block, (B, T, C), values that blocks share, (B, K, T, D), if the tokens look
    /// them up, and what the blocks read besides.
    fn embed(&self, tokens: &Tensor, packing: Option<&Packing>, dropout: f64) -> (Tensor, Option<Tensor>, Pass) {
        let (b, t) = tokens.size2().expect("token ids are (B, T)");
        let x = self.positions.add_to(self.embed_tokens(tokens, packing), packing); // (B, T, C)
        let x = drop_out(x.to_kind(self.compute), dropout);
        let values = self.value_embedding.as_ref().map(|table| {
            let values = Tensor::embedding(table, tokens, -1, false, false).to_kind(self.compute); // (B, T, K D)
            values.view([b, t, self.key_value_heads, -1]).transpose(1, 2) // (B, K, T, D)
        });
        let seen = self.positions.in_attention(t, packing, self.compute, tokens.device());
        let pass = Pass { seen, embedded: x.shallow_clone(), dropout };
        (x, values, pass)
    }

    /// The vectors of the tokens, with what the tokens before them add; (B, T, C), float32.
    fn embed_tokens(&self, tokens: &Tensor, packing: Option<&Packing>) -> Tensor {
        let mut x = Tensor::embedding(&self.token_embedding, tokens, -1, false, false); // (B, T, C)
        if self.smear.is_none() && self.bigram_embedding.is_none() {
            return x;
        }
        let before = mask::previous(tokens, packing); // (B, T)
        if let Some(smear) = &self.smear {
            x = smear.add_to(x, &before, &self.token_embedding);
        }
        if let Some(table) = &self.bigram_embedding {
            let rows = bigram::rows(tokens, &before, table.size()[0]); // (B, T)
            x += Tensor::embedding(table, &rows, -1, false, false);
        }
        x
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
        if self.future.is_empty() {
            loss::backward(&self.head, &self.hidden(inputs, packing, dropout), targets, scale)
        } else {
            let states = multi_token::states(self, inputs, packing, dropout); // (B, T, C) each
            multi_token::backward(&self.head, &states, targets, scale, self.multi_token_loss_weight)
        }
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
    /// The block `name`.
    fn new(config: &ModelConfig, name: &str, weights: &Weights<'_>) -> Self {
        let (attention, feed_forward) = (format!("{name}.attention"), format!("{name}.feed_forward"));
        Block {
            embedding_mix: Mixture::find(&format!("{name}.embedding_mix"), weights),
            attention_branch: Branch::new(config, &attention, weights),
            attention: Attention::new(config, &attention, weights),
            feed_forward_branch: Branch::new(config, &feed_forward, weights),
            feed_forward: FeedForward::new(config, &feed_forward, weights),
        }
    }

    /// The residual stream, (B, T, C), with attention and then the feed-forward layer added. `values` are those that blocks
    /// share, (B, K, T, D), if they do.
    fn forward(&self, x: &Tensor, values: Option<Tensor>, pass: &Pass) -> (Tensor, Option<Tensor>) {
        let mixed = self.embedding_mix.as_ref().map(|mix| mix.of(x, &pass.embedded));
        let x = mixed.as_ref().unwrap_or(x);

        let branch = &self.attention_branch;
        let (y, values) = self.attention.forward(&branch.input(x), values, &pass.seen, pass.dropout);
        observe::output("attention", &y);
        let x = branch.sum(x + drop_out(branch.output(y), pass.dropout));

        let branch = &self.feed_forward_branch;
        let y = self.feed_forward.forward(&branch.input(&x));
        observe::output("feed_forward", &y);
        let x = branch.sum(&x + drop_out(branch.output(y), pass.dropout));
        observe::output("", &x);
        (x, values)
    }
}

/// An affine map.
pub struct Linear {
    weight: Tensor, // (out, in)
    bias: Option<Tensor>,
}

impl Linear {
    /// The map `name`.
    fn new(name: &str, weights: &Weights<'_>) -> Self {
        Self::find(name, weights).unwrap_or_else(|| panic!("the model has no map `{name}`"))
    }

    /// The map `name`, if the model has it.
    fn find(name: &str, weights: &Weights<'_>) -> Option<Self> {
        let find = |which: &str| weights.find_for(&format!("{name}.{which}"), native::own_products);
        Some(Linear { weight: find("weight")?, bias: find("bias") })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        native::linear(x, &self.weight, self.bias.as_ref())
    }

    /// `forward` of what an activation makes of x, of which the backward pass keeps x alone.
    fn forward_activated(&self, activation: Activation, x: &Tensor) -> Tensor {
        native::activated_linear(activation, x, &self.weight, self.bias.as_ref())
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
