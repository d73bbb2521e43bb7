//! `[evaluation]`: what is measured, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Steps after which something is measured. The last step is always among them, but for `"none"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Steps {
    /// Never.
    None,
    /// After the last step only.
    Last,
    /// After every so many steps, at least 1.
    Every(u64),
    /// After so many steps (at least 2) that lie evenly on a logarithmic axis from the first to the last; fewer where
    /// several of them round to the same step. Early training, where a model changes fastest, is seen more often.
    Log(u64),
    /// After these steps, ascending.
    Steps(Vec<u64>),
    /// After these per cent of the steps, ascending.
    Percent(Vec<u64>),
}

impl Steps {
    /// The steps of a run of `steps` steps, ascending and without repetition.
    pub fn of(&self, steps: u64) -> Vec<u64> {
        let mut at: Vec<u64> = match self {
            Steps::None => return Vec::new(),
            Steps::Last => Vec::new(),
            Steps::Every(every) => (1..=steps.checked_div(*every).unwrap_or(0)).map(|k| k * every).collect(),
            Steps::Log(count) => (0..*count).map(|k| log_spaced(k, *count, steps)).collect(),
            Steps::Steps(list) => list.iter().copied().filter(|&step| step < steps).collect(),
            Steps::Percent(list) => {
                let at = |percent: &u64| (u128::from(*percent) * u128::from(steps) / 100) as u64;
                list.iter().map(at).filter(|&step| step > 0 && step < steps).collect()
            }
        };
        at.push(steps);
        at.dedup();
        at
    }

    /// Whether the state before the first step belongs to the curve: it does where steps follow a rule.
    fn has_start(&self) -> bool {
        matches!(self, Steps::Every(_) | Steps::Log(_))
    }

    /// What is wrong with it in a run of `steps` steps, if something is.
    pub(super) fn problem(&self, steps: u64) -> Option<String> {
        match self {
            Steps::Log(count) if *count > MOST_SPACED => Some(format!("at most {MOST_SPACED} steps can be asked for")),
            Steps::Every(0) => Some("\"every 0 steps\" never comes: write \"last\" or \"none\"".to_owned()),
            Steps::Log(0 | 1) => {
                Some("a logarithmic axis needs at least 2 steps; write \"last\" for the last alone".to_owned())
            }
            Steps::Steps(list) => {
                let sorted = list.windows(2).all(|pair| pair[0] < pair[1]);
                match list.last() {
                    _ if !sorted => Some("the steps must ascend".to_owned()),
                    Some(&last) if last > steps => Some(format!("step {last} lies beyond the {steps} steps")),
                    _ => None,
                }
            }
            Steps::Percent(list) => {
                let ascends = list.windows(2).all(|pair| pair[0] < pair[1]);
                let holds = ascends && list.iter().all(|percent| (1..=100).contains(percent));
                (!holds).then(|| "the percentages must ascend, from 1 or more to 100 at most".to_owned())
            }
            _ => None,
        }
    }
}

/// More steps than anybody spaces along an axis.
const MOST_SPACED: u64 = 1_000_000;

/// The `k`-th of `count` steps from 1 to `last`, the same on every machine.
fn log_spaced(k: u64, count: u64, last: u64) -> u64 {
    let share = k as f64 / (count - 1) as f64;
    libm::round(libm::pow(last as f64, share)) as u64
}

/// Held-out loss and zero-shot tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// When the validation loss is computed: `"last"`, `"none"`, `{ every = 200 }`, `{ log = 20 }`,
    /// `{ steps = [0, 100, 1000] }` or `{ percent = [25, 50] }`. With `every` and `log` also before the first step.
    pub validation_at: Steps,
    /// When the tasks are scored, stated likewise. Not before the first step, unless listed.
    pub tasks_at: Steps,
    /// When the loss of each single token of the validation text is kept, stated likewise: nine bytes a token for each
    /// of these steps, which stay in the run folder and in git.
    pub token_losses_at: Steps,
    /// Names of task recipes under `experiments/tasks/`.
    pub tasks: Vec<String>,
    /// At most this many items of each task, spread evenly over it; 0 means all.
    pub items_per_task: u64,
    /// Sequences of one forward pass of an evaluation. No score depends on it but in the last bits of a sum. 0 means
    /// as many as 4,096 tokens are.
    pub batch_size: u32,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        EvaluationConfig {
            validation_at: Steps::Every(50),
            tasks_at: Steps::Last,
            token_losses_at: Steps::Last,
            tasks: Vec::new(),
            items_per_task: 0,
            batch_size: 0,
        }
    }
}

impl EvaluationConfig {
    /// Steps after which the validation loss is computed, ascending and without repetition; those of the token losses
    /// are among them.
    pub fn validation_steps(&self, steps: u64) -> Vec<u64> {
        let start = self.validation_at.has_start().then_some(0);
        let own = self.validation_at.of(steps);
        let mut at: Vec<u64> = start.into_iter().chain(own).chain(self.token_loss_steps(steps)).collect();
        at.sort_unstable();
        at.dedup();
        at
    }

    /// Steps after which the loss of each token is kept; none where no validation loss is computed at all.
    pub fn token_loss_steps(&self, steps: u64) -> Vec<u64> {
        if self.validation_at == Steps::None { Vec::new() } else { self.token_losses_at.of(steps) }
    }

    /// Steps after which the tasks are scored.
    pub fn task_steps(&self, steps: u64) -> Vec<u64> {
        if self.tasks.is_empty() { Vec::new() } else { self.tasks_at.of(steps) }
    }
}

impl super::TrainingConfig {
    /// Steps after which a checkpoint is written, ascending; the last step is always among them.
    pub fn checkpoint_steps(&self) -> Vec<u64> {
        if self.checkpoint_every == 0 { vec![self.steps] } else { Steps::Every(self.checkpoint_every).of(self.steps) }
    }
}
