//! Limits held against what was spent and what is promised: what is left, when it will be used up, and what can be paid.

use harness_core::config::{Limits, Phase};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::ledger::{Ledger, Spent};

/// The days over which the pace is taken.
pub const PACE_DAYS: i64 = 7;

/// What a limit is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Hours on GPUs.
    GpuHours,
    /// Hours on processors.
    CpuHours,
    /// Kilowatt hours.
    EnergyKwh,
    /// Money, in the currency of the file.
    Money,
}

impl Quantity {
    const ALL: [Quantity; 4] = [Quantity::GpuHours, Quantity::CpuHours, Quantity::EnergyKwh, Quantity::Money];

    /// The limit of it.
    fn limit(self, limits: &Limits) -> Option<f64> {
        match self {
            Quantity::GpuHours => limits.gpu_hours,
            Quantity::CpuHours => limits.cpu_hours,
            Quantity::EnergyKwh => limits.energy_kwh,
            Quantity::Money => limits.money,
        }
    }

    /// How much of it is in what was spent.
    pub fn of(self, spent: &Spent, limits: &Limits) -> f64 {
        let (gpu_hours, cpu_hours) = (spent.gpu_time_s / 3600.0, spent.cpu_time_s / 3600.0);
        match self {
            Quantity::GpuHours => gpu_hours,
            Quantity::CpuHours => cpu_hours,
            Quantity::EnergyKwh => spent.energy_j / 3.6e6,
            Quantity::Money => {
                gpu_hours * limits.price_per_gpu_hour.unwrap_or(0.0)
                    + cpu_hours * limits.price_per_cpu_hour.unwrap_or(0.0)
            }
        }
    }

    /// What it is called in a sentence.
    pub fn word(self, limits: &Limits) -> &str {
        match self {
            Quantity::GpuHours => "GPU hours",
            Quantity::CpuHours => "CPU hours",
            Quantity::EnergyKwh => "kWh",
            Quantity::Money => &limits.currency,
        }
    }
}

/// A limit and where the project stands to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What it limits.
    pub quantity: Quantity,
    /// The phase whose share it is; none of the whole.
    pub phase: Option<Phase>,
    /// The limit.
    pub limit: f64,
    /// What was spent.
    pub spent: f64,
    /// What is promised: runs that are queued, and registered seeds without a run.
    pub committed: f64,
    /// The limit less both; below zero where more is promised than there is.
    pub left: f64,
    /// When it is used up if as much is spent as in the last seven days; none where it is, or nothing was spent.
    pub used_up_at: Option<String>,
}

impl Line {
    /// What it limits, in words.
    pub fn name(&self, limits: &Limits) -> String {
        let phase = self.phase.map_or(String::new(), |phase| format!(" for {}", phase.word()));
        format!("{}{phase}", self.quantity.word(limits))
    }
}

/// The lines of a budget: the whole of each quantity, then the shares of phases. `committed` is what each phase has been promised.
pub fn lines(limits: &Limits, ledger: &Ledger, committed: &[(Phase, Spent)], now: Timestamp) -> Vec<Line> {
    let week = ledger.since(now - SignedDuration::from_hours(24 * PACE_DAYS)).spent;
    let promised = |phase: Option<Phase>| {
        committed
            .iter()
            .filter(|(of, _)| phase.is_none_or(|phase| phase == *of))
            .map(|(_, spent)| *spent)
            .sum::<Spent>()
    };
    let mut lines = Vec::new();
    for quantity in Quantity::ALL {
        let Some(whole) = quantity.limit(limits) else { continue };
        let line = |phase: Option<Phase>, limit: f64, spent: Spent| {
            let [spent, committed] = [spent, promised(phase)].map(|amount| quantity.of(&amount, limits));
            let rate = quantity.of(&week, limits) / (86_400 * PACE_DAYS) as f64;
            let seconds = (limit - spent) / rate;
            // Whole seconds; what is centuries away has no date.
            let at = now.checked_add(SignedDuration::from_secs(seconds as i64)).ok();
            let used_up_at = at.filter(|_| phase.is_none() && seconds > 0.0 && rate > 0.0);
            Line {
                quantity,
                phase,
                limit,
                spent,
                committed,
                left: limit - spent - committed,
                used_up_at: used_up_at.map(|at| at.to_string()),
            }
        };
        lines.push(line(None, whole, ledger.total().spent));
        for phase in [Phase::Baseline, Phase::Explore, Phase::Tune, Phase::Confirm, Phase::Final, Phase::Evaluate] {
            if let Some(share) = limits.shares.of(phase) {
                lines.push(line(Some(phase), share * whole, ledger.phase(phase).spent));
            }
        }
    }
    lines
}

/// Runs that cannot be paid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    /// What there is too little of; none where the last day passes.
    pub line: Option<Line>,
    /// What the runs need of it.
    pub needed: f64,
    /// What is left of it for them.
    pub left: f64,
    /// How many of the runs could be paid.
    pub affordable: usize,
}

/// Whether `count` runs of a phase, `each` of which costs so much, can be paid beside what was spent and what is `promised` to
/// others, and end on the last day. What they take is not always known; then they are refused only where nothing is left.
pub fn refusal(
    limits: &Limits,
    ledger: &Ledger,
    promised: &[(Phase, Spent)],
    (phase, each, count): (Phase, Option<Spent>, usize),
    now: Timestamp,
) -> Option<Refusal> {
    let mut worst: Option<Refusal> = None;
    let lines = lines(limits, ledger, promised, now);
    let lines = lines.into_iter().filter(|line| line.phase.is_none_or(|of| of == phase));
    match each {
        Some(each) => {
            for line in lines {
                let one = line.quantity.of(&each, limits);
                let needed = one * count as f64;
                if one > 0.0 && needed > line.left {
                    let affordable = (line.left.max(0.0) / one) as usize;
                    let refusal = Refusal { needed, left: line.left.max(0.0), affordable, line: Some(line) };
                    if worst.as_ref().is_none_or(|worst| affordable < worst.affordable) {
                        worst = Some(refusal);
                    }
                }
            }
        }
        None => {
            // On which device it would run is not known either.
            let lines: Vec<Line> = lines.collect();
            if lines.iter().all(|line| line.left <= 0.0) {
                worst = lines.into_iter().next().map(|line| Refusal {
                    needed: 0.0,
                    left: 0.0,
                    affordable: 0,
                    line: Some(line),
                });
            }
        }
    }
    worst.or_else(|| too_late(limits, each, count, now))
}

/// Runs that would end after the last day, one after the other.
fn too_late(limits: &Limits, each: Option<Spent>, count: usize, now: Timestamp) -> Option<Refusal> {
    let midnight: Timestamp = format!("{}T00:00:00Z", limits.end_date.as_ref()?).parse().ok()?;
    let left = (midnight.duration_since(now) + SignedDuration::from_hours(24)).as_secs_f64();
    let one = each.map_or(0.0, |each| each.time_s());
    let needed = one * count as f64;
    (left <= 0.0 || needed > left).then(|| Refusal {
        line: None,
        needed: needed / 3600.0,
        left: left.max(0.0) / 3600.0,
        affordable: if one > 0.0 { (left.max(0.0) / one) as usize } else { 0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Known;
    use crate::ledger::tests::entry;

    fn now() -> Timestamp {
        "2026-11-29T00:00:00Z".parse().unwrap()
    }

    fn hours(cpu: f64) -> Spent {
        Spent { cpu_time_s: 3600.0 * cpu, ..Spent::default() }
    }

    /// Ten hours, of which four went in the week of the tests and one before it.
    fn ledger() -> Ledger {
        let of = |phase, hours: f64, at| entry("one", phase, 3600.0 * hours, at, Known::Measured);
        Ledger {
            entries: vec![
                of(Phase::Baseline, 1.0, "2026-11-01T00:00:00Z"),
                of(Phase::Confirm, 3.5, "2026-11-25T00:00:00Z"),
                of(Phase::Tune, 0.5, "2026-11-28T00:00:00Z"),
            ],
        }
    }

    fn limits(text: &str) -> Limits {
        Limits::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn a_line_is_limit_spent_promised_left_and_the_day_it_is_used_up() {
        let limits =
            limits("cpu_hours = 10\nmoney = 30\ncurrency = \"EUR\"\nprice_per_cpu_hour = 2\n[shares]\nconfirm = 0.5\n");
        let lines = lines(&limits, &ledger(), &[(Phase::Confirm, hours(1.0)), (Phase::Tune, hours(0.25))], now());
        let of = |line: &Line| (line.quantity, line.phase, line.limit, line.spent, line.committed, line.left);
        assert_eq!(
            lines.iter().map(of).collect::<Vec<_>>(),
            [
                (Quantity::CpuHours, None, 10.0, 5.0, 1.25, 3.75),
                (Quantity::CpuHours, Some(Phase::Confirm), 5.0, 3.5, 1.0, 0.5),
                (Quantity::Money, None, 30.0, 10.0, 2.5, 17.5),
                (Quantity::Money, Some(Phase::Confirm), 15.0, 7.0, 2.0, 6.0),
            ]
        );
        // Five hours are left at four a week: 8.75 days.
        assert_eq!(lines[0].used_up_at.as_deref(), Some("2026-12-07T18:00:00Z"));
        assert_eq!(lines[1].used_up_at, None, "a share has no pace of its own");
    }

    #[test]
    fn what_cannot_be_paid_is_refused_with_how_many_can() {
        let limits = limits("cpu_hours = 10\n[shares]\nconfirm = 0.5\n");
        let ask = |phase, each: Option<f64>, count| {
            refusal(&limits, &ledger(), &[(Phase::Tune, hours(1.0))], (phase, each.map(hours), count), now())
        };
        assert_eq!(ask(Phase::Explore, Some(1.0), 4), None, "exactly what is left");
        let refused = ask(Phase::Explore, Some(1.5), 4).unwrap();
        assert_eq!((refused.needed, refused.left, refused.affordable), (6.0, 4.0, 2));
        let refused = ask(Phase::Confirm, Some(1.0), 2).unwrap();
        assert_eq!((refused.line.unwrap().phase, refused.left, refused.affordable), (Some(Phase::Confirm), 1.5, 1));
        assert_eq!(ask(Phase::Explore, None, 50), None, "of an unknown cost nothing is said while something is left");
        let empty = self::limits("cpu_hours = 5\n");
        assert!(refusal(&empty, &ledger(), &[], (Phase::Explore, None, 1), now()).is_some());
        let gpu = Spent { gpu_time_s: 9e9, ..Spent::default() };
        assert_eq!(refusal(&limits, &ledger(), &[], (Phase::Tune, Some(gpu), 1), now()), None, "GPUs have no limit");
    }

    #[test]
    fn no_run_ends_after_the_last_day() {
        let limits = limits("end_date = \"2026-11-29\"\n");
        let ask = |each: Option<f64>, count, at: &str| {
            let ask = (Phase::Explore, each.map(hours), count);
            refusal(&limits, &Ledger::default(), &[], ask, at.parse().unwrap())
        };
        assert_eq!(ask(Some(8.0), 3, "2026-11-29T00:00:00Z"), None);
        assert_eq!(ask(Some(8.0), 3, "2026-11-29T00:00:01Z").unwrap().affordable, 2);
        assert_eq!(ask(None, 1, "2026-11-29T23:59:59Z"), None);
        assert_eq!(ask(None, 1, "2026-11-30T00:00:00Z").unwrap().line, None);
    }
}
