//! Task recipes: `experiments/tasks/<name>.toml`, as written and then checked.

use std::ops::Deref;

use harness_core::config::Wrong;
use harness_core::digest::Digest;
use harness_core::names::Project;
use serde::{Deserialize, Serialize};

use crate::fetch::Remote;
use crate::grammar::Probe;
use crate::recipe::{RecipeError, is_address, recipe_text};
use crate::toml_text::TomlText;
use crate::unpack::Packing;

/// What an item asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Of two sentences, the right one should be more probable.
    MinimalPairs,
    /// Of several continuations, the right one should be most probable.
    MultipleChoice,
    /// Every token of the last word should be the model's first choice.
    LastWord,
}

/// Which number is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The choice of highest log-probability is right (`acc` of lm-evaluation-harness).
    Accuracy,
    /// The choice of highest log-probability per character is right (`acc_norm`).
    AccuracyPerCharacter,
    /// Every token is the model's first choice (`acc` of its LAMBADA).
    GreedyAccuracy,
}

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
    /// What guessing gives.
    pub chance: f64,
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
    /// The context, with `{field}` for the text of a field; empty for whole sentences.
    #[serde(default)]
    pub context: String,
    /// The choices, each a template as the context is.
    #[serde(default)]
    pub choices: Vec<String>,
    /// A field that holds the list of choices, where their number varies.
    #[serde(default)]
    pub choices_from: String,
    /// The field with the index of the right choice; without it and without `answers`, it is the first.
    #[serde(default)]
    pub answer: String,
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
    /// Six lines an item: context, index of the right ending, four endings. The fields are `context`, `answer` and
    /// `choices`.
    SixLines,
}

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
    if (task.kind == Kind::LastWord) != (task.metric == Metric::GreedyAccuracy) {
        let hint = "`greedy_accuracy` is the metric of `last_word` tasks and of no others";
        return Err(text.wrong("metric", "does not fit the kind of the task", Some(hint)));
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
        match (&subtask.file, &subtask.generate) {
            (Some(_), None) if task.items.is_none() => {
                let hint = "add [items] with format and choices";
                return Err(text.wrong("items", "it is not stated how items are made from the file", Some(hint)));
            }
            (Some(_), None) => {}
            (None, Some(generate)) if generate.items == 0 => {
                return Err(text.wrong(&key("generate.items"), "must be at least 1", None));
            }
            (None, Some(_)) => {}
            _ => {
                return Err(text.wrong(&format!("subtask.{index}"), "needs either a `file` or `generate`", None));
            }
        }
    }
    task.items.as_ref().map_or(Ok(()), |rule| check_items(text, task.kind, rule))
}

fn check_items(text: &TomlText, kind: Kind, rule: &ItemRule) -> Result<(), Box<Wrong>> {
    let counted = rule.choices.len();
    match kind {
        Kind::LastWord if counted > 0 || !rule.choices_from.is_empty() || !rule.answer.is_empty() => {
            let hint = "state the whole text as `context`; the word after its last blank is scored";
            Err(text.wrong("items", "a `last_word` task has no choices and no answer", Some(hint)))
        }
        Kind::LastWord if rule.context.is_empty() => {
            Err(text.wrong("items", "a `last_word` task needs a `context`", Some("such as context = \"{text}\"")))
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
