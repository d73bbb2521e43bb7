//! The experiments of a project as what they grew from: each under the one that it extends, with what it does to its metric.

use std::collections::BTreeMap;

use harness_analyse::Unit;
use harness_core::config::{Choices, Loaded};
use harness_core::names::ExperimentName;
use harness_record::SealedRun;
use harness_record::format::Purpose;
use harness_statistics::hypothesis::{LEVEL, holm_over_families, over_seeds};
use harness_statistics::mean;
use serde::Serialize;

use crate::StudyError;
use crate::adoption::{Outcome, adoptions};
use crate::decide::{Action, Decision, Verdict, decide_by};
use crate::evidence::Evidence;
use crate::lineage::{Lineage, order};
use crate::seeds::purpose_of;

/// Version of the JSON form.
pub const FORMAT: u32 = 1;
/// The metric of an experiment that declares none.
pub const HEADLINE: &str = "validation.bits_per_byte";

/// An experiment in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Branch {
    /// The experiment.
    pub experiment: ExperimentName,
    /// The one that it extends, if that can be read.
    pub extends: Option<ExperimentName>,
    /// How many it descends from.
    pub depth: usize,
    /// Runs that count, one for each seed.
    pub seeds: usize,
    /// Registered seeds that are completed, and all of them; none of an experiment that expects nothing.
    pub registered: Option<[usize; 2]>,
    /// What it is held against: what it says, or else the one that it extends.
    pub against: Option<ExperimentName>,
    /// What it does to its metric.
    pub effect: Option<TreeEffect>,
    /// On its hypothesis; none of an experiment that expects nothing.
    pub verdict: Option<Verdict>,
    /// The advice, likewise.
    pub action: Option<Action>,
    /// What was done with it; none of what is not decided.
    pub outcome: Option<Outcome>,
    /// Why that is not what was advised.
    pub override_reason: Option<String>,
    /// Two-sided, adjusted over its family; none where nothing is tested.
    pub p_adjusted: Option<f64>,
    /// The same by Holm's method over all families of its tree: see [`tree`].
    pub p_in_sequence: Option<f64>,
}

/// A difference from what an experiment is held against.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TreeEffect {
    /// Key of the metric.
    pub metric: String,
    /// Unit of the difference.
    pub unit: Unit,
    /// The experiment minus what it is held against.
    pub difference: f64,
    /// Its interval: simultaneous over the family where it is registered, else of the one difference; none where the runs say
    /// nothing of their spread.
    pub interval: Option<[f64; 2]>,
    /// The share of such intervals that miss the truth.
    pub level: f64,
    /// Runs on either side.
    pub runs: [usize; 2],
    /// Whether it is by the registered rule. What is not is exploratory: it has no p-value and no verdict.
    pub registered: bool,
}

/// All experiments that can be read, each after what it extends.
///
/// Changes that are adopted one after the other, each over the one before, are tested in families that would not be there without
/// what was found before, so that Holm's correction runs over all families of a tree: those in which nothing was adopted, and those
/// that were registered and not run, count too. A family is what was registered to confirm of one metric against one baseline.
pub fn tree(evidence: &Evidence) -> Result<Vec<Branch>, StudyError> {
    let experiments = evidence.experiments();
    let parent = |loaded: &Loaded| loaded.experiment.extends.clone().filter(|parent| experiments.contains_key(parent));
    let lineages: Vec<Lineage> = experiments
        .iter()
        .map(|(name, loaded)| Lineage { name: name.to_string(), extends: parent(loaded).map(|p| p.to_string()) })
        .collect();
    let adoptions = adoptions(evidence)?;
    let mut branches: Vec<Branch> = Vec::new();
    for name in order(&lineages) {
        let Some((name, loaded)) = experiments.iter().find(|(known, _)| known.as_str() == name) else { continue };
        let extends = parent(loaded);
        let above = branches.iter().find(|branch| Some(&branch.experiment) == extends.as_ref());
        let depth = above.map_or(0, |above| above.depth + 1);
        let adoption = adoptions.get(name);
        branches.push(Branch {
            outcome: adoption.map(|adoption| adoption.outcome),
            override_reason: adoption.and_then(|adoption| adoption.override_reason.clone()),
            ..branch(evidence, name, loaded, extends, depth)?
        });
    }
    correct_in_sequence(evidence, &mut branches);
    Ok(branches)
}

/// What was registered to confirm, by tree (the root), baseline and metric.
fn correct_in_sequence(evidence: &Evidence, branches: &mut [Branch]) {
    let mut families: BTreeMap<ExperimentName, BTreeMap<(ExperimentName, String), Vec<usize>>> = BTreeMap::new();
    let mut root = None;
    for (at, branch) in branches.iter().enumerate() {
        if branch.depth == 0 {
            root = Some(&branch.experiment);
        }
        let experiment = &evidence.experiments()[&branch.experiment].experiment;
        let (Some(root), Some(against), Some(expect)) = (root, &branch.against, &experiment.expect) else { continue };
        if purpose_of(experiment) == Purpose::Confirm {
            let of_root = families.entry(root.clone()).or_default();
            of_root.entry((against.clone(), expect.metric.clone())).or_default().push(at);
        }
    }
    for of_root in families.into_values() {
        let members: Vec<Vec<usize>> = of_root.into_values().collect();
        let tested = |family: &Vec<usize>| -> Vec<usize> {
            family.iter().copied().filter(|&at| branches[at].p_adjusted.is_some()).collect()
        };
        let members: Vec<Vec<usize>> = members.iter().map(tested).collect();
        let p_values = members.iter().map(|family| family.iter().filter_map(|&at| branches[at].p_adjusted).collect());
        let corrected = holm_over_families(&p_values.collect::<Vec<_>>());
        for (at, p) in members.concat().into_iter().zip(corrected.concat()) {
            branches[at].p_in_sequence = Some(p);
        }
    }
}

fn branch(
    evidence: &Evidence,
    name: &ExperimentName,
    loaded: &Loaded,
    extends: Option<ExperimentName>,
    depth: usize,
) -> Result<Branch, StudyError> {
    let experiment = &loaded.experiment;
    let decision = match experiment.expect.as_ref().map(|_| decide_by(evidence, name)) {
        Some(Err(error)) if error.is_undecidable() => None,
        decided => decided.transpose()?,
    };
    let against = experiment.against().cloned().or_else(|| extends.clone());
    let registered = decision.as_ref().map(|decision| [decision.completed, decision.proposal.seeds as usize]);
    let effect = match decision.as_ref().and_then(|decision| by_rule(evidence, decision)) {
        Some(effect) => Some(effect),
        None => match &against {
            Some(against) => exploratory(evidence, name, against, &metric_of(experiment))?,
            None => None,
        },
    };
    Ok(Branch {
        experiment: name.clone(),
        extends,
        depth,
        seeds: evidence.counted(name)?.len(),
        registered,
        against,
        effect,
        verdict: decision.as_ref().map(|decision| decision.verdict),
        action: decision.as_ref().map(|decision| decision.action),
        outcome: None,
        override_reason: None,
        p_adjusted: decision.as_ref().and_then(|decision| decision.estimate.as_ref()).map(|found| found.p_adjusted),
        p_in_sequence: None,
    })
}

/// The metric that an experiment is about.
pub fn metric_of(experiment: &Choices) -> String {
    let expected = experiment.expect.as_ref().map(|expect| &expect.metric);
    expected.or(experiment.primary_metrics.first()).map_or(HEADLINE, String::as_str).to_owned()
}

fn by_rule(evidence: &Evidence, decision: &Decision) -> Option<TreeEffect> {
    let estimate = decision.estimate.as_ref()?;
    let metric = decision.proposal.expect.as_ref()?.metric.clone();
    let unit = evidence.unit(&decision.runs[0].first()?.run, &metric)?;
    Some(TreeEffect {
        metric,
        unit,
        difference: estimate.difference,
        interval: Some(estimate.interval),
        level: decision.level,
        runs: [decision.runs[0].len(), decision.runs[1].len()],
        registered: true,
    })
}

/// The difference over the runs that count; nothing where they have nothing comparable.
fn exploratory(
    evidence: &Evidence,
    name: &ExperimentName,
    against: &ExperimentName,
    metric: &str,
) -> Result<Option<TreeEffect>, StudyError> {
    let sides = [evidence.counted(against)?, evidence.counted(name)?];
    let [Some(first), Some(second)] = [sides[0].last(), sides[1].last()] else { return Ok(None) };
    if !asked_alike(first, second, metric) {
        return Ok(None);
    }
    let [baseline, change] = [evidence.counted_by_seed(against)?, evidence.counted_by_seed(name)?];
    let Some(unit) = change[0].values.get(metric).map(|value| value.unit) else { return Ok(None) };
    let [of_baseline, of_change] = [&baseline, &change].map(|side| -> Option<Vec<f64>> {
        side.iter().map(|run| run.number(metric).filter(|number| number.is_finite())).collect()
    });
    let (Some(of_baseline), Some(of_change)) = (of_baseline, of_change) else { return Ok(None) };
    let shared = baseline.iter().map(|run| run.seed).eq(change.iter().map(|run| run.seed));
    let interval = over_seeds(&of_baseline, &of_change, shared).map(|(_, test)| [test.low, test.high]);
    Ok(Some(TreeEffect {
        metric: metric.to_owned(),
        unit,
        difference: mean(&of_change) - mean(&of_baseline),
        interval,
        level: LEVEL,
        runs: [change.len(), baseline.len()],
        registered: false,
    }))
}

/// Whether a metric means the same of two runs: the same data, and the same items of its task.
pub(crate) fn asked_alike(first: &SealedRun, second: &SealedRun, metric: &str) -> bool {
    let requests = |run: &SealedRun| {
        let tasks = run.open.tasks.iter().filter(|task| {
            let of = |id: &str| metric.strip_prefix("tasks.").is_some_and(|rest| rest.starts_with(&format!("{id}.")));
            of(&task.id) || task.group.as_deref().is_some_and(of)
        });
        tasks.map(|task| task.requests_sha256).collect::<Vec<_>>()
    };
    first.open.data.root == second.open.data.root && requests(first) == requests(second)
}
