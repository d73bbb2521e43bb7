//! What the rows of a run say about how it went: a checklist, each line with its evidence, the threshold it was held
//! against and where that comes from, what could be changed and roughly what that would cost.
//!
//! Comes in: a [`RunAnalysis`]. Goes out: [`Finding`]s, in the order of the checklist, also for what is in order: a
//! check that found nothing is part of the diagnosis. A finding is a reason to look, not a proof; [`ranked`] puts what is
//! worth most first and keeps its advice where that of another contradicts it.

pub mod figure;
mod fit;
mod inside;
mod rate;
mod seeds;
mod signal;
mod stability;
mod tasks;
mod text;

use serde::Serialize;

use super::{RunAnalysis, Unit, show};

pub use seeds::diagnose_seeds;
pub use signal::diagnose_signal;

/// Version of the JSON form. Raised with every change that an older reader would misread.
pub const FORMAT: u32 = 2;

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
            Unit::Number => rounded(self.number, 3),
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
    /// What it turns, and which way; none where no other advice can speak against it.
    pub turns: Option<Turn>,
}

/// A setting that several findings give advice on, and its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// A higher peak learning rate.
    RaiseLearningRate,
    /// A lower one.
    LowerLearningRate,
    /// More steps.
    TrainLonger,
    /// Fewer.
    TrainShorter,
    /// More dropout or weight decay, or more text.
    Regularise,
    /// Clipping at another norm.
    Clip,
}

impl Turn {
    /// What both directions of a setting have in common.
    fn setting(self) -> u8 {
        match self {
            Turn::RaiseLearningRate | Turn::LowerLearningRate => 0,
            Turn::TrainLonger | Turn::TrainShorter => 1,
            Turn::Regularise => 2,
            Turn::Clip => 3,
        }
    }
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
        Change { what: what.into(), cost: None, turns: None }
    }

    /// The same with what it turns.
    fn turning(mut self, turn: Turn) -> Self {
        self.turns = Some(turn);
        self
    }

    /// A change that takes `runs` trainings of the length of this one.
    fn costing(what: impl Into<String>, runs: f64, analysis: &RunAnalysis) -> Self {
        let value = |key: &str| analysis.values.get(key).map_or(0.0, |v| v.number);
        let cost = Cost {
            runs,
            training_flops: runs * value("training.flops"),
            wall_time_s: runs * value("resources.wall_time_s"),
        };
        Change { what: what.into(), cost: Some(cost), turns: None }
    }
}

impl Cost {
    /// The price as a fragment.
    pub fn words(&self) -> String {
        let (flops, seconds) = (show(self.training_flops, Unit::Flops), show(self.wall_time_s, Unit::Seconds));
        format!("{:.2} runs like this one: {flops} FLOPs, about {seconds} s", self.runs)
    }
}

/// A number with so many significant digits, as people write it.
fn rounded(number: f64, digits: usize) -> String {
    let text = format!("{number:.*e}", digits.saturating_sub(1));
    text.parse::<f64>().map_or(text, |number| show(number, Unit::Number))
}

/// A finding under construction: evidence first, judgement last.
struct Check {
    finding: Finding,
    /// Evidence that is no finite number: nothing follows from it.
    not_finite: Option<&'static str>,
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
            not_finite: None,
        }
    }

    fn about(mut self, subject: &str) -> Self {
        self.finding.subject = Some(subject.to_owned());
        self
    }

    fn evidence(mut self, name: &'static str, number: f64, unit: Unit) -> Self {
        if number.is_finite() {
            self.finding.evidence.push(Evidence::new(name, number, unit));
        } else {
            self.not_finite = self.not_finite.or(Some(name));
        }
        self
    }

    /// Evidence that there may not be.
    fn evidence_if(self, name: &'static str, number: Option<f64>, unit: Unit) -> Self {
        match number {
            Some(number) => self.evidence(name, number, unit),
            None => self,
        }
    }

    fn found(self, statement: impl Into<String>, changes: Vec<Change>) -> Finding {
        self.judged(Outcome::Found, statement.into(), changes)
    }

    fn clear(self, statement: impl Into<String>) -> Finding {
        self.judged(Outcome::Clear, statement.into(), Vec::new())
    }

    /// Nothing is found, nor clear, on evidence that is not finite.
    fn judged(mut self, outcome: Outcome, statement: String, changes: Vec<Change>) -> Finding {
        if let Some(name) = self.not_finite {
            return self.not_judged(format!("not a finite number: {name}"));
        }
        self.finding.outcome = outcome;
        self.finding.statement = statement;
        self.finding.changes = changes;
        self.finding
    }

    fn not_judged(mut self, why: impl Into<String>) -> Finding {
        self.finding.statement = why.into();
        self.finding
    }
}

/// The checks in the order of what they are worth: first what makes all other numbers of a run doubtful, then what costs most
/// of the loss, then what a run could do better, last what its measurements can show.
pub const CHECKS: [&str; 27] = [
    "non_finite",
    "underfitting",
    "loss_spikes",
    "late_rise",
    "learning_rate_high",
    "overfitting",
    "repeated_data",
    "learning_rate_low",
    "warm_up",
    "clipping",
    "update_ratio",
    "norm_growth",
    "still_improving",
    "saturated_early",
    "generalization_gap",
    "context_unused",
    "dead_units",
    "attention_entropy",
    "data_bound",
    "throughput",
    "calibration",
    "task_unanswered",
    "task_at_chance",
    "task_saturated",
    "task_noise",
    "task_signal",
    "seed_noise",
];

/// Puts what was found first, what is worth most before all else, and takes from each finding the advice on a setting that
/// one before it has advised on already: two pieces of advice on one setting contradict each other, if only in the amount.
pub fn ranked(mut findings: Vec<Finding>) -> Vec<Finding> {
    let worth = |finding: &Finding| CHECKS.iter().position(|check| *check == finding.check).unwrap_or(CHECKS.len());
    // Stable: within a check the order of the tasks stays.
    findings.sort_by_key(|finding| (finding.outcome, worth(finding)));
    let mut advised: Vec<u8> = Vec::new();
    for finding in &mut findings {
        finding.changes.retain(|change| change.turns.is_none_or(|turn| !advised.contains(&turn.setting())));
        advised.extend(finding.changes.iter().filter_map(|change| Some(change.turns?.setting())));
    }
    findings
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
