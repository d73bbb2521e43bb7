//! Differences between two experiments of the paper. That of a metric which `harness compare` tests is the one it
//! prints, with its interval, test and verdict: one rule for the command line, the figures and the paper. Of any other
//! value, such as a speed, the quoted runs are subtracted and nothing is tested.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::study::{Entry, Study};
use harness_analyse::compare::{Effect, TestKind, Verdict};
use harness_analyse::{Asked, CompareError, Side, Unit, Value, compare, show};

/// A difference between two experiments: the first minus the second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The exact difference; of the means, where seeds are compared.
    pub number: f64,
    /// The text that shows it.
    pub shown: String,
    /// The unit of both numbers.
    pub unit: Unit,
    /// Its standard error, where it was tested.
    pub standard_error: Option<f64>,
    /// The text that shows it.
    pub shown_error: Option<String>,
    /// Its 95 % interval, not corrected for the family.
    pub interval: Option<[f64; 2]>,
    /// How it was tested.
    pub test: Option<TestKind>,
    /// The two-sided p-value after Holm's correction over the family.
    pub p_holm: Option<f64>,
    /// What that comes to for the first; none where nothing is tested.
    pub verdict: Option<Verdict>,
}

/// For each pair of experiments, the first minus the second by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Differences(BTreeMap<(String, String), BTreeMap<String, Difference>>);

impl Differences {
    /// Differences of each experiment from its reference, and of the other pairs that are asked for.
    pub(super) fn of(study: &Study, pairs: &[(String, String)]) -> Result<Self, CompareError> {
        let to_reference = |entry: &Entry| Some((entry.name().to_owned(), study.reference(entry)?.name().to_owned()));
        let wanted: BTreeSet<(String, String)> =
            study.entries.iter().filter_map(to_reference).chain(pairs.iter().cloned()).collect();
        let mut all = BTreeMap::new();
        for pair in wanted {
            if let (Some(first), Some(second)) = (study.entry(&pair.0), study.entry(&pair.1)) {
                all.insert(pair, between(first, second)?);
            }
        }
        Ok(Differences(all))
    }

    /// One difference, if both experiments have the value.
    pub fn get(&self, first: &str, second: &str, key: &str) -> Option<&Difference> {
        self.0.get(&(first.to_owned(), second.to_owned()))?.get(key)
    }

    /// Every pair with its differences by key.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&(String, String), &BTreeMap<String, Difference>)> {
        self.0.iter()
    }

    /// What the tests say of an experiment's metric against its reference.
    pub(super) fn verdict(&self, study: &Study, entry: &Entry, key: &str) -> Option<Verdict> {
        self.get(entry.name(), study.reference(entry)?.name(), key)?.verdict
    }
}

fn between(first: &Entry, second: &Entry) -> Result<BTreeMap<String, Difference>, CompareError> {
    let effects = match compare(&side(second), &side(first), &Asked::default()) {
        Ok(comparison) => comparison.effects,
        Err(CompareError::NothingShared { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut differences = BTreeMap::new();
    for (key, value) in &first.quoted.values {
        let Some(other) = second.quoted.values.get(key) else { continue };
        let difference = match effects.iter().find(|effect| effect.metric == *key) {
            Some(effect) => tested(effect),
            None => untested(value, other),
        };
        differences.insert(key.clone(), difference);
    }
    Ok(differences)
}

fn side(entry: &Entry) -> Side {
    let runs = entry.of_latest_plan().into_iter().cloned().collect();
    Side { name: entry.name().to_owned(), runs, left_out: Vec::new(), notes: Vec::new() }
}

fn tested(effect: &Effect) -> Difference {
    Difference {
        number: effect.difference,
        shown: shown_difference(effect.difference, effect.unit),
        unit: effect.unit,
        standard_error: effect.standard_error,
        shown_error: effect.standard_error.map(|error| show(error, effect.unit)),
        interval: effect.interval,
        test: effect.test,
        p_holm: effect.p_holm,
        verdict: Some(effect.verdict),
    }
}

fn untested(first: &Value, second: &Value) -> Difference {
    let number = first.number - second.number;
    Difference {
        number,
        shown: shown_difference(number, first.unit),
        unit: first.unit,
        standard_error: None,
        shown_error: None,
        interval: None,
        test: None,
        p_holm: None,
        verdict: None,
    }
}

/// The text that shows a difference: signed, under the rounding rule of its unit. What rounds to zero has no sign.
fn shown_difference(difference: f64, unit: Unit) -> String {
    let text = show(difference.abs(), unit);
    let zero = text.bytes().all(|b| !b.is_ascii_digit() || b == b'0');
    match difference {
        d if zero || d == 0.0 => text,
        d if d < 0.0 => format!("-{text}"),
        _ => format!("+{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_signed_and_zero_is_not() {
        let cases = [
            (0.012_3, Unit::BitsPerByte, "+0.012"),
            (-0.012_3, Unit::BitsPerByte, "-0.012"),
            (-0.000_1, Unit::BitsPerByte, "0.000"),
            (0.031, Unit::Share, "+3.1"),
            (-1200.0, Unit::Count, "-1,200"),
            (0.0, Unit::Count, "0"),
        ];
        for (number, unit, expected) in cases {
            assert_eq!(shown_difference(number, unit), expected);
        }
    }
}
