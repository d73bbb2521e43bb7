//! Everything that is decided and looked at before the first step: config, code, programs, machine, data, tasks,
//! and the job that follows from them.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness_build::BUILD;
use harness_core::config::{ConfigError, Experiment, Keep, Loaded, load};
use harness_core::contract::{self, About, Failure, InitialWeights, Job, JobTask, OutputFile};
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::{Digest, files, order};
use harness_corpus::tasks::{self, TaskRecipe};
use harness_corpus::{Fetcher, PreparedCorpus, Progress, Recipe, Store, Tokenizer};

use super::forecast::largest_pass;
use super::resume::Origin;
use super::retention::DiskNeed;
use super::trial::{self, Bench};
use super::{Interrupts, Options, RunError, relative, supervise};
use harness_record::format::{self, Binaries, Code, Data, Open, Plan, PlanFile, Shard, Task, file};
use harness_record::git::{Git, State};
use harness_record::{self as record, environment};

/// A plan that is ready to run.
pub(super) struct Ready {
    pub open: Open,
    /// Files of the run folder that hold the plan: path and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// The jobs among them, which the trainer is given one after the other.
    pub jobs: Vec<String>,
    pub steps: u64,
    pub keep: Keep,
    pub disk: DiskNeed,
    pub threads: u32,
    pub deterministic: bool,
    /// The most sequences of a pass that fit into this machine's memory by prediction; nothing where nothing is trained.
    pub largest_pass: Option<u32>,
}

impl Ready {
    /// A failure with what the plan knows of it: a trainer that the system ends for want of memory can say nothing itself.
    pub fn explain(&self, mut failure: Failure) -> Failure {
        if let (supervise::KILLED, Some(hint), Some(most)) =
            (failure.kind.as_str(), &mut failure.hint, self.largest_pass)
        {
            let total_mib = self.open.host.memory_bytes >> 20;
            hint.push_str(&format!(" (of this machine's {total_mib} MiB, passes of {most} should not need more)"));
        }
        failure
    }
}

/// Loads an experiment of the working tree.
pub fn load_config(project: &Project, name: &ExperimentName) -> Result<Loaded, ConfigError> {
    let known: Vec<String> = record::experiments(project)?.iter().map(ToString::to_string).collect();
    load(name, &known, &|name| match files::read_to_string(&project.experiment(name).join("experiment.toml")) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    })
}

/// What a trainer says of itself.
pub fn about(trainer: &Path) -> Result<About, RunError> {
    let output = Command::new(trainer)
        .arg("about")
        .output()
        .map_err(|source| RunError::Trainer { path: trainer.to_owned(), source })?;
    let no_trainer = |problem: String| RunError::NoTrainer { path: trainer.to_owned(), problem };
    let about: About = serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        no_trainer(format!("it does not say what it is: {}", said.lines().next().unwrap_or("no output")))
    })?;
    if about.contract_version != contract::VERSION {
        let (theirs, ours) = (about.contract_version, contract::VERSION);
        return Err(no_trainer(format!("it speaks version {theirs} of the contract, and this program {ours}")));
    }
    Ok(about)
}

/// `harness-trainer` in the folder of this program.
pub fn trainer_beside() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("harness-trainer")
}

pub(super) fn plan(
    project: &Project,
    git: &Git,
    name: &ExperimentName,
    options: &Options,
    origin: Option<&Origin>,
    progress: &mut dyn Progress,
) -> Result<Ready, RunError> {
    // What is cheap to refuse comes first.
    let loaded = load_config(project, name)?;
    let seed = options.seed.or(origin.map(|o| o.open().plan.seed));
    let experiment = seed.map_or(loaded.experiment.clone(), |seed| loaded.experiment.clone().with_seed(seed));
    let state = git.state()?;
    if state.is_dirty() && !options.allow_dirty {
        return Err(RunError::Dirty { files: [state.changed, state.untracked].concat() });
    }
    let trainer = about(&options.trainer)?;
    let recipe = Recipe::load(project, &experiment.corpus)?;
    let task_recipes = experiment.evaluation.tasks.iter().map(|task| TaskRecipe::load(project, task));
    let task_recipes = task_recipes.collect::<Result<Vec<_>, _>>()?;

    if let Some(imported) = &experiment.imported {
        let path = project.imported_weights(&imported.weights_sha256);
        if !files::is_file(&path) {
            return Err(RunError::NoImportedWeights { name: name.clone(), path, class: imported.class.clone() });
        }
    }

    let store = Store::of(project);
    let fetcher = Fetcher::new(&store).with_mirror(options.mirror.clone()).with_hub(options.hub.clone());
    fetcher.fetch(&recipe.remotes(), progress)?;
    let corpus = harness_corpus::prepare(&recipe, &store, progress)?;
    let experiment = with_steps(project, experiment, &corpus, origin, options, progress)?;
    let tokenizer = corpus.tokenizer().map_err(harness_corpus::CorpusError::from)?;
    let limit = experiment.evaluation.items_per_task;
    let tasks = prepare_tasks(project, limit, &task_recipes, &tokenizer, &store, &fetcher, progress)?;

    let now = environment::now();
    let run = RunId::new(&environment::now_compact(), environment::entropy());
    let folder = project.run(name, &run);
    let data = data(project, &experiment, &corpus)?;
    let job = job(project, &folder, &experiment, &corpus, &tasks, origin);

    let mut written = Vec::new();
    let config = experiment.to_toml();
    written.push((file::CONFIG.to_owned(), config.clone().into_bytes()));
    written.push((file::CORPUS_MANIFEST.to_owned(), files::read(&corpus.manifest_path())?));
    written.push((file::JOB.to_owned(), record::pretty(&job).into_bytes()));
    let plan_files = plan_files(project, git, &state, &loaded, &mut written)?;
    let code = code(project, git, &state, &mut written)?;
    let committed_sources = git.sources_at(&state.commit)?;
    let binaries =
        environment::binaries(&BUILD, &options.trainer, trainer.source_sha256, project.root(), committed_sources)?;
    let not_citable_because = not_citable(&state, &binaries, &plan_files, origin.map(Origin::open));
    let open = Open {
        format: format::VERSION,
        run,
        experiment: name.clone(),
        opened_at: now.to_string(),
        resumed_from: origin.map(Origin::continuation),
        evaluates: None,
        not_citable_because,
        plan: Plan {
            seed: experiment.seed,
            config_sha256: Digest::of(config.as_bytes()),
            plan_sha256: experiment.plan_digest(),
            files: plan_files,
            order: order::ALGORITHM.to_owned(),
        },
        code,
        binaries,
        host: environment::host(),
        data,
        tasks,
    };
    if let Some(origin) = origin {
        origin.check_same_plan(&open)?;
    }
    let training = &experiment.training;
    let vocabulary_size = corpus.manifest().tokenizer.vocabulary_size;
    let (parameters, _) = experiment.model.parameters(vocabulary_size);
    Ok(Ready {
        largest_pass: largest_pass(&experiment, vocabulary_size, open.host.memory_bytes),
        keep: training.keep,
        disk: DiskNeed::of(&experiment, parameters),
        open,
        files: written,
        jobs: vec![file::JOB.to_owned()],
        steps: training.steps,
        threads: training.threads,
        deterministic: training.deterministic,
    })
}

/// The experiment with its budget turned into steps: as in the run that is gone on with, else by arithmetic, else by
/// a short run on this machine.
fn with_steps(
    project: &Project,
    experiment: Experiment,
    corpus: &PreparedCorpus,
    origin: Option<&Origin>,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Experiment, RunError> {
    if !experiment.needs_steps() {
        return Ok(experiment);
    }
    if let Some(origin) = origin {
        let steps = origin.steps();
        return experiment.vary(|choices| choices.training.steps = steps).map_err(RunError::Budget);
    }
    let tokens_per_s = if experiment.is_timed() {
        progress.note("measuring how fast this machine trains, for the budget of time");
        let bench = Bench::of(project, options.trainer.clone(), experiment.clone(), corpus.clone());
        let trial = bench.trial(trial::PROBE_STEPS, |_| {}, &Interrupts::default())?;
        Some(trial.measured()?.0)
    } else {
        None
    };
    let resolved =
        experiment.resolved(corpus.manifest().tokenizer.vocabulary_size, tokens_per_s).map_err(RunError::Budget)?;
    progress.note(&format!("the budget pays for {} steps", resolved.training.steps));
    Ok(resolved)
}

/// Why the paper may not use the run, if it may not. A repository that holds experiments only says nothing about
/// the sources of the programs.
pub(super) fn not_citable(
    state: &State,
    binaries: &Binaries,
    plan_files: &[PlanFile],
    origin: Option<&Open>,
) -> Option<String> {
    if state.is_dirty() {
        return Some("the working tree differed from its commit".to_owned());
    }
    if let Some(file) = plan_files.iter().find(|file| !file.committed) {
        return Some(format!("its commit does not hold `{}`", file.path));
    }
    let committed = binaries.committed_sources_sha256.map(|sources| sources.to_string());
    let built = [&binaries.built_from_sha256, &binaries.trainer_built_from_sha256];
    if committed.is_some_and(|committed| built.iter().any(|sources| **sources != committed)) {
        return Some("the programs were built from other sources than those of the commit".to_owned());
    }
    let origin = origin?;
    if let Some(reason) = &origin.not_citable_because {
        return Some(format!("it goes on from run {}, of which {reason}", origin.run));
    }
    (origin.binaries.trainer_built_from_sha256 != binaries.trainer_built_from_sha256)
        .then(|| format!("it goes on from run {}, which another trainer computed", origin.run))
}

pub(super) fn prepare_tasks(
    project: &Project,
    items_per_task: u64,
    recipes: &[TaskRecipe],
    tokenizer: &Tokenizer,
    store: &Store,
    fetcher: &Fetcher,
    progress: &mut dyn Progress,
) -> Result<Vec<Task>, RunError> {
    let mut records = Vec::new();
    for recipe in recipes {
        fetcher.fetch(&recipe.remotes(), progress)?;
        let prepared = tasks::prepare(recipe, tokenizer, items_per_task, store, progress)?;
        records.extend(prepared.tasks().iter().map(|task| Task {
            id: task.id.clone(),
            group: (task.group != task.id).then(|| task.group.clone()),
            title: task.title.clone(),
            phenomenon: task.phenomenon.clone(),
            field: task.field.clone(),
            kind: task.kind,
            metric: task.metric,
            chance: task.chance,
            items: task.items,
            rolling_stride: task.rolling_stride,
            version: task.version,
            data_sha256: task.data_sha256.clone(),
            requests_sha256: task.requests.sha256,
            requests: relative(project, &prepared.requests_path(task)),
        }));
    }
    Ok(records)
}

fn data(project: &Project, experiment: &Experiment, corpus: &PreparedCorpus) -> Result<Data, RunError> {
    let manifest = corpus.manifest();
    let mut shards = Vec::new();
    let train = corpus.train_shards().into_iter().zip(&manifest.train.shards).map(|pair| ("train", pair));
    let validation = corpus.validation_shards().into_iter().zip(&manifest.validation.shards);
    for (split, (path, listed)) in train.chain(validation.map(|pair| ("validation", pair))) {
        let shard = harness_core::shards::Shard::open(&path)?;
        shards.push(Shard {
            split: split.to_owned(),
            path: relative(project, &path),
            sha256: listed.sha256,
            size_bytes: listed.size_bytes,
            tokens: shard.tokens(),
            documents: shard.documents().len() as u64,
        });
    }
    Ok(Data {
        corpus: experiment.corpus.clone(),
        root: corpus.root(),
        shards,
        tokenizer_sha256: manifest.tokenizer.sha256,
        tokenizer: relative(project, &corpus.tokenizer_path()),
        vocabulary_size: manifest.tokenizer.vocabulary_size,
        validation_bytes: manifest.validation.text_bytes,
    })
}

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

pub(super) fn job_task(task: &Task) -> JobTask {
    let (id, requests) = (task.id.clone(), PathBuf::from(&task.requests));
    JobTask { id, requests, rolling_stride: task.rolling_stride }
}

/// The files the plan was made from, copied into the run folder.
fn plan_files(
    project: &Project,
    git: &Git,
    state: &State,
    loaded: &Loaded,
    written: &mut Vec<(String, Vec<u8>)>,
) -> Result<Vec<PlanFile>, RunError> {
    let mut paths: Vec<PathBuf> =
        loaded.sources.iter().map(|s| project.experiment(&s.name).join("experiment.toml")).collect();
    paths.push(project.corpus_recipe(&loaded.experiment.corpus));
    // Which files the patterns of the recipe stand for, if it has any.
    paths.extend(Some(project.corpus_lock(&loaded.experiment.corpus)).filter(|lock| files::is_file(lock)));
    paths.extend(loaded.experiment.evaluation.tasks.iter().map(|task| project.task_recipe(task)));
    let mut plan_files = Vec::new();
    for path in paths {
        let content = files::read(&path)?;
        let path = relative(project, &path);
        let copy = format!("{}/{path}", file::PLAN_FILES);
        let committed = git.file_at(&state.commit, &path)?.is_some_and(|held| held == content);
        plan_files.push(PlanFile { sha256: Digest::of(&content), copy: copy.clone(), committed, path });
        written.push((copy, content));
    }
    Ok(plan_files)
}

/// The commit, and what the tree has beyond it.
pub(super) fn code(
    project: &Project,
    git: &Git,
    state: &State,
    written: &mut Vec<(String, Vec<u8>)>,
) -> Result<Code, RunError> {
    if !state.changed.is_empty() {
        written.push((file::PATCH.to_owned(), git.patch()?));
    }
    let mut untracked = Vec::new();
    // A nested repository or a link to a folder is named by git as one thing; it holds no file of this one.
    for path in state.untracked.iter().filter(|path| files::is_file(&project.root().join(path))) {
        let content = files::read(&project.root().join(path))?;
        untracked.push(OutputFile {
            path: path.clone(),
            sha256: Digest::of(&content),
            size_bytes: content.len() as u64,
        });
        // A copy of a source file is worth its bytes; a data file that somebody forgot to ignore is not.
        const LARGEST_COPY_BYTES: usize = 1 << 20;
        if content.len() <= LARGEST_COPY_BYTES {
            written.push((format!("{}/{path}", file::UNTRACKED), content));
        }
    }
    Ok(Code {
        commit: state.commit.clone(),
        tree: state.tree.clone(),
        branch: state.branch.clone(),
        dirty: state.is_dirty(),
        untracked,
        remote: state.remote.clone(),
    })
}
