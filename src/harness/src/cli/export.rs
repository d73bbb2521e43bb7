//! `harness export`: a trained model, the curves of its training, or where it comes from, for other programs.

use std::path::{self, Path, PathBuf};

use super::budget::Standing;
use super::queue::Which;
use super::submit::{Asked, clean};
use super::{Failure, Outcome, Workplace, terminal};
use crate::cluster::skypilot::{BUNDLE, Rental, affordable_s, bundle};
use crate::{cluster, exchange, exit_code};
use harness_core::config::Cluster;
use harness_core::files;
use harness_core::project_file::ProjectFile;
use harness_record::{self as record, RecordError, SealedRun, load_config};
use harness_report::{PAPER_PDF, PAPER_PROOF};
use harness_study::budget::Line;
use harness_study::ledger::phase_of;

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
    /// A task of SkyPilot, for a rented machine: a folder with the commit, the scripts and task.yaml.
    ///
    /// The runs are made one after the other and go on where they were when the machine was taken away. What a run asks for stands in
    /// cluster.toml; what experiments/budget.toml pays for is counted over all starts, and ends them. Exit codes: 0 written; 2 files differ
    /// from the commit, or the budget does not pay; 3 data are not ready.
    Skypilot {
        /// The experiment.
        name: String,
        /// Where to write; a new or empty folder.
        folder: PathBuf,
        #[command(flatten)]
        which: Which,
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
            terminal::say_exactly(&exchange::tensorboard(&run, folder)?.display().to_string());
            return Ok(exit_code::SUCCESS);
        }
        Form::InToto { run, file } => {
            let run = record::choose(&workplace.project, run)?;
            return write(file, &exchange::in_toto(&run));
        }
        Form::Skypilot { name, folder, which } => {
            let (seeds, purpose, over_budget) = (which.seeds(false), which.purpose(), which.reason());
            return skypilot(workplace, &Asked { names: vec![name], seeds, purpose, over_budget }, folder);
        }
        Form::RoCrate { file } => return write(file, &ro_crate(workplace)?),
    };
    let run = record::choose(&workplace.project, run)?;
    let id = run.open.run.clone();
    let exported = exchange::export(&workplace.project, run, *step, folder)?;
    terminal::tell(&format!("run {id}, step {}, as a {}", exported.step, exported.architecture));
    for file in &exported.files {
        terminal::say_exactly(&folder.join(file).display().to_string());
    }
    Ok(exit_code::SUCCESS)
}

fn skypilot(workplace: &Workplace, asked: &Asked, folder: &Path) -> Outcome {
    let project = &workplace.project;
    if files::list(folder).is_ok_and(|there| !there.is_empty()) {
        return Err(Failure::usage(format!("`{}` is not empty\nhint: name a new folder", folder.display())));
    }
    let commit = clean(workplace)?;
    let (_, configs) = asked.look(workplace, |name| Ok((commit.clone(), load_config(project, name)?.experiment)))?;
    let cluster = Cluster::load(project)?.unwrap_or_default();
    let tasks = asked.tasks(workplace, &cluster, &configs)?;
    if tasks.is_empty() {
        terminal::say("nothing is missing");
        return Ok(exit_code::SUCCESS);
    }
    if cluster.processes() > 1 {
        return Err(Failure::usage(
            "cluster.toml has Slurm start several processes of a run, and what is exported rents one machine\n\
             hint: leave `nodes` and `tasks_per_node` out; `training.devices = \"all\"` shares each run out among the GPUs of a machine",
        ));
    }
    let mut data = Vec::new();
    for (name, config) in &configs {
        cluster::asked_for(&cluster, name, config)?.iter().for_each(|warning| terminal::tell(warning));
        for path in cluster::data(project, config, &mut terminal::Screen::new())? {
            let in_store = path.strip_prefix(project.store()).unwrap_or(&path).to_owned();
            data.push((path, in_store));
        }
    }
    let standing = Standing::of(workplace)?;
    let phase = phase_of(tasks[0].purpose, configs.values().any(|config| config.extends.is_some()));
    let lines: Vec<Line> = standing.lines.into_iter().filter(|line| line.phase.is_none_or(|of| of == phase)).collect();
    let limit_s = match asked.over_budget {
        None => affordable_s(&standing.limits, &lines, cluster.gpus),
        Some(_) => None,
    };
    files::create_folder(folder)?;
    let rental = Rental {
        cluster: &cluster,
        limits: &standing.limits,
        folder: path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
        project: workplace.git.project_in(Path::new("")),
        commit: &commit,
        data,
        limit_s,
        tasks: &tasks,
    };
    bundle(project, &rental.folder.join(BUNDLE))?;
    for (name, text) in rental.files() {
        files::write(&folder.join(name), text.as_bytes())?;
        terminal::say_exactly(&folder.join(name).display().to_string());
    }
    terminal::tell(&format!(
        "hint: sky jobs launch {}",
        cluster::quoted(&folder.join("task.yaml").display().to_string())
    ));
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
    Ok(exchange::ro_crate(&name, &ProjectFile::load(project)?.licence, &runs, &papers))
}

fn write(file: &Path, value: &serde_json::Value) -> Outcome {
    let text = serde_json::to_string_pretty(value).expect("it is JSON");
    files::write(file, format!("{text}\n").as_bytes())?;
    terminal::say_exactly(&file.display().to_string());
    Ok(exit_code::SUCCESS)
}
