//! Puts into the programs the digest of the sources they are built from, so that a record can prove that the code
//! of its commit is the code that ran. The digest is that of `sha256sum`'s lines over `src/`, `Cargo.toml` and
//! `Cargo.lock`, sorted by path; unlike a commit id it stays the same when only configs or prose change.
#![expect(clippy::disallowed_methods, reason = "a build script cannot use the crate it builds")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../..");
    let mut paths = vec!["Cargo.toml".to_owned(), "Cargo.lock".to_owned()];
    collect(&root, "src", &mut paths);
    paths.sort();
    let mut lines = String::new();
    for path in &paths {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
        if let Ok(bytes) = fs::read(root.join(path)) {
            lines.push_str(&format!("{}  {path}\n", hex(&Sha256::digest(&bytes))));
        }
    }
    println!("cargo:rerun-if-changed={}", root.join("src").display());
    println!("cargo:rustc-env=HARNESS_SOURCE_SHA256={}", hex(&Sha256::digest(lines.as_bytes())));
    println!("cargo:rustc-env=HARNESS_PROFILE={}", env::var("PROFILE").unwrap_or_default());
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
    println!("cargo:rustc-env=HARNESS_RUSTC={version}");
}

fn collect(root: &Path, folder: &str, paths: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries.flatten() {
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() { collect(root, &name, paths) } else { paths.push(name) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
