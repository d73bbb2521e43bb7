//! The way back from a number to the data it came from, each link with its digest.

use serde::Serialize;

use super::AuditError;
use harness_analyse::RunAnalysis;
use harness_record::SealedRun;
use harness_record::format::file;

/// One link of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What kind of thing it is.
    pub kind: &'static str,
    /// Its name or path.
    pub name: String,
    /// Its digest or id.
    pub digest: String,
}

/// A number and everything behind it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// The experiment.
    pub experiment: String,
    /// The run.
    pub run: String,
    /// The key.
    pub key: String,
    /// The exact number, computed again.
    pub number: f64,
    /// As the paper shows it.
    pub shown: String,
    /// Pages of the paper that show it.
    pub pages: Vec<u64>,
    /// From the files of the run to the sources of the data.
    pub chain: Vec<Link>,
}

/// Traces one value of a run.
pub fn trace(run: SealedRun, key: &str) -> Result<Trace, AuditError> {
    let analysis = RunAnalysis::of(run).map_err(|e| AuditError::UnknownValue(e.to_string()))?;
    of_analysis(&analysis, key)
}

pub(super) fn of_analysis(analysis: &RunAnalysis, key: &str) -> Result<Trace, AuditError> {
    let run = &analysis.run;
    let value = analysis.value(key).map_err(|near| {
        let hint = near.map_or(String::new(), |n| format!("did you mean `{n}`? "));
        AuditError::UnknownValue(format!(
            "run `{}` of `{}` has no value `{key}`\nhint: {hint}`harness show {} --values` lists them",
            run.open.run, run.open.experiment, run.open.experiment
        ))
    })?;
    Ok(Trace {
        experiment: run.open.experiment.to_string(),
        run: run.open.run.to_string(),
        key: key.to_owned(),
        number: value.number,
        shown: value.shown(),
        pages: Vec::new(),
        chain: chain(run, &value.files),
    })
}

fn chain(run: &SealedRun, value_files: &[String]) -> Vec<Link> {
    let open = &run.open;
    let link = |kind, name: &str, digest: String| Link { kind, name: name.to_owned(), digest };
    let mut chain = Vec::new();
    for path in value_files {
        let digest = harness_core::Digest::of_file(&run.path(path)).map_or_else(|e| e.to_string(), |d| d.to_string());
        chain.push(link("rows", path, digest));
    }
    chain.push(link("seal", file::MANIFEST, run.root.to_string()));
    chain.push(link("commit", open.code.branch.as_deref().unwrap_or("detached"), open.code.commit.clone()));
    for planned in &open.plan.files {
        chain.push(link("plan", &planned.path, planned.sha256.to_string()));
    }
    chain.push(link("programs", "harness", open.binaries.harness_sha256.to_string()));
    chain.push(link("programs", "harness-trainer", open.binaries.trainer_sha256.to_string()));
    chain.push(link("tokenizer", &open.data.tokenizer, open.data.tokenizer_sha256.to_string()));
    for shard in &open.data.shards {
        chain.push(link("shard", &shard.path, shard.sha256.to_string()));
    }
    let tasks = open.tasks.iter().filter(|task| value_files.iter().any(|f| f.ends_with(&format!("/{}.csv", task.id))));
    for task in tasks {
        task.data_sha256.iter().for_each(|data| chain.push(link("task data", &task.id, data.to_string())));
        chain.push(link("requests", &task.requests, task.requests_sha256.to_string()));
    }
    chain.push(link("corpus", &open.data.corpus, open.data.root.to_string()));
    for source in &run.corpus.sources {
        chain.push(link("source", source.url.as_deref().unwrap_or(&source.name), source.sha256.to_string()));
    }
    chain
}
