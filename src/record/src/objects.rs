//! Objects of a repository that somebody else may have made: they are read once it is known that they are whole and how large they
//! are. libgit2 (1.9) waits for ever for the rest of a loose object that was cut short, opens pipes, and takes as much
//! memory as an object says that it has bytes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;
use git2::{ErrorCode, ObjectType, Oid, Repository, Tree};
use harness_core::files;

use crate::git_error::GitError;

/// The most bytes of an object that is read: a config, a source or a folder has some thousand.
const OBJECT_BYTES: u64 = 64 << 20;
/// The most bytes of a file that lists references, settings or what is staged.
const LISTED_BYTES: u64 = 256 << 20;
/// The most entries of folders that are looked at below one.
const ENTRIES: usize = 200_000;
/// The deepest folder.
const DEPTH: usize = 64;
/// The most commits that are walked over.
const COMMITS: usize = 1_000_000;

/// Which objects may be read.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// Folders with loose objects.
    folders: Vec<PathBuf>,
    whole: RefCell<BTreeSet<Oid>>,
}

/// A file as a folder of a commit lists it.
pub(crate) struct Blob {
    pub path: String,
    pub id: Oid,
    /// What it is: a plain file, one that can be executed, a link.
    pub mode: i32,
}

fn broken(what: impl Into<String>, problem: impl Into<String>) -> GitError {
    GitError::Broken { what: what.into(), problem: problem.into() }
}

impl Objects {
    pub(crate) fn of(repository: &Repository) -> Result<Self, GitError> {
        let own = repository.commondir().join("objects");
        let listed = own.join("info/alternates");
        let mut folders = vec![own.clone()];
        if files::is_file(&listed) {
            let text = files::read_to_string(&listed).map_err(|e| broken("the list of alternates", e.to_string()))?;
            folders.extend(text.lines().filter(|line| !line.starts_with('#')).map(|line| own.join(line)));
        }
        Ok(Objects { folders, whole: RefCell::default() })
    }

    /// Lets an object be read if it is whole and not too large. Of one that is not here nothing is said.
    fn check(&self, repository: &Repository, id: Oid) -> Result<(), GitError> {
        if self.whole.borrow().contains(&id) {
            return Ok(());
        }
        let name = id.to_string();
        for folder in &self.folders {
            let path = folder.join(&name[..2]).join(&name[2..]);
            if path.exists() {
                is_whole(&path).map_err(|e| broken(format!("object {name}"), e.to_string()))?;
            }
        }
        match repository.odb()?.read_header(id) {
            Ok((size, _)) if size as u64 > OBJECT_BYTES => {
                return Err(broken(format!("object {name}"), too_large(size)));
            }
            Err(error) if error.code() != ErrorCode::NotFound => {
                return Err(broken(format!("object {name}"), error.message()));
            }
            _ => {}
        }
        self.whole.borrow_mut().insert(id);
        Ok(())
    }

    /// A commit; none if it is not here.
    pub(crate) fn commit<'r>(&self, repository: &'r Repository, id: Oid) -> Result<Option<git2::Commit<'r>>, GitError> {
        self.check(repository, id)?;
        match repository.find_commit(id) {
            Err(error) if error.code() == ErrorCode::NotFound && repository.odb()?.exists(id) => {
                Err(broken(format!("commit {id}"), "it is here, and cannot be read"))
            }
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    pub(crate) fn tree<'r>(&self, repository: &'r Repository, id: Oid) -> Result<Tree<'r>, GitError> {
        self.check(repository, id)?;
        Ok(repository.find_tree(id)?)
    }

    pub(crate) fn content(&self, repository: &Repository, id: Oid) -> Result<Vec<u8>, GitError> {
        self.check(repository, id)?;
        Ok(repository.find_blob(id)?.content().to_vec())
    }

    /// What a folder holds at a path, `/` between its parts.
    pub(crate) fn entry(&self, repository: &Repository, tree: Oid, path: &str) -> Result<Option<Oid>, GitError> {
        let mut found = (tree, Some(ObjectType::Tree));
        for part in path.split('/') {
            if found.1 != Some(ObjectType::Tree) {
                return Ok(None);
            }
            let tree = self.tree(repository, found.0)?;
            let Some(entry) = tree.get_name(part) else { return Ok(None) };
            found = (entry.id(), entry.kind());
        }
        Ok(Some(found.0))
    }

    /// Every file below a folder with its path, which `prefix` begins.
    pub(crate) fn files_below(&self, repository: &Repository, tree: Oid, prefix: &str) -> Result<Vec<Blob>, GitError> {
        let (mut found, mut looked_at) = (Vec::new(), 0);
        let mut folders = vec![(tree, prefix.to_owned(), 0)];
        while let Some((tree, prefix, depth)) = folders.pop() {
            for entry in &self.tree(repository, tree)? {
                looked_at += 1;
                let path = format!("{prefix}{}", String::from_utf8_lossy(entry.name_bytes()));
                if looked_at > ENTRIES || depth > DEPTH {
                    let problem = format!("it holds more than {ENTRIES} entries, or folders deeper than {DEPTH}");
                    return Err(broken(format!("folder `{prefix}`"), problem));
                }
                match entry.kind() {
                    Some(ObjectType::Tree) => folders.push((entry.id(), format!("{path}/"), depth + 1)),
                    Some(ObjectType::Blob) => found.push(Blob { path, id: entry.id(), mode: entry.filemode() }),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// Looks at every commit behind one, so that libgit2 can walk over them.
    pub(crate) fn history(&self, repository: &Repository, tip: Oid) -> Result<(), GitError> {
        let (mut seen, mut left) = (BTreeSet::from([tip]), vec![tip]);
        while let Some(id) = left.pop() {
            check_count(seen.len())?;
            // A shallow clone ends before the first commit.
            let Some(commit) = self.commit(repository, id)? else { continue };
            left.extend(commit.parent_ids().filter(|parent| seen.insert(*parent)));
        }
        Ok(())
    }
}

/// Lets no more commits be walked over than a history has.
pub(crate) fn check_count(commits: usize) -> Result<(), GitError> {
    let problem = || broken("the history", format!("it has more than {COMMITS} commits"));
    if commits > COMMITS { Err(problem()) } else { Ok(()) }
}

fn too_large(size: impl std::fmt::Display) -> String {
    format!("it has {size} bytes, and no object of more than {} MiB is read", OBJECT_BYTES >> 20)
}

/// Whether a loose object holds as many bytes as it says.
fn is_whole(path: &Path) -> io::Result<()> {
    let wrong = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, problem);
    let file = files::open(path).map_err(|e| e.source)?;
    let mut content = io::BufReader::new(ZlibDecoder::new(file));
    let mut header = Vec::new();
    io::BufRead::read_until(&mut (&mut content).take(64), 0, &mut header)?;
    let text = std::str::from_utf8(&header).ok().and_then(|text| text.strip_suffix('\0'));
    let size = text.and_then(|text| text.split_once(' ')?.1.parse::<u64>().ok());
    let size = size.ok_or_else(|| wrong("it does not begin as an object does"))?;
    if size > OBJECT_BYTES {
        return Err(wrong(&too_large(size)));
    }
    match io::copy(&mut content.take(size + 1), &mut io::sink()) {
        Ok(found) if found == size => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(wrong("it is cut short")),
        Ok(_) => Err(wrong("it is cut short, or longer than it says")),
        Err(error) => Err(error),
    }
}

/// Refuses a repository in which a file that git reads at once is no plain file.
pub(crate) fn check_files(start: &Path) -> Result<(), GitError> {
    let Some(folder) = start.ancestors().map(|folder| folder.join(".git")).find(|git| git.exists()) else {
        return Ok(());
    };
    let wrong = |path: &Path, problem: &str| Err(broken(path.display().to_string(), problem));
    let plain = |path: &Path| match path.exists() {
        true if !files::is_file(path) => wrong(path, "it is not a plain file"),
        // libgit2 reads them whole, and packs and the lists of packs by parts.
        true if !is_of_pack(path) && files::size_bytes(path).is_ok_and(|size| size > LISTED_BYTES) => {
            wrong(path, &format!("it has more than {} MiB", LISTED_BYTES >> 20))
        }
        _ => Ok(()),
    };
    if !folder.is_dir() {
        return plain(&folder);
    }
    for name in ["HEAD", "config", "config.worktree", "commondir", "index", "packed-refs", "shallow"] {
        plain(&folder.join(name))?;
    }
    for name in ["info/attributes", "info/exclude", "objects/info/alternates"] {
        plain(&folder.join(name))?;
    }
    let failed = |e: files::FileError| broken(folder.display().to_string(), e.to_string());
    let config = folder.join("config");
    let text = if config.exists() { files::read(&config).map_err(failed)? } else { Vec::new() };
    for line in String::from_utf8_lossy(&text).lines() {
        if let Some(included) = line.trim().strip_prefix("path").and_then(|rest| rest.trim().strip_prefix('=')) {
            plain(&folder.join(included.trim().trim_matches('"')))?;
        }
    }
    for below in ["refs", "objects/pack"] {
        for name in files::list_recursive(&folder.join(below)).map_err(failed)? {
            plain(&folder.join(below).join(name))?;
        }
    }
    Ok(())
}

fn is_of_pack(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("objects/pack"))
}

/// Refuses attributes on the way to a path that would be waited for.
pub(crate) fn check_attributes(root: &Path, path: &str) -> Result<(), GitError> {
    let whole = root.join(path);
    let on_the_way = whole.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    for attributes in on_the_way.map(|folder| folder.join(".gitattributes")) {
        let is_too_large = || files::size_bytes(&attributes).is_ok_and(|size| size > LISTED_BYTES);
        if attributes.exists() && (!files::is_file(&attributes) || is_too_large()) {
            return Err(broken(attributes.display().to_string(), "it is not a plain file of some lines"));
        }
    }
    Ok(())
}
