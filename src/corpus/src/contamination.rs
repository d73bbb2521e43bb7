//! Contamination: training documents that hold an item of a validation task.
//!
//! As in GPT-3 (Brown et al. 2020, Language Models are Few-Shot Learners, appendix C): a document that shares an
//! n-gram of 13 words with an item is contaminated. An item of fewer words, but at least eight, has to occur whole;
//! a shorter one cannot be told from common phrases and is not looked for. What is compared is the context of an
//! item joined with each of its choices.

use harness_core::corpus_manifest::TaskContamination;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::tasks::Item;
use crate::words::{ngram, words};

/// The tasks that must not be in a corpus, and what is done about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decontaminate {
    /// Task recipes.
    pub tasks: Vec<String>,
    /// Words of an n-gram.
    #[serde(default = "default_words")]
    pub words: u32,
    /// Fewest words of an item that is looked for.
    #[serde(default = "default_least")]
    pub words_at_least: u32,
    /// What is done with a document that holds an item.
    #[serde(default)]
    pub action: ContaminationAction,
}

impl Default for Decontaminate {
    fn default() -> Self {
        Decontaminate {
            tasks: Vec::new(),
            words: default_words(),
            words_at_least: default_least(),
            action: ContaminationAction::default(),
        }
    }
}

fn default_words() -> u32 {
    13
}

fn default_least() -> u32 {
    8
}

/// What is done with a document that holds an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContaminationAction {
    /// It is left out.
    #[default]
    LeaveOut,
    /// It is counted and kept.
    Report,
}

/// What was found of all tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contamination {
    pub tasks: Vec<TaskContamination>,
    /// The place of each document that holds an item, and the task of the first one.
    pub documents: BTreeMap<usize, usize>,
}

/// The n-grams of tasks.
pub(crate) struct TaskNgrams {
    /// For each length, the items of each n-gram as (task, item).
    of_length: BTreeMap<usize, HashMap<u64, Vec<(usize, u64)>>>,
    tasks: Vec<TaskContamination>,
    found: Vec<BTreeSet<u64>>,
    documents: BTreeMap<usize, usize>,
    /// Documents searched so far.
    searched: usize,
}

impl TaskNgrams {
    pub fn new(rule: &Decontaminate, tasks: &[(String, Vec<Item>)]) -> Self {
        let mut ngrams = TaskNgrams {
            of_length: BTreeMap::new(),
            tasks: Vec::new(),
            found: vec![BTreeSet::new(); tasks.len()],
            documents: BTreeMap::new(),
            searched: 0,
        };
        for (at, (name, items)) in tasks.iter().enumerate() {
            let mut count = TaskContamination { task: name.clone(), items: items.len() as u64, ..Default::default() };
            for (index, item) in items.iter().enumerate() {
                let texts = item.texts().map(|text| words(&text));
                let long: Vec<Vec<u64>> = texts.filter(|words| words.len() >= rule.words_at_least as usize).collect();
                count.items_too_short += u64::from(long.is_empty());
                for words in long {
                    let length = words.len().min(rule.words as usize);
                    let of_length = ngrams.of_length.entry(length).or_default();
                    for window in words.windows(length) {
                        let places = of_length.entry(ngram(window)).or_default();
                        if places.last() != Some(&(at, index as u64)) {
                            places.push((at, index as u64));
                        }
                    }
                }
            }
            ngrams.tasks.push(count);
        }
        ngrams
    }

    /// Looks through the next documents, on all threads.
    pub fn search(&mut self, documents: &[String]) {
        let search = |text: &String| {
            let words = words(text);
            let mut found = BTreeSet::new();
            for (&length, of_length) in &self.of_length {
                found.extend(
                    words.windows(length).filter_map(|window| of_length.get(&ngram(window))).flatten().copied(),
                );
            }
            found
        };
        let found: Vec<BTreeSet<(usize, u64)>> = documents.par_iter().map(search).collect();
        for items in found {
            let place = self.searched;
            self.searched += 1;
            let tasks: BTreeSet<usize> = items.iter().map(|(task, _)| *task).collect();
            tasks.iter().for_each(|&task| self.tasks[task].documents += 1);
            if let Some(&first) = tasks.first() {
                self.documents.insert(place, first);
            }
            for (task, item) in items {
                self.found[task].insert(item);
            }
        }
    }

    pub fn finish(mut self) -> Contamination {
        for (count, found) in self.tasks.iter_mut().zip(self.found) {
            count.items_found = found.len() as u64;
            count.examples = found.into_iter().take(10).collect();
        }
        Contamination { tasks: self.tasks, documents: self.documents }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(context: &str, choices: &[&str]) -> Item {
        Item {
            context: context.to_owned(),
            choices: choices.iter().map(|&c| c.to_owned()).collect(),
            ..Item::default()
        }
    }

    #[test]
    fn items_are_found_by_their_words() {
        let thirteen = "one two three four five six seven eight nine ten eleven twelve";
        let tasks = [
            ("long".to_owned(), vec![item(thirteen, &["thirteen fourteen", "other"]), item("a b", &["c"])]),
            ("short".to_owned(), vec![item("", &["The quick brown fox jumps over the lazy dog."])]),
        ];
        let rule = Decontaminate { tasks: Vec::new(), words: 13, words_at_least: 8, action: Default::default() };
        let mut ngrams = TaskNgrams::new(&rule, &tasks);
        ngrams.search(&[
            "nothing of the kind".to_owned(),
            format!("X {} Thirteen!", thirteen.to_uppercase()),
            "two three four five six seven eight nine ten eleven twelve thirteen".to_owned(),
            "Then the QUICK brown fox -- jumps over the lazy dog, again; a b c".to_owned(),
        ]);
        let found = ngrams.finish();
        assert_eq!(found.documents, BTreeMap::from([(1, 0), (3, 1)]));
        let long = &found.tasks[0];
        assert_eq!((long.items, long.items_too_short, long.items_found, long.documents), (2, 1, 1, 1));
        assert_eq!((found.tasks[1].items_found, &found.tasks[1].examples), (1, &vec![0]));
    }
}
