//! What every other crate shares: names and digests, the one door to the file system, the experiment config, the formats
//! of what crosses a program, a crate or a folder, and the contract between the two programs.
//!
//! Comes in: bytes of files and text of configs. Goes out: the same as checked types. It must never have: clap, tera,
//! tch, tokenizers, git2. Nothing here prints, reads the clock or the environment.

pub mod build;
pub mod byte_level;
pub mod config;
pub mod contract;
pub mod corpus_manifest;
pub mod digest;
pub mod files;
pub mod hugging_face;
pub mod memory;
pub mod names;
pub mod order;
pub mod parallel;
pub mod project_file;
pub mod random;
pub mod ranks;
pub mod samples;
pub mod scores;
pub mod seeds;
pub mod shards;
pub mod task_kind;
pub mod token_losses;
pub mod weights;

pub use digest::Digest;
