//! `harness demo`: the main job on the built-in corpus, as a newcomer would do it by hand.

use std::path::PathBuf;

use super::{Failure, Outcome, Workplace, audit, report, run, terminal};
use crate::run::Options;
use harness_analyse::{AgainstChance, RunAnalysis};
use harness_record::RunSet;
use harness_record::format::Status;
use harness_report::Mode;

/// The whole job in minutes: corpus, the experiments `baseline` and `lr-warmup`, the paper, the audit.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
}

/// What the demonstration runs, the experiment first that the other extends.
pub(super) const EXPERIMENTS: [&str; 2] = ["baseline", "lr-warmup"];

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let context = workplace.context(arguments.trainer.clone());
    for name in EXPERIMENTS {
        terminal::tell(&format!("\n$ harness run {name}"));
        let record = run::one(&context, name, &Options::default())?;
        if record.status != Status::Completed {
            return Ok(run::code_of(&record));
        }
    }
    gate(workplace)?;
    terminal::tell("\n$ harness report --draft");
    // The demonstration leaves the project's own paper alone, and none of its own behind.
    let drafts_alone = !workplace.project.report().join("sections").exists();
    report::build(workplace, Mode::Final, drafts_alone)?;
    terminal::tell("\n$ harness audit");
    let code = audit::everything(workplace)?;
    terminal::tell(
        "\nNext: open report/build/paper.pdf; commit the run folders under experiments/*/runs; write your own\n\
         experiments/<name>/experiment.toml with `extends = \"baseline\"`; make exp NAME=<name>. `harness init` starts a\n\
         project of your own. See docs/guide.md.",
    );
    Ok(code)
}

/// The gate that every baseline has to pass before anything is compared with it (docs/guide.md): clearly better than a
/// unigram model, and above chance on each task.
fn gate(workplace: &Workplace) -> Result<(), Failure> {
    let name = EXPERIMENTS[EXPERIMENTS.len() - 1].parse()?;
    let Some(run) = RunSet::of(&workplace.project, &name)?.into_latest() else {
        terminal::tell(
            "the runs are not citable, so the paper cannot use them; commit everything, rebuild and run again",
        );
        return Ok(());
    };
    let analysis = RunAnalysis::of(run)?;
    let number = |key: &str| analysis.values.get(key).map_or(f64::INFINITY, |value| value.number);
    let (bits, unigram) = (number("validation.bits_per_byte"), number("data.unigram_bits_per_byte"));
    terminal::tell(&format!("\n{name}: {bits:.3} bits per byte, a unigram model needs {unigram:.3}"));
    let mut failed: Vec<String> = Vec::new();
    if bits.is_nan() || bits > 0.8 * unigram {
        failed.push("it is not clearly better than a unigram model".to_owned());
    }
    let ungrouped = analysis.tasks.iter().filter(|task| task.group.is_none());
    for task in ungrouped.chain(&analysis.groups) {
        let accuracy = task.quoted_accuracy();
        terminal::tell(&format!("{}: {:.1} %, chance {:.1} %", task.id, 100.0 * accuracy.mean, 100.0 * task.chance));
        if task.against_chance() != Some(AgainstChance::Above) {
            failed.push(format!("it is not above chance on {}", task.id));
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::failed(format!("{name} learned too little: {}", failed.join("; "))))
    }
}
