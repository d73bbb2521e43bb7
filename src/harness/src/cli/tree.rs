//! `harness tree`: every experiment under the one that it extends.

use serde_json::json;

use super::{Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::compare::show_difference;
use harness_study::tree::{FORMAT, HEADLINE, TreeEffect};
use harness_study::{Branch, Evidence, tree};

/// Letters that a name with its branches may take.
const WIDEST_NAME: usize = 34;

/// Show every experiment under the one that it extends: its seeds, what it does to its metric, and what became of it.
///
/// A difference is the experiment minus what it is held against: its parent, or what `expect.against` names. Where the
/// experiment registered an expectation, difference, interval and verdict are those of `harness decide`; any other is
/// exploratory, and has no verdict.
#[derive(clap::Args)]
pub struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let branches = tree(&Evidence::of(&workplace.project)?)?;
    if arguments.json {
        let text = json!({ "format": FORMAT, "experiments": branches });
        terminal::say(&serde_json::to_string_pretty(&text).expect("a tree is JSON"));
        return Ok(exit_code::SUCCESS);
    }
    let rows: Vec<Vec<String>> = branches.iter().enumerate().map(|(at, branch)| row(&branches, at, branch)).collect();
    terminal::say(&terminal::columns(&["experiment", "seeds", "difference, 95 % interval", "verdict"], &rows));
    notes(&branches).iter().for_each(|note| terminal::say(note));
    Ok(exit_code::SUCCESS)
}

fn row(branches: &[Branch], at: usize, branch: &Branch) -> Vec<String> {
    let seeds = match branch.registered {
        Some([completed, all]) => format!("{completed}/{all}"),
        None => branch.seeds.to_string(),
    };
    vec![
        shortened(&format!("{}{}", limbs(branches, at), branch.experiment)),
        seeds,
        branch.effect.as_ref().map_or_else(|| "-".to_owned(), difference),
        branch.verdict.map_or("-", |verdict| verdict.word()).to_owned(),
    ]
}

fn difference(effect: &TreeEffect) -> String {
    let show = |number: f64| show_difference(number, effect.unit).trim_end_matches(" points").to_owned();
    let points = if show_difference(0.0, effect.unit).ends_with(" points") { " points" } else { "" };
    let interval = effect.interval.map_or_else(String::new, |[low, high]| format!(" [{}, {}]", show(low), show(high)));
    format!("{}{interval}{points}", show(effect.difference))
}

/// The branches before a name: whether more follow at each depth.
fn limbs(branches: &[Branch], at: usize) -> String {
    let depth = branches[at].depth;
    let more_at = |level: usize| {
        branches[at + 1..].iter().take_while(|later| later.depth >= level).any(|later| later.depth == level)
    };
    let limb = |level: usize| match (level == depth, more_at(level)) {
        (true, true) => "├─ ",
        (true, false) => "└─ ",
        (false, true) => "│  ",
        (false, false) => "   ",
    };
    (1..=depth).map(limb).collect()
}

/// At most [`WIDEST_NAME`] letters, cut before the end: names that belong together differ there.
fn shortened(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= WIDEST_NAME {
        return text.to_owned();
    }
    let (head, tail) = (WIDEST_NAME / 2, WIDEST_NAME - WIDEST_NAME / 2 - 1);
    letters[..head].iter().chain(['…'].iter()).chain(&letters[letters.len() - tail..]).collect()
}

/// What the table leaves open.
fn notes(branches: &[Branch]) -> Vec<String> {
    let mut notes = Vec::new();
    let effects = || branches.iter().filter_map(|branch| Some((branch, branch.effect.as_ref()?)));
    if effects().any(|(_, effect)| effect.metric == HEADLINE) {
        notes.push(format!("Differences are in {HEADLINE} where nothing else is said."));
    }
    let exploratory = effects().filter(|(_, effect)| !effect.registered).count();
    if exploratory > 0 {
        notes.push(format!("{exploratory} without a verdict by its own rule: exploratory, over the runs that count."));
    }
    for (branch, effect) in effects() {
        if effect.metric != HEADLINE {
            notes.push(format!("`{}`: {}", branch.experiment, effect.metric));
        }
        if branch.against != branch.extends
            && let Some(against) = &branch.against
        {
            notes.push(format!("`{}`: against `{against}`", branch.experiment));
        }
        if effect.interval.is_none() {
            notes.push(format!("`{}`: too few runs a side for an interval", branch.experiment));
        }
    }
    notes
}
