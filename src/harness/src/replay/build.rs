//! A trainer built from the sources of a commit, for whoever does not trust, or does not have, the one that is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness_core::files;
use harness_core::names::Project;
use harness_record::git::Git;

use super::ReplayError;

/// How a trainer is built.
#[derive(Clone, Debug)]
pub struct Recipe<'a> {
    /// The commit that holds its sources.
    pub commit: &'a str,
    /// The folder of libtorch.
    pub libtorch: PathBuf,
    /// Where cargo builds the project: whatever the commit shares with it, its dependencies above all, is not compiled again.
    pub target: PathBuf,
    /// Whether with full optimization, as `make exp` does.
    pub is_optimized: bool,
}

/// Builds the trainer of a commit from a checkout beside the working tree, with the lock file of the commit. Cargo runs the build scripts
/// of the commit and of its dependencies.
pub fn build_trainer(project: &Project, git: &Git, recipe: &Recipe) -> Result<PathBuf, ReplayError> {
    let short = recipe.commit.get(..12).unwrap_or(recipe.commit);
    let folder = project.store().join("drafts").join(format!("sources-{short}"));
    let checkout = git.snapshot(recipe.commit, &folder)?;
    let built = build_in(checkout.root(), recipe);
    git.remove_snapshot(&folder);
    built
}

fn build_in(root: &Path, recipe: &Recipe) -> Result<PathBuf, ReplayError> {
    let missing = |problem: String, hint: &str| ReplayError::Missing { problem, hint: hint.to_owned() };
    let short = recipe.commit.get(..12).unwrap_or(recipe.commit);
    if !files::is_file(&root.join("src/trainer/Cargo.toml")) {
        let hint = "build it from the sources that the record names, and pass --trainer";
        return Err(missing(format!("commit {short} does not hold the sources of the trainer"), hint));
    }
    let (profile, place) = if recipe.is_optimized { ("release", "release") } else { ("dev", "debug") };
    // What is built in between lies with the project's own, and the program does not: the project's has the same name.
    let target = recipe.target.join("replay").join(short);
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--package", "harness-trainer", "--bins", "--locked", "--profile", profile]);
    cargo.current_dir(root).env("CARGO_TARGET_DIR", &target).env("CARGO_BUILD_BUILD_DIR", &recipe.target);
    cargo.env("LIBTORCH", &recipe.libtorch);
    let output = cargo.output().map_err(|error| {
        missing(format!("`cargo` did not start: {error}"), "install Rust (https://rustup.rs), or pass --trainer")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().find(|line| line.starts_with("error")).unwrap_or("it did not say why").to_owned();
        let problem = format!("the trainer of commit {short} could not be built: {first}");
        return Err(missing(problem, "`make setup` installs libtorch; `harness doctor` says what else is missing"));
    }
    Ok(target.join(place).join("harness-trainer"))
}
