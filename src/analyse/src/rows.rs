//! The rows of a run's last evaluation as numbers for each document or item, and whether two runs were asked the same:
//! what comparisons and slices stand on.

use harness_core::Digest;
use harness_core::names::RunId;
use harness_core::scores::{ChoiceScore, WindowLoss, read_csv};
use harness_core::task_kind::Kind;
use serde::Serialize;

use crate::choices::{Answer, Why, answers, clusters};
use crate::likelihood::Likelihood;
use crate::{AnalyseError, RunAnalysis, TaskResult, choice_score};
use harness_record::SealedRun;
use harness_record::format::Task;
use harness_statistics::cluster::Cluster;

/// A run as comparisons and slices name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunName {
    /// The run.
    pub run: RunId,
    /// Digest of its MANIFEST.
    pub root: Digest,
    /// Its seed.
    pub seed: u64,
}

impl RunName {
    /// The name of a run.
    pub fn of(run: &SealedRun) -> Self {
        RunName { run: run.open.run.clone(), root: run.root, seed: run.open.plan.seed }
    }
}

/// Sums of rows by document.
pub(crate) fn by_document(rows: &[WindowLoss], documents: usize, of: impl Fn(&WindowLoss) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; documents];
    rows.iter().for_each(|row| sums[row.document as usize] += of(row));
    sums
}

/// The scores of a task, or of `validation`, in the last evaluation that has them.
pub(crate) fn last_scores<'a>(run: &'a RunAnalysis, of: &str) -> Option<&'a str> {
    let name = format!("/{of}.csv");
    let files = run.run.record.evaluations.iter().rev().flat_map(|evaluation| &evaluation.files);
    files.map(|file| file.path.as_str()).find(|path| path.ends_with(&name))
}

/// The windows of a validation. Each has to be of a document of the corpus.
pub(crate) fn windows(run: &SealedRun, path: &str) -> Result<Vec<WindowLoss>, AnalyseError> {
    let rows: Vec<WindowLoss> = read_csv(&run.path(path))?;
    let documents = run.corpus.validation_documents.len() as u64;
    match rows.iter().find(|row| row.document >= documents) {
        None => Ok(rows),
        Some(row) => {
            let problem = format!("`{path}` names document {}, but its corpus has {documents}", row.document);
            Err(AnalyseError::Inconsistent { run: run.open.run.to_string(), problem })
        }
    }
}

/// The items of a task in one run.
pub(crate) struct Items {
    /// Index of each item in its task.
    pub index: Vec<u64>,
    /// What was answered, by the quoted metric.
    pub answers: Vec<Answer>,
    /// By how many nats the right answer leads the best wrong one, under the score of the quoted metric; for last words
    /// their log-probability.
    pub margin_nats: Vec<f64>,
    /// The parts of each item in each of [`Likelihood::ALL`]; none where the task has no such score.
    pub likelihoods: [Option<Vec<Result<Cluster, Why>>>; 2],
    /// The cluster of each item, where the recipe names them.
    pub clusters: Option<Vec<u64>>,
}

pub(crate) fn items(run: &RunAnalysis, task: &Task, result: &TaskResult) -> Result<Items, AnalyseError> {
    let rows: Vec<ChoiceScore> = read_csv(&run.run.path(&result.file))?;
    let by_item: Vec<&[ChoiceScore]> = rows.chunk_by(|a, b| a.item == b.item).collect();
    let score = |row: &ChoiceScore| choice_score(task.metric, row);
    let best = |choices: &[ChoiceScore], gold: bool| {
        choices.iter().filter(|c| c.gold == gold).map(score).fold(f64::NEG_INFINITY, f64::max)
    };
    let margin = |choices: &&[ChoiceScore]| match task.kind {
        Kind::LastWord => choices[0].nats(),
        _ => best(choices, true) - best(choices, false),
    };
    Ok(Items {
        index: by_item.iter().map(|choices| choices[0].item).collect(),
        answers: answers(&rows, task.kind, task.metric),
        margin_nats: by_item.iter().map(margin).collect(),
        likelihoods: Likelihood::ALL.map(|score| score.parts(&rows, task.kind)),
        clusters: clusters(&rows),
    })
}

/// Whether two runs were asked the same of a task: same rules, same data, same number of items. Under one tokenizer the
/// same items in the same form are also the same requests, whatever version they claim.
pub(crate) fn planned_alike(one: &RunAnalysis, other: &RunAnalysis, task: &str) -> bool {
    let (one, other) = (&one.run.open, &other.run.open);
    let [a, b] = [one, other].map(|open| open.tasks.iter().find(|planned| planned.id == task));
    let (Some(a), Some(b)) = (a, b) else { return false };
    let same_rules = a.version == b.version && a.kind == b.kind && a.metric == b.metric && a.group == b.group;
    let other_tokens = one.data.tokenizer_sha256 != other.data.tokenizer_sha256;
    let same_form = a.requests_sha256 == b.requests_sha256 || other_tokens;
    same_rules && same_form && a.data_sha256 == b.data_sha256 && a.items == b.items
}
