//! One run of an experiment, from the config to the seal: look at code and config ([`plan`]), make the data ready
//! ([`context`]), turn a budget into steps, write down the [`job`], and let a [`launch`]er run it while the [`session`]
//! keeps the record. Whatever happens after the record is opened, it is sealed.

pub mod afford;
mod code_state;
mod context;
mod device;
mod end_time;
mod error;
mod evaluate;
pub mod expected;
pub mod forecast;
mod go_on;
mod job;
pub mod launch;
pub mod lease;
mod plan;
pub mod probe;
pub mod processors;
mod pruning;
mod resume;
mod retention;
mod samples;
mod session;
pub mod short_run;
mod trainer_log;
mod trunk;
mod workload;

use std::path::Path;
use std::thread;
use std::time::Duration;

use harness_core::config::{Checked, Experiment, Limits};
use harness_core::names::{ExperimentName, Project};
use harness_corpus::{PreparedCorpus, Progress};
use harness_record::format::Purpose;
use harness_record::load_config;

pub use code_state::{Options, Resume};
pub use context::RunContext;
pub use error::RunError;
pub use evaluate::{Question, evaluate, recorded_data, recorded_job};
pub use go_on::{GoneOn, go_on};
pub use launch::{Interrupts, Local, about, trainer_beside};
pub use plan::Rehearsal;
pub use resume::seal;
pub use samples::{Draw, prompt};
pub use session::{Outcome, Watcher};
pub use workload::{Left, Workload, timed};

use afford::Wish;
use expected::Pace;
use plan::Wanted;
use resume::Origin;
use short_run::Bench;
use trunk::Branch;

/// How often it is looked whether the trainer of a killed supervisor has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Runs an experiment to its seal.
pub fn run(
    context: &RunContext,
    name: &ExperimentName,
    options: &Options,
    watcher: &mut dyn Watcher,
) -> Result<Outcome, RunError> {
    let project = context.project;
    let own = match &options.resume {
        Some(resume) => Some(resume::origin(project, name, options, resume)?),
        None => None,
    };
    let wanted = Wanted::look(context, name, options, own.as_ref())?;
    let trunk = match wanted.branch().filter(|_| own.is_none()) {
        Some(branch) => {
            let origin = branch.origin(project)?;
            // Before anything is made ready.
            branch.check_run(origin.run(), &wanted.experiment)?;
            Some(origin)
        }
        None => None,
    };
    let prepared = wanted.prepare(context, watcher.progress())?;
    let experiment = with_steps(context, &wanted.experiment, &prepared.corpus, own.as_ref(), watcher.progress())?;
    let origin = own.as_ref().or(trunk.as_ref());
    let mut plan = wanted.plan(project, &experiment, &prepared, origin)?;
    let limits = Limits::load(project)?;
    if !limits.is_empty() || plan.ends_at.is_some() {
        // What is expected leaves out the steps of a trunk.
        let steps_after = |step: u64| experiment.training.steps.saturating_sub(step) as f64;
        let taken_over = experiment.trunk.as_ref().map_or(0, |trunk| trunk.step);
        let left = origin.map_or(1.0, |origin| steps_after(origin.checkpoint.step) / steps_after(taken_over));
        let expected =
            Pace::here(project)?.with_ranks(plan.open.launch.world_size).of_resolved(project, &experiment)?;
        let wish = Wish {
            name: wanted.name(),
            config: &experiment,
            purpose: wanted.purpose(),
            count: 1,
            each: expected.as_ref().map(|expected| expected.spent().times(left)),
            caveat: expected.as_ref().and_then(|expected| expected.caveat.clone()),
        };
        let reason = options.over_budget.as_deref();
        if !limits.is_empty() {
            plan.open.plan.over_budget = afford::check(project, &limits, &wish, &options.promised, reason)?;
        }
        let late = plan.ends_at.zip(expected).and_then(|(ends_at, expected)| {
            end_time::too_late(ends_at, left * expected.seconds, expected.caveat.as_deref())
        });
        late.iter().for_each(|warning| watcher.progress().note(warning));
    }
    for lost in origin.iter().flat_map(|origin| &origin.passed_over) {
        let used = plan.open.resumed_from.as_ref().map_or(0, |origin| origin.step);
        let (run, step, problem) = (&lost.run, lost.step, &lost.problem);
        let text =
            format!("the checkpoint of step {step} of run {run} is not used: {problem}; resuming from step {used}");
        watcher.progress().note(&text);
    }
    if let Some(from) = plan.open.resumed_from.as_ref().filter(|from| from.experiment.is_some()) {
        let (run, step, steps) = (&from.run, from.step, experiment.training.steps);
        let trunk = trunk.as_ref().map_or("", |trunk| trunk.run().open.experiment.as_str());
        watcher.progress().note(&format!("beginning from step {step} of {steps}, with run {run} of `{trunk}`"));
    }
    watcher.progress().note(&retention::check_disk(project, plan.disk)?);
    let earlier = origin.map(|origin| origin.inherited(&experiment)).transpose()?.unwrap_or_default();
    session::carry_out(context, plan, origin.map(|origin| (origin, &experiment)), &earlier, watcher)
}

/// [`run`], or anew from the first step where none of the runs that `options` would go on from can be gone on from. Waits for
/// the trainer of one whose supervisor was killed.
pub fn run_or_resume(
    context: &RunContext,
    name: &ExperimentName,
    mut options: Options,
    watcher: &mut dyn Watcher,
) -> Result<Outcome, RunError> {
    let mut is_told = false;
    loop {
        match run(context, name, &options, watcher) {
            // Whoever killed the supervisor may have left its trainer a moment more.
            Err(RunError::StillRunning { run }) => {
                if !is_told {
                    watcher.progress().note(&format!("waiting until the trainer of run {run} has ended"));
                    is_told = true;
                }
                thread::sleep(LOOK_AGAIN);
            }
            Err(RunError::NothingToResume { problem, .. }) if options.resume.is_some() => {
                watcher.progress().note(&format!("starting anew: {problem}"));
                options.resume = None;
            }
            other => return other,
        }
    }
}

/// Refuses what [`run`] would refuse before it makes data ready. Gives the commit and the config with its seed.
pub fn check(context: &RunContext, name: &ExperimentName, options: &Options) -> Result<(String, Checked), RunError> {
    let wanted = Wanted::look(context, name, options, None)?;
    Ok((wanted.commit().to_owned(), wanted.experiment))
}

/// The config of a run: of an experiment with a seed, or of a trial of its study, which has its own.
pub fn config_of(project: &Project, name: &ExperimentName, trial: Option<u64>, seed: u64) -> Result<Checked, RunError> {
    match trial {
        None => Ok(load_config(project, name)?.experiment.with_seed(seed)),
        Some(number) => {
            let (study, trial) = plan::planned(project, name, number)?;
            Ok(study.config(project, &trial)?)
        }
    }
}

/// Refuses an experiment that cannot begin from its trunk, as far as records say: no run of it of this seed and purpose, no intact
/// checkpoint, or another training before it. Whether data and evaluations are the same shows where the data are ready.
pub fn check_trunk(
    project: &Project,
    name: &ExperimentName,
    config: &Checked,
    seed: u64,
    purpose: Purpose,
) -> Result<(), RunError> {
    let Some(from) = &config.trunk else { return Ok(()) };
    let branch = Branch { name, seed, purpose, from };
    branch.check_run(branch.origin(project)?.run(), config)
}

/// Refuses an experiment that cannot begin from a run of its trunk that is still to be made, as that is configured.
pub fn check_planned_trunk(
    trunk: &Checked,
    name: &ExperimentName,
    config: &Checked,
    seed: u64,
    purpose: Purpose,
) -> Result<(), RunError> {
    let Some(from) = &config.trunk else { return Ok(()) };
    Branch { name, seed, purpose, from }.check_planned(trunk, config)
}

/// Refuses what [`run`] would refuse of the trunk of an experiment, its data made ready; nothing where its number of steps is still to be
/// measured.
pub fn check_start(
    context: &RunContext,
    name: &ExperimentName,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<(), RunError> {
    let wanted = Wanted::look(context, name, options, None)?;
    let Some(branch) = wanted.branch() else { return Ok(()) };
    let origin = branch.origin(context.project)?;
    branch.check_run(origin.run(), &wanted.experiment)?;
    if wanted.experiment.is_timed() {
        return Ok(());
    }
    let prepared = wanted.prepare(context, progress)?;
    let experiment = wanted.experiment.resolved(prepared.corpus.manifest().tokenizer.vocabulary_size, None)?;
    wanted.plan(context.project, &experiment, &prepared, Some(&origin)).map(drop)
}

/// What a run of an experiment would compute, its data made ready; `measured_steps` as an earlier run measured them for a budget of
/// time. Nothing is opened.
pub fn rehearse(
    context: &RunContext,
    name: &ExperimentName,
    options: &Options,
    measured_steps: u64,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<Rehearsal, RunError> {
    let wanted = Wanted::look(context, name, options, None)?;
    let prepared = wanted.prepare(context, progress)?;
    wanted.rehearse(context.project, &prepared, measured_steps, folder)
}

/// The experiment with its budget turned into steps: as in the run that it goes on from, else by arithmetic, else by a
/// short run on this machine.
fn with_steps(
    context: &RunContext,
    experiment: &Checked,
    corpus: &PreparedCorpus,
    origin: Option<&Origin>,
    progress: &mut dyn Progress,
) -> Result<Experiment, RunError> {
    let vocabulary_size = corpus.manifest().tokenizer.vocabulary_size;
    if experiment.has_steps() {
        return Ok(experiment.resolved(vocabulary_size, None)?);
    }
    if let Some(origin) = origin {
        return Ok(experiment.with_steps(origin.steps())?);
    }
    let tokens_per_s = if experiment.is_timed() {
        progress.note("measuring how fast this machine trains, for the budget of time");
        let bench = Bench::of(context, experiment.clone(), corpus.clone());
        Some(bench.run(short_run::PROBE_STEPS, |_| {}, &Interrupts::default())?.measured()?.0)
    } else {
        None
    };
    let resolved = experiment.resolved(vocabulary_size, tokens_per_s)?;
    progress.note(&format!("the budget pays for {} steps", resolved.training.steps));
    Ok(resolved)
}
