//! `harness trace`: from what the paper shows to the data behind it.

use std::path::PathBuf;

use super::audit::print_trace;
use super::{Outcome, Workplace, terminal};
use crate::audit::{self, Traced, Wanted};
use crate::exit_code;
use harness_report::PAPER_PDF;
use serde_json::json;

/// Follow a number, a figure or a page of the paper back to runs, commits and data.
///
/// Each run that it rests on is held against its seal, and each value is computed again from the rows of the run; what
/// `harness audit` checks beyond that is not checked here. Exit codes: 0 followed; 1 a run does not hold; 2 the paper
/// shows no such thing, or there is no paper.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A number as it is printed (`2.271`), `<experiment>:<value>`, an id in report/build/paper.json (`n17`), or a figure's file.
    #[arg(required_unless_present = "page", conflicts_with = "page", allow_hyphen_values = true)]
    what: Option<String>,
    /// Everything that this page shows, from 1.
    #[arg(long, value_name = "N")]
    page: Option<u64>,
    /// Another PDF than report/build/paper.pdf, with its proof beside it.
    #[arg(long, value_name = "PDF")]
    paper: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let pdf = arguments.paper.clone().unwrap_or_else(|| workplace.project.root().join(PAPER_PDF));
    let wanted = match (&arguments.what, arguments.page) {
        (_, Some(page)) => Wanted::Page(page),
        (what, None) => Wanted::Named(what.clone().unwrap_or_default()),
    };
    let found = audit::in_paper(&workplace.project, &pdf, &wanted)?;
    if arguments.json {
        terminal::say_json(&json!({ "format": 1, "found": found }));
    } else {
        found.iter().for_each(print);
    }
    let holds = found.iter().all(|traced| traced.broken.is_empty());
    Ok(if holds { exit_code::SUCCESS } else { exit_code::CONTRADICTION })
}

fn print(traced: &Traced) {
    let at = traced.page.map_or(String::new(), |page| format!(" on page {page}"));
    terminal::say(&format!("{}{at}: {}\n  {}", traced.id, traced.what, traced.shown));
    traced.traces.iter().for_each(print_trace);
    traced.broken.iter().for_each(|why| terminal::say(&format!("  BROKEN {why}")));
}
