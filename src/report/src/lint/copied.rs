//! Rows with the same numbers under different names: what was copied and not changed.

use super::desk::Desk;
use super::text::{Row, Text};
use super::{Rule, Statement};
use crate::section::Section;

/// Rows of typed tables and lists that repeat one another, or the records of an experiment that they do not name.
pub(super) fn rows(desk: &Desk, sections: &[Section], texts: &[Text]) -> Vec<Statement> {
    let all: Vec<(&Section, &Row, Vec<String>)> = sections
        .iter()
        .zip(texts)
        .flat_map(|(section, text)| text.rows.iter().map(move |row| (section, row, numbers(row))))
        .filter(|(_, _, numbers)| tells(numbers))
        .collect();
    let mut found = Vec::new();
    for (at, (section, row, own)) in all.iter().enumerate() {
        let twin = all[..at].iter().find(|(_, other, numbers)| numbers == own && other.name != row.name);
        let problem = match twin {
            Some((_, other, _)) => {
                Some(format!("`{}` has the numbers of `{}`: {}", row.name, other.name, own.join(", ")))
            }
            None => stranger(desk, row, own)
                .map(|name| format!("`{}` has the numbers of `{name}`: {}", row.name, own.join(", "))),
        };
        found.extend(problem.map(|problem| Statement {
            rule: Rule::Copied,
            place: section.place(row.offset),
            problem,
            hint: "write each number as `#value(\"EXPERIMENT\", \"KEY\")`, which names whose it is".to_owned(),
        }));
    }
    found
}

/// The one experiment whose numbers all of these are, if the row does not name it.
fn stranger<'a>(desk: &'a Desk, row: &Row, own: &[String]) -> Option<&'a str> {
    let mut owners = own.iter().map(|number| desk.owners(number));
    let first = owners.next()?;
    let rest: Vec<Vec<&str>> = owners.collect();
    let common: Vec<&str> = first.into_iter().filter(|name| rest.iter().all(|of| of.contains(name))).collect();
    let is_named = common.iter().any(|name| desk.is_named(name, &row.name));
    common.first().copied().filter(|_| !is_named)
}

fn numbers(row: &Row) -> Vec<String> {
    let digits = |cell: &String| {
        cell.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect::<String>().trim_matches('.').to_owned()
    };
    row.cells.iter().map(digits).filter(|digits| !digits.is_empty()).collect()
}

/// Whether two rows would have these by chance: two numbers, one of them with a point or three digits.
fn tells(numbers: &[String]) -> bool {
    numbers.len() >= 2 && numbers.iter().any(|number| number.contains('.') || number.len() >= 3)
}
