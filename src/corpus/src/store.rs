//! The data store, `.harness/`: what was fetched and what was made from it, each in a folder named by the digest of
//! what it depends on. A folder is filled under a name of its own and then renamed, so that it is there whole or
//! not at all, and two processes that make the same one do not harm each other.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use harness_core::digest::{Digest, Hasher};
use harness_core::files::{self, FileError, Lock};
use harness_core::names::Project;
use serde::Serialize;

use crate::progress::Progress;

/// Raised when a change of code changes what a stage makes from the same input, so that nothing stale is reused.
pub(crate) const STAGES_VERSION: u32 = 3;

/// What the stages that see a whole corpus at once may hold of it in memory, unless told otherwise.
const MEMORY_BYTES: usize = 512 << 20;

/// The data store of a project, and the memory that work in it may take.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    memory_bytes: usize,
}

impl Store {
    /// The store at `root`; need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Store { root: root.into(), memory_bytes: MEMORY_BYTES }
    }

    /// The store with another bound on what sorting and searching a whole corpus may hold in memory; the rest goes to
    /// disk. It does not bound what is kept of every document (about 100 bytes) or the words that a tokenizer learns
    /// from, and changes no result.
    pub fn with_memory_bytes(self, memory_bytes: usize) -> Self {
        Store { memory_bytes, ..self }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The store of a project.
    pub fn of(project: &Project) -> Self {
        Store::at(project.store())
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file with this content is or will be.
    pub fn download(&self, content: &Digest) -> PathBuf {
        self.root.join("downloads").join(content.to_string())
    }

    /// Where the results of a stage are or will be.
    pub(crate) fn stage(&self, name: &str, key: &Digest) -> PathBuf {
        self.root.join("stages").join(format!("{name}-{}", key.short()))
    }

    /// Where the corpora of one recipe are.
    pub fn corpora(&self, recipe: &str) -> PathBuf {
        self.root.join("corpora").join(recipe)
    }

    /// Where the prepared forms of one task recipe are.
    pub fn tasks(&self, recipe: &str) -> PathBuf {
        self.root.join("tasks").join(recipe)
    }

    /// Waits until nobody else is making what has this name. Who comes second finds it made.
    pub(crate) fn lock(&self, name: &str, progress: &mut dyn Progress) -> Result<Lock, FileError> {
        let path = self.root.join("locks").join(name);
        files::create_folder(&self.root.join("locks"))?;
        if let Some(lock) = files::try_lock(&path)? {
            return Ok(lock);
        }
        progress.note(&format!("waiting for another process that is making {name}"));
        files::lock(&path)
    }

    /// The one file that a stage makes: as it was made before, or made now and kept with its digest.
    pub(crate) fn cached<E: From<FileError>>(
        &self,
        stage: &str,
        key: &Digest,
        progress: &mut dyn Progress,
        make: impl FnOnce(&mut dyn Progress) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let folder = self.stage(stage, key);
        let found = || {
            let bytes = files::read(&folder.join("result")).ok()?;
            let digest = files::read_to_string(&folder.join("sha256")).ok()?;
            (Digest::of(&bytes).to_string() == digest).then_some(bytes)
        };
        if let Some(bytes) = found() {
            return Ok(bytes);
        }
        let _lock = self.lock(&format!("{stage}-{}", key.short()), progress)?;
        if let Some(bytes) = found() {
            return Ok(bytes);
        }
        let bytes = make(progress)?;
        let draft = self.draft()?;
        files::write(&draft.path("result"), &bytes)?;
        files::write(&draft.path("sha256"), Digest::of(&bytes).to_string().as_bytes())?;
        draft.publish(&folder, self)?;
        Ok(bytes)
    }

    /// A new empty folder on the same file system, removed again if it is dropped before [`Draft::publish`].
    pub(crate) fn draft(&self) -> Result<Draft, FileError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let drafts = self.root.join("drafts");
        files::create_folder(&drafts)?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let folder = drafts.join(format!("{}-{number}", std::process::id()));
            let lock_path = folder.with_extension("lock");
            // Somebody who sweeps can have been faster, and can have removed the file that is locked here.
            let Some(lock) = files::try_lock(&lock_path)?.filter(|_| files::is_file(&lock_path)) else { continue };
            // Of a killed process that had our number.
            files::remove_folder(&folder)?;
            files::create_new_folder(&folder)?;
            return Ok(Draft { folder, lock_path, _lock: lock, published: false });
        }
    }

    /// Removes the drafts of processes that were killed: nobody holds their locks any more.
    pub(crate) fn sweep_drafts(&self) -> Result<(), FileError> {
        let drafts = self.root.join("drafts");
        for name in files::list(&drafts)?.iter().filter(|name| name.ends_with(".lock")) {
            let lock_path = drafts.join(name);
            if files::is_file(&lock_path)
                && let Some(_lock) = files::try_lock(&lock_path)?
            {
                files::remove_folder(&lock_path.with_extension(""))?;
                files::remove(&lock_path)?;
            }
        }
        Ok(())
    }
}

/// A folder being filled.
#[derive(Debug)]
pub(crate) struct Draft {
    folder: PathBuf,
    lock_path: PathBuf,
    /// Tells others that the folder is being filled, until the process ends.
    _lock: Lock,
    published: bool,
}

impl Draft {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Gives the folder its name. What is there already was found damaged and makes way; the caller holds the lock.
    pub(crate) fn publish(mut self, target: &Path, store: &Store) -> Result<(), FileError> {
        if files::is_folder(target) {
            let away = store.draft()?;
            files::rename(target, &away.path("damaged"))?;
        }
        files::rename(&self.folder, target)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            let _ = files::remove_folder(&self.folder);
        }
        let _ = files::remove(&self.lock_path);
    }
}

/// The digest of a value that decides what a stage makes: of its JSON, with the version of the stages.
pub(crate) fn key(stage: &str, depends_on: &impl Serialize) -> Digest {
    let json = serde_json::to_vec(depends_on).expect("plain structs serialize to memory");
    let mut hasher = Hasher::new();
    hasher.update(format!("{stage} {STAGES_VERSION}\n").as_bytes());
    hasher.update(&json);
    hasher.finish()
}
