//! Contamination: training documents that hold an item of a validation task.
//!
//! As in GPT-3 (Brown et al. 2020, Language Models are Few-Shot Learners, appendix C): a document that shares an
//! n-gram of 13 words with an item is contaminated. An item of fewer words, but at least eight, has to occur whole;
//! a shorter one cannot be told from common phrases and is not looked for, but counted. What is compared is the context
//! of an item joined with each of its choices, in the words of its record: those of the recipe's templates ("Question:",
//! "Answer:") stand in no text. Words are those of [`crate::text::words`]: composed, and characters where a script has no
//! blanks.

use crate::item::Item;
use crate::recipe::Decontaminate;
use harness_core::corpus_manifest::TaskContamination;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;

use crate::text::{ngram, words};

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
    pub(crate) fn new(rule: &Decontaminate, tasks: &[(String, Vec<Item>)]) -> Self {
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
    pub(crate) fn search(&mut self, documents: &[String]) {
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

    pub(crate) fn finish(mut self) -> Contamination {
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

    /// The same question in form D in the task and in form C in the text, and one without blanks.
    #[test]
    fn forms_of_characters_and_scripts_without_blanks_do_not_hide_items() {
        let chinese =
            "\u{6211}\u{4eec}\u{660e}\u{5929}\u{53bb}\u{56fe}\u{4e66}\u{9986}\u{770b}\u{4e66}\u{597d}\u{5417}\u{ff1f}";
        let accents = "le cafe\u{301} de l\u{e9}a a e\u{301}te\u{301} ferme\u{301} hier";
        let tasks = [(
            "a".to_owned(),
            vec![item(chinese, &["\u{597d}"]), item("", &[accents]), item("", &["\u{4f60}\u{597d}"])],
        )];
        let mut ngrams = TaskNgrams::new(&Decontaminate::default(), &tasks);
        ngrams.search(&[
            "\u{4ed6}\u{8bf4}\u{300c}\u{6211}\u{4eec}\u{660e}\u{5929}\u{53bb}\u{56fe}\u{4e66}\u{9986}\u{770b}\u{4e66}\u{597d}\u{5417}\u{ff1f}\u{597d}\u{300d}".to_owned(),
            "Le caf\u{e9} de L\u{e9}a a \u{e9}t\u{e9} ferm\u{e9} hier.".to_owned(),
        ]);
        let found = ngrams.finish();
        assert_eq!((found.tasks[0].items_found, found.tasks[0].items_too_short), (2, 1));
        assert_eq!(found.documents.keys().copied().collect::<Vec<_>>(), [0, 1]);
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
