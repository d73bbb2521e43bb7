//! Minimum detectable effects: how large a true difference has to be for a two-sided test at 5 % to find it four times
//! in five. To be read before runs are paid for, and beside every difference that was not found.

use super::distribution::{
    binomial_at_least, binomial_mass, bisect, deviation_density, normal_cdf, normal_quantile, t_quantile,
};
use super::hypothesis::LEVEL;

/// The share of true differences of that size that the test finds.
pub const POWER: f64 = 0.8;

/// Smallest effect of a test whose statistic is normal: z(0.975) + z(0.8) = 2.80 standard errors
/// (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, chapter 2).
pub fn detectable_normal(standard_error: f64) -> f64 {
    (normal_quantile(1.0 - LEVEL / 2.0) + normal_quantile(POWER)) * standard_error
}

/// Smallest effect of a t test with `df` degrees of freedom, in standard errors of the difference: the noncentrality at
/// which the power is 80 %.
pub fn detectable_t(df: f64) -> f64 {
    let grid = DeviationGrid::new(df);
    let least = normal_quantile(1.0 - LEVEL / 2.0);
    // With one degree of freedom it is 16.4, and it falls from there to 2.8.
    bisect(least, 64.0, &|noncentrality| grid.power(noncentrality) - POWER)
}

/// Smallest difference of means, in units of the standard deviation over seeds, that an unpaired t test finds with
/// `first` and `second` values a side.
pub fn detectable_over_seeds(first: usize, second: usize) -> Option<f64> {
    let df = (first + second) as f64 - 2.0;
    let scale = libm::sqrt(1.0 / first as f64 + 1.0 / second as f64);
    (first > 0 && second > 0 && df >= 1.0).then(|| detectable_t(df) * scale)
}

/// Smallest difference between two shares of `items` items each, near `share`, when the items are not paired
/// (Fleiss, Levin and Paik 2003, Statistical Methods for Rates and Proportions, chapter 4, with equal variances).
pub fn detectable_unpaired_shares(share: f64, items: u64) -> f64 {
    detectable_normal(libm::sqrt(2.0 * share * (1.0 - share) / items as f64))
}

/// Smallest difference between two models' shares of the same `items` items that the exact McNemar test finds when
/// they disagree on a share `discordant` of them; `None` if even full one-sidedness is found too rarely. The power is
/// summed over the binomial number of discordant items (Duffy 1984, Biometrics 40:1005).
pub fn detectable_paired_shares(items: u64, discordant: f64) -> Option<f64> {
    let table = CriticalValues::new(items, discordant);
    let reached = |difference: f64| table.power(difference / discordant) - POWER;
    // Connor's large-sample answer (1987, Biometrics 43:207) lies just below; it brackets the search.
    let start = detectable_normal(libm::sqrt(discordant / items as f64)).min(discordant);
    let end = (1.6 * start).min(discordant);
    if discordant <= 0.0 || reached(end) < 0.0 {
        return None;
    }
    Some(bisect_coarsely(0.5 * start, end, &reached))
}

/// Power of the exact McNemar test for a true `difference` with a share `discordant` of the items discordant.
pub fn mcnemar_power(items: u64, discordant: f64, difference: f64) -> f64 {
    CriticalValues::new(items, discordant).power(difference / discordant)
}

/// Each step costs hundreds of binomial tails, and nobody needs a detectable effect to more than four digits.
fn bisect_coarsely(mut low: f64, mut high: f64, rising: &dyn Fn(f64) -> f64) -> f64 {
    while high - low > 1e-5 * high {
        let middle = 0.5 * (low + high);
        if rising(middle) < 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The law of the estimated standard deviation on a grid, so that the power at one noncentrality is one sum.
struct DeviationGrid {
    critical: f64,
    /// A point s and its density times its Simpson weight.
    points: Vec<(f64, f64)>,
}

impl DeviationGrid {
    fn new(df: f64) -> Self {
        const INTERVALS: u32 = 2_000;
        // s has mean about 1 and deviation about 1 / sqrt(2 df).
        let reach = 12.0 / libm::sqrt(2.0 * df);
        let (low, high) = ((1.0 - reach).max(0.0), 1.0 + reach);
        let width = (high - low) / f64::from(INTERVALS);
        let weight = |i: u32| match i {
            0 | INTERVALS => width / 3.0,
            i if i % 2 == 1 => 4.0 * width / 3.0,
            _ => 2.0 * width / 3.0,
        };
        let point = |i: u32| {
            let s = low + width * f64::from(i);
            (s, weight(i) * deviation_density(s, df))
        };
        let points = (0..=INTERVALS).map(point).filter(|(_, weight)| *weight > 1e-18).collect();
        DeviationGrid { critical: t_quantile(1.0 - LEVEL / 2.0, df), points }
    }

    /// P(|T| > critical) for noncentral T: the normal tail averaged over the law of s.
    fn power(&self, noncentrality: f64) -> f64 {
        let tails =
            |s: f64| normal_cdf(noncentrality - self.critical * s) + normal_cdf(-noncentrality - self.critical * s);
        self.points.iter().map(|&(s, weight)| weight * tails(s)).sum()
    }
}

/// For each likely number of discordant items its probability, and the most one-sided count that is not yet significant.
struct CriticalValues {
    /// Discordant items, their probability, and the least larger count with p <= 5 %.
    rows: Vec<(u64, f64, u64)>,
}

impl CriticalValues {
    fn new(items: u64, discordant: f64) -> Self {
        let (mean, n) = (items as f64 * discordant, items as f64);
        let reach = 7.0 * libm::sqrt(n * discordant * (1.0 - discordant)) + 1.0;
        let (low, high) = ((mean - reach).max(0.0) as u64, ((mean + reach) as u64).min(items));
        let significant = |most: u64, of: u64| 2.0 * binomial_at_least(most, of, 0.5) <= LEVEL;
        let mut rows = Vec::new();
        let mut most = low.div_ceil(2);
        for of in low..=high {
            // The critical count never falls as the number of pairs grows.
            while most <= of && !significant(most, of) {
                most += 1;
            }
            if most <= of {
                rows.push((of, binomial_mass(of, items, discordant), most));
            } else {
                most = of.div_ceil(2);
            }
        }
        CriticalValues { rows }
    }

    /// Power when a share (1 + `lean`) / 2 of the discordant items favours one side.
    fn power(&self, lean: f64) -> f64 {
        let p = ((1.0 + lean) / 2.0).min(1.0);
        let reject = |of: u64, most: u64| binomial_at_least(most, of, p) + binomial_at_least(most, of, 1.0 - p);
        self.rows.iter().map(|&(of, weight, most)| weight * reject(of, most)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;

    #[test]
    fn effects_over_seeds_are_the_published_ones() {
        // brentq over d of nct.sf(c, df, d sqrt(n/2)) + nct.cdf(-c, df, d sqrt(n/2)) - 0.8 with df = 2n - 2 and
        // c = t.ppf(.975, df), from scipy.stats; n = 10: 1.325 is Cohen's (1988) table value.
        for (n, expected) in [
            (2, 5.653_489_266_2),
            (3, 3.070_892_266_4),
            (4, 2.380_754_213_3),
            (5, 2.024_439_339_4),
            (8, 1.506_634_227_8),
            (10, 1.324_947_392_6),
            (100, 0.398_138_137_6),
        ] {
            near(detectable_over_seeds(n, n).unwrap(), expected, 1e-7);
        }
        assert_eq!(detectable_over_seeds(1, 1), None);
    }

    #[test]
    fn fractional_degrees_of_freedom_agree_with_scipy() {
        for (df, expected) in [(2.5, 4.741_038_050_1), (7.3, 3.246_758_614_6), (1.0, 16.334_008_869_9)] {
            near(detectable_t(df), expected, 1e-4);
        }
    }

    #[test]
    fn shares_agree_with_their_formulas() {
        // (norm.ppf(.975) + norm.ppf(.8)) * sqrt(2 * .24 / 1000): 1,000 items near 60 % accuracy, 6.1 points
        near(detectable_unpaired_shares(0.6, 1000), 0.061_379_656_829_340_15, 1e-12);
        // brentq over the power below, summed with scipy.stats.binom; Connor's approximation for the first is 2.80 points
        for (items, discordant, expected) in
            [(1000, 0.1, 0.028_736_889_6), (200, 0.2, 0.091_163_742_2), (500, 0.3, 0.070_109_750_4)]
        {
            near(detectable_paired_shares(items, discordant).unwrap(), expected, 2e-5);
        }
        assert_eq!(detectable_paired_shares(60, 0.1), None, "six discordant items can hardly be significant");
        assert_eq!(detectable_paired_shares(60, 0.0), None);
    }

    #[test]
    fn the_power_of_mcnemar_agrees_with_scipy() {
        // sum over D of binom.pmf(D, n, discordant) * P(exact p <= .05 | D), with binom.cdf and binom.sf
        for (items, discordant, difference, expected) in [
            (1000, 0.1, 0.028, 0.777_989_801_8),
            (1000, 0.1, 0.0, 0.039_467_901_7),
            (200, 0.2, 0.1, 0.875_300_483_1),
            (500, 0.1, 0.04, 0.785_447_249_5),
        ] {
            near(mcnemar_power(items, discordant, difference), expected, 1e-8);
        }
    }
}
