//! What a program was built from: its own crate has the value, everything else is handed it.

use crate::digest::Digest;

/// What a program was built from.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The version in `Cargo.toml`.
    pub version: &'static str,
    /// Digest of the sources, see [`source_digest`].
    pub source_sha256: &'static str,
    /// `debug` or `release`.
    pub profile: &'static str,
    /// The compiler, as `rustc --version` says.
    pub rustc: &'static str,
}

/// Whether a file of the repository counts as source of the programs.
pub fn is_source(path: &str) -> bool {
    path.starts_with("src/") || path == "Cargo.toml" || path == "Cargo.lock"
}

/// The digest of the lines `<sha256>  <path>` over the source files, sorted by path: by hand,
/// `find src Cargo.toml Cargo.lock -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`.
pub fn source_digest(mut files: Vec<(String, Digest)>) -> Digest {
    files.sort();
    let lines: String = files.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect();
    Digest::of(lines.as_bytes())
}
