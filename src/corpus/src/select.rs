//! Which documents are used, and for what: exact duplicates out, then training or validation by digest.

use std::collections::HashMap;

use harness_core::digest::{Digest, Hasher};

use crate::recipe::{Duplicates, Split};

/// What a document is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Train,
    Validation,
    /// The same text as this earlier candidate.
    Duplicate(usize),
    /// Nearly the same text as this earlier candidate, or as one that is.
    NearDuplicate(usize),
    /// It holds an item of the task with this number.
    Contaminated(usize),
}

/// What has to be known of a document to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub source: usize,
    pub index: u64,
    pub raw_bytes: u64,
    pub bytes: u64,
    pub sha256: Digest,
    /// Where its line begins in the documents of its source.
    pub offset: u64,
}

/// Every candidate for training, but for those that repeat an earlier one.
pub(crate) fn without_exact_duplicates(candidates: &[Candidate], duplicates: &Duplicates) -> Vec<Fate> {
    let mut fates = vec![Fate::Train; candidates.len()];
    if duplicates.exact {
        let mut first = HashMap::new();
        for (at, candidate) in candidates.iter().enumerate() {
            let earlier = *first.entry(candidate.sha256).or_insert(at);
            if earlier != at {
                fates[at] = Fate::Duplicate(earlier);
            }
        }
    }
    fates
}

/// Takes the validation documents from those for training.
pub(crate) fn split(candidates: &[Candidate], fates: &mut [Fate], split: &Split) {
    let kept: Vec<usize> = (0..fates.len()).filter(|&at| fates[at] == Fate::Train).collect();
    if !split.by_source {
        kept.iter()
            .filter(|&&at| position(&candidates[at].sha256) < split.validation)
            .for_each(|&at| fates[at] = Fate::Validation);
        return;
    }
    for of_source in kept.chunk_by(|&a, &b| candidates[a].source == candidates[b].source) {
        let bytes: u64 = of_source.iter().map(|&at| candidates[at].bytes).sum();
        let mut by_position: Vec<usize> = of_source.to_vec();
        by_position.sort_by_key(|&at| (rank(&candidates[at].sha256), at));
        let mut held_out = 0;
        // The last document always stays for training.
        for &at in &by_position[..by_position.len() - 1] {
            if held_out as f64 >= split.validation * bytes as f64 {
                break;
            }
            held_out += candidates[at].bytes;
            fates[at] = Fate::Validation;
        }
    }
}

/// A number for each digest that is uniform over all 64-bit numbers and unrelated to other uses of the digest.
fn rank(sha256: &Digest) -> u64 {
    let mut hasher = Hasher::new();
    hasher.update(b"harness split 1\n");
    hasher.update(sha256.as_bytes());
    let digest = hasher.finish();
    u64::from_be_bytes(digest.as_bytes()[..8].try_into().expect("eight bytes"))
}

/// The rank as a number in `[0, 1)`.
fn position(sha256: &Digest) -> f64 {
    (rank(sha256) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn select(candidates: &[Candidate], duplicates: &Duplicates, rule: &Split) -> Vec<Fate> {
        let mut fates = without_exact_duplicates(candidates, duplicates);
        split(candidates, &mut fates, rule);
        fates
    }

    fn candidates(texts: &[(u8, u8)]) -> Vec<Candidate> {
        let mut sorted = texts.to_vec();
        sorted.sort_by_key(|(source, _)| *source);
        let candidate = |(index, (source, text)): (usize, &(u8, u8))| Candidate {
            source: usize::from(*source),
            index: index as u64,
            raw_bytes: u64::from(*text) + 2,
            bytes: u64::from(*text) + 1,
            sha256: Digest::of(&[*text]),
            offset: 0,
        };
        sorted.iter().enumerate().map(candidate).collect()
    }

    proptest! {
        #[test]
        fn no_text_is_used_twice(texts in prop::collection::vec((0u8..4, 0u8..60), 0..200), share in 0.01f64..0.5, by_source: bool) {
            let all = candidates(&texts);
            let fates = select(&all, &Duplicates::default(), &Split { validation: share, by_source });
            prop_assert_eq!(fates.len(), all.len());
            let mut seen = std::collections::HashSet::new();
            for (at, fate) in fates.iter().enumerate() {
                match fate {
                    Fate::Duplicate(of) => {
                        prop_assert!(*of < at && !matches!(fates[*of], Fate::Duplicate(_)));
                        prop_assert_eq!(all[*of].sha256, all[at].sha256);
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
            let split = Split { validation: share, by_source: false };
            let all = select(&candidates(&texts), &Duplicates::default(), &split);
            let fewer = select(&candidates(&texts[..texts.len() / 2]), &Duplicates::default(), &split);
            prop_assert_eq!(&all[..fewer.len()], &fewer[..]);
        }

        #[test]
        fn every_source_is_held_out_in_part(texts in prop::collection::hash_set(any::<u8>(), 8..100)) {
            let texts: Vec<(u8, u8)> = texts.into_iter().map(|t| (t % 2, t)).collect();
            let all = candidates(&texts);
            let fates = select(&all, &Duplicates::default(), &Split { validation: 0.1, by_source: true });
            for source in all.iter().map(|c| c.source).collect::<std::collections::BTreeSet<_>>() {
                let of_source: Vec<Fate> = (0..all.len()).filter(|&i| all[i].source == source).map(|i| fates[i]).collect();
                prop_assert!(of_source.contains(&Fate::Train));
                prop_assert!(of_source.len() == 1 || of_source.contains(&Fate::Validation));
            }
        }
    }
}
