//! What is decided before the first step: the config and what is cheap to refuse ([`Wanted`]), then, with the data ready
//! and the number of steps known, everything that the record is opened with ([`Ready`]). Nothing is trained here.

use std::path::Path;

use harness_core::config::{BudgetError, Checked, Experiment, Keep, Loaded};
use harness_core::contract::{Failure, Job};
use harness_core::names::{ExperimentName, Project};
use harness_core::{Digest, files, order};
use harness_corpus::tasks::TaskRecipe;
use harness_corpus::{PreparedCorpus, Progress, Recipe};
use harness_record::format::{self, Data, Launch, Open, Plan, PlanFile, Purpose, SeedRule, Task, Trial, file};
use harness_record::job::{Given, job};
use harness_record::{self as record, environment, load_config_with};
use harness_study::points::{Opened, Planned};
use harness_study::seeds as derived;
use jiff::Timestamp;

use super::code_state::Options;
use super::code_state::{CodeState, Files};
use super::context::{RunContext, data};
use super::error::RunError;
use super::forecast::largest_pass;
use super::job::{relative, unrecorded_job};
use super::launch::Ended;
use super::pruning::Pruner;
use super::resume::Origin;
use super::retention::DiskNeed;
use super::samples::Texts;
use super::trunk::Branch;

/// A plan that is ready to run.
pub(super) struct Ready {
    pub open: Open,
    /// Files of the run folder that hold the plan.
    pub files: Files,
    /// The jobs that the trainer is given one after the other, with their paths in the run folder.
    pub jobs: Vec<(String, Job)>,
    pub keep: Keep,
    pub disk: DiskNeed,
    pub ranks: u32,
    pub threads: u32,
    pub deterministic: bool,
    /// Until when the machine is lent, if that is known.
    pub ends_at: Option<Timestamp>,
    /// Stops a trial that falls behind.
    pub pruner: Option<Pruner>,
    /// Writes the texts that are drawn.
    pub texts: Option<Texts>,
    /// The most sequences of a pass that fit into this machine's memory by prediction; nothing where nothing is trained.
    pub largest_pass: Option<u32>,
}

impl Ready {
    /// A failure with what the plan knows of it: a trainer that the system ends for want of memory can say nothing itself.
    pub(super) fn explain(&self, mut failure: Failure) -> Failure {
        if let (true, Some(hint), Some(most)) = (Ended::is_killed(&failure), &mut failure.hint, self.largest_pass) {
            let total_mib = self.open.host.memory_bytes >> 20;
            hint.push_str(&format!(" (passes of {most} sequences should fit into this machine's {total_mib} MiB)"));
        }
        failure
    }
}

/// A run that is wanted, with nothing against it so far.
pub(super) struct Wanted<'a> {
    loaded: Loaded,
    /// The study and the trial of it that the run is.
    trial: Option<(Opened, Planned)>,
    /// The config with the seed that was asked for.
    pub experiment: Checked,
    purpose: Purpose,
    seed_rule: SeedRule,
    code_state: CodeState<'a>,
    launch: Launch,
    recipe: Recipe,
    task_recipes: Vec<TaskRecipe>,
}

/// A trial of the study of an experiment.
pub(super) fn planned(project: &Project, name: &ExperimentName, number: u64) -> Result<(Opened, Planned), RunError> {
    let study = Opened::of(project, name)?;
    let trial = usize::try_from(number).ok().and_then(|number| study.trials.get(number)).cloned();
    match trial {
        Some(trial) => Ok((study, trial)),
        None => Err(RunError::NoTrial { study: name.clone(), trials: study.trials.len(), trial: number }),
    }
}

/// What an experiment comes to, as its files and its data are now.
pub struct Rehearsal {
    /// The resolved config.
    pub experiment: Experiment,
    /// The same in the trainer's terms.
    pub job: Job,
    /// The corpus.
    pub data: Data,
    /// The tasks.
    pub tasks: Vec<Task>,
}

/// The data of a run, made ready.
pub(super) struct Prepared {
    pub corpus: PreparedCorpus,
    pub tasks: Vec<Task>,
}

impl<'a> Wanted<'a> {
    /// Reads what the run is made from, and refuses what is cheap to refuse.
    pub(super) fn look(
        context: &RunContext<'a>,
        name: &ExperimentName,
        options: &Options,
        origin: Option<&Origin>,
    ) -> Result<Self, RunError> {
        let project = context.project;
        let trial = options.trial.map(|number| planned(project, name, number)).transpose()?;
        let settings =
            trial.as_ref().map(|(study, trial)| trial.settings(&study.study, &study.base)).unwrap_or_default();
        let loaded = load_config_with(project, name, &settings)?;
        let seed =
            trial.as_ref().map(|(_, trial)| trial.seed).or(options.seed).or(origin.map(|o| o.run().open.plan.seed));
        let experiment = seed.map_or(loaded.experiment.clone(), |seed| loaded.experiment.clone().with_seed(seed));
        let code_state = CodeState::look(context, options)?;
        let ranks = context.launcher.ranks(&experiment.training)?;
        if let Some(problem) = experiment.training.not_shared_out(ranks) {
            return Err(RunError::NotSharedOut { problem, ranks });
        }
        let recipe = Recipe::load(project, &experiment.corpus)?;
        let task_recipes = experiment.evaluation.tasks.iter().map(|task| TaskRecipe::load(project, task));
        let task_recipes = task_recipes.collect::<Result<Vec<_>, _>>()?;
        if let Some(imported) = &experiment.imported {
            let path = project.imported_weights(&imported.weights_sha256);
            if !files::is_file(&path) {
                let (name, corpus, class) = (name.clone(), experiment.corpus.clone(), imported.class.clone());
                return Err(RunError::NoImportedWeights { name, corpus, path, class });
            }
        }
        // A continuation is for what the run before it is for.
        let asked = if trial.is_some() { Purpose::Tune } else { options.purpose };
        let purpose = origin.map_or(asked, |origin| origin.run().open.plan.purpose);
        let seed_rule = match (origin, options.seed) {
            (None, _) if trial.is_some() => SeedRule::Derived,
            (Some(_), _) => SeedRule::EarlierRun,
            (None, Some(seed)) if derived::is_derived(project, purpose, seed)? => SeedRule::Derived,
            (None, Some(_)) => SeedRule::CommandLine,
            (None, None) => SeedRule::Config,
        };
        let launch = context.launcher.recorded(ranks);
        Ok(Wanted { loaded, trial, experiment, purpose, seed_rule, code_state, launch, recipe, task_recipes })
    }

    /// The experiment.
    pub(super) fn name(&self) -> &ExperimentName {
        &self.loaded.name
    }

    /// What it is for.
    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// What it is to the trunk that its config names.
    pub(super) fn branch(&self) -> Option<Branch<'_>> {
        let (seed, purpose) = (self.experiment.seed, self.purpose);
        self.experiment.trunk.as_ref().map(|from| Branch { name: self.name(), seed, purpose, from })
    }

    /// The commit that its plan is of.
    pub(super) fn commit(&self) -> &str {
        self.code_state.commit()
    }

    /// Makes corpus and tasks ready.
    pub(super) fn prepare(&self, context: &RunContext, progress: &mut dyn Progress) -> Result<Prepared, RunError> {
        let corpus = context.corpus(&self.recipe, progress)?;
        let tokenizer = corpus.tokenizer().map_err(harness_corpus::CorpusError::from)?;
        let limit = self.experiment.evaluation.items_per_task;
        let tasks = context.tasks(&self.task_recipes, &tokenizer, limit, progress)?;
        Ok(Prepared { corpus, tasks })
    }

    /// The plan of `experiment`, which is [`Self::experiment`] with its steps.
    pub(super) fn plan(
        &self,
        project: &Project,
        experiment: &Experiment,
        prepared: &Prepared,
        origin: Option<&Origin>,
    ) -> Result<Ready, RunError> {
        let Prepared { corpus, tasks } = prepared;
        let (run, opened_at) = environment::new_run();
        let config = experiment.to_toml();
        let mut written = vec![
            (file::CONFIG.to_owned(), config.clone().into_bytes()),
            (file::CORPUS_MANIFEST.to_owned(), files::read(&corpus.manifest_path())?),
        ];
        let plan_files = self.plan_files(project, &mut written)?;
        let open = Open {
            format: format::VERSION,
            run,
            experiment: self.loaded.name.clone(),
            opened_at,
            resumed_from: origin.map(Origin::continuation),
            evaluates: None,
            heads: record::heads(project, &self.loaded.name)?,
            not_citable_because: self.code_state.not_citable(&plan_files, origin.map(|origin| &origin.run().open)),
            plan: Plan {
                purpose: self.purpose,
                study: self
                    .trial
                    .as_ref()
                    .map(|(study, trial)| Trial { name: study.name.to_string(), trial: trial.trial }),
                seed: experiment.seed,
                seed_rule: Some(self.seed_rule),
                over_budget: None,
                config_sha256: Digest::of(config.as_bytes()),
                plan_sha256: experiment.plan_digest(),
                files: plan_files,
                order: order::ALGORITHM.to_owned(),
            },
            code: self.code_state.code(&mut written)?,
            binaries: self.code_state.binaries.clone(),
            launch: self.launch.clone(),
            host: environment::host(),
            data: data(project, &experiment.corpus, corpus)?,
            tasks: tasks.clone(),
        };
        if let Some(origin) = origin {
            match self.branch().filter(|_| origin.is_trunk()) {
                Some(branch) => branch.check_same_start(origin.run(), experiment, &open)?,
                None => origin.check_same_plan(&open)?,
            }
        }
        let taken_over = origin.map(|origin| origin.evaluations(experiment, tasks)).unwrap_or_default();
        let job = job(experiment, &Given::by(&open, corpus.manifest().tokenizer.separator, &taken_over));
        let training = &experiment.training;
        let vocabulary_size = corpus.manifest().tokenizer.vocabulary_size;
        let (parameters, _) = experiment.model.parameters(vocabulary_size);
        let pruner = self.trial.as_ref().and_then(|(study, trial)| {
            Pruner::of(project, study, trial, training.steps, corpus.manifest().validation.text_bytes)
        });
        Ok(Ready {
            pruner,
            texts: None,
            largest_pass: largest_pass(
                experiment,
                vocabulary_size,
                open.host.memory_bytes / u64::from(open.launch.world_size),
            ),
            keep: training.keep,
            disk: DiskNeed::of(experiment, parameters),
            ranks: open.launch.world_size,
            open,
            files: written,
            jobs: vec![(file::JOB.to_owned(), job)],
            threads: training.threads,
            deterministic: training.deterministic,
            ends_at: environment::end_time()?,
        })
    }

    /// What the trainer would be given, and no record: the number of steps is this one where it was measured.
    pub(super) fn rehearse(
        &self,
        project: &Project,
        prepared: &Prepared,
        measured_steps: u64,
        folder: &Path,
    ) -> Result<Rehearsal, RunError> {
        let Prepared { corpus, tasks } = prepared;
        let experiment = match self.experiment.resolved(corpus.manifest().tokenizer.vocabulary_size, None) {
            Err(BudgetError::NeedsRate) => self.experiment.with_steps(measured_steps),
            resolved => resolved,
        }?;
        let job = unrecorded_job(project, folder, &experiment, corpus, tasks);
        Ok(Rehearsal { data: data(project, &experiment.corpus, corpus)?, tasks: tasks.clone(), experiment, job })
    }

    /// The files the plan was made from, copied into the run folder.
    fn plan_files(&self, project: &Project, written: &mut Files) -> Result<Vec<PlanFile>, RunError> {
        let experiment = &self.experiment;
        let configs = self.loaded.sources.iter().map(|source| project.root().join(&source.path));
        let mut paths: Vec<_> = configs.collect();
        paths.push(project.corpus_recipe(&experiment.corpus));
        // Which files the patterns of the recipe stand for, if it has any.
        paths.extend(Some(project.corpus_lock(&experiment.corpus)).filter(|lock| files::is_file(lock)));
        paths.extend(experiment.evaluation.tasks.iter().map(|task| project.task_recipe(task)));
        if self.trial.is_some() {
            // From these and its number a trial follows.
            paths.push(project.study(&self.loaded.name));
            paths.extend(Some(project.project_file()).filter(|path| files::is_file(path)));
        }
        let mut plan_files = Vec::new();
        for path in paths {
            plan_files.push(self.code_state.plan_file(relative(project, &path), files::read(&path)?, written)?);
        }
        Ok(plan_files)
    }
}
