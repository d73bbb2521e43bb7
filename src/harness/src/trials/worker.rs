//! Runs the trials of a study that are missing. Any number of processes may do so at a time.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use harness_record::format::Status;
use harness_study::points::Opened;
use harness_study::trials::{PRUNED, Survey};

use crate::run::lease::{Lease, Leases, Renewed};
use crate::run::{self, Options, Outcome, Resume, RunContext, RunError, Watcher};

/// How often it is looked whether another process is done with its trial, or dead.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why no more trials are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Each was run, or tried once.
    Done,
    /// A person wished it.
    Interrupted,
    /// The system wished it.
    StoppedBySystem,
    /// Something stands in the way of every trial.
    Stopped(String),
}

/// A share of the trials: every `of`-th from `first` on, for machines that share nothing but the repository.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// From 0.
    pub first: u64,
    /// How many shares there are.
    pub of: u64,
}

impl Share {
    /// Whether a trial is among them.
    pub fn has(self, trial: u64) -> bool {
        trial % self.of == self.first
    }
}

/// Runs what is missing, and waits for what others are at, to take it over should they die.
pub fn work(
    context: &RunContext,
    study: &Opened,
    share: Option<Share>,
    over_budget: Option<&str>,
    watcher: &mut dyn Watcher,
) -> Result<End, RunError> {
    let leases = Leases::open(context.project.leases(&study.name))?;
    let is_ours = |trial: u64| share.is_none_or(|share| share.has(trial));
    let (mut tried, mut is_told) = (BTreeSet::new(), false);
    loop {
        let survey = Survey::of(context.project, study)?;
        let missing = survey.missing().map(|trial| trial.planned.trial);
        let missing: Vec<u64> = missing.filter(|trial| is_ours(*trial) && !tried.contains(trial)).collect();
        if missing.is_empty() {
            return Ok(End::Done);
        }
        let before = tried.len();
        for number in missing {
            let Some(lease) = leases.take(&named(number))? else { continue };
            tried.insert(number);
            if let Some(end) = run_one(context, study, number, &lease, over_budget, watcher)? {
                return Ok(end);
            }
        }
        if tried.len() == before {
            if !is_told {
                watcher.progress().note("waiting for the trials that other processes are at");
                is_told = true;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// The name of a trial's lease.
fn named(trial: u64) -> String {
    format!("trial-{trial:05}")
}

/// Runs one trial, once no other process is at it; none if it is done then.
pub fn one(
    context: &RunContext,
    study: &Opened,
    number: u64,
    over_budget: Option<&str>,
    watcher: &mut dyn Watcher,
) -> Result<Option<Outcome>, RunError> {
    let leases = Leases::open(context.project.leases(&study.name))?;
    let mut is_told = false;
    loop {
        if let Some(lease) = leases.take(&named(number))? {
            return attempt(context, study, number, &lease, over_budget, watcher);
        }
        if !is_told {
            watcher.progress().note(&format!("waiting: another process is at trial {number} of `{}`", study.name));
            is_told = true;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn run_one(
    context: &RunContext,
    study: &Opened,
    number: u64,
    lease: &Lease,
    over_budget: Option<&str>,
    watcher: &mut dyn Watcher,
) -> Result<Option<End>, RunError> {
    let made = attempt(context, study, number, lease, over_budget, watcher)?;
    let Some(Outcome { run, record, .. }) = made else { return Ok(None) };
    let failure = record.failure.as_ref();
    let kind = failure.map_or("", |failure| failure.kind.as_str());
    let why = failure.map_or(String::new(), |failure| format!(": {}", failure.message));
    let word = if kind == PRUNED { PRUNED } else { record.status.word() };
    watcher.progress().note(&format!("trial {number}: {word}, run {run}{why}"));
    Ok(match record.status {
        Status::Interrupted if kind == PRUNED || lease.is_lost() => None,
        _ if record.is_stopped_by_system() => Some(End::StoppedBySystem),
        Status::Interrupted => Some(End::Interrupted),
        Status::Failed if kind == "disk_full" => Some(End::Stopped(why.trim_start_matches(": ").to_owned())),
        Status::Failed | Status::Completed => None,
    })
}

/// Runs a trial, from the last checkpoint of its earlier runs if there is one, unless it is done meanwhile.
fn attempt(
    context: &RunContext,
    study: &Opened,
    number: u64,
    lease: &Lease,
    over_budget: Option<&str>,
    watcher: &mut dyn Watcher,
) -> Result<Option<Outcome>, RunError> {
    let trial = Survey::one(context.project, study, number)?;
    if trial.state.is_done() {
        return Ok(None);
    }
    let values: Vec<String> = trial.planned.values().iter().map(|(key, value)| format!("{key} = {value}")).collect();
    watcher.progress().note(&format!("trial {number} of {}: {}", study.trials.len(), values.join(", ")));
    let resume = (!trial.runs.is_empty()).then_some(Resume::Of(trial.runs));
    let over_budget = over_budget.map(str::to_owned);
    let options = Options { trial: Some(number), resume, over_budget, ..Options::default() };
    let mut watcher = Renewed::new(lease, watcher);
    run::run_or_resume(context, &study.name, options, &mut watcher).map(Some)
}
