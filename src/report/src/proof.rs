//! `paper.json`: what stands in the PDF and where it comes from. An audit reads it, computes each number again from
//! its runs, and compares.

use harness_core::Digest;
use harness_core::names::ExperimentName;
use serde::{Deserialize, Serialize};

use super::Mode;
use super::error::ReportError;
use super::model::{Bound, FigureRef, Note};
use super::values::Numbers;

/// `paper.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// [`Proof::VERSION`]
    pub format: u32,
    /// Digest of `paper.pdf`.
    pub pdf_sha256: Digest,
    /// The layout.
    pub mode: Mode,
    /// The folder of another venue's template, relative to the project; none where the paper has that of `templates/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The experiments that the paper is about; none where it is about all that have runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<ExperimentName>,
    /// Typst, as it says of itself.
    pub typst: String,
    /// Digest of the fonts in `.tools/fonts`; none where those of the system were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fonts: Option<Digest>,
    /// Every file that went into the paper, sorted by path.
    pub sources: Vec<SourceFile>,
    /// Every run that the paper shows, sorted by experiment and run.
    pub runs: Vec<ProofRun>,
    /// Every bound number and word, in order of appearance.
    pub bound: Vec<Bound>,
}

/// A file that went into the paper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Relative to the project.
    pub path: String,
    /// Digest of its content.
    pub sha256: Digest,
}

/// A run of the paper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofRun {
    /// The experiment.
    pub experiment: String,
    /// The run.
    pub run: String,
    /// Digest of its MANIFEST.
    pub root: Digest,
    /// The commit it ran on.
    pub commit: String,
    /// Root of its corpus.
    pub data_root: Digest,
    /// Whether the paper's numbers of this experiment rest on it.
    pub quoted: bool,
    /// Of a run that scored a test side, the how-manieth opening of that text it was, by any run of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<usize>,
}

impl Proof {
    /// Version of `paper.json`. Raised with every change that an older reader would misread.
    pub const VERSION: u32 = 2;
}

/// `bound.json`: what the PDF carries of its proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundList {
    /// [`values::VERSION`](super::values::VERSION)
    pub format: u32,
    /// The layout.
    pub mode: Mode,
    /// As in `paper.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// As in `paper.json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<ExperimentName>,
    /// Every bound number and word, in order of appearance.
    pub bound: Vec<Bound>,
}

/// `summary.json`: what an auditor who has only the PDF needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`values::VERSION`](super::values::VERSION)
    pub format: u32,
    /// Every run that the paper shows.
    pub runs: Vec<ProofRun>,
    /// Every file that went into the paper but those of the build folder.
    pub sources: Vec<SourceFile>,
}

/// The file that lists what the paper shows, in the build folder and in the PDF.
pub(super) const BOUND: &str = "bound.json";

/// A file of the build folder that travels inside the PDF.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Attachment {
    /// Relative to the build folder. In the PDF its name is its path in the project.
    pub path: String,
    mime: &'static str,
    description: String,
    /// Whether a review copy has it too: a commit can be looked up.
    in_review: bool,
}

impl Attachment {
    fn json(path: &str, description: &str, in_review: bool) -> Self {
        let (path, description) = (path.to_owned(), description.to_owned());
        Attachment { path, mime: "application/json", description, in_review }
    }

    /// The data of a figure.
    pub(crate) fn of_figure(figure: &FigureRef) -> Self {
        let description = format!("What the figure `{figure}` is drawn from");
        Attachment { path: super::figures::data_name(figure), mime: "text/csv", description, in_review: true }
    }

    /// Whether it is written only once the paper was laid out, so that it need not be there before.
    pub(crate) fn is_always(&self) -> bool {
        self.path == BOUND
    }
}

/// What travels with the paper beside the data of its figures, where it was written.
pub(super) fn attachments() -> Vec<Attachment> {
    vec![
        Attachment::json(
            "summary.json",
            "The runs of the paper with the digests of records, data, code and sources",
            false,
        ),
        Attachment::json(
            "values.json",
            "Every number of every run that the paper may quote, with its run and files",
            false,
        ),
        Attachment::json("tables.json", "The tables of the paper: which value stands in which cell", false),
        Attachment::json(BOUND, "Every number and word of the paper that is bound to runs, with its page", true),
    ]
}

/// What Typst noted, with what the runs say to it. A template that shows something else is refused.
pub(super) fn bound(numbers: &Numbers, notes: Vec<Note>) -> Result<Vec<Bound>, ReportError> {
    let bind = |(index, note): (usize, Note)| match numbers.check(&note) {
        Ok(backing) => Ok(Bound { id: format!("n{}", index + 1), number: backing.number, runs: backing.runs, note }),
        Err(problem) => Err(ReportError::Template {
            template: "templates/values.typ".to_owned(),
            problem: format!("it shows `{}` for {} on page {}: {problem}", note.shown, note.quantity, note.page),
        }),
    };
    notes.into_iter().enumerate().map(bind).collect()
}

/// Every run of the paper.
pub(super) fn runs(numbers: &Numbers) -> Vec<ProofRun> {
    let mut runs = Vec::new();
    for entry in &numbers.families.entries {
        for analysis in entry.listed() {
            let open = &analysis.run.open;
            runs.push(ProofRun {
                experiment: open.experiment.to_string(),
                run: open.run.to_string(),
                root: analysis.run.root,
                commit: open.code.commit.clone(),
                data_root: open.data.root,
                quoted: entry.seeds.iter().chain(&entry.tested).any(|run| run.run.open.run == open.run),
                opening: numbers.opening(&open.run),
            });
        }
    }
    runs
}

/// Seconds since 1970 of `2026-11-23T08:15:00Z`.
pub(super) fn unix_seconds(utc: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| utc.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !utc.ends_with('Z') || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from the civil calendar, counting years from March so that the leap day comes last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_are_read() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0));
        // date -u -d 2026-11-23T08:15:00Z +%s
        assert_eq!(unix_seconds("2026-11-23T08:15:00Z"), Some(1_795_421_700));
        assert_eq!(unix_seconds("2024-02-29T23:59:59Z"), Some(1_709_251_199));
        assert_eq!(unix_seconds("yesterday"), None);
    }
}
