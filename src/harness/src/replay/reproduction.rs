//! A whole run once more, from its commit: the files of the commit in a checkout of their own, the data that they name, every step, every
//! evaluation. Nothing is taken from the run but its seed, and the number of steps where a budget of time was measured.

use std::path::PathBuf;

use harness_core::contract::Job;
use harness_core::names::RunId;
use harness_core::scores::{StepLine, read_csv, to_csv};
use harness_core::{Digest, files};
use harness_corpus::Progress;
use harness_record::format::{Purpose, file};
use harness_record::git::{Git, GitError};
use harness_record::{SealedRun, environment};
use serde::Serialize;

use super::evaluation::{Part, compare_files};
use super::machine::{self, Setting, Trainer};
use super::rerun::{Scratch, Told, rerun};
use super::tables::{are_close, compare};
use super::windows::close;
use super::{ReplayError, Verdict};
use crate::run::{Interrupts, Local, Options, Rehearsal, RunContext, recorded_job, rehearse};

/// A run that was made again.
#[derive(Clone, Debug, Serialize)]
pub struct Reproduction {
    /// The run.
    pub run: RunId,
    /// Its root.
    pub root: Digest,
    /// Its commit.
    pub commit: String,
    /// The program.
    pub trainer: Trainer,
    /// What differs between the machine that it ran on and this one.
    pub differences: Vec<Setting>,
    /// What was compared, in the order in which one follows from the other.
    pub parts: Vec<Part>,
}

/// A checkout that is removed when it is dropped.
struct Checkout<'a> {
    of: &'a Git,
    folder: PathBuf,
    git: Git,
}

impl Drop for Checkout<'_> {
    fn drop(&mut self) {
        self.of.remove_snapshot(&self.folder);
    }
}

/// Makes a run again with this trainer.
pub fn reproduce(
    context: &RunContext,
    run: &SealedRun,
    trainer: PathBuf,
    interrupts: &Interrupts,
    progress: &mut dyn Progress,
) -> Result<Reproduction, ReplayError> {
    let (open, id, commit) = (&run.open, &run.open.run, &run.open.code.commit);
    let missing = |problem: String, hint: String| ReplayError::Missing { problem, hint };
    if let Some(earlier) = &open.evaluates {
        let problem = format!("run `{id}` trained nothing: it evaluates `{}`", earlier.run);
        return Err(missing(problem, format!("`harness evaluate --verify {id}` makes its evaluation again")));
    }
    if open.code.dirty {
        let problem = format!("run `{id}` was made from a working tree that differed from its commit");
        return Err(missing(problem, format!("`harness replay {id}` computes windows of it from the record")));
    }
    let scratch = Scratch::new(context)?;
    let folder = scratch.path().join("checkout");
    let git = context.git.snapshot(commit, &folder).map_err(|error| match error {
        GitError::UnknownCommit { .. } | GitError::Snapshot { .. } => {
            missing(format!("commit {commit} cannot be checked out"), "`git fetch` the branch that holds it".to_owned())
        }
        other => other.into(),
    })?;
    let checkout = Checkout { of: context.git, folder, git };
    let project = context.project.seen_in(checkout.git.root());
    let launcher = Box::new(Local::new(trainer));
    let there = RunContext { project: &project, git: &checkout.git, fetcher: context.fetcher.clone(), launcher };

    let trial = open.plan.study.as_ref().map(|study| study.trial);
    let options = Options {
        seed: trial.is_none().then_some(open.plan.seed),
        purpose: if trial.is_some() { Purpose::default() } else { open.plan.purpose },
        trial,
        allow_stale: true,
        ..Options::default()
    };
    let name = run.renamed_from.as_ref().unwrap_or(&open.experiment);
    let rehearsal = rehearse(&there, name, &options, run.experiment.training.steps, scratch.path(), progress)?;
    let about = there.about()?;
    let trainer = Trainer::of(there.launcher.program(), &about.source_sha256, &open.binaries)?;
    let mut parts = inputs(run, &rehearsal, &checkout.git)?;

    let mut differences = Vec::new();
    if parts.iter().all(|part| part.verdict == Verdict::Identical) {
        // The trainer writes a checkpoint after the last step by itself.
        let job = Job { checkpoint_steps: Vec::new(), ..rehearsal.job };
        let told = rerun(&there, (job, open.launch.world_size), &scratch, None, interrupts, progress)?;
        if let (Some(recorded), Some(here)) = (&run.record.started, &told.started) {
            differences = machine::differences(open, &environment::host(), recorded, here);
        }
        parts.extend(outputs(run, &told, &scratch, &differences)?);
    }
    Ok(Reproduction { run: id.clone(), root: run.root, commit: commit.clone(), trainer, differences, parts })
}

/// What follows from the commit and its data, before anything is trained.
fn inputs(run: &SealedRun, rehearsal: &Rehearsal, checkout: &Git) -> Result<Vec<Part>, ReplayError> {
    let open = &run.open;
    let part = |what: &str, same: bool, holds: &str, differs: String| match same {
        true => Part::new(what, Verdict::Identical, holds),
        false => Part::new(what, Verdict::Differs, differs),
    };
    let mut parts = vec![part(
        file::CONFIG,
        rehearsal.experiment == run.experiment,
        "follows from the files of the commit",
        "the files of the commit give another config".to_owned(),
    )];
    let digests = |data: &harness_record::format::Data| -> Vec<Digest> {
        let shards = data.shards.iter().map(|shard| shard.sha256);
        shards.chain([data.root, data.tokenizer_sha256]).collect()
    };
    let data = digests(&rehearsal.data) == digests(&open.data);
    let root = (rehearsal.data.root.short(), open.data.root.short());
    let other = format!("the recipe of the commit gives data root {}, recorded was {}", root.0, root.1);
    parts.push(part("data", data, "the recipe of the commit gives the same shards and tokenizer", other));
    let requests = |tasks: &[harness_record::format::Task]| -> Vec<Digest> {
        tasks.iter().map(|task| task.requests_sha256).collect()
    };
    let tasks = requests(&rehearsal.tasks) == requests(&open.tasks);
    let other = "the recipes of the commit give other requests".to_owned();
    parts.push(part("tasks", tasks, "the recipes of the commit give the same requests", other));
    if open.resumed_from.is_none() {
        let (recorded, job) = (comparable(recorded_job(run)?), comparable(rehearsal.job.clone()));
        let other = differing_key(&recorded, &job).map_or_else(String::new, |key| format!("`{key}` is another"));
        parts.push(part(file::JOB, recorded == job, "follows from config and data", other));
    }
    let lock = checkout.root().join("Cargo.lock");
    if let Some(recorded) = open.binaries.cargo_lock_sha256.filter(|_| files::is_file(&lock)) {
        let same = Digest::of_file(&lock)? == recorded;
        let other = "the lock file of the commit is not the one that the record names".to_owned();
        parts.push(part("Cargo.lock", same, "is that of the commit", other));
    }
    Ok(parts)
}

/// A job without the places that differ from one checkout to the next.
fn comparable(job: Job) -> serde_json::Value {
    serde_json::json!(Job { output: PathBuf::new(), ..job })
}

/// The first key in which two jobs differ.
fn differing_key(recorded: &serde_json::Value, now: &serde_json::Value) -> Option<String> {
    recorded.as_object()?.iter().find(|(key, value)| now.get(key.as_str()) != Some(*value)).map(|(key, _)| key.clone())
}

/// What was computed.
fn outputs(run: &SealedRun, told: &Told, scratch: &Scratch, differences: &[Setting]) -> Result<Vec<Part>, ReplayError> {
    let share = close(run.experiment.training.precision);
    let rows: Vec<StepLine> = read_csv(&run.path(file::STEPS))?;
    let is_recorded = |line: &&StepLine| rows.iter().any(|row| row.step == line.step);
    let again: Vec<&StepLine> = told.steps.iter().filter(is_recorded).collect();
    let recorded: Vec<&StepLine> = rows.iter().collect();
    let (is_close, _) = are_close(&recorded, &again, share)?;
    let steps = compare(&to_csv(recorded), &to_csv(again), share)?;
    let machine = machine::named(differences);
    let step_verdict = if steps.is_identical() {
        Part::new(file::STEPS, Verdict::Identical, format!("{} rows are the same to the bit", steps.rows))
    } else {
        let first = steps.first.as_ref().expect("what is not identical differs somewhere");
        let first = format!("first {}: {} {} recorded, {} now", first.at, first.column, first.recorded, first.again);
        let (verdict, why) = explained(is_close, differences);
        Part { rows: Some(steps), ..Part::new(file::STEPS, verdict, format!("{first}; {why}")) }
    };
    let mut parts = vec![step_verdict];
    for evaluation in &run.record.evaluations {
        let files = compare_files(run, evaluation, scratch.path(), differences, share)?;
        // What is too far apart after other last bits all along says nothing against the record.
        let is_explained = |part: &Part| part.verdict == Verdict::Differs && !differences.is_empty();
        parts.extend(files.into_iter().map(|part| match is_explained(&part) {
            true => Part { verdict: Verdict::NotDone, ..part },
            false => part,
        }));
    }
    if let (Some(closing), Some(now)) = (&run.record.closing, &told.closing) {
        let order = if closing.order_sha256 == now.order_sha256 { Verdict::Identical } else { Verdict::Differs };
        let detail = format!("{} recorded, {} now", closing.order_sha256.short(), now.order_sha256.short());
        parts.push(Part::new("tokens in the order they were read", order, detail));
        let detail = format!("{} recorded, {} now", closing.weights_sha256.short(), now.weights_sha256.short());
        parts.push(if closing.weights_sha256 == now.weights_sha256 {
            Part::new("weights after the last step", Verdict::Identical, detail)
        } else if differences.is_empty() {
            Part::new("weights after the last step", Verdict::Differs, detail)
        } else {
            let detail = format!("{detail}; their bits cannot be asked for here: {machine}");
            Part::new("weights after the last step", Verdict::Close, detail)
        });
    }
    if let (Some(failure), None) = (&told.failure, &run.record.failure) {
        let detail = format!("the trainer ended early: {}", failure.message);
        parts.push(Part::new("the run as a whole", Verdict::NotDone, detail));
    }
    Ok(parts)
}

/// What rows mean that are not the same.
fn explained(is_close: bool, differences: &[Setting]) -> (Verdict, String) {
    let machine = machine::named(differences);
    if differences.is_empty() {
        (Verdict::Differs, "nothing that is recorded of programs and machine explains it".to_owned())
    } else if is_close {
        (Verdict::Close, format!("close; the cause: {machine}"))
    } else {
        let advice = "over a whole training last bits grow; `harness replay` asks for windows that are short";
        (Verdict::NotDone, format!("too far apart to say more ({machine}); {advice}"))
    }
}
