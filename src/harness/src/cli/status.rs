//! `harness status`: where the project stands, on one screen.

use std::collections::BTreeSet;

use harness_core::digest::Digest;
use harness_core::files;
use harness_core::names::Project;
use harness_record::environment;
use harness_report::{PAPER_PDF, PAPER_PROOF, Proof};
use harness_study::Evidence;
use harness_study::budget::PACE_DAYS;
use harness_study::decide::{Action, Verdict, decide_by};
use harness_study::design::Noise;
use harness_study::next::is_baseline;
use harness_study::tree::metric_of;
use serde::Serialize;
use serde_json::json;

use super::budget::{Standing, states};
use super::{Failure, Outcome, Workplace, next, terminal};
use crate::exit_code;
use crate::queue::{Queue, State};
use crate::run::afford::short;

/// Version of the JSON form.
const FORMAT: u32 = 1;
/// What fits on a screen.
const WIDTH: usize = 100;
/// Proposals that are shown.
const PROPOSALS: usize = 8;
/// Baselines and limits that are shown.
const EACH: usize = 3;

/// Say where the project stands: runs, noise, proposals, queue, budget, paper, and what is worth doing next.
///
/// One screen of at most 24 lines. `harness runs`, `tree`, `queue list`, `budget` and `next` say more of each.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The paper that was built last.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Paper {
    /// Its pages; null where they cannot be counted.
    pages: Option<usize>,
    /// Runs that count and that it does not show.
    missing: usize,
    /// Runs that it shows and that count no longer.
    outdated: usize,
    /// Files that it was made from and that are different now.
    changed: usize,
}

impl Paper {
    /// Whether it would be another one if it was built now.
    pub(super) fn is_stale(&self) -> bool {
        self.missing + self.outdated + self.changed > 0
    }
}

/// What the last paper shows, held against what it would show now; none where none was built.
pub(super) fn paper(project: &Project, evidence: &Evidence) -> Result<Option<Paper>, Failure> {
    let Ok(proof) = files::read(&project.root().join(PAPER_PROOF)) else { return Ok(None) };
    let Ok(proof) = serde_json::from_slice::<Proof>(&proof) else { return Ok(None) };
    let shown: BTreeSet<Digest> = proof.runs.iter().map(|run| run.root).collect();
    let mut counted = BTreeSet::new();
    for experiment in harness_record::experiments_with_runs(project)? {
        counted.extend(evidence.counted(&experiment)?.iter().map(|run| run.root));
    }
    let is_same = |source: &harness_report::SourceFile| {
        Digest::of_file(&project.root().join(&source.path)).is_ok_and(|digest| digest == source.sha256)
    };
    Ok(Some(Paper {
        pages: lopdf::Document::load(project.root().join(PAPER_PDF)).ok().map(|pdf| pdf.get_pages().len()),
        missing: counted.difference(&shown).count(),
        outdated: shown.difference(&counted).count(),
        changed: proof.sources.iter().filter(|source| !is_same(source)).count(),
    }))
}

/// A proposal and how it stands.
#[derive(Serialize)]
struct Proposal {
    experiment: String,
    verdict: Verdict,
    action: Action,
    /// Seeds that are completed on both sides, and those that are registered.
    completed: usize,
    seeds: u32,
    because: Option<String>,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let evidence = Evidence::of(project)?;
    let standing = Standing::of(workplace)?;
    let mut proposals = Vec::new();
    let mut noise = Vec::new();
    for (name, loaded) in evidence.experiments() {
        let experiment = &loaded.experiment;
        // What was written after the runs is no proposal of theirs.
        let decision = match decide_by(&evidence, name) {
            Err(error) if error.is_undecidable() => None,
            decision => Some(decision?),
        };
        proposals.extend(decision.map(|decision| Proposal {
            experiment: name.to_string(),
            verdict: decision.verdict,
            action: decision.action,
            completed: decision.completed,
            seeds: decision.proposal.seeds,
            because: decision.because.into_iter().next(),
        }));
        if is_baseline(&evidence, name) && !evidence.counted(name)?.is_empty() {
            let metric = metric_of(experiment);
            let runs = evidence.counted(name)?.len();
            noise.push((name.clone(), metric.clone(), runs, Noise::of(&evidence, name, &metric)?));
        }
    }
    let paper = paper(project, &evidence)?;
    let next = next::suggestions(workplace, &evidence, &standing)?.ranked.into_iter().next();
    let queue = Queue::of(project).settled()?;
    let latest = standing.ledger.entries.iter().filter(|entry| !entry.is_probe).max_by_key(|entry| &entry.name);
    let phase = latest.map(|entry| entry.phase.word());
    let count = |state: State| queue.items.iter().filter(|item| item.state == state).count();
    let waiting =
        [State::Running, State::Waiting, State::Held, State::Failed].map(|state| (state.word(), count(state)));
    if arguments.json {
        let noise: Vec<_> = noise
            .iter()
            .map(|(name, metric, runs, noise)| json!({ "experiment": name, "metric": metric, "runs": runs, "noise": noise }))
            .collect();
        let text = json!({
            "format": FORMAT,
            "phase": phase,
            "spent": standing.ledger.total(),
            "noise": noise,
            "proposals": proposals,
            "queue": waiting.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "workers": queue.workers.len(),
            "budget": standing.lines,
            "end_date": standing.limits.end_date,
            "paper": paper,
            "next": next,
        });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }

    let mut lines = vec![format!(
        "phase      {}",
        match latest {
            Some(entry) =>
                format!("{}: the latest run, of `{}`, is {}", entry.phase.word(), entry.experiment, entry.state.word()),
            None => "nothing has been run yet".to_owned(),
        }
    )];
    lines.push(states(&standing.ledger.entries).replacen("runs: ", "runs       ", 1));
    for (name, metric, runs, noise) in noise.iter().take(EACH) {
        lines.push(match noise {
            Some(Noise { deviation, mean, seeds, .. }) => format!(
                "noise      {metric} of `{name}`: {} ± {} (sd over {seeds} seeds)",
                short(*mean),
                short(*deviation)
            ),
            None => format!(
                "noise      {metric} of `{name}`: not known from {runs} run{}",
                if *runs == 1 { "" } else { "s" }
            ),
        });
    }
    let open = proposals.iter().filter(|proposal| proposal.action == Action::Hold).count();
    lines.push(match proposals.len() {
        0 => "proposals  none: no experiment states what it expects".to_owned(),
        all => format!("proposals  {all}, {open} undecided"),
    });
    // What is open comes first.
    proposals.sort_by_key(|proposal| proposal.action != Action::Hold);
    for proposal in proposals.iter().take(PROPOSALS) {
        let because = proposal.because.as_ref().filter(|_| proposal.completed == proposal.seeds as usize);
        let because = because.map_or(String::new(), |because| format!("; {because}"));
        lines.push(format!(
            "           {} {}  {}: {} of {} seeds{because}",
            proposal.verdict.word(),
            proposal.action.word(),
            proposal.experiment,
            proposal.completed,
            proposal.seeds
        ));
    }
    if proposals.len() > PROPOSALS {
        lines.push(format!("           and {} more: `harness tree`", proposals.len() - PROPOSALS));
    }
    let items: Vec<String> =
        waiting.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}")).collect();
    let workers = if queue.workers.is_empty() { "nobody works it off" } else { "it is being worked off" };
    lines.push(match items.is_empty() {
        true => "queue      empty".to_owned(),
        false => format!("queue      {}; {workers}", items.join(", ")),
    });
    let whole = standing.lines.iter().filter(|line| line.phase.is_none());
    for line in whole.clone().take(EACH) {
        let used_up = line.used_up_at.as_ref().and_then(|at| at.get(..10));
        lines.push(format!(
            "budget     {} of {} {} spent, {} promised{}",
            short(line.spent),
            short(line.limit),
            line.quantity.word(&standing.limits),
            short(line.committed),
            used_up.map_or(String::new(), |day| format!("; used up {day} (pace of {PACE_DAYS} days)"))
        ));
    }
    if whole.count() == 0 {
        lines.push("budget     no limits (experiments/budget.toml)".to_owned());
    }
    if let Some(end) = &standing.limits.end_date {
        lines.push(format!("           the last day is {end}; today is {}", &environment::now().to_string()[..10]));
    }
    lines.push(format!("paper      {}", paper.as_ref().map_or("not built".to_owned(), paper_in_words)));
    lines.push(match &next {
        Some(next) => format!("next       harness {}: {}", next.suggestion.command.join(" "), next.suggestion.why),
        None => "next       nothing to suggest".to_owned(),
    });
    let fitting = |line: String| match line.char_indices().nth(WIDTH) {
        Some(_) => line.chars().take(WIDTH - 3).chain("...".chars()).collect(),
        None => line,
    };
    terminal::say(&lines.into_iter().map(fitting).collect::<Vec<String>>().join("\n"));
    Ok(exit_code::SUCCESS)
}

fn paper_in_words(paper: &Paper) -> String {
    let pages = paper.pages.map_or("pages not known".to_owned(), |pages| match pages {
        1 => "1 page".to_owned(),
        pages => format!("{pages} pages"),
    });
    let of =
        [(paper.missing, "new runs"), (paper.outdated, "runs that count no longer"), (paper.changed, "changed files")];
    let stale: Vec<String> =
        of.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{what}: {count}")).collect();
    if stale.is_empty() { format!("{pages}, up to date") } else { format!("{pages}, stale ({})", stale.join(", ")) }
}
