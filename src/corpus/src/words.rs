//! Text as a sequence of words, each a 64-bit hash: what n-grams are made of, here for near duplicates and there for
//! contamination. A word is a run of letters and digits, in lower case.

use harness_core::random::mix;

/// The words of a text.
pub(crate) fn words(text: &str) -> Vec<u64> {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(word).collect()
}

/// One number for a sequence of units.
pub(crate) fn ngram(units: &[u64]) -> u64 {
    units.iter().fold(0x6e67_7261_6d73, |all, &unit| mix(all ^ unit))
}

/// One number for a word.
pub(crate) fn word(word: &str) -> u64 {
    word.as_bytes().chunks(8).fold(word.len() as u64, |all, chunk| {
        let mut bytes = [0u8; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        mix(all ^ u64::from_le_bytes(bytes))
    })
}
