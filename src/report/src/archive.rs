//! An archive that has the same bytes whenever it holds the same files: sorted, without times and owners.

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use harness_core::files::{self, FileError};
use zip::result::ZipError;
use zip::write::{FileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

/// What a file of the archive holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// The bytes of this file.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Content {
    /// The bytes.
    pub fn read(&self) -> Result<Vec<u8>, FileError> {
        match self {
            Content::File(path) => files::read(path),
            Content::Bytes(bytes) => Ok(bytes.clone()),
        }
    }
}

/// Writes a .zip of files by their names in it.
pub fn write(path: &Path, contents: BTreeMap<String, Content>) -> Result<(), FileError> {
    let mut failed = None;
    files::write_with(path, |file| {
        let filled = fill(file, &contents, &mut failed);
        filled.map_err(|error| match error {
            ZipError::Io(error) => error,
            other => std::io::Error::other(other),
        })
    })
    .map_err(|error| failed.unwrap_or(error))
}

fn fill(
    file: impl Write + Seek,
    contents: &BTreeMap<String, Content>,
    failed: &mut Option<FileError>,
) -> Result<(), ZipError> {
    // 1980, where the format begins: what an entry has by itself is today, where the library is built with a clock.
    let options = FileOptions::default()
        .last_modified_time(DateTime::default())
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(6))
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(file);
    for (name, content) in contents {
        let bytes = content.read().map_err(|error| {
            let told = std::io::Error::other(error.to_string());
            *failed = Some(error);
            ZipError::Io(told)
        })?;
        zip.start_file(name, options.large_file(u32::try_from(bytes.len()).is_err()))?;
        zip.write_all(&bytes)?;
    }
    zip.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        files::write(&own, b"text").unwrap();
        let contents = BTreeMap::from([
            ("b/own.txt".to_owned(), Content::File(own.clone())),
            ("a.txt".to_owned(), Content::Bytes(b"other".to_vec())),
        ]);
        let [first, second] = ["1.zip", "2.zip"].map(|name| folder.path().join(name));
        write(&first, contents.clone()).unwrap();
        files::write(&own, b"text").unwrap();
        write(&second, contents).unwrap();
        let bytes = files::read(&first).unwrap();
        assert_eq!(bytes, files::read(&second).unwrap());
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        assert_eq!(zip.file_names().collect::<std::collections::BTreeSet<_>>(), ["a.txt", "b/own.txt"].into());
        assert_eq!(zip.by_index(0).unwrap().last_modified().year(), 1980, "no time of the day when it was packed");
        assert_eq!(std::io::read_to_string(zip.by_name("b/own.txt").unwrap()).unwrap(), "text");
        let missing = BTreeMap::from([("x".to_owned(), Content::File(folder.path().join("gone")))]);
        assert!(write(&first, missing).unwrap_err().to_string().contains("gone"));
    }
}
