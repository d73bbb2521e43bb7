//! `harness library`: changes that are known to the field.

use harness_core::config::library::{Card, names};
use harness_core::names::ExperimentName;
use harness_record::load_config;
use serde_json::json;

use super::{Outcome, Workplace, terminal};
use crate::exit_code;

/// List the changes that are ready to be proposed, or show one with what its source reports and where it failed.
///
/// Each is a file in experiments/library/, which is yours to edit and to add to. `harness propose` makes an experiment of one.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Show this change whole.
    name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    if let Some(name) = &arguments.name {
        let name: ExperimentName = name.parse()?;
        let card = Card::load(project, &name)?;
        if arguments.json {
            terminal::say_json(&card);
        } else {
            terminal::say(&shown(&name, &card));
        }
        return Ok(exit_code::SUCCESS);
    }
    let mut cards = Vec::new();
    for name in names(project)? {
        let card = Card::load(project, &name)?;
        cards.push((name, card));
    }
    cards.sort_by(|a, b| (a.1.area, &a.0).cmp(&(b.1.area, &b.0)));
    let is_proposed = |name: &ExperimentName| load_config(project, name).is_ok();
    if arguments.json {
        let changes: Vec<_> = cards
            .iter()
            .map(|(name, card)| json!({ "name": name, "experiment": is_proposed(name), "card": card }))
            .collect();
        let text = json!({ "format": 1, "changes": changes });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    let rows: Vec<Vec<String>> = cards
        .iter()
        .map(|(name, card)| {
            let state = if is_proposed(name) { "an experiment" } else { "" };
            vec![card.area.word().to_owned(), name.to_string(), card.question.clone(), state.to_owned()]
        })
        .collect();
    terminal::say(&terminal::columns(&["area", "change", "question", ""], &rows));
    terminal::tell(
        "`harness library CHANGE` shows one, `harness propose CHANGE --over EXPERIMENT` makes an experiment of it",
    );
    Ok(exit_code::SUCCESS)
}

/// A card as text.
fn shown(name: &ExperimentName, card: &Card) -> String {
    let expect = &card.expect;
    let expected = format!("{} {}", expect.metric, expect.size(None));
    let answers = card.answers.join(", ");
    let conflicts = card.conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let parts = [
        ("question", card.question.as_str()),
        ("hypothesis", &card.hypothesis),
        ("expected", &expected),
        ("because", &card.rationale),
        ("reported", &card.claim),
        ("failed", &card.failed),
        ("costs", &card.cost),
        ("conflicts", &conflicts),
        ("answers", &answers),
    ];
    let mut lines = vec![format!("{name}: {} ({})", card.title, card.area.word())];
    for (what, said) in parts.into_iter().filter(|(_, said)| !said.is_empty()) {
        lines.push(format!("  {what:<11} {said}"));
    }
    lines.extend(card.changes().iter().map(|(key, value)| format!("  {:<11} {key} = {value}", "changes")));
    lines.join("\n")
}
