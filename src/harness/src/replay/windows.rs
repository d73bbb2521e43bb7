//! Windows of a training: from one checkpoint that the record names to the next. Which of them are computed again follows from the run's
//! root and a number that the auditor draws when the run has been sealed, so that whoever made the record could not know.
//!
//! A window begins from the state that the record names: that of the checkpoint, where its file is here; else from the one before
//! it, at last from the start, which is a function of the seed. So a run can be replayed whatever was pruned, only at more
//! cost. It ends with the state that the record names by digest, whether that file was kept or not.

use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::config::{MetricsConfig, Precision};
use harness_core::contract::{Checkpoint, Job};
use harness_core::files;
use harness_core::names::RunId;
use harness_core::scores::{StepLine, read_csv, to_csv};
use harness_corpus::Progress;
use harness_record::format::{Status, file};
use harness_record::{SealedRun, environment};
use serde::Serialize;

use super::machine::{self, Setting, Trainer};
use super::rerun::{Scratch, Told, rerun};
use super::tables::{Compared, are_close, compare};
use super::{CLOSE, CLOSE_BF16, ReplayError, Verdict};
use crate::run::{Interrupts, RunContext, recorded_data, recorded_job};

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct Question {
    /// How many windows.
    pub windows: usize,
    /// What the auditor drew.
    pub nonce: String,
    /// Another number of threads than the record's.
    pub threads: Option<u32>,
}

/// The windows that root and nonce name.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Steps from which and to which, and the step whose state it can be begun from; none where there is no such state here.
    pub windows: Vec<(u64, u64, Option<u64>)>,
    /// How many there are to choose from.
    pub of: usize,
    /// Steps to be computed.
    pub steps: u64,
    /// What they took when they ran, in seconds; none where the record has no rate.
    pub seconds: Option<f64>,
}

/// A window that was computed again.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    /// The step of the checkpoint that it begins with.
    pub from: u64,
    /// The step of the one that it ends with.
    pub to: u64,
    /// The step whose state it was begun from; 0 is the start, and none that there was none here.
    pub begun_from: Option<u64>,
    /// What came of it.
    pub verdict: Verdict,
    /// The same in words.
    pub detail: String,
    /// The rows of its steps.
    pub steps: Option<Compared>,
    /// Whether weights, moments and position after the last step are the recorded ones, to the bit.
    pub state_is_identical: Option<bool>,
}

/// A run whose windows were computed again.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// The run.
    pub run: RunId,
    /// Its root.
    pub root: Digest,
    /// What the auditor drew.
    pub nonce: String,
    /// How many windows it has.
    pub of: usize,
    /// The program.
    pub trainer: Trainer,
    /// What differs between the machine that it ran on and this one.
    pub differences: Vec<Setting>,
    /// In the order of their steps.
    pub windows: Vec<Window>,
}

/// The states of a run: the step that it began with, and its checkpoints.
struct States<'a> {
    run: &'a SealedRun,
    first: u64,
}

impl States<'_> {
    /// The steps at which windows begin and end, ascending.
    fn steps(&self) -> Vec<u64> {
        let written = self.run.record.checkpoints.iter().map(|checkpoint| checkpoint.step);
        let mut steps: Vec<u64> = written.filter(|&step| step > self.first).chain([self.first]).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    fn at(&self, step: u64) -> Option<&Checkpoint> {
        self.run.record.checkpoints.iter().rfind(|checkpoint| checkpoint.step == step)
    }

    /// The latest step up to `from` whose state is here.
    fn begin(&self, job: &Job, home: &Path, from: u64) -> Option<u64> {
        let is_here = |step: &u64| match self.at(*step) {
            Some(checkpoint) if *step > self.first => files::is_file(&self.run.path(&checkpoint.file.path)),
            _ => job.resume_from.iter().all(|path| files::is_file(&home.join(path))),
        };
        self.steps().into_iter().rev().filter(|&step| step <= from).find(is_here)
    }

    /// The file of a state and the digest that the record has of it; none of a start that follows from the seed.
    fn file(&self, job: &Job, home: &Path, step: u64) -> Option<(PathBuf, Digest)> {
        if step > self.first {
            return self.at(step).map(|checkpoint| (self.run.path(&checkpoint.file.path), checkpoint.file.sha256));
        }
        let origin = self.run.open.resumed_from.as_ref()?;
        job.resume_from.as_ref().map(|path| (home.join(path), origin.checkpoint_sha256))
    }
}

fn states(run: &SealedRun) -> Result<States<'_>, ReplayError> {
    let first = run.open.resumed_from.as_ref().map_or(0, |origin| origin.step);
    let states = States { run, first };
    if let Some(earlier) = &run.open.evaluates {
        return Err(ReplayError::Missing {
            problem: format!("run `{}` trained nothing: it evaluates `{}`", run.open.run, earlier.run),
            hint: format!("`harness evaluate --verify {}` computes its evaluation again", run.open.run),
        });
    }
    if states.steps().len() < 2 {
        let hint = if run.record.status == Status::Completed {
            "an imported model has no training of its own"
        } else {
            "it ended before its first checkpoint: `harness reproduce` trains from the start"
        };
        return Err(ReplayError::Missing {
            problem: format!("run `{}` has no checkpoint after step {first}, so it has no window", run.open.run),
            hint: hint.to_owned(),
        });
    }
    Ok(states)
}

/// The windows of a run that its root and the nonce name, ascending.
pub fn choose(context: &RunContext, run: &SealedRun, question: &Question) -> Result<Chosen, ReplayError> {
    let (states, job) = (states(run)?, recorded_job(run)?);
    let steps = states.steps();
    let mut left: Vec<(u64, u64)> = steps.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let of = left.len();
    let mut windows: Vec<(u64, u64, Option<u64>)> = (0..question.windows.min(of))
        .map(|index| left.remove(drawn(&run.root, &question.nonce, index, left.len())))
        .map(|(from, to)| (from, to, states.begin(&job, context.project.home(), from)))
        .collect();
    windows.sort_unstable();
    let length = |&(_, to, begin): &(u64, u64, Option<u64>)| begin.map_or(0, |begin| to - begin);
    let tokens = |step: u64| job.training.tokens(step, job.model.context_length) as f64;
    let cost = |&(_, to, begin): &(u64, u64, Option<u64>)| begin.map_or(0.0, |begin| tokens(to) - tokens(begin));
    Ok(Chosen {
        of,
        steps: windows.iter().map(length).sum(),
        seconds: run.record.resources.tokens_per_s.map(|rate| windows.iter().map(cost).sum::<f64>() / rate),
        windows,
    })
}

/// The `index`-th draw among `among` windows: the first eight bytes, big-endian, of SHA-256 over root, nonce and index, each on a
/// line, modulo their number.
fn drawn(root: &Digest, nonce: &str, index: usize, among: usize) -> usize {
    let digest = Digest::of(format!("{root}\n{nonce}\n{index}\n").as_bytes());
    let number = digest.as_bytes().iter().take(8).fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
    (number % among as u64) as usize
}

/// Computes the chosen windows of a run again.
pub fn replay(
    context: &RunContext,
    run: &SealedRun,
    question: &Question,
    chosen: &Chosen,
    interrupts: &Interrupts,
    progress: &mut dyn Progress,
) -> Result<Replay, ReplayError> {
    let (states, mut job) = (states(run)?, recorded_job(run)?);
    let shards: Vec<&Path> = job.train_shards.iter().map(PathBuf::as_path).collect();
    recorded_data(context.project, run, &shards)?;
    job.training.threads = question.threads.unwrap_or(job.training.threads);
    let rows: Vec<StepLine> = read_csv(&run.path(file::STEPS))?;
    let about = context.about()?;
    let trainer = Trainer::of(context.launcher.program(), &about.source_sha256, &run.open.binaries)?;
    let mut replay = Replay {
        run: run.open.run.clone(),
        root: run.root,
        nonce: question.nonce.clone(),
        of: chosen.of,
        trainer,
        differences: Vec::new(),
        windows: Vec::new(),
    };
    for &(from, to, begin) in &chosen.windows {
        let window = Window {
            from,
            to,
            begun_from: begin,
            verdict: Verdict::NotDone,
            detail: "the state that it begins with is not here, nor any before it".to_owned(),
            steps: None,
            state_is_identical: None,
        };
        let Some(begin) = begin else {
            replay.windows.push(window);
            continue;
        };
        let file = states.file(&job, context.project.home(), begin);
        if let Some((path, sha256)) = &file
            && Digest::of_file(path)? != *sha256
        {
            let detail = format!("the checkpoint of step {begin} is not the one that was recorded");
            replay.windows.push(Window { verdict: Verdict::Differs, detail, ..window });
            continue;
        }
        let job = Job {
            resume_from: file.map(|(path, _)| path),
            validation_steps: Vec::new(),
            token_loss_steps: Vec::new(),
            task_steps: Vec::new(),
            checkpoint_steps: vec![to],
            // Evaluations and what is looked at inside the model leave no trace in the weights.
            metrics: MetricsConfig { tensor_norms_every: 0, activations_every: 0, ..job.metrics.clone() },
            ..job.clone()
        };
        let close = close(job.training.precision);
        let told =
            rerun(context, (job, run.open.launch.world_size), &Scratch::new(context)?, Some(to), interrupts, progress)?;
        if let (Some(recorded), Some(here)) = (&run.record.started, &told.started) {
            replay.differences = machine::differences(&run.open, &environment::host(), recorded, here);
        }
        let recorded: Vec<&StepLine> = rows.iter().filter(|row| row.step > begin && row.step <= to).collect();
        replay.windows.push(judge(window, run, &recorded, &told, &replay.differences, close)?);
    }
    Ok(replay)
}

/// How far numbers may lie apart where something of the machine differs.
pub(super) fn close(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => CLOSE,
        Precision::Bf16 => CLOSE_BF16,
    }
}

/// Holds what was computed against the record.
fn judge(
    window: Window,
    run: &SealedRun,
    recorded: &[&StepLine],
    told: &Told,
    differences: &[Setting],
    close: f64,
) -> Result<Window, ReplayError> {
    let is_recorded = |line: &&StepLine| recorded.iter().any(|row| row.step == line.step);
    // `steps.csv` need not have a row for every step.
    let again: Vec<&StepLine> = told.steps.iter().filter(is_recorded).collect();
    let to = window.to;
    let expected = run.record.checkpoints.iter().rfind(|checkpoint| checkpoint.step == to);
    let (Some(state), Some(expected)) = (told.checkpoints.iter().find(|c| c.step == to), expected) else {
        let why = told.failure.as_ref().map_or("the trainer wrote no checkpoint", |failure| &failure.message);
        return Ok(Window { detail: format!("it could not be computed: {why}"), ..window });
    };
    let steps = compare(&to_csv(recorded), &to_csv(&again), close)?;
    let (is_close, means) = are_close(recorded, &again, close)?;
    let same_weights = state.weights_sha256 == expected.weights_sha256;
    let same_state = same_weights && state.file.sha256 == expected.file.sha256;
    let first = steps.first.as_ref().map(|first| {
        format!("{}: {} {} recorded, {} computed now", first.at, first.column, first.recorded, first.again)
    });
    let first = first.unwrap_or_else(|| format!("all {} rows are the same", steps.rows));
    let skipped: Vec<u64> = told.skipped.iter().map(|skipped| skipped.step).collect();
    let was_skipped = |step: &u64| window.begun_from.is_some_and(|begin| *step > begin) && *step <= to;
    let skipped_then: Vec<u64> = run.record.skipped.iter().map(|s| s.step).filter(was_skipped).collect();
    let machine = machine::named(differences);
    let (verdict, detail) = if state.order_sha256 != expected.order_sha256 {
        (Verdict::Differs, "other tokens were read, or in another order".to_owned())
    } else if skipped != skipped_then {
        (Verdict::Differs, format!("steps {skipped_then:?} were skipped by the record, {skipped:?} now"))
    } else if same_weights && steps.is_identical() && (same_state || !differences.is_empty()) {
        let note =
            if differences.is_empty() { String::new() } else { format!(", although the machine differs ({machine})") };
        let what = if same_state { "the state" } else { "the weights" };
        let detail = format!("{} steps and {what} after the last are the same to the bit{note}", again.len());
        (Verdict::Identical, detail)
    } else if same_weights && !steps.is_identical() {
        let detail = format!(
            "the weights after step {to} are the recorded ones to the bit, and the rows are not what led to them: they \
             were changed; {first}"
        );
        (Verdict::Differs, detail)
    } else if differences.is_empty() {
        let state = if same_weights {
            "the weights after the last step are the recorded ones, the rest of the state is not"
        } else {
            "the weights after the last step are others"
        };
        let detail = format!("{first}; {state}; nothing that is recorded of programs and machine explains it");
        (Verdict::Differs, detail)
    } else if is_close {
        let means = 100.0 * means;
        let detail = format!(
            "close, not the same to the bit: mean losses {means:.3} % apart; first {first}; the cause: {machine}"
        );
        (Verdict::Close, detail)
    } else if machine::is_other_trainer(differences) {
        let commit = run.open.code.commit.get(..12).unwrap_or_default();
        let detail = format!(
            "nothing can be said: the trainer here was built from other sources; `--build` takes that of commit {commit}; \
             first {first}"
        );
        (Verdict::NotDone, detail)
    } else {
        let means = 100.0 * means;
        let detail = format!("first {first}; mean losses {means:.2} % apart; more than this can explain: {machine}");
        (Verdict::Differs, detail)
    };
    Ok(Window { verdict, detail, steps: Some(steps), state_is_identical: Some(same_state), ..window })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '%s\nabc\n0\n' ROOT | sha256sum | head -c 16`, in hexadecimal, modulo the number of windows.
    #[test]
    fn a_window_is_drawn_by_a_digest_that_anyone_can_compute() {
        let root = Digest::of(b"a root");
        let digest = Digest::of(format!("{root}\nabc\n0\n").as_bytes()).to_string();
        let number = u64::from_str_radix(&digest[..16], 16).unwrap();
        assert_eq!(drawn(&root, "abc", 0, 7), (number % 7) as usize);
        let others: Vec<usize> = (0..40).map(|nonce: i32| drawn(&root, &nonce.to_string(), 0, 7)).collect();
        assert!((0..7).all(|window| others.contains(&window)), "each can be drawn: {others:?}");
    }
}
