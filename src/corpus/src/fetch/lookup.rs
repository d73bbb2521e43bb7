//! Looks up which files the patterns of a recipe stand for, for its lock file. What is looked at is kept in the store
//! at once, so that a file is read once and the lock file never names bytes that nobody has.

use super::hub::{HubFile, KnownBy};
use super::{FetchError, Fetcher};
use crate::recipe::{Hub, ListedSource, LockFile, LockedFile, Pattern, UnlockedRecipe, compiled};
use crate::remote::Remote;
use harness_core::digest::{Digest, Hasher};
use std::io::{BufReader, Read};
use std::path::Path;

use harness_core::files::{self, FileError};

use crate::progress::{Progress, Unit};
use crate::store::Store;
use crate::unpack::{MAGIC_BYTES, Packing, each_piece};

impl Fetcher {
    /// The lock file that a recipe needs: what `lock` has for its patterns, and what is looked up now for those that
    /// it lacks; with `update`, for all of them.
    pub fn look_up(
        &self,
        recipe: &UnlockedRecipe,
        lock: &LockFile,
        update: bool,
        progress: &mut dyn Progress,
    ) -> Result<LockFile, FetchError> {
        let mut found = LockFile::default();
        for (name, pattern) in recipe.patterns() {
            let listed = match (lock.sources.get(name).filter(|l| !update && l.pattern == pattern), &pattern) {
                (Some(listed), Pattern::Path(path)) => {
                    if let Some(difference) = difference(recipe.root(), path, listed)? {
                        progress.note(&format!(
                            "{name}: {difference} since its files were looked up; `harness data fetch {} --update` takes that in",
                            recipe.name()
                        ));
                    }
                    listed.clone()
                }
                (Some(listed), Pattern::Hub(_)) => listed.clone(),
                (None, Pattern::Path(path)) => {
                    self.files_of_project(recipe.root(), name, path, pattern.clone(), progress)?
                }
                (None, Pattern::Hub(hub)) => self.files_of_hub(name, hub, pattern.clone(), progress)?,
            };
            found.sources.insert(name.to_owned(), listed);
        }
        Ok(found)
    }

    fn files_of_project(
        &self,
        root: &Path,
        name: &str,
        path: &str,
        pattern: Pattern,
        progress: &mut dyn Progress,
    ) -> Result<ListedSource, FetchError> {
        let paths = matching(root, path)?;
        if paths.is_empty() {
            let hint =
                "paths begin at the project's folder; `*` stays within one folder, `**` goes through all".to_owned();
            let (name, place) = (name.to_owned(), "the project".to_owned());
            return Err(FetchError::NothingMatches { name, place, pattern: path.to_owned(), hint });
        }
        let sizes = paths.iter().map(|path| files::size_bytes(&root.join(path))).sum::<Result<u64, _>>()?;
        progress.begin(&format!("look up {name}"), Some(sizes), Unit::Bytes);
        let mut listed = Vec::new();
        for path in paths {
            let whole = root.join(&path);
            let packing = packing_of(&whole)?;
            let kept = self.store().keep(BufReader::new(files::open(&whole)?), packing);
            let (sha256, bytes) = kept.map_err(|e| unpacked_or(&path, &whole, e))?;
            progress.advance(files::size_bytes(&whole)?);
            listed.push(LockedFile { path, sha256, bytes, packing });
        }
        progress.end();
        Ok(ListedSource { pattern, commit: None, files: listed })
    }

    fn files_of_hub(
        &self,
        name: &str,
        hub: &Hub,
        pattern: Pattern,
        progress: &mut dyn Progress,
    ) -> Result<ListedSource, FetchError> {
        let listing = self.list(hub, progress)?;
        let matcher = compiled(&hub.files).expect("was checked with the recipe");
        let (mut matched, others): (Vec<HubFile>, Vec<HubFile>) =
            listing.files.into_iter().partition(|file| matcher.is_match(&file.path));
        matched.sort_by(|a, b| a.path.cmp(&b.path));
        if matched.is_empty() {
            let some: Vec<String> = others.iter().take(20).map(|file| format!("`{}`", file.path)).collect();
            let hint = format!("its files: {}{}", some.join(", "), if others.len() > 20 { ", ..." } else { "" });
            let place = format!("the data set `{}` at `{}`", hub.dataset, hub.revision);
            let (name, pattern) = (name.to_owned(), hub.files.clone());
            return Err(FetchError::NothingMatches { name, place, pattern, hint });
        }
        let (mut listed, mut packed) = (Vec::new(), Vec::new());
        for HubFile { path, bytes, known_by } in matched {
            let packing = Packing::of_name(&path);
            let url = Some(hub.address(&listing.commit, &path));
            let file = match (known_by, packing) {
                // The rest is left to the fetching: the digest of the content is known.
                (KnownBy::Sha256(sha256), Packing::None) => LockedFile { path, sha256, bytes, packing },
                (KnownBy::Sha256(sha256), _) => {
                    let called = format!("{name}/{path}");
                    let remote = Remote { name: called, url, path: None, sha256, bytes, packing: Packing::None };
                    let at = self.fetch(std::slice::from_ref(&remote), progress)?.remove(0).path;
                    let kept = self.store().keep(BufReader::new(files::open(&at)?), packing);
                    packed.push(at.clone());
                    let (sha256, bytes) = kept.map_err(|e| unpacked_or(&remote.name, &at, e))?;
                    LockedFile { path, sha256, bytes, packing }
                }
                (KnownBy::GitBlob(blob), packing) => {
                    let called = format!("{name}/{path}");
                    let content = self.small(&called, url.as_deref().unwrap_or_default(), bytes, &blob, progress)?;
                    let kept = self.store().keep(&content[..], packing);
                    let (sha256, bytes) = kept.map_err(|e| unpacked_or(&called, Path::new(&path), e))?;
                    LockedFile { path, sha256, bytes, packing }
                }
            };
            listed.push(file);
        }
        // What they hold is kept without its packing.
        packed.iter().try_for_each(|path| files::remove(path))?;
        Ok(ListedSource { pattern, commit: Some(listing.commit), files: listed })
    }
}

/// The files below `root` that a pattern stands for, sorted. As in a shell, `*` stands for no hidden ones.
fn matching(root: &Path, pattern: &str) -> Result<Vec<String>, FileError> {
    let fixed: Vec<&str> = pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '{'])).collect();
    if fixed.len() == pattern.split('/').count() {
        return Ok(if files::is_file(&root.join(pattern)) { vec![pattern.to_owned()] } else { Vec::new() });
    }
    let folder = fixed.join("/");
    let matcher = compiled(pattern).expect("was checked with the recipe");
    let named = |path: String| if folder.is_empty() { path } else { format!("{folder}/{path}") };
    let below = files::list_visible(&root.join(&folder))?.into_iter().map(named);
    Ok(below.filter(|path| matcher.is_match(path) && files::is_file(&root.join(path))).collect())
}

/// What has changed in the folder since the pattern was looked up, as far as that can be seen without reading files.
fn difference(root: &Path, pattern: &str, listed: &ListedSource) -> Result<Option<String>, FileError> {
    let now = matching(root, pattern)?;
    let known = |path: &String| listed.files.iter().any(|file| file.path == *path);
    let new = now.iter().filter(|path| !known(path)).count();
    let gone = listed.files.iter().filter(|file| !now.contains(&file.path)).count();
    let plain = listed.files.iter().filter(|file| file.packing == Packing::None && now.contains(&file.path));
    let sizes = plain.map(|file| Ok(u64::from(files::size_bytes(&root.join(&file.path))? != file.bytes)));
    let resized = sizes.sum::<Result<u64, FileError>>()?;
    let parts = [(new as u64, "are new"), (gone as u64, "are gone"), (resized, "have another size")];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    Ok((!parts.is_empty()).then(|| parts.join(", ")))
}

fn packing_of(path: &Path) -> Result<Packing, FileError> {
    let mut first = Vec::new();
    files::open(path)?.take(MAGIC_BYTES).read_to_end(&mut first).map_err(|e| FileError::new("read", path, e))?;
    Ok(Packing::of(&first))
}

/// An error of keeping a file is one of the store, or of the packing of what was read.
fn unpacked_or(name: &str, path: &Path, error: FileError) -> FetchError {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    if matches!(error.source.kind(), InvalidData | InvalidInput | UnexpectedEof) {
        let (name, url, problem) = (name.to_owned(), path.display().to_string(), error.source.to_string());
        return FetchError::Unpack { name, url, problem };
    }
    error.into()
}

impl Store {
    /// Keeps the content of a stream, without its packing; gives back its digest and size.
    fn keep(&self, stream: impl Read, packing: Packing) -> Result<(Digest, u64), FileError> {
        let draft = self.draft()?;
        let path = draft.path("content");
        let (mut hasher, mut bytes) = (Hasher::new(), 0);
        files::write_with(&path, |file| {
            use std::io::Write;
            each_piece(packing.reader(stream), |piece| {
                hasher.update(piece);
                bytes += piece.len() as u64;
                file.write_all(piece)
            })
        })?;
        let sha256 = hasher.finish();
        files::rename(&path, &self.download(&sha256))?;
        Ok((sha256, bytes))
    }
}
