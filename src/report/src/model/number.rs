//! Numbers as they are printed.

use std::collections::BTreeMap;

use harness_analyse::{Unit, Value, show_known};
use serde::{Deserialize, Serialize};

/// A text as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shown {
    /// As it stands, with a true minus sign.
    Text(String),
    /// `3.20 × 10¹⁴`
    PowerOfTen {
        /// `3.20`
        mantissa: String,
        /// `14`
        exponent: String,
    },
}

impl Shown {
    /// A number with the digits that half of its 95 % interval supports, else under the rounding rule of its unit.
    pub fn number(number: f64, unit: Unit, half_width: Option<f64>) -> Self {
        let text = show_known(number, unit, half_width).replace('-', "\u{2212}");
        match text.split_once('e') {
            Some((mantissa, exponent)) => {
                Shown::PowerOfTen { mantissa: mantissa.to_owned(), exponent: exponent.to_owned() }
            }
            None => Shown::Text(text),
        }
    }

    /// A difference likewise: signed, but without a sign if it rounds to zero.
    pub fn difference(number: f64, unit: Unit, half_width: Option<f64>) -> Self {
        let size = Shown::number(number.abs(), unit, half_width);
        let is_zero = size.in_one_piece().bytes().all(|b| !b.is_ascii_digit() || b == b'0');
        let sign = if is_zero { "" } else { ["+", "\u{2212}"][usize::from(number < 0.0)] };
        match size {
            Shown::Text(text) => Shown::Text(format!("{sign}{text}")),
            Shown::PowerOfTen { mantissa, exponent } => {
                Shown::PowerOfTen { mantissa: format!("{sign}{mantissa}"), exponent }
            }
        }
    }

    /// What of it stands in one piece in the text of a page.
    pub fn in_one_piece(&self) -> &str {
        match self {
            Shown::Text(text) => text,
            Shown::PowerOfTen { mantissa, .. } => mantissa,
        }
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shown::Text(text) => f.write_str(text),
            Shown::PowerOfTen { mantissa, exponent } => write!(f, "{mantissa} × 10^{exponent}"),
        }
    }
}

/// A number with all that a page may show of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Number {
    /// The exact number.
    pub number: f64,
    /// Its unit.
    pub unit: Unit,
    /// The text that shows it.
    pub shown: Shown,
    /// What stands behind it where the unit is asked for, with the space between.
    pub suffix: String,
    /// Its standard error in the same unit, where there is one.
    pub standard_error: Option<f64>,
    /// The text that shows it.
    pub shown_error: Option<Shown>,
}

impl Number {
    /// A value, known as well as its standard error says.
    pub fn value(number: f64, standard_error: Option<f64>, unit: Unit) -> Self {
        Number::known(number, standard_error, unit, half_width(None, standard_error))
    }

    /// A difference of two values, known as well as its 95 % interval says, else as its standard error does.
    pub fn difference(number: f64, standard_error: Option<f64>, interval: Option<[f64; 2]>, unit: Unit) -> Self {
        let half_width = half_width(interval, standard_error);
        let suffix = if unit == Unit::Share { "\u{a0}points".to_owned() } else { suffix(unit) };
        let shown = Shown::difference(number, unit, half_width);
        Number { shown, suffix, ..Number::known(number, standard_error, unit, half_width) }
    }

    /// A value among all those of its experiment. A loss without a standard error (the first one, the best, that of training or of a
    /// simpler model) stands beside the last one of the held-out text, in one sentence often, so it has the digits of that.
    pub fn among(values: &BTreeMap<String, Value>, value: &Value) -> Self {
        let last = match value.unit {
            Unit::BitsPerByte => values.get("validation.bits_per_byte"),
            Unit::NatsPerToken => values.get("validation.loss"),
            _ => None,
        };
        let known_to = value.standard_error.or_else(|| last?.standard_error);
        Number::known(value.number, value.standard_error, value.unit, half_width(None, known_to))
    }

    fn known(number: f64, standard_error: Option<f64>, unit: Unit, half_width: Option<f64>) -> Self {
        let shown = |number: f64| Shown::number(number, unit, half_width);
        let shown_error = standard_error.map(shown);
        Number { number, unit, shown: shown(number), suffix: suffix(unit), standard_error, shown_error }
    }
}

/// Half of a 95 % interval: as it was computed, else 1.96 standard errors (normal approximation).
pub fn half_width(interval: Option<[f64; 2]>, standard_error: Option<f64>) -> Option<f64> {
    let of_interval = interval.map(|[low, high]| 0.5 * (high - low));
    of_interval.or_else(|| standard_error.map(|error| 1.96 * error))
}

/// The unit as it is written behind a number.
fn suffix(unit: Unit) -> String {
    match unit {
        Unit::Share => "%".to_owned(),
        Unit::BitsPerByte => "\u{a0}bits per byte".to_owned(),
        Unit::NatsPerToken => "\u{a0}nats per token".to_owned(),
        Unit::Seconds => "\u{a0}s".to_owned(),
        Unit::Bytes => "\u{a0}MiB".to_owned(),
        Unit::Flops => "\u{a0}FLOPs".to_owned(),
        Unit::Count | Unit::Perplexity | Unit::Number | Unit::Decimal => String::new(),
    }
}

/// A count with every way to write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The count.
    pub number: u64,
    /// `4`
    pub digits: String,
    /// `four`, as it stands before a noun: `no` for zero. Digits from thirteen on.
    pub words: String,
    /// `four`, as it stands alone: `none` for zero.
    pub alone: String,
}

impl Count {
    const WORDS: [&str; 13] =
        ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

    /// Of a number.
    pub fn of(number: u64) -> Self {
        let digits = number.to_string();
        let words = usize::try_from(number).ok().and_then(|n| Count::WORDS.get(n));
        let words = words.map_or_else(|| digits.clone(), |word| (*word).to_owned());
        let alone = if number == 0 { "none".to_owned() } else { words.clone() };
        Count { number, digits, words, alone }
    }

    /// Whether a text says this count, be its first letter a capital or not.
    pub fn is_said_by(&self, text: &str) -> bool {
        [&self.digits, &self.words, &self.alone].iter().any(|form| form.eq_ignore_ascii_case(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Shown {
        Shown::Text(text.to_owned())
    }

    #[test]
    fn differences_are_signed_and_zero_is_not() {
        let cases = [
            (0.012_3, Unit::BitsPerByte, "+0.012"),
            (-0.012_3, Unit::BitsPerByte, "\u{2212}0.012"),
            (-0.000_1, Unit::BitsPerByte, "0.000"),
            (0.031, Unit::Share, "+3.1"),
            (-1200.0, Unit::Count, "\u{2212}1,200"),
            (0.0, Unit::Count, "0"),
        ];
        for (number, unit, expected) in cases {
            assert_eq!(Shown::difference(number, unit, None), text(expected));
        }
    }

    #[test]
    fn a_number_its_error_and_its_interval_have_the_same_digits() {
        let value = Number::value(1.234_56, Some(0.061), Unit::BitsPerByte);
        assert_eq!((value.shown, value.shown_error), (text("1.23"), Some(text("0.06"))));
        let difference = Number::difference(-0.012_34, Some(0.005), Some([-0.018, -0.006]), Unit::BitsPerByte);
        assert_eq!((difference.shown, difference.shown_error), (text("\u{2212}0.0123"), Some(text("0.0050"))));
        assert_eq!(half_width(Some([-0.018, -0.006]), Some(9.0)).map(|half| (1e3 * half).round()), Some(6.0));
        assert_eq!(half_width(None, None), None);
    }

    #[test]
    fn losses_that_stand_beside_the_last_one_have_its_digits() {
        let value = |key: &str, number: f64, standard_error: Option<f64>, unit: Unit| {
            let (key, files) = (key.to_owned(), Vec::new());
            (key.clone(), Value { key, number, unit, standard_error, files })
        };
        let values: BTreeMap<String, Value> = [
            value("validation.bits_per_byte", 0.661, Some(0.002), Unit::BitsPerByte),
            value("validation.best_bits_per_byte", 0.660_96, None, Unit::BitsPerByte),
            value("data.bigram_bits_per_byte", 1.5, None, Unit::BitsPerByte),
            value("training.loss", 1.234_56, None, Unit::NatsPerToken),
            value("slices.bits_per_byte", 0.7, Some(0.1), Unit::BitsPerByte),
        ]
        .into();
        let shown = |key: &str| Number::among(&values, &values[key]).shown;
        assert_eq!(shown("validation.bits_per_byte"), text("0.6610"));
        assert_eq!(shown("validation.best_bits_per_byte"), text("0.6610"));
        assert_eq!(shown("data.bigram_bits_per_byte"), text("1.5000"));
        assert_eq!(shown("training.loss"), text("1.235"), "there is no last loss in nats");
        assert_eq!(shown("slices.bits_per_byte"), text("0.70"), "it has an error of its own");
    }

    #[test]
    fn powers_of_ten_are_data_and_minus_signs_are_true() {
        let power = |mantissa: &str, exponent: &str| Shown::PowerOfTen {
            mantissa: mantissa.to_owned(),
            exponent: exponent.to_owned(),
        };
        assert_eq!(Shown::number(3.2e14, Unit::Flops, None), power("3.20", "14"));
        assert_eq!(Shown::number(1.0 / 3e7, Unit::Number, None), power("3.33333", "\u{2212}8"));
        assert_eq!(Shown::number(1.0 / 3.0, Unit::Number, None), text("0.333333"));
        assert_eq!(Shown::number(f64::from(0.95_f32), Unit::Number, None), text("0.95"));
        assert_eq!(Shown::difference(-3.2e14, Unit::Flops, None), power("\u{2212}3.20", "14"));
        assert_eq!(Shown::number(-0.5, Unit::BitsPerByte, None), text("\u{2212}0.500"));
    }

    #[test]
    fn a_count_is_said_by_its_digits_and_its_words_and_by_nothing_else() {
        let four = Count::of(4);
        for (said, right) in [("4", true), ("four", true), ("Four", true), ("six", false), ("fourteen", false)] {
            assert_eq!(four.is_said_by(said), right, "{said}");
        }
        assert!(Count::of(0).is_said_by("none") && Count::of(0).is_said_by("No") && !Count::of(1).is_said_by("no"));
        assert_eq!(Count::of(13).words, "13");
    }
}
