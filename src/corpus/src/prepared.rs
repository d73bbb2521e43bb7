//! A prepared corpus: found by its recipe, and checked against its manifest.

use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files;

use crate::error::CorpusError;
use crate::grammar;
use crate::manifest::{FORMAT, Manifest, ManifestFile};
use crate::recipe::Recipe;
use crate::store::{Store, key};
use crate::tokenizer::{Tokenizer, TokenizerError};

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

    /// `tokenizer.json`.
    pub fn tokenizer_path(&self) -> PathBuf {
        self.folder.join("tokenizer.json")
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_file(&self.tokenizer_path(), &self.manifest.tokenizer.separator_text)
    }

    /// Digests every file again and compares with the manifest. The error names the first file that differs.
    pub fn verify(&self) -> Result<(), CorpusError> {
        self.damages().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every file that is not as the manifest says.
    pub fn damages(&self) -> Vec<CorpusError> {
        let damage = |file: &ManifestFile| {
            let problem = file.damage(&self.folder)?;
            Some(CorpusError::Damaged { name: self.manifest.name.clone(), path: self.folder.join(&file.path), problem })
        };
        self.manifest.files.iter().filter_map(damage).collect()
    }
}

/// The digest of what a corpus depends on.
pub(crate) fn corpus_key(recipe: &Recipe) -> Digest {
    let tasks: Vec<_> = recipe.tasks().iter().map(|task| (task.name(), &task.subtasks, &task.items)).collect();
    key("corpus", &(recipe.name(), &**recipe, tasks, FORMAT, grammar::VERSION))
}

/// Where the corpus of a recipe is or will be.
pub(crate) fn folder_of(store: &Store, recipe: &Recipe) -> PathBuf {
    store.corpora(recipe.name()).join(corpus_key(recipe).short())
}
