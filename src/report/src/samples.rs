//! Texts that models went on to, as the paper shows them. What a model writes is nobody's choice and may be anything: it goes to
//! Typst as data, on one line, cut where it is long, and with the code point of whatever is no letter that the fonts have.

use std::collections::BTreeMap;

use harness_analyse::RunAnalysis;
use harness_core::samples::SampleText;
use serde::Serialize;

use super::families::Entry;
use super::model::Piece;

/// Texts of an experiment that are shown.
const MOST_TEXTS: usize = 6;
/// Characters that are shown of a text.
const MOST_CHARACTERS: usize = 1_000;

/// The samples of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Samples {
    /// How many texts its runs keep.
    kept: usize,
    /// How many of them are shown: the first ones, in the order in which they were drawn.
    shown: usize,
    draws: Vec<Draw>,
}

/// The samples of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Draw {
    /// The run that keeps them.
    run: String,
    /// The run that trained the model.
    of: String,
    /// How they were drawn, in words.
    how: String,
    prompt: Line,
    texts: Vec<Numbered>,
}

/// A text with its number among those of its run, from 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Numbered {
    number: u32,
    text: Line,
}

/// A text on one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Line {
    pieces: Vec<Piece>,
    /// Whether there is more of it.
    is_cut: bool,
}

impl Samples {
    /// None where no run keeps any.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let kept = entry.samples().map(|run| run.samples.len()).sum();
        let mut left = MOST_TEXTS;
        let mut draws = Vec::new();
        for run in entry.samples() {
            // What is drawn first is shown first, so that nobody chooses: of each run all, until there are enough.
            let texts = &run.samples[..run.samples.len().min(left)];
            left -= texts.len();
            draws.extend(Draw::of(run, texts));
        }
        (kept > 0).then_some(Samples { kept, shown: MOST_TEXTS - left, draws })
    }

    /// Each text that is shown, by the run that keeps it and its number there.
    pub(super) fn by_run_and_number(&self) -> BTreeMap<(String, u32), String> {
        let texts = self.draws.iter().flat_map(|draw| draw.texts.iter().map(|text| (draw.run.clone(), text)));
        texts.map(|(run, text)| ((run, text.number), text.text.shown())).collect()
    }
}

impl Draw {
    fn of(run: &RunAnalysis, texts: &[SampleText]) -> Option<Self> {
        let first = texts.first()?;
        let (open, drawn) = (&run.run.open, run.samples.len());
        let rule = match (first.rule.temperature, first.rule.top_k, first.rule.top_p) {
            (0.0, ..) => "the most probable token each time".to_owned(),
            (temperature, top_k, top_p) => {
                let top_k = if top_k == 0 { String::new() } else { format!(", top-k {top_k}") };
                let top_p = if top_p == 1.0 { String::new() } else { format!(", top-p {top_p}") };
                format!("temperature {temperature}{top_k}{top_p}")
            }
        };
        let tokens = if first.max_tokens == 1 { "token" } else { "tokens" };
        let count = match (texts.len(), drawn) {
            (1, 1) => "the one sample that was drawn".to_owned(),
            (shown, drawn) if shown == drawn => format!("all {drawn} samples that were drawn"),
            (shown, drawn) => format!("the first {shown} of {drawn} samples that were drawn"),
        };
        let how = format!(
            "after step {}; {rule}, seed {}, at most {} {tokens}; {count}",
            first.step, first.seed, first.max_tokens
        );
        let numbered = |line: &SampleText| Numbered { number: line.sample + 1, text: Line::of(&line.text) };
        Some(Draw {
            run: open.run.to_string(),
            of: open.evaluates.as_ref()?.run.to_string(),
            how,
            prompt: Line::of(&first.prompt),
            texts: texts.iter().map(numbered).collect(),
        })
    }
}

impl Line {
    /// What the page shows of it.
    fn shown(&self) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) | Piece::Code(text) => text.as_str(),
        });
        pieces.collect()
    }

    fn of(text: &str) -> Self {
        let (mut pieces, mut letters) = (Vec::new(), String::new());
        for letter in text.chars().take(MOST_CHARACTERS) {
            match letter {
                '\n' => letters.push_str(" ¶ "),
                letter if is_shown(letter) => letters.push(letter),
                letter => {
                    pieces.extend((!letters.is_empty()).then(|| Piece::Text(std::mem::take(&mut letters))));
                    pieces.push(Piece::Code(format!("U+{:04X}", u32::from(letter))));
                }
            }
        }
        pieces.extend((!letters.is_empty()).then_some(Piece::Text(letters)));
        Line { pieces, is_cut: text.chars().nth(MOST_CHARACTERS).is_some() }
    }
}

/// Whether the fonts that come with Typst, or those of the paper, have a character, and it says nothing but itself: no control
/// character, none that turns the direction or joins its neighbours.
fn is_shown(letter: char) -> bool {
    match letter {
        ' '..='~' | '¡'..='¬' | '®'..='\u{17f}' => true,
        // Greek and Cyrillic.
        '\u{370}'..='\u{4ff}' => letter.is_alphabetic(),
        '–' | '—' | '‘' | '’' | '‚' | '“' | '”' | '„' | '†' | '‡' | '•' | '…' | '‹' | '›' | '€' | '™' | '−' => {
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use harness_core::names::Project;

    use super::*;
    use crate::families::Families;
    use crate::fixture::{analysis, demo, keeping};

    #[test]
    fn the_texts_that_were_kept_first_are_shown_and_all_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let trained = analysis(&Project::at(folder.path()), &demo()[0]);
        let keeps =
            |run: &str, count: usize, temperature: f64| keeping(&trained, run, temperature, "It", &vec![" was"; count]);
        let (early, late) = ("20261123T100000Z-00000001", "20261123T110000Z-00000002");
        let mut of_another = keeps("20261123T090000Z-00000003", 1, 1.0);
        of_another.run.open.evaluates.as_mut().unwrap().run = late.parse().unwrap();
        let mut not_citable = keeps("20261123T090000Z-00000004", 1, 1.0);
        not_citable.run.open.not_citable_because = Some("a dirty tree".to_owned());
        let analyses = [keeps(late, 7, 0.8), of_another, not_citable, trained.clone(), keeps(early, 2, 0.0)];
        let families = Families::of(&analyses);
        let entry = families.entry("baseline").unwrap();
        assert_eq!((entry.runs.len(), entry.samples().count(), entry.listed().len()), (1, 2, 3));
        let samples = Samples::of(entry).unwrap();
        assert_eq!((samples.kept, samples.shown), (9, 6));
        let told: Vec<(&str, &str)> = samples.draws.iter().map(|draw| (draw.run.as_str(), draw.how.as_str())).collect();
        let greedy =
            "after step 300; the most probable token each time, seed 5, at most 1 token; all 2 samples that were drawn";
        let drawn = "after step 300; temperature 0.8, top-k 40, top-p 0.9, seed 5, at most 1 token; the first 4 of 7 samples that \
                     were drawn";
        assert_eq!(told, [(early, greedy), (late, drawn)]);
        let numbers: Vec<u32> = samples.draws[1].texts.iter().map(|text| text.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert_eq!(Samples::of(Families::of(&analyses[3..4]).entry("baseline").unwrap()), None);
    }

    fn shown(text: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Code(code) => format!("[{code}]"),
        };
        Line::of(text).pieces.iter().map(piece).collect()
    }

    #[test]
    fn a_text_is_one_line_of_what_can_be_shown() {
        assert_eq!(shown("The Дом, naïve – ‘so’.\n\nA"), "The Дом, naïve – ‘so’. ¶  ¶ A");
        assert_eq!(shown("a\u{0}\u{202e}b\u{fffd}\u{feff}字"), "a[U+0000][U+202E]b[U+FFFD][U+FEFF][U+5B57]");
        assert_eq!(shown("\t\r\u{ad}\u{301}\u{200b}\u{378}"), "[U+0009][U+000D][U+00AD][U+0301][U+200B][U+0378]");
        assert_eq!(shown("#panic($x$) \\input{y} *_`@<l>"), "#panic($x$) \\input{y} *_`@<l>", "it is data");
        assert_eq!(Line::of(""), Line { pieces: Vec::new(), is_cut: false });
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = "x".repeat(MOST_CHARACTERS);
        assert_eq!(Line::of(&long), Line { pieces: vec![Piece::Text(long.clone())], is_cut: false });
        assert_eq!(Line::of(&format!("{long}\u{0}")), Line { pieces: vec![Piece::Text(long)], is_cut: true });
    }
}
