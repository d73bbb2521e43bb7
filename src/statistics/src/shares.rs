//! Shares of items that a model answers right: with their errors, against guessing, and between two models on the same
//! items.

use super::LEVEL;
use super::distribution::{bisect, normal_quantile};

/// A share of items with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The share, from 0 to 1.
    pub mean: f64,
    /// Standard error: sqrt(p (1 - p) / (n - 1)), as lm-evaluation-harness computes it (the sample standard
    /// deviation of 0/1 outcomes over sqrt(n)); 0 for a single item.
    pub standard_error: f64,
}

/// What a share says against guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgainstChance {
    /// Its interval lies above.
    Above,
    /// Its interval lies below.
    Below,
    /// Its interval holds chance.
    NotToldApart,
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

impl Share {
    /// Wilson's 95 % interval of a share of `items` items, or of the mean over tasks that have so many together: then for as
    /// many items as a single share of this error would have (Korn and Graubard 1998, Survey Methodology 24:193).
    pub fn interval(&self, items: u64) -> (f64, f64) {
        let squared_error = self.standard_error * self.standard_error;
        let spread = self.mean * (1.0 - self.mean);
        let items = if squared_error > 0.0 && spread > 0.0 { spread / squared_error + 1.0 } else { items as f64 };
        wilson(self.mean, items)
    }

    /// The one rule of this project for "better than guessing": Wilson's 95 % interval lies above `chance`.
    pub fn against_chance(&self, items: u64, chance: f64) -> AgainstChance {
        match self.interval(items) {
            (low, _) if low > chance => AgainstChance::Above,
            (_, high) if high < chance => AgainstChance::Below,
            _ => AgainstChance::NotToldApart,
        }
    }
}

/// Wilson's interval for a share of 95 % coverage (Wilson 1927, JASA 22:209): it stays within 0 and 1 and holds near
/// both, where the share plus or minus two standard errors does not.
fn wilson(share: f64, items: f64) -> (f64, f64) {
    let (z, n) = (normal_quantile(1.0 - LEVEL / 2.0), items);
    let (centre, scale) = (share + z * z / (2.0 * n), 1.0 + z * z / n);
    let reach = z * libm::sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n));
    // At the ends the formula gives 0 and 1 but for rounding, which would tell a score of 0 from a chance of 0.
    let low = if share <= 0.0 { 0.0 } else { (centre - reach) / scale };
    let high = if share >= 1.0 { 1.0 } else { (centre + reach) / scale };
    (low, high)
}

/// Tango's score interval of 95 % for the difference of two models' shares of the same items, second minus first (Tango
/// 1998, Statistics in Medicine 17:891). It has a width also where no item, or every item, is answered differently.
pub fn tango(only_first: u64, only_second: u64, items: u64) -> [f64; 2] {
    let (c, b, n) = (only_first as f64, only_second as f64, items as f64);
    let z = normal_quantile(1.0 - LEVEL / 2.0);
    // How far the difference that was seen lies above `difference`, in standard errors under it.
    let score = |difference: f64| {
        let (linear, constant) = ((2.0 * n - b + c) * difference - b - c, -c * difference * (1.0 - difference));
        let only_first = (libm::sqrt(linear * linear - 8.0 * n * constant) - linear) / (4.0 * n);
        (b - c - n * difference) / libm::sqrt(n * (2.0 * only_first + difference * (1.0 - difference)))
    };
    let seen = (b - c) / n;
    let low = if seen <= -1.0 { -1.0 } else { bisect(-1.0, seen, &|difference| z - score(difference)) };
    let high = if seen >= 1.0 { 1.0 } else { bisect(seen, 1.0, &|difference| -z - score(difference)) };
    [low, high]
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
            (0.6, 100.0, 0.502_002_586_791_061_8, 0.690_598_713_567_541_1),
            (0.0, 20.0, 0.0, 0.161_125_158_052_819_4),
            (1.0, 500.0, 0.992_375_659_538_447_9, 1.0),
        ] {
            let found = wilson(share, items);
            assert!((found.0 - low).abs() < 1e-12 && (found.1 - high).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn wilsons_interval_ends_exactly_where_shares_end() {
        for items in 2..6000 {
            let (none, all) = (wilson(0.0, f64::from(items)), wilson(1.0, f64::from(items)));
            assert!(none.0 == 0.0 && none.1 > 0.0 && all.1 == 1.0 && all.0 < 1.0, "{items}: {none:?} {all:?}");
        }
    }

    #[test]
    fn a_single_share_has_its_own_items() {
        let of = |right: usize| share(&(0..200).map(|i| i < right).collect::<Vec<_>>());
        let (found, expected) = (of(120).interval(200), wilson(0.6, 200.0));
        assert!((found.0 - expected.0).abs() < 1e-12 && (found.1 - expected.1).abs() < 1e-12);
        let told: Vec<AgainstChance> = [60, 100, 113, 115, 200].map(|n| of(n).against_chance(200, 0.5)).to_vec();
        use AgainstChance::{Above, Below, NotToldApart};
        assert_eq!(told, [Below, NotToldApart, NotToldApart, Above, Above]);
        // Ten tasks of 20 items say as much together as one of 200 with that error.
        let tasks = mean_of_shares(&[share(&(0..20).map(|i| i < 12).collect::<Vec<_>>()); 10]);
        assert_eq!(tasks.against_chance(200, 0.5), Above);
    }

    #[test]
    fn tangos_interval_is_the_published_one() {
        // Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33:2850, table IV: airway hyper-responsiveness of 21
        // children before and after transplantation, 1 and 7 discordant
        let found = tango(7, 1, 21);
        assert!((found[0] + 0.517).abs() < 5e-4 && (found[1] + 0.026).abs() < 5e-4, "{found:?}");
        // Without discordant items it ends at z^2 / (n + z^2).
        let none = tango(0, 0, 50);
        let end = 1.959_963_984_540_054_5_f64 * 1.959_963_984_540_054_5;
        assert!((none[1] - end / (50.0 + end)).abs() < 1e-9 && (none[0] + none[1]).abs() < 1e-9, "{none:?}");
        let (one, other) = (tango(3, 12, 100), tango(12, 3, 100));
        assert!((one[0] + other[1]).abs() < 1e-9 && (one[1] + other[0]).abs() < 1e-9);
        assert_eq!(tango(0, 9, 9)[1], 1.0);
    }
}
