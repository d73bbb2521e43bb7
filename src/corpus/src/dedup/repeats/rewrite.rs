//! Documents without what stood earlier, in the form that cleaning gives them.

use crate::candidate::Candidate;
use crate::clean::{CleanStage, Sample, Samples};
use std::ops::Range;
use std::path::Path;

use harness_core::digest::Digest;
use harness_core::files;

use super::{Rule, Run, document_of, next_of, offset_of};
use crate::documents::{CleanDocument, LineReader, LineWriter, RemovedDocument};
use crate::error::CorpusError;
use crate::progress::Progress;
use crate::spill::Sorted;
use harness_core::corpus_manifest::StepCounts;

/// Writes each source into a folder of its own in `folder`. `repeats` are places with earlier ones.
pub(super) fn rewrite(
    rule: Rule,
    stages: &[CleanStage],
    candidates: &[Candidate],
    repeats: Sorted,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<(), CorpusError> {
    let mut repeats = repeats.peekable();
    let mut earlier = Earlier::new(stages, candidates)?;
    let mut at = 0;
    for (source, stage) in stages.iter().enumerate() {
        let folder = folder.join(source.to_string());
        let mut sink = Sink::create(rule, stage, &folder)?;
        let mut documents = LineReader::open(&stage.documents())?;
        while let Some(document) = documents.next::<CleanDocument>()? {
            let mut cuts = Vec::new();
            for run in runs(|| Ok(next_of(&mut repeats, at)?))? {
                let before = if run.earlier == at { &document.text } else { earlier.text(run.earlier)? };
                cuts.extend(rule.cuts(&document.text, before, &run));
            }
            sink.push(document, cuts)?;
            progress.advance(1);
            at += 1;
        }
        sink.finish(stage)?;
    }
    Ok(())
}

/// The repeats of a document, those that follow one another as one.
fn runs(mut next: impl FnMut() -> Result<Option<(u64, u64)>, CorpusError>) -> Result<Vec<Run>, CorpusError> {
    let mut runs: Vec<Run> = Vec::new();
    while let Some((place, first)) = next()? {
        let (at, earlier, earlier_at) = (offset_of(place), document_of(first), offset_of(first));
        match runs.last_mut() {
            Some(run)
                if (run.earlier, run.at + run.more + 1, run.earlier_at + run.more + 1) == (earlier, at, earlier_at) =>
            {
                run.more += 1;
            }
            _ => runs.push(Run { at, earlier, earlier_at, more: 0 }),
        }
    }
    Ok(runs)
}

/// Gives documents again by their place; the last one stays at hand, because repeats of one document often follow
/// one another.
struct Earlier<'a> {
    candidates: &'a [Candidate],
    readers: Vec<LineReader>,
    last: Option<(usize, String)>,
}

impl<'a> Earlier<'a> {
    fn new(stages: &[CleanStage], candidates: &'a [Candidate]) -> Result<Self, CorpusError> {
        let open = |stage: &CleanStage| LineReader::open(&stage.documents());
        let readers = stages.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Earlier { candidates, readers, last: None })
    }

    fn text(&mut self, at: usize) -> Result<&str, CorpusError> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != at) {
            let candidate = &self.candidates[at];
            let reader = &mut self.readers[candidate.source as usize];
            reader.seek(candidate.offset)?;
            let text = reader.next::<CleanDocument>()?.map_or(String::new(), |document| document.text);
            self.last = Some((at, text));
        }
        Ok(self.last.as_ref().map_or("", |(_, text)| text))
    }
}

/// The files of one source.
struct Sink {
    step_index: usize,
    counts: StepCounts,
    samples: Samples,
    folder: std::path::PathBuf,
    kept: LineWriter,
    removed: LineWriter,
    /// What earlier steps removed, merged in so that the file stays in the order of the documents.
    removed_before: LineReader,
    next_removed: Option<RemovedDocument>,
}

impl Sink {
    fn create(rule: Rule, stage: &CleanStage, folder: &Path) -> Result<Self, CorpusError> {
        files::create_folder(folder)?;
        let mut samples = Samples::default();
        let mut lines = LineReader::open(&stage.folder.join("samples.jsonl"))?;
        while let Some(sample) = lines.next::<Sample>()? {
            samples.add(sample);
        }
        let mut removed_before = LineReader::open(&stage.removed())?;
        Ok(Sink {
            step_index: stage.record.steps.len(),
            counts: StepCounts { step: rule.name().to_owned(), ..StepCounts::default() },
            samples,
            folder: folder.to_owned(),
            kept: LineWriter::create(folder.join("documents.jsonl"))?,
            removed: LineWriter::create(folder.join("removed.jsonl"))?,
            next_removed: removed_before.next()?,
            removed_before,
        })
    }

    fn push(&mut self, mut document: CleanDocument, cuts: Vec<Range<usize>>) -> Result<(), CorpusError> {
        let (counts, index) = (&mut self.counts, document.index);
        counts.documents_in += 1;
        counts.bytes_in += document.text.len() as u64;
        let step = (self.step_index, counts.step.clone());
        if let Some(text) = without(&document.text, cuts) {
            if text.trim().is_empty() {
                self.samples.offer((step.0, &step.1), ("", ""), index, &document.text, None);
                self.push_removed_before(index)?;
                let raw_bytes = document.raw_bytes;
                return Ok(self.removed.push(&RemovedDocument { index, raw_bytes, step: step.1 })?);
            }
            counts.documents_changed += 1;
            self.samples.offer((step.0, &step.1), ("", ""), index, &document.text, Some(&text));
            document.sha256 = Digest::of(text.as_bytes());
            document.text = text;
        }
        self.counts.documents_out += 1;
        self.counts.bytes_out += document.text.len() as u64;
        Ok(self.kept.push(&document)?)
    }

    fn push_removed_before(&mut self, index: u64) -> Result<(), CorpusError> {
        while let Some(document) = self.next_removed.take_if(|document| document.index < index) {
            self.removed.push(&document)?;
            self.next_removed = self.removed_before.next()?;
        }
        Ok(())
    }

    fn finish(mut self, stage: &CleanStage) -> Result<(), CorpusError> {
        self.push_removed_before(u64::MAX)?;
        self.kept.finish()?;
        self.removed.finish()?;
        let mut record = stage.record.clone();
        record.steps.push(self.counts);
        record.write(&self.folder, self.samples)
    }
}

/// The text without these bytes, or `None` where nothing is cut. A cut that begins or ends inside a character is made
/// smaller; white space that a cut leaves at the beginning of the text goes too.
fn without(text: &str, mut cuts: Vec<Range<usize>>) -> Option<String> {
    cuts.sort_unstable_by_key(|cut| (cut.start, cut.end));
    let (mut left, mut at) = (String::with_capacity(text.len()), 0);
    for cut in cuts {
        let is_boundary = |place: &usize| text.is_char_boundary(*place);
        let start = (cut.start..).find(is_boundary).unwrap_or(text.len()).max(at);
        let end = (0..=cut.end).rev().find(is_boundary).unwrap_or(0);
        if start < end {
            left.push_str(&text[at..start]);
            at = end;
        }
    }
    if at == 0 {
        return None;
    }
    left.push_str(&text[at..]);
    Some(left.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_overlap_and_stay_on_characters() {
        assert_eq!(without("abc", Vec::new()), None);
        assert_eq!(without("one two three", vec![4..8, 0..4, 2..6]).unwrap(), "three");
        let one = |text: &str, start, end| without(text, std::iter::once(start..end).collect()).unwrap();
        assert_eq!(one("a\u{e9}b\u{e9}c", 2, 5), "a\u{e9}\u{e9}c");
        assert_eq!(one("abc", 0, 3), "");
    }

    #[test]
    fn windows_that_follow_one_another_are_one_run() {
        let mut pairs = [(1 << 32 | 7, 3), (1 << 32 | 8, 4), (1 << 32 | 9, 6)].into_iter();
        let run = |at, earlier_at, more| Run { at, earlier: 0, earlier_at, more };
        assert_eq!(runs(|| Ok(pairs.next())).unwrap(), [run(7, 3, 1), run(9, 6, 0)]);
    }
}
