//! What was changed of a proposal before its first run: nothing wrong, but a reader of the result wants to know.

use harness_core::config::{Proposal, Table, load};
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project};
use harness_record::git::Git;
use serde::Serialize;

use crate::StudyError;

/// A commit that changed what was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Amendment {
    /// Its id.
    pub commit: String,
    /// When it was committed, in UTC, as the machine of its author says.
    pub at: String,
    /// The first line of its message: the reason, where one is given.
    pub title: String,
    /// The parts of the proposal that it changed.
    pub changed: Vec<&'static str>,
}

/// The changes of a proposal up to a commit, the one that its first run holds, or to what is checked out, oldest first. They begin with the
/// first commit in which it expected something. A project in no repository has none.
pub fn amendments(project: &Project, name: &ExperimentName, until: Option<&str>) -> Result<Vec<Amendment>, StudyError> {
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
            let changed = before.differences(&proposal);
            if !changed.is_empty() {
                let (commit, at, title) = (version.commit, version.at.to_string(), version.title);
                amendments.push(Amendment { commit, at, title, changed });
            }
        }
        before = (before.is_some() || proposal.expect.is_some()).then_some(proposal);
    }
    Ok(amendments)
}
