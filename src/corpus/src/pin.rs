//! Files that a recipe names by their address alone: comes in, the text of a recipe that is refused because it states no digest; goes out,
//! what it has to state, found by fetching each of them once. Apart from the recipes, which are read only with every digest there.

use harness_core::config::place_of;
use harness_core::digest::Digest;
use harness_core::files;
use harness_core::names::Project;
use toml::de::{DeTable, DeValue};

use crate::fetch::{FetchError, Fetcher};
use crate::progress::Progress;
use crate::recipe_error::RecipeError;
use crate::toml_text::{TomlText, recipe_text};
use crate::unpack::Packing;

/// The text of a recipe whose files may lack their digests.
#[derive(Clone, Debug)]
pub struct Unpinned {
    text: TomlText,
    wanted: Vec<Wanted>,
}

/// A file that lacks its digest.
#[derive(Clone, Debug)]
struct Wanted {
    name: String,
    url: String,
    packing: Packing,
    lacks_bytes: bool,
    /// Line of its address, from 1.
    line: usize,
    /// What stands before `url` on it: `file.`, blanks, or the beginning of an inline table.
    before: String,
}

/// What a file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// What people call it.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Digest of its content without packing.
    pub sha256: Digest,
    /// Size of that.
    pub bytes: u64,
    /// The line of the recipe that names the address, from 1.
    pub line: usize,
    /// What the recipe has to state below that line, or in the same braces.
    pub lines: Vec<String>,
    /// Whether the address stands in braces, where lines cannot be put.
    pub is_inline: bool,
}

impl Unpinned {
    /// Reads the recipe of a corpus (`folder` is `corpora`) or of a task (`tasks`).
    pub fn load(project: &Project, folder: &str, name: &str) -> Result<Self, RecipeError> {
        let (path, what) = match folder {
            "tasks" => (project.task_recipe(name), "task"),
            _ => (project.corpus_recipe(name), "corpus"),
        };
        let text = recipe_text(project, &path, folder, what, name)?;
        let text = TomlText { path: format!("experiments/{folder}/{name}.toml"), text };
        let wanted = wanted(&text)?;
        Ok(Unpinned { text, wanted })
    }

    /// Fetches every file that lacks its digest; its content stays in the store, under that digest.
    pub fn pin(&self, fetcher: &Fetcher, progress: &mut dyn Progress) -> Result<Vec<Pinned>, FetchError> {
        let pin = |wanted: &Wanted| {
            let (sha256, bytes) = fetcher.unknown(&wanted.name, &wanted.url, wanted.packing, progress)?;
            let is_inline = wanted.before.contains('{');
            let before = if is_inline { "" } else { wanted.before.as_str() };
            let mut lines = vec![format!("{before}sha256 = \"{sha256}\"")];
            lines.extend(wanted.lacks_bytes.then(|| format!("{before}bytes = {bytes}")));
            let (name, url, line) = (wanted.name.clone(), wanted.url.clone(), wanted.line);
            Ok(Pinned { name, url, sha256, bytes, line, lines, is_inline })
        };
        self.wanted.iter().map(pin).collect()
    }

    /// The text of the recipe with what was found.
    pub fn with(&self, pinned: &[Pinned]) -> String {
        let mut text = String::new();
        for (at, line) in self.text.text.split_inclusive('\n').enumerate() {
            text.push_str(line);
            for found in pinned.iter().filter(|found| found.line == at + 1 && !found.is_inline) {
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                found.lines.iter().for_each(|line| text.extend([line, "\n"]));
            }
        }
        text
    }
}

/// The tables of a recipe that have an address and no digest.
fn wanted(text: &TomlText) -> Result<Vec<Wanted>, RecipeError> {
    let parsed = DeTable::parse(&text.text).map_err(|_| {
        // What is no TOML is told as everywhere.
        text.parse::<toml::Table>().expect_err("the same text cannot be parsed")
    })?;
    let mut found = Vec::new();
    let inside = parsed.get_ref().iter().map(|(key, value)| (key.get_ref().to_string(), value.get_ref()));
    inside.for_each(|(key, value)| look(text, &key, value, &mut found));
    found.sort_by_key(|wanted| wanted.line);
    Ok(found)
}

fn look(text: &TomlText, key: &str, value: &DeValue, found: &mut Vec<Wanted>) {
    match value {
        DeValue::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| look(text, &format!("{key}.{at}"), item.get_ref(), found));
        }
        DeValue::Table(table) => {
            let get = |wanted: &str| table.iter().find(|(name, _)| name.get_ref() == wanted).map(|(_, value)| value);
            let word = |wanted: &str| match get(wanted).map(|value| value.get_ref()) {
                Some(DeValue::String(text)) => Some(text.to_string()),
                _ => None,
            };
            if let (Some(url), Some(place), None) = (word("url"), get("url"), get("sha256")) {
                let line = place_of(&text.text, place.span().start).0;
                let shown = text.text.lines().nth(line - 1).unwrap_or_default();
                let before = shown.split("url").next().unwrap_or_default().to_owned();
                let name = word("name").unwrap_or_else(|| key.to_owned());
                let packing = word("packing").and_then(|word| toml::Value::String(word).try_into().ok());
                let packing = packing.unwrap_or_default();
                let lacks_bytes = get("bytes").is_none();
                found.push(Wanted { name, url, packing, lacks_bytes, line, before });
            }
            let inside = table.iter().map(|(name, value)| (format!("{key}.{}", name.get_ref()), value.get_ref()));
            inside.for_each(|(key, value)| look(text, &key, value, found));
        }
        _ => {}
    }
}

/// Writes the text of a recipe.
pub fn write(project: &Project, folder: &str, name: &str, text: &str) -> Result<(), files::FileError> {
    let path = if folder == "tasks" { project.task_recipe(name) } else { project.corpus_recipe(name) };
    files::write(&path, text.as_bytes())
}
