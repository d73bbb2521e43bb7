//! Errors of the experiment config, each at its line and column with what was expected.

use std::fmt;

use toml::de::{DeTable, DeValue};

use super::Source;
use super::renamed::new_name;
use crate::files::FileError;
use crate::names::ExperimentName;

/// Why a config was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value or key is wrong.
    #[error("{0}")]
    Wrong(Box<Wrong>),
}

/// A wrong place in a config file.
#[derive(Debug)]
pub struct Wrong {
    /// The file, relative to the project; empty where no file is to blame.
    pub path: String,
    /// Line and column from 1, and the text of the line, where known.
    pub place: Option<(usize, usize, String)>,
    /// What is wrong.
    pub problem: String,
    /// What can be done.
    pub hint: Option<String>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.problem)?;
        if let Some((line, column, text)) = &self.place {
            let margin = line.to_string().len();
            let column_blank = " ".repeat(column - 1);
            write!(f, "\n{:margin$}--> {}:{line}:{column}", "", self.path)?;
            write!(f, "\n{:margin$} |\n{line} | {text}\n{:margin$} | {column_blank}^", "", "")?;
        } else if !self.path.is_empty() {
            write!(f, "\n--> {}", self.path)?;
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl ConfigError {
    fn wrong(path: &str, place: Option<(usize, usize, String)>, problem: String, hint: Option<String>) -> Self {
        ConfigError::Wrong(Box::new(Wrong { path: path.to_owned(), place, problem, hint }))
    }

    /// A file that is not TOML.
    pub(super) fn syntax(source: &Source, error: &toml::de::Error) -> Self {
        let place = error.span().map(|span| place_of(&source.text, span.start));
        Self::wrong(&source.path, place, error.message().trim().to_owned(), None)
    }

    /// A value at a dotted key, looked for in the chain of files from the experiment to its root.
    pub(super) fn at_key(sources: &[Source], key: &str, problem: String, hint: Option<String>) -> Self {
        for source in sources {
            if let Some(offset) = offset_of(&source.text, key) {
                return Self::wrong(
                    &source.path,
                    Some(place_of(&source.text, offset)),
                    format!("`{key}`: {problem}"),
                    hint,
                );
            }
        }
        Self::wrong(&sources[0].path, None, format!("`{key}`: {problem}"), hint)
    }

    /// A key that is not known, a type that does not fit, or a key that is missing, in a file that may inherit it.
    pub(super) fn shape(sources: &[Source], error: &serde_path_to_error::Error<toml::de::Error>) -> Self {
        let inherit = |key: &str| format!("state it, or name a parent with `extends = \"...\"` that does ({key})");
        Self::value_at(sources, &error.path().to_string(), error.inner().message(), inherit)
    }

    /// The same of a file that stands alone.
    pub(super) fn shape_of_whole(sources: &[Source], error: &serde_path_to_error::Error<toml::de::Error>) -> Self {
        let state = |key: &str| format!("state it ({key})");
        Self::value_at(sources, &error.path().to_string(), error.inner().message(), state)
    }

    /// What serde says of the value at a dotted key.
    pub(super) fn value_at(sources: &[Source], key: &str, message: &str, if_missing: impl Fn(&str) -> String) -> Self {
        let (key, message) = (key.to_owned(), message.trim().to_owned());
        let names = quoted_names(&message);
        if let Some((wrong, valid)) = names.split_first().filter(|_| message.starts_with("unknown ")) {
            let what = if message.starts_with("unknown field") { "unknown key" } else { "unknown value" };
            let hint = match (new_name(wrong), nearest(wrong, valid)) {
                (Some(new), _) => format!("it is called `{new}` now"),
                (None, Some(near)) => format!("did you mean `{near}`? known here: {}", valid.join(", ")),
                (None, None) => format!("known here: {}", valid.join(", ")),
            };
            let key = if what == "unknown key" && !key.ends_with(wrong.as_str()) {
                if key == "." { wrong.clone() } else { format!("{key}.{wrong}") }
            } else {
                key
            };
            return Self::at_key(sources, &key, format!("{what} `{wrong}`"), Some(hint));
        }
        if message.starts_with("missing field") {
            let section = if key == "." { String::new() } else { format!("{key}.") };
            let missing = format!("{section}{}", names.first().map_or("", String::as_str));
            let hint = Some(if_missing(&missing));
            return Self::wrong(&sources[0].path, None, format!("`{missing}` is not stated"), hint);
        }
        Self::at_key(sources, &key, message, None)
    }

    /// An experiment that is not there, possibly named by `extends`.
    pub(super) fn missing_experiment(name: &ExperimentName, sources: &[Source], known: &[String]) -> Self {
        let near = nearest(name.as_str(), known);
        let hint = match (near, known.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, false) => format!("experiments here: {}", known.join(", ")),
            (None, true) => format!("write experiments/{name}/experiment.toml first"),
        };
        match sources.last() {
            Some(_) => {
                let last = &sources[sources.len() - 1..];
                Self::at_key(last, "extends", format!("there is no experiment `{name}`"), Some(hint))
            }
            None => Self::wrong("", None, format!("there is no experiment `{name}`"), Some(hint)),
        }
    }
}

/// The known name closest to `wrong`, if it is close enough to be meant (at most a third of the letters differ).
pub fn nearest<'a, S: AsRef<str>>(wrong: &str, known: &'a [S]) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(wrong, name);
    let best = known.iter().map(AsRef::as_ref).min_by_key(|name| distance(name))?;
    let close = distance(best) <= (wrong.chars().count() / 3).max(1) || best.starts_with(wrong);
    close.then_some(best)
}

fn quoted_names(message: &str) -> Vec<String> {
    message.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Line and column (from 1, in characters) of a byte offset, and the text of its line.
pub fn place_of(text: &str, offset: usize) -> (usize, usize, String) {
    let offset = offset.min(text.len());
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line_text = text[line_start..].lines().next().unwrap_or("").to_owned();
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1, line_text)
}

/// The byte offset of a dotted key's value (or of the key itself where it holds a table) in a TOML text.
fn offset_of(text: &str, key: &str) -> Option<usize> {
    let parsed = DeTable::parse(text).ok()?;
    let mut table = parsed.get_ref();
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        let (part, index) = part.split_once('[').unwrap_or((part, ""));
        let (name, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == part)?;
        // Within an element of a list, where the text has it.
        let element = match (index.trim_end_matches(']').parse::<usize>(), value.get_ref()) {
            (Ok(index), DeValue::Array(elements)) if parts.peek().is_some() => elements.get(index),
            _ => None,
        };
        match (parts.peek(), element.unwrap_or(value).get_ref()) {
            (None, DeValue::Table(_)) => return Some(name.span().start),
            (None, _) => return Some(value.span().start),
            (Some(_), DeValue::Table(inner)) => table = inner,
            (Some(_), _) => return Some(value.span().start),
        }
    }
    None
}
