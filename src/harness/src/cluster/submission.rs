//! What was handed to a scheduler: a folder each below `.harness/cluster/`, with the script, the logs and one small file that
//! says which task is which run. What became of a run its record says; the file keeps what the scheduler said when it was last
//! asked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use harness_core::config::{Cluster, Phase, Scheduler};
use harness_core::files;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::format::{Open, Purpose, Status};
use harness_record::{self as record, SealedRun, environment, load_config, load_config_with, pretty};
use harness_study::ledger::{Spent, phase_of};
use harness_study::points::Opened;
use harness_study::trials;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use super::scheduler::Seen;
use crate::run::RunError;
use crate::run::expected::{Pace, spent_s};

/// Version of the file.
pub const FORMAT: u32 = 1;
/// The file.
const FILE: &str = "submission.json";

/// Runs that were handed to a scheduler together, one a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// [`FORMAT`]
    pub format: u32,
    /// Its folder below `.harness/cluster/`, which no other submission ever had.
    pub name: String,
    /// The number that the scheduler gave it.
    pub job: String,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The login node that it was handed over on; absent where that is this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The commit that its runs are of.
    pub commit: String,
    /// When, in UTC.
    pub submitted_at: String,
    /// The time limit of each run, in seconds, where one was asked for.
    pub time_s: Option<u64>,
    /// GPUs of each run.
    pub gpus: u32,
    /// The runs.
    pub tasks: Vec<Task>,
}

/// One run of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its number in the submission, from 0.
    pub task: u32,
    /// The experiment.
    pub experiment: ExperimentName,
    /// The trial of its study that the run is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u64>,
    /// The seed.
    pub seed: u64,
    /// What the run is for.
    pub purpose: Purpose,
    /// Why it is run although the budget does not pay for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_budget: Option<String>,
    /// How far it is, as far as is known.
    pub state: State,
    /// Why it waits, failed or was stopped.
    pub reason: Option<String>,
    /// The run that was made for it; of several that go on from each other the last.
    pub run: Option<RunId>,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The scheduler has not started it, or starts it again.
    Queued,
    /// It runs.
    Running,
    /// Its run is complete.
    Done,
    /// Its run failed, or could not be made.
    Failed,
    /// It ended before its run was complete, and nothing starts it again.
    Stopped,
    /// Somebody took it back.
    Cancelled,
}

impl State {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Stopped => "stopped",
            State::Cancelled => "cancelled",
        }
    }

    /// Whether more is still to come of it.
    pub fn is_open(self) -> bool {
        matches!(self, State::Queued | State::Running)
    }
}

/// What a submission still has to be paid for.
#[derive(Clone, Debug, PartialEq)]
pub struct Owed {
    /// The job.
    pub job: String,
    /// The task.
    pub task: Task,
    /// What it is spent on.
    pub phase: Phase,
    /// What is left of it.
    pub cost: Option<Spent>,
    /// What is to be said of how that is known.
    pub caveat: Option<String>,
}

impl Submission {
    /// Its folder.
    pub fn folder(&self, project: &Project) -> PathBuf {
        project.submissions().join(&self.name)
    }

    /// Writes it down.
    pub fn save(&self, project: &Project) -> Result<(), ClusterError> {
        Ok(files::write(&self.folder(project).join(FILE), pretty(self).as_bytes())?)
    }

    /// Whether more is still to come of it.
    pub fn is_open(&self) -> bool {
        self.tasks.iter().any(|task| task.state.is_open())
    }

    /// Whether somebody means this by `4711`, or the task of it by `4711_3` or `4711.3`.
    pub fn tasks_named(&self, name: &str) -> Option<Vec<u32>> {
        let (job, task) = name.split_once(['_', '.']).map_or((name, None), |(job, task)| (job, Some(task)));
        if job != self.job {
            return None;
        }
        match task {
            None => Some(self.tasks.iter().map(|task| task.task).collect()),
            Some(task) => {
                let number = task.parse().ok().filter(|number| self.tasks.iter().any(|task| task.task == *number))?;
                Some(vec![number])
            }
        }
    }

    /// Takes over what the records of its runs say, and the scheduler where they say nothing; `seen` gives what it says
    /// of a task, `was_asked` is whether it was asked at all.
    pub fn follow(
        &mut self,
        project: &Project,
        was_asked: bool,
        seen: impl Fn(u32) -> Option<Seen>,
    ) -> Result<(), ClusterError> {
        for at in 0..self.tasks.len() {
            let told = told(project, self, &self.tasks[at], seen(self.tasks[at].task).as_ref())?;
            let task = &mut self.tasks[at];
            task.run = told.as_ref().map(|told| told.run.clone()).or(task.run.take());
            let seen = seen(task.task);
            (task.state, task.reason) = state(told, seen, was_asked, (task.state, task.reason.take()));
        }
        Ok(())
    }

    /// What is still to be paid: the tasks that are open, as their records and the file say. By the pace of the cluster, the first of
    /// `paces`, or what its time limit allows; else by that of this machine.
    fn owed(&self, project: &Project, paces: (&Pace, &Pace)) -> Result<Vec<Owed>, ClusterError> {
        let now = environment::now();
        let mut owed = Vec::new();
        for task in self.tasks.iter().filter(|task| task.state.is_open()) {
            let config = load_config(project, &task.experiment).ok().map(|loaded| loaded.experiment);
            let phase = phase_of(task.purpose, config.is_some_and(|config| config.extends.is_some()));
            let plans = project.seen_in(project.snapshot(&self.commit));
            // Of another machine's submission, or without the checkout, the plan of today is the nearest that is known.
            let plans = if files::is_folder(&plans.experiments()) { plans } else { project.clone() };
            let run = task.run.as_ref().filter(|_| task.state == State::Running);
            let spent_s = spent_s(project, &task.experiment, run, now);
            let by = |pace: &Pace| {
                let expected = expected(&plans, task, pace).ok().flatten()?;
                let share = if expected.seconds > 0.0 { (1.0 - spent_s / expected.seconds).max(0.0) } else { 0.0 };
                Some((expected.spent().times(share), expected.caveat))
            };
            let at_most = || Some((self.at_most()?, None));
            let (cost, caveat) = by(paces.0).or_else(at_most).or_else(|| by(paces.1)).unzip();
            let caveat = caveat.flatten();
            owed.push(Owed { job: self.job.clone(), task: task.clone(), phase, cost, caveat });
        }
        Ok(owed)
    }

    /// The most that one run may take before it is stopped.
    fn at_most(&self) -> Option<Spent> {
        let seconds = self.time_s? as f64;
        let (gpu_time_s, cpu_time_s) =
            if self.gpus > 0 { (seconds * f64::from(self.gpus), 0.0) } else { (0.0, seconds) };
        Some(Spent { gpu_time_s, cpu_time_s, energy_j: 0.0 })
    }
}

/// The submissions of a project, oldest first.
pub fn submissions(project: &Project) -> Result<Vec<Submission>, ClusterError> {
    let folder = project.submissions();
    let mut all = Vec::new();
    for name in files::list(&folder)? {
        let path = folder.join(&name).join(FILE);
        // A folder without the file was being filled when its process died: nothing was handed over.
        if files::is_file(&path) {
            all.push(read(&path)?);
        }
    }
    all.sort_by(|a: &Submission, b| a.name.cmp(&b.name));
    Ok(all)
}

fn read(path: &Path) -> Result<Submission, ClusterError> {
    let text = files::read(path)?;
    let unreadable = |problem: String, hint| ClusterError::Unreadable { path: path.to_owned(), problem, hint };
    let damaged = |error: serde_json::Error| {
        unreadable(error.to_string(), "remove its folder; the records of all runs are apart from it")
    };
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(damaged)?;
    if value["format"] != FORMAT {
        let problem = format!("it has format {}, and this program reads {FORMAT}", value["format"]);
        return Err(unreadable(problem, "update harness: `git pull`, then `make build`"));
    }
    serde_json::from_value(value).map_err(damaged)
}

/// The commits that tasks still run from.
pub fn commits_in_use(project: &Project) -> Result<BTreeSet<String>, ClusterError> {
    let open = submissions(project)?.into_iter().filter(|submission| submission.is_open());
    Ok(open.map(|submission| submission.commit).collect())
}

/// What is still to be paid of all submissions, by what is known here.
pub fn owed(project: &Project) -> Result<Vec<Owed>, ClusterError> {
    let open: Vec<Submission> = submissions(project)?.into_iter().filter(Submission::is_open).collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let cluster = Cluster::load(project)?.unwrap_or_default();
    let [there, here] = [Pace::on_cluster(project)?, Pace::here(project)?].map(|pace| pace.submitted_to(&cluster));
    let mut owed = Vec::new();
    for mut submission in open {
        submission.follow(project, false, |_| None)?;
        owed.extend(submission.owed(project, (&there, &here))?);
    }
    Ok(owed)
}

/// What a task's run takes there.
pub(super) fn expected(
    plans: &Project,
    task: &Task,
    pace: &Pace,
) -> Result<Option<crate::run::expected::Expected>, RunError> {
    let Some(trial) = task.trial else { return pace.of(plans, &load_config(plans, &task.experiment)?.experiment) };
    let study = Opened::of(plans, &task.experiment)?;
    let Some(planned) = study.trials.iter().find(|planned| planned.trial == trial) else { return Ok(None) };
    let settings = planned.settings(&study.study, &study.base);
    pace.of(plans, &load_config_with(plans, &task.experiment, &settings)?.experiment)
}

/// What the latest run of a task says.
struct Told {
    run: RunId,
    /// How it ended, where it was sealed; with the reason of a failure.
    ended: Option<(Status, Option<String>)>,
}

/// The latest run that was made for a task: of its experiment, seed and purpose, from its commit or since it was handed over.
/// Where the scheduler says that the task is done, one that was complete before will do, which the task found.
fn told(
    project: &Project,
    submission: &Submission,
    task: &Task,
    seen: Option<&Seen>,
) -> Result<Option<Told>, ClusterError> {
    let since: Option<Timestamp> = submission.submitted_at.parse().ok();
    let is_asked_for = |open: &Open| {
        let plan = &open.plan;
        let trial = plan.study.as_ref().map(|study| study.trial);
        (plan.seed, plan.purpose, trial) == (task.seed, task.purpose, task.trial)
    };
    let is_since = |open: &Open| {
        let opened_at = open.opened_at.parse::<Timestamp>().ok();
        open.code.commit == submission.commit || opened_at.zip(since).is_some_and(|(at, since)| at >= since)
    };
    let is_done = seen.is_some_and(|seen| seen.state == State::Done);
    let mut earlier = None;
    for run in record::runs(project, &task.experiment)?.into_iter().rev() {
        let Some(open) = record::opened(project, &task.experiment, &run).filter(is_asked_for) else { continue };
        if !is_since(&open) && !is_done {
            continue;
        }
        let ended = SealedRun::open(project, &task.experiment, &run).ok().map(|sealed| {
            let failure = sealed.record.failure.as_ref().map(|failure| failure.message.clone());
            // A trial that fell behind, or whose values cannot be trained with, has its result.
            let decided = task.trial.is_some() && trials::decided(&sealed.record).is_some();
            (if decided { Status::Completed } else { sealed.record.status }, failure)
        });
        let told = Told { run, ended };
        if is_since(&open) {
            return Ok(Some(told));
        }
        if matches!(told.ended, Some((Status::Completed, _))) {
            earlier = earlier.or(Some(told));
        }
    }
    Ok(earlier)
}

/// How far a task is. A complete record is the truth; then what the scheduler says of a task that it still has; then how the
/// record ended.
fn state(
    told: Option<Told>,
    seen: Option<Seen>,
    was_asked: bool,
    was: (State, Option<String>),
) -> (State, Option<String>) {
    let ended = told.and_then(|told| told.ended);
    match (ended, seen) {
        (Some((Status::Completed, _)), _) => (State::Done, None),
        (_, Some(seen)) if seen.state.is_open() => (seen.state, seen.reason),
        (_, Some(seen)) if seen.state == State::Cancelled => (State::Cancelled, None),
        (_, None) if !(was_asked && was.0.is_open()) => was,
        (Some((Status::Failed, reason)), _) => (State::Failed, reason),
        (_, Some(seen)) if seen.state == State::Done => {
            (State::Failed, Some("it ended without a run; its log says why".to_owned()))
        }
        (_, Some(seen)) => (seen.state, seen.reason),
        (_, None) => (State::Stopped, Some("the scheduler does not know it any more".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_the_truth_for_done_and_the_scheduler_for_what_still_comes() {
        let told = |status| Some(Told { run: RunId::new("20261123T081500123Z", 1), ended: Some((status, None)) });
        let seen = |state| Some(Seen { state, reason: None });
        let of = |told, seen, asked, was| state(told, seen, asked, (was, None)).0;
        for ended in [State::Queued, State::Running, State::Done, State::Failed, State::Stopped, State::Cancelled] {
            assert_eq!(of(told(Status::Completed), seen(ended), true, State::Running), State::Done);
        }
        // Stopped with a checkpoint, and started again.
        assert_eq!(of(told(Status::Interrupted), seen(State::Queued), true, State::Running), State::Queued);
        assert_eq!(of(told(Status::Failed), seen(State::Running), true, State::Running), State::Running);
        assert_eq!(of(told(Status::Failed), seen(State::Failed), true, State::Running), State::Failed);
        assert_eq!(of(told(Status::Interrupted), seen(State::Stopped), true, State::Running), State::Stopped);
        assert_eq!(of(told(Status::Interrupted), seen(State::Cancelled), true, State::Running), State::Cancelled);
        // It says that it did what nothing shows.
        assert_eq!(of(None, seen(State::Done), true, State::Running), State::Failed);
        // Forgotten by the scheduler, or not asked.
        assert_eq!(of(None, None, true, State::Running), State::Stopped);
        assert_eq!(of(told(Status::Failed), None, true, State::Running), State::Failed);
        assert_eq!(of(told(Status::Failed), None, false, State::Running), State::Running);
        for was in [State::Cancelled, State::Failed, State::Stopped] {
            assert_eq!(of(None, None, true, was), was);
        }
    }

    #[test]
    fn a_submission_and_its_tasks_have_the_names_that_the_scheduler_gives() {
        let task = |task| Task {
            task,
            experiment: "tiny".parse().unwrap(),
            trial: None,
            seed: 1,
            purpose: Purpose::Explore,
            over_budget: None,
            state: State::Queued,
            reason: None,
            run: None,
        };
        let submission = Submission {
            format: FORMAT,
            name: "x".to_owned(),
            job: "4711".to_owned(),
            scheduler: Scheduler::Slurm,
            host: None,
            commit: "c".to_owned(),
            submitted_at: "2026-11-29T16:00:00Z".to_owned(),
            time_s: None,
            gpus: 0,
            tasks: vec![task(0), task(1)],
        };
        let named = |name: &str| submission.tasks_named(name);
        assert_eq!((named("4711"), named("4711_1"), named("4711.0")), (Some(vec![0, 1]), Some(vec![1]), Some(vec![0])));
        assert_eq!((named("471"), named("4711_2"), named("4711_x"), named("x")), (None, None, None, None));
    }
}
