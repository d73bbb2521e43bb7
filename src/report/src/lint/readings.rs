//! Numbers that are bound and told as something else: the side of the data, the best of several, an average, a unit, a sign.

use harness_analyse::{Unit, lower_is_better};

use super::desk::{Desk, holds};
use super::text::{Kind, Sentence};
use super::{Found, Rule};
use crate::families::is_of_test_side;
use crate::section::{Call, Function};

/// What a sentence tells wrongly of the numbers that are bound in it.
pub(super) fn of(desk: &Desk, sentence: &Sentence) -> Vec<Found> {
    let plain = sentence.plain();
    let mut found = Vec::new();
    found.extend(side(sentence, &plain));
    found.extend(best(sentence, &plain));
    found.extend(average(desk, sentence, &plain));
    for (at, token) in sentence.tokens.iter().enumerate() {
        if let Some(call) = token.call() {
            found.extend(unit(desk, sentence, at, call));
            found.extend(sign(desk, sentence, at, call));
        }
    }
    found
}

/// The key that a call is about.
pub(super) fn key(call: &Call) -> Option<&str> {
    let at = match call.function {
        Function::Value | Function::Standing => 1,
        Function::Delta | Function::Compare => 2,
        _ => return None,
    };
    call.arguments.get(at).map(|argument| argument.text.as_str())
}

fn denied(plain: &str) -> bool {
    ["not", "no", "never", "neither", "without"].iter().any(|word| holds(plain, word))
}

/// A value of the validation side, told as one of the test side.
fn side(sentence: &Sentence, plain: &str) -> Option<Found> {
    const OF_DATA: [&str; 18] = [
        "set",
        "side",
        "split",
        "data",
        "text",
        "documents",
        "corpus",
        "loss",
        "perplexity",
        "bits",
        "bpb",
        "accuracy",
        "score",
        "scores",
        "error",
        "result",
        "results",
        "performance",
    ];
    let words: Vec<String> = sentence
        .tokens
        .iter()
        .map(|token| if token.call().is_some() { String::new() } else { token.plain() })
        .collect();
    let at = (0..words.len())
        .find(|&at| words[at] == "test" && words.get(at + 1).is_some_and(|next| OF_DATA.contains(&next.as_str())))?;
    let call = sentence
        .calls()
        .find(|call| key(call).is_some_and(|key| !is_of_test_side(key) && !key.starts_with("data.")))?;
    // Where a value of the test side stands in the sentence, that is what the words are said of.
    let is_told = sentence.calls().any(|call| key(call).is_some_and(is_of_test_side));
    if is_told || denied(plain) {
        return None;
    }
    let key = key(call).unwrap_or_default();
    let told =
        format!("`{} {}` is said of `{key}`, which was measured on the validation side", words[at], words[at + 1]);
    Some(Found::new(
        Rule::Side,
        sentence.tokens[at].offset,
        told,
        "say `validation`; what is opened on the test side is `harness evaluate --help`",
    ))
}

/// The best of several evaluations or runs, told as the result.
fn best(sentence: &Sentence, plain: &str) -> Option<Found> {
    const SEVERAL: [&str; 10] =
        ["seed", "seeds", "run", "runs", "trial", "trials", "checkpoint", "checkpoints", "attempt", "attempts"];
    const AT_THE_END: [&str; 8] =
        ["final", "finally", "ends", "in the end", "at the end", "after training", "our result", "end of training"];
    let on_the_way = sentence.calls().find(|call| key(call).is_some_and(|key| key.contains(".best_")));
    if let Some(call) = on_the_way {
        let says_so = ["best", "lowest", "minimum", "on the way"].iter().any(|words| holds(plain, words));
        let as_end = AT_THE_END.iter().any(|words| holds(plain, words));
        if !says_so || as_end {
            let key = key(call).unwrap_or_default();
            let of_end = key.replace(".best_", ".");
            let problem = format!("`{key}` is the best evaluation on the way, and is told as the result");
            return Some(Found::new(
                Rule::Best,
                call.offset,
                problem,
                format!("quote `{of_end}`, the last evaluation, or say that it is the best on the way"),
            ));
        }
    }
    let words: Vec<String> = sentence.tokens.iter().map(|token| token.plain()).collect();
    let of_several = |&at: &usize| {
        words[at] == "best" && words.iter().skip(at + 1).take(4).any(|word| SEVERAL.contains(&word.as_str()))
    };
    let at = (0..words.len()).find(of_several).filter(|_| !denied(plain) && on_the_way.is_none())?;
    let problem = "the best of several runs is no result: it is better than what the next run gives";
    Some(Found::new(
        Rule::Best,
        sentence.tokens[at].offset,
        problem,
        "quote the mean over the seeds, which `#value(...)` is",
    ))
}

/// Whether a sentence speaks of an average over something other than seeds.
pub(super) fn is_average(sentence: &Sentence) -> bool {
    const WORDS: [&str; 6] = ["mean", "average", "averaged", "averages", "avg", "averaging"];
    let plain = sentence.plain();
    let over_seeds =
        holds(&plain, "seeds") && !["tasks", "experiments", "models", "both"].iter().any(|word| holds(&plain, word));
    WORDS.iter().any(|word| holds(&plain, word)) && !over_seeds
}

/// One value told as an average over several tasks or experiments.
fn average(desk: &Desk, sentence: &Sentence, plain: &str) -> Option<Found> {
    const OVER: [&str; 8] = ["tasks", "experiments", "models", "both", "changes", "all", "benchmarks", "runs"];
    if !is_average(sentence) || !OVER.iter().any(|word| holds(plain, word)) {
        return None;
    }
    let is_group = |key: &str| {
        let id = key.strip_prefix("tasks.").and_then(|rest| rest.rsplit_once('.')).map(|(id, _)| id);
        let groups = desk.numbers.families.entries.iter().flat_map(|entry| &entry.latest.groups);
        id.is_some_and(|id| groups.into_iter().any(|group| group.id == id))
    };
    let measured = |key: &str| key.starts_with("validation.") || key.starts_with("tasks.");
    let call = sentence.calls().find(|call| {
        call.function == Function::Value && key(call).is_some_and(|key| measured(key) && !is_group(key))
    })?;
    let key = key(call).unwrap_or_default();
    let problem = format!("`{key}` is one value, and is told as an average");
    Some(Found::new(
        Rule::Average,
        call.offset,
        problem,
        "write `#mean-of((\"a\", \"b\"), \"KEY\")` over experiments, or `#mean-of(\"a\", (\"KEY\", \"KEY\"))` over tasks",
    ))
}

/// What stands behind a number as its unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Unit(Unit),
    Percent,
    Points,
    /// A unit that no number is shown in.
    Other,
    /// A noun of what is counted.
    Noun,
}

/// The unit behind a call: how it is written, and what it says.
fn said(sentence: &Sentence, at: usize) -> Option<(String, Said)> {
    const PHRASES: [(&str, Said); 26] = [
        ("bits per byte", Said::Unit(Unit::BitsPerByte)),
        ("bpb", Said::Unit(Unit::BitsPerByte)),
        ("bits per token", Said::Other),
        ("bits per character", Said::Other),
        ("bits", Said::Unit(Unit::BitsPerByte)),
        ("nats per byte", Said::Other),
        ("nats", Said::Unit(Unit::NatsPerToken)),
        ("percentage points", Said::Points),
        ("points", Said::Points),
        ("percent", Said::Percent),
        ("per cent", Said::Percent),
        ("%", Said::Percent),
        ("seconds", Said::Unit(Unit::Seconds)),
        ("minutes", Said::Other),
        ("hours", Said::Other),
        ("days", Said::Other),
        ("milliseconds", Said::Other),
        ("mib", Said::Unit(Unit::Bytes)),
        ("mb", Said::Other),
        ("gb", Said::Other),
        ("gib", Said::Other),
        ("tokens", Said::Noun),
        ("bytes", Said::Noun),
        ("parameters", Said::Noun),
        ("documents", Said::Noun),
        ("steps", Said::Noun),
    ];
    let behind: Vec<String> = sentence
        .tokens
        .iter()
        .skip(at + 1)
        .take(3)
        .take_while(|token| matches!(token.kind, Kind::Word))
        .map(|token| token.plain())
        .collect();
    // A sentence mark right behind the number ends what belongs to it.
    if sentence.tokens.get(at + 1).is_some_and(|next| next.glued && next.raw.starts_with([',', ';', ':', '.', ')'])) {
        return None;
    }
    let behind = format!("{} ", behind.join(" "));
    let begins = |(words, _): &&(&str, Said)| behind.starts_with(&format!("{words} "));
    PHRASES.iter().find(begins).map(|(words, said)| ((*words).to_owned(), *said))
}

fn unit(desk: &Desk, sentence: &Sentence, at: usize, call: &Call) -> Option<Found> {
    let is_difference = call.function == Function::Delta;
    if !is_difference && call.function != Function::Value {
        return None;
    }
    let (experiment, key) = (call.arguments.first()?, key(call)?);
    let unit = desk.numbers.families.entry(&experiment.text)?.values.get(key)?.unit;
    let (words, said) = said(sentence, at)?;
    let right = match (unit, said) {
        (Unit::Share, Said::Percent) => !is_difference,
        (Unit::Share, Said::Points) => is_difference,
        (Unit::Share, _) => false,
        (Unit::Count, Said::Noun) => counts(key, &words),
        // Of settings little is known but that they are no measurement.
        (Unit::Number | Unit::Decimal | Unit::Perplexity | Unit::Count, said) => {
            matches!(said, Said::Noun | Said::Points) || key.starts_with("config.") || key.starts_with("data.")
        }
        (unit, Said::Unit(said)) => said == unit,
        _ => false,
    };
    if right {
        return None;
    }
    let own = match (unit, is_difference) {
        (Unit::Share, true) => "percentage points".to_owned(),
        (Unit::Share, false) => "percent".to_owned(),
        (Unit::Count, _) => format!("what its key says: `{key}`"),
        (Unit::Perplexity | Unit::Number | Unit::Decimal, _) => "none".to_owned(),
        _ => crate::model::Number::value(0.0, None, unit).suffix.trim().to_owned(),
    };
    let problem = format!("`{words}` stands behind `{key}`, whose unit is {own}");
    Some(Found::new(Rule::Unit, call.offset, problem, "write the unit with `unit: true` in the call"))
}

/// Whether a noun may be what a key counts: unless the key names another.
fn counts(key: &str, noun: &str) -> bool {
    const NOUNS: [&str; 5] = ["token", "byte", "parameter", "document", "step"];
    let named = |noun: &str| key.contains(noun.trim_end_matches('s'));
    named(noun) || !NOUNS.iter().any(|other| named(other))
}

/// A difference with words of the other direction.
fn sign(desk: &Desk, sentence: &Sentence, at: usize, call: &Call) -> Option<Found> {
    const UP: [&str; 22] = [
        "higher",
        "more",
        "increase",
        "increases",
        "increased",
        "increasing",
        "rise",
        "rises",
        "rose",
        "up",
        "gain",
        "gains",
        "grows",
        "grew",
        "larger",
        "greater",
        "above",
        "adds",
        "added",
        "exceeds",
        "raises",
        "raised",
    ];
    const DOWN: [&str; 22] = [
        "lower",
        "less",
        "fewer",
        "decrease",
        "decreases",
        "decreased",
        "decreasing",
        "drop",
        "drops",
        "dropped",
        "fall",
        "falls",
        "fell",
        "down",
        "reduces",
        "reduced",
        "reduction",
        "smaller",
        "below",
        "saves",
        "lowers",
        "lowered",
    ];
    if call.function != Function::Delta {
        return None;
    }
    let [first, second, key] = call.arguments.as_slice() else { return None };
    let difference = desk.numbers.differences.get(&first.text, &second.text, &key.text)?;
    let number = difference.difference.number;
    if difference.difference.shown.in_one_piece().bytes().all(|b| !b.is_ascii_digit() || b == b'0') {
        return None;
    }
    // The word that is nearest in front of it, else behind it, up to another number.
    let says_up = |word: &str| match word {
        word if UP.contains(&word) => Some(true),
        word if DOWN.contains(&word) => Some(false),
        "better" | "improves" | "improved" | "improvement" => Some(!lower_is_better(&key.text)),
        "worse" | "worsens" | "degrades" | "deteriorates" => Some(lower_is_better(&key.text)),
        _ => None,
    };
    let before = sentence.tokens[..at].iter().rev().take(8).take_while(|token| token.call().is_none());
    let behind = sentence.tokens[at + 1..].iter().take(5).take_while(|token| token.call().is_none());
    let (token, up) = before.chain(behind).find_map(|token| Some((token, says_up(&token.plain())?)))?;
    if up == (number > 0.0) {
        return None;
    }
    let shown = &difference.difference.shown;
    let problem = format!("`{}` is said of {shown}, `{}` minus `{}`", token.bare(), first.text, second.text);
    let hint = format!(
        "write `#compare(\"{}\", \"{}\", \"{}\")`, which says what the test does, or turn the difference round",
        first.text, second.text, key.text
    );
    Some(Found::new(Rule::Sign, token.offset, problem, hint))
}
