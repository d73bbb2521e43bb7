//! `experiments/<name>/study.toml`: which values of a scientific parameter are held against each other, and over which ranges
//! the nuisance parameters are tuned for each of them. The experiment beside it is what they vary.
//!
//! Comes in: the text, and the experiment under any settings. Goes out: a checked [`Study`], in which every value that a trial
//! may get is one that the experiment can be run with. Where the points lie is not said here.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Choices, ConfigError, Direction, Loaded, Source, is_of_the_plan, parse_file};
use crate::names::ExperimentName;

/// A study as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// What the study is to find out: one narrow question.
    pub goal: String,
    /// Key of the metric that trials are judged by, such as `validation.bits_per_byte`.
    pub metric: String,
    /// Where the metric goes when it is better: `lower` or `higher`.
    pub direction: Direction,
    /// What all trials have in common, and what may so not be varied.
    pub compare_at: CompareAt,
    /// Trials for each value of the scientific parameter, in the first round.
    pub trials: u32,
    /// How the points of the nuisance parameters are spread.
    #[serde(default)]
    pub sampler: Sampler,
    /// Whether all combinations of several scientific parameters are held against each other.
    #[serde(default)]
    pub factorial: bool,
    /// The parameter that the study is about: one, unless `factorial` is set.
    pub scientific: Vec<Scientific>,
    /// Parameters that are tuned anew for each value of the scientific one.
    #[serde(default)]
    pub nuisance: Vec<Nuisance>,
    /// Parameters that could matter and stay as the experiment has them.
    #[serde(default)]
    pub fixed: Vec<Fixed>,
    /// Further rounds, in other ranges.
    #[serde(default)]
    pub round: Vec<Round>,
    /// Whether trials that fall behind are stopped.
    #[serde(default)]
    pub pruning: Option<Pruning>,
}

/// What trials have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompareAt {
    /// `training.steps` of the experiment.
    Steps,
    /// `training.budget` of the experiment.
    Budget,
}

/// How points are spread. Neither looks at results, so any process can run any trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Sobol's sequence with a nested uniform scramble (Owen 1995).
    #[default]
    Sobol,
    /// Halton's sequence, shifted (Cranley and Patterson 1976).
    Halton,
}

/// The parameter that the study is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scientific {
    /// Its dotted key in the experiment.
    pub key: String,
    /// The values that are held against each other.
    pub values: Vec<Setting>,
}

/// A parameter that is tuned so that each value of the scientific one is seen at its best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nuisance {
    /// Its dotted key in the experiment.
    pub key: String,
    /// The least value, with `high`.
    #[serde(default)]
    pub low: Option<f64>,
    /// The greatest value.
    #[serde(default)]
    pub high: Option<f64>,
    /// How the values between them are spread.
    #[serde(default)]
    pub scale: Scale,
    /// The values, in place of a range.
    #[serde(default)]
    pub choices: Vec<Setting>,
    /// The values of a scientific parameter under which this one exists. The same key under other values is another parameter:
    /// the learning rate of Muon is not that of AdamW.
    #[serde(default)]
    pub only_when: Option<OnlyWhen>,
}

/// Values of a scientific parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnlyWhen {
    /// The key of the scientific parameter.
    pub key: String,
    /// Its values.
    pub is: Vec<Setting>,
}

/// How the values of a range are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// Evenly in their logarithm.
    Log,
    /// Whole numbers, each as often as the others.
    Int,
}

/// A parameter that is not tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// Its dotted key in the experiment.
    pub key: String,
    /// Why; it stands beside the results as a caveat.
    pub because: String,
}

/// A further round: the trials before it stay, and count where they lie in its ranges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Trials for each value of the scientific parameter.
    pub trials: u32,
    /// What the rounds before have shown.
    pub because: String,
    /// The ranges that differ from those of the round before.
    #[serde(default)]
    pub range: Vec<Range>,
}

/// Where a nuisance parameter is looked for from a round on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The parameter: its key, and where it is conditional the values in brackets: `optimizer.learning_rate (muon)`.
    pub parameter: String,
    /// The least value.
    #[serde(default)]
    pub low: Option<f64>,
    /// The greatest value.
    #[serde(default)]
    pub high: Option<f64>,
    /// The values that are left.
    #[serde(default)]
    pub choices: Vec<Setting>,
}

/// The median rule (Golovin et al. 2017, Google Vizier, section 3.2): a trial is stopped whose validation loss is higher than the
/// median of the other trials of its scientific value at the same step. A trial that was stopped is never the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pruning {
    /// After so many per cent of the steps: 10 to 90.
    pub after_percent: u32,
    /// Complete trials of the same scientific value before one is stopped: at least 3.
    #[serde(default = "default_complete_before")]
    pub complete_before: u32,
}

fn default_complete_before() -> u32 {
    4
}

/// A value of the config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number, a text, true or false")]
pub enum Setting {
    /// `true` or `false`.
    Switch(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text, such as the name of a variant.
    Text(String),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Switch(value) => f.pad(&value.to_string()),
            Setting::Integer(value) => f.pad(&value.to_string()),
            Setting::Number(value) => f.pad(&value.to_string()),
            Setting::Text(value) => f.pad(value),
        }
    }
}

impl Setting {
    /// As it stands in a config.
    pub fn to_toml(&self) -> Value {
        match self {
            Setting::Switch(value) => Value::Boolean(*value),
            Setting::Integer(value) => Value::Integer(*value),
            Setting::Number(value) => Value::Float(*value),
            Setting::Text(value) => Value::String(value.clone()),
        }
    }
}

/// Keys with their values.
pub type Settings = Vec<(String, Setting)>;

/// Where a parameter is looked for in one round.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Space {
    /// Between two values.
    Between {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// How the values between them are spread.
        scale: Scale,
    },
    /// Among values.
    Among {
        /// The values.
        choices: Vec<Setting>,
    },
}

impl Space {
    fn of(low: Option<f64>, high: Option<f64>, scale: Scale, choices: &[Setting]) -> Option<Self> {
        match (low, high, choices) {
            (Some(low), Some(high), []) => Some(Space::Between { low, high, scale }),
            (None, None, [_, ..]) => Some(Space::Among { choices: choices.to_vec() }),
            _ => None,
        }
    }

    /// What is wrong with it.
    fn problem(&self) -> Option<String> {
        let Space::Between { low, high, scale } = self else { return None };
        let finite = low.is_finite() && high.is_finite();
        if !finite || low >= high {
            return Some(format!("there is nothing between {low} and {high}"));
        }
        match scale {
            Scale::Log if *low <= 0.0 => Some(format!("{low} has no logarithm")),
            Scale::Int if low.fract() != 0.0 || high.fract() != 0.0 => {
                Some(format!("{low} and {high} are not both whole numbers"))
            }
            _ => None,
        }
    }

    /// The place of a value from 0 to 1 on the scale that is searched; below 0 or above 1 where it lies outside. `None` of what
    /// is not among the choices.
    pub fn place_of(&self, value: &Setting) -> Option<f64> {
        let number = match value {
            Setting::Integer(value) => *value as f64,
            Setting::Number(value) => *value,
            Setting::Switch(_) | Setting::Text(_) => f64::NAN,
        };
        match self {
            Space::Among { choices } => {
                let at = choices.iter().position(|choice| choice == value)?;
                Some((at as f64 + 0.5) / choices.len() as f64)
            }
            Space::Between { low, high, scale: Scale::Log } if number > 0.0 => {
                Some((libm::log(number) - libm::log(*low)) / (libm::log(*high) - libm::log(*low)))
            }
            Space::Between { low, high, .. } => Some((number - low) / (high - low)).filter(|place| place.is_finite()),
        }
    }

    /// Whether a value lies in it.
    pub fn holds(&self, value: &Setting) -> bool {
        // What was rounded may lie a hair beyond.
        self.place_of(value).is_some_and(|place| (-1e-9..=1.0 + 1e-9).contains(&place))
    }

    /// The value at a place from 0 to 1. Numbers have four significant digits, so that a config with them can be read.
    pub fn value_at(&self, place: f64) -> Setting {
        let rounded = |number: f64, low: f64, high: f64| {
            let short: f64 = format!("{number:.3e}").parse().expect("a number is one");
            Setting::Number(short.clamp(low, high))
        };
        match self {
            Space::Among { choices } => {
                let at = libm::floor(place * choices.len() as f64) as usize;
                choices[at.min(choices.len() - 1)].clone()
            }
            Space::Between { low, high, scale: Scale::Int } => {
                let whole = low + libm::floor(place * (high - low + 1.0));
                Setting::Integer(whole.min(*high) as i64)
            }
            Space::Between { low, high, scale: Scale::Log } => {
                let (from, to) = (libm::log(*low), libm::log(*high));
                rounded(libm::exp(from + place * (to - from)), *low, *high)
            }
            Space::Between { low, high, scale: Scale::Linear } => rounded(low + place * (high - low), *low, *high),
        }
    }
}

impl Nuisance {
    /// What it is called: its key, and where it is conditional the values that it exists under.
    pub fn label(&self) -> String {
        match &self.only_when {
            Some(when) => format!("{} ({})", self.key, listed(&when.is)),
            None => self.key.clone(),
        }
    }

    /// Whether it exists under a combination of scientific values.
    pub fn exists_under(&self, combination: &Settings) -> bool {
        let holds =
            |when: &OnlyWhen| combination.iter().any(|(key, value)| *key == when.key && when.is.contains(value));
        self.only_when.as_ref().is_none_or(holds)
    }
}

/// Values in a row.
pub fn listed(values: &[Setting]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A round with its ranges.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranges {
    /// Its first point, counted over all rounds.
    pub first_point: u32,
    /// Points: trials for each value of the scientific parameter.
    pub trials: u32,
    /// Where each nuisance parameter is looked for, in the order of the file.
    pub spaces: Vec<Space>,
}

/// Nuisance parameters that a study can have: dimensions of a point.
pub const MOST_NUISANCE: usize = 21;
/// Trials that a study can have.
const MOST_TRIALS: u64 = 10_000;
/// Rows of `steps.csv` that a trial keeps.
const STEP_ROWS: i64 = 100;
/// Per cent of its steps after which a trial is validated, beside the end: what shows that it falls behind, overfits or still
/// improves.
const VALIDATED_PERCENT: [u32; 3] = [50, 90, 95];

impl Study {
    /// All combinations of scientific values; of one parameter its values. Each is run with the same number of trials.
    pub fn combinations(&self) -> Vec<Settings> {
        self.scientific.iter().fold(vec![Vec::new()], |before, parameter| {
            let with = |settings: &Settings| {
                let add = |value: &Setting| [settings.clone(), vec![(parameter.key.clone(), value.clone())]].concat();
                parameter.values.iter().map(add).collect::<Vec<_>>()
            };
            before.iter().flat_map(with).collect()
        })
    }

    /// The rounds, each with the ranges that hold in it.
    pub fn rounds(&self) -> Vec<Ranges> {
        let space =
            |n: &Nuisance| Space::of(n.low, n.high, n.scale, &n.choices).expect("a checked study has a space each");
        let mut rounds =
            vec![Ranges { first_point: 0, trials: self.trials, spaces: self.nuisance.iter().map(space).collect() }];
        for round in &self.round {
            let mut next = rounds.last().expect("there is a first").clone();
            (next.first_point, next.trials) = (next.first_point + next.trials, round.trials);
            for range in &round.range {
                for (space, n) in
                    next.spaces.iter_mut().zip(&self.nuisance).filter(|(_, n)| n.label() == range.parameter)
                {
                    *space = Space::of(range.low, range.high, n.scale, &range.choices).expect("checked likewise");
                }
            }
            rounds.push(next);
        }
        rounds
    }

    /// The ranges of the last round: in these a trial counts.
    pub fn present(&self) -> Ranges {
        self.rounds().pop().expect("there is a first")
    }

    /// Per cent of its steps after which a trial is validated, ascending, the end aside.
    pub fn validated_percent(&self) -> Vec<u32> {
        let mut at: Vec<u32> =
            VALIDATED_PERCENT.into_iter().chain(self.pruning.map(|pruning| pruning.after_percent)).collect();
        at.sort_unstable();
        at.dedup();
        at
    }

    /// What a trial sets beyond its experiment: its values, and what keeps its record small. Few validations, no tasks but that
    /// of the metric, no rows of single tokens or layers, few rows of steps, one checkpoint.
    pub fn settings(&self, base: &Choices, values: &Settings) -> Table {
        let mut table = Table::new();
        let asked = |task: &&String| self.metric.starts_with(&format!("tasks.{task}."));
        let tasks: Vec<Value> = base.evaluation.tasks.iter().filter(asked).map(|task| task.clone().into()).collect();
        let percent: Vec<Value> =
            self.validated_percent().into_iter().map(|percent| i64::from(percent).into()).collect();
        let light: [(&str, Value); 8] = [
            ("evaluation.validation_at", Table::from_iter([("percent".to_owned(), percent.into())]).into()),
            ("evaluation.tasks_at", "last".into()),
            ("evaluation.tasks", tasks.into()),
            ("evaluation.token_losses_at", "none".into()),
            ("metrics.tensor_norms_every", 0.into()),
            ("metrics.activations_every", 0.into()),
            ("metrics.step_rows", STEP_ROWS.into()),
            ("training.checkpoint_every", 0.into()),
        ];
        let values = values.iter().map(|(key, value)| (key.as_str(), value.to_toml()));
        for (key, value) in light.into_iter().chain(values) {
            put(&mut table, key, value);
        }
        table
    }
}

/// Puts a value at a dotted key.
pub fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Table::new().into());
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// Reads a study and checks it against the experiment that it varies, which `with` loads under any settings.
pub fn load_study(
    name: &ExperimentName,
    text: &str,
    with: &dyn Fn(&Table) -> Result<Loaded, ConfigError>,
) -> Result<Study, ConfigError> {
    let path = format!("experiments/{name}/study.toml");
    let source = [Source { name: Some(name.clone()), path, text: text.to_owned() }];
    let study: Study = parse_file(&source)?;
    let wrong = |(key, problem, hint): Refusal| ConfigError::at_key(&source, &key, problem, hint);
    study.check().map_err(wrong)?;
    let base = with(&Table::new())?.experiment;
    study.check_against(&base).map_err(wrong)?;
    study.try_values(&base, with, &source)?;
    Ok(study)
}

/// Dotted key, problem, hint.
type Refusal = (String, String, Option<String>);
type Checked = Result<(), Refusal>;

fn refuse(key: impl Into<String>, problem: impl Into<String>, hint: impl Into<String>) -> Checked {
    Err((key.into(), problem.into(), Some(hint.into())))
}

/// Why a key cannot be varied at all, with what can be done.
fn not_varied(key: &str) -> Option<(&'static str, &'static str)> {
    let is = |keys: &[&str]| {
        keys.iter().any(|of| key == *of || key.strip_prefix(of).is_some_and(|rest| rest.starts_with('.')))
    };
    if is(&["training.steps", "training.budget"]) {
        Some((
            "more training is better nearly always, so it would decide instead of what is asked",
            "fix it in experiment.toml; to learn how much training pays, compare two experiments",
        ))
    } else if key == "seed" {
        Some(("seeds are derived: the same for each value of the scientific parameter", "leave it out"))
    } else if is(&["evaluation", "metrics", "training.checkpoint_every", "training.keep"]) {
        Some(("it says what is measured or kept and changes no result", "leave it out"))
    } else if !is_of_the_plan(key) || is(&["primary_metrics"]) {
        Some(("it is no parameter of the training", "name one, such as `optimizer.learning_rate`"))
    } else if key == "corpus" {
        Some((
            "each corpus has its own held-out text, so that the trials would not be scored on the same",
            "compare two experiments on a task that both score",
        ))
    } else {
        None
    }
}

impl Study {
    /// What can be said without the experiment.
    fn check(&self) -> Checked {
        if self.goal.trim().is_empty() {
            return refuse(
                "goal",
                "a study without a question answers none",
                "state in a sentence what it is to find out",
            );
        }
        if self.direction == Direction::Same {
            return refuse("direction", "no trial is the best at staying the same", "write \"lower\" or \"higher\"");
        }
        if let Some(second) = self.scientific.get(1).filter(|_| !self.factorial) {
            return refuse(
                "scientific[1].key",
                format!("`{}` would be a second scientific parameter, and a study asks about one", second.key),
                "make it a `[[nuisance]]` parameter, or declare `factorial = true` to hold all combinations against each other",
            );
        }
        if self.scientific.is_empty() {
            return refuse("scientific", "there is none", "name the parameter that the study is about");
        }
        for (at, parameter) in self.scientific.iter().enumerate() {
            let place = format!("scientific[{at}]");
            if let Some((why, hint)) = not_varied(&parameter.key) {
                return refuse(format!("{place}.key"), format!("`{}` cannot be varied: {why}", parameter.key), hint);
            }
            if self.scientific[..at].iter().any(|other| other.key == parameter.key) {
                return refuse(format!("{place}.key"), format!("`{}` is named twice", parameter.key), "name it once");
            }
            distinct(&format!("{place}.values"), &parameter.values)?;
        }
        if self.nuisance.len() > MOST_NUISANCE {
            let hint = "tune those that matter most and name the others under `[[fixed]]`";
            return refuse("nuisance", format!("{} are more than {MOST_NUISANCE}", self.nuisance.len()), hint);
        }
        let combinations = self.combinations();
        for (at, parameter) in self.nuisance.iter().enumerate() {
            self.check_nuisance(at, parameter, &combinations)?;
        }
        for (at, fixed) in self.fixed.iter().enumerate() {
            let place = format!("fixed[{at}]");
            if self.varies(&fixed.key) {
                return refuse(
                    format!("{place}.key"),
                    format!("`{}` is varied", fixed.key),
                    "leave it out of one of them",
                );
            }
            if fixed.because.trim().is_empty() {
                return refuse(format!("{place}.because"), "no reason is stated", "say why it is not tuned");
            }
        }
        self.check_rounds()?;
        if let Some(pruning) = &self.pruning {
            if !(10..=90).contains(&pruning.after_percent) {
                let problem = format!("{} is not between 10 and 90", pruning.after_percent);
                return refuse("pruning.after_percent", problem, "30 is usual");
            }
            if pruning.complete_before < 3 {
                let problem = format!("a median of {} says little", pruning.complete_before);
                return refuse("pruning.complete_before", problem, "use at least 3");
            }
            if !self.metric.starts_with("validation.") {
                let problem = "trials are stopped by their validation loss, which the metric is not about";
                return refuse("pruning", problem, "leave it out, or study `validation.bits_per_byte`");
            }
        }
        Ok(())
    }

    fn varies(&self, key: &str) -> bool {
        self.scientific.iter().any(|parameter| parameter.key == key)
            || self.nuisance.iter().any(|parameter| parameter.key == key)
    }

    fn check_nuisance(&self, at: usize, parameter: &Nuisance, combinations: &[Settings]) -> Checked {
        let place = format!("nuisance[{at}]");
        let key = format!("{place}.key");
        if parameter.key.starts_with("training.batch_size") {
            return refuse(
                key,
                "the batch size sets how fast a machine trains, and every other parameter must be tuned anew for each \
                 (Shallue et al. 2019), so it is not tuned beside them",
                "fix it in experiment.toml, at what `harness probe batch` finds; or make it the scientific parameter",
            );
        }
        if let Some((why, hint)) = not_varied(&parameter.key) {
            return refuse(key, format!("`{}` cannot be varied: {why}", parameter.key), hint);
        }
        if self.scientific.iter().any(|scientific| scientific.key == parameter.key) {
            return refuse(
                key,
                format!("`{}` is the scientific parameter", parameter.key),
                "leave it out of one of them",
            );
        }
        if let Some(when) = &parameter.only_when {
            let place = format!("{place}.only_when");
            let Some(scientific) = self.scientific.iter().find(|scientific| scientific.key == when.key) else {
                let hint = format!("a branch is named by a scientific parameter: `{}`", self.scientific[0].key);
                return refuse(place, format!("`{}` is not one", when.key), hint);
            };
            if let Some(other) = when.is.iter().find(|value| !scientific.values.contains(value)) {
                let hint = format!("its values are {}", listed(&scientific.values));
                return refuse(place, format!("`{}` is never {other}", when.key), hint);
            }
        }
        let exists = |combination: &&Settings| parameter.exists_under(combination);
        if combinations.iter().all(|combination| !exists(&combination)) {
            return refuse(key, "it exists under no value", "name values in `only_when`");
        }
        let clash = |other: &&Nuisance| {
            other.key == parameter.key && combinations.iter().filter(exists).any(|both| other.exists_under(both))
        };
        if self.nuisance[..at].iter().any(|other| clash(&other)) {
            let problem = format!("`{}` is named twice for the same trials", parameter.key);
            return refuse(key, problem, "name it once, or under different values by `only_when`");
        }
        let hint = "state `low` and `high` (and `scale`), or `choices`";
        let Some(space) = Space::of(parameter.low, parameter.high, parameter.scale, &parameter.choices) else {
            return refuse(key, "it has neither a range nor choices, or both", hint);
        };
        if let Some(problem) = space.problem() {
            return refuse(
                format!("{place}.low"),
                problem,
                "`low` must lie below `high`, and above 0 with `scale = \"log\"`",
            );
        }
        if parameter.choices.is_empty() { Ok(()) } else { distinct(&format!("{place}.choices"), &parameter.choices) }
    }

    fn check_rounds(&self) -> Checked {
        let labels: Vec<String> = self.nuisance.iter().map(Nuisance::label).collect();
        if self.trials == 0 {
            return refuse("trials", "must be at least 1", "ten to a dozen for each nuisance parameter is a start");
        }
        for (at, round) in self.round.iter().enumerate() {
            let place = format!("round[{at}]");
            if round.trials == 0 {
                return refuse(format!("{place}.trials"), "must be at least 1", "leave the round out");
            }
            if round.because.trim().is_empty() {
                let hint = "say what the rounds before have shown";
                return refuse(format!("{place}.because"), "no reason is stated", hint);
            }
            for (nth, range) in round.range.iter().enumerate() {
                let place = format!("{place}.range[{nth}]");
                let Some(of) = self.nuisance.iter().find(|n| n.label() == range.parameter) else {
                    let hint = match super::nearest(&range.parameter, &labels) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("nuisance parameters here: {}", labels.join("; ")),
                    };
                    let problem = format!("`{}` is no nuisance parameter", range.parameter);
                    return refuse(format!("{place}.parameter"), problem, hint);
                };
                let space = Space::of(range.low, range.high, of.scale, &range.choices);
                let same_kind = range.choices.is_empty() == of.choices.is_empty();
                let Some(space) = space.filter(|_| same_kind) else {
                    let hint = if of.choices.is_empty() { "state `low` and `high`" } else { "state `choices`" };
                    let problem = format!("that is no range of `{}`", range.parameter);
                    return refuse(format!("{place}.parameter"), problem, hint);
                };
                if let Some(problem) = space.problem() {
                    return refuse(format!("{place}.low"), problem, "`low` must lie below `high`");
                }
                // What is tried beyond the first list has no place on its axis.
                if let Some(new) = range.choices.iter().find(|choice| !of.choices.contains(choice)) {
                    let hint = format!("they are {}", listed(&of.choices));
                    return refuse(format!("{place}.choices"), format!("{new} is not among the choices"), hint);
                }
            }
        }
        let points = self.round.iter().map(|round| u64::from(round.trials)).sum::<u64>() + u64::from(self.trials);
        let all = points * self.combinations().len() as u64;
        if all > MOST_TRIALS {
            return refuse("trials", format!("{all} trials are more than {MOST_TRIALS}"), "nobody will run them all");
        }
        Ok(())
    }

    fn check_against(&self, base: &Choices) -> Checked {
        if let Some(trunk) = &base.trunk {
            let problem = format!(
                "the experiment begins from step {} of `{}`, and trials could not: each point has a seed of its own, of which that has no run, \
                 and trials are validated where it was not",
                trunk.step, trunk.experiment
            );
            return refuse(
                "trials",
                problem,
                "leave `trunk` out of the experiment, so that trials are trained from nothing, or propose each cool-down as an experiment",
            );
        }
        let is_budget = base.training.budget.is_some();
        if (self.compare_at == CompareAt::Budget) != is_budget {
            let (there, hint) = match is_budget {
                true => ("a `budget`", "write \"budget\""),
                false => ("`steps`", "write \"steps\", or give the experiment a `training.budget`"),
            };
            return refuse("compare_at", format!("the experiment ends by {there}"), hint);
        }
        let validation = ["validation.bits_per_byte", "validation.loss", "validation.perplexity"];
        let of_task = |task: &String| self.metric.starts_with(&format!("tasks.{task}."));
        if !validation.contains(&self.metric.as_str()) && !base.evaluation.tasks.iter().any(of_task) {
            let tasks: Vec<String> =
                base.evaluation.tasks.iter().map(|task| format!("`tasks.{task}.accuracy`")).collect();
            let also = if tasks.is_empty() { String::new() } else { format!(", or of a task: {}", tasks.join(", ")) };
            let problem = format!("no trial would have `{}`", self.metric);
            return refuse("metric", problem, format!("`{}` is usual{also}", validation[0]));
        }
        let known: Vec<String> = super::flat(base).into_iter().map(|(key, _)| key).collect();
        for (at, fixed) in self.fixed.iter().enumerate() {
            if !known.contains(&fixed.key) {
                let hint = super::nearest(&fixed.key, &known).map_or_else(
                    || "`harness show EXPERIMENT` lists the keys".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                return refuse(
                    format!("fixed[{at}].key"),
                    format!("`{}` is no key of the experiment", fixed.key),
                    hint,
                );
            }
        }
        Ok(())
    }

    /// Loads the experiment with every value of the scientific parameters, and with both ends of every range.
    fn try_values(
        &self,
        base: &Choices,
        with: &dyn Fn(&Table) -> Result<Loaded, ConfigError>,
        source: &[Source],
    ) -> Result<(), ConfigError> {
        let at = |key: &str, value: &Setting, settings: &Settings| match with(&self.settings(base, settings)) {
            Ok(_) => Ok(()),
            Err(ConfigError::Wrong(wrong)) if wrong.problem.contains("unknown key") => {
                let of = key.rsplit_once('.').map_or(key, |(parameter, _)| parameter);
                Err(ConfigError::at_key(source, &format!("{of}.key"), wrong.problem, wrong.hint))
            }
            Err(ConfigError::Wrong(wrong)) => {
                let whole = || "`scale = \"int\"` gives whole numbers".to_owned();
                let hint = wrong.hint.or_else(|| wrong.problem.contains("floating point").then(whole));
                Err(ConfigError::at_key(source, key, format!("{value} cannot be run: {}", wrong.problem), hint))
            }
            Err(other) => Err(other),
        };
        let combinations = self.combinations();
        for combination in &combinations {
            // The last one differs from the combination before it.
            let before = combinations.iter().take_while(|other| *other != combination).last();
            let changed = |nth: &usize| before.is_none_or(|before| before[*nth] != combination[*nth]);
            let nth = (0..combination.len()).rev().find(changed).unwrap_or(0);
            at(&format!("scientific[{nth}].values"), &combination[nth].1, combination)?;
        }
        for (ranges, round) in self.rounds().iter().zip(0..) {
            for ((nth, parameter), space) in self.nuisance.iter().enumerate().zip(&ranges.spaces) {
                let ends = match space {
                    Space::Between { scale: Scale::Int, low, high } => [("low", low), ("high", high)]
                        .map(|(end, value)| (end, Setting::Integer(*value as i64)))
                        .to_vec(),
                    Space::Between { low, high, .. } => {
                        vec![("low", Setting::Number(*low)), ("high", Setting::Number(*high))]
                    }
                    Space::Among { choices } => choices.iter().map(|choice| ("choices", choice.clone())).collect(),
                };
                for combination in combinations.iter().filter(|combination| parameter.exists_under(combination)) {
                    for (end, value) in &ends {
                        let own = self
                            .round
                            .get(usize::wrapping_sub(round, 1))
                            .and_then(|own| own.range.iter().position(|range| range.parameter == parameter.label()));
                        let key = match own {
                            Some(range) => format!("round[{}].range[{range}].{end}", round - 1),
                            None => format!("nuisance[{nth}].{end}"),
                        };
                        let settings = [combination.clone(), vec![(parameter.key.clone(), value.clone())]].concat();
                        at(&key, value, &settings)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// At least two values, each once.
fn distinct(key: &str, values: &[Setting]) -> Checked {
    if values.len() < 2 {
        return refuse(key, "there is nothing to choose between", "name at least two");
    }
    match values.iter().enumerate().find(|(at, value)| values[..*at].contains(value)) {
        Some((_, twice)) => refuse(key, format!("{twice} is named twice"), "name it once"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    const BASE: &str = "corpus = \"tiny\"\n[training]\nsteps = 100\n[evaluation]\ntasks = [\"copa\"]\n";

    fn read(text: &str, base: &str) -> Result<Study, ConfigError> {
        let name: ExperimentName = "base".parse().unwrap();
        let text_of = |asked: &ExperimentName| Ok((*asked == name).then(|| base.to_owned()));
        load_study(&name, text, &|settings| load(&name, &[], &text_of, settings))
    }

    fn cases(kind: &str) -> Vec<(String, String)> {
        let folder =
            std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/configs/studies")).join(kind);
        let files = crate::files::list(&folder).unwrap();
        let text = |file: &String| crate::files::read_to_string(&folder.join(file)).unwrap();
        files.iter().filter_map(|file| Some((file.strip_suffix(".toml")?.to_owned(), text(file)))).collect()
    }

    #[test]
    fn every_valid_study_loads() {
        for (name, text) in cases("valid") {
            read(&text, BASE).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// The messages are beside the files.
    #[test]
    fn mistakes_of_a_study_are_shown_at_their_place() {
        insta::with_settings!({ snapshot_path => "../../../../tests/configs/studies/invalid", prepend_module_to_snapshot => false, omit_expression => true }, {
            for (name, text) in cases("invalid") {
                insta::assert_snapshot!(name, read(&text, BASE).unwrap_err().to_string());
            }
        });
    }

    #[test]
    fn what_begins_from_a_trunk_has_no_study() {
        let text = include_str!("../../../../tests/configs/studies/valid/optimizers.toml");
        let refused = read(text, &format!("trunk = {{ experiment = \"long\", step = 50 }}\n{BASE}")).unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("the experiment begins from step 50 of `long`, and trials could not"), "{refused}");
        assert!(refused.contains("leave `trunk` out of the experiment"), "{refused}");
    }

    #[test]
    fn values_lie_in_their_range_and_find_their_place_again() {
        let between = |low, high, scale| Space::Between { low, high, scale };
        let among = Space::Among { choices: ["a", "b", "c"].map(|text| Setting::Text(text.to_owned())).to_vec() };
        for space in [
            between(1e-4, 3.3333e-2, Scale::Log),
            between(-2.0, 0.77777, Scale::Linear),
            between(2.0, 5.0, Scale::Int),
            among,
        ] {
            for nth in 0..1000 {
                let place = f64::from(nth) / 1000.0;
                let value = space.value_at(place);
                assert!(space.holds(&value), "{space:?} {value}");
                let found = space.place_of(&value).unwrap();
                assert!((found - place).abs() < 0.34, "{space:?}: {value} of {place} is found at {found}");
            }
        }
        let log = between(1e-4, 1e-2, Scale::Log);
        assert_eq!(log.value_at(0.5), Setting::Number(1e-3));
        let whole: Vec<Setting> =
            (0..4).map(|nth| between(2.0, 5.0, Scale::Int).value_at(f64::from(nth) / 4.0)).collect();
        assert_eq!(whole, [2, 3, 4, 5].map(Setting::Integer), "each as often as the others");
        assert!(!log.holds(&Setting::Number(2e-2)) && !log.holds(&Setting::Text("x".to_owned())));
    }

    #[test]
    fn a_trial_is_small_and_scores_what_the_metric_asks() {
        let study = read(include_str!("../../../../tests/configs/studies/valid/optimizers.toml"), BASE).unwrap();
        let name: ExperimentName = "base".parse().unwrap();
        let with = |study: &Study| {
            let base = read_base();
            load(&name, &[], &|_| Ok(Some(BASE.to_owned())), &study.settings(&base, &study.combinations()[0])).unwrap()
        };
        let experiment = with(&study).experiment;
        assert_eq!(experiment.evaluation.validation_steps(100), [30, 50, 90, 95, 100]);
        assert!(experiment.evaluation.tasks.is_empty() && experiment.evaluation.token_loss_steps(100).is_empty());
        let of_task = Study { metric: "tasks.copa.accuracy".to_owned(), pruning: None, ..study };
        assert_eq!(with(&of_task).experiment.evaluation.task_steps(100), [100]);
    }

    fn read_base() -> Choices {
        let name: ExperimentName = "base".parse().unwrap();
        (*load(&name, &[], &|_| Ok(Some(BASE.to_owned())), &Table::new()).unwrap().experiment).clone()
    }
}
