//! `trunk = { experiment = "...", step = ... }`: the run of another experiment whose first steps a run takes over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Choices, Experiment, flat, is_of_the_plan, learning_rate};
use crate::names::ExperimentName;

/// A trunk: one long run at a constant learning rate, from whose checkpoints cool-downs of several lengths begin (Hägele et al.
/// 2024, Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations). No part of the plan: a run that begins there
/// has the weights of one that was trained from nothing, and is refused where it would not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrunkConfig {
    /// The experiment whose run of the same seed and purpose it begins from.
    pub experiment: ExperimentName,
    /// Optimizer steps that it takes over from it; that run keeps a checkpoint of this step.
    pub step: u64,
}

/// Where two trainings part that were to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// What is another.
    pub problem: String,
    /// What to do.
    pub hint: String,
}

/// Keys whose values may differ where the first steps are the same. What is measured of those steps is looked at by itself, and so
/// is the learning rate, by step.
const FREE: [&str; 9] = [
    "primary_metrics",
    "training.steps",
    "training.budget",
    "training.checkpoint_every",
    "training.keep",
    "training.devices",
    "training.shard_optimizer",
    "schedule",
    "evaluation",
];

/// Whether a key with another value could change the weights of the first steps, or a number that is taken over with them.
fn counts(key: &str) -> bool {
    let is_free = |free: &str| key.strip_prefix(free).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let measured = ["metrics.tensor_norms_every", "metrics.activations_every", "metrics.step_rows"];
    is_of_the_plan(key)
        && !measured.contains(&key)
        && (key == "evaluation.batch_size" || !FREE.into_iter().any(is_free))
}

/// The first key or step by which the first `steps` steps of `branch` are not those of `trunk`; nothing where they are the same
/// training, given the same data.
pub fn parting(trunk: &Experiment, branch: &Experiment, steps: u64) -> Option<Parting> {
    let rows = |choices: &Choices| flat(choices).into_iter().filter(|(key, _)| counts(key)).collect::<Vec<_>>();
    let (there, here) = (rows(trunk), rows(branch));
    let value = |rows: &[(String, String)], key: &str| {
        rows.iter().find(|(known, _)| known == key).map_or_else(|| "not stated".to_owned(), |(_, value)| value.clone())
    };
    let differs = |key: &&String| value(&there, key) != value(&here, key);
    if let Some(key) = here.iter().chain(&there).map(|(key, _)| key).find(differs) {
        return Some(Parting {
            problem: format!("`{key}` is {} there and {} here", value(&there, key), value(&here, key)),
            hint: format!("give `{key}` the same value in both, or leave `trunk` out to train from the first step"),
        });
    }
    let rate = |of: &Experiment, step| learning_rate(&of.schedule, of.optimizer.learning_rate, step, of.training.steps);
    let step = (1..=steps).find(|&step| rate(trunk, step) != rate(branch, step))?;
    let (there, here) = (rate(trunk, step), rate(branch, step));
    Some(Parting {
        problem: format!("the learning rate of step {step} is {there} there and {here} here"),
        hint: match step {
            1 => "give both the same warm-up and the same constant rate (`schedule.kind`), and a cool-down to this one"
                .to_owned(),
            _ => format!("begin from step {} at the latest, up to which both rates are the same", step - 1),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_resolved;

    fn experiment(more: &str) -> Experiment {
        parse_resolved(&format!("corpus = \"c\"\n{more}")).unwrap()
    }

    const TRUNK: &str = "[schedule]\nkind = \"constant\"\nwarmup_steps = 10\n[training]\nsteps = 400\n";
    const BRANCH: &str =
        "[schedule]\nkind = \"warmup_stable_decay\"\nwarmup_steps = 10\ncooldown_steps = 40\n[training]\nsteps = 240\n";

    #[test]
    fn a_cool_down_parts_from_its_trunk_where_its_rate_falls() {
        let (trunk, branch) = (experiment(TRUNK), experiment(BRANCH));
        assert_eq!(parting(&trunk, &branch, 200), None);
        let told = parting(&trunk, &branch, 201).unwrap();
        assert!(told.problem.starts_with("the learning rate of step 201 is "), "{}", told.problem);
        assert_eq!(told.hint, "begin from step 200 at the latest, up to which both rates are the same");
    }

    #[test]
    fn every_key_that_could_change_a_weight_or_a_number_counts() {
        let keys: Vec<String> = flat(&experiment("")).into_iter().map(|(key, _)| key).collect();
        let free: Vec<&str> = keys.iter().map(String::as_str).filter(|key| !counts(key)).collect();
        assert_eq!(
            free,
            [
                "evaluation.items_per_task",
                "evaluation.tasks",
                "evaluation.tasks_at",
                "evaluation.token_losses_at",
                "evaluation.validation_at.every",
                "hypothesis",
                "metrics.activations_every",
                "metrics.step_rows",
                "metrics.tensor_norms_every",
                "question",
                "rationale",
                "schedule.cooldown_shape",
                "schedule.cooldown_steps",
                "schedule.final_learning_rate_ratio",
                "schedule.kind",
                "schedule.warmup_steps",
                "title",
                "training.checkpoint_every",
                "training.keep.best",
                "training.keep.every",
                "training.keep.last",
                "training.steps",
            ]
        );
        assert!(!counts("training.devices") && !counts("training.budget") && counts("training.device"));
        let other = parting(&experiment(TRUNK), &experiment(&format!("{BRANCH}[model]\nlayers = 3\n")), 1);
        assert!(other.unwrap().problem.starts_with("`model.layers` is "));
    }

    #[test]
    fn a_trunk_is_no_part_of_the_plan_and_not_inherited() {
        let from = "trunk = { experiment = \"long\", step = 200 }\n";
        let (with, without) = (experiment(&format!("{from}{BRANCH}")), experiment(BRANCH));
        assert_eq!(with.plan_digest(), without.plan_digest());
        assert_ne!(with.to_toml(), without.to_toml());
        assert!(!is_of_the_plan("trunk.step"));
        let loaded = crate::config::load(
            &"child".parse().unwrap(),
            &[],
            &|name| {
                Ok(Some(if name.as_str() == "child" {
                    "extends = \"cool\"\n".to_owned()
                } else {
                    format!("corpus = \"c\"\n{from}")
                }))
            },
            &crate::config::Table::new(),
        );
        // 200 steps are as many as there are by default, so that the parent alone would be refused.
        assert_eq!(loaded.unwrap().experiment.trunk, None);
    }
}
