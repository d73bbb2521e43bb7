//! Calls the `typst` executable: the project's own below `.tools/`, else the one on the PATH. For somebody else's project it is
//! the auditor's own, in bounds: what a section can do is compute, and read what lies beside it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness_core::names::Project;
use harness_core::{Digest, files};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::absolute;
use super::error::ReportError;
use super::glyphs::Blank;
use super::limited::{self, Limits};
use super::model::{Note, Outline};

/// The version of Typst that the templates are written for.
const SERIES: &str = "0.15.";

/// The standard for archives that allows attachments. It refuses characters without a glyph.
const ARCHIVAL: &str = "a-3b";
/// What marks an objection of the standard.
const OBJECTION: &str = "PDF/A";

/// What `values.typ` notes under its labels, in the order of the document.
const NOTES: &str = "(bound: query(<bound>).map(it => it.value), outline: query(<outline>).first().value)";

/// What the paper shows, and where things landed.
#[derive(Debug, Deserialize)]
pub(crate) struct Notes {
    pub bound: Vec<Note>,
    pub outline: Outline,
}

/// What Typst says of a paper that it compiled.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub warnings: Vec<String>,
    /// Texts that no font can show.
    pub blanks: Vec<Blank>,
}

/// What the paper of somebody else may take: twenty times what one of ten pages takes.
const OF_OTHERS: Limits = Limits { compute_s: 20, memory_bytes: 1 << 30 };

/// A `typst` that fits.
#[derive(Clone, Debug)]
pub struct Typst {
    program: PathBuf,
    fonts: Option<PathBuf>,
    root: PathBuf,
    limits: Option<Limits>,
    /// As it says of itself.
    pub version: String,
    annotate: bool,
}

impl Typst {
    pub(crate) fn find(project: &Project) -> Result<Self, ReportError> {
        Self::of_tools(&project.tools(), project.root(), None)
    }

    /// That of an auditor: below `tools` (`bin/typst`, `fonts`), else the one on the PATH.
    pub fn of_auditor(tools: Option<&Path>) -> Result<Self, ReportError> {
        // Of no tools: what is on the PATH, and no folder beside the paper.
        Self::of_tools(tools.unwrap_or(Path::new("/dev/null")), Path::new("/"), Some(OF_OTHERS))
    }

    /// The same, for a paper elsewhere.
    pub(crate) fn at(&self, root: &Path) -> Self {
        Typst { root: root.to_owned(), ..self.clone() }
    }

    /// Digest of the names and contents of its fonts: others set another paper. None with those of the system.
    pub fn fonts_sha256(&self) -> Result<Option<Digest>, files::FileError> {
        let Some(fonts) = &self.fonts else { return Ok(None) };
        let line = |name: String| Ok(format!("{}  {name}\n", Digest::of_file(&fonts.join(&name))?));
        let lines: Result<String, files::FileError> = files::list_recursive(fonts)?.into_iter().map(line).collect();
        Ok(Some(Digest::of(lines?.as_bytes())))
    }

    fn of_tools(tools: &Path, root: &Path, limits: Option<Limits>) -> Result<Self, ReportError> {
        let own = tools.join("bin").join("typst");
        let program = if own.exists() { absolute(&own) } else { PathBuf::from("typst") };
        let missing = |problem: String| ReportError::Typst { problem };
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .map_err(|_| missing("there is no `typst` below .tools/bin, and none on the PATH".to_owned()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let fits = version.split_whitespace().nth(1).is_some_and(|number| number.starts_with(SERIES));
        if !output.status.success() || !fits {
            let said =
                if version.is_empty() { String::from_utf8_lossy(&output.stderr).trim().to_owned() } else { version };
            return Err(missing(format!("the templates need typst {SERIES}x, but `typst --version` says `{said}`")));
        }
        let fonts = absolute(&tools.join("fonts"));
        let fonts = fonts.is_dir().then_some(fonts);
        Ok(Typst { program, fonts, root: absolute(root), limits, version, annotate: false })
    }

    /// The same, for a paper whose numbers have the colour of what stands behind them.
    pub(crate) fn annotated(self) -> Self {
        Typst { annotate: true, ..self }
    }

    /// Compiles `paper` (relative to the project) to `pdf`: for archives, unless something in it may not be.
    pub(crate) fn compile(&self, paper: &str, pdf: &Path, mode: &str, timestamp: i64) -> Result<Compiled, ReportError> {
        let compile = |standard: &[&str]| {
            let mut command = self.command("compile", mode);
            command
                .args(["--input", "attach=yes", "--format", "pdf", "--creation-timestamp"])
                .arg(timestamp.to_string())
                .args(standard);
            let output = self.run(command.arg(paper).arg(pdf))?;
            let lines = String::from_utf8_lossy(&output.stderr);
            Ok(lines.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>())
        };
        match compile(&["--pdf-standard", ARCHIVAL]) {
            Ok(warnings) => Ok(Compiled { warnings, blanks: Vec::new() }),
            Err(ReportError::Compile { messages }) if messages.contains(OBJECTION) => {
                let mut warnings = compile(&[])?;
                let (of_glyphs, others): (Vec<&str>, Vec<&str>) =
                    messages.lines().partition(|line| Blank::of_message(line).is_some());
                let objections = others.into_iter().filter(|line| line.contains(OBJECTION));
                warnings.extend(objections.map(|line| line.replacen(": error: ", ": ", 1)));
                Ok(Compiled { warnings, blanks: of_glyphs.into_iter().filter_map(Blank::of_message).collect() })
            }
            Err(error) => Err(error),
        }
    }

    /// What `values.typ` left in the paper.
    pub(crate) fn notes(&self, paper: &str, mode: &str) -> Result<Notes, ReportError> {
        // Only a compilation says where a mistake stands.
        self.eval(paper, mode, NOTES).or_else(|error| {
            let mut command = self.command("compile", mode);
            self.run(command.args(["--format", "pdf"]).arg(paper).arg("-")).and(Err(error))
        })
    }

    /// The value of an expression of Typst in the paper that was laid out.
    pub(crate) fn eval<T: DeserializeOwned>(
        &self,
        paper: &str,
        mode: &str,
        expression: &str,
    ) -> Result<T, ReportError> {
        let mut command = self.command("eval", mode);
        let output = self.run(command.arg("--in").arg(paper).arg(expression))?;
        serde_json::from_slice(&output.stdout).map_err(|e| ReportError::Template {
            template: "templates/values.typ".to_owned(),
            problem: format!("it notes what `harness report` cannot read: {e}"),
        })
    }

    /// What `paper` holds under `<section>`, in its order, as `values.typ` marks it for an export.
    pub(super) fn trees(&self, paper: &str, mode: &str) -> Result<Vec<serde_json::Value>, ReportError> {
        let mut command = self.command("eval", mode);
        command.args(["--input", "export=tree", "--in"]).arg(paper).arg("query(<section>).map(it => it.value)");
        let output = self.run(&mut command)?;
        serde_json::from_slice(&output.stdout).map_err(|e| ReportError::Template {
            template: "templates/values.typ".to_owned(),
            problem: format!("it marks what `harness report` cannot read: {e}"),
        })
    }

    /// A page that is as large as what `source` makes of `file`, as a PDF without a time of its own.
    pub(super) fn page_of(&self, source: &str, file: &str, pdf: &Path) -> Result<(), ReportError> {
        let mut command = self.command("compile", "final");
        command.args(["--format", "pdf", "--no-pdf-tags", "--creation-timestamp", "0", "--input"]);
        self.run(command.arg(format!("file=/{file}")).arg(source).arg(pdf))?;
        Ok(())
    }

    fn command(&self, action: &str, mode: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.root).arg(action).arg("--root").arg(&self.root);
        command.args(["--diagnostic-format", "short", "--input"]).arg(format!("mode={mode}"));
        if self.annotate {
            command.args(["--input", "annotate=yes"]);
        }
        if let Some(fonts) = &self.fonts {
            command.arg("--font-path").arg(fonts).arg("--ignore-system-fonts");
        }
        for variable in ["SOURCE_DATE_EPOCH", "TYPST_FONT_PATHS", "TYPST_ROOT", "TYPST_PACKAGE_PATH"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, command: &mut Command) -> Result<Output, ReportError> {
        let output = match self.limits {
            None => command.output(),
            Some(limits) => limited::output(command, limits),
        };
        let output = output.map_err(|e| match (e.kind(), self.limits) {
            (ErrorKind::TimedOut, Some(limits)) => ReportError::Limit { compute_s: limits.compute_s },
            _ => ReportError::Typst { problem: format!("`typst` does not start: {e}") },
        })?;
        if output.status.success() {
            return Ok(output);
        }
        // A signal ends what takes more than it may, and `abort` what gets no more memory.
        if let (Some(limits), None) = (self.limits, output.status.code()) {
            return Err(ReportError::Limit { compute_s: limits.compute_s });
        }
        let messages = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let root = format!("{}/", self.root.display());
        Err(ReportError::Compile { messages: messages.replace(&root, "") })
    }
}
