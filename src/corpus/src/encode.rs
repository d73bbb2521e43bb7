//! Writes token shards: documents in their order, encoded on all threads, the same bytes on any number of them.

use std::path::Path;

use harness_core::shards::ShardWriter;
use rayon::prelude::*;

use crate::error::CorpusError;
use crate::store::ListedFile;
use crate::tokenizer::Encoder;

/// A side as written.
pub(crate) struct Written {
    /// The shards in order.
    pub shards: Vec<ListedFile>,
    /// What each document became, in the order of writing.
    pub documents: Vec<Encoded>,
}

/// All sides. One that the recipe does not ask for has no documents.
pub(crate) struct Sides {
    pub train: Written,
    pub validation: Written,
    pub test: Written,
}

/// Sizes of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    /// Its place among the candidates.
    pub at: u32,
    /// Its tokens, the separator not counted.
    pub tokens: u32,
    /// Its words: what stands between white space.
    pub words: u32,
}

/// Collects the documents of one side and writes them as `<side>-00000.tokens`, ...
pub(crate) struct SideWriter<'a> {
    folder: &'a Path,
    side: &'static str,
    encoder: &'a Encoder<'a>,
    shard_tokens: u64,
    shard: ShardWriter,
    checked: bool,
    documents: Vec<Encoded>,
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
            checked: check,
            documents: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Encodes documents, given with their places, on all threads.
    pub fn push(&mut self, places: &[usize], texts: &[String]) -> Result<(), CorpusError> {
        let encoded: Vec<(Vec<u32>, usize)> = texts
            .par_iter()
            .map(|text| {
                let tokens = self.encoder.encode(text)?;
                if self.checked && self.encoder.tokenizer().decode(&tokens)? != *text {
                    return Err(CorpusError::RoundTrip { text: text.chars().take(60).collect() });
                }
                Ok((tokens, text.split_whitespace().count()))
            })
            .collect::<Result<_, CorpusError>>()?;
        for ((text, at), (tokens, words)) in texts.iter().zip(places).zip(encoded) {
            self.shard.push(self.encoder.tokenizer().separator(), &tokens, text.len() as u64);
            // A document has fewer than 2^32 bytes, and so tokens and words.
            self.documents.push(Encoded { at: *at as u32, tokens: tokens.len() as u32, words: words as u32 });
            if self.shard.len() >= self.shard_tokens {
                self.write_shard()?;
            }
        }
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result<Written, CorpusError> {
        if !self.shard.is_empty() {
            self.write_shard()?;
        }
        Ok(Written { shards: self.files, documents: self.documents })
    }

    fn write_shard(&mut self) -> Result<(), CorpusError> {
        let name = format!("{}-{:05}.tokens", self.side, self.files.len());
        self.shard.write(&self.folder.join(&name))?;
        self.files.push(ListedFile::of(self.folder, &name)?);
        self.shard = ShardWriter::new(self.encoder.tokenizer().vocabulary_size());
        Ok(())
    }
}
