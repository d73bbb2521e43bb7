//! Items made of words that the recipe lists, so that they work for any language, corpus and tokenizer: what has to be
//! found is in the context, and the wrong choices are there too, so that frequency alone does not help.
//!
//! Copying and induction after Olsson et al. 2022, In-context Learning and Induction Heads; agreement across nouns of the
//! other number after Linzen, Dupoux and Goldberg 2016, Assessing the Ability of LSTMs; recall of pairs after Arora et
//! al. 2023, Zoology.

use std::collections::HashSet;

use harness_core::random::{Purpose, Random, seed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::item::{Item, ItemsError};
use harness_core::task_kind::Kind;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PatternKind {
    /// A list of words begins again, two words or more: which comes next?
    Copying,
    /// One word of a list comes again: which came after it?
    Induction,
    /// Sentences give each key a value; one key comes again: which was its value?
    KeyValueRecall,
    /// A noun, then phrases whose nouns have the other number: which form has the verb?
    AgreementAtDistance,
}

/// Items of one pattern: the same for the same seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// What is asked.
    pub kind: PatternKind,
    /// The generator's seed.
    pub seed: u64,
    /// How many items.
    pub items: u64,
    /// Words of the list, pairs, or phrases between noun and verb.
    pub length: u32,
    /// Choices of an item, the right one counted.
    #[serde(default = "two")]
    pub choices: u32,
    /// The words of lists; the values of pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// The keys of pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// What stands between key and value (the first alone), or before each noun after the first, such as `near the`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// What stands before the first noun.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub opening: String,
    /// Nouns: singular and plural.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nouns: Vec<[String; 2]>,
    /// Verbs: as they follow a singular and a plural.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<[String; 2]>,
}

fn two() -> u32 {
    2
}

impl Pattern {
    /// The field that is wrong, and what is wrong with it, if something is.
    pub(super) fn problem(&self, kind: Kind) -> Option<(&'static str, String)> {
        let of_list = matches!(self.kind, PatternKind::Copying | PatternKind::Induction);
        let pairs = self.kind == PatternKind::KeyValueRecall;
        let agreement = self.kind == PatternKind::AgreementAtDistance;
        let least = match self.kind {
            PatternKind::Copying => 4,
            PatternKind::AgreementAtDistance => 1,
            PatternKind::Induction | PatternKind::KeyValueRecall => 3,
        };
        let too_few = |what: &str, have: usize, need: usize| format!("{have} {what} are too few: it takes {need}");
        let needed = self.length as usize;
        let taken = [
            ("words", self.words.is_empty(), of_list || pairs),
            ("keys", self.keys.is_empty(), pairs),
            ("links", self.links.is_empty(), pairs || agreement),
            ("nouns", self.nouns.is_empty(), agreement),
            ("verbs", self.verbs.is_empty(), agreement),
            ("opening", self.opening.is_empty(), agreement),
        ];
        if let Some((field, absent, _)) = taken.into_iter().find(|(_, absent, needed)| *absent == *needed) {
            let problem = if absent { "is needed for this pattern" } else { "has no use in this pattern" };
            return Some((field, problem.to_owned()));
        }
        let repeated = |list: &[String]| list.iter().collect::<HashSet<_>>().len() < list.len();
        let kinds: &[Kind] = if agreement { &[Kind::MultipleChoice] } else { &[Kind::MultipleChoice, Kind::LastWord] };
        Some(match () {
            () if !kinds.contains(&kind) => {
                ("kind", "fits tasks of the kind `multiple_choice` (and but for agreement `last_word`)".to_owned())
            }
            () if self.items == 0 => ("items", "must be at least 1".to_owned()),
            () if self.length < least => ("length", format!("must be at least {least}")),
            () if agreement && self.choices != 2 => ("choices", "a verb has two forms".to_owned()),
            () if self.choices < 2 || (!agreement && self.choices > self.length) => {
                ("choices", format!("must be from 2 to the length, {}: they all stand in the context", self.length))
            }
            () if !agreement && self.words.len() < needed => ("words", too_few("words", self.words.len(), needed)),
            () if pairs && self.keys.len() < needed => ("keys", too_few("keys", self.keys.len(), needed)),
            () if agreement && self.nouns.len() <= needed => ("nouns", too_few("nouns", self.nouns.len(), needed + 1)),
            () if repeated(&self.words) => ("words", "a word is listed twice".to_owned()),
            () if repeated(&self.keys) => ("keys", "a key is listed twice".to_owned()),
            () => return None,
        })
    }

    /// Different items, as many as asked for.
    pub(super) fn make(&self, id: &str) -> Result<Vec<Item>, ItemsError> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for attempt in 0..self.items.saturating_mul(20) {
            if found.len() as u64 == self.items {
                break;
            }
            let item = self.item(&mut Random::new(seed(self.seed, attempt, Purpose::Generation)));
            if seen.insert(item.clone()) {
                found.push(item);
            }
        }
        if (found.len() as u64) < self.items {
            let problem = format!("its words give only about {} different items", found.len());
            return Err(ItemsError { id: id.to_owned(), record: found.len() + 1, problem });
        }
        Ok(found)
    }

    fn item(&self, random: &mut Random) -> Item {
        let length = self.length as usize;
        match self.kind {
            PatternKind::Copying | PatternKind::Induction => {
                let list = drawn(&self.words, length, random);
                let copying = self.kind == PatternKind::Copying;
                // What has come again: two words of the list or more, or one.
                let (from, to) = if copying {
                    (0, 2 + random.below(length as u64 - 2) as usize)
                } else {
                    let at = random.below(length as u64 - 1) as usize;
                    (at, at + 1)
                };
                let context: Vec<&str> = list.iter().chain(&list[from..to]).map(|word| word.as_str()).collect();
                self.chosen(context.join(" "), list[to], &list, random)
            }
            PatternKind::KeyValueRecall => {
                let (keys, values) = (drawn(&self.keys, length, random), drawn(&self.words, length, random));
                let link = &self.links[0];
                let told = keys.iter().zip(&values).map(|(key, value)| format!("{key} {link} {value}."));
                let asked = random.below(length as u64) as usize;
                let context = format!("{} {} {link}", told.collect::<Vec<_>>().join(" "), keys[asked]);
                self.chosen(context, values[asked], &values, random)
            }
            PatternKind::AgreementAtDistance => {
                let nouns = drawn(&self.nouns, length + 1, random);
                let number = random.below(2) as usize;
                let mut context = format!("{} {}", self.opening, nouns[0][number]);
                for noun in &nouns[1..] {
                    let link = &self.links[random.below(self.links.len() as u64) as usize];
                    context = format!("{context} {link} {}", noun[1 - number]);
                }
                let verb = &self.verbs[random.below(self.verbs.len() as u64) as usize];
                Item { context, choices: verb.to_vec(), gold: number, ..Item::default() }
            }
        }
    }

    /// The right word among others of the context, at a place drawn by chance.
    fn chosen(&self, context: String, right: &str, present: &[&String], random: &mut Random) -> Item {
        let others: Vec<&String> = present.iter().copied().filter(|word| *word != right).collect();
        let mut choices: Vec<String> =
            drawn(&others, self.choices as usize - 1, random).into_iter().map(|word| (*word).clone()).collect();
        let gold = random.below(u64::from(self.choices)) as usize;
        choices.insert(gold, right.to_owned());
        Item { context, choices, gold, ..Item::default() }
    }
}

/// `count` different elements in an order drawn by chance.
fn drawn<'a, T>(from: &'a [T], count: usize, random: &mut Random) -> Vec<&'a T> {
    let mut left: Vec<&T> = from.iter().collect();
    (0..count).map(|_| left.swap_remove(random.below(left.len() as u64) as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(kind: PatternKind) -> Pattern {
        let list = |prefix: &str| (0..12).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
        let agreement = kind == PatternKind::AgreementAtDistance;
        let pairs = kind == PatternKind::KeyValueRecall;
        let both = |stem: &str| (0..8).map(|n| [format!("{stem}{n}"), format!("{stem}{n}s")]).collect::<Vec<_>>();
        Pattern {
            kind,
            seed: 1,
            items: 200,
            length: if agreement { 3 } else { 6 },
            choices: if agreement { 2 } else { 4 },
            words: if agreement { vec![] } else { list("w") },
            keys: if pairs { list("k") } else { vec![] },
            links: if pairs || agreement { vec!["is".into()] } else { vec![] },
            opening: if agreement { "The".into() } else { String::new() },
            nouns: if agreement { both("n") } else { vec![] },
            verbs: if agreement { vec![["is".into(), "are".into()]] } else { vec![] },
        }
    }

    #[test]
    fn the_right_choice_follows_from_the_context() {
        for kind in [PatternKind::Copying, PatternKind::Induction] {
            for item in pattern(kind).make("x").unwrap() {
                let words: Vec<&str> = item.context.split(' ').collect();
                let (list, again) = words.split_at(6);
                let at = list.iter().position(|word| word == again.last().unwrap()).unwrap();
                assert_eq!(item.choices[item.gold], list[at + 1], "{item:?}");
                assert!(if kind == PatternKind::Induction { again.len() == 1 } else { again.len() >= 2 });
                assert!(item.choices.iter().all(|choice| list.contains(&choice.as_str())));
            }
        }
        for item in pattern(PatternKind::KeyValueRecall).make("x").unwrap() {
            let key = item.context.rsplit(". ").next().unwrap();
            let told = format!("{key} {}.", item.choices[item.gold]);
            assert!(item.context.contains(&told), "{item:?}");
        }
        for item in pattern(PatternKind::AgreementAtDistance).make("x").unwrap() {
            let nouns: Vec<&str> = item.context.split(' ').filter(|word| word.starts_with('n')).collect();
            assert_eq!(nouns.len(), 4);
            assert_eq!(nouns[0].ends_with('s'), item.gold == 1, "{item:?}");
            assert!(nouns[1..].iter().all(|noun| noun.ends_with('s') != nouns[0].ends_with('s')));
        }
    }

    #[test]
    fn items_are_the_same_for_the_same_seed_and_answers_are_spread() {
        for kind in [PatternKind::Copying, PatternKind::Induction, PatternKind::KeyValueRecall] {
            let made = pattern(kind).make("x").unwrap();
            assert_eq!(made, pattern(kind).make("x").unwrap());
            assert_ne!(made, Pattern { seed: 2, ..pattern(kind) }.make("x").unwrap());
            for gold in 0..4 {
                let count = made.iter().filter(|item| item.gold == gold).count();
                assert!((25..80).contains(&count), "{kind:?}: {count} of 200 at {gold}");
            }
        }
    }

    #[test]
    fn what_a_pattern_cannot_be_made_of_is_refused_at_its_field() {
        let good = pattern(PatternKind::Copying);
        assert_eq!(good.problem(Kind::MultipleChoice), None);
        assert_eq!(good.problem(Kind::LastWord), None);
        let field = |pattern: Pattern| pattern.problem(Kind::MultipleChoice).unwrap().0;
        assert_eq!(good.problem(Kind::MinimalPairs).unwrap().0, "kind");
        assert_eq!(field(Pattern { length: 30, ..good.clone() }), "words");
        assert_eq!(field(Pattern { choices: 7, ..good.clone() }), "choices");
        assert_eq!(field(Pattern { opening: "The".into(), ..good.clone() }), "opening");
        assert_eq!(field(Pattern { words: vec!["a".into(); 12], ..good.clone() }), "words");
        let few = Pattern { nouns: vec![], ..pattern(PatternKind::AgreementAtDistance) };
        assert_eq!(field(few), "nouns");
        let narrow = Pattern { words: good.words[..4].to_vec(), length: 4, items: 5000, ..good };
        assert!(narrow.make("x").unwrap_err().to_string().contains("different items"));
    }
}
