//! Sorting more than fits into memory: pairs of numbers are collected, sorted in memory a part at a time, each part
//! written to a file, and the files merged (Knuth, The Art of Computer Programming, volume 3, section 5.4).
//! This is how what belongs together is found across a whole corpus in memory that a setting bounds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use harness_core::files::{self, FileError};
use rayon::prelude::*;

/// Bytes of a pair, in memory and on disk.
const PAIR_BYTES: usize = 16;
/// Bytes of a file that are in memory while the files are merged.
const READ_BYTES: usize = 1 << 16;

type Pair = (u64, u64);

/// Collects pairs of a key and a place.
pub(crate) struct Spill {
    folder: PathBuf,
    most: usize,
    pairs: Vec<Pair>,
    files: Vec<PathBuf>,
}

impl Spill {
    /// Keeps at most about `memory_bytes` of pairs in memory. Its files go into `folder`, which has to be there and to
    /// be this one's alone; whoever made the folder removes it.
    pub(crate) fn new(folder: &Path, memory_bytes: usize) -> Self {
        let most = (memory_bytes / PAIR_BYTES).max(1024);
        Spill { folder: folder.to_owned(), most, pairs: Vec::new(), files: Vec::new() }
    }

    pub(crate) fn push(&mut self, key: u64, place: u64) -> Result<(), FileError> {
        if self.pairs.len() == self.most {
            self.write()?;
        }
        // Doubling would let the vector grow to twice what it may hold.
        if self.pairs.len() == self.pairs.capacity() {
            let more = self.pairs.len().max(1024).min(self.most - self.pairs.len());
            self.pairs.reserve_exact(more);
        }
        self.pairs.push((key, place));
        Ok(())
    }

    fn write(&mut self) -> Result<(), FileError> {
        self.pairs.par_sort_unstable();
        let path = self.folder.join(format!("{}.sorted", self.files.len()));
        files::write_with(&path, |file| {
            self.pairs.iter().try_for_each(|(key, place)| {
                let pair = u128::from(*key) << 64 | u128::from(*place);
                std::io::Write::write_all(file, &pair.to_be_bytes())
            })
        })?;
        self.files.push(path);
        self.pairs.clear();
        Ok(())
    }

    /// All pairs in the order of keys and, of one key, of places.
    pub(crate) fn sorted(mut self) -> Result<Sorted, FileError> {
        if self.files.is_empty() {
            self.pairs.par_sort_unstable();
            return Ok(Sorted { in_memory: self.pairs.into_iter(), files: Vec::new(), next: BinaryHeap::new() });
        }
        self.write()?;
        let open = |path: PathBuf| {
            let file = BufReader::with_capacity(READ_BYTES, files::open(&path)?);
            Ok::<_, FileError>((path, file))
        };
        let files = self.files.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut sorted = Sorted { in_memory: Vec::new().into_iter(), files, next: BinaryHeap::new() };
        (0..sorted.files.len()).try_for_each(|file| sorted.take_from(file))?;
        Ok(sorted)
    }
}

/// The pairs in order.
pub(crate) struct Sorted {
    in_memory: std::vec::IntoIter<Pair>,
    files: Vec<(PathBuf, BufReader<File>)>,
    /// The least pair of each file that has one left.
    next: BinaryHeap<Reverse<(Pair, usize)>>,
}

impl Sorted {
    fn take_from(&mut self, file: usize) -> Result<(), FileError> {
        let (path, reader) = &mut self.files[file];
        let mut pair = [0; PAIR_BYTES];
        match reader.read_exact(&mut pair) {
            Ok(()) => {
                let pair = u128::from_be_bytes(pair);
                self.next.push(Reverse((((pair >> 64) as u64, pair as u64), file)));
                Ok(())
            }
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
            Err(e) => Err(FileError::new("read", path, e)),
        }
    }
}

impl Iterator for Sorted {
    type Item = Result<Pair, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(pair) = self.in_memory.next() {
            return Some(Ok(pair));
        }
        let Reverse((pair, file)) = self.next.pop()?;
        Some(self.take_from(file).map(|()| pair))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn sorts_with_any_memory(mut pairs in prop::collection::vec((0u64..50, any::<u64>()), 0..5000), memory in 0usize..200_000) {
            let folder = tempfile::tempdir().unwrap();
            let mut spill = Spill::new(folder.path(), memory);
            pairs.iter().try_for_each(|&(key, place)| spill.push(key, place)).unwrap();
            let sorted: Vec<Pair> = spill.sorted().unwrap().collect::<Result<_, _>>().unwrap();
            pairs.sort_unstable();
            prop_assert_eq!(sorted, pairs);
        }
    }
}
