//! What a project has spent, as the page shows it: by phase and experiment, without names of people.

use harness_core::config::Limits;
use harness_study::budget::{Line, Quantity};
use harness_study::ledger::{Entry, Ledger, Total};
use serde::Serialize;

/// What was spent, and the limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Spending {
    /// Limits, then their shares.
    pub limits: Vec<Limit>,
    /// What it was spent on; the last part is the whole.
    pub parts: Vec<Part>,
    /// The currency, or empty.
    pub currency: String,
    /// The last day.
    pub end_date: Option<String>,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limit {
    /// What it limits, such as `GPU hours for confirm`.
    pub name: String,
    /// The numbers.
    #[serde(flatten)]
    pub line: Line,
}

/// A part of what was spent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// By what: `phase`, `experiment` or `all`.
    pub by: &'static str,
    /// Which.
    pub name: String,
    /// The numbers.
    #[serde(flatten)]
    pub total: Total,
    /// In the currency; null where no hour has a price.
    pub money: Option<f64>,
}

impl Spending {
    /// Of a ledger, with the lines of its limits.
    pub fn of(limits: &Limits, ledger: &Ledger, lines: &[Line]) -> Self {
        let priced = limits.price_per_gpu_hour.or(limits.price_per_cpu_hour).is_some();
        let part = |by: &'static str, (name, total): (String, Total)| {
            let money = priced.then(|| Quantity::Money.of(&total.spent, limits));
            Part { by, name, total, money }
        };
        let phase = |entry: &Entry| entry.phase.word().to_owned();
        let mut parts: Vec<Part> = ledger.by(phase).into_iter().map(|total| part("phase", total)).collect();
        let experiments = ledger.by(|entry| entry.experiment.to_string());
        parts.extend(experiments.into_iter().map(|total| part("experiment", total)));
        parts.push(part("all", ("all".to_owned(), ledger.total())));
        let limit = |line: &Line| Limit { name: line.name(limits), line: line.clone() };
        Spending {
            limits: lines.iter().map(limit).collect(),
            parts,
            currency: limits.currency.clone(),
            end_date: limits.end_date.clone(),
        }
    }
}
