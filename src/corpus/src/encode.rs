//! Writes token shards: documents in their order, encoded on all threads, the same bytes on any number of them.

use std::path::Path;

use harness_core::shards::ShardWriter;
use rayon::prelude::*;

use crate::error::CorpusError;
use crate::store::ListedFile;
use crate::tokenizer::Encoder;

/// Encoded together: enough to keep every thread busy, little enough to keep memory small.
const BATCH_BYTES: usize = 4 << 20;

/// A side as written.
pub(crate) struct Written {
    /// The shards in order.
    pub shards: Vec<ListedFile>,
    /// Tokens of each document, the separator not counted.
    pub document_tokens: Vec<u64>,
}

/// Collects the documents of one side and writes them as `<side>-00000.tokens`, ...
pub(crate) struct SideWriter<'a> {
    folder: &'a Path,
    side: &'static str,
    encoder: &'a Encoder<'a>,
    shard_tokens: u64,
    shard: ShardWriter,
    batch: Vec<String>,
    batch_bytes: usize,
    checked: bool,
    document_tokens: Vec<u64>,
    files: Vec<ListedFile>,
}

impl<'a> SideWriter<'a> {
    /// A writer into `folder`. With `check`, each document is decoded again and has to come back as it was.
    pub fn new(folder: &'a Path, side: &'static str, encoder: &'a Encoder<'a>, shard_tokens: u64, check: bool) -> Self {
        SideWriter {
            folder,
            side,
            encoder,
            shard_tokens,
            shard: ShardWriter::new(encoder.tokenizer().vocabulary_size()),
            batch: Vec::new(),
            batch_bytes: 0,
            checked: check,
            document_tokens: Vec::new(),
            files: Vec::new(),
        }
    }

    pub fn push(&mut self, text: String) -> Result<(), CorpusError> {
        self.batch_bytes += text.len();
        self.batch.push(text);
        if self.batch_bytes >= BATCH_BYTES { self.encode_batch() } else { Ok(()) }
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result<Written, CorpusError> {
        self.encode_batch()?;
        if !self.shard.is_empty() {
            self.write_shard()?;
        }
        Ok(Written { shards: self.files, document_tokens: self.document_tokens })
    }

    fn encode_batch(&mut self) -> Result<(), CorpusError> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let encoded: Vec<Vec<u32>> = batch
            .par_iter()
            .map(|text| {
                let tokens = self.encoder.encode(text)?;
                if self.checked && self.encoder.tokenizer().decode(&tokens)? != *text {
                    return Err(CorpusError::RoundTrip { text: text.chars().take(60).collect() });
                }
                Ok(tokens)
            })
            .collect::<Result<_, CorpusError>>()?;
        for (text, tokens) in batch.iter().zip(encoded) {
            self.shard.push(self.encoder.tokenizer().separator(), &tokens, text.len() as u64);
            self.document_tokens.push(tokens.len() as u64);
            if self.shard.len() >= self.shard_tokens {
                self.write_shard()?;
            }
        }
        Ok(())
    }

    fn write_shard(&mut self) -> Result<(), CorpusError> {
        let name = format!("{}-{:05}.tokens", self.side, self.files.len());
        self.shard.write(&self.folder.join(&name))?;
        self.files.push(ListedFile::of(self.folder, &name)?);
        self.shard = ShardWriter::new(self.encoder.tokenizer().vocabulary_size());
        Ok(())
    }
}
