//! The training batches: which tokens a step sees is a pure function of (seed, step), see [`harness_core::order`].
//!
//! A step takes `batch_size` sequences; sequence `i` of step `s` (from 0) is number `s * batch_size + i` of the run.
//! A sequence is a window of `context_length + 1` tokens: all but the last are inputs, all but the first targets.
//! The rolling digest takes in all of them, sequence by sequence.
//!
//! Batches are copied straight from the mapped shards when they are needed: 2,048 tokens take microseconds, so a
//! thread that reads ahead would cost more than it saves.

use harness_core::contract::Job;
use harness_core::order::{Order, RollingDigest};
use harness_core::shards::TokenStream;
use tch::{Device, Tensor};

use crate::error::Error;

/// The training data of a run.
pub struct Batches {
    stream: TokenStream,
    order: Order,
    vocabulary_size: i64,
    batch_size: u64,
    context_length: u64,
}

/// The tokens of one optimizer step on the device.
pub struct Batch {
    /// (batch, T + 1), int64.
    tokens: Tensor,
}

impl Batches {
    /// Opens the shards of a job.
    pub fn open(job: &Job) -> Result<Self, Error> {
        let stream = open_stream(&job.train_shards, job.vocabulary_size)?;
        let context_length = u64::from(job.model.context_length);
        let windows = Order::windows_in(stream.tokens(), context_length);
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
            batch_size: u64::from(job.training.batch_size),
            context_length,
        })
    }

    /// Training tokens of one step: each is predicted once.
    pub fn tokens_per_step(&self) -> u64 {
        self.batch_size * self.context_length
    }

    /// The batch of a step (from 0), taken into the digest.
    pub fn get(&self, step: u64, digest: &mut RollingDigest, device: Device) -> Result<Batch, Error> {
        let length = self.context_length as usize + 1;
        let mut tokens = vec![0; self.batch_size as usize * length];
        for (i, sequence) in tokens.chunks_exact_mut(length).enumerate() {
            let window = self.order.window(step * self.batch_size + i as u64);
            self.stream.copy_tokens(window * self.context_length, sequence);
        }
        // An id outside the embedding is an abort on a GPU and an obscure message on a CPU.
        if let Some(id) = tokens.iter().find(|&&id| id >= self.vocabulary_size) {
            return Err(Error::Data(format!(
                "the training shards hold token {id}, and the vocabulary has {} tokens",
                self.vocabulary_size
            )));
        }
        digest.update(&tokens);
        let tokens = Tensor::from_slice(&tokens).view([self.batch_size as i64, length as i64]);
        Ok(Batch { tokens: to_device(tokens, device) })
    }
}

impl Batch {
    /// Inputs and targets of one pass: `count` sequences from `first` on, both (count, T).
    pub fn pass(&self, first: i64, count: i64) -> (Tensor, Tensor) {
        let tokens = self.tokens.narrow(0, first, count); // (count, T + 1)
        let t = tokens.size()[1] - 1;
        (tokens.narrow(1, 0, t), tokens.narrow(1, 1, t))
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
    if device.is_cuda() { tensor.pin_memory(device).to_device_(device, tensor.kind(), true, false) } else { tensor }
}
