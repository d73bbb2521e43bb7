//! `[schedule]`: the learning rate over the steps.

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
