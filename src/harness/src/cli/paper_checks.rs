//! What `harness report` says of a paper beside making it: whether it keeps to the format, the checklist of
//! its submission, and what changed since an earlier one.

use std::collections::BTreeMap;
use std::path::Path;

use harness_core::files;
use harness_core::names::{ExperimentName, RunId};
use harness_record::{LeftOut, Reason, Seen};
use harness_report::{self as report, Checklist, Finding, Mode, Options, PAPER_PROOF, Proof, Then};
use serde_json::json;

use super::report::{Citable, analysed, chosen};
use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;

/// Prints findings, each with where its rule is written; 1 if there are any.
pub(super) fn show(pdf: &str, mode: Mode, findings: &[Finding], as_json: bool) -> Outcome {
    if as_json {
        print_json(pdf, mode, findings);
    } else {
        for finding in findings {
            terminal::say(&format!("{finding}\n  rule: {}\n  hint: {}", finding.source, finding.hint));
        }
        let (rules, mode) = (report::RULES.len(), mode.word());
        terminal::say(&format!("{pdf}: {rules} rules, mode {mode}, {} findings", findings.len()));
    }
    Ok(if findings.is_empty() { exit_code::SUCCESS } else { exit_code::CONTRADICTION })
}

/// Findings as JSON, and the rules that were looked at.
pub(super) fn print_json(pdf: &str, mode: Mode, findings: &[Finding]) {
    let found = json!({ "format": 1, "pdf": pdf, "mode": mode, "findings": findings, "rules": report::RULES });
    terminal::say_json(&found);
}

/// Checks what can be told of a PDF alone.
pub(super) fn file(path: &Path, mode: Mode, as_json: bool) -> Outcome {
    let pdf = path.display().to_string();
    let bytes = files::read(path)?;
    let findings = report::check_pdf(&bytes, path, mode)
        .map_err(|problem| Failure::usage(format!("`{pdf}`: {problem}\nhint: name a PDF, or leave the file out")))?;
    show(&pdf, mode, &findings, as_json)
}

/// Prints the checklist as text for the form; 1 if somebody has to answer first and `strict` is set.
pub(super) fn show_answers(checklist: &Checklist, strict: bool, as_json: bool) -> Outcome {
    let open = checklist.open();
    if as_json {
        let all = json!({ "format": 1, "answers": checklist.answers, "open": open });
        terminal::say_json(&all);
    } else {
        terminal::say(checklist.text().trim_end());
    }
    tell_of_open(&open);
    Ok(if strict && !open.is_empty() { exit_code::CONTRADICTION } else { exit_code::SUCCESS })
}

/// Says which answers are left to a person.
pub(super) fn tell_of_open(open: &[&str]) {
    if !open.is_empty() {
        terminal::tell(&format!("checklist: {} are yours to answer, in report/checklist.toml", open.join(", ")));
    }
}

/// What of the paper has changed since a commit, with the cause of each change.
pub(super) fn diff(workplace: &Workplace, named: &[ExperimentName], name: &str, mode: Mode, as_json: bool) -> Outcome {
    let (project, git) = (&workplace.project, &workplace.git);
    let commit = git.resolve(name)?;
    let proof: Proof = files::read(&project.root().join(PAPER_PROOF))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Failure::usage("there is no paper to compare\nhint: `harness report` makes it"))?;
    let committed = git.file_at(&commit, PAPER_PROOF)?.and_then(|bytes| serde_json::from_slice::<Proof>(&bytes).ok());
    let (mut runs, mut dropped) = (Vec::new(), BTreeMap::new());
    for set in chosen(project, named)?.0 {
        let held = |run: &RunId, ending: &str| -> Result<bool, Failure> {
            let path = format!("experiments/{}/runs/{run}{ending}", set.experiment);
            Ok(git.file_at(&commit, &path)?.is_some())
        };
        for LeftOut { run, why, seen } in &set.left_out {
            let Seen::Sealed(sealed) = seen else { continue };
            if !held(run, "/MANIFEST")? || held(run, ".dropped.json")? {
                continue;
            }
            if let Reason::Dropped(because) = why {
                dropped.insert(run.to_string(), because.clone());
            }
            runs.push((**sealed).clone());
        }
        for run in &set.runs {
            if held(&run.open.run, "/MANIFEST")? {
                runs.push(run.clone());
            }
        }
    }
    let Citable { runs: now, notes, experiments } = Citable::of(workplace, named)?;
    let (before, now) = (analysed(&runs)?, analysed(&now)?);
    let options = Options { mode, notes, experiments, ..Options::default() };
    let then = Then { runs: &before, proof: committed, dropped };
    let changes = report::paper_diff(project, &now, &options, &proof, &then)?;
    if as_json {
        let found =
            json!({ "format": 1, "commit": commit, "from_committed_paper": then.proof.is_some(), "changes": changes });
        terminal::say_json(&found);
        return Ok(exit_code::SUCCESS);
    }
    let none = || "\u{2013}".to_owned();
    for change in &changes {
        let pages: Vec<String> = change.pages.iter().map(u64::to_string).collect();
        let pages = if pages.is_empty() { String::new() } else { format!(" (page {})", pages.join(", ")) };
        let values = match (&change.then, &change.now) {
            (None, None) => String::new(),
            (then, now) => format!(": {} -> {}", then.clone().unwrap_or_else(none), now.clone().unwrap_or_else(none)),
        };
        terminal::say(&format!("{} {}{pages}{values}", change.kind, change.what));
        change.causes.iter().for_each(|cause| terminal::say(&format!("  because {cause}")));
    }
    let short = commit.get(..12).unwrap_or(&commit);
    terminal::say(&format!("{} changes of the paper since {short}", changes.len()));
    Ok(exit_code::SUCCESS)
}
