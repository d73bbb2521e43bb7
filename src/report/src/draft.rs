//! The draft of each section from its template. A template sees the structure of the study (experiments, tasks, which keys
//! there are), what was decided, and by which verdict to say what it says; never a number: those come in through
//! `#value(...)` when the paper is set. So a sentence that somebody took over stays true where its numbers change, and
//! where a verdict does, `#compare(...)` says it and the draft is another one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use harness_core::config::nearest;
use harness_core::files;
use harness_study::adoption::Outcome;
use serde_json::{Value as Json, json};
use tera::{Context, Tera};

use super::differences::Differences;
use super::emphasis;
use super::error::{Place, ReportError};
use super::families::{Entry, Families, TEST_BITS};
use super::logbook::Logbook;
use super::prose::Segment;
use super::section::literal;
use super::tables::{changed_keys, changed_settings};
use super::values::{accuracy_key, facts, prose_of, title_of, told_apart};
use crate::plot::{headline_tasks, title_of_task};

/// In a template's name, the place of an experiment's: one section for each experiment that has a reference.
const EACH: &str = "EXPERIMENT";
const ENDING: &str = ".tera";
/// The appendix that is drafted only where it is asked for.
const CHECKLIST: &str = "A4-checklist.typ";
/// The appendix that is drafted where models were let go on with a text, and what came of it was kept.
const SAMPLES: &str = "A7-samples.typ";

/// A section as a template gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    /// File name below `report/sections/`.
    pub name: String,
    pub text: String,
    /// The experiment that the section is about, if it is about one.
    pub experiment: Option<String>,
    /// Whether the paper has a place for it.
    pub is_wanted: bool,
}

/// What drafts are made of.
pub(super) struct Material<'a> {
    pub families: &'a Families<'a>,
    pub differences: &'a Differences,
    pub logbook: &'a Logbook,
    /// The changes that have a subsection whatever came of them.
    pub named: &'a [String],
    /// The works that can be cited; one that a text names and that is not among them is told where the text is set.
    pub references: Vec<&'a str>,
    /// The tables of the whole paper.
    pub tables: Vec<&'static str>,
    /// Whether the checklist is asked for as an appendix.
    pub checklist: bool,
    /// Whether `budget.toml` states a limit.
    pub budget: bool,
}

impl Draft {
    /// The draft below the notes on its experiment (`notes.md`), which are for whoever writes the section: a comment.
    pub(crate) fn below_notes(mut self, notes: &str) -> Self {
        // Whatever ends a line ends a comment in Typst.
        let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
        let lines = notes.trim().split(ends).filter(|line| !line.trim().is_empty());
        let comment: String = lines.map(|line| format!("// {line}\n")).collect();
        if !comment.is_empty() {
            self.text = format!("// From notes.md; no part of the paper.\n{comment}\n{}", self.text);
        }
        self
    }
}

/// Renders every section template of `templates/sections`.
pub(super) fn sections(folder: &Path, material: &Material) -> Result<Vec<Draft>, ReportError> {
    let families = material.families;
    let study = Study {
        material,
        subsections: emphasis::subsections(families, material.differences, material.logbook, material.named),
    };
    let shared = context(&study);
    let mut drafts = Vec::new();
    for file in files::list(folder)?.iter().filter(|f| f.ends_with(".typ.tera")) {
        let template = files::read_to_string(&folder.join(file))?;
        let name = file.trim_end_matches(ENDING);
        let shown = format!("templates/sections/{file}");
        if name.contains(EACH) {
            for entry in &families.entries {
                let Some(reference) = families.reference(entry) else { continue };
                let mut context = shared.clone();
                context.insert("experiment", &study.experiment(entry));
                context.insert("reference", &study.experiment(reference));
                let text = render(&shown, &template, &context)?;
                let is_wanted = study.subsections.contains(entry.name());
                let experiment = Some(entry.name().to_owned());
                drafts.push(Draft { name: name.replace(EACH, entry.name()), text, experiment, is_wanted });
            }
        } else {
            let text = render(&shown, &template, &shared)?;
            let is_wanted = match name {
                CHECKLIST => material.checklist,
                SAMPLES => families.entries.iter().any(|entry| entry.samples().next().is_some()),
                _ => true,
            };
            drafts.push(Draft { name: name.to_owned(), text, experiment: None, is_wanted });
        }
    }
    Ok(drafts)
}

/// Fills in one template. Nothing is escaped by itself: text goes through the filter `str`, which makes a string
/// literal of it.
pub(super) fn render(shown: &str, template: &str, context: &Context) -> Result<String, ReportError> {
    let mut tera = Tera::default();
    tera.autoescape_on(Vec::new());
    tera.register_filter("str", |value: &Json, _: &std::collections::HashMap<String, Json>| match value {
        Json::String(text) => Ok(json!(literal(text))),
        other => Err(tera::Error::msg(format!("`str` takes a text, not {other}"))),
    });
    // What a template makes depends on the runs, and on nothing else of the machine.
    tera.register_function("get_env", |_: &std::collections::HashMap<String, Json>| {
        Err(tera::Error::msg("a template does not read the environment"))
    });
    let refused = |error: tera::Error| refused(shown, template, context, &error);
    tera.add_raw_template(shown, template).map_err(refused)?;
    tera.render(shown, context).map_err(refused)
}

/// Why a template cannot be filled in, at its place as far as the engine tells: where it cannot be parsed, and where it has a name
/// that there is not, with the nearest that there is.
fn refused(shown: &str, template: &str, context: &Context, error: &tera::Error) -> ReportError {
    let mut problem = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        problem = format!("{problem}: {inner}");
        cause = inner.source();
    }
    let at = |offset: usize, problem: String, hint: String| ReportError::Source {
        problem,
        place: Box::new(Place::at(shown, template, offset)),
        hint: Some(hint),
    };
    let between = |before: &str, after: &str| problem.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    if let Some((name, _)) = between("Variable `", "` not found") {
        let known = known_beside(&context.clone().into_json(), name);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let near = nearest(name, &known);
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "docs/formats/paper.md lists what a template is given".to_owned(),
        };
        return at(place_of_name(template, name), format!("the template has no variable `{name}`"), hint);
    }
    if let Some((place, rest)) = between("--> ", "\n")
        && let Some((line, column)) = place.split_once(':')
        && let (Ok(line), Ok(column)) = (line.parse::<usize>(), column.parse::<usize>())
    {
        let before: usize = template.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let within = template[before..].char_indices().nth(column.saturating_sub(1)).map_or(0, |(at, _)| at);
        let expected = rest.rsplit("= ").next().unwrap_or_default().trim();
        let hint = "it is written in the language of Tera: https://keats.github.io/tera".to_owned();
        return at(before + within, format!("the template cannot be read: {expected}"), hint);
    }
    ReportError::Template { template: shown.to_owned(), problem }
}

/// Where a name stands as a whole.
fn place_of_name(template: &str, name: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let whole = |&(at, _): &(usize, &str)| {
        !template[..at].ends_with(is_part) && !template[at + name.len()..].starts_with(is_part)
    };
    template.match_indices(name).find(whole).map_or(0, |(at, _)| at)
}

/// The names that stand where a dotted name leads, as far as there is a way.
fn known_beside(context: &Json, name: &str) -> Vec<String> {
    let (mut here, mut way) = (context, String::new());
    for part in name.split('.') {
        let Some(inner) = here.get(part) else { break };
        here = inner;
        way.push_str(&format!("{part}."));
    }
    here.as_object().into_iter().flatten().map(|(key, _)| format!("{way}{key}")).collect()
}

/// The material with what is shown of it where.
struct Study<'a> {
    material: &'a Material<'a>,
    subsections: BTreeSet<String>,
}

fn context(study: &Study) -> Context {
    let families = study.material.families;
    let mut context = Context::new();
    let described: Vec<Json> = (families.families.iter().enumerate())
        .map(|(index, family)| {
            let members: Vec<&Entry> = family.iter().map(|i| &families.entries[*i]).collect();
            let mut described = study.experiment(members[0]);
            // Labels must differ between families; the first one's stay short.
            described["suffix"] = json!(if index == 0 { String::new() } else { format!("-{}", members[0].name()) });
            described["members"] = json!(members.iter().map(|e| study.experiment(e)).collect::<Vec<_>>());
            described["equal_budgets"] = json!(equal_budgets(&members));
            let on_other_data = members.iter().filter(|e| !e.has_data_of(members[0]));
            described["on_other_data"] = json!(on_other_data.map(|e| study.experiment(e)).collect::<Vec<_>>());
            described["sampled"] = json!(study.sampled(&members));
            let changes: Vec<Json> = members[1..].iter().map(|e| study.experiment(e)).collect();
            for (name, key, wanted) in [
                ("better", "verdict", "better"),
                ("worse", "verdict", "worse"),
                ("different", "verdict", "models_differ"),
                ("undecided", "verdict", "not_distinguishable"),
                ("adopted", "outcome", "adopted"),
                ("rejected", "outcome", "rejected"),
            ] {
                let of = changes.iter().filter(|change| change[key] == wanted);
                described[name] = json!(of.collect::<Vec<_>>());
            }
            described["surprising"] = json!(changes.iter().filter(|c| c["surprising"] == true).collect::<Vec<_>>());
            described["in_appendix"] = json!(changes.iter().filter(|c| c["detailed"] == false).collect::<Vec<_>>());
            described["judged"] =
                json!(changes.iter().any(|c| !c["verdict"].is_null() && c["verdict"] != "not_judged"));
            let described_here: Vec<&Json> = changes.iter().filter(|c| c["detailed"] == true).collect();
            described["forest"] =
                json!(described_here.len() > 1 && described_here.iter().all(|c| !c["verdict"].is_null()));
            described["described"] = json!(described_here);
            described["many_changes"] = json!(changes.len() > 3);
            described["changes"] = json!(changes);
            let tested = members.iter().filter(|entry| entry.values.contains_key(TEST_BITS));
            described["tested"] = json!(tested.map(|entry| entry.name()).collect::<Vec<_>>());
            described["repeated"] = json!(members.iter().any(|e| e.seeds.len() > 1));
            described["all_repeated"] = json!(members.iter().all(|e| e.seeds.len() > 1));
            described["equal_seeds"] = json!(members.iter().all(|e| e.seeds.len() == members[0].seeds.len()));
            described["one_choice_each"] = json!(
                members[1..]
                    .iter()
                    .all(|e| { families.reference(e).is_none_or(|reference| changed_keys(e, reference).len() == 1) })
            );
            described["compares_any"] = json!(has_bits(members[0]) && members[1..].iter().any(|e| has_bits(e)));
            described["hypotheses_first"] = json!(members[1..].iter().all(|e| stated_first(e)));
            described
        })
        .collect();
    let entries = &families.entries;
    let changes = || entries.iter().filter(|e| e.reference.is_some());
    context.insert("any_changes", &changes().next().is_some());
    context.insert("hypotheses_first", &changes().all(stated_first));
    context.insert(
        "same_seeds",
        &changes().all(|e| families.reference(e).is_some_and(|r| r.seed_numbers() == e.seed_numbers())),
    );
    context.insert("any_repeated", &entries.iter().any(|e| e.seeds.len() > 1));
    context.insert("all_repeated", &entries.iter().all(|e| e.seeds.len() > 1));
    context.insert("families", &described);
    context.insert("experiments", &entries.iter().map(|e| study.experiment(e)).collect::<Vec<_>>());
    context.insert("tables", &study.material.tables);
    context.insert("budget", &study.material.budget);
    context.insert("single_family", &(families.families.len() == 1));
    context.insert("same_held_out_text", &same_held_out_text(families));
    context
}

fn has_bits(entry: &Entry) -> bool {
    entry.values.contains_key("validation.bits_per_byte")
}

/// Whether there is a hypothesis, with the words that it has now, since before the first run.
fn stated_first(entry: &Entry) -> bool {
    entry.has_hypothesis() && entry.runs_before_hypothesis() == 0
}

/// Whether the families were validated on the same text, so that their bits per byte can be compared.
fn same_held_out_text(families: &Families) -> bool {
    let mut bases = families.families.iter().map(|family| &families.entries[family[0]]);
    let first = bases.next();
    first.is_none_or(|first| bases.all(|other| other.has_held_out_text_of(first)))
}

/// Whether all experiments of a family have seen the same number of tokens.
fn equal_budgets(members: &[&Entry]) -> bool {
    let tokens = |e: &Entry| e.values.get("training.tokens").map(|v| v.number);
    members.iter().all(|e| tokens(e) == tokens(members[0]))
}

impl Study<'_> {
    /// The experiment of a family whose samples the paper shows: what was adopted last, else the first one, of those that keep any.
    fn sampled<'e>(&self, members: &[&'e Entry]) -> Option<&'e str> {
        let adopted = |entry: &&&Entry| {
            let decision = self.material.logbook.decisions.get(entry.name());
            decision.is_some_and(|decision| decision.outcome == Outcome::Adopted)
        };
        let mut keep = members.iter().filter(|entry| entry.samples().next().is_some());
        keep.clone().rfind(adopted).or_else(|| keep.next()).map(|entry| entry.name())
    }

    /// One experiment as templates see it.
    fn experiment(&self, entry: &Entry) -> Json {
        let Material { families, differences, logbook, .. } = self.material;
        let found = emphasis::difference(families, differences, entry);
        let decision = logbook.decisions.get(entry.name());
        let texts = prose_of(entry);
        let mut works: Vec<&String> = ["rationale", "hypothesis", "question"]
            .into_iter()
            .flat_map(|field| texts[field].iter().flat_map(Segment::keys))
            .collect();
        let mut seen = BTreeSet::new();
        works.retain(|key| self.material.references.contains(&key.as_str()) && seen.insert(*key));
        let analysis = entry.latest;
        let config = &analysis.run.experiment;
        let reference = families.reference(entry);
        let signal = told_apart(families, entry).is_some();
        let tasks: Vec<Json> = headline_tasks(analysis)
            .into_iter()
            .map(|task| {
                json!({
                    "id": task.id,
                    "title": title_of_task(task),
                    "in_sentence": in_sentence(&title_of_task(task)),
                    "accuracy": accuracy_key(task),
                })
            })
            .collect();
        let task_families: Vec<String> =
            analysis.tasks.iter().map(|t| t.group.clone().unwrap_or_else(|| t.id.clone())).collect();
        let keys: BTreeMap<&str, bool> = entry.values.keys().map(|k| (k.as_str(), true)).collect();
        let has = |key: &str| keys.contains_key(key);
        let manifest = &analysis.run.corpus;
        json!({
            "name": entry.name(),
            "title": title_of(entry),
            "has": {
                "question": !config.question.trim().is_empty(),
                "hypothesis": entry.has_hypothesis(),
                "rationale": !config.rationale.trim().is_empty(),
                "validation": has_bits(entry),
                "training": has("training.tokens"),
                "loss": has("training.loss") && has("training.gradient_norm_p90"),
                "initial": has("validation.initial_bits_per_byte"),
                "cleaning": !manifest.steps.is_empty(),
                "contamination": !manifest.contamination.is_empty(),
                "contaminated": manifest.contamination.iter().any(|task| task.items_found > 0),
                "task_groups": !analysis.groups.is_empty(),
                "signal": signal,
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
            "cites": task_citations(&task_families),
            "is_gpt2": config.model.is_gpt2(),
            "model": config.model.describe().iter().map(|sentence| source(sentence, entry.name())).collect::<Vec<_>>(),
            "optimizer": source(&config.optimizer.describe(), entry.name()),
            "schedule": source(&config.schedule.describe(), entry.name()),
            "warmup": config.schedule.warmup_steps > 0,
            "clips": config.optimizer.gradient_clip_norm > 0.0,
            "imported": config.imported.is_some(),
            "metric": found.as_ref().map(|(key, _)| key),
            "verdict": found.as_ref().and_then(|(_, found)| found.verdict),
            "surprising": found.as_ref().is_some_and(|(_, found)| emphasis::is_surprising(entry, found)),
            "has_interval": found.as_ref().is_some_and(|(_, found)| found.interval.is_some()),
            "detailed": reference.is_none() || self.subsections.contains(entry.name()),
            "outcome": decision.map(|decision| decision.outcome.word()),
            "decided": decision.map(|decision| decision.decided_at.chars().take(10).collect::<String>()),
            "against_advice": decision.is_some_and(|decision| decision.override_reason.is_some()),
            "works": works,
            "settings": reference.map(|reference| changed_settings(entry, reference)),
            "seeds": entry.seeds.len(),
            "hypothesis_first": stated_first(entry),
            "compares_bits": has_bits(entry) && reference.is_some_and(has_bits),
            "simpler": simpler(entry),
        })
    }
}

/// The model by counts that does best on the validation text, and the key of its bits per byte: what a language model has
/// to beat.
fn simpler(entry: &Entry) -> Option<Json> {
    let models = &entry.latest.run.corpus.baselines;
    let best = models.iter().min_by(|a, b| a.bits_per_byte.total_cmp(&b.bits_per_byte))?;
    Some(json!({ "model": best.model, "key": format!("data.{}_bits_per_byte", best.model) }))
}

/// A sentence on a config as source: `{model.width}` is the number of that key of the experiment, `[@one; @other]` a
/// citation. The words between are the program's own.
fn source(sentence: &str, experiment: &str) -> String {
    let mut out = String::new();
    let mut rest = sentence;
    while let Some(at) = rest.find(['{', '[']) {
        let is_number = rest[at..].starts_with('{');
        let (inside, after) = rest[at + 1..].split_once(if is_number { '}' } else { ']' }).unwrap_or_default();
        out.push_str(&rest[..at]);
        if is_number {
            out.push_str(&format!("#value({}, {})", literal(experiment), literal(&format!("config.{inside}"))));
        } else {
            let keys: Vec<String> = inside.split("; ").map(|key| literal(key.trim_start_matches('@'))).collect();
            out.push_str(&format!("#citep({})", keys.join(", ")));
        }
        // Typst takes a semicolon behind a call as its end and prints none.
        rest = after;
        if let Some(behind) = rest.strip_prefix(';') {
            out.push_str("#[;]");
            rest = behind;
        }
    }
    out + rest
}

/// A title within a sentence: its first letter is small, unless its first word has other capitals, as BLiMP has.
pub(super) fn in_sentence(title: &str) -> String {
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
    fn numbers_of_a_sentence_are_bound_and_its_works_are_cited() {
        assert_eq!(
            source("Falls from {optimizer.learning_rate} [@a; @b]; or not [@c].", "base"),
            "Falls from #value(\"base\", \"config.optimizer.learning_rate\") #citep(\"a\", \"b\")#[;] or not #citep(\"c\")."
        );
        assert_eq!(source("There are no biases.", "base"), "There are no biases.");
    }

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
    fn a_broken_template_is_shown_at_its_place_with_the_nearest_name() {
        let filled = |template: &str| {
            let mut context = Context::new();
            context.insert("families", &json!(["a"]));
            context.insert("experiment", &json!({ "name": "\"]", "has": { "loss": true } }));
            render("templates/x.tera", template, &context).map_err(|error| error.to_string())
        };
        assert_eq!(filled("{{ experiment.name | str }}").unwrap(), "\"\\\"]\"");
        for (template, place, said) in [
            ("One\n  {{ experiment.naem }}", "2:6", "did you mean `experiment.name`?"),
            ("One {% for one in famlies %}{% endfor %}", "1:19", "did you mean `families`?"),
            ("xfamly {{ famly }}", "1:11", "the template has no variable `famly`"),
            ("One\n{{ nothing.here }}", "2:4", "docs/formats/paper.md"),
            ("One\n{% if families }\n", "2:1", "the template cannot be read"),
        ] {
            let error = filled(template).unwrap_err();
            assert!(error.contains(&format!("--> templates/x.tera:{place}")) && error.contains(said), "{error}");
        }
        let error = filled("{{ get_env(name=\"PATH\") }}").unwrap_err();
        assert!(error.contains("`templates/x.tera`") && error.contains("does not read the environment"), "{error}");
    }

    #[test]
    fn notes_stay_comments() {
        let draft = |text: &str| Draft {
            name: "60-x.typ".to_owned(),
            text: text.to_owned(),
            experiment: None,
            is_wanted: true,
        };
        let text = draft("= Title\n").below_notes("Try it\r\n\n#panic(\"a\")\u{2028}#panic(\"b\")\n").text;
        let (notes, section) = text.split_once("\n\n").unwrap();
        assert!(notes.lines().count() == 4 && notes.lines().all(|line| line.starts_with("// ")), "{text}");
        assert_eq!((section, notes.contains('\u{2028}')), ("= Title\n", false));
        assert_eq!(draft("= Title\n").below_notes(" \n"), draft("= Title\n"));
    }
}
