//! Ranks that somebody else has started, all as this same program: `srun`, or whoever sets the variables of torchrun. The
//! first keeps the record and starts rank 0 of the trainer; each other becomes a rank of the trainer, and takes its jobs
//! from rank 0.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use harness_core::config::TrainingConfig;
use harness_core::contract::{About, Message};
use harness_core::ranks::{Place, StartedBy};
use harness_record::environment;
use harness_record::format::{self, Launch};

use super::child::supervise;
use super::local::{about, command};
use super::{Ended, Interrupts, Launcher, Start};
use crate::run::error::RunError;

/// Starts the first of ranks whose others are there.
#[derive(Debug)]
pub struct Outside {
    trainer: PathBuf,
    place: Place,
    /// Where they meet, where the environment does not say it in a way that leads there.
    address: Option<String>,
    /// Jobs so far.
    jobs: AtomicU32,
}

impl Outside {
    /// At this place among them, with this program.
    pub fn new(trainer: PathBuf, place: Place) -> Self {
        let address = if place.by == StartedBy::Srun { environment::first_node_address() } else { None };
        Outside { trainer, place, address, jobs: AtomicU32::new(0) }
    }

    /// Tells the trainer where they meet.
    fn meeting<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Some(address) = &self.address {
            command.env("MASTER_ADDR", address);
        }
        command
    }

    /// Becomes a rank after the first, in the folder that the paths of jobs are relative to. Gives back only an error.
    pub fn join(&self, root: &Path) -> RunError {
        let mut command = Command::new(&self.trainer);
        command.arg("join").current_dir(root).env("OMP_WAIT_POLICY", "passive");
        command.env("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
        RunError::Trainer { path: self.trainer.clone(), source: self.meeting(&mut command).exec() }
    }
}

impl Launcher for Outside {
    fn program(&self) -> &Path {
        &self.trainer
    }

    fn ranks(&self, _: &TrainingConfig) -> Result<u32, RunError> {
        Ok(self.place.size)
    }

    fn recorded(&self, ranks: u32) -> Launch {
        let launcher = match self.place.by {
            StartedBy::Srun => format::Launcher::Srun,
            StartedBy::Torchrun => format::Launcher::Torchrun,
        };
        Launch { launcher, world_size: ranks, scheduler: environment::scheduler() }
    }

    fn about(&self) -> Result<About, RunError> {
        about(&self.trainer)
    }

    fn dismiss(&self) -> Result<(), RunError> {
        let trainer = |source| RunError::Trainer { path: self.trainer.clone(), source };
        let output = self.meeting(Command::new(&self.trainer).arg("dismiss")).output().map_err(trainer)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        Err(RunError::Ranks { problem: format!("the other ranks could not be sent home: {said}") })
    }

    fn launch(
        &self,
        start: &Start<'_>,
        interrupts: &Interrupts,
        on_message: &mut dyn FnMut(&Message) -> Result<(), RunError>,
    ) -> Result<Ended, RunError> {
        let mut command = command(&self.trainer, start);
        command.env("HARNESS_JOB", self.jobs.fetch_add(1, Ordering::Relaxed).to_string());
        if start.follows {
            command.env("HARNESS_FOLLOWS", "1");
        }
        self.meeting(&mut command);
        supervise(&mut [command], start, interrupts, on_message)
    }
}
