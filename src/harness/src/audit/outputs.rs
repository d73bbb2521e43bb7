//! One run: its files against its seal, its records against each other, its numbers against its rows.

use harness_core::names::{ExperimentName, Project, RunId};

use super::{Audit, AuditError, Check, Outcome, inputs};
use harness_analyse::{RunAnalysis, numbers_from};
use harness_record::format::{Open, file};
use harness_record::git::Git;
use harness_record::{Checkpoints, Problem, RecordError, SealedRun, verify};

pub(super) fn run(
    project: &Project,
    git: &Git,
    experiment: &ExperimentName,
    run: &RunId,
    audit: &mut Audit,
) -> Result<(), AuditError> {
    let subject = format!("run {run} of {experiment}");
    let verified = match verify(&project.run(experiment, run), Checkpoints::Check) {
        Ok(verified) => verified,
        Err(error) => {
            audit.add("L0", &subject, file::MANIFEST, Outcome::Contradiction, error.to_string());
            return Ok(());
        }
    };
    if verified.seal_is_missing {
        let what = format!("experiments/{experiment}/runs/{run}/{}", file::MANIFEST);
        let detail =
            "`MANIFEST` is missing although the run has ended: its seal was cut short or taken away".to_owned();
        audit.add("L1", &subject, what, Outcome::Contradiction, detail);
        return Ok(());
    }
    if verified.root.is_none() {
        let detail = "it was opened but never sealed: still going on, or its supervisor was killed".to_owned();
        audit.add("L1", &subject, file::MANIFEST, Outcome::Missing, detail);
        return Ok(());
    }
    let open = verified.open.as_ref();
    for finding in &verified.findings {
        let level = if matches!(finding.problem, Problem::Wrong(_)) { "L0" } else { "L1" };
        let outcome = if finding.is_contradiction() { Outcome::Contradiction } else { Outcome::Missing };
        audit.checks.push(Check {
            level,
            subject: subject.clone(),
            what: format!("experiments/{experiment}/runs/{run}/{}", finding.file),
            outcome,
            detail: finding.to_string(),
            numbers: if outcome == Outcome::Contradiction { numbers_from(&finding.file, open) } else { Vec::new() },
        });
    }
    let whole = verified.findings.iter().all(|f| !f.is_contradiction());
    if whole {
        let detail = format!("{} files are as they were sealed", verified.checked);
        audit.add("L1", &subject, "files", Outcome::Holds, detail);
    }
    if let Some(open) = open {
        belongs_here(open, experiment, run, &subject, audit);
        inputs::check(project, git, open, &subject, audit);
        if let Some(record) = &verified.record {
            inputs::trainer(open, record, &subject, audit);
        }
        for path in inputs::changed_since(project, open) {
            let detail = "has changed in the working tree since; the run is bound to its commit".to_owned();
            audit.add("L1", &subject, path, Outcome::Holds, detail);
        }
    }
    if whole {
        let sealed = SealedRun::of_verified(project, experiment, run, verified);
        recompute(sealed, &subject, audit);
    }
    Ok(())
}

fn belongs_here(open: &Open, experiment: &ExperimentName, run: &RunId, subject: &str, audit: &mut Audit) {
    if open.run != *run || open.experiment != *experiment {
        let detail = format!("the folder holds the record of run `{}` of `{}`", open.run, open.experiment);
        audit.add("L1", subject, file::OPEN, Outcome::Contradiction, detail);
    }
}

/// Reads the run as a whole: its plan against its config, every number again from its rows.
fn recompute(sealed: Result<SealedRun, RecordError>, subject: &str, audit: &mut Audit) {
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(error) => return audit.add("L3", subject, "numbers", Outcome::Contradiction, error.to_string()),
    };
    inputs::plan(&sealed, subject, audit);
    match RunAnalysis::of(sealed) {
        Ok(analysis) => {
            let detail = format!("{} numbers computed from its rows", analysis.values.len());
            audit.add("L3", subject, "numbers", Outcome::Holds, detail);
        }
        Err(error) => audit.add("L3", subject, "numbers", Outcome::Contradiction, error.to_string()),
    }
}
