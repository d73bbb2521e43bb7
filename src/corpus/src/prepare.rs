//! The plan: clean each source, choose, learn the vocabulary, write shards, say what happened.
//!
//! Each stage is cached in the store by the digest of what it depends on, so that a change in the recipe redoes what
//! follows from it and nothing else. What comes out is the same bytes in any folder and on any number of threads.

use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files;

use crate::describe::describe;
use crate::encode::{SideWriter, Written};
use crate::error::CorpusError;
use crate::ledger::write_ledger;
use crate::mark::{mark_contaminated, mark_near_duplicates};
use crate::prepared::{PreparedCorpus, corpus_key, folder_of};
use crate::progress::{Progress, Unit};
use crate::recipe::{Recipe, TokenizerKind};
use crate::select::{Candidate, Fate, split, without_exact_duplicates};
use crate::stages::{CleanStage, candidates_of, clean_sources, each_text, write_samples};
use crate::store::{Store, key};
use crate::tokenizer::{self, Encoder, Tokenizer};

/// Prepares the corpus of a recipe whose files are in the store. Does nothing if that was done before.
pub fn prepare(recipe: &Recipe, store: &Store, progress: &mut dyn Progress) -> Result<PreparedCorpus, CorpusError> {
    let folder = folder_of(store, recipe);
    if let Some(prepared) = undamaged(recipe, store)? {
        return Ok(prepared);
    }
    let name = format!("corpus-{}-{}", recipe.name(), corpus_key(recipe).short());
    let _lock = store.lock(&name, progress)?;
    if let Some(prepared) = undamaged(recipe, store)? {
        return Ok(prepared);
    }
    let stages = clean_sources(recipe, store, progress)?;
    let (candidates, removed) = candidates_of(&stages)?;
    let mut fates = without_exact_duplicates(&candidates, &recipe.duplicates);
    if let Some(rule) = &recipe.duplicates.near {
        mark_near_duplicates(rule, store, &stages, &candidates, &mut fates, progress)?;
    }
    let contamination = match &recipe.decontaminate {
        Some(rule) => mark_contaminated(rule, recipe, store, &stages, &candidates, &mut fates, progress)?,
        None => Vec::new(),
    };
    split(&candidates, &mut fates, &recipe.split);
    refuse_empty_side(recipe, &fates)?;
    let tokenizer_json = tokenizer_of(recipe, store, &stages, &candidates, &fates, progress)?;
    let tokenizer = Tokenizer::from_json(&tokenizer_json, &recipe.tokenizer.separator)?;

    let draft = store.draft()?;
    files::write(&draft.path("tokenizer.json"), &tokenizer_json)?;
    let draft_folder = draft.path("");
    let encoder = encoder_for(&tokenizer, &stages, &candidates, &fates)?;
    let (train, validation) = write_shards(recipe, &stages, &fates, &encoder, &draft_folder, progress)?;
    write_ledger(&draft.path("documents.jsonl"), recipe, &stages, &candidates, &fates, &removed)?;
    write_samples(draft.path("samples.jsonl"), &stages)?;
    let manifest =
        describe(recipe, &stages, &candidates, &fates, contamination, &encoder, train, validation, &draft_folder)?;
    let mut json = serde_json::to_vec_pretty(&manifest).expect("plain structs serialize to memory");
    json.push(b'\n');
    files::write(&draft.path("manifest.json"), &json)?;
    draft.publish(&folder, store)?;
    PreparedCorpus::open_folder(&folder)
}

/// The prepared corpus, if it is there and every file is as its manifest says.
fn undamaged(recipe: &Recipe, store: &Store) -> Result<Option<PreparedCorpus>, CorpusError> {
    match PreparedCorpus::open(store, recipe) {
        Ok(prepared) if prepared.verify().is_ok() => Ok(Some(prepared)),
        Err(CorpusError::NotPrepared { .. } | CorpusError::Damaged { .. }) | Ok(_) => Ok(None),
        Err(e) => Err(e),
    }
}

fn refuse_empty_side(recipe: &Recipe, fates: &[Fate]) -> Result<(), CorpusError> {
    let count = |wanted: Fate| fates.iter().filter(|&&fate| fate == wanted).count();
    let (train, validation) = (count(Fate::Train), count(Fate::Validation));
    let (side, hint) = match (train, validation) {
        (0, _) => ("training", "add sources, cut them into more documents, or loosen the steps"),
        (_, 0) => (
            "validation",
            "cut the sources into more documents (`split` in [documents]), or raise `validation` in [split]",
        ),
        _ => return Ok(()),
    };
    Err(CorpusError::EmptySide { corpus: recipe.name().to_owned(), side, documents: train + validation, hint })
}

fn tokenizer_of(
    recipe: &Recipe,
    store: &Store,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
    progress: &mut dyn Progress,
) -> Result<Vec<u8>, CorpusError> {
    let choice = &recipe.tokenizer;
    let paths: Vec<PathBuf> = choice.remotes().iter().map(|remote| store.download(&remote.sha256)).collect();
    if let Some(at) = paths.iter().position(|path| !files::is_file(path)) {
        let name = choice.remotes()[at].name.clone();
        return Err(CorpusError::NotFetched { corpus: recipe.name().to_owned(), name });
    }
    match choice.kind {
        TokenizerKind::Gpt2 => {
            return Ok(tokenizer::from_gpt2(&paths[0], &paths[1], &choice.separator)?);
        }
        TokenizerKind::File => return Ok(files::read(&paths[0])?),
        TokenizerKind::Bpe => {}
    }
    let used = || candidates.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Train).map(|(c, _)| c);
    let digests: Vec<Digest> = used().map(|c| c.sha256).collect();
    let key = key("tokenizer", &(&digests, choice));
    store.cached("tokenizer", &key, progress, |progress| {
        progress.begin("tokenizer", Some(used().map(|c| c.bytes).sum()), Unit::Bytes);
        let (sender, receiver) = std::sync::mpsc::sync_channel::<String>(256);
        let size = choice.vocabulary_size.unwrap_or_default();
        let json = std::thread::scope(|scope| {
            let trainer = scope.spawn(|| tokenizer::train(receiver.into_iter(), size, &choice.separator));
            let fed = each_text(stages, |at, text| {
                if fates[at] == Fate::Train {
                    progress.advance(text.len() as u64);
                    // The trainer stops listening only when it has failed, and then says why.
                    let _ = sender.send(text);
                }
                Ok(())
            });
            drop(sender);
            let trained = trainer.join().expect("the trainer does not panic");
            fed.and(Ok(trained?))
        })?;
        progress.end();
        Ok(json)
    })
}

/// An encoder that was compared with the reference on the first documents of every source and on the validation
/// documents, up to a few megabytes.
fn encoder_for<'a>(
    tokenizer: &'a Tokenizer,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
) -> Result<Encoder<'a>, CorpusError> {
    const OF_SOURCE: u64 = 64 << 10;
    const IN_ALL: u64 = 4 << 20;
    let (mut sample, mut all, mut of_source) = (Vec::new(), 0, vec![0; stages.len()]);
    each_text(stages, |at, text| {
        let taken = &mut of_source[candidates[at].source];
        if all < IN_ALL && (*taken < OF_SOURCE || fates[at] == Fate::Validation) {
            *taken += text.len() as u64;
            all += text.len() as u64;
            sample.push(text);
        }
        Ok(())
    })?;
    Ok(Encoder::checked_on(tokenizer, &sample)?)
}

fn write_shards(
    recipe: &Recipe,
    stages: &[CleanStage],
    fates: &[Fate],
    encoder: &Encoder,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<(Written, Written), CorpusError> {
    let kept = fates.iter().filter(|fate| matches!(fate, Fate::Train | Fate::Validation)).count();
    progress.begin("encode", Some(kept as u64), Unit::Documents);
    let shard_tokens = recipe.output.shard_tokens;
    let mut train = SideWriter::new(folder, "train", encoder, shard_tokens, false);
    let mut validation = SideWriter::new(folder, "validation", encoder, shard_tokens, true);
    each_text(stages, |at, text| {
        match fates[at] {
            Fate::Train => train.push(text)?,
            Fate::Validation => validation.push(text)?,
            Fate::Duplicate(_) | Fate::NearDuplicate(_) | Fate::Contaminated(_) => return Ok(()),
        }
        progress.advance(1);
        Ok(())
    })?;
    let written = (train.finish()?, validation.finish()?);
    progress.end();
    Ok(written)
}
