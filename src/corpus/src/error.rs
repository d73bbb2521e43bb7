//! What can go wrong between a recipe and its corpus.

use std::path::PathBuf;

use harness_core::files::FileError;
use harness_core::shards::ShardError;

use crate::tasks::TaskError;
use crate::tokenize::TokenizerError;

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
    /// The items of a task that the recipe names could not be had.
    #[error(transparent)]
    Task(Box<TaskError>),
    /// A file of the recipe is not in the store.
    #[error("`{name}` of the corpus `{corpus}` is not in the store\nhint: fetch it with `harness data fetch {corpus}`")]
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
    #[error("the corpus `{corpus}` has no document for {side}, of {documents} documents\nhint: {hint}")]
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
    /// The corpus was not prepared.
    #[error("the corpus `{corpus}` is not prepared as its recipe says now\nhint: `harness data prepare {corpus}`")]
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

impl From<TaskError> for CorpusError {
    fn from(error: TaskError) -> Self {
        CorpusError::Task(Box::new(error))
    }
}
