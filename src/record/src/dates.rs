//! What the dates in git say of a run's commit. A commit is named by the digest of those it builds on, so it was made after them,
//! whatever its own date says; a date is the word of whoever committed, and `GIT_COMMITTER_DATE` sets it to anything. So dates can speak
//! against a record. They never show that nothing was done before: that takes an anchor.

use harness_core::names::RunId;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::environment;
use crate::format::Open;
use crate::git::{Git, GitError, Result};

/// Clocks of two machines differ, and a commit may come from another.
const SLACK: SignedDuration = SignedDuration::from_mins(10);

/// Why the dates in git do not agree with a run that was opened from its commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// Whether the commit was there only after the run had been opened, if what git and the records say is right; else only its own date
    /// is worth nothing.
    pub contradicts: bool,
    /// What the dates say, after the words "the commit".
    pub detail: String,
}

/// What speaks against the commit of a run having been there when the run was opened. Of one that is not here nothing is said.
pub fn doubt(git: &Git, open: &Open) -> Result<Option<Doubt>> {
    let Ok(opened) = open.opened_at.parse::<Timestamp>() else { return Ok(None) };
    let commit = &open.code.commit;
    let found = |contradicts: bool, detail: String| Ok(Some(Doubt { contradicts, detail }));
    match git.holds_run(commit, &open.experiment, &open.run) {
        Err(GitError::UnknownCommit { .. }) => return Ok(None),
        Ok(true) => return found(true, "holds the run itself, so it was made after the run".to_owned()),
        other => other?,
    };
    let later = |run: &RunId| environment::opened_at(run).is_some_and(|of| of.duration_since(opened) > SLACK);
    if let Some(run) = git.last_run_at(commit)?.filter(later) {
        return found(true, format!("holds run {run}, which was opened after this one, {opened}"));
    }
    let (made, (latest, of)) = (git.time_of(commit)?, git.latest_until(commit)?);
    if made > opened {
        let is_far = made.duration_since(opened) > SLACK;
        let clocks = if is_far { "" } else { ": clocks differ" };
        return found(is_far, format!("says that it was made at {made}, after the run was opened, {opened}{clocks}"));
    }
    if latest.duration_since(made) <= SLACK {
        return Ok(None);
    }
    let short = of.get(..12).unwrap_or_default();
    if latest.duration_since(opened) > SLACK {
        let detail =
            format!("builds on {short}, which says that it was made at {latest}, after the run was opened, {opened}");
        return found(true, detail);
    }
    let detail = format!(
        "says that it was made at {made}, and {short}, which it builds on, at {latest}: its date proves nothing"
    );
    found(false, detail)
}
