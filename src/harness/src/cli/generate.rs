//! `harness generate`: text that a trained model goes on to.

use std::path::PathBuf;

use harness_core::contract::SamplingRule;
use serde_json::json;

use super::{Failure, Outcome, Workplace, chosen_trainer, terminal};
use crate::exchange::{self, Wish};
use crate::exit_code;
use harness_record as record;

/// Let a trained model continue a text.
///
/// The same arguments give the same text on the same kind of machine; sample k does not depend on the number of samples.
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
    let wish = Wish {
        prompt: &arguments.prompt,
        samples: arguments.samples,
        tokens: arguments.max_tokens,
        rule: SamplingRule { temperature, top_k, top_p },
        seed: arguments.seed,
        step: arguments.step,
    };
    let trainer = chosen_trainer(arguments.trainer.clone());
    for generated in exchange::generate(&workplace.project, &sealed, &wish, &trainer)? {
        let sample = &generated.sample;
        if arguments.json {
            let line = json!({
                "run": sealed.open.run, "sample": sample.sample, "prompt": arguments.prompt, "text": generated.text,
                "tokens": sample.tokens, "log_probabilities_nats": sample.log_probabilities_nats,
            });
            terminal::say(&line.to_string());
            continue;
        }
        if arguments.samples > 1 {
            terminal::say(&format!("--- {}", sample.sample));
        }
        terminal::say(&format!("{}{}", arguments.prompt, generated.text));
    }
    Ok(exit_code::SUCCESS)
}
