//! What is packed, and what can be verified of it where there is no repository.

use std::fs;
use std::path::Path;

use crate::cases::paper::with_templates;
use crate::common::{Project, Ran};
use harness_core::Digest;
use harness_core::files::list_recursive;

/// A paper on two experiments, one with a registration that was amended and a run that was deleted; `None` where Typst is not
/// installed.
fn paper() -> Option<Project> {
    let project = with_templates(Project::new)?;
    let warm = "extends = \"tiny\"\nhypothesis = \"Less loss.\"\nseeds = 3\n\n[expect]\nmetric = \
                \"validation.bits_per_byte\"\ndirection = \"lower\"\nat_least = 0.02\n\n[schedule]\nwarmup_steps = 2\n";
    project.write("experiments/project.toml", "id = \"test\"\n");
    project.write("experiments/warm/experiment.toml", warm);
    project.commit("Propose");
    project.write("experiments/warm/experiment.toml", &warm.replace("0.02", "0.01"));
    // A study that was only tuned has runs, and none that counts.
    project.write("experiments/tuned/experiment.toml", "extends = \"tiny\"\n\n[optimizer]\nlearning_rate = 0.01\n");
    project.commit("Expect less");
    project.harness(&["run", "tuned", "--purpose", "tune"]).expect(0);
    project.harness(&["seeds", "tiny", "--seeds", "3"]).expect(0);
    project.harness(&["seeds", "warm", "--seeds", "3"]).expect(0);
    project.harness(&["run", "tiny", "--seed", "77"]).expect(0);
    project.commit("Runs");
    fs::remove_dir_all(project.latest("tiny")).unwrap();
    project.commit("One run less");
    project.harness(&["report"]).expect(0);
    Some(project)
}

/// Audits without a repository: from a folder that none is around.
fn audit(project: &Project, elsewhere: &Path, arguments: &[&str]) -> Ran {
    let mut command = project.command(&[&["audit"], arguments].concat());
    Ran::of(command.current_dir(elsewhere).env("TMPDIR", elsewhere).output().unwrap())
}

fn unpack(archive: &Path, folder: &Path) {
    harness_report::archive::unpack(archive, folder).unwrap();
}

#[test]
fn a_bundle_has_the_same_bytes_twice_and_holds_where_there_is_no_repository() {
    let Some(project) = paper() else { return };
    project.harness(&["bundle", "one.zip"]).expect(0);
    let told = project.harness(&["bundle", "two.zip", "--json"]).expect(0);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let [one, two] = ["one.zip", "two.zip"].map(|name| project.path(name));
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
    assert_eq!(told["sha256"], Digest::of_file(&two).unwrap().to_string());
    assert_eq!(told["runs"], 7);

    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join("unpacked");
    unpack(&one, &folder);
    let files = list_recursive(&folder).unwrap();
    for name in ["README.md", "bundle.json", "report/build/paper.pdf", "report/paper.toml", "templates/values.typ"] {
        assert!(files.iter().any(|file| file == name), "{name}: {files:?}");
    }
    for apart in ["/checkpoints/", "report/build/last.json", ".git/", ".harness"] {
        assert!(!files.iter().any(|file| file.contains(apart)), "{apart}: {files:?}");
    }

    // Everything but commits, history, data and checkpoints is checked, the PDF to the byte.
    for subject in [one.to_str().unwrap(), folder.to_str().unwrap()] {
        let ran = audit(&project, elsewhere.path(), &[subject, "--json"]).expect(3);
        let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&found["contradictions"], &found["runs"]), (&0.into(), &7.into()), "{}", ran.stdout);
        let checks = found["checks"].as_array().unwrap();
        let outcome = |what: &str| checks.iter().find(|check| check["what"] == what).map(|check| &check["outcome"]);
        assert_eq!(outcome("the PDF set again"), Some(&"holds".into()), "{}", ran.stdout);
        assert_eq!(outcome("history of git"), Some(&"missing".into()), "{}", ran.stdout);
        for check in checks.iter().filter(|check| check["outcome"] == "missing") {
            let what = check["what"].as_str().unwrap();
            let named = ["commit ", "data root ", "history of git", "run "].iter().any(|word| what.starts_with(word));
            assert!(named || what.contains("/checkpoints/"), "{check:#}");
        }
    }
    audit(&project, &folder, &["warm"]).expect(3);
    audit(&project, &folder, &["report/build/paper.pdf"]).expect(3);
    // Also where a repository is around that knows nothing of it.
    let inside = project.path("inside");
    unpack(&one, &inside);
    let ran = project.harness(&["audit", "inside"]).expect(3);
    assert!(ran.stdout.contains("the 1 that `bundle.json` names"), "{}", ran.stdout);
}

#[test]
fn what_was_changed_before_or_after_it_was_packed_is_found() {
    let Some(project) = paper() else { return };
    project.harness(&["bundle", "whole.zip"]).expect(0);
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join("unpacked");
    unpack(&project.path("whole.zip"), &folder);
    let changed = |path: &str, change: &dyn Fn(String) -> String, named: &str| {
        let path = folder.join(path);
        let before = fs::read_to_string(&path).unwrap();
        let after = change(before.clone());
        assert_ne!(before, after, "{}", path.display());
        fs::write(&path, after).unwrap();
        let ran = audit(&project, &folder, &["--no-typst"]).expect(1);
        assert!(ran.stdout.contains(named), "{named}: {}", ran.stdout);
        fs::write(&path, before).unwrap();
    };
    let run = project.latest("warm");
    let record = format!("experiments/warm/runs/{}/steps.csv", run.file_name().unwrap().to_str().unwrap());
    changed(&record, &|text| text.replacen('1', "2", 1), "steps.csv");
    changed("report/build/values.json", &|text| text.replacen("\"shown\": \"", "\"shown\": \"1", 1), "values.json");
    // What the bundle says of the history is what its paper says.
    let told = |text: &str, part: &str, value: serde_json::Value| {
        let mut told: serde_json::Value = serde_json::from_str(text).unwrap();
        told[part] = value;
        told.to_string()
    };
    changed("bundle.json", &|text| told(&text, "deleted", serde_json::json!([])), "values.json");
    changed("bundle.json", &|text| told(&text, "amendments", serde_json::json!({})), "values.json");

    fs::write(folder.join("bundle.json"), "{}").unwrap();
    let refused = audit(&project, &folder, &[]).expect(2);
    assert!(refused.stderr.contains("bundle.json") && refused.stderr.contains("missing field"), "{}", refused.stderr);

    let refused = project.harness(&["bundle", "--at-most", "0"]).expect(1);
    assert!(refused.stderr.contains("the largest before they are packed: "), "{}", refused.stderr);
    assert!(!project.path("report/build/bundle.zip").exists());
    let section = "report/sections/80-conclusion.typ";
    let text = fs::read_to_string(project.path(section)).unwrap();
    project.write(section, &format!("{text}\nMore.\n"));
    let refused = project.harness(&["bundle"]).expect(2);
    assert!(
        refused.stderr.contains(section) && refused.stderr.contains("hint: `harness report`"),
        "{}",
        refused.stderr
    );
    fs::remove_dir_all(project.path("report/build")).unwrap();
    let refused = project.harness(&["bundle"]).expect(2);
    assert!(refused.stderr.contains("there is no paper to pack"), "{}", refused.stderr);
    project.write("text.zip", "no archive");
    let refused = project.harness(&["audit", "text.zip"]).expect(2);
    assert!(refused.stderr.contains("hint: name what `harness bundle` wrote"), "{}", refused.stderr);
}
