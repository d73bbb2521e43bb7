//! What stands in the file of the queue.

use std::collections::BTreeSet;

use harness_core::names::{ExperimentName, RunId};
use harness_record::format::{Purpose, Record, Status};
use harness_study::trials;
use serde::{Deserialize, Serialize};

/// A run that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its number, which no other item of this queue ever had.
    pub id: u64,
    /// The experiment.
    pub experiment: ExperimentName,
    /// The trial of its study that the run is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u64>,
    /// The seed.
    pub seed: u64,
    /// What the run is for.
    pub purpose: Purpose,
    /// The commit that it is of.
    pub commit: String,
    /// Why it is run although the budget does not pay for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_budget: Option<String>,
    /// When it was added, in UTC.
    pub added_at: String,
    /// How far it is.
    pub state: State,
    /// Why it failed or is held.
    pub reason: Option<String>,
    /// The worker that works on it.
    pub worker: Option<String>,
    /// When it completed or failed, in UTC.
    pub ended_at: Option<String>,
    /// The runs that were made for it, oldest first; each goes on from one before it, where that had a checkpoint.
    pub runs: Vec<RunId>,
}

/// How far an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its turn will come.
    Waiting,
    /// A worker works on it.
    Running,
    /// Its last run is complete.
    Completed,
    /// Its last run failed, or could not be made.
    Failed,
    /// It waits until somebody adds it again, because others of its experiment failed.
    Held,
}

impl State {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Held => "held",
        }
    }
}

impl Item {
    /// Whether it asks for the same run.
    pub fn asks_for_the_same_as(&self, other: &Item) -> bool {
        let key = |item: &Item| (item.experiment.clone(), item.trial, item.seed, item.purpose, item.commit.clone());
        key(self) == key(other)
    }

    /// Whether its turn may still come, so that the checkout of its commit is needed.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Waiting | State::Running | State::Held)
    }

    /// What it is called in sentences.
    pub fn title(&self) -> String {
        match self.trial {
            Some(trial) => format!("item {} (`{}`, trial {trial})", self.id, self.experiment),
            None => format!("item {} (`{}`, seed {})", self.id, self.experiment, self.seed),
        }
    }

    /// Gives it back to the queue.
    pub fn wait(&mut self) {
        (self.state, self.reason, self.worker, self.ended_at) = (State::Waiting, None, None, None);
    }

    /// Ends it.
    pub fn end(&mut self, state: State, reason: Option<String>, at: String) {
        (self.state, self.reason, self.worker, self.ended_at) = (state, reason, None, Some(at));
    }

    /// Takes over what the sealed record of its last run says.
    pub fn follow(&mut self, record: &Record) {
        // A trial that fell behind, or whose values cannot be trained with, has its result.
        if self.trial.is_some()
            && let Some(decided) = trials::decided(record)
        {
            let reason = (decided != trials::State::Completed).then(|| decided.word().to_owned());
            return self.end(State::Completed, reason, record.ended_at.clone());
        }
        match (record.status, &record.failure) {
            (Status::Completed, _) => self.end(State::Completed, None, record.ended_at.clone()),
            // A run is interrupted by a person, and its disk filled by others: neither speaks against the run.
            (Status::Interrupted, _) => self.wait(),
            _ if record.is_stopped_by_system() => self.wait(),
            (Status::Failed, Some(failure)) if failure.kind == "disk_full" => self.wait(),
            (Status::Failed, failure) => {
                let reason = failure.as_ref().map_or("it gave no reason".to_owned(), |f| f.message.clone());
                self.end(State::Failed, Some(reason), record.ended_at.clone());
            }
        }
    }
}

/// The GPUs that a worker may use, as `CUDA_VISIBLE_DEVICES` names them; `None` is whatever the machine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices(pub Option<BTreeSet<String>>);

impl Devices {
    /// Of the value of `CUDA_VISIBLE_DEVICES`: none named is the processor.
    pub fn of(variable: Option<&str>) -> Self {
        Devices(variable.map(|text| {
            let named: BTreeSet<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
            let gpus = named.into_iter().filter(|name| !name.is_empty() && name != "-1");
            let gpus: BTreeSet<String> = gpus.collect();
            if gpus.is_empty() { BTreeSet::from(["cpu".to_owned()]) } else { gpus }
        }))
    }

    /// Whether two workers could come to use the same one.
    pub fn overlap(&self, other: &Devices) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => !one.is_disjoint(other),
            _ => true,
        }
    }
}

/// A worker as the queue knows it. It lives as long as it holds the lock of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerEntry {
    /// Its name, which no other worker ever had.
    pub id: String,
    /// Its process.
    pub pid: u32,
    /// What it may use.
    pub devices: Devices,
    /// It is to end after the run that it is at.
    pub stop: bool,
}

#[cfg(test)]
mod tests {
    use super::Devices;

    #[test]
    fn workers_share_no_device() {
        let of = |text: &str| Devices::of(Some(text));
        assert!(!of("0").overlap(&of("1")) && !of("0").overlap(&of("")) && !of("0,2").overlap(&of("1, 3")));
        assert!(of("0").overlap(&of("1,0")) && of("").overlap(&of("-1")));
        assert!(Devices::of(None).overlap(&of("3")) && of("3").overlap(&Devices::of(None)));
    }
}
