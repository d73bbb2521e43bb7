//! Causal self-attention (Vaswani et al. 2017, section 3.2), with as many heads of keys and values as of queries,
//! fewer (Ainslie et al. 2023, GQA), or one (Shazeer 2019, Fast Transformer Decoding).

use harness_core::config::{ModelConfig, Values};
use tch::{Device, Kind, Tensor};

use super::initial::Deviations;
use super::norm::Norm;
use super::observe;
use super::positions::InAttention;
use super::residual::Mixture;
use super::weights::Weights;
use super::{Linear, drop_out, soft_capped};
use crate::error::Error;
use crate::native;

/// Attention of one layer.
pub struct Attention {
    query_key_value: Linear, // C -> (H + 2 K) D
    /// Keeps the scores in range whatever the weights grow to (Henry et al. 2020, Query-Key Normalization).
    query_key_norm: Option<(Norm, Norm)>,
    output: Linear, // C -> C
    values: Mixed,
    heads: i64,
    key_value_heads: i64,
    head_width: i64,
    /// By what scores are multiplied.
    scale: f64,
    soft_cap: f64,
}

/// What becomes of a block's own values.
enum Mixed {
    /// Nothing.
    No,
    /// Later blocks mix them with theirs.
    First,
    /// They are mixed with those that the blocks share.
    Shared(Mixture),
}

impl Attention {
    /// Names the weights. The values of the first block may be read by `later` ones.
    pub fn new(
        config: &ModelConfig,
        deviations: Deviations,
        later: bool,
        name: &str,
        weights: &mut dyn Weights,
    ) -> Self {
        let (h, k, c) = (config.heads, config.resolved_key_value_heads(), i64::from(config.width));
        let wide = i64::from((h + 2 * k) * (config.width / h));
        Attention {
            query_key_value: Linear::new(
                config,
                &format!("{name}.query_key_value"),
                c,
                wide,
                deviations.reading,
                weights,
            ),
            query_key_norm: config.query_key_norm.then(|| {
                let mut norm = |which: &str| Norm::of_head(config, &format!("{name}.{which}_norm"), weights);
                (norm("query"), norm("key"))
            }),
            values: match config.values {
                Values::Own => Mixed::No,
                Values::FirstBlock if !later => Mixed::First,
                // Half and half at first, as in both sources.
                Values::FirstBlock | Values::Embedding => {
                    Mixed::Shared(Mixture::new(&format!("{name}.value_mix"), 0.5, 0.5, weights))
                }
            },
            output: Linear::new(config, &format!("{name}.output"), c, c, deviations.projecting, weights),
            heads: i64::from(h),
            key_value_heads: i64::from(k),
            head_width: i64::from(config.width / h),
            scale: config.attention_scale(),
            soft_cap: config.attention_soft_cap,
        }
    }

    /// (B, T, C) to (B, T, C); no position sees a later one. `shared` holds the values that blocks share, (B, K, T, D),
    /// if they do.
    pub fn forward(&self, x: &Tensor, seen: &InAttention, shared: &mut Option<Tensor>, dropout: f64) -> Tensor {
        let (b, t, c) = x.size3().expect("hidden states are (B, T, C)");
        let (h, k, d) = (self.heads, self.key_value_heads, self.head_width);
        let all = self.query_key_value.forward(x).view([b, t, h + 2 * k, d]); // (B, T, H + 2 K, D)
        let parts = all.split_with_sizes([h, k, k], 2);
        let [mut query, mut key, mut value] = [0, 1, 2].map(|i| parts[i].transpose(1, 2)); // (B, H or K, T, D)
        if let Some((query_norm, key_norm)) = &self.query_key_norm {
            (query, key) = (query_norm.forward(&query), key_norm.forward(&key));
        }
        (query, key) = (seen.turn(query), seen.turn(key));
        match (&self.values, shared.as_ref()) {
            (Mixed::First, _) => *shared = Some(value.shallow_clone()),
            (Mixed::Shared(mixture), Some(shared)) => value = mixture.of(&value, shared),
            (Mixed::No | Mixed::Shared(_), _) => {}
        }
        let (key, value) = (self.share(key), self.share(value)); // (B, H, T, D)
        observe::attention(&query, &key, seen.mask(), self.scale, self.soft_cap);
        let y = if self.soft_cap > 0.0 {
            self.capped(&query, &key, &value, seen, dropout)
        } else {
            native::attention(&query, &key, &value, seen.mask(), dropout, self.scale)
        }; // (B, H, T, D)
        self.output.forward(&y.transpose(1, 2).reshape([b, t, c])) // (B, T, C)
    }

    /// The name of the kernel that `forward` takes, with a gradient to be formed: see [`native::attention_kernel`].
    pub fn kernel(&self, t: i64, seen: &InAttention, dropout: f64, of: (Kind, Device)) -> Result<&'static str, Error> {
        if self.soft_cap > 0.0 {
            return Ok("written_out");
        }
        let shape = [1, self.heads, t, self.head_width];
        let heads = [(); 3].map(|()| Tensor::zeros(shape, of).set_requires_grad(true));
        native::attention_kernel([&heads[0], &heads[1], &heads[2]], seen.mask(), dropout)
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
