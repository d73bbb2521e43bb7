//! What the sections of one paper have in common: values, labels, figures, citation keys, and what could not be carried over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::escape;
use crate::error::ReportError;
use crate::model::{Note, Shown};

/// What a label stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Section,
    Appendix,
    Figure,
    Table,
    Equation,
}

/// Something of a section that LaTeX does not show as Typst does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Loss {
    /// Which of the sections.
    pub(super) section: usize,
    /// The function of Typst, `styled` or `character U+05D0`.
    pub(super) what: String,
    /// Which of that name in the section, from 0.
    pub(super) index: usize,
    /// The text that it holds, as far as it has one.
    pub(super) near: String,
}

/// Gathered while sections are written.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) targets: BTreeMap<String, Target>,
    pub(super) losses: BTreeSet<Loss>,
    /// Files that the paper shows, relative to the project, with their names in `figures/`.
    pub(super) graphics: BTreeMap<String, String>,
    /// Where works are cited under a key that TeX would not read, the key that stands for it.
    pub(super) keys: BTreeMap<String, String>,
    pub(super) values: Values,
}

impl Gathered {
    /// The name under which a file of the project lies in `figures/`.
    pub(super) fn graphic(&mut self, path: &str) -> String {
        let stem = path.rsplit('/').next().unwrap_or(path);
        let (stem, ending) = stem.rsplit_once('.').unwrap_or((stem, ""));
        let ending = if ending == "svg" { "pdf" } else { ending };
        // LaTeX takes what stands behind the first full stop as the ending.
        let own = escape::name(stem).replace(['.', '=', '/', ':'], "-");
        let taken = |name: &String| self.graphics.iter().any(|(other, used)| used == name && other != path);
        let name = std::iter::once(format!("{own}.{ending}"))
            .chain((2..).map(|n| format!("{own}-{n}.{ending}")))
            .find(|name| !taken(name))
            .unwrap_or_default();
        self.graphics.insert(path.to_owned(), name.clone());
        name
    }

    /// The key of a work as TeX reads it.
    pub(super) fn key(&mut self, key: &str) -> String {
        let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_:.+/".contains(c));
        let next = format!("work-{}", self.keys.len() + 1);
        self.keys.entry(key.to_owned()).or_insert_with(|| if plain { key.to_owned() } else { next }).clone()
    }
}

/// The bound values of a paper: each way that one is shown has a macro.
#[derive(Debug, Default)]
pub(super) struct Values {
    macros: Vec<Macro>,
    /// Every place where one is shown, in the order of the text. The pages are not known here.
    pub(super) notes: Vec<Note>,
}

#[derive(Debug)]
struct Macro {
    name: String,
    shown: Shown,
    error: Option<Shown>,
    /// What sets it.
    set: String,
}

impl Values {
    /// The name of the macro that shows what a mark of `values.typ` is of.
    pub(super) fn name_of(&mut self, mark: &Json) -> Result<String, ReportError> {
        let mut note = mark["quantity"].clone();
        let wrong = |problem: String| ReportError::Template { template: "templates/values.typ".to_owned(), problem };
        let fields = note.as_object_mut().ok_or_else(|| wrong(format!("it marks no quantity: {mark}")))?;
        fields.insert("shown".to_owned(), mark["shown"].clone());
        fields.insert("shown_error".to_owned(), mark["error"].clone());
        fields.insert("page".to_owned(), Json::from(0));
        let note: Note = serde_json::from_value(note)
            .map_err(|e| wrong(format!("it marks what `harness report` cannot read: {e}: {mark}")))?;
        let base = name_of(&mark["quantity"]);
        let (shown, error) = (note.shown.clone(), note.shown_error.clone());
        self.notes.push(note);
        let mut name = base.clone();
        for form in 2.. {
            match self.macros.iter_mut().find(|own| own.name == name) {
                // With its standard error and without, it is one value.
                Some(own) if own.shown == shown && (own.error.is_none() || error.is_none() || own.error == error) => {
                    own.error = own.error.take().or(error);
                    return Ok(name);
                }
                Some(_) => name = format!("{base}/{form}"),
                None => break,
            }
        }
        let set = mark["pieces"].as_array().map_or_else(|| set(&shown), |pieces| sentence(pieces));
        self.macros.push(Macro { name: name.clone(), shown, error, set });
        Ok(name)
    }

    /// `values.tex`
    pub(super) fn file(&self) -> String {
        let mut out = String::from(
            "% Made by `harness report --latex`: one macro for each bound value of the paper, under what it is.\n\
             % In the text: \\bound{NAME} the number, \\bounderror{NAME} with its standard error, \\boundwords{NAME} words,\n\
             % \\boundhere{NAME} where the words beside it say it.\n",
        );
        for Macro { name, error, set: shown, .. } in &self.macros {
            let error = error.as_ref().map_or(String::new(), set);
            out.push_str(&format!("\\harnessvalue{{{name}}}{{{shown}}}{{{error}}}\n"));
        }
        out
    }
}

fn set(shown: &Shown) -> String {
    let text = |text: &str| escape::text(text, &mut |_| {});
    match shown {
        Shown::Text(own) => text(own),
        Shown::PowerOfTen { mantissa, exponent } => {
            format!("\\harnesspower{{{}}}{{{}}}", text(mantissa), text(exponent))
        }
    }
}

/// A sentence with the names in it.
fn sentence(pieces: &[Json]) -> String {
    let piece = |piece: &Json| {
        let text = piece["text"].as_str().unwrap_or_default();
        if piece["kind"] == "code" { escape::code(text, &mut |_| {}) } else { escape::text(text, &mut |_| {}) }
    };
    pieces.iter().map(piece).collect()
}

/// `value/baseline/validation.bits_per_byte`: kind and parts of a quantity. Which way a comparison went is what is shown.
fn name_of(quantity: &Json) -> String {
    let part = |(field, value): (&String, &Json)| match value {
        _ if field == "direction" => None,
        Json::String(text) => Some(escape::name(text)),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(true) => Some(escape::name(field)),
        Json::Array(several) => {
            Some(several.iter().filter_map(Json::as_str).map(escape::name).collect::<Vec<_>>().join("+"))
        }
        _ => None,
    };
    quantity.as_object().into_iter().flatten().filter_map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mark(count: &str, shown: &str) -> Json {
        json!({ "mark": "number", "quantity": { "kind": "count", "count": count, "experiment": null }, "shown": shown, "error": null })
    }

    #[test]
    fn a_value_has_one_macro_for_each_way_that_it_is_shown() {
        let mut values = Values::default();
        assert_eq!(values.name_of(&mark("runs", "4")).unwrap(), "count/runs");
        assert_eq!(values.name_of(&mark("runs", "four")).unwrap(), "count/runs/2");
        assert_eq!(values.name_of(&mark("runs", "4")).unwrap(), "count/runs");
        assert_eq!(values.notes.len(), 3);
        assert!(values.file().ends_with("\\harnessvalue{count/runs}{4}{}\n\\harnessvalue{count/runs/2}{four}{}\n"));
        let unknown = json!({ "quantity": { "kind": "guess" }, "shown": "4", "error": null });
        assert!(values.name_of(&unknown).unwrap_err().to_string().contains("guess"));
    }

    #[test]
    fn a_standard_error_belongs_to_its_value() {
        let mut values = Values::default();
        let mut mark = json!({
            "quantity": { "kind": "value", "experiment": "a", "key": "b_c" },
            "shown": { "mantissa": "−3.2", "exponent": "−4" }, "error": null
        });
        assert_eq!(values.name_of(&mark).unwrap(), "value/a/b_c");
        mark["error"] = json!("0.1");
        assert_eq!(values.name_of(&mark).unwrap(), "value/a/b_c");
        let power = "\\harnesspower{\\ensuremath{-}3.2}{\\ensuremath{-}4}";
        assert!(values.file().contains(&format!("{{value/a/b_c}}{{{power}}}{{0.1}}")), "{}", values.file());
    }

    #[test]
    fn files_and_keys_have_names_that_tex_reads() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.graphic("report/build/figures/validation.a.b.svg"), "validation-a-b.pdf");
        assert_eq!(gathered.graphic("report/x/validation-a-b.svg"), "validation-a-b-2.pdf");
        assert_eq!(gathered.graphic("report/ü %.png"), "-C3-BC-20-25.png");
        assert_eq!(gathered.key("a:b"), "a:b");
        assert_eq!(gathered.key("a}\\input{b"), "work-2");
    }
}
