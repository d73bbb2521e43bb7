//! What of a stack of adopted changes still helps: the stack without each of them, on seeds that decided nothing before.
//!
//! A change that helped when it was adopted may be covered by a later one. What no longer helps is a cost without a return.

use std::collections::BTreeMap;

use harness_analyse::lower_is_better;
use harness_core::config::{DecidePurpose, Expectation, Loaded, load};
use harness_core::files;
use harness_core::names::ExperimentName;
use serde::Serialize;

use crate::StudyError;
use crate::adoption::{Adoption, Outcome, adoptions, stated_changes};
use crate::decide::{Decision, Verdict, decide_by};
use crate::evidence::Evidence;

/// Version of the JSON form.
pub const FORMAT: u32 = 1;

/// The stack without one of its changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Without {
    /// The change that is left out.
    pub change: ExperimentName,
    /// The experiment that leaves it out.
    pub experiment: ExperimentName,
    /// Whether its file was written just now.
    pub written: bool,
    /// What leaving it out does; none of a file that was written just now.
    pub decision: Option<Decision>,
    /// What that says of the change.
    pub finding: Finding,
}

/// What is known of a change within the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Seeds are missing.
    NotRun,
    /// Without it the metric is worse by more than the margin.
    Helps,
    /// Without it the metric is the same within the margin.
    NoLongerHelps,
    /// Without it the metric is better by more than the margin.
    Harms,
    /// The data allow more than one of these.
    Open,
}

impl Finding {
    /// For a table.
    pub fn words(self) -> &'static str {
        match self {
            Finding::NotRun => "not run yet",
            Finding::Helps => "still helps",
            Finding::NoLongerHelps => "no longer helps",
            Finding::Harms => "does harm",
            Finding::Open => "open: more seeds would tell",
        }
    }

    fn of(decision: &Decision, lower_is_better: bool) -> Self {
        let Some(estimate) = &decision.estimate else { return Finding::NotRun };
        match decision.verdict {
            Verdict::Confirmed => Finding::NoLongerHelps,
            Verdict::Refuted if (estimate.difference > 0.0) == lower_is_better => Finding::Helps,
            Verdict::Refuted => Finding::Harms,
            _ => Finding::Open,
        }
    }
}

/// Writes, for each adopted change that `name` descends from, the experiment that leaves it out, where there is none yet, and
/// says what became of those that were run.
pub fn leave_one_out(
    evidence: &Evidence,
    name: &ExperimentName,
    seeds: Option<u32>,
) -> Result<Vec<Without>, StudyError> {
    let stack = evidence.experiment(name)?;
    let adoptions = adoptions(evidence)?;
    let is_adopted = |name: &ExperimentName| adoptions.get(name).filter(|a| a.outcome == Outcome::Adopted);
    let lineage = stack.lineage();
    let changes = lineage.iter().filter_map(|(change, _)| Some((*change, is_adopted(change)?)));
    let changes: Vec<(&ExperimentName, &Adoption)> = changes.collect();
    if changes.is_empty() {
        return Err(StudyError::NothingAdopted(name.clone()));
    }
    let mut planned: Vec<(ExperimentName, ExperimentName, String)> = Vec::new();
    for (change, adoption) in changes {
        let own: ExperimentName =
            format!("{name}-without-{change}").parse().map_err(|_| StudyError::CannotLeaveOut {
                name: name.clone(),
                change: change.clone(),
                why: "the name of the experiment would be too long".to_owned(),
            })?;
        let text = without(evidence, &stack, change, &own, adoption, seeds)?;
        planned.push((change.clone(), own, text));
    }
    let mut all = Vec::new();
    for (change, experiment, text) in planned {
        let path = evidence.project.experiment(&experiment).join("experiment.toml");
        let written = !files::is_file(&path);
        if written {
            files::write(&path, text.as_bytes())?;
        }
        let decision = if written { None } else { Some(decide_by(evidence, &experiment)?) };
        let lower_is_better = lower_is_better(&adoptions[&change].metric);
        let finding = decision.as_ref().map_or(Finding::NotRun, |decision| Finding::of(decision, lower_is_better));
        all.push(Without { change, experiment, written, decision, finding });
    }
    Ok(all)
}

/// The file of the stack without a change: it extends the stack and gives every key that the change states the value that it would
/// have without it.
fn without(
    evidence: &Evidence,
    stack: &Loaded,
    change: &ExperimentName,
    own: &ExperimentName,
    adoption: &Adoption,
    seeds: Option<u32>,
) -> Result<String, StudyError> {
    let refused = |why: String| StudyError::CannotLeaveOut { name: stack.name.clone(), change: change.clone(), why };
    let lineage = stack.lineage();
    let at = lineage.iter().position(|(name, _)| *name == change).expect("it is in the lineage");
    let (parent, _) = lineage.get(at + 1).ok_or_else(|| refused("it extends nothing".to_owned()))?;
    // How something is measured is as at the end of the stack.
    let is_measuring = |key: &str| ["evaluation.", "metrics."].iter().any(|section| key.starts_with(section));
    let stated = evidence.experiment(change)?.stated.into_iter().map(|(key, _)| key);
    let stated: Vec<String> = stated.filter(|key| !is_measuring(key)).collect();
    for (later, _) in &lineage[..at] {
        for (key, _) in evidence.experiment(later)?.stated {
            if stated.contains(&key) {
                return Err(refused(format!("`{later}` states `{key}` too, on top of it")));
            }
        }
    }
    let texts: BTreeMap<&ExperimentName, &str> = lineage.iter().copied().collect();
    let bare = format!("extends = \"{parent}\"\n");
    let of_expected = |name: &ExperimentName| {
        if name == change { Some(bare.clone()) } else { texts.get(name).map(|&t| t.to_owned()) }
    };
    let expected = load(&stack.name, &[], &|name| Ok(of_expected(name)), &toml::Table::new());
    let expected = expected.map_err(|error| refused(error.to_string()))?.experiment;
    let Some(changes) = stated_changes(&stack.experiment, &expected) else {
        return Err(refused(
            "a key that it states has no value without it, and a child cannot take a key away".to_owned(),
        ));
    };
    if changes.is_empty() {
        return Err(refused("nothing is different without it".to_owned()));
    }
    let registered = evidence.experiment(change)?.experiment.proposal();
    let margin = registered.expect.as_ref().map_or(adoption.at_least, |expect| registered.decide.margin_of(expect));
    let expect = Expectation {
        metric: adoption.metric.clone(),
        direction: harness_core::config::Direction::Same,
        at_least: margin,
        against: None,
    };
    let seeds = seeds.unwrap_or(registered.seeds.max(2));
    let mut table = toml::Table::new();
    let mut put = |key: &str, value: toml::Value| drop(table.insert(key.to_owned(), value));
    put("extends", stack.name.to_string().into());
    put("title", format!("Without {change}").into());
    put("question", format!("Does {change} still help in {}?", stack.name).into());
    put("hypothesis", format!("Without it, {} stays the same within {margin}.", adoption.metric).into());
    put("seeds", i64::from(seeds).into());
    put("expect", toml::Value::try_from(&expect).expect("an expectation is TOML"));
    let purpose = toml::Value::try_from(DecidePurpose::Final).expect("a purpose is TOML");
    put("decide", toml::Table::from_iter([("purpose".to_owned(), purpose)]).into());
    table.extend(changes);
    let text = format!("#:schema ../schema/experiment.json\n{}", toml::to_string(&table).expect("a config is TOML"));
    // What is written is what was meant.
    let of_written =
        |name: &ExperimentName| if name == own { Some(text.clone()) } else { texts.get(name).map(|&t| t.to_owned()) };
    let written = load(own, &[], &|name| Ok(of_written(name)), &toml::Table::new());
    let written = written.map_err(|error| refused(error.to_string()))?.experiment;
    if written.plan_digest() != expected.plan_digest() {
        return Err(refused("its keys do not come apart from those of the other changes".to_owned()));
    }
    Ok(text)
}
