//! `harness generate`: text that a trained model goes on to.

use std::path::PathBuf;

use harness_core::contract::SamplingRule;
use harness_record::{self as record, SealedRun};
use serde_json::json;

use super::run::code_of;
use super::{Failure, Outcome, Workplace, chosen_trainer, terminal};
use crate::exchange::{self, Generated};
use crate::exit_code;
use crate::run::{Draw, Options, Question, evaluate};

/// Let a trained model continue a text.
///
/// The same arguments give the same text on the same kind of machine; sample k does not depend on the number of samples. With `--keep`
/// the texts are sealed as a run of their own, as those of `harness evaluate` are: the paper shows them in its appendix
/// (`#samples("EXPERIMENT")`), and `harness evaluate RUN --verify` draws them again.
///
/// Exit codes: 0 done; 1 failed; 2 no such run, or an argument is out of range; 3 the checkpoint or the tokenizer is
/// missing.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run, its folder, or an experiment (its latest citable run).
    run: String,
    /// The text to continue; without it the model begins a document.
    #[arg(long, default_value = "", hide_default_value = true)]
    prompt: String,
    /// How many continuations.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    samples: u32,
    /// Maximum tokens of each; a sample ends earlier if the model ends the document.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_tokens: u32,
    /// Divides the logits: below 1 favours probable tokens, 0 always takes the most probable one.
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Sample from this many most probable tokens only; 0 means all.
    #[arg(long, default_value_t = 0)]
    top_k: u32,
    /// Sample from the fewest most probable tokens that together have this probability; 1 means all.
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Another seed gives other texts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The checkpoint after this step instead of the last one.
    #[arg(long)]
    step: Option<u64>,
    /// Seal the texts as a run of their own. The paper shows those that were kept first, so keep what you draw: none can be chosen for
    /// what it says.
    #[arg(long)]
    keep: bool,
    /// With `--keep`: even though files differ from the commit; they are recorded, but the paper cannot show the texts.
    #[arg(long, requires = "keep")]
    allow_dirty: bool,
    /// With `--keep`: even though the programs were built from other sources than the commit's; the paper cannot show the texts.
    #[arg(long, requires = "keep")]
    allow_stale: bool,
    /// Print one JSON object per line: prompt, text, tokens and their log-probabilities under the model.
    #[arg(long)]
    json: bool,
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let Arguments { temperature, top_k, top_p, .. } = *arguments;
    if !(temperature.is_finite() && temperature >= 0.0) {
        return Err(Failure::usage(format!("--temperature is {temperature}; it must be 0 or more")));
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        return Err(Failure::usage(format!("--top-p is {top_p}; it must be above 0 and at most 1")));
    }
    let sealed = record::choose(&workplace.project, &arguments.run)?;
    let draw = Draw {
        prompt: arguments.prompt.clone(),
        samples: arguments.samples,
        max_tokens: arguments.max_tokens,
        rule: SamplingRule { temperature, top_k, top_p },
        seed: arguments.seed,
    };
    if arguments.keep {
        return keep(workplace, arguments, &sealed, draw);
    }
    let trainer = chosen_trainer(arguments.trainer.clone());
    let drawn = exchange::generate(&workplace.project, &sealed, &draw, arguments.step, &trainer)?;
    print(arguments, &sealed, &drawn);
    Ok(exit_code::SUCCESS)
}

/// Draws the texts within a run that evaluates, and shows what was sealed.
fn keep(workplace: &Workplace, arguments: &Arguments, earlier: &SealedRun, draw: Draw) -> Outcome {
    let question = Question {
        steps: arguments.step.into_iter().collect(),
        tasks: Some(Vec::new()),
        without_validation: true,
        test_side: false,
        draw: Some(draw),
    };
    let (allow_dirty, allow_stale) = (arguments.allow_dirty, arguments.allow_stale);
    let options = Options { allow_dirty, allow_stale, ..Options::default() };
    let context = workplace.context(arguments.trainer.clone());
    let outcome = evaluate(&context, earlier, &question, &options, &mut terminal::Screen::new())?;
    if let Some(failure) = &outcome.record.failure {
        let hint = failure.hint.as_ref().map_or(String::new(), |h| format!("\nhint: {h}"));
        terminal::complain(&format!("{}{hint}", failure.message));
    }
    let sealed = SealedRun::open(&workplace.project, &earlier.open.experiment, &outcome.run)?;
    let kept = exchange::kept(&sealed)?;
    print(arguments, &sealed, &kept);
    let count = if kept.len() == 1 { "1 sample".to_owned() } else { format!("{} samples", kept.len()) };
    let (status, run, of) = (outcome.record.status.word(), &outcome.run, &earlier.open.run);
    terminal::tell(&format!("{status}: run {run} keeps {count} of {of}, root {}", outcome.root));
    Ok(code_of(&outcome.record))
}

fn print(arguments: &Arguments, run: &SealedRun, drawn: &[Generated]) {
    for Generated { sample, text } in drawn {
        if arguments.json {
            let line = json!({
                "run": run.open.run, "sample": sample.sample, "prompt": arguments.prompt, "text": text,
                "tokens": sample.tokens, "log_probabilities_nats": sample.log_probabilities_nats,
            });
            terminal::say_exactly(&line.to_string());
            continue;
        }
        if arguments.samples > 1 {
            terminal::say(&format!("--- {}", sample.sample));
        }
        terminal::say_exactly(&format!("{}{text}", arguments.prompt));
    }
}
