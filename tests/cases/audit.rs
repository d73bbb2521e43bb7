//! Whatever is changed after a run was sealed is found, and said with the numbers that depend on it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Project, TINY, flip, seal_again};
use harness_core::files::list_recursive;

/// Damages a file, audits, and puts the file back.
fn audit_damaged(project: &Project, path: &Path, damage: impl FnOnce(&Path)) -> crate::common::Ran {
    let before = fs::read(path).unwrap();
    damage(path);
    let ran = project.harness(&["audit", "tiny"]);
    let _ = fs::remove_file(path);
    fs::write(path, before).unwrap();
    ran
}

#[test]
fn one_byte_of_any_file_of_a_run_is_found() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    project.harness(&["audit", "tiny"]).expect(0);
    let files = list_recursive(&run).unwrap();
    assert!(files.len() > 15, "{files:?}");
    for file in &files {
        let length = fs::metadata(run.join(file)).unwrap().len() as usize;
        for at in [0, length / 2, length - 1] {
            let ran = audit_damaged(&project, &run.join(file), |path| flip(path, at)).expect(1);
            assert!(ran.stdout.contains(file.as_str()), "byte {at} of {file}: {}", ran.stdout);
        }
        let ran = audit_damaged(&project, &run.join(file), |path| fs::remove_file(path).unwrap());
        let gone = if file.starts_with("checkpoints/") { 3 } else { 1 };
        assert!(ran.code == gone && ran.stdout.contains(file.as_str()), "without {file}: {}", ran.all());
    }
    // A digest has one spelling: capital letters are another MANIFEST, though they name the same digests.
    let ran = audit_damaged(&project, &run.join("MANIFEST"), |path| {
        let text = fs::read_to_string(path).unwrap();
        let at = text.find(|c: char| c.is_ascii_lowercase()).unwrap();
        fs::write(path, format!("{}{}", text[..=at].to_ascii_uppercase(), &text[at + 1..])).unwrap();
    });
    assert!(ran.code == 1 && ran.stdout.contains("MANIFEST"), "{}", ran.all());
    // A link could lead the auditor anywhere, even to a file without an end.
    let ran = audit_damaged(&project, &run.join("steps.csv"), |path| {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    });
    assert!(ran.code == 1 && ran.stdout.contains("not a plain file"), "{}", ran.all());
    fs::write(run.join("evaluations/extra.csv"), "x\n").unwrap();
    let ran = project.harness(&["audit", "tiny"]).expect(1);
    assert!(ran.stdout.contains("evaluations/extra.csv"), "{}", ran.stdout);
}

#[test]
fn runs_cannot_be_put_out_of_sight() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    fs::remove_file(project.path("experiments/tiny/experiment.toml")).unwrap();
    let ran = project.harness(&["audit", "--verbose"]).expect(0);
    assert!(ran.stdout.contains("of tiny"), "its config is gone, its run is audited: {}", ran.stdout);
    let run = project.latest("tiny");
    fs::rename(&run, run.with_file_name("_away")).unwrap();
    let ran = project.harness(&["audit"]).expect(1);
    assert!(ran.stdout.contains("experiments/tiny/runs/_away"), "{}", ran.stdout);
}

#[test]
fn a_finding_names_the_numbers_that_depend_on_the_file() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    let cases = [
        ("evaluations/step-00000020/validation.csv", "validation.bits_per_byte"),
        ("evaluations/step-00000020/grammar-agreement.simple.csv", "tasks.grammar-agreement.simple.accuracy"),
        ("evaluations/step-00000020/grammar-agreement.simple.csv", "tasks.grammar-agreement.accuracy"),
        ("steps.csv", "training.*"),
        ("plan/config.toml", "config.*"),
    ];
    for (file, number) in cases {
        let ran = audit_damaged(&project, &run.join(file), |path| flip(path, 40)).expect(1);
        assert!(ran.stdout.contains(number), "{file}: {}", ran.stdout);
    }
}

#[test]
fn the_declared_dependents_are_the_real_ones() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let shown = project.harness(&["show", "tiny", "--values", "--json"]).expect(0);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let open = serde_json::from_slice(&fs::read(project.latest("tiny").join("open.json")).unwrap()).unwrap();
    for (key, value) in shown["values"].as_object().unwrap() {
        for file in value["files"].as_array().unwrap() {
            let declared = harness_analyse::numbers_from(file.as_str().unwrap(), Some(&open));
            assert!(harness_analyse::is_among(key, &declared), "{key} comes from {file}, declared are {declared:?}");
        }
    }
}

#[test]
fn one_byte_of_the_data_is_found() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let open = Project::json(&project.latest("tiny").join("open.json"));
    // The store is shared between tests, so this project gets copies of its own to damage.
    let store = project.path(".harness");
    let shared = fs::read_link(&store).unwrap();
    fs::remove_file(&store).unwrap();
    copy_folder(&shared, &store);
    let mut paths: Vec<&str> =
        open["data"]["shards"].as_array().unwrap().iter().map(|s| s["path"].as_str().unwrap()).collect();
    paths.push(open["data"]["tokenizer"].as_str().unwrap());
    paths.extend(open["tasks"].as_array().unwrap().iter().map(|t| t["requests"].as_str().unwrap()));
    project.harness(&["audit", "tiny"]).expect(0);
    for path in paths {
        let ran = audit_damaged(&project, &project.path(path), |path| flip(path, 100)).expect(1);
        assert!(ran.stdout.contains(path) && ran.stdout.contains("tasks."), "{path}: {}", ran.stdout);
    }
    fs::remove_dir_all(&store).unwrap();
    let ran = project.harness(&["audit", "tiny"]).expect(3);
    assert!(ran.stdout.contains("harness data prepare tiny"), "{}", ran.stdout);
    let prepare = "harness task prepare grammar-agreement --corpus tiny --items 0";
    assert!(ran.stdout.contains(prepare), "{}", ran.stdout);
    // What is advised brings back everything.
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    project.harness(&prepare.split(' ').skip(1).collect::<Vec<_>>()).expect(0);
    project.harness(&["audit", "tiny"]).expect(0);
}

#[test]
fn requests_are_made_again_with_the_items_of_the_run() {
    let project = Project::new();
    let few = TINY.replace("Tiny", "Few").replace("[evaluation]\n", "[evaluation]\nitems_per_task = 3\n");
    project.write("experiments/few/experiment.toml", &few);
    project.commit("Ask fewer items");
    project.harness(&["run", "few"]).expect(0);
    let store = project.path(".harness");
    let shared = fs::read_link(&store).unwrap();
    fs::remove_file(&store).unwrap();
    copy_folder(&shared, &store);
    fs::remove_dir_all(store.join("tasks")).unwrap();
    // `tiny` asks all of them; what is advised for `few` makes those of `few`.
    let ran = project.harness(&["audit", "few"]).expect(3);
    let prepare = "harness task prepare grammar-agreement --corpus tiny --items 3";
    assert!(ran.stdout.contains(prepare), "{}", ran.stdout);
    project.harness(&prepare.split(' ').skip(1).collect::<Vec<_>>()).expect(0);
    project.harness(&["audit", "few"]).expect(0);
}

fn copy_folder(from: &Path, to: &Path) {
    for file in list_recursive(from).unwrap() {
        let target: PathBuf = to.join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        // Another test may be writing: what is still a draft is no part of the store.
        let _ = fs::copy(from.join(file), target);
    }
}

#[test]
fn a_config_that_changed_at_its_commit_is_found() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    // The blob of the config at the commit, as a loose object: damaged, then replaced by a well-formed other one.
    let blob = project.git(&["rev-parse", "HEAD:experiments/tiny/experiment.toml"]);
    let object = |id: &str| project.path(&format!(".git/objects/{}/{}", &id[..2], id[2..].trim()));
    let original = fs::read(object(&blob)).unwrap();
    make_writable(&object(&blob));
    flip(&object(&blob), original.len() / 2);
    let ran = project.harness(&["audit", "tiny"]).expect(1);
    assert!(ran.stdout.contains("experiments/tiny/experiment.toml at commit"), "{}", ran.stdout);

    project.write("other.toml", &TINY.replace("seed = 3", "seed = 9"));
    let other = project.git(&["hash-object", "-w", "other.toml"]);
    fs::copy(object(&other), object(&blob)).unwrap();
    let ran = project.harness(&["audit", "tiny"]).expect(1);
    assert!(ran.stdout.contains("experiments/tiny/experiment.toml at commit"), "{}", ran.stdout);

    fs::write(object(&blob), original).unwrap();
    project.harness(&["audit", "tiny"]).expect(0);
}

fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn a_run_sealed_anew_after_an_edit_contradicts_itself() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    // The forger lowers a loss and makes a new MANIFEST; the record still names the old digest.
    let path = run.join("evaluations/step-00000020/validation.csv");
    let text = fs::read_to_string(&path).unwrap();
    let (head, last) = text.trim_end().rsplit_once(',').unwrap();
    fs::write(&path, format!("{head},{}\n", last.parse::<f64>().unwrap() * 0.5)).unwrap();
    seal_again(&run);
    let ran = project.harness(&["audit", "tiny"]).expect(1);
    assert!(ran.stdout.contains("not the one its record names"), "{}", ran.stdout);
}

#[test]
fn a_value_is_traced_to_its_sources() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let ran = project.harness(&["audit", "tiny:validation.bits_per_byte"]).expect(0);
    for link in ["validation.csv", "MANIFEST", "commit", "experiments/tiny/experiment.toml", "shard", "corpus"] {
        assert!(ran.stdout.contains(link), "{link}: {}", ran.stdout);
    }
    let ran = project.harness(&["audit", "tiny:validation.bits_per_bite"]).expect(2);
    assert!(ran.stderr.contains("did you mean `validation.bits_per_byte`?"), "{}", ran.stderr);
    let ran = project.harness(&["audit", "--json", "tiny:training.tokens"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["contradictions"], 0);
    assert_eq!(report["numbers"][0]["number"], 20.0 * 2.0 * 32.0);
}

#[test]
fn of_an_experiment_every_run_is_audited_and_a_value_is_that_of_the_run_that_counts() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let counts = project.latest("tiny");
    project.harness(&["run", "tiny", "--purpose", "tune"]).expect(0);
    let later = project.latest("tiny");
    assert_ne!(counts, later);
    let id = |run: &Path| run.file_name().unwrap().to_str().unwrap().to_owned();
    let ran = project.harness(&["audit", "--json", "tiny:training.tokens"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["numbers"][0]["run"], id(&counts), "a run to tune stands for no number");
    for run in [&counts, &later] {
        let ran = audit_damaged(&project, &run.join("steps.csv"), |path| flip(path, 40)).expect(1);
        assert!(ran.stdout.contains(&id(run)), "{}", ran.stdout);
    }
    // Its folder names a run as its id does.
    let folder = format!("experiments/tiny/runs/{}/", id(&counts));
    let ran = project.harness(&["audit", "--verbose", &folder]).expect(0);
    assert!(ran.stdout.contains(&id(&counts)) && !ran.stdout.contains(&id(&later)), "{}", ran.stdout);
}

#[test]
fn a_class_is_audited_one_row_a_repository() {
    let (good, bad) = (Project::new(), Project::new());
    for project in [&good, &bad] {
        project.harness(&["run", "tiny"]).expect(0);
    }
    flip(&bad.latest("tiny").join("steps.csv"), 100);
    let list = good.path("class.txt");
    let nothing = good.path("experiments");
    let text = format!("# group\n.\n{}\n{}\n", bad.path("").display(), nothing.display());
    fs::write(&list, text).unwrap();
    // Not one of the repositories, and no project itself.
    let elsewhere = tempfile::tempdir().unwrap();
    let class = |arguments: &[&str]| {
        let all = [&["audit", "--class", list.to_str().unwrap()], arguments].concat();
        crate::common::Ran::of(good.command(&all).current_dir(elsewhere.path()).output().unwrap())
    };
    let ran = class(&["--json"]).expect(1);
    let table: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let [first, second, third] = table["repositories"].as_array().unwrap().as_slice() else { panic!("{table:#}") };
    assert!(first["repository"] == "." && first["exit_code"] == 0 && first["runs"] == 1, "{first:#}");
    assert!(second["exit_code"] == 1 && second["contradictions"].as_u64().unwrap() > 0, "{second:#}");
    // It lies in a project, but is none.
    assert!(third["outcome"] == "failed" && third["because"].as_str().unwrap().contains("is no project"), "{third:#}");
    let ran = class(&[]).expect(1);
    assert!(ran.stdout.contains("CONTRADICTION") && ran.stdout.contains("NOT AUDITED"), "{}", ran.stdout);
    fs::write(&list, "# nobody\n").unwrap();
    assert!(class(&[]).expect(2).stderr.contains("names no repository"));
}
