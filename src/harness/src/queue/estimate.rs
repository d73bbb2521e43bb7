//! What is still to come, and when each item will be done: what runs of the same plan took on this machine, or else the
//! arithmetic of a [`Forecast`], at the pace of the latest run on this machine.

use harness_core::config::{Checked, Experiment};
use harness_core::names::Project;
use harness_record::format::Status;
use harness_record::git::Git;
use harness_record::{self as record, SealedRun, environment, load_config};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::error::QueueError;
use super::item::{Item, State};
use super::list::Content;
use crate::run::RunError;
use crate::run::forecast::{Corpus, Forecast};

/// What a run is expected to take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// Seconds from start to end.
    pub seconds: f64,
    /// Runs of the same plan of which this is the mean; with none it is a forecast at the pace of another run.
    pub runs_of_the_plan: usize,
    /// GPU hours, where runs are made on a GPU.
    pub gpu_hours: Option<f64>,
    /// Energy of the GPU, where it was measured.
    pub energy_kwh: Option<f64>,
}

/// What is known of the time of an item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The item.
    pub id: u64,
    /// What its run takes; null where no run on this machine says.
    pub expected: Option<Expected>,
    /// Seconds that are left of it.
    pub seconds_left: Option<f64>,
    /// When it will be done, in UTC, if nothing else comes between; null after an item of which nothing is known.
    pub done_at: Option<String>,
}

/// What is known of the time of all items that wait or run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimates {
    /// By item, in the order of their turns.
    pub items: Vec<Estimate>,
    /// Seconds until all are done that something is known of, from a start now.
    pub seconds_left: f64,
    /// The cost of what is left of them.
    pub gpu_hours_left: Option<f64>,
    /// The energy.
    pub energy_kwh_left: Option<f64>,
    /// Items of which nothing is known.
    pub unknown: usize,
}

/// A complete run on this machine.
struct Done {
    run: SealedRun,
    wall_time_s: f64,
}

impl Done {
    /// With what the runs took that it goes on from.
    fn of(run: SealedRun) -> Self {
        let before = run.open.resumed_from.as_ref().map_or(0.0, |from| from.spent.wall_time_s);
        Done { wall_time_s: before + run.record.resources.wall_time_s, run }
    }

    /// GPU seconds and joules for each second of the run itself.
    fn cost_per_s(&self) -> (Option<f64>, Option<f64>) {
        let resources = &self.run.record.resources;
        let per_s = |amount: f64| (resources.wall_time_s > 0.0).then(|| amount / resources.wall_time_s);
        (per_s(resources.gpu_time_s).filter(|&share| share > 0.0), resources.energy_j.and_then(per_s))
    }

    fn expected(&self, seconds: f64, runs_of_the_plan: usize) -> Expected {
        let (gpu_share, power_w) = self.cost_per_s();
        Expected {
            seconds,
            runs_of_the_plan,
            gpu_hours: gpu_share.map(|share| share * seconds / 3600.0),
            energy_kwh: power_w.map(|power_w| power_w * seconds / 3.6e6),
        }
    }
}

impl Estimates {
    /// Of a queue.
    pub fn of(project: &Project, git: &Git, content: &Content) -> Result<Self, QueueError> {
        let done = done_here(project)?;
        let pace = done.last().and_then(|latest| seconds_per_flop(project, latest));
        let now = environment::now();
        // Each worker takes the next item as soon as it is free; a queue nobody works off is counted from now.
        let mut lanes = vec![Some(0.0); content.workers.len().max(1)];
        let (mut items, mut gpu_hours_left, mut energy_kwh_left) = (Vec::new(), None, None);
        let open = |state: State| content.items.iter().filter(move |item| item.state == state);
        for item in open(State::Running).chain(open(State::Waiting)) {
            let plans = project.seen_in(git.project_in(&project.snapshot(&item.commit)));
            // Without its checkout, which the next start makes again, nothing is known of an item.
            let expected = expected(&plans, item, &done, pace).ok().flatten();
            let seconds_left =
                expected.as_ref().map(|expected| (expected.seconds - spent_s(project, item, now)).max(0.0));
            if let (Some(expected), Some(left)) = (&expected, seconds_left) {
                let share = if expected.seconds > 0.0 { left / expected.seconds } else { 0.0 };
                let add = |sum: &mut Option<f64>, amount: Option<f64>| {
                    *sum = amount.map(|amount| sum.unwrap_or(0.0) + share * amount).or(*sum);
                };
                add(&mut gpu_hours_left, expected.gpu_hours);
                add(&mut energy_kwh_left, expected.energy_kwh);
            }
            // A lane after an item of unknown length is free at a time that nobody knows: it comes last.
            let key = |lane: &Option<f64>| lane.unwrap_or(f64::INFINITY);
            let lane = lanes.iter_mut().min_by(|a, b| key(a).total_cmp(&key(b))).expect("there is a lane");
            *lane = lane.zip(seconds_left).map(|(before, left)| before + left);
            let done_at = lane.and_then(|at| now.checked_add(SignedDuration::try_from_secs_f64(at.ceil()).ok()?).ok());
            items.push(Estimate { id: item.id, expected, seconds_left, done_at: done_at.map(|at| at.to_string()) });
        }
        let lefts = items.iter().filter_map(|estimate| estimate.seconds_left);
        Ok(Estimates {
            seconds_left: lanes.iter().flatten().copied().reduce(f64::max).unwrap_or_else(|| lefts.sum()),
            unknown: items.iter().filter(|estimate| estimate.expected.is_none()).count(),
            items,
            gpu_hours_left,
            energy_kwh_left,
        })
    }
}

/// The complete training runs of this machine, oldest first.
fn done_here(project: &Project) -> Result<Vec<Done>, QueueError> {
    let host = environment::host().hostname_sha256;
    let mut done = Vec::new();
    for experiment in record::experiments_with_runs(project)? {
        for run in record::runs(project, &experiment)? {
            // A run that cannot be read says nothing of time; `harness runs` tells of it.
            let Ok(run) = SealedRun::open(project, &experiment, &run) else { continue };
            if run.record.status == Status::Completed && run.open.host.hostname_sha256 == host {
                done.push(Done::of(run));
            }
        }
    }
    done.sort_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
    Ok(done)
}

/// FLOPs of a run with its evaluations, as far as its data are here.
fn flops(plans: &Project, experiment: &Experiment) -> Result<f64, RunError> {
    let corpus = Corpus::of(plans, &experiment.corpus)?.with_tasks(plans, experiment);
    let forecast = Forecast::of(experiment, corpus, None);
    Ok(forecast.training_flops + forecast.validation_flops.unwrap_or(0.0) + forecast.task_flops.unwrap_or(0.0))
}

/// The pace of a run; none where its corpus is gone from the tree.
fn seconds_per_flop(project: &Project, done: &Done) -> Option<f64> {
    let flops = flops(project, &done.run.experiment).ok()?;
    (flops > 0.0).then(|| done.wall_time_s / flops)
}

/// What the run of an item takes: the mean over runs of its plan, or its FLOPs at the pace of the latest run.
fn expected(plans: &Project, item: &Item, done: &[Done], pace: Option<f64>) -> Result<Option<Expected>, RunError> {
    let Some(latest) = done.last() else { return Ok(None) };
    let config = load_config(plans, &item.experiment)?.experiment;
    let Some(experiment) = resolved(plans, &config, pace)? else { return Ok(None) };
    let plan = experiment.plan_digest_but_seed();
    let own = done.iter().filter(|done| done.run.experiment.plan_digest_but_seed() == plan);
    let own: Vec<&Done> = own.collect();
    if let Some(last) = own.last() {
        let seconds: Vec<f64> = own.iter().map(|done| done.wall_time_s).collect();
        return Ok(Some(last.expected(harness_statistics::mean(&seconds), own.len())));
    }
    let flops = flops(plans, &experiment)?;
    Ok(pace.map(|pace| latest.expected(pace * flops, 0)))
}

/// The config with its steps; none where a budget of time has no rate to count them by.
fn resolved(plans: &Project, config: &Checked, pace: Option<f64>) -> Result<Option<Experiment>, RunError> {
    let vocabulary_size = Corpus::of(plans, &config.corpus)?.vocabulary_size;
    if config.is_timed() && pace.is_none() {
        return Ok(None);
    }
    let tokens_per_s = pace.map(|pace| 1.0 / (pace * config.model.training_flops_per_token(vocabulary_size)));
    Ok(Some(config.resolved(vocabulary_size, tokens_per_s)?))
}

/// Seconds that the runs of an item have taken, up to the checkpoint that the last goes on from, and since that was opened
/// if it runs.
fn spent_s(project: &Project, item: &Item, now: Timestamp) -> f64 {
    let opened = item.runs.last().and_then(|run| record::opened(project, &item.experiment, run));
    let Some(open) = opened.filter(|_| item.state == State::Running) else { return 0.0 };
    let before = open.resumed_from.as_ref().map_or(0.0, |from| from.spent.wall_time_s);
    let since = open.opened_at.parse::<Timestamp>().map_or(0.0, |at| now.duration_since(at).as_secs_f64());
    before + since
}
