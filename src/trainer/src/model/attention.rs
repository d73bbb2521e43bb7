//! Causal self-attention (Vaswani et al. 2017, section 3.2), with as many heads of keys and values as of queries,
//! fewer (Ainslie et al. 2023, GQA), or one (Shazeer 2019, Fast Transformer Decoding).

use harness_core::config::ModelConfig;
use tch::Tensor;

use super::norm::Norm;
use super::positions::InAttention;
use super::weights::Weights;
use super::{Linear, residual_scale};

/// Attention of one layer.
pub struct Attention {
    query_key_value: Linear, // C -> (H + 2 K) D
    /// Keeps the scores in range whatever the weights grow to (Henry et al. 2020, Query-Key Normalization).
    query_key_norm: Option<(Norm, Norm)>,
    output: Linear, // C -> C
    heads: i64,
    key_value_heads: i64,
}

impl Attention {
    /// Names the weights.
    pub fn new(config: &ModelConfig, name: &str, weights: &mut dyn Weights) -> Self {
        let (h, k, c) = (config.heads, config.resolved_key_value_heads(), i64::from(config.width));
        let wide = i64::from((h + 2 * k) * (config.width / h));
        Attention {
            query_key_value: Linear::new(config, &format!("{name}.query_key_value"), c, wide, 1.0, weights),
            query_key_norm: config.query_key_norm.then(|| {
                let mut norm = |which: &str| Norm::of_head(config, &format!("{name}.{which}_norm"), weights);
                (norm("query"), norm("key"))
            }),
            output: Linear::new(config, &format!("{name}.output"), c, c, residual_scale(config), weights),
            heads: i64::from(h),
            key_value_heads: i64::from(k),
        }
    }

    /// (B, T, C) to (B, T, C); no position sees a later one.
    pub fn forward(&self, x: &Tensor, seen: &InAttention, dropout: f64) -> Tensor {
        let (b, t, c) = x.size3().expect("hidden states are (B, T, C)");
        let (h, k, d) = (self.heads, self.key_value_heads, c / self.heads);
        let all = self.query_key_value.forward(x).view([b, t, h + 2 * k, d]); // (B, T, H + 2 K, D)
        let parts = all.split_with_sizes([h, k, k], 2);
        let [mut query, mut key, value] = [0, 1, 2].map(|i| parts[i].transpose(1, 2)); // (B, H or K, T, D)
        if let Some((query_norm, key_norm)) = &self.query_key_norm {
            (query, key) = (query_norm.forward(&query), key_norm.forward(&key));
        }
        (query, key) = (seen.turn(query), seen.turn(key));
        let (key, value) = (self.share(key), self.share(value)); // (B, H, T, D)
        let (mask, causal) = (seen.mask(), seen.mask().is_none());
        let y = Tensor::scaled_dot_product_attention(&query, &key, &value, mask, dropout, causal, None, false);
        self.output.forward(&y.transpose(1, 2).reshape([b, t, c])) // (B, T, C)
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
