//! A paper without its repository: what is attached to the PDF held against its pages and against itself, and what to look
//! for elsewhere.

use harness_report::model::{Bound, Quantity};
use serde_json::Value as Json;

use super::paper::{Paper, check, text};
use super::{Audit, Outcome, Subject};

/// Checks what a PDF shows against what it carries.
pub(crate) fn check_alone(paper: &Paper, audit: &mut Audit) {
    audit.bound_numbers = paper.proof.bound.len();
    let Some(Ok(pdf)) = &paper.pdf else { return };
    text(pdf, &paper.proof, audit);
    match pdf.attachment("report/build/values.json").map(serde_json::from_slice::<Json>) {
        Some(Ok(values)) => {
            numbers(&paper.proof.bound, &values, audit);
            runs(paper, &values, audit);
        }
        Some(Err(problem)) => check(audit, "L0", "report/build/values.json", false, problem.to_string(), &[]),
        None => {
            let detail = "is not attached: no number can be held against it".to_owned();
            audit.add("L3", &Subject::Paper, "report/build/values.json", Outcome::Missing, detail);
        }
    }
    for run in &paper.proof.runs {
        let detail = format!(
            "is not here; its record has root {}, was made at commit {} from data with root {}",
            run.root, run.commit, run.data_root
        );
        audit.add("L1", &Subject::Paper, format!("run {} of {}", run.run, run.experiment), Outcome::Missing, detail);
    }
    let detail = "not made again: that needs the repository with its sections and records".to_owned();
    audit.add("L3", &Subject::Paper, "the PDF set again", Outcome::Missing, detail);
}

/// Each number of the list against the values that are attached.
fn numbers(bound: &[Bound], values: &Json, audit: &mut Audit) {
    // A sentence is compiled from the tests, which need the rows of the runs.
    let is_number = |bound: &&Bound| !matches!(bound.note.quantity, Quantity::Claim(_) | Quantity::Verdict { .. });
    let of_numbers: Vec<&Bound> = bound.iter().filter(is_number).collect();
    let mut held = 0;
    for bound in &of_numbers {
        let note = &bound.note;
        let entry = note.quantity.listed(values);
        let shown = serde_json::to_value(&note.shown).unwrap_or_default();
        let is_said = match &note.quantity {
            Quantity::Value { .. } | Quantity::Difference { .. } | Quantity::Mean { .. } => entry["shown"] == shown,
            Quantity::Interval { .. } => entry["shown_interval"] == shown,
            Quantity::Direction { direction, .. } | Quantity::Standing { direction, .. } => {
                serde_json::to_value(direction).is_ok_and(|said| entry["direction"] == said)
            }
            Quantity::Claim(_) | Quantity::Verdict { .. } => true,
            Quantity::Count { .. } => ["digits", "words", "alone"].iter().any(|form| {
                let form = entry[*form].as_str().unwrap_or_default();
                form.eq_ignore_ascii_case(shown.as_str().unwrap_or("-"))
            }),
        };
        let number = entry["number"].as_f64();
        if is_said && number.is_some_and(|number| number.to_bits() == bound.number.to_bits()) {
            held += 1;
            continue;
        }
        let what = format!("{} = {} on page {}", note.quantity, note.shown, note.page);
        let detail = match number {
            Some(number) => format!("the attached values give {number}"),
            None => "the attached values have no such number".to_owned(),
        };
        let keys: Vec<String> = note.quantity.keys().into_iter().map(str::to_owned).collect();
        check(audit, "L3", &what, false, detail, &keys);
    }
    let detail = format!("{held} of {} bound numbers are those of the attached values", of_numbers.len());
    audit.add("L3", &Subject::Paper, "numbers", Outcome::Holds, detail);
    let sentences = bound.len() - of_numbers.len();
    if sentences > 0 {
        let detail = format!("{sentences} sentences not compiled again from their tests: that needs the records");
        audit.add("L3", &Subject::Paper, "claims", Outcome::Missing, detail);
    }
}

/// The runs of one attachment are those of the other.
fn runs(paper: &Paper, values: &Json, audit: &mut Audit) {
    let of_values = values["runs"].as_array().map_or(&[][..], Vec::as_slice);
    let mut held = 0;
    for run in &paper.proof.runs {
        let fields = serde_json::to_value(run).unwrap_or_default();
        let same = |other: &&Json| {
            ["experiment", "run", "root", "commit", "data_root"].iter().all(|field| other[*field] == fields[*field])
        };
        if of_values.iter().any(|other| same(&other)) {
            held += 1;
        } else {
            let what = format!("run {} of {}", run.run, run.experiment);
            check(audit, "L1", &what, false, "the attachments name it with other digests".to_owned(), &[]);
        }
    }
    if !paper.proof.runs.is_empty() && of_values.len() != paper.proof.runs.len() {
        let detail = format!("one attachment names {} runs, the other {}", paper.proof.runs.len(), of_values.len());
        check(audit, "L1", "runs", false, detail, &[]);
    }
    audit.add("L1", &Subject::Paper, "runs", Outcome::Holds, format!("{held} with the same digests in both lists"));
}
