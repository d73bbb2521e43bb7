//! Error rates of each test on simulated data with fixed seeds: a true null is called a difference in 5 % of the
//! simulations, a true difference of the detectable size is found in 80 %, both within Monte Carlo error.

use harness_core::random::Random;

use super::distribution::normal_quantile;
use super::hypothesis::{LEVEL, holm, mcnemar, pooled_t, welch};
use super::power::{POWER, detectable_normal, detectable_over_seeds, mcnemar_power};
use super::resample::{expanded_percentiles, nested_draws, ratio_draws};

/// Holds a share of `simulations` against a probability, at three standard errors.
#[track_caller]
fn near(rejected: usize, simulations: usize, expected: f64) {
    let found = rejected as f64 / simulations as f64;
    let reach = 3.0 * libm::sqrt(expected * (1.0 - expected) / simulations as f64);
    assert!((found - expected).abs() < reach, "{found} is not {expected} ± {reach}");
}

fn normal(random: &mut Random) -> f64 {
    // The Irwin-Hall sum of twelve uniform numbers: normal to within a thousandth of probability, and cheap.
    (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0
}

fn sample(random: &mut Random, n: usize, mean: f64, deviation: f64) -> Vec<f64> {
    (0..n).map(|_| mean + deviation * normal(random)).collect()
}

#[test]
fn welch_over_seeds() {
    const SIMULATIONS: usize = 4_000;
    let mut random = Random::new(11);
    let mut rate = |n: usize, effect: f64, simulations: usize| {
        let found = (0..simulations).filter(|_| {
            let (first, second) = (sample(&mut random, n, 0.0, 1.0), sample(&mut random, n, effect, 1.0));
            welch(&first, &second).unwrap().p_value <= LEVEL
        });
        found.count()
    };
    near(rate(10, 0.0, SIMULATIONS), SIMULATIONS, LEVEL);
    near(rate(10, detectable_over_seeds(10, 10).unwrap(), SIMULATIONS), SIMULATIONS, POWER);
    // With three seeds Welch's test is on the safe side: it has fewer degrees of freedom than it could.
    let few = rate(3, 0.0, SIMULATIONS) as f64 / SIMULATIONS as f64;
    assert!((0.025..=0.055).contains(&few), "{few}");
}

#[test]
fn one_run_against_several() {
    const SIMULATIONS: usize = 4_000;
    let mut random = Random::new(12);
    let mut rate = |effect: f64| {
        let found = (0..SIMULATIONS).filter(|_| {
            let (first, second) = (sample(&mut random, 4, 0.0, 1.0), sample(&mut random, 1, effect, 1.0));
            pooled_t(&first, &second).unwrap().p_value <= LEVEL
        });
        found.count()
    };
    near(rate(0.0), SIMULATIONS, LEVEL);
    near(rate(detectable_over_seeds(4, 1).unwrap()), SIMULATIONS, POWER);
}

#[test]
fn mcnemar_over_items() {
    const SIMULATIONS: usize = 2_000;
    const ITEMS: u64 = 200;
    const DISCORDANT: f64 = 0.2;
    let mut random = Random::new(13);
    let mut rate = |difference: f64| {
        let found = (0..SIMULATIONS).filter(|_| {
            let draw = |_| match random.uniform() {
                u if u < (DISCORDANT - difference) / 2.0 => (true, false),
                u if u < DISCORDANT => (false, true),
                _ => (true, true),
            };
            let (first, second): (Vec<bool>, Vec<bool>) = (0..ITEMS).map(draw).unzip();
            mcnemar(&first, &second).p_value <= LEVEL
        });
        found.count()
    };
    // Counts are whole, so the exact test keeps below 5 %; how far is known.
    let null = mcnemar_power(ITEMS, DISCORDANT, 0.0);
    assert!(null < LEVEL);
    near(rate(0.0), SIMULATIONS, null);
    near(rate(0.1), SIMULATIONS, mcnemar_power(ITEMS, DISCORDANT, 0.1));
}

#[test]
fn the_bootstrap_over_documents() {
    const SIMULATIONS: usize = 800;
    const DOCUMENTS: usize = 40;
    let mut random = Random::new(14);
    let mut rate = |effect: f64| {
        let found = (0..SIMULATIONS as u64).filter(|&key| {
            // Documents of unequal length; the spread of a mean falls with the length.
            let weights: Vec<f64> = (0..DOCUMENTS).map(|_| 1.0 + 2.0 * random.uniform()).collect();
            let values = weights.iter().map(|w| w * (effect + normal(&mut random))).collect::<Vec<_>>();
            let draws = ratio_draws(&values, &weights, key, 400);
            expanded_percentiles(&draws, DOCUMENTS, DOCUMENTS as f64 - 1.0).p_value <= LEVEL
        });
        found.count()
    };
    near(rate(0.0), SIMULATIONS, LEVEL);
    // E(w^2) / E(w)^2 = 13/12 of a mean's variance.
    let error = libm::sqrt(13.0 / 12.0 / DOCUMENTS as f64);
    let power = rate(detectable_normal(error)) as f64 / SIMULATIONS as f64;
    assert!((power - POWER).abs() < 0.06, "{power}");
}

#[test]
fn the_bootstrap_over_seeds_and_items() {
    const SIMULATIONS: usize = 500;
    let (seeds, items) = (6, 30);
    let mut random = Random::new(15);
    let mut rate = |effect: f64| {
        let found = (0..SIMULATIONS as u64).filter(|&key| {
            let hard = sample(&mut random, items, 0.0, 1.0);
            let mut run = |mean: f64| {
                let luck = normal(&mut random);
                hard.iter().map(|h| h + mean + luck + 0.5 * normal(&mut random)).collect::<Vec<_>>()
            };
            let first: Vec<_> = (0..seeds).map(|_| run(0.0)).collect();
            let second: Vec<_> = (0..seeds).map(|_| run(effect)).collect();
            let draws = nested_draws([&first, &second], &vec![1.0; items], key, 300);
            expanded_percentiles(&draws, seeds, 2.0 * seeds as f64 - 2.0).p_value <= LEVEL
        });
        found.count() as f64 / SIMULATIONS as f64
    };
    let (null, power) = (rate(0.0), rate(detectable_over_seeds(seeds, seeds).unwrap()));
    // It errs on the wide side (Owen 2007), so 5 % and 80 % are bounds from above, not reached.
    assert!(null < LEVEL + 3.0 * libm::sqrt(LEVEL * (1.0 - LEVEL) / SIMULATIONS as f64), "{null}");
    assert!(null > 0.005 && power > 0.6, "{null} {power}");
}

#[test]
fn holm_over_a_family() {
    const SIMULATIONS: usize = 4_000;
    let mut random = Random::new(16);
    let any = (0..SIMULATIONS).filter(|_| {
        // Under the null p-values are uniform.
        let p: Vec<f64> = (0..6).map(|_| random.uniform()).collect();
        holm(&p).iter().any(|&p| p <= LEVEL)
    });
    // Independent tests: 1 - (1 - 0.05/6)^6
    near(any.count(), SIMULATIONS, 1.0 - libm::pow(1.0 - LEVEL / 6.0, 6.0));
}

#[test]
fn the_simulated_normal_is_normal() {
    let mut random = Random::new(17);
    let draws = sample(&mut random, 20_000, 0.0, 1.0);
    for p in [0.025, 0.25, 0.5, 0.975] {
        near(draws.iter().filter(|&&d| d < normal_quantile(p)).count(), draws.len(), p);
    }
}
