//! The trainer on this machine: one child, or several that share the job.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness_core::config::{AllDevices, Device, Devices, TrainingConfig};
use harness_core::contract::{self, About, Message};
use harness_record::environment;
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

    fn ranks(&self, training: &TrainingConfig) -> Result<u32, RunError> {
        if training.devices.is_one() {
            return Ok(1);
        }
        let gpus = match training.device {
            Device::Cpu => 0,
            Device::Auto | Device::Cuda => self.about()?.gpus.len() as u32,
        };
        match training.devices {
            Devices::All(AllDevices::All) => Ok(gpus.max(1)),
            Devices::Count(count) if gpus > 0 && count.get() > gpus => {
                Err(RunError::TooFewGpus { wanted: count.get(), gpus })
            }
            Devices::Count(count) => Ok(count.get()),
        }
    }

    fn recorded(&self, ranks: u32) -> Launch {
        Launch { launcher: format::Launcher::Local, world_size: ranks, scheduler: environment::scheduler() }
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
        let one = |_| {
            let mut command = command(&self.trainer, start);
            // Not to be taken for a rank of those that may have started this program.
            command.env("WORLD_SIZE", start.ranks.to_string());
            command
        };
        let mut commands: Vec<Command> = (0..start.ranks).map(one).collect();
        // They meet at a port of this machine that nobody else can reach. Rank 0 is given the socket, so that nobody else can
        // take the port either.
        let meeting = if start.ranks > 1 { Some(meet(&mut commands)?) } else { None };
        let ended = supervise(&mut commands, start, interrupts, on_message);
        drop(meeting);
        ended
    }
}

/// Tells ranks where they meet. Gives the socket that rank 0 inherits.
fn meet(commands: &mut [Command]) -> Result<TcpListener, RunError> {
    let failed = |source: io::Error| RunError::NoMeeting { source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).map_err(|error| failed(error.into()))?;
    let port = listener.local_addr().map_err(failed)?.port();
    for (rank, command) in commands.iter_mut().enumerate() {
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("MASTER_ADDR", Ipv4Addr::LOCALHOST.to_string()).env("MASTER_PORT", port.to_string());
    }
    commands[0].env("HARNESS_LISTENING", listener.as_raw_fd().to_string());
    Ok(listener)
}

/// The trainer on a job, in the environment that it needs.
pub(super) fn command(trainer: &Path, start: &Start<'_>) -> Command {
    let mut command = Command::new(trainer);
    command.arg("run").arg(&start.job).current_dir(start.root);
    // Waiting threads that spin steal the cores from those that work, many times over on a busy machine.
    command.env("OMP_WAIT_POLICY", "passive");
    command.env("OMP_NUM_THREADS", start.threads.to_string()).env("MKL_NUM_THREADS", start.threads.to_string());
    if start.deterministic {
        command.env("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    }
    command
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
