//! The paper made again: every file between the records and the PDF, and the PDF itself, held against what is there byte for
//! byte. Where they differ, it is said in what.

use std::collections::BTreeSet;

use harness_core::Digest;
use harness_core::names::Project;
use harness_report::model::Bound;
use harness_report::{Made, ReportError, Typst};
use serde_json::Value as Json;

use super::paper::{Paper, check};
use super::pdf::Pdf;
use super::{Audit, Outcome, Subject, first_line};

/// What an audit sets papers with: the auditor's own Typst, or why there is none.
pub type Setter = Result<Typst, String>;

/// How many differences of one kind are named.
const NAMED: usize = 12;
/// Where the words of the paper and the list of what it shows come from.
const FUNCTIONS: &str = "templates/values.typ";
/// As this program knows it.
const OWN_FUNCTIONS: &str = include_str!("../../../../templates/values.typ");

/// Holds the files of the paper against those that the records and the sections give.
pub(crate) fn files(project: &Project, paper: &Paper, made: &Made, audit: &mut Audit) {
    let mut held = 0;
    for (path, bytes) in &made.files {
        let found = match paper.file(project, path) {
            Some(Ok(found)) => found,
            Some(Err(error)) if error.is_not_found() => {
                audit.add("L3", &Subject::Paper, path, Outcome::Missing, "is missing".to_owned());
                continue;
            }
            Some(Err(error)) => {
                check(audit, "L3", path, false, error.to_string(), &[]);
                continue;
            }
            None => continue,
        };
        if found == *bytes {
            held += 1;
            continue;
        }
        let (places, numbers) = in_what(path, &found, bytes);
        let detail = format!("is not what the records give: {}", places.join("; "));
        check(audit, "L3", path, false, detail, &numbers);
    }
    let detail = format!("{held} of {} files made again from their runs, byte for byte", made.files.len());
    audit.add("L3", &Subject::Paper, "files of the paper", Outcome::Holds, detail);
    for template in &made.taken {
        let detail = "is not that of this program, and was not run: what it made is taken as it is".to_owned();
        audit.add("L3", &Subject::Paper, template, Outcome::Note, detail);
    }
    if harness_core::files::read_text_below(project.root(), FUNCTIONS).is_ok_and(|text| text != OWN_FUNCTIONS) {
        let detail = "is not that of this program: which numbers are bound, and in what words, is the project's own";
        audit.add("L3", &Subject::Paper, FUNCTIONS, Outcome::Note, detail.to_owned());
    }
}

/// Holds what the proof says went into the paper against what did.
pub(crate) fn listed(paper: &Paper, made: &Made, audit: &mut Audit) {
    let proof = &paper.proof;
    let (theirs, ours): (BTreeSet<&str>, Vec<_>) =
        (proof.sources.iter().map(|source| source.path.as_str()).collect(), made.source_files());
    if !paper.is_attached() {
        let bound = "report/build/bound.json";
        for source in ours.iter().filter(|source| !theirs.contains(source.path.as_str())) {
            let detail = "goes into the paper, and its proof does not list it".to_owned();
            check(audit, "L1", &source.path, false, detail, &[]);
        }
        let known = |path: &str| path == bound || ours.iter().any(|source| source.path == path);
        for path in theirs.iter().filter(|path| !known(path)) {
            check(audit, "L1", path, false, "does not go into the paper, and its proof lists it".to_owned(), &[]);
        }
        if !proof.sources.is_sorted_by(|one, next| one.path < next.path) {
            let detail = "the proof lists a file twice, or not in the order of their paths".to_owned();
            check(audit, "L1", "sources", false, detail, &[]);
        }
    }
    let runs = made.runs();
    for run in proof.runs.iter().filter(|run| !runs.contains(run)) {
        let detail = "is not listed as its record and the choice of runs give it".to_owned();
        check(audit, "L3", &format!("run {} of {}", run.run, run.experiment), false, detail, &[]);
    }
    if proof.runs.len() >= runs.len() && proof.runs != runs {
        check(audit, "L3", "runs", false, "the proof lists a run twice, or in another order".to_owned(), &[]);
    }
}

/// Sets the paper again, and compares the list of what it shows and the PDF.
pub(crate) fn set(project: &Project, paper: &Paper, made: &mut Made, setter: &Setter, audit: &mut Audit) {
    const WHAT: &str = "the PDF set again";
    let (proof, subject) = (&paper.proof, Subject::Paper);
    let not_checked = |audit: &mut Audit, why: String| {
        let detail = format!("not checked, nor whether the list of bound numbers is complete: {why}");
        audit.add("L3", &subject, WHAT, Outcome::Missing, detail);
    };
    let typst = match setter {
        Ok(typst) => typst,
        Err(why) => return not_checked(audit, why.clone()),
    };
    let number = |version: &str| version.split_whitespace().nth(1).unwrap_or_default().to_owned();
    if number(&typst.version) != number(&proof.typst) {
        let why = format!("the paper was set by `{}`, and here is `{}`", proof.typst, typst.version);
        return not_checked(audit, why);
    }
    let again = match made.set_again(project, typst) {
        Ok(again) => again,
        Err(error @ (ReportError::Limit { .. } | ReportError::Typst { .. })) => {
            return not_checked(audit, first_line(&error));
        }
        Err(ReportError::Compile { messages }) if messages.contains("file not found") => {
            let why = format!("a section needs what lies outside of `report/`: {}", messages.replace('\n', "; "));
            return not_checked(audit, why);
        }
        Err(error) => {
            let detail = format!("the sources give no paper: {}", error.to_string().replace('\n', "; "));
            return check(audit, "L3", WHAT, false, detail, &[]);
        }
    };
    let same = |bytes: &[u8]| Digest::of(bytes) == again.proof.pdf_sha256;
    let fonts_differ = proof.fonts.is_some() && proof.fonts != again.proof.fonts;
    let is_whole = match &paper.bytes {
        Some(bytes) => same(bytes),
        None => again.proof.pdf_sha256 == proof.pdf_sha256,
    };
    if !is_whole && fonts_differ {
        return not_checked(audit, "the paper was set with other fonts than there are here".to_owned());
    }
    bound(&proof.bound, &again.proof.bound, audit);
    if is_whole {
        let detail = format!("the same bytes, sha256 {}, by {}", again.proof.pdf_sha256.short(), typst.version);
        return audit.add("L3", &subject, WHAT, Outcome::Holds, detail);
    }
    let differences = match (&paper.pdf, Pdf::read(again.pdf)) {
        (Some(Ok(theirs)), Ok(ours)) => theirs.differences(&ours),
        _ => Vec::new(),
    };
    let mut detail = some(&differences, "; ");
    if detail.is_empty() {
        detail = "its bytes are others, in nothing that is read of it here".to_owned();
    }
    check(audit, "L3", WHAT, false, format!("not what its sources give: {detail}"), &[]);
}

/// Whether the list of bound numbers is the one that the sources give.
fn bound(theirs: &[Bound], ours: &[Bound], audit: &mut Audit) {
    const WHAT: &str = "list of bound numbers";
    if theirs == ours {
        let detail = format!("complete: the {} that the sources give", ours.len());
        return audit.add("L3", &Subject::Paper, WHAT, Outcome::Holds, detail);
    }
    let said = |bound: &Bound| format!("{} = {} on page {}", bound.note.quantity, bound.note.shown, bound.note.page);
    let key = |bound: &Bound| serde_json::to_string(bound).unwrap_or_default();
    let (known, real): (BTreeSet<String>, BTreeSet<String>) =
        (theirs.iter().map(key).collect(), ours.iter().map(key).collect());
    let left_out: Vec<String> = ours.iter().filter(|bound| !known.contains(&key(bound))).map(said).collect();
    let invented: Vec<String> = theirs.iter().filter(|bound| !real.contains(&key(bound))).map(said).collect();
    let mut parts = vec![format!("it has {} entries, the sources give {}", theirs.len(), ours.len())];
    for (which, list) in [("left out", &left_out), ("not given by the sources", &invented)] {
        if !list.is_empty() {
            parts.push(format!("{which}: {}", some(list, ", ")));
        }
    }
    check(audit, "L3", WHAT, false, parts.join("; "), &[]);
}

/// The first of a list, and how many more there are.
fn some(list: &[String], between: &str) -> String {
    let named = list.iter().take(NAMED).cloned().collect::<Vec<_>>().join(between);
    if list.len() > NAMED { format!("{named}{between}and {} more", list.len() - NAMED) } else { named }
}

/// In what a file differs from what was made again, and the numbers that it reaches.
fn in_what(path: &str, theirs: &[u8], ours: &[u8]) -> (Vec<String>, Vec<String>) {
    let name = path.rsplit('/').next().unwrap_or(path);
    if path.ends_with(".svg") {
        let figure = name.trim_end_matches(".svg");
        return (vec!["the runs give another drawing".to_owned()], vec![format!("figure {figure}")]);
    }
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Json>(bytes).ok();
    if let (true, Some(theirs), Some(ours)) = (path.ends_with(".json"), parsed(theirs), parsed(ours)) {
        let (mut places, mut numbers) = (Vec::new(), Vec::new());
        walk(&theirs, &ours, &mut Vec::new(), &mut |at, detail| {
            let (place, number) = named(name, at);
            numbers.extend(number.filter(|number| !numbers.contains(number)));
            places.push(format!("{place}: {detail}"));
        });
        if places.is_empty() {
            places.push("the same content is written in another way".to_owned());
        }
        return (vec![some(&places, "; ")], numbers);
    }
    let (theirs, ours) = (String::from_utf8_lossy(theirs), String::from_utf8_lossy(ours));
    let mut lines = theirs.lines().zip(ours.lines()).enumerate();
    let place = match lines.find(|(_, (theirs, ours))| theirs != ours) {
        Some((at, (theirs, ours))) => format!("line {}: `{}`, made again `{}`", at + 1, cut(theirs), cut(ours)),
        None => format!("it has {} bytes, made again {}", theirs.len(), ours.len()),
    };
    (vec![place], Vec::new())
}

fn cut(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    if start.len() < text.len() { format!("{start}...") } else { start }
}

/// Calls `found` for each place where two values differ, with the way to it.
fn walk(theirs: &Json, ours: &Json, at: &mut Vec<String>, found: &mut dyn FnMut(&[String], String)) {
    match (theirs, ours) {
        (Json::Object(a), Json::Object(b)) => {
            for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                at.push(key.clone());
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => walk(a, b, at, found),
                    (None, _) => found(at, "left out".to_owned()),
                    (_, None) => found(at, "not given by the records".to_owned()),
                }
                at.pop();
            }
        }
        (Json::Array(a), Json::Array(b)) => {
            if a.len() != b.len() {
                found(at, format!("{} entries, made again {}", a.len(), b.len()));
            }
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                at.push((index + 1).to_string());
                walk(a, b, at, found);
                at.pop();
            }
        }
        (a, b) if a != b => found(at, format!("`{}`, made again `{}`", cut(&a.to_string()), cut(&b.to_string()))),
        _ => {}
    }
}

/// A place of one of the data files in the words of the paper, and the number that it is.
fn named(file: &str, at: &[String]) -> (String, Option<String>) {
    let parts: Vec<&str> = at.iter().map(String::as_str).collect();
    match (file, &parts[..]) {
        ("values.json", ["experiments", experiment, "values", key, field @ ..]) => {
            (format!("{experiment}:{key} {}", field.join(".")), Some(format!("{experiment}:{key}")))
        }
        ("values.json", ["differences", first, second, "differences", key, field @ ..]) => {
            (format!("{first}:{key} minus {second}:{key} {}", field.join(".")), Some(format!("{first}:{key}")))
        }
        ("tables.json", ["experiments", experiment, kind, "rows", row, rest @ ..]) => {
            (format!("table {kind} of {experiment}, row {row} {}", rest.join(".")), None)
        }
        ("tables.json", ["samples", experiment, rest @ ..]) => {
            (format!("samples of {experiment}, {}", rest.join(".")), None)
        }
        ("tables.json", ["paper", kind, "rows", row, rest @ ..]) => {
            (format!("table {kind}, row {row} {}", rest.join(".")), None)
        }
        _ => (parts.join("."), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_by_key_and_by_row() {
        let values = |number: f64| serde_json::json!({ "experiments": { "tiny": { "values": { "training.loss": { "number": number } } } } });
        let bytes = |value: &Json| value.to_string().into_bytes();
        let (places, numbers) = in_what("report/build/values.json", &bytes(&values(0.6)), &bytes(&values(0.66)));
        assert_eq!(places, ["tiny:training.loss number: `0.6`, made again `0.66`"]);
        assert_eq!(numbers, ["tiny:training.loss"]);
        let table = |rows: &[&str]| serde_json::json!({ "paper": { "runs": { "rows": rows } } });
        let (places, _) = in_what("report/build/tables.json", &bytes(&table(&["a", "b"])), &bytes(&table(&["a", "c"])));
        assert_eq!(places, ["table runs, row 2 : `\"b\"`, made again `\"c\"`"]);
        let (places, _) = in_what("report/build/paper.typ", b"one\ntwo\n", b"one\n2\n");
        assert_eq!(places, ["line 2: `two`, made again `2`"]);
    }
}
