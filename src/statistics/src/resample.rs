//! Bootstrap: how much a number would move with other documents, other items, other seeds. Every draw is a function of
//! (key, resample), so any resample can be recomputed on its own and the order of work never reaches a result.

use harness_core::Digest;
use harness_core::random::{self, Purpose, Random};

use super::distribution::{normal_cdf, normal_quantile, t_quantile, t_two_sided};
use super::hypothesis::LEVEL;
use super::{mean, quantile, variance};

/// Resamples of documents or items.
pub const RESAMPLES: usize = 10_000;
/// Resamples of seeds and items together: each costs as much as one for every seed.
pub const NESTED_RESAMPLES: usize = 2_000;

/// What a bootstrap says of an estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Standard deviation over the resamples.
    pub standard_error: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Two-sided p-value for zero: the level at which the interval would just touch it.
    pub p_value: f64,
}

/// The stream of random numbers that belongs to a name, such as a metric's key.
pub fn key(name: &str) -> u64 {
    let digest = Digest::of(name.as_bytes());
    u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("a digest has 32 bytes"))
}

/// Draws of sum(values) / sum(weights) over units drawn with replacement (Efron and Tibshirani 1993, An Introduction
/// to the Bootstrap, chapter 6). With weights of 1 it is a mean; with bytes, a ratio such as bits per byte. For paired
/// data the values are differences, so that what a unit has in common for both sides cancels.
pub fn ratio_draws(values: &[f64], weights: &[f64], key: u64, resamples: usize) -> Vec<f64> {
    let draw = |resample: u64| {
        let mut random = Random::new(random::seed(key, resample, Purpose::Bootstrap));
        let (mut sum, mut weight) = (0.0, 0.0);
        for _ in 0..values.len() {
            let unit = random.below(values.len() as u64) as usize;
            sum += values[unit];
            weight += weights[unit];
        }
        sum / weight
    };
    (0..resamples as u64).map(draw).collect()
}

/// Draws of any statistic over units drawn with replacement; it is given how often each unit was drawn.
pub fn unit_draws(units: usize, key: u64, resamples: usize, statistic: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut times = vec![0.0; units];
    let mut draw = |resample: u64| {
        draw_units(&mut times, key, resample);
        statistic(&times)
    };
    (0..resamples as u64).map(&mut draw).collect()
}

/// Draws of the difference (second minus first) of means over seeds of a ratio of sums over units.
pub fn nested_draws(sides: [&[Vec<f64>]; 2], weights: &[f64], key: u64, resamples: usize) -> Vec<f64> {
    let over = |values: &[f64], times: &[f64]| values.iter().zip(times).map(|(value, n)| value * n).sum::<f64>();
    let ratio = |side: usize, run: usize, times: &[f64]| over(&sides[side][run], times) / over(weights, times);
    nested_draws_of(sides.map(<[Vec<f64>]>::len), weights.len(), key, resamples, ratio)
}

/// Draws of the difference (second minus first) of means over seeds of any statistic of a run over units: it is given
/// side, run and how often each unit was drawn. Seeds are drawn on each side and then units. Every run has a value for
/// every unit, so the same units are drawn for all: the bootstrap of both factors of a crossed design, which errs on
/// the wide side (Owen 2007, The Pigeonhole Bootstrap, Annals of Applied Statistics 1:386). The seeds drawn depend on
/// the resample only: metrics of the same runs move together, as they do between trainings.
pub fn nested_draws_of(
    runs: [usize; 2],
    units: usize,
    key: u64,
    resamples: usize,
    statistic: impl Fn(usize, usize, &[f64]) -> f64,
) -> Vec<f64> {
    let mut times = vec![0.0; units];
    let mut draw = |resample: u64| {
        let mut seeds = Random::new(random::seed(0, resample, Purpose::Bootstrap));
        let chosen =
            runs.map(|count| -> Vec<usize> { (0..count).map(|_| seeds.below(count as u64) as usize).collect() });
        draw_units(&mut times, key, resample);
        let side = |side: usize| {
            let values = chosen[side].iter().map(|&run| statistic(side, run, &times));
            values.sum::<f64>() / chosen[side].len() as f64
        };
        side(1) - side(0)
    };
    (0..resamples as u64).map(&mut draw).collect()
}

/// Fills in how often each unit is drawn in one resample.
fn draw_units(times: &mut [f64], key: u64, resample: u64) {
    let mut random = Random::new(random::seed(key, resample, Purpose::Bootstrap));
    times.fill(0.0);
    (0..times.len()).for_each(|_| times[random.below(times.len() as u64) as usize] += 1.0);
}

/// The percentile interval of `draws`, expanded for few units: the percentiles are those that give Student's interval
/// for a mean of `units` values (Hesterberg 2015, What Teachers Should Know About the Bootstrap, The American
/// Statistician 69:371). `df` is `units - 1`, or fewer where several sides share the spread.
pub fn expanded_percentiles(draws: &[f64], units: usize, df: f64) -> Interval {
    let units = units as f64;
    let narrowness = libm::sqrt((units - 1.0) / units);
    let tail = normal_cdf(t_quantile(LEVEL / 2.0, df) / narrowness);
    // Half of the draws at zero count for either side; one draw is added to each, so that p is never 0.
    let below = draws
        .iter()
        .map(|&d| {
            if d < 0.0 {
                1.0
            } else if d == 0.0 {
                0.5
            } else {
                0.0
            }
        })
        .sum::<f64>();
    let share = (below.min(draws.len() as f64 - below) + 0.5) / (draws.len() as f64 + 1.0);
    let z = normal_quantile(share.min(0.5));
    Interval {
        standard_error: libm::sqrt(variance(draws)) / narrowness,
        low: quantile(draws, tail),
        high: quantile(draws, 1.0 - tail),
        p_value: t_two_sided(z * narrowness, df),
    }
}

/// Draw by draw the unweighted mean over several metrics, as for a group of tasks.
pub fn mean_of_draws(draws: &[&[f64]]) -> Vec<f64> {
    let count = draws.first().map_or(0, |d| d.len());
    (0..count).map(|index| mean(&draws.iter().map(|d| d[index]).collect::<Vec<_>>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> (Vec<f64>, Vec<f64>) {
        let x = || (1..=30).map(f64::from);
        (x().map(|x| libm::sin(x * 1.7) + x * 0.05).collect(), x().map(|x| 1.0 + x % 3.0).collect())
    }

    #[test]
    fn the_bootstrap_of_a_ratio_agrees_with_numpy() {
        // x = arange(1, 31); y = sin(1.7 x) + .05 x; w = 1 + x % 3; a million resamples of sum(y)/sum(w) by
        // numpy.random.default_rng(1): deviation 0.08166, quantiles [.025, .975] = 0.2451, 0.5658; at the expanded
        // tail norm.cdf(-sqrt(30/29) t.ppf(.975, 29)) = 0.018754: 0.2365, 0.5774
        let (values, weights) = series();
        let draws = ratio_draws(&values, &weights, key("test"), RESAMPLES);
        let found = expanded_percentiles(&draws, 30, 29.0);
        for (found, expected) in [
            (found.standard_error * libm::sqrt(29.0 / 30.0), 0.081_66),
            (quantile(&draws, 0.025), 0.245_1),
            (quantile(&draws, 0.975), 0.565_8),
            (found.low, 0.236_5),
            (found.high, 0.577_4),
        ] {
            assert!((found - expected).abs() < 0.006, "{found} is not {expected}");
        }
        assert_eq!(draws, ratio_draws(&values, &weights, key("test"), RESAMPLES), "the same draws each time");
        assert_eq!(draws[..10], ratio_draws(&values, &weights, key("test"), 10), "each draw stands alone");
    }

    #[test]
    fn any_statistic_is_drawn_from_the_same_units() {
        let (values, weights) = series();
        let over = |times: &[f64], of: &[f64]| times.iter().zip(of).map(|(n, v)| n * v).sum::<f64>();
        let any = unit_draws(30, 9, 50, |times| over(times, &values) / over(times, &weights));
        let ratio = ratio_draws(&values, &weights, 9, 50);
        assert!(any.iter().zip(&ratio).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn interval_and_p_value_say_the_same() {
        let (mut values, weights) = (series().0, vec![1.0; 30]);
        let low = expanded_percentiles(&ratio_draws(&values, &weights, 7, RESAMPLES), 30, 29.0).low;
        values.iter_mut().for_each(|v| *v -= low);
        let touching = expanded_percentiles(&ratio_draws(&values, &weights, 7, RESAMPLES), 30, 29.0);
        assert!(touching.low.abs() < 1e-12 && (touching.p_value - 0.05).abs() < 0.002, "{touching:?}");
    }

    #[test]
    fn the_bootstrap_over_seeds_and_units_agrees_with_numpy() {
        // 200,000 resamples by numpy.random.default_rng(1) (2.4.6): times = multinomial(30, 1/30), seeds by integers(0,
        // runs, runs) on each side, mean over the drawn runs of (run @ times) / (weights @ times), second minus first
        let units = || (0..30).map(f64::from);
        let hard = |u: f64| libm::sin(1.7 * u) + 0.05 * u;
        let left = |r: f64, u: f64| hard(u) + 0.3 * libm::cos(2.3 * r) + 0.2 * libm::sin(u * (r + 1.0));
        let right = |r: f64, u: f64| hard(u) + 0.4 * libm::cos(1.1 * r) + 0.2 * libm::cos(u * (r + 2.0)) - 0.1;
        let runs = |count: u32, of: &dyn Fn(f64, f64) -> f64| -> Vec<Vec<f64>> {
            (0..count).map(|r| units().map(|u| of(f64::from(r), u)).collect()).collect()
        };
        let (first, second) = (runs(3, &left), runs(4, &right));
        let weights: Vec<f64> = units().map(|u| 1.0 + u % 3.0).collect();
        let draws = nested_draws([&first, &second], &weights, 5, 20_000);
        for (found, expected) in [
            (libm::sqrt(variance(&draws)), 0.102_31),
            (quantile(&draws, 0.025), -0.268_84),
            (quantile(&draws, 0.5), -0.066_72),
            (quantile(&draws, 0.975), 0.130_53),
        ] {
            assert!((found - expected).abs() < 0.006, "{found} is not {expected}");
        }
    }

    #[test]
    fn seeds_that_agree_leave_the_spread_of_the_items() {
        let (values, weights) = (series().0, vec![1.0; 30]);
        let zeros = vec![0.0; 30];
        let nested = nested_draws([&[zeros.clone(), zeros], &[values.clone(), values.clone()]], &weights, 3, 4_000);
        let plain = ratio_draws(&values, &weights, 3, 4_000);
        let ratio = variance(&nested) / variance(&plain);
        assert!((ratio - 1.0).abs() < 0.08, "{ratio}");
    }
}
