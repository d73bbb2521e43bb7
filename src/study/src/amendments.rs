//! What was changed of a proposal before its first run: nothing wrong, but a reader of the result wants to know.

use harness_core::config::{Proposal, Table, load};
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project};
use harness_record::Bundled;
use harness_record::git::Git;
use serde::{Deserialize, Serialize};

use crate::StudyError;

/// A commit that changed what was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amendment {
    /// Its id.
    pub commit: String,
    /// When it was committed, in UTC, as the machine of its author says.
    pub at: String,
    /// The first line of its message: the reason, where one is given.
    pub title: String,
    /// The parts of the proposal that it changed.
    pub changed: Vec<String>,
}

/// The changes of a proposal up to a commit, the one that its first run holds, or to what is checked out, oldest first. They begin with the
/// first commit in which it expected something. Those of a bundle that was unpacked are what it says; a project in no repository has none.
pub fn amendments(project: &Project, name: &ExperimentName, until: Option<&str>) -> Result<Vec<Amendment>, StudyError> {
    if let Some(bundled) = Bundled::at(project.root())? {
        let told = until.and_then(|commit| bundled.amendments.get(name)?.get(commit));
        return Ok(told.and_then(|told| Vec::deserialize(told).ok()).unwrap_or_default());
    }
    let Some(git) = Git::discover(project.root()).ok().filter(|git| git.is_at(project.root())) else {
        return Ok(Vec::new());
    };
    let tip = match until {
        Some(commit) => commit.to_owned(),
        None => git.state()?.commit,
    };
    let (mut before, mut amendments) = (None::<Proposal>, Vec::new());
    for version in git.versions_of(&tip, &format!("experiments/{name}/experiment.toml"))? {
        let read = |wanted: &ExperimentName| -> Result<Option<String>, FileError> {
            let held = git.file_at(&version.commit, &format!("experiments/{wanted}/experiment.toml"));
            Ok(held.ok().flatten().and_then(|content| String::from_utf8(content).ok()))
        };
        // One that could not be loaded could not be run either.
        let Ok(loaded) = load(name, &[], &read, &Table::new()) else { continue };
        let proposal = loaded.experiment.proposal();
        if let Some(before) = &before {
            let changed: Vec<String> = before.differences(&proposal).into_iter().map(str::to_owned).collect();
            if !changed.is_empty() {
                let (commit, at, title) = (version.commit, version.at.to_string(), version.title);
                amendments.push(Amendment { commit, at, title, changed });
            }
        }
        before = (before.is_some() || proposal.expect.is_some()).then_some(proposal);
    }
    Ok(amendments)
}
