//! `harness budget`: what was spent, what is promised, what is left.

use std::collections::{BTreeMap, BTreeSet};

use harness_core::config::{Limits, Phase};
use harness_core::names::ExperimentName;
use harness_record::environment;
use harness_record::select::Traces;
use harness_study::budget::{Line, PACE_DAYS, Quantity, lines};
use harness_study::ledger::{Entry, Known, Ledger, Spent, Total};
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::queue::{Promise, Queue, promised, queued};
use crate::run::afford::short;
use crate::run::expected::Pace;

/// Version of the JSON form.
const FORMAT: u32 = 1;

/// Show what was spent, what is promised and what is left, by phase, experiment and person.
///
/// Spent is what the records say of every run, however it ended and whether it counts, with evaluations and probes; also of runs
/// that were deleted, where a commit still holds them. Promised are the runs of the queue, and seeds that proposals registered
/// and nobody has run. Limits stand in experiments/budget.toml; without it there are none.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print JSON with exact numbers.
    #[arg(long)]
    json: bool,
}

/// Everything there is to say of a budget.
pub(super) struct Standing {
    pub limits: Limits,
    pub ledger: Ledger,
    pub promises: Vec<Promise>,
    pub lines: Vec<Line>,
}

impl Standing {
    /// Of a project, now.
    pub(super) fn of(workplace: &Workplace) -> Result<Self, Failure> {
        let project = &workplace.project;
        let limits = Limits::load(project)?;
        let traces = Traces::of(project)?;
        let ledger = Ledger::of(project, &traces)?;
        let content = Queue::of(project).settled()?;
        let promises = promised(project, &workplace.git, &traces, &content, &Pace::here(project)?)?;
        let lines = lines(&limits, &ledger, &costs(&promises), environment::now());
        Ok(Standing { limits, ledger, promises, lines })
    }

    /// What of the promises no cost is known of.
    fn unknown(&self) -> usize {
        self.promises.iter().filter(|promise| promise.cost.is_none()).count()
    }
}

/// The costs of promises as far as they are known.
pub(super) fn costs(promises: &[Promise]) -> Vec<(Phase, Spent)> {
    promises.iter().filter_map(|promise| Some((promise.phase, promise.cost?))).collect()
}

/// What the budget has to keep for runs of the queue, but for those that are about to be made.
pub(super) fn promised_to_others(
    workplace: &Workplace,
    is_own: impl Fn(&Promise) -> bool,
) -> Result<Vec<(Phase, Spent)>, Failure> {
    let project = &workplace.project;
    if Limits::load(project)?.is_empty() {
        return Ok(Vec::new());
    }
    let content = Queue::of(project).settled()?;
    let mut others = queued(project, &workplace.git, &content, &Pace::here(project)?)?;
    others.retain(|promise| !is_own(promise));
    Ok(costs(&others))
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let standing = Standing::of(workplace)?;
    if arguments.json {
        let person = |entry: &Entry| entry.person.clone().unwrap_or_default();
        let text = json!({
            "format": FORMAT,
            "limits": standing.limits,
            "lines": standing.lines,
            "spent": standing.ledger.total(),
            "by_phase": standing.ledger.by(|entry| entry.phase.word().to_owned()),
            "by_experiment": standing.ledger.by(|entry| entry.experiment.to_string()),
            "by_person": standing.ledger.by(person),
            "promised": standing.promises,
            "entries": standing.ledger.entries,
        });
        terminal::say_json(&text);
    } else {
        terminal::say(&shown(&standing));
    }
    Ok(exit_code::SUCCESS)
}

fn shown(standing: &Standing) -> String {
    let Standing { limits, ledger, promises, lines } = standing;
    let mut text = Vec::new();
    if lines.is_empty() {
        text.push("no limits: experiments/budget.toml states none".to_owned());
    } else {
        text.push(limits_table(limits, lines));
    }
    if let Some(end) = &limits.end_date {
        text.push(format!("last day: {end}"));
    }
    let count = |is_queued: bool| promises.iter().filter(|promise| promise.is_queued == is_queued).count();
    let promised: Spent = promises.iter().filter_map(|promise| promise.cost).sum();
    if !promises.is_empty() {
        text.push(format!(
            "promised: {} queued, {} registered seeds not yet run: {}",
            count(true),
            count(false),
            amounts(&promised, limits)
        ));
    }
    if standing.unknown() > 0 {
        text.push(format!(
            "note: no complete run on this machine says what {} of them take; `harness plan EXPERIMENT --probe` measures it",
            standing.unknown()
        ));
    }
    let caveats: BTreeSet<(&ExperimentName, &String)> =
        promises.iter().filter_map(|promise| Some((&promise.experiment, promise.caveat.as_ref()?))).collect();
    text.extend(caveats.into_iter().map(|(name, caveat)| format!("note: what is promised of `{name}` is {caveat}")));
    text.push(String::new());
    let mut rows = Vec::new();
    let mut add = |title: &str, totals: BTreeMap<String, Total>| {
        for (name, total) in totals {
            let name = if name.is_empty() { "(not known)".to_owned() } else { name };
            rows.push([vec![format!("{title} {name}")], cells(&total, limits)].concat());
        }
    };
    add("phase", ledger.by(|entry| entry.phase.word().to_owned()));
    add("experiment", ledger.by(|entry| entry.experiment.to_string()));
    add("person", ledger.by(|entry| entry.person.clone().unwrap_or_default()));
    rows.push([vec!["all".to_owned()], cells(&ledger.total(), limits)].concat());
    let money = if has_prices(limits) { limits.currency.as_str() } else { "" };
    text.push(terminal::table(&["spent on", "entries", "GPU h", "CPU h", "kWh", money], &rows));
    text.push(String::new());
    text.push(states(&ledger.entries));
    let taken_over: Vec<Spent> = ledger.entries.iter().filter_map(|entry| entry.taken_over).collect();
    if !taken_over.is_empty() {
        text.push(format!(
            "{} began from a trunk, and would have taken so much more from nothing: {}",
            if taken_over.len() == 1 { "1 run".to_owned() } else { format!("{} runs", taken_over.len()) },
            amounts(&taken_over.into_iter().sum(), limits)
        ));
    }
    text.extend(notes(ledger));
    text.join("\n")
}

fn limits_table(limits: &Limits, lines: &[Line]) -> String {
    let row = |line: &Line| {
        let used_up = match &line.used_up_at {
            Some(at) => at.chars().take(10).collect(),
            None if line.phase.is_some() => String::new(),
            None if line.spent >= line.limit => "used up".to_owned(),
            None => "not soon".to_owned(),
        };
        let amounts = [line.limit, line.spent, line.committed, line.left].map(short);
        [vec![line.name(limits)], amounts.to_vec(), vec![used_up]].concat()
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    let pace = format!("used up (pace of {PACE_DAYS} days)");
    terminal::table(&["limit", "of", "spent", "promised", "left", &pace], &rows)
}

fn has_prices(limits: &Limits) -> bool {
    limits.price_per_gpu_hour.or(limits.price_per_cpu_hour).is_some()
}

/// An exact number of seconds, as hours, minutes and seconds.
fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
}

fn cells(total: &Total, limits: &Limits) -> Vec<String> {
    let money = Quantity::Money.of(&total.spent, limits);
    vec![
        total.entries.to_string(),
        clock(total.spent.gpu_time_s),
        clock(total.spent.cpu_time_s),
        format!("{:.3}", Quantity::EnergyKwh.of(&total.spent, limits)),
        if has_prices(limits) { format!("{money:.2}") } else { String::new() },
    ]
}

/// A cost in words.
pub(super) fn amounts(spent: &Spent, limits: &Limits) -> String {
    let mut parts = Vec::new();
    for quantity in [Quantity::GpuHours, Quantity::CpuHours, Quantity::EnergyKwh, Quantity::Money] {
        let amount = quantity.of(spent, limits);
        if amount > 0.0 {
            parts.push(format!("{} {}", short(amount), quantity.word(limits)));
        }
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// How many entries ended in which way.
pub(super) fn states(entries: &[Entry]) -> String {
    let mut states: BTreeMap<_, usize> = BTreeMap::new();
    let is_run = |entry: &&Entry| !entry.is_probe;
    entries.iter().filter(is_run).for_each(|entry| *states.entry(entry.state).or_default() += 1);
    let ended: Vec<String> = states.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
    let count = |is: fn(&Entry) -> bool| entries.iter().filter(|entry| is(entry)).count();
    let besides = [
        (count(|entry| entry.is_dropped), "dropped"),
        (count(|entry| entry.is_deleted), "deleted"),
        (count(|entry| entry.over_budget.is_some()), "over budget"),
    ];
    let besides: Vec<String> =
        besides.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let besides = if besides.is_empty() { String::new() } else { format!("; of these {}", besides.join(", ")) };
    let runs = entries.iter().filter(is_run).count();
    let probes = entries.len() - runs;
    format!(
        "runs: {runs}{}; probes: {probes}",
        if runs > 0 { format!(" ({}{besides})", ended.join(", ")) } else { String::new() }
    )
}

/// What the sums leave out, and who is over the budget.
fn notes(ledger: &Ledger) -> Vec<String> {
    let mut notes = Vec::new();
    let named = |is: fn(&Entry) -> bool| {
        let names: Vec<&str> = ledger.entries.iter().filter(|entry| is(entry)).map(|entry| &*entry.name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let total = ledger.total();
    if total.at_least > 0 {
        notes.push(format!(
            "note: the end of {} was not seen; counted up to the last sign of life: {}",
            if total.at_least == 1 { "1 run".to_owned() } else { format!("{} runs", total.at_least) },
            named(|entry| entry.known == Known::AtLeast).unwrap_or_default()
        ));
    }
    if let Some(names) = named(|entry| entry.known == Known::Unknown) {
        notes.push(format!("note: nothing says what these took: {names}"));
    }
    if let Some(names) = named(|entry| entry.is_deleted) {
        notes.push(format!("note: deleted: {names}"));
    }
    for entry in &ledger.entries {
        if let Some(because) = &entry.over_budget {
            notes.push(format!("note: over budget: {} of `{}`: {because}", entry.name, entry.experiment));
        }
    }
    notes
}
