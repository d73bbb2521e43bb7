//! Words that compare or confirm, where no test is quoted.

use super::desk::{Desk, holds};
use super::text::{Kind, Sentence};
use super::{Found, Rule};
use crate::claims;
use crate::section::{Function, Section};

/// Beginnings of words that judge: of an experiment, a task or a metric.
const JUDGE: [&str; 12] = [
    "improv",
    "outperform",
    "significan",
    "superior",
    "inferior",
    "surpass",
    "degrad",
    "boost",
    "benefi",
    "deteriorat",
    "exceed",
    "winn",
];
/// Whole words that judge.
const JUDGING: [&str; 13] =
    ["better", "worse", "beat", "beats", "hurt", "hurts", "help", "helps", "helped", "harm", "harms", "wins", "faster"];
/// Beginnings of words that say a direction: of a metric.
const DIRECT: [&str; 3] = ["increas", "decreas", "reduc"];
/// Whole words that say one.
const DIRECTING: [&str; 19] = [
    "higher", "lower", "fewer", "drop", "drops", "dropped", "rise", "rises", "rose", "fall", "falls", "fell", "gain",
    "gains", "smaller", "larger", "less", "more", "grows",
];
/// Where nothing is claimed but asked, supposed or planned.
const SUPPOSED: [&str; 16] = [
    "if",
    "whether",
    "would",
    "may",
    "might",
    "could",
    "should",
    "expect",
    "expected",
    "hypothesize",
    "hypothesise",
    "suppose",
    "unclear",
    "ask",
    "open",
    "unless",
];

/// Words of a comparison near the name of what is compared.
pub(super) fn claims(desk: &Desk, section: &Section, sentence: &Sentence) -> Vec<Found> {
    let plain = sentence.plain();
    let quotes_test = |function: Function| {
        matches!(function, Function::Compare | Function::Standing | Function::Claim | Function::Verdict)
    };
    let counts_verdicts = sentence.calls().any(|call| {
        call.function == Function::Count && call.arguments.first().is_some_and(|what| what.text.starts_with("tasks-"))
    });
    if counts_verdicts
        || sentence.calls().any(|call| quotes_test(call.function))
        || SUPPOSED.iter().any(|word| holds(&plain, word))
    {
        return Vec::new();
    }
    let (metric, subjects) = (desk.names_metric(sentence), desk.subjects(sentence));
    let cites = sentence.calls().any(|call| matches!(call.function, Function::Citep | Function::Citet));
    if subjects.is_empty() && (cites || !metric) {
        return Vec::new();
    }
    let words: Vec<String> = sentence
        .tokens
        .iter()
        .map(|token| if matches!(token.kind, Kind::Word) { token.plain() } else { String::new() })
        .collect();
    let is_claim = |at: &usize| {
        let word = words[*at].as_str();
        let begins = |with: &[&str]| with.iter().any(|start| word.starts_with(start));
        let judges = begins(&JUDGE) || JUDGING.contains(&word);
        let directs = metric && (begins(&DIRECT) || DIRECTING.contains(&word)) && !is_amount(&words, *at);
        (judges || directs) && !is_purpose(&words, *at) && !is_left_open(&words, *at)
    };
    let Some(at) = (0..words.len()).find(is_claim) else { return Vec::new() };
    let problem = format!("`{}` claims something that no test stands behind", sentence.tokens[at].bare());
    vec![Found::new(Rule::Claim, sentence.tokens[at].offset, problem, desk.instead(section, sentence))]
}

/// `more items`, `less than`: an amount of something else.
fn is_amount(words: &[String], at: usize) -> bool {
    const OF_METRIC: [&str; 8] = ["loss", "accurate", "accuracy", "perplexity", "bits", "errors", "error", "nats"];
    let comparative = ["more", "less", "fewer", "larger", "smaller"].contains(&words[at].as_str());
    comparative && !words.get(at + 1).is_some_and(|next| OF_METRIC.contains(&next.as_str()))
}

/// `what improved`, `neither better nor worse`: said of nothing in particular, or of nothing.
fn is_left_open(words: &[String], at: usize) -> bool {
    let before = &words[at.saturating_sub(2)..at];
    before.iter().any(|word| ["what", "which", "neither", "nor", "how"].contains(&word.as_str()))
}

/// `to improve` says what something is for, unless something was seen to improve.
fn is_purpose(words: &[String], at: usize) -> bool {
    const SEEN: [&str; 12] =
        ["found", "seen", "shown", "seems", "seem", "appears", "appear", "tends", "known", "proves", "turned", "turns"];
    let before = |by: usize| at.checked_sub(by).map_or("", |at| words[at].as_str());
    before(1) == "to" && !SEEN.contains(&before(2)) && !SEEN.contains(&before(3))
}

/// Words of confirmation about what was explored.
pub(super) fn confirmations(desk: &Desk, section: &Section, sentence: &Sentence) -> Vec<Found> {
    const CONFIRM: [&str; 5] = ["confirm", "demonstrat", "verif", "establish", "prove"];
    const PHRASES: [&str; 14] = [
        "as predicted",
        "as expected",
        "as we expected",
        "as we predicted",
        "as hypothesized",
        "as hypothesised",
        "preregistered",
        "hypothesis holds",
        "hypothesis is true",
        "hypothesis is right",
        "shows that",
        "show that",
        "showed that",
        "shown that",
    ];
    const STUDY: [&str; 10] =
        ["hypothesis", "experiment", "experiments", "results", "result", "runs", "we", "our", "this", "study"];
    let plain = sentence.plain();
    let quotes = sentence.calls().any(|call| matches!(call.function, Function::Claim | Function::Verdict));
    let denied = ["not", "no", "never", "nothing", "cannot"].iter().any(|word| holds(&plain, word));
    let supposed = ["if", "whether", "would", "might", "could"].iter().any(|word| holds(&plain, word));
    if quotes || denied || supposed {
        return Vec::new();
    }
    let word = sentence
        .tokens
        .iter()
        .find(|token| matches!(token.kind, Kind::Word) && CONFIRM.iter().any(|start| token.plain().starts_with(start)));
    let phrase = PHRASES.iter().find(|phrase| holds(&plain, phrase));
    let (said, offset) = match (word, phrase) {
        (Some(token), _) => (token.bare().to_owned(), token.offset),
        (None, Some(phrase)) => {
            let first = phrase.split(' ').next().unwrap_or_default();
            let at = sentence.tokens.iter().find(|token| token.plain() == first);
            ((*phrase).to_owned(), at.map_or(sentence.tokens[0].offset, |token| token.offset))
        }
        (None, None) => return Vec::new(),
    };
    let speaks_of_study = STUDY.iter().any(|word| holds(&plain, word)) || !desk.subjects(sentence).is_empty();
    let cites = sentence.calls().any(|call| matches!(call.function, Function::Citep | Function::Citet));
    if !speaks_of_study || cites {
        return Vec::new();
    }
    let explored = desk.changes(section, sentence).into_iter().find_map(|change| {
        let reference = desk.numbers.families.reference(change)?;
        let claim = desk.claim(change, reference, "validation.bits_per_byte".to_owned());
        Some((change.name(), claims::exploratory(desk.numbers, &claim)?))
    });
    let Some((name, why)) = explored else { return Vec::new() };
    let problem = format!("`{said}` is said of `{name}`, which is exploratory: {why}");
    vec![Found::new(Rule::Exploratory, offset, problem, desk.instead(section, sentence))]
}
