//! `harness probe`: short runs that choose batch size, learning rate, warm-up or clipping.

use std::path::PathBuf;

use harness_core::files;
use harness_core::names::ExperimentName;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::run::probe::{Confidence, Kind, Point, Probe, Prober, shown as setting};
use crate::run::short_run::Bench;
use harness_figure as figure;
use harness_record::{self as record, environment};

/// Find a batch size, learning rate, warm-up or clipping norm by short runs.
///
/// Runs the trainer a few times, varying one choice of the experiment's config, shows the results, and recommends a value
/// with a confidence. Writes `experiments/EXPERIMENT/probes/KIND-TIME.json` and a figure beside it. The config is not
/// changed.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What to choose.
    #[arg(value_enum)]
    kind: Which,
    /// The experiment.
    name: String,
    /// Optimizer steps of each short run [default: 6 for batch, 60 for lr and warmup, 150 for clip].
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..))]
    steps: Option<u64>,
    /// The largest batch that `batch` tries, in sequences.
    #[arg(long, value_name = "SEQUENCES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    most: u32,
    /// How many factors of two `lr` tries on each side of the config's rate.
    #[arg(long, value_name = "FACTORS", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=10))]
    reach: i32,
    /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
    #[arg(long, value_name = "PROGRAM")]
    trainer: Option<PathBuf>,
    /// Print the content of the JSON file instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Which {
    /// Throughput and memory by sequences per pass, in powers of two.
    Batch,
    /// The loss over learning rates, and the edge of stability.
    Lr,
    /// The loss over warm-ups of 0, 10, 100, ... steps.
    Warmup,
    /// The norm of the gradient without clipping.
    Clip,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let name: ExperimentName = arguments.name.parse()?;
    let mut screen = terminal::Screen::new();
    let context = workplace.context(arguments.trainer.clone());
    let bench = Bench::open(&context, &name, &mut screen)?;
    let interrupts = terminal::count_interrupts();
    let mut told = |point: &Point| terminal::tell(&line(point));
    let mut prober = Prober { bench: &bench, name: &name, interrupts: &interrupts, told: &mut told };
    let measured = match arguments.kind {
        Which::Batch => prober.batch(arguments.steps.unwrap_or(6), arguments.most),
        Which::Lr => prober.learning_rate(arguments.steps.unwrap_or(60), arguments.reach),
        Which::Warmup => prober.warmup(arguments.steps.unwrap_or(60)),
        Which::Clip => prober.clip(arguments.steps.unwrap_or(150)),
    };
    terminal::stop_counting();
    let probe = measured?;

    let text = record::pretty(&probe);
    let folder = workplace.project.probes(&name);
    files::create_folder(&folder)?;
    let stem = format!("{}-{}", file_stem(probe.kind), environment::now_compact());
    let (json, svg) = (folder.join(format!("{stem}.json")), folder.join(format!("{stem}.svg")));
    files::write(&json, text.as_bytes())?;
    files::write(&svg, draw(&probe).svg.as_bytes())?;
    terminal::tell(&format!(
        "wrote {} and {stem}.svg",
        json.strip_prefix(workplace.project.root()).unwrap_or(&json).display()
    ));
    if arguments.json {
        terminal::say(&text);
    } else {
        show(&probe);
    }
    if probe.confidence == Confidence::None {
        return Err(Failure::failed("no setting worked\nhint: see the failures above"));
    }
    Ok(exit_code::SUCCESS)
}

fn file_stem(kind: Kind) -> &'static str {
    match kind {
        Kind::Batch => "batch",
        Kind::LearningRate => "lr",
        Kind::Warmup => "warmup",
        Kind::Clip => "clip",
    }
}

/// One point, as it is measured.
fn line(point: &Point) -> String {
    let outcome = match (&point.failure, point.loss_nats, point.tokens_per_s) {
        (Some(failure), _, _) => failure.clone(),
        (None, Some(loss), Some(rate)) => format!("loss {loss:.3} nats/token, {rate:.0} tokens/s"),
        _ => "nothing".to_owned(),
    };
    format!("{}: {outcome}", setting(point.setting))
}

fn show(probe: &Probe) {
    if probe.kind != Kind::Clip {
        let rows: Vec<Vec<String>> = probe.points.iter().map(|point| row(probe, point)).collect();
        let header = [probe.key, "tokens/s", "memory", "loss", "largest loss", "largest norm", ""];
        terminal::say(&terminal::table(&header, &rows));
    }
    probe.findings.iter().for_each(|finding| terminal::say(&format!("- {finding}")));
    if let Some(recommended) = probe.recommended {
        let sure = match probe.confidence {
            Confidence::Clear => "clear",
            Confidence::WithinNoise => "within noise: others are just as good",
            Confidence::AtTheEdge => "at the edge of the values tried: a better one may lie beyond",
            Confidence::None => "nothing worked",
        };
        let shown = if probe.kind == Kind::Clip { format!("{recommended:.2}") } else { setting(recommended) };
        terminal::say(&format!("recommended: {} = {shown} ({sure})", probe.key));
    }
}

fn row(probe: &Probe, point: &Point) -> Vec<String> {
    let number = |value: Option<f64>, decimals: usize| value.map_or("-".to_owned(), |v| format!("{v:.decimals$}"));
    let memory =
        point.peak_memory_bytes.map_or("-".to_owned(), |b| format!("{:.0} MiB", b as f64 / f64::from(1 << 20)));
    let marks = [("recommended", probe.recommended), ("edge of stability", probe.edge_of_stability)];
    let marks: Vec<&str> = marks.iter().filter(|(_, at)| *at == Some(point.setting)).map(|(mark, _)| *mark).collect();
    let mark = match &point.failure {
        Some(failure) => failure.clone(),
        None if marks.is_empty() => String::new(),
        None => format!("<- {}", marks.join(", ")),
    };
    vec![
        setting(point.setting),
        number(point.tokens_per_s, 0),
        memory,
        number(point.loss_nats, 3),
        number(point.largest_loss_nats, 3),
        number(point.gradient_norm, 2),
        mark,
    ]
}

fn draw(probe: &Probe) -> figure::Figure {
    let measured = |point: &Point| match probe.kind {
        Kind::Batch => point.tokens_per_s,
        Kind::LearningRate | Kind::Warmup => point.loss_nats,
        Kind::Clip => point.gradient_norm,
    };
    let points: Vec<(f64, f64)> =
        probe.points.iter().filter_map(|point| Some((point.setting, measured(point)?))).collect();
    let (x_label, y_label) = match probe.kind {
        Kind::Batch => ("Sequences per pass", "Tokens per second"),
        Kind::LearningRate => ("Learning rate", "Loss (nats per token)"),
        Kind::Warmup => ("Warm-up steps (0 drawn at 1)", "Loss (nats per token)"),
        Kind::Clip => ("Optimizer step", "Gradient norm"),
    };
    figure::probe::draw(&figure::probe::Measured {
        points,
        x_label,
        y_label,
        logarithmic: probe.kind != Kind::Clip,
        marked_x: probe.recommended.filter(|_| probe.kind != Kind::Clip),
        marked_y: probe.recommended.filter(|_| probe.kind == Kind::Clip),
    })
    .described(&format!("probe of {}", probe.key))
}
