//! `harness anchor`: ties a run to the world outside its folder.

use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::anchor::Anchored;
use crate::exit_code;
use harness_core::project_file::{AnchorConfig, ProjectFile};
use harness_record as record;

/// Have a run stamped, signed, or found at a remote, so that it can be shown that it existed by then.
///
/// A run that is open is anchored by the digest of its `open.json`, a sealed one by its root. The anchors lie in `anchors/` of the run
/// folder, apart from what is sealed: commit them with it. `harness audit` reads them and says what each proves: a stamp or a push that
/// the run existed by then, a signature that somebody vouches for it. None of them says that nothing was before.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run, its folder, or an experiment (its latest run).
    run: String,
    /// Ask this time-stamp authority (RFC 3161), which learns a digest and nothing else.
    #[arg(long, value_name = "URL")]
    tsa: Option<String>,
    /// Sign with this ed25519 key (`ssh-keygen -Y sign`).
    #[arg(long, value_name = "KEY")]
    sign: Option<String>,
    /// Ask this remote of git which of its branches holds the run.
    #[arg(long, value_name = "REMOTE")]
    remote: Option<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let (experiment, run) = record::find(project, &arguments.run)?;
    let named =
        AnchorConfig { tsa: arguments.tsa.clone(), sign: arguments.sign.clone(), remote: arguments.remote.clone() };
    let wanted = if named.is_empty() { ProjectFile::load(project)?.anchor } else { named };
    if wanted.is_empty() {
        return Err(Failure::usage(
            "nothing says how to anchor the run\nhint: pass --tsa URL, --sign KEY or --remote NAME, or set `tsa`, `sign` or `remote` \
             under [anchor] in experiments/project.toml",
        ));
    }
    let (git, fetcher) = (&workplace.git, &workplace.fetcher());
    let written = Anchored { project, git, fetcher, experiment: &experiment, run: &run }.by(&wanted)?;
    if arguments.json {
        let report = json!({ "format": 1, "run": run, "experiment": experiment, "written": written });
        terminal::say_json(&report);
    } else if written.is_empty() {
        terminal::say(&format!("run {run} of {experiment} has these anchors already"));
    } else {
        terminal::say(&format!("run {run} of {experiment}: {}", written.join(", ")));
        terminal::tell("commit them with the run; `harness audit` says what they prove");
    }
    Ok(exit_code::SUCCESS)
}
