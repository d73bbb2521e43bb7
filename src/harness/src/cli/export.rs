//! `harness export`: a trained model, or the curves of its training, for other programs.

use std::path::PathBuf;

use super::{Outcome, Workplace, terminal};
use crate::{exchange, exit_code};
use harness_record as record;

/// Write a trained model, or the curves of its training, for other programs.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    form: Form,
}

#[derive(clap::Subcommand)]
enum Form {
    /// As a folder that Hugging Face's `transformers` loads: weights, config, tokenizer, model card.
    ///
    /// A model with the choices of GPT-2 becomes a GPT2LMHeadModel; one with rotary positions, RMS norm and SwiGLU a
    /// LlamaForCausalLM. Any other is refused with the keys of `[model]` that have no equivalent. The checkpoint and
    /// the tokenizer are checked against the record first.
    ///
    /// Exit codes: 0 written; 1 a file is not the one that was recorded; 2 no equivalent, no such run, or the
    /// folder is not empty; 3 the checkpoint or the tokenizer is missing.
    Hf {
        /// A run, its folder, or an experiment (its latest citable run).
        run: String,
        /// Where to write; a new or empty folder.
        folder: PathBuf,
        /// The checkpoint after this step instead of the last one.
        #[arg(long)]
        step: Option<u64>,
    },
    /// The curves of a run as an event file for TensorBoard: every column of steps.csv, tensor_norms.csv and activations.csv,
    /// and the validation loss.
    ///
    /// The file is `<FOLDER>/<experiment>/<run>/...`, so several runs can share a folder: `tensorboard --logdir
    /// FOLDER`. Exit codes: 0 written; 1 a file of the run was changed; 2 no such run.
    Tensorboard {
        /// A run, its folder, or an experiment (its latest citable run).
        run: String,
        /// Where to write.
        folder: PathBuf,
    },
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let (run, folder, step) = match &arguments.form {
        Form::Hf { run, folder, step } => (run, folder, step),
        Form::Tensorboard { run, folder } => {
            let run = record::choose(&workplace.project, run)?;
            terminal::say(&exchange::tensorboard(&run, folder)?.display().to_string());
            return Ok(exit_code::SUCCESS);
        }
    };
    let run = record::choose(&workplace.project, run)?;
    let id = run.open.run.clone();
    let exported = exchange::export(&workplace.project, run, *step, folder)?;
    terminal::tell(&format!("run {id}, step {}, as a {}", exported.step, exported.architecture));
    for file in &exported.files {
        terminal::say(&folder.join(file).display().to_string());
    }
    Ok(exit_code::SUCCESS)
}
