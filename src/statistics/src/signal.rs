//! Whether a metric tells experiments apart at all: how far their means lie apart, over how far runs of one experiment, and
//! late evaluations of one run, do (Heineman et al. 2025, Signal and Noise, arXiv 2508.13144; there from the range of the models
//! and relative to their mean).

use super::{line, mean, variance};

/// Where the signal is at least so many times the noise, a metric is said to tell experiments apart. With experiments that do not
/// differ at all it comes to one over the root of the number of seeds.
pub const TELLS_APART: f64 = 2.0;
/// The noise over evaluations is that of so many last ones,
const LAST: usize = 5;
/// and known of runs with so many in the second half.
const FEWEST_LATE: usize = 4;

/// How far experiments lie apart on a metric, and what of that could be noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignalToNoise {
    /// Experiments with two runs at least.
    pub experiments: usize,
    /// Their runs.
    pub runs: usize,
    /// Standard deviation of the experiments' means over their seeds.
    pub signal: f64,
    /// Standard deviation over the seeds of an experiment, one for all.
    pub over_seeds: f64,
    /// Standard deviation of the last five evaluations of a run around their line, one for all; none where no run has four
    /// evaluations in its second half.
    pub over_evaluations: Option<f64>,
}

impl SignalToNoise {
    /// Of runs by experiment, each with its evaluations (step, value), ascending; the last is its result. `None` unless two
    /// experiments have two runs, or where something is not finite.
    pub fn of(experiments: &[Vec<Vec<(f64, f64)>>]) -> Option<Self> {
        let repeated: Vec<&Vec<Vec<(f64, f64)>>> = experiments.iter().filter(|runs| runs.len() > 1).collect();
        let results =
            |runs: &Vec<Vec<(f64, f64)>>| -> Option<Vec<f64>> { runs.iter().map(|run| Some(run.last()?.1)).collect() };
        let results: Vec<Vec<f64>> = repeated.iter().map(|runs| results(runs)).collect::<Option<_>>()?;
        if results.len() < 2 {
            return None;
        }
        let means: Vec<f64> = results.iter().map(|values| mean(values)).collect();
        let spread = |values: &Vec<f64>| ((values.len() - 1) as f64 * variance(values), (values.len() - 1) as f64);
        let late: Vec<(f64, f64)> =
            repeated.iter().flat_map(|runs| runs.iter()).filter_map(|run| around_line(run)).collect();
        let found = SignalToNoise {
            experiments: results.len(),
            runs: results.iter().map(Vec::len).sum(),
            signal: libm::sqrt(variance(&means)),
            over_seeds: pooled(&results.iter().map(spread).collect::<Vec<_>>()),
            over_evaluations: (!late.is_empty()).then(|| pooled(&late)),
        };
        let finite =
            [found.signal, found.over_seeds, found.over_evaluations.unwrap_or(0.0)].iter().all(|x| x.is_finite());
        finite.then_some(found)
    }

    /// The larger of the two kinds of noise.
    pub fn noise(&self) -> f64 {
        self.over_seeds.max(self.over_evaluations.unwrap_or(0.0))
    }

    /// Signal over noise; none where nothing varies from run to run.
    pub fn ratio(&self) -> Option<f64> {
        (self.noise() > 0.0).then(|| self.signal / self.noise())
    }

    /// Whether the ratio is at least [`TELLS_APART`].
    pub fn tells_apart(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio >= TELLS_APART)
    }
}

/// One standard deviation from sums of squares with their degrees of freedom.
fn pooled(parts: &[(f64, f64)]) -> f64 {
    let sum = |of: fn(&(f64, f64)) -> f64| parts.iter().map(of).sum::<f64>();
    libm::sqrt(sum(|part| part.0) / sum(|part| part.1))
}

/// Squares of the last evaluations around their line, with their degrees of freedom.
fn around_line(run: &[(f64, f64)]) -> Option<(f64, f64)> {
    let half = run.last()?.0 / 2.0;
    let late = run.iter().filter(|(step, _)| *step >= half).count();
    let last = &run[run.len() - late.min(LAST)..];
    (late >= FEWEST_LATE).then(|| (line(last).1, last.len() as f64 - 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;

    /// A run that ends in `last` after a straight line with `wobble` above and below it in turn.
    fn run(last: f64, wobble: f64, evaluations: usize) -> Vec<(f64, f64)> {
        let point = |k: usize| {
            let left = (evaluations - k) as f64;
            (k as f64 * 100.0, last + 0.1 * left + if left == 0.0 { 0.0 } else { wobble * [1.0, -1.0][k % 2] })
        };
        (1..=evaluations).map(point).collect()
    }

    #[test]
    fn signal_and_noise_are_their_definitions() {
        let experiments: Vec<Vec<Vec<(f64, f64)>>> = [[1.0, 1.2, 1.4], [2.0, 2.2, 2.1], [3.1, 3.0, 2.9]]
            .iter()
            .map(|runs| runs.iter().map(|&last| run(last, 0.0, 10)).collect())
            .collect();
        let found = SignalToNoise::of(&experiments).unwrap();
        // statistics.stdev([1.2, 2.1, 3.0]); sqrt of the mean of statistics.variance of the three
        near(found.signal, 0.9, 1e-12);
        near(found.over_seeds, 0.141_421_356_237_309_5, 1e-12);
        assert!(found.over_evaluations.unwrap() < 1e-12 && (found.experiments, found.runs) == (3, 9));
        near(found.ratio().unwrap(), 6.363_961_030_678_928, 1e-12);
        assert!(found.tells_apart());
    }

    #[test]
    fn the_larger_noise_counts_and_a_trend_is_none() {
        let of = |wobble: f64| {
            SignalToNoise::of(&[[1.0, 1.1], [2.0, 2.1]].map(|runs| runs.map(|last| run(last, wobble, 12)).to_vec()))
                .unwrap()
        };
        // 1, -1, 1, -1, 0 around their line of slope -0.2: squares of 4 - 0.4 on three degrees of freedom
        let found = of(2.0);
        near(found.over_evaluations.unwrap(), 2.0 * libm::sqrt(3.6 / 3.0), 1e-9);
        assert!(found.noise() > found.over_seeds && !found.tells_apart());
        assert!(of(0.0).tells_apart());
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let seeds = |values: &[f64], evaluations: usize| {
            values.iter().map(|&last| run(last, 0.1, evaluations)).collect::<Vec<_>>()
        };
        let few = SignalToNoise::of(&[seeds(&[1.0, 1.1], 5), seeds(&[2.0, 2.1], 5)]).unwrap();
        assert_eq!(few.over_evaluations, None, "three of five evaluations are in the second half");
        assert_eq!(
            SignalToNoise::of(&[seeds(&[1.0, 1.1], 9), seeds(&[2.0], 9)]),
            None,
            "one experiment with two seeds"
        );
        assert_eq!(SignalToNoise::of(&[seeds(&[1.0, f64::NAN], 9), seeds(&[2.0, 2.1], 9)]), None);
        let same = SignalToNoise::of(&[seeds(&[1.0, 1.0], 3), seeds(&[1.0, 1.0], 3)]).unwrap();
        assert!(same.ratio().is_none() && !same.tells_apart());
    }
}
