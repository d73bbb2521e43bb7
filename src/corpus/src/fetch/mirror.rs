//! A mirror: a folder that somebody filled with files, under whatever names, packed or not. Files are found in it by
//! the digest of their content. The index of digests is kept in the store, and a file is read again only when its
//! size or time of change has changed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use harness_core::digest::{Digest, Hasher};
use harness_core::files::{self, FileError};
use serde::{Deserialize, Serialize};

use crate::progress::{Progress, Unit};
use crate::store::Store;
use crate::unpack::{MAGIC_BYTES, Packing, each_piece};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    size_bytes: u64,
    changed_ns: u128,
    /// Digest of the content without its packing.
    content: Digest,
    /// Digest of the bytes as they lie there, where they are packed.
    packed: Option<Digest>,
}

/// The files of a mirror by content.
#[derive(Debug)]
pub(crate) struct Mirror {
    folder: PathBuf,
    entries: BTreeMap<String, Entry>,
}

impl Mirror {
    /// Brings the index of `folder` up to date.
    pub(super) fn index(folder: &Path, store: &Store, progress: &mut dyn Progress) -> Result<Self, FileError> {
        let name = format!("mirror-{}.json", Digest::of(folder.as_os_str().as_encoded_bytes()).short());
        let index_path = store.root().join(name);
        let before: BTreeMap<String, Entry> =
            files::read(&index_path).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
        let names = files::list_recursive(folder)?;
        let mut entries = BTreeMap::new();
        let mut pending = Vec::new();
        for name in names {
            // A dangling link, or a file that went away: not in the mirror.
            let Ok((size_bytes, changed_ns)) = files::size_and_change_time(&folder.join(&name)) else {
                continue;
            };
            match before.get(&name) {
                Some(entry) if (entry.size_bytes, entry.changed_ns) == (size_bytes, changed_ns) => {
                    entries.insert(name, entry.clone());
                }
                _ => pending.push((name, size_bytes, changed_ns)),
            }
        }
        if pending.is_empty() && entries.len() == before.len() {
            return Ok(Mirror { folder: folder.to_owned(), entries });
        }
        progress.begin("mirror", Some(pending.iter().map(|(_, size, _)| size).sum()), Unit::Bytes);
        for (name, size_bytes, changed_ns) in pending {
            if let Some((content, packed)) = digests(&folder.join(&name))? {
                entries.insert(name, Entry { size_bytes, changed_ns, content, packed });
            }
            progress.advance(size_bytes);
        }
        progress.end();
        let json = serde_json::to_vec(&entries).expect("plain structs serialize to memory");
        files::write(&index_path, &json)?;
        Ok(Mirror { folder: folder.to_owned(), entries })
    }

    /// A file whose content has this digest, and how it is packed there.
    pub(super) fn find(&self, content: &Digest) -> Option<(PathBuf, Packing)> {
        let plain = self.entries.iter().find(|(_, e)| e.packed.map_or(e.content == *content, |p| p == *content));
        let packed = || self.entries.iter().find(|(_, e)| e.packed.is_some() && e.content == *content);
        match (plain, plain.is_none().then(packed).flatten()) {
            (Some((name, _)), _) => Some((self.folder.join(name), Packing::None)),
            (None, Some((name, _))) => {
                let path = self.folder.join(name);
                let packing = first_bytes(&path).map_or(Packing::None, |bytes| Packing::of(&bytes));
                Some((path, packing))
            }
            (None, None) => None,
        }
    }
}

/// The digest of a file's content and, if it is packed, of the file itself. `None` for what cannot be read.
fn digests(path: &Path) -> Result<Option<(Digest, Option<Digest>)>, FileError> {
    let Ok(first) = first_bytes(path) else {
        return Ok(None);
    };
    let packing = Packing::of(&first);
    let raw = Digest::of_file(path)?;
    if packing == Packing::None {
        return Ok(Some((raw, None)));
    }
    let mut hasher = Hasher::new();
    let whole = each_piece(packing.reader(files::open(path)?), |piece| {
        hasher.update(piece);
        Ok(())
    });
    // Not a packed file after all, or a damaged one: it can still be wanted for the bytes it has.
    Ok(Some(if whole.is_ok() { (hasher.finish(), Some(raw)) } else { (raw, None) }))
}

fn first_bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    files::open(path)?.take(MAGIC_BYTES).read_to_end(&mut bytes).map_err(|e| FileError::new("read", path, e))?;
    Ok(bytes)
}
