//! What the rows of a run say about how it went: a checklist, each line with its evidence, the threshold it was held
//! against and where that comes from, what could be changed and roughly what that would cost.
//!
//! Comes in: a [`RunAnalysis`]. Goes out: [`Finding`]s, in the order of the checklist, also for what is in order: a
//! check that found nothing is part of the diagnosis. A finding is a reason to look, not a proof.

pub mod figure;
mod fit;
mod inside;
mod rate;
mod seeds;
mod stability;
mod tasks;
mod text;

use serde::Serialize;

use super::{RunAnalysis, Unit, show};

pub use seeds::diagnose_seeds;

/// Version of the JSON form. Raised with every change that an older reader would misread.
pub const FORMAT: u32 = 1;

/// The difference in bits per byte, relative, that three runs a side can just tell from the noise between seeds.
const DETECTABLE_SHARE: f64 = 0.001;
const DETECTABLE_SOURCE: &str = "nanochat, pull request 807: over 20 seeds of a small model the standard deviation is \
                                 0.031 % of the bits per byte, so 3 against 3 runs find 0.10 %";
const OWN_CONVENTION: &str = "a convention of this project";

/// One line of the checklist.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The check, such as `loss_spikes`.
    pub check: &'static str,
    /// The task or group it is about, where it is about one.
    pub subject: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// What was seen, in a sentence.
    pub statement: String,
    /// The numbers behind it.
    pub evidence: Vec<Evidence>,
    /// When the check fires.
    pub threshold: Threshold,
    /// The kind of figure that shows it: `harness plot <kind> <run>`.
    pub figure: &'static str,
    /// What could be changed, and for how much; empty unless it was found.
    pub changes: Vec<Change>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The threshold is passed.
    Found,
    /// It is not.
    Clear,
    /// The run has not the rows to tell.
    NotJudged,
}

/// A number behind a finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// What it is.
    pub name: &'static str,
    /// The exact number.
    pub number: f64,
    /// Its unit.
    pub unit: Unit,
}

impl Evidence {
    fn new(name: &'static str, number: f64, unit: Unit) -> Self {
        Evidence { name, number, unit }
    }

    /// The number under its unit's rounding, with the unit.
    pub fn shown(&self) -> String {
        let suffix = match self.unit {
            Unit::BitsPerByte => " bits/byte",
            Unit::NatsPerToken => " nats/token",
            Unit::Share => " %",
            Unit::Seconds => " s",
            Unit::Bytes => " MiB",
            _ => "",
        };
        // Percent of a thousandth: one decimal would show 0.0.
        let number = match self.unit {
            Unit::Share if self.number.abs() < 0.01 => format!("{:.3}", 100.0 * self.number),
            unit => show(self.number, unit),
        };
        format!("{number}{suffix}")
    }
}

/// When a check fires, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Threshold {
    /// The rule.
    pub rule: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

/// Something that could be changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What to do.
    pub what: String,
    /// Roughly what it costs, taken from this run; none if it costs no training.
    pub cost: Option<Cost>,
}

/// A price in terms of the run that was diagnosed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// In runs like this one.
    pub runs: f64,
    /// Training FLOPs.
    pub training_flops: f64,
    /// Seconds on the same machine.
    pub wall_time_s: f64,
}

impl Change {
    /// What it costs, in words.
    pub fn price(&self) -> String {
        self.cost.map_or_else(|| "no training".to_owned(), |cost| cost.words())
    }

    fn free(what: impl Into<String>) -> Self {
        Change { what: what.into(), cost: None }
    }

    /// A change that takes `runs` trainings of the length of this one.
    fn costing(what: impl Into<String>, runs: f64, analysis: &RunAnalysis) -> Self {
        let value = |key: &str| analysis.values.get(key).map_or(0.0, |v| v.number);
        let cost = Cost {
            runs,
            training_flops: runs * value("training.flops"),
            wall_time_s: runs * value("resources.wall_time_s"),
        };
        Change { what: what.into(), cost: Some(cost) }
    }
}

impl Cost {
    /// The price as a fragment.
    pub fn words(&self) -> String {
        let (flops, seconds) = (show(self.training_flops, Unit::Flops), show(self.wall_time_s, Unit::Seconds));
        format!("{:.2} runs like this one: {flops} FLOPs, about {seconds} s", self.runs)
    }
}

/// A finding under construction: evidence first, judgement last.
struct Check {
    finding: Finding,
}

impl Check {
    fn new(check: &'static str, figure: &'static str, rule: &'static str, source: &'static str) -> Self {
        Check {
            finding: Finding {
                check,
                subject: None,
                outcome: Outcome::NotJudged,
                statement: String::new(),
                evidence: Vec::new(),
                threshold: Threshold { rule, source },
                figure,
                changes: Vec::new(),
            },
        }
    }

    fn about(mut self, subject: &str) -> Self {
        self.finding.subject = Some(subject.to_owned());
        self
    }

    fn evidence(mut self, name: &'static str, number: f64, unit: Unit) -> Self {
        if number.is_finite() {
            self.finding.evidence.push(Evidence::new(name, number, unit));
        }
        self
    }

    fn found(mut self, statement: impl Into<String>, changes: Vec<Change>) -> Finding {
        self.finding.outcome = Outcome::Found;
        self.finding.statement = statement.into();
        self.finding.changes = changes;
        self.finding
    }

    fn clear(mut self, statement: impl Into<String>) -> Finding {
        self.finding.outcome = Outcome::Clear;
        self.finding.statement = statement.into();
        self.finding
    }

    fn not_judged(mut self, why: impl Into<String>) -> Finding {
        self.finding.statement = why.into();
        self.finding
    }
}

/// Goes through the checklist.
pub fn diagnose(analysis: &RunAnalysis) -> Vec<Finding> {
    let mut findings = vec![
        stability::non_finite(analysis),
        stability::loss_spikes(analysis),
        stability::late_rise(analysis),
        stability::clipping(analysis),
        stability::warm_up(analysis),
        rate::too_high(analysis),
        rate::too_low(analysis),
        inside::update_ratio(analysis),
        inside::norm_growth(analysis),
        inside::dead_units(analysis),
        inside::attention_entropy(analysis),
        stability::throughput(analysis),
        stability::data_bound(analysis),
        fit::baselines(analysis),
        fit::still_improving(analysis),
        fit::saturated_early(analysis),
        fit::overfitting(analysis),
        fit::gap(analysis),
        fit::repeated_data(analysis),
        text::calibration(analysis),
        text::context_use(analysis),
    ];
    findings.extend(tasks::diagnose(analysis));
    findings
}
