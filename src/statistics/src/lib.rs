//! Statistics as functions from numbers to numbers. `libm` gives the same bits on every machine.
//!
//! Comes in: samples as slices of numbers. Goes out: estimates, probabilities and intervals. It must never have: a file, a
//! record, a word for a reader, or a source of chance other than the counter-based one of `harness-core`.
//!
//! Shares of items and order statistics are here; [`cluster`] gives means over documents, [`distribution`] probabilities, [`hypothesis`] tests,
//! [`power`] smallest detectable effects, [`resample`] bootstraps.

pub mod cluster;
pub mod distribution;
pub mod hypothesis;
pub mod power;
pub mod resample;
#[cfg(test)]
mod simulations;

pub use hypothesis::{McNemar, mcnemar};

/// A share of items with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The share, from 0 to 1.
    pub mean: f64,
    /// Standard error: sqrt(p (1 - p) / (n - 1)), as lm-evaluation-harness computes it (the sample standard
    /// deviation of 0/1 outcomes over sqrt(n)); 0 for a single item.
    pub standard_error: f64,
}

/// Share of `true` outcomes. `outcomes` must not be empty.
pub fn share(outcomes: &[bool]) -> Share {
    let n = outcomes.len() as f64;
    let mean = outcomes.iter().filter(|&&right| right).count() as f64 / n;
    let standard_error = if n > 1.0 { libm::sqrt(mean * (1.0 - mean) / (n - 1.0)) } else { 0.0 };
    Share { mean, standard_error }
}

/// Unweighted mean of independent shares, as lm-evaluation-harness reports a group with `weight_by_size: false`.
/// The standard error of a mean of independent means: sqrt(sum of squared errors) / k.
pub fn mean_of_shares(shares: &[Share]) -> Share {
    let k = shares.len() as f64;
    let mean = shares.iter().map(|s| s.mean).sum::<f64>() / k;
    let squares = shares.iter().map(|s| s.standard_error * s.standard_error).sum::<f64>();
    Share { mean, standard_error: libm::sqrt(squares) / k }
}

/// Wilson's interval for a share of 95 % coverage (Wilson 1927, JASA 22:209): it stays within 0 and 1 and holds near
/// both, where the share plus or minus two standard errors does not.
pub fn wilson(share: f64, items: u64) -> (f64, f64) {
    let (z, n) = (distribution::normal_quantile(1.0 - hypothesis::LEVEL / 2.0), items as f64);
    let (centre, scale) = (share + z * z / (2.0 * n), 1.0 + z * z / n);
    let reach = z * libm::sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n));
    // At the ends the formula gives 0 and 1 but for rounding, which would tell a score of 0 from a chance of 0.
    let low = if share <= 0.0 { 0.0 } else { (centre - reach) / scale };
    let high = if share >= 1.0 { 1.0 } else { (centre + reach) / scale };
    (low, high)
}

/// Arithmetic mean. `values` must not be empty.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample variance, with n - 1 in the denominator; not a number for fewer than two values.
pub fn variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / (values.len() as f64 - 1.0)
}

/// The least-squares line through points (x, y): its slope and the slope's standard error. At least three points.
pub fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let xx = points.iter().map(|p| (p.0 - x) * (p.0 - x)).sum::<f64>();
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / xx;
    let residual = |p: &(f64, f64)| p.1 - y - slope * (p.0 - x);
    let squares = points.iter().map(|p| residual(p) * residual(p)).sum::<f64>();
    (slope, libm::sqrt(squares / (n - 2.0) / xx))
}

/// The `q`-quantile (0 to 1) by linear interpolation between order statistics (Hyndman and Fan 1996, type 7).
/// `values` must not be empty.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = q * (sorted.len() - 1) as f64;
    let below = libm::floor(position) as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// Holds a number against its reference, within a share of the reference.
#[cfg(test)]
#[track_caller]
pub(crate) fn near(found: f64, expected: f64, relative: f64) {
    assert!((found - expected).abs() <= relative * expected.abs(), "{found} is not {expected}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_the_harness_one() {
        // numpy: std([1]*6+[0]*4, ddof=1)/sqrt(10) = 0.16329931618554522
        let share = share(&[true, true, true, true, true, true, false, false, false, false]);
        assert!((share.standard_error - 0.163_299_316_185_545_22).abs() < 1e-15);
    }

    #[test]
    fn wilsons_interval_agrees_with_statsmodels() {
        // statsmodels.stats.proportion.proportion_confint(k, n, method="wilson")
        for (share, items, low, high) in [
            (0.6, 100, 0.502_002_586_791_061_8, 0.690_598_713_567_541_1),
            (0.0, 20, 0.0, 0.161_125_158_052_819_4),
            (1.0, 500, 0.992_375_659_538_447_9, 1.0),
        ] {
            let found = wilson(share, items);
            assert!((found.0 - low).abs() < 1e-12 && (found.1 - high).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn wilsons_interval_ends_exactly_where_shares_end() {
        for items in 2..6000 {
            let (none, all) = (wilson(0.0, items), wilson(1.0, items));
            assert!(none.0 == 0.0 && none.1 > 0.0 && all.1 == 1.0 && all.0 < 1.0, "{items}: {none:?} {all:?}");
        }
    }

    #[test]
    fn the_line_agrees_with_scipy() {
        // scipy.stats.linregress([0, 1, 2, 3, 4], [5, 4.2, 3.9, 2.5, 2.4]): slope and stderr
        let (slope, error) = slope(&[(0.0, 5.0), (1.0, 4.2), (2.0, 3.9), (3.0, 2.5), (4.0, 2.4)]);
        assert!((slope + 0.69).abs() < 1e-12 && (error - 0.099_833_194_212_479_77).abs() < 1e-12);
    }

    #[test]
    fn quantiles_agree_with_numpy() {
        // numpy.quantile([3, 1, 2, 10], [0, .5, .9, 1]) = [1, 2.5, 7.9, 10]
        let values = [3.0, 1.0, 2.0, 10.0];
        for (q, expected) in [(0.0, 1.0), (0.5, 2.5), (0.9, 7.9), (1.0, 10.0)] {
            assert!((quantile(&values, q) - expected).abs() < 1e-12);
        }
    }
}
