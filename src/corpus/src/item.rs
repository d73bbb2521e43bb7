//! An item of a task as text.

use serde::{Deserialize, Serialize};

/// One item of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// What stands before the choices; empty for whole sentences.
    pub context: String,
    /// The choices, without the blank that joins them to the context; the document, for a task of documents.
    pub choices: Vec<String>,
    /// Index of the right choice.
    pub gold: usize,
    /// What is scored after each choice, where the choices are contexts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub continuation: String,
    /// The document as it stands in the data, where what is scored has parts of it replaced.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub original: String,
}

impl Item {
    /// The whole text of each choice: what a model reads.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.choices.iter().map(|choice| match (self.context.as_str(), self.continuation.as_str()) {
            ("", "") => choice.clone(),
            (context, "") => format!("{context} {choice}"),
            (context, continuation) => format!("{context}{choice} {continuation}"),
        })
    }
}
