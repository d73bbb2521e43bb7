//! Differences between two experiments of the paper. That of a metric which was registered and can be decided is the one of
//! `harness decide`, on which claims rest. That of another which `harness compare` tests is the one it prints, with its interval, test,
//! verdict and notes: one rule for the command line and the paper. Of any other value, such as a speed, the means over the same
//! runs are subtracted and nothing is tested.

use std::collections::{BTreeMap, BTreeSet};

use harness_analyse::compare::{Basis, Effect, Note, TestKind, Verdict, judge};
use harness_analyse::{Asked, CompareError, Comparison, RunAnalysis, Side, Unit, Value, compare};
use harness_core::config::Direction as Expected;
use harness_study::decide::{Decision, Estimate, better_of};
use serde::Serialize;

use super::families::{Entry, Families, is_of_test_side};
use super::model::{Direction, Number, Piece, Shown, half_width};

/// A difference between two experiments: the first minus the second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// Of the means over the seeds of both.
    #[serde(flatten)]
    pub difference: Number,
    /// Its 95 % interval, not corrected for the family; of a registered test the simultaneous one at its level.
    pub interval: Option<[f64; 2]>,
    /// The text that shows it.
    pub shown_interval: Option<String>,
    /// How it was tested.
    pub test: Option<TestKind>,
    /// The two-sided p-value after Holm's correction over the family.
    pub p_holm: Option<f64>,
    /// That of the registered test, adjusted over the changes of the baseline, in place of the two before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_registered: Option<f64>,
    /// What that comes to for the first; none where nothing is tested.
    pub verdict: Option<Verdict>,
    /// What may be said of the first.
    pub direction: Direction,
    /// [`Direction::words`]
    pub words: &'static str,
    /// The test as `harness compare` made it; none where nothing is compared.
    #[serde(skip)]
    pub tested: Option<Tested>,
}

/// A test of `harness compare`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tested {
    /// What it found.
    pub effect: Effect,
    /// What it is over.
    pub basis: Basis,
    /// Tests whose p-values are corrected with its own, that one too.
    pub tests: usize,
}

/// Two experiments held against each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Pair {
    /// By key.
    pub differences: BTreeMap<String, Difference>,
    /// What else a reader of these differences has to know.
    pub notes: Vec<Vec<Piece>>,
}

/// Pairs of experiments: the first, then what is subtracted from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Differences(BTreeMap<String, BTreeMap<String, Pair>>);

impl Differences {
    /// Differences of each experiment from its reference, and of the other pairs that are asked for.
    pub(crate) fn of(families: &Families, pairs: &[(String, String)]) -> Result<Self, CompareError> {
        let to_reference =
            |entry: &Entry| Some((entry.name().to_owned(), families.reference(entry)?.name().to_owned()));
        let wanted: BTreeSet<(String, String)> =
            families.entries.iter().filter_map(to_reference).chain(pairs.iter().cloned()).collect();
        let mut all: BTreeMap<String, BTreeMap<String, Pair>> = BTreeMap::new();
        // What is held against one experiment is corrected together, whichever of it is quoted.
        let mut against: BTreeMap<String, Vec<String>> = BTreeMap::new();
        wanted.into_iter().for_each(|(first, second)| against.entry(second).or_default().push(first));
        for (second, firsts) in against {
            let Some(reference) = families.entry(&second) else { continue };
            let entries: Vec<&Entry> = firsts.iter().filter_map(|first| families.entry(first)).collect();
            let compared = Compared::of(reference, &entries, |entry| &entry.seeds)?;
            // What the test side says is asked once, and corrected for no more than that.
            let on_test_side = Compared::of(reference, &entries, |entry| &entry.tested)?;
            for entry in entries {
                let test = |key: &str| {
                    let of = if is_of_test_side(key) { &on_test_side } else { &compared };
                    of.tested(entry, key)
                };
                let pair = pair(entry, reference, compared.notes(entry), test);
                all.entry(entry.name().to_owned()).or_default().insert(second.clone(), pair);
            }
        }
        Ok(Differences(all))
    }

    /// Takes the registered test for the difference that it is about.
    pub(crate) fn register(&mut self, decision: &Decision) {
        let (Some(expect), Some(estimate)) = (&decision.proposal.expect, &decision.estimate) else { return };
        // What was changed after the first run was not registered.
        if !decision.changed_since.is_empty() {
            return;
        }
        let pairs = self.0.get_mut(decision.experiment.as_str());
        let pair = pairs.and_then(|pairs| pairs.get_mut(decision.against.as_str()));
        if let Some(difference) = pair.and_then(|pair| pair.differences.get_mut(&expect.metric)) {
            let wanted = (expect.direction != Expected::Same).then_some(expect.direction);
            difference.register(estimate, better_of(&expect.metric).or(wanted));
        }
    }

    /// Sets what is to be known of the runs of both before what is to be known of a comparison.
    pub(crate) fn add_notes(&mut self, notes: &BTreeMap<String, Vec<String>>) {
        for (first, pairs) in &mut self.0 {
            for (second, pair) in pairs {
                let of_both = [second, first].into_iter().filter_map(|name| notes.get(name)).flatten();
                let mut all: Vec<Vec<Piece>> = of_both.map(|note| Piece::sentence(note)).collect();
                all.append(&mut pair.notes);
                pair.notes = all;
            }
        }
    }

    /// One difference, if both experiments have the value.
    pub(crate) fn get(&self, first: &str, second: &str, key: &str) -> Option<&Difference> {
        self.0.get(first)?.get(second)?.differences.get(key)
    }

    /// Every difference: of which experiment, from which, and of which key.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str, &str, &Difference)> {
        self.0.iter().flat_map(|(first, pairs)| {
            pairs.iter().flat_map(move |(second, pair)| {
                let of_key =
                    move |(key, difference)| (first.as_str(), second.as_str(), String::as_str(key), difference);
                pair.differences.iter().map(of_key)
            })
        })
    }

    /// What the tests say of an experiment's metric against its reference.
    pub(crate) fn verdict(&self, families: &Families, entry: &Entry, key: &str) -> Option<Verdict> {
        self.get(entry.name(), families.reference(entry)?.name(), key)?.verdict
    }
}

/// Experiments held against one, their tests corrected together.
struct Compared {
    comparisons: Vec<Comparison>,
    /// What there is to say of those that share nothing with it, by name.
    apart: BTreeMap<String, Vec<Note>>,
}

impl Compared {
    /// Over some runs of each; who has none of them is left out.
    fn of<'e>(
        reference: &'e Entry,
        entries: &[&'e Entry],
        runs: impl Fn(&'e Entry) -> &'e [&'e RunAnalysis],
    ) -> Result<Self, CompareError> {
        let mut compared = Compared { comparisons: Vec::new(), apart: BTreeMap::new() };
        let side = |entry: &'e Entry| side(entry.name(), runs(entry));
        let Some(base) = side(reference) else { return Ok(compared) };
        for entry in entries {
            let Some(other) = side(entry) else { continue };
            match compare(&base, &other, &Asked::default()) {
                Ok(comparison) => compared.comparisons.push(comparison),
                Err(CompareError::NothingShared { notes, .. }) => {
                    compared.apart.insert(entry.name().to_owned(), notes);
                }
                Err(error) => return Err(error),
            }
        }
        judge(&mut compared.comparisons);
        Ok(compared)
    }

    fn comparison(&self, entry: &Entry) -> Option<&Comparison> {
        self.comparisons.iter().find(|comparison| comparison.other.name == entry.name())
    }

    /// What a reader has to know of the two.
    fn notes(&self, entry: &Entry) -> &[Note] {
        let compared = self.comparison(entry).map(|comparison| &comparison.notes);
        compared.or_else(|| self.apart.get(entry.name())).map_or(&[], Vec::as_slice)
    }

    /// The test of a metric.
    fn tested(&self, entry: &Entry, key: &str) -> Option<Tested> {
        let comparison = self.comparison(entry)?;
        let effect = comparison.effects.iter().find(|effect| effect.metric == key)?.clone();
        let corrected = |other: &&Effect| other.family == effect.family && other.p_value.is_some();
        let tests = self.comparisons.iter().flat_map(|comparison| &comparison.effects).filter(corrected).count();
        Some(Tested { effect, basis: comparison.basis, tests })
    }
}

fn pair(first: &Entry, second: &Entry, notes: &[Note], test: impl Fn(&str) -> Option<Tested>) -> Pair {
    let mut pair = Pair { notes: notes.iter().map(|note| Piece::sentence(&note.text())).collect(), ..Pair::default() };
    for (key, value) in &first.values {
        let Some(other) = second.values.get(key) else { continue };
        let difference = match test(key) {
            Some(test) => tested(test),
            None => untested(value, other),
        };
        pair.differences.insert(key.clone(), difference);
    }
    pair
}

fn side(name: &str, runs: &[&RunAnalysis]) -> Option<Side> {
    let runs: Vec<RunAnalysis> = runs.iter().copied().cloned().collect();
    let (left_out, notes) = (Vec::new(), Vec::new());
    (!runs.is_empty()).then(|| Side { name: name.to_owned(), runs, left_out, notes, opened: None })
}

/// A direction only where the test gives one.
fn direction(effect: &Effect) -> Direction {
    match effect.verdict {
        Verdict::Better | Verdict::Worse if effect.difference < 0.0 => Direction::Lower,
        Verdict::Better | Verdict::Worse => Direction::Higher,
        Verdict::ModelsDiffer => Direction::Different,
        Verdict::NotDistinguishable => Direction::NotDistinguishable,
        Verdict::NotJudged => Direction::NotTested,
    }
}

impl Difference {
    fn register(&mut self, estimate: &Estimate, better: Option<Expected>) {
        let Estimate { difference, interval, p_adjusted, .. } = *estimate;
        let is_found = interval[0] > 0.0 || interval[1] < 0.0;
        let direction = match is_found {
            false => Direction::NotDistinguishable,
            true if difference < 0.0 => Direction::Lower,
            true => Direction::Higher,
        };
        let verdict = match better {
            _ if !is_found => Verdict::NotDistinguishable,
            None => Verdict::NotJudged,
            Some(better) if (difference < 0.0) == (better == Expected::Lower) => Verdict::Better,
            Some(_) => Verdict::Worse,
        };
        let unit = self.difference.unit;
        *self = Difference {
            difference: Number::difference(difference, None, Some(interval), unit),
            interval: Some(interval),
            shown_interval: Some(shown_interval(interval, unit)),
            test: None,
            p_holm: None,
            p_registered: Some(p_adjusted),
            verdict: Some(verdict),
            direction,
            words: direction.words(),
            tested: self.tested.take(),
        };
    }
}

fn shown_interval([low, high]: [f64; 2], unit: Unit) -> String {
    let end = |number: f64| Shown::difference(number, unit, half_width(Some([low, high]), None));
    format!("[{}, {}]", end(low), end(high))
}

fn tested(test: Tested) -> Difference {
    let effect = &test.effect;
    let direction = direction(effect);
    Difference {
        difference: Number::difference(effect.difference, effect.standard_error, effect.interval, effect.unit),
        interval: effect.interval,
        shown_interval: effect.interval.map(|interval| shown_interval(interval, effect.unit)),
        test: effect.test,
        p_holm: effect.p_holm,
        p_registered: None,
        verdict: Some(effect.verdict),
        direction,
        words: direction.words(),
        tested: Some(test),
    }
}

fn untested(first: &Value, second: &Value) -> Difference {
    Difference {
        difference: Number::difference(first.number - second.number, None, None, first.unit),
        interval: None,
        shown_interval: None,
        test: None,
        p_holm: None,
        p_registered: None,
        verdict: None,
        direction: Direction::NotTested,
        words: Direction::NotTested.words(),
        tested: None,
    }
}
