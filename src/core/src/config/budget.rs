//! `training.budget`: an end of training that is not counted in steps. It is turned into steps before the run begins,
//! so that everything that depends on their number (schedule, evaluations, checkpoints, exact resumption) is the same as
//! with `training.steps`.

use serde::{Deserialize, Serialize};

use super::{Choices, Experiment};

/// What may be spent on training: `budget = { tokens = 20_000_000 }`. Evaluations and checkpoints come on top.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// Training tokens.
    Tokens(u64),
    /// Training FLOPs, forward and backward, as [`super::ModelConfig::training_flops_per_token`] counts them: for
    /// sequences of `context_length`, so that a stage of shorter ones costs a little less than is counted.
    Flops(f64),
    /// Seconds in optimizer steps on this machine. The rate is measured in a short run before the first step; the
    /// number of steps that follows from it is part of the plan and does not change if the machine becomes slower.
    WallTimeS(f64),
}

impl Budget {
    /// Whether steps follow only from a measured rate.
    pub fn is_timed(self) -> bool {
        matches!(self, Budget::WallTimeS(_))
    }

    /// The tokens that it pays for; nothing if that takes a rate (tokens per second) and none is given.
    fn tokens(self, flops_per_token: f64, tokens_per_s: Option<f64>) -> Option<f64> {
        match self {
            Budget::Tokens(tokens) => Some(tokens as f64),
            Budget::Flops(flops) => Some(flops / flops_per_token),
            Budget::WallTimeS(seconds) => tokens_per_s.map(|rate| seconds * rate),
        }
    }
}

impl Choices {
    /// The most steps whose tokens the budget pays for, if there is a budget and all is known that it takes.
    fn steps_within_budget(&self, vocabulary_size: u32, tokens_per_s: Option<f64>) -> Option<u64> {
        let flops_per_token = self.model.training_flops_per_token(vocabulary_size);
        let affordable = self.training.budget?.tokens(flops_per_token, tokens_per_s)?;
        let pays_for = |steps: u64| self.training.tokens(steps, self.model.context_length) as f64 <= affordable;
        let (mut low, mut high) = (0u64, 1u64);
        while pays_for(high) && high < 1 << 40 {
            (low, high) = (high, 2 * high);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if pays_for(middle) { low = middle } else { high = middle }
        }
        Some(low)
    }
}

impl Experiment {
    /// Whether the number of steps is not known yet.
    pub fn needs_steps(&self) -> bool {
        self.training.budget.is_some() && self.training.steps == 0
    }

    /// Whether it takes a measured rate to know the number of steps.
    pub fn is_timed(&self) -> bool {
        self.training.budget.is_some_and(Budget::is_timed)
    }

    /// The experiment with its budget turned into steps: the most that do not exceed it. Unchanged without a budget, or
    /// if it takes a rate and none is given; refused if the budget pays for no step, or if the rest of the config does
    /// not go with that number of steps.
    pub fn resolved(&self, vocabulary_size: u32, tokens_per_s: Option<f64>) -> Result<Self, String> {
        let Some(steps) = self.choices.steps_within_budget(vocabulary_size, tokens_per_s) else {
            return Ok(self.clone());
        };
        if steps == 0 {
            let batch = self.training.tokens(1, self.model.context_length);
            return Err(format!(
                "`training.budget`: it does not pay for one step of {batch} tokens\nhint: raise it, or make the batch smaller"
            ));
        }
        self.vary(|choices| choices.training.steps = steps)
    }

    /// The experiment with other choices, checked again.
    pub fn vary(&self, change: impl FnOnce(&mut Choices)) -> Result<Self, String> {
        let mut choices = self.choices.clone();
        change(&mut choices);
        super::check::check(&choices).map_err(|(key, problem, hint)| {
            let hint = hint.map_or(String::new(), |hint| format!("\nhint: {hint}"));
            format!("`{key}`: {problem}{hint}")
        })?;
        Ok(Experiment { choices })
    }
}
