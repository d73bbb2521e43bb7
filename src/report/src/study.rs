//! Which runs are compared with which: runs by experiment, and experiments by the ancestor they may be compared
//! with. Two experiments are comparable if they were trained and validated on the same data.

use std::collections::BTreeMap;

use harness_analyse::RunAnalysis;
use harness_core::names::ExperimentName;
use harness_record::select;

/// One experiment as the paper shows it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// The run whose numbers are quoted: the latest that counts.
    pub quoted: &'a RunAnalysis,
    /// All runs, oldest first.
    pub runs: Vec<&'a RunAnalysis>,
    /// Those that count, oldest first: the seeds of one plan.
    counted: Vec<&'a RunAnalysis>,
    /// The nearest comparable ancestor, as an index into the entries.
    pub reference: Option<usize>,
}

impl<'a> Entry<'a> {
    pub fn name(&self) -> &str {
        self.quoted.run.open.experiment.as_str()
    }

    /// The seeds of the quoted run's plan, oldest first; of a seed that was run twice the later run.
    pub fn of_latest_plan(&self) -> Vec<&'a RunAnalysis> {
        self.counted.clone()
    }

    /// How many seeds of the quoted run's plan there are.
    pub fn seeds(&self) -> usize {
        self.of_latest_plan().len()
    }
}

/// All experiments, and the families they form.
#[derive(Debug)]
pub(super) struct Study<'a> {
    /// Sorted by name.
    pub entries: Vec<Entry<'a>>,
    /// Families: a baseline first, then what changes it. Indices into the entries. The largest family first.
    pub families: Vec<Vec<usize>>,
}

impl<'a> Study<'a> {
    pub fn of(analyses: &'a [RunAnalysis]) -> Self {
        let mut by_name: BTreeMap<&str, Vec<&RunAnalysis>> = BTreeMap::new();
        analyses.iter().for_each(|a| by_name.entry(a.run.open.experiment.as_str()).or_default().push(a));
        let mut entries = Vec::new();
        for mut runs in by_name.into_values() {
            runs.sort_by(|a, b| a.run.open.run.cmp(&b.run.open.run));
            let reasons = select::reasons(&runs.iter().map(|run| &run.run).collect::<Vec<_>>());
            let counted = runs.iter().zip(reasons).filter(|(_, why)| why.is_none()).map(|(run, _)| *run);
            let counted: Vec<&RunAnalysis> = counted.collect();
            let quoted = counted.last().copied();
            entries.extend(quoted.map(|quoted| Entry { quoted, runs, counted, reference: None }));
        }
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
        Study { entries, families }
    }

    pub fn names(&self) -> Vec<&str> {
        self.entries.iter().map(Entry::name).collect()
    }

    pub fn entry(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|e| e.name() == name)
    }

    /// The family of an experiment, its baseline first.
    pub fn family_of(&self, name: &str) -> Vec<&Entry<'a>> {
        let holds = |family: &&Vec<usize>| family.iter().any(|i| self.entries[*i].name() == name);
        let family = self.families.iter().find(holds);
        family.map_or_else(Vec::new, |family| family.iter().map(|i| &self.entries[*i]).collect())
    }

    pub fn reference(&self, entry: &Entry<'a>) -> Option<&Entry<'a>> {
        entry.reference.map(|index| &self.entries[index])
    }
}

/// The experiment that had this name when it ran.
fn renamed(entries: &[Entry], name: &ExperimentName) -> Option<usize> {
    entries.iter().position(|e| e.runs.iter().any(|run| run.run.renamed_from.as_ref() == Some(name)))
}

fn reference_of(entries: &[Entry], index: usize) -> Option<usize> {
    let data_root = &entries[index].quoted.run.open.data.root;
    let mut seen = vec![index];
    let mut at = index;
    loop {
        let parent = entries[at].quoted.run.experiment.extends.as_ref()?;
        at = entries.iter().position(|e| e.name() == parent.as_str()).or_else(|| renamed(entries, parent))?;
        if seen.contains(&at) {
            return None;
        }
        seen.push(at);
        if &entries[at].quoted.run.open.data.root == data_root {
            return Some(at);
        }
    }
}
