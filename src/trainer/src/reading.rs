//! How spans are read. Spans that begin alike, such as the choices of an item after their context, share a sequence:
//! the stem that they have in common, then the rest of each. Attention hides the branches from each other
//! ([`Packing::branches`](crate::model::mask::Packing::branches)), so each is read as if it stood alone, and what they
//! have in common is computed once. (Cai et al. 2024, Medusa, section 2.1.2, call such a mask tree attention.)

use std::collections::BTreeMap;

use crate::model::mask::STEM;
use crate::span::Span;

/// Lengths are padded to a multiple of this, so that few shapes occur.
const LENGTH_STEP: usize = 8;
/// A span joins others if that costs at most this share of what reading it alone costs: a mask written out, and the
/// attention to branches that it hides, cost something too.
const WORTHWHILE: f64 = 0.75;

/// One sequence to read, and what is asked of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// Token ids: the stem, then the branches; padded to [`LENGTH_STEP`].
    pub tokens: Vec<i64>,
    /// Number of the branch of each token.
    pub numbers: Vec<i64>,
    /// Where each token stands in its span.
    pub places: Vec<i64>,
    /// Whether there is more than one branch. If not, plain causal attention will do.
    pub branching: bool,
    /// What is asked, by index into `tokens`.
    pub asked: BTreeMap<usize, Vec<Asked>>,
}

/// How probable is a token after those before it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The token.
    pub target: i64,
    /// Where the answer goes, counted over the targets of all spans.
    pub answer: usize,
}

/// What makes a span: its inputs, and who asks for it, as (span, its first answer).
type Branch<'a> = (&'a [i64], Vec<(&'a Span, usize)>);

/// The sequences that answer all spans, for a model of some `width` that reads at most `context_length` tokens;
/// ascending by [`Reading::shape`].
pub fn readings(spans: &[Span], width: usize, context_length: usize) -> Vec<Reading> {
    // Sorted by their tokens, spans that begin alike stand side by side.
    let mut branches: BTreeMap<&[i64], Vec<(&Span, usize)>> = BTreeMap::new();
    let mut answers = 0;
    for span in spans {
        assert!(!span.targets.is_empty() && span.targets.len() <= span.inputs.len(), "targets need inputs");
        branches.entry(&span.inputs).or_default().push((span, answers));
        answers += span.targets.len();
    }
    // Of one layer's products and attention, in units of 8 C operations, for feed-forward layers four times as wide.
    let cost = |length: usize| (length * (6 * width + length)) as f64;
    let mut readings = Vec::new();
    let mut group: Vec<Branch<'_>> = Vec::new();
    let (mut stem, mut length) = (0, 0);
    for branch in branches {
        let size = branch.0.len();
        if let Some((last, _)) = group.last() {
            let common = last.iter().zip(branch.0).take_while(|(a, b)| a == b).count().min(stem);
            // A shorter stem lengthens every branch.
            let joined = length + (stem - common) * (group.len() - 1) + size - common;
            if joined <= context_length && cost(joined) - cost(length) <= WORTHWHILE * cost(size) {
                (stem, length) = (common, joined);
                group.push(branch);
                continue;
            }
            readings.push(Reading::new(&group, stem, context_length));
            group.clear();
        }
        (stem, length) = (size, size);
        group.push(branch);
    }
    if !group.is_empty() {
        readings.push(Reading::new(&group, stem, context_length));
    }
    readings.sort_by_key(Reading::shape);
    readings
}

impl Reading {
    fn new(branches: &[Branch<'_>], stem: usize, context_length: usize) -> Self {
        let (mut tokens, mut numbers, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut push = |ids: &[i64], number: i64, first_place: usize| {
            tokens.extend_from_slice(ids);
            numbers.resize(tokens.len(), number);
            places.extend((first_place..).take(ids.len()).map(|place| place as i64));
            tokens.len()
        };
        let mut asked: BTreeMap<usize, Vec<Asked>> = BTreeMap::new();
        let mut length = push(&branches[0].0[..stem], STEM, 0);
        for (number, (inputs, askers)) in (STEM + 1..).zip(branches) {
            length = push(&inputs[stem..], number, stem);
            for &(span, first_answer) in askers {
                let first = inputs.len() - span.targets.len();
                for (i, &target) in span.targets.iter().enumerate() {
                    let place = first + i;
                    let at = if place < stem { place } else { length - (inputs.len() - place) };
                    asked.entry(at).or_default().push(Asked { target, answer: first_answer + i });
                }
            }
        }
        // Nothing sees the padding: it comes last, and is a branch of its own.
        let padded = length.next_multiple_of(LENGTH_STEP).min(context_length);
        push(&vec![0; padded - length], branches.len() as i64 + STEM + 1, 0);
        Reading { tokens, numbers, places, branching: branches.len() > 1, asked }
    }

    /// Sequences of the same shape can be read together: the length, and whether there are branches.
    pub fn shape(&self) -> (usize, bool) {
        (self.tokens.len(), self.branching)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// For each answer, the tokens before the target as the mask shows them, and the target.
    fn questions(readings: &[Reading]) -> BTreeMap<usize, (Vec<i64>, i64)> {
        let mut found = BTreeMap::new();
        for reading in readings {
            let numbers = &reading.numbers;
            let seen =
                |from: usize, to: usize| !reading.branching || numbers[to] == numbers[from] || numbers[to] == STEM;
            for (&at, asked) in &reading.asked {
                let visible: Vec<usize> = (0..=at).filter(|&to| seen(at, to)).collect();
                let places: Vec<i64> = visible.iter().map(|&i| reading.places[i]).collect();
                assert_eq!(places, (0..visible.len() as i64).collect::<Vec<_>>(), "{reading:?}");
                let context: Vec<i64> = visible.iter().map(|&i| reading.tokens[i]).collect();
                for asked in asked {
                    assert!(found.insert(asked.answer, (context.clone(), asked.target)).is_none(), "{reading:?}");
                }
            }
        }
        found
    }

    fn span(inputs: &[i64], targets: &[i64]) -> Span {
        Span { inputs: inputs.to_vec(), targets: targets.to_vec() }
    }

    #[test]
    fn choices_share_their_context() {
        let context = [0, 5, 6, 7, 8, 9, 10, 11];
        let choice = |rest: &[i64]| {
            let all: Vec<i64> = context.iter().chain(rest).copied().collect();
            span(&all[..all.len() - 1], &all[context.len()..])
        };
        let spans = [choice(&[1, 2]), choice(&[3]), choice(&[1, 4, 4]), choice(&[2])];
        let readings = readings(&spans, 64, 64);
        assert_eq!(readings.len(), 1);
        // The eight tokens of the context, the one of the first choice, and two of the third; padded to 16.
        assert_eq!(readings[0].tokens[..11], [0, 5, 6, 7, 8, 9, 10, 11, 1, 1, 4]);
        assert_eq!(readings[0].numbers[..11], [0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 3]);
        assert_eq!(readings[0].tokens.len(), 16);
        assert_eq!(readings[0].asked[&7].len(), 4, "the first token of each choice is asked for at the context's end");
    }

    #[test]
    fn what_has_little_in_common_is_read_alone() {
        let long: Vec<i64> = (0..60).collect();
        let other: Vec<i64> = std::iter::once(0).chain(100..159).collect();
        let readings = readings(&[span(&long, &[1]), span(&other, &[2])], 64, 512);
        assert_eq!(readings.iter().map(Reading::shape).collect::<Vec<_>>(), [(64, false), (64, false)]);
    }

    proptest! {
        #[test]
        fn every_target_is_asked_for_once_after_its_own_inputs(
            tails in prop::collection::vec((0usize..12, prop::collection::vec(0i64..3, 1..12), 1usize..12), 1..40),
            width in 1usize..64,
        ) {
            let stem: Vec<i64> = (10..22).collect();
            let spans: Vec<Span> = tails
                .iter()
                .map(|(shared, tail, targets)| {
                    let inputs: Vec<i64> = stem[..*shared].iter().chain(tail).copied().collect();
                    let count = (*targets).min(inputs.len());
                    // What follows within the inputs, then a token that is not read.
                    let mut wanted = inputs[inputs.len() - count + 1..].to_vec();
                    wanted.push(7);
                    Span { inputs, targets: wanted }
                })
                .collect();
            let found = questions(&readings(&spans, width, 24));
            let mut answer = 0;
            for span in &spans {
                for (i, &target) in span.targets.iter().enumerate() {
                    let before = span.inputs.len() - span.targets.len() + 1 + i;
                    prop_assert_eq!(&found[&answer], &(span.inputs[..before].to_vec(), target));
                    answer += 1;
                }
            }
            prop_assert_eq!(found.len(), answer);
        }
    }
}
