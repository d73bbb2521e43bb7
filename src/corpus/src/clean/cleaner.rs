//! Runs the steps of a recipe over documents, and counts and samples what they do.

use std::borrow::Cow;
use std::sync::Arc;

use harness_core::corpus_manifest::StepCounts;
use regex::Regex;

use super::broken::{Broken, counted};
use super::form::{self, replaced};
use super::personal;
use super::samples::Samples;
use crate::recipe::Step;
use crate::text::composed;

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
    pub(super) fn new(steps: &[Step]) -> Self {
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
    pub(super) fn empty(&self) -> Self {
        let count = |count: &StepCounts| StepCounts { step: count.step.clone(), ..StepCounts::default() };
        let counts = self.counts.iter().map(count).collect();
        Cleaner { steps: self.steps.clone(), counts, samples: Samples::default() }
    }

    /// Adds what the same steps did to other documents.
    pub(super) fn merge(&mut self, other: Cleaner) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, counts)| sum.add(counts));
        other.samples.into_sorted().into_iter().for_each(|sample| self.samples.add(sample));
    }

    /// Runs every step over the document with this index and counts.
    pub(super) fn clean(&mut self, index: u64, mut text: String) -> Result<String, Removed> {
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
                        self.samples.offer((at, step.name()), ("", ""), index, &text, Some(&cleaned));
                        text = cleaned;
                    }
                }
                Err(Broken { rule, saw }) => {
                    self.samples.offer((at, step.name()), (rule, &saw), index, &text, None);
                    return Err(Removed { step: step.name(), rule });
                }
            }
        }
        Ok(text)
    }
}

/// The document after a step, borrowed where it is unchanged, or the rule by which the step removes it.
fn apply<'a>(step: &Step, patterns: &[Regex], text: &'a str) -> Result<Cow<'a, str>, Broken> {
    let kept_if = |keep: fn(u64, u64) -> bool, bound: &u64| {
        let characters = text.chars().count() as u64;
        let saw = || Broken::new("", counted(characters, "character"));
        if keep(characters, *bound) { Ok(Cow::Borrowed(text)) } else { Err(saw()) }
    };
    let unless_broken = |broken: Option<Broken>| broken.map_or(Ok(Cow::Borrowed(text)), Err);
    match step {
        Step::MarkdownMarks => Ok(form::without_markdown_marks(text)),
        Step::UnicodeNfc => Ok(composed(text)),
        Step::ControlCharacters => Ok(form::without_control_characters(text)),
        Step::Whitespace => Ok(form::with_plain_whitespace(text)),
        Step::RemoveMatches(_) => Ok(patterns
            .iter()
            .fold(Cow::Borrowed(text), |text, pattern| replaced(text, |text| pattern.replace_all(text, "")))),
        Step::MaskPersonalData => Ok(personal::masked(text)),
        Step::ShorterThanCharacters(least) => kept_if(|characters, least| characters >= least, least),
        Step::LongerThanCharacters(most) => kept_if(|characters, most| characters <= most, most),
        Step::Language(rule) => unless_broken(rule.broken_rule(text)),
        Step::GopherQuality(rules) => unless_broken(rules.broken_rule(text)),
        Step::GopherRepetition(rules) => unless_broken(rules.broken_rule(text)),
        Step::C4Lines(rules) => rules.apply(text),
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
        assert!(
            samples.iter().any(|s| s.what == "removed" && s.id == "0" && s.before == "ab" && s.saw == "2 characters")
        );
    }
}
