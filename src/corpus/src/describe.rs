//! Gathers what every stage found into the manifest.

use std::collections::BTreeMap;
use std::path::Path;

use crate::baselines::baselines;
use crate::clean::StepCounts;
use crate::encode::Written;
use crate::error::CorpusError;
use crate::funnel::{funnel, group_sizes};
use crate::lengths::{LengthCounter, SideOf};
use crate::manifest::{
    DocumentCounts, DuplicateGroup, FORMAT, Manifest, ManifestFile, Side, SourceRecord, TaskContamination,
    TokenizerRecord, ValidationDocument,
};
use crate::prepared::corpus_key;
use crate::recipe::{Recipe, TokenizerKind};
use crate::select::{Candidate, Fate};
use crate::stages::CleanStage;
use crate::store::ListedFile;
use crate::tokenizer::Encoder;

#[expect(clippy::too_many_arguments, reason = "it gathers what every stage found")]
pub(crate) fn describe(
    recipe: &Recipe,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
    contamination: Vec<TaskContamination>,
    encoder: &Encoder,
    train: Written,
    validation: Written,
    folder: &Path,
) -> Result<Manifest, CorpusError> {
    let tokenizer = encoder.tokenizer();
    let or = |own: &str, whole: &str| {
        if own.is_empty() { whole.to_owned() } else { own.to_owned() }
    };
    let mut sources: Vec<SourceRecord> = stages
        .iter()
        .map(|stage| {
            let source = stage.source.as_ref();
            SourceRecord {
                name: stage.name().to_owned(),
                title: source.map_or("", |s| &s.title).to_owned(),
                url: source.and_then(|s| s.url.clone()),
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
                validation_documents: 0,
                validation_bytes: 0,
                validation_tokens: 0,
            }
        })
        .collect();
    let read = stages.iter().map(|stage| stage.record.documents_read).sum();
    let mut documents =
        DocumentCounts { read, removed_by_steps: read - candidates.len() as u64, ..DocumentCounts::default() };
    let mut lengths = LengthCounter::new(stages.len());
    let mut validation_documents = Vec::new();
    let (mut train_side, mut validation_side) = (Side::default(), Side::default());
    let (mut train_tokens, mut validation_tokens) = (train.document_tokens.iter(), validation.document_tokens.iter());
    for (candidate, fate) in candidates.iter().zip(fates) {
        let source = &mut sources[candidate.source];
        let add = |side: &mut Side, tokens: u64| {
            side.documents += 1;
            side.text_bytes += candidate.bytes;
            side.text_tokens += tokens;
            side.tokens += tokens + 1;
        };
        match fate {
            Fate::Duplicate(_) => documents.exact_duplicates += 1,
            Fate::NearDuplicate(_) => documents.near_duplicates += 1,
            Fate::Contaminated(_) => documents.contaminated += 1,
            Fate::Train => {
                let tokens = *train_tokens.next().expect("each training document was encoded");
                documents.train += 1;
                source.train_documents += 1;
                source.train_bytes += candidate.bytes;
                source.train_tokens += tokens;
                add(&mut train_side, tokens);
                lengths.add(candidate.source, SideOf::Train, candidate.bytes, tokens);
            }
            Fate::Validation => {
                let tokens = *validation_tokens.next().expect("each validation document was encoded");
                documents.validation += 1;
                source.validation_documents += 1;
                source.validation_bytes += candidate.bytes;
                source.validation_tokens += tokens;
                add(&mut validation_side, tokens);
                lengths.add(candidate.source, SideOf::Validation, candidate.bytes, tokens);
                let id = format!("{}#{}", source.name, candidate.index);
                validation_documents.push(ValidationDocument {
                    id,
                    sha256: candidate.sha256,
                    bytes: candidate.bytes,
                    tokens,
                });
            }
        }
    }
    let paths = |files: &[ManifestFile]| files.iter().map(|file| folder.join(&file.path)).collect::<Vec<_>>();
    let measured = baselines(&paths(&train.shards), &paths(&validation.shards), tokenizer.separator())?;
    let written = ["documents.jsonl", "samples.jsonl", "tokenizer.json"];
    let mut files = written.map(|name| ListedFile::of(folder, name)).into_iter().collect::<Result<Vec<_>, _>>()?;
    files.extend(train.shards.iter().chain(&validation.shards).cloned());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    train_side.shards = train.shards;
    validation_side.shards = validation.shards;

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
        recipe: serde_json::to_value(&**recipe).expect("plain structs serialize to memory"),
        funnel: funnel(&steps, candidates, fates),
        lengths: lengths.lengths(stages.iter().map(CleanStage::name)),
        duplicate_group_sizes: group_sizes(fates),
        steps,
        documents,
        contamination,
        largest_duplicate_groups: duplicate_groups(stages, candidates, fates),
        split_rule: split_rule(recipe),
        tokenizer: TokenizerRecord {
            kind: match choice.kind {
                TokenizerKind::Bpe => "bpe",
                TokenizerKind::Gpt2 => "gpt2",
                TokenizerKind::File => "file",
            }
            .to_owned(),
            encoder: encoder.library().to_owned(),
            sha256: tokenizer.sha256(),
            vocabulary_size: tokenizer.vocabulary_size(),
            separator: tokenizer.separator(),
            separator_text: choice.separator.clone(),
            validation_bytes_per_token: bytes_per_token(&validation_side),
            train_bytes_per_token: bytes_per_token(&train_side),
            unused_tokens: measured.unused_tokens,
            licence: existing().map(|f| f.licence.clone()).next().unwrap_or_default(),
            citation: existing().map(|f| f.citation.clone()).next().unwrap_or_default(),
            inputs: existing().map(|f| f.sha256).collect(),
        },
        sources,
        train: train_side,
        validation: validation_side,
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
        for (sum, step) in total.iter_mut().zip(&stage.record.steps) {
            sum.documents_in += step.documents_in;
            sum.documents_out += step.documents_out;
            sum.documents_changed += step.documents_changed;
            sum.bytes_in += step.bytes_in;
            sum.bytes_out += step.bytes_out;
        }
    }
    total
}

fn split_rule(recipe: &Recipe) -> String {
    let share = recipe.split.validation;
    if recipe.split.by_source {
        format!(
            "of each source, the documents of lowest rank until they hold {share} of its bytes are validation; the rank of a document is the SHA-256 of its text, hashed again"
        )
    } else {
        format!(
            "a document is validation if its rank, the SHA-256 of its text hashed again and read as a number in [0, 1), is below {share}"
        )
    }
}

/// The largest groups first; of equal ones, that of the earlier document.
fn duplicate_groups(stages: &[CleanStage], candidates: &[Candidate], fates: &[Fate]) -> Vec<DuplicateGroup> {
    const GROUPS: usize = 20;
    const EXAMPLES: usize = 5;
    let id = |at: usize| format!("{}#{}", stages[candidates[at].source].name(), candidates[at].index);
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, fate) in fates.iter().enumerate() {
        let mut first = match fate {
            Fate::Duplicate(of) | Fate::NearDuplicate(of) => *of,
            Fate::Train | Fate::Validation | Fate::Contaminated(_) => continue,
        };
        // What an exact duplicate repeats can itself be a near duplicate of another.
        while let Fate::NearDuplicate(of) = fates[first] {
            first = of;
        }
        members.entry(first).or_default().push(at);
    }
    let mut groups: Vec<(usize, Vec<usize>)> = members.into_iter().collect();
    groups.sort_by_key(|(first, members)| (std::cmp::Reverse(members.len()), *first));
    let group = |(first, members): (usize, Vec<usize>)| DuplicateGroup {
        kept: id(first),
        left_out: members.len() as u64,
        examples: members.iter().take(EXAMPLES).map(|&at| id(at)).collect(),
    };
    groups.into_iter().take(GROUPS).map(group).collect()
}
