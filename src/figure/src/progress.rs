//! What a run has got through: the horizontal axis of curves over training.

use super::axis::Axis;

/// The quantity along which training is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Optimizer steps.
    Steps,
    /// Training tokens.
    #[default]
    Tokens,
    /// Training FLOPs.
    Flops,
    /// Seconds of training.
    WallTime,
}

/// A unit: how many of the base unit it holds, and the label of an axis in it.
type Scale = (f64, &'static str);

impl Progress {
    /// All of them.
    pub const ALL: [Progress; 4] = [Progress::Steps, Progress::Tokens, Progress::Flops, Progress::WallTime];

    /// The word by which it is chosen.
    pub fn word(self) -> &'static str {
        match self {
            Progress::Steps => "steps",
            Progress::Tokens => "tokens",
            Progress::Flops => "flops",
            Progress::WallTime => "wall_time",
        }
    }

    /// How alternative texts call it.
    pub fn words(self) -> &'static str {
        match self {
            Progress::Steps => "optimizer steps",
            Progress::Tokens => "training tokens",
            Progress::Flops => "training FLOPs",
            Progress::WallTime => "seconds of training",
        }
    }

    fn scales(self) -> &'static [Scale] {
        match self {
            Progress::Steps => &[(1.0, "Optimizer step"), (1e3, "Optimizer step (thousands)")],
            Progress::Tokens => &[
                (1.0, "Training tokens"),
                (1e3, "Training tokens (thousands)"),
                (1e6, "Training tokens (millions)"),
                (1e9, "Training tokens (billions)"),
            ],
            Progress::Flops => &[
                (1.0, "Training FLOPs"),
                (1e9, "Training compute (gigaFLOPs)"),
                (1e12, "Training compute (teraFLOPs)"),
                (1e15, "Training compute (petaFLOPs)"),
                (1e18, "Training compute (exaFLOPs)"),
            ],
            Progress::WallTime => {
                &[(1.0, "Training time (s)"), (60.0, "Training time (minutes)"), (3600.0, "Training time (hours)")]
            }
        }
    }

    /// The largest unit of which the most has at least two, and the factor that values must be divided by; steps stay
    /// steps up to 20,000.
    fn scale(self, most: f64) -> Scale {
        let enough = if self == Progress::Steps { 20.0 } else { 2.0 };
        let fits = |(factor, _): &&Scale| most >= enough * factor;
        *self.scales().iter().rev().find(fits).unwrap_or(&self.scales()[0])
    }

    /// The axis from zero to `most`, and the factor that values must be divided by.
    pub(super) fn axis(self, most: f64, ticks: u32) -> (Axis, f64) {
        let (factor, label) = self.scale(most);
        let axis = Axis::linear((0.0, (most / factor).max(1e-9)), ticks, label);
        // Steps and tokens are counted; of larger units there are fractions.
        let counted = factor == 1.0 && matches!(self, Progress::Steps | Progress::Tokens);
        (if counted { axis.whole() } else { axis }, factor)
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn units_suit_the_range() {
        let cases = [
            (Progress::Steps, 4000.0, "Optimizer step"),
            (Progress::Steps, 1e5, "Optimizer step (thousands)"),
            (Progress::Tokens, 3e6, "Training tokens (millions)"),
            (Progress::Flops, 3e15, "Training compute (petaFLOPs)"),
            (Progress::WallTime, 110.0, "Training time (s)"),
            (Progress::WallTime, 7200.0, "Training time (hours)"),
            (Progress::WallTime, 0.0, "Training time (s)"),
        ];
        for (progress, most, label) in cases {
            assert_eq!(progress.axis(most, 5).0.label, label, "{most}");
        }
    }
}
