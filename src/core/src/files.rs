//! The one door to `std::fs`: every error names its path, and every write is write, sync, rename.
//!
//! Clippy refuses `std::fs` elsewhere (see `.clippy.toml`), so that no file is ever half written under
//! its own name and no I/O error reaches a person without saying which file it was about.
#![expect(clippy::disallowed_methods, reason = "this is the door that the lint points to")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An I/O error with what was tried and on which path.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} `{}`: {source}", path.display())]
pub struct FileError {
    /// What was tried: `read`, `write`, ...
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// Names the path of an I/O error.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        FileError { action, path: path.to_owned(), source }
    }

    /// Whether the file was simply not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the disk was full, or the user's part of it, which callers explain in their own words.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

type Result<T> = std::result::Result<T, FileError>;

fn named<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::new(action, path, source)
}

/// The largest file of its kind that is read as a whole, in bytes: a hundred times what a run of a million steps writes. What
/// has no end or no reason to be so large would take all memory before anything could be said of it. None for weights and
/// other data, which the reader knows the size of.
fn limit_bytes(path: &Path) -> u64 {
    const MIB: u64 = 1 << 20;
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv" | "jsonl" | "log" | "pdf") => 256 * MIB,
        Some("json" | "lock" | "patch" | "svg") => 128 * MIB,
        Some("bib" | "md" | "tera" | "toml" | "typ") => 16 * MIB,
        None if path.ends_with("MANIFEST") => 16 * MIB,
        _ => u64::MAX,
    }
}

/// Refuses a file that is larger than its kind may be.
pub fn check_size(path: &Path) -> Result<()> {
    within_limit(path, size_bytes(path)?)
}

fn within_limit(path: &Path, size: u64) -> Result<()> {
    let limit = limit_bytes(path);
    if size <= limit {
        return Ok(());
    }
    let problem = format!("it has {size} bytes, and no more than {limit} of a file of its kind are read");
    Err(FileError::new("read", path, io::Error::new(io::ErrorKind::FileTooLarge, problem)))
}

/// The whole file, which must be a plain one and no larger than its kind may be.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let file = plain(path, "read")?;
    let size = file.metadata().map_err(named("read", path))?.len();
    within_limit(path, size)?;
    let mut bytes = Vec::new();
    let room = bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX));
    room.map_err(|e| FileError::new("read", path, io::Error::new(io::ErrorKind::OutOfMemory, e)))?;
    // What grows while it is read, as files of the kernel seem to, has the same end.
    file.take(limit_bytes(path).saturating_add(1)).read_to_end(&mut bytes).map_err(named("read", path))?;
    within_limit(path, bytes.len() as u64)?;
    Ok(bytes)
}

/// The whole file as UTF-8.
pub fn read_to_string(path: &Path) -> Result<String> {
    text(path, read(path)?)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| {
        let problem = "stream did not contain valid UTF-8";
        FileError::new("read", path, io::Error::new(io::ErrorKind::InvalidData, problem))
    })
}

/// The whole of a file at a path relative to `root`, where others may have written it: no link leads out of `root`.
pub fn read_below(root: &Path, relative: &str) -> Result<Vec<u8>> {
    let path = root.join(relative);
    let real = |path: &Path| fs::canonicalize(path).map_err(named("read", path));
    if real(&path)?.starts_with(real(root)?) {
        read(&path)
    } else {
        let problem = format!("a link leads out of `{}`: put a copy there", root.display());
        Err(FileError::new("read", &path, io::Error::other(problem)))
    }
}

/// [`read_below`] as UTF-8.
pub fn read_text_below(root: &Path, relative: &str) -> Result<String> {
    text(&root.join(relative), read_below(root, relative)?)
}

/// Opens a plain file for reading: a pipe would be waited for and a device has no end.
pub fn open(path: &Path) -> Result<File> {
    plain(path, "open")
}

fn plain(path: &Path, action: &'static str) -> Result<File> {
    if fs::metadata(path).map_err(named(action, path))?.is_file() {
        File::open(path).map_err(named(action, path))
    } else {
        Err(FileError::new(action, path, io::Error::other("it is not a plain file")))
    }
}

/// Opens a file for appending, creating it if needed.
pub fn open_append(path: &Path) -> Result<File> {
    let is_new = !path.exists();
    let file = OpenOptions::new().create(true).append(true).open(path).map_err(named("open", path))?;
    if is_new {
        sync_folder(path.parent()).map_err(named("sync the folder of", path))?;
    }
    Ok(file)
}

/// Creates a file that must not exist yet, for streams into a folder of one's own that is renamed when complete.
pub fn create_new(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    OpenOptions::new().create_new(true).write(true).open(path).map_err(named("create", path))
}

/// Size in bytes and time of last change in nanoseconds since 1970: what tells a changed file without reading it.
pub fn size_and_change_time(path: &Path) -> Result<(u64, u128)> {
    let metadata = fs::metadata(path).map_err(named("read", path))?;
    let changed = metadata.modified().map_err(named("read", path))?;
    let since_epoch = changed.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok((metadata.len(), since_epoch.as_nanos()))
}

/// Whether there is a file (or a link to one) at `path`.
pub fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file())
}

/// Whether there is a folder at `path`.
pub fn is_folder(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_dir())
}

/// Held by one process at a time; released when dropped, or by the system when the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock, which closing the file releases")] File);

/// Takes the lock at `path` if no other process holds it.
pub fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let file = open_append(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(FileError::new("lock", path, e)),
    }
}

/// Waits until no other process holds the lock at `path`, and takes it. The lock file stays behind, empty.
pub fn lock(path: &Path) -> Result<Lock> {
    let file = open_append(path)?;
    file.lock().map_err(named("lock", path))?;
    Ok(Lock(file))
}

/// Writes `bytes` to `path` atomically: a reader sees the old file or the new one, never a part.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// [`write_by`] with an open file.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>) -> Result<()> {
    write_by(path, |temporary| {
        let mut writer = io::BufWriter::new(File::create(temporary)?);
        fill(&mut writer)?;
        writer.flush()
    })
}

/// Lets `fill` write a temporary neighbour, syncs it, and renames it to `path`. On any error (a full disk, say) the
/// temporary file is removed and `path` is as it was.
pub fn write_by(path: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    let temporary = temporary_neighbour(path);
    let result = (|| {
        fill(&temporary)?;
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(path.parent())
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(named("write", path))
}

/// Moves a finished file or folder to its name, atomically on one file system.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        create_folder(parent)?;
    }
    fs::rename(from, to).and_then(|()| sync_folder(to.parent())).map_err(named("rename", from))
}

/// Copies a file through a temporary neighbour of the target.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut source = open(from)?;
    write_with(to, |target| io::copy(&mut source, target).map(drop))
}

/// Gives a file a second name on the same file system.
pub fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).map_err(named("link", from))
}

/// Creates a folder and its parents; an existing one is fine.
pub fn create_folder(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || is_folder(path) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    match fs::create_dir(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_folder(path) => Ok(()),
        // What is written into it survives the machine only if its own name does.
        made => made.and_then(|()| sync_folder(path.parent())),
    }
    .map_err(named("create folder", path))
}

/// Creates a folder that must not exist yet (for names that have to be unique).
pub fn create_new_folder(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    fs::create_dir(path).map_err(named("create folder", path))
}

/// A folder of one's own where the machine keeps what is temporary, gone with its value.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// Makes it; its name begins with this one.
    pub fn new(name: &str) -> Result<Self> {
        let process = std::process::id();
        let mut count = 0;
        loop {
            let path = std::env::temp_dir().join(format!("{name}-{process}-{count}"));
            match create_new_folder(&path) {
                Err(taken) if taken.source.kind() == io::ErrorKind::AlreadyExists && count < 100 => count += 1,
                made => return made.map(|()| Temporary(path)),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = remove_folder(&self.0);
    }
}

/// Removes a file; a missing one is fine.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes a folder with all it holds; a missing one is fine.
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove folder", path, e)),
        _ => Ok(()),
    }
}

/// Lets whoever may read a file execute it.
pub fn make_executable(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(named("change", path))
}

/// Whether the path is a plain file itself, not a link to one.
pub fn is_plain_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|kind| kind.is_file())
}

/// The size of a file in bytes.
pub fn size_bytes(path: &Path) -> Result<u64> {
    fs::metadata(path).map(|m| m.len()).map_err(named("read", path))
}

/// The names in a folder, sorted; empty if there is no such folder.
pub fn list(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(named("list", path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(named("list", path))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Every file below `folder`, as sorted relative paths with `/`. Symbolic links are listed, not followed.
pub fn list_recursive(folder: &Path) -> Result<Vec<String>> {
    list_where(folder, &|_| true)
}

/// As [`list_recursive`], without what is hidden: whatever has a name that begins with a dot.
pub fn list_visible(folder: &Path) -> Result<Vec<String>> {
    list_where(folder, &|name| !name.starts_with('.'))
}

fn list_where(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<String>> {
    fn walk(folder: &Path, prefix: &str, wanted: &dyn Fn(&str) -> bool, found: &mut Vec<String>) -> Result<()> {
        for name in list(folder)?.into_iter().filter(|name| wanted(name)) {
            let path = folder.join(&name);
            let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let kind = fs::symlink_metadata(&path).map_err(named("read", &path))?;
            if kind.is_dir() {
                walk(&path, &relative, wanted, found)?;
            } else {
                found.push(relative);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, "", wanted, &mut found)?;
    found.sort();
    Ok(found)
}

/// Appends one line to a file and syncs it, for logs that must survive a crash up to their last line. On a full disk nothing
/// of the line stays, so that the next one does not follow a torn one.
pub fn append_line(path: &Path, line: &str) -> Result<()> {
    let mut file = open_append(path)?;
    let before = file.metadata().map_err(named("read", path))?.len();
    let written = file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_data());
    written.inspect_err(|_| drop(file.set_len(before))).map_err(named("append to", path))
}

fn temporary_neighbour(path: &Path) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Makes a rename durable: on Linux the folder's own entry has to be synced too.
fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    let folder = folder.filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value.txt");
        write(&path, b"old").unwrap();
        let error = write_with(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(error.is_disk_full());
        assert_eq!(read(&path).unwrap(), b"old");
        assert_eq!(list(folder.path()).unwrap(), ["value.txt"]);
    }

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("/dev/zero", path("zero.csv")).unwrap();
        for action in [|path: &Path| read(path).map(drop), |path: &Path| open(path).map(drop)] {
            assert!(action(&path("zero.csv")).unwrap_err().to_string().contains("not a plain file"));
            assert!(action(folder.path()).unwrap_err().to_string().contains("not a plain file"));
        }
        // It has no content on the disk, and says that it is large.
        File::create(path("large.toml")).unwrap().set_len(1 << 40).unwrap();
        assert!(read(&path("large.toml")).unwrap_err().to_string().contains("1099511627776 bytes"));
        if Path::new("/proc/self/status").exists() {
            assert!(!read(Path::new("/proc/self/status")).unwrap().is_empty(), "it says that it has no bytes");
        }
    }

    #[test]
    fn no_link_leads_out_of_the_folder_that_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("project");
        write(&root.join("own.typ"), b"own").unwrap();
        write(&folder.path().join("other.typ"), b"other").unwrap();
        std::os::unix::fs::symlink("own.typ", root.join("inside.typ")).unwrap();
        std::os::unix::fs::symlink("../other.typ", root.join("outside.typ")).unwrap();
        assert_eq!(read_text_below(&root, "inside.typ").unwrap(), "own");
        for path in ["outside.typ", "../other.typ"] {
            let refused = read_below(&root, path).unwrap_err().to_string();
            assert!(refused.contains("leads out of"), "{refused}");
        }
        assert!(read_below(&root, "none.typ").unwrap_err().is_not_found());
    }

    #[test]
    fn errors_name_the_path() {
        let error = read(Path::new("no/such/file")).unwrap_err();
        assert!(error.is_not_found());
        assert!(error.to_string().contains("`no/such/file`"), "{error}");
    }
}
