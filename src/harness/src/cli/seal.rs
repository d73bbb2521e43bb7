//! `harness seal`: seals a run that nobody seals any more.

use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::{exit_code, run};
use harness_record as record;

/// Seal a run whose seal was cut short, or whose supervisor was killed.
///
/// Its log says how it ended: as it says, the run is sealed. Where the log does not come so far, the run has failed, and
/// `harness run EXPERIMENT --resume` can go on from its last checkpoint.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run, by its id, or the latest run of an experiment.
    run: String,
    /// One JSON object: run, experiment, status and root.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let (experiment, id) = record::find(project, &arguments.run)?;
    if record::verify(&project.run(&experiment, &id), record::Checkpoints::Skip)?.root.is_some() {
        return Err(Failure::usage(format!(
            "run `{id}` of `{experiment}` is sealed already\nhint: `harness audit {id}` says whether it holds"
        )));
    }
    let (sealed, root) = run::seal(project, &experiment, &id)?;
    let status = sealed.status.word();
    if arguments.json {
        let told = json!({ "run": id, "experiment": experiment, "status": status, "root": root });
        terminal::say_json(&told);
    } else {
        terminal::say(&format!("run {id} of {experiment} is sealed ({status}): root {root}"));
    }
    Ok(exit_code::SUCCESS)
}
