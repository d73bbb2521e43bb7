//! `harness jobs`: what was submitted to a cluster, and what became of it.

use harness_core::config::Cluster;
use harness_core::files;
use harness_core::names::Project;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::cluster::{self, Host, State, Submission, Task};
use crate::exit_code;
use crate::queue::Queue;

/// Version of the JSON form.
const FORMAT: u32 = 1;

/// Show what was submitted: each run with its state and, once there is one, its id.
///
/// A run whose record is complete is done, whatever the scheduler says. Of the others the scheduler is asked (`squeue`, and `sacct` where
/// there is an accounting). Logs lie in .harness/cluster/.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Submissions of which nothing is open any more, too.
    #[arg(long)]
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
    let mut all = cluster::submissions(project)?;
    // What has just ended is shown once more.
    let was_open: Vec<bool> = all.iter().map(Submission::is_open).collect();
    let cluster = Cluster::load(project)?.unwrap_or_default();
    follow(project, Host::of(&cluster, &workplace.git).filter(|_| !arguments.here).as_ref(), &mut all)?;
    Queue::of(project).prune(&workplace.git)?;
    let is_shown = |(submission, was_open): &(Submission, bool)| arguments.all || *was_open || submission.is_open();
    let shown: Vec<Submission> =
        all.into_iter().zip(was_open).filter(is_shown).map(|(submission, _)| submission).collect();
    if arguments.json {
        let value = json!({ "format": FORMAT, "submissions": shown });
        terminal::say_json(&value);
        return Ok(exit_code::SUCCESS);
    }
    if shown.is_empty() {
        let hint =
            if arguments.all { "`harness submit EXPERIMENT` submits a run" } else { "`--all` shows what has ended" };
        terminal::say(&format!("nothing is submitted\nhint: {hint}"));
        return Ok(exit_code::SUCCESS);
    }
    terminal::say(&table(&shown));
    let is_away = |task: &&Task| {
        let run = task.run.as_ref().filter(|_| task.state == State::Done);
        run.is_some_and(|run| !files::is_folder(&project.run(&task.experiment, run)))
    };
    let away = shown.iter().flat_map(|submission| &submission.tasks).filter(is_away).count();
    if away > 0 {
        terminal::say(&format!("hint: `harness fetch-runs` brings {away} that are done and not here"));
    }
    Ok(exit_code::SUCCESS)
}

/// Asks what became of submissions, here and on the login node, as far as something is open there.
pub(super) fn follow(project: &Project, host: Option<&Host>, all: &mut [Submission]) -> Result<(), Failure> {
    cluster::follow(project, all)?;
    let is_its = |submission: &Submission| submission.host.as_deref() == host.map(Host::name) && submission.is_open();
    if let Some(host) = host.filter(|_| all.iter().any(is_its)) {
        host.follow(project, all)?;
    }
    Ok(())
}

fn table(submissions: &[Submission]) -> String {
    let header = ["task", "experiment", "trial", "seed", "purpose", "commit", "state", "run", ""];
    let row = |submission: &Submission, task: &Task| {
        vec![
            format!("{}_{}", submission.job, task.task),
            task.experiment.to_string(),
            task.trial.map_or_else(String::new, |trial| trial.to_string()),
            task.seed.to_string(),
            task.purpose.word().to_owned(),
            submission.commit.get(..8).unwrap_or(&submission.commit).to_owned(),
            task.state.word().to_owned(),
            task.run.as_ref().map_or_else(String::new, ToString::to_string),
            terminal::one_line(task.reason.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<Vec<String>> = submissions
        .iter()
        .flat_map(|submission| submission.tasks.iter().map(move |task| row(submission, task)))
        .collect();
    terminal::columns(&header, &rows)
}
