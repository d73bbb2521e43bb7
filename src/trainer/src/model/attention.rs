//! Causal self-attention (Vaswani et al. 2017, section 3.2), with as many heads of keys and values as of queries,
//! fewer (Ainslie et al. 2023, GQA), or one (Shazeer 2019, Fast Transformer Decoding).

use harness_core::config::{ModelConfig, Norm as Form, Values};
use tch::{Kind, Tensor};

use super::extras::observe;
use super::norm::Norm;
use super::positions::InAttention;
use super::residual::Mixture;
use super::weights::Weights;
use super::{Linear, drop_out, soft_capped};
use crate::native;

/// Attention of one layer.
pub struct Attention {
    query_key_value: Linear, // C -> (H + 2 K) D
    /// Keeps the scores in range whatever the weights grow to (Henry et al. 2020, Query-Key Normalization).
    query_key_norm: Option<(Norm, Norm)>,
    /// Multiplies heads, or each of their channels, by a sigmoid (Qiu et al. 2025, Gated Attention for Large Language
    /// Models, section 2.2).
    gate: Option<Linear>, // C -> H or C
    output: Linear, // C -> C
    /// Of the block's own values and those that blocks share.
    value_mix: Option<Mixture>,
    /// Later blocks mix this block's values with theirs.
    lends_values: bool,
    heads: i64,
    key_value_heads: i64,
    head_width: i64,
    /// By what scores are multiplied.
    scale: f64,
    soft_cap: f64,
}

impl Attention {
    /// The layer `name`.
    pub fn new(config: &ModelConfig, name: &str, weights: &Weights<'_>) -> Self {
        let norm = |which: &str| Norm::find(Form::Rms, &format!("{name}.{which}_norm"), weights);
        let value_mix = Mixture::find(&format!("{name}.value_mix"), weights);
        Attention {
            query_key_value: Linear::new(&format!("{name}.query_key_value"), weights),
            query_key_norm: norm("query").zip(norm("key")),
            gate: Linear::find(&format!("{name}.gate"), weights),
            output: Linear::new(&format!("{name}.output"), weights),
            lends_values: config.values == Values::FirstBlock && value_mix.is_none(),
            value_mix,
            heads: i64::from(config.heads),
            key_value_heads: i64::from(config.resolved_key_value_heads()),
            head_width: i64::from(config.width / config.heads),
            scale: config.attention_scale(),
            soft_cap: config.attention_soft_cap,
        }
    }

    /// (B, T, C) to (B, T, C); no position sees a later one. With it the values that blocks share, (B, K, T, D), if they
    /// do: those that come in, or this block's own.
    pub fn forward(
        &self,
        x: &Tensor,
        shared: Option<Tensor>,
        seen: &InAttention,
        dropout: f64,
    ) -> (Tensor, Option<Tensor>) {
        let (b, t, c) = x.size3().expect("hidden states are (B, T, C)");
        let (h, k, d) = (self.heads, self.key_value_heads, self.head_width);
        let all = self.query_key_value.forward(x).view([b, t, h + 2 * k, d]); // (B, T, H + 2 K, D)
        let parts = all.split_with_sizes([h, k, k], 2);
        let [mut query, mut key, mut value] = [0, 1, 2].map(|i| parts[i].transpose(1, 2)); // (B, H or K, T, D)
        if let Some((query_norm, key_norm)) = &self.query_key_norm {
            (query, key) = (query_norm.forward(&query), key_norm.forward(&key));
        }
        (query, key) = (seen.turn(query), seen.turn(key));
        let shared = if self.lends_values { Some(value.shallow_clone()) } else { shared };
        if let (Some(mix), Some(shared)) = (&self.value_mix, &shared) {
            value = mix.of(&value, shared);
        }
        let (key, value) = (self.share(key), self.share(value)); // (B, H, T, D)
        observe::attention(&query, &key, seen.mask(), self.scale, self.soft_cap);
        let y = if self.soft_cap > 0.0 {
            self.capped(&query, &key, &value, seen, dropout)
        } else {
            native::attention(&query, &key, &value, seen.mask(), dropout, self.scale)
        }; // (B, H, T, D)
        let y = y.transpose(1, 2); // (B, T, H, D)
        let y = match &self.gate {
            Some(gate) => &y * gate.forward(x).sigmoid().view([b, t, h, -1]), // by (B, T, H, 1 or D)
            None => y,
        };
        let y = self.output.forward(&y.reshape([b, t, c])); // (B, T, C)
        (y, shared)
    }

    /// Attention with scores in (-cap, cap), written out because no fused kernel caps them: Gemma Team 2024, Gemma 2,
    /// section 2.
    fn capped(&self, query: &Tensor, key: &Tensor, value: &Tensor, seen: &InAttention, dropout: f64) -> Tensor {
        let scores = query.matmul(&key.transpose(2, 3)) * self.scale; // (B, H, T, T)
        let mut scores = soft_capped(scores, self.soft_cap);
        if let Some(mask) = seen.mask() {
            scores += mask;
        }
        let shares = drop_out(scores.softmax(-1, Kind::Float).to_kind(value.kind()), dropout);
        shares.matmul(value) // (B, H, T, D)
    }

    /// Repeats each head of keys or values for the query heads that it serves: (B, K, T, D) to (B, H, T, D).
    fn share(&self, x: Tensor) -> Tensor {
        if self.key_value_heads == self.heads {
            return x;
        }
        let (b, k, t, d) = x.size4().expect("heads are (B, K, T, D)");
        let each = self.heads / k;
        x.unsqueeze(2).expand([b, k, each, t, d], false).reshape([b, self.heads, t, d]) // (B, H, T, D)
    }
}
