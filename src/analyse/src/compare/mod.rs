//! Is one experiment better than another, by how much, how sure, and at what price?
//!
//! Comes in: two [`Side`]s, each one or more sealed runs of one plan. Goes out: a [`Comparison`]: for each metric the
//! difference with its interval, test and verdict, corrected over the family of metrics, and the two budgets. What is
//! claimed depends on the runs: with one run a side the tests are over held-out documents and items and speak of two
//! trained models; with several seeds they are over seeds and speak of two ways of training.

mod budget;
mod effects;
mod flips;
mod rows;
mod side;
mod tokens;

use harness_core::names::ExperimentName;
use harness_core::scores::TableError;
use serde::Serialize;

use super::{AnalyseError, Unit};
use harness_record::RecordError;
use harness_statistics::hypothesis::{LEVEL, holm};

pub use budget::BudgetLine;
pub use flips::{Flip, Flips, flips};
pub use rows::{planned_alike, quoted_items};
pub use side::{RunName, Side};

/// Version of the JSON form. Raised with every change that an older reader would misread.
pub const FORMAT: u32 = 1;
/// The family of the metrics that the paper's claims rest on.
pub const PRIMARY: &str = "primary";
/// Where a family was declared: the metrics that would be primary otherwise.
pub const SECONDARY: &str = "secondary";
/// The losses of slices of the held-out text.
pub const SLICES: &str = "slices";
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
    /// One for each metric: validation bits per byte, tasks without group and groups first, then members of groups.
    pub effects: Vec<Effect>,
    /// What each side cost.
    pub budget: Vec<BudgetLine>,
    /// What else a reader has to know: runs left out, metrics that cannot be compared.
    pub notes: Vec<String>,
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideSummary {
    /// As it was asked for.
    pub name: String,
    /// The experiment.
    pub experiment: ExperimentName,
    /// The runs, oldest first.
    pub runs: Vec<RunName>,
}

/// What the tests are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// One run a side: over documents and items.
    OneRunEach,
    /// One run on one side, several seeds on the other: over seeds, equal variances taken for granted.
    OneRunAgainstSeeds,
    /// Several seeds on both sides: over seeds.
    Seeds,
}

/// How a p-value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestKind {
    /// Paired bootstrap over the validation documents.
    BootstrapOverDocuments,
    /// Paired bootstrap over the validation windows: there are few documents.
    BootstrapOverWindows,
    /// Exact McNemar test over the items; the interval is a paired bootstrap.
    ExactMcnemar,
    /// Paired bootstrap over the items within each task of a group.
    BootstrapOverItems,
    /// Welch's t over seeds.
    WelchOverSeeds,
    /// Student's t over seeds with one run on a side.
    PooledTOverSeeds,
}

impl TestKind {
    /// For tables.
    pub fn words(self) -> &'static str {
        match self {
            TestKind::BootstrapOverDocuments => "bootstrap, documents",
            TestKind::BootstrapOverWindows => "bootstrap, windows",
            TestKind::ExactMcnemar => "exact McNemar, items",
            TestKind::BootstrapOverItems => "bootstrap, items",
            TestKind::WelchOverSeeds => "Welch t, seeds",
            TestKind::PooledTOverSeeds => "pooled t, seeds",
        }
    }
}

/// What a metric says of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better, the corrected p-value being at most 5 %.
    Better,
    /// Worse, likewise.
    Worse,
    /// The difference could be noise.
    NotDistinguishable,
    /// The values leave nothing to test.
    NotJudged,
}

/// The difference in one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The key of the value, such as `validation.bits_per_byte`.
    pub metric: String,
    /// What p-values are corrected together: [`PRIMARY`], [`SECONDARY`], [`SLICES`], [`CALIBRATION`], or the group for
    /// its tasks.
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
    /// The smallest true difference that this test finds with 80 % power at 5 %, uncorrected; none if there is no such.
    pub smallest_detectable: Option<f64>,
    /// Documents, windows or items that a value of one run rests on.
    pub units: u64,
    /// Items that only the reference, and only the other side, answered right; for one run a side.
    pub discordant: Option<[u64; 2]>,
    /// 95 % interval over seeds and, within them, documents or items; for several seeds on both sides.
    pub interval_over_seeds_and_units: Option<[f64; 2]>,
    /// What it comes to.
    pub verdict: Verdict,
}

impl Effect {
    /// The verdict as a sentence fragment.
    pub fn words(&self) -> String {
        match (self.verdict, self.smallest_detectable) {
            (Verdict::Better, _) => "better".to_owned(),
            (Verdict::Worse, _) => "worse".to_owned(),
            (Verdict::NotJudged, _) if self.reference_runs.len().max(self.other_runs.len()) > 1 => {
                "not judged: the runs of a side do not differ at all".to_owned()
            }
            (Verdict::NotJudged, _) => format!("not judged: {} to resample", self.units),
            (Verdict::NotDistinguishable, Some(effect)) => {
                let effect = show_difference(effect, self.unit);
                let effect = effect.trim_start_matches('+');
                format!("not distinguishable at this n: smallest detectable effect {effect}")
            }
            (Verdict::NotDistinguishable, None) if self.discordant.is_some() => {
                "not distinguishable at this n: too few items answered differently".to_owned()
            }
            (Verdict::NotDistinguishable, None) => "not distinguishable: every unit differs by the same".to_owned(),
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
        notes.join("; ")
    )]
    NothingShared {
        /// The reference.
        reference: String,
        /// The other side.
        other: String,
        /// Why each metric is left out.
        notes: Vec<String>,
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
    let mut notes: Vec<String> = reference.notes.iter().chain(&other.notes).cloned().collect();
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
    judge(&mut effects);
    let programs = |side: &Side| side.runs[0].run.open.binaries.built_from_sha256.clone();
    if programs(reference) != programs(other) {
        notes.push("the two sides ran programs built from different sources".to_owned());
    }
    Ok(Comparison {
        format: FORMAT,
        reference: reference.summary(),
        other: other.summary(),
        basis,
        claim: claim(basis, reference, other),
        family,
        effects,
        budget: budget::budget(reference, other),
        notes,
    })
}

fn basis(reference: &Side, other: &Side) -> Basis {
    match (reference.runs.len(), other.runs.len()) {
        (1, 1) => Basis::OneRunEach,
        (1, _) | (_, 1) => Basis::OneRunAgainstSeeds,
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
    notes: &mut Vec<String>,
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
        notes.push(format!("the two declare different `primary_metrics`; those of `{}` are taken", other.name));
    }
    for metric in &metrics {
        if effects.iter().all(|effect| effect.metric != *metric) {
            let known = effects.iter().map(|effect| effect.metric.clone()).collect();
            let metric = metric.clone();
            if declared_by == DeclaredBy::CommandLine {
                return Err(CompareError::UnknownMetric { metric, known });
            }
            notes.push(format!("`{metric}` is declared in `primary_metrics`, but is not among the metrics compared"));
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

/// Corrects the p-values of each family and gives the verdicts.
fn judge(effects: &mut [Effect]) {
    let mut families: Vec<String> = effects.iter().map(|e| e.family.clone()).collect();
    families.sort();
    families.dedup();
    for family in families {
        let mut members: Vec<&mut Effect> =
            effects.iter_mut().filter(|e| e.family == family && e.p_value.is_some()).collect();
        let corrected = holm(&members.iter().filter_map(|e| e.p_value).collect::<Vec<_>>());
        for (effect, p) in members.iter_mut().zip(corrected) {
            effect.p_holm = Some(p);
            let improved = (effect.difference < 0.0) == effect.lower_is_better;
            effect.verdict = match (p <= LEVEL, improved) {
                (false, _) => Verdict::NotDistinguishable,
                (true, true) => Verdict::Better,
                (true, false) => Verdict::Worse,
            };
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
        Basis::OneRunAgainstSeeds => {
            let single = if first == 1 { reference } else { other };
            format!(
                "{first} against {second} runs: the tests are over seeds and take for granted that `{}`, with its one \
                 run, varies over seeds as much as the other side does. Documents and items are taken as they are.",
                single.name
            )
        }
        Basis::Seeds => format!(
            "{first} against {second} seeds: the tests are over seeds, so a verdict is about the two ways of training, \
             on this corpus and these items. Equal seeds of two experiments are not taken as pairs.{}",
            if first.min(second) < 4 {
                " With fewer than four seeds a side no rank or permutation test could reach 5 %; Welch's t leans on \
                 normal values instead."
            } else {
                ""
            }
        ),
    }
}
