//! `harness study`: which value of a parameter is the best, with all else tuned for each of them.

use harness_core::config::{Checked, OptimizerKind, Setting, load_study, nearest};
use harness_core::files;
use harness_core::names::ExperimentName;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::run::forecast::{ASSUMED_UTILIZATION, Rate, rounded};
use crate::run::processors::{GPUS, Gpu};
use crate::trials::cost::{Cost, check_all};
use crate::watch::view::duration;
use harness_record::{experiments, load_config, load_config_with};
use harness_study::points::{Opened, Planned};

/// Find out which value of a parameter is the best, with the other parameters tuned as well for each value.
///
/// A study lies beside its experiment: experiments/NAME/study.toml. It proposes and never confirms: its trials count for no
/// comparison and no decision. docs/formats/studies.md says what stands in the file.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write a study.toml: the scientific parameter as stated, and the nuisance parameters that so many trials can tune.
    New(New),
    /// Show every trial before it is run, and what all of them take.
    Plan {
        /// The experiment that has the study.
        name: String,
        /// Estimate the time on this GPU.
        #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(GPUS.map(|gpu| gpu.name)))]
        gpu: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
struct New {
    /// The experiment that is varied.
    name: String,
    /// The scientific parameter and its values; several are held against each other in all combinations.
    #[arg(long, required = true, value_name = "KEY=VALUE,VALUE")]
    vary: Vec<String>,
    /// Make the experiment first, as it is but under this name.
    #[arg(long, value_name = "EXPERIMENT")]
    over: Option<String>,
    /// Trials for each value.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    trials: u32,
    /// The metric that trials are judged by; higher is better of accuracies only.
    #[arg(long, default_value = "validation.bits_per_byte", value_name = "KEY")]
    metric: String,
    /// What the study is to find out.
    #[arg(long)]
    goal: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::New(new) => write_new(workplace, new),
        Command::Plan { name, gpu, json } => plan(workplace, name, gpu.as_deref(), *json),
    }
}

/// Prints JSON, or what `text` says.
fn print(json: bool, value: &serde_json::Value, text: impl FnOnce() -> String) {
    terminal::say(&if json { serde_json::to_string_pretty(value).expect("plain values are JSON") } else { text() });
}

fn write_new(workplace: &Workplace, new: &New) -> Outcome {
    let project = &workplace.project;
    let name: ExperimentName = new.name.parse()?;
    let path = project.study(&name);
    if files::is_file(&path) {
        return Err(Failure::usage(format!(
            "`{name}` has a study already\nhint: `harness study plan {name}` shows it; a further round goes into its study.toml"
        )));
    }
    let config = project.experiment(&name).join("experiment.toml");
    let mut child = None;
    if let Some(over) = &new.over {
        let over: ExperimentName = over.parse()?;
        if files::is_file(&config) {
            return Err(Failure::usage(format!("there is an experiment `{name}` already\nhint: leave out --over")));
        }
        load_config(project, &over)?;
        child = Some(format!("#:schema ../schema/experiment.json\nextends = \"{over}\"\n"));
    } else if !files::is_file(&config) {
        let known: Vec<String> = experiments(project)?.iter().map(ToString::to_string).collect();
        let hint = match nearest(name.as_str(), &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("`--over BASE` makes it of one that there is: {}", known.join(", ")),
        };
        return Err(Failure::usage(format!("there is no experiment `{name}`\nhint: {hint}")));
    }
    let base = load_config(project, &new.over.as_ref().map_or(Ok(name.clone()), |over| over.parse())?)?.experiment;
    let vary = new.vary.iter().map(|text| varied(text)).collect::<Result<Vec<_>, _>>()?;
    let text = study_toml(new, &base, &vary);
    // What is written can be run: the mistakes of --vary are told here.
    let of = new.over.as_ref().map_or(Ok(name.clone()), |over| over.parse())?;
    load_study(&name, &text, &|settings| load_config_with(project, &of, settings))?;
    let mut written = Vec::new();
    for (path, text) in child.map(|text| (config, text)).into_iter().chain([(path, text)]) {
        files::write(&path, text.as_bytes())?;
        written.push(path.strip_prefix(project.root()).unwrap_or(&path).display().to_string());
    }
    print(new.json, &json!({ "format": 1, "written": written }), || written.join("\n"));
    terminal::tell(&format!("hint: look through the ranges, commit, then `harness study plan {name}`"));
    Ok(exit_code::SUCCESS)
}

/// `KEY=VALUE,VALUE`
fn varied(text: &str) -> Result<(String, Vec<Setting>), Failure> {
    let setting = |text: &str| match (text.parse(), text.parse(), text.parse()) {
        (Ok(switch), _, _) => Setting::Switch(switch),
        (_, Ok(integer), _) => Setting::Integer(integer),
        (_, _, Ok(number)) => Setting::Number(number),
        _ => Setting::Text(text.to_owned()),
    };
    let (key, values) =
        text.split_once('=').filter(|(key, values)| !key.is_empty() && !values.is_empty()).ok_or_else(|| {
            Failure::usage(format!("`{text}` is not KEY=VALUE,VALUE\nhint: `--vary optimizer.weight_decay=0.0,0.1`"))
        })?;
    Ok((key.trim().to_owned(), values.split(',').map(|value| setting(value.trim())).collect()))
}

/// A nuisance parameter that is worth tuning: its key, ends, scale, and the fewest trials that can.
type Tunable = (&'static str, [f64; 2], &'static str, u32);

/// What the tuning playbook of Google (section "Which parameters are nuisance parameters") tunes of Adam by the number of trials;
/// around what the experiment has.
fn tunable(base: &Checked) -> Vec<Tunable> {
    let rate = base.optimizer.learning_rate;
    let four_times = |value: f64| [value / 4.0, value * 4.0];
    let mut tunable = vec![("optimizer.learning_rate", four_times(rate), "log", 1)];
    match base.optimizer.kind {
        OptimizerKind::Sgd => tunable.push(("optimizer.momentum", [0.8, 0.99], "linear", 10)),
        OptimizerKind::Lion => tunable.push(("optimizer.beta1", [0.8, 0.95], "linear", 10)),
        _ => tunable.extend([
            ("optimizer.beta1", [0.8, 0.98], "linear", 10),
            ("optimizer.epsilon", [1e-10, 1e-6], "log", 25),
            ("optimizer.beta2", [0.9, 0.999], "linear", 50),
        ]),
    }
    tunable
}

fn study_toml(new: &New, base: &Checked, vary: &[(String, Vec<Setting>)]) -> String {
    let keys: Vec<String> = vary.iter().map(|(key, _)| format!("`{key}`")).collect();
    let goal = new.goal.clone().unwrap_or_else(|| format!("Which value of {} is the best?", keys.join(" and ")));
    let direction = if new.metric.contains("accuracy") { "higher" } else { "lower" };
    let compare_at = if base.training.budget.is_some() { "budget" } else { "steps" };
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut lines = vec![
        "#:schema ../schema/study.json".to_owned(),
        format!("goal = {}", text(&goal)),
        format!("metric = {}", text(&new.metric)),
        format!("direction = \"{direction}\""),
        format!("compare_at = \"{compare_at}\""),
        "# for each value of the scientific parameter".to_owned(),
        format!("trials = {}", new.trials),
    ];
    if vary.len() > 1 {
        lines.push("factorial = true".to_owned());
    }
    for (key, values) in vary {
        let values: Vec<String> = values.iter().map(|value| value.to_toml().to_string()).collect();
        lines.push(format!("\n[[scientific]]\nkey = {}\nvalues = [{}]", text(key), values.join(", ")));
    }
    for (key, [low, high], scale, fewest) in tunable(base) {
        if vary.iter().any(|(varied, _)| varied == key) {
            continue;
        }
        let number = |value: f64| toml::Value::Float(value).to_string();
        lines.push(if new.trials >= fewest {
            format!(
                "\n[[nuisance]]\nkey = \"{key}\"\nlow = {}\nhigh = {}\nscale = \"{scale}\"",
                number(low),
                number(high)
            )
        } else {
            format!("\n[[fixed]]\nkey = \"{key}\"\nbecause = \"{} trials are too few to tune it as well\"", new.trials)
        });
    }
    lines.join("\n") + "\n"
}

fn plan(workplace: &Workplace, name: &str, gpu: Option<&str>, json: bool) -> Outcome {
    let project = &workplace.project;
    let study = Opened::of(project, &name.parse()?)?;
    check_all(project, &study)?;
    let rate = gpu.and_then(Gpu::find).map(|gpu| Rate::DataSheet { gpu: *gpu, utilization: ASSUMED_UTILIZATION });
    let all: Vec<&Planned> = study.trials.iter().collect();
    // A budget of time has no number of steps without a machine.
    let cost = if study.base.is_timed() && rate.is_none() {
        None
    } else {
        Some(Cost::of(project, &study, &all, rate.as_ref())?)
    };
    let trials: Vec<serde_json::Value> = study.trials.iter().map(|trial| trial_json(&study, trial)).collect();
    let value = json!({
        "format": 1,
        "study": study.name,
        "plan_sha256": study.plan_sha256(),
        "trials": trials,
        "cost": cost,
    });
    print(json, &value, || {
        let mut lines = vec![study.study.goal.clone(), String::new(), trial_table(&study, &study.trials)];
        lines.push(format!(
            "\n{} trials: {} of each value, judged by {}, {} is better",
            study.trials.len(),
            study.trials.len() / study.study.combinations().len(),
            study.study.metric,
            study.study.direction.word()
        ));
        lines.extend(cost.map(|cost| cost_line(&cost)));
        lines.extend(caveats(&study).into_iter().map(|caveat| format!("caveat: {caveat}")));
        if gpu.is_none() {
            lines.push("hint: `--gpu NAME` estimates the time from a data sheet".to_owned());
        }
        lines.join("\n")
    });
    Ok(exit_code::SUCCESS)
}

/// What all trials take.
fn cost_line(cost: &Cost) -> String {
    let mut parts = vec![format!("{} tokens", rounded(cost.tokens as f64)), format!("{:.2e} FLOPs", cost.flops)];
    parts.extend(cost.time_s.map(duration));
    parts.extend(cost.gpu_hours.map(|hours| format!("{hours:.2} GPU hours")));
    parts.extend(cost.energy_kwh.map(|energy| format!("at most {energy:.2} kWh")));
    parts.push(format!("{} MiB of memory", cost.memory_bytes >> 20));
    format!("all together: {}", parts.join(", "))
}

/// What stays as it is, and why: what the result does not say.
fn caveats(study: &Opened) -> Vec<String> {
    let value = |key: &str| {
        let all = harness_core::config::flat(&study.base);
        all.into_iter().find(|(known, _)| known == key).map_or_else(String::new, |(_, value)| value)
    };
    let caveat = |fixed: &harness_core::config::Fixed| {
        format!("`{}` is {} throughout: {}", fixed.key, value(&fixed.key), fixed.because)
    };
    study.study.fixed.iter().map(caveat).collect()
}

fn trial_json(study: &Opened, trial: &Planned) -> serde_json::Value {
    let values: serde_json::Map<String, serde_json::Value> =
        trial.values().into_iter().map(|(key, value)| (key, json!(value))).collect();
    json!({
        "trial": trial.trial,
        "round": trial.round + 1,
        "point": trial.point,
        "value": study.value_name(trial.value),
        "seed": trial.seed,
        "settings": values,
    })
}

/// A row for each trial, a column for each parameter.
fn trial_table(study: &Opened, trials: &[Planned]) -> String {
    let scientific = study.study.scientific.iter().map(|parameter| parameter.key.clone());
    let nuisance: Vec<String> = study.study.nuisance.iter().map(|parameter| parameter.label()).collect();
    let header: Vec<String> = ["trial".to_owned(), "round".to_owned()]
        .into_iter()
        .chain(scientific)
        .chain(nuisance.iter().cloned())
        .collect();
    let row = |trial: &Planned| {
        let mut row = vec![trial.trial.to_string(), (trial.round + 1).to_string()];
        row.extend(trial.scientific.iter().map(|(_, value)| value.to_string()));
        let nuisance = (0..nuisance.len()).map(|at| {
            let own = trial.nuisance.iter().find(|(of, _)| *of == at);
            own.map_or_else(String::new, |(_, (_, value))| value.to_string())
        });
        row.extend(nuisance);
        row
    };
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    terminal::columns(&header, &trials.iter().map(row).collect::<Vec<_>>())
}
