//! `harness next`: what is worth doing now.

use harness_core::config::Loaded;
use harness_record::environment;
use harness_study::Evidence;
use harness_study::budget::refusal;
use harness_study::ledger::Spent;
use harness_study::next::{FORMAT, Kind, Queued, Ranked, Search, Suggestion, ranked};
use serde_json::json;

use super::budget::{Standing, amounts, costs};
use super::status::paper;
use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::queue::{Promise, Queue};
use crate::run::afford::short;
use crate::run::expected::Pace;

/// Suggest what is worth doing now, with what it costs, what it can show, and the command.
///
/// From runs that were interrupted or failed, seeds that proposals registered, studies that are open, baselines whose noise is not
/// known, learning rates that nobody probed, what `harness diagnose` finds in baselines, configs without a run, and the paper. First comes what is
/// worth most for its time (docs/guide.md has the rule), last what the budget does not pay for.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How many, at most.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    most: u32,
    /// Print JSON: all of them, with exact numbers.
    #[arg(long)]
    json: bool,
}

/// What could be done.
pub(super) struct Suggestions {
    /// The first first.
    pub ranked: Vec<Ranked>,
    /// Whether the costs are those of other machines, because no complete run of this one says.
    pub by_other_machines: bool,
}

/// All suggestions.
pub(super) fn suggestions(
    workplace: &Workplace,
    evidence: &Evidence,
    standing: &Standing,
) -> Result<Suggestions, Failure> {
    let project = &workplace.project;
    let here = Pace::here(project)?;
    let by_other_machines = here.is_empty();
    // After a clone the order is that of whoever made the runs.
    let pace = if by_other_machines { Pace::anywhere(project)? } else { here };
    let cost = |loaded: &Loaded| Some(pace.of(project, &loaded.experiment).ok().flatten()?.spent());
    let paper = paper(project, evidence)?;
    let paper_is_stale = paper.is_some_and(|paper| paper.is_stale());
    let promises: Vec<_> = standing.promises.iter().filter(|promise| promise.is_queued).cloned().collect();
    let (promised, now) = (costs(&promises), environment::now());
    let queued = |promise: Promise| Queued {
        experiment: promise.experiment,
        purpose: promise.purpose,
        seed: promise.seed,
        cost: promise.cost,
    };
    let queued: Vec<Queued> = promises.into_iter().map(queued).collect();
    let is_worked_off = !Queue::of(project).settled()?.workers.is_empty();
    let (ledger, queued) = (&standing.ledger, &*queued);
    let search = Search { evidence, ledger, cost: &cost, queued, is_worked_off, paper_is_stale };
    let can_be_paid = |suggestion: &Suggestion| {
        // What is promised to the queue is there for it.
        let promised = if suggestion.kind == Kind::Queue { &[][..] } else { &promised };
        let asked = (suggestion.phase, suggestion.cost, 1);
        let is_free = suggestion.cost == Some(Spent::default());
        is_free || refusal(&standing.limits, ledger, promised, asked, now).is_none()
    };
    Ok(Suggestions { ranked: ranked(search.suggestions()?, can_be_paid), by_other_machines })
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let evidence = Evidence::of(&workplace.project)?;
    let standing = Standing::of(workplace)?;
    let Suggestions { ranked, by_other_machines } = suggestions(workplace, &evidence, &standing)?;
    if arguments.json {
        let text = json!({ "format": FORMAT, "suggestions": ranked, "costs_by_other_machines": by_other_machines });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    let most = arguments.most as usize;
    for (place, suggestion) in ranked.iter().take(most).enumerate() {
        terminal::say(&shown(place + 1, suggestion, &standing));
    }
    match ranked.len() {
        0 => terminal::say("nothing: every experiment has run, and every proposal is decided"),
        all if all > most => terminal::say(&format!("and {} more: --most {all}", all - most)),
        _ => {}
    }
    if by_other_machines
        && ranked.iter().take(most).any(|ranked| ranked.suggestion.cost.is_some_and(|cost| cost.time_s() > 0.0))
    {
        terminal::say("costs are those of the machines that the runs were made on: no complete run of this one says");
    }
    Ok(exit_code::SUCCESS)
}

fn shown(place: usize, ranked: &Ranked, standing: &Standing) -> String {
    let suggestion = &ranked.suggestion;
    let mut lines = vec![format!("{place}. {}", suggestion.what)];
    lines.push(format!("   $ harness {}", suggestion.command.join(" ")));
    lines.push(format!("   why    {}", suggestion.why));
    let cost = |cost: &Spent| amounts(cost, &standing.limits);
    lines.push(match (&suggestion.cost, &suggestion.whole_cost) {
        (None, _) => "   cost   not known: no complete run on this machine says".to_owned(),
        (Some(own), Some(whole)) if own != whole => {
            format!("   cost   {}; {} with all it needs", cost(own), cost(whole))
        }
        (Some(own), _) => format!("   cost   {}", cost(own)),
    });
    if let Some(smallest) = &suggestion.smallest_detectable {
        lines.push(format!(
            "   finds  {} of {} in four of five studies, with {} seeds a side",
            short(smallest.difference),
            smallest.metric,
            smallest.seeds
        ));
    }
    if !ranked.affordable {
        lines.push("   budget does not pay for it (`harness budget`)".to_owned());
    }
    lines.join("\n")
}
