//! Characters that no font of the paper has. Typst leaves them blank without a word, but an archival PDF may not have
//! any, so its export names each by the tables of the fonts; here they are looked up where a person wrote them.

use std::collections::BTreeMap;

use harness_core::files;
use harness_core::names::Project;

use super::check_format::Finding;
use super::error::Place;
use super::families::Families;
use super::section::Section;
use super::{OWN_REFERENCES, paper_toml};

/// A text of the PDF that is blank, and the file that set it; empty where Typst does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blank {
    pub text: String,
    pub path: String,
    pub line: usize,
}

impl Blank {
    /// `path:line:column: error: PDF/A-3b error: the text `"字"` could not be displayed with font ...`, of data without
    /// the place.
    pub(crate) fn of_message(message: &str) -> Option<Self> {
        let (place, rest) = message.split_once("error: PDF/A")?;
        let quoted = rest.split_once("the text `")?.1.split_once("` could not be displayed")?.0;
        let text: String = serde_json::from_str(&as_json(quoted)).ok()?;
        let mut parts = place.trim_end_matches(": ").rsplitn(3, ':').skip(1);
        let line = parts.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        Some(Blank { text, path: parts.next().unwrap_or_default().to_owned(), line })
    }
}

/// A string as Rust prints it for debugging, with its escapes as JSON has them.
fn as_json(quoted: &str) -> String {
    let mut out = String::new();
    let mut rest = quoted;
    while let Some((before, after)) = rest.split_once("\\u{") {
        out.push_str(before);
        let (code, after) = after.split_once('}').unwrap_or((after, ""));
        let letter = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
        out.extend(letter);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// One finding for each place that a person wrote, with all its characters.
pub(super) fn findings(project: &Project, sections: &[Section], families: &Families, blanks: &[Blank]) -> Vec<Finding> {
    let mut by_place: BTreeMap<String, Vec<char>> = BTreeMap::new();
    for blank in blanks {
        for letter in blank.text.chars() {
            let place = place_of(project, sections, families, blank, letter);
            let letters = by_place.entry(place).or_default();
            if !letters.contains(&letter) {
                letters.push(letter);
            }
        }
    }
    let finding = |(place, letters): (String, Vec<char>)| {
        let named: Vec<String> =
            letters.iter().map(|letter| format!("`{letter}` (U+{:04X})", u32::from(*letter))).collect();
        let problem = format!("no font of the paper has {}: blank in the PDF", named.join(", "));
        let hint = "write it in other letters, or put a font that has it into .tools/fonts";
        Finding::new("glyph", problem, hint).at(place)
    };
    by_place.into_iter().map(finding).collect()
}

fn place_of(project: &Project, sections: &[Section], families: &Families, blank: &Blank, letter: char) -> String {
    let at = |path: &str, text: &str, offset: usize| Place::at(path, text, offset).short();
    if let Some(section) = sections.iter().find(|section| section.path == blank.path) {
        let line_start: usize =
            section.text.split_inclusive('\n').take(blank.line.saturating_sub(1)).map(str::len).sum();
        if let Some(offset) = section.text[line_start..].find(letter) {
            return at(&section.path, &section.text, line_start + offset);
        }
    }
    for path in [paper_toml::PATH, OWN_REFERENCES, "templates/references.bib"] {
        let text = files::read_to_string(&project.root().join(path)).unwrap_or_default();
        if let Some(offset) = text.find(letter) {
            return at(path, &text, offset);
        }
    }
    for entry in &families.entries {
        let config = &entry.latest.run.experiment;
        let texts = [&config.title, &config.question, &config.hypothesis, &config.rationale];
        if texts.iter().any(|text| text.contains(letter)) {
            return format!("the texts of experiment `{}`", entry.name());
        }
        let corpus = &entry.latest.run.corpus;
        let sources = corpus.sources.iter().map(|source| &source.title);
        if [&corpus.title, &corpus.description, &corpus.limitations]
            .into_iter()
            .chain(sources)
            .any(|t| t.contains(letter))
        {
            return format!("the texts of corpus `{}`", corpus.name);
        }
    }
    if blank.path.is_empty() { "the records".to_owned() } else { blank.path.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_typst_is_read() {
        let message = "report/sections/x.typ:1:11: error: PDF/A-3b error: the text `\"\u{4f60}\"` could not be displayed with font `\"TeX Gyre Termes\"`";
        let blank = Blank { text: "\u{4f60}".into(), path: "report/sections/x.typ".into(), line: 1 };
        assert_eq!(Blank::of_message(message).as_ref(), Some(&blank));
        let escaped =
            "a.typ:2:0: error: PDF/A-3b error: the text `\"\\u{200d}\"` could not be displayed with font `\"X\"`";
        assert_eq!(Blank::of_message(escaped).map(|blank| blank.text), Some("\u{200d}".to_owned()));
        let of_data = "error: PDF/A-3b error: the text `\"\u{4f60}\"` could not be displayed with font `\"X\"`";
        assert_eq!(Blank::of_message(of_data), Some(Blank { path: String::new(), line: 0, ..blank }));
        assert_eq!(Blank::of_message("a.typ:1:1: error: unknown variable: value"), None);
    }
}
