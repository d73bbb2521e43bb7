//! What a study found, and what speaks against believing it: the best trial of each scientific value, and the checks of the
//! tuning playbook of Google on all of them. Functions from trials to sentences; nothing is read here.

use harness_core::config::{Direction, Scale, Setting, Space, Study};
use harness_statistics::{mean, quantile};
use serde::Serialize;

use crate::points::Opened;
use crate::trials::{Course, State, Trial};

/// The outer part of a range in which the best trials speak for a wider one.
const OUTER: f64 = 0.25;
/// Fewer trials of a value say nothing of where in its range the best lie.
const FEWEST_FOR_A_BOUNDARY: usize = 6;
/// Fewer trials of a value say nothing of how good it can be.
const FEWEST_FOR_A_BEST: usize = 4;
/// A larger share of trials that cannot be trained speaks for another space.
const MOST_INFEASIBLE: f64 = 0.25;
/// A rise of the validation loss that is smaller than this share of it is none.
const LEAST_RISE: f64 = 0.002;
/// A trial that was stopped with so many times the loss of the others had diverged.
const DIVERGED: f64 = 1.5;

/// The trials of one scientific value: a row of the isolation table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Value {
    /// What it is called.
    pub name: String,
    /// Trials inside the present ranges that completed.
    pub completed: usize,
    /// Those that were stopped because they fell behind.
    pub pruned: usize,
    /// Those that cannot be trained.
    pub infeasible: usize,
    /// Those that are left to be run.
    pub missing: usize,
    /// The best that completed.
    pub best: Option<Best>,
    /// The expected best metric of so many of the trials that completed, from 1 on.
    pub best_of: Vec<f64>,
}

/// A trial that is the best of its value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Best {
    /// Its number.
    pub trial: u64,
    /// Its metric.
    pub metric: f64,
    /// What it sets: key and value.
    pub settings: Vec<(String, Setting)>,
}

/// Something that a reader has to know before the result is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// What it found, and what can be done.
    pub text: String,
}

/// The metric so that less is better.
fn cost(study: &Study, metric: f64) -> f64 {
    if study.direction == Direction::Higher { -metric } else { metric }
}

/// The trials of a value that count.
fn of_value(trials: &[Trial], value: usize) -> impl Iterator<Item = &Trial> {
    trials.iter().filter(move |trial| trial.inside && trial.planned.value == value)
}

/// Those that completed, with their costs, best first; of equal ones the earlier.
fn ranked<'a>(study: &Study, trials: &'a [Trial], value: usize) -> Vec<(f64, &'a Trial)> {
    let completed = of_value(trials, value).filter(|trial| trial.state == State::Completed);
    let mut ranked: Vec<(f64, &Trial)> =
        completed.filter_map(|trial| Some((cost(study, trial.metric?), trial))).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked
}

/// The isolation table: each scientific value at its best.
pub fn values(study: &Opened, trials: &[Trial]) -> Vec<Value> {
    let row = |value: usize| {
        let ranked = ranked(&study.study, trials, value);
        let count = |state: State| of_value(trials, value).filter(|trial| trial.state == state).count();
        let back = |cost_of: f64| cost(&study.study, cost_of);
        Value {
            name: study.value_name(value),
            completed: ranked.len(),
            pruned: count(State::Pruned),
            infeasible: count(State::Infeasible),
            missing: count(State::Waiting) + count(State::Open),
            best: ranked.first().map(|(best, trial)| Best {
                trial: trial.planned.trial,
                metric: back(*best),
                settings: trial.planned.values(),
            }),
            best_of: best_of(&ranked.iter().map(|(cost, _)| *cost).collect::<Vec<_>>()).into_iter().map(back).collect(),
        }
    };
    (0..study.study.combinations().len()).map(row).collect()
}

/// The expected least of `n` of these costs, drawn without replacement, for each `n` from 1 on. `costs` ascend.
pub fn best_of(costs: &[f64]) -> Vec<f64> {
    let all = costs.len();
    let expected = |drawn: usize| {
        // That the first `i` are not drawn and the next one is.
        let (mut none_before, mut sum) = (1.0, 0.0);
        for (i, cost) in costs.iter().enumerate() {
            let is_drawn = (drawn as f64 / (all - i) as f64).min(1.0);
            sum += none_before * is_drawn * cost;
            none_before *= 1.0 - is_drawn;
        }
        sum
    };
    (1..=all).map(expected).collect()
}

/// By how much the best value is better than the next; none where fewer than two have completed trials.
fn difference(study: &Study, trials: &[Trial]) -> Option<f64> {
    let values = 0..study.combinations().len();
    let mut bests: Vec<f64> = values.filter_map(|value| Some(ranked(study, trials, value).first()?.0)).collect();
    bests.sort_by(f64::total_cmp);
    Some(bests.get(1)? - bests[0])
}

/// Standard deviation of a validation loss around its own line over the last three evaluations, as a share of it, over all trials
/// that completed: how much depends on the step at which training ended.
fn late_deviation(trials: &[Trial]) -> Option<f64> {
    let squares = trials.iter().filter(|trial| trial.state == State::Completed).filter_map(|trial| {
        let [.., (_, first), (_, second), (_, third)] = trial.course.as_ref()?.validation[..] else { return None };
        let bend = (first - 2.0 * second + third) / third;
        Some(bend * bend / 6.0)
    });
    let squares: Vec<f64> = squares.collect();
    (!squares.is_empty()).then(|| libm::sqrt(mean(&squares)))
}

/// All checks.
pub fn findings(study: &Opened, trials: &[Trial]) -> Vec<Finding> {
    let plan = &study.study;
    let values = 0..plan.combinations().len();
    let mut findings = Vec::new();
    let mut add = |check: &'static str, text: Option<String>| findings.extend(text.map(|text| Finding { check, text }));
    add("unequal_tuning", unequal_tuning(study, trials));
    add("infeasible", infeasible(trials));
    add("hidden_instability", hidden_instability(trials));
    for value in values.clone() {
        for at in 0..plan.nuisance.len() {
            add("boundary", boundary(study, trials, value, at));
        }
    }
    let late = late_deviation(trials);
    for value in values.clone() {
        add("overfitting", overfitting(study, trials, value, late));
    }
    let Some(difference) = difference(plan, trials) else { return findings };
    for value in values.clone() {
        add("density", density(study, trials, value, difference));
    }
    let is_validation = plan.metric.starts_with("validation.");
    if let Some(late) = late.filter(|_| is_validation) {
        add("late_variance", late_variance(plan, trials, late, difference));
        for value in values {
            add("still_improving", still_improving(study, trials, value, difference));
        }
    }
    findings
}

fn unequal_tuning(study: &Opened, trials: &[Trial]) -> Option<String> {
    let counts: Vec<(String, usize)> = (0..study.study.combinations().len())
        .map(|value| (study.value_name(value), of_value(trials, value).filter(|trial| trial.state.is_done()).count()))
        .collect();
    let fewest = counts.iter().map(|(_, count)| *count).min()?;
    let unequal = counts.iter().any(|(_, count)| *count != fewest);
    let listed: Vec<String> = counts.iter().map(|(name, count)| format!("{name}: {count}")).collect();
    unequal.then(|| {
        format!(
            "the values were not tuned alike ({} trials); `harness study run {}` runs the rest",
            listed.join(", "),
            study.name
        )
    })
}

fn infeasible(trials: &[Trial]) -> Option<String> {
    let done = trials.iter().filter(|trial| trial.inside && trial.state.is_done()).count();
    let count = trials.iter().filter(|trial| trial.inside && trial.state == State::Infeasible).count();
    (count as f64 > MOST_INFEASIBLE * done as f64).then(|| {
        format!("{count} of {done} trials could not be trained: a part of the space is useless; narrow it in a further round")
    })
}

/// Trials that diverged and were stopped for it are not counted as infeasible.
fn hidden_instability(trials: &[Trial]) -> Option<String> {
    let inside = || trials.iter().filter(|trial| trial.inside && trial.state.is_done());
    let last = |trial: &&Trial| trial.course.as_ref().and_then(|course: &Course| course.validation.last().copied());
    let diverged = |trial: &&Trial| {
        let Some((step, stopped_at)) = last(trial).filter(|_| trial.state == State::Pruned) else { return false };
        let others = inside().filter(|other| other.state == State::Completed);
        let others: Vec<f64> = others.filter_map(|other| other.course.as_ref()?.at(step)).collect();
        !others.is_empty() && stopped_at > DIVERGED * quantile(&others, 0.5)
    };
    let (done, hidden) = (inside().count() as f64, inside().filter(diverged).count());
    let infeasible = inside().filter(|trial| trial.state == State::Infeasible).count();
    let is_hidden =
        infeasible as f64 <= MOST_INFEASIBLE * done && (infeasible + hidden) as f64 > MOST_INFEASIBLE * done;
    is_hidden.then(|| {
        format!(
            "{hidden} of the trials that were stopped had diverged (over {DIVERGED} times the others' loss): with {infeasible} \
             infeasible ones a part of the space is unstable, which pruning hides"
        )
    })
}

/// Whether the best trials of a value crowd at one end of a range, the best of them outermost.
fn boundary(study: &Opened, trials: &[Trial], value: usize, at: usize) -> Option<String> {
    let space = &study.study.present().spaces[at];
    let Space::Between { low, high, scale } = *space else { return None };
    let place = |trial: &Trial| {
        let (_, (_, setting)) = trial.planned.nuisance.iter().find(|(of, _)| *of == at)?;
        space.place_of(setting)
    };
    let places: Vec<f64> = ranked(&study.study, trials, value).iter().filter_map(|(_, trial)| place(trial)).collect();
    if places.len() < FEWEST_FOR_A_BOUNDARY {
        return None;
    }
    let best = &places[..(places.len() / 4).max(2)];
    let at_high = best.iter().all(|place| *place >= 1.0 - OUTER && *place <= best[0]);
    let at_low = best.iter().all(|place| *place <= OUTER && *place >= best[0]);
    if !at_high && !at_low {
        return None;
    }
    let beyond = match (scale, at_high) {
        (Scale::Log, true) => high * libm::sqrt(high / low),
        (Scale::Log, false) => low / libm::sqrt(high / low),
        (_, true) => high + (high - low) / 2.0,
        (_, false) => low - (high - low) / 2.0,
    };
    let end = if at_high { "upper" } else { "lower" };
    Some(format!(
        "{}: the best trials lie at the {end} end of `{}` ({low} to {high}), so a better value may lie beyond; a further round \
         might reach to {beyond:.3e}",
        study.value_name(value),
        study.study.nuisance[at].label(),
    ))
}

fn overfitting(study: &Opened, trials: &[Trial], value: usize, late: Option<f64>) -> Option<String> {
    let (_, best) = *ranked(&study.study, trials, value).first()?;
    let course = best.course.as_ref()?;
    let ((_, last), before) = course.validation.split_last()?;
    let lowest = before.iter().map(|(_, loss)| *loss).reduce(f64::min)?;
    let gap = course.validation_loss_nats.map_or(f64::NAN, |loss| loss - course.late_training_loss_nats);
    (last / lowest - 1.0 > LEAST_RISE.max(3.0 * late.unwrap_or(0.0))).then(|| {
        format!(
            "{}: its best trial, {}, was better before its end ({lowest:.4}, then {last:.4} bits per byte), with {gap:.3} nats \
             between training and validation: it overfits, and fewer steps or more data would order the values otherwise",
            study.value_name(value),
            best.planned.trial
        )
    })
}

fn density(study: &Opened, trials: &[Trial], value: usize, difference: f64) -> Option<String> {
    let costs: Vec<f64> = ranked(&study.study, trials, value).iter().map(|(cost, _)| *cost).collect();
    if costs.len() < FEWEST_FOR_A_BEST {
        let (name, count) = (study.value_name(value), costs.len());
        return Some(format!("{name}: {count} of its trials completed, too few to say how good it can be"));
    }
    let expected = best_of(&costs);
    let gain = expected.get((costs.len() / 2).checked_sub(1)?)? - expected.last()?;
    (gain > difference / 2.0).then(|| {
        format!(
            "{}: half of its {} trials would have found a best that is worse by {gain:.2e}, against {difference:.2e} between \
             the values: too few points for so small a difference",
            study.value_name(value),
            costs.len()
        )
    })
}

fn late_variance(study: &Study, trials: &[Trial], late: f64, difference: f64) -> Option<String> {
    let values = 0..study.combinations().len();
    let best = values.filter_map(|value| Some(ranked(study, trials, value).first()?.0)).reduce(f64::min)?;
    // Two losses that both end at some step.
    let noise = 2.0 * libm::sqrt(2.0) * late * best.abs();
    (noise > difference).then(|| {
        format!(
            "at the end of training the validation loss varies by {:.2e} from step to step, so a difference of {difference:.2e} \
             between the values could be one of where they stopped",
            late * best.abs()
        )
    })
}

fn still_improving(study: &Opened, trials: &[Trial], value: usize, difference: f64) -> Option<String> {
    let (_, best) = *ranked(&study.study, trials, value).first()?;
    let [.., (_, tenth_before), _, (_, last)] = best.course.as_ref()?.validation[..] else { return None };
    let gain = tenth_before - last;
    (gain > difference && gain > 0.0).then(|| {
        format!(
            "{}: its best trial, {}, still gained {gain:.2e} over the last tenth of its steps, more than the values differ \
             ({difference:.2e}): with more steps they may be ordered otherwise",
            study.value_name(value),
            best.planned.trial
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::trials as planned;
    use harness_core::config::{Table, load};
    use harness_core::names::ExperimentName;

    const STUDY: &str = "goal = \"g\"\nmetric = \"validation.bits_per_byte\"\ndirection = \"lower\"\ncompare_at = \"steps\"\n\
                         trials = 12\n[[scientific]]\nkey = \"optimizer.weight_decay\"\nvalues = [0.0, 0.1]\n[[nuisance]]\nkey = \
                         \"optimizer.learning_rate\"\nlow = 1e-4\nhigh = 1e-2\nscale = \"log\"\n";

    /// A study whose trials are as `shape` says of (value, place in the range), with nothing else to be found.
    fn study(shape: impl Fn(usize, f64) -> f64) -> (Opened, Vec<Trial>) {
        let study: Study = toml::from_str(STUDY).unwrap();
        let name: ExperimentName = "s".parse().unwrap();
        let base = load(&name, &[], &|_| Ok(Some("corpus = \"c\"".to_owned())), &Table::new()).unwrap().experiment;
        let trials = planned(&study, "abc", "s");
        let space = study.present().spaces[0].clone();
        let done = trials.iter().map(|planned| {
            let metric = shape(planned.value, space.place_of(&planned.nuisance[0].1.1).unwrap());
            Trial {
                planned: planned.clone(),
                state: State::Completed,
                inside: true,
                runs: Vec::new(),
                decided_by: None,
                metric: Some(metric),
                failure: None,
                course: Some(Course {
                    validation: [(50, 0.05), (90, 0.004), (95, 0.002), (100, 0.0)]
                        .map(|(at, more)| (at, metric + more))
                        .to_vec(),
                    validation_loss_nats: Some(metric),
                    late_training_loss_nats: metric,
                }),
                crashes: 0,
                wall_time_s: 1.0,
            }
        });
        let done = done.collect();
        (Opened { name, study, text: STUDY.to_owned(), base, trials }, done)
    }

    fn bowl(value: usize, place: f64) -> f64 {
        1.0 + 0.02 * value as f64 + 0.1 * (place - 0.5) * (place - 0.5)
    }

    fn found(study: &Opened, trials: &[Trial]) -> Vec<&'static str> {
        let mut checks: Vec<&str> = findings(study, trials).iter().map(|finding| finding.check).collect();
        checks.dedup();
        checks
    }

    #[test]
    fn nothing_is_found_where_nothing_is_planted() {
        let (study, trials) = study(bowl);
        assert_eq!(found(&study, &trials), [""; 0]);
        let values = values(&study, &trials);
        assert_eq!((values[0].name.as_str(), values[0].completed, values[0].missing), ("0", 12, 0));
        let best: Vec<f64> = values.iter().map(|value| value.best.as_ref().unwrap().metric).collect();
        assert!((best[1] - best[0] - 0.02).abs() < 1e-9, "{best:?}");
    }

    #[test]
    fn the_best_at_an_end_of_a_range_are_told_with_a_wider_one() {
        for (centre, end) in [(1.1, "upper"), (-0.1, "lower")] {
            let (study, trials) =
                study(|value, place| 1.0 + 0.02 * value as f64 + 0.5 * (place - centre) * (place - centre));
            let all = findings(&study, &trials);
            let boundary = all.iter().find(|finding| finding.check == "boundary").unwrap();
            assert!(boundary.text.contains(end), "{}", boundary.text);
        }
    }

    #[test]
    fn too_few_points_for_the_difference_are_told() {
        let (study, mut trials) = study(bowl);
        // One lucky trial of each value.
        for trial in &mut trials[6..8] {
            trial.metric = trial.metric.map(|metric| metric - 0.3);
        }
        assert!(found(&study, &trials).contains(&"density"));
        for trial in &mut trials[6..] {
            trial.state = State::Waiting;
        }
        let few = findings(&study, &trials).into_iter().find(|finding| finding.check == "density").unwrap();
        assert!(few.text.contains("3 of its trials"), "{}", few.text);
    }

    #[test]
    fn infeasible_trials_are_told_beyond_a_quarter() {
        let (study, mut trials) = study(bowl);
        let mark = |trials: &mut [Trial], count: usize| {
            for trial in &mut trials[..count] {
                (trial.state, trial.metric, trial.course) = (State::Infeasible, None, None);
            }
        };
        mark(&mut trials, 6);
        assert!(!found(&study, &trials).contains(&"infeasible"));
        mark(&mut trials, 8);
        assert!(found(&study, &trials).contains(&"infeasible"));
    }

    #[test]
    fn unequal_tuning_is_told() {
        let (study, mut trials) = study(bowl);
        trials[23].state = State::Waiting;
        assert_eq!(found(&study, &trials), ["unequal_tuning"]);
        trials[22].state = State::Waiting;
        assert_eq!(found(&study, &trials), [""; 0], "as many of each");
    }

    #[test]
    fn overfitting_of_the_best_is_told() {
        let (study, mut trials) = study(bowl);
        let best = trials.iter_mut().min_by(|a, b| a.metric.unwrap().total_cmp(&b.metric.unwrap())).unwrap();
        best.course.as_mut().unwrap().validation[0].1 -= 0.1;
        assert_eq!(found(&study, &trials), ["overfitting"]);
    }

    #[test]
    fn a_difference_within_the_late_noise_is_told() {
        let (study, mut trials) = study(bowl);
        for trial in &mut trials {
            trial.course.as_mut().unwrap().validation[2].1 += 0.03;
        }
        assert!(found(&study, &trials).contains(&"late_variance"));
    }

    #[test]
    fn trainings_that_still_improve_are_told() {
        let (study, mut trials) = study(bowl);
        for trial in &mut trials {
            let validation = &mut trial.course.as_mut().unwrap().validation;
            (validation[1].1, validation[2].1) = (trial.metric.unwrap() + 0.04, trial.metric.unwrap() + 0.02);
        }
        assert_eq!(found(&study, &trials), ["still_improving"]);
    }

    #[test]
    fn instability_that_pruning_hides_is_told() {
        let (study, mut trials) = study(bowl);
        let mark = |trials: &mut [Trial], loss: f64| {
            for trial in &mut trials[..8] {
                let course = Course { validation: vec![(50, loss)], ..Course::default() };
                (trial.state, trial.metric, trial.course) = (State::Pruned, None, Some(course));
            }
        };
        mark(&mut trials, 1.2);
        assert!(!found(&study, &trials).contains(&"hidden_instability"), "behind, and stable");
        mark(&mut trials, 3.0);
        assert!(found(&study, &trials).contains(&"hidden_instability"));
    }

    #[test]
    fn what_lies_outside_of_the_last_round_s_ranges_does_not_count() {
        let (study, mut trials) = study(bowl);
        (trials[0].metric, trials[0].inside) = (Some(0.1), false);
        assert!(values(&study, &trials)[0].best.as_ref().unwrap().metric >= 1.0);
    }

    #[test]
    fn the_expected_best_of_some_is_that_over_all_choices() {
        let all = best_of(&[1.0, 2.0, 3.0, 4.0]);
        // Of the six pairs three hold 1, two of the others 2, and one is (3, 4).
        let pairs = (3.0 * 1.0 + 2.0 * 2.0 + 3.0) / 6.0;
        assert_eq!((all[0], all[3]), (2.5, 1.0));
        assert!((all[1] - pairs).abs() < 1e-12, "{all:?}");
    }
}
