//! The JSON Schemas by which editors complete the TOML files of a project, held against those files.

use std::fs;

use boon::{Compiler, SchemaIndex, Schemas};
use harness_core::files::list_recursive;
use serde_json::Value;

use crate::common::{Project, is_harness_itself, repository};

/// Whether a path under the repository is a file of a kind.
type IsOfKind = fn(&str) -> bool;

/// Each kind of file.
const KINDS: [(&str, IsOfKind); 7] = [
    ("experiment", |path| path.ends_with("/experiment.toml") || path.starts_with("tests/configs/")),
    ("study", |path| path.ends_with("/study.toml")),
    ("corpus", |path| path.starts_with("experiments/corpora/")),
    ("task", |path| path.starts_with("experiments/tasks/")),
    ("project", |path| path == "experiments/project.toml"),
    ("budget", |path| path == "experiments/budget.toml"),
    ("change", |path| path.starts_with("experiments/library/")),
];

/// Where the schema is said to lie; nothing is fetched.
const URL: &str = "https://example.org/schema.json";

fn compiled(kind: &str) -> (Schemas, SchemaIndex) {
    let text = fs::read_to_string(repository().join(format!("experiments/schema/{kind}.json"))).unwrap();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource(URL, serde_json::from_str(&text).unwrap()).unwrap();
    let index = compiler.compile(URL, &mut schemas).unwrap();
    (schemas, index)
}

/// The TOML files of a kind below a folder, but for the copies in run folders: path and content.
fn files(folder: &str, is_of_kind: IsOfKind) -> Vec<(String, String)> {
    let paths = list_recursive(&repository().join(folder)).unwrap().into_iter().map(|file| format!("{folder}/{file}"));
    let wanted = paths.filter(|path| path.ends_with(".toml") && is_of_kind(path) && !path.contains("/runs/"));
    wanted.map(|path| (path.clone(), fs::read_to_string(repository().join(path)).unwrap())).collect()
}

#[test]
fn committed_schemas_are_those_of_the_program() {
    let project = Project::new();
    for kind in KINDS.map(|(kind, _)| kind).into_iter().chain(["cluster"]) {
        let printed = project.harness(&["schema", kind]).expect(0).stdout;
        let path = repository().join(format!("experiments/schema/{kind}.json"));
        let committed = fs::read_to_string(path).unwrap_or_default();
        assert!(printed == committed, "make schemas, and commit experiments/schema/{kind}.json");
    }
}

#[test]
fn every_committed_file_names_its_schema_and_fits_it() {
    for (kind, is_of_kind) in KINDS {
        let (schemas, index) = compiled(kind);
        let committed = files("experiments", is_of_kind);
        // A project of one's own may have no study yet.
        if committed.is_empty() && !is_harness_itself() {
            continue;
        }
        let folder = if ["project", "budget"].contains(&kind) { "schema" } else { "../schema" };
        let line = format!("#:schema {folder}/{kind}.json");
        let named: Vec<&str> = committed.iter().filter_map(|(_, text)| text.lines().next()).collect();
        assert!(named.contains(&line.as_str()), "{kind}");
        assert!(named.iter().all(|first| !first.starts_with("#:schema") || *first == line), "{named:?}");
        for (path, text) in committed.into_iter().chain(files("tests/configs/valid", is_of_kind)) {
            let value: Value = toml::from_str(&text).unwrap();
            schemas.validate(&value, index).unwrap_or_else(|e| panic!("{path}: {e}"));
        }
    }
}

#[test]
fn a_new_cluster_file_names_its_schema_and_fits_it() {
    let project = Project::new();
    let (schemas, index) = compiled("cluster");
    for scheduler in ["slurm", "htcondor"] {
        project.harness(&["submit", "--init", scheduler]).expect(0);
        let text = fs::read_to_string(project.path("cluster.toml")).unwrap();
        assert!(text.starts_with("#:schema experiments/schema/cluster.json\n"), "{text}");
        schemas.validate(&toml::from_str(&text).unwrap(), index).unwrap();
        fs::remove_file(project.path("cluster.toml")).unwrap();
    }
    let wrong: Value = toml::from_str("partitions = 1").unwrap();
    assert!(schemas.validate(&wrong, index).is_err());
}

#[test]
fn an_editor_marks_what_has_the_wrong_name_or_type() {
    let (schemas, index) = compiled("experiment");
    let wrong =
        ["key-unknown", "text-for-a-number", "value-unknown", "rule-unknown-for-steps", "group-without-pattern"];
    for name in wrong {
        let text = fs::read_to_string(repository().join(format!("tests/configs/invalid/{name}.toml"))).unwrap();
        let value: Value = toml::from_str(&text).unwrap();
        assert!(schemas.validate(&value, index).is_err(), "{name}");
    }
}
