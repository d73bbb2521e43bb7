//! Spikes of the training loss: while a run goes on, and in its rows afterwards, by the same rule.

use std::collections::VecDeque;

use harness_core::scores::StepLine;

use super::stats::{mean, variance};

/// The rule in words.
pub const RULE: &str = "a training loss more than 7 standard deviations above the mean of the steps before it (a tenth of \
                        the run, 20 to 1,000 steps)";
/// Where it comes from.
pub const SOURCE: &str = "the spike score of Walsh et al. 2025, 2 OLMo 2 Furious, with a shorter window for short runs";
/// Fewer steps than this show nothing.
pub const FEWEST_STEPS: usize = 20;

/// How many steps before a step it is compared with, in a run of so many steps.
fn window(steps: usize) -> usize {
    (steps / 10).clamp(FEWEST_STEPS, 1_000)
}

fn is_spike(value: f64, before: &[f64]) -> bool {
    value > mean(before) + 7.0 * libm::sqrt(variance(before))
}

/// Indices of the spikes among the values of all steps.
pub fn spikes(values: &[f64]) -> Vec<usize> {
    let window = window(values.len());
    (window..values.len()).filter(|&at| is_spike(values[at], &values[at - window..at])).collect()
}

/// A step whose loss is a spike.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spike {
    /// The step.
    pub step: u64,
    /// Its loss.
    pub loss_nats: f64,
    /// The mean loss of the steps before it.
    pub loss_before_nats: f64,
}

/// Finds spikes in steps as they come.
#[derive(Debug)]
pub struct Detector {
    window: usize,
    before: VecDeque<f64>,
}

impl Detector {
    /// For a run of `steps` steps in all, of which some may be done.
    pub fn new(steps: u64, done: &[StepLine]) -> Self {
        let window = window(usize::try_from(steps).unwrap_or(usize::MAX));
        let before = done[done.len().saturating_sub(window)..].iter().map(|line| line.loss_nats).collect();
        Detector { window, before }
    }

    /// Takes in the next step, and says whether it is a spike.
    pub fn take(&mut self, line: &StepLine) -> Option<Spike> {
        let full = self.before.len() >= self.window;
        let before: &[f64] = self.before.make_contiguous();
        let spike = (full && is_spike(line.loss_nats, before)).then(|| Spike {
            step: line.step,
            loss_nats: line.loss_nats,
            loss_before_nats: mean(before),
        });
        if full {
            self.before.pop_front();
        }
        self.before.push_back(line.loss_nats);
        spike
    }
}

#[cfg(test)]
mod tests {
    use harness_core::random::Random;

    use super::*;

    fn losses() -> Vec<f64> {
        let mut random = Random::new(21);
        (0..2_000).map(|i| 3.0 + 3.0 / (1.0 + 0.05 * f64::from(i)) + 0.1 * random.uniform()).collect()
    }

    #[test]
    fn a_planted_spike_is_found_and_noise_is_not() {
        let mut losses = losses();
        assert!(spikes(&losses).is_empty());
        losses[700] += 2.0;
        assert_eq!(spikes(&losses), [700]);
    }

    #[test]
    fn steps_as_they_come_give_the_same_spikes_after_a_resume_too() {
        let mut losses = losses();
        [300, 700, 701, 1_500].into_iter().for_each(|at| losses[at] += 2.0);
        let line = |i: usize| StepLine { step: i as u64 + 1, loss_nats: losses[i], ..StepLine::default() };
        let lines: Vec<StepLine> = (0..losses.len()).map(line).collect();
        for done in [0, 1, 250, 701] {
            let mut detector = Detector::new(lines.len() as u64, &lines[..done]);
            let found: Vec<usize> =
                lines[done..].iter().filter_map(|l| detector.take(l)).map(|s| s.step as usize - 1).collect();
            let expected: Vec<usize> = spikes(&losses).into_iter().filter(|&at| at >= done).collect();
            assert_eq!(found, expected, "resumed after {done} steps");
        }
    }
}
