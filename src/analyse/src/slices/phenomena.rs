//! Scores by linguistic phenomenon: the unweighted mean over the tasks of a group that ask about it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{By, SliceError};
use crate::choices::answered_alike;
use crate::paired::{Paired, TaskAnswers, paired};
use crate::rows::{items, planned_alike};
use crate::{RunAnalysis, TaskResult};
use harness_record::SealedRun;
use harness_statistics::hypothesis::{LEVEL, Stratified, holm, stratified_mcnemar};
use harness_statistics::{Share, mean, mean_of_shares};

/// The score of one phenomenon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhenomenonSlice {
    /// The group of tasks, such as `blimp`.
    pub group: String,
    /// `phenomenon` or `field`.
    pub by: By,
    /// The phenomenon or field.
    pub slice: String,
    /// Tasks that ask about it.
    pub tasks: u64,
    /// Items of all of them.
    pub items: u64,
    /// Unweighted mean over the tasks of the quoted accuracy.
    pub accuracy: f64,
    /// Its standard error, over items.
    pub standard_error: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Against the other run, if there is one that scored the same tasks.
    pub change: Option<PhenomenonChange>,
}

/// A phenomenon in two runs; the difference is the other minus the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PhenomenonChange {
    /// Accuracy of the other run.
    pub other_accuracy: f64,
    /// Other minus reference.
    pub difference: f64,
    /// Its standard error, the items being pairs.
    pub standard_error: f64,
    /// 95 % interval, not corrected for the number of slices.
    pub interval: [f64; 2],
    /// Two-sided p-value of McNemar's test over the tasks, or of t over the clusters that their recipe names; none where the two runs left different items unanswered.
    pub p_value: Option<f64>,
    /// The same after Holm's correction over the slices of the table.
    pub p_holm: Option<f64>,
}

/// Results of a run by group and phenomenon, in the order of their names.
pub fn by_phenomenon<'a>(
    run: &SealedRun,
    results: &'a [TaskResult],
    by: By,
) -> BTreeMap<(String, String), Vec<&'a TaskResult>> {
    let mut found: BTreeMap<(String, String), Vec<&TaskResult>> = BTreeMap::new();
    for result in results {
        let planned = run.open.tasks.iter().find(|task| task.id == result.id);
        let slice = planned.map_or("", |task| by.of_task(task));
        if let (Some(group), false) = (&result.group, slice.is_empty()) {
            found.entry((group.clone(), slice.to_owned())).or_default().push(result);
        }
    }
    found
}

/// The unweighted mean over some tasks of the accuracy that each quotes.
pub fn mean_accuracy(tasks: &[&TaskResult]) -> Share {
    mean_of_shares(&tasks.iter().map(|task| task.quoted_accuracy()).collect::<Vec<_>>())
}

/// One row for each group and phenomenon (or field).
pub(super) fn phenomena(
    reference: &RunAnalysis,
    other: Option<&RunAnalysis>,
    by: By,
) -> Result<Vec<PhenomenonSlice>, SliceError> {
    let mut rows = Vec::new();
    for ((group, slice), tasks) in by_phenomenon(&reference.run, &reference.tasks, by) {
        let share = mean_accuracy(&tasks);
        rows.push(PhenomenonSlice {
            group,
            by,
            slice,
            tasks: tasks.len() as u64,
            items: tasks.iter().map(|task| task.items).sum(),
            accuracy: share.mean,
            standard_error: share.standard_error,
            chance: mean(&tasks.iter().map(|task| task.chance).collect::<Vec<_>>()),
            change: match other {
                Some(other) => change(reference, other, &tasks)?,
                None => None,
            },
        });
    }
    let mut changes: Vec<&mut PhenomenonChange> = rows.iter_mut().filter_map(|row| row.change.as_mut()).collect();
    changes.retain(|change| change.p_value.is_some());
    let corrected = holm(&changes.iter().filter_map(|change| change.p_value).collect::<Vec<_>>());
    changes.iter_mut().zip(corrected).for_each(|(change, p)| change.p_holm = Some(p));
    Ok(rows)
}

impl PhenomenonChange {
    /// Whether the test, corrected over the slices, tells the difference from zero.
    pub fn is_decided(&self) -> bool {
        self.p_holm.is_some_and(|p| p <= LEVEL)
    }
}

/// `None` unless the other run scored every one of the tasks on the same requests, and where clusters of items are too few.
fn change(
    reference: &RunAnalysis,
    other: &RunAnalysis,
    tasks: &[&TaskResult],
) -> Result<Option<PhenomenonChange>, SliceError> {
    let (mut others, mut asked, mut answered) = (Vec::new(), Vec::new(), true);
    for task in tasks {
        let Some(planned) = reference.run.open.tasks.iter().find(|planned| planned.id == task.id) else {
            return Ok(None);
        };
        let Some(result) = other.tasks.iter().find(|t| t.id == task.id) else { return Ok(None) };
        if !planned_alike(reference, other, &task.id) {
            return Ok(None);
        }
        let [first, second] = [items(reference, planned, task)?, items(other, planned, result)?];
        answered &= answered_alike(&[&first.answers, &second.answers]);
        others.push(result);
        let clusters = first.clusters.or(second.clusters);
        asked.push(TaskAnswers { runs: [vec![first.answers], vec![second.answers]], clusters });
    }
    let Some(test) = paired(&asked) else { return Ok(None) };
    let of_tasks = |test: Stratified| (test.difference, test.standard_error, test.interval, test.p_value);
    let (difference, standard_error, interval, p_value) = match test {
        Paired::Exact(test) => of_tasks(stratified_mcnemar(&[test])),
        Paired::OverTasks(test) => of_tasks(test),
        Paired::OverClusters(test) => (test.difference, test.standard_error, [test.low, test.high], test.p_value),
    };
    Ok(Some(PhenomenonChange {
        other_accuracy: mean_accuracy(&others).mean,
        difference,
        standard_error,
        interval,
        p_value: answered.then_some(p_value),
        p_holm: None,
    }))
}
