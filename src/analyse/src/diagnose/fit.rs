//! Did the model learn as much as this budget allows? Against simple baselines, over the course of training, and on
//! held-out text against training text.

use super::{Change, Check, DETECTABLE_SHARE, DETECTABLE_SOURCE, Finding, OWN_CONVENTION, Turn, figure};
use crate::{CurvePoint, RunAnalysis, Unit};
use harness_statistics::{mean, slope};

fn value(analysis: &RunAnalysis, key: &str) -> Option<f64> {
    analysis.values.get(key).map(|v| v.number)
}

/// The validation curve; where it leaves the finite numbers, that.
pub(super) fn finite_curve(analysis: &RunAnalysis) -> Result<&[CurvePoint], String> {
    let curve = &analysis.validation_curve;
    match curve.iter().find(|point| !point.value.is_finite()) {
        Some(point) => Err(format!("the validation loss is not a finite number after step {}", point.step)),
        None => Ok(curve),
    }
}

pub(super) fn baselines(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "underfitting",
        figure::VALIDATION,
        "no fewer bits per byte on held-out text than the best n-gram baseline of the corpus",
        "Godbole et al. 2023, Deep Learning Tuning Playbook: a first model has to be clearly better than chance",
    );
    if let Err(why) = finite_curve(analysis) {
        return check.not_judged(why);
    }
    let best = analysis.run.corpus.baselines.iter().min_by(|a, b| a.bits_per_byte.total_cmp(&b.bits_per_byte));
    let (Some(bits), Some(best)) = (value(analysis, "validation.bits_per_byte"), best) else {
        return check.not_judged("there is no validation loss, or no baseline");
    };
    let per_parameter = value(analysis, "training.tokens").zip(value(analysis, "model.parameters"));
    let check = check
        .evidence("validation", bits, Unit::BitsPerByte)
        .evidence("best baseline", best.bits_per_byte, Unit::BitsPerByte)
        .evidence_if("training tokens per parameter", per_parameter.map(|(t, p)| t / p), Unit::Decimal);
    if bits < best.bits_per_byte {
        return check.clear(format!("better than the {} model of the corpus", best.model));
    }
    check.found(
        format!("not better than the {} model of the corpus", best.model),
        vec![
            Change::free("look for a mistake first: a loss near that of the first step, a wrong corpus or tokenizer"),
            Change::costing("raise the learning rate by a factor of three", 1.0, analysis)
                .turning(Turn::RaiseLearningRate),
            Change::costing("train for twice as many steps", 2.0, analysis).turning(Turn::TrainLonger),
        ],
    )
}

/// The share by which a curve falls over the last fifth of the run.
pub(super) fn late_fall(curve: &[CurvePoint]) -> Option<f64> {
    let last = curve.last()?;
    let fifth = last.step as f64 * 0.8;
    let before = curve.iter().rev().find(|p| p.step as f64 <= fifth && p.step * 2 >= last.step)?;
    let steps = (last.step - before.step) as f64;
    // What lies further back than a fifth is scaled to a fifth, as if the fall were even.
    (steps > 0.0).then(|| (before.value - last.value) / before.value * (0.2 * last.step as f64 / steps))
}

pub(super) fn still_improving(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "still_improving",
        figure::VALIDATION,
        "validation bits per byte fall by more than 0.10 % over the last fifth of the run, and the training loss does \
         not rise over it",
        DETECTABLE_SOURCE,
    );
    let curve = match finite_curve(analysis) {
        Ok(curve) => curve,
        Err(why) => return check.not_judged(why),
    };
    let Some(fall) = late_fall(curve) else {
        return check.not_judged("there is no evaluation between half and four fifths of the run");
    };
    let fifth = analysis.steps.len().div_ceil(5);
    let late: Vec<(f64, f64)> =
        analysis.steps[analysis.steps.len() - fifth..].iter().map(|s| (s.step as f64, s.loss_nats)).collect();
    let trend = (late.len() > 2).then(|| slope(&late));
    let check = check
        .evidence("fall of bits per byte over the last fifth", fall, Unit::Share)
        .evidence_if("slope of the training loss, nats per 1,000 steps", trend.map(|t| 1e3 * t.0), Unit::Number)
        .evidence_if("its standard error", trend.map(|t| 1e3 * t.1), Unit::Number);
    if fall <= DETECTABLE_SHARE || trend.is_some_and(|(slope, error)| slope > 2.0 * error) {
        return check.clear("it has levelled off at the end");
    }
    check.found(
        format!("still improving at the end, by {:.2} % over the last fifth", 100.0 * fall),
        vec![
            Change::costing("train for a quarter more steps, the schedule stretched with them", 1.25, analysis)
                .turning(Turn::TrainLonger),
            Change::costing("raise the learning rate, so that the same steps go further", 1.0, analysis)
                .turning(Turn::RaiseLearningRate),
            Change::costing("take a smaller model and more steps for the same FLOPs", 1.0, analysis),
        ],
    )
}

pub(super) fn saturated_early(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "saturated_early",
        figure::VALIDATION,
        "by half of the steps validation bits per byte are within 0.10 % of the lowest that ever came",
        DETECTABLE_SOURCE,
    );
    let curve = match finite_curve(analysis) {
        Ok(curve) => curve,
        Err(why) => return check.not_judged(why),
    };
    let (Some(last), Some(best)) = (curve.last(), curve.iter().map(|p| p.value).reduce(f64::min)) else {
        return check.not_judged("there is no validation loss");
    };
    if curve.iter().filter(|p| p.step > 0).count() < 4 {
        return check.not_judged("there are too few evaluations");
    }
    let reached = curve.iter().find(|p| p.value <= best * (1.0 + DETECTABLE_SHARE)).map_or(last.step, |p| p.step);
    let share = reached as f64 / last.step as f64;
    let check = check.evidence("step", reached as f64, Unit::Count).evidence("of all steps", share, Unit::Share);
    if share > 0.5 {
        return check.clear(format!("it comes within reach of its best at {:.0} % of the steps", 100.0 * share));
    }
    check.found(
        format!("nothing is gained after step {reached}"),
        vec![
            Change::costing("stop there, the schedule shortened with the steps", share, analysis)
                .turning(Turn::TrainShorter),
            Change::costing("spend the same on a larger model or on more text", 1.0, analysis),
        ],
    )
}

pub(super) fn overfitting(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "overfitting",
        figure::VALIDATION,
        "validation bits per byte end more than 0.10 % above their lowest while the training loss goes on falling",
        DETECTABLE_SOURCE,
    );
    let curve = match finite_curve(analysis) {
        Ok(curve) => curve,
        Err(why) => return check.not_judged(why),
    };
    let best = curve.iter().min_by(|a, b| a.value.total_cmp(&b.value));
    let (Some(last), Some(best), true) = (curve.last(), best, curve.len() > 2) else {
        return check.not_judged("there are too few evaluations");
    };
    let rise = last.value / best.value - 1.0;
    let check = check
        .evidence("lowest", best.value, Unit::BitsPerByte)
        .evidence("its step", best.step as f64, Unit::Count)
        .evidence("at the end", last.value, Unit::BitsPerByte)
        .evidence("rise", rise, Unit::Share);
    if rise <= DETECTABLE_SHARE {
        return check.clear("validation ends at its lowest");
    }
    let around = |step: u64| {
        let reach = (last.step / 20).max(1);
        let near = analysis.steps.iter().filter(|s| s.step.abs_diff(step) <= reach).map(|s| s.loss_nats);
        mean(&near.collect::<Vec<_>>())
    };
    let (then, now) = (around(best.step), around(last.step));
    let check = check.evidence("training loss then", then, Unit::NatsPerToken).evidence(
        "training loss at the end",
        now,
        Unit::NatsPerToken,
    );
    if now >= then {
        return check.clear("validation rises, but so does the training loss: that is instability, not overfitting");
    }
    let share = best.step as f64 / last.step as f64;
    check.found(
        format!("validation rises from step {} on while training goes on falling", best.step),
        vec![
            Change::costing("stop there, the schedule shortened with the steps", share, analysis)
                .turning(Turn::TrainShorter),
            Change::costing(
                "more text, so that less of it is repeated; or dropout, or more weight decay",
                1.0,
                analysis,
            )
            .turning(Turn::Regularise),
        ],
    )
}

pub(super) fn gap(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "generalization_gap",
        figure::TRAINING_LOSS,
        "validation loss 10 % above the late training loss",
        OWN_CONVENTION,
    );
    if let Err(why) = finite_curve(analysis) {
        return check.not_judged(why);
    }
    let (Some(validation), Some(training)) = (value(analysis, "validation.loss"), value(analysis, "training.loss"))
    else {
        return check.not_judged("there is no validation loss");
    };
    let gap = validation / training - 1.0;
    let check = check
        .evidence("validation loss", validation, Unit::NatsPerToken)
        .evidence("training loss, last tenth of the steps", training, Unit::NatsPerToken)
        .evidence("gap", gap, Unit::Share);
    if gap <= 0.1 {
        return check.clear("held-out and training text are about equally hard");
    }
    check.found(
        format!("held-out text costs {:.1} % more than training text", 100.0 * gap),
        vec![
            Change::free(
                "rule out other reasons: validation begins each document without context; the sources may differ",
            ),
            Change::costing("more text, or dropout, or more weight decay", 1.0, analysis).turning(Turn::Regularise),
        ],
    )
}

pub(super) fn repeated_data(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "repeated_data",
        figure::VALIDATION,
        "more than 4 epochs",
        "Muennighoff et al. 2023, Scaling Data-Constrained Language Models: up to 4 epochs are nearly as good as new text",
    );
    let Some(epochs) = value(analysis, "training.epochs") else { return check.not_judged("no steps were done") };
    let tokens = value(analysis, "data.train_tokens");
    let check =
        check.evidence("epochs", epochs, Unit::Decimal).evidence_if("training tokens there are", tokens, Unit::Count);
    if epochs <= 4.0 {
        return check.clear(format!("each text was seen {epochs:.1} times"));
    }
    check.found(
        format!("each text was seen {epochs:.1} times"),
        vec![
            Change::costing("add text, for the same number of steps", 1.0, analysis).turning(Turn::Regularise),
            Change::costing("stop after 4 epochs", 4.0 / epochs, analysis).turning(Turn::TrainShorter),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::{CurvePoint, late_fall};

    fn curve(values: &[(u64, f64)]) -> Vec<CurvePoint> {
        values.iter().map(|&(step, value)| CurvePoint { step, tokens: step, value }).collect()
    }

    #[test]
    fn the_late_fall_is_that_of_a_fifth() {
        let near = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?}");
        near(late_fall(&curve(&[(0, 8.0), (80, 2.0), (100, 1.9)])), 0.05);
        near(late_fall(&curve(&[(60, 2.0), (100, 1.8)])), 0.05);
        assert_eq!(late_fall(&curve(&[(0, 8.0), (90, 2.0), (100, 1.9)])), None, "nothing between half and four fifths");
        assert_eq!(late_fall(&[]), None);
    }
}
