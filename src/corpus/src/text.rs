//! What several stages see in a text: its words, each a 64-bit hash, of which n-grams are made, and its headings.

use std::borrow::Cow;

use harness_core::random::mix;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The words of a text, in Unicode's form C: a word is a run of letters and digits, in lower case. Scripts that put no
/// blanks between words are cut into characters.
pub(crate) fn words(text: &str) -> Vec<u64> {
    let lower = composed(text).to_lowercase();
    let runs = lower.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    runs.flat_map(|run| run.split_inclusive(without_blanks)).flat_map(parts).map(word).collect()
}

/// The word before a character of a script without blanks, if there is one, and that character.
fn parts(run: &str) -> impl Iterator<Item = &str> {
    let last = run.char_indices().next_back().filter(|(_, c)| without_blanks(*c)).map_or(run.len(), |(at, _)| at);
    let (before, character) = run.split_at(last);
    [before, character].into_iter().filter(|part| !part.is_empty())
}

/// Whether a character belongs to a script that is written without blanks between words: Han, kana, Thai, Lao, Khmer,
/// Myanmar (Unicode 16, blocks of these scripts).
fn without_blanks(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{323af}')
}

/// The text in normalization form C (Unicode Standard Annex 15).
pub(crate) fn composed(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => text.nfc().collect(),
    }
}

/// One to six `#`, then a blank or the end (CommonMark 0.31, section 4.2).
pub(crate) fn is_heading(line: &str) -> bool {
    let marks = line.bytes().take_while(|&b| b == b'#').count();
    (1..=6).contains(&marks) && line[marks..].chars().next().is_none_or(char::is_whitespace)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_composed_and_scripts_without_blanks_are_cut_into_characters() {
        let of = |parts: &[&str]| parts.iter().map(|part| word(part)).collect::<Vec<_>>();
        assert_eq!(words("The Cafe\u{301}, 12a!"), of(&["the", "caf\u{e9}", "12a"]));
        assert_eq!(
            words("GPT\u{6a21}\u{578b}2\u{3002}\u{597d}"),
            of(&["gpt", "\u{6a21}", "\u{578b}", "2", "\u{597d}"])
        );
        assert_eq!(
            words("\u{3042}\u{30a2}ok \u{0e01}\u{0e02}"),
            of(&["\u{3042}", "\u{30a2}", "ok", "\u{0e01}", "\u{0e02}"])
        );
        assert_eq!(words("\u{1112}\u{1161}\u{11ab} \u{ae00}"), of(&["\u{d55c}", "\u{ae00}"]), "Korean has blanks");
        assert_eq!(words("?! \u{1f986}"), [0; 0]);
    }
}
