//! `report/seen.json`: what each section quoted when somebody last edited it. A sentence that was written around a number
//! is to be read again when the number is another one. Committed with the sections.

use std::collections::BTreeMap;

use harness_core::Digest;
use harness_core::files::{self, FileError};
use harness_core::names::Project;
use serde::{Deserialize, Serialize};

use super::readings::key;
use super::text::Sentence;
use super::{Found, Rule};
use crate::pretty;
use crate::section::{Call, Function, Section};
use crate::values::Numbers;

const PATH: &str = "report/seen.json";
const VERSION: u32 = 1;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    format: u32,
    /// By path.
    sections: BTreeMap<String, Of>,
}

/// What was seen of a section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Of {
    /// Digest of its text.
    sha256: Digest,
    /// What it quoted: by experiment and key, or by both experiments and key.
    quoted: BTreeMap<String, String>,
}

impl Seen {
    /// Reads the file, if there is one that this program knows.
    pub(crate) fn load(project: &Project) -> Result<Self, FileError> {
        let read = files::read_to_string(&project.root().join(PATH));
        match read {
            Ok(text) => {
                Ok(serde_json::from_str(&text).ok().filter(|seen: &Seen| seen.format == VERSION).unwrap_or_default())
            }
            Err(error) if error.is_not_found() => Ok(Seen::default()),
            Err(error) => Err(error),
        }
    }

    /// Keeps what the sections quote that were edited since, and forgets those that are gone or that nobody has edited.
    pub(crate) fn save(mut self, project: &Project, numbers: &Numbers, sections: &[&Section]) -> Result<(), FileError> {
        let before = self.clone();
        self.format = VERSION;
        self.sections.retain(|path, _| sections.iter().any(|section| section.path == *path));
        for section in sections {
            let sha256 = Digest::of(section.text.as_bytes());
            if self.sections.get(&section.path).is_some_and(|of| of.sha256 == sha256) {
                continue;
            }
            let quoted = section.calls.iter().filter_map(|call| shown(numbers, call)).collect();
            self.sections.insert(section.path.clone(), Of { sha256, quoted });
        }
        let is_needed = self != before && !(self.sections.is_empty() && before.sections.is_empty());
        if is_needed { files::write(&project.root().join(PATH), &pretty(&self)) } else { Ok(()) }
    }

    /// The number of a sentence that is another one than when its section was last edited.
    pub(super) fn changed(&self, numbers: &Numbers, section: &Section, sentence: &Sentence) -> Option<Found> {
        let of = self.sections.get(&section.path)?;
        if of.sha256 != Digest::of(section.text.as_bytes()) {
            return None;
        }
        sentence.calls().find_map(|call| {
            let (quoted, now) = shown(numbers, call)?;
            let then = of.quoted.get(&quoted).filter(|then| **then != now)?;
            let problem = format!("`{quoted}` was {then} when this section was last edited, and is {now}");
            Some(Found::new(
                Rule::Stale,
                call.offset,
                problem,
                "read the sentence again: any edit of the section says that you did",
            ))
        })
    }

    /// Whether a section quoted these digits for a value.
    pub(super) fn had(&self, experiment: &str, key: &str, digits: &str) -> bool {
        let name = format!("{experiment}:{key}");
        self.sections.values().any(|of| {
            of.quoted
                .get(&name)
                .is_some_and(|shown| shown.chars().filter(|c| c.is_ascii_digit() || *c == '.').eq(digits.chars()))
        })
    }
}

/// What a call shows now, by the name of what it quotes.
fn shown(numbers: &Numbers, call: &Call) -> Option<(String, String)> {
    let key = key(call)?;
    let first = &call.arguments.first()?.text;
    match call.function {
        Function::Value => {
            let values = &numbers.families.entry(first)?.values;
            let shown = crate::model::Number::among(values, values.get(key)?).shown;
            Some((format!("{first}:{key}"), shown.to_string()))
        }
        Function::Delta | Function::Compare => {
            let second = &call.arguments.get(1)?.text;
            let difference = numbers.differences.get(first, second, key)?;
            let shown = if call.function == Function::Delta {
                difference.difference.shown.to_string()
            } else {
                difference.words.to_owned()
            };
            Some((
                format!(
                    "{first} {} {second}:{key}",
                    if call.function == Function::Delta { "minus" } else { "against" }
                ),
                shown,
            ))
        }
        _ => None,
    }
}
