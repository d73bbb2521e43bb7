//! Spikes of the training loss: while a run goes on, and in its rows afterwards, by the same rule.

use std::collections::VecDeque;

use harness_core::scores::StepLine;

use harness_statistics::quantile;

/// The rule in words.
pub const RULE: &str = "from step 21 on, a training loss above the median of the 5 steps before it by more than 7 standard deviations of \
                        such differences (1.4826 times their median absolute deviation over the 100 steps before)";
/// Where it comes from.
pub const SOURCE: &str = "the spike score of Walsh et al. 2025, 2 OLMo 2 Furious, with median and median absolute deviation (Hampel \
                          1974, The Influence Curve and Its Role in Robust Estimation) for mean and standard deviation: they hold \
                          while the loss still falls steeply";
/// Fewer steps than this show nothing.
pub const FEWEST_STEPS: usize = 20;

/// Steps whose median is the level that a loss is held against: few, so that it follows a steep fall.
const LEVEL_STEPS: usize = 5;
/// Steps whose differences from their own levels give the standard deviation.
const SCALE_STEPS: usize = 100;
/// From the median absolute deviation to the standard deviation of a normal distribution.
const NORMAL_CONSISTENCY: f64 = 1.4826;
/// Standard deviations that make a spike.
const SPIKE_SCORE: f64 = 7.0;

/// The latest values, at most so many.
fn keep(latest: &mut VecDeque<f64>, value: f64, most: usize) {
    if latest.len() == most {
        latest.pop_front();
    }
    latest.push_back(value);
}

fn standard_deviation(differences: &[f64]) -> f64 {
    let middle = quantile(differences, 0.5);
    let deviations: Vec<f64> = differences.iter().map(|difference| (difference - middle).abs()).collect();
    NORMAL_CONSISTENCY * quantile(&deviations, 0.5)
}

/// Indices of the spikes among the values of all steps.
pub fn spikes(values: &[f64]) -> Vec<usize> {
    let mut detector = Detector::default();
    (0..values.len()).filter(|&at| detector.level_below_spike(values[at]).is_some()).collect()
}

/// A step whose loss is a spike.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spike {
    /// The step.
    pub step: u64,
    /// Its loss.
    pub loss_nats: f64,
    /// The median loss of the steps before it.
    pub loss_before_nats: f64,
}

/// Finds spikes in steps as they come.
#[derive(Debug, Default)]
pub struct Detector {
    losses: VecDeque<f64>,
    differences: VecDeque<f64>,
}

impl Detector {
    /// For a run of which some steps are done.
    pub fn after(done: &[StepLine]) -> Self {
        let mut detector = Detector::default();
        for line in done {
            detector.level_below_spike(line.loss_nats);
        }
        detector
    }

    /// Takes in the next step, and says whether it is a spike.
    pub fn take(&mut self, line: &StepLine) -> Option<Spike> {
        let loss_before_nats = self.level_below_spike(line.loss_nats)?;
        Some(Spike { step: line.step, loss_nats: line.loss_nats, loss_before_nats })
    }

    /// Takes in the next value; the level before it if it is a spike.
    fn level_below_spike(&mut self, value: f64) -> Option<f64> {
        // What is not finite is a finding of its own, and no level to hold later steps against.
        if !value.is_finite() {
            return None;
        }
        let before: &[f64] = self.losses.make_contiguous();
        let level = (!before.is_empty()).then(|| quantile(before, 0.5));
        keep(&mut self.losses, value, LEVEL_STEPS);
        let level = level?;
        let difference = value - level;
        // The first step has no difference.
        let enough = self.differences.len() + 1 >= FEWEST_STEPS;
        let spike = enough
            && difference > 0.0
            && difference > SPIKE_SCORE * standard_deviation(self.differences.make_contiguous());
        keep(&mut self.differences, difference, SCALE_STEPS);
        spike.then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use harness_core::random::Random;

    use super::*;

    /// A loss that falls steeply at first, as it does in training: by exp(-(step / scale)^power), with noise.
    fn losses(scale: f64, power: f64, noise: f64) -> Vec<f64> {
        let mut random = Random::new(21);
        (0..2_000)
            .map(|step| {
                let fall = 7.6 * libm::exp(-libm::pow(f64::from(step) / scale, power));
                3.2 + fall + noise * (random.uniform() + random.uniform() + random.uniform() - 1.5)
            })
            .collect()
    }

    #[test]
    fn a_planted_spike_is_found_early_and_late_and_a_steep_fall_is_none() {
        // From a fall of 0.25 nats a step to one that takes the whole run; noise from next to none to a tenth of a nat.
        for (scale, power) in [(30.0, 1.0), (60.0, 1.0), (60.0, 0.6), (400.0, 0.5), (2_000.0, 1.0)] {
            for noise in [0.02, 0.1, 0.2] {
                let sound = losses(scale, power, noise);
                assert_eq!(spikes(&sound), [0; 0], "scale {scale}, power {power}, noise {noise}");
                for at in [20, 30, 60, 199, 700, 1_999] {
                    let mut losses = sound.clone();
                    losses[at] += 2.0;
                    assert_eq!(spikes(&losses), [at], "scale {scale}, power {power}, noise {noise}");
                }
            }
        }
    }

    #[test]
    fn a_spike_of_many_steps_is_found_where_it_begins_and_a_value_that_is_not_finite_is_none() {
        let mut losses = losses(60.0, 0.6, 0.1);
        losses[500..550].iter_mut().for_each(|loss| *loss += 3.0);
        assert_eq!(spikes(&losses).first(), Some(&500));
        assert!(spikes(&losses).iter().all(|at| (500..503).contains(at)), "{:?}", spikes(&losses));
        losses[500..550].iter_mut().for_each(|loss| *loss = f64::NAN);
        losses[900] = f64::INFINITY;
        assert_eq!(spikes(&losses), [0; 0]);
    }

    #[test]
    fn steps_as_they_come_give_the_same_spikes_after_a_resume_too() {
        let mut losses = losses(60.0, 0.6, 0.1);
        [30, 300, 700, 701, 1_500].into_iter().for_each(|at| losses[at] += 2.0);
        let line = |i: usize| StepLine { step: i as u64 + 1, loss_nats: losses[i], ..StepLine::default() };
        let lines: Vec<StepLine> = (0..losses.len()).map(line).collect();
        for done in [0, 1, 250, 701] {
            let mut detector = Detector::after(&lines[..done]);
            let found: Vec<usize> =
                lines[done..].iter().filter_map(|l| detector.take(l)).map(|s| s.step as usize - 1).collect();
            let expected: Vec<usize> = [30, 300, 700, 701, 1_500].into_iter().filter(|&at| at >= done).collect();
            assert_eq!(found, expected, "resumed after {done} steps");
        }
    }
}
