//! What is measured beside the loss, at intervals that make it nearly free: norms of each parameter tensor, statistics
//! of the activations on a probe batch, and the gauges of the machine.

use std::time::{Duration, Instant};

use harness_core::config::TensorSpec;
use harness_core::contract::{Job, Peak};
use harness_core::scores::{ActivationStatistics, TensorNorms};
use tch::{Device, Kind, Tensor};

use crate::batch::{open_stream, to_device};
use crate::device;
use crate::error::Error;
use crate::model::Transformer;
use crate::model::extras::observe;
use crate::model::mask::Packing;
use crate::model::weights::Parameters;
use crate::native;

/// Sequences that are the same at every step, so that what changes between two measurements is the model.
pub struct Probe {
    tokens: Tensor, // (sequences, T)
    packing: Option<Packing>,
}

impl Probe {
    /// The first windows of the validation text; of the training text, where there is no other.
    pub fn open(job: &Job, device: Device) -> Result<Option<Self>, Error> {
        if job.metrics.activations_every == 0 {
            return Ok(None);
        }
        let shards = if job.validation_shards.is_empty() { &job.train_shards } else { &job.validation_shards };
        let stream = open_stream(shards, job.vocabulary_size)?;
        let length = stream.tokens().min(u64::from(job.model.context_length));
        let sequences = u64::from(job.metrics.probe_sequences).min(stream.tokens() / length.max(1));
        if length == 0 || sequences == 0 {
            return Ok(None);
        }
        let mut tokens = vec![0; (sequences * length) as usize];
        stream.copy_tokens(0, &mut tokens);
        let tokens = Tensor::from_slice(&tokens).view([sequences as i64, length as i64]);
        let tokens = to_device(tokens, device);
        Ok(Some(Probe { packing: packing(job, &tokens), tokens }))
    }

    /// Statistics of each place of the model, in the order of the computation. Places with numbers that are not finite
    /// are left out.
    pub fn measure(&self, model: &Transformer, step: u64) -> Vec<ActivationStatistics> {
        let mut rows = look_inside(model, &self.tokens, self.packing.as_ref(), step);
        rows.retain(is_finite);
        rows
    }
}

/// How the documents of a pass lie in it, if they must not see each other.
pub fn packing(job: &Job, tokens: &Tensor) -> Option<Packing> {
    let training = &job.training;
    training.document_mask.then(|| Packing::documents(tokens, job.separator, training.reset_position_ids))
}

/// A forward pass over tokens (B, T), watched. Logits are looked at for so many positions at most, spread evenly.
pub fn look_inside(
    model: &Transformer,
    tokens: &Tensor,
    packing: Option<&Packing>,
    step: u64,
) -> Vec<ActivationStatistics> {
    const LOGIT_POSITIONS: i64 = 256;
    observe::watch(step, || {
        let hidden = model.hidden(tokens, packing, 0.0).flatten(0, 1); // (B T, C)
        let stride = (hidden.size()[0] as u64).div_ceil(LOGIT_POSITIONS as u64) as i64;
        let hidden = hidden.slice(0, None, None, stride);
        observe::logits(&model.head().logits(&hidden)); // (N, V)
    })
}

/// Whether every number of a row is one.
pub fn is_finite(row: &ActivationStatistics) -> bool {
    let optional = [row.dead_share, row.attention_entropy_nats, row.logit_scale];
    row.rms.is_finite() && row.maximum.is_finite() && optional.iter().flatten().all(|number| number.is_finite())
}

/// Norms of every parameter tensor around one update; on the device until they are read.
pub struct MeasuredNorms {
    gradient: Tensor, // (tensors), as all three
    weight: Tensor,
    update: Tensor,
}

impl MeasuredNorms {
    /// From the weights as they were, the parameters as they are, and the norms of the gradients.
    pub fn of(mut before: Vec<Tensor>, parameters: &Parameters, gradient: &Tensor) -> Result<Self, Error> {
        let tensors = parameters.tensors();
        tch::no_grad(|| before.iter_mut().zip(tensors).for_each(|(old, new)| drop(old.g_sub_(new))));
        Ok(MeasuredNorms {
            gradient: gradient.shallow_clone(),
            weight: native::norms(tensors)?,
            update: native::norms(&before)?,
        })
    }

    /// The rows of a step.
    pub fn read(&self, step: u64, specs: &[TensorSpec]) -> Vec<TensorNorms> {
        let [gradient, weight, update] = [&self.gradient, &self.weight, &self.update].map(numbers);
        let row = |(at, spec): (usize, &TensorSpec)| TensorNorms {
            step,
            tensor: spec.name.clone(),
            gradient_norm: gradient[at],
            weight_norm: weight[at],
            update_norm: update[at],
        };
        let finite =
            |row: &TensorNorms| [row.gradient_norm, row.weight_norm, row.update_norm].iter().all(|n| n.is_finite());
        specs.iter().enumerate().map(row).filter(finite).collect()
    }
}

/// The values of a vector on any device.
pub fn numbers(vector: &Tensor) -> Vec<f64> {
    Vec::try_from(vector.to_device(Device::Cpu).to_kind(Kind::Double)).expect("a vector of float64")
}

/// Memory and power, read now and then: each reading is a call of the system or the driver.
pub struct Gauges {
    device: Device,
    read_at: Option<Instant>,
    /// Resident memory of the process, or memory allocated on the GPU.
    pub memory_bytes: u64,
    /// What the GPU draws.
    pub power_w: Option<f64>,
}

impl Gauges {
    /// Nothing read yet.
    pub fn new(device: Device) -> Self {
        Gauges { device, read_at: None, memory_bytes: 0, power_w: None }
    }

    /// Reads again if the last reading is old.
    pub fn refresh(&mut self) {
        const OLD: Duration = Duration::from_millis(500);
        if self.read_at.is_some_and(|at| at.elapsed() < OLD) {
            return;
        }
        self.read_at = Some(Instant::now());
        if self.device.is_cuda() {
            self.memory_bytes = native::cuda_bytes().unwrap_or(0);
            self.power_w = native::gpu(0).and_then(|gpu| gpu.power_w);
        } else {
            self.memory_bytes = device::memory_bytes();
        }
    }
}

/// Measures the rate of matrix products: the best of three products of square matrices.
pub fn peak(device: Device, compute: Kind) -> Peak {
    let n: i64 = if device.is_cuda() { 8192 } else { 768 };
    // Numbers as in training: a processor at its limit of power is faster at products of equal ones.
    let factor = Tensor::randn([n, n], (Kind::Float, device)).to_kind(compute);
    let product = || factor.matmul(&factor).get(0).get(0).double_value(&[]);
    product();
    let time_s = |_| {
        let begun = Instant::now();
        product();
        begun.elapsed().as_secs_f64()
    };
    let least_s = (0..3).map(time_s).fold(f64::INFINITY, f64::min);
    let kind = if compute == Kind::BFloat16 { "bfloat16" } else { "float32" };
    Peak {
        flops_per_s: 2.0 * (n * n * n) as f64 / least_s,
        source: format!("measured before the first step: best of 3 products of {n} x {n} matrices in {kind}"),
    }
}
