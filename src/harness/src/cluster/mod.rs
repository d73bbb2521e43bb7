//! Runs on somebody else's machines: what a project wants to run becomes one job array of a scheduler, one run a task, each from
//! a checkout of the commit that it was submitted at. The scheduler decides when and where; the records say what came of it.
//!
//! `ready` refuses what would not reach a node, `script` writes what the scheduler is given, `scheduler` speaks to it,
//! `submission` keeps which task is which run, and `host` does all of it from a laptop.

mod error;
mod host;
mod outside;
mod ready;
mod scheduler;
mod script;
pub mod skypilot;
mod submission;

use std::path::{Path, PathBuf};
use std::process::Command;

use harness_core::config::{Cluster, Scheduler};
use harness_core::files;
use harness_core::names::Project;
use harness_record::environment;

pub use error::ClusterError;
pub use host::{Arrived, Fetched, Host, Refused, Request};
pub use outside::quoted;
pub use ready::{asked_for, data, ready, starts, time_s};
pub use scheduler::Seen;
pub use script::Plan;
pub use submission::{FORMAT, Owed, State, Submission, Task, commits_in_use, owed, submissions};

use crate::run::{self, RunContext};

/// What is handed over, with the program that hands it over.
pub struct Order<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The commit that the runs are of.
    pub commit: &'a str,
    /// The program.
    pub harness: &'a Path,
    /// The time limit of each run, in seconds.
    pub time_s: Option<u64>,
    /// The runs.
    pub tasks: Vec<Task>,
}

impl Order<'_> {
    /// The scripts by their names, the one that is handed over first.
    pub fn scripts(&self, root: &Path, trainer: &Path) -> Vec<(&'static str, String)> {
        let Order { cluster, commit, harness, time_s, ref tasks } = *self;
        let plan = Plan { cluster, root, harness, trainer, commit, time_s, tasks };
        match cluster.scheduler {
            Scheduler::Slurm => vec![("job.sh", plan.slurm())],
            Scheduler::Htcondor => vec![("job.sub", plan.condor()), ("task.sh", plan.condor_task())],
        }
    }
}

/// Hands runs over to the scheduler of this machine. The programs that it starts later are those of now.
pub fn submit(context: &RunContext, order: Order) -> Result<Submission, ClusterError> {
    let project = context.project;
    context.git.snapshot(order.commit, &project.snapshot(order.commit))?;
    let name = format!("{}-{:08x}", environment::now_compact(), environment::entropy());
    let folder = project.submissions().join(&name);
    files::create_folder(&folder)?;
    let submitted_at = environment::now().to_string();
    let handed_over = fill(context, &order, &folder)
        .and_then(|script| scheduler::hand_over(order.cluster.scheduler, &folder, script));
    if handed_over.is_err() {
        let _ = files::remove_folder(&folder);
    }
    let submission = Submission {
        format: FORMAT,
        name,
        job: handed_over?,
        scheduler: order.cluster.scheduler,
        host: None,
        commit: order.commit.to_owned(),
        submitted_at,
        time_s: order.time_s,
        gpus: order.cluster.gpus * order.cluster.nodes,
        tasks: order.tasks,
    };
    submission.save(project)?;
    Ok(submission)
}

/// Fills the folder of a submission. Gives the name of the script to hand over.
fn fill(context: &RunContext, order: &Order, folder: &Path) -> Result<&'static str, ClusterError> {
    let harness = kept(order.harness, folder, |program| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    let trainer = kept(context.launcher.program(), folder, |program| run::about(program).is_ok());
    let later = Order { harness: &harness, tasks: order.tasks.clone(), ..*order };
    let scripts = later.scripts(context.project.home(), &trainer);
    for (name, text) in &scripts {
        files::write(&folder.join(name), text.as_bytes())?;
    }
    Ok(scripts[0].0)
}

/// A second name for a program, which stays when its file is replaced by another build; the program itself where the file system
/// gives none, or the program does not work by it.
fn kept(program: &Path, folder: &Path, works: impl Fn(&Path) -> bool) -> PathBuf {
    let name = program.file_name().unwrap_or_default();
    let kept = folder.join(name);
    if files::link(program, &kept).is_ok() && works(&kept) { kept } else { program.to_owned() }
}

/// Asks the schedulers of this machine what became of submissions, and writes it down. Those of another machine stay as they are.
pub fn follow(project: &Project, all: &mut [Submission]) -> Result<(), ClusterError> {
    for scheduler in [Scheduler::Slurm, Scheduler::Htcondor] {
        let is_its = |submission: &&mut Submission| submission.scheduler == scheduler && submission.host.is_none();
        let open = all.iter_mut().filter(is_its).filter(|submission| submission.is_open()).collect::<Vec<_>>();
        let jobs: Vec<String> = open.iter().map(|submission| submission.job.clone()).collect();
        let sight = scheduler::look(scheduler, &jobs.iter().map(String::as_str).collect::<Vec<_>>())?;
        for submission in open {
            let before = submission.clone();
            let job = submission.job.clone();
            submission.follow(project, true, |task| sight.get(&(job.clone(), task)).cloned())?;
            if *submission != before {
                submission.save(project)?;
            }
        }
    }
    Ok(())
}

/// Takes tasks of a submission of this machine back, all that are open if none is named. Gives them.
pub fn cancel(project: &Project, submission: &mut Submission, tasks: &[u32]) -> Result<Vec<u32>, ClusterError> {
    let is_meant = |task: &Task| task.state.is_open() && tasks.contains(&task.task);
    let meant: Vec<u32> = submission.tasks.iter().filter(|task| is_meant(task)).map(|task| task.task).collect();
    if meant.is_empty() {
        return Ok(meant);
    }
    let all = submission.tasks.iter().filter(|task| task.state.is_open()).count() == meant.len();
    scheduler::take_back(submission.scheduler, &submission.job, (!all).then_some(&meant))?;
    for task in submission.tasks.iter_mut().filter(|task| meant.contains(&task.task)) {
        (task.state, task.reason) = (State::Cancelled, None);
    }
    submission.save(project)?;
    Ok(meant)
}
