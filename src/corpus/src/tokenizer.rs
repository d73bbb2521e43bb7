//! The vocabulary: a byte-level BPE or unigram vocabulary trained here, or an existing one. Kept as `tokenizer.json`, the format of the
//! `tokenizers` library, so that other programs read it.
//!
//! Text is always encoded as text: a document that happens to contain the separator's spelling does not get the
//! separator token.

use std::path::Path;

use ahash::AHashMap;
use compact_str::CompactString;
use harness_core::byte_level;
use harness_core::digest::Digest;
use harness_core::files::{self, FileError};
use rayon::prelude::*;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper};
use tokenizers::{PreTokenizerWrapper, TokenizerBuilder, TokenizerImpl};

use crate::fast::FastBpe;
use crate::pieces::{long, pieces, short};

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The library refused.
    #[error("the tokenizer could not be {action}: {problem}")]
    Library {
        /// What was tried.
        action: &'static str,
        /// What the library said.
        problem: String,
    },
    /// There is no such token.
    #[error(
        "the tokenizer has no token `{0}` to stand before documents\nhint: name one that it has as `separator` in [tokenizer]"
    )]
    NoSeparator(String),
    /// The training text is too small.
    #[error(
        "the text yields only {found} tokens, not the {wanted} of the recipe\nhint: set vocabulary_size = {found} or less, or add text"
    )]
    TooLittleText {
        /// Tokens learned.
        found: u32,
        /// Tokens wanted.
        wanted: u32,
    },
}

pub(crate) fn refused(action: &'static str) -> impl FnOnce(tokenizers::Error) -> TokenizerError {
    move |e| TokenizerError::Library { action, problem: e.to_string() }
}

/// A vocabulary with its separator.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: Vec<u8>,
    sha256: Digest,
    separator: u32,
    vocabulary_size: u32,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`; `separator` must be one of its tokens.
    pub fn from_file(path: &Path, separator: &str) -> Result<Self, TokenizerError> {
        Self::from_json(&files::read(path)?, separator)
    }

    /// Reads the bytes of a `tokenizer.json`.
    pub fn from_json(json: &[u8], separator: &str) -> Result<Self, TokenizerError> {
        let mut inner: tokenizers::Tokenizer = tokenizers::Tokenizer::from_bytes(json).map_err(refused("read"))?;
        inner.set_encode_special_tokens(true);
        let id = inner.token_to_id(separator).ok_or_else(|| TokenizerError::NoSeparator(separator.to_owned()))?;
        // Ids are indices, so the vocabulary reaches to the largest one even where some are not used.
        let largest = inner.get_vocab(true).into_values().max().unwrap_or(0);
        Ok(Tokenizer {
            inner,
            json: json.to_vec(),
            sha256: Digest::of(json),
            separator: id,
            vocabulary_size: largest + 1,
        })
    }

    /// The bytes of its `tokenizer.json`.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Digest of its `tokenizer.json`.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// The token that stands before every document.
    pub fn separator(&self) -> u32 {
        self.separator
    }

    /// The largest token id plus one.
    pub fn vocabulary_size(&self) -> u32 {
        self.vocabulary_size
    }

    /// The tokens of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false).map_err(refused("applied"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(tokens, false).map_err(refused("applied"))
    }
}

/// Encodes texts, many times faster than [`Tokenizer::encode`] where a faster library is found to agree with it.
pub struct Encoder<'a> {
    reference: &'a Tokenizer,
    fast: Option<FastBpe>,
}

impl<'a> Encoder<'a> {
    /// Compares the faster library on every text of `sample`, and does without it if one of them differs.
    pub fn checked_on<S: AsRef<str> + Sync>(reference: &'a Tokenizer, sample: &[S]) -> Result<Self, TokenizerError> {
        let json: Option<serde_json::Value> = serde_json::from_slice(&reference.json).ok();
        let fast = json.and_then(|json| FastBpe::of(&json));
        let agrees = |fast: &FastBpe| -> Result<bool, TokenizerError> {
            let same = sample.par_iter().map(|text| {
                let expected = reference.encode(text.as_ref())?;
                Ok(fast.encode(text.as_ref()) == expected)
            });
            same.try_reduce(|| true, |a, b| Ok(a && b))
        };
        let fast = match fast {
            Some(fast) if agrees(&fast)? => Some(fast),
            _ => None,
        };
        Ok(Encoder { reference, fast })
    }

    /// The library that encodes.
    pub fn library(&self) -> &'static str {
        if self.fast.is_some() { "bpe" } else { "tokenizers" }
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> &'a Tokenizer {
        self.reference
    }

    /// The tokens of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        match &self.fast {
            Some(fast) => Ok(fast.encode(text)),
            None => self.reference.encode(text),
        }
    }
}

/// A tokenizer that cuts text into pieces as GPT-2's does and writes each byte as a character.
type WithByteLevel<M> = TokenizerImpl<M, NormalizerWrapper, ByteLevel, ByteLevel, ByteLevel>;

pub(crate) fn with_byte_level<M: Model>(model: M) -> Result<WithByteLevel<M>, TokenizerError> {
    TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(None)
        .with_pre_tokenizer(Some(ByteLevel::new(false, true, true)))
        .with_post_processor(Some(ByteLevel::new(false, false, true)))
        .with_decoder(Some(ByteLevel::default()))
        .build()
        .map_err(refused("built"))
}

/// How often each piece of a text occurs: all that a BPE learns from. Its memory grows with the different pieces.
#[derive(Default)]
pub(crate) struct PieceCounts {
    short: AHashMap<u128, u64>,
    long: AHashMap<Box<[u8]>, u64>,
}

impl PieceCounts {
    /// Counts the pieces of texts, on all threads.
    pub fn add(&mut self, texts: &[String]) {
        let parts = texts.len().div_ceil(rayon::current_num_threads()).max(1);
        let counted: Vec<PieceCounts> = texts.par_chunks(parts).map(PieceCounts::of).collect();
        for part in counted {
            part.short.into_iter().for_each(|(piece, count)| *self.short.entry(piece).or_default() += count);
            part.long.into_iter().for_each(|(piece, count)| *self.long.entry(piece).or_default() += count);
        }
    }

    fn of(texts: &[String]) -> Self {
        let mut counts = PieceCounts::default();
        for piece in texts.iter().flat_map(|text| pieces(text)) {
            match short(piece) {
                Some(piece) => *counts.short.entry(piece).or_default() += 1,
                None => match counts.long.get_mut(piece) {
                    Some(count) => *count += 1,
                    None => drop(counts.long.insert(piece.into(), 1)),
                },
            }
        }
        counts
    }

    /// The counts as the trainer of unigrams takes them: sorted, and together within 32 bits, in which it adds them up.
    pub fn sorted(self) -> Vec<(String, u32)> {
        let mut counts: Vec<(CompactString, u64)> = self.written().into_iter().collect();
        counts.sort_unstable();
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let part = total.div_ceil(u64::from(u32::MAX / 2)).max(1);
        counts.into_iter().map(|(piece, count)| (piece.into(), count.div_ceil(part) as u32)).collect()
    }

    /// The counts as the trainer of BPE takes them: each byte written as the character that stands for it.
    fn written(self) -> AHashMap<CompactString, u64> {
        let characters = byte_level::characters_of_bytes();
        let write = |piece: &[u8]| piece.iter().map(|&byte| characters[usize::from(byte)]).collect::<CompactString>();
        let of_short = self.short.into_iter().map(|(piece, count)| {
            let (bytes, length) = long(piece);
            (write(&bytes[..length]), count)
        });
        let of_long = self.long.into_iter().map(|(piece, count)| (write(&piece), count));
        of_short.chain(of_long).collect()
    }
}

/// Trains a byte-level BPE of exactly `vocabulary_size` tokens, the separator being token 0 and the 256 bytes the
/// next. Deterministic: ties between pairs go to the lower ids, whatever the number of threads.
pub(crate) fn train(counts: PieceCounts, vocabulary_size: u32, separator: &str) -> Result<Vec<u8>, TokenizerError> {
    let trainer = BpeTrainer::builder()
        .vocab_size(vocabulary_size as usize)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(separator, true)])
        .build();
    let mut model = BPE::default();
    let special = trainer.do_train(&counts.written(), &mut model).map_err(refused("trained"))?;
    let mut tokenizer = with_byte_level(model)?;
    tokenizer.add_special_tokens(&special);
    let found = tokenizer.get_model().get_vocab_size() as u32;
    if found < vocabulary_size {
        return Err(TokenizerError::TooLittleText { found, wanted: vocabulary_size });
    }
    to_json(tokenizer)
}

/// GPT-2's two files as one `tokenizer.json`.
pub fn from_gpt2(vocabulary: &Path, merges: &Path, separator: &str) -> Result<Vec<u8>, TokenizerError> {
    let model =
        BPE::from_file(&vocabulary.to_string_lossy(), &merges.to_string_lossy()).build().map_err(refused("read"))?;
    let mut tokenizer = with_byte_level(model)?;
    tokenizer.add_special_tokens(&[AddedToken::from(separator, true)]);
    to_json(tokenizer)
}

pub(crate) fn to_json<M: Model + Into<ModelWrapper>>(tokenizer: WithByteLevel<M>) -> Result<Vec<u8>, TokenizerError> {
    let tokenizer: TokenizerImpl<
        ModelWrapper,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    > = tokenizers::Tokenizer::from(tokenizer).into_inner();
    let json = serde_json::to_string_pretty(&tokenizer).map_err(|e| refused("written")(e.into()))?;
    Ok(json.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static TRAINED: LazyLock<Tokenizer> = LazyLock::new(|| {
        let mut counts = PieceCounts::default();
        counts.add(&crate::grammar::corpus(5, 200).collect::<Vec<_>>());
        Tokenizer::from_json(&train(counts, 400, "<|endoftext|>").unwrap(), "<|endoftext|>").unwrap()
    });

    proptest! {
        #[test]
        fn tokens_give_the_text_back(text in "(.|\\PC|[ \\n\\t\u{0}]|the |<\\|endoftext\\|>){0,40}") {
            let encoder = Encoder::checked_on(&TRAINED, &[&text]).unwrap();
            prop_assert_eq!(encoder.library(), "bpe");
            let tokens = encoder.encode(&text).unwrap();
            prop_assert_eq!(&tokens, &TRAINED.encode(&text).unwrap());
            prop_assert_eq!(TRAINED.decode(&tokens).unwrap(), text);
        }
    }

    #[test]
    fn training_from_counts_is_training_from_text() {
        let texts: Vec<String> = crate::grammar::corpus(5, 200).collect();
        let texts: Vec<String> =
            texts.into_iter().map(|t| format!("{t} na\u{ef}ve \u{2014}antidisestablishmentarianism\n")).collect();
        let mut counts = PieceCounts::default();
        texts.chunks(30).for_each(|part| counts.add(part));
        let from_counts = train(counts, 400, "<|endoftext|>").unwrap();
        let mut trainer = BpeTrainer::builder()
            .vocab_size(400)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(vec![AddedToken::from("<|endoftext|>", true)])
            .build();
        let mut tokenizer = with_byte_level(BPE::default()).unwrap();
        tokenizer.train(&mut trainer, texts.iter()).unwrap();
        assert!(from_counts == to_json(tokenizer).unwrap());
    }
}
