//! Paragraphs that stood earlier.

use std::ops::Range;

use harness_core::digest::Digest;
use harness_core::files::FileError;
use rayon::prelude::*;

use super::{Corpus, Run, place};
use crate::error::CorpusError;
use crate::recipe::ParagraphRule;
use crate::spill::{Sorted, Spill};

/// Text between blank lines.
struct Paragraph<'a> {
    /// Where its first line begins.
    begins: usize,
    /// Where the first line of the next one begins, or the text ends.
    ends: usize,
    /// Without the white space around it.
    text: &'a str,
}

/// The paragraph whose first line begins at a byte.
fn paragraph_at(text: &str, begins: usize) -> Paragraph<'_> {
    let (mut body, mut ends) = (None, begins);
    for line in text[begins..].split_inclusive('\n') {
        match (line.trim().is_empty(), body) {
            (true, None) => body = Some(ends),
            (false, Some(_)) => break,
            _ => {}
        }
        ends += line.len();
    }
    Paragraph { begins, ends, text: text[begins..body.unwrap_or(ends)].trim() }
}

/// All of a text; blank lines at its beginning are an empty one.
fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    let mut begins = 0;
    std::iter::from_fn(move || {
        let paragraph = (begins < text.len()).then(|| paragraph_at(text, begins))?;
        begins = paragraph.ends;
        Some(paragraph)
    })
}

/// Where paragraphs begin that stood earlier, each with where it stood first.
pub(super) fn repeats(
    rule: &ParagraphRule,
    corpus: &Corpus,
    spill: &mut impl FnMut() -> Result<Spill, FileError>,
) -> Result<Sorted, CorpusError> {
    let least = rule.characters_at_least as usize;
    let mut hashes = spill()?;
    corpus.each_batch(|documents, texts| {
        let hash = |paragraph: Paragraph| {
            let digest = Digest::of(paragraph.text.as_bytes());
            let beginning = digest.as_bytes()[..8].try_into().expect("eight bytes");
            (u64::from_be_bytes(beginning), paragraph.begins)
        };
        let long_enough = |paragraph: &Paragraph| paragraph.text.chars().take(least).count() == least;
        let of_text = |text: &String| paragraphs(text).filter(long_enough).map(hash).collect();
        let found: Vec<Vec<(u64, usize)>> = texts.par_iter().map(of_text).collect();
        for (&document, found) in documents.iter().zip(found) {
            found.into_iter().try_for_each(|(hash, begins)| hashes.push(hash, place(document, begins)))?;
        }
        Ok(())
    })?;
    Ok(corpus.repeats(hashes, 0, spill()?)?)
}

/// The paragraph and the blank lines behind it, if it is what it seems to be.
pub(super) fn cuts(later: &str, earlier: &str, run: &Run) -> Vec<Range<usize>> {
    let paragraph = paragraph_at(later, run.at);
    let same = paragraph.text == paragraph_at(earlier, run.earlier_at).text;
    same.then_some(paragraph.begins..paragraph.ends).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_cut_at_blank_lines() {
        let text = " \n\n  One\ntwo \n \t\nThree\n\n\n";
        let found: Vec<(usize, usize, &str)> = paragraphs(text).map(|p| (p.begins, p.ends, p.text)).collect();
        assert_eq!(found, [(0, 3, ""), (3, 17, "One\ntwo"), (17, 25, "Three")]);
        assert_eq!(paragraphs("").count(), 0);
    }
}
