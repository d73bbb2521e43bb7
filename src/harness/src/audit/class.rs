//! The audits of a whole class: each repository by a process of its own, so that one which takes all memory or never ends
//! costs no more than its own row.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness_core::parallel::on_all_cores;
use serde::{Deserialize, Serialize};

/// What an audit may print. That of 1,000 runs is a few megabytes.
const MOST_BYTES: u64 = 256 << 20;
/// Between two looks at whether an audit has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A repository of the class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// What the table calls it: the line of the list.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// What became of its audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Verdict {
    /// It was audited to its end.
    Audited(Counts),
    /// It could not be audited.
    Failed {
        /// Why.
        because: String,
    },
}

/// What an audit counts, as `harness audit --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// As `harness audit` ends.
    pub exit_code: u8,
    /// Runs that were looked at.
    pub runs: u64,
    /// Numbers and words of the paper that are bound to runs.
    pub bound_numbers: u64,
    /// Contradictions.
    pub contradictions: u64,
    /// Checks that could not be made.
    pub missing: u64,
    /// What has to be known.
    pub notes: u64,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The repository, as the list names it.
    pub repository: String,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What the audit took.
    pub wall_time_s: f64,
}

/// The repositories of a list: a folder a line, relative to the list's own; empty lines and those after `#` are left out.
pub fn listed(list: &Path, text: &str) -> Vec<Repository> {
    let beside = list.parent().unwrap_or(Path::new(""));
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| Repository { name: line.to_owned(), folder: beside.join(line) }).collect()
}

/// Audits every repository with `program`, each for at most `limit`. Rows are in the order of the list.
pub fn audit(program: &Path, repositories: &[Repository], limit: Duration) -> Vec<Row> {
    on_all_cores(repositories, |repository| {
        let begun = Instant::now();
        let verdict = one(program, &repository.folder, limit).unwrap_or_else(|because| Verdict::Failed { because });
        Row { repository: repository.name.clone(), verdict, wall_time_s: begun.elapsed().as_secs_f64() }
    })
}

fn one(program: &Path, folder: &Path, limit: Duration) -> Result<Verdict, String> {
    // The program looks in the folders above as well, and would audit another project.
    if ![".git", "experiments"].iter().any(|own| folder.join(own).exists()) {
        return Err("is no project: it has neither `.git` nor `experiments`".to_owned());
    }
    let mut command = Command::new(program);
    command.arg("-C").arg(folder).args(["audit", "--json"]);
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|e| format!("could not start `{}`: {e}", program.display()))?;
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let ended = wait(&mut child, limit);
    if ended.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    if ended.is_none() {
        return Err(format!("took more than {} s", limit.as_secs()));
    }
    let counts = serde_json::from_slice::<Counts>(&stdout);
    counts.map(Verdict::Audited).map_err(|_| {
        let said = String::from_utf8_lossy(&stderr);
        said.lines().next().unwrap_or("it ended without a word").trim_start_matches("error: ").to_owned()
    })
}

/// Reads to the end, so that the process never waits for room; what is too much is dropped.
fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let (Some(pipe), mut bytes) = (pipe, Vec::new()) else { return Vec::new() };
        let mut pipe = BufReader::new(pipe);
        let _ = pipe.by_ref().take(MOST_BYTES).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        bytes
    })
}

fn wait(child: &mut Child, limit: Duration) -> Option<()> {
    let begun = Instant::now();
    loop {
        if child.try_wait().ok()?.is_some() {
            return Some(());
        }
        if begun.elapsed() >= limit {
            return None;
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_a_folder_a_line() {
        let listed = listed(Path::new("class/list.txt"), "# group A\nanna\n\n  ../ben \n");
        let folders: Vec<_> = listed.iter().map(|repository| repository.folder.to_str().unwrap()).collect();
        assert_eq!(folders, ["class/anna", "class/../ben"]);
        assert_eq!(listed[1].name, "../ben");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a program needs its mode, which no file of a project has")]
    fn a_program_that_never_ends_and_one_that_says_nothing_cost_their_own_row() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        let one = Repository { name: "one".to_owned(), folder: folder.path().to_owned() };
        let program = |text: &str| {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.path().join("program");
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let because = |row: &Row| match &row.verdict {
            Verdict::Failed { because } => because.clone(),
            Verdict::Audited(counts) => panic!("{counts:?}"),
        };
        let rows = audit(&program("exec sleep 60"), &[one.clone(), one.clone()], Duration::from_secs(1));
        assert_eq!(rows.len(), 2);
        assert_eq!(because(&rows[0]), "took more than 1 s");
        let rows = audit(&program("echo 'error: it is broken' >&2; exit 2"), &[one], Duration::from_secs(60));
        assert_eq!(because(&rows[0]), "it is broken");
    }
}
