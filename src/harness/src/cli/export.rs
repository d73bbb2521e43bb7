//! `harness export`: a trained model, the curves of its training, or where it comes from, for other programs.

use std::path::{Path, PathBuf};

use super::{Failure, Outcome, Workplace, terminal};
use crate::{exchange, exit_code};
use harness_core::files;
use harness_record::{self as record, RecordError, SealedRun};
use harness_report::{PAPER_PDF, PAPER_PROOF};

/// Write a trained model, the curves of its training, or where it comes from, for other programs.
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
    /// An in-toto statement with the SLSA provenance of a run, for tools that sign and store such.
    ///
    /// Its subjects are the run's root and the checkpoints that are here; its dependencies the commit, both programs,
    /// the tokenizer and each source of the data. Exit codes: 0 written; 1 a file of the run was changed; 2 no such run.
    InToto {
        /// A run, its folder, or an experiment (its latest citable run).
        run: String,
        /// The file to write.
        file: PathBuf,
    },
    /// The metadata of an RO-Crate over every sealed run, for archives such as Zenodo or WorkflowHub.
    ///
    /// Put beside `experiments/`, as `ro-crate-metadata.json`, it makes the folder a crate; paths in it are relative to the project.
    /// Exit codes: 0 written; 1 a run was changed; 2 there is no run.
    RoCrate {
        /// The file to write.
        file: PathBuf,
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
        Form::InToto { run, file } => {
            let run = record::choose(&workplace.project, run)?;
            return write(file, &exchange::in_toto(&run));
        }
        Form::RoCrate { file } => return write(file, &ro_crate(workplace)?),
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

fn ro_crate(workplace: &Workplace) -> Result<serde_json::Value, Failure> {
    let project = &workplace.project;
    let mut runs = Vec::new();
    for (experiment, run) in record::all_runs(project)? {
        match SealedRun::open(project, &experiment, &run) {
            Ok(sealed) => runs.push(sealed),
            Err(error @ RecordError::NotSealed { .. }) => terminal::tell(&format!("left out: {error}")),
            Err(error) => return Err(error.into()),
        }
    }
    if runs.is_empty() {
        return Err(Failure::usage("there is no sealed run\nhint: `harness run NAME` makes one"));
    }
    let papers = [(PAPER_PDF, "application/pdf"), (PAPER_PROOF, "application/json")];
    let there = papers.into_iter().filter(|(path, _)| project.root().join(path).is_file());
    let papers: Vec<(String, &'static str)> = there.map(|(path, mime)| (path.to_owned(), mime)).collect();
    let name = project.root().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(exchange::ro_crate(&name, &runs, &papers))
}

fn write(file: &Path, value: &serde_json::Value) -> Outcome {
    let text = serde_json::to_string_pretty(value).expect("it is JSON");
    files::write(file, format!("{text}\n").as_bytes())?;
    terminal::say(&file.display().to_string());
    Ok(exit_code::SUCCESS)
}
