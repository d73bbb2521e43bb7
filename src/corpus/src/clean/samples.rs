//! What a cleaning step removed and changed, for a person to look at: of each, the documents of lowest rank, which
//! is a fixed random sample of all of them.

use std::collections::BTreeMap;

use harness_core::digest::Digest;
use serde::{Deserialize, Serialize};

/// Kept of each step and kind.
const SAMPLES: usize = 10;
/// Characters shown of a text.
const SHOWN: usize = 400;

/// One document that a step removed or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The step.
    pub step: String,
    /// Its place in the recipe, from 0.
    pub step_index: usize,
    /// `removed` or `changed`.
    pub what: String,
    /// The rule of the step that it broke, where the step has several.
    pub rule: String,
    /// What the rule saw in the document: a count, a share, the n-gram that is repeated; empty where a text changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub saw: String,
    /// The document; its source is put before it in the corpus.
    pub id: String,
    /// Text before the step: its beginning, or what is around the first difference.
    pub before: String,
    /// The same place after the step; empty where it was removed.
    pub after: String,
    /// Decides which documents are in the sample.
    pub rank: Digest,
}

/// The samples so far: by step and kind, and of each the lowest ranks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(BTreeMap<(usize, String), BTreeMap<Digest, Sample>>);

impl Samples {
    /// Takes a document into the sample if its rank is low enough. A step is given by place and name, a rule by name and
    /// what it saw.
    pub(crate) fn offer(
        &mut self,
        step: (usize, &str),
        rule: (&str, &str),
        index: u64,
        before: &str,
        after: Option<&str>,
    ) {
        let beginning: String = before.chars().take(64).collect();
        let rank = Digest::of(format!("{} {index} {beginning}", step.1).as_bytes());
        let what = if after.is_some() { "changed" } else { "removed" };
        let of_kind = self.0.entry((step.0, what.to_owned())).or_default();
        if of_kind.len() == SAMPLES && of_kind.last_key_value().is_some_and(|(last, _)| *last < rank) {
            return;
        }
        let from = after.map_or(0, |after| difference(before, after).saturating_sub(SHOWN / 4));
        let shown = |text: &str| text.chars().skip(from).take(SHOWN).collect::<String>();
        self.add(Sample {
            step: step.1.to_owned(),
            step_index: step.0,
            what: what.to_owned(),
            rule: rule.0.to_owned(),
            saw: rule.1.to_owned(),
            id: index.to_string(),
            before: shown(before),
            after: after.map(shown).unwrap_or_default(),
            rank,
        });
    }

    /// Takes in a sample, perhaps of another part of the corpus.
    pub(crate) fn add(&mut self, sample: Sample) {
        let of_kind = self.0.entry((sample.step_index, sample.what.clone())).or_default();
        of_kind.insert(sample.rank, sample);
        if of_kind.len() > SAMPLES {
            of_kind.pop_last();
        }
    }

    /// In the order of steps, kinds and ranks.
    pub(crate) fn into_sorted(self) -> Vec<Sample> {
        self.0.into_values().flat_map(BTreeMap::into_values).collect()
    }
}

/// The first character that differs.
fn difference(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}
