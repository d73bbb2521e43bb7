//! The figures that the sections ask for, drawn from the analyses: any kind of [`plot::Kind`], of any experiments.

use std::collections::BTreeMap;
use std::path::Path;

use harness_analyse::RunAnalysis;
use harness_analyse::slices::SliceError;
use harness_core::Digest;
use harness_core::config::Limits;
use harness_core::files;
use harness_core::names::Project;
use harness_core::parallel::on_all_cores;
use harness_figure::{Figure, Progress, Subject};
use serde::{Deserialize, Serialize};

use super::BUILD;
use super::error::ReportError;
use super::families::{Entry, Families};
use super::logbook::Logbook;
use super::model::FigureRef;
use super::plot::{self, Kind, Lineage, Options, PlotError, Shown};
use super::section::{Argument, Call, Function, Section};
use super::values::VERSION;

/// `figures.json`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Figures {
    format: u32,
    figures: Vec<ListedFigure>,
}

/// A figure of the paper, as `figures.json` lists it and `values.typ` looks for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListedFigure {
    /// What a section asks for.
    #[serde(flatten)]
    pub figure: FigureRef,
    /// Its file below `figures/`.
    pub file: String,
    /// What it is drawn from, relative to the build folder.
    #[serde(default)]
    data: String,
    /// What it shows, for who cannot see it.
    pub alt: String,
    /// The runs whose data it shows.
    pub runs: Vec<String>,
}

/// The figures of a paper, as `figures.json` beside it lists them; none if it cannot be read.
pub fn figures_of(pdf: &Path) -> Option<Vec<ListedFigure>> {
    let listed: Figures = serde_json::from_slice(&files::read(&pdf.with_file_name("figures.json")).ok()?).ok()?;
    Some(listed.figures)
}

/// A figure with the runs whose data it shows.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub figure: Figure,
    pub runs: Vec<String>,
    /// The digest of all that it was drawn from; none where that is more than runs.
    pub key: Option<Digest>,
}

/// `figures-drawn.json`: what the last figures were drawn from, so that only what changed is drawn again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LastDrawn(BTreeMap<Digest, Kept>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    file: String,
    data: String,
    /// Of the file and its data.
    sha256: [Digest; 2],
    alt: String,
    runs: Vec<String>,
}

impl LastDrawn {
    /// Where it lies, relative to the project.
    pub(super) const PATH: &str = "report/build/figures-drawn.json";

    pub(super) fn of<'d>(drawn: impl Iterator<Item = (&'d FigureRef, &'d Drawn)>) -> Self {
        let kept = |(reference, drawn): (&FigureRef, &Drawn)| {
            let Drawn { figure, runs, key } = drawn;
            let sha256 = [&figure.svg, &figure.data].map(|text| Digest::of(text.as_bytes()));
            let (file, data) = (format!("figures/{}", file_name(reference)), data_name(reference));
            Some(((*key)?, Kept { file, data, sha256, alt: figure.alt.clone(), runs: runs.clone() }))
        };
        LastDrawn(drawn.filter_map(kept).collect())
    }

    /// What can be told is empty where it cannot be read.
    fn load(project: &Project) -> Self {
        let bytes = files::read(&project.root().join(Self::PATH)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// The figure of this key, if its files are as they were written.
    fn figure(&self, project: &Project, key: Digest) -> Option<Drawn> {
        let kept = self.0.get(&key)?;
        let read = |path: &str, sha256: Digest| {
            let text = files::read_to_string(&project.root().join(BUILD).join(path)).ok()?;
            (Digest::of(text.as_bytes()) == sha256).then_some(text)
        };
        let (svg, data) = (read(&kept.file, kept.sha256[0])?, read(&kept.data, kept.sha256[1])?);
        Some(Drawn { figure: Figure { svg, alt: kept.alt.clone(), data }, runs: kept.runs.clone(), key: Some(key) })
    }
}

/// The digest of what a figure is drawn from by a program, where that is runs alone.
fn key_of(program: &str, figure: &FigureRef, kind: Kind, shown: &[Shown]) -> Option<Digest> {
    if !kind.is_of_runs_alone() {
        return None;
    }
    let of = |one: &Shown| {
        let runs = one.runs.iter().map(|run| run.run.root).chain(one.others.iter().map(|run| run.root));
        let roots: Vec<String> = runs.map(|root| root.to_string()).collect();
        format!("{:?} {}", one.subject, roots.join(" "))
    };
    let shown: Vec<String> = shown.iter().map(of).collect();
    Some(Digest::of(format!("{program}\n{figure:?}\n{}", shown.join("\n")).as_bytes()))
}

/// The file of a figure. A file system takes 255 bytes of a name, and fifty experiments have more.
pub(super) fn file_name(figure: &FigureRef) -> String {
    const LONGEST: usize = 120;
    let over = figure.over.iter().map(|axis| format!("over-{axis}"));
    let of = |experiments: &[String]| -> String {
        let kind = std::iter::once(figure.kind.clone()).chain(over.clone());
        kind.chain(experiments.iter().cloned()).collect::<Vec<_>>().join(".")
    };
    let whole = of(&figure.experiments);
    match figure.experiments.as_slice() {
        [first, others @ ..] if whole.len() > LONGEST && !others.is_empty() => {
            let digest = Digest::of(whole.as_bytes()).short();
            let first: String = first.chars().take(LONGEST / 2).collect();
            format!("{}.and-{}-more-{digest}.svg", of(&[first]), others.len())
        }
        _ => format!("{whole}.svg"),
    }
}

/// The table that a figure is drawn from, relative to the build folder.
pub(super) fn data_name(figure: &FigureRef) -> String {
    format!("figures/{}", file_name(figure).replace(".svg", ".csv"))
}

/// `figures.json` of what was drawn.
pub(super) fn listed(drawn: &BTreeMap<FigureRef, Drawn>) -> Figures {
    let list = |(figure, drawn): (&FigureRef, &Drawn)| ListedFigure {
        figure: figure.clone(),
        file: file_name(figure),
        data: data_name(figure),
        alt: drawn.figure.alt.clone(),
        runs: drawn.runs.clone(),
    };
    Figures { format: VERSION, figures: drawn.iter().map(list).collect() }
}

/// Draws what the sections ask for. All names of experiments are known by now.
pub(super) fn asked_for(
    project: &Project,
    families: &Families,
    logbook: &Logbook,
    sections: &[Section],
    program: Option<&str>,
) -> Result<BTreeMap<FigureRef, Drawn>, ReportError> {
    let looks = looks(families);
    let last = program.map(|program| (program, LastDrawn::load(project)));
    let mut wanted: BTreeMap<FigureRef, (&Section, &Call)> = BTreeMap::new();
    for section in sections {
        for call in section.calls_of(&[Function::FigureOf]) {
            let [kind, experiments @ ..] = call.arguments.as_slice() else { continue };
            let figure = FigureRef {
                kind: kind.text.clone(),
                over: call.over.as_ref().map(|axis| axis.text.clone()),
                experiments: experiments.iter().map(|e| e.text.clone()).collect(),
            };
            // What the whole project spent is nobody's alone.
            if !experiments.is_empty() || figure.kind == Kind::Spending.word() {
                wanted.entry(figure).or_insert((section, call));
            }
        }
    }
    let wanted: Vec<(FigureRef, (&Section, &Call))> = wanted.into_iter().collect();
    let drawn = on_all_cores(&wanted, |(figure, _)| draw(project, families, logbook, &looks, figure, last.as_ref()));
    let mut figures = BTreeMap::new();
    for ((figure, (section, call)), drawn) in wanted.into_iter().zip(drawn) {
        let drawn = drawn.map_err(|error| match error {
            PlotError::Slices(error @ SliceError::NotHere { .. }) => ReportError::NoText(error),
            error => refused(section, call, &call.arguments[0], &error),
        })?;
        figures.insert(figure, drawn);
    }
    Ok(figures)
}

fn draw(
    project: &Project,
    families: &Families,
    logbook: &Logbook,
    looks: &[String],
    figure: &FigureRef,
    last: Option<&(&str, LastDrawn)>,
) -> Result<Drawn, PlotError> {
    let kind: Kind = figure.kind.parse()?;
    let axis = |word: &String| {
        let found = Progress::ALL.into_iter().find(|progress| progress.word() == word);
        found.ok_or_else(|| PlotError::UnknownAxis { text: word.clone() })
    };
    let options = Options { progress: figure.over.as_ref().map(axis).transpose()? };
    let shown: Vec<Shown> =
        figure.experiments.iter().filter_map(|name| families.entry(name)).map(|e| shown(e, looks)).collect();
    let key = last.and_then(|(program, _)| key_of(program, figure, kind, &shown));
    if let Some(drawn) = key.zip(last).and_then(|(key, (_, last))| last.figure(project, key)) {
        return Ok(drawn);
    }
    if kind == Kind::Spending {
        let figure = plot::spending(&logbook.ledger, &Limits::load(project)?).described(kind.about());
        let runs = logbook.ledger.entries.iter().filter(|entry| !entry.is_probe && !entry.is_deleted);
        return Ok(Drawn { figure, runs: runs.map(|entry| entry.name.clone()).collect(), key: None });
    }
    // Trials are no runs that count, and an experiment may have nothing else.
    if let (Kind::Study, None, [name]) = (kind, &figure.over, figure.experiments.as_slice()) {
        let name = name.parse().expect("names were looked up");
        let runs = plot::runs_of_study(project, &name)?.iter().map(ToString::to_string).collect();
        return Ok(Drawn { figure: plot::study(project, &name)?, runs, key: None });
    }
    let figure = plot::plot(project, kind, &shown, options)?;
    let runs = shown.iter().flat_map(|s| &s.runs).map(|run| run.run.open.run.to_string()).collect();
    Ok(Drawn { figure, runs, key })
}

/// An axis is refused at its own place, all else at the kind.
fn refused(section: &Section, call: &Call, kind: &Argument, error: &PlotError) -> ReportError {
    let is_axis = matches!(error, PlotError::UnknownAxis { .. } | PlotError::Axis { .. });
    let argument = call.over.as_ref().filter(|_| is_axis).unwrap_or(kind);
    let text = error.to_string();
    let (problem, hint) = match text.split_once("\nhint: ") {
        Some((problem, hint)) => (problem.to_owned(), Some(hint.to_owned())),
        None => (text, None),
    };
    ReportError::Source { problem, place: Box::new(section.place(argument.offset)), hint }
}

/// Experiments in the order of their looks.
fn looks(families: &Families) -> Vec<String> {
    let lineage = |e: &Entry| {
        let extends = e.latest.run.experiment.extends.as_ref().map(ToString::to_string);
        Lineage { name: e.name().to_owned(), extends }
    };
    plot::order(&families.entries.iter().map(lineage).collect::<Vec<_>>())
}

/// An entry with the seeds of its latest plan.
fn shown<'a>(entry: &Entry<'a>, looks: &[String]) -> Shown<'a> {
    let runs = entry.seeds.clone();
    let is_other = |run: &&&RunAnalysis| runs.iter().all(|own| own.run.open.run != run.run.open.run);
    let others = entry.runs.iter().filter(is_other).map(|run| &run.run).collect();
    let look = looks.iter().position(|name| name == entry.name()).unwrap_or_default();
    Shown { subject: Subject { name: entry.name().to_owned(), look }, runs, others }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_of_many_experiments_has_a_name_that_a_file_system_takes() {
        let figure = |count: usize| FigureRef {
            kind: "budget".to_owned(),
            over: None,
            experiments: (0..count).map(|at| format!("experiment-{at}")).collect(),
        };
        assert_eq!(file_name(&figure(2)), "budget.experiment-0.experiment-1.svg");
        let [many, more] = [50, 51].map(|count| file_name(&figure(count)));
        assert!(many.starts_with("budget.experiment-0.and-49-more-") && many.len() < 200, "{many}");
        let mut other = figure(50);
        other.experiments[40] = "another".to_owned();
        assert!(many != more && many != file_name(&other), "{many}");
        assert_eq!(data_name(&figure(50)), format!("figures/{}", many.replace(".svg", ".csv")));
    }
}
