//! How probable the right answer of an item is. An accuracy moves only where a choice overtakes another; these move with every
//! step, so small models are told apart on far fewer items (Magnusson et al. 2025, DataDecide; Heineman et al. 2025, Signal
//! and Noise). Both come from the rows that accuracies come from.

use std::f64::consts::LN_2;

use harness_core::scores::ChoiceScore;
use harness_core::task_kind::Kind;
use harness_statistics::cluster::{Cluster, by_cluster};

use crate::choices::{Why, clusters};
use crate::ratio::Ratio;

/// A continuous score of the right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likelihood {
    /// Bits of the right choices after their context, over their bytes.
    GoldBitsPerByte,
    /// Probability of the right choices over that of all choices of the item; of tasks with wrong choices.
    GoldProbability,
}

impl Likelihood {
    /// Both.
    pub const ALL: [Likelihood; 2] = [Likelihood::GoldBitsPerByte, Likelihood::GoldProbability];

    /// The last part of its key.
    pub fn name(self) -> &'static str {
        match self {
            Likelihood::GoldBitsPerByte => "gold_bits_per_byte",
            Likelihood::GoldProbability => "gold_probability",
        }
    }

    /// Its key for a task or group.
    pub fn key(self, id: &str) -> String {
        format!("tasks.{id}.{}", self.name())
    }

    /// The score that a key is of, with the task or group.
    pub fn of_key(key: &str) -> Option<(&str, Self)> {
        let (id, name) = key.strip_prefix("tasks.")?.rsplit_once('.')?;
        Some((id, Likelihood::ALL.into_iter().find(|score| score.name() == name)?))
    }

    /// The part of an item in the score of its task: what is added up, and what that is divided by. The second is the same
    /// for every model. An item with a choice that has no finite score has none.
    fn part(self, choices: &[ChoiceScore]) -> Result<Cluster, Why> {
        if choices.iter().any(|row| row.log_probability_nats.is_none()) {
            return Err(Why::TooLong);
        }
        if choices.iter().any(|row| !row.nats().is_finite()) {
            return Err(Why::NotFinite);
        }
        let right = || choices.iter().filter(|row| row.gold);
        Ok(match self {
            Likelihood::GoldBitsPerByte => Cluster {
                sum: -right().map(ChoiceScore::nats).sum::<f64>() / LN_2,
                weight: right().map(|row| row.bytes).sum::<u64>() as f64,
            },
            Likelihood::GoldProbability => {
                let largest = choices.iter().map(ChoiceScore::nats).fold(f64::NEG_INFINITY, f64::max);
                let over = |row: &ChoiceScore| libm::exp(row.nats() - largest);
                let (right, all): (f64, f64) = (right().map(over).sum(), choices.iter().map(over).sum());
                Cluster { sum: right / all, weight: 1.0 }
            }
        })
    }

    /// The part of each item of a task; none of a task that has no such score. Rows must be in the order of item and choice.
    pub(crate) fn parts(self, rows: &[ChoiceScore], kind: Kind) -> Option<Vec<Result<Cluster, Why>>> {
        let has = match self {
            // Records before rows had bytes say 0.
            Likelihood::GoldBitsPerByte => rows.iter().all(|row| row.bytes > 0),
            Likelihood::GoldProbability => kind != Kind::LastWord,
        };
        (has && kind != Kind::Documents)
            .then(|| rows.chunk_by(|a, b| a.item == b.item).map(|choices| self.part(choices)).collect())
    }

    /// The score of a task over the items that fit the window; none where a score is not finite, or no item fits.
    pub(crate) fn of_task(self, rows: &[ChoiceScore], kind: Kind) -> Option<Ratio> {
        let parts = self.parts(rows, kind)?;
        if parts.contains(&Err(Why::NotFinite)) {
            return None;
        }
        let of = clusters(rows).unwrap_or_else(|| (0..parts.len() as u64).collect());
        let (of, parts): (Vec<u64>, Vec<Cluster>) =
            of.into_iter().zip(parts).filter_map(|(cluster, part)| Some((cluster, part.ok()?))).unzip();
        let sum = |of: fn(&Cluster) -> f64| parts.iter().map(of).sum::<f64>();
        (!parts.is_empty()).then(|| Ratio::of(sum(|part| part.sum), sum(|part| part.weight), &by_cluster(&parts, &of)))
    }
}

/// Whether a smaller value of this key is an improvement: of losses, bits, perplexities and errors, but not of accuracies and of
/// the probability of what is right.
pub fn lower_is_better(key: &str) -> bool {
    !key.contains("accuracy") && !key.ends_with(Likelihood::GoldProbability.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A choice: nats, whether it is right, bytes.
    type Choice = (Option<f64>, bool, u64);

    /// One row for each choice.
    fn rows(items: &[&[Choice]]) -> Vec<ChoiceScore> {
        let row = |item: usize, choice: usize, (log_probability_nats, gold, bytes): Choice| ChoiceScore {
            item: item as u64,
            choice: choice as u32,
            gold,
            characters: bytes,
            tokens: 1,
            log_probability_nats,
            greedy: false,
            bytes,
            words: 1,
            unconditional_log_probability_nats: None,
            context_tokens_cut: 0,
            cluster: None,
        };
        let of_item = |(item, choices): (usize, &&[Choice])| {
            choices.iter().enumerate().map(|(choice, &of)| row(item, choice, of)).collect::<Vec<_>>()
        };
        items.iter().enumerate().flat_map(of_item).collect()
    }

    const CHOICE: Kind = Kind::MultipleChoice;

    #[test]
    fn scores_are_what_their_definitions_say() {
        // Right: 2 bits over 4 bytes, then 6 bits over 2 bytes; in the third item two choices are right.
        let nats = |bits: f64| Some(-bits * LN_2);
        let rows = rows(&[
            &[(nats(2.0), true, 4), (nats(3.0), false, 9)],
            &[(nats(5.0), false, 1), (nats(6.0), true, 2), (nats(6.0), false, 1)],
            &[(nats(1.0), true, 1), (nats(2.0), true, 3), (nats(2.0), false, 8)],
        ]);
        let bits = Likelihood::GoldBitsPerByte.of_task(&rows, CHOICE).unwrap();
        assert!((bits.number - (2.0 + 6.0 + 3.0) / 10.0).abs() < 1e-12 && bits.standard_error.is_none(), "{bits:?}");
        let probability = Likelihood::GoldProbability.of_task(&rows, CHOICE).unwrap();
        // 1/4 of 1/4 + 1/8; 1/64 of 1/32 + 1/64 + 1/64; 3/4 of 1.
        assert!((probability.number - (2.0 / 3.0 + 0.25 + 0.75) / 3.0).abs() < 1e-12, "{probability:?}");
        assert_eq!(Likelihood::GoldProbability.of_task(&rows, Kind::LastWord), None);
        assert!(Likelihood::GoldBitsPerByte.of_task(&rows, Kind::LastWord).is_some());
    }

    #[test]
    fn the_error_is_that_of_a_mean_and_of_a_ratio_over_items() {
        let right = [-1.0, -2.0, -0.5, -4.0, -3.0, -2.5];
        let items: Vec<Vec<Choice>> =
            right.iter().map(|&nats| vec![(Some(nats), true, 2), (Some(-2.0), false, 2)]).collect();
        let rows = rows(&items.iter().map(Vec::as_slice).collect::<Vec<_>>());
        // numpy: p = 1 / (1 + exp(-2 - x)); p.mean(), p.std(ddof=1) / sqrt(6)
        let found = Likelihood::GoldProbability.of_task(&rows, CHOICE).unwrap();
        let p: Vec<f64> = right.iter().map(|x| 1.0 / (1.0 + libm::exp(-2.0 - x))).collect();
        let error = libm::sqrt(harness_statistics::variance(&p) / 6.0);
        assert!((found.number - harness_statistics::mean(&p)).abs() < 1e-12);
        assert!((found.standard_error.unwrap() - error).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn very_improbable_choices_keep_their_proportion() {
        let rows = rows(&[&[(Some(-2000.0), true, 1), (Some(-2000.0 - libm::log(3.0)), false, 1)]]);
        let found = Likelihood::GoldProbability.of_task(&rows, CHOICE).unwrap();
        assert!((found.number - 0.75).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_what_is_not_finite_leaves_no_score() {
        let fits: &[_] = &[(Some(-1.0), true, 1), (Some(-1.0), false, 1)];
        let too_long: &[_] = &[(Some(-1.0), true, 1), (None, false, 1)];
        let not_finite: &[_] = &[(Some(f64::NAN), true, 1), (Some(-1.0), false, 1)];
        for score in Likelihood::ALL {
            let of = |items: &[&[Choice]]| score.of_task(&rows(items), CHOICE);
            assert_eq!(of(&[fits, too_long]), of(&[fits]), "{score:?}");
            assert_eq!((of(&[fits, not_finite]), of(&[too_long])), (None, None), "{score:?}");
        }
        // A record before rows had bytes.
        assert_eq!(Likelihood::GoldBitsPerByte.of_task(&rows(&[&[(Some(-1.0), true, 0)]]), CHOICE), None);
    }

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(Likelihood::of_key("tasks.a.b.gold_probability"), Some(("a.b", Likelihood::GoldProbability)));
        assert_eq!(Likelihood::of_key("tasks.a.accuracy"), None);
        let lower = ["tasks.a.gold_bits_per_byte", "validation.bits_per_byte"];
        assert!(lower.into_iter().all(lower_is_better));
        assert!(!["tasks.a.gold_probability", "tasks.a.accuracy_normalized"].into_iter().any(lower_is_better));
    }
}
