//! What a run takes on this machine: what runs of the same plan took here, or else the arithmetic of a [`Forecast`] at the pace
//! of the latest run here.

use harness_core::config::{Checked, Experiment};
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::format::{Host, Open, Status};
use harness_record::{self as record, SealedRun, environment};
use harness_study::ledger::Spent;
use jiff::Timestamp;
use serde::Serialize;

use super::error::RunError;
use super::forecast::{Corpus, Forecast};

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

impl Expected {
    /// As a cost.
    pub fn spent(&self) -> Spent {
        let gpu_time_s = self.gpu_hours.map_or(0.0, |hours| 3600.0 * hours);
        let cpu_time_s = if self.gpu_hours.is_some() { 0.0 } else { self.seconds };
        Spent { gpu_time_s, cpu_time_s, energy_j: self.energy_kwh.map_or(0.0, |energy| 3.6e6 * energy) }
    }
}

/// A complete run on this machine.
struct Done {
    run: SealedRun,
    wall_time_s: f64,
}

impl Done {
    /// With what the runs took that it goes on from, and of a trunk the share up to its step: as long as from nothing.
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

/// What runs on this machine, or on a cluster, took.
pub struct Pace {
    /// Oldest first.
    done: Vec<Done>,
    /// Of the latest; none where its corpus is gone from the tree.
    seconds_per_flop: Option<f64>,
}

impl Pace {
    /// Of the complete training runs of this machine.
    pub fn here(project: &Project) -> Result<Self, FileError> {
        let own = environment::host().hostname_sha256;
        Self::on(project, |host| host.hostname_sha256 == own)
    }

    /// Of the complete training runs of any machine: a rough guide for one that has none.
    pub fn anywhere(project: &Project) -> Result<Self, FileError> {
        Self::on(project, |_| true)
    }

    /// Whether it knows of no run.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Of the complete training runs that Slurm started, whichever node they ran on.
    pub fn on_cluster(project: &Project) -> Result<Self, FileError> {
        Self::on(project, |host| host.slurm_job_id.is_some())
    }

    fn on(project: &Project, is_there: impl Fn(&Host) -> bool) -> Result<Self, FileError> {
        let mut done = Vec::new();
        for experiment in record::experiments_with_runs(project)? {
            for run in record::runs(project, &experiment)? {
                // A run that cannot be read says nothing of time; `harness runs` tells of it.
                let Ok(run) = SealedRun::open(project, &experiment, &run) else { continue };
                if run.record.status == Status::Completed && is_there(&run.open.host) {
                    done.push(Done::of(run));
                }
            }
        }
        done.sort_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
        let seconds_per_flop = done.last().and_then(|latest| {
            let flops = flops(project, &latest.run.experiment).ok()?;
            (flops > 0.0).then(|| latest.wall_time_s / flops)
        });
        Ok(Pace { done, seconds_per_flop })
    }

    /// What a run of a config takes; none where nothing here says.
    pub fn of(&self, plans: &Project, config: &Checked) -> Result<Option<Expected>, RunError> {
        let vocabulary_size = Corpus::of(plans, &config.corpus)?.vocabulary_size;
        let flops_per_token = config.model.training_flops_per_token(vocabulary_size);
        let tokens_per_s = self.seconds_per_flop.map(|pace| 1.0 / (pace * flops_per_token));
        // A budget of time has no steps without a rate to count them by.
        if config.is_timed() && tokens_per_s.is_none() {
            return Ok(None);
        }
        self.of_resolved(plans, &config.resolved(vocabulary_size, tokens_per_s)?)
    }

    /// The same where the steps are known. Those that it takes over from a trunk cost nothing again.
    pub fn of_resolved(&self, plans: &Project, experiment: &Experiment) -> Result<Option<Expected>, RunError> {
        let Some(latest) = self.done.last() else { return Ok(None) };
        let tokens = |steps: u64| experiment.training.tokens(steps, experiment.model.context_length) as f64;
        let taken_over = experiment.trunk.as_ref().map_or(0.0, |trunk| tokens(trunk.step));
        let share = 1.0 - taken_over / tokens(experiment.training.steps).max(1.0);
        let plan = experiment.plan_digest_but_seed();
        let own: Vec<&Done> =
            self.done.iter().filter(|done| done.run.experiment.plan_digest_but_seed() == plan).collect();
        if let Some(last) = own.last() {
            let seconds: Vec<f64> = own.iter().map(|done| done.wall_time_s).collect();
            return Ok(Some(last.expected(share * harness_statistics::mean(&seconds), own.len())));
        }
        let flops = flops(plans, experiment)?;
        Ok(self.seconds_per_flop.map(|pace| latest.expected(share * pace * flops, 0)))
    }
}

/// Seconds that a run has taken so far, up to the checkpoint that it goes on from and since it was opened, without those of a trunk;
/// none of no run.
pub fn spent_s(project: &Project, experiment: &ExperimentName, run: Option<&RunId>, now: Timestamp) -> f64 {
    let Some(open) = run.and_then(|run| record::opened(project, experiment, run)) else { return 0.0 };
    let before = |open: &Open| open.resumed_from.as_ref().map_or(0.0, |from| from.spent.wall_time_s);
    // The first run of the experiment itself: all that came before it is the trunk.
    let own = open.resumed_from.iter().flat_map(|from| &from.segments).find(|segment| segment.experiment.is_none());
    let of_trunk = match own {
        Some(own) => record::opened(project, experiment, &own.run).map_or(0.0, |own| before(&own)),
        None => before(&open),
    };
    let since = open.opened_at.parse::<Timestamp>().map_or(0.0, |at| now.duration_since(at).as_secs_f64());
    before(&open) - of_trunk + since
}

/// FLOPs of a run with its evaluations, as far as its data are here.
fn flops(plans: &Project, experiment: &Experiment) -> Result<f64, RunError> {
    let corpus = Corpus::of(plans, &experiment.corpus)?.with_tasks(plans, experiment);
    let forecast = Forecast::of(experiment, corpus, None);
    Ok(forecast.training_flops + forecast.validation_flops.unwrap_or(0.0) + forecast.task_flops.unwrap_or(0.0))
}
