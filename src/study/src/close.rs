//! A study that is over: what it found, with the runs that it rests on by their digests. Written once, beside the study, for git.

use harness_core::Digest;
use harness_core::config::{Setting, Table, put};
use harness_core::files;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::load_config;
use serde::{Deserialize, Serialize};

use crate::StudyError;
use crate::checks::{Finding, Value};
use crate::points::Opened;
use crate::trials::{State, Survey};

/// Version of `close.toml`.
pub const FORMAT: u32 = 1;

/// `experiments/<name>/close.toml`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// [`FORMAT`]
    pub format: u32,
    /// When, in UTC.
    pub closed_at: String,
    /// Digest of `study.toml`.
    pub study_sha256: Digest,
    /// Digest of the planned trials.
    pub plan_sha256: Digest,
    /// The metric.
    pub metric: String,
    /// Why it was closed before all trials were run; empty otherwise.
    pub because: String,
    /// What the checks found.
    pub findings: Vec<String>,
    /// The best of each scientific value.
    pub best: Vec<ClosedBest>,
    /// Every trial that was run.
    pub trial: Vec<ClosedTrial>,
}

/// The best trial of a scientific value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedBest {
    /// The value.
    pub value: String,
    /// The trial.
    pub trial: u64,
    /// Its metric.
    pub metric: f64,
    /// What it sets: dotted key and value.
    pub settings: std::collections::BTreeMap<String, Setting>,
}

/// A trial that was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedTrial {
    /// Its number.
    pub trial: u64,
    /// `completed`, `pruned` or `infeasible`.
    pub state: String,
    /// The run that decided it.
    pub run: RunId,
    /// Digest of its MANIFEST.
    pub root: Digest,
    /// Its metric, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<f64>,
}

impl Closed {
    /// What is known of a study now.
    pub fn of(
        study: &Opened,
        survey: &Survey,
        values: &[Value],
        findings: &[Finding],
        because: &str,
        at: String,
    ) -> Self {
        let best = values.iter().filter_map(|value| {
            let best = value.best.as_ref()?;
            let settings = best.settings.iter().cloned().collect();
            Some(ClosedBest { value: value.name.clone(), trial: best.trial, metric: best.metric, settings })
        });
        let trial = survey.trials.iter().filter_map(|trial| {
            let (run, root) = trial.decided_by.clone()?;
            let state = trial.state.word().to_owned();
            Some(ClosedTrial { trial: trial.planned.trial, state, run, root, metric: trial.metric })
        });
        Closed {
            format: FORMAT,
            closed_at: at,
            study_sha256: Digest::of(study.text.as_bytes()),
            plan_sha256: study.plan_sha256(),
            metric: study.study.metric.clone(),
            because: because.to_owned(),
            findings: findings.iter().map(|finding| format!("{}: {}", finding.check, finding.text)).collect(),
            best: best.collect(),
            trial: trial.collect(),
        }
    }

    /// Reads it, if the study is closed.
    pub fn read(project: &Project, name: &ExperimentName) -> Result<Option<Self>, StudyError> {
        let text = match files::read_to_string(&project.study_close(name)) {
            Err(error) if error.is_not_found() => return Ok(None),
            text => text?,
        };
        let unreadable =
            |error: toml::de::Error| StudyError::Close { name: name.clone(), problem: error.message().to_owned() };
        toml::from_str(&text).map(Some).map_err(unreadable)
    }

    /// Its text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("plain values are TOML")
    }

    /// In what the study and its runs differ from what they were.
    pub fn differences(&self, study: &Opened, survey: &Survey) -> Vec<String> {
        let mut differences = Vec::new();
        if self.study_sha256 != Digest::of(study.text.as_bytes()) {
            differences.push("study.toml has changed since the study was closed".to_owned());
        }
        for closed in &self.trial {
            let now = survey.trials.iter().find(|trial| trial.planned.trial == closed.trial);
            let now = now.and_then(|trial| trial.decided_by.as_ref());
            if now != Some(&(closed.run.clone(), closed.root)) {
                differences.push(format!("trial {} does not rest on run {} any more", closed.trial, closed.run));
            }
        }
        differences
    }
}

/// An experiment that sets what the best trial of a value sets. It extends what it will be held against: what the experiment of the
/// study extends, where that one is there for its trials only and plans nothing else.
pub fn proposed(project: &Project, study: &Opened, best: &ClosedBest) -> Result<String, StudyError> {
    let plan = |name: &ExperimentName| load_config(project, name).map(|loaded| loaded.experiment.plan_digest());
    let over = match &study.base.extends {
        Some(parent) if plan(parent)? == study.base.plan_digest() => parent,
        _ => &study.name,
    };
    let mut table = Table::new();
    for (key, value) in &best.settings {
        put(&mut table, key, value.to_toml());
    }
    let text = |text: String| toml::Value::String(text).to_string();
    Ok(format!(
        "#:schema ../schema/experiment.json\nextends = \"{over}\"\ntitle = {}\nrationale = {}\n\n{table}",
        text(format!("Best of {}: {}", study.name, best.value)),
        text(format!("Trial {} of the study `{}` was the best: {}", best.trial, study.name, study.study.goal)),
    ))
}

/// The state of trials that a study may be closed with.
pub fn is_over(survey: &Survey) -> bool {
    survey.trials.iter().all(|trial| matches!(trial.state, State::Completed | State::Pruned | State::Infeasible))
}
