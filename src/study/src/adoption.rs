//! `experiments/<change>/decision.toml`: that a change was adopted or rejected, on which evidence, and against which advice.
//! Written once and committed; what it rests on is named by digest, so that anyone can see whether it still is what it was.

use std::collections::BTreeMap;

use harness_analyse::RunName;
use harness_core::Digest;
use harness_core::config::{Choices, Direction, flat, sections};
use harness_core::files;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::{SealedRun, all_runs};
use serde::{Deserialize, Serialize};

use crate::StudyError;
use crate::decide::{Action, Decision, Verdict};
use crate::evidence::Evidence;

/// Version of the file.
pub const VERSION: u32 = 1;

/// What was done with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What comes next is built on it.
    Adopted,
    /// It is not.
    Rejected,
}

impl Outcome {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Adopted => "adopted",
            Outcome::Rejected => "rejected",
        }
    }

    fn follows(self) -> Action {
        match self {
            Outcome::Adopted => Action::Adopt,
            Outcome::Rejected => Action::Reject,
        }
    }
}

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adoption {
    /// [`VERSION`]
    pub format: u32,
    /// The change.
    pub experiment: ExperimentName,
    /// What it was held against.
    pub over: ExperimentName,
    /// What was done.
    pub outcome: Outcome,
    /// When, UTC.
    pub decided_at: String,
    /// The commit that was checked out.
    pub commit: String,
    /// What the rule says of the hypothesis.
    pub verdict: Verdict,
    /// What it advised.
    pub advice: Action,
    /// Why the advice was not followed, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_reason: Option<String>,
    /// The metric that was expected to change.
    pub metric: String,
    /// Where.
    pub direction: Direction,
    /// By how much at least.
    pub at_least: f64,
    /// The level of the interval and the p-value: 1 minus its confidence.
    pub level: f64,
    /// The changes that were corrected together.
    pub family: Vec<ExperimentName>,
    /// What was found; none where nothing could be tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Found>,
    /// The runs that it rests on: of the change, then of what it was held against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Witness>,
}

/// A difference, as the decision found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Means over the seeds.
    pub baseline: f64,
    /// Of the change.
    pub change: f64,
    /// Change minus baseline.
    pub difference: f64,
    /// Its simultaneous interval.
    pub interval: [f64; 2],
    /// Adjusted over the family.
    pub p_adjusted: f64,
}

/// A run that a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its experiment.
    pub experiment: ExperimentName,
    /// The run.
    pub run: RunId,
    /// Digest of its MANIFEST.
    pub root: Digest,
    /// Its seed.
    pub seed: u64,
}

/// Why a change is not adopted or rejected.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The rule says otherwise, and nobody says why it should not count.
    #[error(
        "`{experiment}` is {} and the advice is {}, so it is not {}{}\nhint: `--override \"reason\"` does it all the same; the reason stands in the file",
        verdict.word(), advice.word(), outcome.word(),
        if because.is_empty() { String::new() } else { format!(": {because}") }
    )]
    Advice {
        /// The change.
        experiment: ExperimentName,
        /// On its hypothesis.
        verdict: Verdict,
        /// What is advised.
        advice: Action,
        /// What was to be done.
        outcome: Outcome,
        /// Why the advice is as it is.
        because: String,
    },
    /// There is nothing to override.
    #[error("the advice is {} already\nhint: leave out `--override`", advice.word())]
    NothingToOverride {
        /// The advice.
        advice: Action,
    },
    /// It was held against another experiment.
    #[error(
        "`{experiment}` was held against `{against}`, not against `{over}`\nhint: `--over {against}`; or `--as NAME`, which writes an experiment that makes the same change to `{over}`, if that descends from `{against}`"
    )]
    OtherBaseline {
        /// The change.
        experiment: ExperimentName,
        /// What it was held against.
        against: ExperimentName,
        /// What was asked for.
        over: ExperimentName,
    },
    /// It is decided.
    #[error(
        "`{experiment}` was {} on {at}\nhint: to decide it anew, delete experiments/{experiment}/decision.toml; git keeps it", outcome.word()
    )]
    Decided {
        /// The change.
        experiment: ExperimentName,
        /// What was done.
        outcome: Outcome,
        /// When.
        at: String,
    },
    /// Two changes state the same key.
    #[error(
        "`{change}` cannot be made to `{to}`: both change `{key}`\nhint: write the experiment by hand, with the value that is meant"
    )]
    Conflict {
        /// The change.
        change: ExperimentName,
        /// What it was to be made to.
        to: ExperimentName,
        /// The key.
        key: String,
    },
    /// There is an experiment of that name.
    #[error("there is an experiment `{0}` already\nhint: take another name")]
    Taken(ExperimentName),
    /// The experiments cannot be read.
    #[error(transparent)]
    Study(#[from] StudyError),
}

/// What becomes of a change by its decision, or against it for a reason.
pub fn settle(
    decision: &Decision,
    outcome: Outcome,
    reason: Option<&str>,
    commit: &str,
    at: &str,
) -> Result<Adoption, AdoptError> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    let (experiment, advice) = (decision.experiment.clone(), decision.action);
    match (advice == outcome.follows(), reason) {
        (true, Some(_)) => return Err(AdoptError::NothingToOverride { advice }),
        (false, None) => {
            let because = decision.because.join("; ");
            return Err(AdoptError::Advice { experiment, verdict: decision.verdict, advice, outcome, because });
        }
        _ => {}
    }
    let expect = decision.proposal.expect.as_ref().expect("what is decided expects something");
    let witnesses = |experiment: &ExperimentName, runs: &[RunName]| {
        let witness = |run: &RunName| Witness {
            experiment: experiment.clone(),
            run: run.run.clone(),
            root: run.root,
            seed: run.seed,
        };
        runs.iter().map(witness).collect::<Vec<_>>()
    };
    let [of_change, of_baseline] = &decision.runs;
    Ok(Adoption {
        format: VERSION,
        over: decision.against.clone(),
        outcome,
        decided_at: at.to_owned(),
        commit: commit.to_owned(),
        verdict: decision.verdict,
        advice,
        override_reason: reason.map(str::to_owned),
        metric: expect.metric.clone(),
        direction: expect.direction,
        at_least: expect.at_least,
        level: decision.level,
        family: decision.family.clone(),
        effect: decision.estimate.as_ref().map(|found| Found {
            baseline: found.baseline,
            change: found.change,
            difference: found.difference,
            interval: found.interval,
            p_adjusted: found.p_adjusted,
        }),
        evidence: [witnesses(&experiment, of_change), witnesses(&decision.against, of_baseline)].concat(),
        experiment,
    })
}

impl Adoption {
    /// The path of the file relative to the project.
    pub fn path(experiment: &ExperimentName) -> String {
        format!("experiments/{experiment}/decision.toml")
    }

    /// Reads the file of a change, if there is one.
    pub fn of(project: &Project, experiment: &ExperimentName) -> Result<Option<Self>, StudyError> {
        let path = Self::path(experiment);
        let text = match files::read_to_string(&project.root().join(&path)) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let wrong = |problem: String| StudyError::Unreadable { path: path.clone(), problem };
        let adoption: Adoption = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        if adoption.format != VERSION {
            return Err(wrong(format!("it has format {}; this program reads {VERSION}", adoption.format)));
        }
        Ok(Some(adoption))
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(self).expect("a decision is TOML");
        format!("# Written by `harness adopt`. Commit it; what it rests on is named by digest.\n{text}")
    }

    /// What of the evidence is not as it was, in sentences; empty where all is.
    pub fn changed_evidence(&self, project: &Project) -> Result<Vec<String>, StudyError> {
        let here: BTreeMap<RunId, ExperimentName> =
            all_runs(project)?.into_iter().map(|(experiment, run)| (run, experiment)).collect();
        let problem = |witness: &Witness| {
            let run = &witness.run;
            let Some(experiment) = here.get(run) else { return Some(format!("run {run} is not here")) };
            match SealedRun::open(project, experiment, run) {
                Ok(sealed) if sealed.root == witness.root => None,
                Ok(sealed) => Some(format!("run {run} was {}, and is {}", witness.root.short(), sealed.root.short())),
                Err(error) => Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
            }
        };
        Ok(self.evidence.iter().filter_map(problem).collect())
    }
}

/// Every decision file, by the name that its experiment has now.
pub fn adoptions(evidence: &Evidence) -> Result<BTreeMap<ExperimentName, Adoption>, StudyError> {
    let mut adoptions = BTreeMap::new();
    for name in evidence.experiments().keys() {
        if let Some(adoption) = Adoption::of(evidence.project, name)? {
            adoptions.insert(name.clone(), adoption);
        }
    }
    Ok(adoptions)
}

/// An experiment that makes to `base` the change that `decision` is about, with the same expectation: what is adopted over one
/// experiment is not shown over its descendants yet.
pub fn stacked(evidence: &Evidence, decision: &Decision, base: &ExperimentName) -> Result<String, AdoptError> {
    let change = &decision.experiment;
    let (loaded, base_config) = (evidence.experiment(change)?, evidence.experiment(base)?);
    if !base_config.lineage().iter().any(|(name, _)| **name == decision.against) {
        let (experiment, against, over) = (change.clone(), decision.against.clone(), base.clone());
        return Err(AdoptError::OtherBaseline { experiment, against, over });
    }
    let before: BTreeMap<String, String> =
        flat(&evidence.experiment(&decision.against)?.experiment).into_iter().collect();
    let now: BTreeMap<String, String> = flat(&base_config.experiment).into_iter().collect();
    let changed_too = |(key, _): &&(String, String)| before.get(key) != now.get(key);
    if let Some((key, _)) = loaded.stated.iter().find(changed_too) {
        return Err(AdoptError::Conflict { change: change.clone(), to: base.clone(), key: key.clone() });
    }
    let mut table: toml::Table = toml::from_str(loaded.lineage()[0].1).expect("a loaded config is TOML");
    table.insert("extends".to_owned(), base.to_string().into());
    table.insert("title".to_owned(), format!("{change} over {base}").into());
    if let Some(toml::Value::Table(expect)) = table.get_mut("expect") {
        expect.remove("against");
    }
    Ok(format!("#:schema ../schema/experiment.json\n{}", toml::to_string(&table).expect("what was TOML is TOML")))
}

/// What `wanted` has that `now` has not, as TOML below the keys of one experiment: sections with whole values, so that an
/// experiment that extends `now` and states it has the config `wanted`. `None` where a key would have to be taken away, which no
/// child can.
pub(crate) fn stated_changes(now: &Choices, wanted: &Choices) -> Option<toml::Table> {
    let (now, wanted) = (sections(now), sections(wanted));
    let taken_away = |section: &String| !wanted.contains_key(section);
    if now.keys().any(taken_away) {
        return None;
    }
    let mut changes = toml::Table::new();
    for (key, value) in wanted {
        match (now.get(&key), value) {
            (Some(toml::Value::Table(before)), toml::Value::Table(after)) => {
                if before.keys().any(|key| !after.contains_key(key)) {
                    return None;
                }
                let differs = |(key, value): &(String, toml::Value)| before.get(key) != Some(value);
                let own: toml::Table = after.into_iter().filter(differs).collect();
                if !own.is_empty() {
                    changes.insert(key, own.into());
                }
            }
            (before, value) if before != Some(&value) => drop(changes.insert(key, value)),
            _ => {}
        }
    }
    Some(changes)
}
