//! The job that a plan gives its trainer: written before the run, and made again by whoever audits it.

use std::path::{Path, PathBuf};

use harness_core::config::Experiment;
use harness_core::contract::{self, Evaluation, InitialWeights, Job, JobTask, Sampling};
use harness_core::names::Project;
use harness_core::samples::GENERATED;

use crate::format::{Evaluated, Open, Task};

/// What a job says beyond its experiment. Every path is relative to the project.
#[derive(Clone, Debug, Default)]
pub struct Given<'a> {
    /// Folder for everything the trainer writes.
    pub output: PathBuf,
    /// Token ids the model tells apart.
    pub vocabulary_size: u32,
    /// The token that begins every document.
    pub separator: u32,
    /// Training shards in order.
    pub train_shards: Vec<PathBuf>,
    /// Validation shards in order.
    pub validation_shards: Vec<PathBuf>,
    /// Tasks to score.
    pub tasks: &'a [Task],
    /// Step and path of the checkpoint to go on from.
    pub resume_from: Option<(u64, PathBuf)>,
    /// Evaluations that are taken over, not computed again.
    pub taken_over: &'a [Evaluation],
}

impl<'a> Given<'a> {
    /// What the opened record of a run gives.
    pub fn by(open: &'a Open, separator: u32, taken_over: &'a [Evaluation]) -> Self {
        let places = Project::at("");
        let shards = |split: &str| {
            let of_split = open.data.shards.iter().filter(|shard| shard.split == split);
            of_split.map(|shard| PathBuf::from(&shard.path)).collect()
        };
        let resume_from = open.resumed_from.as_ref().map(|from| {
            let folder = places.run(from.experiment.as_ref().unwrap_or(&open.experiment), &from.run);
            (from.step, folder.join(contract::checkpoint_path(from.step)))
        });
        Given {
            output: places.run(&open.experiment, &open.run),
            vocabulary_size: open.data.vocabulary_size,
            separator,
            train_shards: shards("train"),
            validation_shards: shards("validation"),
            tasks: &open.tasks,
            resume_from,
            taken_over,
        }
    }
}

/// What an experiment with these tasks evaluates after a step, as files of the run folder, in their order.
pub fn evaluated_after(experiment: &Experiment, tasks: &[Task], step: u64) -> Vec<String> {
    let (evaluation, steps) = (&experiment.evaluation, experiment.training.steps);
    let has = |steps: Vec<u64>| steps.binary_search(&step).is_ok();
    let validation = has(evaluation.validation_steps(steps));
    evaluation_files(
        tasks,
        step,
        validation,
        validation && has(evaluation.token_loss_steps(steps)),
        has(evaluation.task_steps(steps)),
        false,
    )
}

/// The files of one evaluation, in their order.
pub fn evaluation_files(
    tasks: &[Task],
    step: u64,
    validation: bool,
    tokens: bool,
    scored: bool,
    sampled: bool,
) -> Vec<String> {
    let names = validation.then(|| "validation.csv".to_owned()).into_iter();
    let names = names.chain(tokens.then(|| "validation.tokens".to_owned()));
    let names = names.chain(tasks.iter().filter(|_| scored).map(|task| format!("{}.csv", task.id)));
    let names = names.chain(sampled.then(|| GENERATED.to_owned()));
    names.map(|name| format!("evaluations/step-{step:08}/{name}")).collect()
}

/// All choices, in the trainer's terms.
pub fn job(experiment: &Experiment, given: &Given<'_>) -> Job {
    let (evaluation, training) = (&experiment.evaluation, &experiment.training);
    let steps = training.steps;
    // What the earlier run already evaluated is taken over, not computed again.
    let first = given.resume_from.as_ref().map_or(0, |(step, _)| *step);
    let done = |name: &str| {
        let ends = format!("/{name}.csv");
        given.taken_over.iter().any(|e| e.step == first && e.files.iter().any(|f| f.path.ends_with(&ends)))
    };
    let (validated, scored) = (done("validation"), given.tasks.first().is_some_and(|task| done(&task.id)));
    let from = |all: Vec<u64>, done: bool| {
        all.into_iter().filter(|&step| step > first || (step == first && !done)).collect::<Vec<_>>()
    };
    Job {
        version: contract::VERSION,
        output: given.output.clone(),
        seed: experiment.seed,
        model: experiment.model.clone(),
        vocabulary_size: given.vocabulary_size,
        separator: given.separator,
        optimizer: experiment.optimizer.clone(),
        schedule: experiment.schedule.clone(),
        training: training.clone(),
        metrics: experiment.metrics.clone(),
        // An imported model may be evaluated only.
        train_shards: if steps == 0 { Vec::new() } else { given.train_shards.clone() },
        validation_shards: given.validation_shards.clone(),
        tasks: given.tasks.iter().map(job_task).collect(),
        validation_steps: from(evaluation.validation_steps(steps), validated),
        token_loss_steps: from(evaluation.token_loss_steps(steps), validated),
        task_steps: from(evaluation.task_steps(steps), scored),
        sampling: None,
        evaluation_batch_size: evaluation.batch_size,
        checkpoint_steps: training.checkpoint_steps(),
        resume_from: given.resume_from.as_ref().map(|(_, path)| path.clone()),
        initial_weights: experiment.imported.as_ref().map(|imported| InitialWeights {
            path: Project::at("").imported_weights(&imported.weights_sha256),
            sha256: imported.weights_sha256,
        }),
    }
}

/// The job that evaluates one checkpoint of the run whose `job` this is: the loss on the validation text if it is asked for
/// (of each token too, with the last of the checkpoints), the tasks, and samples of text.
pub fn evaluation(
    job: &Job,
    evaluated: &Evaluated,
    step: u64,
    given: &Given<'_>,
    folder: &Path,
    validate: bool,
    sampling: Option<Sampling>,
) -> Job {
    let at = |wanted: bool| if wanted { vec![step] } else { Vec::new() };
    let is_last = evaluated.checkpoints.last().is_some_and(|last| last.step == step);
    Job {
        output: given.output.clone(),
        train_shards: Vec::new(),
        validation_steps: at(validate),
        token_loss_steps: at(validate && is_last),
        task_steps: at(!given.tasks.is_empty()),
        tasks: given.tasks.iter().map(job_task).collect(),
        checkpoint_steps: Vec::new(),
        sampling,
        resume_from: Some(folder.join(contract::checkpoint_path(step))),
        ..job.clone()
    }
}

/// A task in the trainer's terms.
fn job_task(task: &Task) -> JobTask {
    let (id, requests) = (task.id.clone(), PathBuf::from(&task.requests));
    JobTask { id, requests, rolling_stride: task.rolling_stride }
}
