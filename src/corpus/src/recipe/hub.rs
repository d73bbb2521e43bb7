//! Files of the Hugging Face hub as recipes name them, and patterns for their paths.

use globset::{GlobBuilder, GlobMatcher};
use harness_core::config::Wrong;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::toml_text::TomlText;

/// Files of a data set on the Hugging Face hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// The repository, such as `HuggingFaceFW/fineweb-edu`.
    pub dataset: String,
    /// A branch, a tag or a commit. The lock file says which commit it was.
    #[serde(default = "default_revision")]
    pub revision: String,
    /// A pattern for the paths of its files, as in `path` of a source.
    pub files: String,
}

fn default_revision() -> String {
    "main".to_owned()
}

impl Hub {
    pub(super) fn check(&self, text: &TomlText, key: &dyn Fn(&str) -> String) -> Result<(), Box<Wrong>> {
        let part = |part: &str| {
            !part.is_empty() && part != ".." && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        if self.dataset.split('/').count() > 2 || !self.dataset.split('/').all(part) {
            let hint = "such as dataset = \"HuggingFaceFW/fineweb-edu\"";
            let problem = format!("`{}` is not the name of a data set", self.dataset);
            return Err(text.wrong(&key("hub.dataset"), problem, Some(hint)));
        }
        if self.revision.is_empty() {
            return Err(text.wrong(&key("hub.revision"), "must not be empty", Some("a branch, a tag or a commit")));
        }
        compiled(&self.files).map(drop).map_err(|problem| text.wrong(&key("hub.files"), problem, None))
    }
}

/// A pattern for paths with `/`.
pub(crate) fn compiled(pattern: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .empty_alternates(true)
        .build()
        .map_err(|e| e.kind().to_string())?;
    Ok(glob.compile_matcher())
}
