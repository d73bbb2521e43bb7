//! What runs tell of each other. Each names the runs that it found, with their roots, when it was opened: so the runs of a project form a
//! graph, in which one that was deleted leaves its name, and one that was sealed again its root. Seeds that nobody chose have no gaps, and
//! another seed gives other rows.

use std::collections::{BTreeMap, BTreeSet};

use harness_core::Digest;
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId};

use super::{Analysed, Audit, Outcome, Subject};
use harness_record::format::{Open, Purpose, SeedRule};
use harness_record::{RunSet, SealedRun};
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

/// Runs that others name and that are not here, or not as they were.
pub(super) fn graph(sets: &[RunSet], here: &BTreeSet<RunId>, audit: &mut Audit) {
    let runs = || sets.iter().flat_map(|set| sealed(set).map(move |run| (&set.experiment, run)));
    let roots: BTreeMap<&RunId, (&ExperimentName, Digest)> =
        runs().map(|(experiment, run)| (&run.open.run, (experiment, run.root))).collect();
    // What became of runs that are not here is told with their own experiment.
    let known: BTreeSet<&RunId> = sets.iter().flat_map(|set| &set.left_out).map(|left| &left.run).collect();
    let mut told = BTreeSet::new();
    for open in opens(sets) {
        for head in &open.heads {
            let named_by = format!("run {} of {}", open.run, open.experiment);
            if let (Some((experiment, now)), Some(then)) = (roots.get(&head.run), head.root)
                && *now != then
                && told.insert(&head.run)
            {
                let detail = format!(
                    "was sealed again: its root is {}, and {named_by}, which was opened later, found {}",
                    now.short(),
                    then.short()
                );
                let subject = Subject::Run((*experiment).clone(), head.run.clone());
                audit.add("L2", &subject, "root", Outcome::Contradiction, detail);
                audit.checks.last_mut().expect("a check was just added").numbers =
                    vec!["every number of this run".to_owned()];
            }
            if let Some(experiment) = &head.experiment
                && !here.contains(&head.run)
                && !known.contains(&head.run)
                && told.insert(&head.run)
            {
                let subject = Subject::Experiment(experiment.clone());
                let detail = format!("it is gone; {named_by} names it");
                audit.add("L2", &subject, format!("run {}", head.run), Outcome::Missing, detail);
            }
        }
    }
}

/// Derived seeds that were passed over: they are taken in order, so one without a run was deleted, or is on another machine.
pub(super) fn seeds(project: &Project, set: &RunSet, audit: &mut Audit) -> Result<(), FileError> {
    let is_derived = |open: &Open| open.plan.seed_rule == Some(SeedRule::Derived) && open.plan.study.is_none();
    let plans: BTreeSet<Digest> =
        sealed(set).filter(|run| is_derived(&run.open)).map(SealedRun::plan_but_seed).collect();
    let dropped = harness_record::dropped(project, &set.experiment)?;
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
                audit.add("L2", &subject, table, Outcome::Contradiction, detail);
                audit.checks.last_mut().expect("a check was just added").numbers =
                    vec!["every number of this run".to_owned()];
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
