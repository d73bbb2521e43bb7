//! The runs of a name, analysed: which those are, [`RunSet`] says.

use harness_core::names::Project;

use super::{CompareError, SideSummary};
use crate::{RunAnalysis, RunName};
use harness_record::{self as record, LeftOut, Opening, RecordError, RunSet};

/// One side of a comparison: runs of one plan that differ in their seeds.
#[derive(Clone, Debug)]
pub struct Side {
    /// As it was asked for.
    pub name: String,
    /// At least one, oldest first.
    pub runs: Vec<RunAnalysis>,
    /// The other runs of the experiment, and why they do not count.
    pub left_out: Vec<LeftOut>,
    /// What a reader has to know of the choice.
    pub notes: Vec<String>,
    /// The last opening of the test side by which these runs were scored, if one was.
    pub opened: Option<Opening>,
}

impl Side {
    /// The side of a run id or an experiment's name.
    pub fn open(project: &Project, name: &str) -> Result<Self, CompareError> {
        Self::of(project, RunSet::named(project, name).or_else(|error| no_run(project, name, error))?)
    }

    /// The side of the runs that count.
    pub fn of(project: &Project, set: RunSet) -> Result<Self, CompareError> {
        if set.runs.is_empty() {
            return Err(CompareError::NoRun(set.experiment));
        }
        let notes = set.notes();
        let openings = record::openings(project).map_err(RecordError::from)?;
        let opened = record::last_opening(&openings, &set.runs).cloned();
        let runs = set.runs.into_iter().map(RunAnalysis::of).collect::<Result<_, _>>()?;
        Ok(Side { name: set.name, runs, left_out: set.left_out, notes, opened })
    }

    /// The runs in the order of their seeds: how values, rows and names of a comparison are ordered, so that shared seeds are
    /// pairs.
    pub fn by_seed(&self) -> Vec<&RunAnalysis> {
        let mut runs: Vec<&RunAnalysis> = self.runs.iter().collect();
        runs.sort_by_key(|run| run.run.open.plan.seed);
        runs
    }

    pub(super) fn seeds(&self) -> Vec<u64> {
        self.by_seed().iter().map(|run| run.run.open.plan.seed).collect()
    }

    pub(super) fn summary(&self) -> SideSummary {
        SideSummary {
            name: self.name.clone(),
            experiment: self.runs[0].run.open.experiment.clone(),
            runs: self.by_seed().iter().map(|analysis| RunName::of(&analysis.run)).collect(),
        }
    }
}

/// An experiment that was never run is told apart from a name that nothing has.
fn no_run(project: &Project, name: &str, error: RecordError) -> Result<RunSet, CompareError> {
    if !matches!(error, RecordError::Unknown { .. }) {
        return Err(error.into());
    }
    let known = record::experiments(project).map_err(RecordError::from)?;
    match known.into_iter().find(|experiment| experiment.as_str() == name) {
        Some(experiment) => Err(CompareError::NoRun(experiment)),
        None => Err(error.into()),
    }
}
