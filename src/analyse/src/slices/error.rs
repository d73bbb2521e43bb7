//! Why the losses of a run cannot be sliced: each with what can be done about it.

use harness_core::Digest;
use harness_core::files::FileError;
use harness_core::shards::ShardError;

use crate::AnalyseError;

/// Why there are no slices.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// A run could not be analysed.
    #[error(transparent)]
    Analyse(#[from] AnalyseError),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A shard is damaged.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The run has no losses of single tokens.
    #[error(
        "run `{run}` has no losses of single tokens: none of its evaluations wrote `validation.tokens`\nhint: run the \
         experiment again; the evaluation after the last step writes them where there is a validation side"
    )]
    NoTokens {
        /// The run.
        run: String,
    },
    /// The text is not in the store.
    #[error(
        "`{path}` is not here, and without it the text behind the losses is not known\nhint: `harness data prepare \
         {corpus}` makes it again; `--by position,source,length,phenomenon` needs the run alone"
    )]
    NotHere {
        /// What is missing.
        path: String,
        /// The corpus.
        corpus: String,
    },
    /// The store holds another text.
    #[error(
        "`{path}` has digest {}, but the run used {}: its tokens are not those that the losses belong to\nhint: go to the \
         run's commit and `harness data prepare {corpus}`; `--by position,source,length,phenomenon` needs the run alone",
        found.short(), expected.short()
    )]
    OtherText {
        /// The file.
        path: String,
        /// What it has.
        found: Digest,
        /// What the run used.
        expected: Digest,
        /// The corpus.
        corpus: String,
    },
    /// The bytes behind the tokens are not known.
    #[error(
        "the vocabulary of `{0}` is not a byte-level one, so the bytes behind its tokens are not known\nhint: `--by \
         position,source,length,phenomenon` works without them"
    )]
    NotByteLevel(String),
    /// A shard does not fit its tokenizer.
    #[error(
        "the validation shards of `{corpus}` hold token {token}, which its tokenizer does not have\nhint: `harness data \
         prepare {corpus}` makes both again"
    )]
    OutsideVocabulary {
        /// The token.
        token: u32,
        /// The corpus.
        corpus: String,
    },
    /// Two runs that did not predict the same tokens.
    #[error(
        "`{reference}` and `{other}` did not predict the same tokens: {why}\nhint: slice each alone, or compare their bits \
         per byte with `harness compare`"
    )]
    OtherTokens {
        /// The reference.
        reference: String,
        /// The other run.
        other: String,
        /// How they differ.
        why: &'static str,
    },
}
