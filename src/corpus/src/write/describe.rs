//! Gathers what every stage found into the manifest.

use std::collections::BTreeMap;
use std::path::Path;

use super::baselines::baselines;
use super::encode::{Encoded, Sides};
use super::funnel::{funnel, group_sizes};
use crate::candidate::{Candidate, Fate};
use crate::clean::CleanStage;
use crate::error::CorpusError;
use crate::prepared::corpus_key;
use crate::recipe::{Recipe, TokenizerKind};
use crate::store::Store;
use crate::tokenize::Encoder;
use harness_core::corpus_manifest::{
    AcrossSplit, DocumentCounts, DuplicateGroup, FORMAT, ListedFile, Manifest, Side, SourceRecord, StepCounts,
    TaskContamination, TokenizerRecord, ValidationDocument,
};

#[expect(clippy::too_many_arguments, reason = "it gathers what every stage found")]
pub(crate) fn describe(
    recipe: &Recipe,
    store: &Store,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
    contamination: Vec<TaskContamination>,
    across_split: AcrossSplit,
    encoder: &Encoder,
    epochs: &[f64],
    sides: Sides,
    folder: &Path,
) -> Result<Manifest, CorpusError> {
    let tokenizer = encoder.tokenizer();
    let or = |own: &str, whole: &str| {
        if own.is_empty() { whole.to_owned() } else { own.to_owned() }
    };
    let mut sources: Vec<SourceRecord> = stages
        .iter()
        .zip(epochs)
        .map(|(stage, &epochs)| {
            let source = stage.source.as_ref();
            SourceRecord {
                name: stage.name().to_owned(),
                title: source.map_or("", |s| &s.title).to_owned(),
                pattern: source.and_then(|s| s.pattern.clone()),
                url: source.and_then(|s| s.url.clone()),
                path: source.and_then(|s| s.path.clone()),
                sha256: stage.record.input_sha256,
                bytes: stage.record.input_bytes,
                licence: or(source.map_or("", |s| &s.licence), &recipe.licence),
                citation: or(source.map_or("", |s| &s.citation), &recipe.citation),
                stage_key: stage.key,
                cleaned_sha256: stage.record.files[0].sha256,
                head_bytes: stage.record.head_bytes,
                lines_repaired: stage.record.lines_repaired,
                documents_read: stage.record.documents_read,
                train_documents: 0,
                train_bytes: 0,
                train_tokens: 0,
                epochs,
                validation_documents: 0,
                validation_bytes: 0,
                validation_tokens: 0,
                test_documents: 0,
                test_bytes: 0,
                test_tokens: 0,
                fertility_tokens_per_word: 0.0,
            }
        })
        .collect();
    let read = stages.iter().map(|stage| stage.record.documents_read).sum();
    let mut documents =
        DocumentCounts { read, removed_by_steps: read - candidates.len() as u64, ..DocumentCounts::default() };
    for fate in fates {
        *match fate {
            Fate::Train => &mut documents.train,
            Fate::Validation => &mut documents.validation,
            Fate::Test => &mut documents.test,
            Fate::Duplicate(_) => &mut documents.exact_duplicates,
            Fate::NearDuplicate(_) => &mut documents.near_duplicates,
            Fate::Contaminated(_) => &mut documents.contaminated,
            Fate::Leaked(_) => &mut documents.leaked,
        } += 1;
    }
    let Sides { train, validation, test, lengths } = sides;
    for (at, source) in sources.iter_mut().enumerate() {
        let of = [&train, &validation, &test].map(|written| written.sources[at]);
        (source.train_documents, source.train_bytes, source.train_tokens) =
            (of[0].documents, of[0].bytes, of[0].tokens);
        (source.validation_documents, source.validation_bytes) = (of[1].documents, of[1].bytes);
        source.validation_tokens = of[1].tokens;
        (source.test_documents, source.test_bytes, source.test_tokens) = (of[2].documents, of[2].bytes, of[2].tokens);
        let (tokens, words) = of.iter().fold((0, 0), |sum, side| (sum.0 + side.tokens, sum.1 + side.words));
        source.fertility_tokens_per_word = tokens as f64 / words.max(1) as f64;
    }
    let validation_document = |document: &Encoded| {
        let candidate = &candidates[document.at];
        ValidationDocument {
            id: format!("{}#{}", sources[candidate.source as usize].name, candidate.index),
            sha256: candidate.sha256,
            bytes: document.bytes,
            tokens: document.tokens,
        }
    };
    let validation_documents = validation.listed.iter().map(validation_document).collect();
    let (train, validation, test) = (train.side, validation.side, test.side);
    let paths = |side: &Side| side.shards.iter().map(|file| folder.join(&file.path)).collect::<Vec<_>>();
    let vocabulary = tokenizer.vocabulary_size() as usize;
    let (separator, bytes) = (tokenizer.separator(), validation.text_bytes);
    let measured = baselines(&paths(&train), &paths(&validation), separator, vocabulary, bytes, store)?;
    let written = ["documents.jsonl", "samples.jsonl", "tokenizer.json"];
    let mut files = written.map(|name| ListedFile::of(folder, name)).into_iter().collect::<Result<Vec<_>, _>>()?;
    files.extend([&train, &validation, &test].into_iter().flat_map(|side| side.shards.iter().cloned()));
    files.sort_by(|a, b| a.path.cmp(&b.path));

    let steps = steps_over(stages);
    let choice = &recipe.tokenizer;
    let existing = || [&choice.vocabulary, &choice.merges, &choice.file].into_iter().flatten();
    let bytes_per_token = |side: &Side| side.text_bytes as f64 / side.text_tokens.max(1) as f64;
    Ok(Manifest {
        format: FORMAT,
        name: recipe.name().to_owned(),
        key: corpus_key(recipe),
        title: recipe.title.clone(),
        description: recipe.description.clone(),
        language: recipe.language.clone(),
        licence: recipe.licence.clone(),
        citation: recipe.citation.clone(),
        limitations: recipe.limitations.clone(),
        recipe: recipe.as_json(),
        funnel: funnel(&steps, candidates, fates),
        lengths: lengths.lengths(stages.iter().map(CleanStage::name)),
        duplicate_group_sizes: group_sizes(fates),
        steps,
        documents,
        contamination,
        across_split: Some(across_split),
        largest_duplicate_groups: duplicate_groups(stages, candidates, fates),
        split_rule: split_rule(recipe),
        tokenizer: TokenizerRecord {
            kind: match choice.kind {
                TokenizerKind::Bpe => "bpe",
                TokenizerKind::Unigram => "unigram",
                TokenizerKind::Gpt2 => "gpt2",
                TokenizerKind::File => "file",
            }
            .to_owned(),
            encoder: encoder.library().to_owned(),
            sha256: tokenizer.sha256(),
            vocabulary_size: tokenizer.vocabulary_size(),
            separator: tokenizer.separator(),
            separator_text: choice.separator.clone(),
            validation_bytes_per_token: bytes_per_token(&validation),
            train_bytes_per_token: bytes_per_token(&train),
            unused_tokens: measured.unused_tokens,
            licence: existing().map(|f| f.licence.clone()).next().unwrap_or_default(),
            citation: existing().map(|f| f.citation.clone()).next().unwrap_or_default(),
            inputs: existing().map(|f| f.sha256).collect(),
        },
        sources,
        train,
        validation,
        test,
        baselines: measured.models,
        validation_documents,
        files,
    })
}

/// The counts of each step, over all sources.
fn steps_over(stages: &[CleanStage]) -> Vec<StepCounts> {
    let mut total: Vec<StepCounts> = Vec::new();
    for stage in stages {
        if total.is_empty() {
            total = stage.record.steps.clone();
            continue;
        }
        total.iter_mut().zip(&stage.record.steps).for_each(|(sum, step)| sum.add(step));
    }
    total
}

fn split_rule(recipe: &Recipe) -> String {
    let (share, test) = (recipe.split.validation, recipe.split.test);
    if recipe.split.by_source {
        let then = if test > 0.0 { format!(", the next until they hold {test} of them test") } else { String::new() };
        format!(
            "of each source, the documents of lowest rank until they hold {share} of its bytes are validation{then}; the rank of a document is the SHA-256 of its text, hashed again"
        )
    } else {
        let then = if test > 0.0 { format!(", and test from there to {}", share + test) } else { String::new() };
        format!(
            "a document is validation if its rank, the SHA-256 of its text hashed again and read as a number in [0, 1), is below {share}{then}"
        )
    }
}

/// The largest groups first; of equal ones, that of the earlier document.
fn duplicate_groups(stages: &[CleanStage], candidates: &[Candidate], fates: &[Fate]) -> Vec<DuplicateGroup> {
    const GROUPS: usize = 20;
    const EXAMPLES: usize = 5;
    let id = |at: u32| {
        let candidate = &candidates[at as usize];
        format!("{}#{}", stages[candidate.source as usize].name(), candidate.index)
    };
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (at, fate) in (0..).zip(fates) {
        let mut first = match fate {
            Fate::Duplicate(of) | Fate::NearDuplicate(of) => *of,
            Fate::Train | Fate::Validation | Fate::Test | Fate::Contaminated(_) | Fate::Leaked(_) => continue,
        };
        // What an exact duplicate repeats can itself be a near duplicate of another.
        while let Fate::NearDuplicate(of) = fates[first as usize] {
            first = of;
        }
        members.entry(first).or_default().push(at);
    }
    let mut groups: Vec<(u32, Vec<u32>)> = members.into_iter().collect();
    groups.sort_by_key(|(first, members)| (std::cmp::Reverse(members.len()), *first));
    let group = |(first, members): (u32, Vec<u32>)| DuplicateGroup {
        kept: id(first),
        left_out: members.len() as u64,
        examples: members.iter().take(EXAMPLES).map(|&at| id(at)).collect(),
    };
    groups.into_iter().take(GROUPS).map(group).collect()
}
