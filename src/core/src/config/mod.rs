//! The experiment config: `experiments/<name>/experiment.toml`, as written and then checked.
//!
//! A child names its parent by `extends` and states only what it changes. The tables are merged, every default is
//! filled in, and what cannot work is refused at its line and column with the nearest valid name: [`load`] makes a
//! [`Checked`] config of [`Choices`]. Once its budget is turned into steps it is an [`Experiment`], which is what
//! training and analysis take.

mod budget;
mod check;
mod cluster;
mod describe;
mod error;
mod evaluation;
mod imported;
pub mod library;
mod limits;
mod metrics;
mod model;
mod mup;
mod optimizer;
mod preset;
mod proposal;
mod renamed;
mod schedule;
mod study;
mod tensors;
mod training;
mod trunk;

use std::ops::Deref;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Value;

pub use budget::{Budget, BudgetError};
pub use cluster::{Cluster, Scheduler, clock, cluster_template};
pub use error::{ConfigError, Wrong, nearest, place_of};
pub use evaluation::{EvaluationConfig, Steps};
pub use imported::ImportedConfig;
pub use limits::{Limits, Phase, Shares};
pub use metrics::MetricsConfig;
pub use model::{
    AttentionGate, FeedForward, Initialization, ModelConfig, Norm, NormPlacement, Positions, ResidualScaling, Values,
};
pub use optimizer::{OptimizerConfig, OptimizerKind, Orthogonalization, ParameterGroup, UpdateRule};
pub use preset::Preset;
pub use proposal::{DecideConfig, DecidePurpose, Direction, Expectation, Guardrail, Proposal};
pub use schedule::{CooldownShape, ScheduleConfig, ScheduleKind, learning_rate};
pub use study::{
    CompareAt, Fixed, MOST_NUISANCE, Nuisance, OnlyWhen, Pruning, Range, Ranges, Round, Sampler, Scale, Scientific,
    Setting, Settings, Space, Study, listed, load_study, put,
};
pub use tensors::{Init, Role, TensorSpec};
pub use toml::Table;
pub use training::{
    AllDevices, AttentionKernel, BatchSizeStage, Device, Devices, Keep, OnNonFinite, Precision, SequenceLengthStage,
    TrainingConfig,
};
pub use trunk::{Parting, TrunkConfig, parting};

use crate::digest::Digest;
use crate::names::ExperimentName;

/// An experiment as written, with every default filled in. See [`Checked`] and [`Experiment`] for what was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// A short title for tables and figures.
    #[serde(default)]
    pub title: String,
    /// What the experiment asks: one or two sentences.
    #[serde(default)]
    pub question: String,
    /// What is claimed to happen, before the run.
    #[serde(default)]
    pub hypothesis: String,
    /// Why that is plausible; may cite by BibTeX key as `@key`.
    #[serde(default)]
    pub rationale: String,
    /// Keys of the metrics that the hypothesis is about, such as `validation.bits_per_byte`: their p-values are corrected
    /// together. Empty: validation bits per byte, the tasks without group and the groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_metrics: Vec<String>,
    /// Checks of `harness diagnose` whose findings in what it extends led to it, such as `late_rise`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// What the change is expected to do. An experiment that states it is a proposal, and `harness decide` judges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expectation>,
    /// Seeds with which it and what it is held against are to be run before it is decided; 0 where nothing is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seeds: u32,
    /// By which rule it is decided.
    #[serde(default, skip_serializing_if = "is_default")]
    pub decide: DecideConfig,
    /// The experiment this one changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<ExperimentName>,
    /// Sizes for a machine and a budget, for what neither this file nor, where it states no scale, its parents state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Preset>,
    /// The run of another experiment to begin from: a cool-down takes over the steps that a long run at a constant rate has done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<TrunkConfig>,
    /// Seed of initial weights, dropout and data order.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Name of the corpus recipe under `experiments/corpora/`.
    pub corpus: String,
    /// The architecture.
    #[serde(default)]
    pub model: ModelConfig,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The learning rate over the steps.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Batch, steps, precision, device.
    #[serde(default)]
    pub training: TrainingConfig,
    /// What is measured inside the model.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Validation and tasks.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// Weights of another program to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedConfig>,
}

/// The JSON Schema of `experiment.toml`, by which editors complete and check it. No key is required, as an experiment may
/// inherit each.
pub fn schema() -> schemars::Schema {
    let mut schema = schema_of::<Choices>();
    schema.remove("required");
    schema
}

/// The JSON Schema of a TOML file, in the draft that editors of TOML know. `#:schema` names it in the file itself.
pub fn schema_of<T: JsonSchema>() -> schemars::Schema {
    schemars::generate::SchemaSettings::draft07().into_generator().into_root_schema_for::<T>()
}

fn default_seed() -> u64 {
    1
}

fn is_zero(seeds: &u32) -> bool {
    *seeds == 0
}

fn is_default(decide: &DecideConfig) -> bool {
    *decide == DecideConfig::default()
}

/// A checked config: its values are possible, alone and together, as far as that can be said while a budget is not turned
/// into steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Checked {
    choices: Choices,
}

/// A resolved experiment: checked, and the number of its steps is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Experiment {
    choices: Choices,
}

impl Deref for Checked {
    type Target = Choices;

    fn deref(&self) -> &Choices {
        &self.choices
    }
}

impl Deref for Experiment {
    type Target = Choices;

    fn deref(&self) -> &Choices {
        &self.choices
    }
}

impl Choices {
    /// All choices as TOML: of an experiment the text whose digest stands in the record.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config of plain values is TOML")
    }

    /// Digest of what decides the numbers, without the prose (title, question, parent, and what the [`Proposal`] holds),
    /// without the scale, whose sizes are written out, without the trunk, from which a run has the weights that it would have from
    /// nothing, and without the number of processes that share the work and what each of them keeps. Two experiments with the same plan digest and code give
    /// the same run.
    pub fn plan_digest(&self) -> Digest {
        let mut plan = self.clone();
        plan.title.clear();
        plan.question.clear();
        plan.hypothesis.clear();
        plan.rationale.clear();
        plan.primary_metrics.clear();
        plan.findings.clear();
        (plan.expect, plan.seeds, plan.decide) = (None, 0, DecideConfig::default());
        plan.extends = None;
        plan.scale = None;
        plan.trunk = None;
        (plan.training.devices, plan.training.shard_optimizer) = (Devices::default(), false);
        let text = plan.to_toml();
        let lines = text.split_inclusive('\n').filter(|line| !LATER_DEFAULTS.contains(&line.trim_end()));
        Digest::of(lines.collect::<String>().as_bytes())
    }

    /// The same without the seed: runs in which it is the same may be seeds of one plan.
    pub fn plan_digest_but_seed(&self) -> Digest {
        Choices { seed: 0, ..self.clone() }.plan_digest()
    }
}

impl Checked {
    /// The same config with another seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.choices.seed = seed;
        self
    }
}

impl Experiment {
    /// The same experiment with another seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.choices.seed = seed;
        self
    }
}

/// A config file: of the chain from the experiment itself up to the root it extends, or of the whole project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The experiment that the file belongs to; none of a file of the whole project.
    pub name: Option<ExperimentName>,
    /// Path as shown to people, relative to the project.
    pub path: String,
    /// The file as written.
    pub text: String,
}

/// An experiment with the files it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its name.
    pub name: ExperimentName,
    /// The checked config.
    pub experiment: Checked,
    /// The chain of files: itself, its parent, ... Never empty.
    pub sources: Vec<Source>,
    /// What the file itself states, without its parent: dotted key and value, in order.
    pub stated: Vec<(String, String)>,
}

impl Loaded {
    /// The experiments that it is made of, with the texts of their files: itself, its parent, ... Never empty.
    pub fn lineage(&self) -> Vec<(&ExperimentName, &str)> {
        self.sources.iter().filter_map(|source| Some((source.name.as_ref()?, source.text.as_str()))).collect()
    }
}

/// Keys that came after the first runs were sealed, as they are where nobody states them: what was so before. They are no
/// part of the digest of a plan, so that runs of before and after count together.
const LATER_DEFAULTS: [&str; 8] = [
    "mup_base_layers = 0",
    "attention_gate = \"none\"",
    "smear = false",
    "bigram_rows = 0",
    "cautious_weight_decay = false",
    "orthogonalization = \"newton_schulz\"",
    "cooldown_shape = \"linear\"",
    "step_rows = 0",
];

/// Whether a dotted key with this value says that a piece is off that came after the first runs were sealed.
pub fn is_off_as_ever(key: &str, value: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    LATER_DEFAULTS.contains(&format!("{last} = {value}").as_str())
}

/// Whether a dotted key says what is computed, not who an experiment is, why it is run, what is expected of it, or which steps
/// are there already.
pub fn is_of_the_plan(key: &str) -> bool {
    let first = key.split('.').next().unwrap_or(key);
    !OWN_KEYS.contains(&first)
}

/// Keys that belong to one experiment and are not inherited.
const OWN_KEYS: [&str; 11] = [
    "title",
    "question",
    "hypothesis",
    "rationale",
    "findings",
    "expect",
    "seeds",
    "decide",
    "extends",
    "scale",
    "trunk",
];
const MAX_CHAIN: usize = 32;

/// Loads an experiment and all it extends. `read` gives the text of an experiment's file, or `None` if there is
/// none, so that the same code reads the working tree and a commit. `settings` come on top of what the files state: those of a
/// trial of its [`Study`], else none.
pub fn load(
    name: &ExperimentName,
    known: &[String],
    read: &dyn Fn(&ExperimentName) -> Result<Option<String>, crate::files::FileError>,
    settings: &Table,
) -> Result<Loaded, ConfigError> {
    load_with(name, known, read, |_| (), settings)
}

/// [`load`] of files that a record holds: their keys may be called as they were when it was sealed.
pub fn load_recorded(
    name: &ExperimentName,
    read: &dyn Fn(&ExperimentName) -> Result<Option<String>, crate::files::FileError>,
    settings: &Table,
) -> Result<Loaded, ConfigError> {
    load_with(name, &[], read, renamed::rename, settings)
}

fn load_with(
    name: &ExperimentName,
    known: &[String],
    read: &dyn Fn(&ExperimentName) -> Result<Option<String>, crate::files::FileError>,
    prepare: fn(&mut Table),
    settings: &Table,
) -> Result<Loaded, ConfigError> {
    let mut sources: Vec<Source> = Vec::new();
    let mut tables: Vec<Table> = Vec::new();
    let mut next = Some(name.clone());
    while let Some(current) = next {
        let text = match read(&current)? {
            Some(text) => text,
            None => return Err(ConfigError::missing_experiment(&current, &sources, known)),
        };
        let path = format!("experiments/{current}/experiment.toml");
        let source = Source { name: Some(current), path, text };
        let mut table: Table = toml::from_str(&source.text).map_err(|e| ConfigError::syntax(&source, &e))?;
        prepare(&mut table);
        let parent = table.get("extends").and_then(Value::as_str).map(str::to_owned);
        sources.push(source);
        tables.push(table);
        next = match parent {
            None => None,
            Some(parent) => {
                let parent: ExperimentName =
                    parent.parse().map_err(|e| ConfigError::at_key(&sources, "extends", format!("{e}"), None))?;
                if sources.len() >= MAX_CHAIN || sources.iter().any(|s| s.name.as_ref() == Some(&parent)) {
                    let problem = format!("`{parent}` extends this experiment, directly or through others");
                    return Err(ConfigError::at_key(&sources[sources.len() - 1..], "extends", problem, None));
                }
                Some(parent)
            }
        };
    }

    let scale = |(depth, table): (usize, &Table)| -> Result<Option<Preset>, ConfigError> {
        let scale = table.get("scale").cloned().map(Value::try_into).transpose();
        scale.map_err(|e| ConfigError::value_at(&sources[depth..], "scale", e.message(), |_| String::new()))
    };
    let scales = tables.iter().enumerate().map(scale).collect::<Result<Vec<_>, _>>()?;
    let mut merged = Table::new();
    for (depth, table) in tables.iter().enumerate().rev() {
        let mut table = table.clone();
        if depth > 0 {
            OWN_KEYS.iter().for_each(|key| drop(table.remove(*key)));
        }
        let here = &sources[depth..];
        let states = |key: &str| table.get("training").and_then(|training| training.get(key)).is_some();
        if states("steps") && states("budget") {
            let problem = "`steps` and `budget` both say when training ends".to_owned();
            return Err(ConfigError::at_key(here, "training.budget", problem, Some("state one of them".to_owned())));
        }
        if let Some(scale) = scales[depth] {
            merge(&mut merged, scale.table());
        }
        merge(&mut merged, table);
    }
    merge(&mut merged, settings.clone());
    let mut choices: Choices =
        serde_path_to_error::deserialize(Value::Table(merged)).map_err(|e| ConfigError::shape(&sources, &e))?;
    if choices.training.budget.is_some() {
        // Not known yet.
        choices.training.steps = 0;
    }
    check::check(&choices).map_err(|(key, problem, hint)| ConfigError::at_key(&sources, key, problem, hint))?;
    if choices.trunk.as_ref().is_some_and(|trunk| trunk.experiment == *name) {
        let problem = "an experiment cannot begin from its own runs".to_owned();
        let hint = "`harness run NAME --resume` goes on with a run that did not complete".to_owned();
        return Err(ConfigError::at_key(&sources, "trunk.experiment", problem, Some(hint)));
    }

    let mut experiment = Checked { choices };
    if let Some(Budget::Tokens(_)) = experiment.training.budget {
        // Takes neither vocabulary nor machine.
        let resolved = experiment.resolved(1, None);
        let resolved = resolved.map_err(|e| ConfigError::at_key(&sources, "training.budget", e.to_string(), None))?;
        experiment = Checked { choices: resolved.choices };
    }

    let mut own = scales[0].map(Preset::table).unwrap_or_default();
    merge(&mut own, tables[0].clone());
    OWN_KEYS.iter().for_each(|key| drop(own.remove(*key)));
    let mut stated = Vec::new();
    flatten("", &own, &mut stated);
    Ok(Loaded { name: name.clone(), experiment, sources, stated })
}

/// Parses a TOML file that stands alone, with mistakes shown at their place.
fn parse_file<T: DeserializeOwned>(source: &[Source; 1]) -> Result<T, ConfigError> {
    let table: Table = toml::from_str(&source[0].text).map_err(|error| ConfigError::syntax(&source[0], &error))?;
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| ConfigError::shape_of_whole(source, &error))
}

/// Parses a resolved config, as stored in a record.
pub fn parse_resolved(text: &str) -> Result<Experiment, String> {
    let mut config: Table = toml::from_str(text).map_err(|e| e.to_string())?;
    renamed::rename(&mut config);
    let choices: Choices = config.try_into().map_err(|e: toml::de::Error| e.to_string())?;
    check::check(&choices).map_err(|(key, problem, _)| format!("`{key}`: {problem}"))?;
    if !choices.steps_are_known() {
        return Err("`training.budget`: it is not turned into steps".to_owned());
    }
    Ok(Experiment { choices })
}

/// Puts what a child states in the place of what its parent states: key by key within a section, and each value
/// whole, so that `{ log = 20 }` replaces `{ every = 200 }` instead of joining it. Of steps and a budget, whichever is stated
/// takes the place of both.
fn merge(into: &mut Table, from: Table) {
    let states = |key: &str| from.get("training").and_then(|training| training.get(key)).is_some();
    if let Some(Value::Table(training)) = into.get_mut("training").filter(|_| states("steps") || states("budget")) {
        training.remove("steps");
        training.remove("budget");
    }
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => old.extend(new),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

fn flatten(prefix: &str, table: &Table, out: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&path, inner, out),
            other => out.push((path, other.to_string())),
        }
    }
}

/// A resolved config by section, without what belongs to one experiment alone and is not inherited.
pub fn sections(choices: &Choices) -> Table {
    let mut table: Table = toml::from_str(&choices.to_toml()).expect("our own TOML parses");
    OWN_KEYS.iter().for_each(|key| drop(table.remove(*key)));
    table
}

/// Every key of a resolved config with its value, dotted and in order: the rows of config tables and diffs.
pub fn flat(choices: &Choices) -> Vec<(String, String)> {
    let table: Table = toml::from_str(&choices.to_toml()).expect("our own TOML parses");
    let mut rows = Vec::new();
    flatten("", &table, &mut rows);
    rows
}

#[cfg(test)]
mod tests;
