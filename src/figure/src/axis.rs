//! Axes: a range, its ticks and their texts, and where a value lies on it, from 0 to 1.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Linear,
    Logarithmic,
}

/// One axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// (value, text); values lie in the range.
    pub ticks: Vec<(f64, String)>,
    /// What is measured, with its unit.
    pub label: String,
}

impl Axis {
    /// A linear axis over exactly this range, with about `ticks` ticks.
    pub(crate) fn linear(range: (f64, f64), ticks: u32, label: impl Into<String>) -> Self {
        let (low, high) = opened(range);
        let step = step_for(high - low, ticks);
        let decimals = decimals_for(step);
        let first = libm::ceil(low / step - 1e-9) as i64;
        let last = libm::floor(high / step + 1e-9) as i64;
        let tick = |k: i64| (k as f64 * step, text_of(k as f64 * step, decimals));
        Axis { scale: Scale::Linear, low, high, ticks: (first..=last).map(tick).collect(), label: label.into() }
    }

    /// A linear axis that reaches a little beyond the range on both sides.
    pub(crate) fn around(range: (f64, f64), ticks: u32, label: impl Into<String>) -> Self {
        let (low, high) = opened(range);
        let margin = 0.05 * (high - low);
        Axis::linear((low - margin, high + margin), ticks, label)
    }

    /// A logarithmic axis with a tick at each power of ten, and at 2 and 5 where the range is short.
    pub(crate) fn logarithmic(range: (f64, f64), label: impl Into<String>) -> Self {
        let low = range.0.max(1e-12);
        let high = range.1.max(low * 1.5);
        let (low, high) = (low / 1.1, high * 1.1);
        let decades = libm::log10(high / low);
        let multiples: &[f64] = if decades <= 2.2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut ticks = Vec::new();
        for exponent in libm::floor(libm::log10(low)) as i32..=libm::ceil(libm::log10(high)) as i32 {
            for multiple in multiples {
                let value = multiple * libm::pow(10.0, f64::from(exponent));
                if value >= low && value <= high {
                    ticks.push((value, text_of(value, (-exponent).max(0) as usize)));
                }
            }
        }
        Axis { scale: Scale::Logarithmic, low, high, ticks, label: label.into() }
    }

    /// The same axis with ticks at whole numbers only, for what is counted.
    pub(crate) fn whole(mut self) -> Self {
        self.ticks.retain(|(value, _)| (value - libm::round(*value)).abs() < 1e-6);
        self.with_texts(|value| text_of(value, 0))
    }

    /// The same axis with other texts at its ticks.
    pub(crate) fn with_texts(mut self, text: impl Fn(f64) -> String) -> Self {
        self.ticks.iter_mut().for_each(|(value, shown)| *shown = text(*value));
        self
    }

    /// The same axis without ticks beyond `most`.
    pub(crate) fn with_ticks_up_to(mut self, most: f64) -> Self {
        self.ticks.retain(|(value, _)| *value <= most);
        self
    }

    /// The same axis without a text at zero, for where a line marks it.
    pub(crate) fn without_text_at_zero(mut self) -> Self {
        self.ticks.iter_mut().filter(|(value, _)| *value == 0.0).for_each(|(_, text)| text.clear());
        self
    }

    /// The same axis without a label.
    pub(crate) fn unlabelled(mut self) -> Self {
        self.label = String::new();
        self
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end, beyond them for values outside.
    pub(crate) fn position(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => libm::log10(value.max(1e-300) / self.low) / libm::log10(self.high / self.low),
        }
    }

    /// The low end.
    pub(crate) fn low(&self) -> f64 {
        self.low
    }

    /// The high end.
    pub(crate) fn high(&self) -> f64 {
        self.high
    }
}

/// A range that is a range: finite and not empty.
fn opened((low, high): (f64, f64)) -> (f64, f64) {
    let low = if low.is_finite() { low } else { 0.0 };
    let high = if high.is_finite() { high } else { low + 1.0 };
    if high - low > 1e-9 * low.abs().max(1e-9) {
        (low, high)
    } else {
        let half = 0.5 * low.abs().max(1.0) * 0.1;
        (low - half, high + half)
    }
}

/// 1, 2 or 5 times a power of ten, so that `span` holds about `ticks` steps.
fn step_for(span: f64, ticks: u32) -> f64 {
    let raw = span / f64::from(ticks.max(1));
    let power = libm::pow(10.0, libm::floor(libm::log10(raw)));
    let nice = [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * power >= raw * 0.999).unwrap_or(10.0);
    nice * power
}

/// A number with the prefix of the International System: `10 k` for 10,000.
pub(super) fn with_prefix(value: f64) -> String {
    let prefixes = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let found = prefixes.into_iter().find(|(power, _)| value >= *power);
    let (scaled, prefix) = found.map_or((value, ""), |(power, prefix)| (value / power, prefix));
    let text = if scaled.fract().abs() < 1e-9 { format!("{scaled:.0}") } else { format!("{scaled:.1}") };
    if prefix.is_empty() { text } else { format!("{text} {prefix}") }
}

fn decimals_for(step: f64) -> usize {
    (-libm::floor(libm::log10(step) + 1e-9)).clamp(0.0, 6.0) as usize
}

fn text_of(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().any(|b| b.is_ascii_digit() && b != b'0') => format!("\u{2212}{rest}"),
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_in_the_range() {
        let axis = Axis::linear((0.93, 4.21), 4, "bits");
        let texts: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["1", "2", "3", "4"]);
        let axis = Axis::linear((-0.021, 0.013), 4, "difference");
        let texts: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["\u{2212}0.02", "\u{2212}0.01", "0.00", "0.01"]);
    }

    #[test]
    fn what_is_counted_has_ticks_at_whole_numbers() {
        let texts = |range| {
            Axis::linear(range, 5, "step").whole().ticks.into_iter().map(|(_, text)| text).collect::<Vec<String>>()
        };
        assert_eq!(texts((1.0, 1.0)), ["1"], "a single step");
        assert_eq!(texts((10.0, 10.0)), ["10"]);
        assert_eq!(texts((0.0, 2.0)), ["0", "1", "2"]);
        assert_eq!(texts((0.0, 400.0)), ["0", "100", "200", "300", "400"]);
    }

    #[test]
    fn a_logarithmic_axis_has_its_decades() {
        let axis = Axis::logarithmic((0.3, 420.0), "norm");
        let texts: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["1", "10", "100"]);
        assert!((axis.position(axis.low())).abs() < 1e-12 && (axis.position(axis.high()) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn empty_and_broken_ranges_become_axes() {
        for range in [(1.0, 1.0), (0.0, 0.0), (f64::NAN, f64::NAN), (2.0, f64::INFINITY)] {
            let axis = Axis::around(range, 4, "x");
            assert!(axis.low() < axis.high(), "{range:?}");
        }
    }
}
