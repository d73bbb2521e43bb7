//! `harness show`: an experiment's resolved config, its model, or the numbers of its latest run.

use harness_core::config::{Experiment, flat};
use harness_core::names::ExperimentName;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::run::forecast::{Corpus, Forecast};
use crate::run::load_config;
use harness_analyse::RunAnalysis;
use harness_record::{self as record, SealedRun};

/// Show an experiment: its resolved config, its model, or the numbers of its latest citable run.
#[derive(clap::Args)]
pub struct Arguments {
    /// The experiment.
    name: String,
    /// The model's tensors with shapes and update rules, parameters, training FLOPs per token, predicted memory.
    #[arg(long)]
    model: bool,
    /// Every number of the latest citable run, by the key that the paper uses.
    #[arg(long)]
    values: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let name: ExperimentName = arguments.name.parse()?;
    let loaded = load_config(&workplace.project, &name)?;
    if arguments.values {
        return values(workplace, &name, arguments.json);
    }
    if arguments.model {
        return model(workplace, &loaded.experiment, arguments.json);
    }
    if arguments.json {
        terminal::say(&serde_json::to_string_pretty(&loaded.experiment).expect("a config is JSON"));
        return Ok(exit_code::SUCCESS);
    }
    let chain: Vec<String> = loaded.sources.iter().map(|s| s.name.to_string()).collect();
    terminal::say(&format!(
        "# {} (* stated by this experiment, all else inherited or default)",
        chain.join(" extends ")
    ));
    for (key, value) in flat(&loaded.experiment) {
        let mark = if loaded.stated.iter().any(|(stated, _)| *stated == key) { "*" } else { " " };
        terminal::say(&format!("{mark} {key} = {value}"));
    }
    Ok(exit_code::SUCCESS)
}

fn values(workplace: &Workplace, name: &ExperimentName, as_json: bool) -> Outcome {
    let Some(run): Option<SealedRun> = record::latest_citable(&workplace.project, name)? else {
        return Err(Failure::usage(format!("`{name}` has no completed, citable run\nhint: make exp NAME={name}")));
    };
    let (run_id, root) = (run.open.run.clone(), run.root);
    let analysis = RunAnalysis::of(run)?;
    if as_json {
        let text = json!({ "experiment": name, "run": run_id, "root": root, "values": analysis.values });
        terminal::say(&serde_json::to_string_pretty(&text).expect("values are JSON"));
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
    Ok(exit_code::SUCCESS)
}

fn model(workplace: &Workplace, experiment: &Experiment, as_json: bool) -> Outcome {
    let corpus = Corpus::of(&workplace.project, experiment)?;
    let vocabulary = corpus.vocabulary_size;
    let experiment = experiment.resolved(vocabulary, None).map_err(Failure::usage)?;
    let forecast = Forecast::of(&experiment, corpus, None);
    let flops = experiment.model.training_flops_per_token(vocabulary);
    let tensors = experiment.model.tensors(vocabulary);
    let rule = |name: &str, shape: &[u64]| experiment.optimizer.update_rule(&experiment.model, name, shape);
    if as_json {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(name, shape)| {
                let rule = rule(name, shape);
                json!({
                    "name": name, "shape": shape, "learning_rate_ratio": rule.learning_rate_ratio,
                    "weight_decay": rule.weight_decay,
                })
            })
            .collect();
        let text = json!({
            "vocabulary_size": vocabulary, "parameters": forecast.parameters,
            "parameters_without_embeddings": forecast.parameters_without_embeddings,
            "training_flops_per_token": flops, "training_tokens": forecast.tokens,
            "training_flops": forecast.training_flops, "tokens_per_parameter": forecast.tokens_per_parameter,
            "memory": forecast.memory, "memory_bytes": forecast.memory_bytes, "tensors": tensors,
        });
        terminal::say(&serde_json::to_string_pretty(&text).expect("plain numbers are JSON"));
        return Ok(exit_code::SUCCESS);
    }
    let rows: Vec<Vec<String>> = tensors
        .iter()
        .map(|(tensor, shape)| {
            let count: u64 = shape.iter().product();
            let rule = rule(tensor, shape);
            let shape: Vec<String> = shape.iter().map(u64::to_string).collect();
            vec![
                tensor.clone(),
                format!("({})", shape.join(", ")),
                count.to_string(),
                rule.learning_rate_ratio.to_string(),
                rule.weight_decay.to_string(),
            ]
        })
        .collect();
    terminal::say(&terminal::table(&["tensor", "shape", "parameters", "rate", "decay"], &rows));
    terminal::say(&format!(
        "{} parameters, {} without token and position embeddings; {flops:.3e} training FLOPs per token\n\
         {} training tokens ({:.1} per parameter), {:.3e} FLOPs in all\n",
        forecast.parameters,
        forecast.parameters_without_embeddings,
        forecast.tokens,
        forecast.tokens_per_parameter,
        forecast.training_flops
    ));
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let mut rows: Vec<Vec<String>> =
        forecast.memory.parts().iter().map(|(part, bytes)| vec![(*part).to_owned(), mib(*bytes)]).collect();
    rows.push(vec!["together, without libtorch itself".to_owned(), mib(forecast.memory_bytes)]);
    let passes = experiment.training.sequences_per_pass();
    terminal::say(&terminal::table(&["memory", &format!("{passes} sequences a pass")], &rows));
    Ok(exit_code::SUCCESS)
}
