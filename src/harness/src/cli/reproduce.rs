//! `harness reproduce`: a whole run once more, from its commit.

use std::path::PathBuf;

use super::replay::{built, check_cost, print_json, print_machine, print_parts};
use super::{Outcome, Workplace, chosen_trainer, terminal};
use crate::replay::{exit_code_of, reproduce};
use crate::run::about;
use harness_record as record;

/// Make a whole run again from its commit, and compare everything: config, data, every step, every score, the weights.
///
/// The commit is checked out beside the working tree; its data are fetched and prepared by the digests that its recipes name. Where
/// the installed trainer was built from other sources than the one that ran, that of the commit is built if cargo is here. No run is
/// opened, nothing is written into the record. Exit codes: 0 it holds; 1 a contradiction; 2 usage; 3 something could not be done here.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run, its folder, or an experiment (its latest citable run).
    run: String,
    /// Do it however long it takes.
    #[arg(long)]
    yes: bool,
    /// The trainer program [default: the installed one if it is the run's, else built from the commit].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let run = record::choose(&workplace.project, &arguments.run)?;
    let before = run.open.resumed_from.as_ref().map_or(0.0, |origin| origin.spent.wall_time_s);
    check_cost(Some(before + run.record.resources.wall_time_s), arguments.yes)?;
    let installed = chosen_trainer(arguments.trainer.clone());
    let recorded = &run.open.binaries.trainer_built_from_sha256;
    let is_the_same = about(&installed).is_ok_and(|about| about.source_sha256 == *recorded);
    let trainer = if is_the_same || arguments.trainer.is_some() {
        installed
    } else {
        built(workplace, &run).or_else(|failure| {
            terminal::tell(&failure.message);
            terminal::tell("going on with the installed trainer, which was built from other sources");
            about(&installed).map(|_| installed)
        })?
    };
    let context = workplace.context(Some(trainer.clone()));
    let interrupts = terminal::count_interrupts();
    let made = reproduce(&context, &run, trainer, &interrupts, &mut terminal::Screen::new());
    terminal::stop_counting();
    let made = made?;
    let exit_code = exit_code_of(made.parts.iter().map(|part| part.verdict));
    if arguments.json {
        print_json(exit_code, &made);
        return Ok(exit_code);
    }
    terminal::say(&format!("run {} from commit {}, root {}", made.run, made.commit, made.root.short()));
    print_parts(&made.parts);
    print_machine(&made.trainer, &made.differences);
    Ok(exit_code)
}
