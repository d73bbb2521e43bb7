//! The weights and the tokenizer of a sealed run, each checked against the digest in its record.

use std::path::{Path, PathBuf};

use harness_core::contract::InitialWeights;
use harness_core::names::Project;
use harness_core::{Digest, files};
use harness_corpus::Tokenizer;

use super::ExchangeError;
use harness_record::SealedRun;

/// Where the weights of a run lie.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// The step that they are of.
    pub step: u64,
    /// The file.
    pub file: WeightsFile,
}

/// A file with weights.
#[derive(Clone, Debug)]
pub(super) enum WeightsFile {
    /// A checkpoint that the run wrote.
    Checkpoint(PathBuf),
    /// What an imported model brought along; the run took no step.
    Imported(InitialWeights),
}

/// The weights after a step, or the last ones.
pub(super) fn chosen(project: &Project, run: &SealedRun, step: Option<u64>) -> Result<Chosen, ExchangeError> {
    let Some(imported) = run.experiment.imported.as_ref().filter(|_| run.record.checkpoints.is_empty()) else {
        return checkpoint(run, step);
    };
    let path = project.imported_weights(&imported.weights_sha256);
    if !files::is_file(&path) {
        let why = "the weights of an imported model are in the data store, which git ignores".to_owned();
        let (name, corpus) = (&run.open.experiment, &run.open.data.corpus);
        let hint = format!("`harness import hf FOLDER --name {name} --corpus {corpus}` restores them");
        return Err(ExchangeError::Missing { path, why, hint });
    }
    let file = WeightsFile::Imported(InitialWeights { path, sha256: imported.weights_sha256 });
    Ok(Chosen { step: 0, file })
}

fn checkpoint(run: &SealedRun, step: Option<u64>) -> Result<Chosen, ExchangeError> {
    let name = run.open.run.to_string();
    let known = &run.record.checkpoints;
    let found = match step {
        Some(step) => known.iter().find(|c| c.step == step),
        None => known.last(),
    };
    let Some(found) = found else {
        let steps: Vec<String> = known.iter().map(|c| c.step.to_string()).collect();
        let (which, hint) = match step {
            Some(step) if !steps.is_empty() => {
                (format!("of step {step}"), format!("there are checkpoints of steps {}", steps.join(", ")))
            }
            _ => ("at all".to_owned(), "only a run that trains writes checkpoints".to_owned()),
        };
        return Err(ExchangeError::NoCheckpoint { run: name, which, hint });
    };
    let path = run.path(&found.file.path);
    let why = "it was pruned, or is still on the machine that wrote it (git ignores checkpoints)";
    let hint = format!("copy it back, or train again: `harness run {}`", run.open.experiment);
    check(&path, found.file.sha256, &name, why, &hint)?;
    Ok(Chosen { step: found.step, file: WeightsFile::Checkpoint(path) })
}

/// The tokenizer that the run was made with.
pub fn tokenizer(project: &Project, run: &SealedRun) -> Result<Tokenizer, ExchangeError> {
    let path = project.root().join(&run.open.data.tokenizer);
    let why = "the tokenizer is in the data store, which git ignores";
    let hint = format!("`harness data prepare {}` restores it", run.open.data.corpus);
    check(&path, run.open.data.tokenizer_sha256, run.open.run.as_str(), why, &hint)?;
    Ok(Tokenizer::from_file(&path, &run.corpus.tokenizer.separator_text)?)
}

fn check(path: &Path, sha256: Digest, run: &str, why: &str, hint: &str) -> Result<(), ExchangeError> {
    if !files::is_file(path) {
        let (why, hint) = (why.to_owned(), hint.to_owned());
        return Err(ExchangeError::Missing { path: path.to_owned(), why, hint });
    }
    if Digest::of_file(path)? != sha256 {
        let hint = hint.to_owned();
        return Err(ExchangeError::Changed { path: path.to_owned(), run: run.to_owned(), hint });
    }
    Ok(())
}
