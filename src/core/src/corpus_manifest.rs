//! What a prepared corpus says of itself: `manifest.json`. It names every input, stage and output by its digest and
//! accounts for every document. It holds nothing that depends on the machine, the folder or the time, so the digest
//! of the file itself is the root that stands for the whole corpus; `sha256sum manifest.json` gives the same number.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::files::{self, FileError};

/// Raised with every change that an older reader would misread.
pub const FORMAT: u32 = 4;

/// The manifest of a corpus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The recipe's name.
    pub name: String,
    /// Digest of what the corpus depends on: the recipe and the version of the stages.
    pub key: Digest,
    /// Its title.
    pub title: String,
    /// What it is.
    pub description: String,
    /// Language of the text.
    pub language: String,
    /// Licence of the corpus as a whole.
    pub licence: String,
    /// How to cite it.
    pub citation: String,
    /// Gaps, slants, leakage.
    pub limitations: String,
    /// The recipe as checked, every default filled in.
    pub recipe: serde_json::Value,
    /// Inputs and what each gave.
    pub sources: Vec<SourceRecord>,
    /// What each cleaning step did, over all sources, in order.
    pub steps: Vec<StepCounts>,
    /// Documents by fate; the parts add up to `read`.
    pub documents: DocumentCounts,
    /// What is left after each stage, from what was read to both sides.
    pub funnel: Vec<FunnelStage>,
    /// How long the kept documents are.
    pub lengths: DocumentLengths,
    /// How many groups of repeated documents there are of each size, exact and near.
    pub duplicate_group_sizes: Vec<GroupSize>,
    /// The largest groups of repeated documents, exact and near.
    pub largest_duplicate_groups: Vec<DuplicateGroup>,
    /// What was found of the validation tasks that the recipe names.
    pub contamination: Vec<TaskContamination>,
    /// Training documents that nearly repeat a held-out one and were kept; absent from manifests before version 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub across_split: Option<AcrossSplit>,
    /// How documents were divided, in words.
    pub split_rule: String,
    /// The training side.
    pub train: Side,
    /// The validation side.
    pub validation: Side,
    /// The test side; empty unless the recipe asks for one.
    pub test: Side,
    /// The vocabulary.
    pub tokenizer: TokenizerRecord,
    /// What a model has to beat on validation.
    pub baselines: Vec<Baseline>,
    /// The validation documents, in the order of the validation shards.
    pub validation_documents: Vec<ValidationDocument>,
    /// Every other file of the folder, sorted by path.
    pub files: Vec<ListedFile>,
}

/// With fewer validation documents, no difference between runs is judged.
pub const FEWEST_DOCUMENTS: u64 = 5;
/// With fewer validation documents, small differences between runs do not show.
pub const FEW_DOCUMENTS: u64 = 20;

impl Manifest {
    /// Whether it has the validation documents of another, in their order: losses on them can be paired, whatever was trained on.
    pub fn has_validation_text_of(&self, other: &Manifest) -> bool {
        let text = |of: &Self| of.validation_documents.iter().map(|document| document.sha256).collect::<Vec<_>>();
        text(self) == text(other)
    }

    /// What makes losses on the held-out sides hard to judge by, each with a hint.
    pub fn cautions(&self) -> Vec<String> {
        let documents = self.documents.validation;
        let mut cautions = Vec::new();
        if documents < FEW_DOCUMENTS {
            let there = if documents == 1 {
                "is one validation document".to_owned()
            } else {
                format!("are {documents} validation documents")
            };
            let judged = if documents < FEWEST_DOCUMENTS {
                format!("below {FEWEST_DOCUMENTS}, no difference between runs is judged")
            } else {
                format!("below {FEW_DOCUMENTS}, only large differences between runs show")
            };
            cautions.push(format!("there {there}: {judged}\nhint: {}", self.hint_for_more_documents()));
        }
        let sides = self.across_split.iter().flat_map(|across| {
            let of = [
                ("validation", across.validation_documents, documents),
                ("test", across.test_documents, self.documents.test),
            ];
            of.into_iter().filter(|(_, repeated, _)| *repeated > 0).map(move |side| (across, side))
        });
        for (across, (side, repeated, of)) in sides {
            let AcrossSplit { unit, length, jaccard, .. } = across;
            cautions.push(format!(
                "{repeated} of {of} {side} documents are nearly repeated in training (they share {jaccard} of their n-grams of {length} {unit} or more)\nhint: `leakage = {{}}` in [split] of the recipe leaves such training documents out"
            ));
        }
        cautions
    }

    /// How to get [`FEW_DOCUMENTS`] validation documents, and some more, as chance has its part.
    fn hint_for_more_documents(&self) -> String {
        let all = self.documents.train + self.documents.validation + self.documents.test;
        let hundredths = (125 * FEW_DOCUMENTS).div_ceil(all.max(1));
        if hundredths <= 30 {
            let (share, held_out) = (hundredths as f64 / 100.0, hundredths * all / 100);
            return format!("`validation = {share}` in [split] of the recipe holds about {held_out} documents out");
        }
        let more = if self.recipe["generate"].is_object() {
            "generate more `documents`"
        } else {
            "add text, or cut the sources into more documents (`split` in [documents] of the recipe)"
        };
        format!("{more}: holding enough of {all} documents out leaves few to train on")
    }
}

/// One input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// Its name in the recipe; of a file of a pattern the pattern's name, `/` and its path.
    pub name: String,
    /// The source of the recipe whose pattern stands for it, if one does.
    pub pattern: Option<String>,
    /// Its title.
    pub title: String,
    /// Where it can be had, if it has an address.
    pub url: Option<String>,
    /// Where it lay, from the folder of the project, if it did.
    pub path: Option<String>,
    /// Digest of its content; of a generated source, of its documents as JSON lines.
    pub sha256: Digest,
    /// Size of its content in bytes.
    pub bytes: u64,
    /// Its licence.
    pub licence: String,
    /// How to cite it.
    pub citation: String,
    /// Digest of what the cleaning stage depends on.
    pub stage_key: Digest,
    /// Digest of its documents after cleaning, as JSON lines.
    pub cleaned_sha256: Digest,
    /// Bytes of its head that were left out.
    pub head_bytes: u64,
    /// Lines that were not UTF-8 and were repaired.
    pub lines_repaired: u64,
    /// Documents read.
    pub documents_read: u64,
    /// Documents for training.
    pub train_documents: u64,
    /// Their text in bytes.
    pub train_bytes: u64,
    /// Their tokens, separators not counted.
    pub train_tokens: u64,
    /// How often they are written to the training shards; not a whole number where only some are written once more.
    pub epochs: f64,
    /// Documents for validation.
    pub validation_documents: u64,
    /// Their text in bytes.
    pub validation_bytes: u64,
    /// Their tokens, separators not counted.
    pub validation_tokens: u64,
    /// Documents for test.
    pub test_documents: u64,
    /// Their text in bytes.
    pub test_bytes: u64,
    /// Their tokens, separators not counted.
    pub test_tokens: u64,
    /// Tokens for each word (what stands between white space) of its documents: the fertility of the vocabulary.
    pub fertility_tokens_per_word: f64,
}

/// Documents by fate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentCounts {
    /// Read from the sources.
    pub read: u64,
    /// Removed by a cleaning step.
    pub removed_by_steps: u64,
    /// Left out because an earlier one has the same text.
    pub exact_duplicates: u64,
    /// Left out because an earlier one has nearly the same text.
    pub near_duplicates: u64,
    /// Left out because they hold an item of a validation task.
    pub contaminated: u64,
    /// Left out because they nearly repeat a held-out one.
    pub leaked: u64,
    /// For training.
    pub train: u64,
    /// For validation.
    pub validation: u64,
    /// For test.
    pub test: u64,
}

/// Training documents that nearly repeat a held-out one and were kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcrossSplit {
    /// What n-grams are made of: `words` or `characters`. This and the two below are those of `split.leakage` or
    /// `duplicates.near` of the recipe, by which none is left, or else the default of these.
    pub unit: String,
    /// Units in an n-gram.
    pub length: u32,
    /// Jaccard similarity of the two sets of n-grams from which on one document nearly repeats the other.
    pub jaccard: f64,
    /// Training documents that nearly repeat a held-out one.
    pub train_documents: u64,
    /// Validation documents that a training document nearly repeats.
    pub validation_documents: u64,
    /// Test documents that a training document nearly repeats.
    pub test_documents: u64,
    /// Some of the training documents, each with the first held-out one that it repeats.
    pub examples: Vec<[String; 2]>,
}

/// Documents that repeat another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DuplicateGroup {
    /// The one that was kept.
    pub kept: String,
    /// How many were left out.
    pub left_out: u64,
    /// Some of them.
    pub examples: Vec<String>,
}

/// One side of the split. A document that is written several times counts as often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Documents.
    pub documents: u64,
    /// Bytes of their text.
    pub text_bytes: u64,
    /// Tokens of their text, separators not counted.
    pub text_tokens: u64,
    /// Tokens in the shards: those of the text and one separator for each document.
    pub tokens: u64,
    /// The shards in order.
    pub shards: Vec<ListedFile>,
}

/// The vocabulary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRecord {
    /// `bpe` or `unigram` (trained here), `gpt2` or `file`.
    pub kind: String,
    /// The library that encoded; one other than `tokenizers` was compared with it on a sample.
    pub encoder: String,
    /// Digest of `tokenizer.json`.
    pub sha256: Digest,
    /// Token ids, the separator included.
    pub vocabulary_size: u32,
    /// The token that stands before every document.
    pub separator: u32,
    /// How it is spelled.
    pub separator_text: String,
    /// Bytes of validation text for each token of it.
    pub validation_bytes_per_token: f64,
    /// Bytes of training text for each token of it.
    pub train_bytes_per_token: f64,
    /// Token ids that no training document contains.
    pub unused_tokens: u32,
    /// Licence of an existing vocabulary.
    pub licence: String,
    /// How to cite an existing vocabulary.
    pub citation: String,
    /// Digests of the files that an existing vocabulary came from.
    pub inputs: Vec<Digest>,
}

/// One validation document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationDocument {
    /// Its source and its place there: `aesops-fables#12`.
    pub id: String,
    /// Digest of its text.
    pub sha256: Digest,
    /// Bytes of its text.
    pub bytes: u64,
    /// Tokens of its text.
    pub tokens: u64,
}

/// The validation loss of one baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// `unigram` or `bigram`.
    pub model: String,
    /// How it estimates.
    pub estimate: String,
    /// Training tokens it has counted.
    pub train_tokens: u64,
    /// Mean negative log-likelihood of a validation token, in nats.
    pub loss_nats_per_token: f64,
    /// The same as bits for each byte of validation text.
    pub bits_per_byte: f64,
}

/// What one step did to the documents of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCounts {
    /// The step.
    pub step: String,
    /// Documents that came to it.
    pub documents_in: u64,
    /// Documents it kept.
    pub documents_out: u64,
    /// Documents it kept with another text.
    pub documents_changed: u64,
    /// Bytes that came to it.
    pub bytes_in: u64,
    /// Bytes it kept.
    pub bytes_out: u64,
}

impl StepCounts {
    /// Adds what the step did to other documents.
    pub fn add(&mut self, other: &StepCounts) {
        self.documents_in += other.documents_in;
        self.documents_out += other.documents_out;
        self.documents_changed += other.documents_changed;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

/// What was found of one task or subtask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskContamination {
    /// The task or subtask.
    pub task: String,
    /// Its items.
    pub items: u64,
    /// Items too short to be looked for.
    pub items_too_short: u64,
    /// Items of which a document holds an n-gram.
    pub items_found: u64,
    /// Documents that hold one.
    pub documents: u64,
    /// Some of the items, by their place in the task, from 0.
    pub examples: Vec<u64>,
}

/// What is left after a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunnelStage {
    /// `read`; the name of a cleaning step, with `-2` and so on where a recipe has it again; `exact_duplicates`,
    /// `near_duplicates`, `contaminated`, `leaked`: without these. What is left after the last is all sides, each
    /// document once.
    pub stage: String,
    /// Documents left.
    pub documents: u64,
    /// Bytes of their text, as it is after the stage.
    pub bytes: u64,
}

/// How many groups of repeated documents have a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSize {
    /// Documents of a group, the one that was kept counted too.
    pub documents: u64,
    /// Groups of this size.
    pub groups: u64,
}

/// Lengths of the kept documents. One that is written to the shards several times counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentLengths {
    /// The training side.
    pub train: TextLengths,
    /// The validation side.
    pub validation: TextLengths,
    /// The test side; of no documents unless the recipe asks for one.
    pub test: TextLengths,
    /// All sides of each source, in the order of the sources.
    pub sources: Vec<SourceLengths>,
}

/// Lengths of one source's documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceLengths {
    /// The source.
    pub source: String,
    /// Its documents of all sides.
    pub lengths: TextLengths,
}

/// Lengths of the same documents in two units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextLengths {
    /// Bytes of UTF-8.
    pub bytes: Lengths,
    /// Tokens, the separator not counted.
    pub tokens: Lengths,
}

/// Some lengths, summed up. Of no documents, every number is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lengths {
    /// How many documents.
    pub documents: u64,
    /// The sum of their lengths.
    pub total: u64,
    /// The shortest.
    pub smallest: u64,
    /// The least length that at least a quarter of the documents do not exceed.
    pub lower_quartile: u64,
    /// The same of half of them.
    pub median: u64,
    /// The same of three quarters.
    pub upper_quartile: u64,
    /// The longest.
    pub largest: u64,
    /// At place `k`, documents of a length from `2^k` to `2^(k+1) - 1`; the first holds empty ones too. Ends with the
    /// last that is not 0.
    pub by_power_of_two: Vec<u64>,
}

/// A file as a manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Path relative to the folder of the manifest, with `/`.
    pub path: String,
    /// Digest of its content.
    pub sha256: Digest,
    /// Size in bytes.
    pub size_bytes: u64,
}

impl ListedFile {
    /// Digests the file `path` of `folder`.
    pub fn of(folder: &Path, path: &str) -> Result<Self, FileError> {
        let whole = folder.join(path);
        Ok(ListedFile {
            path: path.to_owned(),
            sha256: Digest::of_file(&whole)?,
            size_bytes: files::size_bytes(&whole)?,
        })
    }

    /// What is wrong with the file of this name in `folder`, if anything is.
    pub fn damage(&self, folder: &Path) -> Option<String> {
        match Self::of(folder, &self.path) {
            Err(e) if e.is_not_found() => Some("it is missing".to_owned()),
            Err(e) => Some(e.to_string()),
            Ok(found) if found.sha256 != self.sha256 => {
                Some(format!("its digest is {}, not {} as recorded", found.sha256.short(), self.sha256.short()))
            }
            Ok(_) => None,
        }
    }
}
