//! Text that a model goes on to: tokenized here, continued by the trainer, and turned back into text.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use harness_core::contract::{GenerateJob, GeneratedSample, VERSION};
use harness_core::names::Project;
use harness_core::samples::GENERATED;
use harness_core::scores::read_json_lines;

use super::ExchangeError;
use super::checkpoint::{WeightsFile, chosen, tokenizer};
use crate::run::Draw;
use harness_record::SealedRun;

/// One continuation.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The tokens and their probabilities.
    pub sample: GeneratedSample,
    /// The same as text, without the prompt.
    pub text: String,
}

/// Lets the trainer continue a text, with the weights after `step` or the last ones.
pub fn generate(
    project: &Project,
    run: &SealedRun,
    draw: &Draw,
    step: Option<u64>,
    trainer: &Path,
) -> Result<Vec<Generated>, ExchangeError> {
    let tokenizer = tokenizer(project, run)?;
    let (checkpoint, initial_weights) = match chosen(project, run, step)?.file {
        WeightsFile::Checkpoint(path) => (Some(path), None),
        WeightsFile::Imported(weights) => (None, Some(weights)),
    };
    let job = GenerateJob {
        version: VERSION,
        model: run.experiment.model.clone(),
        vocabulary_size: run.open.data.vocabulary_size,
        training: run.experiment.training.clone(),
        checkpoint,
        initial_weights,
        separator: tokenizer.separator(),
        sampling: draw.sampling(&tokenizer)?,
    };
    let samples = ask(trainer, &job)?;
    let with_text = |sample: GeneratedSample| {
        let text = tokenizer.decode(&sample.tokens)?;
        Ok(Generated { sample, text })
    };
    samples.into_iter().map(with_text).collect()
}

/// What a run keeps that was drawn.
pub fn kept(run: &SealedRun) -> Result<Vec<Generated>, ExchangeError> {
    let files = run.record.evaluations.iter().flat_map(|evaluation| &evaluation.files);
    let drawn = files.filter(|listed| listed.path.ends_with(GENERATED));
    let drawn: Result<Vec<Vec<GeneratedSample>>, _> =
        drawn.map(|listed| read_json_lines(&run.path(&listed.path))).collect();
    let texts = run.samples()?.into_iter().map(|line| line.text);
    Ok(drawn?.into_iter().flatten().zip(texts).map(|(sample, text)| Generated { sample, text }).collect())
}

fn ask(trainer: &Path, job: &GenerateJob) -> Result<Vec<GeneratedSample>, ExchangeError> {
    let refused = |problem: String| ExchangeError::Trainer { trainer: trainer.to_owned(), problem };
    let threads = job.training.threads.to_string();
    let mut child = Command::new(trainer)
        .arg("generate")
        .env("OMP_WAIT_POLICY", "passive")
        .env("OMP_NUM_THREADS", &threads)
        .env("MKL_NUM_THREADS", &threads)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| refused(format!("could not start it: {e}\nhint: `{}` builds it", harness_build::MAKE)))?;
    let json = serde_json::to_vec(job).expect("plain values are JSON");
    // A trainer that ends before it has read the job says why on standard error.
    let _ = child.stdin.take().map(|mut input| input.write_all(&json));
    let output = child.wait_with_output().map_err(|e| refused(e.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(refused(said.trim().trim_start_matches("error: ").to_owned()));
    }
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).map_err(|e| refused(format!("could not read an answer: {e}"))))
        .collect()
}
