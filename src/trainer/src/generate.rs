//! Text that a model goes on to, as token ids: read what there is, choose the next token, read again.
//!
//! The model reads all of its last `context_length` tokens anew for each token. That costs a factor of the length over
//! keeping keys and values, and is the same computation as in training, whatever the architecture.

use harness_core::contract::{GenerateJob, GeneratedSample, Sampling, SamplingRule, VERSION};
use harness_core::random::{self, Purpose, Random};
use tch::{Device, Tensor};

use crate::batch::to_device;
use crate::checkpoint;
use crate::device;
use crate::error::Error;
use crate::model::Transformer;
use crate::model::weights::Parameters;

/// Generates the samples of a job one after the other.
pub fn run(job: &GenerateJob, tell: &mut dyn FnMut(&GeneratedSample)) -> Result<(), Error> {
    if job.version != VERSION {
        return Err(Error::wrong_version(u64::from(job.version)));
    }
    check(&job.sampling, job.vocabulary_size)?;
    let chosen = device::choose(job.training.device)?;
    device::configure(&job.training)?;
    let parameters = Parameters::initialize(&job.model, job.vocabulary_size, 0, chosen.device);
    match (&job.checkpoint, &job.initial_weights) {
        // As in evaluation: the average of the weights, where the run kept one.
        (Some(path), _) => checkpoint::read(path)?.restore_average(&parameters)?,
        (None, Some(weights)) => checkpoint::restore_initial(weights, &parameters)?,
        (None, None) => return Err(refused("the job names no weights".to_owned())),
    }
    let compute = device::compute_kind(job.training.precision);
    let model = tch::no_grad(|| parameters.model(&job.model, compute));
    (0..job.sampling.samples).try_for_each(|sample| {
        tell(&one(&model, &job.sampling, sample, (job.separator, chosen.device))?);
        Ok(())
    })
}

fn refused(problem: String) -> Error {
    Error::Job { problem, hint: None }
}

/// Refuses what cannot be drawn.
pub fn check(sampling: &Sampling, vocabulary_size: u32) -> Result<(), Error> {
    let rule = &sampling.rule;
    if sampling.prompt.is_empty() {
        return Err(refused("the prompt has no token".to_owned()));
    }
    if let Some(id) = sampling.prompt.iter().find(|&&id| id >= vocabulary_size) {
        return Err(refused(format!("token {id} of the prompt is outside the vocabulary of {vocabulary_size}")));
    }
    if !(rule.temperature >= 0.0 && rule.temperature.is_finite() && rule.top_p > 0.0 && rule.top_p <= 1.0) {
        return Err(refused(format!("{rule:?} is no rule: temperature from 0, top_p above 0 and up to 1")));
    }
    Ok(())
}

/// Draws one sample. It ends before the token that begins every document.
pub fn one(
    model: &Transformer,
    sampling: &Sampling,
    sample: u32,
    (separator, device): (u32, Device),
) -> Result<GeneratedSample, Error> {
    // Element k of the stream is a function of (seed, sample, k) alone.
    let mut random = Random::new(random::seed(sampling.seed, u64::from(sample), Purpose::Sampling));
    let mut tokens: Vec<i64> = sampling.prompt.iter().map(|&id| i64::from(id)).collect();
    let mut generated = GeneratedSample { sample, tokens: Vec::new(), log_probabilities_nats: Vec::new() };
    for _ in 0..sampling.max_tokens {
        let read = &tokens[tokens.len().saturating_sub(model.context_length())..];
        let logits = last_logits(model, read, device);
        if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
            return Err(Error::NotMeasured {
                problem: format!(
                    "sample {sample}: a logit is {logit} after {} tokens, so none can be chosen",
                    tokens.len()
                ),
                hint: "take a checkpoint from before training broke down, or set `training.precision = \"f32\"`",
            });
        }
        let next = choose(&logits, &sampling.rule, random.uniform());
        if next == separator as usize {
            break;
        }
        generated.tokens.push(next as u32);
        generated.log_probabilities_nats.push(log_probability(&logits, next));
        tokens.push(next as i64);
    }
    Ok(generated)
}

/// The logits (V) after the last of `tokens`.
fn last_logits(model: &Transformer, tokens: &[i64], device: Device) -> Vec<f32> {
    let logits = tch::no_grad(|| {
        let tokens = to_device(Tensor::from_slice(tokens).unsqueeze(0), device); // (1, T)
        let last = model.hidden(&tokens, None, 0.0).select(1, -1); // (1, C)
        model.head().float32_logits(&last).squeeze_dim(0).to_device(Device::Cpu) // (V)
    });
    Vec::try_from(logits).expect("a vector of float32")
}

/// The natural logarithm of a token's probability under the softmax of `logits`.
fn log_probability(logits: &[f32], token: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&z| libm::exp(f64::from(z - largest))).sum();
    f64::from(logits[token] - largest) - libm::log(sum)
}

/// The token that a uniform number in [0, 1) chooses. Tokens are ranked by logit, equal ones by id; the first `top_k`
/// are kept; of those the shortest beginning whose probabilities (of those kept) sum to `top_p` or more; the number is
/// looked up in the cumulative probabilities of what is left, in the order of the ranks.
pub fn choose(logits: &[f32], rule: &SamplingRule, uniform: f64) -> usize {
    let mut ranked: Vec<usize> = (0..logits.len()).collect();
    ranked.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    if rule.temperature == 0.0 {
        return ranked[0];
    }
    if rule.top_k > 0 {
        ranked.truncate(rule.top_k as usize);
    }
    let largest = f64::from(logits[ranked[0]]);
    let weights = ranked.iter().map(|&token| libm::exp((f64::from(logits[token]) - largest) / rule.temperature));
    let mut cumulative: Vec<f64> = weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let all = cumulative[cumulative.len() - 1];
    if rule.top_p < 1.0 {
        let kept = cumulative.partition_point(|&sum| sum < rule.top_p * all) + 1;
        cumulative.truncate(kept);
    }
    let wanted = uniform * cumulative[cumulative.len() - 1];
    ranked[cumulative.partition_point(|&sum| sum <= wanted).min(cumulative.len() - 1)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use harness_core::config::ModelConfig;
    use tch::Kind;

    use super::*;

    const LOGITS: [f32; 6] = [0.5, 2.0, -1.0, 1.0, 2.0, 0.0];

    fn rule(temperature: f64, top_k: u32, top_p: f64) -> SamplingRule {
        SamplingRule { temperature, top_k, top_p }
    }

    /// How often each token is chosen over an even grid of uniform numbers: its probability under the rule.
    fn shares(rule: SamplingRule) -> BTreeMap<usize, f64> {
        const GRID: u32 = 20_000;
        let mut shares = BTreeMap::new();
        for i in 0..GRID {
            let uniform = (f64::from(i) + 0.5) / f64::from(GRID);
            *shares.entry(choose(&LOGITS, &rule, uniform)).or_insert(0.0) += 1.0 / f64::from(GRID);
        }
        shares
    }

    /// The softmax of `LOGITS` over some tokens, at a temperature.
    fn softmax(tokens: &[usize], temperature: f64) -> BTreeMap<usize, f64> {
        let weight = |token: usize| libm::exp(f64::from(LOGITS[token]) / temperature);
        let sum: f64 = tokens.iter().map(|&t| weight(t)).sum();
        tokens.iter().map(|&t| (t, weight(t) / sum)).collect()
    }

    #[track_caller]
    fn assert_close(found: &BTreeMap<usize, f64>, expected: &BTreeMap<usize, f64>) {
        assert!(found.keys().eq(expected.keys()), "{found:?} {expected:?}");
        assert!(found.iter().all(|(token, share)| (share - expected[token]).abs() < 1e-3), "{found:?} {expected:?}");
    }

    #[test]
    fn temperature_scales_and_truncation_keeps_what_it_defines() {
        let all = [0, 1, 2, 3, 4, 5];
        assert_close(&shares(rule(1.0, 0, 1.0)), &softmax(&all, 1.0));
        assert_close(&shares(rule(0.5, 0, 1.0)), &softmax(&all, 0.5));
        assert_close(&shares(rule(2.0, 3, 1.0)), &softmax(&[1, 4, 3], 2.0));
        assert_close(&shares(rule(1.0, 1, 1.0)), &softmax(&[1], 1.0));
        // Tokens 1 and 4 have 0.36 each and 3 has 0.13: two of them reach 0.7, three reach 0.8.
        assert_close(&shares(rule(1.0, 0, 0.7)), &softmax(&[1, 4], 1.0));
        assert_close(&shares(rule(1.0, 0, 0.8)), &softmax(&[1, 4, 3], 1.0));
        assert_close(&shares(rule(1.0, 0, 1e-9)), &softmax(&[1], 1.0));
        // Within the two that top_k keeps each has a half.
        assert_close(&shares(rule(1.0, 2, 0.5)), &softmax(&[1], 1.0));
        assert_eq!(choose(&LOGITS, &rule(0.0, 0, 1.0), 0.9), 1, "the lowest id of two equal ones");
    }

    fn sampling() -> Sampling {
        Sampling { prompt: vec![0, 7], samples: 3, max_tokens: 20, rule: rule(1.0, 0, 1.0), seed: 4 }
    }

    fn config() -> ModelConfig {
        ModelConfig { layers: 1, heads: 2, width: 16, context_length: 8, init_std: 0.5, ..ModelConfig::default() }
    }

    fn model() -> Transformer {
        Parameters::initialize(&config(), 40, 1, Device::Cpu).model(&config(), Kind::Float)
    }

    /// A sample that ends before token `separator`.
    fn drawn(model: &Transformer, sampling: &Sampling, sample: u32, separator: u32) -> Result<GeneratedSample, Error> {
        one(model, sampling, sample, (separator, Device::Cpu))
    }

    #[test]
    fn without_temperature_each_token_is_the_argmax_of_the_logits() {
        let model = model();
        let sample = drawn(&model, &Sampling { rule: rule(0.0, 0, 1.0), ..sampling() }, 0, 99).unwrap();
        assert_eq!(sample.tokens.len(), 20, "longer than the context, so the oldest tokens fall out");
        let mut tokens: Vec<i64> = vec![0, 7];
        for (&token, &log_p) in sample.tokens.iter().zip(&sample.log_probabilities_nats) {
            let read = &tokens[tokens.len().saturating_sub(8)..];
            let logits = model.logits(&Tensor::from_slice(read).unsqueeze(0)).squeeze_dim(0).get(-1);
            assert_eq!(logits.argmax(-1, false).int64_value(&[]), i64::from(token));
            let expected = logits.log_softmax(-1, Kind::Double).double_value(&[i64::from(token)]);
            assert!((expected - log_p).abs() < 1e-5);
            tokens.push(i64::from(token));
        }
    }

    #[test]
    fn nothing_is_generated_from_logits_that_are_no_numbers() {
        let parameters = Parameters::initialize(&config(), 40, 1, Device::Cpu);
        tch::no_grad(|| drop(parameters.tensors()[0].shallow_clone().fill_(f64::NAN)));
        let model = parameters.model(&config(), Kind::Float);
        let failure = drawn(&model, &sampling(), 1, 0).unwrap_err().to_failure(0);
        assert_eq!(failure.kind, "non_finite");
        assert_eq!(failure.message, "sample 1: a logit is NaN after 2 tokens, so none can be chosen");
    }

    #[test]
    fn a_sample_depends_on_seed_and_number_only() {
        let (model, sampling) = (model(), sampling());
        let first: Vec<GeneratedSample> = (0..3).map(|k| drawn(&model, &sampling, k, 0).unwrap()).collect();
        assert_eq!(first[2], drawn(&model, &sampling, 2, 0).unwrap());
        assert_ne!(first[0].tokens, first[1].tokens);
        let other_seed = drawn(&model, &Sampling { seed: 5, ..sampling.clone() }, 0, 0).unwrap();
        assert_ne!(first[0].tokens, other_seed.tokens);
        assert!(first.iter().all(|sample| !sample.tokens.contains(&0)), "it ends before the separator");
    }
}
