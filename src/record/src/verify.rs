//! Reading a run folder back: is every file what it was when the run was sealed, and do its parts fit each other?

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::files::{self, FileError};
use harness_core::names::is_inside;
use serde::Serialize;

use super::format::{Open, Record, Unread, file, read_open, read_record};
use super::git::unix_line_ends;
use super::seal::is_apart;

/// Whether to hash the checkpoints too. No number is computed from them, and they are large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoints {
    /// Hash them.
    Check,
    /// Leave them out.
    Skip,
}

/// What is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Its bytes are not those that were sealed.
    Changed {
        /// The digest that was sealed.
        expected: Digest,
        /// The digest now.
        found: Digest,
    },
    /// It is not there.
    Missing,
    /// It was not there when the run was sealed.
    Added,
    /// It is the text that was sealed with other line ends, as `core.autocrlf` makes them.
    LineEnds,
    /// It is as it was sealed, by another version of this program, which knows what this one does not.
    OtherVersion(String),
    /// It contradicts nothing, and a reader has to know it.
    Note(String),
    /// It cannot be read as what it is, or does not fit the other files.
    Wrong(String),
}

/// One difference between a run folder and its seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, relative to the run folder.
    pub file: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Finding {
    pub(crate) fn new(file: &str, problem: Problem) -> Self {
        Finding { file: file.to_owned(), problem }
    }

    pub(crate) fn wrong(file: &str, problem: String) -> Self {
        Finding::new(file, Problem::Wrong(problem))
    }

    /// Whether the run is not what was sealed. A checkpoint that is missing was pruned, or the run was cloned; other line
    /// ends change no number; and of what another version wrote nothing can be said.
    pub fn is_contradiction(&self) -> bool {
        match self.problem {
            Problem::Missing => !self.file.starts_with(file::CHECKPOINTS),
            Problem::LineEnds | Problem::OtherVersion(_) | Problem::Note(_) => false,
            Problem::Changed { .. } | Problem::Added | Problem::Wrong(_) => true,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match &self.problem {
            Problem::Changed { expected, found } => {
                write!(
                    f,
                    "`{file}`, or its line in MANIFEST, was changed: sealed as {}, now {}",
                    expected.short(),
                    found.short()
                )
            }
            Problem::Missing => write!(f, "`{file}` is missing"),
            Problem::Added => write!(f, "`{file}` was not there when the run was sealed"),
            Problem::LineEnds => write!(f, "`{file}` has other line ends than when it was sealed"),
            Problem::OtherVersion(problem) | Problem::Note(problem) | Problem::Wrong(problem) => {
                write!(f, "`{file}`: {problem}")
            }
        }
    }
}

/// What verification found.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Digest of MANIFEST; `None` if the run is not sealed.
    pub root: Option<Digest>,
    /// Files whose digests were compared.
    pub checked: usize,
    /// The run was sealed, but its MANIFEST is not there: the seal was taken away.
    pub seal_is_missing: bool,
    /// What is wrong, sorted by file.
    pub findings: Vec<Finding>,
    /// MANIFEST, as far as it can be read.
    pub sealed: BTreeMap<String, Digest>,
    /// `open.json`, if it can be read.
    pub open: Option<Open>,
    /// `record.json`, if it can be read.
    pub record: Option<Record>,
}

/// Compares a run folder with its seal. Every file is read once; nothing is executed.
pub fn verify(folder: &Path, checkpoints: Checkpoints) -> Result<Verified, FileError> {
    let manifest = match files::read(&folder.join(file::MANIFEST)) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.is_not_found() => None,
        Err(e) => return Err(e),
    };
    let is_there = |name: &str| files::is_plain_file(&folder.join(name));
    let seal_is_missing = manifest.is_none() && is_there(file::RECORD) && !is_there(file::STAGED_MANIFEST);
    let mut verified = Verified {
        root: None,
        checked: 0,
        seal_is_missing,
        findings: Vec::new(),
        sealed: BTreeMap::new(),
        open: None,
        record: None,
    };
    let Some(mut manifest) = manifest else { return Ok(verified) };
    let unix = unix_line_ends(&manifest);
    if unix.len() != manifest.len() {
        manifest = unix;
        verified.findings.push(Finding::new(file::MANIFEST, Problem::LineEnds));
    }
    verified.root = Some(Digest::of(&manifest));
    let sealed = match parse_manifest(&manifest) {
        Ok(sealed) => sealed,
        Err(problem) => {
            verified.findings.push(Finding::new(file::MANIFEST, Problem::Wrong(problem)));
            return Ok(verified);
        }
    };

    let present: BTreeSet<String> = files::list_recursive(folder)?.into_iter().collect();
    let mut compared = Vec::new();
    for (path, &expected) in &sealed {
        let whole = folder.join(path);
        if !present.contains(path) {
            verified.findings.push(Finding::new(path, Problem::Missing));
        } else if !(checkpoints == Checkpoints::Skip && path.starts_with(file::CHECKPOINTS)) {
            // Links are refused: a hostile record could lead its reader anywhere.
            match files::check_size(&whole) {
                _ if !files::is_plain_file(&whole) => {
                    verified.findings.push(Finding::wrong(path, "is not a plain file".to_owned()));
                }
                Err(error) => verified.findings.push(Finding::wrong(path, format!("cannot be read: {}", error.source))),
                Ok(()) => compared.push((path, expected, whole)),
            }
        }
    }
    verified.checked = compared.len();
    let paths: Vec<PathBuf> = compared.iter().map(|(.., whole)| whole.clone()).collect();
    for ((path, expected, whole), found) in compared.iter().zip(Digest::of_files(&paths)) {
        let problem = match found {
            Ok(found) if found == *expected => continue,
            Ok(_) if has_other_line_ends(whole, *expected) => Problem::LineEnds,
            Ok(found) => Problem::Changed { expected: *expected, found },
            Err(error) => Problem::Wrong(format!("cannot be read: {}", error.source)),
        };
        verified.findings.push(Finding::new(path, problem));
    }
    let added = present.iter().filter(|p| !sealed.contains_key(*p) && *p != file::MANIFEST && !is_apart(p));
    verified.findings.extend(added.map(|path| Finding::new(path, Problem::Added)));

    verified.open = read_as(read_open, folder, file::OPEN, &mut verified.findings);
    verified.record = read_as(read_record, folder, file::RECORD, &mut verified.findings);
    check_log(folder, &mut verified.findings);
    if let (Some(open), Some(record)) = (&verified.open, &verified.record) {
        check_fit(open, record, &sealed, &mut verified.findings);
    }
    verified.findings.sort_by(|a, b| a.file.cmp(&b.file));
    verified.sealed = sealed;
    Ok(verified)
}

/// Whether a file is the text that was sealed with LF in place of CRLF, or the other way round.
fn has_other_line_ends(path: &Path, sealed: Digest) -> bool {
    /// Larger files are no texts that git converts.
    const LARGEST_TEXT_BYTES: u64 = 64 << 20;
    if files::size_bytes(path).is_ok_and(|size| size > LARGEST_TEXT_BYTES) {
        return false;
    }
    let Ok(bytes) = files::read(path) else { return false };
    let unix = unix_line_ends(&bytes);
    if unix.len() != bytes.len() {
        return Digest::of(&unix) == sealed;
    }
    let windows: Vec<u8> = unix
        .iter()
        .flat_map(|byte| if *byte == b'\n' { &b"\r\n"[..] } else { std::slice::from_ref(byte) })
        .copied()
        .collect();
    Digest::of(&windows) == sealed
}

/// Parses a MANIFEST: lines of `<sha256>  <path>`, sorted, with paths that stay inside the folder.
pub fn parse_manifest(bytes: &[u8]) -> Result<BTreeMap<String, Digest>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let mut sealed = BTreeMap::new();
    let mut last = "";
    for (index, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}", index + 1);
        let (digest, path) = line.split_once("  ").ok_or_else(|| wrong("not `<sha256>  <path>`"))?;
        let digest = digest.parse().map_err(|_| wrong("not a SHA-256 digest"))?;
        if !is_inside(path) {
            return Err(wrong("the path leaves the run folder"));
        }
        if path <= last {
            return Err(wrong("the paths are not sorted"));
        }
        last = path;
        sealed.insert(path.to_owned(), digest);
    }
    if !text.ends_with('\n') || !sealed.contains_key(file::OPEN) || !sealed.contains_key(file::RECORD) {
        return Err("it is cut short".to_owned());
    }
    Ok(sealed)
}

fn read_as<T>(
    read: fn(&[u8]) -> Result<T, Unread>,
    folder: &Path,
    name: &str,
    findings: &mut Vec<Finding>,
) -> Option<T> {
    // A missing file, or a link in its place, is already among the findings.
    let path = folder.join(name);
    let bytes = files::is_plain_file(&path).then(|| files::read(&path).ok()).flatten()?;
    match read(&bytes) {
        Ok(value) => return Some(value),
        // What was changed is not what any version wrote.
        Err(Unread::OtherVersion(problem)) if findings.iter().all(|finding| finding.file != name) => {
            findings.push(Finding::new(name, Problem::OtherVersion(problem)));
        }
        Err(Unread::OtherVersion(problem) | Unread::Wrong(problem)) => {
            findings.push(Finding::new(name, Problem::Wrong(format!("cannot be read: {problem}"))));
        }
    }
    None
}

/// Each line of the log holds the digest of the line before it.
fn check_log(folder: &Path, findings: &mut Vec<Finding>) {
    let Ok(log) = files::read_to_string(&folder.join(file::LOG)) else { return };
    let mut previous = Digest::of(b"");
    for (index, line) in log.lines().enumerate() {
        let linked = serde_json::from_str::<serde_json::Value>(line)
            .ok()
            .and_then(|event| event["previous_sha256"].as_str()?.parse::<Digest>().ok());
        if linked != Some(previous) {
            let problem = Problem::Wrong(format!("line {} does not follow the line before it", index + 1));
            findings.push(Finding::new(file::LOG, problem));
            return;
        }
        previous = Digest::of(line.as_bytes());
    }
}

/// The parts of a record name each other by digest; a folder sealed anew after an edit has to change all of them.
fn check_fit(open: &Open, record: &Record, sealed: &BTreeMap<String, Digest>, findings: &mut Vec<Finding>) {
    let mut wrong = |file: &str, problem: String| findings.push(Finding::new(file, Problem::Wrong(problem)));
    // A program may seal what an older one opened.
    if open.format > record.format {
        wrong(file::RECORD, format!("has format {}, and `{}` has {}", record.format, file::OPEN, open.format));
    }
    if open.run != record.run {
        wrong(file::RECORD, format!("belongs to run `{}`, not to `{}`", record.run, open.run));
    }
    let mut promised: Vec<(&str, Digest)> =
        vec![(file::CONFIG, open.plan.config_sha256), (file::CORPUS_MANIFEST, open.data.root)];
    promised.extend(open.plan.files.iter().map(|f| (f.copy.as_str(), f.sha256)));
    let outputs = record.evaluations.iter().flat_map(|e| &e.files);
    promised.extend(outputs.map(|f| (f.path.as_str(), f.sha256)));
    // A checkpoint may have been pruned before the seal: its digest stays in the record.
    let kept = promised.into_iter().map(|(path, digest)| (path, digest, false));
    let prunable = record.checkpoints.iter().map(|c| {
        let path = c.file.path.as_str();
        (path, c.file.sha256, path.starts_with(file::CHECKPOINTS) && is_inside(path))
    });
    for (path, digest, may_be_pruned) in kept.chain(prunable) {
        match sealed.get(path) {
            Some(found) if *found == digest => {}
            Some(_) => wrong(path, "its sealed digest is not the one its record names".to_owned()),
            None if may_be_pruned => {}
            None => wrong(path, "its record names it, but the seal does not".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn manifests_cannot_point_outside() {
        let digest = Digest::of(b"");
        for path in ["../x", "/etc/passwd", "a/../../b", "", "a//b", "a\\..\\b"] {
            let text = format!("{digest}  {path}\n{digest}  open.json\n{digest}  record.json\n");
            assert!(parse_manifest(text.as_bytes()).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn hostile_manifests_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse_manifest(&bytes);
        }
    }
}
