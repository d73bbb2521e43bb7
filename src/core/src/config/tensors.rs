//! The one list of a model's tensors: what each is called, its shape, the values it begins with, and what it is to the
//! model. The trainer makes its weights by this list, and everything that is counted, predicted or decided by tensor
//! follows from it: parameters, FLOPs, memory, learning rates, weight decay.
//!
//! Letters: C width, D width of a head, K heads of keys and values, F feed-forward width, T context, V vocabulary.

use super::model::{AttentionGate, FeedForward, Initialization, ModelConfig, Norm, NormPlacement, Positions};
use super::model::{ResidualScaling, Values};

/// A learned gain of a branch begins here (Touvron et al. 2021, Going deeper with Image Transformers, section 2: 0.1
/// for up to 18 layers).
const FIRST_GAIN: f64 = 0.1;
/// Channels of a token that decide how much of the one before is added to it, where there are as many.
const SMEAR_CHANNELS: u64 = 12;

/// A trainable tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Its name in the trainer, in checkpoints and in `tensor_norms.csv`.
    pub name: String,
    /// Its shape; of matrices (out, in).
    pub shape: Vec<u64>,
    /// The values it begins with.
    pub init: Init,
    /// What it is to the model.
    pub role: Role,
}

/// The values a tensor begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// All the same.
    Constant(f64),
    /// The two weights of a mixture.
    Pair(f64, f64),
}

/// What a tensor is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Looked up by token or position: kept in float32, in no product (a tied head reads it as well), and not among the
    /// parameters without embeddings.
    Table,
    /// A matrix inside a block, both sides of which grow with the width.
    Hidden,
    /// The map to the logits, where it is not the token embedding.
    Head,
    /// A bias, norm, gain or mixture.
    Vector,
}

impl TensorSpec {
    /// Its values.
    pub fn parameters(&self) -> u64 {
        self.shape.iter().product()
    }
}

impl ModelConfig {
    /// Every trainable tensor, in the order in which their initial values are drawn.
    pub fn tensors(&self, vocabulary_size: u32) -> Vec<TensorSpec> {
        let (c, v, t) = (u64::from(self.width), u64::from(vocabulary_size), u64::from(self.context_length));
        let normal = Init::Normal(self.init_std);
        let mut list = List { model: self, tensors: Vec::new() };
        list.add("token_embedding", &[v, c], normal, Role::Table);
        if self.positions == Positions::Learned {
            list.add("position_embedding", &[t, c], normal, Role::Table);
        }
        if self.values == Values::Embedding {
            list.add("value_embedding", &[v, self.key_value_width()], normal, Role::Table);
        }
        if self.smear {
            list.vector("smear_gate", c.min(SMEAR_CHANNELS), Init::Constant(0.0));
            list.vector("smear_gain", 1, Init::Constant(0.0));
        }
        if self.bigram_rows > 0 {
            list.add("bigram_embedding", &[u64::from(self.bigram_rows), c], Init::Constant(0.0), Role::Table);
        }
        for i in 0..self.layers {
            list.block(&format!("blocks.{i}"), i + 1, i > 0);
        }
        for i in 0..self.multi_token_prediction {
            list.block(&format!("future.{i}"), self.layers, true);
        }
        if self.norm_placement != NormPlacement::Post {
            list.norm("final_norm");
        }
        if !self.tied_embeddings {
            list.add("head", &[v, c], normal, Role::Head);
        }
        list.tensors
    }

    /// Standard deviations of the initial matrices of block `number`, counted from 1: of those that read the residual
    /// stream, and of the projections back into it.
    fn stds_of_block(&self, number: u32) -> (f64, f64) {
        let std = self.init_std * self.hidden_deviation_ratio();
        match self.initialization {
            Initialization::Gpt2 => {
                let layers = if self.mup_base_layers == 0 { self.layers } else { self.mup_base_layers };
                (std, std * (1.0 / f64::from(2 * layers).sqrt()))
            }
            Initialization::DepthScaled => {
                let std = std * (1.0 / f64::from(number).sqrt());
                (std, std)
            }
            Initialization::Plain => (std, std),
        }
    }

    /// Width of all heads of keys, and of all heads of values: K D.
    pub(crate) fn key_value_width(&self) -> u64 {
        u64::from(self.resolved_key_value_heads()) * u64::from(self.width / self.heads)
    }
}

/// The list as it grows.
struct List<'a> {
    model: &'a ModelConfig,
    tensors: Vec<TensorSpec>,
}

impl List<'_> {
    fn add(&mut self, name: &str, shape: &[u64], init: Init, role: Role) {
        self.tensors.push(TensorSpec { name: name.to_owned(), shape: shape.to_vec(), init, role });
    }

    fn vector(&mut self, name: &str, size: u64, init: Init) {
        self.add(name, &[size], init, Role::Vector);
    }

    /// A matrix inside a block, with its bias.
    fn linear(&mut self, name: &str, outputs: u64, inputs: u64, std: f64) {
        self.add(&format!("{name}.weight"), &[outputs, inputs], Init::Normal(std), Role::Hidden);
        if self.model.bias {
            self.vector(&format!("{name}.bias"), outputs, Init::Constant(0.0));
        }
    }

    /// A norm over the width.
    fn norm(&mut self, name: &str) {
        let c = u64::from(self.model.width);
        self.vector(&format!("{name}.weight"), c, Init::Constant(1.0));
        if self.model.bias && self.model.norm == Norm::Layer {
            self.vector(&format!("{name}.bias"), c, Init::Constant(0.0));
        }
    }

    /// Block `number`, counted from 1, for its initial values; `later` is false for the first of the model.
    fn block(&mut self, block: &str, number: u32, later: bool) {
        let model = self.model;
        let (c, f) = (u64::from(model.width), u64::from(model.feed_forward_width()));
        let d = c / u64::from(model.heads);
        let (reading, projecting) = model.stds_of_block(number);
        if model.embedding_skip {
            self.vector(&format!("{block}.embedding_mix"), 2, Init::Pair(1.0, 0.0));
        }
        let attention = format!("{block}.attention");
        self.branch(&attention);
        self.linear(&format!("{attention}.query_key_value"), c + 2 * model.key_value_width(), c, reading);
        if model.query_key_norm {
            self.vector(&format!("{attention}.query_norm.weight"), d, Init::Constant(1.0));
            self.vector(&format!("{attention}.key_norm.weight"), d, Init::Constant(1.0));
        }
        if model.values == Values::Embedding || (model.values == Values::FirstBlock && later) {
            // Half and half at first, as in both sources.
            self.vector(&format!("{attention}.value_mix"), 2, Init::Pair(0.5, 0.5));
        }
        let gates = match model.attention_gate {
            AttentionGate::None => 0,
            AttentionGate::Head => u64::from(model.heads),
            AttentionGate::Channel => c,
        };
        if gates > 0 {
            self.add(&format!("{attention}.gate.weight"), &[gates, c], Init::Constant(0.0), Role::Hidden);
        }
        self.linear(&format!("{attention}.output"), c, c, projecting);
        let feed_forward = format!("{block}.feed_forward");
        self.branch(&feed_forward);
        let gates = if model.feed_forward == FeedForward::Swiglu { 2 } else { 1 };
        self.linear(&format!("{feed_forward}.input"), gates * f, c, reading);
        self.linear(&format!("{feed_forward}.output"), c, f, projecting);
    }

    /// How a branch leaves the residual stream and joins it again.
    fn branch(&mut self, branch: &str) {
        self.norm(&format!("{branch}_norm"));
        if self.model.norm_placement == NormPlacement::Sandwich {
            self.norm(&format!("{branch}_output_norm"));
        }
        if self.model.residual_scaling == ResidualScaling::Learned {
            self.vector(&format!("{branch}_gain"), u64::from(self.model.width), Init::Constant(FIRST_GAIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn std_of(model: &ModelConfig, name: &str) -> f64 {
        match model.tensors(10).into_iter().find(|tensor| tensor.name == name).unwrap().init {
            Init::Normal(std) => std,
            other => panic!("`{name}` begins as {other:?}"),
        }
    }

    #[test]
    fn initial_deviations_are_those_of_their_sources() {
        let stds = |initialization| {
            let model = ModelConfig { layers: 8, initialization, init_std: 0.4, ..ModelConfig::default() };
            let of = |name: &str| std_of(&model, &format!("blocks.3.{name}.weight"));
            assert_eq!(std_of(&model, "token_embedding"), 0.4);
            assert_eq!(of("attention.query_key_value"), of("feed_forward.input"));
            assert_eq!(of("attention.output"), of("feed_forward.output"));
            (of("attention.query_key_value"), of("attention.output"))
        };
        assert_eq!(stds(Initialization::Gpt2), (0.4, 0.1));
        assert_eq!(stds(Initialization::DepthScaled), (0.2, 0.2));
        assert_eq!(stds(Initialization::Plain), (0.4, 0.4));
        let wide = ModelConfig { layers: 2, width: 16, heads: 2, mup_base_width: 4, ..ModelConfig::default() };
        assert_eq!(std_of(&wide, "blocks.0.attention.query_key_value.weight"), 0.01);
        assert_eq!(std_of(&wide, "blocks.0.attention.output.weight"), 0.005);
        let deep = ModelConfig { layers: 8, mup_base_layers: 2, init_std: 0.4, ..ModelConfig::default() };
        assert_eq!(std_of(&deep, "blocks.7.attention.output.weight"), 0.2, "as at the base depth");
    }

    #[test]
    fn what_is_added_to_the_tokens_is_counted() {
        let plain = ModelConfig { width: 32, ..ModelConfig::default() };
        let added = |model: ModelConfig| {
            let (all, without) = (model.parameters(10), plain.parameters(10));
            (all.0 - without.0, all.1 - without.1)
        };
        assert_eq!(added(ModelConfig { bigram_rows: 100, ..plain.clone() }), (3200, 0), "it is looked up");
        assert_eq!(added(ModelConfig { smear: true, ..plain.clone() }), (13, 13));
        assert_eq!(added(ModelConfig { attention_gate: AttentionGate::Head, ..plain.clone() }), (512, 512));
        assert_eq!(added(ModelConfig { attention_gate: AttentionGate::Channel, ..plain.clone() }), (4096, 4096));
    }

    #[test]
    fn only_the_first_block_of_the_model_has_no_values_to_mix_with() {
        let model =
            ModelConfig { layers: 1, multi_token_prediction: 1, values: Values::FirstBlock, ..ModelConfig::default() };
        let mixes = model.tensors(10).into_iter().filter(|tensor| tensor.name.ends_with("value_mix"));
        assert_eq!(mixes.map(|tensor| tensor.name).collect::<Vec<_>>(), ["future.0.attention.value_mix"]);
    }
}
