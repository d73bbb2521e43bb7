//! From losses of single tokens to one row for each slice: means, errors by document, differences between two runs.

use super::slicing::Slicing;
use super::{By, Change, Slice};
use harness_statistics::cluster::{Cluster, cluster_test, clustered_mean};

/// The losses of one or two runs, token by token.
pub(super) struct Table<'a> {
    /// Losses of the run, in nats.
    pub reference: &'a [f32],
    /// Losses of the other run.
    pub other: Option<&'a [f32]>,
    /// Bytes of text behind each token.
    pub bytes: Option<&'a [u32]>,
    /// The document of each token.
    pub units: &'a [u32],
}

impl Table<'_> {
    /// One row for each slice that holds a token.
    pub(super) fn slices(&self, slicing: &Slicing) -> Vec<Slice> {
        let nats = |losses: &[f32], token: usize| f64::from(losses[token]);
        let tokens = 0..self.reference.len();
        let own = self.clusters(slicing, tokens.clone().map(|token| nats(self.reference, token)), |_| 1.0);
        let bytes = self.bytes.map(|bytes| {
            self.clusters(slicing, tokens.clone().map(|token| nats(self.reference, token)), |t| f64::from(bytes[t]))
        });
        let change = self.other.map(|other| {
            let difference = tokens.clone().map(|token| nats(other, token) - nats(self.reference, token));
            self.clusters(slicing, difference, |_| 1.0)
        });
        let mut rows = Vec::new();
        for (index, name) in slicing.names.iter().enumerate() {
            let Some(mean) = clustered_mean(&own[index]) else { continue };
            let count: f64 = own[index].iter().map(|cluster| cluster.weight).sum();
            let share = count / self.reference.len() as f64;
            let bytes: Option<f64> =
                bytes.as_ref().map(|bytes| bytes[index].iter().map(|c| c.weight).sum()).filter(|bytes| *bytes > 0.0);
            let bits = |mean: f64| bytes.map(|bytes| mean * count / std::f64::consts::LN_2 / bytes);
            let change = change.as_ref().map(|change| &change[index]);
            rows.push(Slice {
                by: Some(slicing.by),
                slice: name.clone(),
                tokens: count as u64,
                share,
                clusters: mean.clusters,
                loss_nats: mean.mean,
                standard_error: mean.standard_error,
                bits_per_byte: bits(mean.mean),
                change: change.and_then(|change| {
                    let difference = clustered_mean(change)?.mean;
                    let test = cluster_test(change).filter(|test| test.standard_error > 0.0);
                    Some(Change {
                        other_loss_nats: mean.mean + difference,
                        other_bits_per_byte: bits(mean.mean + difference),
                        difference_nats: difference,
                        standard_error: test.map(|test| test.standard_error),
                        interval: test.map(|test| [test.low, test.high]),
                        contribution_nats: share * difference,
                    })
                }),
            });
        }
        rows
    }

    /// All tokens as one slice.
    pub(super) fn total(&self) -> Slice {
        let all = Slicing { by: By::Position, names: vec!["all".to_owned()], of: vec![0; self.reference.len()] };
        let empty = Slice {
            by: None,
            slice: "all".to_owned(),
            tokens: 0,
            share: 1.0,
            clusters: 0,
            loss_nats: f64::NAN,
            standard_error: None,
            bits_per_byte: None,
            change: None,
        };
        self.slices(&all).pop().map_or(empty, |slice| Slice { by: None, ..slice })
    }

    /// For each slice, and in it for each unit, the sums of values and weights.
    pub(super) fn clusters(
        &self,
        slicing: &Slicing,
        values: impl Iterator<Item = f64>,
        weight: impl Fn(usize) -> f64,
    ) -> Vec<Vec<Cluster>> {
        let units = self.units.last().map_or(0, |unit| *unit as usize + 1);
        let mut sums = vec![vec![Cluster::default(); units]; slicing.names.len()];
        for (token, value) in values.enumerate() {
            let cluster = &mut sums[usize::from(slicing.of[token])][self.units[token] as usize];
            cluster.sum += value;
            cluster.weight += weight(token);
        }
        sums
    }
}
