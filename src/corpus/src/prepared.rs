//! A prepared corpus: found by its recipe, and checked against its manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files;

use crate::clean::Sample;
use crate::documents::{CleanDocument, LineReader};
use crate::error::CorpusError;
use crate::grammar;
use crate::recipe::Recipe;
use crate::store::{Store, key};
use crate::tokenize::{Tokenizer, TokenizerError};
use harness_core::corpus_manifest::{FORMAT, ListedFile, Manifest};

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
            return Err(CorpusError::NotPrepared { corpus: recipe.name().to_owned() });
        }
        Self::open_folder(&folder)
    }

    /// A prepared corpus by its folder.
    pub fn open_folder(folder: &Path) -> Result<Self, CorpusError> {
        let path = folder.join("manifest.json");
        let json = files::read(&path)?;
        let manifest: Manifest = serde_json::from_slice(&json).map_err(|e| CorpusError::Damaged {
            name: folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned(),
            path,
            problem: format!("it is not a manifest of version {FORMAT}: {e}"),
        })?;
        Ok(PreparedCorpus { folder: folder.to_owned(), root: Digest::of(&json), manifest })
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
        self.manifest.train.shards.iter().map(|file| self.folder.join(&file.path)).collect()
    }

    /// The validation shards in order.
    pub fn validation_shards(&self) -> Vec<PathBuf> {
        self.manifest.validation.shards.iter().map(|file| self.folder.join(&file.path)).collect()
    }

    /// The test shards in order; none unless the recipe asks for a test side.
    pub fn test_shards(&self) -> Vec<PathBuf> {
        self.manifest.test.shards.iter().map(|file| self.folder.join(&file.path)).collect()
    }

    /// `tokenizer.json`.
    pub fn tokenizer_path(&self) -> PathBuf {
        self.folder.join("tokenizer.json")
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_file(&self.tokenizer_path(), &self.manifest.tokenizer.separator_text)
    }

    /// What the cleaning steps removed and changed, a few of each, in the order of the steps.
    pub fn samples(&self) -> Result<Vec<Sample>, CorpusError> {
        let mut lines = LineReader::open(&self.folder.join("samples.jsonl"))?;
        let mut samples = Vec::new();
        while let Some(sample) = lines.next()? {
            samples.push(sample);
        }
        Ok(samples)
    }

    /// The first characters of documents that were left after cleaning, by id (`aesops-fables#12`), from the cleaned
    /// sources in the store; documents whose source is not there any more are left out.
    pub fn beginnings(
        &self,
        store: &Store,
        ids: &[String],
        characters: usize,
    ) -> Result<BTreeMap<String, String>, CorpusError> {
        let mut beginnings = BTreeMap::new();
        for source in &self.manifest.sources {
            let index = |id: &String| id.strip_prefix(&source.name)?.strip_prefix('#')?.parse::<u64>().ok();
            let mut wanted: BTreeSet<u64> = ids.iter().filter_map(index).collect();
            let path = store.stage("clean", &source.stage_key).join("documents.jsonl");
            if wanted.is_empty() || !files::is_file(&path) {
                continue;
            }
            let mut lines = LineReader::open(&path)?;
            while let (false, Some(document)) = (wanted.is_empty(), lines.next::<CleanDocument>()?) {
                if wanted.remove(&document.index) {
                    let text = document.text.chars().take(characters).collect();
                    beginnings.insert(format!("{}#{}", source.name, document.index), text);
                }
            }
        }
        Ok(beginnings)
    }

    /// Digests every file again and compares with the manifest. The error names the first file that differs.
    pub fn verify(&self) -> Result<(), CorpusError> {
        self.damages().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every file that is not as the manifest says.
    pub fn damages(&self) -> Vec<CorpusError> {
        let damage = |file: &ListedFile| {
            let problem = file.damage(&self.folder)?;
            Some(CorpusError::Damaged { name: self.manifest.name.clone(), path: self.folder.join(&file.path), problem })
        };
        self.manifest.files.iter().filter_map(damage).collect()
    }
}

/// The digest of what a corpus depends on.
pub(crate) fn corpus_key(recipe: &Recipe) -> Digest {
    let tasks: Vec<_> = recipe.tasks().iter().map(|task| (task.name(), &task.subtasks, &task.items)).collect();
    key("corpus", &(recipe.name(), recipe.as_json(), tasks, FORMAT, grammar::VERSION))
}

/// Where the corpus of a recipe is or will be.
pub(crate) fn folder_of(store: &Store, recipe: &Recipe) -> PathBuf {
    store.corpora(recipe.name()).join(corpus_key(recipe).short())
}
