//! `harness ladder`: small sizes first, and what they predict for the full one.

use harness_core::names::ExperimentName;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_record::environment::now;
use harness_study::Evidence;
use harness_study::ladder::{self, LadderError, Prediction, Rung, Score, VERSION};

/// Predict what an experiment will reach from small sizes of it, before it is run: new, fit, score.
///
/// `new` writes experiments of smaller models with tokens in proportion. When they were run, `fit` fits a power law in training
/// FLOPs and writes what it predicts for the full size, with its interval: commit that before the full size is run. `score`
/// then says whether the interval held it, and whether the prediction was registered before.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write the rungs below an experiment, each of the same shape and about a third of the next one's parameters.
    New {
        /// The experiment of the full size.
        name: String,
        /// How many rungs; from four on, what is left at any size is fitted too.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=8))]
        sizes: u8,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fit the law through the runs of the rungs, and write the prediction for the full size.
    Fit {
        /// The experiment of the full size.
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Hold the runs of the full size against the prediction.
    Score {
        /// The experiment of the full size.
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let evidence = Evidence::of(&workplace.project)?;
    match &arguments.command {
        Command::New { name, sizes, json } => {
            let name: ExperimentName = name.parse()?;
            let (rungs, written) = ladder::new(&evidence, &name, usize::from(*sizes))?;
            let answer = json!({ "format": VERSION, "rungs": rungs, "written": written });
            terminal::say_as(*json, &answer, || told_new(&name, &rungs));
        }
        Command::Fit { name, json } => {
            let prediction = ladder::fit(&evidence, &name.parse()?, &now().to_string())?;
            terminal::say_as(*json, &prediction, || told_fit(&prediction));
        }
        Command::Score { name, json } => {
            let score = ladder::score(&evidence, &workplace.git, &name.parse()?)?;
            terminal::say_as(*json, &score, || told_score(&score));
        }
    }
    Ok(exit_code::SUCCESS)
}

fn told_new(name: &ExperimentName, rungs: &[Rung]) -> String {
    let row = |rung: &Rung| {
        let numbers = [u64::from(rung.layers), u64::from(rung.width), rung.parameters, rung.steps, rung.tokens];
        [vec![rung.experiment.to_string()], numbers.map(|n| n.to_string()).to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = rungs.iter().map(row).collect();
    let table = terminal::table(&["rung", "layers", "width", "parameters", "steps", "tokens"], &rows);
    let names: Vec<String> = rungs.iter().map(|rung| rung.experiment.to_string()).collect();
    format!(
        "{table}\nhint: commit experiments/, `harness queue add {}`, then `harness ladder fit {name}`",
        names.join(" ")
    )
}

fn told_fit(prediction: &Prediction) -> String {
    let Prediction { target, metric, value, interval: [low, high], law, level, .. } = prediction;
    let given = if law.is_given { " (given)" } else { "" };
    format!(
        "{metric} = {:.4}{given} + {:.4} * (FLOPs / {:.3e})^-{:.3}, over {} runs, {} df\n\
         `{target}` at {:.3e} FLOPs: {value:.4} [{low:.4}, {high:.4}], {:.0} % interval of one run\n\
         hint: commit experiments/{target}/prediction.toml before `{target}` is run; then `harness ladder score {target}`",
        law.irreducible,
        law.reducible,
        law.scale,
        law.exponent,
        prediction.points.len(),
        law.df,
        prediction.flops,
        100.0 * (1.0 - level),
    )
}

fn told_score(score: &Score) -> String {
    let [low, high] = score.prediction.interval;
    let rows: Vec<Vec<String>> = score
        .runs
        .iter()
        .map(|run| {
            let inside = if run.inside { "inside" } else { "outside" };
            let registered = match &run.dates {
                _ if run.registered => "before the run",
                Some(doubt) if doubt.contradicts => "not by its dates",
                _ => "not before the run",
            };
            let number = format!("{:.4}", run.value);
            vec![run.run.to_string(), run.seed.to_string(), number, inside.to_owned(), registered.to_owned()]
        })
        .collect();
    let table = terminal::columns(&["run", "seed", "value", "interval", "registered"], &rows);
    let mut standing = if score.registered {
        "The prediction was registered before every run.".to_owned()
    } else {
        "It was not registered before every run, so this is a fit, not a prediction.".to_owned()
    };
    for run in &score.runs {
        standing.extend(run.dates.iter().map(|doubt| format!("\nThe commit of run {} {}.", run.run, doubt.detail)));
    }
    format!(
        "predicted {:.4} [{low:.4}, {high:.4}], found {:.4}: {:+.4} ({:+.1} %), {} of {} inside\n{table}\n{standing}",
        score.prediction.value,
        score.value,
        score.error,
        100.0 * score.relative_error,
        score.inside,
        score.runs.len(),
    )
}

impl From<LadderError> for Failure {
    fn from(error: LadderError) -> Self {
        Failure::usage(error)
    }
}
