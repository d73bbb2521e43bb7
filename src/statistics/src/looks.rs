//! Looks that were declared before: at which level each may be judged, so that the chance of any false finding over all of them
//! stays at the level. A p-value at a look counts where it is at most the nominal level of that look.
//!
//! The levels come from the law of a mean of normal values whose variance is known. They are used for t tests by their p-values;
//! how far that holds for three to eight seeds was simulated (docs/statistics.md).

use super::distribution::{bisect, normal_cdf, normal_quantile};

/// How much of the level has been spent when a share of all values is there (Lan and DeMets 1983, Biometrika 70:659).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spending {
    /// Hardly anything at early looks, after O'Brien and Fleming (1979, Biometrics 35:549).
    OBrienFleming,
    /// About as much at every look, after Pocock (1977).
    Pocock,
}

impl Spending {
    /// Of the two-sided `level`, when the `share` of the values, above 0 and up to 1, is there. Each side spends half of it by the
    /// one-sided formula.
    pub fn spent(self, share: f64, level: f64) -> f64 {
        match self {
            Spending::OBrienFleming => 2.0 * two_sided(normal_quantile(1.0 - level / 4.0) / libm::sqrt(share)),
            Spending::Pocock => level * libm::log1p((std::f64::consts::E - 1.0) * share),
        }
    }
}

/// The nominal level of each of the `looks`, given as the number of values at each, rising, of `most` values planned: the looks
/// need not be planned, only the spending and `most`. Where the last look is at `most`, the whole level is spent.
pub fn nominal_levels(looks: &[usize], most: usize, spending: Spending, level: f64) -> Vec<f64> {
    assert!(looks.last().is_none_or(|&last| last <= most), "no look after the last value");
    let mut walk = Walk::new(looks);
    let mut spent = 0.0;
    let mut levels = Vec::new();
    for &look in looks {
        let until_now = spending.spent(look as f64 / most as f64, level);
        let critical = bisect(0.0, FARTHEST, &|critical| until_now - spent - walk.beyond(look, critical));
        levels.push(two_sided(critical));
        walk.go_on(look, critical);
        spent = until_now;
    }
    levels
}

/// The one nominal level of all `looks`, given as the number of values at each, rising: the lower of Pocock's for as many looks at
/// equal distances (1977, Biometrika 64:191) and, by the same integral, for these. Looks that come close allow more to normal
/// values, .0307 for three and five, but not to t tests of so few seeds, whose deviation is estimated anew: those would call
/// 5.4 % of nothing a difference.
pub fn pocock(looks: &[usize], level: f64) -> f64 {
    let same = |looks: &[usize]| {
        let overall = |critical: f64| level - overall_level(looks, &vec![two_sided(critical); looks.len()]);
        two_sided(bisect(0.0, FARTHEST, &overall))
    };
    same(looks).min(same(&(1..=looks.len()).collect::<Vec<_>>()))
}

/// The chance of a false finding over all `looks`, rising, that are judged at these nominal levels.
pub fn overall_level(looks: &[usize], nominal: &[f64]) -> f64 {
    assert_eq!(looks.len(), nominal.len(), "a level for each look");
    let mut walk = Walk::new(looks);
    let at = |(&look, &level): (&usize, &f64)| {
        let critical = -normal_quantile(level / 2.0);
        let crossed = walk.beyond(look, critical);
        walk.go_on(look, critical);
        crossed
    };
    looks.iter().zip(nominal).map(at).sum()
}

/// No critical value lies beyond: its level is below 1e-300.
const FARTHEST: f64 = 38.0;

fn two_sided(critical: f64) -> f64 {
    2.0 * normal_cdf(-critical)
}

/// The sum of standard normal values, as far as no look has found anything (Armitage, McPherson and Rowe 1969, Journal of the
/// Royal Statistical Society A 132:235).
struct Walk {
    /// Values so far.
    size: usize,
    /// Sums and their probabilities: density times Simpson's weight.
    points: Vec<(f64, f64)>,
    step: f64,
}

impl Walk {
    fn new(looks: &[usize]) -> Self {
        const STEPS_A_DEVIATION: f64 = 12.0;
        let distances = std::iter::once(&0).chain(looks).zip(looks).map(|(before, after)| {
            assert!(after > before, "looks rise");
            after - before
        });
        let step = libm::sqrt(distances.min().unwrap_or(1) as f64) / STEPS_A_DEVIATION;
        Walk { size: 0, points: vec![(0.0, 1.0)], step }
    }

    fn deviation(&self, look: usize) -> f64 {
        libm::sqrt((look - self.size) as f64)
    }

    /// The chance that nothing was found before this look and the statistic is beyond `critical` at it.
    fn beyond(&self, look: usize, critical: f64) -> f64 {
        let (deviation, end) = (self.deviation(look), critical * libm::sqrt(look as f64));
        let tails = |x: f64| normal_cdf((x - end) / deviation) + normal_cdf((-x - end) / deviation);
        self.points.iter().map(|&(x, weight)| weight * tails(x)).sum()
    }

    /// On to the sums within `critical` at this look.
    fn go_on(&mut self, look: usize, critical: f64) {
        // Beyond nine deviations there is nothing.
        let (deviation, end) = (self.deviation(look), critical.min(9.0) * libm::sqrt(look as f64));
        let pairs = libm::ceil(end / self.step).max(1.0) as u32;
        let width = end / f64::from(pairs);
        let density = |y: f64| {
            let of = |&(x, weight): &(f64, f64)| {
                let z = (y - x) / deviation;
                weight * libm::exp(-0.5 * z * z)
            };
            self.points.iter().map(of).sum::<f64>() / (deviation * libm::sqrt(2.0 * std::f64::consts::PI))
        };
        let point = |i: u32| {
            let y = -end + width * f64::from(i);
            let simpson = if i == 0 || i == 2 * pairs { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
            (y, simpson * width / 3.0 * density(y))
        };
        (self.size, self.points) = (look, (0..=2 * pairs).map(point).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::within;

    #[test]
    fn pococks_levels_are_the_published_ones() {
        // Pocock (1977), table 1: two to five equally distant looks, 5 % and 1 %
        for (looks, five, one) in [(2, 0.0294, 0.0056), (3, 0.0221, 0.0041), (4, 0.0182, 0.0033), (5, 0.0158, 0.0028)] {
            let looks: Vec<usize> = (1..=looks).collect();
            within(pocock(&looks, 0.05), five, 5e-5);
            within(pocock(&looks, 0.01), one, 1e-4);
        }
        within(pocock(&[7], 0.05), 0.05, 1e-12);
    }

    #[test]
    fn unequal_looks_agree_with_scipy() {
        // 2 * norm.sf(c) with brentq over 1 - scipy.stats.multivariate_normal.cdf with correlations sqrt(n_i / n_j)
        for (looks, level) in
            [(vec![3, 5], 0.030_732_507), (vec![3, 5, 8], 0.022_481_999), (vec![3, 5, 8, 12], 0.017_931_533)]
        {
            within(overall_level(&looks, &vec![level; looks.len()]), 0.05, 1e-6);
        }
        within(pocock(&[3, 5], 0.05), 0.0294, 5e-5);
        within(pocock(&[3, 5, 8], 0.05), 0.0221, 5e-5);
        within(pocock(&[3, 5, 8, 12], 0.05), 0.017_931_533, 1e-6);
    }

    #[test]
    fn spending_agrees_with_scipy() {
        // the same for one look after the other, with the levels spent by each formula
        for (spending, expected) in [
            (Spending::OBrienFleming, [0.00050405, 0.00898965, 0.04709901]),
            (Spending::Pocock, [0.024_867_431, 0.019_241_990, 0.022_653_220]),
        ] {
            let levels = nominal_levels(&[3, 5, 8], 8, spending, 0.05);
            levels.iter().zip(expected).for_each(|(&level, expected)| within(level, expected, 1e-6));
        }
        // O'Brien-Fleming type at 1/5, ..., 1: the critical values of Lan and DeMets, as
        // every table of two-sided ones has them
        let levels = nominal_levels(&[1, 2, 3, 4, 5], 5, Spending::OBrienFleming, 0.05);
        for (level, expected) in levels.iter().zip([4.8769, 3.3569, 2.6803, 2.2898, 2.0310]) {
            within(normal_quantile(1.0 - level / 2.0), expected, 2e-4);
        }
    }

    #[test]
    fn what_is_spent_is_the_level() {
        for spending in [Spending::OBrienFleming, Spending::Pocock] {
            let levels = nominal_levels(&[3, 4, 8, 20], 20, spending, 0.05);
            within(overall_level(&[3, 4, 8, 20], &levels), 0.05, 1e-9);
            let early = nominal_levels(&[3, 4], 20, spending, 0.05);
            within(overall_level(&[3, 4], &early), spending.spent(0.2, 0.05), 1e-9);
            assert!(early.iter().zip(&levels).all(|(a, b)| (a - b).abs() < 1e-9), "what comes later changes nothing");
        }
        // Two looks at 5 % each: Armitage, McPherson and Rowe (1969), table 2: 8.3 %, five: 14.2 %
        within(overall_level(&[1, 2], &[0.05; 2]), 0.083, 5e-4);
        within(overall_level(&[1, 2, 3, 4, 5], &[0.05; 5]), 0.142, 5e-4);
    }
}
