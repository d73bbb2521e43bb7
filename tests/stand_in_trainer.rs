//! A stand-in for `harness-trainer` in tests: speaks the same contract, computes nothing, ends in any way a test asks
//! for. Its losses are made up, but the same each time, and cover every row that the contract asks for.
//!
//! `STAND_IN=die:5` kills it after step 5, `fail:5` makes it report an error, `full:5` a full disk, `leak:5` a failed self-test, `garbage:5` makes it
//! write nonsense, `slow` lets each step take 50 ms, `old` speaks another version of the contract. `better:30` gives losses lower by
//! 0.030 nats and right answers more probable by 0.30, `spike:9` a loss of 9 nats at the step before the last,
//! `overfit:2` a validation loss that rises by 2 thousandths of a nat with each step of the second half, `nan:9` evaluations that
//! are no numbers after step 9, `tie:1` the same score for all choices, `untested:1` evaluations without a self-test, as those of
//! older trainers.

use std::env;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness_build::BUILD;
use harness_core::config::{TensorSpec, learning_rate};
use harness_core::contract::{
    About, Checkpoint, Closing, Determinism, Evaluation, Failure, GeneratedSample, Job, Message, OutputFile, Sampling,
    SelfTest, Started, VERSION, checkpoint_path,
};
use harness_core::order::{Order, RollingDigest};
use harness_core::samples::GENERATED;
use harness_core::scores::{
    ActivationStatistics, ChoiceScore, StepLine, TensorNorms, WindowLoss, read_requests, to_csv, to_json_lines,
};
use harness_core::shards::TokenStream;
use harness_core::token_losses::TokenLosses;
use harness_core::weights::{Tensor, Tensors};
use harness_core::{Digest, files, random, weights};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["about"] => println!("{}", serde_json::to_string(&about()).unwrap()),
        ["run", job] => run(&serde_json::from_slice(&files::read(Path::new(job)).unwrap()).unwrap()),
        _ => std::process::exit(2),
    }
}

fn about() -> About {
    About {
        contract_version: VERSION,
        trainer_version: "stand-in".to_owned(),
        source_sha256: BUILD.source_sha256.to_owned(),
        ..About::default()
    }
}

fn say(message: &Message) {
    println!("{}", serde_json::to_string(message).unwrap());
}

fn run(job: &Job) {
    let behaviour = env::var("STAND_IN").unwrap_or_default();
    let (mode, at) = behaviour.split_once(':').unwrap_or((&behaviour, "0"));
    let at: u64 = at.parse().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = io::stdin().lock().read_line(&mut String::new());
        flag.store(true, Ordering::Relaxed);
    });

    for signal in [SIGINT, SIGTERM, SIGUSR1] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).unwrap();
    }

    let first_step = job.resume_from.as_ref().map_or(0, |path| step_of(path));
    let parameters = job.model.parameters(job.vocabulary_size);
    say(&Message::Started(Box::new(Started {
        version: if mode == "old" { VERSION + 1 } else { VERSION },
        about: about(),
        device: "cpu".to_owned(),
        parameters: parameters.0,
        parameters_without_embeddings: parameters.1,
        flops_per_token: job.model.training_flops_per_token(job.vocabulary_size),
        predicted_memory_bytes: None,
        peak: None,
        first_step,
        determinism: Determinism::default(),
        ranks: None,
    })));
    if job.train_shards.is_empty() {
        return evaluate_only(job);
    }
    let stream = TokenStream::open(&job.train_shards).unwrap();
    let context = u64::from(job.model.context_length);
    let order = Order::new(job.seed, Order::windows_in(stream.tokens(), context));
    let mut digest = RollingDigest::start();
    let tokens_after = |step: u64| job.training.sequences_before(step) * context;
    let mut step = 0;
    loop {
        if step > first_step || (step == first_step && (step == 0 || job.validation_steps.contains(&step))) {
            evaluate(job, step);
        }
        if step > first_step && job.checkpoint_steps.contains(&step) {
            checkpoint(job, step, digest);
        }
        if job.metrics.activations_at(step, job.training.steps) && step >= first_step {
            say(&Message::Activations { rows: activations(job, step) });
        }
        // What is gone on with is there before anything can stop it.
        if step >= job.training.steps || step >= first_step && stop.load(Ordering::Relaxed) {
            break;
        }
        step += 1;
        let sequences = job.training.sequences_before(step - 1)..job.training.sequences_before(step);
        let mut tokens = vec![0; (sequences.end - sequences.start) as usize * (context as usize + 1)];
        for (sequence, window) in sequences.zip(tokens.chunks_exact_mut(context as usize + 1)) {
            stream.copy_tokens(order.window(sequence) * context, window);
        }
        digest.update(&tokens);
        if step <= first_step {
            continue;
        }
        if mode == "slow" {
            std::thread::sleep(Duration::from_millis(50));
        }
        say(&Message::Step(StepLine {
            step,
            tokens: tokens_after(step),
            loss_nats: training_loss(job, step),
            learning_rate: learning_rate(&job.schedule, job.optimizer.learning_rate, step, job.training.steps),
            gradient_norm: 1.0 + 1.0 / step as f64,
            wall_time_s: step as f64 * 0.01,
            tokens_per_s: 1000.0,
            batch_size: job.training.batch_size_at(step - 1),
            sequence_length: job.training.sequence_length_at(step - 1, job.model.context_length),
            memory_bytes: 1 << 27,
            ..StepLine::default()
        }));
        if job.metrics.tensor_norms_at(step) {
            say(&Message::TensorNorms { rows: layers(job, step) });
        }
        if step == at {
            match mode {
                "die" => {
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap()
                }
                "garbage" => println!("{{\"event\":\"step\",\"nonsense\":true}}"),
                "fail" | "full" | "leak" => {
                    let (kind, message) = match mode {
                        "fail" => ("non_finite", "loss is not finite"),
                        "leak" => ("self_test", "before the evaluation: the model sees what it is to predict"),
                        _ => ("disk_full", "could not write the checkpoint: no space left on device"),
                    };
                    let (kind, message) = (kind.to_owned(), message.to_owned());
                    say(&Message::Failed(Failure { kind, message, hint: None, step }));
                    std::process::exit(1);
                }
                _ => {}
            }
        }
    }
    let stopped = step < job.training.steps;
    if stopped && !job.checkpoint_steps.contains(&step) {
        checkpoint(job, step, digest);
    }
    let closing = Closing {
        step,
        tokens: tokens_after(step),
        weights_sha256: weights(job, step),
        order_sha256: digest.digest(),
        skipped_steps: 0,
        wall_time_s: 1.0,
        training_time_s: 0.5,
        peak_memory_bytes: 1 << 27,
        peak_gpu_memory_bytes: None,
        gpu_energy_j: None,
        cpu_time_s: None,
    };
    say(&if stopped { Message::Stopped(closing) } else { Message::Finished(closing) });
}

/// The step of a checkpoint, which is all that its weights tell beside the seed.
fn step_of(path: &Path) -> u64 {
    weights::read(path, |name| name == "model.step").unwrap()["model.step"].values[0] as u64
}

/// Evaluates the checkpoint of a job that trains nothing.
fn evaluate_only(job: &Job) {
    let path = job.resume_from.as_ref().expect("an evaluation has a checkpoint");
    let step = step_of(path);
    evaluate(job, step);
    say(&Message::Finished(Closing {
        step,
        tokens: job.training.tokens(step, job.model.context_length),
        weights_sha256: weights(job, step),
        order_sha256: order_of(path),
        wall_time_s: 1.0,
        training_time_s: 0.0,
        peak_memory_bytes: 1 << 27,
        peak_gpu_memory_bytes: None,
        gpu_energy_j: None,
        cpu_time_s: None,
        skipped_steps: 0,
    }));
}

/// The number after `mode:` if that is the behaviour asked for, else 0.
fn told(mode: &str) -> f64 {
    let behaviour = env::var("STAND_IN").unwrap_or_default();
    behaviour.strip_prefix(mode).and_then(|rest| rest.strip_prefix(':')?.parse().ok()).unwrap_or(0.0)
}

/// Falls with the steps, a little differently for each seed.
fn loss(seed: u64, step: u64) -> f64 {
    let noise = random::Random::new(seed ^ step << 32).uniform();
    2.0 + 4.0 / (1.0 + step as f64 * 0.2) + 0.02 * noise - told("better") / 1e3
}

/// The loss of a training step, which may spike.
fn training_loss(job: &Job, step: u64) -> f64 {
    let spike = told("spike");
    if spike > 0.0 && step + 1 == job.training.steps { spike } else { loss(job.seed, step) }
}

/// Norms that change slowly over the steps, larger in larger tensors.
fn layers(job: &Job, step: u64) -> Vec<TensorNorms> {
    let norms = |tensor: TensorSpec| {
        let (size, tensor) = ((tensor.parameters() as f64).sqrt(), tensor.name);
        let (gradient_norm, weight_norm) = (size / (100.0 + step as f64), size * (0.02 + step as f64 * 1e-5));
        TensorNorms { step, tensor, gradient_norm, weight_norm, update_norm: size * job.optimizer.learning_rate }
    };
    job.model.tensors(job.vocabulary_size).into_iter().map(norms).collect()
}

/// Every place of the model, with the fields that apply there.
fn activations(job: &Job, step: u64) -> Vec<ActivationStatistics> {
    let row = |place: String, depth: f64| ActivationStatistics {
        step,
        place,
        rms: 0.1 + 0.2 * depth + step as f64 * 1e-3,
        maximum: 1.0 + depth,
        ..ActivationStatistics::default()
    };
    let mut rows = vec![row("embedding".to_owned(), 0.0)];
    for block in 0..job.model.layers {
        let depth = f64::from(block + 1);
        let place = format!("blocks.{block}");
        let attention = row(format!("{place}.attention"), depth);
        let (entropy, scale) = (Some(2.0 - 0.1 * depth), Some(0.5 * depth));
        rows.push(ActivationStatistics { attention_entropy_nats: entropy, logit_scale: scale, ..attention });
        let feed_forward = row(format!("{place}.feed_forward"), depth);
        rows.push(ActivationStatistics { dead_share: Some(0.01 * depth), ..feed_forward });
        rows.push(row(place, depth));
    }
    rows.push(ActivationStatistics { logit_scale: Some(1.0), ..row("head".to_owned(), 0.0) });
    rows
}

/// The digest of the batches that a checkpoint keeps beside its weights, a digit a number.
fn order_of(path: &Path) -> Digest {
    let digits = &weights::read(path, |name| name == "optimizer.order").unwrap()["optimizer.order"].values;
    digits.iter().map(|digit| char::from_digit(*digit as u32, 16).unwrap()).collect::<String>().parse().unwrap()
}

/// Weights that tell step and seed.
fn tensors(job: &Job, step: u64, prefix: &str) -> Tensors {
    let seed = [job.seed >> 16, job.seed & 0xffff];
    let named =
        |name: &str, values: Vec<f32>| (format!("{prefix}{name}"), Tensor { shape: vec![values.len()], values });
    Tensors::from([named("step", vec![step as f32]), named("seed", seed.map(|part| part as f32).to_vec())])
}

fn weights(job: &Job, step: u64) -> Digest {
    weights::digest_of(&tensors(job, step, ""))
}

fn output(job: &Job, path: String, bytes: &[u8]) -> OutputFile {
    files::write(&job.output.join(&path), bytes).unwrap();
    OutputFile { path, sha256: Digest::of(bytes), size_bytes: bytes.len() as u64 }
}

fn checkpoint(job: &Job, step: u64, digest: RollingDigest) {
    let path = checkpoint_path(step);
    let mut kept = tensors(job, step, "model.");
    let digits = digest.digest().to_string().chars().map(|digit| digit.to_digit(16).unwrap() as f32).collect();
    kept.insert("optimizer.order".to_owned(), Tensor { shape: vec![64], values: digits });
    weights::write(&job.output.join(&path), &kept).unwrap();
    let bytes = files::read(&job.output.join(&path)).unwrap();
    let file = OutputFile { path, sha256: Digest::of(&bytes), size_bytes: bytes.len() as u64 };
    let tokens = job.training.sequences_before(step) * u64::from(job.model.context_length);
    let (weights_sha256, order_sha256) = (weights(job, step), digest.digest());
    say(&Message::Checkpoint(Checkpoint { step, tokens, file, weights_sha256, order_sha256 }));
}

fn evaluate(job: &Job, step: u64) {
    let folder = PathBuf::from(format!("evaluations/step-{step:08}"));
    let mut written = Vec::new();
    if job.validation_steps.contains(&step) {
        let rows = validation(job, step);
        let tokens = token_losses(job, &rows);
        written.push(output(job, format!("{}/validation.csv", folder.display()), &to_csv(rows)));
        if job.token_loss_steps.contains(&step) {
            written.push(output(job, format!("{}/validation.tokens", folder.display()), &tokens.to_bytes()));
        }
    }
    if job.task_steps.contains(&step) {
        for task in &job.tasks {
            let requests = read_requests(&task.requests).unwrap();
            let rows = requests.iter().map(|request| {
                let mut random =
                    random::Random::new(job.seed ^ step << 32 ^ request.item << 8 ^ u64::from(request.choice));
                let right = if request.gold { 1.0 + told("better") / 1e2 } else { 0.0 };
                let nats = if told("tie") > 0.0 { -10.0 } else { right - 10.0 - random.uniform() * 3.0 };
                ChoiceScore {
                    item: request.item,
                    choice: request.choice,
                    gold: request.gold,
                    characters: request.characters,
                    tokens: request.continuation.len() as u64,
                    log_probability_nats: Some(if is_number(step) { nats } else { f64::NAN }),
                    greedy: random.uniform() < 0.3,
                    bytes: request.bytes,
                    words: request.words,
                    unconditional_log_probability_nats: (!request.unconditional.is_empty())
                        .then(|| -11.0 - random.uniform()),
                    context_tokens_cut: 0,
                    cluster: request.cluster,
                }
            });
            written.push(output(job, format!("{}/{}.csv", folder.display(), task.id), &to_csv(rows)));
        }
    }
    if let Some(sampling) = &job.sampling {
        let drawn = (0..sampling.samples).map(|sample| drawn(job, sampling, sample));
        written.push(output(job, format!("{}/{GENERATED}", folder.display()), &to_json_lines(drawn)));
    }
    if !written.is_empty() {
        let tokens = job.training.sequences_before(step) * u64::from(job.model.context_length);
        say(&Message::Evaluation(Evaluation {
            step,
            tokens,
            files: written,
            wall_time_s: 0.1,
            unanswered: Vec::new(),
            self_test: (told("untested") == 0.0).then(|| SelfTest {
                tokens: 100 + step,
                probability_sum_error: 1e-7,
                look_ahead_nats: 0.0,
                batch_nats: step as f64 * 1e-7,
                batch_tolerance_nats: 1e-3,
            }),
        }));
    }
}

/// Any tokens of the vocabulary: text as no model writes it, with bytes that are none.
fn drawn(job: &Job, sampling: &Sampling, sample: u32) -> GeneratedSample {
    let mut random = random::Random::new(job.seed ^ sampling.seed << 8 ^ u64::from(sample) << 40);
    let any = |_| 1 + (random.next_u64() % u64::from(job.vocabulary_size - 1)) as u32;
    let tokens: Vec<u32> = (0..sampling.max_tokens).map(any).collect();
    let log_probabilities_nats = tokens.iter().map(|token| -1.0 - f64::from(*token) / 7.0).collect();
    GeneratedSample { sample, tokens, log_probabilities_nats }
}

/// Whether evaluations after a step are numbers.
fn is_number(step: u64) -> bool {
    let until = told("nan") as u64;
    until == 0 || step <= until
}

fn validation(job: &Job, step: u64) -> Vec<WindowLoss> {
    let stream = TokenStream::open(&job.validation_shards).unwrap();
    let context = u64::from(job.model.context_length);
    let mut rows = Vec::new();
    let late = step.saturating_sub(job.training.steps / 2) as f64 * told("overfit") / 1e3;
    let documents = stream.shards().iter().flat_map(|shard| shard.documents());
    for (document, place) in (0..).zip(documents) {
        let mut first_token = 1;
        while first_token < place.tokens {
            let tokens = context.min(place.tokens - first_token);
            // Documents differ from each other, and models in which of them they find hard.
            let mut random = random::Random::new(document << 16 ^ first_token);
            let hard = random.uniform() + 0.1 * random::Random::new(random.next_u64() ^ job.seed).uniform();
            let number = if is_number(step) { 1.0 } else { f64::NAN };
            let loss_nats = number * tokens as f64 * (loss(job.seed, step) + late + hard);
            rows.push(WindowLoss { document, first_token, tokens, loss_nats });
            first_token += tokens;
        }
    }
    rows
}

/// Tokens that add up to their windows; the model is right as often as it says.
fn token_losses(job: &Job, rows: &[WindowLoss]) -> TokenLosses {
    let mut tokens = TokenLosses::default();
    for row in rows {
        let mut random = random::Random::new(job.seed ^ row.document << 20 ^ row.first_token);
        let weights: Vec<f64> = (0..row.tokens).map(|_| 0.1 + random.uniform()).collect();
        let whole: f64 = weights.iter().sum();
        for weight in weights {
            let probability = 0.1 + 0.8 * random.uniform();
            tokens.loss_nats.push((row.loss_nats * weight / whole) as f32);
            tokens.first_choice_probability.push(probability as f32);
            tokens.first_choice_right.push(random.uniform() < probability);
        }
    }
    tokens
}
