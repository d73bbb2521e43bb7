//! `harness replay`: windows of a training, computed again.

use std::env;
use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, Outcome, Workplace, terminal};
use crate::replay::{
    Part, Question, Recipe, Setting, Trainer, Verdict, Window, build_trainer, choose, exit_code_of, replay,
};
use harness_record::{self as record, SealedRun, environment};

/// What takes longer is asked for twice.
const LONG_S: f64 = 600.0;

/// Compute windows of a run's training again, with a trainer of your own, and compare them with the record bit for bit.
///
/// A window goes from one checkpoint that the record names to the next. Which windows are taken follows from the run's root and the
/// nonce, so that nobody could know before the run was sealed. On the same kind of machine losses, gradient norms and the state after
/// the last step must have the same bits; elsewhere they must be close, and what differs is named. Nothing is written into the run.
/// Exit codes: 0 it holds; 1 a contradiction; 2 usage; 3 a window could not be computed here.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run, its folder, or an experiment (its latest citable run).
    run: String,
    /// How many windows.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    windows: u32,
    /// A text or number of your own, by which the windows are drawn [default: drawn now, and told].
    #[arg(long, value_name = "TEXT")]
    nonce: Option<String>,
    /// Compute with so many threads instead of the record's: other last bits, but faster.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,
    /// Do it however long it takes.
    #[arg(long)]
    yes: bool,
    /// Build the trainer from the run's commit; cargo then runs what that commit says.
    #[arg(long, conflicts_with = "trainer")]
    build: bool,
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let run = record::choose(&workplace.project, &arguments.run)?;
    let nonce = arguments.nonce.clone().unwrap_or_else(|| format!("{:08x}", environment::entropy()));
    let question = Question { windows: arguments.windows as usize, nonce, threads: arguments.threads };
    let trainer = if arguments.build { Some(built(workplace, &run)?) } else { arguments.trainer.clone() };
    let context = workplace.context(trainer);
    let chosen = choose(&context, &run, &question)?;
    check_cost(chosen.seconds, arguments.yes)?;
    if !arguments.json {
        let took = chosen.seconds.map_or(String::new(), |seconds| format!(", which took {seconds:.0} s when they ran"));
        terminal::tell(&format!(
            "{} of {} windows by nonce {}: {} steps to compute{took}",
            chosen.windows.len(),
            chosen.of,
            question.nonce,
            chosen.steps
        ));
    }
    let interrupts = terminal::count_interrupts();
    let replayed = replay(&context, &run, &question, &chosen, &interrupts, &mut terminal::Screen::new());
    terminal::stop_counting();
    let replayed = replayed?;
    let exit_code = exit_code_of(replayed.windows.iter().map(|window| window.verdict));
    if arguments.json {
        print_json(exit_code, &replayed);
        return Ok(exit_code);
    }
    terminal::say(&format!("run {}, root {}, nonce {}", replayed.run, replayed.root.short(), replayed.nonce));
    for window in &replayed.windows {
        let Window { from, to, begun_from, verdict, detail, .. } = window;
        let begun = match begun_from {
            Some(begun) if begun < from => format!(" (computed from step {begun})"),
            _ => String::new(),
        };
        terminal::say(&format!("  {} steps {} to {to}{begun}: {detail}", word(*verdict), from + 1));
    }
    print_machine(&replayed.trainer, &replayed.differences);
    let others = replayed.of - replayed.windows.len();
    if others > 0 {
        terminal::say(&format!("not computed: {others} other windows; another nonce draws others"));
    }
    Ok(exit_code)
}

/// The trainer of the run's commit, built as the one that ran was.
pub(super) fn built(workplace: &Workplace, run: &SealedRun) -> Result<PathBuf, Failure> {
    let set = |name: &str| env::var_os(name).filter(|set| !set.is_empty()).map(PathBuf::from);
    let about = run.record.started.as_ref().map(|started| &started.about);
    let recipe = Recipe {
        commit: &run.open.code.commit,
        libtorch: set("LIBTORCH").unwrap_or_else(|| workplace.project.tools().join("libtorch/torch")),
        // Cargo takes a relative one from where it is called.
        target: match (set("CARGO_TARGET_DIR"), env::current_dir()) {
            (Some(target), Ok(here)) => here.join(target),
            _ => workplace.project.home().join("target"),
        },
        is_optimized: about.is_some_and(|about| about.build_profile == "release"),
    };
    terminal::tell("building the trainer of the run's commit; the first time this takes minutes");
    Ok(build_trainer(&workplace.project, &workplace.git, &recipe)?)
}

/// Refuses what takes long unless it was asked for.
pub(super) fn check_cost(seconds: Option<f64>, yes: bool) -> Result<(), Failure> {
    match seconds.filter(|seconds| *seconds > LONG_S && !yes) {
        None => Ok(()),
        Some(seconds) => Err(Failure::usage(format!(
            "this took {:.1} hours when it ran, and will take about as long again\nhint: pass --yes to do it all the same",
            seconds / 3600.0
        ))),
    }
}

pub(super) fn print_json(exit_code: u8, found: &impl Serialize) {
    let mut report = serde_json::json!({ "format": 1, "exit_code": exit_code });
    let found = serde_json::to_value(found).expect("plain structs are JSON");
    if let (Some(report), serde_json::Value::Object(fields)) = (report.as_object_mut(), found) {
        report.extend(fields);
    }
    terminal::say_json(&report);
}

pub(super) fn print_parts(parts: &[Part]) {
    // A run has dozens of files of scores.
    let (scores, others): (Vec<&Part>, Vec<&Part>) =
        parts.iter().partition(|part| part.verdict == Verdict::Identical && part.what.starts_with("evaluations/"));
    if !scores.is_empty() {
        let count = scores.len();
        terminal::say(&format!("  holds evaluations: every row of {count} files is the same to the bit"));
    }
    for part in others {
        terminal::say(&format!("  {} {}: {}", word(part.verdict), part.what, part.detail));
    }
}

/// The trainer, and what of the machine is not as it was.
pub(super) fn print_machine(trainer: &Trainer, differences: &[Setting]) {
    terminal::say(&trainer.sentence());
    for setting in differences {
        terminal::say(&format!("differs: {setting}"));
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Identical => "holds",
        Verdict::Close => "close",
        Verdict::Differs => "CONTRADICTION",
        Verdict::NotDone => "not computed",
    }
}
