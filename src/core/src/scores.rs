//! What goes into and comes out of an evaluation, as files: the requests of a task (token ids), the score of
//! each choice, and the loss of each validation window. Rows, never averages: every mean, interval and test is
//! computed from these by `harness`, and again by an auditor.

use std::path::Path;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::files::{self, FileError};

/// One line of a task's `requests.jsonl`: score `continuation` after `context`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Index of the item in the task, from 0.
    pub item: u64,
    /// Index of the choice in the item, from 0.
    pub choice: u32,
    /// Whether this choice is the right one.
    pub gold: bool,
    /// Characters of the choice's text without the blank that joins it to the context (for `acc_norm`).
    pub characters: u64,
    /// Bytes of the same text as UTF-8; of a document, of the text as it stands in the data.
    #[serde(default)]
    pub bytes: u64,
    /// Words of the same text: what white space parts, counted as `re.split` of Python does.
    #[serde(default)]
    pub words: u64,
    /// Token ids before the continuation; never empty (an empty context is the document separator).
    pub context: Vec<u32>,
    /// Token ids to score; never empty.
    pub continuation: Vec<u32>,
    /// Token ids of the choice on its own, to be scored after the document separator as well; empty where that is not
    /// asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconditional: Vec<u32>,
    /// The cluster of the item, such as a passage or a template, where the recipe names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<u64>,
}

/// One row of `<task>.csv`: the score of one choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceScore {
    /// Index of the item in the task.
    pub item: u64,
    /// Index of the choice in the item.
    pub choice: u32,
    /// Whether this choice is the right one.
    pub gold: bool,
    /// Characters of the choice, as in the request.
    pub characters: u64,
    /// Tokens scored; 0 if the choice was not.
    pub tokens: u64,
    /// Natural-log probability of the continuation given the context, summed over its tokens. Empty if the continuation
    /// does not fit the window behind one token of context; not finite where the model gave no number. [`Self::nats`]
    /// reads both as no answer.
    pub log_probability_nats: Option<f64>,
    /// Whether every token of the continuation was the model's first choice.
    pub greedy: bool,
    /// Bytes of the choice, as in the request.
    #[serde(default)]
    pub bytes: u64,
    /// Words of the choice, as in the request.
    #[serde(default)]
    pub words: u64,
    /// Natural-log probability of the choice without its context, where that was asked and fits the window.
    #[serde(default)]
    pub unconditional_log_probability_nats: Option<f64>,
    /// Tokens of the context that were dropped from the left, so that the rest fits the window.
    #[serde(default)]
    pub context_tokens_cut: u64,
    /// The cluster of the item, as in the request; the file has no such column where no item has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<u64>,
}

impl ChoiceScore {
    /// The log-probability in nats: NaN where there is none, so that whatever is not finite is no answer.
    pub fn nats(&self) -> f64 {
        self.log_probability_nats.unwrap_or(f64::NAN)
    }

    /// The same without the context.
    pub fn unconditional_nats(&self) -> f64 {
        self.unconditional_log_probability_nats.unwrap_or(f64::NAN)
    }
}

/// One row of `validation.csv`: the loss of one window of one held-out document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowLoss {
    /// Index of the document in the validation shards, in their order.
    pub document: u64,
    /// Index in the document of the first token predicted (1 is the first token after the separator).
    pub first_token: u64,
    /// Tokens predicted in this window. Windows do not overlap: each token of the document is predicted once.
    pub tokens: u64,
    /// Sum over the window's tokens of the negative log-likelihood; not finite where the model gave no number.
    pub loss_nats: f64,
}

/// One row of `steps.csv`: one optimizer step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepLine {
    /// Optimizer steps done, from 1.
    pub step: u64,
    /// Training tokens consumed so far.
    pub tokens: u64,
    /// Mean negative log-likelihood of this step's batch: the training objective, in nats per token.
    pub loss_nats: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// L2 norm of the gradient over all parameters, before clipping.
    pub gradient_norm: f64,
    /// Seconds since training began, without those of earlier segments of a resumed run.
    pub wall_time_s: f64,
    /// Training tokens per second of this step, evaluation and checkpoints not counted.
    pub tokens_per_s: f64,
    /// Sequences of this step, counted in windows of `context_length` tokens.
    pub batch_size: u32,
    /// Tokens of a sequence in this step.
    pub sequence_length: u32,
    /// Share of the step's time spent waiting for its batch.
    pub data_wait_share: f64,
    /// Training FLOPs per second over the device's peak ([`crate::contract::Started::peak`]); empty where that
    /// is not known.
    pub model_flops_utilization: Option<f64>,
    /// Memory in use: resident memory of the process, or memory allocated on the GPU.
    pub memory_bytes: u64,
    /// Power that the GPU draws, read at intervals.
    pub power_w: Option<f64>,
}

/// One row of `tensor_norms.csv`: the norms of one parameter tensor at one step. All are L2 norms over the whole tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorNorms {
    /// Optimizer steps done, from 1.
    pub step: u64,
    /// The tensor, as [`crate::config::ModelConfig::tensors`] names it.
    pub tensor: String,
    /// Of this step's gradient, before clipping.
    pub gradient_norm: f64,
    /// Of the weights after the step.
    pub weight_norm: f64,
    /// Of what the step added to the weights; over `weight_norm` it is the update-to-weight ratio.
    pub update_norm: f64,
}

/// One row of `activations.csv`: statistics of one place of the model on the probe batch, which is the same at every
/// step. Fields that mean nothing at a place are empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActivationStatistics {
    /// Optimizer steps done; 0 is before the first.
    pub step: u64,
    /// `embedding`, `blocks.3.attention` and `blocks.3.feed_forward` (what the branch adds), `blocks.3` (the residual
    /// stream after the block), or `head` (the logits).
    pub place: String,
    /// Root of the mean square over all values of the place.
    pub rms: f64,
    /// Largest absolute value.
    pub maximum: f64,
    /// Of a feed-forward layer: share of its inner units that stay (nearly) silent on every token of the probe.
    pub dead_share: Option<f64>,
    /// Of attention: entropy of the attention weights, mean over heads and positions, in nats.
    pub attention_entropy_nats: Option<f64>,
    /// Of attention: largest absolute score before the softmax; of the head: mean over positions of the standard
    /// deviation of the logits.
    pub logit_scale: Option<f64>,
}

/// Why a table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A row is not what its format says.
    #[error("`{file}`: {problem}")]
    Row {
        /// The file.
        file: String,
        /// What is wrong and where.
        problem: String,
    },
}

/// Reads a CSV with a header line into typed rows.
pub fn read_csv<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, TableError> {
    parse_csv(&files::read(path)?, &path.display().to_string())
}

/// Parses CSV bytes; `name` is what errors call them.
pub fn parse_csv<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<Vec<T>, TableError> {
    let row_error = |e: csv::Error| TableError::Row { file: name.to_owned(), problem: e.to_string() };
    csv::Reader::from_reader(bytes).deserialize().map(|row| row.map_err(row_error)).collect()
}

/// Formats rows as CSV with a header line. Floats are written so that reading gives the same bits.
pub fn to_csv<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).expect("plain structs of numbers serialize to memory");
    }
    writer.into_inner().expect("memory does not fail to flush")
}

/// Reads a task's requests, one JSON object a line.
pub fn read_requests(path: &Path) -> Result<Vec<Request>, TableError> {
    let requests: Vec<Request> = read_json_lines(path)?;
    match requests.iter().position(|request| request.context.is_empty() || request.continuation.is_empty()) {
        Some(at) => Err(in_line(path, at, "context and continuation must each hold a token")),
        None => Ok(requests),
    }
}

/// Reads one JSON object a line.
pub fn read_json_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, TableError> {
    let text = files::read_to_string(path)?;
    // A text may hold other characters that some take for the end of a line.
    let lines = text.strip_suffix('\n').unwrap_or(&text).split('\n').enumerate().filter(|_| !text.is_empty());
    lines.map(|(at, line)| serde_json::from_str(line).map_err(|error| in_line(path, at, &error.to_string()))).collect()
}

fn in_line(path: &Path, at: usize, problem: &str) -> TableError {
    TableError::Row { file: path.display().to_string(), problem: format!("line {}: {problem}", at + 1) }
}

/// Formats rows as JSON lines.
pub fn to_json_lines<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut out = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut out, &row).expect("plain structs serialize to memory");
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn step_lines_keep_their_exact_bits(loss_nats: f64, gradient_norm: f64, step: u64) {
            prop_assume!(loss_nats.is_finite() && gradient_norm.is_finite());
            let line = StepLine {
                step, tokens: 1, loss_nats, learning_rate: 1e-3, gradient_norm, wall_time_s: 0.5, tokens_per_s: 10.0,
                model_flops_utilization: Some(0.5), ..StepLine::default()
            };
            let read: Vec<StepLine> = parse_csv(&to_csv([&line]), "steps.csv").unwrap();
            prop_assert_eq!(read, vec![line]);
        }
    }

    #[test]
    fn what_was_not_scored_and_what_is_no_number_are_told_apart_and_neither_is_an_answer() {
        let row = |log_probability_nats| ChoiceScore {
            item: 0,
            choice: 0,
            gold: true,
            characters: 1,
            tokens: 0,
            log_probability_nats,
            greedy: false,
            bytes: 1,
            words: 1,
            unconditional_log_probability_nats: None,
            context_tokens_cut: 2,
            cluster: None,
        };
        let bytes = to_csv([row(None), row(Some(f64::NAN)), row(Some(f64::NEG_INFINITY)), row(Some(-1.5))]);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("\n0,0,true,1,0,,false,1,1,,2\n0,0,true,1,0,NaN,"), "{text}");
        let rows: Vec<ChoiceScore> = parse_csv(&bytes, "task.csv").unwrap();
        assert_eq!(rows[0].log_probability_nats, None);
        assert!(rows[1].log_probability_nats.is_some_and(f64::is_nan));
        assert_eq!(rows.iter().map(|row| row.nats().is_finite()).collect::<Vec<_>>(), [false, false, false, true]);
        // A file without named clusters is what it was before there were any; one with them is read back.
        assert!(!text.contains("cluster"), "{text}");
        let named = ChoiceScore { cluster: Some(7), ..row(Some(-1.5)) };
        assert_eq!(parse_csv::<ChoiceScore>(&to_csv([&named]), "task.csv").unwrap(), [named]);
    }

    #[test]
    fn fields_that_do_not_apply_at_a_place_are_empty() {
        let rows = [
            ActivationStatistics { step: 3, place: "blocks.0.feed_forward".to_owned(), ..Default::default() },
            ActivationStatistics { dead_share: Some(0.25), logit_scale: Some(1e-3), ..Default::default() },
        ];
        let bytes = to_csv(&rows);
        assert!(String::from_utf8_lossy(&bytes).contains("3,blocks.0.feed_forward,0.0,0.0,,,\n"));
        assert_eq!(parse_csv::<ActivationStatistics>(&bytes, "activations.csv").unwrap(), rows);
    }
}
