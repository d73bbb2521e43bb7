//! The run of a plan, a seed and a purpose, whatever became of it so far: found where it has completed, gone on with where it
//! has not, else started. So the same command may be given again after every end, and by several at a time.

use std::thread;

use harness_core::config::parse_resolved;
use harness_core::files;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::format::{self, Open, PREEMPTED, Record, Status, TIME_LIMIT, file};
use harness_record::{self as record, SealedRun, environment};
use harness_study::seeds::plan_but_seed_and_measured_steps;

use super::code_state::{Options, Resume};
use super::context::{RunContext, data};
use super::error::RunError;
use super::lease::{Leases, Renewed};
use super::plan::{Prepared, Wanted};
use super::resume;
use super::session::{Outcome, Watcher};
use super::{LOOK_AGAIN, run};

/// So many runs in a row that wrote no checkpoint are no chance.
const WITHOUT_PROGRESS: usize = 2;
/// Kinds of failure that say nothing of the plan: what ended the run lies outside, and it may go on.
const FROM_OUTSIDE: [&str; 9] =
    [PREEMPTED, TIME_LIMIT, "killed", "crashed", "rank", "abandoned", "supervisor", "disk_full", "device"];

/// What [`go_on`] found or made.
#[derive(Debug)]
pub enum GoneOn {
    /// It has completed before.
    Completed(Box<SealedRun>),
    /// It was run now.
    Ran(Box<Outcome>),
}

/// What became so far of the run that is wanted.
enum Past {
    Completed(Box<SealedRun>),
    /// Runs that may be gone on from, oldest first.
    Unfinished(Vec<SealedRun>),
}

/// Sees to it that the run of a plan, a seed and a purpose completes: one caller at a time, the others wait.
pub fn go_on(
    context: &RunContext,
    name: &ExperimentName,
    options: &Options,
    watcher: &mut dyn Watcher,
) -> Result<GoneOn, RunError> {
    let project = context.project;
    let wanted = Wanted::look(context, name, options, None)?;
    let plan = plan_but_seed_and_measured_steps(&wanted.experiment);
    let leases = Leases::open(project.leases(name))?;
    let lease_name = format!("{}-seed-{}-{}", wanted.purpose().word(), wanted.experiment.seed, plan.short());
    let mut is_told = false;
    let lease = loop {
        if let Some(lease) = leases.take(&lease_name)? {
            break lease;
        }
        wait(&mut is_told, "waiting: another process is at this run", watcher);
    };
    let prepared = wanted.prepare(context, watcher.progress())?;
    let mut watcher = Renewed::new(&lease, watcher);
    let mut is_told = false;
    let unfinished = loop {
        match past(project, &wanted, &prepared) {
            // Whoever killed the supervisor may have left its trainer a moment more.
            Err(RunError::StillRunning { run }) => {
                wait(&mut is_told, &format!("waiting until run {run} has ended"), &mut watcher);
            }
            Ok(Past::Completed(run)) => return Ok(GoneOn::Completed(run)),
            Ok(Past::Unfinished(runs)) => break runs,
            Err(error) => return Err(error),
        }
    };
    check_progress(name, &unfinished)?;
    let runs: Vec<RunId> = unfinished.iter().map(|run| run.open.run.clone()).collect();
    let resume = (!runs.is_empty()).then_some(Resume::Of(runs));
    let mut options = Options { resume, ..options.clone() };
    match run(context, name, &options, &mut watcher) {
        Err(RunError::NothingToResume { problem, .. }) if options.resume.is_some() => {
            watcher.progress().note(&format!("starting anew: {problem}"));
            options.resume = None;
            run(context, name, &options, &mut watcher)
        }
        other => other,
    }
    .map(|outcome| GoneOn::Ran(Box::new(outcome)))
}

fn wait(is_told: &mut bool, what: &str, watcher: &mut dyn Watcher) {
    if !*is_told {
        watcher.progress().note(what);
        *is_told = true;
    }
    thread::sleep(LOOK_AGAIN);
}

/// Looks through the runs of the experiment. Seals what nobody seals any more.
fn past(project: &Project, wanted: &Wanted<'_>, prepared: &Prepared) -> Result<Past, RunError> {
    let name = wanted.name();
    let plan = plan_but_seed_and_measured_steps(&wanted.experiment);
    let now = data(project, &wanted.experiment.corpus, &prepared.corpus)?.root;
    let requests = |tasks: &[format::Task]| tasks.iter().map(|task| task.requests_sha256).collect::<Vec<_>>();
    let is_wanted = |run: &RunId, open: &Open| {
        let of_config = || {
            let config = files::read_to_string(&project.run(name, run).join(file::CONFIG)).ok()?;
            let config = parse_resolved(&config).ok()?;
            Some(plan_but_seed_and_measured_steps(&config))
        };
        open.plan.study.is_none()
            && (open.plan.seed, open.plan.purpose) == (wanted.experiment.seed, wanted.purpose())
            && open.data.root == now
            && requests(&open.tasks) == requests(&prepared.tasks)
            && of_config() == Some(plan)
    };
    let (mut unfinished, mut is_cut) = (Vec::new(), false);
    for run in record::runs(project, name)?.into_iter().rev() {
        if !record::opened(project, name, &run).is_some_and(|open| is_wanted(&run, &open)) {
            continue;
        }
        let sealed = resume::sealed(project, name, &run)?;
        if sealed.record.status == Status::Completed {
            return Ok(Past::Completed(Box::new(sealed)));
        }
        // What ended by itself would end so again; nothing before it is gone on from either.
        is_cut |= ended_by_itself(&sealed.record);
        if !is_cut {
            unfinished.push(sealed);
        }
    }
    unfinished.reverse();
    Ok(Past::Unfinished(unfinished))
}

fn ended_by_itself(record: &Record) -> bool {
    let kind = record.failure.as_ref().map_or("", |failure| failure.kind.as_str());
    record.status == Status::Failed && !FROM_OUTSIDE.contains(&kind)
}

/// Refuses to go on where the last runs of this job all ended before a checkpoint, though nobody stopped them: a queue that
/// starts them again would do so for ever. A new job may have more time.
fn check_progress(name: &ExperimentName, unfinished: &[SealedRun]) -> Result<(), RunError> {
    let job = environment::scheduler().map(|scheduler| scheduler.job);
    let in_vain = |run: &&SealedRun| {
        let by_person = run.record.status == Status::Interrupted && run.record.failure.is_none();
        let first = run.open.resumed_from.as_ref().map_or(0, |from| from.step);
        let stands_still = run.record.checkpoints.iter().all(|checkpoint| checkpoint.step <= first);
        stands_still && !by_person && run.open.launch.scheduler.as_ref().map(|scheduler| &scheduler.job) == job.as_ref()
    };
    let in_vain: Vec<&SealedRun> = unfinished.iter().rev().take_while(in_vain).collect();
    let Some(latest) = in_vain.first().filter(|_| in_vain.len() >= WITHOUT_PROGRESS) else { return Ok(()) };
    let last = latest.record.failure.as_ref().map_or(String::new(), |failure| failure.message.clone());
    let every = latest.experiment.training.checkpoint_every;
    let from = match job {
        Some(_) => "submit it again with more time",
        None => "give it more time and start it with --resume, or without --go-on",
    };
    let hint = format!("{from}, or write checkpoints more often (`training.checkpoint_every` is {every})");
    let runs = in_vain.iter().map(|run| run.open.run.clone()).collect();
    Err(RunError::NoProgress { name: name.clone(), runs, last, hint })
}
