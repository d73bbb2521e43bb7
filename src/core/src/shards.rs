//! Token shards: flat files of token ids that the trainer maps into memory without copying.
//!
//! Layout (little-endian, version 1): a header of 64 bytes (magic `HTOKENS1`, u32 bytes per token (2 or 4),
//! u32 vocabulary size, u64 tokens, u64 documents, zeros), the tokens, zeros up to a multiple of 8, then for
//! each document three u64: first token, tokens, bytes of its text. Every document begins with the
//! separator token, so a document of `n` tokens holds `n - 1` tokens of text, and the separator is the
//! context from which its first token is predicted.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::files::{self, FileError};

const MAGIC: &[u8; 8] = b"HTOKENS1";
const HEADER_BYTES: usize = 64;
const DOCUMENT_BYTES: usize = 24;

/// Where a document lies in its shard, and how long its text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// Index of its first token (the separator) in the shard.
    pub first_token: u64,
    /// Tokens, the leading separator included.
    pub tokens: u64,
    /// Bytes of the UTF-8 text behind the tokens.
    pub text_bytes: u64,
}

/// Why a shard cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not a shard, or is damaged.
    #[error("`{}` is not a usable token shard: {problem}\nhint: make it again with `harness data prepare`", path.display())]
    Damaged {
        /// The shard.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Collects documents and writes them as one shard.
pub struct ShardWriter {
    token_bytes: u32,
    vocabulary_size: u32,
    tokens: Vec<u8>,
    documents: Vec<Document>,
}

impl ShardWriter {
    /// An empty shard; tokens take two bytes where the vocabulary allows.
    pub fn new(vocabulary_size: u32) -> Self {
        let token_bytes = if vocabulary_size <= 1 << 16 { 2 } else { 4 };
        ShardWriter { token_bytes, vocabulary_size, tokens: Vec::new(), documents: Vec::new() }
    }

    /// Adds a document: the separator followed by the tokens of its text.
    pub fn push(&mut self, separator: u32, text_tokens: &[u32], text_bytes: u64) {
        let tokens = text_tokens.len() as u64 + 1;
        self.documents.push(Document { first_token: self.len(), tokens, text_bytes });
        for &token in std::iter::once(&separator).chain(text_tokens) {
            assert!(token < self.vocabulary_size, "token {token} is outside the vocabulary");
            self.tokens.extend_from_slice(&token.to_le_bytes()[..self.token_bytes as usize]);
        }
    }

    /// Tokens so far.
    pub fn len(&self) -> u64 {
        self.tokens.len() as u64 / u64::from(self.token_bytes)
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Documents so far.
    pub fn documents(&self) -> u64 {
        self.documents.len() as u64
    }

    /// Writes the shard atomically.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        files::write_with(path, |file| {
            let mut header = [0u8; HEADER_BYTES];
            header[..8].copy_from_slice(MAGIC);
            header[8..12].copy_from_slice(&self.token_bytes.to_le_bytes());
            header[12..16].copy_from_slice(&self.vocabulary_size.to_le_bytes());
            header[16..24].copy_from_slice(&self.len().to_le_bytes());
            header[24..32].copy_from_slice(&self.documents().to_le_bytes());
            file.write_all(&header)?;
            file.write_all(&self.tokens)?;
            file.write_all(&[0; 8][..padding(self.tokens.len())])?;
            for document in &self.documents {
                for number in [document.first_token, document.tokens, document.text_bytes] {
                    file.write_all(&number.to_le_bytes())?;
                }
            }
            io::Result::Ok(())
        })
    }
}

fn padding(bytes: usize) -> usize {
    bytes.next_multiple_of(8) - bytes
}

/// A shard mapped into memory. Nothing is copied and nothing is allocated from what the file claims.
pub struct Shard {
    map: Mmap,
    token_bytes: usize,
    vocabulary_size: u32,
    tokens: u64,
    documents: Vec<Document>,
}

impl Shard {
    /// Maps a shard after checking that every number in its header fits the file's size.
    pub fn open(path: &Path) -> Result<Self, ShardError> {
        let damaged = |problem: String| ShardError::Damaged { path: path.to_owned(), problem };
        let file: File = files::open(path)?;
        // SAFETY: shards are written once and renamed into place, so the mapped bytes do not change under us;
        // should another program truncate the file all the same, the worst is a SIGBUS that the parent reports.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| FileError::new("map", path, e))?;
        if map.len() < HEADER_BYTES || &map[..8] != MAGIC {
            return Err(damaged("it does not begin with the shard header".to_owned()));
        }
        let word = |at: usize| u32::from_le_bytes(map[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(map[at..at + 8].try_into().expect("eight bytes"));
        let (token_bytes, vocabulary_size, tokens, documents) = (word(8) as usize, word(12), long(16), long(24));
        if token_bytes != 2 && token_bytes != 4 {
            return Err(damaged(format!("{token_bytes} bytes per token, expected 2 or 4")));
        }
        let expected =
            tokens.checked_mul(token_bytes as u64).and_then(|t| t.checked_next_multiple_of(8)).and_then(|t| {
                let table = documents.checked_mul(DOCUMENT_BYTES as u64)?;
                t.checked_add(table)?.checked_add(HEADER_BYTES as u64)
            });
        if expected != Some(map.len() as u64) {
            return Err(damaged(format!(
                "its header promises {tokens} tokens in {documents} documents, which does not fit its {} bytes",
                map.len()
            )));
        }
        let table = HEADER_BYTES + (tokens as usize * token_bytes).next_multiple_of(8);
        let documents: Vec<Document> = (0..documents as usize)
            .map(|i| table + i * DOCUMENT_BYTES)
            .map(|at| Document { first_token: long(at), tokens: long(at + 8), text_bytes: long(at + 16) })
            .collect();
        let mut end = 0;
        for (index, document) in documents.iter().enumerate() {
            if document.first_token != end || document.tokens == 0 || document.tokens > tokens - end {
                return Err(damaged(format!("document {index} does not follow the one before it")));
            }
            end += document.tokens;
        }
        if end != tokens {
            return Err(damaged("its documents do not cover its tokens".to_owned()));
        }
        Ok(Shard { map, token_bytes, vocabulary_size, tokens, documents })
    }

    /// The number of tokens, separators included.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The number of different token ids.
    pub fn vocabulary_size(&self) -> u32 {
        self.vocabulary_size
    }

    /// The documents in order; together they cover every token.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// Copies `out.len()` tokens from `first` on. Panics if the range is not inside the shard.
    pub fn copy_tokens(&self, first: u64, out: &mut [i64]) {
        assert!(first + out.len() as u64 <= self.tokens, "token range outside the shard");
        let start = HEADER_BYTES + first as usize * self.token_bytes;
        let bytes = &self.map[start..start + out.len() * self.token_bytes];
        if self.token_bytes == 2 {
            for (token, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *token = i64::from(u16::from_le_bytes([pair[0], pair[1]]));
            }
        } else {
            for (token, quad) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *token = i64::from(u32::from_le_bytes([quad[0], quad[1], quad[2], quad[3]]));
            }
        }
    }
}

/// Several shards read as one stream of tokens, in the order given.
pub struct TokenStream {
    shards: Vec<Shard>,
    /// `starts[i]` is the stream index of the first token of shard `i`; one entry more for the end.
    starts: Vec<u64>,
}

impl TokenStream {
    /// Opens every shard; all must agree on the vocabulary.
    pub fn open(paths: &[PathBuf]) -> Result<Self, ShardError> {
        let shards = paths.iter().map(|p| Shard::open(p)).collect::<Result<Vec<_>, _>>()?;
        if let Some(at) = shards.windows(2).position(|pair| pair[0].vocabulary_size != pair[1].vocabulary_size) {
            let problem = "its vocabulary differs from that of the shard before it".to_owned();
            return Err(ShardError::Damaged { path: paths[at + 1].clone(), problem });
        }
        let mut starts = vec![0];
        for shard in &shards {
            starts.push(starts[starts.len() - 1] + shard.tokens());
        }
        Ok(TokenStream { shards, starts })
    }

    /// Tokens in all shards.
    pub fn tokens(&self) -> u64 {
        *self.starts.last().expect("there is always an end")
    }

    /// The shards in order.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Copies `out.len()` tokens from stream index `first` on, across shard borders where needed.
    pub fn copy_tokens(&self, mut first: u64, mut out: &mut [i64]) {
        assert!(first + out.len() as u64 <= self.tokens(), "token range outside the stream");
        while !out.is_empty() {
            let shard = self.starts.partition_point(|&start| start <= first) - 1;
            let available = (self.starts[shard + 1] - first).min(out.len() as u64);
            let (now, later) = out.split_at_mut(available as usize);
            self.shards[shard].copy_tokens(first - self.starts[shard], now);
            (first, out) = (first + available, later);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shard_of(documents: &[Vec<u32>], vocabulary_size: u32) -> ShardWriter {
        let mut writer = ShardWriter::new(vocabulary_size);
        documents.iter().for_each(|d| writer.push(0, d, d.len() as u64 * 3));
        writer
    }

    proptest! {
        #[test]
        fn a_stream_reads_what_was_written(
            documents in prop::collection::vec(prop::collection::vec(0u32..300, 0..20), 1..8), split in 0usize..8, wide: bool,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let vocabulary = if wide { 100_000 } else { 300 };
            let (first, second) = documents.split_at(split.min(documents.len()));
            let paths = [folder.path().join("a"), folder.path().join("b")];
            shard_of(first, vocabulary).write(&paths[0]).unwrap();
            shard_of(second, vocabulary).write(&paths[1]).unwrap();
            let stream = TokenStream::open(&paths).unwrap();
            let expected: Vec<i64> = documents.iter()
                .flat_map(|d| std::iter::once(0).chain(d.iter().map(|&t| i64::from(t)))).collect();
            let mut read = vec![-1; stream.tokens() as usize];
            stream.copy_tokens(0, &mut read);
            prop_assert_eq!(&read, &expected);
            let counted: usize = stream.shards().iter().map(|s| s.documents().len()).sum();
            prop_assert_eq!(counted, documents.len());
        }

        #[test]
        fn hostile_bytes_are_refused_or_read_but_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("shard");
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(MAGIC);
            }
            files::write(&path, &bytes).unwrap();
            if let Ok(shard) = Shard::open(&path) {
                let mut out = vec![0; shard.tokens() as usize];
                shard.copy_tokens(0, &mut out);
            }
        }
    }

    #[test]
    fn a_truncated_shard_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train-00000.tokens");
        shard_of(&[vec![1, 2, 3]], 300).write(&path).unwrap();
        let mut bytes = files::read(&path).unwrap();
        bytes.pop();
        files::write(&path, &bytes).unwrap();
        let message = Shard::open(&path).err().unwrap().to_string();
        assert!(message.contains("train-00000.tokens") && message.contains("hint:"), "{message}");
    }
}
