//! Rules of the house that can be read from the sources. Each failure says how to mend it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{repository, skip};
use harness_core::files::list_recursive;

fn sources(folder: &str) -> Vec<(String, String)> {
    let files = list_recursive(&repository().join(folder)).unwrap();
    let rust = files.into_iter().filter(|f| f.ends_with(".rs"));
    rust.map(|f| (f.clone(), fs::read_to_string(repository().join(folder).join(&f)).unwrap())).collect()
}

/// Cargo takes `runner.rs` alone for a program of tests, so a file that it does not name would never run.
#[test]
fn every_file_of_tests_runs() {
    for folder in ["tests", "src/corpus/tests", "src/trainer/tests"] {
        let runner = fs::read_to_string(repository().join(folder).join("runner.rs")).unwrap();
        let (_, named) = runner.split_once("mod cases {").unwrap();
        let named: Vec<&str> = named.lines().filter_map(|l| l.trim().strip_prefix("mod ")?.strip_suffix(';')).collect();
        let files = list_recursive(&repository().join(folder).join("cases")).unwrap();
        let files: Vec<&str> = files.iter().filter_map(|file| file.strip_suffix(".rs")).collect();
        assert_eq!(named, files, "{folder}/runner.rs names the files of {folder}/cases, sorted");
    }
    for file in list_recursive(&repository().join("tests")).unwrap() {
        let runs = file.starts_with("cases/") || file.starts_with("common/");
        let program = ["runner.rs", "stand_in_trainer.rs"].contains(&file.as_str());
        assert!(runs || program || !file.ends_with(".rs"), "tests/{file} never runs: move it to tests/cases");
    }
}

/// What is printed by a test that passes is seen by nobody.
#[test]
fn no_test_is_skipped_but_by_the_one_function_that_may() {
    for (folder, (file, text)) in ["src", "tests"].iter().flat_map(|f| sources(f).into_iter().map(move |s| (f, s))) {
        let prints = text.to_lowercase().contains(&format!("eprintln!(\"{}", "skipped"));
        assert!(
            !prints || file == "common/skip.rs",
            "{folder}/{file} skips a test: call `skip` of tests/common/skip.rs"
        );
    }
}

#[test]
fn harness_needs_no_libtorch() {
    let output = Command::new("readelf").args(["--dynamic", env!("CARGO_BIN_EXE_harness")]).output();
    let Ok(output) = output else {
        return skip("readelf", "install binutils");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let needed: Vec<&str> = text.lines().filter(|line| line.contains("NEEDED")).collect();
    assert!(!needed.is_empty() && !needed.iter().any(|l| l.contains("torch") || l.contains("c10")), "{needed:?}");
}

/// What each crate must never have, however deep below it. The table of docs/architecture.md says the same in words.
const FORBIDDEN: [(&str, &[&str]); 11] = [
    ("harness-core", &["clap", "tera", "tch", "tokenizers", "git2", "harness-build"]),
    ("harness-corpus", &["clap", "tch", "git2", "harness-build", "harness-record"]),
    ("harness-trainer", &["clap", "tera", "git2", "tokenizers", "harness-corpus", "harness-record"]),
    ("harness-statistics", &["git2", "tokenizers", "harness-record"]),
    (
        "harness-record",
        &["tokenizers", "parquet", "ureq", "rustls", "clap", "ratatui", "resvg", "tera", "harness-build"],
    ),
    ("harness-analyse", &["tokenizers", "parquet", "ureq", "rustls", "clap", "ratatui", "resvg", "tera", "plotters"]),
    ("harness-study", &["tokenizers", "parquet", "ureq", "rustls", "clap", "ratatui", "resvg", "tera", "plotters"]),
    ("harness-figure", &["git2", "tera", "clap", "harness-record", "harness-analyse"]),
    ("harness-report", &["clap", "ratatui", "tch", "tokenizers", "parquet", "ureq", "harness-build"]),
    ("harness-build", &["clap", "git2", "tokenizers", "tch", "harness-record"]),
    ("harness", &["tch", "torch-sys", "harness-trainer"]),
];

fn cargo_tree(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--offline", "--locked", "--prefix", "none"]).args(arguments).current_dir(repository());
    let output = command.output().unwrap();
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn crates_keep_to_their_own() {
    for (package, never) in FORBIDDEN {
        let text = cargo_tree(&["--edges", "normal", "--format", "{p}", "--package", package]);
        let below: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(below.first(), Some(&package));
        for name in never {
            assert!(
                !below.contains(name),
                "{package} depends on {name}, which docs/architecture.md says it must never have: `cargo tree --package \
                 {package} --invert {name}` shows through what"
            );
        }
    }
}

/// What `cargo test` compiles for the whole workspace, it need not compile again for one crate alone.
#[test]
fn one_crate_asks_for_the_features_of_the_whole_workspace() {
    let with_features = |packages: &[&str]| -> BTreeSet<String> {
        let text = cargo_tree(&[&["--edges", "normal,build,dev", "--format", "{p} [{f}]"], packages].concat());
        text.lines()
            .filter(|line| !line.starts_with("harness"))
            .map(|line| line.replace(" (proc-macro)", "").replace(" (*)", ""))
            .collect()
    };
    let all = with_features(&["--workspace"]);
    for (package, _) in FORBIDDEN {
        let alone = with_features(&["--package", package]);
        let other: Vec<&String> = alone.difference(&all).collect();
        assert!(
            other.is_empty(),
            "{package} alone compiles these again, as the workspace asks for more features: {other:?}. Name those in \
             src/features/Cargo.toml"
        );
    }
}

/// The least Rust that `Cargo.toml` promises is enough for every dependency; clippy holds our own code to it.
#[test]
fn no_dependency_needs_a_later_rust_than_we_promise() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--locked", "--format-version", "1"]).current_dir(repository());
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap();
    let least = |package: &serde_json::Value| -> Vec<u32> {
        package["rust_version"]
            .as_str()
            .unwrap_or("0")
            .trim_end_matches(".0")
            .split('.')
            .map(|part| part.parse().unwrap())
            .collect()
    };
    let packages = metadata["packages"].as_array().unwrap();
    let promised = least(packages.iter().find(|package| package["name"] == "harness").unwrap());
    for package in packages {
        assert!(least(package) <= promised, "{} needs Rust {}", package["name"], package["rust_version"]);
    }
}

/// What of a licence expression may be met by these licences: an `OR` by one side, an `AND` by both.
fn is_met(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let outside = |separator: &str| -> Vec<String> {
        let (mut parts, mut depth) = (vec![String::new()], 0);
        for word in expression.split(' ') {
            if depth == 0 && word == separator {
                parts.push(String::new());
                continue;
            }
            depth += word.matches('(').count() as i32 - word.matches(')').count() as i32;
            let part = parts.last_mut().unwrap();
            *part = format!("{part} {word}").trim().to_owned();
        }
        parts
    };
    match (outside("OR"), outside("AND")) {
        (either, _) if either.len() > 1 => either.iter().any(|part| is_met(part, allowed)),
        (_, both) if both.len() > 1 => both.iter().all(|part| is_met(part, allowed)),
        _ => match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => is_met(inner, allowed),
            None => allowed.contains(expression),
        },
    }
}

/// `make deny` says the same and more, where cargo-deny is installed.
#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let deny: toml::Table = fs::read_to_string(repository().join("deny.toml")).unwrap().parse().unwrap();
    let texts = |value: &'static str, table: &toml::Value| -> Vec<String> {
        table[value].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let listed = texts("allow", &deny["licenses"]);
    let allowed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    for (expression, met) in [("MIT AND (Zlib OR GPL-3.0)", true), ("MIT AND GPL-3.0", false), ("(GPL-3.0)", false)] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
    let exceptions: BTreeMap<&str, Vec<String>> = deny["licenses"]["exceptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|exception| (exception["crate"].as_str().unwrap(), texts("allow", exception)))
        .collect();
    // Those of tests alone are not handed on.
    let text = cargo_tree(&["--workspace", "--edges", "normal,build", "--format", "{p}\t{l}"]);
    let used: BTreeSet<(&str, &str)> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    assert!(used.len() > 200, "{}", used.len());
    for (package, licence) in used.into_iter().filter(|(package, _)| !package.starts_with("harness")) {
        let licence = licence.trim_end_matches(" (*)");
        let name = package.split(' ').next().unwrap();
        let excepted = exceptions.get(name).is_some_and(|also| also.iter().any(|one| one == licence));
        let either = licence.replace(" / ", "/").replace('/', " OR ");
        assert!(is_met(&either, &allowed) || excepted, "{package} is under {licence}, which deny.toml does not allow");
    }
}

/// A maintainer who tags a version has nothing left to write.
#[test]
fn the_version_is_the_same_wherever_it_stands() {
    let read = |path: &str| fs::read_to_string(repository().join(path)).unwrap();
    let version = format!("version: {}", env!("CARGO_PKG_VERSION"));
    assert!(read("CITATION.cff").lines().any(|line| line.trim() == version), "CITATION.cff does not say {version}");
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for (name, dependency) in manifest["workspace"]["dependencies"].as_table().unwrap() {
        if let Some(path) = dependency.get("path") {
            assert_eq!(dependency["version"].as_str(), Some(env!("CARGO_PKG_VERSION")), "{name} at {path}");
        }
    }
    let released = format!("## {}", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").lines().any(|line| line.starts_with(&released)), "CHANGELOG.md has no {released}");
}

/// The table of what stays readable names the versions that are written.
#[test]
fn the_index_of_the_formats_names_the_versions_that_are_written() {
    let index = fs::read_to_string(repository().join("docs/formats.md")).unwrap();
    let (record, contract) = (harness_record::format::VERSION, harness_core::contract::VERSION);
    let corpus = harness_core::corpus_manifest::FORMAT;
    for row in [
        format!("MANIFEST | {record} | 2 to {record} |"),
        format!("which are built together | {contract} | {contract} |"),
        format!("lock file of a corpus | {corpus}; 1 | 1 to {corpus}; 1 |"),
        format!("attached to the PDF\\* | {0} | {0} |", harness_report::Proof::VERSION),
        format!("the data of the dashboard\\* | {0} | {0} |", harness::dashboard::FORMAT),
        format!("`diagnose` and `decide` | {} | |", harness_study::decide::FORMAT),
        format!("`next`, `variance`, `diagnose` and `decide` | {} | |", harness_study::next::FORMAT),
        format!("`next`, `variance`, `diagnose` and `decide` | {} | |", harness_study::variance::FORMAT),
    ] {
        assert!(index.contains(&row), "docs/formats.md has no row `{row}`");
    }
}

/// Which rooms, folders or files beside the root of a crate, import which others, tests aside; each with a file that does.
fn imports_between_rooms(folder: &str) -> BTreeMap<(String, String), String> {
    let room_of = |file: &str| file.split(['/', '.']).next().unwrap().to_owned();
    let sources = sources(folder);
    let rooms: BTreeSet<String> = sources.iter().map(|(file, _)| room_of(file)).collect();
    let mut imports = BTreeMap::new();
    for (file, text) in &sources {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        // In a file beside the root, both words name the root.
        let code = if file.contains('/') { code } else { code.replace("super::", "crate::") };
        for path in code.split("crate::").skip(1) {
            // `crate::{a::B, c}` names the rooms before each first `::`.
            let group = path.strip_prefix('{').map(|rest| rest.split(';').next().unwrap());
            let mut depth = 0;
            let outer = group.unwrap_or(path).split(|c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                c == ',' && depth == 0
            });
            for name in if group.is_some() { outer.collect::<Vec<_>>() } else { vec![path] } {
                let name = name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                let own = room_of(file);
                if rooms.contains(name) && name != own && !["lib.rs", "tests.rs", "fixture.rs"].contains(&file.as_str())
                {
                    imports.insert((own, name.to_owned()), file.clone());
                }
            }
        }
    }
    imports
}

#[test]
fn rooms_import_only_what_is_to_their_left() {
    let order = [
        "anchor",
        "run",
        "replay",
        "trials",
        "cluster",
        "queue",
        "watch",
        "exchange",
        "dashboard",
        "audit",
        "bundle",
        "new_project",
        "cli",
    ];
    let place = |room: &str| order.iter().position(|r| *r == room);
    let imports = imports_between_rooms("src/harness/src");
    assert!(imports.contains_key(&("cli".to_owned(), "run".to_owned())), "{imports:?}");
    for ((room, other), file) in imports {
        assert!(
            place(&other) < place(&room),
            "src/harness/src/{file} imports `{other}`: move what it needs to the left"
        );
    }
}

/// Rooms that import each other, over others or not, are one room: neither can be read, or changed, without the other.
#[test]
fn no_room_imports_one_that_imports_it() {
    for name in ["core", "corpus", "record", "analyse", "study", "figure", "report", "harness"] {
        let imports = imports_between_rooms(&format!("src/{name}/src"));
        assert!(!imports.is_empty(), "{name}");
        let mut left = imports.clone();
        // Rooms that import nothing that is left stand below all that is.
        loop {
            let importing: BTreeSet<String> = left.keys().map(|(room, _)| room.clone()).collect();
            let before = left.len();
            left.retain(|(_, other), _| importing.contains(other));
            if left.len() == before {
                break;
            }
        }
        assert!(left.is_empty(), "rooms of src/{name} import each other: {left:?}");
    }
}

#[test]
fn only_the_command_line_prints() {
    let crates = ["core", "corpus", "statistics", "record", "analyse", "study", "figure", "report", "harness"];
    let folders = crates.map(|name| format!("src/{name}/src"));
    for (folder, (file, text)) in folders.iter().flat_map(|f| sources(f).into_iter().map(move |s| (f, s))) {
        let tests_only = file.ends_with("tests.rs") || file.ends_with("fixture.rs");
        if file.starts_with("cli/") || tests_only {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        for call in ["println!(", "eprintln!(", "print!(", "process::exit("] {
            assert!(!code.contains(call), "{folder}/{file} calls {call}): give the text to the caller instead");
        }
    }
}

#[test]
fn every_field_of_the_record_is_documented() {
    let page = "docs/formats/run-records.md";
    let formats = fs::read_to_string(repository().join(page)).unwrap();
    let source = fs::read_to_string(repository().join("src/record/src/format/mod.rs")).unwrap();
    for name in ["Open", "Record", "Plan", "Launch", "Scheduler", "Segment", "Head"] {
        let body = source.split(&format!("pub struct {name} {{")).nth(1).unwrap().split("\n}").next().unwrap();
        let fields = body.lines().filter_map(|l| l.trim().strip_prefix("pub ")).filter_map(|l| l.split(':').next());
        for field in fields.filter(|f| *f != "format") {
            assert!(formats.contains(&format!("`{field}`")), "{page} does not name `{field}` of {name}");
        }
    }
}

#[test]
fn every_page_of_the_formats_is_in_their_index() {
    let index = fs::read_to_string(repository().join("docs/formats.md")).unwrap();
    for page in list_recursive(&repository().join("docs/formats")).unwrap() {
        assert!(index.contains(&format!("](formats/{page})")), "docs/formats.md does not name {page}");
    }
}

#[test]
fn every_experiment_and_recipe_loads() {
    let repository = repository();
    let experiments = list_recursive(&repository.join("experiments")).unwrap();
    // Run folders hold copies of configs.
    let names =
        experiments.iter().filter_map(|f| f.strip_suffix("/experiment.toml")).filter(|name| !name.contains('/'));
    let names: Vec<&str> = names.collect();
    assert!(!names.is_empty());
    for name in names {
        let output = Command::new(env!("CARGO_BIN_EXE_harness")).args(["show", name]).current_dir(repository).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let output = Command::new(env!("CARGO_BIN_EXE_harness")).args(["data", "list"]).current_dir(repository).output();
    assert!(output.unwrap().status.success());
    assert!(Path::new(&repository.join("README.md")).is_file());
}

/// Every page of the repository.
fn pages() -> Vec<(String, String)> {
    let below = ["docs", "report", "tests"].into_iter().flat_map(|folder| {
        let files = list_recursive(&repository().join(folder)).unwrap().into_iter();
        files.map(move |file| format!("{folder}/{file}"))
    });
    let beside =
        fs::read_dir(repository()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let pages = below.chain(beside).filter(|page| page.ends_with(".md"));
    pages.map(|page| (page.clone(), fs::read_to_string(repository().join(page)).unwrap())).collect()
}

/// What a page points to: targets of links, with their anchors, and paths of the repository in code.
fn pointed_to(page: &str, text: &str) -> Vec<(String, Option<String>)> {
    let folder = Path::new(page).parent().unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.is_empty() && !link.contains("://")).map(|link| {
        let (path, anchor) =
            link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor.to_owned())));
        let path = if path.is_empty() { page.to_owned() } else { folder.join(path).to_str().unwrap().to_owned() };
        (path, anchor)
    });
    let is_path = |code: &&str| {
        let known = ["src/", "docs/", "setup/", "templates/", "tests/"].iter().any(|root| code.starts_with(root));
        known && !code.contains(['<', '*', '{', ' ', '\u{2026}'])
    };
    links.chain(text.split('`').skip(1).step_by(2).filter(is_path).map(|path| (path.to_owned(), None))).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors_of(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !in_code) else { continue };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let mut numbered = (1..).map(|n| format!("{slug}-{n}"));
        let anchor = if anchors.contains(&slug) { numbered.find(|one| !anchors.contains(one)).unwrap() } else { slug };
        anchors.insert(anchor);
    }
    anchors
}

/// What `harness init` leaves where it was: a project of one's own has pages that name it.
fn is_left_behind(path: &str) -> bool {
    path.starts_with("docs/example") && !repository().join("docs/example").exists()
}

#[test]
fn what_the_pages_point_to_is_there() {
    let pages = pages();
    assert!(
        ["README.md", "CHANGELOG.md", "docs/formats/paper.md"].iter().all(|page| pages.iter().any(|(p, _)| p == page))
    );
    let mut missing = Vec::new();
    for (page, text) in &pages {
        for (path, anchor) in pointed_to(page, text) {
            let target = repository().join(&path);
            let is_there = match &anchor {
                Some(anchor) => fs::read_to_string(&target).is_ok_and(|text| anchors_of(&text).contains(anchor)),
                None => target.exists(),
            };
            if !is_there && !is_left_behind(&path) {
                missing.push((page, path, anchor));
            }
        }
    }
    assert!(missing.is_empty(), "these pages name what is not there: {missing:?}");
}

/// Messages, comments, help and scripts send their readers to pages too.
#[test]
fn every_page_that_the_program_names_is_there() {
    let mut named = BTreeSet::new();
    for root in
        ["src", "tests", "setup", "templates", "experiments/library", "Makefile", ".ci/run", ".cargo/config.toml"]
    {
        let root = repository().join(root);
        let files = if root.is_dir() { list_recursive(&root).unwrap() } else { vec![String::new()] };
        for file in files {
            let path = if file.is_empty() { root.clone() } else { root.join(&file) };
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for rest in text.split("docs/").skip(1) {
                let name: String =
                    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_/.".contains(*c)).collect();
                named.extend(name.find(".md").map(|end| format!("docs/{}", &name[..end + 3])));
            }
        }
    }
    assert!(named.contains("docs/guide.md"), "{named:?}");
    let missing: Vec<&String> = named.iter().filter(|page| !repository().join(page).exists()).collect();
    assert!(missing.is_empty(), "no such page: {missing:?}");
}
