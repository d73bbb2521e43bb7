//! From analyses to figures: which kinds there are, and what of a run each of them shows.
//!
//! Comes in: experiments with their analysed runs ([`Shown`]). Goes out: a [`Figure`]. The command line and the paper
//! both ask here, so that a figure looked at on the way is the one that is printed.

mod curves;
mod differences;
mod lineage;
mod places;
mod scores;
mod spent;
mod study;
mod titles;
mod tokens;

use std::fmt;
use std::str::FromStr;

use harness_core::config::nearest;
use harness_core::names::Project;
use harness_core::scores::TableError;

use harness_analyse::slices::SliceError;
use harness_analyse::{CompareError, RunAnalysis};
use harness_figure::task_curves::Score;
use harness_figure::{Figure, Progress, Subject, parameters_loss};
use harness_record::SealedRun;
pub use harness_study::lineage::{Lineage, order};

pub use curves::progress_of_steps;
pub(crate) use spent::spending;
pub use spent::spent;
pub use study::{runs_of_study, study};
pub use titles::{headline_tasks, task_title, title_in_group, title_of_task};

/// An experiment, or a single run, as a figure shows it.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// Name and look.
    pub subject: Subject,
    /// Runs of one plan that differ in their seeds, oldest first; at least one.
    pub runs: Vec<&'a RunAnalysis>,
    /// Other sealed runs of the same experiment, which cost something too.
    pub others: Vec<&'a SealedRun>,
}

impl<'a> Shown<'a> {
    /// The run that stands for all where only one can be shown.
    fn latest(&self) -> &'a RunAnalysis {
        self.runs.last().expect("what is shown has a run")
    }

    /// Says that this run alone is shown; empty where there is no other.
    fn of_latest(&self) -> String {
        let (name, seed) = (&self.subject.name, self.latest().run.open.plan.seed);
        match self.runs.len() {
            1 => String::new(),
            seeds => format!(" Of the {seeds} seeds of {name}, only the latest, {seed}, is shown."),
        }
    }
}

/// A kind of figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Training loss over training.
    TrainingLoss,
    /// Validation bits per byte over training.
    Validation,
    /// Learning rate and gradient norm.
    Optimisation,
    /// Tokens per second.
    Throughput,
    /// Norms by part of the model over steps.
    TensorNorms,
    /// Activations by place in the model over steps.
    Activations,
    /// Final accuracy on each task.
    Tasks,
    /// Accuracy on each task over training.
    TaskCurves,
    /// Bits per byte of the right answers of each task over training.
    LikelihoodCurves,
    /// Effects on the headline metrics, with intervals.
    Forest,
    /// Effects on every task.
    Delta,
    /// Accuracy by linguistic phenomenon, or what a change did to it.
    Phenomena,
    /// Loss by slices of the held-out text, or what a change did to it.
    Slices,
    /// Whether probabilities are what they claim to be.
    Calibration,
    /// Bits per byte by size of the model.
    ParametersLoss,
    /// What the runs cost.
    Budget,
    /// What was spent as the days went by.
    Spending,
    /// Lengths of documents.
    Lengths,
    /// What each stage of the corpus leaves.
    Funnel,
    /// Experiments under what they extend, with effects.
    Tree,
    /// Runs of small sizes, and what they predict.
    Ladder,
    /// The trials of a study.
    Study,
}

impl Kind {
    /// All kinds, in the order in which a study meets them.
    pub const ALL: [Kind; 22] = [
        Kind::Funnel,
        Kind::Lengths,
        Kind::TrainingLoss,
        Kind::Validation,
        Kind::Optimisation,
        Kind::Throughput,
        Kind::TensorNorms,
        Kind::Activations,
        Kind::Tasks,
        Kind::TaskCurves,
        Kind::LikelihoodCurves,
        Kind::Forest,
        Kind::Delta,
        Kind::Phenomena,
        Kind::Slices,
        Kind::Calibration,
        Kind::ParametersLoss,
        Kind::Budget,
        Kind::Spending,
        Kind::Tree,
        Kind::Ladder,
        Kind::Study,
    ];

    /// Its name, on the command line and in the paper.
    pub fn word(self) -> &'static str {
        match self {
            Kind::TrainingLoss => "training_loss",
            Kind::Validation => "validation",
            Kind::Optimisation => "optimisation",
            Kind::Throughput => "throughput",
            Kind::TensorNorms => "tensor_norms",
            Kind::Activations => "activations",
            Kind::Tasks => "tasks",
            Kind::TaskCurves => "task_curves",
            Kind::LikelihoodCurves => "likelihood_curves",
            Kind::Forest => "forest",
            Kind::Delta => "delta",
            Kind::Phenomena => "phenomena",
            Kind::Slices => "slices",
            Kind::Calibration => "calibration",
            Kind::ParametersLoss => "parameters_loss",
            Kind::Budget => "budget",
            Kind::Spending => "spending",
            Kind::Lengths => "lengths",
            Kind::Funnel => "funnel",
            Kind::Tree => "tree",
            Kind::Ladder => "ladder",
            Kind::Study => "study",
        }
    }

    /// What it shows, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Kind::TrainingLoss => "training loss over training: steps faint, moving average bold, band over seeds",
            Kind::Validation => {
                "validation bits per byte over training, with simpler models and the difference from the first name"
            }
            Kind::Optimisation => "learning rate and gradient norm before clipping over training",
            Kind::Throughput => "training tokens per second over training",
            Kind::TensorNorms => "heat maps of gradient norm and update/weight ratio by part of the model and step",
            Kind::Activations => "heat maps of residual stream, attention entropy and dead units by place and step",
            Kind::Tasks => "final accuracy on each task with its 95 % interval, and chance",
            Kind::TaskCurves => "accuracy on each task over training, one small panel per task",
            Kind::LikelihoodCurves => "bits per byte of the right answers of each task over training, likewise",
            Kind::Forest => "effects on the headline metrics relative to the first name, with 95 % intervals",
            Kind::Delta => "effect on every task relative to the first name, with 95 % intervals",
            Kind::Phenomena => "accuracy by linguistic phenomenon; for two names, the difference from the first",
            Kind::Slices => "loss by slices of the held-out text; for several names, the differences from the first",
            Kind::Calibration => "calibration: accuracy of the top-1 token by its probability",
            Kind::ParametersLoss => "validation bits per byte by parameters (by FLOPs with --x flops)",
            Kind::Budget => "hours of all runs of each experiment: training, other work, lost runs",
            Kind::Spending => "hours of the whole project over its days, by phase, and the limit of budget.toml",
            Kind::Lengths => "lengths of the documents of the corpus, by side of the split",
            Kind::Funnel => "bytes left after each stage of the corpus",
            Kind::Tree => "experiments under what they extend: effects with intervals, and what became of them",
            Kind::Ladder => "a power law through small sizes, what it predicts for the full one, and what was found",
            Kind::Study => "the trials of one study over each parameter, the best of so many, each value at its best",
        }
    }

    /// Whether it shows one run of each experiment, the latest, where others show every seed.
    fn shows_latest_seed(self) -> bool {
        matches!(self, Kind::TensorNorms | Kind::Activations | Kind::Phenomena | Kind::Slices | Kind::Calibration)
    }

    /// Whether it shows nothing but what its runs hold: neither the held-out text nor what else the project says.
    pub(crate) fn is_of_runs_alone(self) -> bool {
        let of_text = matches!(self, Kind::Phenomena | Kind::Slices | Kind::Calibration);
        let of_project = matches!(self, Kind::Spending | Kind::Tree | Kind::Ladder | Kind::Study);
        !of_text && !of_project
    }

    /// The horizontal axes that it can have; empty where there is no choice.
    pub fn axes(self) -> &'static [Progress] {
        match self {
            Kind::TrainingLoss
            | Kind::Validation
            | Kind::Optimisation
            | Kind::Throughput
            | Kind::TaskCurves
            | Kind::LikelihoodCurves => &Progress::ALL,
            Kind::ParametersLoss => &[Progress::Flops],
            _ => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = PlotError;

    fn from_str(text: &str) -> Result<Self, PlotError> {
        Kind::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| {
            let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
            let hint = match nearest(text, &words) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}", words.join(", ")),
            };
            PlotError::UnknownKind { text: text.to_owned(), hint }
        })
    }
}

/// How a figure is to be drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The horizontal axis, where the kind has a choice; its own if not said.
    pub progress: Option<Progress>,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// No such kind.
    #[error("there is no figure `{text}`\nhint: {hint}")]
    UnknownKind {
        /// As asked for.
        text: String,
        /// What there is.
        hint: String,
    },
    /// No such axis.
    #[error("there is no axis `{text}`\nhint: there are: {}", all_axes())]
    UnknownAxis {
        /// As asked for.
        text: String,
    },
    /// The runs do not have what the kind shows.
    #[error("`{kind}` has nothing to show for {names}: {why}\nhint: {hint}")]
    Nothing {
        /// The kind.
        kind: Kind,
        /// What was asked for.
        names: String,
        /// What is missing.
        why: &'static str,
        /// How to get it.
        hint: &'static str,
    },
    /// The kind has no such axis.
    #[error("`{kind}` cannot be drawn over {}\nhint: {}", progress.word(), axes_hint(*kind))]
    Axis {
        /// The kind.
        kind: Kind,
        /// The axis asked for.
        progress: Progress,
    },
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] harness_core::files::FileError),
    /// The budget cannot be read.
    #[error(transparent)]
    Config(#[from] harness_core::config::ConfigError),
    /// A table is missing or damaged.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Two experiments cannot be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// The losses of single tokens cannot be sliced.
    #[error(transparent)]
    Slices(#[from] SliceError),
    /// Experiments cannot be decided.
    #[error(transparent)]
    Study(#[from] harness_study::StudyError),
    /// A prediction cannot be read.
    #[error(transparent)]
    Ladder(#[from] harness_study::ladder::LadderError),
}

fn all_axes() -> String {
    Progress::ALL.map(Progress::word).join(", ")
}

fn axes_hint(kind: Kind) -> String {
    let words: Vec<&str> = kind.axes().iter().map(|progress| progress.word()).collect();
    if words.is_empty() { "its axes are fixed".to_owned() } else { format!("it can be: {}", words.join(", ")) }
}

/// Draws a figure of this kind. What is compared is compared with the first. The project is asked for the held-out
/// text alone, where a kind slices by it, and for its experiments and files where a kind shows what grew from what.
pub fn plot(project: &Project, kind: Kind, shown: &[Shown], options: Options) -> Result<Figure, PlotError> {
    if let Some(progress) = options.progress
        && !kind.axes().contains(&progress)
    {
        return Err(PlotError::Axis { kind, progress });
    }
    let request = Request { kind, shown };
    let progress = options.progress.unwrap_or_default();
    let mut figure = match kind {
        Kind::TrainingLoss => Ok(curves::training_loss(shown, progress)),
        Kind::Validation => curves::validation(&request, progress),
        Kind::Optimisation => Ok(curves::optimisation(shown, progress)),
        Kind::Throughput => Ok(curves::throughput(shown, progress)),
        Kind::TensorNorms => places::tensor_norms(&request),
        Kind::Activations => places::activations(&request),
        Kind::Tasks => scores::tasks(&request),
        Kind::TaskCurves => scores::task_curves(&request, Score::Accuracy, progress),
        Kind::LikelihoodCurves => scores::task_curves(&request, Score::GoldBitsPerByte, progress),
        Kind::Forest => differences::forest(&request),
        Kind::Delta => differences::delta(&request),
        Kind::Phenomena => tokens::phenomena(project, &request),
        Kind::Slices => tokens::slices_of(project, &request),
        Kind::Calibration => tokens::calibration_of(project, &request),
        Kind::ParametersLoss => {
            let size = if options.progress.is_some() { parameters_loss::Size::Flops } else { Default::default() };
            Ok(scores::parameters_loss(shown, size))
        }
        Kind::Budget => Ok(spent::budget(shown)),
        Kind::Spending => spent::over_time(project),
        Kind::Lengths => Ok(spent::lengths(shown[0].latest())),
        Kind::Funnel => Ok(spent::funnel(shown[0].latest())),
        Kind::Tree => lineage::tree_of(project, &request),
        Kind::Ladder => lineage::ladder_of(project, &request),
        Kind::Study => match shown {
            [one] => study::draw(project, &one.latest().run.open.experiment),
            _ => Err(request.nothing("there are several", "name one experiment that has a study.toml")),
        },
    }?;
    if kind.shows_latest_seed() {
        figure.alt.extend(shown.iter().map(Shown::of_latest));
    }
    Ok(figure.described(kind.about()))
}

/// What was asked for.
struct Request<'a> {
    kind: Kind,
    shown: &'a [Shown<'a>],
}

impl Request<'_> {
    fn nothing(&self, why: &'static str, hint: &'static str) -> PlotError {
        let names: Vec<String> = self.shown.iter().map(|s| format!("`{}`", s.subject.name)).collect();
        PlotError::Nothing { kind: self.kind, names: names.join(", "), why, hint }
    }
}

#[cfg(test)]
mod tests;
