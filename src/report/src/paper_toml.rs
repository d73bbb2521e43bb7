//! `report/paper.toml`: title, authors and keywords, the students' own.

use harness_core::config::{nearest, place_of};
use harness_core::files;
use harness_core::names::Project;
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
    #[serde(default)]
    pages: Pages,
}

/// How long the paper may be, and what has a subsection in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Pages {
    /// Pages of content, from the title to the last numbered section.
    pub limit: u64,
    /// Changes that have a subsection whatever came of them.
    pub subsections: Vec<String>,
}

impl Default for Pages {
    fn default() -> Self {
        Pages { limit: 8, subsections: Vec::new() }
    }
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

# Pages of content, without Limitations, references and appendices: 8 here and for a review copy of ARR, 9 for its final version.
# Of many changes those that were adopted or came out against what was expected have a subsection, and those that are named here.
[pages]
limit = 8
subsections = []
"#;

/// What the project's own file says of pages, as far as it is there and can be read; [`parse`] says what is wrong with it.
pub(super) fn pages(project: &Project) -> Pages {
    let text = files::read_to_string(&project.root().join(PATH)).unwrap_or_default();
    toml::from_str::<Paper>(&text).map(|paper| paper.pages).unwrap_or_default()
}

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
        _ => Some(
            "it holds `title`, `keywords`, `[[authors]]` with `name`, `affiliation` and `email`, and `[pages]` with `limit` and \
             `subsections`"
                .to_owned(),
        ),
    };
    let place = Place { path: path.to_owned(), line, column, text: line_text };
    ReportError::Source { problem: message, place: Box::new(place), hint }
}
