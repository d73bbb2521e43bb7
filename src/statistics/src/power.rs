//! Minimum detectable effects: how large a true difference has to be for a two-sided test to find it four times in five, at
//! 5 % or at what a correction for several tests leaves of it. To be read before runs are paid for: after them it says no
//! more than the p-value does (Hoenig and Heisey 2001, The American Statistician 55:19).

use harness_core::random::Random;

use super::cluster::{Bend, FEWEST_CLUSTERS, strictness};
use super::distribution::{
    binomial_at_least, binomial_mass, bisect, chi_squared_quantile, deviation_density, normal_cdf, normal_quantile,
    t_quantile,
};
use super::dunnett::{Dunnett, Family};
use super::hypothesis::{LEVEL, Stratified, over_unshared_seeds};
use super::{mean, variance};

/// The share of true differences of that size that the test finds.
pub const POWER: f64 = 0.8;

/// Smallest effect of a test whose statistic is normal: z(0.975) + z(0.8) = 2.80 standard errors at 5 %
/// (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, chapter 2).
pub fn detectable_normal(standard_error: f64, level: f64) -> f64 {
    (normal_quantile(1.0 - level / 2.0) + normal_quantile(POWER)) * standard_error
}

/// Smallest effect of a t test with `df` degrees of freedom at a `level`, in standard errors of the difference: the
/// noncentrality at which the power is 80 %.
pub fn detectable_t(df: f64, level: f64) -> f64 {
    detectable_beyond(t_quantile(1.0 - level / 2.0, df), df)
}

/// The same for any critical value of the t statistic on either side, such as Dunnett's.
pub fn detectable_beyond(critical: f64, df: f64) -> f64 {
    let grid = DeviationGrid::new(df, critical);
    // With one degree of freedom it is 16.3 at 5 %, and it falls from there to 2.8.
    let mut most = 4.0;
    while grid.power(most) < POWER {
        most *= 2.0;
    }
    bisect(0.0, most, &|noncentrality| grid.power(noncentrality) - POWER)
}

/// Smallest difference from the baseline that one of the `treatments` of `each` values is found with, in standard deviations of
/// a single value (within its block where there are blocks), when all are compared as [`against_baseline`] does: with
/// Dunnett's critical value or, after Welch, at Holm's first level. `None` where it does not test.
///
/// [`against_baseline`]: super::dunnett::against_baseline
pub fn detectable_against_baseline(
    family: Family,
    baseline: usize,
    treatments: usize,
    each: usize,
    level: f64,
) -> Option<f64> {
    if treatments == 0 || baseline.min(each) == 0 || (family == Family::Blocks && baseline != each) {
        return None;
    }
    let df = match family {
        Family::Welch => return detectable_over_seeds(baseline, each, level / treatments as f64),
        Family::Blocks => treatments * (each - 1),
        Family::Pooled => baseline - 1 + treatments * (each - 1),
    };
    let critical = || Dunnett::new(baseline, &vec![each; treatments], df as f64).critical_value(level);
    let error = libm::sqrt(1.0 / baseline as f64 + 1.0 / each as f64);
    (df > 0).then(|| detectable_beyond(critical(), df as f64) * error)
}

/// The least number of seeds, up to `most`, with which the smallest effect that `detectable` gives for it is no larger than
/// `effect`; `None` if more are needed.
pub fn seeds_needed(effect: f64, most: usize, detectable: impl Fn(usize) -> Option<f64>) -> Option<usize> {
    (1..=most).find(|&seeds| detectable(seeds).is_some_and(|smallest| smallest <= effect))
}

/// Smallest difference of means, in standard deviations over seeds, that [`over_seeds`](super::hypothesis::over_seeds) finds with `first` and `second`
/// values a side that share no seeds; `None` where it does not test.
pub fn detectable_over_seeds(first: usize, second: usize, level: f64) -> Option<f64> {
    if first.min(second) < 2 {
        return None;
    }
    if first == second {
        let n = first as f64;
        return Some(detectable_t(2.0 * n - 2.0, level) * libm::sqrt(2.0 / n));
    }
    // Of unequal numbers the more cautious of two tests counts, which has no closed form.
    let mut random = Random::new(SIMULATED);
    let mut draw = |n: usize| (0..n).map(|_| standard_normal(&mut random)).collect::<Vec<_>>();
    let samples: Vec<[Vec<f64>; 2]> = (0..SIMULATIONS).map(|_| [draw(first), draw(second)]).collect();
    Some(smallest_found(&samples, |[first, second], shift| {
        let shifted: Vec<f64> = second.iter().map(|value| value + shift).collect();
        over_unshared_seeds(first, &shifted).is_some_and(|(_, statistic)| statistic.p_value() <= level)
    }))
}

/// Smallest mean difference within `pairs` shared seeds, in standard deviations of such a difference.
pub fn detectable_in_blocks(pairs: usize, level: f64) -> Option<f64> {
    (pairs > 1).then(|| detectable_t(pairs as f64 - 1.0, level) / libm::sqrt(pairs as f64))
}

/// Smallest mean that [`cluster_test`](super::cluster::cluster_test) finds over `clusters` of one size, in standard errors;
/// `None` where it does not test.
pub fn detectable_over_clusters(clusters: usize, level: f64) -> Option<f64> {
    /// From here on the cautions for few and skewed clusters cost nothing.
    const MANY: usize = 200;
    if clusters < FEWEST_CLUSTERS {
        return None;
    }
    let (n, df) = (clusters as f64, clusters as f64 - 1.0);
    if clusters >= MANY {
        return Some(detectable_t(df, level));
    }
    let mut random = Random::new(SIMULATED);
    // What of a sample the statistic needs: its mean and standard deviation, and its bend.
    let mut draw = || {
        let values: Vec<f64> = (0..clusters).map(|_| standard_normal(&mut random)).collect();
        let centre = mean(&values);
        let residuals: Vec<f64> = values.iter().map(|value| value - centre).collect();
        (centre * libm::sqrt(n), libm::sqrt(variance(&values)), Bend::of(&residuals))
    };
    let samples: Vec<_> = (0..SIMULATIONS).map(|_| draw()).collect();
    let critical = t_quantile(1.0 - level / strictness(clusters) / 2.0, df);
    Some(smallest_found(&samples, |(centre, deviation, bend), shift| {
        let t = (centre + shift) / deviation;
        t.abs() >= critical && bend.apply(t).abs() >= critical
    }))
}

/// The range in which the true standard deviation lies with 95 % probability, given one that was measured with `df` degrees of
/// freedom.
pub fn deviation_range(deviation: f64, df: f64) -> [f64; 2] {
    [1.0 - LEVEL / 2.0, LEVEL / 2.0].map(|p| deviation * libm::sqrt(df / chi_squared_quantile(p, df)))
}

/// Samples of a power that has no closed form, and the key of their stream: the power is known to within 0.7 points.
const SIMULATIONS: usize = 3_000;
const SIMULATED: u64 = 80;

/// The smallest shift of the samples that is found in a share [`POWER`] of them.
fn smallest_found<S>(samples: &[S], found: impl Fn(&S, f64) -> bool) -> f64 {
    let reached = |shift: f64| {
        let count = samples.iter().filter(|sample| found(sample, shift)).count();
        count as f64 / samples.len() as f64 - POWER
    };
    let mut most = 4.0;
    while reached(most) < 0.0 {
        most *= 2.0;
    }
    bisect_coarsely(0.0, most, 1e-3, &reached)
}

/// A standard normal number (Box and Muller 1958, Annals of Mathematical Statistics 29:610).
pub fn standard_normal(random: &mut Random) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - random.uniform()));
    radius * libm::cos(2.0 * std::f64::consts::PI * random.uniform())
}

/// Smallest difference between two shares of `items` items each, near `share`, when the items are not paired
/// (Fleiss, Levin and Paik 2003, Statistical Methods for Rates and Proportions, chapter 4, with equal variances).
pub fn detectable_unpaired_shares(share: f64, items: u64) -> f64 {
    detectable_normal(libm::sqrt(2.0 * share * (1.0 - share) / items as f64), LEVEL)
}

/// Smallest difference between two models' shares of the same `items` items that the exact McNemar test finds when
/// they disagree on a share `discordant` of them; `None` if even full one-sidedness is found too rarely. The power is
/// summed over the binomial number of discordant items (Duffy 1984, Biometrics 40:1005).
pub fn detectable_paired_shares(items: u64, discordant: f64, level: f64) -> Option<f64> {
    let table = CriticalValues::new(items, discordant, level);
    let reached = |difference: f64| table.power(difference / discordant) - POWER;
    // Connor's large-sample answer (1987, Biometrics 43:207) lies just below; it brackets the search.
    let start = detectable_normal(libm::sqrt(discordant / items as f64), level).min(discordant);
    let end = (1.6 * start).min(discordant);
    if discordant <= 0.0 || reached(end) < 0.0 {
        return None;
    }
    Some(bisect_coarsely(0.5 * start, end, 1e-5, &reached))
}

/// Smallest mean difference over the tasks of a group that is found where the models disagree on as many items as here;
/// `None` where they agree on all.
pub fn detectable_stratified(test: &Stratified, level: f64) -> Option<f64> {
    let [spread, step] = test.null;
    (spread > 0.0).then(|| detectable_normal(spread, level) + step)
}

/// Power of the exact McNemar test for a true `difference` with a share `discordant` of the items discordant.
pub fn mcnemar_power(items: u64, discordant: f64, difference: f64) -> f64 {
    CriticalValues::new(items, discordant, LEVEL).power(difference / discordant)
}

/// Each step costs hundreds of binomial tails or thousands of samples, and nobody needs a detectable effect to more than
/// three or four digits.
fn bisect_coarsely(mut low: f64, mut high: f64, relative: f64, rising: &dyn Fn(f64) -> f64) -> f64 {
    while high - low > relative * high {
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
    fn new(df: f64, critical: f64) -> Self {
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
        DeviationGrid { critical, points }
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
    fn new(items: u64, discordant: f64, level: f64) -> Self {
        let (mean, n) = (items as f64 * discordant, items as f64);
        let reach = 7.0 * libm::sqrt(n * discordant * (1.0 - discordant)) + 1.0;
        let (low, high) = ((mean - reach).max(0.0) as u64, ((mean + reach) as u64).min(items));
        let significant = |most: u64, of: u64| 2.0 * binomial_at_least(most, of, 0.5) <= level;
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
            near(detectable_over_seeds(n, n, LEVEL).unwrap(), expected, 1e-7);
        }
        assert_eq!(detectable_over_seeds(1, 3, LEVEL), None);
    }

    #[test]
    fn fractional_degrees_of_freedom_agree_with_scipy() {
        for (df, expected) in [(2.5, 4.741_038_050_1), (7.3, 3.246_758_614_6), (1.0, 16.334_008_869_9)] {
            near(detectable_t(df, LEVEL), expected, 1e-4);
        }
    }

    #[test]
    fn a_corrected_level_asks_for_more() {
        // brentq of scipy's noncentral t integrated over chi, as above, with c = t.ppf(.995, 5)
        near(detectable_t(5.0, 0.01), 5.166827550617389, 1e-4);
        let sample = [0.05, 0.01].map(|level| detectable_over_clusters(20, level).unwrap());
        // 20,000 samples by numpy.random.default_rng(9): 3.14 and 4.15 standard errors
        assert!((3.09..3.19).contains(&sample[0]) && (sample[1] - 4.15).abs() < 0.06, "{sample:?}");
        assert_eq!(detectable_over_clusters(4, LEVEL), None);
    }

    #[test]
    fn effects_of_many_treatments_agree_with_scipy() {
        // brentq over d of nct.sf(c, df, d) + nct.cdf(-c, df, d) - .8 with c from quad over quad, as in the tests of Dunnett's:
        // two treatments in six blocks, eight in three
        let in_blocks =
            |treatments, blocks| detectable_against_baseline(Family::Blocks, blocks, treatments, blocks, 0.05).unwrap();
        let pooled = |treatments, each, level| {
            detectable_against_baseline(Family::Pooled, each, treatments, each, level).unwrap()
        };
        near(in_blocks(2, 6), 3.470_864_056 * libm::sqrt(2.0 / 6.0), 1e-7);
        near(in_blocks(8, 3), 3.875747964 * libm::sqrt(2.0 / 3.0), 1e-7);
        // One treatment is a t test.
        near(pooled(1, 4, 0.05), detectable_over_seeds(4, 4, 0.05).unwrap(), 1e-7);
        near(
            detectable_against_baseline(Family::Blocks, 4, 1, 4, 0.01).unwrap(),
            std::f64::consts::SQRT_2 * detectable_in_blocks(4, 0.01).unwrap(),
            1e-7,
        );
        assert_eq!(
            detectable_against_baseline(Family::Welch, 4, 5, 4, 0.05),
            detectable_over_seeds(4, 4, 0.01),
            "the first of Holm's levels"
        );
        // A larger baseline serves all.
        let larger = detectable_against_baseline(Family::Pooled, 8, 8, 3, 0.05).unwrap();
        assert!(larger < 0.85 * pooled(8, 3, 0.05), "{larger}");
        assert_eq!(detectable_against_baseline(Family::Blocks, 3, 2, 4, 0.05), None, "not the same seeds");
        assert_eq!(detectable_against_baseline(Family::Pooled, 1, 3, 1, 0.05), None);
        assert_eq!(detectable_against_baseline(Family::Blocks, 1, 3, 1, 0.05), None);
    }

    #[test]
    fn seeds_are_needed_until_the_effect_is_found() {
        let detectable = |seeds| detectable_over_seeds(seeds, seeds, LEVEL);
        assert_eq!(seeds_needed(2.03, 20, detectable), Some(5));
        assert_eq!(seeds_needed(2.02, 20, detectable), Some(6));
        assert_eq!(seeds_needed(0.1, 20, detectable), None);
    }

    #[test]
    fn a_deviation_is_known_within_its_chi_squared_range() {
        // 1 / sqrt(scipy.stats.chi2.ppf([.975, .025], 4) / 4)
        let [low, high] = deviation_range(2.0, 4.0);
        near(low, 1.1982662782682818, 1e-10);
        near(high, 5.747111268156439, 1e-10);
    }

    #[test]
    fn shares_agree_with_their_formulas() {
        // (norm.ppf(.975) + norm.ppf(.8)) * sqrt(2 * .24 / 1000): 1,000 items near 60 % accuracy, 6.1 points
        near(detectable_unpaired_shares(0.6, 1000), 0.061_379_656_829_340_15, 1e-12);
        // brentq over the power below, summed with scipy.stats.binom; Connor's approximation for the first is 2.80 points
        for (items, discordant, expected) in
            [(1000, 0.1, 0.028_736_889_6), (200, 0.2, 0.091_163_742_2), (500, 0.3, 0.070_109_750_4)]
        {
            near(detectable_paired_shares(items, discordant, LEVEL).unwrap(), expected, 2e-5);
        }
        assert_eq!(detectable_paired_shares(60, 0.1, LEVEL), None, "six discordant items can hardly be significant");
        assert_eq!(detectable_paired_shares(60, 0.0, LEVEL), None);
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
