//! What runs tell of each other. Each names the runs that it found, with their roots, when it was opened: so the runs of a project form a
//! graph, in which one that was deleted leaves its name, and one that was sealed again its root. Seeds that nobody chose have no gaps, and
//! another seed gives other rows.

use std::collections::{BTreeMap, BTreeSet};

use harness_core::Digest;
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId};

use super::{Analysed, Audit, Check, Outcome, Subject};
use harness_record::anchors::Moment;
use harness_record::format::{Open, Purpose, SeedRule};
use harness_record::{self as record, RunSet, SealedRun};
use harness_study::seeds;

/// Every `open.json` of some experiments.
fn opens(sets: &[RunSet]) -> impl Iterator<Item = &Open> {
    sets.iter().flat_map(|set| {
        let counted = set.runs.iter().map(|run| &run.open);
        counted.chain(set.left_out.iter().filter_map(|left| left.open()))
    })
}

/// The sealed runs of a set, those that do not count too.
fn sealed(set: &RunSet) -> impl Iterator<Item = &SealedRun> {
    set.runs.iter().chain(set.left_out.iter().filter_map(|left| left.sealed()))
}

/// Runs of other experiments that these name and that are not here.
pub(super) fn gone(sets: &[RunSet], here: &BTreeSet<RunId>, audit: &mut Audit) {
    // What became of runs that are not here is told with their own experiment.
    let known: BTreeSet<&RunId> = sets.iter().flat_map(|set| &set.left_out).map(|left| &left.run).collect();
    let mut told = BTreeSet::new();
    for open in opens(sets) {
        for head in open.heads.iter().filter(|head| !here.contains(&head.run) && !known.contains(&head.run)) {
            if let Some(experiment) = &head.experiment
                && told.insert(&head.run)
            {
                let subject = Subject::Experiment(experiment.clone());
                let detail = format!("it is gone; run {} of {} names it", open.run, open.experiment);
                audit.add("L2", &subject, format!("run {}", head.run), Outcome::Missing, detail);
            }
        }
    }
}

/// Audited runs that another run of the project, opened later, found with another root.
pub(super) fn roots(project: &Project, audit: &mut Audit) -> Result<(), FileError> {
    let audited: BTreeMap<RunId, ExperimentName> = audit
        .checks
        .iter()
        .filter_map(|check| match &check.subject {
            Subject::Run(experiment, run) => Some((run.clone(), experiment.clone())),
            _ => None,
        })
        .collect();
    let mut told = BTreeSet::new();
    for (experiment, run) in record::all_runs(project)? {
        let heads = record::opened(project, &experiment, &run).map(|open| open.heads).unwrap_or_default();
        for head in heads {
            let (Some(of), Some(then)) = (audited.get(&head.run), head.root) else { continue };
            let now = Moment::Seal.digest(&project.run(of, &head.run));
            let Some(now) = now.filter(|now| *now != then && told.insert(head.run.clone())) else { continue };
            let detail = format!(
                "was sealed again: its root is {}, and run {run} of {experiment}, which was opened later, found {}",
                now.short(),
                then.short()
            );
            contradiction(audit, Subject::Run(of.clone(), head.run.clone()), "root", detail);
        }
    }
    Ok(())
}

/// A hypothesis that has other words than when it was tried.
pub(super) fn hypothesis(project: &Project, set: &RunSet, audit: &mut Audit) {
    let (Some(latest), Ok(now)) = (set.latest(), record::load_config(project, &set.experiment)) else { return };
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let tried = words(&latest.experiment.hypothesis);
    if words(&now.experiment.hypothesis) != tried {
        let detail = format!("was edited since the latest run, {}, which ran with: {tried}", latest.open.run);
        audit.add("L2", &Subject::Experiment(set.experiment.clone()), "hypothesis", Outcome::Note, detail);
    }
    let before = set.runs.iter().filter(|run| words(&run.experiment.hypothesis) != tried).count();
    if before > 0 {
        let detail = format!("{before} of {} runs that count were made before it had its words", set.runs.len());
        audit.add("L2", &Subject::Experiment(set.experiment.clone()), "hypothesis", Outcome::Note, detail);
    }
}

/// A contradiction that takes every number of a run with it.
fn contradiction(audit: &mut Audit, subject: Subject, what: impl Into<String>, detail: String) {
    let numbers = vec!["every number of this run".to_owned()];
    let (level, what, outcome) = ("L2", what.into(), Outcome::Contradiction);
    audit.checks.push(Check { level, subject, what, outcome, detail, numbers });
}

/// Derived seeds that were passed over: they are taken in order, so one without a run was deleted, or is on another machine.
pub(super) fn seeds(project: &Project, set: &RunSet, audit: &mut Audit) -> Result<(), FileError> {
    let is_derived = |open: &Open| open.plan.seed_rule == Some(SeedRule::Derived) && open.plan.study.is_none();
    let plans: BTreeSet<Digest> =
        sealed(set).filter(|run| is_derived(&run.open)).map(SealedRun::plan_but_seed).collect();
    let dropped = record::dropped(project, &set.experiment)?;
    for plan in plans {
        for purpose in [Purpose::Tune, Purpose::Confirm, Purpose::Final] {
            let of_plan = |run: &&SealedRun| run.plan_but_seed() == plan && run.open.plan.purpose == purpose;
            let derived: BTreeSet<u64> =
                sealed(set).filter(of_plan).filter(|run| is_derived(&run.open)).map(|run| run.open.plan.seed).collect();
            // Of what was never sealed, or is not here, the plan is not asked for.
            let unsealed = set.left_out.iter().filter(|left| left.sealed().is_none()).filter_map(|left| left.open());
            let known: BTreeSet<u64> = sealed(set)
                .filter(of_plan)
                .map(|run| run.open.plan.seed)
                .chain(unsealed.map(|open| open.plan.seed))
                .chain(dropped.values().filter_map(|dropped| dropped.seed))
                .collect();
            let mut left = derived.len();
            let all = if left == 0 { Vec::new() } else { seeds::derived(project, purpose, FARTHEST)? };
            for (index, seed) in all.iter().enumerate() {
                if left == 0 {
                    break;
                }
                left -= usize::from(derived.contains(seed));
                if !known.contains(seed) {
                    let detail = format!(
                        "no run is known of seed {seed}, number {} of those derived to {}, and later ones were run",
                        index + 1,
                        purpose.verb()
                    );
                    let subject = Subject::Experiment(set.experiment.clone());
                    audit.add("L2", &subject, "derived seeds", Outcome::Missing, detail);
                }
            }
        }
    }
    Ok(())
}

/// A seed further on is taken for one that somebody chose.
const FARTHEST: u64 = 1000;

/// Runs of different seeds with the same rows: one of them was copied, not computed.
pub(super) fn copies(analysed: &Analysed, audit: &mut Audit) {
    let mut first: BTreeMap<(String, Digest), &SealedRun> = BTreeMap::new();
    let trained =
        analysed.values().filter(|analysis| !analysis.steps.is_empty() && analysis.run.open.evaluates.is_none());
    let mut told = BTreeSet::new();
    for analysis in trained {
        let run = &analysis.run;
        let losses: Vec<u8> = analysis.steps.iter().flat_map(|line| line.loss_nats.to_bits().to_le_bytes()).collect();
        let scores = run.record.evaluations.iter().filter(|evaluation| evaluation.step > 0).flat_map(|e| &e.files);
        let tables = scores.map(|file| (file.path.clone(), file.sha256));
        for (table, digest) in tables.chain([("the losses of `steps.csv`".to_owned(), Digest::of(&losses))]) {
            let other = *first.entry((table.clone(), digest)).or_insert(run);
            if other.open.plan.seed != run.open.plan.seed && told.insert((&other.open.run, &run.open.run)) {
                let detail = format!(
                    "is the same as that of run {}, which has seed {}, not {}: another seed gives other rows",
                    other.open.run, other.open.plan.seed, run.open.plan.seed
                );
                let subject = Subject::Run(run.open.experiment.clone(), run.open.run.clone());
                contradiction(audit, subject, table, detail);
            }
        }
    }
}

/// Best values that the paper quotes: the evaluation with the lowest loss is chosen by what it is quoted for.
pub(super) fn best(audit: &mut Audit) {
    let quoted: BTreeSet<String> = audit
        .traces
        .iter()
        .filter(|trace| trace.key == "validation.best_bits_per_byte")
        .map(|trace| format!("`{}` of {} is {}", trace.key, trace.experiment, trace.shown))
        .collect();
    for quoted in quoted {
        let detail = format!("{quoted}, the lowest of all evaluations; the last is `validation.bits_per_byte`");
        audit.add("L2", &Subject::Paper, "best value", Outcome::Note, detail);
    }
}
