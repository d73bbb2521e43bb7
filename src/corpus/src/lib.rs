//! The data side of the project: from sources named by a recipe to token shards with a manifest that explains
//! every document, and from task files to requests of token ids.
//!
//! In the order of the flow: [`recipe`] says what is wanted; [`fetch`] brings the files that it names and looks up those
//! that its patterns stand for; [`read`] cuts them into documents; [`clean`] repairs or removes documents step by step;
//! [`dedup`] leaves out what repeats something else; [`split`] holds documents out; [`tokenize`] learns the vocabulary;
//! [`mod@write`] writes the shards and says what happened. [`prepare()`] runs them, each stage cached by the digest of what it
//! depends on, and [`PreparedCorpus`] is what comes out. [`tasks`] does the same for validation tasks, and [`grammar`]
//! generates the corpus and tasks of the demonstration.
//!
//! No folder imports one that imports it: rules stand in `recipe`, what crosses a folder in `candidate`, `documents`, `item`
//! and [`harness_core::corpus_manifest`], what recipes of corpora and of tasks share in `toml_text`, `remote` and
//! `recipe_error`.
//!
//! Comes in: recipes, and the files and addresses that they name. Goes out: folders of the data store, known by their
//! digest. It must never have: clap, tch, git2. Nothing here prints, exits or reads the clock. Work that takes long
//! reports to a [`Progress`].

mod candidate;
mod clean;
mod dedup;
mod documents;
mod error;
mod fetch;
pub mod grammar;
mod item;
mod overlap;
pub mod pin;
mod prepare;
mod prepared;
mod progress;
mod read;
mod recipe;
mod recipe_error;
mod remote;
mod spill;
mod split;
mod store;
pub mod tasks;
mod test_side;
mod text;
mod tokenize;
mod toml_text;
mod unpack;
mod write;

pub use clean::Sample;
pub use dedup::near;
pub use error::CorpusError;
pub use fetch::{FetchError, Fetched, Fetcher, HubAccess, Origin, Proxies};
pub use item::Item;
pub use overlap::overlap;
pub use prepare::{prepare, undamaged};
pub use prepared::PreparedCorpus;
pub use progress::{Progress, Silent, Unit};
pub use recipe::{LockFile, Recipe, UnlockedRecipe};
pub use recipe_error::RecipeError;
pub use remote::Remote;
pub use store::Store;
pub use test_side::test_side;
pub use tokenize::{Encoder, Tokenizer, TokenizerError, from_gpt2 as gpt2_tokenizer};
pub use toml_text::known_recipes;
pub use unpack::Packing;
