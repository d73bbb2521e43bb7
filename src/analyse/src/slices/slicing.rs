//! Which slice each held-out token is in: a partition of the tokens for each kind of slices.

use std::collections::BTreeMap;

use harness_core::corpus_manifest::Manifest;
use harness_core::names::Project;

use super::scored::Scored;
use super::text::Text;
use super::words::{Part, WordKind};
use super::{By, SliceError, bins, repeats};
use harness_record::SealedRun;

/// For each token the slice it is in.
pub(super) struct Slicing {
    /// What is sliced by.
    pub by: By,
    /// The slices.
    pub names: Vec<String>,
    /// For each predicted token the index of its slice.
    pub of: Vec<u16>,
}

impl Slicing {
    /// From the index of each token's slice and the name of an index.
    pub(super) fn of(by: By, of: impl IntoIterator<Item = usize>, name: impl Fn(usize) -> String) -> Self {
        let of: Vec<u16> = of.into_iter().map(|index| index.min(usize::from(u16::MAX)) as u16).collect();
        let count = of.iter().max().map_or(0, |most| usize::from(*most) + 1);
        Slicing { by, names: (0..count).map(name).collect(), of }
    }
}

/// A slicing that needs the sealed run alone.
pub(super) fn slicing_of_run(by: By, run: &SealedRun, scored: &Scored) -> Slicing {
    let mut of = Vec::with_capacity(scored.losses.len());
    match by {
        By::Source => {
            let of_document = sources(&run.corpus);
            let mut names = of_document.clone();
            names.sort();
            names.dedup();
            // Of a manifest without its documents nothing is known: all are of one source without a name.
            let place = |document: u64| {
                of_document.get(document as usize).and_then(|name| names.binary_search(name).ok()).unwrap_or(0)
            };
            scored.for_each_place(|window, _| of.push(place(window.document)));
            Slicing::of(by, of, |index| (*names.get(index).unwrap_or(&"")).to_owned())
        }
        By::Length => {
            let mut tokens: Vec<u64> = Vec::new();
            for window in &scored.windows {
                tokens.resize(tokens.len().max(window.document as usize + 1), 0);
                tokens[window.document as usize] += window.tokens;
            }
            scored.for_each_place(|window, _| of.push(bins::power_of_two(tokens[window.document as usize])));
            Slicing::of(by, of, bins::power_of_two_name)
        }
        // The token at place 0 of a window is predicted from one token, the separator or the last one before it.
        _ => {
            scored.for_each_place(|_, at| of.push(bins::power_of_two(at + 1)));
            Slicing::of(By::Position, of, bins::power_of_two_name)
        }
    }
}

/// A slicing that needs the text.
pub(super) fn slicing_by_text(
    by: By,
    project: &Project,
    run: &SealedRun,
    text: &Text,
    scored: &Scored,
) -> Result<Slicing, SliceError> {
    Ok(match by {
        By::Frequency => {
            let counts = text.training_counts(project, run)?;
            let bins = text.predicted().map(|token| bins::decade(counts[token as usize]));
            Slicing::of(by, bins, bins::decade_name)
        }
        By::WordPart => {
            let parts = text.classes().into_iter().map(|(part, _)| part as usize);
            Slicing::of(by, parts, |index| Part::ALL[index].name().to_owned())
        }
        By::WordKind => {
            let kinds = text.classes().into_iter().map(|(_, kind)| kind as usize);
            Slicing::of(by, kinds, |index| WordKind::ALL[index].name().to_owned())
        }
        _ => {
            let mut lengths = Vec::with_capacity(scored.losses.len());
            for window in &scored.windows {
                let tokens = &text.documents[window.document as usize];
                let first = window.first_token as usize;
                lengths.extend(repeats::repeated(&tokens[first - 1..first + window.tokens as usize]));
            }
            Slicing::of(By::Repetition, lengths.into_iter().map(usize::from), repeats::name)
        }
    })
}

/// The source of each validation document as the recipe speaks of it, in order: `aesops-fables` of `aesops-fables#12`, and
/// `web` of `web/part-3.jsonl#12` where the recipe's pattern `web` stands for that file.
pub(super) fn sources(corpus: &Manifest) -> Vec<&str> {
    let of_pattern: BTreeMap<&str, &str> =
        corpus.sources.iter().filter_map(|file| Some((&*file.name, file.pattern.as_deref()?))).collect();
    let source = |id| {
        let (file, _) = str::rsplit_once(id, '#').unwrap_or((id, ""));
        *of_pattern.get(file).unwrap_or(&file)
    };
    corpus.validation_documents.iter().map(|document| source(&document.id)).collect()
}
