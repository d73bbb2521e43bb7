//! The first stage: each source cut into documents and cleaned, kept in the store by the digest of what it depends on.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files::{self, FileError};
use serde::{Deserialize, Serialize};

use crate::clean::{Cleaner, StepCounts};
use crate::documents::{CleanDocument, LineReader, LineWriter, RemovedDocument};
use crate::error::CorpusError;
use crate::grammar;
use crate::progress::{Progress, Unit};
use crate::read::{ReadCounts, ReadError, each_document};
use crate::recipe::{Recipe, Source};
use crate::samples::{Sample, Samples};
use crate::select::Candidate;
use crate::store::{Draft, ListedFile, Store, key};

/// The documents of one source after cleaning, in the store.
pub(crate) struct CleanStage {
    pub source: Option<Source>,
    pub key: Digest,
    pub folder: PathBuf,
    pub record: CleanRecord,
}

impl CleanStage {
    pub fn name(&self) -> &str {
        self.source.as_ref().map_or("grammar", |source| &source.name)
    }

    pub fn documents(&self) -> PathBuf {
        self.folder.join("documents.jsonl")
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
    let total: u64 = recipe.sources.iter().map(|source| source.bytes).sum();
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
    for source in &recipe.sources {
        let rule = recipe.document_rule(source);
        let key = key("clean", &(source.sha256, source.format, &source.text_field, rule, &recipe.steps));
        let stage = cached(store, key, progress, |_| {
            let path = store.download(&source.sha256);
            let missing = || CorpusError::NotFetched { corpus: recipe.name().to_owned(), name: source.name.clone() };
            if !files::is_file(&path) || Digest::of_file(&path)? != source.sha256 {
                return Err(missing());
            }
            let draft = store.draft()?;
            let mut sink = CleanSink::create(&draft, recipe)?;
            let file = BufReader::new(files::open(&path)?);
            let counts = each_document(file, source.format, &source.text_field, rule, |text| sink.push(text));
            let counts = counts.map_err(|e| unreadable(recipe, source, &path, e))?;
            sink.finish(&draft, source.sha256, files::size_bytes(&path)?, counts)?;
            Ok(draft)
        })?;
        stages.push(CleanStage { source: Some(source.clone()), ..stage });
        progress.advance(source.bytes);
    }
    progress.end();
    Ok(stages)
}

fn unreadable(recipe: &Recipe, source: &Source, path: &Path, error: ReadError<CorpusError>) -> CorpusError {
    let hint = match &error {
        ReadError::NotUtf8 { .. } => {
            "convert the file to UTF-8, or say invalid_utf8 = \"repair\" in the recipe's [documents]"
        }
        ReadError::NoHead(_) => "look at `head_ends_with` in the recipe's [documents]",
        ReadError::LongLine { .. } => "look whether `format` in the recipe is right",
        ReadError::Record { .. } => "look whether `format` and `text_field` in the recipe are right",
        ReadError::Io(_) | ReadError::Emit(_) => "",
    };
    let problem = error.to_string();
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

/// Cleans documents and writes those kept and those removed.
struct CleanSink {
    cleaner: Cleaner,
    kept: LineWriter,
    removed: LineWriter,
    read: u64,
}

impl CleanSink {
    fn create(draft: &Draft, recipe: &Recipe) -> Result<Self, CorpusError> {
        Ok(CleanSink {
            cleaner: Cleaner::new(&recipe.steps),
            kept: LineWriter::create(draft.path("documents.jsonl"))?,
            removed: LineWriter::create(draft.path("removed.jsonl"))?,
            read: 0,
        })
    }

    fn push(&mut self, raw: String) -> Result<(), CorpusError> {
        let (index, raw_bytes) = (self.read, raw.len() as u64);
        self.read += 1;
        match self.cleaner.clean(index, raw) {
            Ok(text) => {
                let sha256 = Digest::of(text.as_bytes());
                self.kept.push(&CleanDocument { index, raw_bytes, sha256, text })?;
            }
            Err(removed) => {
                let rule = if removed.rule.is_empty() { String::new() } else { format!(".{}", removed.rule) };
                let step = format!("{}{rule}", removed.step);
                self.removed.push(&RemovedDocument { index, raw_bytes, step })?;
            }
        }
        Ok(())
    }

    fn finish(
        self,
        draft: &Draft,
        input_sha256: Digest,
        input_bytes: u64,
        counts: ReadCounts,
    ) -> Result<(), CorpusError> {
        self.kept.finish()?;
        self.removed.finish()?;
        let mut samples = LineWriter::create(draft.path("samples.jsonl"))?;
        self.cleaner.samples.into_sorted().iter().try_for_each(|sample| samples.push(sample))?;
        samples.finish()?;
        let folder = draft.path("");
        let files = ["documents.jsonl", "removed.jsonl", "samples.jsonl"]
            .map(|name| ListedFile::of(&folder, name))
            .into_iter()
            .collect::<Result<_, _>>()?;
        let (documents_read, steps) = (self.read, self.cleaner.counts);
        let ReadCounts { head_bytes, lines_repaired } = counts;
        let record =
            CleanRecord { input_sha256, input_bytes, head_bytes, lines_repaired, documents_read, steps, files };
        let json = serde_json::to_vec_pretty(&record).expect("plain structs serialize to memory");
        Ok(files::write(&draft.path("stage.json"), &json)?)
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

/// Documents that a cleaning step removed, with their source.
pub(crate) type Removed = Vec<(usize, RemovedDocument)>;

/// The cleaned documents of all sources in order, and those that were removed.
pub(crate) fn candidates_of(stages: &[CleanStage]) -> Result<(Vec<Candidate>, Removed), CorpusError> {
    let (mut candidates, mut removed) = (Vec::new(), Vec::new());
    for (source, stage) in stages.iter().enumerate() {
        let mut kept = LineReader::open(&stage.documents())?;
        loop {
            let offset = kept.offset();
            let Some(document) = kept.next::<CleanDocument>()? else { break };
            candidates.push(Candidate {
                source,
                index: document.index,
                raw_bytes: document.raw_bytes,
                bytes: document.text.len() as u64,
                sha256: document.sha256,
                offset,
            });
        }
        let mut lines = LineReader::open(&stage.folder.join("removed.jsonl"))?;
        while let Some(document) = lines.next::<RemovedDocument>()? {
            removed.push((source, document));
        }
    }
    Ok((candidates, removed))
}

/// Hands each kept document's text to `take`, with its place among the candidates.
pub(crate) fn each_text(
    stages: &[CleanStage],
    mut take: impl FnMut(usize, String) -> Result<(), CorpusError>,
) -> Result<(), CorpusError> {
    let mut at = 0;
    for stage in stages {
        let mut lines = LineReader::open(&stage.documents())?;
        while let Some(document) = lines.next::<CleanDocument>()? {
            take(at, document.text)?;
            at += 1;
        }
    }
    Ok(())
}
