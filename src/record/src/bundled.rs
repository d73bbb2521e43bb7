//! What git's history tells of a project, as a bundle carries it (`harness bundle`): whoever unpacks one has the files without
//! the repository. A paper rests on little of the history, and that little is here. It is the word of whoever made the bundle.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use harness_core::files::{self, FileError};
use harness_core::names::{ExperimentName, RunId};
use serde::{Deserialize, Serialize};

/// `bundle.json`, the file that makes a folder a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundled {
    /// [`Bundled::VERSION`]
    pub format: u32,
    /// The commit that was checked out.
    pub head: String,
    /// Runs that a commit holds and no folder.
    pub deleted: Vec<Deleted>,
    /// What was changed of a registration: by experiment, then by the commit up to which it is counted, in the words of
    /// `harness-study`.
    pub amendments: BTreeMap<ExperimentName, BTreeMap<String, serde_json::Value>>,
}

/// A run that was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deleted {
    /// The run.
    pub run: RunId,
    /// Its experiment.
    pub experiment: ExperimentName,
    /// The last commit that holds it.
    pub commit: String,
    /// Its files that say what it was and what it cost, by name.
    pub files: BTreeMap<String, String>,
}

impl Bundled {
    /// Its name.
    pub const NAME: &str = "bundle.json";
    /// Its version.
    pub const VERSION: u32 = 1;

    /// That of a folder, if it is a bundle that was unpacked: a repository is none, whatever lies in it.
    pub fn at(root: &Path) -> Result<Option<Self>, FileError> {
        let path = root.join(Self::NAME);
        if root.join(".git").exists() || !files::is_file(&path) {
            return Ok(None);
        }
        let wrong = |problem: String| FileError::new("read", &path, io::Error::other(problem));
        let bundled: Bundled =
            serde_json::from_slice(&files::read(&path)?).map_err(|error| wrong(error.to_string()))?;
        if bundled.format != Self::VERSION {
            return Err(wrong(format!("it has format {}, this program reads {}", bundled.format, Self::VERSION)));
        }
        Ok(Some(bundled))
    }
}
