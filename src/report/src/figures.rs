//! The figures that the sections ask for, drawn from the analyses: any kind of [`plot::Kind`], of any experiments.

use std::collections::BTreeMap;

use harness_core::files::{self, FileError};
use harness_core::names::Project;
use serde_json::Value as Json;

use super::error::ReportError;
use super::scan::{Argument, Section};
use super::study::{Entry, Study};
use crate::plot::{self, Kind, Lineage, Options, PlotError, Shown};
use harness_analyse::RunAnalysis;
use harness_analyse::slices::SliceError;
use harness_figure::{Figure, Progress, Subject};

/// Stands between a kind and its horizontal axis: `validation over flops`.
const OVER: &str = " over ";

/// A figure with the runs whose data it shows.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub figure: Figure,
    pub runs: Vec<String>,
}

/// The kind of a figure and its axis, as a section writes them.
pub(super) fn parse(text: &str) -> Result<(Kind, Options), PlotError> {
    let (kind, axis) = text.split_once(OVER).map_or((text, None), |(kind, axis)| (kind, Some(axis)));
    let kind: Kind = kind.parse()?;
    let Some(word) = axis else { return Ok((kind, Options::default())) };
    let progress = Progress::ALL.into_iter().find(|progress| progress.word() == word);
    progress
        .map(|progress| (kind, Options { progress: Some(progress) }))
        .ok_or_else(|| PlotError::UnknownAxis { text: word.to_owned() })
}

/// Draws what the sections ask for, by what they wrote with blanks between. All names are known by now.
pub(super) fn asked_for(
    project: &Project,
    study: &Study,
    sections: &[Section],
) -> Result<BTreeMap<String, Drawn>, ReportError> {
    let looks = looks(study);
    let mut figures = BTreeMap::new();
    for section in sections {
        for call in section.calls_of(&["figure-of"]) {
            let [kind, experiments @ ..] = call.arguments.as_slice() else { continue };
            let words: Vec<&str> = call.arguments.iter().map(|a| a.text.as_str()).collect();
            let key = words.join(" ");
            if experiments.is_empty() || figures.contains_key(&key) {
                continue;
            }
            let names: Vec<&str> = experiments.iter().map(|e| e.text.as_str()).collect();
            let drawn = draw(project, study, &looks, &kind.text, &names);
            figures.insert(key, drawn.map_err(|error| refused(section, kind, &error))?);
        }
    }
    Ok(figures)
}

fn draw(project: &Project, study: &Study, looks: &[String], kind: &str, names: &[&str]) -> Result<Drawn, PlotError> {
    let (kind, options) = parse(kind)?;
    let shown: Vec<Shown> = names.iter().filter_map(|name| study.entry(name)).map(|e| shown(e, looks)).collect();
    let figure = plot::plot(project, kind, &shown, options)?;
    let runs = shown.iter().flat_map(|s| &s.runs).map(|run| run.run.open.run.to_string()).collect();
    Ok(Drawn { figure, runs })
}

/// A figure of a paper, drawn again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrawn {
    /// As `figures.json` lists it.
    pub name: String,
    /// Its file, relative to the project.
    pub file: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// Whether a figure is what the runs give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Byte for byte.
    Same,
    /// It is not, and why.
    Differs(String),
    /// What is needed to tell is not here.
    Missing(String),
}

/// Draws each figure that `figures.json` lists again from the runs of the paper.
pub(super) fn redraw(project: &Project, study: &Study, folder: &str) -> Result<Vec<Redrawn>, FileError> {
    let text = files::read_to_string(&project.root().join(folder).join("figures.json"))?;
    let listed: Json = serde_json::from_str(&text).unwrap_or_default();
    let looks = looks(study);
    let mut out = Vec::new();
    for (name, about) in listed["figures"].as_object().into_iter().flatten() {
        let words: Vec<&str> = name.split(' ').collect();
        // `kind over axis` or `kind`, then experiments.
        let of_kind = if words.get(1) == Some(&OVER.trim()) { 3 } else { 1 };
        let (kind, names) = words.split_at(of_kind.min(words.len()));
        let file = format!("{folder}/figures/{}", about["file"].as_str().unwrap_or_default());
        let first_line =
            |error: &dyn std::fmt::Display| error.to_string().lines().next().unwrap_or_default().to_owned();
        let outcome = match names.iter().find(|n| study.entry(n).is_none()) {
            Some(unknown) => Outcome::Differs(format!("it shows `{unknown}`, which is no experiment of the paper")),
            None => match draw(project, study, &looks, &kind.join(" "), names) {
                Err(error @ PlotError::Slices(SliceError::NotHere { .. })) => Outcome::Missing(first_line(&error)),
                Err(error) => Outcome::Differs(first_line(&error)),
                Ok(drawn) => match files::read(&project.root().join(&file)) {
                    Ok(bytes) if bytes == drawn.figure.svg.as_bytes() => Outcome::Same,
                    Ok(_) => Outcome::Differs("the runs give another drawing".to_owned()),
                    Err(error) => Outcome::Missing(first_line(&error)),
                },
            },
        };
        out.push(Redrawn { name: name.clone(), file, outcome });
    }
    Ok(out)
}

fn refused(section: &Section, argument: &Argument, error: &PlotError) -> ReportError {
    let text = error.to_string();
    let (problem, hint) = match text.split_once("\nhint: ") {
        Some((problem, hint)) => (problem.to_owned(), Some(hint.to_owned())),
        None => (text, None),
    };
    ReportError::Source { problem, place: Box::new(section.place(argument)), hint }
}

/// Experiments in the order of their looks.
fn looks(study: &Study) -> Vec<String> {
    let lineage = |e: &Entry| {
        let extends = e.quoted.run.experiment.extends.as_ref().map(ToString::to_string);
        Lineage { name: e.name().to_owned(), extends }
    };
    plot::order(&study.entries.iter().map(lineage).collect::<Vec<_>>())
}

/// An entry with the seeds of its latest plan.
fn shown<'a>(entry: &Entry<'a>, looks: &[String]) -> Shown<'a> {
    let runs = entry.of_latest_plan();
    let is_other = |run: &&&RunAnalysis| runs.iter().all(|own| own.run.open.run != run.run.open.run);
    let others = entry.runs.iter().filter(is_other).map(|run| &run.run).collect();
    let look = looks.iter().position(|name| name == entry.name()).unwrap_or_default();
    Shown { subject: Subject { name: entry.name().to_owned(), look }, runs, others }
}
