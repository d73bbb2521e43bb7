//! The contract between `harness` (which plans, supervises and records) and `harness-trainer` (which computes).
//!
//! `harness-trainer run JOB.json` reads a [`Job`] and writes one JSON [`Message`] a line to standard output; what
//! it writes for people goes to standard error. A line `stop` on its standard input, or the end of that input
//! (the parent is gone), SIGINT or SIGTERM makes it finish the current step, write a checkpoint and end with
//! [`Message::Stopped`]. Started with `WORLD_SIZE` above 1 (or as one of several tasks of `srun`), it is one rank of
//! those that train together: all read the same job, and rank 0 alone writes messages and files. `harness-trainer about` prints an [`About`] and ends;
//! `harness-trainer generate` reads a [`GenerateJob`]. Both sides carry [`VERSION`] and refuse another one.
//!
//! The trainer sees token ids only, averages nothing but its own training objective, and writes files only below
//! [`Job::output`]: `checkpoints/step-NNNNNNNN.safetensors`, and in `evaluations/step-NNNNNNNN/` the files
//! `validation.csv` and `<task>.csv` (formats in [`crate::scores`]), `validation.tokens` ([`crate::token_losses`]) and
//! `generated.jsonl` ([`crate::samples`]).

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{MetricsConfig, ModelConfig, OptimizerConfig, ScheduleConfig, TrainingConfig};
use crate::digest::Digest;
use crate::scores::{ActivationStatistics, StepLine, TensorNorms};

/// The version of this contract. Raised with every change that an older program would misread.
pub const VERSION: u32 = 5;
/// The first version whose jobs are written as today's are, and whose trainers count as today's do.
pub const SINCE: u32 = 4;

/// Exit codes of `harness-trainer`.
pub mod exit_code {
    /// Finished, or stopped on request: the closing message says which.
    pub const SUCCESS: u8 = 0;
    /// Something went wrong; the closing [`super::Message::Failed`] says what.
    pub const FAILED: u8 = 1;
    /// The job could not be understood, or the arguments were wrong.
    pub const USAGE: u8 = 2;
    /// Another rank was lost, and with it the run: that one, or whoever ended it, knows why.
    pub const RANK_LOST: u8 = 3;
}

/// Where the trainer writes the checkpoint after a step, relative to [`Job::output`].
pub fn checkpoint_path(step: u64) -> String {
    format!("checkpoints/step-{step:08}.safetensors")
}

/// Everything the trainer needs to know. All choices are made; nothing is read from anywhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// [`VERSION`] of the program that wrote the job.
    pub version: u32,
    /// Folder for everything the trainer writes; exists.
    pub output: PathBuf,
    /// Seed of initial weights, dropout and data order.
    pub seed: u64,
    /// The architecture.
    pub model: ModelConfig,
    /// Token ids the model tells apart (before padding).
    pub vocabulary_size: u32,
    /// The token that begins every document.
    pub separator: u32,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate over the steps.
    pub schedule: ScheduleConfig,
    /// Batch, steps, precision, device.
    pub training: TrainingConfig,
    /// What is measured inside the model, and how often.
    pub metrics: MetricsConfig,
    /// Training shards in order; empty for a job that only evaluates: validation and tasks are then computed once,
    /// on the weights of `resume_from` or `initial_weights`, if their lists of steps are not empty, and no checkpoint is written.
    pub train_shards: Vec<PathBuf>,
    /// Validation shards in order.
    pub validation_shards: Vec<PathBuf>,
    /// Tasks to score.
    pub tasks: Vec<JobTask>,
    /// Steps after which the validation loss is computed, ascending; 0 is before the first step. A run that resumes
    /// at one of them computes it again; the parent leaves out what the segment before has already reported.
    pub validation_steps: Vec<u64>,
    /// Those of them after which the loss of each token is kept too.
    pub token_loss_steps: Vec<u64>,
    /// Steps after which the tasks are scored, ascending.
    pub task_steps: Vec<u64>,
    /// Samples that a job which only evaluates draws once, after validation and tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Sequences of one forward pass of an evaluation; 0 means as many as 4,096 tokens are.
    pub evaluation_batch_size: u32,
    /// Steps after which a checkpoint is written, ascending. The last step is always among them.
    pub checkpoint_steps: Vec<u64>,
    /// The checkpoint to go on from, if the run is a continuation.
    pub resume_from: Option<PathBuf>,
    /// Weights to begin with instead of fresh ones; a run that resumes takes those of its checkpoint.
    pub initial_weights: Option<InitialWeights>,
}

/// Weights that were trained elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialWeights {
    /// A safetensors file with the float32 tensors of [`ModelConfig::tensors`], under those names.
    pub path: PathBuf,
    /// Their digest, as in [`Checkpoint::weights_sha256`].
    pub sha256: Digest,
}

/// What `harness-trainer generate` reads as JSON from standard input. It writes one [`GeneratedSample`] a line to
/// standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateJob {
    /// [`VERSION`] of the program that wrote the job.
    pub version: u32,
    /// The architecture.
    pub model: ModelConfig,
    /// Token ids the model tells apart.
    pub vocabulary_size: u32,
    /// Precision, device and threads; the rest is not used.
    pub training: TrainingConfig,
    /// The checkpoint to take the weights from.
    pub checkpoint: Option<PathBuf>,
    /// Weights of another program, where there is no checkpoint.
    pub initial_weights: Option<InitialWeights>,
    /// A sample ends before this token.
    pub separator: u32,
    /// What is drawn.
    pub sampling: Sampling,
}

/// Which samples are drawn from a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// What the model reads first; not empty.
    pub prompt: Vec<u32>,
    /// How many samples; sample `k` is the same however many there are.
    pub samples: u32,
    /// Most tokens of a sample.
    pub max_tokens: u32,
    /// How a token is chosen.
    pub rule: SamplingRule,
    /// Seed of the choice.
    pub seed: u64,
}

/// How the next token is chosen from the model's logits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingRule {
    /// Logits are divided by it; 0 takes the most probable token.
    pub temperature: f64,
    /// Only the so many most probable tokens can be drawn (Fan et al. 2018); 0 means all.
    pub top_k: u32,
    /// Of those only the fewest most probable ones that together have at least this probability (Holtzman et al.
    /// 2020, nucleus sampling); 1 means all.
    pub top_p: f64,
}

/// One text that a model went on to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratedSample {
    /// From 0.
    pub sample: u32,
    /// The tokens after the prompt, without the separator that may have ended them.
    pub tokens: Vec<u32>,
    /// Natural logarithm of each token's probability under the model itself, before temperature and truncation.
    pub log_probabilities_nats: Vec<f64>,
}

/// One task of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTask {
    /// Its name; also the name of its score file.
    pub id: String,
    /// Its `requests.jsonl`.
    pub requests: PathBuf,
    /// For documents, whose requests may be longer than the context: the tokens predicted in each window that rolls
    /// over them after the first; 0 means the context length. Absent for items, which are one window each.
    pub rolling_stride: Option<u32>,
}

/// One line from the trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Message {
    /// The job was understood and the model is built.
    Started(Box<Started>),
    /// An optimizer step was done.
    Step(StepLine),
    /// Norms of every parameter tensor at one step.
    TensorNorms {
        /// One row a tensor.
        rows: Vec<TensorNorms>,
    },
    /// A step was skipped, because its loss or gradient was not finite.
    Skipped(Skipped),
    /// Statistics of the activations on the probe batch at one step.
    Activations {
        /// One row a place.
        rows: Vec<ActivationStatistics>,
    },
    /// Validation loss, task scores, or both were written.
    Evaluation(Evaluation),
    /// A checkpoint was written and synced.
    Checkpoint(Checkpoint),
    /// All steps are done.
    Finished(Closing),
    /// Ended early on request, after a checkpoint.
    Stopped(Closing),
    /// Ended by an error. The last checkpoint is intact.
    Failed(Failure),
}

/// What runs and how, as read back from libtorch, not as asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// [`VERSION`] of the trainer.
    pub version: u32,
    /// The program and libraries.
    pub about: About,
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// Trainable parameters, tied weights counted once.
    pub parameters: u64,
    /// Trainable parameters without token and position embeddings.
    pub parameters_without_embeddings: u64,
    /// Training FLOPs per token (forward and backward).
    pub flops_per_token: f64,
    /// What a step was predicted to hold in memory, in bytes, without libtorch itself. Absent in records of older trainers, and where
    /// nothing is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_memory_bytes: Option<u64>,
    /// The peak that `model_flops_utilization` is stated against, where it is known.
    pub peak: Option<Peak>,
    /// Optimizer steps already done (0, or the resumed checkpoint's).
    pub first_step: u64,
    /// What a replay may promise.
    pub determinism: Determinism,
    /// The processes that train together; absent where one trains alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<Ranks>,
}

impl Started {
    /// GPUs that compute: those of all ranks, each counted once.
    pub fn gpus(&self) -> usize {
        if !self.device.starts_with("cuda") {
            return 0;
        }
        let ranks = self.ranks.iter().flat_map(|ranks| &ranks.each);
        let gpus: BTreeSet<_> = ranks.map(|rank| (&rank.host_sha256, &rank.device, &rank.gpu_uuid_sha256)).collect();
        gpus.len().max(1)
    }
}

/// The processes that train together, as they found each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranks {
    /// How they exchange numbers: `gloo` or `nccl`.
    pub backend: String,
    /// Version of NCCL, where it is the backend.
    pub nccl: Option<String>,
    /// Each of them, from rank 0 on.
    pub each: Vec<Rank>,
}

/// One process of those that train together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rank {
    /// Digest of the name of its machine.
    pub host_sha256: Digest,
    /// `cpu`, or `cuda:0` as its machine counts the GPUs it may see.
    pub device: String,
    /// SHA-256 of the UUID of its GPU.
    pub gpu_uuid_sha256: Option<Digest>,
}

/// The rate of matrix products that the device could reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Floating-point operations per second in the data type of the products.
    pub flops_per_s: f64,
    /// Where the number comes from: the vendor's data sheet, or a measurement at the start of the run.
    pub source: String,
}

/// A step that left weights and moments as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The step, from 1. Its batch was consumed; `steps.csv` has no row for it.
    pub step: u64,
    /// `loss` or `gradient norm`.
    pub what: String,
    /// `NaN`, `inf` or `-inf`.
    pub value: String,
    /// Where numbers were not finite, in words.
    pub diagnosis: String,
}

/// The trainer and its native libraries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// [`VERSION`] of the trainer.
    pub contract_version: u32,
    /// Version of `harness-trainer`.
    pub trainer_version: String,
    /// Digest of the sources the trainer was built from ([`crate::build::source_digest`]).
    pub source_sha256: String,
    /// `debug` or `release`.
    pub build_profile: String,
    /// Compiler that built it.
    pub rustc: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// Version of CUDA that libtorch was built for, if the CUDA backend loaded.
    pub cuda: Option<String>,
    /// Version of cuDNN, if loaded.
    pub cudnn: Option<String>,
    /// The GPUs seen.
    pub gpus: Vec<Gpu>,
    /// Why CUDA is not used, where it is not.
    pub cuda_absent_because: Option<String>,
    /// Shared objects of libtorch and CUDA mapped into the process, sorted by name.
    pub libraries: Vec<Library>,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Marketing name.
    pub name: String,
    /// Compute capability, such as `9.0`.
    pub compute_capability: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// SHA-256 of its UUID: tells two cards apart without naming the machine.
    pub uuid_sha256: Option<Digest>,
    /// Driver version.
    pub driver: Option<String>,
    /// Power limit in watts.
    pub power_limit_w: Option<f64>,
}

/// One shared object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// File name without its folder.
    pub name: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Digest of its content; only in [`Started`], not in `about`, because hashing gigabytes takes seconds.
    pub sha256: Option<Digest>,
}

/// Switches that decide whether two runs give the same bits, read back after they were set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Determinism {
    /// libtorch uses deterministic algorithms only.
    pub deterministic_algorithms: bool,
    /// cuDNN searches for the fastest algorithm (not deterministic).
    pub cudnn_benchmark: bool,
    /// TF32 allowed in matrix products.
    pub tf32_matmul: bool,
    /// libtorch's float32 matrix product precision.
    pub float32_matmul_precision: String,
    /// Attention kernels allowed, of `flash`, `memory_efficient`, `math`, `cudnn`.
    pub attention_kernels: Vec<String>,
    /// The one that training takes: one of those, `own` for the trainer's own, or `written_out` where no kernel knows the
    /// formula. Null where nothing is trained.
    #[serde(default)]
    pub attention_kernel: Option<String>,
    /// Data type of the matrix products.
    pub compute_dtype: String,
    /// Threads inside an operation.
    pub intra_op_threads: u32,
    /// Threads across operations.
    pub inter_op_threads: u32,
    /// CPU capability that libtorch's kernels were chosen for, such as `AVX512`.
    pub cpu_capability: String,
    /// The trainer's own CPU kernels are used where they serve.
    #[serde(default)]
    pub cpu_kernels: bool,
    /// The products of the trainer's own kernels, those inside attention among them, go through the tiles of the processor (AMX).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub amx: bool,
    /// Who multiplies the matrices of the model: `own` for the trainer's own kernels, or `libtorch`. Absent in records of trainers
    /// that had none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_kernel: Option<String>,
    /// Environment variables from an allow-list that change numbers or speed, as `NAME=value`, sorted.
    pub environment: Vec<String>,
}

/// What one evaluation wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Optimizer steps done.
    pub step: u64,
    /// Training tokens consumed.
    pub tokens: u64,
    /// Files written, relative to the run folder.
    pub files: Vec<OutputFile>,
    /// How long it took.
    pub wall_time_s: f64,
    /// The files with rows that are no answer, or that answer less than was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<Unanswered>,
    /// What the test of the model's scores before it measured; absent where they were not finite, and from trainers that had
    /// no such test. Where it fails there is no evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_test: Option<SelfTest>,
}

/// How far a model's scores are from what makes them log-probabilities, on a few tokens without meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Tokens read.
    pub tokens: u64,
    /// By how much the probabilities of all tokens that can come next miss 1.
    pub probability_sum_error: f64,
    /// Largest change of a log-probability where only tokens after it are others.
    pub look_ahead_nats: f64,
    /// Largest difference between a log-probability of a sequence read alone and of the same beside others.
    pub batch_nats: f64,
    /// The most that rounding explains of it in the precision of the run.
    pub batch_tolerance_nats: f64,
}

/// Rows of a file of scores that are no answer, or that answer less than was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unanswered {
    /// Path of the file, as in [`Evaluation::files`].
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Rows with a score that is not finite.
    pub not_finite: u64,
    /// Rows with a choice that does not fit the window, with its context or without.
    pub too_long: u64,
    /// Rows whose context was cut from the left.
    pub context_cut: u64,
}

/// A file the trainer wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Path relative to the run folder, with `/`.
    pub path: String,
    /// Digest of its content.
    pub sha256: Digest,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// A checkpoint: parameters, optimizer moments, step, and the order digest, as safetensors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Training tokens consumed.
    pub tokens: u64,
    /// The file.
    pub file: OutputFile,
    /// Digest of the weights alone: SHA-256 over, for each parameter in order of its name's bytes, the name's length
    /// (u32), the name, the number of dimensions (u32), each dimension (u64), and the values in row-major order as
    /// float32; all little-endian. The file names its tensors `model.<parameter>` and
    /// `optimizer.<moment>.<parameter>`; the digest's names are without `model.`.
    pub weights_sha256: Digest,
    /// Rolling digest of the batches consumed (see [`crate::order`]).
    pub order_sha256: Digest,
}

/// How an orderly run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    /// Optimizer steps done.
    pub step: u64,
    /// Training tokens consumed.
    pub tokens: u64,
    /// Digest of the final weights, as in [`Checkpoint::weights_sha256`].
    pub weights_sha256: Digest,
    /// Rolling digest of all batches.
    pub order_sha256: Digest,
    /// Steps that left weights and moments as they were, those of earlier segments included.
    pub skipped_steps: u64,
    /// Seconds from the start of this process's work to its end.
    pub wall_time_s: f64,
    /// Seconds spent in optimizer steps alone.
    pub training_time_s: f64,
    /// Largest resident memory of a process, in bytes.
    pub peak_memory_bytes: u64,
    /// Largest memory allocated on a GPU by a process, in bytes.
    pub peak_gpu_memory_bytes: Option<u64>,
    /// Energy of the GPUs over this process from NVML's counter, in joules; absent where that of one is not known.
    pub gpu_energy_j: Option<f64>,
    /// Processor seconds of all ranks, user and system; absent where one trains alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_time_s: Option<f64>,
}

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A short stable word: `job`, `data`, `out_of_memory`, `non_finite`, `self_test`, `checkpoint`, `disk_full`, `device`,
    /// `rank`, `internal`.
    pub kind: String,
    /// What happened, where and why.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
    /// Optimizer steps done before it.
    pub step: u64,
}
