//! Starting the trainer on a job and handing on what it says until it has ended, in whatever way it ends.
//!
//! Comes in: a [`Start`], which names a job in an open run folder. Goes out: the trainer's messages in their order, and
//! an [`Ended`]. A launcher owes that and nothing else, so a session neither knows nor asks whether the trainer is a
//! child of this process, alone or with others ([`Local`]), or the first of ranks that somebody else has started ([`Outside`]).

mod child;
mod interrupts;
mod local;
mod outside;

use std::path::{Path, PathBuf};

use harness_core::config::TrainingConfig;
use harness_core::contract::{About, Failure, Message};
use harness_record::format::Launch;

use crate::run::error::RunError;

pub use interrupts::{Asker, Interrupts};
pub use local::{Local, about, trainer_beside};
pub use outside::Outside;

/// Starts the trainer.
pub trait Launcher {
    /// The program, whose digest stands in the record.
    fn program(&self) -> &Path;

    /// How many ranks a run of these choices has.
    fn ranks(&self, training: &TrainingConfig) -> Result<u32, RunError>;

    /// How it starts so many, for the record.
    fn recorded(&self, ranks: u32) -> Launch;

    /// What the program says of itself.
    fn about(&self) -> Result<About, RunError>;

    /// There is no job: sends home who waits for one.
    fn dismiss(&self) -> Result<(), RunError> {
        Ok(())
    }

    /// Runs a job to its end, handing each message on. A wish to stop is passed on to the trainer; a person's second one kills
    /// it, and so does an error of `on_message` (a full disk, say).
    fn launch(
        &self,
        start: &Start<'_>,
        interrupts: &Interrupts,
        on_message: &mut dyn FnMut(&Message) -> Result<(), RunError>,
    ) -> Result<Ended, RunError>;
}

/// What to start, and where.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// Working directory; every path of the job is relative to it.
    pub root: &'a Path,
    /// The job, relative to `root`.
    pub job: PathBuf,
    /// The run folder.
    pub folder: &'a Path,
    /// Processes that share the job.
    pub ranks: u32,
    /// Threads of each process.
    pub threads: u32,
    /// Whether the same job is to give the same bits.
    pub deterministic: bool,
    /// Another job follows when this one has finished: ranks that were started from outside stay.
    pub follows: bool,
}

/// How the trainer ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// Signal, if one ended it.
    pub signal: Option<i32>,
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
    /// Seconds from start to end.
    pub wall_time_s: f64,
    /// Processor seconds, user and system.
    pub cpu_time_s: f64,
}

impl Ended {
    /// This one and the next: times add up, the rest is the next one's.
    pub fn then(self, next: Ended) -> Ended {
        Ended {
            wall_time_s: self.wall_time_s + next.wall_time_s,
            cpu_time_s: self.cpu_time_s + next.cpu_time_s,
            ..next
        }
    }

    /// Whether the system ended the trainer outright, as it does for want of memory.
    pub fn is_killed(failure: &Failure) -> bool {
        failure.kind == child::KILLED
    }
}
