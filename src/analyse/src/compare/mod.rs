//! Is one experiment better than another, by how much, how sure, and at what price?
//!
//! Comes in: two [`Side`]s, each one or more sealed runs of one plan. Goes out: a [`Comparison`]: for each metric the
//! difference with its interval, test and verdict, corrected over the family of metrics, and the two budgets. What is
//! claimed depends on the runs: with one run a side the tests are over held-out documents and items and speak of two
//! trained models; with several seeds they are over seeds and speak of two ways of training. Which test is taken when, and
//! what it was measured to do, is in docs/statistics.md.

mod budget;
mod effects;
mod flips;
mod notes;
mod rows;
mod side;
mod tokens;

use std::collections::BTreeMap;

use harness_core::names::ExperimentName;
use harness_core::scores::TableError;
use serde::Serialize;

use super::{AnalyseError, RunName, Unit};
use harness_record::RecordError;
use harness_statistics::hypothesis::{LEVEL, Stratified, holm};
use harness_statistics::power::{
    detectable_in_blocks, detectable_over_clusters, detectable_over_seeds, detectable_paired_shares,
    detectable_stratified, deviation_range,
};

pub use crate::sums::Sums;
pub use budget::BudgetLine;
pub use effects::{FEWEST_ITEMS, Measured, Rows, tested};
pub use flips::{Flip, Flips, flips};
pub use notes::Note;
pub use side::Side;

/// Version of the JSON form. Raised with every change that an older reader would misread.
pub const FORMAT: u32 = 2;
/// The family of the metrics that the paper's claims rest on.
pub const PRIMARY: &str = "primary";
/// Where a family was declared: the metrics that would be primary otherwise.
pub const SECONDARY: &str = "secondary";
/// The losses of slices of the held-out text.
pub const SLICES: &str = "slices";
/// How probable the right answers are: apart, so that it takes nothing from the claim.
pub const LIKELIHOOD: &str = "likelihood";
/// Calibration of the next-token distribution.
pub const CALIBRATION: &str = "calibration";

/// What is asked of a comparison beyond its two sides.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Keys of the metrics that claims rest on. Empty: those that the experiments declare.
    pub family: Vec<String>,
    /// Whether the loss by position, source and length, and calibration, are compared too.
    pub slices: bool,
}

/// The metrics whose p-values are corrected together because the claim rests on them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Family {
    /// Keys; empty if none were declared.
    pub metrics: Vec<String>,
    /// Who declared them.
    pub declared_by: DeclaredBy,
}

/// Who declared a family of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeclaredBy {
    /// Nobody: bits per byte, tasks without group and groups are taken.
    Nobody,
    /// `primary_metrics` in the config of a run, whose commit is in its record: before the run.
    Config,
    /// The command line: possibly after the results were known.
    CommandLine,
}

/// Two experiments held against each other. Differences are the other side minus the reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`FORMAT`]
    pub format: u32,
    /// What it is compared with.
    pub reference: SideSummary,
    /// What is compared.
    pub other: SideSummary,
    /// What the tests below are about.
    pub basis: Basis,
    /// What they can and cannot show, in words.
    pub claim: String,
    /// Which metrics the claim rests on.
    pub family: Family,
    /// One for each metric: validation bits per byte, tasks without group and groups first, then members of groups, then how
    /// probable the right answers are.
    pub effects: Vec<Effect>,
    /// What each side cost.
    pub budget: Vec<BudgetLine>,
    /// What else a reader has to know: runs left out, metrics that cannot be compared, unequal budgets.
    #[serde(serialize_with = "notes::with_text")]
    pub notes: Vec<Note>,
    /// How many comparisons with this reference the p-values are corrected over.
    pub corrected_over: usize,
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideSummary {
    /// As it was asked for.
    pub name: String,
    /// The experiment.
    pub experiment: ExperimentName,
    /// The runs, in the order of their seeds.
    pub runs: Vec<RunName>,
}

/// What the tests are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// One run a side: over documents and items. Says whether two trained models differ, nothing of ways of training.
    OneRunEach,
    /// One run on one side, several seeds on the other: nothing is tested, because nothing is known of the spread of the one.
    OneRunAgainstSeeds,
    /// The same seeds on both sides, which are blocks.
    SharedSeeds,
    /// Several seeds on both sides, not the same.
    Seeds,
}

/// How a p-value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestKind {
    /// t over documents, with errors for few, unequal and skewed ones.
    TOverDocuments,
    /// The same over items; of a group over those of each of its tasks.
    TOverItems,
    /// Exact McNemar test over the items of a task.
    ExactMcnemar,
    /// McNemar's test over the items of the tasks of a group.
    McnemarOverTasks,
    /// t over clusters of items, such as passages or templates, where a recipe names them.
    TOverItemClusters,
    /// t over the differences within shared seeds.
    BlocksOverSeeds,
    /// t over seeds with one variance for both sides.
    PooledTOverSeeds,
    /// Welch's t over seeds.
    WelchOverSeeds,
}

impl TestKind {
    /// For tables.
    pub fn words(self) -> &'static str {
        match self {
            TestKind::TOverDocuments => "t, documents",
            TestKind::TOverItems => "t, items",
            TestKind::ExactMcnemar => "exact McNemar",
            TestKind::McnemarOverTasks => "McNemar, all tasks",
            TestKind::TOverItemClusters => "t, clusters of items",
            TestKind::BlocksOverSeeds => "t within seeds",
            TestKind::PooledTOverSeeds => "pooled t",
            TestKind::WelchOverSeeds => "Welch's t",
        }
    }
}

/// What a metric says of the other side. Only tests over seeds give a direction: two seeds of one config are told apart by
/// their documents and items half of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Training so is better, the corrected p-value over seeds being at most 5 %.
    Better,
    /// Worse, likewise.
    Worse,
    /// These two trained models differ, one run each: the corrected p-value over documents or items is at most 5 %.
    ModelsDiffer,
    /// The difference could be noise.
    NotDistinguishable,
    /// Nothing is tested: [`Effect::not_judged`] says why.
    NotJudged,
}

impl Verdict {
    /// Whether a difference was found, of training or of two models.
    pub fn is_decided(self) -> bool {
        matches!(self, Verdict::Better | Verdict::Worse | Verdict::ModelsDiffer)
    }

    /// For tables.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::ModelsDiffer => "these two models differ",
            Verdict::NotDistinguishable => "not distinguishable",
            Verdict::NotJudged => "not judged",
        }
    }
}

/// Why a metric is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum NotJudged {
    /// Fewer than five documents: their windows are not independent of each other.
    FewDocuments {
        /// So many.
        documents: u64,
    },
    /// Fewer items than [`FEWEST_ITEMS`] that a likelihood is known of.
    FewItems {
        /// So many in all.
        items: u64,
        /// In the task that has fewest.
        of_a_task: u64,
    },
    /// The items of a task belong to fewer than five clusters, and those of one are not independent of each other.
    FewClusters {
        /// So many.
        clusters: u64,
    },
    /// One side is a single run, the other several seeds.
    OneRunOnASide,
    /// Scores are not finite.
    NotFinite {
        /// Answers that they would have been, over all runs.
        items: u64,
    },
    /// The runs leave different items unanswered.
    Unanswered {
        /// Unanswered items, over all runs.
        items: u64,
    },
    /// The runs of a side, the documents or the clusters of items do not differ at all.
    NoSpread,
}

impl NotJudged {
    /// The reason, and what could be done.
    pub fn words(self) -> String {
        match self {
            NotJudged::FewDocuments { documents } => format!(
                "{documents} documents are too few, and the windows of one are not independent: hold out more, or split by more \
                 documents (`harness data show` says how)"
            ),
            NotJudged::FewItems { items, of_a_task } => {
                let [in_all, of_each] = FEWEST_ITEMS;
                format!(
                    "{items} items, {of_a_task} of the task that has fewest, are too few for a test of how probable the right answers \
                     are, which takes {in_all} and {of_each}: score more"
                )
            }
            NotJudged::FewClusters { clusters } => format!(
                "the items belong to {clusters} clusters, which are too few, and items of one are not independent: score items \
                 of more passages or templates"
            ),
            NotJudged::OneRunOnASide => {
                "one side is a single run, so nothing is known of its spread over seeds: run it with more seeds"
                    .to_owned()
            }
            NotJudged::NotFinite { items } => format!("{items} answers are not finite numbers"),
            NotJudged::Unanswered { items } => {
                format!(
                    "the runs leave different items unanswered ({items} in all), so the difference is not one of answers"
                )
            }
            NotJudged::NoSpread => "the values do not vary at all".to_owned(),
        }
    }
}

/// What the smallest detectable difference depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Power {
    None,
    Clusters { clusters: f64, error: f64 },
    Paired { items: u64, discordant: f64 },
    Stratified(Stratified),
    Blocks { pairs: usize, deviation: f64 },
    Seeds { first: usize, second: usize, deviation: f64 },
}

impl Power {
    /// The smallest difference that the test finds with 80 % power at a level, and the range that follows from how well its
    /// standard deviation over seeds is known.
    fn smallest(
        self,
        level: f64,
        unshared: &mut dyn FnMut(usize, usize) -> Option<f64>,
    ) -> (Option<f64>, Option<[f64; 2]>) {
        let over_seeds = |effect: Option<f64>, deviation: f64, df: f64| {
            let range = |effect: f64| deviation_range(deviation, df).map(|end| effect * end);
            (effect.map(|effect| effect * deviation), effect.map(range))
        };
        match self {
            Power::None => (None, None),
            Power::Clusters { clusters, error } => {
                // Unequal clusters count for fewer.
                let count = (libm::round(clusters) as usize).max(harness_statistics::cluster::FEWEST_CLUSTERS);
                let effect = detectable_over_clusters(count, level).map(|effect| effect * error);
                (effect.filter(|effect| *effect > 0.0), None)
            }
            Power::Paired { items, discordant } => (detectable_paired_shares(items, discordant, level), None),
            Power::Stratified(test) => (detectable_stratified(&test, level), None),
            Power::Blocks { pairs, deviation } => {
                over_seeds(detectable_in_blocks(pairs, level), deviation, pairs as f64 - 1.0)
            }
            Power::Seeds { first, second, deviation } => {
                let df = (first + second) as f64 - 2.0;
                over_seeds(unshared(first, second), deviation, df)
            }
        }
    }
}

/// The difference in one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The key of the value, such as `validation.bits_per_byte`.
    pub metric: String,
    /// What p-values are corrected together: [`PRIMARY`], [`SECONDARY`], [`LIKELIHOOD`], [`SLICES`], [`CALIBRATION`], or the
    /// group for its tasks.
    pub family: String,
    /// Unit of the values; of a difference too, but for shares those are points.
    pub unit: Unit,
    /// Whether a negative difference is an improvement.
    pub lower_is_better: bool,
    /// Mean of the reference over its runs.
    pub reference: f64,
    /// Mean of the other side over its runs.
    pub other: f64,
    /// Values of the single runs of the reference.
    pub reference_runs: Vec<f64>,
    /// Values of the single runs of the other side.
    pub other_runs: Vec<f64>,
    /// Other minus reference.
    pub difference: f64,
    /// Standard error of the difference.
    pub standard_error: Option<f64>,
    /// 95 % interval of the difference, not corrected for the family.
    pub interval: Option<[f64; 2]>,
    /// How the p-value was computed; none if the values leave nothing to test.
    pub test: Option<TestKind>,
    /// Degrees of freedom of a t test.
    pub degrees_of_freedom: Option<f64>,
    /// Two-sided p-value.
    pub p_value: Option<f64>,
    /// The same after Holm's correction over the family.
    pub p_holm: Option<f64>,
    /// The smallest true difference that this test finds with 80 % power after the correction; none if there is no such.
    pub smallest_detectable: Option<f64>,
    /// The range in which it lies with 95 % probability, as the standard deviation over few seeds is hardly known.
    pub smallest_detectable_range: Option<[f64; 2]>,
    /// Documents or items that a value of one run rests on.
    pub units: u64,
    /// Items that only the reference, and only the other side, answered right; for one run a side.
    pub discordant: Option<[u64; 2]>,
    /// 95 % interval over seeds and, within them, documents or items; for several seeds on both sides.
    pub interval_over_seeds_and_units: Option<[f64; 2]>,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why nothing was tested; with [`Verdict::NotJudged`] only.
    pub not_judged: Option<NotJudged>,
    #[serde(skip)]
    pub(crate) power: Power,
}

impl Effect {
    /// The verdict as a sentence fragment.
    pub fn words(&self) -> String {
        let verdict = self.verdict.words();
        match (self.verdict, self.not_judged, self.smallest_detectable) {
            (Verdict::NotJudged, Some(why), _) => format!("{verdict}: {}", why.words()),
            (Verdict::NotDistinguishable, _, Some(_)) => {
                format!("{verdict} at this n: smallest detectable effect {}", self.shown_detectable())
            }
            (Verdict::NotDistinguishable, _, None)
                if matches!(self.test, Some(TestKind::ExactMcnemar | TestKind::McnemarOverTasks)) =>
            {
                format!("{verdict} at this n: too few items answered differently")
            }
            _ => verdict.to_owned(),
        }
    }

    /// The smallest detectable difference, with its range where that is known.
    pub fn shown_detectable(&self) -> String {
        let shown = |effect: f64| show_difference(effect, self.unit).trim_start_matches('+').to_owned();
        match (self.smallest_detectable, self.smallest_detectable_range) {
            (Some(effect), Some([low, high])) => {
                format!("{} ({} to {})", shown(effect), shown(low).trim_end_matches(" points"), shown(high))
            }
            (Some(effect), None) => shown(effect),
            (None, _) => "-".to_owned(),
        }
    }
}

/// A difference under its unit's rounding: one digit more than the values for bits per byte, points for shares.
pub fn show_difference(difference: f64, unit: Unit) -> String {
    match unit {
        Unit::Share => format!("{:+.1} points", 100.0 * difference),
        Unit::BitsPerByte | Unit::NatsPerToken => format!("{difference:+.4}"),
        _ => format!("{difference:+.4e}"),
    }
}

/// A p-value in a sentence: `p = 0.0340`, or `p < 0.0001`.
pub fn show_p(p: f64, decimals: usize) -> String {
    let shown = format!("{p:.decimals$}");
    let is_zero = !shown.contains(|digit: char| ('1'..='9').contains(&digit));
    if is_zero { format!("p < 0.{}1", "0".repeat(decimals.saturating_sub(1))) } else { format!("p = {shown}") }
}

/// Why two sides cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A run cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A run could not be analysed.
    #[error(transparent)]
    Analyse(#[from] AnalyseError),
    /// A table is missing or damaged.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Nothing was completed.
    #[error("`{0}` has no completed, citable run\nhint: make exp NAME={0}; `harness runs {0}` lists what there is")]
    NoRun(ExperimentName),
    /// The two have nothing in common.
    #[error(
        "`{reference}` and `{other}` share no metric: {}\nhint: compare runs on the same corpus and tasks",
        notes.iter().map(Note::text).collect::<Vec<_>>().join("; ")
    )]
    NothingShared {
        /// The reference.
        reference: String,
        /// The other side.
        other: String,
        /// Why each metric is left out.
        notes: Vec<Note>,
    },
    /// A metric of a family that is not compared.
    #[error("`{metric}` is not among the metrics compared\nhint: these are: {}", known.join(", "))]
    UnknownMetric {
        /// As named on the command line.
        metric: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A task that was not scored on both sides.
    #[error("`{task}` was not scored alike on both sides\nhint: {}", if known.is_empty() { "no task was".to_owned() } else { format!("these were: {}", known.join(", ")) })]
    UnknownTask {
        /// As asked for.
        task: String,
        /// Those that were.
        known: Vec<String>,
    },
}

/// Holds the other side against the reference.
pub fn compare(reference: &Side, other: &Side, asked: &Asked) -> Result<Comparison, CompareError> {
    let mut comparison = compared(reference, other, asked)?;
    judge(std::slice::from_mut(&mut comparison));
    Ok(comparison)
}

/// Holds each of the others against the reference. The p-values of a family are corrected over all of them: whoever tries
/// eight changes finds one by chance in a fifth of the cases.
pub fn compare_all(reference: &Side, others: &[Side], asked: &Asked) -> Result<Vec<Comparison>, CompareError> {
    let mut comparisons =
        others.iter().map(|other| compared(reference, other, asked)).collect::<Result<Vec<_>, _>>()?;
    judge(&mut comparisons);
    Ok(comparisons)
}

/// Everything but the verdicts.
fn compared(reference: &Side, other: &Side, asked: &Asked) -> Result<Comparison, CompareError> {
    let budget = budget::budget(reference, other);
    let mut notes: Vec<Note> = [reference, other].into_iter().flat_map(notes::on_side).collect();
    let basis = basis(reference, other);
    let mut effects = effects::effects(reference, other, basis, &mut notes)?;
    if asked.slices {
        effects.extend(tokens::effects(reference, other, basis, &mut notes)?);
    }
    if effects.is_empty() {
        let (reference, other) = (reference.name.clone(), other.name.clone());
        return Err(CompareError::NothingShared { reference, other, notes });
    }
    let family = declare(reference, other, asked, &mut effects, &mut notes)?;
    notes.extend(notes::between(reference, other, &budget));
    Ok(Comparison {
        format: FORMAT,
        reference: reference.summary(),
        other: other.summary(),
        basis,
        claim: claim(basis, reference, other),
        family,
        effects,
        budget,
        notes,
        corrected_over: 1,
    })
}

fn basis(reference: &Side, other: &Side) -> Basis {
    match (reference.runs.len(), other.runs.len()) {
        (1, 1) => Basis::OneRunEach,
        (1, _) | (_, 1) => Basis::OneRunAgainstSeeds,
        _ if reference.seeds() == other.seeds() => Basis::SharedSeeds,
        _ => Basis::Seeds,
    }
}

/// Makes the declared metrics the primary family. What the other side declares counts before what the reference does:
/// it is the change whose hypothesis is tested.
fn declare(
    reference: &Side,
    other: &Side,
    asked: &Asked,
    effects: &mut [Effect],
    notes: &mut Vec<Note>,
) -> Result<Family, CompareError> {
    let declared = |side: &Side| side.runs[side.runs.len() - 1].run.experiment.primary_metrics.clone();
    let (of_reference, of_other) = (declared(reference), declared(other));
    let (metrics, declared_by) = match (asked.family.is_empty(), of_other.is_empty(), of_reference.is_empty()) {
        (false, _, _) => (asked.family.clone(), DeclaredBy::CommandLine),
        (true, false, _) => (of_other.clone(), DeclaredBy::Config),
        (true, true, false) => (of_reference.clone(), DeclaredBy::Config),
        (true, true, true) => return Ok(Family { metrics: Vec::new(), declared_by: DeclaredBy::Nobody }),
    };
    if declared_by == DeclaredBy::Config && !of_reference.is_empty() && of_reference != metrics {
        notes.push(Note::PrimaryMetricsDiffer { taken: other.name.clone() });
    }
    for metric in &metrics {
        if effects.iter().all(|effect| effect.metric != *metric) {
            let known = effects.iter().map(|effect| effect.metric.clone()).collect();
            let metric = metric.clone();
            if declared_by == DeclaredBy::CommandLine {
                return Err(CompareError::UnknownMetric { metric, known });
            }
            notes.push(Note::MetricNotCompared { metric });
        }
    }
    for effect in effects {
        if metrics.contains(&effect.metric) {
            effect.family = PRIMARY.to_owned();
        } else if effect.family == PRIMARY {
            effect.family = SECONDARY.to_owned();
        }
    }
    Ok(Family { metrics, declared_by })
}

/// Corrects the p-values of each family, over all comparisons with one reference, and gives the verdicts; instead of those
/// that there are.
pub fn judge(comparisons: &mut [Comparison]) {
    let count = comparisons.len();
    comparisons.iter_mut().for_each(|comparison| comparison.corrected_over = count);
    let over_seeds = |comparison: &Comparison| comparison.basis != Basis::OneRunEach;
    let mut members: Vec<(bool, &mut Effect)> = comparisons
        .iter_mut()
        .flat_map(|comparison| {
            let over_seeds = over_seeds(comparison);
            comparison.effects.iter_mut().map(move |effect| (over_seeds, effect))
        })
        .filter(|(_, effect)| effect.p_value.is_some())
        .collect();
    let mut families: Vec<String> = members.iter().map(|(_, effect)| effect.family.clone()).collect();
    families.sort();
    families.dedup();
    // Unequal numbers of seeds are simulated, which takes longer than all else here.
    let mut simulated: BTreeMap<(usize, usize, u64), Option<f64>> = BTreeMap::new();
    for family in families {
        let mut of_family: Vec<&mut (bool, &mut Effect)> =
            members.iter_mut().filter(|(_, effect)| effect.family == family).collect();
        let p_values: Vec<f64> = of_family.iter().filter_map(|(_, effect)| effect.p_value).collect();
        // What is left of the level if the others of the family are nothing.
        let level = LEVEL / p_values.len() as f64;
        for ((over_seeds, effect), p) in of_family.iter_mut().zip(holm(&p_values)) {
            effect.p_holm = Some(p);
            let improved = (effect.difference < 0.0) == effect.lower_is_better;
            effect.verdict = match (p <= LEVEL, over_seeds, improved) {
                (false, _, _) => Verdict::NotDistinguishable,
                (true, false, _) => Verdict::ModelsDiffer,
                (true, true, true) => Verdict::Better,
                (true, true, false) => Verdict::Worse,
            };
            let mut unshared = |first: usize, second: usize| {
                let known = simulated.entry((first, second, level.to_bits()));
                *known.or_insert_with(|| detectable_over_seeds(first, second, level))
            };
            (effect.smallest_detectable, effect.smallest_detectable_range) =
                effect.power.smallest(level, &mut unshared);
        }
    }
}

/// What the tests can and cannot show.
fn claim(basis: Basis, reference: &Side, other: &Side) -> String {
    let (first, second) = (reference.runs.len(), other.runs.len());
    match basis {
        Basis::OneRunEach => format!(
            "One run a side: the tests are over held-out documents and items, so a verdict is about these two trained \
             models. It does not say that training as in `{}` gives better or worse models than training as in `{}`: \
             another seed could turn it around. Runs with other seeds can show that.",
            other.name, reference.name
        ),
        Basis::OneRunAgainstSeeds => format!(
            "{first} against {second} runs: nothing is judged, because one run says nothing of its spread over seeds."
        ),
        Basis::SharedSeeds => format!(
            "The same {first} seeds on both sides: the tests are over differences within seeds, so a verdict is about the two \
             ways of training, on this corpus and these items."
        ),
        Basis::Seeds => {
            let seeds = reference.seeds();
            let (which, how) = match other.seeds().iter().filter(|seed| seeds.contains(seed)).count() {
                0 => ("not the same".to_owned(), ""),
                shared => (
                    format!("{shared} of them the same"),
                    "They take every run and pair none, so that what runs of one seed have in common stays in the error. ",
                ),
            };
            format!(
                "{first} against {second} seeds, {which}: the tests are over seeds, so a verdict is about the two ways of training, \
                 on this corpus and these items. {how}With the same seeds on both sides they would be pairs."
            )
        }
    }
}
