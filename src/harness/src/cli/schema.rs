//! `harness schema`: the JSON Schemas of the TOML files that students write.

use super::{Outcome, terminal};
use crate::exit_code;

/// Print the JSON Schema of an experiment, a study, a corpus recipe, a task recipe, the project's file, its budget, a change of
/// the library, or the cluster.
///
/// An editor with a TOML language server (Even Better TOML, Taplo) completes keys, shows what they mean and marks
/// mistakes in a file whose first line names its schema: #:schema ../schema/experiment.json
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The kind of file.
    kind: Kind,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// experiments/NAME/experiment.toml
    Experiment,
    /// experiments/NAME/study.toml
    Study,
    /// experiments/corpora/NAME.toml
    Corpus,
    /// experiments/tasks/NAME.toml
    Task,
    /// experiments/project.toml
    Project,
    /// experiments/budget.toml
    Budget,
    /// experiments/library/NAME.toml
    Change,
    /// cluster.toml
    Cluster,
}

pub(super) fn execute(arguments: &Arguments) -> Outcome {
    let schema = match arguments.kind {
        Kind::Experiment => harness_core::config::schema(),
        Kind::Study => harness_core::config::schema_of::<harness_core::config::Study>(),
        Kind::Corpus => harness_corpus::Recipe::schema(),
        Kind::Task => harness_corpus::tasks::TaskRecipe::schema(),
        Kind::Change => harness_core::config::library::card_schema(),
        Kind::Project => harness_core::config::schema_of::<harness_core::project_file::ProjectFile>(),
        Kind::Cluster => harness_core::config::schema_of::<harness_core::config::Cluster>(),
        Kind::Budget => harness_core::config::schema_of::<harness_core::config::Limits>(),
    };
    terminal::say_json(&schema);
    Ok(exit_code::SUCCESS)
}
