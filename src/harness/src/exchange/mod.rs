//! Models out of a run and into the project: to and from the form of Hugging Face's `transformers`, as text that a
//! model continues, curves for TensorBoard, and the provenance of runs for archives and signing tools. What coincides with a class of theirs is decided in
//! [`harness_core::hugging_face`]; here stand the files around the weights.

mod card;
mod checkpoint;
mod export;
mod generate;
mod import;
mod provenance;
mod tensorboard;

use std::path::PathBuf;

use harness_core::config::ConfigError;
use harness_core::files::FileError;
use harness_core::hugging_face::HuggingFaceError;
use harness_core::names::ExperimentName;
use harness_core::weights::WeightsError;

pub use checkpoint::tokenizer;
pub use export::{Exported, export};
pub use generate::{Generated, generate, kept};
pub use import::{Imported, Request, import};
pub use provenance::{in_toto, ro_crate};
pub use tensorboard::tensorboard;

use harness_analyse::AnalyseError;

/// Why a model could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A table of the run could not be read.
    #[error(transparent)]
    Table(#[from] harness_core::scores::TableError),
    /// A file of weights could not be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// There is no equivalent.
    #[error(transparent)]
    HuggingFace(#[from] HuggingFaceError),
    /// The tokenizer could not be used.
    #[error(transparent)]
    Tokenizer(#[from] harness_corpus::TokenizerError),
    /// Its numbers could not be computed.
    #[error(transparent)]
    Analyse(#[from] AnalyseError),
    /// What the run wrote is not here any more.
    #[error("`{}` is missing: {why}\nhint: {hint}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What it is needed for, or what became of it.
        why: String,
        /// How to get it back.
        hint: String,
    },
    /// A file is not the one that the record names.
    #[error("`{}` is not the file that run `{run}` recorded: its digest differs\nhint: {hint}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The run.
        run: String,
        /// How to get it back.
        hint: String,
    },
    /// The run has no checkpoint, or none of that step.
    #[error("run `{run}` has no checkpoint {which}\nhint: {hint}")]
    NoCheckpoint {
        /// The run.
        run: String,
        /// `at all`, or `of step 12`.
        which: String,
        /// What there is.
        hint: String,
    },
    /// The folder of another program cannot be used.
    #[error("`{}` cannot be imported: {problem}\nhint: {hint}", folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        hint: String,
    },
    /// The name belongs to something else.
    #[error("an experiment `{name}` already exists and starts from other weights\nhint: choose another name")]
    NameTaken {
        /// The name.
        name: ExperimentName,
    },
    /// A config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A corpus recipe was refused.
    #[error(transparent)]
    Recipe(#[from] harness_corpus::RecipeError),
    /// The trainer did not generate.
    #[error("`{}` generated nothing: {problem}", trainer.display())]
    Trainer {
        /// The program.
        trainer: PathBuf,
        /// What it said.
        problem: String,
    },
    /// The folder is in use.
    #[error("`{}` is not an empty folder\nhint: name a new folder; nothing is overwritten", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
}

impl ExchangeError {
    /// Whether nothing is wrong but a file that the record names is not here.
    pub fn is_missing(&self) -> bool {
        matches!(self, ExchangeError::Missing { .. })
    }

    /// Whether the user asked for something that cannot be.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            ExchangeError::HuggingFace(_)
                | ExchangeError::NoCheckpoint { .. }
                | ExchangeError::Unusable { .. }
                | ExchangeError::NameTaken { .. }
                | ExchangeError::Config(_)
                | ExchangeError::Recipe(_)
                | ExchangeError::NotEmpty { .. }
        )
    }
}
