//! The file of the queue. It is changed by one process at a time, which holds a lock meanwhile, and written, synced and
//! renamed, so that it is whole at every moment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use harness_core::files::{self, Lock};
use harness_core::names::{Project, RunId};
use harness_record::git::Git;
use harness_record::{SealedRun, environment, pretty};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::error::QueueError;
use super::item::{Devices, Item, State, WorkerEntry};
use crate::cluster::commits_in_use;

/// Version of the file.
pub const FORMAT: u32 = 1;

/// After so many failures of an experiment, one after the other, the rest of its items are held.
const FAILURES: usize = 3;

/// The queue of a project.
#[derive(Clone, Debug)]
pub struct Queue {
    project: Project,
    folder: PathBuf,
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// [`FORMAT`]
    pub format: u32,
    /// The number of the next item.
    pub next_id: u64,
    /// The items in the order of their turns.
    pub items: Vec<Item>,
    /// The workers that are registered.
    pub workers: Vec<WorkerEntry>,
}

/// What became of an item that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Added {
    /// It is new.
    New,
    /// It had failed or was held, and waits again.
    Again,
    /// It waits or runs already.
    Already,
    /// It has completed.
    Completed,
}

impl Content {
    fn item(&mut self, id: u64) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.id == id)
    }

    /// Holds what waits of an experiment of which the last items all failed. Gives how many are held by this.
    fn hold_what_fails(&mut self, of: &Item) -> usize {
        let same = |item: &&Item| item.experiment == of.experiment && item.ended_at.is_some() && item.trial.is_none();
        let mut ended: Vec<&Item> = self.items.iter().filter(same).collect();
        ended.sort_by_key(|item| (item.ended_at.clone(), item.id));
        let last = &ended[ended.len().saturating_sub(FAILURES)..];
        if last.len() < FAILURES || last.iter().any(|item| item.state != State::Failed) {
            return 0;
        }
        let waiting = |item: &&mut Item| item.experiment == of.experiment && item.state == State::Waiting;
        let mut held = 0;
        for item in self.items.iter_mut().filter(waiting) {
            item.state = State::Held;
            item.reason = Some(format!("the last {FAILURES} runs of `{}` failed", of.experiment));
            held += 1;
        }
        held
    }
}

impl Queue {
    /// Of a project.
    pub fn of(project: &Project) -> Self {
        Queue { project: project.clone(), folder: project.queue() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("queue.json")
    }

    fn lock_of(&self, worker: &str) -> PathBuf {
        self.folder.join(format!("worker-{worker}.lock"))
    }

    /// What it holds now.
    pub fn read(&self) -> Result<Content, QueueError> {
        let path = self.path();
        let text = match files::read(&path) {
            Err(error) if error.is_not_found() => {
                return Ok(Content { format: FORMAT, next_id: 1, items: Vec::new(), workers: Vec::new() });
            }
            other => other?,
        };
        let unreadable = |problem: String, hint| QueueError::Unreadable { path: path.clone(), problem, hint };
        let damaged = |error: serde_json::Error| {
            unreadable(error.to_string(), "restore or delete the file; the records of all runs are apart from it")
        };
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(damaged)?;
        if value["format"] != FORMAT {
            let problem = format!("it has format {}, and this program reads {FORMAT}", value["format"]);
            return Err(unreadable(problem, "update harness: `git pull`, then `make build`"));
        }
        serde_json::from_value(value).map_err(damaged)
    }

    /// Changes it while no one else does; what workers that have died left behind is put in order first. Nothing is written
    /// after an error.
    fn update<T>(&self, change: impl FnOnce(&mut Content) -> Result<T, QueueError>) -> Result<T, QueueError> {
        files::create_folder(&self.folder)?;
        let _lock = files::lock(&self.folder.join("queue.lock"))?;
        let before = self.read()?;
        let mut content = before.clone();
        self.sweep(&mut content)?;
        let given = change(&mut content)?;
        if content != before {
            files::write(&self.path(), pretty(&content).as_bytes())?;
        }
        Ok(given)
    }

    /// Strikes out workers that have died. What they were at is as far as its records say.
    fn sweep(&self, content: &mut Content) -> Result<(), QueueError> {
        let mut living = BTreeSet::new();
        for worker in &content.workers {
            let path = self.lock_of(&worker.id);
            if files::is_file(&path) && files::try_lock(&path)?.is_none() {
                living.insert(worker.id.clone());
            } else {
                files::remove(&path)?;
            }
        }
        content.workers.retain(|worker| living.contains(&worker.id));
        for item in content.items.iter_mut().filter(|item| item.state == State::Running) {
            if !item.worker.as_ref().is_some_and(|worker| living.contains(worker)) {
                item.wait();
                let last = item.runs.last().map(|run| SealedRun::open(&self.project, &item.experiment, run));
                // A run without a whole seal has not ended: its next turn goes on from a checkpoint, or starts anew.
                if let Some(Ok(run)) = last {
                    item.follow(&run.record);
                }
            }
        }
        Ok(())
    }

    /// Puts in order what workers that have died left behind, and gives what it holds.
    pub fn settled(&self) -> Result<Content, QueueError> {
        if !files::is_file(&self.path()) {
            return self.read();
        }
        self.update(|content| Ok(content.clone()))
    }

    /// Adds an item for its commit, which is checked out with it; its number is given here.
    pub fn add(&self, git: &Git, item: Item) -> Result<(Added, Item), QueueError> {
        self.update(|content| {
            if let Some(there) = content.items.iter_mut().find(|there| there.asks_for_the_same_as(&item)) {
                there.over_budget = item.over_budget.or(there.over_budget.take());
                let added = match there.state {
                    State::Completed => Added::Completed,
                    State::Waiting | State::Running => Added::Already,
                    State::Failed | State::Held => {
                        git.snapshot(&there.commit, &self.project.snapshot(&there.commit))?;
                        there.wait();
                        Added::Again
                    }
                };
                return Ok((added, there.clone()));
            }
            git.snapshot(&item.commit, &self.project.snapshot(&item.commit))?;
            let item = Item { id: content.next_id, ..item };
            content.next_id += 1;
            content.items.push(item.clone());
            Ok((Added::New, item))
        })
    }

    /// Takes items out that no worker is at: by number, by experiment, or all that have `ended`. Gives them.
    pub fn remove(&self, which: &[String], ended: bool) -> Result<Vec<Item>, QueueError> {
        self.update(|content| {
            let is_named = |item: &Item, name: &str| name == item.id.to_string() || name == item.experiment.as_str();
            if let Some(asked) = which.iter().find(|name| content.items.iter().all(|item| !is_named(item, name))) {
                return Err(QueueError::Unknown { asked: asked.clone() });
            }
            let is_ended = |item: &Item| ended && matches!(item.state, State::Completed | State::Failed);
            let goes = |item: &Item| which.iter().any(|name| is_named(item, name)) || is_ended(item);
            if let Some(item) = content.items.iter().find(|item| goes(item) && item.state == State::Running) {
                return Err(QueueError::Running { id: item.id });
            }
            let (gone, left) = content.items.drain(..).partition(goes);
            content.items = left;
            Ok(gone)
        })
    }

    /// Removes the checkouts of commits that no open item is of, and no task of a cluster.
    pub fn prune(&self, git: &Git) -> Result<(), QueueError> {
        self.update(|content| {
            let open = content.items.iter().filter(|item| item.is_open());
            let mut needed = commits_in_use(&self.project)?;
            needed.extend(open.map(|item| item.commit.clone()));
            let folder = self.project.store().join("worktrees");
            for commit in files::list(&folder)?.iter().filter(|commit| !needed.contains(*commit)) {
                git.remove_snapshot(&folder.join(commit));
            }
            Ok(())
        })
    }

    /// Asks all workers to end after the run that each is at, or `now`, with a checkpoint. Gives them.
    pub fn stop(&self, now: bool) -> Result<Vec<WorkerEntry>, QueueError> {
        let workers = self.update(|content| {
            content.workers.iter_mut().for_each(|worker| worker.stop = true);
            Ok(content.workers.clone())
        })?;
        if workers.is_empty() {
            return Err(QueueError::NoWorker);
        }
        // Each holds its lock, so that its number is still its own.
        for pid in workers.iter().filter(|_| now).filter_map(|worker| Pid::from_raw(worker.pid.cast_signed())) {
            let _ = kill_process(pid, Signal::INT);
        }
        Ok(workers)
    }

    /// A second name for a program, by which this process can start it after its file has been replaced by another build. Where
    /// the file system gives none, or the program does not work by it, that is the program itself.
    pub fn keep(&self, program: &Path, works: impl Fn(&Path) -> bool) -> Result<PathBuf, QueueError> {
        let name = |pid: u32| format!("trainer-{pid}");
        let workers = self.settled()?.workers;
        for left in files::list(&self.folder)?.iter().filter(|file| file.starts_with("trainer-")) {
            if workers.iter().all(|worker| name(worker.pid) != *left) {
                files::remove(&self.folder.join(left))?;
            }
        }
        files::create_folder(&self.folder)?;
        let kept = self.folder.join(name(std::process::id()));
        let is_kept = files::link(program, &kept).is_ok() && works(&kept);
        Ok(if is_kept { kept } else { program.to_owned() })
    }

    /// Registers a worker, if no other has its devices. Gives its name and the lock that keeps it alive.
    pub(super) fn register(&self, devices: &Devices) -> Result<(String, Lock), QueueError> {
        let id = format!("{}-{:08x}", environment::now_compact(), environment::entropy());
        self.update(|content| {
            if let Some(other) = content.workers.iter().find(|worker| worker.devices.overlap(devices)) {
                return Err(QueueError::Taken { pid: other.pid });
            }
            let lock = files::try_lock(&self.lock_of(&id))?.expect("nobody else knows this name");
            let worker = WorkerEntry { id: id.clone(), pid: std::process::id(), devices: devices.clone(), stop: false };
            content.workers.push(worker);
            Ok((id.clone(), lock))
        })
    }

    /// Strikes out a worker that ends.
    pub(super) fn leave(&self, worker: &str) -> Result<(), QueueError> {
        self.update(|content| {
            content.workers.retain(|other| other.id != worker);
            files::remove(&self.lock_of(worker))?;
            Ok(())
        })
    }

    /// The next item that waits and, by what is given of it and all items, need not wait longer; it is this worker's from now on. None if
    /// there is none, or the worker is to stop.
    pub(super) fn take(
        &self,
        worker: &str,
        has_to_wait: &dyn Fn(&Item, &[Item]) -> bool,
    ) -> Result<Option<Item>, QueueError> {
        self.update(|content| {
            if content.workers.iter().any(|other| other.id == worker && other.stop) {
                return Ok(None);
            }
            let may_run = |item: &Item| item.state == State::Waiting && !has_to_wait(item, &content.items);
            let next = content.items.iter().position(may_run);
            Ok(next.map(|at| &mut content.items[at]).map(|item| {
                (item.state, item.worker) = (State::Running, Some(worker.to_owned()));
                item.clone()
            }))
        })
    }

    /// Notes a run that is about to be opened for an item.
    pub(super) fn opened(&self, id: u64, run: &RunId) -> Result<(), QueueError> {
        self.update(|content| {
            content.item(id).into_iter().for_each(|item| item.runs.push(run.clone()));
            Ok(())
        })
    }

    /// Lets `end` say what became of an item. Gives it, and how many of its experiment are held because of it.
    pub(super) fn settle(&self, id: u64, end: impl FnOnce(&mut Item)) -> Result<(Item, usize), QueueError> {
        self.update(|content| {
            let item = content.item(id).ok_or_else(|| QueueError::Unknown { asked: id.to_string() })?;
            end(item);
            let item = item.clone();
            let held = if item.state == State::Failed { content.hold_what_fails(&item) } else { 0 };
            Ok((item, held))
        })
    }
}
