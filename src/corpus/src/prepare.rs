//! The plan: clean each source, choose, learn the vocabulary, write shards, say what happened.
//!
//! Each stage is cached in the store by the digest of what it depends on, so that a change in the recipe redoes what
//! follows from it and nothing else. What comes out is the same bytes in any folder and on any number of threads.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use harness_core::digest::Hasher;
use harness_core::files;

use crate::candidate::{Candidate, Fate};
use crate::clean::{CleanStage, candidates_of, clean_sources, each_batch, write_samples};
use crate::dedup::{Leaks, leaks, mark_contaminated, mark_near_duplicates, without_exact_duplicates, without_repeats};
use crate::error::CorpusError;
use crate::prepared::{PreparedCorpus, corpus_key, folder_of};
use crate::progress::{Progress, Unit};
use crate::recipe::{NearRule, Recipe, TokenizerKind};
use crate::spill::Spill;
use crate::split::{copies, position_of, split};
use crate::store::{Store, key};
use crate::tokenize::{Encoder, PieceCounts, Tokenizer, from_gpt2, train_bpe, train_unigram};
use crate::write::{LengthCounter, SideOf, SideWriter, Sides, SourceSizes, Written, describe, write_ledger};
use harness_core::corpus_manifest::AcrossSplit;

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
    store.sweep_drafts()?;
    let stages = clean_sources(recipe, store, progress)?;
    let stages = without_repeats(&recipe.duplicates, store, stages, progress)?;
    let candidates = candidates_of(&stages)?;
    let spilled = store.draft()?;
    let spill = Spill::new(&spilled.path(""), store.memory_bytes());
    let mut fates = without_exact_duplicates(&candidates, &recipe.duplicates, spill)?;
    if let Some(rule) = &recipe.duplicates.near {
        mark_near_duplicates(rule, store, &stages, &candidates, &mut fates, progress)?;
    }
    let contamination = match &recipe.decontaminate {
        Some(rule) => mark_contaminated(rule, recipe, store, &stages, &candidates, &mut fates, progress)?,
        None => Vec::new(),
    };
    let groups = groups(&stages);
    split(&candidates, &mut fates, &recipe.split, &groups);
    let across_split = across_split(recipe, store, &stages, &candidates, &mut fates, progress)?;
    refuse_empty_side(recipe, &fates)?;
    let tokenizer_json = tokenizer_of(recipe, store, &stages, &candidates, &fates, progress)?;
    let tokenizer = Tokenizer::from_json(&tokenizer_json, &recipe.tokenizer.separator)?;

    let draft = store.draft()?;
    files::write(&draft.path("tokenizer.json"), &tokenizer_json)?;
    let draft_folder = draft.path("");
    let encoder = encoder_for(&tokenizer, &stages, &groups, &candidates, &fates)?;
    let epochs = epochs(recipe, &stages, &candidates, &fates);
    let sides = write_shards(recipe, &stages, &candidates, &fates, &epochs, &encoder, &draft_folder, progress)?;
    write_ledger(&draft.path("documents.jsonl"), recipe, &stages, &candidates, &fates)?;
    write_samples(draft.path("samples.jsonl"), &stages)?;
    progress.begin("baselines", None, Unit::Items);
    let manifest = describe(
        recipe,
        store,
        &stages,
        &candidates,
        &fates,
        contamination,
        across_split,
        &encoder,
        &epochs,
        sides,
        &draft_folder,
    )?;
    progress.end();
    let mut json = serde_json::to_vec_pretty(&manifest).expect("plain structs serialize to memory");
    json.push(b'\n');
    files::write(&draft.path("manifest.json"), &json)?;
    draft.publish(&folder, store)?;
    PreparedCorpus::open_folder(&folder)
}

/// Leaves training documents out that nearly repeat a held-out one, if the recipe says so; else they stay and are
/// counted, by the default rule. Where near duplicates were left out of the whole corpus, none are left.
fn across_split(
    recipe: &Recipe,
    store: &Store,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &mut [Fate],
    progress: &mut dyn Progress,
) -> Result<AcrossSplit, CorpusError> {
    const EXAMPLES: usize = 10;
    if let Some(rule) = &recipe.split.leakage {
        for (at, held_out) in leaks(rule, store, stages, candidates, fates, progress)?.leaked {
            fates[at as usize] = Fate::Leaked(held_out);
        }
    }
    let by = |rule: &NearRule| AcrossSplit {
        unit: rule.unit.name().to_owned(),
        length: rule.length,
        jaccard: rule.jaccard,
        ..AcrossSplit::default()
    };
    if let Some(rule) = recipe.split.leakage.as_ref().or(recipe.duplicates.near.as_ref()) {
        return Ok(by(rule));
    }
    let rule = NearRule::default();
    let Leaks { leaked, repeated } = leaks(&rule, store, stages, candidates, fates, progress)?;
    let of = |side: Fate| repeated.iter().filter(|at| fates[**at as usize] == side).count() as u64;
    let id = |at: u32| {
        let candidate = &candidates[at as usize];
        format!("{}#{}", stages[candidate.source as usize].name(), candidate.index)
    };
    Ok(AcrossSplit {
        train_documents: leaked.len() as u64,
        validation_documents: of(Fate::Validation),
        test_documents: of(Fate::Test),
        examples: leaked.iter().take(EXAMPLES).map(|&(at, held_out)| [id(at), id(held_out)]).collect(),
        ..by(&rule)
    })
}

/// The prepared corpus, if it is there and every file is as its manifest says.
pub fn undamaged(recipe: &Recipe, store: &Store) -> Result<Option<PreparedCorpus>, CorpusError> {
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
            return Ok(from_gpt2(&paths[0], &paths[1], &choice.separator)?);
        }
        TokenizerKind::File => return Ok(Tokenizer::from_file(&paths[0], &choice.separator)?.json().to_vec()),
        TokenizerKind::Bpe | TokenizerKind::Unigram => {}
    }
    // A fixed random part of the training documents, if the recipe bounds what is learned from.
    let train_bytes: u64 =
        candidates.iter().zip(fates).filter(|(_, f)| **f == Fate::Train).map(|(c, _)| u64::from(c.bytes)).sum();
    let share = choice.sample_bytes.map_or(1.0, |most| most as f64 / train_bytes.max(1) as f64);
    let used = |at: usize| {
        fates[at] == Fate::Train
            && (share >= 1.0 || position_of(b"harness tokenizer 1\n", &candidates[at].sha256) < share)
    };
    let mut digests = Hasher::new();
    (0..candidates.len()).filter(|&at| used(at)).for_each(|at| digests.update(candidates[at].sha256.as_bytes()));
    let key = key("tokenizer", &(digests.finish(), choice));
    store.cached("tokenizer", &key, progress, |progress| {
        progress.begin("words of the tokenizer", Some(train_bytes), Unit::Bytes);
        let mut counts = PieceCounts::default();
        each_batch(stages, used, |_, texts| {
            counts.add(&texts);
            progress.advance(texts.iter().map(|text| text.len() as u64).sum());
            Ok(())
        })?;
        progress.end();
        progress.begin("tokenizer", None, Unit::Items);
        let size = choice.vocabulary_size.unwrap_or_default();
        let json = match choice.kind {
            TokenizerKind::Unigram => train_unigram(counts, size, &choice.separator)?,
            _ => train_bpe(counts, size, &choice.separator)?,
        };
        progress.end();
        Ok(json)
    })
}

/// An encoder that was compared with the reference on the first documents of every source and on the validation
/// documents, up to a few megabytes, and of a long document on its beginning.
fn encoder_for<'a>(
    tokenizer: &'a Tokenizer,
    stages: &[CleanStage],
    groups: &[usize],
    candidates: &[Candidate],
    fates: &[Fate],
) -> Result<Encoder<'a>, CorpusError> {
    const OF_SOURCE: u64 = 64 << 10;
    const IN_ALL: u64 = 4 << 20;
    const OF_DOCUMENT: u64 = 64 << 10;
    let (mut chosen, mut all, mut of_source) = (HashSet::new(), 0, vec![0; stages.len()]);
    for (at, candidate) in candidates.iter().enumerate() {
        let taken = &mut of_source[groups[candidate.source as usize]];
        if all < IN_ALL && (*taken < OF_SOURCE || fates[at] == Fate::Validation) {
            let bytes = u64::from(candidate.bytes).min(OF_DOCUMENT);
            *taken += bytes;
            all += bytes;
            chosen.insert(at);
        }
    }
    let mut sample = Vec::new();
    each_batch(
        stages,
        |at| chosen.contains(&at),
        |_, texts| {
            let beginning = |mut text: String| {
                let end = (0..=text.len().min(OF_DOCUMENT as usize)).rev().find(|&end| text.is_char_boundary(end));
                text.truncate(end.unwrap_or(0));
                text.shrink_to_fit();
                text
            };
            sample.extend(texts.into_iter().map(beginning));
            Ok(())
        },
    )?;
    Ok(Encoder::checked_on(tokenizer, &sample)?)
}

/// For each file the number of its source: the files of a pattern are one source.
fn groups(stages: &[CleanStage]) -> Vec<usize> {
    let mut group = 0;
    let pairs = stages.iter().zip(stages.iter().skip(1));
    let others = pairs.map(|(before, stage)| {
        group += usize::from(before.group() != stage.group());
        group
    });
    std::iter::once(0).chain(others).collect()
}

/// How often the training documents of each file are written: once, or as the weights of the recipe say, by which
/// the training side keeps its size in bytes.
fn epochs(recipe: &Recipe, stages: &[CleanStage], candidates: &[Candidate], fates: &[Fate]) -> Vec<f64> {
    let Some(mixture) = &recipe.mixture else { return vec![1.0; stages.len()] };
    // Bytes by the name that has a weight: the files of a pattern are one source.
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for (candidate, _) in candidates.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Train) {
        *bytes.entry(stages[candidate.source as usize].group()).or_default() += u64::from(candidate.bytes);
    }
    let weight = |group: &str| mixture.weights.get(group).copied().unwrap_or_default();
    let all_weights: f64 = bytes.keys().map(|group| weight(group)).sum();
    let all_bytes = bytes.values().sum::<u64>() as f64;
    let epochs = |stage: &CleanStage| match bytes.get(stage.group()) {
        Some(&bytes) if bytes > 0 => weight(stage.group()) / all_weights * all_bytes / bytes as f64,
        _ => 0.0,
    };
    stages.iter().map(epochs).collect()
}

#[expect(clippy::too_many_arguments, reason = "it writes what every stage decided")]
fn write_shards(
    recipe: &Recipe,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
    epochs: &[f64],
    encoder: &Encoder,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<Sides, CorpusError> {
    let copies_of = |at: usize| if fates[at] == Fate::Train { copies(&candidates[at], epochs) } else { 0 };
    let rounds = (0..fates.len()).map(copies_of).max().unwrap_or_default();
    let held_out = fates.iter().filter(|fate| matches!(fate, Fate::Validation | Fate::Test)).count() as u64;
    let total = held_out + (0..fates.len()).map(|at| u64::from(copies_of(at))).sum::<u64>();
    progress.begin("encode", Some(total), Unit::Documents);
    let mut lengths = LengthCounter::new(stages.len());
    let mut write = |of: SideOf, rounds: u32, wanted: &dyn Fn(usize, u32) -> bool| {
        let held_out = of != SideOf::Train;
        let mut writer = SideWriter::new(folder, of.name(), encoder, recipe.output.shard_tokens);
        let (mut sources, mut listed) = (vec![SourceSizes::default(); stages.len()], Vec::new());
        for round in 0..rounds {
            each_batch(
                stages,
                |at| wanted(at, round),
                |places, texts| {
                    progress.advance(texts.len() as u64);
                    let encoded = writer.push(places, &texts)?;
                    for document in encoded.iter().filter(|_| round == 0) {
                        let source = candidates[document.at].source as usize;
                        sources[source].add(document);
                        lengths.add(source, of, document.bytes, document.tokens);
                    }
                    listed.extend(encoded.into_iter().filter(|_| held_out));
                    Ok(())
                },
            )?;
        }
        Ok::<_, CorpusError>(Written { side: writer.finish()?, sources, listed })
    };
    let train = write(SideOf::Train, rounds, &|at, round| round < copies_of(at))?;
    let validation = write(SideOf::Validation, 1, &|at, _| fates[at] == Fate::Validation)?;
    let test = write(SideOf::Test, 1, &|at, _| fates[at] == Fate::Test)?;
    progress.end();
    Ok(Sides { train, validation, test, lengths })
}
