//! One run: its files against its seal, its records against each other, its numbers against its rows.

use harness_core::names::{ExperimentName, Project, RunId, is_inside};

use super::{Analysed, Audit, AuditError, Check, Outcome, Subject, first_line, inputs};
use crate::exchange;
use crate::run::{prompt, recorded_job};
use harness_analyse::{RunAnalysis, numbers_from};
use harness_record::format::{Open, file};
use harness_record::git::Git;
use harness_record::{Checkpoints, Finding, Problem, RecordError, SealedRun, fit, verify};

/// Checks a run, and gives it if it can be read as it was sealed. Its numbers are computed once, for all who need them.
pub(super) fn run(
    project: &Project,
    git: Option<&Git>,
    experiment: &ExperimentName,
    run: &RunId,
    audit: &mut Audit,
    analysed: &mut Analysed,
) -> Result<Result<SealedRun, RecordError>, AuditError> {
    let subject = Subject::Run(experiment.clone(), run.clone());
    let verified = match verify(&project.run(experiment, run), Checkpoints::Check) {
        Ok(mut verified) => {
            // What was changed after the seal need not fit either.
            if verified.findings.iter().all(|finding| !finding.is_contradiction()) {
                verified.findings.extend(fit(project, &project.run(experiment, run), &verified));
            }
            verified
        }
        Err(error) => {
            audit.add("L0", &subject, file::MANIFEST, Outcome::Contradiction, error.to_string());
            return Ok(Err(error.into()));
        }
    };
    if verified.seal_is_missing {
        let what = format!("experiments/{experiment}/runs/{run}/{}", file::MANIFEST);
        let detail = "`MANIFEST` is missing although the run was sealed: it was taken away".to_owned();
        audit.add("L1", &subject, what, Outcome::Contradiction, detail);
    } else if verified.root.is_none() {
        let detail = format!(
            "it was opened but never sealed: it is still running, its supervisor was killed, or its seal was cut short; \
             `harness seal {run}` seals what nobody else does"
        );
        audit.add("L1", &subject, file::MANIFEST, Outcome::Missing, detail);
    }
    let folder = format!("experiments/{experiment}/runs/{run}");
    let open = verified.open.as_ref();
    // A bundle has no checkpoints, which is said once.
    let is_absent = |finding: &&Finding| {
        git.is_none() && finding.problem == Problem::Missing && finding.file.starts_with(file::CHECKPOINTS)
    };
    let absent = verified.findings.iter().filter(is_absent).count();
    if absent > 0 {
        let what = format!("{folder}/{}", file::CHECKPOINTS);
        let detail = format!("{absent} files are not in the bundle; the record has their digests");
        audit.add("L1", &subject, what, Outcome::Missing, detail);
    }
    for finding in verified.findings.iter().filter(|finding| !is_absent(finding)) {
        let level = if matches!(finding.problem, Problem::Wrong(_)) { "L0" } else { "L1" };
        let mut numbers = Vec::new();
        let outcome = match finding.problem {
            Problem::LineEnds => continue,
            Problem::Note(_) => Outcome::Note,
            _ if finding.is_contradiction() => {
                numbers = numbers_from(&finding.file, open);
                Outcome::Contradiction
            }
            _ => Outcome::Missing,
        };
        let (subject, what, detail) = (subject.clone(), format!("{folder}/{}", finding.file), finding.to_string());
        audit.checks.push(Check { level, subject, what, outcome, detail, numbers });
    }
    let converted = verified.findings.iter().filter(|finding| finding.problem == Problem::LineEnds).count();
    if converted > 0 {
        let detail = format!(
            "{converted} files have other line ends than when they were sealed, which changes no number; with \
             `.gitattributes` of the project a new clone leaves them as they are"
        );
        audit.add("L1", &subject, &folder, Outcome::Note, detail);
    }
    let whole = verified.root.is_some() && verified.findings.iter().all(|f| !f.is_contradiction());
    let read = whole && verified.findings.iter().all(|f| !matches!(f.problem, Problem::OtherVersion(_)));
    if read {
        let detail = format!("{} files are unchanged since they were sealed", verified.checked);
        audit.add("L1", &subject, "files", Outcome::Holds, detail);
        let detail =
            "plan, log, record and rows follow from each other, and from the data as far as they are here".to_owned();
        audit.add("L0", &subject, "record", Outcome::Holds, detail);
    }
    if let (Some(open), Some(_)) = (open, verified.root) {
        belongs_here(project, open, experiment, run, &subject, audit);
        inputs::check(project, git, open, experiment, &subject, audit);
        if let Some(record) = &verified.record {
            inputs::trainer(open, record, &subject, audit);
        }
        for path in inputs::changed_since(project, open, &project.run(experiment, run)) {
            let detail = "has changed in the working tree since; the run is tied to its commit".to_owned();
            audit.add("L1", &subject, path, Outcome::Holds, detail);
        }
    }
    let sealed = SealedRun::of_verified(project, experiment, run, verified);
    if read && let Some(analysis) = recompute(project, sealed.as_ref(), &subject, audit) {
        analysed.insert((experiment.clone(), run.clone()), analysis);
    }
    Ok(sealed)
}

/// A folder may have been renamed since; the record goes on naming the experiment as it was called then.
fn belongs_here(
    project: &Project,
    open: &Open,
    experiment: &ExperimentName,
    run: &RunId,
    subject: &Subject,
    audit: &mut Audit,
) {
    if open.run != *run {
        let detail = format!("the folder holds the record of run `{}` of `{}`", open.run, open.experiment);
        audit.add("L1", subject, file::OPEN, Outcome::Contradiction, detail);
    } else if open.experiment != *experiment && !project.run(&open.experiment, run).is_dir() {
        let detail = format!("the experiment was named `{}` when it ran", open.experiment);
        audit.add("L1", subject, file::OPEN, Outcome::Note, detail);
    }
}

/// Reads the run as a whole: its plan against its config, every number again from its rows.
fn recompute(
    project: &Project,
    sealed: Result<&SealedRun, &RecordError>,
    subject: &Subject,
    audit: &mut Audit,
) -> Option<RunAnalysis> {
    let contradiction = |audit: &mut Audit, error: &dyn std::fmt::Display| {
        audit.add("L3", subject, "numbers", Outcome::Contradiction, error.to_string());
    };
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(error @ RecordError::OtherVersion { .. }) => {
            audit.add("L0", subject, "record", Outcome::Missing, first_line(error));
            return None;
        }
        Err(error) => {
            contradiction(audit, error);
            return None;
        }
    };
    inputs::plan(project, sealed, subject, audit);
    samples(project, sealed, subject, audit);
    match RunAnalysis::of(sealed.clone()) {
        Ok(analysis) => {
            let detail = format!("{} numbers computed from its rows", analysis.values.len());
            audit.add("L3", subject, "numbers", Outcome::Holds, detail);
            Some(analysis)
        }
        Err(error) => {
            contradiction(audit, &error);
            None
        }
    }
}

/// The texts that a run keeps are those of the tokens that were drawn, and its prompt is what the model read.
fn samples(project: &Project, run: &SealedRun, subject: &Subject, audit: &mut Audit) {
    let Ok(texts) = run.samples() else { return };
    if texts.is_empty() {
        return;
    }
    // That it is not here, or lies elsewhere, is among what is found of the data.
    let tokenizer = is_inside(&run.open.data.tokenizer).then(|| exchange::tokenizer(project, run));
    let Some(Ok(tokenizer)) = tokenizer else { return };
    let (Ok(drawn), Ok(job)) = (exchange::kept(run), recorded_job(run)) else { return };
    let read = job.sampling.map(|sampling| sampling.prompt);
    let same = drawn.len() == texts.len()
        && drawn.iter().zip(&texts).all(|(drawn, line)| {
            let text = tokenizer.decode(&drawn.sample.tokens);
            text.is_ok_and(|text| text == line.text) && prompt(&tokenizer, &line.prompt).ok() == read
        });
    let (outcome, detail) = match same {
        true => (Outcome::Holds, format!("{} texts are those of their tokens", texts.len())),
        false => (Outcome::Contradiction, "has other texts, or another prompt, than the tokens give".to_owned()),
    };
    audit.add("L3", subject, file::SAMPLES, outcome, detail);
}
