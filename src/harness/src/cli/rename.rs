//! `harness rename`: gives an experiment another name. Its records stay as they were sealed, and go on naming the old one.

use harness_core::config::TrunkConfig;
use harness_core::files;
use harness_core::names::{ExperimentName, Project, RunId};

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_record::{self as record, load_config};

/// Give an experiment another name.
///
/// Renames its folder, and the name in `extends` of the experiments that extend it and in `trunk` of those that begin from its
/// runs. Sealed runs are not touched: an audit
/// reads the old name in them, notes it and contradicts nothing. What the paper says of the experiment is yours to change;
/// the places are listed.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The experiment.
    old: String,
    /// Its new name.
    new: String,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let (old, new): (ExperimentName, ExperimentName) = (arguments.old.parse()?, arguments.new.parse()?);
    let (from, to) = (project.experiment(&old), project.experiment(&new));
    if !from.is_dir() {
        return Err(Failure::usage(format!(
            "there is no experiment `{old}`\nhint: experiments are the folders under experiments/"
        )));
    }
    if to.exists() {
        return Err(Failure::usage(format!("there is an experiment `{new}` already\nhint: take another name")));
    }
    if let Some(run) = record::runs_of_every_kind(project, &old)?.into_iter().find(|run| is_open(project, &old, run)) {
        return Err(Failure::usage(format!(
            "run {run} of `{old}` is not sealed, and a run that goes on would lose its folder\nhint: wait for it, or \
             `harness run {old} --resume`, or `harness drop {run} --because ...`"
        )));
    }
    files::rename(&from, &to)?;
    let is_old = |trunk: &TrunkConfig| trunk.experiment == old;
    for child in record::experiments(project)? {
        let config = project.experiment(&child).join("experiment.toml");
        let text = files::read_to_string(&config)?;
        let renamed = with_parent(&text, &old, &new);
        if renamed != text {
            files::write(&config, renamed.as_bytes())?;
            terminal::tell(&format!("experiments/{child}/experiment.toml names `{new}` now"));
        }
        // However else it may be written there.
        if load_config(project, &child).is_ok_and(|child| child.experiment.trunk.as_ref().is_some_and(is_old)) {
            terminal::tell(&format!("`trunk` in experiments/{child}/experiment.toml names `{old}`: yours to change"));
        }
    }
    for place in places(project, &old)? {
        terminal::tell(&format!("{place} names `{old}`: yours to change"));
    }
    terminal::tell("hint: git add --all experiments && git commit; git sees that the files were renamed");
    terminal::say(&format!("experiments/{new}"));
    Ok(exit_code::SUCCESS)
}

/// Whether a run was neither sealed nor dropped.
fn is_open(project: &Project, experiment: &ExperimentName, run: &RunId) -> bool {
    let is_sealed = project.run(experiment, run).join(record::format::file::MANIFEST).is_file();
    !is_sealed && record::runs(project, experiment).is_ok_and(|runs| runs.contains(run))
}

/// A config with another parent or trunk, if it has this one; all else stays as it was written.
fn with_parent(text: &str, old: &ExperimentName, new: &ExperimentName) -> String {
    let mut table = String::new();
    let mut line = |line: &str| {
        if let Some(name) = line.trim_start().strip_prefix('[') {
            table = name.split(']').next().unwrap_or_default().trim().to_owned();
        }
        let quoted = ['"', '\''].map(|quote| (format!("{quote}{old}{quote}"), format!("{quote}{new}{quote}")));
        let renamed = || {
            let (key, value) = line.split_once('=')?;
            // `trunk = { experiment = "old", step = 1 }`, or its own table.
            let (before, value) = match (table.as_str(), key.trim()) {
                ("", "extends") | ("", "trunk.experiment") | ("trunk", "experiment") => ("", value),
                ("", "trunk") => {
                    let at = value.find("experiment").and_then(|at| Some(at + value[at..].find('=')? + 1))?;
                    value.split_at(at)
                }
                _ => return None,
            };
            let (old, new) = quoted.into_iter().find(|(old, _)| value.trim_start().starts_with(old.as_str()))?;
            Some(format!("{key}={before}{}", value.replacen(&old, &new, 1)))
        };
        renamed().unwrap_or_else(|| line.to_owned())
    };
    text.split_inclusive('\n').map(&mut line).collect()
}

/// Files of the paper that name an experiment in quotes, but for drafts that follow the records by themselves.
fn places(project: &Project, name: &ExperimentName) -> Result<Vec<String>, files::FileError> {
    let quoted = format!("\"{name}\"");
    let mut places = Vec::new();
    for folder in ["report", "report/sections"] {
        for file in files::list(&project.root().join(folder))? {
            let path = format!("{folder}/{file}");
            let is_text = [".typ", ".toml", ".bib"].iter().any(|ending| file.ends_with(ending));
            let text = if is_text { files::read_to_string(&project.root().join(&path))? } else { continue };
            let drafted = project.root().join(path.replacen("report/", "report/drafted/", 1));
            let is_draft = files::is_file(&drafted) && files::read_to_string(&drafted)? == text;
            if !is_draft && text.contains(&quoted) {
                places.push(path);
            }
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parent_and_the_trunk_are_renamed() {
        let rename = |text: &str| with_parent(text, &"base".parse().unwrap(), &"extends".parse().unwrap());
        assert_eq!(rename("extends = \"base\" # base\n"), "extends = \"extends\" # base\n");
        assert_eq!(rename("extends='base'\r\n"), "extends='extends'\r\n");
        for other in ["extends = \"baseline\"\n", "title = \"base\"\n", "# extends = \"base\"\n"] {
            assert_eq!(rename(other), other);
        }
    }
}
