//! The library of changes: `experiments/library/<name>.toml`, each one idea of the field with what its source reports, where
//! it failed and what it costs, ready to be proposed over an experiment of one's own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{ConfigError, Expectation, Loaded, Source, flat, load, nearest, parse_file};
use crate::files::{self, FileError};
use crate::names::{ExperimentName, Project};

/// What kind of choice a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// Positions, heads, scores, values.
    Attention,
    /// What a token is turned into and read from.
    Embedding,
    /// The layer between attention layers.
    FeedForward,
    /// Norms and biases.
    Normalization,
    /// How branches join the stream, over the depth.
    Residual,
    /// What is minimized.
    Loss,
    /// The update rule.
    Optimizer,
    /// What keeps a model from learning its text by heart.
    Regularization,
    /// The learning rate over the steps.
    Schedule,
    /// Sizes of batches and sequences over the steps.
    Batch,
    /// What is read.
    Data,
}

impl Area {
    /// The word in files and tables.
    pub fn word(self) -> &'static str {
        match self {
            Area::Attention => "attention",
            Area::Embedding => "embedding",
            Area::FeedForward => "feed-forward",
            Area::Normalization => "normalization",
            Area::Residual => "residual",
            Area::Loss => "loss",
            Area::Optimizer => "optimizer",
            Area::Regularization => "regularization",
            Area::Schedule => "schedule",
            Area::Batch => "batch",
            Area::Data => "data",
        }
    }
}

/// A change that is known to the field, as its file states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// What kind of choice it is about.
    pub area: Area,
    /// Its name in tables and figures.
    pub title: String,
    /// What is to be found out.
    pub question: String,
    /// What is expected, in words.
    pub hypothesis: String,
    /// Why it is plausible, with `[@key]` for works of the bibliography.
    pub rationale: String,
    /// What its source reports, at which scale.
    pub claim: String,
    /// Where or when it did not help; empty where nothing is known.
    #[serde(default)]
    pub failed: String,
    /// What it costs: parameters, time of a step, memory.
    pub cost: String,
    /// Other changes of the library that take the same place or undo it.
    #[serde(default)]
    pub conflicts: Vec<ExperimentName>,
    /// Checks of `harness diagnose` whose findings it may answer.
    #[serde(default)]
    pub answers: Vec<String>,
    /// What a proposal expects unless it is told otherwise.
    pub expect: Expectation,
    /// What it changes: keys as in experiment.toml. `{ of = "training.steps", times = 0.1 }` stands for a share of what the
    /// base has there, rounded to a whole number where that one is.
    #[schemars(with = "BTreeMap<String, BTreeMap<String, serde_json::Value>>")]
    pub change: Table,
}

/// The JSON Schema of a file of the library.
pub fn card_schema() -> schemars::Schema {
    super::schema_of::<Card>()
}

/// What a student says of a proposal beside its change and its base.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Seeds on each side.
    pub seeds: u32,
    /// The smallest change that is claimed, in the metric's unit, where it is not the card's.
    pub at_least: Option<f64>,
    /// The findings that led to it.
    pub findings: Vec<String>,
}

/// An experiment that the library proposes.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// The text of its experiment.toml.
    pub text: String,
    /// It, loaded and checked.
    pub loaded: Loaded,
    /// Keys that it changes: key, value of the base, its own.
    pub changed: Vec<(String, String, String)>,
    /// Changes that the base has and that this one conflicts with.
    pub conflicts: Vec<ExperimentName>,
}

/// Why nothing can be proposed.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// A file of the library or the experiment that would follow from it is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The library cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The base has something that it does not go with.
    #[error("`{name}` does not fit over `{base}`. In the experiment that it would make:\n{error}")]
    DoesNotFit {
        /// The change.
        name: ExperimentName,
        /// The experiment that it was to be proposed over.
        base: ExperimentName,
        /// What is wrong there.
        error: ConfigError,
    },
    /// There is no such change.
    #[error("the library has no change `{name}`\nhint: {hint}")]
    NoChange {
        /// What was asked for.
        name: ExperimentName,
        /// What there is.
        hint: String,
    },
    /// The base has all of it already.
    #[error("`{base}` has `{name}` already: no key would change\nhint: propose it over an experiment without it")]
    NothingChanges {
        /// The change.
        name: ExperimentName,
        /// The experiment that it was to be proposed over.
        base: ExperimentName,
    },
    /// A share of something that is not a number in the base.
    #[error(
        "`{key}` is to be {times} times `{of}`, which is {found} in `{base}`\nhint: write the experiment by hand: \
         extends = \"{base}\", and `{key}` as you choose it"
    )]
    NoNumber {
        /// The key that the change sets.
        key: String,
        /// What it is a share of.
        of: String,
        /// The share.
        times: f64,
        /// What the base has there.
        found: String,
        /// The experiment that it was to be proposed over.
        base: ExperimentName,
    },
}

impl Card {
    /// Reads a change of the library.
    pub fn load(project: &Project, name: &ExperimentName) -> Result<Self, LibraryError> {
        let text = match files::read_to_string(&project.library().join(format!("{name}.toml"))) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => {
                let known = names(project)?;
                let known: Vec<&str> = known.iter().map(ExperimentName::as_str).collect();
                let hint = match nearest(name.as_str(), &known) {
                    Some(near) => format!("did you mean `{near}`? `harness library` lists all"),
                    None => "`harness library` lists what there is".to_owned(),
                };
                return Err(LibraryError::NoChange { name: name.clone(), hint });
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self::parse(name, text)?)
    }

    fn parse(name: &ExperimentName, text: String) -> Result<Self, ConfigError> {
        parse_file(&[Source { name: None, path: format!("experiments/library/{name}.toml"), text }])
    }

    /// The experiment `own` that makes this change, called `name` in the library, over `base`.
    pub fn propose(
        &self,
        name: &ExperimentName,
        own: &ExperimentName,
        project: &Project,
        base: &Loaded,
        wishes: &Wishes,
    ) -> Result<Proposed, LibraryError> {
        let text = self.text(name, base, wishes)?;
        let read = |wanted: &ExperimentName| {
            let in_base = base.lineage().into_iter().find(|(name, _)| *name == wanted);
            Ok(if wanted == own { Some(text.clone()) } else { in_base.map(|(_, text)| text.to_owned()) })
        };
        let unfit = |error| LibraryError::DoesNotFit { name: name.clone(), base: base.name.clone(), error };
        let loaded = load(own, &[], &read, &Table::new()).map_err(unfit)?;
        if loaded.experiment.plan_digest() == base.experiment.plan_digest() {
            return Err(LibraryError::NothingChanges { name: name.clone(), base: base.name.clone() });
        }
        let before: BTreeMap<String, String> = flat(&base.experiment).into_iter().collect();
        let stated = loaded.stated.iter().filter(|(key, value)| before.get(key) != Some(value));
        let changed = stated.map(|(key, value)| {
            let was = before.get(key).map_or_else(|| "nothing".to_owned(), Clone::clone);
            (key.clone(), was, value.clone())
        });
        let changed = changed.collect();
        // One that this library does not have any more conflicts with nothing.
        let is_there = |other: &&ExperimentName| Self::load(project, other).is_ok_and(|card| card.is_in(&before));
        let conflicts = self.conflicts.iter().filter(is_there).cloned().collect();
        Ok(Proposed { text, loaded, changed, conflicts })
    }

    /// What it changes, for people: dotted keys, each with its value or share.
    pub fn changes(&self) -> Vec<(String, String)> {
        fn walk(key: &str, value: &Value, out: &mut Vec<(String, String)>) {
            match (share(value), value) {
                (Some((of, times)), _) => out.push((key.to_owned(), format!("{times} times the base's {of}"))),
                (None, Value::Table(table)) => {
                    table.iter().for_each(|(inner, value)| walk(&format!("{key}.{inner}"), value, out))
                }
                (None, plain) => out.push((key.to_owned(), plain.to_string())),
            }
        }
        let mut all = Vec::new();
        self.change.iter().for_each(|(key, value)| walk(key, value, &mut all));
        all
    }

    /// Whether a config has all of what it states in so many words.
    fn is_in(&self, config: &BTreeMap<String, String>) -> bool {
        self.changes().iter().all(|(key, value)| config.get(key) == Some(value))
    }

    fn text(&self, name: &ExperimentName, base: &Loaded, wishes: &Wishes) -> Result<String, LibraryError> {
        /// In the order of the file.
        #[derive(Serialize)]
        struct File<'a> {
            extends: &'a ExperimentName,
            title: &'a str,
            question: &'a str,
            hypothesis: &'a str,
            rationale: String,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            findings: &'a [String],
            seeds: u32,
            expect: Expectation,
            #[serde(flatten)]
            change: Table,
        }
        let config = Table::try_from(&*base.experiment).expect("a config is TOML");
        let mut change = self.change.clone();
        for (key, value) in &mut change {
            resolve(key, value, &config, base)?;
        }
        let mut expect = self.expect.clone();
        expect.at_least = wishes.at_least.unwrap_or(expect.at_least);
        let rationale = format!("{} {}", self.rationale, self.claim).trim().to_owned();
        let file = File {
            extends: &base.name,
            title: &self.title,
            question: &self.question,
            hypothesis: &self.hypothesis,
            rationale,
            findings: &wishes.findings,
            seeds: wishes.seeds,
            expect,
            change,
        };
        let mut head = format!("#:schema ../schema/experiment.json\n# From the library: {name}.\n");
        for (what, said) in [("Where it failed", &self.failed), ("What it costs", &self.cost)] {
            if !said.is_empty() {
                head.push_str(&format!("# {what}: {said}\n"));
            }
        }
        Ok(head + &toml::to_string(&file).expect("plain values are TOML"))
    }
}

/// `{ of = key, times = share }`
fn share(value: &Value) -> Option<(String, f64)> {
    let table = value.as_table().filter(|table| table.len() == 2)?;
    let times = table.get("times")?;
    Some((table.get("of")?.as_str()?.to_owned(), times.as_float().or(times.as_integer().map(|n| n as f64))?))
}

/// Puts numbers in the place of shares of what the base has.
fn resolve(key: &str, value: &mut Value, config: &Table, base: &Loaded) -> Result<(), LibraryError> {
    if let Some((of, times)) = share(value) {
        let found = of.split('.').try_fold(None::<&Value>, |at, part| {
            Some(Some(at.map_or_else(|| config.get(part), |value| value.get(part))?))
        });
        *value = match found.flatten() {
            Some(Value::Integer(whole)) if *whole > 0 => {
                Value::Integer(((*whole as f64 * times).round() as i64).max(1))
            }
            // In so many digits as a person would write.
            Some(Value::Float(number)) if *number > 0.0 => {
                Value::Float(format!("{:.3e}", number * times).parse().expect("it was a number"))
            }
            found => {
                let found = found.map_or_else(|| "not known".to_owned(), Value::to_string);
                return Err(LibraryError::NoNumber { key: key.to_owned(), of, times, found, base: base.name.clone() });
            }
        };
        return Ok(());
    }
    match value {
        Value::Table(table) => {
            table.iter_mut().try_for_each(|(inner, value)| resolve(&format!("{key}.{inner}"), value, config, base))
        }
        Value::Array(values) => values.iter_mut().try_for_each(|value| resolve(key, value, config, base)),
        _ => Ok(()),
    }
}

/// The changes of the library, sorted.
pub fn names(project: &Project) -> Result<Vec<ExperimentName>, FileError> {
    let files = files::list(&project.library())?;
    Ok(files.iter().filter_map(|file| file.strip_suffix(".toml")?.parse().ok()).collect())
}
