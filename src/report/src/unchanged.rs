//! Whether a paper would come out as it is: then nothing is drawn or set again. What it is made from is digested, sections,
//! templates and all that stands beside the runs included, and the files of the build folder are held against their proof.

use harness_core::names::Project;
use harness_core::{Digest, files};
use harness_record::SealedRun;
use harness_record::git::Git;
use serde::{Deserialize, Serialize};

use super::check_format::Finding;
use super::follow::Followed;
use super::lint::Statement;
use super::page_budget::PageBudget;
use super::proof::Proof;
use super::{BUILD, Options, PAPER_PDF, PAPER_PROOF, REPORT, Report, pretty};

/// What was said of the last paper, relative to the project.
const LAST: &str = "report/build/last.json";

/// `last.json`
#[derive(Debug, Serialize, Deserialize)]
struct Last {
    inputs: Digest,
    /// Of `paper.json`, which holds those of all other files.
    proof_sha256: Digest,
    pages: u64,
    behind: Vec<String>,
    left: Vec<String>,
    budget: PageBudget,
    findings: Vec<(String, Option<usize>, [String; 3])>,
    statements: Vec<Statement>,
    warnings: Vec<String>,
}

/// The digest of what a paper is made from; none where the project is in no repository or the program does not say what it is.
pub(super) fn inputs<'r>(
    project: &Project,
    runs: impl Iterator<Item = &'r SealedRun>,
    options: &Options,
) -> Result<Option<Digest>, files::FileError> {
    let commit = Git::discover(project.root()).ok().and_then(|git| git.head_commit().ok());
    let (Some(commit), Some(program)) = (commit, &options.program) else { return Ok(None) };
    let mut lines = vec![format!("{commit} {program} {options:?}")];
    let mut runs: Vec<String> = runs.map(|run| format!("{} {}", run.open.run, run.root)).collect();
    runs.sort();
    lines.append(&mut runs);
    for section in &options.sections {
        lines.push(Digest::of_file(section)?.to_string());
    }
    let typst = project.tools().join("bin").join("typst");
    lines.push(format!("{:?}", files::size_and_change_time(&typst).ok()));
    let root = project.root();
    let mut add = |path: String| -> Result<(), files::FileError> {
        lines.push(format!("{path} {}", Digest::of_file(&root.join(&path))?));
        Ok(())
    };
    let template = options.template.as_deref().filter(|folder| !folder.starts_with(REPORT));
    for folder in ["templates", REPORT].into_iter().chain(template) {
        for file in files::list_recursive(&root.join(folder))? {
            let path = format!("{folder}/{file}");
            if !path.starts_with(BUILD) {
                add(path)?;
            }
        }
    }
    // Of what lies deeper, as runs do, that it is there is enough: what counts of it is above.
    let mut names = Vec::new();
    for name in files::list(&project.experiments())? {
        let folder = format!("experiments/{name}");
        if files::is_file(&root.join(&folder)) {
            add(folder)?;
            continue;
        }
        for file in files::list(&root.join(&folder))? {
            let path = format!("{folder}/{file}");
            if files::is_file(&root.join(&path)) {
                add(path)?;
            } else {
                let inside = files::list(&root.join(&path))?;
                names.extend(inside.into_iter().map(|name| format!("{path}/{name}")));
            }
        }
    }
    lines.append(&mut names);
    Ok(Some(Digest::of(lines.join("\n").as_bytes())))
}

/// The paper that is there, if it is the one that would be made.
pub(super) fn report(project: &Project, inputs: Digest) -> Option<Report> {
    let root = project.root();
    let last: Last = serde_json::from_slice(&files::read(&root.join(LAST)).ok()?).ok()?;
    let proof_bytes = files::read(&root.join(PAPER_PROOF)).ok()?;
    if last.inputs != inputs || last.proof_sha256 != Digest::of(&proof_bytes) {
        return None;
    }
    let proof: Proof = serde_json::from_slice(&proof_bytes).ok()?;
    let holds = |path: &str, sha256: Digest| Digest::of_file(&root.join(path)).is_ok_and(|found| found == sha256);
    let all =
        proof.sources.iter().all(|source| holds(&source.path, source.sha256)) && holds(PAPER_PDF, proof.pdf_sha256);
    all.then(|| Report {
        pdf: root.join(PAPER_PDF),
        proof: root.join(PAPER_PROOF),
        pages: last.pages,
        bound: proof.bound.len(),
        followed: Followed { behind: last.behind, left: last.left, ..Followed::default() },
        budget: last.budget,
        findings: last
            .findings
            .into_iter()
            .filter_map(|(rule, page, said)| Finding::again(&rule, page, said))
            .collect(),
        statements: last.statements,
        warnings: last.warnings,
    })
}

/// Remembers what a paper was made from, and what was said of it.
pub(super) fn remember(project: &Project, inputs: Digest, report: &Report) -> Result<(), files::FileError> {
    let text = |finding: &Finding| {
        let said = [finding.place.clone(), finding.problem.clone(), finding.hint.clone()];
        (finding.rule.to_owned(), finding.page, said)
    };
    let last = Last {
        inputs,
        proof_sha256: Digest::of_file(&report.proof)?,
        pages: report.pages,
        behind: report.followed.behind.clone(),
        left: report.followed.left.clone(),
        budget: report.budget.clone(),
        findings: report.findings.iter().map(text).collect(),
        statements: report.statements.clone(),
        warnings: report.warnings.clone(),
    };
    files::write(&project.root().join(LAST), &pretty(&last))
}
