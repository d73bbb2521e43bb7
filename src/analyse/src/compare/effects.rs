//! The difference in each metric, with the test that the runs allow: paired over documents and items between two runs,
//! over seeds where there are seeds.

use harness_core::task_kind::Kind;

use super::rows::{Losses, TextUnit, document_losses, items, losses, shared_tasks};
use super::{Basis, CompareError, Effect, PRIMARY, Side, TestKind, Verdict};
use crate::{RunAnalysis, TaskResult, Unit, accuracy_key};
use harness_record::format::Task;
use harness_statistics::hypothesis::{TTest, mcnemar, pooled_t, welch};
use harness_statistics::mean;
use harness_statistics::power::{detectable_paired_shares, detectable_t};
use harness_statistics::resample::{
    Interval, NESTED_RESAMPLES, RESAMPLES, expanded_percentiles, key, mean_of_draws, nested_draws, ratio_draws,
};

const BITS_PER_BYTE: &str = "validation.bits_per_byte";

/// A metric before it is tested.
pub(super) struct Measured {
    pub metric: String,
    pub family: String,
    pub unit: Unit,
    pub lower_is_better: bool,
    /// Values of the runs: reference, then other.
    pub runs: [Vec<f64>; 2],
    /// Documents, windows or items.
    pub units: u64,
}

/// Resampled differences, and how many units (the fewest of several tasks) they were drawn from.
pub(super) struct Draws {
    pub differences: Vec<f64>,
    pub units: usize,
}

/// Every metric that both sides have, the primary family first.
pub(super) fn effects(
    reference: &Side,
    other: &Side,
    basis: Basis,
    notes: &mut Vec<String>,
) -> Result<Vec<Effect>, CompareError> {
    let mut primary = Vec::new();
    match losses(reference, other)? {
        Some(losses) => primary.push(bits_per_byte(BITS_PER_BYTE, reference, other, basis, &losses)),
        None => notes.push("bits per byte are not compared: the validation texts differ".to_owned()),
    }
    let mut members: Vec<(Effect, Draws)> = Vec::new();
    let mut groups: Vec<&str> = Vec::new();
    for task in shared_tasks(reference, other, notes) {
        if task.kind == Kind::Documents {
            let losses = document_losses(reference, other, task)?;
            let key = format!("tasks.{}.bits_per_byte", task.id);
            primary.push(bits_per_byte(&key, reference, other, basis, &losses));
            continue;
        }
        let (effect, draws) = task_effect(reference, other, basis, task)?;
        match &task.group {
            None => primary.push(effect),
            Some(group) => {
                if !groups.contains(&group.as_str()) {
                    groups.push(group);
                }
                members.push((effect, draws));
            }
        }
    }
    for group in groups {
        let of_group: Vec<&(Effect, Draws)> = members.iter().filter(|(e, _)| e.family == group).collect();
        if let Some(effect) = group_effect(reference, other, basis, group, &of_group) {
            primary.push(effect);
        }
    }
    primary.extend(members.into_iter().map(|(effect, _)| effect));
    Ok(primary)
}

/// Bits per byte of the validation text, or of the documents of a task.
fn bits_per_byte(metric: &str, reference: &Side, other: &Side, basis: Basis, losses: &Losses) -> Effect {
    let bits = |side: &Side| side.runs.iter().filter_map(|r| Some(r.values.get(metric)?.number)).collect();
    let measured = Measured {
        metric: metric.to_owned(),
        family: PRIMARY.to_owned(),
        unit: Unit::BitsPerByte,
        lower_is_better: true,
        runs: [bits(reference), bits(other)],
        units: losses.bytes.len() as u64,
    };
    let to_bits = |runs: &Vec<Vec<f64>>| -> Vec<Vec<f64>> {
        runs.iter().map(|run| run.iter().map(|nats| nats / std::f64::consts::LN_2).collect()).collect()
    };
    let bits = [to_bits(&losses.nats[0]), to_bits(&losses.nats[1])];
    let draws = draws(&bits, &losses.bytes, &measured.metric, basis);
    let kind = match losses.unit {
        TextUnit::Document => TestKind::BootstrapOverDocuments,
        TextUnit::Window => TestKind::BootstrapOverWindows,
    };
    tested(measured, basis, &draws, kind)
}

fn task_effect(reference: &Side, other: &Side, basis: Basis, task: &Task) -> Result<(Effect, Draws), CompareError> {
    let mut right: [Vec<Vec<bool>>; 2] = [Vec::new(), Vec::new()];
    for (side, right) in [reference, other].iter().zip(&mut right) {
        for run in &side.runs {
            let result = run.tasks.iter().find(|t| t.id == task.id).expect("a shared task was scored in every run");
            right.push(items(run, task, result)?.right);
        }
    }
    let measured = Measured {
        metric: accuracy_key(&task.id, task.metric),
        family: task.group.clone().unwrap_or_else(|| PRIMARY.to_owned()),
        unit: Unit::Share,
        lower_is_better: false,
        runs: [accuracies(reference, &task.id), accuracies(other, &task.id)],
        units: task.items,
    };
    let as_numbers = |runs: &Vec<Vec<bool>>| -> Vec<Vec<f64>> {
        runs.iter().map(|run| run.iter().map(|&right| f64::from(u8::from(right))).collect()).collect()
    };
    let ones = vec![1.0; task.items as usize];
    let numbers = [as_numbers(&right[0]), as_numbers(&right[1])];
    let draws = draws(&numbers, &ones, &measured.metric, basis);
    let mut effect = tested(measured, basis, &draws, TestKind::ExactMcnemar);
    if basis == Basis::OneRunEach {
        let test = mcnemar(&right[0][0], &right[1][0]);
        let discordant = (test.only_first + test.only_second) as f64 / task.items as f64;
        effect.discordant = Some([test.only_first, test.only_second]);
        effect.p_value = Some(test.p_value);
        effect.smallest_detectable = detectable_paired_shares(task.items, discordant);
    }
    Ok((effect, draws))
}

/// The unweighted mean over the tasks of a group, their items resampled each on their own. `None` unless every task of
/// the group is shared, because the group's values are means over all of them.
fn group_effect(
    reference: &Side,
    other: &Side,
    basis: Basis,
    group: &str,
    members: &[&(Effect, Draws)],
) -> Option<Effect> {
    let whole = |run: &RunAnalysis| run.tasks.iter().filter(|t| t.group.as_deref() == Some(group)).count();
    if reference.runs.iter().chain(&other.runs).any(|run| whole(run) != members.len()) {
        return None;
    }
    let result: &TaskResult = reference.runs[0].groups.iter().find(|g| g.id == group)?;
    let measured = Measured {
        metric: accuracy_key(group, result.metric),
        family: PRIMARY.to_owned(),
        unit: Unit::Share,
        lower_is_better: false,
        runs: [accuracies(reference, group), accuracies(other, group)],
        units: result.items,
    };
    let draws: Vec<&Draws> = members.iter().map(|(_, draws)| draws).collect();
    let units = draws.iter().map(|d| d.units).min()?;
    let differences = mean_of_draws(&draws.iter().map(|d| d.differences.as_slice()).collect::<Vec<_>>());
    Some(tested(measured, basis, &Draws { differences, units }, TestKind::BootstrapOverItems))
}

fn accuracies(side: &Side, id: &str) -> Vec<f64> {
    let result = |run: &RunAnalysis| run.tasks.iter().chain(&run.groups).find(|t| t.id == id).cloned();
    side.runs.iter().filter_map(result).map(|t| t.quoted_accuracy().mean).collect()
}

/// Resampled differences of the ratio of values to weights: over units for one run a side, over seeds and units for
/// several. Empty for one run against several, where there is no spread of one side to draw from.
pub(super) fn draws(values: &[Vec<Vec<f64>>; 2], weights: &[f64], metric: &str, basis: Basis) -> Draws {
    let key = key(metric);
    let differences = match basis {
        Basis::OneRunEach => {
            let pairs = values[0][0].iter().zip(&values[1][0]);
            let paired: Vec<f64> = pairs.map(|(first, second)| second - first).collect();
            ratio_draws(&paired, weights, key, RESAMPLES)
        }
        Basis::OneRunAgainstSeeds => Vec::new(),
        Basis::Seeds => nested_draws([&values[0], &values[1]], weights, key, NESTED_RESAMPLES),
    };
    Draws { differences, units: weights.len() }
}

/// The effect with the test that the runs allow; the verdict waits for the family's correction.
pub(super) fn tested(measured: Measured, basis: Basis, draws: &Draws, over_units: TestKind) -> Effect {
    let [reference, other] = &measured.runs;
    let mut effect = Effect {
        difference: mean(other) - mean(reference),
        reference: mean(reference),
        other: mean(other),
        reference_runs: reference.clone(),
        other_runs: other.clone(),
        metric: measured.metric,
        family: measured.family,
        unit: measured.unit,
        lower_is_better: measured.lower_is_better,
        standard_error: None,
        interval: None,
        test: None,
        degrees_of_freedom: None,
        p_value: None,
        p_holm: None,
        smallest_detectable: None,
        units: measured.units,
        discordant: None,
        interval_over_seeds_and_units: None,
        verdict: Verdict::NotJudged,
    };
    let (first, second) = (effect.reference_runs.len(), effect.other_runs.len());
    match basis {
        Basis::OneRunEach => effect.take_bootstrap(draws, over_units),
        Basis::OneRunAgainstSeeds => {
            effect.take_t(pooled_t(&effect.reference_runs, &effect.other_runs), TestKind::PooledTOverSeeds);
        }
        Basis::Seeds => {
            effect.take_t(welch(&effect.reference_runs, &effect.other_runs), TestKind::WelchOverSeeds);
            let found = expanded_percentiles(&draws.differences, first.min(second), (first + second) as f64 - 2.0);
            effect.interval_over_seeds_and_units = Some([found.low, found.high]);
        }
    }
    effect
}

impl Effect {
    fn take_bootstrap(&mut self, draws: &Draws, kind: TestKind) {
        if draws.units < 2 {
            return;
        }
        let df = draws.units as f64 - 1.0;
        let found: Interval = expanded_percentiles(&draws.differences, draws.units, df);
        self.standard_error = Some(found.standard_error);
        self.interval = Some([found.low, found.high]);
        self.test = Some(kind);
        self.p_value = Some(found.p_value);
        self.smallest_detectable = Some(detectable_t(df) * found.standard_error).filter(|effect| *effect > 0.0);
    }

    fn take_t(&mut self, test: Option<TTest>, kind: TestKind) {
        let Some(test) = test else { return };
        self.standard_error = Some(test.standard_error);
        self.interval = Some([test.low, test.high]);
        self.test = Some(kind);
        self.degrees_of_freedom = Some(test.df);
        self.p_value = Some(test.p_value);
        self.smallest_detectable = Some(detectable_t(test.df) * test.standard_error);
    }
}
