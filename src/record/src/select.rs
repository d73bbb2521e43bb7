//! Which runs count. Of an experiment those that completed, that the paper may cite, and that have one plan, the latest,
//! and one purpose: runs to report or to confirm with, if there are any, else those that explored. Of a seed that was run
//! twice the later run counts. Whatever else there is, or was, is named with the reason why it does not count.
//!
//! Comparisons, figures, the paper, the dashboard, `harness runs` and the audit take a [`RunSet`] and choose nothing
//! themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use harness_core::Digest;
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId};
use serde::Serialize;

use crate::bundled::Bundled;
use crate::dropped::{Dropped, dropped, opened};
use crate::format::{self, Head, Open, Purpose, Status, file};
use crate::git::{Git, GitError};
use crate::{RecordError, SealedRun, all_runs, experiments_with_runs, find, last_part, runs_of_every_kind};

/// The runs that stand for a name.
#[derive(Clone, Debug)]
pub struct RunSet {
    /// The name: an experiment, or a single run.
    pub name: String,
    /// The experiment.
    pub experiment: ExperimentName,
    /// The runs that count, oldest first: one for each seed of one plan.
    pub runs: Vec<SealedRun>,
    /// The other runs of the experiment, oldest first.
    pub left_out: Vec<LeftOut>,
}

/// A run that does not count.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// The run.
    pub run: RunId,
    /// Why it does not count.
    pub why: Reason,
    /// What is known of it.
    pub seen: Seen,
}

/// What is known of a run.
#[derive(Clone, Debug)]
pub enum Seen {
    /// It is sealed, and verified.
    Sealed(Box<SealedRun>),
    /// Its `open.json`, which nothing has verified.
    Opened(Box<Open>),
    /// It cannot be read.
    Nothing,
}

/// Why a run does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was never sealed: it is still going on, or its supervisor was killed.
    NotSealed,
    /// It was changed after it was sealed, or cannot be read.
    Unreadable(String),
    /// Another version of this program wrote it.
    OtherVersion(String),
    /// It is a copy of the run of the same id of this experiment.
    CopyOf(ExperimentName),
    /// Somebody took it out, for this reason.
    Dropped(String),
    /// It is not here any more, and nothing says why.
    Gone(LastSeen),
    /// It trained nothing and evaluates the checkpoints of this run.
    Evaluates(RunId),
    /// It ended early, and this run goes on from its last checkpoint.
    ContinuedBy(RunId),
    /// It ended early.
    Ended(Status),
    /// The paper may not cite it, because of this.
    NotCitable(String),
    /// Its plan is not that of the latest run.
    OtherPlan,
    /// It served this purpose, and others of its plan are better evidence.
    OtherPurpose(Purpose),
    /// This later run has its plan and its seed.
    RepeatedBy(RunId),
    /// It would count, but another run was asked for by its id.
    NotNamed,
}

/// Where a run was seen last that is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LastSeen {
    /// In this commit.
    Commit(String),
    /// When this run was opened, which names it.
    NamedBy(RunId),
}

impl Reason {
    /// Whether it would count but for another plan, purpose or a later run of its seed.
    pub fn is_paid_for(&self) -> bool {
        matches!(self, Reason::OtherPlan | Reason::OtherPurpose(_) | Reason::RepeatedBy(_))
    }

    /// What runs left out for this reason have in common, for counting them; nothing where no number is lost with them.
    fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Reason::Evaluates(_) | Reason::ContinuedBy(_) => return None,
            Reason::NotSealed => "never sealed",
            Reason::Unreadable(_) => "not as sealed",
            Reason::OtherVersion(_) => "written by another version of harness",
            Reason::CopyOf(_) => "copied from another experiment",
            Reason::Dropped(_) => "dropped (`harness runs` says why)",
            Reason::Gone(_) => "deleted",
            Reason::Ended(status) => status.word(),
            Reason::NotCitable(_) => "not citable",
            Reason::OtherPlan => "of another plan than the latest",
            Reason::OtherPurpose(purpose) => match purpose {
                Purpose::Tune => "for tuning",
                Purpose::Explore => "exploratory, before those that confirm",
                Purpose::Confirm | Purpose::Final => "to confirm, before those to report",
            },
            Reason::RepeatedBy(_) => "of a seed that a later run repeats",
            Reason::NotNamed => "of the same plan, but not named here",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotSealed => write!(f, "it is open"),
            Reason::Unreadable(problem) | Reason::OtherVersion(problem) => write!(f, "{problem}"),
            Reason::CopyOf(experiment) => write!(f, "it is a copy of the same run of `{experiment}`"),
            Reason::Dropped(because) => write!(f, "it was dropped: {because}"),
            Reason::Gone(LastSeen::Commit(commit)) => {
                write!(f, "it was deleted; commit {} still holds it", commit.get(..12).unwrap_or(commit))
            }
            Reason::Gone(LastSeen::NamedBy(run)) => write!(f, "it is gone; run {run} names it"),
            Reason::Evaluates(run) => write!(f, "it evaluates {run} again"),
            Reason::ContinuedBy(run) => write!(f, "{run} continues it"),
            Reason::Ended(Status::Failed) => write!(f, "it failed"),
            Reason::Ended(status) => write!(f, "it was {}", status.word()),
            Reason::NotCitable(because) => write!(f, "{because}"),
            Reason::OtherPlan => write!(f, "its plan is not that of the latest run"),
            Reason::OtherPurpose(purpose) => write!(f, "its purpose was to {}", purpose.verb()),
            Reason::RepeatedBy(run) => write!(f, "{run} repeats its seed"),
            Reason::NotNamed => write!(f, "another run of its plan was named"),
        }
    }
}

impl LeftOut {
    /// Its `open.json`, as far as it can be read.
    pub fn open(&self) -> Option<&Open> {
        match &self.seen {
            Seen::Sealed(sealed) => Some(&sealed.open),
            Seen::Opened(open) => Some(open),
            Seen::Nothing => None,
        }
    }

    /// The run, if it is sealed.
    pub fn sealed(&self) -> Option<&SealedRun> {
        match &self.seen {
            Seen::Sealed(sealed) => Some(sealed),
            _ => None,
        }
    }
}

/// A run, and what came of opening it.
pub type Read = (RunId, Result<SealedRun, RecordError>);

impl RunSet {
    /// The runs of an experiment. A run that cannot be read as it was sealed is an error, not left out: otherwise an edit
    /// would silently choose other runs.
    pub fn of(project: &Project, experiment: &ExperimentName) -> Result<Self, RecordError> {
        Self::of_traced(project, experiment, &Traces::of(project)?)
    }

    /// The runs of every experiment that has any, in the order of their names.
    pub fn of_all(project: &Project) -> Result<Vec<Self>, RecordError> {
        let traces = Traces::of(project)?;
        experiments_with_runs(project)?.iter().map(|name| Self::of_traced(project, name, &traces)).collect()
    }

    /// [`RunSet::of`] where the traces were looked for already.
    pub fn of_traced(project: &Project, experiment: &ExperimentName, traces: &Traces) -> Result<Self, RecordError> {
        let mut read = read(project, experiment)?;
        let bad = |(_, run): &Read| matches!(run, Err(error) if !matches!(error, RecordError::NotSealed { .. }));
        if let Some(at) = read.iter().position(bad)
            && let (_, Err(error)) = read.swap_remove(at)
        {
            return Err(error);
        }
        Ok(Self::among(project, experiment, read, traces)?)
    }

    /// The runs of an experiment, for lists: those that cannot be read are left out.
    pub fn survey(project: &Project, experiment: &ExperimentName, traces: &Traces) -> Result<Self, FileError> {
        Self::among(project, experiment, read(project, experiment)?, traces)
    }

    /// The same of the runs that were opened until a time, as it stands before their ids: `20261123T081500Z`.
    pub fn survey_until(
        project: &Project,
        experiment: &ExperimentName,
        traces: &Traces,
        until: &str,
    ) -> Result<Self, FileError> {
        let mut runs = read(project, experiment)?;
        runs.retain(|(run, _)| run.as_str() <= until || run.as_str().starts_with(until));
        Self::among(project, experiment, runs, traces)
    }

    /// The runs that the paper lists: those that count, those that would but for another plan, purpose or a later run of
    /// their seed, which were paid for, those that keep texts of one that counts, and those that scored the test side with any of
    /// these. None of an experiment of which no run counts, such as a study that was only tuned.
    pub fn in_paper(&self) -> impl Iterator<Item = &SealedRun> {
        let is_paid_for = Reason::is_paid_for;
        let counts = |run: &RunId| self.runs.iter().any(|counted| counted.open.run == *run);
        let is_listed_too =
            move |run: &RunId| self.left_out.iter().any(|left| left.run == *run && is_paid_for(&left.why));
        let is_listed = move |left: &&LeftOut| match (&left.why, left.sealed()) {
            (Reason::Evaluates(of), Some(run)) => {
                counts(of) && run.shows_samples() || run.shows_test_side() && (counts(of) || is_listed_too(of))
            }
            (why, _) => is_paid_for(why),
        };
        let any_counts = !self.runs.is_empty();
        let listed = self.left_out.iter().filter(move |left| any_counts && is_listed(left));
        self.runs.iter().chain(listed.filter_map(LeftOut::sealed))
    }

    /// The runs that a person names: one by its id or its folder, or those of an experiment.
    pub fn named(project: &Project, name: &str) -> Result<Self, RecordError> {
        let (experiment, run) = find(project, name)?;
        if run.as_str() != last_part(name) {
            return Self::of(project, &experiment);
        }
        let named = SealedRun::open(project, &experiment, &run)?;
        let mut set = Self::survey(project, &experiment, &Traces::of(project)?)?;
        let plan = named.plan_but_seed();
        set.left_out.retain(|other| other.run != run);
        for other in set.runs.drain(..).filter(|other| other.open.run != run) {
            let why = if other.plan_but_seed() == plan { Reason::NotNamed } else { Reason::OtherPlan };
            set.left_out.push(LeftOut { run: other.open.run.clone(), why, seen: Seen::Sealed(Box::new(other)) });
        }
        set.left_out.sort_by(|a, b| a.run.cmp(&b.run));
        Ok(RunSet { name: run.to_string(), runs: vec![named], ..set })
    }

    /// The runs of an experiment, oldest first, that were just opened.
    pub fn among(
        project: &Project,
        experiment: &ExperimentName,
        read: Vec<Read>,
        traces: &Traces,
    ) -> Result<Self, FileError> {
        let mut dropped = dropped(project, experiment)?;
        let copy_of =
            |run: &SealedRun| run.renamed_from.clone().filter(|original| project.run(original, &run.open.run).is_dir());
        let (mut candidates, mut left_out): (Vec<SealedRun>, Vec<LeftOut>) = (Vec::new(), Vec::new());
        for (run, opened_run) in read {
            let dropped = dropped.remove(&run).map(|dropped| Reason::Dropped(dropped.because));
            let (why, seen) = match opened_run {
                Ok(sealed) => match dropped.or_else(|| copy_of(&sealed).map(Reason::CopyOf)) {
                    Some(why) => (why, Seen::Sealed(Box::new(sealed))),
                    None => {
                        candidates.push(sealed);
                        continue;
                    }
                },
                Err(RecordError::NotSealed { .. }) => {
                    let open = opened(project, experiment, &run);
                    let seen = open.map_or(Seen::Nothing, |open| Seen::Opened(Box::new(open)));
                    (dropped.unwrap_or(Reason::NotSealed), seen)
                }
                Err(error) => {
                    let problem = error.to_string().lines().next().unwrap_or_default().to_owned();
                    let other_version = matches!(error, RecordError::OtherVersion { .. });
                    let why = if other_version { Reason::OtherVersion } else { Reason::Unreadable }(problem);
                    (dropped.unwrap_or(why), Seen::Nothing)
                }
            };
            left_out.push(LeftOut { run, why, seen });
        }
        let reasons = reasons(&candidates.iter().collect::<Vec<_>>());
        let mut runs = Vec::new();
        for (sealed, why) in candidates.into_iter().zip(reasons) {
            match why {
                None => runs.push(sealed),
                Some(why) => {
                    left_out.push(LeftOut { run: sealed.open.run.clone(), why, seen: Seen::Sealed(Box::new(sealed)) });
                }
            }
        }
        let mut set = RunSet { name: experiment.to_string(), experiment: experiment.clone(), runs, left_out };
        set.remember(&dropped, traces);
        set.left_out.sort_by(|a, b| a.run.cmp(&b.run));
        Ok(set)
    }

    /// Adds the runs that are not here: those that were dropped before their folders were deleted, those that a commit
    /// holds, and those that a run which is here names.
    fn remember(&mut self, dropped: &BTreeMap<RunId, Dropped>, traces: &Traces) {
        let mut gone: BTreeMap<RunId, (Reason, Seen)> = BTreeMap::new();
        let opens = || self.runs.iter().map(|run| &run.open).chain(self.left_out.iter().filter_map(LeftOut::open));
        for open in opens() {
            let own = open.resumed_from.iter().filter(|from| from.experiment.is_none());
            let origin = own.map(|from| &from.run);
            let evaluated = open.evaluates.iter().map(|evaluated| &evaluated.run);
            let of_this = |head: &&Head| head.experiment.as_ref().is_none_or(|of| *of == self.experiment);
            let heads = open.heads.iter().filter(of_this).map(|head| &head.run);
            for run in heads.chain(origin).chain(evaluated) {
                gone.entry(run.clone())
                    .or_insert_with(|| (Reason::Gone(LastSeen::NamedBy(open.run.clone())), Seen::Nothing));
            }
        }
        let former: BTreeSet<&ExperimentName> = self.runs.iter().filter_map(|run| run.renamed_from.as_ref()).collect();
        for (run, (experiment, commit)) in &traces.ever {
            if *experiment == self.experiment || former.contains(experiment) {
                let seen = traces.opened_at(experiment, run, commit);
                gone.insert(run.clone(), (Reason::Gone(LastSeen::Commit(commit.clone())), seen));
            }
        }
        gone.retain(|run, _| !traces.here.contains(run));
        for (run, dropped) in dropped {
            let seen = gone.remove(run).map_or(Seen::Nothing, |(_, seen)| seen);
            gone.insert(run.clone(), (Reason::Dropped(dropped.because.clone()), seen));
        }
        self.left_out.extend(gone.into_iter().map(|(run, (why, seen))| LeftOut { run, why, seen }));
    }

    /// The latest run that counts: the one whose numbers are quoted.
    pub fn latest(&self) -> Option<&SealedRun> {
        self.runs.last()
    }

    /// The same, alone.
    pub fn into_latest(mut self) -> Option<SealedRun> {
        self.runs.pop()
    }

    /// Seeds that no run is known of, where the seeds were counted up: those between the smallest and the largest.
    pub fn missing_seeds(&self) -> Vec<u64> {
        let counted: BTreeSet<u64> = self.runs.iter().map(|run| run.open.plan.seed).collect();
        let known = self.left_out.iter().filter_map(|run| Some(run.open()?.plan.seed));
        let known: BTreeSet<u64> = known.chain(counted.iter().copied()).collect();
        match (counted.first(), counted.last()) {
            // Seeds that were drawn lie far apart.
            (Some(&first), Some(&last)) if last - first < 2 * counted.len() as u64 => {
                (first..last).filter(|seed| !known.contains(seed)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What a reader has to know of the choice, in sentences: how many runs were left out and why.
    pub fn notes(&self) -> Vec<String> {
        let name = &self.name;
        let runs = |count: usize| if count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
        let is_single = *name != self.experiment.as_str();
        let mut kinds: Vec<(&str, usize)> = Vec::new();
        for why in self.left_out.iter().map(|run| &run.why).filter(|why| !is_single || **why == Reason::NotNamed) {
            let Some(kind) = why.kind() else { continue };
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((kind, 1)),
            }
        }
        let mut notes: Vec<String> =
            kinds.iter().map(|(kind, count)| format!("`{name}`: {} left out: {kind}", runs(*count))).collect();
        let missing: Vec<String> = self.missing_seeds().iter().map(u64::to_string).collect();
        if !missing.is_empty() {
            notes
                .push(format!("`{name}`: no run is known of seed {}, between seeds that were run", missing.join(", ")));
        }
        let sources: BTreeSet<&str> = self.runs.iter().map(|r| r.open.binaries.built_from_sha256.as_str()).collect();
        if sources.len() > 1 {
            let count = runs(self.runs.len());
            notes.push(format!(
                "`{name}`: {count} counted together although their programs were built from different sources"
            ));
        }
        notes.extend(self.runs.iter().flat_map(doubts));
        notes
    }
}

/// What is to be said of a run that was asked for by its id and that the paper could not use.
fn doubts(run: &SealedRun) -> Vec<String> {
    let (id, status) = (&run.open.run, run.record.status);
    let mut notes = Vec::new();
    if status != Status::Completed {
        notes.push(format!("run `{id}` is {}: its numbers are those of its last evaluation", status.word()));
    }
    if let Some(reason) = &run.open.not_citable_because {
        notes.push(format!("run `{id}` is not citable: {reason}"));
    }
    notes
}

fn read(project: &Project, experiment: &ExperimentName) -> Result<Vec<Read>, FileError> {
    let runs = runs_of_every_kind(project, experiment)?;
    Ok(runs.into_iter().map(|run| (run.clone(), SealedRun::open(project, experiment, &run))).collect())
}

/// What is known of runs of a project without opening them.
pub struct Traces {
    git: Option<Git>,
    /// What stands in for it in a bundle that was unpacked.
    bundled: Option<Bundled>,
    /// Those that have a folder.
    pub here: BTreeSet<RunId>,
    /// Those that a commit of the current branch ever held; none where git cannot be asked.
    ever: BTreeMap<RunId, (ExperimentName, String)>,
    /// Why the history could not be walked.
    unread: Option<String>,
}

impl Traces {
    /// Looks at the run folders and at the history of the current branch.
    pub fn of(project: &Project) -> Result<Self, FileError> {
        let here = all_runs(project)?.into_iter().map(|(_, run)| run).collect();
        let bundled = Bundled::at(project.root())?;
        let git = match bundled {
            Some(_) => None,
            None => Git::discover(project.root()).ok().filter(|git| git.is_at(project.root())),
        };
        let (mut ever, unread) = match git.as_ref().map(Git::runs_ever) {
            Some(Err(GitError::NoCommit)) | None => (BTreeMap::new(), None),
            Some(Err(error)) => {
                (BTreeMap::new(), Some(error.to_string().lines().next().unwrap_or_default().to_owned()))
            }
            Some(Ok(ever)) => (ever, None),
        };
        for gone in bundled.iter().flat_map(|bundled| &bundled.deleted) {
            ever.insert(gone.run.clone(), (gone.experiment.clone(), gone.commit.clone()));
        }
        Ok(Traces { git, bundled, here, ever, unread })
    }

    /// Why the history of the branch could not be walked, so that no run is known of that was deleted.
    pub fn unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    /// Runs that have no folder and that a commit held, with their experiment and the last such commit.
    pub fn deleted(&self) -> impl Iterator<Item = (&RunId, &ExperimentName, &str)> {
        let gone = self.ever.iter().filter(|(run, _)| !self.here.contains(run));
        gone.map(|(run, (experiment, commit))| (run, experiment, commit.as_str()))
    }

    /// A file that a commit held of a run.
    pub fn file_at(&self, experiment: &ExperimentName, run: &RunId, commit: &str, file: &str) -> Option<Vec<u8>> {
        if let Some(bundled) = &self.bundled {
            let gone = bundled.deleted.iter().find(|gone| gone.run == *run)?;
            return gone.files.get(file).map(|text| text.clone().into_bytes());
        }
        self.git.as_ref()?.file_at(commit, &format!("experiments/{experiment}/runs/{run}/{file}")).ok().flatten()
    }

    /// Who wrote a commit; none where it is not here.
    pub fn author_of(&self, commit: &str) -> Option<String> {
        self.git.as_ref()?.author_of(commit).ok()
    }

    fn opened_at(&self, experiment: &ExperimentName, run: &RunId, commit: &str) -> Seen {
        let open = self.file_at(experiment, run, commit, file::OPEN).and_then(|bytes| format::read_open(&bytes).ok());
        open.map_or(Seen::Nothing, |open| Seen::Opened(Box::new(open)))
    }
}

/// Why each of the runs of one experiment, oldest first, does not count; nothing for those that do.
pub fn reasons(runs: &[&SealedRun]) -> Vec<Option<Reason>> {
    let continued_by = |run: &SealedRun| {
        let continues =
            |later: &&&SealedRun| later.open.resumed_from.as_ref().is_some_and(|from| from.run == run.open.run);
        runs.iter().rev().find(continues).map(|later| later.open.run.clone())
    };
    let unfit = |run: &SealedRun| {
        if let Some(earlier) = &run.open.evaluates {
            Some(Reason::Evaluates(earlier.run.clone()))
        } else if run.record.status != Status::Completed {
            Some(continued_by(run).map_or(Reason::Ended(run.record.status), Reason::ContinuedBy))
        } else if let Some(because) = &run.open.not_citable_because {
            Some(Reason::NotCitable(because.clone()))
        } else {
            // What a value was chosen by is no evidence for it.
            (run.open.plan.purpose == Purpose::Tune).then_some(Reason::OtherPurpose(Purpose::Tune))
        }
    };
    let plans: Vec<Digest> = runs.iter().map(|run| run.plan_but_seed()).collect();
    let fit: Vec<usize> = (0..runs.len()).filter(|&at| unfit(runs[at]).is_none()).collect();
    let plan = fit.last().map(|&latest| plans[latest]);
    let of_plan = fit.iter().filter(|&&at| Some(plans[at]) == plan);
    let purpose = of_plan.map(|&at| runs[at].open.plan.purpose).max();
    let mut counted: Vec<&SealedRun> = Vec::new();
    let mut reasons: Vec<Option<Reason>> = Vec::new();
    for (run, run_plan) in runs.iter().zip(&plans).rev() {
        let repeats = counted.iter().find(|later| later.open.plan.seed == run.open.plan.seed);
        let reason = unfit(run).or_else(|| {
            if Some(*run_plan) != plan {
                Some(Reason::OtherPlan)
            } else if Some(run.open.plan.purpose) != purpose {
                Some(Reason::OtherPurpose(run.open.plan.purpose))
            } else {
                repeats.map(|later| Reason::RepeatedBy(later.open.run.clone()))
            }
        });
        if reason.is_none() {
            counted.push(run);
        }
        reasons.push(reason);
    }
    reasons.reverse();
    reasons
}
