//! Task recipes as written: `experiments/tasks/<name>.toml`.

use harness_core::digest::Digest;
use harness_core::task_kind::{Kind, Metric};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use crate::grammar::Probe;
use crate::unpack::Packing;

/// A task recipe as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// How items are made from the records of files, unless a part says otherwise; not for generated ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemRule>,
    /// The parts; a task without parts has one, without a name.
    #[serde(rename = "subtask")]
    pub subtasks: Vec<Subtask>,
}

/// One part of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// How its items are made, where that differs from the recipe's own `items`: one file can be asked in two ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemRule>,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// Where it can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where it lies, from the folder of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Digest of its content without packing.
    pub sha256: Digest,
    /// Size of its content without packing.
    pub bytes: u64,
    /// How the bytes at `url` or `path` are packed.
    #[serde(default)]
    pub packing: Packing,
}

/// Generated items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The context, a Tera template over the fields of the record: `Question: {{ goal }}`; empty for whole sentences. A
    /// field whose name is not letters, digits and `_` stands as `{{ record['Correct Answer'] }}`.
    #[serde(default)]
    pub context: String,
    /// The choices, each a template as the context is. For `two_contexts` these are the contexts, for `documents` the
    /// text.
    #[serde(default)]
    pub choices: Vec<String>,
    /// A field that holds the list of choices, where their number varies. Dots lead into nested objects, and into each
    /// element of a list. One template in `choices` makes a choice of each, which it calls `choice`.
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
    /// A field that holds such labels for the choices of each record, in their order.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub labels_from: String,
    /// Regular expressions and what takes the place of what they match, one after the other, in every text of an item.
    /// Bytes and words of documents are counted before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<[String; 2]>,
    /// What names the cluster of an item, a template: the passage or the template that it shares with others, such as
    /// `{{ passage }}`. Items of one cluster are not independent of each other, and are tested as one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Capitalizes the last sentence of the context where it begins in lower case. For data that lost it.
    #[serde(default)]
    pub capitalize_last_sentence: bool,
}

impl ItemRule {
    /// A rule that says no more than what the bytes are.
    pub fn of(format: RecordFormat) -> Self {
        ItemRule {
            format,
            records: None,
            delimiter: None,
            context: String::new(),
            choices: Vec::new(),
            choices_from: String::new(),
            continuation: String::new(),
            answer: String::new(),
            labels: Vec::new(),
            labels_from: String::new(),
            replace: Vec::new(),
            cluster: String::new(),
            capitalize_last_sentence: false,
        }
    }
}

/// What the bytes of a task file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// A value as it is written in TOML.
pub(super) fn word(value: &impl Serialize) -> String {
    let word = serde_json::to_value(value).expect("a word serializes to memory");
    word.as_str().unwrap_or_default().to_owned()
}
