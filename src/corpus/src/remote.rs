//! A file as recipes name it.

use std::path::PathBuf;

use harness_core::digest::Digest;

use crate::unpack::Packing;

/// A file that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// What people call it.
    pub name: String,
    /// Where it can be had; without one it has to be in the mirror, or lie at `path`.
    pub url: Option<String>,
    /// Where it lies on this machine, if it does.
    pub path: Option<PathBuf>,
    /// Digest of its content.
    pub sha256: Digest,
    /// Size of its content.
    pub bytes: u64,
    /// How the bytes at `url` are packed.
    pub packing: Packing,
}

/// Whether this is an address that [`crate::Fetcher`] can use.
pub(crate) fn is_address(url: &str) -> bool {
    url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).is_some_and(|rest| !rest.is_empty())
}
