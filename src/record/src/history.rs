//! Every run that was ever opened, as far as anything tells of it: what a reader has to see beside the runs that count, so that
//! neither failures, repeats nor openings of a test side can be passed over in silence.

use harness_core::names::{ExperimentName, RunId};
use serde::Serialize;

use crate::format::{Purpose, Status};
use crate::openings::Opening;
use crate::select::{Reason, RunSet};

/// A run, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Fate {
    /// The run.
    pub run: RunId,
    /// Its experiment.
    pub experiment: ExperimentName,
    /// When it was opened, UTC; none of a run of which only the name is left.
    pub opened_at: Option<String>,
    /// What it was for, likewise.
    pub purpose: Option<Purpose>,
    /// Its seed, likewise.
    pub seed: Option<u64>,
    /// How it ended; none of a run that is open or not here.
    pub status: Option<Status>,
    /// Why it does not count (its `Display` is the sentence); none of a run that counts.
    pub left_out: Option<Reason>,
    /// The how-manieth opening of this text it was, if it scored a test side.
    pub opening: Option<usize>,
}

impl Fate {
    /// Why it does not count, in words.
    pub fn because(&self) -> Option<String> {
        self.left_out.as_ref().map(Reason::to_string)
    }
}

/// The runs of these sets, those that count and those that do not, oldest first; `openings` as from
/// [`crate::openings()`].
pub fn history(sets: &[RunSet], openings: &[Opening]) -> Vec<Fate> {
    let mut all = Vec::new();
    for set in sets {
        let counted = set.runs.iter().map(|run| (&run.open.run, Some(&run.open), Some(run.record.status), None));
        let left_out = set.left_out.iter().map(|left| {
            let status = left.sealed().map(|sealed| sealed.record.status);
            (&left.run, left.open(), status, Some(left.why.clone()))
        });
        all.extend(counted.chain(left_out).map(|(run, open, status, left_out)| Fate {
            run: run.clone(),
            experiment: set.experiment.clone(),
            opened_at: open.map(|open| open.opened_at.clone()),
            purpose: open.map(|open| open.plan.purpose),
            seed: open.map(|open| open.plan.seed),
            status,
            left_out,
            opening: openings.iter().find(|opening| opening.run == *run).map(|opening| opening.count),
        }));
    }
    all.sort_by(|a, b| a.run.cmp(&b.run));
    all
}
