//! What the programs were built from. Nothing comes in but the files of the repository, and one value goes out. Only the
//! crates of the two programs may have this one, as whatever has it is built again after any change of any source.

use harness_core::build::Build;

/// What the program that holds this was built from.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    source_sha256: env!("HARNESS_SOURCE_SHA256"),
    profile: env!("HARNESS_PROFILE"),
    rustc: env!("HARNESS_RUSTC"),
};

/// The command that builds both programs anew, in the profile of this one.
pub const MAKE: &str = if cfg!(debug_assertions) { "make build" } else { "make build PROFILE=release" };
