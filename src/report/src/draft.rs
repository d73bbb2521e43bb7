//! The draft of each section from its template. A template sees the structure of the study (experiments, tasks,
//! which keys there are), never a result: results come in through `#value(...)` when the paper is set, so a draft
//! that was written once stays true when runs are added or repeated.

use std::collections::BTreeMap;
use std::path::Path;

use harness_core::files;
use serde_json::{Value as Json, json};
use tera::{Context, Tera};

use super::error::ReportError;
use super::scan::literal;
use super::study::{Entry, Study};
use super::tables::changed_keys;
use super::values::{accuracy_key, facts, title_of};
use crate::plot::{headline_tasks, title_of_task};

/// In a template's name, the place of an experiment's: one section for each experiment that has a reference.
const EACH: &str = "EXPERIMENT";
const ENDING: &str = ".tera";

/// A section as a template gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    /// File name below `report/sections/`.
    pub name: String,
    pub text: String,
}

/// Renders every section template of `templates/sections`.
pub(super) fn sections(folder: &Path, study: &Study) -> Result<Vec<Draft>, ReportError> {
    let mut drafts = Vec::new();
    for file in files::list(folder)?.iter().filter(|f| f.ends_with(".typ.tera")) {
        let template = files::read_to_string(&folder.join(file))?;
        let name = file.trim_end_matches(ENDING);
        let shown = format!("templates/sections/{file}");
        if name.contains(EACH) {
            for entry in &study.entries {
                let Some(reference) = study.reference(entry) else { continue };
                let mut context = context(study);
                context.insert("experiment", &experiment(study, entry));
                context.insert("reference", &experiment(study, reference));
                let text = render(&shown, &template, &context)?;
                drafts.push(Draft { name: name.replace(EACH, entry.name()), text });
            }
        } else {
            drafts.push(Draft { name: name.to_owned(), text: render(&shown, &template, &context(study))? });
        }
    }
    Ok(drafts)
}

/// Fills in one template. Nothing is escaped by itself: text goes through the filter `str`, which makes a string
/// literal of it.
pub(super) fn render(shown: &str, template: &str, context: &Context) -> Result<String, ReportError> {
    let wrong = |e: tera::Error| {
        let mut problem = e.to_string();
        let mut cause = std::error::Error::source(&e);
        while let Some(inner) = cause {
            problem = format!("{problem}: {inner}");
            cause = inner.source();
        }
        ReportError::Template { template: shown.to_owned(), problem }
    };
    let mut tera = Tera::default();
    tera.autoescape_on(Vec::new());
    tera.register_filter("str", |value: &Json, _: &std::collections::HashMap<String, Json>| match value {
        Json::String(text) => Ok(json!(literal(text))),
        other => Err(tera::Error::msg(format!("`str` takes a text, not {other}"))),
    });
    tera.add_raw_template(shown, template).map_err(wrong)?;
    tera.render(shown, context).map_err(wrong)
}

fn context(study: &Study) -> Context {
    let mut context = Context::new();
    let families: Vec<Json> = study
        .families
        .iter()
        .enumerate()
        .map(|(index, family)| {
            let members: Vec<&Entry> = family.iter().map(|i| &study.entries[*i]).collect();
            let mut described = experiment(study, members[0]);
            // Labels must differ between families; the first one's stay short.
            described["suffix"] = json!(if index == 0 { String::new() } else { format!("-{}", members[0].name()) });
            described["members"] = json!(members.iter().map(|e| experiment(study, e)).collect::<Vec<_>>());
            described["equal_budgets"] = json!(equal_budgets(&members));
            described["changes"] = json!(members[1..].iter().map(|e| experiment(study, e)).collect::<Vec<_>>());
            described
        })
        .collect();
    context.insert("families", &families);
    context.insert("experiments", &study.entries.iter().map(|e| experiment(study, e)).collect::<Vec<_>>());
    context.insert("single_family", &(families.len() == 1));
    // With few changes there is room for every figure of each.
    context.insert("few_changes", &(study.entries.iter().filter(|e| e.reference.is_some()).count() <= 3));
    context
}

/// Whether all experiments of a family have seen the same number of tokens.
fn equal_budgets(members: &[&Entry]) -> bool {
    let tokens = |e: &Entry| e.quoted.values.get("training.tokens").map(|v| v.number);
    members.iter().all(|e| tokens(e) == tokens(members[0]))
}

/// One experiment as templates see it.
fn experiment(study: &Study, entry: &Entry) -> Json {
    let analysis = entry.quoted;
    let config = &analysis.run.experiment;
    let reference = study.reference(entry);
    let tasks: Vec<Json> = headline_tasks(analysis)
        .into_iter()
        .map(|task| {
            json!({
                "id": task.id,
                "title": title_of_task(task),
                "in_sentence": in_sentence(&title_of_task(task)),
                "accuracy": accuracy_key(task),
                "has_perplexity": task.perplexity.is_some(),
                "is_group": analysis.groups.iter().any(|g| g.id == task.id),
            })
        })
        .collect();
    let families: Vec<String> =
        analysis.tasks.iter().map(|t| t.group.clone().unwrap_or_else(|| t.id.clone())).collect();
    let keys: BTreeMap<&str, bool> = analysis.values.keys().map(|k| (k.as_str(), true)).collect();
    let manifest = &analysis.run.corpus;
    json!({
        "name": entry.name(),
        "title": title_of(entry),
        "has": {
            "question": !config.question.trim().is_empty(),
            "hypothesis": !config.hypothesis.trim().is_empty(),
            "rationale": !config.rationale.trim().is_empty(),
            "unigram": keys.contains_key("data.unigram_bits_per_byte"),
            "bigram": keys.contains_key("data.bigram_bits_per_byte"),
            "initial": keys.contains_key("validation.initial_bits_per_byte"),
            "cleaning": !manifest.steps.is_empty(),
            "contamination": !manifest.contamination.is_empty(),
            "task_groups": !analysis.groups.is_empty(),
        },
        "keys": keys.keys().collect::<Vec<_>>(),
        "facts": facts(analysis).keys().collect::<Vec<_>>(),
        "reference": reference.map(Entry::name),
        "changed": reference.map(|r| changed_keys(entry, r)),
        "changes_training": reference.is_some_and(|r| {
            let sections = ["optimizer.", "schedule.", "training."];
            changed_keys(entry, r).iter().any(|key| sections.iter().any(|s| key.starts_with(s)))
        }),
        "corpus": {
            "name": manifest.name,
            "finds_exact": manifest.recipe["duplicates"]["exact"] == true,
            "finds_near": manifest.recipe["duplicates"]["near"].is_object(),
            "counts_repeats": manifest.across_split.is_some(),
            "finds_leakage": manifest.recipe["split"]["leakage"].is_object(),
            "leaves_out_items": manifest.recipe["decontaminate"]["action"] == "leave_out",
            "generated": manifest.recipe["generate"].is_object(),
            "many_sources": manifest.sources.len() > 1,
        },
        "tokenizer": manifest.tokenizer.kind,
        "tasks": tasks,
        "cites": task_citations(&families),
        "schedule": config.schedule.kind,
        "warmup": config.schedule.warmup_steps > 0,
        "config": serde_json::to_value(config).unwrap_or_default(),
        "clips": config.optimizer.gradient_clip_norm > 0.0,
        "accumulates": config.training.passes() > 1,
        "seeds": entry.seeds(),
    })
}

/// A title within a sentence: its first letter is small, unless its first word has other capitals, as BLiMP has.
fn in_sentence(title: &str) -> String {
    let word = title.split_whitespace().next().unwrap_or_default();
    let mut letters = title.chars();
    match letters.next() {
        Some(first) if !word.chars().skip(1).any(char::is_uppercase) && word.chars().count() > 1 => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => title.to_owned(),
    }
}

/// What to cite for the tasks whose names are known.
fn task_citations(ids: &[String]) -> Vec<Json> {
    const KNOWN: [(&str, &str, &str); 6] = [
        ("blimp", "BLiMP", "warstadt2020blimp"),
        ("lambada", "LAMBADA", "paperno2016lambada"),
        ("piqa", "PIQA", "bisk2020piqa"),
        ("arc", "ARC", "clark2018think"),
        ("hellaswag", "HellaSwag", "zellers2019hellaswag"),
        ("copa", "COPA", "roemmele2011choice"),
    ];
    let named = |(id, title, key): &(&str, &str, &str)| {
        ids.iter().any(|own| own.starts_with(id)).then(|| json!({ "id": id, "title": title, "key": key }))
    };
    KNOWN.iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_capitals_within_a_sentence() {
        let cases = [
            ("Subject-verb agreement", "subject-verb agreement"),
            ("BLiMP", "BLiMP"),
            ("ARC-Easy", "ARC-Easy"),
            ("Recall", "recall"),
            ("HellaSwag", "HellaSwag"),
            ("", ""),
            ("\u{c9}x", "\u{e9}x"),
        ];
        for (title, expected) in cases {
            assert_eq!(in_sentence(title), expected);
        }
    }

    #[test]
    fn a_broken_template_is_named() {
        let error = render("templates/x.tera", "a\n{{ nothing.here }}", &Context::new()).unwrap_err().to_string();
        assert!(error.contains("`templates/x.tera`") && error.contains("nothing"), "{error}");
    }
}
