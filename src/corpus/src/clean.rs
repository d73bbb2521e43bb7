//! Cleaning: named steps, applied to each document in the order of the recipe. A step changes a document or removes
//! it; nothing else is known to it, so that the steps of one document never depend on another.

mod language;
mod personal;
mod quality;
mod text;

use harness_core::corpus_manifest::StepCounts;
use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;
use serde::{Deserialize, Serialize};

pub use language::Language;
pub use quality::{C4Lines, GopherQuality, GopherRepetition};

use crate::samples::Samples;

/// A cleaning step, as a recipe names it: `"whitespace"`, or `{ shorter_than_characters = 40 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// The steps of a recipe, ready to run, with what they did so far.
pub(crate) struct Cleaner {
    steps: Arc<[(Step, Vec<Regex>)]>,
    pub counts: Vec<StepCounts>,
    pub samples: Samples,
}

/// Why a document was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    pub step: &'static str,
    /// The rule of the step, where it has several; else empty.
    pub rule: &'static str,
}

impl Cleaner {
    /// Steps that were checked.
    pub fn new(steps: &[Step]) -> Self {
        let compiled = |step: &Step| match step {
            Step::RemoveMatches(patterns) => patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect(),
            _ => Vec::new(),
        };
        let count = |step: &Step| StepCounts { step: step.name().to_owned(), ..StepCounts::default() };
        Cleaner {
            steps: steps.iter().map(|step| (step.clone(), compiled(step))).collect(),
            counts: steps.iter().map(count).collect(),
            samples: Samples::default(),
        }
    }

    /// The same steps, with nothing counted.
    pub fn empty(&self) -> Self {
        let count = |count: &StepCounts| StepCounts { step: count.step.clone(), ..StepCounts::default() };
        let counts = self.counts.iter().map(count).collect();
        Cleaner { steps: self.steps.clone(), counts, samples: Samples::default() }
    }

    /// Adds what the same steps did to other documents.
    pub fn merge(&mut self, other: Cleaner) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, counts)| sum.add(counts));
        other.samples.into_sorted().into_iter().for_each(|sample| self.samples.add(sample));
    }

    /// Runs every step over the document with this index and counts.
    pub fn clean(&mut self, index: u64, mut text: String) -> Result<String, Removed> {
        for (at, ((step, patterns), count)) in self.steps.iter().zip(&mut self.counts).enumerate() {
            count.documents_in += 1;
            count.bytes_in += text.len() as u64;
            match apply(step, patterns, &text) {
                Ok(cleaned) => {
                    count.documents_out += 1;
                    count.bytes_out += cleaned.len() as u64;
                    if let Cow::Owned(cleaned) = cleaned
                        && cleaned != text
                    {
                        count.documents_changed += 1;
                        self.samples.offer((at, step.name()), "", index, &text, Some(&cleaned));
                        text = cleaned;
                    }
                }
                Err(rule) => {
                    self.samples.offer((at, step.name()), rule, index, &text, None);
                    return Err(Removed { step: step.name(), rule });
                }
            }
        }
        Ok(text)
    }
}

/// The document after a step, borrowed where it is unchanged, or the rule by which the step removes it.
fn apply<'a>(step: &Step, patterns: &[Regex], text: &'a str) -> Result<Cow<'a, str>, &'static str> {
    let kept = |keep: bool| if keep { Ok(Cow::Borrowed(text)) } else { Err("") };
    let unless_broken = |rule: Option<&'static str>| rule.map_or(Ok(Cow::Borrowed(text)), Err);
    match step {
        Step::MarkdownMarks => Ok(text::without_markdown_marks(text)),
        Step::UnicodeNfc => Ok(text::composed(text)),
        Step::ControlCharacters => Ok(text::without_control_characters(text)),
        Step::Whitespace => Ok(text::with_plain_whitespace(text)),
        Step::RemoveMatches(_) => Ok(patterns
            .iter()
            .fold(Cow::Borrowed(text), |text, pattern| replaced(text, |text| pattern.replace_all(text, "")))),
        Step::MaskPersonalData => Ok(personal::masked(text)),
        Step::ShorterThanCharacters(least) => kept(text.chars().count() as u64 >= *least),
        Step::LongerThanCharacters(most) => kept(text.chars().count() as u64 <= *most),
        Step::Language(rule) => unless_broken(rule.broken_rule(text)),
        Step::GopherQuality(rules) => unless_broken(rules.broken_rule(text)),
        Step::GopherRepetition(rules) => unless_broken(rules.broken_rule(text)),
        Step::C4Lines(rules) => rules.apply(text),
    }
}

/// What `replace` makes of a text, which stays as it is where nothing is replaced.
fn replaced<'a>(text: Cow<'a, str>, replace: impl Fn(&str) -> Cow<'_, str>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => replace(text),
        Cow::Owned(text) => match replace(&text) {
            Cow::Owned(new) => Cow::Owned(new),
            Cow::Borrowed(_) => Cow::Owned(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply_one(step: Step, text: &str) -> Result<String, Removed> {
        assert_eq!(step.check(), Ok(()));
        Cleaner::new(&[step]).clean(0, text.to_owned())
    }

    #[test]
    fn markdown_marks_go_and_the_words_stay() {
        let text =
            "##  Chapter 1 \n\nIt was _very_ odd, **quite** so; snake_case and 2 * 3 stay. \n-------\n* * *\n_A_ B";
        let expected = "Chapter 1 \n\nIt was very odd, quite so; snake_case and 2 * 3 stay. \n\n\nA B";
        assert_eq!(apply_one(Step::MarkdownMarks, text).unwrap(), expected);
    }

    #[test]
    fn whitespace_is_made_plain() {
        assert_eq!(apply_one(Step::Whitespace, "\n a \n\n\n\nb\u{a0}c \n").unwrap(), "a\n\nb c");
    }

    #[test]
    fn characters_are_composed_and_invisible_ones_go() {
        assert_eq!(apply_one(Step::UnicodeNfc, "e\u{301}").unwrap(), "\u{e9}");
        assert_eq!(apply_one(Step::ControlCharacters, "a\u{0}\tb\u{200b}\u{feff}\n").unwrap(), "a\tb\n");
    }

    #[test]
    fn matches_are_taken_out() {
        let step = Step::RemoveMatches(vec![r"(?s)\A.*?\*\*\* START \*\*\*\n".into(), r"(?m)^Page \d+\n".into()]);
        assert_eq!(apply_one(step, "head\n*** START ***\ntext\nPage 12\nmore").unwrap(), "text\nmore");
        let problem = Step::RemoveMatches(vec!["(".into()]).check().unwrap_err();
        assert!(problem.contains("`(` is not a regular expression"), "{problem}");
    }

    #[test]
    fn steps_count_what_they_do_and_keep_samples() {
        let mut cleaner = Cleaner::new(&[Step::Whitespace, Step::ShorterThanCharacters(3)]);
        let removed = Removed { step: "shorter_than_characters", rule: "" };
        assert_eq!(cleaner.clean(0, " ab ".to_owned()), Err(removed));
        assert_eq!(cleaner.clean(1, "abc".to_owned()), Ok("abc".to_owned()));
        (2..40).for_each(|index| drop(cleaner.clean(index, format!("word {index} "))));
        let counts = &cleaner.counts;
        assert_eq!((counts[0].documents_in, counts[0].documents_changed), (40, 39));
        assert_eq!((counts[1].documents_in, counts[1].documents_out), (40, 39));
        let samples = cleaner.samples.into_sorted();
        let changed = samples.iter().filter(|sample| sample.what == "changed").count();
        assert_eq!((samples.len(), changed), (11, 10));
        assert!(samples.iter().any(|s| s.what == "removed" && s.id == "0" && s.before == "ab"));
    }
}
