//! An experiment as a whole: which of its runs count, and what became of the others.

use super::{Audit, Outcome, Subject};
use harness_record::{Reason, RunSet};

pub(super) fn check(set: &RunSet, audit: &mut Audit) {
    let subject = Subject::Experiment(set.experiment.clone());
    for left in &set.left_out {
        let outcome = match left.why {
            Reason::CopyOf(_) => Outcome::Contradiction,
            Reason::Gone(_) => Outcome::Missing,
            Reason::Dropped(_) => Outcome::Note,
            _ => continue,
        };
        audit.add("L2", &subject, format!("run {}", left.run), outcome, left.why.to_string());
    }
    for note in set.notes() {
        audit.add("L2", &subject, "runs that count", Outcome::Note, note);
    }
}
