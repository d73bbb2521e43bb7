//! Which of the derived seeds an experiment was run with.

use std::collections::BTreeMap;

use harness_core::Digest;
use harness_core::config::{Choices, DecidePurpose};
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::project_file::ProjectFile;
use harness_core::seeds::first;
use harness_record::format::{Purpose, Status};
use harness_record::select::Traces;
use harness_record::{LeftOut, Reason, RunSet, SealedRun, Seen};

/// A seed further on is taken for one that somebody chose.
const FARTHEST: u64 = 1000;

/// The first `count` seeds of a purpose in this project.
pub fn derived(project: &Project, purpose: Purpose, count: u64) -> Result<Vec<u64>, FileError> {
    Ok(first(&ProjectFile::load(project)?.id, purpose.word(), count))
}

/// The first seed of a purpose that an experiment was not run with yet.
pub fn next(project: &Project, name: &ExperimentName, config: &Choices, purpose: Purpose) -> Result<u64, FileError> {
    let there = seeded(project, name, config, purpose, &Traces::of(project)?)?;
    let all = derived(project, purpose, there.completed.len() as u64 + 1)?;
    Ok(there.missing(&all)[0])
}

/// Whether a seed is one of the project's own for this purpose.
pub fn is_derived(project: &Project, purpose: Purpose, seed: u64) -> Result<bool, FileError> {
    Ok(purpose != Purpose::Explore && derived(project, purpose, FARTHEST)?.contains(&seed))
}

/// The runs of an experiment, as it is now, for one purpose.
#[derive(Debug, Default)]
pub struct Seeded {
    /// Those that completed and are citable, so that their commit held the proposal, by seed; of a seed that was run twice the
    /// later one.
    pub completed: BTreeMap<u64, SealedRun>,
    /// Seeds whose latest run was interrupted, or killed before it was sealed, with the runs that one may go on from.
    pub unfinished: BTreeMap<u64, Vec<RunId>>,
}

impl Seeded {
    /// Those of `seeds` that no completed run has.
    pub fn missing(&self, seeds: &[u64]) -> Vec<u64> {
        seeds.iter().copied().filter(|seed| !self.completed.contains_key(seed)).collect()
    }
}

/// What was run of an experiment with this config for a purpose.
pub fn seeded(
    project: &Project,
    name: &ExperimentName,
    config: &Choices,
    purpose: Purpose,
    traces: &Traces,
) -> Result<Seeded, FileError> {
    let set = RunSet::survey(project, name, traces)?;
    let killed: Vec<(u64, RunId)> = set.left_out.iter().filter_map(|left| killed(left, config, purpose)).collect();
    let left_out = set.left_out.into_iter().filter_map(|left| {
        let counts = matches!(
            left.why,
            Reason::OtherPlan | Reason::OtherPurpose(_) | Reason::RepeatedBy(_) | Reason::Ended(Status::Interrupted)
        );
        left.sealed().filter(|_| counts).cloned()
    });
    let mut seeded = seeded_by(set.runs.into_iter().chain(left_out), config, purpose);
    for (seed, run) in killed {
        seeded.unfinished.entry(seed).or_default().push(run);
    }
    Ok(seeded)
}

/// The same by runs that are sealed, whichever of an experiment they are.
pub(crate) fn seeded_by(runs: impl Iterator<Item = SealedRun>, config: &Choices, purpose: Purpose) -> Seeded {
    let plan = plan_but_seed_and_measured_steps(config);
    let is_ours =
        |run: &SealedRun| run.open.plan.purpose == purpose && plan_but_seed_and_measured_steps(&run.experiment) == plan;
    let mut seeded = Seeded::default();
    let mut runs: Vec<SealedRun> = runs.filter(is_ours).collect();
    runs.sort_by(|a, b| a.open.run.cmp(&b.open.run));
    for run in runs {
        let seed = run.open.plan.seed;
        if run.is_citable() {
            seeded.unfinished.remove(&seed);
            seeded.completed.insert(seed, run);
        } else if run.record.status == Status::Interrupted {
            seeded.unfinished.entry(seed).or_default().push(run.open.run.clone());
        } else {
            seeded.unfinished.remove(&seed);
        }
    }
    seeded
}

/// A run of this config for this purpose that was never sealed, with its seed.
fn killed(left: &LeftOut, config: &Choices, purpose: Purpose) -> Option<(u64, RunId)> {
    let Seen::Opened(open) = &left.seen else { return None };
    let plan = &open.plan;
    let is_ours = || Choices { seed: plan.seed, ..config.clone() }.plan_digest() == plan.plan_sha256;
    (left.why == Reason::NotSealed && plan.purpose == purpose && is_ours()).then(|| (plan.seed, left.run.clone()))
}

/// What the runs are for that decide an experiment.
pub fn purpose_of(experiment: &Choices) -> Purpose {
    match experiment.decide.purpose {
        DecidePurpose::Confirm => Purpose::Confirm,
        DecidePurpose::Final => Purpose::Final,
    }
}

/// What decides the numbers of a run but for its seed, and for the steps where they follow from a budget.
pub fn plan_but_seed_and_measured_steps(config: &Choices) -> Digest {
    let mut plan = config.clone();
    if plan.training.budget.is_some() {
        plan.training.steps = 0;
    }
    plan.plan_digest_but_seed()
}
