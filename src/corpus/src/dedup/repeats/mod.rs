//! Repeated passages: what stood earlier in the corpus is cut out of the documents behind it, so that a model does
//! not read the same licence, notice or quotation again and again (Lee et al. 2022, Deduplicating Training Data Makes
//! Language Models Better, ACL).
//!
//! Cleaned documents come in, cleaned documents go out, in the same form. What counts as earlier is the text as it
//! came in, whether or not it was itself cut, so nothing depends on an order of decisions. A document that repeats
//! an earlier one as a whole gets what that one got: it stays its exact duplicate and is left out as such later.
//!
//! Repeats are found by hashes that are sorted on disk where they do not fit into memory; each is compared byte by
//! byte before it is cut. Two texts of one 61-bit hash can thus leave a repeat in, and never cut what is unique.

mod paragraphs;
mod passages;
mod rewrite;

use crate::candidate::Fate;
use crate::clean::{CleanRecord, CleanStage, candidates_of, each_batch};
use crate::dedup::exact::without_exact_duplicates;
use crate::recipe::{Duplicates, ParagraphRule, PassageRule};
use std::iter::Peekable;
use std::ops::Range;
use std::path::Path;

use harness_core::digest::Digest;
use harness_core::files::{self, FileError};
use serde::Serialize;

use crate::error::CorpusError;
use crate::progress::{Progress, Unit};
use crate::spill::{Sorted, Spill};
use crate::store::{Store, key};

/// What is looked for.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Rule<'a> {
    Paragraphs(&'a ParagraphRule),
    Passages(&'a PassageRule),
}

impl Rule<'_> {
    /// Its name as a step.
    fn name(self) -> &'static str {
        match self {
            Rule::Paragraphs(_) => "repeated_paragraphs",
            Rule::Passages(_) => "repeated_passages",
        }
    }

    /// The parts of `later` that are to be cut because of `earlier`, after comparing the two.
    fn cuts(self, later: &str, earlier: &str, run: &Run) -> Vec<Range<usize>> {
        match self {
            Rule::Paragraphs(_) => paragraphs::cuts(later, earlier, run),
            Rule::Passages(rule) => passages::cuts(rule, later.as_bytes(), earlier.as_bytes(), run),
        }
    }
}

/// A repeat as the hashes have it: what begins at byte `at` of a document begins at `earlier_at` of an earlier one, or
/// of the same; and so for as many bytes behind it as `more` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    at: usize,
    earlier: usize,
    earlier_at: usize,
    more: usize,
}

/// The documents of all sources without what the recipe calls a repeat.
pub(crate) fn without_repeats(
    duplicates: &Duplicates,
    store: &Store,
    stages: Vec<CleanStage>,
    progress: &mut dyn Progress,
) -> Result<Vec<CleanStage>, CorpusError> {
    let paragraphs = duplicates.paragraphs.as_ref().map(Rule::Paragraphs);
    let passages = duplicates.passages.as_ref().map(Rule::Passages);
    let mut rules = paragraphs.into_iter().chain(passages);
    rules.try_fold(stages, |stages, rule| cached(rule, duplicates, store, stages, progress))
}

/// The stages that follow from these: found whole in the store, or made now.
fn cached(
    rule: Rule,
    duplicates: &Duplicates,
    store: &Store,
    stages: Vec<CleanStage>,
    progress: &mut dyn Progress,
) -> Result<Vec<CleanStage>, CorpusError> {
    let keys: Vec<Digest> = stages.iter().map(|stage| stage.key).collect();
    let key_of_all = key("repeats", &(rule, duplicates.exact, keys));
    let folder = store.stage("repeats", &key_of_all);
    let found = || -> Option<Vec<CleanRecord>> {
        let records = read_records(&folder, stages.len()).ok()?;
        let whole = |(source, record): (usize, &CleanRecord)| {
            let folder = folder.join(source.to_string());
            record.files.iter().all(|file| file.damage(&folder).is_none())
        };
        records.iter().enumerate().all(whole).then_some(records)
    };
    let records = match found() {
        Some(records) => records,
        None => {
            let _lock = store.lock(&format!("repeats-{}", key_of_all.short()), progress)?;
            match found() {
                Some(records) => records,
                None => {
                    let draft = store.draft()?;
                    make(rule, duplicates, store, &stages, &draft.path(""), progress)?;
                    draft.publish(&folder, store)?;
                    read_records(&folder, stages.len())?
                }
            }
        }
    };
    let made = stages.into_iter().zip(records).enumerate().map(|(source, (stage, record))| CleanStage {
        source: stage.source,
        key: key("repeats", &(key_of_all, source)),
        folder: folder.join(source.to_string()),
        record,
    });
    Ok(made.collect())
}

/// `stage.json` of each source.
fn read_records(folder: &Path, sources: usize) -> Result<Vec<CleanRecord>, FileError> {
    let read = |source: usize| {
        let path = folder.join(source.to_string()).join("stage.json");
        serde_json::from_slice(&files::read(&path)?).map_err(|e| FileError::new("read", &path, e.into()))
    };
    (0..sources).map(read).collect()
}

/// Writes each source without its repeats into a folder of its own in `folder`.
fn make(
    rule: Rule,
    duplicates: &Duplicates,
    store: &Store,
    stages: &[CleanStage],
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<(), CorpusError> {
    let candidates = candidates_of(stages)?;
    let scratch = store.draft()?;
    let mut spills = 0;
    // Two are in use at any time: one is read while the next is filled.
    let mut spill = || -> Result<Spill, FileError> {
        spills += 1;
        let folder = scratch.path(&format!("spill-{spills}"));
        files::create_folder(&folder)?;
        Ok(Spill::new(&folder, store.memory_bytes() / 2))
    };
    let fates = without_exact_duplicates(&candidates, duplicates, spill()?)?;
    let corpus = Corpus::new(stages, &fates);
    progress.begin(&rule.name().replace('_', " "), Some(candidates.len() as u64), Unit::Documents);
    let repeats = match rule {
        Rule::Paragraphs(rule) => paragraphs::repeats(rule, &corpus, &mut spill)?,
        Rule::Passages(rule) => passages::repeats(rule, &corpus, &mut spill)?,
    };
    rewrite::rewrite(rule, stages, &candidates, repeats, folder, progress)?;
    progress.end();
    Ok(())
}

/// The documents among which repeats are looked for: those that are not, as a whole, an earlier one.
struct Corpus<'a> {
    stages: &'a [CleanStage],
    fates: &'a [Fate],
    /// Documents with the others that are the same, sorted.
    copies: Vec<(u32, u32)>,
}

impl<'a> Corpus<'a> {
    fn new(stages: &'a [CleanStage], fates: &'a [Fate]) -> Self {
        let copy = |(at, fate): (u32, &Fate)| match fate {
            Fate::Duplicate(first) => Some((*first, at)),
            _ => None,
        };
        let mut copies: Vec<(u32, u32)> = (0..).zip(fates).filter_map(copy).collect();
        copies.sort_unstable();
        Corpus { stages, fates, copies }
    }

    /// Hands over the texts, many at a time, with their places.
    fn each_batch(
        &self,
        take: impl FnMut(&[usize], Vec<String>) -> Result<(), CorpusError>,
    ) -> Result<(), CorpusError> {
        each_batch(self.stages, |at| self.fates[at] == Fate::Train, take)
    }

    /// Collects, for each place whose hash an earlier place has too, the first of these, `apart` bytes or more before
    /// it. What is found in a document is in its copies too.
    fn repeats(&self, hashes: Spill, apart: u64, mut repeats: Spill) -> Result<Sorted, FileError> {
        let mut first_of_hash: Option<(u64, u64)> = None;
        for pair in hashes.sorted()? {
            let (hash, at) = pair?;
            match first_of_hash {
                Some((same, first)) if same == hash => {
                    if document_of(at) != document_of(first) || at - first >= apart {
                        repeats.push(at, first)?;
                        let document = document_of(at) as u32;
                        let copies = &self.copies[self.copies.partition_point(|copy| copy.0 < document)..];
                        for (_, copy) in copies.iter().take_while(|copy| copy.0 == document) {
                            repeats.push(place(*copy as usize, offset_of(at)), first)?;
                        }
                    }
                }
                _ => first_of_hash = Some((hash, at)),
            }
        }
        repeats.sorted()
    }
}

/// A byte of a document as a number; documents and their bytes are 32-bit numbers.
fn place(document: usize, offset: usize) -> u64 {
    (document as u64) << 32 | offset as u64
}

fn document_of(place: u64) -> usize {
    (place >> 32) as usize
}

fn offset_of(place: u64) -> usize {
    (place & u64::from(u32::MAX)) as usize
}

/// The next pair, if it is of this document.
fn next_of(pairs: &mut Peekable<Sorted>, document: usize) -> Result<Option<(u64, u64)>, FileError> {
    let of_document = |pair: &Result<(u64, u64), FileError>| match pair {
        Ok((place, _)) => document_of(*place) == document,
        Err(_) => true,
    };
    pairs.next_if(of_document).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use proptest::prelude::*;

    use crate::clean::clean_sources;
    use crate::documents::{CleanDocument, LineReader};
    use crate::progress::Silent;
    use crate::recipe::Recipe;

    /// What is left of each text, and the counts of the step. A text of which nothing is left is empty.
    fn left(texts: &[String], rule: &str, memory_bytes: usize) -> (Vec<String>, CleanRecord) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).with_memory_bytes(memory_bytes);
        let lines: Vec<String> = texts.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
        let content = lines.join("\n");
        let sha256 = Digest::of(content.as_bytes());
        files::write(&store.download(&sha256), content.as_bytes()).unwrap();
        let recipe = format!(
            "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\nsplit = {{ validation = 0.2 }}\n\
             tokenizer = {{ kind = \"bpe\", vocabulary_size = 300 }}\nduplicates = {{ {rule} }}\n\
             [[source]]\nname = \"texts\"\nformat = \"jsonl\"\nsha256 = \"{sha256}\"\nbytes = {}\n",
            content.len()
        );
        let recipe = Recipe::parse("small", "small.toml", &recipe).unwrap_or_else(|e| panic!("{e}"));
        let stages = clean_sources(&recipe, &store, &mut Silent).unwrap();
        let stages = without_repeats(&recipe.duplicates, &store, stages, &mut Silent).unwrap();
        let mut left = vec![String::new(); texts.len()];
        let mut lines = LineReader::open(&stages[0].documents()).unwrap();
        while let Some(document) = lines.next::<CleanDocument>().unwrap() {
            assert_eq!(document.sha256, Digest::of(document.text.as_bytes()));
            left[document.index as usize] = document.text;
        }
        (left, stages[0].record.clone())
    }

    /// The same by comparing every window of a text with every earlier one.
    fn by_brute_force(texts: &[String], window: usize) -> Vec<String> {
        let mut first_of: HashMap<&String, String> = HashMap::new();
        for (document, text) in texts.iter().enumerate() {
            if first_of.contains_key(text) {
                continue;
            }
            let bytes = text.as_bytes();
            let mut is_cut = vec![false; bytes.len()];
            for (at, passage) in bytes.windows(window).enumerate() {
                let in_earlier =
                    || texts[..document].iter().any(|t| t.as_bytes().windows(window).any(|w| w == passage));
                let in_this = || bytes[..at].windows(window).any(|w| w == passage);
                if in_earlier() || in_this() {
                    is_cut[at..at + window].fill(true);
                }
            }
            let kept: Vec<u8> = bytes.iter().zip(&is_cut).filter(|(_, cut)| !**cut).map(|(byte, _)| *byte).collect();
            first_of.insert(text, String::from_utf8(kept).unwrap());
        }
        texts.iter().map(|text| first_of[text].clone()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn passages_are_cut_as_by_brute_force(parts in prop::collection::vec(prop::collection::vec((0usize..7, 5usize..25), 1..7), 1..14)) {
            // Texts of pieces of a few strings, so that passages repeat in every way.
            let strings: Vec<String> = (0..7u64)
                .map(|seed| (0..25u64).map(|at| char::from(b'a' + (harness_core::random::mix(seed << 32 | at) % 3) as u8)).collect())
                .collect();
            let text = |parts: &Vec<(usize, usize)>| parts.iter().map(|&(of, length)| &strings[of][..length]).collect::<String>();
            let texts: Vec<String> = parts.iter().map(text).collect();
            let (found, record) = left(&texts, "passages = { bytes_at_least = 32 }", usize::MAX);
            prop_assert_eq!(&found, &by_brute_force(&texts, 32));
            let step = record.steps.last().unwrap();
            let bytes = |texts: &[String]| texts.iter().map(|text| text.len() as u64).sum::<u64>();
            prop_assert_eq!((step.bytes_in, step.bytes_out), (bytes(&texts), bytes(&found)));
            prop_assert_eq!((step.documents_in, step.documents_out), (texts.len() as u64, found.iter().filter(|t| !t.is_empty()).count() as u64));
        }
    }

    #[test]
    fn paragraphs_are_cut_but_the_first_time() {
        let long = "A paragraph that is long enough to be told from a turn of phrase.";
        let other = "Another one, which stands in a single place and is long enough too.";
        let texts = [
            format!("Chapter 1\n\n{long}\n\n{other}"),
            format!("Chapter 1\n\n  {long}\n\nEnd.\n\n{long}"),
            long.to_owned(),
            format!("Chapter 1\n\n{long}\n\n{other}"),
        ];
        let (found, record) = left(&texts, "paragraphs = {}", usize::MAX);
        assert_eq!(found, [texts[0].as_str(), "Chapter 1\n\nEnd.", "", texts[0].as_str()]);
        let step = record.steps.last().unwrap();
        assert_eq!((step.step.as_str(), step.documents_in, step.documents_out), ("repeated_paragraphs", 4, 3));
        assert_eq!(step.documents_changed, 1);
    }

    #[test]
    fn little_memory_cuts_the_same() {
        let texts: Vec<String> =
            (0..60).map(|at| crate::grammar::corpus(at % 40, 12).collect::<Vec<_>>().join(" ")).collect();
        let texts: Vec<String> = texts.iter().enumerate().map(|(at, text)| format!("{at} {text}")).collect();
        let rule = "passages = { bytes_at_least = 64 }, paragraphs = { characters_at_least = 20 }";
        let (found, record) = left(&texts, rule, 1);
        assert_eq!(found, left(&texts, rule, usize::MAX).0);
        assert!(record.steps[1].bytes_out < record.steps[1].bytes_in * 3 / 4, "{:?}", record.steps);
    }
}
