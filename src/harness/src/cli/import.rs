//! `harness import`: a model of another program as an experiment.

use std::path::PathBuf;

use super::{Outcome, Workplace, terminal};
use crate::exchange::{self, Request};
use crate::exit_code;

/// Import a model that another program trained, to evaluate it like your own.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    form: Form,
}

#[derive(clap::Subcommand)]
enum Form {
    /// From a folder of Hugging Face's `transformers`: GPT2LMHeadModel, or LlamaForCausalLM where it coincides.
    ///
    /// Writes experiments/NAME/experiment.toml with the model's choices and the digests of the files it came from, and
    /// experiments/corpora/NAME.toml, the recipe of --corpus with the model's tokenizer. The weights go to the data
    /// store. Commit the two files; then `harness run NAME` evaluates and seals a record. With `training.steps` above
    /// 0 the run trains on from these weights. If NAME already exists, only the store is refilled.
    ///
    /// Exit codes: 0 done; 1 a file cannot be read or written; 2 the model has no equivalent, or NAME is another
    /// experiment.
    Hf {
        /// The folder: config.json, model.safetensors, tokenizer.json.
        folder: PathBuf,
        /// The experiment to create.
        #[arg(long)]
        name: String,
        /// The corpus whose validation text is scored.
        #[arg(long)]
        corpus: String,
        /// Tasks to score, comma-separated.
        #[arg(long, value_delimiter = ',')]
        tasks: Vec<String>,
    },
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let Form::Hf { folder, name, corpus, tasks } = &arguments.form;
    let name = name.parse()?;
    let imported = exchange::import(&workplace.project, &Request { folder, name: &name, corpus, tasks })?;
    terminal::tell(&format!("a {} with weights {}", imported.config.class, imported.config.weights_sha256));
    for (file, sha256) in &imported.config.files {
        terminal::say(&format!("{sha256}  {file}"));
    }
    if imported.known {
        terminal::tell(&format!("`{name}` already exists with these weights; they are in the store now"));
    } else {
        let written = imported.written.iter().map(|path| path.display().to_string());
        let written = written.collect::<Vec<_>>().join("\n  ");
        terminal::tell(&format!("wrote\n  {written}\nhint: commit them, then `harness run {name}`"));
    }
    Ok(exit_code::SUCCESS)
}
