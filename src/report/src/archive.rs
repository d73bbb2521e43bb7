//! An archive that has the same bytes whenever it holds the same files: sorted, without times and owners.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use harness_core::files::{self, FileError};
use harness_core::names::is_inside;
use zip::read::ZipArchive;
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
pub fn write(path: &Path, contents: &BTreeMap<String, Content>) -> Result<(), FileError> {
    let mut failed = None;
    files::write_with(path, |file| {
        let filled = fill(file, contents, &mut failed);
        filled.map_err(|error| match error {
            ZipError::Io(error) => error,
            other => std::io::Error::other(other),
        })
    })
    .map_err(|error| failed.unwrap_or(error))
}

/// How much of an archive is unpacked: the records of thousands of runs. What is more was made to fill a disk.
const MOST_FILES: usize = 200_000;
const MOST_BYTES: u64 = 8 << 30;

/// Unpacks a .zip into a folder of one's own. Its files lie in it and nowhere else, and none is a link.
pub fn unpack(archive: &Path, folder: &Path) -> Result<(), FileError> {
    let wrong = |problem: String| FileError::new("unpack", archive, std::io::Error::other(problem));
    let mut zip = ZipArchive::new(files::open(archive)?).map_err(|error| wrong(error.to_string()))?;
    if zip.len() > MOST_FILES {
        return Err(wrong(format!("it has more than {MOST_FILES} files")));
    }
    let mut left = MOST_BYTES;
    for at in 0..zip.len() {
        let entry = zip.by_index(at).map_err(|error| wrong(error.to_string()))?;
        let name = entry.name().to_owned();
        if entry.is_dir() && is_inside(name.trim_end_matches('/')) {
            continue;
        }
        let is_link = entry.unix_mode().is_some_and(|mode| mode & 0o170_000 == 0o120_000);
        if !is_inside(&name) || is_link {
            return Err(wrong(format!("`{name}` in it is no plain file below its folder")));
        }
        let path = folder.join(&name);
        files::create_folder(path.parent().unwrap_or(folder))?;
        let mut file = files::create_new(&path)?;
        // The size that an entry has is not the one that it says.
        let copied = std::io::copy(&mut entry.take(left + 1), &mut file);
        left = match copied.map(|copied| left.checked_sub(copied)) {
            Ok(Some(left)) => left,
            Ok(None) => return Err(wrong(format!("it unpacks to more than {} GiB", MOST_BYTES >> 30))),
            Err(error) => return Err(wrong(format!("`{name}`: {error}"))),
        };
    }
    Ok(())
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
        write(&first, &contents).unwrap();
        files::write(&own, b"text").unwrap();
        write(&second, &contents).unwrap();
        let bytes = files::read(&first).unwrap();
        assert_eq!(bytes, files::read(&second).unwrap());
        let mut zip = ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        assert_eq!(zip.file_names().collect::<std::collections::BTreeSet<_>>(), ["a.txt", "b/own.txt"].into());
        assert_eq!(zip.by_index(0).unwrap().last_modified().year(), 1980, "no time of the day when it was packed");
        assert_eq!(std::io::read_to_string(zip.by_name("b/own.txt").unwrap()).unwrap(), "text");
        unpack(&second, &folder.path().join("out")).unwrap();
        assert_eq!(files::list_recursive(&folder.path().join("out")).unwrap(), ["a.txt", "b/own.txt"]);
        let missing = BTreeMap::from([("x".to_owned(), Content::File(folder.path().join("gone")))]);
        assert!(write(&first, &missing).unwrap_err().to_string().contains("gone"));
    }

    #[test]
    fn nothing_is_unpacked_beside_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        type Written = ZipWriter<std::io::Cursor<Vec<u8>>>;
        let refused = |fill: &dyn Fn(&mut Written)| {
            let path = folder.path().join("hostile.zip");
            let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
            fill(&mut zip);
            files::write(&path, zip.finish().unwrap().get_ref()).unwrap();
            unpack(&path, &folder.path().join("out")).unwrap_err().to_string()
        };
        for name in ["../outside", "/outside", "a/../../outside", "a\\..\\outside", ""] {
            let said = refused(&|zip| {
                zip.start_file(name, FileOptions::default()).unwrap();
                zip.write_all(b"x").unwrap();
            });
            assert!(said.contains("no plain file below its folder"), "{name}: {said}");
        }
        let said = refused(&|zip| zip.add_symlink("link", "/etc/passwd", FileOptions::default()).unwrap());
        assert!(said.contains("`link` in it"), "{said}");
        assert!(!folder.path().join("outside").exists());
        let own = folder.path().join("text");
        files::write(&own, b"no archive").unwrap();
        assert!(unpack(&own, folder.path()).is_err());
    }
}
