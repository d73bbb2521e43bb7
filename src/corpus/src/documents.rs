//! Documents between two stages: files with one JSON object a line, so that they stream through in constant memory
//! and a person can look into them.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files::{self, FileError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A document after cleaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanDocument {
    /// Its place in its source, from 0, those removed counted too.
    pub index: u64,
    /// Bytes before cleaning.
    pub raw_bytes: u64,
    /// Digest of `text`.
    pub sha256: Digest,
    /// The text.
    pub text: String,
}

/// A document that a cleaning step removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemovedDocument {
    /// Its place in its source.
    pub index: u64,
    /// Bytes before cleaning.
    pub raw_bytes: u64,
    /// The step.
    pub step: String,
}

/// Writes a value as a line.
pub(crate) fn push_line(lines: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *lines, value).expect("plain structs serialize to memory");
    lines.push(b'\n');
}

/// Writes values one a line.
pub(crate) struct LineWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl LineWriter {
    pub(crate) fn create(path: PathBuf) -> Result<Self, FileError> {
        let file = BufWriter::with_capacity(1 << 18, files::create_new(&path)?);
        Ok(LineWriter { path, file })
    }

    pub(crate) fn push(&mut self, value: &impl Serialize) -> Result<(), FileError> {
        serde_json::to_writer(&mut self.file, value)
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|e| FileError::new("write", &self.path, e))
    }

    /// Writes lines that are ready.
    pub(crate) fn push_lines(&mut self, lines: &[u8]) -> Result<(), FileError> {
        self.file.write_all(lines).map_err(|e| FileError::new("write", &self.path, e))
    }

    /// Writes what is left and syncs it.
    pub(crate) fn finish(self) -> Result<(), FileError> {
        let LineWriter { path, file } = self;
        file.into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .map_err(|e| FileError::new("write", &path, e))
    }
}

/// Reads values back, one a line.
pub(crate) struct LineReader {
    path: PathBuf,
    file: BufReader<File>,
    line: String,
    offset: u64,
}

impl LineReader {
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let file = BufReader::with_capacity(1 << 18, files::open(path)?);
        Ok(LineReader { path: path.to_owned(), file, line: String::new(), offset: 0 })
    }

    /// Where the next line begins, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes to where a line begins.
    pub(crate) fn seek(&mut self, offset: u64) -> Result<(), FileError> {
        self.offset = offset;
        let sought = self.file.seek(SeekFrom::Start(offset));
        sought.map(drop).map_err(|e| FileError::new("read", &self.path, e))
    }

    /// The next line, or `None` after the last.
    pub(crate) fn line(&mut self) -> Result<Option<&str>, FileError> {
        self.line.clear();
        let read = self.file.read_line(&mut self.line).map_err(|e| FileError::new("read", &self.path, e))?;
        self.offset += read as u64;
        Ok((read > 0).then_some(&*self.line))
    }

    /// The next value, or `None` after the last.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FileError> {
        if self.line()?.is_none() {
            return Ok(None);
        }
        serde_json::from_str(&self.line).map(Some).map_err(|e| FileError::new("read", &self.path, e.into()))
    }
}
