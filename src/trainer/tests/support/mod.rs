//! Runs the real program on small jobs: shards of a simple language, a job, and what came back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use harness_core::config::{
    Device, MetricsConfig, ModelConfig, OptimizerConfig, Precision, ScheduleConfig, TrainingConfig,
};
use harness_core::contract::{Checkpoint, Closing, Failure, Job, JobTask, Message, Started, VERSION};
use harness_core::files;
use harness_core::random::Random;
use harness_core::scores::{self, Request, StepLine};
use harness_core::shards::ShardWriter;
use tempfile::TempDir;

pub(crate) const VOCABULARY: u32 = 32;

/// A folder with shards, requests and outputs.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.shard("train.tokens", 40, 1);
        place.shard("validation.tokens", 4, 2);
        let requests = (0..6u32).flat_map(|item| {
            (0..2u32).map(move |choice| Request {
                item: u64::from(item),
                choice,
                gold: choice == 0,
                characters: 4,
                bytes: 4,
                words: 1,
                unconditional: Vec::new(),
                cluster: None,
                context: vec![0, item + 1, item + 2],
                continuation: vec![item + 3 + choice, item + 4],
            })
        });
        files::write(&place.path("requests.jsonl"), &scores::to_json_lines(requests)).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Documents of a language in which the next token mostly follows from the last two.
    pub(crate) fn shard(&self, name: &str, documents: usize, seed: u64) {
        let mut random = Random::new(seed);
        let mut writer = ShardWriter::new(VOCABULARY);
        for _ in 0..documents {
            let mut text = vec![1 + random.below(31) as u32, 1 + random.below(31) as u32];
            while text.len() < 60 {
                let follows = (text[text.len() - 1] + text[text.len() - 2]) % 31 + 1;
                text.push(if random.below(10) == 0 { 1 + random.below(31) as u32 } else { follows });
            }
            writer.push(0, &text, 100);
        }
        writer.write(&self.path(name)).unwrap();
    }

    /// A job of a second or two. Its output folder is `name`.
    pub(crate) fn job(&self, name: &str) -> Job {
        files::create_folder(&self.path(name)).unwrap();
        Job {
            version: VERSION,
            output: self.path(name),
            seed: 5,
            model: ModelConfig {
                layers: 2,
                heads: 2,
                width: 32,
                context_length: 16,
                dropout: 0.1,
                ..ModelConfig::default()
            },
            vocabulary_size: VOCABULARY,
            separator: 0,
            optimizer: OptimizerConfig { learning_rate: 3e-3, ..OptimizerConfig::default() },
            schedule: ScheduleConfig { warmup_steps: 4, ..ScheduleConfig::default() },
            training: TrainingConfig {
                steps: 30,
                batch_size: 8,
                micro_batch_size: 4,
                precision: Precision::F32,
                device: Device::Cpu,
                threads: 1,
                deterministic: true,
                checkpoint_every: 10,
                ..TrainingConfig::default()
            },
            metrics: MetricsConfig::default(),
            train_shards: vec![self.path("train.tokens")],
            validation_shards: vec![self.path("validation.tokens")],
            tasks: vec![JobTask { id: "toy".to_owned(), requests: self.path("requests.jsonl"), rolling_stride: None }],
            validation_steps: vec![0, 15, 30],
            token_loss_steps: vec![30],
            task_steps: vec![30],
            sampling: None,
            evaluation_batch_size: 0,
            checkpoint_steps: vec![10, 20, 30],
            resume_from: None,
            initial_weights: None,
        }
    }
}

/// What a run said.
pub(crate) struct Outcome {
    pub messages: Vec<Message>,
    pub code: Option<i32>,
    pub stderr: String,
}

/// A run under way.
pub(crate) struct Running {
    pub child: Child,
    stdin: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    messages: Vec<Message>,
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness-trainer"));
    command.env("OMP_WAIT_POLICY", "passive");
    command
}

/// Writes a job beside its output folder.
pub(crate) fn written(job: &Job) -> PathBuf {
    let path = job.output.with_extension("job.json");
    files::write(&path, &serde_json::to_vec(job).unwrap()).unwrap();
    path
}

pub(crate) fn start(job: &Job) -> Running {
    start_file(&written(job))
}

pub(crate) fn start_file(path: &Path) -> Running {
    let mut command = program();
    command.arg("run").arg(path);
    spawn(command)
}

/// Starts a job with so much address space at most.
pub(crate) fn start_with_memory(job: &Job, bytes: u64) -> Running {
    let path = written(job);
    let mut command = Command::new("sh");
    command.env("OMP_WAIT_POLICY", "passive");
    command.args(["-c", "ulimit -v \"$1\" && exec \"$2\" run \"$3\"", "sh", &(bytes / 1024).to_string()]);
    command.arg(env!("CARGO_BIN_EXE_harness-trainer")).arg(path);
    spawn(command)
}

pub(crate) fn spawn(mut command: Command) -> Running {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Running { child, stdin, lines, messages: Vec::new() }
}

/// The program as one of the ranks that meet at a port.
pub(crate) fn rank(port: u16, rank: usize, size: usize) -> Command {
    let mut command = program();
    command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string()).env("LOCAL_RANK", rank.to_string());
    command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
    command
}

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Ranks that train together.
pub(crate) struct Together(Vec<Running>);

impl Together {
    /// One for each job; all the same, as a rule.
    pub(crate) fn start(jobs: &[&Job]) -> Self {
        Self::start_with(jobs, |_, _| {})
    }

    /// The same with what a rank has of its own.
    pub(crate) fn start_with(jobs: &[&Job], change: impl Fn(usize, &mut Command)) -> Self {
        let port = free_port();
        let start = |(number, job): (usize, &&Job)| {
            let mut command = rank(port, number, jobs.len());
            command.arg("run").arg(written(job));
            change(number, &mut command);
            spawn(command)
        };
        Together(jobs.iter().enumerate().map(start).collect())
    }

    pub(crate) fn get(&mut self, rank: usize) -> &mut Running {
        &mut self.0[rank]
    }

    /// Waits for the end of all.
    pub(crate) fn end(self) -> Vec<Outcome> {
        self.0.into_iter().map(Running::end).collect()
    }
}

pub(crate) fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(status.unwrap().success());
}

impl Running {
    /// Reads on until a step with this number was reported.
    pub(crate) fn until_step(&mut self, step: u64) {
        for line in self.lines.by_ref() {
            let message: Message = serde_json::from_str(&line.unwrap()).unwrap();
            let reached = matches!(&message, Message::Step(line) if line.step >= step);
            self.messages.push(message);
            if reached {
                return;
            }
        }
        panic!("the run ended before step {step}");
    }

    /// Largest address space that the program has had.
    pub(crate) fn peak_address_space_bytes(&self) -> u64 {
        let status = files::read_to_string(Path::new(&format!("/proc/{}/status", self.child.id()))).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Outcome {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            self.messages.push(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")));
        }
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code();
        Outcome { messages: std::mem::take(&mut self.messages), code, stderr }
    }
}

impl Drop for Running {
    /// A test that fails leaves nothing behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn run(job: &Job) -> Outcome {
    start(job).end()
}

impl Outcome {
    pub(crate) fn finished(&self) -> &Closing {
        match self.messages.last() {
            Some(Message::Finished(closing)) => closing,
            other => panic!("expected the run to finish, got {other:?}; {}", self.stderr),
        }
    }

    pub(crate) fn stopped(&self) -> &Closing {
        match self.messages.last() {
            Some(Message::Stopped(closing)) => closing,
            other => panic!("expected the run to stop, got {other:?}; {}", self.stderr),
        }
    }

    pub(crate) fn failed(&self) -> &Failure {
        match self.messages.last() {
            Some(Message::Failed(failure)) => failure,
            other => panic!("expected the run to fail, got {other:?}; {}", self.stderr),
        }
    }

    pub(crate) fn started(&self) -> &Started {
        match self.messages.first() {
            Some(Message::Started(started)) => started,
            other => panic!("expected the run to start, got {other:?}; {}", self.stderr),
        }
    }

    pub(crate) fn steps(&self) -> Vec<&StepLine> {
        self.messages.iter().filter_map(|m| if let Message::Step(line) = m { Some(line) } else { None }).collect()
    }

    pub(crate) fn checkpoints(&self) -> Vec<&Checkpoint> {
        self.messages.iter().filter_map(|m| if let Message::Checkpoint(c) = m { Some(c) } else { None }).collect()
    }
}
