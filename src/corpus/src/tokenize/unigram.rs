//! Trains a unigram vocabulary (Kudo 2018) over bytes: the same pieces of text as for BPE, each byte written as the
//! character that stands for it, so that every text has tokens and comes back from them.
//!
//! The trainer of `tokenizers` adds up on as many threads as there are, and keeps what it needs in sets without an
//! order. Here it runs on one thread and over sorted pieces, and what it leaves in no order is put into one, so that
//! the same text gives the same vocabulary (with the same C library, whose logarithms it uses).

use std::collections::BTreeSet;

use tokenizers::AddedToken;
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::tokenizer::{PieceCounts, TokenizerError, refused, to_json, with_byte_level};

/// What the trainer takes from the score of one byte that it did not learn to the next.
const STEP_OF_UNLEARNED: f64 = 0.0001;

/// Trains a vocabulary of exactly `vocabulary_size` tokens, the separator being the last.
pub(crate) fn train(counts: PieceCounts, vocabulary_size: u32, separator: &str) -> Result<Vec<u8>, TokenizerError> {
    let bytes: BTreeSet<char> = ByteLevel::alphabet().into_iter().collect();
    let words = counts.sorted();
    // The separator is no part of the model: its spelling in a text is text. It could be learned as a piece of text,
    // so there is one piece more where it could.
    let spelled = u32::from(words.iter().any(|(word, _)| word.contains(separator)));
    let trainer = UnigramTrainer::builder()
        .vocab_size(vocabulary_size - 1 + spelled)
        .show_progress(false)
        .initial_alphabet(bytes.iter().copied().collect())
        .build()
        .map_err(|e| refused("trained")(e.into()))?;
    let mut model = Unigram::default();
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| refused("trained")(e.into()))?;
    alone.install(|| trainer.do_train(words, &mut model)).map_err(refused("trained"))?;
    let mut tokenizer = with_byte_level(in_order(&model, &bytes, vocabulary_size as usize - 1, separator)?)?;
    let found = tokenizer.get_vocab_size(true) as u32 + 1;
    if found < vocabulary_size {
        return Err(TokenizerError::TooLittleText { found, wanted: vocabulary_size });
    }
    tokenizer.add_special_tokens(&[AddedToken::from(separator, true)]);
    to_json(tokenizer)
}

/// The model with its pieces in order: the likelier first, of equal ones by their characters. The bytes that the trainer
/// did not learn got falling scores just above the lowest in any order; they are dealt out again, the lower byte first.
/// The separator is left out, and so are the least likely pieces that are too many, but no byte.
fn in_order(model: &Unigram, bytes: &BTreeSet<char>, most: usize, separator: &str) -> Result<Unigram, TokenizerError> {
    let mut pieces: Vec<(String, f64)> = model.iter().filter(|(piece, _)| piece != separator).cloned().collect();
    let lowest = pieces.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let unlearned = lowest + STEP_OF_UNLEARNED * bytes.len() as f64;
    let is_byte = |piece: &str| {
        let mut characters = piece.chars();
        characters.next().is_some_and(|c| bytes.contains(&c)) && characters.next().is_none()
    };
    let mut low: Vec<(String, f64)> = Vec::new();
    pieces.retain(|piece| {
        let keep = piece.1 > unlearned || !is_byte(&piece.0);
        if !keep {
            low.push(piece.clone());
        }
        keep
    });
    let mut scores: Vec<f64> = low.iter().map(|(_, score)| *score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    low.sort_by(|a, b| a.0.cmp(&b.0));
    pieces.extend(low.into_iter().zip(scores).map(|((piece, _), score)| (piece, score)));
    pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    while pieces.len() > most {
        let last = pieces.iter().rposition(|(piece, _)| !is_byte(piece));
        pieces.remove(last.expect("the bytes alone are fewer than any vocabulary has"));
    }
    Unigram::from(pieces, None, false).map_err(refused("built"))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::tokenize::Tokenizer;

    fn trained(threads: usize) -> Vec<u8> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut counts = PieceCounts::default();
            counts.add(&crate::grammar::corpus(5, 200).collect::<Vec<_>>());
            train(counts, 400, "<|endoftext|>").unwrap()
        })
    }

    static TRAINED: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_json(&trained(2), "<|endoftext|>").unwrap());

    #[test]
    fn the_same_text_gives_the_same_vocabulary_on_any_number_of_threads() {
        let first = trained(1);
        assert!([1, 2, 3].into_iter().all(|threads| trained(threads) == first));
        assert_eq!((TRAINED.vocabulary_size(), TRAINED.separator()), (400, 399));
        // It learned something: fewer tokens than bytes.
        let text = crate::grammar::corpus(5, 1).next().unwrap();
        assert!(TRAINED.encode(&text).unwrap().len() * 2 < text.len());
    }

    proptest! {
        /// Long repeats in few letters, where a suffix array is most easily wrong.
        #[test]
        fn a_small_text_of_few_letters_gives_a_vocabulary_or_too_little_text(
            words in prop::collection::vec("[abc]{1,8}", 1..12),
        ) {
            let mut counts = PieceCounts::default();
            counts.add(&words);
            match train(counts, 260, "<|endoftext|>") {
                Ok(_) | Err(TokenizerError::TooLittleText { .. }) => {}
                Err(other) => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn tokens_give_the_text_back(text in "(.|\\PC|[ \\n\\t\u{0}]|the |<\\|endoftext\\|>){0,40}") {
            let tokens = TRAINED.encode(&text).unwrap();
            prop_assert!(!tokens.contains(&TRAINED.separator()));
            prop_assert_eq!(TRAINED.decode(&tokens).unwrap(), text);
        }
    }
}
