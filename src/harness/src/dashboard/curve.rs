//! The rows of a run's steps, thinned: each point stands for a stretch of steps, with the mean of what varies and the
//! extremes of the loss and the gradient norm, so that no spike is lost.

use harness_core::scores::StepLine;
use serde::Serialize;

/// Columns of equal length, one entry for each stretch of steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curve {
    /// Steps of the run.
    pub of_steps: usize,
    /// Last step of the stretch.
    pub step: Vec<u64>,
    /// Training tokens after it.
    pub tokens: Vec<u64>,
    /// Seconds of training after it.
    pub wall_time_s: Vec<f64>,
    /// Mean loss in nats per token.
    pub loss: Vec<f64>,
    /// Its least value; empty where every step is a point.
    pub loss_low: Vec<f64>,
    /// Its largest value; likewise.
    pub loss_high: Vec<f64>,
    /// Learning rate of the last step.
    pub learning_rate: Vec<f64>,
    /// Largest gradient norm.
    pub gradient_norm: Vec<f64>,
    /// Mean tokens per second.
    pub tokens_per_s: Vec<f64>,
}

/// Five significant digits: more than a screen can show.
pub fn short(number: f64) -> f64 {
    format!("{number:.4e}").parse().unwrap_or(number)
}

impl Curve {
    /// Thins `steps` to at most `points` points. `wall_time_s` has an entry for each step.
    pub fn of(steps: &[StepLine], wall_time_s: &[f64], points: usize) -> Self {
        let stretch = steps.len().div_ceil(points.max(1)).max(1);
        let mut curve = Curve { of_steps: steps.len(), ..Curve::default() };
        for (part, times) in steps.chunks(stretch).zip(wall_time_s.chunks(stretch)) {
            let [.., last] = part else { continue };
            let mean = |of: fn(&StepLine) -> f64| short(part.iter().map(of).sum::<f64>() / part.len() as f64);
            let fold = |of: fn(&StepLine) -> f64, by: fn(f64, f64) -> f64| {
                part.iter().map(of).reduce(by).map_or(f64::NAN, short)
            };
            curve.step.push(last.step);
            curve.tokens.push(last.tokens);
            curve.wall_time_s.push(times.last().map_or(f64::NAN, |time| short(*time)));
            curve.loss.push(mean(|s| s.loss_nats));
            if stretch > 1 {
                curve.loss_low.push(fold(|s| s.loss_nats, f64::min));
                curve.loss_high.push(fold(|s| s.loss_nats, f64::max));
            }
            curve.learning_rate.push(short(last.learning_rate));
            curve.gradient_norm.push(fold(|s| s.gradient_norm, f64::max));
            curve.tokens_per_s.push(mean(|s| s.tokens_per_s));
        }
        curve
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(count: u64) -> Vec<StepLine> {
        let line = |step: u64| StepLine {
            step,
            tokens: 64 * step,
            loss_nats: if step == 777 { 50.0 } else { 3.0 },
            learning_rate: 1e-3,
            gradient_norm: 0.5,
            wall_time_s: step as f64,
            tokens_per_s: 64.0,
            ..StepLine::default()
        };
        (1..=count).map(line).collect()
    }

    #[test]
    fn no_spike_is_lost_and_the_end_stays() {
        let times: Vec<f64> = (1..=10_001).map(f64::from).collect();
        let curve = Curve::of(&steps(10_001), &times, 300);
        assert!(curve.step.len() <= 300 && curve.of_steps == 10_001);
        assert_eq!((curve.step.last(), curve.tokens.last()), (Some(&10_001), Some(&640_064)));
        assert_eq!(curve.loss_high.iter().copied().fold(0.0, f64::max), 50.0);
        assert_eq!(curve.loss.len(), curve.loss_low.len());
    }

    #[test]
    fn a_short_run_keeps_every_step() {
        let curve = Curve::of(&steps(20), &[1.0; 20], 300);
        assert_eq!((curve.step.len(), curve.loss_high.len()), (20, 0));
        assert_eq!(Curve::of(&[], &[], 300), Curve::default());
    }
}
