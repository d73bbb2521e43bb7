//! Near duplicates: documents that share most of their n-grams with an earlier one.
//!
//! MinHash signatures (Broder 1997, On the resemblance and containment of documents) are cut into bands; documents
//! that agree on a band are candidates (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4);
//! each candidate pair is then checked by the true Jaccard similarity of its two sets of n-grams, so what is called
//! a near duplicate is one. The number of bands is chosen so that fewer than one pair in a thousand at the threshold
//! is missed.

pub use crate::recipe::{NearRule, NearUnit};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use ahash::AHashSet;
use harness_core::files::FileError;
use harness_core::random::{Purpose, Random, mix, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::spill::{Sorted, Spill};
use crate::text::{composed, ngram, words};

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
/// Pairs, and bytes of text, that are checked together on all threads.
const BATCH_PAIRS: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;

impl NearRule {
    /// (bands, rows of a band): as many rows as the threshold allows, so that few candidates are in vain.
    pub fn bands(&self) -> (u32, u32) {
        let missed = |rows: u32| {
            let bands = self.permutations / rows;
            libm::pow(1.0 - libm::pow(self.jaccard, f64::from(rows)), f64::from(bands))
        };
        let rows = (1..=self.permutations).take_while(|&rows| missed(rows) <= MISSED).last().unwrap_or(1);
        (self.permutations / rows, rows)
    }

    /// The document's n-grams as sorted, distinct 64-bit hashes. A document without units (no letter and no digit, for
    /// words) has none, and so is like no other.
    pub fn ngrams(&self, text: &str) -> Vec<u64> {
        let units: Vec<u64> = match self.unit {
            NearUnit::Words => words(text),
            NearUnit::Characters => {
                let lower = composed(text).to_lowercase();
                let words: Vec<&str> = lower.split_whitespace().collect();
                words.join(" ").chars().map(|c| mix(u64::from(c))).collect()
            }
        };
        let length = self.length as usize;
        let mut ngrams: Vec<u64> = match units.len() {
            0 => Vec::new(),
            short if short < length => vec![ngram(&units)],
            _ => units.windows(length).map(ngram).collect(),
        };
        ngrams.sort_unstable();
        ngrams.dedup();
        ngrams
    }
}

/// Shared n-grams divided by all n-grams of two sorted, distinct lists; 0 for two empty ones.
pub fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0usize);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, shared) = (i + 1, j + 1, shared + 1),
        }
    }
    shared as f64 / (a.len() + b.len() - shared).max(1) as f64
}

/// Finds the near duplicates among documents that are handed over one after another.
pub(crate) struct NearIndex {
    rule: NearRule,
    rows: usize,
    multipliers: Vec<u64>,
    offsets: Vec<u64>,
    /// The hash of each band of each document, with the document's place.
    bands: Spill,
    /// Where only pairs across sides matter: the hashes of the held-out documents.
    held_out: AHashSet<u64>,
    /// The candidates that the bands give.
    pairs: Spill,
    documents: u64,
    memory_bytes: usize,
}

/// Which pairs of documents matter.
#[derive(Clone, Copy)]
pub(crate) enum Among<'a> {
    /// All.
    All,
    /// Those of which one is held out, as said for each document, and the other is not.
    Sides(&'a [bool]),
}

impl NearIndex {
    /// `folders` are two empty folders for what does not fit into `memory_bytes`.
    pub(crate) fn new(rule: &NearRule, folders: [&Path; 2], memory_bytes: usize) -> Self {
        let (bands, rows) = rule.bands();
        let mut random = Random::new(seed(0, 0, Purpose::Generation));
        let used = (bands * rows) as usize;
        NearIndex {
            rule: rule.clone(),
            rows: rows as usize,
            multipliers: (0..used).map(|_| random.next_u64() | 1).collect(),
            offsets: (0..used).map(|_| random.next_u64()).collect(),
            bands: Spill::new(folders[0], memory_bytes / 2),
            pairs: Spill::new(folders[1], memory_bytes / 4),
            held_out: AHashSet::new(),
            documents: 0,
            memory_bytes,
        }
    }

    /// Takes in the next documents, on all threads.
    pub(crate) fn push(&mut self, texts: &[String]) -> Result<(), FileError> {
        let places: Vec<u64> = (self.documents..).take(texts.len()).collect();
        self.documents += texts.len() as u64;
        self.push_hashes(&places, self.hashed(texts))
    }

    /// Takes in held-out documents with their places. All of them come before the others.
    pub(crate) fn push_held_out(&mut self, places: &[u64], texts: &[String]) -> Result<(), FileError> {
        let hashed = self.hashed(texts);
        self.held_out.extend(hashed.iter().flatten());
        self.push_hashes(places, hashed)
    }

    /// Takes in documents of the other side with their places. A band that no held-out one has is forgotten at once, so
    /// that little is kept of a large corpus.
    pub(crate) fn push_others(&mut self, places: &[u64], texts: &[String]) -> Result<(), FileError> {
        let mut hashed = self.hashed(texts);
        hashed.iter_mut().for_each(|hashes| hashes.retain(|hash| self.held_out.contains(hash)));
        self.push_hashes(places, hashed)
    }

    fn hashed(&self, texts: &[String]) -> Vec<Vec<u64>> {
        texts.par_iter().map(|text| self.band_hashes(text)).collect()
    }

    fn push_hashes(&mut self, places: &[u64], hashed: Vec<Vec<u64>>) -> Result<(), FileError> {
        let mut pairs = places.iter().zip(hashed);
        pairs.try_for_each(|(&place, hashes)| hashes.into_iter().try_for_each(|hash| self.bands.push(hash, place)))
    }

    /// One hash for each band, that of the band's number and rows; none for a document without n-grams.
    fn band_hashes(&self, text: &str) -> Vec<u64> {
        let ngrams = self.rule.ngrams(text);
        if ngrams.is_empty() {
            return Vec::new();
        }
        let mut least = vec![u32::MAX; self.multipliers.len()];
        for ngram in ngrams {
            // Multiply-shift hashing (Dietzfelbinger et al. 1997): the upper half of a * x + b.
            for ((least, a), b) in least.iter_mut().zip(&self.multipliers).zip(&self.offsets) {
                let value = (a.wrapping_mul(ngram).wrapping_add(*b) >> 32) as u32;
                *least = value.min(*least);
            }
        }
        let join = |(band, rows): (u64, &[u32])| rows.iter().fold(band, |all, &row| mix(all ^ u64::from(row)));
        (0..).zip(least.chunks_exact(self.rows)).map(join).collect()
    }

    /// Pairs that agree on a band, the earlier document first, in order; one that agrees on several bands is repeated.
    fn candidates(bands: Spill, mut pairs: Spill, among: Among) -> Result<Sorted, FileError> {
        let held_out = |place: u64| match among {
            Among::All => false,
            Among::Sides(held_out) => held_out[place as usize],
        };
        let mut band = None;
        // The last documents of the band, of either side.
        let mut earlier: [VecDeque<u64>; 2] = Default::default();
        for pair in bands.sorted()? {
            let (hash, place) = pair?;
            if band.replace(hash) != Some(hash) {
                earlier.iter_mut().for_each(VecDeque::clear);
            }
            let side = usize::from(held_out(place));
            let other = if matches!(among, Among::All) { side } else { 1 - side };
            earlier[other].iter().try_for_each(|&first| pairs.push(first, place))?;
            if earlier[side].len() == NEIGHBOURS {
                earlier[side].pop_front();
            }
            earlier[side].push_back(place);
        }
        pairs.sorted()
    }

    /// Hands the pairs whose true similarity reaches the threshold to `found`, in order. `text` gives a document again
    /// by its place; pairs of which `joined` says that they belong together already may be left out.
    pub(crate) fn each_pair<E: From<FileError>, S>(
        self,
        among: Among,
        state: &mut S,
        joined: impl Fn(&mut S, usize, usize) -> bool,
        mut text: impl FnMut(usize) -> Result<String, E>,
        mut found: impl FnMut(&mut S, NearPair),
    ) -> Result<(), E> {
        let NearIndex { rule, bands, pairs, memory_bytes, .. } = self;
        let mut candidates = Self::candidates(bands, pairs, among)?.peekable();
        let mut sets: HashMap<usize, Vec<u64>> = HashMap::new();
        let mut held = 0;
        let mut last = None;
        while candidates.peek().is_some() {
            if held > memory_bytes / 4 / size_of::<u64>() {
                (sets, held) = (HashMap::new(), 0);
            }
            let (mut batch, mut texts, mut bytes) = (Vec::new(), BTreeMap::new(), 0);
            while bytes < BATCH_BYTES && batch.len() < BATCH_PAIRS {
                let Some(pair) = candidates.next().transpose()? else { break };
                let (first, second) = (pair.0 as usize, pair.1 as usize);
                if last.replace(pair) == Some(pair) || joined(state, first, second) {
                    continue;
                }
                for at in [first, second] {
                    if !sets.contains_key(&at) && !texts.contains_key(&at) {
                        let text = text(at)?;
                        bytes += text.len();
                        texts.insert(at, text);
                    }
                }
                batch.push((first, second));
            }
            let read: Vec<(usize, Vec<u64>)> =
                texts.into_par_iter().map(|(at, text)| (at, rule.ngrams(&text))).collect();
            held += read.iter().map(|(_, set)| set.len()).sum::<usize>();
            sets.extend(read);
            let similar = |&(first, second): &(usize, usize)| {
                let jaccard = jaccard(&sets[&first], &sets[&second]);
                (jaccard >= rule.jaccard).then_some(NearPair { first, second, jaccard })
            };
            let similar: Vec<Option<NearPair>> = batch.par_iter().map(similar).collect();
            similar.into_iter().flatten().for_each(|pair| found(state, pair));
        }
        Ok(())
    }

    /// The documents that are not the first of their cluster, each with the first one. Documents are in one cluster if
    /// a chain of pairs joins them.
    pub(crate) fn clusters<E: From<FileError>>(
        self,
        text: impl FnMut(usize) -> Result<String, E>,
    ) -> Result<Vec<(usize, usize)>, E> {
        let mut clusters = Clusters::new(self.documents as usize);
        let joined = |clusters: &mut Clusters, a, b| clusters.first(a) == clusters.first(b);
        self.each_pair(Among::All, &mut clusters, joined, text, |clusters, pair| {
            clusters.join(pair.first, pair.second)
        })?;
        Ok(clusters.later().collect())
    }
}

/// The near duplicates among texts in memory.
pub fn near_pairs(texts: &[String], rule: &NearRule) -> Result<Vec<NearPair>, FileError> {
    let nowhere = Path::new("");
    let mut index = NearIndex::new(rule, [nowhere; 2], usize::MAX);
    index.push(texts)?;
    let mut pairs = Vec::new();
    let text = |at: usize| Ok::<_, FileError>(texts[at].clone());
    index.each_pair(Among::All, &mut pairs, |_, _, _| false, text, |pairs, pair| pairs.push(pair))?;
    Ok(pairs)
}

/// Sets of documents, each known by its first one (union-find: Tarjan 1975, Efficiency of a Good But Not Linear Set
/// Union Algorithm, with path halving).
struct Clusters(Vec<u32>);

impl Clusters {
    fn new(documents: usize) -> Self {
        let documents = u32::try_from(documents).expect("places of documents are 32-bit numbers");
        Clusters((0..documents).collect())
    }

    fn first(&mut self, at: usize) -> usize {
        let mut at = at;
        while self.0[at] as usize != at {
            self.0[at] = self.0[self.0[at] as usize];
            at = self.0[at] as usize;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first(a), self.first(b));
        self.0[a.max(b)] = a.min(b) as u32;
    }

    /// The documents that are not the first of their set, each with the first one.
    fn later(mut self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.0.len()).map(move |at| (at, self.first(at))).filter(|(at, first)| at != first)
    }
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

    /// Thirty lines of words and eight different ones without a letter or digit.
    #[test]
    fn documents_without_words_are_like_no_other() {
        let texts: Vec<String> =
            ["!!!", "???", "->", "<-", "\u{1f986}", "\u{1f600} \u{1f600}", "...", "---", "one two", "one two!"]
                .map(str::to_owned)
                .into();
        let rule = NearRule::default();
        assert_eq!(texts[..8].iter().map(|text| rule.ngrams(text).len()).sum::<usize>(), 0);
        assert_eq!(jaccard(&[], &[]), 0.0);
        let found = near_pairs(&texts, &rule).unwrap();
        assert_eq!(found, [NearPair { first: 8, second: 9, jaccard: 1.0 }]);
        let characters = NearRule { unit: NearUnit::Characters, ..rule };
        assert_eq!(near_pairs(&texts[..8], &characters).unwrap(), []);
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
        let mut clusters = Clusters::new(6);
        [(3, 4), (1, 4), (0, 5)].into_iter().for_each(|(a, b)| clusters.join(a, b));
        assert_eq!(clusters.later().collect::<Vec<_>>(), [(3, 1), (4, 1), (5, 0)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pairs_are_those_of_brute_force(texts in prop::collection::vec("[a-c ]{0,30}", 0..25)) {
            let rule = NearRule { length: 2, jaccard: 0.7, ..NearRule::default() };
            let found = near_pairs(&texts, &rule).unwrap();
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
