//! Who trains on which device of this machine now, so that a second run there is told of the first. A claim is a small file
//! in the user's part of the temporary folder, locked for as long as the claimant lives: it counts across projects, and one
//! that was left behind counts for nothing.

use std::path::PathBuf;

use harness_core::contract::Started;
use harness_core::files::{self, Lock};

/// A claim to a device; given up when it is dropped.
pub(super) struct Claim {
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = files::remove(&self.path);
    }
}

/// Claims the device that the trainer reports for `who`, and says which others claim it: all of a GPU, of the processor
/// those that together want more threads than it has cores. A machine that cannot keep claims only loses this warning.
pub(super) fn claim(started: &Started, threads: u32, who: &str) -> (Option<Claim>, Vec<String>) {
    let device = name_of(started);
    let Some(folder) = folder() else { return (None, Vec::new()) };
    let mut others: Vec<(u32, String)> = Vec::new();
    for name in files::list(&folder).unwrap_or_default() {
        if name.rsplit_once('.').is_none_or(|(of, _)| of != device) {
            continue;
        }
        let path = folder.join(name);
        match files::try_lock(&path) {
            Ok(Some(_)) => drop(files::remove(&path)),
            Ok(None) => {
                let text = files::read_to_string(&path).unwrap_or_default();
                let (threads, who) = text.trim_end().split_once(' ').unwrap_or(("0", "another run"));
                others.push((threads.parse().unwrap_or(0), who.to_owned()));
            }
            Err(_) => {}
        }
    }
    let path = folder.join(format!("{device}.{}", std::process::id()));
    let lock = files::try_lock(&path).ok().flatten();
    let claim = lock.map(|lock| Claim { path, _lock: lock });
    if let Some(claim) = &claim {
        let _ = files::append_line(&claim.path, &format!("{threads} {who}"));
    }
    let wanted = others.iter().map(|(threads, _)| threads).sum::<u32>() + threads;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    if started.device == "cpu" && wanted as usize <= cores {
        others.clear();
    }
    (claim, others.into_iter().map(|(_, who)| who).collect())
}

/// The device by what tells it apart on this machine: a GPU by its UUID, since its number depends on which are visible.
fn name_of(started: &Started) -> String {
    let number = started.device.strip_prefix("cuda").map(|rest| rest.trim_start_matches(':').parse().unwrap_or(0));
    let uuid = number.and_then(|number: usize| started.about.gpus.get(number)?.uuid_sha256);
    uuid.map_or_else(|| started.device.replace(':', "-"), |uuid| format!("gpu-{}", uuid.short()))
}

/// The folder of claims, if it is the user's own: in a folder that others may write to, a name can be taken.
fn folder() -> Option<PathBuf> {
    let user = rustix::process::getuid();
    let folder = std::env::temp_dir().join(format!("harness-{}", user.as_raw()));
    files::create_folder(&folder).ok()?;
    (rustix::fs::lstat(&folder).ok()?.st_uid == user.as_raw()).then_some(folder)
}
