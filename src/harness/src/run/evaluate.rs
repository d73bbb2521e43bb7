//! Evaluating kept checkpoints of an earlier run: a run of its own, which trains nothing, names the root of the run whose
//! weights it reads, and gives every metric a point for each checkpoint.
//!
//! Config, data and seed are those of the earlier run as it was sealed, not of the working tree; tasks are the recipes of
//! the working tree. It takes over the steps of the earlier run up to its last checkpoint, so that whatever can be asked
//! of that run's training can be asked of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness_core::contract::{self, Checkpoint, Job};
use harness_core::corpus_manifest::ListedFile;
use harness_core::names::Project;
use harness_core::scores::{StepLine, read_csv};
use harness_core::{Digest, files};
use harness_corpus::tasks::TaskRecipe;
use harness_corpus::{CorpusError, PreparedCorpus, Progress, Store, Tokenizer};
use harness_record::format::{self, Evaluated, EvaluatedCheckpoint, Open, SeedRule, Status, file};
use harness_record::job::{self, Given};
use harness_record::{self as record, Inherited, Opening, SealedRun, environment};

use super::code_state::CodeState;
use super::code_state::Options;
use super::context::RunContext;
use super::error::RunError;
use super::job::relative;
use super::plan::Ready;
use super::retention::DiskNeed;
use super::samples::{Draw, Texts};
use super::session::{self, Outcome, Watcher};

/// What is asked of an earlier run.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Steps whose checkpoints are evaluated; all that are kept, if none is named.
    pub steps: Vec<u64>,
    /// Task recipes; those of the run's config, if `None`.
    pub tasks: Option<Vec<String>>,
    /// Leave out the loss on the validation text.
    pub without_validation: bool,
    /// Score the test side of the corpus with the last of the checkpoints, and nothing else.
    pub test_side: bool,
    /// Let the model of the last of the checkpoints go on with a text, and keep what it comes to.
    pub draw: Option<Draw>,
}

/// Evaluates checkpoints of `earlier` and seals the result as a run of the same experiment.
pub fn evaluate(
    context: &RunContext,
    earlier: &SealedRun,
    question: &Question,
    options: &Options,
    watcher: &mut dyn Watcher,
) -> Result<Outcome, RunError> {
    let mut checkpoints = kept(earlier, &question.steps)?;
    if question.test_side || question.draw.is_some() {
        // Which of several is the best cannot be seen on the test side and reported from it.
        checkpoints.drain(..checkpoints.len() - 1);
    }
    let code_state = CodeState::look(context, options)?;
    let ready = ready(context, &code_state, earlier, &checkpoints, question, watcher.progress())?;
    let last = checkpoints.last().map_or(0, |checkpoint| checkpoint.step);
    let steps: Vec<StepLine> = read_csv(&earlier.path(file::STEPS))?;
    let steps = steps.into_iter().filter(|row| row.step <= last).collect();
    session::carry_out(context, ready, None, &Inherited { steps, ..Inherited::default() }, watcher)
}

/// The checkpoints asked for, ascending by step, each as it was sealed.
fn kept(earlier: &SealedRun, steps: &[u64]) -> Result<Vec<Checkpoint>, RunError> {
    let intact = |c: &&Checkpoint| Digest::of_file(&earlier.path(&c.file.path)).is_ok_and(|d| d == c.file.sha256);
    let kept: Vec<Checkpoint> = earlier.record.checkpoints.iter().filter(intact).cloned().collect();
    let listed: Vec<String> = kept.iter().map(|c| c.step.to_string()).collect();
    let nothing = |problem: String| RunError::NothingToEvaluate {
        run: earlier.open.run.clone(),
        problem,
        hint: format!("checkpoints kept: {}", if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }),
    };
    if let Some(step) = steps.iter().find(|step| kept.iter().all(|c| c.step != **step)) {
        return Err(nothing(format!("there is no intact checkpoint of step {step}")));
    }
    if kept.is_empty() {
        return Err(nothing("none of its checkpoints is intact".to_owned()));
    }
    Ok(kept.into_iter().filter(|c| steps.is_empty() || steps.contains(&c.step)).collect())
}

fn ready(
    context: &RunContext,
    code_state: &CodeState,
    earlier: &SealedRun,
    checkpoints: &[Checkpoint],
    question: &Question,
    progress: &mut dyn Progress,
) -> Result<Ready, RunError> {
    let project = context.project;
    let (names, recipes) = if question.test_side {
        (Vec::new(), vec![test_side(project, earlier)?])
    } else {
        let names = question.tasks.clone().unwrap_or_else(|| earlier.experiment.evaluation.tasks.clone());
        let recipes = names.iter().map(|task| TaskRecipe::load(project, task)).collect::<Result<Vec<_>, _>>()?;
        (names, recipes)
    };
    let job = recorded_job(earlier)?;
    let shards: Vec<&Path> = job.validation_shards.iter().map(PathBuf::as_path).collect();
    recorded_data(project, earlier, &shards)?;

    let tokenizer = project.home().join(&earlier.open.data.tokenizer);
    let tokenizer = Tokenizer::from_file(&tokenizer, &earlier.corpus.tokenizer.separator_text);
    let tokenizer = tokenizer.map_err(CorpusError::from)?;
    let limit = if question.test_side { 0 } else { earlier.experiment.evaluation.items_per_task };
    let tasks = context.tasks(&recipes, &tokenizer, limit, progress)?;

    let (run, opened_at) = environment::new_run();
    let validated = !question.without_validation && !question.test_side && !job.validation_shards.is_empty();

    let mut written: Vec<(String, Vec<u8>)> = Vec::new();
    for path in [file::CONFIG, file::CORPUS_MANIFEST] {
        written.push((path.to_owned(), files::read(&earlier.path(path))?));
    }
    let mut plan_files = Vec::new();
    for (path, content) in planned(project, earlier, &names)? {
        plan_files.push(code_state.plan_file(path, content, &mut written)?);
    }
    let open = Open {
        format: format::VERSION,
        run,
        experiment: earlier.open.experiment.clone(),
        opened_at,
        resumed_from: None,
        evaluates: Some(Evaluated {
            run: earlier.open.run.clone(),
            root: earlier.root,
            checkpoints: checkpoints
                .iter()
                .map(|c| EvaluatedCheckpoint {
                    step: c.step,
                    checkpoint_sha256: c.file.sha256,
                    weights_sha256: c.weights_sha256,
                })
                .collect(),
        }),
        heads: record::heads(project, &earlier.open.experiment)?,
        not_citable_because: code_state.not_citable(&plan_files, Some(&earlier.open)),
        plan: format::Plan {
            files: plan_files,
            seed_rule: Some(SeedRule::EarlierRun),
            over_budget: None,
            ..earlier.open.plan.clone()
        },
        code: code_state.code(&mut written)?,
        binaries: code_state.binaries.clone(),
        launch: context.launcher.recorded(1),
        host: environment::host(),
        data: earlier.open.data.clone(),
        tasks,
    };
    let sampling = question.draw.as_ref().map(|draw| draw.sampling(&tokenizer)).transpose();
    let sampling = sampling.map_err(CorpusError::from)?;
    let given = Given::by(&open, job.separator, &[]);
    let evaluated = open.evaluates.as_ref().expect("it was just named");
    let folder = Project::at("").run(&open.experiment, &evaluated.run);
    let of_checkpoint =
        |c: &Checkpoint| job::evaluation(&job, evaluated, c.step, &given, &folder, validated, sampling.clone());
    let jobs = checkpoints.iter().map(|c| (file::job_of(c.step), of_checkpoint(c))).collect();
    let training = &earlier.experiment.training;
    let texts = question.draw.as_ref().zip(sampling);
    let texts = texts.map(|(draw, sampling)| Texts { prompt: draw.prompt.clone(), sampling, tokenizer });
    Ok(Ready {
        pruner: None,
        texts,
        open,
        files: written,
        jobs,
        keep: training.keep,
        // It writes no checkpoint.
        disk: DiskNeed { checkpoint_bytes: 0, checkpoints: 0 },
        ranks: 1,
        ends_at: environment::end_time()?,
        threads: training.threads,
        deterministic: training.deterministic,
        largest_pass: None,
    })
}

/// The test side of the corpus as a task. It is opened once for a run: a second time is refused.
fn test_side(project: &Project, earlier: &SealedRun) -> Result<TaskRecipe, RunError> {
    let (run, data) = (&earlier.open.run, &earlier.open.data);
    let refused = |problem: String, hint: String| RunError::NothingToEvaluate { run: run.clone(), problem, hint };
    let gone = |path: &str| RunError::DataGone { path: path.to_owned(), corpus: data.corpus.clone() };
    let folder = Path::new(&data.tokenizer).parent().unwrap_or(Path::new(""));
    let corpus = PreparedCorpus::open_folder(&project.home().join(folder)).map_err(|_| gone(&data.tokenizer))?;
    if corpus.root() != data.root {
        return Err(gone(&data.tokenizer));
    }
    let is_damaged = |shard: &&ListedFile| shard.damage(corpus.folder()).is_some();
    if let Some(shard) = corpus.manifest().test.shards.iter().find(is_damaged) {
        return Err(gone(&format!("{}/{}", folder.display(), shard.path)));
    }
    let recipe = harness_corpus::test_side(&corpus, &Store::of(project))?.ok_or_else(|| {
        let problem = format!("its corpus `{}` has no test side", data.corpus);
        refused(problem, "give the corpus one, such as `test = 0.05` under [split], and train on it".to_owned())
    })?;
    let sealed = |opened: &Opening| {
        let run = SealedRun::open(project, &earlier.open.experiment, &opened.run);
        run.is_ok_and(|run| run.record.status == Status::Completed)
    };
    let before = record::openings(project)?;
    if let Some(opened) = before.iter().find(|opening| opening.of == *run && sealed(opening)) {
        let problem = format!("run {} has opened the test side of `{}` for it already", opened.run, data.corpus);
        let hint = format!("`harness show {} --values` has the numbers; a test side answers once", opened.run);
        return Err(refused(problem, hint));
    }
    Ok(recipe)
}

/// The job of the earlier run: its choices in the trainer's terms.
pub fn recorded_job(earlier: &SealedRun) -> Result<Job, RunError> {
    // A run that evaluates has a job for each checkpoint.
    let last = earlier.open.evaluates.iter().flat_map(|of| of.checkpoints.last()).next();
    let path = last.map_or_else(|| file::JOB.to_owned(), |checkpoint| file::job_of(checkpoint.step));
    let json = files::read(&earlier.path(&path))?;
    let job: Result<Job, _> = serde_json::from_slice(&json);
    match job {
        Ok(job) if (contract::SINCE..=contract::VERSION).contains(&job.version) => {
            Ok(Job { version: contract::VERSION, ..job })
        }
        _ => Err(RunError::NothingToEvaluate {
            run: earlier.open.run.clone(),
            problem: "its job was written by another version of harness".to_owned(),
            hint: format!("check out the commit it ran on, and `{}`", harness_build::MAKE),
        }),
    }
}

/// These shards and the tokenizer must be those of the earlier run.
pub fn recorded_data(project: &Project, earlier: &SealedRun, shards: &[&Path]) -> Result<(), RunError> {
    let data = &earlier.open.data;
    let mut expected: BTreeMap<&Path, Digest> =
        data.shards.iter().map(|shard| (Path::new(&shard.path), shard.sha256)).collect();
    let tokenizer = Path::new(&data.tokenizer);
    expected.insert(tokenizer, data.tokenizer_sha256);
    for path in shards.iter().copied().chain([tokenizer]) {
        let found = Digest::of_file(&project.home().join(path)).ok();
        if found.is_none() || found != expected.get(path).copied() {
            return Err(RunError::DataGone { path: path.display().to_string(), corpus: data.corpus.clone() });
        }
    }
    Ok(())
}

/// The configs and the corpus recipe as the earlier run kept them, and the task recipes of the working tree.
fn planned(project: &Project, earlier: &SealedRun, tasks: &[String]) -> Result<BTreeMap<String, Vec<u8>>, RunError> {
    let recipe = |task: &String| project.task_recipe(task);
    let tasks_folder = "experiments/tasks/";
    let mut planned = BTreeMap::new();
    for kept in earlier.open.plan.files.iter().filter(|kept| !kept.path.starts_with(tasks_folder)) {
        planned.insert(kept.path.clone(), files::read(&earlier.path(&kept.copy))?);
    }
    for path in tasks.iter().map(recipe) {
        planned.insert(relative(project, &path), files::read(&path)?);
    }
    Ok(planned)
}
