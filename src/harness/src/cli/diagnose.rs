//! `harness diagnose`: the checklist for a run, with evidence.

use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::diagnose::{FORMAT, Outcome as Came, ranked};
use harness_analyse::{Finding, Side, diagnose, diagnose_seeds, diagnose_signal, repeated_experiments};

/// Go through a checklist for a run: stability, fit, data, tasks, speed, noise, each with its evidence.
///
/// Of an experiment the latest citable run is diagnosed, the spread over the seeds of its plan, and whether its tasks tell the
/// experiments apart that have two seeds. What is found
/// names what could be changed and roughly what that would cost. It is a reason to look, not a proof.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run id or an experiment.
    name: String,
    /// Also print the evidence of checks that are clear.
    #[arg(long, short)]
    verbose: bool,
    /// Hours left to spend: the cost of a change is also shown as a share of them.
    #[arg(long, value_name = "HOURS")]
    budget_hours: Option<f64>,
    /// Print JSON with exact numbers.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let side = Side::open(&workplace.project, &arguments.name)?;
    let latest = side.runs.last().expect("a side has a run");
    let mut findings = diagnose(latest);
    findings.push(diagnose_seeds(&side.runs));
    let experiments = repeated_experiments(&workplace.project)?;
    let experiments: Vec<Vec<_>> = experiments.iter().map(|runs| runs.iter().collect()).collect();
    findings.extend(diagnose_signal(latest, &experiments));
    let findings = ranked(findings);
    let run = &latest.run;
    if arguments.budget_hours.is_some_and(|hours| !hours.is_finite() || hours <= 0.0) {
        return Err(Failure::usage("the budget must be more than 0 hours\nhint: for example --budget-hours 12"));
    }
    if arguments.json {
        let text = json!({
            "format": FORMAT, "experiment": run.open.experiment, "run": run.open.run, "root": run.root,
            "seeds": side.runs.iter().map(|r| r.run.open.plan.seed).collect::<Vec<_>>(),
            "notes": side.notes, "findings": findings,
        });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    terminal::say(&format!("run {} of {}: {}", run.open.run, run.open.experiment, run.record.status.word()));
    side.notes.iter().for_each(|note| terminal::say(&format!("note: {note}")));
    findings.iter().for_each(|finding| print(finding, run.open.run.as_str(), arguments));
    let count = |outcome: Came| findings.iter().filter(|f| f.outcome == outcome).count();
    terminal::say(&format!(
        "{} found, {} clear, {} not judged",
        count(Came::Found),
        count(Came::Clear),
        count(Came::NotJudged)
    ));
    Ok(exit_code::SUCCESS)
}

fn print(finding: &Finding, run: &str, arguments: &Arguments) {
    let word = match finding.outcome {
        Came::Found => "FOUND",
        Came::Clear => "clear",
        Came::NotJudged => "not judged",
    };
    let subject = finding.subject.as_ref().map_or(String::new(), |subject| format!(" [{subject}]"));
    terminal::say(&format!("{word:<10} {}{subject}: {}", finding.check, finding.statement));
    if finding.outcome != Came::Found && !arguments.verbose {
        return;
    }
    let evidence: Vec<String> = finding.evidence.iter().map(|e| format!("{} {}", e.name, e.shown())).collect();
    if !evidence.is_empty() {
        terminal::say(&format!("           evidence: {}", evidence.join("; ")));
    }
    terminal::say(&format!("           rule: {} ({})", finding.threshold.rule, finding.threshold.source));
    terminal::say(&format!("           figure: harness plot {} {run}", finding.figure));
    for change in &finding.changes {
        let mut cost = change.price();
        if let (Some(price), Some(hours)) = (change.cost, arguments.budget_hours) {
            cost.push_str(&format!(", {:.1} % of the budget", 100.0 * price.wall_time_s / (3600.0 * hours)));
        }
        terminal::say(&format!("           change: {} ({cost})", change.what));
    }
}
