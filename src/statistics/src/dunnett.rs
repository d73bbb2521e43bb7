//! Several treatments against one baseline (Dunnett 1955, JASA 50:1096): p-values and intervals that hold for all of them
//! together, narrower than those of Bonferroni or Holm because all share the baseline's luck.

use super::design::{self, Design, brown_forsythe};
use super::distribution::{illinois, normal_cdf, t_quantile};
use super::hypothesis::{FARTHEST_VARIANCES, LEVEL, TTest, holm, t_test, welch};
use super::variance;

/// The law of the largest of several t statistics against one baseline.
#[derive(Clone, Debug)]
pub struct Dunnett {
    df: f64,
    /// For the treatments of each count: how many, the root of their correlation, and the root of what it leaves of 1.
    treatments: Vec<(f64, f64, f64)>,
    /// Ratios of the estimated to the true standard deviation, with their probabilities.
    deviations: Vec<(f64, f64)>,
    /// Values of the baseline in its standard errors, with their probabilities: those on one side for both.
    baselines: Vec<(f64, f64)>,
}

impl Dunnett {
    /// For a baseline and treatments of so many values each, and a variance with `df` > 0 degrees of freedom. Statistics i and
    /// j have the correlation l_i l_j with l_i^2 = n_i / (n_i + n_0), which is 1/2 for equal counts and in blocks; given the
    /// baseline and the deviation they are independent, so their law is a double integral. Both integrals are sums over
    /// equidistant points (of the logarithm of the deviation), which converge exponentially.
    pub fn new(baseline: usize, treatments: &[usize], df: f64) -> Self {
        let mut counts = treatments.to_vec();
        counts.sort_unstable();
        let group = |same: &[usize]| {
            let (n, n0) = (same[0] as f64, baseline as f64);
            (same.len() as f64, libm::sqrt(n / (n + n0)), libm::sqrt(n0 / (n + n0)))
        };
        let treatments: Vec<(f64, f64, f64)> = counts.chunk_by(|a, b| a == b).map(group).collect();
        let narrowest = treatments.iter().map(|(_, shared, own)| own / shared).fold(1.0, f64::min);
        let mut baselines = lattice(0.6 * narrowest, |z| -0.5 * z * z);
        baselines.retain(|(z, _)| *z >= 0.0);
        baselines.iter_mut().filter(|(z, _)| *z > 0.0).for_each(|(_, weight)| *weight *= 2.0);
        // The density of the logarithm of the deviation, but for a constant.
        let log_density = |x: f64| df * (x + 0.5 - 0.5 * libm::exp(2.0 * x));
        let deviations = lattice(0.4 / libm::sqrt(2.0 * df).max(1.0), log_density);
        let deviations = deviations.into_iter().map(|(x, weight)| (libm::exp(x), weight)).collect();
        Dunnett { df, treatments, deviations, baselines }
    }

    /// The chance that the largest of the statistics is `t` or more on either side, where no treatment differs from the
    /// baseline: the adjusted two-sided p-value of a statistic.
    pub fn p_value(&self, t: f64) -> f64 {
        let t = t.abs();
        let beyond = |s: f64, z: f64| {
            let inside = |&(count, shared, own): &(f64, f64, f64)| {
                let tails = normal_cdf((-t * s - shared * z) / own) + normal_cdf((-t * s + shared * z) / own);
                count * libm::log1p(-tails.min(1.0))
            };
            -libm::expm1(self.treatments.iter().map(inside).sum())
        };
        let over_baselines = |s: f64| self.baselines.iter().map(|&(z, weight)| weight * beyond(s, z)).sum::<f64>();
        self.deviations.iter().map(|&(s, weight)| weight * over_baselines(s)).sum::<f64>().min(1.0)
    }

    /// The t that has the p-value `level`, strictly between 0 and 1: simultaneous intervals reach so many standard errors.
    pub fn critical_value(&self, level: f64) -> f64 {
        // Between that of one treatment and Bonferroni's for all.
        let count: f64 = self.treatments.iter().map(|(count, ..)| count).sum();
        let one_of = |count: f64| t_quantile(1.0 - level / (2.0 * count), self.df);
        let (low, high) = (0.999 * one_of(1.0), 1.001 * one_of(count));
        illinois(low, high, &|t| level - self.p_value(t))
    }

    /// The test of a treatment of `design` against its treatment 0, treatment minus baseline, with the adjusted p-value and an
    /// interval that reaches `critical` standard errors.
    pub fn test(&self, design: &Design, treatment: usize, critical: f64) -> TTest {
        let (difference, standard_error) =
            (design.means[treatment] - design.means[0], design.standard_error(0, treatment));
        let reach = critical * standard_error;
        TTest {
            difference,
            standard_error,
            df: design.df,
            p_value: self.p_value(difference / standard_error),
            low: difference - reach,
            high: difference + reach,
        }
    }
}

/// Points at a distance of `step` around the mode of a density at 0, with probabilities that add up to 1, up to where both
/// tails are lost in the last bits.
fn lattice(step: f64, log_density: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let side = |direction: f64, first: u32| {
        let point = move |k: u32| direction * step * f64::from(k);
        let log_density = &log_density;
        (first..).map(point).map(move |x| (x, libm::exp(log_density(x)))).take_while(|&(_, weight)| weight > 1e-16)
    };
    let mut points: Vec<(f64, f64)> = side(1.0, 0).chain(side(-1.0, 1)).collect();
    let sum: f64 = points.iter().map(|(_, weight)| weight).sum();
    points.iter_mut().for_each(|(_, weight)| *weight /= sum);
    points
}

/// The tests of all treatments of a design against treatment 0, in order, treatment minus baseline, with adjusted p-values
/// and simultaneous intervals: all of them hold the truth with probability 1 - `level`. An interval lies on one side of 0 just
/// where the p-value is at most `level`.
pub fn dunnett(design: &Design, level: f64) -> Vec<TTest> {
    let law = Dunnett::new(design.counts[0], &design.counts[1..], design.df);
    let critical = law.critical_value(level);
    (1..design.means.len()).map(|treatment| law.test(design, treatment, critical)).collect()
}

/// How several sides are compared with one baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Dunnett's test in randomised blocks: all sides share their list of seeds.
    Blocks,
    /// Dunnett's test with one variance for all sides.
    Pooled,
    /// Welch's test of each, with Holm's correction.
    Welch,
}

/// All sides against the baseline, by a rule that is known before the results: blocks where all share their list of seeds
/// (values are then in the order of that list); else one variance, but Welch's tests where variances differ by more than a
/// factor of [`FARTHEST_VARIANCES`] and the test of Brown and Forsythe tells them apart at 5 %. P-values are adjusted
/// and intervals simultaneous at `level` (after Welch, of Bonferroni). `None` where nothing can be tested: see
/// [`design::blocks`], [`design::one_way`] and [`welch`].
pub fn against_baseline(
    baseline: &[f64],
    others: &[Vec<f64>],
    shared: bool,
    level: f64,
) -> Option<(Family, Vec<TTest>)> {
    let groups: Vec<Vec<f64>> = [&[baseline.to_vec()], others].concat();
    if shared {
        return Some((Family::Blocks, dunnett(&design::blocks(&groups)?, level)));
    }
    let pooled = design::one_way(&groups)?;
    let variances = groups.iter().filter(|values| values.len() > 1).map(|values| variance(values));
    let (least, most) = variances.fold((f64::INFINITY, 0.0_f64), |(least, most), v| (least.min(v), most.max(v)));
    let apart = most > FARTHEST_VARIANCES * least && brown_forsythe(&groups).is_some_and(|test| test.p_value <= LEVEL);
    if !apart {
        return Some((Family::Pooled, dunnett(&pooled, level)));
    }
    let each = others.iter().map(|other| welch(baseline, other)).collect::<Option<Vec<TTest>>>()?;
    let p_values = holm(&each.iter().map(|test| test.p_value).collect::<Vec<_>>());
    let adjusted = |(test, p_value): (&TTest, f64)| TTest {
        p_value,
        ..t_test(test.difference, test.standard_error, test.df, level / others.len() as f64)
    };
    Some((Family::Welch, each.iter().zip(p_values).map(adjusted).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::t_two_sided;
    use crate::{near, within};

    #[test]
    fn critical_values_are_the_published_ones() {
        // Two-sided 5 % of Dunnett (1964, Biometrics 20:482, table II): 2.57, 2.54; the digits beyond are of scipy.integrate.quad
        // over quad of the same integral, and so is the last row.
        for (k, df, expected) in
            [(2, 10.0, 2.568_338_876), (3, 20.0, 2.540_349_610), (8, 16.0, 2.973_633_469), (1, 4.0, 2.776_445_105)]
        {
            within(Dunnett::new(3, &vec![3; k], df).critical_value(0.05), expected, 1e-7);
        }
        // One treatment is Student's t.
        for df in [1.0, 2.0, 7.5, 400.0] {
            let law = Dunnett::new(4, &[7], df);
            near(law.critical_value(0.01), t_quantile(0.995, df), 1e-7);
            for t in [0.0, 0.4, 3.0, 6.0] {
                near(law.p_value(t), t_two_sided(t, df), 1e-7);
            }
        }
    }

    #[test]
    fn unequal_counts_agree_with_scipy() {
        // 1 - quad over quad, as above, with l_i = sqrt(n_i / (n_i + n_0))
        for (baseline, treatments, df, t, expected) in [
            (6, vec![3, 3, 5], 13.0, 2.3, 0.099_870_800_648),
            (6, vec![3, 3, 5], 13.0, 4.0, 0.004_240_900_280),
            (3, vec![3, 3], 1.0, 12.0, 0.072_266_734_154),
            (1, vec![20; 3], 2.5, 3.0, 0.095_238_263_502),
        ] {
            within(Dunnett::new(baseline, &treatments, df).p_value(t), expected, 1e-7);
        }
    }

    #[test]
    fn a_study_agrees_with_scipy() {
        let baseline = [1.231, 1.228, 1.235, 1.229];
        let others = [vec![1.221, 1.226, 1.219], vec![1.240, 1.233, 1.229, 1.236, 1.25]];
        // scipy.stats.dunnett(*others, control=baseline).statistic, and .pvalue to its 1e-4
        let (family, found) = against_baseline(&baseline, &others, false, 0.05).unwrap();
        assert_eq!(family, Family::Pooled);
        for (test, statistic, p_value) in
            [(found[0], -1.945_935_39, 0.143_994_272), (found[1], 1.734_455_15, 0.198_203_300)]
        {
            within(test.difference / test.standard_error, statistic, 1e-7);
            within(test.p_value, p_value, 1e-7);
        }
    }

    #[test]
    fn interval_and_p_value_say_the_same() {
        let design = Design { means: vec![0.0, 1.0, 0.3, -0.7], counts: vec![6, 3, 3, 5], variance: 0.2, df: 13.0 };
        for test in dunnett(&design, 0.05) {
            let law = Dunnett::new(6, &[3, 3, 5], 13.0);
            near(law.p_value((test.high - test.difference) / test.standard_error), 0.05, 1e-9);
            let at_its_level = dunnett(&design, test.p_value);
            let nearest = |test: &TTest| test.low.abs().min(test.high.abs());
            assert!(at_its_level.iter().map(nearest).any(|end| end < 1e-7), "{test:?}");
        }
    }

    #[test]
    fn the_family_is_chosen_by_rule() {
        let baseline = [1.231, 1.228, 1.235, 1.229];
        let calm = vec![1.221, 1.226, 1.219, 1.224];
        let wild = vec![1.1, 1.3, 1.1, 1.4];
        let family =
            |others: &[Vec<f64>], shared| against_baseline(&baseline, others, shared, 0.05).map(|(family, _)| family);
        assert_eq!(family(&[calm.clone(), wild.clone()], true), Some(Family::Blocks));
        assert_eq!(family(&[calm.clone(), calm.clone()], false), Some(Family::Pooled));
        assert_eq!(family(&[calm.clone(), wild.clone()], false), Some(Family::Welch));
        let (_, found) = against_baseline(&baseline, &[calm.clone(), wild], false, 0.05).unwrap();
        near(found[0].p_value, 2.0 * welch(&baseline, &calm).unwrap().p_value, 1e-12);
        assert_eq!(family(&[vec![f64::NAN; 4]], true), None);
        assert_eq!(family(&[vec![1.0, f64::NAN]], false), None);
        assert_eq!(against_baseline(&[1.0], &[vec![2.0]], false, 0.05), None, "one value a side");
    }
}
