//! The language of a document, by the trigrams and letters that it is made of (the crate `whatlang`, after Cavnar and
//! Trenkle 1994, N-Gram-Based Text Categorization).

use harness_core::config::nearest;
use serde::{Deserialize, Serialize};
use whatlang::Lang;

/// Characters that are looked at, from the beginning: more of them would cost time and change no answer.
const CHARACTERS_LOOKED_AT: usize = 4096;

/// Keeps documents in one language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// Its code in ISO 639-1 (`en`) or ISO 639-3 (`eng`).
    pub is: String,
    /// How sure one must be of a language, from 0 to 1.
    #[serde(default = "confidence")]
    pub confidence_at_least: f64,
    /// Letters of which a text must have this many for its language to be told.
    #[serde(default = "letters")]
    pub letters_at_least: u64,
    /// What happens to a document whose language cannot be told.
    #[serde(default)]
    pub unsure: Unsure,
}

fn confidence() -> f64 {
    0.5
}

fn letters() -> u64 {
    40
}

/// What happens to a document of which too little is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsure {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Remove,
}

impl Language {
    pub(super) fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.confidence_at_least) {
            return Err(format!("`confidence_at_least` must be between 0 and 1, not {}", self.confidence_at_least));
        }
        if language_of(&self.is).is_some() {
            return Ok(());
        }
        let codes: Vec<&str> = CODES.iter().flat_map(|(two, three, _)| [*two, *three]).collect();
        let near = nearest(&self.is, &codes).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Err(format!("`{}` is no code of ISO 639-1 or 639-3 of a language that can be told{near}", self.is))
    }

    pub(super) fn broken_rule(&self, text: &str) -> Option<&'static str> {
        let unsure = (self.unsure == Unsure::Remove).then_some("unsure");
        let end = text.char_indices().nth(CHARACTERS_LOOKED_AT).map_or(text.len(), |(end, _)| end);
        let beginning = &text[..end];
        if (beginning.chars().filter(|c| c.is_alphabetic()).count() as u64) < self.letters_at_least {
            return unsure;
        }
        match whatlang::detect(beginning) {
            Some(found) if found.confidence() >= self.confidence_at_least => {
                (Some(found.lang()) != language_of(&self.is)).then_some("other_language")
            }
            _ => unsure,
        }
    }
}

fn language_of(code: &str) -> Option<Lang> {
    CODES.iter().find(|(two, three, _)| *two == code || *three == code).map(|(_, _, language)| *language)
}

/// The languages that can be told apart: ISO 639-1, ISO 639-3.
const CODES: &[(&str, &str, Lang)] = &[
    ("af", "afr", Lang::Afr),
    ("ak", "aka", Lang::Aka),
    ("am", "amh", Lang::Amh),
    ("ar", "ara", Lang::Ara),
    ("az", "aze", Lang::Aze),
    ("be", "bel", Lang::Bel),
    ("bn", "ben", Lang::Ben),
    ("bg", "bul", Lang::Bul),
    ("ca", "cat", Lang::Cat),
    ("cs", "ces", Lang::Ces),
    ("zh", "cmn", Lang::Cmn),
    ("cy", "cym", Lang::Cym),
    ("da", "dan", Lang::Dan),
    ("de", "deu", Lang::Deu),
    ("el", "ell", Lang::Ell),
    ("en", "eng", Lang::Eng),
    ("eo", "epo", Lang::Epo),
    ("et", "est", Lang::Est),
    ("fi", "fin", Lang::Fin),
    ("fr", "fra", Lang::Fra),
    ("gu", "guj", Lang::Guj),
    ("he", "heb", Lang::Heb),
    ("hi", "hin", Lang::Hin),
    ("hr", "hrv", Lang::Hrv),
    ("hu", "hun", Lang::Hun),
    ("hy", "hye", Lang::Hye),
    ("id", "ind", Lang::Ind),
    ("it", "ita", Lang::Ita),
    ("jv", "jav", Lang::Jav),
    ("ja", "jpn", Lang::Jpn),
    ("kn", "kan", Lang::Kan),
    ("ka", "kat", Lang::Kat),
    ("km", "khm", Lang::Khm),
    ("ko", "kor", Lang::Kor),
    ("la", "lat", Lang::Lat),
    ("lv", "lav", Lang::Lav),
    ("lt", "lit", Lang::Lit),
    ("ml", "mal", Lang::Mal),
    ("mr", "mar", Lang::Mar),
    ("mk", "mkd", Lang::Mkd),
    ("my", "mya", Lang::Mya),
    ("ne", "nep", Lang::Nep),
    ("nl", "nld", Lang::Nld),
    ("nb", "nob", Lang::Nob),
    ("or", "ori", Lang::Ori),
    ("pa", "pan", Lang::Pan),
    ("fa", "pes", Lang::Pes),
    ("pl", "pol", Lang::Pol),
    ("pt", "por", Lang::Por),
    ("ro", "ron", Lang::Ron),
    ("ru", "rus", Lang::Rus),
    ("si", "sin", Lang::Sin),
    ("sk", "slk", Lang::Slk),
    ("sl", "slv", Lang::Slv),
    ("sn", "sna", Lang::Sna),
    ("es", "spa", Lang::Spa),
    ("sr", "srp", Lang::Srp),
    ("sv", "swe", Lang::Swe),
    ("ta", "tam", Lang::Tam),
    ("te", "tel", Lang::Tel),
    ("tl", "tgl", Lang::Tgl),
    ("th", "tha", Lang::Tha),
    ("tk", "tuk", Lang::Tuk),
    ("tr", "tur", Lang::Tur),
    ("uk", "ukr", Lang::Ukr),
    ("ur", "urd", Lang::Urd),
    ("uz", "uzb", Lang::Uzb),
    ("vi", "vie", Lang::Vie),
    ("yi", "yid", Lang::Yid),
    ("zu", "zul", Lang::Zul),
];

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
        assert_eq!(is("en").broken_rule(GERMAN), Some("other_language"));
        assert_eq!(is("de").broken_rule(GERMAN), None);
        assert_eq!(is("en").broken_rule("Guten Tag!"), None);
        assert_eq!(Language { unsure: Unsure::Remove, ..is("en") }.broken_rule("Guten Tag!"), Some("unsure"));
    }

    #[test]
    fn every_language_has_its_code_and_unknown_ones_are_refused() {
        for language in Lang::all() {
            assert_eq!(language_of(language.code()), Some(*language));
        }
        assert_eq!(is("en").check(), Ok(()));
        let problem = is("enh").check().unwrap_err();
        assert!(problem.contains("`enh` is no code") && problem.contains("did you mean `en"), "{problem}");
    }
}
