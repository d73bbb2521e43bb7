//! The data side of the project: from sources named by a recipe to token shards with a manifest that explains
//! every document, and from task files to requests of token ids.
//!
//! In the order of the flow: [`fetch`] brings the files that a recipe names; [`read`] cuts them into documents;
//! [`clean`] repairs or removes documents step by step; [`select`] removes duplicates and splits; [`tokenizer`]
//! learns the vocabulary; [`encode`] writes the shards; [`manifest`] says what happened. [`prepare`] is the plan
//! that runs them, each stage cached by the digest of what it depends on. [`tasks`] does the same for
//! validation tasks, and [`grammar`] generates the corpus and tasks of the demonstration.
//!
//! Nothing here prints, exits or reads the clock. Work that takes long reports to a [`Progress`].

mod baselines;
mod clean;
mod documents;
mod encode;
mod fetch;
pub mod grammar;
mod manifest;
mod mirror;
mod prepare;
mod progress;
mod read;
mod recipe;
mod select;
mod store;
pub mod tasks;
mod tokenizer;
mod toml_text;
mod unpack;

pub use clean::StepCounts;
pub use fetch::{FetchError, Fetched, Fetcher, Origin, Proxies};
pub use manifest::{
    Baseline, DocumentCounts, Manifest, ManifestFile, Side, SourceRecord, TokenizerRecord,
    ValidationDocument,
};
pub use prepare::{CorpusError, PreparedCorpus, prepare};
pub use progress::{Progress, Silent, Unit};
pub use recipe::{Recipe, RecipeError, Remote};
pub use store::Store;
pub use tokenizer::{Tokenizer, TokenizerError};
pub use toml_text::known_recipes;
