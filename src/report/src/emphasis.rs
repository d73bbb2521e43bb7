//! Which changes get a subsection of their own: those that `report/paper.toml` names, those that were adopted, and those that
//! came out against what was expected; all of them where there are few. The rest share one table, and their figures stand
//! in the appendix.

use std::collections::BTreeSet;

use harness_analyse::compare::Verdict;
use harness_core::config::Direction as Expected;
use harness_study::adoption::Outcome;
use harness_study::tree::metric_of;

use super::differences::{Difference, Differences};
use super::families::{Entry, Families};
use super::logbook::Logbook;

/// Up to this many changes each have a subsection.
const FEW: usize = 3;
/// More subsections than this are not opened for what was adopted or surprises; what is named has one in any case.
const MOST: usize = 4;

/// The difference that a change is about, from what it is held against.
pub(super) fn difference<'a>(
    families: &Families,
    differences: &'a Differences,
    entry: &Entry,
) -> Option<(String, &'a Difference)> {
    let reference = families.reference(entry)?;
    let own = metric_of(&entry.latest.run.experiment);
    let keys = [own, "validation.bits_per_byte".to_owned()];
    keys.into_iter().find_map(|key| {
        let found = differences.get(entry.name(), reference.name(), &key)?;
        Some((key, found))
    })
}

/// Whether what was found contradicts what was expected; without an expectation a change is expected to be better.
pub(super) fn is_surprising(entry: &Entry, found: &Difference) -> bool {
    let number = found.difference.number;
    let expected = entry.latest.run.experiment.expect.as_ref().map(|expect| expect.direction);
    match (found.verdict, expected) {
        (Some(Verdict::Better | Verdict::Worse | Verdict::ModelsDiffer), Some(Expected::Same)) => true,
        (Some(Verdict::Better | Verdict::Worse | Verdict::ModelsDiffer), Some(Expected::Lower)) => number > 0.0,
        (Some(Verdict::Better | Verdict::Worse | Verdict::ModelsDiffer), Some(Expected::Higher)) => number < 0.0,
        (Some(Verdict::Worse), None) => true,
        // Of bits per byte, which are the metric where none is registered, more is worse.
        (Some(Verdict::ModelsDiffer), None) => number > 0.0,
        _ => false,
    }
}

/// Names of the changes with a subsection.
pub(super) fn subsections(
    families: &Families,
    differences: &Differences,
    logbook: &Logbook,
    named: &[String],
) -> BTreeSet<String> {
    let changes: Vec<&Entry> = families.entries.iter().filter(|entry| entry.reference.is_some()).collect();
    if changes.len() <= FEW {
        return changes.iter().map(|entry| entry.name().to_owned()).collect();
    }
    let is_adopted =
        |entry: &&&Entry| logbook.decisions.get(entry.name()).is_some_and(|d| d.outcome == Outcome::Adopted);
    let size = |entry: &&Entry| {
        let (_, found) = difference(families, differences, entry)?;
        // A quarter of an interval is about a standard error.
        let of_interval = || found.interval.map(|[low, high]| (high - low) / 4.0);
        let error = found.difference.standard_error.or_else(of_interval)?;
        is_surprising(entry, found).then_some((found.difference.number / error).abs())
    };
    let mut surprising: Vec<(f64, &&Entry)> = changes.iter().filter_map(|entry| Some((size(entry)?, entry))).collect();
    surprising.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut chosen: BTreeSet<String> =
        changes.iter().map(|e| e.name().to_owned()).filter(|name| named.contains(name)).collect();
    for entry in changes.iter().filter(is_adopted).chain(surprising.into_iter().map(|(_, entry)| entry)) {
        if chosen.len() < MOST {
            chosen.insert(entry.name().to_owned());
        }
    }
    chosen
}
