//! Means over tokens whose errors are not independent: tokens of one document share author, topic and difficulty, so
//! the standard error comes from documents (clusters), not from tokens. Windows of a document are no units either: taking
//! them for such calls 28 to 84 % of nothing a difference.

use std::collections::BTreeMap;

use super::LEVEL;
use super::distribution::{t_quantile, t_two_sided};
use super::hypothesis::TTest;
use super::shares::{Share, share};

/// Below this number of clusters their spread is not known, and nothing is tested and no error given.
pub const FEWEST_CLUSTERS: usize = 5;

/// How much more skewed the clusters are taken to be than they look: few values of a skewed law rarely show its tail. With
/// half as much again the test holds its level for lognormal differences from seven clusters on (docs/statistics.md).
const SKEWNESS_FACTOR: f64 = 1.5;

/// Sums of one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Sum of the values.
    pub sum: f64,
    /// Sum of the weights, such as the number of tokens or of bytes.
    pub weight: f64,
}

/// A ratio of sums with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusteredMean {
    /// Sum of the values over sum of the weights.
    pub mean: f64,
    /// Its standard error over clusters; none for fewer than [`FEWEST_CLUSTERS`].
    pub standard_error: Option<f64>,
    /// Clusters with a weight.
    pub clusters: u64,
}

/// The ratio of sums over clusters. The standard error is that of a ratio estimator under cluster sampling,
/// sqrt(G / (G - 1) sum (y_g - m w_g)^2) / sum w_g (Cochran 1977, Sampling Techniques, section 9A.2), which is also the
/// cluster-robust error of a mean (Cameron and Miller 2015, Journal of Human Resources 50:317, with their small-sample
/// factor). Clusters without weight do not count; `None` if none has any.
pub fn clustered_mean(clusters: &[Cluster]) -> Option<ClusteredMean> {
    let used: Vec<&Cluster> = clusters.iter().filter(|c| c.weight > 0.0).collect();
    let weight: f64 = used.iter().map(|c| c.weight).sum();
    if used.is_empty() {
        return None;
    }
    let mean = used.iter().map(|c| c.sum).sum::<f64>() / weight;
    let count = used.len() as f64;
    let residual = |c: &&&Cluster| c.sum - mean * c.weight;
    let squares: f64 = used.iter().map(|c| residual(&c) * residual(&c)).sum();
    let standard_error = (used.len() >= FEWEST_CLUSTERS).then(|| libm::sqrt(count / (count - 1.0) * squares) / weight);
    Some(ClusteredMean { mean, standard_error, clusters: used.len() as u64 })
}

/// Parts put together by the cluster that each belongs to, in the order of the clusters' numbers.
pub fn by_cluster(parts: &[Cluster], of: &[u64]) -> Vec<Cluster> {
    let mut clusters: BTreeMap<u64, Cluster> = BTreeMap::new();
    for (part, cluster) in parts.iter().zip(of) {
        let cluster = clusters.entry(*cluster).or_default();
        cluster.sum += part.sum;
        cluster.weight += part.weight;
    }
    clusters.into_values().collect()
}

/// Share of `true` outcomes where those of one cluster are not independent. The error is that over clusters; of fewer than
/// [`FEWEST_CLUSTERS`] it is taken to be that of a single outcome, sqrt(p (1 - p)), which it cannot exceed. `outcomes` must
/// not be empty.
pub fn share_over_clusters(outcomes: &[bool], of: &[u64]) -> Share {
    let mean = share(outcomes).mean;
    let parts: Vec<Cluster> = outcomes.iter().map(|&right| Cluster { sum: f64::from(right), weight: 1.0 }).collect();
    let over_clusters = clustered_mean(&by_cluster(&parts, of)).and_then(|found| found.standard_error);
    Share { mean, standard_error: over_clusters.unwrap_or_else(|| libm::sqrt(mean * (1.0 - mean))) }
}

/// The test of a ratio of sums over clusters against 0, such as a difference in bits per byte over documents.
///
/// The error is the bias-reduced one for clusters (CR2: Bell and McCaffrey 2002, Survey Methodology 28:169) with their
/// degrees of freedom for clusters that move as a whole (Imbens and Kolesár 2016, Review of Economics and Statistics 98:701),
/// so few or unequal documents widen it. A skewed law makes t too sure on the side without the tail, so the statistic has
/// to pass as it is and after Hall's transformation (Hall 1992, Journal of the Royal Statistical Society B 54:221), at a
/// level that is lowered below ten clusters. The interval holds what is not rejected.
///
/// `None` for fewer than [`FEWEST_CLUSTERS`] clusters with a weight, where a sum is not finite, or where every cluster has
/// the same ratio that is not 0.
pub fn cluster_test(clusters: &[Cluster]) -> Option<TTest> {
    mean_cluster_test(&[clusters.to_vec()])
}

/// The same of the unweighted mean of several ratios, each over clusters of its own, such as over the tasks of a group: their
/// variances add up, with Satterthwaite's degrees of freedom. `None` if one of them has too few clusters.
pub fn mean_cluster_test(strata: &[Vec<Cluster>]) -> Option<TTest> {
    let (mut difference, mut parts, mut residuals) = (0.0, Vec::new(), Vec::new());
    for clusters in strata {
        let used: Vec<Cluster> = clusters.iter().copied().filter(|c| c.weight > 0.0).collect();
        if used.len() < FEWEST_CLUSTERS {
            return None;
        }
        let weight: f64 = used.iter().map(|c| c.weight).sum();
        let shares: Vec<f64> = used.iter().map(|c| c.weight / weight).collect();
        let mean = used.iter().map(|c| c.sum).sum::<f64>() / weight;
        let scale = weight * strata.len() as f64;
        let these: Vec<f64> = used.iter().map(|c| (c.sum - mean * c.weight) / scale).collect();
        difference += mean / strata.len() as f64;
        parts.push((reduced_squares(&these, &shares), degrees_of_freedom(&shares)));
        residuals.extend(these);
    }
    let variance: f64 = parts.iter().map(|(part, _)| part).sum();
    let standard_error = libm::sqrt(variance);
    let share = |part: f64| if variance > 0.0 { part / variance } else { 1.0 / parts.len() as f64 };
    let df = 1.0 / parts.iter().map(|&(part, df)| share(part) * share(part) / df).sum::<f64>();
    if standard_error == 0.0 && difference == 0.0 {
        return Some(TTest { difference, standard_error, df, p_value: 1.0, low: 0.0, high: 0.0 });
    }
    if !(difference.is_finite() && standard_error.is_finite() && standard_error > 0.0) {
        return None;
    }
    let (bend, strictness) = (Bend::of(&residuals), strictness(residuals.len()));
    let t = difference / standard_error;
    let p_value = strictness * t_two_sided(t, df).max(t_two_sided(bend.apply(t), df));
    let critical = t_quantile(1.0 - LEVEL / strictness / 2.0, df);
    let [low, high] = [critical, -critical].map(|end| difference - bend.least_or_most(end) * standard_error);
    Some(TTest { difference, standard_error, df, p_value: p_value.min(1.0), low, high })
}

/// The parts of the units in a statistic that is no ratio of sums, given its values without each unit: the pseudo-values of
/// the jackknife (Tukey 1958, Annals of Mathematical Statistics 29:614) around the statistic itself, each as a cluster.
pub fn jackknife(statistic: f64, without_each: &[f64]) -> Vec<Cluster> {
    let (centre, last) = (super::mean(without_each), without_each.len() as f64 - 1.0);
    without_each.iter().map(|without| Cluster { sum: statistic + last * (centre - without), weight: 1.0 }).collect()
}

/// By how much a p-value over so many clusters is raised: 2.5 for five, 1.05 for ten.
pub(crate) fn strictness(clusters: usize) -> f64 {
    1.0 + 1.5 * libm::exp2(FEWEST_CLUSTERS as f64 - clusters as f64)
}

/// Hall's cubic transformation, which takes the skewness out of a t statistic: t + u t^2 / 3 + u^2 t^3 / 27 + u / 6 for the
/// skewness over root n, u. It rises everywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bend(f64);

impl Bend {
    /// For residuals around the estimate, their skewness without bias (G1 in Joanes and Gill 1998, The Statistician 47:183)
    /// times [`SKEWNESS_FACTOR`].
    pub(crate) fn of(residuals: &[f64]) -> Self {
        let n = residuals.len() as f64;
        let mean_of = |power: fn(f64) -> f64| residuals.iter().map(|&r| power(r)).sum::<f64>() / n;
        let (second, third) = (mean_of(|r| r * r), mean_of(|r| r * r * r));
        let skewness = third / libm::pow(second, 1.5) * libm::sqrt(n * (n - 1.0)) / (n - 2.0);
        Bend(SKEWNESS_FACTOR * skewness / libm::sqrt(n))
    }

    pub(crate) fn apply(self, t: f64) -> f64 {
        let Bend(u) = self;
        t + u * t * t / 3.0 + u * u * t * t * t / 27.0 + u / 6.0
    }

    /// The t that the transformation takes to `end`, or `end` itself if that lies farther from 0 on its side.
    fn least_or_most(self, end: f64) -> f64 {
        let Bend(u) = self;
        let back = if u.abs() < 1e-9 { end } else { 3.0 * (libm::cbrt(1.0 + u * (end - u / 6.0)) - 1.0) / u };
        if end > 0.0 { back.max(end) } else { back.min(end) }
    }
}

/// Sum of squared residuals, each raised by what its cluster, with its share of all weight, pulled the estimate towards
/// itself (CR2).
pub(crate) fn reduced_squares(residuals: &[f64], shares: &[f64]) -> f64 {
    residuals.iter().zip(shares).map(|(r, share)| r * r / (1.0 - share)).sum()
}

/// Bell and McCaffrey's degrees of freedom of [`reduced_squares`] where the clusters have these shares of the weight and each
/// moves as a whole: (trace of the residuals' covariance)^2 over the trace of its square. One less than equal clusters.
pub(crate) fn degrees_of_freedom(shares: &[f64]) -> f64 {
    let squares: f64 = shares.iter().map(|p| p * p).sum();
    let scaled: Vec<f64> = shares.iter().map(|p| p * p / (1.0 - p)).collect();
    let sum = |of: &dyn Fn(f64) -> f64| scaled.iter().zip(shares).map(|(w, &p)| w * of(p)).sum::<f64>();
    // The covariance of residuals g and h is p_g p_h (1{g = h} - p_g - p_h + squares), before the correction.
    let (zero, one, two) = (sum(&|_| 1.0), sum(&|p| p), sum(&|p| p * p));
    let off = squares * squares * zero * zero + 2.0 * zero * two + 2.0 * one * one - 4.0 * squares * zero * one;
    let square = |x: f64| x * x;
    let own = |w: f64, p: f64| w * w * (square(1.0 - 2.0 * p + squares) - square(squares - 2.0 * p));
    let diagonal: f64 = scaled.iter().zip(shares).map(|(&w, &p)| own(w, p)).sum();
    let trace = sum(&|p| 1.0 - 2.0 * p + squares);
    trace * trace / (off + diagonal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;

    fn clusters(sums: &[f64], weights: &[f64]) -> Vec<Cluster> {
        sums.iter().zip(weights).map(|(&sum, &weight)| Cluster { sum, weight }).collect()
    }

    #[test]
    fn clusters_of_one_size_are_tested_as_values() {
        let values = [0.3, -0.1, 0.4, 0.2, 0.25, 0.1, -0.05, 0.15, 0.35, 0.2, 0.0, 0.3];
        let found = cluster_test(&clusters(&values, &[1.0; 12])).unwrap();
        // scipy.stats.ttest_1samp(values, 0): statistic, df; with the bend of scipy.stats.skew(values, bias=False) and the
        // factor 1 + 1.5 * 2^-7 its p-value is the one below, not 0.0030
        near(found.difference / found.standard_error, 3.782_820_972_934_662, 1e-12);
        near(found.df, 11.0, 1e-12);
        assert!((found.p_value - 0.014_564_995_986_719_7).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn unequal_clusters_lose_degrees_of_freedom() {
        // trace(G)^2 / trace(G G) of the matrix itself, numpy 2: weights 1, 2, 3, 4, 10
        let weights = [1.0, 2.0, 3.0, 4.0, 10.0];
        near(degrees_of_freedom(&weights.map(|w| w / 20.0)), 1.572_421_867_601_431_2, 1e-12);
        near(degrees_of_freedom(&[0.125; 8]), 7.0, 1e-12);
    }

    #[test]
    fn the_mean_of_several_ratios_adds_their_variances() {
        let strata =
            [(0..30).map(f64::from).collect::<Vec<_>>(), (0..40).map(|i| 0.1 * f64::from(i * i % 7)).collect()];
        let each = strata.each_ref().map(|values| clusters(values, &vec![1.0; values.len()]));
        let found = mean_cluster_test(&each).unwrap();
        let alone = each.each_ref().map(|clusters| cluster_test(clusters).unwrap());
        near(found.difference, (alone[0].difference + alone[1].difference) / 2.0, 1e-12);
        let variances = alone.map(|test| test.standard_error * test.standard_error);
        near(found.standard_error, libm::sqrt(variances[0] + variances[1]) / 2.0, 1e-12);
        let squared = variances[0] + variances[1];
        near(
            found.df,
            squared * squared / (variances[0] * variances[0] / 29.0 + variances[1] * variances[1] / 39.0),
            1e-9,
        );
        assert_eq!(mean_cluster_test(&[each[0].clone(), each[1][..4].to_vec()]), None, "one has four clusters");
    }

    #[test]
    fn interval_and_p_value_say_the_same() {
        let mut values: Vec<f64> = (1..=9).map(|x| libm::exp(0.3 * f64::from(x))).collect();
        let weights: Vec<f64> = (1..=9).map(|x| 1.0 + f64::from(x % 3)).collect();
        let shift = |values: &mut Vec<f64>, by: f64| values.iter_mut().zip(&weights).for_each(|(v, w)| *v -= by * w);
        for end in [|t: TTest| t.low, |t: TTest| t.high] {
            let at = end(cluster_test(&clusters(&values, &weights)).unwrap());
            shift(&mut values, at);
            near(cluster_test(&clusters(&values, &weights)).unwrap().p_value, LEVEL, 1e-9);
        }
    }

    #[test]
    fn the_jackknife_of_a_mean_is_the_mean() {
        let values = [0.3, -0.1, 0.4, 0.2, 0.25];
        let without: Vec<f64> = values.iter().map(|v| (1.05 - v) / 4.0).collect();
        let found = jackknife(0.21, &without);
        assert!(found.iter().zip(values).all(|(c, v)| (c.sum - v).abs() < 1e-12 && c.weight == 1.0), "{found:?}");
    }

    #[test]
    fn what_says_nothing_is_not_tested() {
        let ones = [1.0; 6];
        assert_eq!(cluster_test(&clusters(&[0.1, 0.2, 0.1, 0.3], &ones[..4])), None, "four clusters");
        assert_eq!(cluster_test(&clusters(&[0.1, 0.2, f64::NAN, 0.1, 0.3, 0.2], &ones)), None);
        assert_eq!(cluster_test(&clusters(&[0.1, 0.2, f64::INFINITY, 0.1, 0.3, 0.2], &ones)), None);
        assert_eq!(cluster_test(&clusters(&[0.5; 6], &ones)), None, "no spread");
        assert_eq!(cluster_test(&clusters(&[0.0; 6], &ones)).unwrap().p_value, 1.0);
    }

    #[test]
    fn the_clustered_error_agrees_with_statsmodels() {
        // sm.OLS(x, ones(20)).fit(cov_type="cluster", cov_kwds={"groups": g}): params 0.70238, bse, statsmodels 0.15.0,
        // with x of groups of 3, 5, 2, 4 and 6 values that add up to
        let sums = [(0.7362, 3.0), (0.5488, 5.0), (2.4559, 2.0), (3.3808, 4.0), (6.9259, 6.0)];
        let found = clustered_mean(&sums.map(|(sum, weight)| Cluster { sum, weight })).unwrap();
        near(found.mean, 14.0476 / 20.0, 1e-12);
        near(found.standard_error.unwrap(), 0.246_497_83, 1e-7);
        assert_eq!(found.clusters, 5);
    }

    #[test]
    fn a_share_over_clusters_has_their_error() {
        // The mean is 7/12; the sums of the clusters less that times their sizes, by hand.
        let outcomes = [true, true, true, false, false, true, true, false, true, true, false, false];
        let of = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4];
        let found = share_over_clusters(&outcomes, &of);
        let residuals: [f64; 5] = [5.0 / 4.0, -7.0 / 6.0, 1.0 / 4.0, 5.0 / 6.0, -7.0 / 6.0];
        let squares: f64 = residuals.iter().map(|r| r * r).sum();
        near(found.mean, 7.0 / 12.0, 1e-15);
        near(found.standard_error, libm::sqrt(1.25 * squares) / 12.0, 1e-12);
        assert!(found.standard_error > share(&outcomes).standard_error);
        let alone: Vec<u64> = (0..12).collect();
        near(share_over_clusters(&outcomes, &alone).standard_error, share(&outcomes).standard_error, 1e-12);
        // Two clusters do not say how much they vary: nothing is told from chance.
        near(share_over_clusters(&outcomes, &[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]).standard_error, 0.493_006_7, 1e-6);
    }

    #[test]
    fn few_clusters_have_no_error() {
        let (one, other) = (Cluster { sum: 3.0, weight: 2.0 }, Cluster { sum: 1.0, weight: 2.0 });
        let none = Cluster::default();
        let found = clustered_mean(&[one, none, other, other, other]).unwrap();
        assert_eq!(found, ClusteredMean { mean: 0.75, standard_error: None, clusters: 4 });
        assert_eq!(clustered_mean(&[none]), None);
    }
}
