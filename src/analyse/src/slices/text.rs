//! The text behind the losses: token ids and bytes of the held-out documents, and how often each token stands in the
//! training shards. Read from the data store, after their digests were held against those that the run recorded: a
//! slice of another text would be a number about nothing.

use std::path::PathBuf;

use harness_core::Digest;
use harness_core::byte_level::bytes_of_tokens;
use harness_core::files;
use harness_core::names::{Project, is_inside};
use harness_core::shards::{Shard, TokenStream};

use super::SliceError;
use super::words::{Part, WordKind, classify};
use harness_record::SealedRun;

/// Tokens of one read of the training shards.
const CHUNK_TOKENS: u64 = 1 << 20;

/// The held-out documents of a run as tokens.
pub(super) struct Text {
    /// Token ids of each document, its separator first, in the order of the validation shards.
    pub documents: Vec<Vec<u32>>,
    /// The bytes of text behind each token id.
    bytes_of: Vec<Vec<u8>>,
}

impl Text {
    /// Opens the validation shards and the tokenizer of a run.
    pub(super) fn open(project: &Project, run: &SealedRun) -> Result<Self, SliceError> {
        let data = &run.open.data;
        let tokenizer = stored(project, run, &data.tokenizer, data.tokenizer_sha256)?;
        let bytes_of = bytes_of_tokens(&files::read(&tokenizer)?, run.corpus.tokenizer.vocabulary_size)
            .ok_or_else(|| SliceError::NotByteLevel(data.corpus.clone()))?;
        let mut documents = Vec::new();
        for path in shards(project, run, "validation")? {
            let shard = Shard::open(&path)?;
            for place in shard.documents() {
                let mut tokens = vec![0; place.tokens as usize];
                shard.copy_tokens(place.first_token, &mut tokens);
                documents.push(tokens.into_iter().map(|token| token as u32).collect());
            }
        }
        let text = Text { documents, bytes_of };
        let outside = |token: &&u32| **token as usize >= text.bytes_of.len();
        if let Some(token) = text.documents.iter().flatten().find(outside) {
            return Err(SliceError::OutsideVocabulary { token: *token, corpus: data.corpus.clone() });
        }
        Ok(text)
    }

    /// The bytes behind a token.
    pub(super) fn bytes(&self, token: u32) -> &[u8] {
        &self.bytes_of[token as usize]
    }

    /// Tokens without separators, in order: those that a model is asked for.
    pub(super) fn predicted(&self) -> impl Iterator<Item = u32> {
        self.documents.iter().flat_map(|tokens| tokens[1..].iter().copied())
    }

    /// Part of word and kind of word of every predicted token.
    pub(super) fn classes(&self) -> Vec<(Part, WordKind)> {
        let mut classes = Vec::new();
        for tokens in &self.documents {
            let (mut bytes, mut ends) = (Vec::new(), Vec::new());
            for &token in &tokens[1..] {
                bytes.extend_from_slice(self.bytes(token));
                ends.push(bytes.len());
            }
            // A text was encoded from UTF-8; should a damaged vocabulary give other bytes, each bad one is one character.
            let text = match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => {
                    error.into_bytes().into_iter().map(|b| if b < 0x80 { char::from(b) } else { '?' }).collect()
                }
            };
            classes.extend(classify(&text, ends));
        }
        classes
    }

    /// The text of some tokens; a character cut at either end is shown as U+FFFD.
    pub(super) fn of(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|&token| self.bytes(token)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How often each token id stands in the training shards, each shard read once.
    pub(super) fn training_counts(&self, project: &Project, run: &SealedRun) -> Result<Vec<u64>, SliceError> {
        let stream = TokenStream::open(&shards(project, run, "train")?)?;
        let mut counts = vec![0; self.bytes_of.len()];
        let mut chunk = vec![0; CHUNK_TOKENS as usize];
        let mut first = 0;
        while first < stream.tokens() {
            let count = CHUNK_TOKENS.min(stream.tokens() - first);
            let chunk = &mut chunk[..count as usize];
            stream.copy_tokens(first, chunk);
            for &token in &*chunk {
                if let Some(count) = counts.get_mut(token as usize) {
                    *count += 1;
                }
            }
            first += count;
        }
        Ok(counts)
    }
}

/// The shards of one side, each with the digest that the run recorded.
fn shards(project: &Project, run: &SealedRun, split: &str) -> Result<Vec<PathBuf>, SliceError> {
    let of_split = run.open.data.shards.iter().filter(|shard| shard.split == split);
    of_split.map(|shard| stored(project, run, &shard.path, shard.sha256)).collect()
}

/// A file of the store, if it is what the run used.
fn stored(project: &Project, run: &SealedRun, path: &str, expected: Digest) -> Result<PathBuf, SliceError> {
    let (corpus, whole) = (run.open.data.corpus.clone(), project.root().join(path));
    // A path of a record that was tampered with must not lead out of the project.
    if !is_inside(path) || !files::is_file(&whole) {
        return Err(SliceError::NotHere { path: path.to_owned(), corpus });
    }
    let found = Digest::of_file(&whole)?;
    if found != expected {
        return Err(SliceError::OtherText { path: path.to_owned(), found, expected, corpus });
    }
    Ok(whole)
}
