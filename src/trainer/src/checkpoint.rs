//! Checkpoints: everything that a continuation needs, in one safetensors file, written whole or not at all.
//!
//! Tensors (all float32): `model.<parameter>`, and the optimizer's state as `optimizer.<moment>.<parameter>`. The
//! header's metadata has one entry, `harness`, with [`Metadata`] as JSON. No generator state is kept, because
//! randomness is a function of (seed, step, purpose).
//!
//! The digest of a list of named tensors, used for the weights alone and for all tensors: SHA-256 over, for each
//! tensor in order of its name's bytes, the name's length (u32), the name, the number of dimensions (u32), each
//! dimension (u64), and the values in row-major order as float32; all little-endian. Weights are named without
//! `model.`.

use std::collections::HashMap;
use std::path::Path;

use harness_core::config::{ModelConfig, OptimizerConfig, ScheduleConfig, TrainingConfig};
use harness_core::contract::{Checkpoint, Job, OutputFile};
use harness_core::digest::Hasher;
use harness_core::{Digest, files, order};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::error::Error;
use crate::model::weights::Parameters;
use crate::optimizer::Optimizer;

/// Version of the file's layout.
const FORMAT: u32 = 1;
const METADATA_KEY: &str = "harness";

/// What a checkpoint says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Version of the layout.
    pub format: u32,
    /// Optimizer steps done.
    pub step: u64,
    /// Training tokens consumed.
    pub tokens: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Name of the algorithm of the data order.
    pub order_algorithm: String,
    /// Rolling digest of the batches consumed.
    pub order_sha256: Digest,
    /// Digest of the weights.
    pub weights_sha256: Digest,
    /// Digest of all tensors of the file.
    pub tensors_sha256: Digest,
    /// Token ids the model tells apart.
    pub vocabulary_size: u32,
    /// The architecture.
    pub model: ModelConfig,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate over the steps.
    pub schedule: ScheduleConfig,
    /// Batch, steps, precision, device.
    pub training: TrainingConfig,
}

/// Where a run stands: what a checkpoint holds besides tensors and choices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// Optimizer steps done.
    pub step: u64,
    /// Training tokens consumed.
    pub tokens: u64,
    /// Rolling digest of the batches consumed.
    pub order: order::RollingDigest,
}

/// What a checkpoint is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To train on: seed, order, batch and optimizer have to be those of the job.
    Continue,
    /// To evaluate: only the architecture has to match.
    Evaluate,
}

/// Digest of the weights alone, as in [`Checkpoint::weights_sha256`].
pub fn weights_digest(parameters: &Parameters) -> Digest {
    let tensors: Vec<(&str, HostTensor)> = parameters.named().map(|(name, t)| (name, host_bytes(t))).collect();
    digest(tensors.iter().map(|(name, tensor)| (*name, tensor)))
}

/// Writes `checkpoints/step-NNNNNNNN.safetensors` below the job's output folder.
pub fn write(
    job: &Job,
    parameters: &Parameters,
    optimizer: &dyn Optimizer,
    position: Position,
) -> Result<Checkpoint, Error> {
    let mut tensors: Vec<(String, HostTensor)> = Vec::new();
    tensors.extend(parameters.named().map(|(name, tensor)| (format!("model.{name}"), host_bytes(tensor))));
    let state = optimizer.state();
    tensors.extend(state.iter().map(|(name, tensor)| (format!("optimizer.{name}"), host_bytes(tensor))));
    let weights_sha256 = weights_digest(parameters);
    let metadata = Metadata {
        format: FORMAT,
        step: position.step,
        tokens: position.tokens,
        seed: job.seed,
        order_algorithm: order::ALGORITHM.to_owned(),
        order_sha256: position.order.digest(),
        weights_sha256,
        tensors_sha256: digest(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))),
        vocabulary_size: job.vocabulary_size,
        model: job.model.clone(),
        optimizer: job.optimizer.clone(),
        schedule: job.schedule.clone(),
        training: job.training.clone(),
    };
    let metadata = serde_json::to_string(&metadata).expect("metadata of plain values is JSON");
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), &tensor.bytes);
        (name, view.expect("the bytes of a float32 tensor fit its shape"))
    });
    let bytes = serialize(views, &Some(HashMap::from([(METADATA_KEY.to_owned(), metadata)])))
        .map_err(|e| Error::Internal(format!("the checkpoint could not be serialized: {e}")))?;

    let path = format!("checkpoints/step-{:08}.safetensors", position.step);
    files::write(&job.output.join(&path), &bytes)?;
    Ok(Checkpoint {
        step: position.step,
        tokens: position.tokens,
        file: OutputFile { path, sha256: Digest::of(&bytes), size_bytes: bytes.len() as u64 },
        weights_sha256,
        order_sha256: position.order.digest(),
    })
}

/// A checkpoint whose content was verified against its own digests.
pub struct Verified {
    path: String,
    metadata: Metadata,
    tensors: HashMap<String, Tensor>,
}

/// Reads and verifies a checkpoint. A torn or damaged file is refused.
pub fn read(path: &Path) -> Result<Verified, Error> {
    let shown = path.display().to_string();
    let refuse = |problem: String, hint: &str| Error::Checkpoint { path: shown.clone(), problem, hint: hint.to_owned() };
    let damaged = |problem: String| refuse(format!("is damaged: {problem}"), "resume from the checkpoint before it");
    let bytes = files::read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(format!("{e:?}")))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(format!("{e:?}")))?;
    let metadata = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY));
    let hint = "checkpoints of other programs have to be imported first";
    let metadata = metadata.ok_or_else(|| refuse("was not written by harness-trainer".to_owned(), hint))?;
    let metadata: Metadata = serde_json::from_str(metadata).map_err(|e| damaged(format!("metadata: {e}")))?;
    if metadata.format != FORMAT {
        let problem = format!("has layout {}, and this trainer reads {FORMAT}", metadata.format);
        return Err(refuse(problem, "use the trainer that wrote it"));
    }
    let mut all = Vec::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(format!("`{name}` is not float32")));
        }
        all.push((name, HostTensor { shape: view.shape().to_vec(), bytes: view.data().to_vec() }));
    }
    if digest(all.iter().map(|(name, tensor)| (name.as_str(), tensor))) != metadata.tensors_sha256 {
        return Err(damaged("its tensors do not have the digest written beside them".to_owned()));
    }
    let tensors = all.into_iter().map(|(name, tensor)| {
        let shape: Vec<i64> = tensor.shape.iter().map(|&d| d as i64).collect();
        (name, Tensor::from_data_size(&tensor.bytes, &shape, Kind::Float))
    });
    Ok(Verified { path: shown.clone(), tensors: tensors.collect(), metadata })
}

impl Verified {
    /// What the checkpoint says of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Refuses a checkpoint that does not belong to the job.
    pub fn check(&self, job: &Job, purpose: Purpose) -> Result<(), Error> {
        let m = &self.metadata;
        let mut rows = vec![
            ("model", as_json(&m.model), as_json(&job.model)),
            ("vocabulary size", as_json(&m.vocabulary_size), as_json(&job.vocabulary_size)),
        ];
        if purpose == Purpose::Continue {
            rows.extend([
                ("seed", as_json(&m.seed), as_json(&job.seed)),
                ("order of the data", as_json(&m.order_algorithm), as_json(&order::ALGORITHM)),
                ("batch size", as_json(&m.training.batch_size), as_json(&job.training.batch_size)),
                ("optimizer", as_json(&m.optimizer.kind), as_json(&job.optimizer.kind)),
            ]);
        }
        match rows.into_iter().find(|(_, theirs, ours)| theirs != ours) {
            None => Ok(()),
            Some((what, theirs, ours)) => Err(Error::Checkpoint {
                path: self.path.clone(),
                problem: format!("belongs to another run: its {what} is {theirs}, and the job's is {ours}"),
                hint: "a run goes on only with the config it began with; start a new run for another config".to_owned(),
            }),
        }
    }

    /// Copies the weights into `parameters`.
    pub fn restore_weights(&self, parameters: &Parameters) -> Result<(), Error> {
        parameters.named().try_for_each(|(name, into)| self.restore(&format!("model.{name}"), into))
    }

    /// Copies the optimizer's state back.
    pub fn restore_optimizer(&self, optimizer: &dyn Optimizer) -> Result<(), Error> {
        optimizer.state().iter().try_for_each(|(name, into)| self.restore(&format!("optimizer.{name}"), into))
    }

    /// Where the run stood.
    pub fn position(&self) -> Position {
        let m = &self.metadata;
        Position { step: m.step, tokens: m.tokens, order: order::RollingDigest::resume(m.order_sha256) }
    }

    fn restore(&self, name: &str, into: &Tensor) -> Result<(), Error> {
        match self.tensors.get(name) {
            Some(tensor) if tensor.size() == into.size() => {
                tch::no_grad(|| into.shallow_clone().copy_(tensor));
                Ok(())
            }
            _ => Err(Error::Checkpoint {
                path: self.path.clone(),
                problem: format!("has no tensor `{name}` of shape {:?}", into.size()),
                hint: "it was written by a trainer whose model names its weights differently".to_owned(),
            }),
        }
    }
}

fn as_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values are JSON")
}

struct HostTensor {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A float32 tensor's values in row-major order, little-endian.
fn host_bytes(tensor: &Tensor) -> HostTensor {
    let shape = tensor.size().iter().map(|&d| d as usize).collect();
    let mut bytes = vec![0; tensor.numel() * 4];
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    HostTensor { shape, bytes }
}

fn digest<'a>(tensors: impl Iterator<Item = (&'a str, &'a HostTensor)>) -> Digest {
    let mut tensors: Vec<(&str, &HostTensor)> = tensors.collect();
    tensors.sort_by_key(|(name, _)| *name);
    let mut hasher = Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(&(name.len() as u32).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&(tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().for_each(|&dimension| hasher.update(&(dimension as u64).to_le_bytes()));
        hasher.update(&tensor.bytes);
    }
    hasher.finish()
}
