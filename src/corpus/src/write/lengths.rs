//! How long the kept documents are, in bytes and in tokens: by side and by source, as counts in powers of two and as
//! exact quartiles.

use std::collections::BTreeMap;

use harness_core::corpus_manifest::{DocumentLengths, Lengths, SourceLengths, TextLengths};

/// Counts lengths as they come. Holds one number for each length that occurs: at most `sqrt(2 t)` of them where the
/// lengths add up to `t`, however many documents there are.
#[derive(Clone, Debug, Default)]
struct Counter(BTreeMap<u64, u64>);

impl Counter {
    fn add(&mut self, length: u64) {
        *self.0.entry(length).or_default() += 1;
    }

    fn lengths(&self) -> Lengths {
        let documents: u64 = self.0.values().sum();
        let mut by_power_of_two = Vec::new();
        for (length, count) in &self.0 {
            let place = length.max(&1).ilog2() as usize;
            by_power_of_two.resize(place + 1, 0);
            by_power_of_two[place] += count;
        }
        Lengths {
            documents,
            total: self.0.iter().map(|(length, count)| length * count).sum(),
            smallest: self.0.keys().next().copied().unwrap_or(0),
            lower_quartile: self.at_rank(documents.div_ceil(4)),
            median: self.at_rank(documents.div_ceil(2)),
            upper_quartile: self.at_rank((3 * documents).div_ceil(4)),
            largest: self.0.keys().next_back().copied().unwrap_or(0),
            by_power_of_two,
        }
    }

    /// The length of the document at a rank of ascending length, from 1; 0 without documents.
    fn at_rank(&self, rank: u64) -> u64 {
        let mut seen = 0;
        for (length, count) in &self.0 {
            seen += count;
            if seen >= rank {
                return *length;
            }
        }
        0
    }
}

#[derive(Clone, Debug, Default)]
struct TextCounter {
    bytes: Counter,
    tokens: Counter,
}

impl TextCounter {
    fn add(&mut self, bytes: u64, tokens: u64) {
        self.bytes.add(bytes);
        self.tokens.add(tokens);
    }

    fn lengths(&self) -> TextLengths {
        TextLengths { bytes: self.bytes.lengths(), tokens: self.tokens.lengths() }
    }
}

/// A side of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SideOf {
    Train,
    Validation,
    Test,
}

impl SideOf {
    /// What its shards begin with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SideOf::Train => "train",
            SideOf::Validation => "validation",
            SideOf::Test => "test",
        }
    }
}

/// Takes in every kept document.
#[derive(Clone, Debug)]
pub(crate) struct LengthCounter {
    train: TextCounter,
    validation: TextCounter,
    test: TextCounter,
    sources: Vec<TextCounter>,
}

impl LengthCounter {
    pub(crate) fn new(sources: usize) -> Self {
        let none = TextCounter::default;
        LengthCounter { train: none(), validation: none(), test: none(), sources: vec![none(); sources] }
    }

    /// A kept document of the source with this number.
    pub(crate) fn add(&mut self, source: usize, side: SideOf, bytes: u64, tokens: u64) {
        match side {
            SideOf::Train => self.train.add(bytes, tokens),
            SideOf::Validation => self.validation.add(bytes, tokens),
            SideOf::Test => self.test.add(bytes, tokens),
        }
        self.sources[source].add(bytes, tokens);
    }

    /// `names` are those of the sources, in order.
    pub(crate) fn lengths<'a>(&self, names: impl Iterator<Item = &'a str>) -> DocumentLengths {
        let of = |(name, counter): (&str, &TextCounter)| SourceLengths {
            source: name.to_owned(),
            lengths: counter.lengths(),
        };
        DocumentLengths {
            train: self.train.lengths(),
            validation: self.validation.lengths(),
            test: self.test.lengths(),
            sources: names.zip(&self.sources).map(of).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lengths_are_those_of_the_sorted_list(mut all in prop::collection::vec(0u64..3000, 0..120)) {
            let mut counter = Counter::default();
            all.iter().for_each(|length| counter.add(*length));
            let found = counter.lengths();
            all.sort_unstable();
            prop_assert_eq!(found.documents, all.len() as u64);
            prop_assert_eq!(found.by_power_of_two.iter().sum::<u64>(), found.documents);
            prop_assert_eq!(found.total, all.iter().sum::<u64>());
            let quartile = |share: usize| match all.len() {
                0 => 0,
                n => all[(share * n).div_ceil(4) - 1],
            };
            prop_assert_eq!(
                [found.smallest, found.lower_quartile, found.median, found.upper_quartile, found.largest],
                [all.first().copied().unwrap_or(0), quartile(1), quartile(2), quartile(3), all.last().copied().unwrap_or(0)]
            );
            for (place, count) in found.by_power_of_two.iter().enumerate() {
                let from = if place == 0 { 0 } else { 1u64 << place };
                let within = all.iter().filter(|l| (from..2u64 << place).contains(*l)).count();
                prop_assert_eq!(*count, within as u64);
            }
            prop_assert_ne!(found.by_power_of_two.last(), Some(&0));
        }
    }
}
