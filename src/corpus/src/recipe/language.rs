//! The step that keeps one language, and the languages that can be told apart.

use harness_core::config::nearest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use whatlang::Lang;

/// Keeps documents in one language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
}

/// The language of a code of ISO 639-1 or 639-3.
pub(crate) fn language_of(code: &str) -> Option<Lang> {
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

    #[test]
    fn every_language_has_its_code_and_unknown_ones_are_refused() {
        for language in Lang::all() {
            assert_eq!(language_of(language.code()), Some(*language));
        }
        let is = |code: &str| Language {
            is: code.to_owned(),
            confidence_at_least: confidence(),
            letters_at_least: letters(),
            unsure: Unsure::Keep,
        };
        assert_eq!(is("en").check(), Ok(()));
        let problem = is("enh").check().unwrap_err();
        assert!(problem.contains("`enh` is no code") && problem.contains("did you mean `en"), "{problem}");
    }
}
