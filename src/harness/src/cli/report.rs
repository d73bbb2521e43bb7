//! `harness report`: the paper from the sealed runs.

use std::collections::BTreeMap;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::RunAnalysis;
use harness_record::{LeftOut, Reason, RunSet, Seen};
use harness_report::{self as report, Mode, Options, PAPER_PDF};

/// Write report/build/paper.pdf from the sealed runs of every experiment.
///
/// The first time, report/sections/*.typ are drafted from the records; from then on they are yours and are never
/// overwritten. Numbers come in through #value("experiment", "key"); `harness show NAME --values` lists the keys.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Layout: camera-ready, anonymous with ruler, or with names and page numbers.
    #[arg(long, value_enum, default_value = "final")]
    mode: Layout,
    /// Fail (exit code 1) if a check of the format finds something.
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Layout {
    /// Camera-ready.
    Final,
    /// Anonymous, with line numbers.
    Review,
    /// With names and page numbers.
    Preprint,
}

impl From<Layout> for Mode {
    fn from(layout: Layout) -> Mode {
        match layout {
            Layout::Final => Mode::Final,
            Layout::Review => Mode::Review,
            Layout::Preprint => Mode::Preprint,
        }
    }
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    build(workplace, arguments.mode.into(), arguments.strict)
}

/// Makes the paper and says what came out.
pub(super) fn build(workplace: &Workplace, mode: Mode, strict: bool) -> Outcome {
    let (analyses, notes) = citable(workplace)?;
    let report = report::build(&workplace.project, &analyses, &Options { mode, notes })?;
    for created in &report.created {
        terminal::tell(&format!("drafted {created}: yours from now on"));
    }
    for redrafted in &report.redrafted {
        let name = redrafted.rsplit('/').next().unwrap_or(redrafted);
        terminal::tell(&format!("{redrafted} is yours; today's draft is report/build/draft/sections/{name}"));
    }
    report.warnings.iter().for_each(|warning| terminal::tell(&format!("typst: {warning}")));
    report.findings.iter().for_each(|finding| {
        terminal::tell(&format!("format: {}: {}\nhint: {}", finding.rule, finding.problem, finding.hint))
    });
    let summary = format!("{PAPER_PDF}: {} pages, {} bound numbers", report.pages, report.bound);
    terminal::say(&summary);
    let objections = strict && !report.findings.is_empty();
    Ok(if objections { exit_code::CONTRADICTION } else { exit_code::SUCCESS })
}

/// By experiment, what a reader has to know of the choice of its runs.
type Notes = BTreeMap<String, Vec<String>>;

/// The runs of every experiment that count, and those that would but for another plan, purpose or a later run of their
/// seed: the paper lists what they cost. With them, by experiment, what a reader has to know of that choice. What is left
/// out is told. A changed record is an error, not skipped.
fn citable(workplace: &Workplace) -> Result<(Vec<RunAnalysis>, Notes), Failure> {
    let (mut analyses, mut notes) = (Vec::new(), BTreeMap::new());
    for set in RunSet::of_all(&workplace.project)? {
        notes.insert(set.experiment.to_string(), set.notes());
        for run in set.runs {
            analyses.push(RunAnalysis::of(run)?);
        }
        for LeftOut { run, why, seen } in set.left_out {
            match (&why, seen) {
                (Reason::OtherPlan | Reason::OtherPurpose(_) | Reason::RepeatedBy(_), Seen::Sealed(sealed)) => {
                    analyses.push(RunAnalysis::of(*sealed)?);
                }
                _ => terminal::tell(&format!("left out run {run} of {}: {why}", set.experiment)),
            }
        }
    }
    Ok((analyses, notes))
}
