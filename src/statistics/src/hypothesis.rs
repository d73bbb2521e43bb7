//! Tests of a difference between two sides: over seeds (blocks, pooled t, Welch's t, by one rule), over items (exact
//! McNemar, also over the tasks of a group), and the correction for testing a family of metrics (Holm). Nothing that is not
//! finite is tested. Tests over documents are in [`super::cluster`].

pub use super::LEVEL;
use super::distribution::{binomial_at_least, f_at_least, normal_cdf, t_quantile, t_two_sided};
use super::shares::tango;
use super::{mean, variance};

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
    /// Lower end of the interval: the 95 % one, unless a level was given.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Which test of a difference of means over seeds was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedTest {
    /// Differences within the seeds that both sides share.
    Blocks,
    /// One variance for both sides.
    Pooled,
    /// A variance for each side.
    Welch,
}

/// The test of a difference of means over seeds, by a rule that is known before the results: blocks where both sides share
/// their list of seeds (`first` and `second` are then in the order of that list); else the pooled t, but Welch's where the
/// variances differ by more than a factor of [`FARTHEST_VARIANCES`] and the F test tells them apart at 1 %. The pooled t holds its
/// level against unequal variances only for equal numbers, so for unequal numbers the more cautious of the two counts.
/// `None` unless each side has two values, all of them finite, and some value differs.
pub fn over_seeds(first: &[f64], second: &[f64], shared: bool) -> Option<(SeedTest, TTest)> {
    if shared {
        return Some((SeedTest::Blocks, blocks(first, second)?));
    }
    let (test, statistic) = over_unshared_seeds(first, second)?;
    Some((test, statistic.test(LEVEL)))
}

/// The same for seeds that are not shared, without its interval, which takes most of the time.
pub(crate) fn over_unshared_seeds(first: &[f64], second: &[f64]) -> Option<(SeedTest, TStatistic)> {
    let (pooled, welch) = (pooled_statistic(first, second)?, welch_statistic(first, second)?);
    let by_variance = [variance(first), variance(second)];
    let (larger, smaller) = if by_variance[0] > by_variance[1] { (0, 1) } else { (1, 0) };
    let df = [first.len() as f64 - 1.0, second.len() as f64 - 1.0];
    let ratio = by_variance[larger] / by_variance[smaller];
    let far = ratio > FARTHEST_VARIANCES && 2.0 * f_at_least(ratio, df[larger], df[smaller]) <= 0.01;
    let cautious = first.len() != second.len() && welch.p_value() > pooled.p_value();
    Some(if far || cautious { (SeedTest::Welch, welch) } else { (SeedTest::Pooled, pooled) })
}

/// The ratio of variances, a factor of 3 in the standard deviation, beyond which two sides do not share one.
pub const FARTHEST_VARIANCES: f64 = 9.0;

/// The t test of paired differences: two treatments in randomised blocks (Fisher 1935, The Design of Experiments, chapter
/// 4). `None` for fewer than two pairs, or where every difference is the same.
pub fn blocks(first: &[f64], second: &[f64]) -> Option<TTest> {
    assert_eq!(first.len(), second.len(), "paired seeds");
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| b - a).collect();
    let error = libm::sqrt(variance(&differences) / differences.len() as f64);
    (differences.len() > 1 && error > 0.0 && error.is_finite())
        .then(|| t_test(mean(&differences), error, differences.len() as f64 - 1.0, LEVEL))
}

/// Welch's t test for unequal variances, with the degrees of freedom of Welch and Satterthwaite (Welch 1947,
/// Biometrika 34:28). `None` unless each side has two values and some value differs within a side.
pub fn welch(first: &[f64], second: &[f64]) -> Option<TTest> {
    welch_statistic(first, second).map(|statistic| statistic.test(LEVEL))
}

fn welch_statistic(first: &[f64], second: &[f64]) -> Option<TStatistic> {
    let parts = [first, second].map(|values| (variance(values) / values.len() as f64, values.len() as f64 - 1.0));
    let squared_error: f64 = parts.iter().map(|(part, _)| part).sum();
    if parts.iter().any(|(_, df)| *df < 1.0) || !(squared_error > 0.0 && squared_error.is_finite()) {
        return None;
    }
    let df = squared_error * squared_error / parts.iter().map(|(part, df)| part * part / df).sum::<f64>();
    let (difference, standard_error) = (mean(second) - mean(first), libm::sqrt(squared_error));
    Some(TStatistic { difference, standard_error, df })
}

/// Student's t test with one pooled variance. `None` unless each side has two values and some value differs within a side.
pub fn pooled_t(first: &[f64], second: &[f64]) -> Option<TTest> {
    pooled_statistic(first, second).map(|statistic| statistic.test(LEVEL))
}

fn pooled_statistic(first: &[f64], second: &[f64]) -> Option<TStatistic> {
    let counts = [first.len() as f64, second.len() as f64];
    let standard_error = pooled_deviation(first, second)? * libm::sqrt(1.0 / counts[0] + 1.0 / counts[1]);
    let (difference, df) = (mean(second) - mean(first), counts[0] + counts[1] - 2.0);
    (standard_error > 0.0 && standard_error.is_finite()).then_some(TStatistic { difference, standard_error, df })
}

/// The standard deviation within two sides, taken to be one for both. `None` unless each side has two values.
pub fn pooled_deviation(first: &[f64], second: &[f64]) -> Option<f64> {
    let squares = [first, second].map(|v| (v.len() > 1).then(|| variance(v) * (v.len() as f64 - 1.0)));
    Some(libm::sqrt((squares[0]? + squares[1]?) / ((first.len() + second.len()) as f64 - 2.0)))
}

/// What a t test is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TStatistic {
    difference: f64,
    standard_error: f64,
    df: f64,
}

impl TStatistic {
    /// Two-sided.
    pub(crate) fn p_value(&self) -> f64 {
        t_two_sided(self.difference / self.standard_error, self.df)
    }

    fn test(&self, level: f64) -> TTest {
        t_test(self.difference, self.standard_error, self.df, level)
    }
}

/// The t test of a difference with its standard error above 0 and its degrees of freedom, with the interval of 1 - `level`: that
/// of a test over seeds at another level, such as a corrected one.
pub fn t_test(difference: f64, standard_error: f64, df: f64, level: f64) -> TTest {
    let reach = t_quantile(1.0 - level / 2.0, df) * standard_error;
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
    /// Items.
    pub items: u64,
    /// Two-sided exact p-value; 1 without discordant pairs.
    pub p_value: f64,
}

/// Exact McNemar test. The slices must be of equal length, item by item.
pub fn mcnemar(first: &[bool], second: &[bool]) -> McNemar {
    assert_eq!(first.len(), second.len(), "paired items");
    let count = |f: bool, s: bool| first.iter().zip(second).filter(|&(&a, &b)| a == f && b == s).count() as u64;
    let (only_first, only_second) = (count(true, false), count(false, true));
    let (n, most) = (only_first + only_second, only_first.max(only_second));
    let p_value = (2.0 * binomial_at_least(most, n, 0.5)).min(1.0);
    McNemar { only_first, only_second, items: first.len() as u64, p_value }
}

impl McNemar {
    /// Share right of the second model minus that of the first.
    pub fn difference(&self) -> f64 {
        (self.only_second as f64 - self.only_first as f64) / self.items as f64
    }

    /// Its variance, as a mean of differences of -1, 0 and 1.
    pub fn variance(&self) -> f64 {
        let (share, difference) = ((self.only_first + self.only_second) as f64 / self.items as f64, self.difference());
        (share - difference * difference) / self.items as f64
    }

    /// Tango's 95 % interval of the difference.
    pub fn interval(&self) -> [f64; 2] {
        tango(self.only_first, self.only_second, self.items)
    }
}

/// McNemar's test over several tasks: of the unweighted mean of their differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stratified {
    /// Mean over the tasks of the difference.
    pub difference: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// 95 % interval.
    pub interval: [f64; 2],
    /// Two-sided p-value; 1 without discordant pairs.
    pub p_value: f64,
    /// What the null hypothesis gives the difference as standard error, and the correction for whole counts that the
    /// p-value takes off it.
    pub null: [f64; 2],
}

/// The test of a mean over tasks. Under the null hypothesis each discordant item falls to either side with equal
/// probability, so the sum of the differences has variance sum of discordant / items^2 over the tasks; the p-value is
/// normal with a correction of half a step of the largest task (Edwards 1948, Psychometrika 13:185). The interval puts
/// those of the tasks together (Zou and Donner 2008, Statistics in Medicine 27:1693). `tasks` must not be empty.
pub fn stratified_mcnemar(tasks: &[McNemar]) -> Stratified {
    let count = tasks.len() as f64;
    let root = |of: &dyn Fn(&McNemar) -> f64| libm::sqrt(tasks.iter().map(of).sum::<f64>()) / count;
    let difference = tasks.iter().map(McNemar::difference).sum::<f64>() / count;
    let spread = root(&|task| (task.only_first + task.only_second) as f64 / (task.items as f64 * task.items as f64));
    let step = 1.0 / (count * tasks.iter().map(|task| task.items).max().expect("a group has a task") as f64);
    let p_value = if spread > 0.0 { 2.0 * normal_cdf(-((difference.abs() - step) / spread).max(0.0)) } else { 1.0 };
    let reach = |end: usize| {
        root(&|task| {
            let reach = task.interval()[end] - task.difference();
            reach * reach
        })
    };
    Stratified {
        difference,
        standard_error: root(&McNemar::variance),
        interval: [difference - reach(0), difference + reach(1)],
        p_value,
        null: [spread, step],
    }
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

/// Holm's correction over families that were tested one after the other, each with p-values that are adjusted within it: a family
/// counts as its smallest, one in which nothing is tested yet as 1. In the order given; the chance of any false finding in any
/// family stays below the level, whichever of the families came to be because of the findings of another.
pub fn holm_over_families(families: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let least: Vec<f64> = families.iter().map(|family| family.iter().copied().fold(1.0, f64::min)).collect();
    let corrected = holm(&least);
    let of_family = |at: usize| {
        let left = least.iter().enumerate().filter(|&(other, &p)| (p, other) >= (least[at], at)).count() as f64;
        families[at].iter().map(|p| corrected[at].max(left * p).min(1.0)).collect()
    };
    (0..families.len()).map(of_family).collect()
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
    fn families_in_sequence_are_corrected_for_each_other() {
        let found = holm_over_families(&[vec![0.04, 0.5], vec![0.01], Vec::new(), vec![0.03]]);
        // By hand: 4 * .01; 3 * .03; 2 * .04 is less than that, 2 * .5.
        for (found, expected) in found.concat().iter().zip([0.09, 1.0, 0.04, 0.09]) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
        assert_eq!(found[2], Vec::<f64>::new());
        let single = [0.04, 0.01, 0.03];
        assert_eq!(holm_over_families(&single.map(|p| vec![p])).concat(), holm(&single));
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
    fn the_pooled_test_agrees_with_scipy() {
        // scipy.stats.ttest_ind([1.221, 1.226, 1.219, 1.224], BASE)
        let expected = [
            -3.760_699_023_168_005,
            6.0,
            0.009_390_804_056_597_063,
            -0.013_617_891_088_221_08,
            -0.002_882_108_911_778_656_5,
        ];
        agrees(pooled_t(&BASE, &[1.221, 1.226, 1.219, 1.224]).unwrap(), expected);
        assert_eq!(pooled_t(&[1.0], &[1.0, 2.0]), None, "one value says nothing of its side's spread");
    }

    #[test]
    fn blocks_agree_with_scipy() {
        // scipy.stats.ttest_rel([1.226, 1.221, 1.227, 1.219], BASE)
        let expected = [
            -7.205_766_921_229_045,
            3.0,
            0.005_509_469_103_300_153,
            -0.010_812_395_134_417_807,
            -0.004_187_604_865_582_206,
        ];
        agrees(blocks(&BASE, &[1.226, 1.221, 1.227, 1.219]).unwrap(), expected);
        assert_eq!(blocks(&[1.0, 2.0], &[2.0, 3.0]), None, "no spread, no test");
    }

    #[test]
    fn intervals_at_another_level_agree_with_scipy() {
        // scipy.stats.ttest_rel([1.226, 1.221, 1.227, 1.219], BASE).confidence_interval(.99)
        let test = blocks(&BASE, &[1.226, 1.221, 1.227, 1.219]).unwrap();
        let at = t_test(test.difference, test.standard_error, test.df, 0.01);
        agrees(
            at,
            [-7.205_766_921_229_045, 3.0, 0.005_509_469_103_300_153, -0.01357941115801847, -0.001420588841981544],
        );
    }

    #[test]
    fn the_test_over_seeds_is_chosen_by_rule() {
        let other = [1.226, 1.221, 1.227, 1.219];
        let kind = |first: &[f64], second: &[f64], shared| over_seeds(first, second, shared).map(|(kind, _)| kind);
        assert_eq!(kind(&BASE, &other, true), Some(SeedTest::Blocks));
        assert_eq!(kind(&BASE, &other, false), Some(SeedTest::Pooled));
        assert_eq!(kind(&BASE, &[1.1, 1.3, 0.9, 1.4], false), Some(SeedTest::Welch), "variances far apart");
        assert_eq!(
            kind(&[1.0, 1.01], &[1.0, 1.2], false),
            Some(SeedTest::Pooled),
            "of two values a side nobody can tell"
        );
        // Two seeds that vary more against five: the pooled p-value is too small.
        let (few, many) = ([1.20, 1.24], [1.30, 1.302, 1.304, 1.301, 1.303]);
        let found = over_seeds(&few, &many, false).unwrap().1;
        assert!(found.p_value >= pooled_t(&few, &many).unwrap().p_value.max(welch(&few, &many).unwrap().p_value));
    }

    #[test]
    fn what_is_not_finite_is_not_tested() {
        for bad in [f64::NAN, f64::INFINITY] {
            for shared in [true, false] {
                assert_eq!(over_seeds(&[1.0, bad], &[1.0, 2.0], shared), None);
            }
        }
    }

    #[test]
    fn a_group_of_one_task_is_that_task() {
        let first: Vec<bool> = (0..400).map(|i| i % 3 > 0).collect();
        let second: Vec<bool> = (0..400).map(|i| i % 3 > 0 || i % 7 == 0).collect();
        let one = mcnemar(&first, &second);
        let group = stratified_mcnemar(&[one]);
        assert!((group.difference - one.difference()).abs() < 1e-15);
        assert!(group.interval.iter().zip(one.interval()).all(|(a, b)| (a - b).abs() < 1e-12));
        // statsmodels.stats.contingency_tables.mcnemar([[0, 0], [19, 0]], exact=False, correction=True).pvalue
        let few = McNemar { only_first: 5, only_second: 19, items: 400, p_value: f64::NAN };
        assert!((stratified_mcnemar(&[few]).p_value - 0.007_963_489_206_550_003).abs() < 1e-12);
        let same = mcnemar(&first, &first);
        let group = stratified_mcnemar(&[same, same]);
        assert!(group.p_value == 1.0 && group.interval[0] < 0.0 && group.interval[1] > 0.0);
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
