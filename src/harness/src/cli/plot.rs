//! `harness plot`: one figure of any kind, as SVG or PNG.

use std::path::{Path, PathBuf};

use harness_core::files;
use harness_core::names::Project;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::Side;
use harness_figure::{Figure, Progress, Subject, png};
use harness_record::{LeftOut, RunSet};
use harness_report::plot::{self, Kind, Lineage, Options, PlotError, Shown};

/// The font of the figures, where `make setup` puts it.
const FONT: &str = "fonts/texgyretermes-regular.otf";
/// Where figures go that are given no other place, relative to the project.
const FOLDER: &str = "report/build/plots";

/// Draw a figure of experiments or runs, as in the paper: harness plot validation baseline rotary --x flops
///
/// A name is an experiment (every seed of its latest plan: mean line and band) or a single run. Kinds that compare
/// take the first name as the reference; `study` takes the one experiment whose study.toml it shows. Without names every experiment
/// with a citable run is drawn. An experiment looks the same in every
/// figure. In the paper: #figure-of("validation", "baseline", "rotary", over: "flops", caption: [...]).
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The kind of figure; --list names them.
    #[arg(required_unless_present = "list", value_name = "KIND")]
    kind: Option<Kind>,
    /// Experiments or runs, the reference first.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The horizontal axis, where the kind has a choice.
    #[arg(long, value_name = "AXIS", value_enum)]
    x: Option<Axis>,
    /// The file to write, `.svg` or `.png` [default: a file in report/build/plots].
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The format, if the file name does not give it.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// List the kinds of figures.
    #[arg(long, conflicts_with_all = ["kind", "names", "out"])]
    list: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Axis {
    /// Optimizer steps.
    Steps,
    /// Training tokens, unless another axis is chosen.
    Tokens,
    /// Training FLOPs.
    Flops,
    /// Time in training.
    WallTime,
}

impl From<Axis> for Progress {
    fn from(axis: Axis) -> Progress {
        match axis {
            Axis::Steps => Progress::Steps,
            Axis::Tokens => Progress::Tokens,
            Axis::Flops => Progress::Flops,
            Axis::WallTime => Progress::WallTime,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Vector graphics, for papers.
    Svg,
    /// 300 pixels to the inch, for slides and web pages.
    Png,
}

impl Format {
    fn ending(self) -> &'static str {
        match self {
            Format::Svg => "svg",
            Format::Png => "png",
        }
    }
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let Some(kind) = arguments.kind else {
        let axes = |kind: &Kind| kind.axes().iter().map(|axis| axis.word()).collect::<Vec<_>>().join(", ");
        let row = |kind: &Kind| vec![kind.word().to_owned(), axes(kind), kind.about().to_owned()];
        let rows: Vec<Vec<String>> = Kind::ALL.iter().map(row).collect();
        terminal::say(&terminal::columns(&["kind", "--x", "what it shows"], &rows));
        return Ok(exit_code::SUCCESS);
    };
    let project = &workplace.project;
    if kind == Kind::Study {
        return study(arguments, project);
    }
    let sets = RunSet::of_all(project)?;
    let looks = looks(&sets);
    let names = if arguments.names.is_empty() { looks.clone() } else { arguments.names.clone() };
    if names.is_empty() {
        return Err(Failure::usage("no experiment has a citable run yet\nhint: `harness run EXPERIMENT` makes one"));
    }
    let (format, path) = destination(arguments, kind, &names, project)?;
    let side = |name: &String| match sets.iter().find(|set| set.name == *name) {
        Some(set) => Side::of(project, set.clone()),
        None => Side::open(project, name),
    };
    let sides = names.iter().map(side).collect::<Result<Vec<_>, _>>()?;
    sides.iter().flat_map(|side| &side.notes).for_each(|note| terminal::tell(&format!("note: {note}")));
    let subjects = subjects(&sides, &looks);
    let shown: Vec<Shown> = sides
        .iter()
        .zip(subjects)
        .map(|(side, subject)| Shown {
            subject,
            runs: side.runs.iter().collect(),
            others: side.left_out.iter().filter_map(LeftOut::sealed).collect(),
        })
        .collect();
    let figure = plot::plot(project, kind, &shown, Options { progress: arguments.x.map(Into::into) })?;
    write(project, &figure, format, &path)
}

/// The trials of a study, which are no runs that count.
fn study(arguments: &Arguments, project: &Project) -> Outcome {
    let [name] = &arguments.names[..] else {
        return Err(Failure::usage(
            "`study` shows the trials of one study\nhint: `harness plot study NAME`, an experiment that has a study.toml",
        ));
    };
    if let Some(axis) = arguments.x {
        return Err(PlotError::Axis { kind: Kind::Study, progress: axis.into() }.into());
    }
    let (format, path) = destination(arguments, Kind::Study, &arguments.names, project)?;
    write(project, &plot::study(project, &name.parse()?)?, format, &path)
}

fn write(project: &Project, figure: &Figure, format: Format, path: &Path) -> Outcome {
    let bytes = match format {
        Format::Svg => figure.svg.clone().into_bytes(),
        Format::Png => {
            let font = files::read(&project.tools().join(FONT))
                .map_err(|e| Failure::failed(format!("{e}\nhint: `make setup` installs the fonts of the figures")))?;
            png::png(figure, vec![font]).map_err(Failure::failed)?
        }
    };
    files::write(path, &bytes)?;
    terminal::say(&format!("{}\n{}", path.strip_prefix(project.root()).unwrap_or(path).display(), figure.alt));
    Ok(exit_code::SUCCESS)
}

/// Where the figure goes, and in which format: as the options say, else as the file's name does.
fn destination(
    arguments: &Arguments,
    kind: Kind,
    names: &[String],
    project: &Project,
) -> Result<(Format, PathBuf), Failure> {
    let Some(out) = &arguments.out else {
        let format = arguments.format.unwrap_or(Format::Svg);
        // Many names would make a file name longer than file systems take.
        let shown = if names.len() > 4 { format!("{}-experiments", names.len()) } else { names.join(".") };
        let axis = arguments.x.map_or(String::new(), |x| format!("-over-{}", Progress::from(x).word()));
        let file = format!("{kind}{axis}.{shown}.{}", format.ending());
        return Ok((format, project.root().join(FOLDER).join(file)));
    };
    let ending = out.extension().and_then(|e| e.to_str());
    let by_name = [Format::Svg, Format::Png].into_iter().find(|f| ending == Some(f.ending()));
    match (arguments.format, by_name) {
        (Some(format), Some(other)) if format != other => Err(Failure::usage(format!(
            "`{}` does not end in .{}, the format asked for\nhint: leave out --format, or end the name in .{}",
            out.display(),
            format.ending(),
            format.ending()
        ))),
        (Some(format), _) | (None, Some(format)) => Ok((format, absolute(out))),
        (None, None) => Err(Failure::usage(format!(
            "the name `{}` does not give the format\nhint: end it in .svg or .png, or add --format",
            out.display()
        ))),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The experiments with a run that counts, which are those of the paper, in the order of their looks.
fn looks(sets: &[RunSet]) -> Vec<String> {
    let lineage = |set: &RunSet| {
        let extends = set.latest()?.experiment.extends.as_ref().map(ToString::to_string);
        Some(Lineage { name: set.name.clone(), extends })
    };
    plot::order(&sets.iter().filter_map(lineage).collect::<Vec<_>>())
}

/// Names and looks. A single run has the look of its experiment, unless that is taken in this figure.
fn subjects(sides: &[Side], looks: &[String]) -> Vec<Subject> {
    let mut taken: Vec<usize> = Vec::new();
    let mut subjects = Vec::new();
    for side in sides {
        let run = &side.runs[0].run;
        let experiment = run.open.experiment.as_str();
        let own = looks.iter().position(|name| name == experiment).unwrap_or(looks.len());
        let free = || (looks.len()..).find(|look| !taken.contains(look)).unwrap_or_default();
        let look = if taken.contains(&own) { free() } else { own };
        taken.push(look);
        let single = side.name == run.open.run.as_str();
        let name = if single { format!("{experiment} {}", run.open.run) } else { side.name.clone() };
        subjects.push(Subject { name, look });
    }
    subjects
}

impl From<PlotError> for Failure {
    fn from(error: PlotError) -> Self {
        use PlotError as E;
        match error {
            E::Compare(error) => error.into(),
            E::Slices(error) => error.into(),
            E::Table(error) => Failure::failed(error),
            error => Failure::usage(error),
        }
    }
}
