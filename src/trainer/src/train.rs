//! The whole run in one file: build or resume, then step after step, with evaluations and checkpoints in between.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use harness_core::contract::{Closing, Job, Message, Started, VERSION};
use harness_core::order::RollingDigest;
use harness_core::random;
use harness_core::scores::StepLine;
use tch::{Device, Kind, Tensor};

use crate::batch::Batches;
use crate::checkpoint::{self, Position};
use crate::device;
use crate::error::Error;
use crate::evaluate::{Evaluator, Wanted};
use crate::messages::Outside;
use crate::model::weights::Parameters;
use crate::native;
use crate::optimizer::{self, Optimizer};
use crate::schedule::learning_rate;

/// A run in progress.
struct Run<'a> {
    job: &'a Job,
    outside: &'a dyn Outside,
    steps_done: &'a AtomicU64,
    device: Device,
    compute: Kind,
    parameters: Parameters,
    optimizer: Box<dyn Optimizer>,
    evaluator: Evaluator,
    position: Position,
    /// Step and file of the checkpoint written last, or of the one the run began from.
    last_checkpoint: Option<(u64, String)>,
    /// A step whose numbers are still on the device.
    pending: Option<PendingStep>,
    begun: Instant,
    /// When the step under way began: the end of the one before it, of an evaluation or of a checkpoint.
    step_begun: Instant,
    training_time_s: f64,
}

/// What a step leaves behind on the device, read back when the next one is under way.
struct PendingStep {
    step: u64,
    tokens: u64,
    loss_sum: Tensor,
    gradient_norm: Tensor,
    learning_rate: f64,
}

/// Runs a job to its end or until it is told to stop, and gives the closing message. `steps_done` is kept up to
/// date, so that a failure can say how far the run came.
pub fn run(job: &Job, outside: &dyn Outside, steps_done: &AtomicU64) -> Result<Message, Error> {
    let begun = Instant::now();
    let training = &job.training;
    check(job)?;
    let chosen = device::choose(training.device)?;
    device::configure(training)?;
    // Hashing libtorch takes a third of a second; the model is built meanwhile.
    let paths = device::library_paths()?;
    let libraries = thread::spawn(move || device::libraries(&paths, true));
    let energy_before_j = native::gpu().filter(|_| chosen.device.is_cuda()).and_then(|gpu| gpu.energy_j);

    let evaluator = Evaluator::open(job)?;
    let batches = if job.train_shards.is_empty() { None } else { Some(Batches::open(job)?) };
    let parameters = Parameters::initialize(&job.model, job.vocabulary_size, job.seed, chosen.device);
    let mut position = Position { step: 0, tokens: 0, order: RollingDigest::start() };
    let resumed = job.resume_from.as_deref().map(checkpoint::read).transpose()?;
    if let Some(checkpoint) = &resumed {
        let purpose = if batches.is_some() { checkpoint::Purpose::Continue } else { checkpoint::Purpose::Evaluate };
        checkpoint.check(job, purpose)?;
        checkpoint.restore_weights(&parameters)?;
        position = checkpoint.position();
    }
    let optimizer = optimizer::build(&job.optimizer, &job.model, &parameters, position.step);
    if let (Some(checkpoint), Some(_)) = (&resumed, &batches) {
        checkpoint.restore_optimizer(optimizer.as_ref())?;
    }
    steps_done.store(position.step, Ordering::Relaxed);

    let libraries = libraries.join().map_err(|_| Error::Internal("hashing the libraries failed".to_owned()))??;
    let (count, count_without_embeddings) = job.model.parameters(job.vocabulary_size);
    if count != parameters.count() {
        let problem = format!("the config counts {count} parameters, the model has {}", parameters.count());
        return Err(Error::Internal(problem));
    }
    outside.send(&Message::Started(Box::new(Started {
        version: VERSION,
        about: device::about(chosen.cuda_absent_because, libraries),
        device: device::name(chosen.device),
        parameters: count,
        parameters_without_embeddings: count_without_embeddings,
        flops_per_token: job.model.training_flops_per_token(job.vocabulary_size),
        first_step: position.step,
        determinism: device::determinism(training.precision, std::env::vars()),
    })));

    let mut run = Run {
        job,
        outside,
        steps_done,
        device: chosen.device,
        compute: device::compute_kind(training.precision),
        parameters,
        optimizer,
        evaluator,
        position,
        last_checkpoint: job.resume_from.as_ref().map(|path| (position.step, path.display().to_string())),
        pending: None,
        begun: Instant::now(),
        step_begun: Instant::now(),
        training_time_s: 0.0,
    };
    let finished = match &batches {
        Some(batches) => run.train(batches)?,
        None => {
            let wanted = Wanted {
                validation: !job.validation_steps.is_empty(),
                token_losses: !job.token_loss_steps.is_empty(),
                tasks: !job.task_steps.is_empty(),
            };
            run.evaluate(wanted)?
        }
    };
    let closing = run.closing(begun, energy_before_j);
    Ok(if finished { Message::Finished(closing) } else { Message::Stopped(closing) })
}

/// The error for a job of another contract version.
pub fn wrong_version(version: u64) -> Error {
    Error::Job {
        problem: format!("the job has contract version {version}, and this trainer speaks {VERSION}"),
        hint: Some("build `harness` and `harness-trainer` from the same commit".to_owned()),
    }
}

fn check(job: &Job) -> Result<(), Error> {
    let refuse = |problem: String| Err(Error::Job { problem, hint: None });
    if job.version != VERSION {
        return Err(wrong_version(u64::from(job.version)));
    }
    if !job.model.width.is_multiple_of(job.model.heads.max(1)) || job.model.heads == 0 {
        return refuse(format!("a width of {} cannot be split over {} heads", job.model.width, job.model.heads));
    }
    if !job.model.heads.is_multiple_of(job.model.resolved_key_value_heads()) {
        return refuse(format!(
            "{} heads of keys and values cannot serve {} heads",
            job.model.key_value_heads, job.model.heads
        ));
    }
    if job.training.batch_size == 0 || !job.training.batch_size.is_multiple_of(job.training.sequences_per_pass()) {
        return refuse(format!(
            "a batch of {} sequences cannot be split into passes of {}",
            job.training.batch_size,
            job.training.sequences_per_pass()
        ));
    }
    if job.model.layers == 0 || job.model.context_length == 0 || job.vocabulary_size == 0 {
        return refuse("the model needs at least one layer, one position and one token".to_owned());
    }
    if job.train_shards.is_empty()
        && job.resume_from.is_none()
        && job.validation_shards.is_empty()
        && job.tasks.is_empty()
    {
        return refuse("the job neither trains nor evaluates".to_owned());
    }
    Ok(())
}

impl Run<'_> {
    /// Step after step to the last one. `false` if the run was told to stop before.
    fn train(&mut self, batches: &Batches) -> Result<bool, Error> {
        let job = self.job;
        loop {
            let step = self.position.step;
            let last = step >= job.training.steps;
            let stop = self.outside.should_stop() && !last;
            // A resumed run evaluates again where it starts: the segment before may have ended in the middle of it.
            let wanted = Wanted {
                validation: job.validation_steps.contains(&step),
                token_losses: job.token_loss_steps.contains(&step),
                tasks: job.task_steps.contains(&step),
            };
            let checkpoint = last || stop || job.checkpoint_steps.contains(&step);
            let evaluate = !stop && (wanted.validation || wanted.tasks);
            if checkpoint || evaluate {
                self.read_back()?;
            }
            if checkpoint {
                self.write_checkpoint()?;
            }
            if evaluate && !self.evaluate(wanted)? {
                self.write_checkpoint()?;
                return Ok(false);
            }
            if last || stop {
                return Ok(last);
            }
            self.step(batches)?;
        }
    }

    /// One optimizer step: passes forward and backward, norm, update.
    fn step(&mut self, batches: &Batches) -> Result<(), Error> {
        let (job, step) = (self.job, self.position.step);
        let batch = batches.get(step, &mut self.position.order, self.device)?;
        let tokens = batches.tokens_per_step();
        if job.model.dropout > 0.0 {
            tch::manual_seed(random::seed(job.seed, step, random::Purpose::Dropout) as i64);
        }

        let model = self.parameters.model(&job.model, job.vocabulary_size, self.compute);
        let mut loss_sum = Tensor::zeros([], (Kind::Double, self.device));
        let sequences = i64::from(job.training.sequences_per_pass());
        for pass in 0..i64::from(job.training.passes()) {
            let (inputs, targets) = batch.pass(pass * sequences, sequences); // (b, T), (b, T)
            loss_sum += model.backward(&inputs, &targets, None, 1.0 / tokens as f64, job.model.dropout)?;
        }
        drop(model);

        let gradients: Vec<Tensor> = self.parameters.tensors().iter().map(Tensor::grad).collect();
        let gradient = native::gradient_norm(&gradients, job.optimizer.gradient_clip_norm)?;
        let rate = learning_rate(&job.schedule, job.optimizer.learning_rate, step + 1, job.training.steps);
        self.optimizer.step(&gradients, &gradient.divisor, rate)?;
        native::clear_gradients(self.parameters.tensors());

        self.read_back()?;
        self.position.step += 1;
        self.position.tokens += tokens;
        self.pending = Some(PendingStep {
            step: self.position.step,
            tokens: self.position.tokens,
            loss_sum,
            gradient_norm: gradient.norm,
            learning_rate: rate,
        });
        if !self.device.is_cuda() {
            self.read_back()?;
        }
        Ok(())
    }

    /// Reads the numbers of the pending step and reports them. On a GPU this waits for that step, so it is done
    /// when the next one has been queued.
    fn read_back(&mut self) -> Result<(), Error> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let tokens = f64::from(self.job.training.batch_size) * f64::from(self.job.model.context_length);
        let loss_nats = pending.loss_sum.double_value(&[]) / tokens;
        let gradient_norm = pending.gradient_norm.double_value(&[]);
        let duration_s = self.step_begun.elapsed().as_secs_f64();
        self.step_begun = Instant::now();
        for (what, value) in [("loss", loss_nats), ("gradient norm", gradient_norm)] {
            if !value.is_finite() {
                let last_checkpoint = match &self.last_checkpoint {
                    Some((_, path)) => format!("the last good checkpoint is `{path}`"),
                    None => "there is no checkpoint yet".to_owned(),
                };
                return Err(Error::NonFinite { what, step: pending.step, value, last_checkpoint });
            }
        }
        self.training_time_s += duration_s;
        self.steps_done.store(pending.step, Ordering::Relaxed);
        self.outside.send(&Message::Step(StepLine {
            step: pending.step,
            tokens: pending.tokens,
            loss_nats,
            learning_rate: pending.learning_rate,
            gradient_norm,
            wall_time_s: self.begun.elapsed().as_secs_f64(),
            tokens_per_s: tokens / duration_s,
        }));
        Ok(())
    }

    /// Evaluates the current weights. `false` if the run was told to stop before the end.
    fn evaluate(&mut self, wanted: Wanted) -> Result<bool, Error> {
        let model = tch::no_grad(|| self.parameters.model(&self.job.model, self.job.vocabulary_size, self.compute));
        let at = (self.position.step, self.position.tokens);
        let should_stop = || self.outside.should_stop();
        let evaluation = self.evaluator.run(&model, self.job, wanted, at, self.device, &should_stop)?;
        self.step_begun = Instant::now();
        let complete = evaluation.is_some();
        evaluation.into_iter().for_each(|evaluation| self.outside.send(&Message::Evaluation(evaluation)));
        Ok(complete)
    }

    /// Writes a checkpoint of the current step, unless there is one.
    fn write_checkpoint(&mut self) -> Result<(), Error> {
        if self.last_checkpoint.as_ref().is_some_and(|(step, _)| *step == self.position.step) {
            return Ok(());
        }
        let written = checkpoint::write(self.job, &self.parameters, self.optimizer.as_ref(), self.position)?;
        self.last_checkpoint = Some((written.step, written.file.path.clone()));
        self.outside.send(&Message::Checkpoint(written));
        self.step_begun = Instant::now();
        Ok(())
    }

    fn closing(&self, begun: Instant, energy_before_j: Option<f64>) -> Closing {
        let cuda = self.device.is_cuda();
        let energy_after_j = native::gpu().filter(|_| cuda).and_then(|gpu| gpu.energy_j);
        Closing {
            step: self.position.step,
            tokens: self.position.tokens,
            weights_sha256: checkpoint::weights_digest(&self.parameters),
            order_sha256: self.position.order.digest(),
            wall_time_s: begun.elapsed().as_secs_f64(),
            training_time_s: self.training_time_s,
            peak_memory_bytes: device::peak_memory_bytes(),
            peak_gpu_memory_bytes: if cuda { native::cuda_peak_bytes() } else { None },
            gpu_energy_j: energy_before_j.zip(energy_after_j).map(|(before, after)| after - before),
        }
    }
}
