//! The job of what is run without a record, and paths as they stand in jobs and records. The job of a run follows from its opened
//! record ([`harness_record::job`]).

use std::path::{Path, PathBuf};

use harness_core::config::Experiment;
use harness_core::contract::Job;
use harness_core::names::Project;
use harness_corpus::PreparedCorpus;
use harness_record::format::Task;
use harness_record::job::{self, Given};

/// All choices of a run without a record, in the trainer's terms. Every path is relative to the project.
pub(super) fn unrecorded_job(
    project: &Project,
    folder: &Path,
    experiment: &Experiment,
    corpus: &PreparedCorpus,
    tasks: &[Task],
) -> Job {
    let place = |path: &Path| PathBuf::from(relative(project, path));
    let places = |paths: Vec<PathBuf>| paths.iter().map(|path| place(path)).collect::<Vec<_>>();
    let given = Given {
        output: place(folder),
        vocabulary_size: corpus.manifest().tokenizer.vocabulary_size,
        separator: corpus.manifest().tokenizer.separator,
        train_shards: places(corpus.train_shards()),
        validation_shards: places(corpus.validation_shards()),
        tasks,
        ..Given::default()
    };
    job::job(experiment, &given)
}

/// A path as it stands in records: relative to the project, with `/`.
pub(super) fn relative(project: &Project, path: &Path) -> String {
    // A snapshot may lie below the home, so that its files are looked for there first.
    let path = path.strip_prefix(project.root()).or_else(|_| path.strip_prefix(project.home())).unwrap_or(path);
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
