//! `harness drop`: takes a run out of what counts, in sight of everybody.

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_record as record;

/// Take a run out of what counts, and say why.
///
/// Its folder stays. A file beside it, `<run>.dropped.json`, holds the reason: commit it with the runs. Comparisons, figures
/// and the paper leave the run out from now on; `harness runs` and `harness audit` go on listing it with the reason, also
/// when its folder is deleted. Delete the file to take the run back in.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run, by its id.
    run: String,
    /// Why it does not count.
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    because: String,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let (experiment, run) = record::find(project, &arguments.run)?;
    if experiment.as_str() == arguments.run {
        return Err(Failure::usage(format!(
            "`{experiment}` is an experiment: which of its runs?\nhint: `harness runs {experiment}` lists them; name one by its id"
        )));
    }
    let path = record::drop_run(project, &experiment, &run, &arguments.because)?;
    let path = path.strip_prefix(project.root()).unwrap_or(&path).display();
    terminal::tell(&format!("run {run} of {experiment} no longer counts\nhint: commit {path}"));
    terminal::say(&path.to_string());
    Ok(exit_code::SUCCESS)
}
