//! Ratios of sums over documents or items in several runs: what tests over units and intervals over seeds and units stand on.

use harness_statistics::cluster::{Cluster, FEWEST_CLUSTERS, by_cluster};
use harness_statistics::crossed::Influences;

/// A ratio of sums in each run.
#[derive(Clone, Debug)]
pub struct Sums {
    /// For each run of reference and other the sum of each document or item, such as its bits.
    pub runs: [Vec<Vec<f64>>; 2],
    /// Their weights, such as bytes: the same in every run.
    pub weights: Vec<f64>,
    /// The cluster of each, such as the passage that items are about; none where each stands on its own.
    pub clusters: Option<Vec<u64>>,
}

impl Sums {
    /// How many clusters there are, where these are too few for their spread to be known.
    pub(crate) fn too_few_clusters(&self) -> Option<u64> {
        let mut clusters = self.clusters.clone()?;
        clusters.sort_unstable();
        clusters.dedup();
        (clusters.len() < FEWEST_CLUSTERS).then_some(clusters.len() as u64)
    }

    /// The parts of a run by the units of tests: clusters, where there are some.
    fn parts(&self, run: &[f64]) -> Vec<Cluster> {
        let parts: Vec<Cluster> =
            run.iter().zip(&self.weights).map(|(&sum, &weight)| Cluster { sum, weight }).collect();
        self.clusters.as_ref().map_or_else(|| parts.clone(), |of| by_cluster(&parts, of))
    }

    /// By how much the other side's first run is above the reference's, in each unit.
    pub(crate) fn differences(&self) -> Vec<Cluster> {
        let pairs = self.runs[0][0].iter().zip(&self.runs[1][0]);
        self.parts(&pairs.map(|(first, second)| second - first).collect::<Vec<_>>())
    }

    /// What each unit adds to the unweighted mean over tasks.
    pub(crate) fn influences(tasks: &[Sums]) -> Influences {
        let count = tasks.len() as f64;
        let total = |parts: &[Cluster]| parts.iter().map(|part| part.weight).sum::<f64>();
        let around = |sums: &Sums, run: &[f64]| -> Vec<f64> {
            let parts = sums.parts(run);
            let total = total(&parts);
            let mean = run.iter().sum::<f64>() / total;
            parts.iter().map(|part| (part.sum - mean * part.weight) / total / count).collect()
        };
        let side = |side: usize| {
            let runs = 0..tasks[0].runs[side].len();
            runs.map(|run| tasks.iter().flat_map(|sums| around(sums, &sums.runs[side][run])).collect()).collect()
        };
        let of_task = |sums: &Sums| {
            let parts = sums.parts(&sums.runs[0][0]);
            parts.iter().map(|part| part.weight / total(&parts)).collect::<Vec<f64>>()
        };
        let shares: Vec<Vec<f64>> = tasks.iter().map(of_task).collect();
        Influences {
            runs: [side(0), side(1)],
            strata: shares.iter().map(Vec::len).collect(),
            shares: shares.into_iter().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_share_a_cluster_add_to_a_value_as_one() {
        let alone = Sums {
            runs: [vec![vec![1.0, 0.0, 1.0, 0.0]], vec![vec![1.0, 1.0, 1.0, 0.0]]],
            weights: vec![1.0; 4],
            clusters: None,
        };
        let of_goals = Sums { clusters: Some(vec![0, 0, 1, 2]), ..alone.clone() };
        let (each, by_goal) = (Sums::influences(&[alone]), Sums::influences(&[of_goals]));
        assert_eq!((each.strata, by_goal.strata), (vec![4], vec![3]));
        assert_eq!(by_goal.shares, [0.5, 0.25, 0.25]);
        assert_eq!(each.runs[0][0], [0.125, -0.125, 0.125, -0.125]);
        assert_eq!(by_goal.runs[0][0], [0.0, 0.125, -0.125], "the first goal has one right and one wrong");
    }
}
