//! The vocabulary: a byte-level BPE or unigram vocabulary trained here, or an existing one. Kept as `tokenizer.json`, the format of the
//! `tokenizers` library, so that other programs read it.
//!
//! Text is always encoded as text: a document that happens to contain the separator's spelling does not get the
//! separator token. And all of it is encoded: a text that does not come back from its tokens is refused.

use std::borrow::Cow;
use std::path::Path;

use ahash::{AHashMap, AHashSet};
use compact_str::CompactString;
use harness_core::byte_level;
use harness_core::digest::Digest;
use harness_core::files::{self, FileError};
use rayon::prelude::*;
use serde_json::Value;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper};
use tokenizers::{PreTokenizerWrapper, TokenizerBuilder, TokenizerImpl};

use super::fast::FastBpe;
use super::pieces::{long, parts, pieces, short};

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
    /// Text can give the separator.
    #[error(
        "text gives the separator `{0}`, which has to stand between documents only\nhint: name a token as `separator` in [tokenizer] that text never gives, such as <|endoftext|>"
    )]
    SeparatorInText(String),
    /// A text does not come back from its tokens.
    #[error(
        "a text does not come back from its tokens as it was: `{text}...`\nhint: the tokenizer changes text or drops what it does not know (a normalizer, or no token for unknown characters); take a byte-level one"
    )]
    RoundTrip {
        /// Its beginning.
        text: String,
    },
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
    /// Whether a long text can be encoded part by part: what [`parts`] cuts, it cuts too.
    cuts_as_gpt2: bool,
}

/// Bytes of the parts in which a long text is encoded: the library keeps some 175 bytes for each byte of a text.
const PART_BYTES: usize = 64 << 10;

impl Tokenizer {
    /// Reads a `tokenizer.json`; `separator` must be one of its tokens.
    pub fn from_file(path: &Path, separator: &str) -> Result<Self, TokenizerError> {
        Self::from_json(&files::read(path)?, separator)
    }

    /// Reads the bytes of a `tokenizer.json`. What would cut or fill up texts, or take the separator's spelling for the
    /// separator, is switched off, here and in [`Tokenizer::json`].
    pub fn from_json(json: &[u8], separator: &str) -> Result<Self, TokenizerError> {
        let json = &*for_whole_texts(json, separator);
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
            cuts_as_gpt2: serde_json::from_slice(json).is_ok_and(|json| cuts_as_gpt2(&json)),
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
        let mut ids = Vec::new();
        for part in parts(text, if self.cuts_as_gpt2 { PART_BYTES } else { usize::MAX }) {
            ids.extend_from_slice(self.inner.encode_fast(part, false).map_err(refused("applied"))?.get_ids());
        }
        Ok(ids)
    }

    /// Whether these are the tokens of an entry of the vocabulary, given in the characters that stand for its bytes.
    fn gives_itself(&self, entry: &str, id: u32) -> bool {
        self.inner.get_model().tokenize(entry).is_ok_and(|tokens| matches!(&tokens[..], [token] if token.id == id))
    }

    /// The text of tokens.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(tokens, false).map_err(refused("applied"))
    }
}

/// The `tokenizer.json` as a corpus needs it: no text is cut short or filled up (`truncation`, `padding`), none is cut at
/// random (`dropout`), and the separator is a special token, whose spelling in a text is text.
fn for_whole_texts<'a>(json: &'a [u8], separator: &str) -> Cow<'a, [u8]> {
    let Ok(mut whole) = serde_json::from_slice::<Value>(json) else { return json.into() };
    let mut changed = false;
    for key in ["/truncation", "/padding", "/model/dropout"] {
        if let Some(value) = whole.pointer_mut(key).filter(|value| !value.is_null()) {
            *value = Value::Null;
            changed = true;
        }
    }
    for token in whole["added_tokens"].as_array_mut().into_iter().flatten() {
        if token["content"] == separator && token["special"] != true {
            token["special"] = true.into();
            changed = true;
        }
    }
    if changed {
        serde_json::to_vec_pretty(&whole).expect("a JSON value serializes to memory").into()
    } else {
        json.into()
    }
}

/// Whether a `tokenizer.json` cuts texts as GPT-2's does, with nothing before that and no token that is looked for in
/// the text itself.
fn cuts_as_gpt2(json: &Value) -> bool {
    let splits = &json["pre_tokenizer"];
    json["normalizer"].is_null()
        && splits["type"] == "ByteLevel"
        && splits["add_prefix_space"] == false
        && splits["use_regex"] == true
        && json["added_tokens"].as_array().is_none_or(|added| added.iter().all(|token| token["special"] == true))
}

/// Encodes texts, many times faster than [`Tokenizer::encode`] where a faster library is found to agree with it.
pub struct Encoder<'a> {
    reference: &'a Tokenizer,
    fast: Option<FastBpe>,
    /// The bytes of each token, of a byte-level vocabulary.
    bytes: Option<Vec<Vec<u8>>>,
}

impl<'a> Encoder<'a> {
    /// Compares the faster library on every text of `sample`, and does without it if one of them differs.
    pub fn checked_on<S: AsRef<str> + Sync>(reference: &'a Tokenizer, sample: &[S]) -> Result<Self, TokenizerError> {
        let separator = reference.inner.id_to_token(reference.separator).unwrap_or_default();
        let is_merged = reference.cuts_as_gpt2 && reference.gives_itself(&separator, reference.separator);
        if is_merged || reference.encode(&separator)?.contains(&reference.separator) {
            return Err(TokenizerError::SeparatorInText(separator));
        }
        let json: Option<Value> = serde_json::from_slice(&reference.json).ok();
        let json = json.filter(|_| reference.cuts_as_gpt2);
        let fast = json.and_then(|json| FastBpe::of(&json, |text, id| reference.gives_itself(text, id)));
        let agrees = |fast: &FastBpe| -> Result<bool, TokenizerError> {
            let same = sample.par_iter().map(|text| Ok(fast.encode(text.as_ref()) == reference.encode(text.as_ref())?));
            same.try_reduce(|| true, |a, b| Ok(a && b))
        };
        let fast = match fast {
            Some(fast) if agrees(&fast)? => Some(fast),
            _ => None,
        };
        Ok(Encoder { reference, fast, bytes: byte_level::bytes_of_tokens(&reference.json, reference.vocabulary_size) })
    }

    /// The library that encodes.
    pub fn library(&self) -> &'static str {
        if self.fast.is_some() { "bpe" } else { "tokenizers" }
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> &'a Tokenizer {
        self.reference
    }

    /// The tokens of a text: never the separator, and the text comes back from them.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let ids = match &self.fast {
            Some(fast) => fast.encode(text),
            None => self.reference.encode(text)?,
        };
        if ids.contains(&self.reference.separator) {
            let separator = self.reference.inner.id_to_token(self.reference.separator);
            return Err(TokenizerError::SeparatorInText(separator.unwrap_or_default()));
        }
        let comes_back = match &self.bytes {
            Some(bytes) => {
                let mut rest = text.as_bytes();
                let mut next =
                    |id: &u32| rest.strip_prefix(&*bytes[*id as usize]).map(|behind| rest = behind).is_some();
                ids.iter().all(&mut next) && rest.is_empty()
            }
            None => self.reference.decode(&ids)? == text,
        };
        if comes_back { Ok(ids) } else { Err(TokenizerError::RoundTrip { text: text.chars().take(60).collect() }) }
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
    pub(crate) fn add(&mut self, texts: &[String]) {
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
    pub(crate) fn sorted(self) -> Vec<(String, u32)> {
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
///
/// The trainer of `tokenizers` gives a merge that spells the separator the separator's id, so that text would give the
/// separator. Such a merge is left out with all that builds on it, and as many more are learned.
pub(crate) fn train(counts: PieceCounts, vocabulary_size: u32, separator: &str) -> Result<Vec<u8>, TokenizerError> {
    let words = counts.written();
    let special = AddedToken::from(separator, true);
    let mut learned = vocabulary_size as usize;
    loop {
        let trainer = BpeTrainer::builder()
            .vocab_size(learned)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(vec![special.clone()])
            .build();
        let mut model = BPE::default();
        trainer.do_train(&words, &mut model).map_err(refused("trained"))?;
        let exhausted = model.get_vocab_size() < learned;
        let model = without_merges_into(model, separator)?;
        let found = model.get_vocab_size();
        if found < vocabulary_size as usize && !exhausted {
            learned += vocabulary_size as usize - found;
            continue;
        }
        if found < vocabulary_size as usize {
            return Err(TokenizerError::TooLittleText { found: found as u32, wanted: vocabulary_size });
        }
        let mut tokenizer = with_byte_level(model)?;
        tokenizer.add_special_tokens(&[special]);
        return to_json(tokenizer);
    }
}

/// The model without the merges that spell the separator, token 0, and without what builds on them.
fn without_merges_into(model: BPE, separator: &str) -> Result<BPE, TokenizerError> {
    let json = serde_json::to_value(&model).expect("a vocabulary serializes to memory");
    let merges = json["merges"].as_array().into_iter().flatten();
    let merges = merges.filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned())));
    let mut merges: Vec<(String, String)> = merges.collect();
    let all = merges.len();
    let mut known: AHashSet<String> = ByteLevel::alphabet().into_iter().map(String::from).collect();
    merges.retain(|(a, b)| {
        let merged = format!("{a}{b}");
        let kept = merged != separator && known.contains(a) && known.contains(b);
        if kept {
            known.insert(merged);
        }
        kept
    });
    if merges.len() == all {
        return Ok(model);
    }
    known.insert(separator.to_owned());
    let mut vocabulary: Vec<(String, u32)> =
        model.get_vocab().into_iter().filter(|(text, _)| known.contains(text)).collect();
    vocabulary.sort_unstable_by_key(|(_, id)| *id);
    let vocabulary: AHashMap<String, u32> = vocabulary.into_iter().zip(0..).map(|((text, _), id)| (text, id)).collect();
    BPE::builder().vocab_and_merges(vocabulary, merges).build().map_err(refused("trained"))
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

    /// Lines with a separator that is one piece of text under GPT-2's pattern, and often a merge.
    fn spelled(separator: &str) -> Vec<String> {
        (0..60)
            .map(|n| format!("{separator} Heading {n}\n\nSome text {separator} more {n}{separator}{separator}."))
            .collect()
    }

    #[test]
    fn text_that_spells_the_separator_does_not_give_it() {
        for separator in ["###", "---", "***", "EOT"] {
            let texts = spelled(separator);
            for (kind, size) in [("bpe", 290), ("bpe", 300), ("unigram", 260)] {
                let mut counts = PieceCounts::default();
                counts.add(&texts);
                let json = match kind {
                    "bpe" => train(counts, size, separator).unwrap(),
                    _ => crate::tokenize::train_unigram(counts, size, separator).unwrap(),
                };
                let tokenizer = Tokenizer::from_json(&json, separator).unwrap();
                assert_eq!(tokenizer.vocabulary_size(), size, "{kind} {separator}");
                let encoder = Encoder::checked_on(&tokenizer, &texts).unwrap();
                assert_eq!(encoder.library(), if kind == "bpe" { "bpe" } else { "tokenizers" });
                for text in &texts {
                    assert!(!encoder.encode(text).unwrap().contains(&tokenizer.separator()));
                }
            }
        }
    }

    /// The JSON of [`TRAINED`] with another value at a place.
    fn changed(place: &str, value: Value) -> Vec<u8> {
        let mut json: Value = serde_json::from_slice(TRAINED.json()).unwrap();
        *json.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value;
        serde_json::to_vec(&json).unwrap()
    }

    #[test]
    fn files_that_cut_texts_or_look_for_the_separator_in_them_do_so_no_longer() {
        let text = "the old man and a sea <|endoftext|> of words ".repeat(40);
        let expected = TRAINED.encode(&text).unwrap();
        let truncation =
            serde_json::json!({ "direction": "Right", "max_length": 128, "strategy": "LongestFirst", "stride": 0 });
        let padding = serde_json::json!({
            "strategy": { "Fixed": 4000 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"
        });
        for (place, value) in [
            ("/truncation", truncation),
            ("/padding", padding),
            ("/model/dropout", 0.5.into()),
            ("/added_tokens/0/special", false.into()),
        ] {
            let tokenizer = Tokenizer::from_json(&changed(place, value), "<|endoftext|>").unwrap();
            assert_eq!(tokenizer.encode(&text).unwrap(), expected, "{place}");
            let again = Tokenizer::from_json(tokenizer.json(), "<|endoftext|>").unwrap();
            assert_eq!((again.sha256(), again.encode(&text).unwrap()), (tokenizer.sha256(), expected.clone()));
            assert_eq!(Encoder::checked_on(&tokenizer, &[&text]).unwrap().library(), "bpe", "{place}");
        }
        assert_eq!(
            Tokenizer::from_json(TRAINED.json(), "<|endoftext|>").unwrap().json(),
            TRAINED.json(),
            "byte for byte"
        );
    }

    #[test]
    fn a_separator_that_text_gives_and_a_text_that_does_not_come_back_are_refused() {
        let word = TRAINED.inner.id_to_token(399).unwrap();
        let tokenizer = Tokenizer::from_json(TRAINED.json(), &word).unwrap();
        let refused = Encoder::checked_on(&tokenizer, &["a"]).err().unwrap().to_string();
        assert!(refused.contains(&word) && refused.contains("hint: name a token"), "{refused}");
        let lower =
            Tokenizer::from_json(&changed("/normalizer", serde_json::json!({ "type": "Lowercase" })), "<|endoftext|>")
                .unwrap();
        let encoder = Encoder::checked_on(&lower, &["a"]).unwrap();
        assert_eq!(encoder.library(), "tokenizers");
        assert!(encoder.encode("lower case").is_ok());
        assert!(matches!(encoder.encode("Upper case"), Err(TokenizerError::RoundTrip { .. })));
    }

    #[test]
    fn entries_that_no_merge_gives_cost_neither_a_panic_nor_the_faster_encoder() {
        let mut json: Value = serde_json::from_slice(TRAINED.json()).unwrap();
        for (id, text) in (400u32..).zip(["<s>", "<pad>", "madeupword0000", "aan"]) {
            json["model"]["vocab"][text] = id.into();
        }
        let tokenizer = Tokenizer::from_json(&serde_json::to_vec(&json).unwrap(), "<|endoftext|>").unwrap();
        assert_eq!(tokenizer.vocabulary_size(), 404);
        let text = "<pad> the old man <s> madeupword0000 aan";
        let encoder = Encoder::checked_on(&tokenizer, &[text]).unwrap();
        assert_eq!(encoder.library(), "bpe");
        assert_eq!(encoder.encode(text).unwrap(), TRAINED.encode(text).unwrap());
    }

    #[test]
    fn a_long_text_is_encoded_in_parts_as_it_is_in_one() {
        let text = crate::grammar::corpus(6, 3000).collect::<Vec<_>>().join("\n\n  ");
        assert!(text.len() > 4 * PART_BYTES, "{}", text.len());
        let whole = TRAINED.inner.encode_fast(&*text, false).unwrap().get_ids().to_vec();
        assert_eq!(TRAINED.encode(&text).unwrap(), whole);
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
