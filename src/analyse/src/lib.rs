//! From a sealed run to numbers: every mean, share and perplexity is computed here from per-step, per-window and
//! per-item rows, with the names under which the paper asks for them.
//!
//! Comes in: a [`SealedRun`], which only verification can make. Goes out: a [`RunAnalysis`], whose [`Value`]s know
//! the files they came from, so that an audit can say which number a changed byte reaches; a [`Comparison`] of two
//! sides, [`Finding`]s of a diagnosis, and with the data store [`slices`] of the loss. It must never have: clap, tera,
//! tokenizers, plotters, or anything that fetches.

mod choices;
pub mod compare;
mod dependents;
pub mod diagnose;
mod likelihood;
mod paired;
mod ratio;
mod rows;
mod signal;
pub mod slices;
pub mod spikes;
mod sums;
mod values;

use std::collections::BTreeMap;

use harness_core::samples::SampleText;
use harness_core::scores::{ActivationStatistics, ChoiceScore, StepLine, TableError, TensorNorms};
use harness_core::task_kind::Metric;

use harness_record::SealedRun;
pub use harness_statistics::{AgainstChance, Share};

pub use choices::{Answer, Unanswered, Why, answers};
pub use compare::{Asked, CompareError, Comparison, Side, compare, compare_all};
pub use dependents::{all_measured, is_among, numbers_from};
pub use diagnose::{Finding, diagnose, diagnose_seeds, diagnose_signal};
pub use likelihood::{Likelihood, lower_is_better};
pub use paired::TaskAnswers;
pub use ratio::Ratio;
pub use rows::RunName;
pub use signal::{TaskSignal, repeated_experiments, task_signals};
pub use values::{Unit, Value, recipe_sources, show, show_known};

/// A curve: step, tokens and value at each evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct CurvePoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Training tokens consumed.
    pub tokens: u64,
    /// The value.
    pub value: f64,
}

/// Everything computed from one run.
#[derive(Clone, Debug)]
pub struct RunAnalysis {
    /// The run.
    pub run: SealedRun,
    /// One row for each optimizer step.
    pub steps: Vec<StepLine>,
    /// Norms of the parameter tensors, at intervals; empty if they were not recorded.
    pub tensor_norms: Vec<TensorNorms>,
    /// Statistics inside the model on the probe batch, at intervals; empty if they were not recorded.
    pub activations: Vec<ActivationStatistics>,
    /// Validation bits per byte at each evaluation; not finite where the model gave no number.
    pub validation_curve: Vec<CurvePoint>,
    /// For each task or group with more than one evaluation or one: the quoted metric at each evaluation.
    pub task_curves: BTreeMap<String, Vec<CurvePoint>>,
    /// For each task or group and each [`Likelihood`] of it, by key: its value at each evaluation that has one.
    pub likelihood_curves: BTreeMap<String, Vec<CurvePoint>>,
    /// For each task of documents: their bits per byte at each evaluation.
    pub document_curves: BTreeMap<String, Vec<CurvePoint>>,
    /// Scores of each task after the last step, by task id, in the order of the record.
    pub tasks: Vec<TaskResult>,
    /// Groups of tasks: the unweighted mean over their tasks.
    pub groups: Vec<TaskResult>,
    /// Calibration of the next-token distribution on held-out text, where the losses of single tokens were kept.
    pub calibration: Option<slices::Calibration>,
    /// The loss by position, source and length, likewise. Other slices need the text: [`slices::slices`].
    pub slices: Vec<slices::Slice>,
    /// Texts that the model went on to, where the run keeps them.
    pub samples: Vec<SampleText>,
    /// Every number the paper can ask for, by key.
    pub values: BTreeMap<String, Value>,
}

/// The result of one task, or the unweighted mean over the tasks of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskResult {
    /// Task id or group name.
    pub id: String,
    /// The group a task counts in.
    pub group: Option<String>,
    /// Items scored.
    pub items: u64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Its title, for tables.
    pub title: String,
    /// Which metric is usually quoted.
    pub metric: Metric,
    /// Items that the quoted metric leaves unanswered. They count as not right, under every metric.
    pub unanswered: Unanswered,
    /// Share of items answered right.
    pub accuracy: Share,
    /// Share of items answered right by log-probability per character; for tasks with choices.
    pub accuracy_normalized: Option<Share>,
    /// Share of items answered right by log-probability per token; for tasks with choices.
    pub accuracy_per_token: Option<Share>,
    /// Share of items answered right by how much the context raises the log-probability; where the choices were also
    /// scored without it.
    pub accuracy_mutual_information: Option<Share>,
    /// exp of the mean negative log-probability of the word; for last-word tasks.
    pub perplexity: Option<Ratio>,
    /// [`Likelihood::GoldBitsPerByte`]
    pub gold_bits_per_byte: Option<Ratio>,
    /// [`Likelihood::GoldProbability`]
    pub gold_probability: Option<Ratio>,
    /// The score file, relative to the run folder (empty for a group).
    pub file: String,
}

impl TaskResult {
    /// The accuracy by the metric that the task quotes.
    pub fn quoted_accuracy(&self) -> Share {
        let quoted = match self.metric {
            Metric::AccuracyPerCharacter => self.accuracy_normalized,
            Metric::AccuracyPerToken => self.accuracy_per_token,
            Metric::AccuracyMutualInformation => self.accuracy_mutual_information,
            _ => None,
        };
        quoted.unwrap_or(self.accuracy)
    }

    /// The quoted accuracy if the items without an answer had been guessed: what a model that says nothing would be expected
    /// to score.
    pub fn accuracy_if_guessed(&self) -> f64 {
        self.quoted_accuracy().mean + self.chance * self.unanswered.total() as f64 / self.items as f64
    }

    /// A continuous score of the right answers, where there is one.
    pub fn likelihood(&self, score: Likelihood) -> Option<Ratio> {
        match score {
            Likelihood::GoldBitsPerByte => self.gold_bits_per_byte,
            Likelihood::GoldProbability => self.gold_probability,
        }
    }

    /// What the quoted accuracy says against guessing, by the one rule for it; none where items are without an answer, which
    /// would count as wrong.
    pub fn against_chance(&self) -> Option<AgainstChance> {
        let answered = self.unanswered.total() == 0;
        answered.then(|| self.quoted_accuracy().against_chance(self.items, self.chance))
    }
}

/// What a metric orders the choices of an item by.
pub fn choice_score(metric: Metric, row: &ChoiceScore) -> f64 {
    let nats = row.nats();
    match metric {
        Metric::AccuracyPerCharacter => nats / row.characters.max(1) as f64,
        Metric::AccuracyPerToken => nats / row.tokens.max(1) as f64,
        Metric::AccuracyMutualInformation => nats - row.unconditional_nats(),
        _ => nats,
    }
}

/// The last part of the key of the accuracy by a metric.
pub fn accuracy_name(metric: Metric) -> &'static str {
    match metric {
        Metric::AccuracyPerCharacter => "accuracy_normalized",
        Metric::AccuracyPerToken => "accuracy_per_token",
        Metric::AccuracyMutualInformation => "accuracy_mutual_information",
        _ => "accuracy",
    }
}

/// The key of the accuracy of a task or group by a metric.
pub fn accuracy_key(id: &str, metric: Metric) -> String {
    format!("tasks.{id}.{}", accuracy_name(metric))
}

/// Why a run could not be analysed.
#[derive(Debug, thiserror::Error)]
pub enum AnalyseError {
    /// A table is missing or damaged.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The tables do not fit each other.
    #[error("run `{run}`: {problem}\nhint: `harness audit {run}` says what else is wrong with it")]
    Inconsistent {
        /// The run.
        run: String,
        /// What does not fit.
        problem: String,
    },
}

impl RunAnalysis {
    /// Computes everything from the files of a sealed run.
    pub fn of(run: SealedRun) -> Result<Self, AnalyseError> {
        values::analyse(run)
    }

    /// The value of a key, or the nearest key there is.
    pub fn value(&self, key: &str) -> Result<&Value, Option<&str>> {
        let nearest = || {
            let keys: Vec<&String> = self.values.keys().collect();
            let near = harness_core::config::nearest(key, &keys)?.to_owned();
            self.values.get_key_value(&near).map(|(name, _)| name.as_str())
        };
        self.values.get(key).ok_or_else(nearest)
    }
}
