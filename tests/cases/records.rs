//! Records of other versions, other clones and other folders; runs that were dropped, deleted, renamed or never ended.

use std::fs;
use std::path::Path;

use crate::common::{Project, Ran, flip, repository, seal_again};
use harness_core::files::list_recursive;

fn audit_json(project: &Project) -> serde_json::Value {
    serde_json::from_str(&project.harness(&["audit", "--json"]).stdout).unwrap()
}

fn runs_json(project: &Project) -> Vec<serde_json::Value> {
    serde_json::from_str(&project.harness(&["runs", "--json"]).expect(0).stdout).unwrap()
}

fn id(run: &Path) -> String {
    run.file_name().unwrap().to_str().unwrap().to_owned()
}

fn replace(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{old} in {text}");
    fs::write(path, text.replacen(old, new, 1)).unwrap();
}

/// Holds what is shown of the runs of a fixture against the numbers that the program of their time gave.
fn gives_the_numbers(project: &Project, fixture: &Path) {
    let values = Project::json(&fixture.join("values.json"));
    for (experiment, expected) in values.as_object().unwrap() {
        let shown = project.harness(&["show", experiment, "--values", "--json"]).expect(0);
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!((&shown["run"], &shown["root"]), (&expected["run"], &expected["root"]));
        for (key, number) in expected["values"].as_object().unwrap() {
            assert_eq!(&shown["values"][key]["number"], number, "{key} of {experiment}");
        }
    }
}

#[test]
fn records_of_version_2_are_verified_and_give_the_numbers_they_gave() {
    let fixture = repository().join("tests/fixtures/record-2");
    let project = Project::cloned_from(&fixture.join("project.bundle"));
    let audit = audit_json(&project);
    assert_eq!(audit["contradictions"], 0, "{audit}");
    // A key of its configs is called otherwise now: what the hint says makes the working tree's readable, too.
    let refused = project.harness(&["show", "tiny"]).expect(2).stderr;
    assert!(refused.contains("hint: it is called `tensor_norms_every` now"), "{refused}");
    let path = project.path("experiments/tiny/experiment.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("layers_every", "tensor_norms_every")).unwrap();
    gives_the_numbers(&project, &fixture);
    project.harness(&["compare", "tiny", "wider"]).expect(0);
    // Norms of tensors stood in a file of another name.
    let wider = harness_analyse::Side::open(&harness_core::names::Project::at(project.path("")), "wider").unwrap();
    assert!(wider.runs[0].run.path("layers.csv").is_file() && !wider.runs[0].tensor_norms.is_empty());
    let states: Vec<String> = runs_json(&project).iter().map(|run| run["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["completed", "completed", "completed", "failed", "completed"]);
    // A damaged one is found as ever.
    flip(&project.latest("wider").join("steps.csv"), 40);
    project.harness(&["audit", "wider"]).expect(1);
}

/// Reads the runs of an earlier version, which need nothing else to be read, and finds a damaged one.
fn are_read_as_ever(version: &str) {
    let fixture = repository().join(format!("tests/fixtures/{version}"));
    let project = Project::cloned_from(&fixture.join("project.bundle"));
    let audit = audit_json(&project);
    assert_eq!(audit["contradictions"], 0, "{audit}");
    gives_the_numbers(&project, &fixture);
    flip(&project.latest("wider").join("steps.csv"), 40);
    project.harness(&["audit", "wider"]).expect(1);
}

#[test]
fn records_of_version_3_are_verified_and_give_the_numbers_they_gave() {
    are_read_as_ever("record-3");
}

#[test]
fn records_of_version_4_are_verified_and_give_the_numbers_they_gave() {
    are_read_as_ever("record-4");
}

#[test]
fn records_of_version_5_are_verified_and_give_the_numbers_they_gave() {
    are_read_as_ever("record-5");
}

#[test]
fn a_record_of_a_newer_version_is_not_called_changed() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    let told = |ran: Ran| {
        assert!(
            ran.stderr.contains("another version of harness") && ran.stderr.contains("update harness"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("was changed"), "{}", ran.stderr);
    };
    let (open, record) = (run.join("open.json"), run.join("record.json"));
    let before = [&open, &record].map(|path| fs::read(path).unwrap());
    for path in [&open, &record] {
        replace(path, "\"format\": 7", "\"format\": 8");
    }
    seal_again(&run);
    told(project.harness(&["report"]).expect(1));
    let ran = project.harness(&["audit", "tiny"]).expect(3);
    assert!(ran.stdout.contains("has format 8; this program reads 2 to 7"), "{}", ran.stdout);
    assert!(project.harness(&["runs"]).expect(0).stdout.contains("other version"));

    fs::write(&open, &before[0]).unwrap();
    fs::write(&record, &before[1]).unwrap();
    replace(&open, "\"heads\"", "\"tails\": 1,\n  \"heads\"");
    seal_again(&run);
    told(project.harness(&["show", "tiny", "--values"]).expect(1));
    project.harness(&["audit", "tiny"]).expect(3);
    // Not sealed so, it was changed.
    fs::write(&open, &before[0]).unwrap();
    seal_again(&run);
    replace(&open, "\"heads\"", "\"tails\": 1,\n  \"heads\"");
    let ran = project.harness(&["show", "tiny", "--values"]).expect(1);
    assert!(ran.stderr.contains("was changed after it was sealed"), "{}", ran.stderr);
}

#[test]
fn a_clone_with_other_line_ends_holds_and_can_be_worked_in() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    project.commit("A run");
    let clone = tempfile::tempdir().unwrap();
    let folder = clone.path().to_str().unwrap();
    project.git(&["clone", "-q", "-c", "core.autocrlf=true", ".", folder]);
    std::os::unix::fs::symlink(project.path(".harness"), clone.path().join(".harness")).unwrap();
    let converted = clone.path().join("experiments/tiny/runs").join(id(&project.latest("tiny"))).join("MANIFEST");
    assert!(fs::read_to_string(converted).unwrap().contains("\r\n"));

    // The checkpoints are not in the clone.
    let ran = project.harness(&["-C", folder, "audit"]).expect(3);
    assert!(ran.stdout.contains("nothing contradicts") && ran.stdout.contains("other line ends"), "{}", ran.stdout);
    let values = ["show", "tiny", "--values", "--json"];
    let of_clone = project.harness(&[&["-C", folder][..], &values].concat()).expect(0);
    assert_eq!(of_clone.stdout, project.harness(&values).expect(0).stdout);
    project.harness(&["-C", folder, "run", "tiny", "--seed", "4"]).expect(0);
    let rows = project.harness(&["-C", folder, "runs", "--json"]).expect(0);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&rows.stdout).unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row["left_out"].is_null()), "{rows:?}");
    // Another byte is another content.
    let steps = clone.path().join("experiments/tiny/runs").join(id(&project.latest("tiny"))).join("steps.csv");
    flip(&steps, 60);
    project.harness(&["-C", folder, "audit"]).expect(1);
}

#[test]
fn a_file_that_git_calls_clean_behind_its_filter_is_clean() {
    let project = Project::new();
    project.write(".gitattributes", "*.dat filter=shout\n");
    project.git(&["config", "filter.shout.clean", "tr a-z A-Z"]);
    project.git(&["config", "filter.shout.smudge", "tr A-Z a-z"]);
    project.write("large.dat", "weights\n");
    project.commit("A filtered file");
    // Another time and size than the index knows.
    project.write("large.dat", "Weights\n");
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    project.harness(&["run", "tiny"]).expect(0);
    assert!(Project::json(&project.latest("tiny").join("open.json"))["not_citable_because"].is_null());
    project.write("large.dat", "other weights\n");
    let ran = project.harness(&["run", "tiny"]).expect(2);
    assert!(ran.stderr.contains("large.dat"), "{}", ran.stderr);
}

#[test]
fn a_patch_applies_whatever_git_is_told_about_patches() {
    let project = Project::new();
    project.write("data.bin", "\0one\0");
    project.commit("A binary file");
    for (key, value) in [("diff.noprefix", "true"), ("diff.mnemonicPrefix", "true"), ("diff.context", "0")] {
        project.git(&["config", key, value]);
    }
    let config = crate::common::TINY.replace("seed = 3", "seed = 4");
    project.write("experiments/tiny/experiment.toml", &config);
    project.write("data.bin", "\0two\0");
    project.harness(&["run", "tiny", "--allow-dirty"]).expect(0);
    project.git(&["stash", "-q"]);
    project.git(&["apply", project.latest("tiny").join("code/dirty.patch").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(project.path("experiments/tiny/experiment.toml")).unwrap(), config);
    assert_eq!(fs::read(project.path("data.bin")).unwrap(), b"\0two\0");
}

#[test]
fn what_git_refuses_is_told_as_what_it_is() {
    let refused = |project: &Project, said: &str, hint: &str| {
        let ran = project.harness(&["run", "tiny"]).expect(2);
        assert!(ran.stderr.contains(said) && ran.stderr.contains(hint), "{said}, {hint}: {}", ran.stderr);
        assert!(!ran.stderr.contains("git init`, add"), "{}", ran.stderr);
    };
    for (key, value, hint) in [
        ("extensions.partialClone", "origin", "without `--filter`"),
        ("extensions.refStorage", "reftable", "git refs migrate"),
        ("extensions.objectFormat", "sha256", "SHA-256"),
        ("extensions.tomorrow", "true", "git -C"),
    ] {
        let project = Project::new();
        project.git(&["config", "core.repositoryFormatVersion", "1"]);
        project.git(&["config", key, value]);
        refused(&project, "cannot be read", hint);
    }
    let project = Project::new();
    project.git(&["update-index", "--split-index"]);
    refused(&project, "link", "git update-index --no-split-index");
    project.git(&["update-index", "--no-split-index"]);
    project.write("elsewhere/a/b.txt", "x\n");
    project.commit("More folders");
    project.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "experiments"]);
    refused(&project, "sdir", "git sparse-checkout reapply --no-sparse-index");
    project.git(&["sparse-checkout", "reapply", "--no-sparse-index"]);
    project.harness(&["run", "tiny"]).expect(0);
    fs::remove_dir_all(project.path(".git")).unwrap();
    let ran = project.harness(&["run", "tiny"]).expect(2);
    assert!(ran.stderr.contains("run `git init`"), "{}", ran.stderr);
}

#[test]
fn a_project_may_be_a_folder_of_a_larger_repository() {
    let project = Project::new();
    fs::create_dir(project.path("lab")).unwrap();
    for entry in ["experiments", ".gitignore", ".harness"] {
        fs::rename(project.path(entry), project.path(&format!("lab/{entry}"))).unwrap();
    }
    project.write("thesis.tex", "Draft.\n");
    project.commit("The project is a folder");
    project.write("thesis.tex", "Another draft.\n");
    let ran = project.harness(&["run", "tiny"]).expect(2);
    assert!(ran.stderr.contains("experiments") && ran.stderr.contains("-C"), "{}", ran.stderr);
    project.harness(&["-C", "lab", "run", "tiny"]).expect(0);
    // From below, too.
    project.harness(&["-C", "lab/experiments/tiny", "audit"]).expect(0);
    let runs = list_recursive(&project.path("lab/experiments/tiny/runs")).unwrap();
    let open = runs.iter().find(|file| file.ends_with("open.json")).unwrap();
    let open = Project::json(&project.path("lab/experiments/tiny/runs").join(open));
    assert!(open["not_citable_because"].is_null() && open["code"]["dirty"] == false, "{open}");

    project.write("lab/experiments/tiny/experiment.toml", &crate::common::TINY.replace("seed = 3", "seed = 5"));
    let ran = project.harness(&["-C", "lab", "run", "tiny"]).expect(2);
    assert!(
        ran.stderr.contains("  experiments/tiny/experiment.toml") && !ran.stderr.contains("thesis"),
        "{}",
        ran.stderr
    );
    project.harness(&["-C", "lab", "run", "tiny", "--allow-dirty"]).expect(0);
    project.git(&["stash", "-q"]);
    let runs = list_recursive(&project.path("lab/experiments/tiny/runs")).unwrap();
    let patch = runs.iter().find(|file| file.ends_with("code/dirty.patch")).unwrap();
    project.git(&["apply", &format!("lab/experiments/tiny/runs/{patch}")]);
    assert!(fs::read_to_string(project.path("lab/experiments/tiny/experiment.toml")).unwrap().contains("seed = 5"));
    assert_eq!(fs::read_to_string(project.path("thesis.tex")).unwrap(), "Draft.\n", "not a part of the project");
}

#[test]
fn a_renamed_experiment_keeps_its_runs() {
    let project = Project::new();
    project
        .write("experiments/child/experiment.toml", "title = \"Child\"\nextends = \"tiny\"\n\n[model]\nwidth = 24\n");
    project.write("report/sections/50-own.typ", "#value(\"tiny\", \"training.tokens\")\n");
    project.commit("A child");
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["run", "child"]).expect(0);
    project.commit("Runs");
    let ran = project.harness(&["rename", "tiny", "first"]).expect(0);
    assert!(ran.stderr.contains("50-own.typ names `tiny`"), "{}", ran.stderr);
    let ran = project.harness(&["audit"]).expect(0);
    assert!(ran.stdout.contains("named `tiny` when it ran"), "{}", ran.stdout);
    project.commit("Rename");
    project.harness(&["show", "child"]).expect(0);
    project.harness(&["compare", "first", "child"]).expect(0);
    // Its plan is the same, and so its runs go on being seeds of one plan.
    project.harness(&["run", "first", "--seed", "4"]).expect(0);
    assert!(runs_json(&project).iter().all(|row| row["left_out"].is_null()));
    project.harness(&["audit"]).expect(0);
    let ran = project.harness(&["rename", "child", "first"]).expect(2);
    assert!(ran.stderr.contains("already"), "{}", ran.stderr);

    // A copy is no other experiment.
    let copy = project.path("experiments/copy");
    for file in list_recursive(&project.path("experiments/child")).unwrap() {
        fs::create_dir_all(copy.join(&file).parent().unwrap()).unwrap();
        fs::copy(project.path("experiments/child").join(&file), copy.join(&file)).unwrap();
    }
    let ran = project.harness(&["audit"]).expect(1);
    assert!(ran.stdout.contains("a copy of the same run of `child`"), "{}", ran.stdout);
    assert!(project.harness(&["compare", "first", "copy"]).expect(2).stderr.contains("no completed"));
}

#[test]
fn a_dropped_run_stays_in_sight() {
    let project = Project::new();
    for seed in ["3", "4", "5"] {
        project.harness(&["run", "tiny", "--seed", seed]).expect(0);
    }
    let dropped = project.runs("tiny")[1].clone();
    project.harness(&["drop", "tiny", "--because", "x"]).expect(2);
    project.harness(&["drop", &id(&dropped), "--because", "the disk was failing"]).expect(0);
    project.commit("Runs");
    let counted = |project: &Project| {
        let rows = runs_json(project);
        let counted: Vec<u64> =
            rows.iter().filter(|row| row["left_out"].is_null()).map(|row| row["seed"].as_u64().unwrap()).collect();
        assert!(rows.iter().any(|row| row["left_out"] == "it was dropped: the disk was failing"), "{rows:?}");
        counted
    };
    assert_eq!(counted(&project), [3, 5]);
    let shown = project.harness(&["compare", "tiny", "tiny", "--json"]).expect(0).stdout;
    assert!(shown.contains("1 run left out: dropped"), "{shown}");
    // The reason stays when the folder goes, and nothing is missing then.
    for _ in 0..2 {
        let ran = project.harness(&["audit"]).expect(0);
        assert!(ran.stdout.contains("note [L2]") && ran.stdout.contains("the disk was failing"), "{}", ran.stdout);
        assert_eq!(counted(&project), [3, 5]);
        let _ = fs::remove_dir_all(&dropped);
    }
}

#[test]
fn deleted_runs_and_missing_seeds_are_told() {
    let project = Project::new();
    for seed in ["3", "4", "5"] {
        project.harness(&["run", "tiny", "--seed", seed]).expect(0);
    }
    project.harness_with("die:11", &["run", "tiny", "--seed", "6"]).expect(1);
    let runs = project.runs("tiny");
    let audit = project.harness(&["audit"]).expect(0).stdout;
    assert!(audit.contains("`tiny`: 1 run left out: failed"), "{audit}");

    // Nothing was committed: the next run names what was there.
    fs::remove_dir_all(&runs[1]).unwrap();
    let ran = project.harness(&["audit"]).expect(3);
    assert!(
        ran.stdout.contains(&id(&runs[1])) && ran.stdout.contains(&format!("run {} names it", id(&runs[2]))),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("no run is known of seed 4"), "{}", ran.stdout);

    // What was committed, git remembers, the last run too.
    project.commit("Runs");
    fs::remove_dir_all(&runs[3]).unwrap();
    let commit = project.git(&["rev-parse", "--short=12", "HEAD"]);
    let ran = project.harness(&["audit"]).expect(3);
    let told = format!("it was deleted; commit {} still holds it", commit.trim());
    assert!(ran.stdout.contains(&id(&runs[3])) && ran.stdout.contains(&told), "{}", ran.stdout);
    let row = runs_json(&project).into_iter().find(|row| row["run"] == id(&runs[3]).as_str()).unwrap();
    assert_eq!((row["state"].as_str(), row["seed"].as_u64()), (Some("deleted"), Some(6)));
    let shown = project.harness(&["compare", "tiny", "tiny", "--json"]).expect(0).stdout;
    assert!(shown.contains("2 runs left out: deleted"), "{shown}");
    assert!(!shown.contains("seed 6"), "a run of that seed is known");

    // Every opening is listed, and what became of it.
    let audit: serde_json::Value =
        serde_json::from_str(&project.harness(&["audit", "--json"]).expect(3).stdout).unwrap();
    let openings = audit["openings"].as_array().unwrap();
    let told: Vec<(&str, String)> =
        openings.iter().map(|opened| (opened["run"].as_str().unwrap(), opened["left_out"].to_string())).collect();
    let gone = [format!(r#"{{"named_by":"{}"}}"#, id(&runs[2])), format!(r#"{{"commit":"{}"#, commit.trim())];
    assert_eq!(told.iter().map(|(run, _)| *run).collect::<Vec<_>>(), runs.iter().map(|r| id(r)).collect::<Vec<_>>());
    assert!(told[1].1.contains(&gone[0]) && told[3].1.contains(&gone[1]), "{told:?}");
    assert_eq!((told[0].1.as_str(), openings[0]["seed"].as_u64()), ("null", Some(3)), "{audit}");
}

#[test]
fn runs_of_one_purpose_count() {
    let project = Project::new();
    let run = |seed: &str, purpose: &str| {
        project.harness(&["run", "tiny", "--seed", seed, "--purpose", purpose]).expect(0);
        let rows = runs_json(&project);
        let counted = rows.iter().filter(|row| row["left_out"].is_null());
        counted
            .map(|row| (row["seed"].as_u64().unwrap(), row["purpose"].as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(run("1", "tune"), []);
    assert_eq!(run("2", "explore"), [(2, "explore".to_owned())]);
    assert_eq!(run("3", "confirm"), [(3, "confirm".to_owned())]);
    assert_eq!(run("4", "confirm"), [(3, "confirm".to_owned()), (4, "confirm".to_owned())]);
    assert_eq!(run("5", "tune").len(), 2, "tuning again changes nothing");
    let open = Project::json(&project.latest("tiny").join("open.json"));
    assert_eq!(
        (open["plan"]["purpose"].as_str(), open["plan"]["seed_rule"].as_str()),
        (Some("tune"), Some("command_line"))
    );
    assert_eq!((open["launch"]["launcher"].as_str(), open["launch"]["world_size"].as_u64()), (Some("local"), Some(1)));
    // A run that is named is told to be a choice among others.
    let one = id(&project.runs("tiny")[2]);
    let shown = project.harness(&["compare", "tiny", &one, "--json"]).expect(0).stdout;
    assert!(shown.contains("1 run left out: of the same plan, but not named here"), "{shown}");
}

#[test]
fn a_continuation_names_the_segments_it_consists_of() {
    let project = Project::new();
    project.harness_with("die:6", &["run", "tiny", "--purpose", "confirm"]).expect(1);
    project.harness_with("die:11", &["run", "tiny", "--resume"]).expect(1);
    project.harness(&["run", "tiny", "--resume"]).expect(0);
    let runs = project.runs("tiny");
    let open = Project::json(&runs[2].join("open.json"));
    let segments = open["resumed_from"]["segments"].as_array().unwrap();
    let named: Vec<(String, u64)> =
        segments.iter().map(|s| (s["run"].as_str().unwrap().to_owned(), s["to_step"].as_u64().unwrap())).collect();
    assert_eq!(named, [(id(&runs[0]), 4), (id(&runs[1]), 8)]);
    assert_eq!(
        (open["plan"]["purpose"].as_str(), open["plan"]["seed_rule"].as_str()),
        (Some("confirm"), Some("earlier_run"))
    );
    let left_out: Vec<String> =
        runs_json(&project).iter().filter_map(|row| row["left_out"].as_str().map(str::to_owned)).collect();
    assert_eq!(left_out, [1, 2].map(|next| format!("{} continues it", id(&runs[next]))));
    project.harness(&["audit"]).expect(0);
    replace(&runs[2].join("open.json"), "\"to_step\": 4", "\"to_step\": 5");
    seal_again(&runs[2]);
    let ran = project.harness(&["audit"]).expect(1);
    assert!(ran.stdout.contains("its segments are not those"), "{}", ran.stdout);
}

#[test]
fn what_desktops_put_into_folders_is_no_finding() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    for place in ["experiments", "experiments/tiny", "experiments/tiny/runs"] {
        project.write(&format!("{place}/.DS_Store"), "x");
    }
    fs::write(project.latest("tiny").join("Thumbs.db"), "x").unwrap();
    project.write("experiments/README.md", "What was tried.\n");
    project.harness(&["audit"]).expect(0);
    project.write("experiments/tiny/runs/old-results.csv", "x");
    fs::create_dir(project.path("experiments/tiny/runs/_away")).unwrap();
    let ran = project.harness(&["audit"]).expect(1);
    let told = |what: &str| {
        ran.stdout.contains(&format!("experiments/tiny/runs/{what}: is in a runs folder, but is not a run id"))
    };
    assert!(told("_away") && told("old-results.csv"), "{}", ran.stdout);
    // A folder may be a run that was put out of sight; a file is none.
    fs::remove_dir(project.path("experiments/tiny/runs/_away")).unwrap();
    let ran = project.harness(&["audit"]).expect(0);
    assert!(ran.stdout.contains("note [L0] experiments/tiny/runs/old-results.csv"), "{}", ran.stdout);
}
