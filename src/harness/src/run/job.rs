//! The job: a resolved experiment and its data in the trainer's terms. Everything that trains or evaluates begins with
//! one, be it a run, a short run or the evaluation of a checkpoint.

use std::path::{Path, PathBuf};

use harness_core::config::Experiment;
use harness_core::contract::{self, InitialWeights, Job, JobTask};
use harness_core::names::Project;
use harness_corpus::PreparedCorpus;
use harness_record::format::Task;

use super::resume::Origin;

/// All choices, in the trainer's terms. Every path is relative to the project.
pub(super) fn job(
    project: &Project,
    folder: &Path,
    experiment: &Experiment,
    corpus: &PreparedCorpus,
    tasks: &[Task],
    origin: Option<&Origin>,
) -> Job {
    let place = |path: &Path| PathBuf::from(relative(project, path));
    let places = |paths: Vec<PathBuf>| paths.iter().map(|p| place(p)).collect::<Vec<_>>();
    let (evaluation, training) = (&experiment.evaluation, &experiment.training);
    let steps = training.steps;
    // What the earlier run already evaluated is taken over, not computed again.
    let first = origin.map_or(0, |o| o.checkpoint.step);
    let done = |name: &str| {
        origin.is_some_and(|o| {
            let ends = format!("/{name}.csv");
            o.evaluations().iter().any(|e| e.step == first && e.files.iter().any(|f| f.path.ends_with(&ends)))
        })
    };
    let (validated, scored) = (done("validation"), tasks.first().is_some_and(|task| done(&task.id)));
    let from = |all: Vec<u64>, done: bool| {
        all.into_iter().filter(|&step| step > first || (step == first && !done)).collect::<Vec<_>>()
    };
    Job {
        version: contract::VERSION,
        output: place(folder),
        seed: experiment.seed,
        model: experiment.model.clone(),
        vocabulary_size: corpus.manifest().tokenizer.vocabulary_size,
        separator: corpus.manifest().tokenizer.separator,
        optimizer: experiment.optimizer.clone(),
        schedule: experiment.schedule.clone(),
        training: training.clone(),
        metrics: experiment.metrics.clone(),
        // An imported model may be evaluated only.
        train_shards: if steps == 0 { Vec::new() } else { places(corpus.train_shards()) },
        validation_shards: places(corpus.validation_shards()),
        tasks: tasks.iter().map(job_task).collect(),
        validation_steps: from(evaluation.validation_steps(steps), validated),
        token_loss_steps: from(evaluation.token_loss_steps(steps), validated),
        task_steps: from(evaluation.task_steps(steps), scored),
        evaluation_batch_size: evaluation.batch_size,
        checkpoint_steps: training.checkpoint_steps(),
        resume_from: origin.map(|o| place(&o.checkpoint_path())),
        initial_weights: experiment.imported.as_ref().map(|imported| InitialWeights {
            path: place(&project.imported_weights(&imported.weights_sha256)),
            sha256: imported.weights_sha256,
        }),
    }
}

/// A task in the trainer's terms.
pub(super) fn job_task(task: &Task) -> JobTask {
    let (id, requests) = (task.id.clone(), PathBuf::from(&task.requests));
    JobTask { id, requests, rolling_stride: task.rolling_stride }
}

/// A path as it stands in records: relative to the project, with `/`.
pub(super) fn relative(project: &Project, path: &Path) -> String {
    // A snapshot may lie below the home, so that its files are looked for there first.
    let path = path.strip_prefix(project.root()).or_else(|_| path.strip_prefix(project.home())).unwrap_or(path);
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
