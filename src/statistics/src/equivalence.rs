//! Whether a difference is smaller than a margin that was declared before: two one-sided t tests for both sides of it, one for
//! harm only. "Not significant" never shows that.

use super::distribution::{t_cdf, t_quantile};
use super::hypothesis::TTest;

/// A test against a margin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgainstMargin {
    /// How likely data like these are where the difference is as large as the margin.
    pub p_value: f64,
    /// The interval of 1 - 2 `level` in whose place the p-value speaks.
    pub interval: [f64; 2],
    /// Whether the interval lies within the margin, which is where the p-value is at most the level.
    pub shown: bool,
}

/// Whether the difference lies between -`margin` and `margin`: two one-sided tests (Schuirmann 1987, Journal of
/// Pharmacokinetics and Biopharmaceutics 15:657). Takes the difference, its error and the degrees of freedom of `test`; for
/// several differences at once give `level` over their number. `margin` must be above 0.
pub fn equivalence(test: &TTest, margin: f64, level: f64) -> AgainstMargin {
    against(test, margin, level, true)
}

/// Whether a difference that is an improvement where it is above 0 is worse than -`margin` at most: a one-sided test. With a
/// margin of 0 it shows superiority.
pub fn non_inferiority(improvement: &TTest, margin: f64, level: f64) -> AgainstMargin {
    against(improvement, margin, level, false)
}

fn against(test: &TTest, margin: f64, level: f64, both_sides: bool) -> AgainstMargin {
    let &TTest { difference, standard_error, df, .. } = test;
    let tail = |distance: f64| t_cdf(-distance / standard_error, df);
    let (below, above) = (tail(difference + margin), tail(margin - difference));
    let p_value = if both_sides { below.max(above) } else { below };
    let reach = t_quantile(1.0 - level, df) * standard_error;
    let interval = [difference - reach, difference + reach];
    let shown = interval[0] >= -margin && (!both_sides || interval[1] <= margin);
    AgainstMargin { p_value, interval, shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypothesis::{LEVEL, t_test};
    use crate::near;

    #[test]
    fn two_one_sided_tests_agree_with_scipy() {
        // max(t.sf((d + m) / se, df), t.cdf((d - m) / se, df)) with d = .004, m = .02, se = .005, df = 7
        let test = t_test(0.004, 0.005, 7.0, LEVEL);
        let found = equivalence(&test, 0.02, LEVEL);
        near(found.p_value, 0.0075329056712446505, 1e-10);
        // d + t.ppf(.95, 7) * se
        near(found.interval[1], 0.01347289302545003, 1e-10);
        assert!(found.shown && !equivalence(&test, 0.013, LEVEL).shown);
        // t.sf((d + m) / se, df)
        near(non_inferiority(&test, 0.02, LEVEL).p_value, 0.0009831438228676403, 1e-10);
        near(non_inferiority(&test, 0.0, LEVEL).p_value, test.p_value / 2.0, 1e-10);
    }

    #[test]
    fn verdict_and_p_value_say_the_same() {
        for k in -40..=40 {
            let test = t_test(0.001 * f64::from(k), 0.005, 4.0, LEVEL);
            for level in [0.05, 0.01] {
                for found in [equivalence(&test, 0.021, level), non_inferiority(&test, 0.021, level)] {
                    assert_eq!(found.shown, found.p_value <= level, "{test:?} {found:?}");
                }
            }
            assert!(!equivalence(&test, 0.001, LEVEL).shown, "less than the interval can hold");
        }
    }
}
