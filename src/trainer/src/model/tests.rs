//! The model against its definition: shapes, counts, causality, and the chunked loss against the plain one.

use harness_core::config::{
    AttentionGate, FeedForward as Form, Init, Initialization, ModelConfig, Norm as NormForm, NormPlacement,
    OptimizerConfig, OptimizerKind, Positions as Places, Precision, ResidualScaling, TrainingConfig, Values,
};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::evaluate;
use crate::model::weights::Parameters;
use crate::native;

const VOCABULARY: u32 = 50;

fn small() -> ModelConfig {
    ModelConfig { layers: 2, heads: 2, width: 16, context_length: 12, ..ModelConfig::default() }
}

/// Larger initial weights than usual, so that differences show, and what begins as 0 does something.
fn build(config: &ModelConfig) -> (Parameters, Transformer) {
    let config = ModelConfig { init_std: 0.2, ..config.clone() };
    let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
    tch::no_grad(|| {
        for (spec, tensor) in parameters.specs().iter().zip(parameters.tensors()) {
            let begins_as_nothing = spec.init == Init::Constant(0.0) && !spec.name.ends_with(".bias");
            if begins_as_nothing {
                tensor.shallow_clone().copy_(&(tensor.randn_like() * 0.5));
            }
        }
    });
    let model = parameters.model(&config, Kind::Float);
    (parameters, model)
}

/// GPT-2, and one config for each variant, some of them together.
fn variants() -> Vec<(&'static str, ModelConfig)> {
    let small = small();
    vec![
        ("gpt2", small.clone()),
        (
            "no bias, untied",
            ModelConfig { bias: false, tied_embeddings: false, feed_forward_ratio: 3, ..small.clone() },
        ),
        ("untied", ModelConfig { tied_embeddings: false, ..small.clone() }),
        ("sinusoidal", ModelConfig { positions: Places::Sinusoidal, ..small.clone() }),
        ("rotary", ModelConfig { positions: Places::Rotary, ..small.clone() }),
        ("alibi", ModelConfig { positions: Places::Alibi, ..small.clone() }),
        ("no positions", ModelConfig { positions: Places::None, ..small.clone() }),
        ("rms norm", ModelConfig { norm: NormForm::Rms, ..small.clone() }),
        ("post-norm", ModelConfig { norm_placement: NormPlacement::Post, ..small.clone() }),
        ("sandwich norm", ModelConfig { norm_placement: NormPlacement::Sandwich, ..small.clone() }),
        ("swiglu", ModelConfig { feed_forward: Form::Swiglu, ..small.clone() }),
        ("relu squared", ModelConfig { feed_forward: Form::ReluSquared, ..small.clone() }),
        ("multi-query", ModelConfig { key_value_heads: 1, ..small.clone() }),
        ("grouped-query", ModelConfig { heads: 4, key_value_heads: 2, query_key_norm: true, ..small.clone() }),
        ("window", ModelConfig { attention_window: 6, ..small.clone() }),
        ("attention soft cap", ModelConfig { attention_soft_cap: 0.5, ..small.clone() }),
        ("depth-scaled", ModelConfig { initialization: Initialization::DepthScaled, ..small.clone() }),
        ("width transfer", ModelConfig { mup_base_width: 8, ..small.clone() }),
        ("scaled branches", ModelConfig { residual_scaling: ResidualScaling::Depth, ..small.clone() }),
        ("learned gains", ModelConfig { residual_scaling: ResidualScaling::Learned, ..small.clone() }),
        ("values of the first block", ModelConfig { values: Values::FirstBlock, key_value_heads: 1, ..small.clone() }),
        ("value embedding", ModelConfig { values: Values::Embedding, ..small.clone() }),
        ("gated heads", ModelConfig { attention_gate: AttentionGate::Head, ..small.clone() }),
        (
            "gated channels",
            ModelConfig { attention_gate: AttentionGate::Channel, attention_soft_cap: 0.5, ..small.clone() },
        ),
        ("smear", ModelConfig { smear: true, ..small.clone() }),
        ("bigram hash", ModelConfig { bigram_rows: 30, ..small.clone() }),
        (
            "smear and bigram hash",
            ModelConfig { smear: true, bigram_rows: 301, multi_token_prediction: 1, ..small.clone() },
        ),
        ("depth transfer", ModelConfig { mup_base_layers: 1, mup_base_width: 8, ..small.clone() }),
        ("embedding skip", ModelConfig { embedding_skip: true, ..small.clone() }),
        ("later tokens", ModelConfig { multi_token_prediction: 2, multi_token_loss_weight: 0.5, ..small.clone() }),
        (
            "later tokens of everything",
            ModelConfig {
                multi_token_prediction: 1,
                embedding_skip: true,
                values: Values::FirstBlock,
                residual_scaling: ResidualScaling::Learned,
                norm_placement: NormPlacement::Sandwich,
                ..small.clone()
            },
        ),
        ("cap and z-loss", ModelConfig { logit_soft_cap: 3.0, z_loss: 0.1, ..small.clone() }),
        (
            "like llama",
            ModelConfig {
                positions: Places::Rotary,
                norm: NormForm::Rms,
                feed_forward: Form::Swiglu,
                key_value_heads: 1,
                bias: false,
                tied_embeddings: false,
                ..small
            },
        ),
    ]
}

fn tokens(b: i64, t: i64) -> Tensor {
    (Tensor::arange(b * t, (Kind::Int64, Device::Cpu)) * 7919 + 13).remainder(i64::from(VOCABULARY)).view([b, t])
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[test]
fn shapes_are_as_the_comments_say() {
    let (_, model) = build(&small());
    assert_eq!(model.hidden(&tokens(3, 7), None, 0.0).size(), [3, 7, 16]);
    assert_eq!(model.logits(&tokens(3, 7)).size(), [3, 7, 50]);
}

#[test]
fn the_config_lists_the_tensors_that_the_model_has() {
    for (name, config) in variants() {
        let (parameters, model) = build(&config);
        for (spec, (tensor, value)) in config.tensors(VOCABULARY).iter().zip(parameters.named()) {
            let shape: Vec<u64> = value.size().iter().map(|&d| d as u64).collect();
            assert_eq!((tensor, &shape), (spec.name.as_str(), &spec.shape), "{name}");
        }
        assert_eq!(parameters.count(), config.parameters(VOCABULARY).0, "{name}");
        // A tensor that the model does not read has no gradient.
        let _sum = model.backward(&tokens(2, 12), &tokens(2, 12), None, 1.0, 0.0).unwrap();
        let unread: Vec<&str> = parameters.named().filter(|(_, t)| !t.grad().defined()).map(|(name, _)| name).collect();
        assert!(unread.is_empty(), "{name}: {unread:?}");
    }
}

#[test]
fn initial_weights_are_those_of_gpt2() {
    let config = ModelConfig { width: 64, ..small() };
    let parameters = Parameters::initialize(&config, 500, 1, Device::Cpu);
    for (name, tensor) in parameters.named() {
        let (mean, deviation) = (tensor.mean(Kind::Float).double_value(&[]), tensor.std(false).double_value(&[]));
        let (expected_mean, expected_deviation) = match name {
            _ if name.ends_with("bias") => (0.0, 0.0),
            _ if name.contains("norm") => (1.0, 0.0),
            _ if name.ends_with("output.weight") => (0.0, 0.01), // 0.02 / sqrt(2 * 2 layers)
            _ => (0.0, 0.02),
        };
        assert!((mean - expected_mean).abs() < 2e-3, "{name}: mean {mean}");
        assert!((deviation - expected_deviation).abs() < 0.1 * expected_deviation + 1e-9, "{name}: {deviation}");
    }
}

/// At its base width a model is the same with and without transfer.
#[test]
fn width_transfer_changes_nothing_at_the_base_width() {
    let config = ModelConfig { mup_base_width: 16, tied_embeddings: false, ..small() };
    let ((_, with), (_, without)) = (build(&config), build(&ModelConfig { mup_base_width: 0, ..config.clone() }));
    assert!(with.logits(&tokens(2, 12)).equal(&without.logits(&tokens(2, 12))));
    for kind in [OptimizerKind::Adamw, OptimizerKind::Muon, OptimizerKind::Lion, OptimizerKind::Sgd] {
        let rule = OptimizerConfig { kind, ..OptimizerConfig::default() };
        for tensor in config.tensors(VOCABULARY) {
            assert_eq!(rule.update_rule(&config, &tensor).learning_rate_ratio, 1.0, "{}", tensor.name);
        }
    }
}

/// At its base depth a model is the same with and without transfer, and so is one whose new part is still at its beginning.
#[test]
fn what_begins_as_nothing_changes_nothing() {
    let plain = small();
    let logits = |config: &ModelConfig| {
        let parameters = Parameters::initialize(config, VOCABULARY, 1, Device::Cpu);
        parameters.model(config, Kind::Float).logits(&tokens(2, 12))
    };
    let expected = logits(&plain);
    for (name, config) in [
        ("depth transfer", ModelConfig { mup_base_layers: 2, ..plain.clone() }),
        ("smear", ModelConfig { smear: true, ..plain.clone() }),
        ("bigram hash", ModelConfig { bigram_rows: 100, ..plain.clone() }),
    ] {
        assert!(logits(&config).equal(&expected), "{name}");
    }
}

/// A gate of zeros halves what attention gives.
#[test]
fn gates_multiply_by_a_sigmoid() {
    let x = Tensor::randn([2, 5, 16], (Kind::Float, Device::Cpu));
    for (attention_gate, of_a_gate) in [(AttentionGate::Head, 8), (AttentionGate::Channel, 1)] {
        let config = ModelConfig { attention_gate, bias: false, init_std: 0.5, ..small() };
        let plain = ModelConfig { attention_gate: AttentionGate::None, ..config.clone() };
        let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
        let weight = |name: &str| {
            let name = format!("blocks.0.attention.{name}.weight");
            parameters.named().find(|(listed, _)| *listed == name).unwrap().1.shallow_clone()
        };
        let read = |config: &ModelConfig| {
            let same = Parameters::initialize(config, VOCABULARY, 1, Device::Cpu);
            for (name, into) in same.named() {
                let (_, from) = parameters.named().find(|(listed, _)| *listed == name).unwrap();
                tch::no_grad(|| into.shallow_clone().copy_(from));
            }
            let attention = Attention::new(config, "blocks.0.attention", &same.cast(Kind::Float));
            let seen = positions(config).in_attention(5, None, Kind::Float, Device::Cpu);
            attention.forward(&x, None, &seen, 0.0).0
        };
        assert!(largest_difference(&(read(&plain) * 0.5), &read(&config)) < 1e-5, "{attention_gate:?}");
        tch::no_grad(|| weight("gate").copy_(&weight("gate").randn_like()));
        // With the identity after them, heads can be read off.
        tch::no_grad(|| weight("output").copy_(&Tensor::eye(16, (Kind::Float, Device::Cpu))));
        let gates: Tensor = 1.0 / ((-x.matmul(&weight("gate").tr())).exp() + 1.0); // (2, 5, 2 or 16)
        let expected = read(&plain) * gates.repeat_interleave_self_int(of_a_gate, -1, None);
        assert!(largest_difference(&expected, &read(&config)) < 1e-5, "{attention_gate:?}");
    }
}

/// Smear and pairs as their formulas say, token by token, over two documents and a branch.
#[test]
fn tokens_take_from_the_one_before_them() {
    let config = ModelConfig { smear: true, bigram_rows: 7, positions: Places::None, ..small() };
    let (parameters, model) = build(&config);
    let weight = |name: &str| parameters.named().find(|(listed, _)| *listed == name).unwrap().1.detach();
    let (table, pairs) = (weight("token_embedding"), weight("bigram_embedding"));
    let (gate, gain) = (weight("smear_gate"), weight("smear_gain").double_value(&[0]));
    let expected = |token: i64, before: Option<i64>| {
        let own = table.get(token);
        let Some(before) = before else { return own + pairs.get(0) };
        let opening = own.narrow(0, 0, 12).dot(&gate).double_value(&[]);
        let row = 1 + ((36_313 * token) ^ (27_191 * before)) % 6;
        own + table.get(before) * (gain / (1.0 + libm::exp(-opening))) + pairs.get(row)
    };
    let hold = |ids: &[i64], packing: Option<Packing>, before: &[Option<i64>]| {
        let found = model.embed_tokens(&Tensor::from_slice(ids).unsqueeze(0), packing.as_ref());
        for (i, (&token, &before)) in ids.iter().zip(before).enumerate() {
            let difference = largest_difference(&found.get(0).get(i as i64), &expected(token, before));
            assert!(difference < 1e-5, "token {i}: {difference}");
        }
    };
    let ids = [4, 5, 0, 6, 6];
    hold(&ids, None, &[None, Some(4), Some(5), Some(0), Some(6)]);
    let documents = Packing::documents(&Tensor::from_slice(&ids).unsqueeze(0), 0, false);
    hold(&ids, Some(documents), &[None, Some(4), None, Some(0), Some(6)]);
    let row = |values: [i64; 5]| Tensor::from_slice(&values).unsqueeze(0);
    let branches = Packing::branches(row([0, 0, 1, 2, 2]), row([0, 1, 2, 2, 3]));
    hold(&ids, Some(branches), &[None, Some(4), Some(5), Some(5), Some(6)]);
}

/// What steps at one rate do to the model's output with depth: the change of the last hidden states, relative to
/// themselves, as the slope over doublings of the depth.
fn change_over_depths(base_layers: u32) -> f64 {
    let depths = [2, 4, 8, 16];
    let sizes = depths.map(|layers| {
        let config =
            ModelConfig { layers, mup_base_layers: base_layers, initialization: Initialization::Plain, ..small() };
        let config = ModelConfig { init_std: 0.05, width: 32, ..config };
        let rule = OptimizerConfig { learning_rate: 1e-3, weight_decay: 0.0, ..OptimizerConfig::default() };
        let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
        let mut optimizer = crate::optimizer::build_all(&rule, &config, &parameters);
        let (inputs, targets) = (tokens(8, 12), tokens(8, 13).narrow(1, 1, 12));
        let one = Tensor::full([], 1.0, (Kind::Float, Device::Cpu));
        let stream = || {
            let mut model = parameters.model(&config, Kind::Float);
            model.final_norm = None;
            tch::no_grad(|| model.hidden(&inputs, None, 0.0))
        };
        let before = stream();
        for _ in 0..5 {
            let model = parameters.model(&config, Kind::Float);
            let _sum = model.backward(&inputs, &targets, None, 1.0 / 96.0, 0.0).unwrap();
            let gradients: Vec<Tensor> = parameters.tensors().iter().map(Tensor::grad).collect();
            optimizer.step(&gradients, &one, rule.learning_rate).unwrap();
            native::clear_gradients(parameters.tensors()).unwrap();
        }
        libm::log2((stream() - &before).square().mean(Kind::Float).sqrt().double_value(&[]))
    });
    (0..4).map(|i| (i as f64 - 1.5) * sizes[i]).sum::<f64>() / 5.0
}

/// The coordinate check over depths (Dey et al. 2025, figure 7): with CompleteP the stream changes by as much at any depth,
/// without it by more in deeper models.
#[test]
fn changes_keep_their_size_over_depths_with_depth_transfer() {
    let (with, without) = (change_over_depths(1), change_over_depths(0));
    eprintln!("{with} with, {without} without");
    assert!(with.abs() < 0.25, "{with}");
    assert!(without > 0.4, "{without}");
}

/// How a size grows with the width, as the slope over doublings: the residual stream after the last block, and the
/// logits, after five steps on one batch.
fn growth(kind: OptimizerKind, learning_rate: f64, base_width: u32) -> [f64; 2] {
    let widths = [32, 64, 128, 256];
    let sizes = widths.map(|width| {
        let config = ModelConfig {
            layers: 2,
            width,
            heads: width / 16,
            mup_base_width: base_width,
            mup_base_heads: base_width / 16,
            init_std: 0.05,
            tied_embeddings: false,
            ..small()
        };
        let rule = OptimizerConfig { kind, learning_rate, weight_decay: 0.0, ..OptimizerConfig::default() };
        let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
        let mut optimizer = crate::optimizer::build_all(&rule, &config, &parameters);
        let (inputs, targets) = (tokens(8, 12), tokens(8, 13).narrow(1, 1, 12));
        let one = Tensor::full([], 1.0, (Kind::Float, Device::Cpu));
        for _ in 0..5 {
            let model = parameters.model(&config, Kind::Float);
            let _sum = model.backward(&inputs, &targets, None, 1.0 / 96.0, 0.0).unwrap();
            let gradients: Vec<Tensor> = parameters.tensors().iter().map(Tensor::grad).collect();
            optimizer.step(&gradients, &one, learning_rate).unwrap();
            native::clear_gradients(parameters.tensors()).unwrap();
        }
        let mut model = parameters.model(&config, Kind::Float);
        let size = |x: Tensor| x.square().mean(Kind::Float).sqrt().double_value(&[]);
        let logits = tch::no_grad(|| size(model.logits(&inputs)));
        (model.final_norm, model.logit_scale) = (None, 1.0);
        [tch::no_grad(|| size(model.hidden(&inputs, None, 0.0))), logits].map(libm::log2)
    });
    // Least squares over doublings -1.5 to 1.5.
    [0, 1].map(|what| (0..4).map(|i| (i as f64 - 1.5) * sizes[i][what]).sum::<f64>() / 5.0)
}

/// The coordinate check of Yang et al. 2022, appendix D.1: after some steps, activations are as large at any width
/// with transfer, and grow with the width without.
#[test]
fn activations_keep_their_size_over_widths_with_width_transfer() {
    for (kind, rate) in [(OptimizerKind::Adamw, 1e-2), (OptimizerKind::Lion, 1e-2), (OptimizerKind::Muon, 2e-2)] {
        let (with, without) = (growth(kind, rate, 32), growth(kind, rate, 0));
        eprintln!("{kind:?}: {with:?} with, {without:?} without");
        // The logits shrink a little, because those of the first step fall with the root of the width.
        assert!(with.iter().all(|slope| slope.abs() < 0.25), "{kind:?}: {with:?}");
        assert!(without.iter().all(|slope| *slope > 0.4), "{kind:?}: {without:?}");
    }
}

/// A mixture that begins as one of its parts is that part: with its weights at (1, 0), a variant is GPT-2.
#[test]
fn mixtures_and_gains_are_what_their_weights_say() {
    let plain = small();
    let cases = [
        ("skip", ModelConfig { embedding_skip: true, ..plain.clone() }),
        ("first block", ModelConfig { values: Values::FirstBlock, ..plain.clone() }),
        ("table", ModelConfig { values: Values::Embedding, ..plain.clone() }),
        ("gains", ModelConfig { residual_scaling: ResidualScaling::Learned, ..plain.clone() }),
        ("later tokens", ModelConfig { multi_token_prediction: 1, ..plain.clone() }),
    ];
    let (base, base_model) = build(&plain);
    let expected = base_model.logits(&tokens(2, 12));
    for (name, config) in cases {
        let (parameters, model) = build(&config);
        tch::no_grad(|| {
            for (tensor, value) in parameters.named() {
                let mut value = value.shallow_clone();
                match base.named().find(|(base, _)| *base == tensor) {
                    Some((_, from)) => value.copy_(from),
                    None if tensor.ends_with("_mix") => value.copy_(&Tensor::from_slice(&[1.0f32, 0.0])),
                    None if tensor.ends_with("_gain") => drop(value.fill_(1.0)),
                    None => {}
                }
            }
        });
        assert!(largest_difference(&model.logits(&tokens(2, 12)), &expected) < 1e-6, "{name}");
    }
    // With (0, 1) in the second block, its values are those of the first.
    let config = ModelConfig { values: Values::FirstBlock, ..plain };
    let (parameters, model) = build(&config);
    let mix = parameters.named().find(|(name, _)| *name == "blocks.1.attention.value_mix").unwrap().1;
    let values = parameters.named().find(|(name, _)| *name == "blocks.1.attention.query_key_value.weight").unwrap().1;
    tch::no_grad(|| mix.shallow_clone().copy_(&Tensor::from_slice(&[0.0f32, 1.0])));
    let before = model.logits(&tokens(2, 12));
    tch::no_grad(|| drop(values.narrow(0, 32, 16).fill_(5.0)));
    assert!(model.logits(&tokens(2, 12)).equal(&before), "the second block's own values are not used");
}

#[test]
fn later_tokens_do_not_change_earlier_logits() {
    for (name, config) in variants() {
        let (_, model) = build(&config);
        let first = tokens(1, 10);
        let changed = first.copy();
        let _ = changed.narrow(1, 6, 4).fill_(3);
        let (a, b) = (model.logits(&first), model.logits(&changed));
        assert!(largest_difference(&a.narrow(1, 0, 6), &b.narrow(1, 0, 6)) < 1e-5, "{name}");
        assert!(largest_difference(&a.narrow(1, 6, 4), &b.narrow(1, 6, 4)) > 1e-3, "{name}");
    }
}

#[test]
fn every_variant_gives_scores_that_pass_the_self_test() {
    for (name, config) in variants() {
        // Long enough for two sequences with one beginning to be read as one.
        let config = ModelConfig { context_length: 48, init_std: 0.2, ..config };
        let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
        for (precision, kind, most) in [(Precision::F32, Kind::Float, 1e-4), (Precision::Bf16, Kind::BFloat16, 0.25)] {
            let training = TrainingConfig { precision, ..TrainingConfig::default() };
            let model = parameters.model(&config, kind);
            let found = evaluate::tested(&model, VOCABULARY, &training, 0, Device::Cpu).unwrap().unwrap();
            assert!(found.look_ahead_nats == 0.0 && found.batch_nats < most, "{name}: {found:?}");
            assert!(found.probability_sum_error < 1e-5, "{name}: {found:?}");
        }
    }
}

#[test]
fn the_order_of_earlier_tokens_changes_later_logits() {
    for (name, config) in variants() {
        let (_, model) = build(&config);
        let first = tokens(1, 10);
        let swapped = Tensor::cat(&[first.narrow(1, 1, 1), first.narrow(1, 0, 1), first.narrow(1, 2, 8)], 1);
        let (a, b) = (model.logits(&first), model.logits(&swapped));
        assert!(largest_difference(&a.narrow(1, 9, 1), &b.narrow(1, 9, 1)) > 1e-5, "{name}");
    }
}

fn positions(config: &ModelConfig) -> Positions {
    Positions::new(config, &Parameters::initialize(config, VOCABULARY, 1, Device::Cpu).cast(Kind::Float))
}

/// A property that defines rotary positions: scores depend on the distance alone (Su et al. 2021, equation 11).
#[test]
fn rotary_scores_depend_on_the_distance_alone() {
    let config = ModelConfig { positions: Places::Rotary, ..small() };
    let seen = positions(&config).in_attention(12, None, Kind::Float, Device::Cpu);
    let same = |x: &Tensor| seen.turn(x.expand([1, 1, 12, 8], false).contiguous()).squeeze_dim(0).squeeze_dim(0);
    let (query, key) =
        (same(&Tensor::randn([8], (Kind::Float, Device::Cpu))), same(&Tensor::randn([8], (Kind::Float, Device::Cpu))));
    let scores = query.matmul(&key.tr()); // (T, T)
    for distance in 0..12 {
        let diagonal = scores.diagonal(-distance, 0, 1);
        assert!(largest_difference(&diagonal, &diagonal.get(0).expand_as(&diagonal)) < 1e-5, "{distance}");
    }
}

/// ALiBi against its definition, one score at a time.
#[test]
fn alibi_subtracts_slope_times_distance() {
    let config = ModelConfig { positions: Places::Alibi, heads: 4, ..small() };
    let seen = positions(&config).in_attention(5, None, Kind::Float, Device::Cpu);
    let mask = seen.mask().unwrap();
    for (head, slope) in [0.25, 0.0625, 0.015625, 0.00390625].into_iter().enumerate() {
        for (query, key) in (0..5i64).flat_map(|query| (0..5i64).map(move |key| (query, key))) {
            let found = mask.double_value(&[head as i64, query, key]);
            let expected = if key > query { f64::NEG_INFINITY } else { -slope * (query - key) as f64 };
            assert!(found == expected || (found - expected).abs() < 1e-6, "{head} {query} {key}: {found}");
        }
    }
}

/// Attention by its definition, one query at a time: the positions that it may see, their scores, capped, softmax,
/// the mean of their values.
fn naive_attention(config: &ModelConfig, weights: &Parameters, x: &Tensor, document: &[i64]) -> Tensor {
    let weight = |name: &str| weights.named().find(|(n, _)| n.ends_with(name)).unwrap().1.shallow_clone();
    let (b, t, c) = x.size3().unwrap();
    let (heads, d) = (i64::from(config.heads), c / i64::from(config.heads));
    let all = x.matmul(&weight("query_key_value.weight").tr()) + weight("query_key_value.bias"); // (B, T, 3 C)
    let y = Tensor::zeros([b, t, c], (Kind::Float, Device::Cpu));
    for (b, head) in (0..b).flat_map(|b| (0..heads).map(move |head| (b, head))) {
        let part = |which: i64, place: i64| all.get(b).get(place).narrow(0, which * c + head * d, d);
        for query in 0..t {
            let in_window =
                |key: &i64| config.attention_window == 0 || query - key < i64::from(config.attention_window);
            let keys = (0..=query).filter(in_window).filter(|&key| document[key as usize] == document[query as usize]);
            let keys: Vec<i64> = keys.collect();
            let score = |&key: &i64| {
                let score = part(0, query).dot(&part(1, key)).double_value(&[]) / (d as f64).sqrt();
                let cap = config.attention_soft_cap;
                libm::exp(if cap > 0.0 { cap * libm::tanh(score / cap) } else { score })
            };
            let shares: Vec<f64> = keys.iter().map(score).collect();
            let mut mean = Tensor::zeros([d], (Kind::Float, Device::Cpu));
            for (&key, share) in keys.iter().zip(&shares) {
                mean += part(2, key) * (share / shares.iter().sum::<f64>());
            }
            y.get(b).get(query).narrow(0, head * d, d).copy_(&mean);
        }
    }
    y.matmul(&weight("output.weight").tr()) + weight("output.bias")
}

#[test]
fn attention_is_its_definition_with_window_cap_and_documents() {
    let first = tokens(1, 12).fill_(7);
    let _ = first.narrow(1, 3, 1).fill_(0); // documents of 3, 1 and 8 tokens
    let _ = first.narrow(1, 4, 1).fill_(0);
    let numbers = [0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2];
    for (window, cap, packed) in
        [(0, 0.0, false), (4, 0.0, false), (0, 0.5, false), (0, 0.0, true), (3, 0.7, true), (12, 0.0, false)]
    {
        let config = ModelConfig {
            attention_window: window,
            attention_soft_cap: cap,
            init_std: 0.5,
            positions: Places::None,
            ..small()
        };
        let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
        let attention = Attention::new(&config, "blocks.0.attention", &parameters.cast(Kind::Float));
        let documents = packed.then(|| Packing::documents(&first, 0, false));
        let seen = positions(&config).in_attention(12, documents.as_ref(), Kind::Float, Device::Cpu);
        let x = Tensor::randn([1, 12, 16], (Kind::Float, Device::Cpu));
        let numbers = if packed { numbers } else { [0; 12] };
        let (ours, expected) =
            (attention.forward(&x, None, &seen, 0.0).0, naive_attention(&config, &parameters, &x, &numbers));
        assert!(largest_difference(&ours, &expected) < 1e-5, "window {window}, cap {cap}, packed {packed}");
    }
}

/// With the document mask and restarted positions, a document in a packed sequence is read as if it stood alone.
#[test]
fn packed_documents_do_not_see_each_other() {
    let packed = tokens(2, 12).clamp_min(1);
    for (row, begins) in [(0, [0, 5, 6]), (1, [2, 4, 9])] {
        begins.into_iter().for_each(|at| drop(packed.get(row).narrow(0, at, 1).fill_(0)));
    }
    for (name, config) in variants() {
        let (_, model) = build(&config);
        let states = model.hidden(&packed, Some(&Packing::documents(&packed, 0, true)), 0.0);
        // A sequence may begin in the middle of a document, as the second row does.
        for (row, first, length) in [(0, 0, 5), (0, 5, 1), (0, 6, 6), (1, 0, 2), (1, 2, 2), (1, 4, 5), (1, 9, 3)] {
            let alone = model.hidden(&packed.narrow(0, row, 1).narrow(1, first, length), None, 0.0);
            let inside = states.narrow(0, row, 1).narrow(1, first, length);
            assert!(largest_difference(&alone, &inside) < 1e-4, "{name}: row {row} from {first}");
        }
        // Without restarted positions, tokens of other documents still change nothing.
        let changed = packed.copy();
        let _ = changed.get(0).narrow(0, 1, 4).fill_(9);
        let read = |tokens: &Tensor| model.hidden(tokens, Some(&Packing::documents(tokens, 0, false)), 0.0);
        let (a, b) = (read(&packed).narrow(1, 5, 7), read(&changed).narrow(1, 5, 7));
        assert!(largest_difference(&a, &b) < 1e-6, "{name}");
        assert!(largest_difference(&read(&packed), &read(&changed)) > 1e-3, "{name}");
    }
}

/// A stem of five tokens and three continuations in one sequence, each read as if it stood alone after the stem.
#[test]
fn branches_see_their_stem_and_themselves() {
    let read = tokens(2, 12);
    let row = |numbers: [i64; 12]| Tensor::from_slice(&numbers).expand([2, 12], false).contiguous();
    let numbers = row([0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 3, 3]);
    let places = row([0, 1, 2, 3, 4, 5, 6, 7, 5, 5, 6, 7]);
    for (name, config) in variants() {
        let (_, model) = build(&config);
        let together = model.hidden(&read, Some(&Packing::branches(numbers.copy(), places.copy())), 0.0);
        for (first, length) in [(5, 3), (8, 1), (9, 3)] {
            let tokens = Tensor::cat(&[read.narrow(1, 0, 5), read.narrow(1, first, length)], 1);
            let alone = model.hidden(&tokens, None, 0.0);
            let stem = largest_difference(&alone.narrow(1, 0, 5), &together.narrow(1, 0, 5));
            let branch = largest_difference(&alone.narrow(1, 5, length), &together.narrow(1, first, length));
            assert!(stem < 1e-4 && branch < 1e-4, "{name}: branch from {first}: {stem}, {branch}");
        }
    }
}

/// Grouped-query attention with each group's weights written out for every head is multi-head attention.
#[test]
fn grouped_queries_share_keys_and_values() {
    let grouped = ModelConfig { heads: 4, key_value_heads: 2, bias: false, layers: 1, ..small() };
    let full = ModelConfig { key_value_heads: 0, ..grouped.clone() };
    let ((few, grouped_model), (many, _)) = (build(&grouped), build(&full));
    tch::no_grad(|| {
        for ((name, from), (_, into)) in few.named().zip(many.named()) {
            let from = if name.ends_with("query_key_value.weight") {
                let rows = from.view([8, 4, 16]); // 4 query, 2 key, 2 value heads of 4 channels
                let order = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7]);
                rows.index_select(0, &order).view([48, 16])
            } else {
                from.shallow_clone()
            };
            into.shallow_clone().copy_(&from);
        }
    });
    let full_model = many.model(&full, Kind::Float);
    assert!(largest_difference(&grouped_model.logits(&tokens(2, 12)), &full_model.logits(&tokens(2, 12))) < 1e-5);
}

/// Loss and gradients of the textbook form: all logits at once, and autograd through everything.
fn plain(config: &ModelConfig, model: &Transformer, head: &Tensor, inputs: &Tensor, targets: &Tensor) -> f64 {
    let (b, t) = targets.size2().unwrap();
    let mut objective = Tensor::zeros([], (Kind::Float, Device::Cpu));
    let mut next = None;
    for (ahead, state) in (0..).zip(multi_token::states(model, inputs, None, 0.0)) {
        let state = state.narrow(1, 0, t - ahead); // token `ahead` after the next one
        let mut logits = state.matmul(&head.tr()).view([-1, i64::from(VOCABULARY)]);
        if config.logit_soft_cap > 0.0 {
            logits = (logits / config.logit_soft_cap).tanh() * config.logit_soft_cap;
        }
        let targets = targets.narrow(1, ahead, t - ahead).reshape([-1]);
        let loss = logits.log_softmax(-1, Kind::Float).gather(1, &targets.unsqueeze(1), false).sum(Kind::Float).neg();
        let z_loss = logits.logsumexp(-1, false).square().sum(Kind::Float) * config.z_loss;
        let weight = if ahead == 0 { 1.0 } else { config.multi_token_loss_weight };
        objective += (&loss + z_loss) * (weight / (b * t) as f64);
        next.get_or_insert(loss.double_value(&[]) / (b * t) as f64);
    }
    objective.backward();
    next.unwrap()
}

#[test]
fn the_chunked_loss_is_plain_cross_entropy_in_value_and_gradient() {
    for (variant, config) in variants() {
        let config = ModelConfig { context_length: 120, ..config };
        let (parameters, model) = build(&config);
        // 5 * 120 positions: more than one chunk, and the last one is not full.
        let (inputs, targets) = (tokens(5, 120), tokens(5, 121).narrow(1, 1, 120));
        let sum = model.backward(&inputs, &targets, None, 1.0 / 600.0, 0.0).unwrap();
        let chunked: Vec<Tensor> = parameters.tensors().iter().map(|p| p.grad().copy()).collect();
        native::clear_gradients(parameters.tensors()).unwrap();
        let name = if config.tied_embeddings { "token_embedding" } else { "head" };
        let head = parameters.named().find(|(n, _)| *n == name).unwrap().1;
        let expected = plain(&config, &model, head, &inputs, &targets);
        assert!((sum.double_value(&[]) / 600.0 - expected).abs() < 1e-6 * expected, "{variant}");
        let largest = parameters.tensors().iter().map(|p| p.grad().abs().max().double_value(&[])).fold(0.0, f64::max);
        for ((name, parameter), ours) in parameters.named().zip(&chunked) {
            let scale = parameter.grad().abs().max().double_value(&[]);
            let difference = largest_difference(&parameter.grad(), ours);
            assert!(difference <= 1e-4 * scale + 1e-6 * largest, "{variant}, {name}: {difference} of {scale}");
        }
    }
}

#[test]
fn passes_add_up_to_the_gradient_of_the_whole_batch() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let (parameters, _) = build(&small());
        let (inputs, targets) = (tokens(4, 12), tokens(4, 13).narrow(1, 1, 12));
        let gradients = |passes: i64| {
            let model = parameters.model(&small(), kind);
            for pass in 0..passes {
                let rows = 4 / passes;
                let inputs = inputs.narrow(0, pass * rows, rows);
                let targets = targets.narrow(0, pass * rows, rows);
                let _sum = model.backward(&inputs, &targets, None, 1.0 / 48.0, 0.0).unwrap();
            }
            let found: Vec<Tensor> = parameters.tensors().iter().map(|p| p.grad().copy()).collect();
            native::clear_gradients(parameters.tensors()).unwrap();
            found
        };
        let tolerance = if kind == Kind::Float { 1e-5 } else { 5e-2 };
        for ((name, whole), parts) in
            parameters.specs().iter().map(|spec| &spec.name).zip(gradients(1)).zip(gradients(4))
        {
            // The key's bias has no gradient but rounding: softmax does not see a constant added to its scores.
            let scale = whole.abs().max().double_value(&[]).max(1e-4);
            let difference = largest_difference(&whole, &parts);
            assert!(difference <= tolerance * scale, "{kind:?} {name}: {difference} of {scale}");
        }
    }
}

#[test]
fn bfloat16_is_float32_but_for_rounding() {
    for (name, config) in variants() {
        let (parameters, model) = build(&config);
        let rounded = parameters.model(&config, Kind::BFloat16);
        let (a, b) = (model.logits(&tokens(2, 12)), rounded.logits(&tokens(2, 12)));
        let scale = a.abs().max().double_value(&[]);
        assert!(largest_difference(&a, &b) < 0.1 * scale, "{name}");
        assert!(parameters.tensors().iter().all(|p| p.kind() == Kind::Float), "{name}");
    }
}

#[test]
fn dropout_changes_training_and_nothing_else() {
    let (_, model) = build(&small());
    let (a, b) = (model.hidden(&tokens(2, 12), None, 0.0), model.hidden(&tokens(2, 12), None, 0.0));
    assert!(a.equal(&b));
    assert!(!model.hidden(&tokens(2, 12), None, 0.5).equal(&a));
}
