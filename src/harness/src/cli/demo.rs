//! `harness demo`: the main job on the built-in corpus, as a newcomer would do it by hand.

use std::path::PathBuf;

use super::{Outcome, Workplace, audit, report, run, terminal};
use crate::exit_code;
use crate::record::format::Status;
use crate::report::Mode;
use crate::run::Options;

/// The whole job in minutes: corpus, the experiments `baseline` and `lr-warmup`, the paper, the audit.
#[derive(clap::Args)]
pub struct Arguments {
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
}

const EXPERIMENTS: [&str; 2] = ["baseline", "lr-warmup"];

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let trainer = run::trainer(arguments.trainer.clone());
    let options = Options { mirror: run::mirror(), trainer, ..Options::default() };
    let interrupts = terminal::watch_interrupts();
    for name in EXPERIMENTS {
        terminal::tell(&format!("\n$ harness run {name}"));
        match run::one(workplace, name, &options, &interrupts)? {
            Status::Completed => {}
            Status::Interrupted => return Ok(exit_code::INTERRUPTED),
            Status::Failed => return Ok(exit_code::CONTRADICTION),
        }
    }
    terminal::tell("\n$ harness report");
    report::build(workplace, Mode::Final, false)?;
    terminal::tell("\n$ harness audit");
    let code = audit::everything(workplace)?;
    terminal::tell(
        "\nNext: open report/build/paper.pdf; commit the run folders under experiments/*/runs; write your own\n\
         experiments/<name>/experiment.toml with `extends = \"baseline\"`; make exp NAME=<name>. See docs/guide.md.",
    );
    Ok(code)
}
