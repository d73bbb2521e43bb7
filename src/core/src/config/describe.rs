//! What a config chooses, in sentences for a paper. Each variant says itself what it is, so that a new one cannot be passed
//! off as another.
//!
//! `{model.width}` stands for the number of that key, `[@one; @other]` for a citation of these keys of the bibliography.

use super::{
    AttentionGate, CooldownShape, FeedForward, Initialization, ModelConfig, Norm, NormPlacement, OptimizerConfig,
    OptimizerKind, Orthogonalization, Positions, ResidualScaling, ScheduleConfig, ScheduleKind, Values,
};

impl Positions {
    fn describe(self) -> &'static str {
        match self {
            Positions::Learned => {
                "Each position has a learned vector, which is added to the token's [@radford2019language]."
            }
            Positions::Sinusoidal => {
                "Fixed sines and cosines of the position are added to the token embeddings [@vaswani2017attention]."
            }
            Positions::Rotary => {
                "Queries and keys are rotated by an angle that grows with the position [@su2024roformer]."
            }
            Positions::Alibi => "Attention scores fall off linearly with distance [@press2022train].",
            Positions::None => "There is no encoding of positions [@haviv2022transformer; @kazemnejad2023impact].",
        }
    }
}

impl Norm {
    fn describe(self) -> &'static str {
        match self {
            Norm::Layer => "Layer normalization [@ba2016layer]",
            Norm::Rms => "RMS normalization [@zhang2019root]",
        }
    }
}

impl NormPlacement {
    fn describe(self) -> &'static str {
        match self {
            NormPlacement::Pre => "is applied before each branch and once at the end [@xiong2020layer].",
            NormPlacement::Post => "is applied after each residual sum [@vaswani2017attention].",
            NormPlacement::Sandwich => {
                "is applied before and after each branch and once at the end [@ding2021cogview]."
            }
        }
    }
}

impl FeedForward {
    fn describe(self) -> &'static str {
        match self {
            FeedForward::Gelu => "The feed-forward layers use GELU [@hendrycks2016gaussian].",
            FeedForward::Swiglu => {
                "The feed-forward layers use SwiGLU [@shazeer2020glu] and are two thirds as wide, which keeps the number of \
                 parameters."
            }
            FeedForward::ReluSquared => "The feed-forward layers use the square of ReLU [@so2021primer].",
        }
    }
}

impl Initialization {
    fn describe(self) -> &'static str {
        match self {
            Initialization::Gpt2 => {
                "Weights are drawn from a normal distribution with a standard deviation of \
                 {model.init_std}; that of projections into the residual stream is divided by the square root \
                 of twice the number of layers [@radford2019language]."
            }
            Initialization::DepthScaled => {
                "Weights are drawn from a normal distribution with a standard deviation of \
                 {model.init_std}, which is divided by the square root of the layer's number \
                 [@zhang2019improving]."
            }
            Initialization::Plain => {
                "All weights are drawn from a normal distribution with a standard deviation of \
                 {model.init_std}."
            }
        }
    }
}

impl ResidualScaling {
    fn describe(self) -> Option<&'static str> {
        match self {
            ResidualScaling::None => None,
            ResidualScaling::Depth => Some(
                "Each branch is divided by the square root of twice the number of layers before it is added to the residual \
                 stream [@yang2023tensor].",
            ),
            ResidualScaling::Learned => Some(
                "Each branch is multiplied by a learned gain per channel before it is added to the residual stream \
                 [@touvron2021going].",
            ),
        }
    }
}

impl Values {
    fn describe(self) -> Option<&'static str> {
        match self {
            Values::Own => None,
            Values::FirstBlock => Some(
                "From the second layer on, attention reads a learned mixture of its own values and those of the first layer \
                 [@zhou2024value].",
            ),
            Values::Embedding => Some(
                "Attention reads a learned mixture of its own values and vectors that the tokens look up in a table \
                 [@jordan2024modded].",
            ),
        }
    }
}

impl AttentionGate {
    fn describe(self) -> Option<&'static str> {
        match self {
            AttentionGate::None => None,
            AttentionGate::Head => Some(
                "Each attention head is multiplied by a sigmoid gate, a projection of the layer's input [@qiu2025gated].",
            ),
            AttentionGate::Channel => Some(
                "Each channel of each attention head is multiplied by a sigmoid gate, a projection of the layer's input \
                 [@qiu2025gated].",
            ),
        }
    }
}

impl OptimizerKind {
    /// The optimizer as a noun phrase, such as `AdamW [@loshchilov2019decoupled]`.
    pub fn describe(self) -> &'static str {
        match self {
            OptimizerKind::Adamw => "AdamW [@loshchilov2019decoupled]",
            OptimizerKind::Lion => "Lion [@chen2023symbolic]",
            OptimizerKind::Sgd => {
                "stochastic gradient descent with momentum and decoupled weight decay [@loshchilov2019decoupled]"
            }
            OptimizerKind::Muon => {
                "Muon [@jordan2024muon; @liu2025muon] for the matrices inside the layers and AdamW \
                 [@loshchilov2019decoupled] for the rest"
            }
            OptimizerKind::Normuon => {
                "NorMuon [@li2025normuon] for the matrices inside the layers and AdamW [@loshchilov2019decoupled] for the rest"
            }
        }
    }
}

impl ModelConfig {
    /// Whether the architecture is that of GPT-2, whatever its size.
    pub fn is_gpt2(&self) -> bool {
        let gpt2 = ModelConfig::default();
        let sized = ModelConfig {
            layers: self.layers,
            heads: self.heads,
            width: self.width,
            context_length: self.context_length,
            dropout: self.dropout,
            ..gpt2
        };
        *self == sized
    }

    /// What is chosen of the architecture, one sentence each. Sizes, which every model has, are not among them.
    pub fn describe(&self) -> Vec<String> {
        let also = |holds: bool, sentence: &'static str| holds.then_some(sentence);
        let sentences = [
            Some(self.positions.describe()),
            Some(self.feed_forward.describe()),
            also(
                self.resolved_key_value_heads() < self.heads,
                "Heads of queries share {model.key_value_heads} heads of keys and values [@ainslie2023gqa].",
            ),
            also(self.query_key_norm, "Queries and keys are normalized within each head [@henry2020query]."),
            also(
                self.attention_window > 0,
                "A position attends to the last {model.attention_window} positions [@beltagy2020longformer].",
            ),
            also(
                self.attention_soft_cap > 0.0,
                "Attention scores are soft-capped at {model.attention_soft_cap} [@gemma2024gemma2].",
            ),
            also(self.logit_soft_cap > 0.0, "Logits are soft-capped at {model.logit_soft_cap} [@gemma2024gemma2]."),
            self.values.describe(),
            self.attention_gate.describe(),
            also(
                self.smear,
                "A gated share of the embedding of the token before, in the same document, is added to each token's \
                 [@jordan2024modded].",
            ),
            also(
                self.bigram_rows > 0,
                "Each token has a vector of itself and the token before added to its own, looked up by a hash in \
                 {model.bigram_rows} rows [@jordan2024modded].",
            ),
            also(
                self.embedding_skip,
                "Each layer reads a learned mixture of the residual stream and the embedded tokens [@jordan2024modded].",
            ),
            self.residual_scaling.describe(),
            also(self.tied_embeddings, "Input and output embeddings are shared [@press2017using]."),
            also(!self.bias, "There are no biases."),
            Some(self.initialization.describe()),
            also(
                self.mup_base_width > 0,
                "Learning rate and initialization are transferred from a width of {model.mup_base_width} by maximal update \
                 parametrization [@yang2022tensor].",
            ),
            also(
                self.mup_base_layers > 0,
                "Learning rate and initialization are transferred from a depth of {model.mup_base_layers} layers by CompleteP \
                 [@dey2025completep].",
            ),
            also(
                self.multi_token_prediction > 0,
                "In training, further layers predict {model.multi_token_prediction} tokens after the next one, with a weight of \
                 {model.multi_token_loss_weight} each [@gloeckle2024better].",
            ),
            also(
                self.z_loss > 0.0,
                "The squared log-partition of the softmax is added to the objective with a weight of {model.z_loss} \
                 [@chowdhery2022palm].",
            ),
            also(self.dropout > 0.0, "Dropout of {model.dropout} is applied to embeddings, attention and branches."),
        ];
        let norm = format!("{} {}", self.norm.describe(), self.norm_placement.describe());
        let mut described: Vec<String> = sentences.into_iter().flatten().map(str::to_owned).collect();
        described.insert(1, norm);
        described
    }
}

impl OptimizerConfig {
    /// The optimizer as a noun phrase: see [`OptimizerKind::describe`].
    pub fn describe(&self) -> String {
        let mut described = self.kind.describe().to_owned();
        if self.orthogonalization == Orthogonalization::PolarExpress {
            described.push_str(", with updates orthogonalized by Polar Express [@amsel2025polar]");
        }
        if self.cautious_weight_decay {
            described.push_str(", with cautious weight decay [@chen2025cautious]");
        }
        described
    }
}

impl ScheduleConfig {
    /// The learning rate over the steps, in one sentence.
    pub fn describe(&self) -> String {
        let last = if self.final_learning_rate_ratio > 0.0 {
            "a share of {schedule.final_learning_rate_ratio} of it"
        } else {
            "zero"
        };
        let peak = "its peak of {optimizer.learning_rate}";
        let cools = self.cooldown_steps > 0;
        let shape = match self.kind {
            // The shape alone would end at the final rate; a cool-down leaves it before.
            ScheduleKind::Cosine if cools => format!("falls from {peak} along half a cosine [@loshchilov2017sgdr]"),
            ScheduleKind::Linear if cools => format!("falls in a straight line from {peak}"),
            ScheduleKind::Cosine => format!("falls from {peak} along half a cosine [@loshchilov2017sgdr] to {last}"),
            ScheduleKind::Linear => format!("falls in a straight line from {peak} to {last}"),
            ScheduleKind::Constant | ScheduleKind::WarmupStableDecay => format!("stays at {peak}"),
            ScheduleKind::InverseSqrt => {
                format!("falls from {peak} with the square root of the step [@vaswani2017attention]")
            }
        };
        let cooldown = if cools {
            let then = if shape.starts_with("stays") { "then falls" } else { "and" };
            let source = if self.kind == ScheduleKind::WarmupStableDecay { " [@hu2024minicpm]" } else { "" };
            let way = match self.cooldown_shape {
                CooldownShape::Linear => "in a straight line",
                CooldownShape::OneMinusSqrt => {
                    "with one minus the square root of the cool-down's progress [@hagele2024scaling]"
                }
            };
            format!(", {then} over the last {{schedule.cooldown_steps}} steps {way} to {last}{source}")
        } else {
            String::new()
        };
        let warmup = if self.warmup_steps > 0 {
            "After a linear warm-up over {schedule.warmup_steps} steps, the learning rate"
        } else {
            "Without a warm-up, the learning rate"
        };
        format!("{warmup} {shape}{cooldown}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{flat, parse_resolved};

    /// Every variant once, with what goes with it.
    fn all() -> Vec<ModelConfig> {
        let mut models = vec![ModelConfig {
            key_value_heads: 1,
            query_key_norm: true,
            attention_window: 8,
            attention_soft_cap: 50.0,
            logit_soft_cap: 30.0,
            embedding_skip: true,
            bias: false,
            mup_base_width: 64,
            mup_base_layers: 2,
            smear: true,
            bigram_rows: 100,
            multi_token_prediction: 1,
            z_loss: 1e-4,
            dropout: 0.1,
            ..ModelConfig::default()
        }];
        let base = ModelConfig::default;
        use {FeedForward as F, Initialization as I, NormPlacement as N, Positions as P, ResidualScaling as R};
        models.extend(
            [P::Learned, P::Sinusoidal, P::Rotary, P::Alibi, P::None]
                .map(|positions| ModelConfig { positions, ..base() }),
        );
        models.extend([F::Gelu, F::Swiglu, F::ReluSquared].map(|feed_forward| ModelConfig { feed_forward, ..base() }));
        models.extend([N::Pre, N::Post, N::Sandwich].map(|norm_placement| ModelConfig { norm_placement, ..base() }));
        models.extend([Norm::Layer, Norm::Rms].map(|norm| ModelConfig { norm, ..base() }));
        models
            .extend([I::Gpt2, I::DepthScaled, I::Plain].map(|initialization| ModelConfig { initialization, ..base() }));
        models
            .extend([R::None, R::Depth, R::Learned].map(|residual_scaling| ModelConfig { residual_scaling, ..base() }));
        use AttentionGate as G;
        models.extend([G::None, G::Head, G::Channel].map(|attention_gate| ModelConfig { attention_gate, ..base() }));
        models.extend(
            [Values::Own, Values::FirstBlock, Values::Embedding].map(|values| ModelConfig { values, ..base() }),
        );
        models
    }

    fn schedules() -> Vec<ScheduleConfig> {
        use ScheduleKind as K;
        let kinds = [K::Cosine, K::Linear, K::Constant, K::WarmupStableDecay, K::InverseSqrt];
        use CooldownShape as C;
        let ends = [(0, 0, 0.0, C::Linear), (10, 20, 0.1, C::Linear), (10, 20, 0.1, C::OneMinusSqrt)];
        let of = |kind| {
            ends.map(|(warmup_steps, cooldown_steps, final_learning_rate_ratio, cooldown_shape)| ScheduleConfig {
                kind,
                warmup_steps,
                cooldown_steps,
                final_learning_rate_ratio,
                cooldown_shape,
            })
        };
        kinds.into_iter().flat_map(of).collect()
    }

    fn sentences() -> Vec<String> {
        use OptimizerKind as K;
        let optimizers = [K::Adamw, K::Lion, K::Sgd, K::Muon, K::Normuon].map(|kind| {
            let (orthogonalization, cautious_weight_decay) = (Orthogonalization::PolarExpress, true);
            OptimizerConfig { kind, orthogonalization, cautious_weight_decay, ..OptimizerConfig::default() }.describe()
        });
        let models = all().into_iter().flat_map(|model| model.describe());
        models.chain(schedules().iter().map(ScheduleConfig::describe)).chain(optimizers).collect()
    }

    /// What stands between two marks.
    fn between(text: &str, open: char, close: char) -> impl Iterator<Item = &str> {
        text.split(open).skip(1).map(move |rest| rest.split_once(close).expect("what is opened is closed").0)
    }

    #[test]
    fn each_variant_is_described_otherwise_than_the_others() {
        for model in all().iter().skip(1) {
            let plain = ModelConfig::default();
            assert_eq!(model == &plain, model.describe() == plain.describe(), "{model:?}");
        }
        let mut told: Vec<String> = schedules().iter().map(ScheduleConfig::describe).collect();
        told.sort();
        told.dedup();
        // Without a cool-down, constant and warm-up-stable-decay are the same schedule; the config refuses the second.
        assert_eq!(told.len(), schedules().len() - 1, "{told:#?}");
    }

    #[test]
    fn numbers_are_those_of_keys_and_citations_have_entries() {
        let resolved = parse_resolved("corpus = \"c\"").unwrap();
        let keys: Vec<String> = flat(&resolved).into_iter().map(|(key, _)| key).collect();
        let bibliography = include_str!("../../../../templates/references.bib");
        for sentence in sentences() {
            for key in between(&sentence, '{', '}') {
                assert!(keys.iter().any(|known| known == key), "`{key}` in: {sentence}");
            }
            for cited in between(&sentence, '[', ']').flat_map(|cited| cited.split("; ")) {
                let entry = format!("{{{},", cited.strip_prefix('@').expect("a citation begins with @"));
                assert!(bibliography.contains(&entry), "`{cited}` in: {sentence}");
            }
        }
    }

    #[test]
    fn a_schedule_is_told_as_it_is() {
        let told = |kind, warmup_steps, cooldown_steps| {
            ScheduleConfig { kind, warmup_steps, cooldown_steps, ..ScheduleConfig::default() }.describe()
        };
        assert_eq!(
            told(ScheduleKind::WarmupStableDecay, 10, 20),
            "After a linear warm-up over {schedule.warmup_steps} steps, the learning rate stays at its peak of \
             {optimizer.learning_rate}, then falls over the last {schedule.cooldown_steps} steps in a straight line to a share \
             of {schedule.final_learning_rate_ratio} of it [@hu2024minicpm]."
        );
        assert_eq!(
            told(ScheduleKind::Linear, 0, 0),
            "Without a warm-up, the learning rate falls in a straight line from its peak of {optimizer.learning_rate} to a \
             share of {schedule.final_learning_rate_ratio} of it."
        );
    }

    #[test]
    fn only_gpt2_is_called_so() {
        let sized = ModelConfig { layers: 12, width: 768, heads: 12, dropout: 0.1, ..ModelConfig::default() };
        assert!(sized.is_gpt2());
        assert!(all().iter().all(|model| model.is_gpt2() == (*model == ModelConfig::default())));
    }
}
