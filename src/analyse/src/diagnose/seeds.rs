//! How far runs of one plan lie apart, and what difference between two plans that leaves visible.

use super::fit::late_fall;
use super::{Change, Check, Finding, OWN_CONVENTION, figure};
use crate::{RunAnalysis, Unit};
use harness_statistics::power::detectable_over_seeds;
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
    let detectable = detectable_over_seeds(bits.len(), bits.len()).unwrap_or(f64::NAN) * deviation;
    let check = check
        .evidence("seeds", bits.len() as f64, Unit::Count)
        .evidence("standard deviation over seeds", deviation / mean(&bits), Unit::Share)
        .evidence("smallest detectable difference", detectable / mean(&bits), Unit::Share);
    let Some(fall) = late_fall(&latest.validation_curve) else {
        return check.not_judged("there is no evaluation between half and four fifths of the run to compare with");
    };
    let check = check.evidence("gain of the last fifth of training", fall, Unit::Share);
    if detectable / mean(&bits) <= fall {
        return check.clear("the noise between seeds is smaller than what the end of training gains");
    }
    let count = bits.len();
    check.found(
        format!("with {count} seeds a side, differences below {:.4} bits/byte cannot be seen", detectable),
        vec![Change::costing(format!("two more seeds a side, {} in all", count + 2), 4.0, latest)],
    )
}
