//! Which documents are used, and for what: exact duplicates out, then training, validation or test by digest.

use crate::candidate::{Candidate, Fate, beginning};
use crate::recipe::Split;
use harness_core::digest::{Digest, Hasher};

/// Takes the held-out documents from those for training. `group_of` leads from the source of a candidate to the source
/// as the recipe speaks of it.
pub(crate) fn split(candidates: &[Candidate], fates: &mut [Fate], split: &Split, group_of: &[usize]) {
    let kept: Vec<usize> = (0..fates.len()).filter(|&at| fates[at] == Fate::Train).collect();
    let sides = [(Fate::Validation, split.validation), (Fate::Test, split.test)];
    if !split.by_source {
        for at in kept {
            let position = position(&candidates[at].sha256);
            if position < split.validation {
                fates[at] = Fate::Validation;
            } else if position < split.validation + split.test {
                fates[at] = Fate::Test;
            }
        }
        return;
    }
    let group = |at: usize| group_of[candidates[at].source as usize];
    for of_source in kept.chunk_by(|&a, &b| group(a) == group(b)) {
        let bytes: u64 = of_source.iter().map(|&at| u64::from(candidates[at].bytes)).sum();
        let mut by_position: Vec<usize> = of_source.to_vec();
        by_position.sort_by_key(|&at| (rank(&candidates[at].sha256), at));
        // The last document always stays for training.
        let mut left = by_position[..by_position.len() - 1].iter();
        for (side, share) in sides {
            let mut held_out = 0;
            while (held_out as f64) < share * bytes as f64 {
                let Some(&at) = left.next() else { break };
                held_out += u64::from(candidates[at].bytes);
                fates[at] = side;
            }
        }
    }
}

/// How often each training document is written: `epochs` of its source, where the part after the point takes the
/// documents of lowest rank.
pub(crate) fn copies(candidate: &Candidate, epochs: &[f64]) -> u32 {
    let epochs = epochs[candidate.source as usize];
    let whole = libm::floor(epochs);
    whole as u32 + u32::from(position_of(b"harness epochs 1\n", &candidate.sha256) < epochs - whole)
}

/// A number for each digest that is uniform over all 64-bit numbers and unrelated to other uses of the digest.
fn rank(sha256: &Digest) -> u64 {
    rank_of(SPLIT, sha256)
}

const SPLIT: &[u8] = b"harness split 1\n";

fn rank_of(purpose: &[u8], sha256: &Digest) -> u64 {
    let mut hasher = Hasher::new();
    hasher.update(purpose);
    hasher.update(sha256.as_bytes());
    beginning(&hasher.finish())
}

/// The rank as a number in `[0, 1)`.
fn position(sha256: &Digest) -> f64 {
    position_of(SPLIT, sha256)
}

pub(crate) fn position_of(purpose: &[u8], sha256: &Digest) -> f64 {
    (rank_of(purpose, sha256) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::without_exact_duplicates;
    use crate::recipe::Duplicates;
    use crate::spill::Spill;
    use proptest::prelude::*;

    fn select(candidates: &[Candidate], duplicates: &Duplicates, rule: &Split) -> Vec<Fate> {
        let spill = Spill::new(std::path::Path::new(""), usize::MAX);
        let mut fates = without_exact_duplicates(candidates, duplicates, spill).unwrap();
        split(candidates, &mut fates, rule, &[0, 1, 2, 3]);
        fates
    }

    fn candidates(texts: &[(u8, u8)]) -> Vec<Candidate> {
        let mut sorted = texts.to_vec();
        sorted.sort_by_key(|(source, _)| *source);
        let candidate = |(index, (source, text)): (usize, &(u8, u8))| Candidate {
            source: u32::from(*source),
            index: index as u32,
            raw_bytes: u32::from(*text) + 2,
            bytes: u32::from(*text) + 1,
            sha256: Digest::of(&[*text]),
            offset: 0,
        };
        sorted.iter().enumerate().map(candidate).collect()
    }

    proptest! {
        #[test]
        fn no_text_is_used_twice(texts in prop::collection::vec((0u8..4, 0u8..60), 0..200), share in 0.01f64..0.5, by_source: bool) {
            let all = candidates(&texts);
            let fates = select(&all, &Duplicates::default(), &Split { validation: share, test: share / 2.0, by_source, leakage: None });
            prop_assert_eq!(fates.len(), all.len());
            let mut seen = std::collections::HashSet::new();
            for (at, fate) in fates.iter().enumerate() {
                match fate {
                    Fate::Duplicate(of) => {
                        let of = *of as usize;
                        prop_assert!(of < at && !matches!(fates[of], Fate::Duplicate(_)));
                        prop_assert_eq!(all[of].sha256, all[at].sha256);
                    }
                    _ => prop_assert!(seen.insert(all[at].sha256), "a text is used once"),
                }
            }
            let distinct: std::collections::HashSet<_> = all.iter().map(|c| c.sha256).collect();
            prop_assert_eq!(seen.len(), distinct.len());
        }

        #[test]
        fn added_documents_change_no_fate(texts in prop::collection::hash_set(any::<u8>(), 1..100), share in 0.01f64..0.5) {
            let texts: Vec<(u8, u8)> = texts.into_iter().map(|t| (0, t)).collect();
            let split = Split { validation: share, test: 0.1, by_source: false, leakage: None };
            let all = select(&candidates(&texts), &Duplicates::default(), &split);
            let fewer = select(&candidates(&texts[..texts.len() / 2]), &Duplicates::default(), &split);
            prop_assert_eq!(&all[..fewer.len()], &fewer[..]);
        }

        #[test]
        fn every_source_is_held_out_in_part(texts in prop::collection::hash_set(any::<u8>(), 8..100)) {
            let texts: Vec<(u8, u8)> = texts.into_iter().map(|t| (t % 2, t)).collect();
            let all = candidates(&texts);
            let fates = select(&all, &Duplicates::default(), &Split { validation: 0.1, test: 0.0, by_source: true, leakage: None });
            for source in all.iter().map(|c| c.source).collect::<std::collections::BTreeSet<_>>() {
                let of_source: Vec<Fate> = (0..all.len()).filter(|&i| all[i].source == source).map(|i| fates[i]).collect();
                prop_assert!(of_source.contains(&Fate::Train));
                prop_assert!(of_source.len() == 1 || of_source.contains(&Fate::Validation));
            }
        }
    }
}
