//! `harness run`: train and evaluate one experiment, and seal its record.

use std::env;
use std::path::PathBuf;

use harness_corpus::HubAccess;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::run::{self, Options};
use harness_record::format::Status;

/// Train and evaluate an experiment, and seal its record.
///
/// Makes the corpus and tasks ready, refuses a tree that differs from its commit, opens the record, watches over
/// the trainer and seals. Ctrl-C stops after the current step with a checkpoint; a second one kills the trainer.
/// Either way the record is sealed, and `--resume` goes on from the last checkpoint.
#[derive(clap::Args)]
pub struct Arguments {
    /// The experiment: a folder under experiments/.
    name: String,
    /// Use another seed than the config's.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Run although files differ from the commit; they are recorded, but the paper cannot cite the run.
    #[arg(long)]
    allow_dirty: bool,
    /// Go on from the last checkpoint of the latest run that did not complete.
    #[arg(long)]
    resume: bool,
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let options = Options {
        seed: arguments.seed,
        allow_dirty: arguments.allow_dirty,
        resume: arguments.resume,
        mirror: mirror(),
        hub: hub(),
        trainer: trainer(arguments.trainer.clone()),
    };
    let outcome = one(workplace, &arguments.name, &options)?;
    Ok(match outcome {
        Status::Completed => exit_code::SUCCESS,
        Status::Interrupted => exit_code::INTERRUPTED,
        Status::Failed => exit_code::CONTRADICTION,
    })
}

/// Runs one experiment and says how it ended.
pub(super) fn one(workplace: &Workplace, name: &str, options: &Options) -> Result<Status, Failure> {
    let mut screen = terminal::Screen::new();
    let name = name.parse()?;
    let outcome = run::run(&workplace.project, &workplace.git, &name, options, &mut screen)?;
    let status = outcome.record.status;
    if let Some(failure) = &outcome.record.failure {
        let hint = failure.hint.as_ref().map_or(String::new(), |h| format!("\nhint: {h}"));
        terminal::complain(&format!("{}{hint}", failure.message));
    }
    terminal::tell(&format!(
        "{}: run {} of {name} in {:.1} s",
        status.word(),
        outcome.run,
        outcome.record.resources.wall_time_s
    ));
    terminal::say(&format!("{}  {}", outcome.root, outcome.run));
    Ok(status)
}

/// The trainer: as named, else from the environment, else beside this program.
pub(super) fn trainer(named: Option<PathBuf>) -> PathBuf {
    let named = named.or_else(|| env::var_os("HARNESS_TRAINER").map(PathBuf::from));
    let trainer = named.unwrap_or_else(run::trainer_beside);
    // It is started in the project's folder, and must be the same program there.
    trainer.canonicalize().unwrap_or(trainer)
}

/// The folder of file copies that stands in for the network.
pub(super) fn mirror() -> Option<PathBuf> {
    let mirror = PathBuf::from(env::var_os("HARNESS_MIRROR").filter(|m| !m.is_empty())?);
    Some(mirror.canonicalize().unwrap_or(mirror))
}

/// The hub that data sets come from, and the token for those that ask for a login.
pub(super) fn hub() -> HubAccess {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    HubAccess::new(set("HF_ENDPOINT"), set("HF_TOKEN"))
}
