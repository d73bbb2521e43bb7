//! The tasks: items about the grammar of the corpus, every sentence of which has a pair that the corpus never has.

use harness_core::random::{Purpose, seed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lexicon::*;
use super::sentences::{Speaker, Subject, capitalized, described, reflexive, wh};
use crate::item::Item;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// The boys sleep / sleeps.
    AgreementSimple,
    /// The boy near the dogs sleeps / sleep: the noun in between has the other number.
    AgreementAcrossPhrase,
    /// The boy that the dogs follow sleeps / sleep.
    AgreementAcrossClause,
    /// The boys admire themselves / himself.
    AnaphorNumber,
    /// The queen admires herself / himself.
    AnaphorGender,
    /// The boys read these books / book.
    DeterminerNoun,
    /// The boys read these old books / book.
    DeterminerAdjectiveNoun,
    /// Anna remembers what / that the boys eat: a gap needs its filler.
    GapNeedsFiller,
    /// Anna remembers that / what the boys eat the apples: a filler needs its gap.
    FillerNeedsGap,
    /// The girl eats the apple / hammer / letter / boat.
    ObjectSelection,
    /// The girl eats / opens the | apple: one object after two verbs.
    VerbSelection,
    /// Anna puts an apple in the jar. ... The apple is in the | jar.
    Recall,
}

/// `items` different items of a probe: the same for the same seed.
pub fn probe(probe: Probe, probe_seed: u64, items: u64) -> Vec<Item> {
    let mut found: Vec<Item> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    // Each probe has many thousand items; the bound only keeps a wish for more of them from waiting forever.
    for attempt in 0..items.saturating_mul(200) {
        if found.len() as u64 == items {
            break;
        }
        let mut speaker = Speaker::new(seed(probe_seed, attempt, Purpose::Generation));
        speaker.tested = true;
        if let Some(item) = make(probe, &mut speaker)
            && seen.insert(item.clone())
        {
            found.push(item);
        }
    }
    found
}

fn make(probe: Probe, speaker: &mut Speaker) -> Option<Item> {
    match probe {
        Probe::AgreementSimple => agreement(speaker, |_, subject| Some(subject.text.clone())),
        Probe::AgreementAcrossPhrase => agreement(speaker, |speaker, subject| {
            Some(format!("{} {}", subject.text, speaker.attractor(subject.number.other())))
        }),
        Probe::AgreementAcrossClause => agreement(speaker, |speaker, subject| {
            let clause = speaker.object_relative(subject.kind, subject.number.other())?;
            Some(format!("{} {clause}", subject.text))
        }),
        Probe::AnaphorNumber => {
            let (noun, number) = (speaker.noun(Kind::Person), speaker.number());
            let subject = speaker.subject_of(noun, number);
            let right = reflexive(&subject)?;
            let wrong = reflexive(&Subject { number: number.other(), ..subject.clone() })?;
            anaphor(speaker, &subject, right, wrong)
        }
        Probe::AnaphorGender => {
            let subject = if speaker.chance(50) {
                speaker.name()
            } else {
                let noun = speaker.noun(Kind::Person);
                speaker.subject_of(noun, Number::One)
            };
            let right = reflexive(&subject)?;
            let wrong = if right == "himself" { "herself" } else { "himself" };
            anaphor(speaker, &subject, right, wrong)
        }
        Probe::DeterminerNoun => determiner(speaker, false),
        Probe::DeterminerAdjectiveNoun => determiner(speaker, true),
        Probe::GapNeedsFiller => embedded(speaker, |_, verb| (wh(verb), "that", String::new())),
        Probe::FillerNeedsGap => {
            embedded(speaker, |speaker, verb| ("that", wh(verb), format!(" {}", speaker.object(verb))))
        }
        Probe::ObjectSelection => selection(speaker),
        Probe::VerbSelection => verb_selection(speaker),
        Probe::Recall => Some(recall(speaker)),
    }
}

fn pair(good: String, bad: String) -> Option<Item> {
    Some(Item { context: String::new(), choices: vec![capitalized(&good), capitalized(&bad)], ..Item::default() })
}

/// The verb agrees with `front`, which is about the subject, or it does not.
fn agreement(speaker: &mut Speaker, front: impl FnOnce(&mut Speaker, &Subject) -> Option<String>) -> Option<Item> {
    let subject = speaker.subject();
    let front = front(speaker, &subject)?;
    let verbs = if speaker.chance(50) { TRANSITIVE } else { INTRANSITIVE };
    let verb = speaker.verb(&subject, verbs)?;
    let object = if verb.object.is_some() { format!(" {}", speaker.object(verb)) } else { String::new() };
    let sentence = |number: Number| format!("{front} {}{object}.", verb.present(number));
    pair(sentence(subject.number), sentence(subject.number.other()))
}

fn anaphor(speaker: &mut Speaker, subject: &Subject, right: &str, wrong: &str) -> Option<Item> {
    let verb = speaker.verb(subject, REFLEXIVE)?;
    let sentence = |reflexive: &str| format!("{} {} {reflexive}.", subject.text, verb.present(subject.number));
    pair(sentence(right), sentence(wrong))
}

/// The determiner agrees with the noun of the object, or it does not.
fn determiner(speaker: &mut Speaker, with_adjective: bool) -> Option<Item> {
    let subject = speaker.subject();
    let verb = speaker.verb(&subject, TRANSITIVE)?;
    let (noun, number) = (speaker.noun(verb.object?), speaker.number());
    let determiners: &[&str] = if number == Number::One { &["this", "that"] } else { &["these", "those"] };
    let determiner = *speaker.random.choose(determiners);
    let adjective = with_adjective.then(|| speaker.adjective(noun.kind));
    let sentence = |number: Number| {
        let object = described(determiner, adjective, noun.form(number));
        format!("{} {} {object}.", subject.text, verb.present(subject.number))
    };
    pair(sentence(number), sentence(number.other()))
}

/// A reported clause whose first word is right or wrong, with what follows its verb.
fn embedded(
    speaker: &mut Speaker,
    words: impl FnOnce(&mut Speaker, &Verb) -> (&'static str, &'static str, String),
) -> Option<Item> {
    let reporter = speaker.name();
    let report = *speaker.random.choose(&REPORTING.iter().collect::<Vec<_>>());
    let subject = speaker.subject();
    let verb = speaker.verb(&subject, TRANSITIVE)?;
    let (right, wrong, rest) = words(speaker, verb);
    let sentence = |word: &str| {
        format!("{} {} {word} {} {}{rest}.", reporter.text, report.third, subject.text, verb.present(subject.number))
    };
    pair(sentence(right), sentence(wrong))
}

/// The kinds of things that verbs select.
const KINDS: [Kind; 8] = [
    Kind::Food,
    Kind::Text,
    Kind::Tool,
    Kind::Vehicle,
    Kind::Clothing,
    Kind::Container,
    Kind::Instrument,
    Kind::Opening,
];

/// One object that the verb selects among three of other kinds.
fn selection(speaker: &mut Speaker) -> Option<Item> {
    let subject = speaker.subject();
    let verb = speaker.verb(&subject, TRANSITIVE)?;
    let right = verb.object.filter(|kind| KINDS.contains(kind))?;
    let mut kinds: Vec<Kind> = KINDS.into_iter().filter(|&kind| kind != right).collect();
    let mut choices: Vec<String> = (0..3)
        .map(|_| {
            let kind = kinds.swap_remove(speaker.random.below(kinds.len() as u64) as usize);
            format!("{}.", speaker.noun(kind).one)
        })
        .collect();
    let gold = speaker.random.below(4) as usize;
    choices.insert(gold, format!("{}.", speaker.noun(right).one));
    let context = capitalized(&format!("{} {} the", subject.text, verb.present(subject.number)));
    Some(Item { context, choices, gold, ..Item::default() })
}

/// One object after a verb that selects it, and after one that selects things of another kind.
fn verb_selection(speaker: &mut Speaker) -> Option<Item> {
    let subject = speaker.subject();
    let (right, wrong) = (speaker.verb(&subject, TRANSITIVE)?, speaker.verb(&subject, TRANSITIVE)?);
    let kind = right.object.filter(|kind| KINDS.contains(kind))?;
    wrong.object.filter(|other| KINDS.contains(other) && *other != kind)?;
    let gold = speaker.random.below(2) as usize;
    let mut verbs = vec![wrong];
    verbs.insert(gold, right);
    let context = |verb: &&Verb| capitalized(&format!("{} {} the", subject.text, verb.present(subject.number)));
    let choices = verbs.iter().map(context).collect();
    Some(Item { choices, gold, continuation: format!("{}.", speaker.noun(kind).one), ..Item::default() })
}

/// Where the thing was put, some sentences ago.
fn recall(speaker: &mut Speaker) -> Item {
    let (thing, container) = speaker.thing_and_container();
    let name = speaker.name();
    let mut sentences =
        vec![format!("{} puts {} in the {}.", name.text, described("a", None, thing.one), container.one)];
    speaker.tested = false;
    while sentences.len() < 3 {
        let subject = speaker.subject();
        if let Some(verb) = speaker.verb(&subject, INTRANSITIVE) {
            sentences.push(capitalized(&format!("{} {}.", subject.text, verb.present(subject.number))));
        }
    }
    sentences.push(format!("The {} is in the", thing.one));
    Item { context: sentences.join(" "), choices: vec![container.one.to_owned()], ..Item::default() }
}
