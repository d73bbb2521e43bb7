//! `tables.json`: the tables as data. A cell is text, or a reference to a value, a difference, a digest or a run,
//! which `values.typ` looks up and sets; so each number of a table is bound as those of the prose are.

use std::collections::BTreeMap;

use harness_core::config::flat;
use harness_core::task_kind::{Kind, Metric};
use serde_json::{Value as Json, json};

use super::differences::Differences;
use super::study::{Entry, Study};
use super::values::{accuracy_key, title_of};
use crate::plot::{headline_tasks, task_title, title_in_group, title_of_task};
use harness_analyse::compare::Verdict;
use harness_analyse::{RunAnalysis, TaskResult, Unit, show};

/// More columns of experiments than this do not fit one column of the page.
const NARROW: usize = 3;

fn text(text: impl Into<String>) -> Json {
    json!({ "text": text.into() })
}

fn code(text: impl Into<String>) -> Json {
    json!({ "code": text.into() })
}

fn value(experiment: &str, key: &str, error: bool, bold: bool) -> Json {
    json!({ "value": [experiment, key], "error": error, "bold": bold })
}

/// A number of the records that is no value of its own, bound to the run and file it stands in.
fn recorded(entry: &Entry, file: &str, shown: String) -> Json {
    json!({ "recorded": shown, "run": entry.quoted.run.open.run, "experiment": entry.name(), "file": file })
}

fn table(wide: bool, columns: &[&str], header: Vec<Json>, rows: Vec<Vec<Json>>) -> Json {
    json!({ "wide": wide, "columns": columns, "header": header, "rows": rows, "rules": [] })
}

/// All tables, by `kind name`.
pub(super) fn document(study: &Study, differences: &Differences) -> Json {
    let is_better = |entry: &Entry, key: &str| differences.verdict(study, entry, key) == Some(Verdict::Better);
    let mut tables: BTreeMap<String, Json> = BTreeMap::new();
    for family in &study.families {
        let members: Vec<&Entry> = family.iter().map(|i| &study.entries[*i]).collect();
        let base = members[0];
        let mut add = |kind: &str, table: Json| tables.insert(format!("{kind} {}", base.name()), table);
        add("data", data(base));
        add("sources", sources(base));
        add("cleaning", cleaning(base));
        add("funnel", funnel(base));
        add("lengths", lengths(base));
        add("statement", statement(base));
        add("contamination", contamination(base));
        add("config", config(base));
        add("changes", changes(&members));
        add("full-config", full_config(&members));
        add("tasks", tasks(base));
        add("results", results(&members, &is_better));
        add("all-tasks", all_tasks(&members, &is_better));
        add("resources", resources(&members));
        for entry in &members[1..] {
            if let Some(reference) = study.reference(entry) {
                tables.insert(format!("change {}", entry.name()), change(entry, reference));
            }
        }
    }
    tables.insert("runs".to_owned(), runs(study));
    json!({ "format": super::values::VERSION, "tables": tables })
}

/// What was trained and validated on.
fn data(base: &Entry) -> Json {
    let name = base.name();
    let row = |label: &str, train: &str, validation: &str| {
        vec![text(label), value(name, train, false, false), value(name, validation, false, false)]
    };
    let mut rows = vec![row("Documents", "data.train_documents", "data.validation_documents")];
    rows.push(row("Bytes of text", "data.train_bytes", "data.validation_bytes"));
    rows.push(row("Tokens", "data.train_tokens", "data.validation_tokens"));
    table(false, &["left", "right", "right"], vec![text(""), text("Training"), text("Validation")], rows)
}

/// Every source of the corpus; the files of a pattern are one.
fn sources(base: &Entry) -> Json {
    let files = &base.quoted.run.corpus.sources;
    let sources = files.chunk_by(|a, b| a.pattern.is_some() && a.pattern == b.pattern);
    let file = harness_record::format::file::CORPUS_MANIFEST;
    let count = |n: u64| recorded(base, file, show(n as f64, Unit::Count));
    let row = |of: &[harness_core::corpus_manifest::SourceRecord]| {
        let name = of[0].pattern.as_ref().unwrap_or(&of[0].name);
        let title = if of[0].title.is_empty() { name } else { &of[0].title };
        let sum = |number: fn(&harness_core::corpus_manifest::SourceRecord) -> u64| count(of.iter().map(number).sum());
        vec![
            match of {
                [one] => json!({ "text": title, "link": one.url }),
                several => text(format!("{title} ({} files)", several.len())),
            },
            text(of[0].licence.clone()),
            sum(|s| s.train_documents + s.validation_documents),
            sum(|s| s.train_bytes + s.validation_bytes),
            sum(|s| s.train_tokens + s.validation_tokens),
        ]
    };
    let header = ["Source", "Licence", "Documents", "Bytes", "Tokens"].map(text).to_vec();
    table(true, &["left", "left", "right", "right", "right"], header, sources.map(row).collect())
}

/// What each cleaning step did, and what is left once duplicates and the like are out.
fn cleaning(base: &Entry) -> Json {
    let manifest = &base.quoted.run.corpus;
    let cell = |stage: &str, what: &str| value(base.name(), &format!("data.funnel.{stage}.{what}"), false, false);
    // The first stage is reading, then every step has one.
    let row = |stage: &harness_core::corpus_manifest::FunnelStage| {
        let of = |what: &str| cell(&stage.stage, what);
        vec![text(stage.stage.replace('_', " ")), of("documents"), of("changed"), of("bytes")]
    };
    let mut rows: Vec<_> = manifest.funnel.iter().skip(1).take(manifest.steps.len()).map(row).collect();
    if let Some(last) = manifest.funnel.last() {
        rows.push(vec![text("after selection"), cell(&last.stage, "documents"), text("–"), cell(&last.stage, "bytes")]);
    }
    let header = ["Step", "Documents", "Changed", "Bytes"].map(text).to_vec();
    table(false, &["left", "right", "right", "right"], header, rows)
}

/// From what was read to both sides: what each stage leaves.
fn funnel(base: &Entry) -> Json {
    let manifest = &base.quoted.run.corpus;
    let cell = |key: String| value(base.name(), &key, false, false);
    let mut rows = Vec::new();
    for (at, stage) in manifest.funnel.iter().enumerate() {
        // A stage that left everything as it was would only fill a line.
        let before = at.checked_sub(1).map(|before| &manifest.funnel[before]);
        if before.is_some_and(|b| (b.documents, b.bytes) == (stage.documents, stage.bytes)) {
            continue;
        }
        let label = match stage.stage.as_str() {
            "exact_duplicates" | "near_duplicates" => format!("no {}", stage.stage.replace('_', " ")),
            "contaminated" => "no task items".to_owned(),
            "leaked" => "no leaks across sides".to_owned(),
            step => step.replace('_', " "),
        };
        let of_stage = |what: &str| cell(format!("data.funnel.{}.{what}", stage.stage));
        rows.push(vec![text(label), of_stage("documents"), of_stage("bytes"), of_stage("bytes_share")]);
    }
    let rule = rows.len();
    for (side, label) in [("train", "training side"), ("validation", "validation side"), ("test", "test side")] {
        let of_side = |what: &str| format!("data.funnel.{side}.{what}");
        if base.quoted.values.contains_key(&of_side("documents")) {
            let cells = ["documents", "bytes", "bytes_share"].map(|what| cell(of_side(what)));
            rows.push(std::iter::once(text(label)).chain(cells).collect());
        }
    }
    let header = ["Stage", "Documents", "Bytes", "%"].map(text).to_vec();
    let mut table = table(false, &["left", "right", "right", "right"], header, rows);
    table["rules"] = json!([rule]);
    table
}

/// Quartiles of the lengths of documents, by side.
fn lengths(base: &Entry) -> Json {
    let row = |(label, what): (&str, &str)| {
        let of = |key: &str| value(base.name(), &format!("data.{key}.{what}"), false, false);
        let keys = ["train_document_bytes", "train_document_tokens", "validation_document_bytes"];
        let all = keys.map(of).into_iter().chain([of("validation_document_tokens")]);
        std::iter::once(text(label)).chain(all).collect()
    };
    let rows = [
        ("smallest", "smallest"),
        ("lower quartile", "lower_quartile"),
        ("median", "median"),
        ("upper quartile", "upper_quartile"),
        ("largest", "largest"),
    ];
    let header = ["", "Train. bytes", "tokens", "Val. bytes", "tokens"].map(text).to_vec();
    table(false, &["left", "right", "right", "right", "right"], header, rows.into_iter().map(row).collect())
}

/// What a data statement says in numbers, but for the sizes of both sides.
fn statement(base: &Entry) -> Json {
    let cell = |key: &str| value(base.name(), key, false, false);
    let recipe = &base.quoted.run.corpus.recipe;
    // A zero would say that it was looked for.
    let looked_for = |key: &str| match key {
        "data.exact_duplicates" => recipe["duplicates"]["exact"] == true,
        "data.near_duplicates" => recipe["duplicates"]["near"].is_object(),
        "data.contaminated_documents" => recipe["decontaminate"]["action"] == "leave_out",
        _ => true,
    };
    let rows = [
        ("Bytes of the sources", "data.source_bytes"),
        ("Documents read", "data.documents_read"),
        ("Exact duplicates", "data.exact_duplicates"),
        ("Near duplicates", "data.near_duplicates"),
        ("Groups of duplicates", "data.duplicate_groups"),
        ("Left out for task items", "data.contaminated_documents"),
        ("Token ids", "data.vocabulary_size"),
        ("  not in training text", "data.unused_token_ids"),
        ("Bytes per training token", "data.train_bytes_per_token"),
        ("Bytes per validation token", "data.bytes_per_token"),
    ];
    let rows = rows.iter().filter(|(_, key)| looked_for(key)).map(|(label, key)| vec![text(*label), cell(key)]);
    table(false, &["left", "right"], vec![text("Property"), text("Value")], rows.collect())
}

/// How many items of each task share text with the corpus.
fn contamination(base: &Entry) -> Json {
    let file = harness_record::format::file::CORPUS_MANIFEST;
    let count = |n: u64| recorded(base, file, show(n as f64, Unit::Count));
    let mut rows = Vec::new();
    for found in &base.quoted.run.corpus.contamination {
        rows.push(vec![
            text(task_title(&found.task)),
            count(found.items),
            count(found.items_too_short),
            count(found.items_found),
            count(found.documents),
        ]);
    }
    let header = ["Task", "Items", "Too short", "Found", "Documents"].map(text).to_vec();
    table(false, &["left", "right", "right", "right", "right"], header, rows)
}

/// Keys that say who and why, not what; keys of the paper's own machinery.
fn is_choice(key: &str) -> bool {
    !["title", "question", "hypothesis", "rationale", "extends", "evaluation.tasks", "corpus"].contains(&key)
}

fn config_cell(entry: &Entry, key: &str, shown: &str) -> Json {
    let key = format!("config.{key}");
    if entry.quoted.values.contains_key(&key) {
        value(entry.name(), &key, false, false)
    } else {
        code(shown.trim_matches('"'))
    }
}

fn in_words(key: &str) -> String {
    key.rsplit('.').next().unwrap_or(key).replace('_', " ")
}

/// Choices that say how the program runs rather than what is learned: in the appendix only.
fn is_running(key: &str) -> bool {
    ["evaluation.", "metrics.", "training.keep."].iter().any(|section| key.starts_with(section))
        || [
            "training.attention_kernel",
            "training.on_non_finite",
            "training.skip_at_most",
            "training.device",
            "training.threads",
            "training.deterministic",
            "training.checkpoint_every",
            "training.micro_batch_size",
        ]
        .contains(&key)
}

/// The choices of the baseline that decide what is learned, by section.
fn config(base: &Entry) -> Json {
    let mut choices = flat(&base.quoted.run.experiment);
    // A schedule without warm-up is a choice; a model or a training without one of the many pieces there are is not.
    let is_off = |key: &str, shown: &str| {
        shown == "[]"
            || ["model.", "training."].iter().any(|section| key.starts_with(section))
                && ["0", "0.0", "false"].contains(&shown)
    };
    choices.retain(|(key, shown)| is_choice(key) && !is_running(key) && !is_off(key, shown));
    choices.sort_by_key(|(key, _)| !key.contains('.'));
    let mut rows = Vec::new();
    let mut rules = Vec::new();
    let mut section = "";
    for (key, shown) in &choices {
        let own = key.split_once('.').map_or("order and weights", |(section, _)| section);
        let first = own != section;
        if first && !rows.is_empty() {
            rules.push(rows.len());
        }
        section = own;
        rows.push(vec![text(if first { own } else { "" }), text(in_words(key)), config_cell(base, key, shown)]);
    }
    let header = ["Part", "Choice", "Value"].map(text).to_vec();
    let mut table = table(false, &["left", "left", "right"], header, rows);
    table["rules"] = json!(rules);
    table
}

/// What two configs have different: key, reference, experiment.
fn differing(entry: &Entry, reference: &Entry) -> Vec<(String, Option<String>, Option<String>)> {
    let of = |e: &Entry| -> BTreeMap<String, String> { flat(&e.quoted.run.experiment).into_iter().collect() };
    let (before, after) = (of(reference), of(entry));
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).filter(|k| is_choice(k)).collect();
    keys.sort();
    keys.dedup();
    let row = |key: &&String| {
        (before.get(*key) != after.get(*key))
            .then(|| ((*key).clone(), before.get(*key).cloned(), after.get(*key).cloned()))
    };
    keys.iter().filter_map(row).collect()
}

/// The choices that an experiment makes differently from its reference.
pub(super) fn changed_keys(entry: &Entry, reference: &Entry) -> Vec<String> {
    differing(entry, reference).into_iter().map(|(key, _, _)| key).collect()
}

fn change(entry: &Entry, reference: &Entry) -> Json {
    let cell =
        |e: &Entry, key: &str, shown: Option<String>| shown.map_or_else(|| text("–"), |s| config_cell(e, key, &s));
    let rows = differing(entry, reference)
        .into_iter()
        .map(|(key, before, after)| vec![code(&*key), cell(reference, &key, before), cell(entry, &key, after)])
        .collect();
    table(false, &["left", "right", "right"], vec![text("Choice"), code(reference.name()), code(entry.name())], rows)
}

/// One row for each experiment: what it changes.
fn changes(members: &[&Entry]) -> Json {
    let row = |entry: &&Entry| {
        let keys = changed_keys(entry, members[0]);
        let own: BTreeMap<String, String> = flat(&entry.quoted.run.experiment).into_iter().collect();
        let stated: Vec<String> =
            keys.iter().map(|k| format!("{k} = {}", own.get(k).map_or("–", |v| v.trim_matches('"')))).collect();
        vec![code(entry.name()), text(title_of(entry)), code(stated.join(", "))]
    };
    let header = ["Experiment", "Title", "Change"].map(text).to_vec();
    table(false, &["left", "left", "left"], header, members[1..].iter().map(row).collect())
}

/// Every key of every config of the family; experiments that agree with the baseline show a dot.
fn full_config(members: &[&Entry]) -> Json {
    let maps: Vec<BTreeMap<String, String>> =
        members.iter().map(|e| flat(&e.quoted.run.experiment).into_iter().collect()).collect();
    let mut keys: Vec<&String> = maps.iter().flat_map(BTreeMap::keys).filter(|k| is_choice(k)).collect();
    keys.sort_by_key(|k| (k.contains('.'), *k));
    keys.dedup();
    let row = |key: &&String| {
        let first = maps[0].get(*key);
        let cells = members.iter().zip(&maps).enumerate().map(|(index, (entry, map))| match map.get(*key) {
            None => text("–"),
            same if index > 0 && same == first => text("·"),
            Some(shown) => config_cell(entry, key, shown),
        });
        std::iter::once(code((*key).clone())).chain(cells).collect()
    };
    let rows = keys.iter().map(row).collect();
    let header = std::iter::once(text("Key")).chain(members.iter().map(|e| code(e.name()))).collect();
    let columns: Vec<&str> = std::iter::once("left").chain(members.iter().map(|_| "right")).collect();
    table(members.len() > NARROW, &columns, header, rows)
}

/// What the tasks are.
fn tasks(base: &Entry) -> Json {
    let row = |task: &&TaskResult| {
        let of_task = |t: &&harness_record::format::Task| t.id == task.id || t.group.as_ref() == Some(&task.id);
        let kind = base.quoted.run.open.tasks.iter().find(of_task).map_or("", |t| kind_in_words(t.kind));
        let key = |name: &str| format!("tasks.{}.{name}", task.id);
        vec![
            text(title_of_task(task)),
            text(kind),
            value(base.name(), &key("items"), false, false),
            text(metric_in_words(task.metric)),
            value(base.name(), &key("chance"), false, false),
        ]
    };
    let rows = headline_tasks(base.quoted).iter().map(row).collect();
    let header = ["Task", "Kind", "Items", "Metric", "Chance"].map(text).to_vec();
    table(false, &["left", "left", "right", "left", "right"], header, rows)
}

fn kind_in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::MinimalPairs => "pairs",
        Kind::MultipleChoice => "choice",
        Kind::TwoContexts => "contexts",
        Kind::LastWord => "last word",
        Kind::Documents => "documents",
    }
}

fn metric_in_words(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "acc.",
        Metric::AccuracyPerCharacter => "acc. norm.",
        Metric::AccuracyPerToken => "acc. per token",
        Metric::AccuracyMutualInformation => "acc. by mutual information",
        Metric::BitsPerByte => "bits per byte",
        Metric::WordPerplexity => "ppl. per word",
        Metric::GreedyAccuracy => "acc., ppl.",
    }
}

/// A measure of the results table.
struct Measure {
    key: String,
    title: String,
}

fn metrics(members: &[&Entry]) -> Vec<Measure> {
    let mut metrics =
        vec![Measure { key: "validation.bits_per_byte".to_owned(), title: "Bits per byte ↓".to_owned() }];
    for task in headline_tasks(members[0].quoted) {
        let title = title_of_task(task);
        metrics.push(Measure { key: accuracy_key(task), title: format!("{title} ↑") });
        if task.perplexity.is_some() {
            let key = format!("tasks.{}.perplexity", task.id);
            metrics.push(Measure { key, title: format!("{title}, ppl. ↓") });
        }
    }
    metrics
}

/// Bold is what the tests call better than the experiment that it changes.
fn results(members: &[&Entry], is_better: &dyn Fn(&Entry, &str) -> bool) -> Json {
    let metrics = metrics(members);
    let cell = |entry: &Entry, metric: &Measure| match entry.quoted.values.get(&metric.key) {
        None => text("–"),
        Some(v) => value(entry.name(), &metric.key, v.standard_error.is_some(), is_better(entry, &metric.key)),
    };
    if members.len() <= NARROW {
        let row = |metric: &Measure| {
            let cells = members.iter().map(|entry| cell(entry, metric));
            std::iter::once(text(metric.title.clone())).chain(cells).collect()
        };
        let header = std::iter::once(text("Metric")).chain(members.iter().map(|e| code(e.name()))).collect();
        let columns: Vec<&str> = std::iter::once("left").chain(members.iter().map(|_| "right")).collect();
        let mut table = table(false, &columns, header, metrics.iter().map(row).collect());
        table["rules"] = json!([1]);
        return table;
    }
    let row = |entry: &&Entry| {
        let cells = metrics.iter().map(|metric| cell(entry, metric));
        std::iter::once(code(entry.name())).chain(cells).collect()
    };
    let header = std::iter::once(text("Experiment")).chain(metrics.iter().map(|m| text(m.title.clone()))).collect();
    let columns: Vec<&str> = std::iter::once("left").chain(metrics.iter().map(|_| "right")).collect();
    table(true, &columns, header, members.iter().map(row).collect())
}

/// Every task, members of groups included.
fn all_tasks(members: &[&Entry], is_better: &dyn Fn(&Entry, &str) -> bool) -> Json {
    let row = |task: &TaskResult| {
        let key = accuracy_key(task);
        let cell = |entry: &&Entry| match entry.quoted.values.get(&key) {
            None => text("–"),
            Some(_) => value(entry.name(), &key, true, is_better(entry, &key)),
        };
        let chance = value(members[0].name(), &format!("tasks.{}.chance", task.id), false, false);
        [text(title_in_group(task)), chance].into_iter().chain(members.iter().map(cell)).collect()
    };
    let rows = members[0].quoted.tasks.iter().map(row).collect();
    let header = [text("Task"), text("Chance")].into_iter().chain(members.iter().map(|e| code(e.name()))).collect();
    let columns: Vec<&str> = ["left", "right"].into_iter().chain(members.iter().map(|_| "right")).collect();
    table(members.len() >= NARROW, &columns, header, rows)
}

fn resources(members: &[&Entry]) -> Json {
    const ROWS: [(&str, &str); 8] = [
        ("model.parameters", "Parameters"),
        ("model.parameters_without_embeddings", "  without embeddings"),
        ("training.steps", "Optimizer steps"),
        ("training.tokens", "Training tokens"),
        ("training.flops", "Training FLOPs"),
        ("resources.tokens_per_s", "Tokens per second"),
        ("resources.wall_time_s", "Wall time (s)"),
        ("resources.peak_memory_bytes", "Peak memory (MiB)"),
    ];
    let cell = |entry: &Entry, key: &str| {
        if entry.quoted.values.contains_key(key) { value(entry.name(), key, false, false) } else { text("–") }
    };
    if members.len() <= NARROW {
        let row = |(key, title): (&str, &str)| {
            let cells = members.iter().map(|entry| cell(entry, key));
            std::iter::once(text(title)).chain(cells).collect()
        };
        let header = std::iter::once(text("")).chain(members.iter().map(|e| code(e.name()))).collect();
        let columns: Vec<&str> = std::iter::once("left").chain(members.iter().map(|_| "right")).collect();
        return table(false, &columns, header, ROWS.into_iter().map(row).collect());
    }
    let kept = [ROWS[0], ROWS[3], ROWS[4], ROWS[5], ROWS[6]];
    let row = |entry: &&Entry| {
        std::iter::once(code(entry.name())).chain(kept.iter().map(|(key, _)| cell(entry, key))).collect()
    };
    let header = std::iter::once(text("Experiment")).chain(kept.iter().map(|(_, title)| text(*title))).collect();
    let columns: Vec<&str> = std::iter::once("left").chain(kept.iter().map(|_| "right")).collect();
    table(true, &columns, header, members.iter().map(row).collect())
}

/// More runs than this are listed in one line each, with the first digits of their digests.
const RUNS_IN_FULL: usize = 12;

/// Every run with its digests: where each number of the paper leads.
fn runs(study: &Study) -> Json {
    let all: Vec<&RunAnalysis> = study.entries.iter().flat_map(|e| &e.runs).copied().collect();
    let short = all.len() > RUNS_IN_FULL;
    let row = |analysis: &&RunAnalysis| {
        let open = &analysis.run.open;
        let state = match &open.not_citable_because {
            Some(_) => "not citable",
            None => analysis.run.record.status.word(),
        };
        let name = json!({ "code": open.experiment });
        let seed = format!("seed {}", open.plan.seed);
        let digests = [json!(open.code.commit), json!(open.data.root), json!(analysis.run.root)];
        let digests = digests.into_iter().map(|digest| json!({ "digest": digest, "short": short }));
        let (first, lines) = if short {
            (vec![name], vec![text(open.run.as_str())])
        } else {
            (vec![], vec![name, text(open.run.as_str()), text(seed), text(state)])
        };
        first.into_iter().chain([json!({ "run": open.run, "lines": lines })]).chain(digests).collect()
    };
    let rows = all.iter().map(row).collect();
    let header: &[&str] = &["Experiment", "Run", "Commit", "Data root", "Run root"][usize::from(!short)..];
    table(true, &vec!["left"; header.len()], header.iter().map(|h| text(*h)).collect(), rows)
}
