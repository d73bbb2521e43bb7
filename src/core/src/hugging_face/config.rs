//! `config.json`, written from our choices and read into them.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Architecture, HuggingFaceError, NORM_EPSILON, ROTARY_BASE};
use crate::config::ModelConfig;

/// A model as its `config.json` describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Its class.
    pub architecture: Architecture,
    /// Its choices in our words.
    pub model: ModelConfig,
    /// Rows of the embedding.
    pub vocabulary_size: u32,
}

/// The `config.json` of a model of ours. `separator` is the token that begins every document.
pub fn write(architecture: Architecture, model: &ModelConfig, vocabulary_size: u32, separator: u32) -> Value {
    let mut config = json!({
        "architectures": [architecture.class()],
        "model_type": architecture.model_type(),
        "vocab_size": vocabulary_size,
        "bos_token_id": separator,
        "eos_token_id": separator,
        "tie_word_embeddings": model.tied_embeddings,
        "initializer_range": model.init_std,
        "dtype": "float32",
        "torch_dtype": "float32",
        "use_cache": true,
    });
    let own = match architecture {
        Architecture::Gpt2 => json!({
            "n_positions": model.context_length,
            "n_embd": model.width,
            "n_layer": model.layers,
            "n_head": model.heads,
            "n_inner": model.feed_forward_width(),
            "activation_function": "gelu_new",
            "layer_norm_epsilon": NORM_EPSILON,
            "embd_pdrop": model.dropout,
            "attn_pdrop": model.dropout,
            "resid_pdrop": model.dropout,
            "scale_attn_weights": true,
            "scale_attn_by_inverse_layer_idx": false,
        }),
        Architecture::Llama => json!({
            "max_position_embeddings": model.context_length,
            "hidden_size": model.width,
            "num_hidden_layers": model.layers,
            "num_attention_heads": model.heads,
            "num_key_value_heads": model.resolved_key_value_heads(),
            "head_dim": model.width / model.heads,
            "intermediate_size": model.feed_forward_width(),
            "hidden_act": "silu",
            "rms_norm_eps": NORM_EPSILON,
            "rope_theta": ROTARY_BASE,
            "rope_parameters": { "rope_type": "default", "rope_theta": ROTARY_BASE },
            "attention_bias": model.bias,
            "mlp_bias": model.bias,
            "attention_dropout": model.dropout,
        }),
    };
    let fields = config.as_object_mut().expect("it is an object");
    fields.extend(own.as_object().expect("it is an object").clone());
    config
}

/// What a `config.json` describes. `path` is for messages.
pub fn read(path: &Path, json: &Value) -> Result<Described, HuggingFaceError> {
    let empty = Map::new();
    let fields = Fields { path, fields: json.as_object().unwrap_or(&empty) };
    match fields.text("model_type", "") {
        "gpt2" => gpt2(&fields),
        "llama" => llama(&fields),
        other => Err(fields.unknown("model_type", &json!(other), "`gpt2` or `llama`")),
    }
}

fn gpt2(fields: &Fields<'_>) -> Result<Described, HuggingFaceError> {
    fields.must_be("activation_function", &[json!("gelu_new"), json!("gelu_pytorch_tanh")], true)?;
    fields.must_be_number("layer_norm_epsilon", NORM_EPSILON, NORM_EPSILON)?;
    fields.must_be("scale_attn_weights", &[json!(true)], true)?;
    fields.must_be("scale_attn_by_inverse_layer_idx", &[json!(false)], true)?;
    fields.must_be("add_cross_attention", &[json!(false)], true)?;
    let width = fields.count("n_embd", 768)?;
    let inner = fields.optional_count("n_inner").unwrap_or(4 * width);
    if !inner.is_multiple_of(width) {
        return Err(fields.unknown("n_inner", &json!(inner), &format!("a multiple of the width, {width},")));
    }
    let model = ModelConfig {
        layers: fields.count("n_layer", 12)?,
        heads: fields.count("n_head", 12)?,
        width,
        context_length: fields.count("n_positions", 1024)?,
        feed_forward_ratio: inner / width,
        tied_embeddings: fields.flag("tie_word_embeddings", true),
        ..Architecture::Gpt2.with_fixed_choices()
    };
    fields.must_split(&model)?;
    Ok(Described { architecture: Architecture::Gpt2, model, vocabulary_size: fields.count("vocab_size", 50257)? })
}

fn llama(fields: &Fields<'_>) -> Result<Described, HuggingFaceError> {
    fields.must_be("hidden_act", &[json!("silu"), json!("swish")], true)?;
    fields.must_be_number("rms_norm_eps", NORM_EPSILON, 1e-6)?;
    fields.must_be("rope_scaling", &[Value::Null], true)?;
    // Newer files keep the rotary settings in an object of their own.
    match fields.fields.get("rope_parameters").and_then(Value::as_object) {
        Some(rotary) => {
            let rotary = Fields { path: fields.path, fields: rotary };
            rotary.must_be("rope_type", &[json!("default")], true)?;
            rotary.must_be_number("rope_theta", ROTARY_BASE, ROTARY_BASE)?;
        }
        None => fields.must_be_number("rope_theta", ROTARY_BASE, ROTARY_BASE)?,
    }
    let (bias, feed_forward_bias) = (fields.flag("attention_bias", false), fields.flag("mlp_bias", false));
    if bias != feed_forward_bias {
        let wanted = format!("{bias}, like `attention_bias`,");
        return Err(fields.unknown("mlp_bias", &json!(feed_forward_bias), &wanted));
    }
    let heads = fields.count("num_attention_heads", 32)?;
    let key_value_heads = fields.optional_count("num_key_value_heads").unwrap_or(heads);
    let mut model = ModelConfig {
        layers: fields.count("num_hidden_layers", 32)?,
        heads,
        width: fields.count("hidden_size", 4096)?,
        context_length: fields.count("max_position_embeddings", 2048)?,
        key_value_heads: if key_value_heads == heads { 0 } else { key_value_heads },
        bias,
        tied_embeddings: fields.flag("tie_word_embeddings", false),
        ..Architecture::Llama.with_fixed_choices()
    };
    fields.must_split(&model)?;
    let head_width = model.width / model.heads;
    if fields.optional_count("head_dim").is_some_and(|found| found != head_width) {
        return Err(fields.unknown("head_dim", &fields.fields["head_dim"], &head_width.to_string()));
    }
    // Ours is stated as a ratio, of which two thirds are taken; the smallest that gives their width is the one.
    let inner = fields.count("intermediate_size", 11008)?;
    let ratios = 1..=inner.saturating_mul(2) / model.width.max(1) + 2;
    let ratio = ratios.into_iter().find(|&ratio| {
        model.feed_forward_ratio = ratio;
        model.feed_forward_width() == inner
    });
    if ratio.is_none() {
        let wanted = "two thirds of a whole multiple of the width, rounded up to a multiple of 8,";
        return Err(fields.unknown("intermediate_size", &json!(inner), wanted));
    }
    Ok(Described { architecture: Architecture::Llama, model, vocabulary_size: fields.count("vocab_size", 32000)? })
}

/// Fields of a JSON object with the defaults of `transformers`, which leaves out what has its default.
struct Fields<'a> {
    path: &'a Path,
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn unknown(&self, key: &str, found: &Value, wanted: &str) -> HuggingFaceError {
        HuggingFaceError::Unknown {
            path: self.path.to_owned(),
            key: key.to_owned(),
            found: found.to_string(),
            wanted: wanted.to_owned(),
        }
    }

    fn text(&self, key: &str, default: &'a str) -> &'a str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or(default)
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.fields.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    fn optional_count(&self, key: &str) -> Option<u32> {
        self.fields.get(key).and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok())
    }

    fn count(&self, key: &str, default: u32) -> Result<u32, HuggingFaceError> {
        match self.fields.get(key) {
            None => Ok(default),
            Some(found) => match self.optional_count(key).filter(|&count| count > 0) {
                Some(count) => Ok(count),
                None => Err(self.unknown(key, found, "a whole number above 0")),
            },
        }
    }

    fn must_be(&self, key: &str, allowed: &[Value], may_be_absent: bool) -> Result<(), HuggingFaceError> {
        match self.fields.get(key) {
            None if may_be_absent => Ok(()),
            found if found.is_some_and(|found| allowed.contains(found)) => Ok(()),
            found => {
                let wanted: Vec<String> = allowed.iter().map(Value::to_string).collect();
                Err(self.unknown(key, found.unwrap_or(&Value::Null), &wanted.join(" or ")))
            }
        }
    }

    fn must_be_number(&self, key: &str, wanted: f64, default: f64) -> Result<(), HuggingFaceError> {
        let found = self.fields.get(key).map_or(Some(default), Value::as_f64);
        if found == Some(wanted) {
            return Ok(());
        }
        Err(self.unknown(key, self.fields.get(key).unwrap_or(&json!(default)), &format!("{wanted:?}")))
    }

    /// Whether the width splits over the heads, and those over the heads of keys and values.
    fn must_split(&self, model: &ModelConfig) -> Result<(), HuggingFaceError> {
        if model.width.is_multiple_of(model.heads) && model.heads.is_multiple_of(model.resolved_key_value_heads()) {
            return Ok(());
        }
        let heads = format!("{} over {} heads", model.width, model.heads);
        Err(self.unknown("the width", &json!(heads), "a whole number of channels for each head"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let gpt2 = ModelConfig { tied_embeddings: false, ..ModelConfig::default() };
        let llama = ModelConfig {
            key_value_heads: 2,
            width: 96,
            feed_forward_ratio: 3,
            bias: false,
            ..Architecture::Llama.with_fixed_choices()
        };
        for (architecture, model) in [(Architecture::Gpt2, gpt2), (Architecture::Llama, llama)] {
            let json = write(architecture, &model, 500, 0);
            let described = read(Path::new("config.json"), &json).unwrap();
            assert_eq!(described, Described { architecture, model, vocabulary_size: 500 });
        }
    }

    #[test]
    fn what_has_no_equivalent_is_refused_by_key() {
        let cases = [
            (json!({"model_type": "opt"}), "`model_type` is \"opt\""),
            (json!({"model_type": "gpt2", "activation_function": "relu"}), "`activation_function` is \"relu\""),
            (json!({"model_type": "gpt2", "layer_norm_epsilon": 1e-6}), "`layer_norm_epsilon` is 1e-6"),
            (json!({"model_type": "gpt2", "n_inner": 1000}), "`n_inner` is 1000"),
            (json!({"model_type": "gpt2", "n_head": 0}), "`n_head` is 0"),
            (json!({"model_type": "llama"}), "`rms_norm_eps` is 1e-6"),
            (json!({"model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 5e5}), "`rope_theta` is 500000.0"),
            (json!({"model_type": "llama", "rms_norm_eps": 1e-5, "intermediate_size": 11007}), "`intermediate_size`"),
            (json!({"model_type": "llama", "rms_norm_eps": 1e-5, "attention_bias": true}), "`mlp_bias` is false"),
        ];
        for (config, expected) in cases {
            let error = read(Path::new("config.json"), &config).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("config.json"), "{error}");
        }
        // GPT-2 itself states little: the rest is the default of the class.
        let described = read(Path::new("config.json"), &json!({"model_type": "gpt2"})).unwrap();
        assert_eq!((described.model.width, described.model.layers, described.vocabulary_size), (768, 12, 50257));
    }
}
