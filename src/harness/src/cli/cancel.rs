//! `harness cancel`: take back what was submitted.

use harness_core::config::Cluster;
use serde_json::json;

use super::jobs::follow;
use super::{Outcome, Workplace, terminal};
use crate::cluster::{self, ClusterError, Host};
use crate::exit_code;
use crate::queue::Queue;

/// Version of the JSON form.
const FORMAT: u32 = 1;

/// Take back what was submitted: whole submissions, single tasks, or all that is open.
///
/// A run that is under way stops with a checkpoint, as far as the scheduler gives it the time, and stays; `harness submit` of the same run
/// goes on from there.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A submission such as `4711`, or a task of it such as `4711_3`.
    #[arg(required_unless_present = "all")]
    which: Vec<String>,
    /// All that is open.
    #[arg(long, conflicts_with = "which")]
    all: bool,
    /// This machine is the login node, even though cluster.toml names one.
    #[arg(long)]
    here: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let mut submissions = cluster::submissions(project)?;
    let known = |name: &&String| submissions.iter().any(|submission| submission.tasks_named(name).is_some());
    if let Some(asked) = arguments.which.iter().find(|name| !known(name)) {
        return Err(ClusterError::Unknown { asked: asked.clone() }.into());
    }
    let cluster = Cluster::load(project)?.unwrap_or_default();
    let host = Host::of(&cluster, &workplace.git).filter(|_| !arguments.here);
    follow(project, host.as_ref(), &mut submissions)?;
    let (mut taken_back, mut there) = (Vec::new(), Vec::new());
    for submission in &mut submissions {
        let all = if arguments.all { vec![submission.job.clone()] } else { arguments.which.clone() };
        let tasks: Vec<u32> = all.iter().filter_map(|name| submission.tasks_named(name)).flatten().collect();
        let name = |task: u32| format!("{}_{task}", submission.job);
        match &host {
            Some(host) if submission.host.is_some() => {
                let open = |task: &&u32| submission.tasks.iter().any(|t| t.task == **task && t.state.is_open());
                there.extend(tasks.iter().filter(open).map(|task| name(*task)));
            }
            _ => {
                let done = cluster::cancel(project, submission, &tasks)?;
                taken_back.extend(done.into_iter().map(|task| format!("{}_{task}", submission.job)));
            }
        }
    }
    if let Some(host) = host.filter(|_| !there.is_empty()) {
        taken_back.extend(host.cancel(&there)?);
        host.follow(project, &mut submissions)?;
    }
    Queue::of(project).prune(&workplace.git)?;
    terminal::say_as(arguments.json, &json!({ "format": FORMAT, "cancelled": taken_back }), || {
        if taken_back.is_empty() {
            "nothing of it is open".to_owned()
        } else {
            format!("cancelled: {}", taken_back.join(", "))
        }
    });
    Ok(exit_code::SUCCESS)
}
