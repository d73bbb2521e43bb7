//! What a run takes: what runs of the same plan took here, or else the arithmetic of a [`Forecast`] at the pace of the latest run
//! here. Either way of runs of as many processes on the same kind of device, where there are any; where there are none, it says so.

use std::cell::OnceCell;
use std::fmt;

use harness_core::config::{AllDevices, Checked, Cluster, Device, Devices, Experiment, TrainingConfig};
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::format::{Host, Open, Status};
use harness_record::{self as record, SealedRun, environment};
use harness_study::ledger::{Spent, held_gpu_time_s};
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
    /// Processes that shared each of the runs that it comes from.
    pub ranks: u32,
    /// What these computed on: `cpu`, or the name of their GPU.
    pub device: String,
    /// What is to be said where these ran in another way than this one will.
    pub caveat: Option<String>,
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

/// What a run computed on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Computer {
    Cpu,
    /// By its name.
    Gpu(String),
}

impl fmt::Display for Computer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Computer::Cpu => f.write_str("cpu"),
            Computer::Gpu(name) => f.write_str(name),
        }
    }
}

/// How a run is to be made, as far as its time depends on it and it is known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// Processes; none for as many as the machine has GPUs.
    ranks: Option<u32>,
    /// The device; none for what the machine has.
    on: Option<Kind>,
}

/// A kind of device.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Cpu,
    /// Of a type, as a scheduler names it, where one is asked for.
    Gpu(Option<String>),
}

impl Wanted {
    fn is_like(&self, done: &Done) -> bool {
        // `"all"` and `"auto"` stand for the same on one machine, whatever that is.
        let training = &done.run.experiment.training;
        let ranks = match self.ranks {
            Some(ranks) => done.ranks == ranks,
            None => matches!(training.devices, Devices::All(AllDevices::All)),
        };
        let device = match (&self.on, &done.computer) {
            (None, computer) => training.device == Device::Auto || matches!(computer, Computer::Gpu(_)),
            (Some(Kind::Cpu), computer) => *computer == Computer::Cpu,
            (Some(Kind::Gpu(None)), computer) => matches!(computer, Computer::Gpu(_)),
            (Some(Kind::Gpu(Some(of))), Computer::Gpu(name)) => is_of_type(name, of),
            (Some(Kind::Gpu(Some(_))), Computer::Cpu) => false,
        };
        ranks && device
    }
}

/// Whether a GPU of this name is one of the type that a scheduler calls so: `NVIDIA A100-SXM4-40GB` is an `a100` or an
/// `nvidia_a100`, and no `a10`.
fn is_of_type(name: &str, of: &str) -> bool {
    let name = name.split_whitespace().collect::<String>().to_ascii_lowercase();
    let of = of.to_ascii_lowercase();
    let is_there = |word: &str| {
        let mut ends = name.match_indices(word).map(|(at, _)| at + word.len());
        ends.any(|end| !name[end..].starts_with(|c: char| c.is_ascii_digit()))
    };
    of.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).all(is_there)
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ranks.map_or_else(|| "a process for each GPU".to_owned(), processes))?;
        match &self.on {
            None => f.write_str(" on the device that `\"auto\"` finds"),
            Some(Kind::Cpu) => f.write_str(" on cpu"),
            Some(Kind::Gpu(None)) => f.write_str(" on a GPU"),
            Some(Kind::Gpu(Some(of))) => write!(f, " on `{of}`"),
        }
    }
}

fn processes(number: u32) -> String {
    if number == 1 { "1 process".to_owned() } else { format!("{number} processes") }
}

/// A complete run.
struct Done {
    run: SealedRun,
    wall_time_s: f64,
    ranks: u32,
    computer: Computer,
    /// Its own seconds for each FLOP; none where its corpus is gone from the tree.
    seconds_per_flop: OnceCell<Option<f64>>,
}

impl Done {
    /// With what the runs took that it goes on from, and of a trunk the share up to its step: as long as from nothing.
    fn of(run: SealedRun) -> Self {
        let before = run.open.resumed_from.as_ref().map_or(0.0, |from| from.spent.wall_time_s);
        let started = run.record.started.as_ref();
        let number = started.and_then(|started| started.device.strip_prefix("cuda"));
        let computer = number.map_or(Computer::Cpu, |number| {
            let number: usize = number.trim_start_matches(':').parse().unwrap_or(0);
            let gpu = started.and_then(|started| started.about.gpus.get(number));
            Computer::Gpu(gpu.map_or_else(|| "GPU".to_owned(), |gpu| gpu.name.clone()))
        });
        Done {
            wall_time_s: before + run.record.resources.wall_time_s,
            ranks: run.open.launch.world_size,
            computer,
            seconds_per_flop: OnceCell::new(),
            run,
        }
    }

    /// GPU seconds and joules for each second of the run itself.
    fn cost_per_s(&self) -> (Option<f64>, Option<f64>) {
        let resources = &self.run.record.resources;
        let per_s = |amount: f64| (resources.wall_time_s > 0.0).then(|| amount / resources.wall_time_s);
        let gpu_time_s = held_gpu_time_s(&self.run.open, resources);
        (per_s(gpu_time_s).filter(|&share| share > 0.0), resources.energy_j.and_then(per_s))
    }

    /// Whether another was made in the same way.
    fn is_like(&self, other: &Done) -> bool {
        (self.ranks, &self.computer) == (other.ranks, &other.computer)
    }

    fn seconds_per_flop(&self, project: &Project) -> Option<f64> {
        *self.seconds_per_flop.get_or_init(|| {
            let flops = flops(project, &self.run.experiment).ok()?;
            (flops > 0.0).then(|| self.wall_time_s / flops)
        })
    }

    fn expected(&self, seconds: f64, runs_of_the_plan: usize, caveat: Option<String>) -> Expected {
        let (gpu_share, power_w) = self.cost_per_s();
        Expected {
            seconds,
            runs_of_the_plan,
            ranks: self.ranks,
            device: self.computer.to_string(),
            caveat,
            gpu_hours: gpu_share.map(|share| share * seconds / 3600.0),
            energy_kwh: power_w.map(|power_w| power_w * seconds / 3.6e6),
        }
    }
}

/// Whether as many processes shared all that a run consists of: else its time is that of neither number.
fn is_of_one_size(project: &Project, run: &SealedRun) -> bool {
    let segments = run.open.resumed_from.iter().flat_map(|from| &from.segments);
    let mut opens = segments.filter_map(|segment| {
        let experiment = segment.experiment.as_ref().unwrap_or(&run.open.experiment);
        record::opened(project, experiment, &segment.run)
    });
    opens.all(|open| open.launch.world_size == run.open.launch.world_size)
}

/// What runs on this machine, or on a cluster, took.
pub struct Pace {
    project: Project,
    /// Oldest first.
    done: Vec<Done>,
    /// How runs are to be made.
    place: Place,
}

/// What says how a run is to be made.
enum Place {
    /// Its own config, on this machine.
    Config,
    /// The cluster that it is submitted to.
    Cluster(Box<Cluster>),
    /// Whoever has started so many processes.
    Ranks(u32),
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

    /// Of the complete training runs that Slurm started, whichever node they ran on.
    pub fn on_cluster(project: &Project) -> Result<Self, FileError> {
        Self::on(project, |host| host.slurm_job_id.is_some())
    }

    /// The same for runs that are submitted to a cluster.
    pub fn submitted_to(self, cluster: &Cluster) -> Self {
        Pace { place: Place::Cluster(Box::new(cluster.clone())), ..self }
    }

    /// The same for a run that is started as so many processes.
    pub fn with_ranks(self, ranks: u32) -> Self {
        Pace { place: Place::Ranks(ranks), ..self }
    }

    /// Whether it knows of no run.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    fn on(project: &Project, is_there: impl Fn(&Host) -> bool) -> Result<Self, FileError> {
        let mut done = Vec::new();
        for experiment in record::experiments_with_runs(project)? {
            for run in record::runs(project, &experiment)? {
                // A run that cannot be read says nothing of time; `harness runs` tells of it.
                let Ok(run) = SealedRun::open(project, &experiment, &run) else { continue };
                if run.record.status == Status::Completed && is_there(&run.open.host) && is_of_one_size(project, &run) {
                    done.push(Done::of(run));
                }
            }
        }
        done.sort_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
        Ok(Pace { project: project.clone(), done, place: Place::Config })
    }

    fn wanted(&self, training: &TrainingConfig) -> Wanted {
        let ranks = match (training.devices, training.device) {
            (Devices::Count(count), _) => Some(count.get()),
            (Devices::All(AllDevices::All), Device::Cpu) => Some(1),
            (Devices::All(AllDevices::All), Device::Auto | Device::Cuda) => None,
        };
        let on = match training.device {
            Device::Cpu => Some(Kind::Cpu),
            Device::Cuda => Some(Kind::Gpu(None)),
            Device::Auto => None,
        };
        match &self.place {
            Place::Config => Wanted { ranks, on },
            Place::Ranks(ranks) => Wanted { ranks: Some(*ranks), on },
            Place::Cluster(cluster) => {
                let on = if cluster.gpus > 0 { Kind::Gpu(cluster.gpu_type.clone()) } else { Kind::Cpu };
                Wanted { ranks: Some(cluster.ranks(training)), on: Some(on) }
            }
        }
    }

    /// The latest run that was made as one of these choices will be.
    fn latest_like(&self, wanted: &Wanted) -> Option<&Done> {
        self.done.iter().rev().find(|done| wanted.is_like(done))
    }

    /// What a run of a config takes; none where nothing here says.
    pub fn of(&self, plans: &Project, config: &Checked) -> Result<Option<Expected>, RunError> {
        let vocabulary_size = Corpus::of(plans, &config.corpus)?.vocabulary_size;
        let flops_per_token = config.model.training_flops_per_token(vocabulary_size);
        let pace = self.latest_like(&self.wanted(&config.training)).or(self.done.last());
        let tokens_per_s = pace.and_then(|done| Some(1.0 / (done.seconds_per_flop(&self.project)? * flops_per_token)));
        // A budget of time has no steps without a rate to count them by.
        if config.is_timed() && tokens_per_s.is_none() {
            return Ok(None);
        }
        self.of_resolved(plans, &config.resolved(vocabulary_size, tokens_per_s)?)
    }

    /// The same where the steps are known. Those that it takes over from a trunk cost nothing again.
    pub fn of_resolved(&self, plans: &Project, experiment: &Experiment) -> Result<Option<Expected>, RunError> {
        let tokens = |steps: u64| experiment.training.tokens(steps, experiment.model.context_length) as f64;
        let taken_over = experiment.trunk.as_ref().map_or(0.0, |trunk| tokens(trunk.step));
        let share = 1.0 - taken_over / tokens(experiment.training.steps).max(1.0);
        let plan = experiment.plan_digest_but_seed();
        let own: Vec<&Done> =
            self.done.iter().filter(|done| done.run.experiment.plan_digest_but_seed() == plan).collect();
        let mean = |of: &[&Done], caveat: Option<String>| {
            let seconds: Vec<f64> = of.iter().map(|done| done.wall_time_s).collect();
            let last = of.last().expect("they are some");
            last.expected(share * harness_statistics::mean(&seconds), of.len(), caveat)
        };
        let wanted = self.wanted(&experiment.training);
        let like: Vec<&Done> = own.iter().filter(|done| wanted.is_like(done)).copied().collect();
        if !like.is_empty() {
            return Ok(Some(mean(&like, None)));
        }
        let caveat = |done: &Done| {
            let (number, device) = (processes(done.ranks), &done.computer);
            Some(format!("computed from runs with {number} on {device}; there is none with {wanted}"))
        };
        let by_flops = |done: &Done, caveat| -> Result<Option<Expected>, RunError> {
            let flops = flops(plans, experiment)?;
            let pace = done.seconds_per_flop(&self.project);
            Ok(pace.map(|pace| done.expected(share * pace * flops, 0, caveat)))
        };
        if let Some(latest) = self.latest_like(&wanted) {
            return by_flops(latest, None);
        }
        // Nothing ran in this way. How much faster more processes are nobody has measured, so that nothing is scaled.
        if let Some(last) = own.last() {
            let as_last: Vec<&Done> = own.iter().filter(|done| done.is_like(last)).copied().collect();
            return Ok(Some(mean(&as_last, caveat(last))));
        }
        self.done.last().map_or(Ok(None), |latest| by_flops(latest, caveat(latest)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_of_the_type_that_a_scheduler_calls_it_by() {
        for of in ["a100", "A100", "nvidia_a100", "a100-sxm4-40gb"] {
            assert!(is_of_type("NVIDIA A100-SXM4-40GB", of), "{of}");
        }
        for of in ["a10", "h100", "a100-80gb", "a100-pcie"] {
            assert!(!is_of_type("NVIDIA A100-SXM4-40GB", of), "{of}");
        }
        assert!(is_of_type("NVIDIA GeForce RTX 3090", "rtx3090") && !is_of_type("NVIDIA L40S", "l4"));
    }
}
