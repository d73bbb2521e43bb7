//! An English-like language of our own, for demonstrations and tests that need no download: a deterministic corpus of
//! short documents and zero-shot tasks about the same grammar.
//!
//! It has what small language models are asked about: subject-verb agreement (also across prepositional phrases and
//! relative clauses), reflexives that agree in number and gender, determiners that agree with their noun, questions
//! and embedded clauses with a gap, verbs that select the kind of their object, and things to be remembered across
//! sentences. A few hundred content words; every word and rule is in this folder.
//!
//! What is asked was never seen: about one in six pairs of a subject noun and a verb is held out. The corpus never
//! makes a clause of such a pair, and every sentence of a task has one, so no sentence of a task can occur in a
//! corpus, whatever the seeds (see [`lexicon::held_out`]).

pub mod lexicon;
mod probes;
mod sentences;

pub use probes::{Probe, probe};
pub use sentences::corpus;

/// Raised when a change of words or rules changes what the same seed gives.
pub const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const PROBES: [Probe; 12] = [
        Probe::AgreementSimple,
        Probe::AgreementAcrossPhrase,
        Probe::AgreementAcrossClause,
        Probe::AnaphorNumber,
        Probe::AnaphorGender,
        Probe::DeterminerNoun,
        Probe::DeterminerAdjectiveNoun,
        Probe::GapNeedsFiller,
        Probe::FillerNeedsGap,
        Probe::ObjectSelection,
        Probe::VerbSelection,
        Probe::Recall,
    ];

    fn sentences(text: &str) -> impl Iterator<Item = &str> {
        text.split_inclusive(['.', '?']).map(str::trim)
    }

    #[test]
    fn the_same_seed_gives_the_same_documents_and_another_seed_others() {
        let documents = |seed| corpus(seed, 50).collect::<Vec<_>>();
        assert_eq!(documents(1), documents(1));
        assert_ne!(documents(1), documents(2));
        let longer: Vec<String> = corpus(1, 60).collect();
        assert_eq!(longer[..50], documents(1), "documents do not depend on how many follow");
    }

    #[test]
    fn no_sentence_of_a_task_occurs_in_a_corpus() {
        let trained: HashSet<String> = (1..4)
            .flat_map(|seed| corpus(seed, 4000))
            .flat_map(|text| sentences(&text).map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert!(trained.len() > 10_000);
        for kind in PROBES {
            let items = probe(kind, 7, 500);
            assert_eq!(items.len(), 500, "{kind:?} has items enough");
            for item in items {
                for text in item.texts() {
                    // A recalled word has its full stop in a corpus.
                    let text = if kind == Probe::Recall { format!("{text}.") } else { text };
                    // In a recall item the sentences in between are the corpus's; the first and last are not.
                    let all: Vec<&str> = sentences(&text).collect();
                    let asked = if kind == Probe::Recall { vec![all[0], all[all.len() - 1]] } else { all };
                    for sentence in asked {
                        assert!(!trained.contains(sentence), "{kind:?}: {sentence}");
                    }
                }
            }
        }
    }

    #[test]
    fn right_and_wrong_differ_and_both_numbers_are_asked() {
        for kind in PROBES {
            let items = probe(kind, 1, 300);
            for item in &items {
                let different: HashSet<&String> = item.choices.iter().collect();
                assert_eq!(different.len(), item.choices.len(), "{item:?}");
                assert!(item.gold < item.choices.len());
            }
            if kind == Probe::AnaphorNumber {
                let plural = items.iter().filter(|item| item.choices[0].contains("themselves")).count();
                assert!((90..210).contains(&plural), "{plural}");
            }
        }
    }
}
