//! A project of one's own, begun from a commit of another one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Project, Ran, TINY, repository, skip};
use serde_json::{Value, json};

/// A repository with sources, recipes, and everything that somebody worked out in it.
fn worked_out() -> Project {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    project.write("Cargo.toml", "[workspace.package]\nversion = \"7.8.9\"\n");
    project.write("src/trainer/Cargo.toml", "[package]\n");
    project.write("setup/needs.sh", "#!/bin/sh\necho it runs\n");
    fs::set_permissions(project.path("setup/needs.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    project.write("docs/guide.md", "# Guide\n");
    project.write("docs/example/paper.pdf", "%PDF of others\n");
    project.write("templates/values.typ", "// values\n");
    project.write("experiments/library/muon.toml", "title = \"Muon\"\n");
    project.write("experiments/project.toml", "id = \"theirs\"\n");
    project.write("experiments/budget.toml", "cpu_hours = 1.5\n");
    let baseline = format!("# Ours to begin with.\n{}", TINY.replace("\"Tiny\"", "\"Baseline\""));
    project.write("experiments/baseline/experiment.toml", &baseline);
    project.write("experiments/baseline/decision.toml", "# decided by others\n");
    project.write("experiments/warm-up/experiment.toml", "extends = \"baseline\"\ntitle = \"Warm-up\"\n");
    project.write("experiments/warm-up/notes.md", "Their notes.\n");
    for path in ["report/README.md", "report/paper.toml", "report/sections/10-introduction.typ", "cluster.toml"] {
        project.write(path, "theirs, but for the README\n");
    }
    project.write("CITATION.cff", "title: harness\n");
    project.commit("Work it out");
    project
}

/// As who commits: the environment of a test has no name of git otherwise.
fn named(command: &mut Command) -> &mut Command {
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada Lovelace").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
    }
    command
}

fn init(project: &Project, arguments: &[&str]) -> Ran {
    let mut command = project.command(&[&["init"], arguments].concat());
    Ran::of(named(&mut command).output().unwrap())
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

#[test]
fn a_project_of_ones_own_has_what_everybody_needs_and_nothing_that_others_worked_out() {
    let project = worked_out();
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("group \"7\"");
    let ran = init(&project, &[folder.to_str().unwrap(), "--gpu-hours", "40", "--licence", "CC-BY-4.0", "--json"]);
    let made: Value = serde_json::from_str(&ran.expect(0).stdout).unwrap();

    let listed = git(&folder, &["ls-files", "-z"]);
    let mut files: Vec<&str> = listed.split_terminator('\0').collect();
    files.sort_unstable();
    let expected = [
        ".gitignore",
        "CITATION.cff",
        "Cargo.toml",
        "LICENSE",
        "docs/guide.md",
        "experiments/baseline/experiment.toml",
        "experiments/budget.toml",
        "experiments/corpora/tiny.toml",
        "experiments/library/muon.toml",
        "experiments/project.toml",
        "experiments/tasks/grammar-agreement.toml",
        "report/README.md",
        "report/drafted/paper.toml",
        "report/paper.toml",
        "setup/needs.sh",
        "src/trainer/Cargo.toml",
        "templates/values.typ",
    ];
    assert_eq!(files, expected);
    assert!(git(&folder, &["status", "--porcelain"]).is_empty(), "all of it is committed");
    // It is a repository of its own, in which programs can be started.
    assert_eq!(git(&folder, &["rev-list", "--count", "HEAD"]).trim(), "1");
    assert!(!folder.join(".git/objects/info/alternates").exists() && git(&folder, &["remote"]).is_empty());
    assert!(Command::new(folder.join("setup/needs.sh")).output().unwrap().status.success());
    assert_eq!(
        read(folder.join("experiments/baseline/experiment.toml")),
        read(project.path("experiments/baseline/experiment.toml"))
    );

    // The first commit and the answer name where it comes from.
    let origin = project.git(&["rev-parse", "HEAD"]);
    let from = json!({ "project": "theirs", "version": "7.8.9", "commit": origin.trim(), "remote": null });
    assert_eq!(made["from"], from);
    let message = git(&folder, &["log", "--format=%an%n%B"]);
    assert!(message.starts_with("Ada Lovelace\nBegin group \"7\" from theirs, harness 7.8.9\n"), "{message}");
    assert!(message.contains(origin.trim()), "{message}");
    assert_eq!(made["commit"], git(&folder, &["rev-parse", "HEAD"]).trim());
    assert_eq!(made["files"], expected.len());

    // What was stated stands where the program reads it.
    let table = |path: &str| read(folder.join(path)).parse::<toml::Table>().unwrap();
    assert_eq!(table("experiments/project.toml")["id"].as_str(), Some("group \"7\""));
    assert_eq!(table("experiments/project.toml")["licence"].as_str(), Some("CC-BY-4.0"));
    assert_eq!(table("experiments/budget.toml")["gpu_hours"].as_float(), Some(40.0));
    assert!(!table("experiments/budget.toml").contains_key("cpu_hours"), "theirs was 1.5");
    let authors = table("report/paper.toml")["authors"].clone();
    assert_eq!(authors.as_array().unwrap().len(), 1, "who commits, where nobody is named");
    assert_eq!(
        (authors[0]["name"].as_str(), authors[0]["email"].as_str()),
        (Some("Ada Lovelace"), Some("ada@example.org"))
    );
    let citation = read(folder.join("CITATION.cff"));
    for line in ["title: \"group \\\"7\\\"\"", "  - name: \"Ada Lovelace\"", "  - CC-BY-4.0", "    version: 7.8.9"] {
        assert!(citation.lines().any(|written| written == line), "{line}: {citation}");
    }
    let licence = read(folder.join("LICENSE"));
    assert!(licence.contains("Ada Lovelace") && licence.contains("CC-BY-4.0") && licence.contains("LICENSE-MIT"));

    // The project works, and the next one can begin from it.
    let budget = Ran::of(project.command(&["-C", folder.to_str().unwrap(), "budget", "--json"]).output().unwrap());
    assert!(budget.expect(0).stdout.contains("40"));
    let next = outside.path().join("next");
    let arguments = [
        "-C",
        folder.to_str().unwrap(),
        "init",
        next.to_str().unwrap(),
        "--author",
        "Grace",
        "--author",
        "B <b@x.org>",
    ];
    Ran::of(named(&mut project.command(&arguments)).output().unwrap()).expect(0);
    assert!(git(&next, &["log", "--format=%s"]).starts_with("Begin next from group \"7\", harness 7.8.9"));
    let named = read(next.join("report/paper.toml")).parse::<toml::Table>().unwrap()["authors"].to_string();
    assert!(named.contains("Grace") && named.contains("b@x.org") && !named.contains("Ada"), "{named}");
}

#[test]
fn the_paper_of_a_new_project_has_its_authors_and_no_draft_behind() {
    let project = worked_out();
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("ours");
    init(&project, &[folder.to_str().unwrap()]).expect(0);
    let drafted = read(folder.join("report/drafted/paper.toml"));
    let own = read(folder.join("report/paper.toml"));
    // Apart from the authors it is the draft, which is kept beside it, so that later changes of it are told.
    let before = own.split("[[authors]]").next().unwrap();
    let after = own.split("\n\n").last().unwrap();
    assert!(drafted.starts_with(before) && drafted.ends_with(after) && drafted != own, "{own}");
}

#[test]
fn another_experiment_can_be_the_baseline_if_it_extends_none() {
    let project = worked_out();
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("ours");
    let path = folder.to_str().unwrap();
    for (name, words) in [("warm-up", "it extends `baseline`"), ("absent", "there is no such experiment")] {
        let ran = init(&project, &[path, "--baseline", name]).expect(2);
        assert!(ran.stderr.contains(words) && ran.stderr.contains("--baseline tiny"), "{}", ran.stderr);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "nothing is left of it");
    }
    init(&project, &[path, "--baseline", "tiny"]).expect(0);
    assert_eq!(read(folder.join("experiments/baseline/experiment.toml")), TINY);
    assert!(!folder.join("experiments/tiny").exists());
}

#[test]
fn what_cannot_be_a_project_is_refused_with_what_to_do() {
    let project = worked_out();
    let outside = tempfile::tempdir().unwrap();
    let path = |name: &str| outside.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("full")).unwrap();
    fs::write(path("full/thesis.txt"), "mine").unwrap();
    fs::create_dir(path("empty")).unwrap();
    let refused = |arguments: &[&str], words: &[&str]| {
        let ran = init(&project, arguments).expect(2);
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{words:?}: {}", ran.stderr);
    };
    refused(&[&path("full")], &["is not empty", "hint: name a folder that does not exist yet"]);
    refused(&[&path("full/thesis.txt")], &["below a file", "hint:"]);
    refused(&["inside"], &["lies in the project", "../inside"]);
    for (option, value, words) in [
        ("--gpu-hours", "-1", "such as `40`"),
        ("--cpu-hours", "nan", "such as `40`"),
        ("--licence", "all rights", "CC-BY-4.0"),
        ("--author", "<nobody@example.org>", "Ada Lovelace <ada@example.org>"),
    ] {
        refused(&[&path("new"), &format!("{option}={value}")], &[words]);
    }
    let mut nameless = project.command(&["init", &path("new")]);
    nameless.envs([
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "user.useConfigOnly"),
        ("GIT_CONFIG_VALUE_0", "true"),
    ]);
    let ran = Ran::of(nameless.output().unwrap()).expect(2);
    assert!(ran.stderr.contains("git config --global user.name"), "{}", ran.stderr);
    project.write("src/trainer/new.rs", "// not committed\n");
    refused(&[&path("new")], &["src/trainer/new.rs differs from commit", "hint: commit it"]);
    fs::remove_file(project.path("src/trainer/new.rs")).unwrap();
    assert_eq!(read(path("full/thesis.txt")), "mine");
    let mut left: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["empty", "full"]);
    init(&project, &[&path("empty")]).expect(0);

    project.git(&["rm", "-rq", "src"]);
    project.commit("Keep the experiments alone");
    refused(&[&path("new")], &["holds no sources of harness", "-C CLONE"]);
}

#[test]
fn on_a_terminal_what_no_option_states_is_asked_for() {
    let project = worked_out();
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("ours");
    let line = format!("{} init {} --gpu-hours 3", env!("CARGO_BIN_EXE_harness"), folder.display());
    // `script` gives it a terminal.
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(project.path("")).env_clear();
    script.env("PATH", std::env::var_os("PATH").unwrap());
    let child = named(&mut script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        return skip("script", "install bsdutils");
    };
    // The licence stays as it is; hours that are no number are asked for again.
    let answers = "Grace Hopper <grace@example.org>, Ada\n\nmany\n12.5\n";
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap()).expect(0);
    assert!(ran.stdout.contains("Licence") && ran.stdout.contains("such as `40`"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("Hours on a GPU"), "an option has stated them: {}", ran.stdout);
    assert!(read(folder.join("experiments/project.toml")).contains("licence = \"MIT OR Apache-2.0\""));
    let budget = read(folder.join("experiments/budget.toml"));
    assert!(budget.contains("\ngpu_hours = 3.0\n") && budget.contains("\ncpu_hours = 12.5\n"), "{budget}");
    let paper = read(folder.join("report/paper.toml"));
    assert!(
        paper.contains("Grace Hopper") && paper.contains("grace@example.org") && paper.contains("\"Ada\""),
        "{paper}"
    );
}

/// The rule is one of folders: whatever becomes part of the repository, its experiments stay behind.
#[test]
fn of_this_repository_a_new_project_has_every_source_and_one_experiment() {
    if !repository().join(".git").exists() {
        return skip("clone", "the tests run in a folder that is no clone");
    }
    let clone = tempfile::tempdir().unwrap();
    let (origin, folder) = (clone.path().join("origin"), clone.path().join("ours"));
    let source = repository().canonicalize().unwrap();
    git(
        clone.path(),
        &["clone", "-q", "--depth", "1", &format!("file://{}", source.display()), origin.to_str().unwrap()],
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(["-C", origin.to_str().unwrap(), "init", folder.to_str().unwrap()]).stdin(Stdio::null());
    Ran::of(named(&mut command).output().unwrap()).expect(0);
    let tracked = |folder: &Path| -> Vec<String> {
        git(folder, &["ls-files", "-z"]).split_terminator('\0').map(str::to_owned).collect()
    };
    let (theirs, ours) = (tracked(&origin), tracked(&folder));
    let left: Vec<&String> = theirs.iter().filter(|path| !ours.contains(path)).collect();
    let may_stay = |path: &&&String| {
        ["experiments/", "report/", "docs/example/", "cluster.toml"].iter().any(|root| path.starts_with(root))
    };
    assert!(left.iter().all(|path| may_stay(&path)), "{left:?}");
    let experiments: Vec<&String> =
        ours.iter().filter(|path| path.ends_with("/experiment.toml") && path.starts_with("experiments/")).collect();
    assert_eq!(experiments, ["experiments/baseline/experiment.toml"]);
    // What is built there is what is built here, to the digest that records carry.
    for part in ["src", "setup", "templates", "tests"] {
        let tree = |root: &Path| git(root, &["rev-parse", &format!("HEAD:{part}")]);
        assert_eq!(tree(&origin), tree(&folder), "{part}");
    }
}
