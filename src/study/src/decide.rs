//! A change held against what it was expected to do.
//!
//! The verdict is on the hypothesis, the action on the change. Both follow from the interval of the improvement by a rule that
//! stands in the experiment before its runs; neither is a matter of taste afterwards. The commit that holds the file proves
//! that it existed when the run began, not that nothing was run before.

use std::collections::BTreeSet;
use std::rc::Rc;

use harness_analyse::{RunName, lower_is_better};
use harness_core::config::{Direction, Guardrail, Loaded, Proposal};
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::SealedRun;
use harness_record::dates::{self, Doubt};
use harness_record::format::Purpose;
use harness_record::git::Git;
use harness_statistics::dunnett::Family as SeedFamily;
use harness_statistics::hypothesis::TTest;
use harness_statistics::looks::pocock;
use harness_statistics::mean;
use harness_statistics::power::{detectable_against_baseline, seeds_needed};
use serde::{Deserialize, Serialize};

use crate::StudyError;
use crate::amendments::{Amendment, amendments};
use crate::evidence::{Evidence, Numbers};
use crate::family::{self, Test};
use crate::seeds::{Seeded, derived, purpose_of};

/// Version of the JSON form.
pub const FORMAT: u32 = 2;
/// More seeds than these nobody will run.
const MOST_SEEDS: usize = 100;
/// Times of the same work differ this much from run to run.
const TIME_TOLERANCE: f64 = 0.05;

/// What is said of the hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The metric went where it was expected, and the data do not exclude the size that was expected.
    Confirmed,
    /// The data exclude the size that was expected.
    Refuted,
    /// The data allow both.
    Inconclusive,
    /// A condition failed, so nothing is tested.
    Inadmissible,
    /// The proposal was changed after its first run: what is shown was not what was registered.
    Deviated,
}

impl Verdict {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Confirmed => "CONFIRMED",
            Verdict::Refuted => "REFUTED",
            Verdict::Inconclusive => "INCONCLUSIVE",
            Verdict::Inadmissible => "INADMISSIBLE",
            Verdict::Deviated => "DEVIATED",
        }
    }
}

/// What is advised for the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// It is better, and worth what it costs.
    Adopt,
    /// It is not as much better as would be worth having, or it does harm.
    Reject,
    /// Nothing is known yet.
    Hold,
}

impl Action {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Action::Adopt => "ADOPT",
            Action::Reject => "REJECT",
            Action::Hold => "HOLD",
        }
    }
}

/// A difference with its interval, in the metric's unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Mean of the baseline over the seeds.
    pub baseline: f64,
    /// Mean of the change.
    pub change: f64,
    /// Change minus baseline.
    pub difference: f64,
    /// Its simultaneous interval at `1 - level`.
    pub interval: [f64; 2],
    /// Two-sided, adjusted over the family.
    pub p_adjusted: f64,
    /// Degrees of freedom.
    pub df: f64,
    /// How it was tested.
    pub test: Test,
    /// The smallest difference that so many seeds find in four of five studies, by the spread seen here.
    pub smallest_detectable: Option<f64>,
    /// Seeds a side that would find the expected one, if no more than 100.
    pub seeds_needed: Option<usize>,
}

/// A metric that must not become worse.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuardrailResult {
    /// Its key.
    pub metric: String,
    /// The worsening that is put up with.
    pub margin: f64,
    /// Interval of the worsening; none where nothing can be tested.
    pub worsening: Option<[f64; 2]>,
}

/// A price of the change: what it spends over what the baseline spends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// What is spent.
    pub quantity: &'static str,
    /// Change over baseline.
    pub ratio: f64,
}

/// A decision, with everything that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// [`FORMAT`]
    pub format: u32,
    /// The change.
    pub experiment: ExperimentName,
    /// The baseline.
    pub against: ExperimentName,
    /// What was registered before the first run; of a change without runs what its file says now.
    pub proposal: Proposal,
    /// What was changed of it before the first run.
    pub amendments: Vec<Amendment>,
    /// Parts in which a later run, or the file now, differs from what was registered.
    pub changed_since: Vec<&'static str>,
    /// The changes of this baseline that were proposed for this metric, this one too: the family.
    pub family: Vec<ExperimentName>,
    /// How many of the registered seeds are completed on both sides, counted from the first.
    pub completed: usize,
    /// The look at which it is judged: the first so many derived seeds.
    pub seeds: Vec<u64>,
    /// The level at this look.
    pub level: f64,
    /// The runs of the change and of the baseline, in the order of the seeds.
    pub runs: [Vec<RunName>; 2],
    /// The difference; none where nothing may be tested.
    pub estimate: Option<Estimate>,
    /// Metrics that must not become worse.
    pub guardrails: Vec<GuardrailResult>,
    /// What it spends more of.
    pub costs: Vec<Cost>,
    /// On the hypothesis.
    pub verdict: Verdict,
    /// For the change.
    pub action: Action,
    /// Why, in sentences.
    pub because: Vec<String>,
}

/// Decides a change by the rule that it registered.
pub fn decide(project: &Project, name: &ExperimentName) -> Result<Decision, StudyError> {
    decide_by(&Evidence::of(project)?, name)
}

/// [`decide`], by evidence that other decisions rest on too.
pub fn decide_by(evidence: &Evidence, name: &ExperimentName) -> Result<Decision, StudyError> {
    let project = evidence.project;
    let now = evidence.experiment(name)?.experiment;
    let purpose = purpose_of(&now);
    let change = evidence.seeded(name, purpose)?;
    let mut by_age: Vec<&SealedRun> = change.completed.values().collect();
    by_age.sort_by(|a, b| a.open.run.cmp(&b.open.run));
    let registered = by_age.first().map_or(&*now, |first| &*first.experiment);
    let proposal = registered.proposal();
    let (Some(expect), Some(against)) = (&registered.expect, registered.against()) else {
        return Err(match now.expect {
            Some(_) => StudyError::ExpectedAfterwards(name.clone()),
            None => StudyError::NothingExpected(name.clone()),
        });
    };
    let changed = by_age.iter().map(|run| run.experiment.proposal()).chain([now.proposal()]);
    let changed_since: BTreeSet<&str> = changed.flat_map(|later| proposal.differences(&later)).collect();
    let changed_since: Vec<&str> = changed_since.into_iter().collect();

    let baseline = evidence.seeded(against, purpose)?;
    let derived = derived(project, purpose, u64::from(proposal.seeds))?;
    let both = |seed: &&u64| change.completed.contains_key(seed) && baseline.completed.contains_key(seed);
    let there = derived.iter().take_while(both).count();
    let looks = proposal.looks();
    let look = looks.iter().copied().rev().find(|&look| look <= there);
    let level = if looks.len() > 1 { pocock(&looks, proposal.decide.level) } else { proposal.decide.level };
    let family = family_of(evidence, against, &expect.metric, purpose, name);
    let mut decision = Decision {
        format: FORMAT,
        experiment: name.clone(),
        against: against.clone(),
        proposal: proposal.clone(),
        amendments: amendments(project, name, by_age.first().map(|first| first.open.code.commit.as_str()))?,
        changed_since,
        family: family.clone(),
        completed: there,
        seeds: derived[..look.unwrap_or(0)].to_vec(),
        level,
        runs: [Vec::new(), Vec::new()],
        estimate: None,
        guardrails: Vec::new(),
        costs: Vec::new(),
        verdict: Verdict::Inadmissible,
        action: Action::Hold,
        because: Vec::new(),
    };
    if look.is_none() {
        let count = derived.len();
        for (run, side) in [(name, &change), (against, &baseline)] {
            let missing = side.missing(&derived).len();
            if missing > 0 {
                let (verb, option) = (purpose.verb(), if purpose == Purpose::Final { " --purpose final" } else { "" });
                decision.because.push(format!(
                    "`{run}` has completed {} of the {count} registered seeds to {verb}; `harness seeds {run} --seeds {count}{option}` runs the rest",
                    count - missing,
                ));
            }
        }
        return Ok(decision);
    }

    let mut sides = Sides { runs: Vec::new(), at: 0 };
    sides.take(evidence, &baseline, &decision.seeds)?;
    for member in &family {
        if member == name {
            sides.at = sides.runs.len();
        }
        sides.take(evidence, &*evidence.seeded(member, purpose)?, &decision.seeds)?;
    }
    if !sides.measure_the_same(sides.at, &expect.metric) {
        decision.because.push(format!(
            "`{name}` was validated on other documents than `{against}`, so `{}` of the two is not compared; hold the same documents \
             out of both corpora, or expect something of a task",
            expect.metric
        ));
        return Ok(decision);
    }
    let named = |run: &Rc<Numbers>| RunName { run: run.run.clone(), root: run.root, seed: run.seed };
    decision.runs = [sides.at, 0].map(|side| sides.runs[side].iter().map(named).collect());
    decision.costs = sides.costs();
    for Guardrail { metric, margin } in &proposal.decide.guardrails {
        let test = sides.test(metric, family.len(), level);
        let worsening = test.map(|(_, test)| worse(&test, lower_is_better(metric)));
        decision.guardrails.push(GuardrailResult { metric: metric.clone(), margin: *margin, worsening });
    }
    decision.estimate = sides.estimate(&expect.metric, family.len(), level, expect.at_least);
    let Some(estimate) = &decision.estimate else {
        decision.verdict = Verdict::Inconclusive;
        decision.because.push(format!(
            "`{}` cannot be tested: it is missing, not finite, or differs by the same in every seed",
            expect.metric
        ));
        return Ok(decision);
    };
    let interval = improvement(estimate.interval, expect.direction);
    let margin = proposal.decide.margin_of(expect);
    let because = &mut decision.because;
    decision.verdict = judge(expect.direction, interval, expect.at_least);
    let better = better(&expect.metric, expect.direction);
    let interval = improvement(estimate.interval, better);
    decision.action = advise(better, interval, margin, &decision.guardrails, &decision.costs, because);
    if !decision.changed_since.is_empty() {
        // What was not registered advises nothing.
        (decision.verdict, decision.action) = (Verdict::Deviated, Action::Hold);
        because.push(format!("{} changed after the first run", decision.changed_since.join(", ")));
    }
    Ok(decision)
}

/// The runs of a change that may decide it, oldest first, whose commit was not there before them by the dates in git, or has a date that
/// proves nothing. A record names its commit, and that holds what was registered: more is not known of the order.
pub fn doubts(evidence: &Evidence, git: &Git, name: &ExperimentName) -> Result<Vec<(RunId, Doubt)>, StudyError> {
    let purpose = purpose_of(&evidence.experiment(name)?.experiment);
    let mut doubts = Vec::new();
    for run in evidence.seeded(name, purpose)?.completed.values() {
        doubts.extend(dates::doubt(git, &run.open)?.map(|doubt| (run.open.run.clone(), doubt)));
    }
    doubts.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(doubts)
}

/// The experiments that expect something of a metric against one baseline and are decided by runs of one purpose, `own` at any
/// rate. One that cannot be read counts as none.
fn family_of(
    evidence: &Evidence,
    against: &ExperimentName,
    metric: &str,
    purpose: Purpose,
    own: &ExperimentName,
) -> Vec<ExperimentName> {
    let expects = |(name, loaded): &(&ExperimentName, &Loaded)| {
        let experiment = &loaded.experiment;
        let of_metric = experiment.expect.as_ref().is_some_and(|expect| expect.metric == metric);
        *name == own || of_metric && experiment.against() == Some(against) && purpose_of(experiment) == purpose
    };
    evidence.experiments().iter().filter(expects).map(|(name, _)| name.clone()).collect()
}

/// The baseline (0) and every change of the family that has all seeds, run by run in the order of the seeds.
struct Sides {
    runs: Vec<Vec<Rc<Numbers>>>,
    /// Which of them is decided.
    at: usize,
}

impl Sides {
    /// Takes the runs of a side, if it has all `seeds`.
    fn take(&mut self, evidence: &Evidence, side: &Seeded, seeds: &[u64]) -> Result<(), StudyError> {
        let runs: Option<Vec<&SealedRun>> = seeds.iter().map(|seed| side.completed.get(seed)).collect();
        let runs = runs.map(|runs| runs.into_iter().map(|run| evidence.numbers(run)).collect::<Result<_, _>>());
        self.runs.extend(runs.transpose()?);
        Ok(())
    }

    /// Whether a metric of a side measures the same as that of the baseline.
    fn measure_the_same(&self, side: usize, metric: &str) -> bool {
        self.runs[side].iter().zip(&self.runs[0]).all(|(run, baseline)| run.measures_the_same(baseline, metric))
    }

    /// The metric of each run of each side; `None` where the two sides that matter lack it, or measure something else by it. Other
    /// members of which that is so drop out.
    fn values(&self, metric: &str) -> Option<(Vec<Vec<f64>>, usize)> {
        let of = |side: &Vec<Rc<Numbers>>| -> Option<Vec<f64>> { side.iter().map(|run| run.number(metric)).collect() };
        let (mut values, mut at) = (vec![of(&self.runs[0])?], 0);
        for (side, runs) in self.runs.iter().enumerate().skip(1) {
            let own = of(runs).filter(|own| own.iter().all(|value| value.is_finite()));
            let own = own.filter(|_| self.measure_the_same(side, metric));
            if side == self.at {
                at = values.len();
                values.push(own?);
            } else {
                values.extend(own);
            }
        }
        Some((values, at))
    }

    fn test(&self, metric: &str, declared: usize, level: f64) -> Option<(Test, TTest)> {
        let (values, at) = self.values(metric)?;
        family::test(&values, at, declared, level)
    }

    fn estimate(&self, metric: &str, declared: usize, level: f64, at_least: f64) -> Option<Estimate> {
        let (values, at) = self.values(metric)?;
        let (test, result) = family::test(&values, at, declared, level)?;
        let seeds = values[0].len();
        // The error of a difference of two means of n values within blocks is the deviation times the root of 2 / n.
        let deviation = result.standard_error * libm::sqrt(seeds as f64 / 2.0);
        let detectable = |seeds: usize| match test {
            Test::DunnettInBlocks => detectable_against_baseline(SeedFamily::Blocks, seeds, declared, seeds, level),
            Test::OwnBlocks => {
                detectable_against_baseline(SeedFamily::Blocks, seeds, 1, seeds, level / declared as f64)
            }
        };
        let detectable = |seeds: usize| detectable(seeds).map(|effect| effect * deviation);
        Some(Estimate {
            baseline: mean(&values[0]),
            change: mean(&values[at]),
            difference: result.difference,
            interval: [result.low, result.high],
            p_adjusted: result.p_value,
            df: result.df,
            test,
            smallest_detectable: detectable(seeds),
            seeds_needed: seeds_needed(at_least, MOST_SEEDS, detectable),
        })
    }

    /// What the change spends more of than the baseline, over all its seeds.
    fn costs(&self) -> Vec<Cost> {
        let quantities = [
            ("parameters", "model.parameters", 0.0),
            ("training FLOPs", "training.flops", 1e-9),
            ("training tokens", "training.tokens", 0.0),
            ("wall time", "resources.wall_time_s", TIME_TOLERANCE),
        ];
        let spent =
            |side: usize, key: &str| self.runs[side].iter().map(|run| run.number(key).unwrap_or(0.0)).sum::<f64>();
        let ratio = |(quantity, key, tolerance): (&'static str, &str, f64)| {
            let ratio = spent(self.at, key) / spent(0, key);
            (ratio > 1.0 + tolerance).then_some(Cost { quantity, ratio })
        };
        quantities.into_iter().filter_map(ratio).collect()
    }
}

fn worse(test: &TTest, lower_is_better: bool) -> [f64; 2] {
    if lower_is_better { [test.low, test.high] } else { [-test.high, -test.low] }
}

/// The direction that is better. A proposal may expect harm, and is right if it finds it; what is expected of a quantity that is
/// neither better nor worse in itself is what is wanted of it.
fn better(metric: &str, expected: Direction) -> Direction {
    match expected {
        Direction::Same => Direction::Same,
        expected => better_of(metric).unwrap_or(expected),
    }
}

/// The direction in which a metric of quality is better; none of what is neither better nor worse in itself, such as a speed
/// that is bought with memory.
pub fn better_of(metric: &str) -> Option<Direction> {
    let is_quality = ["bits_per_byte", "loss", "perplexity", "accuracy", "gold_probability"];
    let better = if lower_is_better(metric) { Direction::Lower } else { Direction::Higher };
    is_quality.iter().any(|name| metric.ends_with(name)).then_some(better)
}

/// The interval of a difference as one of the improvement in a direction.
fn improvement([low, high]: [f64; 2], direction: Direction) -> [f64; 2] {
    if direction == Direction::Lower { [-high, -low] } else { [low, high] }
}

/// The verdict of a simultaneous interval. For `same` the interval must lie within the bounds, which is stricter than two
/// one-sided tests (Schuirmann 1987) at the same level.
pub fn judge(direction: Direction, [low, high]: [f64; 2], at_least: f64) -> Verdict {
    let (confirmed, refuted) = match direction {
        Direction::Same => (low > -at_least && high < at_least, low > at_least || high < -at_least),
        _ => (low > 0.0 && high >= at_least, high < at_least),
    };
    match (confirmed, refuted) {
        (true, _) => Verdict::Confirmed,
        (_, true) => Verdict::Refuted,
        _ => Verdict::Inconclusive,
    }
}

/// The advice: a change that costs must improve by more than the margin, one that is free by more than nothing.
fn advise(
    direction: Direction,
    [low, high]: [f64; 2],
    margin: f64,
    guardrails: &[GuardrailResult],
    costs: &[Cost],
    because: &mut Vec<String>,
) -> Action {
    if direction == Direction::Same {
        return match judge(direction, [low, high], margin) {
            Verdict::Confirmed => Action::Adopt,
            Verdict::Refuted => Action::Reject,
            _ => Action::Hold,
        };
    }
    if let Some(harmed) = guardrails.iter().find(|g| g.worsening.is_some_and(|[least, _]| least > g.margin)) {
        because.push(format!("`{}` becomes worse by more than {}", harmed.metric, harmed.margin));
        return Action::Reject;
    }
    let wanted = if costs.is_empty() { 0.0 } else { margin };
    if high < margin {
        because.push("the data exclude an improvement that would be worth having".to_owned());
        return Action::Reject;
    }
    if low <= wanted {
        because.push(match costs.first() {
            Some(cost) => {
                format!("it costs {}, and the data do not show an improvement beyond the margin", cost.quantity)
            }
            None => "the data do not show an improvement".to_owned(),
        });
        return Action::Hold;
    }
    match guardrails.iter().find(|g| !g.worsening.is_some_and(|[_, most]| most <= g.margin)) {
        Some(open) => {
            because.push(format!(
                "the data do not exclude that `{}` becomes worse by more than {}",
                open.metric, open.margin
            ));
            Action::Hold
        }
        None => Action::Adopt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::random::Random;
    use harness_statistics::power::standard_normal;

    /// How results vary from seed to seed.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Noise {
        /// Normal; what a seed adds to all alike has a deviation of 2, what is left 1.
        Normal,
        /// The same without anything that the seed adds to all.
        Apart,
        /// What is left follows t with 3 degrees of freedom.
        HeavyTails,
        /// Deviations of the sides are spread from 0.65 to 1.35.
        Unequal,
        /// The first change varies twice as much as the rest.
        OneTwice,
    }

    /// A study: a baseline and changes over shared seeds; the first change differs by `effect`.
    fn study(number: u64, noise: Noise, changes: usize, seeds: usize, effect: f64) -> Vec<Vec<f64>> {
        let mut random = Random::new(number);
        let mut normal = || standard_normal(&mut random);
        let shared = if noise == Noise::Apart { 0.0 } else { 2.0 };
        let common: Vec<f64> = (0..seeds).map(|_| shared * normal()).collect();
        let mut left = |at: usize| match noise {
            Noise::Normal | Noise::Apart => normal(),
            Noise::HeavyTails => {
                let squares: f64 = (0..3).map(|_| normal()).map(|x| x * x).sum();
                normal() / libm::sqrt(squares / 3.0)
            }
            Noise::Unequal => normal() * (0.65 + 0.7 * at as f64 / changes as f64),
            Noise::OneTwice => normal() * if at == 1 { 2.0 } else { 1.0 },
        };
        let mut side = |at: usize| -> Vec<f64> {
            common.iter().map(|seed| seed + left(at) - if at == 1 { effect } else { 0.0 }).collect()
        };
        (0..=changes).map(&mut side).collect()
    }

    /// Verdict and action on every change of a study, at the first of the looks that decides it.
    fn decided(values: &[Vec<f64>], looks: &[usize], level: f64, at_least: f64) -> Vec<(Verdict, Action)> {
        let one = |at: usize, seeds: usize| {
            let seen: Vec<Vec<f64>> = values.iter().map(|side| side[..seeds].to_vec()).collect();
            let (_, test) = family::test(&seen, at, values.len() - 1, level).unwrap();
            let interval = improvement([test.low, test.high], Direction::Lower);
            let action = advise(Direction::Lower, interval, at_least, &[], &[], &mut Vec::new());
            (judge(Direction::Lower, interval, at_least), action)
        };
        let first = |at: usize| {
            let judged = || looks.iter().map(|&seeds| one(at, seeds));
            judged().find(|(verdict, _)| *verdict == Verdict::Confirmed).or(judged().next_back()).unwrap()
        };
        (1..values.len()).map(first).collect()
    }

    /// Shares of 2,000 studies in which some change is confirmed, and adopted.
    fn rates(noise: Noise, changes: usize, looks: &[usize], effect: f64, at_least: f64, only_first: bool) -> [f64; 2] {
        const COUNT: u64 = 2000;
        let level = if looks.len() > 1 { pocock(looks, 0.05) } else { 0.05 };
        let mut found = [0.0; 2];
        for number in 0..COUNT {
            let values = study(number, noise, changes, looks[looks.len() - 1], effect);
            let mut all = decided(&values, looks, level, at_least);
            all.truncate(if only_first { 1 } else { changes });
            found[0] += f64::from(u8::from(all.iter().any(|(verdict, _)| *verdict == Verdict::Confirmed)));
            found[1] += f64::from(u8::from(all.iter().any(|(_, action)| *action == Action::Adopt)));
        }
        found.map(|found| found / COUNT as f64)
    }

    /// Two-sided 5 % over the family is at most 2.5 % in the direction that is expected; three standard errors of 2,000
    /// studies are 1.1 %.
    #[test]
    fn changes_without_effect_are_adopted_at_the_stated_rate() {
        for (changes, seeds) in [(1, 3), (4, 3), (4, 5)] {
            for rate in rates(Noise::Normal, changes, &[seeds], 0.0, 0.5, false) {
                assert!((0.009..=0.036).contains(&rate), "{changes} changes of {seeds} seeds: {rate}");
            }
        }
    }

    /// The same where results vary otherwise and where they are looked at more than once. Where deviations differ, docs/statistics.md
    /// allows 7 % of 5 %, so half of it and the same error here.
    #[test]
    #[ignore = "takes minutes: make error-rates"]
    fn changes_without_effect_are_adopted_at_the_stated_rate_however_results_vary() {
        use Noise as N;
        for (noise, changes, looks, most) in [
            (N::Normal, 4, &[3, 5][..], 0.036),
            (N::Normal, 1, &[2, 4, 6], 0.036),
            (N::Apart, 4, &[5], 0.036),
            (N::HeavyTails, 1, &[3], 0.036),
            (N::HeavyTails, 4, &[5], 0.036),
            (N::Unequal, 4, &[3], 0.046),
            (N::Unequal, 4, &[5], 0.046),
            (N::OneTwice, 4, &[3], 0.046),
            (N::OneTwice, 4, &[5], 0.046),
        ] {
            let [confirmed, adopted] = rates(noise, changes, looks, 0.0, 0.5, false);
            println!("| {noise:?}, {changes}, {looks:?} | {:.1} | {:.1} |", 100.0 * confirmed, 100.0 * adopted);
            assert!(
                confirmed.max(adopted) <= most,
                "{noise:?}, {changes} changes, looks {looks:?}: {confirmed}, {adopted}"
            );
        }
    }

    /// The effect that a design is said to find is confirmed and adopted in four of five studies, or in more where it is looked
    /// for more than once.
    #[test]
    fn the_promised_effect_is_found_as_often_as_promised() {
        for (noise, changes, seeds) in [(Noise::Normal, 1, 5), (Noise::Apart, 4, 3), (Noise::Normal, 4, 5)] {
            let effect = detectable_against_baseline(SeedFamily::Blocks, seeds, changes, seeds, 0.05).unwrap();
            for rate in rates(noise, changes, &[seeds], effect, effect, true) {
                assert!((0.77..=0.83).contains(&rate), "{noise:?}, {changes} changes of {seeds} seeds: {rate}");
            }
        }
    }

    /// A change whose guardrail is worse by just its margin is adopted in at most 2.5 % of studies, however good it is.
    #[test]
    fn a_guardrail_holds_at_the_stated_rate() {
        const COUNT: u64 = 2000;
        let mut adopted = 0;
        for number in 0..COUNT {
            // An effect of -1 on the guarded metric is a worsening by 1.
            let guarded = study(number, Noise::Normal, 2, 5, -1.0);
            let (_, test) = family::test(&guarded, 1, 2, 0.05).unwrap();
            let worsening = Some(worse(&test, true));
            let guardrails = [GuardrailResult { metric: "m".to_owned(), margin: 1.0, worsening }];
            let action = advise(Direction::Lower, [1.0, 2.0], 0.5, &guardrails, &[], &mut Vec::new());
            adopted += u32::from(action == Action::Adopt);
        }
        let rate = f64::from(adopted) / COUNT as f64;
        assert!((0.005..=0.036).contains(&rate), "{rate}");
    }

    #[test]
    fn harm_that_was_expected_is_no_reason_to_adopt() {
        assert_eq!(better("validation.bits_per_byte", Direction::Higher), Direction::Lower);
        assert_eq!(better("tasks.blimp.accuracy", Direction::Lower), Direction::Higher);
        assert_eq!(better("tasks.blimp.accuracy", Direction::Same), Direction::Same);
        assert_eq!(better("resources.tokens_per_s", Direction::Higher), Direction::Higher);
        // Bits per byte rise by 0.02 to 0.03.
        let found = [0.02, 0.03];
        let (expected, good) = (Direction::Higher, better("validation.bits_per_byte", Direction::Higher));
        assert_eq!(judge(expected, improvement(found, expected), 0.01), Verdict::Confirmed);
        assert_eq!(advise(good, improvement(found, good), 0.01, &[], &[], &mut Vec::new()), Action::Reject);
    }

    #[test]
    fn the_interval_decides() {
        let lower = |interval| judge(Direction::Lower, interval, 1.0);
        assert_eq!(lower([0.1, 2.0]), Verdict::Confirmed);
        assert_eq!(lower([-0.1, 2.0]), Verdict::Inconclusive);
        assert_eq!(lower([0.1, 0.9]), Verdict::Refuted, "there, but smaller than was claimed");
        assert_eq!(lower([-2.0, 0.5]), Verdict::Refuted);
        let same = |interval| judge(Direction::Same, interval, 1.0);
        assert_eq!(same([-0.9, 0.9]), Verdict::Confirmed);
        assert_eq!(same([-0.9, 1.1]), Verdict::Inconclusive);
        assert_eq!(same([1.1, 2.0]), Verdict::Refuted);
    }

    #[test]
    fn what_costs_must_be_worth_it_and_what_harms_is_rejected() {
        let cost = [Cost { quantity: "parameters", ratio: 1.2 }];
        let advised = |interval, guardrails: &[GuardrailResult], costs: &[Cost]| {
            advise(Direction::Lower, interval, 1.0, guardrails, costs, &mut Vec::new())
        };
        assert_eq!(advised([0.1, 2.0], &[], &[]), Action::Adopt);
        assert_eq!(advised([0.1, 2.0], &[], &cost), Action::Hold);
        assert_eq!(advised([1.1, 2.0], &[], &cost), Action::Adopt);
        assert_eq!(advised([-0.1, 2.0], &[], &[]), Action::Hold);
        assert_eq!(advised([0.1, 0.9], &[], &[]), Action::Reject);
        let rail = |worsening| [GuardrailResult { metric: "m".to_owned(), margin: 0.5, worsening }];
        assert_eq!(advised([0.1, 2.0], &rail(Some([-1.0, 0.4])), &[]), Action::Adopt);
        assert_eq!(advised([0.1, 2.0], &rail(Some([-1.0, 0.6])), &[]), Action::Hold);
        assert_eq!(advised([0.1, 2.0], &rail(None), &[]), Action::Hold);
        assert_eq!(advised([0.1, 2.0], &rail(Some([0.6, 0.9])), &[]), Action::Reject);
    }

    /// As in the worked study: `books-tuned` diverged with its last seed, and `books-rate` is better with each.
    #[test]
    fn a_change_that_diverges_with_one_seed_hides_no_other() {
        let baseline = vec![1.862, 1.870, 1.865, 1.867, 1.866];
        let better = vec![1.852, 1.853, 1.855, 1.854, 1.851];
        let diverged = vec![1.859, 1.857, 1.866, 1.863, 1.991];
        let (test, among) = family::test(&[baseline.clone(), better.clone(), diverged.clone()], 1, 2, 0.05).unwrap();
        let (_, without) = family::test(&[baseline.clone(), better.clone()], 1, 2, 0.05).unwrap();
        assert_eq!(test, Test::DunnettInBlocks);
        assert_eq!((among.low, among.high, among.p_value), (without.low, without.high, without.p_value));
        assert!(among.p_value < 0.05, "{among:?}");
        let (test, _) = family::test(&[baseline, better, diverged], 2, 2, 0.05).unwrap();
        assert_eq!(test, Test::OwnBlocks);
    }

    /// Which `hypothesis` holds against scipy.
    #[test]
    fn a_family_of_one_is_the_paired_test() {
        let values = [vec![1.231, 1.228, 1.235, 1.229], vec![1.221, 1.226, 1.219, 1.224]];
        let (_, alone) = family::test(&values, 1, 1, 0.05).unwrap();
        let paired = harness_statistics::hypothesis::blocks(&values[0], &values[1]).unwrap();
        for (found, expected) in [(alone.p_value, paired.p_value), (alone.low, paired.low), (alone.high, paired.high)] {
            assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
        }
        let (_, among) = family::test(&values, 1, 4, 0.05).unwrap();
        assert!(among.p_value > alone.p_value && among.low < alone.low, "proposals without runs count");
    }
}
