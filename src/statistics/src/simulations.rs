//! Error rates of each test on simulated data with fixed seeds: a true null is called a difference in no more than 7 % of the
//! simulations, a true difference of the detectable size is found in 80 %, intervals cover 95 %, all within Monte Carlo error.
//! The long form, over the comparison itself, is `make error-rates`.

use harness_core::random::Random;

use super::cluster::{Cluster, cluster_test};
use super::crossed::{Influences, interval_over_seeds_and_units};
use super::hypothesis::{LEVEL, McNemar, holm, mcnemar, over_seeds, stratified_mcnemar};
use super::power::{
    POWER, detectable_in_blocks, detectable_over_clusters, detectable_over_seeds, detectable_stratified, mcnemar_power,
    standard_normal as normal,
};

/// Holds a share of `simulations` against a probability, at three standard errors.
#[track_caller]
fn near(rejected: usize, simulations: usize, expected: f64) {
    let found = rejected as f64 / simulations as f64;
    let reach = 3.0 * libm::sqrt(expected * (1.0 - expected) / simulations as f64);
    assert!((found - expected).abs() < reach, "{found} is not {expected} ± {reach}");
}

/// No test may call more than this share of nulls a difference.
#[track_caller]
fn holds(rejected: usize, simulations: usize, what: &str) {
    let found = rejected as f64 / simulations as f64;
    let reach = 3.0 * libm::sqrt(0.07 * 0.93 / simulations as f64);
    assert!(found < 0.07 + reach, "{what}: {found}");
}

fn sample(random: &mut Random, n: usize, mean: f64, deviation: f64) -> Vec<f64> {
    (0..n).map(|_| mean + deviation * normal(random)).collect()
}

#[test]
fn over_the_seeds_of_two_experiments() {
    const SIMULATIONS: usize = 4_000;
    let mut random = Random::new(11);
    let mut rate = |counts: [usize; 2], deviation: f64, effect: f64| {
        let found = (0..SIMULATIONS).filter(|_| {
            let (first, second) =
                (sample(&mut random, counts[0], 0.0, deviation), sample(&mut random, counts[1], effect, 1.0));
            over_seeds(&first, &second, false).unwrap().1.p_value <= LEVEL
        });
        found.count()
    };
    near(rate([10, 10], 1.0, 0.0), SIMULATIONS, LEVEL);
    for counts in [[2, 2], [3, 3], [5, 5], [2, 5], [3, 4]] {
        for deviation in [1.0, 2.0] {
            holds(rate(counts, deviation, 0.0), SIMULATIONS, &format!("{counts:?} seeds, deviations 1 to {deviation}"));
        }
        near(rate(counts, 1.0, detectable_over_seeds(counts[0], counts[1], LEVEL).unwrap()), SIMULATIONS, POWER);
    }
}

#[test]
fn within_shared_seeds() {
    const SIMULATIONS: usize = 4_000;
    let mut random = Random::new(12);
    let mut rate = |effect: f64| {
        let found = (0..SIMULATIONS).filter(|_| {
            let luck = sample(&mut random, 4, 0.0, 3.0);
            let mut side = |mean: f64| luck.iter().map(|l| l + mean + normal(&mut random)).collect::<Vec<_>>();
            over_seeds(&side(0.0), &side(effect), true).unwrap().1.p_value <= LEVEL
        });
        found.count()
    };
    near(rate(0.0), SIMULATIONS, LEVEL);
    near(rate(core::f64::consts::SQRT_2 * detectable_in_blocks(4, LEVEL).unwrap()), SIMULATIONS, POWER);
}

#[test]
fn mcnemar_over_items() {
    const SIMULATIONS: usize = 2_000;
    const ITEMS: u64 = 200;
    const DISCORDANT: f64 = 0.2;
    let mut random = Random::new(13);
    let mut answers = |difference: f64| -> (Vec<bool>, Vec<bool>) {
        let draw = |_| match random.uniform() {
            u if u < (DISCORDANT - difference) / 2.0 => (true, false),
            u if u < DISCORDANT => (false, true),
            _ => (true, true),
        };
        (0..ITEMS).map(draw).unzip()
    };
    let mut rate = |difference: f64| {
        let found = (0..SIMULATIONS).filter(|_| {
            let (first, second) = answers(difference);
            mcnemar(&first, &second).p_value <= LEVEL
        });
        found.count()
    };
    // Counts are whole, so the exact test keeps below 5 %; how far is known.
    let null = mcnemar_power(ITEMS, DISCORDANT, 0.0);
    assert!(null < LEVEL);
    near(rate(0.0), SIMULATIONS, null);
    near(rate(0.1), SIMULATIONS, mcnemar_power(ITEMS, DISCORDANT, 0.1));
    let covered = (0..SIMULATIONS).filter(|_| {
        let (first, second) = answers(0.1);
        let [low, high] = mcnemar(&first, &second).interval();
        low <= 0.1 && 0.1 <= high
    });
    near(covered.count(), SIMULATIONS, 0.95);

    // Five tasks of a group, two of them smaller.
    let mut group = |difference: f64| {
        let tasks = [200, 200, 200, 100, 60].map(|items| {
            let (first, second) = answers(difference);
            mcnemar(&first[..items], &second[..items])
        });
        stratified_mcnemar(&tasks)
    };
    let called = (0..SIMULATIONS).filter(|_| group(0.0).p_value <= LEVEL).count();
    assert!((0.03..0.06).contains(&(called as f64 / SIMULATIONS as f64)), "{called}");
    // The items that are answered differently as often as expected, half of them by each side.
    let expected = [200, 200, 200, 100, 60].map(|items| McNemar {
        only_first: items / 10,
        only_second: items / 10,
        items,
        p_value: 1.0,
    });
    let promised = detectable_stratified(&stratified_mcnemar(&expected), LEVEL).unwrap();
    let found = (0..SIMULATIONS).filter(|_| group(promised).p_value <= LEVEL).count();
    assert!((0.76..0.84).contains(&(found as f64 / SIMULATIONS as f64)), "{found}");
}

#[test]
fn over_documents() {
    const SIMULATIONS: usize = 2_000;
    type Law = fn(&mut Random) -> f64;
    let mut random = Random::new(14);
    let mut rate = |documents: usize, weight: Law, law: Law| {
        let found = (0..SIMULATIONS).filter(|_| {
            let draw = |_| {
                let weight = weight(&mut random);
                Cluster { sum: weight * law(&mut random), weight }
            };
            let clusters: Vec<Cluster> = (0..documents).map(draw).collect();
            cluster_test(&clusters).unwrap().p_value <= LEVEL
        });
        found.count()
    };
    let lognormal: Law = |random| libm::exp(normal(random));
    // The difference of two models' losses: symmetric, or skewed around 0.
    let skewed: Law = |random| libm::exp(normal(random)) - libm::exp(0.5);
    let apart: Law = |random| libm::exp(normal(random)) - libm::exp(normal(random));
    for documents in [5, 7, 10, 20, 100] {
        for (what, weight, law) in [
            ("normal", (|_| 1.0) as Law, normal as Law),
            ("lognormal", |_| 1.0, skewed),
            ("lognormal losses", |_| 1.0, apart),
            ("lognormal lengths", lognormal, normal),
            ("lognormal lengths and differences", lognormal, skewed),
        ] {
            holds(rate(documents, weight, law), SIMULATIONS, &format!("{documents} documents, {what}"));
        }
    }
    for documents in [6, 20, 100] {
        let effect = detectable_over_clusters(documents, LEVEL).unwrap() / libm::sqrt(documents as f64);
        let found = (0..SIMULATIONS).filter(|_| {
            let clusters: Vec<Cluster> =
                (0..documents).map(|_| Cluster { sum: effect + normal(&mut random), weight: 1.0 }).collect();
            cluster_test(&clusters).unwrap().p_value <= LEVEL
        });
        let power = found.count() as f64 / SIMULATIONS as f64;
        assert!((power - POWER).abs() < 0.04, "{documents}: {power}");
    }
}

#[test]
fn over_seeds_and_items() {
    const SIMULATIONS: usize = 1_000;
    const ITEMS: usize = 60;
    let mut random = Random::new(15);
    for (seeds, shared, luck, apart) in
        [(2, false, 0.3, 0.3), (3, true, 0.1, 0.5), (5, false, 0.0, 1.0), (3, false, 1.0, 0.3)]
    {
        let covered = (0..SIMULATIONS).filter(|_| {
            let (hard, blocks) = (sample(&mut random, ITEMS, 0.0, 1.0), sample(&mut random, seeds, 0.0, luck));
            // Items are hard or easy for each side, the more so for some runs.
            let mut side = || {
                let own = sample(&mut random, ITEMS, 0.0, apart);
                let mut run = |block: f64| -> Vec<f64> {
                    let level = if shared { block } else { luck * normal(&mut random) };
                    (0..ITEMS).map(|i| hard[i] + own[i] + level + 0.5 * normal(&mut random)).collect()
                };
                blocks.iter().map(|&block| run(block)).collect::<Vec<_>>()
            };
            let runs = [side(), side()];
            let means = runs.each_ref().map(|runs| runs.iter().map(|run| super::mean(run)).collect::<Vec<_>>());
            let (kind, test) = over_seeds(&means[0], &means[1], shared).unwrap();
            let around = |run: Vec<f64>| {
                let mean = super::mean(&run);
                run.into_iter().map(|value| (value - mean) / ITEMS as f64).collect()
            };
            let influences = Influences {
                runs: runs.map(|runs| runs.into_iter().map(around).collect()),
                shares: vec![1.0 / ITEMS as f64; ITEMS],
                strata: vec![ITEMS],
            };
            let [low, high] = interval_over_seeds_and_units(&test, kind, &influences);
            low <= 0.0 && 0.0 <= high
        });
        let share = covered.count() as f64 / SIMULATIONS as f64;
        assert!((0.93..0.985).contains(&share), "{seeds} seeds, {luck}, {apart}: {share}");
    }
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
