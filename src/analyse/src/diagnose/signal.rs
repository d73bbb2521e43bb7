//! Do the tasks tell the experiments of this project apart? By its own seeds and late evaluations.

use super::{Change, Check, Finding, figure};
use crate::likelihood::Likelihood;
use crate::signal::{TaskSignal, task_signals};
use crate::{RunAnalysis, TaskResult, Unit};

/// A finding for each group and each task without one of the run, where two experiments with two seeds each were asked it.
pub fn diagnose_signal(latest: &RunAnalysis, experiments: &[Vec<&RunAnalysis>]) -> Vec<Finding> {
    let alone = latest.tasks.iter().filter(|task| task.group.is_none());
    latest.groups.iter().chain(alone).filter_map(|task| signal(latest, task, experiments)).collect()
}

fn signal(latest: &RunAnalysis, task: &TaskResult, experiments: &[Vec<&RunAnalysis>]) -> Option<Finding> {
    let signals = task_signals(latest, task, experiments);
    let (accuracy, others) = signals.split_first()?;
    let mut check = Check::new(
        "task_signal",
        figure::TASKS,
        "the accuracies of experiments lie less than twice as far apart as those of seeds, or of the last evaluations of a run \
         around their line",
        "Heineman et al. 2025, Signal and Noise; twice is a convention of this project",
    )
    .about(&task.id)
    .evidence("experiments", accuracy.experiments as f64, Unit::Count)
    .evidence("runs", accuracy.runs as f64, Unit::Count)
    .evidence("between experiments", accuracy.signal, Unit::Share)
    .evidence("over seeds", accuracy.noise_over_seeds, Unit::Share)
    .evidence_if("over late evaluations", accuracy.noise_over_evaluations, Unit::Share)
    .evidence_if("signal to noise", accuracy.ratio, Unit::Decimal);
    for other in others {
        let name = match Likelihood::of_key(&other.metric) {
            Some((_, Likelihood::GoldProbability)) => "signal to noise of gold_probability",
            _ => "signal to noise of gold_bits_per_byte",
        };
        check = check.evidence_if(name, other.ratio, Unit::Decimal);
    }
    if accuracy.ratio.is_none() {
        return Some(check.not_judged("no run of an experiment differs from another"));
    }
    if accuracy.tells_apart {
        return Some(check.clear("its accuracy tells the experiments here apart"));
    }
    let ratio = |signal: &&TaskSignal| signal.ratio.unwrap_or(0.0);
    let best = others.iter().filter(|other| other.tells_apart).max_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let mut changes = vec![Change::free(match best {
        Some(best) => format!("let the claim rest on `{}`, which tells them apart ({:.1})", best.metric, ratio(&best)),
        None => {
            "expect no verdict from it at this scale: take a task that moves, or score more items (`items_per_task`)"
                .to_owned()
        }
    })];
    if accuracy.noise_over_evaluations.is_some_and(|noise| noise > accuracy.noise_over_seeds) {
        changes.push(Change::free(
            "evaluate averaged weights (`training.ema_decay`): the late evaluations are what varies",
        ));
    }
    changes.push(Change::costing("more seeds of each experiment, whose means vary less", 2.0, latest));
    Some(check.found("differences between experiments are not larger than its noise explains", changes))
}
