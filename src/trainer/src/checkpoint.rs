//! Checkpoints: everything that a continuation needs, in one safetensors file, written whole or not at all.
//!
//! Tensors (all float32): `model.<parameter>`, the optimizer's state as `optimizer.<moment>.<parameter>`, and where the
//! config asks for an average of the weights `average.<parameter>`. The header's metadata has one entry, `harness`: the SHA-256 of a JSON text, a blank, and that text, which is a
//! [`Metadata`]. No generator state is kept, because randomness is a function of (seed, step, purpose).
//!
//! The digests, of the weights alone and of all tensors, are those of [`harness_core::weights`]; weights are named
//! without `model.`.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use harness_core::config::{ModelConfig, OptimizerConfig, ScheduleConfig, TrainingConfig};
use harness_core::contract::{Checkpoint, InitialWeights, Job, OutputFile, checkpoint_path};
use harness_core::weights::digest;
use harness_core::{Digest, files, order};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors, serialize_to_file};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::error::Error;
use crate::model::weights::Parameters;
use crate::optimizer::Optimizer;

/// Version of the file's layout.
const FORMAT: u32 = 2;
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
    /// Steps that left weights and moments as they were.
    pub skipped_steps: u64,
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
    /// Steps that left weights and moments as they were.
    pub skipped_steps: u64,
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
    let tensors: Vec<(&str, OnHost)> = parameters.named().map(|(name, t)| (name, OnHost::new(t))).collect();
    digest(tensors.iter().map(|(name, tensor)| (*name, tensor.shape.as_slice(), tensor.bytes())))
}

/// Writes `checkpoints/step-NNNNNNNN.safetensors` below the job's output folder; `state` is that of the whole optimizer.
pub fn write(
    job: &Job,
    parameters: &Parameters,
    average: Option<&Parameters>,
    state: &[(String, Tensor)],
    position: Position,
) -> Result<Checkpoint, Error> {
    let mut tensors: Vec<(String, OnHost)> = Vec::new();
    tensors.extend(parameters.named().map(|(name, tensor)| (format!("model.{name}"), OnHost::new(tensor))));
    let averaged = average.into_iter().flat_map(Parameters::named);
    tensors.extend(averaged.map(|(name, tensor)| (format!("average.{name}"), OnHost::new(tensor))));
    tensors.extend(state.iter().map(|(name, tensor)| (format!("optimizer.{name}"), OnHost::new(tensor))));
    let weights_sha256 = weights_digest(parameters);
    let metadata = Metadata {
        format: FORMAT,
        step: position.step,
        tokens: position.tokens,
        skipped_steps: position.skipped_steps,
        seed: job.seed,
        order_algorithm: order::ALGORITHM.to_owned(),
        order_sha256: position.order.digest(),
        weights_sha256,
        tensors_sha256: digest(tensors.iter().map(|(name, t)| (name.as_str(), t.shape.as_slice(), t.bytes()))),
        vocabulary_size: job.vocabulary_size,
        model: job.model.clone(),
        optimizer: job.optimizer.clone(),
        schedule: job.schedule.clone(),
        training: job.training.clone(),
    };
    let metadata = as_json(&metadata);
    let metadata = format!("{} {metadata}", Digest::of(metadata.as_bytes()));
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), tensor.bytes());
        (name, view.expect("the bytes of a float32 tensor fit its shape"))
    });
    let path = checkpoint_path(position.step);
    let file = job.output.join(&path);
    let metadata = Some(HashMap::from([(METADATA_KEY.to_owned(), metadata)]));
    // Tensor by tensor: a copy of everything in memory would be as large as the weights and moments themselves.
    files::write_by(&file, |temporary| {
        serialize_to_file(views, &metadata, temporary).map_err(|error| match error {
            SafeTensorError::IoError(error) => error,
            error => io::Error::other(format!("the checkpoint could not be serialized: {error:?}")),
        })
    })?;
    let (sha256, size_bytes) = (Digest::of_file(&file)?, files::size_bytes(&file)?);
    Ok(Checkpoint {
        step: position.step,
        tokens: position.tokens,
        file: OutputFile { path, sha256, size_bytes },
        weights_sha256,
        order_sha256: position.order.digest(),
    })
}

/// A checkpoint whose content was verified against its own digests.
pub struct Verified {
    path: String,
    metadata: Metadata,
    /// The file.
    bytes: Vec<u8>,
}

/// Copies a float32 tensor of a file into one of the same shape.
fn fill(into: &Tensor, view: &TensorView<'_>) {
    let tensor = Tensor::from_data_size(view.data(), &into.size(), Kind::Float);
    tch::no_grad(|| into.shallow_clone().copy_(&tensor));
}

/// Copies weights that were trained elsewhere into `parameters`.
pub fn restore_initial(from: &InitialWeights, parameters: &Parameters) -> Result<(), Error> {
    let refuse = |problem: String| Error::Checkpoint {
        path: from.path.display().to_string(),
        problem,
        hint: "import the model again: `harness import hf`".to_owned(),
    };
    let bytes = files::read(&from.path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| refuse(format!("is damaged: {e:?}")))?;
    for (name, into) in parameters.named() {
        let view = file.tensor(name).map_err(|_| refuse(format!("has no tensor `{name}`")))?;
        let shape: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        if view.dtype() != Dtype::F32 || shape != into.size() {
            return Err(refuse(format!("has `{name}` as {:?} {shape:?}, not float32 {:?}", view.dtype(), into.size())));
        }
        fill(into, &view);
    }
    let found = weights_digest(parameters);
    if found != from.sha256 {
        return Err(refuse(format!("holds weights of digest {found}, and the job names {}", from.sha256)));
    }
    Ok(())
}

/// Reads and verifies a checkpoint. A torn or damaged file is refused.
pub fn read(path: &Path) -> Result<Verified, Error> {
    let shown = path.display().to_string();
    let refuse =
        |problem: String, hint: &str| Error::Checkpoint { path: shown.clone(), problem, hint: hint.to_owned() };
    let damaged = |problem: String| refuse(format!("is damaged: {problem}"), "resume from the checkpoint before it");
    let bytes = files::read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(format!("{e:?}")))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(format!("{e:?}")))?;
    let metadata = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY));
    let hint = "checkpoints of other programs have to be imported first";
    let metadata = metadata.ok_or_else(|| refuse("was not written by harness-trainer".to_owned(), hint))?;
    let (sha256, metadata) = metadata.split_once(' ').ok_or_else(|| damaged("its metadata is torn".to_owned()))?;
    if sha256 != Digest::of(metadata.as_bytes()).to_string() {
        return Err(damaged("its metadata does not have the digest written before it".to_owned()));
    }
    let metadata: Metadata = serde_json::from_str(metadata).map_err(|e| damaged(format!("metadata: {e}")))?;
    if metadata.format != FORMAT {
        let problem = format!("has layout {}, and this trainer reads {FORMAT}", metadata.format);
        return Err(refuse(problem, "use the trainer that wrote it"));
    }
    let views = file.tensors();
    if let Some((name, _)) = views.iter().find(|(_, view)| view.dtype() != Dtype::F32) {
        return Err(damaged(format!("`{name}` is not float32")));
    }
    if digest(views.iter().map(|(name, view)| (name.as_str(), view.shape(), view.data()))) != metadata.tensors_sha256 {
        return Err(damaged("its tensors do not have the digest written beside them".to_owned()));
    }
    Ok(Verified { path: shown.clone(), metadata, bytes })
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
                ("curriculum", curriculum(&m.training), curriculum(&job.training)),
                ("document mask", as_json(&m.training.document_mask), as_json(&job.training.document_mask)),
                ("average", as_json(&m.training.ema_decay), as_json(&job.training.ema_decay)),
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
        self.restore("model", parameters.named())
    }

    /// Copies the averaged weights into `parameters`; the weights themselves, if the checkpoint holds no average.
    pub fn restore_average(&self, parameters: &Parameters) -> Result<(), Error> {
        let averaged = self.tensors().names().iter().any(|name| name.starts_with("average."));
        self.restore(if averaged { "average" } else { "model" }, parameters.named())
    }

    /// Copies the optimizer's state back, as far as it keeps it.
    pub fn restore_optimizer(&self, optimizer: &dyn Optimizer) -> Result<(), Error> {
        let state = optimizer.state();
        self.restore("optimizer", state.iter().map(|(name, tensor)| (name.as_str(), tensor)))
    }

    /// Where the run stood.
    pub fn position(&self) -> Position {
        let m = &self.metadata;
        let (step, tokens, skipped_steps) = (m.step, m.tokens, m.skipped_steps);
        Position { step, tokens, skipped_steps, order: order::RollingDigest::resume(m.order_sha256) }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("the file was understood when it was read")
    }

    /// Copies the tensors `<prefix>.<name>`, one at a time.
    fn restore<'a>(&self, prefix: &str, into: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<(), Error> {
        let tensors = self.tensors();
        for (name, into) in into {
            let name = format!("{prefix}.{name}");
            let shape: Vec<usize> = into.size().iter().map(|&d| d as usize).collect();
            let found = tensors.tensor(&name).ok().filter(|view| view.shape() == shape);
            let view = found.ok_or_else(|| Error::Checkpoint {
                path: self.path.clone(),
                problem: format!("has no tensor `{name}` of shape {shape:?}"),
                hint: "it was written by a trainer whose model names its weights differently".to_owned(),
            })?;
            fill(into, &view);
        }
        Ok(())
    }
}

/// The stages of batch size and sequence length.
fn curriculum(training: &TrainingConfig) -> String {
    as_json(&(&training.batch_size_stages, &training.sequence_length_stages))
}

fn as_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values are JSON")
}

/// A float32 tensor in host memory. A tensor of the CPU is borrowed, not copied.
struct OnHost {
    shape: Vec<usize>,
    tensor: Tensor,
}

impl OnHost {
    fn new(tensor: &Tensor) -> Self {
        assert_eq!(tensor.kind(), Kind::Float, "checkpoints hold float32 tensors");
        let shape = tensor.size().iter().map(|&d| d as usize).collect();
        OnHost { shape, tensor: tensor.detach().to_device(Device::Cpu).contiguous() }
    }

    /// The values in row-major order, in the byte order of the machine (little-endian on all that libtorch supports).
    fn bytes(&self) -> &[u8] {
        // SAFETY: a contiguous float32 tensor on the CPU has `numel` values of 4 bytes at its data pointer; they live
        // as long as `self.tensor`, and no update runs while a checkpoint or digest is made.
        unsafe { std::slice::from_raw_parts(self.tensor.data_ptr() as *const u8, self.tensor.numel() * 4) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer;

    fn job(output: &Path) -> Job {
        Job {
            version: harness_core::contract::VERSION,
            output: output.to_owned(),
            seed: 3,
            model: ModelConfig { layers: 1, heads: 1, width: 8, context_length: 8, ..ModelConfig::default() },
            vocabulary_size: 20,
            separator: 0,
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            training: TrainingConfig::default(),
            metrics: harness_core::config::MetricsConfig::default(),
            train_shards: Vec::new(),
            validation_shards: Vec::new(),
            tasks: Vec::new(),
            validation_steps: Vec::new(),
            token_loss_steps: vec![],
            task_steps: Vec::new(),
            sampling: None,
            evaluation_batch_size: 0,
            checkpoint_steps: Vec::new(),
            resume_from: None,
            initial_weights: None,
        }
    }

    fn written(folder: &Path) -> (Job, Parameters, Checkpoint) {
        let job = job(folder);
        let parameters = Parameters::initialize(&job.model, job.vocabulary_size, job.seed, Device::Cpu);
        let state = optimizer::build_all(&job.optimizer, &job.model, &parameters).state();
        let position = Position { step: 7, tokens: 56, skipped_steps: 0, order: order::RollingDigest::start() };
        let checkpoint = write(&job, &parameters, None, &state, position).unwrap();
        (job, parameters, checkpoint)
    }

    #[test]
    fn a_checkpoint_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (job, parameters, checkpoint) = written(folder.path());
        assert_eq!(checkpoint.file.path, "checkpoints/step-00000007.safetensors");
        let read = read(&folder.path().join(&checkpoint.file.path)).unwrap();
        read.check(&job, Purpose::Continue).unwrap();
        assert_eq!(read.position().step, 7);
        let other = Parameters::initialize(&job.model, job.vocabulary_size, 99, Device::Cpu);
        assert_ne!(weights_digest(&other), weights_digest(&parameters));
        read.restore_weights(&other).unwrap();
        assert_eq!(weights_digest(&other), checkpoint.weights_sha256);
    }

    /// The digest as the documentation defines it, computed from the file alone, as an auditor would.
    #[test]
    fn the_weights_digest_can_be_recomputed_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (_, _, checkpoint) = written(folder.path());
        let bytes = files::read(&folder.path().join(&checkpoint.file.path)).unwrap();
        assert_eq!(Digest::of(&bytes), checkpoint.file.sha256);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut weights: Vec<(String, TensorView)> = file.tensors();
        weights.retain(|(name, _)| name.starts_with("model."));
        weights.sort_by(|a, b| a.0.cmp(&b.0));
        let mut text = Vec::new();
        for (name, view) in &weights {
            let name = name.strip_prefix("model.").unwrap();
            text.extend((name.len() as u32).to_le_bytes());
            text.extend(name.as_bytes());
            text.extend((view.shape().len() as u32).to_le_bytes());
            view.shape().iter().for_each(|&d| text.extend((d as u64).to_le_bytes()));
            text.extend(view.data());
        }
        assert_eq!(Digest::of(&text), checkpoint.weights_sha256);
    }

    #[test]
    fn a_torn_or_damaged_file_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (job, _, checkpoint) = written(folder.path());
        let path = folder.path().join(&checkpoint.file.path);
        let good = files::read(&path).unwrap();
        let mut cases: Vec<Vec<u8>> =
            [0, 7, 100, good.len() / 2, good.len() - 1].iter().map(|&n| good[..n].to_vec()).collect();
        // One flipped bit at a time: in the length, all over the header, in the weights and in the moments.
        for at in (0..good.len()).step_by(251) {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            cases.push(bytes);
        }
        for bytes in cases {
            files::write(&path, &bytes).unwrap();
            let error = match read(&path) {
                Ok(read) => read.check(&job, Purpose::Continue).expect_err("a damaged checkpoint is refused"),
                Err(error) => error,
            };
            assert_eq!(error.kind(), "checkpoint");
            assert!(error.to_string().contains("step-00000007.safetensors"), "{error}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_run_is_refused_and_the_difference_named() {
        let folder = tempfile::tempdir().unwrap();
        let (job, _, checkpoint) = written(folder.path());
        let read = read(&folder.path().join(&checkpoint.file.path)).unwrap();
        let refused = |change: fn(&mut Job)| {
            let mut other = job.clone();
            change(&mut other);
            read.check(&other, Purpose::Continue).unwrap_err().to_string()
        };
        assert!(refused(|job| job.seed = 4).contains("its seed is 3, and the job's is 4"));
        assert!(refused(|job| job.model.width = 16).contains("model"));
        assert!(refused(|job| job.vocabulary_size = 21).contains("vocabulary size"));
        assert!(refused(|job| job.training.batch_size = 1).contains("batch size"));
        let other = Job { seed: 4, ..job.clone() };
        read.check(&other, Purpose::Evaluate).unwrap();
    }
}
