//! `harness demo`: the whole loop of a study on the built-in corpus, by the commands that a student types.

use clap::Parser;
use harness_analyse::{AgainstChance, Side};
use harness_core::files;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;

/// The whole loop of a study in minutes: baseline, proposal, decision, a paper with a refused claim, audit.
///
/// Each step is a command, shown as it would be typed, with what it is for. Runs that are there count, so a second call makes
/// none. Nothing is written but run folders, report/build and prepared data.
#[derive(clap::Args)]
pub(super) struct Arguments {}

/// What the demonstration runs, the experiment first that the other extends.
const EXPERIMENTS: [&str; 2] = ["baseline", "rotary"];

pub(super) fn execute(workplace: &Workplace, _: &Arguments) -> Outcome {
    let root = workplace.project.root();
    for name in EXPERIMENTS {
        if !files::is_file(&workplace.project.experiment(&name.parse()?).join("experiment.toml")) {
            return Err(Failure::usage(format!(
                "the demonstration runs the experiment `{name}`, which is not there\nhint: run it in a clone of harness itself"
            )));
        }
    }
    // The paths that are typed begin there.
    std::env::set_current_dir(root)
        .map_err(|error| Failure::failed(format!("could not change to `{}`: {error}", root.display())))?;
    terminal::tell("A study in miniature, in seven steps: about three minutes on two idle cores.");

    tell(
        "1/7 Baseline",
        "A small GPT-2 learns a made-up language, three times. The runs differ in their seed alone, so what they differ by is noise:\n\
         a change has to do more than that.",
    );
    typed("seeds baseline --seeds 3")?;
    gate(workplace)?;

    tell(
        "2/7 Analysis",
        "A checklist goes over the curves of the latest run. What is FOUND proves nothing: it is a start for a hypothesis.",
    );
    typed("diagnose baseline")?;

    tell(
        "3/7 Proposal",
        "One change, and what it is expected to do, committed before its first run. This is experiments/rotary/experiment.toml,\n\
         as `harness propose rotary --over baseline --because context_unused` wrote it:\n",
    );
    terminal::say_exactly(files::read_to_string(&root.join("experiments/rotary/experiment.toml"))?.trim_end());

    tell(
        "4/7 Runs of the proposal",
        "They take the seeds of the baseline. A seed's first weights and order of the text are then the same on both sides, and cancel.",
    );
    typed("seeds rotary")?;

    tell(
        "5/7 Decision",
        "By the rule that was registered with the proposal: a verdict on the hypothesis, an advice on the change. Nothing is kept here;\n\
         `harness adopt rotary --over baseline` writes a decision down, to be committed.",
    );
    typed("decide rotary")?;

    tell(
        "6/7 Paper",
        "The text is drafted from the records, and every number is bound to its runs. A section of our own makes two claims. What no\n\
         test carries is refused, with the reason, and with what can be said instead:",
    );
    // If it is refused for another reason, the next paper is too.
    match typed("report baseline rotary --draft --section experiments/rotary/65-claims-too-bold.typ") {
        Ok(()) => terminal::tell("Here, the tests carry both."),
        Err(refused) => terminal::complain(&refused.message),
    }
    terminal::tell(
        "\nSo the section says that instead, beside the claim that holds; what was refused is told there too:",
    );
    typed("report baseline rotary --draft --section experiments/rotary/65-claims.typ")?;

    tell(
        "7/7 Audit",
        "Every number of the paper is followed back to its runs, their commit and data, and the paper is set again. Then one stretch\n\
         of the training, drawn by lot, is computed again and held against the record, bit for bit.",
    );
    typed("audit report/build/paper.pdf")?;
    typed("replay rotary")?;

    terminal::tell(
        "\nNext: look at report/build/paper.pdf. Then docs/tour.md takes ten minutes to a decision of your own, and `make init DIR=../NAME`\n\
         begins a project of your own.",
    );
    Ok(exit_code::SUCCESS)
}

/// Says what the next step is for.
fn tell(title: &str, what_for: &str) {
    terminal::tell(&format!("\n{title}\n{what_for}"));
}

/// Shows a command and runs it.
fn typed(command: &str) -> Result<(), Failure> {
    terminal::tell(&format!("\n$ harness {command}"));
    let arguments = super::Arguments::try_parse_from(["harness"].into_iter().chain(command.split(' ')));
    match super::execute(arguments.expect("the demonstration types what there is"))? {
        exit_code::SUCCESS => Ok(()),
        code => Err(Failure {
            message: format!("the demonstration ended at `harness {command}`\nhint: `harness demo` goes on from there"),
            exit_code: code,
        }),
    }
}

/// The gate that every baseline has to pass before anything is compared with it (docs/guide.md): with each seed clearly better
/// than a unigram model, and above chance on each task.
fn gate(workplace: &Workplace) -> Result<(), Failure> {
    let [name, _] = EXPERIMENTS;
    let side = Side::open(&workplace.project, name)?;
    terminal::tell("\nBefore anything is compared with it, it has to have learned something:");
    let mut failed = Vec::new();
    for analysis in &side.runs {
        let number = |key: &str| analysis.values.get(key).map_or(f64::INFINITY, |value| value.number);
        let (bits, unigram) = (number("validation.bits_per_byte"), number("data.unigram_bits_per_byte"));
        let seed = analysis.run.open.plan.seed;
        let mut line = format!("seed {seed}: {bits:.3} bits per byte, a unigram model needs {unigram:.3}");
        if bits.is_nan() || bits > 0.8 * unigram {
            failed.push(format!("with seed {seed} it is not clearly better than a unigram model"));
        }
        let ungrouped = analysis.tasks.iter().filter(|task| task.group.is_none());
        for task in ungrouped.chain(&analysis.groups) {
            line += &format!("; {} {:.1} %", task.id, 100.0 * task.quoted_accuracy().mean);
            if task.against_chance() != Some(AgainstChance::Above) {
                let chance = 100.0 * task.chance;
                failed.push(format!("with seed {seed} it is not above chance, {chance:.1} %, on {}", task.id));
            }
        }
        terminal::say(&line);
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::failed(format!("{name} learned too little: {}", failed.join("; "))))
    }
}
