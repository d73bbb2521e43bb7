//! Where runs are made: a project with its repository, what brings data into its store, and what starts the trainer.

use harness_core::contract::About;
use harness_core::names::Project;
use harness_corpus::tasks::{self, TaskRecipe};
use harness_corpus::{Fetcher, PreparedCorpus, Progress, Recipe, Store, Tokenizer};
use harness_record::format::{Data, Shard, Task};
use harness_record::git::Git;

use super::error::RunError;
use super::job::relative;
use super::launch::Launcher;

/// What every run, short run and evaluation needs beside its config.
pub struct RunContext<'a> {
    /// The project.
    pub project: &'a Project,
    /// Its repository.
    pub git: &'a Git,
    /// Brings the files that recipes name.
    pub fetcher: Fetcher,
    /// Starts the trainer.
    pub launcher: Box<dyn Launcher>,
}

impl RunContext<'_> {
    /// What the trainer says of itself.
    pub fn about(&self) -> Result<About, RunError> {
        self.launcher.about()
    }

    /// The corpus of a recipe, made ready.
    pub(super) fn corpus(&self, recipe: &Recipe, progress: &mut dyn Progress) -> Result<PreparedCorpus, RunError> {
        // What is ready needs none of the files that it was made from: a node of a cluster has neither them nor a network.
        if let Some(ready) = harness_corpus::undamaged(recipe, &Store::of(self.project))? {
            return Ok(ready);
        }
        self.fetcher.fetch(&recipe.remotes(), progress)?;
        Ok(harness_corpus::prepare(recipe, &Store::of(self.project), progress)?)
    }

    /// The tasks of recipes, made ready, as the record names them.
    pub(super) fn tasks(
        &self,
        recipes: &[TaskRecipe],
        tokenizer: &Tokenizer,
        items_per_task: u64,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Task>, RunError> {
        let store = Store::of(self.project);
        let mut records = Vec::new();
        for recipe in recipes {
            let prepared = match tasks::undamaged(recipe, tokenizer, items_per_task, &store) {
                Some(ready) => ready,
                None => {
                    self.fetcher.fetch(&recipe.remotes(), progress)?;
                    tasks::prepare(recipe, tokenizer, items_per_task, &store, progress)?
                }
            };
            records.extend(prepared.tasks().iter().map(|task| Task {
                id: task.id.clone(),
                group: (task.group != task.id).then(|| task.group.clone()),
                title: task.title.clone(),
                phenomenon: task.phenomenon.clone(),
                field: task.field.clone(),
                kind: task.kind,
                metric: task.metric,
                chance: task.chance,
                items: task.items,
                rolling_stride: task.rolling_stride,
                version: task.version,
                data_sha256: task.data_sha256.clone(),
                requests_sha256: task.requests.sha256,
                requests: relative(self.project, &prepared.requests_path(task)),
            }));
        }
        Ok(records)
    }
}

/// A prepared corpus as the record names it.
pub(super) fn data(project: &Project, corpus_name: &str, corpus: &PreparedCorpus) -> Result<Data, RunError> {
    let manifest = corpus.manifest();
    let mut shards = Vec::new();
    let train = corpus.train_shards().into_iter().zip(&manifest.train.shards).map(|pair| ("train", pair));
    let validation = corpus.validation_shards().into_iter().zip(&manifest.validation.shards);
    for (split, (path, listed)) in train.chain(validation.map(|pair| ("validation", pair))) {
        let shard = harness_core::shards::Shard::open(&path)?;
        shards.push(Shard {
            split: split.to_owned(),
            path: relative(project, &path),
            sha256: listed.sha256,
            size_bytes: listed.size_bytes,
            tokens: shard.tokens(),
            documents: shard.documents().len() as u64,
        });
    }
    Ok(Data {
        corpus: corpus_name.to_owned(),
        root: corpus.root(),
        shards,
        tokenizer_sha256: manifest.tokenizer.sha256,
        tokenizer: relative(project, &corpus.tokenizer_path()),
        vocabulary_size: manifest.tokenizer.vocabulary_size,
        validation_bytes: manifest.validation.text_bytes,
    })
}
