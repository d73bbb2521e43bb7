//! Short runs that measure something before a run is paid for: the same trainer, supervisor and data as a run, but no
//! record, no evaluation, and nothing left in the run folders. What was measured is told by [`super::probe`].

use harness_core::config::{Checked, Choices, EvaluationConfig, Experiment, ScheduleKind};
use harness_core::contract::{Closing, Failure, Message, Started};
use harness_core::files;
use harness_core::names::ExperimentName;
use harness_core::scores::StepLine;
use harness_corpus::{PreparedCorpus, Progress, Recipe};
use harness_record::{environment, load_config, pretty};
use harness_statistics::{mean, quantile, variance};

use super::context::RunContext;
use super::error::RunError;
use super::forecast::Rate;
use super::job::unrecorded_job;
use super::launch::{Interrupts, Start};

/// Steps of a short run that measures the rate of training.
pub const PROBE_STEPS: u64 = 8;

/// An experiment with its data, ready to be tried.
pub struct Bench<'a> {
    context: &'a RunContext<'a>,
    experiment: Checked,
    corpus: PreparedCorpus,
}

/// What a short run gave.
#[derive(Clone, Debug)]
pub struct ShortRun {
    /// What ran, with its changes.
    pub experiment: Experiment,
    /// One row for each step.
    pub steps: Vec<StepLine>,
    /// The trainer's own account.
    pub started: Option<Started>,
    /// How it closed, if it did.
    pub closing: Option<Closing>,
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
    /// Seconds from the start of the trainer to its end.
    pub wall_time_s: f64,
}

impl<'a> Bench<'a> {
    /// Makes the corpus of `name` ready and looks at the trainer.
    pub fn open(
        context: &'a RunContext<'a>,
        name: &ExperimentName,
        progress: &mut dyn Progress,
    ) -> Result<Self, RunError> {
        let experiment = load_config(context.project, name)?.experiment;
        context.about()?;
        let recipe = Recipe::load(context.project, &experiment.corpus)?;
        let corpus = context.corpus(&recipe, progress)?;
        Ok(Bench { context, experiment, corpus })
    }

    /// An experiment whose corpus is ready.
    pub(super) fn of(context: &'a RunContext<'a>, experiment: Checked, corpus: PreparedCorpus) -> Self {
        Bench { context, experiment, corpus }
    }

    /// The experiment as it is written.
    pub fn experiment(&self) -> &Checked {
        &self.experiment
    }

    /// The commit that is checked out.
    pub(super) fn commit(&self) -> Result<String, RunError> {
        Ok(self.context.git.state()?.commit)
    }

    /// Runs `steps` optimizer steps of the experiment with `change`d choices, from fresh weights. The learning rate is
    /// constant and the stages of batch and sequence are left out unless the change says otherwise; nothing is
    /// evaluated. After a wish to stop there is no closing.
    pub fn run(
        &self,
        steps: u64,
        change: impl FnOnce(&mut Choices),
        interrupts: &Interrupts,
    ) -> Result<ShortRun, RunError> {
        let experiment = self
            .experiment
            .shortened(steps, |choices| {
                choices.training.batch_size_stages.clear();
                choices.training.sequence_length_stages.clear();
                choices.training.checkpoint_every = 0;
                choices.evaluation = EvaluationConfig::default();
                choices.schedule.kind = ScheduleKind::Constant;
                (choices.schedule.warmup_steps, choices.schedule.cooldown_steps) = (0, 0);
                change(choices);
            })
            .map_err(RunError::ShortRun)?;
        let project = self.context.project;
        let name = format!("probe-{}-{:08x}", environment::now_compact(), environment::entropy());
        let folder = project.store().join("drafts").join(name);
        files::create_folder(&folder)?;
        let mut job = unrecorded_job(project, &folder, &experiment, &self.corpus, &[]);
        (job.validation_steps, job.task_steps) = (Vec::new(), Vec::new());
        let path = folder.join("job.json");
        files::write(&path, pretty(&job).as_bytes())?;
        let start = Start {
            root: project.home(),
            job: path,
            folder: &folder,
            ranks: self.context.launcher.ranks(&experiment.training)?,
            threads: experiment.training.threads,
            deterministic: experiment.training.deterministic,
            follows: true,
        };
        let (mut rows, mut started, mut closing) = (Vec::new(), None, None);
        let ended = self.context.launcher.launch(&start, interrupts, &mut |message| {
            match message {
                Message::Started(about) => started = Some((**about).clone()),
                Message::Step(line) => rows.push(line.clone()),
                Message::Finished(end) => closing = Some(end.clone()),
                _ => {}
            }
            Ok(())
        });
        files::remove_folder(&folder)?;
        let ended = ended?;
        let (failure, wall_time_s) = (ended.failure, ended.wall_time_s);
        Ok(ShortRun { experiment, steps: rows, started, closing, failure, wall_time_s })
    }
}

impl ShortRun {
    /// The second half of the steps, when caches are warm.
    fn late_steps(&self) -> &[StepLine] {
        &self.steps[self.steps.len() / 2..]
    }

    /// Training tokens per second: the median over the second half of the steps.
    pub fn tokens_per_s(&self) -> Option<f64> {
        let rates: Vec<f64> = self.late_steps().iter().map(|line| line.tokens_per_s).collect();
        (!rates.is_empty()).then(|| quantile(&rates, 0.5))
    }

    /// Largest memory in bytes: of the GPU where there is one, else of the process.
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        self.closing.as_ref().map(|closing| closing.peak_gpu_memory_bytes.unwrap_or(closing.peak_memory_bytes))
    }

    /// Rate and memory of a run that came to its end.
    pub fn measured(&self) -> Result<(f64, u64), RunError> {
        match (self.tokens_per_s(), self.peak_memory_bytes(), &self.failure) {
            (Some(rate), Some(memory), None) => Ok((rate, memory)),
            (_, _, Some(failure)) => Err(RunError::NothingMeasured {
                problem: failure.message.clone(),
                hint: failure.hint.clone().unwrap_or_else(|| "see the message above".to_owned()),
            }),
            _ => Err(RunError::Interrupted),
        }
    }

    /// What it says of the pace of a plan.
    pub fn rate(&self) -> Result<Rate, RunError> {
        let (tokens_per_s, peak_memory_bytes) = self.measured()?;
        let device = self.started.as_ref().map_or_else(|| "cpu".to_owned(), |started| started.device.clone());
        let powers: Vec<f64> = self.late_steps().iter().filter_map(|line| line.power_w).collect();
        let gpu_power_w = (!powers.is_empty()).then(|| mean(&powers));
        let gpu = self.started.as_ref().and_then(|started| started.about.gpus.first());
        let gpu_memory_bytes = gpu.map(|gpu| gpu.memory_bytes);
        let gpus = self.started.as_ref().map_or(0, Started::gpus);
        Ok(Rate::Probe { tokens_per_s, device, gpus, peak_memory_bytes, gpu_power_w, gpu_memory_bytes })
    }

    /// The loss it came to: the mean over the last fifth of the steps, and the standard error of that mean as if
    /// batches were independent, in nats. Nothing if it diverged or was cut short.
    pub fn final_loss_nats(&self) -> Option<(f64, f64)> {
        self.closing.as_ref()?;
        let last = &self.steps[self.steps.len() - self.steps.len().div_ceil(5)..];
        let losses: Vec<f64> = last.iter().map(|line| line.loss_nats).collect();
        let error = if losses.len() < 2 { 0.0 } else { (variance(&losses) / losses.len() as f64).sqrt() };
        (!losses.is_empty()).then(|| (mean(&losses), error))
    }
}
