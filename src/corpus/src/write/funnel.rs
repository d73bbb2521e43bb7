//! From what was read to what is kept: documents and bytes that are left after each stage, and how large the groups
//! of repeated documents are.

use std::collections::BTreeMap;

use harness_core::corpus_manifest::{FunnelStage, GroupSize, StepCounts};

use crate::candidate::{Candidate, Fate};

/// The stages in order. `steps` are the counts over all sources.
pub(crate) fn funnel(steps: &[StepCounts], candidates: &[Candidate], fates: &[Fate]) -> Vec<FunnelStage> {
    let cleaned = (candidates.len() as u64, candidates.iter().map(|c| u64::from(c.bytes)).sum());
    let read = steps.first().map_or(cleaned, |first| (first.documents_in, first.bytes_in));
    let mut stages = vec![stage("read".to_owned(), read)];
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for step in steps {
        let time = times.entry(&step.step).or_default();
        *time += 1;
        let name = if *time == 1 { step.step.clone() } else { format!("{}-{time}", step.step) };
        stages.push(stage(name, (step.documents_out, step.bytes_out)));
    }
    let mut left = cleaned;
    for name in ["exact_duplicates", "near_duplicates", "contaminated", "leaked"] {
        for (candidate, _) in candidates.iter().zip(fates).filter(|(_, fate)| left_out_by(fate) == Some(name)) {
            left = (left.0 - 1, left.1 - u64::from(candidate.bytes));
        }
        stages.push(stage(name.to_owned(), left));
    }
    stages
}

/// The stage that left a document out.
fn left_out_by(fate: &Fate) -> Option<&'static str> {
    match fate {
        Fate::Train | Fate::Validation | Fate::Test => None,
        Fate::Duplicate(_) => Some("exact_duplicates"),
        Fate::NearDuplicate(_) => Some("near_duplicates"),
        Fate::Contaminated(_) => Some("contaminated"),
        Fate::Leaked(_) => Some("leaked"),
    }
}

fn stage(stage: String, (documents, bytes): (u64, u64)) -> FunnelStage {
    FunnelStage { stage, documents, bytes }
}

/// For each size that occurs, smallest first, how many groups of repeated documents have it, exact and near together.
pub(crate) fn group_sizes(fates: &[Fate]) -> Vec<GroupSize> {
    let mut left_out: BTreeMap<u32, u64> = BTreeMap::new();
    for fate in fates {
        let mut first = match fate {
            Fate::Duplicate(of) | Fate::NearDuplicate(of) => *of,
            Fate::Train | Fate::Validation | Fate::Test | Fate::Contaminated(_) | Fate::Leaked(_) => continue,
        };
        // What an exact duplicate repeats can itself be a near duplicate of another.
        while let Fate::NearDuplicate(of) = fates[first as usize] {
            first = of;
        }
        *left_out.entry(first).or_default() += 1;
    }
    let mut groups: BTreeMap<u64, u64> = BTreeMap::new();
    left_out.values().for_each(|others| *groups.entry(others + 1).or_default() += 1);
    groups.into_iter().map(|(documents, groups)| GroupSize { documents, groups }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::digest::Digest;
    use proptest::prelude::*;

    fn candidate(bytes: u32) -> Candidate {
        Candidate { source: 0, index: 0, raw_bytes: bytes, bytes, sha256: Digest::of(b""), offset: 0 }
    }

    /// A fate for each number: what it repeats lies before it, as in the selection.
    fn fates(kinds: &[(u8, usize)]) -> Vec<Fate> {
        let mut fates: Vec<Fate> = Vec::new();
        for (at, (kind, of)) in kinds.iter().enumerate() {
            let earlier: Vec<u32> =
                (0..at as u32).filter(|&i| !matches!(fates[i as usize], Fate::Duplicate(_))).collect();
            let of = (!earlier.is_empty()).then(|| earlier[of % earlier.len()]);
            fates.push(match (kind % 7, of) {
                (1, Some(of)) => Fate::Duplicate(of),
                (2, Some(of)) => Fate::NearDuplicate(of),
                (3, _) => Fate::Contaminated(0),
                (4, _) => Fate::Validation,
                (5, _) => Fate::Test,
                (6, Some(of)) => Fate::Leaked(of),
                _ => Fate::Train,
            });
        }
        fates
    }

    proptest! {
        #[test]
        fn the_funnel_adds_up(kinds in prop::collection::vec((any::<u8>(), any::<usize>()), 0..60), lengths in prop::collection::vec(0u32..500, 60), removed in 0u64..9) {
            let fates = fates(&kinds);
            let candidates: Vec<Candidate> = lengths[..fates.len()].iter().map(|l| candidate(*l)).collect();
            let bytes: u64 = candidates.iter().map(|c| u64::from(c.bytes)).sum();
            let (read, counts) = (fates.len() as u64 + removed, |step: &str, documents_in, bytes_in| StepCounts {
                step: step.to_owned(), documents_in, bytes_in,
                documents_out: fates.len() as u64, bytes_out: bytes, documents_changed: 0,
            });
            let steps = [counts("a", read, bytes + 7), counts("b", fates.len() as u64, bytes), counts("a", fates.len() as u64, bytes)];
            let stages = funnel(&steps, &candidates, &fates);
            let names: Vec<&str> = stages.iter().map(|s| s.stage.as_str()).collect();
            prop_assert_eq!(names, ["read", "a", "b", "a-2", "exact_duplicates", "near_duplicates", "contaminated", "leaked"]);
            prop_assert_eq!((stages[0].documents, stages[0].bytes), (read, bytes + 7));
            prop_assert!(stages.windows(2).all(|pair| pair[1].documents <= pair[0].documents && pair[1].bytes <= pair[0].bytes));
            let kept: Vec<u64> = candidates.iter().zip(&fates)
                .filter(|(_, fate)| matches!(fate, Fate::Train | Fate::Validation | Fate::Test)).map(|(c, _)| u64::from(c.bytes)).collect();
            let last = stages.last().unwrap();
            prop_assert_eq!((last.documents, last.bytes), (kept.len() as u64, kept.iter().sum()));
            let sizes = group_sizes(&fates);
            let repeated = fates.iter().filter(|f| matches!(f, Fate::Duplicate(_) | Fate::NearDuplicate(_))).count();
            prop_assert_eq!(sizes.iter().map(|s| (s.documents - 1) * s.groups).sum::<u64>(), repeated as u64);
        }
    }

    #[test]
    fn groups_that_touch_are_one() {
        let fates = [
            Fate::Train,
            Fate::NearDuplicate(0),
            Fate::Duplicate(1),
            Fate::Train,
            Fate::Duplicate(3),
            Fate::Validation,
        ];
        let sizes = [GroupSize { documents: 2, groups: 1 }, GroupSize { documents: 3, groups: 1 }];
        assert_eq!(group_sizes(&fates), sizes);
    }
}
