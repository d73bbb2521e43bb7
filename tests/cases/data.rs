//! Looking at a prepared corpus: what is shown is what the manifest and the ledger hold.

use std::fmt::Write as _;

use crate::common::{Project, Ran, hub};
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

#[test]
fn lines_that_were_repaired_are_shown_by_source() {
    let project = Project::new();
    let whole: String = (0..40).map(|n| format!("Document {n} of this source is whole.\n")).collect();
    let mut torn = whole.replace("this", "the torn").into_bytes();
    torn.extend(b"One byte is \xff not text.\nAnother \xc3( is not either.\n");
    std::fs::create_dir_all(project.path("texts")).unwrap();
    std::fs::write(project.path("texts/whole.txt"), &whole).unwrap();
    std::fs::write(project.path("texts/torn.txt"), &torn).unwrap();
    let source = |name: &str, text: &[u8]| {
        let (digest, bytes) = (Digest::of(text), text.len());
        format!("[[source]]\nname = \"{name}\"\npath = \"texts/{name}.txt\"\nsha256 = \"{digest}\"\nbytes = {bytes}\n")
    };
    let recipe = format!(
        "title = \"Torn\"\nlanguage = \"en\"\nlicence = \"CC0-1.0\"\ncitation = \"none\"\n\
         documents = {{ split = \"lines\", invalid_utf8 = \"repair\" }}\n\
         split = {{ validation = 0.2 }}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 280 }}\n{}{}",
        source("whole", whole.as_bytes()),
        source("torn", &torn)
    );
    project.write("experiments/corpora/torn.toml", &recipe);
    project.harness(&["data", "prepare", "torn"]).expect(0);
    let shown = project.harness(&["data", "show", "torn"]).expect(0).stdout;
    assert!(shown.contains("repaired with U+FFFD as they were not Unicode text: 2 lines (2 of torn)"), "{shown}");
    let all: Json =
        serde_json::from_str(&project.harness(&["data", "show", "torn", "--json"]).expect(0).stdout).unwrap();
    for source in all["manifest"]["sources"].as_array().unwrap() {
        assert_eq!(source["lines_repaired"], if source["name"] == "torn" { 2 } else { 0 }, "{source:#}");
    }
}

#[test]
fn a_data_set_of_a_hub_is_fetched_locked_and_prepared() {
    let project = Project::new();
    // The store of the other tests may hold the files already.
    std::fs::remove_file(project.path(".harness")).unwrap();
    let lines = |seed: u64| {
        let documents =
            harness_corpus::grammar::corpus(seed, 60).map(|text| serde_json::json!({ "text": text }).to_string());
        documents.collect::<Vec<_>>().join("\n").into_bytes()
    };
    let file = |seed, in_lfs| hub::HubFile { content: lines(seed), in_lfs, sent: None };
    let files = [("a.jsonl", file(1, true)), ("b.jsonl", file(2, false)), ("c.csv", file(3, true))];
    let server = hub::serve(files.into_iter().map(|(path, file)| (path.to_owned(), file)).collect());
    let recipe = "title = \"Set\"\nlanguage = \"en\"\nlicence = \"CC0-1.0\"\ncitation = \"none\"\n\
        split = { validation = 0.2 }\ntokenizer = { kind = \"unigram\", vocabulary_size = 320 }\n\
        [[source]]\nname = \"set\"\nformat = \"jsonl\"\nhub = { dataset = \"org/set\", files = \"*.jsonl\" }\n";
    project.write("experiments/corpora/set.toml", recipe);
    let asked = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        Ran::of(command.env("HF_ENDPOINT", &server.endpoint).output().unwrap())
    };
    let ran = project.harness(&["data", "show", "set"]).expect(2);
    assert!(ran.stderr.contains("hint: `harness data fetch set` looks it up"), "{}", ran.stderr);
    let ran = asked(&["data", "fetch", "set"]).expect(0);
    assert!(
        ran.stdout.starts_with("2 files: 1 were there, 0 from the project, 0 from the mirror, 1 from"),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("experiments/corpora/set.lock.json: commit it with the recipe"), "{}", ran.stderr);
    // Fetched once, neither hub nor network is needed.
    project.harness(&["data", "prepare", "set"]).expect(0);
    let shown = project.harness(&["data", "show", "set"]).expect(0).stdout;
    assert!(shown.contains("set (2 files, --all lists them)"), "{shown}");
    assert!(shown.contains("unigram vocabulary over bytes"), "{shown}");
    let shown = project.harness(&["data", "show", "set", "--all"]).expect(0).stdout;
    assert!(shown.contains("set/a.jsonl") && shown.contains("set/b.jsonl"), "{shown}");
    project.harness(&["data", "list"]).expect(0);
    project.harness(&["data", "fetch", "--update"]).expect(2);

    // Whatever fetches shows the hub the token, not only `harness data`.
    let small = crate::common::TINY.replace("\"tiny\"", "\"set\"").replace("[\"grammar-agreement\"]", "[]");
    project.write("experiments/small/experiment.toml", &small);
    for arguments in [&["probe", "batch", "small", "--most", "2"][..], &["plan", "small", "--probe"]] {
        std::fs::remove_dir_all(project.path(".harness")).unwrap();
        let before = server.seen().len();
        let mut command = project.command(arguments);
        command.env("HF_ENDPOINT", &server.endpoint).env("HF_TOKEN", "secret");
        Ran::of(command.output().unwrap()).expect(0);
        let asked = server.seen().split_off(before);
        let told = asked.iter().filter(|seen| seen.token.as_deref() == Some("Bearer secret")).count();
        assert!(told > 0, "{arguments:?}: {asked:?}");
    }
}

#[test]
fn a_recipe_without_digests_says_how_to_pin_its_files_and_that_works() {
    let project = Project::new();
    std::fs::remove_file(project.path(".harness")).unwrap();
    let text: String =
        (0..60).map(|at| format!("Sentence {at} of a text that nobody has pinned, in {at} words.\n\n")).collect();
    let pairs = "{\"sentence_good\": \"It is.\", \"sentence_bad\": \"It are.\"}\n".to_owned();
    let file = |content: &str, in_lfs| hub::HubFile { content: content.as_bytes().to_vec(), in_lfs, sent: None };
    // One comes at once, the other by another address, and breaks off the first time.
    let files = [("pairs.jsonl".to_owned(), file(&pairs, false)), ("text.txt".to_owned(), file(&text, true))];
    let server = hub::serve(files.into_iter().collect());
    let at = |name: &str| format!("{}/datasets/org/set/resolve/{}/{name}", server.endpoint, hub::COMMIT);
    let corpus = format!(
        "title = \"Text\"\nlanguage = \"en\"\nlicence = \"CC0-1.0\"\ncitation = \"none\"\n\
         documents = {{ split = \"blank_lines\" }}\nsplit = {{ validation = 0.2 }}\n\
         tokenizer = {{ kind = \"bpe\", vocabulary_size = 280 }}\n\n[[source]]\nname = \"text\"\nurl = \"{}\"\nformat = \"text\"\n",
        at("text.txt")
    );
    let task = format!(
        "title = \"Pairs\"\nlicence = \"CC0-1.0\"\ncitation = \"none\"\nversion = 1\nkind = \"minimal_pairs\"\n\
         metric = \"accuracy\"\nchance = 0.5\n\n[items]\nformat = \"jsonl\"\n\
         choices = [\"{{{{ sentence_good }}}}\", \"{{{{ sentence_bad }}}}\"]\n\n[[subtask]]\nfile.url = \"{}\"\n",
        at("pairs.jsonl")
    );
    project.write("experiments/corpora/new.toml", &corpus);
    project.write("experiments/tasks/pairs.toml", &task);
    for (asked, name) in [(["data", "prepare", "new"], "new"), (["task", "show", "pairs"], "pairs")] {
        let refused = project.harness(&asked).expect(2).stderr;
        assert!(
            refused.contains("is not stated") && refused.contains(&format!("`harness data pin {name}`")),
            "{refused}"
        );
    }

    let said = project.harness(&["data", "pin", "new"]).expect(0);
    let lines = format!("sha256 = \"{}\"\nbytes = {}\n", Digest::of(text.as_bytes()), text.len());
    assert!(said.stdout.contains(&lines) && said.stderr.contains("`harness data pin new --write`"), "{}", said.all());
    assert_eq!(std::fs::read_to_string(project.path("experiments/corpora/new.toml")).unwrap(), corpus, "only said");
    project.harness(&["data", "pin", "new", "--write"]).expect(0);
    let pinned = std::fs::read_to_string(project.path("experiments/corpora/new.toml")).unwrap();
    assert!(pinned.contains(&format!("text.txt\"\n{lines}format = ")), "{pinned}");
    project.harness(&["data", "pin", "pairs", "--write"]).expect(0);
    let pinned = std::fs::read_to_string(project.path("experiments/tasks/pairs.toml")).unwrap();
    assert!(pinned.ends_with(&format!(
        "file.sha256 = \"{}\"\nfile.bytes = {}\n",
        Digest::of(pairs.as_bytes()),
        pairs.len()
    )));

    // What was pinned is there: nothing is asked for again.
    let asked = server.seen().len();
    project.harness(&["data", "prepare", "new"]).expect(0);
    project.harness(&["task", "show", "pairs"]).expect(0);
    assert_eq!(server.seen().len(), asked);
    assert!(project.harness(&["data", "pin", "new"]).expect(0).stdout.contains("every file with a url has its digest"));
    // An address where nothing is gives the error of every fetch.
    project.write("experiments/corpora/gone.toml", &corpus.replace("text.txt", "gone.txt"));
    let gone = project.harness(&["data", "pin", "gone"]).expect(1).stderr;
    assert!(gone.contains("answered 404 (not found)"), "{gone}");
}
