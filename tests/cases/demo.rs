//! The demonstration, and the tour of docs/tour.md, with the stand-in in the trainer's place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use harness_core::files::list_recursive;
use serde_json::Value;

use crate::cases::lineage::json;
use crate::cases::paper::with_templates;
use crate::common::{Project, is_harness_itself, repository, stand_in};

/// What a fresh clone of this repository has of it; `None` where Typst is not installed, and in a project of one's own.
fn cloned() -> Option<Project> {
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
fn trainer(project: &Project) -> PathBuf {
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

/// A command of a page and what the page shows of its output; `…` stands for lines that are left out.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// The commands of a page: indented lines that begin with `$`, each with the indented lines that follow.
fn shown_on(page: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for line in page.lines() {
        match (line.strip_prefix("    $ "), line.strip_prefix("    ")) {
            (Some(command), _) => all.push(Shown { command: command.to_owned(), output: Vec::new() }),
            (None, Some(output)) => all.last_mut().expect("a command comes first").output.push(output.to_owned()),
            (None, None) => {}
        }
    }
    all
}

/// The words of a command, of which the last may stand in quotation marks.
fn split(command: &str) -> Vec<&str> {
    let (words, quoted) = command.split_once(" \"").map_or((command, None), |(words, quoted)| (words, Some(quoted)));
    words.split(' ').chain(quoted.map(|quoted| quoted.trim_end_matches('"'))).collect()
}

/// Lines without what is other in each run (whatever holds a digit), without the blanks that make room for it, and without the costs,
/// which a stand-in does not have.
fn lines(text: impl Iterator<Item = impl AsRef<str>>) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || "+-−.,<".contains(c);
    let mask = |word: &str| {
        let parts =
            word.split_inclusive(|c| !is_word(c)).map(|part| match part.contains(|c: char| c.is_ascii_digit()) {
                true => format!("#{}", part.trim_start_matches(is_word)),
                false => part.to_owned(),
            });
        parts.collect::<String>()
    };
    let lines = text.map(|line| line.as_ref().split_whitespace().map(mask).collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty() && !line.starts_with("costs ")).collect()
}

fn holds(shown: &[String], printed: &[String]) -> bool {
    match shown {
        [] => printed.is_empty(),
        [gap, rest @ ..] if gap == "…" => (0..=printed.len()).any(|skipped| holds(rest, &printed[skipped..])),
        [line, rest @ ..] => printed.first() == Some(line) && holds(rest, &printed[1..]),
    }
}

#[test]
fn every_command_of_the_tour_prints_what_the_page_shows() {
    let Some(project) = cloned() else { return };
    let trainer = trainer(&project);
    let page = fs::read_to_string(repository().join("docs/tour.md")).unwrap();
    let commands = shown_on(&page);
    assert!(commands.len() > 10);
    for Shown { command, output } in commands {
        let words: Vec<&str> = match command.as_str() {
            "make demo" => vec!["demo"],
            typed => match typed.split_once(' ').unwrap() {
                ("export", _) => continue,
                ("git", rest) => {
                    project.git(&split(rest));
                    continue;
                }
                ("harness", rest) => split(rest),
                _ => panic!("no test runs `{command}`"),
            },
        };
        // Both outputs in the order in which a terminal shows them.
        let path = project.path(".git/printed");
        let printed = fs::File::create(&path).unwrap();
        let mut program = project.command(&words);
        program.env("HARNESS_TRAINER", &trainer).stdout(printed.try_clone().unwrap()).stderr(printed);
        let status = program.status().unwrap();
        let printed = fs::read_to_string(&path).unwrap();
        assert!(status.success(), "{command}\n{printed}");
        let (shown, found) = (lines(output.iter()), lines(printed.lines()));
        assert!(
            holds(&shown, &found),
            "`{command}` prints\n{}\nand the page shows\n{}",
            found.join("\n"),
            shown.join("\n")
        );
    }
    let decided = json(&project, &["decide", "muon"]);
    assert_eq!(decided["decided"]["outcome"], "rejected", "it ends with a decision");
}
