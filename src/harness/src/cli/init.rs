//! `harness init`: makes the repository a project of one's own.

use harness_core::files;
use harness_core::names::ExperimentName;
use harness_core::project_file::ProjectFile;
use harness_record as record;
use serde_json::json;

use super::{Failure, Outcome, Workplace, demo, terminal};
use crate::exit_code;

/// Make this repository a project of your own: an id, and without the experiments of the demonstration if you ask.
///
/// The id goes into experiments/project.toml, and seeds that nobody chooses are derived from it; once there are runs it
/// stays as it is. The paper starts with the first `harness report`: report/ holds nothing before. Git keeps whatever is
/// removed here, but for runs that were never committed.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The id of the project [default: the name of its folder].
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: Option<String>,
    /// Remove the experiments that `harness demo` runs.
    #[arg(long)]
    drop_demo: bool,
    /// Remove their sealed runs as well; without this, an experiment that has runs is kept.
    #[arg(long, requires = "drop_demo")]
    with_runs: bool,
    /// Print what was done as JSON: `id` and the `removed` folders.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    // What is refused is refused before anything is changed.
    let dropped = if arguments.drop_demo { droppable(workplace, arguments.with_runs)? } else { Vec::new() };
    let mut removed = Vec::new();
    for name in &dropped {
        files::remove_folder(&project.experiment(name))?;
        removed.push(format!("experiments/{name}"));
    }
    let id = name_project(workplace, arguments.id.as_deref())?;
    if arguments.json {
        let done = json!({ "id": id, "removed": removed });
        terminal::say(&serde_json::to_string_pretty(&done).expect("texts are JSON"));
    } else {
        terminal::say(&format!("experiments/project.toml: id = \"{id}\""));
        removed.iter().for_each(|folder| terminal::say(&format!("removed {folder}")));
    }
    terminal::tell(
        "hint: git add --all && git commit; then write experiments/<name>/experiment.toml (docs/guide.md), `harness run \
         <name>`, and `harness report` starts your paper",
    );
    Ok(exit_code::SUCCESS)
}

/// Gives the project its id, unless runs rest on the one that it has.
fn name_project(workplace: &Workplace, asked: Option<&str>) -> Result<String, Failure> {
    let project = &workplace.project;
    let own = ProjectFile::load(project)?.id;
    let mut has_runs = false;
    for name in record::experiments(project)? {
        has_runs |= !record::runs_of_every_kind(project, &name)?.is_empty();
    }
    let folder = std::path::absolute(project.root()).ok();
    let folder = folder.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let id = match asked {
        Some(id) if has_runs && id != own => {
            return Err(Failure::usage(format!(
                "there are runs, whose seeds come from the id `{own}`, so the project cannot become `{id}`\n\
                 hint: leave --id out"
            )));
        }
        Some(id) => id.to_owned(),
        None if has_runs => return Ok(own),
        None => folder.unwrap_or_else(|| own.clone()),
    };
    if id != own {
        let path = project.project_file();
        let text = if files::is_file(&path) { files::read_to_string(&path)? } else { String::new() };
        let line = format!("id = {}\n", toml::Value::String(id.clone()));
        let is_id = |old: &str| old.split_once('=').is_some_and(|(key, _)| key.trim() == "id");
        let mut named: String =
            text.split_inclusive('\n').map(|old| if is_id(old) { line.as_str() } else { old }).collect();
        if !text.lines().any(is_id) {
            named.push_str(&line);
        }
        files::write(&path, named.as_bytes())?;
        // What was written is read back: an id that the file cannot hold is refused by its reader.
        ProjectFile::load(project)?;
    }
    Ok(id)
}

/// The experiments of the demonstration that can go, children first.
fn droppable(workplace: &Workplace, with_runs: bool) -> Result<Vec<ExperimentName>, Failure> {
    let project = &workplace.project;
    let state = workplace.git.state()?;
    let mut dropped: Vec<ExperimentName> = Vec::new();
    for name in demo::EXPERIMENTS.iter().rev() {
        let name: ExperimentName = name.parse()?;
        if !project.experiment(&name).is_dir() {
            continue;
        }
        let folder = format!("experiments/{name}/");
        if let Some(own) = state.changed.iter().chain(&state.untracked).find(|path| path.starts_with(&folder)) {
            return Err(Failure::usage(format!(
                "{own} differs from the commit, so `{name}` may be yours by now\nhint: commit it, and git keeps it"
            )));
        }
        let runs = record::runs_of_every_kind(project, &name)?.len();
        if runs > 0 && !with_runs {
            return Err(Failure::usage(format!(
                "`{name}` has {runs} {}, which would be deleted with it\nhint: add --with-runs if nobody needs them, or \
                 leave --drop-demo out",
                if runs == 1 { "run" } else { "runs" }
            )));
        }
        for child in record::experiments(project)? {
            let config = files::read_to_string(&project.experiment(&child).join("experiment.toml"))?;
            let extends = toml::from_str::<toml::Table>(&config).ok().and_then(|table| table.get("extends").cloned());
            if extends.and_then(|parent| parent.as_str().map(str::to_owned)).as_deref() == Some(name.as_str())
                && !dropped.contains(&child)
            {
                return Err(Failure::usage(format!(
                    "`{child}` extends `{name}`\nhint: let it extend an experiment of yours, or leave --drop-demo out"
                )));
            }
        }
        dropped.push(name);
    }
    Ok(dropped)
}
