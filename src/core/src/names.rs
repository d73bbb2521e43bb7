//! Names that must not be mixed up: experiments, runs, and the places of a project.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The name of an experiment: its folder under `experiments/`. Lower-case letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ExperimentName(String);

/// The name of a run: `20261123T081500123Z-7f3a00c2`, ordered by time, unique without a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A name that cannot be a folder of ours.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` cannot be the name of {what}: {rule}")]
pub struct BadName {
    name: String,
    what: &'static str,
    rule: &'static str,
}

impl RunId {
    /// Builds an id from a UTC time stamp (`20261123T081500123Z`) and a few random bits.
    pub fn new(utc_compact: &str, entropy: u32) -> Self {
        RunId(format!("{utc_compact}-{entropy:08x}"))
    }
}

impl FromStr for ExperimentName {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        let valid = !name.is_empty()
            && name.len() <= 64
            && !name.starts_with('-')
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !["corpora", "tasks", "library", "studies", "runs", "schema"].contains(&name);
        let rule = "use 1 to 64 lower-case letters, digits and `-`; `corpora`, `tasks`, `library`, `studies`, `runs` and `schema` are taken";
        valid.then(|| ExperimentName(name.to_owned())).ok_or_else(|| BadName {
            name: name.chars().take(80).collect(),
            what: "an experiment",
            rule,
        })
    }
}

impl FromStr for RunId {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        let valid = !name.is_empty()
            && name.len() <= 64
            && !name.starts_with('-')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        valid.then(|| RunId(name.to_owned())).ok_or_else(|| BadName {
            name: name.chars().take(80).collect(),
            what: "a run",
            rule: "run ids are letters, digits and `-`, such as `20261123T081500123Z-00ab12cd`",
        })
    }
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}
text_newtype!(ExperimentName);
text_newtype!(RunId);

/// Whether a relative path with `/` stays inside the folder it is joined to. Paths of records are checked with this
/// before they are opened: a hostile record must not lead its reader elsewhere.
pub fn is_inside(path: &str) -> bool {
    !path.is_empty() && !path.contains('\\') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The folders of a project. What is written by hand lies below its root; what runs leave behind and what they read in bulk
/// lies below its home. The two are one folder, except where plans are read from a snapshot of a commit.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
    home: PathBuf,
}

impl Project {
    /// A project at `root`, the folder that holds `experiments/`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Project { home: root.clone(), root }
    }

    /// The same project with its plans as they are in `snapshot`, a checkout of one of its commits.
    pub fn seen_in(&self, snapshot: impl Into<PathBuf>) -> Self {
        Project { root: snapshot.into(), home: self.home.clone() }
    }

    /// The root folder: what is written by hand.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of runs and of the data store, which paths in jobs and of data are relative to.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// `experiments/`
    pub fn experiments(&self) -> PathBuf {
        self.root.join("experiments")
    }

    /// `experiments/project.toml`
    pub fn project_file(&self) -> PathBuf {
        self.experiments().join("project.toml")
    }

    /// `experiments/library/`
    pub fn library(&self) -> PathBuf {
        self.experiments().join("library")
    }

    /// `experiments/budget.toml`: that of the working tree, which limits runs of any commit.
    pub fn budget_file(&self) -> PathBuf {
        self.home.join("experiments/budget.toml")
    }

    /// `cluster.toml`: that of the working tree, which says where runs of any commit are submitted to.
    pub fn cluster_file(&self) -> PathBuf {
        self.home.join("cluster.toml")
    }

    /// `experiments/<name>/`
    pub fn experiment(&self, name: &ExperimentName) -> PathBuf {
        self.experiments().join(name.as_str())
    }

    /// `experiments/<name>/study.toml`
    pub fn study(&self, name: &ExperimentName) -> PathBuf {
        self.experiment(name).join("study.toml")
    }

    /// `experiments/<name>/close.toml`: what a study found, once it is over.
    pub fn study_close(&self, name: &ExperimentName) -> PathBuf {
        self.experiment(name).join("close.toml")
    }

    /// `.harness/studies/<name>/`: which process is at which trial.
    pub fn leases(&self, name: &ExperimentName) -> PathBuf {
        self.store().join("studies").join(name.as_str())
    }

    /// `experiments/<name>/runs/`
    pub fn runs(&self, name: &ExperimentName) -> PathBuf {
        self.home.join("experiments").join(name.as_str()).join("runs")
    }

    /// `experiments/<name>/runs/<run>/`
    pub fn run(&self, name: &ExperimentName, run: &RunId) -> PathBuf {
        self.runs(name).join(run.as_str())
    }

    /// `experiments/<name>/probes/`
    pub fn probes(&self, name: &ExperimentName) -> PathBuf {
        self.experiment(name).join("probes")
    }

    /// `experiments/corpora/<name>.toml`
    pub fn corpus_recipe(&self, name: &str) -> PathBuf {
        self.experiments().join("corpora").join(format!("{name}.toml"))
    }

    /// `experiments/corpora/<name>.lock.json`: the files that the patterns of the recipe stand for.
    pub fn corpus_lock(&self, name: &str) -> PathBuf {
        self.experiments().join("corpora").join(format!("{name}.lock.json"))
    }

    /// `experiments/tasks/<name>.toml`
    pub fn task_recipe(&self, name: &str) -> PathBuf {
        self.experiments().join("tasks").join(format!("{name}.toml"))
    }

    /// `.harness/imported/<digest>.safetensors`: weights of other programs under our names, by their digest.
    pub fn imported_weights(&self, weights: &Digest) -> PathBuf {
        self.store().join("imported").join(format!("{weights}.safetensors"))
    }

    /// `.harness/`: downloads, prepared corpora and tasks. Ignored by git, can be made again.
    pub fn store(&self) -> PathBuf {
        self.home.join(".harness")
    }

    /// `.harness/queue/`: the runs that wait for their turn.
    pub fn queue(&self) -> PathBuf {
        self.store().join("queue")
    }

    /// `.harness/cluster/`: what was submitted to a cluster, a folder each.
    pub fn submissions(&self) -> PathBuf {
        self.store().join("cluster")
    }

    /// `.harness/worktrees/<commit>/`: a checkout of a commit, which queued runs are planned from.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.store().join("worktrees").join(commit)
    }

    /// `templates/`
    pub fn templates(&self) -> PathBuf {
        self.root.join("templates")
    }

    /// `report/`
    pub fn report(&self) -> PathBuf {
        self.root.join("report")
    }

    /// `.tools/`: libtorch, typst and fonts, installed by `make setup`.
    pub fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_records_stay_inside() {
        for path in ["../x", "/etc/passwd", "a/../../b", "", "a//b", "a\\..\\b", "./a", "a/"] {
            assert!(!is_inside(path), "{path}");
        }
        assert!(is_inside("a/b-c/d.csv"));
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        for name in ["..", "a/b", "", "-rf", "A", "corpora", "a b", "\u{202e}x"] {
            assert!(name.parse::<ExperimentName>().is_err(), "{name}");
        }
        assert!("lr-warmup".parse::<ExperimentName>().is_ok());
        assert!("../x".parse::<RunId>().is_err());
    }
}
