//! Making anchors: asking a time-stamp authority, a key, or a remote of git to vouch for a run at the moment it has come to.
//!
//! Comes in: a run folder, opened or sealed. Goes out: files in its `anchors/`, which [`harness_record::anchors`] reads. What an authority
//! learns is a digest; what a remote is asked for is its branches.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness_core::Digest;
use harness_core::files::{self, FileError};
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::project_file::{AnchorConfig, ProjectFile};
use harness_corpus::{FetchError, Fetcher, Progress};
use harness_record::anchors::{Moment, NAMESPACE, Pushed, names, stamp_request};
use harness_record::format::file;
use harness_record::git::{Git, GitError};
use harness_record::{environment, opened, pretty};

/// Why a run was not anchored.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The authority did not answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The remote did not answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// What answered did not vouch.
    #[error("{problem}\nhint: {hint}")]
    Refused {
        /// Why.
        problem: String,
        /// What can be done.
        hint: String,
    },
}

fn refused(problem: String, hint: &str) -> AnchorError {
    AnchorError::Refused { problem, hint: hint.to_owned() }
}

/// Where a run is.
pub struct Anchored<'a> {
    /// The project.
    pub project: &'a Project,
    /// Its repository.
    pub git: &'a Git,
    /// Asks the authority.
    pub fetcher: &'a Fetcher,
    /// The experiment.
    pub experiment: &'a ExperimentName,
    /// The run.
    pub run: &'a RunId,
}

impl Anchored<'_> {
    /// Anchors the run by everything that `wanted` names. Gives the files that were written; one that is there stays, because the
    /// earlier it is the more it proves.
    pub fn by(&self, wanted: &AnchorConfig) -> Result<Vec<String>, AnchorError> {
        let folder = self.project.run(self.experiment, self.run);
        let moment = if files::is_file(&folder.join(file::MANIFEST)) { Moment::Seal } else { Moment::Open };
        let over = moment.digest(&folder).ok_or_else(|| {
            refused(format!("run `{}` has no `{}`", self.run, file::OPEN), "`harness runs` lists the runs")
        })?;
        let mut written = Vec::new();
        let mut anchor = |kind: &str, make: &dyn Fn() -> Result<Vec<u8>, AnchorError>| -> Result<(), AnchorError> {
            let path = moment.path(kind);
            if !files::is_file(&folder.join(&path)) {
                files::write(&folder.join(&path), &make()?)?;
                written.push(path);
            }
            Ok(())
        };
        if let Some(key) = &wanted.sign {
            anchor("sig", &|| sign(key, &over))?;
        }
        if let Some(url) = &wanted.tsa {
            anchor("tsr", &|| self.stamp(url, &over))?;
        }
        if let Some(remote) = &wanted.remote {
            anchor("git.json", &|| self.pushed(remote, moment, &over))?;
        }
        Ok(written)
    }

    /// Anchors the run by what the project asks for, and only says what did not work: a run is worth more than its anchor.
    pub fn by_project(&self, progress: &mut dyn Progress) {
        let wanted = ProjectFile::load(self.project).map(|file| file.anchor);
        let folder = self.project.run(self.experiment, self.run);
        let is_sealed = files::is_file(&folder.join(file::MANIFEST));
        let one = |wanted: AnchorConfig| self.by(&wanted).map_err(|error| error.to_string());
        let Ok(AnchorConfig { tsa, sign, remote }) = wanted else { return };
        // What was just sealed was not committed yet, so no remote can hold it.
        let remote = remote.filter(|_| !is_sealed);
        for wanted in [
            AnchorConfig { sign, ..AnchorConfig::default() },
            AnchorConfig { tsa, ..AnchorConfig::default() },
            AnchorConfig { remote, ..AnchorConfig::default() },
        ] {
            if let Err(problem) = one(wanted) {
                progress.note(&format!("not anchored: {}", problem.lines().next().unwrap_or_default()));
            }
        }
    }

    /// The reply of a time-stamp authority.
    fn stamp(&self, url: &str, over: &Digest) -> Result<Vec<u8>, AnchorError> {
        let reply = self.fetcher.ask("the time stamp", url, "application/timestamp-query", &stamp_request(over))?;
        if !names(&reply, over) {
            let hint = "look whether it is the address of an RFC 3161 authority that stamps SHA-256";
            return Err(refused(format!("`{url}` granted no stamp of {}", over.short()), hint));
        }
        Ok(reply)
    }

    /// What a remote holds of the run.
    fn pushed(&self, remote: &str, moment: Moment, over: &Digest) -> Result<Vec<u8>, AnchorError> {
        let place = format!("experiments/{}/runs/{}/{}", self.experiment, self.run, file::MANIFEST);
        let plan = opened(self.project, self.experiment, self.run).map(|open| open.code.commit);
        let holds = |commit: &str| match (moment, &plan) {
            (Moment::Open, Some(plan)) => self.git.descends(commit, plan).unwrap_or(false),
            (Moment::Open, None) => false,
            (Moment::Seal, _) => {
                let held = self.git.file_at(commit, &place).ok().flatten();
                held.is_some_and(|bytes| Digest::of(&bytes) == *over)
            }
        };
        let found = self.git.references(remote)?.into_iter().find(|(_, commit)| holds(commit));
        let (reference, commit) = found.ok_or_else(|| {
            let what = match moment {
                Moment::Open => "the commit of the run",
                Moment::Seal => "the run",
            };
            refused(format!("no branch of `{remote}` holds {what}"), "commit the run folder and push it first")
        })?;
        let asked_at = environment::now().to_string();
        Ok(pretty(&Pushed { format: 1, remote: remote.to_owned(), reference, commit, asked_at }).into_bytes())
    }
}

/// A signature by `ssh-keygen`, which asks for the passphrase itself, or an agent for the key.
fn sign(key: &str, over: &Digest) -> Result<Vec<u8>, AnchorError> {
    let hint = "name a key with --sign, such as ~/.ssh/id_ed25519, or one that `ssh-add -l` lists, by its .pub file";
    let path = match key.strip_prefix("~/") {
        Some(below) => environment::home().map_or_else(|| PathBuf::from(key), |home| home.join(below)),
        None => PathBuf::from(key),
    };
    let failed = |problem: String| refused(format!("`ssh-keygen` did not sign with `{key}`: {problem}"), hint);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"]).arg(Path::new(&path));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let written = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(format!("{over}\n").as_bytes()));
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if written.is_err() || !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(failed(said.lines().next().unwrap_or("it did not say why").to_owned()));
    }
    Ok(output.stdout)
}
