//! What a model answers to an item: the choice that it gives the best score, if it answers at all.

use harness_core::scores::ChoiceScore;
use harness_core::task_kind::{Kind, Metric};

use super::choice_score;

/// A model's answer to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A right choice leads every wrong one.
    Right,
    /// A wrong choice leads every right one.
    Wrong,
    /// None: it counts as not right, and is counted.
    Unanswered(Why),
}

/// Why an item is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A score is no finite number.
    NotFinite,
    /// A choice does not fit the window of the model.
    TooLong,
    /// A right and a wrong choice share the best score.
    Tie,
}

/// How many items were not answered, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unanswered {
    /// [`Why::NotFinite`]
    pub not_finite: u64,
    /// [`Why::TooLong`]
    pub too_long: u64,
    /// [`Why::Tie`]
    pub ties: u64,
}

impl Unanswered {
    /// Those among some answers.
    pub fn among(answers: &[Answer]) -> Self {
        let count = |why: Why| answers.iter().filter(|answer| **answer == Answer::Unanswered(why)).count() as u64;
        Unanswered { not_finite: count(Why::NotFinite), too_long: count(Why::TooLong), ties: count(Why::Tie) }
    }

    /// For whatever reason.
    pub fn total(self) -> u64 {
        self.not_finite + self.too_long + self.ties
    }

    /// Of two sets of items together.
    pub fn plus(self, other: Self) -> Self {
        Unanswered {
            not_finite: self.not_finite + other.not_finite,
            too_long: self.too_long + other.too_long,
            ties: self.ties + other.ties,
        }
    }
}

/// The answer to each item of a task under a metric; last words are answered by the greedy choice. Rows must be in the order
/// of item and choice.
///
/// The order of the choices never decides: where the best right and the best wrong choice score the same, as two texts do of
/// which the model saw the same tokens, nothing was answered. So a task and the same task with right and wrong exchanged
/// never add up to more than 1.
pub fn answers(rows: &[ChoiceScore], kind: Kind, metric: Metric) -> Vec<Answer> {
    let asked_alone = metric == Metric::AccuracyMutualInformation && kind != Kind::LastWord;
    let answer = |choices: &[ChoiceScore]| {
        let lacks = |row: &ChoiceScore| {
            row.log_probability_nats.is_none() || (asked_alone && row.unconditional_log_probability_nats.is_none())
        };
        let score = |row: &ChoiceScore| if kind == Kind::LastWord { row.nats() } else { choice_score(metric, row) };
        if choices.iter().any(lacks) {
            return Answer::Unanswered(Why::TooLong);
        }
        if choices.iter().any(|row| !score(row).is_finite()) {
            return Answer::Unanswered(Why::NotFinite);
        }
        if kind == Kind::LastWord {
            return if choices[0].greedy { Answer::Right } else { Answer::Wrong };
        }
        let best = |gold: bool| choices.iter().filter(|c| c.gold == gold).map(score).fold(f64::NEG_INFINITY, f64::max);
        let (right, wrong) = (best(true), best(false));
        if right > wrong {
            Answer::Right
        } else if right < wrong {
            Answer::Wrong
        } else {
            Answer::Unanswered(Why::Tie)
        }
    };
    rows.chunk_by(|a, b| a.item == b.item).map(answer).collect()
}

/// The cluster of each item, where every item has one.
pub(crate) fn clusters(rows: &[ChoiceScore]) -> Option<Vec<u64>> {
    rows.chunk_by(|a, b| a.item == b.item).map(|choices| choices[0].cluster).collect()
}

/// Whether several sets of answers to the same items can be held against each other: every score is finite, and an item
/// that one leaves unanswered is left so by all. Else the difference would be one of windows or of failures, not of answers.
pub(crate) fn answered_alike(runs: &[&[Answer]]) -> bool {
    let finite = runs.iter().all(|answers| !answers.contains(&Answer::Unanswered(Why::NotFinite)));
    let open = |answer: &Answer| matches!(answer, Answer::Unanswered(_));
    finite && runs.windows(2).all(|two| two[0].iter().map(open).eq(two[1].iter().map(open)))
}

/// Which of the answers are right.
pub(crate) fn right(answers: &[Answer]) -> Vec<bool> {
    answers.iter().map(|answer| *answer == Answer::Right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items with the choice of index `gold` right.
    fn rows(gold: usize, items: &[&[Option<f64>]]) -> Vec<ChoiceScore> {
        let row = |item: usize, choice: usize, log_probability_nats: Option<f64>| ChoiceScore {
            item: item as u64,
            choice: choice as u32,
            gold: choice == gold,
            characters: choice as u64 + 1,
            tokens: 1,
            log_probability_nats,
            greedy: log_probability_nats.is_some_and(|nats| nats > -1.5),
            bytes: choice as u64 + 1,
            words: 1,
            unconditional_log_probability_nats: None,
            context_tokens_cut: 0,
            cluster: None,
        };
        let of_item = |(item, scores): (usize, &&[Option<f64>])| {
            scores.iter().enumerate().map(|(choice, &x)| row(item, choice, x)).collect::<Vec<_>>()
        };
        items.iter().enumerate().flat_map(of_item).collect()
    }

    const TIE: Answer = Answer::Unanswered(Why::Tie);
    const NOT_FINITE: Answer = Answer::Unanswered(Why::NotFinite);
    const TOO_LONG: Answer = Answer::Unanswered(Why::TooLong);

    #[test]
    fn the_order_of_the_choices_decides_nothing() {
        let items: [&[Option<f64>]; 5] = [
            &[Some(-1.0), Some(-1.0)],
            &[Some(-2.0), Some(-1.0)],
            &[Some(-1.0), Some(-2.0)],
            &[Some(-1.0), Some(-3.0), Some(-1.0)],
            &[Some(-2.0), Some(-1.0), Some(-1.0)],
        ];
        let found = answers(&rows(0, &items), Kind::MultipleChoice, Metric::Accuracy);
        assert_eq!(found, [TIE, Answer::Wrong, Answer::Right, TIE, Answer::Wrong]);
        // Turned round, two choices of the same score do not become a right answer either.
        assert_eq!(
            answers(&rows(1, &items[..3]), Kind::MultipleChoice, Metric::Accuracy),
            [TIE, Answer::Right, Answer::Wrong]
        );
        let by_character = answers(&rows(0, &items[..2]), Kind::MultipleChoice, Metric::AccuracyPerCharacter);
        assert_eq!(by_character, [Answer::Wrong, Answer::Wrong]);
    }

    #[test]
    fn what_is_not_finite_or_does_not_fit_is_no_answer() {
        let items: [&[Option<f64>]; 5] = [
            &[Some(f64::NAN), Some(-1.0)],
            &[Some(-1.0), Some(f64::NAN)],
            &[Some(-1.0), Some(f64::NEG_INFINITY)],
            &[Some(-1.0), None],
            &[Some(f64::NAN), None],
        ];
        let found = answers(&rows(0, &items), Kind::MultipleChoice, Metric::Accuracy);
        assert_eq!(found, [NOT_FINITE, NOT_FINITE, NOT_FINITE, TOO_LONG, TOO_LONG]);
        let counted = Unanswered::among(&found);
        assert_eq!(counted, Unanswered { not_finite: 3, too_long: 2, ties: 0 });
        assert_eq!((counted.total(), right(&found)), (5, vec![false; 5]));
        // Without its context nothing was scored.
        assert_eq!(
            answers(&rows(0, &[&[Some(-1.0), Some(-2.0)]]), Kind::MultipleChoice, Metric::AccuracyMutualInformation),
            [TOO_LONG]
        );
        let words = rows(0, &[&[Some(-1.0)], &[Some(-2.0)], &[Some(f64::NAN)], &[None]]);
        assert_eq!(
            answers(&words, Kind::LastWord, Metric::Accuracy),
            [Answer::Right, Answer::Wrong, NOT_FINITE, TOO_LONG]
        );
    }
}
