//! The trainer as a child on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness_core::contract::{self, About, Message};
use harness_record::format::{self, Launch};

use super::child::supervise;
use super::{Ended, Interrupts, Launcher, Start};
use crate::run::error::RunError;

/// Starts the trainer on this machine.
#[derive(Clone, Debug)]
pub struct Local {
    trainer: PathBuf,
}

impl Local {
    /// Starts this program.
    pub fn new(trainer: PathBuf) -> Self {
        Local { trainer }
    }
}

impl Launcher for Local {
    fn program(&self) -> &Path {
        &self.trainer
    }

    fn recorded(&self) -> Launch {
        Launch { launcher: format::Launcher::Local, world_size: 1, scheduler: None }
    }

    fn about(&self) -> Result<About, RunError> {
        about(&self.trainer)
    }

    fn launch(
        &self,
        start: &Start<'_>,
        interrupts: &Interrupts,
        on_message: &mut dyn FnMut(&Message) -> Result<(), RunError>,
    ) -> Result<Ended, RunError> {
        let mut command = Command::new(&self.trainer);
        command.arg("run").arg(&start.job).current_dir(start.root);
        // Waiting threads that spin steal the cores from those that work, many times over on a busy machine.
        command.env("OMP_WAIT_POLICY", "passive");
        command.env("OMP_NUM_THREADS", start.threads.to_string()).env("MKL_NUM_THREADS", start.threads.to_string());
        if start.deterministic {
            command.env("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
        }
        supervise(&mut command, start, interrupts, on_message)
    }
}

/// What a trainer says of itself.
pub fn about(trainer: &Path) -> Result<About, RunError> {
    let output = Command::new(trainer)
        .arg("about")
        .output()
        .map_err(|source| RunError::Trainer { path: trainer.to_owned(), source })?;
    let no_trainer = |problem: String| RunError::NoTrainer { path: trainer.to_owned(), problem };
    let about: About = serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        no_trainer(format!("it did not identify itself: {}", said.lines().next().unwrap_or("no output")))
    })?;
    if about.contract_version != contract::VERSION {
        let (theirs, ours) = (about.contract_version, contract::VERSION);
        return Err(no_trainer(format!("it speaks version {theirs} of the contract, this program version {ours}")));
    }
    Ok(about)
}

/// `harness-trainer` in the folder of this program.
pub fn trainer_beside() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("harness-trainer")
}
