//! Does a record fit itself, and the data where they are here? Digests say that nothing was changed after the seal; this says
//! that what was sealed could have been: whoever edits a field and seals again has to edit all that it is held against.
//!
//! Comes in: a run folder that [`crate::verify()`] has read. Goes out: findings. Nothing is executed. What a record of an older
//! version cannot say is a note.

mod data;
mod ended;
mod plan;
mod samples;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use harness_core::Digest;
use harness_core::config::{Experiment, parse_resolved};
use harness_core::contract::{Job, OutputFile};
use harness_core::corpus_manifest::Manifest;
use harness_core::files;
use harness_core::names::Project;
use serde_json::Value;

use crate::format::{Open, Record, SINCE, file};
use crate::log::{Log, unknown};
use crate::verify::{Finding, Problem, Verified};

/// A run with all that its parts are held against.
struct Run<'a> {
    /// The run folder.
    folder: &'a Path,
    open: &'a Open,
    record: &'a Record,
    /// The resolved config.
    experiment: Experiment,
    /// The manifest of the corpus.
    corpus: Manifest,
    /// The log read back.
    log: Log,
    /// MANIFEST.
    sealed: &'a BTreeMap<String, Digest>,
    /// Files whose line ends are others now.
    converted: BTreeSet<&'a str>,
    findings: Vec<Finding>,
}

/// What does not fit. Of a run that is not sealed, or whose files do not hold, nothing is said.
pub fn fit(project: &Project, folder: &Path, verified: &Verified) -> Vec<Finding> {
    let (Some(open), Some(record), true) = (&verified.open, &verified.record, verified.root.is_some()) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let log = match Log::read(folder) {
        Ok(Ok(log)) => log,
        Ok(Err(problem)) => return vec![Finding::wrong(file::LOG, problem)],
        Err(error) => return vec![Finding::wrong(file::LOG, error.to_string())],
    };
    let config = files::read_to_string(&folder.join(file::CONFIG)).map_err(|error| error.to_string());
    let experiment = match config.and_then(|text| parse_resolved(&text)) {
        Ok(experiment) => experiment,
        Err(problem) => return vec![unreadable(open, file::CONFIG, problem)],
    };
    let manifest = files::read(&folder.join(file::CORPUS_MANIFEST)).map_err(|error| error.to_string());
    let corpus: Manifest =
        match manifest.and_then(|json| serde_json::from_slice(&json).map_err(|error| error.to_string())) {
            Ok(corpus) => corpus,
            Err(problem) => return vec![unreadable(open, file::CORPUS_MANIFEST, problem)],
        };
    for (name, version, known) in [
        (file::OPEN, open.format, serde_json::to_value(open)),
        (file::RECORD, record.format, serde_json::to_value(record)),
        (file::CORPUS_MANIFEST, open.format.min(record.format), serde_json::to_value(&corpus)),
    ] {
        let read = files::read(&folder.join(name)).ok().and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        let (Some(read), Ok(known)) = (read, known) else { continue };
        // What was written by today's program has each field that it knows; an older one knew fewer.
        if let Some(path) = unknown(&read, &known) {
            findings.push(Finding::wrong(name, format!("nothing of it is called `{path}`")));
        } else if version >= SINCE && read != known {
            findings.push(Finding::wrong(name, "lacks a field that is always written".to_owned()));
        }
    }
    let converted = verified.findings.iter().filter(|finding| finding.problem == Problem::LineEnds);
    let converted = converted.map(|finding| finding.file.as_str()).collect();
    let sealed = &verified.sealed;
    let mut run = Run { folder, open, record, experiment, corpus, log, sealed, converted, findings };
    plan::check(&mut run);
    let jobs = plan::jobs(&mut run);
    ended::check(&mut run, &jobs);
    tables::check(&mut run);
    samples::check(&mut run, &jobs);
    data::check(project, &mut run);
    run.findings
}

/// What cannot be read of a record of today was changed; an older program may have written what this one cannot read.
fn unreadable(open: &Open, name: &str, problem: String) -> Finding {
    let problem = if open.format >= SINCE { Problem::Wrong(problem) } else { Problem::OtherVersion(problem) };
    Finding::new(name, problem)
}

impl Run<'_> {
    fn wrong(&mut self, file: &str, problem: impl Into<String>) {
        self.findings.push(Finding::wrong(file, problem.into()));
    }

    fn note(&mut self, file: &str, problem: impl Into<String>) {
        self.findings.push(Finding::new(file, Problem::Note(problem.into())));
    }

    /// Finds it wrong unless it holds.
    fn hold(&mut self, holds: bool, file: &str, problem: impl FnOnce() -> String) {
        if !holds {
            self.wrong(file, problem());
        }
    }

    /// Whether the record is of today's version.
    fn is_of_today(&self) -> bool {
        self.record.format >= SINCE
    }

    /// Training tokens after so many steps; of more steps than there are, more than there can be.
    fn tokens(&self, step: u64) -> u64 {
        let training = &self.experiment.training;
        if step > training.steps { u64::MAX } else { training.tokens(step, self.experiment.model.context_length) }
    }

    /// The step that the run began at.
    fn first_step(&self) -> u64 {
        self.open.resumed_from.as_ref().map_or(0, |from| from.step)
    }

    /// Whether it trains.
    fn is_training(&self) -> bool {
        self.open.evaluates.is_none() && self.experiment.training.steps > 0
    }

    /// The file that a record lists is the one that is there.
    fn listed(&mut self, by: &str, listed: &OutputFile) {
        let Some(sealed) = self.sealed.get(&listed.path) else { return };
        let path = self.folder.join(&listed.path);
        let size_bytes = files::size_bytes(&path).ok().filter(|_| !self.converted.contains(listed.path.as_str()));
        let holds = *sealed == listed.sha256 && size_bytes.is_none_or(|found| found == listed.size_bytes);
        self.hold(holds, by, || format!("lists `{}` with another digest or size than it has", listed.path));
    }
}

/// Whether two numbers are the same but for the rounding of a sum.
fn is_near(one: f64, other: f64, relative: f64) -> bool {
    one == other || (one - other).abs() <= relative * one.abs().max(other.abs())
}

/// The jobs of a run: the one that trains, or one for each checkpoint that is evaluated.
type Jobs = Vec<Job>;
