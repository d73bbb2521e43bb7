//! Text that a model went on to, as a record keeps it: `evaluations/step-NNNNNNNN/generated.jsonl` with the tokens as the
//! trainer drew them ([`GeneratedSample`], one a line), and `samples.jsonl` with the same as text.

use serde::{Deserialize, Serialize};

use crate::contract::{GeneratedSample, Sampling, SamplingRule};

/// The file of the tokens, in the folder of its evaluation.
pub const GENERATED: &str = "generated.jsonl";

/// One line of `samples.jsonl`: a text, and how it was drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleText {
    /// Optimizer steps of the checkpoint that it was drawn from.
    pub step: u64,
    /// Which of the samples, from 0.
    pub sample: u32,
    /// Seed of the choice.
    pub seed: u64,
    /// How a token was chosen.
    pub rule: SamplingRule,
    /// The most tokens that it could have.
    pub max_tokens: u32,
    /// The tokens that it has.
    pub tokens: u64,
    /// What the model read first, behind the separator that begins every document.
    pub prompt: String,
    /// What it went on to. Bytes that are no UTF-8 are U+FFFD.
    pub text: String,
}

impl SampleText {
    /// The line of a sample.
    pub fn of(step: u64, sampling: &Sampling, drawn: &GeneratedSample, prompt: String, text: String) -> Self {
        let Sampling { max_tokens, rule, seed, .. } = *sampling;
        let (sample, tokens) = (drawn.sample, drawn.tokens.len() as u64);
        SampleText { step, sample, seed, rule, max_tokens, tokens, prompt, text }
    }
}

/// Whether these are all samples that were to be drawn, in their order, none longer than it may be, each token with a
/// probability.
pub fn are_as_asked(drawn: &[GeneratedSample], sampling: &Sampling) -> bool {
    let is_asked = |(at, drawn): (usize, &GeneratedSample)| {
        drawn.sample as usize == at
            && drawn.tokens.len() <= sampling.max_tokens as usize
            && drawn.tokens.len() == drawn.log_probabilities_nats.len()
            && drawn.log_probabilities_nats.iter().all(|nats| nats.is_finite() && *nats <= 1e-3)
    };
    drawn.len() == sampling.samples as usize && drawn.iter().enumerate().all(is_asked)
}

/// Of two drawings of the same samples each as far as their tokens are the same: a token that falls otherwise changes all
/// that come after it.
pub fn in_common(one: &[GeneratedSample], other: &[GeneratedSample]) -> [Vec<GeneratedSample>; 2] {
    let same = one.iter().zip(other).map(|(a, b)| a.tokens.iter().zip(&b.tokens).take_while(|(a, b)| a == b).count());
    let same: Vec<usize> = same.collect();
    [one, other].map(|drawn| {
        let cut = |(drawn, &same): (&GeneratedSample, &usize)| GeneratedSample {
            sample: drawn.sample,
            tokens: drawn.tokens[..same].to_vec(),
            log_probabilities_nats: drawn.log_probabilities_nats.iter().take(same).copied().collect(),
        };
        drawn.iter().zip(&same).map(cut).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(sample: u32, tokens: &[u32]) -> GeneratedSample {
        let log_probabilities_nats = tokens.iter().map(|_| -1.0).collect();
        GeneratedSample { sample, tokens: tokens.to_vec(), log_probabilities_nats }
    }

    #[test]
    fn samples_are_those_that_were_asked_for_or_not() {
        let rule = SamplingRule { temperature: 1.0, top_k: 0, top_p: 1.0 };
        let sampling = Sampling { prompt: vec![0], samples: 2, max_tokens: 3, rule, seed: 1 };
        let both = [drawn(0, &[4, 5, 6]), drawn(1, &[])];
        assert!(are_as_asked(&both, &sampling));
        assert!(!are_as_asked(&both[..1], &sampling), "one is left out");
        assert!(!are_as_asked(&[both[1].clone(), both[0].clone()], &sampling), "another order");
        assert!(!are_as_asked(&[drawn(0, &[4, 5, 6, 7]), drawn(1, &[])], &sampling), "too long");
        for nats in [0.5, f64::NAN] {
            let odd = GeneratedSample { log_probabilities_nats: vec![nats], ..drawn(1, &[4]) };
            assert!(!are_as_asked(&[both[0].clone(), odd], &sampling), "{nats} is no logarithm of a probability");
        }
    }

    #[test]
    fn two_drawings_are_the_same_up_to_the_first_token_that_fell_otherwise() {
        let one = [drawn(0, &[4, 5, 6]), drawn(1, &[7])];
        let other = [drawn(0, &[4, 9, 6, 8]), drawn(1, &[7, 8])];
        let common = [drawn(0, &[4]), drawn(1, &[7])];
        assert_eq!(in_common(&one, &other), [common.to_vec(), common.to_vec()]);
    }
}
