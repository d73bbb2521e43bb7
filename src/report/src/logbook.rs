//! What a project holds beside its runs: decisions on changes, amendments of what was registered, what was spent, and the
//! spaces that studies searched.

use std::collections::BTreeMap;

use harness_analyse::RunAnalysis;
use harness_core::config::{Space, Study, listed};
use harness_core::names::Project;
use harness_record::select::Traces;
use harness_study::adoption::{Adoption, adoptions};
use harness_study::amendments::{Amendment, amendments};
use harness_study::ledger::Ledger;
use harness_study::points::Opened;
use harness_study::{Evidence, StudyError};

/// Decisions, amendments, costs and studies, by experiment.
#[derive(Debug, Default)]
pub(super) struct Logbook {
    pub decisions: BTreeMap<String, Adoption>,
    /// Of what was registered, before the first run of the experiment.
    pub amendments: BTreeMap<String, Vec<Amendment>>,
    /// What had ended when the last run of the paper did: what runs, or ran later, changes nothing of a paper that is made again.
    pub ledger: Ledger,
    pub studies: BTreeMap<String, Study>,
}

impl Logbook {
    /// Of the project, as far as it concerns a paper on these runs.
    pub(super) fn of(project: &Project, analyses: &[RunAnalysis]) -> Result<Self, StudyError> {
        let evidence = Evidence::of(project)?;
        let mut logbook = Logbook::default();
        for (name, adoption) in adoptions(&evidence)? {
            logbook.decisions.insert(name.to_string(), adoption);
        }
        for (name, loaded) in evidence.experiments() {
            let runs = analyses.iter().filter(|analysis| analysis.run.open.experiment == *name);
            let first = runs.min_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
            if let (Some(first), Some(_)) = (first, &loaded.experiment.expect) {
                let found = amendments(project, name, Some(&first.run.open.code.commit)).unwrap_or_default();
                logbook.amendments.insert(name.to_string(), found);
            }
            if let Ok(opened) = Opened::of(project, name) {
                logbook.studies.insert(name.to_string(), opened.study);
            }
        }
        let end = analyses.iter().map(|analysis| analysis.run.record.ended_at.as_str()).max();
        let mut ledger = Ledger::of(project, &Traces::of(project)?)?;
        ledger.entries.retain(|entry| entry.ended_at.is_some() && entry.ended_at.as_deref() <= end);
        logbook.ledger = ledger;
        Ok(logbook)
    }
}

/// A space as a table says it.
pub(super) fn in_words(space: &Space) -> String {
    match space {
        Space::Between { low, high, scale } => {
            let scale = serde_json::to_value(scale).ok().and_then(|word| word.as_str().map(str::to_owned));
            format!("{low} to {high}, {}", scale.unwrap_or_default())
        }
        Space::Among { choices } => listed(choices),
    }
}
