//! Cleaning: named steps, applied to each document in the order of the recipe. A step changes a document or removes
//! it; nothing else is known to it, so that the steps of one document never depend on another.
//!
//! `stages` cuts and cleans each source and keeps the result, `cleaner` runs the steps, `samples` keeps some of what they
//! did; `form`, `personal`, `language` and `quality` are the steps.

mod broken;
mod cleaner;
mod form;
mod language;
mod personal;
mod quality;
mod samples;
mod stages;

pub use samples::Sample;
pub(crate) use samples::Samples;
pub(crate) use stages::{CleanRecord, CleanStage, candidates_of, clean_sources, each_batch, write_samples};
