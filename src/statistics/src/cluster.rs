//! Means over tokens whose errors are not independent: tokens of one document share author, topic and difficulty, so
//! the standard error comes from documents (clusters), not from tokens.

use super::distribution::t_quantile;
use super::hypothesis::LEVEL;

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
    /// Its standard error over clusters; none for fewer than two.
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
    let standard_error = (used.len() > 1).then(|| libm::sqrt(count / (count - 1.0) * squares) / weight);
    Some(ClusteredMean { mean, standard_error, clusters: used.len() as u64 })
}

impl ClusteredMean {
    /// The 95 % interval by Student's t with one degree of freedom fewer than clusters.
    pub fn interval(&self) -> Option<[f64; 2]> {
        let reach = t_quantile(1.0 - LEVEL / 2.0, self.clusters as f64 - 1.0) * self.standard_error?;
        Some([self.mean - reach, self.mean + reach])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;

    #[test]
    fn the_clustered_error_agrees_with_statsmodels() {
        // sm.OLS(x, ones(20)).fit(cov_type="cluster", cov_kwds={"groups": g}): params 0.70238, bse, statsmodels 0.15.0,
        // with x of groups of 3, 5, 2, 4 and 6 values that add up to
        let sums = [(0.7362, 3.0), (0.5488, 5.0), (2.4559, 2.0), (3.3808, 4.0), (6.9259, 6.0)];
        let found = clustered_mean(&sums.map(|(sum, weight)| Cluster { sum, weight })).unwrap();
        near(found.mean, 14.0476 / 20.0, 1e-12);
        near(found.standard_error.unwrap(), 0.246_497_83, 1e-7);
        assert_eq!(found.clusters, 5);
        // scipy.stats.t.ppf(.975, 4) = 2.7764451051977987
        near(found.interval().unwrap()[1], found.mean + 2.776_445_105_197_798_7 * found.standard_error.unwrap(), 1e-11);
    }

    #[test]
    fn few_clusters_have_no_error() {
        let one = Cluster { sum: 3.0, weight: 2.0 };
        let none = Cluster::default();
        let found = clustered_mean(&[one, none]).unwrap();
        assert_eq!(found, ClusteredMean { mean: 1.5, standard_error: None, clusters: 1 });
        assert_eq!(found.interval(), None);
        assert_eq!(clustered_mean(&[none]), None);
    }
}
