//! Why a report could not be made, each with where and what can be done.

use std::fmt;

use harness_core::config::place_of;
use harness_core::files::FileError;

use harness_analyse::CompareError;
use harness_analyse::slices::SliceError;

/// A place in a file that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The file, relative to the project.
    pub path: String,
    /// Line and column, from 1; 0 where only the file is known.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// The text of the line.
    pub text: String,
}

impl Place {
    /// The place of a byte offset in a text.
    pub fn at(path: &str, text: &str, offset: usize) -> Self {
        let (line, column, text) = place_of(text, offset);
        Place { path: path.to_owned(), line, column, text }
    }

    /// `path:line:column`, where the line itself is not shown.
    pub fn short(&self) -> String {
        format!("{}:{}:{}", self.path, self.line, self.column)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "--> {}", self.path);
        }
        let (line, column) = (self.line, self.column);
        let margin = line.to_string().len();
        let blank = " ".repeat(column.saturating_sub(1));
        write!(f, "{:margin$}--> {}:{line}:{column}", "", self.path)?;
        write!(f, "\n{:margin$} |\n{line} | {}\n{:margin$} | {blank}^", "", self.text, "")
    }
}

fn hint_line(hint: Option<&String>) -> String {
    hint.map_or(String::new(), |hint| format!("\nhint: {hint}"))
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Two experiments could not be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// What was registered could not be decided, or what was decided, studied or spent not read.
    #[error(transparent)]
    Study(#[from] harness_study::StudyError),
    /// There is no run to report on.
    #[error("there is no completed run to report on\nhint: `harness run baseline` makes one")]
    NoRuns,
    /// Something the user wrote asks for what does not exist, or is not what its format says.
    #[error("{problem}\n{place}{}", hint_line(.hint.as_ref()))]
    Source {
        /// What is wrong.
        problem: String,
        /// Where.
        place: Box<Place>,
        /// What can be done.
        hint: Option<String>,
    },
    /// A figure shows losses of text that is not on this machine.
    #[error(transparent)]
    NoText(SliceError),
    /// The name of a file does not say where in the paper its section stands.
    #[error(
        "`{}` is no name of a section\nhint: name it `NN-name.typ`: sections stand in the order of their numbers, from `00-` (the \
         abstract) to `99-`, and `AN-` is the appendix",
        path.display()
    )]
    SectionName {
        /// The file.
        path: std::path::PathBuf,
    },
    /// A run's own text cites what no bibliography has.
    #[error("{problem}\nhint: {hint}")]
    Citation {
        /// What is wrong.
        problem: String,
        /// What can be done.
        hint: String,
    },
    /// A template could not be filled in.
    #[error(
        "`{template}`: {problem}\nhint: the files in templates/ are the project's own; `git diff templates` shows what was changed"
    )]
    Template {
        /// The file.
        template: String,
        /// What the engine said.
        problem: String,
    },
    /// There is no typst, or not one that fits.
    #[error("{problem}\nhint: `make setup` installs it")]
    Typst {
        /// What is wrong.
        problem: String,
    },
    /// The document of somebody else takes more than an audit gives it.
    #[error(
        "to set the paper takes more than {compute_s} s of computing or 1 GiB of memory, and no more is spent on it"
    )]
    Limit {
        /// The limit in seconds.
        compute_s: u64,
    },
    /// Typst refused the document.
    #[error("the paper does not compile:\n{messages}")]
    Compile {
        /// Typst's messages with file, line and column.
        messages: String,
    },
    /// The folder of an export holds what is not its own.
    #[error("{problem}\nhint: name a new folder: `harness report --latex report/build/latex`")]
    Latex {
        /// What stands there.
        problem: String,
    },
}
