//! The data side of the project: from sources named by a recipe to token shards with a manifest that explains
//! every document, and from task files to requests of token ids.
//!
//! In the order of the flow: [`lookup`] finds which files the patterns of a recipe stand for; [`fetch`] brings the
//! files that it names; [`read`] cuts them into documents;
//! [`clean`] repairs or removes documents step by step; [`select`] removes duplicates and splits; [`tokenizer`]
//! learns the vocabulary; [`encode`] writes the shards; the manifest ([`harness_core::corpus_manifest`]) says what happened. [`prepare`] is the plan
//! that runs them, each stage cached by the digest of what it depends on. [`tasks`] does the same for
//! validation tasks, and [`grammar`] generates the corpus and tasks of the demonstration.
//!
//! Comes in: recipes, and the files and addresses that they name. Goes out: folders of the data store, known by their
//! digest. It must never have: clap, tch, git2. Nothing here prints, exits or reads the clock. Work that takes long
//! reports to a [`Progress`].

mod baselines;
mod clean;
mod contamination;
mod describe;
mod documents;
mod encode;
mod error;
mod fast;
mod fetch;
mod funnel;
pub mod grammar;
mod hub;
mod ledger;
mod lengths;
mod lock;
mod lookup;
mod mark;
mod mirror;
pub mod near;
mod parquet_file;
mod pieces;
mod prepare;
mod prepared;
mod progress;
mod read;
mod recipe;
mod repeats;
mod samples;
mod select;
mod spill;
mod stages;
mod store;
pub mod tasks;
mod tokenizer;
mod toml_text;
mod unigram;
mod unpack;
mod words;

pub use clean::Step;
pub use error::CorpusError;
pub use fetch::{FetchError, Fetched, Fetcher, Origin, Proxies};
pub use hub::HubAccess;
pub use lock::LockFile;
pub use prepare::prepare;
pub use prepared::PreparedCorpus;
pub use progress::{Progress, Silent, Unit};
pub use recipe::{Recipe, RecipeError, Remote, UnlockedRecipe};
pub use samples::Sample;
pub use store::Store;
pub use tokenizer::{Encoder, Tokenizer, TokenizerError, from_gpt2 as gpt2_tokenizer};
pub use toml_text::known_recipes;
pub use unpack::Packing;
