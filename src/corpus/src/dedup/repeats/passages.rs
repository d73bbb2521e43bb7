//! Passages that stood earlier, found without a suffix array.
//!
//! A window is as many bytes in a row as a passage has at least; what is cut is every window whose bytes stood
//! earlier, so a longer passage goes as a whole. Hashing and sorting every window of a corpus would take 16 bytes for
//! each of its bytes, so windows are hashed only where a repeat can be. That is found by winnowing (Schleimer,
//! Wilkerson and Aiken 2003, Winnowing: Local Algorithms for Document Fingerprinting, SIGMOD): of the shorter grams in
//! a window, the one of least hash is the window's fingerprint. It depends on nothing but the bytes of the window, so
//! equal windows have equal fingerprints at equal places, and a window whose fingerprint stands at one place only
//! stands there only.

use std::collections::VecDeque;
use std::ops::Range;

use harness_core::files::FileError;
use harness_core::random::mix;
use rayon::prelude::*;

use super::{Corpus, Run, next_of, offset_of, place};
use crate::error::CorpusError;
use crate::recipe::PassageRule;
use crate::spill::{Sorted, Spill};

/// The prime 2^61 - 1.
const MODULUS: u64 = (1 << 61) - 1;
/// Any number below it without a pattern.
const BASE: u64 = 0x1b87_35a9_d0c4_6e2f;

/// Where windows begin that stood earlier, each with where it stood first. Of two windows of one document that
/// overlap, neither stood before the other.
pub(super) fn repeats(
    rule: &PassageRule,
    corpus: &Corpus,
    spill: &mut impl FnMut() -> Result<Spill, FileError>,
) -> Result<Sorted, CorpusError> {
    let window = rule.bytes_at_least as usize;
    let mut hashes = spill()?;
    corpus.each_batch(|documents, texts| {
        let of_text = |text: &String| {
            let mut found: Vec<(u64, usize)> = fingerprints(text.as_bytes(), window).collect();
            found.dedup();
            found
        };
        let found: Vec<Vec<(u64, usize)>> = texts.par_iter().map(of_text).collect();
        for (&document, found) in documents.iter().zip(found) {
            found.into_iter().try_for_each(|(hash, at)| hashes.push(hash, place(document, at)))?;
        }
        Ok(())
    })?;
    let mut common = in_common(hashes, spill()?)?.peekable();
    let mut windows = spill()?;
    corpus.each_batch(|documents, texts| {
        let mut common_of = |&document: &usize| {
            let next = || next_of(&mut common, document).transpose();
            let offset = |pair: Result<(u64, u64), FileError>| pair.map(|(place, _)| offset_of(place));
            std::iter::from_fn(next).map(offset).collect::<Result<Vec<usize>, _>>()
        };
        let common = documents.iter().map(&mut common_of).collect::<Result<Vec<_>, _>>()?;
        let of_text = |(text, common): (&String, &Vec<usize>)| common_windows(text.as_bytes(), window, common);
        let found: Vec<Vec<(u64, usize)>> = texts.par_iter().zip(&common).map(of_text).collect();
        for (&document, found) in documents.iter().zip(found) {
            found.into_iter().try_for_each(|(hash, at)| windows.push(hash, place(document, at)))?;
        }
        Ok(())
    })?;
    // Read to its end, and its files are no longer needed in memory.
    drop(common);
    Ok(corpus.repeats(windows, window as u64, spill()?)?)
}

/// The places whose hash another place has too.
fn in_common(hashes: Spill, mut common: Spill) -> Result<Sorted, FileError> {
    let (mut last, mut last_is_in) = (None, false);
    for pair in hashes.sorted()? {
        let (hash, at) = pair?;
        let same = last.is_some_and(|(last, _)| last == hash);
        if let Some((_, before)) = last.filter(|_| same && !last_is_in) {
            common.push(before, 0)?;
        }
        if same {
            common.push(at, 0)?;
        }
        (last, last_is_in) = (Some((hash, at)), same);
    }
    common.sorted()
}

/// The windows whose fingerprint is one of `common`, as hashes of all their bytes and where they begin.
fn common_windows(bytes: &[u8], window: usize, common: &[usize]) -> Vec<(u64, usize)> {
    if common.is_empty() {
        return Vec::new();
    }
    // Fingerprints of later windows never stand earlier.
    let mut common = common.iter().copied().peekable();
    let hashes = grams(bytes, window).zip(fingerprints(bytes, window)).enumerate();
    let is_common = hashes.filter_map(|(at, (hash, (_, fingerprint)))| {
        while common.next_if(|&common| common < fingerprint).is_some() {}
        (common.peek() == Some(&fingerprint)).then_some((hash, at))
    });
    is_common.collect()
}

/// For each window its fingerprint: the least hash of the grams in it, and where that gram begins; of equal ones the
/// last.
fn fingerprints(bytes: &[u8], window: usize) -> impl Iterator<Item = (u64, usize)> {
    let gram = window.div_ceil(2);
    let in_window = window - gram + 1;
    // The hashes of a window that no later one is below, in order of place; the first is the least.
    let mut least: VecDeque<(u64, usize)> = VecDeque::new();
    grams(bytes, gram).enumerate().filter_map(move |(at, hash)| {
        while least.back().is_some_and(|(other, _)| *other >= hash) {
            least.pop_back();
        }
        least.push_back((hash, at));
        if least.front().is_some_and(|(_, first)| *first + in_window <= at) {
            least.pop_front();
        }
        if at + 1 < in_window { None } else { least.front().copied() }
    })
}

/// The hash of each run of `length` bytes: a polynomial modulo a prime, which rolls (Karp and Rabin 1987, Efficient
/// Randomized Pattern-Matching Algorithms), mixed so that the least is any of them.
fn grams(bytes: &[u8], length: usize) -> impl Iterator<Item = u64> {
    let leaves = (0..length).fold(1, |power, _| times(power, BASE));
    let mut hash = bytes.iter().take(length - 1).fold(0, |hash, &byte| plus(times(hash, BASE), digit(byte)));
    (length - 1..bytes.len()).map(move |last| {
        hash = plus(times(hash, BASE), digit(bytes[last]));
        if last >= length {
            hash = plus(hash, MODULUS - times(leaves, digit(bytes[last - length])));
        }
        mix(hash)
    })
}

/// Not zero, so that zeros in front make a difference.
fn digit(byte: u8) -> u64 {
    u64::from(byte) + 1
}

fn plus(a: u64, b: u64) -> u64 {
    let sum = a + b;
    if sum >= MODULUS { sum - MODULUS } else { sum }
}

fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    plus(product as u64 & MODULUS, (product >> 61) as u64)
}

/// The windows of a run that are what they seem to be.
pub(super) fn cuts(rule: &PassageRule, later: &[u8], earlier: &[u8], run: &Run) -> Vec<Range<usize>> {
    let window = rule.bytes_at_least as usize;
    let same = |skipped: usize, bytes: usize| {
        let (at, earlier_at) = (run.at + skipped, run.earlier_at + skipped);
        later[at..at + bytes] == earlier[earlier_at..earlier_at + bytes]
    };
    let whole = run.more + window;
    if same(0, whole) {
        return std::iter::once(run.at..run.at + whole).collect();
    }
    let windows = (0..=run.more).filter(|&skipped| same(skipped, window));
    windows.map(|skipped| run.at + skipped..run.at + skipped + window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn hashes_roll_and_fingerprints_are_the_last_least(bytes in "[ab]{0,40}", window in 1usize..12) {
            let bytes = bytes.as_bytes();
            let gram = window.div_ceil(2);
            let alone = |bytes: &[u8]| grams(bytes, bytes.len()).next().unwrap();
            let expected: Vec<(u64, usize)> = bytes.windows(window).enumerate().map(|(at, window)| {
                let grams = window.windows(gram).enumerate().map(|(inside, gram)| (alone(gram), inside));
                let (hash, inside) = grams.min_by_key(|&(hash, inside)| (hash, std::cmp::Reverse(inside))).unwrap();
                (hash, at + inside)
            }).collect();
            prop_assert_eq!(fingerprints(bytes, window).collect::<Vec<_>>(), expected);
            let hashes: Vec<u64> = grams(bytes, window).collect();
            prop_assert_eq!(hashes, bytes.windows(window).map(alone).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_hash_that_two_texts_have_cuts_nothing_that_is_unique() {
        let rule = PassageRule { bytes_at_least: 3 };
        let run = Run { at: 1, earlier: 0, earlier_at: 0, more: 3 };
        let cuts = |earlier: &[u8]| cuts(&rule, b"xabcdef", earlier, &run);
        assert_eq!(cuts(b"abcdef"), vec![Range { start: 1, end: 7 }]);
        assert_eq!(cuts(b"abcd_f"), [1..4, 2..5]);
    }
}
