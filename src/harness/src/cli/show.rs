//! `harness show`: an experiment's resolved config, its model, or the numbers of its latest run.

use harness_core::config::{BudgetError, Checked, Device, TensorSpec, flat};
use harness_core::contract::SelfTest;
use harness_core::memory::Memory;
use harness_core::names::ExperimentName;
use serde_json::json;

use super::{Failure, Outcome, Workplace, proposal, terminal};
use crate::exit_code;
use crate::run::forecast::Corpus;
use harness_analyse::RunAnalysis;
use harness_record::{self as record, RunSet, SealedRun, load_config};

/// Show an experiment: its resolved config, its model, or the numbers of its latest citable run.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The experiment; with `--values` also a run by its id.
    name: String,
    /// The model's tensors with shapes and update rules, parameters, training FLOPs per token, predicted memory.
    #[arg(long)]
    model: bool,
    /// Every number of the latest citable run, by the key that the paper uses, and the self-test of its evaluations.
    #[arg(long)]
    values: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let name = arguments.name.parse::<ExperimentName>();
    if arguments.values && name.is_err() {
        return values(record::choose(&workplace.project, &arguments.name)?, arguments.json);
    }
    let name = name?;
    let loaded = load_config(&workplace.project, &name)?;
    if arguments.values {
        let latest = RunSet::of(&workplace.project, &name)?.into_latest();
        let none = format!("`{name}` has no completed, citable run\nhint: `harness run {name}`");
        return values(latest.ok_or_else(|| Failure::usage(none))?, arguments.json);
    }
    if arguments.model {
        return model(workplace, &loaded.experiment, arguments.json);
    }
    if arguments.json {
        terminal::say_json(&loaded.experiment);
        return Ok(exit_code::SUCCESS);
    }
    let chain: Vec<String> = loaded.lineage().iter().map(|(name, _)| name.to_string()).collect();
    terminal::say(&format!(
        "# {} (* stated by this experiment, all else inherited or default)",
        chain.join(" extends ")
    ));
    for (key, value) in flat(&loaded.experiment) {
        let mark = if loaded.stated.iter().any(|(stated, _)| *stated == key) { "*" } else { " " };
        terminal::say(&format!("{mark} {key} = {value}"));
    }
    if let Err(wrong) = proposal::check(workplace, &loaded) {
        terminal::tell(&format!("warning: it would not be run: {}", wrong.message));
    }
    Ok(exit_code::SUCCESS)
}

fn values(run: SealedRun, as_json: bool) -> Outcome {
    let (name, run_id, root) = (run.open.experiment.clone(), run.open.run.clone(), run.root);
    let self_tests: Vec<Option<SelfTest>> = run.record.evaluations.iter().map(|e| e.self_test.clone()).collect();
    let analysis = RunAnalysis::of(run)?;
    if as_json {
        let text = json!({
            "experiment": name, "run": run_id, "root": root, "values": analysis.values, "self_tests": self_tests,
        });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    let rows: Vec<Vec<String>> = analysis
        .values
        .values()
        .map(|value| {
            let error = value.shown_standard_error().map_or(String::new(), |e| format!("± {e}"));
            vec![value.key.clone(), value.shown(), error, format!("{}", value.number)]
        })
        .collect();
    terminal::say(&terminal::table(&["key", "shown", "", "exact"], &rows));
    terminal::say(&self_test(&self_tests));
    Ok(exit_code::SUCCESS)
}

/// What the self-tests before the evaluations of a run found, at worst.
fn self_test(of_evaluations: &[Option<SelfTest>]) -> String {
    let tests: Vec<&SelfTest> = of_evaluations.iter().flatten().collect();
    if tests.is_empty() {
        return "self-test before evaluation: none in this record".to_owned();
    }
    let worst = |of: fn(&SelfTest) -> f64| tests.iter().map(|test| of(test)).fold(0.0, f64::max);
    format!(
        "self-test before {} of {} evaluations, at worst: probabilities add up to 1 within {:.1e}; later tokens change earlier \
         scores by {:.1e} nats, other sequences in the batch by {:.1e} (rounding explains up to {:.1e})",
        tests.len(),
        of_evaluations.len(),
        worst(|test| test.probability_sum_error),
        worst(|test| test.look_ahead_nats),
        worst(|test| test.batch_nats),
        worst(|test| test.batch_tolerance_nats)
    )
}

fn model(workplace: &Workplace, experiment: &Checked, as_json: bool) -> Outcome {
    let vocabulary = Corpus::of(&workplace.project, &experiment.corpus)?.vocabulary_size;
    let flops = experiment.model.training_flops_per_token(vocabulary);
    let (parameters, without_embeddings) = experiment.model.parameters(vocabulary);
    let on_gpu = experiment.training.device == Device::Cuda;
    let memory = Memory::of(&experiment.model, &experiment.optimizer, &experiment.training, vocabulary, on_gpu);
    // How many tokens a budget of time pays for is known only where the rate is.
    let tokens = match experiment.resolved(vocabulary, None) {
        Ok(resolved) => Some(resolved.training.tokens(resolved.training.steps, resolved.model.context_length)),
        Err(BudgetError::NeedsRate) => None,
        Err(error) => return Err(Failure::usage(error)),
    };
    let per_parameter = tokens.map(|tokens| tokens as f64 / parameters as f64);
    let training_flops = tokens.map(|tokens| tokens as f64 * flops);
    let tensors = experiment.model.tensors(vocabulary);
    let rule = |tensor: &TensorSpec| experiment.optimizer.update_rule(&experiment.model, tensor);
    if as_json {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|tensor| {
                let rule = rule(tensor);
                json!({
                    "name": tensor.name, "shape": tensor.shape, "learning_rate_ratio": rule.learning_rate_ratio,
                    "weight_decay": rule.weight_decay,
                })
            })
            .collect();
        let text = json!({
            "vocabulary_size": vocabulary, "parameters": parameters,
            "parameters_without_embeddings": without_embeddings,
            "training_flops_per_token": flops, "training_tokens": tokens,
            "training_flops": training_flops, "tokens_per_parameter": per_parameter,
            "memory": memory, "memory_bytes": memory.total_bytes(), "tensors": tensors,
        });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    let rows: Vec<Vec<String>> = tensors
        .iter()
        .map(|tensor| {
            let rule = rule(tensor);
            let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
            vec![
                tensor.name.clone(),
                format!("({})", shape.join(", ")),
                tensor.parameters().to_string(),
                rule.learning_rate_ratio.to_string(),
                rule.weight_decay.to_string(),
            ]
        })
        .collect();
    terminal::say(&terminal::table(&["tensor", "shape", "parameters", "rate", "decay"], &rows));
    terminal::say(&format!(
        "{parameters} parameters, {without_embeddings} without token and position embeddings; {flops:.3e} training FLOPs per \
         token"
    ));
    terminal::say(&match (tokens, per_parameter, training_flops) {
        (Some(tokens), Some(ratio), Some(flops)) => {
            format!("{tokens} training tokens ({ratio:.1} per parameter), {flops:.3e} FLOPs in total\n")
        }
        _ => "as many training tokens as the time budget allows\n".to_owned(),
    });
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let mut rows: Vec<Vec<String>> =
        memory.parts().iter().map(|(part, bytes)| vec![(*part).to_owned(), mib(*bytes)]).collect();
    rows.push(vec!["total, without libtorch itself".to_owned(), mib(memory.total_bytes())]);
    let passes = experiment.training.sequences_per_pass();
    terminal::say(&terminal::table(&["memory", &format!("{passes} sequences per pass")], &rows));
    Ok(exit_code::SUCCESS)
}
