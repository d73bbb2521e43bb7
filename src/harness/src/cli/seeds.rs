//! `harness seeds`: run an experiment with the seeds that it still lacks.

use std::path::PathBuf;

use super::budget::promised_to_others;
use super::{Failure, Outcome, Workplace, proposal, run, terminal};
use crate::exit_code;
use crate::queue::Promise;
use crate::run::{Options, Resume, afford};
use harness_record::format::{Purpose, Status};
use harness_record::load_config;
use harness_record::select::Traces;
use harness_study::seeds::{derived, purpose_of, seeded};

/// Run an experiment with the derived seeds that it still lacks, to decide what it expects.
///
/// Nobody chooses the seeds: seed k to confirm follows from the id in experiments/project.toml and is the same for every
/// experiment, so that differences are taken within seeds. What is completed is not run again, what was interrupted
/// or killed goes on from its checkpoint. Run the baseline with the same number of seeds.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The experiment: a folder under experiments/.
    name: String,
    /// How many seeds there are to be in all [default: `seeds` of the experiment].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: Option<u32>,
    /// Which derived seeds: to confirm, or to report with, which decide nothing before [default: `decide.purpose`].
    #[arg(long, value_name = "PURPOSE", value_parser = ["confirm", "final"])]
    purpose: Option<String>,
    /// Only say which seeds are missing.
    #[arg(long)]
    list: bool,
    /// As JSON; with --list.
    #[arg(long, requires = "list")]
    json: bool,
    /// Run them even though experiments/budget.toml does not pay for them; the reason goes into their records.
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    over_budget: Option<String>,
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let name = arguments.name.parse()?;
    let loaded = load_config(project, &name)?;
    let count = arguments.seeds.unwrap_or(loaded.experiment.seeds);
    if count == 0 {
        let problem = format!("`{name}` does not say how many seeds it is run with");
        return Err(Failure::usage(format!(
            "{problem}\nhint: name the number with --seeds, or state `seeds` in its config"
        )));
    }
    let purpose = match arguments.purpose.as_deref() {
        Some("final") => Purpose::Final,
        Some(_) => Purpose::Confirm,
        None => purpose_of(&loaded.experiment),
    };
    let there = seeded(project, &name, &loaded.experiment, purpose, &Traces::of(project)?)?;
    let all = derived(project, purpose, u64::from(count))?;
    let missing = there.missing(&all);
    if arguments.list {
        if arguments.json {
            let json = serde_json::json!({ "experiment": name, "seeds": all, "missing": missing });
            terminal::say_json(&json);
        } else {
            let state = |seed: &u64| if missing.contains(seed) { "missing" } else { "completed" };
            let rows: Vec<Vec<String>> =
                all.iter().map(|seed| vec![seed.to_string(), state(seed).to_owned()]).collect();
            terminal::say(&terminal::columns(&["seed", "state"], &rows));
        }
        return Ok(exit_code::SUCCESS);
    }
    terminal::leave_when_system_asks();
    proposal::check(workplace, &loaded)?;
    let is_own = |promise: &Promise| {
        (&promise.experiment, promise.purpose) == (&name, purpose) && missing.contains(&promise.seed)
    };
    let promised = promised_to_others(workplace, is_own)?;
    let over_budget = arguments.over_budget.clone();
    let wish = (&loaded.experiment, purpose, missing.len());
    afford::several(project, &name, wish, &promised, over_budget.as_deref())?;
    terminal::tell(&format!("`{name}`: {} of {count} seeds are completed", all.len() - missing.len()));
    let context = workplace.context(arguments.trainer.clone());
    let mut failed = false;
    for seed in missing {
        let resume = there.unfinished.get(&seed).cloned().map(Resume::Of);
        let (over_budget, promised) = (over_budget.clone(), promised.clone());
        let options = Options { seed: Some(seed), purpose, resume, over_budget, promised, ..Options::default() };
        let record = run::one(&context, &arguments.name, &options)?;
        match record.status {
            Status::Completed => {}
            _ if record.is_stopped_by_system() => return Ok(run::code_of(&record)),
            Status::Interrupted => return Ok(run::code_of(&record)),
            Status::Failed => failed = true,
        }
    }
    Ok(if failed { exit_code::CONTRADICTION } else { exit_code::SUCCESS })
}
