//! Whether runs can be paid before they start, and what could be afforded instead.

use std::fmt;

use harness_core::config::{Checked, Choices, Limits, Phase};
use harness_core::names::{ExperimentName, Project};
use harness_record::environment;
use harness_record::format::Purpose;
use harness_record::select::Traces;
use harness_study::Evidence;
use harness_study::budget::{Refusal, refusal};
use harness_study::design::Design;
use harness_study::ledger::{Ledger, Spent, phase_of};

use super::error::RunError;
use super::expected::Pace;

/// Runs of a smaller share of their steps say too little of the whole ones to be offered in their place.
const LEAST_SHARE: f64 = 0.25;

/// Runs that are wanted.
pub struct Wish<'a> {
    /// Of which experiment.
    pub name: &'a ExperimentName,
    /// Its config.
    pub config: &'a Choices,
    /// What they are for.
    pub purpose: Purpose,
    /// How many.
    pub count: usize,
    /// What one takes, where that is known.
    pub each: Option<Spent>,
    /// What is to be said of how that is known.
    pub caveat: Option<String>,
}

impl Wish<'_> {
    fn phase(&self) -> Phase {
        phase_of(self.purpose, self.config.extends.is_some())
    }
}

/// Runs that cannot be paid, with what could be.
#[derive(Debug)]
pub struct OverBudget {
    name: ExperimentName,
    count: usize,
    is_known: bool,
    caveat: Option<String>,
    refusal: Refusal,
    limits: Limits,
    /// All steps, and those that could be paid, where that is more than none.
    steps: Option<(u64, u64)>,
    design: Option<Design>,
}

/// Refuses several runs of an experiment that cannot be paid together beside what is `promised` to others, unless there is a
/// reason to run them all the same. Gives their cost, where there are limits and it is known.
pub fn several(
    project: &Project,
    name: &ExperimentName,
    (config, purpose, count): (&Checked, Purpose, usize),
    promised: &[(Phase, Spent)],
    reason: Option<&str>,
) -> Result<Option<Spent>, RunError> {
    let expected = Pace::here(project)?.of(project, config)?;
    let each = expected.as_ref().map(|expected| expected.spent());
    let caveat = expected.and_then(|expected| expected.caveat);
    wished(project, &Wish { name, config, purpose, count, each, caveat }, promised, reason)
}

/// The same where it is known what each takes.
pub fn wished(
    project: &Project,
    wish: &Wish,
    promised: &[(Phase, Spent)],
    reason: Option<&str>,
) -> Result<Option<Spent>, RunError> {
    let limits = Limits::load(project)?;
    if limits.is_empty() || wish.count == 0 {
        return Ok(None);
    }
    check(project, &limits, wish, promised, reason)?;
    Ok(wish.each.map(|each| each.times(wish.count as f64)))
}

/// Refuses what cannot be paid. Where there is a reason to run it all the same, and it is needed, gives that.
pub(super) fn check(
    project: &Project,
    limits: &Limits,
    wish: &Wish,
    promised: &[(Phase, Spent)],
    reason: Option<&str>,
) -> Result<Option<String>, RunError> {
    let ledger = Ledger::of(project, &Traces::of(project)?)?;
    let asked = (wish.phase(), wish.each, wish.count);
    let Some(refusal) = refusal(limits, &ledger, promised, asked, environment::now()) else { return Ok(None) };
    if let Some(reason) = reason {
        return Ok(Some(reason.to_owned()));
    }
    // What they would find is advice: a run that cannot be read takes it away, and nothing else.
    let design = Evidence::of(project).and_then(|evidence| Design::of(&evidence, wish.name)).ok();
    let steps = wish.config.training.steps;
    let fewer = if refusal.needed > 0.0 { (steps as f64 * refusal.left / refusal.needed) as u64 } else { 0 };
    Err(RunError::OverBudget(Box::new(OverBudget {
        name: wish.name.clone(),
        count: wish.count,
        is_known: wish.each.is_some(),
        caveat: wish.caveat.clone(),
        steps: (fewer as f64 >= LEAST_SHARE * steps as f64 && fewer > 0).then_some((steps, fewer)),
        refusal,
        limits: limits.clone(),
        design,
    })))
}

/// An amount with as many digits as say something.
pub fn short(amount: f64) -> String {
    match amount.abs() {
        size if size >= 100.0 => format!("{amount:.0}"),
        size if size >= 1.0 || size == 0.0 => format!("{amount:.2}"),
        // Three digits after the zeros.
        size => format!("{amount:.*}", 2 + (-libm::log10(size)).ceil() as usize),
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OverBudget { name, count, refusal, limits, .. } = self;
        let runs =
            if *count == 1 { format!("a run of `{name}` takes") } else { format!("{count} runs of `{name}` take") };
        let end = limits.end_date.as_deref().unwrap_or_default();
        match &refusal.line {
            None if refusal.left <= 0.0 => write!(f, "the last day was {end}")?,
            None => write!(
                f,
                "{runs} about {} hours, and {} are left until the end of {end}",
                short(refusal.needed),
                short(refusal.left)
            )?,
            Some(line) => {
                let (unit, limit) = (line.quantity.word(limits), short(line.limit));
                let phase = line.phase.map_or(String::new(), |phase| format!(" for `{}`", phase.word()));
                if self.is_known {
                    let (needed, left) = (short(refusal.needed), short(refusal.left));
                    write!(f, "{runs} about {needed} {unit}, and {left} of the {limit}{phase} are left")?;
                } else {
                    write!(f, "nothing is left of the {limit} {unit}{phase}, and nobody knows what `{name}` takes")?;
                }
            }
        }
        write!(f, " (experiments/budget.toml)")?;
        if let Some(caveat) = &self.caveat {
            write!(f, "\nnote: what each takes is {caveat}")?;
        }
        if refusal.affordable > 0 {
            write!(f, "\nhint: {} can be paid{}", self.seeds(refusal.affordable), self.found())?;
        }
        if let Some((all, fewer)) = self.steps {
            let runs = if *count == 1 { "a run".to_owned() } else { format!("all {count}") };
            write!(f, "\nhint: {runs} of {fewer} steps in place of {all} can be paid{}", self.found_by_all())?;
        }
        write!(
            f,
            "\nhint: `--over-budget \"why\"` runs {} all the same, and the reason goes into the record",
            if *count == 1 { "it" } else { "them" }
        )
    }
}

impl OverBudget {
    fn seeds(&self, seeds: usize) -> String {
        if seeds == 1 { "1 of them".to_owned() } else { format!("{seeds} of them") }
    }

    /// What fewer seeds find, beside all of them.
    fn found(&self) -> String {
        let Some(design) = &self.design else { return String::new() };
        let fewer = self.refusal.affordable;
        match (design.smallest(fewer), design.smallest(self.count), &design.noise) {
            _ if fewer < 2 => "; one seed decides nothing".to_owned(),
            (Some(few), Some(all), Some(noise)) => format!(
                ": {fewer} seeds a side find {} of `{}` in four of five studies, {} find {} (by {} seeds of `{}`)",
                short(few),
                design.metric,
                self.count,
                short(all),
                noise.seeds,
                noise.experiment
            ),
            _ => format!("; what they find is known once `{}` has run with two seeds", design.against),
        }
    }

    /// What all seeds find if shorter runs vary as much.
    fn found_by_all(&self) -> String {
        let smallest = self.design.as_ref().and_then(|design| Some((design.smallest(self.count)?, &design.metric)));
        smallest.map_or(String::new(), |(smallest, metric)| {
            format!(
                ", which find {} of `{metric}` if they vary as much; the baseline has to be as short",
                short(smallest)
            )
        })
    }
}
