//! Statistics as functions from numbers to numbers. `libm` gives the same bits on every machine.

use harness_core::scores::ChoiceScore;

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

/// Whether each item was answered right: the choice with the largest `score`, ties to the lowest index (as numpy's
/// argmax). Rows must be in the order of item and choice.
pub fn right_choices(rows: &[ChoiceScore], score: impl Fn(&ChoiceScore) -> f64) -> Vec<bool> {
    rows.chunk_by(|a, b| a.item == b.item)
        .map(|choices| {
            let mut best = &choices[0];
            choices.iter().for_each(|c| {
                if score(c) > score(best) {
                    best = c;
                }
            });
            best.gold
        })
        .collect()
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
    let (n, k) = (only_first + only_second, only_first.min(only_second));
    let ln_choose = |i: u64| libm::lgamma(n as f64 + 1.0) - libm::lgamma(i as f64 + 1.0) - libm::lgamma((n - i) as f64 + 1.0);
    let tail: f64 = (0..=k).map(|i| libm::exp(ln_choose(i) - n as f64 * std::f64::consts::LN_2)).sum();
    McNemar { only_first, only_second, p_value: (2.0 * tail).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(scores: &[(u64, &[f64])]) -> Vec<ChoiceScore> {
        let row = |item: u64, choice: usize, log_probability_nats: f64| ChoiceScore {
            item,
            choice: choice as u32,
            gold: choice == 0,
            characters: choice as u64 + 1,
            tokens: 1,
            log_probability_nats,
            greedy: false,
        };
        scores.iter().flat_map(|(item, s)| s.iter().enumerate().map(move |(c, &x)| row(*item, c, x))).collect()
    }

    #[test]
    fn ties_go_to_the_lowest_index() {
        let rows = rows(&[(0, &[-1.0, -1.0]), (1, &[-2.0, -1.0]), (2, &[-1.0, -2.0])]);
        assert_eq!(right_choices(&rows, |r| r.log_probability_nats), [true, false, true]);
        assert_eq!(right_choices(&rows, |r| r.log_probability_nats / r.characters as f64), [false, false, true]);
    }

    #[test]
    fn the_standard_error_is_the_harness_one() {
        // numpy: std([1]*6+[0]*4, ddof=1)/sqrt(10) = 0.16329931618554522
        let share = share(&[true, true, true, true, true, true, false, false, false, false]);
        assert!((share.standard_error - 0.163_299_316_185_545_22).abs() < 1e-15);
    }

    #[test]
    fn mcnemar_agrees_with_scipy() {
        // scipy.stats.binomtest(3, 12, 0.5).pvalue = 0.14599609375
        let first: Vec<bool> = (0..40).map(|i| i < 3 || i >= 20).collect();
        let second: Vec<bool> = (0..40).map(|i| (3..12).contains(&i) || i >= 20).collect();
        let test = mcnemar(&first, &second);
        assert_eq!((test.only_first, test.only_second), (3, 9));
        assert!((test.p_value - 0.145_996_093_75).abs() < 1e-12, "{}", test.p_value);
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
