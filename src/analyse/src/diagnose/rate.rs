//! Is the learning rate right? One run cannot say what another rate would have given, but it shows the signs of a rate
//! at the edge of stability, and of one that leaves the budget unused.

use super::fit::{finite_curve, late_fall};
use super::inside::usual_update_ratio;
use super::stability::{roughness, spikes_of};
use super::{Change, Check, DETECTABLE_SHARE, Finding, Outcome, Turn, figure, rounded};
use crate::spikes::FEWEST_STEPS;
use crate::{RunAnalysis, Unit};

const PLAYBOOK: &str = "Godbole et al. 2023, Deep Learning Tuning Playbook: the best rate lies just below the largest that \
                        trains stably; which signs count, and how many, is a convention of this project";

/// Signs that the rate is at or above the edge of stability.
fn signs(analysis: &RunAnalysis) -> Vec<&'static str> {
    let clipped = analysis.values.get("training.clipped_share").is_some_and(|share| share.number > 0.5);
    let found = |finding: Finding| finding.outcome == Outcome::Found;
    let fast = usual_update_ratio(analysis).is_some_and(|ratio| ratio > 1e-2);
    let signs = [
        (!spikes_of(analysis).is_empty(), "spikes of the loss"),
        (clipped, "more than half of the steps clipped"),
        (roughness(analysis), "rough first steps"),
        (found(super::stability::late_rise(analysis)), "a loss that rises towards the end"),
        (fast, "updates above 1 % of the weights"),
    ];
    signs.into_iter().filter(|(there, _)| *there).map(|(_, sign)| sign).collect()
}

pub(super) fn too_high(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "learning_rate_high",
        figure::OPTIMISATION,
        "training left the finite numbers, or at least two of: spikes of the loss, more than half of the steps clipped, \
         rough first steps, a rising loss at the end, median updates above 1 % of the weights",
        PLAYBOOK,
    );
    if analysis.steps.len() < FEWEST_STEPS {
        return check.not_judged(format!("{} steps are too few", analysis.steps.len()));
    }
    let rate = analysis.run.experiment.optimizer.learning_rate;
    let infinite = super::stability::non_finite(analysis).outcome == Outcome::Found;
    let signs = signs(analysis);
    let check = check
        .evidence("peak learning rate", rate, Unit::Number)
        .evidence("signs", signs.len() as f64, Unit::Count)
        .evidence_if("median ratio of update to weight", usual_update_ratio(analysis), Unit::Number);
    if signs.len() < 2 && !infinite {
        let rest =
            signs.first().map_or_else(|| "none of the signs".to_owned(), |sign| format!("only one sign: {sign}"));
        return check.clear(rest);
    }
    let seen = if infinite { "training left the finite numbers".to_owned() } else { signs.join(", ") };
    check.found(
        format!("the rate of {rate} looks too high: {seen}"),
        vec![
            Change::costing(format!("lower the peak learning rate to {}", rounded(rate / 2.0, 2)), 1.0, analysis)
                .turning(Turn::LowerLearningRate),
            Change::costing(
                "bracket it: three runs of a fifth of the steps at a third, one and three times the rate",
                0.6,
                analysis,
            ),
        ],
    )
}

pub(super) fn too_low(analysis: &RunAnalysis) -> Finding {
    let check = Check::new(
        "learning_rate_low",
        figure::OPTIMISATION,
        "no sign of instability, validation still falling by more than 0.10 % over the last fifth, and median updates below \
         0.03 % of the weights",
        PLAYBOOK,
    );
    let rate = analysis.run.experiment.optimizer.learning_rate;
    let curve = match finite_curve(analysis) {
        Ok(curve) => curve,
        Err(why) => return check.not_judged(why),
    };
    let (Some(ratio), Some(fall)) = (usual_update_ratio(analysis), late_fall(curve)) else {
        return check.not_judged("norms of tensors (`metrics.tensor_norms_every`) or evaluations are missing");
    };
    let signs = signs(analysis);
    let check = check
        .evidence("peak learning rate", rate, Unit::Number)
        .evidence("median ratio of update to weight", ratio, Unit::Number)
        .evidence("fall of bits per byte over the last fifth", fall, Unit::Share)
        .evidence("signs of instability", signs.len() as f64, Unit::Count);
    if !signs.is_empty() || fall <= DETECTABLE_SHARE || ratio >= 3e-4 {
        return check.clear("the rate is not visibly too low");
    }
    check.found(
        format!("the rate of {rate} looks too low: small, even steps, and still improving at the end"),
        vec![
            Change::costing(format!("raise the peak learning rate to {}", rounded(rate * 3.0, 2)), 1.0, analysis)
                .turning(Turn::RaiseLearningRate),
            Change::costing(
                "bracket it: three runs of a fifth of the steps at one, three and ten times the rate",
                0.6,
                analysis,
            ),
        ],
    )
}
