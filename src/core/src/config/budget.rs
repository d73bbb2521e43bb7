//! `training.budget`: an end of training that is not counted in steps. It is turned into steps before the run begins,
//! so that everything that depends on their number (schedule, evaluations, checkpoints, exact resumption) is the same as
//! with `training.steps`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checked, Choices, Experiment};

/// What may be spent on training: `budget = { tokens = 20_000_000 }`. Evaluations and checkpoints come on top.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// Why a budget is not turned into steps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// It is one of time, and nobody measured how fast training is.
    #[error(
        "`training.budget`: how many steps the time pays for is known only where the rate of training was measured"
    )]
    NeedsRate,
    /// It is too small.
    #[error(
        "`training.budget`: it does not pay for one step of {tokens} tokens\nhint: raise it, or make the batch smaller"
    )]
    TooSmall {
        /// Tokens of the first step.
        tokens: u64,
    },
    /// The rest of the config does not go with the number of steps.
    #[error("{0}")]
    Refused(String),
}

impl Choices {
    /// The most steps whose tokens the budget pays for.
    fn steps_within(
        &self,
        budget: Budget,
        vocabulary_size: u32,
        tokens_per_s: Option<f64>,
    ) -> Result<u64, BudgetError> {
        let flops_per_token = self.model.training_flops_per_token(vocabulary_size);
        let affordable = budget.tokens(flops_per_token, tokens_per_s).ok_or(BudgetError::NeedsRate)?;
        let tokens = |steps: u64| self.training.tokens(steps, self.model.context_length);
        let pays_for = |steps: u64| tokens(steps) as f64 <= affordable;
        let (mut low, mut high) = (0u64, 1u64);
        while pays_for(high) && high < 1 << 40 {
            (low, high) = (high, 2 * high);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if pays_for(middle) { low = middle } else { high = middle }
        }
        if low == 0 { Err(BudgetError::TooSmall { tokens: tokens(1) }) } else { Ok(low) }
    }

    /// Whether the number of steps is stated, or a budget is turned into it.
    pub(super) fn steps_are_known(&self) -> bool {
        self.training.budget.is_none() || self.training.steps > 0
    }

    /// Whether it takes a measured rate to know the number of steps.
    pub fn is_timed(&self) -> bool {
        self.training.budget.is_some_and(Budget::is_timed)
    }

    /// These choices with a change, checked again.
    fn vary(&self, change: impl FnOnce(&mut Choices)) -> Result<Experiment, String> {
        let mut choices = self.clone();
        change(&mut choices);
        super::check::check(&choices).map_err(|(key, problem, hint)| {
            let hint = hint.map_or(String::new(), |hint| format!("\nhint: {hint}"));
            format!("`{key}`: {problem}{hint}")
        })?;
        Ok(Experiment { choices })
    }
}

impl Checked {
    /// Whether the number of steps is known already.
    pub fn has_steps(&self) -> bool {
        self.steps_are_known()
    }

    /// The experiment: as stated, or with the most steps that do not exceed the budget. Refused if the budget pays for no
    /// step, if it takes a rate (tokens per second) and none is given, or if the rest of the config does not go with that
    /// number of steps.
    pub fn resolved(&self, vocabulary_size: u32, tokens_per_s: Option<f64>) -> Result<Experiment, BudgetError> {
        match self.training.budget {
            Some(budget) => self.with_steps(self.steps_within(budget, vocabulary_size, tokens_per_s)?),
            None => Ok(Experiment { choices: self.choices.clone() }),
        }
    }

    /// The experiment with a number of steps that its budget was turned into elsewhere.
    pub fn with_steps(&self, steps: u64) -> Result<Experiment, BudgetError> {
        self.vary(|choices| choices.training.steps = steps).map_err(BudgetError::Refused)
    }

    /// The experiment for so many steps from the first on, whatever its budget, and with other choices; checked again.
    pub fn shortened(&self, steps: u64, change: impl FnOnce(&mut Choices)) -> Result<Experiment, String> {
        self.vary(|choices| {
            (choices.training.steps, choices.training.budget) = (steps, None);
            choices.trunk = None;
            change(choices);
        })
    }
}
