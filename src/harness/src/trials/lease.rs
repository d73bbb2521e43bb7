//! Which process is at which trial, for several processes on one study, on one machine or on several that share a folder.
//!
//! A lease is a file that says until when it holds; its process renews it. One that has run out, or whose process has died on
//! this machine, is anyone's. The files lie in the store, which git ignores, and are changed under one lock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness_core::Digest;
use harness_core::files::{self, FileError, Lock};
use harness_core::names::{ExperimentName, Project};
use harness_record::environment;
use harness_record::pretty;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A lease that was not renewed for so long is given up.
const HOLDS: Duration = Duration::from_secs(120);
/// How often it is renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(20);

/// `trial-<number>.json`
#[derive(Serialize, Deserialize)]
struct Entry {
    format: u32,
    /// The process, which holds the lock of `process-<owner>.lock` for as long as it lives.
    owner: String,
    /// Its machine.
    hostname_sha256: Digest,
    /// Until when the lease holds, in UTC.
    expires_at: String,
}

/// The leases of one study, as one process sees them.
pub(super) struct Leases {
    place: Place,
    /// Held for the life of this value.
    _alive: Lock,
}

#[derive(Clone)]
struct Place {
    folder: PathBuf,
    owner: String,
    host: Digest,
}

/// A trial that is this process's until the value is dropped.
pub(super) struct Lease {
    place: Place,
    trial: u64,
    lost: Arc<AtomicBool>,
    /// Dropped to end the thread that renews it.
    ends: Option<mpsc::Sender<()>>,
    renewal: Option<JoinHandle<()>>,
}

impl Leases {
    /// Enters a study.
    pub(super) fn open(project: &Project, study: &ExperimentName) -> Result<Self, FileError> {
        let owner = format!("{}-{:08x}", environment::now_compact(), environment::entropy());
        let place = Place { folder: project.leases(study), owner, host: environment::host().hostname_sha256 };
        files::create_folder(&place.folder)?;
        let _lock = place.lock()?;
        for left in files::list(&place.folder)?.iter().filter(|file| file.starts_with("process-")) {
            // What the dead leave behind.
            if files::try_lock(&place.folder.join(left))?.is_some() {
                files::remove(&place.folder.join(left))?;
            }
        }
        let alive = files::try_lock(&place.process(&place.owner))?.expect("nobody else knows this name");
        Ok(Leases { place, _alive: alive })
    }

    /// Takes a trial, unless another process is at it.
    pub(super) fn take(&self, trial: u64) -> Result<Option<Lease>, FileError> {
        let place = self.place.clone();
        {
            let _lock = place.lock()?;
            if place.read(trial)?.is_some_and(|entry| place.is_held(&entry)) {
                return Ok(None);
            }
            place.write(trial)?;
        }
        let lost = Arc::new(AtomicBool::new(false));
        let (ends, ended) = mpsc::channel();
        let (own, is_lost) = (place.clone(), Arc::clone(&lost));
        let renewal = thread::spawn(move || {
            while ended.recv_timeout(RENEWED_EVERY) == Err(RecvTimeoutError::Timeout) {
                // A disk that is full for a moment costs nothing yet.
                if let Ok(false) = own.renew(trial) {
                    is_lost.store(true, Ordering::Relaxed);
                    return;
                }
            }
        });
        Ok(Some(Lease { place, trial, lost, ends: Some(ends), renewal: Some(renewal) }))
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        let _ = files::remove(&self.place.process(&self.place.owner));
    }
}

impl Place {
    fn lock(&self) -> Result<Lock, FileError> {
        files::lock(&self.folder.join("leases.lock"))
    }

    fn process(&self, owner: &str) -> PathBuf {
        self.folder.join(format!("process-{owner}.lock"))
    }

    fn path(&self, trial: u64) -> PathBuf {
        self.folder.join(format!("trial-{trial:05}.json"))
    }

    fn read(&self, trial: u64) -> Result<Option<Entry>, FileError> {
        match files::read(&self.path(trial)) {
            // What cannot be read holds nothing.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, trial: u64) -> Result<(), FileError> {
        let holds = SignedDuration::try_from(HOLDS).expect("two minutes are a time");
        let entry = Entry {
            format: 1,
            owner: self.owner.clone(),
            hostname_sha256: self.host,
            expires_at: environment::now().saturating_add(holds).map_or_else(|_| String::new(), |at| at.to_string()),
        };
        files::write(&self.path(trial), pretty(&entry).as_bytes())
    }

    /// Whether it is still ours, and if so for longer now.
    fn renew(&self, trial: u64) -> Result<bool, FileError> {
        let _lock = self.lock()?;
        if self.read(trial)?.is_none_or(|entry| entry.owner != self.owner) {
            return Ok(false);
        }
        self.write(trial)?;
        Ok(true)
    }

    /// Whether a process that lives, as far as can be known here, is at the trial.
    fn is_held(&self, entry: &Entry) -> bool {
        let has_expired = entry.expires_at.parse::<Timestamp>().map_or(true, |at| at < environment::now());
        let is_dead = entry.hostname_sha256 == self.host && is_free(&self.process(&entry.owner));
        !has_expired && !is_dead
    }
}

/// Whether nobody holds the lock of a process, which the system releases with it.
fn is_free(lock: &Path) -> bool {
    !files::is_file(lock) || matches!(files::try_lock(lock), Ok(Some(_)))
}

impl Lease {
    /// Whether another process has taken the trial, because this one slept too long to renew it.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ends = None;
        self.renewal.take().map(JoinHandle::join);
        let release = || -> Result<(), FileError> {
            let _lock = self.place.lock()?;
            match self.place.read(self.trial)? {
                Some(entry) if entry.owner == self.place.owner => files::remove(&self.place.path(self.trial)),
                _ => Ok(()),
            }
        };
        // What cannot be removed now expires.
        let _ = release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::at(folder.path());
        (folder, project)
    }

    #[test]
    fn a_trial_is_one_process_s_until_it_gives_it_back() {
        let (_folder, project) = project();
        let name = "tiny".parse().unwrap();
        let (first, second) = (Leases::open(&project, &name).unwrap(), Leases::open(&project, &name).unwrap());
        let lease = first.take(3).unwrap().expect("nobody has it");
        assert!(second.take(3).unwrap().is_none());
        assert!(second.take(4).unwrap().is_some());
        drop(lease);
        assert!(second.take(3).unwrap().is_some());
    }

    #[test]
    fn what_a_dead_process_held_is_anyone_s() {
        let (_folder, project) = project();
        let name = "tiny".parse().unwrap();
        let (first, second) = (Leases::open(&project, &name).unwrap(), Leases::open(&project, &name).unwrap());
        let lease = first.take(3).unwrap().unwrap();
        assert!(!lease.is_lost());
        // The file stays as a process that was killed leaves it; with the process goes its lock.
        let left = files::read(&first.place.path(3)).unwrap();
        drop(lease);
        files::write(&first.place.path(3), &left).unwrap();
        assert!(second.take(3).unwrap().is_none(), "its process lives");
        drop(first);
        assert!(second.take(3).unwrap().is_some());
    }

    #[test]
    fn a_lease_of_another_machine_holds_until_it_expires() {
        let (_folder, project) = project();
        let leases = Leases::open(&project, &"tiny".parse().unwrap()).unwrap();
        let held = |expires_at: &str| {
            let entry = Entry {
                format: 1,
                owner: "another".to_owned(),
                hostname_sha256: Digest::of(b"elsewhere"),
                expires_at: expires_at.to_owned(),
            };
            files::write(&leases.place.path(0), pretty(&entry).as_bytes()).unwrap();
            leases.take(0).unwrap().is_none()
        };
        assert!(held("2999-01-01T00:00:00Z") && !held("2020-01-01T00:00:00Z") && !held("never"));
        // Whoever slept too long sees that it lost its trial.
        let lease = leases.take(1).unwrap().unwrap();
        let other = Place { owner: "another".to_owned(), ..leases.place.clone() };
        other.write(1).unwrap();
        assert!(!lease.place.renew(1).unwrap());
    }
}
