//! What so many seeds of a change can find, told before they are paid for.

use harness_core::names::ExperimentName;
use harness_statistics::dunnett::Family as SeedFamily;
use harness_statistics::hypothesis::LEVEL;
use harness_statistics::power::detectable_against_baseline;
use harness_statistics::variance;
use serde::Serialize;

use crate::StudyError;
use crate::evidence::Evidence;
use crate::tree::metric_of;

/// How an experiment will be held against another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Design {
    /// The metric.
    pub metric: String,
    /// What it is held against; itself where it extends none.
    pub against: ExperimentName,
    /// Changes that are tested together.
    pub changes: usize,
    /// The level over all of them.
    pub level: f64,
    /// How far seeds lie apart, if that is known.
    pub noise: Option<Noise>,
}

/// How far seeds of an experiment lie apart. What all experiments share within a seed is in it too, so that a test within seeds
/// finds no less than is said here wherever they do share something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Noise {
    /// Of which.
    pub experiment: ExperimentName,
    /// Their number.
    pub seeds: usize,
    /// Mean over them.
    pub mean: f64,
    /// Standard deviation over them.
    pub deviation: f64,
}

impl Noise {
    /// Of the runs that count; none below two, or where they do not differ.
    pub fn of(evidence: &Evidence, name: &ExperimentName, metric: &str) -> Result<Option<Self>, StudyError> {
        let runs = evidence.counted_by_seed(name)?;
        let values: Vec<f64> = runs.iter().filter_map(|run| run.number(metric)).filter(|n| n.is_finite()).collect();
        let deviation = if values.len() > 1 { libm::sqrt(variance(&values)) } else { 0.0 };
        let (experiment, seeds) = (name.clone(), values.len());
        Ok((deviation > 0.0).then(|| Noise { experiment, seeds, mean: harness_statistics::mean(&values), deviation }))
    }
}

impl Design {
    /// Of an experiment as its file says now, by the spread of its baseline, or else its own.
    pub fn of(evidence: &Evidence, name: &ExperimentName) -> Result<Self, StudyError> {
        let config = evidence.experiment(name)?.experiment;
        let metric = metric_of(&config);
        let against = config.against().or(config.extends.as_ref()).unwrap_or(name).clone();
        let rivals = evidence.experiments().iter().filter(|(_, other)| {
            let other = &other.experiment;
            other.expect.as_ref().is_some_and(|expect| expect.metric == metric) && other.against() == Some(&against)
        });
        let changes = rivals.count().max(1);
        let noise = match Noise::of(evidence, &against, &metric)? {
            None if against != *name => Noise::of(evidence, name, &metric)?,
            noise => noise,
        };
        Ok(Design {
            metric,
            against,
            changes,
            level: if config.expect.is_some() { config.decide.level } else { LEVEL },
            noise,
        })
    }

    /// The smallest difference that so many seeds a side find in four of five studies, in the metric's unit; none below two seeds,
    /// or while nothing is known of the spread.
    pub fn smallest(&self, seeds: usize) -> Option<f64> {
        let noise = self.noise.as_ref()?;
        let found = detectable_against_baseline(SeedFamily::Blocks, seeds, self.changes, seeds, self.level)?;
        Some(found * noise.deviation)
    }
}
