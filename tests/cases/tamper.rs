//! The tamper matrix: every field, row and file of sealed runs edited, with and without the digests mended, and each edit
//! found at the level that promises it (docs/formats/audit.md). Nothing is listed by hand: what there is to edit is walked. An edit
//! that no level below a replay or an anchor can find is one of [`ONLY_ITS_WORD`], and stands there with its reason.
//!
//! `make test-tamper` draws some thousands of these edits and prints the table; a smaller draw is a test like the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use harness::audit::{self, Audit, Outcome};
use harness_core::Digest;
use harness_core::files::list_recursive;
use harness_core::names::{ExperimentName, Project as Places, RunId};
use harness_core::random::Random;
use harness_record::git::Git;
use harness_report::Typst;
use serde_json::{Value, json};

use crate::cases::paper::with_templates;
use crate::common::{Project, TINY, repository, seal_again};

/// What only the program that ran has said, so that an edit of it with every digest mended is found by no other file: by a
/// replay of the run (L5), or by an anchor outside of the repository. File, then the path of the field, `*` for any part.
const ONLY_ITS_WORD: [(&str, &[&str]); 17] = [
    // The machine, and programs that are not here.
    ("open.json", &["host.*", "binaries.*", "launch.*", "code.branch", "code.remote"]),
    // Words of people, and what the project was like: runs that are named and are not here are L2's.
    (
        "open.json",
        &["not_citable_because", "plan.over_budget", "plan.seed_rule", "plan.purpose", "plan.study", "heads*"],
    ),
    ("open.json", &["resumed_from.passed_over*"]),
    // What the tree of a run had beyond its commit; no paper may use such a run.
    ("code/*", &["(*"]),
    // What the trainer says of itself and its machine.
    ("record.json", &["started.about.*", "started.device", "started.determinism.*", "started.peak*"]),
    ("record.json", &["failure.*", "exit_code", "signal", "ended_at", "retention.rule", "retention.best*"]),
    ("record.json", &["resources.*", "closing.*_s", "closing.*_bytes", "closing.*_j", "closing.skipped_steps"]),
    ("record.json", &["evaluations.*.wall_time_s", "evaluations.*.self_test*", "skipped*"]),
    // What the closing message of each checkpoint of an evaluation says beside its weights; the record has the last one's.
    ("log.jsonl", &["body.*_s", "body.*_bytes", "body.*_j", "body.skipped_steps", "body.order_sha256", "body.peak*"]),
    // Measurements: a replay gives them again.
    (
        "steps.csv",
        &["loss_nats", "gradient_norm", "*_s", "data_wait_share", "model_flops_utilization", "memory_bytes", "power_w"],
    ),
    ("tensor_norms.csv", &["*_norm", "(rows swapped)"]),
    ("activations.csv", &["rms", "maximum", "dead_share", "attention_entropy_nats", "logit_scale", "place"]),
    ("evaluations/*", &["loss_nats", "*log_probability_nats", "log_probabilities_nats*", "greedy"]),
    // A byte of these lies in any of the fields above.
    ("*.json", &["(byte flipped)"]),
    ("*.csv", &["(byte flipped)", "(file of another run)"]),
    ("evaluations/*.tokens", &["(byte flipped)", "(file of another run)"]),
    // Tokens that are part of no letter have one text, and a probability only drawing them again gives.
    ("evaluations/*.jsonl", &["tokens*", "(byte flipped)"]),
];

/// What `paper.json` says of how the paper was set, which changes nothing on its pages: the build of a Typst of the same version,
/// and the folder of the fonts. Without the file what is attached to the PDF is its proof.
const OF_THE_SETTING: [&str; 3] = ["typst", "fonts", "(file removed)"];

/// How far whoever edits a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mended {
    /// The edit alone.
    Nothing,
    /// MANIFEST is made anew.
    Manifest,
    /// So is every digest in the folder that names what was edited, and the log: its events, its chain.
    Everything,
}

/// What a file becomes; nothing if it goes.
type Change = Box<dyn Fn(&[u8]) -> Option<Vec<u8>>>;

/// One edit of one file.
struct Edit {
    kind: &'static str,
    file: String,
    /// Dotted path of the field, or the column; of whole rows and files `(kind)`.
    field: String,
    change: Change,
}

impl Edit {
    fn new(kind: &'static str, file: &str, field: &str, change: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static) -> Self {
        let field = if field.is_empty() { format!("({kind})") } else { field.to_owned() };
        Edit { kind, file: file.to_owned(), field, change: Box::new(change) }
    }

    /// Whether a level below a replay or an anchor promises to find it.
    fn is_promised(&self, mended: Mended) -> bool {
        let of_file = |pattern: &str| matches(pattern, &self.file);
        mended != Mended::Everything
            || !ONLY_ITS_WORD
                .iter()
                .any(|(file, fields)| of_file(file) && fields.iter().any(|f| matches(f, &self.field)))
    }
}

/// Whether a text is of a pattern, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(after, &rest[at..]))),
    }
}

/// Every leaf, member and list of a JSON value, edited one by one. `line` is that of a log.
fn json_edits(file: &str, value: &Value, line: Option<usize>, edits: &mut Vec<Edit>) {
    fn walk(value: &Value, at: &mut Vec<String>, add: &mut dyn FnMut(&'static str, &[String], Value)) {
        match value {
            Value::Number(number) => {
                add("number x 1.1", at, larger(number));
                add("number 2^64 - 1", at, json!(u64::MAX));
            }
            Value::Bool(is) => add("flipped bool", at, json!(!is)),
            Value::String(text) => add("other string", at, json!(other(text))),
            Value::Null => add("value for null", at, json!("x")),
            Value::Array(items) => {
                let reversed: Vec<Value> = items.iter().rev().cloned().collect();
                if reversed != *items {
                    add("list reversed", at, Value::Array(reversed));
                }
                if let Some(first) = items.first() {
                    add("element twice", at, Value::Array([std::slice::from_ref(first), items].concat()));
                    add("element removed", at, Value::Array(items[1..].to_vec()));
                }
                for (index, item) in items.iter().enumerate() {
                    at.push(index.to_string());
                    walk(item, at, add);
                    at.pop();
                }
            }
            Value::Object(members) => {
                let mut more = members.clone();
                more.insert("added".to_owned(), json!(1));
                at.push("added".to_owned());
                add("member added", &at.clone(), Value::Object(more));
                at.pop();
                for (key, member) in members {
                    let mut fewer = members.clone();
                    fewer.shift_remove(key);
                    at.push(key.clone());
                    add("member removed", &at.clone(), Value::Object(fewer));
                    walk(member, at, add);
                    at.pop();
                }
            }
        }
    }
    walk(value, &mut Vec::new(), &mut |kind, path, to| {
        let path = path.to_vec();
        let field = path.join(".");
        // What was added or removed stands in the object around it.
        let place = if kind.starts_with("member") { path[..path.len() - 1].to_vec() } else { path };
        edits.push(Edit::new(kind, file, &field, move |bytes| {
            let text = std::str::from_utf8(bytes).unwrap();
            let put = |text: &str| {
                let mut value: Value = serde_json::from_str(text).unwrap();
                let pointer: String =
                    place.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect();
                *value.pointer_mut(&pointer).unwrap() = to.clone();
                value
            };
            Some(match line {
                None => harness_record::pretty(&put(text)).into_bytes(),
                Some(line) => {
                    let lines = text.lines().enumerate();
                    let edited =
                        lines.map(|(at, text)| if at == line { put(text).to_string() } else { text.to_owned() });
                    edited.map(|line| line + "\n").collect::<String>().into_bytes()
                }
            })
        }));
    });
}

fn larger(number: &serde_json::Number) -> Value {
    match number.as_u64() {
        Some(whole) => json!(whole + (whole / 10).max(1)),
        None => json!(number.as_f64().map_or(1.0, |x| if x == 0.0 { 0.1 } else { x * 1.1 })),
    }
}

/// Another string of the same kind: another digest of a digest.
fn other(text: &str) -> String {
    let is_hex = text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.strip_suffix('0') {
        Some(rest) if is_hex => format!("{rest}1"),
        None if is_hex => format!("{}0", &text[..text.len() - 1]),
        _ => format!("{text}x"),
    }
}

/// Cells of the first, the middle and the last row, and whole rows.
fn csv_edits(file: &str, text: &str, edits: &mut Vec<Edit>) {
    let rows: Vec<String> = text.lines().map(str::to_owned).collect();
    if rows.len() < 2 {
        return;
    }
    let columns: Vec<String> = rows[0].split(',').map(str::to_owned).collect();
    let put = |at: usize, to: Vec<String>| {
        move |bytes: &[u8]| {
            let mut rows: Vec<String> = std::str::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
            rows.splice(at..(at + to.len().max(1)).min(rows.len()), to.clone());
            Some((rows.join("\n") + "\n").into_bytes())
        }
    };
    let chosen: BTreeSet<usize> = [1, rows.len() / 2, rows.len() - 1].into_iter().collect();
    for at in chosen {
        let cells: Vec<String> = rows[at].split(',').map(str::to_owned).collect();
        for (column, cell) in columns.iter().zip(0..) {
            let mut add = |kind, to: String| {
                if to != cells[cell] {
                    let mut cells = cells.clone();
                    cells[cell] = to;
                    edits.push(Edit::new(kind, file, column, put(at, vec![cells.join(",")])));
                }
            };
            match cells[cell].as_str() {
                "true" => add("flipped bool", "false".to_owned()),
                "false" => add("flipped bool", "true".to_owned()),
                text => match text.parse::<f64>() {
                    Ok(number) if number.fract() == 0.0 && !text.contains('.') => {
                        add("number x 1.1", format!("{}", number + (number / 10.0).ceil().abs().max(1.0)));
                    }
                    Ok(number) => add("number x 1.1", format!("{}", number * 1.1)),
                    Err(_) => add("other string", format!("{text}x")),
                },
            }
            add("number 2^64 - 1", u64::MAX.to_string());
            add("not a number", "NaN".to_owned());
            add("empty cell", String::new());
        }
        edits.push(Edit::new("row removed", file, "", put(at, Vec::new())));
        let text = rows[at].clone();
        edits.push(Edit::new("row twice", file, "", move |bytes| {
            let mut rows: Vec<String> = std::str::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
            rows.insert(at, text.clone());
            Some((rows.join("\n") + "\n").into_bytes())
        }));
        if at + 1 < rows.len() && rows[at] != rows[at + 1] {
            edits.push(Edit::new("rows swapped", file, "", put(at, vec![rows[at + 1].clone(), rows[at].clone()])));
        }
    }
    edits.push(Edit::new("column renamed", file, "", put(0, vec![format!("{}x", rows[0])])));
    edits.push(Edit::new("rows not numbers", file, "", |bytes| {
        let text = std::str::from_utf8(bytes).unwrap();
        let row = |row: &str| {
            row.split(',')
                .map(|cell| if cell.parse::<f64>().is_ok() { "NaN" } else { cell })
                .collect::<Vec<_>>()
                .join(",")
        };
        Some(
            text.lines()
                .enumerate()
                .map(|(at, line)| (if at == 0 { line.to_owned() } else { row(line) }) + "\n")
                .collect::<String>()
                .into_bytes(),
        )
    }));
}

/// Values of a TOML file, line by line.
fn toml_edits(file: &str, text: &str, edits: &mut Vec<Edit>) {
    for (at, line) in text.lines().enumerate() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let (kind, to) = match value {
            "true" => ("flipped bool", "false".to_owned()),
            "false" => ("flipped bool", "true".to_owned()),
            text => match text.parse::<f64>() {
                Ok(number) if number.fract() == 0.0 && !text.contains('.') => {
                    ("number x 1.1", format!("{}", number + (number / 10.0).ceil().max(1.0)))
                }
                Ok(number) => ("number x 1.1", format!("{}", number * 1.1)),
                Err(_) if text.ends_with('"') && text.len() > 1 => {
                    ("other string", format!("{}x\"", &text[..text.len() - 1]))
                }
                Err(_) => continue,
            },
        };
        let line = format!("{key} = {to}");
        edits.push(Edit::new(kind, file, key, move |bytes| {
            let mut lines: Vec<&str> = std::str::from_utf8(bytes).unwrap().lines().collect();
            lines[at] = &line;
            Some((lines.join("\n") + "\n").into_bytes())
        }));
    }
}

/// The whole file; `other` is that of the same name in another run.
fn file_edits(file: &str, other: Option<Vec<u8>>, edits: &mut Vec<Edit>) {
    edits.push(Edit::new("file removed", file, "", |_| None));
    edits.push(Edit::new("file emptied", file, "", |_| Some(Vec::new())));
    edits.push(Edit::new("file cut short", file, "", |bytes| Some(bytes[..bytes.len() / 2].to_vec())));
    edits.push(Edit::new("byte flipped", file, "", |bytes| {
        let mut bytes = bytes.to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        Some(bytes)
    }));
    if let Some(other) = other {
        edits.push(Edit::new("file of another run", file, "", move |_| Some(other.clone())));
    }
}

/// All edits of a run.
fn edits_of(run: &Path, other: &Path) -> Vec<Edit> {
    let mut edits = Vec::new();
    for file in list_recursive(run).unwrap() {
        let bytes = fs::read(run.join(&file)).unwrap();
        file_edits(&file, fs::read(other.join(&file)).ok(), &mut edits);
        let text = || String::from_utf8(bytes.clone()).unwrap();
        match file.rsplit('.').next() {
            Some("json") => json_edits(&file, &serde_json::from_slice(&bytes).unwrap(), None, &mut edits),
            Some("jsonl") => {
                for (line, text) in text().lines().enumerate() {
                    json_edits(&file, &serde_json::from_str(text).unwrap(), Some(line), &mut edits);
                }
            }
            Some("csv") => csv_edits(&file, &text(), &mut edits),
            Some("toml") => toml_edits(&file, &text(), &mut edits),
            _ => {}
        }
    }
    for file in ["evaluations/step-00000020/more.csv", "plan/files/more.toml", "plan/job-00000001.json", "more.txt"] {
        edits.push(Edit::new("file added", file, "", |_| Some(b"{}\n".to_vec())));
    }
    edits
}

/// Mends every digest in the folder that names the edited file, and the log.
pub(super) fn mend(run: &Path, edited: &str, is_new: bool) {
    let read = |name: &str| fs::read(run.join(name)).ok().and_then(|json| serde_json::from_slice::<Value>(&json).ok());
    let found = fs::read(run.join(edited)).ok();
    let digest = |bytes: &[u8]| json!(Digest::of(bytes).to_string());
    if let (Some(mut open), Some(bytes)) =
        (read("open.json").filter(|_| edited.starts_with("plan/") || edited.starts_with("code/")), &found)
    {
        if edited == "plan/config.toml" {
            open["plan"]["config_sha256"] = digest(bytes);
            if let Ok(config) = harness_core::config::parse_resolved(&String::from_utf8_lossy(bytes)) {
                open["plan"]["plan_sha256"] = json!(config.plan_digest().to_string());
            }
        } else if edited == "plan/corpus-manifest.json" {
            open["data"]["root"] = digest(bytes);
        }
        for planned in
            open["plan"]["files"].as_array_mut().into_iter().flatten().filter(|planned| planned["copy"] == edited)
        {
            planned["sha256"] = digest(bytes);
        }
        for listed in open["code"]["untracked"].as_array_mut().into_iter().flatten() {
            if format!("code/untracked/{}", listed["path"].as_str().unwrap_or_default()) == edited {
                (listed["sha256"], listed["size_bytes"]) = (digest(bytes), json!(bytes.len()));
            }
        }
        fs::write(run.join("open.json"), harness_record::pretty(&open)).unwrap();
    }
    if let Some(mut record) = read("record.json") {
        let mut mend_listed = |listed: &mut Value| {
            if let (true, Some(bytes)) = (listed["path"] == edited, &found) {
                (listed["sha256"], listed["size_bytes"]) = (digest(bytes), json!(bytes.len()));
            }
        };
        record["files"].as_array_mut().into_iter().flatten().for_each(&mut mend_listed);
        for evaluation in record["evaluations"].as_array_mut().into_iter().flatten() {
            evaluation["files"].as_array_mut().into_iter().flatten().for_each(&mut mend_listed);
        }
        for checkpoint in record["checkpoints"].as_array_mut().into_iter().flatten() {
            if checkpoint.get("file").is_some() {
                mend_listed(&mut checkpoint["file"]);
            }
        }
        if let Some(files) = record["files"].as_array_mut() {
            match &found {
                None => files.retain(|listed| listed["path"] != edited),
                Some(bytes) if is_new => {
                    files.push(json!({ "path": edited, "sha256": digest(bytes), "size_bytes": bytes.len() }))
                }
                Some(_) => {}
            }
        }
        if record != *read("record.json").as_ref().unwrap() {
            fs::write(run.join("record.json"), harness_record::pretty(&record)).unwrap();
        }
    }
    relink(run, if edited == "log.jsonl" { None } else { read("record.json") });
    seal_again(run);
}

/// Links the log anew, from `open.json` on, with the events that the record tells of, if that is given.
fn relink(run: &Path, record: Option<Value>) {
    let Ok(log) = fs::read_to_string(run.join("log.jsonl")) else { return };
    let lines: Option<Vec<Value>> = log.lines().map(|line| serde_json::from_str(line).ok()).collect();
    let Some(mut lines) = lines.filter(|lines| lines.iter().all(Value::is_object)) else { return };
    if let Some(record) = &record {
        let mut told = Vec::new();
        let list = |key: &str| record[key].as_array().cloned().unwrap_or_default();
        let mut rest = BTreeMap::from([
            ("evaluation", list("evaluations")),
            ("checkpoint", list("checkpoints")),
            ("skipped", list("skipped")),
        ]);
        let template = lines.last().cloned();
        for mut line in std::mem::take(&mut lines) {
            let event = line["event"].as_str().unwrap_or_default().to_owned();
            match event.as_str() {
                "started" => line["body"] = record["started"].clone(),
                "finished" | "stopped" => line["body"] = record["closing"].clone(),
                "ended" => {
                    for (event, bodies) in &mut rest {
                        for body in bodies.drain(..) {
                            let mut more = template.clone().unwrap_or_default();
                            (more["event"], more["body"]) = (json!(event), body);
                            told.push(more);
                        }
                    }
                    if let Some(body) = line["body"].as_object_mut() {
                        for (key, value) in body.iter_mut() {
                            *value = record[key.as_str()].clone();
                        }
                    }
                }
                other => {
                    if let Some(bodies) = rest.get_mut(other) {
                        if bodies.is_empty() {
                            continue;
                        }
                        line["body"] = bodies.remove(0);
                    }
                }
            }
            told.push(line);
        }
        lines = told;
    }
    if let (Some(first), Ok(open)) = (lines.first_mut(), fs::read(run.join("open.json"))) {
        first["body"]["open_sha256"] = json!(Digest::of(&open).to_string());
    }
    let (mut text, mut previous) = (String::new(), Digest::of(b""));
    for mut line in lines {
        line["previous_sha256"] = json!(previous.to_string());
        let line = line.to_string();
        previous = Digest::of(line.as_bytes());
        text += &(line + "\n");
    }
    fs::write(run.join("log.jsonl"), text).unwrap();
}

/// The column of what is found once the paper is set again, with a Typst.
const SET_AGAIN: &str = "set again";

/// A row of the table.
#[derive(Clone, Debug, Default)]
struct Tried {
    tried: usize,
    /// Found, by the level of the first finding.
    found: BTreeMap<&'static str, usize>,
    /// Not found, and promised.
    missed: Vec<String>,
    /// Not found, where only a replay or an anchor could.
    beyond: usize,
}

/// The table, by kind and by what was mended.
#[derive(Default)]
struct Table {
    rows: BTreeMap<(&'static str, Mended), Tried>,
    /// How many edits there are, of which some were drawn.
    all: usize,
}

impl Table {
    fn add(&mut self, kind: &'static str, mended: Mended, promised: bool, what: String, audit: &Audit) {
        // What is gone, or of a version that nobody knows, is missing: of the untouched run nothing is.
        let found = audit.contradictions().chain(audit.missing()).next().map(|check| check.level);
        self.add_found(kind, mended, promised, what, found);
    }

    fn add_found(
        &mut self,
        kind: &'static str,
        mended: Mended,
        promised: bool,
        what: String,
        found: Option<&'static str>,
    ) {
        let row = self.rows.entry((kind, mended)).or_default();
        row.tried += 1;
        match found {
            Some(level) => *row.found.entry(level).or_default() += 1,
            None if promised => row.missed.push(what),
            None => row.beyond += 1,
        }
    }

    fn tried(&self) -> usize {
        self.rows.values().map(|row| row.tried).sum()
    }

    fn missed(&self) -> Vec<&String> {
        self.rows.values().flat_map(|row| &row.missed).collect()
    }

    fn print(&self) {
        println!("| kind | digests mended | tried | L0 | L1 | L2 | L3 | set again | missed | only L5 or an anchor |");
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for ((kind, mended), row) in &self.rows {
            let at = |level| row.found.get(level).copied().unwrap_or(0);
            let mended = match mended {
                Mended::Nothing => "none",
                Mended::Manifest => "MANIFEST",
                Mended::Everything => "all",
            };
            let (tried, missed, beyond) = (row.tried, row.missed.len(), row.beyond);
            println!(
                "| {kind} | {mended} | {tried} | {} | {} | {} | {} | {} | {missed} | {beyond} |",
                at("L0"),
                at("L1"),
                at("L2"),
                at("L3"),
                at(SET_AGAIN)
            );
        }
    }
}

/// A project with the runs that are edited.
struct Subjects {
    project: Project,
    runs: Vec<PathBuf>,
}

impl Subjects {
    fn new() -> Self {
        let project = Project::new();
        let config = TINY.replace("tasks = [", "items_per_task = 4\ntasks = [")
            + "\n[metrics]\ntensor_norms_every = 10\nactivations_every = 10\n\n[schedule]\nwarmup_steps = 4\n";
        project.write("experiments/tiny/experiment.toml", &config);
        project.commit("Ask less");
        project.harness(&["run", "tiny"]).expect(0);
        project.harness_with("die:11", &["run", "tiny", "--seed", "4"]).expect(1);
        project.harness(&["run", "tiny", "--resume", "--seed", "4"]).expect(0);
        let first = project.runs("tiny")[0].file_name().unwrap().to_str().unwrap().to_owned();
        project.harness(&["evaluate", &first]).expect(0);
        let keep = ["--prompt", "the", "--samples", "2", "--max-tokens", "8", "--keep"];
        project.harness(&[&["generate", &first], &keep[..]].concat()).expect(0);
        project.write("experiments/tiny/experiment.toml", &config.replace("It runs.", "It runs on."));
        project.write("left.txt", "Left.\n");
        project.harness(&["run", "tiny", "--allow-dirty", "--seed", "5"]).expect(0);
        fs::remove_file(project.path("left.txt")).unwrap();
        project.git(&["checkout", "-q", "experiments/tiny/experiment.toml"]);
        project.commit("Runs");
        // The store is shared between tests, so this project gets a copy of its own to damage.
        let store = project.path(".harness");
        let shared = fs::read_link(&store).unwrap();
        fs::remove_file(&store).unwrap();
        let runs = project.runs("tiny");
        for run in &runs {
            let open = Project::json(&run.join("open.json"));
            for path in data_of(&open) {
                let shared = shared.join(path.strip_prefix(".harness/").unwrap());
                fs::create_dir_all(project.path(&path).parent().unwrap()).unwrap();
                fs::copy(shared, project.path(&path)).unwrap();
            }
        }
        Subjects { project, runs }
    }

    fn audit(&self, run: &Path) -> Audit {
        let places = Places::at(self.project.path(""));
        let git = Git::discover(places.root()).unwrap();
        let id: RunId = run.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let experiment: ExperimentName = "tiny".parse().unwrap();
        audit::run(&places, Some(&git), &experiment, &id).unwrap()
    }
}

/// The files of the store that a run has read.
fn data_of(open: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let tokenizer = text(&open["data"]["tokenizer"]);
    let mut paths: Vec<String> = open["data"]["shards"].as_array().unwrap().iter().map(|s| text(&s["path"])).collect();
    paths.push(Path::new(&tokenizer).with_file_name("manifest.json").to_str().unwrap().to_owned());
    paths.push(tokenizer);
    paths.extend(open["tasks"].as_array().unwrap().iter().map(|t| text(&t["requests"])));
    paths
}

/// Makes about `most` of the edits of every run, drawn by a fixed seed, and puts each file back.
fn matrix(most: usize) -> Table {
    let subjects = Subjects::new();
    let mut table = Table::default();
    let all: Vec<(usize, Vec<Edit>)> = (0..subjects.runs.len())
        .map(|at| (at, edits_of(&subjects.runs[at], &subjects.runs[(at + 1) % subjects.runs.len()])))
        .collect();
    let count: usize = 3 * all.iter().map(|(_, edits)| edits.len()).sum::<usize>();
    table.all = count;
    let (share, mut random) = (most as f64 / count as f64, Random::new(16));
    for (at, edits) in &all {
        let run = &subjects.runs[*at];
        let audit = subjects.audit(run);
        assert_eq!(
            audit.exit_code(),
            0,
            "{:?}",
            audit.checks.iter().filter(|c| c.outcome != Outcome::Holds).collect::<Vec<_>>()
        );
        let pristine: BTreeMap<String, Vec<u8>> = list_recursive(run)
            .unwrap()
            .into_iter()
            .map(|file| (file.clone(), fs::read(run.join(file)).unwrap()))
            .collect();
        for edit in edits {
            for mended in [Mended::Nothing, Mended::Manifest, Mended::Everything] {
                if random.uniform() >= share {
                    continue;
                }
                let before = pristine.get(&edit.file).cloned().unwrap_or_default();
                let path = run.join(&edit.file);
                match (edit.change)(&before) {
                    Some(bytes) if pristine.contains_key(&edit.file) && bytes == before => continue,
                    Some(bytes) => {
                        fs::create_dir_all(path.parent().unwrap()).unwrap();
                        fs::write(&path, bytes).unwrap();
                    }
                    None => fs::remove_file(&path).unwrap(),
                }
                match mended {
                    Mended::Nothing => {}
                    // Without MANIFEST there is nothing to mend.
                    _ if edit.file == "MANIFEST" => {}
                    Mended::Manifest => seal_again(run),
                    Mended::Everything => mend(run, &edit.file, !pristine.contains_key(&edit.file)),
                }
                if changed(run, &pristine) {
                    let what = format!("{} of `{}` in {} of run {at} ({mended:?})", edit.kind, edit.field, edit.file);
                    table.add(edit.kind, mended, edit.is_promised(mended), what, &subjects.audit(run));
                    put_back(run, &pristine);
                }
            }
        }
    }
    data(&subjects, &mut table);
    history(&subjects, &mut table);
    table
}

fn changed(run: &Path, pristine: &BTreeMap<String, Vec<u8>>) -> bool {
    let files = list_recursive(run).unwrap();
    files.len() != pristine.len()
        || files.iter().any(|file| pristine.get(file) != fs::read(run.join(file)).ok().as_ref())
}

fn put_back(run: &Path, pristine: &BTreeMap<String, Vec<u8>>) {
    for file in list_recursive(run).unwrap() {
        if !pristine.contains_key(&file) {
            fs::remove_file(run.join(file)).unwrap();
        }
    }
    for (file, bytes) in pristine {
        if fs::read(run.join(file)).ok().as_ref() != Some(bytes) {
            fs::write(run.join(file), bytes).unwrap();
        }
    }
}

/// Shards, tokenizer, manifest and requests.
fn data(subjects: &Subjects, table: &mut Table) {
    let run = &subjects.runs[0];
    for file in data_of(&Project::json(&run.join("open.json"))) {
        let path = subjects.project.path(&file);
        let before = fs::read(&path).unwrap();
        let mut edits = Vec::new();
        file_edits(&file, None, &mut edits);
        for edit in edits {
            let kind = if edit.kind == "file removed" { "data removed" } else { "data edited" };
            match (edit.change)(&before) {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            table.add(kind, Mended::Nothing, true, format!("{} of {file}", edit.kind), &subjects.audit(run));
            fs::write(&path, &before).unwrap();
        }
    }
}

/// The commit of a run: made after it, by whoever edits a hypothesis, or taken away.
fn history(subjects: &Subjects, table: &mut Table) {
    let (project, run) = (&subjects.project, &subjects.runs[0]);
    let pristine: BTreeMap<String, Vec<u8>> = list_recursive(run)
        .unwrap()
        .into_iter()
        .map(|file| (file.clone(), fs::read(run.join(file)).unwrap()))
        .collect();
    let edit = |commit: &str| {
        let mut open = Project::json(&run.join("open.json"));
        let tree = project.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
        (open["code"]["commit"], open["code"]["tree"]) = (json!(commit.trim()), json!(tree.trim()));
        fs::write(run.join("open.json"), harness_record::pretty(&open)).unwrap();
        mend(run, "open.json", false);
    };
    // Whoever sets the date of a commit cannot set what it builds on, nor what that holds.
    let commit = |year: u16, of: &str, parent: &str| {
        let (time, tree) = (format!("{year}-01-01T00:00:00Z"), format!("{of}^{{tree}}"));
        project.git_at(Some(&time), &["commit-tree", &tree, "-p", parent, "-m", "Forged"]).trim().to_owned()
    };
    let used = Project::json(&run.join("open.json"))["code"]["commit"].as_str().unwrap().to_owned();
    let later = commit(2038, &used, &used);
    for (kind, what, commit) in [
        ("commit later than the run", "a commit of 2038", later.clone()),
        ("back-dated commit", "one of 2020 that builds on one of 2038", commit(2020, &used, &later)),
        ("back-dated commit", "one of 2020 that holds the run", commit(2020, "HEAD", &used)),
    ] {
        edit(&commit);
        table.add(kind, Mended::Everything, true, what.to_owned(), &subjects.audit(run));
        put_back(run, &pristine);
    }
    let before = project.git(&["rev-parse", "HEAD~2"]);
    edit(before.trim());
    table.add("another commit", Mended::Everything, true, "the first commit".to_owned(), &subjects.audit(run));
    put_back(run, &pristine);
    let object = project.path(&format!(".git/objects/{}/{}", &used[..2], &used[2..]));
    let bytes = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    table.add("commit removed", Mended::Nothing, true, "the commit of the run".to_owned(), &subjects.audit(run));
    fs::write(&object, bytes).unwrap();
}

/// The proof of a paper: about `most` of the edits of every field of `paper.json`, drawn by a fixed seed. Whatever is not found
/// without a Typst has to be found by setting the paper again. None where there is no Typst.
fn proof(most: usize) -> Option<Table> {
    const PROOF: &str = "report/build/paper.json";
    let project = with_templates(Project::new)?;
    project.write("experiments/wider/experiment.toml", "extends = \"tiny\"\ntitle = \"Wider\"\n[model]\nwidth = 32\n");
    project.commit("Propose wider");
    for experiment in ["tiny", "wider"] {
        project.harness(&["run", experiment]).expect(0);
    }
    project.harness(&["report"]).expect(0);
    let (path, places) = (project.path(PROOF), Places::at(project.path("")));
    let git = Git::discover(places.root()).unwrap();
    let without = Err("without a Typst".to_owned());
    let with = Ok(Typst::of_auditor(Some(&repository().join(".tools"))).unwrap());
    let audit = |setter| audit::pdf(&places, Some(&git), &project.path("report/build/paper.pdf"), setter).unwrap();
    assert_eq!(audit(&with).exit_code(), 0);

    let pristine = fs::read(&path).unwrap();
    let mut edits = Vec::new();
    file_edits(PROOF, None, &mut edits);
    json_edits(PROOF, &serde_json::from_slice(&pristine).unwrap(), None, &mut edits);
    // There are thousands in the list of bound numbers and in that of sources, and few besides.
    let is_listed = |edit: &Edit| ["bound.", "sources."].iter().any(|list| edit.field.starts_with(list));
    let listed = edits.iter().filter(|edit| is_listed(edit)).count();
    let (share, mut random) = (most as f64 / listed as f64, Random::new(16));
    let mut table = Table { all: edits.len(), ..Table::default() };
    for edit in edits {
        if is_listed(&edit) && random.uniform() >= share {
            continue;
        }
        match (edit.change)(&pristine) {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let found = audit(&without).contradictions().next().map(|check| check.level);
        let set_again = || {
            let audit = audit(&with);
            audit.contradictions().chain(audit.missing()).next().map(|_| SET_AGAIN)
        };
        let found = found.or_else(set_again);
        let what = format!("{} of `{}` in {PROOF}", edit.kind, edit.field);
        table.add_found(edit.kind, Mended::Nothing, !OF_THE_SETTING.contains(&edit.field.as_str()), what, found);
        fs::write(&path, &pristine).unwrap();
    }
    Some(table)
}

/// Copies of sealed projects that nobody has edited, each otherwise. Gives those that were found to contradict something.
fn untouched(count: usize) -> Vec<String> {
    let subjects = Subjects::new();
    let source = subjects.project.path("").to_str().unwrap().to_owned();
    let fixture =
        |name: &str| repository().join(format!("tests/fixtures/{name}/project.bundle")).to_str().unwrap().to_owned();
    let sources =
        [source.clone(), source, fixture("record-2"), fixture("record-3"), fixture("record-4"), fixture("record-5")];
    let ways = ["clone", "autocrlf", "umask", "folder", "rename"];
    let mut alarms = Vec::new();
    for number in 0..count {
        let (source, way) = (&sources[number % sources.len()], ways[number / sources.len() % ways.len()]);
        let target = tempfile::tempdir().unwrap();
        let folder = target.path().join(if way == "folder" { "deep er/räume/project" } else { "project" });
        let crlf = if way == "autocrlf" { "true" } else { "false" };
        let umask = if way == "umask" { "077" } else { "022" };
        let clone = format!("umask {umask} && exec git clone -q -b main -c core.autocrlf={crlf} \"$0\" \"$1\"");
        let status = std::process::Command::new("sh").args(["-c", &clone, source]).arg(&folder).status().unwrap();
        assert!(status.success(), "{source}");
        if number % sources.len() == 1 {
            // With its data.
            std::os::unix::fs::symlink(subjects.project.path(".harness"), folder.join(".harness")).unwrap();
        }
        if way == "rename" {
            let text = folder.to_str().unwrap();
            subjects.project.harness(&["-C", text, "rename", "tiny", "other"]).expect(0);
        }
        let places = Places::at(&folder);
        let audit = audit::everything(
            &places,
            Some(&Git::discover(&folder).unwrap()),
            &Err("the papers of runs alone are none".to_owned()),
        )
        .unwrap();
        alarms.extend(audit.contradictions().map(|check| format!("{source} ({way}): {} {}", check.what, check.detail)));
    }
    alarms
}

#[test]
fn a_sample_of_the_tamper_matrix_misses_nothing() {
    let table = matrix(400);
    assert!(table.tried() > 300, "{}", table.tried());
    assert_eq!(table.missed(), Vec::<&String>::new());
}

#[test]
#[ignore = "it takes minutes: `make test-tamper`"]
fn an_edit_of_the_proof_of_a_paper_is_found() {
    let Some(table) = proof(300) else { return };
    println!("The proof of a paper: {} of {} edits", table.tried(), table.all);
    table.print();
    assert!(table.tried() >= 300, "{}", table.tried());
    assert_eq!(table.missed(), Vec::<&String>::new());
}

#[test]
fn a_few_untouched_copies_raise_no_alarm() {
    assert_eq!(untouched(24), Vec::<String>::new());
}

#[test]
#[ignore = "it takes minutes: `make test-tamper`"]
fn the_tamper_matrix_misses_nothing() {
    let begun = Instant::now();
    let table = matrix(6000);
    table.print();
    let alarms = untouched(100);
    println!(
        "{} of {} edits, {} missed; 100 untouched copies, {} false alarms; {:.0} s",
        table.tried(),
        table.all,
        table.missed().len(),
        alarms.len(),
        begun.elapsed().as_secs_f64()
    );
    table.missed().iter().for_each(|missed| println!("missed: {missed}"));
    assert!(table.tried() >= 2000 && table.missed().is_empty());
    assert_eq!(alarms, Vec::<String>::new());
}
