//! The training batches: which tokens a step sees is a pure function of (seed, step), see [`harness_core::order`].
//!
//! Step `s` (from 0) takes the windows number `n(s)`, `n(s) + 1`, ... of the run, as many as its batch size says, with
//! `n(s)` the sum of the batch sizes of all steps before it. A window is `context_length + 1` tokens: all but the last
//! are inputs, all but the first targets. The rolling digest takes in all of them, window by window. In a stage with
//! shorter sequences each window is cut into `context_length / sequence_length` of them, so the digest, the tokens
//! and their order are those of a run without the stage.
//!
//! [`Prefetch`] makes the batches of the coming steps on a thread of its own while a step is computed. On a GPU they
//! lie in pinned memory, so that their copy does not hold up the host.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use harness_core::config::TrainingConfig;
use harness_core::contract::Job;
use harness_core::order::{Order, RollingDigest};
use harness_core::shards::TokenStream;
use tch::{Device, Tensor};

use crate::error::Error;
use crate::native;
use crate::ranks::Ranks;

/// Batches that wait for their step: one is being made while the other lies ready.
const AHEAD: usize = 1;

/// The training data of a run.
pub struct Batches {
    stream: TokenStream,
    order: Order,
    vocabulary_size: i64,
    training: TrainingConfig,
    context_length: u32,
    /// Which rank of how many takes its share.
    share: (usize, usize),
}

/// This rank's share of the tokens of one optimizer step.
pub struct Batch {
    /// (sequences, T + 1), int64.
    tokens: Tensor,
    /// Sequences of a pass.
    sequences_per_pass: i64,
    /// Ranks that have a share as large.
    ranks: u64,
    /// The rolling digest with this batch taken in.
    pub order: RollingDigest,
}

impl Batches {
    /// Opens the shards of a job for one of its ranks.
    pub fn open(job: &Job, ranks: &Ranks) -> Result<Self, Error> {
        let stream = open_stream(&job.train_shards, job.vocabulary_size)?;
        let context_length = job.model.context_length;
        let windows = Order::windows_in(stream.tokens(), u64::from(context_length));
        if windows == 0 {
            return Err(Error::Data(format!(
                "the training shards hold {} tokens, too few for one sequence of {context_length} and its last target",
                stream.tokens()
            )));
        }
        Ok(Batches {
            stream,
            order: Order::new(job.seed, windows),
            vocabulary_size: i64::from(job.vocabulary_size),
            training: job.training.clone(),
            context_length,
            share: (ranks.rank as usize, ranks.size as usize),
        })
    }

    /// The share of the batch of a step (from 0) in host memory, the whole taken into the digest of the batches before it.
    pub fn get(&self, step: u64, mut order: RollingDigest) -> Result<Batch, Error> {
        let (context, batch_size) = (self.context_length as usize, self.training.batch_size_at(step) as usize);
        let mut tokens = vec![0; batch_size * (context + 1)];
        let first = self.training.sequences_before(step);
        for (number, window) in (first..).zip(tokens.chunks_exact_mut(context + 1)) {
            self.stream.copy_tokens(self.order.window(number) * u64::from(self.context_length), window);
        }
        // An id outside the embedding is an abort on a GPU and an obscure message on a CPU.
        if let Some(id) = tokens.iter().find(|&&id| id >= self.vocabulary_size) {
            return Err(Error::Data(format!(
                "the training shards hold token {id}, and the vocabulary has {} tokens",
                self.vocabulary_size
            )));
        }
        order.update(&tokens);
        let length = self.training.sequence_length_at(step, self.context_length) as usize;
        let pieces = context / length;
        let (rank, ranks) = self.share;
        let share = batch_size / ranks;
        tokens = tokens[rank * share * (context + 1)..][..share * (context + 1)].to_vec();
        if pieces > 1 {
            let windows = tokens.chunks_exact(context + 1);
            let cut = |window| (0..pieces).map(move |i| cut_piece(window, i * length, length));
            tokens = windows.flat_map(cut).flatten().copied().collect();
        }
        let tokens = Tensor::from_slice(&tokens).view([(share * pieces) as i64, length as i64 + 1]);
        let sequences_per_pass = (self.training.sequences_per_pass_at(step) as usize).min(share) * pieces;
        Ok(Batch { tokens, sequences_per_pass: sequences_per_pass as i64, ranks: ranks as u64, order })
    }
}

/// `length` inputs of a window from `first` on, and the target of the last.
fn cut_piece(window: &[i64], first: usize, length: usize) -> &[i64] {
    &window[first..=first + length]
}

impl Batch {
    /// Moves the tokens to the device; from pinned memory the host does not wait for the copy.
    pub fn to_device(mut self, device: Device) -> Self {
        if device.is_cuda() {
            self.tokens = self.tokens.to_device_(device, self.tokens.kind(), true, false);
        }
        self
    }

    /// Tokens that the whole batch predicts.
    pub fn predicted_tokens(&self) -> u64 {
        let (sequences, length) = self.tokens.size2().expect("a batch is (sequences, T + 1)");
        self.ranks * (sequences * (length - 1)) as u64
    }

    /// Tokens of a sequence.
    pub fn sequence_length(&self) -> u32 {
        (self.tokens.size()[1] - 1) as u32
    }

    /// Sequences of a pass.
    pub fn sequences_per_pass(&self) -> i64 {
        self.sequences_per_pass
    }

    /// Passes of the step.
    pub fn passes(&self) -> i64 {
        self.tokens.size()[0] / self.sequences_per_pass
    }

    /// Inputs and targets of `count` sequences from `first` on, both (count, T).
    pub fn sequences(&self, first: i64, count: i64) -> (Tensor, Tensor) {
        let tokens = self.tokens.narrow(0, first, count); // (count, T + 1)
        let t = tokens.size()[1] - 1;
        (tokens.narrow(1, 0, t), tokens.narrow(1, 1, t))
    }
}

/// The batches of consecutive steps, made ahead of time.
pub struct Prefetch {
    batches: Receiver<Result<Batch, Error>>,
    device: Device,
}

impl Prefetch {
    /// Begins to make the batches of the steps from `first` to before `end`. The thread ends with the last of them,
    /// or when the `Prefetch` is dropped.
    pub fn start(batches: Arc<Batches>, first: u64, end: u64, order: RollingDigest, device: Device) -> Self {
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        thread::spawn(move || {
            let mut order = order;
            for step in first..end {
                let batch = batches.get(step, order).and_then(|mut batch| {
                    order = batch.order;
                    if device.is_cuda() {
                        batch.tokens = native::pinned(&batch.tokens)?;
                    }
                    Ok(batch)
                });
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        });
        Prefetch { batches: receiver, device }
    }

    /// The batch of the next step on the device, and how long it was waited for.
    pub fn next(&self) -> Result<(Batch, Duration), Error> {
        let begun = Instant::now();
        let batch = self.batches.recv().map_err(|_| Error::Internal("the thread of the batches ended".to_owned()))?;
        let waited = begun.elapsed();
        Ok((batch?.to_device(self.device), waited))
    }
}

/// Opens shards, and refuses them if they were made with another vocabulary.
pub fn open_stream(paths: &[std::path::PathBuf], vocabulary_size: u32) -> Result<TokenStream, Error> {
    let stream = TokenStream::open(paths)?;
    match stream.shards().iter().position(|shard| shard.vocabulary_size() != vocabulary_size) {
        None => Ok(stream),
        Some(i) => Err(Error::Data(format!(
            "shard `{}` was made with a vocabulary of {} tokens, and the job says {vocabulary_size}",
            paths[i].display(),
            stream.shards()[i].vocabulary_size()
        ))),
    }
}

/// Copies to a GPU through pinned memory, without waiting for it.
pub fn to_device(tensor: Tensor, device: Device) -> Tensor {
    if !device.is_cuda() {
        return tensor;
    }
    let pinned = native::pinned(&tensor).unwrap_or_else(|error| std::panic::panic_any(error));
    pinned.to_device_(device, tensor.kind(), true, false)
}
