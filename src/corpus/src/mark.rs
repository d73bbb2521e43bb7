//! Marks documents that are left out because of others: of earlier documents that they nearly repeat, or of items of
//! validation tasks that they hold. What the search finds is cached in the store.

use harness_core::digest::Digest;

use crate::contamination::{Contamination, ContaminationAction, Decontaminate, TaskContamination, TaskNgrams};
use crate::documents::{CleanDocument, LineReader};
use crate::error::CorpusError;
use crate::grammar;
use crate::near::{NearIndex, NearPair, NearRule, clusters};
use crate::progress::{Progress, Unit};
use crate::recipe::Recipe;
use crate::select::{Candidate, Fate};
use crate::stages::{CleanStage, each_text};
use crate::store::{Store, key};
use crate::tasks::load_items;

/// Marks what nearly repeats an earlier document.
pub(crate) fn mark_near_duplicates(
    rule: &NearRule,
    store: &Store,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &mut [Fate],
    progress: &mut dyn Progress,
) -> Result<(), CorpusError> {
    let (places, digests) = still_in(candidates, fates);
    let json = store.cached("near", &key("near", &(rule, digests)), progress, |progress| {
        let mut index = NearIndex::new(rule);
        each_batch("near duplicates", stages, fates, &places, progress, |batch| index.push(batch))?;
        let open = |stage: &CleanStage| LineReader::open(&stage.documents());
        let mut readers = stages.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let pairs = index.pairs(|at| -> Result<String, CorpusError> {
            let candidate = &candidates[places[at]];
            let reader = &mut readers[candidate.source];
            reader.seek(candidate.offset)?;
            Ok(reader.next::<CleanDocument>()?.map_or(String::new(), |document| document.text))
        })?;
        Ok::<_, CorpusError>(serde_json::to_vec(&pairs).expect("plain structs serialize to memory"))
    })?;
    let pairs: Vec<NearPair> = serde_json::from_slice(&json).expect("what was written here and has its digest");
    for (at, first) in clusters(places.len(), &pairs).into_iter().enumerate() {
        if first != at {
            fates[places[at]] = Fate::NearDuplicate(places[first]);
        }
    }
    Ok(())
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
    let (places, digests) = still_in(candidates, fates);
    let data: Vec<_> = recipe.tasks().iter().map(|task| (task.name(), &task.subtasks, &task.items)).collect();
    let key = key("contamination", &(rule.words, rule.words_at_least, data, digests, grammar::VERSION));
    let json = store.cached("contamination", &key, progress, |progress| {
        let mut tasks = Vec::new();
        for task in recipe.tasks() {
            for subtask in &task.subtasks {
                let (items, _) = load_items(task, subtask, store)?;
                tasks.push((task.id(subtask), items));
            }
        }
        let mut ngrams = TaskNgrams::new(rule, &tasks);
        each_batch("contamination", stages, fates, &places, progress, |batch| ngrams.search(batch))?;
        Ok::<_, CorpusError>(serde_json::to_vec(&ngrams.finish()).expect("plain structs serialize to memory"))
    })?;
    let found: Contamination = serde_json::from_slice(&json).expect("what was written here and has its digest");
    if rule.action == ContaminationAction::LeaveOut {
        for (at, task) in found.documents {
            fates[places[at]] = Fate::Contaminated(task);
        }
    }
    Ok(found.tasks)
}

/// The documents that nothing has left out so far: their places and digests.
fn still_in(candidates: &[Candidate], fates: &[Fate]) -> (Vec<usize>, Vec<Digest>) {
    (0..fates.len()).filter(|&at| fates[at] == Fate::Train).map(|at| (at, candidates[at].sha256)).unzip()
}

/// Hands over the texts at `places`, many at a time, so that all threads have work.
fn each_batch(
    stage: &str,
    stages: &[CleanStage],
    fates: &[Fate],
    places: &[usize],
    progress: &mut dyn Progress,
    mut take: impl FnMut(&[String]),
) -> Result<(), CorpusError> {
    const BATCH_BYTES: usize = 4 << 20;
    progress.begin(stage, Some(places.len() as u64), Unit::Documents);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    each_text(stages, |at, text| {
        if fates[at] == Fate::Train {
            bytes += text.len();
            batch.push(text);
        }
        if bytes >= BATCH_BYTES {
            take(&batch);
            progress.advance(batch.len() as u64);
            (batch, bytes) = (Vec::new(), 0);
        }
        Ok(())
    })?;
    take(&batch);
    progress.end();
    Ok(())
}
