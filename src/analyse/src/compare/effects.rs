//! The difference in each metric, with the test that the runs allow: over documents and items between two runs, over seeds
//! where there are seeds.

use harness_core::task_kind::Kind;

use super::rows::{Losses, document_losses, losses, shared_tasks};
use super::{Basis, CompareError, Effect, NotJudged, Note, PRIMARY, Power, Side, TestKind, Verdict};
use crate::choices::{Answer, Why, answered_alike, right};
use crate::rows::items;
use crate::{RunAnalysis, TaskResult, Unit, accuracy_key};
use harness_record::format::Task;
use harness_statistics::cluster::{Cluster, FEWEST_CLUSTERS, cluster_test};
use harness_statistics::crossed::{Influences, interval_over_seeds_and_units};
use harness_statistics::hypothesis::{SeedTest, TTest, mcnemar, over_seeds, pooled_deviation, stratified_mcnemar};
use harness_statistics::mean;

const BITS_PER_BYTE: &str = "validation.bits_per_byte";

/// A metric before it is tested.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its key.
    pub metric: String,
    /// [`Effect::family`]
    pub family: String,
    /// [`Effect::unit`]
    pub unit: Unit,
    /// [`Effect::lower_is_better`]
    pub lower_is_better: bool,
    /// Values of the runs in the order of their seeds: reference, then other. All finite.
    pub runs: [Vec<f64>; 2],
}

/// What the values of the runs rest on.
#[derive(Clone, Debug)]
pub enum Rows {
    /// Sums over documents: for each run of reference and other the sum of each document, and the documents' weights.
    Documents {
        /// Such as bits.
        sums: [Vec<Vec<f64>>; 2],
        /// Such as bytes.
        weights: Vec<f64>,
    },
    /// Answers to the items of the tasks whose unweighted mean it is: for each task, for each run of reference and other.
    Items(Vec<[Vec<Vec<Answer>>; 2]>),
}

/// Every metric that both sides have, the primary family first.
pub(super) fn effects(
    reference: &Side,
    other: &Side,
    basis: Basis,
    notes: &mut Vec<Note>,
) -> Result<Vec<Effect>, CompareError> {
    let sides = [reference, other];
    let mut primary = Vec::new();
    match losses(reference, other)? {
        Ok(losses) => primary.extend(bits_per_byte(BITS_PER_BYTE, sides, basis, losses, notes)),
        Err(note) => notes.push(note),
    }
    let mut members: Vec<(Effect, [Vec<Vec<Answer>>; 2])> = Vec::new();
    let mut groups: Vec<&str> = Vec::new();
    for task in shared_tasks(reference, other, notes) {
        if task.kind == Kind::Documents {
            let losses = document_losses(reference, other, task)?;
            let key = format!("tasks.{}.bits_per_byte", task.id);
            primary.extend(bits_per_byte(&key, sides, basis, losses, notes));
            continue;
        }
        let answers = [answers(reference, task)?, answers(other, task)?];
        let family = task.group.clone().unwrap_or_else(|| PRIMARY.to_owned());
        let effect = tested(accuracies(sides, &task.id, family), basis, &Rows::Items(vec![answers.clone()]));
        match &task.group {
            None => primary.push(effect),
            Some(group) => {
                if !groups.contains(&group.as_str()) {
                    groups.push(group);
                }
                members.push((effect, answers));
            }
        }
    }
    for group in groups {
        let of_group = members.iter().filter(|(effect, _)| effect.family == group);
        let answers: Vec<[Vec<Vec<Answer>>; 2]> = of_group.map(|(_, answers)| answers.clone()).collect();
        // Only whole groups: the group's values are means over all of its tasks.
        let whole =
            |run: &RunAnalysis| run.tasks.iter().filter(|t| t.group.as_deref() == Some(group)).count() == answers.len();
        if sides.iter().flat_map(|side| &side.runs).all(whole) {
            primary.push(tested(accuracies(sides, group, PRIMARY.to_owned()), basis, &Rows::Items(answers)));
        }
    }
    primary.extend(members.into_iter().map(|(effect, _)| effect));
    Ok(primary)
}

/// Bits per byte of the validation text, or of the documents of a task. A note where it is not finite in some run.
fn bits_per_byte(
    metric: &str,
    sides: [&Side; 2],
    basis: Basis,
    losses: Losses,
    notes: &mut Vec<Note>,
) -> Option<Effect> {
    let bytes: f64 = losses.bytes.iter().sum();
    let not_finite: Vec<_> = sides
        .iter()
        .zip(&losses.bits)
        .flat_map(|(side, runs)| side.by_seed().into_iter().zip(runs))
        .filter(|(_, bits)| !bits.iter().sum::<f64>().is_finite())
        .map(|(run, _)| run.run.open.run.clone())
        .collect();
    if !not_finite.is_empty() {
        notes.push(Note::NotFinite { metric: metric.to_owned(), runs: not_finite });
        return None;
    }
    let measured = Measured {
        metric: metric.to_owned(),
        family: PRIMARY.to_owned(),
        unit: Unit::BitsPerByte,
        lower_is_better: true,
        runs: losses.bits.each_ref().map(|runs| runs.iter().map(|bits| bits.iter().sum::<f64>() / bytes).collect()),
    };
    Some(tested(measured, basis, &Rows::Documents { sums: losses.bits, weights: losses.bytes }))
}

fn answers(side: &Side, task: &Task) -> Result<Vec<Vec<Answer>>, CompareError> {
    let of_run = |run: &&RunAnalysis| {
        let result = run.tasks.iter().find(|t| t.id == task.id).expect("a shared task was scored in every run");
        Ok(items(run, task, result)?.answers)
    };
    side.by_seed().iter().map(of_run).collect()
}

fn accuracies(sides: [&Side; 2], id: &str, family: String) -> Measured {
    let result = |run: &RunAnalysis| run.tasks.iter().chain(&run.groups).find(|t| t.id == id).cloned();
    let results = sides.map(|side| side.by_seed().into_iter().filter_map(result).collect::<Vec<TaskResult>>());
    Measured {
        metric: accuracy_key(id, results[0][0].metric),
        family,
        unit: Unit::Share,
        lower_is_better: false,
        runs: results.map(|results| results.iter().map(|result| result.quoted_accuracy().mean).collect()),
    }
}

/// The effect with the test that the runs allow; the verdict waits for the family's correction ([`super::judge`]).
pub fn tested(measured: Measured, basis: Basis, rows: &Rows) -> Effect {
    let [reference, other] = &measured.runs;
    let mut effect = Effect {
        difference: mean(other) - mean(reference),
        reference: mean(reference),
        other: mean(other),
        reference_runs: reference.clone(),
        other_runs: other.clone(),
        metric: measured.metric,
        family: measured.family,
        unit: measured.unit,
        lower_is_better: measured.lower_is_better,
        standard_error: None,
        interval: None,
        test: None,
        degrees_of_freedom: None,
        p_value: None,
        p_holm: None,
        smallest_detectable: None,
        smallest_detectable_range: None,
        units: rows.units(),
        discordant: None,
        interval_over_seeds_and_units: None,
        verdict: Verdict::NotJudged,
        not_judged: rows.not_judged(),
        power: Power::None,
    };
    if effect.not_judged.is_some() {
        return effect;
    }
    match basis {
        Basis::OneRunAgainstSeeds => effect.not_judged = Some(NotJudged::OneRunOnASide),
        Basis::OneRunEach => rows.test(&mut effect),
        Basis::SharedSeeds | Basis::Seeds => {
            let shared = basis == Basis::SharedSeeds;
            match over_seeds(&effect.reference_runs, &effect.other_runs, shared) {
                None => effect.not_judged = Some(NotJudged::NoSpread),
                Some((kind, test)) => {
                    effect.take_seeds(kind, &test);
                    let influences = rows.influences();
                    effect.interval_over_seeds_and_units =
                        Some(interval_over_seeds_and_units(&test, kind, &influences));
                }
            }
        }
    }
    effect
}

impl Rows {
    /// Documents or items that a value of one run rests on.
    fn units(&self) -> u64 {
        match self {
            Rows::Documents { weights, .. } => weights.iter().filter(|weight| **weight > 0.0).count() as u64,
            Rows::Items(tasks) => tasks.iter().map(|[reference, _]| reference[0].len() as u64).sum(),
        }
    }

    fn not_judged(&self) -> Option<NotJudged> {
        match self {
            Rows::Documents { .. } if self.units() < FEWEST_CLUSTERS as u64 => {
                Some(NotJudged::FewDocuments { documents: self.units() })
            }
            Rows::Documents { .. } => None,
            Rows::Items(tasks) => {
                let all = || tasks.iter().flat_map(|sides| sides.iter().flatten());
                let count = |of: &dyn Fn(&Answer) -> bool| all().flatten().filter(|answer| of(answer)).count() as u64;
                let not_finite = count(&|answer| *answer == Answer::Unanswered(Why::NotFinite));
                if not_finite > 0 {
                    return Some(NotJudged::NotFinite { items: not_finite });
                }
                let alike = |sides: &[Vec<Vec<Answer>>; 2]| {
                    answered_alike(&sides.iter().flatten().map(Vec::as_slice).collect::<Vec<_>>())
                };
                let unanswered = || count(&|answer| matches!(answer, Answer::Unanswered(_)));
                (!tasks.iter().all(alike)).then(|| NotJudged::Unanswered { items: unanswered() })
            }
        }
    }

    /// The test between one run and one run.
    fn test(&self, effect: &mut Effect) {
        match self {
            Rows::Documents { sums, weights } => {
                let pairs = sums[0][0].iter().zip(&sums[1][0]).zip(weights);
                let clusters: Vec<Cluster> =
                    pairs.map(|((first, second), &weight)| Cluster { sum: second - first, weight }).collect();
                let Some(test) = cluster_test(&clusters) else {
                    effect.not_judged = Some(NotJudged::NoSpread);
                    return;
                };
                effect.take(TestKind::TOverDocuments, &test);
                effect.power = Power::Clusters { clusters: test.df + 1.0, error: test.standard_error };
            }
            Rows::Items(tasks) => {
                let tests: Vec<_> =
                    tasks.iter().map(|[first, second]| mcnemar(&right(&first[0]), &right(&second[0]))).collect();
                if let [test] = tests[..] {
                    effect.test = Some(TestKind::ExactMcnemar);
                    effect.standard_error = Some(libm::sqrt(test.variance()));
                    effect.interval = Some(test.interval());
                    effect.p_value = Some(test.p_value);
                    effect.discordant = Some([test.only_first, test.only_second]);
                    let discordant = (test.only_first + test.only_second) as f64 / test.items as f64;
                    effect.power = Power::Paired { items: test.items, discordant };
                } else {
                    let test = stratified_mcnemar(&tests);
                    effect.test = Some(TestKind::McnemarOverTasks);
                    effect.standard_error = Some(test.standard_error);
                    effect.interval = Some(test.interval);
                    effect.p_value = Some(test.p_value);
                    effect.power = Power::Stratified(test);
                }
            }
        }
    }

    /// What each unit adds to the value of each run.
    fn influences(&self) -> Influences {
        match self {
            Rows::Documents { sums, weights } => {
                let total: f64 = weights.iter().sum();
                let around = |run: &Vec<f64>| {
                    let mean = run.iter().sum::<f64>() / total;
                    run.iter().zip(weights).map(|(sum, weight)| (sum - mean * weight) / total).collect()
                };
                Influences {
                    runs: sums.each_ref().map(|runs| runs.iter().map(around).collect()),
                    shares: weights.iter().map(|weight| weight / total).collect(),
                    strata: vec![weights.len()],
                }
            }
            Rows::Items(tasks) => {
                let count = tasks.len() as f64;
                let around = |run: &Vec<Answer>| -> Vec<f64> {
                    let right: Vec<f64> = right(run).into_iter().map(|right| f64::from(u8::from(right))).collect();
                    let (mean, items) = (mean(&right), right.len() as f64);
                    right.iter().map(|value| (value - mean) / items / count).collect()
                };
                let side = |side: usize| {
                    let runs = 0..tasks[0][side].len();
                    runs.map(|run| tasks.iter().flat_map(|task| around(&task[side][run])).collect()).collect()
                };
                let strata: Vec<usize> = tasks.iter().map(|task| task[0][0].len()).collect();
                Influences {
                    runs: [side(0), side(1)],
                    shares: strata.iter().flat_map(|&items| vec![1.0 / items as f64; items]).collect(),
                    strata,
                }
            }
        }
    }
}

impl Effect {
    fn take(&mut self, kind: TestKind, test: &TTest) {
        self.test = Some(kind);
        self.standard_error = Some(test.standard_error);
        // Two runs that do not differ in any document have no interval, not one without width.
        self.interval = Some([test.low, test.high]).filter(|_| test.standard_error > 0.0);
        self.degrees_of_freedom = Some(test.df);
        self.p_value = Some(test.p_value);
    }

    fn take_seeds(&mut self, kind: SeedTest, test: &TTest) {
        let (first, second) = (self.reference_runs.len(), self.other_runs.len());
        let (named, power) = match kind {
            SeedTest::Blocks => {
                let deviation = test.standard_error * libm::sqrt(first as f64);
                (TestKind::BlocksOverSeeds, Power::Blocks { pairs: first, deviation })
            }
            SeedTest::Pooled | SeedTest::Welch => {
                let deviation = pooled_deviation(&self.reference_runs, &self.other_runs);
                let named =
                    if kind == SeedTest::Pooled { TestKind::PooledTOverSeeds } else { TestKind::WelchOverSeeds };
                (named, deviation.map_or(Power::None, |deviation| Power::Seeds { first, second, deviation }))
            }
        };
        self.take(named, test);
        self.power = power;
    }
}
