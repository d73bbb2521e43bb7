//! What ties the audited runs to the world outside.

use std::collections::BTreeSet;

use harness_core::names::{ExperimentName, Project, RunId};

use super::{Audit, Outcome, Subject};
use harness_record::anchors::{self, Trust, Worth};
use harness_record::format::file;
use harness_record::git::Git;
use harness_record::opened;

/// Adds to an audit what the anchors of its runs prove, to the reader who believes these. Gives the sealed runs that none holds for.
pub fn anchors(project: &Project, git: Option<&Git>, trust: &Trust, audit: &mut Audit) -> Vec<RunId> {
    let runs: BTreeSet<(ExperimentName, RunId)> = audit
        .checks
        .iter()
        .filter_map(|check| match &check.subject {
            Subject::Run(experiment, run) => Some((experiment.clone(), run.clone())),
            _ => None,
        })
        .collect();
    let mut without = Vec::new();
    for (experiment, run) in runs {
        let folder = project.run(&experiment, &run);
        let place = format!("experiments/{experiment}/runs/{run}");
        let commit = opened(project, &experiment, &run).map_or_else(String::new, |open| open.code.commit);
        let subject = Subject::Run(experiment, run.clone());
        let mut holds = false;
        for anchor in anchors::anchors(&folder, git, &place, &commit, trust) {
            let outcome = match anchor.worth {
                Worth::Holds => Outcome::Holds,
                Worth::Contradicts => Outcome::Contradiction,
                Worth::Unknown => Outcome::Note,
            };
            holds |= anchor.worth == Worth::Holds;
            audit.add("L2", &subject, anchor.path, outcome, anchor.detail);
        }
        if !holds && folder.join(file::MANIFEST).is_file() {
            without.push(run);
        }
    }
    without
}
