//! `report/paper.toml`: title, authors and keywords, the students' own.

use harness_core::config::{nearest, place_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::error::{Place, ReportError};

/// Its name below `report/`.
pub(super) const NAME: &str = "paper.toml";
/// Where it lies, relative to the project.
pub(super) const PATH: &str = "report/paper.toml";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Paper {
    title: String,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    authors: Vec<Author>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Author {
    name: String,
    #[serde(default)]
    affiliation: String,
    #[serde(default)]
    email: String,
}

/// The file as nobody has edited it.
pub(super) const DRAFT: &str = r#"# Title and authors of the paper. A review copy (harness report --mode review) leaves the authors out.

title = "Pretraining Small Language Models under a Budget"
keywords = ["language models", "pretraining", "reproducibility"]

[[authors]]
name = "First Author"
affiliation = "Affiliation"
email = "first.author@example.org"
"#;

/// Reads the text of the file at this path, relative to the project.
pub(super) fn parse(path: &str, text: &str) -> Result<Json, ReportError> {
    let paper: Paper = toml::from_str(text).map_err(|e| wrong(path, text, &e))?;
    Ok(json!(paper))
}

fn wrong(path: &str, text: &str, error: &toml::de::Error) -> ReportError {
    let (line, column, line_text) = error.span().map_or((0, 0, String::new()), |span| place_of(text, span.start));
    let message = error.message().trim().to_owned();
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let hint = match names.split_first() {
        Some((wrong, known)) if message.starts_with("unknown field") => {
            nearest(wrong, known).map(|near| format!("did you mean `{near}`?"))
        }
        _ => Some("it holds `title`, `keywords` and `[[authors]]` with `name`, `affiliation` and `email`".to_owned()),
    };
    let place = Place { path: path.to_owned(), line, column, text: line_text };
    ReportError::Source { problem: message, place: Box::new(place), hint }
}
