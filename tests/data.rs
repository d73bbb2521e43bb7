//! Looking at a prepared corpus: what is shown is what the manifest and the ledger hold.
#![allow(clippy::disallowed_methods, reason = "tests set up files as they like")]

mod common;

use std::fmt::Write as _;

use common::{Project, Ran};
use harness_core::Digest;
use serde_json::Value as Json;

/// A project whose corpus `lines` has documents that are too short, repeated, and written with blanks at line ends.
fn project() -> (Project, tempfile::TempDir) {
    let project = Project::new();
    let mirror = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for number in 0..60 {
        write!(text, "Sentence {number} of a corpus that is read by nobody else, as its {number} lines tell.   \n\n")
            .unwrap();
    }
    text.push_str("Said thrice, and long enough to stay in the corpus.\n\n".repeat(3).as_str());
    text.push_str("too short\n\n\u{1b}[2Jshort too\n");
    std::fs::write(mirror.path().join("lines.txt"), &text).unwrap();
    let recipe = format!(
        "title = \"Lines\"\nlanguage = \"en\"\nlicence = \"CC0-1.0\"\ncitation = \"none\"\nlimitations = \"Dull.\"\n\
         steps = [\"whitespace\", {{ shorter_than_characters = 30 }}]\ndocuments = {{ split = \"blank_lines\" }}\n\
         split = {{ validation = 0.2 }}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 280 }}\n\
         [[source]]\nname = \"lines\"\nsha256 = \"{}\"\nbytes = {}\n",
        Digest::of(text.as_bytes()),
        text.len()
    );
    ["lines", "never"].iter().for_each(|name| project.write(&format!("experiments/corpora/{name}.toml"), &recipe));
    (project, mirror)
}

fn show(project: &Project, arguments: &[&str]) -> Ran {
    project.harness(&[&["data", "show", "lines"], arguments].concat()).expect(0)
}

#[test]
fn a_corpus_is_shown_from_raw_text_to_tokens() {
    let (project, mirror) = project();
    // The store is shared between tests and stays: only what no test prepares is not there.
    let ran = project.harness(&["data", "show", "never"]).expect(1);
    assert!(ran.stderr.contains("harness data prepare never"), "{}", ran.stderr);
    let mut prepare = project.command(&["data", "prepare", "lines"]);
    assert!(prepare.env("HARNESS_MIRROR", mirror.path()).output().unwrap().status.success());

    let all: Json = serde_json::from_str(&show(&project, &["--json"]).stdout).unwrap();
    let manifest = &all["manifest"];
    let text = show(&project, &[]).stdout;
    let line = |start: &str| {
        let found =
            text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no `{start}` in\n{text}"));
        found[start.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("read ")[0], "65");
    assert_eq!(line("whitespace ")[..2], ["65", "65"], "a line end goes with each");
    assert_eq!(line("shorter_than_characters ")[..2], ["63", "0"]);
    assert_eq!(line("without exact duplicates ")[0], "61");
    assert!(!text.contains("without near duplicates"), "what was not looked for is not shown as not found");
    let sides: u64 = ["train ", "validation "].iter().map(|side| line(side)[0].parse::<u64>().unwrap()).sum();
    assert_eq!(sides, 61);
    assert_eq!(line("train ")[3].replace(',', ""), manifest["train"]["text_tokens"].as_u64().unwrap().to_string());
    assert_eq!(line("root "), [all["root"].as_str().unwrap()]);
    for part in ["title", "language", "licence", "citation", "limitations"] {
        assert!(text.contains(manifest[part].as_str().unwrap()), "{part} is shown");
    }
    assert_eq!(line("lines#60, kept; left out: "), ["2"]);
    assert!(text.contains("\n    Said thrice, and long enough"), "{text}");
    assert!(text.contains("  - too short"), "{text}");
    let before = text.find("lines tell.   ↵\n  + ").expect("a changed document before and after");
    assert!(text[before..].lines().nth(1).unwrap().ends_with("lines tell."), "{text}");
    assert!(text.contains("\u{fffd}[2Jshort too") && !text.contains('\u{1b}'), "a text cannot steer the terminal");

    assert!(!show(&project, &["--samples", "0"]).stdout.contains("  - too short"));
    assert_eq!(all["samples"].as_array().unwrap().len(), 10 + 2, "of each step and kind at most ten");
    assert_eq!(all["beginnings"]["lines#61"], "Said thrice, and long enough to stay in the corpus.");
}
