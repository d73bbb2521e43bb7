//! `harness runs`: every run with its state, one a line.

use serde::Serialize;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::{RunAnalysis, Value};
use harness_core::names::ExperimentName;
use harness_record::format::Open;
use harness_record::select::Traces;
use harness_record::{self as record, LeftOut, Reason, RunSet, SealedRun, Seen};

/// List the runs: plan, seed, purpose, state, and whether they count; also runs that were dropped or deleted.
///
/// Of an experiment those runs count that completed, are citable, and have the latest plan and one purpose: `final`, or else
/// `confirm`, or else `explore`. Of a seed that was run twice the later run counts. `compare`, `plot` and `report` use
/// these and no others.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only the runs of this experiment.
    name: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// One line.
#[derive(Serialize)]
struct Row {
    run: String,
    experiment: String,
    /// The first digits of the digest of its plan without the seed.
    plan: Option<String>,
    seed: Option<u64>,
    purpose: Option<&'static str>,
    state: String,
    commit: Option<String>,
    steps: Option<String>,
    bits_per_byte: Option<String>,
    /// Why it does not count.
    left_out: Option<String>,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    if let Some(name) = &arguments.name
        && !record::experiments_with_runs(project)?.iter().any(|known| known.as_str() == name)
    {
        return Err(Failure::usage(format!("no experiment `{name}` has runs\nhint: `harness runs` lists all")));
    }
    let traces = Traces::of(project)?;
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for experiment in record::experiments_with_runs(project)? {
        if arguments.name.as_ref().is_some_and(|name| name != experiment.as_str()) {
            continue;
        }
        let set = RunSet::survey(project, &experiment, &traces)?;
        let missing: Vec<String> = set.missing_seeds().iter().map(u64::to_string).collect();
        if !missing.is_empty() {
            notes.push(format!("`{experiment}`: no run is known of seed {}", missing.join(", ")));
        }
        let mut own: Vec<Row> = set.runs.into_iter().map(|run| Row::sealed(&experiment, run)).collect();
        own.extend(set.left_out.into_iter().map(|run| left_out(&experiment, run)));
        own.sort_by(|a, b| a.run.cmp(&b.run));
        rows.extend(own);
    }
    let openings = record::openings(project)?;
    for row in &mut rows {
        let Some(opening) = openings.iter().find(|opening| opening.run.as_str() == row.run) else { continue };
        row.state += &format!(", opening {} of the test side", opening.count);
    }
    if arguments.json {
        terminal::say_json(&rows);
        return Ok(exit_code::SUCCESS);
    }
    if rows.is_empty() {
        terminal::tell("no runs yet\nhint: `harness run EXPERIMENT` makes one");
        return Ok(exit_code::SUCCESS);
    }
    let header = ["run", "experiment", "plan", "seed", "purpose", "state", "commit", "steps", "bits/byte", "counts"];
    let rows: Vec<Vec<String>> = rows.into_iter().map(Row::cells).collect();
    terminal::say(&terminal::columns(&header, &rows));
    notes.iter().for_each(|note| terminal::say(&format!("note: {note}")));
    Ok(exit_code::SUCCESS)
}

impl Row {
    fn unread(experiment: &ExperimentName, run: String, state: &str) -> Self {
        Row {
            run,
            experiment: experiment.to_string(),
            plan: None,
            seed: None,
            purpose: None,
            state: state.to_owned(),
            commit: None,
            steps: None,
            bits_per_byte: None,
            left_out: None,
        }
    }

    fn with_open(self, open: &Open) -> Self {
        Row {
            seed: Some(open.plan.seed),
            purpose: Some(open.plan.purpose.word()),
            commit: open.code.commit.get(..8).map(str::to_owned),
            ..self
        }
    }

    fn sealed(experiment: &ExperimentName, run: SealedRun) -> Self {
        let plan = run.plan_but_seed().to_string().get(..8).map(str::to_owned);
        let row = Self::unread(experiment, run.open.run.to_string(), run.record.status.word()).with_open(&run.open);
        let analysis = RunAnalysis::of(run).ok();
        let shown = |key: &str| analysis.as_ref().and_then(|a| a.values.get(key)).map(Value::shown);
        Row { plan, steps: shown("training.steps"), bits_per_byte: shown("validation.bits_per_byte"), ..row }
    }

    fn cells(self) -> Vec<String> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let counts = self.left_out.map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
        let [plan, commit, steps, bits] = [self.plan, self.commit, self.steps, self.bits_per_byte].map(or_none);
        let seed = or_none(self.seed.map(|seed| seed.to_string()));
        let purpose = self.purpose.unwrap_or("-").to_owned();
        vec![self.run, self.experiment, plan, seed, purpose, self.state, commit, steps, bits, counts]
    }
}

fn left_out(experiment: &ExperimentName, left: LeftOut) -> Row {
    let why = left.why.to_string();
    let row = match left.seen {
        Seen::Sealed(sealed) => Row::sealed(experiment, *sealed),
        seen => {
            let state = match left.why {
                Reason::Unreadable(_) => "CHANGED",
                Reason::OtherVersion(_) => "other version",
                Reason::Gone(_) => "deleted",
                _ => "open",
            };
            let row = Row::unread(experiment, left.run.to_string(), state);
            if let Seen::Opened(open) = &seen { row.with_open(open) } else { row }
        }
    };
    Row { left_out: Some(why), ..row }
}
