//! What was spent, as the records say: every run of every experiment, however it ended and whether it counts, with later
//! evaluations and probes. Nothing is kept beside the records, so that nothing has to be kept in step with them.
//!
//! The records are read as they lie there: what was changed after it was sealed has cost its time all the same, and
//! `harness audit` tells of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, AddAssign};

use harness_core::config::Phase;
use harness_core::contract::Started;
use harness_core::files::{self, FileError};
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::scores::{StepLine, parse_csv};
use harness_record::format::{Open, Purpose, Record, Resources, Status, file, read_open, read_record};
use harness_record::select::Traces;
use harness_record::{all_runs, dropped, experiments, lived_s};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Time and energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spent {
    /// Seconds on GPUs.
    pub gpu_time_s: f64,
    /// Seconds on processors: of the machine, however many cores were used.
    pub cpu_time_s: f64,
    /// Joules, where they were measured.
    pub energy_j: f64,
}

impl Spent {
    /// Seconds on either.
    pub fn time_s(&self) -> f64 {
        self.gpu_time_s + self.cpu_time_s
    }

    /// So many times as much.
    pub fn times(self, factor: f64) -> Self {
        let Spent { gpu_time_s, cpu_time_s, energy_j } = self;
        Spent { gpu_time_s: factor * gpu_time_s, cpu_time_s: factor * cpu_time_s, energy_j: factor * energy_j }
    }
}

impl Add for Spent {
    type Output = Spent;

    fn add(self, other: Spent) -> Spent {
        Spent {
            gpu_time_s: self.gpu_time_s + other.gpu_time_s,
            cpu_time_s: self.cpu_time_s + other.cpu_time_s,
            energy_j: self.energy_j + other.energy_j,
        }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Spent) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Spent {
    fn sum<I: Iterator<Item = Spent>>(amounts: I) -> Spent {
        amounts.fold(Spent::default(), Add::add)
    }
}

/// How an entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All steps were done.
    Completed,
    /// It ended early on request.
    Interrupted,
    /// An error, a crash or a kill ended it.
    Failed,
    /// It goes on, or its supervisor was killed.
    Open,
    /// Its record cannot be read.
    Unreadable,
}

impl State {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            State::Completed => "completed",
            State::Interrupted => "interrupted",
            State::Failed => "failed",
            State::Open => "open",
            State::Unreadable => "unreadable",
        }
    }
}

/// How well the cost of an entry is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// The record holds it.
    Measured,
    /// Up to its last sign of life: its end was not seen.
    AtLeast,
    /// Nothing says what it took.
    Unknown,
}

/// A run, an evaluation or a probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The run; for a probe, its file in the project.
    pub name: String,
    /// Whether it is a probe.
    pub is_probe: bool,
    /// The experiment.
    pub experiment: ExperimentName,
    /// What it was spent on.
    pub phase: Phase,
    /// What it was for, where its record says.
    pub purpose: Option<Purpose>,
    /// How it ended.
    pub state: State,
    /// Somebody took it out of what counts.
    pub is_dropped: bool,
    /// It has no folder any more.
    pub is_deleted: bool,
    /// Who wrote its commit, where it is here.
    pub person: Option<String>,
    /// When it began and ended, in UTC, where a record says.
    pub begun_at: Option<String>,
    /// None of what never ended.
    pub ended_at: Option<String>,
    /// Why it was run although the budget did not pay for it.
    pub over_budget: Option<String>,
    /// Its cost: of a run that begins from a trunk that of its own steps alone.
    pub spent: Spent,
    /// What the steps cost that it took over from a trunk, where it did: from nothing it would have taken so much more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_over: Option<Spent>,
    /// How well that is known.
    pub known: Known,
}

impl Entry {
    /// A run of which nothing but its name is known.
    pub fn unknown(experiment: &ExperimentName, run: &RunId) -> Self {
        Entry {
            name: run.to_string(),
            is_probe: false,
            experiment: experiment.clone(),
            phase: Phase::Explore,
            purpose: None,
            state: State::Unreadable,
            is_dropped: false,
            is_deleted: false,
            person: None,
            begun_at: None,
            ended_at: None,
            over_budget: None,
            spent: Spent::default(),
            taken_over: None,
            known: Known::Unknown,
        }
    }
}

/// What several entries come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Total {
    /// How many entries.
    pub entries: usize,
    /// Their cost.
    pub spent: Spent,
    /// Entries that took more than is known.
    pub at_least: usize,
    /// Entries of which no cost is known.
    pub unknown: usize,
}

impl Total {
    /// Of these entries.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut total = Total::default();
        for entry in entries {
            total.entries += 1;
            total.spent += entry.spent;
            total.at_least += usize::from(entry.known == Known::AtLeast);
            total.unknown += usize::from(entry.known == Known::Unknown);
        }
        total
    }
}

/// Everything that was spent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ledger {
    /// The entries, in the order of their names, which is that of their age.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// Of a project: what lies in its folders, and what its history says of runs that were deleted.
    pub fn of(project: &Project, traces: &Traces) -> Result<Self, FileError> {
        let mut entries: BTreeMap<RunId, Entry> = BTreeMap::new();
        // Runs that others name, with the experiment of those.
        let mut named: BTreeMap<RunId, ExperimentName> = BTreeMap::new();
        let mut add = |run: &RunId, entry: Entry, open: Option<&Open>| {
            // A folder that was copied was paid for once.
            entries.entry(run.clone()).or_insert_with(|| entry);
            let Some(open) = open else { return };
            let origin = open.resumed_from.iter().map(|from| (&from.run, from.experiment.as_ref()));
            let evaluated = open.evaluates.iter().map(|evaluated| (&evaluated.run, None));
            let heads = open.heads.iter().map(|head| (&head.run, head.experiment.as_ref()));
            for (other, of) in origin.chain(heads).chain(evaluated) {
                named.entry(other.clone()).or_insert_with(|| of.unwrap_or(&open.experiment).clone());
            }
        };
        let mut out: BTreeMap<RunId, ExperimentName> = BTreeMap::new();
        for experiment in harness_record::experiments_with_runs(project)? {
            out.extend(dropped(project, &experiment)?.into_keys().map(|run| (run, experiment.clone())));
        }
        for (experiment, run) in all_runs(project)? {
            let folder = project.run(&experiment, &run);
            let (entry, open) = of_run(&experiment, &run, traces, &|name| files::read(&folder.join(name)).ok());
            add(&run, Entry { is_dropped: out.contains_key(&run), ..entry }, open.as_ref());
        }
        for (run, experiment, commit) in traces.deleted() {
            let read = |name: &str| traces.file_at(experiment, run, commit, name);
            let (entry, open) = of_run(experiment, run, traces, &read);
            add(run, Entry { is_dropped: out.contains_key(run), is_deleted: true, ..entry }, open.as_ref());
        }
        for (run, experiment) in &out {
            add(run, Entry { is_dropped: true, is_deleted: true, ..Entry::unknown(experiment, run) }, None);
        }
        let gone: Vec<(RunId, ExperimentName)> =
            named.into_iter().filter(|(run, _)| !entries.contains_key(run)).collect();
        for (run, experiment) in gone {
            let entry = Entry { is_deleted: true, ..Entry::unknown(&experiment, &run) };
            entries.insert(run, entry);
        }
        let mut entries: Vec<Entry> = entries.into_values().collect();
        for experiment in experiments(project)? {
            entries.extend(probes(project, &experiment, traces)?);
        }
        Ok(Ledger { entries })
    }

    /// All of it.
    pub fn total(&self) -> Total {
        Total::of(&self.entries)
    }

    /// The entries of a phase.
    pub fn phase(&self, phase: Phase) -> Total {
        Total::of(self.entries.iter().filter(|entry| entry.phase == phase))
    }

    /// What ended, or began where no end is known, at or after a time.
    pub fn since(&self, time: Timestamp) -> Total {
        let at = |entry: &&Entry| {
            let at = entry.ended_at.as_ref().or(entry.begun_at.as_ref());
            at.and_then(|at| at.parse::<Timestamp>().ok()).is_some_and(|at| at >= time)
        };
        Total::of(self.entries.iter().filter(at))
    }

    /// When each entry ended, or began where no end is known, in days since the first began; in that order, without those of
    /// which no time is known.
    pub fn over_time(&self) -> Vec<(f64, &Entry)> {
        let first = self.first();
        let day = |entry: &Entry| Some(days_between(first?, time(&entry.ended_at).or(time(&entry.begun_at))?));
        let mut all: Vec<(f64, &Entry)> = self.entries.iter().filter_map(|e| Some((day(e)?, e))).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    }

    /// Days from the beginning of the first entry to the end of a date such as `2026-12-20`, in UTC.
    pub fn days_until(&self, date: &str) -> Option<f64> {
        Some(days_between(self.first()?, format!("{date}T23:59:59Z").parse().ok()?))
    }

    fn first(&self) -> Option<Timestamp> {
        self.entries.iter().filter_map(|entry| time(&entry.begun_at)).min()
    }

    /// The totals by what `key` says of an entry, in the order of the keys.
    pub fn by(&self, key: impl Fn(&Entry) -> String) -> BTreeMap<String, Total> {
        let keys: BTreeSet<String> = self.entries.iter().map(&key).collect();
        let of = |wanted: &String| Total::of(self.entries.iter().filter(|entry| key(entry) == *wanted));
        keys.iter().map(|wanted| (wanted.clone(), of(wanted))).collect()
    }
}

fn time(text: &Option<String>) -> Option<Timestamp> {
    text.as_ref()?.parse().ok()
}

fn days_between(first: Timestamp, then: Timestamp) -> f64 {
    then.duration_since(first).as_secs_f64().max(0.0) / 86_400.0
}

/// What the files of a run say.
fn of_run(
    experiment: &ExperimentName,
    run: &RunId,
    traces: &Traces,
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> (Entry, Option<Open>) {
    let entry = Entry::unknown(experiment, run);
    let Some(open) = read(file::OPEN).and_then(|bytes| read_open(&bytes).ok()) else { return (entry, None) };
    let record = read(file::RECORD).map(|bytes| read_record(&bytes));
    let (state, ended_at) = match &record {
        None => (State::Open, None),
        Some(Err(_)) => (State::Unreadable, None),
        Some(Ok(record)) => {
            let state = match record.status {
                Status::Completed => State::Completed,
                Status::Interrupted => State::Interrupted,
                Status::Failed => State::Failed,
            };
            (state, Some(record.ended_at.clone()))
        }
    };
    let (spent, known) =
        match record.as_ref().and_then(|record| record.as_ref().ok()).and_then(|it| measured(&open, it)) {
            Some(spent) => (spent, Known::Measured),
            None => match last_sign_of_life(&open, read) {
                Some(spent) => (spent, Known::AtLeast),
                None => (Spent::default(), Known::Unknown),
            },
        };
    let entry = Entry {
        phase: phase(&open),
        purpose: Some(open.plan.purpose),
        state,
        person: traces.author_of(&open.code.commit),
        begun_at: Some(open.opened_at.clone()),
        ended_at,
        over_budget: open.plan.over_budget.clone(),
        spent,
        taken_over: open.resumed_from.as_ref().filter(|from| from.experiment.is_some()).map(|from| Spent {
            gpu_time_s: from.spent.gpu_time_s,
            cpu_time_s: if from.spent.gpu_time_s > 0.0 { 0.0 } else { from.spent.wall_time_s },
            energy_j: 0.0,
        }),
        known,
        ..entry
    };
    (entry, Some(open))
}

/// What a run is spent on.
fn phase(open: &Open) -> Phase {
    let configs = open.plan.files.iter().filter(|file| file.path.ends_with("/experiment.toml")).count();
    match open.plan.purpose {
        _ if open.evaluates.is_some() => Phase::Evaluate,
        purpose => phase_of(purpose, configs > 1),
    }
}

/// What a run for this purpose is spent on, of an experiment that changes another or not.
pub fn phase_of(purpose: Purpose, changes_another: bool) -> Phase {
    match purpose {
        Purpose::Tune => Phase::Tune,
        Purpose::Confirm => Phase::Confirm,
        Purpose::Final => Phase::Final,
        Purpose::Explore if changes_another => Phase::Explore,
        Purpose::Explore => Phase::Baseline,
    }
}

/// GPU seconds that nobody else could have: those of the GPUs that a run computed on, or of all that the queue of a cluster has lent
/// it, where these are more.
pub fn held_gpu_time_s(open: &Open, resources: &Resources) -> f64 {
    resources.gpu_time_s.max(resources.wall_time_s * f64::from(lent_gpus(open)))
}

fn lent_gpus(open: &Open) -> u32 {
    open.launch.scheduler.as_ref().and_then(|scheduler| scheduler.gpus).unwrap_or(0)
}

/// What its record says a run took; none where its end was not seen.
fn measured(open: &Open, record: &Record) -> Option<Spent> {
    let abandoned = record.failure.as_ref().is_some_and(|failure| failure.kind == "abandoned");
    let resources = &record.resources;
    let gpu_time_s = held_gpu_time_s(open, resources);
    (!abandoned).then(|| Spent {
        gpu_time_s,
        cpu_time_s: if gpu_time_s > 0.0 { 0.0 } else { resources.wall_time_s },
        energy_j: resources.energy_j.unwrap_or(0.0),
    })
}

/// What a run took up to the last event of its log, or the last of its steps if that is later.
fn last_sign_of_life(open: &Open, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<Spent> {
    #[derive(Deserialize)]
    struct Event {
        at: String,
        event: String,
        #[serde(default)]
        body: serde_json::Value,
    }
    let log = String::from_utf8_lossy(&read(file::LOG)?).into_owned();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
    // What was written by whoever sealed it later is no sign of its life.
    let events: Vec<Event> = events.take_while(|event| event.event != "abandoned").collect();
    let (first, last) = (events.first()?, events.last()?);
    let [first, last] = [first, last].map(|event| event.at.parse::<Timestamp>().ok());
    let times = [first?, last?];
    let inherited = open.resumed_from.as_ref().map_or(0, |from| from.step);
    // The last row may be torn.
    let rows = read(file::STEPS).unwrap_or_default();
    let whole = rows.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let rows: Vec<StepLine> = parse_csv(&rows[..whole], file::STEPS).unwrap_or_default();
    let started = events.iter().find(|event| event.event == "started");
    let computing = started.map_or(0, |event| match Started::deserialize(&event.body) {
        Ok(started) => started.gpus(),
        Err(_) => usize::from(event.body["device"].as_str().is_some_and(|device| device.starts_with("cuda"))),
    });
    let gpus = computing.max(lent_gpus(open) as usize);
    let seconds = lived_s(&times, inherited, &rows);
    let (gpu_time_s, cpu_time_s) = if gpus > 0 { (seconds * gpus as f64, 0.0) } else { (0.0, seconds) };
    Some(Spent { gpu_time_s, cpu_time_s, energy_j: 0.0 })
}

/// The probes of an experiment whose results are here.
fn probes(project: &Project, experiment: &ExperimentName, traces: &Traces) -> Result<Vec<Entry>, FileError> {
    /// What `probe.json` says of its cost; version 1 did not.
    #[derive(Deserialize)]
    struct Probe {
        at: String,
        device: String,
        commit: Option<String>,
        wall_time_s: Option<f64>,
        energy_j: Option<f64>,
        /// Of all its processes; left out of what was written before they were counted.
        gpus: Option<u32>,
    }
    let folder = project.probes(experiment);
    let mut entries = Vec::new();
    for name in files::list(&folder)?.into_iter().filter(|name| name.ends_with(".json")) {
        let Ok(probe) = serde_json::from_slice::<Probe>(&files::read(&folder.join(&name))?) else { continue };
        let seconds = probe.wall_time_s.unwrap_or(0.0);
        let on_gpu = probe.device.starts_with("cuda");
        let gpus = f64::from(probe.gpus.unwrap_or(1));
        let (gpu_time_s, cpu_time_s) = if on_gpu { (gpus * seconds, 0.0) } else { (0.0, seconds) };
        entries.push(Entry {
            name: format!("experiments/{experiment}/probes/{name}"),
            is_probe: true,
            experiment: experiment.clone(),
            phase: Phase::Tune,
            purpose: None,
            state: State::Completed,
            is_dropped: false,
            is_deleted: false,
            person: probe.commit.and_then(|commit| traces.author_of(&commit)),
            begun_at: None,
            ended_at: Some(probe.at),
            over_budget: None,
            spent: Spent { gpu_time_s, cpu_time_s, energy_j: probe.energy_j.unwrap_or(0.0) },
            taken_over: None,
            known: if probe.wall_time_s.is_some() { Known::Measured } else { Known::Unknown },
        });
    }
    Ok(entries)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(experiment: &str, phase: Phase, seconds: f64, ended_at: &str, known: Known) -> Entry {
        let run = RunId::new(&ended_at.replace(['-', ':'], ""), 7);
        Entry {
            phase,
            ended_at: Some(ended_at.to_owned()),
            spent: Spent { cpu_time_s: seconds, ..Spent::default() },
            known,
            ..Entry::unknown(&experiment.parse().unwrap(), &run)
        }
    }

    #[test]
    fn every_total_adds_up_to_the_whole() {
        let ledger = Ledger {
            entries: vec![
                entry("one", Phase::Baseline, 100.25, "2026-11-20T00:00:00Z", Known::Measured),
                entry("two", Phase::Confirm, 7.5, "2026-11-27T00:00:00Z", Known::AtLeast),
                entry("two", Phase::Tune, 0.0, "2026-11-28T00:00:00Z", Known::Unknown),
            ],
        };
        let whole = ledger.total();
        assert_eq!((whole.entries, whole.at_least, whole.unknown), (3, 1, 1));
        for key in [|entry: &Entry| entry.experiment.to_string(), |entry: &Entry| entry.phase.word().to_owned()] {
            let parts = ledger.by(key);
            assert_eq!(parts.values().map(|part| part.spent).sum::<Spent>(), whole.spent);
            assert_eq!(parts.values().map(|part| part.entries).sum::<usize>(), 3);
        }
        assert_eq!(ledger.phase(Phase::Confirm).spent.cpu_time_s, 7.5);
        assert_eq!(ledger.since("2026-11-26T12:00:00Z".parse().unwrap()).entries, 2);
    }
}
