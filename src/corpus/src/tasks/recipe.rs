//! Task recipes: `experiments/tasks/<name>.toml`, as written and then checked.

use harness_core::task_kind::{Kind, Metric};
use std::ops::Deref;
use std::sync::LazyLock;

use harness_core::config::Wrong;
use harness_core::digest::Digest;
use harness_core::names::Project;
use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use super::templates::Templates;
use crate::grammar::Probe;
use crate::recipe::toml_text::{TomlText, recipe_text};
use crate::recipe::{RecipeError, Remote, is_address};
use crate::unpack::Packing;

/// A task recipe as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskText {
    /// A short title for tables.
    pub title: String,
    /// What it measures, in a sentence or two.
    #[serde(default)]
    pub description: String,
    /// Raised when the items or their form change, so that scores are compared only within a version.
    pub version: u32,
    /// Licence of the data.
    pub licence: String,
    /// How to cite it.
    pub citation: String,
    /// What a reader of scores has to know.
    #[serde(default)]
    pub limitations: String,
    /// What an item asks.
    pub kind: Kind,
    /// Which number is quoted.
    pub metric: Metric,
    /// What guessing gives; 0 for documents.
    pub chance: f64,
    /// Scores each choice without its context as well, which doubles the work, so that the accuracy by mutual information
    /// is known beside the quoted metric.
    #[serde(default)]
    pub unconditional: bool,
    /// For documents: tokens predicted in each window after the first; 0 means as many as the context holds. Fewer give
    /// every token more context and take longer.
    #[serde(default)]
    pub stride: u32,
    /// How items are made from records; not for generated ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemRule>,
    /// The parts; a task without parts has one, without a name.
    #[serde(rename = "subtask")]
    pub subtasks: Vec<Subtask>,
}

/// One part of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subtask {
    /// Its name in the group; empty for a task without parts.
    #[serde(default)]
    pub name: String,
    /// The linguistic phenomenon, to group parts by.
    #[serde(default)]
    pub phenomenon: String,
    /// The field of linguistics that the phenomenon belongs to, such as `syntax`, to group parts by more coarsely.
    #[serde(default)]
    pub field: String,
    /// The records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<TaskFile>,
    /// The right answers, where they are in a file of their own: one index a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<TaskFile>,
    /// Items that are generated instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<GenerateItems>,
    /// Items made of listed words, for any language and tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
}

/// A data file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// Where it can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Digest of its content without packing.
    pub sha256: Digest,
    /// Size of its content without packing.
    pub bytes: u64,
    /// How the bytes at `url` are packed.
    #[serde(default)]
    pub packing: Packing,
}

/// Generated items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateItems {
    /// What is asked.
    pub probe: Probe,
    /// The generator's seed.
    pub seed: u64,
    /// How many items.
    pub items: u64,
}

/// How an item is made from a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemRule {
    /// What the bytes of the file are.
    pub format: RecordFormat,
    /// How a file of plain text is cut into records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<TextRecords>,
    /// What parts the columns of `csv`; a comma unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// The context, a Tera template over the fields of the record: `Question: {{ goal }}`; empty for whole sentences.
    #[serde(default)]
    pub context: String,
    /// The choices, each a template as the context is. For `two_contexts` these are the contexts, for `documents` the
    /// text.
    #[serde(default)]
    pub choices: Vec<String>,
    /// A field that holds the list of choices, where their number varies. Dots lead into nested objects.
    #[serde(default)]
    pub choices_from: String,
    /// For `two_contexts`: what is scored after each of them, a template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub continuation: String,
    /// The field with the index of the right choice; without it and without `answers`, it is the first.
    #[serde(default)]
    pub answer: String,
    /// What the answers of the data stand for, in the order of the choices: `["A", "B", "C", "D"]`. Without it they are
    /// indices from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Regular expressions and what takes the place of what they match, one after the other, in the text of a document.
    /// Bytes and words are counted before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<[String; 2]>,
    /// Capitalizes the last sentence of the context where it begins in lower case. For data that lost it.
    #[serde(default)]
    pub capitalize_last_sentence: bool,
}

/// What the bytes of a task file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordFormat {
    /// One JSON object a line.
    Jsonl,
    /// A table with a header line; the columns are the fields.
    Csv,
    /// Plain text, cut as `records` says. The field is `text`.
    Text,
    /// Six lines an item: context, index of the right ending, four endings. The fields are `context`, `answer` and
    /// `choices`.
    SixLines,
}

/// How plain text is cut into records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextRecords {
    /// The file is one.
    File,
    /// Each line that is not blank is one.
    Lines,
    /// Blank lines lie between them.
    BlankLines,
    /// A line that this regular expression matches begins a new one.
    BeginWith(String),
}

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
}

impl Deref for TaskRecipe {
    type Target = TaskText;

    fn deref(&self) -> &TaskText {
        &self.text
    }
}

impl TaskRecipe {
    /// Loads `experiments/tasks/<name>.toml`.
    pub fn load(project: &Project, name: &str) -> Result<Self, RecipeError> {
        let text = recipe_text(project, &project.task_recipe(name), "tasks", "task", name)?;
        Self::parse(name, &format!("experiments/tasks/{name}.toml"), &text)
    }

    /// Checks a recipe's text; `path` is what errors call it.
    pub fn parse(name: &str, path: &str, text: &str) -> Result<Self, RecipeError> {
        let source = TomlText { path: path.to_owned(), text: text.to_owned() };
        let text: TaskText = source.parse()?;
        check(&source, &text)?;
        Ok(TaskRecipe { name: name.to_owned(), text })
    }

    /// The name of its file, without `.toml`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of a subtask: `blimp.adjunct_island`, or the recipe's name where it has no parts.
    pub fn id(&self, subtask: &Subtask) -> String {
        if subtask.name.is_empty() { self.name.clone() } else { format!("{}.{}", self.name, subtask.name) }
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
        let mut text = self.text.clone();
        if let Some(rule) = &mut text.items {
            rule.context = template(&rule.context);
            rule.continuation = template(&rule.continuation);
            rule.choices = rule.choices.iter().map(template).collect();
        }
        TaskRecipe { name: self.name.clone(), text }
    }

    /// Every file to fetch.
    pub fn remotes(&self) -> Vec<Remote> {
        let of = |subtask: &Subtask, what: &str, file: &TaskFile| Remote {
            name: format!("{}{what}", self.id(subtask)),
            url: file.url.clone(),
            path: None,
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
        return Err(text.wrong("subtask", "there is none", Some("add a [[subtask]] with a file or with generate")));
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
        for (field, file) in [("file.url", &subtask.file), ("answers.url", &subtask.answers)] {
            if let Some(url) = file.as_ref().and_then(|f| f.url.as_ref()).filter(|url| !is_address(url)) {
                return Err(text.wrong(&key(field), format!("`{url}` is not an http or https address"), None));
            }
        }
        match (&subtask.file, &subtask.generate, &subtask.pattern) {
            (Some(_), None, None) if task.items.is_none() => {
                let hint = "add [items] with format and choices";
                return Err(text.wrong("items", "it is not stated how items are made from the file", Some(hint)));
            }
            (Some(_), None, None) => {}
            (None, Some(generate), None) if generate.items == 0 => {
                return Err(text.wrong(&key("generate.items"), "must be at least 1", None));
            }
            (None, Some(_), None) => {}
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
    task.items.as_ref().map_or(Ok(()), |rule| check_items(text, task.kind, rule))
}

/// A value as it is written in TOML.
pub(super) fn word(value: &impl Serialize) -> String {
    let word = serde_json::to_value(value).expect("a word serializes to memory");
    word.as_str().unwrap_or_default().to_owned()
}

fn check_items(text: &TomlText, kind: Kind, rule: &ItemRule) -> Result<(), Box<Wrong>> {
    let counted = rule.choices.len();
    let templates = rule.choices.iter().enumerate().map(|(index, choice)| (format!("items.choices.{index}"), choice));
    let more = [("items.context".to_owned(), &rule.context), ("items.continuation".to_owned(), &rule.continuation)];
    for (key, template) in more.into_iter().chain(templates) {
        if let Err(problem) = Templates::check(template) {
            let hint = "a field stands as {{ name }}; filters as in {{ name | trim | capitalize }}";
            return Err(text.wrong(&key, format!("is not a template: {problem}"), Some(hint)));
        }
    }
    for (index, [pattern, _]) in rule.replace.iter().enumerate() {
        if let Err(error) = Regex::new(pattern) {
            return Err(text.wrong(&format!("items.replace.{index}"), error, None));
        }
    }
    if let Some(TextRecords::BeginWith(pattern)) = &rule.records
        && let Err(error) = Regex::new(pattern)
    {
        return Err(text.wrong("items.records", error, None));
    }
    if rule.delimiter.is_some_and(|delimiter| !delimiter.is_ascii()) {
        return Err(text.wrong("items.delimiter", "must be an ASCII character", Some("such as \"\\t\"")));
    }
    if (rule.format == RecordFormat::Text) != rule.records.is_some() {
        let hint = "\"file\", \"lines\", \"blank_lines\" or { begin_with = \"...\" }, for format = \"text\" alone";
        return Err(text.wrong("items.records", "says how `text` is cut into records", Some(hint)));
    }
    if (kind == Kind::TwoContexts) == rule.continuation.is_empty() {
        let hint = "it is what is scored after each of the contexts in `choices`";
        return Err(text.wrong("items.continuation", "belongs to `two_contexts` tasks", Some(hint)));
    }
    if !rule.replace.is_empty() && kind != Kind::Documents {
        return Err(text.wrong("items.replace", "is for `documents`", Some("templates have the filter `replace`")));
    }
    match kind {
        Kind::Documents if counted != 1 || !rule.context.is_empty() => {
            let hint = "such as choices = [\"{{ text }}\"], and no context";
            Err(text.wrong("items.choices", "a document is one text", Some(hint)))
        }
        Kind::TwoContexts if counted < 2 || !rule.context.is_empty() => {
            let hint = "state each whole context as one of `choices`, and no `context`";
            Err(text.wrong("items.choices", "there are fewer than two contexts", Some(hint)))
        }
        Kind::LastWord if counted > 0 || !rule.choices_from.is_empty() || !rule.answer.is_empty() => {
            let hint = "state the whole text as `context`; the word after its last blank is scored";
            Err(text.wrong("items", "a `last_word` task has no choices and no answer", Some(hint)))
        }
        Kind::LastWord if rule.context.is_empty() => {
            Err(text.wrong("items", "a `last_word` task needs a `context`", Some("such as context = \"{{ text }}\"")))
        }
        Kind::MinimalPairs if counted != 2 => {
            let hint = "state the good sentence first, then the bad one";
            Err(text.wrong("items.choices", format!("`minimal_pairs` have two sentences, not {counted}"), Some(hint)))
        }
        Kind::MultipleChoice if (counted == 0) == rule.choices_from.is_empty() => {
            Err(text.wrong("items", "state either `choices` or `choices_from`", None))
        }
        Kind::MultipleChoice if counted == 1 => Err(text.wrong("items.choices", "one choice is none", None)),
        _ => Ok(()),
    }
}
