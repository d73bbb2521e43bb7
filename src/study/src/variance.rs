//! How much a metric varies from seed to seed, what of that is common to all experiments, and what that leaves to be found.

use std::collections::BTreeMap;

use harness_analyse::Unit;
use harness_core::names::ExperimentName;
use harness_record::SealedRun;
use harness_statistics::design::{Homogeneity, bartlett, blocks as in_blocks, brown_forsythe, one_way};
use harness_statistics::dunnett::dunnett;
use harness_statistics::hypothesis::{LEVEL, TTest, blocks, pooled_t, welch};
use harness_statistics::power::{detectable_in_blocks, detectable_over_seeds, deviation_range};
use harness_statistics::{correlation, mean, variance as variance_of};
use serde::Serialize;

use crate::StudyError;
use crate::evidence::Evidence;
use crate::tree::asked_alike;

/// Version of the JSON form.
pub const FORMAT: u32 = 2;
/// Numbers of seeds for which the smallest effect is told.
const SEEDS: std::ops::RangeInclusive<usize> = 2..=10;

/// The spread of one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variance {
    /// [`FORMAT`]
    pub format: u32,
    /// Key of the metric.
    pub metric: String,
    /// Its unit.
    pub unit: Unit,
    /// What the others are held against.
    pub baseline: ExperimentName,
    /// Each experiment with two seeds or more, the baseline first.
    pub experiments: Vec<Spread>,
    /// One deviation for all; none where no experiment varies.
    pub pooled: Option<Pooled>,
    /// What is left of it within a seed, one for all experiments (randomised blocks); none where they do not share two seeds.
    pub within_seeds: Option<Deviation>,
    /// What so many seeds a side find in four of five studies, one change against the baseline at 5 %.
    pub detectable: Vec<Detectable>,
    /// Experiments that are left out, and why.
    pub left_out: Vec<LeftOut>,
}

/// An experiment that says nothing of the spread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// Which.
    pub experiment: ExperimentName,
    /// Why.
    pub why: &'static str,
}

/// A standard deviation with the range in which the true one lies with 95 % probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deviation {
    /// As measured.
    pub deviation: f64,
    /// Its degrees of freedom.
    pub df: f64,
    /// The range.
    pub range: [f64; 2],
}

impl Deviation {
    fn of(squares: f64, df: f64) -> Option<Self> {
        let deviation = libm::sqrt(squares / df);
        (deviation > 0.0 && deviation.is_finite()).then(|| Deviation {
            deviation,
            df,
            range: deviation_range(deviation, df),
        })
    }
}

/// One deviation for all experiments, and whether they share it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pooled {
    /// The deviation over the seeds of one experiment.
    #[serde(flatten)]
    pub deviation: Deviation,
    /// p-value of Bartlett's test that all vary alike.
    pub bartlett_p: Option<f64>,
    /// p-value of Brown and Forsythe's, which heavy tails hardly mislead.
    pub brown_forsythe_p: Option<f64>,
}

/// One experiment over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Which.
    pub experiment: ExperimentName,
    /// Its seeds, ascending.
    pub seeds: Vec<u64>,
    /// The metric of each.
    pub values: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their deviation; none where all are the same.
    pub deviation: Option<Deviation>,
    /// How it differs from the baseline; none of the baseline itself.
    pub against_baseline: Option<Against>,
}

/// A difference from the baseline by several rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    /// Seeds that both have.
    pub shared_seeds: usize,
    /// How the values of these seeds go together (Pearson): what blocks take out of a difference; none below three seeds.
    pub correlation: Option<f64>,
    /// Within the shared seeds.
    pub blocks: Option<Interval>,
    /// With one variance for both sides.
    pub pooled: Option<Interval>,
    /// With a variance for each side.
    pub welch: Option<Interval>,
    /// With one variance for all experiments, and an interval that holds together with those of the others (Dunnett).
    pub dunnett: Option<Interval>,
}

/// A difference with its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Experiment minus baseline.
    pub difference: f64,
    /// Its ends.
    pub interval: [f64; 2],
    /// Degrees of freedom.
    pub df: f64,
}

impl From<TTest> for Interval {
    fn from(test: TTest) -> Self {
        Interval { difference: test.difference, interval: [test.low, test.high], df: test.df }
    }
}

impl Spread {
    fn by_seed(&self) -> BTreeMap<u64, f64> {
        self.seeds.iter().copied().zip(self.values.iter().copied()).collect()
    }
}

/// What a number of seeds a side finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detectable {
    /// Seeds a side.
    pub seeds: usize,
    /// With shared seeds.
    pub in_blocks: Option<f64>,
    /// With seeds of their own.
    pub pooled: Option<f64>,
}

/// The spread of a metric in the baseline and in `others`, over the runs that count.
pub fn variance(
    evidence: &Evidence,
    baseline: &ExperimentName,
    others: &[ExperimentName],
    metric: &str,
) -> Result<Variance, StudyError> {
    let nothing = |why| StudyError::NoSpread { metric: metric.to_owned(), experiment: baseline.clone(), why };
    let reference = evidence.counted(baseline)?;
    let reference = reference.last().ok_or_else(|| nothing("it has no run that counts"))?;
    let (mut experiments, mut left_out): (Vec<Spread>, Vec<LeftOut>) = (Vec::new(), Vec::new());
    let mut unit = None;
    for name in std::iter::once(baseline).chain(others.iter().filter(|other| *other != baseline)) {
        let why = match spread(evidence, name, metric, reference)? {
            Ok((spread, own)) => {
                unit = unit.or(Some(own));
                experiments.push(spread);
                continue;
            }
            Err(why) if name == baseline => return Err(nothing(why)),
            Err(why) => why,
        };
        left_out.push(LeftOut { experiment: name.clone(), why });
    }
    let first = experiments[0].clone();
    experiments[1..].iter_mut().for_each(|other| other.against_baseline = Some(against(&first, other)));
    let values: Vec<Vec<f64>> = experiments.iter().map(|spread| spread.values.clone()).collect();
    let df: f64 = values.iter().map(|values| values.len() as f64 - 1.0).sum();
    let squares = values.iter().map(|values| variance_of(values) * (values.len() as f64 - 1.0)).sum::<f64>();
    let together = one_way(&values).map(|design| dunnett(&design, LEVEL)).unwrap_or_default();
    for (spread, test) in experiments[1..].iter_mut().zip(together) {
        spread.against_baseline.iter_mut().for_each(|against| against.dunnett = Some(test.into()));
    }
    let p_value = |test: Homogeneity| Some(test.p_value).filter(|p| p.is_finite());
    let pooled = Deviation::of(squares, df).map(|deviation| Pooled {
        deviation,
        bartlett_p: bartlett(&values).and_then(p_value),
        brown_forsythe_p: brown_forsythe(&values).and_then(p_value),
    });
    let within_seeds = within_seeds(&experiments);
    // What a difference varies by within a seed.
    let of_difference = within_seeds.as_ref().map(|own| own.deviation * std::f64::consts::SQRT_2);
    let of_value = pooled.as_ref().map(|own| own.deviation.deviation);
    let detectable = |seeds: usize| Detectable {
        seeds,
        in_blocks: of_difference.and_then(|own| Some(own * detectable_in_blocks(seeds, LEVEL)?)),
        pooled: of_value.and_then(|own| Some(own * detectable_over_seeds(seeds, seeds, LEVEL)?)),
    };
    Ok(Variance {
        format: FORMAT,
        metric: metric.to_owned(),
        unit: unit.expect("the baseline has a unit"),
        baseline: baseline.clone(),
        experiments,
        pooled,
        within_seeds,
        detectable: SEEDS.map(detectable).collect(),
        left_out,
    })
}

/// The deviation within a seed over the seeds that all experiments share which share any with the baseline.
fn within_seeds(experiments: &[Spread]) -> Option<Deviation> {
    let linked = |spread: &&Spread| spread.against_baseline.as_ref().is_none_or(|against| against.shared_seeds > 1);
    let linked: Vec<&Spread> = experiments.iter().filter(linked).collect();
    let by_seed: Vec<BTreeMap<u64, f64>> = linked.iter().map(|spread| spread.by_seed()).collect();
    let shared = by_seed[0].keys().filter(|seed| by_seed.iter().all(|values| values.contains_key(seed)));
    let shared: Vec<u64> = shared.copied().collect();
    let values: Vec<Vec<f64>> = by_seed.iter().map(|values| shared.iter().map(|seed| values[seed]).collect()).collect();
    let design = in_blocks(&values)?;
    Deviation::of(design.variance * design.df, design.df)
}

/// The values of an experiment, or why it says nothing.
fn spread(
    evidence: &Evidence,
    name: &ExperimentName,
    metric: &str,
    reference: &SealedRun,
) -> Result<Result<(Spread, Unit), &'static str>, StudyError> {
    let runs = evidence.counted(name)?;
    let Some(latest) = runs.last() else { return Ok(Err("it has no run that counts")) };
    if runs.len() < 2 {
        return Ok(Err("one run says nothing of the spread"));
    }
    if !asked_alike(reference, latest, metric) {
        return Ok(Err("it has other data or items than the baseline"));
    }
    let runs = evidence.counted_by_seed(name)?;
    let Some(unit) = runs[0].values.get(metric).map(|value| value.unit) else {
        return Ok(Err("its runs do not have the metric"));
    };
    let values: Option<Vec<f64>> = runs.iter().map(|run| run.number(metric).filter(|n| n.is_finite())).collect();
    let Some(values) = values else { return Ok(Err("a value is missing or not finite")) };
    let df = values.len() as f64 - 1.0;
    let spread = Spread {
        experiment: name.clone(),
        seeds: runs.iter().map(|run| run.seed).collect(),
        mean: mean(&values),
        deviation: Deviation::of(variance_of(&values) * df, df),
        values,
        against_baseline: None,
    };
    Ok(Ok((spread, unit)))
}

fn against(baseline: &Spread, other: &Spread) -> Against {
    let of_baseline = baseline.by_seed();
    let pairs = other.by_seed().into_iter().filter_map(|(seed, value)| Some((*of_baseline.get(&seed)?, value)));
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let interval = |test: Option<TTest>| test.map(Interval::from);
    Against {
        shared_seeds: first.len(),
        correlation: if first.len() > 2 { correlation(&first, &second) } else { None },
        blocks: interval(if first.len() > 1 { blocks(&first, &second) } else { None }),
        pooled: interval(pooled_t(&baseline.values, &other.values)),
        welch: interval(welch(&baseline.values, &other.values)),
        dunnett: None,
    }
}
