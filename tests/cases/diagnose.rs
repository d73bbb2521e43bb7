//! `harness diagnose`: every check on the rows of a run fires on what is planted for it, and is clear where nothing is.

use crate::common::{Project, TINY};
use harness_analyse::diagnose::Outcome;
use harness_analyse::{Finding, RunAnalysis, Side, diagnose, diagnose_seeds};
use harness_core::contract::Skipped;
use harness_core::names;

const STEPS: usize = 400;

/// A run of the stand-in, whose curves fall as they should and whose speed is even.
fn sound() -> RunAnalysis {
    let project = Project::new();
    let config = TINY
        .replace("steps = 20", "steps = 400")
        .replace("checkpoint_every = 4", "checkpoint_every = 0")
        .replace("validation_at = { every = 5 }", "validation_at = { every = 20 }")
        .replace("tasks_at = { every = 10 }", "tasks_at = { every = 200 }");
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Train longer");
    project.harness(&["run", "tiny"]).expect(0);
    let folders = names::Project::at(project.path(""));
    Side::open(&folders, "tiny").unwrap().runs.pop().unwrap()
}

/// A run in which something is planted.
struct Planted(RunAnalysis);

impl Planted {
    fn finding(&self, check: &str) -> Finding {
        diagnose(&self.0).into_iter().find(|finding| finding.check == check).unwrap()
    }

    #[track_caller]
    fn finds(&self, check: &str, words: &str) -> &Self {
        let found = self.finding(check);
        assert!(found.outcome == Outcome::Found && found.statement.contains(words), "{found:#?}");
        assert!(!found.changes.is_empty() && !found.evidence.is_empty(), "{found:#?}");
        self
    }

    #[track_caller]
    fn is_clear(&self, check: &str) -> &Self {
        let clear = self.finding(check);
        assert!(clear.outcome == Outcome::Clear && !clear.evidence.is_empty(), "{clear:#?}");
        self
    }

    #[track_caller]
    fn evidence(&self, check: &str, name: &str) -> f64 {
        let finding = self.finding(check);
        let found = finding.evidence.iter().find(|evidence| evidence.name == name);
        found.unwrap_or_else(|| panic!("no `{name}` in {finding:#?}")).number
    }

    /// The value of a key.
    fn value(&mut self, key: &str) -> &mut f64 {
        &mut self.0.values.get_mut(key).unwrap_or_else(|| panic!("no value `{key}`")).number
    }
}

fn plant(sound: &RunAnalysis, plant: impl FnOnce(&mut Planted)) -> Planted {
    let mut planted = Planted(sound.clone());
    plant(&mut planted);
    planted
}

#[test]
fn what_is_planted_in_the_steps_is_found() {
    let sound = sound();
    let clear = plant(&sound, |_| {});
    clear.is_clear("loss_spikes").is_clear("late_rise").is_clear("warm_up").is_clear("throughput");
    assert_eq!(clear.finding("non_finite").outcome, Outcome::Clear);
    assert_eq!(clear.evidence("warm_up", "early spikes"), 0.0);

    // A spike within the first tenth, where the loss still falls, that stays below the loss of step 1.
    let early = plant(&sound, |run| run.0.steps[25].loss_nats += 2.0);
    assert!(early.0.steps[25].loss_nats < early.0.steps[0].loss_nats);
    early.finds("loss_spikes", "at step 26").finds("warm_up", "rough");
    assert_eq!(early.evidence("warm_up", "early spikes"), 1.0);
    // It is one sign, and the stand-in clips each step: two signs that the rate is too high, beside the rough steps.
    early.finds("learning_rate_high", "spikes of the loss");
    // In a run so short that its first tenth ends before spikes can be told, their number is no evidence.
    let short = plant(&sound, |run| run.0.steps.truncate(100));
    assert!(short.finding("warm_up").evidence.iter().all(|evidence| evidence.name != "early spikes"));

    plant(&sound, |run| run.0.steps[2].loss_nats = 1.1 * run.0.steps[0].loss_nats).finds("warm_up", "rough");
    plant(&sound, |run| run.0.steps[2].gradient_norm = 4.0 * run.0.steps[0].gradient_norm).finds("warm_up", "rough");
    plant(&sound, |run| run.0.steps[100].gradient_norm = 4.0 * run.0.steps[0].gradient_norm).is_clear("warm_up");

    let end = STEPS - STEPS / 10;
    plant(&sound, |run| run.0.steps[end..].iter_mut().for_each(|step| step.loss_nats += 0.5))
        .finds("late_rise", "rises towards the end");

    let slowed = |run: &mut Planted, steps: std::ops::Range<usize>, times: f64| {
        run.0.steps[steps].iter_mut().for_each(|step| step.tokens_per_s /= times);
    };
    plant(&sound, |run| slowed(run, 200..210, 5.0)).finds("throughput", "some steps wait");
    plant(&sound, |run| slowed(run, end..STEPS, 1.5)).finds("throughput", "slows down");
    plant(&sound, |run| slowed(run, 200..202, 2.5)).is_clear("throughput");
}

#[test]
fn a_skipped_step_is_found() {
    let sound = sound();
    let skip = |step: u64| Skipped { step, what: "loss".into(), value: "NaN".into(), diagnosis: "planted".into() };
    // The record of a run lists its own; those of the segment before it are the gaps between its rows.
    let late = plant(&sound, |run| run.0.run.record.skipped.push(skip(STEPS as u64 + 1)));
    late.finds("non_finite", "skipped steps 1").finds("learning_rate_high", "finite").is_clear("warm_up");
    let gap = plant(&sound, |run| run.0.steps.retain(|step| step.step != 30));
    gap.finds("non_finite", "the first of them 30").finds("learning_rate_high", "finite").finds("warm_up", "rough");
    let both = plant(&gap.0, |run| run.0.run.record.skipped.push(skip(30)));
    assert_eq!(both.evidence("non_finite", "skipped steps"), 1.0);
}

#[test]
fn what_is_planted_in_the_fit_is_found() {
    let sound = sound();
    let best = sound.run.corpus.baselines.iter().map(|b| b.bits_per_byte).fold(f64::INFINITY, f64::min);
    let bits = |bits: f64| plant(&sound, |run| *run.value("validation.bits_per_byte") = bits);
    bits(best).finds("underfitting", "not better than");
    bits(0.99 * best).is_clear("underfitting");

    plant(&sound, |_| {}).is_clear("saturated_early");
    let lowest = sound.validation_curve.last().unwrap().value;
    let flat = |from: u64| {
        plant(&sound, |run| {
            run.0.validation_curve.iter_mut().filter(|p| p.step >= from).for_each(|p| p.value = lowest);
        })
    };
    flat(200).finds("saturated_early", "after step 200");
    flat(220).is_clear("saturated_early");

    let training = sound.values["training.loss"].number;
    let gap = |share: f64| plant(&sound, |run| *run.value("validation.loss") = training * (1.0 + share));
    gap(0.11).finds("generalization_gap", "11.0 %");
    gap(0.09).is_clear("generalization_gap");

    let epochs = |epochs: f64| plant(&sound, |run| *run.value("training.epochs") = epochs);
    epochs(4.1).finds("repeated_data", "4.1 times");
    epochs(4.0).is_clear("repeated_data");
}

#[test]
fn what_is_planted_in_the_tasks_is_found() {
    let sound = sound();
    // Every task, its group too, with so many items, such a share of them right, and moved so far since half of training.
    let scored = |items: u64, accuracy: f64, moved: f64| {
        plant(&sound, |run| {
            for task in run.0.tasks.iter_mut().chain(&mut run.0.groups) {
                task.items = items;
                task.accuracy.mean = accuracy;
            }
            for curve in run.0.task_curves.values_mut() {
                curve.iter_mut().filter(|p| p.step > 0).for_each(|p| p.value = accuracy);
                curve.last_mut().unwrap().value = accuracy + moved;
            }
        })
    };
    assert!(sound.groups.len() == 1 && sound.groups[0].chance == 0.5 && sound.tasks.len() > 1);
    let all = sound.tasks.len();
    scored(1_000, 0.7, 0.2).is_clear("task_at_chance").is_clear("task_saturated").is_clear("task_noise");
    scored(1_000, 0.52, 0.2)
        .finds("task_at_chance", &format!("{all} of {all} tasks not distinguishable from guessing"));
    let below = scored(1_000, 0.3, 0.2);
    below.finds("task_at_chance", &format!("{all} of {all} tasks below chance: "));
    assert_eq!(below.evidence("task_at_chance", "tasks at chance"), 0.0);
    // One of them below, one at chance, the others better than guessing.
    let mixed = plant(&scored(1_000, 0.7, 0.2).0, |run| {
        run.0.tasks[0].accuracy.mean = 0.3;
        run.0.tasks[1].accuracy.mean = 0.5;
    });
    let (below, at) = (&sound.tasks[0].id, &sound.tasks[1].id);
    mixed.finds("task_at_chance", &format!("guessing: {at}; 1 of {all} tasks below chance: {below}"));

    scored(1_000, 0.999, 0.0).finds("task_saturated", "no room left to improve");
    scored(1_000, 0.9, 0.0).is_clear("task_saturated");
    scored(1_000, 0.7, 0.01).finds("task_noise", "cannot be seen on 1000 items");
    scored(5, 0.6, 0.2).finds("task_noise", "5 items cannot tell two close models apart");
}

#[test]
fn the_noise_between_seeds_is_held_against_the_end_of_training() {
    let sound = sound();
    let seeds = |bits: &[f64]| {
        let run = |&bits: &f64| plant(&sound, |run| *run.value("validation.bits_per_byte") *= bits).0;
        diagnose_seeds(&bits.iter().map(run).collect::<Vec<_>>())
    };
    // The last fifth of the stand-in's training gains 0.5 % or so.
    let fall = seeds(&[0.999_99, 1.0, 1.000_01]);
    assert_eq!(fall.outcome, Outcome::Clear, "{fall:#?}");
    let noisy = seeds(&[0.99, 1.0, 1.01]);
    assert!(noisy.outcome == Outcome::Found && noisy.statement.contains("with 3 seeds a side"), "{noisy:#?}");
    assert_eq!(seeds(&[1.0]).outcome, Outcome::NotJudged);
}
