//! What of a paper has changed since an earlier commit, and why: the runs that counted then are known from what the commit
//! holds, and runs never change, so each number can be computed as it was.

use std::collections::{BTreeMap, BTreeSet};

use harness_analyse::RunAnalysis;
use harness_core::Digest;
use harness_core::config::{flat, is_of_the_plan};
use harness_core::names::Project;
use serde::Serialize;
use serde_json::Value as Json;

use super::claims;
use super::error::ReportError;
use super::families::{Entry, Families, is_of_test_side};
use super::figures::ListedFigure;
use super::logbook::Logbook;
use super::made::Made;
use super::model::{Quantity, Shown};
use super::proof::Proof;
use super::samples::Samples;
use super::tables::Tables;
use super::values::Numbers;
use super::{BUILD, Options, pairs_asked_for};

/// A paper as it was.
#[derive(Clone, Debug, Default)]
pub struct Then<'a> {
    /// The runs that there were.
    pub runs: &'a [RunAnalysis],
    /// Its proof, where the commit holds it.
    pub proof: Option<Proof>,
    /// Runs that were dropped since, with the reason.
    pub dropped: BTreeMap<String, String>,
}

/// Something on a page that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// `number`, `direction`, `count`, `claim`, `figure`, `table` or `sample`.
    pub kind: &'static str,
    /// Which.
    pub what: String,
    /// Where it stands now.
    pub pages: Vec<u64>,
    /// What it was; none if it was not there.
    pub then: Option<String>,
    /// What it is; none if it is not there any more.
    pub now: Option<String>,
    /// Why, as far as the records say.
    pub causes: Vec<String>,
}

/// Compares the paper that was made last with that of `then`.
pub fn paper_diff(
    project: &Project,
    analyses: &[RunAnalysis],
    options: &Options,
    paper: &Proof,
    then: &Then,
) -> Result<Vec<Changed>, ReportError> {
    let made = Made::of(project, analyses, options)?;
    let asked = claims::asked_for(project, &made.sections, &mut |_, _| ())?;
    let pairs = [pairs_asked_for(&made.sections), claims::pairs(&asked)].concat();
    let before = Numbers::of(then.runs, &pairs)?.decided(project)?;
    let comparison = Comparison { before: &before.families, now: &made.numbers.families, then };
    let (old, new) = (Side::of(&before), Side::of(&made.numbers));
    let mut changes = quantities(&comparison, paper, &old, &new);
    changes.extend(figures(&comparison, &made));
    let was = Tables::of(&before, &Logbook::of(project, then.runs)?);
    changes.extend(tables(&comparison, &made, &was, &old, &new));
    changes.extend(samples(&comparison, &was.samples, &made.tables.samples));
    Ok(changes)
}

/// The numbers of one time.
struct Side<'a> {
    numbers: &'a Numbers<'a>,
    catalogue: Json,
}

impl<'a> Side<'a> {
    fn of(numbers: &'a Numbers<'a>) -> Self {
        Side { numbers, catalogue: serde_json::to_value(numbers.catalogue()).expect("plain data is JSON") }
    }

    /// What stands on the page for a quantity; a count in digits.
    fn shown(&self, quantity: &Quantity) -> Option<String> {
        let text = |form: &str| {
            let found = quantity.listed(&self.catalogue)[form].clone();
            serde_json::from_value::<Shown>(found).ok().map(|shown| shown.to_string())
        };
        match quantity {
            Quantity::Value { .. } | Quantity::Difference { .. } | Quantity::Mean { .. } => text("shown"),
            Quantity::Interval { .. } => text("shown_interval"),
            Quantity::Direction { .. } | Quantity::Standing { .. } => text("words"),
            Quantity::Count { .. } => text("digits"),
            Quantity::Claim(claim) => claims::sentence(self.numbers, claim).ok().map(|sentence| sentence.text()),
            Quantity::Verdict { experiment } => {
                claims::verdict(self.numbers, experiment).map(|sentence| sentence.text())
            }
        }
    }
}

fn quantities(comparison: &Comparison, paper: &Proof, old: &Side, new: &Side) -> Vec<Changed> {
    let mut pages: BTreeMap<String, (&Quantity, BTreeSet<u64>)> = BTreeMap::new();
    for bound in &paper.bound {
        let note = &bound.note;
        pages.entry(note.quantity.to_string()).or_insert((&note.quantity, BTreeSet::new())).1.insert(note.page);
    }
    let proof = comparison.then.proof.as_ref();
    let printed: BTreeMap<String, &super::model::Bound> =
        proof.iter().flat_map(|proof| &proof.bound).map(|bound| (bound.note.quantity.to_string(), bound)).collect();
    let mut changes = Vec::new();
    for (name, (quantity, on)) in &pages {
        let is_count = matches!(quantity, Quantity::Count { .. });
        // A count is printed in digits or in words.
        let was_printed = printed.get(name).filter(|_| !is_count).map(|bound| bound.note.shown.to_string());
        let then = if proof.is_some() && !is_count { was_printed } else { old.shown(quantity) };
        let now = new.shown(quantity);
        if then == now {
            continue;
        }
        let kind = match quantity {
            Quantity::Direction { .. } | Quantity::Standing { .. } => "direction",
            Quantity::Count { .. } => "count",
            Quantity::Claim(_) | Quantity::Verdict { .. } => "claim",
            _ => "number",
        };
        let causes = match (&then, proof) {
            (None, Some(_)) => vec!["the text did not show it".to_owned()],
            _ if quantity.keys().into_iter().any(is_of_test_side) => {
                let experiments = quantity.experiments();
                let of_openings = experiments.iter().flat_map(|name| comparison.of_evaluations(name));
                let mut causes: Vec<String> = of_openings.map(|(_, cause)| cause).collect();
                causes.extend(comparison.causes_of(&experiments));
                if causes.is_empty() { comparison.causes(&experiments) } else { causes }
            }
            _ => comparison.causes(&quantity.experiments()),
        };
        changes.push(Changed { kind, what: name.clone(), pages: on.iter().copied().collect(), then, now, causes });
    }
    for (name, bound) in printed.iter().filter(|(name, _)| !pages.contains_key(*name)) {
        changes.push(Changed {
            kind: "number",
            what: name.clone(),
            pages: Vec::new(),
            then: Some(bound.note.shown.to_string()),
            now: None,
            causes: vec!["the text does not show it any more".to_owned()],
        });
    }
    changes
}

fn figures(comparison: &Comparison, made: &Made) -> Vec<Changed> {
    let listed: Json = serde_json::from_slice(made.file("figures.json")).unwrap_or_default();
    let listed: Vec<ListedFigure> = serde_json::from_value(listed["figures"].clone()).unwrap_or_default();
    let mut changes = Vec::new();
    for figure in listed {
        let path = format!("{BUILD}/figures/{}", figure.file);
        let sources = comparison.then.proof.as_ref().map(|proof| &proof.sources);
        let before = sources.and_then(|sources| sources.iter().find(|source| source.path == path));
        let names: Vec<&str> = figure.figure.experiments.iter().map(String::as_str).collect();
        let causes = comparison.causes_of(&names);
        let is_same = match (sources, before) {
            (Some(_), Some(before)) => made.files.get(&path).is_some_and(|bytes| Digest::of(bytes) == before.sha256),
            (Some(_), None) => false,
            (None, _) => causes.is_empty(),
        };
        if is_same {
            continue;
        }
        let causes = match (causes.is_empty(), before) {
            (false, _) => causes,
            (true, Some(_)) => vec![ANOTHER_RULE.to_owned()],
            (true, None) => vec!["the paper did not have it".to_owned()],
        };
        changes.push(Changed {
            kind: "figure",
            what: figure.figure.to_string(),
            pages: Vec::new(),
            then: None,
            now: None,
            causes,
        });
    }
    changes
}

fn tables(comparison: &Comparison, made: &Made, was: &Tables, old: &Side, new: &Side) -> Vec<Changed> {
    let was = serde_json::to_value(was).expect("plain data is JSON");
    let is: Json = serde_json::from_slice(made.file("tables.json")).unwrap_or_default();
    let mut changes = Vec::new();
    let of_experiments = is["experiments"].as_object().into_iter().flatten();
    let all = of_experiments.map(|(name, kinds)| (Some(name.as_str()), kinds)).chain([(None, &is["paper"])]);
    for (experiment, kinds) in all {
        for (kind, table) in kinds.as_object().into_iter().flatten() {
            let earlier = match experiment {
                Some(experiment) => &was["experiments"][experiment][kind],
                None => &was["paper"][kind],
            };
            let cells = values_of(table);
            let differ = cells.iter().filter(|cell| old.shown(cell) != new.shown(cell)).count();
            if differ == 0 && earlier == table {
                continue;
            }
            let named: BTreeSet<&str> = cells.iter().flat_map(Quantity::experiments).chain(experiment).collect();
            let what = experiment.map_or_else(|| kind.clone(), |experiment| format!("{kind} of {experiment}"));
            let then = (!earlier.is_null()).then(|| format!("{} rows", rows(earlier)));
            let now = Some(format!("{} rows, {differ} of {} values differ", rows(table), cells.len()));
            let causes = comparison.causes(&named.into_iter().collect::<Vec<_>>());
            changes.push(Changed { kind: "table", what, pages: Vec::new(), then, now, causes });
        }
    }
    changes
}

/// Texts that are shown now and were not, or the other way round, or that are others.
fn samples(comparison: &Comparison, was: &BTreeMap<String, Samples>, is: &BTreeMap<String, Samples>) -> Vec<Changed> {
    let experiments: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let mut changes = Vec::new();
    for name in experiments {
        let [then, now] = [was, is].map(|of| of.get(name).map_or_else(BTreeMap::new, Samples::by_run_and_number));
        let numbers: BTreeSet<_> = then.keys().chain(now.keys()).collect();
        for at in numbers.into_iter().filter(|at| then.get(*at) != now.get(*at)) {
            let (run, number) = at;
            // What became of its own run goes before what became of others, which moved it into view or out of it.
            let (own, others): (Vec<_>, Vec<_>) =
                comparison.of_evaluations(name).into_iter().partition(|(changed, _)| changed == run);
            let causes: Vec<String> =
                if own.is_empty() { others } else { own }.into_iter().map(|(_, cause)| cause).collect();
            changes.push(Changed {
                kind: "sample",
                what: format!("{number} of run {run} of {name}"),
                pages: Vec::new(),
                then: then.get(at).map(|text| beginning(text)),
                now: now.get(at).map(|text| beginning(text)),
                causes: if causes.is_empty() { comparison.causes(&[name]) } else { causes },
            });
        }
    }
    changes
}

fn rows(table: &Json) -> usize {
    table["rows"].as_array().map_or(0, Vec::len)
}

/// The values that a table shows.
fn values_of(table: &Json) -> Vec<Quantity> {
    let value = |cell: &Json| {
        let text = |field: &str| cell[field].as_str().map(str::to_owned);
        let is_value = cell["kind"] == "value";
        is_value.then(|| Some(Quantity::Value { experiment: text("experiment")?, key: text("key")? }))?
    };
    let cells = table["rows"].as_array().into_iter().flatten().filter_map(Json::as_array).flatten();
    cells.filter_map(value).collect()
}

/// What is said where the runs are the same.
const ANOTHER_RULE: &str = "the runs are the same: the rule by which it is computed, or the program, is another";
/// Most keys of a config that a cause names.
const MOST_KEYS: usize = 4;

struct Comparison<'a> {
    before: &'a Families<'a>,
    now: &'a Families<'a>,
    then: &'a Then<'a>,
}

impl Comparison<'_> {
    /// Why something that these experiments decide has changed; without a change of theirs, what else there is.
    fn causes(&self, experiments: &[&str]) -> Vec<String> {
        let own = self.causes_of(experiments);
        if !own.is_empty() {
            return own;
        }
        let names: BTreeSet<&str> = self.before.names().into_iter().chain(self.now.names()).collect();
        let others = self.causes_of(&names.into_iter().collect::<Vec<_>>());
        match others.is_empty() {
            true => vec![ANOTHER_RULE.to_owned()],
            // The tests of a family are corrected together, and a count is of all.
            false => others.into_iter().map(|cause| format!("elsewhere: {cause}")).collect(),
        }
    }

    fn causes_of(&self, experiments: &[&str]) -> Vec<String> {
        let mut causes: Vec<String> = experiments.iter().flat_map(|name| self.of_experiment(name)).collect();
        causes.dedup();
        causes
    }

    fn of_experiment(&self, name: &str) -> Vec<String> {
        match (self.before.entry(name), self.now.entry(name)) {
            (Some(before), Some(now)) => self.of_entries(name, before, now),
            (None, Some(now)) => vec![format!("`{name}` had no run that counts; now it has {}", now.seeds.len())],
            (Some(before), None) => {
                let runs = before.run_ids();
                let dropped = runs.iter().find_map(|run| self.dropped(name, run));
                vec![dropped.unwrap_or_else(|| format!("no run of `{name}` counts any more"))]
            }
            (None, None) => Vec::new(),
        }
    }

    /// Later evaluations of an experiment that are there and were not, or the other way round, each with what that causes.
    fn of_evaluations(&self, name: &str) -> Vec<(String, String)> {
        let of = |families: &Families| -> BTreeMap<String, String> {
            let entry = families.entry(name);
            entry.map_or_else(BTreeMap::new, |entry| entry.evaluations.iter().map(|run| evaluation(run)).collect())
        };
        let (before, now) = (of(self.before), of(self.now));
        let mut causes = Vec::new();
        for (run, what) in before.iter().filter(|(run, _)| !now.contains_key(*run)) {
            let gone = || format!("run {run} of `{name}`, which {what}, is not in the paper any more");
            causes.push((run.clone(), self.dropped(name, run).unwrap_or_else(gone)));
        }
        for (run, what) in now.into_iter().filter(|(run, _)| !before.contains_key(run)) {
            let cause = format!("new run {run} of `{name}`, which {what}");
            causes.push((run, cause));
        }
        causes
    }

    fn dropped(&self, name: &str, run: &str) -> Option<String> {
        self.then.dropped.get(run).map(|because| format!("run {run} of `{name}` was dropped: {because}"))
    }

    fn of_entries(&self, name: &str, before: &Entry, now: &Entry) -> Vec<String> {
        let (old_runs, new_runs) = (before.run_ids(), now.run_ids());
        if old_runs == new_runs {
            return Vec::new();
        }
        let mut causes: Vec<String> =
            old_runs.iter().filter(|run| !new_runs.contains(run)).filter_map(|run| self.dropped(name, run)).collect();
        let roots = [before, now].map(|entry| entry.latest.run.open.data.root);
        if roots[0] != roots[1] {
            causes.push(format!("`{name}` has other data: root {} was {}", roots[1].short(), roots[0].short()));
        }
        let plans = [before, now].map(|entry| entry.latest.run.plan_but_seed());
        if plans[0] != plans[1] {
            causes.push(format!("the plan of `{name}` is another: {}", changed_keys(before, now)));
            return causes;
        }
        let purposes = [before, now].map(|entry| entry.latest.run.open.plan.purpose);
        if purposes[0] != purposes[1] {
            causes.push(format!(
                "runs of `{name}` to {} take the place of those to {}",
                purposes[1].verb(),
                purposes[0].verb()
            ));
            return causes;
        }
        let seed_of = |entry: &Entry, run: &String| {
            let found = entry.seeds.iter().find(|own| own.run.open.run.as_str() == run.as_str());
            found.map(|own| own.run.open.plan.seed)
        };
        for run in new_runs.iter().filter(|run| !old_runs.contains(run)) {
            let Some(seed) = seed_of(now, run) else { continue };
            let replaced = old_runs.iter().find(|old| seed_of(before, old) == Some(seed));
            causes.push(match replaced {
                Some(old) => format!("run {run} of `{name}` repeats seed {seed} of run {old}"),
                None => format!("new seed {seed} of `{name}`: run {run}"),
            });
        }
        if causes.is_empty() {
            causes.push(format!("fewer runs of `{name}` count: {} of {}", new_runs.len(), old_runs.len()));
        }
        causes
    }
}

/// As much of a text as tells it from others on a line of a terminal.
fn beginning(text: &str) -> String {
    const CHARACTERS: usize = 60;
    let first: String = text.chars().take(CHARACTERS).collect();
    if first.len() < text.len() { format!("{first}…") } else { first }
}

/// The id of a later evaluation, and what it did.
fn evaluation(run: &RunAnalysis) -> (String, String) {
    let open = &run.run.open;
    let of = open.evaluates.as_ref().map_or(String::new(), |of| of.run.to_string());
    let what = if run.run.shows_test_side() { "scored the test side with" } else { "keeps samples of" };
    (open.run.to_string(), format!("{what} {of}"))
}

/// What two plans of an experiment have different.
fn changed_keys(before: &Entry, now: &Entry) -> String {
    let keys = |entry: &Entry| -> BTreeMap<String, String> {
        flat(&entry.latest.run.experiment).into_iter().filter(|(key, _)| is_of_the_plan(key) && key != "seed").collect()
    };
    let (old, new) = (keys(before), keys(now));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let none = "none".to_owned();
    let mut differing: Vec<String> = names
        .into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| format!("{key} {} was {}", new.get(key).unwrap_or(&none), old.get(key).unwrap_or(&none)))
        .collect();
    let more = differing.len().saturating_sub(MOST_KEYS);
    differing.truncate(MOST_KEYS);
    if differing.is_empty() {
        differing.push("files that the plan names".to_owned());
    }
    if more > 0 {
        differing.push(format!("and {more} more"));
    }
    differing.join(", ")
}
