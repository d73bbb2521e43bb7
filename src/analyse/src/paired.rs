//! Two runs on the same items of one task or of several. Comes in: what each answered, and which items belong together. Goes
//! out: McNemar's test, or t over clusters where a recipe names them (passages, templates), because items of one cluster are
//! answered alike and McNemar's test takes them for independent.

use harness_statistics::cluster::mean_cluster_test;
use harness_statistics::hypothesis::{McNemar, Stratified, TTest, mcnemar, stratified_mcnemar};

use crate::choices::{Answer, right};
use crate::sums::Sums;

/// The answers to the items of one task.
#[derive(Clone, Debug)]
pub struct TaskAnswers {
    /// For each run of reference and other.
    pub runs: [Vec<Vec<Answer>>; 2],
    /// The cluster of each item; none where each stands on its own.
    pub clusters: Option<Vec<u64>>,
}

/// The test of the unweighted mean over tasks of their differences.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Paired {
    /// One task.
    Exact(McNemar),
    /// Several.
    OverTasks(Stratified),
    /// At least one with clusters.
    OverClusters(TTest),
}

impl TaskAnswers {
    /// Items of the task.
    pub(crate) fn items(&self) -> usize {
        self.runs[0][0].len()
    }

    /// Right answers as sums.
    pub(crate) fn sums(&self) -> Sums {
        let of_run = |run: &Vec<Answer>| right(run).into_iter().map(f64::from).collect();
        Sums {
            runs: self.runs.each_ref().map(|runs| runs.iter().map(of_run).collect()),
            weights: vec![1.0; self.items()],
            clusters: self.clusters.clone(),
        }
    }
}

/// Tests the first run of each side. `None` where clusters leave nothing to test: too few in some task, or all alike.
pub(crate) fn paired(tasks: &[TaskAnswers]) -> Option<Paired> {
    if tasks.iter().any(|task| task.clusters.is_some()) {
        let differences: Vec<_> = tasks.iter().map(|task| task.sums().differences()).collect();
        return mean_cluster_test(&differences).map(Paired::OverClusters);
    }
    let tests: Vec<McNemar> =
        tasks.iter().map(|task| mcnemar(&right(&task.runs[0][0]), &right(&task.runs[1][0]))).collect();
    Some(if let [test] = tests[..] { Paired::Exact(test) } else { Paired::OverTasks(stratified_mcnemar(&tests)) })
}
