//! The program `harness-trainer`: token ids and a [`harness_core::contract::Job`] in; step lines, scores of
//! single items and checkpoints out.
//!
//! It must never have: clap, tera, git2, tokenizers, or an average of anything but its own objective.
//!
//! `device`, `ranks`, `batch`, `model`, `optimizer` and `checkpoint` are what [`train`] puts together;
//! [`evaluate`] and [`generate`] never use it. The architecture is in [`model`].

pub mod average;
pub mod batch;
pub mod checkpoint;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod generate;
pub mod messages;
pub mod metrics;
pub mod model;
pub mod native;
pub mod optimizer;
pub mod owners;
pub mod ranks;
pub mod reading;
pub mod self_test;
#[cfg(test)]
#[path = "../../../tests/common/skip.rs"]
mod skip;
pub mod span;
pub mod train;
pub mod watch;
