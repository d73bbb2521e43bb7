//! The paper: its bytes, the sources it was made from, and each bound number computed again from its run and looked
//! for in the text of its page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use harness_analyse::RunAnalysis;
use harness_core::names::{ExperimentName, Project, RunId, is_inside};
use harness_core::{Digest, files};
use harness_report::model::{Bound, Quantity};
use harness_report::{self as report, Listed, Numbers, Proof, ProofRun};
use harness_study::StudyError;

use super::{Analysed, Audit, AuditError, Check, Outcome, Subject, first_line, trace};

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
        .ok_or_else(|| no_proof(pdf, "it names a run or experiment that cannot exist".to_owned()))
}

/// Every number of the paper that belongs to one run; empty if there is no paper.
pub(super) fn shown_numbers(pdf: &Path) -> Vec<Shown> {
    let bound = read_proof(pdf).map(|proof| proof.bound).unwrap_or_default();
    let of = |b: &Bound| -> Vec<Shown> {
        let shown = |run: &String, key: &str| Shown {
            run: run.clone(),
            key: key.to_owned(),
            shown: b.note.shown.to_string(),
            page: b.note.page,
        };
        keys(&b.note.quantity).into_iter().flat_map(|key| b.runs.iter().map(move |run| shown(run, key))).collect()
    };
    bound.iter().flat_map(of).collect()
}

/// What the paper's proof lists.
pub(super) fn bound(pdf: &Path) -> Result<Vec<Bound>, AuditError> {
    Ok(read_proof(pdf)?.bound)
}

/// The keys of the values that it rests on.
pub(super) fn keys(quantity: &Quantity) -> Vec<&str> {
    match quantity {
        Quantity::Value { key, .. }
        | Quantity::Difference { key, .. }
        | Quantity::Interval { key, .. }
        | Quantity::Direction { key, .. } => vec![key],
        Quantity::Standing { key, than, .. } => vec![key, than],
        Quantity::Mean { keys, .. } => keys.iter().map(String::as_str).collect(),
        Quantity::Claim(claim) => vec![&claim.metric],
        Quantity::Verdict { .. } | Quantity::Count { .. } => Vec::new(),
    }
}

/// The experiments whose runs decide it; none for a count, which any run may change.
fn experiments(quantity: &Quantity) -> Option<Vec<&str>> {
    match quantity {
        Quantity::Value { experiment, .. } | Quantity::Standing { experiment, .. } => Some(vec![experiment]),
        Quantity::Difference { experiment, minus, .. } | Quantity::Interval { experiment, minus, .. } => {
            Some(vec![experiment, minus])
        }
        Quantity::Direction { experiment, against, .. } => Some(vec![experiment, against]),
        Quantity::Mean { experiments, .. } => Some(experiments.iter().map(String::as_str).collect()),
        Quantity::Claim(claim) => Some(vec![&claim.experiment, &claim.than]),
        // Like a claim, it rests on every change that is corrected with its own.
        Quantity::Verdict { .. } | Quantity::Count { .. } => None,
    }
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
pub(super) fn paper(project: &Project, pdf: &Path, analysed: &Analysed, audit: &mut Audit) -> Result<(), AuditError> {
    let proof = match read_proof(pdf) {
        Ok(proof) => proof,
        Err(error) if proof_path(pdf).is_file() => {
            let what = proof_path(pdf).display().to_string();
            audit.add("L0", &Subject::Paper, what, Outcome::Contradiction, first_line(&error));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    audit.bound_numbers = proof.bound.len();
    let everything: Vec<String> = vec!["every number of the paper".to_owned()];
    let found = Digest::of_file(pdf)?;
    let detail = format!("sha256 {}, its proof says {}", found.short(), proof.pdf_sha256.short());
    check(audit, "L1", &pdf.display().to_string(), found == proof.pdf_sha256, detail, &everything);
    let analyses = analyses(project, &proof, analysed, audit);
    let pair = |b: &Bound| match experiments(&b.note.quantity)?[..] {
        [first, second] => Some((first.to_owned(), second.to_owned())),
        _ => None,
    };
    let pairs: Vec<(String, String)> = proof.bound.iter().filter_map(pair).collect();
    let runs: Vec<RunAnalysis> = analyses.values().cloned().collect();
    let numbers = Numbers::of(&runs, &pairs).map_err(StudyError::from).and_then(|numbers| numbers.decided(project));
    sources(project, &proof, numbers.as_ref().ok(), audit, &everything);
    match &numbers {
        Ok(numbers) => recompute(&proof, numbers, &absent(&proof, &analyses), audit),
        Err(error) => audit.add("L3", &Subject::Paper, "numbers", Outcome::Contradiction, first_line(error)),
    }
    figures(project, &proof, &analyses, audit);
    text(pdf, &proof, audit);
    audit.traces.extend(traces(&proof, &analyses));
    Ok(())
}

/// Draws every figure again. Without one of the runs the study is another, and its looks may be too.
fn figures(project: &Project, proof: &Proof, analyses: &BTreeMap<String, RunAnalysis>, audit: &mut Audit) {
    if analyses.len() < proof.runs.len() {
        let detail = "not redrawn: a run of the paper is missing or contradicted".to_owned();
        audit.add("L3", &Subject::Paper, "figures", Outcome::Missing, detail);
        return;
    }
    let runs: Vec<RunAnalysis> = analyses.values().cloned().collect();
    let redrawn = match report::figures_drawn_again(project, &runs) {
        Ok(redrawn) => redrawn,
        Err(error) => {
            audit.add("L3", &Subject::Paper, "figures", Outcome::Missing, first_line(&error));
            return;
        }
    };
    let mut held = 0;
    for figure in &redrawn {
        match &figure.outcome {
            report::Outcome::Same => held += 1,
            report::Outcome::Missing(why) => {
                audit.add("L3", &Subject::Paper, &figure.file, Outcome::Missing, why.clone())
            }
            report::Outcome::Differs(why) => {
                let shown = format!("figure {}", figure.figure);
                check(audit, "L3", &figure.file, false, why.clone(), &[shown]);
            }
        }
    }
    let detail = format!("{held} of {} figures redrawn from their runs, byte for byte", redrawn.len());
    audit.add("L3", &Subject::Paper, "figures", Outcome::Holds, detail);
}

fn check(audit: &mut Audit, level: &'static str, what: &str, holds: bool, detail: String, numbers: &[String]) {
    let outcome = if holds { Outcome::Holds } else { Outcome::Contradiction };
    let numbers = if holds { Vec::new() } else { numbers.to_vec() };
    audit.checks.push(Check { level, subject: Subject::Paper, what: what.to_owned(), outcome, detail, numbers });
}

fn sources(project: &Project, proof: &Proof, numbers: Option<&Numbers>, audit: &mut Audit, everything: &[String]) {
    let mut held = 0;
    for source in &proof.sources {
        let whole = project.root().join(&source.path);
        let readable = is_inside(&source.path) && (files::is_file(&whole) || !whole.exists());
        match readable.then(|| Digest::of_file(&whole)) {
            Some(Ok(found)) if found == source.sha256 => held += 1,
            Some(Ok(found)) => {
                let detail = format!(
                    "has changed since the paper was made (then {}, now {}); `harness report` rebuilds the paper",
                    source.sha256.short(),
                    found.short()
                );
                let edited = numbers.map_or_else(Vec::new, |numbers| edited_values(&whole, numbers));
                let reached = if edited.is_empty() { everything } else { &edited };
                check(audit, "L1", &source.path, false, detail, reached);
            }
            Some(Err(error)) if error.is_not_found() => {
                audit.add("L1", &Subject::Paper, &source.path, Outcome::Missing, "is missing".to_owned());
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
    audit.add(
        "L1",
        &Subject::Paper,
        "sources",
        Outcome::Holds,
        format!("{held} files are the ones the paper was made from"),
    );
}

/// If a file is the catalogue of values, the values in it that are not those of their runs.
fn edited_values(path: &Path, numbers: &Numbers) -> Vec<String> {
    let parsed = files::read(path).ok().and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let Some(catalogue) = parsed else { return Vec::new() };
    let mut edited = Vec::new();
    for (experiment, values) in numbers.listed_values() {
        let listed = &catalogue["experiments"][&experiment]["values"];
        for (key, value) in values {
            let found: Option<Listed> = serde_json::from_value(listed[&key].clone()).ok();
            if listed.is_object() && found.as_ref() != Some(&value) {
                edited.push(format!("{experiment}:{key}"));
            }
        }
    }
    edited
}

/// The runs of the paper, each checked to be the one whose root the proof names.
fn analyses(project: &Project, proof: &Proof, analysed: &Analysed, audit: &mut Audit) -> BTreeMap<String, RunAnalysis> {
    let mut analyses = BTreeMap::new();
    for run in &proof.runs {
        let what = format!("run {} of {}", run.run, run.experiment);
        let all = [format!("every number of {}", run.experiment)];
        let opened = run.experiment.parse::<ExperimentName>().ok().zip(run.run.parse::<RunId>().ok());
        let Some((experiment, id)) = opened else {
            check(audit, "L1", &what, false, "is not a valid run id".to_owned(), &all);
            continue;
        };
        if !project.run(&experiment, &id).is_dir() {
            audit.add("L1", &Subject::Paper, what, Outcome::Missing, "is missing".to_owned());
            continue;
        }
        let Some(analysis) = analysed.get(&(experiment, id)) else {
            check(audit, "L1", &what, false, "does not hold".to_owned(), &all);
            continue;
        };
        let (root, open) = (analysis.run.root, &analysis.run.open);
        let same = root == run.root && open.code.commit == run.commit && open.data.root == run.data_root;
        let detail = if same {
            format!("root {}", root.short())
        } else {
            format!("its root is {}, the paper was made from {}", root.short(), run.root.short())
        };
        check(audit, "L1", &what, same, detail, &all);
        if same {
            analyses.insert(run.run.clone(), analysis.clone());
        }
    }
    analyses
}

/// Experiments of which a run is not here or does not hold.
fn absent(proof: &Proof, analyses: &BTreeMap<String, RunAnalysis>) -> BTreeSet<String> {
    proof.runs.iter().filter(|run| !analyses.contains_key(&run.run)).map(|run| run.experiment.clone()).collect()
}

/// Computes each bound number again, but for those that rest on a run which is not here or does not hold.
fn recompute(proof: &Proof, numbers: &Numbers, absent: &BTreeSet<String>, audit: &mut Audit) {
    let (mut held, mut left) = (0, 0);
    for bound in &proof.bound {
        let note = &bound.note;
        let can = match experiments(&note.quantity) {
            Some(experiments) => experiments.iter().all(|experiment| !absent.contains(*experiment)),
            None => absent.is_empty(),
        };
        if !can {
            left += 1;
            continue;
        }
        let problem = match numbers.check(note) {
            Err(problem) => problem,
            Ok(backing) if backing.number.to_bits() != bound.number.to_bits() => {
                format!("the runs give {}, the paper's proof says {}", backing.number, bound.number)
            }
            Ok(backing) if backing.runs != bound.runs => {
                "it rests on other runs than the paper's proof says".to_owned()
            }
            Ok(_) => {
                held += 1;
                continue;
            }
        };
        let what = format!("{} = {} on page {}", note.quantity, note.shown, note.page);
        let keys: Vec<String> = keys(&note.quantity).into_iter().map(str::to_owned).collect();
        check(audit, "L3", &what, false, problem, &keys);
    }
    let rest =
        if left == 0 { String::new() } else { format!("; {left} rest on a run that is missing or contradicted") };
    let detail = format!("{held} of {} bound numbers computed again from their runs{rest}", proof.bound.len());
    audit.add("L3", &Subject::Paper, "numbers", Outcome::Holds, detail);
}

/// Looks for each number in the text of its page, as often as it is bound there.
fn text(pdf: &Path, proof: &Proof, audit: &mut Audit) {
    let pages = match page_texts(pdf) {
        Ok(pages) => pages,
        Err(problem) => {
            audit.add("L3", &Subject::Paper, "text of the pages", Outcome::Contradiction, problem);
            return;
        }
    };
    let mut bound_on: BTreeMap<(u64, &str), Vec<&Bound>> = BTreeMap::new();
    let mut held = 0;
    for bound in &proof.bound {
        let note = &bound.note;
        if !matches!(note.quantity, Quantity::Claim(_) | Quantity::Verdict { .. }) {
            bound_on.entry((note.page, note.shown.in_one_piece())).or_default().push(bound);
        } else if holds_sentence(&pages, note.page, note.shown.in_one_piece()) {
            held += 1;
        } else {
            let detail = "the text of the page has another sentence".to_owned();
            check(audit, "L3", &format!("{} on page {}", note.quantity, note.page), false, detail, &[]);
        }
    }
    for ((page, shown), bounds) in &bound_on {
        let printed = page.checked_sub(1).and_then(|at| pages.get(at as usize)).map_or(0, |text| count(text, shown));
        if printed >= bounds.len() {
            held += bounds.len();
            continue;
        }
        let keys: Vec<String> = bounds.iter().flat_map(|b| keys(&b.note.quantity)).map(str::to_owned).collect();
        let what = format!("`{shown}` on page {page}");
        let detail = format!("is bound {} times, but appears {printed} times in the text of the page", bounds.len());
        check(audit, "L3", &what, false, detail, &keys);
    }
    audit.add("L3", &Subject::Paper, "text of the pages", Outcome::Holds, format!("{held} bound numbers appear in it"));
}

/// The text of each page with single blanks.
fn page_texts(pdf: &Path) -> Result<Vec<String>, String> {
    let document = lopdf::Document::load(pdf).map_err(|e| format!("could not read the PDF: {e}"))?;
    let page =
        |number: &u32| document.extract_text(&[*number]).map_err(|e| format!("could not read page {number}: {e}"));
    let texts = document.get_pages().keys().map(page).collect::<Result<Vec<_>, _>>()?;
    Ok(texts.into_iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
}

/// Whether a sentence that begins on a page stands there: broken over lines, columns or pages, with the number of a line
/// or a figure between two parts.
fn holds_sentence(pages: &[String], page: u64, sentence: &str) -> bool {
    /// Shorter parts would be found by chance; only the first and the last line may be short.
    const SHORTEST: usize = 12;
    let letters = |text: &str| text.split_whitespace().collect::<String>();
    let first = usize::try_from(page).unwrap_or(0).saturating_sub(1);
    let text: String = pages.iter().skip(first).take(2).map(|page| letters(page)).collect();
    let whole = letters(sentence);
    let (mut rest, mut is_first) = (whole.as_str(), true);
    while !rest.is_empty() {
        let ends = rest.char_indices().map(|(at, letter)| at + letter.len_utf8());
        let Some(end) = ends.take_while(|end| text.contains(&rest[..*end])).last() else { return false };
        if end < rest.len() && end < SHORTEST && !is_first {
            return false;
        }
        (rest, is_first) = (&rest[end..], false);
    }
    true
}

/// How often a number or words stand in a text as a whole, not as part of longer ones.
fn count(text: &str, piece: &str) -> usize {
    let is_number = piece.chars().any(|c| c.is_ascii_digit());
    let belongs = |c: char| if is_number { c.is_ascii_digit() } else { c.is_alphanumeric() };
    let whole = |&(at, _): &(usize, &str)| {
        let mut before = text[..at].chars().rev();
        let mut after = text[at + piece.len()..].chars();
        let joined = |first: Option<char>, second: Option<char>| match first {
            Some('.' | ',') if is_number => second.is_some_and(belongs),
            first => first.is_some_and(belongs),
        };
        !joined(before.next(), before.next()) && !joined(after.next(), after.next())
    };
    text.match_indices(piece).filter(whole).count()
}

/// One trace for each value of a run that the paper shows, with the pages it stands on.
fn traces(proof: &Proof, analyses: &BTreeMap<String, RunAnalysis>) -> Vec<trace::Trace> {
    let mut pages: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for bound in &proof.bound {
        for (key, run) in
            keys(&bound.note.quantity).into_iter().flat_map(|key| bound.runs.iter().map(move |run| (key, run)))
        {
            let on = pages.entry((run, key)).or_default();
            if !on.contains(&bound.note.page) {
                on.push(bound.note.page);
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
    use super::{count, holds_sentence};

    #[test]
    fn a_sentence_is_found_over_lines_and_pages_and_another_is_not() {
        let pages = [
            "It is so. The model of a has lower validation 12 bits per byte than",
            "13 the model of b (differ- ence −0.06). Next.",
        ]
        .map(str::to_owned);
        let said = |way: &str| {
            format!("The model of a has {way} validation bits per byte than the model of b (difference −0.06).")
        };
        assert!(holds_sentence(&pages, 1, &said("lower").replace("difference", "differ-ence")));
        assert!(!holds_sentence(&pages, 1, &said("higher")));
        assert!(!holds_sentence(&pages, 2, &said("lower")));
    }

    #[test]
    fn a_number_is_found_as_a_whole_only() {
        let text = "It needs 2.1 bits, 12.13 nats, 1,024,000 tokens, and -0.005 (2.1). At 2.1, then 32.1";
        for (piece, times) in [("2.1", 3), ("12.13", 1), ("24,000", 0), ("1,024,000", 1), ("-0.005", 1), ("0.0", 0)] {
            assert_eq!(count(text, piece), times, "{piece}");
        }
        let words = "Of the four tasks, fourteen are not. None is lower than four, slower than none.";
        for (piece, times) in [("four", 2), ("fourteen", 1), ("lower than", 1), ("None", 1), ("six", 0)] {
            assert_eq!(count(words, piece), times, "{piece}");
        }
    }
}
