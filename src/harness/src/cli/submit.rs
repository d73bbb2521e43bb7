//! `harness submit`: runs of a commit as one job array of the cluster that cluster.toml names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, io};

use harness_core::config::{Checked, Cluster, Scheduler, cluster_template};
use harness_core::files;
use harness_core::names::ExperimentName;
use harness_record::format::Purpose;
use harness_record::load_config;
use harness_record::select::Traces;
use harness_study::ledger::phase_of;
use serde_json::json;

use super::budget::promised_to_others;
use super::queue::{Seeds, Which};
use super::{Failure, Outcome, Workplace, jobs, proposal, terminal};
use crate::cluster::{self, ClusterError, Host, Order, Request, State, Submission, Task};
use crate::exit_code;
use crate::queue::Promise;
use crate::run::afford::{self, Wish};
use crate::run::expected::Pace;
use crate::run::{self, Options, RunError};
use crate::watch::view::duration;

/// Version of the JSON form.
const FORMAT: u32 = 1;

/// Submit runs to the cluster that cluster.toml names: one job array, one run a task.
///
/// Runs are made from a checkout of the commit that is checked out, with the programs of now, so that the working tree is free
/// for the next change. A run that is stopped before its end, by its time limit or for others, goes on where it was when the scheduler starts it
/// again. Refused early: files that differ from the commit, programs of other sources, data that are not ready, a libtorch without
/// CUDA where a GPU is asked for, runs that the budget does not pay for. `harness jobs` shows what becomes of them.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The experiments.
    #[arg(required_unless_present_any = ["init", "study", "request"])]
    names: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// The trials of this experiment's study that are missing.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["names", "chosen", "seeds", "purpose"])]
    study: Option<String>,
    /// Print the script, and submit nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write a cluster.toml with a comment for every key, for Slurm unless HTCondor is named.
    #[arg(long, value_name = "SCHEDULER", num_args = 0..=1, default_missing_value = "slurm", conflicts_with_all = ["names", "study"])]
    init: Option<Kind>,
    /// Build the programs on the login node, which may take many minutes, before the runs are submitted there.
    #[arg(long, conflicts_with = "here")]
    set_up: bool,
    /// This machine is the login node, even though cluster.toml names one.
    #[arg(long)]
    here: bool,
    /// Submit what a laptop asks for on standard input.
    #[arg(long, hide = true, conflicts_with_all = ["names", "study", "init"])]
    request: bool,
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// `sbatch`
    Slurm,
    /// `condor_submit`
    Htcondor,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    if let Some(kind) = arguments.init {
        return init(workplace, kind, arguments.json);
    }
    if arguments.request {
        return requested(workplace, arguments);
    }
    let cluster = Cluster::load(&workplace.project)?.ok_or(ClusterError::NoCluster)?;
    if let Some(host) = Host::of(&cluster, &workplace.git).filter(|_| !arguments.here) {
        return from_laptop(workplace, arguments, &cluster, &host);
    }
    if arguments.set_up {
        let hint = "`make setup build PROFILE=release` builds here; --set-up does so on the `host` of cluster.toml";
        return Err(Failure::usage(format!("cluster.toml names no login node to build on\nhint: {hint}")));
    }
    let context = workplace.context(arguments.trainer.clone());
    let asked = arguments.asked();
    let (commit, configs) = asked
        .look(workplace, |name| Ok(run::check(&context, name, &Options::default()).map_err(ClusterError::from)?))?;
    for (name, config) in &configs {
        let warnings = cluster::ready(&context, &cluster, name, config, &mut terminal::Screen::new())?;
        warnings.iter().for_each(|warning| terminal::tell(warning));
    }
    ask_after_earlier(workplace, None)?;
    let tasks = asked.tasks(workplace, &cluster, &configs)?;
    if tasks.is_empty() {
        return nothing(arguments.json);
    }
    cluster::starts(&context, &tasks, &mut terminal::Screen::new())?;
    let (time_s, caveats) = cluster::time_s(&workplace.project, &cluster, &tasks)?;
    caveats.iter().for_each(|caveat| terminal::tell(caveat));
    let order = Order { cluster: &cluster, commit: &commit, harness: &own()?, time_s, tasks };
    if arguments.dry_run {
        return dry_run(&order, workplace.project.home(), context.launcher.program(), arguments.json);
    }
    let submission = cluster::submit(&context, order)?;
    tell(&submission, arguments.json);
    Ok(exit_code::SUCCESS)
}

/// Asks what became of tasks that were open when they were last asked after: what has ended unfinished may be submitted again.
fn ask_after_earlier(workplace: &Workplace, host: Option<&Host>) -> Result<(), Failure> {
    let mut all = cluster::submissions(&workplace.project)?;
    jobs::follow(&workplace.project, host, &mut all)
}

/// From a laptop: code and data go to the login node, and what is submitted is submitted there.
fn from_laptop(workplace: &Workplace, arguments: &Arguments, cluster: &Cluster, host: &Host) -> Outcome {
    let project = &workplace.project;
    let commit = clean(workplace)?;
    let asked = arguments.asked();
    let (_, configs) = asked.look(workplace, |name| Ok((commit.clone(), load_config(project, name)?.experiment)))?;
    for (name, config) in &configs {
        cluster::asked_for(cluster, name, config)?.iter().for_each(|warning| terminal::tell(warning));
    }
    if !arguments.dry_run {
        ask_after_earlier(workplace, Some(host))?;
    }
    let tasks = asked.tasks(workplace, cluster, &configs)?;
    if tasks.is_empty() {
        return nothing(arguments.json);
    }
    for (name, config) in &configs {
        for task in tasks.iter().filter(|task| task.experiment == *name) {
            tell_of_trunk(workplace, config, task, host.name());
        }
    }
    if arguments.dry_run {
        // The login node may know runs, and so times, that are not here.
        let (time_s, caveats) = cluster::time_s(project, cluster, &tasks).unwrap_or_default();
        caveats.iter().for_each(|caveat| terminal::tell(caveat));
        let program = Path::new(&cluster.program);
        let order = Order { cluster, commit: &commit, harness: program, time_s, tasks };
        let folder = cluster.folder.as_ref().map(Path::new).unwrap_or(project.home());
        return dry_run(&order, folder, &program.with_file_name("harness-trainer"), arguments.json);
    }
    let mut paths = Vec::new();
    for config in configs.values() {
        match cluster::data(project, config, &mut terminal::Screen::new()) {
            Ok(ready) => paths.extend(ready),
            // What is not ready here may be so there, which is where it is looked for.
            Err(ClusterError::NotReady { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    paths.sort();
    paths.dedup();
    host.push(project, &commit)?;
    if arguments.set_up {
        host.set_up()?;
    }
    host.send(project, &paths)?;
    let submission = host.submit(project, &commit, tasks)?;
    tell(&submission, arguments.json);
    Ok(exit_code::SUCCESS)
}

/// What of the trunk of a run is known here, where the runs of the login node are not: nothing of it is refused here.
fn tell_of_trunk(workplace: &Workplace, config: &Checked, task: &Task, host: &str) {
    let Some(from) = &config.trunk else { return };
    let (name, seed) = (&task.experiment, task.seed);
    let here = match run::check_trunk(&workplace.project, name, config, seed, task.purpose) {
        Ok(()) => String::new(),
        Err(error) => {
            let text = error.to_string();
            let problem = text.lines().next().unwrap_or_default();
            format!("; by the runs that are here, {problem}")
        }
    };
    terminal::tell(&format!(
        "`{name}`, seed {seed}, begins from step {} of `{}`: its run, checkpoint and data are looked for on {host} before anything is \
         submitted there{here}",
        from.step, from.experiment
    ));
}

/// On the login node: what a laptop asks for, once it has brought code and data.
fn requested(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let text =
        io::read_to_string(io::stdin()).map_err(|e| Failure::failed(format!("could not read what to submit: {e}")))?;
    let request: Request = serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!(
            "what is to be submitted cannot be read: {error}\nhint: build the programs of both sides from one commit"
        ))
    })?;
    let context = workplace.context(arguments.trainer.clone());
    let names: BTreeSet<&ExperimentName> = request.tasks.iter().map(|task| &task.experiment).collect();
    for name in names {
        let (commit, config) = run::check(&context, name, &Options::default()).map_err(ClusterError::from)?;
        if commit != request.commit {
            return Err(Failure::usage(format!(
                "commit {commit} is checked out there, and not {}\nhint: submit again; two did so at once",
                request.commit
            )));
        }
        // The laptop has told the warnings.
        cluster::ready(&context, &request.cluster, name, &config, &mut terminal::Screen::new())?;
    }
    cluster::starts(&context, &request.tasks, &mut terminal::Screen::new())?;
    let (time_s, caveats) = cluster::time_s(&workplace.project, &request.cluster, &request.tasks)?;
    caveats.iter().for_each(|caveat| terminal::tell(caveat));
    let order =
        Order { cluster: &request.cluster, commit: &request.commit, harness: &own()?, time_s, tasks: request.tasks };
    tell(&cluster::submit(&context, order)?, true);
    Ok(exit_code::SUCCESS)
}

/// This program.
fn own() -> Result<PathBuf, Failure> {
    env::current_exe().map_err(|e| Failure::failed(format!("this program is not found: {e}")))
}

fn nothing(json: bool) -> Outcome {
    terminal::say_as(json, &json!({ "format": FORMAT, "submission": null }), || "nothing is missing".to_owned());
    Ok(exit_code::SUCCESS)
}

fn init(workplace: &Workplace, kind: Kind, json: bool) -> Outcome {
    let path = workplace.project.cluster_file();
    if files::is_file(&path) {
        return Err(Failure::usage("there is a `cluster.toml` already\nhint: edit it, or remove it first"));
    }
    let scheduler = match kind {
        Kind::Slurm => Scheduler::Slurm,
        Kind::Htcondor => Scheduler::Htcondor,
    };
    files::write(&path, cluster_template(scheduler).as_bytes())?;
    terminal::say_as(json, &json!({ "format": FORMAT, "written": ["cluster.toml"] }), || "cluster.toml".to_owned());
    terminal::tell("hint: take the `#` from the lines that you need, commit it, then `harness submit NAME --dry-run`");
    Ok(exit_code::SUCCESS)
}

/// Runs that are asked for.
pub(super) struct Asked<'a> {
    /// The experiments.
    pub names: Vec<&'a str>,
    /// With which seeds.
    pub seeds: Seeds,
    /// What for.
    pub purpose: Option<Purpose>,
    /// Why, although the budget does not pay for them.
    pub over_budget: Option<&'a str>,
}

impl Arguments {
    fn asked(&self) -> Asked<'_> {
        Asked {
            names: self.names.iter().chain(&self.study).map(String::as_str).collect(),
            seeds: self.which.seeds(self.study.is_some()),
            purpose: self.which.purpose(),
            over_budget: self.which.reason(),
        }
    }
}

impl Asked<'_> {
    /// The experiments by name, and the commit that all of them are of; `check` refuses what cannot be run.
    pub(super) fn look(
        &self,
        workplace: &Workplace,
        check: impl Fn(&ExperimentName) -> Result<(String, Checked), Failure>,
    ) -> Result<(String, BTreeMap<ExperimentName, Checked>), Failure> {
        let mut commit = String::new();
        let mut configs = BTreeMap::new();
        for name in &self.names {
            let name: ExperimentName = name.parse()?;
            proposal::check(workplace, &load_config(&workplace.project, &name)?)?;
            let (at, config) = check(&name)?;
            commit = at;
            configs.insert(name, config);
        }
        Ok((commit, configs))
    }

    /// The runs that no task makes already, paid for together.
    pub(super) fn tasks(
        &self,
        workplace: &Workplace,
        cluster: &Cluster,
        configs: &BTreeMap<ExperimentName, Checked>,
    ) -> Result<Vec<Task>, Failure> {
        let project = &workplace.project;
        let traces = Traces::of(project)?;
        let submitted: Vec<Task> = cluster::owed(project)?.into_iter().map(|owed| owed.task).collect();
        let mut tasks: Vec<Task> = Vec::new();
        for (name, config) in configs {
            let purpose = self.seeds.purpose(self.purpose, config);
            for (trial, seed) in self.seeds.of(project, name, config, purpose, &traces)? {
                let key = (name, trial, seed, purpose);
                if submitted.iter().any(|task| (&task.experiment, task.trial, task.seed, task.purpose) == key) {
                    terminal::tell(&format!("submitted already: `{name}`, seed {seed}"));
                    continue;
                }
                tasks.push(Task {
                    task: u32::try_from(tasks.len()).expect("there are at most a thousand of each"),
                    experiment: name.clone(),
                    trial,
                    seed,
                    purpose,
                    over_budget: self.over_budget.map(str::to_owned),
                    state: State::Queued,
                    reason: None,
                    run: None,
                });
            }
        }
        afford_all(workplace, cluster, configs, &tasks, self.over_budget)?;
        Ok(tasks)
    }
}

/// Refuses runs that the budget does not pay for, beside what is promised already.
fn afford_all(
    workplace: &Workplace,
    cluster: &Cluster,
    configs: &BTreeMap<ExperimentName, Checked>,
    tasks: &[Task],
    over_budget: Option<&str>,
) -> Result<(), Failure> {
    let project = &workplace.project;
    let mut promised = promised_to_others(workplace, |_: &Promise| false)?;
    let mut new: BTreeMap<(&ExperimentName, Purpose), usize> = BTreeMap::new();
    for task in tasks {
        *new.entry((&task.experiment, task.purpose)).or_default() += 1;
    }
    let paces = [Pace::on_cluster(project)?, Pace::here(project)?].map(|pace| pace.submitted_to(cluster));
    for ((name, purpose), count) in new {
        let config = &configs[name];
        let mut expected = None;
        for pace in &paces {
            expected = expected.or(pace.of(project, config)?);
        }
        let each = expected.as_ref().map(|expected| expected.spent());
        let caveat = expected.and_then(|expected| expected.caveat);
        let wish = Wish { name, config, purpose, count, each, caveat };
        let cost = afford::wished(project, &wish, &promised, over_budget)?;
        promised.extend(cost.map(|cost| (phase_of(purpose, config.extends.is_some()), cost)));
    }
    Ok(())
}

fn dry_run(order: &Order, root: &Path, trainer: &Path, json: bool) -> Outcome {
    let scripts = order.scripts(root, trainer);
    let value = json!({
        "format": FORMAT,
        "scheduler": order.cluster.scheduler,
        "commit": order.commit,
        "time_s": order.time_s,
        "tasks": order.tasks,
        "scripts": scripts.iter().map(|(name, text)| json!({ "name": name, "text": text })).collect::<Vec<_>>(),
    });
    let text = |(name, text): &(&str, String)| {
        if scripts.len() == 1 { text.clone() } else { format!("# --- {name} ---\n{text}") }
    };
    if json {
        terminal::say_json(&value);
    } else {
        terminal::say_exactly(&scripts.iter().map(text).collect::<Vec<_>>().join("\n"));
    }
    Ok(exit_code::SUCCESS)
}

/// Says what was submitted.
fn tell(submission: &Submission, json: bool) {
    terminal::say_as(json, &json!({ "format": FORMAT, "submission": submission }), || {
        let Submission { job, scheduler, tasks, .. } = submission;
        let runs = if tasks.len() == 1 { "one run".to_owned() } else { format!("{} runs", tasks.len()) };
        let limit = submission.time_s.map_or(String::new(), |s| format!(", {} at most each", duration(s as f64)));
        let host = submission.host.as_ref().map_or(String::new(), |host| format!(" on {host}"));
        format!("submitted to {scheduler}{host}: job {job}, {runs}{limit}; `harness jobs` shows what becomes of them")
    });
}

/// What is refused of a tree that differs from its commit, where the programs are elsewhere.
pub(super) fn clean(workplace: &Workplace) -> Result<String, Failure> {
    let state = workplace.git.state()?;
    if state.is_dirty() {
        let dirty = RunError::Dirty { files: [state.changed, state.untracked].concat() };
        return Err(ClusterError::from(dirty).into());
    }
    Ok(state.commit)
}
