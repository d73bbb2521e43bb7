//! Which runs stand for a name: the run of that name, or every seed of an experiment's latest plan.

use std::collections::BTreeSet;

use harness_core::Digest;
use harness_core::names::{ExperimentName, Project, RunId};
use serde::Serialize;

use super::{CompareError, SideSummary};
use crate::RunAnalysis;
use harness_record::{self as record, RecordError, SealedRun};

/// One side of a comparison: runs of one plan that differ in their seeds.
#[derive(Clone, Debug)]
pub struct Side {
    /// As it was asked for.
    pub name: String,
    /// At least one, oldest first.
    pub runs: Vec<RunAnalysis>,
    /// Which runs were left out, and why.
    pub notes: Vec<String>,
}

/// A run as comparisons name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunName {
    /// The run.
    pub run: RunId,
    /// Digest of its MANIFEST.
    pub root: Digest,
    /// Its seed.
    pub seed: u64,
}

impl RunName {
    /// The name of a run.
    pub fn of(run: &SealedRun) -> Self {
        RunName { run: run.open.run.clone(), root: run.root, seed: run.open.plan.seed }
    }
}

impl Side {
    /// The side of a run id or an experiment's name. Of an experiment every completed, citable run counts that has the
    /// plan of the latest one, its seed aside; of runs with one seed, which only repeat each other, the latest.
    pub fn open(project: &Project, name: &str) -> Result<Self, CompareError> {
        let (experiment, run) = record::find(project, name).or_else(|error| no_run(project, name, error))?;
        if run.as_str() == name {
            let run = SealedRun::open(project, &experiment, &run)?;
            let notes = doubts(&run);
            return Ok(Side { name: name.to_owned(), runs: vec![RunAnalysis::of(run)?], notes });
        }
        Side::of_experiment(project, experiment)
    }

    fn of_experiment(project: &Project, experiment: ExperimentName) -> Result<Self, CompareError> {
        let mut chosen: Vec<SealedRun> = Vec::new();
        let (mut other_plans, mut repeated, mut unusable) = (0, 0, 0);
        for run in record::runs(project, &experiment).map_err(RecordError::from)?.iter().rev() {
            let sealed = match SealedRun::open(project, &experiment, run) {
                Err(RecordError::NotSealed { .. }) => continue,
                sealed => sealed?,
            };
            if !sealed.is_citable() {
                unusable += 1;
            } else if chosen.first().is_some_and(|latest| !differ_in_seed_only(latest, &sealed)) {
                other_plans += 1;
            } else if chosen.iter().any(|c| c.open.plan.seed == sealed.open.plan.seed) {
                repeated += 1;
            } else {
                chosen.push(sealed);
            }
        }
        if chosen.is_empty() {
            return Err(CompareError::NoRun(experiment));
        }
        let sources: BTreeSet<&str> = chosen.iter().map(|r| r.open.binaries.built_from_sha256.as_str()).collect();
        let mixed = if sources.len() > 1 { chosen.len() } else { 0 };
        let notes = [
            (unusable, "left out: not completed, or not citable"),
            (other_plans, "left out: of another plan than the latest"),
            (repeated, "left out: of a seed that a later run repeats"),
            (mixed, "counted together although their programs were built from different sources"),
        ];
        let note = |(count, why): &(usize, &str)| format!("`{experiment}`: {count} run{} {why}", plural(*count));
        let notes = notes.iter().filter(|(count, _)| *count > 0).map(note).collect();
        chosen.reverse();
        let runs = chosen.into_iter().map(RunAnalysis::of).collect::<Result<_, _>>()?;
        Ok(Side { name: experiment.to_string(), runs, notes })
    }

    pub(super) fn summary(&self) -> SideSummary {
        SideSummary {
            name: self.name.clone(),
            experiment: self.runs[0].run.open.experiment.clone(),
            runs: self.runs.iter().map(|analysis| RunName::of(&analysis.run)).collect(),
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// An experiment that was never run is told apart from a name that nothing has.
fn no_run(project: &Project, name: &str, error: RecordError) -> Result<(ExperimentName, RunId), CompareError> {
    let known = record::experiments(project).map_err(RecordError::from)?;
    match known.into_iter().find(|experiment| experiment.as_str() == name) {
        Some(experiment) => Err(CompareError::NoRun(experiment)),
        None => Err(error.into()),
    }
}

/// What is to be said of a single run that the paper could not use.
fn doubts(run: &SealedRun) -> Vec<String> {
    let (id, status) = (&run.open.run, run.record.status.word());
    let mut notes = Vec::new();
    if status != "completed" {
        notes.push(format!("run `{id}` is {status}: its numbers are those of its last evaluation"));
    }
    if let Some(reason) = &run.open.not_citable_because {
        notes.push(format!("run `{id}` is not citable: {reason}"));
    }
    notes
}

/// Whether two runs have the same plan, their seeds aside: then they are seeds of one side.
pub fn differ_in_seed_only(first: &SealedRun, second: &SealedRun) -> bool {
    plan_but_seed(first) == plan_but_seed(second)
}

/// What decides the numbers of a run but for its seed: plan, data, requests.
fn plan_but_seed(run: &SealedRun) -> (Digest, Digest, Vec<Digest>) {
    let plan = run.experiment.clone().with_seed(0).plan_digest();
    (plan, run.open.data.root, run.open.tasks.iter().map(|task| task.requests_sha256).collect())
}
