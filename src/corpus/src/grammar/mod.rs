//! An English-like language of our own, for demonstrations and tests that need no download: a deterministic corpus of
//! short documents and zero-shot tasks about the same grammar.
//!
//! It has what small language models are asked about: subject-verb agreement (also across prepositional phrases and
//! relative clauses), reflexives that agree in number and gender, determiners that agree with their noun, questions
//! and embedded clauses with a gap, verbs that select the kind of their object, and things to be remembered across
//! sentences. A few hundred content words; every word and rule is in this folder.
//!
//! What is asked was never seen: about one in six pairs of a subject noun and a verb is held out. The corpus never
//! makes a clause of such a pair, and every sentence of a task has one, so no sentence of a task can occur in a
//! corpus, whatever the seeds (see [`lexicon::held_out`]).

pub mod lexicon;
mod probes;
mod sentences;

pub use probes::{Probe, probe};
pub use sentences::corpus;

/// Raised when a change of words or rules changes what the same seed gives.
pub const VERSION: u32 = 1;
