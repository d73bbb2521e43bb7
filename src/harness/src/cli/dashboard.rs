//! `harness dashboard`: all experiments on one page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness_core::files;
use harness_core::names::{ExperimentName, Project};

use super::budget::Standing;
use super::{Failure, Outcome, Workplace, terminal};
use crate::dashboard::{self, Data, Experiment, Found, LatestPlan, Run, Spending};
use crate::exit_code;
use harness_analyse::RunAnalysis;
use harness_record::select::Traces;
use harness_record::{self as record, LeftOut, Reason, RunSet, SealedRun, Seen, load_config};
use harness_report::plot::{self, Lineage};

/// Write one HTML file over all experiments: table of runs, lineage, curves, tasks, diagnoses, what was
/// spent.
///
/// The file needs no server and no network: open it from disk, or send it. Curves of long runs are thinned, and the page
/// says so; the numbers of its table are exact.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The file to write, relative to the current folder [default: report/build/dashboard.html].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let template = files::read_to_string(&project.templates().join("dashboard.html"))?;
    let points = dashboard::points_for(record::all_runs(project)?.len());
    let traces = Traces::of(project)?;
    let (mut runs, mut plans) = (Vec::new(), BTreeMap::new());
    // The rows of one experiment at a time: those of all would not fit everywhere.
    for experiment in record::experiments_with_runs(project)? {
        let set = RunSet::survey(project, &experiment, &traces)?;
        let (mut shown, mut counted) = (Vec::new(), Vec::new());
        let mut show = |sealed: SealedRun| {
            let (run, evaluates) = (sealed.open.run.clone(), sealed.open.evaluates.as_ref().map(|of| of.run.clone()));
            match RunAnalysis::of(sealed) {
                Ok(analysis) => {
                    shown.push(Run::of(&analysis, points));
                    Some(analysis)
                }
                Err(error) => {
                    terminal::tell(&format!("without curves: {error}"));
                    shown.push(Run::unread(&experiment, &run, "failed", evaluates));
                    None
                }
            }
        };
        counted.extend(set.runs.into_iter().filter_map(&mut show));
        let mut unread = Vec::new();
        for LeftOut { run, why, seen } in set.left_out {
            let state = match (seen, &why) {
                (Seen::Sealed(sealed), _) => {
                    show(*sealed);
                    continue;
                }
                (_, Reason::Gone(_)) => continue,
                (_, Reason::OtherVersion(_)) => "other version",
                (_, Reason::Unreadable(_)) => "changed",
                _ if !project.run(&experiment, &run).is_dir() => continue,
                _ => "open",
            };
            if state != "open" {
                terminal::tell(&format!("without curves: {why}"));
            }
            let evaluates = record::evaluates(&project.run(&experiment, &run));
            unread.push(Run::unread(&experiment, &run, state, evaluates));
        }
        shown.extend(unread);
        shown.sort_by(|a, b| a.run.cmp(&b.run));
        runs.extend(shown);
        let plan = (dashboard::latest_plan(&counted), dashboard::seed_noise(&counted));
        plans.insert(experiment.to_string(), plan);
    }
    let out = match &arguments.out {
        Some(out) => std::path::absolute(out).unwrap_or_else(|_| out.clone()),
        None => project.root().join("report/build/dashboard.html"),
    };
    let standing = Standing::of(workplace)?;
    let data = Data {
        format: dashboard::FORMAT,
        project: way_to_project(&out, project.root()),
        experiments: experiments(project, plans)?,
        runs,
        budget: Spending::of(&standing.limits, &standing.ledger, &standing.lines),
    };
    let page = dashboard::page(&template, &data).map_err(Failure::usage)?;
    files::write(&out, page.as_bytes())?;
    let shown = out.strip_prefix(project.root()).unwrap_or(&out).display();
    let size = page.len() as f64 / f64::from(1 << 20);
    let trained = data.runs.iter().filter(|run| run.evaluates.is_none()).count();
    terminal::say(&format!("{shown}: {trained} runs, {size:.1} MiB"));
    Ok(exit_code::SUCCESS)
}

/// What leads from the page to the project: upwards where it lies inside, else the whole path.
fn way_to_project(out: &Path, root: &Path) -> String {
    match out.strip_prefix(root) {
        Ok(inside) => "../".repeat(inside.components().count().saturating_sub(1)),
        Err(_) => format!("{}/", root.display()),
    }
}

/// What the latest plan of an experiment came to, and how far its seeds lie apart.
type Plan = (Option<LatestPlan>, Option<Found>);

/// Every experiment with what its config says, in the order of its look. A config that does not load has a name only.
fn experiments(project: &Project, mut plans: BTreeMap<String, Plan>) -> Result<Vec<Experiment>, Failure> {
    let names: Vec<ExperimentName> = record::experiments(project)?;
    let configs: Vec<_> = names.iter().map(|name| load_config(project, name).ok().map(|l| l.experiment)).collect();
    let extends = |index: usize| configs[index].as_ref().and_then(|c| c.extends.as_ref()).map(ToString::to_string);
    let lineages: Vec<Lineage> =
        names.iter().enumerate().map(|(i, n)| Lineage { name: n.to_string(), extends: extends(i) }).collect();
    let order = plot::order(&lineages);
    let notes = |name: &ExperimentName| {
        let notes = files::read_to_string(&project.experiment(name).join("notes.md"));
        notes.map_or(String::new(), |notes| notes.trim().to_owned())
    };
    let described = |(look, name): (usize, String)| {
        let index = names.iter().position(|n| n.as_str() == name).unwrap_or_default();
        let text = |of: fn(&harness_core::config::Choices) -> &String| {
            configs[index].as_ref().map_or(String::new(), |c| of(c).trim().to_owned())
        };
        let (latest_plan, seed_noise) = plans.remove(&name).unwrap_or_default();
        let notes = notes(&names[index]);
        let experiment = Experiment::new(name, text(|c| &c.title), text(|c| &c.hypothesis), extends(index), look);
        Experiment { notes, latest_plan, seed_noise, ..experiment }
    };
    Ok(order.into_iter().enumerate().map(described).collect())
}
