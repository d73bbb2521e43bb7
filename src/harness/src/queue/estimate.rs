//! What is still to come, and when each item will be done.

use harness_core::names::Project;
use harness_record::git::Git;
use harness_record::{environment, load_config, load_config_with};
use harness_study::ledger::Spent;
use harness_study::points::Opened;
use jiff::SignedDuration;
use serde::Serialize;

use super::error::QueueError;
use super::item::{Item, State};
use super::list::Content;
use crate::run::RunError;
use crate::run::expected::{Expected, Pace, spent_s};

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

impl Estimate {
    /// What is still to be spent on it.
    pub fn left(&self) -> Option<Spent> {
        let expected = self.expected.as_ref()?;
        let share = if expected.seconds > 0.0 { self.seconds_left? / expected.seconds } else { 0.0 };
        Some(expected.spent().times(share))
    }
}

impl Estimates {
    /// Of a queue.
    pub fn of(project: &Project, git: &Git, content: &Content, pace: &Pace) -> Result<Self, QueueError> {
        let now = environment::now();
        // Each worker takes the next item as soon as it is free; a queue nobody works off is counted from now.
        let mut lanes = vec![Some(0.0); content.workers.len().max(1)];
        let (mut items, mut gpu_hours_left, mut energy_kwh_left) = (Vec::new(), None, None);
        let open = |state: State| content.items.iter().filter(move |item| item.state == state);
        for item in open(State::Running).chain(open(State::Waiting)) {
            let plans = project.seen_in(git.project_in(&project.snapshot(&item.commit)));
            // Without its checkout, which the next start makes again, nothing is known of an item.
            let expected = expected(&plans, item, pace).ok().flatten();
            let run = item.runs.last().filter(|_| item.state == State::Running);
            let spent_s = spent_s(project, &item.experiment, run, now);
            let seconds_left = expected.as_ref().map(|expected| (expected.seconds - spent_s).max(0.0));
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

/// What the run of an item takes, as it is in the checkout of its commit.
fn expected(plans: &Project, item: &Item, pace: &Pace) -> Result<Option<Expected>, RunError> {
    let Some(trial) = item.trial else { return pace.of(plans, &load_config(plans, &item.experiment)?.experiment) };
    let study = Opened::of(plans, &item.experiment)?;
    let Some(planned) = study.trials.iter().find(|planned| planned.trial == trial) else { return Ok(None) };
    let settings = planned.settings(&study.study, &study.base);
    pace.of(plans, &load_config_with(plans, &item.experiment, &settings)?.experiment)
}
