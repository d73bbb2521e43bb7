//! `harness evaluate`: validation and tasks on kept checkpoints of a run.

use std::path::PathBuf;

use super::run::code_of;
use super::{Outcome, Workplace, replay, terminal};
use crate::replay::{EvaluatedAgain, evaluate_again, exit_code_of};
use crate::run::{Options, Question, evaluate};
use harness_analyse::{CurvePoint, RunAnalysis};
use harness_record::{self as record, SealedRun};

/// Evaluate kept checkpoints of a run, and seal the result as a run of its own.
///
/// The validation loss and the tasks are computed on the weights of each checkpoint, so that every metric has a curve over
/// the tokens of training, even for tasks that the run did not score. The new run records the root of the earlier one.
/// The experiment's name still stands for its training runs; refer to the new run by its id.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run, its folder, or an experiment (its latest citable run).
    run: String,
    /// Evaluate the checkpoint of this step; may be repeated [default: all that are kept].
    #[arg(long = "checkpoint", value_name = "STEP")]
    checkpoints: Vec<u64>,
    /// Score these tasks instead of those in the run's config, comma-separated.
    #[arg(long, value_delimiter = ',')]
    tasks: Option<Vec<String>>,
    /// Leave out the loss on the validation text.
    #[arg(long)]
    without_validation: bool,
    /// Score the test side of the corpus (`test` under `[split]` of its recipe) with the last checkpoint, or the one named. It is
    /// opened once for a run; each opening is a run of its own and is counted.
    #[arg(long, conflicts_with_all = ["tasks", "without_validation"])]
    test_side: bool,
    /// Make the last evaluation of the run again, from its checkpoint, and compare row by row. Nothing is written. Exit codes: 0 the
    /// rows hold; 1 they do not; 3 the checkpoint or the data are not here.
    #[arg(long, conflicts_with_all = ["checkpoints", "tasks", "without_validation", "test_side", "allow_dirty", "allow_stale"])]
    verify: bool,
    /// With `--verify`: one JSON object.
    #[arg(long, requires = "verify")]
    json: bool,
    /// Evaluate even though files differ from the commit; they are recorded, but the paper cannot cite the result.
    #[arg(long)]
    allow_dirty: bool,
    /// Evaluate even though the programs were built from other sources than the commit's; the paper cannot cite the result.
    #[arg(long)]
    allow_stale: bool,
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let earlier = record::choose(&workplace.project, &arguments.run)?;
    if arguments.verify {
        let context = workplace.context(arguments.trainer.clone());
        let interrupts = terminal::count_interrupts();
        let again = evaluate_again(&context, &earlier, &interrupts, &mut terminal::Screen::new());
        terminal::stop_counting();
        return verified(&again?, arguments.json);
    }
    let question = Question {
        steps: arguments.checkpoints.clone(),
        tasks: arguments.tasks.clone(),
        without_validation: arguments.without_validation,
        test_side: arguments.test_side,
        draw: None,
    };
    let (allow_dirty, allow_stale) = (arguments.allow_dirty, arguments.allow_stale);
    let options = Options { allow_dirty, allow_stale, ..Options::default() };
    let mut screen = terminal::Screen::new();
    let context = workplace.context(arguments.trainer.clone());
    let outcome = evaluate(&context, &earlier, &question, &options, &mut screen)?;
    if let Some(failure) = &outcome.record.failure {
        let hint = failure.hint.as_ref().map_or(String::new(), |h| format!("\nhint: {h}"));
        terminal::complain(&format!("{}{hint}", failure.message));
    }
    let sealed = SealedRun::open(&workplace.project, &earlier.open.experiment, &outcome.run)?;
    terminal::say(&curves(&RunAnalysis::of(sealed)?));
    terminal::tell(&format!(
        "{}: run {} evaluates {} checkpoints of {}",
        outcome.record.status.word(),
        outcome.run,
        outcome.record.evaluations.len(),
        earlier.open.run
    ));
    if let Some(opening) = record::openings(&workplace.project)?.iter().find(|opening| opening.run == outcome.run) {
        terminal::tell(&format!(
            "this is opening {} of the test side of `{}`: what is chosen by it is no longer tested by it",
            opening.count, earlier.open.data.corpus
        ));
    }
    terminal::say(&format!("{}  {}", outcome.root, outcome.run));
    Ok(code_of(&outcome.record))
}

/// Says what came of the evaluation made again.
fn verified(again: &EvaluatedAgain, json: bool) -> Outcome {
    let exit_code = exit_code_of(again.parts.iter().map(|part| part.verdict));
    if json {
        replay::print_json(exit_code, again);
        return Ok(exit_code);
    }
    terminal::say(&format!("evaluation after step {} of run {}, root {}", again.step, again.run, again.root.short()));
    replay::print_parts(&again.parts);
    replay::print_machine(&again.trainer, &again.differences);
    Ok(exit_code)
}

/// A row for each checkpoint, a column for each metric; tasks of a group by their mean.
fn curves(analysis: &RunAnalysis) -> String {
    let grouped = |id: &str| analysis.tasks.iter().any(|task| task.id == id && task.group.is_some());
    let tasks = analysis.task_curves.iter().filter(|(id, _)| !grouped(id));
    let shares = tasks.map(|(id, curve)| (format!("{id} %"), curve, 100.0, 1));
    let documents = analysis.document_curves.iter().map(|(id, curve)| (format!("{id} bits/byte"), curve, 1.0, 3));
    let validation = ("validation bits/byte".to_owned(), &analysis.validation_curve, 1.0, 3);
    let columns: Vec<(String, &Vec<CurvePoint>, f64, usize)> =
        std::iter::once(validation).chain(documents).chain(shares).filter(|column| !column.1.is_empty()).collect();
    let header: Vec<&str> =
        ["step", "tokens"].into_iter().chain(columns.iter().map(|column| column.0.as_str())).collect();
    let row = |step: u64, tokens: u64| {
        let cell = |(_, curve, scale, digits): &(String, &Vec<CurvePoint>, f64, usize)| {
            let point = curve.iter().find(|point| point.step == step);
            point.map_or_else(|| "-".to_owned(), |point| format!("{:.digits$}", scale * point.value))
        };
        [step.to_string(), tokens.to_string()].into_iter().chain(columns.iter().map(cell)).collect()
    };
    let rows: Vec<Vec<String>> = analysis.run.record.evaluations.iter().map(|e| row(e.step, e.tokens)).collect();
    terminal::table(&header, &rows)
}
