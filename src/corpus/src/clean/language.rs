//! The language of a document, by the trigrams and letters that it is made of (the crate `whatlang`, after Cavnar and
//! Trenkle 1994, N-Gram-Based Text Categorization).

use super::broken::{Broken, counted};
use crate::recipe::{Language, Unsure, language_of};
use whatlang::Info;

/// Characters that are looked at, from the beginning: more of them would cost time and change no answer.
const CHARACTERS_LOOKED_AT: usize = 4096;

impl Language {
    pub(super) fn broken_rule(&self, text: &str) -> Option<Broken> {
        let unsure = |saw: String| (self.unsure == Unsure::Remove).then(|| Broken::new("unsure", saw));
        let end = text.char_indices().nth(CHARACTERS_LOOKED_AT).map_or(text.len(), |(end, _)| end);
        let beginning = &text[..end];
        let letters = beginning.chars().filter(|c| c.is_alphabetic()).count() as u64;
        if letters < self.letters_at_least {
            return unsure(counted(letters, "letter"));
        }
        let saw = |found: &Info| format!("{} with confidence {:.2}", found.lang().code(), found.confidence());
        match whatlang::detect(beginning) {
            Some(found) if found.confidence() >= self.confidence_at_least => {
                (Some(found.lang()) != language_of(&self.is)).then(|| Broken::new("other_language", saw(&found)))
            }
            found => unsure(found.as_ref().map_or_else(String::new, saw)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(code: &str) -> Language {
        Language { is: code.to_owned(), confidence_at_least: 0.5, letters_at_least: 40, unsure: Unsure::Keep }
    }

    const ENGLISH: &str = "Alice was beginning to get very tired of sitting by her sister on the bank, and of having \
                           nothing to do: once or twice she had peeped into the book her sister was reading.";
    const GERMAN: &str = "Als Gregor Samsa eines Morgens aus unruhigen Tr\u{e4}umen erwachte, fand er sich in seinem \
                          Bett zu einem ungeheueren Ungeziefer verwandelt.";

    #[test]
    fn other_languages_go_and_short_texts_as_asked() {
        assert_eq!(is("en").broken_rule(ENGLISH), None);
        assert_eq!(is("eng").broken_rule(ENGLISH), None);
        assert_eq!(is("en").broken_rule(GERMAN).map(|broken| broken.rule), Some("other_language"));
        assert!(is("en").broken_rule(GERMAN).unwrap().saw.starts_with("deu with confidence "));
        assert_eq!(is("de").broken_rule(GERMAN), None);
        assert_eq!(is("en").broken_rule("Guten Tag!"), None);
        assert_eq!(
            Language { unsure: Unsure::Remove, ..is("en") }.broken_rule("Guten Tag!"),
            Some(Broken::new("unsure", "8 letters"))
        );
    }
}
