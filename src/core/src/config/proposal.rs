//! `seeds`, `[expect]` and `[decide]`: what a change is expected to do, and by which rule it will be decided. Written and
//! committed before the runs that decide; every run keeps the file as it was.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Choices;
use crate::names::ExperimentName;

/// What a metric is expected to do, held against another experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Key of the metric, such as `validation.bits_per_byte`.
    pub metric: String,
    /// Where it goes.
    pub direction: Direction,
    /// The smallest change that is claimed, in the metric's unit; for `same` the largest that still counts as none.
    pub at_least: f64,
    /// The experiment that it is held against; if not stated, the one that this one extends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<ExperimentName>,
}

impl Expectation {
    /// The size of what is expected, such as `lower by at least 0.01 than baseline`; without the last words where nothing is
    /// named that it is held against.
    pub fn size(&self, against: Option<&str>) -> String {
        let (size, words) =
            (self.at_least, |word: &str| against.map_or(String::new(), |name| format!(" {word} {name}")));
        match self.direction {
            Direction::Same => format!("the same{}, within {size}", words("as")),
            direction => format!("{} by at least {size}{}", direction.word(), words("than")),
        }
    }
}

/// Where a metric is expected to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It falls.
    Lower,
    /// It rises.
    Higher,
    /// It stays.
    Same,
}

impl Direction {
    /// The word in configs and tables.
    pub fn word(self) -> &'static str {
        match self {
            Direction::Lower => "lower",
            Direction::Higher => "higher",
            Direction::Same => "same",
        }
    }
}

/// The rule by which a change is adopted, rejected or held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecideConfig {
    /// The share of changes without effect that may be told better or worse, over all changes of one baseline together.
    pub level: f64,
    /// Which of the derived seeds decide: those to confirm, or those to report with, which decided nothing before.
    #[serde(skip_serializing_if = "is_confirm")]
    pub purpose: DecidePurpose,
    /// Numbers of seeds at which the results may be looked at, ascending, the last one `seeds`. Empty: once, at `seeds`.
    pub looks: Vec<u32>,
    /// The improvement below which the change is not worth having, in the metric's unit; 0 takes `expect.at_least`.
    pub margin: f64,
    /// Metrics that must not become worse.
    pub guardrails: Vec<Guardrail>,
}

/// Which runs decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecidePurpose {
    /// Those to confirm.
    #[default]
    Confirm,
    /// Those to report with.
    Final,
}

fn is_confirm(purpose: &DecidePurpose) -> bool {
    *purpose == DecidePurpose::Confirm
}

/// A metric that a change must not make worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guardrail {
    /// Key of the metric.
    pub metric: String,
    /// The worsening that is still put up with, in the metric's unit.
    pub margin: f64,
}

impl Default for DecideConfig {
    fn default() -> Self {
        DecideConfig {
            level: 0.05,
            purpose: DecidePurpose::Confirm,
            looks: Vec::new(),
            margin: 0.0,
            guardrails: Vec::new(),
        }
    }
}

impl DecideConfig {
    /// The improvement below which the change is not worth having.
    pub fn margin_of(&self, expect: &Expectation) -> f64 {
        if self.margin > 0.0 { self.margin } else { expect.at_least }
    }
}

/// What an experiment declares of itself before it is run: all of it is part of what every run that decides must share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    /// What is claimed.
    pub hypothesis: String,
    /// Why it is plausible.
    pub rationale: String,
    /// The findings that led to it, by the names of the checks.
    pub findings: Vec<String>,
    /// What is expected; none of an experiment that claims nothing.
    pub expect: Option<Expectation>,
    /// Seeds on each side.
    pub seeds: u32,
    /// The rule of the decision.
    pub decide: DecideConfig,
    /// Keys of the metrics that the claim rests on.
    pub primary_metrics: Vec<String>,
}

impl Proposal {
    /// The names of the parts in which two proposals differ.
    pub fn differences(&self, other: &Proposal) -> Vec<&'static str> {
        let same = [
            ("hypothesis", self.hypothesis == other.hypothesis),
            ("rationale", self.rationale == other.rationale),
            ("findings", self.findings == other.findings),
            ("expect", self.expect == other.expect),
            ("seeds", self.seeds == other.seeds),
            ("decide", self.decide == other.decide),
            ("primary_metrics", self.primary_metrics == other.primary_metrics),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }

    /// The numbers of seeds at which the results may be judged, ascending.
    pub fn looks(&self) -> Vec<usize> {
        let looks = if self.decide.looks.is_empty() { &[self.seeds] } else { &self.decide.looks[..] };
        looks.iter().map(|&look| look as usize).collect()
    }
}

impl Choices {
    /// What it declares before it is run.
    pub fn proposal(&self) -> Proposal {
        Proposal {
            hypothesis: self.hypothesis.clone(),
            rationale: self.rationale.clone(),
            findings: self.findings.clone(),
            expect: self.expect.clone(),
            seeds: self.seeds,
            decide: self.decide.clone(),
            primary_metrics: self.primary_metrics.clone(),
        }
    }

    /// The experiment that its expectation is held against.
    pub fn against(&self) -> Option<&ExperimentName> {
        self.expect.as_ref().and_then(|expect| expect.against.as_ref().or(self.extends.as_ref()))
    }
}
