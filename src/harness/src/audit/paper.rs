//! The paper: its bytes, the sources it was made from, each bound number computed again from its run and looked for in
//! the text of its page, and all of it made again ([`super::again`]). A paper comes with its proof beside it, or alone, with
//! what is attached to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use harness_analyse::RunAnalysis;
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId, is_inside};
use harness_core::{Digest, files};
use harness_record::RunSet;
use harness_record::select::Traces;
use harness_report::model::{Bound, Quantity};
use harness_report::{BoundList, Made, Numbers, Options, Proof, ProofRun, ReportError, Summary};
use harness_study::StudyError;
use serde::de::DeserializeOwned;

use super::again::{self, Setter};
use super::pdf::Pdf;
use super::{Analysed, Audit, AuditError, Check, Outcome, Subject, first_line, trace};

/// A paper with what it says of itself.
pub(crate) struct Paper {
    /// Where it lies.
    name: String,
    /// None if it is gone and its proof is not.
    pub(crate) bytes: Option<Vec<u8>>,
    /// What was read of it, or why nothing was.
    pub(crate) pdf: Option<Result<Pdf, String>>,
    /// From beside it; of a paper alone, as far as what is attached gives it.
    pub(crate) proof: Proof,
    is_attached: bool,
}

impl Paper {
    /// Reads a paper. What is wrong with it is found by the audit; none if there is nothing to go on with.
    pub(crate) fn read(pdf: &Path, audit: &mut Audit) -> Option<Self> {
        let name = pdf.display().to_string();
        let bytes = match files::read(pdf) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.is_not_found() => {
                let detail = "the paper is missing, and its proof is there".to_owned();
                audit.add("L1", &Subject::Paper, &name, Outcome::Missing, detail);
                None
            }
            Err(error) => {
                check(audit, "L0", &name, false, error.to_string(), &[]);
                None
            }
        };
        let read = bytes.clone().map(Pdf::read);
        if let Some(Err(problem)) = &read {
            let detail = format!("the PDF cannot be read: {problem}");
            check(audit, "L0", &name, false, detail, &everything());
        }
        let beside = proof_path(pdf);
        let (proof, is_attached) = if beside.exists() {
            let what = beside.display().to_string();
            let bytes = files::read(&beside).map_err(|e| e.to_string());
            let parsed = bytes.as_ref().map_err(Clone::clone).and_then(|bytes| parse::<Proof>(bytes));
            let known = parsed.and_then(|proof| known(proof.format, Proof::VERSION).map(|()| proof));
            match known.and_then(|proof| whole(&proof, &bytes.unwrap_or_default()).map(|()| proof)) {
                Ok(proof) => (proof, false),
                Err(problem) => {
                    check(audit, "L0", &what, false, format!("the proof cannot be read: {problem}"), &everything());
                    return None;
                }
            }
        } else {
            let Some(Ok(read)) = &read else { return None };
            (attached_proof(read, bytes.as_deref().unwrap_or_default(), audit)?, true)
        };
        Some(Paper { name, bytes, pdf: read, proof, is_attached })
    }

    /// Whether its proof is what is attached to it.
    pub(crate) fn is_attached(&self) -> bool {
        self.is_attached
    }

    /// A file of the build folder as the paper has it: there, or attached; none of a paper alone that does not carry it.
    pub(crate) fn file(&self, project: &Project, path: &str) -> Option<Result<Vec<u8>, FileError>> {
        match &self.pdf {
            Some(Ok(pdf)) if self.is_attached => pdf.attachment(path).map(|bytes| Ok(bytes.to_vec())),
            _ => Some(files::read_below(project.root(), path)),
        }
    }

    /// The runs it uses whose names can exist.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (ExperimentName, RunId)> + '_ {
        self.proof.runs.iter().filter_map(opened)
    }

    /// The experiments that it names: by their runs, or by what it shows of them.
    pub(crate) fn experiments(&self) -> BTreeSet<ExperimentName> {
        let shown = self.proof.bound.iter().filter_map(|bound| decided_by(&bound.note.quantity)).flatten();
        let shown = shown.filter_map(|name| name.parse().ok());
        self.runs().map(|(experiment, _)| experiment).chain(shown).collect()
    }
}

fn opened(run: &ProofRun) -> Option<(ExperimentName, RunId)> {
    Some((run.experiment.parse().ok()?, run.run.parse().ok()?))
}

fn everything() -> Vec<String> {
    vec!["every number of the paper".to_owned()]
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

/// Whether a proof says what this program reads of it, and nothing else.
fn whole(proof: &Proof, bytes: &[u8]) -> Result<(), String> {
    let same =
        serde_json::to_value(proof).is_ok_and(|read| parse(bytes).is_ok_and(|said: serde_json::Value| said == read));
    if same { Ok(()) } else { Err("it has fields that no program writes".to_owned()) }
}

fn known(format: u32, version: u32) -> Result<(), String> {
    if format == version { Ok(()) } else { Err(format!("it has format {format}, this program reads {version}")) }
}

/// What a PDF carries of its proof. A copy for review has no runs.
fn attached_proof(pdf: &Pdf, bytes: &[u8], audit: &mut Audit) -> Option<Proof> {
    let mut of = |name: &str| {
        let path = format!("report/build/{name}");
        let found = pdf.attachment(&path);
        if found.is_none() {
            let detail = "is not attached to the PDF, and no proof lies beside it".to_owned();
            audit.add("L1", &Subject::Paper, path, Outcome::Missing, detail);
        }
        found
    };
    let (list, summary) = (of("bound.json")?, of("summary.json"));
    let list = parse::<BoundList>(list);
    let summary = summary.map_or(
        Ok(Summary { format: list.as_ref().map_or(0, |l| l.format), runs: Vec::new(), sources: Vec::new() }),
        parse,
    );
    match (list, summary) {
        (Ok(list), Ok(summary)) => Some(Proof {
            format: Proof::VERSION,
            pdf_sha256: Digest::of(bytes),
            mode: list.mode,
            template: list.template,
            experiments: list.experiments,
            typst: pdf.about.get("Creator").map_or_else(String::new, |creator| creator.to_lowercase()),
            fonts: None,
            sources: summary.sources,
            runs: summary.runs,
            bound: list.bound,
        }),
        (Err(problem), _) | (_, Err(problem)) => {
            check(audit, "L0", "what is attached to the PDF", false, problem, &everything());
            None
        }
    }
}

/// A number that the paper shows.
pub(crate) struct Shown {
    pub(crate) run: String,
    pub(crate) key: String,
    pub(crate) shown: String,
    pub(crate) page: u64,
}

/// Every number of the paper that belongs to one run; empty if there is no paper.
pub(crate) fn shown_numbers(pdf: &Path) -> Vec<Shown> {
    let proof = files::read(&proof_path(pdf)).ok().and_then(|bytes| parse::<Proof>(&bytes).ok());
    let bound = proof.map(|proof| proof.bound).unwrap_or_default();
    let of = |b: &Bound| -> Vec<Shown> {
        let shown = |run: &String, key: &str| Shown {
            run: run.clone(),
            key: key.to_owned(),
            shown: b.note.shown.to_string(),
            page: b.note.page,
        };
        b.note.quantity.keys().into_iter().flat_map(|key| b.runs.iter().map(move |run| shown(run, key))).collect()
    };
    bound.iter().flat_map(of).collect()
}

/// What the paper's proof lists.
pub(super) fn bound(pdf: &Path) -> Result<Vec<Bound>, AuditError> {
    let proof = proof_path(pdf);
    let read = files::read(&proof).map_err(|e| e.to_string()).and_then(|bytes| parse::<Proof>(&bytes));
    read.map(|proof| proof.bound).map_err(|problem| AuditError::NoProof { proof: proof.display().to_string(), problem })
}

/// The experiments whose runs decide it; none for a count or a verdict, which any run may change: a verdict rests on every change
/// that is corrected with its own.
fn decided_by(quantity: &Quantity) -> Option<Vec<&str>> {
    let any = matches!(quantity, Quantity::Verdict { .. } | Quantity::Count { .. });
    (!any).then(|| quantity.experiments())
}

fn proof_path(pdf: &Path) -> PathBuf {
    pdf.with_extension("json")
}

/// What is known of the runs of a project.
pub(crate) struct Known<'a> {
    pub(crate) project: &'a Project,
    pub(crate) traces: &'a Traces,
    /// The experiments whose runs were audited.
    pub(crate) sets: &'a [RunSet],
    pub(crate) analysed: &'a Analysed,
}

/// Checks the paper against its proof, its proof against the runs, and all of it against what is made again.
pub(crate) fn paper(known: &Known, paper: &Paper, setter: &Setter, audit: &mut Audit) {
    let (project, proof) = (known.project, &paper.proof);
    audit.bound_numbers = proof.bound.len();
    if let Some(bytes) = paper.bytes.as_ref().filter(|_| !paper.is_attached) {
        let found = Digest::of(bytes);
        let detail = format!("sha256 {}, its proof says {}", found.short(), proof.pdf_sha256.short());
        check(audit, "L1", &paper.name, found == proof.pdf_sha256, detail, &everything());
    }
    sources(project, proof, audit);
    let analyses = analyses(project, proof, known.analysed, audit);
    let runs: Vec<RunAnalysis> = analyses.values().cloned().collect();
    let is_whole = analyses.len() == proof.runs.iter().map(|run| &run.run).collect::<BTreeSet<_>>().len();
    if is_whole && !runs.is_empty() {
        let notes = choice(known, proof, &analyses, audit);
        // Of drafts alone are papers that no section of the project's own went into.
        let drafts_alone = proof.sources.iter().all(|source| !source.path.starts_with("report/sections/"));
        let (mode, template, experiments) = (proof.mode, proof.template.clone(), proof.experiments.clone());
        let options =
            Options { mode, drafts_alone, template, experiments, notes, of_others: true, ..Options::default() };
        match Made::of(project, &runs, &options) {
            Ok(mut made) => {
                again::files(project, paper, &made, audit);
                again::listed(paper, &made, audit);
                recompute(proof, &made.numbers, &BTreeSet::new(), audit);
                again::set(project, paper, &mut made, setter, audit);
            }
            Err(error) => {
                let missing = match &error {
                    ReportError::File(error) => error.is_not_found(),
                    error => matches!(error, ReportError::NoText(_)),
                };
                let detail = format!("not made again: {}", first_line(&error));
                let outcome = if missing { Outcome::Missing } else { Outcome::Contradiction };
                audit.add("L3", &Subject::Paper, "files of the paper", outcome, detail);
            }
        }
    } else {
        let what = if runs.is_empty() { "no run of the paper is" } else { "a run of the paper is not" };
        let detail = format!("not made again: {what} here as it was sealed");
        audit.add("L3", &Subject::Paper, "files of the paper", Outcome::Missing, detail);
        let experiments: BTreeSet<&str> = proof.runs.iter().map(|run| run.experiment.as_str()).collect();
        let is_mean = |b: &Bound| matches!(b.note.quantity, Quantity::Mean { .. });
        let pair = |b: &Bound| match decided_by(&b.note.quantity)?[..] {
            // The mean of two holds neither against the other.
            [first, second] if !is_mean(b) && experiments.contains(first) && experiments.contains(second) => {
                Some((first.to_owned(), second.to_owned()))
            }
            _ => None,
        };
        let pairs: BTreeSet<(String, String)> = proof.bound.iter().filter_map(pair).collect();
        let numbers = Numbers::of(&runs, &pairs.into_iter().collect::<Vec<_>>());
        match numbers.map_err(StudyError::from).and_then(|numbers| numbers.decided(project)) {
            Ok(numbers) => recompute(proof, &numbers, &absent(proof, &analyses), audit),
            Err(error) => audit.add("L3", &Subject::Paper, "numbers", Outcome::Contradiction, first_line(&error)),
        }
    }
    if let Some(Ok(pdf)) = &paper.pdf {
        text(pdf, proof, audit);
    }
    audit.traces.extend(traces(proof, &analyses));
}

/// Whether the paper lists the runs that it has to: those that count and those that were paid for, as far as they had been
/// opened when its last run ended. Gives by experiment what a reader has to know of that choice.
fn choice(
    known: &Known,
    proof: &Proof,
    analyses: &BTreeMap<String, RunAnalysis>,
    audit: &mut Audit,
) -> BTreeMap<String, Vec<String>> {
    let ended = analyses.values().map(|analysis| analysis.run.record.ended_at.replace(['-', ':'], "")).max();
    let ended = ended.unwrap_or_default();
    let mut notes = BTreeMap::new();
    let is_chosen = |name: &ExperimentName| proof.experiments.is_empty() || proof.experiments.contains(name);
    let with_runs = harness_record::experiments_with_runs(known.project).unwrap_or_default();
    let others: Vec<ExperimentName> = with_runs.into_iter().filter(|name| !is_chosen(name)).collect();
    if !others.is_empty() {
        let listed =
            |names: &[ExperimentName]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let (about, others) = (listed(&proof.experiments), listed(&others));
        let detail = format!("it is about {about} alone; runs that it leaves out are those of {others}");
        audit.add("L3", &Subject::Paper, "experiments", Outcome::Note, detail);
    }
    for set in known.sets.iter().filter(|set| is_chosen(&set.experiment)) {
        let experiment = &set.experiment;
        let later = |run: &RunId| run.as_str() > ended.as_str() && !run.as_str().starts_with(&ended);
        let opened_later: Vec<&RunId> = (set.runs.iter().map(|run| &run.open.run))
            .chain(set.left_out.iter().map(|run| &run.run))
            .filter(|run| later(run))
            .collect();
        let then = (!opened_later.is_empty())
            .then(|| RunSet::survey_until(known.project, experiment, known.traces, &ended).ok())
            .flatten();
        let set = then.as_ref().unwrap_or(set);
        let subject = Subject::Experiment(experiment.clone());
        if !opened_later.is_empty() {
            let count = opened_later.len();
            let detail =
                format!("{count} later than the last of the paper; `harness report` takes in those that count");
            audit.add("L2", &subject, "runs", Outcome::Note, detail);
        }
        let listed = |run: &RunId| proof.runs.iter().any(|listed| listed.run == run.as_str());
        for run in set.in_paper().filter(|run| !listed(&run.open.run)) {
            let detail =
                "belongs into the paper, and the paper does not list it; `harness report` makes it anew".to_owned();
            audit.add(
                "L3",
                &Subject::Paper,
                format!("run {} of {experiment}", run.open.run),
                Outcome::Contradiction,
                detail,
            );
        }
        for run in proof.runs.iter().filter(|run| run.experiment == experiment.as_str()) {
            if set.in_paper().all(|in_paper| in_paper.open.run.as_str() != run.run) {
                let why =
                    set.left_out.iter().find(|left| left.run.as_str() == run.run).map(|left| left.why.to_string());
                let detail = format!("is in the paper, and does not belong there: {}", why.unwrap_or_default());
                check(audit, "L3", &format!("run {} of {experiment}", run.run), false, detail, &[]);
            }
        }
        notes.insert(experiment.to_string(), set.notes());
    }
    notes
}

pub(crate) fn check(
    audit: &mut Audit,
    level: &'static str,
    what: &str,
    holds: bool,
    detail: String,
    numbers: &[String],
) {
    let outcome = if holds { Outcome::Holds } else { Outcome::Contradiction };
    let numbers = if holds { Vec::new() } else { numbers.to_vec() };
    audit.checks.push(Check { level, subject: Subject::Paper, what: what.to_owned(), outcome, detail, numbers });
}

fn sources(project: &Project, proof: &Proof, audit: &mut Audit) {
    let mut held = 0;
    for source in &proof.sources {
        let whole = project.root().join(&source.path);
        let found = match is_inside(&source.path) {
            true => files::read_below(project.root(), &source.path).map(|bytes| Digest::of(&bytes)),
            false => Err(FileError::new("read", &whole, std::io::Error::other("it is no path of this project"))),
        };
        match found {
            Ok(found) if found == source.sha256 => held += 1,
            Ok(found) => {
                let detail = format!(
                    "has changed since the paper was made (then {}, now {}); `harness report` rebuilds the paper",
                    source.sha256.short(),
                    found.short()
                );
                check(audit, "L1", &source.path, false, detail, &everything());
            }
            Err(error) if error.is_not_found() => {
                audit.add("L1", &Subject::Paper, &source.path, Outcome::Missing, "is missing".to_owned());
            }
            Err(error) => check(audit, "L1", &source.path, false, error.to_string(), &everything()),
        }
    }
    let detail = format!("{held} files are the ones the paper was made from");
    audit.add("L1", &Subject::Paper, "sources", Outcome::Holds, detail);
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
        let can = match decided_by(&note.quantity) {
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
        let keys: Vec<String> = note.quantity.keys().into_iter().map(str::to_owned).collect();
        check(audit, "L3", &what, false, problem, &keys);
    }
    let rest =
        if left == 0 { String::new() } else { format!("; {left} rest on a run that is missing or contradicted") };
    let detail = format!("{held} of {} bound numbers computed again from their runs{rest}", proof.bound.len());
    audit.add("L3", &Subject::Paper, "numbers", Outcome::Holds, detail);
}

/// Looks for each number in the text of its page, as often as it is bound there.
pub(crate) fn text(pdf: &Pdf, proof: &Proof, audit: &mut Audit) {
    let pages: Vec<&str> = pdf.pages.iter().map(|page| page.text.as_str()).collect();
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
        let keys: Vec<String> = bounds.iter().flat_map(|b| b.note.quantity.keys()).map(str::to_owned).collect();
        let what = format!("`{shown}` on page {page}");
        let detail = format!("is bound {} times, but appears {printed} times in the text of the page", bounds.len());
        check(audit, "L3", &what, false, detail, &keys);
    }
    audit.add("L3", &Subject::Paper, "text of the pages", Outcome::Holds, format!("{held} bound numbers appear in it"));
}

/// Whether a sentence that begins on a page stands there: broken over lines, columns or pages, with the number of a line
/// or a figure between two parts.
fn holds_sentence(pages: &[&str], page: u64, sentence: &str) -> bool {
    /// No sentence of the program is as long, and looking for one takes the square of its length.
    const LONGEST: usize = 4_096;
    /// Shorter parts would be found by chance; only the first and the last line may be short.
    const SHORTEST: usize = 12;
    if sentence.len() > LONGEST {
        return false;
    }
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
            bound.note.quantity.keys().into_iter().flat_map(|key| bound.runs.iter().map(move |run| (key, run)))
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
        ];
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
