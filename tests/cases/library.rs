//! The library of changes, as the repository ships it and as a student edits it.

use std::fs;

use harness_analyse::diagnose::CHECKS;
use serde_json::Value;

use crate::common::{Project, is_harness_itself, repository};

/// A project with the library, the experiments and the bibliography of this repository.
fn shipped() -> Option<Project> {
    if !is_harness_itself() {
        return None;
    }
    let project = Project::new();
    let root = repository();
    for file in fs::read_dir(root.join("experiments/library")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        project.write(&format!("experiments/library/{name}"), &fs::read_to_string(&path).unwrap());
    }
    for path in [
        "experiments/baseline/experiment.toml",
        "experiments/books-baseline/experiment.toml",
        "templates/references.bib",
    ] {
        project.write(path, &fs::read_to_string(root.join(path)).unwrap());
    }
    Some(project)
}

fn listed(project: &Project) -> Vec<Value> {
    let text = project.harness(&["library", "--json"]).expect(0).stdout;
    serde_json::from_str::<Value>(&text).unwrap()["changes"].as_array().unwrap().clone()
}

#[test]
fn every_change_that_ships_is_a_proposal_over_the_experiments_that_ship() {
    let Some(project) = shipped() else { return };
    let changes = listed(&project);
    assert!(changes.len() >= 40, "{}", changes.len());
    let names: Vec<&str> = changes.iter().map(|change| change["name"].as_str().unwrap()).collect();
    // Their orthogonalization is a choice of Muon's.
    project.harness(&["propose", "muon", "--over", "books-baseline", "--as", "books-muon"]).expect(0);
    project.harness(&["propose", "muon", "--over", "baseline"]).expect(0);
    for change in &changes {
        let (name, card) = (change["name"].as_str().unwrap(), &change["card"]);
        let strings = |key: &str| card[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
        assert!(strings("conflicts").all(|other| names.contains(&other.as_str())), "{name}");
        assert!(strings("answers").all(|check| CHECKS.contains(&check.as_str())), "{name}");
        for (base, with_muon) in [("baseline", "muon"), ("books-baseline", "books-muon")] {
            let base = if name == "polar-express" { with_muon } else { base };
            let own = format!("{name}-over-{base}");
            let said = project.harness(&["propose", name, "--over", base, "--as", &own, "--json"]).expect(0).stdout;
            let said: Value = serde_json::from_str(&said).unwrap();
            assert!(!said["changed"].as_array().unwrap().is_empty(), "{own} changes something");
            let shown = project.harness(&["show", &own]).expect(0);
            assert!(!shown.stderr.contains("warning"), "{}", shown.stderr);
        }
    }
}

#[test]
fn a_proposal_says_what_it_changes_and_what_it_does_not_go_with() {
    let Some(project) = shipped() else { return };
    let said = project.harness(&["propose", "stable-decay", "--over", "baseline", "--because", "still_improving"]);
    let said = said.expect(0).stdout;
    assert!(said.contains("schedule.cooldown_steps: 0 -> 160"), "a fifth of the base's steps: {said}");
    let text = fs::read_to_string(project.path("experiments/stable-decay/experiment.toml")).unwrap();
    for line in ["extends = \"baseline\"", "seeds = 3", "findings = [\"still_improving\"]", "direction = \"same\""] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let again = project.harness(&["propose", "stable-decay", "--over", "baseline"]).expect(2).stderr;
    assert!(again.contains("--as stable-decay-over-baseline"), "{again}");
    let said = project.harness(&["propose", "polar-express", "--over", "stable-decay"]).expect(2).stderr;
    assert!(said.contains("does not fit over `stable-decay`") && said.contains("kind = \"muon\""), "{said}");
    let nothing = ["propose", "stable-decay", "--over", "stable-decay", "--as", "twice"];
    // Its share of the steps is the same number again.
    assert!(project.harness(&nothing).expect(2).stderr.contains("no key would change"));

    project.harness(&["propose", "rotary", "--over", "baseline"]).expect(0);
    let said = project.harness(&["propose", "alibi", "--over", "rotary", "--dry-run"]).expect(0);
    assert!(said.stdout.contains("positions = \"alibi\"") && !project.path("experiments/alibi").exists());
    let said = project.harness(&["propose", "alibi", "--over", "rotary"]).expect(0).stdout;
    assert!(said.contains("`rotary` has `rotary`, which this takes the place of or undoes"), "{said}");

    fs::remove_file(project.path("experiments/library/alibi.toml")).unwrap();
    project.harness(&["propose", "rotary", "--over", "alibi", "--as", "back"]).expect(0);

    let unknown = project.harness(&["propose", "rottary", "--over", "baseline"]).expect(2).stderr;
    assert!(unknown.contains("did you mean `rotary`?"), "{unknown}");
    assert!(project.harness(&["propose", "../x", "--over", "baseline"]).expect(2).stderr.contains("lower-case"));
    project.write(
        "experiments/timed/experiment.toml",
        "extends = \"baseline\"\n[training]\nbudget = { wall_time_s = 60.0 }\n",
    );
    let timed = project.harness(&["propose", "learning-rate-warmup", "--over", "timed"]).expect(2).stderr;
    assert!(timed.contains("0.1 times `training.steps`, which is 0") && timed.contains("by hand"), "{timed}");
    assert!(!project.path("experiments/learning-rate-warmup").exists(), "nothing is left behind");
}

#[test]
fn a_mistake_in_the_library_is_shown_at_its_place() {
    let Some(project) = shipped() else { return };
    let card = fs::read_to_string(project.path("experiments/library/swiglu.toml")).unwrap();
    project
        .write("experiments/library/swiglu.toml", &card.replace("area = \"feed-forward\"", "area = \"feed-forwards\""));
    let said = project.harness(&["library"]).expect(2).stderr;
    assert!(
        said.contains("experiments/library/swiglu.toml:2:") && said.contains("did you mean `feed-forward`?"),
        "{said}"
    );
    project.write("experiments/library/swiglu.toml", &card.replace("feed_forward =", "feedforward ="));
    let said = project.harness(&["propose", "swiglu", "--over", "baseline"]).expect(2).stderr;
    assert!(said.contains("does not fit") && said.contains("did you mean `feed_forward`?"), "{said}");
}

#[test]
fn what_a_text_cites_is_looked_up_before_a_run() {
    let project = Project::new();
    project.write("templates/references.bib", "@misc{known2020, author={A B}, title={C}, year={2020}}\n");
    let file = |rationale: &str, findings: &str| {
        format!("extends = \"tiny\"\nrationale = \"Because [@{rationale}].\"\nfindings = [\"{findings}\"]\n")
    };
    for (cites, finding, expected) in [
        ("known2021", "late_rise", "did `known2020` mean the same?"),
        ("known2020", "late_rises", "did you mean `late_rise`?"),
    ] {
        project.write("experiments/cites/experiment.toml", &file(cites, finding));
        project.commit("Cite");
        for command in [&["run", "cites"][..], &["seeds", "cites", "--seeds", "2"], &["queue", "add", "cites"]] {
            let said = project.harness(command).expect(2).stderr;
            assert!(said.contains(expected), "{command:?}: {said}");
        }
        assert!(project.harness(&["show", "cites"]).expect(0).stderr.contains(expected));
    }
    project.write("experiments/cites/experiment.toml", &file("known2020", "late_rise"));
    project.commit("Cite what there is");
    project.harness(&["run", "cites"]).expect(0);
    assert_eq!(project.runs("cites").len(), 1);
}

#[test]
fn what_was_found_suggests_the_changes_that_answer_it() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let next = |project: &Project| -> Vec<Value> {
        let text = project.harness(&["next", "--json"]).expect(0).stdout;
        let next: Value = serde_json::from_str(&text).unwrap();
        next["suggestions"].as_array().unwrap().iter().filter(|it| it["kind"] == "change").cloned().collect()
    };
    assert!(next(&project).is_empty(), "there is no library");
    let card = fs::read_to_string(repository().join("experiments/library/rmsnorm.toml")).unwrap();
    let answers = CHECKS.map(|check| format!("\"{check}\"")).join(", ");
    let card = card.replace("\n[expect]", &format!("answers = [{answers}]\n\n[expect]"));
    let bib = fs::read_to_string(repository().join("templates/references.bib")).unwrap();
    project.write("templates/references.bib", &bib);
    project.write("experiments/library/rmsnorm.toml", &card);
    let suggested = next(&project);
    assert_eq!(suggested.len(), 1, "once: {suggested:#?}");
    let command: Vec<&str> =
        suggested[0]["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command[..4], ["propose", "rmsnorm", "--over", "tiny"]);
    project.harness(&command).expect(0);
    project.commit("Propose");
    assert!(next(&project).is_empty(), "what is proposed is not suggested again");
}
