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
use serde::de::DeserializeOwned;
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

    /// Takes up a table whose writer died. Rows count up to the first that is none: the last may be torn, and of what was not
    /// synced when a machine died any part may be missing.
    fn reopen<T: DeserializeOwned>(path: PathBuf) -> Result<Self, SealError> {
        if files::is_file(&path) {
            let rows = files::read(&path)?;
            let whole = whole_rows::<T>(&rows);
            if whole != rows.len() {
                files::write(&path, &rows[..whole])?;
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

    /// Flushes, and waits until the rows would survive the machine.
    fn sync(&mut self) -> Result<(), SealError> {
        self.flush()?;
        let synced = self.writer.as_ref().map_or(Ok(()), |writer| writer.get_ref().sync_data());
        Ok(synced.map_err(|e| FileError::new("sync", &self.path, e))?)
    }
}

/// Bytes of the whole rows at the beginning of a table, with its header.
fn whole_rows<T: DeserializeOwned>(rows: &[u8]) -> usize {
    let lines = &rows[..rows.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)];
    let mut reader = csv::Reader::from_reader(lines);
    let Ok(header) = reader.headers().cloned() else { return 0 };
    let (mut row, mut whole) = (csv::StringRecord::new(), reader.position().byte());
    while reader.read_record(&mut row).is_ok_and(|is_there| is_there) && row.deserialize::<T>(Some(&header)).is_ok() {
        whole = reader.position().byte();
    }
    whole as usize
}

/// The whole lines at the beginning of a log. Each was synced before the next was begun, so that only the last can be torn, or
/// no line at all.
fn whole_lines(log: &[u8]) -> &[u8] {
    let whole = &log[..log.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)];
    let last = whole.split_inclusive(|&byte| byte == b'\n').next_back().unwrap_or_default();
    let is_line = serde_json::from_slice::<Value>(last).is_ok_and(|line| line.is_object());
    if is_line { whole } else { &whole[..whole.len() - last.len()] }
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
        let named = Self::fill(&unnamed, open, plan, inherited).and_then(|last| {
            files::rename(&unnamed, folder)?;
            Ok(last)
        });
        // Nothing has been computed yet: a record that cannot be opened (on a full disk, say) leaves nothing behind.
        let (previous, last_at) = named.inspect_err(|_| drop(files::remove_folder(&unnamed)))?;
        let table = |name: &str| Table { path: folder.join(name), writer: None };
        Ok(Recorder {
            folder: folder.to_owned(),
            steps: table(file::STEPS),
            tensor_norms: table(file::TENSOR_NORMS),
            activations: table(file::ACTIVATIONS),
            previous,
            last_at,
        })
    }

    /// Gives digest and time of the last line of the log.
    fn fill(
        folder: &Path,
        open: &Open,
        plan: &[(String, Vec<u8>)],
        inherited: &Inherited,
    ) -> Result<(Digest, Timestamp), SealError> {
        for (path, content) in plan {
            files::write(&folder.join(path), content)?;
        }
        files::write(&folder.join(file::IGNORED), b"# Until the run is sealed.\n*\n")?;
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
        Ok((recorder.previous, recorder.last_at))
    }

    /// Takes up a folder whose supervisor died, to seal it.
    pub fn reopen(folder: &Path) -> Result<Self, SealError> {
        let log = files::read(&folder.join(file::LOG))?;
        let whole = whole_lines(&log);
        if whole.len() != log.len() {
            files::write(&folder.join(file::LOG), whole)?;
        }
        let last = whole.trim_ascii_end().split(|&byte| byte == b'\n').next_back().unwrap_or_default();
        let previous = Digest::of(last);
        let last = serde_json::from_slice::<Value>(last).ok();
        let last_at = last.and_then(|line| line["at"].as_str()?.parse().ok()).unwrap_or_default();
        Ok(Recorder {
            folder: folder.to_owned(),
            steps: Table::reopen::<StepLine>(folder.join(file::STEPS))?,
            tensor_norms: Table::reopen::<TensorNorms>(folder.join(file::TENSOR_NORMS))?,
            activations: Table::reopen::<ActivationStatistics>(folder.join(file::ACTIVATIONS))?,
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
                if matches!(event, Message::Checkpoint(_)) {
                    // The line in the log is what makes the checkpoint count, so all that belongs to it is on the disk before.
                    [&mut self.steps, &mut self.tensor_norms, &mut self.activations]
                        .into_iter()
                        .try_for_each(Table::sync)?;
                }
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
        // What a killed trainer was writing is as large as a checkpoint, and nobody's.
        for path in files::list_recursive(&self.folder)?.iter().filter(|path| is_half_written(path)) {
            files::remove(&self.folder.join(path))?;
        }
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
        files::remove(&self.folder.join(file::IGNORED))?;
        files::rename(&staged, &self.folder.join(file::MANIFEST))?;
        Ok((parsed, Digest::of(manifest.as_bytes())))
    }

    /// Every file of the folder but those that the seal itself writes.
    fn digests(&self) -> Result<BTreeMap<String, OutputFile>, SealError> {
        let written = [file::LOG, file::RECORD, file::MANIFEST, file::IGNORED];
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
    is_anchor || is_half_written(path) || is_litter(name)
}

/// What a killed write left behind ([`files::write`]).
fn is_half_written(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with('.') && name.ends_with(".tmp")
}

/// What desktops put into every folder that they show.
pub(super) fn is_litter(name: &str) -> bool {
    matches!(name, ".DS_Store" | "Thumbs.db" | "desktop.ini") || name.starts_with("._")
}

/// JSON for people: indented, with a final line end.
pub fn pretty<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("plain structs are JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_table_the_rows_before_the_first_that_is_none_are_whole() {
        let rows: Vec<StepLine> = (1..4).map(|step| StepLine { step, ..StepLine::default() }).collect();
        let table = to_csv(&rows);
        let whole = |bytes: &[u8]| whole_rows::<StepLine>(bytes);
        assert_eq!((whole(b""), whole(&table)), (0, table.len()));
        let [header, first, second] = [0, 1, 2].map(|rows| {
            let ends = table.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
            ends.collect::<Vec<_>>()[rows]
        });
        assert_eq!((whole(&table[..header]), whole(&table[..header - 1])), (header, 0));
        assert_eq!(whole(&table[..table.len() - 1]), second, "a row without its line end may have lost digits");
        // A block that was never written reads as zeros, whether the line end after it was written or not.
        for hole in [second..table.len(), second..table.len() - 1, first + 1..second + 1] {
            let mut holed = table.clone();
            let from = if hole.start == second { second } else { first };
            holed[hole].fill(0);
            assert_eq!(whole(&holed), from);
        }
    }

    #[test]
    fn of_a_log_only_the_last_line_may_be_none() {
        let log = b"{\"event\":\"opened\"}\n{\"event\":\"started\"}\n";
        let first = 19;
        assert_eq!(whole_lines(log), log);
        for torn in [log.len() - 1, log.len() - 5, first + 1] {
            assert_eq!(whole_lines(&log[..torn]), &log[..first]);
        }
        let mut holed = log.to_vec();
        holed[first..first + 8].fill(0);
        assert_eq!(whole_lines(&holed), &log[..first]);
        assert_eq!(whole_lines(b""), b"");
    }
}
