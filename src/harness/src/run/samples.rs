//! Text that a model is to go on to: in tokens, as the trainer takes the prompt, and what it drew as text.

use std::path::Path;

use harness_core::contract::{Evaluation, GeneratedSample, Sampling, SamplingRule};
use harness_core::files;
use harness_core::samples::{GENERATED, SampleText};
use harness_core::scores::{read_json_lines, to_json_lines};
use harness_corpus::{CorpusError, Tokenizer, TokenizerError};
use harness_record::format::file;

use super::error::RunError;

/// What is to be drawn.
#[derive(Clone, Debug)]
pub struct Draw {
    /// The text that the model is to continue; may be empty.
    pub prompt: String,
    /// How many continuations.
    pub samples: u32,
    /// Most tokens of each.
    pub max_tokens: u32,
    /// How a token is chosen.
    pub rule: SamplingRule,
    /// Seed of the choice.
    pub seed: u64,
}

impl Draw {
    /// The same for the trainer. The separator stands before the prompt, as before every document.
    pub fn sampling(&self, tokenizer: &Tokenizer) -> Result<Sampling, TokenizerError> {
        let Draw { samples, max_tokens, rule, seed, .. } = *self;
        Ok(Sampling { prompt: prompt(tokenizer, &self.prompt)?, samples, max_tokens, rule, seed })
    }
}

/// What a model reads of a prompt.
pub fn prompt(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TokenizerError> {
    let mut tokens = vec![tokenizer.separator()];
    tokens.extend(tokenizer.encode(text)?);
    Ok(tokens)
}

/// Writes what was drawn as text, while its run is open.
pub(super) struct Texts {
    pub prompt: String,
    pub sampling: Sampling,
    pub tokenizer: Tokenizer,
}

impl Texts {
    pub(super) fn keep(&self, evaluation: &Evaluation, folder: &Path) -> Result<(), RunError> {
        let drawn = evaluation.files.iter().find(|listed| listed.path.ends_with(&format!("/{GENERATED}")));
        let Some(drawn) = drawn else { return Ok(()) };
        let drawn: Vec<GeneratedSample> = read_json_lines(&folder.join(&drawn.path))?;
        let line = |drawn: &GeneratedSample| {
            let text = self.tokenizer.decode(&drawn.tokens)?;
            Ok(SampleText::of(evaluation.step, &self.sampling, drawn, self.prompt.clone(), text))
        };
        let lines: Result<Vec<SampleText>, TokenizerError> = drawn.iter().map(line).collect();
        Ok(files::write(&folder.join(file::SAMPLES), &to_json_lines(lines.map_err(CorpusError::from)?))?)
    }
}
