//! `experiments/project.toml`: what holds for every experiment of a project.

use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};
use crate::names::Project;

/// The file. One that is absent is the same as an empty one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectFile {
    /// A name or number that no other project has. Seeds are derived from it, so it stays as it is from the first run on.
    pub id: String,
}

impl ProjectFile {
    /// Reads it.
    pub fn load(project: &Project) -> Result<Self, FileError> {
        let path = project.project_file();
        match files::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| FileError::new("read", &path, io::Error::new(io::ErrorKind::InvalidData, error))),
            Err(error) if error.is_not_found() => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }
}
