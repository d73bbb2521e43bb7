//! Processes that train together: the bits of one process, agreement before the first step, and orderly and disorderly ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness_core::config::{OnNonFinite, OptimizerConfig, OptimizerKind};
use harness_core::contract::{Job, Message, checkpoint_path, exit_code};
use harness_core::files;
use safetensors::SafeTensors;

use crate::support::{Outcome, Place, Together, free_port, rank, run, signal, spawn, written};

/// What is different in a job.
type Change = fn(&mut Job);

/// A job without dropout, whose draws differ by rank.
fn short(place: &Place, name: &str, change: impl Fn(&mut Job)) -> Job {
    let mut job = place.job(name);
    job.model.dropout = 0.0;
    job.training.steps = 6;
    job.schedule.warmup_steps = 1;
    job.checkpoint_steps = vec![3, 6];
    (job.validation_steps, job.token_loss_steps, job.task_steps) = (vec![0, 6], vec![6], vec![6]);
    change(&mut job);
    job
}

fn code(outcome: &Outcome) -> u8 {
    outcome.code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[test]
fn two_ranks_give_the_bits_of_one_process_with_two_passes() {
    let place = Place::new();
    let untied = |job: &mut Job| {
        (job.model.tied_embeddings, job.model.multi_token_prediction) = (false, 1);
        job.optimizer.kind = OptimizerKind::Muon;
        job.training.ema_decay = 0.9;
    };
    let variants: [(&str, Change); 2] = [("tied", |_| {}), ("untied", untied)];
    for (variant, change) in variants {
        let alone = short(&place, &format!("{variant}-alone"), change);
        let mut shared = short(&place, &format!("{variant}-shared"), change);
        shared.training.micro_batch_size = 0;
        let one = run(&alone);
        let two = Together::start(&[&shared, &shared]).end();
        assert_eq!(
            two.iter().map(code).collect::<Vec<_>>(),
            [exit_code::SUCCESS; 2],
            "{}{}",
            two[0].stderr,
            two[1].stderr
        );
        assert!(two[1].messages.is_empty(), "rank 0 alone speaks");
        let numbers =
            |outcome: &Outcome| outcome.steps().iter().map(|s| (s.loss_nats, s.gradient_norm)).collect::<Vec<_>>();
        assert_eq!(numbers(&two[0]), numbers(&one), "{variant}");
        let (closing, expected) = (two[0].finished(), one.finished());
        assert_eq!(closing.weights_sha256, expected.weights_sha256, "{variant}");
        assert_eq!((closing.order_sha256, closing.tokens), (expected.order_sha256, expected.tokens));
        assert!(closing.cpu_time_s.is_some_and(|seconds| seconds > 0.0) && expected.cpu_time_s.is_none());
        // Both read the same batches of an evaluation, however they share them out.
        let evaluated = |outcome: &Outcome| {
            let files = |m: &Message| if let Message::Evaluation(e) = m { Some(e.files.clone()) } else { None };
            outcome.messages.iter().filter_map(files).flatten().collect::<Vec<_>>()
        };
        assert_eq!(evaluated(&two[0]), evaluated(&one), "{variant}");
        let ranks = two[0].started().ranks.clone().unwrap();
        assert_eq!((ranks.backend.as_str(), ranks.nccl.as_deref(), ranks.each.len()), ("gloo", None, 2));
        assert!(ranks.each.iter().all(|rank| rank.device == "cpu") && ranks.each[0] == ranks.each[1]);
        assert!(one.started().ranks.is_none());
    }
}

/// Every tensor of a checkpoint, with its bytes.
fn tensors(job: &Job, step: u64) -> BTreeMap<String, Vec<u8>> {
    let bytes = files::read(&job.output.join(checkpoint_path(step))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(name, tensor)| (name, tensor.data().to_vec())).collect()
}

#[test]
fn ranks_that_share_the_optimizer_out_give_the_same_bits_and_a_whole_checkpoint() {
    let place = Place::new();
    for kind in [OptimizerKind::Adamw, OptimizerKind::Normuon] {
        let job = |name: &str, shard: bool, change: Change| {
            short(&place, &format!("{name}-{kind:?}"), |job| {
                job.optimizer.kind = kind;
                (job.training.shard_optimizer, job.training.micro_batch_size) = (shard, 0);
                (job.validation_steps, job.token_loss_steps, job.task_steps) = (vec![], vec![], vec![]);
                change(job);
            })
        };
        let (whole, shared) = (job("whole", false, |_| {}), job("shared", true, |_| {}));
        let expected = Together::start(&[&whole; 2]).end()[0].finished().clone();
        let found = Together::start(&[&shared; 2]).end();
        assert_eq!(found[0].finished().weights_sha256, expected.weights_sha256, "{kind:?}");
        for step in [3, 6] {
            assert_eq!(tensors(&shared, step), tensors(&whole, step), "{kind:?}, step {step}");
        }
        if kind == OptimizerKind::Adamw {
            continue;
        }
        // From one to the other, and to one process, which has the bits of two with two passes.
        let go_on = |name: &str, from: &Job, shard, ranks, change: Change| {
            let mut job = job(name, shard, change);
            job.resume_from = Some(from.output.join(checkpoint_path(3)));
            Together::start(&vec![&job; ranks]).end()[0].finished().weights_sha256
        };
        let half: Change = |job| job.training.micro_batch_size = job.training.batch_size / 2;
        assert_eq!(go_on("shared-on", &shared, true, 2, |_| {}), expected.weights_sha256);
        assert_eq!(go_on("to-shared", &whole, true, 2, |_| {}), expected.weights_sha256);
        assert_eq!(go_on("to-one", &shared, true, 1, half), expected.weights_sha256);
    }
}

#[test]
fn four_ranks_with_two_passes_each_agree_with_one_process_within_rounding() {
    let place = Place::new();
    // Adam would divide the rounding of gradients that are zero by itself.
    let plain = |job: &mut Job| {
        job.optimizer = OptimizerConfig { kind: OptimizerKind::Sgd, learning_rate: 0.05, ..OptimizerConfig::default() };
        (job.validation_steps, job.task_steps) = (Vec::new(), Vec::new());
        job.training.micro_batch_size = 1;
    };
    let (alone, shared) = (short(&place, "alone", plain), short(&place, "shared", plain));
    run(&alone).finished();
    Together::start(&[&shared; 4]).end()[0].finished();
    let weights = |job: &Job| files::read(&job.output.join("checkpoints/step-00000006.safetensors")).unwrap();
    let (one, four) = (weights(&alone), weights(&shared));
    let (one, four) = (SafeTensors::deserialize(&one).unwrap(), SafeTensors::deserialize(&four).unwrap());
    let numbers =
        |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<f32>>();
    let mut largest = 0f32;
    for (name, tensor) in one.tensors().iter().filter(|(name, _)| name.starts_with("model.")) {
        let others = numbers(four.tensor(name).unwrap().data());
        let differences = numbers(tensor.data()).into_iter().zip(others).map(|(a, b)| (a - b).abs());
        largest = differences.fold(largest, f32::max);
    }
    assert!(largest < 1e-6, "{largest}");
}

#[test]
fn a_killed_rank_ends_the_others_and_a_resumption_gives_the_same_bits() {
    let place = Place::new();
    let undisturbed = place.job("undisturbed");
    let undisturbed = Together::start(&[&undisturbed; 2]).end();
    let mut killed = place.job("killed");
    let mut together = Together::start(&[&killed; 2]);
    together.get(0).until_step(23);
    together.get(1).child.kill().unwrap();
    let since = Instant::now();
    let outcome = together.end().swap_remove(0);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!((outcome.failed().kind.as_str(), code(&outcome)), ("rank", exit_code::RANK_LOST));
    assert!(outcome.failed().message.starts_with("another rank was lost: "), "{}", outcome.failed().message);
    killed.resume_from = Some(killed.output.join("checkpoints/step-00000020.safetensors"));
    let resumed = Together::start(&[&killed; 2]).end();
    assert_eq!(resumed[0].finished().weights_sha256, undisturbed[0].finished().weights_sha256);
    // Dropout is drawn apart on each rank.
    assert_ne!(resumed[0].finished().weights_sha256, run(&place.job("alone")).finished().weights_sha256);
}

#[test]
fn ranks_that_disagree_are_refused_before_the_first_step() {
    let place = Place::new();
    let job = short(&place, "job", |_| {});
    let other = short(&place, "other", |job| job.seed += 1);
    let outcomes = Together::start(&[&job, &other]).end();
    for outcome in &outcomes {
        assert!(outcome.stderr.contains("error: rank 1 differs from rank 0 in the job"), "{}", outcome.stderr);
        assert_eq!(code(outcome), exit_code::USAGE);
    }
    assert!(outcomes[0].steps().is_empty() && outcomes[0].failed().kind == "job");
    // The same path holds something else on another machine.
    let elsewhere = Place::new();
    elsewhere.shard("train.tokens", 40, 9);
    let beside = |job: &mut Job| {
        job.train_shards = vec!["train.tokens".into()];
        (job.validation_shards, job.tasks) = (Vec::new(), Vec::new());
    };
    let jobs = [short(&place, "here", beside), short(&elsewhere, "there", beside)];
    let folders = [place.path(""), elsewhere.path("")];
    let outcomes = Together::start_with(&[&jobs[0], &jobs[1]], |rank, command| {
        command.current_dir(&folders[rank]);
    });
    let outcome = outcomes.end().swap_remove(1);
    assert!(
        outcome.stderr.contains("rank 1 differs from rank 0 in the content of `train.tokens`"),
        "{}",
        outcome.stderr
    );
    let outcomes = Together::start_with(&[&job, &job], |rank, command| {
        command.env("WORLD_SIZE", if rank == 1 { "3" } else { "2" });
    });
    let outcome = outcomes.end().swap_remove(1);
    let problem = "rank 0 was started as one of 2 ranks, and rank 1 as one of 3";
    assert!(outcome.stderr.contains(problem), "{}", outcome.stderr);
    let three = Together::start(&[&job; 3]).end();
    let problem = "a batch of 8 sequences cannot be shared out equally among 3 processes in passes of 4";
    assert!(three[0].failed().message.contains(problem), "{}", three[0].stderr);
}

/// Here rank 0 waits in the store, where nothing of libtorch's notices.
#[test]
fn a_rank_that_ends_alone_ends_the_others_with_its_reason() {
    let place = Place::new();
    let elsewhere = Place::new();
    let job = short(&place, "job", |job| job.train_shards = vec!["train.tokens".into()]);
    let folders = [place.path(""), elsewhere.path("")];
    files::remove(&elsewhere.path("train.tokens")).unwrap();
    let outcomes = Together::start_with(&[&job, &job], |rank, command| {
        command.current_dir(&folders[rank]);
    });
    let outcome = outcomes.end().swap_remove(0);
    assert_eq!((outcome.failed().kind.as_str(), code(&outcome)), ("rank", exit_code::RANK_LOST));
    let message = &outcome.failed().message;
    assert!(
        message.starts_with("another rank was lost: rank 1 failed: ") && message.contains("train.tokens"),
        "{message}"
    );
}

#[test]
fn ranks_stop_together_where_one_is_told_to_and_go_on_in_another_number() {
    let place = Place::new();
    let mut job = place.job("job");
    job.training.steps = 4000;
    job.checkpoint_steps = Vec::new();
    (job.validation_steps, job.token_loss_steps, job.task_steps) = (Vec::new(), Vec::new(), Vec::new());
    let mut together = Together::start(&[&job; 2]);
    together.get(0).until_step(3);
    signal(together.get(1).child.id(), "TERM");
    let outcomes = together.end();
    assert_eq!(outcomes.iter().map(code).collect::<Vec<_>>(), [exit_code::SUCCESS; 2], "{}", outcomes[1].stderr);
    let stopped = outcomes[0].stopped().step;
    assert!(stopped < 4000 && outcomes[0].checkpoints().last().unwrap().step == stopped);
    job.resume_from = Some(job.output.join(checkpoint_path(stopped)));
    job.training.steps = stopped + 2;
    assert_eq!(run(&job).finished().step, stopped + 2);
}

#[test]
fn a_rank_without_a_job_takes_those_of_rank_0_one_after_the_other() {
    let place = Place::new();
    let jobs = [short(&place, "first", |_| {}), short(&place, "second", |job| job.seed = 8)];
    let expected = jobs.each_ref().map(|job| run(job).finished().weights_sha256);
    let port = free_port();
    let mut joined = rank(port, 1, 2);
    joined.arg("join");
    let joined = spawn(joined);
    for (number, job) in jobs.iter().enumerate() {
        let mut command = rank(port, 0, 2);
        command.arg("run").arg(written(job)).env("HARNESS_JOB", number.to_string());
        if number == 0 {
            command.env("HARNESS_FOLLOWS", "1");
        }
        // As two passes of one process.
        assert_eq!(spawn(command).end().finished().weights_sha256, expected[number]);
    }
    let joined = joined.end();
    assert_eq!(code(&joined), exit_code::SUCCESS, "{}", joined.stderr);
}

#[test]
fn a_rank_without_a_job_ends_when_it_is_told_to() {
    let mut joined = rank(free_port(), 1, 2);
    joined.arg("join");
    let joined = spawn(joined);
    // Before libtorch is loaded, nobody listens: bit 14 of what is caught is SIGTERM (proc(5)).
    let status = format!("/proc/{}/status", joined.child.id());
    let listens = || {
        let status = files::read_to_string(status.as_ref()).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&caught, 16).unwrap() & (1 << 14) != 0
    };
    while !listens() {
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(joined.child.id(), "TERM");
    let since = Instant::now();
    let joined = joined.end();
    assert_eq!(code(&joined), exit_code::SUCCESS, "{}", joined.stderr);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[test]
fn steps_that_are_not_finite_are_skipped_by_all_ranks_alike() {
    let place = Place::new();
    let diverging = |job: &mut Job| {
        // The first update throws the weights so far off that no loss after it is finite.
        (job.optimizer.learning_rate, job.optimizer.gradient_clip_norm, job.schedule.warmup_steps) = (1e30, 0.0, 0);
        job.training.on_non_finite = OnNonFinite::Skip;
        (job.validation_steps, job.task_steps, job.token_loss_steps) = (Vec::new(), Vec::new(), Vec::new());
    };
    let (alone, shared) = (short(&place, "alone", diverging), short(&place, "shared", diverging));
    let skipped = |outcome: &Outcome| {
        outcome.messages.iter().filter_map(|m| if let Message::Skipped(s) = m { Some(s.step) } else { None }).collect()
    };
    let two = Together::start(&[&shared; 2]).end();
    assert_eq!(two.iter().map(code).collect::<Vec<_>>(), [exit_code::SUCCESS; 2], "{}", two[0].stderr);
    let skipped: [Vec<u64>; 2] = [skipped(&run(&alone)), skipped(&two[0])];
    assert_eq!(skipped, [[2, 3, 4, 5, 6]; 2]);
}
