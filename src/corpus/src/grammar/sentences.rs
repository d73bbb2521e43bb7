//! The corpus: short documents about a few people, animals and things that come back from sentence to sentence.

use harness_core::random::{Purpose, Random, seed};

use super::lexicon::*;

/// The documents of a corpus: the same for the same seed, and each a function of the seed and its index alone.
pub fn corpus(corpus_seed: u64, documents: u64) -> impl Iterator<Item = String> {
    (0..documents).map(move |index| Speaker::new(seed(corpus_seed, index, Purpose::Generation)).document())
}

/// Who or what a sentence is about.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// As it stands in the sentence, without a capital.
    pub text: String,
    /// The noun or name, for [`held_out`].
    pub lemma: &'static str,
    pub number: Number,
    pub kind: Kind,
    pub gender: Gender,
}

/// Makes phrases. With `tested`, every clause pairs its subject with a verb that is held out; without, with one
/// that is not.
pub(super) struct Speaker {
    pub random: Random,
    pub tested: bool,
}

impl Speaker {
    pub(super) fn new(seed: u64) -> Self {
        Speaker { random: Random::new(seed), tested: false }
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    pub(super) fn number(&mut self) -> Number {
        if self.chance(50) { Number::One } else { Number::Many }
    }

    /// A noun of the kind.
    pub(super) fn noun(&mut self, kind: Kind) -> &'static Noun {
        let all: Vec<&Noun> = ANIMATES.iter().chain(THINGS).filter(|noun| noun.kind == kind).collect();
        self.random.choose::<&Noun>(&all)
    }

    /// A person or, less often, an animal.
    pub(super) fn animate(&mut self) -> &'static Noun {
        let kind = if self.chance(70) { Kind::Person } else { Kind::Animal };
        self.noun(kind)
    }

    /// A noun with determiner and sometimes an adjective.
    pub(super) fn phrase(&mut self, noun: &Noun, number: Number) -> String {
        let determiner = match (self.random.below(10), number) {
            (0..5, _) => "the",
            (5 | 6, Number::One) => "a",
            (7, Number::One) => "this",
            (8, Number::One) => "that",
            (9, Number::One) => "every",
            (5, Number::Many) => "some",
            (6, Number::Many) => "many",
            (7, Number::Many) => "these",
            (8, Number::Many) => "those",
            (_, _) => "two",
        };
        let adjective = self.chance(25).then(|| self.adjective(noun.kind));
        described(determiner, adjective, noun.form(number))
    }

    pub(super) fn adjective(&mut self, kind: Kind) -> &'static str {
        let animate = matches!(kind, Kind::Person | Kind::Animal);
        let of = if animate { OF_ANIMATES } else { OF_THINGS };
        self.random.choose::<&str>(of)
    }

    pub(super) fn subject_of(&mut self, noun: &'static Noun, number: Number) -> Subject {
        let text = self.phrase(noun, number);
        Subject { text, lemma: noun.one, number, kind: noun.kind, gender: noun.gender }
    }

    pub(super) fn subject(&mut self) -> Subject {
        let (noun, number) = (self.animate(), self.number());
        self.subject_of(noun, number)
    }

    pub(super) fn name(&mut self) -> Subject {
        let (name, gender) = *self.random.choose(NAMES);
        Subject { text: name.to_owned(), lemma: name, number: Number::One, kind: Kind::Person, gender }
    }

    /// A verb of the list that this subject may have here, if there is one.
    pub(super) fn verb(&mut self, subject: &Subject, verbs: &'static [Verb]) -> Option<&'static Verb> {
        let able = |verb: &&Verb| subject.kind == Kind::Person || verb.animals;
        let tested = self.tested;
        let fits: Vec<&Verb> =
            verbs.iter().filter(able).filter(|verb| held_out(subject.lemma, verb.base) == tested).collect();
        (!fits.is_empty()).then(|| *self.random.choose(&fits))
    }

    /// An object that the verb selects.
    pub(super) fn object(&mut self, verb: &Verb) -> String {
        let kind = verb.object.expect("a transitive verb");
        let (noun, number) = (self.noun(kind), self.number());
        if kind == Kind::Person && self.chance(30) { self.name().text } else { self.phrase(noun, number) }
    }

    /// `near the dogs`: what stands between a subject and its verb without changing their agreement.
    pub(super) fn attractor(&mut self, number: Number) -> String {
        let noun = self.animate();
        format!("{} {}", self.random.choose(PREPOSITIONS), self.phrase(noun, number))
    }

    /// A subject with a prepositional phrase or a relative clause behind it, whose noun may have another number.
    pub(super) fn with_attractor(&mut self, mut subject: Subject) -> Subject {
        let number = self.number();
        let addition = match self.random.below(3) {
            0 => self.attractor(number),
            1 => {
                let Some(verb) = self.verb(&subject, TRANSITIVE) else {
                    return subject;
                };
                format!("that {} {}", verb.present(subject.number), self.object(verb))
            }
            _ => match self.object_relative(subject.kind, number) {
                Some(clause) => clause,
                None => return subject,
            },
        };
        subject.text = format!("{} {addition}", subject.text);
        subject
    }

    /// `that the dogs chase`: a clause whose object is the noun before it.
    pub(super) fn object_relative(&mut self, head: Kind, number: Number) -> Option<String> {
        let noun = self.animate();
        let subject = self.subject_of(noun, number);
        let fits = |verb: &&Verb| verb.object == Some(head) && (noun.kind == Kind::Person || verb.animals);
        let verbs: Vec<&Verb> = TRANSITIVE.iter().filter(fits).filter(|v| !held_out(noun.one, v.base)).collect();
        if verbs.is_empty() {
            return None;
        }
        let verb = *self.random.choose(&verbs);
        Some(format!("that {} {}", subject.text, verb.present(number)))
    }

    fn sentence_about(&mut self, subject: &Subject, known: &str, place: &str) -> Option<String> {
        let past = self.chance(20);
        let form = |verb: &Verb| {
            if past { verb.past } else { verb.present(subject.number) }
        };
        Some(match self.random.below(20) {
            0..4 => {
                let verb = self.verb(subject, TRANSITIVE)?;
                let end = self.ending(place);
                format!("{} {} {}{end}.", subject.text, form(verb), self.object(verb))
            }
            4 | 5 => {
                let verb = self.verb(subject, INTRANSITIVE)?;
                format!("{} {}{}.", subject.text, form(verb), self.ending(place))
            }
            6..9 => {
                let subject = self.with_attractor(subject.clone());
                if self.chance(50) {
                    let verb = self.verb(&subject, TRANSITIVE)?;
                    format!("{} {} {}.", subject.text, form(verb), self.object(verb))
                } else {
                    let verb = self.verb(&subject, INTRANSITIVE)?;
                    format!("{} {}{}.", subject.text, form(verb), self.ending(place))
                }
            }
            9..14 => {
                let reflexive = reflexive(subject)?;
                let verb = self.verb(subject, REFLEXIVE)?;
                let number = self.number();
                let between = if self.chance(30) { format!(" {}", self.attractor(number)) } else { String::new() };
                format!("{}{between} {} {reflexive}{}.", subject.text, form(verb), self.ending(place))
            }
            14 | 15 => {
                let verb = self.verb(subject, TRANSITIVE)?;
                let reporter = self.name();
                let report = self.verb(&reporter, REPORTING)?;
                if self.chance(50) {
                    format!(
                        "{} {} that {} {} {}.",
                        reporter.text,
                        report.third,
                        subject.text,
                        form(verb),
                        self.object(verb)
                    )
                } else {
                    format!("{} {} {} {} {}.", reporter.text, report.third, wh(verb), subject.text, form(verb))
                }
            }
            16 => {
                let verb = self.verb(subject, TRANSITIVE)?;
                let do_or_does = if subject.number == Number::One { "does" } else { "do" };
                format!("{} {do_or_does} {} {}{}?", wh(verb), subject.text, verb.base, self.ending(place))
            }
            17 => {
                let be = be(subject.number, past);
                format!("{} {be} {}.", subject.text, self.adjective(subject.kind))
            }
            18 => format!("{} {} {place}.", subject.text, be(subject.number, past)),
            _ => {
                let verb = self.verb(subject, REFLEXIVE)?;
                format!("{} {} {known}.", subject.text, form(verb))
            }
        })
    }

    fn ending(&mut self, place: &str) -> String {
        match self.random.below(10) {
            0 | 1 => format!(" {place}"),
            2 | 3 => format!(" {}", self.random.choose(ADVERBS)),
            _ => String::new(),
        }
    }

    /// Five to ten sentences about one named person and one other subject in one place; often something is put
    /// somewhere and found there at the end.
    fn document(&mut self) -> String {
        let name = self.name();
        let (noun, number) = (self.animate(), self.number());
        let place = format!("in the {}", self.noun(Kind::Place).one);
        let mut sentences = vec![match number {
            Number::One => {
                let adjective = self.chance(40).then(|| self.adjective(noun.kind));
                format!("there is {} {place}.", described("a", adjective, noun.one))
            }
            Number::Many => {
                format!("there are {} {} {place}.", self.random.choose(&["two", "three", "some", "many"]), noun.many)
            }
        }];
        let other = Subject { text: format!("the {}", noun.form(number)), ..self.subject_of(noun, number) };
        let hidden = self.chance(60).then(|| self.thing_and_container());
        if let Some((thing, container)) = hidden {
            sentences.push(format!("{} puts {} in the {}.", name.text, described("a", None, thing.one), container.one));
        }
        let mut last_was_name = hidden.is_some();
        let mut count = 3 + self.random.below(5);
        while count > 0 {
            let (subject, is_name) = match self.random.below(10) {
                0..3 if last_was_name => (pronoun(&name), true),
                0..4 => (name.clone(), true),
                4..7 => (other.clone(), false),
                7 => (self.both(&name), false),
                _ => (self.subject(), false),
            };
            // A pronoun stands for the name, and so does what it may do.
            let known = if is_name { other.text.clone() } else { name.text.clone() };
            if let Some(sentence) = self.sentence_about(&subject, &known, &place) {
                sentences.push(sentence);
                last_was_name = is_name;
                count -= 1;
            }
        }
        if let Some((thing, container)) = hidden {
            sentences.push(format!("the {} is in the {}.", thing.one, container.one));
        }
        sentences.iter().map(|sentence| capitalized(sentence)).collect::<Vec<_>>().join(" ")
    }

    /// `Anna and the boys`, which is plural; it may do what the second of them may.
    fn both(&mut self, name: &Subject) -> Subject {
        let (noun, number) = (self.noun(Kind::Person), self.number());
        let second = self.subject_of(noun, number);
        Subject {
            text: format!("{} and {}", name.text, second.text),
            number: Number::Many,
            gender: Gender::Open,
            ..second
        }
    }

    /// Something and where it is put: a pair that is held out, or one that is not.
    pub(super) fn thing_and_container(&mut self) -> (&'static Noun, &'static Noun) {
        loop {
            let kind = *self.random.choose(&[Kind::Food, Kind::Text, Kind::Tool, Kind::Clothing]);
            let (thing, container) = (self.noun(kind), self.noun(Kind::Container));
            if held_out(thing.one, container.one) == self.tested {
                return (thing, container);
            }
        }
    }
}

/// A determiner, perhaps an adjective, and a noun; `a` becomes `an` where it must.
pub(super) fn described(determiner: &str, adjective: Option<&str>, noun: &str) -> String {
    let rest = adjective.map_or(noun.to_owned(), |adjective| format!("{adjective} {noun}"));
    let an = determiner == "a" && rest.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{}{rest}", if an { "an ".to_owned() } else { format!("{determiner} ") })
}

/// The reflexive that agrees with a subject, if its gender is settled.
pub(super) fn reflexive(subject: &Subject) -> Option<&'static str> {
    match (subject.number, subject.gender) {
        (Number::Many, _) => Some("themselves"),
        (Number::One, Gender::He) => Some("himself"),
        (Number::One, Gender::She) => Some("herself"),
        (Number::One, Gender::Open) => None,
    }
}

fn pronoun(name: &Subject) -> Subject {
    let text = if name.gender == Gender::He { "he" } else { "she" };
    Subject { text: text.to_owned(), ..name.clone() }
}

/// The word that asks for the object of a verb.
pub(super) fn wh(verb: &Verb) -> &'static str {
    if verb.object == Some(Kind::Person) { "who" } else { "what" }
}

fn be(number: Number, past: bool) -> &'static str {
    match (number, past) {
        (Number::One, false) => "is",
        (Number::Many, false) => "are",
        (Number::One, true) => "was",
        (Number::Many, true) => "were",
    }
}

/// The sentence with a capital at its beginning.
pub(super) fn capitalized(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}
