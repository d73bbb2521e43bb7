//! In what two experiments, or two runs, differ: config, code, data, machine and results.

use std::collections::BTreeMap;

use harness_analyse::{Asked, CompareError, Comparison, RunName, Side, compare};
use harness_core::config::flat;
use harness_core::names::{ExperimentName, Project};
use harness_record::git::{Git, Way};
use harness_record::{SealedRun, load_config};
use serde::Serialize;

use crate::StudyError;

/// Version of the JSON form.
pub const FORMAT: u32 = 1;
/// What the trainer is built from.
const TRAINER: [&str; 3] = ["src/trainer", "src/core", "Cargo.lock"];

/// What two sides differ in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// [`FORMAT`]
    pub format: u32,
    /// The first and the second side.
    pub sides: [DiffSide; 2],
    /// Keys of the resolved configs.
    pub config: Vec<Differing>,
    /// The code of their latest runs; none unless both have one.
    pub code: Option<Code>,
    /// Digests of their data: corpus, tokenizer, shards, requests of tasks.
    pub data: Vec<Differing>,
    /// Machine, libraries and programs.
    pub environment: Vec<Differing>,
    /// The results, as `harness compare` finds them; none unless both have a run that counts and share a metric.
    pub results: Option<Comparison>,
    /// What could not be compared.
    pub notes: Vec<String>,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiffSide {
    /// As it was asked for.
    pub name: String,
    /// The experiment.
    pub experiment: ExperimentName,
    /// Its runs in the order of their seeds. The latest is what config, code, data and machine are of; without runs the
    /// config is that of the working tree.
    pub runs: Vec<RunName>,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// Of what.
    pub key: String,
    /// On the first side; none where it has no such thing.
    pub first: Option<String>,
    /// On the second.
    pub second: Option<String>,
}

/// The code of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Code {
    /// Their commits.
    pub commits: [String; 2],
    /// Digests of the sources that their trainers were built from.
    pub trainer_built_from_sha256: [String; 2],
    /// Of the folders that the trainer is built from: files that differ and commits on the way. None where a commit is not here.
    pub trainer: Option<Way>,
}

/// Holds two experiments or runs side by side.
pub fn diff(project: &Project, git: &Git, first: &str, second: &str) -> Result<Diff, StudyError> {
    let opened = [open(project, first)?, open(project, second)?];
    let [one, two] = &opened;
    let mut notes: Vec<String> = Vec::new();
    let mut diff = Diff {
        format: FORMAT,
        sides: [one.summary(), two.summary()],
        config: differing(one.config(project)?, two.config(project)?),
        code: None,
        data: Vec::new(),
        environment: Vec::new(),
        results: None,
        notes: Vec::new(),
    };
    let (Some(of_one), Some(of_two)) = (&one.side, &two.side) else {
        for side in opened.iter().filter(|side| side.side.is_none()) {
            notes.push(format!("`{}` has no run that counts: its config is that of the working tree", side.experiment));
        }
        return Ok(Diff { notes, ..diff });
    };
    let latest = |side: &Side| side.runs[side.runs.len() - 1].run.clone();
    let runs = [latest(of_one), latest(of_two)];
    let commits = runs.each_ref().map(|run| run.open.code.commit.clone());
    let trainer = match git.way(&commits[0], &commits[1], &TRAINER) {
        Ok(way) => Some(way),
        Err(error) => {
            notes.push(error.to_string().replace("\nhint: ", "; "));
            None
        }
    };
    for run in runs.iter().filter(|run| run.open.code.dirty) {
        notes.push(format!("run {} trained code that differs from its commit", run.open.run));
    }
    let trainer_built_from_sha256 = runs.each_ref().map(|run| run.open.binaries.trainer_built_from_sha256.clone());
    diff.code = Some(Code { commits, trainer_built_from_sha256, trainer });
    diff.data = differing(data(&runs[0]), data(&runs[1]));
    diff.environment = differing(environment(&runs[0]), environment(&runs[1]));
    match compare(of_one, of_two, &Asked::default()) {
        Ok(comparison) => diff.results = Some(comparison),
        Err(error @ CompareError::NothingShared { .. }) => {
            notes.push(error.to_string().lines().next().unwrap_or_default().to_owned());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Diff { notes, ..diff })
}

/// A side before it is compared.
struct Opened {
    name: String,
    experiment: ExperimentName,
    side: Option<Side>,
}

/// An experiment without runs has its config alone.
fn open(project: &Project, name: &str) -> Result<Opened, StudyError> {
    let name = name.trim_end_matches('/');
    match Side::open(project, name) {
        Ok(side) => {
            let experiment = side.runs[0].run.open.experiment.clone();
            Ok(Opened { name: side.name.clone(), experiment, side: Some(side) })
        }
        Err(CompareError::NoRun(experiment)) => Ok(Opened { name: experiment.to_string(), experiment, side: None }),
        Err(error) => Err(error.into()),
    }
}

impl Opened {
    fn summary(&self) -> DiffSide {
        let runs = self.side.as_ref().map_or(Vec::new(), Side::by_seed);
        DiffSide {
            name: self.name.clone(),
            experiment: self.experiment.clone(),
            runs: runs.iter().map(|run| RunName::of(&run.run)).collect(),
        }
    }

    fn config(&self, project: &Project) -> Result<BTreeMap<String, String>, StudyError> {
        let latest = self.side.as_ref().map(|side| &side.runs[side.runs.len() - 1].run);
        Ok(match latest {
            Some(run) => flat(&run.experiment).into_iter().collect(),
            None => flat(&load_config(project, &self.experiment)?.experiment).into_iter().collect(),
        })
    }
}

fn differing(first: BTreeMap<String, String>, mut second: BTreeMap<String, String>) -> Vec<Differing> {
    let mut all: Vec<Differing> = first
        .into_iter()
        .map(|(key, value)| Differing { second: second.remove(&key), first: Some(value), key })
        .collect();
    all.extend(second.into_iter().map(|(key, value)| Differing { key, first: None, second: Some(value) }));
    all.retain(|entry| entry.first != entry.second);
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

fn data(run: &SealedRun) -> BTreeMap<String, String> {
    let data = &run.open.data;
    let mut entries = BTreeMap::from([
        ("corpus".to_owned(), data.corpus.clone()),
        ("corpus manifest".to_owned(), data.root.to_string()),
        ("tokenizer".to_owned(), data.tokenizer_sha256.to_string()),
        ("vocabulary size".to_owned(), data.vocabulary_size.to_string()),
        ("validation bytes".to_owned(), data.validation_bytes.to_string()),
    ]);
    for split in ["train", "validation"] {
        let shards = data.shards.iter().filter(|shard| shard.split == split);
        let digests: Vec<String> = shards.map(|shard| shard.sha256.to_string()).collect();
        entries.insert(format!("{split} shards"), digests.join(" "));
    }
    entries.extend(run.open.tasks.iter().map(|task| (format!("task {}", task.id), task.requests_sha256.to_string())));
    entries
}

fn environment(run: &SealedRun) -> BTreeMap<String, String> {
    let (host, binaries) = (&run.open.host, &run.open.binaries);
    let mut entries = BTreeMap::from([
        ("system".to_owned(), host.os.clone()),
        ("kernel".to_owned(), host.kernel.clone()),
        ("C library".to_owned(), host.libc.clone()),
        ("processor".to_owned(), host.cpu.clone()),
        ("cores".to_owned(), host.cores.to_string()),
        ("memory bytes".to_owned(), host.memory_bytes.to_string()),
        ("machine".to_owned(), host.hostname_sha256.to_string()),
        ("harness".to_owned(), format!("{} {}", binaries.harness_version, binaries.built_from_sha256)),
        ("compiler".to_owned(), binaries.rustc.clone()),
        ("profile".to_owned(), binaries.profile.clone()),
    ]);
    if let Some(lock) = binaries.cargo_lock_sha256 {
        entries.insert("Cargo.lock".to_owned(), lock.to_string());
    }
    let Some(started) = &run.record.started else { return entries };
    let (about, determinism) = (&started.about, &started.determinism);
    let gpus: Vec<&str> = about.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
    let optional = [("CUDA", about.cuda.clone()), ("cuDNN", about.cudnn.clone())];
    entries.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    entries.extend([
        ("trainer".to_owned(), format!("{} {}", about.trainer_version, about.build_profile)),
        ("libtorch".to_owned(), about.libtorch.clone()),
        ("device".to_owned(), started.device.clone()),
        ("GPUs".to_owned(), gpus.join(", ")),
        ("data type of products".to_owned(), determinism.compute_dtype.clone()),
        ("threads".to_owned(), determinism.intra_op_threads.to_string()),
        ("processor's instructions".to_owned(), determinism.cpu_capability.clone()),
        ("deterministic algorithms".to_owned(), determinism.deterministic_algorithms.to_string()),
        ("environment variables".to_owned(), determinism.environment.join(" ")),
    ]);
    entries
}
