//! `record.json`: it follows from the log, and tells of what the job asked for.

use std::collections::BTreeSet;

use harness_core::contract::{self, Job, OutputFile, Started};
use harness_core::scores::{WindowLoss, read_csv};
use serde_json::Value;

use super::{Jobs, Run, is_near};
use crate::format::{Ended, SINCE, Status, file};
use crate::job::evaluation_files;
use crate::log::unknown;
use crate::seal::named;

pub(super) fn check(run: &mut Run<'_>, jobs: &Jobs) {
    follows(run);
    status(run);
    started(run, jobs);
    each_job(run);
    evaluations(run, jobs);
    checkpoints(run, jobs);
    closing(run);
    files(run, jobs);
}

/// The record is the one that the log tells.
fn follows(run: &mut Run<'_>) {
    let record = run.record;
    let Some(ended) = run.log.ended.clone() else {
        return run.wrong(file::LOG, "does not end with the end of the run");
    };
    let of_record = Ended {
        status: record.status,
        failure: record.failure.clone(),
        exit_code: record.exit_code,
        signal: record.signal,
        ended_at: record.ended_at.clone(),
        retention: record.retention.clone(),
        resources: record.resources.clone(),
        files: record.files.clone(),
    };
    let mut expected = serde_json::to_value(&of_record).expect("plain structs are JSON");
    if !run.is_of_today() {
        // Older programs logged no more than this.
        expected.as_object_mut().expect("a struct").retain(|key, _| matches!(key.as_str(), "status" | "failure"));
    }
    if let Some(path) = unknown(&ended, &expected) {
        run.wrong(file::LOG, format!("nothing of an event `ended` is called `{path}`"));
    }
    if let Some(line) = run.log.inexact.filter(|_| record.format >= SINCE) {
        run.wrong(file::LOG, format!("line {line} lacks a field that is always written"));
    }
    let mut differs: Vec<&str> = Vec::new();
    if let Value::Object(expected) = &expected {
        differs
            .extend(expected.iter().filter(|(key, value)| ended.get(key) != Some(value)).map(|(key, _)| key.as_str()));
    }
    let told = &run.log.told;
    differs.extend((told.started != record.started).then_some("started"));
    differs.extend((told.evaluations != record.evaluations).then_some("evaluations"));
    differs.extend((told.checkpoints != record.checkpoints).then_some("checkpoints"));
    differs.extend((told.skipped != record.skipped).then_some("skipped"));
    differs.extend((told.closing != record.closing).then_some("closing"));
    let problems: Vec<String> =
        differs.iter().map(|field| format!("`{field}` is not what `{}` tells", file::LOG)).collect();
    problems.into_iter().for_each(|problem| run.wrong(file::RECORD, problem));
}

/// How it ended is how the trainer's last words say.
fn status(run: &mut Run<'_>) {
    let (record, told) = (run.record, &run.log.told);
    let by_itself = record.exit_code == Some(0) && record.signal.is_none();
    let holds = match record.status {
        Status::Completed => told.finished && record.failure.is_none() && by_itself,
        // A trial that fell behind was stopped for a reason.
        Status::Interrupted => !told.finished && told.closing.is_some() && by_itself,
        Status::Failed => record.failure.is_some(),
    };
    run.hold(holds, file::RECORD, || format!("is not how a run ends that {}", record.status.word()));
    let gpus = record.started.as_ref().map_or(0, Started::gpus);
    let resources = &record.resources;
    let energy_j = record.closing.as_ref().and_then(|closing| closing.gpu_energy_j);
    let holds = resources.gpu_time_s == resources.wall_time_s * gpus as f64
        && resources.energy_j == energy_j
        && resources.wall_time_s >= 0.0
        && resources.cpu_time_s >= 0.0;
    run.hold(holds, file::RECORD, || "`resources` is not what device and closing message give".to_owned());
}

/// The trainer's account is of the model and the job.
fn started(run: &mut Run<'_>, jobs: &Jobs) {
    let Some(started) = &run.record.started else {
        return run.hold(run.record.status == Status::Failed, file::RECORD, || "nothing was `started`".to_owned());
    };
    let (model, vocabulary) = (&run.experiment.model, run.open.data.vocabulary_size);
    let first = match &run.open.evaluates {
        Some(evaluated) => evaluated.checkpoints.last().map_or(0, |checkpoint| checkpoint.step),
        None => run.first_step(),
    };
    let ranks = started.ranks.as_ref().map_or(1, |ranks| ranks.each.len());
    let mut holds = started.about.contract_version == started.version && ranks == run.open.launch.world_size as usize;
    if run.is_of_today() && started.version >= contract::SINCE {
        holds &= jobs.iter().all(|job| job.version == started.version)
            && (started.parameters, started.parameters_without_embeddings) == model.parameters(vocabulary)
            && started.flops_per_token == model.training_flops_per_token(vocabulary)
            && (started.first_step == first
                || (run.open.evaluates.is_some() && run.record.status != Status::Completed));
    }
    run.hold(holds, file::RECORD, || "`started` is not of this model and job".to_owned());
}

/// Of an evaluation, each checkpoint was read by the same trainer, and closed with its weights.
fn each_job(run: &mut Run<'_>) {
    let Some(evaluated) = &run.open.evaluates else {
        let once = run.log.started.len() <= 1 && run.log.closings.len() <= 1;
        return run.hold(once, file::LOG, || "tells of more jobs than there were".to_owned());
    };
    let (log, checkpoints) = (&run.log, &evaluated.checkpoints);
    let alike = log.started.windows(2).all(|pair| {
        let first = Started { first_step: pair[1].first_step, peak: pair[1].peak.clone(), ..pair[0].clone() };
        first == pair[1]
    });
    let read = log.started.len() <= checkpoints.len()
        && log.started.iter().zip(checkpoints).all(|(started, checkpoint)| started.first_step == checkpoint.step);
    let closed = log.closings.len() <= checkpoints.len()
        && log.closings.iter().zip(checkpoints).all(|(closing, checkpoint)| {
            closing.step == checkpoint.step
                && closing.tokens == run.tokens(closing.step)
                && closing.weights_sha256 == checkpoint.weights_sha256
        });
    let holds = !run.is_of_today() || (alike && read && closed);
    run.hold(holds, file::LOG, || "tells of other jobs than those of the checkpoints".to_owned());
}

/// What was to be evaluated after each step, in order, as names of files: what was taken over, then what the jobs ask.
fn asked(run: &Run<'_>, jobs: &[Job]) -> Vec<(u64, Vec<String>)> {
    let mut all = Vec::new();
    let has = |steps: &[u64], step: u64| steps.binary_search(&step).is_ok();
    let mut add = |validation: &[u64], tokens: &[u64], tasks: &[u64], samples: &[u64]| {
        let steps: BTreeSet<u64> = validation.iter().chain(tasks).chain(samples).copied().collect();
        all.extend(steps.into_iter().map(|step| {
            let (validated, scored, sampled) = (has(validation, step), has(tasks, step), has(samples, step));
            let tokens = validated && has(tokens, step);
            (step, evaluation_files(&run.open.tasks, step, validated, tokens, scored, sampled))
        }));
    };
    if let Some(from) = &run.open.resumed_from {
        let (evaluation, steps) = (&run.experiment.evaluation, run.experiment.training.steps);
        let until = |mut all: Vec<u64>| {
            all.retain(|&step| step <= from.step);
            all
        };
        let (validation, tasks) = (until(evaluation.validation_steps(steps)), until(evaluation.task_steps(steps)));
        add(&validation, &until(evaluation.token_loss_steps(steps)), &tasks, &[]);
    }
    for (at, job) in jobs.iter().enumerate() {
        let sampled: Vec<u64> = super::samples::step_of(run, jobs, at).into_iter().collect();
        add(&job.validation_steps, &job.token_loss_steps, &job.task_steps, &sampled);
    }
    all.retain(|(_, files)| !files.is_empty());
    all
}

fn evaluations(run: &mut Run<'_>, jobs: &Jobs) {
    let record = run.record;
    let mut asked = asked(run, jobs);
    // One that was interrupted in the middle is made again after a resumption, so that a step may be asked for twice.
    asked.dedup();
    let come_to = match record.status {
        Status::Completed => u64::MAX,
        _ => record.evaluations.last().map_or(0, |evaluation| evaluation.step.saturating_add(1)),
    };
    let mut expected = asked.iter().filter(|(step, _)| *step < come_to).peekable();
    for evaluation in &record.evaluations {
        let step = evaluation.step;
        let files: Vec<String> = evaluation.files.iter().map(|listed| listed.path.clone()).collect();
        let holds = expected.next().is_some_and(|(asked, paths)| *asked == step && *paths == files);
        run.hold(holds, file::RECORD, || format!("`evaluations` of step {step} is not what the job asks for there"));
        if !holds {
            return;
        }
        let tokens = run.tokens(step);
        run.hold(evaluation.tokens == tokens, file::RECORD, || {
            format!("`evaluations` of step {step} counts {} training tokens, not {tokens}", evaluation.tokens)
        });
        evaluation.files.iter().for_each(|listed| run.listed(file::RECORD, listed));
        let finite = evaluation.wall_time_s >= 0.0 && evaluation.wall_time_s.is_finite();
        let tested = evaluation.self_test.as_ref().is_none_or(|test| {
            let limits = [
                (test.probability_sum_error, 1e-3),
                (test.look_ahead_nats, 1e-3),
                (test.batch_nats, test.batch_tolerance_nats),
                (test.batch_tolerance_nats, 0.5),
            ];
            limits.iter().all(|(found, most)| found.abs() <= *most)
        });
        run.hold(finite && tested, file::RECORD, || {
            format!("`evaluations` of step {step} would not have been made after its `self_test`")
        });
    }
    // A run that ended early may have ended before what its last step asked for.
    let closed_at =
        record.closing.as_ref().filter(|_| record.status == Status::Interrupted).map(|closing| closing.step);
    let due = |step: u64| record.status == Status::Completed || closed_at.is_some_and(|closed| step < closed);
    let done = record.evaluations.len();
    if let Some((step, _)) = asked.iter().skip(done).find(|(step, _)| due(*step)) {
        run.wrong(file::RECORD, format!("`evaluations` lacks step {step}, which the job asks for"));
    }
}

fn checkpoints(run: &mut Run<'_>, jobs: &Jobs) {
    let record = run.record;
    let ascend = record.checkpoints.is_sorted_by_key(|checkpoint| checkpoint.step);
    run.hold(ascend, file::RECORD, || "`checkpoints` do not ascend".to_owned());
    let pruned = record.retention.as_ref().map(|retention| retention.pruned.clone()).unwrap_or_default();
    for checkpoint in &record.checkpoints {
        let step = checkpoint.step;
        let planned = jobs.iter().any(|job| job.checkpoint_steps.contains(&step));
        // One is written wherever it is stopped, which may be in the middle of an evaluation.
        let is_last = record.checkpoints.last().is_some_and(|last| last.step == step);
        let holds = (planned || (is_last && record.status != Status::Completed))
            && checkpoint.tokens == run.tokens(step)
            && checkpoint.file.path == contract::checkpoint_path(step);
        run.hold(holds, file::RECORD, || format!("the checkpoint of step {step} is not one that the job asks for"));
        run.listed(file::RECORD, &checkpoint.file);
        let is_kept = run.sealed.contains_key(&checkpoint.file.path);
        run.hold(is_kept != pruned.contains(&step), file::RECORD, || {
            let said =
                if is_kept { "as pruned, and the seal names it" } else { "as kept, and the seal does not name it" };
            format!("`retention` has the checkpoint of step {step} {said}")
        });
    }
    if record.status == Status::Completed && run.is_training() {
        let written: BTreeSet<u64> = record.checkpoints.iter().map(|checkpoint| checkpoint.step).collect();
        let first = run.first_step();
        let asked =
            jobs.iter().flat_map(|job| &job.checkpoint_steps).find(|step| **step > first && !written.contains(step));
        if let Some(step) = asked {
            run.wrong(file::RECORD, format!("`checkpoints` lacks step {step}, which the job asks for"));
        }
    }
    let known: BTreeSet<u64> = record.checkpoints.iter().map(|checkpoint| checkpoint.step).collect();
    let logged = run.log.pruned.iter().all(|step| pruned.contains(step));
    run.hold(logged && pruned.iter().all(|step| known.contains(step)), file::RECORD, || {
        format!("`retention.pruned` is not what `{}` tells", file::LOG)
    });
    for best in record.retention.iter().flat_map(|retention| &retention.best) {
        let path = format!("evaluations/step-{:08}/validation.csv", best.step);
        let rows: Vec<WindowLoss> = read_csv(&run.folder.join(path)).unwrap_or_default();
        let (nats, tokens) =
            rows.iter().fold((0.0, 0u128), |(n, t), row| (n + row.loss_nats, t + u128::from(row.tokens)));
        run.hold(is_near(best.validation_loss_nats, nats / tokens as f64, 1e-12), file::RECORD, || {
            format!("`retention.best` has another loss of step {} than its rows", best.step)
        });
    }
}

/// The closing message is of the last step, and of the weights that the last checkpoint holds.
fn closing(run: &mut Run<'_>) {
    let record = run.record;
    let Some(closing) = &record.closing else {
        return run.hold(record.status == Status::Failed, file::RECORD, || "there is no `closing`".to_owned());
    };
    let evaluated = run.open.evaluates.as_ref().and_then(|evaluated| evaluated.checkpoints.last());
    let steps = evaluated.map_or(run.experiment.training.steps, |checkpoint| checkpoint.step);
    let last = match record.status {
        Status::Completed => closing.step == steps,
        _ => closing.step <= steps,
    };
    let mut holds = last && closing.tokens == run.tokens(closing.step);
    if let Some(checkpoint) = record.checkpoints.last().filter(|_| run.is_training()) {
        holds &= checkpoint.step == closing.step
            && checkpoint.weights_sha256 == closing.weights_sha256
            && checkpoint.order_sha256 == closing.order_sha256;
    }
    if let Some(checkpoint) = evaluated.filter(|_| record.status == Status::Completed) {
        holds &= checkpoint.weights_sha256 == closing.weights_sha256;
    }
    let skipped = record.skipped.len() as u64;
    let is_first = run.open.resumed_from.is_none() && evaluated.is_none();
    holds &= if is_first { closing.skipped_steps == skipped } else { closing.skipped_steps >= skipped };
    let numbers = [
        closing.wall_time_s,
        closing.training_time_s,
        closing.gpu_energy_j.unwrap_or(0.0),
        closing.cpu_time_s.unwrap_or(0.0),
    ];
    holds &= numbers.iter().all(|number| number.is_finite() && *number >= 0.0);
    run.hold(holds, file::RECORD, || "`closing` is not of the last step and the last checkpoint".to_owned());
    let first = run.first_step();
    let ascend = record.skipped.is_sorted_by(|a, b| a.step < b.step);
    let inside = record.skipped.iter().all(|skipped| first < skipped.step && skipped.step <= steps);
    run.hold(ascend && inside, file::RECORD, || "`skipped` names steps that were not to be done".to_owned());
}

/// `files` lists all that nothing else names, and nothing else is written.
fn files(run: &mut Run<'_>, jobs: &Jobs) {
    if !run.is_of_today() {
        return;
    }
    const WRITTEN: [&str; 6] =
        [file::STEPS, file::TENSOR_NORMS, file::ACTIVATIONS, file::SAMPLES, file::TRAINER_OUTPUT, file::PATCH];
    let record = run.record;
    let is_written = |path: &str| {
        WRITTEN.contains(&path) || path.starts_with("plan/job") || path.starts_with(&format!("{}/", file::UNTRACKED))
    };
    // What was written when the trainer was killed, and told nobody.
    let evaluated: BTreeSet<u64> = record.evaluations.iter().map(|evaluation| evaluation.step).collect();
    let untold =
        asked(run, jobs).into_iter().filter(|(step, _)| !evaluated.contains(step)).flat_map(|(_, files)| files);
    let untold: BTreeSet<String> = if record.status == Status::Completed { BTreeSet::new() } else { untold.collect() };
    let is_left = |path: &str| {
        let step =
            path.strip_prefix("checkpoints/step-").and_then(|rest| rest.strip_suffix(".safetensors")?.parse().ok());
        untold.contains(path)
            || (record.status != Status::Completed && step.map(contract::checkpoint_path).as_deref() == Some(path))
    };
    for listed in record.files.iter().filter(|listed| !is_written(&listed.path) && !is_left(&listed.path)) {
        run.wrong(&listed.path, "is no file that a run writes");
    }
    record.files.iter().for_each(|listed| run.listed(file::RECORD, listed));
    let ascend = record.files.is_sorted_by(|a, b| a.path < b.path);
    run.hold(ascend, file::RECORD, || "`files` does not list each file once, in order".to_owned());
    let listed: BTreeSet<&str> = record.files.iter().map(|listed: &OutputFile| listed.path.as_str()).collect();
    let mut known: BTreeSet<&str> = named(run.open, &run.log.told).collect();
    known.extend(&listed);
    known.extend([file::OPEN, file::RECORD, file::LOG]);
    let strays: Vec<&String> = run.sealed.keys().filter(|path| !known.contains(path.as_str())).collect();
    let gone: Vec<&str> = listed.iter().filter(|path| !run.sealed.contains_key(**path)).copied().collect();
    let strays: Vec<String> = strays.into_iter().cloned().collect();
    for path in strays {
        run.wrong(&path, "nothing of the record names it");
    }
    for path in gone {
        run.wrong(path, "its record names it, but the seal does not");
    }
}
