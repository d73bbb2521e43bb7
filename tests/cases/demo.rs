//! The demonstration, with the stand-in in the trainer's place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use harness_core::files::list_recursive;
use serde_json::Value;

use crate::cases::paper::with_templates;
use crate::common::{Project, is_harness_itself, repository, stand_in};

/// What a fresh clone of this repository has of it; `None` where Typst is not installed, and in a project of one's own.
pub(crate) fn cloned() -> Option<Project> {
    if !is_harness_itself() {
        return None;
    }
    let project = with_templates(Project::new)?;
    for file in list_recursive(&repository().join("experiments")).unwrap().iter().filter(|f| !f.contains("/runs/")) {
        let path = format!("experiments/{file}");
        project.write(&path, &fs::read_to_string(repository().join(&path)).unwrap());
    }
    project.commit("Clone");
    Some(project)
}

/// The stand-in, by which every model learns and each change helps, with each seed by another amount: rotary positions much, Muon a
/// little, and it takes its time.
pub(crate) fn trainer(project: &Project) -> PathBuf {
    let path = project.path(".git/trainer");
    let script = format!(
        r#"#!/bin/sh
job=$(tr -d ' \n' < "${{2:-/dev/null}}")
seed=$(echo "$job" | sed 's/.*"seed":\([0-9]*\).*/\1/')
better=300
case "$job" in *'"positions":"rotary"'*) better=$((better + 200 + seed % 20)) ;; esac
case "$job" in *'"kind":"muon"'*) better=$((better + 60 + 3 * (seed % 20))); sleep 3 ;; esac
STAND_IN=better:$better exec '{}' "$@"
"#,
        stand_in().display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_demonstration_goes_the_whole_way_and_changes_nothing_but_runs() {
    let Some(project) = cloned() else { return };
    let trainer = trainer(&project);
    let demo = || project.harness_with_trainer(&trainer, &["demo"]).expect(0);
    let first = demo();
    for part in [
        "$ harness seeds baseline --seeds 3",
        "`baseline`: 0 of 3 seeds are completed",
        "bits per byte, a unigram model needs",
        "findings = [\"context_unused\"]",
        "CONFIRMED  ADOPT",
        "no test carries that `rotary` is better than `baseline` in `tasks.grammar-agreement.accuracy`: ",
        "--> experiments/rotary/65-claims-too-bold.typ:6:18",
        "compared-with: \"baseline\"",
        "\nit holds\n",
        "holds steps ",
    ] {
        assert!(first.all().contains(part), "{part} is not in\n{}", first.all());
    }
    let claims = || -> Vec<Value> {
        let proof = Project::json(&project.path("report/build/paper.json"));
        let of_claims = |bound: &&Value| bound["kind"] == "claim";
        proof["bound"].as_array().unwrap().iter().filter(of_claims).map(|claim| claim["relation"].clone()).collect()
    };
    assert_eq!(claims(), ["better_than", "compared_with"]);
    let pdf = || fs::read(project.path("report/build/paper.pdf")).unwrap();
    let paper = pdf();

    let again = demo().all();
    assert_eq!(again.matches("3 of 3 seeds are completed").count(), 2, "{again}");
    assert_eq!((project.runs("baseline").len(), project.runs("rotary").len()), (3, 3));
    assert!(pdf() == paper, "the same runs give the same paper");
    let status = project.git(&["status", "--porcelain", "--untracked-files=all"]);
    let is_run = |line: &str| {
        let path = line.strip_prefix("?? experiments/").and_then(|path| path.split_once('/'));
        path.is_some_and(|(_, path)| path.starts_with("runs/"))
    };
    assert!(status.lines().all(is_run), "{status}");
    project.harness(&["report", "--draft"]).expect(0);
    assert_eq!(claims(), [""; 0], "a section that was given once is not kept");
}

#[test]
fn the_demonstration_fails_where_nothing_was_learned() {
    let Some(project) = cloned() else { return };
    let ran = project.harness_with("tie:1", &["demo"]).expect(1);
    assert!(
        ran.stderr.contains("baseline learned too little: with seed 1397742557 it is not above chance"),
        "{}",
        ran.stderr
    );
    assert!(project.runs("rotary").is_empty());
}

#[test]
fn the_proposal_of_the_demonstration_is_what_the_library_proposes() {
    let Some(project) = cloned() else { return };
    let path = "experiments/rotary/experiment.toml";
    let committed = fs::read_to_string(project.path(path)).unwrap();
    fs::remove_dir_all(project.path("experiments/rotary")).unwrap();
    project.harness(&["propose", "rotary", "--over", "baseline", "--because", "context_unused"]).expect(0);
    assert_eq!(fs::read_to_string(project.path(path)).unwrap(), committed);
}
