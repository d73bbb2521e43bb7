//! `harness diff`: in what two experiments or runs differ.

use super::{Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::Unit;
use harness_analyse::compare::{Effect, PRIMARY, SECONDARY, show_difference};
use harness_study::diff::{Code, Diff, Differing, diff};

/// Letters of a value that are shown.
const WIDEST: usize = 28;
/// Commits and files that are named.
const MOST_LINES: usize = 10;

/// Show in what two experiments or runs differ: resolved config, code of the trainer, data, machine and results.
///
/// Code, data and machine are those of the latest run that counts, results those of all of them, as in `harness compare`,
/// which says more. Of an experiment without runs there is the config alone.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// An experiment or a run.
    first: String,
    /// Another one.
    second: String,
    /// As JSON, with whole values.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let found = diff(&workplace.project, &workplace.git, &arguments.first, &arguments.second)?;
    terminal::say_as(arguments.json, &found, || shown(&found));
    Ok(exit_code::SUCCESS)
}

fn shown(found: &Diff) -> String {
    let names = [found.sides[0].name.as_str(), found.sides[1].name.as_str()];
    let mut parts = vec![section("config", &found.config, names)];
    if let Some(code) = &found.code {
        parts.push(shown_code(code, names));
        parts.push(section("data", &found.data, names));
        parts.push(section("machine", &found.environment, names));
    }
    if let Some(comparison) = &found.results {
        let own = |effect: &&Effect| [PRIMARY, SECONDARY].contains(&effect.family.as_str());
        let rows: Vec<Vec<String>> = comparison.effects.iter().filter(own).map(result).collect();
        let [first, second] = names.map(shortened);
        parts.push(terminal::table(&["results", &first, &second, "difference", "95 % interval"], &rows));
    }
    parts.extend(found.notes.iter().map(|note| format!("note: {note}")));
    parts.join("\n\n")
}

fn section(title: &str, entries: &[Differing], names: [&str; 2]) -> String {
    if entries.is_empty() {
        return format!("{title}: the same");
    }
    let value = |value: &Option<String>| value.as_ref().map_or_else(|| "-".to_owned(), |value| shortened(value));
    let row = |entry: &Differing| vec![entry.key.clone(), value(&entry.first), value(&entry.second)];
    let [first, second] = names.map(shortened);
    terminal::columns(&[title, &first, &second], &entries.iter().map(row).collect::<Vec<_>>())
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

fn shown_code(code: &Code, names: [&str; 2]) -> String {
    let short = code.commits.each_ref().map(|commit| commit.get(..12).unwrap_or(commit));
    let mut lines = vec![if short[0] == short[1] {
        format!("code: both ran commit {}", short[0])
    } else {
        format!("code: {} ran commit {}, {} ran {}", names[0], short[0], names[1], short[1])
    }];
    let trainers = &code.trainer_built_from_sha256;
    if trainers[0] != trainers[1] {
        lines.push("  their trainers were built from different sources".to_owned());
    }
    let Some(way) = &code.trainer else { return lines.join("\n") };
    if way.files.is_empty() && short[0] != short[1] {
        lines.push("  no file that the trainer is built from differs".to_owned());
    }
    for (name, commits) in [(names[0], &way.only_first), (names[1], &way.only_second)] {
        let titled = commits.iter().map(|commit| {
            format!("  only in {name}: {} {}", commit.commit.get(..12).unwrap_or(&commit.commit), commit.title)
        });
        lines.extend(cut(titled.collect()));
    }
    lines.extend(cut(way.files.iter().map(|file| format!("  differs: {file}")).collect()));
    lines.join("\n")
}

/// The first lines, and how many more there are.
fn cut(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MOST_LINES {
        let more = lines.len() - MOST_LINES;
        lines.truncate(MOST_LINES);
        lines.push(format!("  and {more} more: --json has all"));
    }
    lines
}

fn result(effect: &Effect) -> Vec<String> {
    let difference = |number: f64| show_difference(number, effect.unit).trim_end_matches(" points").to_owned();
    let value = |number: f64| {
        let shown = harness_analyse::show(number, effect.unit);
        if effect.unit == Unit::Share { format!("{shown} %") } else { shown }
    };
    vec![
        effect.metric.clone(),
        value(effect.reference),
        value(effect.other),
        difference(effect.difference),
        effect.interval.map_or_else(|| "-".to_owned(), |ends| ends.map(difference).join(" to ")),
    ]
}
