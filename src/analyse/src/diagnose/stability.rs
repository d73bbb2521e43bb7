//! Did the training run smoothly? Spikes, rising loss, clipping, the first steps, and the speed.

use std::collections::BTreeSet;

use harness_core::scores::StepLine;

use super::{Change, Check, Finding, OWN_CONVENTION, Turn, figure, rounded};
use crate::spikes::{self, FEWEST_STEPS, spikes};
use crate::{RunAnalysis, Unit};
use harness_statistics::{mean, quantile, variance};

const PLAYBOOK: &str = "Godbole et al. 2023, Deep Learning Tuning Playbook, on instability: clip near the 90th \
                        percentile of the gradient norm; more than half clipped is really a lower learning rate";

fn losses(analysis: &RunAnalysis) -> Vec<f64> {
    analysis.steps.iter().map(|s| s.loss_nats).collect()
}

fn norms(analysis: &RunAnalysis) -> Vec<f64> {
    analysis.steps.iter().map(|s| s.gradient_norm).collect()
}

/// Steps that count as early: the first tenth, the longest warm-up that is usual.
fn early(steps: usize) -> usize {
    steps.div_ceil(10)
}

/// Steps that were skipped, because their loss or gradient norm was no finite number (`on_non_finite = "skip"`). They have
/// no row. The record lists those of this run only; the gaps between the rows are those of earlier segments too.
fn skipped(analysis: &RunAnalysis) -> BTreeSet<u64> {
    let rows: BTreeSet<u64> = analysis.steps.iter().map(|s| s.step).collect();
    let gaps = (1..rows.last().copied().unwrap_or(0)).filter(|step| !rows.contains(step));
    gaps.chain(analysis.run.record.skipped.iter().map(|skipped| skipped.step)).collect()
}

pub(super) fn non_finite(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "non_finite",
        figure::TRAINING_LOSS,
        "a training or validation loss or a gradient norm that is no finite number, also one whose step was skipped",
        "by definition",
    );
    let failure = analysis.run.record.failure.as_ref().filter(|failure| failure.kind == "non_finite");
    let in_rows = analysis.steps.iter().filter(|s| !(s.loss_nats.is_finite() && s.gradient_norm.is_finite()));
    let skipped = skipped(analysis);
    let evaluated = analysis.validation_curve.iter().filter(|point| !point.value.is_finite()).map(|point| point.step);
    let steps = in_rows.map(|s| s.step).chain(failure.map(|f| f.step)).chain(skipped.iter().copied()).chain(evaluated);
    let Some(step) = steps.min() else {
        return check.clear("every loss and gradient norm is finite");
    };
    let rate = analysis.run.experiment.optimizer.learning_rate;
    let check = check
        .evidence("step", step as f64, Unit::Count)
        .evidence("skipped steps", skipped.len() as f64, Unit::Count)
        .evidence("learning rate", rate, Unit::Number);
    let statement = match skipped.first() {
        None => format!("training left the finite numbers after step {step}"),
        Some(first) => {
            format!("training left the finite numbers: skipped steps {}, the first of them {first}", skipped.len())
        }
    };
    check.found(
        statement,
        vec![
            Change::costing(format!("halve the peak learning rate to {}", rounded(rate / 2.0, 2)), 1.0, analysis)
                .turning(Turn::LowerLearningRate),
            Change::costing("lengthen the warm-up, or clip the gradient at a lower norm", 1.0, analysis)
                .turning(Turn::Clip),
        ],
    )
}

pub(super) fn loss_spikes(analysis: &RunAnalysis) -> Finding {
    let check = Check::new("loss_spikes", figure::TRAINING_LOSS, spikes::RULE, spikes::SOURCE);
    let losses = losses(analysis);
    if losses.len() <= FEWEST_STEPS {
        return check.not_judged(format!("{} steps are too few", losses.len()));
    }
    let (in_loss, in_norm) = (spikes(&losses), spikes(&norms(analysis)));
    let check = check.evidence("spikes of the loss", in_loss.len() as f64, Unit::Count).evidence(
        "spikes of the gradient norm",
        in_norm.len() as f64,
        Unit::Count,
    );
    let Some(&worst) = in_loss.iter().max_by(|&&a, &&b| losses[a].total_cmp(&losses[b])) else {
        return check.clear("no spike of the training loss");
    };
    let step = analysis.steps[worst].step;
    let statement = format!("{} spikes of the training loss, the highest at step {step}", in_loss.len());
    check
        .evidence("highest spike", losses[worst], Unit::NatsPerToken)
        .evidence("its step", step as f64, Unit::Count)
        .found(
            statement,
            vec![
                Change::costing("lower the peak learning rate", 1.0, analysis).turning(Turn::LowerLearningRate),
                Change::costing("clip at the 90th percentile of the gradient norm", 1.0, analysis).turning(Turn::Clip),
                Change::free("look at the batch of that step: steps.csv and the data order name its windows"),
            ],
        )
}

pub(super) fn late_rise(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "late_rise",
        figure::TRAINING_LOSS,
        "the mean training loss of the last tenth lies more than 3 standard errors above that of an earlier tenth",
        OWN_CONVENTION,
    );
    let losses = losses(analysis);
    if losses.len() < 2 * FEWEST_STEPS {
        return check.not_judged(format!("{} steps are too few", losses.len()));
    }
    let tenths: Vec<&[f64]> = losses.chunks(losses.len().div_ceil(10)).filter(|tenth| tenth.len() > 1).collect();
    let Some((last, before)) = tenths.split_last() else { return check.not_judged("too few steps") };
    let Some(lowest) = before.iter().min_by(|a, b| mean(a).total_cmp(&mean(b))) else {
        return check.not_judged("too few steps");
    };
    let rise = mean(last) - mean(lowest);
    let error = libm::sqrt(variance(last) / last.len() as f64 + variance(lowest) / lowest.len() as f64);
    let check = check
        .evidence("last tenth", mean(last), Unit::NatsPerToken)
        .evidence("lowest tenth before it", mean(lowest), Unit::NatsPerToken)
        .evidence("standard error of the difference", error, Unit::NatsPerToken);
    if rise <= 3.0 * error {
        return check.clear("the training loss does not rise towards the end");
    }
    check.found(
        "the training loss rises towards the end",
        vec![
            Change::costing("lower the peak learning rate", 1.0, analysis).turning(Turn::LowerLearningRate),
            Change::costing("let the schedule decay to a lower final rate", 1.0, analysis),
        ],
    )
}

pub(super) fn clipping(analysis: &RunAnalysis) -> Finding {
    let check = Check::new("clipping", figure::OPTIMISATION, "more than half of the steps are clipped", PLAYBOOK);
    let limit = analysis.run.experiment.optimizer.gradient_clip_norm;
    let (Some(share), Some(p90)) =
        (analysis.values.get("training.clipped_share"), analysis.values.get("training.gradient_norm_p90"))
    else {
        return check.not_judged("no steps were done");
    };
    let check = check
        .evidence("clipped steps", share.number, Unit::Share)
        .evidence("clipping norm", limit, Unit::Number)
        .evidence("90th percentile of the gradient norm", p90.number, Unit::Decimal);
    if share.number <= 0.5 {
        return check.clear(format!("{} % of the steps were clipped", share.shown()));
    }
    check.found(
        format!("{} % of the steps were clipped at a norm of {limit}", share.shown()),
        vec![
            Change::costing(format!("clip at the 90th percentile, {}", p90.shown()), 1.0, analysis).turning(Turn::Clip),
            Change::costing(
                "lower the peak learning rate instead, and say so: most updates already are smaller",
                1.0,
                analysis,
            )
            .turning(Turn::LowerLearningRate),
        ],
    )
}

/// The first tenth of the steps.
struct Beginning {
    first_loss: f64,
    highest_loss: f64,
    first_norm: f64,
    highest_norm: f64,
    /// None where the first tenth ends before spikes can be told.
    spikes: Option<usize>,
    /// Steps whose numbers were not finite.
    skipped: usize,
}

impl Beginning {
    fn is_rough(&self) -> bool {
        self.skipped > 0
            || self.spikes.is_some_and(|spikes| spikes > 0)
            || self.highest_loss > 1.05 * self.first_loss
            || self.highest_norm > 3.0 * self.first_norm
    }
}

/// `None` if there are too few steps to tell.
fn beginning(analysis: &RunAnalysis) -> Option<Beginning> {
    let (losses, norms) = (losses(analysis), norms(analysis));
    let early = early(losses.len());
    if early < 3 {
        return None;
    }
    let highest = |values: &[f64]| values[1..early].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(Beginning {
        first_loss: losses[0],
        highest_loss: highest(&losses),
        first_norm: norms[0],
        highest_norm: highest(&norms),
        spikes: (early > FEWEST_STEPS).then(|| spikes(&losses[..early]).len()),
        skipped: skipped(analysis).into_iter().filter(|&step| step <= early as u64).count(),
    })
}

/// Whether the first steps are rough; not if there are too few to tell.
pub(super) fn roughness(analysis: &RunAnalysis) -> bool {
    beginning(analysis).is_some_and(|seen| seen.is_rough())
}

/// Indices of the steps at which the training loss spikes.
pub(super) fn spikes_of(analysis: &RunAnalysis) -> Vec<usize> {
    spikes(&losses(analysis))
}

pub(super) fn warm_up(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "warm_up",
        figure::OPTIMISATION,
        "in the first tenth of the steps a spike of the loss, a skipped step, a loss 5 % above that of step 1, or a gradient norm 3 \
         times that of step 1",
        "Gilmer et al. 2022, A Loss Curvature Perspective on Training Instability in Deep Learning: warm-up leads into flatter regions, \
         without it loss and norm rise first; the factors are conventions of this project",
    );
    let early = early(analysis.steps.len());
    let Some(seen) = beginning(analysis) else {
        return check.not_judged(format!("{} steps are too few", analysis.steps.len()));
    };
    let steps = analysis.run.experiment.schedule.warmup_steps;
    let check = check
        .evidence("warm-up", steps as f64, Unit::Count)
        .evidence("loss at step 1", seen.first_loss, Unit::NatsPerToken)
        .evidence("highest early loss after it", seen.highest_loss, Unit::NatsPerToken)
        .evidence("gradient norm at step 1", seen.first_norm, Unit::Decimal)
        .evidence("highest early gradient norm after it", seen.highest_norm, Unit::Decimal)
        .evidence_if("early spikes", seen.spikes.map(|spikes| spikes as f64), Unit::Count)
        .evidence("early skipped steps", seen.skipped as f64, Unit::Count);
    if !seen.is_rough() {
        return check.clear("the first steps are smooth");
    }
    let longer = (steps.max(1) * 10).min(early as u64).max(1);
    let change = if steps >= early as u64 {
        "lower the peak learning rate: the warm-up already takes a tenth of the steps".to_owned()
    } else {
        format!("warm up over {longer} steps: by orders of magnitude, at most a tenth of the steps")
    };
    check.found("the first steps are rough", vec![Change::costing(change, 1.0, analysis)])
}

pub(super) fn throughput(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "throughput",
        figure::THROUGHPUT,
        "steps at less than half the median speed cost over 5 % of the time, or the last tenth is 20 % slower than the \
         first",
        OWN_CONVENTION,
    );
    // The first step waits for libraries and kernels to load.
    let rates: Vec<f64> = analysis.steps.iter().skip(1).map(|s| s.tokens_per_s).filter(|rate| *rate > 0.0).collect();
    if rates.len() < FEWEST_STEPS {
        return check.not_judged(format!("{} steps are too few", rates.len()));
    }
    let median = quantile(&rates, 0.5);
    let time = rates.iter().map(|rate| 1.0 / rate).sum::<f64>();
    let slow: Vec<f64> = rates.iter().copied().filter(|rate| *rate < 0.5 * median).collect();
    let lost = slow.iter().map(|rate| 1.0 / rate - 1.0 / median).sum::<f64>() / time;
    let tenth = early(rates.len());
    let (begin, end) = (quantile(&rates[..tenth], 0.5), quantile(&rates[rates.len() - tenth..], 0.5));
    let check = check
        .evidence("median tokens per second", median, Unit::Count)
        .evidence("steps at less than half of it", slow.len() as f64, Unit::Count)
        .evidence("time lost to them", lost, Unit::Share)
        .evidence("tokens per second, first tenth", begin, Unit::Count)
        .evidence("tokens per second, last tenth", end, Unit::Count);
    match (lost > 0.05, end < 0.8 * begin) {
        (false, false) => check.clear("the speed is even"),
        (true, _) => check.found(
            "some steps wait: for data, or for other work on the machine",
            vec![Change::free("keep the machine free, and the corpus on a local disk")],
        ),
        (false, true) => check.found(
            "the run slows down",
            vec![Change::free("look for heat, a shared machine, or memory that fills up")],
        ),
    }
}

pub(super) fn data_bound(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "data_bound",
        figure::THROUGHPUT,
        "more than 10 % of the time of the steps is spent waiting for their batches",
        OWN_CONVENTION,
    );
    // The first step waits for the first batch whatever comes later.
    let steps: Vec<&StepLine> = analysis.steps.iter().skip(1).filter(|s| s.tokens_per_s > 0.0).collect();
    if steps.len() < FEWEST_STEPS {
        return check.not_judged(format!("{} steps are too few", steps.len()));
    }
    let time_s: f64 = steps.iter().map(|s| 1.0 / s.tokens_per_s).sum();
    let waited = steps.iter().map(|s| s.data_wait_share / s.tokens_per_s).sum::<f64>() / time_s;
    let most = steps.iter().map(|s| s.data_wait_share).fold(0.0, f64::max);
    let check = check.evidence("time spent waiting for data", waited, Unit::Share).evidence(
        "largest share of a step",
        most,
        Unit::Share,
    );
    if waited <= 0.1 {
        return check.clear("the steps do not wait for data");
    }
    check.found(
        format!("{:.0} % of the time of the steps is spent waiting for data", 100.0 * waited),
        vec![
            Change::free("keep the shards on a local disk, and leave a processor free to read them"),
            Change::costing(
                "a larger batch or a larger model makes the same reading hide behind the computing",
                1.0,
                analysis,
            ),
        ],
    )
}
