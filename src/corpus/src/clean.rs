//! Cleaning: named steps, applied to each document in the order of the recipe. A step changes a document or removes
//! it; nothing else is known to it, so that the steps of one document never depend on another.

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::read::is_heading;

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
    /// Removes documents of fewer characters than this.
    ShorterThanCharacters(u64),
}

impl Step {
    /// Its name in recipes and manifests.
    pub fn name(&self) -> &'static str {
        match self {
            Step::MarkdownMarks => "markdown_marks",
            Step::UnicodeNfc => "unicode_nfc",
            Step::ControlCharacters => "control_characters",
            Step::Whitespace => "whitespace",
            Step::ShorterThanCharacters(_) => "shorter_than_characters",
        }
    }

    /// Refuses parameters that make no sense.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Step::ShorterThanCharacters(0) => Err("must be at least 1".to_owned()),
            _ => Ok(()),
        }
    }

    /// The document after this step, or `None` if the step removes it.
    pub(crate) fn apply(&self, text: String) -> Option<String> {
        match self {
            Step::MarkdownMarks => Some(without_markdown_marks(&text)),
            Step::UnicodeNfc => Some(match is_nfc_quick(text.chars()) {
                IsNormalized::Yes => text,
                _ => text.nfc().collect(),
            }),
            Step::ControlCharacters => {
                if text.chars().any(is_invisible) {
                    Some(text.chars().filter(|&c| !is_invisible(c)).collect())
                } else {
                    Some(text)
                }
            }
            Step::Whitespace => Some(with_plain_whitespace(&text)),
            Step::ShorterThanCharacters(least) => {
                (text.chars().count() as u64 >= *least).then_some(text)
            }
        }
    }
}

/// What one step did to the documents of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCounts {
    /// The step.
    pub step: String,
    /// Documents that came to it.
    pub documents_in: u64,
    /// Documents it kept.
    pub documents_out: u64,
    /// Documents it kept with another text.
    pub documents_changed: u64,
    /// Bytes that came to it.
    pub bytes_in: u64,
    /// Bytes it kept.
    pub bytes_out: u64,
}

/// Runs every step over a document and counts. `Err` names the step that removed it.
pub(crate) fn clean(
    mut text: String,
    steps: &[Step],
    counts: &mut [StepCounts],
) -> Result<String, &'static str> {
    for (step, count) in steps.iter().zip(counts) {
        count.documents_in += 1;
        count.bytes_in += text.len() as u64;
        let cleaned = step.apply(text.clone()).ok_or(step.name())?;
        count.documents_out += 1;
        count.documents_changed += u64::from(cleaned != text);
        count.bytes_out += cleaned.len() as u64;
        text = cleaned;
    }
    Ok(text)
}

fn is_invisible(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{feff}' | '\u{ad}' | '\u{200b}'..='\u{200f}')
}

fn with_plain_whitespace(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty_lines = 0;
    for line in text.trim().split('\n') {
        let line = line.trim_end();
        empty_lines = if line.is_empty() { empty_lines + 1 } else { 0 };
        if empty_lines > 1 {
            continue;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.extend(line.chars().map(|c| if c == '\u{a0}' { ' ' } else { c }));
    }
    out
}

fn without_markdown_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if is_rule(line) {
            out.push('\n');
            continue;
        }
        let line = if is_heading(line) {
            line.trim_start_matches('#').trim_start_matches([' ', '\t'])
        } else {
            line
        };
        push_without_emphasis(line, &mut out);
    }
    out
}

/// Three or more of one of `-`, `*`, `_` and nothing else but blanks.
fn is_rule(line: &str) -> bool {
    let mut marks = line.chars().filter(|c| !c.is_whitespace());
    let Some(first @ ('-' | '*' | '_')) = marks.next() else {
        return false;
    };
    let mut more = 0;
    marks.all(|c| {
        more += 1;
        c == first
    }) && more >= 2
}

/// Takes out runs of one or two `_` or `*` that open (a word follows, none precedes) or close (the reverse) emphasis.
fn push_without_emphasis(line: &str, out: &mut String) {
    let characters: Vec<char> = line.chars().collect();
    let mut at = 0;
    while at < characters.len() {
        let mark = characters[at];
        if mark != '_' && mark != '*' {
            out.push(mark);
            at += 1;
            continue;
        }
        let run = characters[at..].iter().take_while(|&&c| c == mark).count();
        let before = at.checked_sub(1).map_or(' ', |i| characters[i]);
        let after = characters.get(at + run).copied().unwrap_or(' ');
        let opens = !after.is_whitespace() && !before.is_alphanumeric();
        let closes = !before.is_whitespace() && !after.is_alphanumeric();
        if run > 2 || !(opens || closes) {
            out.extend(std::iter::repeat_n(mark, run));
        }
        at += run;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(step: Step, text: &str) -> Option<String> {
        step.apply(text.to_owned())
    }

    #[test]
    fn markdown_marks_go_and_the_words_stay() {
        let text = "##  Chapter 1 \n\nIt was _very_ odd, **quite** so; snake_case and 2 * 3 stay. \n-------\n* * *\n_A_ B";
        let expected =
            "Chapter 1 \n\nIt was very odd, quite so; snake_case and 2 * 3 stay. \n\n\nA B";
        assert_eq!(apply(Step::MarkdownMarks, text).unwrap(), expected);
    }

    #[test]
    fn whitespace_is_made_plain() {
        assert_eq!(
            apply(Step::Whitespace, "\n a \n\n\n\nb\u{a0}c \n").unwrap(),
            "a\n\nb c"
        );
    }

    #[test]
    fn characters_are_composed_and_invisible_ones_go() {
        assert_eq!(apply(Step::UnicodeNfc, "e\u{301}").unwrap(), "\u{e9}");
        assert_eq!(
            apply(Step::ControlCharacters, "a\u{0}\tb\u{200b}\u{feff}\n").unwrap(),
            "a\tb\n"
        );
    }

    #[test]
    fn steps_count_what_they_do() {
        let steps = [Step::Whitespace, Step::ShorterThanCharacters(3)];
        let mut counts = [StepCounts::default(), StepCounts::default()];
        assert_eq!(
            clean(" ab ".to_owned(), &steps, &mut counts),
            Err("shorter_than_characters")
        );
        assert_eq!(
            clean("abc".to_owned(), &steps, &mut counts),
            Ok("abc".to_owned())
        );
        assert_eq!(
            (
                counts[0].documents_changed,
                counts[0].bytes_in,
                counts[0].bytes_out
            ),
            (1, 7, 5)
        );
        assert_eq!(
            (
                counts[1].documents_in,
                counts[1].documents_out,
                counts[1].bytes_out
            ),
            (2, 1, 3)
        );
    }
}
