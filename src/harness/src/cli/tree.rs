//! `harness tree`: every experiment under the one that it extends.

use serde_json::json;

use super::{Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::compare::show_difference;
use harness_study::tree::{FORMAT, HEADLINE, TreeEffect};
use harness_study::{Branch, Evidence, tree};

/// Letters that a name with its branches may take.
const WIDEST_NAME: usize = 30;

/// Show every experiment under the one that it extends: its seeds, what it does to its metric, and what became of it.
///
/// A difference is the experiment minus what it is held against: its parent, or what `expect.against` names. Where the
/// experiment registered an expectation, difference, interval and verdict are those of `harness decide`; any other is
/// exploratory, with a 95 % interval and no verdict. `decided` is what `harness adopt` wrote down, with ! against the
/// advice. The last column has p-values by Holm's method over all families of a tree: whoever adopts one change after the
/// other has tested them all.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let branches = tree(&Evidence::of(&workplace.project)?)?;
    if arguments.json {
        let text = json!({ "format": FORMAT, "experiments": branches });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    let rows: Vec<Vec<String>> = branches.iter().enumerate().map(|(at, branch)| row(&branches, at, branch)).collect();
    let header = ["experiment", "seeds", "difference [interval]", "verdict", "decided", "p (Holm)"];
    terminal::say(&terminal::columns(&header, &rows));
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
        match (branch.outcome, branch.verdict) {
            (Some(outcome), _) => {
                format!("{}{}", outcome.word(), if branch.override_reason.is_some() { "!" } else { "" })
            }
            (None, Some(_)) => "open".to_owned(),
            (None, None) => "-".to_owned(),
        },
        branch.p_in_sequence.map_or_else(|| "-".to_owned(), terminal::p_value),
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
    if branches.iter().any(|branch| branch.p_in_sequence.is_some()) {
        notes.push(
            "p (Holm): over the families of a tree, what was registered against one baseline being one.".to_owned(),
        );
    }
    for branch in branches {
        if let Some(reason) = &branch.override_reason {
            notes.push(format!("! `{}` against the advice: {reason}", branch.experiment));
        }
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
