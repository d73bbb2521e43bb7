//! The paper: its bytes, the sources it was made from, and each bound number computed again from its run and looked
//! for in the text of its page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use harness_core::names::{ExperimentName, Project, RunId, is_inside};
use harness_core::{Digest, files};

use super::{Audit, AuditError, Check, Outcome, first_line, trace};
use harness_analyse::{RunAnalysis, Value};
use harness_record::SealedRun;
use harness_report::{self as report, Bound, Differences, Proof, ProofRun};

const SUBJECT: &str = "the paper";

/// A number that the paper shows.
pub(super) struct Shown {
    pub run: String,
    pub key: String,
    pub shown: String,
    pub page: u64,
}

/// The runs a paper uses.
pub(super) fn runs_used(pdf: &Path) -> Result<Vec<(ExperimentName, RunId)>, AuditError> {
    let proof = read_proof(pdf)?;
    let parse = |run: &ProofRun| Some((run.experiment.parse().ok()?, run.run.parse().ok()?));
    proof
        .runs
        .iter()
        .map(parse)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| no_proof(pdf, "it names a run or experiment whose name cannot be one".to_owned()))
}

/// Every number of the paper that belongs to one run; empty if there is no paper.
pub(super) fn shown_numbers(pdf: &Path) -> Vec<Shown> {
    let bound = read_proof(pdf).map(|proof| proof.bound).unwrap_or_default();
    let shown = |b: &Bound, run: &Option<String>| {
        Some(Shown { run: run.clone()?, key: b.key.clone(), shown: b.shown.clone(), page: b.page })
    };
    bound.iter().flat_map(|b| [shown(b, &b.run), shown(b, &b.minus_run)]).flatten().collect()
}

fn proof_path(pdf: &Path) -> PathBuf {
    pdf.with_extension("json")
}

fn no_proof(pdf: &Path, problem: String) -> AuditError {
    let proof = proof_path(pdf);
    AuditError::NoProof { pdf: pdf.display().to_string(), proof: proof.display().to_string(), problem }
}

fn read_proof(pdf: &Path) -> Result<Proof, AuditError> {
    let bytes = files::read(&proof_path(pdf)).map_err(|e| no_proof(pdf, e.to_string()))?;
    let proof: Proof = serde_json::from_slice(&bytes).map_err(|e| no_proof(pdf, e.to_string()))?;
    if proof.format != Proof::VERSION {
        return Err(no_proof(pdf, format!("it has format {}", proof.format)));
    }
    Ok(proof)
}

/// Checks the paper against its proof and its proof against the runs.
pub(super) fn paper(project: &Project, pdf: &Path, audit: &mut Audit) -> Result<(), AuditError> {
    let proof = match read_proof(pdf) {
        Ok(proof) => proof,
        Err(error) if proof_path(pdf).is_file() => {
            let what = proof_path(pdf).display().to_string();
            audit.add("L0", SUBJECT, what, Outcome::Contradiction, first_line(&error));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let everything: Vec<String> = vec!["every number of the paper".to_owned()];
    let found = Digest::of_file(pdf)?;
    let detail = format!("sha256 {}, its proof says {}", found.short(), proof.pdf_sha256.short());
    check(audit, "L1", &pdf.display().to_string(), found == proof.pdf_sha256, detail, &everything);
    let analyses = analyses(project, &proof, audit);
    sources(project, &proof, &analyses, audit, &everything);
    let pair = |b: &Bound| Some((b.experiment.clone()?, b.minus_experiment.clone()?));
    let pairs: Vec<(String, String)> = proof.bound.iter().filter_map(pair).collect();
    let runs: Vec<RunAnalysis> = analyses.values().cloned().collect();
    let study = match report::counts_and_differences(&runs, &pairs) {
        Ok((counts, differences)) => Across { counts, differences, absent: absent(&proof, &analyses) },
        Err(error) => {
            audit.add("L3", SUBJECT, "numbers", Outcome::Contradiction, first_line(&error));
            return Ok(());
        }
    };
    let mut recomputed = 0;
    for bound in &proof.bound {
        match recompute(bound, &analyses, &study) {
            None => {}
            Some(Ok(())) => recomputed += 1,
            Some(Err(detail)) => {
                let what = format!("{} on page {}", name_of(bound), bound.page);
                check(audit, "L3", &what, false, detail, std::slice::from_ref(&bound.key));
            }
        }
    }
    let rest = match proof.bound.len() - recomputed {
        0 => String::new(),
        rest => format!("; {rest} not: counts of a manifest, or numbers whose run is not here or does not hold"),
    };
    let detail = format!("{recomputed} of {} bound numbers computed again from their runs{rest}", proof.bound.len());
    audit.add("L3", SUBJECT, "numbers", Outcome::Holds, detail);
    figures(project, &proof, &analyses, audit);
    text(pdf, &proof, audit);
    audit.traces.extend(traces(&proof, &analyses));
    Ok(())
}

/// Draws every figure again. Without one of the runs the study is another, and its looks may be too.
fn figures(project: &Project, proof: &Proof, analyses: &BTreeMap<String, RunAnalysis>, audit: &mut Audit) {
    if analyses.len() < proof.runs.len() {
        let detail = "not drawn again: a run of the paper is not here or does not hold".to_owned();
        audit.add("L3", SUBJECT, "figures", Outcome::Missing, detail);
        return;
    }
    let runs: Vec<RunAnalysis> = analyses.values().cloned().collect();
    let redrawn = match report::figures_drawn_again(project, &runs) {
        Ok(redrawn) => redrawn,
        Err(error) => {
            audit.add("L3", SUBJECT, "figures", Outcome::Missing, first_line(&error));
            return;
        }
    };
    let mut held = 0;
    for figure in &redrawn {
        match &figure.outcome {
            report::Outcome::Same => held += 1,
            report::Outcome::Missing(why) => audit.add("L3", SUBJECT, &figure.file, Outcome::Missing, why.clone()),
            report::Outcome::Differs(why) => {
                let shown = format!("figure {}", figure.name);
                check(audit, "L3", &figure.file, false, why.clone(), &[shown]);
            }
        }
    }
    let detail = format!("{held} of {} figures drawn again from their runs, byte for byte", redrawn.len());
    audit.add("L3", SUBJECT, "figures", Outcome::Holds, detail);
}

fn check(audit: &mut Audit, level: &'static str, what: &str, holds: bool, detail: String, numbers: &[String]) {
    let outcome = if holds { Outcome::Holds } else { Outcome::Contradiction };
    let numbers = if holds { Vec::new() } else { numbers.to_vec() };
    audit.checks.push(Check { level, subject: SUBJECT.to_owned(), what: what.to_owned(), outcome, detail, numbers });
}

fn sources(
    project: &Project,
    proof: &Proof,
    analyses: &BTreeMap<String, RunAnalysis>,
    audit: &mut Audit,
    everything: &[String],
) {
    let mut held = 0;
    for source in &proof.sources {
        let whole = project.root().join(&source.path);
        let readable = is_inside(&source.path) && (files::is_file(&whole) || !whole.exists());
        match readable.then(|| Digest::of_file(&whole)) {
            Some(Ok(found)) if found == source.sha256 => held += 1,
            Some(Ok(found)) => {
                let detail = format!(
                    "has changed since the paper was made (then {}, now {}); `harness report` makes the paper anew",
                    source.sha256.short(),
                    found.short()
                );
                let edited = edited_values(&whole, analyses);
                let numbers = if edited.is_empty() { everything } else { &edited };
                check(audit, "L1", &source.path, false, detail, numbers);
            }
            Some(Err(error)) if error.is_not_found() => {
                audit.add("L1", SUBJECT, &source.path, Outcome::Missing, "is not here".to_owned());
            }
            _ => check(
                audit,
                "L1",
                &source.path,
                false,
                "cannot be read as a file of this project".to_owned(),
                everything,
            ),
        }
    }
    audit.add("L1", SUBJECT, "sources", Outcome::Holds, format!("{held} files are those the paper was made from"));
}

/// If a file is the catalogue of values, the values in it that are not those of their runs.
fn edited_values(path: &Path, analyses: &BTreeMap<String, RunAnalysis>) -> Vec<String> {
    let parsed = files::read(path).ok().and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let Some(experiments) = parsed.as_ref().and_then(|c| c["experiments"].as_object()) else { return Vec::new() };
    let mut edited = Vec::new();
    for (experiment, entry) in experiments {
        let Some(analysis) = entry["run"].as_str().and_then(|run| analyses.get(run)) else { continue };
        for (key, value) in &analysis.values {
            let listed = &entry["values"][key];
            if listed["shown"] != value.shown() || listed["number"].as_f64() != Some(value.number) {
                edited.push(format!("{experiment}:{key}"));
            }
        }
    }
    edited
}

/// Analyses the runs of the paper, checking that each is the one whose root the proof names.
fn analyses(project: &Project, proof: &Proof, audit: &mut Audit) -> BTreeMap<String, RunAnalysis> {
    let mut analyses = BTreeMap::new();
    for run in &proof.runs {
        let what = format!("run {} of {}", run.run, run.experiment);
        let all = [format!("every number of {}", run.experiment)];
        let opened = run.experiment.parse::<ExperimentName>().ok().zip(run.run.parse::<RunId>().ok());
        let Some((experiment, id)) = opened else {
            check(audit, "L1", &what, false, "cannot be the name of a run".to_owned(), &all);
            continue;
        };
        if !project.run(&experiment, &id).is_dir() {
            audit.add("L1", SUBJECT, what, Outcome::Missing, "is not here".to_owned());
            continue;
        }
        let sealed = SealedRun::open(project, &experiment, &id).map_err(|e| first_line(&e));
        let checked = sealed.and_then(|sealed| {
            let open = &sealed.open;
            if sealed.root != run.root || open.code.commit != run.commit || open.data.root != run.data_root {
                return Err(format!(
                    "its root is {}, the paper was made from {}",
                    sealed.root.short(),
                    run.root.short()
                ));
            }
            RunAnalysis::of(sealed).map_err(|e| first_line(&e))
        });
        match checked {
            Ok(analysis) => {
                check(audit, "L1", &what, true, format!("root {}", run.root.short()), &[]);
                analyses.insert(run.run.clone(), analysis);
            }
            Err(problem) => check(audit, "L1", &what, false, problem, &all),
        }
    }
    analyses
}

/// What rests on several runs.
struct Across {
    counts: BTreeMap<String, u64>,
    differences: Differences,
    /// Experiments of which a run is not here or does not hold.
    absent: BTreeSet<String>,
}

fn absent(proof: &Proof, analyses: &BTreeMap<String, RunAnalysis>) -> BTreeSet<String> {
    proof.runs.iter().filter(|run| !analyses.contains_key(&run.run)).map(|run| run.experiment.clone()).collect()
}

/// Computes a bound number again. `None` for what has no number of a run behind it, or whose run is not here.
fn recompute(bound: &Bound, analyses: &BTreeMap<String, RunAnalysis>, study: &Across) -> Option<Result<(), String>> {
    let value_of = |run: &Option<String>| -> Option<Result<&Value, String>> {
        let analysis = analyses.get(run.as_deref()?)?;
        Some(analysis.values.get(&bound.key).ok_or_else(|| "the run has no such value".to_owned()))
    };
    let expected = match bound.kind.as_str() {
        "value" => match value_of(&bound.run)? {
            Ok(value) => (value.number, value.shown(), value.shown_standard_error()),
            Err(problem) => return Some(Err(problem)),
        },
        // A difference rests on every seed of both experiments.
        "delta" | "compare" => {
            let (first, second) = (bound.experiment.as_deref()?, bound.minus_experiment.as_deref()?);
            if [first, second].iter().any(|experiment| study.absent.contains(*experiment)) {
                return None;
            }
            let Some(delta) = study.differences.get(first, second, &bound.key) else {
                return Some(Err("the runs have no such value in common".to_owned()));
            };
            let words = bound.kind == "compare";
            let shown = if words { in_words(&delta.shown).to_owned() } else { delta.shown.clone() };
            (delta.number, shown, delta.shown_error.clone())
        }
        // Counts may be shown as words, so only the number is compared.
        "count" => (*study.counts.get(&bound.key)? as f64, bound.shown.clone(), None),
        _ => return None,
    };
    let (number, shown, shown_error) = expected;
    Some(if bound.number.map(f64::to_bits) != Some(number.to_bits()) {
        Err(format!(
            "the run gives {number}, the paper's proof says {}",
            bound.number.map_or("nothing".to_owned(), |n| n.to_string())
        ))
    } else if bound.shown != shown {
        Err(format!("the run gives `{shown}`, the paper shows `{}`", bound.shown))
    } else if bound.shown_error.is_some() && bound.shown_error != shown_error {
        Err(format!("the standard error is `{}`, not as the paper shows it", shown_error.unwrap_or_default()))
    } else {
        Ok(())
    })
}

/// How `templates/values.typ` words a difference.
fn in_words(shown_difference: &str) -> &'static str {
    match shown_difference.as_bytes().first() {
        Some(b'-') => "lower than",
        Some(b'+') => "higher than",
        _ => "the same as",
    }
}

fn name_of(bound: &Bound) -> String {
    let of = bound.experiment.as_deref().unwrap_or("the study");
    format!("{of}:{} = {}", bound.key, bound.shown)
}

/// Looks for each number in the text of its page, as often as it is bound there.
fn text(pdf: &Path, proof: &Proof, audit: &mut Audit) {
    let pages = match page_texts(pdf) {
        Ok(pages) => pages,
        Err(problem) => {
            audit.add("L3", SUBJECT, "text of the pages", Outcome::Contradiction, problem);
            return;
        }
    };
    let mut bound_on: BTreeMap<(u64, String), Vec<&Bound>> = BTreeMap::new();
    for bound in proof.bound.iter().filter(|b| b.number.is_some() && b.kind != "compare") {
        bound_on.entry((bound.page, printed(&bound.shown))).or_default().push(bound);
    }
    let mut held = 0;
    for ((page, shown), bounds) in &bound_on {
        let printed = page.checked_sub(1).and_then(|at| pages.get(at as usize)).map_or(0, |text| count(text, shown));
        if printed >= bounds.len() {
            held += bounds.len();
            continue;
        }
        let keys: Vec<String> = bounds.iter().map(|b| b.key.clone()).collect();
        let what = format!("`{shown}` on page {page}");
        let detail = format!("is bound {} times, but the text of the page holds it {printed} times", bounds.len());
        check(audit, "L3", &what, false, detail, &keys);
    }
    audit.add("L3", SUBJECT, "text of the pages", Outcome::Holds, format!("{held} bound numbers stand in it"));
}

/// The text of each page, with the true minus sign as `-` and single blanks.
fn page_texts(pdf: &Path) -> Result<Vec<String>, String> {
    let document = lopdf::Document::load(pdf).map_err(|e| format!("the PDF cannot be read: {e}"))?;
    let page =
        |number: &u32| document.extract_text(&[*number]).map_err(|e| format!("page {number} cannot be read: {e}"));
    let texts = document.get_pages().keys().map(page).collect::<Result<Vec<_>, _>>()?;
    Ok(texts.into_iter().map(|t| t.replace('\u{2212}', "-").split_whitespace().collect::<Vec<_>>().join(" ")).collect())
}

/// What of a shown number stands in one piece in the text: powers of ten are set as such.
fn printed(shown: &str) -> String {
    let looks_scientific =
        |(mantissa, _): &(&str, &str)| mantissa.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
    let piece = shown.split_once('e').filter(looks_scientific).map_or(shown, |(mantissa, _)| mantissa);
    piece.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How often a number stands in a text as a whole, not as part of a longer one.
fn count(text: &str, piece: &str) -> usize {
    let numeric = |c: char| c.is_ascii_digit();
    let whole = |&(at, _): &(usize, &str)| {
        let mut before = text[..at].chars().rev();
        let mut after = text[at + piece.len()..].chars();
        let joined = |first: Option<char>, second: Option<char>| match first {
            Some('.' | ',') => second.is_some_and(numeric),
            first => first.is_some_and(numeric),
        };
        !joined(before.next(), before.next()) && !joined(after.next(), after.next())
    };
    text.match_indices(piece).filter(whole).count()
}

/// One trace for each number of a run that the paper shows, with the pages it stands on.
fn traces(proof: &Proof, analyses: &BTreeMap<String, RunAnalysis>) -> Vec<trace::Trace> {
    let mut pages: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for bound in proof.bound.iter().filter(|b| matches!(b.kind.as_str(), "value" | "delta" | "compare")) {
        for run in [&bound.run, &bound.minus_run].into_iter().flatten() {
            let on = pages.entry((run, &bound.key)).or_default();
            if !on.contains(&bound.page) {
                on.push(bound.page);
            }
        }
    }
    let trace_of = |((run, key), pages): ((&str, &str), Vec<u64>)| {
        let traced = trace::of_analysis(analyses.get(run)?, key).ok()?;
        Some(trace::Trace { pages, ..traced })
    };
    pages.into_iter().filter_map(trace_of).collect()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn a_number_is_found_as_a_whole_only() {
        let text = "It needs 2.1 bits, 12.13 nats, 1,024,000 tokens, and -0.005 (2.1). At 2.1, then 32.1";
        for (piece, times) in [("2.1", 3), ("12.13", 1), ("24,000", 0), ("1,024,000", 1), ("-0.005", 1), ("0.0", 0)] {
            assert_eq!(count(text, piece), times, "{piece}");
        }
    }
}
