//! The lock file of a recipe, `experiments/corpora/<name>.lock.json`: which files its patterns stand for, each by its
//! digest, so that a recipe with patterns names the same bytes on every machine and at any time. It lies beside the
//! recipe, is committed with it, and changes only when somebody asks for it.

use std::collections::BTreeMap;
use std::path::Path;

use harness_core::config::Wrong;
use harness_core::digest::Digest;
use harness_core::files::{self, FileError};
use harness_core::names::Project;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hub::Hub;
use crate::recipe_error::RecipeError;
use crate::unpack::Packing;

/// Raised with every change that an older reader would misread.
const FORMAT: u32 = 1;

/// A lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// Version of the file's form.
    format: u32,
    /// Each source of the recipe that is a pattern, by its name.
    pub sources: BTreeMap<String, ListedSource>,
}

/// What the pattern of one source stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedSource {
    /// The pattern that was looked up; if the recipe has another one now, it is looked up again.
    pub pattern: Pattern,
    /// Of a data set on the hub: the commit that its revision was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The files, sorted by path.
    pub files: Vec<LockedFile>,
}

/// What stands for many files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Files of the project.
    Path(String),
    /// Files of a data set on the Hugging Face hub.
    Hub(Hub),
}

/// One file of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Its path, from the folder of the project or in the data set.
    pub path: String,
    /// Digest of its content without packing.
    pub sha256: Digest,
    /// Size of its content without packing.
    pub bytes: u64,
    /// How its bytes are packed.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub packing: Packing,
}

fn is_plain(packing: &Packing) -> bool {
    *packing == Packing::None
}

impl Default for LockFile {
    fn default() -> Self {
        LockFile { format: FORMAT, sources: BTreeMap::new() }
    }
}

impl LockFile {
    /// Reads the lock file of a corpus; one that is not there names no file.
    pub fn load(project: &Project, corpus: &str) -> Result<Self, RecipeError> {
        let path = project.corpus_lock(corpus);
        if !files::is_file(&path) {
            return Ok(Self::default());
        }
        let wrong = |problem: String| {
            let hint = Some("remove it; `harness data fetch` writes it anew".to_owned());
            Box::new(Wrong { path: lock_shown(corpus), place: None, problem, hint })
        };
        let lock: LockFile = serde_json::from_slice(&files::read(&path)?).map_err(|e| wrong(e.to_string()))?;
        if lock.format != FORMAT {
            return Err(wrong(format!("it has version {}, read is {FORMAT}", lock.format)).into());
        }
        Ok(lock)
    }

    /// Writes it to `path`.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let mut json = serde_json::to_vec_pretty(self).expect("plain structs serialize to memory");
        json.push(b'\n');
        files::write(path, &json)
    }
}

/// The lock file of a recipe, as people see it.
pub(super) fn lock_shown(name: &str) -> String {
    format!("experiments/corpora/{name}.lock.json")
}
