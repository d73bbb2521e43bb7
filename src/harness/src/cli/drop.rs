//! `harness drop`: takes a run out of what counts, in sight of everybody.

use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId};

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_record as record;

/// Take a run out of what counts, and say why.
///
/// Its folder stays. A file beside it, `<run>.dropped.json`, holds the reason: commit it with the runs. Comparisons, figures
/// and the paper leave the run out from now on; `harness runs` and `harness audit` go on listing it with the reason, also
/// when its folder is deleted. Delete the file to take the run back in.
/// A run that runs of other experiments began from, their trunk, is dropped after those.
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
    let branches = branches(project, &experiment, &run)?;
    if let [(first, name), ..] = branches.as_slice() {
        let count = if branches.len() == 1 { "a run".to_owned() } else { format!("{} runs", branches.len()) };
        let listed: Vec<String> = branches.iter().map(|(run, name)| format!("{run} of {name}")).collect();
        return Err(Failure::usage(format!(
            "{count} of other experiments began from run {run} and would rest on what does not count: {}\nhint: drop first what \
             began from it: `harness drop {first} --because ...`, or train `{name}` from nothing (without `trunk`)",
            listed.join(", ")
        )));
    }
    let path = record::drop_run(project, &experiment, &run, &arguments.because)?;
    let path = path.strip_prefix(project.root()).unwrap_or(&path).display();
    terminal::tell(&format!("run {run} of {experiment} no longer counts\nhint: commit {path}"));
    terminal::say(&path.to_string());
    Ok(exit_code::SUCCESS)
}

/// Runs of other experiments that began from a run, directly or through others, and were not dropped.
fn branches(
    project: &Project,
    experiment: &ExperimentName,
    run: &RunId,
) -> Result<Vec<(RunId, ExperimentName)>, FileError> {
    let mut branches = Vec::new();
    for other in record::experiments_with_runs(project)?.into_iter().filter(|other| other != experiment) {
        for branch in record::runs(project, &other)? {
            let open = record::opened(project, &other, &branch);
            let mut segments = open.iter().flat_map(|open| &open.resumed_from).flat_map(|from| &from.segments);
            if segments.any(|segment| segment.run == *run) {
                branches.push((branch, other.clone()));
            }
        }
    }
    Ok(branches)
}
