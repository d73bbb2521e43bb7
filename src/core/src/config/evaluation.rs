//! `[evaluation]`: what is measured, and when.

use serde::{Deserialize, Serialize};

/// Held-out loss and zero-shot tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// The validation loss is computed before the first step, after every so many steps, and after the last.
    /// 0 means only after the last.
    pub validation_every: u64,
    /// The tasks are scored after every so many steps and after the last. 0 means only after the last.
    pub tasks_every: u64,
    /// Names of task recipes under `experiments/tasks/`.
    pub tasks: Vec<String>,
    /// At most this many items of each task, spread evenly over it; 0 means all.
    pub items_per_task: u64,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        EvaluationConfig { validation_every: 50, tasks_every: 0, tasks: Vec::new(), items_per_task: 0 }
    }
}

impl EvaluationConfig {
    /// Steps after which the validation loss is computed, ascending and without repetition.
    pub fn validation_steps(&self, steps: u64) -> Vec<u64> {
        let mut at = vec![0];
        at.extend(multiples(self.validation_every, steps));
        if self.validation_every == 0 { vec![steps] } else { at }
    }

    /// Steps after which the tasks are scored.
    pub fn task_steps(&self, steps: u64) -> Vec<u64> {
        if self.tasks.is_empty() { Vec::new() } else { multiples(self.tasks_every, steps) }
    }
}

/// The multiples of `every` below `steps`, and `steps` itself.
pub(super) fn multiples(every: u64, steps: u64) -> Vec<u64> {
    let whole = steps.checked_div(every).unwrap_or(0);
    let mut at: Vec<u64> = (1..=whole).map(|k| k * every).collect();
    if at.last() != Some(&steps) {
        at.push(steps);
    }
    at
}

impl super::TrainingConfig {
    /// Steps after which a checkpoint is written, ascending; the last step is always among them.
    pub fn checkpoint_steps(&self) -> Vec<u64> {
        multiples(self.checkpoint_every, self.steps)
    }
}
