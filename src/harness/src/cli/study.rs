//! `harness study`: which value of a parameter is the best, with all else tuned for each of them.

use std::path::PathBuf;

use harness_core::config::{Checked, Direction, OptimizerKind, Setting, load_study, nearest};
use harness_core::files;
use harness_core::names::{ExperimentName, Project, RunId};
use serde_json::json;

use super::budget::promised_to_others;
use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use crate::run::afford;
use crate::run::forecast::{ASSUMED_UTILIZATION, Rate, rounded};
use crate::run::processors::{GPUS, Gpu};
use crate::trials::cost::{Cost, check_all};
use crate::trials::worker::{End, Share, work};
use crate::watch::view::duration;
use harness_record::format::Purpose;
use harness_record::{environment, experiments, load_config, load_config_with};
use harness_study::checks::{Finding, Value, findings, values};
use harness_study::close::{Closed, is_over, proposed};
use harness_study::points::{Opened, Planned};
use harness_study::trials::{State, Survey};

/// Find out which value of a parameter is the best, with the other parameters tuned as well for each value.
///
/// A study lies beside its experiment: experiments/NAME/study.toml. It proposes and never confirms: its trials count for no
/// comparison and no decision. docs/formats/studies.md says what stands in the file.
#[derive(clap::Args)]
pub(super) struct Arguments {
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
    /// Run the trials that are missing. Several processes may do so at a time; what a process was at that died is taken over.
    Run {
        /// The experiment that has the study.
        name: String,
        /// Only every N-th trial from the K-th on, as K/N: for machines that share nothing but the repository.
        #[arg(long, value_name = "K/N", value_parser = share)]
        share: Option<Share>,
        /// Run the trials even though experiments/budget.toml does not pay for them; the reason goes into their records.
        #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        over_budget: Option<String>,
        /// The trainer program [default: harness-trainer beside this program, or $HARNESS_TRAINER].
        #[arg(long, value_name = "PROGRAM")]
        trainer: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say what speaks against believing the result. Ends with 1 if something does.
    Check {
        /// The experiment that has the study.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show each value at its best, every trial, the findings and what comes next.
    Show {
        /// The experiment that has the study.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a study: write close.toml, with what it found and the runs that it rests on, by their digests.
    Close {
        /// The experiment that has the study.
        name: String,
        /// Why it is closed before all trials were run.
        #[arg(long, value_name = "REASON")]
        because: Option<String>,
        /// Make an experiment of this name that has the best values.
        #[arg(long, value_name = "EXPERIMENT")]
        write: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `K/N`, from 1.
fn share(text: &str) -> Result<Share, String> {
    let parsed = text.split_once('/').and_then(|(k, n)| Some((k.parse::<u64>().ok()?, n.parse::<u64>().ok()?)));
    match parsed {
        Some((k, n)) if k >= 1 && k <= n => Ok(Share { first: k - 1, of: n }),
        _ => Err("not K/N with K from 1 to N, such as 2/3".to_owned()),
    }
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

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::New(new) => write_new(workplace, new),
        Command::Plan { name, gpu, json } => plan(workplace, name, gpu.as_deref(), *json),
        Command::Run { name, share, over_budget, trainer, json } => {
            run(workplace, name, *share, over_budget.as_deref(), trainer.clone(), *json)
        }
        Command::Check { name, json } => check(workplace, name, *json),
        Command::Show { name, json } => show(workplace, name, *json),
        Command::Close { name, because, write, json } => {
            close(workplace, name, because.as_deref(), write.as_deref(), *json)
        }
    }
}

/// Prints JSON, or what `text` says.
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
    terminal::say_as(new.json, &json!({ "format": 1, "written": written }), || written.join("\n"));
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
    terminal::say_as(json, &value, || {
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
    let (header, rows) = trial_rows(study, trials);
    terminal::columns(&header.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
}

fn trial_rows(study: &Opened, trials: &[Planned]) -> (Vec<String>, Vec<Vec<String>>) {
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
    (header, trials.iter().map(row).collect())
}

/// A study with what became of it.
struct Seen {
    study: Opened,
    survey: Survey,
    closed: Option<Closed>,
    values: Vec<Value>,
    findings: Vec<Finding>,
}

impl Seen {
    fn of(workplace: &Workplace, name: &str) -> Result<Self, Failure> {
        let project = &workplace.project;
        let study = Opened::of(project, &name.parse()?)?;
        let survey = Survey::of(project, &study)?;
        let closed = Closed::read(project, &study.name)?;
        let mut findings = findings(&study, &survey.trials);
        let mut add = |check: &'static str, text: String| findings.push(Finding { check, text });
        let runs = |runs: &[RunId]| runs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if !survey.of_another_plan.is_empty() {
            let text = format!(
                "study.toml was changed after runs of it, which count no more: {}",
                runs(&survey.of_another_plan)
            );
            add("changed", text);
        }
        if !survey.unreadable.is_empty() {
            add("unreadable", format!("these are not as they were sealed: {}", runs(&survey.unreadable)));
        }
        for difference in closed.iter().flat_map(|closed| closed.differences(&study, &survey)) {
            add("closed", difference);
        }
        let values = values(&study, &survey.trials);
        Ok(Seen { study, survey, closed, values, findings })
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "format": 1,
            "study": self.study.name,
            "goal": self.study.study.goal,
            "metric": self.study.study.metric,
            "plan_sha256": self.study.plan_sha256(),
            "closed_at": self.closed.as_ref().map(|closed| &closed.closed_at),
            "values": self.values,
            "findings": self.findings,
            "caveats": caveats(&self.study),
            "trials": self.survey.trials,
        })
    }

    /// How many trials are in each state.
    fn counts(&self) -> String {
        let states = [State::Completed, State::Pruned, State::Infeasible, State::Open, State::Waiting];
        let counts = states.map(|state| (self.survey.count(state), state.word()));
        let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

/// A study whose trials may be run.
pub(super) fn open_to_run(project: &Project, name: &ExperimentName) -> Result<Opened, Failure> {
    let study = Opened::of(project, name)?;
    if let Some(closed) = Closed::read(project, &study.name)? {
        return Err(Failure::usage(format!(
            "the study `{name}` was closed at {}\nhint: what is asked now is another study: `harness study new NAME --over {name} --vary ...`",
            closed.closed_at
        )));
    }
    check_all(project, &study)?;
    Ok(study)
}

fn run(
    workplace: &Workplace,
    name: &str,
    share: Option<Share>,
    over_budget: Option<&str>,
    trainer: Option<PathBuf>,
    json: bool,
) -> Outcome {
    terminal::leave_when_system_asks();
    let project = &workplace.project;
    let study = open_to_run(project, &name.parse()?)?;
    let missing =
        Survey::of(project, &study)?.missing().filter(|trial| share.is_none_or(|s| s.has(trial.planned.trial))).count();
    let base = load_config(project, &study.name)?.experiment;
    let promised = promised_to_others(workplace, |promise| promise.experiment == study.name)?;
    afford::several(project, &study.name, (&base, Purpose::Tune, missing), &promised, over_budget)?;
    let context = workplace.context(trainer);
    let end = work(&context, &study, share, over_budget, &mut terminal::Screen::new())?;
    let seen = Seen::of(workplace, name)?;
    terminal::tell(&format!("study `{name}`: {}", seen.counts()));
    terminal::say_as(json, &seen.json(), || value_table(&seen));
    let missing = seen.survey.missing().count();
    Ok(match end {
        End::Interrupted => exit_code::INTERRUPTED,
        End::StoppedBySystem => exit_code::STOPPED,
        End::Stopped(problem) => {
            return Err(Failure::failed(format!("{problem}\nhint: `harness study run {name}` goes on")));
        }
        End::Done if missing > 0 && share.is_none() => exit_code::CONTRADICTION,
        End::Done => exit_code::SUCCESS,
    })
}

fn check(workplace: &Workplace, name: &str, json: bool) -> Outcome {
    let seen = Seen::of(workplace, name)?;
    terminal::say_as(json, &seen.json(), || {
        let mut lines = vec![format!("{} trials: {}", seen.survey.trials.len(), seen.counts())];
        lines.extend(finding_lines(&seen));
        if seen.findings.is_empty() {
            lines.push("the checks find nothing against it".to_owned());
        }
        lines.join("\n")
    });
    Ok(if seen.findings.is_empty() { exit_code::SUCCESS } else { exit_code::CONTRADICTION })
}

fn finding_lines(seen: &Seen) -> Vec<String> {
    let findings = seen.findings.iter().map(|finding| format!("{}: {}", finding.check, finding.text));
    findings.chain(caveats(&seen.study).into_iter().map(|caveat| format!("caveat: {caveat}"))).collect()
}

/// The isolation table: each value at its best, the best first.
fn value_table(seen: &Seen) -> String {
    let mut values: Vec<&Value> = seen.values.iter().collect();
    let metric = |value: &Value| {
        let metric = value.best.as_ref().map_or(f64::INFINITY, |best| best.metric);
        if seen.study.study.direction == Direction::Higher && metric.is_finite() { -metric } else { metric }
    };
    values.sort_by(|a, b| metric(a).total_cmp(&metric(b)));
    let row = |value: &&Value| {
        let best = value.best.as_ref();
        let nuisance = best.map_or(String::new(), |best| {
            let scientific = seen.study.study.scientific.len();
            let settings = best.settings.iter().skip(scientific).map(|(key, value)| format!("{key} = {value}"));
            settings.collect::<Vec<_>>().join(", ")
        });
        vec![
            value.name.clone(),
            best.map_or("?".to_owned(), |best| format!("{:.5}", best.metric)),
            best.map_or(String::new(), |best| best.trial.to_string()),
            value.completed.to_string(),
            value.pruned.to_string(),
            value.infeasible.to_string(),
            nuisance,
        ]
    };
    let header = ["value", "best", "trial", "completed", "pruned", "infeasible", "with"];
    terminal::columns(&header, &values.iter().map(row).collect::<Vec<_>>())
}

fn show(workplace: &Workplace, name: &str, json: bool) -> Outcome {
    let seen = Seen::of(workplace, name)?;
    terminal::say_as(json, &seen.json(), || {
        let study = &seen.study.study;
        let mut lines = vec![study.goal.clone(), format!("{} trials: {}", seen.survey.trials.len(), seen.counts())];
        lines.push(format!("\n{} of each value at its best ({} is better):", study.metric, study.direction.word()));
        lines.push(value_table(&seen));
        lines.push(String::new());
        lines.push(result_table(&seen));
        lines.push(String::new());
        lines.extend(finding_lines(&seen));
        lines.push(
            "a study proposes and does not confirm: its trials chose these values, so they are no evidence for them"
                .to_owned(),
        );
        if let Some(closed) = &seen.closed {
            lines.push(format!("closed at {}", closed.closed_at));
        } else if seen.survey.missing().count() > 0 {
            lines.push(format!("next: `harness study run {name}` runs the trials that are left"));
        } else {
            lines.push(format!(
                "next: `harness study close {name} --write {name}-best` makes an experiment of the best values;"
            ));
        }
        if seen.survey.missing().count() == 0 {
            lines.push(format!(
                "      state `[expect]` and `seeds` in it, commit, then `harness seeds {name}-best` and `harness seeds {name} --seeds N` \
                 run both with fresh seeds, and `harness decide {name}-best` decides"
            ));
        }
        lines.join("\n")
    });
    Ok(exit_code::SUCCESS)
}

/// Every trial with its values, its place and what became of it.
fn result_table(seen: &Seen) -> String {
    let planned: Vec<Planned> = seen.survey.trials.iter().map(|trial| trial.planned.clone()).collect();
    let (header, mut rows) = trial_rows(&seen.study, &planned);
    for (row, trial) in rows.iter_mut().zip(&seen.survey.trials) {
        let outside = if trial.inside { "" } else { ", outside of the last round's ranges" };
        row.push(trial.metric.map_or(String::new(), |metric| format!("{metric:.5}")));
        row.push(format!("{}{outside}", trial.state.word()));
    }
    let header: Vec<&str> =
        header.iter().map(String::as_str).chain([seen.study.study.metric.as_str(), "state"]).collect();
    terminal::columns(&header, &rows)
}

fn close(workplace: &Workplace, name: &str, because: Option<&str>, write: Option<&str>, json: bool) -> Outcome {
    let project = &workplace.project;
    let seen = Seen::of(workplace, name)?;
    if let Some(closed) = &seen.closed {
        return Err(Failure::usage(format!(
            "the study `{name}` was closed at {} already\nhint: `harness study show {name}`",
            closed.closed_at
        )));
    }
    if !is_over(&seen.survey) && because.is_none() {
        return Err(Failure::usage(format!(
            "{} of its trials are not run\nhint: `harness study run {name}` runs them, or say why not: `--because REASON`",
            seen.survey.missing().count()
        )));
    }
    let at = environment::now().to_string();
    let closed = Closed::of(&seen.study, &seen.survey, &seen.values, &seen.findings, because.unwrap_or_default(), at);
    let mut written = Vec::new();
    if let Some(new) = write {
        let new: ExperimentName = new.parse()?;
        let path = project.experiment(&new).join("experiment.toml");
        if files::is_file(&path) {
            return Err(Failure::usage(format!("there is an experiment `{new}` already\nhint: take another name")));
        }
        let higher = seen.study.study.direction == Direction::Higher;
        let best = closed
            .best
            .iter()
            .min_by(|a, b| if higher { b.metric.total_cmp(&a.metric) } else { a.metric.total_cmp(&b.metric) });
        let Some(best) = best else {
            return Err(Failure::usage("no trial completed, so there are no best values\nhint: leave out --write"));
        };
        written.push((path, proposed(project, &seen.study, best)?));
    }
    written.push((project.study_close(&seen.study.name), closed.to_toml()));
    for (path, text) in &written {
        files::write(path, text.as_bytes())?;
    }
    let shown = |path: &PathBuf| path.strip_prefix(project.root()).unwrap_or(path).display().to_string();
    let names: Vec<String> = written.iter().map(|(path, _)| shown(path)).collect();
    terminal::say_as(json, &json!({ "format": 1, "written": names, "closed": closed }), || names.join("\n"));
    terminal::tell("hint: git add --all experiments && git commit");
    Ok(exit_code::SUCCESS)
}
