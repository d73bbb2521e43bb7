//! What a prepared corpus says of itself: `manifest.json`. It names every input, stage and output by its digest and
//! accounts for every document. It holds nothing that depends on the machine, the folder or the time, so the digest
//! of the file itself is the root that stands for the whole corpus; `sha256sum manifest.json` gives the same number.

use harness_core::digest::Digest;
use serde::{Deserialize, Serialize};

pub use crate::baselines::Baseline;
use crate::clean::StepCounts;
pub use crate::contamination::TaskContamination;
pub use crate::funnel::{FunnelStage, GroupSize};
pub use crate::lengths::{DocumentLengths, Lengths, SourceLengths, TextLengths};
pub use crate::store::ListedFile as ManifestFile;

/// Raised with every change that an older reader would misread.
pub const FORMAT: u32 = 3;

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
    pub files: Vec<ManifestFile>,
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
    pub shards: Vec<ManifestFile>,
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
