//! The command line: one command a file, the doc comments are the help. The only room that prints, and the one
//! place where errors become exit codes.

mod adopt;
mod anchor;
mod audit;
mod budget;
mod bundle;
mod cancel;
mod compare;
mod completions;
mod dashboard;
mod data;
mod data_show;
mod decide;
mod demo;
mod diagnose;
mod diff;
mod doctor;
mod drop;
mod evaluate;
mod export;
mod fetch_runs;
mod generate;
mod import;
mod init;
mod jobs;
mod ladder;
mod leave_one_out;
mod library;
mod man;
mod next;
mod paper_checks;
mod plan;
mod plot;
mod probe;
mod proposal;
mod propose;
mod queue;
mod rename;
mod replay;
mod report;
mod reproduce;
mod run;
mod runs;
mod schema;
mod seal;
mod seeds;
mod show;
mod slices;
mod status;
mod study;
mod submit;
mod task;
mod terminal;
mod trace;
mod tree;
mod variance;
mod watch;
mod wrap;

use std::env;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use harness_core::names::Project;
use harness_corpus::{Fetcher, HubAccess, Store};

use crate::exit_code;
use crate::run::{Local, RunContext, trainer_beside};
use harness_record::git::Git;

/// Train small language models under a budget, and write a paper whose every number can be traced.
///
/// Exit codes: 0 success; 1 failure, or an audit found a contradiction; 2 wrong usage or input; 3 data or a checkpoint
/// is missing; 5 a run has no anchor and one was asked for; 130 interrupted.
#[derive(Parser)]
#[command(name = "harness", version, max_term_width = 110)]
struct Arguments {
    /// Use the project in this folder instead of the one around the current folder.
    #[arg(short = 'C', long, global = true, value_name = "FOLDER")]
    project: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Library(library::Arguments),
    Propose(propose::Arguments),
    Status(status::Arguments),
    Next(next::Arguments),
    Plan(plan::Arguments),
    Probe(probe::Arguments),
    Run(run::Arguments),
    Queue(queue::Arguments),
    Submit(submit::Arguments),
    Jobs(jobs::Arguments),
    Cancel(cancel::Arguments),
    FetchRuns(fetch_runs::Arguments),
    Seeds(seeds::Arguments),
    Decide(decide::Arguments),
    Adopt(adopt::Arguments),
    LeaveOneOut(leave_one_out::Arguments),
    Ladder(ladder::Arguments),
    Tree(tree::Arguments),
    Variance(variance::Arguments),
    Diff(diff::Arguments),
    Budget(budget::Arguments),
    Study(study::Arguments),
    Evaluate(evaluate::Arguments),
    Show(show::Arguments),
    Watch(watch::Arguments),
    Runs(runs::Arguments),
    Drop(drop::Arguments),
    Seal(seal::Arguments),
    Rename(rename::Arguments),
    Data(data::Arguments),
    Task(task::Arguments),
    Compare(compare::Arguments),
    Diagnose(diagnose::Arguments),
    Slices(slices::Arguments),
    Plot(plot::Arguments),
    Dashboard(dashboard::Arguments),
    Report(report::Arguments),
    Bundle(bundle::Arguments),
    Anchor(anchor::Arguments),
    Audit(audit::Arguments),
    Trace(trace::Arguments),
    Replay(replay::Arguments),
    Reproduce(reproduce::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Generate(generate::Arguments),
    Doctor(doctor::Arguments),
    Demo(demo::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// What a command gives back: an exit code, or an error that is printed.
type Outcome = Result<u8, Failure>;

/// An error on its way to the terminal, with the exit code it leads to.
#[derive(Debug)]
pub struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// A mistake in what the user wrote.
    fn usage(message: impl Display) -> Self {
        Failure { message: message.to_string(), exit_code: exit_code::USAGE }
    }

    /// Something that did not work.
    fn failed(message: impl Display) -> Self {
        Failure { message: message.to_string(), exit_code: exit_code::CONTRADICTION }
    }
}

/// Errors of the rooms below: wrong input is 2, all else is 1.
macro_rules! failure_from {
    ($($error:ty => $kind:ident),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Failure::$kind(error)
            }
        })*
    };
}
failure_from! {
    harness_core::config::ConfigError => usage,
    harness_core::config::library::LibraryError => usage,
    harness_core::names::BadName => usage,
    harness_core::files::FileError => failed,
    harness_record::git::GitError => usage,
    harness_analyse::AnalyseError => failed,
    harness_study::StudyError => usage,
    harness_study::adoption::AdoptError => usage,
    harness_report::ReportError => usage,
    harness_corpus::RecipeError => usage,
    harness_corpus::CorpusError => failed,
    harness_corpus::FetchError => failed,
    harness_corpus::tasks::TaskError => failed,
}

impl From<harness_record::RecordError> for Failure {
    fn from(error: harness_record::RecordError) -> Self {
        let unknown = matches!(error, harness_record::RecordError::Unknown { .. });
        if unknown { Failure::usage(error) } else { Failure::failed(error) }
    }
}

impl From<crate::run::RunError> for Failure {
    fn from(error: crate::run::RunError) -> Self {
        use crate::run::RunError as E;
        if matches!(error, E::Interrupted) {
            return Failure { message: error.to_string(), exit_code: exit_code::INTERRUPTED };
        }
        let wrong_input = matches!(
            error,
            E::Config(_)
                | E::Study(_)
                | E::NoTrial { .. }
                | E::Git(_)
                | E::Dirty { .. }
                | E::Stale { .. }
                | E::OverBudget(_)
                | E::ShortRun(_)
                | E::Budget(_)
                | E::NothingToResume { .. }
                | E::NoTrunk { .. }
                | E::StillRunning { .. }
                | E::NoImportedWeights { .. }
                | E::NothingToEvaluate { .. }
                | E::DataGone { .. }
                | E::EndTime(_)
                | E::Recipe(_)
                | E::Trainer { .. }
                | E::NoTrainer { .. }
                | E::TooFewGpus { .. }
                | E::NotSharedOut { .. }
                | E::Ranks { .. }
        );
        if wrong_input { Failure::usage(error) } else { Failure::failed(error) }
    }
}

impl From<crate::anchor::AnchorError> for Failure {
    fn from(error: crate::anchor::AnchorError) -> Self {
        Failure::failed(error)
    }
}

impl From<crate::replay::ReplayError> for Failure {
    fn from(error: crate::replay::ReplayError) -> Self {
        use crate::replay::ReplayError as E;
        if error.is_missing() {
            return Failure { message: error.to_string(), exit_code: exit_code::INCOMPLETE };
        }
        match error {
            E::Run(error) => error.into(),
            E::Git(error) => error.into(),
            E::Missing { .. } | E::File(_) | E::Table(_) => Failure::failed(error),
        }
    }
}

impl From<crate::queue::QueueError> for Failure {
    fn from(error: crate::queue::QueueError) -> Self {
        use crate::queue::QueueError as E;
        let message = error.to_string();
        match error {
            E::Run(refused) => Failure { message, ..Failure::from(refused) },
            E::Git(error) => error.into(),
            E::Cluster(error) => error.into(),
            E::File(_) | E::Stopped { .. } => Failure::failed(error),
            E::Unreadable { .. } | E::Taken { .. } | E::Unknown { .. } | E::Running { .. } | E::NoWorker => {
                Failure::usage(error)
            }
        }
    }
}

impl From<crate::cluster::ClusterError> for Failure {
    fn from(error: crate::cluster::ClusterError) -> Self {
        use crate::cluster::ClusterError as E;
        let message = error.to_string();
        match error {
            E::Run(refused) => Failure { message, ..Failure::from(refused) },
            E::Record(error) => error.into(),
            E::NotReady { .. } => Failure { message, exit_code: exit_code::INCOMPLETE },
            E::There { exit_code, .. } => {
                Failure { message, exit_code: u8::try_from(exit_code).unwrap_or(exit_code::CONTRADICTION) }
            }
            E::File(_) | E::Outside { .. } => Failure::failed(message),
            E::Config(_)
            | E::Recipe(_)
            | E::Git(_)
            | E::NoCluster
            | E::Unfit { .. }
            | E::NoProgram { .. }
            | E::Unreadable { .. }
            | E::Unknown { .. } => Failure::usage(message),
        }
    }
}

impl From<crate::exchange::ExchangeError> for Failure {
    fn from(error: crate::exchange::ExchangeError) -> Self {
        let exit_code = match &error {
            missing if missing.is_missing() => exit_code::INCOMPLETE,
            wrong if wrong.is_usage() => exit_code::USAGE,
            _ => exit_code::CONTRADICTION,
        };
        Failure { message: error.to_string(), exit_code }
    }
}

impl From<crate::bundle::BundleError> for Failure {
    fn from(error: crate::bundle::BundleError) -> Self {
        use crate::bundle::BundleError as E;
        match error {
            E::Record(error) => error.into(),
            E::Git(_) | E::Paper(_) => Failure::usage(error),
            E::File(_) => Failure::failed(error),
        }
    }
}

impl From<crate::new_project::NewProjectError> for Failure {
    fn from(error: crate::new_project::NewProjectError) -> Self {
        use crate::new_project::NewProjectError as E;
        match error {
            E::File(_) | E::Command { .. } => Failure::failed(error),
            _ => Failure::usage(error),
        }
    }
}

impl From<crate::audit::AuditError> for Failure {
    fn from(error: crate::audit::AuditError) -> Self {
        Failure::usage(error)
    }
}

/// The project around a folder, with its repository.
struct Workplace {
    project: Project,
    git: Git,
}

impl Workplace {
    fn find(folder: Option<PathBuf>) -> Result<Self, Failure> {
        let folder = match folder {
            Some(folder) => folder,
            None => {
                env::current_dir().map_err(|e| Failure::failed(format!("could not read the current folder: {e}")))?
            }
        };
        let git = Git::discover(&folder)?;
        let root = git.root().to_owned();
        if !root.join("experiments").is_dir() {
            return Err(Failure::usage(format!(
                "neither `{}` nor a folder above it in its repository is a project: none has an `experiments` folder\n\
                 hint: change to the project's folder, or name it with -C",
                folder.display()
            )));
        }
        Ok(Workplace { project: Project::at(root), git })
    }

    /// The same project with its plans as they are in a commit, in a checkout that the store keeps.
    fn at(&self, commit: &str) -> Result<Self, Failure> {
        let commit = self.git.resolve(commit)?;
        let git = self.git.snapshot(&commit, &self.project.snapshot(&commit))?;
        Ok(Workplace { project: self.project.seen_in(git.root()), git })
    }

    fn fetcher(&self) -> Fetcher {
        fetcher(&self.project)
    }

    /// Where runs are made, with this trainer.
    fn context(&self, trainer: Option<PathBuf>) -> RunContext<'_> {
        run_context(&self.project, &self.git, trainer)
    }
}

/// Brings files that recipes name into the store: from the folder `HARNESS_MIRROR` names, or from their addresses, with
/// the hub and the token that the environment names.
fn fetcher(project: &Project) -> Fetcher {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let hub = HubAccess::new(set("HF_ENDPOINT"), set("HF_TOKEN"));
    Fetcher::new(&Store::of(project)).with_mirror(mirror()).with_hub(hub)
}

/// Where runs of a project are made, with this trainer.
fn run_context<'a>(project: &'a Project, git: &'a Git, trainer: Option<PathBuf>) -> RunContext<'a> {
    let launcher = Box::new(Local::new(chosen_trainer(trainer)));
    RunContext { project, git, fetcher: fetcher(project), launcher }
}

/// The trainer: as named, else from the environment, else beside this program.
fn chosen_trainer(named: Option<PathBuf>) -> PathBuf {
    let named = named.or_else(|| env::var_os("HARNESS_TRAINER").map(PathBuf::from));
    let trainer = named.unwrap_or_else(trainer_beside);
    // It is started in the project's folder, and must be the same program there.
    trainer.canonicalize().unwrap_or(trainer)
}

/// The folder of file copies that stands in for the network.
fn mirror() -> Option<PathBuf> {
    let mirror = PathBuf::from(env::var_os("HARNESS_MIRROR").filter(|m| !m.is_empty())?);
    Some(mirror.canonicalize().unwrap_or(mirror))
}

/// An option takes a number below 0 for what it is, and refuses it with its own reason, not as an option that nobody knows.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let is_option = |arg: &Arg| arg.get_long().is_some() && arg.get_action().takes_values();
    let taking = |arg: Arg| if is_option(&arg) { arg.allow_negative_numbers(true) } else { arg };
    command.mut_args(taking).mut_subcommands(with_negative_numbers)
}

/// Parses the command line, runs the command, prints its error. Gives the exit code.
pub fn main() -> ExitCode {
    let matches = with_negative_numbers(Arguments::command()).try_get_matches();
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(answer) => return ExitCode::from(terminal::answer(&answer)),
    };
    match execute(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            terminal::complain(&failure.message);
            ExitCode::from(failure.exit_code)
        }
    }
}

/// Runs a command.
fn execute(arguments: Arguments) -> Outcome {
    let workplace = || Workplace::find(arguments.project.clone());
    match arguments.command {
        Command::Init(a) => workplace().and_then(|w| init::execute(&w, &a)),
        Command::Library(a) => workplace().and_then(|w| library::execute(&w, &a)),
        Command::Propose(a) => workplace().and_then(|w| propose::execute(&w, &a)),
        Command::Status(a) => workplace().and_then(|w| status::execute(&w, &a)),
        Command::Next(a) => workplace().and_then(|w| next::execute(&w, &a)),
        Command::Plan(a) => workplace().and_then(|w| plan::execute(&w, &a)),
        Command::Probe(a) => workplace().and_then(|w| probe::execute(&w, &a)),
        Command::Run(a) => workplace().and_then(|w| run::execute(&w, &a)),
        Command::Queue(a) => workplace().and_then(|w| queue::execute(&w, &a)),
        Command::Submit(a) => workplace().and_then(|w| submit::execute(&w, &a)),
        Command::Jobs(a) => workplace().and_then(|w| jobs::execute(&w, &a)),
        Command::Cancel(a) => workplace().and_then(|w| cancel::execute(&w, &a)),
        Command::FetchRuns(a) => workplace().and_then(|w| fetch_runs::execute(&w, &a)),
        Command::Seeds(a) => workplace().and_then(|w| seeds::execute(&w, &a)),
        Command::Study(a) => workplace().and_then(|w| study::execute(&w, &a)),
        Command::Decide(a) => workplace().and_then(|w| decide::execute(&w, &a)),
        Command::Adopt(a) => workplace().and_then(|w| adopt::execute(&w, &a)),
        Command::LeaveOneOut(a) => workplace().and_then(|w| leave_one_out::execute(&w, &a)),
        Command::Ladder(a) => workplace().and_then(|w| ladder::execute(&w, &a)),
        Command::Tree(a) => workplace().and_then(|w| tree::execute(&w, &a)),
        Command::Variance(a) => workplace().and_then(|w| variance::execute(&w, &a)),
        Command::Diff(a) => workplace().and_then(|w| diff::execute(&w, &a)),
        Command::Budget(a) => workplace().and_then(|w| budget::execute(&w, &a)),
        Command::Evaluate(a) => workplace().and_then(|w| evaluate::execute(&w, &a)),
        Command::Show(a) => workplace().and_then(|w| show::execute(&w, &a)),
        Command::Watch(a) => workplace().and_then(|w| watch::execute(&w, &a)),
        Command::Runs(a) => workplace().and_then(|w| runs::execute(&w, &a)),
        Command::Drop(a) => workplace().and_then(|w| drop::execute(&w, &a)),
        Command::Seal(a) => workplace().and_then(|w| seal::execute(&w, &a)),
        Command::Rename(a) => workplace().and_then(|w| rename::execute(&w, &a)),
        Command::Data(a) => workplace().and_then(|w| data::execute(&w, &a)),
        Command::Task(a) => workplace().and_then(|w| task::execute(&w, &a)),
        Command::Compare(a) => workplace().and_then(|w| compare::execute(&w, &a)),
        Command::Diagnose(a) => workplace().and_then(|w| diagnose::execute(&w, &a)),
        Command::Slices(a) => workplace().and_then(|w| slices::execute(&w, &a)),
        Command::Dashboard(a) => workplace().and_then(|w| dashboard::execute(&w, &a)),
        Command::Plot(a) => workplace().and_then(|w| plot::execute(&w, &a)),
        Command::Report(a) => workplace().and_then(|w| report::execute(&w, &a)),
        Command::Bundle(a) => workplace().and_then(|w| bundle::execute(&w, &a)),
        Command::Audit(a) => audit::execute(arguments.project.clone(), &a),
        Command::Trace(a) => workplace().and_then(|w| trace::execute(&w, &a)),
        Command::Anchor(a) => workplace().and_then(|w| anchor::execute(&w, &a)),
        Command::Replay(a) => workplace().and_then(|w| replay::execute(&w, &a)),
        Command::Reproduce(a) => workplace().and_then(|w| reproduce::execute(&w, &a)),
        Command::Export(a) => workplace().and_then(|w| export::execute(&w, &a)),
        Command::Import(a) => workplace().and_then(|w| import::execute(&w, &a)),
        Command::Generate(a) => workplace().and_then(|w| generate::execute(&w, &a)),
        Command::Doctor(a) => doctor::execute(arguments.project.clone(), &a),
        Command::Demo(a) => workplace().and_then(|w| demo::execute(&w, &a)),
        Command::Schema(a) => schema::execute(&a),
        Command::Completions(a) => completions::execute(&a),
        Command::Man(a) => man::execute(&a),
    }
}
