//! The cleaning steps of a recipe, with their rules and what each is unless said otherwise.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::language::Language;

/// A cleaning step, as a recipe names it: `"whitespace"`, or `{ shorter_than_characters = 40 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Heading marks, emphasis marks (`_word_`, `*word*`) and lines that only draw a rule are taken out
    /// (CommonMark 0.31, sections 4.1, 4.2 and 6.2, of which this is the part that books use).
    MarkdownMarks,
    /// Unicode normalization form C (Unicode Standard Annex 15).
    UnicodeNfc,
    /// Control characters other than tab and line feed are taken out, and so are the invisible marks U+FEFF, U+00AD
    /// and U+200B to U+200F.
    ControlCharacters,
    /// Blanks at line ends are taken out; more than one empty line becomes one; blanks around the document go.
    /// A no-break space becomes a blank.
    Whitespace,
    /// Takes out what these regular expressions match, one after another: heads, tails, banners. `^` and `$` are
    /// the ends of the document, or those of a line after `(?m)`.
    RemoveMatches(Vec<String>),
    /// E-mail addresses, IPv4 and IPv6 addresses and telephone numbers become `<email>`, `<ip>` and `<phone>`.
    MaskPersonalData,
    /// Removes documents of fewer characters than this.
    ShorterThanCharacters(u64),
    /// Removes documents of more characters than this.
    LongerThanCharacters(u64),
    /// Removes documents in another language.
    Language(Language),
    /// Removes documents that break a quality rule of Gopher.
    GopherQuality(GopherQuality),
    /// Removes documents that repeat themselves too much by the rules of Gopher.
    GopherRepetition(GopherRepetition),
    /// Takes out lines that are no sentences, and removes documents with too few sentences left, by the rules of C4.
    C4Lines(C4Lines),
}

impl Step {
    /// Its name in recipes and manifests.
    pub fn name(&self) -> &'static str {
        match self {
            Step::MarkdownMarks => "markdown_marks",
            Step::UnicodeNfc => "unicode_nfc",
            Step::ControlCharacters => "control_characters",
            Step::Whitespace => "whitespace",
            Step::RemoveMatches(_) => "remove_matches",
            Step::MaskPersonalData => "mask_personal_data",
            Step::ShorterThanCharacters(_) => "shorter_than_characters",
            Step::LongerThanCharacters(_) => "longer_than_characters",
            Step::Language(_) => "language",
            Step::GopherQuality(_) => "gopher_quality",
            Step::GopherRepetition(_) => "gopher_repetition",
            Step::C4Lines(_) => "c4_lines",
        }
    }

    /// Refuses parameters that make no sense.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Step::ShorterThanCharacters(0) | Step::LongerThanCharacters(0) => Err("must be at least 1".to_owned()),
            Step::RemoveMatches(patterns) => patterns.iter().try_for_each(|pattern| {
                let reason = |e: regex::Error| e.to_string().lines().last().unwrap_or_default().to_owned();
                Regex::new(pattern)
                    .map(drop)
                    .map_err(|e| format!("`{pattern}` is not a regular expression: {}", reason(e)))
            }),
            Step::Language(language) => language.check(),
            _ => Ok(()),
        }
    }
}

/// The quality rules of Gopher (Rae et al. 2021, Scaling Language Models, arXiv:2112.11446, appendix A.1.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GopherQuality {
    /// Fewest words.
    pub words_at_least: u64,
    /// Most words.
    pub words_at_most: u64,
    /// Smallest mean length of a word in characters.
    pub mean_word_length_at_least: f64,
    /// Largest mean length of a word in characters.
    pub mean_word_length_at_most: f64,
    /// Most hash marks or ellipses for each word.
    pub symbols_per_word_at_most: f64,
    /// Largest share of lines that begin with a bullet.
    pub bullet_lines_at_most: f64,
    /// Largest share of lines that end with an ellipsis.
    pub ellipsis_lines_at_most: f64,
    /// Smallest share of words with a letter.
    pub words_with_letter_at_least: f64,
    /// Fewest of the words the, be, to, of, and, that, have, with.
    pub stop_words_at_least: u64,
}

impl Default for GopherQuality {
    fn default() -> Self {
        GopherQuality {
            words_at_least: 50,
            words_at_most: 100_000,
            mean_word_length_at_least: 3.0,
            mean_word_length_at_most: 10.0,
            symbols_per_word_at_most: 0.1,
            bullet_lines_at_most: 0.9,
            ellipsis_lines_at_most: 0.3,
            words_with_letter_at_least: 0.8,
            stop_words_at_least: 2,
        }
    }
}

/// The repetition rules of Gopher (the same, table A1): shares of lines, paragraphs, and of characters in n-grams.
/// Words are what stands between white space, and characters are those of words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GopherRepetition {
    /// Largest share of lines that repeat an earlier one.
    pub repeated_lines_at_most: f64,
    /// Largest share of paragraphs that repeat an earlier one.
    pub repeated_paragraphs_at_most: f64,
    /// Largest share of characters in repeated lines.
    pub characters_in_repeated_lines_at_most: f64,
    /// Largest share of characters in repeated paragraphs.
    pub characters_in_repeated_paragraphs_at_most: f64,
    /// Largest share of characters in the most frequent n-gram of 2, 3 and 4 words.
    pub characters_in_top_ngram_at_most: [f64; 3],
    /// Largest share of characters in n-grams of 5, 6, 7, 8, 9 and 10 words that occur more than once, each character
    /// counted once.
    pub characters_in_repeated_ngrams_at_most: [f64; 6],
}

impl Default for GopherRepetition {
    fn default() -> Self {
        GopherRepetition {
            repeated_lines_at_most: 0.3,
            repeated_paragraphs_at_most: 0.3,
            characters_in_repeated_lines_at_most: 0.2,
            characters_in_repeated_paragraphs_at_most: 0.2,
            characters_in_top_ngram_at_most: [0.2, 0.18, 0.16],
            characters_in_repeated_ngrams_at_most: [0.15, 0.14, 0.13, 0.12, 0.11, 0.1],
        }
    }
}

/// The rules of C4 (Raffel et al. 2020, JMLR 21(140), section 2.2): lines without a final punctuation mark or with too
/// few words go, and so do lines that speak of scripts or of the policies of a site; a document with a curly bracket
/// or a placeholder text, or with too few sentences left, is removed.
///
/// The defaults are the paper's latest text (arXiv:1910.10683v4) and the code of the data set (`c4_utils` in TensorFlow
/// Datasets): five words in a line, three sentences in a page. Earlier versions of the paper name three and five.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct C4Lines {
    /// Fewest words of a line.
    pub words_in_line_at_least: u64,
    /// Fewest sentences of what is left.
    pub sentences_at_least: u64,
}

impl Default for C4Lines {
    fn default() -> Self {
        C4Lines { words_in_line_at_least: 5, sentences_at_least: 3 }
    }
}
