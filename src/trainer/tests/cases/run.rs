//! Drives the real program: whole runs, exact resume, orderly and disorderly ends, and jobs that cannot work.

use harness_core::config::{
    AttentionGate, FeedForward, ModelConfig, Norm, OptimizerKind, Orthogonalization, ParameterGroup, Positions,
    Precision, Values,
};
use harness_core::contract::{Job, JobTask, Message, VERSION, exit_code};
use harness_core::scores::{self, ChoiceScore, WindowLoss};
use harness_core::token_losses::TokenLosses;
use harness_core::{Digest, files};

use crate::support::{Place, program, run, signal, start, start_file};

#[test]
fn a_whole_run_keeps_the_contract() {
    let place = Place::new();
    let job = place.job("out");
    let outcome = run(&job);
    assert_eq!(outcome.code, Some(i32::from(exit_code::SUCCESS)), "{}", outcome.stderr);

    let started = outcome.started();
    assert_eq!((started.version, started.first_step, started.device.as_str()), (VERSION, 0, "cpu"));
    assert_eq!(started.parameters, job.model.parameters(job.vocabulary_size).0);
    assert!(started.determinism.deterministic_algorithms && started.determinism.intra_op_threads == 1);
    assert!(started.determinism.environment.contains(&"OMP_WAIT_POLICY=passive".to_owned()));
    let libtorch = started.about.libraries.iter().find(|l| l.name == "libtorch_cpu.so").unwrap();
    assert!(libtorch.sha256.is_some() && started.about.libtorch.starts_with("2.11"));

    let steps = outcome.steps();
    assert_eq!(steps.iter().map(|s| s.step).collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    assert!(steps.iter().all(|s| s.tokens == s.step * 8 * 16 && s.gradient_norm > 0.0 && s.tokens_per_s > 0.0));
    assert!(
        (steps[0].loss_nats - libm::log(32.0)).abs() < 0.2,
        "an untrained model knows nothing: {}",
        steps[0].loss_nats
    );
    assert_eq!(outcome.checkpoints().iter().map(|c| c.step).collect::<Vec<_>>(), [10, 20, 30]);

    let files: Vec<&str> = outcome
        .messages
        .iter()
        .filter_map(|m| if let Message::Evaluation(e) = m { Some(&e.files) } else { None })
        .flatten()
        .map(|file| {
            let bytes = files::read(&job.output.join(&file.path)).unwrap();
            assert_eq!((Digest::of(&bytes), bytes.len() as u64), (file.sha256, file.size_bytes));
            file.path.as_str()
        })
        .collect();
    for message in &outcome.messages {
        let Message::Evaluation(evaluation) = message else { continue };
        let test = evaluation.self_test.as_ref().unwrap();
        assert!(test.tokens > 10 && test.look_ahead_nats == 0.0 && test.batch_nats < 1e-4, "{test:?}");
    }
    let step = |step: u64, name: &str| format!("evaluations/step-{step:08}/{name}");
    let losses = [0, 15, 30].map(|at| step(at, "validation.csv"));
    assert_eq!(files, [&losses[..], &[step(30, "validation.tokens"), step(30, "toy.csv")]].concat());
    let windows: Vec<WindowLoss> = scores::read_csv(&job.output.join(files[2])).unwrap();
    assert_eq!(windows.iter().map(|w| w.tokens).sum::<u64>(), 4 * 60);
    let tokens = TokenLosses::read(&job.output.join(files[3])).unwrap();
    let mut at = 0;
    for window in &windows {
        let of_window = &tokens.loss_nats[at..at + window.tokens as usize];
        at += of_window.len();
        let sum: f64 = of_window.iter().map(|&loss| f64::from(loss)).sum();
        assert!((sum - window.loss_nats).abs() < 1e-9, "{window:?}: {sum}");
    }
    assert_eq!(at, tokens.len());
    let choices: Vec<ChoiceScore> = scores::read_csv(&job.output.join(files[4])).unwrap();
    let order: Vec<(u64, u32)> = choices.iter().map(|c| (c.item, c.choice)).collect();
    assert_eq!(order, (0..6).flat_map(|i| [(i, 0), (i, 1)]).collect::<Vec<_>>());

    let closing = outcome.finished();
    let last = outcome.checkpoints()[2];
    assert_eq!((closing.step, closing.tokens), (30, 30 * 8 * 16));
    assert_eq!((closing.weights_sha256, closing.order_sha256), (last.weights_sha256, last.order_sha256));
    assert!(closing.peak_memory_bytes > 1 << 24 && closing.training_time_s <= closing.wall_time_s);
}

#[test]
fn the_same_job_gives_the_same_weights_and_another_seed_does_not() {
    let place = Place::new();
    let digest = |name: &str, change: fn(&mut Job)| {
        let mut job = place.job(name);
        change(&mut job);
        let outcome = run(&job);
        (outcome.finished().weights_sha256, outcome.finished().order_sha256)
    };
    let first = digest("first", |_| {});
    assert_eq!(digest("again", |_| {}), first);
    let other = digest("other", |job| job.seed = 6);
    assert!(other.0 != first.0 && other.1 != first.1);
    // Evaluations and checkpoints leave no trace in the weights.
    let bare = digest("bare", |job| {
        (job.validation_steps, job.task_steps, job.checkpoint_steps) = (vec![], vec![], vec![]);
    });
    assert_eq!(bare, first);
}

#[test]
fn a_small_model_learns_one_window_by_heart() {
    let place = Place::new();
    for precision in [Precision::F32, Precision::Bf16] {
        let mut job = place.job(&format!("{precision:?}"));
        place.shard("one.tokens", 1, 3);
        job.train_shards = vec![place.path("one.tokens")];
        job.model.context_length = 60;
        job.model.dropout = 0.0;
        job.training.precision = precision;
        (job.training.steps, job.training.batch_size, job.training.micro_batch_size) = (120, 1, 1);
        job.optimizer.learning_rate = 1e-2;
        (job.validation_steps, job.task_steps) = (vec![], vec![]);
        let outcome = run(&job);
        outcome.finished();
        let last = outcome.steps().last().unwrap().loss_nats;
        assert!(last < 0.1, "{precision:?}: {last}");
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    let place = Place::new();
    for precision in [Precision::F32, Precision::Bf16] {
        let job = |name: &str| {
            let mut job = place.job(&format!("{precision:?}-{name}"));
            job.training.precision = precision;
            job
        };
        let undisturbed = run(&job("undisturbed"));
        let mut killed = job("killed");
        let mut running = start(&killed);
        running.until_step(25);
        running.kill();
        killed.resume_from = Some(killed.output.join("checkpoints/step-00000020.safetensors"));
        let resumed = run(&killed);
        assert_eq!(resumed.started().first_step, 20);
        assert_eq!(resumed.finished().weights_sha256, undisturbed.finished().weights_sha256);
        assert_eq!(resumed.finished().order_sha256, undisturbed.finished().order_sha256);
        let losses =
            |outcome: &crate::support::Outcome| outcome.steps().iter().map(|s| s.loss_nats).collect::<Vec<_>>();
        assert_eq!(losses(&resumed), losses(&undisturbed)[20..]);
        for file in ["validation", "toy"] {
            let path = format!("evaluations/step-00000030/{file}.csv");
            let read = |name: &str| files::read(&job(name).output.join(&path)).unwrap();
            assert_eq!(read("killed"), read("undisturbed"), "{file}");
        }
    }
}

#[test]
fn every_optimizer_resumes_exactly_and_learns() {
    let place = Place::new();
    for kind in [OptimizerKind::Lion, OptimizerKind::Sgd, OptimizerKind::Muon, OptimizerKind::Normuon] {
        let job = |name: &str| {
            let mut job = place.job(&format!("{kind:?}-{name}"));
            job.model = ModelConfig {
                positions: Positions::Rotary,
                norm: Norm::Rms,
                feed_forward: FeedForward::Swiglu,
                key_value_heads: 1,
                query_key_norm: true,
                values: Values::FirstBlock,
                embedding_skip: true,
                multi_token_prediction: 1,
                mup_base_width: 16,
                attention_window: 8,
                attention_gate: AttentionGate::Head,
                smear: true,
                bigram_rows: 50,
                mup_base_layers: if kind == OptimizerKind::Sgd { 0 } else { 1 },
                ..job.model
            };
            job.optimizer.kind = kind;
            job.optimizer.cautious_weight_decay = true;
            if kind.orthogonalizes() {
                job.optimizer.orthogonalization = Orthogonalization::PolarExpress;
            }
            job.optimizer.group = vec![ParameterGroup {
                pattern: "{token,position}_embedding".to_owned(),
                learning_rate_ratio: 0.5,
                weight_decay: Some(0.0),
            }];
            job.optimizer.learning_rate = if kind == OptimizerKind::Lion { 1e-3 } else { 1e-2 };
            (job.validation_steps, job.task_steps) = (vec![], vec![]);
            job
        };
        let whole = run(&job("whole"));
        let mut second = job("second");
        second.resume_from = Some(job("whole").output.join("checkpoints/step-00000010.safetensors"));
        let resumed = run(&second);
        assert_eq!(resumed.finished().weights_sha256, whole.finished().weights_sha256, "{kind:?}");
        let (first, last) = (whole.steps()[0].loss_nats, whole.steps()[29].loss_nats);
        assert!(last < first, "{kind:?}: {first} to {last}");
    }
}

#[test]
fn a_run_that_is_told_to_stop_can_go_on() {
    let place = Place::new();
    let expected = run(&place.job("undisturbed")).finished().weights_sha256;
    let ways: [fn(&mut crate::support::Running); 3] =
        [|run| run.say("stop"), |run| run.close_stdin(), |run| signal(run.child.id(), "INT")];
    for (i, stop) in ways.into_iter().enumerate() {
        let mut job = place.job(&format!("stopped-{i}"));
        // Long enough that the request comes before the end.
        job.training.steps = 3000;
        let mut running = start(&job);
        running.until_step(5);
        stop(&mut running);
        let outcome = running.end();
        assert_eq!(outcome.code, Some(i32::from(exit_code::SUCCESS)));
        let step = outcome.stopped().step;
        let checkpoint = outcome.checkpoints().last().unwrap().file.path.clone();
        assert!((5..3000).contains(&step));
        assert_eq!(checkpoint, format!("checkpoints/step-{step:08}.safetensors"));
    }
    // Stopped and resumed with the plan unchanged: the same weights as never stopped.
    let mut job = place.job("stopped");
    let mut running = start(&job);
    running.until_step(3);
    running.say("stop");
    let outcome = running.end();
    if let Some(Message::Stopped(closing)) = outcome.messages.last() {
        job.resume_from = Some(job.output.join(format!("checkpoints/step-{:08}.safetensors", closing.step)));
        assert_eq!(run(&job).finished().weights_sha256, expected);
    }
}

#[test]
fn a_job_without_training_data_evaluates_a_checkpoint() {
    let place = Place::new();
    let trained = place.job("trained");
    run(&trained).finished();
    let mut job = place.job("evaluated");
    job.train_shards = Vec::new();
    job.seed = 77;
    job.resume_from = Some(trained.output.join("checkpoints/step-00000030.safetensors"));
    let outcome = run(&job);
    assert_eq!(outcome.finished().step, 30);
    assert!(outcome.steps().is_empty() && outcome.checkpoints().is_empty());
    for file in ["validation", "toy"] {
        let path = format!("evaluations/step-00000030/{file}.csv");
        let read = |job: &Job| files::read(&job.output.join(&path)).unwrap();
        assert_eq!(read(&job), read(&trained), "{file}");
    }
}

#[test]
fn a_diverging_run_names_the_step_and_the_last_good_checkpoint() {
    let place = Place::new();
    let mut job = place.job("out");
    job.optimizer.learning_rate = 1e30;
    job.schedule.warmup_steps = 0;
    job.optimizer.gradient_clip_norm = 0.0;
    job.checkpoint_steps = vec![1];
    job.validation_steps = vec![];
    let outcome = run(&job);
    let failure = outcome.failed();
    assert_eq!((outcome.code, failure.kind.as_str()), (Some(i32::from(exit_code::FAILED)), "non_finite"));
    for expected in [&format!("of step {} is NaN; ", failure.step + 1), "; the last good checkpoint is `checkpoints/"] {
        assert!(failure.message.contains(expected), "{}", failure.message);
    }
    assert!(failure.hint.as_ref().unwrap().contains("learning_rate"));
}

#[test]
fn what_cannot_work_is_explained() {
    let place = Place::new();
    /// Name, exit code, kind, a part of the message, and the change that breaks the job.
    type Case = (&'static str, i32, &'static str, &'static str, fn(&mut Job));
    let failure = |name: &str, change: fn(&mut Job)| {
        let mut job = place.job(name);
        change(&mut job);
        let outcome = run(&job);
        assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
        let failure = outcome.failed();
        (outcome.code.unwrap(), failure.kind.clone(), failure.message.clone())
    };
    let cases: [Case; 9] = [
        ("version", 2, "job", "contract version 99", |job| job.version = 99),
        ("heads", 2, "job", "a width of 32 cannot be split over 5 heads", |job| job.model.heads = 5),
        ("passes", 2, "job", "passes of 3", |job| job.training.micro_batch_size = 3),
        ("missing", 1, "data", "no-such-shard", |job| job.train_shards = vec!["no-such-shard".into()]),
        ("short", 1, "data", "too few for one sequence", |job| job.model.context_length = 5000),
        ("vocabulary", 1, "data", "the job says 64", |job| job.vocabulary_size = 64),
        ("requests", 1, "data", "line 1", |job| {
            let bad = job.output.join("bad.jsonl");
            files::write(&bad, b"{\"item\": 0}\n").unwrap();
            job.tasks = vec![JobTask { id: "bad".to_owned(), requests: bad, rolling_stride: None }];
        }),
        ("checkpoint", 1, "checkpoint", "is damaged", |job| {
            let torn = job.output.join("torn.safetensors");
            files::write(&torn, b"not a checkpoint").unwrap();
            job.resume_from = Some(torn);
        }),
        ("cuda", 1, "device", "CUDA is not usable", |job| job.training.device = harness_core::config::Device::Cuda),
    ];
    let with_gpu = std::path::Path::new("/proc/driver/nvidia/version").exists();
    for (name, code, kind, part, change) in cases {
        if name == "cuda" && with_gpu {
            continue;
        }
        let (found_code, found_kind, message) = failure(name, change);
        assert_eq!((found_code, found_kind.as_str()), (code, kind), "{name}: {message}");
        assert!(message.contains(part), "{name}: {message}");
    }
    files::write(&place.path("broken.json"), b"{").unwrap();
    let outcome = start_file(&place.path("broken.json")).end();
    assert_eq!((outcome.code, outcome.failed().kind.as_str()), (Some(2), "job"));
}

#[test]
fn the_command_line_is_small_and_says_what_it_is() {
    let output = |argument: &str| program().arg(argument).output().unwrap();
    let about = output("about");
    let about: harness_core::contract::About = serde_json::from_slice(&about.stdout).unwrap();
    assert_eq!(about.contract_version, VERSION);
    assert!(about.libraries.iter().any(|l| l.name == "libtorch_cpu.so" && l.sha256.is_none()));
    assert!(String::from_utf8_lossy(&output("--version").stdout).starts_with("harness-trainer "));
    assert!(String::from_utf8_lossy(&output("--help").stdout).contains("Usage: harness-trainer run JOB.json"));
    let wrong = output("train");
    assert_eq!(wrong.status.code(), Some(i32::from(exit_code::USAGE)));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("hint: "));
}
