//! Recipes as text: a mistake is shown at its line and column, with the nearest valid name.

use std::fmt;
use std::path::Path;

use harness_core::config::{Wrong, nearest, place_of};
use harness_core::files::{self, FileError};
use harness_core::names::Project;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::recipe_error::RecipeError;

/// A recipe's text and the path that people see.
#[derive(Clone, Debug)]
pub(crate) struct TomlText {
    pub path: String,
    pub text: String,
}

impl TomlText {
    /// Reads the text into `T`, whose serde attributes refuse unknown keys.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Box<Wrong>> {
        toml::from_str(&self.text).map_err(|error| {
            let message = error.message().trim();
            let place = error.span().map(|span| place_of(&self.text, span.start));
            let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
            let (problem, hint) = match quoted.split_first() {
                Some((wrong, valid)) if message.starts_with("unknown ") => {
                    let what = if message.starts_with("unknown field") { "key" } else { "value" };
                    let known = format!("known here: {}", valid.join(", "));
                    let near = nearest(wrong, valid).map_or(String::new(), |near| format!("did you mean `{near}`? "));
                    (format!("unknown {what} `{wrong}`"), Some(near + &known))
                }
                Some((&"sha256", _)) if message.starts_with("missing field") => {
                    ("`sha256` is not stated".to_owned(), Some(self.how_to_pin()))
                }
                Some((missing, _)) if message.starts_with("missing field") => {
                    (format!("`{missing}` is not stated"), Some(format!("add a line `{missing} = ...` to this part")))
                }
                _ => (message.to_owned(), None),
            };
            Box::new(Wrong { path: self.path.clone(), place, problem, hint })
        })
    }

    /// How a recipe comes by the digest of a file that it names by its address.
    pub(crate) fn how_to_pin(&self) -> String {
        let name = Path::new(&self.path).file_stem().map_or("NAME".into(), |stem| stem.to_string_lossy());
        format!(
            "`harness data pin {name}` fetches each file with a url and says its sha256 and bytes; --write puts them here"
        )
    }

    /// A value that cannot be used, at a dotted key such as `source.3.url`.
    pub(crate) fn wrong(&self, key: &str, problem: impl fmt::Display, hint: Option<&str>) -> Box<Wrong> {
        let place = offset_of(&self.text, key).map(|offset| place_of(&self.text, offset));
        let problem = format!("`{key}`: {problem}");
        Box::new(Wrong { path: self.path.clone(), place, problem, hint: hint.map(str::to_owned) })
    }
}

/// The byte offset of the value at a dotted key, or of the innermost part of the key that is there.
fn offset_of(text: &str, key: &str) -> Option<usize> {
    let parsed = DeTable::parse(text).ok()?;
    let mut place = None;
    let mut inside: Option<&DeValue> = None;
    for part in key.split('.') {
        let found = match inside {
            None => parsed.get_ref().iter().find(|(name, _)| name.get_ref().as_ref() == part).map(|(_, value)| value),
            Some(DeValue::Table(table)) => {
                table.iter().find(|(name, _)| name.get_ref().as_ref() == part).map(|(_, value)| value)
            }
            Some(DeValue::Array(array)) => part.parse::<usize>().ok().and_then(|index| array.get(index)),
            Some(_) => None,
        };
        let Some(value) = found else { break };
        place = Some(value.span().start);
        inside = Some(value.get_ref());
    }
    place
}

/// The names of the recipes in a folder of the project (`corpora` or `tasks`), sorted.
pub fn known_recipes(project: &Project, folder: &str) -> Result<Vec<String>, FileError> {
    let names = files::list(&project.experiments().join(folder))?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".toml")).map(str::to_owned).collect())
}

/// The error for a recipe that is not there, or whose name names no recipe.
fn no_such_recipe(project: &Project, folder: &str, what: &str, name: &str) -> Result<Box<Wrong>, FileError> {
    if !well_named(name) {
        let problem = format!("`{name}` is no name of a {what} recipe");
        let hint = "use letters from a to z, digits, `-` and `_`, for its file too".to_owned();
        return Ok(Box::new(Wrong { path: String::new(), place: None, problem, hint: Some(hint) }));
    }
    let known = known_recipes(project, folder)?;
    let hint = match nearest(name, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("write experiments/{folder}/{name}.toml first"),
        None => format!("recipes here: {}", known.join(", ")),
    };
    let problem = format!("there is no {what} recipe `{name}`");
    Ok(Box::new(Wrong { path: String::new(), place: None, problem, hint: Some(hint) }))
}

fn well_named(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// The text of the recipe `name` at `path`; the error for one that is not there names the nearest.
pub(crate) fn recipe_text(
    project: &Project,
    path: &Path,
    folder: &str,
    what: &str,
    name: &str,
) -> Result<String, RecipeError> {
    if !well_named(name) || !files::is_file(path) {
        return Err(no_such_recipe(project, folder, what, name)?.into());
    }
    Ok(files::read_to_string(path)?)
}
