//! Which runs are compared with which: runs by experiment, and experiments by the ancestor they may be compared
//! with. Two experiments are comparable if they were validated on the same text, so that a change of the training data or of the
//! tokenizer is a change like any other.
//!
//! One rule for every number of the paper: it is the mean over the seeds of the latest plan.

use std::collections::BTreeMap;

use harness_analyse::{RunAnalysis, Value};
use harness_core::names::ExperimentName;
use harness_record::format::Evaluated;
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
    /// The runs that keep texts of one that counts, oldest first.
    pub samples: Vec<&'a RunAnalysis>,
    /// The nearest comparable ancestor, as an index into the entries.
    pub reference: Option<usize>,
    /// The numbers that the paper quotes: means over the seeds.
    pub values: BTreeMap<String, Value>,
}

impl<'a> Entry<'a> {
    /// None if no run counts.
    fn of(mut runs: Vec<&'a RunAnalysis>) -> Option<Self> {
        runs.sort_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
        let (mut samples, runs): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.run.open.evaluates.is_some());
        let reasons = select::reasons(&runs.iter().map(|run| &run.run).collect::<Vec<_>>());
        let counted = runs.iter().zip(reasons).filter(|(_, why)| why.is_none());
        let seeds: Vec<&RunAnalysis> = counted.map(|(run, _)| *run).collect();
        let latest = *seeds.last()?;
        let values = means(&seeds);
        let counts = |of: &Evaluated| seeds.iter().any(|seed| seed.run.open.run == of.run);
        samples.retain(|run| run.run.shows_samples() && run.run.open.evaluates.as_ref().is_some_and(counts));
        Some(Entry { latest, seeds, runs, samples, reference: None, values })
    }

    pub(crate) fn name(&self) -> &str {
        self.latest.run.open.experiment.as_str()
    }

    /// All that the paper lists, oldest first.
    pub(crate) fn listed(&self) -> Vec<&'a RunAnalysis> {
        let mut listed: Vec<&RunAnalysis> = self.runs.iter().chain(&self.samples).copied().collect();
        listed.sort_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
        listed
    }

    /// Ids of the runs that its numbers rest on.
    pub(crate) fn run_ids(&self) -> Vec<String> {
        self.seeds.iter().map(|run| run.run.open.run.to_string()).collect()
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

/// The values that all seeds have, as means. A setting that differs between seeds, as the seed does, is no value.
fn means(seeds: &[&RunAnalysis]) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (key, first) in &seeds[0].values {
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
    use super::*;

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
