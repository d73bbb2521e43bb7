//! Tests of a difference between two sides: over seeds (Welch's t, pooled t), over items (exact McNemar), and the
//! correction for testing a family of metrics (Holm).

use super::distribution::{binomial_at_least, t_quantile, t_two_sided};
use super::{mean, variance};

/// The share of true nulls that a test may call a difference.
pub const LEVEL: f64 = 0.05;

/// A t test of a difference of means, second side minus first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TTest {
    /// Mean of the second side minus mean of the first.
    pub difference: f64,
    /// Standard error of the difference.
    pub standard_error: f64,
    /// Degrees of freedom.
    pub df: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
}

/// Welch's t test for unequal variances, with the degrees of freedom of Welch and Satterthwaite (Welch 1947,
/// Biometrika 34:28). `None` unless each side has two values and some value differs within a side.
pub fn welch(first: &[f64], second: &[f64]) -> Option<TTest> {
    let parts = [first, second].map(|values| (variance(values) / values.len() as f64, values.len() as f64 - 1.0));
    let squared_error: f64 = parts.iter().map(|(part, _)| part).sum();
    if parts.iter().any(|(_, df)| *df < 1.0) || squared_error <= 0.0 {
        return None;
    }
    let df = squared_error * squared_error / parts.iter().map(|(part, df)| part * part / df).sum::<f64>();
    Some(t_test(mean(second) - mean(first), libm::sqrt(squared_error), df))
}

/// Student's t test with one pooled variance. With a single value on a side the variance is that of the other side:
/// the test of a single case against a small sample (Crawford and Howell 1998, The Clinical Neuropsychologist 12:482).
pub fn pooled_t(first: &[f64], second: &[f64]) -> Option<TTest> {
    let counts = [first.len() as f64, second.len() as f64];
    let df = counts[0] + counts[1] - 2.0;
    if first.is_empty() || second.is_empty() || df < 1.0 {
        return None;
    }
    let squares = [first, second].map(|v| if v.len() > 1 { variance(v) * (v.len() as f64 - 1.0) } else { 0.0 });
    let pooled = (squares[0] + squares[1]) / df;
    let error = libm::sqrt(pooled * (1.0 / counts[0] + 1.0 / counts[1]));
    (error > 0.0).then(|| t_test(mean(second) - mean(first), error, df))
}

fn t_test(difference: f64, standard_error: f64, df: f64) -> TTest {
    let reach = t_quantile(1.0 - LEVEL / 2.0, df) * standard_error;
    TTest {
        difference,
        standard_error,
        df,
        p_value: t_two_sided(difference / standard_error, df),
        low: difference - reach,
        high: difference + reach,
    }
}

/// Discordant pairs of two models on the same items and the two-sided exact p-value (McNemar 1947; the binomial
/// form as in Agresti 2013, Categorical Data Analysis, section 11.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// Items that only the first model answered right.
    pub only_first: u64,
    /// Items that only the second model answered right.
    pub only_second: u64,
    /// Two-sided exact p-value; 1 without discordant pairs.
    pub p_value: f64,
}

/// Exact McNemar test. The slices must be of equal length, item by item.
pub fn mcnemar(first: &[bool], second: &[bool]) -> McNemar {
    assert_eq!(first.len(), second.len(), "paired items");
    let count = |f: bool, s: bool| first.iter().zip(second).filter(|&(&a, &b)| a == f && b == s).count() as u64;
    let (only_first, only_second) = (count(true, false), count(false, true));
    let (n, most) = (only_first + only_second, only_first.max(only_second));
    McNemar { only_first, only_second, p_value: (2.0 * binomial_at_least(most, n, 0.5)).min(1.0) }
}

/// Holm's step-down correction (Holm 1979, Scandinavian Journal of Statistics 6:65): p-values that can be held
/// against the level as if each were the only one, in the order given. The chance of any false finding stays below
/// the level, however the tests depend on each other.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        least = least.max((left * p_values[index]).min(1.0));
        corrected[index] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: [f64; 4] = [1.231, 1.228, 1.235, 1.229];

    #[track_caller]
    fn agrees(test: TTest, standard: [f64; 5]) {
        let found = [test.difference / test.standard_error, test.df, test.p_value, test.low, test.high];
        for (found, expected) in found.iter().zip(standard) {
            assert!((found - expected).abs() < 1e-10 * expected.abs(), "{test:?}: {found} is not {expected}");
        }
    }

    #[test]
    fn welch_agrees_with_scipy() {
        // r = scipy.stats.ttest_ind([1.221, 1.226, 1.219], BASE, equal_var=False): statistic, df, pvalue and
        // r.confidence_interval()
        let expected = [
            -3.373_085_972_566_936,
            4.006_438_729_663_041,
            0.027_894_627_510_886_703,
            -0.015_947_713_009_285_03,
            -0.001_552_286_990_714_596_2,
        ];
        agrees(welch(&BASE, &[1.221, 1.226, 1.219]).unwrap(), expected);
        assert_eq!(welch(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(welch(&[1.0, 1.0], &[2.0, 2.0]), None, "no spread, no test");
    }

    #[test]
    fn one_run_against_several_agrees_with_scipy() {
        // scipy.stats.ttest_ind([1.221], BASE, equal_var=True)
        let expected = [
            -2.817_028_962_206_945_3,
            3.0,
            0.066_902_492_518_737_12,
            -0.020_764_743_509_135_514,
            0.001_264_743_509_135_663,
        ];
        agrees(pooled_t(&BASE, &[1.221]).unwrap(), expected);
    }

    #[test]
    fn mcnemar_agrees_with_scipy() {
        // scipy.stats.binomtest(3, 12, 0.5).pvalue = 0.14599609375
        let first: Vec<bool> = (0..40).map(|i| !(3..20).contains(&i)).collect();
        let second: Vec<bool> = (0..40).map(|i| (3..12).contains(&i) || i >= 20).collect();
        let test = mcnemar(&first, &second);
        assert_eq!((test.only_first, test.only_second), (3, 9));
        assert!((test.p_value - 0.145_996_093_75).abs() < 1e-12, "{}", test.p_value);
        assert_eq!(mcnemar(&[true], &[true]).p_value, 1.0);
    }

    #[test]
    fn holm_agrees_with_statsmodels() {
        // statsmodels.stats.multitest.multipletests([.01, .04, .03, .005, .8], method="holm")[1]
        let expected = [0.04, 0.09, 0.09, 0.025, 0.8];
        for (found, expected) in holm(&[0.01, 0.04, 0.03, 0.005, 0.8]).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
        assert!(holm(&[]).is_empty());
    }
}
