//! The whole lines that a growing file has gained.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use harness_core::files::{self, FileError};

/// A file that another process appends to.
pub(super) struct Tail {
    path: PathBuf,
    /// Bytes taken in as whole lines.
    read: u64,
}

impl Tail {
    pub(super) fn of(path: PathBuf) -> Self {
        Tail { path, read: 0 }
    }

    /// Lines that were ended since the last call; what stands behind the last line end waits. A file that is not there
    /// has none.
    pub(super) fn new_lines(&mut self) -> Result<Vec<String>, FileError> {
        if !files::is_file(&self.path) {
            return Ok(Vec::new());
        }
        let mut file = files::open(&self.path)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.read))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(|e| FileError::new("read", &self.path, e))?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.read += whole as u64;
        let text = String::from_utf8_lossy(&bytes[..whole]);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_waits_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("steps.csv");
        let mut tail = Tail::of(path.clone());
        assert!(tail.new_lines().unwrap().is_empty());
        for (grown, expected) in [("a,b\n1,", vec!["a,b"]), ("2\n3,4\n5", vec!["1,2", "3,4"]), ("", vec![])] {
            let before = files::read_to_string(&path).unwrap_or_default();
            files::write(&path, format!("{before}{grown}").as_bytes()).unwrap();
            assert_eq!(tail.new_lines().unwrap(), expected);
        }
    }
}
