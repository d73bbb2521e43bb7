//! The kinds of slices, by the names that the command line, JSON and the keys of values use.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use harness_record::format::Task;

/// What the held-out tokens, or the tasks, are sliced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// Tokens of context that the model has, in bins of powers of two.
    Position,
    /// How often the token stands in the training shards, by decades.
    Frequency,
    /// The source of the document.
    Source,
    /// Tokens of the document, in bins of powers of two.
    Length,
    /// First token of a word, continuation, or the whole of it.
    WordPart,
    /// Names, numbers, punctuation, other words.
    WordKind,
    /// The longest n-gram ending in the token that stood earlier in what the model sees of the document.
    Repetition,
    /// Tasks by the phenomenon they ask about.
    Phenomenon,
    /// Tasks by the field of linguistics of their phenomenon.
    Field,
}

impl By {
    /// In the order of tables.
    pub const ALL: [By; 9] = [
        By::Position,
        By::Frequency,
        By::Source,
        By::Length,
        By::WordPart,
        By::WordKind,
        By::Repetition,
        By::Phenomenon,
        By::Field,
    ];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            By::Position => "position",
            By::Frequency => "frequency",
            By::Source => "source",
            By::Length => "length",
            By::WordPart => "word_part",
            By::WordKind => "word_kind",
            By::Repetition => "repetition",
            By::Phenomenon => "phenomenon",
            By::Field => "field",
        }
    }

    /// Whether it needs the text, which is in the store and not in the run.
    pub fn needs_text(self) -> bool {
        matches!(self, By::Frequency | By::WordPart | By::WordKind | By::Repetition)
    }

    /// Whether it slices tasks, not tokens.
    pub fn is_of_tasks(self) -> bool {
        matches!(self, By::Phenomenon | By::Field)
    }

    /// The slice of a task; empty if it has none.
    pub fn of_task(self, task: &Task) -> &str {
        match self {
            By::Phenomenon => &task.phenomenon,
            By::Field => &task.field,
            _ => "",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = By::ALL.map(By::name).join(", ");
        By::ALL.into_iter().find(|by| by.name() == text).ok_or_else(|| format!("one of {known}"))
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
