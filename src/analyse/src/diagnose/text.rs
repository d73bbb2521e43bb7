//! What the losses of single tokens say: whether probabilities can be taken at their word, and whether the model makes
//! use of its context.

use super::{Change, Check, Finding, Turn, figure};
use crate::slices::{By, Slice};
use crate::{RunAnalysis, Unit};

/// Miscalibration above which probabilities mislead.
const MISCALIBRATED: f64 = 0.05;

pub(super) fn calibration(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "calibration",
        figure::CALIBRATION,
        "an expected calibration error of the first choice above 5 points",
        "Guo et al. 2017, On Calibration of Modern Neural Networks, for the measure; 5 points is a convention of this project",
    );
    let Some(found) = &analysis.calibration else {
        return check.not_judged("no losses of single tokens were kept");
    };
    let excess = found.mean_probability - found.accuracy;
    let check = check
        .evidence("expected calibration error", found.error, Unit::Share)
        .evidence("over bins of equally many tokens", found.error_equal_mass, Unit::Share)
        .evidence("mean probability of the first choice", found.mean_probability, Unit::Share)
        .evidence("share it is right", found.accuracy, Unit::Share);
    if found.error <= MISCALIBRATED {
        return check.clear("the probabilities can be taken at their word");
    }
    let (what, change) = if excess > 0.0 {
        (
            "too sure",
            Change::costing("fewer epochs, dropout, or more text: too sure is a form of overfitting", 1.0, analysis)
                .turning(Turn::Regularise),
        )
    } else {
        (
            "not sure enough",
            Change::costing("train for longer: a model that still learns spreads its probability", 1.25, analysis)
                .turning(Turn::TrainLonger),
        )
    };
    check.found(
        format!("the model is {what}, by {:.1} points", 100.0 * excess.abs()),
        vec![
            Change::free("a temperature on the logits, chosen on validation text, if probabilities are to be used"),
            change,
        ],
    )
}

/// The first context counted as short: 5 to 8 tokens, enough for the grammar of a phrase.
const SHORT: &str = "5-8";

pub(super) fn context_use(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "context_unused",
        figure::SLICES,
        "the loss with the longest context lies less than 3 standard errors, or less than 1 %, below that with 5 to 8 tokens",
        "Kaplan et al. 2020, Scaling Laws for Neural Language Models, appendix D.5: the loss falls with the place in the \
         context as a power law; the limits are conventions of this project",
    );
    let by_position: Vec<&Slice> = analysis.slices.iter().filter(|slice| slice.by == Some(By::Position)).collect();
    let short = by_position.iter().find(|slice| slice.slice == SHORT);
    // The longest contexts that enough text reaches.
    let long = by_position.iter().rev().find(|slice| slice.share >= 0.01 && slice.standard_error.is_some());
    let (Some(short), Some(long)) = (short, long) else {
        return check.not_judged("no losses of single tokens were kept");
    };
    let (Some(first), Some(second), true) = (short.standard_error, long.standard_error, long.slice != short.slice)
    else {
        return check.not_judged("the texts are too short, or too few, to tell");
    };
    let (fall, error) = (short.loss_nats - long.loss_nats, libm::sqrt(first * first + second * second));
    let check = check
        .evidence("loss with 5 to 8 tokens of context", short.loss_nats, Unit::NatsPerToken)
        .evidence("loss with the longest context", long.loss_nats, Unit::NatsPerToken)
        .evidence("difference", fall, Unit::NatsPerToken)
        .evidence("its standard error", error, Unit::NatsPerToken);
    if fall > 3.0 * error && fall > 0.01 * short.loss_nats {
        return check.clear(format!("with {} tokens of context the loss is lower than with 5 to 8", long.slice));
    }
    check.found(
        format!("{} tokens of context serve no better than 5 to 8", long.slice),
        vec![
            Change::free(
                "look whether the texts allow it: long documents may be other texts than short ones, and generated ones may \
                 have nothing to say about what is far away",
            ),
            Change::costing("train for longer: use of the far context comes late", 1.25, analysis)
                .turning(Turn::TrainLonger),
            Change::costing("a shorter context for the same tokens, which makes each step cheaper", 1.0, analysis),
        ],
    )
}
