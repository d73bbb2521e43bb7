//! The held-out passages that one run predicts much better or much worse than another: where to look for the reason
//! of a difference in the mean.

use serde::Serialize;

use super::scored::Scored;
use super::text::Text;
use harness_record::SealedRun;

/// Tokens of a passage: some twenty words, so that a line or two shows it.
const PASSAGE_TOKENS: usize = 32;
/// Tokens shown before a passage, to read it in its place.
const BEFORE_TOKENS: usize = 16;

/// A passage of a held-out document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Passage {
    /// The document, as the manifest of the corpus names it.
    pub document: String,
    /// Index in the document of its first token.
    pub first_token: u64,
    /// Mean loss of the reference, in nats per token.
    pub reference_nats: f64,
    /// Mean loss of the other run.
    pub other_nats: f64,
    /// Other minus reference.
    pub difference_nats: f64,
    /// Text before it.
    pub before: String,
    /// Its tokens.
    pub tokens: Vec<PassageToken>,
}

/// One token of a passage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PassageToken {
    /// Its text; part of a character is shown as U+FFFD.
    pub text: String,
    /// Loss of the reference, in nats.
    pub reference_nats: f64,
    /// Loss of the other run.
    pub other_nats: f64,
}

/// The `most` passages whose loss fell most, then those whose loss rose most. Documents are cut into passages of equal
/// length; what is left over at the end of a document counts if it is half as long.
pub(super) fn passages(
    run: &SealedRun,
    text: &Text,
    reference: &Scored,
    other: &Scored,
    most: usize,
) -> (Vec<Passage>, Vec<Passage>) {
    let difference =
        |token: usize| f64::from(other.losses.loss_nats[token]) - f64::from(reference.losses.loss_nats[token]);
    // (mean difference, document, index in it, tokens, index among all tokens)
    let mut found: Vec<(f64, usize, usize, usize, usize)> = Vec::new();
    let mut start = 0;
    for (document, tokens) in text.documents.iter().enumerate() {
        let predicted = tokens.len() - 1;
        for at in (0..predicted).step_by(PASSAGE_TOKENS) {
            let length = PASSAGE_TOKENS.min(predicted - at);
            if 2 * length >= PASSAGE_TOKENS {
                let sum: f64 = (start + at..start + at + length).map(difference).sum();
                found.push((sum / length as f64, document, at + 1, length, start + at));
            }
        }
        start += predicted;
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let passage = |&(difference_nats, document, at, length, first): &(f64, usize, usize, usize, usize)| {
        let tokens = &text.documents[document];
        let mean = |scored: &Scored| {
            scored.losses.loss_nats[first..first + length].iter().map(|&nats| f64::from(nats)).sum::<f64>()
                / length as f64
        };
        let token = |index: usize| PassageToken {
            text: text.of(&tokens[at + index..=at + index]),
            reference_nats: f64::from(reference.losses.loss_nats[first + index]),
            other_nats: f64::from(other.losses.loss_nats[first + index]),
        };
        Passage {
            document: run
                .corpus
                .validation_documents
                .get(document)
                .map_or_else(|| document.to_string(), |d| d.id.clone()),
            first_token: at as u64,
            reference_nats: mean(reference),
            other_nats: mean(other),
            difference_nats,
            before: text.of(&tokens[at.saturating_sub(BEFORE_TOKENS).max(1)..at]),
            tokens: (0..length).map(token).collect(),
        }
    };
    let improved = found.iter().take(most).filter(|f| f.0 < 0.0).map(passage).collect();
    let hurt = found.iter().rev().take(most).filter(|f| f.0 > 0.0).map(passage).collect();
    (improved, hurt)
}
