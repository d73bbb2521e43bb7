//! `harness plan`: what a run will take, before anything is spent.

use std::path::PathBuf;

use harness_core::config::{Checked, Cluster};
use harness_core::names::ExperimentName;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::cluster;
use crate::exit_code;
use crate::run::forecast::{ASSUMED_UTILIZATION, Corpus, Forecast, LAUNCH_S, Rate, rounded};
use crate::run::processors::{GPUS, Gpu};
use crate::run::short_run::{Bench, PROBE_STEPS};
use crate::watch::view::duration;
use harness_record::load_config;

/// Predict what a run will take: memory, time, GPU hours, energy, disk, tokens per parameter, epochs.
///
/// Needs neither a GPU nor libtorch. Times are estimated for common GPUs from their data sheets; `--probe` measures a few
/// steps on this machine instead.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The experiment.
    name: String,
    /// Measure the time and memory of a few steps on this machine.
    #[arg(long, conflicts_with = "gpu")]
    probe: bool,
    /// Only this GPU of the table.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(GPUS.map(|gpu| gpu.name)))]
    gpu: Option<String>,
    /// The share of a GPU's peak rate that training is assumed to reach.
    #[arg(long, value_name = "SHARE", default_value_t = ASSUMED_UTILIZATION)]
    utilization: f64,
    /// The trainer program, for --probe.
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
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
    let corpus = Corpus::of(&workplace.project, &experiment.corpus)?.with_tasks(&workplace.project, &experiment);
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
        (None, [first, ..]) if !experiment.has_steps() && experiment.is_timed() => first.clone(),
        _ => of(rate)?,
    };
    if arguments.json {
        let text = json!({ "format": 1, "experiment": name, "forecast": main, "on_gpus": on_gpus });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    show(&experiment, &main, &on_gpus);
    if let Some(cluster) = Cluster::load(&workplace.project)? {
        let looked_at = match cluster::asked_for(&cluster, &name, &experiment) {
            Ok(warnings) => warnings,
            Err(refusal) => vec![format!("`harness submit` refuses it: {refusal}")],
        };
        looked_at.iter().for_each(|text| terminal::tell(text));
    }
    Ok(exit_code::SUCCESS)
}

/// Runs a few steps as they would be in the run.
fn measured(workplace: &Workplace, name: &ExperimentName, program: Option<PathBuf>) -> Result<Rate, Failure> {
    let mut screen = terminal::Screen::new();
    let context = workplace.context(program);
    let bench = Bench::open(&context, name, &mut screen)?;
    let interrupts = terminal::count_interrupts();
    let short = bench.run(PROBE_STEPS, |_| {}, &interrupts);
    terminal::stop_counting();
    Ok(short?.rate()?)
}

fn show(experiment: &Checked, forecast: &Forecast, on_gpus: &[Forecast]) {
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
    rows.push(vec!["memory, total".to_owned(), mib(forecast.memory_bytes), "plus libtorch itself".to_owned()]);
    if let Some(Rate::Probe { peak_memory_bytes, device, .. }) = &forecast.rate {
        rows.push(vec![
            "memory, measured".to_owned(),
            mib(*peak_memory_bytes),
            format!("on {device}, including libtorch"),
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
        rows.push(vec![String::new(), evaluation_time(forecast), "of which evaluations".to_owned()]);
        if let Some(energy_kwh) = forecast.energy_kwh {
            rows.push(vec!["energy".to_owned(), format!("{energy_kwh:.2} kWh"), "of the GPU, as measured".to_owned()]);
        }
    }
    terminal::say(&terminal::table(&["", "", ""], &rows));
    if !on_gpus.is_empty() {
        terminal::say(&format!("\nOn GPUs, at an assumed {}:", utilization(on_gpus)));
        let rows: Vec<Vec<String>> = on_gpus.iter().filter_map(gpu_row).collect();
        terminal::say(&terminal::table(
            &["gpu", "steps", "time", "evaluations", "GPU hours", "kWh at most", "memory", "source"],
            &rows,
        ));
    }
    let mut notes = Vec::new();
    if let Some(trunk) = &experiment.trunk {
        notes.push(format!(
            "times are those from nothing: it begins from step {} of {} with a run of `{}`, and trains {} steps itself",
            trunk.step,
            forecast.steps,
            trunk.experiment,
            forecast.steps.saturating_sub(trunk.step)
        ));
    }
    if !on_gpus.is_empty() && !experiment.training.devices.is_one() {
        notes.push(
            "the times on GPUs are those of one; how much faster several are (`training.devices`) no data sheet says: `--probe` measures \
             it on the machine itself"
                .to_owned(),
        );
    }
    if forecast.validation_flops.is_none() {
        notes.push(format!(
            "the times leave out evaluations, because the corpus is not prepared: `harness data prepare {}`",
            experiment.corpus
        ));
    } else if let (None, Some(task)) = (forecast.task_flops, experiment.evaluation.tasks.first()) {
        notes.push(format!(
            "the times leave out the tasks, because their data are missing: `harness task check {task}` fetches them"
        ));
    }
    let launch_bound = on_gpus.iter().filter(|gpu| gpu.launch_bound).filter_map(|gpu| Some(sheet_of(gpu)?.name));
    let launch_bound: Vec<&str> = launch_bound.collect();
    if !launch_bound.is_empty() {
        notes.push(format!(
            "the model is small for {}: starting a kernel (an assumed {:.0} µs) takes longer than computing it, so these times \
             are rough; `--probe` measures on the machine itself",
            launch_bound.join(", "),
            1e6 * LAUNCH_S
        ));
    }
    notes.extend(forecast.remarks(experiment.training.precision));
    for note in notes {
        terminal::say(&format!("\nnote: {note}"));
    }
}

fn sheet_of(forecast: &Forecast) -> Option<&Gpu> {
    match &forecast.rate {
        Some(Rate::DataSheet { gpu, .. }) => Some(gpu),
        _ => None,
    }
}

/// The time of all evaluations; a question mark where none of it is known.
fn evaluation_time(forecast: &Forecast) -> String {
    let known = forecast.evaluation_time_s.filter(|_| forecast.validation_flops.is_some());
    known.map_or_else(|| "?".to_owned(), duration)
}

fn utilization(on_gpus: &[Forecast]) -> String {
    match &on_gpus[0].rate {
        Some(Rate::DataSheet { utilization, .. }) => format!("{:.0} % of the peak rate", 100.0 * utilization),
        _ => "rate".to_owned(),
    }
}

fn gpu_row(forecast: &Forecast) -> Option<Vec<String>> {
    let gpu = sheet_of(forecast)?;
    Some(vec![
        gpu.name.to_owned(),
        forecast.steps.to_string(),
        duration(forecast.time_s?),
        evaluation_time(forecast),
        format!("{:.2}", forecast.gpu_hours?),
        format!("{:.2}", forecast.energy_kwh?),
        if forecast.fits == Some(true) { "enough" } else { "too small" }.to_owned(),
        gpu.source.to_owned(),
    ])
}
