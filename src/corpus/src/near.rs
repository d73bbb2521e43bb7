//! Near duplicates: documents that share most of their n-grams with an earlier one.
//!
//! MinHash signatures (Broder 1997, On the resemblance and containment of documents) are cut into bands; documents
//! that agree on a band are candidates (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4);
//! each candidate pair is then checked by the true Jaccard similarity of its two sets of n-grams, so what is called
//! a near duplicate is one. The number of bands is chosen so that fewer than one pair in a thousand at the threshold
//! is missed.

use std::collections::HashMap;

use harness_core::random::{Purpose, Random, mix, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::words::{ngram, words};

/// What counts as a near duplicate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NearRule {
    /// What n-grams are made of.
    pub unit: NearUnit,
    /// Units in an n-gram. A shorter document is one n-gram.
    pub length: u32,
    /// Jaccard similarity of the two sets of n-grams from which on the later document is left out.
    pub jaccard: f64,
    /// Length of a signature: more find more surely, and cost more.
    pub permutations: u32,
}

impl Default for NearRule {
    fn default() -> Self {
        NearRule { unit: NearUnit::Words, length: 5, jaccard: 0.8, permutations: 128 }
    }
}

/// What n-grams are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NearUnit {
    /// Runs of letters and digits, in lower case.
    #[default]
    Words,
    /// Characters, in lower case; a run of white space is one blank.
    Characters,
}

/// Two documents and the similarity of their sets of n-grams.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearPair {
    /// The earlier document.
    pub first: usize,
    /// The later one.
    pub second: usize,
    /// Their Jaccard similarity.
    pub jaccard: f64,
}

/// The largest share of pairs at the threshold that may be missed.
const MISSED: f64 = 0.001;
/// In one band, a document is compared with so many before it at most: it keeps a boilerplate text that thousands
/// share from costing the square of their number. The others are found through the documents in between.
const NEIGHBOURS: usize = 100;
/// N-gram sets kept in memory while pairs are checked.
const CACHED_NGRAMS: usize = 16 << 20;

impl NearRule {
    /// Refuses values that make no sense, with the key they belong to.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        match self {
            NearRule { length: 0, .. } => Err(("length", "must be at least 1")),
            NearRule { jaccard, .. } if !(*jaccard >= 0.3 && *jaccard <= 1.0) => {
                Err(("jaccard", "must be at least 0.3 and at most 1"))
            }
            NearRule { permutations, .. } if !(16..=4096).contains(permutations) => {
                Err(("permutations", "must be between 16 and 4096"))
            }
            _ => Ok(()),
        }
    }

    /// (bands, rows of a band): as many rows as the threshold allows, so that few candidates are in vain.
    pub fn bands(&self) -> (u32, u32) {
        let missed = |rows: u32| {
            let bands = self.permutations / rows;
            libm::pow(1.0 - libm::pow(self.jaccard, f64::from(rows)), f64::from(bands))
        };
        let rows = (1..=self.permutations).take_while(|&rows| missed(rows) <= MISSED).last().unwrap_or(1);
        (self.permutations / rows, rows)
    }

    /// The document's n-grams as sorted, distinct 64-bit hashes.
    pub fn ngrams(&self, text: &str) -> Vec<u64> {
        let units: Vec<u64> = match self.unit {
            NearUnit::Words => words(text),
            NearUnit::Characters => {
                let lower = text.to_lowercase();
                let words: Vec<&str> = lower.split_whitespace().collect();
                words.join(" ").chars().map(|c| mix(u64::from(c))).collect()
            }
        };
        let length = self.length as usize;
        let mut ngrams: Vec<u64> =
            if units.len() < length { vec![ngram(&units)] } else { units.windows(length).map(ngram).collect() };
        ngrams.sort_unstable();
        ngrams.dedup();
        ngrams
    }
}

/// Shared n-grams divided by all n-grams of two sorted, distinct lists.
pub fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0usize);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, shared) = (i + 1, j + 1, shared + 1),
        }
    }
    shared as f64 / (a.len() + b.len() - shared) as f64
}

/// Finds the near duplicates among documents that are handed over one after another.
pub(crate) struct NearIndex {
    rule: NearRule,
    rows: usize,
    multipliers: Vec<u64>,
    offsets: Vec<u64>,
    /// For each band, the hash of each document.
    bands: Vec<Vec<u64>>,
}

impl NearIndex {
    pub fn new(rule: &NearRule) -> Self {
        let (bands, rows) = rule.bands();
        let mut random = Random::new(seed(0, 0, Purpose::Generation));
        let used = (bands * rows) as usize;
        NearIndex {
            rule: rule.clone(),
            rows: rows as usize,
            multipliers: (0..used).map(|_| random.next_u64() | 1).collect(),
            offsets: (0..used).map(|_| random.next_u64()).collect(),
            bands: vec![Vec::new(); bands as usize],
        }
    }

    /// Takes in the next documents, on all threads.
    pub fn push(&mut self, texts: &[String]) {
        let hashed: Vec<Vec<u64>> = texts.par_iter().map(|text| self.band_hashes(text)).collect();
        for hashes in hashed {
            self.bands.iter_mut().zip(hashes).for_each(|(band, hash)| band.push(hash));
        }
    }

    fn band_hashes(&self, text: &str) -> Vec<u64> {
        let mut least = vec![u32::MAX; self.multipliers.len()];
        for ngram in self.rule.ngrams(text) {
            // Multiply-shift hashing (Dietzfelbinger et al. 1997): the upper half of a * x + b.
            for ((least, a), b) in least.iter_mut().zip(&self.multipliers).zip(&self.offsets) {
                let value = (a.wrapping_mul(ngram).wrapping_add(*b) >> 32) as u32;
                *least = value.min(*least);
            }
        }
        let join = |rows: &[u32]| rows.iter().fold(0, |all, &row| mix(all ^ u64::from(row)));
        least.chunks_exact(self.rows).map(join).collect()
    }

    /// Pairs that agree on a band, sorted and distinct.
    fn candidates(&self) -> Vec<(usize, usize)> {
        let of_band = |hashes: &Vec<u64>| {
            let mut order: Vec<usize> = (0..hashes.len()).collect();
            order.sort_unstable_by_key(|&at| (hashes[at], at));
            let mut pairs = Vec::new();
            for group in order.chunk_by(|&a, &b| hashes[a] == hashes[b]) {
                for (at, &second) in group.iter().enumerate() {
                    pairs.extend(group[at.saturating_sub(NEIGHBOURS)..at].iter().map(|&first| (first, second)));
                }
            }
            pairs
        };
        let mut pairs: Vec<(usize, usize)> = self.bands.par_iter().flat_map_iter(of_band).collect();
        pairs.par_sort_unstable();
        pairs.dedup();
        pairs
    }

    /// The pairs whose true similarity reaches the threshold, sorted. `text` gives a document again by its place.
    pub fn pairs<E>(&self, mut text: impl FnMut(usize) -> Result<String, E>) -> Result<Vec<NearPair>, E> {
        let mut cache: HashMap<usize, Vec<u64>> = HashMap::new();
        let mut cached = 0;
        let mut found = Vec::new();
        for (first, second) in self.candidates() {
            for at in [first, second] {
                if !cache.contains_key(&at) {
                    let ngrams = self.rule.ngrams(&text(at)?);
                    if cached + ngrams.len() > CACHED_NGRAMS {
                        cache.retain(|&kept, _| kept == first);
                        cached = cache.values().map(Vec::len).sum();
                    }
                    cached += ngrams.len();
                    cache.insert(at, ngrams);
                }
            }
            let jaccard = jaccard(&cache[&first], &cache[&second]);
            if jaccard >= self.rule.jaccard {
                found.push(NearPair { first, second, jaccard });
            }
        }
        Ok(found)
    }
}

/// The near duplicates among texts in memory.
pub fn near_pairs(texts: &[String], rule: &NearRule) -> Vec<NearPair> {
    let mut index = NearIndex::new(rule);
    index.push(texts);
    let text = |at: usize| Ok::<_, std::convert::Infallible>(texts[at].clone());
    match index.pairs(text) {
        Ok(pairs) => pairs,
        Err(never) => match never {},
    }
}

/// For each of `count` documents the first one of its cluster: documents are in one cluster if a chain of pairs
/// joins them.
pub(crate) fn clusters(count: usize, pairs: &[NearPair]) -> Vec<usize> {
    fn root(parents: &mut [usize], mut at: usize) -> usize {
        while parents[at] != at {
            parents[at] = parents[parents[at]];
            at = parents[at];
        }
        at
    }
    let mut parents: Vec<usize> = (0..count).collect();
    for pair in pairs {
        let (a, b) = (root(&mut parents, pair.first), root(&mut parents, pair.second));
        parents[a.max(b)] = a.min(b);
    }
    (0..count).map(|at| root(&mut parents, at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn similarity_is_of_sets_of_ngrams() {
        let rule = NearRule { length: 2, ..NearRule::default() };
        let (a, b) = (rule.ngrams("The cat sat. The cat!"), rule.ngrams("the CAT sat"));
        // {the cat, cat sat, sat the} and {the cat, cat sat}.
        assert_eq!((a.len(), b.len()), (3, 2));
        assert!((jaccard(&a, &b) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(rule.ngrams("one").len(), 1);
        let characters = NearRule { unit: NearUnit::Characters, length: 3, ..NearRule::default() };
        assert_eq!(characters.ngrams("A \n b c").len(), 3, "`a b`, ` b `, `b c`");
    }

    #[test]
    fn bands_follow_from_the_threshold() {
        assert_eq!(NearRule::default().bands(), (25, 5));
        let (bands, rows) = NearRule { jaccard: 0.5, ..NearRule::default() }.bands();
        assert!(libm::pow(1.0 - libm::pow(0.5, f64::from(rows)), f64::from(bands)) <= MISSED);
        assert_eq!(NearRule { jaccard: 1.0, ..NearRule::default() }.bands(), (1, 128));
    }

    #[test]
    fn a_chain_is_one_cluster_and_its_first_document_is_kept() {
        let pair = |first, second| NearPair { first, second, jaccard: 0.9 };
        assert_eq!(clusters(6, &[pair(3, 4), pair(1, 4), pair(0, 5)]), [0, 1, 2, 1, 1, 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pairs_are_those_of_brute_force(texts in prop::collection::vec("[a-c ]{0,30}", 0..25)) {
            let rule = NearRule { length: 2, jaccard: 0.7, ..NearRule::default() };
            let found = near_pairs(&texts, &rule);
            let sets: Vec<Vec<u64>> = texts.iter().map(|text| rule.ngrams(text)).collect();
            let mut missed = 0;
            for second in 0..texts.len() {
                for first in 0..second {
                    let truth = jaccard(&sets[first], &sets[second]);
                    let pair = found.iter().find(|p| (p.first, p.second) == (first, second));
                    prop_assert!(pair.is_none_or(|p| p.jaccard == truth && truth >= 0.7));
                    missed += usize::from(truth >= 0.7 && pair.is_none());
                }
            }
            prop_assert!(missed <= 1, "{missed} missed");
        }
    }
}
