//! What the authors' own words claim and count that no record stands behind. Each finding has a rule, the place, what is
//! wrong, and what to write instead. Nothing here changes a paper; `--strict` makes of a finding a failure.

mod copied;
mod desk;
mod readings;
pub(crate) mod seen;
mod text;
mod typed;
mod unquoted;
mod words;

use serde::{Deserialize, Serialize};

use super::error::Place;
use super::paper_toml::Allowed;
use super::section::Section;
use super::tables::Tables;
use super::values::Numbers;
use desk::Desk;
use seen::Seen;
use text::{Sentence, Text};
use typed::Typed;

/// What is wrong with a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A number is typed, not bound.
    Number,
    /// A number, or what stands around it, is that of earlier runs.
    Stale,
    /// A word compares where no test is quoted.
    Claim,
    /// A value of the validation side is told as one of the test side.
    Side,
    /// Two rows have the same numbers under other names.
    Copied,
    /// An average is typed, or is none.
    Average,
    /// The best of several is told as the result.
    Best,
    /// The unit beside a number is not its own.
    Unit,
    /// The words around a difference say the other direction.
    Sign,
    /// Words of confirmation stand beside what was explored.
    Exploratory,
    /// A result that was declared, or is adverse, is quoted nowhere.
    Unquoted,
    /// An entry of the allow-list allows nothing.
    Allowance,
}

impl Rule {
    /// The word in messages.
    pub fn word(self) -> &'static str {
        match self {
            Rule::Number => "typed number",
            Rule::Stale => "stale",
            Rule::Claim => "claim without a test",
            Rule::Side => "validation as test",
            Rule::Copied => "copied numbers",
            Rule::Average => "average",
            Rule::Best => "best of several",
            Rule::Unit => "unit",
            Rule::Sign => "sign",
            Rule::Exploratory => "exploratory",
            Rule::Unquoted => "unquoted result",
            Rule::Allowance => "unused allowance",
        }
    }
}

/// A statement that no record stands behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// What is wrong.
    pub rule: Rule,
    /// Where.
    pub place: Place,
    /// In a sentence.
    pub problem: String,
    /// What to write instead.
    pub hint: String,
}

/// A statement before its place is known by line.
struct Found {
    rule: Rule,
    offset: usize,
    problem: String,
    hint: String,
}

impl Found {
    fn new(rule: Rule, offset: usize, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Found { rule, offset, problem: problem.into(), hint: hint.into() }
    }
}

/// How a typed number is backed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backed {
    /// The allow-list says why.
    Allowed,
    /// By nothing.
    No,
}

/// A typed number of a section: byte offset, length, and what stands behind it.
pub(crate) type Marked = (usize, usize, Backed);

/// What was found in the sections.
#[derive(Default)]
pub(crate) struct Read {
    pub statements: Vec<Statement>,
    /// By section, in its order.
    pub typed: Vec<Vec<Marked>>,
}

/// Reads the sections.
pub(crate) fn read(numbers: &Numbers, tables: &Tables, sections: &[Section], allowed: &[Allowed], seen: &Seen) -> Read {
    let desk = Desk::of(numbers, seen);
    let mut read = Read::default();
    let mut used = vec![false; allowed.len()];
    let texts: Vec<Text> = sections.iter().map(Text::of).collect();
    for (section, text) in sections.iter().zip(&texts) {
        let mut found = Vec::new();
        let mut typed = Vec::new();
        let mut is_allowed = |sentence: &Sentence, number: Option<&Typed>| {
            let source = sentence.source(&section.text);
            let allows = |one: &Allowed| one.allows(source, number.map(|typed| typed.written.as_str()));
            let by = allowed.iter().position(allows);
            by.map(|by| used[by] = true).is_some()
        };
        for sentence in &text.sentences {
            let results = typed::results(sentence);
            let open: Vec<Typed> = results
                .into_iter()
                .filter(|number| {
                    let backed = if is_allowed(sentence, Some(number)) { Backed::Allowed } else { Backed::No };
                    typed.push((number.offset, number.length, backed));
                    backed == Backed::No
                })
                .collect();
            let mut of_sentence: Vec<Found> = open.iter().map(|number| desk.typed(sentence, number)).collect();
            of_sentence.extend(words::claims(&desk, section, sentence));
            of_sentence.extend(words::confirmations(&desk, section, sentence));
            of_sentence.extend(readings::of(&desk, sentence));
            of_sentence.extend(seen.changed(numbers, section, sentence));
            if !of_sentence.is_empty() && !is_allowed(sentence, None) {
                found.extend(of_sentence);
            }
        }
        typed.sort_unstable_by_key(|(offset, ..)| *offset);
        read.typed.push(typed);
        read.statements.extend(found.into_iter().map(|found| placed(section, found)));
    }
    read.statements.extend(copied::rows(&desk, sections, &texts));
    read.statements.extend(unquoted::results(numbers, tables, sections));
    read.statements.extend(allowed.iter().zip(used).filter(|(_, used)| !used).map(|(one, _)| Statement {
        rule: Rule::Allowance,
        place: one.place.clone(),
        problem: "nothing in the sections is what this entry allows".to_owned(),
        hint: "delete it, or write it as the section has it".to_owned(),
    }));
    read.statements.sort_by(|a, b| {
        (&a.place.path, a.place.line, a.place.column, a.rule).cmp(&(
            &b.place.path,
            b.place.line,
            b.place.column,
            b.rule,
        ))
    });
    read.statements.dedup();
    read
}

fn placed(section: &Section, found: Found) -> Statement {
    Statement { rule: found.rule, place: section.place(found.offset), problem: found.problem, hint: found.hint }
}

#[cfg(test)]
mod planted;
#[cfg(test)]
mod tests;
