//! What only the sources say: results among the limitations, floats that no text refers to, works without an address.

use std::collections::BTreeSet;

use super::Finding;
use crate::bibliography::Library;
use crate::model::Outline;
use crate::section::{Function, Section};

/// What a paper was written from.
pub(crate) struct Written<'a> {
    pub sections: &'a [Section],
    pub outline: &'a Outline,
    pub library: &'a Library,
    /// Keys of the works that it cites.
    pub cited: &'a [String],
    /// The bibliography of this paper alone, relative to the project.
    pub own_references: &'a str,
}

pub(crate) fn check(written: &Written) -> Vec<Finding> {
    let mut findings = results_in_limitations(written.sections);
    findings.extend(floats(written.outline));
    findings.extend(references(written));
    findings
}

/// Whether a value is a result, not a fact of data, model or training that a caveat may name.
fn is_result(key: &str) -> bool {
    let facts = [".chance", ".items", ".floor"];
    let of_task = key.starts_with("tasks.") && !facts.iter().any(|fact| key.ends_with(fact));
    of_task || ["validation.", "documents.", "training.loss"].iter().any(|start| key.starts_with(start))
}

fn results_in_limitations(sections: &[Section]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_it = |section: &&Section| section.text.contains("#backmatter[Limitations]");
    for section in sections.iter().filter(is_it) {
        for call in &section.calls {
            let what = match call.function {
                Function::Value => call
                    .arguments
                    .get(1)
                    .filter(|key| is_result(&key.text))
                    .map(|key| format!("the result `{}`", key.text)),
                Function::Delta => Some("a difference of results".to_owned()),
                Function::TableOf => Some("a table".to_owned()),
                Function::FigureOf => Some("a figure".to_owned()),
                _ => None,
            };
            let Some(what) = what else { continue };
            let problem = format!("{what} stands among the limitations, which hold no results");
            let hint = "say it in the results or the discussion, and refer to it here in words";
            let finding = Finding::new("results in limitations", problem, hint);
            findings.push(finding.at(section.place(call.offset).short()));
        }
    }
    findings
}

/// Every figure and table has a caption and is referred to.
fn floats(outline: &Outline) -> Vec<Finding> {
    let referred: BTreeSet<&str> = outline.references.iter().map(String::as_str).collect();
    let mut findings = Vec::new();
    for float in &outline.floats {
        let name = match &float.label {
            Some(label) => format!("the {} `<{label}>`", float.kind),
            None => format!("a {} without a label", float.kind),
        };
        if !float.captioned {
            let hint = "give it `caption: [...]`: one sentence that says what is seen";
            findings.push(Finding::new("caption", format!("{name} has no caption"), hint).on(float.page as usize));
        }
        if float.label.as_deref().is_none_or(|label| !referred.contains(label)) {
            let hint = match &float.label {
                Some(label) => format!("write `@{label}` where the text speaks of it"),
                None => "put `<fig:name>` behind it, and `@fig:name` where the text speaks of it".to_owned(),
            };
            findings
                .push(Finding::new("unreferenced", format!("no text refers to {name}"), hint).on(float.page as usize));
        }
    }
    findings
}

fn references(written: &Written) -> Vec<Finding> {
    let mut findings = Vec::new();
    let cited: BTreeSet<&str> = written.cited.iter().map(String::as_str).collect();
    for key in &cited {
        let missing = written.library.missing_fields(key);
        if !missing.is_empty() {
            let problem = format!("the entry `{key}` has no {}", missing.join(", no "));
            let hint = "add it to the entry in report/references.bib, or in templates/references.bib";
            findings.push(Finding::new("incomplete reference", problem, hint).at((*key).to_owned()));
        }
        if !written.library.has_address(key) {
            let problem = format!("the entry `{key}` has no DOI, no page of the ACL Anthology and no other address");
            let hint = "add `doi = {...}`; a work of the ACL has one on its page in the Anthology";
            findings.push(Finding::new("no DOI", problem, hint).at((*key).to_owned()));
        }
    }
    for key in written.library.keys_of(written.own_references).into_iter().filter(|key| !cited.contains(key)) {
        let problem = format!("no text cites the entry `{key}`");
        let hint = "cite it with `#citep(\"...\")`, or take it out";
        findings.push(Finding::new("unused reference", problem, hint).at(written.own_references));
    }
    findings
}
