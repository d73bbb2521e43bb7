//! Exact duplicates: documents whose text is that of an earlier one, byte for byte.

use harness_core::files::FileError;

use crate::candidate::{Candidate, Fate, beginning};
use crate::recipe::Duplicates;
use crate::spill::Spill;

/// Every candidate for training, but for those that repeat an earlier one.
pub(crate) fn without_exact_duplicates(
    candidates: &[Candidate],
    duplicates: &Duplicates,
    mut spill: Spill,
) -> Result<Vec<Fate>, FileError> {
    let mut fates = vec![Fate::Train; candidates.len()];
    if !duplicates.exact {
        return Ok(fates);
    }
    for (at, candidate) in candidates.iter().enumerate() {
        spill.push(beginning(&candidate.sha256), at as u64)?;
    }
    // The earlier documents of one beginning; nearly always one.
    let (mut key, mut earlier): (u64, Vec<usize>) = (0, Vec::new());
    for pair in spill.sorted()? {
        let (beginning, at) = pair?;
        let at = at as usize;
        if std::mem::replace(&mut key, beginning) != beginning {
            earlier.clear();
        }
        match earlier.iter().find(|&&other| candidates[other].sha256 == candidates[at].sha256) {
            Some(&first) => fates[at] = Fate::Duplicate(first as u32),
            None => earlier.push(at),
        }
    }
    Ok(fates)
}
