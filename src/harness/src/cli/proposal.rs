//! What the texts of an experiment name, held against what there is before anything is run for it.

use harness_analyse::diagnose::CHECKS;
use harness_core::config::{Loaded, nearest};

use super::{Failure, Workplace};

/// Refuses findings that no check makes and works that no bibliography has.
pub(super) fn check(workplace: &Workplace, loaded: &Loaded) -> Result<(), Failure> {
    if let Some(wrong) = loaded.experiment.findings.iter().find(|finding| !CHECKS.contains(&finding.as_str())) {
        let hint = match nearest(wrong, &CHECKS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("checks are: {}", CHECKS.join(", ")),
        };
        let problem = format!("the findings of experiment `{}` name `{wrong}`, which no check is called", loaded.name);
        return Err(Failure::usage(format!("{problem}\nhint: {hint}")));
    }
    Ok(harness_report::check_citations(&workplace.project, &loaded.name, &loaded.experiment)?)
}
