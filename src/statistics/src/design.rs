//! One variance for a whole study: randomised complete blocks, where every treatment ran with the same seeds, or groups of
//! their own seeds. And whether groups do share a variance.

use super::distribution::{chi_squared_at_least, f_at_least};
use super::hypothesis::{TTest, t_test};
use super::{mean, quantile, variance};

/// Treatments with their means and the one variance around them.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Mean of each treatment.
    pub means: Vec<f64>,
    /// Values of each treatment.
    pub counts: Vec<usize>,
    /// Variance of a single value within its treatment, and within its block where there are blocks.
    pub variance: f64,
    /// Degrees of freedom of the variance.
    pub df: f64,
}

/// Randomised complete blocks (Fisher 1935, The Design of Experiments, chapter 4): value k of every treatment is of block k,
/// such as seed k. With K treatments and n blocks the variance has (K - 1)(n - 1) degrees of freedom; what a block adds to all
/// treatments alike is no part of it. `None` unless there are two treatments with the same number of values, two at least,
/// all finite, and the treatments do not differ by the same in every block.
pub fn blocks(treatments: &[Vec<f64>]) -> Option<Design> {
    let n = treatments.first()?.len();
    if treatments.len() < 2 || n < 2 || treatments.iter().any(|values| values.len() != n) {
        return None;
    }
    let of_blocks: Vec<f64> =
        (0..n).map(|k| mean(&treatments.iter().map(|values| values[k]).collect::<Vec<_>>())).collect();
    let centre = mean(&of_blocks);
    let residual = |values: &Vec<f64>| {
        let own = mean(values);
        values.iter().zip(&of_blocks).map(|(value, block)| value - own - block + centre).map(|r| r * r).sum::<f64>()
    };
    let squares = treatments.iter().map(residual).sum();
    Design::of(treatments, squares, ((treatments.len() - 1) * (n - 1)) as f64)
}

/// Groups with values of their own and one variance, with the sum of n - 1 over the groups as degrees of freedom (one-way
/// analysis of variance: Fisher 1925, Statistical Methods for Research Workers, chapter 7). A group of one value adds nothing
/// to the variance. `None` unless there are two groups, all with values, all finite, and some value differs within a group.
pub fn one_way(groups: &[Vec<f64>]) -> Option<Design> {
    if groups.len() < 2 || groups.iter().any(Vec::is_empty) {
        return None;
    }
    let squares = |values: &Vec<f64>| {
        let own = mean(values);
        values.iter().map(|value| (value - own) * (value - own)).sum::<f64>()
    };
    let df = groups.iter().map(|values| values.len() - 1).sum::<usize>() as f64;
    Design::of(groups, groups.iter().map(squares).sum(), df)
}

impl Design {
    fn of(treatments: &[Vec<f64>], squares: f64, df: f64) -> Option<Self> {
        let variance = squares / df;
        (variance > 0.0 && variance.is_finite()).then(|| Design {
            means: treatments.iter().map(|values| mean(values)).collect(),
            counts: treatments.iter().map(Vec::len).collect(),
            variance,
            df,
        })
    }

    /// The error of a difference of two means: in blocks that of a mean of differences, since the blocks cancel.
    pub fn standard_error(&self, first: usize, second: usize) -> f64 {
        libm::sqrt(self.variance * (1.0 / self.counts[first] as f64 + 1.0 / self.counts[second] as f64))
    }

    /// The t test of one difference, `second` minus `first`, with its interval at a `level`: for a comparison that was the only
    /// one planned. For several against one baseline see [`super::dunnett`].
    pub fn contrast(&self, first: usize, second: usize, level: f64) -> TTest {
        t_test(self.means[second] - self.means[first], self.standard_error(first, second), self.df, level)
    }
}

/// A test of whether groups have one variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Homogeneity {
    /// Chi-squared for Bartlett's test, F for that of Brown and Forsythe.
    pub statistic: f64,
    /// How likely it is to be as large where the variances are one.
    pub p_value: f64,
}

/// Bartlett's test (Bartlett 1937, Proceedings of the Royal Society A 160:268): powerful, and misled by heavy tails. `None`
/// unless there are two groups, all of two values at least, all finite, with some spread in each.
pub fn bartlett(groups: &[Vec<f64>]) -> Option<Homogeneity> {
    let parts: Vec<(f64, f64)> = groups.iter().map(|values| (values.len() as f64 - 1.0, variance(values))).collect();
    if parts.len() < 2 || parts.iter().any(|&(df, variance)| df < 1.0 || !(variance > 0.0 && variance.is_finite())) {
        return None;
    }
    let k = parts.len() as f64 - 1.0;
    let df: f64 = parts.iter().map(|(df, _)| df).sum();
    let pooled = parts.iter().map(|(df, variance)| df * variance).sum::<f64>() / df;
    let ratio = parts.iter().map(|(df, variance)| df * libm::log(pooled / variance)).sum::<f64>();
    let correction = 1.0 + (parts.iter().map(|(df, _)| 1.0 / df).sum::<f64>() - 1.0 / df) / (3.0 * k);
    let statistic = ratio / correction;
    Some(Homogeneity { statistic, p_value: chi_squared_at_least(statistic, k) })
}

/// The test of Brown and Forsythe (1974, JASA 69:364): one-way analysis of the distances from each group's median, which heavy
/// tails hardly mislead. With two values a group it can tell nothing, and with three little. `None` unless there are two
/// groups, all with values, all finite, and some distance differs within a group.
pub fn brown_forsythe(groups: &[Vec<f64>]) -> Option<Homogeneity> {
    let distances = |values: &Vec<f64>| {
        let median = quantile(values, 0.5);
        values.iter().map(|value| (value - median).abs()).collect::<Vec<_>>()
    };
    if groups.iter().any(|values| values.len() < 3 || values.iter().any(|value| !value.is_finite())) {
        return None;
    }
    let distances: Vec<Vec<f64>> = groups.iter().map(distances).collect();
    let within = one_way(&distances)?;
    let centre = mean(&distances.concat());
    let between =
        within.means.iter().zip(&within.counts).map(|(mean, &n)| n as f64 * (mean - centre) * (mean - centre));
    let k = groups.len() as f64 - 1.0;
    let statistic = between.sum::<f64>() / k / within.variance;
    Some(Homogeneity { statistic, p_value: f_at_least(statistic, k, within.df) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypothesis::{LEVEL, blocks as paired, pooled_t};
    use crate::near;

    fn equal() -> Vec<Vec<f64>> {
        vec![vec![1.231, 1.228, 1.235, 1.229], vec![1.221, 1.226, 1.219, 1.224], vec![1.240, 1.233, 1.229, 1.236]]
    }

    fn unequal() -> Vec<Vec<f64>> {
        vec![vec![1.231, 1.228, 1.235, 1.229], vec![1.221, 1.226, 1.219], vec![1.240, 1.233, 1.229, 1.236, 1.25]]
    }

    #[test]
    fn blocks_agree_with_numpy() {
        // A = numpy.array(equal()); r = A - A.mean(0) - A.mean(1, keepdims=True) + A.mean(); (r ** 2).sum() / 6
        let found = blocks(&equal()).unwrap();
        near(found.variance, 1.808_333_333_333_308_6e-5, 1e-10);
        assert_eq!((found.df, &found.counts), (6.0, &vec![4; 3]));
        near(found.means[2], 1.2345, 1e-12);
        let two = blocks(&equal()[..2]).unwrap().contrast(0, 1, LEVEL);
        let pairs = paired(&equal()[0], &equal()[1]).unwrap();
        near(two.p_value, pairs.p_value, 1e-9);
        near(two.low, pairs.low, 1e-9);
    }

    #[test]
    fn groups_agree_with_numpy() {
        // sum(((g - g.mean()) ** 2).sum() for g in groups) / 9
        let found = one_way(&unequal()).unwrap();
        near(found.variance, 3.466_111_111_111_082e-5, 1e-10);
        assert_eq!(found.df, 9.0);
        let two = one_way(&unequal()[..2]).unwrap().contrast(0, 1, LEVEL);
        near(two.p_value, pooled_t(&unequal()[0], &unequal()[1]).unwrap().p_value, 1e-9);
    }

    #[test]
    fn homogeneity_agrees_with_scipy() {
        // scipy.stats.bartlett(*groups), scipy.stats.levene(*groups, center="median")
        let held = |found: Homogeneity, statistic: f64, p_value: f64| {
            near(found.statistic, statistic, 1e-9);
            near(found.p_value, p_value, 1e-9);
        };
        held(bartlett(&equal()).unwrap(), 0.612_181_190_916_781, 0.736_319_909_194_626_9);
        held(bartlett(&unequal()).unwrap(), 2.879_728_690_829_480_4, 0.236_959_901_199_052_93);
        held(brown_forsythe(&equal()).unwrap(), 0.512_195_121_951_160_6, 0.615_645_131_269_817);
        held(brown_forsythe(&unequal()).unwrap(), 1.055_691_106_502_348, 0.387_377_954_530_593);
    }

    #[test]
    fn pairs_of_values_tell_nothing_of_how_far_deviations_differ() {
        // In floating point the two of a pair are not quite as far from their median, so that p would be nearly 0.
        let pairs = vec![vec![1.0432, 1.0961], vec![0.9421, 0.9381], vec![1.0541, 1.0893]];
        assert_eq!(brown_forsythe(&pairs), None);
        assert!(brown_forsythe(&pairs.iter().map(|pair| [&pair[..], &[1.0]].concat()).collect::<Vec<_>>()).is_some());
    }

    #[test]
    fn what_says_nothing_has_no_variance() {
        assert_eq!(blocks(&[vec![1.0, 2.0], vec![2.0, 3.0]]), None, "the same difference in every block");
        assert_eq!(blocks(&[vec![1.0, 2.0], vec![2.0]]), None);
        assert_eq!(blocks(&[vec![1.0], vec![2.0]]), None);
        assert_eq!(one_way(&[vec![1.0, 2.0]]), None, "nothing to compare with");
        assert_eq!(one_way(&[vec![1.0], vec![2.0]]), None);
        for bad in [f64::NAN, f64::INFINITY] {
            let groups = [vec![1.0, bad, 2.0], vec![2.0, 3.5, 3.0]];
            assert_eq!((blocks(&groups), one_way(&groups)), (None, None));
            assert_eq!((bartlett(&groups), brown_forsythe(&groups)), (None, None));
        }
    }
}
