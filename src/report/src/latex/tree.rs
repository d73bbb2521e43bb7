//! Elements of a section as `tree.typ` gives them.

use serde_json::{Map, Value as Json};

/// An element of Typst: what it is, and its fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    /// As Typst names its function: `text`, `heading`, `list.item`.
    pub(super) func: &'a str,
    pub(super) fields: &'a Map<String, Json>,
}

impl<'a> Element<'a> {
    pub(super) fn of(node: &'a Json) -> Option<Self> {
        let fields = node.as_object()?;
        Some(Element { func: fields.get("func")?.as_str()?, fields })
    }

    /// A field; null where it is not given.
    pub(super) fn get(self, field: &str) -> &'a Json {
        self.fields.get(field).unwrap_or(&Json::Null)
    }

    pub(super) fn text(self) -> &'a str {
        self.get("text").as_str().unwrap_or_default()
    }

    pub(super) fn children(self) -> &'a [Json] {
        self.get("children").as_array().map_or(&[], Vec::as_slice)
    }
}

pub(super) fn function(node: &Json) -> Option<&str> {
    Element::of(node).map(|element| element.func)
}

/// The letters of a piece of content, without what they look like: to tell how wide it is, and where it stands.
pub(super) fn plain(node: &Json) -> String {
    match node {
        Json::String(text) => text.clone(),
        Json::Array(several) => several.iter().map(plain).collect(),
        Json::Object(fields) => match fields.get("func").and_then(Json::as_str) {
            Some("space" | "parbreak") => " ".to_owned(),
            Some("linebreak") => "\n".to_owned(),
            Some("smartquote") => "'".to_owned(),
            Some("text" | "symbol" | "raw") => fields["text"].as_str().unwrap_or_default().to_owned(),
            Some("metadata") => marked(&fields["value"]),
            _ => ["child", "children", "body"].iter().filter_map(|name| fields.get(*name)).map(plain).collect(),
        },
        _ => String::new(),
    }
}

/// How wide a mark is, in letters that are as wide.
fn marked(mark: &Json) -> String {
    let shown = |shown: &Json| match shown {
        Json::String(text) => text.clone(),
        Json::Object(power) => {
            let part = |name: &str| power.get(name).and_then(Json::as_str).unwrap_or_default();
            format!("{} x 10{}", part("mantissa"), part("exponent"))
        }
        _ => String::new(),
    };
    let error = match &mark["error"] {
        Json::Null => String::new(),
        error => format!(" ± {}", shown(error)),
    };
    match mark["mark"].as_str() {
        Some("number" | "words") => shown(&mark["shown"]) + &error + mark["suffix"].as_str().unwrap_or_default(),
        _ => String::new(),
    }
}
