//! `harness fetch-runs`: sealed runs from the login node.

use harness_core::config::Cluster;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::cluster::{ClusterError, Fetched, Host};
use crate::exit_code;

/// Version of the JSON form.
const FORMAT: u32 = 1;

/// Bring the sealed runs of the login node that are not here into experiments/*/runs.
///
/// Each is verified before it is taken over, as an audit does, and nothing here is overwritten. Runs that are not sealed there stay, and
/// are named. Needs `host` in cluster.toml. Exit codes: 0 all that is sealed there is here; 1 a run was not taken over.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Their checkpoints too, which are large.
    #[arg(long)]
    checkpoints: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let cluster = Cluster::load(&workplace.project)?.ok_or(ClusterError::NoCluster)?;
    let host = Host::of(&cluster, &workplace.git).ok_or_else(|| {
        Failure::usage(
            "cluster.toml names no login node, so the runs are where they were made\nhint: from a laptop, state `host` and `folder` in it",
        )
    })?;
    let fetched = host.fetch(&workplace.project, arguments.checkpoints)?;
    let value = json!({ "format": FORMAT, "host": host.name(), "runs": fetched });
    terminal::say_as(arguments.json, &value, || shown(&fetched, host.name()));
    for refused in &fetched.refused {
        terminal::complain(&format!("run {} of `{}`: {}", refused.run, refused.experiment, refused.problem));
    }
    Ok(if fetched.refused.is_empty() { exit_code::SUCCESS } else { exit_code::CONTRADICTION })
}

fn shown(fetched: &Fetched, host: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(fetched.fetched.iter().map(|run| format!("{}  {}  {}", run.root, run.run, run.experiment)));
    lines.push(format!(
        "{} fetched from {host} and verified, {} here already, {} not sealed there yet",
        fetched.fetched.len(),
        fetched.here.len(),
        fetched.unfinished.len()
    ));
    lines.extend(fetched.unfinished.iter().map(|run| format!("not sealed yet: {run}")));
    if !fetched.fetched.is_empty() {
        lines.push("hint: git add experiments && git commit".to_owned());
    }
    lines.join("\n")
}
