//! Is a score a log-probability at all? Before each evaluation the model reads a few tokens without meaning in ways that
//! must give the same, by the code that scores the evaluation: all next tokens add up to one, other tokens later on change
//! nothing before them, and a sequence scores the same alone and beside others. A model that fails has no score.

use harness_core::config::{Precision, TrainingConfig};
use harness_core::contract::SelfTest;
use harness_core::random::Random;
use harness_core::token_losses::TokenLosses;

use crate::error::Error;
use crate::span::Span;

/// Tokens of the longest sequence read, if two thirds of the context hold them: two that share their first half then fit
/// into one reading.
const LONGEST: usize = 32;
/// Tokens after which all next ones are asked for.
const PREFIX: usize = 8;
/// By how much a sum of probabilities, and a log-probability with other tokens after it, may be off: they are computed in
/// float32, in the same shapes.
const ROUNDING: f64 = 1e-3;

/// By how many nats a log-probability may depend on the sequences beside its own: shapes decide the order of sums, and
/// hidden states carry 24, 11 or 8 bits.
pub fn batch_tolerance_nats(training: &TrainingConfig) -> f64 {
    match training.precision {
        Precision::F32 if training.tf32 => 0.05,
        Precision::F32 => 1e-3,
        Precision::Bf16 => 0.5,
    }
}

/// Tests the scores that `predict` gives for a model of some context length and vocabulary. `None` where scores are not
/// finite: the rows of the evaluation say so. `step` is for the error.
pub fn self_test(
    predict: &dyn Fn(&[Span]) -> Result<TokenLosses, Error>,
    (context_length, vocabulary_size): (usize, u32),
    batch_tolerance_nats: f64,
    step: u64,
) -> Result<Option<SelfTest>, Error> {
    let length = LONGEST.min(context_length * 2 / 3).max(1);
    let text = |salt: u64, length: usize| {
        let mut random = Random::new(salt);
        let tokens: Vec<i64> = (0..=length).map(|_| random.below(u64::from(vocabulary_size)) as i64).collect();
        Span { inputs: tokens[..length].to_vec(), targets: tokens[1..].to_vec() }
    };
    // The second has the first half of the first, and the same targets; the last is padded to the length of the third.
    let (first, half) = (text(1, length), length / 2);
    let mut second = first.clone();
    second.inputs[half..].iter_mut().for_each(|token| *token = (*token + 1) % i64::from(vocabulary_size));
    let spans = [first, second, text(2, length), text(3, length.saturating_sub(3).max(1))];

    let losses = |spans: &[Span]| -> Result<Vec<f64>, Error> {
        Ok(predict(spans)?.loss_nats.into_iter().map(f64::from).collect())
    };
    let alone = spans.iter().map(|span| losses(std::slice::from_ref(span))).collect::<Result<Vec<_>, _>>()?;
    let together = losses(&spans)?;
    let prefix = &spans[0].inputs[..PREFIX.min(length)];
    let next = |token: u32| Span { inputs: prefix.to_vec(), targets: vec![i64::from(token)] };
    let next = losses(&(0..vocabulary_size).map(next).collect::<Vec<_>>())?;
    if !alone.iter().flatten().chain(&together).chain(&next).all(|loss| loss.is_finite()) {
        return Ok(None);
    }

    let largest = |pairs: &mut dyn Iterator<Item = (&f64, &f64)>| pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let sum: f64 = next.iter().map(|loss| libm::exp(-loss)).sum();
    let found = SelfTest {
        tokens: spans.iter().map(|span| span.inputs.len() as u64).sum(),
        probability_sum_error: (sum - 1.0).abs(),
        look_ahead_nats: largest(&mut alone[0][..half].iter().zip(&alone[1][..half])),
        batch_nats: largest(&mut alone.iter().flatten().zip(&together)),
        batch_tolerance_nats,
    };
    let problem = if found.probability_sum_error > ROUNDING {
        format!("the probabilities of all {vocabulary_size} tokens that can come next add up to {sum:.6}, not to 1")
    } else if found.look_ahead_nats > ROUNDING {
        format!(
            "the model sees what it is to predict: other tokens from position {half} on change a log-probability before them by \
             {:.3e} nats",
            found.look_ahead_nats
        )
    } else if found.batch_nats > batch_tolerance_nats {
        format!(
            "a log-probability differs by {:.3e} nats when other sequences are read beside its own; rounding explains \
             {batch_tolerance_nats}",
            found.batch_nats
        )
    } else {
        return Ok(Some(found));
    };
    Err(Error::SelfTest { step, problem })
}

#[cfg(test)]
mod tests {
    use harness_core::config::ModelConfig;
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::model::weights::Parameters;
    use crate::model::{Transformer, loss};

    const VOCABULARY: u32 = 40;

    fn model() -> Transformer {
        let config =
            ModelConfig { layers: 2, heads: 2, width: 16, context_length: 48, init_std: 0.3, ..ModelConfig::default() };
        Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu).model(&config, Kind::Float)
    }

    /// Scores as they would be if something were done to the hidden states (B, T, C) of sequences of one length, and to the
    /// log-probabilities.
    fn tested(states: fn(Tensor) -> Tensor, scores: fn(f64) -> f64) -> Result<Option<SelfTest>, Error> {
        let model = model();
        let predict = |spans: &[Span]| {
            let mut found = TokenLosses::default();
            for alike in spans.chunk_by(|a, b| a.inputs.len() == b.inputs.len()) {
                let inputs: Vec<i64> = alike.iter().flat_map(|span| span.inputs.clone()).collect();
                let inputs = Tensor::from_slice(&inputs).view([alike.len() as i64, -1]); // (B, T)
                let states = tch::no_grad(|| states(model.hidden(&inputs, None, 0.0)).flatten(0, 1)); // (B T, C)
                let mut questions = Vec::new();
                for (row, span) in alike.iter().enumerate() {
                    let first = (row + 1) * span.inputs.len() - span.targets.len();
                    questions.extend((first..).zip(span.targets.iter().copied()));
                }
                for answer in loss::predictions(model.head(), &states, &questions) {
                    found.loss_nats.push(-scores(answer.log_probability_nats) as f32);
                }
            }
            Ok(found)
        };
        self_test(&predict, (48, VOCABULARY), 1e-3, 7)
    }

    #[track_caller]
    fn fails(states: fn(Tensor) -> Tensor, scores: fn(f64) -> f64, words: &str) {
        let failure = tested(states, scores).unwrap_err().to_failure(7);
        assert_eq!(failure.kind, "self_test");
        let said = failure.message.contains(words) && failure.message.starts_with("before the evaluation after step 7");
        assert!(said && failure.hint.is_some(), "{}", failure.message);
    }

    #[test]
    fn a_sound_model_passes_with_what_was_measured() {
        let found = tested(|states| states, |nats| nats).unwrap().unwrap();
        assert_eq!((found.tokens, found.look_ahead_nats, found.batch_tolerance_nats), (32 * 3 + 29, 0.0, 1e-3));
        assert!(found.probability_sum_error < 1e-5 && found.batch_nats < 1e-4, "{found:?}");
    }

    #[test]
    fn scores_that_are_no_probabilities_fail() {
        fails(|states| states, |nats| nats * 0.9, "add up to");
    }

    #[test]
    fn a_model_without_a_causal_mask_fails() {
        // What attention without a mask does: every position has something of all, later ones included.
        fails(
            |states| &states + 0.1 * states.mean_dim(1, true, Kind::Float),
            |nats| nats,
            "sees what it is to predict",
        );
        // One position too far, as by a shift that is off by one.
        fails(|states| states.roll([-1], [1]), |nats| nats, "from position 16 on");
    }

    #[test]
    fn a_score_that_depends_on_the_batch_fails() {
        fails(|states| &states - states.mean_dim(0, true, Kind::Float), |nats| nats, "beside its own");
    }

    #[test]
    fn what_is_not_finite_is_left_to_the_rows_of_the_evaluation() {
        assert_eq!(tested(|states| states * f64::NAN, |nats| nats).unwrap(), None);
    }
}
