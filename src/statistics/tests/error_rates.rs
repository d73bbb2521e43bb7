//! Error rates of the tests of a study, on simulated seeds: many experiments against one baseline, several looks, a sequence of
//! adoptions, equivalence, and laws of losses. The short form is a test; the long one (`make error-rates`) prints the tables of
//! docs/statistics.md. Streams are fixed, so the counts are too.

use harness_core::random::Random;
use harness_statistics::dunnett::{Family, against_baseline};
use harness_statistics::equivalence::equivalence;
use harness_statistics::hypothesis::{LEVEL, TTest, blocks, holm, over_seeds};
use harness_statistics::looks::{Spending, nominal_levels, pocock};
use harness_statistics::power::{detectable_against_baseline, detectable_in_blocks, standard_normal as normal};
use harness_statistics::power_law::{PowerLaw, fit};

/// What no error rate may exceed where a test is said to hold its level.
const MOST_FALSE: f64 = 0.07;

/// Three Monte Carlo standard errors of a share.
fn reach(share: f64, simulations: usize) -> f64 {
    3.0 * (share * (1.0 - share) / simulations as f64).sqrt()
}

#[track_caller]
fn at_most(found: f64, most: f64, simulations: usize, what: &str) {
    assert!(found <= most + reach(most, simulations), "{what}: {found}");
}

#[track_caller]
fn finds(found: f64, simulations: usize, what: &str) {
    assert!((found - 0.8).abs() < 0.02 + reach(0.8, simulations), "{what}: {found}");
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn share(simulations: usize, mut holds: impl FnMut() -> bool) -> f64 {
    (0..simulations).filter(|_| holds()).count() as f64 / simulations as f64
}

/// How runs of a study come about.
#[derive(Clone, Copy)]
struct World {
    /// Of values of the same seed.
    correlation: f64,
    /// Standard deviations of the experiments, in turn, the baseline's first.
    deviations: &'static [f64],
    /// Student's t with three degrees of freedom in place of the normal law, with the same variance.
    heavy: bool,
}

const PLAIN: World = World { correlation: 0.0, deviations: &[1.0], heavy: false };
const ALIKE: World = World { correlation: 0.8, ..PLAIN };
const UNEQUAL: World = World { deviations: &[1.0, 0.65, 1.35], ..PLAIN };
const HEAVY: World = World { heavy: true, ..PLAIN };

impl World {
    fn noise(self, random: &mut Random) -> f64 {
        let z = normal(random);
        if !self.heavy {
            return z;
        }
        let chi_squared: f64 = (0..3).map(|_| normal(random)).map(|z| z * z).sum();
        z / chi_squared.sqrt()
    }

    /// The runs of a baseline and of treatments of `each` seeds; the first treatment is better by `effect`, in standard deviations
    /// within a seed.
    fn study(self, random: &mut Random, counts: [usize; 3], effect: f64) -> Vec<Vec<f64>> {
        let [baseline, treatments, each] = counts;
        let (shared, own) = (self.correlation.sqrt(), (1.0 - self.correlation).sqrt());
        let luck: Vec<f64> = (0..baseline.max(each)).map(|_| self.noise(random)).collect();
        let run = |random: &mut Random, experiment: usize, seed: usize| {
            let deviation = self.deviations[experiment % self.deviations.len()];
            let shift = if experiment == 1 { effect * own } else { 0.0 };
            shift + shared * luck[seed] + deviation * own * self.noise(random)
        };
        (0..=treatments)
            .map(|experiment| {
                let seeds = if experiment == 0 { baseline } else { each };
                (0..seeds).map(|seed| run(random, experiment, seed)).collect()
            })
            .collect()
    }
}

fn called(test: &TTest) -> bool {
    test.p_value <= LEVEL
}

/// All treatments against one baseline; any of them called is a false finding.
fn one_baseline(simulations: usize, sizes: &[[usize; 3]], worlds: &[(&str, World)]) {
    println!(
        "\n| seeds of the baseline, experiments of so many seeds | called (null) | intervals hold | promised effect found |"
    );
    println!("| --- | --- | --- | --- |");
    let mut random = Random::new(71);
    for &counts in sizes {
        let [baseline, treatments, each] = counts;
        for &(name, world) in worlds {
            for shared in [true, false].into_iter().filter(|&shared| !shared || baseline == each) {
                if !shared && world.correlation > 0.0 {
                    continue;
                }
                let mut judge = |effect: f64| {
                    let runs = world.study(&mut random, counts, effect);
                    against_baseline(&runs[0], &runs[1..], shared, LEVEL).expect("every run differs").1
                };
                let (mut any, mut all) = (0, 0);
                for _ in 0..simulations {
                    let tests = judge(0.0);
                    any += usize::from(tests.iter().any(called));
                    all += usize::from(tests.iter().all(|test| test.low <= 0.0 && 0.0 <= test.high));
                }
                let [any, all] = [any, all].map(|count| count as f64 / simulations as f64);
                let family = if shared { Family::Blocks } else { Family::Pooled };
                let normal = world.deviations.len() == 1 && !world.heavy;
                let promised =
                    detectable_against_baseline(family, baseline, treatments, each, LEVEL).filter(|_| normal);
                let found = promised.map(|effect| share(simulations, || called(&judge(effect)[0])));
                let kind = if shared { "the same " } else { "" };
                let what = format!("{kind}{baseline}, {treatments} of {each}, {name}");
                println!("| {what} | {} | {} | {} |", percent(any), percent(all), found.map_or(String::new(), percent));
                // With more seeds of the baseline an error rests on the deviation of the treatment, which is not the pooled one.
                let leans = baseline > each && world.deviations.len() > 1;
                at_most(any, if leans { 2.0 * LEVEL } else { MOST_FALSE }, simulations, &what);
                found.iter().for_each(|&found| finds(found, simulations, &what));
            }
        }
    }
}

/// Looks at more and more seeds: the first call at any of them stands.
fn several_looks(simulations: usize, looks: &[&[usize]], treatments: &[usize]) {
    println!("\n| looks, experiments | each at 5 % | Pocock | spending, Pocock | spending, O'Brien-Fleming |");
    println!("| --- | --- | --- | --- | --- |");
    let mut random = Random::new(72);
    for &looks in looks {
        let most = *looks.last().expect("there is a look");
        let levels = [
            vec![LEVEL; looks.len()],
            vec![pocock(looks, LEVEL); looks.len()],
            nominal_levels(looks, most, Spending::Pocock, LEVEL),
            nominal_levels(looks, most, Spending::OBrienFleming, LEVEL),
        ];
        for &treatments in treatments {
            for (shared, world) in [(true, ALIKE), (false, PLAIN)] {
                let mut false_findings = [0; 4];
                for _ in 0..simulations {
                    let runs = world.study(&mut random, [most, treatments, most], 0.0);
                    let at = |&look: &usize| {
                        let others: Vec<Vec<f64>> = runs[1..].iter().map(|run| run[..look].to_vec()).collect();
                        let (_, tests) =
                            against_baseline(&runs[0][..look], &others, shared, LEVEL).expect("every run differs");
                        tests.iter().map(|test| test.p_value).fold(1.0, f64::min)
                    };
                    let least: Vec<f64> = looks.iter().map(at).collect();
                    for (count, levels) in false_findings.iter_mut().zip(&levels) {
                        *count += usize::from(least.iter().zip(levels).any(|(p, level)| p <= level));
                    }
                }
                let rates = false_findings.map(|count| count as f64 / simulations as f64);
                let kind = if shared { "the same seeds" } else { "other seeds" };
                let what = format!("{looks:?}, {treatments}, {kind}");
                println!("| {what} | {} |", rates.map(percent).join(" | "));
                rates[1..].iter().for_each(|&rate| at_most(rate, MOST_FALSE, simulations, &what));
            }
        }
    }
}

/// One change after the other against what was adopted last, with the seeds it ran with.
fn adoptions(simulations: usize, changes: &[usize], seeds: &[usize]) {
    println!(
        "\n| changes, one after the other, of so many seeds | uncorrected | Holm, of those so far | Holm, of all planned | promised effect found |"
    );
    println!("| --- | --- | --- | --- | --- |");
    let mut random = Random::new(73);
    for &changes in changes {
        for &seeds in seeds {
            // Holm's p-value of the latest change, with 1 for the p-values still to come.
            let corrected = |p_values: &[f64], planned: usize| {
                let open = vec![1.0; planned - p_values.len()];
                holm(&[p_values, &open].concat())[p_values.len() - 1]
            };
            let mut any_adopted = |rule: &dyn Fn(&[f64]) -> f64, effect: f64| {
                let mut incumbent = ALIKE.study(&mut random, [seeds, 1, seeds], 0.0).swap_remove(0);
                let luck = incumbent.clone();
                let mut p_values = Vec::new();
                (0..changes).any(|change| {
                    let shift = if change == 0 { effect } else { 0.0 };
                    let next: Vec<f64> = luck.iter().map(|value| value + shift + normal(&mut random)).collect();
                    p_values.push(blocks(&incumbent, &next).expect("every run differs").p_value);
                    let adopted = rule(&p_values) <= LEVEL;
                    if adopted {
                        incumbent = next;
                    }
                    adopted && (effect == 0.0 || change == 0)
                })
            };
            let uncorrected = share(simulations, || any_adopted(&|p| p[p.len() - 1], 0.0));
            let so_far = share(simulations, || any_adopted(&|p| corrected(p, p.len()), 0.0));
            let planned = share(simulations, || any_adopted(&|p| corrected(p, changes), 0.0));
            let effect = detectable_in_blocks(seeds, LEVEL / changes as f64).expect("two seeds are pairs");
            let found = share(simulations, || any_adopted(&|p| corrected(p, changes), effect));
            let what = format!("{changes} of {seeds}");
            println!("| {what} | {} |", [uncorrected, so_far, planned, found].map(percent).join(" | "));
            at_most(planned, LEVEL, simulations, &what);
            finds(found, simulations, &what);
        }
    }
}

/// A difference as large as the margin must not be called equivalent, none at all should be.
fn margins(simulations: usize, seeds: &[usize]) {
    println!("\n| seeds, margin in deviations of one run | called equivalent at the margin | without a difference |");
    println!("| --- | --- | --- |");
    let mut random = Random::new(74);
    for &seeds in seeds {
        for margin in [2.0, 4.0] {
            for shared in [true, false] {
                let mut shown = |difference: f64| {
                    let runs = PLAIN.study(&mut random, [seeds, 1, seeds], difference);
                    let (_, test) = over_seeds(&runs[0], &runs[1], shared).expect("every run differs");
                    equivalence(&test, margin, LEVEL).shown
                };
                let [false_findings, right] = [margin, 0.0].map(|difference| share(simulations, || shown(difference)));
                let kind = if shared { "the same " } else { "" };
                let what = format!("{kind}{seeds}, {margin}");
                println!("| {what} | {} | {} |", percent(false_findings), percent(right));
                at_most(false_findings, LEVEL, simulations, &what);
            }
        }
    }
}

/// The interval for one larger run by the law of smaller ones.
fn predictions(simulations: usize, ladders: &[(u32, Option<f64>)]) {
    println!(
        "\n| sizes, each three times the last; the run, nine times the largest | no law | interval holds the run |"
    );
    println!("| --- | --- | --- |");
    let truth = PowerLaw { irreducible: 1.7, reducible: 1.5, exponent: 0.15, scale: 1e16 };
    let mut random = Random::new(75);
    for &(sizes, given) in ladders {
        let (mut refused, mut held) = (0, 0);
        for simulation in 0..simulations {
            let mut run = |k: u32| {
                let x = 1e15 * libm::pow(3.0, k.into());
                (x, truth.at(x) * libm::exp(0.003 * normal(&mut random)))
            };
            let points: Vec<(f64, f64)> = (0..sizes).map(&mut run).collect();
            let (x, loss) = run(sizes + 1);
            match fit(&points, given) {
                Err(_) => refused += 1,
                Ok(found) => {
                    let [low, high] = found.prediction_interval(x, LEVEL, simulation as u64);
                    held += usize::from(low <= loss && loss <= high);
                }
            }
        }
        let holds = held as f64 / (simulations - refused) as f64;
        let kind = if given.is_some() { "irreducible loss given" } else { "free" };
        let what = format!("{sizes}, {kind}");
        println!("| {what} | {} | {} |", percent(refused as f64 / simulations as f64), percent(holds));
        assert!(holds > 0.92 - reach(0.92, simulations), "{what}: {holds}");
    }
}

#[test]
fn no_test_of_a_study_calls_more_than_it_may() {
    const SIMULATIONS: usize = 200;
    one_baseline(
        SIMULATIONS,
        &[[3, 4, 3], [5, 2, 3]],
        &[("normal", PLAIN), ("correlation .8", ALIKE), ("deviations ± 35 %", UNEQUAL)],
    );
    several_looks(SIMULATIONS, &[&[3, 5]], &[2]);
    adoptions(SIMULATIONS, &[4], &[5]);
    margins(SIMULATIONS, &[4]);
    predictions(30, &[(3, Some(1.7)), (5, None)]);
}

#[test]
#[ignore = "minutes: the tables of docs/statistics.md, by `make error-rates`"]
fn the_tables() {
    const SIMULATIONS: usize = 4_000;
    const ONE_TWICE: World = World { deviations: &[1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], ..PLAIN };
    const UNEQUAL_ALIKE: World = World { correlation: 0.8, ..UNEQUAL };
    const HEAVY_ALIKE: World = World { correlation: 0.8, ..HEAVY };
    let worlds = [
        ("normal", PLAIN),
        ("correlation .8", ALIKE),
        ("deviations ± 35 %", UNEQUAL),
        ("deviations ± 35 %, correlation .8", UNEQUAL_ALIKE),
        ("t with 3 df", HEAVY),
        ("t with 3 df, correlation .8", HEAVY_ALIKE),
        ("one varies twice as much", ONE_TWICE),
    ];
    one_baseline(SIMULATIONS, &[[3, 2, 3], [3, 8, 3], [5, 4, 5], [8, 8, 3]], &worlds);
    several_looks(SIMULATIONS, &[&[3, 5], &[3, 5, 8], &[2, 4, 6, 8]], &[1, 4]);
    adoptions(SIMULATIONS, &[3, 8], &[3, 5]);
    margins(SIMULATIONS, &[3, 5]);
    predictions(400, &[(3, Some(1.7)), (4, None), (5, None), (8, None)]);
}
