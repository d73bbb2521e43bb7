//! Templates over the fields of a record. Tera, as in `templates/`: a task needs a little more than names (the part of a
//! sentence before a gap, a capital, a default), and its filters are documented and known from there. Besides them there
//! is `characters(from=.., to=..)`, a piece of a text by its places, counted as Python's `text[from:to]` counts them.

use std::collections::HashMap;
use std::error::Error;

use serde::Serialize;
use serde_json::Value;
use tera::{Context, Tera};

use super::records::Record;

/// How fields stand in a template, for messages.
pub(super) const FIELDS_HINT: &str = "a field stands as {{ name }}, one whose name is not letters, digits and `_` as \
                                      {{ record['Correct Answer'] }}; filters as in {{ name | trim | capitalize }}";

/// The record itself, in templates.
const RECORD: &str = "record";

/// Templates that are filled together, by their place.
pub(super) struct Templates {
    tera: Tera,
}

impl Templates {
    /// Parses templates; the error says what is wrong and where.
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut tera = Tera::default();
        tera.register_filter("characters", characters);
        // What a recipe of somebody else would take from the machine, a password say, would stand in sealed items.
        tera.register_function("get_env", |_: &HashMap<String, Value>| -> tera::Result<Value> {
            Err(tera::Error::msg("a recipe may not read the environment"))
        });
        for (place, text) in texts.into_iter().enumerate() {
            // A name without an ending that Tera would take for HTML: nothing is escaped.
            tera.add_raw_template(&place.to_string(), text).map_err(|e| innermost(&e))?;
        }
        Ok(Templates { tera })
    }

    /// What is wrong with a template, if something is.
    pub(super) fn check(text: &str) -> Result<(), String> {
        Templates::new([text]).map(drop)
    }

    /// Fills them with one record.
    pub(super) fn filler<'a>(&'a self, record: &'a Record) -> Result<Filler<'a>, String> {
        let mut context = Context::from_serialize(record).map_err(|e| innermost(&e))?;
        context.insert(RECORD, record);
        Ok(Filler { tera: &self.tera, record, context })
    }
}

/// Templates and the record that fills them.
pub(super) struct Filler<'a> {
    tera: &'a Tera,
    record: &'a Record,
    context: Context,
}

impl Filler<'_> {
    /// The text of the template at this place.
    pub(super) fn fill(&self, place: usize) -> Result<String, String> {
        self.render(place, &self.context)
    }

    /// The same, with one name more.
    pub(super) fn fill_with(&self, place: usize, name: &str, value: &impl Serialize) -> Result<String, String> {
        let mut context = self.context.clone();
        context.insert(name, value);
        self.render(place, &context)
    }

    fn render(&self, place: usize, context: &Context) -> Result<String, String> {
        /// What Tera makes of a nested object.
        const OBJECT: &str = "[object]";
        let known = || self.record.keys().map(|name| reference(name)).collect::<Vec<_>>().join(", ");
        let text = self.tera.render(&place.to_string(), context);
        let text = text.map_err(|e| format!("{}; its fields are {}", innermost(&e), known()))?;
        if text.contains(OBJECT) && !Value::from(self.record.clone()).to_string().contains(OBJECT) {
            return Err("a template names a nested object, not a text in it; a dot leads into it".to_owned());
        }
        Ok(text)
    }
}

/// How a field stands in a template: by its name, or by way of the record where its name cannot stand there.
pub(super) fn reference(name: &str) -> String {
    const TAKEN: [&str; 11] = ["record", "choice", "loop", "true", "false", "True", "False", "not", "and", "or", "in"];
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_word);
    if plain && !TAKEN.contains(&name) {
        name.to_owned()
    } else if !name.is_empty() && name.chars().all(|c| is_word(c) || matches!(c, ' ' | '-')) {
        format!("{RECORD}['{name}']")
    } else {
        // Dots and brackets would lead further.
        let quote = ['\'', '"', '`'].into_iter().find(|quote| !name.contains(*quote)).unwrap_or('\'');
        format!("{RECORD} | get(key={quote}{name}{quote})")
    }
}

/// `{{ text | characters(from=2, to=-1) }}`: a piece of a text, counted in characters; from the end, if below 0.
fn characters(text: &Value, places: &HashMap<String, Value>) -> tera::Result<Value> {
    let text = text.as_str().ok_or_else(|| tera::Error::msg("`characters` takes a piece of a text"))?;
    let count = text.chars().count() as i64;
    let place = |name: &str, unless_stated: i64| -> tera::Result<i64> {
        let Some(value) = places.get(name) else { return Ok(unless_stated) };
        let place = value.as_i64().or_else(|| value.as_str().and_then(|digits| digits.trim().parse().ok()));
        let place = place.ok_or_else(|| tera::Error::msg(format!("`{name}` of `characters` is not a number")))?;
        Ok(if place < 0 { count + place } else { place }.clamp(0, count))
    };
    let (from, to) = (place("from", 0)?, place("to", count)?);
    Ok(text.chars().skip(from as usize).take((to - from).max(0) as usize).collect::<String>().into())
}

/// Tera wraps what is wrong in the name of the template, which says nothing here.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    let text = error.to_string();
    // The parser draws the template; what it expected stands in the last line.
    let last = text.trim().lines().last().unwrap_or_default();
    last.trim_start_matches([' ', '=']).split(" while rendering ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str, record: &Value) -> Result<String, String> {
        Templates::new([template])?.filler(record.as_object().unwrap())?.fill(0)
    }

    #[test]
    fn a_recipe_does_not_read_the_environment() {
        let refused = filled("{{ get_env(name='PATH') }}", &json!({})).unwrap_err();
        assert!(refused.contains("may not read the environment"), "{refused}");
    }

    #[test]
    fn every_field_can_be_named_whatever_its_name() {
        let names = [
            "plain",
            "Correct Answer",
            "sub-domain",
            "a.b",
            "1st",
            "in",
            "record",
            "it's",
            "say \"x\"",
            "a/b~c",
            "x[0]",
            "é",
            "",
        ];
        for name in names {
            let record = json!({ "other": "no", name: "yes" });
            let template = format!("{{{{ {} }}}}", reference(name));
            assert_eq!(filled(&template, &record).as_deref(), Ok("yes"), "{template}");
        }
        let record = json!({ "Question": "?", "sub-domain": "x", "nested": { "text": "in it" } });
        let wrong = filled("{{ sub-domain }}", &record).unwrap_err();
        assert!(wrong.contains("`sub`") && wrong.contains("Question, record['sub-domain']"), "{wrong}");
        assert_eq!(filled("{{ record['nested']['text'] }}", &record).unwrap(), "in it");
        let wrong = filled("{{ nested }}", &record).unwrap_err();
        assert!(wrong.contains("a dot leads into it"), "{wrong}");
    }

    #[test]
    fn pieces_of_a_text_are_those_of_python() {
        // From Python: "héllo"[from:to].
        let record = json!({ "text": "héllo", "at": 2, "digits": "2" });
        let cases = [
            ("to=at", "hé"),
            ("from=at", "llo"),
            ("from=digits", "llo"),
            ("from=1, to=-1", "éll"),
            ("from=-2", "lo"),
            ("from=4, to=2", ""),
            ("from=9", ""),
            ("to=-9", ""),
        ];
        for (places, expected) in cases {
            assert_eq!(
                filled(&format!("{{{{ text | characters({places}) }}}}"), &record).unwrap(),
                expected,
                "{places}"
            );
        }
        assert!(filled("{{ at | characters(to=1) }}", &record).is_err());
    }
}
