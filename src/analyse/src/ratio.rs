//! A sum over a sum, with its error over the units that it is made of.

use harness_statistics::cluster::{Cluster, clustered_mean};

/// A sum over a sum, or a function of it, with the standard error that the spread of its clusters gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The number itself.
    pub number: f64,
    /// None for fewer than five clusters.
    pub standard_error: Option<f64>,
}

impl Ratio {
    pub(crate) fn of(sum: f64, weight: f64, clusters: &[Cluster]) -> Self {
        let standard_error = clustered_mean(clusters).and_then(|found| found.standard_error);
        Ratio { number: sum / weight, standard_error }
    }

    /// The unweighted mean of independent ratios; without an error if one of them has none.
    pub(crate) fn mean(ratios: &[Ratio]) -> Self {
        let count = ratios.len() as f64;
        let squares = ratios.iter().map(|ratio| ratio.standard_error.map(|error| error * error)).sum::<Option<f64>>();
        let number = ratios.iter().map(|ratio| ratio.number).sum::<f64>() / count;
        Ratio { number, standard_error: squares.map(|squares| libm::sqrt(squares) / count) }
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        Ratio { number: factor * self.number, standard_error: self.standard_error.map(|error| factor * error) }
    }

    /// exp of it; the error by the delta method, as lm-evaluation-harness has it for perplexities.
    pub(crate) fn exponential(self) -> Self {
        let number = libm::exp(self.number);
        Ratio { number, standard_error: self.standard_error.map(|error| number * error) }
    }
}
