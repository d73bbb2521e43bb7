//! Whether the model's probabilities can be taken at their word: of the tokens to which its first choice was given a
//! probability near 0.7, seven in ten should be that choice.

use harness_core::token_losses::TokenLosses;
use serde::Serialize;

use harness_statistics::cluster::{Cluster, clustered_mean, jackknife};

/// Bins, as in Guo et al. 2017, On Calibration of Modern Neural Networks, section 5.
pub const BINS: usize = 15;

/// The calibration of the next-token distribution, by its first choice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Tokens predicted.
    pub tokens: u64,
    /// Share of tokens that are the model's first choice.
    pub accuracy: f64,
    /// Its standard error, by document.
    pub accuracy_standard_error: Option<f64>,
    /// Mean probability of the first choice. Above `accuracy` the model is too sure of itself.
    pub mean_probability: f64,
    /// Expected calibration error over bins of equal width (Guo et al. 2017, equation 3).
    pub error: f64,
    /// Its standard error, by document: that of the jackknife.
    pub error_standard_error: Option<f64>,
    /// The same over bins of equally many tokens (Nguyen and O'Connor 2015, Posterior Calibration and Exploratory Analysis
    /// for NLP Models), which small models, rarely sure of anything, do not leave empty.
    pub error_equal_mass: f64,
    /// The bins of equal width that hold a token.
    pub bins: Vec<Bin>,
    /// The bins of equally many tokens.
    pub bins_equal_mass: Vec<Bin>,
}

/// Tokens whose first choice was about equally probable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Smallest probability in the bin (its lower edge, for bins of equal width).
    pub low: f64,
    /// Largest probability.
    pub high: f64,
    /// Tokens in it.
    pub tokens: u64,
    /// Their mean probability.
    pub mean_probability: f64,
    /// The share that the first choice got right.
    pub accuracy: f64,
}

/// Sums of one bin, or of one bin in one document.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BinSums {
    tokens: f64,
    probability: f64,
    right: f64,
}

impl BinSums {
    fn add(&mut self, probability: f64, right: bool) {
        self.tokens += 1.0;
        self.probability += probability;
        self.right += f64::from(u8::from(right));
    }

    fn bin(&self, low: f64, high: f64) -> Bin {
        let (mean_probability, accuracy) = (self.probability / self.tokens, self.right / self.tokens);
        Bin { low, high, tokens: self.tokens as u64, mean_probability, accuracy }
    }
}

/// The bin of equal width of a probability: the edges belong to the bin below, as in Guo et al.
fn bin_of(probability: f64) -> usize {
    (libm::ceil(probability * BINS as f64) as usize).clamp(1, BINS) - 1
}

/// Sums of each document in each bin of equal width.
fn sums_by_document(losses: &TokenLosses, documents: &[u32]) -> Vec<[BinSums; BINS]> {
    let mut sums = vec![[BinSums::default(); BINS]; documents.last().map_or(0, |document| *document as usize + 1)];
    let tokens = losses.first_choice_probability.iter().zip(&losses.first_choice_right);
    for ((&probability, &right), &document) in tokens.zip(documents) {
        sums[document as usize][bin_of(f64::from(probability))].add(f64::from(probability), right);
    }
    sums
}

/// The parts of the documents in the expected calibration error over bins of equal width.
pub fn parts_of_error(losses: &TokenLosses, documents: &[u32]) -> Vec<Cluster> {
    let sums = sums_by_document(losses, documents);
    let total = total(&sums);
    let without = |document: &[BinSums; BINS]| {
        let mut rest = total;
        rest.iter_mut().zip(document).for_each(|(rest, bin)| {
            rest.tokens -= bin.tokens;
            rest.probability -= bin.probability;
            rest.right -= bin.right;
        });
        expected_error(&rest)
    };
    jackknife(expected_error(&total), &sums.iter().map(without).collect::<Vec<_>>())
}

fn total(sums: &[[BinSums; BINS]]) -> [BinSums; BINS] {
    let mut total = [BinSums::default(); BINS];
    for bins in sums {
        total.iter_mut().zip(bins).for_each(|(total, bin)| {
            total.tokens += bin.tokens;
            total.probability += bin.probability;
            total.right += bin.right;
        });
    }
    total
}

fn expected_error(bins: &[BinSums]) -> f64 {
    let tokens: f64 = bins.iter().map(|bin| bin.tokens).sum();
    bins.iter().map(|bin| (bin.right - bin.probability).abs()).sum::<f64>() / tokens
}

/// Calibration of a run; `documents` holds the document of each token. `None` without tokens.
pub fn calibration(losses: &TokenLosses, documents: &[u32], with_error: bool) -> Option<Calibration> {
    let by_document = sums_by_document(losses, documents);
    let accuracy: Vec<Cluster> = by_document
        .iter()
        .map(|bins| Cluster { sum: bins.iter().map(|b| b.right).sum(), weight: bins.iter().map(|b| b.tokens).sum() })
        .collect();
    let accuracy = clustered_mean(&accuracy)?;
    let equal_width = total(&by_document);
    let tokens = losses.len();
    let probability = equal_width.iter().map(|bin| bin.probability).sum::<f64>();
    let edge = |index: usize| index as f64 / BINS as f64;
    let filled = equal_width.iter().enumerate().filter(|(_, bin)| bin.tokens > 0.0);
    let bins = filled.map(|(index, bin)| bin.bin(edge(index), edge(index + 1))).collect();
    let (equal_mass, bins_equal_mass) = equal_mass(losses);
    let error = || clustered_mean(&parts_of_error(losses, documents))?.standard_error;
    let error_standard_error = with_error.then(error).flatten();
    Some(Calibration {
        tokens: tokens as u64,
        accuracy: accuracy.mean,
        accuracy_standard_error: accuracy.standard_error,
        mean_probability: probability / tokens as f64,
        error: expected_error(&equal_width),
        error_standard_error,
        error_equal_mass: expected_error(&equal_mass),
        bins,
        bins_equal_mass,
    })
}

/// Sums and bins of equally many tokens, in the order of their probabilities and, where those are equal, of the text.
fn equal_mass(losses: &TokenLosses) -> (Vec<BinSums>, Vec<Bin>) {
    let mut order: Vec<usize> = (0..losses.len()).collect();
    order.sort_by(|&a, &b| losses.first_choice_probability[a].total_cmp(&losses.first_choice_probability[b]));
    let part = |bin: usize| &order[bin * order.len() / BINS..(bin + 1) * order.len() / BINS];
    let mut sums = Vec::new();
    let mut bins = Vec::new();
    for part in (0..BINS).map(part) {
        let (Some(&first), Some(&last)) = (part.first(), part.last()) else { continue };
        let probability = |token: usize| f64::from(losses.first_choice_probability[token]);
        let mut bin = BinSums::default();
        part.iter().for_each(|&token| bin.add(probability(token), losses.first_choice_right[token]));
        bins.push(bin.bin(probability(first), probability(last)));
        sums.push(bin);
    }
    (sums, bins)
}

#[cfg(test)]
mod tests {
    use harness_core::random::Random;

    use super::*;

    /// Tokens whose first choice has a probability between 0 and 1 and is right `excess` more often than that says.
    fn planted(excess: f64, tokens: usize) -> (TokenLosses, Vec<u32>) {
        let mut random = Random::new(31);
        let mut losses = TokenLosses::default();
        for _ in 0..tokens {
            let probability = random.uniform();
            losses.loss_nats.push(1.0);
            losses.first_choice_probability.push(probability as f32);
            losses.first_choice_right.push(random.uniform() < (probability + excess).clamp(0.0, 1.0));
        }
        (losses, (0..tokens as u32).map(|token| token / 100).collect())
    }

    #[test]
    fn a_planted_excess_of_confidence_is_found_and_honesty_is_not_punished() {
        let (honest, units) = planted(0.0, 30_000);
        let found = calibration(&honest, &units, true).unwrap();
        // With 2,000 tokens a bin, |right - probability| is about 0.8 sqrt(p (1 - p) / 2000), 0.7 points.
        assert!(found.error < 0.012 && found.error_equal_mass < 0.012, "{found:?}");
        assert!((found.mean_probability - found.accuracy).abs() < 0.01);
        assert_eq!(found.bins.iter().map(|b| b.tokens).sum::<u64>(), 30_000);
        let (sure, units) = planted(-0.2, 30_000);
        let found = calibration(&sure, &units, true).unwrap();
        // E max(0.2, ...) : 0.2 above 0.2, all of the probability below it: 0.8 * 0.2 + 0.2 * 0.1 = 0.18.
        assert!((found.error - 0.18).abs() < 0.012 && (found.error_equal_mass - 0.18).abs() < 0.012, "{found:?}");
        assert!(found.error_standard_error.unwrap() < 0.004);
    }

    #[test]
    fn the_error_agrees_with_numpy() {
        // i = arange(1000); p = float32((i * 0.618034) % 1); y = (i * 7919) % 1000 < 1000 * p * .9, in float64
        // edges linspace(0, 1, 16), a bin being (low, high]; for equal mass argsort(p, stable) cut at k * 1000 // 15
        let mut losses = TokenLosses::default();
        for i in 0..1_000u32 {
            let probability = (f64::from(i) * 0.618_034 % 1.0) as f32;
            losses.loss_nats.push(0.0);
            losses.first_choice_probability.push(probability);
            losses.first_choice_right.push(f64::from(i * 7_919 % 1_000) < 1_000.0 * f64::from(probability) * 0.9);
        }
        let found = calibration(&losses, &vec![0; 1_000], false).unwrap();
        assert!((found.error - 0.053_792_364_140_914_276).abs() < 1e-12, "{}", found.error);
        assert!((found.error_equal_mass - 0.053_659_324_144_886_35).abs() < 1e-12, "{}", found.error_equal_mass);
    }

    #[test]
    fn edges_belong_to_the_bin_below() {
        assert_eq!([0.0, 1.0 / 15.0, 0.067, 1.0].map(bin_of), [0, 0, 1, 14]);
    }
}
