//! `harness dashboard`: all experiments on one page.

use std::path::{Path, PathBuf};

use harness_core::files;
use harness_core::names::{ExperimentName, Project};

use super::{Failure, Outcome, Workplace, terminal};
use crate::analyse::RunAnalysis;
use crate::dashboard::{self, Data, Experiment, Run};
use crate::exit_code;
use crate::plot::{self, Lineage};
use crate::record::{self, RecordError, SealedRun};
use crate::run::load_config;

/// Write one HTML file over all experiments: table of runs, lineage, curves, tasks, diagnoses.
///
/// The file needs no server and no network: open it from disk, or send it. Curves of long runs are thinned, and the page
/// says so; the numbers of its table are exact.
#[derive(clap::Args)]
pub struct Arguments {
    /// The file to write, relative to the current folder; without it report/build/dashboard.html.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let template = files::read_to_string(&project.templates().join("dashboard.html"))?;
    let all = record::all_runs(project)?;
    let points = dashboard::points_for(all.len());
    let mut runs = Vec::new();
    for (experiment, run) in &all {
        let shown = match SealedRun::open(project, experiment, run) {
            Ok(sealed) => match RunAnalysis::of(sealed) {
                Ok(analysis) => Run::of(&analysis, points),
                Err(error) => {
                    terminal::tell(&format!("without curves: run {run} of {experiment}: {error}"));
                    Run::unread(experiment, run, "failed")
                }
            },
            Err(RecordError::NotSealed { .. }) => Run::unread(experiment, run, "open"),
            Err(error) => {
                terminal::tell(&format!("without curves: run {run} of {experiment}: {error}"));
                Run::unread(experiment, run, "changed")
            }
        };
        runs.push(shown);
    }
    let out = match &arguments.out {
        Some(out) => std::path::absolute(out).unwrap_or_else(|_| out.clone()),
        None => project.root().join("report/build/dashboard.html"),
    };
    let data = Data {
        format: dashboard::FORMAT,
        project: way_to_project(&out, project.root()),
        experiments: experiments(project)?,
        runs,
    };
    let page = dashboard::page(&template, &data).map_err(Failure::usage)?;
    files::write(&out, page.as_bytes())?;
    let shown = out.strip_prefix(project.root()).unwrap_or(&out).display();
    let size = page.len() as f64 / f64::from(1 << 20);
    terminal::say(&format!("{shown}: {} runs, {size:.1} MiB", data.runs.len()));
    Ok(exit_code::SUCCESS)
}

/// What leads from the page to the project: upwards where it lies inside, else the whole path.
fn way_to_project(out: &Path, root: &Path) -> String {
    match out.strip_prefix(root) {
        Ok(inside) => "../".repeat(inside.components().count().saturating_sub(1)),
        Err(_) => format!("{}/", root.display()),
    }
}

/// Every experiment with what its config says, in the order of its look. A config that does not load has a name only.
fn experiments(project: &Project) -> Result<Vec<Experiment>, Failure> {
    let names: Vec<ExperimentName> = record::experiments(project)?;
    let configs: Vec<_> = names.iter().map(|name| load_config(project, name).ok().map(|l| l.experiment)).collect();
    let extends = |index: usize| configs[index].as_ref().and_then(|c| c.extends.as_ref()).map(ToString::to_string);
    let lineages: Vec<Lineage> =
        names.iter().enumerate().map(|(i, n)| Lineage { name: n.to_string(), extends: extends(i) }).collect();
    let order = plot::order(&lineages);
    let described = |(look, name): (usize, String)| {
        let index = names.iter().position(|n| n.as_str() == name).unwrap_or_default();
        let text = |of: fn(&harness_core::config::Experiment) -> &String| {
            configs[index].as_ref().map_or(String::new(), |c| of(c).trim().to_owned())
        };
        Experiment::new(name, text(|c| &c.title), text(|c| &c.hypothesis), extends(index), look)
    };
    Ok(order.into_iter().enumerate().map(described).collect())
}
