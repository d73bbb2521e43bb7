//! What is wrong with a task, found before a run is spent on it: records that cannot be used, answers that stand at one
//! place or have a length too often, items twice, choices that tie whatever the model, what does not fit its window, and
//! texts that the model is trained on.

use std::collections::{BTreeSet, HashMap};

use harness_core::scores::Request;
use rayon::prelude::*;

use super::checked::TaskRecipe;
use super::prepare::{TaskError, load_usable_items};
use super::recipe::{ItemRule, Subtask};
use super::requests::{Asked, requests};
use crate::item::{Item, ItemsError};
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
    /// Clusters that these belong to, where the recipe names them.
    pub clusters: Option<u64>,
    /// Records that cannot.
    pub unusable: Vec<ItemsError>,
    /// How often the right choice stands at each place; empty where its place is fixed.
    pub gold: Vec<u64>,
    /// What needs no model, where there are choices.
    pub blind: Option<Blind>,
    /// Pairs of items with the same text, by their place in the task from 0: the first one and its repetition.
    pub duplicates: Vec<(u64, u64)>,
    /// Items in which a right and a wrong choice give a model the same to read, so that none can tell them apart.
    pub ties: Vec<u64>,
    /// Fewest, median and most tokens of context and choice together. With the tokenizer of a corpus only.
    pub tokens: Option<[u64; 3]>,
    /// Items of which a choice has more tokens than a model of this context length reads: they stay unanswered.
    pub too_long: Vec<u64>,
    /// Items whose context is cut from the left, so that a model of this context length can read the choice.
    pub cut: Vec<u64>,
    /// Of items with two choices: what the accuracy on them and on the same items with right and wrong exchanged add to,
    /// whatever the model; below 1, where items cannot be answered.
    pub with_reversed: Option<f64>,
}

/// Shares of items that are answered rightly without reading them.
#[derive(Debug)]
pub struct Blind {
    /// By chance.
    pub guessing: f64,
    /// By the first choice, where the data decides the place of the right one.
    pub first: Option<f64>,
    /// By the choice of most characters, by chance where several have as many.
    pub longest: f64,
    /// By the choice of fewest characters.
    pub shortest: f64,
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
        lengths.sort_unstable();
        let tokens = match (lengths.first(), lengths.last()) {
            (Some(&first), Some(&last)) => Some([first, lengths[lengths.len() / 2], last]),
            _ => None,
        };
        // Documents are read in windows that roll over them.
        let most = context_length.filter(|_| recipe.kind != Kind::Documents).map(|most| most as usize);
        let too_long = places(&requested, |requests| requests.iter().any(|request| read(request, most).is_none()));
        let is_cut =
            |request: &Request| read(request, most).is_some_and(|(context, _)| context.len() < request.context.len());
        let ties =
            if requested.is_empty() { places(items, same_text) } else { places(&requested, |r| same_read(r, most)) };
        let pairs = !items.is_empty() && items.iter().all(|item| item.choices.len() == 2);
        let unanswered: BTreeSet<&u64> = ties.iter().chain(&too_long).collect();
        checks.push(SubtaskCheck {
            items: items.len() as u64,
            clusters: items.iter().filter_map(|item| item.cluster).max().map(|last| last + 1),
            gold: gold(recipe, subtask, items),
            blind: blind(items, is_fixed(recipe, subtask)),
            duplicates: duplicates(items),
            tokens,
            with_reversed: pairs.then(|| 1.0 - unanswered.len() as f64 / items.len() as f64),
            cut: places(&requested, |requests| requests.iter().any(is_cut)),
            ties,
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

/// Whether the recipe and not the data decides where the right choice stands.
fn is_fixed(recipe: &TaskRecipe, subtask: &Subtask) -> bool {
    let by_order = |rule: &ItemRule| rule.answer.is_empty() && subtask.answers.is_none();
    recipe.kind == Kind::MinimalPairs || (subtask.file.is_some() && recipe.rule(subtask).is_some_and(by_order))
}

/// Counts of the right choice by its place, where the data decides it.
fn gold(recipe: &TaskRecipe, subtask: &Subtask, items: &[Item]) -> Vec<u64> {
    if is_fixed(recipe, subtask) || matches!(recipe.kind, Kind::LastWord | Kind::Documents) {
        return Vec::new();
    }
    let mut counts = vec![0; items.iter().map(|item| item.choices.len()).max().unwrap_or(0)];
    items.iter().for_each(|item| counts[item.gold] += 1);
    counts
}

fn blind(items: &[Item], fixed: bool) -> Option<Blind> {
    let chosen: Vec<&Item> = items.iter().filter(|item| item.choices.len() > 1).collect();
    let mean = |of: &dyn Fn(&Item) -> f64| chosen.iter().map(|item| of(item)).sum::<f64>() / chosen.len() as f64;
    // The share of the right choice among those of the extreme length.
    let by_length = |item: &Item, longest: bool| {
        let lengths: Vec<usize> = item.choices.iter().map(|choice| choice.chars().count()).collect();
        let taken = if longest { lengths.iter().max() } else { lengths.iter().min() };
        let alike = lengths.iter().filter(|&length| Some(length) == taken).count();
        if Some(&lengths[item.gold]) == taken { 1.0 / alike as f64 } else { 0.0 }
    };
    (!chosen.is_empty()).then(|| Blind {
        guessing: mean(&|item| 1.0 / item.choices.len() as f64),
        first: (!fixed).then(|| mean(&|item| f64::from(u8::from(item.gold == 0)))),
        longest: mean(&|item| by_length(item, true)),
        shortest: mean(&|item| by_length(item, false)),
    })
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

/// What a model that reads `most` tokens sees of a request: the end of the context, and what is scored, if that fits with
/// one token before it. The last token is predicted, not read.
fn read(request: &Request, most: Option<usize>) -> Option<(&[u32], &[u32])> {
    let Some(room) = most.map(|most| (most + 1).checked_sub(request.continuation.len()).filter(|&room| room > 0))
    else {
        return Some((&request.context, &request.continuation));
    };
    let kept = request.context.len().min(room?);
    Some((&request.context[request.context.len() - kept..], &request.continuation))
}

fn same_read(requests: &[Request], most: Option<usize>) -> bool {
    let of = |gold: bool| requests.iter().filter(move |r| r.gold == gold).filter_map(|request| read(request, most));
    of(false).any(|wrong| of(true).any(|right| right == wrong))
}
