//! `harness leave-one-out`: what of the adopted changes still helps.

use serde_json::json;

use super::{Outcome, Workplace, terminal};
use crate::exit_code;
use harness_study::Evidence;
use harness_study::leave_one_out::{FORMAT, Finding, Without, leave_one_out};

/// Ask which adopted changes still help: writes, for each that NAME descends from, the experiment NAME-without-CHANGE.
///
/// Each expects that nothing changes by more than the margin of the change that it leaves out, and is decided on seeds to
/// report with (purpose `final`), which decided nothing before: commit them and run them and NAME with `harness seeds`. The same
/// command then says what still helps, and what no longer does.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The experiment at the end of the adopted changes.
    name: String,
    /// Seeds that the experiments are registered with [default: those of each change].
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=1000))]
    seeds: Option<u32>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let name = arguments.name.parse()?;
    let all = leave_one_out(&Evidence::of(&workplace.project)?, &name, arguments.seeds)?;
    if arguments.json {
        let text = json!({ "format": FORMAT, "experiment": name, "without": all });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    terminal::say(&terminal::columns(&["change", "without it [interval]", "margin", "so it"], &rows));
    let written: Vec<String> = all.iter().filter(|one| one.written).map(|one| one.experiment.to_string()).collect();
    if !written.is_empty() {
        let folders: Vec<String> = written.iter().map(|name| format!("experiments/{name}")).collect();
        terminal::tell(&format!("hint: git add {} && git commit, then run them:", folders.join(" ")));
    }
    for reason in all.iter().filter_map(|one| one.decision.as_ref()).flat_map(|decision| &decision.because) {
        terminal::tell(reason);
    }
    for name in written {
        terminal::tell(&format!("  harness seeds {name}"));
    }
    if all.iter().any(|one| one.written) {
        let seeds = arguments.seeds.map_or_else(|| "N".to_owned(), |seeds| seeds.to_string());
        terminal::tell(&format!("  harness seeds {name} --purpose final --seeds {seeds}"));
    }
    Ok(exit_code::SUCCESS)
}

fn row(one: &Without) -> Vec<String> {
    let found = one.decision.as_ref().and_then(|decision| decision.estimate.as_ref());
    let expect = one.decision.as_ref().and_then(|decision| decision.proposal.expect.as_ref());
    let sentence = if one.written { Finding::NotRun } else { one.finding }.words();
    vec![
        one.change.to_string(),
        found.map_or_else(
            || "-".to_owned(),
            |found| {
                let [low, high] = found.interval;
                format!("{:+.5} [{low:+.5}, {high:+.5}]", found.difference)
            },
        ),
        expect.map_or_else(|| "-".to_owned(), |expect| expect.at_least.to_string()),
        sentence.to_owned(),
    ]
}
