//! `harness audit`: does it hold?

use std::path::Path;

use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::audit::{self, Audit, Trace};
use harness_record as record;

/// Follow runs, numbers and the paper back through their digests.
///
/// Without an argument, audits every run and the paper. Nothing of the audited repository is executed.
/// Exit codes: 0 it holds; 1 a contradiction; 2 usage; 3 nothing contradicts, but something is missing.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run id, an experiment (all its runs, and which of them count), `<experiment or run>:<value>`, or a PDF.
    subject: Option<String>,
    /// One JSON object: checks and, for the paper, one row for each number.
    #[arg(long)]
    json: bool,
    /// Print the checks that hold too.
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let (project, git) = (&workplace.project, &workplace.git);
    let audit = match arguments.subject.as_deref() {
        None => audit::everything(project, git)?,
        Some(pdf) if pdf.ends_with(".pdf") => {
            let path = Path::new(pdf);
            if !path.is_file() {
                return Err(Failure::usage(format!(
                    "there is no file `{pdf}`\nhint: `harness report` writes report/build/paper.pdf"
                )));
            }
            audit::pdf(project, git, path)?
        }
        Some(subject) => {
            let (name, key) = subject.split_once(':').map_or((subject, None), |(name, key)| (name, Some(key)));
            match key.map(|key| (key, record::choose(project, name))) {
                Some((key, Ok(sealed))) => {
                    let mut found = audit::run(project, git, &sealed.open.experiment, &sealed.open.run)?;
                    match audit::trace(sealed, key) {
                        Ok(trace) => found.traces.push(trace),
                        // A run that does not hold has no numbers; its contradictions say why.
                        Err(_) if found.contradictions().next().is_some() => {}
                        Err(error) => return Err(error.into()),
                    }
                    found
                }
                // A run that cannot be read gives no number; what is wrong with it is the answer.
                _ => match record::find(project, name)? {
                    (experiment, run) if Path::new(name).ends_with(run.as_str()) => {
                        audit::run(project, git, &experiment, &run)?
                    }
                    (experiment, _) => audit::experiment(project, git, &experiment)?,
                },
            }
        }
    };
    if arguments.json {
        print_json(&audit);
    } else {
        print(&audit, arguments.verbose || arguments.subject.as_ref().is_some_and(|s| s.contains(':')));
    }
    Ok(audit.exit_code())
}

/// Audits all there is and prints what does not hold.
pub(super) fn everything(workplace: &Workplace) -> Outcome {
    let audit = audit::everything(&workplace.project, &workplace.git)?;
    print(&audit, false);
    Ok(audit.exit_code())
}

fn print_json(audit: &Audit) {
    let report = json!({
        "format": 1,
        "exit_code": audit.exit_code(),
        "contradictions": audit.contradictions().count(),
        "missing": audit.missing().count(),
        "notes": audit.notes().count(),
        "bound_numbers": audit.bound_numbers,
        "checks": audit.checks,
        "numbers": audit.traces,
        "openings": audit.openings,
    });
    terminal::say(&serde_json::to_string_pretty(&report).expect("an audit is JSON"));
}

fn print(audit: &Audit, verbose: bool) {
    let mut subject = None;
    for check in &audit.checks {
        let word = match check.outcome {
            audit::Outcome::Holds if !verbose => continue,
            audit::Outcome::Holds => "holds",
            audit::Outcome::Contradiction => "CONTRADICTION",
            audit::Outcome::Missing => "missing",
            audit::Outcome::Note => "note",
        };
        if subject != Some(&check.subject) {
            subject = Some(&check.subject);
            terminal::say(&check.subject.to_string());
        }
        terminal::say(&format!("  {word} [{}] {}: {}", check.level, check.what, check.detail));
        if !check.numbers.is_empty() {
            terminal::say(&format!("    numbers that depend on it: {}", check.numbers.join(", ")));
        }
    }
    if verbose {
        audit.traces.iter().for_each(print_trace);
    }
    let (contradictions, missing) = (audit.contradictions().count(), audit.missing().count());
    let subjects: std::collections::BTreeSet<String> = audit.checks.iter().map(|c| c.subject.to_string()).collect();
    terminal::say(&format!(
        "{} checks on {} subjects, {} bound numbers of the paper: {contradictions} contradictions, {missing} missing",
        audit.checks.len(),
        subjects.len(),
        audit.bound_numbers,
    ));
    terminal::say("not checked: signatures and anchors (L2), evaluation or training run again (L4, L5)");
}

fn print_trace(trace: &Trace) {
    let pages: Vec<String> = trace.pages.iter().map(u64::to_string).collect();
    let at = if pages.is_empty() { String::new() } else { format!(" (page {} of the paper)", pages.join(", ")) };
    terminal::say(&format!("{}:{} = {} [{}]{at}", trace.experiment, trace.key, trace.shown, trace.number));
    for link in &trace.chain {
        terminal::say(&format!("  {:<10} {:<40} {}", link.kind, link.name, link.digest));
    }
}
