//! What the pages of docs/ show of commands, against what the program prints.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cases::demo::{cloned, trainer};
use crate::cases::lineage::json;
use crate::common::{is_harness_itself, repository};

/// A command of a page and what the page shows of its output; `…` stands for lines that are left out.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// The commands of a page: indented lines that begin with `$`, each with the indented lines that follow.
fn shown_on(page: &str) -> Vec<Shown> {
    let page = fs::read_to_string(repository().join(page)).unwrap();
    let mut all: Vec<Shown> = Vec::new();
    let mut is_open = false;
    for line in page.lines() {
        match (line.strip_prefix("    $ "), line.strip_prefix("    ")) {
            (Some(command), _) => all.push(Shown { command: command.to_owned(), output: Vec::new() }),
            (None, Some(output)) if is_open => all.last_mut().expect("it is open").output.push(output.to_owned()),
            (None, _) => {}
        }
        is_open = line.starts_with("    $ ") || is_open && line.starts_with("    ");
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

/// Whether a program succeeds, and both of its outputs in the order in which a terminal shows them; `path` is for the time between.
fn printed(program: &mut Command, path: &Path) -> (bool, String) {
    let printed = fs::File::create(path).unwrap();
    let status = program.stdout(printed.try_clone().unwrap()).stderr(printed).status().unwrap();
    (status.success(), fs::read_to_string(path).unwrap())
}

#[test]
fn every_command_of_the_tour_prints_what_the_page_shows() {
    let Some(project) = cloned() else { return };
    let trainer = trainer(&project);
    let commands = shown_on("docs/tour.md");
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
        let mut program = project.command(&words);
        let (succeeded, printed) = printed(program.env("HARNESS_TRAINER", &trainer), &project.path(".git/printed"));
        assert!(succeeded, "{command}\n{printed}");
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

/// What says the same on every machine and day, without the corpus: it reads sealed records, studies and decisions of the experiments
/// that it names, and writes nothing.
const READS_RECORDS: [&str; 10] = [
    "compare",
    "decide",
    "diagnose",
    "diff",
    "ladder score",
    // Where the runs of this machine are all, or none, of those that there are: the rank rests on what they take.
    "next",
    "show",
    "study check",
    "study show",
    "variance",
];

#[test]
fn the_guide_shows_what_the_program_says_of_the_worked_study() {
    let git = |arguments: &[&str]| {
        let ran = Command::new("git").arg("-C").arg(repository()).args(arguments).output().unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    if !is_harness_itself() || git(&["rev-parse", "--is-shallow-repository"]).trim() != "false" {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for Shown { command, output } in ["docs/guide.md", "docs/statistics.md"].into_iter().flat_map(shown_on) {
        let Some(words) = command.strip_prefix("harness ") else { continue };
        if !READS_RECORDS.iter().any(|reads| words.starts_with(reads)) {
            continue;
        }
        let mut program = Command::new(env!("CARGO_BIN_EXE_harness"));
        program.arg("--project").arg(repository()).args(split(words)).env_remove("HARNESS_MIRROR");
        let (_, found) = printed(&mut program, &folder.path().join("printed"));
        let exact = |lines: &mut dyn Iterator<Item = &str>| -> Vec<String> {
            lines.map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
        };
        let (shown, found) = (exact(&mut output.iter().map(String::as_str)), exact(&mut found.lines()));
        assert!(
            holds(&shown, &found),
            "`{command}` prints\n{}\nand the page shows\n{}",
            found.join("\n"),
            shown.join("\n")
        );
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}
