//! Models in the form of Hugging Face's `transformers`: which of ours coincide with a class of theirs, their
//! `config.json` ([`config`]), and the same weights under both names ([`tensors`]).
//!
//! Two classes coincide exactly with choices of ours: `GPT2LMHeadModel` with the defaults, and `LlamaForCausalLM` with
//! rotary positions (both turn channel i with channel i + D/2, base 10,000), RMS norm and SwiGLU. Every other choice is
//! refused by name rather than approximated.

pub mod config;
pub mod tensors;

use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

use crate::config::{FeedForward, ModelConfig, Norm, Positions};
use crate::weights::WeightsError;

/// A class of `transformers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `GPT2LMHeadModel` (Radford et al. 2019).
    Gpt2,
    /// `LlamaForCausalLM` (Touvron et al. 2023).
    Llama,
}

/// Choices that both classes leave open.
const FREE: [&str; 7] = ["layers", "heads", "width", "context_length", "feed_forward_ratio", "bias", "tied_embeddings"];
/// Choices that act in training only, so that the trained model does not show them.
const TRAINING_ONLY: [&str; 6] =
    ["dropout", "initialization", "init_std", "z_loss", "multi_token_prediction", "multi_token_loss_weight"];

/// Added to the variance or mean square by every norm of ours (`EPSILON` in the trainer's `model/norm.rs`).
pub const NORM_EPSILON: f64 = 1e-5;
/// The base of our rotary positions (`BASE` in the trainer's `model/positions.rs`).
pub const ROTARY_BASE: f64 = 10_000.0;

/// Why a model cannot go from one form to the other.
#[derive(Debug, thiserror::Error)]
pub enum HuggingFaceError {
    /// Choices of ours that no class has.
    #[error(
        "the model has no equivalent in transformers. Nearest is {nearest}, but for:\n{}\nhint: a model without these choices can be exported",
        differences.iter().map(|d| format!("  {d}")).collect::<Vec<_>>().join("\n")
    )]
    NoEquivalent {
        /// The class with the fewest differences.
        nearest: Architecture,
        /// The keys in question.
        differences: Vec<Difference>,
    },
    /// A choice of theirs that we do not have.
    #[error("`{}`: `{key}` is {found}; only {wanted} has an equivalent here", path.display())]
    Unknown {
        /// The `config.json`.
        path: PathBuf,
        /// Its key.
        key: String,
        /// What stands there.
        found: String,
        /// What would have an equivalent.
        wanted: String,
    },
    /// A tensor is missing or of another shape.
    #[error("the weights have no tensor `{name}` of shape {shape:?}, which the config asks for{}", found.as_ref().map_or(String::new(), |f| format!("; theirs is {f:?}")))]
    Tensor {
        /// Its name.
        name: String,
        /// The shape asked for.
        shape: Vec<usize>,
        /// The shape found, if the tensor is there.
        found: Option<Vec<usize>>,
    },
    /// Tensors that belong to no part of the model.
    #[error(
        "the weights hold {count} tensors that the config does not account for, such as `{first}`\nhint: the model has a part that this program does not know"
    )]
    Extra {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
    /// A file of weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// A key of `[model]` whose value a class cannot express.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// `model.positions`
    pub key: String,
    /// What the model has.
    pub ours: String,
    /// What it would have to be.
    pub theirs: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{} = {}` has no equivalent; {} has one", self.key, self.ours, self.theirs)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class())
    }
}

impl Architecture {
    /// The name of the class.
    pub fn class(self) -> &'static str {
        match self {
            Architecture::Gpt2 => "GPT2LMHeadModel",
            Architecture::Llama => "LlamaForCausalLM",
        }
    }

    /// The `model_type` of its config.
    pub fn model_type(self) -> &'static str {
        match self {
            Architecture::Gpt2 => "gpt2",
            Architecture::Llama => "llama",
        }
    }

    /// The class that computes exactly what the model does.
    pub fn of(model: &ModelConfig) -> Result<Self, HuggingFaceError> {
        let differences = [Architecture::Gpt2, Architecture::Llama].map(|class| (class, class.differences(model)));
        let (nearest, differences) =
            differences.into_iter().min_by_key(|(_, differences)| differences.len()).expect("there are two classes");
        if differences.is_empty() { Ok(nearest) } else { Err(HuggingFaceError::NoEquivalent { nearest, differences }) }
    }

    /// Keys of `[model]` that the class cannot express. Every key counts that is not known to be harmless, so that a
    /// choice that is new here is refused and not left out.
    fn differences(self, model: &ModelConfig) -> Vec<Difference> {
        let (ours, theirs) = (keys(model), keys(&self.with_fixed_choices()));
        let free = |key: &str| {
            FREE.contains(&key)
                || TRAINING_ONLY.contains(&key)
                || (key == "key_value_heads" && (self == Architecture::Llama || is_multi_head(model)))
        };
        let differing = ours.iter().filter(|(key, value)| !free(key) && theirs.get(key.as_str()) != Some(value));
        let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        differing
            .map(|(key, value)| Difference {
                key: format!("model.{key}"),
                ours: shown(Some(value)),
                theirs: shown(theirs.get(key.as_str())),
            })
            .collect()
    }

    /// The choices that the class makes for us. Ours default to those of GPT-2.
    fn with_fixed_choices(self) -> ModelConfig {
        match self {
            Architecture::Gpt2 => ModelConfig::default(),
            Architecture::Llama => ModelConfig {
                positions: Positions::Rotary,
                norm: Norm::Rms,
                feed_forward: FeedForward::Swiglu,
                ..ModelConfig::default()
            },
        }
    }
}

fn is_multi_head(model: &ModelConfig) -> bool {
    model.resolved_key_value_heads() == model.heads
}

fn keys(model: &ModelConfig) -> serde_json::Map<String, Value> {
    let value = serde_json::to_value(model).expect("a config is JSON");
    value.as_object().expect("a struct is an object").clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_model_and_the_rest_is_refused_by_key() {
        assert_eq!(Architecture::of(&ModelConfig::default()).unwrap(), Architecture::Gpt2);
        let multi = ModelConfig { key_value_heads: 4, dropout: 0.1, bias: false, ..ModelConfig::default() };
        assert_eq!(Architecture::of(&multi).unwrap(), Architecture::Gpt2);
        let llama = ModelConfig { key_value_heads: 2, ..Architecture::Llama.with_fixed_choices() };
        assert_eq!(Architecture::of(&llama).unwrap(), Architecture::Llama);

        let near = ModelConfig { query_key_norm: true, ..llama };
        let error = Architecture::of(&near).unwrap_err().to_string();
        assert!(error.contains("LlamaForCausalLM") && error.contains("`model.query_key_norm = true`"), "{error}");
        assert!(!error.contains("positions"), "{error}");
        let alibi = ModelConfig { positions: Positions::Alibi, ..ModelConfig::default() };
        let error = Architecture::of(&alibi).unwrap_err().to_string();
        assert!(error.contains("GPT2LMHeadModel") && error.contains("\"learned\" has one"), "{error}");
    }
}
