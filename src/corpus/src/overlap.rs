//! Items of a task in the text of a corpus that was prepared without looking for them.

use harness_core::corpus_manifest::TaskContamination;
use harness_core::shards::{Document, Shard};
use rayon::prelude::*;

use crate::dedup::contamination::TaskNgrams;
use crate::error::CorpusError;
use crate::prepared::PreparedCorpus;
use crate::progress::{Progress, Unit};
use crate::recipe::Decontaminate;
use crate::store::Store;
use crate::tasks::{TaskRecipe, load_items_to_look_for};

/// Looks for the items of a task in the training text of a corpus, by the same rule as `[decontaminate]` of a corpus
/// recipe: n-grams of 13 words, items of at least eight.
pub fn overlap(
    recipe: &TaskRecipe,
    corpus: &PreparedCorpus,
    store: &Store,
    progress: &mut dyn Progress,
) -> Result<Vec<TaskContamination>, CorpusError> {
    /// Documents that are decoded and searched at a time.
    const BATCH: usize = 2000;
    let mut tasks = Vec::new();
    for subtask in &recipe.subtasks {
        tasks.push((recipe.id(subtask), load_items_to_look_for(recipe, subtask, store)?));
    }
    let tokenizer = corpus.tokenizer()?;
    let mut ngrams = TaskNgrams::new(&Decontaminate::default(), &tasks);
    let name = &corpus.manifest().name;
    progress.begin(&format!("items in {name}"), Some(corpus.manifest().documents.train), Unit::Documents);
    for path in corpus.train_shards() {
        let shard = Shard::open(&path)?;
        for documents in shard.documents().chunks(BATCH) {
            let text = |document: &Document| {
                let mut tokens = vec![0; document.tokens.saturating_sub(1) as usize];
                shard.copy_tokens(document.first_token + 1, &mut tokens);
                tokenizer.decode(&tokens.iter().map(|&token| token as u32).collect::<Vec<_>>())
            };
            ngrams.search(&documents.par_iter().map(text).collect::<Result<Vec<_>, _>>()?);
            progress.advance(documents.len() as u64);
        }
    }
    progress.end();
    Ok(ngrams.finish().tasks)
}
