//! Drives the real program through what the loop offers beyond the plain run: curricula, masks between documents, the
//! average of the weights, skipped steps, measurements inside the model, and the end of memory.

use harness_core::config::{
    AttentionKernel, BatchSizeStage, MetricsConfig, OnNonFinite, Precision, SequenceLengthStage,
};
use harness_core::contract::{Evaluation, Job, Message};
use harness_core::files;
use harness_core::scores::{self, ActivationStatistics, ChoiceScore, TensorNorms, WindowLoss};

use crate::support::{Outcome, Place, run, start, start_with_memory};

/// Stages of batch size and sequence length, masks, an average and dropout, all at once.
fn everything(job: &mut Job) {
    let training = &mut job.training;
    training.batch_size_stages =
        vec![BatchSizeStage { steps: 6, batch_size: 2 }, BatchSizeStage { steps: 7, batch_size: 4 }];
    training.sequence_length_stages = vec![
        SequenceLengthStage { steps: 9, sequence_length: 4 },
        SequenceLengthStage { steps: 5, sequence_length: 8 },
    ];
    (training.document_mask, training.reset_position_ids) = (true, true);
    training.ema_decay = 0.9;
}

#[test]
fn everything_at_once_resumes_to_the_same_bits() {
    let place = Place::new();
    for precision in [Precision::F32, Precision::Bf16] {
        let job = |name: &str| {
            let mut job = place.job(&format!("{precision:?}-{name}"));
            everything(&mut job);
            job.training.precision = precision;
            job.checkpoint_steps = vec![2, 10, 19, 30];
            job
        };
        let undisturbed = run(&job("undisturbed"));
        // In the first stages, between them, and after the last.
        let kills: &[u64] = if precision == Precision::F32 { &[3, 11, 20] } else { &[11] };
        for &step in kills {
            let mut killed = job(&format!("killed-{step}"));
            let mut running = start(&killed);
            running.until_step(step);
            running.kill();
            // The checkpoint of the step before is certainly written.
            killed.resume_from = Some(killed.output.join(format!("checkpoints/step-{:08}.safetensors", step - 1)));
            let resumed = run(&killed);
            assert_eq!(resumed.started().first_step, step - 1);
            let last = |outcome: &Outcome| {
                let checkpoint = outcome.checkpoints().last().copied().unwrap().clone();
                // The whole file: weights, moments, average, position.
                (checkpoint.file.sha256, outcome.finished().order_sha256)
            };
            assert_eq!(last(&resumed), last(&undisturbed), "{precision:?}, killed after step {step}");
        }
    }
}

#[test]
fn stages_change_batches_but_not_the_order_of_the_data() {
    let place = Place::new();
    let mut job = place.job("stages");
    everything(&mut job);
    let outcome = run(&job);
    let steps = outcome.steps();
    let sizes: Vec<u32> = steps.iter().map(|step| step.batch_size).collect();
    assert_eq!(sizes, [vec![2; 6], vec![4; 7], vec![8; 17]].concat());
    let lengths: Vec<u32> = steps.iter().map(|step| step.sequence_length).collect();
    assert_eq!(lengths, [vec![4; 9], vec![8; 5], vec![16; 16]].concat());
    let mut tokens = 0;
    for step in &steps {
        tokens += u64::from(step.batch_size) * 16;
        assert_eq!(step.tokens, tokens);
    }
    assert_eq!(outcome.finished().tokens, (6 * 2 + 7 * 4 + 17 * 8) * 16);

    // Shorter sequences read the same tokens in the same order.
    let mut plain = place.job("plain");
    let mut short = place.job("short");
    short.training.sequence_length_stages = vec![SequenceLengthStage { steps: 30, sequence_length: 4 }];
    let (plain_run, short_run) = (run(&plain), run(&short));
    assert_eq!(short_run.finished().order_sha256, plain_run.finished().order_sha256);
    assert_ne!(short_run.finished().weights_sha256, plain_run.finished().weights_sha256);
    // As do masks, which change what attention sees.
    plain.output = place.path("masked");
    files::create_folder(&plain.output).unwrap();
    plain.training.document_mask = true;
    let masked = run(&plain);
    assert_eq!(masked.finished().order_sha256, plain_run.finished().order_sha256);
    assert_ne!(masked.finished().weights_sha256, plain_run.finished().weights_sha256);
}

#[test]
fn evaluations_read_the_average_and_training_does_not() {
    let place = Place::new();
    let losses = |decay: f64| {
        let mut job = place.job(&format!("decay-{decay}"));
        job.training.ema_decay = decay;
        let outcome = run(&job);
        let path = "evaluations/step-00000030/validation.csv";
        let rows: Vec<WindowLoss> = scores::read_csv(&job.output.join(path)).unwrap();
        let job_of_last = Job {
            train_shards: Vec::new(),
            output: place.path(&format!("evaluated-{decay}")),
            resume_from: Some(job.output.join("checkpoints/step-00000030.safetensors")),
            ..job
        };
        files::create_folder(&job_of_last.output).unwrap();
        run(&job_of_last).finished();
        let again: Vec<WindowLoss> = scores::read_csv(&job_of_last.output.join(path)).unwrap();
        assert_eq!(again, rows, "an evaluation of the checkpoint reads the same weights");
        (outcome.finished().weights_sha256, rows)
    };
    let (plain, averaged) = (losses(0.0), losses(0.95));
    assert_eq!(plain.0, averaged.0);
    assert_ne!(plain.1, averaged.1);
}

#[test]
fn steps_with_numbers_that_are_not_finite_are_skipped_a_bounded_number_of_times() {
    let place = Place::new();
    let job = |name: &str, steps: u64| {
        let mut job = place.job(name);
        // The first update throws the weights so far off that no loss after it is finite.
        job.optimizer.learning_rate = 1e30;
        job.schedule.warmup_steps = 0;
        job.optimizer.gradient_clip_norm = 0.0;
        (job.training.on_non_finite, job.training.skip_at_most) = (OnNonFinite::Skip, 3);
        job.training.steps = steps;
        (job.checkpoint_steps, job.validation_steps, job.task_steps) = (vec![1, 2, 4], vec![], vec![]);
        job
    };
    let mut bounded = job("bounded", 4);
    let outcome = run(&bounded);
    let closing = outcome.finished().clone();
    assert_eq!((closing.step, closing.skipped_steps, outcome.steps().len()), (4, 3, 1));
    let skipped: Vec<u64> =
        outcome.messages.iter().filter_map(|m| if let Message::Skipped(s) = m { Some(s.step) } else { None }).collect();
    assert_eq!(skipped, [2, 3, 4]);
    let checkpoints = outcome.checkpoints();
    assert_eq!(checkpoints[2].weights_sha256, checkpoints[0].weights_sha256, "a skipped step changes nothing");
    bounded.resume_from = Some(bounded.output.join("checkpoints/step-00000002.safetensors"));
    let resumed = run(&bounded);
    assert_eq!(resumed.finished().skipped_steps, 3);
    assert_eq!(resumed.finished().weights_sha256, closing.weights_sha256);

    let outcome = run(&job("endless", 30));
    let failure = outcome.failed();
    assert_eq!((failure.kind.as_str(), failure.step), ("non_finite", 4));
    assert!(failure.message.contains("3 steps were skipped before"), "{}", failure.message);
}

#[test]
fn an_evaluation_that_is_not_finite_ends_no_run_as_completed() {
    let place = Place::new();
    let mut job = place.job("trained");
    // The first update throws the weights so far off that nothing after it is finite.
    job.optimizer.learning_rate = 1e30;
    job.schedule.warmup_steps = 0;
    job.optimizer.gradient_clip_norm = 0.0;
    (job.training.on_non_finite, job.training.skip_at_most) = (OnNonFinite::Skip, 9);
    job.training.steps = 4;
    (job.checkpoint_steps, job.validation_steps, job.task_steps) = (vec![4], vec![0, 2, 4], vec![4]);
    let trained = run(&job);
    let only_evaluated = Job {
        train_shards: Vec::new(),
        output: place.path("evaluated"),
        resume_from: Some(job.output.join("checkpoints/step-00000004.safetensors")),
        ..job.clone()
    };
    files::create_folder(&only_evaluated.output).unwrap();
    let mut at_once = place.job("at-once");
    (at_once.training.on_non_finite, at_once.training.skip_at_most) = (OnNonFinite::Stop, 0);
    (at_once.optimizer, at_once.schedule) = (job.optimizer.clone(), job.schedule.clone());
    // After the update that breaks the weights, before the step that would notice.
    (at_once.validation_steps, at_once.task_steps) = (vec![1], vec![1]);
    for (outcome, job, steps) in [
        (trained, &job, &[0, 2, 4][..]),
        (run(&only_evaluated), &only_evaluated, &[4]),
        (run(&at_once), &at_once, &[1]),
    ] {
        let evaluations: Vec<&Evaluation> = outcome
            .messages
            .iter()
            .filter_map(|m| if let Message::Evaluation(e) = m { Some(e) } else { None })
            .collect();
        assert_eq!(evaluations.iter().map(|e| e.step).collect::<Vec<_>>(), steps);
        let last = evaluations.last().unwrap();
        let path = |name: &str| format!("evaluations/step-{:08}/{name}.csv", last.step);
        let rows: Vec<ChoiceScore> = scores::read_csv(&job.output.join(path("toy"))).unwrap();
        assert!(rows.iter().all(|row| !row.nats().is_finite() && !row.greedy), "the rows are kept as they are");
        let counts: Vec<(&str, u64, u64)> =
            last.unanswered.iter().map(|file| (file.path.as_str(), file.rows, file.not_finite)).collect();
        assert_eq!(counts, [(path("validation").as_str(), 16, 16), (path("toy").as_str(), 12, 12)]);
        let failure = outcome.failed();
        assert_eq!((failure.kind.as_str(), failure.step, outcome.code), ("non_finite", last.step, Some(1)));
        for part in
            [format!("12 of 12 rows of `{}`", path("toy")), format!("16 of 16 rows of `{}`", path("validation"))]
        {
            assert!(failure.message.contains(&part), "{}", failure.message);
        }
    }
}

#[test]
fn a_diagnosis_names_the_first_place_and_the_tensors() {
    let place = Place::new();
    let mut job = place.job("out");
    job.optimizer.learning_rate = 1e30;
    job.schedule.warmup_steps = 0;
    job.optimizer.gradient_clip_norm = 0.0;
    (job.validation_steps, job.task_steps) = (vec![], vec![]);
    let outcome = run(&job);
    let message = &outcome.failed().message;
    for part in ["first numbers that are not finite are at `", "tensors are not finite, in backward order from `"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(message.contains("after step 0 the largest activation of the probe batch was"), "{message}");
}

#[test]
fn the_inside_of_the_model_is_measured_as_often_as_asked() {
    let place = Place::new();
    let mut job = place.job("out");
    job.metrics =
        MetricsConfig { tensor_norms_every: 10, activations_every: 15, probe_sequences: 2, ..MetricsConfig::default() };
    let outcome = run(&job);
    let bare = {
        let mut job = place.job("bare");
        job.metrics = MetricsConfig { tensor_norms_every: 0, activations_every: 0, ..job.metrics };
        run(&job)
    };
    assert_eq!(bare.finished().weights_sha256, outcome.finished().weights_sha256, "measuring changes nothing");

    let layers: Vec<&TensorNorms> = outcome
        .messages
        .iter()
        .filter_map(|m| if let Message::TensorNorms { rows } = m { Some(rows) } else { None })
        .flatten()
        .collect();
    let tensors: Vec<String> = job.model.tensors(job.vocabulary_size).into_iter().map(|tensor| tensor.name).collect();
    for (step, rows) in [1, 10, 20, 30].iter().zip(layers.chunks(tensors.len())) {
        let mut names: Vec<&String> = rows.iter().map(|row| &row.tensor).collect();
        names.sort();
        assert_eq!(names, {
            let mut all: Vec<&String> = tensors.iter().collect();
            all.sort();
            all
        });
        assert!(rows.iter().all(|row| row.step == *step));
        let norm = libm::sqrt(rows.iter().map(|row| row.gradient_norm * row.gradient_norm).sum());
        let whole = outcome.steps()[*step as usize - 1].gradient_norm;
        assert!((norm - whole).abs() < 1e-4 * whole, "step {step}: {norm}, {whole}");
        assert!(rows.iter().all(|row| row.update_norm > 0.0 && row.update_norm < 1.0));
    }
    assert_eq!(layers.len(), 4 * tensors.len());
    // Norm weights begin at 1 and have moved by no more than the learning rate.
    let first = layers.iter().find(|row| row.tensor == "final_norm.weight").unwrap();
    assert!((first.weight_norm - libm::sqrt(32.0)).abs() < 0.02, "{first:?}");

    let measured: Vec<&ActivationStatistics> = outcome
        .messages
        .iter()
        .filter_map(|m| if let Message::Activations { rows } = m { Some(rows) } else { None })
        .flatten()
        .collect();
    let places = [
        "embedding",
        "blocks.0.attention",
        "blocks.0.feed_forward",
        "blocks.0",
        "blocks.1.attention",
        "blocks.1.feed_forward",
        "blocks.1",
        "head",
    ];
    let found: Vec<(u64, &str)> = measured.iter().map(|row| (row.step, row.place.as_str())).collect();
    let expected: Vec<(u64, &str)> = [0, 15, 30].iter().flat_map(|step| places.map(|place| (*step, place))).collect();
    assert_eq!(found, expected);
    for row in &measured {
        assert!(row.rms > 0.0 && row.maximum >= row.rms, "{row:?}");
        assert_eq!(row.attention_entropy_nats.is_some(), row.place.ends_with("attention"), "{row:?}");
        assert_eq!(row.dead_share.is_some(), row.place.ends_with("feed_forward"), "{row:?}");
    }
    // An untrained model attends nearly evenly: the mean over 16 positions of the logarithm of how many they see.
    let even = (1..=16).map(|seen| libm::log(f64::from(seen))).sum::<f64>() / 16.0;
    let entropy = measured[1].attention_entropy_nats.unwrap();
    assert!((entropy - even).abs() < 0.01, "{entropy}, {even}");
}

/// What the config names is what attention takes; evaluation is free to take another.
#[test]
fn the_kernel_of_attention_is_chosen_and_read_back() {
    let place = Place::new();
    let job = |name: &str, kernel: AttentionKernel, precision: Precision| {
        let mut job = place.job(name);
        (job.training.attention_kernel, job.training.precision) = (kernel, precision);
        (job.model.dropout, job.training.steps, job.checkpoint_steps) = (0.0, 2, vec![2]);
        job
    };
    let kernels = |job: &Job| {
        let outcome = run(job);
        outcome.finished();
        let determinism = &outcome.started().determinism;
        (
            determinism.attention_kernels.join(" "),
            determinism.attention_kernel.clone().unwrap(),
            determinism.cpu_kernels,
        )
    };
    let pair = |allowed: &str, taken: &str| (allowed.to_owned(), taken.to_owned());
    let all = "flash memory_efficient math cudnn";
    let (allowed, taken, own) = kernels(&job("free", AttentionKernel::Auto, Precision::F32));
    assert_eq!((allowed, taken), pair(all, "flash"));
    let (allowed, taken, _) = kernels(&job("free-bf16", AttentionKernel::Auto, Precision::Bf16));
    assert_eq!((allowed, taken), pair(all, if own { "own" } else { "flash" }));
    for precision in [Precision::F32, Precision::Bf16] {
        let (allowed, taken, _) = kernels(&job(&format!("math-{precision:?}"), AttentionKernel::Math, precision));
        assert_eq!((allowed, taken), pair("math", "math"));
    }
    let mut capped = job("capped", AttentionKernel::Auto, Precision::F32);
    capped.model.attention_soft_cap = 20.0;
    assert_eq!(kernels(&capped).1, "written_out");

    // No kernel but `math` drops out on a CPU.
    let mut dropped = job("flash-with-dropout", AttentionKernel::Flash, Precision::F32);
    dropped.model.dropout = 0.1;
    let only_on_gpus = job("cudnn", AttentionKernel::Cudnn, Precision::F32);
    for (job, part) in [(dropped, "attention by `flash` alone cannot serve"), (only_on_gpus, "runs on a GPU only")] {
        let outcome = run(&job);
        let failure = outcome.failed();
        assert_eq!((outcome.code, failure.kind.as_str()), (Some(2), "job"), "{}", failure.message);
        assert!(failure.message.contains(part), "{}", failure.message);
        assert!(failure.hint.as_ref().unwrap().contains("auto"));
    }
}

#[test]
fn a_pass_that_does_not_fit_into_memory_says_which_one_does() {
    let place = Place::new();
    let job = |name: &str, micro_batch_size: u32| {
        let mut job = place.job(name);
        (job.model.width, job.model.layers, job.model.context_length) = (64, 2, 64);
        place.shard("long.tokens", 400, 4);
        job.train_shards = vec![place.path("long.tokens")];
        (job.training.batch_size, job.training.micro_batch_size) = (256, micro_batch_size);
        (job.training.steps, job.checkpoint_steps) = (1, vec![1]);
        (job.validation_steps, job.task_steps) = (vec![], vec![]);
        job
    };
    // What a run with small passes needs, and some more; the whole batch needs several times as much.
    let mut small = start(&job("small", 4));
    small.until_step(1);
    let needed_bytes = small.peak_address_space_bytes();
    small.end().finished();
    let mut large = job("large", 0);
    let outcome = start_with_memory(&large, needed_bytes + (48 << 20)).end();
    let failure = outcome.failed();
    assert_eq!(failure.kind, "out_of_memory", "{}", failure.message);
    assert!(failure.message.contains("in a pass of 256 sequences"), "{}", failure.message);
    let hint = failure.hint.clone().unwrap();
    let fits = hint.split("micro_batch_size = ").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
    large.training.micro_batch_size = fits.parse().unwrap();
    assert!(large.training.micro_batch_size < 256);
    // With the room that the hint asks to leave.
    start_with_memory(&large, needed_bytes + (80 << 20)).end().finished();
}
