//! Why a recipe, of a corpus or of a task, cannot be used.

use harness_core::config::Wrong;
use harness_core::files::FileError;

/// Why a recipe was refused.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such recipe, or something in it is wrong.
    #[error("{0}")]
    Wrong(Box<Wrong>),
    /// Nobody has looked yet which files a pattern stands for.
    #[error(
        "{lock} does not say which files the source `{source_name}` of the corpus `{corpus}` stands for\nhint: `harness data fetch {corpus}` looks it up; commit the file with the recipe"
    )]
    NotLocked {
        /// The corpus.
        corpus: String,
        /// The source.
        source_name: String,
        /// The lock file, as people see it.
        lock: String,
    },
}

impl From<Box<Wrong>> for RecipeError {
    fn from(wrong: Box<Wrong>) -> Self {
        RecipeError::Wrong(wrong)
    }
}
