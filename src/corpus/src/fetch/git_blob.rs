//! The digest by which git, and with it the hub, knows a small file.

use sha1::{Digest as _, Sha1};

/// The name of a file in git: the SHA-1 of its bytes behind a head.
pub(crate) fn git_blob(content: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
