//! Which runs are compared with which: runs by experiment, and experiments by the ancestor they may be compared
//! with. Two experiments are comparable if they were validated on the same text, so that a change of the training data or of the
//! tokenizer is a change like any other.
//!
//! One rule for every number of the paper: it is the mean over the seeds of the latest plan; of the test side, over the seeds of that
//! plan that were tested.

use std::collections::BTreeMap;

use harness_analyse::{RunAnalysis, Value};
use harness_core::names::ExperimentName;
use harness_core::task_kind::TEST_SIDE;
use harness_record::format::{Evaluated, Purpose};
use harness_record::select;

/// One experiment as the paper shows it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// The latest run that counts. What is no number, such as the machine, is quoted from it.
    pub latest: &'a RunAnalysis,
    /// The runs that count, oldest first: the seeds of one plan.
    pub seeds: Vec<&'a RunAnalysis>,
    /// All runs that trained, oldest first.
    pub runs: Vec<&'a RunAnalysis>,
    /// Later evaluations: runs that keep texts of one that counts, or scored the test side with one. Oldest first.
    pub evaluations: Vec<&'a RunAnalysis>,
    /// For each seed of the plan the first run that scored the test side after the last step, oldest first. A test side answers once:
    /// what came of it stays, also where a later run takes the place of the one that was tested.
    pub tested: Vec<&'a RunAnalysis>,
    /// The nearest comparable ancestor, as an index into the entries.
    pub reference: Option<usize>,
    /// The numbers that the paper quotes: means over the seeds, and of the test side over those that were tested.
    pub values: BTreeMap<String, Value>,
}

impl<'a> Entry<'a> {
    /// None if no run counts.
    fn of(mut runs: Vec<&'a RunAnalysis>) -> Option<Self> {
        runs.sort_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
        let (mut evaluations, runs): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|run| run.run.open.evaluates.is_some());
        let reasons = select::reasons(&runs.iter().map(|run| &run.run).collect::<Vec<_>>());
        let counted = runs.iter().zip(reasons).filter(|(_, why)| why.is_none());
        let seeds: Vec<&RunAnalysis> = counted.map(|(run, _)| *run).collect();
        let latest = *seeds.last()?;
        let is_among = |all: &[&RunAnalysis], of: &Evaluated| all.iter().any(|run| run.run.open.run == of.run);
        evaluations.retain(|run| {
            let of = run.run.open.evaluates.as_ref().expect("it was chosen for that");
            run.run.shows_samples() && is_among(&seeds, of) || run.run.shows_test_side() && is_among(&runs, of)
        });
        let tested = first_openings(latest, &runs, &evaluations);
        let mut values = means(&seeds);
        values.extend(means(&tested).into_iter().filter(|(key, _)| is_of_test_side(key)));
        Some(Entry { latest, seeds, runs, evaluations, tested, reference: None, values })
    }

    pub(crate) fn name(&self) -> &str {
        self.latest.run.open.experiment.as_str()
    }

    /// All that the paper lists, oldest first.
    pub(crate) fn listed(&self) -> Vec<&'a RunAnalysis> {
        let mut listed: Vec<&RunAnalysis> = self.runs.iter().chain(&self.evaluations).copied().collect();
        listed.sort_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
        listed
    }

    /// The runs that keep texts, oldest first.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &'a RunAnalysis> {
        self.evaluations.iter().copied().filter(|run| run.run.shows_samples())
    }

    /// Ids of the runs that its numbers rest on, but for those of the test side.
    pub(crate) fn run_ids(&self) -> Vec<String> {
        ids(&self.seeds)
    }

    /// The runs that one of its numbers rests on, oldest first.
    pub(crate) fn runs_of(&self, key: &str) -> &[&'a RunAnalysis] {
        if is_of_test_side(key) { &self.tested } else { &self.seeds }
    }

    /// Their ids.
    pub(crate) fn runs_behind(&self, key: &str) -> Vec<String> {
        ids(self.runs_of(key))
    }

    /// Seeds of its runs, sorted.
    pub(crate) fn seed_numbers(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.seeds.iter().map(|run| run.run.open.plan.seed).collect();
        seeds.sort_unstable();
        seeds
    }

    /// Whether it reads the same corpus, with the same tokenizer.
    pub(crate) fn has_data_of(&self, other: &Entry) -> bool {
        self.latest.run.open.data.root == other.latest.run.open.data.root
    }

    /// Whether the documents that it is validated on are the same.
    pub(crate) fn has_held_out_text_of(&self, other: &Entry) -> bool {
        self.has_data_of(other) || self.latest.run.corpus.has_validation_text_of(&other.latest.run.corpus)
    }

    pub(crate) fn has_hypothesis(&self) -> bool {
        !self.latest.run.experiment.hypothesis.trim().is_empty()
    }

    /// How many runs there were before the hypothesis had the words that it has now: zero if it was stated before all.
    pub(crate) fn runs_before_hypothesis(&self) -> usize {
        let words = |run: &RunAnalysis| run.run.experiment.hypothesis.trim().to_owned();
        let now = words(self.latest);
        self.runs.iter().rposition(|run| words(run) != now).map_or(0, |last| last + 1)
    }
}

fn ids(runs: &[&RunAnalysis]) -> Vec<String> {
    runs.iter().map(|run| run.run.open.run.to_string()).collect()
}

/// What is said of the test side first.
pub(crate) const TEST_BITS: &str = "tasks.test-side.bits_per_byte";

/// Whether a value was measured on the test side.
pub(crate) fn is_of_test_side(key: &str) -> bool {
    key.strip_prefix("tasks.").and_then(|rest| rest.strip_prefix(TEST_SIDE)).is_some_and(|rest| rest.starts_with('.'))
}

/// The runs that scored the test side first for each seed of the plan of `latest`, with the weights that all other numbers are of.
fn first_openings<'a>(
    latest: &RunAnalysis,
    runs: &[&RunAnalysis],
    evaluations: &[&'a RunAnalysis],
) -> Vec<&'a RunAnalysis> {
    let plan = latest.run.plan_but_seed();
    let of_plan = |run: &RunAnalysis| {
        // What a value was chosen by is no evidence for it.
        run.run.is_citable() && run.run.open.plan.purpose != Purpose::Tune && run.run.plan_but_seed() == plan
    };
    let scores_its_end = |of: &Evaluated| {
        let trained = runs.iter().find(|run| run.run.open.run == of.run).filter(|run| of_plan(run));
        let last = trained.and_then(|run| run.run.record.evaluations.last()).map(|evaluation| evaluation.step);
        last.is_some() && of.checkpoints.last().map(|checkpoint| checkpoint.step) == last
    };
    let mut first = BTreeMap::new();
    for run in evaluations.iter().filter(|run| run.run.shows_test_side()) {
        if run.run.open.evaluates.as_ref().is_some_and(scores_its_end) {
            first.entry(run.run.open.plan.seed).or_insert(*run);
        }
    }
    let mut first: Vec<&RunAnalysis> = first.into_values().collect();
    first.sort_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
    first
}

/// The values that all seeds have, as means. A setting that differs between seeds, as the seed does, is no value.
fn means(seeds: &[&RunAnalysis]) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (key, first) in seeds.first().map(|run| &run.values).into_iter().flatten() {
        let Some(all) = seeds.iter().map(|run| run.values.get(key)).collect::<Option<Vec<&Value>>>() else { continue };
        let differs = all.iter().any(|value| value.number != first.number);
        if !all.iter().all(|value| value.number.is_finite()) || key.starts_with("config.") && differs {
            continue;
        }
        let (number, standard_error) =
            over_seeds(&all.iter().map(|value| (value.number, value.standard_error)).collect::<Vec<_>>());
        values.insert(key.clone(), Value { number, standard_error, ..first.clone() });
    }
    values
}

/// The mean over seeds with its standard error. Seeds are scored on the same documents and items, so the error that
/// comes from those does not shrink with their number; the error between seeds does.
pub(crate) fn over_seeds(seeds: &[(f64, Option<f64>)]) -> (f64, Option<f64>) {
    let n = seeds.len() as f64;
    let mean = seeds.iter().map(|(number, _)| number).sum::<f64>() / n;
    let errors: Option<Vec<f64>> = seeds.iter().map(|(_, error)| *error).collect();
    let of_units = errors.map(|errors| errors.iter().sum::<f64>() / n);
    let of_seeds = (seeds.len() > 1).then(|| {
        libm::sqrt(seeds.iter().map(|(number, _)| (number - mean) * (number - mean)).sum::<f64>() / (n - 1.0) / n)
    });
    let error = match (of_units, of_seeds) {
        (Some(units), Some(seeds)) => Some(libm::hypot(units, seeds)),
        (one, other) => one.or(other),
    };
    (if seeds.len() == 1 { seeds[0].0 } else { mean }, error)
}

/// All experiments, and the families they form.
#[derive(Debug)]
pub(super) struct Families<'a> {
    /// Sorted by name.
    pub entries: Vec<Entry<'a>>,
    /// A baseline first, then what changes it. Indices into the entries. The largest family first.
    pub families: Vec<Vec<usize>>,
}

impl<'a> Families<'a> {
    pub(crate) fn of(analyses: &'a [RunAnalysis]) -> Self {
        let mut by_name: BTreeMap<&str, Vec<&RunAnalysis>> = BTreeMap::new();
        analyses.iter().for_each(|a| by_name.entry(a.run.open.experiment.as_str()).or_default().push(a));
        let mut entries: Vec<Entry> = by_name.into_values().filter_map(Entry::of).collect();
        let references: Vec<Option<usize>> = (0..entries.len()).map(|i| reference_of(&entries, i)).collect();
        for (entry, reference) in entries.iter_mut().zip(&references) {
            entry.reference = *reference;
        }
        let mut families: Vec<Vec<usize>> = Vec::new();
        for root in (0..entries.len()).filter(|i| references[*i].is_none()) {
            let depth_below = |mut index: usize| {
                let mut depth = 0;
                while index != root {
                    index = references[index]?;
                    depth += 1;
                }
                Some(depth)
            };
            let mut members: Vec<(usize, usize)> =
                (0..entries.len()).filter_map(|i| depth_below(i).map(|depth| (depth, i))).collect();
            members.sort_unstable();
            families.push(members.into_iter().map(|(_, i)| i).collect());
        }
        families.sort_by_key(|family| (std::cmp::Reverse(family.len()), family[0]));
        Families { entries, families }
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.entries.iter().map(Entry::name).collect()
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|e| e.name() == name)
    }

    /// The family of an experiment, its baseline first.
    pub(crate) fn family_of(&self, name: &str) -> Vec<&Entry<'a>> {
        let holds = |family: &&Vec<usize>| family.iter().any(|i| self.entries[*i].name() == name);
        let family = self.families.iter().find(holds);
        family.map_or_else(Vec::new, |family| family.iter().map(|i| &self.entries[*i]).collect())
    }

    pub(crate) fn reference(&self, entry: &Entry<'a>) -> Option<&Entry<'a>> {
        entry.reference.map(|index| &self.entries[index])
    }
}

/// The experiment that had this name when it ran.
fn renamed(entries: &[Entry], name: &ExperimentName) -> Option<usize> {
    entries.iter().position(|e| e.runs.iter().any(|run| run.run.renamed_from.as_ref() == Some(name)))
}

fn reference_of(entries: &[Entry], index: usize) -> Option<usize> {
    let mut seen = vec![index];
    let mut at = index;
    loop {
        let parent = entries[at].latest.run.experiment.extends.as_ref()?;
        at = entries.iter().position(|e| e.name() == parent.as_str()).or_else(|| renamed(entries, parent))?;
        if seen.contains(&at) {
            return None;
        }
        seen.push(at);
        if entries[at].has_held_out_text_of(&entries[index]) {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use harness_core::Digest;
    use harness_core::names::Project;
    use harness_record::format::EvaluatedCheckpoint;

    use super::*;
    use crate::fixture::{analysis, demo};

    /// A run that scores the test side with the weights of `trained` after a step.
    fn opening(trained: &RunAnalysis, run: &str, step: u64, bits: f64) -> RunAnalysis {
        let mut opening = trained.clone();
        let weights = EvaluatedCheckpoint {
            step,
            checkpoint_sha256: Digest::of(b"checkpoint"),
            weights_sha256: Digest::of(b"weights"),
        };
        let (of, root) = (trained.run.open.run.clone(), trained.run.root);
        opening.run.open.evaluates = Some(Evaluated { run: of, root, checkpoints: vec![weights] });
        opening.run.open.run = run.parse().unwrap();
        TEST_SIDE.clone_into(&mut opening.run.open.tasks[0].id);
        let value = trained.values["validation.bits_per_byte"].clone();
        let value = Value { key: TEST_BITS.to_owned(), number: bits, ..value };
        opening.values = BTreeMap::from([(TEST_BITS.to_owned(), value)]);
        opening
    }

    #[test]
    fn a_test_side_answers_once_for_each_seed_of_the_plan() {
        let folder = tempfile::tempdir().unwrap();
        let one = analysis(&Project::at(folder.path()), &demo()[0]);
        let trained = |run: &str, seed: u64, purpose: Purpose| {
            let mut trained = one.clone();
            trained.run.open.run = run.parse().unwrap();
            (trained.run.open.plan.seed, trained.run.open.plan.purpose) = (seed, purpose);
            trained
        };
        let last = one.run.record.evaluations.last().unwrap().step;
        let confirms = trained("20261123T080000Z-00000001", 1, Purpose::Confirm);
        let tuned = trained("20261123T080100Z-00000002", 2, Purpose::Tune);
        let [again, other] = [(3, 1), (4, 5)]
            .map(|(at, seed)| trained(&format!("20261123T08020{at}Z-0000000{at}"), seed, Purpose::Final));
        let mut dirty = opening(&other, "20261123T100600Z-0000001a", last, 9.0);
        dirty.run.open.not_citable_because = Some("a dirty tree".to_owned());
        let analyses = [
            confirms.clone(),
            tuned.clone(),
            again.clone(),
            other.clone(),
            opening(&confirms, "20261123T100000Z-00000011", last, 1.0),
            opening(&again, "20261123T100100Z-00000012", last, 0.5),
            opening(&tuned, "20261123T100200Z-00000013", last, 0.5),
            opening(&other, "20261123T100300Z-00000014", last - 1, 0.5),
            dirty,
            opening(&other, "20261123T100700Z-0000001b", last, 2.0),
        ];
        let families = Families::of(&analyses);
        let entry = families.entry("baseline").unwrap();
        let counted = ["20261123T080203Z-00000003", "20261123T080204Z-00000004"];
        assert_eq!(entry.run_ids(), counted, "runs to report go before one to confirm");
        let first = ["20261123T100000Z-00000011", "20261123T100700Z-0000001b"];
        assert_eq!(entry.runs_behind(TEST_BITS), first, "of seed 1 the opening stays that there was");
        assert_eq!((entry.values[TEST_BITS].number, entry.evaluations.len()), (1.5, 5));
        assert_eq!(entry.runs_behind("validation.bits_per_byte"), counted);
        assert!(!Families::of(&analyses[..4]).entry("baseline").unwrap().values.contains_key(TEST_BITS));
    }

    #[test]
    fn the_error_of_the_items_stays_and_that_of_the_seeds_shrinks() {
        assert_eq!(over_seeds(&[(0.3, Some(0.1))]), (0.3, Some(0.1)));
        assert_eq!(over_seeds(&[(0.3, None)]), (0.3, None));
        let (mean, error) = over_seeds(&[(1.0, Some(0.4)), (2.0, Some(0.2))]);
        // sd 0.7071 of two seeds, over the square root of 2: 0.5; sqrt(0.5^2 + 0.3^2) = 0.58310.
        assert_eq!(mean, 1.5);
        assert!((error.unwrap() - 0.583_095_189_484_530_1).abs() < 1e-15);
        assert_eq!(over_seeds(&[(1.0, None), (2.0, None)]), (1.5, Some(0.5)));
    }
}
