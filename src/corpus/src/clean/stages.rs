//! The first stage: each source cut into documents and cleaned, kept in the store by the digest of what it depends on.

use super::cleaner::Cleaner;
use super::samples::{Sample, Samples};
use crate::candidate::Candidate;
use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files::{self, FileError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::documents::{CleanDocument, LineReader, LineWriter, RemovedDocument, push_line};
use crate::error::CorpusError;
use crate::grammar;
use crate::progress::{Progress, Unit};
use crate::read::{self, ReadCounts, ReadError};
use crate::recipe::{Recipe, Source};
use crate::store::{Draft, Store, key};
use harness_core::corpus_manifest::{ListedFile, StepCounts};

/// The documents of one source after cleaning, in the store.
pub(crate) struct CleanStage {
    pub source: Option<Source>,
    pub key: Digest,
    pub folder: PathBuf,
    pub record: CleanRecord,
}

impl CleanStage {
    pub(crate) fn name(&self) -> &str {
        self.source.as_ref().map_or("grammar", |source| &source.name)
    }

    /// The name by which the recipe speaks of the source: that of its pattern, where one stands for many files.
    pub(crate) fn group(&self) -> &str {
        self.source.as_ref().map_or("grammar", Source::group)
    }

    pub(crate) fn documents(&self) -> PathBuf {
        self.folder.join("documents.jsonl")
    }

    /// The documents that a step removed.
    pub(crate) fn removed(&self) -> PathBuf {
        self.folder.join("removed.jsonl")
    }
}

/// `stage.json` of a cleaned source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CleanRecord {
    pub input_sha256: Digest,
    pub input_bytes: u64,
    pub head_bytes: u64,
    pub lines_repaired: u64,
    pub documents_read: u64,
    pub steps: Vec<StepCounts>,
    pub files: Vec<ListedFile>,
}

/// Reads and cleans every source; each is a stage of its own in the store.
pub(crate) fn clean_sources(
    recipe: &Recipe,
    store: &Store,
    progress: &mut dyn Progress,
) -> Result<Vec<CleanStage>, CorpusError> {
    let total: u64 = recipe.files().iter().map(|source| source.bytes).sum();
    let mut stages = Vec::new();
    if let Some(generate) = &recipe.generate {
        progress.begin("generate", Some(generate.documents), Unit::Documents);
        let key = key("generate", &(generate, grammar::VERSION, &recipe.steps));
        let stage = cached(store, key, progress, |progress| {
            let draft = store.draft()?;
            let mut sink = CleanSink::create(&draft, recipe)?;
            let mut written = LineWriter::create(draft.path("generated.jsonl"))?;
            for text in grammar::corpus(generate.seed, generate.documents) {
                written.push(&text)?;
                sink.push(text)?;
                progress.advance(1);
            }
            written.finish()?;
            let input = ListedFile::of(&draft.path(""), "generated.jsonl")?;
            sink.finish(&draft, input.sha256, input.size_bytes, ReadCounts::default())?;
            Ok(draft)
        })?;
        stages.push(CleanStage { source: None, ..stage });
        progress.end();
        return Ok(stages);
    }
    progress.begin("clean", Some(total), Unit::Bytes);
    for source in recipe.files() {
        let rule = recipe.document_rule(source);
        let key = key("clean", &(source.sha256, source.format, &source.text_field, rule, &recipe.steps));
        // Bytes of the file that its documents account for so far; packing and marks make it an estimate.
        let mut told = 0;
        let stage = cached(store, key, progress, |progress| {
            let path = store.download(&source.sha256);
            let missing = || CorpusError::NotFetched { corpus: recipe.name().to_owned(), name: source.name.clone() };
            if !files::is_file(&path) || Digest::of_file(&path)? != source.sha256 {
                return Err(missing());
            }
            let draft = store.draft()?;
            let mut sink = CleanSink::create(&draft, recipe)?;
            let file = files::open(&path)?;
            let counts = read::each_document(file, source.format, &source.text_field, rule, |text| {
                let more = (text.len() as u64).min(source.bytes - told);
                told += more;
                progress.advance(more);
                sink.push(text)
            });
            let counts = counts.map_err(|e| unreadable(recipe, source, &path, e))?;
            sink.finish(&draft, source.sha256, files::size_bytes(&path)?, counts)?;
            Ok(draft)
        })?;
        stages.push(CleanStage { source: Some(source.clone()), ..stage });
        progress.advance(source.bytes - told);
    }
    progress.end();
    Ok(stages)
}

fn unreadable(recipe: &Recipe, source: &Source, path: &Path, error: ReadError<CorpusError>) -> CorpusError {
    let (problem, hint) = (error.to_string(), error.hint());
    match error {
        ReadError::Emit(error) => error,
        ReadError::Io(error) => FileError::new("read", path, error).into(),
        _ => CorpusError::Source { corpus: recipe.name().to_owned(), name: source.name.clone(), problem, hint },
    }
}

/// The stage of this key: found whole in the store, or made now.
fn cached(
    store: &Store,
    key: Digest,
    progress: &mut dyn Progress,
    make: impl FnOnce(&mut dyn Progress) -> Result<Draft, CorpusError>,
) -> Result<CleanStage, CorpusError> {
    let folder = store.stage("clean", &key);
    let found = || -> Option<CleanRecord> {
        let record: CleanRecord = serde_json::from_slice(&files::read(&folder.join("stage.json")).ok()?).ok()?;
        record.files.iter().all(|file| file.damage(&folder).is_none()).then_some(record)
    };
    let record = match found() {
        Some(record) => record,
        None => {
            let _lock = store.lock(&format!("clean-{}", key.short()), progress)?;
            match found() {
                Some(record) => record,
                None => {
                    make(progress)?.publish(&folder, store)?;
                    let path = folder.join("stage.json");
                    serde_json::from_slice(&files::read(&path)?).map_err(|e| FileError::new("read", &path, e.into()))?
                }
            }
        }
    };
    Ok(CleanStage { source: None, key, folder, record })
}

/// Cleans documents, many at a time and on all threads, and writes those kept and those removed.
struct CleanSink {
    cleaner: Cleaner,
    kept: LineWriter,
    removed: LineWriter,
    batch: Vec<String>,
    batch_bytes: usize,
    read: u64,
}

impl CleanSink {
    fn create(draft: &Draft, recipe: &Recipe) -> Result<Self, CorpusError> {
        Ok(CleanSink {
            cleaner: Cleaner::new(&recipe.steps),
            kept: LineWriter::create(draft.path("documents.jsonl"))?,
            removed: LineWriter::create(draft.path("removed.jsonl"))?,
            batch: Vec::new(),
            batch_bytes: 0,
            read: 0,
        })
    }

    fn push(&mut self, raw: String) -> Result<(), CorpusError> {
        self.batch_bytes += raw.len();
        self.batch.push(raw);
        if self.batch_bytes >= BATCH_BYTES { self.clean_batch() } else { Ok(()) }
    }

    fn clean_batch(&mut self) -> Result<(), CorpusError> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let first = self.read;
        self.read += batch.len() as u64;
        let cleaner = &self.cleaner;
        // A part for each thread: what a part counts and samples is put together in the end, in any order the same.
        let part = batch.len().div_ceil(rayon::current_num_threads()).max(1);
        let indexed: Vec<(u64, String)> = (first..).zip(batch).collect();
        let parts: Vec<Part> =
            indexed.into_par_iter().chunks(part).map(|documents| Part::of(cleaner.empty(), documents)).collect();
        for part in parts {
            let Part { cleaner, kept, removed } = part;
            self.kept.push_lines(&kept)?;
            self.removed.push_lines(&removed)?;
            self.cleaner.merge(cleaner);
        }
        Ok(())
    }

    fn finish(
        mut self,
        draft: &Draft,
        input_sha256: Digest,
        input_bytes: u64,
        counts: ReadCounts,
    ) -> Result<(), CorpusError> {
        self.clean_batch()?;
        self.kept.finish()?;
        self.removed.finish()?;
        let (documents_read, steps) = (self.read, self.cleaner.counts);
        let ReadCounts { head_bytes, lines_repaired } = counts;
        let files = Vec::new();
        let record =
            CleanRecord { input_sha256, input_bytes, head_bytes, lines_repaired, documents_read, steps, files };
        record.write(&draft.path(""), self.cleaner.samples)
    }
}

impl CleanRecord {
    /// Writes the samples and then the record itself, with the digests of what the folder holds.
    pub(crate) fn write(self, folder: &Path, samples: Samples) -> Result<(), CorpusError> {
        let mut lines = LineWriter::create(folder.join("samples.jsonl"))?;
        samples.into_sorted().iter().try_for_each(|sample| lines.push(sample))?;
        lines.finish()?;
        let names = ["documents.jsonl", "removed.jsonl", "samples.jsonl"];
        let files = names.map(|name| ListedFile::of(folder, name)).into_iter().collect::<Result<_, _>>()?;
        let json =
            serde_json::to_vec_pretty(&CleanRecord { files, ..self }).expect("plain structs serialize to memory");
        Ok(files::write(&folder.join("stage.json"), &json)?)
    }
}

/// Documents cleaned on one thread, as lines of the files they go to.
struct Part {
    cleaner: Cleaner,
    kept: Vec<u8>,
    removed: Vec<u8>,
}

impl Part {
    fn of(cleaner: Cleaner, documents: Vec<(u64, String)>) -> Self {
        let mut part = Part { cleaner, kept: Vec::new(), removed: Vec::new() };
        for (index, raw) in documents {
            let raw_bytes = raw.len() as u64;
            match part.cleaner.clean(index, raw) {
                Ok(text) => {
                    let sha256 = Digest::of(text.as_bytes());
                    push_line(&mut part.kept, &CleanDocument { index, raw_bytes, sha256, text });
                }
                Err(removed) => {
                    let rule = if removed.rule.is_empty() { String::new() } else { format!(".{}", removed.rule) };
                    let step = format!("{}{rule}", removed.step);
                    push_line(&mut part.removed, &RemovedDocument { index, raw_bytes, step });
                }
            }
        }
        part
    }
}

/// The samples of all sources together, written to `path`.
pub(crate) fn write_samples(path: PathBuf, stages: &[CleanStage]) -> Result<(), CorpusError> {
    let mut all = Samples::default();
    for stage in stages {
        let mut lines = LineReader::open(&stage.folder.join("samples.jsonl"))?;
        while let Some(sample) = lines.next::<Sample>()? {
            all.add(Sample { id: format!("{}#{}", stage.name(), sample.id), ..sample });
        }
    }
    let mut written = LineWriter::create(path)?;
    all.into_sorted().iter().try_for_each(|sample| written.push(sample))?;
    Ok(written.finish()?)
}

/// Read and handed on together: enough to keep every thread busy, little enough to keep memory small.
const BATCH_BYTES: usize = 4 << 20;

/// The cleaned documents of all sources in order.
pub(crate) fn candidates_of(stages: &[CleanStage]) -> Result<Vec<Candidate>, CorpusError> {
    // Their number is known, and a list that grows while millions are read takes three times its memory for a moment.
    let kept = |stage: &CleanStage| match stage.record.steps.last() {
        Some(step) => step.documents_out,
        None => stage.record.documents_read,
    };
    let mut candidates = Vec::with_capacity(stages.iter().map(kept).sum::<u64>() as usize);
    each_document(
        stages,
        |_| true,
        |batch| {
            for Read { source, offset, document, .. } in batch {
                let stage = &stages[source];
                let small = |number: u64| u32::try_from(number).map_err(|_| too_large(stage, document.index));
                candidates.push(Candidate {
                    source: source as u32,
                    index: small(document.index)?,
                    raw_bytes: small(document.raw_bytes)?,
                    bytes: small(document.text.len() as u64)?,
                    sha256: document.sha256,
                    offset,
                });
            }
            Ok(())
        },
    )?;
    Ok(candidates)
}

fn too_large(stage: &CleanStage, index: u64) -> CorpusError {
    CorpusError::Source {
        corpus: stage.name().to_owned(),
        name: format!("{}#{index}", stage.name()),
        problem: "its size or its place does not fit into 32 bits".to_owned(),
        hint: "cut the source into smaller documents, or into several sources",
    }
}

/// Hands over the texts of the documents that are `wanted`, many at a time, with their places among the candidates.
pub(crate) fn each_batch(
    stages: &[CleanStage],
    wanted: impl Fn(usize) -> bool,
    mut take: impl FnMut(&[usize], Vec<String>) -> Result<(), CorpusError>,
) -> Result<(), CorpusError> {
    each_document(stages, wanted, |batch| {
        let (places, texts): (Vec<usize>, Vec<String>) =
            batch.into_iter().map(|read| (read.at, read.document.text)).unzip();
        take(&places, texts)
    })
}

/// A document, read back.
struct Read {
    source: usize,
    /// Its place among the candidates.
    at: usize,
    /// Where its line begins.
    offset: u64,
    document: CleanDocument,
}

/// Hands over the documents that are `wanted`, many at a time and read on all threads.
fn each_document(
    stages: &[CleanStage],
    wanted: impl Fn(usize) -> bool,
    mut take: impl FnMut(Vec<Read>) -> Result<(), CorpusError>,
) -> Result<(), CorpusError> {
    let mut read_and_take = |lines: Vec<(usize, usize, u64, String)>| {
        let read = |(source, at, offset, line): (usize, usize, u64, String)| {
            let named = |e: serde_json::Error| FileError::new("read", &stages[source].documents(), e.into());
            Ok(Read { source, at, offset, document: serde_json::from_str(&line).map_err(named)? })
        };
        take(lines.into_par_iter().map(read).collect::<Result<_, FileError>>()?)
    };
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut at = 0;
    for (source, stage) in stages.iter().enumerate() {
        let mut lines = LineReader::open(&stage.documents())?;
        loop {
            let offset = lines.offset();
            let Some(line) = lines.line()? else { break };
            if wanted(at) {
                bytes += line.len();
                batch.push((source, at, offset, line.to_owned()));
            }
            at += 1;
            if bytes >= BATCH_BYTES {
                read_and_take(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
    }
    if batch.is_empty() { Ok(()) } else { read_and_take(batch) }
}
