//! What is refused before anything is handed over: a node of the cluster makes nothing ready, and a mistake that shows there
//! shows hours later.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness_core::config::{Choices, Cluster, Device, Scheduler};
use harness_core::files;
use harness_core::names::Project;
use harness_corpus::tasks::{self, TaskRecipe};
use harness_corpus::{Progress, Recipe, Store};
use harness_record::load_config;

use super::error::ClusterError;
use super::submission::{Task, expected};
use crate::run::expected::Pace;
use crate::run::forecast::{ASSUMED_UTILIZATION, Corpus, Forecast, Rate};
use crate::run::processors::Gpu;
use crate::run::{self, Options, RunContext, RunError};

/// Beyond what runs took: other nodes are slower, and so are disks at noon.
const HEAD_ROOM: f64 = 4.0 / 3.0;
/// Seconds for what comes before the first step and after the last.
const AROUND_S: f64 = 300.0;

/// Refuses an experiment whose data are not ready, or that does not go with the cluster. A task whose files are here is made ready
/// by the way, which takes seconds.
pub fn ready(
    context: &RunContext,
    cluster: &Cluster,
    config: &Choices,
    progress: &mut dyn Progress,
) -> Result<(), ClusterError> {
    fits(cluster, config, context.launcher.program())?;
    data(context.project, config, progress).map(drop)
}

/// Refuses runs that could not begin from their trunks, whose data are ready.
pub fn starts(context: &RunContext, tasks: &[Task], progress: &mut dyn Progress) -> Result<(), ClusterError> {
    for task in tasks {
        let Task { experiment, trial, seed, purpose, .. } = task;
        let options = Options { trial: *trial, seed: Some(*seed), purpose: *purpose, ..Options::default() };
        run::check_start(context, experiment, &options, progress)?;
    }
    Ok(())
}

/// What a run of an experiment reads of the data store: folders and files that have a digest in their names.
pub fn data(project: &Project, config: &Choices, progress: &mut dyn Progress) -> Result<Vec<PathBuf>, ClusterError> {
    let store = Store::of(project);
    let recipe = Recipe::load(project, &config.corpus)?;
    let not_ready = |what, name: &str, command: &str| ClusterError::NotReady {
        what,
        name: name.to_owned(),
        hint: format!("`harness data {command} {name}`"),
    };
    let corpus = harness_corpus::undamaged(&recipe, &store).map_err(RunError::from)?;
    let corpus = corpus.ok_or_else(|| not_ready("corpus", recipe.name(), "prepare"))?;
    let tokenizer = corpus.tokenizer().map_err(harness_corpus::CorpusError::from).map_err(RunError::from)?;
    let mut paths = vec![corpus.folder().to_owned()];
    let items = config.evaluation.items_per_task;
    for task in &config.evaluation.tasks {
        let recipe = TaskRecipe::load(project, task)?;
        let prepared = match tasks::undamaged(&recipe, &tokenizer, items, &store) {
            Some(prepared) => prepared,
            None if recipe.remotes().iter().all(|remote| files::is_file(&store.download(&remote.sha256))) => {
                tasks::prepare(&recipe, &tokenizer, items, &store, progress).map_err(RunError::from)?
            }
            None => return Err(not_ready("task", task, "fetch")),
        };
        paths.push(prepared.folder().to_owned());
    }
    paths.extend(config.imported.as_ref().map(|imported| project.imported_weights(&imported.weights_sha256)));
    Ok(paths)
}

/// Refuses an experiment whose device is not what is asked for, and a trainer that could not use it.
fn fits(cluster: &Cluster, config: &Choices, trainer: &Path) -> Result<(), ClusterError> {
    let unfit =
        |problem: &str, hint: &str| Err(ClusterError::Unfit { problem: problem.to_owned(), hint: hint.to_owned() });
    match (config.training.device, cluster.gpus) {
        (Device::Cuda, 0) => {
            return unfit(
                "`training.device` is \"cuda\", and cluster.toml asks for no GPU",
                "state `gpus = 1` in cluster.toml",
            );
        }
        (Device::Cpu, 1..) => {
            return unfit(
                "`training.device` is \"cpu\", so that the GPU that cluster.toml asks for would be idle",
                "set `training.device = \"auto\"`, or leave `gpus` out of cluster.toml",
            );
        }
        _ => {}
    }
    let processes = cluster.processes();
    if processes > 1
        && let Some(problem) = config.training.not_shared_out(processes)
    {
        return Err(RunError::NotSharedOut { problem, ranks: processes }.into());
    }
    if cluster.gpus > 0 && serves_cuda(trainer) == Some(false) {
        return unfit(
            "cluster.toml asks for a GPU, and the libtorch of the trainer is one for processors alone",
            "`make setup build PROFILE=release LIBTORCH=cuda` installs the other and builds with it",
        );
    }
    Ok(())
}

/// Whether the libtorch that a trainer is linked with serves CUDA, which needs no GPU to be seen; none where nothing says.
fn serves_cuda(trainer: &Path) -> Option<bool> {
    let output = Command::new("ldd").arg(trainer).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("libtorch_cpu.so =>"))?;
    let path = line.split("=> ").nth(1)?.split(" (").next()?.trim();
    Some(files::is_file(&Path::new(path).with_file_name("libtorch_cuda.so")))
}

/// The time limit to ask for, in seconds: as stated, else what the longest of the runs takes there, with a third on top, in whole
/// minutes. HTCondor needs none.
pub fn time_s(project: &Project, cluster: &Cluster, tasks: &[Task]) -> Result<Option<u64>, ClusterError> {
    if cluster.time.is_some() || cluster.scheduler == Scheduler::Htcondor {
        return Ok(cluster.time_s());
    }
    let pace = Pace::on_cluster(project)?;
    let mut longest: f64 = 0.0;
    for task in tasks {
        let known = expected(project, task, &pace)?.map(|expected| expected.seconds);
        let seconds = match known {
            Some(seconds) => seconds,
            None => by_data_sheet(project, cluster, task)?.ok_or_else(|| ClusterError::Unfit {
                problem: format!(
                    "no run there says yet how long one of `{}` takes, so that no time limit can be asked for",
                    task.experiment
                ),
                hint: "state one in cluster.toml, such as `time = \"08:00:00\"`, until the first run is complete"
                    .to_owned(),
            })?,
        };
        longest = longest.max(seconds);
    }
    Ok(Some(60 * ((HEAD_ROOM * longest + AROUND_S) / 60.0).ceil() as u64))
}

/// What a run takes by the data sheet of the GPU that is asked for, if that is a known one.
fn by_data_sheet(project: &Project, cluster: &Cluster, task: &Task) -> Result<Option<f64>, ClusterError> {
    let Some(gpu) = cluster.gpu_type.as_deref().and_then(Gpu::find) else { return Ok(None) };
    let config = load_config(project, &task.experiment)?.experiment;
    let corpus = Corpus::of(project, &config.corpus)?.with_tasks(project, &config);
    let rate = Rate::DataSheet { gpu: *gpu, utilization: ASSUMED_UTILIZATION };
    let tokens_per_s = rate.tokens_per_s(&config, corpus.vocabulary_size);
    let resolved = config.resolved(corpus.vocabulary_size, Some(tokens_per_s)).map_err(RunError::from)?;
    Ok(Forecast::of(&resolved, corpus, Some(rate)).time_s)
}
