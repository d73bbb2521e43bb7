//! Results that the authors owe to their readers: what was declared, and what went the wrong way.

use harness_analyse::compare::{PRIMARY, Verdict};
use harness_study::Verdict as Decided;

use super::{Rule, Statement};
use crate::model::Cell;
use crate::section::{Function, Section};
use crate::tables::Tables;
use crate::values::Numbers;

/// Metrics of the primary family that were declared and are neither in the text nor in a table, and those that became worse
/// and are not in the text.
pub(super) fn results(numbers: &Numbers, tables: &Tables, sections: &[Section]) -> Vec<Statement> {
    let mut found = Vec::new();
    for (first, second, key, difference) in numbers.differences.all() {
        let Some(entry) = numbers.families.entry(first) else { continue };
        let is_reference = numbers.families.reference(entry).is_some_and(|reference| reference.name() == second);
        let tested = difference.tested.as_ref().filter(|tested| is_reference && tested.effect.family == PRIMARY);
        let Some(tested) = tested else { continue };
        let decision = numbers
            .decisions
            .get(first)
            .filter(|decision| decision.proposal.expect.as_ref().is_some_and(|expect| expect.metric == key));
        let declared =
            decision.is_some() || entry.latest.run.experiment.primary_metrics.iter().any(|metric| metric == key);
        let adverse = tested.effect.verdict == Verdict::Worse
            || decision.is_some_and(|decision| decision.verdict == Decided::Refuted);
        let missing = adverse && !in_text(sections, first, key)
            || declared && !in_text(sections, first, key) && !in_table(tables, sections, first, key);
        if !missing {
            continue;
        }
        let own = sections.iter().find(|section| section.path.ends_with(&format!("-{first}.typ")));
        let Some(section) = own.or(sections.first()) else { continue };
        let which = if adverse { "became worse" } else { "was declared before the runs" };
        let problem = format!("`{key}` of `{first}` {which}, and the text quotes it nowhere");
        let hint =
            format!("write `#claim(\"{first}\", compared-with: \"{second}\", metric: \"{key}\", scope: \"models\")`");
        found.push(Statement { rule: Rule::Unquoted, place: section.place(0), problem, hint });
    }
    found
}

/// Whether a text tells what became of a metric: its value or difference, a claim, the verdict, or a count of verdicts.
fn in_text(sections: &[Section], experiment: &str, key: &str) -> bool {
    sections.iter().flat_map(|section| &section.calls).any(|call| {
        let texts: Vec<&str> = call.arguments.iter().map(|argument| argument.text.as_str()).collect();
        match (call.function, texts.as_slice()) {
            (Function::Value, [name, own, ..]) => (*name, *own) == (experiment, key),
            (Function::Delta | Function::Compare, [first, second, own, ..]) => {
                *own == key && [*first, *second].contains(&experiment)
            }
            (Function::Verdict, [name, ..]) => *name == experiment,
            (Function::Count, [what, name, ..]) => {
                *name == experiment && key.starts_with("tasks.") && what.starts_with("tasks-")
            }
            (Function::Claim, [name, ..]) => {
                *name == experiment
                    || call.named.iter().any(|named| named.value.as_ref().is_some_and(|value| value.text == experiment))
            }
            _ => false,
        }
    })
}

fn in_table(tables: &Tables, sections: &[Section], experiment: &str, key: &str) -> bool {
    let asked = sections.iter().flat_map(|section| section.calls_of(&[Function::TableOf]));
    asked.into_iter().any(|call| {
        let [kind, of @ ..] = call.arguments.as_slice() else { return false };
        let kinds = match of.first() {
            None => Some(&tables.paper),
            Some(of) => tables.experiments.get(&of.text),
        };
        let table = kinds.and_then(|kinds| kinds.get(kind.text.as_str()));
        let shows = |cell: &Cell| matches!(cell, Cell::Value { experiment: own, key: of, .. } if own == experiment && of == key);
        table.is_some_and(|table| table.rows.iter().flatten().any(shows))
    })
}
