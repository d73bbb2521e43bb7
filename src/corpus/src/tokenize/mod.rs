//! The vocabulary: learned or read, and used. `pieces` cuts text as GPT-2 does, `tokenizer` learns and applies a BPE,
//! `unigram` learns the other kind, `fast` applies a BPE many times faster.

mod fast;
mod pieces;
mod tokenizer;
mod unigram;

pub use tokenizer::{Encoder, Tokenizer, TokenizerError, from_gpt2};
pub(crate) use tokenizer::{PieceCounts, train as train_bpe};
pub(crate) use unigram::train as train_unigram;
