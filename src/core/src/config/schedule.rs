//! `[schedule]`: the learning rate over the steps, a pure function of config and step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shape after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Half a cosine from the peak to the final rate (Loshchilov and Hutter 2017, SGDR).
    #[default]
    Cosine,
    /// A straight line from the peak to the final rate.
    Linear,
    /// The peak rate.
    Constant,
    /// The peak rate, then the way to the final rate over `cooldown_steps`, which must be stated (Hu et al. 2024, MiniCPM,
    /// section 4; Hägele et al. 2024).
    WarmupStableDecay,
    /// Falls with the square root of the step (Vaswani et al. 2017, equation 3).
    InverseSqrt,
}

/// The way to the final rate over the cool-down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CooldownShape {
    /// A straight line.
    #[default]
    Linear,
    /// With t the share of the cool-down that is done, the share 1 - sqrt(t) of the way is left (Hägele et al. 2024, Scaling
    /// Laws and Compute-Optimal Training Beyond Fixed Training Durations, section 3.2).
    OneMinusSqrt,
}

/// Linear warm-up, then one shape, then a cool-down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// The shape after warm-up.
    pub kind: ScheduleKind,
    /// Steps over which the rate rises linearly to its peak; the peak is reached at this step.
    pub warmup_steps: u64,
    /// Final rate as a share of the peak.
    pub final_learning_rate_ratio: f64,
    /// Last steps, over which the rate falls from where the shape has brought it to the final rate. With 0 the shape goes
    /// on to the end.
    pub cooldown_steps: u64,
    /// The way it falls over them.
    pub cooldown_shape: CooldownShape,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig {
            kind: ScheduleKind::Cosine,
            warmup_steps: 0,
            final_learning_rate_ratio: 0.1,
            cooldown_steps: 0,
            cooldown_shape: CooldownShape::Linear,
        }
    }
}

/// The learning rate of optimizer step `step` (from 1) of `steps`: a straight rise to `peak`, reached at the last
/// step of the warm-up; then the shape; over the last `cooldown_steps` the way from where the shape was to the
/// final rate, reached with the last step.
pub fn learning_rate(config: &ScheduleConfig, peak: f64, step: u64, steps: u64) -> f64 {
    if step < config.warmup_steps {
        return peak * step as f64 / config.warmup_steps as f64;
    }
    let from = steps.saturating_sub(config.cooldown_steps).max(1);
    if step <= from || config.cooldown_steps == 0 {
        return shape(config, peak, step, steps);
    }
    let (top, last) = (shape(config, peak, from, steps), peak * config.final_learning_rate_ratio);
    let done = ((step - from) as f64 / (steps - from) as f64).min(1.0);
    let gone = match config.cooldown_shape {
        CooldownShape::Linear => done,
        CooldownShape::OneMinusSqrt => done.sqrt(),
    };
    top + (last.min(top) - top) * gone
}

/// The rate without warm-up and cool-down.
fn shape(config: &ScheduleConfig, peak: f64, step: u64, steps: u64) -> f64 {
    let (done, all) = (step.saturating_sub(config.warmup_steps), steps.saturating_sub(config.warmup_steps));
    let progress = if all == 0 { 0.0 } else { (done as f64 / all as f64).min(1.0) };
    let last = peak * config.final_learning_rate_ratio;
    match config.kind {
        ScheduleKind::Cosine => last + (peak - last) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress)),
        ScheduleKind::Linear => last + (peak - last) * (1.0 - progress),
        ScheduleKind::Constant | ScheduleKind::WarmupStableDecay => peak,
        ScheduleKind::InverseSqrt => peak * (config.warmup_steps.max(1) as f64 / step as f64).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [ScheduleKind; 5] = [
        ScheduleKind::Cosine,
        ScheduleKind::Linear,
        ScheduleKind::Constant,
        ScheduleKind::WarmupStableDecay,
        ScheduleKind::InverseSqrt,
    ];

    fn config(kind: usize, warmup_steps: u64, final_learning_rate_ratio: f64) -> ScheduleConfig {
        let kind = KINDS[kind];
        ScheduleConfig { kind, warmup_steps, final_learning_rate_ratio, ..ScheduleConfig::default() }
    }

    proptest! {
        #[test]
        fn the_rate_rises_to_the_peak_then_never_rises(
            kind in 0usize..5, steps in 1u64..300, share in 0.0f64..=1.0, ratio in 0.0f64..=1.0, peak in 1e-6f64..1.0,
            cooldown in 0.0f64..=1.0, root in proptest::bool::ANY,
        ) {
            let mut schedule = config(kind, (steps as f64 * share) as u64, ratio);
            schedule.cooldown_shape = if root { CooldownShape::OneMinusSqrt } else { CooldownShape::Linear };
            schedule.cooldown_steps = ((steps - schedule.warmup_steps) as f64 * cooldown) as u64;
            let rates: Vec<f64> = (1..=steps).map(|s| learning_rate(&schedule, peak, s, steps)).collect();
            let top = schedule.warmup_steps.max(1) as usize - 1;
            for (i, &rate) in rates.iter().enumerate() {
                prop_assert!(rate > 0.0 || ratio == 0.0);
                prop_assert!(rate <= peak * (1.0 + 1e-12));
                if i < top { prop_assert!(rate < rates[i + 1]) }
                if i > top { prop_assert!(rate <= rates[i - 1] * (1.0 + 1e-12)) }
            }
            if schedule.warmup_steps > 0 { prop_assert!((rates[top] - peak).abs() <= peak * 1e-12) }
            let last = rates[steps as usize - 1];
            if schedule.warmup_steps < steps && kind < 2 {
                prop_assert!((last - peak * ratio).abs() <= peak * 1e-12);
            }
            if schedule.cooldown_steps > 0 && steps > 1 {
                // The inverse square root may have fallen below the final rate by itself.
                prop_assert!((last - peak * ratio).abs() <= peak * 1e-12 || (kind == 4 && last < peak * ratio));
            }
        }
    }

    #[test]
    fn the_inverse_square_root_halves_with_four_times_the_steps() {
        let rate = |step| learning_rate(&config(4, 10, 0.0), 1.0, step, 1000);
        assert!((rate(10) - 1.0).abs() < 1e-12 && (rate(40) - 0.5).abs() < 1e-12 && (rate(160) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_cool_down_begins_where_the_shape_was() {
        for (kind, named) in KINDS.iter().enumerate() {
            let plain = config(kind, 10, 0.0);
            let cooled = ScheduleConfig { cooldown_steps: 20, ..plain.clone() };
            let rates = |config: &ScheduleConfig| [79, 80, 90, 100].map(|step| learning_rate(config, 1.0, step, 100));
            let (plain, cooled) = (rates(&plain), rates(&cooled));
            assert_eq!((cooled[0], cooled[1]), (plain[0], plain[1]), "{named:?}");
            assert!((cooled[2] - plain[1] / 2.0).abs() < 1e-12 && cooled[3] == 0.0, "{named:?}");
        }
    }

    /// Hägele et al. 2024, equation 2: 1 - sqrt(t) of the way is left when the share t of the cool-down is done.
    #[test]
    fn a_cool_down_with_the_root_falls_fast_and_then_slowly() {
        let (kind, cooldown_shape) = (ScheduleKind::WarmupStableDecay, CooldownShape::OneMinusSqrt);
        let schedule = ScheduleConfig {
            kind,
            cooldown_shape,
            cooldown_steps: 100,
            warmup_steps: 0,
            final_learning_rate_ratio: 0.2,
        };
        let rate = |step| learning_rate(&schedule, 2.0, step, 400);
        assert_eq!(rate(300), 2.0);
        for step in 301..=400u64 {
            let left = 1.0 - libm::sqrt((step - 300) as f64 / 100.0);
            assert!((rate(step) - (0.4 + 1.6 * left)).abs() < 1e-12, "{step}");
        }
    }

    #[test]
    fn a_cosine_is_half_way_down_in_the_middle() {
        let rate = |step| learning_rate(&config(0, 10, 0.1), 1.0, step, 110);
        assert!((rate(5) - 0.5).abs() < 1e-12);
        assert!((rate(60) - 0.55).abs() < 1e-12);
    }
}
