//! `harness plan`: what a run will take, before anything is spent.

use std::path::PathBuf;

use harness_core::config::Experiment;
use harness_core::names::ExperimentName;
use serde_json::json;

use super::run::{mirror, trainer};
use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::run::forecast::{ASSUMED_UTILIZATION, Corpus, Forecast, Rate, rounded};
use crate::run::load_config;
use crate::run::processors::{GPUS, Gpu};
use crate::run::trial::{Bench, PROBE_STEPS};
use crate::watch::view::duration;

/// Predict what a run will take: memory, time, GPU hours, energy, disk, tokens per parameter, epochs.
///
/// Needs neither a GPU nor libtorch. Times are those of common GPUs by their data sheets; `--probe` measures a few
/// steps on this machine instead.
#[derive(clap::Args)]
pub struct Arguments {
    /// The experiment.
    name: String,
    /// Measure the time and memory of a few steps on this machine.
    #[arg(long, conflicts_with = "gpu")]
    probe: bool,
    /// One GPU of the table, by its name there.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(GPUS.map(|gpu| gpu.name)))]
    gpu: Option<String>,
    /// The share of a GPU's promised rate that training reaches.
    #[arg(long, value_name = "SHARE", default_value_t = ASSUMED_UTILIZATION)]
    utilization: f64,
    /// The trainer program, for --probe.
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    if !(arguments.utilization > 0.0 && arguments.utilization <= 1.0) {
        return Err(Failure::usage(format!(
            "--utilization must be above 0 and at most 1, not {}\nhint: {ASSUMED_UTILIZATION} is assumed without it",
            arguments.utilization
        )));
    }
    let name: ExperimentName = arguments.name.parse()?;
    let experiment = load_config(&workplace.project, &name)?.experiment;
    let rate = if arguments.probe { Some(measured(workplace, &name, arguments.trainer.clone())?) } else { None };
    // The probe has made the corpus ready, so its tokens are known from here on.
    let corpus = Corpus::of(&workplace.project, &experiment)?;
    let chosen: Vec<&Gpu> = match arguments.gpu.as_deref().and_then(Gpu::find) {
        Some(gpu) => vec![gpu],
        None if rate.is_some() => Vec::new(),
        None => GPUS.iter().collect(),
    };
    let sheet = |gpu: &Gpu| Rate::DataSheet { gpu: *gpu, utilization: arguments.utilization };
    let of = |rate: Option<Rate>| -> Result<Forecast, Failure> {
        let tokens_per_s = rate.as_ref().map(|rate| rate.tokens_per_s(&experiment, corpus.vocabulary_size));
        let resolved = experiment.resolved(corpus.vocabulary_size, tokens_per_s).map_err(Failure::usage)?;
        Ok(Forecast::of(&resolved, corpus, rate))
    };
    let on_gpus = chosen.iter().map(|gpu| of(Some(sheet(gpu)))).collect::<Result<Vec<_>, _>>()?;
    let main = match (&rate, on_gpus.as_slice()) {
        (None, [one]) => one.clone(),
        // A budget of time has no number of steps without a machine; the table then has a line for each.
        (None, [first, ..]) if experiment.training.steps == 0 && experiment.is_timed() => first.clone(),
        _ => of(rate)?,
    };
    if arguments.json {
        let text = json!({ "format": 1, "experiment": name, "forecast": main, "on_gpus": on_gpus });
        terminal::say(&serde_json::to_string_pretty(&text).expect("plain numbers are JSON"));
        return Ok(exit_code::SUCCESS);
    }
    show(&experiment, &main, &on_gpus);
    Ok(exit_code::SUCCESS)
}

/// Runs a few steps as they would be in the run.
fn measured(workplace: &Workplace, name: &ExperimentName, program: Option<PathBuf>) -> Result<Rate, Failure> {
    let mut screen = terminal::Screen::new();
    let bench = Bench::open(&workplace.project, name, trainer(program), mirror(), &mut screen)?;
    let interrupts = terminal::count_interrupts();
    let trial = bench.trial(PROBE_STEPS, |_| {}, &interrupts);
    terminal::stop_counting();
    Ok(trial?.rate()?)
}

fn show(experiment: &Experiment, forecast: &Forecast, on_gpus: &[Forecast]) {
    let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
    let mut rows = vec![
        vec!["parameters".to_owned(), rounded(forecast.parameters as f64), "all".to_owned()],
        vec![String::new(), rounded(forecast.parameters_without_embeddings as f64), "without embeddings".to_owned()],
        vec!["training".to_owned(), rounded(forecast.tokens as f64), format!("tokens in {} steps", forecast.steps)],
        vec![String::new(), format!("{:.2e}", forecast.training_flops), "FLOPs".to_owned()],
        vec![
            "tokens per parameter".to_owned(),
            format!("{:.1}", forecast.tokens_per_parameter),
            format!("{} would be compute-optimal (Hoffmann et al. 2022)", forecast.optimal_tokens_per_parameter),
        ],
    ];
    rows.push(match forecast.epochs {
        Some(epochs) => vec!["epochs".to_owned(), format!("{epochs:.2}"), "passes over the training text".to_owned()],
        None => vec!["epochs".to_owned(), "?".to_owned(), "the corpus is not prepared yet".to_owned()],
    });
    for (part, bytes) in forecast.memory.parts() {
        rows.push(vec![format!("memory: {part}"), mib(bytes), String::new()]);
    }
    rows.push(vec!["memory, together".to_owned(), mib(forecast.memory_bytes), "and libtorch itself".to_owned()]);
    if let Some(Rate::Probe { peak_memory_bytes, device, .. }) = &forecast.rate {
        rows.push(vec![
            "memory, measured".to_owned(),
            mib(*peak_memory_bytes),
            format!("on {device}, libtorch with it"),
        ]);
    }
    rows.push(vec![
        "disk".to_owned(),
        mib(forecast.disk_bytes),
        format!("{} checkpoints of {}", forecast.checkpoints, mib(forecast.checkpoint_bytes)),
    ]);
    if let (Some(Rate::Probe { device, .. }), Some(rate), Some(time_s)) =
        (&forecast.rate, forecast.tokens_per_s, forecast.time_s)
    {
        let of_what = format!("at {} tokens/s, measured on {device}", rounded(rate));
        rows.push(vec!["time".to_owned(), duration(time_s), of_what]);
        if let Some(energy_kwh) = forecast.energy_kwh {
            rows.push(vec!["energy".to_owned(), format!("{energy_kwh:.2} kWh"), "of the GPU, as measured".to_owned()]);
        }
    }
    terminal::say(&terminal::table(&["", "", ""], &rows));
    if !on_gpus.is_empty() {
        terminal::say(&format!("\nOn GPUs, at an assumed {}:", utilization(on_gpus)));
        let rows: Vec<Vec<String>> = on_gpus.iter().filter_map(gpu_row).collect();
        terminal::say(&terminal::table(
            &["gpu", "steps", "time", "GPU hours", "kWh at most", "memory", "source"],
            &rows,
        ));
    }
    for remark in forecast.remarks(experiment.training.precision) {
        terminal::say(&format!("\nnote: {remark}"));
    }
}

fn utilization(on_gpus: &[Forecast]) -> String {
    match &on_gpus[0].rate {
        Some(Rate::DataSheet { utilization, .. }) => format!("{:.0} % of the promised rate", 100.0 * utilization),
        _ => "rate".to_owned(),
    }
}

fn gpu_row(forecast: &Forecast) -> Option<Vec<String>> {
    let Some(Rate::DataSheet { gpu, .. }) = &forecast.rate else { return None };
    Some(vec![
        gpu.name.to_owned(),
        forecast.steps.to_string(),
        duration(forecast.time_s?),
        format!("{:.2}", forecast.gpu_hours?),
        format!("{:.2}", forecast.energy_kwh?),
        if forecast.fits == Some(true) { "enough" } else { "too small" }.to_owned(),
        gpu.source.to_owned(),
    ])
}
