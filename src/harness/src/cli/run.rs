//! `harness run`: train and evaluate one experiment, and seal its record.

use std::path::PathBuf;

use super::budget::promised_to_others;
use super::study::open_to_run;
use super::{Failure, Outcome, Workplace, chosen_trainer, proposal, terminal};
use crate::exit_code;
use crate::queue::Promise;
use crate::run::launch::Outside;
use crate::run::{self, GoneOn, Options, Resume, RunContext, RunError};
use crate::trials::worker;
use harness_core::names::ExperimentName;
use harness_core::ranks::Place;
use harness_record::format::{Purpose, Record, Status};
use harness_record::load_config;
use harness_study::seeds::next;
use harness_study::trials::decided;

/// Train and evaluate an experiment, and seal its record.
///
/// Makes the corpus and tasks ready, refuses a tree or programs that differ from the commit, opens the record, supervises
/// the trainer and seals the run. Ctrl-C stops after the current step with a checkpoint; a second one kills the trainer.
/// Either way the run is sealed, and `--resume` continues it from its last checkpoint.
///
/// `training.devices` says how many processes of this machine share each batch. Started as several tasks of `srun`, or with
/// the variables of torchrun, the first keeps the record and the others take their share (docs/guide.md, Several GPUs).
///
/// SIGTERM and SIGUSR1, by which queues take a machine back, stop it in the same way, however often they come, and so does the
/// end of a Slurm job (or `HARNESS_END_TIME`, in seconds since 1970), early enough for a last checkpoint. The exit code is 75
/// then: the same command with `--go-on` goes on to the same weights.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The experiment: a folder under experiments/.
    name: String,
    /// Use this seed [default: the config's to explore, else the next one that is derived for the purpose].
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// What the run is for. Runs of one purpose are compared; those for tuning count for nothing else.
    #[arg(long, value_enum, default_value = "explore", conflicts_with = "resume")]
    purpose: For,
    /// The trial of the experiment's study, in place of a seed; nothing is done if it has its result.
    #[arg(long, conflicts_with_all = ["seed", "purpose", "resume"])]
    trial: Option<u64>,
    /// The experiment as it is in this commit, from a checkout that .harness/ keeps, whatever the working tree holds.
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// Run even though files differ from the commit; they are recorded, but the paper cannot cite the run.
    #[arg(long)]
    allow_dirty: bool,
    /// Run even though the programs were built from other sources than the commit's; the paper cannot cite the run.
    #[arg(long)]
    allow_stale: bool,
    /// Run it even though experiments/budget.toml does not pay for it; the reason goes into the record.
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    over_budget: Option<String>,
    /// Resume the latest run that did not complete, from its last checkpoint.
    #[arg(long)]
    resume: bool,
    /// See to it that the run of this config, seed and purpose completes: start it, go on from its last checkpoint if it was stopped
    /// or killed, and do nothing if it has completed. Of several that do so at once one runs and the others wait.
    #[arg(long, conflicts_with = "resume")]
    go_on: bool,
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum For {
    /// To choose a value by: no evidence for the value that was chosen.
    Tune,
    /// Nothing is claimed beforehand.
    Explore,
    /// To decide a claim that was stated before the run.
    Confirm,
    /// To report what was decided, on seeds that decided nothing.
    Final,
}

impl From<For> for Purpose {
    fn from(purpose: For) -> Purpose {
        match purpose {
            For::Tune => Purpose::Tune,
            For::Explore => Purpose::Explore,
            For::Confirm => Purpose::Confirm,
            For::Final => Purpose::Final,
        }
    }
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    terminal::leave_when_system_asks();
    let of_commit = arguments.commit.as_ref().map(|commit| workplace.at(commit)).transpose()?;
    let workplace = of_commit.as_ref().unwrap_or(workplace);
    let project = &workplace.project;
    let environment = |name: &str| std::env::var(name).ok();
    let place = Place::of(&environment).map_err(|problem| RunError::Ranks { problem })?;
    let outside = place.map(|place| (place.rank, Outside::new(chosen_trainer(arguments.trainer.clone()), place)));
    if let Some((1.., outside)) = &outside {
        return Err(outside.join(project.home()).into());
    }
    let name = arguments.name.parse()?;
    let loaded = load_config(project, &name)?;
    proposal::check(workplace, &loaded)?;
    let mut context = workplace.context(arguments.trainer.clone());
    if let Some((_, outside)) = outside {
        context.launcher = Box::new(outside);
    }
    if let Some(trial) = arguments.trial {
        return one_trial(&context, &name, trial, arguments);
    }
    let purpose: Purpose = arguments.purpose.into();
    // What is chosen by, decided or reported takes seeds that nobody chooses.
    let seed = match arguments.seed {
        None if purpose != Purpose::Explore && arguments.go_on => {
            return Err(Failure::usage(format!(
                "which run is to be gone on with is not known: each call would take the next seed to {}\n\
                 hint: name it with --seed; `harness seeds {name} --list` lists them",
                purpose.verb()
            )));
        }
        None if purpose != Purpose::Explore => Some(next(project, &name, &loaded.experiment, purpose)?),
        chosen => chosen,
    };
    // The task of a cluster that this is the run of has been promised it.
    let own = (&name, seed.unwrap_or(loaded.experiment.seed), purpose);
    let is_own = |other: &Promise| other.task.is_some() && (&other.experiment, other.seed, other.purpose) == own;
    let options = Options {
        seed,
        purpose,
        allow_dirty: arguments.allow_dirty,
        allow_stale: arguments.allow_stale,
        resume: arguments.resume.then_some(Resume::Latest),
        trial: None,
        over_budget: arguments.over_budget.clone(),
        promised: promised_to_others(workplace, is_own)?,
    };
    if !arguments.go_on {
        return Ok(code_of(&one(&context, &arguments.name, &options)?));
    }
    match run::go_on(&context, &name, &options, &mut terminal::Screen::new())? {
        GoneOn::Ran(outcome) => {
            tell_end(&name, &outcome);
            Ok(code_of(&outcome.record))
        }
        GoneOn::Completed(run) => {
            context.launcher.dismiss()?;
            let id = &run.open.run;
            terminal::tell(&format!("nothing to do: run {id} of {name} has completed, at {}", run.record.ended_at));
            if let Some(reason) = &run.open.not_citable_because {
                terminal::tell(&format!("the paper cannot cite it: {reason}; without --go-on a new run is made"));
            }
            terminal::say(&format!("{}  {id}", run.root));
            Ok(exit_code::SUCCESS)
        }
    }
}

/// The exit code after a run that ended so.
pub(super) fn code_of(record: &Record) -> u8 {
    match record.status {
        Status::Completed => exit_code::SUCCESS,
        _ if record.is_stopped_by_system() => exit_code::STOPPED,
        Status::Interrupted => exit_code::INTERRUPTED,
        Status::Failed => exit_code::CONTRADICTION,
    }
}

/// Runs a trial of a study, unless it has its result, and says how it ended.
fn one_trial(context: &RunContext, name: &ExperimentName, trial: u64, arguments: &Arguments) -> Outcome {
    let study = open_to_run(context.project, name)?;
    let mut screen = terminal::Screen::new();
    match worker::one(context, &study, trial, arguments.over_budget.as_deref(), &mut screen)? {
        Some(outcome) => {
            tell_end(name, &outcome);
            Ok(if decided(&outcome.record).is_some() { exit_code::SUCCESS } else { code_of(&outcome.record) })
        }
        None => {
            context.launcher.dismiss()?;
            terminal::tell(&format!("nothing to do: trial {trial} of `{name}` has its result"));
            Ok(exit_code::SUCCESS)
        }
    }
}

/// Runs one experiment and says how it ended.
pub(super) fn one(context: &RunContext, name: &str, options: &Options) -> Result<Record, Failure> {
    let mut screen = terminal::Screen::new();
    let name = name.parse()?;
    let outcome = match run::run(context, &name, options, &mut screen) {
        // It was killed before its first checkpoint.
        Err(RunError::NothingToResume { problem, .. }) if matches!(options.resume, Some(Resume::Of(_))) => {
            terminal::tell(&format!("starting anew: {problem}"));
            let options = Options { resume: None, ..options.clone() };
            run::run(context, &name, &options, &mut screen)?
        }
        other => other?,
    };
    tell_end(&name, &outcome);
    Ok(outcome.record)
}

/// Says how a run ended.
fn tell_end(name: &ExperimentName, outcome: &run::Outcome) {
    let status = outcome.record.status;
    if let Some(failure) = &outcome.record.failure {
        let hint = failure.hint.as_ref().map_or(String::new(), |h| format!("\nhint: {h}"));
        terminal::complain(&format!("{}{hint}", failure.message));
    }
    terminal::tell(&format!(
        "{}: run {} of {name} in {:.1} s",
        status.word(),
        outcome.run,
        outcome.record.resources.wall_time_s
    ));
    terminal::say(&format!("{}  {}", outcome.root, outcome.run));
}
