//! Parity with PyTorch and `transformers`: the models, logits, scores and losses that `tests/peers/record.py` recorded with them
//! (`HARNESS_PARITY` names another recording, such as the fresh one that `make test-parity` makes).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::Place;
use harness_core::config::{OptimizerConfig, ScheduleConfig, ScheduleKind};
use harness_core::contract::{InitialWeights, Job, Message};
use harness_core::files;
use harness_core::hugging_face::config::Described;
use harness_core::hugging_face::{config, tensors};
use harness_core::shards::ShardWriter;
use harness_core::weights::{self, Tensors};
use harness_trainer::checkpoint;
use harness_trainer::evaluate::{self, Reader};
use harness_trainer::model::weights::Parameters;
use harness_trainer::ranks::Ranks;
use harness_trainer::span::Span;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

#[derive(Deserialize)]
struct Recorded {
    tokens: Vec<Vec<i64>>,
    logits: Vec<f32>,
    requests: Vec<Scored>,
    documents: Vec<Vec<u32>>,
    seed: u64,
    batch_size: u32,
    learning_rate: f64,
    losses: Vec<f64>,
}

/// A request and what lm-evaluation-harness said of it.
#[derive(Deserialize)]
struct Scored {
    context: Vec<u32>,
    continuation: Vec<u32>,
    log_probability_nats: f64,
    greedy: bool,
}

/// A recorded model with its weights under both names.
struct Peer {
    described: Described,
    recorded: Recorded,
    theirs: Tensors,
    ours: Tensors,
}

fn peer(name: &str) -> Peer {
    let recordings = std::env::var_os("HARNESS_PARITY").map(PathBuf::from);
    let folder = recordings.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity")).join(name);
    let read = |name: &str| files::read(&folder.join(name)).unwrap();
    let path = folder.join("config.json");
    let described = config::read(&path, &serde_json::from_slice(&read("config.json")).unwrap()).unwrap();
    let theirs = weights::read(&folder.join("model.safetensors"), |_| true).unwrap();
    let (class, model) = (described.architecture, &described.model);
    let ours = tensors::from_hugging_face(class, model, described.vocabulary_size, theirs.clone()).unwrap();
    Peer { recorded: serde_json::from_slice(&read("recorded.json")).unwrap(), described, theirs, ours }
}

/// The weights as a file, as a job takes them.
fn initial_weights(peer: &Peer, place: &Place) -> InitialWeights {
    let path = place.path("weights.safetensors");
    weights::write(&path, &peer.ours).unwrap();
    InitialWeights { path, sha256: weights::digest_of(&peer.ours) }
}

fn the_logits_are_the_same(name: &str) {
    let (peer, place) = (peer(name), Place::new());
    let (model, vocabulary) = (&peer.described.model, peer.described.vocabulary_size);
    let parameters = Parameters::initialize(model, vocabulary, 1, Device::Cpu);
    checkpoint::restore_initial(&initial_weights(&peer, &place), &parameters).unwrap();
    let tokens = &peer.recorded.tokens;
    let flat: Vec<i64> = tokens.iter().flatten().copied().collect();
    let input = Tensor::from_slice(&flat).view([tokens.len() as i64, tokens[0].len() as i64]);
    let logits = tch::no_grad(|| parameters.model(model, Kind::Float).logits(&input)).flatten(0, 2);
    let found: Vec<f32> = Vec::try_from(logits).unwrap();
    assert_eq!(found.len(), peer.recorded.logits.len());
    let largest = found.iter().zip(&peer.recorded.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{name}: logits differ by at most {largest:e}");
    assert!(largest < 1e-4, "{largest:e}");
    let spread = found.iter().fold(0.0f32, |most, z| most.max(z.abs()));
    assert!(spread > 0.1, "logits of {spread} would agree whatever the model");
}

fn lm_evaluation_harness_gives_the_same_scores(name: &str) {
    let (peer, place) = (peer(name), Place::new());
    let (model, vocabulary) = (&peer.described.model, peer.described.vocabulary_size);
    let parameters = Parameters::initialize(model, vocabulary, 1, Device::Cpu);
    checkpoint::restore_initial(&initial_weights(&peer, &place), &parameters).unwrap();
    let model_of = tch::no_grad(|| parameters.model(model, Kind::Float));
    let span = |scored: &Scored| {
        Span::after(&scored.context, &scored.continuation, model.context_length as usize).expect("a request fits")
    };
    let recorded = &peer.recorded.requests;
    let spans: Vec<Span> = recorded.iter().map(span).collect();
    for batch_size in [0, 1, 7] {
        let alone = Ranks::alone();
        let reader = Reader { device: Device::Cpu, batch_size, ranks: &alone, should_stop: &|| Ok(false) };
        let scores = evaluate::score(&model_of, &spans, reader).unwrap().unwrap();
        for (score, theirs) in scores.iter().zip(recorded) {
            let difference = (score.log_probability_nats - theirs.log_probability_nats).abs();
            assert!(difference < 1e-4, "{difference:e} nats");
            assert_eq!(score.greedy, theirs.greedy);
        }
    }
    assert!(recorded.iter().any(|r| r.greedy) && recorded.iter().any(|r| !r.greedy));
}

fn the_way_back_gives_the_same_files(name: &str) {
    let Peer { described, theirs, ours, .. } = peer(name);
    let (class, model, vocabulary) = (described.architecture, &described.model, described.vocabulary_size);
    // A tied head is not written out twice.
    let back = tensors::to_hugging_face(class, model, vocabulary, &ours).unwrap();
    let expected: BTreeMap<_, _> = theirs.into_iter().filter(|(name, _)| back.contains_key(name)).collect();
    assert!(back == expected, "the tensors differ");
    let written = config::write(class, model, vocabulary, 0);
    assert_eq!(config::read(Path::new("config.json"), &written).unwrap(), described);
}

fn fifty_steps_have_the_same_losses(name: &str) {
    let (peer, place) = (peer(name), Place::new());
    let recorded = &peer.recorded;
    let mut shard = ShardWriter::new(peer.described.vocabulary_size);
    recorded.documents.iter().for_each(|document| shard.push(0, document, 1));
    shard.write(&place.path("recorded.tokens")).unwrap();
    let base = place.job(name);
    let mut training = base.training.clone();
    training.steps = recorded.losses.len() as u64;
    training.batch_size = recorded.batch_size;
    training.micro_batch_size = 0;
    let job = Job {
        seed: recorded.seed,
        model: peer.described.model.clone(),
        vocabulary_size: peer.described.vocabulary_size,
        optimizer: OptimizerConfig { learning_rate: recorded.learning_rate, ..OptimizerConfig::default() },
        schedule: ScheduleConfig { kind: ScheduleKind::Constant, ..ScheduleConfig::default() },
        checkpoint_steps: vec![training.steps],
        training,
        train_shards: vec![place.path("recorded.tokens")],
        validation_shards: Vec::new(),
        tasks: Vec::new(),
        validation_steps: Vec::new(),
        token_loss_steps: Vec::new(),
        task_steps: Vec::new(),
        initial_weights: Some(initial_weights(&peer, &place)),
        ..base
    };
    let outcome = crate::support::run(&job);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let losses: Vec<f64> = outcome
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::Step(line) => Some(line.loss_nats),
            _ => None,
        })
        .collect();
    assert_eq!(losses.len(), recorded.losses.len());
    let relative = |(ours, theirs): (&f64, &f64)| (ours - theirs).abs() / theirs;
    let largest = losses.iter().zip(&recorded.losses).map(relative).fold(0.0, f64::max);
    println!("{name}: losses of {} steps differ by at most {largest:e} of themselves", losses.len());
    assert!(largest < 1e-4, "{largest:e}: {losses:?}");
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(first - last > 0.1, "from {first} to {last}: a run that learns nothing would agree whatever the optimizer");
}

#[test]
fn gpt2_has_the_same_logits() {
    the_logits_are_the_same("gpt2");
}

#[test]
fn llama_has_the_same_logits() {
    the_logits_are_the_same("llama");
}

#[test]
fn gpt2_is_scored_as_by_lm_evaluation_harness() {
    lm_evaluation_harness_gives_the_same_scores("gpt2");
}

#[test]
fn llama_is_scored_as_by_lm_evaluation_harness() {
    lm_evaluation_harness_gives_the_same_scores("llama");
}

#[test]
fn gpt2_comes_back_as_it_was() {
    the_way_back_gives_the_same_files("gpt2");
}

#[test]
fn llama_comes_back_as_it_was() {
    the_way_back_gives_the_same_files("llama");
}

#[test]
fn gpt2_trains_as_in_pytorch() {
    fifty_steps_have_the_same_losses("gpt2");
}

#[test]
fn llama_trains_as_in_pytorch() {
    fifty_steps_have_the_same_losses("llama");
}
