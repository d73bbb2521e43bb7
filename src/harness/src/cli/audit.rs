//! `harness audit`: does it hold?

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::audit::class::{self, Row, Verdict};
use crate::audit::{self, Audit, Setter, Summary, Trace};
use crate::exit_code;
use harness_core::files::{self, Temporary};
use harness_core::names::Project;
use harness_record::anchors::Trust;
use harness_record::git::Git;
use harness_record::{self as record, Bundled};
use harness_report::{Typst, archive};

/// Follow runs, numbers and the paper back through their digests.
///
/// Without an argument, audits every run and the paper, which is made again and compared byte for byte. No program of the
/// audited repository is run. Its sections are written in Typst: the Typst of this program (from `.tools` of the checkout
/// that it was built in, from the folder that HARNESS_TOOLS names, or from the PATH) sets them in a folder of their own,
/// with bounds on time and memory. Exit codes: 0 it holds; 1 a contradiction; 2 usage; 3 nothing contradicts, but something
/// is missing or, as without that Typst, not checked; 5 likewise, and a run has no anchor although --require-anchor asks
/// for one.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run id, an experiment (all its runs, and which of them count), `<experiment or run>:<value>`, a PDF, or what `harness
    /// bundle` made: the archive, or the folder that it was unpacked to. A PDF without its project is held against what is
    /// attached to it.
    subject: Option<String>,
    /// One JSON object: checks and, for the paper, one row for each number.
    #[arg(long)]
    json: bool,
    /// Do not set the paper again: whether the PDF and the list of its bound numbers are whole stays unchecked (exit code 3).
    #[arg(long)]
    no_typst: bool,
    /// Print the checks that hold too.
    #[arg(long, short)]
    verbose: bool,
    /// Exit with 5 where nothing contradicts and a sealed run has no anchor that holds (`harness anchor`).
    #[arg(long, conflicts_with = "class")]
    require_anchor: bool,
    /// Believe the time-stamp authorities of these certificates (PEM) [default: those of the system].
    #[arg(long, value_name = "FILE", conflicts_with = "class")]
    tsa_ca: Option<PathBuf>,
    /// Believe these keys, as `ssh-keygen -Y verify` takes them [default: experiments/allowed_signers of the repository].
    #[arg(long, value_name = "FILE", conflicts_with = "class")]
    allowed_signers: Option<PathBuf>,
    /// Write the audit as one HTML page too, for who has to judge it.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Audit every repository of a list instead, a folder a line: one row each, by a process of its own.
    #[arg(long, value_name = "LIST", conflicts_with_all = ["subject", "verbose", "html"])]
    class: Option<PathBuf>,
    /// Seconds that one repository of a class may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "class")]
    limit: u64,
}

pub(super) fn execute(folder: Option<PathBuf>, arguments: &Arguments) -> Outcome {
    if let Some(list) = &arguments.class {
        return class(arguments, list);
    }
    match arguments.subject.as_deref() {
        Some(archive) if archive.ends_with(".zip") => {
            let unpacked = Temporary::new("harness-bundle")?;
            archive::unpack(Path::new(archive), unpacked.path())
                .map_err(|error| Failure::usage(format!("{error}\nhint: name what `harness bundle` wrote")))?;
            let place = Place::bundle(unpacked.path())?.ok_or_else(|| {
                let none = format!("there is no `{}` in `{archive}`", Bundled::NAME);
                Failure::usage(format!("{none}\nhint: name what `harness bundle` wrote"))
            })?;
            of(&place, arguments, None, archive)
        }
        Some(folder) if Path::new(folder).join("experiments").is_dir() => {
            of(&Place::find(Some(PathBuf::from(folder)))?, arguments, None, folder)
        }
        subject => match (Place::find(folder.clone()), subject) {
            (Err(_), Some(pdf)) if pdf.ends_with(".pdf") && folder.is_none() => alone(arguments, Path::new(pdf)),
            (found, subject) => {
                let place = found?;
                let name = place.project.root().file_name().unwrap_or_default().to_string_lossy().into_owned();
                of(&place, arguments, subject, &name)
            }
        },
    }
}

/// What is audited: a project in its repository, or a bundle that was unpacked.
struct Place {
    project: Project,
    git: Option<Git>,
}

impl Place {
    fn find(folder: Option<PathBuf>) -> Result<Self, Failure> {
        let start = folder.clone().or_else(|| env::current_dir().ok()).and_then(|start| start.canonicalize().ok());
        let outside = |folder: &&Path| !folder.join(".git").exists();
        for folder in start.iter().flat_map(|start| start.ancestors()).take_while(outside) {
            if let Some(bundle) = Self::bundle(folder)? {
                return Ok(bundle);
            }
        }
        let Workplace { project, git } = Workplace::find(folder)?;
        Ok(Place { project, git: Some(git) })
    }

    fn bundle(root: &Path) -> Result<Option<Self>, Failure> {
        let bundled = Bundled::at(root).map_err(Failure::usage)?;
        Ok(bundled.map(|_| Place { project: Project::at(root), git: None }))
    }
}

fn of(place: &Place, arguments: &Arguments, subject: Option<&str>, name: &str) -> Outcome {
    let (project, git) = (&place.project, place.git.as_ref());
    let mut audit = match subject {
        None => audit::everything(project, git, &setter(arguments.no_typst))?,
        Some(pdf) if pdf.ends_with(".pdf") => {
            audit::pdf(project, git, there(Path::new(pdf))?, &setter(arguments.no_typst))?
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
    let trust = Trust {
        authorities: arguments.tsa_ca.clone(),
        signers: arguments.allowed_signers.clone().unwrap_or_else(|| project.experiments().join("allowed_signers")),
    };
    let unanchored = audit::anchors(project, git, &trust, &mut audit);
    let code = give(arguments, &audit, name)?;
    if arguments.require_anchor && audit.contradictions().next().is_none() && !unanchored.is_empty() {
        let runs: Vec<&str> = unanchored.iter().map(|run| run.as_str()).collect();
        terminal::tell(&format!("without an anchor that holds: {}", runs.join(", ")));
        return Ok(exit_code::UNANCHORED);
    }
    Ok(code)
}

/// Audits a PDF that no project is around.
fn alone(arguments: &Arguments, pdf: &Path) -> Outcome {
    let audit = audit::alone(there(pdf)?);
    give(arguments, &audit, &pdf.display().to_string())
}

fn there(pdf: &Path) -> Result<&Path, Failure> {
    if pdf.is_file() || pdf.with_extension("json").is_file() {
        return Ok(pdf);
    }
    let hint = "`harness report` writes report/build/paper.pdf";
    Err(Failure::usage(format!("there is no file `{}`\nhint: {hint}", pdf.display())))
}

/// Prints an audit, and writes its page.
fn give(arguments: &Arguments, audit: &Audit, name: &str) -> Outcome {
    if let Some(path) = &arguments.html {
        files::write(path, audit::page(audit, name, &record::environment::now().to_string()).as_bytes())?;
    }
    if arguments.json {
        print_json(audit);
    } else {
        print(audit, arguments.verbose || arguments.subject.as_ref().is_some_and(|s| s.contains(':')));
    }
    Ok(audit.exit_code())
}

/// Audits every repository of a list.
fn class(arguments: &Arguments, list: &Path) -> Outcome {
    let text = files::read_to_string(list)?;
    let repositories = class::listed(list, &text);
    if repositories.is_empty() {
        return Err(Failure::usage(format!(
            "`{}` names no repository\nhint: write the folder of a clone into each line",
            list.display()
        )));
    }
    let program = env::current_exe().map_err(|e| Failure::failed(format!("could not find this program: {e}")))?;
    let rows = class::audit(&program, &repositories, Duration::from_secs(arguments.limit));
    if arguments.json {
        let report = json!({ "format": 1, "repositories": rows });
        terminal::say_json(&report);
    } else {
        let header = ["repository", "runs", "bound", "contradictions", "missing", "notes", "s", "audit"];
        terminal::say(&terminal::table(&header, &rows.iter().map(cells).collect::<Vec<_>>()));
    }
    let code = |row: &Row| match &row.verdict {
        Verdict::Audited(counts) => counts.exit_code,
        Verdict::Failed { .. } => exit_code::CONTRADICTION,
    };
    let codes: Vec<u8> = rows.iter().map(code).collect();
    let worst = [exit_code::CONTRADICTION, exit_code::INCOMPLETE].into_iter().find(|code| codes.contains(code));
    Ok(worst.unwrap_or(exit_code::SUCCESS))
}

fn cells(row: &Row) -> Vec<String> {
    let name = row.repository.replace(['\n', '\t'], " ");
    let time = format!("{:.1}", row.wall_time_s);
    match &row.verdict {
        Verdict::Audited(counts) => {
            let word = match counts.exit_code {
                exit_code::SUCCESS => "holds",
                exit_code::INCOMPLETE => "incomplete",
                _ => "CONTRADICTION",
            };
            let numbers = [counts.runs, counts.bound_numbers, counts.contradictions, counts.missing, counts.notes]
                .map(|n| n.to_string());
            [vec![name], numbers.to_vec(), vec![time, word.to_owned()]].concat()
        }
        Verdict::Failed { because } => {
            [vec![name], vec![String::from("-"); 5], vec![time, format!("NOT AUDITED: {because}")]].concat()
        }
    }
}

/// What papers are set again with: the auditor's own, never a program of the audited repository, unless this one was built
/// there.
fn setter(is_unwanted: bool) -> Setter {
    if is_unwanted {
        return Err("`--no-typst` leaves it out".to_owned());
    }
    let named = env::var_os("HARNESS_TOOLS").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let program = env::current_exe().ok().and_then(|program| program.canonicalize().ok());
    let around = |program: PathBuf| {
        let tools = program.ancestors().skip(1).map(|folder| folder.join(".tools"));
        tools.filter(|tools| tools.join("bin/typst").is_file()).map(|tools| tools.to_owned()).next()
    };
    let tools = named.or_else(|| program.and_then(around));
    Typst::of_auditor(tools.as_deref()).map_err(|error| {
        let problem = error.to_string();
        format!(
            "{}; HARNESS_TOOLS names a folder with `bin/typst` and `fonts`",
            problem.lines().next().unwrap_or_default()
        )
    })
}

fn print_json(audit: &Audit) {
    let report = json!({
        "format": 1,
        "exit_code": audit.exit_code(),
        "runs": audit.runs(),
        "contradictions": audit.contradictions().count(),
        "missing": audit.missing().count(),
        "notes": audit.notes().count(),
        "bound_numbers": audit.bound_numbers,
        "checks": audit.checks,
        "numbers": audit.traces,
        "openings": audit.openings,
    });
    terminal::say_json(&report);
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
        let (what, detail) = (terminal::one_line(&check.what), terminal::one_line(&check.detail));
        terminal::say(&format!("  {word} [{}] {what}: {detail}", check.level));
        if !check.numbers.is_empty() {
            let numbers = terminal::one_line(&check.numbers.join(", "));
            terminal::say(&format!("    numbers that depend on it: {numbers}"));
        }
    }
    if verbose {
        audit.traces.iter().for_each(print_trace);
    }
    let summary = Summary::of(audit);
    terminal::say(&format!("claimed: {}", summary.claimed));
    let (checked, not_checked): (Vec<_>, Vec<_>) = summary.levels.iter().partition(|level| level.is_checked);
    for (word, levels) in [("checked", checked), ("not checked", not_checked)] {
        for level in levels {
            let found = if level.is_checked { format!(": {}", level.found) } else { String::new() };
            terminal::say(&format!("{word}: {} {}{found}", level.level, level.what));
        }
    }
    terminal::say(&summary.verdict);
}

/// Prints the way back from one number.
pub(super) fn print_trace(trace: &Trace) {
    let pages: Vec<String> = trace.pages.iter().map(u64::to_string).collect();
    let at = if pages.is_empty() { String::new() } else { format!(" (page {} of the paper)", pages.join(", ")) };
    let number = trace.number.map_or(String::new(), |number| format!(" = {} [{number}]", trace.shown));
    terminal::say(&format!("{}:{}{number}{at}, run {}", trace.experiment, trace.key, trace.run));
    for link in &trace.chain {
        let line = format!("  {:<10} {:<40} {}", link.kind, link.name, link.digest);
        terminal::say(&terminal::one_line(&line));
    }
}
