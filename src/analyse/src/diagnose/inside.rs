//! What goes on inside the model: how far a step moves the weights, what grows, which units are silent, and whether
//! attention still spreads. From `tensor_norms.csv` and `activations.csv`, which a run writes at intervals.

use std::collections::BTreeMap;

use harness_core::config::Role;
use harness_core::scores::{ActivationStatistics, TensorNorms};

use super::{Change, Check, Finding, Turn, figure, rounded};
use crate::{RunAnalysis, Unit};
use harness_statistics::quantile;

/// Update-to-weight ratios between these are usual.
const USUAL_RATIOS: [f64; 2] = [1e-4, 1e-2];
const RATIO_SOURCE: &str = "Karpathy, CS231n: Convolutional Neural Networks for Visual Recognition, notes on learning: the \
                            ratio of updates to weights should be about 1e-3; ten times either way is a convention of this \
                            project";

/// For each weight matrix, by name, the median ratio of the norm of an update to that of the weights, over the steps at
/// which the learning rate is at least half of its peak.
fn update_ratios(analysis: &RunAnalysis) -> BTreeMap<&str, f64> {
    let peak = analysis.steps.iter().map(|s| s.learning_rate).fold(0.0, f64::max);
    let high: BTreeMap<u64, bool> = analysis.steps.iter().map(|s| (s.step, 2.0 * s.learning_rate >= peak)).collect();
    let matrices = analysis.run.experiment.model.tensors(analysis.run.open.data.vocabulary_size);
    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in &analysis.tensor_norms {
        let is_matrix = matrices.iter().any(|tensor| tensor.name == row.tensor && tensor.role != Role::Vector);
        let ratio = row.update_norm / row.weight_norm;
        if is_matrix && high.get(&row.step) == Some(&true) && ratio.is_finite() {
            ratios.entry(&row.tensor).or_default().push(ratio);
        }
    }
    ratios.into_iter().map(|(tensor, ratios)| (tensor, quantile(&ratios, 0.5))).collect()
}

/// The median over the matrices; `None` where nothing was measured.
pub(super) fn usual_update_ratio(analysis: &RunAnalysis) -> Option<f64> {
    let ratios: Vec<f64> = update_ratios(analysis).into_values().collect();
    (!ratios.is_empty()).then(|| quantile(&ratios, 0.5))
}

pub(super) fn update_ratio(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "update_ratio",
        figure::TENSOR_NORMS,
        "while the learning rate is at least half of its peak, a weight matrix whose median update is more than 1 % or less \
         than 0.01 % of it",
        RATIO_SOURCE,
    );
    let ratios = update_ratios(analysis);
    let by_ratio = |a: &(&&str, &f64), b: &(&&str, &f64)| a.1.total_cmp(b.1);
    let (Some((lowest, least)), Some((highest, most))) =
        (ratios.iter().min_by(by_ratio), ratios.iter().max_by(by_ratio))
    else {
        return check.not_judged("no norms of tensors were recorded (`metrics.tensor_norms_every`)");
    };
    let check = check
        .evidence("smallest ratio of update to weight", *least, Unit::Number)
        .evidence("largest", *most, Unit::Number)
        .evidence("weight matrices", ratios.len() as f64, Unit::Count);
    let rate = analysis.run.experiment.optimizer.learning_rate;
    if *most > USUAL_RATIOS[1] {
        let count = ratios.values().filter(|ratio| **ratio > USUAL_RATIOS[1]).count();
        return check.found(
            format!("{count} of {} matrices move by more than 1 % a step, most `{highest}`", ratios.len()),
            vec![
                Change::costing(
                    format!("lower the peak learning rate, for example to {}", rounded(rate / 3.0, 2)),
                    1.0,
                    analysis,
                )
                .turning(Turn::LowerLearningRate),
                Change::costing("clip the gradient at a lower norm, or warm up for longer", 1.0, analysis)
                    .turning(Turn::Clip),
            ],
        );
    }
    if *least < USUAL_RATIOS[0] {
        let count = ratios.values().filter(|ratio| **ratio < USUAL_RATIOS[0]).count();
        return check.found(
            format!("{count} of {} matrices move by less than 0.01 % a step, least `{lowest}`", ratios.len()),
            vec![
                Change::costing(
                    format!("raise the peak learning rate, for example to {}", rounded(rate * 3.0, 2)),
                    1.0,
                    analysis,
                )
                .turning(Turn::RaiseLearningRate),
            ],
        );
    }
    check.clear("every matrix moves at a usual pace")
}

/// The row of a tensor at the step nearest to a share of the run.
fn norm_at<'a>(rows: &[&'a TensorNorms], step: f64) -> Option<&'a TensorNorms> {
    rows.iter().min_by(|a, b| (a.step as f64 - step).abs().total_cmp(&(b.step as f64 - step).abs())).copied()
}

pub(super) fn norm_growth(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "norm_growth",
        figure::TENSOR_NORMS,
        "over the second half of the run a weight matrix grows by more than half, or the residual stream behind the last \
         block by more than a factor of two",
        "Wortsman et al. 2023, Small-scale Proxies for Large-scale Transformer Training Instabilities: norms and logits that \
         keep growing announce instability; the factors are conventions of this project",
    );
    let last_step = analysis.steps.last().map_or(0, |s| s.step) as f64;
    let matrices = analysis.run.experiment.model.tensors(analysis.run.open.data.vocabulary_size);
    let mut worst: Option<(f64, &str)> = None;
    for tensor in matrices.iter().filter(|tensor| tensor.role != Role::Vector) {
        let rows: Vec<&TensorNorms> = analysis.tensor_norms.iter().filter(|row| row.tensor == tensor.name).collect();
        let (Some(half), Some(end)) = (norm_at(&rows, 0.5 * last_step), norm_at(&rows, last_step)) else { continue };
        let growth = end.weight_norm / half.weight_norm - 1.0;
        if half.step < end.step && worst.is_none_or(|(most, _)| growth > most) {
            worst = Some((growth, &half.tensor));
        }
    }
    let stream = stream_growth(&analysis.activations, last_step);
    let Some((growth, tensor)) = worst else {
        return check
            .not_judged("no norms of tensors were recorded over the second half (`metrics.tensor_norms_every`)");
    };
    let check = check.evidence("largest growth of a matrix over the second half", growth, Unit::Share).evidence_if(
        "residual stream at the end over that at half",
        stream,
        Unit::Decimal,
    );
    let statement = match stream {
        _ if growth > 0.5 => format!("`{tensor}` grows by {:.0} % over the second half", 100.0 * growth),
        Some(stream) if stream > 2.0 => {
            format!("the residual stream grows by a factor of {stream:.1} over the second half")
        }
        _ => return check.clear("weights and residual stream keep their size"),
    };
    check.found(
        statement,
        vec![
            Change::costing("more weight decay on the matrices", 1.0, analysis).turning(Turn::Regularise),
            Change::costing("normalise queries and keys (QK-norm), or add a z-loss for the logits", 1.0, analysis),
            Change::costing("lower the final learning rate", 1.0, analysis),
        ],
    )
}

/// RMS of the residual stream behind the last block at the end, over that nearest to half of the run.
fn stream_growth(activations: &[ActivationStatistics], last_step: f64) -> Option<f64> {
    let last_block = (0..).map(|block| format!("blocks.{block}"));
    let place = last_block.take_while(|place| activations.iter().any(|row| row.place == *place)).last()?;
    let rows = || activations.iter().filter(|row| row.place == place && row.step > 0);
    let away = |row: &&ActivationStatistics| (row.step as f64 - 0.5 * last_step).abs();
    let half = rows().min_by(|a, b| away(a).total_cmp(&away(b)))?;
    let end = rows().max_by_key(|row| row.step)?;
    (half.step < end.step && half.rms > 0.0).then(|| end.rms / half.rms)
}

/// The places of the last measurement that have a number, with it.
fn last_of(analysis: &RunAnalysis, number: fn(&ActivationStatistics) -> Option<f64>) -> Vec<(&str, f64)> {
    let last = analysis.activations.iter().map(|row| row.step).max();
    let rows = analysis.activations.iter().filter(|row| Some(row.step) == last);
    rows.filter_map(|row| Some((row.place.as_str(), number(row)?))).collect()
}

pub(super) fn dead_units(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "dead_units",
        figure::ACTIVATIONS,
        "more than 10 % of the inner units of a feed-forward layer are silent on every token of the probe",
        "Karpathy, CS231n, notes on activation functions: units that no input drives any more do not learn; 10 % is a \
         convention of this project",
    );
    let dead = last_of(analysis, |row| row.dead_share);
    let Some((place, share)) = dead.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return check.not_judged("no activations were recorded (`metrics.activations_every`)");
    };
    let mean = dead.iter().map(|(_, share)| share).sum::<f64>() / dead.len() as f64;
    let check = check.evidence("largest dead share of a layer", *share, Unit::Share).evidence(
        "mean over the layers",
        mean,
        Unit::Share,
    );
    if *share <= 0.1 {
        return check.clear("the feed-forward units are in use");
    }
    check.found(
        format!("{:.0} % of the units of `{place}` are silent", 100.0 * share),
        vec![
            Change::free(
                "take a larger probe before believing it (`metrics.probe_sequences`): few tokens drive few units",
            ),
            Change::costing(
                "lower the peak learning rate, or warm up for longer: large early updates kill units",
                1.0,
                analysis,
            ),
            Change::costing("an activation that does not fall silent (GELU, SwiGLU)", 1.0, analysis),
        ],
    )
}

pub(super) fn attention_entropy(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "attention_entropy",
        figure::ACTIVATIONS,
        "the entropy of a layer's attention, mean over its heads, falls below a tenth of what it was before the first step",
        "Zhai et al. 2023, Stabilizing Transformer Training by Preventing Attention Entropy Collapse; a tenth is a convention \
         of this project",
    );
    let now = last_of(analysis, |row| row.attention_entropy_nats);
    let first = analysis.activations.iter().map(|row| row.step).min();
    let before = |place: &str| {
        let row = analysis.activations.iter().find(|row| Some(row.step) == first && row.place == place)?;
        row.attention_entropy_nats.filter(|entropy| *entropy > 0.0)
    };
    let shares: Vec<(&str, f64, f64)> =
        now.iter().filter_map(|&(place, entropy)| Some((place, entropy, entropy / before(place)?))).collect();
    let lowest = shares.iter().min_by(|a, b| a.2.total_cmp(&b.2));
    let Some(&(place, entropy, share)) = lowest.filter(|_| first < analysis.activations.iter().map(|r| r.step).max())
    else {
        return check.not_judged("attention was not measured at two steps (`metrics.activations_every`)");
    };
    let scores = last_of(analysis, |row| row.attention_entropy_nats.and(row.logit_scale));
    let largest = scores.iter().map(|(_, score)| *score).reduce(f64::max);
    let check = check
        .evidence("lowest entropy of a layer, nats", entropy, Unit::Decimal)
        .evidence("of what it was at first", share, Unit::Share)
        .evidence_if("largest attention score", largest, Unit::Decimal);
    if share >= 0.1 {
        return check.clear("attention spreads over the context");
    }
    check.found(
        format!("the attention of `{place}` has collapsed to {:.1} % of its entropy", 100.0 * share),
        vec![
            Change::costing("normalise queries and keys (QK-norm)", 1.0, analysis),
            Change::costing("lower the peak learning rate, or warm up for longer", 1.0, analysis)
                .turning(Turn::LowerLearningRate),
        ],
    )
}
