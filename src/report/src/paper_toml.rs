//! `report/paper.toml`: title, authors and keywords, the students' own.

use harness_core::config::{nearest, place_of};
use harness_core::files;
use harness_core::names::{ExperimentName, Project};
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
    #[serde(default, skip_serializing)]
    checklist: bool,
    #[serde(default, skip_serializing)]
    experiments: Vec<ExperimentName>,
    #[serde(default, skip_serializing)]
    allowed: Vec<toml::Spanned<Entry>>,
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

/// `[[allowed]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    number: Option<String>,
    text: Option<String>,
    reason: String,
}

/// What may stand in a section although no record is behind it.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    what: Allows,
    /// Where the entry stands.
    pub place: Place,
}

#[derive(Clone, Debug)]
enum Allows {
    /// A number as it is typed, wherever it is.
    Number(String),
    /// All that is in a sentence with these words.
    Text(String),
}

impl Allowed {
    /// Whether it allows a number in this sentence, or the sentence itself.
    pub(crate) fn allows(&self, sentence: &str, number: Option<&str>) -> bool {
        match &self.what {
            Allows::Number(allowed) => number.is_some_and(|number| number == allowed),
            Allows::Text(allowed) => {
                let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
                words(sentence).contains(&words(allowed))
            }
        }
    }
}

/// The allow-list of the file.
pub(super) fn allowed(path: &str, text: &str) -> Result<Vec<Allowed>, ReportError> {
    let paper: Paper = toml::from_str(text).map_err(|e| wrong(path, text, &e))?;
    let read = |entry: toml::Spanned<Entry>| {
        let place = Place::at(path, text, entry.span().start);
        let refused = |problem: &str| ReportError::Source {
            problem: problem.to_owned(),
            place: Box::new(place.clone()),
            hint: Some(
                "write `[[allowed]]`, `number = \"7.25\"` or `text = \"...\"`, and `reason = \"...\"`".to_owned(),
            ),
        };
        let Entry { number, text, reason } = entry.into_inner();
        if reason.trim().is_empty() {
            return Err(refused("what is allowed has a reason"));
        }
        let what = match (number, text) {
            (Some(number), None) => Allows::Number(number),
            (None, Some(text)) if !text.trim().is_empty() => Allows::Text(text),
            _ => return Err(refused("what is allowed is a `number` or a `text`")),
        };
        Ok(Allowed { what, place })
    };
    paper.allowed.into_iter().map(read).collect()
}

/// Who wrote the paper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// As it stands in the paper.
    pub name: String,
    /// Where they work or study; may be empty.
    #[serde(default)]
    pub affiliation: String,
    /// May be empty.
    #[serde(default)]
    pub email: String,
}

/// The file as nobody has edited it.
pub(super) const DRAFT: &str = r#"# Title and authors of the paper. A review copy (harness report --mode review) leaves the authors out.

title = "Pretraining Small Language Models under a Budget"
keywords = ["language models", "pretraining", "reproducibility"]
# Whether the answers of the Responsible NLP checklist are drafted as an appendix.
checklist = false
# The experiments that the paper is about; with none, all that have runs. An audit tells a reader of those that are left out.
experiments = []

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

/// The draft with its authors.
pub(super) fn with_authors(authors: &[Author]) -> String {
    let (before, rest) = DRAFT.split_once("[[authors]]\n").expect("the draft has an author");
    let (_, after) = rest.split_once("\n\n").expect("something follows the author");
    let entries = authors.iter().map(|author| {
        let entry = toml::to_string(author).expect("three texts are TOML");
        format!("[[authors]]\n{entry}\n")
    });
    format!("{before}{}{after}", entries.collect::<String>())
}

/// The project's own file, as far as it is there and can be read; [`parse`] says what is wrong with it.
fn own(project: &Project) -> Option<Paper> {
    toml::from_str(&files::read_to_string(&project.root().join(PATH)).ok()?).ok()
}

/// What the project's own file says of pages.
pub(super) fn pages(project: &Project) -> Pages {
    own(project).map(|paper| paper.pages).unwrap_or_default()
}

/// Whether the checklist is to be an appendix.
pub(super) fn asks_for_checklist(project: &Project) -> bool {
    own(project).is_some_and(|paper| paper.checklist)
}

/// The experiments that the paper is about; none where it is about all that have runs.
pub fn experiments(project: &Project) -> Vec<ExperimentName> {
    own(project).map(|paper| paper.experiments).unwrap_or_default()
}

/// Reads the text of the file at this path, relative to the project.
pub(super) fn parse(path: &str, text: &str) -> Result<Json, ReportError> {
    let paper: Paper = toml::from_str(text).map_err(|e| wrong(path, text, &e))?;
    Ok(json!(paper))
}

/// What names the authors: as the file says, but for what it was drafted with.
pub(super) fn identities(about: &Json) -> Vec<String> {
    let drafted: toml::Table = toml::from_str(DRAFT).expect("the draft is TOML");
    let drafted = drafted["authors"].to_string();
    let authors = about["authors"].as_array().map_or(&[][..], Vec::as_slice);
    let fields = authors.iter().flat_map(|author| ["name", "affiliation", "email"].map(|field| author[field].as_str()));
    let said = fields.flatten().map(str::trim).filter(|text| text.len() > 2);
    said.filter(|text| !drafted.contains(text)).map(str::to_owned).collect()
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
            "it holds `title`, `keywords`, `checklist`, `[[authors]]` with `name`, `affiliation` and `email`, and `[pages]` with `limit` and \
             `subsections`"
                .to_owned(),
        ),
    };
    let place = Place { path: path.to_owned(), line, column, text: line_text };
    ReportError::Source { problem: message, place: Box::new(place), hint }
}
