//! The last evaluation of a run, made again from its checkpoint and held against the recorded rows.

use std::path::{Path, PathBuf};

use harness_core::contract::{Evaluation, GeneratedSample, Job};
use harness_core::names::RunId;
use harness_core::samples::{GENERATED, in_common};
use harness_core::scores::read_json_lines;
use harness_core::token_losses::TokenLosses;
use harness_core::{Digest, files};
use harness_corpus::Progress;
use harness_record::{SealedRun, environment};
use serde::Serialize;

use super::machine::{self, Setting, Trainer};
use super::rerun::{Scratch, rerun};
use super::tables::{Compared, compare};
use super::windows::close;
use super::{ReplayError, Verdict};
use crate::run::{Interrupts, RunContext, recorded_data, recorded_job};

/// One thing that was computed again.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// What: a file of the run, or what a digest stands for.
    pub what: String,
    /// What came of it.
    pub verdict: Verdict,
    /// The same in words.
    pub detail: String,
    /// Row by row, where it is a table that is not the same.
    pub rows: Option<Compared>,
}

impl Part {
    pub(super) fn new(what: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Self {
        Part { what: what.into(), verdict, detail: detail.into(), rows: None }
    }
}

/// An evaluation that was made again.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluatedAgain {
    /// The run.
    pub run: RunId,
    /// Its root.
    pub root: Digest,
    /// The step whose checkpoint was evaluated.
    pub step: u64,
    /// The program.
    pub trainer: Trainer,
    /// What differs between the machine that it ran on and this one.
    pub differences: Vec<Setting>,
    /// Its files.
    pub parts: Vec<Part>,
}

/// Makes the last evaluation of a run again.
pub fn evaluate_again(
    context: &RunContext,
    run: &SealedRun,
    interrupts: &Interrupts,
    progress: &mut dyn Progress,
) -> Result<EvaluatedAgain, ReplayError> {
    let missing = |problem: String, hint: &str| ReplayError::Missing { problem, hint: hint.to_owned() };
    let id = &run.open.run;
    let Some(last) = run.record.evaluations.last() else {
        return Err(missing(format!("run `{id}` has no evaluation"), "`harness replay` computes its training again"));
    };
    let job = recorded_job(run)?;
    let weights = weights(context, run, &job, last.step)?;
    if let Some((path, sha256)) = &weights {
        match Digest::of_file(path) {
            Ok(found) if found == *sha256 => {}
            Ok(_) => {
                let problem = format!("the checkpoint of step {} is not the one that was recorded", last.step);
                return Err(missing(problem, "`harness audit` lists what was changed"));
            }
            Err(error) if error.is_not_found() => {
                let problem = format!("the checkpoint of step {} is not here", last.step);
                return Err(missing(problem, "`harness replay` computes a window of the training, whatever was kept"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let shards: Vec<&Path> = job.validation_shards.iter().map(PathBuf::as_path).collect();
    recorded_data(context.project, run, &shards)?;
    for task in &run.open.tasks {
        let path = context.project.home().join(&task.requests);
        if Digest::of_file(&path).ok() != Some(task.requests_sha256) {
            let problem = format!("`{}` is missing or has changed since the run", task.requests);
            return Err(missing(problem, "`harness audit` says which command restores it"));
        }
    }

    let has = |name: &str| last.files.iter().any(|file| file.path.ends_with(name));
    let is_task = last.files.iter().any(|file| file.path.ends_with(".csv") && !file.path.ends_with("/validation.csv"));
    let sampling = job.sampling.clone().filter(|_| has(GENERATED));
    let at = |wanted: bool| if wanted { vec![last.step] } else { Vec::new() };
    let share = close(job.training.precision);
    let job = Job {
        train_shards: Vec::new(),
        resume_from: weights.map(|(path, _)| path),
        validation_steps: at(has("/validation.csv")),
        token_loss_steps: at(has("/validation.tokens")),
        task_steps: at(is_task),
        sampling,
        checkpoint_steps: Vec::new(),
        ..job
    };
    let about = context.about()?;
    let trainer = Trainer::of(context.launcher.program(), &about.source_sha256, &run.open.binaries)?;
    let scratch = Scratch::new(context)?;
    let told = rerun(context, (job, 1), &scratch, None, interrupts, progress)?;
    if let Some(failure) = told.failure {
        return Err(missing(
            format!("the evaluation could not be made: {}", failure.message),
            failure.hint.as_deref().unwrap_or("`harness doctor` says what is missing"),
        ));
    }
    let differences = match (&run.record.started, &told.started) {
        (Some(recorded), Some(here)) => machine::differences(&run.open, &environment::host(), recorded, here),
        _ => Vec::new(),
    };
    let parts = compare_files(run, last, scratch.path(), &differences, share)?;
    Ok(EvaluatedAgain { run: id.clone(), root: run.root, step: last.step, trainer, differences, parts })
}

/// The file of the weights after a step, and its digest; none of imported weights that were not trained on.
fn weights(
    context: &RunContext,
    run: &SealedRun,
    job: &Job,
    step: u64,
) -> Result<Option<(PathBuf, Digest)>, ReplayError> {
    if let Some(checkpoint) = run.record.checkpoints.iter().rfind(|checkpoint| checkpoint.step == step) {
        return Ok(Some((run.path(&checkpoint.file.path), checkpoint.file.sha256)));
    }
    let evaluated = run.open.evaluates.iter().flat_map(|of| &of.checkpoints).find(|checkpoint| checkpoint.step == step);
    if let (Some(checkpoint), Some(path)) = (evaluated, &job.resume_from) {
        return Ok(Some((context.project.home().join(path), checkpoint.checkpoint_sha256)));
    }
    if step == 0 {
        return Ok(None);
    }
    Err(ReplayError::Missing {
        problem: format!("the record names no checkpoint after step {step}, where it evaluates"),
        hint: "`harness reproduce` trains up to it".to_owned(),
    })
}

/// Holds the files of an evaluation against those that were written below `again`.
pub(super) fn compare_files(
    run: &SealedRun,
    recorded: &Evaluation,
    again: &Path,
    differences: &[Setting],
    share: f64,
) -> Result<Vec<Part>, ReplayError> {
    let mut parts = Vec::new();
    for file in &recorded.files {
        let path = again.join(&file.path);
        if !files::is_file(&path) {
            parts.push(Part::new(&file.path, Verdict::NotDone, "was not computed"));
        } else if Digest::of_file(&path)? == file.sha256 {
            parts.push(Part::new(&file.path, Verdict::Identical, "every row is the same to the bit"));
        } else {
            let (recorded, again) = match file.path.ends_with(GENERATED) {
                true => common_rows(&run.path(&file.path), &path)?,
                false => (as_table(&run.path(&file.path))?, as_table(&path)?),
            };
            let rows = compare(&recorded, &again, share)?;
            let (verdict, why) = if differences.is_empty() {
                (Verdict::Differs, "nothing that is recorded of programs and machine explains it".to_owned())
            } else if rows.rows == 0 {
                (Verdict::NotDone, "nothing can be said: the samples part before their first token".to_owned())
            } else if rows.is_close {
                (Verdict::Close, format!("close, not the same to the bit; the cause: {}", machine::named(differences)))
            } else if machine::is_other_trainer(differences) {
                (Verdict::NotDone, "nothing can be said: the trainer here was built from other sources".to_owned())
            } else {
                (Verdict::Differs, format!("more than this can explain: {}", machine::named(differences)))
            };
            let worst = rows.worst.as_ref().map_or_else(
                || match file.path.ends_with(GENERATED) {
                    true => format!("{} tokens are the same, then others were drawn", rows.rows),
                    false => "the rows are the same, written otherwise".to_owned(),
                },
                |worst| {
                    format!("worst {}: {} {} recorded, {} now", worst.at, worst.column, worst.recorded, worst.again)
                },
            );
            let part = Part::new(&file.path, verdict, format!("{worst}; {why}"));
            parts.push(Part { rows: Some(rows), ..part });
        }
    }
    Ok(parts)
}

/// The tokens that were drawn, as CSV with one a row, as far as both times the same ones were: where last bits differ, one may fall
/// otherwise, and with it all that come after it.
fn common_rows(recorded: &Path, again: &Path) -> Result<(Vec<u8>, Vec<u8>), ReplayError> {
    let (recorded, again) = (read_json_lines(recorded)?, read_json_lines(again)?);
    let rows = |drawn: Vec<GeneratedSample>| {
        let of = |drawn: GeneratedSample| {
            let tokens = drawn.tokens.into_iter().zip(drawn.log_probabilities_nats).enumerate();
            tokens
                .map(move |(at, (token, nats))| format!("{},{at},{token},{nats:?}\n", drawn.sample))
                .collect::<String>()
        };
        let header = "item,position,token,log_probability_nats\n".to_owned();
        drawn.into_iter().map(of).fold(header, |table, rows| table + &rows).into_bytes()
    };
    let [recorded, again] = in_common(&recorded, &again);
    Ok((rows(recorded), rows(again)))
}

/// A file of scores as CSV; the losses of single tokens one a row.
fn as_table(path: &Path) -> Result<Vec<u8>, ReplayError> {
    if path.extension().is_none_or(|extension| extension != "tokens") {
        return Ok(files::read(path)?);
    }
    let losses = TokenLosses::read(path)?;
    let rows = losses.loss_nats.iter().enumerate().map(|(token, loss)| format!("{token},{loss:?}\n"));
    Ok(format!("item,loss_nats\n{}", rows.collect::<String>()).into_bytes())
}
