//! What this program was built from.

use crate::digest::Digest;

/// Digest of the sources, see [`source_digest`]; all zeros if it could not be known.
pub const SOURCE_SHA256: &str = env!("HARNESS_SOURCE_SHA256");
/// `debug` or `release`.
pub const PROFILE: &str = env!("HARNESS_PROFILE");
/// The compiler.
pub const RUSTC: &str = env!("HARNESS_RUSTC");
/// The version in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

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
