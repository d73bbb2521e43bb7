//! Writes token shards: documents in their order, encoded on all threads, the same bytes on any number of them.

use std::path::Path;

use harness_core::shards::ShardWriter;
use rayon::prelude::*;

use super::lengths::LengthCounter;
use crate::error::CorpusError;
use crate::tokenize::Encoder;
use harness_core::corpus_manifest::{ListedFile, Side};

/// A side as written.
pub(crate) struct Written {
    /// The side as the manifest has it.
    pub side: Side,
    /// What its documents come to by source, each document once.
    pub sources: Vec<SourceSizes>,
    /// The documents one by one, of a held-out side.
    pub listed: Vec<Encoded>,
}

/// All sides. One that the recipe does not ask for has no documents.
pub(crate) struct Sides {
    pub train: Written,
    pub validation: Written,
    pub test: Written,
    pub lengths: LengthCounter,
}

/// Sizes of the documents of a source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SourceSizes {
    pub documents: u64,
    pub bytes: u64,
    pub tokens: u64,
    pub words: u64,
}

impl SourceSizes {
    pub(crate) fn add(&mut self, document: &Encoded) {
        self.documents += 1;
        self.bytes += document.bytes;
        self.tokens += document.tokens;
        self.words += document.words;
    }
}

/// Sizes of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    /// Its place among the candidates.
    pub at: usize,
    /// Bytes of its text.
    pub bytes: u64,
    /// Its tokens, the separator not counted.
    pub tokens: u64,
    /// Its words: what stands between white space.
    pub words: u64,
}

/// Collects the documents of one side and writes them as `<side>-00000.tokens`, ...
pub(crate) struct SideWriter<'a> {
    folder: &'a Path,
    side: &'static str,
    encoder: &'a Encoder<'a>,
    shard_tokens: u64,
    shard: ShardWriter,
    written: Side,
}

impl<'a> SideWriter<'a> {
    /// A writer into `folder`.
    pub(crate) fn new(folder: &'a Path, side: &'static str, encoder: &'a Encoder<'a>, shard_tokens: u64) -> Self {
        SideWriter {
            folder,
            side,
            encoder,
            shard_tokens,
            shard: ShardWriter::new(encoder.tokenizer().vocabulary_size()),
            written: Side::default(),
        }
    }

    /// Encodes documents, given with their places, on all threads.
    pub(crate) fn push(&mut self, places: &[usize], texts: &[String]) -> Result<Vec<Encoded>, CorpusError> {
        let encoded: Vec<(Vec<u32>, Encoded)> = places
            .par_iter()
            .zip(texts)
            .map(|(&at, text)| {
                let ids = self.encoder.encode(text)?;
                let (bytes, tokens, words) = (text.len(), ids.len(), text.split_whitespace().count());
                Ok((ids, Encoded { at, bytes: bytes as u64, tokens: tokens as u64, words: words as u64 }))
            })
            .collect::<Result<_, CorpusError>>()?;
        for (ids, document) in &encoded {
            self.shard.push(self.encoder.tokenizer().separator(), ids, document.bytes);
            self.written.documents += 1;
            self.written.text_bytes += document.bytes;
            self.written.text_tokens += document.tokens;
            self.written.tokens += document.tokens + 1;
            if self.shard.len() >= self.shard_tokens {
                self.write_shard()?;
            }
        }
        Ok(encoded.into_iter().map(|(_, document)| document).collect())
    }

    /// Writes what is left.
    pub(crate) fn finish(mut self) -> Result<Side, CorpusError> {
        if !self.shard.is_empty() {
            self.write_shard()?;
        }
        Ok(self.written)
    }

    fn write_shard(&mut self) -> Result<(), CorpusError> {
        let name = format!("{}-{:05}.tokens", self.side, self.written.shards.len());
        self.shard.write(&self.folder.join(&name))?;
        self.written.shards.push(ListedFile::of(self.folder, &name)?);
        self.shard = ShardWriter::new(self.encoder.tokenizer().vocabulary_size());
        Ok(())
    }
}
