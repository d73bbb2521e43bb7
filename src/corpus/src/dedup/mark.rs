//! Marks documents that are left out because of others: of earlier or held-out documents that they nearly repeat, or
//! of items of validation tasks that they hold. What the search finds is cached in the store.

use super::contamination::{Contamination, TaskNgrams};
use super::near::{Among, NearIndex};
use crate::candidate::{Candidate, Fate};
use crate::clean::{CleanStage, each_batch};
use crate::recipe::{ContaminationAction, Decontaminate, NearRule, Recipe};
use std::collections::{BTreeMap, BTreeSet};

use harness_core::digest::{Digest, Hasher};
use harness_core::files;

use crate::documents::{CleanDocument, LineReader};
use crate::error::CorpusError;
use crate::grammar;
use crate::progress::{Progress, Unit};
use crate::store::{Draft, Store, key};
use crate::tasks::load_items_to_look_for;
use harness_core::corpus_manifest::TaskContamination;

/// Marks what nearly repeats an earlier document.
pub(crate) fn mark_near_duplicates(
    rule: &NearRule,
    store: &Store,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &mut [Fate],
    progress: &mut dyn Progress,
) -> Result<(), CorpusError> {
    let places = still_in(fates);
    let key = key("near", &(rule, digest_of(candidates, &places)));
    let json = store.cached("near", &key, progress, |progress| {
        let draft = store.draft()?;
        let mut index = near_index(rule, store, &draft)?;
        progress.begin("near duplicates", Some(places.len() as u64), Unit::Documents);
        each_batch(
            stages,
            |at| fates[at] == Fate::Train,
            |_, texts| {
                index.push(&texts)?;
                progress.advance(texts.len() as u64);
                Ok(())
            },
        )?;
        progress.end();
        let clusters = index.clusters(text_reader(stages, candidates, &places)?)?;
        Ok::<_, CorpusError>(serde_json::to_vec(&clusters).expect("plain structs serialize to memory"))
    })?;
    let clusters: Vec<(usize, usize)> =
        serde_json::from_slice(&json).expect("what was written here and has its digest");
    for (at, first) in clusters {
        fates[places[at] as usize] = Fate::NearDuplicate(places[first]);
    }
    Ok(())
}

/// Training documents that nearly repeat a held-out one.
pub(crate) struct Leaks {
    /// Their places, each with that of the first held-out document that it repeats.
    pub leaked: Vec<(u32, u32)>,
    /// The places of the held-out documents that are repeated.
    pub repeated: Vec<u32>,
}

/// Finds the training documents that nearly repeat a held-out one, in one pass over each side.
pub(crate) fn leaks(
    rule: &NearRule,
    store: &Store,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
    progress: &mut dyn Progress,
) -> Result<Leaks, CorpusError> {
    let is_in = |fate: &Fate| matches!(fate, Fate::Train | Fate::Validation | Fate::Test);
    let places: Vec<u32> = (0..).zip(fates).filter(|(_, fate)| is_in(fate)).map(|(at, _)| at).collect();
    let held_out: Vec<bool> = places.iter().map(|&at| fates[at as usize] != Fate::Train).collect();
    let key = key("leakage", &(rule, digest_of(candidates, &places), digest_of_sides(&held_out)));
    let json = store.cached("leakage", &key, progress, |progress| {
        let draft = store.draft()?;
        let mut index = near_index(rule, store, &draft)?;
        progress.begin("near duplicates across the split", Some(places.len() as u64), Unit::Documents);
        for side in [true, false] {
            let is_of_side = |at: usize| is_in(&fates[at]) && (fates[at] != Fate::Train) == side;
            each_batch(stages, is_of_side, |candidates, texts| {
                let place = |at: &usize| places.partition_point(|place| (*place as usize) < *at) as u64;
                let of_batch: Vec<u64> = candidates.iter().map(place).collect();
                progress.advance(texts.len() as u64);
                Ok(if side { index.push_held_out(&of_batch, &texts) } else { index.push_others(&of_batch, &texts) }?)
            })?;
        }
        progress.end();
        // The first held-out document that each repeats, and all that are repeated.
        let mut found: (BTreeMap<usize, usize>, BTreeSet<usize>) = Default::default();
        let text = text_reader(stages, candidates, &places)?;
        index.each_pair(
            Among::Sides(&held_out),
            &mut found,
            |_, _, _| false,
            text,
            |(leaked, repeated), pair| {
                let (inside, outside) =
                    if held_out[pair.first] { (pair.second, pair.first) } else { (pair.first, pair.second) };
                leaked.entry(inside).or_insert(outside);
                repeated.insert(outside);
            },
        )?;
        let found = (found.0.into_iter().collect::<Vec<_>>(), found.1);
        Ok::<_, CorpusError>(serde_json::to_vec(&found).expect("plain structs serialize to memory"))
    })?;
    let (leaked, repeated): (Vec<(usize, usize)>, Vec<usize>) =
        serde_json::from_slice(&json).expect("what was written here and has its digest");
    Ok(Leaks {
        leaked: leaked.into_iter().map(|(at, held_out)| (places[at], places[held_out])).collect(),
        repeated: repeated.into_iter().map(|at| places[at]).collect(),
    })
}

/// An index without documents; what does not fit into memory goes into `draft`.
fn near_index(rule: &NearRule, store: &Store, draft: &Draft) -> Result<NearIndex, CorpusError> {
    let folders = [draft.path("bands"), draft.path("pairs")];
    folders.iter().try_for_each(|folder| files::create_folder(folder))?;
    Ok(NearIndex::new(rule, [&folders[0], &folders[1]], store.memory_bytes()))
}

/// Gives a document's text again, by its place among `places`.
fn text_reader<'a>(
    stages: &[CleanStage],
    candidates: &'a [Candidate],
    places: &'a [u32],
) -> Result<impl FnMut(usize) -> Result<String, CorpusError> + 'a, CorpusError> {
    let open = |stage: &CleanStage| LineReader::open(&stage.documents());
    let mut readers = stages.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    Ok(move |at: usize| {
        let candidate = &candidates[places[at] as usize];
        let reader = &mut readers[candidate.source as usize];
        reader.seek(candidate.offset)?;
        Ok(reader.next::<CleanDocument>()?.map_or(String::new(), |document| document.text))
    })
}

/// Marks what holds an item of a validation task, if the recipe says so, and says what was found.
pub(crate) fn mark_contaminated(
    rule: &Decontaminate,
    recipe: &Recipe,
    store: &Store,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &mut [Fate],
    progress: &mut dyn Progress,
) -> Result<Vec<TaskContamination>, CorpusError> {
    let places = still_in(fates);
    let data: Vec<_> = recipe.tasks().iter().map(|task| (task.name(), &task.subtasks, &task.items)).collect();
    let key = key(
        "contamination",
        &(rule.words, rule.words_at_least, data, digest_of(candidates, &places), grammar::VERSION),
    );
    let json = store.cached("contamination", &key, progress, |progress| {
        let mut tasks = Vec::new();
        for task in recipe.tasks() {
            for subtask in &task.subtasks {
                tasks.push((task.id(subtask), load_items_to_look_for(task, subtask, store)?));
            }
        }
        let mut ngrams = TaskNgrams::new(rule, &tasks);
        progress.begin("contamination", Some(places.len() as u64), Unit::Documents);
        each_batch(
            stages,
            |at| fates[at] == Fate::Train,
            |_, texts| {
                ngrams.search(&texts);
                progress.advance(texts.len() as u64);
                Ok(())
            },
        )?;
        progress.end();
        Ok::<_, CorpusError>(serde_json::to_vec(&ngrams.finish()).expect("plain structs serialize to memory"))
    })?;
    let found: Contamination = serde_json::from_slice(&json).expect("what was written here and has its digest");
    if rule.action == ContaminationAction::LeaveOut {
        for (at, task) in found.documents {
            fates[places[at] as usize] = Fate::Contaminated(task as u32);
        }
    }
    Ok(found.tasks)
}

/// The places of the documents that nothing has left out so far.
fn still_in(fates: &[Fate]) -> Vec<u32> {
    (0..).zip(fates).filter(|(_, fate)| **fate == Fate::Train).map(|(at, _)| at).collect()
}

/// One digest for the documents at `places`.
fn digest_of(candidates: &[Candidate], places: &[u32]) -> Digest {
    let mut hasher = Hasher::new();
    places.iter().for_each(|&at| hasher.update(candidates[at as usize].sha256.as_bytes()));
    hasher.finish()
}

fn digest_of_sides(held_out: &[bool]) -> Digest {
    let mut hasher = Hasher::new();
    held_out.iter().for_each(|&side| hasher.update(&[u8::from(side)]));
    hasher.finish()
}
