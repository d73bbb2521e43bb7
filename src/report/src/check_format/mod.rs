//! What a conference of the ACL would object to, each rule with where it is written and when that was read. Most rules
//! are held against the PDF, so that any PDF can be checked ([`check_pdf`]); some need what only the sources of the paper
//! say ([`sources`]). Findings are warnings: a draft may break a rule, a submission may not.

mod anonymity;
mod columns;
mod pages;
mod parts;
pub(super) mod sources;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::Mode;
use super::pdf::{Page, Pdf, Piece, Rect};

/// A rule of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rule {
    /// In a word or two.
    pub name: &'static str,
    /// Where it is written, with the date of that text.
    pub source: &'static str,
}

const GUIDELINES: &str = "ACLPUB formatting guidelines, 2026-11 (013ef55)";
const STYLE: &str = "acl-style-files, 2026-06-29 (d5adc82)";
const CALL: &str = "ACL Rolling Review call for papers, 2026-07-22 (63a97cb)";
const CHECKER: &str = "aclpubcheck, 2025-09-21 (4c7b8d3)";
const PLAIN: &str = "ACLPUB formatting guidelines, change of 2026-02";
const OWN: &str = "this project: what a page shows is what its source says";

/// Every rule.
pub const RULES: [Rule; 32] = [
    Rule { name: "paper size", source: GUIDELINES },
    Rule { name: "margins", source: GUIDELINES },
    Rule { name: "columns", source: GUIDELINES },
    Rule { name: "ruler", source: STYLE },
    Rule { name: "page numbers", source: GUIDELINES },
    Rule { name: "fonts embedded", source: GUIDELINES },
    Rule { name: "main font", source: CHECKER },
    Rule { name: "font families", source: GUIDELINES },
    Rule { name: "type size", source: GUIDELINES },
    Rule { name: "legible", source: GUIDELINES },
    Rule { name: "hidden text", source: CALL },
    Rule { name: "tags", source: GUIDELINES },
    Rule { name: "alt text", source: GUIDELINES },
    Rule { name: "text around figures", source: PLAIN },
    Rule { name: "one-column appendix", source: GUIDELINES },
    Rule { name: "page limit", source: CALL },
    Rule { name: "limitations", source: CALL },
    Rule { name: "order", source: GUIDELINES },
    Rule { name: "page break", source: GUIDELINES },
    Rule { name: "results in limitations", source: GUIDELINES },
    Rule { name: "abstract", source: GUIDELINES },
    Rule { name: "plain text", source: PLAIN },
    Rule { name: "anonymity", source: CALL },
    Rule { name: "unreferenced", source: GUIDELINES },
    Rule { name: "caption", source: GUIDELINES },
    Rule { name: "incomplete reference", source: GUIDELINES },
    Rule { name: "no DOI", source: GUIDELINES },
    Rule { name: "unused reference", source: OWN },
    Rule { name: "unused claim", source: OWN },
    Rule { name: "semicolon", source: OWN },
    Rule { name: "glyph", source: OWN },
    Rule { name: "latex", source: OWN },
];

/// Something that the conference would object to.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The name of the [`Rule`].
    pub rule: &'static str,
    /// Where the rule is written, with its date.
    pub source: &'static str,
    /// The page of the PDF, from 1, where it is on one.
    pub page: Option<usize>,
    /// The place on the page or in a file, as far as it is known.
    pub place: String,
    /// What was found.
    pub problem: String,
    /// What can be done.
    pub hint: String,
}

impl Finding {
    /// A finding of a rule that [`RULES`] lists.
    pub(crate) fn new(rule: &'static str, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        let source = RULES.iter().find(|known| known.name == rule).map_or(OWN, |known| known.source);
        Finding { rule, source, problem: problem.into(), hint: hint.into(), ..Finding::default() }
    }

    /// One that was kept, if there still is such a rule.
    pub(crate) fn again(rule: &str, page: Option<usize>, [place, problem, hint]: [String; 3]) -> Option<Self> {
        let rule = RULES.iter().find(|known| known.name == rule)?;
        Some(Finding { page, place, ..Finding::new(rule.name, problem, hint) })
    }

    pub(crate) fn on(self, page: usize) -> Self {
        Finding { page: Some(page), ..self }
    }

    pub(crate) fn at(self, place: impl Into<String>) -> Self {
        Finding { place: place.into(), ..self }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let page = self.page.map(|page| format!("page {page}"));
        let place: Vec<String> = page.into_iter().chain([self.place.clone()]).filter(|part| !part.is_empty()).collect();
        let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(", ")) };
        write!(f, "{}: {place}{}", self.rule, self.problem)
    }
}

/// What the rules depend on beside the PDF.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    pub mode: Mode,
    /// Pages of content; none for no limit.
    pub limit: Option<u64>,
    /// Names, affiliations and addresses of the authors, and the repository's address: what a review copy must not say.
    pub identities: Vec<String>,
    /// The file's own name.
    pub file: String,
}

impl Setting {
    /// For a PDF of which nothing else is known: the limits of a long paper.
    pub(crate) fn of_file(mode: Mode, path: &Path) -> Self {
        let limit = match mode {
            Mode::Review => Some(8),
            Mode::Final => Some(9),
            Mode::Preprint => None,
        };
        let file = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        Setting { mode, limit, identities: Vec::new(), file }
    }
}

/// Checks what can be told of a PDF alone.
pub(crate) fn of_pdf(pdf: &Pdf, setting: &Setting) -> Vec<Finding> {
    let outline = parts::outline(pdf);
    let mut findings = pages::check(pdf, setting.mode);
    findings.extend(columns::check(pdf));
    findings.extend(parts::check(setting, &outline));
    findings.extend(parts::page_break(pdf, &outline));
    findings.extend(parts::abstract_of(pdf, &outline));
    findings.extend(anonymity::check(pdf, &outline, setting));
    findings
}

/// Checks any PDF as a paper of this mode.
///
/// # Errors
/// What is not readable as a PDF.
pub fn check_pdf(bytes: &[u8], path: &Path, mode: Mode) -> Result<Vec<Finding>, String> {
    Ok(of_pdf(&Pdf::read(bytes)?, &Setting::of_file(mode, path)))
}

/// The page of the guidelines, in points.
const PAPER: (f64, f64) = (595.28, 841.89);
/// What stays free on all four sides: 2.5 cm.
const MARGIN: f64 = 70.87;
/// The text block.
const BLOCK: Rect = Rect { left: MARGIN, top: MARGIN, right: PAPER.0 - MARGIN, bottom: PAPER.1 - MARGIN };
/// The right edge of the first column and the left one of the second: 7.7 cm each, 0.6 cm apart.
const COLUMNS: (f64, f64) = (MARGIN + 218.27, MARGIN + 218.27 + 17.0);
/// What rounding and side bearings may take.
const TOLERANCE: f64 = 1.2;
/// How far a hyphen or a comma at the end of a line may hang out, as in good typesetting.
const HANGING: f64 = 3.5;

fn is_a4(page: &Page) -> bool {
    (page.width - PAPER.0).abs() <= 1.0 && (page.height - PAPER.1).abs() <= 1.0
}

/// Whether a text is a line number of the ruler.
fn is_ruler(piece: &Piece) -> bool {
    let digits = piece.text.trim();
    digits.len() >= 3
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (piece.right < BLOCK.left || piece.left > BLOCK.right)
}

/// Whether a text is the number of a page: digits alone, in the middle of the lower margin.
fn is_page_number(piece: &Piece) -> bool {
    let digits = piece.text.trim();
    let middle = (piece.left + piece.right) / 2.0;
    !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && piece.y > BLOCK.bottom + TOLERANCE
        && (middle - PAPER.0 / 2.0).abs() < 20.0
}

/// A text as it is quoted in a finding.
fn quoted(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { format!("`{short}...`") } else { format!("`{short}`") }
}

/// Points from the upper left corner, as a place.
fn point(x: f64, y: f64) -> String {
    format!("{:.1} cm from the left, {:.1} cm from the top", x / 28.346, y / 28.346)
}
