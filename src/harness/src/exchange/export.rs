//! A run as a folder that `transformers` loads: config.json, model.safetensors, tokenizer.json with its two configs,
//! generation_config.json, and a model card.

use std::path::Path;

use harness_core::files;
use harness_core::hugging_face::{Architecture, config, tensors};
use harness_core::names::Project;
use harness_core::weights::{self, Tensors};
use serde_json::json;

use super::checkpoint::{WeightsFile, chosen, tokenizer};
use super::{ExchangeError, card};
use harness_analyse::RunAnalysis;
use harness_record::{SealedRun, pretty};

/// What was written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The class that loads it.
    pub architecture: Architecture,
    /// The step of the checkpoint that it holds.
    pub step: u64,
    /// The files, sorted.
    pub files: Vec<String>,
}

/// Writes the last checkpoint of a run, or that of a step, into a new or empty folder.
pub fn export(project: &Project, run: SealedRun, step: Option<u64>, folder: &Path) -> Result<Exported, ExchangeError> {
    let model = &run.experiment.model;
    let architecture = Architecture::of(model)?;
    if !files::list(folder)?.is_empty() {
        return Err(ExchangeError::NotEmpty { path: folder.to_owned() });
    }
    let chosen = chosen(project, &run, step)?;
    let tokenizer = tokenizer(project, &run)?;
    let vocabulary_size = run.open.data.vocabulary_size;
    let separator = (tokenizer.separator(), run.corpus.tokenizer.separator_text.clone());

    let ours = match &chosen.file {
        WeightsFile::Checkpoint(path) => {
            // The weights that were evaluated: their average over the steps, where the run kept one.
            let prefix = if run.experiment.training.ema_decay > 0.0 { "average." } else { "model." };
            let read = weights::read(path, |name| name.starts_with(prefix))?;
            read.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect::<Tensors>()
        }
        WeightsFile::Imported(weights) => weights::read(&weights.path, |_| true)?,
    };
    let theirs = tensors::to_hugging_face(architecture, model, vocabulary_size, &ours)?;
    weights::write(&folder.join("model.safetensors"), &theirs)?;

    let config = config::write(architecture, model, vocabulary_size, separator.0);
    files::write(&folder.join("config.json"), pretty(&config).as_bytes())?;
    files::write(&folder.join("tokenizer.json"), tokenizer.json())?;
    // Text that spells the separator is text, here as in training: only the id itself separates.
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.context_length,
        "bos_token": separator.1,
        "eos_token": separator.1,
        "unk_token": separator.1,
        "split_special_tokens": true,
        "clean_up_tokenization_spaces": false,
    });
    files::write(&folder.join("tokenizer_config.json"), pretty(&tokenizer_config).as_bytes())?;
    let special = json!({ "bos_token": separator.1, "eos_token": separator.1, "unk_token": separator.1 });
    files::write(&folder.join("special_tokens_map.json"), pretty(&special).as_bytes())?;
    let generation = json!({ "bos_token_id": separator.0, "eos_token_id": separator.0 });
    files::write(&folder.join("generation_config.json"), pretty(&generation).as_bytes())?;

    let about = (chosen.step, weights::digest_of(&ours));
    let card = card::write(&RunAnalysis::of(run)?, architecture, about);
    files::write(&folder.join("README.md"), card.as_bytes())?;
    Ok(Exported { architecture, step: chosen.step, files: files::list(folder)? })
}
