//! A document after cleaning as the stages behind it know it, and what became of it.

use harness_core::digest::Digest;

/// What a document is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Train,
    Validation,
    Test,
    /// The same text as this earlier candidate.
    Duplicate(u32),
    /// Nearly the same text as this earlier candidate, or as one that is.
    NearDuplicate(u32),
    /// It holds an item of the task with this number.
    Contaminated(u32),
    /// Nearly the same text as this candidate, which is held out.
    Leaked(u32),
}

/// What has to be known of a document to choose. There is one in memory for each document, so it is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub source: u32,
    pub index: u32,
    pub raw_bytes: u32,
    pub bytes: u32,
    pub sha256: Digest,
    /// Where its line begins in the documents of its source.
    pub offset: u64,
}

/// The first eight bytes of a digest.
pub(crate) fn beginning(sha256: &Digest) -> u64 {
    u64::from_be_bytes(sha256.as_bytes()[..8].try_into().expect("eight bytes"))
}
