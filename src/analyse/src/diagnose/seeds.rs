//! How far runs of one plan lie apart, and what difference between two plans that leaves visible.

use super::fit::{finite_curve, late_fall};
use super::{Change, Check, Finding, OWN_CONVENTION, figure, rounded};
use crate::{RunAnalysis, Unit};
use harness_statistics::hypothesis::LEVEL;
use harness_statistics::power::{detectable_over_seeds, deviation_range};
use harness_statistics::{mean, variance};

/// Holds the spread over seeds of validation bits per byte against what training on still gains.
pub fn diagnose_seeds(runs: &[RunAnalysis]) -> Finding {
    let check = Check::new(
        "seed_noise",
        figure::VALIDATION,
        "two experiments with as many seeds have to differ by more than the last fifth of training gains",
        OWN_CONVENTION,
    );
    let bits: Vec<f64> =
        runs.iter().filter_map(|run| Some(run.values.get("validation.bits_per_byte")?.number)).collect();
    let Some(latest) = runs.last().filter(|_| bits.len() > 1) else {
        let check = check.evidence("seeds", bits.len() as f64, Unit::Count);
        return check.not_judged("the noise between seeds is not known: run further seeds of the same plan");
    };
    let deviation = libm::sqrt(variance(&bits));
    let Some(smallest) = detectable_over_seeds(bits.len(), bits.len(), LEVEL) else {
        return check.not_judged("the noise between seeds is not known: run further seeds of the same plan");
    };
    // What few seeds say of their own spread is hardly more than its order of magnitude.
    let [low, high] = deviation_range(deviation, bits.len() as f64 - 1.0).map(|deviation| smallest * deviation);
    let detectable = smallest * deviation;
    let check = check
        .evidence("seeds", bits.len() as f64, Unit::Count)
        .evidence("standard deviation over seeds", deviation / mean(&bits), Unit::Share)
        .evidence("smallest detectable difference", detectable / mean(&bits), Unit::Share)
        .evidence("lower end of its 95 % range", low / mean(&bits), Unit::Share)
        .evidence("upper end", high / mean(&bits), Unit::Share);
    let curve = match finite_curve(latest) {
        Ok(curve) => curve,
        Err(why) => return check.not_judged(why),
    };
    let Some(fall) = late_fall(curve) else {
        return check.not_judged("there is no evaluation between half and four fifths of the run to compare with");
    };
    let check = check.evidence("gain of the last fifth of training", fall, Unit::Share);
    if detectable / mean(&bits) <= fall {
        return check.clear("the noise between seeds is smaller than what the end of training gains");
    }
    let count = bits.len();
    check.found(
        format!(
            "with {count} seeds a side, differences below {} bits/byte ({} to {}) are seen in less than four of five cases",
            rounded(detectable, 2),
            rounded(low, 2),
            rounded(high, 2)
        ),
        vec![Change::costing(format!("two more seeds a side, {} in all", count + 2), 4.0, latest)],
    )
}
