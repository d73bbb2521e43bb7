//! `experiments/budget.toml`: what a project may spend. One that is absent, or states nothing, sets no limit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::value::{Date, Datetime};

use super::{ConfigError, Source, parse_file};
use crate::files;
use crate::names::Project;

/// The limits of a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Hours of runs on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_hours: Option<f64>,
    /// Hours of runs on a processor: of the machine, however many cores they use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_hours: Option<f64>,
    /// Energy that GPUs measured, in kilowatt hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_kwh: Option<f64>,
    /// Money, in `currency`: hours times their price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<f64>,
    /// The currency of `money` and of prices, such as `EUR`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub currency: String,
    /// What an hour on a GPU costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_gpu_hour: Option<f64>,
    /// What an hour on a processor costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_cpu_hour: Option<f64>,
    /// The last day of runs, such as `2026-12-20`, in UTC. No run is started that would end after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date: Option<String>,
    /// Which share of each limit a phase may spend, from 0 to 1. A phase that is not named may spend all.
    #[serde(skip_serializing_if = "Shares::is_empty")]
    pub shares: Shares,
}

/// What each phase may spend of every limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Runs to explore of experiments that extend none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Runs to explore of experiments that change another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explore: Option<f64>,
    /// Runs and probes to choose a value by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tune: Option<f64>,
    /// Runs to decide a claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<f64>,
    /// Runs to report what was decided.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub last: Option<f64>,
    /// Later evaluations of checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<f64>,
}

/// What something is spent on, as records say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// To explore, of an experiment that extends none.
    Baseline,
    /// To explore, of an experiment that changes another.
    Explore,
    /// To choose a value by; probes too.
    Tune,
    /// To decide a claim.
    Confirm,
    /// To report what was decided.
    Final,
    /// Later evaluations of checkpoints.
    Evaluate,
}

impl Phase {
    /// All, in the order in which a study meets them.
    pub const ALL: [Phase; 6] =
        [Phase::Baseline, Phase::Explore, Phase::Tune, Phase::Confirm, Phase::Final, Phase::Evaluate];

    /// The word in files and tables.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Baseline => "baseline",
            Phase::Explore => "explore",
            Phase::Tune => "tune",
            Phase::Confirm => "confirm",
            Phase::Final => "final",
            Phase::Evaluate => "evaluate",
        }
    }
}

impl Shares {
    /// The share of a phase, if it has one of its own.
    pub fn of(&self, phase: Phase) -> Option<f64> {
        match phase {
            Phase::Baseline => self.baseline,
            Phase::Explore => self.explore,
            Phase::Tune => self.tune,
            Phase::Confirm => self.confirm,
            Phase::Final => self.last,
            Phase::Evaluate => self.evaluate,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn stated(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [Phase::Baseline, Phase::Explore, Phase::Tune, Phase::Confirm, Phase::Final, Phase::Evaluate];
        all.map(|phase| (phase.word(), self.of(phase))).into_iter().filter_map(|(word, share)| Some((word, share?)))
    }
}

/// The file as nobody has edited it.
const DRAFT: &str = "#:schema schema/budget.json
# What this project may spend. Nothing is limited until a line says so: take away its `#`. `harness budget` shows what is left, and
# runs that cannot be paid are refused before they start.
#
# gpu_hours = 40.0
# cpu_hours = 200.0
# energy_kwh = 25.0
# money = 100.0
# currency = \"EUR\"
# price_per_gpu_hour = 2.5
# end_date = \"2027-01-31\"
#
# [shares]
# baseline = 0.2
# explore = 0.2
# tune = 0.2
# confirm = 0.3
# final = 0.1
";

impl Limits {
    /// The text of the file of a project that begins, with the hours that it may spend.
    pub fn draft(gpu_hours: Option<f64>, cpu_hours: Option<f64>) -> String {
        let mut text = DRAFT.to_owned();
        for (key, example, hours) in [("gpu_hours", "40.0", gpu_hours), ("cpu_hours", "200.0", cpu_hours)] {
            if let Some(hours) = hours {
                text =
                    text.replace(&format!("# {key} = {example}\n"), &format!("{key} = {}\n", toml::Value::from(hours)));
            }
        }
        text
    }

    /// Reads the limits that hold today, whatever commit plans are read from.
    pub fn load(project: &Project) -> Result<Self, ConfigError> {
        match files::read_to_string(&project.budget_file()) {
            Ok(text) => Self::parse(text),
            Err(error) if error.is_not_found() => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads and checks the text of the file.
    pub fn parse(text: String) -> Result<Self, ConfigError> {
        let sources = [Source { name: None, path: "experiments/budget.toml".to_owned(), text }];
        let limits: Limits = parse_file(&sources)?;
        limits.check().map_err(|(key, problem, hint)| ConfigError::at_key(&sources, &key, problem, hint))?;
        Ok(limits)
    }

    /// The first mistake, as (dotted key, problem, hint).
    fn check(&self) -> Result<(), (String, String, Option<String>)> {
        let wrong = |key: &str, problem: String, hint: &str| Err((key.to_owned(), problem, Some(hint.to_owned())));
        let amounts = [
            ("gpu_hours", self.gpu_hours),
            ("cpu_hours", self.cpu_hours),
            ("energy_kwh", self.energy_kwh),
            ("money", self.money),
            ("price_per_gpu_hour", self.price_per_gpu_hour),
            ("price_per_cpu_hour", self.price_per_cpu_hour),
        ];
        for (key, amount) in amounts {
            if let Some(amount) = amount.filter(|amount| !(amount.is_finite() && *amount >= 0.0)) {
                return wrong(
                    key,
                    format!("{amount} is no amount"),
                    "state 0 or more; leave the line out for no limit",
                );
            }
        }
        let priced = self.price_per_gpu_hour.or(self.price_per_cpu_hour);
        if self.money.is_some() && priced.is_none() {
            let hint = "state `price_per_gpu_hour` or `price_per_cpu_hour` as well";
            return wrong("money", "no hour has a price".to_owned(), hint);
        }
        if priced.is_some() && self.currency.trim().is_empty() {
            let key = if self.price_per_gpu_hour.is_some() { "price_per_gpu_hour" } else { "price_per_cpu_hour" };
            return wrong(key, "it has no currency".to_owned(), "for example `currency = \"EUR\"`");
        }
        if let Some(text) = &self.end_date
            && day(text).is_none()
        {
            let hint = "a day is written as \"2026-12-20\"";
            return wrong("end_date", format!("`{text}` is no day"), hint);
        }
        for (phase, share) in self.shares.stated() {
            if !(0.0..=1.0).contains(&share) {
                let hint = "a tenth is 0.1";
                return wrong(&format!("shares.{phase}"), format!("{share} is no share from 0 to 1"), hint);
            }
        }
        let sum: f64 = self.shares.stated().map(|(_, share)| share).sum();
        if sum > 1.0 + 1e-9 {
            let hint = "shares are parts of each limit: together at most 1";
            return wrong("shares", format!("they add up to {sum:.3}"), hint);
        }
        Ok(())
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        let amounts = [self.gpu_hours, self.cpu_hours, self.energy_kwh, self.money];
        amounts.iter().all(Option::is_none) && self.end_date.is_none()
    }
}

fn day(text: &str) -> Option<Date> {
    let date: Datetime = text.parse().ok()?;
    date.date.filter(|_| date.time.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Limits::parse(text.to_owned()).unwrap_err().to_string()
    }

    #[test]
    fn limits_are_read_and_nothing_is_no_limit() {
        let text = "gpu_hours = 40\ncurrency = \"EUR\"\nprice_per_gpu_hour = 2.5\nmoney = 100.0\nend_date = \"2026-12-20\"\n\
                    [shares]\ntune = 0.3\nfinal = 0.1\n";
        let limits = Limits::parse(text.to_owned()).unwrap();
        assert_eq!((limits.gpu_hours, limits.shares.of(Phase::Final)), (Some(40.0), Some(0.1)));
        assert_eq!(limits.shares.of(Phase::Confirm), None);
        assert!(!limits.is_empty());
        assert!(Limits::parse("# nothing\n".to_owned()).unwrap().is_empty());
    }

    #[test]
    fn a_project_begins_with_the_hours_that_it_was_given() {
        let begun = |gpu, cpu| Limits::parse(Limits::draft(gpu, cpu)).unwrap();
        assert!(begun(None, None).is_empty());
        assert_eq!(begun(Some(12.0), None), Limits { gpu_hours: Some(12.0), ..Limits::default() });
        let both = Limits { gpu_hours: Some(0.0), cpu_hours: Some(1e300), ..Limits::default() };
        assert_eq!(begun(Some(0.0), Some(1e300)), both);
        // Whoever takes away each `#` has a file that is read.
        let all: String =
            DRAFT.lines().skip(4).map(|line| format!("{}\n", line.trim_start_matches(['#', ' ']))).collect();
        assert_eq!(Limits::parse(all).unwrap().shares.of(Phase::Final), Some(0.1));
    }

    #[test]
    fn a_mistake_is_shown_at_its_line_and_column() {
        for (text, problem, place) in [
            ("gpu_hours = 4\ngpu_hour = 3\n", "unknown key `gpu_hour`", "experiments/budget.toml:2:12"),
            ("gpu_hours = \"4\"\n", "`gpu_hours`", "budget.toml:1:13"),
            ("cpu_hours = -1\n", "`cpu_hours`: -1 is no amount", "budget.toml:1:13"),
            ("energy_kwh = nan\n", "`energy_kwh`: NaN is no amount", "budget.toml:1:14"),
            ("money = 3\n", "no hour has a price", "budget.toml:1:9"),
            ("price_per_cpu_hour = 3\n", "it has no currency", "budget.toml:1:22"),
            ("end_date = \"2026-02-30\"\n", "`2026-02-30` is no day", "budget.toml:1:12"),
            ("end_date = \"soon\"\n", "`soon` is no day", "budget.toml:1:12"),
            ("[shares]\ntune = 1.5\n", "`shares.tune`: 1.5 is no share", "budget.toml:2:8"),
            ("[shares]\ntune = 0.5\nconfirm = 0.6\n", "they add up to 1.100", "budget.toml:1:2"),
            ("[shares]\ntest = 0.5\n", "unknown key `test`", "budget.toml:2:8"),
            ("gpu_hours = \n", "", "budget.toml:1:13"),
        ] {
            let refused = refused(text);
            assert!(refused.contains(problem) && refused.contains(place), "{text}: {refused}");
        }
    }
}
