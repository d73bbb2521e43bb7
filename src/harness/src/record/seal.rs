//! Writing a run folder: open, log, seal.

use std::fs::File;
use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::contract::Message;
use harness_core::files::{self, FileError};
use harness_core::scores::{StepLine, to_csv};
use serde_json::{Value, json};

use super::environment;
use super::format::{Open, Record, file};

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Writes one run folder. Every event is a line of the hash-linked log, every step a row of `steps.csv`.
pub struct Recorder {
    folder: PathBuf,
    steps: csv::Writer<File>,
    previous: Digest,
}

impl Recorder {
    /// Creates the folder with `open.json` and the files of the plan, all synced, before anything is computed.
    pub fn open(
        folder: &Path,
        open: &Open,
        plan: &[(String, Vec<u8>)],
        inherited: &[StepLine],
    ) -> Result<Self, SealError> {
        files::create_new_folder(folder)?;
        // Nothing has been computed yet: a record that cannot be opened (on a full disk, say) leaves nothing behind.
        Self::fill(folder, open, plan, inherited).inspect_err(|_| drop(files::remove_folder(folder)))
    }

    fn fill(folder: &Path, open: &Open, plan: &[(String, Vec<u8>)], inherited: &[StepLine]) -> Result<Self, SealError> {
        for (path, content) in plan {
            files::write(&folder.join(path), content)?;
        }
        files::write(&folder.join(file::OPEN), pretty(open).as_bytes())?;
        let steps_path = folder.join(file::STEPS);
        files::write(&steps_path, &to_csv(inherited))?;
        // A header is written with the first row, which an inherited table already has.
        let has_headers = inherited.is_empty();
        let steps = csv::WriterBuilder::new().has_headers(has_headers).from_writer(files::open_append(&steps_path)?);
        let mut recorder = Recorder { folder: folder.to_owned(), steps, previous: Digest::of(b"") };
        recorder.event("opened", json!({ "open_sha256": Digest::of_file(&folder.join(file::OPEN))? }))?;
        Ok(recorder)
    }

    /// Takes up a folder whose supervisor died, to seal it.
    pub fn reopen(folder: &Path) -> Result<Self, SealError> {
        let log = files::read_to_string(&folder.join(file::LOG))?;
        // Only whole lines count: the last one may be torn.
        let whole = &log[..log.rfind('\n').map_or(0, |at| at + 1)];
        if whole.len() != log.len() {
            files::write(&folder.join(file::LOG), whole.as_bytes())?;
        }
        let previous = whole.lines().last().map_or_else(|| Digest::of(b""), |line| Digest::of(line.as_bytes()));
        let rows = files::read_to_string(&folder.join(file::STEPS))?;
        let whole = &rows[..rows.rfind('\n').map_or(0, |at| at + 1)];
        if whole.len() != rows.len() {
            files::write(&folder.join(file::STEPS), whole.as_bytes())?;
        }
        let steps = csv::WriterBuilder::new()
            .has_headers(whole.is_empty())
            .from_writer(files::open_append(&folder.join(file::STEPS))?);
        Ok(Recorder { folder: folder.to_owned(), steps, previous })
    }

    /// The run folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Records a message of the trainer: steps as rows, all else as events.
    pub fn message(&mut self, message: &Message) -> Result<(), SealError> {
        if let Message::Step(line) = message {
            return self.step(line);
        }
        self.flush_steps()?;
        let value = serde_json::to_value(message).expect("messages are JSON");
        let name = value["event"].as_str().unwrap_or("message").to_owned();
        let mut body = value;
        body.as_object_mut().expect("messages are objects").remove("event");
        self.event(&name, body)
    }

    /// Appends an event to the hash-linked log and syncs it.
    pub fn event(&mut self, name: &str, body: Value) -> Result<(), SealError> {
        let line = json!({
            "at": environment::now().to_string(),
            "event": name,
            "body": body,
            "previous_sha256": self.previous,
        })
        .to_string();
        files::append_line(&self.folder.join(file::LOG), &line)?;
        self.previous = Digest::of(line.as_bytes());
        Ok(())
    }

    fn step(&mut self, line: &StepLine) -> Result<(), SealError> {
        let failed = |e: std::io::Error| FileError::new("write", &self.folder.join(file::STEPS), e);
        self.steps.serialize(line).map_err(|e| failed(e.into()))?;
        // A crash loses at most these few rows; the checkpoint they follow is what a resume starts from.
        if line.step.is_multiple_of(16) {
            self.flush_steps()?;
        }
        Ok(())
    }

    fn flush_steps(&mut self) -> Result<(), SealError> {
        let path = self.folder.join(file::STEPS);
        Ok(self.steps.flush().map_err(|e| FileError::new("write", &path, e))?)
    }

    /// Closes the run: `record.json`, then MANIFEST over every file. Gives the root.
    pub fn seal(mut self, record: &Record) -> Result<Digest, SealError> {
        self.flush_steps()?;
        let body = json!({ "status": record.status, "failure": record.failure });
        self.event("ended", body)?;
        files::write(&self.folder.join(file::RECORD), pretty(record).as_bytes())?;
        let mut manifest = String::new();
        for path in files::list_recursive(&self.folder)? {
            if path == file::MANIFEST || is_temporary(&path) {
                continue;
            }
            manifest.push_str(&format!("{}  {path}\n", Digest::of_file(&self.folder.join(&path))?));
        }
        files::write(&self.folder.join(file::MANIFEST), manifest.as_bytes())?;
        Ok(Digest::of(manifest.as_bytes()))
    }
}

/// Left behind by a killed write; never part of a record.
pub(super) fn is_temporary(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with('.') && name.ends_with(".tmp")
}

/// JSON for people: indented, with a final line end.
pub fn pretty<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("plain structs are JSON") + "\n"
}
