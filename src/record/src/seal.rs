//! Writing a run folder: open, log, seal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::contract::{Message, OutputFile};
use harness_core::files::{self, FileError};
use harness_core::scores::{ActivationStatistics, StepLine, TensorNorms, to_csv};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::anchors;
use super::environment;
use super::format::{Ended, Open, Record, file, read_open};
use super::log::Log;
use super::told::Told;

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Writes one run folder. Every event is a line of the hash-linked log, every step a row of `steps.csv`, and what is
/// measured inside the model at intervals a row of `tensor_norms.csv` or `activations.csv`.
pub struct Recorder {
    folder: PathBuf,
    steps: Table,
    tensor_norms: Table,
    activations: Table,
    previous: Digest,
    /// When the last event was, so that none seems to be before it, whatever the clock does.
    last_at: Timestamp,
}

/// The rows that a continuation takes over from the run it goes on from.
#[derive(Clone, Debug, Default)]
pub struct Inherited {
    /// Of `steps.csv`.
    pub steps: Vec<StepLine>,
    /// Of `tensor_norms.csv`.
    pub tensor_norms: Vec<TensorNorms>,
    /// Of `activations.csv`.
    pub activations: Vec<ActivationStatistics>,
}

/// A CSV that grows while the run goes on. There is no file before the first row.
struct Table {
    path: PathBuf,
    writer: Option<csv::Writer<File>>,
}

impl Table {
    /// A table that begins with `inherited` rows.
    fn begin<T: Serialize>(path: PathBuf, inherited: &[T]) -> Result<Self, SealError> {
        if !inherited.is_empty() {
            files::write(&path, &to_csv(inherited))?;
        }
        Ok(Table { path, writer: None })
    }

    /// Takes up a table whose writer died: only whole lines count, the last one may be torn.
    fn reopen(path: PathBuf) -> Result<Self, SealError> {
        if files::is_file(&path) {
            let rows = files::read_to_string(&path)?;
            let whole = &rows[..rows.rfind('\n').map_or(0, |at| at + 1)];
            if whole.len() != rows.len() {
                files::write(&path, whole.as_bytes())?;
            }
        }
        Ok(Table { path, writer: None })
    }

    fn add<T: Serialize>(&mut self, row: &T) -> Result<(), SealError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                // A header is written with the first row, which an inherited table already has.
                let is_new = !files::is_file(&self.path) || files::size_bytes(&self.path)? == 0;
                let file = files::open_append(&self.path)?;
                self.writer.insert(csv::WriterBuilder::new().has_headers(is_new).from_writer(file))
            }
        };
        writer.serialize(row).map_err(|e| FileError::new("write", &self.path, e.into()))?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SealError> {
        let flushed = self.writer.as_mut().map_or(Ok(()), csv::Writer::flush);
        Ok(flushed.map_err(|e| FileError::new("write", &self.path, e))?)
    }
}

impl Recorder {
    /// Creates the folder with `open.json` and the files of the plan, all synced, before anything is computed. It has its name
    /// only when it is whole, so that whoever finds a run can take it up, at whatever moment its supervisor was killed.
    pub fn open(
        folder: &Path,
        open: &Open,
        plan: &[(String, Vec<u8>)],
        inherited: &Inherited,
    ) -> Result<Self, SealError> {
        let unnamed = folder.with_file_name(format!(".{}", open.run));
        files::create_new_folder(&unnamed)?;
        let named = Self::fill(&unnamed, open, plan, inherited).and_then(|()| Ok(files::rename(&unnamed, folder)?));
        // Nothing has been computed yet: a record that cannot be opened (on a full disk, say) leaves nothing behind.
        named.inspect_err(|_| drop(files::remove_folder(&unnamed)))?;
        Self::reopen(folder)
    }

    fn fill(folder: &Path, open: &Open, plan: &[(String, Vec<u8>)], inherited: &Inherited) -> Result<(), SealError> {
        for (path, content) in plan {
            files::write(&folder.join(path), content)?;
        }
        files::write(&folder.join(file::OPEN), pretty(open).as_bytes())?;
        // Every run has this table, even one that fails before its first step.
        files::write(&folder.join(file::STEPS), b"")?;
        let mut recorder = Recorder {
            folder: folder.to_owned(),
            steps: Table::begin(folder.join(file::STEPS), &inherited.steps)?,
            tensor_norms: Table::begin(folder.join(file::TENSOR_NORMS), &inherited.tensor_norms)?,
            activations: Table::begin(folder.join(file::ACTIVATIONS), &inherited.activations)?,
            previous: Digest::of(b""),
            last_at: open.opened_at.parse().unwrap_or_default(),
        };
        recorder.event("opened", json!({ "open_sha256": Digest::of_file(&folder.join(file::OPEN))? }))?;
        recorder.flush()
    }

    /// Takes up a folder whose supervisor died, to seal it.
    pub fn reopen(folder: &Path) -> Result<Self, SealError> {
        let log = files::read_to_string(&folder.join(file::LOG))?;
        // Only whole lines count: the last one may be torn.
        let whole = &log[..log.rfind('\n').map_or(0, |at| at + 1)];
        if whole.len() != log.len() {
            files::write(&folder.join(file::LOG), whole.as_bytes())?;
        }
        let last = whole.lines().last();
        let previous = last.map_or_else(|| Digest::of(b""), |line| Digest::of(line.as_bytes()));
        let last = last.and_then(|line| serde_json::from_str::<Value>(line).ok());
        let last_at = last.and_then(|line| line["at"].as_str()?.parse().ok()).unwrap_or_default();
        Ok(Recorder {
            folder: folder.to_owned(),
            steps: Table::reopen(folder.join(file::STEPS))?,
            tensor_norms: Table::reopen(folder.join(file::TENSOR_NORMS))?,
            activations: Table::reopen(folder.join(file::ACTIVATIONS))?,
            previous,
            last_at,
        })
    }

    /// The run folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Records a message of the trainer: measurements as rows, all else as events.
    pub fn message(&mut self, message: &Message) -> Result<(), SealError> {
        match message {
            Message::Step(line) => {
                self.steps.add(line)?;
                // A crash loses at most these few rows; the checkpoint they follow is what a resume starts from.
                if line.step.is_multiple_of(16) { self.steps.flush() } else { Ok(()) }
            }
            Message::TensorNorms { rows } => rows.iter().try_for_each(|row| self.tensor_norms.add(row)),
            Message::Activations { rows } => rows.iter().try_for_each(|row| self.activations.add(row)),
            event => {
                self.flush()?;
                let mut body = serde_json::to_value(event).expect("messages are JSON");
                let name = body.as_object_mut().expect("messages are objects").remove("event");
                self.event(name.as_ref().and_then(Value::as_str).unwrap_or("message"), body)
            }
        }
    }

    /// Appends an event to the hash-linked log and syncs it.
    pub fn event(&mut self, name: &str, body: Value) -> Result<(), SealError> {
        self.last_at = self.last_at.max(environment::now());
        let line = json!({
            "at": self.last_at.to_string(),
            "event": name,
            "body": body,
            "previous_sha256": self.previous,
        })
        .to_string();
        files::append_line(&self.folder.join(file::LOG), &line)?;
        self.previous = Digest::of(line.as_bytes());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SealError> {
        self.steps.flush()?;
        self.tensor_norms.flush()?;
        self.activations.flush()
    }

    /// Closes the run: the last line of the log, `record.json`, MANIFEST over every file. Everything is hashed before the
    /// line is written, and the line says what the record will; what a full disk or a kill cuts short after it,
    /// [`Recorder::finish`] makes as it would have been. Gives record and root.
    pub fn seal(mut self, told: Told, mut ended: Ended) -> Result<(Record, Digest), SealError> {
        self.flush()?;
        let digests = self.digests()?;
        let open = files::read(&self.folder.join(file::OPEN))?;
        let open = read_open(&open).map_err(|error| self.unreadable(file::OPEN, error.to_string()))?;
        let named: BTreeSet<&str> = named(&open, &told).chain([file::OPEN, file::RECORD]).collect();
        ended.files = digests.values().filter(|listed| !named.contains(listed.path.as_str())).cloned().collect();
        self.last_at = self.last_at.max(environment::now());
        ended.ended_at = self.last_at.to_string();
        self.event("ended", serde_json::to_value(&ended).expect("plain structs are JSON"))?;
        self.close(digests, pretty(&told.record(open.run, ended)))
    }

    /// Makes the seal of a run whose log says that it has ended: the rest of a seal that was cut short. Nothing if the log
    /// does not say so.
    pub fn finish(&self) -> Result<Option<(Record, Digest)>, SealError> {
        let log = Log::read(&self.folder)?.map_err(|problem| self.unreadable(file::LOG, problem))?;
        let Some(ended) = log.ended else { return Ok(None) };
        let json = match serde_json::from_value::<Ended>(ended) {
            Ok(ended) => {
                let open = files::read(&self.folder.join(file::OPEN))?;
                let open = read_open(&open).map_err(|error| self.unreadable(file::OPEN, error.to_string()))?;
                pretty(&log.told.record(open.run, ended))
            }
            // Before version 4 the log did not say enough: the record may have been written before the seal was cut short.
            Err(_) if files::is_plain_file(&self.folder.join(file::RECORD)) => {
                files::read_to_string(&self.folder.join(file::RECORD))?
            }
            Err(_) => return Ok(None),
        };
        self.close(self.digests()?, json).map(Some)
    }

    /// Writes record and MANIFEST. MANIFEST is staged beforehand, so that the last step is one rename, and a record without
    /// MANIFEST is either about to get it or was robbed of it.
    fn close(&self, mut digests: BTreeMap<String, OutputFile>, record: String) -> Result<(Record, Digest), SealError> {
        let parsed = super::format::read_record(record.as_bytes());
        let parsed = parsed.map_err(|error| self.unreadable(file::RECORD, error.to_string()))?;
        let log = output(&self.folder, file::LOG)?;
        digests.insert(log.path.clone(), log);
        let sha256 = Digest::of(record.as_bytes());
        let size_bytes = record.len() as u64;
        digests.insert(file::RECORD.to_owned(), OutputFile { path: file::RECORD.to_owned(), sha256, size_bytes });
        let manifest: String = digests.values().map(|listed| format!("{}  {}\n", listed.sha256, listed.path)).collect();
        let staged = self.folder.join(file::STAGED_MANIFEST);
        files::write(&staged, manifest.as_bytes())?;
        files::write(&self.folder.join(file::RECORD), record.as_bytes())?;
        files::rename(&staged, &self.folder.join(file::MANIFEST))?;
        Ok((parsed, Digest::of(manifest.as_bytes())))
    }

    /// Every file of the folder but those that the seal itself writes.
    fn digests(&self) -> Result<BTreeMap<String, OutputFile>, SealError> {
        let written = [file::LOG, file::RECORD, file::MANIFEST];
        let paths = files::list_recursive(&self.folder)?.into_iter();
        let paths: Vec<String> = paths.filter(|path| !written.contains(&path.as_str()) && !is_apart(path)).collect();
        let whole: Vec<PathBuf> = paths.iter().map(|path| self.folder.join(path)).collect();
        let mut found = BTreeMap::new();
        for ((path, whole), sha256) in paths.into_iter().zip(&whole).zip(Digest::of_files(&whole)) {
            let listed = OutputFile { path: path.clone(), sha256: sha256?, size_bytes: files::size_bytes(whole)? };
            found.insert(path, listed);
        }
        Ok(found)
    }

    fn unreadable(&self, name: &str, problem: String) -> FileError {
        FileError::new("read", &self.folder.join(name), io::Error::new(io::ErrorKind::InvalidData, problem))
    }
}

fn output(folder: &Path, path: &str) -> Result<OutputFile, FileError> {
    let whole = folder.join(path);
    Ok(OutputFile { path: path.to_owned(), sha256: Digest::of_file(&whole)?, size_bytes: files::size_bytes(&whole)? })
}

/// The files that the plan, or what was told, names by digest.
pub(crate) fn named<'a>(open: &'a Open, told: &'a Told) -> impl Iterator<Item = &'a str> {
    let plan = open.plan.files.iter().map(|planned| planned.copy.as_str());
    let evaluated = told.evaluations.iter().flat_map(|evaluation| &evaluation.files);
    let checkpoints = told.checkpoints.iter().map(|checkpoint| &checkpoint.file);
    let written = evaluated.chain(checkpoints).map(|written| written.path.as_str());
    [file::CONFIG, file::CORPUS_MANIFEST].into_iter().chain(plan).chain(written)
}

/// Never part of a record: its anchors, what a killed write left behind, and what desktops put into folders.
pub(super) fn is_apart(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_anchor = path.strip_prefix(anchors::FOLDER).is_some_and(|rest| rest.starts_with('/'));
    is_anchor || (name.starts_with('.') && name.ends_with(".tmp")) || is_litter(name)
}

/// What desktops put into every folder that they show.
pub(super) fn is_litter(name: &str) -> bool {
    matches!(name, ".DS_Store" | "Thumbs.db" | "desktop.ini") || name.starts_with("._")
}

/// JSON for people: indented, with a final line end.
pub fn pretty<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("plain structs are JSON") + "\n"
}
