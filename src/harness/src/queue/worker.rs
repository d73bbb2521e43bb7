//! Works a queue off on this machine, one item after the other.

use harness_core::contract::Message;
use harness_core::files::Lock;
use harness_core::names::{Project, RunId};
use harness_corpus::Progress;
use harness_record::format::{Open, Status};
use harness_record::git::Git;
use harness_record::{RecordError, SealedRun, environment, load_config};
use harness_study::points::Opened;

use super::error::QueueError;
use super::item::{Devices, Item, State};
use super::list::Queue;
use crate::run::{self, Interrupts, Options, Outcome, Resume, RunContext, RunError, Watcher, Workload};
use crate::trials::worker::one;

/// What makes the surroundings of a run: of a project as it is at a commit.
pub type Contexts<'s> = dyn for<'a> Fn(&'a Project, &'a Git) -> RunContext<'a> + 's;

/// Why a worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing waits any more.
    Done,
    /// It was asked to end after a run.
    Asked,
    /// The run that it was at was interrupted.
    Interrupted,
    /// The system had the run stopped that it was at.
    StoppedBySystem,
}

/// Works a queue off.
pub struct Worker<'a> {
    queue: &'a Queue,
    project: &'a Project,
    git: &'a Git,
    id: String,
    /// Held for its life.
    _lock: Lock,
}

impl<'a> Worker<'a> {
    /// Registers with the queue of a project. Refused where another worker may use the same devices.
    pub fn new(queue: &'a Queue, project: &'a Project, git: &'a Git, devices: &Devices) -> Result<Self, QueueError> {
        let (id, lock) = queue.register(devices)?;
        Ok(Worker { queue, project, git, id, _lock: lock })
    }

    /// Works until nothing waits any more, or somebody wishes it to stop.
    pub fn work(self, contexts: &Contexts, watcher: &mut dyn Watcher) -> Result<End, QueueError> {
        let end = self.items(contexts, watcher);
        // What was worked off counts more than a list that could not be tidied up.
        let left = self.queue.leave(&self.id).and_then(|()| self.queue.prune(self.git));
        let end = end?;
        left?;
        Ok(end)
    }

    fn items(&self, contexts: &Contexts, watcher: &mut dyn Watcher) -> Result<End, QueueError> {
        while let Some(item) = self.queue.take(&self.id, &|item, all| self.has_to_wait(item, all))? {
            watcher.progress().note(&item.title());
            let outcome = self.run(&item, contexts, watcher);
            if let Some(end) = self.settle(&item, outcome, watcher)? {
                return Ok(end);
            }
        }
        let waits = self.queue.read()?.items.iter().any(|item| item.state == State::Waiting);
        Ok(if waits { End::Asked } else { End::Done })
    }

    /// Whether another worker is at the run that an item begins from.
    fn has_to_wait(&self, item: &Item, all: &[Item]) -> bool {
        let is_like = |other: &&Item| {
            other.state == State::Running
                && other.trial.is_none()
                && (other.seed, other.purpose) == (item.seed, item.purpose)
        };
        let running: Vec<&Item> = all.iter().filter(is_like).collect();
        if running.is_empty() {
            return false;
        }
        let project = self.project.seen_in(self.git.project_in(&self.project.snapshot(&item.commit)));
        let trunk = load_config(&project, &item.experiment).ok().and_then(|loaded| loaded.experiment.trunk.clone());
        trunk.is_some_and(|trunk| running.iter().any(|other| other.experiment == trunk.experiment))
    }

    /// Runs an item from a checkout of its commit; from the last checkpoint of its earlier runs, if there is one.
    /// None for a trial that another process has done meanwhile.
    fn run(&self, item: &Item, contexts: &Contexts, watcher: &mut dyn Watcher) -> Result<Option<Outcome>, RunError> {
        let git = self.git.snapshot(&item.commit, &self.project.snapshot(&item.commit))?;
        let project = self.project.seen_in(git.root());
        let context = contexts(&project, &git);
        let mut watcher = Noting { queue: self.queue, item: item.id, watcher };
        if let Some(trial) = item.trial {
            return one(
                &context,
                &Opened::of(&project, &item.experiment)?,
                trial,
                item.over_budget.as_deref(),
                &mut watcher,
            );
        }
        let over_budget = item.over_budget.clone();
        let mut options = Options { seed: Some(item.seed), purpose: item.purpose, over_budget, ..Options::default() };
        let can_be_read = |run: &&RunId| {
            let read = SealedRun::open(self.project, &item.experiment, run);
            matches!(read, Ok(_) | Err(RecordError::NotSealed { .. }))
        };
        // One that was killed while it was sealed says nothing that can be relied on.
        let earlier: Vec<RunId> = item.runs.iter().filter(can_be_read).cloned().collect();
        options.resume = (!earlier.is_empty()).then_some(Resume::Of(earlier));
        run::run_or_resume(&context, &item.experiment, options, &mut watcher).map(Some)
    }

    /// Writes down what became of an item. Gives why the worker is to end, if it is.
    fn settle(
        &self,
        item: &Item,
        outcome: Result<Option<Outcome>, RunError>,
        watcher: &mut dyn Watcher,
    ) -> Result<Option<End>, QueueError> {
        let stopped = |problem: String| Err(QueueError::Stopped { id: item.id, problem });
        let (after, held) = match &outcome {
            Ok(Some(outcome)) => self.queue.settle(item.id, |item| item.follow(&outcome.record))?,
            Ok(None) => {
                let (at, why) = (environment::now().to_string(), "done by another process".to_owned());
                self.queue.settle(item.id, |item| item.end(State::Completed, Some(why), at))?
            }
            Err(error) if is_in_the_way_of_all(error) || matches!(error, RunError::Interrupted) => {
                // On a full disk this may fail too; then the item is found without a worker at the next start.
                let _ = self.queue.settle(item.id, Item::wait);
                return if matches!(error, RunError::Interrupted) {
                    Ok(Some(End::Interrupted))
                } else {
                    stopped(error.without_allowances())
                };
            }
            Err(error) => {
                let at = environment::now().to_string();
                self.queue.settle(item.id, |item| item.end(State::Failed, Some(error.without_allowances()), at))?
            }
        };
        let made = outcome.as_ref().ok().and_then(Option::as_ref);
        let run = made.map_or(String::new(), |outcome| format!(" run {}", outcome.run));
        let reason = after.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        watcher.progress().note(&format!("{}: {}{run}{reason}", after.title(), after.state.word()));
        if held > 0 {
            watcher.progress().note(&format!(
                "the last runs of `{}` all failed, so {held} more are held; adding them again releases them",
                after.experiment
            ));
        }
        match made.map(|outcome| &outcome.record).filter(|_| after.state == State::Waiting) {
            Some(record) if record.is_stopped_by_system() => Ok(Some(End::StoppedBySystem)),
            Some(record) if record.status == Status::Interrupted => Ok(Some(End::Interrupted)),
            // The run failed for want of room, so that its item waits.
            Some(record) => {
                let failure = record.failure.as_ref();
                stopped(failure.map_or("the disk is full".to_owned(), |failure| failure.message.clone()))
            }
            None => Ok(None),
        }
    }
}

/// Whether an error says nothing of the item: every other would meet it too.
fn is_in_the_way_of_all(error: &RunError) -> bool {
    let of_the_place = matches!(
        error,
        RunError::Stale { .. }
            | RunError::OverBudget(_)
            | RunError::Trainer { .. }
            | RunError::NoTrainer { .. }
            | RunError::Git(_)
            | RunError::Unwelcome(_)
    );
    of_the_place || error.is_disk_full()
}

/// Writes each run into the queue before it is opened, so that whoever finds the worker dead knows which run it was at.
struct Noting<'a> {
    queue: &'a Queue,
    item: u64,
    watcher: &'a mut dyn Watcher,
}

impl Watcher for Noting<'_> {
    fn progress(&mut self) -> &mut dyn Progress {
        self.watcher.progress()
    }

    fn opened(&mut self, open: &Open, workload: &Workload) -> Result<Interrupts, RunError> {
        self.queue.opened(self.item, &open.run).map_err(|error| RunError::Unwelcome(Box::new(error)))?;
        self.watcher.opened(open, workload)
    }

    fn message(&mut self, message: &Message) {
        self.watcher.message(message);
    }

    fn closed(&mut self) {
        self.watcher.closed();
    }
}
