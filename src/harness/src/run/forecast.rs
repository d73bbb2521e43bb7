//! What a run will take, before anything is spent: memory, time, GPU hours, energy, disk, and how the number of tokens
//! stands to the number of parameters and to the corpus. Arithmetic on the config; times come from a measured rate, or
//! from a GPU's data sheet and an assumed share of it.

use harness_core::config::{Choices, Device, Experiment, Precision};
use harness_core::memory::Memory;
use harness_core::names::Project;
use harness_core::scores::{Request, read_requests};
use harness_corpus::tasks::{self, TaskRecipe};
use harness_corpus::{PreparedCorpus, Recipe, Silent, Store};
use serde::Serialize;

use super::error::RunError;
use super::processors::Gpu;
use super::retention::DiskNeed;

/// Tokens per parameter at which a given number of FLOPs gives the lowest loss (Hoffmann et al. 2022, Training
/// Compute-Optimal Large Language Models, table 3: 20.2 tokens per parameter from 400 million parameters on).
pub const OPTIMAL_TOKENS_PER_PARAMETER: f64 = 20.0;
/// Passes over a text after which repeating it is worth less and less (Muennighoff et al. 2023, Scaling
/// Data-Constrained Language Models).
pub const WORTHWHILE_EPOCHS: f64 = 4.0;
/// Share of a GPU's promised rate that training small models reaches, if nothing was measured: PaLM reports 46 %
/// (Chowdhery et al. 2022, table 3), small widths and deterministic kernels lie below.
pub const ASSUMED_UTILIZATION: f64 = 0.35;
/// Kernels that the forward and backward pass of a block start: two norms, projections, attention, feed-forward, residual
/// sums and casts, and about twice as many on the way back. For the rest of the model as many again as one block.
const KERNELS_PER_BLOCK: f64 = 60.0;
/// Seconds from one kernel to the next where the GPU waits for them: assumed, a few microseconds is usual for libtorch on
/// one thread.
pub const LAUNCH_S: f64 = 5e-6;

/// How fast training goes, and how that is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Rate {
    /// A short run on this machine.
    Probe {
        /// Training tokens per second, median over steps.
        tokens_per_s: f64,
        /// `cpu` or `cuda:0`.
        device: String,
        /// GPUs that computed.
        gpus: usize,
        /// Largest memory of the process, in bytes; that of the GPU where there is one.
        peak_memory_bytes: u64,
        /// What the GPU drew in these steps, in watts, where there is one that tells.
        gpu_power_w: Option<f64>,
        /// Memory of that GPU, in bytes.
        gpu_memory_bytes: Option<u64>,
    },
    /// A data sheet.
    DataSheet {
        /// The GPU.
        gpu: Gpu,
        /// The assumed share of its promised rate.
        utilization: f64,
    },
}

impl Rate {
    /// Training tokens per second of `experiment`.
    pub fn tokens_per_s(&self, experiment: &Choices, vocabulary_size: u32) -> f64 {
        match self {
            Rate::Probe { tokens_per_s, .. } => *tokens_per_s,
            Rate::DataSheet { gpu, utilization } => {
                let flops_per_token = experiment.model.training_flops_per_token(vocabulary_size);
                let computed = gpu.peak_flops_per_s(experiment.training.precision) * utilization / flops_per_token;
                computed.min(launched_tokens_per_s(experiment))
            }
        }
    }

    /// Whether starting kernels, not computing, sets the rate: so it is with small models on large GPUs.
    fn is_launch_bound(&self, experiment: &Choices, vocabulary_size: u32) -> bool {
        let is_sheet = matches!(self, Rate::DataSheet { .. });
        is_sheet && self.tokens_per_s(experiment, vocabulary_size) >= launched_tokens_per_s(experiment)
    }
}

/// The most tokens per second at which one thread can start the kernels of their passes.
fn launched_tokens_per_s(experiment: &Choices) -> f64 {
    let kernels = KERNELS_PER_BLOCK * f64::from(experiment.model.layers + 1);
    let tokens = f64::from(experiment.training.sequences_per_pass()) * f64::from(experiment.model.context_length);
    tokens / (kernels * LAUNCH_S)
}

/// Token ids of GPT-2's tokenizer, for recipes that take it over.
const GPT2_VOCABULARY_SIZE: u32 = 50_257;

/// What is known of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// Token ids, or how many the recipe says there may be.
    pub vocabulary_size: u32,
    /// Training tokens of one epoch, if the corpus is prepared.
    pub tokens: Option<u64>,
    /// Tokens of held-out text, if the corpus is prepared.
    pub validation_tokens: Option<u64>,
    /// Tokens of the requests of all tasks, if they were looked at: see [`Corpus::with_tasks`].
    pub task_tokens: Option<u64>,
}

impl Corpus {
    /// Of the corpus `name`, or what its recipe says before it is prepared.
    pub fn of(project: &Project, name: &str) -> Result<Self, RunError> {
        let recipe = Recipe::load(project, name)?;
        Ok(match PreparedCorpus::open(&Store::of(project), &recipe) {
            Ok(corpus) => {
                let manifest = corpus.manifest();
                Corpus {
                    vocabulary_size: manifest.tokenizer.vocabulary_size,
                    tokens: Some(manifest.train.tokens),
                    validation_tokens: Some(manifest.validation.text_tokens),
                    task_tokens: None,
                }
            }
            Err(_) => Corpus {
                vocabulary_size: recipe.tokenizer.vocabulary_size.unwrap_or(GPT2_VOCABULARY_SIZE),
                tokens: None,
                validation_tokens: None,
                task_tokens: None,
            },
        })
    }

    /// The same with the tokens of the tasks of `experiment`, if the corpus is prepared and the data of the tasks are in
    /// the store.
    pub fn with_tasks(mut self, project: &Project, experiment: &Choices) -> Self {
        self.task_tokens = task_tokens(project, experiment);
        self
    }
}

fn task_tokens(project: &Project, experiment: &Choices) -> Option<u64> {
    let store = Store::of(project);
    let recipe = Recipe::load(project, &experiment.corpus).ok()?;
    let tokenizer = PreparedCorpus::open(&store, &recipe).ok()?.tokenizer().ok()?;
    let mut tokens = 0;
    for task in &experiment.evaluation.tasks {
        let recipe = TaskRecipe::load(project, task).ok()?;
        let limit = experiment.evaluation.items_per_task;
        let prepared = tasks::prepare(&recipe, &tokenizer, limit, &store, &mut Silent).ok()?;
        for task in prepared.tasks() {
            let requests = read_requests(&prepared.requests_path(task)).ok()?;
            let of = |r: &Request| r.context.len() + r.continuation.len() + r.unconditional.len();
            tokens += requests.iter().map(of).sum::<usize>() as u64;
        }
    }
    Some(tokens)
}

/// The forecast of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Trainable parameters, all and without embeddings.
    pub parameters: u64,
    /// Without what is looked up.
    pub parameters_without_embeddings: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Training tokens.
    pub tokens: u64,
    /// Training FLOPs.
    pub training_flops: f64,
    /// FLOPs of the validation losses; null while the corpus is not prepared.
    pub validation_flops: Option<f64>,
    /// FLOPs of scoring the tasks; null while the corpus is not prepared or the data of a task are not in the store.
    pub task_flops: Option<f64>,
    /// Training tokens for each parameter.
    pub tokens_per_parameter: f64,
    /// [`OPTIMAL_TOKENS_PER_PARAMETER`].
    pub optimal_tokens_per_parameter: f64,
    /// Parameters and tokens at which these FLOPs would give the lowest loss, by that rule.
    pub optimal_parameters: f64,
    /// Tokens that go with them.
    pub optimal_tokens: f64,
    /// Passes over the training text; null while the corpus is not prepared.
    pub epochs: Option<f64>,
    /// Predicted memory of a step.
    pub memory: Memory,
    /// The same, summed.
    pub memory_bytes: u64,
    /// Checkpoints that are there at most at a time, by `training.keep`.
    pub checkpoints: u64,
    /// Size of one.
    pub checkpoint_bytes: u64,
    /// Disk for all of them.
    pub disk_bytes: u64,
    /// How fast, if that is known.
    pub rate: Option<Rate>,
    /// Training tokens per second at that rate.
    pub tokens_per_s: Option<f64>,
    /// Whether that is set by starting kernels, because the model is small for the GPU.
    pub launch_bound: bool,
    /// Seconds of training and of the evaluations whose FLOPs are known.
    pub time_s: Option<f64>,
    /// Of these, seconds of evaluations.
    pub evaluation_time_s: Option<f64>,
    /// GPU hours, where there is a GPU.
    pub gpu_hours: Option<f64>,
    /// Of the GPU: at the power that was measured, or at the board's full power, which is the most it can be.
    pub energy_kwh: Option<f64>,
    /// Whether the memory is enough, where it is known.
    pub fits: Option<bool>,
}

impl Forecast {
    /// The forecast of `experiment` on `corpus`; without a `rate` it says nothing of time.
    pub fn of(experiment: &Experiment, corpus: Corpus, rate: Option<Rate>) -> Self {
        let (model, training) = (&experiment.model, &experiment.training);
        let vocabulary = corpus.vocabulary_size;
        let (parameters, parameters_without_embeddings) = model.parameters(vocabulary);
        let flops_per_token = model.training_flops_per_token(vocabulary);
        let tokens = training.tokens(training.steps, model.context_length);
        let training_flops = flops_per_token * tokens as f64;
        // A forward pass is a third of forward and backward.
        let validations = experiment.evaluation.validation_steps(training.steps).len() as f64;
        let validation_flops = corpus.validation_tokens.map(|each| validations * each as f64 * flops_per_token / 3.0);
        let scorings = experiment.evaluation.task_steps(training.steps).len() as f64;
        let task_flops = corpus.task_tokens.map(|each| scorings * each as f64 * flops_per_token / 3.0);
        // C = 6 N D with D = 20 N (Hoffmann et al. 2022, equation 4 and table 3).
        let optimal_parameters = (training_flops / (6.0 * OPTIMAL_TOKENS_PER_PARAMETER)).sqrt();
        let disk = DiskNeed::of(experiment, parameters);
        let tokens_per_s = rate.as_ref().map(|rate| rate.tokens_per_s(experiment, vocabulary));
        let seconds = |flops: f64| tokens_per_s.map(|rate| flops / (rate * flops_per_token));
        let evaluation_flops = validation_flops.unwrap_or(0.0) + task_flops.unwrap_or(0.0);
        let time_s = seconds(training_flops + evaluation_flops);
        // Power and memory of the GPU, where the rate is that of one.
        let (gpus, power_w, gpu_memory_bytes) = match &rate {
            Some(Rate::DataSheet { gpu, .. }) => (1, Some(gpu.power_w), Some(gpu.memory_bytes)),
            Some(Rate::Probe { gpus, gpu_power_w, gpu_memory_bytes, .. }) => (*gpus, *gpu_power_w, *gpu_memory_bytes),
            None => (usize::from(training.device == Device::Cuda), None, None),
        };
        let on_gpu = gpus > 0;
        let memory = Memory::of(model, &experiment.optimizer, training, vocabulary, on_gpu);
        let gpu_hours = time_s.filter(|_| on_gpu).map(|time_s| gpus as f64 * time_s / 3600.0);
        Forecast {
            parameters,
            parameters_without_embeddings,
            steps: training.steps,
            tokens,
            training_flops,
            validation_flops,
            task_flops,
            tokens_per_parameter: tokens as f64 / parameters as f64,
            optimal_tokens_per_parameter: OPTIMAL_TOKENS_PER_PARAMETER,
            optimal_parameters,
            optimal_tokens: optimal_parameters * OPTIMAL_TOKENS_PER_PARAMETER,
            epochs: corpus.tokens.map(|corpus| tokens as f64 / corpus as f64),
            memory,
            memory_bytes: memory.total_bytes(),
            checkpoints: disk.checkpoints,
            checkpoint_bytes: disk.checkpoint_bytes,
            disk_bytes: disk.bytes(),
            launch_bound: rate.as_ref().is_some_and(|rate| rate.is_launch_bound(experiment, vocabulary)),
            rate,
            tokens_per_s,
            time_s,
            evaluation_time_s: seconds(evaluation_flops),
            gpu_hours,
            energy_kwh: power_w.zip(gpu_hours).map(|(power_w, hours)| power_w * hours / 1000.0),
            fits: gpu_memory_bytes.map(|bytes| memory.total_bytes() <= bytes),
        }
    }

    /// What should be looked at before the run is paid for: a sentence each.
    pub fn remarks(&self, precision: Precision) -> Vec<String> {
        let mut remarks = Vec::new();
        let ratio = self.tokens_per_parameter / OPTIMAL_TOKENS_PER_PARAMETER;
        let optimum = format!(
            "the same FLOPs are best spent on {} parameters and {} tokens",
            rounded(self.optimal_parameters),
            rounded(self.optimal_tokens)
        );
        if ratio < 0.5 {
            remarks.push(format!("few tokens for so many parameters: {optimum} (Hoffmann et al. 2022)"));
        } else if ratio > 4.0 {
            remarks.push(format!(
                "many tokens for so few parameters: {optimum} (Hoffmann et al. 2022), unless a small model is the aim"
            ));
        }
        if let Some(epochs) = self.epochs.filter(|&epochs| epochs > WORTHWHILE_EPOCHS) {
            remarks.push(format!(
                "{epochs:.1} passes over the text: beyond about {WORTHWHILE_EPOCHS}, repeated tokens are worth less and \
                 less (Muennighoff et al. 2023)"
            ));
        }
        if self.fits == Some(false) {
            remarks.push("this GPU has too little memory: lower `training.micro_batch_size`".to_owned());
        }
        if let Some(Rate::DataSheet { gpu, .. }) = &self.rate
            && precision == Precision::Bf16
            && gpu.bf16_flops_per_s == 0.0
        {
            remarks.push(format!("{} has no bfloat16 units; the time is that of float32", gpu.name));
        }
        remarks
    }
}

/// The most sequences of a pass whose training fits into so many bytes by the prediction, on a CPU. What is left free is
/// for what the prediction leaves out: see [`Memory`].
pub fn largest_pass(experiment: &Experiment, vocabulary_size: u32, memory_bytes: u64) -> Option<u32> {
    const LEFT_OUT_SHARE: f64 = 0.31;
    const LIBTORCH_BYTES: f64 = 134.0 * (1 << 20) as f64;
    let fits = |sequences: u32| {
        let mut training = experiment.training.clone();
        training.micro_batch_size = sequences;
        let memory = Memory::of(&experiment.model, &experiment.optimizer, &training, vocabulary_size, false);
        memory.total_bytes() as f64 * (1.0 + LEFT_OUT_SHARE) + LIBTORCH_BYTES <= memory_bytes as f64
    };
    let training = &experiment.training;
    (1..=training.sequences_per_pass()).rev().find(|&n| training.can_have_passes_of(n) && fits(n))
}

/// A count with three digits and a word for its size.
pub fn rounded(count: f64) -> String {
    let (factor, unit) = match count {
        c if c >= 1e12 => (1e12, " T"),
        c if c >= 1e9 => (1e9, " G"),
        c if c >= 1e6 => (1e6, " M"),
        c if c >= 1e3 => (1e3, " k"),
        _ => (1.0, ""),
    };
    let value = count / factor;
    let decimals = if value >= 100.0 || unit.is_empty() { 0 } else { 1 };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use harness_core::config::{ModelConfig, Table, TrainingConfig, load, parse_resolved};
    use harness_core::names::ExperimentName;

    use super::*;

    /// GPT-2 small on 2.5 G tokens, the compute-optimal number for its size.
    fn gpt2() -> Experiment {
        parse_resolved(
            "corpus = \"web\"\n[model]\nlayers = 12\nheads = 12\nwidth = 768\ncontext_length = 1024\n\
             [training]\nsteps = 5000\nbatch_size = 480\nmicro_batch_size = 16\nprecision = \"bf16\"\ncheckpoint_every = 1000\n\
             [evaluation]\ntasks = [\"lambada\"]\n",
        )
        .unwrap()
    }

    /// What the guide says of `scale = "gpu-1h"`.
    #[test]
    fn the_preset_of_an_hour_fits_and_is_as_long_as_the_guide_says() {
        let text = "corpus = \"web\"\nscale = \"gpu-1h\"\n";
        let name = "hour".parse().unwrap();
        let text_of = |_: &ExperimentName| Ok(Some(text.to_owned()));
        let config = load(&name, &[], &text_of, &Table::new());
        let config = config.unwrap().experiment;
        for (gpu, steps, per_parameter) in
            [("h200", 14_821, 19.7), ("h100-sxm", 14_821, 19.7), ("a100-80gb", 4_673, 6.2), ("rtx-4090", 2_474, 3.3)]
        {
            let rate = Rate::DataSheet { gpu: *Gpu::find(gpu).unwrap(), utilization: ASSUMED_UTILIZATION };
            let experiment = config.resolved(16_384, Some(rate.tokens_per_s(&config, 16_384))).unwrap();
            let corpus = Corpus { vocabulary_size: 16_384, tokens: None, validation_tokens: None, task_tokens: None };
            let forecast = Forecast::of(&experiment, corpus, Some(rate));
            assert_eq!(experiment.training.steps, steps, "{gpu}");
            let found = forecast.tokens as f64 / forecast.parameters as f64;
            assert!((found - per_parameter).abs() < 0.1, "{gpu}: {found}");
            assert_eq!((forecast.memory_bytes >> 20, forecast.fits), (5800, Some(true)), "{gpu}");
        }
    }

    #[test]
    fn a_forecast_is_the_arithmetic_of_its_sources() {
        let corpus = Corpus {
            vocabulary_size: 50_257,
            tokens: Some(500_000_000),
            validation_tokens: Some(1_000_000),
            task_tokens: Some(40_000),
        };
        let gpu = *Gpu::find("h100-sxm").unwrap();
        let forecast = Forecast::of(&gpt2(), corpus, Some(Rate::DataSheet { gpu, utilization: 0.4 }));
        assert_eq!((forecast.tokens, forecast.parameters), (5000 * 480 * 1024, 124_439_808));
        assert!((forecast.epochs.unwrap() - 4.9152).abs() < 1e-9);
        let flops = ModelConfig { ..gpt2().model.clone() }.training_flops_per_token(50_257);
        assert!((forecast.training_flops - flops * 2_457_600_000.0).abs() < 1.0);
        assert!((forecast.tokens_per_s.unwrap() - 989.4e12 * 0.4 / flops).abs() < 1e-3);
        // Training, and a third of it for each token of each validation and scoring.
        let evaluation = forecast.validation_flops.unwrap() + forecast.task_flops.unwrap();
        let all = forecast.training_flops + evaluation;
        assert!((forecast.time_s.unwrap() - all / (989.4e12 * 0.4)).abs() < 1e-6);
        assert!((forecast.evaluation_time_s.unwrap() - evaluation / (989.4e12 * 0.4)).abs() < 1e-6);
        assert!((forecast.task_flops.unwrap() - 40_000.0 * flops / 3.0).abs() < 1.0, "scored at the end");
        assert!((forecast.energy_kwh.unwrap() - 0.7 * forecast.gpu_hours.unwrap()).abs() < 1e-12);
        assert_eq!((forecast.checkpoints, forecast.checkpoint_bytes), (5, 12 * 124_439_808));
        // C = 6 N D and D = 20 N.
        let (n, d) = (forecast.optimal_parameters, forecast.optimal_tokens);
        assert!((6.0 * n * d / forecast.training_flops - 1.0).abs() < 1e-9 && (d / n - 20.0).abs() < 1e-9);
        assert_eq!(forecast.fits, Some(true));
        let remarks = forecast.remarks(Precision::Bf16);
        assert!(remarks.len() == 1 && remarks[0].starts_with("4.9 passes"), "{remarks:?}");
    }

    #[test]
    fn a_probe_on_a_gpu_says_what_its_energy_and_memory_are() {
        let corpus = Corpus { vocabulary_size: 50_257, tokens: None, validation_tokens: None, task_tokens: None };
        let rate = |gpu_memory_bytes| Rate::Probe {
            tokens_per_s: 400_000.0,
            device: "cuda:0".to_owned(),
            gpus: 2,
            peak_memory_bytes: 20 << 30,
            gpu_power_w: Some(500.0),
            gpu_memory_bytes: Some(gpu_memory_bytes),
        };
        let forecast = Forecast::of(&gpt2(), corpus, Some(rate(80 << 30)));
        let hours = 2.0 * 5000.0 * 480.0 * 1024.0 / 400_000.0 / 3600.0;
        assert!((forecast.gpu_hours.unwrap() - hours).abs() < 1e-9);
        assert!((forecast.energy_kwh.unwrap() - 0.5 * hours).abs() < 1e-9);
        assert_eq!(forecast.fits, Some(true));
        let small = Forecast::of(&gpt2(), corpus, Some(rate(4 << 30)));
        assert!(small.remarks(Precision::Bf16).iter().any(|remark| remark.contains("too little memory")), "{small:?}");
    }

    #[test]
    fn the_largest_pass_is_a_divisor_that_fits_and_the_next_does_not() {
        let experiment = gpt2();
        let need = |sequences: u32| {
            let training = TrainingConfig { micro_batch_size: sequences, ..experiment.training.clone() };
            Memory::of(&experiment.model, &experiment.optimizer, &training, 50_257, false).total_bytes()
        };
        assert_eq!(largest_pass(&experiment, 50_257, 1 << 40), Some(16), "never more than it was");
        let room = (need(8) as f64 * 1.31) as u64 + (135 << 20);
        assert_eq!(largest_pass(&experiment, 50_257, room), Some(8));
        assert_eq!(largest_pass(&experiment, 50_257, 1 << 30), None, "the weights alone need more");
    }

    #[test]
    fn a_small_model_on_a_large_gpu_is_as_fast_as_its_kernels_start() {
        let text = "corpus = \"c\"\n[model]\nlayers = 2\nheads = 2\nwidth = 64\ncontext_length = 64\n\
                    [training]\nsteps = 100\nbatch_size = 8\nprecision = \"bf16\"\n";
        let small = parse_resolved(text).unwrap();
        let corpus = Corpus { vocabulary_size: 512, tokens: None, validation_tokens: None, task_tokens: None };
        let rate = |name: &str| Some(Rate::DataSheet { gpu: *Gpu::find(name).unwrap(), utilization: 0.4 });
        let forecast = Forecast::of(&small, corpus, rate("h100-sxm"));
        // 512 tokens a pass, 3 x 60 kernels of 5 µs.
        assert!((forecast.tokens_per_s.unwrap() - 512.0 / 900e-6).abs() < 1.0, "{forecast:?}");
        assert!(forecast.launch_bound);
        assert!(!Forecast::of(&gpt2(), corpus, rate("h100-sxm")).launch_bound);
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let corpus = Corpus { vocabulary_size: 50_257, tokens: None, validation_tokens: None, task_tokens: None };
        let forecast = Forecast::of(&gpt2(), corpus, None);
        assert_eq!((forecast.epochs, forecast.time_s, forecast.gpu_hours, forecast.fits), (None, None, None, None));
        let t4 = Rate::DataSheet { gpu: *Gpu::find("t4").unwrap(), utilization: 0.4 };
        let forecast = Forecast::of(&gpt2(), corpus, Some(t4));
        assert!(forecast.remarks(Precision::Bf16).iter().any(|remark| remark.contains("no bfloat16 units")));
    }
}
