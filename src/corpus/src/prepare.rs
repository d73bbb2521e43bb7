//! The plan: fetch nothing, clean each source, choose, learn the vocabulary, write shards, say what happened.
//!
//! Each stage is cached in the store by the digest of what it depends on, so that a change in the recipe redoes what
//! follows from it and nothing else. What comes out is the same bytes in any folder and on any number of threads.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files::{self, FileError};
use harness_core::shards::ShardError;
use serde::{Deserialize, Serialize};

use crate::baselines::baselines;
use crate::clean::{StepCounts, clean};
use crate::documents::{CleanDocument, LineReader, LineWriter, RemovedDocument};
use crate::encode::SideWriter;
use crate::grammar;
use crate::manifest::{
    DocumentCounts, FORMAT, Manifest, ManifestFile, Side, SourceRecord, TokenizerRecord,
    ValidationDocument,
};
use crate::progress::{Progress, Unit};
use crate::read::{ReadError, each_document};
use crate::recipe::{Recipe, Source, TokenizerKind};
use crate::select::{Candidate, Fate, select};
use crate::store::{Draft, ListedFile, Store, key};
use crate::tokenizer::{self, Tokenizer, TokenizerError};

/// Why a corpus could not be prepared or used.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// A file could not be read or written.
    #[error("{source}{}", disk_hint(source))]
    File {
        /// What was tried, where, and what the system said.
        #[from]
        source: FileError,
    },
    /// A shard could not be used.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The vocabulary could not be learned or used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A file of the recipe is not in the store.
    #[error(
        "`{name}` of the corpus `{corpus}` is not in the store\nhint: fetch it with `harness data fetch {corpus}`"
    )]
    NotFetched {
        /// The corpus.
        corpus: String,
        /// The source.
        name: String,
    },
    /// A source is not what the recipe says.
    #[error("the source `{name}` of the corpus `{corpus}` cannot be read: {problem}\nhint: {hint}")]
    Source {
        /// The corpus.
        corpus: String,
        /// The source.
        name: String,
        /// What is wrong.
        problem: String,
        /// What can be done.
        hint: &'static str,
    },
    /// One side of the split would be empty.
    #[error(
        "the corpus `{corpus}` has no document for {side}, of {documents} documents\nhint: {hint}"
    )]
    EmptySide {
        /// The corpus.
        corpus: String,
        /// `training` or `validation`.
        side: &'static str,
        /// Documents after cleaning and duplicates.
        documents: usize,
        /// What can be done.
        hint: &'static str,
    },
    /// A text does not come back from its tokens.
    #[error(
        "a document does not come back from its tokens as it was: `{text}...`\nhint: the tokenizer of the recipe changes text (a normalizer, perhaps); take a byte-level one"
    )]
    RoundTrip {
        /// Its beginning.
        text: String,
    },
    /// The corpus was not prepared.
    #[error(
        "the corpus `{corpus}` is not prepared as its recipe says now\nhint: `harness data prepare {corpus}`"
    )]
    NotPrepared {
        /// The corpus.
        corpus: String,
    },
    /// A file of a prepared corpus or task is not as its manifest says.
    #[error("`{}` is damaged: {problem}\nhint: make it again with `harness data prepare {name}`", path.display())]
    Damaged {
        /// The corpus or task.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

fn disk_hint(error: &FileError) -> &'static str {
    if error.is_disk_full() {
        "\nhint: make room on the disk that holds .harness/ and run the command again; it goes on where it stopped"
    } else {
        ""
    }
}

/// A corpus on disk, as its manifest describes it.
#[derive(Clone, Debug)]
pub struct PreparedCorpus {
    folder: PathBuf,
    root: Digest,
    manifest: Manifest,
}

impl PreparedCorpus {
    /// The prepared corpus of a recipe, without any work; an error if it is not there.
    pub fn open(store: &Store, recipe: &Recipe) -> Result<Self, CorpusError> {
        let folder = folder_of(store, recipe);
        if !files::is_file(&folder.join("manifest.json")) {
            return Err(CorpusError::NotPrepared {
                corpus: recipe.name().to_owned(),
            });
        }
        Self::open_folder(&folder)
    }

    /// A prepared corpus by its folder.
    pub fn open_folder(folder: &Path) -> Result<Self, CorpusError> {
        let path = folder.join("manifest.json");
        let json = files::read(&path)?;
        let manifest: Manifest =
            serde_json::from_slice(&json).map_err(|e| CorpusError::Damaged {
                name: folder
                    .parent()
                    .and_then(Path::file_name)
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                path,
                problem: format!("it is not a manifest of version {FORMAT}: {e}"),
            })?;
        Ok(PreparedCorpus {
            folder: folder.to_owned(),
            root: Digest::of(&json),
            manifest,
        })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The digest of `manifest.json`, which stands for the whole corpus.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `manifest.json`.
    pub fn manifest_path(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    /// The training shards in order.
    pub fn train_shards(&self) -> Vec<PathBuf> {
        self.manifest
            .train
            .shards
            .iter()
            .map(|file| self.folder.join(&file.path))
            .collect()
    }

    /// The validation shards in order.
    pub fn validation_shards(&self) -> Vec<PathBuf> {
        self.manifest
            .validation
            .shards
            .iter()
            .map(|file| self.folder.join(&file.path))
            .collect()
    }

    /// `tokenizer.json`.
    pub fn tokenizer_path(&self) -> PathBuf {
        self.folder.join("tokenizer.json")
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_file(
            &self.tokenizer_path(),
            &self.manifest.tokenizer.separator_text,
        )
    }

    /// Digests every file again and compares with the manifest. The error names the first file that differs.
    pub fn verify(&self) -> Result<(), CorpusError> {
        self.damages().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every file that is not as the manifest says.
    pub fn damages(&self) -> Vec<CorpusError> {
        let damage = |file: &ManifestFile| {
            let problem = file.damage(&self.folder)?;
            Some(CorpusError::Damaged {
                name: self.manifest.name.clone(),
                path: self.folder.join(&file.path),
                problem,
            })
        };
        self.manifest.files.iter().filter_map(damage).collect()
    }
}

fn corpus_key(recipe: &Recipe) -> Digest {
    key("corpus", &(recipe.name(), &**recipe))
}

fn folder_of(store: &Store, recipe: &Recipe) -> PathBuf {
    store
        .corpora(recipe.name())
        .join(corpus_key(recipe).short())
}

/// Prepares the corpus of a recipe whose files are in the store. Does nothing if that was done before.
pub fn prepare(
    recipe: &Recipe,
    store: &Store,
    progress: &mut dyn Progress,
) -> Result<PreparedCorpus, CorpusError> {
    let folder = folder_of(store, recipe);
    match PreparedCorpus::open(store, recipe) {
        Ok(prepared) if prepared.verify().is_ok() => return Ok(prepared),
        Err(CorpusError::NotPrepared { .. } | CorpusError::Damaged { .. }) | Ok(_) => {}
        Err(e) => return Err(e),
    }
    let stages = clean_sources(recipe, store, progress)?;
    let (candidates, removed) = candidates_of(&stages)?;
    let fates = select(&candidates, &recipe.duplicates, &recipe.split);
    refuse_empty_side(recipe, &fates)?;
    let tokenizer_json = tokenizer_of(recipe, store, &stages, &candidates, &fates, progress)?;
    let tokenizer = Tokenizer::from_json(&tokenizer_json, &recipe.tokenizer.separator)?;

    let draft = store.draft()?;
    files::write(&draft.path("tokenizer.json"), &tokenizer_json)?;
    let draft_folder = draft.path("");
    let (train, validation) =
        write_shards(recipe, &stages, &fates, &tokenizer, &draft_folder, progress)?;
    write_ledger(
        &draft.path("documents.jsonl"),
        &stages,
        &candidates,
        &fates,
        &removed,
    )?;
    let manifest = describe(
        recipe,
        &stages,
        &candidates,
        &fates,
        &tokenizer,
        train,
        validation,
        &draft_folder,
    )?;
    let mut json = serde_json::to_vec_pretty(&manifest).expect("plain structs serialize to memory");
    json.push(b'\n');
    files::write(&draft.path("manifest.json"), &json)?;
    draft.replace(&folder, store)?;
    PreparedCorpus::open_folder(&folder)
}

/// The documents of one source after cleaning, in the store.
struct CleanStage {
    source: Option<Source>,
    key: Digest,
    folder: PathBuf,
    record: CleanRecord,
}

impl CleanStage {
    fn name(&self) -> &str {
        self.source
            .as_ref()
            .map_or("grammar", |source| &source.name)
    }

    fn documents(&self) -> PathBuf {
        self.folder.join("documents.jsonl")
    }
}

/// `stage.json` of a cleaned source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CleanRecord {
    input_sha256: Digest,
    input_bytes: u64,
    head_bytes: u64,
    documents_read: u64,
    steps: Vec<StepCounts>,
    files: Vec<ListedFile>,
}

fn clean_sources(
    recipe: &Recipe,
    store: &Store,
    progress: &mut dyn Progress,
) -> Result<Vec<CleanStage>, CorpusError> {
    let total: u64 = recipe.sources.iter().map(|source| source.bytes).sum();
    let mut stages = Vec::new();
    if let Some(generate) = &recipe.generate {
        progress.begin("generate", Some(generate.documents), Unit::Documents);
        let key = key("generate", &(generate, grammar::VERSION, &recipe.steps));
        let stage = cached(store, key, || {
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
            sink.finish(&draft, input.sha256, input.size_bytes, 0)?;
            Ok(draft)
        })?;
        stages.push(CleanStage {
            source: None,
            ..stage
        });
        progress.end();
        return Ok(stages);
    }
    progress.begin("clean", Some(total), Unit::Bytes);
    for source in &recipe.sources {
        let rule = recipe.document_rule(source);
        let key = key(
            "clean",
            &(source.sha256, source.format, rule, &recipe.steps),
        );
        let stage = cached(store, key, || {
            let path = store.download(&source.sha256);
            let missing = || CorpusError::NotFetched {
                corpus: recipe.name().to_owned(),
                name: source.name.clone(),
            };
            if !files::is_file(&path) || Digest::of_file(&path)? != source.sha256 {
                return Err(missing());
            }
            let draft = store.draft()?;
            let mut sink = CleanSink::create(&draft, recipe)?;
            let counts = each_document(BufReader::new(files::open(&path)?), rule, |text| {
                sink.push(text)
            })
            .map_err(|e| {
                let (problem, hint) = match e {
                    ReadError::Emit(error) => return error,
                    ReadError::Io(error) => return FileError::new("read", &path, error).into(),
                    ReadError::NotUtf8 { .. } => (
                        e.to_string(),
                        "convert the file to UTF-8, or leave the source out",
                    ),
                    ReadError::NoHead(_) => (
                        e.to_string(),
                        "look at `head_ends_with` in the recipe's [documents]",
                    ),
                };
                CorpusError::Source {
                    corpus: recipe.name().to_owned(),
                    name: source.name.clone(),
                    problem,
                    hint,
                }
            })?;
            sink.finish(
                &draft,
                source.sha256,
                files::size_bytes(&path)?,
                counts.head_bytes,
            )?;
            Ok(draft)
        })?;
        stages.push(CleanStage {
            source: Some(source.clone()),
            ..stage
        });
        progress.advance(source.bytes);
    }
    progress.end();
    Ok(stages)
}

/// The stage of this key: found whole in the store, or made now.
fn cached(
    store: &Store,
    key: Digest,
    make: impl FnOnce() -> Result<Draft, CorpusError>,
) -> Result<CleanStage, CorpusError> {
    let folder = store.stage("clean", &key);
    let found = || -> Option<CleanRecord> {
        let record: CleanRecord =
            serde_json::from_slice(&files::read(&folder.join("stage.json")).ok()?).ok()?;
        record
            .files
            .iter()
            .all(|file| file.damage(&folder).is_none())
            .then_some(record)
    };
    let record = match found() {
        Some(record) => record,
        None => {
            make()?.replace(&folder, store)?;
            let path = folder.join("stage.json");
            serde_json::from_slice(&files::read(&path)?)
                .map_err(|e| FileError::new("read", &path, e.into()))?
        }
    };
    Ok(CleanStage {
        source: None,
        key,
        folder,
        record,
    })
}

/// Cleans documents and writes those kept and those removed.
struct CleanSink<'a> {
    recipe: &'a Recipe,
    kept: LineWriter,
    removed: LineWriter,
    counts: Vec<StepCounts>,
    read: u64,
}

impl<'a> CleanSink<'a> {
    fn create(draft: &Draft, recipe: &'a Recipe) -> Result<Self, CorpusError> {
        let count = |step: &crate::clean::Step| StepCounts {
            step: step.name().to_owned(),
            ..StepCounts::default()
        };
        Ok(CleanSink {
            recipe,
            kept: LineWriter::create(draft.path("documents.jsonl"))?,
            removed: LineWriter::create(draft.path("removed.jsonl"))?,
            counts: recipe.steps.iter().map(count).collect(),
            read: 0,
        })
    }

    fn push(&mut self, raw: String) -> Result<(), CorpusError> {
        let (index, raw_bytes) = (self.read, raw.len() as u64);
        self.read += 1;
        match clean(raw, &self.recipe.steps, &mut self.counts) {
            Ok(text) => {
                let sha256 = Digest::of(text.as_bytes());
                self.kept.push(&CleanDocument {
                    index,
                    raw_bytes,
                    sha256,
                    text,
                })?;
            }
            Err(step) => self.removed.push(&RemovedDocument {
                index,
                raw_bytes,
                step: step.to_owned(),
            })?,
        }
        Ok(())
    }

    fn finish(
        self,
        draft: &Draft,
        input_sha256: Digest,
        input_bytes: u64,
        head_bytes: u64,
    ) -> Result<(), CorpusError> {
        self.kept.finish()?;
        self.removed.finish()?;
        let folder = draft.path("");
        let files = ["documents.jsonl", "removed.jsonl"]
            .map(|name| ListedFile::of(&folder, name))
            .into_iter()
            .collect::<Result<_, _>>()?;
        let (documents_read, steps) = (self.read, self.counts);
        let record = CleanRecord {
            input_sha256,
            input_bytes,
            head_bytes,
            documents_read,
            steps,
            files,
        };
        let json = serde_json::to_vec_pretty(&record).expect("plain structs serialize to memory");
        Ok(files::write(&draft.path("stage.json"), &json)?)
    }
}

type Removed = Vec<(usize, RemovedDocument)>;

fn candidates_of(stages: &[CleanStage]) -> Result<(Vec<Candidate>, Removed), CorpusError> {
    let (mut candidates, mut removed) = (Vec::new(), Vec::new());
    for (source, stage) in stages.iter().enumerate() {
        let mut kept = LineReader::open(&stage.documents())?;
        while let Some(document) = kept.next::<CleanDocument>()? {
            candidates.push(Candidate {
                source,
                index: document.index,
                raw_bytes: document.raw_bytes,
                bytes: document.text.len() as u64,
                sha256: document.sha256,
            });
        }
        let mut lines = LineReader::open(&stage.folder.join("removed.jsonl"))?;
        while let Some(document) = lines.next::<RemovedDocument>()? {
            removed.push((source, document));
        }
    }
    Ok((candidates, removed))
}

fn refuse_empty_side(recipe: &Recipe, fates: &[Fate]) -> Result<(), CorpusError> {
    let count = |wanted: Fate| fates.iter().filter(|&&fate| fate == wanted).count();
    let (train, validation) = (count(Fate::Train), count(Fate::Validation));
    let (side, hint) = match (train, validation) {
        (0, _) => (
            "training",
            "add sources, cut them into more documents, or loosen the steps",
        ),
        (_, 0) => (
            "validation",
            "cut the sources into more documents (`split` in [documents]), or raise `validation` in [split]",
        ),
        _ => return Ok(()),
    };
    Err(CorpusError::EmptySide {
        corpus: recipe.name().to_owned(),
        side,
        documents: train + validation,
        hint,
    })
}

/// Hands each kept document's text to `take`, with its place among the candidates.
fn each_text(
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

fn tokenizer_of(
    recipe: &Recipe,
    store: &Store,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
    progress: &mut dyn Progress,
) -> Result<Vec<u8>, CorpusError> {
    let choice = &recipe.tokenizer;
    let paths: Vec<PathBuf> = choice
        .remotes()
        .iter()
        .map(|remote| store.download(&remote.sha256))
        .collect();
    if let Some(at) = paths.iter().position(|path| !files::is_file(path)) {
        let name = choice.remotes()[at].name.clone();
        return Err(CorpusError::NotFetched {
            corpus: recipe.name().to_owned(),
            name,
        });
    }
    match choice.kind {
        TokenizerKind::Gpt2 => {
            return Ok(tokenizer::from_gpt2(
                &paths[0],
                &paths[1],
                &choice.separator,
            )?);
        }
        TokenizerKind::File => return Ok(files::read(&paths[0])?),
        TokenizerKind::Bpe => {}
    }
    let used = || {
        candidates
            .iter()
            .zip(fates)
            .filter(|(_, fate)| **fate == Fate::Train)
            .map(|(c, _)| c)
    };
    let digests: Vec<Digest> = used().map(|c| c.sha256).collect();
    let key = key("tokenizer", &(&digests, choice));
    let folder = store.stage("tokenizer", &key);
    let (path, digest_path) = (folder.join("tokenizer.json"), folder.join("sha256"));
    if let (Ok(json), Ok(digest)) = (files::read(&path), files::read_to_string(&digest_path))
        && Digest::of(&json).to_string() == digest
    {
        return Ok(json);
    }
    progress.begin(
        "tokenizer",
        Some(used().map(|c| c.bytes).sum()),
        Unit::Bytes,
    );
    let json = {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<String>(256);
        let size = choice.vocabulary_size.unwrap_or_default();
        std::thread::scope(|scope| {
            let trainer =
                scope.spawn(|| tokenizer::train(receiver.into_iter(), size, &choice.separator));
            let fed = each_text(stages, |at, text| {
                if fates[at] == Fate::Train {
                    progress.advance(text.len() as u64);
                    // The trainer stops listening only when it has failed, and then says why.
                    let _ = sender.send(text);
                }
                Ok(())
            });
            drop(sender);
            let trained = trainer.join().expect("the trainer does not panic");
            fed.and(Ok(trained?))
        })?
    };
    progress.end();
    let draft = store.draft()?;
    files::write(&draft.path("tokenizer.json"), &json)?;
    files::write(
        &draft.path("sha256"),
        Digest::of(&json).to_string().as_bytes(),
    )?;
    draft.replace(&folder, store)?;
    Ok(json)
}

/// A side as written: its shards and the tokens of each document.
struct Written {
    shards: Vec<ManifestFile>,
    document_tokens: Vec<u64>,
}

fn write_shards(
    recipe: &Recipe,
    stages: &[CleanStage],
    fates: &[Fate],
    tokenizer: &Tokenizer,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<(Written, Written), CorpusError> {
    let kept = fates
        .iter()
        .filter(|fate| !matches!(fate, Fate::Duplicate(_)))
        .count();
    progress.begin("encode", Some(kept as u64), Unit::Documents);
    let shard_tokens = recipe.output.shard_tokens;
    let mut train = SideWriter::new(folder, "train", tokenizer, shard_tokens, false);
    let mut validation = SideWriter::new(folder, "validation", tokenizer, shard_tokens, true);
    each_text(stages, |at, text| {
        match fates[at] {
            Fate::Train => train.push(text)?,
            Fate::Validation => validation.push(text)?,
            Fate::Duplicate(_) => return Ok(()),
        }
        progress.advance(1);
        Ok(())
    })?;
    train.finish()?;
    validation.finish()?;
    progress.end();
    let written = |side: SideWriter| Written {
        shards: side.files,
        document_tokens: side.document_tokens,
    };
    Ok((written(train), written(validation)))
}

/// One line of `documents.jsonl`: a document that was read, and what became of it.
#[derive(Serialize)]
struct LedgerLine<'a> {
    id: String,
    raw_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    /// `train`, `validation`, `duplicate`, or `removed`.
    fate: &'static str,
    /// The step that removed it, or the document it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<std::borrow::Cow<'a, str>>,
}

fn write_ledger(
    path: &Path,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
    removed: &Removed,
) -> Result<(), CorpusError> {
    let id = |source: usize, index: u64| format!("{}#{index}", stages[source].name());
    let mut lines = LineWriter::create(path.to_owned())?;
    let mut removed = removed.iter().peekable();
    let mut write_removed_before =
        |lines: &mut LineWriter, place: (usize, u64)| -> Result<(), CorpusError> {
            while let Some((source, document)) =
                removed.next_if(|(source, document)| (*source, document.index) < place)
            {
                lines.push(&LedgerLine {
                    id: id(*source, document.index),
                    raw_bytes: document.raw_bytes,
                    bytes: None,
                    sha256: None,
                    fate: "removed",
                    because: Some(document.step.as_str().into()),
                })?;
            }
            Ok(())
        };
    for (candidate, fate) in candidates.iter().zip(fates) {
        write_removed_before(&mut lines, (candidate.source, candidate.index))?;
        let (fate, because) = match fate {
            Fate::Train => ("train", None),
            Fate::Validation => ("validation", None),
            Fate::Duplicate(of) => (
                "duplicate",
                Some(id(candidates[*of].source, candidates[*of].index).into()),
            ),
        };
        lines.push(&LedgerLine {
            id: id(candidate.source, candidate.index),
            raw_bytes: candidate.raw_bytes,
            bytes: Some(candidate.bytes),
            sha256: Some(candidate.sha256),
            fate,
            because,
        })?;
    }
    write_removed_before(&mut lines, (usize::MAX, u64::MAX))?;
    Ok(lines.finish()?)
}

#[expect(
    clippy::too_many_arguments,
    reason = "it gathers what every stage found"
)]
fn describe(
    recipe: &Recipe,
    stages: &[CleanStage],
    candidates: &[Candidate],
    fates: &[Fate],
    tokenizer: &Tokenizer,
    train: Written,
    validation: Written,
    folder: &Path,
) -> Result<Manifest, CorpusError> {
    let or = |own: &str, whole: &str| {
        if own.is_empty() {
            whole.to_owned()
        } else {
            own.to_owned()
        }
    };
    let mut sources: Vec<SourceRecord> = stages
        .iter()
        .map(|stage| {
            let source = stage.source.as_ref();
            SourceRecord {
                name: stage.name().to_owned(),
                title: source.map_or("", |s| &s.title).to_owned(),
                url: source.and_then(|s| s.url.clone()),
                sha256: stage.record.input_sha256,
                bytes: stage.record.input_bytes,
                licence: or(source.map_or("", |s| &s.licence), &recipe.licence),
                citation: or(source.map_or("", |s| &s.citation), &recipe.citation),
                stage_key: stage.key,
                cleaned_sha256: stage.record.files[0].sha256,
                head_bytes: stage.record.head_bytes,
                documents_read: stage.record.documents_read,
                train_documents: 0,
                train_bytes: 0,
                train_tokens: 0,
                validation_documents: 0,
                validation_bytes: 0,
                validation_tokens: 0,
            }
        })
        .collect();
    let read = stages.iter().map(|stage| stage.record.documents_read).sum();
    let mut documents = DocumentCounts {
        read,
        removed_by_steps: read - candidates.len() as u64,
        ..DocumentCounts::default()
    };
    let mut validation_documents = Vec::new();
    let (mut train_side, mut validation_side) = (Side::default(), Side::default());
    let (mut train_tokens, mut validation_tokens) = (
        train.document_tokens.iter(),
        validation.document_tokens.iter(),
    );
    for (candidate, fate) in candidates.iter().zip(fates) {
        let source = &mut sources[candidate.source];
        let add = |side: &mut Side, tokens: u64| {
            side.documents += 1;
            side.text_bytes += candidate.bytes;
            side.text_tokens += tokens;
            side.tokens += tokens + 1;
        };
        match fate {
            Fate::Duplicate(_) => documents.exact_duplicates += 1,
            Fate::Train => {
                let tokens = *train_tokens
                    .next()
                    .expect("each training document was encoded");
                documents.train += 1;
                source.train_documents += 1;
                source.train_bytes += candidate.bytes;
                source.train_tokens += tokens;
                add(&mut train_side, tokens);
            }
            Fate::Validation => {
                let tokens = *validation_tokens
                    .next()
                    .expect("each validation document was encoded");
                documents.validation += 1;
                source.validation_documents += 1;
                source.validation_bytes += candidate.bytes;
                source.validation_tokens += tokens;
                add(&mut validation_side, tokens);
                let id = format!("{}#{}", source.name, candidate.index);
                validation_documents.push(ValidationDocument {
                    id,
                    sha256: candidate.sha256,
                    bytes: candidate.bytes,
                    tokens,
                });
            }
        }
    }
    let paths = |files: &[ManifestFile]| {
        files
            .iter()
            .map(|file| folder.join(&file.path))
            .collect::<Vec<_>>()
    };
    let measured = baselines(
        &paths(&train.shards),
        &paths(&validation.shards),
        tokenizer.separator(),
    )?;
    let mut files = vec![
        ListedFile::of(folder, "documents.jsonl")?,
        ListedFile::of(folder, "tokenizer.json")?,
    ];
    files.extend(train.shards.iter().chain(&validation.shards).cloned());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    train_side.shards = train.shards;
    validation_side.shards = validation.shards;

    let choice = &recipe.tokenizer;
    let existing = || {
        [&choice.vocabulary, &choice.merges, &choice.file]
            .into_iter()
            .flatten()
    };
    let bytes_per_token = |side: &Side| side.text_bytes as f64 / side.text_tokens.max(1) as f64;
    Ok(Manifest {
        format: FORMAT,
        name: recipe.name().to_owned(),
        key: corpus_key(recipe),
        title: recipe.title.clone(),
        description: recipe.description.clone(),
        language: recipe.language.clone(),
        licence: recipe.licence.clone(),
        citation: recipe.citation.clone(),
        limitations: recipe.limitations.clone(),
        recipe: serde_json::to_value(&**recipe).expect("plain structs serialize to memory"),
        steps: steps_over(stages),
        documents,
        split_rule: split_rule(recipe),
        tokenizer: TokenizerRecord {
            kind: match choice.kind {
                TokenizerKind::Bpe => "bpe",
                TokenizerKind::Gpt2 => "gpt2",
                TokenizerKind::File => "file",
            }
            .to_owned(),
            sha256: tokenizer.sha256(),
            vocabulary_size: tokenizer.vocabulary_size(),
            separator: tokenizer.separator(),
            separator_text: choice.separator.clone(),
            validation_bytes_per_token: bytes_per_token(&validation_side),
            train_bytes_per_token: bytes_per_token(&train_side),
            unused_tokens: measured.unused_tokens,
            licence: existing()
                .map(|f| f.licence.clone())
                .next()
                .unwrap_or_default(),
            citation: existing()
                .map(|f| f.citation.clone())
                .next()
                .unwrap_or_default(),
            inputs: existing().map(|f| f.sha256).collect(),
        },
        sources,
        train: train_side,
        validation: validation_side,
        baselines: measured.models,
        validation_documents,
        files,
    })
}

/// The counts of each step, over all sources.
fn steps_over(stages: &[CleanStage]) -> Vec<StepCounts> {
    let mut total: Vec<StepCounts> = Vec::new();
    for stage in stages {
        if total.is_empty() {
            total = stage.record.steps.clone();
            continue;
        }
        for (sum, step) in total.iter_mut().zip(&stage.record.steps) {
            sum.documents_in += step.documents_in;
            sum.documents_out += step.documents_out;
            sum.documents_changed += step.documents_changed;
            sum.bytes_in += step.bytes_in;
            sum.bytes_out += step.bytes_out;
        }
    }
    total
}

fn split_rule(recipe: &Recipe) -> String {
    let share = recipe.split.validation;
    if recipe.split.by_source {
        format!(
            "of each source, the documents of lowest rank until they hold {share} of its bytes are validation; the rank of a document is the SHA-256 of its text, hashed again"
        )
    } else {
        format!(
            "a document is validation if its rank, the SHA-256 of its text hashed again and read as a number in [0, 1), is below {share}"
        )
    }
}
