//! `harness propose`: an experiment from a change of the library.

use harness_core::config::library::{Card, Wishes};
use harness_core::files;
use harness_core::names::ExperimentName;
use harness_record::load_config;
use serde_json::json;

use super::{Failure, Outcome, Workplace, proposal, terminal};
use crate::exit_code;

/// Write an experiment that makes one change of the library over another experiment, with what it expects.
///
/// The file is yours to edit until it is committed: what is committed before the first run to confirm is what is held
/// against the results. Nothing is run.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A change of `harness library`.
    change: String,
    /// The experiment that it changes.
    #[arg(long, value_name = "EXPERIMENT")]
    over: String,
    /// Its name [default: that of the change].
    #[arg(long = "as", value_name = "NAME")]
    own: Option<String>,
    /// Seeds on each side.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=1000))]
    seeds: u32,
    /// The smallest change that is claimed, in the metric's unit [default: the library's].
    #[arg(long, value_name = "SIZE")]
    at_least: Option<f64>,
    /// A finding of `harness diagnose` that leads to it, such as late_rise; may be repeated.
    #[arg(long = "because", value_name = "FINDING")]
    findings: Vec<String>,
    /// Print the file instead of writing it.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let name: ExperimentName = arguments.change.parse()?;
    let base: ExperimentName = arguments.over.parse()?;
    let own: ExperimentName = arguments.own.as_ref().unwrap_or(&arguments.change).parse()?;
    let card = Card::load(project, &name)?;
    let path = project.experiment(&own).join("experiment.toml");
    if files::is_file(&path) {
        let problem = format!("there is an experiment `{own}` already");
        return Err(Failure::usage(format!("{problem}\nhint: name this one otherwise, with --as {own}-over-{base}")));
    }
    let wishes = Wishes { seeds: arguments.seeds, at_least: arguments.at_least, findings: arguments.findings.clone() };
    let proposed = card.propose(&name, &own, project, &load_config(project, &base)?, &wishes)?;
    proposal::check(workplace, &proposed.loaded)?;
    if arguments.dry_run {
        terminal::say_exactly(proposed.text.trim_end());
        return Ok(exit_code::SUCCESS);
    }
    files::write(&path, proposed.text.as_bytes())?;
    let changed = proposed.changed.iter().map(|(key, was, is)| json!({ "key": key, "base": was, "change": is }));
    let shown_path = format!("experiments/{own}/experiment.toml");
    if arguments.json {
        let text = json!({
            "format": 1, "experiment": own, "over": base, "path": shown_path,
            "changed": changed.collect::<Vec<_>>(), "conflicts": proposed.conflicts,
        });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    let mut lines = vec![format!("proposed: {shown_path}")];
    lines.extend(proposed.changed.iter().map(|(key, was, is)| format!("  {key}: {was} -> {is}")));
    let expect = proposed.loaded.experiment.expect.as_ref().expect("a card expects something");
    let size = expect.size(None);
    lines.push(format!("  expected: {} {size}, over {} seeds", expect.metric, arguments.seeds));
    lines.extend(
        proposed
            .conflicts
            .iter()
            .map(|other| format!("  mind: `{base}` has `{other}`, which this takes the place of or undoes")),
    );
    lines.push(format!(
        "next: edit it, commit it, then\n  harness plan {own}\n  harness seeds {base} --seeds {}\n  harness seeds {own}\n  harness decide {own}",
        arguments.seeds
    ));
    terminal::say(&lines.join("\n"));
    Ok(exit_code::SUCCESS)
}
