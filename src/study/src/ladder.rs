//! A scaling ladder: small sizes of one architecture with tokens in proportion, a law through them, and what it predicts for the full
//! size before that is run.
//!
//! `experiments/<target>/ladder.toml` names the rungs, `experiments/<target>/prediction.toml` holds what they predict. The commit of a
//! run of the target proves that the prediction existed by then.

use harness_core::Digest;
use harness_core::config::{Choices, ModelConfig, load};
use harness_core::files;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::SealedRun;
use harness_record::dates::{self, Doubt};
use harness_record::git::{Git, Held};
use harness_statistics::mean;
use harness_statistics::power_law::{self, NoLaw, PowerLaw};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::StudyError;
use crate::evidence::Evidence;
use crate::tree::{asked_alike, metric_of};

/// Version of both files.
pub const VERSION: u32 = 1;
/// From one rung to the next, width and depth both shrink by this.
const RATIO: f64 = 0.7;
/// The share of predictions whose interval misses.
const LEVEL: f64 = 0.05;
/// The stream of the bootstrap.
const SEED: u64 = 41;

/// `ladder.toml`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    /// [`VERSION`]
    pub format: u32,
    /// Key of the metric; lower is better.
    pub metric: String,
    /// The experiments of the rungs, the smallest first.
    pub rungs: Vec<ExperimentName>,
    /// What is left of the metric at any size, where that is given; absent, it is fitted, which takes a rung more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irreducible: Option<f64>,
}

/// A rung, as it is planned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rung {
    /// Its experiment.
    pub experiment: ExperimentName,
    /// Layers.
    pub layers: u32,
    /// Width.
    pub width: u32,
    /// Parameters without what is looked up.
    pub parameters: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Training tokens.
    pub tokens: u64,
}

/// `prediction.toml`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// [`VERSION`]
    pub format: u32,
    /// What is predicted.
    pub target: ExperimentName,
    /// Digest of its plan without the seed: another plan is another size.
    pub plan_sha256: Digest,
    /// Key of the metric.
    pub metric: String,
    /// When, UTC.
    pub predicted_at: String,
    /// The value of one run.
    pub value: f64,
    /// Its interval.
    pub interval: [f64; 2],
    /// The share of such intervals that miss.
    pub level: f64,
    /// Training FLOPs of the target.
    pub flops: f64,
    /// The law: irreducible + reducible * (FLOPs / scale)^-exponent.
    pub law: Law,
    /// The runs that it rests on.
    pub points: Vec<Point>,
}

/// A law.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Law {
    /// What is left at any size.
    pub irreducible: f64,
    /// Whether that was given.
    pub is_given: bool,
    /// What is above it at `scale`.
    pub reducible: f64,
    /// The exponent.
    pub exponent: f64,
    /// Training FLOPs.
    pub scale: f64,
    /// Standard deviation of the logarithms around the law.
    pub deviation: f64,
    /// Its degrees of freedom.
    pub df: usize,
}

impl Law {
    /// The value at training FLOPs.
    pub fn at(&self, flops: f64) -> f64 {
        let Law { irreducible, reducible, exponent, scale, .. } = *self;
        PowerLaw { irreducible, reducible, exponent, scale }.at(flops)
    }
}

/// One run of a rung.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// The rung.
    pub experiment: ExperimentName,
    /// The run.
    pub run: RunId,
    /// Digest of its MANIFEST.
    pub root: Digest,
    /// Training FLOPs.
    pub flops: f64,
    /// The metric.
    pub value: f64,
}

/// What became of a prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// What was predicted.
    pub prediction: Prediction,
    /// Each run of the target.
    pub runs: Vec<Scored>,
    /// Mean of the runs.
    pub value: f64,
    /// Mean minus prediction.
    pub error: f64,
    /// The same as a share of the prediction.
    pub relative_error: f64,
    /// Runs whose value the interval holds.
    pub inside: usize,
    /// Whether the prediction was registered for every run.
    pub registered: bool,
}

/// A run of the target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// The run.
    pub run: RunId,
    /// Its seed.
    pub seed: u64,
    /// The metric.
    pub value: f64,
    /// Whether the interval holds it.
    pub inside: bool,
    /// Whether the run's commit held this prediction, and no date in git contradicts that it did so before the run.
    pub registered: bool,
    /// What the dates in git say of that commit, where they do not agree.
    pub dates: Option<Doubt>,
}

/// Why a ladder says nothing.
#[derive(Debug, thiserror::Error)]
pub enum LadderError {
    /// There is none.
    #[error("`{0}` has no {1}\nhint: `harness ladder {2} {0}` writes it")]
    None(ExperimentName, &'static str, &'static str),
    /// There is one.
    #[error("{0} is there already\nhint: delete it to make it anew; git keeps it")]
    There(String),
    /// Rungs cannot be made.
    #[error("`{target}` makes no ladder of {sizes} sizes: {why}\nhint: {hint}")]
    Impossible {
        /// The target.
        target: ExperimentName,
        /// As asked for.
        sizes: usize,
        /// Why.
        why: String,
        /// What helps.
        hint: &'static str,
    },
    /// A rung or the target has no run that can be used.
    #[error("{what} of `{experiment}`\nhint: `harness run {experiment}`")]
    NoRun {
        /// What is missing.
        what: &'static str,
        /// Of which experiment.
        experiment: ExperimentName,
    },
    /// The rungs bear no law.
    #[error("no power law fits {metric} of the rungs: {why}\nhint: {hint}")]
    NoLaw {
        /// The metric.
        metric: String,
        /// Why.
        why: String,
        /// What helps.
        hint: &'static str,
    },
    /// The target has changed since.
    #[error(
        "`{0}` has another plan than when its prediction was made\nhint: delete experiments/{0}/prediction.toml and fit again, before it is run"
    )]
    OtherPlan(ExperimentName),
    /// Experiments or runs cannot be read.
    #[error(transparent)]
    Study(#[from] StudyError),
}

fn path_of(target: &ExperimentName, file: &str) -> String {
    format!("experiments/{target}/{file}")
}

fn read<T: DeserializeOwned>(
    project: &Project,
    target: &ExperimentName,
    file: &'static str,
    made_by: &'static str,
) -> Result<T, LadderError> {
    let path = path_of(target, file);
    let text = match files::read_to_string(&project.root().join(&path)) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Err(LadderError::None(target.clone(), file, made_by)),
        Err(error) => return Err(StudyError::from(error).into()),
    };
    let wrong = |error: toml::de::Error| StudyError::Unreadable { path, problem: error.message().to_owned() };
    Ok(toml::from_str(&text).map_err(wrong)?)
}

impl Ladder {
    /// Reads that of a target.
    pub fn of(project: &Project, target: &ExperimentName) -> Result<Self, LadderError> {
        read(project, target, "ladder.toml", "new")
    }
}

impl Prediction {
    /// Reads that of a target.
    pub fn of(project: &Project, target: &ExperimentName) -> Result<Self, LadderError> {
        read(project, target, "prediction.toml", "fit")
    }
}

/// Writes the rungs below a target, and its `ladder.toml`. Gives the rungs, the smallest first, and the paths written.
pub fn new(
    evidence: &Evidence,
    target: &ExperimentName,
    sizes: usize,
) -> Result<(Vec<Rung>, Vec<String>), LadderError> {
    let project = evidence.project;
    let ladder_path = path_of(target, "ladder.toml");
    if files::is_file(&project.root().join(&ladder_path)) {
        return Err(LadderError::There(ladder_path));
    }
    let loaded = evidence.experiment(target)?;
    let full = &loaded.experiment;
    let impossible =
        |why: String, hint: &'static str| LadderError::Impossible { target: target.clone(), sizes, why, hint };
    if full.training.steps == 0 {
        let hint = "state `training.steps`, or a budget of tokens";
        return Err(impossible("how many tokens it trains on is not known before it is run".to_owned(), hint));
    }
    if !full.training.batch_size_stages.is_empty() || !full.training.sequence_length_stages.is_empty() {
        let hint = "make the ladder of an experiment without them";
        return Err(impossible("its stages of batch size or sequence length are counted in steps".to_owned(), hint));
    }
    let (mut rungs, mut written): (Vec<Rung>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    for number in 1..=sizes {
        let experiment: ExperimentName = format!("{target}-rung-{number}")
            .parse()
            .map_err(|_| impossible("the names of the rungs would be too long".to_owned(), "rename it"))?;
        let (rung, text) = rung(full, target, &experiment, libm::pow(RATIO, (sizes + 1 - number) as f64));
        let text_of = |name: &ExperimentName| {
            let above = loaded.lineage().into_iter().find(|(known, _)| *known == name);
            if *name == experiment { Some(text.clone()) } else { above.map(|(_, text)| text.to_owned()) }
        };
        let checked = load(&experiment, &[], &|name| Ok(text_of(name)), &toml::Table::new());
        checked.map_err(|error| {
            impossible(format!("rung {number}: {error}"), "make fewer sizes, or write them by hand")
        })?;
        if rungs.last().is_some_and(|smaller| smaller.parameters >= rung.parameters) || rung.parameters == 0 {
            let hint = "make fewer sizes, or begin with a larger model";
            return Err(impossible("it is so small that two rungs would be the same".to_owned(), hint));
        }
        let path = path_of(&experiment, "experiment.toml");
        if files::is_file(&project.root().join(&path)) {
            return Err(LadderError::There(path));
        }
        rungs.push(rung);
        written.push((path, text));
    }
    let names = rungs.iter().map(|rung| rung.experiment.clone()).collect();
    // With fewer sizes than free numbers and one more, what is left at any size has to be given.
    let irreducible = (sizes < 4).then_some(0.0);
    let ladder = Ladder { format: VERSION, metric: metric_of(full), rungs: names, irreducible };
    written.push((ladder_path, toml::to_string(&ladder).expect("a ladder is TOML")));
    for (path, text) in &written {
        files::write(&project.root().join(path), text.as_bytes()).map_err(StudyError::from)?;
    }
    Ok((rungs, written.into_iter().map(|(path, _)| path).collect()))
}

/// A smaller model of the same shape: as many heads, narrower, and layers and width in proportion. Tokens, and the steps of warm-up
/// and cool-down, are in proportion to the parameters.
fn rung(full: &Choices, target: &ExperimentName, experiment: &ExperimentName, share: f64) -> (Rung, String) {
    let channels = full.model.width / full.model.heads;
    let narrower = 2 * (libm::round(f64::from(channels) * share / 2.0) as u32).max(1);
    let layers = (libm::round(f64::from(full.model.layers) * share) as u32).max(1);
    let model = ModelConfig { layers, width: narrower * full.model.heads, ..full.model.clone() };
    // The vocabulary is none of these.
    let parameters = |model: &ModelConfig| model.parameters(1).1;
    let scaled = |steps: u64| {
        libm::round(steps as f64 * parameters(&model) as f64 / parameters(&full.model) as f64).max(1.0) as u64
    };
    let steps = scaled(full.training.steps);
    let schedule = &full.schedule;
    let mut text = format!(
        "#:schema ../schema/experiment.json\nextends = \"{target}\"\ntitle = \"{target} at {layers} layers of {}\"\n\
         question = \"Where is a smaller {target} on the way to the full one?\"\n\n[model]\nlayers = {layers}\nwidth = {}\n\n\
         [training]\nsteps = {steps}\n",
        model.width, model.width,
    );
    let phases = [("warmup_steps", schedule.warmup_steps), ("cooldown_steps", schedule.cooldown_steps)];
    let stated: Vec<String> = phases
        .iter()
        .filter(|(_, steps)| *steps > 0)
        .map(|(key, steps)| format!("{key} = {}\n", scaled(*steps)))
        .collect();
    if !stated.is_empty() {
        text.push_str(&format!("\n[schedule]\n{}", stated.concat()));
    }
    let tokens = steps * u64::from(full.training.batch_size) * u64::from(full.model.context_length);
    let rung = Rung {
        experiment: experiment.clone(),
        layers,
        width: model.width,
        parameters: parameters(&model),
        steps,
        tokens,
    };
    (rung, text)
}

/// Fits the law through the runs of the rungs, and writes what it predicts for a run of the target.
pub fn fit(evidence: &Evidence, target: &ExperimentName, at: &str) -> Result<Prediction, LadderError> {
    let project = evidence.project;
    let ladder = Ladder::of(project, target)?;
    let path = path_of(target, "prediction.toml");
    if files::is_file(&project.root().join(&path)) {
        return Err(LadderError::There(path));
    }
    let full = evidence.experiment(target)?.experiment;
    let mut points: Vec<Point> = Vec::new();
    let mut reference: Option<SealedRun> = None;
    for rung in &ladder.rungs {
        let missing = |what| LadderError::NoRun { what, experiment: rung.clone() };
        let runs = evidence.counted(rung)?;
        let latest = runs.last().ok_or_else(|| missing("there is no run that counts"))?;
        let reference = reference.get_or_insert_with(|| latest.clone());
        if !asked_alike(reference, latest, &ladder.metric) {
            return Err(missing("other data than those of the first rung are in the runs"));
        }
        for run in evidence.counted_by_seed(rung)? {
            let (value, flops) = (run.number(&ladder.metric), run.number("training.flops"));
            let (Some(value), Some(flops)) = (value, flops) else {
                return Err(missing("the metric or the FLOPs are missing in a run"));
            };
            points.push(Point { experiment: rung.clone(), run: run.run.clone(), root: run.root, flops, value });
        }
    }
    let reference = reference.ok_or_else(|| LadderError::None(target.clone(), "rungs", "new"))?;
    let sizes: Vec<(f64, f64)> = points.iter().map(|point| (point.flops, point.value)).collect();
    let fitted = power_law::fit(&sizes, ladder.irreducible).map_err(|no_law| {
        let (why, hint) = match no_law {
            NoLaw::TooFew(least) => {
                (format!("it takes {least} sizes"), "add rungs, or state `irreducible` in ladder.toml")
            }
            NoLaw::NotPositive => (
                "a value is not a positive number, or not above the irreducible one".to_owned(),
                "look at the runs with `harness tree`, and at `irreducible` in ladder.toml",
            ),
            NoLaw::NotFalling => {
                ("it does not fall with size as a power does".to_owned(), "train the rungs with more seeds, or longer")
            }
        };
        LadderError::NoLaw { metric: ladder.metric.clone(), why, hint }
    })?;
    let per_token = full.model.training_flops_per_token(reference.open.data.vocabulary_size);
    let tokens = full.training.sequences_before(full.training.steps) * u64::from(full.model.context_length);
    let flops = per_token * tokens as f64;
    let law = Law {
        irreducible: fitted.law.irreducible,
        is_given: ladder.irreducible.is_some(),
        reducible: fitted.law.reducible,
        exponent: fitted.law.exponent,
        scale: fitted.law.scale,
        deviation: fitted.deviation,
        df: fitted.df,
    };
    let prediction = Prediction {
        format: VERSION,
        target: target.clone(),
        plan_sha256: full.plan_digest_but_seed(),
        metric: ladder.metric,
        predicted_at: at.to_owned(),
        value: fitted.law.at(flops),
        interval: fitted.prediction_interval(flops, LEVEL, SEED),
        level: LEVEL,
        flops,
        law,
        points,
    };
    let text = toml::to_string(&prediction).expect("a prediction is TOML");
    files::write(&project.root().join(&path), text.as_bytes()).map_err(StudyError::from)?;
    Ok(prediction)
}

/// Holds the runs of the target against what was predicted.
pub fn score(evidence: &Evidence, git: &Git, target: &ExperimentName) -> Result<Score, LadderError> {
    let prediction = Prediction::of(evidence.project, target)?;
    let missing = |what| LadderError::NoRun { what, experiment: target.clone() };
    let runs = evidence.counted(target)?;
    if runs.is_empty() {
        return Err(missing("there is no run that counts"));
    }
    let path = path_of(target, "prediction.toml");
    let text = files::read(&evidence.project.root().join(&path)).map_err(StudyError::from)?;
    let mut scored = Vec::new();
    for run in runs.iter() {
        if run.experiment.plan_digest_but_seed() != prediction.plan_sha256 {
            return Err(LadderError::OtherPlan(target.clone()));
        }
        let value = evidence.numbers(run)?.number(&prediction.metric);
        let value = value.filter(|value| value.is_finite()).ok_or_else(|| missing("the metric is missing in a run"))?;
        let held = git.held_at(&run.open.code.commit, &path, &text).map_err(StudyError::from)?;
        let dates = dates::doubt(git, &run.open).map_err(StudyError::from)?;
        let is_before = !dates.as_ref().is_some_and(|doubt| doubt.contradicts);
        let [low, high] = prediction.interval;
        scored.push(Scored {
            run: run.open.run.clone(),
            seed: run.open.plan.seed,
            value,
            inside: (low..=high).contains(&value),
            registered: held == Held::Same && !run.open.code.dirty && is_before,
            dates,
        });
    }
    let value = mean(&scored.iter().map(|run| run.value).collect::<Vec<_>>());
    let error = value - prediction.value;
    Ok(Score {
        value,
        error,
        relative_error: error / prediction.value,
        inside: scored.iter().filter(|run| run.inside).count(),
        registered: scored.iter().all(|run| run.registered),
        runs: scored,
        prediction,
    })
}
