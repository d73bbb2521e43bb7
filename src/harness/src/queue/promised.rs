//! What is promised beyond what was spent: runs that are queued, and seeds that proposals registered and nobody has run.

use harness_core::config::Phase;
use harness_core::names::{ExperimentName, Project};
use harness_record::format::Purpose;
use harness_record::git::Git;
use harness_record::load_config;
use harness_record::select::Traces;
use harness_study::ledger::{Spent, phase_of};
use harness_study::outstanding::outstanding;
use serde::Serialize;

use super::error::QueueError;
use super::estimate::Estimates;
use super::list::Content;
use crate::cluster;
use crate::run::expected::Pace;

/// A run that is promised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Promise {
    /// The experiment.
    pub experiment: ExperimentName,
    /// The seed.
    pub seed: u64,
    /// What the run is for.
    pub purpose: Purpose,
    /// What it is spent on.
    pub phase: Phase,
    /// Whether it waits or runs, in the queue or on a cluster; else a proposal has registered its seed.
    pub is_queued: bool,
    /// The task of a cluster that it is, such as `4711_3`; null of the others.
    pub task: Option<String>,
    /// What is still to be spent on it; null where no run on this machine says.
    pub cost: Option<Spent>,
    /// What is to be said of how that is known: that runs were made in another way than this one will be.
    pub caveat: Option<String>,
}

/// All of it, the queue first.
pub fn promised(
    project: &Project,
    git: &Git,
    traces: &Traces,
    content: &Content,
    pace: &Pace,
) -> Result<Vec<Promise>, QueueError> {
    let mut promises = queued(project, git, content, pace)?;
    for ((experiment, purpose), seeds) in outstanding(project, traces)? {
        let Ok(config) = load_config(project, &experiment).map(|loaded| loaded.experiment) else { continue };
        let expected = pace.of(project, &config)?;
        let cost = expected.as_ref().map(|expected| expected.spent());
        let caveat = expected.and_then(|expected| expected.caveat);
        for seed in seeds {
            let is_same =
                |other: &Promise| (&other.experiment, other.seed, other.purpose) == (&experiment, seed, purpose);
            if !promises.iter().any(is_same) {
                let (experiment, phase) = (experiment.clone(), phase_of(purpose, true));
                let (is_queued, caveat) = (false, caveat.clone());
                promises.push(Promise { experiment, seed, purpose, phase, is_queued, task: None, cost, caveat });
            }
        }
    }
    Ok(promises)
}

/// What waits or runs, in the queue and on a cluster.
pub fn queued(project: &Project, git: &Git, content: &Content, pace: &Pace) -> Result<Vec<Promise>, QueueError> {
    let estimates = Estimates::of(project, git, content, pace)?;
    let promise = |estimate: &super::estimate::Estimate| {
        let item = content.items.iter().find(|item| item.id == estimate.id)?;
        let config = load_config(project, &item.experiment).ok();
        let changes_another = config.is_some_and(|loaded| loaded.experiment.extends.is_some());
        Some(Promise {
            experiment: item.experiment.clone(),
            seed: item.seed,
            purpose: item.purpose,
            phase: phase_of(item.purpose, changes_another),
            is_queued: true,
            task: None,
            cost: estimate.left(),
            caveat: estimate.expected.as_ref().and_then(|expected| expected.caveat.clone()),
        })
    };
    let submitted = cluster::owed(project)?.into_iter().map(|owed| Promise {
        experiment: owed.task.experiment,
        seed: owed.task.seed,
        purpose: owed.task.purpose,
        phase: owed.phase,
        is_queued: true,
        task: Some(format!("{}_{}", owed.job, owed.task.task)),
        cost: owed.cost,
        caveat: owed.caveat,
    });
    Ok(estimates.items.iter().filter_map(promise).chain(submitted).collect())
}
