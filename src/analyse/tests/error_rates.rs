//! Error rates of what `harness compare` prints, on simulated rows: how often nothing is called a difference, how often a
//! difference of the promised size is found, how often an interval holds the truth. The short form is a test; the long one
//! (`make error-rates`) prints the tables of docs/statistics.md. Streams are fixed, so the counts are too.

use harness_analyse::compare::{Basis, Effect, Measured, Rows, Sums, tested};
use harness_analyse::{Answer, TaskAnswers, Unit};
use harness_core::random::Random;
use harness_statistics::hypothesis::{LEVEL, McNemar, pooled_deviation, pooled_t, stratified_mcnemar, t_test, welch};
use harness_statistics::power::{
    detectable_in_blocks, detectable_over_clusters, detectable_over_seeds, detectable_paired_shares,
    detectable_stratified, standard_normal as normal,
};
use harness_statistics::{correlation, mean, variance};

/// No test may call more than this share of nulls a difference.
const MOST_FALSE: f64 = 0.07;

fn measured(runs: [Vec<f64>; 2]) -> Measured {
    let (metric, family) = ("validation.bits_per_byte".to_owned(), "primary".to_owned());
    Measured { metric, family, unit: Unit::BitsPerByte, lower_is_better: true, runs }
}

/// The effect of documents with these sums for each run of each side.
fn over_documents(sums: [Vec<Vec<f64>>; 2], weights: Vec<f64>, basis: Basis) -> Effect {
    let total: f64 = weights.iter().sum();
    let runs = sums.each_ref().map(|runs| runs.iter().map(|run| run.iter().sum::<f64>() / total).collect());
    tested(measured(runs), basis, &Rows::Documents(Sums { runs: sums, weights, clusters: None }))
}

/// The effect of tasks answered so by one run of each side, with the cluster of each item where there are some.
fn over_items(tasks: Vec<[Vec<bool>; 2]>, clusters: Option<Vec<u64>>) -> Effect {
    let answer = |right: &bool| if *right { Answer::Right } else { Answer::Wrong };
    let answers = |right: &Vec<bool>| vec![right.iter().map(answer).collect::<Vec<_>>()];
    let share = |right: &Vec<bool>| right.iter().filter(|right| **right).count() as f64 / right.len() as f64;
    let runs = [0, 1].map(|side: usize| vec![mean(&tasks.iter().map(|task| share(&task[side])).collect::<Vec<_>>())]);
    let rows = |task: &[Vec<bool>; 2]| TaskAnswers { runs: task.each_ref().map(answers), clusters: clusters.clone() };
    tested(measured(runs), Basis::OneRunEach, &Rows::Items(tasks.iter().map(rows).collect()))
}

/// What came of many simulations.
#[derive(Default)]
struct Rates {
    simulations: usize,
    called: usize,
    covered: usize,
    judged: usize,
}

impl Rates {
    fn of(simulations: usize, truth: f64, mut simulate: impl FnMut() -> Effect) -> Self {
        let mut rates = Rates { simulations, ..Rates::default() };
        for _ in 0..simulations {
            let effect = simulate();
            rates.judged += usize::from(effect.p_value.is_some());
            rates.called += usize::from(effect.p_value.is_some_and(|p| p <= LEVEL));
            let holds = |[low, high]: [f64; 2]| low <= truth && truth <= high;
            rates.covered += usize::from(effect.interval.is_some_and(holds));
        }
        rates
    }

    fn called(&self) -> f64 {
        self.called as f64 / self.simulations as f64
    }

    fn covered(&self) -> f64 {
        self.covered as f64 / self.simulations as f64
    }

    /// Three Monte Carlo standard errors of a share.
    fn reach(&self, share: f64) -> f64 {
        3.0 * (share * (1.0 - share) / self.simulations as f64).sqrt()
    }
}

/// Prints a row of a table and holds it against what every row has to keep: no more than 7 % false, power between 78 and 82 %,
/// each within three Monte Carlo errors. What is not judged has neither.
#[track_caller]
fn row(what: &str, null: &Rates, power: Option<&Rates>) {
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    if null.judged == 0 {
        println!("| {what} | not judged | | |");
        return;
    }
    let found = power.map_or(String::new(), |power| percent(power.called()));
    println!("| {what} | {} | {} | {found} |", percent(null.called()), percent(null.covered()));
    assert!(null.called() <= MOST_FALSE + null.reach(MOST_FALSE), "{what}: {}", null.called());
    assert!(null.covered() >= 0.93 - null.reach(0.93), "{what}: {}", null.covered());
    if let Some(power) = power {
        assert!((power.called() - 0.8).abs() < 0.02 + power.reach(0.8), "{what}: {}", power.called());
    }
}

type Law = fn(&mut Random) -> f64;

const ONE: Law = |_| 1.0;
const LOGNORMAL: Law = |random| libm::exp(normal(random));
/// Differences of two models' losses: bell-shaped, of two lognormal losses, and skewed around 0.
const SKEWED: Law = |random| libm::exp(normal(random)) - libm::exp(0.5);
const OF_LOGNORMAL_LOSSES: Law = |random| libm::exp(normal(random)) - libm::exp(normal(random));

fn documents(simulations: usize, counts: &[usize]) {
    println!(
        "\n| documents, differences | called (null) | interval holds | promised effect found |\n| --- | --- | --- | --- |"
    );
    let mut random = Random::new(61);
    for &count in counts {
        for (name, length, law) in [
            ("normal", ONE, normal as Law),
            ("of lognormal losses", ONE, OF_LOGNORMAL_LOSSES),
            ("lognormal", ONE, SKEWED),
            ("normal, lognormal lengths", LOGNORMAL, normal),
            ("lognormal, lognormal lengths", LOGNORMAL, SKEWED),
        ] {
            let mut simulate = |shift: f64| {
                let weights: Vec<f64> = (0..count).map(|_| length(&mut random)).collect();
                let second = weights.iter().map(|weight| weight * (shift + law(&mut random))).collect();
                over_documents([vec![vec![0.0; count]], vec![second]], weights, Basis::OneRunEach)
            };
            let null = Rates::of(simulations, 0.0, || simulate(0.0));
            let promised = detectable_over_clusters(count, LEVEL).map(|effect| effect / (count as f64).sqrt());
            let power =
                promised.filter(|_| name == "normal").map(|shift| Rates::of(simulations, shift, || simulate(shift)));
            row(&format!("{count}, {name}"), &null, power.as_ref());
        }
    }
}

/// Windows of a document are alike, by an intra-class correlation: documents are the units, so it makes no difference.
fn windows(simulations: usize, counts: &[usize], correlations: &[f64]) {
    const WINDOWS: usize = 20;
    println!(
        "\n| documents of 20 windows, intra-class correlation | called (null) | interval holds | |\n| --- | --- | --- | --- |"
    );
    let mut random = Random::new(62);
    for &count in counts {
        for &correlation in correlations {
            let mut document = || {
                let own = correlation.sqrt() * normal(&mut random);
                (0..WINDOWS).map(|_| own + (1.0 - correlation).sqrt() * normal(&mut random)).sum::<f64>()
            };
            let null = Rates::of(simulations, 0.0, || {
                let second = (0..count).map(|_| document()).collect();
                over_documents([vec![vec![0.0; count]], vec![second]], vec![WINDOWS as f64; count], Basis::OneRunEach)
            });
            row(&format!("{count}, {correlation}"), &null, None);
        }
    }
}

fn items(simulations: usize, counts: &[usize], shares: &[f64]) {
    println!(
        "\n| items, answered differently | called (null) | interval holds | promised effect found |\n| --- | --- | --- | --- |"
    );
    let mut random = Random::new(63);
    let mut answers = |items: usize, discordant: f64, difference: f64| {
        let draw = |_| match random.uniform() {
            u if u < (discordant - difference) / 2.0 => (true, false),
            u if u < discordant => (false, true),
            _ => (true, true),
        };
        let (first, second): (Vec<bool>, Vec<bool>) = (0..items).map(draw).unzip();
        [first, second]
    };
    for &count in counts {
        for &discordant in shares {
            let mut simulate = |difference: f64| over_items(vec![answers(count, discordant, difference)], None);
            let null = Rates::of(simulations, 0.0, || simulate(0.0));
            let promised = detectable_paired_shares(count as u64, discordant, LEVEL);
            let power = promised.map(|difference| Rates::of(simulations, difference, || simulate(difference)));
            row(&format!("{count}, {:.0} %", 100.0 * discordant), &null, power.as_ref());
        }
    }
    for tasks in [[200; 5], [200, 200, 200, 100, 60]] {
        const DISCORDANT: f64 = 0.1;
        let mut simulate =
            |difference: f64| over_items(tasks.map(|items| answers(items, DISCORDANT, difference)).to_vec(), None);
        let null = Rates::of(simulations, 0.0, || simulate(0.0));
        let expected = tasks.map(|items| {
            let each = (items as f64 * DISCORDANT / 2.0) as u64;
            McNemar { only_first: each, only_second: each, items: items as u64, p_value: 1.0 }
        });
        let promised =
            detectable_stratified(&stratified_mcnemar(&expected), LEVEL).expect("some are answered differently");
        let power = Rates::of(simulations, promised, || simulate(promised));
        let sizes: Vec<String> = tasks.iter().map(usize::to_string).collect();
        row(&format!("group of {}, 10 %", sizes.join(" + ")), &null, Some(&power));
    }
}

/// Differences of two models in the probability of the right answer: of most items both are sure, or neither knows.
const OF_PROBABILITIES: Law = |random| {
    let hard = 4.0 * normal(random);
    let mut probability = || 1.0 / (1.0 + libm::exp(hard + normal(random)));
    probability() - probability()
};

/// A tenth of the items makes the difference, the rest hardly any.
const SPARSE: Law =
    |random| if random.uniform() < 0.1 { normal(random) + 1.0 } else { 0.1 * normal(random) - 1.0 / 9.0 };
/// Two thirds of the lengths are within a factor of 1.6 of the median.
const UNEQUAL: Law = |random| libm::exp(0.5 * normal(random));

/// Sums over the items of tasks, as the parts of a likelihood are.
fn likelihoods(simulations: usize, sizes: &[&[usize]]) {
    println!(
        "\n| items of each task, differences | called (null) | interval holds | promised effect found |\n| --- | --- | --- | --- |"
    );
    let mut random = Random::new(66);
    for &tasks in sizes {
        for (name, length, law) in [
            ("normal", ONE, normal as Law),
            ("lognormal", ONE, SKEWED),
            ("of probabilities", ONE, OF_PROBABILITIES),
            ("of a tenth of the items", ONE, SPARSE),
            ("of a tenth of the items, unequal lengths", UNEQUAL, SPARSE),
            ("of lognormal losses, lognormal lengths", LOGNORMAL, OF_LOGNORMAL_LOSSES),
        ] {
            let mut draw = |shift: f64| -> Vec<Sums> {
                let mut task = |(at, items): (usize, usize)| {
                    let weights: Vec<f64> = (0..items).map(|_| length(&mut random)).collect();
                    // Tasks differ in how far the models are apart, by nothing in the mean over them.
                    let own = if at < tasks.len() / 2 * 2 { [0.5, -0.5][at % 2] } else { 0.0 };
                    let second = weights.iter().map(|weight| weight * (shift + own + law(&mut random))).collect();
                    Sums { runs: [vec![vec![0.0; items]], vec![second]], weights, clusters: None }
                };
                tasks.iter().copied().enumerate().map(&mut task).collect()
            };
            let mut simulate = |shift: f64| {
                let tasks = draw(shift);
                tested(measured([vec![0.0], vec![0.0]]), Basis::OneRunEach, &Rows::Likelihoods { tasks, unanswered: 0 })
            };
            let null = Rates::of(simulations, 0.0, || simulate(0.0));
            let equal = tasks.iter().all(|&items| items == tasks[0]);
            let alike = equal && name == "normal" && null.judged > 0;
            let (count, all) = (tasks.len(), tasks.iter().sum::<usize>());
            let promised = detectable_over_clusters(all - count + 1, LEVEL).filter(|_| alike);
            let shift = promised.map(|effect| effect / (all as f64).sqrt());
            let power = shift.map(|shift| Rates::of(simulations, shift, || simulate(shift)));
            let shown = match tasks {
                [first, _, ..] if equal => format!("{count} of {first}"),
                _ => tasks.iter().map(usize::to_string).collect::<Vec<_>>().join(" + "),
            };
            row(&format!("{shown}, {name}"), &null, power.as_ref());
        }
    }
}

/// Items in clusters of ten, of which 30 % are answered differently: in each cluster one model or the other has more of them, by
/// as much as gives the differences this correlation within a cluster.
fn clusters_of_items(simulations: usize, counts: &[usize], correlations: &[f64]) {
    const OF_ONE: usize = 10;
    const DISCORDANT: f64 = 0.3;
    println!(
        "\n| clusters of 10 items, intra-class correlation | called (null) | interval holds | |\n| --- | --- | --- | --- |"
    );
    let mut random = Random::new(67);
    for &count in counts {
        for &correlation in correlations {
            let tilt = (correlation / DISCORDANT).sqrt();
            let null = Rates::of(simulations, 0.0, || {
                let (mut first, mut second) = (Vec::new(), Vec::new());
                for _ in 0..count {
                    let to_first = DISCORDANT * (1.0 + if random.uniform() < 0.5 { tilt } else { -tilt }) / 2.0;
                    for _ in 0..OF_ONE {
                        let (one, other) = match random.uniform() {
                            u if u < to_first => (true, false),
                            u if u < DISCORDANT => (false, true),
                            u => (u < 0.7, u < 0.7),
                        };
                        first.push(one);
                        second.push(other);
                    }
                }
                let clusters = (0..count * OF_ONE).map(|item| (item / OF_ONE) as u64).collect();
                over_items(vec![[first, second]], Some(clusters))
            });
            row(&format!("{count}, {correlation}"), &null, None);
        }
    }
}

/// Runs of a few documents that all have the same loss, which is the run's.
fn seeds(simulations: usize, counts: &[[usize; 2]], ratios: &[f64]) {
    println!("\n| seeds | called (null) | interval holds | promised effect found |\n| --- | --- | --- | --- |");
    let mut random = Random::new(64);
    let side = |values: Vec<f64>| values.into_iter().map(|value| vec![value; 5]).collect::<Vec<_>>();
    for &[first, second] in counts {
        for &ratio in ratios {
            let mut simulate = |shift: f64| {
                let reference = (0..first).map(|_| ratio * normal(&mut random)).collect();
                let other = (0..second).map(|_| shift + normal(&mut random)).collect();
                over_documents([side(reference), side(other)], vec![1.0; 5], Basis::Seeds)
            };
            let null = Rates::of(simulations, 0.0, || simulate(0.0));
            let promised = detectable_over_seeds(first, second, LEVEL).filter(|_| ratio == 1.0);
            let power = promised.map(|shift| Rates::of(simulations, shift, || simulate(shift)));
            row(&format!("{first} and {second}, deviations {ratio} to 1"), &null, power.as_ref());
        }
        if first == second {
            let mut simulate = |shift: f64| {
                let luck: Vec<f64> = (0..first).map(|_| 2.0 * normal(&mut random)).collect();
                let mut run = |luck: &f64, deviation: f64, shift: f64| luck + shift + deviation * normal(&mut random);
                let reference = luck.iter().map(|luck| run(luck, 2.0, 0.0)).collect();
                let other = luck.iter().map(|luck| run(luck, 1.0, shift)).collect();
                over_documents([side(reference), side(other)], vec![1.0; 5], Basis::SharedSeeds)
            };
            let null = Rates::of(simulations, 0.0, || simulate(0.0));
            let shift = 5.0_f64.sqrt() * detectable_in_blocks(first, LEVEL).expect("two seeds are pairs");
            let power = Rates::of(simulations, shift, || simulate(shift));
            row(&format!("the same {first}, deviations 2 to 1"), &null, Some(&power));
        }
    }
}

/// The test of two sides whose first `shared` runs are pairs, which takes what these have in common out of the error by their correlation
/// (Derrick et al. 2017), with one variance or two by the rule for unpaired seeds: the more cautious where the numbers differ.
fn partly_paired([first, second]: &[Vec<f64>; 2], shared: usize) -> Option<f64> {
    let (pooled, unequal) = (pooled_t(first, second)?, welch(first, second)?);
    let r = correlation(&first[..shared], &second[..shared])?;
    let [n, m, s] = [first.len(), second.len(), shared].map(|count| count as f64);
    let deviation = |values: &[f64]| variance(values).sqrt();
    let square = |value: f64| value * value;
    let cautious = first.len() != second.len() && unequal.p_value > pooled.p_value;
    let (test, product, df) = match cautious {
        true => (unequal, deviation(first) * deviation(second), unequal.df - s + 1.0),
        false => (pooled, square(pooled_deviation(first, second)?), n + m - s - 1.0),
    };
    let error = (square(test.standard_error) - 2.0 * r * product * s / (n * m)).max(f64::MIN_POSITIVE).sqrt();
    Some(t_test(test.difference, error, s - 1.0 + df / (n + m) * (n + m - 2.0 * s), LEVEL).p_value)
}

/// Sides that share some of their seeds: as `compare` tests them, with every run and no pairs; by pairs of the shared seeds alone; and partly
/// paired. Runs of one seed have a correlation; what is found is a difference of one and a half standard deviations of a run.
fn partly_shared(simulations: usize, counts: &[[usize; 3]], correlations: &[f64]) {
    println!(
        "\n| seeds of either side, shared; correlation | called (null) | found | shared seeds alone: called (null) | found | \
         partly paired: called (null) | found |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    let mut random = Random::new(68);
    let side = |values: &[f64]| values.iter().map(|&value| vec![value; 5]).collect::<Vec<_>>();
    for &[first, second, shared] in counts {
        for &correlation in correlations {
            let mut draw = |shift: f64| {
                let reference: Vec<f64> = (0..first).map(|_| normal(&mut random)).collect();
                let apart = (1.0 - correlation * correlation).sqrt();
                let own = |at: usize, noise: f64| match at < shared {
                    true => correlation * reference[at] + apart * noise,
                    false => noise,
                };
                let other: Vec<f64> = (0..second).map(|at| shift + own(at, normal(&mut random))).collect();
                [reference, other]
            };
            let mut by_correlation = Vec::new();
            for shift in [0.0, 1.5] {
                let p_values = (0..simulations).filter_map(|_| partly_paired(&draw(shift), shared));
                by_correlation.push(p_values.filter(|p| *p <= LEVEL).count() as f64 / simulations as f64);
            }
            let mut shares = Vec::new();
            for (basis, most) in [(Basis::Seeds, usize::MAX), (Basis::SharedSeeds, shared)] {
                for shift in [0.0, 1.5] {
                    let rates = Rates::of(simulations, shift, || {
                        let sides = draw(shift).map(|values| side(&values[..values.len().min(most)]));
                        over_documents(sides, vec![1.0; 5], basis)
                    });
                    shares.push(rates.called());
                }
            }
            shares.append(&mut by_correlation);
            let shown: Vec<String> = shares.iter().map(|share| format!("{:.1}", 100.0 * share)).collect();
            println!("| {first} and {second}, {shared}; {correlation} | {} |", shown.join(" | "));
            let reach = 3.0 * (MOST_FALSE * (1.0 - MOST_FALSE) / simulations as f64).sqrt();
            for called in [shares[0], shares[2], shares[4]] {
                assert!(called < MOST_FALSE + reach, "{first} {second} {shared} {correlation}: {called}");
            }
        }
    }
}

/// Intervals over seeds and documents, whose truth is over all seeds and all documents there could be.
fn nested(simulations: usize, counts: &[usize], documents: &[usize]) {
    println!("\n| seeds, documents, deviations of seeds and of documents | interval over both holds |\n| --- | --- |");
    let mut random = Random::new(65);
    for (&count, &documents) in
        counts.iter().flat_map(|count| documents.iter().map(move |documents| (count, documents)))
    {
        for basis in [Basis::Seeds, Basis::SharedSeeds] {
            for (luck, apart) in [(0.0, 1.0), (0.1, 0.3), (0.3, 0.3), (1.0, 0.3)] {
                let held = (0..simulations).filter(|_| {
                    let hard: Vec<f64> = (0..documents).map(|_| 3.0 * normal(&mut random)).collect();
                    let shared: Vec<f64> = (0..count).map(|_| normal(&mut random)).collect();
                    let mut side = || {
                        let own: Vec<f64> = (0..documents).map(|_| apart * normal(&mut random)).collect();
                        let mut run = |seed: usize| -> Vec<f64> {
                            let level = match basis {
                                Basis::SharedSeeds => luck * (shared[seed] + normal(&mut random)) / 2.0_f64.sqrt(),
                                _ => luck * normal(&mut random),
                            };
                            (0..documents).map(|i| hard[i] + own[i] + level + 0.5 * normal(&mut random)).collect()
                        };
                        (0..count).map(&mut run).collect::<Vec<_>>()
                    };
                    let sums = [side(), side()];
                    let effect = over_documents(sums, vec![1.0; documents], basis);
                    let [low, high] = effect.interval_over_seeds_and_units.expect("over seeds");
                    low <= 0.0 && 0.0 <= high
                });
                let share = held.count() as f64 / simulations as f64;
                let kind = if basis == Basis::Seeds { "" } else { "the same " };
                println!("| {kind}{count}, {documents}, {luck} and {apart} | {:.1} |", 100.0 * share);
                let reach = 3.0 * (0.93_f64 * 0.07 / simulations as f64).sqrt();
                assert!(share > 0.93 - reach && share < 0.99, "{count} {documents} {luck} {apart}: {share}");
            }
        }
    }
}

#[test]
fn no_test_calls_more_than_it_may() {
    const SIMULATIONS: usize = 300;
    documents(SIMULATIONS, &[4, 5, 20]);
    windows(SIMULATIONS, &[8], &[0.2]);
    items(SIMULATIONS, &[50, 400], &[0.1, 0.3]);
    clusters_of_items(SIMULATIONS, &[4, 5, 20], &[0.0, 0.2]);
    likelihoods(SIMULATIONS, &[&[40], &[100], &[8; 10], &[20; 3]]);
    seeds(SIMULATIONS, &[[2, 2], [2, 5], [4, 4]], &[1.0, 2.0]);
    partly_shared(SIMULATIONS, &[[5, 3, 3]], &[-0.25, 0.9]);
    nested(SIMULATIONS, &[3], &[50]);
}

#[test]
#[ignore = "minutes: the tables of docs/statistics.md, by `make error-rates`"]
fn the_tables() {
    const SIMULATIONS: usize = 4_000;
    documents(SIMULATIONS, &[4, 5, 6, 7, 8, 10, 15, 20, 50, 100]);
    windows(SIMULATIONS, &[5, 10, 20, 100], &[0.0, 0.05, 0.12, 0.2]);
    items(SIMULATIONS, &[50, 200, 1_000], &[0.02, 0.1, 0.3]);
    clusters_of_items(SIMULATIONS, &[4, 5, 10, 20, 100], &[0.0, 0.05, 0.1, 0.2]);
    likelihoods(
        SIMULATIONS,
        &[&[40], &[50], &[100], &[200], &[1_000], &[8; 10], &[20; 3], &[20; 10], &[50; 5], &[200, 50, 20]],
    );
    seeds(SIMULATIONS, &[[2, 2], [3, 3], [4, 4], [5, 5], [2, 3], [2, 5], [3, 5]], &[0.5, 1.0, 1.5, 2.0]);
    partly_shared(
        SIMULATIONS,
        &[[3, 2, 2], [5, 3, 3], [8, 3, 3], [8, 5, 5], [5, 5, 3], [5, 5, 4]],
        &[-0.25, 0.0, 0.5, 0.9],
    );
    nested(SIMULATIONS, &[2, 3, 5], &[20, 100]);
}
