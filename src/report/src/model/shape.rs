//! Tables, figures, texts and the outline of the paper.

use serde::{Deserialize, Serialize};

/// A run of text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "text")]
pub enum Piece {
    /// As it is.
    Text(String),
    /// In the face of code.
    Code(String),
}

impl Piece {
    /// A message of the program as a sentence: what stands between backticks is code.
    pub fn sentence(message: &str) -> Vec<Piece> {
        let mut letters = message.trim().trim_end_matches('.').chars();
        let first = letters.next().map_or(String::new(), |letter| letter.to_uppercase().collect());
        let message = format!("{first}{}.", letters.as_str());
        let parts = message.split('`').enumerate().filter(|(_, part)| !part.is_empty());
        parts.map(|(at, part)| if at % 2 == 0 { Piece::Text(part.into()) } else { Piece::Code(part.into()) }).collect()
    }
}

/// What stands in a cell. A number is named, not written, so that it is bound as those of the prose are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cell {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A text with a link.
    Link {
        /// The text.
        text: String,
        /// Where it leads.
        url: String,
    },
    /// A name or setting as it is written in files.
    Code {
        /// The text.
        text: String,
    },
    /// A value of an experiment.
    Value {
        /// The experiment.
        experiment: String,
        /// Its key.
        key: String,
        /// Whether its standard error is shown.
        error: bool,
        /// Whether it is set in bold.
        bold: bool,
    },
    /// A difference of two experiments.
    Difference {
        /// The first.
        experiment: String,
        /// What is subtracted.
        minus: String,
        /// The key of both.
        key: String,
    },
    /// The 95 % interval of a difference.
    Interval {
        /// The first.
        experiment: String,
        /// What is subtracted.
        minus: String,
        /// The key of both.
        key: String,
    },
    /// What the test of a difference comes to, in a word or two.
    Verdict {
        /// The first.
        experiment: String,
        /// What it is held against.
        against: String,
        /// The key of both.
        key: String,
        /// The words.
        text: String,
    },
    /// The name of an experiment above the rows of it, as wide as the table.
    Heading {
        /// The name.
        text: String,
    },
    /// A digest, broken into lines.
    Digest {
        /// The text of the digest, or its first digits.
        text: String,
    },
    /// A run, to which the numbers of the paper link.
    Run {
        /// Its id.
        run: String,
        /// What is said of it, one cell a line.
        lines: Vec<Cell>,
    },
}

/// The cells of a row.
pub type Row = Vec<Cell>;

/// Which side a column is set from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// For texts.
    Left,
    /// For numbers.
    Right,
}

/// A table as data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// Whether it is as wide as the page.
    pub wide: bool,
    /// One for each column.
    pub columns: Vec<Align>,
    /// The head.
    pub header: Row,
    /// The rows.
    pub rows: Vec<Row>,
    /// Rows with a line above.
    pub rules: Vec<usize>,
}

/// A figure as a section asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FigureRef {
    /// A kind of `harness plot --list`.
    pub kind: String,
    /// The horizontal axis, if not the kind's own.
    pub over: Option<String>,
    /// What it shows, the reference first.
    pub experiments: Vec<String>,
}

impl std::fmt::Display for FigureRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let over = self.over.as_ref().map_or(String::new(), |axis| format!(" over {axis}"));
        write!(f, "{}{over} of {}", self.kind, self.experiments.join(", "))
    }
}

/// Where things landed, for the checks of the format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// Pages of the PDF.
    pub pages: u64,
    /// Every heading, in order.
    pub headings: Vec<Heading>,
    /// Every figure and table, in order.
    #[serde(default)]
    pub floats: Vec<Float>,
    /// Labels that the text refers to.
    #[serde(default)]
    pub references: Vec<String>,
}

/// A figure or table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Float {
    /// `figure` or `table`.
    pub kind: String,
    /// Its label.
    pub label: Option<String>,
    /// Whether it has a caption.
    pub captioned: bool,
    /// The page, from 1.
    pub page: u64,
}

/// A heading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heading {
    /// Its text.
    pub text: String,
    /// 1 for sections.
    pub level: u64,
    /// The page, from 1.
    pub page: u64,
    /// Distance from the upper edge of the page in points.
    pub y_pt: f64,
    /// Distance from the left edge, which says in which column it is.
    #[serde(default)]
    pub x_pt: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_a_sentence_with_its_code() {
        let (text, code) = (|text: &str| Piece::Text(text.into()), |text: &str| Piece::Code(text.into()));
        assert_eq!(Piece::sentence("not compared: `a.b`"), [text("Not compared: "), code("a.b"), text(".")]);
        assert_eq!(Piece::sentence("`a`: one run is left out."), [code("a"), text(": one run is left out.")]);
    }
}
