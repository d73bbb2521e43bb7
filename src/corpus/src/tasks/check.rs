//! What is wrong with a task, found before a run is spent on it: records that cannot be used, answers that stand at one
//! place too often, items twice, choices that tie whatever the model, contexts that do not fit, and texts that the model
//! is trained on.

use std::collections::HashMap;

use harness_core::scores::Request;
use rayon::prelude::*;

use super::items::ItemsError;
use super::prepare::{TaskError, load_usable_items};
use super::recipe::TaskRecipe;
use super::requests::{Asked, requests};
use crate::item::Item;
use crate::store::Store;
use crate::tokenize::{Encoder, Tokenizer};
use harness_core::task_kind::Kind;

/// What was found about one subtask.
#[derive(Debug)]
pub struct SubtaskCheck {
    /// The subtask.
    pub id: String,
    /// Items that can be used.
    pub items: u64,
    /// Records that cannot.
    pub unusable: Vec<ItemsError>,
    /// How often the right choice stands at each place; empty where its place is fixed.
    pub gold: Vec<u64>,
    /// Share of items, of those with choices of different length, whose right choice has the most characters.
    pub longest_is_right: Option<f64>,
    /// Pairs of items with the same text, by their place in the task from 0: the first one and its repetition.
    pub duplicates: Vec<(u64, u64)>,
    /// Items in which a right and a wrong choice give the same tokens, so that no model can tell them apart.
    pub ties: Vec<u64>,
    /// Fewest, median and most tokens of context and choice together. With the tokenizer of a corpus only.
    pub tokens: Option<[u64; 3]>,
    /// Items of which a choice with its context is longer than a model of this context length can read.
    pub too_long: Vec<u64>,
}

/// Looks at every subtask; with a tokenizer also at tokens, and with a context length at what does not fit.
pub fn check(
    recipe: &TaskRecipe,
    tokenizer: Option<&Tokenizer>,
    context_length: Option<u32>,
    store: &Store,
) -> Result<Vec<SubtaskCheck>, TaskError> {
    let mut checks = Vec::new();
    for subtask in &recipe.subtasks {
        let id = recipe.id(subtask);
        let found = load_usable_items(recipe, subtask, store)?;
        let items = &found.items;
        let requested = match tokenizer {
            Some(tokenizer) => encoded(&id, recipe, items, tokenizer)?,
            None => Vec::new(),
        };
        let longest = |requests: &Vec<Request>| {
            requests.iter().map(|r| (r.context.len() + r.continuation.len()) as u64).max().unwrap_or(0)
        };
        let mut lengths: Vec<u64> = requested.iter().map(longest).collect();
        // The last token is predicted, not read.
        let fits = |length: u64| context_length.is_none_or(|most| length <= u64::from(most) + 1);
        let too_long = if recipe.kind == Kind::Documents { Vec::new() } else { places(&lengths, |&n| !fits(n)) };
        lengths.sort_unstable();
        let tokens = match (lengths.first(), lengths.last()) {
            (Some(&first), Some(&last)) => Some([first, lengths[lengths.len() / 2], last]),
            _ => None,
        };
        checks.push(SubtaskCheck {
            items: items.len() as u64,
            gold: gold(recipe, items),
            longest_is_right: longest_is_right(items),
            duplicates: duplicates(items),
            ties: if requested.is_empty() { places(items, same_text) } else { places(&requested, |r| same_tokens(r)) },
            tokens,
            too_long,
            unusable: found.unusable,
            id,
        });
    }
    Ok(checks)
}

/// The requests of each item.
pub fn encoded(
    id: &str,
    recipe: &TaskRecipe,
    items: &[Item],
    tokenizer: &Tokenizer,
) -> Result<Vec<Vec<Request>>, TaskError> {
    let encoder = Encoder::checked_on(tokenizer, &items.iter().step_by(20).flat_map(Item::texts).collect::<Vec<_>>())?;
    let asked = Asked { kind: recipe.kind, unconditional: false };
    let of = |(index, item): (usize, &Item)| requests(id, index, item, asked, &encoder);
    Ok(items.par_iter().enumerate().map(of).collect::<Result<_, _>>()?)
}

/// Where something holds, from 0.
fn places<T>(all: &[T], holds: impl Fn(&T) -> bool) -> Vec<u64> {
    (0..).zip(all).filter(|(_, one)| holds(one)).map(|(place, _)| place).collect()
}

/// Counts of the right choice by its place, where the data and not the recipe decides it.
fn gold(recipe: &TaskRecipe, items: &[Item]) -> Vec<u64> {
    if matches!(recipe.kind, Kind::MinimalPairs | Kind::LastWord | Kind::Documents) {
        return Vec::new();
    }
    let mut counts = vec![0; items.iter().map(|item| item.choices.len()).max().unwrap_or(0)];
    items.iter().for_each(|item| counts[item.gold] += 1);
    counts
}

fn longest_is_right(items: &[Item]) -> Option<f64> {
    let longest = |item: &Item| {
        let lengths: Vec<usize> = item.choices.iter().map(|choice| choice.chars().count()).collect();
        let most = lengths.iter().max().copied()?;
        (lengths.iter().filter(|&&length| length == most).count() == 1).then(|| lengths[item.gold] == most)
    };
    let judged: Vec<bool> = items.iter().filter(|item| item.choices.len() > 1).filter_map(longest).collect();
    (!judged.is_empty()).then(|| judged.iter().filter(|&&right| right).count() as f64 / judged.len() as f64)
}

fn duplicates(items: &[Item]) -> Vec<(u64, u64)> {
    let mut first = HashMap::new();
    let mut found = Vec::new();
    for (place, item) in (0..).zip(items) {
        let mut texts: Vec<String> = item.texts().collect();
        texts.sort_unstable();
        match first.get(&texts) {
            Some(&earlier) => found.push((earlier, place)),
            None => drop(first.insert(texts, place)),
        }
    }
    found
}

fn same_text(item: &Item) -> bool {
    let right = &item.choices[item.gold];
    item.choices.iter().enumerate().any(|(place, choice)| place != item.gold && choice == right)
}

fn same_tokens(requests: &[Request]) -> bool {
    let tokens = |request: &Request| (request.context.clone(), request.continuation.clone());
    let right: Vec<_> = requests.iter().filter(|r| r.gold).map(tokens).collect();
    requests.iter().filter(|r| !r.gold).any(|wrong| right.contains(&tokens(wrong)))
}
