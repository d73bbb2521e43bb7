//! `harness queue`: runs one after the other, from the commit that each was added at.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use harness_core::config::Checked;
use harness_core::files;
use harness_core::names::{ExperimentName, Project};
use harness_record::format::Purpose;
use harness_record::select::Traces;
use harness_record::{environment, load_config};
use harness_study::ledger::phase_of;
use harness_study::seeds::{derived, purpose_of, seeded};
use harness_study::trials::Survey;
use serde_json::json;

use super::budget::promised_to_others;
use super::run::For;
use super::study::open_to_run;
use super::{Failure, Outcome, Workplace, proposal, terminal};
use crate::exit_code;
use crate::queue::{Added, Content, Contexts, Devices, End, Estimates, Item, Queue, QueueError, State, Worker};
use crate::run::expected::Pace;
use crate::run::{self, Options, afford};
use crate::watch::view::duration;

/// Run experiments one after the other, from the commit that each was added at.
///
/// `add` takes a checkout of the commit, so that the working tree is free for the next change while the queue is worked
/// off; runs and data stay where they are. Ctrl-C stops the run with a checkpoint, and `start` goes on from there; so it
/// does after a crash or a reboot. What has completed is not run again.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Add runs of experiments as they are in the commit that is checked out.
    ///
    /// With files that differ from the commit, or programs that were built from other sources, nothing is added. An item that
    /// has failed or is held waits again.
    Add {
        /// The experiments.
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        which: Which,
        /// The trials of each experiment's study that are missing.
        #[arg(long, conflicts_with_all = ["chosen", "seeds", "purpose"])]
        trials: bool,
        /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
        #[arg(long, value_name = "PROGRAM")]
        trainer: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Work the queue off on this machine.
    ///
    /// A failed run is marked, and the next item has its turn; after three failures of an experiment in a row the rest of its
    /// items are held. A second worker needs other GPUs: `CUDA_VISIBLE_DEVICES=1 harness queue start`.
    Start {
        /// Go on in the background; what it says goes to .harness/queue/worker.log.
        #[arg(long, conflicts_with = "json")]
        detach: bool,
        /// Leave the terminal that this was started from.
        #[arg(long, hide = true)]
        detached: bool,
        /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
        #[arg(long, value_name = "PROGRAM")]
        trainer: Option<PathBuf>,
        /// Print JSON: the items as they are at the end.
        #[arg(long)]
        json: bool,
    },
    /// List the items: how far each is, what it takes, when it will be done.
    ///
    /// Times are what runs of the same plan took on this machine, or else the FLOPs of the run at the pace of the latest run
    /// on it.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take items out of the queue. Their runs stay.
    Remove {
        /// Numbers of items, or experiments for all of their items.
        #[arg(required_unless_present = "ended")]
        which: Vec<String>,
        /// All that have completed or failed.
        #[arg(long)]
        ended: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End all workers after the run that each is at.
    Stop {
        /// Interrupt the runs, with a checkpoint.
        #[arg(long)]
        now: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let queue = Queue::of(&workplace.project);
    match &arguments.command {
        Command::Add { names, which, trials, trainer, json } => {
            let seeds = which.seeds(*trials);
            add(workplace, &queue, names, &seeds, (which.purpose(), which.reason()), trainer.clone(), *json)
        }
        Command::Start { detach: true, trainer, .. } => start_detached(workplace, trainer.clone()),
        Command::Start { detached, trainer, json, .. } => start(workplace, &queue, *detached, trainer.clone(), *json),
        Command::List { json } => list(workplace, &queue, *json),
        Command::Remove { which, ended, json } => {
            let gone = queue.remove(which, *ended)?;
            queue.prune(&workplace.git)?;
            terminal::say_as(*json, &json!({ "format": 1, "removed": gone }), || match gone.as_slice() {
                [] => "nothing has ended".to_owned(),
                gone => gone.iter().map(|item| format!("removed: {}", item.title())).collect::<Vec<_>>().join("\n"),
            });
            Ok(exit_code::SUCCESS)
        }
        Command::Stop { now, json } => {
            let workers = queue.stop(*now)?;
            terminal::say_as(*json, &json!({ "format": 1, "workers": workers }), || {
                let when = if *now { "after this step and a checkpoint" } else { "after its run" };
                let stops = workers.iter().map(|worker| format!("process {} stops {when}", worker.pid));
                stops.collect::<Vec<_>>().join("\n")
            });
            Ok(exit_code::SUCCESS)
        }
    }
}

/// Prints JSON, or what `text` says.
/// Which runs of an experiment are wanted, as `queue add`, `submit` and `export skypilot` are told.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Use this seed instead of the config's; may be repeated, for a run each.
    #[arg(long = "seed", value_name = "SEED", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    chosen: Vec<u64>,
    /// Use the first so many seeds that are derived for the purpose and nobody chooses, without those that are completed.
    #[arg(long, value_name = "COUNT", conflicts_with = "chosen", value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: Option<u32>,
    /// What the runs are for. Runs of one purpose are compared; those for tuning count for nothing else [default: explore;
    /// with --seeds, `decide.purpose`].
    #[arg(long, value_enum)]
    purpose: Option<For>,
    /// Run them even though experiments/budget.toml does not pay for them; the reason goes into their records.
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    over_budget: Option<String>,
}

impl Which {
    /// The seeds, or `trials`.
    pub(super) fn seeds(&self, trials: bool) -> Seeds {
        match self.seeds {
            _ if trials => Seeds::Trials,
            Some(count) => Seeds::Derived(count),
            None if self.chosen.is_empty() => Seeds::Config,
            None => Seeds::Chosen(self.chosen.clone()),
        }
    }

    /// What the runs are for, where that is said.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        self.purpose.map(Into::into)
    }

    /// Why, although the budget does not pay for them.
    pub(super) fn reason(&self) -> Option<&str> {
        self.over_budget.as_deref()
    }
}

/// The seeds that each experiment is to be run with.
pub(super) enum Seeds {
    /// That of its config.
    Config,
    /// These.
    Chosen(Vec<u64>),
    /// Those of the first so many derived ones that it lacks.
    Derived(u32),
    /// Those of the trials of its study that are missing.
    Trials,
}

impl Seeds {
    /// What they are for where nobody says.
    pub(super) fn purpose(&self, asked: Option<Purpose>, experiment: &Checked) -> Purpose {
        match self {
            Seeds::Trials => Purpose::Tune,
            Seeds::Derived(_) => asked.unwrap_or_else(|| purpose_of(experiment)),
            Seeds::Config | Seeds::Chosen(_) => asked.unwrap_or(Purpose::Explore),
        }
    }

    /// Each with the trial that has it, if they are those of trials.
    pub(super) fn of(
        &self,
        project: &Project,
        name: &ExperimentName,
        config: &Checked,
        purpose: Purpose,
        traces: &Traces,
    ) -> Result<Vec<(Option<u64>, u64)>, Failure> {
        let seeds = match self {
            Seeds::Config => vec![config.seed],
            Seeds::Chosen(seeds) => seeds.clone(),
            Seeds::Derived(count) => {
                let all = derived(project, purpose, u64::from(*count))?;
                seeded(project, name, config, purpose, traces)?.missing(&all)
            }
            Seeds::Trials => {
                let survey = Survey::of(project, &open_to_run(project, name)?)?;
                return Ok(survey.missing().map(|trial| (Some(trial.planned.trial), trial.planned.seed)).collect());
            }
        };
        Ok(seeds.into_iter().map(|seed| (None, seed)).collect())
    }
}

fn add(
    workplace: &Workplace,
    queue: &Queue,
    names: &[String],
    seeds: &Seeds,
    (asked, over_budget): (Option<Purpose>, Option<&str>),
    trainer: Option<PathBuf>,
    json: bool,
) -> Outcome {
    let context = workplace.context(trainer);
    let traces = Traces::of(&workplace.project)?;
    let mut wanted = Vec::new();
    // All are looked at before one is added.
    for name in names {
        let name: ExperimentName = name.parse()?;
        proposal::check(workplace, &load_config(&workplace.project, &name)?)?;
        let (commit, experiment) = run::check(&context, &name, &Options::default()).map_err(QueueError::from)?;
        let purpose = seeds.purpose(asked, &experiment);
        let seeds = seeds.of(&workplace.project, &name, &experiment, purpose, &traces)?;
        wanted.extend(seeds.into_iter().map(|(trial, seed)| Item {
            id: 0,
            experiment: name.clone(),
            trial,
            seed,
            purpose,
            commit: commit.clone(),
            over_budget: over_budget.map(str::to_owned),
            added_at: environment::now().to_string(),
            state: State::Waiting,
            reason: None,
            worker: None,
            ended_at: None,
            runs: Vec::new(),
        }));
    }
    check_trunks(workplace, queue, &wanted)?;
    afford(workplace, queue, &wanted, over_budget)?;
    let mut added = Vec::new();
    for item in wanted {
        added.push(queue.add(&workplace.git, item)?);
    }
    let value = json!({
        "format": 1,
        "items": added.iter().map(|(added, item)| json!({ "added": added, "item": item })).collect::<Vec<_>>(),
    });
    terminal::say_as(json, &value, || {
        let line = |(added, item): &(Added, Item)| match added {
            Added::New => format!("added: {}", item.title()),
            Added::Again => format!("waits again: {}", item.title()),
            Added::Already => format!("in the queue already: {}", item.title()),
            Added::Completed => format!("complete already: {}", item.title()),
        };
        match added.as_slice() {
            [] => "nothing is missing".to_owned(),
            added => added.iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    });
    Ok(exit_code::SUCCESS)
}

/// Refuses items that could not begin from their trunks when their turn comes. The run of a trunk may be one that the queue makes before.
fn check_trunks(workplace: &Workplace, queue: &Queue, wanted: &[Item]) -> Result<(), Failure> {
    let project = &workplace.project;
    let mut before = queue.settled()?.items;
    for item in wanted {
        let Item { experiment: name, seed, purpose, .. } = item;
        let config = run::config_of(project, name, item.trial, *seed).map_err(QueueError::from)?;
        let found = run::check_trunk(project, name, &config, *seed, *purpose);
        let makes_trunk = |other: &&Item| {
            let key = (&other.experiment, other.seed, other.purpose, other.trial);
            other.is_open()
                && config.trunk.as_ref().is_some_and(|from| key == (&from.experiment, *seed, *purpose, None))
        };
        match (found, before.iter().find(makes_trunk)) {
            (Err(_), Some(maker)) => {
                // As it is in the commit of its item, which is mostly this one.
                let then = project.seen_in(workplace.git.project_in(&project.snapshot(&maker.commit)));
                let planned = load_config(&then, &maker.experiment);
                let planned = planned.or_else(|_| load_config(project, &maker.experiment))?.experiment.with_seed(*seed);
                run::check_planned_trunk(&planned, name, &config, *seed, *purpose).map_err(QueueError::from)?;
                terminal::tell(&format!(
                    "`{name}`, seed {seed}: the run of `{}` that it begins from is one of the queue, and is looked at when its turn comes",
                    maker.experiment
                ));
            }
            (found, _) => found.map_err(QueueError::from)?,
        }
        before.push(item.clone());
    }
    Ok(())
}

/// Refuses items that the budget does not pay for, beside what is queued already.
fn afford(workplace: &Workplace, queue: &Queue, wanted: &[Item], over_budget: Option<&str>) -> Result<(), Failure> {
    let project = &workplace.project;
    let mut promised = promised_to_others(workplace, |_| false)?;
    let there = queue.settled()?.items;
    let is_new = |item: &&Item| !there.iter().any(|other| other.asks_for_the_same_as(item));
    let mut new: BTreeMap<(&ExperimentName, Purpose), usize> = BTreeMap::new();
    for item in wanted.iter().filter(is_new) {
        *new.entry((&item.experiment, item.purpose)).or_default() += 1;
    }
    for ((name, purpose), count) in new {
        let config = load_config(project, name)?.experiment;
        let cost = afford::several(project, name, (&config, purpose, count), &promised, over_budget)?;
        promised.extend(cost.map(|cost| (phase_of(purpose, config.extends.is_some()), cost)));
    }
    Ok(())
}

fn start(workplace: &Workplace, queue: &Queue, detached: bool, trainer: Option<PathBuf>, json: bool) -> Outcome {
    if detached {
        // Closing the terminal does not end what has a session of its own. Who leads one already needs none.
        let _ = rustix::process::setsid();
    }
    terminal::leave_when_system_asks();
    let devices = Devices::of(env::var("CUDA_VISIBLE_DEVICES").ok().as_deref());
    let worker = Worker::new(queue, &workplace.project, &workplace.git, &devices)?;
    // Whoever builds the programs anew meanwhile does not change those that the queue runs.
    let trainer = queue.keep(&super::chosen_trainer(trainer), |trainer| run::about(trainer).is_ok())?;
    let contexts: &Contexts = &|project, git| super::run_context(project, git, Some(trainer.clone()));
    let mut screen = terminal::Screen::new();
    let end = worker.work(contexts, &mut screen)?;
    let content = queue.read()?;
    let count = |state: State| content.items.iter().filter(|item| item.state == state).count();
    let states = [State::Completed, State::Failed, State::Held, State::Waiting];
    let counts = states.map(|state| (count(state), state.word()));
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    let counts: Vec<String> = counts.collect();
    let told =
        if counts.is_empty() { "the queue is empty".to_owned() } else { format!("queue: {}", counts.join(", ")) };
    terminal::tell(&told);
    if json {
        terminal::say_json(&content);
    }
    Ok(match end {
        End::Interrupted => exit_code::INTERRUPTED,
        End::StoppedBySystem => exit_code::STOPPED,
        End::Done if count(State::Failed) + count(State::Held) > 0 => exit_code::CONTRADICTION,
        End::Done | End::Asked => exit_code::SUCCESS,
    })
}

fn start_detached(workplace: &Workplace, trainer: Option<PathBuf>) -> Outcome {
    let log = workplace.project.queue().join("worker.log");
    files::create_folder(&workplace.project.queue())?;
    let output = files::open_append(&log)?;
    let failed = |error: std::io::Error| Failure::failed(format!("could not start a worker: {error}"));
    let mut process = Process::new(env::current_exe().map_err(failed)?);
    process.args(["queue", "start", "--detached"]).current_dir(workplace.project.root());
    if let Some(trainer) = trainer {
        process.arg("--trainer").arg(super::chosen_trainer(Some(trainer)));
    }
    process.stdin(Stdio::null()).stdout(output.try_clone().map_err(failed)?).stderr(output);
    let child = process.spawn().map_err(failed)?;
    let shown = log.strip_prefix(workplace.project.root()).unwrap_or(&log).display();
    terminal::say(&format!(
        "process {} works the queue off; {shown} has what it says, `harness queue list` what is left",
        child.id()
    ));
    Ok(exit_code::SUCCESS)
}

fn list(workplace: &Workplace, queue: &Queue, json: bool) -> Outcome {
    let content = queue.settled()?;
    let estimates = Estimates::of(&workplace.project, &workplace.git, &content, &Pace::here(&workplace.project)?)?;
    let value = json!({
        "format": content.format,
        "items": content.items,
        "workers": content.workers,
        "estimates": estimates,
    });
    terminal::say_as(json, &value, || shown(&content, &estimates));
    Ok(exit_code::SUCCESS)
}

fn shown(content: &Content, estimates: &Estimates) -> String {
    if content.items.is_empty() {
        return "the queue is empty\nhint: `harness queue add EXPERIMENT` adds a run".to_owned();
    }
    let header = ["item", "experiment", "trial", "seed", "purpose", "commit", "state", "takes", "done by", ""];
    let row = |item: &Item| {
        let estimate = estimates.items.iter().find(|estimate| estimate.id == item.id);
        let expected = estimate.and_then(|estimate| estimate.expected.as_ref());
        let done_at = estimate.and_then(|estimate| estimate.done_at.clone());
        let unknown = || if item.is_open() && item.state != State::Held { "?" } else { "" }.to_owned();
        vec![
            item.id.to_string(),
            item.experiment.to_string(),
            item.trial.map_or_else(String::new, |trial| trial.to_string()),
            item.seed.to_string(),
            item.purpose.word().to_owned(),
            item.commit.get(..8).unwrap_or(&item.commit).to_owned(),
            item.state.word().to_owned(),
            expected.map_or_else(unknown, |expected| duration(expected.seconds)),
            done_at.or_else(|| item.ended_at.clone()).unwrap_or_else(unknown),
            item.reason.as_ref().and_then(|reason| reason.lines().next()).unwrap_or_default().to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = content.items.iter().map(row).collect();
    let mut lines = vec![terminal::columns(&header, &rows)];
    if !estimates.items.is_empty() {
        let known = estimates.items.len() - estimates.unknown;
        let mut parts = vec![format!("{} from now", duration(estimates.seconds_left))];
        parts.extend(estimates.gpu_hours_left.map(|hours| format!("{hours:.2} GPU hours")));
        parts.extend(estimates.energy_kwh_left.map(|energy| format!("{energy:.2} kWh")));
        if known > 0 {
            let of = if estimates.unknown > 0 {
                format!(" for {known} of {} items", known + estimates.unknown)
            } else {
                String::new()
            };
            lines.push(format!("\nleft{of}: {}", parts.join(", ")));
        }
        if estimates.unknown > 0 {
            lines.push(
                "note: no complete run on this machine says how long the others take; `harness plan EXPERIMENT --probe` measures it"
                    .to_owned(),
            );
        }
        let of = |id| content.items.iter().find(|item| item.id == id).map(|item| &item.experiment);
        let caveats: BTreeSet<_> = estimates
            .items
            .iter()
            .filter_map(|estimate| Some((of(estimate.id)?, estimate.expected.as_ref()?.caveat.as_ref()?)))
            .collect();
        lines.extend(caveats.into_iter().map(|(name, caveat)| format!("note: what `{name}` takes is {caveat}")));
        if content.workers.is_empty() {
            lines.push("hint: nobody works the queue off; `harness queue start` does".to_owned());
        }
    }
    lines.join("\n")
}
