//! What is refused before anything is handed over: a node of the cluster makes nothing ready, and a mistake that shows there
//! shows hours later.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness_core::config::{Choices, Cluster, Device, Devices, Scheduler};
use harness_core::files;
use harness_core::names::{ExperimentName, Project};
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
/// by the way, which takes seconds. Gives the warnings of [`asked_for`].
pub fn ready(
    context: &RunContext,
    cluster: &Cluster,
    name: &ExperimentName,
    config: &Choices,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, ClusterError> {
    let warnings = asked_for(cluster, name, config)?;
    serves(cluster, context.launcher.program())?;
    data(context.project, config, progress)?;
    Ok(warnings)
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

/// Refuses an experiment that could not run with what is asked for. Gives what should be looked at all the same, a warning each with
/// what to change.
pub fn asked_for(cluster: &Cluster, name: &ExperimentName, config: &Choices) -> Result<Vec<String>, ClusterError> {
    let unfit = |problem: String, hint: String| Err(ClusterError::Unfit { problem, hint });
    let training = &config.training;
    let gpus = cluster.gpus;
    match (training.device, gpus) {
        (Device::Cuda, 0) => {
            return unfit(
                "`training.device` is \"cuda\", and cluster.toml asks for no GPU".to_owned(),
                "state `gpus = 1` in cluster.toml".to_owned(),
            );
        }
        (Device::Cpu, 1..) => {
            return unfit(
                "`training.device` is \"cpu\", so that the GPU that cluster.toml asks for would be idle".to_owned(),
                "set `training.device = \"auto\"`, or leave `gpus` out of cluster.toml".to_owned(),
            );
        }
        _ => {}
    }
    let (ranks, is_alone) = (cluster.ranks(training), cluster.processes() == 1);
    if is_alone && gpus > 0 && ranks > gpus {
        return unfit(
            format!(
                "`training.devices` of `{name}` is {ranks}, and cluster.toml asks for {} only",
                counted(gpus, "GPU")
            ),
            format!(
                "state `gpus = {ranks}` in cluster.toml, or set `training.devices` to \"all\" or to a number up to {gpus}"
            ),
        );
    }
    if let Some(problem) = training.not_shared_out(ranks).filter(|_| ranks > 1) {
        return Err(RunError::NotSharedOut { problem, ranks }.into());
    }
    let mut warnings = Vec::new();
    if is_alone && ranks < gpus {
        let idle = gpus - ranks;
        warnings.push(format!(
            "warning: cluster.toml asks for {} for each run, and `{name}` computes on {ranks} (`training.devices`): the other {}, and \
             paid for\nhint: set `training.devices = \"all\"`, or state `gpus = {ranks}` in cluster.toml",
            counted(gpus, "GPU"),
            if idle == 1 { "one is idle".to_owned() } else { format!("{idle} are idle") }
        ));
    }
    if !is_alone
        && let Devices::Count(devices) = training.devices
        && !training.devices.is_one()
        && devices.get() != cluster.tasks_per_node()
    {
        warnings.push(format!(
            "warning: each run of `{name}` is shared out among the {ranks} processes that cluster.toml has Slurm start, and not by \
             `training.devices = {devices}`\nhint: leave `training.devices` out, or change `nodes`, `gpus` or `tasks_per_node`"
        ));
    }
    let on_node = if is_alone { ranks } else { cluster.tasks_per_node() };
    let threads = on_node * training.threads;
    if gpus == 0 && on_node > 1 && threads > cluster.cpus {
        warnings.push(format!(
            "warning: {on_node} processes of {} for each run of `{name}` (`training.threads`), and cluster.toml asks for {}: they wait \
             for each other\nhint: state `cpus = {threads}` in cluster.toml",
            counted(training.threads, "thread"),
            counted(cluster.cpus, "core")
        ));
    }
    Ok(warnings)
}

fn counted(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Refuses a trainer that could not use what is asked for.
fn serves(cluster: &Cluster, trainer: &Path) -> Result<(), ClusterError> {
    if cluster.gpus == 0 || serves_cuda(trainer) != Some(false) {
        return Ok(());
    }
    Err(ClusterError::Unfit {
        problem: "cluster.toml asks for a GPU, and the libtorch of the trainer is one for processors alone".to_owned(),
        hint: "`make setup build PROFILE=release LIBTORCH=cuda` installs the other and builds with it".to_owned(),
    })
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
/// minutes. HTCondor needs none. With notes on what that was computed from, where runs there were made in another way.
pub fn time_s(
    project: &Project,
    cluster: &Cluster,
    tasks: &[Task],
) -> Result<(Option<u64>, BTreeSet<String>), ClusterError> {
    let mut caveats = BTreeSet::new();
    if cluster.time.is_some() || cluster.scheduler == Scheduler::Htcondor {
        return Ok((cluster.time_s(), caveats));
    }
    let mut caveat = |name: &ExperimentName, what: &str| {
        caveats.insert(format!("note: the time limit of `{name}` is {what}; `time` of cluster.toml states another"));
    };
    let pace = Pace::on_cluster(project)?.submitted_to(cluster);
    let mut longest: f64 = 0.0;
    for task in tasks {
        let known = expected(project, task, &pace)?;
        known.iter().filter_map(|known| known.caveat.as_ref()).for_each(|text| caveat(&task.experiment, text));
        let seconds = match known {
            Some(expected) => expected.seconds,
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
    Ok((Some(60 * ((HEAD_ROOM * longest + AROUND_S) / 60.0).ceil() as u64), caveats))
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
