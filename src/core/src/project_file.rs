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
    /// The licence of what the project adds to the program, its runs and its paper among it: identifiers of SPDX, such as `CC-BY-4.0`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// How runs are tied to the world outside when they are opened and when they are sealed; nothing of it stops a run.
    #[serde(skip_serializing_if = "AnchorConfig::is_empty")]
    pub anchor: AnchorConfig,
}

/// What ties a run to the world outside its folder: that it existed by some time, or that somebody vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnchorConfig {
    /// The address of a time-stamp authority (RFC 3161). It learns a digest and nothing else.
    pub tsa: Option<String>,
    /// The private key, or the public one of an agent, that `ssh-keygen` signs with: a path, from `~/` on if it is in the home folder.
    pub sign: Option<String>,
    /// The remote of git that is asked for what it holds.
    pub remote: Option<String>,
}

impl AnchorConfig {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == AnchorConfig::default()
    }
}

impl ProjectFile {
    /// The text of the file of a project that begins.
    pub fn draft(id: &str, licence: &str) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        format!(
            "#:schema schema/project.json\n\
             # What holds for every experiment. Seeds that nobody chooses are derived from the id: it stays as it is from the first\n\
             # run on. The licence is that of experiments, runs and paper; src/ and what else came with it has its own.\n\
             id = {}\nlicence = {}\n",
            quoted(id),
            quoted(licence)
        )
    }

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
