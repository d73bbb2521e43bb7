//! The difference in each metric, with the test that the runs allow: over documents and items between two runs, over seeds
//! where there are seeds.

use harness_core::task_kind::Kind;

use super::rows::{Losses, document_losses, losses, shared_tasks};
use super::{Basis, CompareError, Effect, LIKELIHOOD, NotJudged, Note, PRIMARY, Power, Side, TestKind, Verdict};
use crate::choices::{Answer, Why, answered_alike};
use crate::likelihood::{Likelihood, lower_is_better};
use crate::paired::{Paired, TaskAnswers, paired};
use crate::rows::{Items, items};
use crate::sums::Sums;
use crate::{RunAnalysis, TaskResult, Unit, accuracy_key};
use harness_record::format::Task;
use harness_statistics::cluster::{Cluster, FEWEST_CLUSTERS, mean_cluster_test};
use harness_statistics::crossed::{Influences, interval_over_seeds_and_units};
use harness_statistics::hypothesis::{SeedTest, TTest, over_seeds, pooled_deviation};
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
    /// Sums over documents.
    Documents(Sums),
    /// Sums over the items of the tasks whose unweighted mean it is.
    Likelihoods {
        /// Of each task.
        tasks: Vec<Sums>,
        /// Items that some runs score and others do not, counted over all runs.
        unanswered: u64,
    },
    /// Answers to the items of the tasks whose unweighted mean it is.
    Items(Vec<TaskAnswers>),
}

/// Below these numbers of items, in all and of each task, differences in likelihood are not tested: where a tenth of the items
/// makes the difference, twenty call 20 % of nothing one, fifty 5 % (docs/statistics.md).
pub const FEWEST_ITEMS: [usize; 2] = [50, 20];

/// Every metric that both sides have: the primary family first, likelihoods last.
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
    let mut members: Vec<(Effect, [Vec<Items>; 2])> = Vec::new();
    let mut groups: Vec<&str> = Vec::new();
    let mut likelihoods: Vec<Effect> = Vec::new();
    for task in shared_tasks(reference, other, notes) {
        if task.kind == Kind::Documents {
            let losses = document_losses(reference, other, task)?;
            let key = format!("tasks.{}.bits_per_byte", task.id);
            primary.extend(bits_per_byte(&key, sides, basis, losses, notes));
            continue;
        }
        let scored = [scored(reference, task)?, scored(other, task)?];
        let family = task.group.clone().unwrap_or_else(|| PRIMARY.to_owned());
        let effect = tested(accuracies(sides, &task.id, family), basis, &Rows::Items(vec![answers(&scored)]));
        match &task.group {
            None => {
                primary.push(effect);
                likelihoods.extend(likelihoods_of(sides, &task.id, &[&scored], basis));
            }
            Some(group) => {
                if !groups.contains(&group.as_str()) {
                    groups.push(group);
                }
                members.push((effect, scored));
            }
        }
    }
    for group in groups {
        let of_group = members.iter().filter(|(effect, _)| effect.family == group);
        let scored: Vec<&[Vec<Items>; 2]> = of_group.map(|(_, scored)| scored).collect();
        // Only whole groups: the group's values are means over all of its tasks.
        let whole =
            |run: &RunAnalysis| run.tasks.iter().filter(|t| t.group.as_deref() == Some(group)).count() == scored.len();
        if sides.iter().flat_map(|side| &side.runs).all(whole) {
            let answers = scored.iter().map(|task| answers(task)).collect();
            primary.push(tested(accuracies(sides, group, PRIMARY.to_owned()), basis, &Rows::Items(answers)));
            likelihoods.extend(likelihoods_of(sides, group, &scored, basis));
        }
    }
    primary.extend(members.into_iter().map(|(effect, _)| effect));
    primary.extend(likelihoods);
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
    Some(tested(measured, basis, &Rows::Documents(Sums { runs: losses.bits, weights: losses.bytes, clusters: None })))
}

/// The items of a task in each run of a side, in the order of the seeds.
fn scored(side: &Side, task: &Task) -> Result<Vec<Items>, CompareError> {
    let of_run = |run: &&RunAnalysis| {
        let result = run.tasks.iter().find(|t| t.id == task.id).expect("a shared task was scored in every run");
        Ok(items(run, task, result)?)
    };
    side.by_seed().iter().map(of_run).collect()
}

fn answers(scored: &[Vec<Items>; 2]) -> TaskAnswers {
    let runs = scored.each_ref().map(|runs| runs.iter().map(|items| items.answers.clone()).collect());
    TaskAnswers { runs, clusters: clusters(scored).cloned() }
}

/// The cluster of each item of a task, where some run says it.
fn clusters(scored: &[Vec<Items>; 2]) -> Option<&Vec<u64>> {
    scored.iter().flatten().find_map(|items| items.clusters.as_ref())
}

/// The continuous scores of a task or group that every run has.
fn likelihoods_of(sides: [&Side; 2], id: &str, tasks: &[&[Vec<Items>; 2]], basis: Basis) -> Vec<Effect> {
    let effect = |(at, score): (usize, Likelihood)| {
        let of_run = |run: &RunAnalysis| {
            Some(run.tasks.iter().chain(&run.groups).find(|task| task.id == id)?.likelihood(score)?.number)
        };
        let values = |side: &Side| side.by_seed().into_iter().map(of_run).collect::<Option<Vec<f64>>>();
        let metric = score.key(id);
        let measured = Measured {
            lower_is_better: lower_is_better(&metric),
            metric,
            family: LIKELIHOOD.to_owned(),
            unit: score.into(),
            runs: [values(sides[0])?, values(sides[1])?],
        };
        let (mut sums, mut unanswered) = (Vec::new(), 0);
        for task in tasks {
            let runs: Option<Vec<_>> = task.iter().flatten().map(|items| items.likelihoods[at].as_ref()).collect();
            let runs = runs?;
            let scored = |item: usize| runs.iter().filter(|parts| parts[item].is_ok()).count();
            let items = 0..runs[0].len();
            unanswered +=
                items.clone().map(scored).filter(|&by| by > 0).map(|by| (runs.len() - by) as u64).sum::<u64>();
            let used: Vec<usize> = items.filter(|&item| scored(item) == runs.len()).collect();
            let parts = |parts: &Vec<Result<Cluster, Why>>, of: fn(Cluster) -> f64| -> Vec<f64> {
                used.iter().filter_map(|&item| parts[item].ok().map(of)).collect()
            };
            let (reference, other) = runs.split_at(task[0].len());
            let of_side = |side: &[&Vec<_>]| side.iter().map(|run| parts(run, |part| part.sum)).collect();
            sums.push(Sums {
                runs: [of_side(reference), of_side(other)],
                weights: parts(runs[0], |part| part.weight),
                clusters: clusters(task).map(|of| used.iter().map(|&item| of[item]).collect()),
            });
        }
        Some(tested(measured, basis, &Rows::Likelihoods { tasks: sums, unanswered }))
    };
    Likelihood::ALL.into_iter().enumerate().filter_map(effect).collect()
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
            Rows::Documents(sums) => sums.weights.iter().filter(|weight| **weight > 0.0).count() as u64,
            Rows::Likelihoods { tasks, .. } => tasks.iter().map(|sums| sums.weights.len() as u64).sum(),
            Rows::Items(tasks) => tasks.iter().map(|task| task.items() as u64).sum(),
        }
    }

    fn not_judged(&self) -> Option<NotJudged> {
        match self {
            Rows::Documents(_) if self.units() < FEWEST_CLUSTERS as u64 => {
                Some(NotJudged::FewDocuments { documents: self.units() })
            }
            Rows::Documents(_) => None,
            Rows::Likelihoods { unanswered, .. } if *unanswered > 0 => {
                Some(NotJudged::Unanswered { items: *unanswered })
            }
            Rows::Likelihoods { tasks, .. } => {
                let fewest = tasks.iter().map(|sums| sums.weights.len()).min().unwrap_or(0);
                let [in_all, of_each] = FEWEST_ITEMS;
                if self.units() < in_all as u64 || fewest < of_each {
                    return Some(NotJudged::FewItems { items: self.units(), of_a_task: fewest as u64 });
                }
                few_clusters(tasks)
            }
            Rows::Items(tasks) => {
                let all = || tasks.iter().flat_map(|task| task.runs.iter().flatten());
                let count = |of: &dyn Fn(&Answer) -> bool| all().flatten().filter(|answer| of(answer)).count() as u64;
                let not_finite = count(&|answer| *answer == Answer::Unanswered(Why::NotFinite));
                if not_finite > 0 {
                    return Some(NotJudged::NotFinite { items: not_finite });
                }
                let alike = |task: &TaskAnswers| {
                    answered_alike(&task.runs.iter().flatten().map(Vec::as_slice).collect::<Vec<_>>())
                };
                if !tasks.iter().all(alike) {
                    let items = count(&|answer| matches!(answer, Answer::Unanswered(_)));
                    return Some(NotJudged::Unanswered { items });
                }
                few_clusters(&tasks.iter().map(TaskAnswers::sums).collect::<Vec<_>>())
            }
        }
    }

    /// The test between one run and one run.
    fn test(&self, effect: &mut Effect) {
        match self {
            Rows::Documents(sums) => effect.test_sums(TestKind::TOverDocuments, std::slice::from_ref(sums)),
            Rows::Likelihoods { tasks, .. } => {
                let clustered = tasks.iter().any(|sums| sums.clusters.is_some());
                let kind = if clustered { TestKind::TOverItemClusters } else { TestKind::TOverItems };
                effect.test_sums(kind, tasks);
            }
            Rows::Items(tasks) => match paired(tasks) {
                Some(Paired::Exact(test)) => {
                    effect.test = Some(TestKind::ExactMcnemar);
                    effect.standard_error = Some(libm::sqrt(test.variance()));
                    effect.interval = Some(test.interval());
                    effect.p_value = Some(test.p_value);
                    effect.discordant = Some([test.only_first, test.only_second]);
                    let discordant = (test.only_first + test.only_second) as f64 / test.items as f64;
                    effect.power = Power::Paired { items: test.items, discordant };
                }
                Some(Paired::OverTasks(test)) => {
                    effect.test = Some(TestKind::McnemarOverTasks);
                    effect.standard_error = Some(test.standard_error);
                    effect.interval = Some(test.interval);
                    effect.p_value = Some(test.p_value);
                    effect.power = Power::Stratified(test);
                }
                Some(Paired::OverClusters(test)) => effect.take_clusters(TestKind::TOverItemClusters, &test),
                None => effect.not_judged = Some(NotJudged::NoSpread),
            },
        }
    }

    /// What each unit adds to the value of each run.
    fn influences(&self) -> Influences {
        match self {
            Rows::Documents(sums) => Sums::influences(std::slice::from_ref(sums)),
            Rows::Likelihoods { tasks, .. } => Sums::influences(tasks),
            Rows::Items(tasks) => Sums::influences(&tasks.iter().map(TaskAnswers::sums).collect::<Vec<_>>()),
        }
    }
}

fn few_clusters(tasks: &[Sums]) -> Option<NotJudged> {
    tasks.iter().find_map(Sums::too_few_clusters).map(|clusters| NotJudged::FewClusters { clusters })
}

impl Effect {
    /// t over the units of one run a side.
    fn test_sums(&mut self, kind: TestKind, tasks: &[Sums]) {
        let Some(test) = mean_cluster_test(&tasks.iter().map(Sums::differences).collect::<Vec<_>>()) else {
            self.not_judged = Some(NotJudged::NoSpread);
            return;
        };
        self.take_clusters(kind, &test);
    }

    fn take_clusters(&mut self, kind: TestKind, test: &TTest) {
        self.take(kind, test);
        self.power = Power::Clusters { clusters: test.df + 1.0, error: test.standard_error };
    }

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
