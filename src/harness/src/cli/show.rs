//! `harness show`: an experiment's resolved config, its model, or the numbers of its latest run.

use harness_core::config::flat;
use harness_core::names::ExperimentName;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::analyse::RunAnalysis;
use crate::exit_code;
use crate::record::{self, SealedRun};
use crate::run::load_config;

/// Token ids of GPT-2's tokenizer, for recipes that take it over.
const GPT2_VOCABULARY_SIZE: u32 = 50_257;

/// Show an experiment: its resolved config, its model, or the numbers of its latest citable run.
#[derive(clap::Args)]
pub struct Arguments {
    /// The experiment.
    name: String,
    /// Shapes and parameters of the model, and its training FLOPs per token.
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

fn model(workplace: &Workplace, experiment: &harness_core::config::Experiment, as_json: bool) -> Outcome {
    let store = harness_corpus::Store::of(&workplace.project);
    let recipe = harness_corpus::Recipe::load(&workplace.project, &experiment.corpus)?;
    // A prepared corpus knows its vocabulary; before that the recipe says how large it may become.
    let vocabulary = match harness_corpus::PreparedCorpus::open(&store, &recipe) {
        Ok(corpus) => corpus.manifest().tokenizer.vocabulary_size,
        Err(_) => recipe.tokenizer.vocabulary_size.unwrap_or(GPT2_VOCABULARY_SIZE),
    };
    let model = &experiment.model;
    let (parameters, body) = model.parameters(vocabulary);
    let flops = model.training_flops_per_token(vocabulary);
    let sequences = experiment.training.sequences_before(experiment.training.steps);
    let tokens = sequences * u64::from(model.context_length);
    if as_json {
        let text = json!({
            "vocabulary_size": vocabulary, "parameters": parameters, "parameters_without_embeddings": body,
            "training_flops_per_token": flops, "training_tokens": tokens, "training_flops": flops * tokens as f64,
            "tokens_per_parameter": tokens as f64 / parameters as f64,
        });
        terminal::say(&serde_json::to_string_pretty(&text).expect("plain numbers are JSON"));
        return Ok(exit_code::SUCCESS);
    }
    let rows: Vec<Vec<String>> = model
        .tensors(vocabulary)
        .into_iter()
        .map(|(tensor, shape)| {
            let count: u64 = shape.iter().product();
            let shape: Vec<String> = shape.iter().map(u64::to_string).collect();
            vec![tensor, format!("({})", shape.join(", ")), count.to_string()]
        })
        .collect();
    terminal::say(&terminal::table(&["tensor", "shape", "parameters"], &rows));
    terminal::say(&format!(
        "{parameters} parameters, {body} without token and position embeddings; {flops:.3e} training FLOPs per token\n\
         {tokens} training tokens ({:.1} per parameter), {:.3e} FLOPs in all",
        tokens as f64 / parameters as f64,
        flops * tokens as f64
    ));
    Ok(exit_code::SUCCESS)
}
