//! The losses of a run's held-out tokens, each with its place: from `validation.tokens` and `validation.csv` of the
//! last evaluation that has both. Sealed files only, so that whoever has the run has these numbers.

use harness_core::scores::{WindowLoss, read_csv};
use harness_core::token_losses::TokenLosses;

use super::SliceError;
use crate::AnalyseError;
use harness_record::SealedRun;

/// Each predicted token of the validation text, in the order of its documents.
pub struct Scored {
    /// The step it was evaluated after.
    pub step: u64,
    /// `evaluations/step-NNNNNNNN/validation.tokens`
    pub file: String,
    /// `evaluations/step-NNNNNNNN/validation.csv`
    pub windows_file: String,
    /// The windows in which they were read.
    pub windows: Vec<WindowLoss>,
    /// Loss, probability of the first choice and whether it was right, for each token.
    pub losses: TokenLosses,
}

impl Scored {
    /// Reads the last evaluation with losses of single tokens; `None` if there is none.
    pub fn of(run: &SealedRun) -> Result<Option<Self>, AnalyseError> {
        for evaluation in run.record.evaluations.iter().rev() {
            let named = |name: &str| evaluation.files.iter().find(|f| f.path.ends_with(name)).map(|f| f.path.clone());
            let (Some(file), Some(windows_file)) = (named("/validation.tokens"), named("/validation.csv")) else {
                continue;
            };
            let windows: Vec<WindowLoss> = read_csv(&run.path(&windows_file))?;
            let losses = TokenLosses::read(&run.path(&file))?;
            let scored = Scored { step: evaluation.step, file, windows_file, windows, losses };
            scored.check(run)?;
            return Ok(Some(scored));
        }
        Ok(None)
    }

    /// The same, where it has to be there.
    pub fn needed(run: &SealedRun) -> Result<Self, SliceError> {
        Scored::of(run)?.ok_or_else(|| SliceError::NoTokens { run: run.open.run.to_string() })
    }

    /// Windows in the order of the text, each token of each document once, as many losses as tokens, and in each window the
    /// sum of its tokens' losses.
    fn check(&self, run: &SealedRun) -> Result<(), AnalyseError> {
        let wrong = |problem: String| AnalyseError::Inconsistent { run: run.open.run.to_string(), problem };
        let shards = run.open.data.shards.iter().filter(|shard| shard.split == "validation");
        let documents: u64 = shards.map(|shard| shard.documents).sum();
        let (mut next, mut tokens) = ((0, 1), 0u64);
        for window in &self.windows {
            let follows = (window.document, window.first_token) == next
                || (window.document > next.0 && window.first_token == 1)
                || (tokens == 0 && window.first_token == 1);
            if !follows || window.document >= documents {
                let problem = format!(
                    "`{}`: the window at token {} of document {} does not follow the one before it, or is of no document",
                    self.windows_file, window.first_token, window.document
                );
                return Err(wrong(problem));
            }
            next = (window.document, window.first_token.saturating_add(window.tokens));
            tokens = tokens.saturating_add(window.tokens);
        }
        if tokens != self.losses.len() as u64 {
            let problem = format!("`{}` holds {} tokens, its windows {tokens}", self.file, self.losses.len());
            return Err(wrong(problem));
        }
        let mut first = 0;
        for window in &self.windows {
            let last = first + window.tokens as usize;
            let sum: f64 = self.losses.loss_nats[first..last].iter().map(|&nats| f64::from(nats)).sum();
            // Losses of tokens are kept in single precision.
            if (sum - window.loss_nats).abs() > 1e-5 * (window.tokens as f64 + window.loss_nats.abs()) {
                let problem = format!(
                    "`{}`: the tokens from {} of document {} lose {sum} nats, their window in `{}` {}",
                    self.file, window.first_token, window.document, self.windows_file, window.loss_nats
                );
                return Err(wrong(problem));
            }
            first = last;
        }
        Ok(())
    }

    /// Whether another run read the same tokens in the same windows.
    pub fn same_windows(&self, other: &Scored) -> bool {
        let place = |row: &WindowLoss| (row.document, row.first_token, row.tokens);
        self.windows.iter().map(place).eq(other.windows.iter().map(place))
    }

    /// Whether the windows are those of documents of so many tokens, separators included.
    pub fn fits(&self, lengths: &[usize]) -> bool {
        let inside = |window: &WindowLoss| {
            let length = lengths.get(window.document as usize).map_or(0, |length| *length as u64);
            window.first_token + window.tokens <= length
        };
        let predicted: usize = lengths.iter().map(|length| length.saturating_sub(1)).sum();
        predicted == self.losses.len() && self.windows.iter().all(inside)
    }

    /// Calls `each` with the window and the index in it (from 0) of every token, in order.
    pub fn for_each_place(&self, mut each: impl FnMut(&WindowLoss, u64)) {
        for window in &self.windows {
            (0..window.tokens).for_each(|at| each(window, at));
        }
    }

    /// For each token the index of its document, among those that were scored: the units that are independent of each other.
    pub fn documents(&self) -> Vec<u32> {
        let mut of = Vec::with_capacity(self.losses.len());
        let mut index = 0;
        for (at, window) in self.windows.iter().enumerate() {
            index += u32::from(at > 0 && self.windows[at - 1].document != window.document);
            of.extend((0..window.tokens).map(|_| index));
        }
        of
    }
}
