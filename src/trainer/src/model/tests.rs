//! The model against its definition: shapes, counts, causality, and the chunked loss against the plain one.

use harness_core::config::{FeedForward as Form, ModelConfig, Norm as NormForm, NormPlacement, Positions as Places};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::model::weights::Parameters;
use crate::native;

const VOCABULARY: u32 = 50;

fn small() -> ModelConfig {
    ModelConfig { layers: 2, heads: 2, width: 16, context_length: 12, ..ModelConfig::default() }
}

/// Larger initial weights than usual, so that differences show.
fn build(config: &ModelConfig) -> (Parameters, Transformer) {
    let config = ModelConfig { initialization_deviation: 0.2, ..config.clone() };
    let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
    let model = parameters.model(&config, VOCABULARY, Kind::Float);
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
    assert_eq!(model.hidden(&tokens(3, 7), 0.0).size(), [3, 7, 16]);
    assert_eq!(model.logits(&tokens(3, 7)).size(), [3, 7, 50]);
}

#[test]
fn the_config_lists_the_tensors_that_the_model_has() {
    for (name, config) in variants() {
        let (parameters, _) = build(&config);
        let built: Vec<(String, Vec<u64>)> = parameters
            .named()
            .map(|(name, tensor)| (name.to_owned(), tensor.size().iter().map(|&d| d as u64).collect()))
            .collect();
        assert_eq!(built, config.tensors(VOCABULARY), "{name}");
        assert_eq!(parameters.count(), config.parameters(VOCABULARY).0, "{name}");
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
fn the_order_of_earlier_tokens_changes_later_logits() {
    for (name, config) in variants() {
        let (_, model) = build(&config);
        let first = tokens(1, 10);
        let swapped = Tensor::cat(&[first.narrow(1, 1, 1), first.narrow(1, 0, 1), first.narrow(1, 2, 8)], 1);
        let (a, b) = (model.logits(&first), model.logits(&swapped));
        assert!(largest_difference(&a.narrow(1, 9, 1), &b.narrow(1, 9, 1)) > 1e-5, "{name}");
    }
}

/// A property that defines rotary positions: scores depend on the distance alone (Su et al. 2021, equation 11).
#[test]
fn rotary_scores_depend_on_the_distance_alone() {
    let config = ModelConfig { positions: Places::Rotary, ..small() };
    let mut create = weights::Create::new(Device::Cpu);
    let seen = Positions::new(&config, &mut create).in_attention(12, Kind::Float, Device::Cpu);
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
    let mut create = weights::Create::new(Device::Cpu);
    let seen = Positions::new(&config, &mut create).in_attention(5, Kind::Float, Device::Cpu);
    let mask = seen.mask().unwrap();
    for (head, slope) in [0.25, 0.0625, 0.015625, 0.00390625].into_iter().enumerate() {
        for (query, key) in (0..5i64).flat_map(|query| (0..5i64).map(move |key| (query, key))) {
            let found = mask.double_value(&[head as i64, query, key]);
            let expected = if key > query { f64::NEG_INFINITY } else { -slope * (query - key) as f64 };
            assert!(found == expected || (found - expected).abs() < 1e-6, "{head} {query} {key}: {found}");
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
    let full_model = many.model(&full, VOCABULARY, Kind::Float);
    assert!(largest_difference(&grouped_model.logits(&tokens(2, 12)), &full_model.logits(&tokens(2, 12))) < 1e-5);
}

/// Loss and gradients of the textbook form: all logits at once, and autograd through everything.
fn plain(config: &ModelConfig, model: &Transformer, head: &Tensor, inputs: &Tensor, targets: &Tensor) -> f64 {
    let mut logits = model.hidden(inputs, 0.0).matmul(&head.tr()).view([-1, i64::from(VOCABULARY)]);
    if config.logit_soft_cap > 0.0 {
        logits = (logits / config.logit_soft_cap).tanh() * config.logit_soft_cap;
    }
    let loss = logits.cross_entropy_for_logits(&targets.reshape([-1]));
    let z_loss = logits.logsumexp(-1, false).square().mean(Kind::Float) * config.z_loss;
    (&loss + z_loss).backward();
    loss.double_value(&[])
}

#[test]
fn the_chunked_loss_is_plain_cross_entropy_in_value_and_gradient() {
    for (variant, config) in variants() {
        let config = ModelConfig { context_length: 120, ..config };
        let (parameters, model) = build(&config);
        // 5 * 120 positions: more than one chunk, and the last one is not full.
        let (inputs, targets) = (tokens(5, 120), tokens(5, 121).narrow(1, 1, 120));
        let sum = loss::backward(model.head(), &model.hidden(&inputs, 0.0), &targets, 1.0 / 600.0).unwrap();
        let chunked: Vec<Tensor> = parameters.tensors().iter().map(|p| p.grad().copy()).collect();
        native::clear_gradients(parameters.tensors());
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
            let model = parameters.model(&small(), VOCABULARY, kind);
            for pass in 0..passes {
                let rows = 4 / passes;
                let hidden = model.hidden(&inputs.narrow(0, pass * rows, rows), 0.0);
                let targets = targets.narrow(0, pass * rows, rows);
                let _sum = loss::backward(model.head(), &hidden, &targets, 1.0 / 48.0).unwrap();
            }
            let found: Vec<Tensor> = parameters.tensors().iter().map(|p| p.grad().copy()).collect();
            native::clear_gradients(parameters.tensors());
            found
        };
        let tolerance = if kind == Kind::Float { 1e-5 } else { 5e-2 };
        for ((name, whole), parts) in parameters.names().iter().zip(gradients(1)).zip(gradients(4)) {
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
        let rounded = parameters.model(&config, VOCABULARY, Kind::BFloat16);
        let (a, b) = (model.logits(&tokens(2, 12)), rounded.logits(&tokens(2, 12)));
        let scale = a.abs().max().double_value(&[]);
        assert!(largest_difference(&a, &b) < 0.1 * scale, "{name}");
        assert!(parameters.tensors().iter().all(|p| p.kind() == Kind::Float), "{name}");
    }
}

#[test]
fn dropout_changes_training_and_nothing_else() {
    let (_, model) = build(&small());
    let (a, b) = (model.hidden(&tokens(2, 12), 0.0), model.hidden(&tokens(2, 12), 0.0));
    assert!(a.equal(&b));
    assert!(!model.hidden(&tokens(2, 12), 0.5).equal(&a));
}
