//! Templates over the fields of a record. Tera, as in `templates/`: a task needs a little more than names (the part of a
//! sentence before a gap, a capital, a default), and its filters are documented and known from there.

use std::error::Error;

use tera::{Context, Tera};

use super::records::{Record, names};

/// Templates that are filled together, in the order they were given.
pub(super) struct Templates {
    tera: Tera,
    count: usize,
}

impl Templates {
    /// Parses templates; the error says what is wrong and where.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut tera = Tera::default();
        let mut count = 0;
        for text in texts {
            // A name without an ending that Tera would take for HTML: nothing is escaped.
            tera.add_raw_template(&count.to_string(), text).map_err(|e| innermost(&e))?;
            count += 1;
        }
        Ok(Templates { tera, count })
    }

    /// What is wrong with a template, if something is.
    pub fn check(text: &str) -> Result<(), String> {
        Templates::new([text]).map(drop)
    }

    /// Every template over one record.
    pub fn fill(&self, record: &Record) -> Result<Vec<String>, String> {
        let wrong = |e: tera::Error| format!("{}; its fields are {}", innermost(&e), names(record));
        let context = Context::from_serialize(record).map_err(wrong)?;
        (0..self.count).map(|index| self.tera.render(&index.to_string(), &context).map_err(wrong)).collect()
    }
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
