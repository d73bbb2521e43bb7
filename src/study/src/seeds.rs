//! Which of the derived seeds an experiment was run with.

use std::collections::BTreeMap;

use harness_core::Digest;
use harness_core::config::Choices;
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project};
use harness_core::project_file::ProjectFile;
use harness_core::seeds::first;
use harness_record::format::{Purpose, Status};
use harness_record::select::Traces;
use harness_record::{Reason, RunSet, SealedRun, experiments, load_config};

/// A seed further on is taken for one that somebody chose.
const FARTHEST: u64 = 1000;

/// The first `count` seeds of a purpose in this project.
pub fn derived(project: &Project, purpose: Purpose, count: u64) -> Result<Vec<u64>, FileError> {
    Ok(first(&ProjectFile::load(project)?.id, purpose.word(), count))
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
    /// Seeds whose latest run was interrupted and goes on from its checkpoint.
    pub interrupted: Vec<u64>,
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
    let plan = plan_but_seed_and_measured_steps(config);
    let is_ours =
        |run: &SealedRun| run.open.plan.purpose == purpose && plan_but_seed_and_measured_steps(&run.experiment) == plan;
    let mut seeded = Seeded::default();
    let left_out = set.left_out.into_iter().filter_map(|left| {
        let counts = matches!(
            left.why,
            Reason::OtherPlan | Reason::OtherPurpose(_) | Reason::RepeatedBy(_) | Reason::Ended(Status::Interrupted)
        );
        left.sealed().filter(|_| counts).cloned()
    });
    let mut runs: Vec<SealedRun> = set.runs.into_iter().chain(left_out).filter(is_ours).collect();
    runs.sort_by(|a, b| a.open.run.cmp(&b.open.run));
    for run in runs {
        let seed = run.open.plan.seed;
        seeded.interrupted.retain(|other| *other != seed);
        if run.is_citable() {
            seeded.completed.insert(seed, run);
        } else if run.record.status == Status::Interrupted {
            seeded.interrupted.push(seed);
        }
    }
    Ok(seeded)
}

/// The derived seeds to confirm that proposals register and that no completed run has, by experiment: of each change, and of what
/// it is held against. What cannot be read registers nothing.
pub fn outstanding(project: &Project, traces: &Traces) -> Result<BTreeMap<ExperimentName, Vec<u64>>, FileError> {
    let mut wanted: BTreeMap<ExperimentName, u32> = BTreeMap::new();
    for name in experiments(project)? {
        let Ok(config) = load_config(project, &name).map(|loaded| loaded.experiment) else { continue };
        if config.expect.is_none() {
            continue;
        }
        for side in config.against().into_iter().chain([&name]) {
            let most = wanted.entry(side.clone()).or_default();
            *most = config.seeds.max(*most);
        }
    }
    let mut outstanding = BTreeMap::new();
    for (name, count) in wanted.into_iter().filter(|(_, count)| *count > 0) {
        let Ok(config) = load_config(project, &name).map(|loaded| loaded.experiment) else { continue };
        let all = derived(project, Purpose::Confirm, u64::from(count))?;
        outstanding.insert(name.clone(), seeded(project, &name, &config, Purpose::Confirm, traces)?.missing(&all));
    }
    Ok(outstanding)
}

/// What decides the numbers of a run but for its seed, and for the steps where they follow from a budget.
fn plan_but_seed_and_measured_steps(config: &Choices) -> Digest {
    let mut plan = config.clone();
    if plan.training.budget.is_some() {
        plan.training.steps = 0;
    }
    plan.plan_digest_but_seed()
}
