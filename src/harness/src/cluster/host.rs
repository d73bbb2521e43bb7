//! The login node, seen from a laptop: code goes there by `git`, data by their digests and runs back by `rsync`, and the rest is
//! what `harness` says there. Scripts go over the standard input of one `bash`, so that no shell between reads a name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness_core::config::Cluster;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::{Digest, files};
use harness_record::anchors::Moment;
use harness_record::format::file;
use harness_record::git::Git;
use harness_record::{Checkpoints, Finding, RecordError, SealedRun, fit, verify};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::error::ClusterError;
use super::outside::{call, hint, last_line, quoted, run};
use super::submission::{FORMAT, Submission, Task};

/// What follows it on standard output is ours, whatever the profile of the login node prints.
const MARK: &str = "--- harness ---";
/// What `ssh` ends with when it could not connect.
const NO_CONNECTION: i32 = 255;

/// What a laptop asks the login node to submit.
#[derive(Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`FORMAT`]
    pub format: u32,
    /// The cluster, as its file says on the laptop.
    pub cluster: Cluster,
    /// The commit.
    pub commit: String,
    /// The runs.
    pub tasks: Vec<Task>,
}

/// A login node with the folder of the project there.
pub struct Host<'a> {
    cluster: &'a Cluster,
    host: &'a str,
    /// The repository there.
    repository: &'a str,
    /// The project in it.
    folder: String,
}

/// What became of the runs there that are asked for.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Fetched {
    /// Runs that arrived and were verified, with their roots.
    pub fetched: Vec<Arrived>,
    /// Runs that were here already.
    pub here: Vec<RunId>,
    /// Runs that are not sealed there: they are still running, or wait to go on.
    pub unfinished: Vec<RunId>,
    /// Runs that were not taken over, with the reason.
    pub refused: Vec<Refused>,
}

/// A run that arrived.
#[derive(Debug, PartialEq, Serialize)]
pub struct Arrived {
    /// Its experiment.
    pub experiment: ExperimentName,
    /// The run.
    pub run: RunId,
    /// Digest of its MANIFEST, there and here.
    pub root: Digest,
}

/// A run that was not taken over.
#[derive(Debug, PartialEq, Serialize)]
pub struct Refused {
    /// Its experiment.
    pub experiment: ExperimentName,
    /// The run.
    pub run: RunId,
    /// Why.
    pub problem: String,
}

impl<'a> Host<'a> {
    /// That of a cluster, if it has one; `git` says where in its repository the project lies.
    pub fn of(cluster: &'a Cluster, git: &Git) -> Option<Self> {
        let (host, repository) = (cluster.host.as_deref()?, cluster.folder.as_deref()?);
        let folder = git.project_in(Path::new(repository)).to_string_lossy().trim_end_matches('/').to_owned();
        Some(Host { cluster, host, repository, folder })
    }

    /// The destination of ssh.
    pub fn name(&self) -> &str {
        self.host
    }

    /// Lines of bash there, from the home folder on.
    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["--", self.host, "bash", "-l", "-s"]);
        command
    }

    /// Runs lines of bash in a folder there. Gives what they print.
    fn bash(&self, folder: &str, lines: &str) -> Result<String, ClusterError> {
        let output = run(&mut self.command(), &whole(folder, lines))?;
        if output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            return Ok(text.rsplit_once(&format!("{MARK}\n")).map_or(String::new(), |(_, ours)| ours.to_owned()));
        }
        let exit_code = output.status.code().unwrap_or(NO_CONNECTION);
        if exit_code == NO_CONNECTION {
            return Err(ClusterError::Outside {
                program: "ssh".to_owned(),
                said: last_line(&output),
                hint: hint("ssh").to_owned(),
            });
        }
        // What `harness` complains of, with its hint; of another program the last line.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said.rsplit_once("error: ").map_or_else(|| last_line(&output), |(_, said)| said.trim().to_owned());
        Err(ClusterError::There { host: self.host.to_owned(), said, exit_code })
    }

    /// Runs `harness` there, with a value on its standard input. Gives what it says as JSON.
    fn harness<T: DeserializeOwned>(&self, arguments: &[&str], input: &str) -> Result<T, ClusterError> {
        let program = quoted(&self.cluster.program);
        // A word without a slash would be looked for on the PATH.
        let program = if program.contains('/') { program } else { format!("./{program}") };
        let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        let missing = quoted(&format!(
            "error: there is no program `{}` in `{}`\nhint: `harness submit NAME... --set-up` builds it there; or log in and run `make setup build PROFILE=release` in that folder",
            self.cluster.program, self.folder
        ));
        let lines = format!(
            "{}\n[ -x {program} ] || {{ echo {missing} >&2; exit 2; }}\n{program} {} <<'END-OF-INPUT'\n{input}\nEND-OF-INPUT",
            self.modules(),
            words.join(" ")
        );
        let said = self.bash(&self.folder, &lines)?;
        serde_json::from_str(&said).map_err(|error| ClusterError::There {
            host: self.host.to_owned(),
            said: format!(
                "`harness {}` did not answer as this program does: {error}\nhint: build the programs there from this commit: `--set-up`",
                arguments.first().unwrap_or(&"")
            ),
            exit_code: 1,
        })
    }

    fn modules(&self) -> String {
        let modules = &self.cluster.modules;
        if modules.is_empty() { String::new() } else { format!("module load {} >&2", modules.join(" ")) }
    }

    /// Brings a commit there and checks it out. What was changed there by hand is not touched, but refused.
    pub fn push(&self, project: &Project, commit: &str) -> Result<(), ClusterError> {
        let repository = quoted(self.repository);
        // Runs that were made there may be committed here since; so they are nothing that a checkout would spare.
        let ignored = "**/experiments/*/runs/";
        let begin = format!(
            "mkdir -p -- {repository} && cd -- {repository} || exit\n[ -e .git ] || git init --quiet || exit\n\
             grep -qxF {} .git/info/exclude 2>/dev/null || {{ mkdir -p .git/info && echo {} >>.git/info/exclude; }}",
            quoted(ignored),
            quoted(ignored)
        );
        self.bash(".", &begin)?;
        let place = format!("{}:{}", self.host, self.repository);
        let name = format!("{commit}:refs/harness/{commit}");
        let mut git = Command::new("git");
        git.args(["-c", "core.hooksPath=/dev/null", "push", "--quiet", "--", &place, &name])
            .current_dir(project.root());
        call(&mut git, "")?;
        let check_out = format!(
            "[ \"$(git rev-parse --verify --quiet HEAD)\" = {commit} ] && exit 0\n\
             changed=$(git rev-parse --verify --quiet HEAD >/dev/null && git status --porcelain --untracked-files=no)\n\
             if [ -n \"$changed\" ]; then\n\
             echo \"error: files in the folder there differ from their commit:\" >&2; echo \"$changed\" | head >&2\n\
             echo 'hint: log in and commit or undo them; what runs there is what is committed here' >&2; exit 2\n\
             fi\n\
             git -c core.hooksPath=/dev/null -c advice.detachedHead=false checkout --quiet --detach {commit}"
        );
        self.bash(self.repository, &check_out).map(drop)
    }

    /// Brings what of the data store is not there yet. Each path has a digest in its name, so that what is there is the same.
    pub fn send(&self, project: &Project, paths: &[PathBuf]) -> Result<(), ClusterError> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut rsync = Command::new("rsync");
        rsync.args(["--archive", "--relative", "--no-implied-dirs", "--keep-dirlinks", "--ignore-existing"]);
        rsync.args(["--protect-args", "--"]).current_dir(project.home());
        for path in paths {
            rsync.arg(Path::new(".").join(path.strip_prefix(project.home()).unwrap_or(path)));
        }
        call(rsync.arg(self.place()), "").map(drop)
    }

    /// The folder of the project, as `rsync` names it.
    fn place(&self) -> String {
        format!("{}:{}/", self.host, self.folder)
    }

    /// Builds the programs there, from the commit that is checked out; what that says goes to standard error.
    pub fn set_up(&self) -> Result<(), ClusterError> {
        // A login node has no GPU by which it would be chosen.
        let libtorch = if self.cluster.gpus > 0 { " LIBTORCH=cuda" } else { "" };
        let lines = format!("{}\nexec make setup build PROFILE=release{libtorch} >&2", self.modules());
        let mut ssh = self.command();
        let failed = |said: String| ClusterError::Outside {
            program: "make setup build".to_owned(),
            said,
            hint: format!("log in to {} and run it in `{}`; what it lacks may be a module", self.host, self.folder),
        };
        let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(|e| failed(e.to_string()))?;
        let written = std::io::Write::write_all(
            &mut child.stdin.take().expect("standard input is piped"),
            whole(&self.folder, &lines).as_bytes(),
        );
        let status = child.wait().map_err(|e| failed(e.to_string()))?;
        if status.success() && written.is_ok() { Ok(()) } else { Err(failed(format!("it ended with {status}"))) }
    }

    /// Has runs handed to the scheduler there, and keeps what is known of them here.
    pub fn submit(&self, project: &Project, commit: &str, tasks: Vec<Task>) -> Result<Submission, ClusterError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            submission: Submission,
        }
        let request = Request { format: FORMAT, cluster: self.cluster.clone(), commit: commit.to_owned(), tasks };
        let answer: Answer = self.harness(&["submit", "--request", "--json"], &json!(request).to_string())?;
        let submission = Submission { host: Some(self.host.to_owned()), ..answer.submission };
        files::create_folder(&submission.folder(project))?;
        submission.save(project)?;
        Ok(submission)
    }

    /// Asks there what became of submissions of this host, and writes it down here.
    pub fn follow(&self, project: &Project, all: &mut [Submission]) -> Result<(), ClusterError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            submissions: Vec<Submission>,
        }
        let answer: Answer = self.harness(&["jobs", "--here", "--all", "--json"], "")?;
        let there: BTreeMap<String, Submission> =
            answer.submissions.into_iter().map(|submission| (submission.name.clone(), submission)).collect();
        for submission in all.iter_mut().filter(|submission| submission.host.as_deref() == Some(self.host)) {
            if let Some(now) = there.get(&submission.name).filter(|now| now.tasks != submission.tasks) {
                submission.tasks = now.tasks.clone();
                submission.save(project)?;
            }
        }
        Ok(())
    }

    /// Takes tasks of a submission back there. Gives their names.
    pub fn cancel(&self, names: &[String]) -> Result<Vec<String>, ClusterError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            cancelled: Vec<String>,
        }
        let arguments = ["cancel", "--here", "--json", "--"];
        let arguments: Vec<&str> = arguments.into_iter().chain(names.iter().map(String::as_str)).collect();
        Ok(self.harness::<Answer>(&arguments, "")?.cancelled)
    }

    /// Brings the sealed runs that are not here, without their checkpoints unless these are asked for. Each is verified before it
    /// is taken over; nothing here is overwritten.
    pub fn fetch(&self, project: &Project, checkpoints: bool) -> Result<Fetched, ClusterError> {
        let find = "find experiments -mindepth 4 -maxdepth 4 -type f -path 'experiments/*/runs/*' -name";
        let listed = self.bash(
            &self.folder,
            &format!(
                "[ -d experiments ] || exit 0\n{find} {} -print\n{find} {} -exec sha256sum {{}} +",
                file::OPEN,
                file::MANIFEST
            ),
        )?;
        let mut fetched = Fetched::default();
        let mut wanted: BTreeMap<(ExperimentName, RunId), Digest> = BTreeMap::new();
        for ((experiment, run), root) in runs_of(&listed) {
            let is_here = files::is_folder(&project.run(&experiment, &run));
            match root {
                None => fetched.unfinished.push(run),
                Some(root) if is_here => {
                    if Moment::Seal.digest(&project.run(&experiment, &run)) == Some(root) {
                        fetched.here.push(run);
                    } else {
                        let problem = "here is another of this name, or a part of it; it was left as it is".to_owned();
                        fetched.refused.push(Refused { experiment, run, problem });
                    }
                }
                Some(root) => drop(wanted.insert((experiment, run), root)),
            }
        }
        if wanted.is_empty() {
            return Ok(fetched);
        }
        let staging = project.submissions().join("arriving");
        files::remove_folder(&staging)?;
        files::create_folder(&staging)?;
        let mut rsync = Command::new("rsync");
        rsync.args(["--archive", "--recursive", "--protect-args", "--from0", "--files-from=-"]);
        if !checkpoints {
            rsync.arg(format!("--exclude=/experiments/*/runs/*/{}/", file::CHECKPOINTS.trim_end_matches('/')));
        }
        let list: String =
            wanted.keys().map(|(experiment, run)| format!("experiments/{experiment}/runs/{run}\0")).collect();
        call(rsync.arg("--").arg(self.place()).arg(&staging), &list)?;
        let arrived = Project::at(&staging);
        for ((experiment, run), root) in wanted {
            match verified(project, &arrived, &experiment, &run, root) {
                Ok(()) => {
                    files::rename(&arrived.run(&experiment, &run), &project.run(&experiment, &run))?;
                    fetched.fetched.push(Arrived { experiment, run, root });
                }
                Err(problem) => fetched.refused.push(Refused { experiment, run, problem }),
            }
        }
        files::remove_folder(&staging)?;
        Ok(fetched)
    }
}

/// Lines of bash in a folder below the home folder, whole before the first of them runs; nothing of them is read as input.
fn whole(folder: &str, lines: &str) -> String {
    let missing = quoted(&format!("error: there is no folder `{folder}`\nhint: `harness submit` makes it"));
    format!(
        "main() {{\ncd || exit\ncd -- {} 2>/dev/null || {{ echo {missing} >&2; exit 2; }}\nprintf '\\n%s\\n' {}\n{lines}\n}}\nmain </dev/null\n",
        quoted(folder),
        quoted(MARK)
    )
}

/// The runs in a listing, with the digest of their MANIFEST where they are sealed. What has other names is nothing of ours.
fn runs_of(listed: &str) -> BTreeMap<(ExperimentName, RunId), Option<Digest>> {
    let mut runs = BTreeMap::new();
    for line in listed.lines() {
        let (root, path) = match line.split_once("  ") {
            Some((digest, path)) => (digest.parse::<Digest>().ok(), path),
            None => (None, line),
        };
        let parts: Vec<&str> = path.split('/').collect();
        if let ["experiments", experiment, "runs", run, _] = parts.as_slice()
            && let (Ok(experiment), Ok(run)) = (experiment.parse(), run.parse())
        {
            let known: &mut Option<Digest> = runs.entry((experiment, run)).or_default();
            *known = root.or(*known);
        }
    }
    runs
}

/// Why a run that arrived is not the one that lies there, or not what was sealed, if so.
fn verified(
    project: &Project,
    arrived: &Project,
    experiment: &ExperimentName,
    run: &RunId,
    root: Digest,
) -> Result<(), String> {
    let folder = arrived.run(experiment, run);
    let verified = verify(&folder, Checkpoints::Check).map_err(|error| error.to_string())?;
    let misfit = fit(project, &folder, &verified).into_iter().find(Finding::is_contradiction);
    let sealed = SealedRun::of_verified(arrived, experiment, run, verified).map_err(|error| match error {
        RecordError::Changed { finding, .. } => format!("it is not what was sealed: {finding}"),
        other => other.to_string(),
    })?;
    if sealed.root != root {
        return Err(format!("it changed on its way: its root was {root}, and is {}", sealed.root));
    }
    misfit.map_or(Ok(()), |finding| Err(format!("its record does not fit itself: {finding}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_gives_sealed_and_open_runs_and_nothing_else() {
        let digest = Digest::of(b"x");
        let text = format!(
            "experiments/a/runs/20261123T081500123Z-00000001/open.json\nexperiments/a/runs/20261123T081500123Z-00000002/open.json\n\
             experiments/../runs/x/open.json\nexperiments/A b/runs/x/open.json\nWelcome to the cluster\n\
             {digest}  experiments/a/runs/20261123T081500123Z-00000002/MANIFEST\n"
        );
        let roots: Vec<Option<Digest>> = runs_of(&text).into_values().collect();
        assert_eq!(roots, [None, Some(digest)]);
    }

    #[test]
    fn a_script_is_whole_before_it_runs_and_reads_none_of_itself() {
        let text = whole(".", "cat; echo 'it is'; cat <<'END'\na \"b\" $c\nEND");
        let output = run(&mut Command::new("bash"), &text).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.ends_with(&format!("{MARK}\nit is\na \"b\" $c\n")), "{said}");
        let refused = run(&mut Command::new("bash"), &whole("no such 'folder'", "echo here")).unwrap();
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8(refused.stderr).unwrap().contains("there is no folder `no such 'folder'`"));
    }
}
