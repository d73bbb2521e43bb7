//! What every other crate shares: names and digests, the one door to the file system, the experiment
//! config, the formats of token shards, item scores and weights, and the contract between the two programs.
//!
//! Nothing here prints, reads the clock or the environment, or knows of libtorch or the command line.

pub mod build;
pub mod config;
pub mod contract;
pub mod digest;
pub mod files;
pub mod hugging_face;
pub mod memory;
pub mod names;
pub mod order;
pub mod random;
pub mod scores;
pub mod shards;
pub mod token_losses;
pub mod weights;

pub use digest::Digest;
