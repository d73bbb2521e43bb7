//! Does it hold? Follows runs, numbers and the paper back through their digests to commit, config and data.
//!
//! Levels (docs/formats/audit.md): L0, every file parses; L1, every digest holds; of L2 what the run folders and git's history
//! tell of runs that are missing; and of L3 what the paper needs: each bound number is computed again from the rows of its
//! run, and the paper is made again and compared to its bytes. No program of the audited repository is run, nor a template that
//! this one does not know; its sections are Typst, which the auditor's own Typst sets in bounds.

mod again;
mod alone;
mod anchors;
pub mod class;
mod inputs;
mod openings;
mod outputs;
mod paper;
mod pdf;
mod selection;
mod summary;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use harness_core::files::{self, FileError};
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::parallel::on_all_cores_with;
use serde::Serialize;

use harness_analyse::{RunAnalysis, is_among};
use harness_record::git::{Git, GitError};
use harness_record::select::Traces;
use harness_record::{self as record, Bundled, Fate, RecordError, RunSet, SealedRun};

pub use again::Setter;
pub use anchors::anchors;
pub use summary::{Level, Summary, page};
pub use trace::{Link, Trace, Traced, Wanted, in_paper, trace};

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What is recorded is what is there.
    Holds,
    /// What is there contradicts what is recorded.
    Contradiction,
    /// It could not be checked, because something is not here.
    Missing,
    /// It contradicts nothing, and a reader has to know it.
    Note,
}

/// What was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The project as a whole.
    Project,
    /// An experiment: which of its runs count.
    Experiment(ExperimentName),
    /// A run.
    Run(ExperimentName, RunId),
    /// The paper.
    Paper,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Project => f.write_str("the project"),
            Subject::Experiment(experiment) => write!(f, "experiment {experiment}"),
            Subject::Run(experiment, run) => write!(f, "run {run} of {experiment}"),
            Subject::Paper => f.write_str("the paper"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The runs whose files hold, verified and analysed once.
type Analysed = BTreeMap<(ExperimentName, RunId), RunAnalysis>;

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `L0`, `L1`, `L2` or `L3`.
    pub level: &'static str,
    /// The run or the paper that was checked.
    pub subject: Subject,
    /// What was checked: a file, a commit, a number.
    pub what: String,
    /// What was found.
    pub outcome: Outcome,
    /// In words: what was expected, what is there.
    pub detail: String,
    /// Numbers that depend on it, where it does not hold.
    pub numbers: Vec<String>,
}

/// Everything an audit found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// All checks, in the order they were made.
    pub checks: Vec<Check>,
    /// How many numbers and words of the paper are bound to its runs: every place where one stands.
    pub bound_numbers: usize,
    /// Each value of a run that one of them rests on, traced.
    pub traces: Vec<Trace>,
    /// Every run that was opened of what was audited, and what became of it.
    pub openings: Vec<Fate>,
}

/// Why an audit could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Git could not answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// What was named is not there.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The paper has no proof beside it, or one that cannot be read.
    #[error(
        "the proof of the paper, `{proof}`, cannot be read: {problem}\nhint: `harness report` writes it with the paper"
    )]
    NoProof {
        /// Where it is or should be.
        proof: String,
        /// What is wrong.
        problem: String,
    },
    /// A number that does not exist.
    #[error("{0}")]
    UnknownValue(String),
}

impl Audit {
    /// Checks that found a contradiction.
    pub fn contradictions(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.outcome == Outcome::Contradiction)
    }

    /// Checks that could not be made.
    pub fn missing(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.outcome == Outcome::Missing)
    }

    /// What contradicts nothing and has to be known.
    pub fn notes(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.outcome == Outcome::Note)
    }

    /// How many runs were looked at.
    pub fn runs(&self) -> usize {
        let run = |check: &Check| match &check.subject {
            Subject::Run(experiment, run) => Some((experiment.clone(), run.clone())),
            _ => None,
        };
        self.checks.iter().filter_map(run).collect::<BTreeSet<_>>().len()
    }

    /// 0, 1 or 3, as documented in [`crate::exit_code`].
    pub fn exit_code(&self) -> u8 {
        if self.contradictions().next().is_some() {
            crate::exit_code::CONTRADICTION
        } else if self.missing().next().is_some() {
            crate::exit_code::INCOMPLETE
        } else {
            crate::exit_code::SUCCESS
        }
    }

    fn add(
        &mut self,
        level: &'static str,
        subject: &Subject,
        what: impl Into<String>,
        outcome: Outcome,
        detail: String,
    ) {
        let subject = subject.clone();
        self.checks.push(Check { level, subject, what: what.into(), outcome, detail, numbers: Vec::new() });
    }
}

/// What a bundle cannot show is said once for all of its runs.
fn history(project: &Project, git: Option<&Git>, audit: &mut Audit) -> Result<(), FileError> {
    if git.is_some() {
        return Ok(());
    }
    let bundled = Bundled::at(project.root())?;
    let detail = format!(
        "not checked, for a bundle has none: that the commits hold what the runs used, that no run was deleted but the {} \
         that `{}` names, and that registrations were changed as it says; a clone of the repository shows it",
        bundled.map_or(0, |bundled| bundled.deleted.len()),
        Bundled::NAME,
    );
    audit.add("L2", &Subject::Project, "history of git", Outcome::Missing, detail);
    Ok(())
}

/// Audits every run of the project, and the paper if there is one. `git` is its repository; a bundle that was unpacked has none.
pub fn everything(project: &Project, git: Option<&Git>, setter: &Setter) -> Result<Audit, AuditError> {
    let mut audit = Audit::default();
    history(project, git, &mut audit)?;
    for stray in record::strays(project)? {
        let detail = "is in a runs folder, but is not a run id".to_owned();
        // A file is no run; a folder may be one that was put out of sight.
        let is_file = files::is_plain_file(&project.home().join(&stray));
        let outcome = if is_file { Outcome::Note } else { Outcome::Contradiction };
        audit.add("L0", &Subject::Project, stray, outcome, detail);
    }
    let pdf = project.report().join("build/paper.pdf");
    let experiments = record::experiments_with_runs(project)?;
    let paper = if pdf.exists() || pdf.with_extension("json").exists() { Some(pdf.as_path()) } else { None };
    let read = paper.and_then(|pdf| paper::Paper::read(pdf, &mut audit));
    runs_and_paper(project, git, experiments, (read, &pdf), setter, &mut audit)?;
    Ok(audit)
}

/// Audits the runs of some experiments, and a paper over them, if there is one to go on with.
fn runs_and_paper(
    project: &Project,
    git: Option<&Git>,
    experiments: Vec<ExperimentName>,
    (paper, pdf): (Option<paper::Paper>, &Path),
    setter: &Setter,
    audit: &mut Audit,
) -> Result<(), AuditError> {
    let (traces, mut analysed, mut sets) = (Traces::of(project)?, Analysed::new(), Vec::new());
    if let Some(problem) = traces.unread() {
        audit.add("L2", &Subject::Project, "history of git", Outcome::Contradiction, problem.to_owned());
    }
    let mut all = Vec::new();
    for experiment in &experiments {
        let runs = record::runs_of_every_kind(project, experiment)?;
        all.extend(runs.into_iter().map(|run| (experiment.clone(), run)));
    }
    let mut looked = look(project, git, &all, audit, &mut analysed)?.into_iter();
    for experiment in &experiments {
        let count = all.iter().filter(|(of, _)| of == experiment).count();
        sets.push(set_of(project, experiment, looked.by_ref().take(count).collect(), &traces, audit)?);
    }
    audit.openings = record::history(&sets, &record::openings(project)?);
    openings::gone(&sets, &traces.here, audit);
    openings::roots(project, audit)?;
    openings::copies(&analysed, audit);
    if let Some(paper) = paper {
        let known = paper::Known { project, traces: &traces, sets: &sets, analysed: &analysed };
        paper::paper(&known, &paper, setter, audit);
    }
    openings::best(audit);
    if audit.checks.iter().all(|check| check.outcome == Outcome::Note) {
        let detail = "there is no run and no paper here, so that nothing was checked".to_owned();
        audit.add("L0", &Subject::Project, "runs", Outcome::Missing, detail);
    }
    name_paper_numbers(pdf, audit);
    Ok(())
}

/// Audits the runs of an experiment, and which of them count.
pub fn experiment(project: &Project, git: Option<&Git>, experiment: &ExperimentName) -> Result<Audit, AuditError> {
    let (mut audit, mut analysed, traces) = (Audit::default(), Analysed::new(), Traces::of(project)?);
    history(project, git, &mut audit)?;
    let runs = record::runs_of_every_kind(project, experiment)?;
    let all: Vec<(ExperimentName, RunId)> = runs.into_iter().map(|run| (experiment.clone(), run)).collect();
    let looked = look(project, git, &all, &mut audit, &mut analysed)?;
    let sets = [set_of(project, experiment, looked, &traces, &mut audit)?];
    audit.openings = record::history(&sets, &record::openings(project)?);
    openings::gone(&sets, &traces.here, &mut audit);
    openings::roots(project, &mut audit)?;
    openings::copies(&analysed, &mut audit);
    name_paper_numbers(&project.report().join("build/paper.pdf"), &mut audit);
    Ok(audit)
}

/// A run with what it is read as, if it holds.
type Looked = (RunId, Result<SealedRun, RecordError>);

/// Audits runs on every core. A handle of a repository belongs to one thread.
fn look(
    project: &Project,
    git: Option<&Git>,
    all: &[(ExperimentName, RunId)],
    audit: &mut Audit,
    analysed: &mut Analysed,
) -> Result<Vec<Looked>, AuditError> {
    let root = git.map(Git::root);
    let one = |own: &mut Option<Git>, (experiment, run): &(ExperimentName, RunId)| -> Result<_, AuditError> {
        if let (None, Some(root)) = (&own, root) {
            *own = Some(Git::discover(root)?);
        }
        let (mut audit, mut analysed) = (Audit::default(), Analysed::new());
        let sealed = outputs::run(project, own.as_ref(), experiment, run, &mut audit, &mut analysed)?;
        Ok((audit, analysed, sealed))
    };
    let looked = on_all_cores_with(all, || None, one);
    let mut read = Vec::new();
    for ((_, run), looked) in all.iter().zip(looked) {
        let (one, numbers, sealed) = looked?;
        audit.checks.extend(one.checks);
        analysed.extend(numbers);
        read.push((run.clone(), sealed));
    }
    Ok(read)
}

/// Which of the runs of an experiment count.
fn set_of(
    project: &Project,
    experiment: &ExperimentName,
    looked: Vec<Looked>,
    traces: &Traces,
    audit: &mut Audit,
) -> Result<RunSet, AuditError> {
    let set = RunSet::among(project, experiment, looked, traces)?;
    selection::check(&set, audit);
    openings::seeds(project, &set, audit)?;
    openings::hypothesis(project, &set, audit);
    Ok(set)
}

/// Audits one run.
pub fn run(
    project: &Project,
    git: Option<&Git>,
    experiment: &ExperimentName,
    run: &RunId,
) -> Result<Audit, AuditError> {
    let mut audit = Audit::default();
    history(project, git, &mut audit)?;
    let _sealed = outputs::run(project, git, experiment, run, &mut audit, &mut Analysed::new())?;
    if let Some(dropped) = record::dropped(project, experiment)?.remove(run) {
        let subject = Subject::Run(experiment.clone(), run.clone());
        audit.add("L2", &subject, "dropped", Outcome::Note, dropped.because);
    }
    openings::roots(project, &mut audit)?;
    name_paper_numbers(&project.report().join("build/paper.pdf"), &mut audit);
    Ok(audit)
}

/// Audits a paper and every run of its experiments.
pub fn pdf(project: &Project, git: Option<&Git>, pdf: &Path, setter: &Setter) -> Result<Audit, AuditError> {
    let mut audit = Audit::default();
    history(project, git, &mut audit)?;
    let paper = paper::Paper::read(pdf, &mut audit);
    let named = paper.as_ref().map(paper::Paper::experiments).unwrap_or_default();
    let there = |name: &ExperimentName| project.experiments().join(name.as_str()).is_dir();
    let named = named.into_iter().filter(there).collect();
    runs_and_paper(project, git, named, (paper, pdf), setter, &mut audit)?;
    Ok(audit)
}

/// Audits a paper without its repository: what is attached to it against its pages and against itself.
pub fn alone(pdf: &Path) -> Audit {
    let mut audit = Audit::default();
    if let Some(paper) = paper::Paper::read(pdf, &mut audit) {
        alone::check_alone(&paper, &mut audit);
    }
    audit
}

/// Adds to each contradiction where the paper shows a number that depends on it.
fn name_paper_numbers(pdf: &Path, audit: &mut Audit) {
    let shown = paper::shown_numbers(pdf);
    for check in audit.checks.iter_mut().filter(|c| c.outcome == Outcome::Contradiction) {
        let Subject::Run(_, run) = &check.subject else { continue };
        let mut places = Vec::new();
        for number in &shown {
            if number.run == run.as_str() && is_among(&number.key, &check.numbers) {
                places.push(format!("{} = {} on page {} of the paper", number.key, number.shown, number.page));
            }
        }
        check.numbers.extend(places);
    }
}

/// The message of an error without its hint.
fn first_line(error: &dyn fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
