//! Which process is at which run, for several processes that want the same, on one machine or on several that share a folder.
//!
//! A lease is a file that says until when it holds; its process renews it. One that has run out, or whose process has died on
//! this machine, is anyone's. The files lie in the store, which git ignores, and are changed under one lock. What holds between
//! machines stands on two things: their clocks agree within a minute, and a file that one writes is read by the others. Where the
//! file system has locks for all of them (NFS, Lustre with `flock`), two that come at the same moment take turns; where it has none,
//! two that come within the moment between reading a lease and writing it could both take it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness_core::Digest;
use harness_core::contract::Message;
use harness_core::files::{self, FileError, Lock};
use harness_corpus::Progress;
use harness_record::environment;
use harness_record::format::Open;
use harness_record::pretty;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Interrupts, RunError, Watcher, Workload};

/// A lease that was not renewed for so long is given up.
const HOLDS: Duration = Duration::from_secs(120);
/// How often it is renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(20);

/// `<name>.json`
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

/// The leases of one folder, as one process sees them.
pub struct Leases {
    place: Place,
    /// Held for the life of this value, where the file system has locks.
    _alive: Option<Lock>,
}

#[derive(Clone)]
struct Place {
    folder: PathBuf,
    owner: String,
    host: Digest,
}

/// What is this process's until the value is dropped.
pub struct Lease {
    place: Place,
    name: String,
    lost: Arc<AtomicBool>,
    /// Dropped to end the thread that renews it.
    ends: Option<mpsc::Sender<()>>,
    renewal: Option<JoinHandle<()>>,
}

impl Leases {
    /// Enters a folder of leases.
    pub fn open(folder: PathBuf) -> Result<Self, FileError> {
        let owner = format!("{}-{:08x}", environment::now_compact(), environment::entropy());
        let place = Place { folder, owner, host: environment::host().hostname_sha256 };
        files::create_folder(&place.folder)?;
        let _lock = place.lock()?;
        for left in files::list(&place.folder)?.iter().filter(|file| file.starts_with("process-")) {
            // What the dead leave behind.
            if is_free(&place.folder.join(left)) {
                files::remove(&place.folder.join(left))?;
            }
        }
        let alive = unless_unsupported(files::try_lock(&place.process(&place.owner)))?.flatten();
        Ok(Leases { place, _alive: alive })
    }

    /// Takes the lease of this name, unless another process has it.
    pub fn take(&self, name: &str) -> Result<Option<Lease>, FileError> {
        let place = self.place.clone();
        {
            let _lock = place.lock()?;
            if place.read(name)?.is_some_and(|entry| place.is_held(&entry)) {
                return Ok(None);
            }
            place.write(name)?;
        }
        let lost = Arc::new(AtomicBool::new(false));
        let (ends, ended) = mpsc::channel();
        let (own, is_lost, held) = (place.clone(), Arc::clone(&lost), name.to_owned());
        let renewal = thread::spawn(move || {
            while ended.recv_timeout(RENEWED_EVERY) == Err(RecvTimeoutError::Timeout) {
                // A disk that is full for a moment costs nothing yet.
                if let Ok(false) = own.renew(&held) {
                    is_lost.store(true, Ordering::Relaxed);
                    return;
                }
            }
        });
        Ok(Some(Lease { place, name: name.to_owned(), lost, ends: Some(ends), renewal: Some(renewal) }))
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        let _ = files::remove(&self.place.process(&self.place.owner));
    }
}

impl Place {
    /// None where the file system has no locks.
    fn lock(&self) -> Result<Option<Lock>, FileError> {
        unless_unsupported(files::lock(&self.folder.join("leases.lock")))
    }

    fn process(&self, owner: &str) -> PathBuf {
        self.folder.join(format!("process-{owner}.lock"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    fn read(&self, name: &str) -> Result<Option<Entry>, FileError> {
        match files::read(&self.path(name)) {
            // What cannot be read holds nothing.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str) -> Result<(), FileError> {
        let holds = SignedDuration::try_from(HOLDS).expect("two minutes are a time");
        let entry = Entry {
            format: 1,
            owner: self.owner.clone(),
            hostname_sha256: self.host,
            expires_at: environment::now().saturating_add(holds).map_or_else(|_| String::new(), |at| at.to_string()),
        };
        files::write(&self.path(name), pretty(&entry).as_bytes())
    }

    /// Whether it is still ours, and if so for longer now.
    fn renew(&self, name: &str) -> Result<bool, FileError> {
        let _lock = self.lock()?;
        if self.read(name)?.is_none_or(|entry| entry.owner != self.owner) {
            return Ok(false);
        }
        self.write(name)?;
        Ok(true)
    }

    /// Whether a process that lives, as far as can be known here, holds the lease.
    fn is_held(&self, entry: &Entry) -> bool {
        let has_expired = entry.expires_at.parse::<Timestamp>().map_or(true, |at| at < environment::now());
        let is_dead = entry.hostname_sha256 == self.host && is_free(&self.process(&entry.owner));
        !has_expired && !is_dead
    }
}

/// None where the file system cannot do it.
fn unless_unsupported<T>(done: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match done {
        Err(error) if error.source.kind() == ErrorKind::Unsupported => Ok(None),
        done => done.map(Some),
    }
}

/// Whether nobody holds the lock of a process, which the system releases with it.
fn is_free(lock: &Path) -> bool {
    !files::is_file(lock) || matches!(files::try_lock(lock), Ok(Some(_)))
}

impl Lease {
    /// Whether another process has taken it, because this one slept too long to renew it.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ends = None;
        self.renewal.take().map(JoinHandle::join);
        let release = || -> Result<(), FileError> {
            let _lock = self.place.lock()?;
            match self.place.read(&self.name)? {
                Some(entry) if entry.owner == self.place.owner => files::remove(&self.place.path(&self.name)),
                _ => Ok(()),
            }
        };
        // What cannot be removed now expires.
        let _ = release();
    }
}

/// Stops a run whose lease another process has taken.
pub struct Renewed<'a> {
    lease: &'a Lease,
    watcher: &'a mut dyn Watcher,
    interrupts: Option<Interrupts>,
}

impl<'a> Renewed<'a> {
    /// Hands all on to `watcher`.
    pub fn new(lease: &'a Lease, watcher: &'a mut dyn Watcher) -> Self {
        Renewed { lease, watcher, interrupts: None }
    }
}

impl Watcher for Renewed<'_> {
    fn progress(&mut self) -> &mut dyn Progress {
        self.watcher.progress()
    }

    fn opened(&mut self, open: &Open, workload: &Workload) -> Result<Interrupts, RunError> {
        let interrupts = self.watcher.opened(open, workload)?;
        self.interrupts = Some(interrupts.clone());
        Ok(interrupts)
    }

    fn message(&mut self, message: &Message) {
        if let (true, Some(interrupts)) = (self.lease.is_lost(), &self.interrupts) {
            interrupts.ask();
        }
        self.watcher.message(message);
    }

    fn closed(&mut self) {
        self.watcher.closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_one_process_s_until_it_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| Leases::open(folder.path().to_owned()).unwrap());
        let lease = first.take("trial-3").unwrap().expect("nobody has it");
        assert!(second.take("trial-3").unwrap().is_none());
        assert!(second.take("trial-4").unwrap().is_some());
        drop(lease);
        assert!(second.take("trial-3").unwrap().is_some());
    }

    #[test]
    fn what_a_dead_process_held_is_anyone_s() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| Leases::open(folder.path().to_owned()).unwrap());
        let lease = first.take("trial-3").unwrap().unwrap();
        assert!(!lease.is_lost());
        // The file stays as a process that was killed leaves it; with the process goes its lock.
        let left = files::read(&first.place.path("trial-3")).unwrap();
        drop(lease);
        files::write(&first.place.path("trial-3"), &left).unwrap();
        assert!(second.take("trial-3").unwrap().is_none(), "its process lives");
        drop(first);
        assert!(second.take("trial-3").unwrap().is_some());
    }

    #[test]
    fn a_lease_of_another_machine_holds_until_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let leases = Leases::open(folder.path().to_owned()).unwrap();
        let held = |expires_at: &str| {
            let entry = Entry {
                format: 1,
                owner: "another".to_owned(),
                hostname_sha256: Digest::of(b"elsewhere"),
                expires_at: expires_at.to_owned(),
            };
            files::write(&leases.place.path("trial-0"), pretty(&entry).as_bytes()).unwrap();
            leases.take("trial-0").unwrap().is_none()
        };
        assert!(held("2999-01-01T00:00:00Z") && !held("2020-01-01T00:00:00Z") && !held("never"));
        // Whoever slept too long sees that it lost its trial.
        let lease = leases.take("trial-1").unwrap().unwrap();
        let other = Place { owner: "another".to_owned(), ..leases.place.clone() };
        other.write("trial-1").unwrap();
        assert!(!lease.place.renew("trial-1").unwrap());
    }
}
