//! Statistics as functions from numbers to numbers. `libm` gives the same bits on every machine.
//!
//! Comes in: samples as slices of numbers. Goes out: estimates, probabilities and intervals. It must never have: a file, a
//! record, a word for a reader, or a source of chance other than the counter-based one of `harness-core`.
//!
//! Moments and order statistics are here; [`cluster`] gives means and tests over documents, [`crossed`] intervals over seeds
//! and units together, [`design`] one variance for a study, [`distribution`] probabilities, [`dunnett`] tests of many against one
//! baseline, [`equivalence`] tests against a margin, [`hypothesis`] tests over seeds and items, [`looks`] levels of several looks,
//! [`power`] smallest detectable effects, [`power_law`] losses of larger runs, [`sequence`] points of a search, [`shares`] shares
//! of items, [`signal`] how far a metric tells experiments apart. Which test holds its level where is measured in
//! docs/statistics.md.

pub mod cluster;
pub mod crossed;
pub mod design;
pub mod distribution;
pub mod dunnett;
pub mod equivalence;
pub mod hypothesis;
pub mod looks;
pub mod power;
pub mod power_law;
pub mod sequence;
pub mod shares;
pub mod signal;
#[cfg(test)]
mod simulations;

pub use hypothesis::{McNemar, mcnemar};
pub use shares::{AgainstChance, Share, mean_of_shares, share};

/// The share of true nulls that a test may call a difference.
pub const LEVEL: f64 = 0.05;

/// Arithmetic mean. `values` must not be empty.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample variance, with n - 1 in the denominator; not a number for fewer than two values.
pub fn variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / (values.len() as f64 - 1.0)
}

/// Pearson's correlation of pairs; `None` unless both sides vary and all values are finite.
pub fn correlation(first: &[f64], second: &[f64]) -> Option<f64> {
    assert_eq!(first.len(), second.len(), "pairs");
    let centres = [mean(first), mean(second)];
    let sum = |of: &dyn Fn(f64, f64) -> f64| {
        first.iter().zip(second).map(|(a, b)| of(a - centres[0], b - centres[1])).sum::<f64>()
    };
    let correlation = sum(&|a, b| a * b) / libm::sqrt(sum(&|a, _| a * a) * sum(&|_, b| b * b));
    correlation.is_finite().then(|| correlation.clamp(-1.0, 1.0))
}

/// The least-squares line through points (x, y): its slope and the slope's standard error. At least three points.
pub fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    let (slope, squares, across) = line(points);
    (slope, libm::sqrt(squares / (points.len() as f64 - 2.0) / across))
}

/// The same line: its slope, the squares of y around it, and those of x around their mean.
fn line(points: &[(f64, f64)]) -> (f64, f64, f64) {
    let n = points.len() as f64;
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let across = points.iter().map(|p| (p.0 - x) * (p.0 - x)).sum::<f64>();
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / across;
    let residual = |p: &(f64, f64)| p.1 - y - slope * (p.0 - x);
    (slope, points.iter().map(|p| residual(p) * residual(p)).sum(), across)
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

/// The same within a distance.
#[cfg(test)]
#[track_caller]
pub(crate) fn within(found: f64, expected: f64, reach: f64) {
    assert!((found - expected).abs() < reach, "{found} is not {expected}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_agrees_with_scipy() {
        // scipy.stats.linregress([0, 1, 2, 3, 4], [5, 4.2, 3.9, 2.5, 2.4]): slope and stderr
        let (slope, error) = slope(&[(0.0, 5.0), (1.0, 4.2), (2.0, 3.9), (3.0, 2.5), (4.0, 2.4)]);
        assert!((slope + 0.69).abs() < 1e-12 && (error - 0.099_833_194_212_479_77).abs() < 1e-12);
    }

    #[test]
    fn the_correlation_agrees_with_python() {
        // statistics.correlation([1.231, 1.228, 1.235, 1.229], [1.221, 1.226, 1.219, 1.224])
        let found = correlation(&[1.231, 1.228, 1.235, 1.229], &[1.221, 1.226, 1.219, 1.224]);
        within(found.unwrap(), -0.952_389_876_448_520_1, 1e-12);
        assert_eq!(correlation(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(correlation(&[1.0, f64::NAN, 2.0], &[1.0, 2.0, 3.0]), None);
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
