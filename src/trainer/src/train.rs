//! The whole run in one file: build or resume, then step after step, with evaluations and checkpoints in between.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness_build::BUILD;
use harness_core::Digest;
use harness_core::config::{AttentionKernel, ModelConfig, OnNonFinite, learning_rate};
use harness_core::contract::{
    Closing, Evaluation, Job, Message, Peak, Skipped, Started, Unanswered, VERSION, checkpoint_path,
};
use harness_core::memory::Memory;
use harness_core::order::RollingDigest;
use harness_core::random;
use harness_core::scores::{ActivationStatistics, StepLine};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::average::Average;
use crate::batch::{Batch, Batches, Prefetch};
use crate::checkpoint::{self, Position};
use crate::device;
use crate::error::Error;
use crate::evaluate::{Evaluator, Reader, Wanted};
use crate::generate;
use crate::messages::Outside;
use crate::metrics::{self, Gauges, MeasuredNorms, Probe};
use crate::model::Transformer;
use crate::model::extras::kernel;
use crate::model::weights::Parameters;
use crate::native::collectives::Reducer;
use crate::native::{self, Arriving, Gpu};
use crate::optimizer::{self, Optimizer};
use crate::owners::Owners;
use crate::ranks::Ranks;

/// A run in progress.
struct Run<'a> {
    job: &'a Job,
    outside: &'a dyn Outside,
    ranks: Ranks,
    /// Adds up the gradients of the ranks; none where one is alone, or nothing is trained.
    reducer: Option<Reducer>,
    /// The ranks agreed to stop.
    stop: bool,
    steps_done: &'a AtomicU64,
    device: Device,
    compute: Kind,
    parameters: Parameters,
    average: Option<Average>,
    /// Who updates which of the parameters.
    owners: Owners,
    optimizer: Box<dyn Optimizer>,
    evaluator: Evaluator,
    probe: Option<Probe>,
    gauges: Gauges,
    peak: Option<Peak>,
    /// What the probe showed last, for the diagnosis of a run that breaks down.
    last_seen: Vec<ActivationStatistics>,
    position: Position,
    /// Step and file of the checkpoint written last, or of the one the run began from.
    last_checkpoint: Option<(u64, String)>,
    /// By name, the files of scores that are not finite, as they were last written.
    not_finite: BTreeMap<String, Unanswered>,
    /// A step whose numbers are on their way from the device.
    pending: Option<PendingStep>,
    begun: Instant,
    /// When the step under way began: the end of the one before it, of an evaluation or of a checkpoint.
    step_begun: Instant,
    training_time_s: f64,
}

/// What a step leaves behind, read when the next one is under way.
struct PendingStep {
    step: u64,
    tokens: u64,
    /// Sum of the losses in nats, norm of the gradient, and how many ranks want to stop; shape (3), float64.
    numbers: Arriving,
    /// Of each tensor; shape (tensors).
    gradient_norms: Tensor,
    tensor_norms: Option<MeasuredNorms>,
    learning_rate: f64,
    batch_size: u32,
    sequence_length: u32,
    /// Tokens that the step predicted.
    predicted: u64,
    /// How long the batch was waited for.
    waited: Duration,
}

impl PendingStep {
    /// Loss in nats per token, gradient norm, and whether a rank wants to stop. Waits until the device is through with the
    /// step.
    fn read(&self) -> Result<(f64, f64, bool), Error> {
        let numbers = self.numbers.wait()?;
        let number = |at: i64| numbers.double_value(&[at]);
        Ok((number(0) / self.predicted as f64, number(1), number(2) > 0.0))
    }
}

/// Runs a job to its end or until it is told to stop, and gives the closing message. `steps_done` is kept up to
/// date, so that a failure can say how far the run came.
pub fn run(job: &Job, ranks: Ranks, outside: &dyn Outside, steps_done: &AtomicU64) -> Result<Message, Error> {
    let begun = Instant::now();
    let training = &job.training;
    check(job, ranks.size)?;
    let chosen = device::choose(training.device)?;
    device::configure(training)?;
    device::choose_attention(training.attention_kernel, chosen.device)?;
    // Hashing libtorch takes a third of a second; the model is built meanwhile.
    let paths = device::library_paths()?;
    let libraries = thread::spawn(move || device::libraries(&paths, true));
    let gpu = chosen.device.is_cuda().then(|| native::gpu(0)).flatten();

    let evaluator = Evaluator::open(job)?;
    let batches = if job.train_shards.is_empty() { None } else { Some(Arc::new(Batches::open(job, &ranks)?)) };
    if ranks.size > 1 {
        ranks.agreed("job", &what_ranks_share(job, chosen.device, gpu.as_ref())?)?;
    }
    let found = ranks.connect(chosen.device, gpu.as_ref().map(|gpu| Digest::of(gpu.uuid.as_bytes())))?;
    let compute = device::compute_kind(training.precision);
    let parameters = Parameters::initialize(&job.model, job.vocabulary_size, job.seed, chosen.device);
    if let (Some(weights), None) = (&job.initial_weights, &job.resume_from) {
        checkpoint::restore_initial(weights, &parameters)?;
    }
    let mut position = Position { step: 0, tokens: 0, skipped_steps: 0, order: RollingDigest::start() };
    let resumed = job.resume_from.as_deref().map(checkpoint::read).transpose()?;
    if let Some(checkpoint) = &resumed {
        let purpose = if batches.is_some() { checkpoint::Purpose::Continue } else { checkpoint::Purpose::Evaluate };
        checkpoint.check(job, purpose)?;
        checkpoint.restore_weights(&parameters)?;
        position = checkpoint.position();
    }
    let average = Average::begin(training.ema_decay, &parameters);
    if let (Some(checkpoint), Some(average)) = (&resumed, &average) {
        checkpoint.restore_average(average.weights())?;
    }
    let updates = position.step - position.skipped_steps;
    let owners = Owners::choose(job, &parameters, &ranks);
    let own = owners.places(&parameters, ranks.rank);
    let optimizer = optimizer::build(&job.optimizer, &job.model, &parameters, &own, updates);
    if let (Some(checkpoint), Some(_)) = (&resumed, &batches) {
        checkpoint.restore_optimizer(optimizer.as_ref())?;
    }
    steps_done.store(position.step, Ordering::Relaxed);
    hold_together(&ranks, &parameters, position)?;
    let reducer = if batches.is_some() { ranks.reducer(parameters.tensors())? } else { None };

    let libraries = libraries.join().map_err(|_| Error::Internal("hashing the libraries failed".to_owned()))??;
    let (parameter_count, without_embeddings) = job.model.parameters(job.vocabulary_size);
    let peak = batches.as_ref().filter(|_| ranks.is_first()).map(|_| metrics::peak(chosen.device, compute));
    let peak = peak.map(|peak| match ranks.size {
        1 => peak,
        n => Peak { flops_per_s: peak.flops_per_s * f64::from(n), source: format!("{}, times {n} ranks", peak.source) },
    });
    let attention_kernel =
        batches.as_ref().map(|_| attention_kernel(job, &parameters, chosen.device, compute)).transpose()?;
    let probe = if batches.is_some() && ranks.is_first() { Probe::open(job, chosen.device)? } else { None };
    outside.send(&Message::Started(Box::new(Started {
        version: VERSION,
        about: device::about(chosen.cuda_absent_because, libraries),
        device: device::name(chosen.device),
        parameters: parameter_count,
        parameters_without_embeddings: without_embeddings,
        flops_per_token: job.model.training_flops_per_token(job.vocabulary_size),
        predicted_memory_bytes: batches.is_some().then(|| predicted_memory_bytes(job, chosen.device)),
        peak: peak.clone(),
        first_step: position.step,
        determinism: device::determinism(chosen.device, training.precision, attention_kernel, std::env::vars()),
        ranks: found,
    })));

    let mut run = Run {
        job,
        outside,
        ranks,
        reducer,
        stop: false,
        steps_done,
        device: chosen.device,
        compute,
        parameters,
        average,
        owners,
        optimizer,
        evaluator,
        probe,
        gauges: Gauges::new(chosen.device),
        peak,
        last_seen: Vec::new(),
        position,
        last_checkpoint: job.resume_from.as_ref().map(|path| (position.step, path.display().to_string())),
        not_finite: BTreeMap::new(),
        pending: None,
        begun: Instant::now(),
        step_begun: Instant::now(),
        training_time_s: 0.0,
    };
    let finished = match batches {
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
    if finished && !run.not_finite.is_empty() {
        return Err(run.not_measured());
    }
    let closing = run.closing(begun, gpu)?;
    run.ranks.leave()?;
    Ok(if finished { Message::Finished(closing) } else { Message::Stopped(closing) })
}

/// The kernel of attention in training. Refuses the one that the job names where it cannot serve.
fn attention_kernel(job: &Job, parameters: &Parameters, device: Device, compute: Kind) -> Result<&'static str, Error> {
    let model = tch::no_grad(|| parameters.model(&job.model, compute));
    let tokens = Tensor::zeros([1, i64::from(job.model.context_length)], (Kind::Int64, device));
    let found = kernel::of_training(&model, &job.model, &tokens, metrics::packing(job, &tokens).as_ref());
    found.map_err(|error| Error::Job {
        problem: format!("attention by `{}` alone cannot serve this run: {error}", native::attention_kernels().join(", ")),
        hint: Some(
            "set `training.attention_kernel = \"auto\"`; kernels differ in the precisions, masks, dropout and switches \
             (`deterministic`) that they can serve"
                .to_owned(),
        ),
    })
}

fn predicted_memory_bytes(job: &Job, device: Device) -> u64 {
    Memory::of(&job.model, &job.optimizer, &job.training, job.vocabulary_size, device.is_cuda()).total_bytes()
}

/// What has to be the same on all ranks that train together, by name.
fn what_ranks_share(job: &Job, device: Device, gpu: Option<&Gpu>) -> Result<Vec<(String, String)>, Error> {
    // Each may have it elsewhere.
    let choices = Job { output: PathBuf::new(), ..job.clone() };
    let choices = serde_json::to_vec(&choices).expect("a plain struct is JSON");
    let processor = match gpu {
        Some(gpu) => format!("{} ({})", gpu.name, gpu.compute_capability),
        None => {
            let products = native::own_products(device, device::compute_kind(job.training.precision));
            let (kernels, amx) = (native::cpu_kernels(), native::amx());
            format!("{}, own kernels: {kernels}, AMX: {amx}, own products: {products}", native::cpu_capability())
        }
    };
    let kind = if device.is_cuda() { "a GPU" } else { "the CPU" };
    let mut shared = vec![
        ("the job".to_owned(), Digest::of(&choices).to_string()),
        ("the sources of the trainer".to_owned(), BUILD.source_sha256.to_owned()),
        ("the version of libtorch".to_owned(), native::libtorch_version()),
        ("the device".to_owned(), kind.to_owned()),
        ("the processor".to_owned(), processor),
    ];
    let read = job.train_shards.iter().chain(&job.validation_shards).chain(job.tasks.iter().map(|task| &task.requests));
    for path in read {
        shared.push((format!("the content of `{}`", path.display()), Digest::of_file(path)?.to_string()));
    }
    Ok(shared)
}

/// Refuses ranks that stand elsewhere than rank 0 does.
fn hold_together(ranks: &Ranks, parameters: &Parameters, position: Position) -> Result<(), Error> {
    if ranks.size == 1 {
        return Ok(());
    }
    let (weights, order) = (checkpoint::weights_digest(parameters), position.order.digest());
    let at = |what: &str| format!("the digest of {what} after step {}", position.step);
    let stands = [(at("the weights"), weights.to_string()), (at("the batches"), order.to_string())];
    ranks.agreed(&format!("step/{}", position.step), &stands)
}

fn check(job: &Job, ranks: u32) -> Result<(), Error> {
    let refuse = |problem: String| Err(Error::Job { problem, hint: None });
    if job.version != VERSION {
        return Err(Error::wrong_version(u64::from(job.version)));
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
    if !job.train_shards.is_empty()
        && let Some(problem) = job.training.not_shared_out(ranks)
    {
        return refuse(problem);
    }
    if job.model.layers == 0 || job.model.context_length == 0 || job.vocabulary_size == 0 {
        return refuse("the model needs at least one layer, one position and one token".to_owned());
    }
    if let Some(sampling) = &job.sampling {
        if !job.train_shards.is_empty() {
            return refuse("only a job that evaluates draws samples".to_owned());
        }
        generate::check(sampling, job.vocabulary_size)?;
    }
    if job.train_shards.is_empty()
        && job.resume_from.is_none()
        && job.initial_weights.is_none()
        && job.validation_shards.is_empty()
        && job.tasks.is_empty()
    {
        return refuse("the job neither trains nor evaluates".to_owned());
    }
    Ok(())
}

impl Run<'_> {
    /// Step after step to the last one. `false` if the run was told to stop before.
    fn train(&mut self, batches: Arc<Batches>) -> Result<bool, Error> {
        let job = self.job;
        let (first, order) = (self.position.step, self.position.order);
        self.warm_up()?;
        let batches = Prefetch::start(batches, first, job.training.steps, order, self.device);
        loop {
            let step = self.position.step;
            let last = step >= job.training.steps;
            let stop = (if self.ranks.size == 1 { self.outside.should_stop() } else { self.stop }) && !last;
            // A resumed run evaluates again where it starts: the segment before may have ended in the middle of it.
            let wanted = Wanted {
                validation: job.validation_steps.contains(&step),
                token_losses: job.token_loss_steps.contains(&step),
                tasks: job.task_steps.contains(&step),
            };
            let checkpoint = last || stop || job.checkpoint_steps.contains(&step);
            let evaluate = !stop && (wanted.validation || wanted.tasks);
            let look = job.metrics.activations_at(step, job.training.steps);
            if checkpoint || evaluate || look {
                self.read_back()?;
            }
            if look {
                self.look_inside();
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
            self.step(&batches)?;
        }
    }

    /// A backward pass that leaves no trace but the order of the reducer's buckets, which is that of the gradients in the first
    /// one. With it the order of every sum is the same in a run that goes on.
    fn warm_up(&self) -> Result<(), Error> {
        let Some(reducer) = &self.reducer else { return Ok(()) };
        let tokens = Tensor::zeros([1, i64::from(self.job.model.context_length)], (Kind::Int64, self.device));
        let packing = metrics::packing(self.job, &tokens);
        reducer.announce()?;
        let model = self.parameters.model(&self.job.model, self.compute);
        let _loss = model.backward(&tokens, &tokens, packing.as_ref(), 0.0, self.job.model.dropout)?;
        native::clear_gradients(self.parameters.tensors())
    }

    /// One optimizer step: passes forward and backward, norm, update.
    fn step(&mut self, batches: &Prefetch) -> Result<(), Error> {
        let (job, step) = (self.job, self.position.step);
        let (batch, waited) = batches.next()?;
        if job.model.dropout > 0.0 {
            // Rank 0 draws what one process would; the others have sequences of their own, and draws.
            let seed = match self.ranks.rank {
                0 => job.seed,
                rank => random::seed(job.seed, u64::from(rank), random::Purpose::Dropout),
            };
            tch::manual_seed(random::seed(seed, step, random::Purpose::Dropout) as i64);
        }
        let loss_sum = self.passes(&batch, batch.passes(), batch.sequences_per_pass());
        let loss_sum = loss_sum.map_err(|error| self.with_what_fits(error, &batch))?;
        let wants_to_stop = f64::from(u8::from(self.ranks.size > 1 && self.outside.should_stop()));
        let of_all = Tensor::stack(&[loss_sum, Tensor::full([], wants_to_stop, (Kind::Double, self.device))], 0);
        self.ranks.sum(&of_all)?;

        let gradients: Vec<Tensor> = self.parameters.tensors().iter().map(Tensor::grad).collect();
        let gradient = native::gradient_norm(&gradients, job.optimizer.gradient_clip_norm)?;
        let rate = learning_rate(&job.schedule, job.optimizer.learning_rate, step + 1, job.training.steps);
        let mut pending = PendingStep {
            step: step + 1,
            tokens: self.position.tokens + batch.predicted_tokens(),
            numbers: Arriving::from(&Tensor::stack(
                &[of_all.get(0), gradient.norm.to_kind(Kind::Double), of_all.get(1)],
                0,
            ))?,
            gradient_norms: gradient.of_tensors,
            tensor_norms: None,
            learning_rate: rate,
            batch_size: job.training.batch_size_at(step),
            sequence_length: batch.sequence_length(),
            predicted: batch.predicted_tokens(),
            waited,
        };
        // On a GPU the numbers of a step are read when the next one has been queued, so that it never runs dry, unless an
        // update has to wait for them.
        let guarded = !self.device.is_cuda() || job.training.on_non_finite == OnNonFinite::Skip;
        let broken = if guarded { non_finite(pending.read()?) } else { None };
        self.position.step += 1;
        self.position.tokens += batch.predicted_tokens();
        self.position.order = batch.order;
        if let Some((what, value)) = broken {
            self.read_back()?;
            self.stop |= pending.read()?.2;
            let diagnosis = self.diagnosis(&pending, Some(&batch))?;
            native::clear_gradients(self.parameters.tensors())?;
            return self.stop_or_skip(pending.step, what, value, diagnosis);
        }

        let copies = || self.parameters.tensors().iter().map(|p| p.detach().copy()).collect::<Vec<_>>();
        let before = job.metrics.tensor_norms_at(step + 1).then(copies);
        self.optimizer.step(&gradients, &gradient.divisor, rate)?;
        self.owners.exchange(&self.ranks, &self.parameters)?;
        native::clear_gradients(self.parameters.tensors())?;
        let norms = before.map(|before| MeasuredNorms::of(before, &self.parameters, &pending.gradient_norms));
        pending.tensor_norms = norms.transpose()?;
        if let Some(average) = &mut self.average {
            average.update(&self.parameters, step + 1);
        }

        self.read_back()?;
        self.pending = Some(pending);
        if !self.device.is_cuda() {
            self.read_back()?;
        }
        Ok(())
    }

    /// Forward and backward over a batch, in so many passes of so many sequences. Gradients add up in the parameters;
    /// gives the sum of the losses in nats, shape ().
    fn passes(&self, batch: &Batch, passes: i64, sequences: i64) -> Result<Tensor, Error> {
        let job = self.job;
        let run = || {
            let model = self.parameters.model(&job.model, self.compute);
            let scale = 1.0 / batch.predicted_tokens() as f64;
            let mut loss_sum = Tensor::zeros([], (Kind::Double, self.device));
            let head = if job.model.tied_embeddings { "token_embedding" } else { "head" };
            let in_parts = job.model.tied_embeddings || job.model.multi_token_prediction > 0;
            let head = self.parameters.named().find(|(name, _)| in_parts && *name == head);
            for pass in 0..passes {
                // The ranks add up what each of them has added up over its passes.
                let reducer = self.reducer.as_ref().filter(|_| pass + 1 == passes);
                reducer.map_or(Ok(()), Reducer::announce)?;
                // A head that is the embedding as well, or predicts several tokens, gets its gradient in parts. Those of one pass are
                // added before they come to the earlier ones, so that two passes give the bits of two ranks with a pass each.
                let apart = head.filter(|_| pass > 0 && reducer.is_none()).map(|(_, head)| head);
                let earlier = apart.map(native::take_gradient).transpose()?;
                let (inputs, targets) = batch.sequences(pass * sequences, sequences); // (b, T), (b, T)
                let packing = metrics::packing(job, &inputs);
                loss_sum += model.backward(&inputs, &targets, packing.as_ref(), scale, job.model.dropout)?;
                if let (Some(head), Some(earlier)) = (apart, earlier) {
                    native::add_gradient(head, &earlier)?;
                }
            }
            Ok(loss_sum)
        };
        // The plain operators of tch panic where libtorch cannot get memory.
        panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(Error::from_panic(panic)))
    }

    /// Completes an error of a pass that could not get memory: tries which smaller one can.
    fn with_what_fits(&self, error: Error, batch: &Batch) -> Error {
        let Error::OutOfMemory(problem) = error else { return error };
        if self.reducer.is_some() {
            // The others are waiting for gradients: nothing can be tried here any more.
            return Error::OutOfMemory(problem);
        }
        let (training, context) = (&self.job.training, i64::from(self.job.model.context_length));
        let each = context / i64::from(batch.sequence_length()); // sequences of a window
        let most = batch.sequences_per_pass() / each;
        let mut smaller = (1..most).rev().filter(|&windows| training.can_have_passes_of(windows as u32));
        let gets_through = |windows: i64| {
            native::clear_gradients(self.parameters.tensors())?;
            // In the second pass there are gradients already.
            let passes = 2.min(batch.passes() * most / windows);
            self.passes(batch, passes, windows * each)
        };
        let fits = smaller.find(|&windows| gets_through(windows).is_ok());
        Error::PassTooLarge { sequences: most as u32, problem, fits: fits.map(|windows| windows as u32) }
    }

    /// Reads the numbers of the pending step and reports them. On a GPU this waits for that step alone, not for the one
    /// that is queued behind it.
    fn read_back(&mut self) -> Result<(), Error> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let (loss_nats, gradient_norm, stop) = pending.read()?;
        self.stop |= stop;
        let duration_s = self.step_begun.elapsed().as_secs_f64();
        self.step_begun = Instant::now();
        if let Some((what, value)) = non_finite((loss_nats, gradient_norm, stop)) {
            // The update has been made with these gradients: there is no way to skip it any more.
            let diagnosis = self.diagnosis(&pending, None)?;
            return Err(self.non_finite_error(pending.step, what, value, diagnosis));
        }
        self.training_time_s += duration_s;
        self.steps_done.store(pending.step, Ordering::Relaxed);
        self.gauges.refresh();
        let tokens_per_s = pending.predicted as f64 / duration_s;
        self.outside.send(&Message::Step(StepLine {
            step: pending.step,
            tokens: pending.tokens,
            loss_nats,
            learning_rate: pending.learning_rate,
            gradient_norm,
            wall_time_s: self.begun.elapsed().as_secs_f64(),
            tokens_per_s,
            batch_size: pending.batch_size,
            sequence_length: pending.sequence_length,
            data_wait_share: (pending.waited.as_secs_f64() / duration_s).min(1.0),
            model_flops_utilization: self.peak.as_ref().map(|peak| {
                let flops_per_token = self.flops_per_token(pending.sequence_length);
                flops_per_token * tokens_per_s / peak.flops_per_s
            }),
            memory_bytes: self.gauges.memory_bytes,
            power_w: self.gauges.power_w,
        }));
        if let Some(norms) = pending.tensor_norms {
            self.outside.send(&Message::TensorNorms { rows: norms.read(pending.step, self.parameters.specs()) });
        }
        Ok(())
    }

    /// Training FLOPs of a token in sequences of this length.
    fn flops_per_token(&self, sequence_length: u32) -> f64 {
        let model = ModelConfig { context_length: sequence_length, ..self.job.model.clone() };
        model.training_flops_per_token(self.job.vocabulary_size)
    }

    /// Measures the activations on the probe batch.
    fn look_inside(&mut self) {
        let Some(probe) = &self.probe else { return };
        let rows = probe.measure(&self.model(), self.position.step);
        self.outside.send(&Message::Activations { rows: rows.clone() });
        self.last_seen = rows;
        self.step_begun = Instant::now();
    }

    /// The model with the current weights, to look at.
    fn model(&self) -> Transformer {
        tch::no_grad(|| self.parameters.model(&self.job.model, self.compute))
    }

    /// Ends the run at a step whose numbers are not finite, or notes that it was skipped.
    fn stop_or_skip(&mut self, step: u64, what: &'static str, value: f64, diagnosis: String) -> Result<(), Error> {
        self.position.skipped_steps += 1;
        let (skip, most) = (self.job.training.on_non_finite, u64::from(self.job.training.skip_at_most));
        if skip == OnNonFinite::Stop {
            return Err(self.non_finite_error(step, what, value, diagnosis));
        }
        if self.position.skipped_steps > most {
            let diagnosis = format!("{most} steps were skipped before; {diagnosis}");
            return Err(self.non_finite_error(step, what, value, diagnosis));
        }
        self.steps_done.store(step, Ordering::Relaxed);
        self.outside.send(&Message::Skipped(Skipped {
            step,
            what: what.to_owned(),
            value: value.to_string(),
            diagnosis,
        }));
        self.step_begun = Instant::now();
        Ok(())
    }

    fn non_finite_error(&self, step: u64, what: &'static str, value: f64, diagnosis: String) -> Error {
        let last_checkpoint = match &self.last_checkpoint {
            Some((_, path)) => format!("the last good checkpoint is `{path}`"),
            None => "there is no checkpoint yet".to_owned(),
        };
        Error::NonFinite { what, step, value, diagnosis, last_checkpoint }
    }

    /// Where numbers are not finite: the first place of the forward pass over the batch, if the weights are still
    /// those that it was computed with, and the tensors by their gradients; and what was largest when last measured.
    fn diagnosis(&self, pending: &PendingStep, batch: Option<&Batch>) -> Result<String, Error> {
        let mut parts = Vec::new();
        if let Some(batch) = batch {
            let model = self.model();
            let places = (0..batch.passes()).find_map(|pass| {
                let (inputs, _) = batch.sequences(pass * batch.sequences_per_pass(), batch.sequences_per_pass());
                let packing = metrics::packing(self.job, &inputs);
                let rows = metrics::look_inside(&model, &inputs, packing.as_ref(), pending.step);
                rows.into_iter().find(|row| !metrics::is_finite(row))
            });
            let places = self.ranks.gather(&format!("place/{}", pending.step), &places.map(|row| row.place))?;
            parts.push(match (0..).zip(places).find_map(|(rank, place)| Some((rank, place?))) {
                Some((rank, place)) => {
                    let whose = if self.ranks.size > 1 { format!(" of rank {rank}") } else { String::new() };
                    format!("in the forward pass{whose} the first numbers that are not finite are at `{place}`")
                }
                None => "every place of the forward pass is finite".to_owned(),
            });
        } else {
            parts.push(
                "with `training.on_non_finite = \"skip\"` the place in the forward pass would be known".to_owned(),
            );
        }
        let norms = metrics::numbers(&pending.gradient_norms);
        let named = self.parameters.named().map(|(name, _)| name);
        let broken: Vec<&str> = named.zip(&norms).filter(|(_, norm)| !norm.is_finite()).map(|(n, _)| n).collect();
        // The backward pass goes from the last tensor to the first.
        if let Some(last) = broken.last() {
            let (some, all) = (broken.len(), norms.len());
            parts.push(format!(
                "the gradients of {some} of {all} tensors are not finite, in backward order from `{last}`"
            ));
        }
        let largest = self.last_seen.iter().max_by(|a, b| a.maximum.total_cmp(&b.maximum));
        if let Some(row) = largest {
            parts.push(format!(
                "after step {} the largest activation of the probe batch was {:.3e}, at `{}`",
                row.step, row.maximum, row.place
            ));
        }
        Ok(parts.join("; "))
    }

    /// Evaluates the current weights. `false` if the run was told to stop before the end.
    fn evaluate(&mut self, wanted: Wanted) -> Result<bool, Error> {
        let weights = self.average.as_ref().map_or(&self.parameters, Average::weights);
        let model = tch::no_grad(|| weights.model(&self.job.model, self.compute));
        let at = (self.position.step, self.position.tokens);
        let should_stop = || self.ranks.stop(self.outside.should_stop());
        let (device, ranks) = (self.device, &self.ranks);
        let reader = Reader { device, batch_size: 0, ranks, should_stop: &should_stop };
        let run = || self.evaluator.run(&model, self.job, wanted, at, reader);
        // Tasks are read with masks, which not every kernel serves: the one of training is chosen for training alone.
        device::choose_attention(AttentionKernel::Auto, self.device)?;
        let evaluation = panic::catch_unwind(AssertUnwindSafe(run));
        device::choose_attention(self.job.training.attention_kernel, self.device)?;
        let evaluation = evaluation.unwrap_or_else(|panic| Err(Error::from_panic(panic)));
        let evaluation = evaluation.map_err(|error| match error {
            Error::OutOfMemory(problem) => Error::EvaluationTooLarge(problem),
            error => error,
        })?;
        self.step_begun = Instant::now();
        let Some(evaluation) = evaluation else { return Ok(false) };
        self.note_not_finite(&evaluation);
        self.outside.send(&Message::Evaluation(evaluation));
        if !self.not_finite.is_empty() && self.job.training.on_non_finite == OnNonFinite::Stop {
            return Err(self.not_measured());
        }
        Ok(true)
    }

    /// Keeps in mind which files of scores are not finite, as they were last written.
    fn note_not_finite(&mut self, evaluation: &Evaluation) {
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        evaluation.files.iter().for_each(|file| drop(self.not_finite.remove(&name(&file.path))));
        let not_finite = evaluation.unanswered.iter().filter(|file| file.not_finite > 0);
        self.not_finite.extend(not_finite.map(|file| (name(&file.path), file.clone())));
    }

    /// The error of a run whose evaluation is not finite: it has not measured what it was to measure.
    fn not_measured(&self) -> Error {
        let counts = self.not_finite.values().map(|f| format!("{} of {} rows of `{}`", f.not_finite, f.rows, f.path));
        let counts: Vec<String> = counts.collect();
        let weights = self.average.as_ref().map_or(&self.parameters, Average::weights);
        let finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) == 1;
        let mut broken = weights.named().filter(|(_, tensor)| !finite(tensor)).map(|(name, _)| name);
        let reason = match (broken.next(), broken.count()) {
            (None, _) => "all weights are finite, so numbers overflow in the forward pass".to_owned(),
            (Some(first), more) => format!(
                "the weights of {} of {} tensors are not finite, the first is `{first}`",
                more + 1,
                weights.tensors().len()
            ),
        };
        let trained = !self.job.train_shards.is_empty();
        Error::NotMeasured {
            problem: format!("the evaluation is not finite: {}; {reason}", counts.join(", ")),
            hint: if trained {
                "lower `optimizer.learning_rate`, lengthen `schedule.warmup_steps`, or clip harder with \
                 `optimizer.gradient_clip_norm`"
            } else {
                "set `training.precision = \"f32\"`; if the weights are not finite themselves, take others"
            },
        }
    }

    /// Writes a checkpoint of the current step, unless there is one.
    fn write_checkpoint(&mut self) -> Result<(), Error> {
        if self.last_checkpoint.as_ref().is_some_and(|(step, _)| *step == self.position.step) {
            return Ok(());
        }
        let step = self.position.step;
        hold_together(&self.ranks, &self.parameters, self.position)?;
        self.last_checkpoint = Some((step, checkpoint_path(step)));
        let state = self.owners.whole(&self.ranks, &format!("state/{step}"), self.optimizer.state(), self.device)?;
        if self.ranks.is_first() {
            let average = self.average.as_ref().map(Average::weights);
            let written = checkpoint::write(self.job, &self.parameters, average, &state, self.position)?;
            self.outside.send(&Message::Checkpoint(written));
        }
        self.step_begun = Instant::now();
        Ok(())
    }

    /// The closing figures; `gpu` as it was in the beginning.
    fn closing(&self, begun: Instant, gpu: Option<Gpu>) -> Result<Closing, Error> {
        let cuda = self.device.is_cuda();
        let energy_after_j = gpu.as_ref().and_then(|_| native::gpu(0)?.energy_j);
        let used = Used {
            peak_memory_bytes: device::peak_memory_bytes(),
            peak_gpu_memory_bytes: if cuda { native::cuda_peak_bytes() } else { None },
            gpu: gpu.as_ref().map(|gpu| gpu.uuid.clone()),
            gpu_energy_j: gpu.and_then(|gpu| gpu.energy_j).zip(energy_after_j).map(|(before, after)| after - before),
            cpu_time_s: native::cpu_time_s(),
        };
        let all = self.ranks.gather("closing", &used)?;
        // Ranks that share a GPU count its energy once.
        let energies: BTreeMap<_, _> = all.iter().map(|used| (&used.gpu, used.gpu_energy_j)).collect();
        Ok(Closing {
            step: self.position.step,
            tokens: self.position.tokens,
            weights_sha256: checkpoint::weights_digest(&self.parameters),
            order_sha256: self.position.order.digest(),
            skipped_steps: self.position.skipped_steps,
            wall_time_s: begun.elapsed().as_secs_f64(),
            training_time_s: self.training_time_s,
            peak_memory_bytes: all.iter().map(|used| used.peak_memory_bytes).max().unwrap_or(0),
            peak_gpu_memory_bytes: all.iter().filter_map(|used| used.peak_gpu_memory_bytes).max(),
            gpu_energy_j: energies.into_values().sum(),
            cpu_time_s: (self.ranks.size > 1).then(|| all.iter().map(|used| used.cpu_time_s).sum()),
        })
    }
}

/// What a rank took.
#[derive(Clone, Serialize, Deserialize)]
struct Used {
    peak_memory_bytes: u64,
    peak_gpu_memory_bytes: Option<u64>,
    /// UUID of its GPU.
    gpu: Option<String>,
    gpu_energy_j: Option<f64>,
    cpu_time_s: f64,
}

/// Which of loss and gradient norm is not a finite number.
fn non_finite((loss_nats, gradient_norm, _): (f64, f64, bool)) -> Option<(&'static str, f64)> {
    let numbers = [("loss", loss_nats), ("gradient norm", gradient_norm)];
    numbers.into_iter().find(|(_, value)| !value.is_finite())
}
