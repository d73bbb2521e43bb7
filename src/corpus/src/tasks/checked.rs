//! Task recipes that were checked, as far as that can be done without their files.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::LazyLock;

use harness_core::config::Wrong;
use harness_core::names::{Project, is_inside};
use regex::{Captures, Regex};

use super::recipe::{ItemRule, RecordFormat, Subtask, TaskFile, TaskText, TextRecords, word};
use super::templates::{FIELDS_HINT, Templates};
use crate::grammar::Probe;
use crate::recipe_error::RecipeError;
use crate::remote::{Remote, is_address};
use crate::toml_text::{TomlText, recipe_text};
use harness_core::task_kind::{Kind, Metric, TEST_SIDE};

/// The parts of a template that are kept (fields with what touches them, statements, comments) and its other words.
static TEMPLATE_WORDS: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?s)\w*(?:\{\{.*?\}\}\w*)+|\{%.*?%\}|\{#.*?#\}|\w+";
    Regex::new(pattern).expect("the pattern is a constant")
});

/// A checked task recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecipe {
    name: String,
    text: TaskText,
    /// The folder of the project, from which paths begin.
    root: PathBuf,
}

impl Deref for TaskRecipe {
    type Target = TaskText;

    fn deref(&self) -> &TaskText {
        &self.text
    }
}

impl TaskRecipe {
    /// The JSON Schema of the file, by which editors complete and check it.
    pub fn schema() -> schemars::Schema {
        harness_core::config::schema_of::<TaskText>()
    }

    /// Loads `experiments/tasks/<name>.toml`.
    pub fn load(project: &Project, name: &str) -> Result<Self, RecipeError> {
        let text = recipe_text(project, &project.task_recipe(name), "tasks", "task", name)?;
        let recipe = Self::parse(name, &format!("experiments/tasks/{name}.toml"), &text)?;
        Ok(TaskRecipe { root: project.home().to_owned(), ..recipe })
    }

    /// A recipe that no file states.
    pub(crate) fn made(name: &str, text: TaskText) -> Self {
        TaskRecipe { name: name.to_owned(), text, root: PathBuf::new() }
    }

    /// Checks a recipe's text; `path` is what errors call it.
    pub fn parse(name: &str, path: &str, text: &str) -> Result<Self, RecipeError> {
        if name == TEST_SIDE {
            let problem = format!("`{TEST_SIDE}` is what the test side of a corpus is called");
            let hint = Some("rename the file".to_owned());
            return Err(Box::new(Wrong { path: path.to_owned(), place: None, problem, hint }).into());
        }
        let source = TomlText { path: path.to_owned(), text: text.to_owned() };
        let text: TaskText = source.parse()?;
        check(&source, &text)?;
        Ok(Self::made(name, text))
    }

    /// The name of its file, without `.toml`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of a subtask: `blimp.adjunct_island`, or the recipe's name where it has no parts.
    pub fn id(&self, subtask: &Subtask) -> String {
        if subtask.name.is_empty() { self.name.clone() } else { format!("{}.{}", self.name, subtask.name) }
    }

    /// How the items of a subtask are made from the records of its file.
    pub fn rule<'a>(&'a self, subtask: &'a Subtask) -> Option<&'a ItemRule> {
        subtask.items.as_ref().or(self.items.as_ref())
    }

    /// Whether every choice is scored without its context too.
    pub(crate) fn scores_unconditionally(&self) -> bool {
        self.unconditional || self.metric == Metric::AccuracyMutualInformation
    }

    /// The recipe with templates that have no words of their own, so that items hold the words of their records alone:
    /// what a search in a corpus looks for. A word that touches a field stays, as it is a part of the record's.
    pub(crate) fn without_template_words(&self) -> Self {
        let template = |text: &String| {
            let with = |found: &Captures| if found[0].contains('{') { found[0].to_owned() } else { "-".to_owned() };
            TEMPLATE_WORDS.replace_all(text, with).into_owned()
        };
        let mut recipe = self.clone();
        let parts = recipe.text.subtasks.iter_mut().filter_map(|subtask| subtask.items.as_mut());
        for rule in parts.chain(&mut recipe.text.items) {
            rule.context = template(&rule.context);
            rule.continuation = template(&rule.continuation);
            rule.choices = rule.choices.iter().map(template).collect();
        }
        recipe
    }

    /// Every file to fetch.
    pub fn remotes(&self) -> Vec<Remote> {
        let of = |subtask: &Subtask, what: &str, file: &TaskFile| Remote {
            name: format!("{}{what}", self.id(subtask)),
            url: file.url.clone(),
            path: file.path.as_ref().map(|path| self.root.join(path)),
            sha256: file.sha256,
            bytes: file.bytes,
            packing: file.packing,
        };
        let both = |subtask: &Subtask| {
            let file = subtask.file.as_ref().map(|file| of(subtask, "", file));
            let answers = subtask.answers.as_ref().map(|file| of(subtask, " (answers)", file));
            file.into_iter().chain(answers).collect::<Vec<_>>()
        };
        self.subtasks.iter().flat_map(both).collect()
    }
}

fn check(text: &TomlText, task: &TaskText) -> Result<(), Box<Wrong>> {
    if !(0.0..1.0).contains(&task.chance) {
        let hint = "2 choices: 0.5, 4 choices: 0.25, a free word: 0.0";
        return Err(text.wrong("chance", format!("must be at least 0 and below 1, not {}", task.chance), Some(hint)));
    }
    if !task.kind.metrics().contains(&task.metric) {
        let fitting: Vec<String> = task.kind.metrics().iter().map(|metric| format!("`{}`", word(metric))).collect();
        let hint = format!("metrics of `{}` tasks: {}", word(&task.kind), fitting.join(", "));
        return Err(text.wrong("metric", "does not fit the kind of the task", Some(&hint)));
    }
    if task.unconditional && task.kind != Kind::MultipleChoice {
        let hint = Some("take it out: only choices after a context have a score without it");
        return Err(text.wrong("unconditional", "is for `multiple_choice` tasks", hint));
    }
    if task.stride > 0 && task.kind != Kind::Documents {
        return Err(text.wrong("stride", "is for `documents` tasks", Some("take it out: items are one window each")));
    }
    if task.subtasks.is_empty() {
        return Err(text.wrong(
            "subtask",
            "there is none",
            Some("add a [[subtask]] with a file, or with generate or pattern"),
        ));
    }
    for (index, subtask) in task.subtasks.iter().enumerate() {
        let key = |field: &str| format!("subtask.{index}.{field}");
        let well_named = subtask.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !well_named {
            return Err(text.wrong(
                &key("name"),
                format!("`{}` is not letters, digits, `-` and `_`", subtask.name),
                None,
            ));
        }
        if subtask.name.is_empty() && task.subtasks.len() > 1 {
            return Err(text.wrong(&format!("subtask.{index}"), "each of several subtasks needs a `name`", None));
        }
        if task.subtasks[..index].iter().any(|other| other.name == subtask.name) {
            return Err(text.wrong(&key("name"), format!("`{}` is named twice", subtask.name), None));
        }
        for (field, file) in [("file", &subtask.file), ("answers", &subtask.answers)] {
            let Some(file) = file else { continue };
            if let Some(url) = file.url.as_ref().filter(|url| !is_address(url)) {
                let problem = format!("`{url}` is not an http or https address");
                return Err(text.wrong(&key(&format!("{field}.url")), problem, Some("a file of yours has a `path`")));
            }
            if file.path.as_ref().is_some_and(|path| !is_inside(path)) {
                let problem = "leads out of the project, or has empty parts";
                let hint =
                    "paths begin at the project's folder; a link in it can lead elsewhere (ln -s /data/web data)";
                return Err(text.wrong(&key(&format!("{field}.path")), problem, Some(hint)));
            }
        }
        if let Some(rule) = &subtask.items {
            check_items(text, &key("items"), task.kind, rule)?;
        }
        match (&subtask.file, &subtask.generate, &subtask.pattern) {
            (Some(_), None, None) if task.items.is_none() && subtask.items.is_none() => {
                let hint = "add [items] with format and choices";
                return Err(text.wrong("items", "it is not stated how items are made from the file", Some(hint)));
            }
            (Some(_), None, None) => {}
            (None, Some(generate), None) if generate.items == 0 => {
                return Err(text.wrong(&key("generate.items"), "must be at least 1", None));
            }
            (None, Some(generate), None) => {
                let kinds = kinds_of(generate.probe);
                if !kinds.contains(&task.kind) {
                    let fitting: Vec<String> = kinds.iter().map(|kind| format!("`{}`", word(kind))).collect();
                    let hint = format!("it makes items of the kind {}", fitting.join(" or "));
                    return Err(text.wrong(&key("generate.probe"), "does not fit the kind of the task", Some(&hint)));
                }
            }
            (None, None, Some(pattern)) => {
                if let Some((field, problem)) = pattern.problem(task.kind) {
                    let hint = Some("docs/formats/tasks.md says what each pattern needs");
                    return Err(text.wrong(&key(&format!("pattern.{field}")), problem, hint));
                }
            }
            _ => {
                let problem = "needs one of `file`, `generate` and `pattern`";
                return Err(text.wrong(&format!("subtask.{index}"), problem, None));
            }
        }
    }
    task.items.as_ref().map_or(Ok(()), |rule| check_items(text, "items", task.kind, rule))
}

/// The kinds of tasks that a probe makes items for.
fn kinds_of(probe: Probe) -> &'static [Kind] {
    match probe {
        Probe::ObjectSelection => &[Kind::MultipleChoice, Kind::LastWord],
        Probe::VerbSelection => &[Kind::TwoContexts],
        Probe::Recall => &[Kind::LastWord],
        _ => &[Kind::MinimalPairs],
    }
}

/// `at` is where the rule stands: `items`, or that of a subtask.
fn check_items(text: &TomlText, at: &str, kind: Kind, rule: &ItemRule) -> Result<(), Box<Wrong>> {
    let key = |field: &str| format!("{at}.{field}");
    let wrong = |field: &str, problem: &str, hint: &str| Err(text.wrong(&key(field), problem, Some(hint)));
    let templates = rule.choices.iter().enumerate().map(|(index, choice)| (format!("choices.{index}"), choice));
    let more = [("context", &rule.context), ("continuation", &rule.continuation), ("cluster", &rule.cluster)];
    for (field, template) in more.map(|(field, template)| (field.to_owned(), template)).into_iter().chain(templates) {
        if let Err(problem) = Templates::check(template) {
            return wrong(&field, &format!("is not a template: {problem}"), FIELDS_HINT);
        }
    }
    for (index, [pattern, _]) in rule.replace.iter().enumerate() {
        if let Err(error) = Regex::new(pattern) {
            return Err(text.wrong(&key(&format!("replace.{index}")), error, None));
        }
    }
    if let Some(TextRecords::BeginWith(pattern)) = &rule.records
        && let Err(error) = Regex::new(pattern)
    {
        return Err(text.wrong(&key("records"), error, None));
    }
    if rule.delimiter.is_some_and(|delimiter| !delimiter.is_ascii()) {
        return wrong("delimiter", "must be an ASCII character", "such as \"\\t\"");
    }
    if (rule.format == RecordFormat::Text) != rule.records.is_some() {
        let hint = "\"file\", \"lines\", \"blank_lines\" or { begin_with = \"...\" }, for format = \"text\" alone";
        return wrong("records", "says how `text` is cut into records", hint);
    }
    if (kind == Kind::TwoContexts) == rule.continuation.is_empty() {
        let hint = "it is what is scored after each of the contexts in `choices`";
        return wrong("continuation", "belongs to `two_contexts` tasks", hint);
    }
    if !rule.labels.is_empty() && !rule.labels_from.is_empty() {
        return wrong("labels_from", "there are `labels` for all records already", "take one of the two out");
    }
    if kind == Kind::Documents && !rule.cluster.is_empty() {
        return wrong("cluster", "documents are tested each on its own", "take it out");
    }
    let (counted, listed) = (rule.choices.len(), !rule.choices_from.is_empty());
    match kind {
        Kind::Documents if counted != 1 || listed || !rule.context.is_empty() => {
            wrong("choices", "a document is one text", "such as choices = [\"{{ text }}\"], and no context")
        }
        Kind::TwoContexts if !rule.context.is_empty() => {
            let hint = "state each whole context as one of `choices`, or as the template for those of `choices_from`";
            wrong("context", "the contexts of `two_contexts` are its choices", hint)
        }
        Kind::LastWord if counted > 0 || listed || !rule.answer.is_empty() => {
            let hint = "state the whole text as `context`; the word after its last blank is scored";
            Err(text.wrong(at, "a `last_word` task has no choices and no answer", Some(hint)))
        }
        Kind::LastWord if rule.context.is_empty() => {
            Err(text.wrong(at, "a `last_word` task needs a `context`", Some("such as context = \"{{ text }}\"")))
        }
        Kind::MinimalPairs if counted != 2 || listed => {
            let problem = format!("`minimal_pairs` have two sentences, not {counted}");
            wrong("choices", &problem, "state the good sentence first, then the bad one")
        }
        Kind::MultipleChoice | Kind::TwoContexts if counted == 0 && !listed => {
            let hint = "templates as `choices`, or the field with their list as `choices_from`";
            Err(text.wrong(at, "it is not stated what the choices are", Some(hint)))
        }
        Kind::MultipleChoice | Kind::TwoContexts if listed && counted > 1 => {
            let hint = "one template makes a choice of each element: \"{{ choice }}\"";
            wrong("choices", "there are several, and `choices_from` too", hint)
        }
        Kind::MultipleChoice | Kind::TwoContexts if !listed && counted == 1 => {
            wrong("choices", "one choice is none", "state the others, or the field with their list as `choices_from`")
        }
        _ => Ok(()),
    }
}
